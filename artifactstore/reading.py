"""A stored file as a stream, without downloading it first.

A small file is read whole and checked against its file digest. Of a larger one the tables
of its packs are read first: they prove themselves by their packs' names, and the file's
digest proves that they list its chunks. Then a range costs only the chunks it touches,
each checked against its digest before a byte of it is returned.
"""

import errno
import io
import os
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from artifactstore.backend.protocol import Backend
from artifactstore.chunking import CutFunction, parse_cut_function
from artifactstore.digest import CHUNK_CONTEXT, Buffer, Digest, PackId, digest_of
from artifactstore.errors import CorruptData, ObjectNotFound, PathNotFound
from artifactstore.keys import pack_key
from artifactstore.manifest.format import FileDigester
from artifactstore.manifest.model import HOLE, Entry, EntryKind, Extent
from artifactstore.manifest.paths import shown
from artifactstore.pack.reader import iter_extent, read_table
from artifactstore.tree import StoredTree

WHOLE_FILE_BYTES: Final = 8 << 20
READ_AHEAD_BYTES: Final = 4 << 20
MAX_FETCH_BYTES: Final = 32 << 20
"""Content that one read asks for at most, however much it could take: callers go on asking."""
_BUFFER_BYTES: Final = 64 << 10
_ZEROS: Final = memoryview(bytes(1 << 20))


class _Chunk(NamedTuple):
    """One chunk of a file; ``pack`` indexes the reader's packs. Or a run of zeros of any length: it is `HOLE`."""

    pack: int
    offset: int
    stored_length: int
    content_length: int
    digest: Digest


def open_file(tree: StoredTree, backend: Backend, path: bytes) -> io.BufferedReader:
    """Open a file of a version for reading; seekable.

    Raises:
        PathNotFound: Nothing is there, or no file.
        CorruptData: Stored bytes fail their check: here, or when they are read.
        BackendError: The storage did not answer.
    """
    if not path:
        what = f"{tree.version} is a version, not a file"
        raise PathNotFound(what, next_step=f"Name a file in it: {tree.version}/PATH")
    try:
        entry, places, block = tree.find(path)
    except PathNotFound:
        if next(tree.below(path), None) is not None:
            raise PathNotFound(f"{shown(path)} is a directory of {tree.version}: it can't be read as a file") from None
        raise
    if entry.kind != EntryKind.FILE:
        raise PathNotFound(f"{shown(path)} is not a file of {tree.version}: it can't be read as one")
    file = _File(tree, backend, entry, tree.extents(places, block), block.packs)
    if entry.size <= WHOLE_FILE_BYTES:
        return io.BufferedReader(_Whole(file.read_whole()))
    return io.BufferedReader(_Stream(file), _BUFFER_BYTES)


class _File:
    """Where the chunks of one file lie, and how to get them."""

    def __init__(
        self, tree: StoredTree, backend: Backend, entry: Entry, extents: Sequence[Extent], packs: Sequence[bytes]
    ) -> None:
        self.size: Final = entry.size
        self._tree = tree
        self._backend = backend
        self._entry = entry
        self._extents = extents
        self._packs = [PackId(pack) for pack in packs]
        self._cut: CutFunction = parse_cut_function(tree.root.cut)

    def read_whole(self) -> bytes:
        """All of it, by one request for each extent, checked against the file digest."""
        digester = FileDigester()
        parts: list[Buffer] = []
        for extent in self._extents:
            for digest, raw in self._extent(extent):
                digester.add(digest, len(raw))
                parts.append(raw)
        if digester.digest() != self._entry.digest:
            raise self._damage("a file does not have its digest")
        return b"".join(parts)

    def _extent(self, extent: Extent) -> Iterator[tuple[Digest, Buffer]]:
        if extent.pack == HOLE:
            digest, zeros = self._zero_digest(extent), bytes(extent.offset)
            yield from ((digest, zeros) for _ in range(extent.chunk_count))
            return
        pack = self._packs[extent.pack]
        body = self._range(pack, extent.offset, extent.stored_length)
        try:
            yield from iter_extent(
                body,
                pack=pack,
                offset=extent.offset,
                chunk_count=extent.chunk_count,
                max_raw_length=self._cut.max_bytes,
            )
        except CorruptData as error:
            raise self._hurts(error) from error

    def chunks(self) -> list[_Chunk]:
        """Every chunk, proved by the tables of its packs and the file digest."""
        digester = FileDigester()
        chunks: list[_Chunk] = []
        for extent in self._extents:
            if extent.pack == HOLE:
                digest = self._zero_digest(extent)
                digester.add_repeated(digest, extent.offset, extent.chunk_count)
                chunks.append(_Chunk(HOLE, 0, 0, extent.offset * extent.chunk_count, digest))
                continue
            for chunk in self._listed(extent):
                digester.add(chunk.digest, chunk.content_length)
                chunks.append(chunk)
        if digester.digest() != self._entry.digest:
            raise self._damage("the tables of a file's packs do not list its chunks")
        return chunks

    def _zero_digest(self, hole: Extent) -> Digest:
        """The digest of each of the equal chunks of a hole."""
        if not 0 < hole.offset <= self._cut.max_bytes:
            raise self._damage("a chunk of zeros is longer than any chunk may be")
        return digest_of(CHUNK_CONTEXT, bytes(hole.offset))

    def _listed(self, extent: Extent) -> Iterator[_Chunk]:
        pack = self._packs[extent.pack]
        row = self._tree.pack_row(pack)
        try:
            table = read_table(self._backend, pack, object_bytes=row.object_bytes, table_bytes=row.table_bytes)
        except ObjectNotFound as error:
            raise self._gone(pack) from error
        except CorruptData as error:
            raise self._hurts(error) from error
        if extent.first_chunk + extent.chunk_count > len(table):
            raise self._damage("an extent goes past the end of its pack's table")
        for number in range(extent.first_chunk, extent.first_chunk + extent.chunk_count):
            offset, stored_length, content_length = table.slice_extent(number, 1)
            yield _Chunk(extent.pack, offset, stored_length, content_length, table.digest(number))

    def read_chunks(self, chunks: Sequence[_Chunk]) -> list[Buffer]:
        """The content of stored chunks: one request for each run of them in a pack."""
        raws: list[Buffer] = []
        at = 0
        while at < len(chunks):
            end = at + 1
            while end < len(chunks) and _follows(chunks[end - 1], chunks[end]):
                end += 1
            raws += self._run(chunks[at:end])
            at = end
        return raws

    def _run(self, run: Sequence[_Chunk]) -> list[Buffer]:
        pack, offset = self._packs[run[0].pack], run[0].offset
        body = self._range(pack, offset, sum(chunk.stored_length for chunk in run))
        raws: list[Buffer] = []
        try:
            found = iter_extent(
                body, pack=pack, offset=offset, chunk_count=len(run), max_raw_length=self._cut.max_bytes
            )
            for chunk, (digest, raw) in zip(run, found, strict=True):
                if digest != chunk.digest:
                    raise CorruptData("a chunk does not have its digest", key=pack_key(pack))
                raws.append(raw)
        except CorruptData as error:
            raise self._hurts(error) from error
        return raws

    def _range(self, pack: PackId, offset: int, length: int) -> memoryview:
        try:
            return memoryview(self._backend.get_range(pack_key(pack), offset, length))
        except ObjectNotFound as error:
            raise self._gone(pack) from error
        except CorruptData as error:
            raise self._hurts(error) from error

    def _gone(self, pack: PackId) -> CorruptData:
        return CorruptData("a pack is gone", key=pack_key(pack), versions=[self._tree.version])

    def _damage(self, what: str) -> CorruptData:
        return CorruptData(f"{what}: {shown(self._entry.path)}", versions=[self._tree.version])

    def _hurts(self, error: CorruptData) -> CorruptData:
        return CorruptData(
            f"{error.what}: {shown(self._entry.path)}",
            key=error.key,
            byte_range=error.byte_range,
            versions=[self._tree.version],
        )


