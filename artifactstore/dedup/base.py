"""The version that an upload builds on, and what of it can be used again.

Whole files match by file digest; for a file that was modified, the tables of the packs
that hold its old content are read, and its chunks match one by one. Cost follows the new
data: a block of the base is loaded only where an entry of it may match, a table only when
a file in it changed.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor

from artifactstore.backend.protocol import Backend
from artifactstore.dedup.known import KnownChunks
from artifactstore.dedup.packs import PackSet, RecordedPack
from artifactstore.digest import PackId
from artifactstore.errors import ObjectNotFound
from artifactstore.manifest.model import HOLE, Block, Entry, EntryKind, EntryPlaces, Extent, PackRow
from artifactstore.pack.format import Table
from artifactstore.pack.reader import read_table
from artifactstore.tree import StoredTree

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

    def load(self, packs: Iterable[PackId]) -> None:
        """Learn the chunks of these packs, where they may be relied on."""
        wanted = [p for p in dict.fromkeys(packs) if p not in self._loaded]
        self._loaded.update(wanted)
        numbered = [(n, self._packs.row(n)) for p in wanted if (n := self._packs.number(p)) is not None]
        tables = self._pool.map(self._read, [row for _, row in numbered])
        for (number, row), table in zip(numbered, tables, strict=True):
            if table is None:
                self._packs.ban([PackId(row.pack)])
            else:
                self._packs.learn(number, table)
                self._known.add_table(number, table)

    def _read(self, row: PackRow) -> Table | None:
        """A pack's table, or None where it is gone: its version was deleted since, and collected."""
        try:
            return read_table(
                self._backend, PackId(row.pack), object_bytes=row.object_bytes, table_bytes=row.table_bytes
            )
        except ObjectNotFound:
            return None

    def load_recorded(self, recorded: Sequence[RecordedPack], adopt: Callable[[int], None]) -> None:
        """Learn the packs of an earlier upload of this user that never committed.

        Reading a pack's tail from the storage is what shows that it is still there; one that is gone, or does not
        prove itself, is a stale hint.
        """
        for pack, found in zip(recorded, self._pool.map(self._probe, recorded), strict=True):
            if found:
                adopt(pack.done_run)
                self._packs.trust([PackRow(pack.pack, pack.object_bytes, pack.table_bytes, 0)])
        self.load(pack.pack for pack in recorded if self._packs.number(pack.pack) is not None)

    def _probe(self, pack: RecordedPack) -> bool:
        try:
            read_table(self._backend, pack.pack, object_bytes=pack.object_bytes, table_bytes=pack.table_bytes)
        except ObjectNotFound:
            return False
        return True


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
            wanted = sorted({self.tree.block_of(path) for path in paths} if count else ())
        missing = [i for i in wanted if i not in self._loaded]
        for number, block in zip(missing, self.tree.load_blocks(missing), strict=True):
            self._loaded[number] = block
            for entry, places in zip(block.entries, block.places, strict=True):
                if entry.kind == EntryKind.FILE:
                    self._by_path[entry.path] = entry, places, block
                    self._by_digest.setdefault(entry.digest, (entry, places, block))

    def same_file(self, digest: bytes) -> tuple[Extent, ...] | None:
        """Places of a file with this file digest, in the upload's numbers; None where there is none to rely on."""
        found = self._by_digest.get(digest)
        if found is None:
            return None
        _, places, block = found
        return translate(self.tree.extents(places, block), block.packs, self._packs)

    def learn_old_content(self, path: bytes) -> None:
        """Make the chunks known that the file at this path had in the base."""
        found = self._by_path.get(path)
        if found is not None and self._tables is not None:
            _, places, block = found
            extents = self.tree.extents(places, block)
            self._tables.load(PackId(block.packs[e.pack]) for e in extents if e.pack != HOLE)


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
