"""Versions of a name: numbered slots whose transaction is committed and names them.

A slot key lists right before its tombstone and the mark of its edits, the newest slot first.
So a lazy walk over one listing knows of each slot whether it is deleted, and whether there are
edits to look for, as soon as it has seen the key after it; the newest version costs one short
page, its slot and its outcome, however long the history. Two requests more bring the newest
edit, for versions that were edited only.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol, TypeVar

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock, timestamp
from artifactstore.digest import Buffer, Digest
from artifactstore.errors import CorruptData, ObjectNotFound
from artifactstore.keys import NameKeys, SlotObject, TxId, parse_counted, parse_slot_key
from artifactstore.names import Name
from artifactstore.transaction.conditional import Won, put_once
from artifactstore.transaction.outcomes import read_outcome
from artifactstore.transaction.records import (
    NOBODY,
    Author,
    EditRecord,
    Notes,
    OutcomeRecord,
    SlotRecord,
    Tombstone,
    VersionPin,
    decode_record,
    encode_record,
    fresh_nonce,
)

SHORT_PAGE: Final = 50
_READ_AHEAD: Final = 16
_Item = TypeVar("_Item")
_Found = TypeVar("_Found")
_SLOT_OBJECTS: Final = len(SlotObject)
_NEWEST: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotState:
    """A slot as a listing shows it.

    Attributes:
        deleted: It has a tombstone.
        edited: It is marked as edited: look for edits.
    """

    number: int
    deleted: bool = False
    edited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A later edit of a version; ``number`` counts up from 1."""

    number: int
    record: EditRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A committed version.

    Attributes:
        slot: Its number.
        tx: Its transaction.
        record: What the slot says: hints, except that ``outcome`` confirms its transaction.
        outcome: The committed outcome; its root digest decides what the version is.
        deleted: Whether it has a tombstone.
        edit: The newest edit, where it was looked for and there is one.
        has_unread_edits: It is marked as edited, and nobody has looked for the edits: see `with_edit`.
    """

    name: Name
    slot: int
    tx: TxId
    record: SlotRecord
    outcome: OutcomeRecord
    deleted: bool = False
    edit: Edit | None = None
    has_unread_edits: bool = False

    @property
    def notes(self) -> Notes:
        """Message, labels, metadata and time-to-live as they are now."""
        if self.has_unread_edits:
            raise AssertionError(f"the edits of {self.text} were not read")
        return self.edit.record.notes if self.edit is not None else self.record.notes

    @property
    def text(self) -> str:
        """``name:v3``."""
        return f"{self.name}:v{self.slot}"

    @property
    def pin(self) -> VersionPin:
        return VersionPin(version=self.text, tx=self.tx, content=self.record.content)

    @property
    def root_digest(self) -> Digest:
        return self.outcome.root_digest


def list_slots(backend: Backend, name: Name, *, page_size: int | None = None, below: int = 0) -> Iterator[SlotState]:
    """Slots the newest first, as one lazy listing shows them; committed or not.

    Args:
        below: Only slots of lower numbers; 0 for all.
    """
    keys = NameKeys(name)
    after = keys.edited(below) if below else ""
    waiting: SlotState | None = None
    for info in backend.list(keys.slots, start_after=after, page_size=page_size):
        parsed = parse_slot_key(info.key, keys.slots)
        if parsed is None:
            continue  # not ours
        number, kind = parsed
        if kind is SlotObject.RECORD:
            if waiting is not None:
                yield waiting
            waiting = SlotState(number=number)
        elif waiting is not None and waiting.number == number:
            # Without its slot a tombstone or mark means nothing.
            waiting = seen_beside(waiting, kind)
    if waiting is not None:
        yield waiting


def seen_beside(state: SlotState, kind: SlotObject) -> SlotState:
    """What a slot is, given that one more of its objects was seen."""
    return replace(
        state, deleted=state.deleted or kind is SlotObject.TOMBSTONE, edited=state.edited or kind is SlotObject.EDITED
    )


def read_slot(backend: Backend, name: Name, number: int) -> SlotRecord:
    """What slot ``number`` says.

    Raises:
        ObjectNotFound: No such slot.
        CorruptData, UnsupportedFormat: It can't be read.
    """
    key = NameKeys(name).slot(number)
    return decode_record(SlotRecord, backend.get(key), key=key)


def confirm(name: Name, state: SlotState, record: SlotRecord, outcome: OutcomeRecord | None) -> Version | None:
    """The version in a slot, its edits unread; None where its transaction's outcome is not this slot's commit."""
    if outcome is None or not outcome.committed or outcome.slot != NameKeys(name).slot(state.number):
        return None
    return Version(
        name=name,
        slot=state.number,
        tx=record.tx_id,
        record=record,
        outcome=outcome,
        deleted=state.deleted,
        has_unread_edits=state.edited,
    )


def read_version(backend: Backend, name: Name, state: SlotState) -> Version | None:
    """The version in a slot (two requests), its edits unread; None where the slot is pending or was given up."""
    record = read_slot(backend, name, state.number)
    return confirm(name, state, record, read_outcome(backend, record.tx_id))


def read_whole_version(backend: Backend, name: Name, state: SlotState) -> Version | None:
    """As `read_version`, with its newest edit, unless it is deleted: two requests more where it was edited."""
    version = read_version(backend, name, state)
    return version if version is None or version.deleted else with_edit(backend, version)


def with_edit(backend: Backend, version: Version) -> Version:
    """The version with its newest edit: two requests where it is marked as edited, none otherwise.

    Raises:
        CorruptData, UnsupportedFormat: The edit can't be read.
    """
    if not version.has_unread_edits:
        return version
    edit = newest_edit(backend, version.name, version.slot, tx=version.tx)
    return replace(version, edit=edit, has_unread_edits=False)


def newest_edit(backend: Backend, name: Name, slot: int, *, tx: TxId) -> Edit | None:
    """The newest edit of a version, or None: its mark is put before its first edit."""
    prefix = NameKeys(name).edits(slot)
    for info in backend.list(prefix, page_size=_NEWEST):
        number = parse_counted(info.key.removeprefix(prefix))
        if number:
            return parse_edit(backend.get(info.key), key=info.key, number=number, tx=tx)
    return None


def parse_edit(body: Buffer, *, key: str, number: int, tx: TxId) -> Edit:
    """An edit as it is stored.

    Raises:
        CorruptData, UnsupportedFormat: It can't be read, or is one of another version.
    """
    record = decode_record(EditRecord, body, key=key)
    if record.tx != tx:
        raise CorruptData(f"an edit of transaction {record.tx} beside a slot of {tx}", key=key)
    return Edit(number=number, record=record)


class VersionReader(Protocol):
    """`read_version` or `read_whole_version`."""

    def __call__(self, backend: Backend, name: Name, state: SlotState, /) -> Version | None: ...


def versions(
    backend: Backend, name: Name, *, pool: Executor | None = None, reader: VersionReader = read_version
) -> Iterator[Version]:
    """All committed versions, deleted ones included, the newest first.

    Two requests each, and two more for each that was edited if the ``reader`` looks at edits; with ``pool``,
    sixteen versions are read ahead.
    """
    return _versions_in(list_slots(backend, name), backend, name, pool=pool, reader=reader)


def live_versions(
    backend: Backend, name: Name, *, pool: Executor | None = None, reader: VersionReader = read_version
) -> Iterator[Version]:
    """As `versions`, without those that are deleted: they are listed, and not read."""
    live = (state for state in list_slots(backend, name) if not state.deleted)
    return _versions_in(live, backend, name, pool=pool, reader=reader)


def _versions_in(
    states: Iterable[SlotState], backend: Backend, name: Name, *, pool: Executor | None, reader: VersionReader
) -> Iterator[Version]:
    read = partial(reader, backend, name)
    found = map(read, states) if pool is None else read_ahead(pool, read, states, most=_READ_AHEAD)
    return (version for version in found if version is not None)


def read_ahead(
    pool: Executor, read: Callable[[_Item], _Found], items: Iterable[_Item], *, most: int
) -> Iterator[_Found]:
    """What ``read`` makes of each item, in their order, at most so many of them at work."""
    queue: deque[Future[_Found]] = deque()
    try:
        for item in items:
            queue.append(pool.submit(read, item))
            if len(queue) >= most:
                yield queue.popleft().result()
        while queue:
            yield queue.popleft().result()
    finally:
        for future in queue:
            future.cancel()


def latest_committed(backend: Backend, name: Name) -> Version | None:
    """The highest committed live version; three requests where the newest slot is it."""
    for state in list_slots(backend, name, page_size=SHORT_PAGE):
        if not state.deleted and (version := read_version(backend, name, state)) is not None:
            return version
    return None


def is_live(backend: Backend, version: Version) -> bool:
    """Whether the version's slot is still there without a tombstone: one request, asked of the storage now."""
    state = slot_state(backend, version.name, version.slot)
    return state is not None and not state.deleted


