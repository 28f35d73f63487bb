"""A committed version as it lies in the store: its blocks, found, read and checked.

A block is read by one range of one pack; neighbours are read together. Every block is
checked against its digest, decoded strictly, and held against its row in the index,
before any of it is returned. Damage is reported with the version it hurts.
"""

import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from itertools import accumulate, repeat
from typing import Final, Generic, NamedTuple, ParamSpec, TypeVar

from artifactstore.backend.protocol import Backend
from artifactstore.digest import BLOCK_CONTEXT, Buffer, Digest, PackId, digest_of
from artifactstore.errors import CorruptData, ObjectNotFound, PathNotFound, UnsafeManifest
from artifactstore.keys import pack_key
from artifactstore.manifest.format import (
    MAX_LIST_BYTES,
    block_content_digest,
    content_digest,
    decode_block,
    decode_entries_only,
    decode_extent_list,
    decode_index_page,
)
from artifactstore.manifest.index import LocatedBlock, locate_row
from artifactstore.manifest.model import (
    HOLE,
    NO_CONTENT,
    Block,
    Entry,
    EntryPlaces,
    Extent,
    PackRow,
    Root,
    StoredChunk,
)
from artifactstore.manifest.paths import check_order, path_sort_key, shown
from artifactstore.pack.format import MAX_METADATA_BYTES, ChunkKind
from artifactstore.pack.reader import ByteRange, check_chunk, plan_reads

T = TypeVar("T")
P = ParamSpec("P")

_MAX_GAP_BYTES: Final = 128 << 10
_MAX_READ_BYTES: Final = 8 << 20
_WINDOW_BLOCKS: Final = 64
_CACHED_BLOCKS: Final = 32
_CACHED_PAGES: Final = 256


class StoredEntry(NamedTuple):
    """One entry, with the block whose `packs` its extents index."""

    entry: Entry
    places: EntryPlaces
    block: Block


class _Chunk(NamedTuple):
    """One metadata chunk to be read."""

    pack: PackId
    stored: StoredChunk


class _Read(NamedTuple):
    """One request: a range of a pack, and which of the wanted chunks lie in it."""

    pack: PackId
    span: ByteRange
    numbers: tuple[int, ...]


