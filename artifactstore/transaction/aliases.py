"""Aliases: numbered moves, each written once; the newest counts.

Moving an alias puts the next number. Who loses the race for a number looks at the move that
took it, decides again, and goes on with the number after it: so every acknowledged move is
in the history, the last one stands, and no move passes over a protection that it did not see.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from artifactstore.backend.protocol import Backend, CommonPrefix
from artifactstore.clock import Clock, timestamp
from artifactstore.digest import Buffer
from artifactstore.errors import AliasProtected, InvalidName, NameNotFound, TransientBackendError, VersionDeleted
from artifactstore.keys import NameKeys, TxId, parse_counted
from artifactstore.names import Name, check_alias
from artifactstore.transaction.conditional import Backoff, Won, put_once
from artifactstore.transaction.records import (
    NOBODY,
    AliasRecord,
    Author,
    decode_record,
    encode_record,
    fresh_nonce,
)
from artifactstore.transaction.versions import Version, slot_state

_SHORT_PAGE: Final = 10
_MOVING_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMove:
    """One move.

    Attributes:
        number: Counts up from 1. It never goes back: a client that saw a higher one looks at a rolled back store.
        slot: The version it moved to; 0 where the alias was taken away.
        tx: That version's transaction.
    """

    alias: str
    number: int
    slot: int
    tx: TxId
    record: AliasRecord

    @property
    def protected(self) -> bool:
        return self.record.protected


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """How a move treats protection.

    Attributes:
        protect: Whether the alias is protected afterwards; None: as it was.
        force: Go ahead although it is protected.
    """

    protect: bool | None = None
    force: bool = False


NO_GUARD: Final = Guard()
FORCE: Final = Guard(force=True)
_NextMove = Callable[[AliasMove | None], AliasRecord | None]
"""From the newest move to the one to be put; None where nothing is to be done."""


def _numbers(backend: Backend, name: Name, alias: str, *, page_size: int | None = None) -> Iterator[int]:
    prefix = NameKeys(name).alias_moves(alias)
    for info in backend.list(prefix, page_size=page_size):
        number = parse_counted(info.key.removeprefix(prefix))
        if number:
            yield number


def _read(backend: Backend, name: Name, alias: str, number: int) -> AliasMove:
    key = NameKeys(name).alias_move(alias, number)
    return _parse(backend.get(key), key=key, alias=alias, number=number)


def _parse(body: Buffer, *, key: str, alias: str, number: int) -> AliasMove:
    record = decode_record(AliasRecord, body, key=key)
    return AliasMove(alias=alias, number=number, slot=record.slot, tx=TxId(record.tx), record=record)


def newest_move(backend: Backend, name: Name, alias: str) -> AliasMove | None:
    """The newest move, one that took the alias away included; None where it was never set. Two requests."""
    for number in _numbers(backend, name, alias, page_size=_SHORT_PAGE):
        return _read(backend, name, alias, number)
    return None


def read_alias(backend: Backend, name: Name, alias: str) -> AliasMove:
    """Where the alias points. Two requests.

    Raises:
        NameNotFound: No such alias.
    """
    return _standing(newest_move(backend, name, alias), name, alias)


def alias_history(backend: Backend, name: Name, alias: str) -> Iterator[AliasMove]:
    """All moves, the newest first."""
    for number in _numbers(backend, name, alias):
        yield _read(backend, name, alias, number)


def list_aliases(backend: Backend, name: Name) -> Iterator[AliasMove]:
    """Where each alias of a name points, by alias; two requests each."""
    prefix = NameKeys(name).aliases
    for item in backend.list_level(prefix):
        if not isinstance(item, CommonPrefix):
            continue
        try:
            alias = check_alias(item.prefix.removeprefix(prefix).removesuffix("/"))
        except InvalidName:
            continue  # not ours
        move = newest_move(backend, name, alias)
        if move is not None and move.slot:
            yield move


def move_alias(
    backend: Backend,
    clock: Clock,
    alias: str,
    *,
    to: Version,
    author: Author = NOBODY,
    guard: Guard = NO_GUARD,
) -> AliasMove:
    """Make an alias of a version's name point to it. Nothing is written where it does already.

    Raises:
        AliasProtected: It is protected and points elsewhere, and ``guard`` does not force it.
        CommitStateUnknown: It may have moved.
        TransientBackendError: Others moved it all the time, for two minutes.
    """

    def decide(newest: AliasMove | None) -> AliasRecord | None:
        was_protected = newest is not None and newest.protected
        protected = was_protected if guard.protect is None else guard.protect
        if newest is not None and (newest.slot, newest.tx) == (to.slot, to.tx):
            if protected == was_protected:
                return None
        elif newest is not None and newest.protected and not guard.force:
            raise protected_error(to.name, [newest])
        return _record(clock, author, slot=to.slot, tx=to.tx, protected=protected)

    return _put_move(backend, clock, to.name, check_alias(alias), decide)


def protect_alias(
    backend: Backend, clock: Clock, name: Name, alias: str, *, protect: bool, author: Author = NOBODY
) -> AliasMove:
    """Protect an alias where it points, or lift its protection. Nothing is written where it is so already.

    Raises:
        NameNotFound: No such alias.
        VersionDeleted: It is to be protected, and its version is deleted.
        CommitStateUnknown, TransientBackendError: As `move_alias`.
    """

    def decide(newest: AliasMove | None) -> AliasRecord | None:
        move = _standing(newest, name, alias)
        if move.protected == protect:
            return None
        state = slot_state(backend, name, move.slot) if protect else None
        if state is not None and state.deleted:
            raise VersionDeleted(f"alias {alias} of {name} points to v{move.slot}, which is deleted")
        return _record(clock, author, slot=move.slot, tx=move.tx, protected=protect)

    return _put_move(backend, clock, name, check_alias(alias), decide)


def drop_alias(
    backend: Backend, clock: Clock, name: Name, alias: str, *, author: Author = NOBODY, guard: Guard = NO_GUARD
) -> AliasMove:
    """Take an alias away: a move to nothing. Its history stays.

    Raises:
        NameNotFound: No such alias.
        AliasProtected: It is protected, and ``guard`` does not force it.
        CommitStateUnknown: It may have been taken away.
    """

    def decide(newest: AliasMove | None) -> AliasRecord | None:
        move = _standing(newest, name, alias)
        if move.protected and not guard.force:
            raise protected_error(name, [move])
        return _record(clock, author, slot=0, tx="", protected=False)

    return _put_move(backend, clock, name, check_alias(alias), decide)


def check_aliases_may_move(backend: Backend, name: Name, aliases: Iterable[str], *, to: Version | None = None) -> None:
    """Refuse early what `move_alias` would refuse later. Two requests each.

    Args:
        to: Where they are to move, as far as it is known: protected ones that point there already may stay so.

    Raises:
        AliasProtected: Some are protected.
    """
    moves = [newest_move(backend, name, check_alias(alias)) for alias in dict.fromkeys(aliases)]
    target = (to.slot, to.tx) if to is not None else None
    blocked = [move for move in moves if move is not None and move.protected and (move.slot, move.tx) != target]
    if blocked:
        raise protected_error(name, blocked)


def check_may_be_removed(name: Name, slots: Collection[int], moves: Iterable[AliasMove]) -> None:
    """Refuse to remove versions that protected aliases point to.

    Args:
        moves: Where the aliases of the name point, from `list_aliases`.

    Raises:
        AliasProtected: Some of them are under one.
    """
    blocked = [move for move in moves if move.protected and move.slot in slots]
    if blocked:
        raise protected_error(name, blocked)


def protected_error(name: Name, moves: Iterable[AliasMove]) -> AliasProtected:
    """The error that names the protected aliases that stand in the way, and where they point."""
    blocked = list(moves)
    named = ", ".join(f"{move.alias} (v{move.slot})" for move in blocked)
    what = f"{'alias' if len(blocked) == 1 else 'aliases'} {named} of {name}"
    return AliasProtected(
        f"{what} {'is' if len(blocked) == 1 else 'are'} protected", aliases=[move.alias for move in blocked]
    )


def _standing(newest: AliasMove | None, name: Name, alias: str) -> AliasMove:
    if newest is None or not newest.slot:
        raise NameNotFound(f"{name} has no alias {alias}")
    return newest


def _record(clock: Clock, author: Author, *, slot: int, tx: str, protected: bool) -> AliasRecord:
    return AliasRecord(
        nonce=fresh_nonce(clock),
        slot=slot,
        tx=tx,
        protected=protected,
        created=timestamp(clock.now()),
        who=author.who,
        host=author.host,
    )


def _put_move(backend: Backend, clock: Clock, name: Name, alias: str, decide: _NextMove) -> AliasMove:
    """Put the move that ``decide`` makes of the newest one. Called again with every move that came first."""
    keys = NameKeys(name)
    backoff = Backoff(clock, deadline_seconds=_MOVING_SECONDS)
    newest = newest_move(backend, name, alias)
    while (record := decide(newest)) is not None:
        number = newest.number + 1 if newest is not None else 1
        key = keys.alias_move(alias, number)
        outcome = put_once(backend, clock, key, encode_record(record))
        if isinstance(outcome, Won):
            return AliasMove(alias=alias, number=number, slot=record.slot, tx=TxId(record.tx), record=record)
        newest = _parse(outcome.body, key=key, alias=alias, number=number)
        if not backoff.wait():
            raise TransientBackendError(f"alias {alias} of {name} is moved by others all the time")
    assert newest is not None  # without a move there is always something to do
    return newest
