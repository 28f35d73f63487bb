"""Where the content of a push comes from: trees of this machine, or a composition."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from artifactstore.clock import Clock
from artifactstore.errors import NotFound
from artifactstore.names import Reference, Slot, parse_whole
from artifactstore.transaction.resolve import open_version
from artifactstore.transaction.versions import slot_state
from artifactstore.transfer.compose import Composition, complete, gather_placed
from artifactstore.transfer.context import StoreContext
from artifactstore.transfer.found import BaseTree, Scan, ScanOptions
from artifactstore.transfer.scan import scan
from artifactstore.tree import StoredTree

Source = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class Content(Protocol):
    """Where the content of a push comes from.

    Attributes:
        origin: A path; the git checkout around it is noted.
    """

    @property
    def origin(self) -> str: ...

    def look(self, options: ScanOptions, clock: Clock) -> Scan:
        """What is on this machine. Called while the storage is asked what it has under the name."""
        ...

    def complete(self, found: Scan, context: StoreContext) -> Scan:
        """With what comes from elsewhere. Called after `begin`."""
        ...


@dataclass(frozen=True, slots=True)
class Trees:
    """The content of one directory, or several files and directories under their own names.

    Attributes:
        base: Another version that much of it is in already, or None.
    """

    sources: Sequence[Source]
    base: Reference | None = None

    @property
    def origin(self) -> str:
        return os.fsdecode(self.sources[0])

    def look(self, options: ScanOptions, clock: Clock) -> Scan:
        return scan(self.sources, options=options, clock=clock)

    def complete(self, found: Scan, context: StoreContext) -> Scan:
        return found if self.base is None else replace(found, base=_seen_live(self.base, context))


def _seen_live(reference: Reference, context: StoreContext) -> BaseTree | None:
    """A version found live by requests made now; None where it is not there: then there is less to reuse."""
    try:
        version, root = open_version(context.backend, reference.name, reference.version, pool=context.requests)
    except NotFound:
        return None
    return BaseTree(StoredTree(context.backend, root, version=version.text, pool=context.requests), version.tx)


@dataclass(frozen=True, slots=True)
class Composed:
    """The content of a composition."""

    composition: Composition

    @property
    def origin(self) -> str:
        lasting = (part.source for part in self.composition.placed if not part.is_temporary)
        return os.fsdecode(next(lasting, b"."))

    def look(self, options: ScanOptions, clock: Clock) -> Scan:
        return gather_placed(self.composition.placed, options=options, clock=clock)

    def complete(self, found: Scan, context: StoreContext) -> Scan:
        base = self.composition.base
        whole = complete(found, self.composition, context)
        return whole if base is None else replace(whole, base=_seen_live(base, context))


def deleted_among(context: StoreContext, versions: Sequence[str]) -> str | None:
    """Of versions that content could not be read of, one that is deleted: what is gone then is no damage."""
    for text in versions:
        reference = parse_whole(text)
        if isinstance(reference.version, Slot):
            state = slot_state(context.backend, reference.name, reference.version.number)
            if state is not None and state.deleted:
                return text
    return None