def slot_state(backend: Backend, name: Name, number: int) -> SlotState | None:
    """One slot, its tombstone and the mark of its edits by one listing; None where there is no such slot."""
    keys = NameKeys(name)
    found = {info.key for info in backend.list(keys.slot(number), page_size=_SLOT_OBJECTS)}
    if keys.slot(number) not in found:
        return None
    return SlotState(number=number, deleted=keys.tombstone(number) in found, edited=keys.edited(number) in found)


def remove_version(
    backend: Backend,
    clock: Clock,
    version: Version,
    *,
    author: Author = NOBODY,
    reason: str = "",
    moved_to: VersionPin | None = None,
) -> bool:
    """Delete a version, for ever: put its tombstone. Only committed versions can be (`Version` is one).

    Args:
        moved_to: What it is now, where it has been moved.

    Returns:
        Whether it was this call that did it.

    Raises:
        CommitStateUnknown: It may be deleted.
    """
    tombstone = Tombstone(
        nonce=fresh_nonce(clock),
        tx=version.tx,
        created=timestamp(clock.now()),
        who=author.who,
        host=author.host,
        reason=reason,
        moved_to=moved_to,
    )
    key = NameKeys(version.name).tombstone(version.slot)
    return isinstance(put_once(backend, clock, key, encode_record(tombstone)), Won)


def read_tombstone(backend: Backend, name: Name, number: int) -> Tombstone | None:
    """Who deleted a version, when and why; None where it is not deleted."""
    key = NameKeys(name).tombstone(number)
    try:
        return decode_record(Tombstone, backend.get(key), key=key)
    except ObjectNotFound:
        return None
