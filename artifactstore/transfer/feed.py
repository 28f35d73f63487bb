"""Source files as batches of whole chunks in reused buffers.

Files that fit share a buffer; a larger one is read in windows, and the bytes after its last
certain cut move to the front of the next buffer. Holes of sparse files are counted, not
read. A file is read at most to the size it had when it was opened.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from artifactstore.chunking import CutFunction, Cutter
from artifactstore.errors import SourceError
from artifactstore.transfer.found import Found
from artifactstore.transfer.read import MAX_ATTEMPTS, OpenSource, SourceReader, keeps_changing

WINDOW_BYTES: Final = 4 << 20
MAX_BATCH_FILES: Final = 256


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
        prepared, digest, xxh3: Filled in by the pipeline.
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
    """Pieces over one buffer. Give it back to the feed when its bytes are no longer needed."""

    view: memoryview
    used: int = 0
    pieces: list[Piece] = field(default_factory=list)


class Feed:
    """Reads the files of some rows of a scan, in order.

    Args:
        rows: (row number, what the scan found) of the files to read.
        before_large: Called with a row before a file of more than one chunk is read.
        on_unreadable: Called with a row and the error of a file that can't be read; raises to stop, returns to go on.
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
        self._lock = threading.Lock()

    def give_back(self, batch: Batch) -> None:
        """Its buffer may be used again."""
        with self._lock:
            self._spare.append(batch.view)

    def batches(self) -> Iterator[Batch]:
        """All files, each as one or several pieces in consecutive batches."""
        batch = self._new_batch()
        for row, found in self._rows:
            if found.size > self._cut.min_bytes:
                self._before_large(row)
            if found.size > WINDOW_BYTES // 2:
                if batch.pieces:
                    yield batch
                    batch = self._new_batch()
                yield from self._read_large(row, found)
                continue
            if batch.used + found.size > WINDOW_BYTES or len(batch.pieces) >= MAX_BATCH_FILES:
                yield batch
                batch = self._new_batch()
            self._read_whole(batch, row, found)
        if batch.pieces:
            yield batch

    def _new_batch(self) -> Batch:
        with self._lock:
            if self._spare:
                return Batch(self._spare.pop())
        return Batch(memoryview(bytearray(WINDOW_BYTES + self._cut.max_bytes)))

    def _read_whole(self, batch: Batch, row: int, found: Found) -> None:
        start = batch.used
        try:
            seen = self._reader.read_into(found, batch.view[start:])
        except SourceError as error:
            self._on_unreadable(row, error)
            return
        end = start + seen.size
        if seen.size <= self._cut.min_bytes:
            ends = [end] if seen.size else []
        else:
            ends = [start + cut for cut in self._cutter.cuts(batch.view[start:end], final=True)]
        batch.used = end
        batch.pieces.append(Piece(row, start, ends, is_whole=True, is_final=True, seen=seen))

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
        """One attempt at a large file; returns whether it stayed the same meanwhile."""
        holes = [(s.start, s.start + s.length) for s in source.segments() if s.is_hole]
        batch = self._new_batch()
        at = carried = 0
        while True:
            if holes and (zeros := self._zeros(holes, at - carried)):
                batch.pieces.append(Piece(row, 0, [], zeros=zeros))
                at += zeros[0] * zeros[1] - carried
                carried = 0
            filled = carried + source.read_at(at, batch.view[carried : carried + WINDOW_BYTES - self._cut.max_bytes])
            at += filled - carried
            is_final = filled == carried or at >= source.size
            ends = self._cutter.cuts(batch.view[:filled], final=is_final)
            piece = Piece(row, 0, ends, is_final=is_final)
            batch.pieces.append(piece)
            if is_final:
                piece.seen = source.finish()
                yield batch
                return piece.seen is not None
            following = self._new_batch()
            certain = ends[-1] if ends else 0
            carried = filled - certain
            following.view[:carried] = batch.view[certain:filled]
            yield batch
            batch = following

    def _zeros(self, holes: list[tuple[int, int]], start: int) -> tuple[int, int] | None:
        """The chunks of zeros that certainly follow an uncut position in a hole: (length of each, how many)."""
        for hole_start, hole_end in holes:
            if hole_start <= start and hole_end - start >= self._cut.max_bytes:
                length = self._cutter.zero_chunk_length()
                return length, (hole_end - start - self._cut.max_bytes) // length + 1
        return None
