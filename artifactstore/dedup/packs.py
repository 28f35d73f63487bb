"""Which packs an upload may rely on, and their numbers in it (docs/protocol.md, "Reuse").

Everything known about stored packs is a hint until the storage has been asked, after the
upload looked at `gc/`: a pack counts when a live committed version names it (the base), or
when this user's own uploads recorded it and it still answers. `PackSet` is the one place
that decides. Places of files name packs by their number here; ids follow when sealed.
"""

import threading
from array import array
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from artifactstore.backend.protocol import Backend
from artifactstore.digest import PackId
from artifactstore.errors import ObjectNotFound
from artifactstore.keys import pack_key
from artifactstore.manifest.model import PackRow
from artifactstore.pack.format import HEADER_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPack:
    """A pack that an upload of this user has put, as local state remembers it.

    Attributes:
        done_run: *d* of that upload.
        object_bytes: Size of the pack object.
        table_bytes: Size of its table and trailer.
    """

    pack: PackId
    done_run: int
    object_bytes: int
    table_bytes: int


class Layout(Protocol):
    """Where the chunks of one pack lie: a pack's table, or what is known of a pack being filled."""

    def slice_extent(self, first: int, count: int) -> tuple[int, int, int]:
        """(offset, stored length, content length) of ``count`` chunks from ``first`` on."""
        ...


class GrowingLayout:
    """The layout of a pack that is being filled."""

    __slots__ = ("_offsets", "_positions")

    def __init__(self) -> None:
        self._offsets = array("Q", [HEADER_BYTES])
        self._positions = array("Q", [0])

    def append(self, stored_length: int, raw_length: int) -> None:
        self._offsets.append(self._offsets[-1] + stored_length)
        self._positions.append(self._positions[-1] + raw_length)

    def slice_extent(self, first: int, count: int) -> tuple[int, int, int]:
        end = first + count
        offset, position = self._offsets[first], self._positions[first]
        return offset, self._offsets[end] - offset, self._positions[end] - position


class PackSet:
    """The packs of one upload, numbered in the order in which they were first named.

    Args:
        recorded: What local state remembers of a pack, or None.
        adopt: Told the *d* of every recorded pack that is relied on.
    """

    def __init__(
        self, backend: Backend, *, recorded: Callable[[PackId], RecordedPack | None], adopt: Callable[[int], None]
    ) -> None:
        self._backend = backend
        self._recorded = recorded
        self._adopt = adopt
        self._lock = threading.Lock()
        self._numbers: dict[PackId, int] = {}
        self._rows: list[PackRow | None] = []
        self._layouts: dict[int, Layout] = {}
        self._seen: dict[PackId, PackRow] = {}
        self._unusable: set[PackId] = set()

    def trust(self, rows: Iterable[PackRow]) -> None:
        """Rely on the packs of a version found committed and not deleted, after `gc/` was looked at."""
        for row in rows:
            if row.pack not in self._unusable:
                self._seen[PackId(row.pack)] = row

    def trust_recorded(self, recorded: RecordedPack) -> None:
        """Rely on a pack that this user's uploads recorded and that has answered since `gc/` was looked at.

        Its *d* is taken over first: without that a collection of its time would go unseen.
        """
        with self._lock:
            self._adopt(recorded.done_run)
            if recorded.pack not in self._unusable:
                row = PackRow(recorded.pack, recorded.object_bytes, recorded.table_bytes, 0)
                self._seen[recorded.pack] = row

    def ban(self, packs: Iterable[PackId]) -> None:
        """Never rely on these packs again in this upload: they are condemned, or too small to keep."""
        for pack in packs:
            self._unusable.add(pack)
            self._seen.pop(pack, None)

    @property
    def banned(self) -> frozenset[PackId]:
        """What may not be relied on: banned, or found gone."""
        return frozenset(self._unusable)

    def is_banned(self, number: int) -> bool:
        row = self._rows[number]
        return row is not None and row.pack in self._unusable

    def banned_among(self, numbers: Iterable[int]) -> frozenset[PackId]:
        """Those of these packs, by number, that may not be relied on any more."""
        return frozenset(self.id_of(number) for number in numbers if self.is_banned(number))

    def ask(self, packs: Iterable[PackId], pool: Executor) -> None:
        """Find out, several at once, which of these packs still answer."""
        unknown = {p for p in packs if p not in self._seen and p not in self._unusable}
        list(pool.map(self._ask, unknown))

    def _ask(self, pack: PackId) -> None:
        recorded = self._recorded(pack)
        if recorded is not None:
            try:
                # Of another size it is damaged: not to be relied on.
                if self._backend.head(pack_key(pack)).size_bytes == recorded.object_bytes:
                    self.trust_recorded(recorded)
                    return
            except ObjectNotFound:
                pass  # collected since: a stale hint is a miss
        with self._lock:
            self._unusable.add(pack)

    def number(self, pack: PackId) -> int | None:
        """The pack's number, or None when it may not be relied on. Asks the storage where that is not known yet."""
        if pack not in self._seen:
            if pack in self._unusable:
                return None
            self._ask(pack)
            if pack not in self._seen:
                return None
        number = self._numbers.get(pack)
        if number is None:
            with self._lock:
                number = self._numbers[pack] = len(self._rows)
                self._rows.append(self._seen[pack])
        return number

    def begin(self) -> tuple[int, GrowingLayout]:
        """Number a new pack that is about to be filled."""
        with self._lock:
            number = len(self._rows)
            self._rows.append(None)
        layout = GrowingLayout()
        self._layouts[number] = layout
        return number, layout

    def settle(self, number: int, row: PackRow) -> None:
        """The pack of this number is sealed and has its name."""
        self._rows[number] = row
        self._numbers[PackId(row.pack)] = number

    def learn(self, number: int, layout: Layout) -> None:
        """Keep the layout of a pack whose table was read."""
        self._layouts[number] = layout

    def layout(self, number: int) -> Layout:
        return self._layouts[number]

    def row(self, number: int) -> PackRow:
        """The table row of a pack.

        Raises:
            LookupError: It is still being filled.
        """
        row = self._rows[number]
        if row is None:
            raise LookupError(f"pack {number} is not sealed yet")
        return row

    def id_of(self, number: int) -> PackId:
        return PackId(self.row(number).pack)
