"""From a reference to a version: which one is meant now."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor, Future

from artifactstore.backend.protocol import Backend
from artifactstore.digest import Buffer, Digest
from artifactstore.errors import CorruptData, NameNotFound, ObjectNotFound, UnsupportedFormat, VersionDeleted
from artifactstore.keys import NameKeys, TxId, root_key
from artifactstore.manifest.model import Root
from artifactstore.names import Alias, Content, Latest, Name, Slot, VersionSelector
from artifactstore.transaction.aliases import read_alias
from artifactstore.transaction.expiry import version_expired
from artifactstore.transaction.outcomes import read_outcome
from artifactstore.transaction.records import SlotRecord
from artifactstore.transaction.roots import check_root, load_root, root_gone
from artifactstore.transaction.versions import (
    SHORT_PAGE,
    SlotState,
    Version,
    confirm,
    list_slots,
    read_slot,
    read_tombstone,
    slot_state,
    with_edit,
)


def candidates(backend: Backend, name: Name, selector: VersionSelector) -> Iterator[tuple[SlotState, SlotRecord]]:
    """Slots that may be the version that ``selector`` means, best first; what decides is still to be read.

    A content digest is looked up by what slots say; that it is so is for the reader of the root to prove.

    Raises:
        NameNotFound: No such name, slot or alias.
        VersionDeleted: A slot or alias whose version is deleted, or a name whose versions all are.
    """
    match selector:
        case Latest():
            yield from _latest_candidates(backend, name, None)
        case Content(digest):
            yield from _latest_candidates(backend, name, digest)
        case Slot(number):
            yield _one(backend, name, number, tx=None, text=f"{name}{selector}")
        case Alias(alias):
            move = read_alias(backend, name, alias)
            yield _one(backend, name, move.slot, tx=move.tx, text=f"{name}{selector} (v{move.slot})")


def _latest_candidates(backend: Backend, name: Name, content: Digest | None) -> Iterator[tuple[SlotState, SlotRecord]]:
    slots = deleted = newest = 0
    for state in list_slots(backend, name, page_size=SHORT_PAGE if content is None else None):
        slots += 1
        newest = max(newest, state.number)
        deleted += state.deleted
        if state.deleted:
            continue
        record = read_slot(backend, name, state.number)
        if content is None or record.content == content.hex():
            yield state, record
    if not slots:
        raise NameNotFound(f"no name {name}")
    moved_to = _moved_to(backend, name, newest) if deleted == slots else ""
    if content is not None:
        moved = f"; it was moved, and {moved_to} is its newest version now" if moved_to else ""
        raise NameNotFound(f"no version of {name} has content {content.hex()}{moved}")
    if deleted:
        raise _deleted(f"all versions of {name} are deleted", moved_to=moved_to)
    raise NameNotFound(f"{name} has no finished version yet")


def _one(backend: Backend, name: Name, number: int, *, tx: TxId | None, text: str) -> tuple[SlotState, SlotRecord]:
    state = slot_state(backend, name, number)
    if state is None:
        raise NameNotFound(f"no version {text}")
    if state.deleted:
        raise _deleted(f"{text} is deleted", moved_to=_moved_to(backend, name, number))
    record = read_slot(backend, name, number)
    if tx is not None and record.tx_id != tx:
        key = NameKeys(name).slot(number)
        raise CorruptData(f"{text}: the alias means transaction {tx}, the slot {record.tx}", key=key)
    return state, record


def _moved_to(backend: Backend, name: Name, number: int) -> str:
    """What a deleted version is now, where it was moved; empty where it was not, or that can't be read."""
    with contextlib.suppress(CorruptData, UnsupportedFormat):
        tombstone = read_tombstone(backend, name, number)
        if tombstone is not None and tombstone.moved_to is not None:
            return tombstone.moved_to.version
    return ""


def _deleted(what: str, *, moved_to: str) -> VersionDeleted:
    if not moved_to:
        return VersionDeleted(what)
    return VersionDeleted(
        f"{what}: it was moved, and is {moved_to} now",
        data_safe="Nothing of it is lost.",
        next_step="Use its new name.",
    )


def resolve(backend: Backend, name: Name, selector: VersionSelector) -> Version:
    """The version that ``selector`` means now, expired or not: a listing, a slot, an outcome.

    Two more requests for an alias, and two more where it was edited.

    Raises:
        NameNotFound: No such name, version or alias, or a slot that was never committed.
        VersionDeleted: It was there.
        CorruptData, UnsupportedFormat: A record on the way can't be read.
    """
    for state, record in candidates(backend, name, selector):
        if (version := confirm(name, state, record, read_outcome(backend, record.tx_id))) is not None:
            return with_edit(backend, version)
    raise never_finished(name, selector)


def never_finished(name: Name, selector: VersionSelector) -> NameNotFound:
    return NameNotFound(f"{name}{selector} was begun and is not finished, or was given up")


def open_version(
    backend: Backend,
    name: Name,
    selector: VersionSelector,
    *,
    pool: Executor | None = None,
    readable_at: float | None = None,
) -> tuple[Version, Root]:
    """Resolve a version and read its root: listing, slot, then outcome and root (at once, given a ``pool``).

    Args:
        readable_at: Refuse a version that has expired by then, in seconds since the epoch; None opens it all the
            same. Of versions with one content any that has not expired will do; `latest` is never an older one.

    Raises:
        NameNotFound, VersionDeleted: As `versions.resolve`.
        VersionExpired: Its time is over.
        CorruptData, UnsupportedFormat: As `load_root`.
    """
    expired: Version | None = None
    try:
        for version, asked in _committed(backend, name, selector, pool):
            if readable_at is not None and version.notes.has_expired(readable_at):
                if not isinstance(selector, Content):
                    raise version_expired(version)
                expired = expired or version
                continue
            root = _root(backend, version, asked)
            # What a slot says of its content is a hint; the root decides.
            if not isinstance(selector, Content) or root.content_digest == selector.digest:
                return version, root
    except NameNotFound:
        if expired is None:
            raise
    raise version_expired(expired) if expired is not None else never_finished(name, selector)


def _committed(
    backend: Backend, name: Name, selector: VersionSelector, pool: Executor | None
) -> Iterator[tuple[Version, Future[Buffer | None] | None]]:
    """Committed candidates with their newest edits; given a ``pool``, their roots are asked for meanwhile."""
    for state, record in candidates(backend, name, selector):
        asked = pool.submit(_root_body, backend, record.tx_id) if pool is not None else None
        version = confirm(name, state, record, read_outcome(backend, record.tx_id))
        if version is not None:  # otherwise the root, if any, is of no use
            yield with_edit(backend, version), asked


def _root(backend: Backend, version: Version, asked: Future[Buffer | None] | None) -> Root:
    """The root, if it was asked for already then what came."""
    if asked is None:
        return load_root(backend, version)
    found = asked.result()
    if found is None:
        raise root_gone(backend, version)
    return check_root(version, found)


def _root_body(backend: Backend, tx: TxId) -> Buffer | None:
    try:
        return backend.get(root_key(tx))
    except ObjectNotFound:
        return None
