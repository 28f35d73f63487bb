"""Large files while they are written: by segments, by several threads, each into a temporary file."""

import os
import threading
from collections.abc import Sequence
from typing import Final

from artifactstore.digest import Buffer, Digest
from artifactstore.manifest.format import FileDigester
from artifactstore.transfer.destination import Destination, GrowingFile
from artifactstore.transfer.local_chunks import LocalFile
from artifactstore.transfer.pieces import Content, Segment
from artifactstore.transfer.plan import Write

_FLUSH_BYTES: Final = 4 << 20

Row = tuple[Digest, int, int]
"""Digest of a chunk, its length, and how often it stands there in a row."""


class Cancelled(Exception):
    """Another task failed; this one stopped between two files."""


class LargeFile:
    """A content that is written by segments, to all the paths it lands at. Any number of threads."""

    def __init__(self, content: Content, *, local: LocalFile | None = None) -> None:
        """``local`` serves the local runs among the segments; it is closed with the file."""
        self.content = content
        self.segments: Sequence[Segment] = ()
        self.local = local
        self._lock = threading.Lock()
        self._files: list[GrowingFile] | None = None
        self._digester = FileDigester()
        self._rows: dict[int, list[Row]] = {}
        self._next = 0
        self._is_done = False

    def plan(self, segments: Sequence[Segment]) -> None:
        """Say where the content comes from. Before anything else, and once."""
        self.segments = segments

    def opened(self, destination: Destination) -> list[GrowingFile]:
        """The files being written, made when the first segment asks for them."""
        with self._lock:
            if self._is_done:
                raise Cancelled
            if self._files is None:
                self._files = []
                with destination.folders() as folders:
                    for write in self.content.writes:
                        self._files.append(destination.begin_file(folders, write))
            return self._files

    def add(self, number: int, rows: list[Row]) -> bool:
        """The chunks of one segment, in any order of segments; returns whether this was the last one missing."""
        with self._lock:
            self._rows[number] = rows
            while self._next in self._rows:
                for digest, length, count in self._rows.pop(self._next):
                    self._digester.add_repeated(digest, length, count)
                self._next += 1
            return self._next == len(self.segments)

    def digest(self) -> Digest:
        """Over all chunks."""
        return self._digester.digest()

    def finish(self) -> list[tuple[Write, os.stat_result]]:
        """Let it appear under its names."""
        with self._lock:
            landed = [(w, f.finish()) for w, f in zip(self.content.writes, self._files or (), strict=True)]
            for file in self._files or ():
                file.close()
            self._end()
        return landed

    def discard(self) -> None:
        """Remove what was written so far. After `finish` it does nothing. No thread may be at work on it."""
        with self._lock:
            if not self._is_done:
                for file in self._files or ():
                    file.discard()
                self._end()

    def _end(self) -> None:
        self._files = None
        self._is_done = True
        if self.local is not None:
            self.local.close()


class SegmentWriter:
    """Writes the chunks of one segment one behind the other, a few MiB at a time. For one thread.

    Attributes:
        rows: What was written so far, chunk by chunk.
        length: Bytes of it.
    """

    def __init__(self, files: Sequence[GrowingFile], offset: int, *, cancelled: threading.Event) -> None:
        self.rows: Final[list[Row]] = []
        self.length = 0
        self._files = files
        self._offset = offset
        self._cancelled = cancelled
        self._pending: list[Buffer] = []
        self._pending_bytes = 0

    def add(self, digest: Digest, raw: Buffer) -> None:
        """The next chunk; its buffer must stay as it is until `flush`."""
        self.rows.append((digest, len(raw), 1))
        self._pending.append(raw)
        self._pending_bytes += len(raw)
        self.length += len(raw)
        if self._pending_bytes >= _FLUSH_BYTES:
            self.flush()

    def add_all(self, rows: Sequence[Row], raws: memoryview) -> None:
        """The next chunks, back to back in a buffer that may be used again afterwards."""
        self.flush()
        self.rows.extend(rows)
        self._pending, self._pending_bytes = [raws], len(raws)
        self.length += len(raws)
        self.flush()

    def add_zeros(self, digest: Digest, chunk_length: int, count: int) -> None:
        """The next chunks are zeros: nothing is written."""
        self.flush()
        self.rows.append((digest, chunk_length, count))
        self.length += chunk_length * count

    def flush(self) -> None:
        """Write what is pending.

        Raises:
            DestinationError: It can't be written.
            Cancelled: Another task failed.
        """
        if self._cancelled.is_set():
            raise Cancelled
        if self._pending:
            for file in self._files:
                file.write(self._pending, self._offset + self.length - self._pending_bytes)
            self._pending, self._pending_bytes = [], 0