def _follows(one: _Chunk, other: _Chunk) -> bool:
    return one.pack == other.pack and one.offset + one.stored_length == other.offset


class _Raw(io.RawIOBase):
    """What seeks and counts as a local file does."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))  # what callers of local files expect: zipfile does
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position


class _Whole(_Raw):
    """Content that is in memory already."""

    def __init__(self, content: bytes) -> None:
        super().__init__(len(content))
        self._content = memoryview(content)

    def readinto(self, buffer: "memoryview | bytearray", /) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        part = self._content[self._position : self._position + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)


class _Stream(_Raw):
    """A large file. A read brings the chunks it touches; reads that follow one another bring more and more ahead."""

    def __init__(self, file: _File) -> None:
        super().__init__(file.size)
        self._file = file
        self._chunks = file.chunks()
        self._ends = array("Q", accumulate(chunk.content_length for chunk in self._chunks))
        self._kept: dict[int, Buffer] = {}
        self._next = 0
        self._ahead_bytes = 0

    def readinto(self, buffer: "memoryview | bytearray", /) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        if self._position >= self._size or not len(view):
            return 0
        number = bisect_right(self._ends, self._position)
        if self._chunks[number].pack == HOLE:
            return self._read_zeros(number, view)
        if number not in self._kept:
            # The buffer's own size says nothing of what is wanted; a larger one is what somebody asked for.
            self._fetch(number, len(view) if len(view) > _BUFFER_BYTES else 1)
        raw = memoryview(self._kept[number])
        start = self._position - (self._ends[number] - len(raw))
        part = raw[start : start + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _read_zeros(self, number: int, view: memoryview) -> int:
        count = min(len(view), self._ends[number] - self._position, len(_ZEROS))
        view[:count] = _ZEROS[:count]
        self._position += count
        if number == self._next:
            self._next = number + 1  # what is behind it is the next to be fetched
        return count

    def readall(self) -> bytes:
        parts = []
        buffer = memoryview(bytearray(min(READ_AHEAD_BYTES, max(1, self._size - self._position))))
        while count := self.readinto(buffer):
            parts.append(bytes(buffer[:count]))
        return b"".join(parts)

    def _fetch(self, first: int, wanted_bytes: int) -> None:
        """Get this chunk and those after it, as far as is wanted, or as is likely to be."""
        follows = first == self._next and first
        self._ahead_bytes = min(2 * self._ahead_bytes + _BUFFER_BYTES, READ_AHEAD_BYTES) if follows else 0
        until = self._position + min(max(wanted_bytes, self._ahead_bytes), MAX_FETCH_BYTES)
        last = min(bisect_right(self._ends, until - 1), len(self._chunks) - 1)
        numbers = [number for number in range(first, last + 1) if self._chunks[number].pack != HOLE]
        raws = self._file.read_chunks([self._chunks[number] for number in numbers])
        self._kept = dict(zip(numbers, raws, strict=True))
        self._next = last + 1
