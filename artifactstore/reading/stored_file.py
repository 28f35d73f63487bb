"""Where the content of one stored file lies: its extents, in columns.

A file of 100 GB has some 3,000 extents, a badly fragmented one a million: they are kept as
arrays. What chunks an extent has is for the table of its pack to say, when it is needed.
"""

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from artifactstore.chunking import parse_cut_function
from artifactstore.digest import CHUNK_CONTEXT, Digest, PackId, digest_of
from artifactstore.errors import CorruptData, PathNotFound
from artifactstore.forks import renew_in_children
from artifactstore.keys import pack_key
from artifactstore.manifest.format import FileDigester
from artifactstore.manifest.model import HOLE, EntryKind, Extent, PackRow
from artifactstore.manifest.paths import shown
from artifactstore.pack.format import Table
from artifactstore.reading.ranges import Place
from artifactstore.tree import StoredEntry, StoredTree

_NO_PACK: Final = PackId(b"")


class Piece(NamedTuple):
    """One chunk of a file, or one run of zeros that is not stored (then ``place`` is of no pack).

    Attributes:
        start, end: Which bytes of the file it is.
        digest: Of the chunk; empty for zeros.
        extent: Number of the extent it is of.
    """

    start: int
    end: int
    place: Place
    digest: Digest
    extent: int

    @property
    def is_hole(self) -> bool:
        return not self.place.pack


class WholeExtent(NamedTuple):
    """An extent to be read without the table of its pack; of zeros if ``place`` is of no pack."""

    place: Place
    chunk_count: int
    content_length: int


class StoredFile:
    """One file of a version. Never changes; any number of threads.

    Attributes:
        path, version: What it is called (``name:v3``), for errors.
        size: Content bytes.
        digest: The file digest.
        max_chunk_bytes: No chunk of it is longer.
    """

    def __init__(self, tree: StoredTree, found: StoredEntry) -> None:
        entry = found.entry
        self.path: Final = entry.path
        self.version: Final = tree.version
        self.size: Final = entry.size
        self.digest: Final = Digest(entry.digest)
        self.max_chunk_bytes: Final = parse_cut_function(tree.root.cut).max_bytes
        extents = tree.extents(found.places, found.block)
        used = sorted({extent.pack for extent in extents} - {HOLE})
        self._packs = tuple(PackId(found.block.packs[number]) for number in used)
        self._rows = {pack: tree.pack_row(pack) for pack in self._packs}
        numbers = {HOLE: HOLE, **{number: at for at, number in enumerate(used)}}
        self._pack_of = array("i", (numbers[extent.pack] for extent in extents))
        self._first = array("I", (extent.first_chunk for extent in extents))
        self._count = array("Q", (extent.chunk_count for extent in extents))
        self._offset = array("I", (extent.offset for extent in extents))
        self._stored = array("I", (extent.stored_length for extent in extents))
        self._starts = array("Q", accumulate((extent.content_length for extent in extents), initial=0))
        self._check(extents)

    def _check(self, extents: Sequence[Extent]) -> None:
        if self._starts[-1] != self.size:
            raise self.damage("the extents of a file do not add up to its size")
        for extent in extents:
            if extent.pack == HOLE and (
                not 0 < extent.offset <= self.max_chunk_bytes
                or extent.offset * extent.chunk_count != extent.content_length
            ):
                raise self.damage("a run of zeros is of chunks that can't be")

    @property
    def extent_count(self) -> int:
        """How many extents it has."""
        return len(self._pack_of)

    def packs(self, start: int, end: int) -> set[PackId]:
        """The packs that hold these bytes of it."""
        numbers = set(self._pack_of[slice(*self._extents_of(start, end))]) - {HOLE}
        return {self._packs[number] for number in numbers}

    def pack_row(self, pack: PackId) -> PackRow:
        """Lengths of one of its packs."""
        return self._rows[pack]

    def whole(self) -> list[WholeExtent]:
        """All extents, in order."""
        return [
            WholeExtent(self._place(at), self._count[at], self._starts[at + 1] - self._starts[at])
            for at in range(len(self._pack_of))
        ]

    def pieces(self, start: int, end: int, tables: Callable[[PackId], Table]) -> Iterator[Piece]:
        """The chunks, and the runs of zeros, that some bytes of it lie in. In order, each whole.

        Args:
            tables: The proved table of a pack; asked for `packs` of the same bytes.

        Raises:
            CorruptData: An extent is not as the table of its pack has it.
        """
        for at in range(*self._extents_of(start, end)):
            first_byte, last_byte = self._starts[at], self._starts[at + 1]
            if self._pack_of[at] == HOLE:
                yield Piece(first_byte, last_byte, Place(_NO_PACK, 0, 0), Digest(b""), at)
            else:
                yield from self._chunks(at, max(start, first_byte), min(end, last_byte), tables(self._pack(at)))

    def _extents_of(self, start: int, end: int) -> tuple[int, int]:
        if start >= end:
            return 0, 0
        return bisect_right(self._starts, start) - 1, bisect_left(self._starts, end)

    def _chunks(self, at: int, start: int, end: int, table: Table) -> Iterator[Piece]:
        pack, first, count = self._pack(at), self._first[at], self._count[at]
        said = (self._offset[at], self._stored[at], self._starts[at + 1] - self._starts[at])
        if first + count > len(table) or table.slice_extent(first, count) != said:
            raise self.damage("an extent is not as the table of its pack has it", pack)
        positions, offsets = table.positions(), table.offsets()
        shift = positions[first] - self._starts[at]
        number = bisect_right(positions, start + shift, first, first + count) - 1
        while number < first + count and positions[number] - shift < end:
            place = Place(pack, offsets[number], offsets[number + 1])
            yield Piece(positions[number] - shift, positions[number + 1] - shift, place, table.digest(number), at)
            number += 1

    def _place(self, at: int) -> Place:
        if self._pack_of[at] == HOLE:
            return Place(_NO_PACK, 0, 0)
        return Place(self._pack(at), self._offset[at], self._offset[at] + self._stored[at])

    def _pack(self, at: int) -> PackId:
        return self._packs[self._pack_of[at]]

    def zeros(self, extent: int) -> tuple[Digest, int, int]:
        """Of an extent of zeros: the digest of each chunk, how long each is, and how many they are."""
        length = self._offset[extent]
        return digest_of(CHUNK_CONTEXT, bytes(length)), length, self._count[extent]

    def zeros_end(self, position: int) -> int:
        """Where the run of zeros ends that ``position`` lies in; ``position`` itself where it lies in none."""
        at = bisect_right(self._starts, position) - 1
        return self._starts[at + 1] if position < self.size and self._pack_of[at] == HOLE else position

    # Errors

    def damage(self, what: str, pack: PackId = _NO_PACK) -> CorruptData:
        """The error for something about it that is wrong."""
        key = pack_key(pack) if pack else ""
        return CorruptData(f"{what}: {shown(self.path)}", key=key, versions=[self.version])

    def gone(self, pack: PackId) -> CorruptData:
        """The error for one of its packs that is not there."""
        return CorruptData("a pack is gone", key=pack_key(pack), versions=[self.version])

    def hurt_by(self, error: CorruptData) -> CorruptData:
        """An error of its chunks or tables, as one that names the file and the version."""
        what = f"{error.what}: {shown(self.path)}"
        return CorruptData(what, key=error.key, byte_range=error.byte_range, versions=[self.version])


