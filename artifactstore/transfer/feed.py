"""Source files as batches of whole chunks in reused buffers.

Files that fit share a buffer; a larger one is read in windows, and the bytes after its last
certain cut move to the front of the next buffer. Holes of sparse files are counted, not
read. A file is read at most to the size it had when it was opened.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import xxhash

from artifactstore.chunking import CutFunction, Cutter
from artifactstore.errors import SourceError
from artifactstore.transfer.found import Found
from artifactstore.transfer.read import MAX_ATTEMPTS, OpenSource, SourceReader, keeps_changing

WINDOW_BYTES: Final = 4 << 20
MAX_BATCH_FILES: Final = 256
_ZEROS: Final = memoryview(bytes(1 << 20))


@dataclass(slots=True)
class Piece:
    """Consecutive whole chunks of one file, or a run of equal chunks of zeros that was not read.

    Attributes:
        row: The file's row in the scan.
        start: Where its bytes start in the batch's buffer.
        ends: Where each chunk ends there. Empty for zeros and for an empty file.
        is_whole: All of the file is in this piece.
        is_final: The last piece of the file.
        zeros: (length of each chunk, how many), or None.
        seen: Of a final piece: the file's row as it was after the last byte, or None: it changed meanwhile, and what
            was read does not count.
        xxh3: Of the whole file; of a large file set on its final piece, of others by the pipeline.
        prepared, digest: Filled in by the pipeline.
    """

    row: int
    start: int
    ends: list[int]
    is_whole: bool = False
    is_final: bool = False
    zeros: tuple[int, int] | None = None
    seen: Found | None = None
    prepared: list = field(default_factory=list)  # type: ignore[type-arg]
    digest: bytes = b""
    xxh3: bytes = b""


@dataclass(slots=True)
class Batch:
    """Pieces over one buffer. Give it back to the feed when its bytes are no longer needed.

    Attributes:
        unread: Small files that `Feed.fill` still has to read, in whatever thread.
    """

    view: memoryview
    pieces: list[Piece] = field(default_factory=list)
    unread: list[tuple[int, Found]] = field(default_factory=list)


class Feed:
    """Reads the files of some rows of a scan, in order.

    Args:
        rows: (row number, what the scan found) of the files to read.
        before_large: Called with a row before a file of more than one chunk is read.
        on_unreadable: Called, from any thread, with a row and the error of a file that can't be read; raises to stop,
            returns to go on.
    """

    def __init__(
        self,
        reader: SourceReader,
        rows: Iterable[tuple[int, Found]],
        *,
        cut: CutFunction,
        before_large: Callable[[int], None],
        on_unreadable: Callable[[int, SourceError], None],
    ) -> None:
        self._reader = reader
        self._rows = rows
        self._cut = cut
        self._cutter = Cutter(cut)
        self._before_large = before_large
        self._on_unreadable = on_unreadable
        self._spare: list[memoryview] = []
        self._reading = ThreadPoolExecutor(1, "artifactstore-read")
        self._lock = threading.Lock()

    def give_back(self, batch: Batch) -> None:
        """Its buffer may be used again."""
        with self._lock:
            self._spare.append(batch.view)

    def batches(self) -> Iterator[Batch]:
        """All files, each as one or several pieces in consecutive batches."""
        with self._reading:
            yield from self._batches()

    def _batches(self) -> Iterator[Batch]:
        unread: list[tuple[int, Found]] = []
        unread_bytes = 0
        for row, found in self._rows:
            if found.size > self._cut.min_bytes:
                self._before_large(row)
            is_large = found.size > WINDOW_BYTES // 2
            if unread and (
                is_large or unread_bytes + found.size > WINDOW_BYTES or len(unread) >= MAX_BATCH_FILES
            ):
                yield self._new_batch(unread)
                unread, unread_bytes = [], 0
            if is_large:
                yield from self._read_large(row, found)
            else:
                unread.append((row, found))
                unread_bytes += found.size
        if unread:
            yield self._new_batch(unread)

    def fill(self, batch: Batch) -> None:
        """Read the small files of a batch. For any thread: reading them is most of the work on a tree of many.

        Raises:
            SourceError: What ``on_unreadable`` raises.
        """
        cutter = Cutter(self._cut)
        used = 0
        for row, found in batch.unread:
            try:
                seen = self._reader.read_into(found, batch.view[used:])
            except SourceError as error:
                self._on_unreadable(row, error)
                continue
            start, used = used, used + seen.size
            if seen.size <= self._cut.min_bytes:
                ends = [used] if seen.size else []
            else:
                ends = [start + cut for cut in cutter.cuts(batch.view[start:used], final=True)]
            batch.pieces.append(Piece(row, start, ends, is_whole=True, is_final=True, seen=seen))

    def _new_batch(self, unread: list[tuple[int, Found]] | None = None) -> Batch:
        with self._lock:
            if self._spare:
                return Batch(self._spare.pop(), unread=unread or [])
        # The first `max_bytes` are for what a window before left uncut.
        return Batch(memoryview(bytearray(self._cut.max_bytes + WINDOW_BYTES)), unread=unread or [])

    def _read_large(self, row: int, found: Found) -> Iterator[Batch]:
        for _ in range(MAX_ATTEMPTS):
            try:
                with self._reader.open(found) as source:
                    if (yield from self._read_windows(row, source)):
                        return
            except SourceError as error:
                self._on_unreadable(row, error)
                yield self._dropped(row)
                return
        self._on_unreadable(row, keeps_changing(found))

    def _dropped(self, row: int) -> Batch:
        """Tells the pipeline to forget what it has of a file."""
        batch = self._new_batch()
        batch.pieces.append(Piece(row, 0, [], is_final=True))
        return batch

    def _read_windows(self, row: int, source: OpenSource) -> Generator[Batch, None, bool]:
        """One attempt at a large file; returns whether it stayed the same meanwhile.

        While one window is cut, the next one is read, and its XXH3 computed, by a thread of its own.
        """
        holes = [(s.start, s.start + s.length) for s in source.segments() if s.is_hole]
        xxh3 = xxhash.xxh3_128()
        batch = self._new_batch()
        at = carried = 0
        ahead = self._read_ahead(source, xxh3, at, batch) if not holes else None
        while True:
            if holes and (zeros := self._zeros(holes, at - carried)):
                batch.pieces.append(Piece(row, 0, [], zeros=zeros))
                skipped = zeros[0] * zeros[1] - carried
                _update_with_zeros(xxh3, skipped)
                at += skipped
                carried = 0
            count = (ahead or self._read_ahead(source, xxh3, at, batch)).result()
            at += count
            is_final = count == 0 or at >= source.size
            following = self._new_batch()
            ahead = self._read_ahead(source, xxh3, at, following) if not (holes or is_final) else None
            start, end = self._cut.max_bytes - carried, self._cut.max_bytes + count
            ends = [start + cut for cut in self._cutter.cuts(batch.view[start:end], final=is_final)]
            piece = Piece(row, start, ends, is_final=is_final)
            batch.pieces.append(piece)
            if is_final:
                piece.seen, piece.xxh3 = source.finish(), xxh3.digest()
                self.give_back(following)
                yield batch
                return piece.seen is not None
            certain = ends[-1] if ends else start
            carried = end - certain
            following.view[self._cut.max_bytes - carried : self._cut.max_bytes] = batch.view[certain:end]
            yield batch
            batch = following

    def _read_ahead(self, source: OpenSource, xxh3: xxhash.xxh3_128, at: int, batch: Batch) -> "Future[int]":
        """Start to read one window behind the room for the carried bytes."""
        window = batch.view[self._cut.max_bytes :]

        def read() -> int:
            count = source.read_at(at, window)
            xxh3.update(window[:count])
            return count

        return self._reading.submit(read)

    def _zeros(self, holes: list[tuple[int, int]], start: int) -> tuple[int, int] | None:
        """The chunks of zeros that certainly follow an uncut position in a hole: (length of each, how many)."""
        for hole_start, hole_end in holes:
            if hole_start <= start and hole_end - start >= self._cut.max_bytes:
                length = self._cutter.zero_chunk_length()
                return length, (hole_end - start - self._cut.max_bytes) // length + 1
        return None


def _update_with_zeros(xxh3: xxhash.xxh3_128, count: int) -> None:
    while count > 0:
        part = min(count, len(_ZEROS))
        xxh3.update(_ZEROS[:part])
        count -= part
