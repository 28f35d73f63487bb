"""The version that an upload builds on, and what of it can be used again.

Whole files match by file digest; for a file that was modified, the tables of the packs
that hold its old content are read, and its chunks match one by one. Cost follows the new
data: a block of the base is loaded only where an entry of it may match, a table only when
a file in it changed.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor

from artifactstore.backend.protocol import Backend
from artifactstore.chunking import parse_cut_function
from artifactstore.dedup.known import KnownChunks
from artifactstore.dedup.packs import PackSet, RecordedPack
from artifactstore.dedup.prediction import OldContent
from artifactstore.digest import Digest, PackId
from artifactstore.errors import CorruptData, ObjectNotFound
from artifactstore.keys import parse_pack_key
from artifactstore.manifest.build import LocatedBlock, reusable
from artifactstore.manifest.model import HOLE, Block, Entry, EntryKind, EntryPlaces, Extent, PackRow
from artifactstore.pack.format import Table
from artifactstore.pack.reader import read_table
from artifactstore.tree import StoredTree

_log = logging.getLogger(__name__)
# A fresh machine, or a renamed folder: reading all of the base's blocks costs little beside
# reading that much source.
_SOURCE_BYTES_PER_BLOCK = 256 << 10


class TableLoader:
    """Reads tables of packs that an upload may rely on, each once, and makes their chunks known."""

    def __init__(self, backend: Backend, packs: PackSet, known: KnownChunks, pool: Executor) -> None:
        self._backend = backend
        self._packs = packs
        self._known = known
        self._pool = pool
        self._loaded: set[PackId] = set()
        self._tables: dict[int, Table] = {}

    def load(self, packs: Iterable[PackId]) -> None:
        """Learn the chunks of these packs, where they may be relied on. One that is gone or damaged is banned."""
        wanted = [p for p in dict.fromkeys(packs) if p not in self._loaded]
        self._loaded.update(wanted)
        numbered = [(n, self._packs.row(n)) for p in wanted if (n := self._packs.number(p)) is not None]
        tables = self._pool.map(self._read, [row for _, row in numbered])
        for (number, row), table in zip(numbered, tables, strict=True):
            if isinstance(table, Table):
                self._learn(number, table)
            else:
                self._packs.ban([PackId(row.pack)])

    def old_content(self, extents: Sequence[Extent]) -> OldContent:
        """How a file of these extents, over the upload's pack numbers, was cut; as far as tables are loaded."""
        numbers = {extent.pack for extent in extents if extent.pack != HOLE}
        return OldContent(extents, {n: self._tables[n] for n in numbers if n in self._tables}, self._known)

    def load_recorded(self, recorded: Sequence[RecordedPack]) -> list[PackId]:
        """Learn the packs of an earlier upload of this user that never committed.

        Reading a pack's tail from the storage is what shows that it is still there; one that is gone, or does not
        prove itself, is a stale hint.

        Returns:
            Those that are gone.
        """
        asked = [pack for pack in recorded if pack.pack not in self._loaded]
        rows = [PackRow(pack.pack, pack.object_bytes, pack.table_bytes, 0) for pack in asked]
        gone = []
        for pack, table in zip(asked, self._pool.map(self._read, rows), strict=True):
            self._loaded.add(pack.pack)
            if isinstance(table, Table):
                self._packs.trust_recorded(pack)
                if (number := self._packs.number(pack.pack)) is not None:
                    self._learn(number, table)
            elif isinstance(table, ObjectNotFound):
                gone.append(pack.pack)
        self._packs.ban(gone)
        return gone

    def _read(self, row: PackRow) -> Table | ObjectNotFound | CorruptData:
        pack = PackId(row.pack)
        try:
            return read_table(self._backend, pack, object_bytes=row.object_bytes, table_bytes=row.table_bytes)
        except (ObjectNotFound, CorruptData) as error:
            # Gone since it was seen, or damaged: either way its chunks are stored again.
            _log.info("a pack can't be used: %s", error)
            return error

    def _learn(self, number: int, table: Table) -> None:
        self._packs.learn(number, table)
        self._known.add_table(number, table)
        self._tables[number] = table


