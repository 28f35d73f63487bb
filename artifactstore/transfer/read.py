"""Read source files so that what is read is what one version of the file held.

A file is opened relative to its directory's handle, never through a link in its place and
never blocking; it must be a regular file; it is read at most to the size it had when it
was opened; and it counts only if its times, size and inode are the same afterwards. A
file that keeps changing is read `MAX_ATTEMPTS` times, then reported.
"""

import errno
import os
import stat
import threading
from dataclasses import dataclass
from typing import Final, Self

from artifactstore.errors import SourceChanged, SourceUnreadable
from artifactstore.transfer.found import FollowLinks, Found, Growth, Scan, found_file
from artifactstore.transfer.handles import DirectoryHandles, shown, source_error

MAX_ATTEMPTS: Final = 3
"""How often a file that changes while it is read is read before that is an error."""

_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_BLOCK_BYTES: Final = 512  # the unit of st_blocks
_MAX_READ_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of a file's bytes: data, or a hole that reads as zeros."""

    start: int
    length: int
    is_hole: bool


class SourceReader:
    """Reads the files of one scan. Any number of threads may use it; each keeps a few directory handles."""

    def __init__(self, scan: Scan) -> None:
        self._directories = scan.directories
        self._link_flags = 0 if scan.follow_links is FollowLinks.ALWAYS else os.O_NOFOLLOW
        self._flags = _FLAGS | self._link_flags
        self._growth = scan.growth
        self._local = threading.local()
        self._lock = threading.Lock()
        self._handles: list[DirectoryHandles] = []

    def open(self, found: Found) -> "OpenSource":
        """Open one file.

        Raises:
            SourceChanged: It is gone, or something else is in its place.
            SourceUnreadable: The system refuses.
        """
        return OpenSource(found, *self._opened(found), growth=self._growth)

    def read(self, found: Found) -> tuple[bytes, Found]:
        """A small file's whole content, and its row as it is now (``found`` itself where nothing changed).

        Raises:
            SourceChanged: It is gone, something else is in its place, or it changed under each of `MAX_ATTEMPTS` reads.
            SourceUnreadable: The system refuses.
        """
        for _ in range(MAX_ATTEMPTS):
            handle, before = self._opened(found)
            try:
                data = os.read(handle, before.st_size) if before.st_size else b""
                after = os.fstat(handle)
            except OSError as error:
                raise source_error(error, found.path, doing="reading") from error
            finally:
                os.close(handle)
            if len(data) == before.st_size and _counts(before, after, self._growth):
                return data, _seen(found, before)
        raise keeps_changing(found)

    def read_into(self, found: Found, buffer: memoryview) -> Found:
        """As `read`, into the start of ``buffer``: the row that comes back says how many bytes.

        Raises:
            SourceChanged: As for `read`; also when it outgrew the buffer.
            SourceUnreadable: The system refuses.
        """
        for _ in range(MAX_ATTEMPTS):
            handle, before = self._opened(found)
            size = before.st_size
            try:
                if size > len(buffer):
                    break
                count = os.readv(handle, [buffer[:size]]) if size else 0
                after = os.fstat(handle)
            except OSError as error:
                raise source_error(error, found.path, doing="reading") from error
            finally:
                os.close(handle)
            if count == size and _counts(before, after, self._growth):
                return _seen(found, before)
        raise keeps_changing(found)

    def close(self) -> None:
        """Close the directory handles of all threads. Calling it twice is fine."""
        with self._lock:
            handles, self._handles = self._handles, []
            self._local = threading.local()
        for each in handles:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _opened(self, found: Found) -> tuple[int, os.stat_result]:
        try:
            handles: DirectoryHandles = self._local.handles
        except AttributeError:
            handles = self._new_handles()
        holder = handles.get(found.directory)
        directory = self._directories[found.directory]
        name = os.path.basename(directory.absolute) if directory.is_file else found.name
        try:
            handle = os.open(name, self._flags, dir_fd=holder)
        except OSError as error:
            raise source_error(error, found.path, doing="opening") from error
        looked = os.fstat(handle)
        if not stat.S_ISREG(looked.st_mode):
            os.close(handle)
            where = shown(found.path)
            raise SourceChanged(f"{where} is no longer a regular file", where=where)
        return handle, looked

    def _new_handles(self) -> DirectoryHandles:
        handles = DirectoryHandles(self._directories, link_flags=self._link_flags)
        with self._lock:
            self._handles.append(handles)
            self._local.handles = handles
        return handles


