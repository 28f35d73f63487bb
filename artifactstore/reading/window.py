"""One file, read here and there: what was read last stays at hand, and who goes on from it gets more and more ahead."""

from typing import Final

from artifactstore.digest import Buffer, PackId
from artifactstore.pack.format import Table
from artifactstore.reading.chunks import MAX_FETCH_BYTES, ZEROS, ChunkReader, Span
from artifactstore.reading.ranges import Ahead
from artifactstore.reading.stored_file import StoredFile, WholeCheck

FIRST_AHEAD_BYTES: Final = 64 << 10
READ_AHEAD_BYTES: Final = 4 << 20
_NOWHERE: Final = -1


class Window:
    """A file without a position. Any number of threads; one that reads does not wait for another.

    Attributes:
        file: The file.
    """

    def __init__(self, reader: ChunkReader, file: StoredFile) -> None:
        self.file: Final = file
        self._reader = reader
        self._check = WholeCheck(file)
        self._ahead = Ahead(first_bytes=FIRST_AHEAD_BYTES, max_bytes=READ_AHEAD_BYTES)
        # Replaced as a whole, never changed: a thread sees the one or the other.
        self._held: tuple[int, Buffer] = (0, b"")
        self._end = _NOWHERE

    def read(self, start: int, end: int) -> Buffer:
        """Bytes ``start`` to ``end``, as far as the file goes.

        Raises:
            CorruptData: Stored bytes fail their check, or are gone.
            BackendError: The storage did not answer.
        """
        parts: list[Buffer] = []
        end = min(end, self.file.size)
        while start < end:
            part = self.some(start, end, wanted_end=end)
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def some(self, start: int, end: int, *, wanted_end: int) -> memoryview:
        """One or more bytes from ``start`` on, none behind ``end``; all inside the file.

        Args:
            wanted_end: Where what is sure to be wanted ends. Up to ``end`` more is returned if it comes at no cost.

        Raises:
            CorruptData, BackendError: As `read`.
        """
        begin, content = self._held
        if not begin <= start < begin + len(content):
            if (zeros_end := self.file.zeros_end(start)) > start:
                return self._zeros(start, min(end, zeros_end))
            begin, content = self._fetch(start, wanted_end)
        return memoryview(content)[start - begin : end - begin]

    def _zeros(self, start: int, end: int) -> memoryview:
        # Nothing of it is stored, so no table is asked for.
        self._check.see(self.file.pieces(start, start + 1, _no_table))
        zeros = ZEROS[: end - start]
        if start == self._end:
            self._end = start + len(zeros)
        return zeros

    def _fetch(self, start: int, end: int) -> tuple[int, Buffer]:
        ahead = self._ahead.after(goes_on=start == self._end)
        until = min(max(end, start + ahead), start + MAX_FETCH_BYTES, self.file.size)
        begin, content = self._reader.window(Span(self.file, start, until), self._check)
        self._end = begin + len(content)
        # Who reads so much at once has it, and does not ask for it again.
        self._held = (begin, content) if len(content) <= 2 * READ_AHEAD_BYTES else (0, b"")
        return begin, content


def _no_table(pack: PackId) -> Table:
    raise AssertionError(f"zeros are in no pack, and not in {pack!r}")
