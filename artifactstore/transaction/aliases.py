"""Aliases: numbered moves, each written once; the newest counts.

Moving an alias puts the next number. Who loses the race for a number goes on with the one
after it, so that every acknowledged move is in the history and the last one stands.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from artifactstore.backend.protocol import Backend, CommonPrefix
from artifactstore.clock import Clock, timestamp
from artifactstore.errors import InvalidName, NameNotFound, TransientBackendError
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
from artifactstore.transaction.versions import Version

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


def _numbers(backend: Backend, name: Name, alias: str, *, page_size: int | None = None) -> Iterator[int]:
    prefix = NameKeys(name).alias_moves(alias)
    for info in backend.list(prefix, page_size=page_size):
        number = parse_counted(info.key.removeprefix(prefix))
        if number:
            yield number


def _read(backend: Backend, name: Name, alias: str, number: int) -> AliasMove:
    key = NameKeys(name).alias_move(alias, number)
    record = decode_record(AliasRecord, backend.get(key), key=key)
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
    move = newest_move(backend, name, alias)
    if move is None or not move.slot:
        raise NameNotFound(f"{name} has no alias {alias}")
    return move


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


def move_alias(backend: Backend, clock: Clock, alias: str, *, to: Version, author: Author = NOBODY) -> AliasMove:
    """Make an alias of a version's name point to it. Nothing is written where it does already.

    Raises:
        CommitStateUnknown: It may have moved.
        TransientBackendError: Others moved it all the time, for two minutes.
    """
    newest = newest_move(backend, to.name, check_alias(alias))
    if newest is not None and (newest.slot, newest.tx) == (to.slot, to.tx):
        return newest
    number = newest.number + 1 if newest is not None else 1
    record = _record(clock, author, slot=to.slot, tx=to.tx)
    return _put_move(backend, clock, to.name, alias, first=number, record=record)


def drop_alias(backend: Backend, clock: Clock, name: Name, alias: str, *, author: Author = NOBODY) -> AliasMove:
    """Take an alias away: a move to nothing. Its history stays.

    Raises:
        NameNotFound: No such alias.
        CommitStateUnknown: It may have been taken away.
    """
    newest = read_alias(backend, name, alias)
    record = _record(clock, author, slot=0, tx="")
    return _put_move(backend, clock, name, alias, first=newest.number + 1, record=record)


def _record(clock: Clock, author: Author, *, slot: int, tx: str) -> AliasRecord:
    return AliasRecord(
        nonce=fresh_nonce(clock),
        slot=slot,
        tx=tx,
        created=timestamp(clock.now()),
        who=author.who,
        host=author.host,
    )


def _put_move(backend: Backend, clock: Clock, name: Name, alias: str, *, first: int, record: AliasRecord) -> AliasMove:
    keys = NameKeys(name)
    body = encode_record(record)
    backoff = Backoff(clock, deadline_seconds=_MOVING_SECONDS)
    number = first
    while not isinstance(put_once(backend, clock, keys.alias_move(alias, number), body), Won):
        number += 1
        if not backoff.wait():
            raise TransientBackendError(f"alias {alias} of {name} is moved by others all the time")
    return AliasMove(alias=alias, number=number, slot=record.slot, tx=TxId(record.tx), record=record)