class OpenSource:
    """One open file. Use it as a context manager.

    Attributes:
        size: Its size when it was opened: no byte after that is read.
    """

    def __init__(self, found: Found, handle: int, looked: os.stat_result, *, growth: Growth) -> None:
        self._growth = growth
        self.found: Final = found
        self.size: Final = looked.st_size
        self._handle = handle
        self._before: Final = looked
        self._is_short = False

    def read_at(self, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from offset ``start``; returns how many bytes, fewer only at the end of the file.

        Raises:
            SourceUnreadable: The system refuses; the message has the offset.
        """
        wanted = min(len(buffer), self.size - start)
        filled = 0
        while filled < wanted:
            try:
                count = os.preadv(
                    self._handle, [buffer[filled : min(wanted, filled + _MAX_READ_BYTES)]], start + filled
                )
            except OSError as error:
                where = shown(self.found.path)
                what = f"reading {where} at byte {start + filled} failed: {os.strerror(error.errno or 0)}"
                raise SourceUnreadable(what, where=where) from error
            if count == 0:
                self._is_short = True  # truncated since
                break
            filled += count
        return filled

    def segments(self) -> list[Segment]:
        """Data and holes, in order, together all of the file. One data segment where holes are not known."""
        if self._before.st_blocks * _BLOCK_BYTES >= self.size:
            return [Segment(0, self.size, False)] if self.size else []
        try:
            return self._sparse_segments()
        except OSError:  # a file system that can't tell: all of it is data
            return [Segment(0, self.size, False)]

    def _sparse_segments(self) -> list[Segment]:
        segments = []
        at = 0
        while at < self.size:
            data = self._next_data(at)
            if data > at:
                segments.append(Segment(at, data - at, True))
            if data == self.size:
                break
            at = min(os.lseek(self._handle, data, os.SEEK_HOLE), self.size)
            segments.append(Segment(data, at - data, False))
        return segments

    def _next_data(self, at: int) -> int:
        try:
            return min(os.lseek(self._handle, at, os.SEEK_DATA), self.size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here on
                return self.size
            raise

    def finish(self) -> Found | None:
        """The file's row as it is now (``found`` itself where nothing changed), or None: it changed while open.

        None means that what was read does not count: read it again, up to `MAX_ATTEMPTS` times in all.
        """
        try:
            after = os.fstat(self._handle)
        except OSError as error:
            raise source_error(error, self.found.path, doing="reading") from error
        if self._is_short or not _counts(self._before, after, self._growth):
            return None
        return _seen(self.found, self._before)

    def close(self) -> None:
        """Calling it twice is fine."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def keeps_changing(found: Found) -> SourceChanged:
    """The error for a file that changed under each of `MAX_ATTEMPTS` reads."""
    where = shown(found.path)
    return SourceChanged(f"{where} kept changing while it was read", where=where)


def _counts(before: os.stat_result, after: os.stat_result, growth: Growth) -> bool:
    """Whether what was read between two looks is what the file held at the first."""
    if growth is Growth.TAKE_START and before.st_ino == after.st_ino and before.st_size <= after.st_size:
        return True
    return _is_same(before, after)


def _is_same(before: os.stat_result, after: os.stat_result) -> bool:
    return (
        before.st_size == after.st_size
        and before.st_mtime_ns == after.st_mtime_ns
        and before.st_ctime_ns == after.st_ctime_ns
        and before.st_ino == after.st_ino
    )


def _seen(found: Found, looked: os.stat_result) -> Found:
    """``found`` if that is still what the file looks like, else its row as it is now."""
    if (
        looked.st_size == found.size
        and looked.st_mtime_ns == found.mtime_ns
        and looked.st_ctime_ns == found.ctime_ns
        and looked.st_ino == found.inode
    ):
        return found
    return found_file(found.path, looked, found.directory)
