"""Source files as batches of whole chunks in reused buffers.

Files that fit share a buffer; a larger one is read in windows by several threads, and the
bytes after its last certain cut move in front of the next window. Holes of sparse files are counted, not
read. A file is read at most to the size it had when it was opened.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

import xxhash

from artifactstore.chunking import CutFunction, Cutter
from artifactstore.codec import Codec
from artifactstore.dedup.prediction import OldContent, predicted_cuts
from artifactstore.digest import Digest
from artifactstore.errors import SourceChanged, SourceError
from artifactstore.forks import Threads
from artifactstore.transfer.found import Found
from artifactstore.transfer.read import MAX_ATTEMPTS, OpenSource, SourceReader, keeps_changing

WINDOW_BYTES: Final = 4 << 20
MAX_BATCH_FILES: Final = 256
_READERS: Final = 2
_WINDOWS_AHEAD: Final = 3
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
        digests: Of the last of its chunks, as far as they are known already.
        codec, prepared, digest: Filled in by the pipeline.
    """

    row: int
    start: int
    ends: list[int]
    is_whole: bool = False
    is_final: bool = False
    zeros: tuple[int, int] | None = None
    seen: Found | None = None
    digests: list[Digest] = field(default_factory=list)
    codec: Codec | None = None
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


class _Window(NamedTuple):
    """A window of a large file: bytes read, where they are cut by themselves, and digests where they are known."""

    length: int
    ends: list[int]
    digests: list[Digest]


