"""Directories of a source tree, and a bounded number of open handles to them.

Everything below a source is opened relative to the handle of its directory. So paths may
be longer than the kernel takes in one call and a thousand levels deep, and a directory
that is swapped for a link after it was looked at is noticed, not entered.
"""

import errno
import os
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from artifactstore.errors import SourceChanged, SourceError, SourceNotFound, SourceUnreadable

MAX_HANDLES: Final = 32
NO_PARENT: Final = -1
_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_GONE: Final = frozenset({errno.ENOENT, errno.ESTALE})
_REPLACED: Final = frozenset({errno.ELOOP, errno.ENOTDIR})  # a link, or a file, where O_NOFOLLOW or O_DIRECTORY stand


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """One directory of a scan, or one file that was named as a source.

    Attributes:
        path: Relative to the version's root; empty for the root itself and for a file.
        absolute: Where it is on this machine, links resolved as far as the source's own path goes.
        parent: Index of the directory above, or `NO_PARENT` for one that is opened by its absolute path.
        name: Its name in that directory.
        device: Identifies it, with ``inode``.
        inode: Identifies it, with ``device``.
        is_file: Whether ``absolute`` is that of a file; device and inode are those of the directory it lies in.
    """

    path: bytes
    absolute: bytes
    parent: int
    name: bytes
    device: int
    inode: int
    is_file: bool = False


def shown(path: bytes) -> str:
    """A path as messages print it: control characters and bytes that are not text escaped."""
    text = os.fsdecode(path)
    return text if text.isprintable() else repr(path)[2:-1]


def source_error(error: OSError, path: bytes, *, doing: str) -> SourceError:
    """The typed error for what the system said about one source path."""
    where = shown(path)
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _EXHAUSTED:
        return SourceError(f"this process can't open more files ({reason}) while {doing} {where}", where=where)
    if error.errno in _GONE:
        return SourceChanged(f"{where} vanished while it was being pushed", where=where)
    if error.errno in _REPLACED:
        return SourceChanged(f"{where} was replaced by a link or a file while it was being pushed", where=where)
    return SourceUnreadable(f"{doing} {where} failed: {reason}", where=where)


def missing_source(path: bytes) -> SourceNotFound:
    return SourceNotFound(f"there is no {shown(path)}" if path else "an empty path names nothing", where=shown(path))


class DirectoryHandles:
    """Handles of some of the directories of one scan, least recently used closed first. For one thread."""

    def __init__(self, directories: list[Directory], *, link_flags: int, limit: int = MAX_HANDLES) -> None:
        """``link_flags`` is `os.O_NOFOLLOW`, or 0 where links are followed."""
        self._directories = directories
        self._flags = _DIRECTORY_FLAGS | link_flags
        self._limit = max(limit, 2)
        self._open: OrderedDict[int, int] = OrderedDict()
        self._latest = NO_PARENT
        self._latest_fd = -1

    def get(self, index: int) -> int:
        """An open handle of that directory, good until the next call.

        Raises:
            SourceError: It can't be opened, or is another directory by now.
        """
        if index == self._latest:
            return self._latest_fd
        chain = []
        at = index
        while at != NO_PARENT and at not in self._open:
            chain.append(at)
            at = self._directories[at].parent
        if at != NO_PARENT:
            self._open.move_to_end(at)
        while chain:
            at = chain.pop()
            self._add(at, self._opened(self._directories[at]))
        self._latest, self._latest_fd = index, self._open[index]
        return self._latest_fd

    def close(self) -> None:
        """Close all. Calling it twice is fine."""
        self._latest = NO_PARENT
        while self._open:
            os.close(self._open.popitem()[1])

    def _add(self, index: int, handle: int) -> None:
        self._open[index] = handle
        if len(self._open) > self._limit:
            evicted, old = self._open.popitem(last=False)
            os.close(old)
            if evicted == self._latest:
                self._latest = NO_PARENT

    def _opened(self, directory: Directory) -> int:
        try:
            if directory.parent == NO_PARENT:
                # The user named this one, perhaps by a link.
                path = os.path.dirname(directory.absolute) if directory.is_file else directory.absolute
                handle = os.open(path, _DIRECTORY_FLAGS)
            else:
                handle = os.open(directory.name, self._flags, dir_fd=self._open[directory.parent])
        except OSError as error:
            raise source_error(error, directory.absolute, doing="opening directory") from error
        found = os.fstat(handle)
        if found.st_ino != directory.inode or found.st_dev != directory.device:
            os.close(handle)
            where = shown(directory.absolute)
            raise SourceChanged(f"directory {where} was replaced while it was being pushed", where=where)
        return handle