class WholeCheck:
    """Holds the chunks that a reader meets from start to end against the file digest.

    Every chunk is proved by its own digest; this proves, to a reader of all of it, that they are the file's. A reader
    that jumps proves no more than what it reads. Any number of threads.
    """

    def __init__(self, file: StoredFile) -> None:
        self._file = file
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child (`artifactstore.forks`): begin again, because a thread may have been at it."""
        self._lock = threading.Lock()
        self._digester = FileDigester()
        self._position = 0

    def see(self, pieces: Iterable[Piece]) -> None:
        """Take note of chunks that are about to be returned.

        Raises:
            CorruptData: With these, all of the file was seen, and it does not have its digest.
        """
        with self._lock:
            self._see(pieces)

    def _see(self, pieces: Iterable[Piece]) -> None:
        file, before = self._file, self._position
        for piece in pieces:
            if piece.start != self._position:
                continue
            if piece.is_hole:
                self._digester.add_repeated(*file.zeros(piece.extent))
            else:
                self._digester.add(piece.digest, piece.end - piece.start)
            self._position = piece.end
        if before < self._position == file.size and self._digester.digest() != file.digest:
            self._position = 0
            self._digester = FileDigester()
            raise file.damage("the chunks of a file are not those of its digest")


def find_file(tree: StoredTree, path: bytes) -> StoredEntry:
    """The entry of a file that is to be read.

    Raises:
        PathNotFound: Nothing is there, or no file; a reference is named with its URI.
        CorruptData, BackendError: As `StoredTree.find`.
    """
    if not path:
        what = f"{tree.version} is a version, not a file"
        raise PathNotFound(what, next_step=f"Name a file in it: {tree.version}/PATH")
    try:
        found = tree.find(path)
    except PathNotFound:
        if next(tree.below(path), None) is not None:
            raise PathNotFound(f"{shown(path)} is a directory of {tree.version}: it can't be read as a file") from None
        raise
    if found.entry.kind == EntryKind.REFERENCE and found.entry.reference is not None:
        what = f"{shown(path)} of {tree.version} is a reference to {found.entry.reference.uri}, and not stored"
        raise PathNotFound(what, next_step="Read it there, or bring it here: `artifactstore pull` fetches references.")
    if found.entry.kind != EntryKind.FILE:
        raise PathNotFound(f"{shown(path)} is not a file of {tree.version}: it can't be read as one")
    return found