class Base:
    """A live committed version, seen after `gc/` was looked at, as the source of reusable content."""

    def __init__(self, tree: StoredTree, tx: str, packs: PackSet) -> None:
        self.tree = tree
        self.tx = tx
        self._packs = packs
        self._tables: TableLoader | None = None
        self._loaded: dict[int, Block] = {}
        self._by_path: dict[bytes, tuple[Entry, EntryPlaces, Block]] = {}
        self._by_digest: dict[bytes, tuple[Entry, EntryPlaces, Block]] = {}
        self._by_name: dict[bytes, tuple[Entry, EntryPlaces, Block]] = {}
        self._by_size: dict[int, tuple[Entry, EntryPlaces, Block]] = {}
        self._one_chunk_bytes = parse_cut_function(tree.root.cut).min_bytes
        packs.trust(tree.root.packs)

    def use_tables(self, tables: TableLoader) -> None:
        """Tables of old content go where this loader puts them."""
        self._tables = tables

    def load_for(self, paths: Sequence[bytes], source_bytes: int) -> None:
        """Load the blocks in which these paths lie or would lie; all blocks where that is cheap beside reading.

        Args:
            source_bytes: How much content the upload is about to read.
        """
        count = self.tree.block_count
        if count * _SOURCE_BYTES_PER_BLOCK <= source_bytes or len(paths) >= 64 * count:
            wanted = list(range(count))
        else:
            wanted = self._blocks_of(paths) if count else []
        missing = [i for i in wanted if i not in self._loaded]
        for number, block in self._blocks(missing):
            self._loaded[number] = block
            for entry, places in zip(block.entries, block.places, strict=True):
                if entry.kind == EntryKind.FILE:
                    self._by_path[entry.path] = found = entry, places, block
                    self._by_digest.setdefault(entry.digest, found)
                    if entry.size > self._one_chunk_bytes:
                        self._by_name.setdefault(entry.path.rpartition(b"/")[2], found)
                        self._by_size.setdefault(entry.size, found)

    def _blocks_of(self, paths: Sequence[bytes]) -> list[int]:
        try:
            return sorted({self.tree.block_of(path) for path in paths})
        except CorruptData as error:
            self._avoid(error)
            return []

    def _blocks(self, numbers: Sequence[int]) -> Iterator[tuple[int, Block]]:
        """These blocks, without those that are gone or damaged: what is missed is stored again."""
        try:
            yield from zip(numbers, self.tree.load_blocks(numbers), strict=True)
        except CorruptData as error:
            self._avoid(error)
            if len(numbers) > 1:
                for number in numbers:
                    yield from self._blocks([number])

    def has_file(self, path: bytes) -> bool:
        """Whether a file at this path is known, of the blocks loaded so far."""
        return path in self._by_path

    def same_file(self, digest: bytes) -> tuple[Extent, ...] | None:
        """Places of a file with this file digest, in the upload's numbers; None where there is none to rely on."""
        found = self._by_digest.get(digest)
        if found is None:
            return None
        extents = self._extents(found)
        return translate(extents, found[2].packs, self._packs) if extents is not None else None

    def learn_old_content(self, path: bytes, size: int) -> OldContent | None:
        """Make the chunks known that a large file had in the base; how it was cut there, if it was there.

        A file that the base has not at this path may have been moved: then one of just this size, or else of this
        name, is taken for it. Where that is wrong, it cost a request or two.
        """
        found = (
            self._by_path.get(path) or self._by_size.get(size) or self._by_name.get(path.rpartition(b"/")[2])
        )
        if found is None or self._tables is None:
            return None
        extents = self._extents(found) or ()
        self._tables.load(PackId(found[2].packs[e.pack]) for e in extents if e.pack != HOLE)
        return self._tables.old_content(translate(extents, found[2].packs, self._packs) or ())

    def reusable(self) -> dict[Digest, LocatedBlock]:
        """Its blocks by content digest, without those that need a pack that may not be relied on."""
        try:
            return reusable(self.tree.rows(), avoid=self._packs.banned)
        except CorruptData as error:
            self._avoid(error)
            return {}

    def _extents(self, found: tuple[Entry, EntryPlaces, Block]) -> tuple[Extent, ...] | None:
        _, places, block = found
        try:
            return self.tree.extents(places, block)
        except CorruptData as error:
            self._avoid(error)
            return None

    def _avoid(self, error: CorruptData) -> None:
        """The base is an aid, not a need: without what is damaged, the upload makes a version that is whole."""
        _log.warning("part of %s can't be used, its content is stored again: %s", self.tree.version, error)
        pack = parse_pack_key(error.key)
        if pack is not None:
            self._packs.ban([pack])


def translate(extents: Sequence[Extent], ids: Sequence[bytes], packs: PackSet) -> tuple[Extent, ...] | None:
    """Extents over a list of pack ids, as extents over the upload's pack numbers; None if one can't be relied on."""
    result = []
    for extent in extents:
        number = HOLE
        if extent.pack != HOLE:
            usable = packs.number(PackId(ids[extent.pack]))
            if usable is None:
                return None
            number = usable
        result.append(
            Extent(
                number,
                extent.first_chunk,
                extent.chunk_count,
                extent.offset,
                extent.stored_length,
                extent.content_length,
            )
        )
    return tuple(result)
