"""A stored file as a stream, without downloading it first.

A small file is read whole and checked against its file digest. A range of a larger one costs
the tables of the packs it lies in, once, and the chunks it touches: the pack's name proves
the table, the table the digest of each chunk, and each chunk is checked against its digest
before a byte of it is returned. Who reads all of it checks the file digest besides.
"""

import errno
import io
import os
from concurrent.futures import Executor
from typing import Final

from artifactstore.backend.protocol import Backend
from artifactstore.reading.chunks import WHOLE_FILE_BYTES, ChunkReader, Span
from artifactstore.reading.stored_file import StoredFile, find_file
from artifactstore.reading.window import READ_AHEAD_BYTES, Window
from artifactstore.tree import StoredTree

_BUFFER_BYTES: Final = 64 << 10


def open_file(tree: StoredTree, backend: Backend, path: bytes, *, pool: Executor | None = None) -> io.BufferedReader:
    """Open a file of a version for reading; seekable.

    Args:
        pool: Runs the requests of a large read side by side.

    Raises:
        PathNotFound: Nothing is there, or no file.
        CorruptData: Stored bytes fail their check: here, or when they are read.
        BackendError: The storage did not answer.
    """
    file, reader = StoredFile(tree, find_file(tree, path)), ChunkReader(backend, pool=pool)
    if file.size <= WHOLE_FILE_BYTES:
        [content] = reader.read([Span(file, 0, file.size)])
        return io.BufferedReader(_Whole(memoryview(content)))
    return io.BufferedReader(_Stream(Window(reader, file)), _BUFFER_BYTES)


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

    def __init__(self, content: memoryview) -> None:
        super().__init__(len(content))
        self._content = content

    def readinto(self, buffer: "memoryview | bytearray", /) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        part = self._content[self._position : self._position + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)


class _Stream(_Raw):
    """A large file."""

    def __init__(self, window: Window) -> None:
        super().__init__(window.file.size)
        self._window = window

    def readinto(self, buffer: "memoryview | bytearray", /) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        start, end = self._position, min(self._position + len(view), self._size)
        if start >= end:
            return 0
        # The buffer's own size says nothing of what is wanted; a larger one is what somebody asked for.
        part = self._window.some(start, end, wanted_end=end if len(view) > _BUFFER_BYTES else start + 1)
        view[: len(part)] = part
        self._position += len(part)
        return len(part)

    def readall(self) -> bytes:
        parts = []
        buffer = memoryview(bytearray(min(READ_AHEAD_BYTES, max(1, self._size - self._position))))
        while count := self.readinto(buffer):
            parts.append(bytes(buffer[:count]))
        return b"".join(parts)
