"""A store that went back in time: an old copy restored, or old records served again (fault 82).

Slots and moves of an alias only ever count up, and none is removed. So a number below one
that was seen from here before means that something acknowledged is lost. All this can do is
to say so: what is there now may be all that is left.
"""

import logging
from collections.abc import Sequence
from typing import Final

from artifactstore.backend.protocol import Backend
from artifactstore.errors import NameNotFound
from artifactstore.keys import NameKeys, parse_counted
from artifactstore.manifest.model import Root
from artifactstore.names import Alias, Latest, Name, Reference
from artifactstore.transaction.resolve import open_version
from artifactstore.transaction.slots import highest_slot
from artifactstore.transaction.versions import Version
from artifactstore.transfer.context import StoreContext

_log = logging.getLogger(__name__)
_SHORT_PAGE: Final = 10


class Witness:
    """What was seen of a name until now. Make it *before* the storage is asked: others count on meanwhile."""

    def __init__(self, context: StoreContext, name: Name, *, aliases: Sequence[str] = ()) -> None:
        self._context = context
        self._name = name
        self.slot = self._highest(name.text)
        self._moves = {alias: self._highest(f"{name}:{alias}") for alias in aliases}

    def look_at_slot(self, number: int) -> None:
        """Hold the highest slot that a listing shows against what was seen."""
        if number < self.slot:
            now = f"now its newest is v{number}" if number else "now it has none"
            self._warn(f"{self._name} had version v{self.slot} when it was last seen from here, {now}")
        self.note_slot(self._name, number)

    def look_at_move(self, alias: str, number: int) -> None:
        """Hold the number of an alias's newest move against what was seen."""
        before = self._moves.get(alias, 0)
        if number < before:
            what = f"alias {alias} of {self._name} had been moved {before} times when it was last seen from here"
            self._warn(f"{what}, now {number} times")
        self._note(f"{self._name}:{alias}", number)

    def note_slot(self, name: Name, number: int) -> None:
        """Remember that this slot is there."""
        self._note(name.text, number)

    def _highest(self, counter: str) -> int:
        return self._context.state.highest_seen(self._context.store_id, counter)

    def _note(self, counter: str, number: int) -> None:
        self._context.state.note_seen(self._context.store_id, counter, number)

    def _warn(self, what: str) -> None:
        _log.warning(
            "%s: %s. The store went back in time, such as to an old copy: what was acknowledged since is lost.",
            self._context.url,
            what,
        )


def open_watched(context: StoreContext, reference: Reference, *, allow_expired: bool = False) -> tuple[Version, Root]:
    """The version that a reference means, and its root, held against what was seen of the name from here.

    Costs one request more where the newest version is not the newest one seen, and for an alias.

    Raises:
        As `transaction.resolve.open_version`.
    """
    backend, name, selector = context.backend, reference.name, reference.version
    alias = selector.text if isinstance(selector, Alias) else ""
    witness = Witness(context, name, aliases=[alias] if alias else ())
    asked = context.requests.submit(_newest_move, backend, name, alias) if alias else None
    try:
        version, root = open_version(
            backend,
            name,
            selector,
            pool=context.requests,
            readable_at=None if allow_expired else context.clock.now(),
        )
    except NameNotFound:
        if witness.slot:
            witness.look_at_slot(highest_slot(backend, name))
        raise
    witness.note_slot(name, version.slot)
    if selector == Latest() and version.slot < witness.slot:
        witness.look_at_slot(highest_slot(backend, name))  # or the newer ones are just deleted
    if asked is not None:
        witness.look_at_move(alias, asked.result())
    return version, root


def _newest_move(backend: Backend, name: Name, alias: str) -> int:
    """The number of the newest move, by one request."""
    prefix = NameKeys(name).alias_moves(alias)
    keys = (info.key.removeprefix(prefix) for info in backend.list(prefix, page_size=_SHORT_PAGE))
    return next(filter(None, map(parse_counted, keys)), 0)