class StoredTree:
    """One version. May be used from several threads.

    Args:
        root: Decoded, and checked against its outcome.
        version: What it is called (``name:v3``), for errors.
        pool: Runs reads where several are needed; without one they run one after another. Methods that read must
            not be called from a worker of the same pool: they wait for it.

    Raises:
        CorruptData: The root describes no content.
    """

    def __init__(self, backend: Backend, root: Root, *, version: str = "", pool: Executor | None = None) -> None:
        self.root: Final = root
        self.version: Final = version
        self._backend = backend
        self._pool = pool
        if root.content_digest == NO_CONTENT:
            raise self._damage(CorruptData("an interim root stands where the root of a version should be"))
        self._pack_rows = {PackId(row.pack): row for row in root.packs}
        self._blocks = _Cache[Block](_CACHED_BLOCKS)
        self._pages = _Cache[tuple[LocatedBlock, ...]](_CACHED_PAGES)
        self._rows: tuple[LocatedBlock, ...] | None = None
        if not root.pages:
            self._rows = tuple(locate_row(row, root.packs, inline=root.inline) for row in root.blocks)
        self._page_starts = [0, *accumulate(page.block_count for page in root.pages)]
        self._top_keys = [path_sort_key(row.first_path) for row in root.pages or root.blocks]

    # The index

    @property
    def block_count(self) -> int:
        """How many blocks it has."""
        return self._page_starts[-1] if self.root.pages else len(self.root.blocks)

    def rows(self) -> tuple[LocatedBlock, ...]:
        """All blocks of the index, in order. Loads its pages, if it has any.

        Raises:
            CorruptData: The pages are not those of the root.
            BackendError: The storage did not answer.
        """
        if self._rows is None:
            pages = self._load_pages(range(len(self.root.pages)))
            rows = tuple(row for page in pages for row in page)
            counts = self.root.counts
            total = counts.files + counts.directories + counts.links + counts.references
            identity = content_digest(self.root.cut, ((row.content_digest, row.entry_count) for row in rows))
            if sum(row.entry_count for row in rows) != total or identity != self.root.content_digest:
                raise self._damage(CorruptData("the pages of a block index are not those of its root"))
            self._rows = rows
        return self._rows

    def pack_row(self, pack: PackId) -> PackRow:
        """What the root knows of a pack that the version needs.

        Raises:
            CorruptData: The root does not name it.
        """
        try:
            return self._pack_rows[pack]
        except KeyError as error:
            what = "a manifest needs a pack that its root does not name"
            raise self._damage(CorruptData(what, key=pack_key(pack))) from error

    def block_of(self, path: bytes) -> int:
        """The number of the block in which ``path`` lies, or would lie: 0 where it would be before all others.

        Raises:
            CorruptData: As `rows`, of one page at most.
        """
        return self._block_at(path_sort_key(path))

    def _block_at(self, key: bytes) -> int:
        at = max(0, bisect_right(self._top_keys, key) - 1)
        if not self.root.pages:
            return at
        keys = [path_sort_key(row.first_path) for row in self._page(at)]
        return self._page_starts[at] + max(0, bisect_right(keys, key) - 1)

    def _row(self, number: int) -> LocatedBlock:
        if self._rows is not None:
            return self._rows[number]
        page = bisect_right(self._page_starts, number) - 1
        return self._page(page)[number - self._page_starts[page]]

    def _first_path_after(self, number: int) -> bytes | None:
        """The first path of the block after this one, without loading another page."""
        if number + 1 >= self.block_count:
            return None
        if self.root.pages and (number + 1) in self._page_starts:
            return self.root.pages[self._page_starts.index(number + 1)].first_path
        return self._row(number + 1).first_path

    def _page(self, number: int) -> tuple[LocatedBlock, ...]:
        return self._pages.get(number) or self._load_pages([number])[0]

    def _load_pages(self, numbers: Sequence[int]) -> list[tuple[LocatedBlock, ...]]:
        found = {number: page for number in numbers if (page := self._pages.get(number))}
        missing = [number for number in numbers if number not in found]
        chunks = [self._chunk(self.root.pages[number].stored, self.root.packs) for number in missing]
        raws = self._start(chunks, ChunkKind.INDEX_PAGE, MAX_METADATA_BYTES).result()
        for number, chunk, raw in zip(missing, chunks, raws, strict=True):
            page = self._checked(chunk, self._decode_page, number, raw)
            found[number] = page
            self._pages.put(number, page)
        return [found[number] for number in numbers]

    def _decode_page(self, number: int, raw: Buffer) -> tuple[LocatedBlock, ...]:
        blocks, packs = decode_index_page(raw)
        table = [self.pack_row(PackId(pack)) for pack in packs]
        expected = self.root.pages[number]
        if len(blocks) != expected.block_count or blocks[0].first_path != expected.first_path:
            raise CorruptData("a page of the block index is not the one its root describes")
        if number + 1 < len(self._top_keys) and path_sort_key(blocks[-1].first_path) >= self._top_keys[number + 1]:
            raise CorruptData("pages of the block index overlap")
        return tuple(locate_row(row, table) for row in blocks)

    # Blocks

    def block(self, number: int) -> Block:
        """One block: one request, unless it was used lately or lies in the root.

        Raises:
            CorruptData: It is gone, damaged, or not what the index says.
            UnsafeManifest: Its paths are out of order, twice there, or below one another.
            BackendError: The storage did not answer.
        """
        block = self._blocks.get(number)
        if block is None:
            [block] = self.load_blocks([number])
            self._blocks.put(number, block)
        return block

    def load_blocks(self, numbers: Sequence[int]) -> list[Block]:
        """Blocks, in the order asked for; neighbours in one read, several reads at once. Memory is the caller's.

        Raises:
            CorruptData, UnsafeManifest, BackendError: As `block`.
        """
        return list(self._finish(numbers, self._start_blocks(numbers), decode_block))

    def _start_blocks(self, numbers: Sequence[int]) -> "_Pending":
        rows = [self._row(number) for number in numbers]
        chunks = [_Chunk(PackId(row.holder.pack), row.stored) for row in rows if row.holder is not None]
        return self._start(chunks, ChunkKind.BLOCK, MAX_METADATA_BYTES)

    def _finish(
        self, numbers: Sequence[int], pending: "_Pending", decode: Callable[[Buffer], Block]
    ) -> Iterator[Block]:
        raws = iter(pending.result())
        for number in numbers:
            row = self._row(number)
            if row.holder is None:
                yield self._checked(None, self._decode_inline, number, row, decode)
            else:
                chunk = _Chunk(PackId(row.holder.pack), row.stored)
                yield self._checked(chunk, self._decode, number, row, next(raws), decode)

    def _decode_inline(self, number: int, row: LocatedBlock, decode: Callable[[Buffer], Block]) -> Block:
        if digest_of(BLOCK_CONTEXT, row.inline) != row.stored.digest:
            raise CorruptData("a block in a root does not have its digest")
        return self._decode(number, row, row.inline, decode)

    def _decode(self, number: int, row: LocatedBlock, raw: Buffer, decode: Callable[[Buffer], Block]) -> Block:
        block = decode(raw)
        if len(block.entries) != row.entry_count or block_content_digest(raw) != row.content_digest:
            raise CorruptData("a block is not the one its index describes")
        paths = [entry.path for entry in block.entries]
        if paths[0] != row.first_path:
            raise CorruptData("a block does not start with the path its index names")
        after = self._first_path_after(number)
        check_order(paths if after is None else [*paths, after])
        if not {pack.pack for pack, _ in row.used}.issuperset(block.packs):
            raise CorruptData("a block needs packs that its index does not name")
        return block

    # Entries

    def entries(self) -> Iterator[tuple[Entry, EntryPlaces, Block]]:
        """All entries in order, with their places and the block whose `packs` the places index.

        Memory is that of some hundred blocks; the next ones are read while these are used.

        Raises:
            CorruptData, UnsafeManifest, BackendError: As `block`, when they are reached.
        """
        for block in self._stream(range(self.block_count), decode_block):
            yield from zip(block.entries, block.places, repeat(block))

    def entries_of(self, blocks: Sequence[int]) -> Iterator[Entry]:
        """The entries of some blocks, in the order of ``blocks``. Places are not decoded. Otherwise as `entries`."""
        for block in self._stream(blocks, _without_places):
            yield from block.entries

    def _stream(self, numbers: Sequence[int], decode: Callable[[Buffer], Block]) -> Iterator[Block]:
        windows = [numbers[at : at + _WINDOW_BLOCKS] for at in range(0, len(numbers), _WINDOW_BLOCKS)]
        if not windows:
            return
        pending = self._start_blocks(windows[0])
        try:
            for index, window in enumerate(windows):
                current = pending
                if index + 1 < len(windows):
                    pending = self._start_blocks(windows[index + 1])
                yield from self._finish(window, current, decode)
        finally:
            pending.cancel()

    def find(self, path: bytes) -> StoredEntry:
        """The entry at ``path``: one block is read, of a very large version one page of the index before it.

        Raises:
            PathNotFound: There is none. A directory with something in it has no entry of its own: see `below`.
            CorruptData, UnsafeManifest, BackendError: As `block`.
        """
        key = path_sort_key(path)
        if self.block_count:
            block = self.block(self._block_at(key))
            at = bisect_left(block.entries, key, key=lambda entry: path_sort_key(entry.path))
            if at < len(block.entries) and block.entries[at].path == path:
                return StoredEntry(block.entries[at], block.places[at], block)
        raise PathNotFound(f"there is no {shown(path)} in {self.version or 'this version'}")

    def below(self, path: bytes) -> Iterator[tuple[Entry, EntryPlaces, Block]]:
        """All entries below the directory ``path``, in order; all of the version for an empty path.

        Nothing comes for a file, a link, an empty directory, or where nothing is: `find` tells these apart.

        Raises:
            CorruptData, UnsafeManifest, BackendError: As `block`, when they are reached.
        """
        if not path:
            yield from self.entries()
            return
        if not self.block_count:
            return
        start = path_sort_key(path) + b"\0"
        first, last = self._block_at(start), self._block_at(path_sort_key(path) + b"\1")
        prefix = path + b"/"
        if first == last:
            blocks: Iterable[Block] = (self.block(first),)
        else:
            blocks = self._stream(range(first, last + 1), decode_block)
        for block in blocks:
            for entry, places in zip(block.entries, block.places, strict=True):
                if entry.path.startswith(prefix):
                    yield entry, places, block

    def level(self, path: bytes) -> Iterator[Entry | bytes]:
        """What lies directly in the directory ``path`` (empty: the top), in order: entries, and paths of directories.

        A directory with something in it comes as its path, an empty one as its entry. What is deeper is jumped over,
        so that this costs the blocks that it ends up in, and for a flat directory all of its blocks, many at once.
        """
        prefix, key = (path + b"/", path_sort_key(path) + b"\0") if path else (b"", b"")
        number, ahead, last = self._block_at(key), 1, -1
        while number < self.block_count:
            ahead = min(2 * ahead, _WINDOW_BLOCKS) if number == last + 1 else 1
            last = min(number + ahead, self.block_count) - 1
            for block in [self.block(number)] if last == number else self.load_blocks(range(number, last + 1)):
                at = bisect_left(block.entries, key, key=_sort_key)
                while at < len(block.entries):
                    entry = block.entries[at]
                    if not entry.path.startswith(prefix):
                        return
                    name, has_more, _ = entry.path[len(prefix) :].partition(b"/")
                    yield prefix + name if has_more else entry
                    key = path_sort_key(prefix + name) + b"\1"
                    at = bisect_left(block.entries, key, lo=at, key=_sort_key)
            number = max(last + 1, self._block_at(key))

    def extents(self, places: EntryPlaces, block: Block) -> tuple[Extent, ...]:
        """The extents of a file of ``block``; their packs index ``block.packs``. A long list is read from its chunks.

        Raises:
            CorruptData: The list is gone or damaged, does not add up to the size of the file, or names packs that
                the block does not.
            BackendError: The storage did not answer.
        """
        if not places.lists:
            return places.extents
        numbers = {pack: number for number, pack in enumerate(block.packs)}
        chunks = [_Chunk(PackId(block.packs[piece.pack]), piece) for piece in places.lists]
        raws = self._start(chunks, ChunkKind.EXTENT_LIST, MAX_LIST_BYTES).result()
        extents: list[Extent] = []
        for chunk, raw in zip(chunks, raws, strict=True):
            extents += self._checked(chunk, _decode_list, raw, numbers)
        entry = next(e for e, row in zip(block.entries, block.places, strict=True) if row is places or row == places)
        if sum(extent.content_length for extent in extents) != entry.size:
            what = f"the extent list of {shown(entry.path)} does not add up to its size"
            raise self._damage(CorruptData(what, key=pack_key(chunks[0].pack)))
        return tuple(extents)

    # Reading

    def _chunk(self, stored: StoredChunk, table: Sequence[PackRow]) -> _Chunk:
        return _Chunk(PackId(table[stored.pack].pack), stored)

    def _start(self, chunks: Sequence[_Chunk], kind: ChunkKind, max_raw_length: int) -> "_Pending":
        """Start to read chunks; the result has their raw bytes, checked, in the same order."""
        reads = _plan(chunks)
        return _Pending(
            [partial(self._fetch, read, chunks, kind, max_raw_length) for read in reads],
            len(chunks),
            # A lone chunk is read by whoever asks for it: no hand-over, and it works from within the pool.
            self._pool if len(chunks) > 1 else None,
        )

    def _fetch(
        self, read: _Read, chunks: Sequence[_Chunk], kind: ChunkKind, max_raw_length: int
    ) -> list[tuple[int, Buffer]]:
        key = pack_key(read.pack)
        self.pack_row(read.pack)
        try:
            body = memoryview(self._backend.get_range(key, read.span.start, read.span.end - read.span.start))
        except ObjectNotFound as error:
            raise self._damage(CorruptData("a pack is gone", key=key)) from error
        except CorruptData as error:
            raise self._damage(error) from error
        return [
            (number, self._prove(body, read, chunks[number].stored, kind, max_raw_length)) for number in read.numbers
        ]

    def _prove(
        self, body: memoryview, read: _Read, stored: StoredChunk, kind: ChunkKind, max_raw_length: int
    ) -> Buffer:
        start = stored.offset - read.span.start
        try:
            return check_chunk(
                body[start : start + stored.stored_length],
                pack=read.pack,
                kind=kind,
                offset=stored.offset,
                digest=Digest(stored.digest),
                max_raw_length=max_raw_length,
            )
        except CorruptData as error:
            raise self._damage(error) from error

    def _checked(self, chunk: _Chunk | None, decode: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``decode``; damage it finds is reported with the place of the chunk and the version."""
        try:
            return decode(*args, **kwargs)
        except CorruptData as error:
            raise self._damage(error, chunk) from error
        except UnsafeManifest as error:
            raise UnsafeManifest(error.what, where=self.version) from error

    def _damage(self, error: CorruptData, chunk: _Chunk | None = None) -> CorruptData:
        key, span = error.key, error.byte_range
        if chunk is not None and not key:
            key = pack_key(chunk.pack)
            span = (chunk.stored.offset, chunk.stored.offset + chunk.stored.stored_length)
        versions = dict.fromkeys([*error.versions, self.version] if self.version else error.versions)
        return CorruptData(error.what, key=key, byte_range=span, versions=tuple(versions), where=error.where)


def _sort_key(entry: Entry) -> bytes:
    return path_sort_key(entry.path)


def _without_places(raw: Buffer) -> Block:
    return Block(entries=decode_entries_only(raw), places=(), packs=())


def _decode_list(raw: Buffer, numbers: dict[bytes, int]) -> list[Extent]:
    extents, packs = decode_extent_list(raw)
    if not numbers.keys() >= set(packs):
        raise CorruptData("an extent list names packs that its block does not")
    local = [numbers[pack] for pack in packs]
    return [
        e
        if e.pack == HOLE
        else Extent(local[e.pack], e.first_chunk, e.chunk_count, e.offset, e.stored_length, e.content_length)
        for e in extents
    ]


def _plan(chunks: Sequence[_Chunk]) -> list[_Read]:
    by_pack: dict[PackId, list[int]] = {}
    for number, chunk in enumerate(chunks):
        by_pack.setdefault(chunk.pack, []).append(number)
    reads = []
    for pack, numbers in by_pack.items():
        spans = {n: _span(chunks[n].stored) for n in numbers}
        planned = plan_reads(spans.values(), max_gap_bytes=_MAX_GAP_BYTES, max_read_bytes=_MAX_READ_BYTES)
        inside: list[list[int]] = [[] for _ in planned]
        starts = [span.start for span in planned]
        for number, span in spans.items():
            inside[bisect_right(starts, span.start) - 1].append(number)
        reads += [_Read(pack, span, tuple(n)) for span, n in zip(planned, inside, strict=True)]
    return reads


def _span(stored: StoredChunk) -> ByteRange:
    return ByteRange(stored.offset, stored.offset + stored.stored_length)


class _Pending:
    """Reads under way; without a pool they run when the result is asked for."""

    def __init__(
        self, tasks: Sequence[Callable[[], list[tuple[int, Buffer]]]], count: int, pool: Executor | None
    ) -> None:
        self._tasks = tasks
        self._count = count
        self._futures: list[Future[list[tuple[int, Buffer]]]] = []
        if pool is not None:
            self._futures = [pool.submit(task) for task in tasks]

    def result(self) -> list[Buffer]:
        raws: list[Buffer] = [b""] * self._count
        try:
            results = (future.result() for future in self._futures) if self._futures else (t() for t in self._tasks)
            for result in results:
                for number, raw in result:
                    raws[number] = raw
        finally:
            self.cancel()
        return raws

    def cancel(self) -> None:
        for future in self._futures:
            future.cancel()


class _Cache(Generic[T]):
    """The values used last, by number."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._values: OrderedDict[int, T] = OrderedDict()

    def get(self, number: int) -> T | None:
        with self._lock:
            value = self._values.get(number)
            if value is not None:
                self._values.move_to_end(number)
            return value

    def put(self, number: int, value: T) -> None:
        with self._lock:
            self._values[number] = value
            self._values.move_to_end(number)
            if len(self._values) > self._capacity:
                self._values.popitem(last=False)