class Feed:
    """Reads the files of some rows of a scan, in order. Use it as a context manager.

    Args:
        rows: (row number, what the scan found) of the files to read.
        before_large: Called with a row before a file of more than one chunk is read; what it says of how the file was
            cut before saves cutting.
        on_unreadable: Called, from any thread, with a row and the error of a file that can't be read; raises to stop,
            returns to go on.
    """

    def __init__(
        self,
        reader: SourceReader,
        rows: Iterable[tuple[int, Found]],
        *,
        cut: CutFunction,
        before_large: Callable[[int], OldContent | None],
        on_unreadable: Callable[[int, SourceError], None],
    ) -> None:
        self._reader = reader
        self._rows = rows
        self._cut = cut
        self._cutter = Cutter(cut)
        self._before_large = before_large
        self._on_unreadable = on_unreadable
        self._spare: list[memoryview] = []
        self._again: list[tuple[int, Found]] = []
        self._reading = Threads(_READERS, "artifactstore-read")
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._reading.shutdown(cancel_futures=True)

    def give_back(self, batch: Batch) -> None:
        """Its buffer may be used again."""
        with self._lock:
            self._spare.append(batch.view)

    def batches(self) -> Generator[Batch, None, None]:
        """All files, each as one or several pieces in consecutive batches, but for those that `again` brings."""
        unread: list[tuple[int, Found]] = []
        unread_bytes = 0
        for row, found in self._rows:
            old = self._before_large(row) if found.size > self._cut.min_bytes else None
            is_large = found.size > WINDOW_BYTES // 2
            if unread and (
                is_large or unread_bytes + found.size > WINDOW_BYTES or len(unread) >= MAX_BATCH_FILES
            ):
                yield self._new_batch(unread)
                unread, unread_bytes = [], 0
            if is_large:
                yield from self._read_large(row, found, old)
            else:
                unread.append((row, found))
                unread_bytes += found.size
        if unread:
            yield self._new_batch(unread)

    def again(self) -> Generator[Batch, None, None]:
        """Small files that changed under `fill`, or outgrew its buffer: read once more, as large ones are.

        To be called when all batches before are filled.
        """
        with self._lock:
            rows, self._again = sorted(self._again), []
        for row, found in rows:
            yield from self._read_large(row, found)

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
            except SourceChanged:
                with self._lock:
                    self._again.append((row, found))
                continue
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

    def _read_large(self, row: int, found: Found, old: OldContent | None = None) -> Generator[Batch, None, None]:
        for _ in range(MAX_ATTEMPTS):
            try:
                with self._reader.open(found) as source:
                    if (yield from self._read_windows(row, source, old)):
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

    def _read_windows(
        self, row: int, source: OpenSource, old: OldContent | None
    ) -> Generator[Batch, None, bool]:
        """One attempt at a large file; returns whether it stayed the same meanwhile."""
        holes = [(s.start, s.start + s.length) for s in source.segments() if s.is_hole]
        if holes:
            return (yield from self._read_sparse(row, source, holes))
        return (yield from self._read_dense(row, source, old))

    def _read_dense(
        self, row: int, source: OpenSource, old: OldContent | None
    ) -> Generator[Batch, None, bool]:
        """Windows are read and cut ahead by several threads, each from its own start, and joined here."""
        xxh3 = xxhash.xxh3_128()
        room = self._cut.max_bytes
        waiting = deque(range(0, max(1, source.size), WINDOW_BYTES))
        ahead: deque[tuple[Batch, Future[_Window]]] = deque()
        carried = 0
        try:
            while True:
                while waiting and len(ahead) < _WINDOWS_AHEAD:
                    batch, at = self._new_batch(), waiting.popleft()
                    ahead.append((batch, self._reading.submit(self._read_window, source, at, batch.view[room:], old)))
                batch, reading = ahead.popleft()
                count, guesses, digests = reading.result()
                xxh3.update(batch.view[room : room + count])
                start, is_final = room - carried, not ahead
                ends, kept = self._cutter.join(
                    batch.view[start : room + count],
                    [carried + end for end in guesses],
                    window_start=carried,
                    final=is_final,
                )
                piece = Piece(row, start, [start + end for end in ends], is_final=is_final)
                piece.digests = digests[len(digests) - kept :] if digests else []
                batch.pieces.append(piece)
                if is_final:
                    piece.seen, piece.xxh3 = source.finish(), xxh3.digest()
                    yield batch
                    return piece.seen is not None
                carried = _carry(batch, piece, ahead[0][0], end=room + count, room=room)
                yield batch
        finally:
            wait([reading for _, reading in ahead if not reading.cancel()])  # before the file is closed

    def _read_window(self, source: OpenSource, at: int, window: memoryview, old: OldContent | None) -> "_Window":
        """How many bytes there were, and where they would be cut if the file began with them."""
        count = source.read_at(at, window)
        cutter, is_final = Cutter(self._cut), at + len(window) >= source.size
        if old is None:
            return _Window(count, cutter.cuts(window[:count], final=is_final), [])
        found = predicted_cuts(cutter, window[:count], old, final=is_final)
        return _Window(count, found.ends, found.digests)

    def _read_sparse(
        self, row: int, source: OpenSource, holes: list[tuple[int, int]]
    ) -> Generator[Batch, None, bool]:
        """One window after the other, skipping what certainly is zeros."""
        xxh3 = xxhash.xxh3_128()
        room = self._cut.max_bytes
        batch = self._new_batch()
        at = carried = 0
        while True:
            if zeros := self._zeros(holes, at - carried):
                batch.pieces.append(Piece(row, 0, [], zeros=zeros))
                skipped = zeros[0] * zeros[1] - carried
                _update_with_zeros(xxh3, skipped)
                at += skipped
                carried = 0
            count = source.read_at(at, batch.view[room:])
            xxh3.update(batch.view[room : room + count])
            at += count
            start, is_final = room - carried, count == 0 or at >= source.size
            ends = self._cutter.cuts(batch.view[start : room + count], final=is_final)
            piece = Piece(row, start, [start + end for end in ends], is_final=is_final)
            batch.pieces.append(piece)
            if is_final:
                piece.seen, piece.xxh3 = source.finish(), xxh3.digest()
                yield batch
                return piece.seen is not None
            following = self._new_batch()
            carried = _carry(batch, piece, following, end=room + count, room=room)
            yield batch
            batch = following

    def _zeros(self, holes: list[tuple[int, int]], start: int) -> tuple[int, int] | None:
        """The chunks of zeros that certainly follow an uncut position in a hole: (length of each, how many)."""
        for hole_start, hole_end in holes:
            if hole_start <= start and hole_end - start >= self._cut.max_bytes:
                length = self._cutter.zero_chunk_length()
                return length, (hole_end - start - self._cut.max_bytes) // length + 1
        return None


def _carry(batch: Batch, piece: Piece, following: Batch, *, end: int, room: int) -> int:
    """Move the bytes after the last certain cut in front of the next window; returns how many."""
    certain = piece.ends[-1] if piece.ends else piece.start
    carried = end - certain
    following.view[room - carried : room] = batch.view[certain:end]
    return carried


def _update_with_zeros(xxh3: xxhash.xxh3_128, count: int) -> None:
    while count > 0:
        part = min(count, len(_ZEROS))
        xxh3.update(_ZEROS[:part])
        count -= part
