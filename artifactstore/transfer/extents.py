"""Chunk places, one after another, as the few extents they make up."""

from artifactstore.manifest.model import HOLE, Extent


class ExtentBuilder:
    """Joins consecutive chunks of one pack, and equal runs of zeros, into extents."""

    __slots__ = ("_chunk_count", "_content_length", "_done", "_first_chunk", "_offset", "_pack", "_stored_length")

    def __init__(self) -> None:
        self._done: list[Extent] = []
        self._pack = self._first_chunk = self._chunk_count = 0
        self._offset = self._stored_length = self._content_length = 0

    def add(self, pack: int, chunk: int, offset: int, stored_length: int, content_length: int) -> None:
        """The next chunk of the file is number ``chunk`` of pack number ``pack``."""
        if self._chunk_count and pack == self._pack and chunk == self._first_chunk + self._chunk_count:
            self._chunk_count += 1
            self._stored_length += stored_length
            self._content_length += content_length
            return
        self._close()
        self._pack, self._first_chunk, self._chunk_count = pack, chunk, 1
        self._offset, self._stored_length, self._content_length = offset, stored_length, content_length

    def add_zeros(self, chunk_length: int, count: int) -> None:
        """The next ``count`` chunks are zeros, each of ``chunk_length`` bytes."""
        if not (self._chunk_count and self._pack == HOLE and self._offset == chunk_length):
            self._close()
            self._pack, self._first_chunk, self._chunk_count = HOLE, 0, 0
            self._offset, self._stored_length, self._content_length = chunk_length, 0, 0
        self._chunk_count += count
        self._content_length += count * chunk_length

    def build(self) -> tuple[Extent, ...]:
        """All of it."""
        self._close()
        return tuple(self._done)

    def _close(self) -> None:
        if self._chunk_count:
            self._done.append(
                Extent(
                    self._pack,
                    self._first_chunk,
                    self._chunk_count,
                    self._offset,
                    self._stored_length,
                    self._content_length,
                )
            )
            self._chunk_count = 0
