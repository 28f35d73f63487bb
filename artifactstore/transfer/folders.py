"""Directories of a destination, reached step by step and never through a link.

Every call below a destination is relative to the handle of a directory, and each step down
is opened with O_NOFOLLOW. So a link that is there, or that somebody swaps in meanwhile,
ends the pull instead of leading it outside; and paths may be a thousand levels deep and
longer than the kernel takes in one call.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Final

from artifactstore.backend.syscalls import SYSTEM as STORE_SYSTEM
from artifactstore.errors import DestinationError
from artifactstore.manifest.paths import shown

MAX_HANDLES: Final = 32
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_NOT_A_DIRECTORY: Final = frozenset({errno.ENOTDIR, errno.ELOOP})
_MAX_BUFFERS: Final = 1024
_HAS_EFFECTIVE_IDS: Final = os.access in os.supports_effective_ids
_NOWHERE: Final = b"\0"


class System:
    """The calls of the operating system that a pull makes. Tests derive from it to fail any of them."""

    def open_directory(self, name: bytes, parent: int) -> int:
        return os.open(name, _DIRECTORY, dir_fd=parent)

    def create(self, name: bytes, parent: int, *, mode: int) -> int:
        """A new file, for writing. The umask takes its part of ``mode``."""
        return os.open(name, _CREATE, mode, dir_fd=parent)

    def open_file(self, name: bytes, parent: int) -> int:
        return os.open(name, _READ, dir_fd=parent)

    def write(self, descriptor: int, buffers: "list[bytes | bytearray | memoryview]", offset: int) -> int:
        return os.pwritev(descriptor, buffers, offset)

    def truncate(self, descriptor: int, length: int) -> None:
        os.ftruncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        STORE_SYSTEM.sync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def mkdir(self, name: bytes, parent: int) -> None:
        os.mkdir(name, 0o777, dir_fd=parent)

    def symlink(self, target: bytes, name: bytes, parent: int) -> None:
        os.symlink(target, name, dir_fd=parent)

    def rename(self, name: bytes, parent: int, new_name: bytes, new_parent: int) -> None:
        os.rename(name, new_name, src_dir_fd=parent, dst_dir_fd=new_parent)

    def unlink(self, name: bytes, parent: int) -> None:
        os.unlink(name, dir_fd=parent)

    def rmdir(self, name: bytes, parent: int) -> None:
        os.rmdir(name, dir_fd=parent)

    def stat(self, name: bytes, parent: int) -> os.stat_result:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)

    def read_link(self, name: bytes, parent: int) -> bytes:
        return os.readlink(name, dir_fd=parent)

    def stat_open(self, descriptor: int) -> os.stat_result:
        return os.fstat(descriptor)

    def room(self, descriptor: int) -> os.statvfs_result:
        return os.fstatvfs(descriptor)

    def may_write(self, directory: int) -> bool:
        """Whether entries of this open directory can be made and removed, as far as permissions tell."""
        return os.access(b".", os.W_OK | os.X_OK, dir_fd=directory, effective_ids=_HAS_EFFECTIVE_IDS)


SYSTEM: Final = System()


class Folders:
    """Open handles along one path at a time below a root. For one thread; close it.

    Args:
        root: Handle of the root. Stays the caller's.
        make: Whether directories that are not there are made on the way.
    """

    def __init__(self, root: int, *, system: System = SYSTEM, make: bool = False) -> None:
        self._root = root
        self._system = system
        self._make = make
        self._path = b""
        self._names: list[bytes] = []
        self._handles: list[int] = []  # one for each name; -1 where it was closed again
        self._open_count = 0

    def __enter__(self) -> "Folders":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, folder: bytes) -> int:
        """A handle of the directory ``folder``, good until the next call. Empty means the root.

        Raises:
            OSError: It is not there, not a directory, or behind a link.
        """
        if folder == self._path:
            return self._handles[-1] if self._handles else self._root
        names = folder.split(b"/") if folder else []
        shared = 0
        for mine, asked in zip(self._names, names, strict=False):
            if mine != asked:
                break
            shared += 1
        self._leave(shared)
        while shared and self._handles[shared - 1] < 0:
            shared -= 1
        self._leave(shared)
        at = self._handles[-1] if self._handles else self._root
        self._path = _NOWHERE  # until all steps are taken
        for name in names[shared:]:
            at = self._step(name, at)
        self._path = folder
        return at

    def close(self) -> None:
        """Close all handles. It may be used again afterwards."""
        self._leave(0)

    def _leave(self, depth: int) -> None:
        while len(self._handles) > depth:
            self._names.pop()
            handle = self._handles.pop()
            if handle >= 0:
                self._open_count -= 1
                self._system.close(handle)
        self._path = b"/".join(self._names)

    def _step(self, name: bytes, parent: int) -> int:
        try:
            handle = self._system.open_directory(name, parent)
        except FileNotFoundError:
            if not self._make:
                raise
            handle = self._made(name, parent)
        self._names.append(name)
        self._handles.append(handle)
        self._open_count += 1
        if self._open_count > MAX_HANDLES:
            # The highest ones go first: work moves on near the deepest.
            oldest = next(i for i, h in enumerate(self._handles) if h >= 0)
            self._system.close(self._handles[oldest])
            self._handles[oldest] = -1
            self._open_count -= 1
        return handle

    def _made(self, name: bytes, parent: int) -> int:
        # Another thread may have been faster, or it is no directory: opening it tells.
        with contextlib.suppress(FileExistsError):
            self._system.mkdir(name, parent)
        return self._system.open_directory(name, parent)


def split(path: bytes) -> tuple[bytes, bytes]:
    """(the directory it lies in, its name there)."""
    folder, _, name = path.rpartition(b"/")
    return folder, name


def write_all(
    system: System, descriptor: int, buffers: "list[bytes | bytearray | memoryview]", offset: int
) -> None:
    """Write all of them, one behind the other, from ``offset`` on."""
    for start in range(0, len(buffers), _MAX_BUFFERS):
        batch = buffers[start : start + _MAX_BUFFERS]
        wanted = sum(map(len, batch))
        written = system.write(descriptor, batch, offset)
        offset += written
        if written < wanted:
            offset = _write_rest(system, descriptor, b"".join(batch), written, offset)


def _write_rest(system: System, descriptor: int, data: bytes, written: int, offset: int) -> int:
    # A short write is what a full disk looks like first; the next one says why.
    view = memoryview(data)
    while written < len(view):
        count = system.write(descriptor, [view[written:]], offset)
        if count == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written += count
        offset += count
    return offset


def list_directory(directory: int) -> "Iterator[os.DirEntry[str]]":
    """What is in an open directory, in no order."""
    with os.scandir(directory) as rows:
        yield from rows


def remove_tree(name: bytes, parent: int, *, system: System = SYSTEM) -> None:
    """Remove a directory of our own and all that is in it, without following links and without recursion.

    Raises:
        OSError: Something in it can't be removed.
    """
    try:
        root = system.open_directory(name, parent)
    except FileNotFoundError:
        return
    try:
        with Folders(root, system=system) as folders:
            seen = [b""]
            for folder in seen:  # grows while it is walked
                seen.extend(_empty_of_leaves(folders.open(folder), folder, system))
            for folder in reversed(seen[1:]):
                above, last = split(folder)
                system.rmdir(last, folders.open(above))
    finally:
        system.close(root)
    system.rmdir(name, parent)


def _empty_of_leaves(directory: int, folder: bytes, system: System) -> list[bytes]:
    below = []
    for row in list(list_directory(directory)):
        name = os.fsencode(row.name)
        if row.is_dir(follow_symlinks=False):
            below.append(folder + b"/" + name if folder else name)
        else:
            system.unlink(name, directory)
    return below


def destination_error(
    error: OSError,
    path: bytes,
    *,
    doing: str = "written",
    needed_bytes: int | None = None,
    free_bytes: int | None = None,
) -> DestinationError:
    """The typed error for what the system said about a path of the destination.

    Args:
        path: What it is about, for the message.
        doing: What it can't be: ``written``, ``read``.
        needed_bytes: How many bytes were to be written there.
        free_bytes: How much room the file system says it has.
    """
    where = shown(path)
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _NO_SPACE:
        needs = f": {needed_bytes:,} bytes are needed" if needed_bytes is not None else ""
        free = f", {free_bytes:,} are free" if free_bytes is not None else ""
        return DestinationError(f"no space for {where} ({reason}){needs}{free}", where=where)
    if error.errno in _EXHAUSTED:
        mapped = DestinationError(f"this process can't open {where} ({reason})", where=where)
        mapped.next_step = "Raise the limit (ulimit -n) or use fewer jobs (-j), then run the same pull again."
        return mapped
    if error.errno in _NOT_A_DIRECTORY:
        return DestinationError(f"{where} leads through something that is not a directory ({reason})", where=where)
    return DestinationError(f"{where} can't be {doing}: {reason}", where=where)


def is_directory(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode)
