"""What the local backend asks of the operating system, and what its refusals mean.

Every call that changes or reads a disk goes through `System`, so that tests can fail any
of them, or record the trace and rebuild what a crash would leave.
"""

import contextlib
import errno
import fcntl
import os
from typing import Final

from artifactstore.errors import (
    BackendError,
    StoreOutOfSpace,
    StorePermissionDenied,
    StoreReadOnly,
    TransientBackendError,
)

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_PERMISSION: Final = frozenset({errno.EACCES, errno.EPERM})
# These pass: handles and memory come back, servers and mounts too.
_PASSING: Final = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.EAGAIN,
        errno.EBUSY,
        errno.EINTR,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EIO,
    }
)
# fsync of a directory is not known everywhere (CIFS, some FUSE): then the file system syncs by itself or not at all.
_NO_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF})
_FULL_SYNC: Final[int | None] = getattr(fcntl, "F_FULLFSYNC", None)


class System:
    """The calls themselves. Tests derive from it."""

    def open(self, path: str, flags: int) -> int:
        return os.open(path, flags, 0o666)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def close_read(self, descriptor: int) -> None:
        """Close what was only read: whatever goes wrong there, nothing is lost."""
        with contextlib.suppress(OSError):
            self.close(descriptor)

    def read_into(self, descriptor: int, view: memoryview, offset: int) -> int:
        return os.preadv(descriptor, [view], offset)

    def write(self, descriptor: int, view: memoryview) -> int:
        return os.write(descriptor, view)

    def sync(self, descriptor: int) -> None:
        """Bytes and name are on the disk when this returns: macOS needs more than fsync for that."""
        if _FULL_SYNC is not None:
            with contextlib.suppress(OSError):
                fcntl.fcntl(descriptor, _FULL_SYNC)
                return
        os.fsync(descriptor)

    def stat_open(self, descriptor: int) -> os.stat_result:
        return os.fstat(descriptor)

    def stat(self, path: str) -> os.stat_result:
        return os.stat(path)

    def link(self, source: str, target: str) -> None:
        os.link(source, target)

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def mkdir(self, path: str) -> None:
        os.mkdir(path)

    def rmdir(self, path: str) -> None:
        os.rmdir(path)

    def entries(self, path: str) -> list[os.DirEntry[str]]:
        with os.scandir(path) as found:
            return list(found)

    def sync_directory(self, path: str) -> None:
        descriptor = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sync(descriptor)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise
        finally:
            self.close_read(descriptor)


SYSTEM: Final = System()


def mapped(
    error: OSError, what: str, *, where: str, needed_bytes: int = 0, effect_unknown: bool = False
) -> BackendError:
    """The error of ours that ``error`` is; raise it ``from error``.

    Args:
        what: What could not be done: ``can't write packs/ab/…``.
        where: The path.
        needed_bytes: What a write needed; named where the file system is full.
        effect_unknown: Whether the write may have happened all the same.
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _NO_SPACE:
        return StoreOutOfSpace(f"{what}: {_space(where, needed_bytes)} ({reason})", where=where)
    if error.errno in _NO_PERMISSION:
        denied = StorePermissionDenied(f"{what}: {reason}", where=where)
        denied.next_step = "Check who owns the folder of the store and its permissions, and who runs this."
        return denied
    if error.errno == errno.EROFS:
        return StoreReadOnly(f"{what}: {reason}", where=where)
    if error.errno in _PASSING:
        return TransientBackendError(f"{what}: {reason}", where=where, effect_unknown=effect_unknown)
    return BackendError(f"{what}: {reason}", where=where)


def _space(path: str, needed_bytes: int) -> str:
    """Which file system is full, and by how much."""
    if not os.path.isabs(path):
        return f"no space left there; {needed_bytes:,} bytes are needed"
    mount = os.path.dirname(path) or "/"
    while not os.path.ismount(mount) and os.path.dirname(mount) != mount:
        mount = os.path.dirname(mount)
    try:
        facts = os.statvfs(mount)
    except OSError:  # the message is what it is about: no number is better than another error
        return f"no space left on the file system at {mount}; {needed_bytes:,} bytes are needed"
    free_bytes = facts.f_bavail * facts.f_frsize
    return f"no space left on the file system at {mount}: {needed_bytes:,} bytes are needed, {free_bytes:,} are free"
