"""Versions of a name: numbered slots whose transaction is committed and names them.

A slot key lists right before its tombstone, the newest slot first. So a lazy walk over one
listing knows of each slot whether it is deleted as soon as it has seen the key after it, and
the newest version costs one short page, its slot and its outcome, however long the history.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from typing import Final

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock, timestamp
from artifactstore.digest import Digest
from artifactstore.errors import ObjectNotFound
from artifactstore.keys import NameKeys, TxId, parse_slot_key
from artifactstore.names import Name
from artifactstore.transaction.conditional import Won, put_once
from artifactstore.transaction.outcomes import read_outcome
from artifactstore.transaction.records import (
    NOBODY,
    Author,
    OutcomeRecord,
    SlotRecord,
    Tombstone,
    decode_record,
    encode_record,
    fresh_nonce,
)

SHORT_PAGE: Final = 50
_READ_AHEAD: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotState:
    """A slot as a listing shows it."""

    number: int
    deleted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A committed version.

    Attributes:
        slot: Its number.
        tx: Its transaction.
        record: What the slot says: hints, except that ``outcome`` confirms its transaction.
        outcome: The committed outcome; its root digest decides what the version is.
        deleted: Whether it has a tombstone.
    """

    name: Name
    slot: int
    tx: TxId
    record: SlotRecord
    outcome: OutcomeRecord
    deleted: bool = False

    @property
    def text(self) -> str:
        """``name:v3``."""
        return f"{self.name}:v{self.slot}"

    @property
    def root_digest(self) -> Digest:
        return self.outcome.root_digest


def list_slots(backend: Backend, name: Name, *, page_size: int | None = None, below: int = 0) -> Iterator[SlotState]:
    """Slots the newest first, as one lazy listing shows them; committed or not.

    Args:
        below: Only slots of lower numbers; 0 for all.
    """
    keys = NameKeys(name)
    after = keys.tombstone(below) if below else ""
    waiting: int | None = None
    for info in backend.list(keys.slots, start_after=after, page_size=page_size):
        parsed = parse_slot_key(info.key, keys.slots)
        if parsed is None:
            continue  # not ours
        number, is_tombstone = parsed
        if waiting is not None and (not is_tombstone or number != waiting):
            yield SlotState(number=waiting, deleted=False)
            waiting = None
        if is_tombstone:
            if waiting == number:
                yield SlotState(number=number, deleted=True)
            waiting = None
        else:
            waiting = number
    if waiting is not None:
        yield SlotState(number=waiting, deleted=False)


def read_slot(backend: Backend, name: Name, number: int) -> SlotRecord:
    """What slot ``number`` says.

    Raises:
        ObjectNotFound: No such slot.
        CorruptData, UnsupportedFormat: It can't be read.
    """
    key = NameKeys(name).slot(number)
    return decode_record(SlotRecord, backend.get(key), key=key)


def confirm(
    name: Name, number: int, record: SlotRecord, outcome: OutcomeRecord | None, *, deleted: bool = False
) -> Version | None:
    """The version in slot ``number``, or None where its transaction's outcome is not this slot's commit."""
    if outcome is None or not outcome.committed or outcome.slot != NameKeys(name).slot(number):
        return None
    return Version(name=name, slot=number, tx=record.tx_id, record=record, outcome=outcome, deleted=deleted)


def read_version(backend: Backend, name: Name, state: SlotState) -> Version | None:
    """The version in a slot (two requests), or None where the slot is pending or was given up."""
    record = read_slot(backend, name, state.number)
    outcome = read_outcome(backend, record.tx_id)
    return confirm(name, state.number, record, outcome, deleted=state.deleted)


def versions(backend: Backend, name: Name, *, pool: Executor | None = None) -> Iterator[Version]:
    """All committed versions, deleted ones included, the newest first.

    Two requests each; with ``pool``, sixteen versions are read ahead.
    """
    states = list_slots(backend, name)
    found = (
        map(partial(read_version, backend, name), states) if pool is None else _read_ahead(pool, backend, name, states)
    )
    return (version for version in found if version is not None)


def live_versions(backend: Backend, name: Name, *, pool: Executor | None = None) -> Iterator[Version]:
    """Committed versions without a tombstone, the newest first."""
    return (version for version in versions(backend, name, pool=pool) if not version.deleted)


def _read_ahead(pool: Executor, backend: Backend, name: Name, states: Iterator[SlotState]) -> Iterator[Version | None]:
    queue: deque[Future[Version | None]] = deque()
    try:
        for state in states:
            queue.append(pool.submit(read_version, backend, name, state))
            if len(queue) >= _READ_AHEAD:
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
    return slot_state(backend, version.name, version.slot) == SlotState(number=version.slot, deleted=False)


def slot_state(backend: Backend, name: Name, number: int) -> SlotState | None:
    """One slot and its tombstone by one listing; None where there is no such slot."""
    keys = NameKeys(name)
    found = {info.key for info in backend.list(keys.slot(number), page_size=2)}
    if keys.slot(number) not in found:
        return None
    return SlotState(number=number, deleted=keys.tombstone(number) in found)


def remove_version(
    backend: Backend, clock: Clock, version: Version, *, author: Author = NOBODY, reason: str = ""
) -> bool:
    """Delete a version, for ever: put its tombstone. Only committed versions can be (`Version` is one).

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
