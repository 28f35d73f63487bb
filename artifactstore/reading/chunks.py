"""Ranges of stored files: from memory, from a cache on disk, from the storage; each chunk proved by its digest.

    the table of a pack        proved by the pack's id, once; it names the digests of the chunks
    a range of a large file    the chunks it touches, near ones of one pack in one request, requests side by side
    all of a small file        one range of its pack, proved by the file digest: the table of a pack of tiny files can
                               be a thousand times longer than one of them

Which of the two it is for a small file: it is read without a table until as many bytes came
so as the table has, and a request counted as so many bytes. So no reader ever spends more
than twice what the better of the two would have cost, and who comes again finds tables and
chunks in the cache.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Final, NamedTuple, TypeVar

from artifactstore.backend.protocol import Backend
from artifactstore.chunk_cache.protocol import ChunkCache, NoCache
from artifactstore.digest import Buffer, Digest, PackId
from artifactstore.errors import CorruptData, ObjectNotFound, UnsupportedFormat
from artifactstore.forks import renew_in_children
from artifactstore.keys import pack_key
from artifactstore.manifest.format import FileDigester
from artifactstore.pack.format import ROW_BYTES, Table, parse_tail
from artifactstore.pack.reader import fetch_tail, iter_extent
from artifactstore.reading.ranges import MAX_GAP_BYTES, Fetch, Place, plan_fetches
from artifactstore.reading.shelf import Shelf
from artifactstore.reading.stored_file import Piece, StoredFile, WholeCheck, WholeExtent

T = TypeVar("T")

MAX_FETCH_BYTES: Final = 32 << 20
"""Content that is got at once at most; what is longer comes in turns."""
MEMORY_BYTES: Final = 32 << 20
"""Content kept in memory."""
TABLES_BYTES: Final = 64 << 20
"""Tables kept in memory: those of some 30 GB of content."""
WHOLE_FILE_BYTES: Final = 8 << 20
"""A longer file is never read without the tables of its packs."""
_SMALL_FILE_BYTES: Final = 256 << 10
"""Of a file up to this length a part costs as much as all of it."""
_REQUEST_WORTH_BYTES: Final = 64 << 10
_MAX_RENTS: Final = 100_000
_COLUMN_BYTES: Final = 24
ZEROS: Final = memoryview(bytes(1 << 20))


class Span(NamedTuple):
    """Bytes ``start`` to ``end`` of a file, both within it."""

    file: StoredFile
    start: int
    end: int


class _Wanted(NamedTuple):
    """A run of chunks to be got by one range: of known digest if it is one chunk, else an extent."""

    file: StoredFile
    place: Place
    chunk_count: int
    digest: Digest | None


class _Whole(NamedTuple):
    """A small file to be read without tables."""

    number: int
    extents: Sequence[WholeExtent]


Chunks = list[tuple[Digest, Buffer]]


class ChunkReader:
    """Reads ranges of stored files. Any number of threads; also in forked children.

    Args:
        pool: Runs requests side by side; without one they run one after another. Don't call from a worker of it.
        cache: Asked for chunks and tables before the storage is, and given what came from there.
    """

    def __init__(self, backend: Backend, *, pool: Executor | None = None, cache: ChunkCache | None = None) -> None:
        self._backend = backend
        self._pool = pool
        self._cache: ChunkCache = cache or NoCache()
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child (`artifactstore.forks`): begin with nothing in memory, and locks of its own."""
        self._lock = threading.Lock()
        self._chunks: Shelf[Digest, Buffer] = Shelf(MEMORY_BYTES)
        self._tables: Shelf[PackId, Table] = Shelf(TABLES_BYTES)
        self._coming: dict[PackId, Future[Table | None]] = {}
        self._rents: dict[PackId, int] = {}

    def read(self, spans: Sequence[Span], *, max_gap_bytes: int | None = None) -> list[Buffer]:
        """Some ranges, of any files, near ones by one request.

        Args:
            max_gap_bytes: Largest run of unwanted bytes worth getting to save a request; by default `MAX_GAP_BYTES`.

        Returns:
            The bytes of each, in the order of ``spans``.

        Raises:
            CorruptData: Stored bytes fail their check, or are gone. No byte of any range is returned.
            BackendError: The storage did not answer.
        """
        gap_bytes = MAX_GAP_BYTES if max_gap_bytes is None else max_gap_bytes
        contents: list[Buffer] = []
        turn: list[Span] = []
        turn_bytes = 0
        for part in spans:
            length = part.end - part.start
            if turn and turn_bytes + length > MAX_FETCH_BYTES:
                contents += self._turn(turn, gap_bytes)
                turn, turn_bytes = [], 0
            if length > MAX_FETCH_BYTES:
                contents.append(self._long(part))
                continue
            turn.append(part)
            turn_bytes += length
        return contents + self._turn(turn, gap_bytes) if turn else contents

    def _long(self, part: Span) -> Buffer:
        starts = range(part.start, part.end, MAX_FETCH_BYTES)
        turns = [Span(part.file, start, min(start + MAX_FETCH_BYTES, part.end)) for start in starts]
        return b"".join(content for turn in turns for content in self._turn([turn], MAX_GAP_BYTES))

    def window(self, part: Span, check: WholeCheck) -> tuple[int, Buffer]:
        """A range, with what else its first and last chunk hold, which comes at no cost; at least its first byte.

        Args:
            check: Is told of the chunks before they are returned.

        Returns:
            Where in the file it starts, and the bytes. Of a run of zeros no more than the range has of it.

        Raises:
            CorruptData, BackendError: As `read`.
        """
        file, start, end = part.file, part.start, min(part.end, part.start + MAX_FETCH_BYTES)
        if self._is_whole(part):
            [content] = self._turn([Span(file, 0, file.size)], MAX_GAP_BYTES)
            return 0, content
        pieces = self._located(Span(file, start, end))
        first = start if pieces[0].is_hole else pieces[0].start
        last = end if pieces[-1].is_hole else pieces[-1].end
        chunks = self._got([(file, piece) for piece in pieces], [], MAX_GAP_BYTES)[0]
        content = _joined(pieces, first, last, chunks)
        check.see(pieces)
        return first, content

    # One turn

    def _turn(self, spans: Sequence[Span], max_gap_bytes: int) -> list[Buffer]:
        wholes = {
            number: _Whole(number, part.file.whole()) for number, part in enumerate(spans) if self._is_whole(part)
        }
        listed = [number for number in range(len(spans)) if number not in wholes]
        self._load_tables([spans[number] for number in listed])
        pieces = {number: self._located(spans[number]) for number in listed}
        chunks, files = self._got(
            [(spans[number].file, piece) for number in listed for piece in pieces[number]],
            [(spans[number].file, whole) for number, whole in wholes.items()],
            max_gap_bytes,
        )
        return [
            memoryview(files[number])[part.start : part.end]
            if number in files
            else _joined(pieces[number], part.start, part.end, chunks)
            for number, part in enumerate(spans)
        ]

    def _located(self, part: Span) -> list[Piece]:
        return list(part.file.pieces(part.start, part.end, partial(self._table, part.file)))

    def _got(
        self,
        pieces: Sequence[tuple[StoredFile, Piece]],
        wholes: Sequence[tuple[StoredFile, _Whole]],
        max_gap_bytes: int,
    ) -> tuple[dict[Digest, Buffer], dict[int, Buffer]]:
        """The chunks of some pieces, by digest, and the content of some small files, by number."""
        chunks: dict[Digest, Buffer] = {}
        wanted: list[_Wanted] = []
        for file, piece in pieces:
            if piece.is_hole or piece.digest in chunks:
                continue
            known = self._known(piece)
            chunks[piece.digest] = b"" if known is None else known
            if known is None:
                wanted.append(_Wanted(file, piece.place, 1, piece.digest))
        chunk_count = len(wanted)
        for file, whole in wholes:
            wanted += [_Wanted(file, e.place, e.chunk_count, None) for e in whole.extents if e.place.pack]
        found = self._fetched(wanted, max_gap_bytes)
        for each, got in zip(wanted, found, strict=True):
            if each.digest is not None:
                chunks[each.digest] = got[0][1]
        for file, piece in pieces:
            # Where it lies in the file follows from the lengths in the table, and its digest proves only its bytes.
            if not piece.is_hole and len(chunks[piece.digest]) != piece.end - piece.start:
                raise file.damage("a chunk is not as long as the table of its pack has it", piece.place.pack)
        stored = iter(found[chunk_count:])
        files: dict[int, Buffer] = {whole.number: _whole_content(file, whole.extents, stored) for file, whole in wholes}
        self._keep(wanted, found)
        return chunks, files

    def _known(self, piece: Piece) -> Buffer | None:
        raw: Buffer | None = self._chunks.get(piece.digest)
        if raw is None:
            raw = self._cache.get(piece.digest, piece.end - piece.start)
            if raw is not None:
                self._chunks.put(piece.digest, raw, weight=len(raw))
        return raw

    def _keep(self, wanted: Sequence[_Wanted], found: Sequence[Chunks]) -> None:
        """Only now: the file digests are checked."""
        for chunks in found:
            for digest, raw in chunks:
                # A view would keep all of what came with it.
                own = raw if isinstance(raw, bytes) else bytes(raw)
                self._chunks.put(digest, own, weight=len(own))
                self._cache.put(digest, own)

    # Requests

    def _fetched(self, wanted: Sequence[_Wanted], max_gap_bytes: int) -> list[Chunks]:
        fetches = plan_fetches([each.place for each in wanted], max_gap_bytes=max_gap_bytes)
        found: list[Chunks] = [[] for _ in wanted]
        for some in self._side_by_side([partial(self._fetch, fetch, wanted) for fetch in fetches]):
            for number, chunks in some:
                found[number] = chunks
        return found

    def _fetch(self, fetch: Fetch, wanted: Sequence[_Wanted]) -> list[tuple[int, Chunks]]:
        first = wanted[fetch.numbers[0]].file
        span = fetch.span
        try:
            body = memoryview(self._backend.get_range(pack_key(fetch.pack), span.start, span.end - span.start))
        except ObjectNotFound as error:
            raise first.gone(fetch.pack) from error
        except CorruptData as error:
            raise first.hurt_by(error) from error
        return [(number, _proved(wanted[number], body, span.start)) for number in fetch.numbers]

    def _side_by_side(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """All of them; a lone one by whoever asks: no hand-over."""
        if self._pool is None or len(tasks) < 2:
            return [task() for task in tasks]
        futures = [self._pool.submit(task) for task in tasks[1:]]
        try:
            return [tasks[0](), *(future.result() for future in futures)]
        finally:
            for future in futures:
                future.cancel()

    # Tables

    def _load_tables(self, spans: Sequence[Span]) -> None:
        """Have the tables that are needed, several at once."""
        files = {pack: part.file for part in spans for pack in part.file.packs(part.start, part.end)}
        missing = [(file, pack) for pack, file in files.items() if self._known_table(file, pack) is None]
        self._side_by_side([partial(self._table, file, pack) for file, pack in missing])

    def _table(self, file: StoredFile, pack: PackId) -> Table:
        """A table; of threads that want the same one, one reads it. What it fails of is its own: the others try."""
        if (table := self._known_table(file, pack)) is not None:
            return table
        with self._lock:
            coming = self._coming.get(pack)
            mine = coming is None
            if coming is None:
                coming = self._coming[pack] = Future()
        if not mine:
            # Its error would name the other's version, and it may have been told to stop: that is not for us.
            table = coming.result()
            return self._read_table(file, pack) if table is None else table
        try:
            table = self._read_table(file, pack)
        finally:
            with self._lock:
                self._coming.pop(pack, None)
            coming.set_result(table)
        return table

    def _known_table(self, file: StoredFile, pack: PackId) -> Table | None:
        table = self._tables.get(pack)
        if table is None and (tail := self._cache.get_table(pack)) is not None:
            try:
                table = parse_tail(pack, tail, object_bytes=file.pack_row(pack).object_bytes)
            except (CorruptData, UnsupportedFormat):
                return None  # the cache's fault: what comes from the storage replaces it
            self._shelve(pack, table)
        return table

    def _read_table(self, file: StoredFile, pack: PackId) -> Table:
        row = file.pack_row(pack)
        try:
            tail = fetch_tail(self._backend, pack, object_bytes=row.object_bytes, table_bytes=row.table_bytes)
            table = parse_tail(pack, tail, object_bytes=row.object_bytes)
        except ObjectNotFound as error:
            raise file.gone(pack) from error
        except CorruptData as error:
            raise file.hurt_by(error) from error
        self._shelve(pack, table)
        self._cache.put_table(pack, tail)
        return table

    def _shelve(self, pack: PackId, table: Table) -> None:
        self._tables.put(pack, table, weight=len(table) * (ROW_BYTES + _COLUMN_BYTES))

    def _is_whole(self, part: Span) -> bool:
        """Whether to read all of the file without tables; counts what that costs if so."""
        file = part.file
        if not file.size or file.size > max(_SMALL_FILE_BYTES, min(WHOLE_FILE_BYTES, 2 * (part.end - part.start))):
            return False
        packs = file.packs(0, file.size)
        if not packs or all(self._is_table_due(file, pack) for pack in packs):
            return False
        share = file.size // len(packs) + _REQUEST_WORTH_BYTES
        with self._lock:
            if len(self._rents) > _MAX_RENTS:
                self._rents.clear()
            for pack in packs:
                self._rents[pack] = self._rents.get(pack, 0) + share
        return True

    def _is_table_due(self, file: StoredFile, pack: PackId) -> bool:
        return self._rents.get(pack, 0) >= file.pack_row(pack).table_bytes or self._known_table(file, pack) is not None


def _proved(wanted: _Wanted, body: memoryview, body_start: int) -> Chunks:
    """The chunks of one place; of an extent, computed digests for the file digest to prove."""
    file, place = wanted.file, wanted.place
    try:
        chunks = list(
            iter_extent(
                body[place.start - body_start : place.end - body_start],
                pack=place.pack,
                offset=place.start,
                chunk_count=wanted.chunk_count,
                max_raw_length=file.max_chunk_bytes,
            )
        )
        if wanted.digest is not None and chunks[0][0] != wanted.digest:
            what = "a chunk does not have its digest"
            raise CorruptData(what, key=pack_key(place.pack), byte_range=(place.start, place.end))
    except CorruptData as error:
        raise file.hurt_by(error) from error
    return chunks


def _whole_content(file: StoredFile, extents: Sequence[WholeExtent], stored: Iterator[Chunks]) -> bytes:
    """The content of a file that was read without tables, checked against the file digest.

    Args:
        stored: What the next extents hold, from the first stored one of this file on; its own are taken.
    """
    digester = FileDigester()
    parts: list[Buffer] = []
    for number, extent in enumerate(extents):
        if not extent.place.pack:
            digester.add_repeated(*file.zeros(number))
            parts += _zeros(extent.content_length)
            continue
        for digest, raw in next(stored):
            digester.add(digest, len(raw))
            parts.append(raw)
    if digester.digest() != file.digest:
        raise file.damage("a file does not have its digest")
    return b"".join(parts)


def _joined(pieces: Sequence[Piece], start: int, end: int, chunks: dict[Digest, Buffer]) -> Buffer:
    parts: list[Buffer] = []
    for piece in pieces:
        first, last = max(piece.start, start), min(piece.end, end)
        if piece.is_hole:
            parts += _zeros(last - first)
        else:
            raw = memoryview(chunks[piece.digest])
            parts.append(raw[first - piece.start : last - piece.start])
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _zeros(length: int) -> Sequence[Buffer]:
    return [ZEROS] * (length // len(ZEROS)) + [ZEROS[: length % len(ZEROS)]]
