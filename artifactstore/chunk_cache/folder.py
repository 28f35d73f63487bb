"""The folder of a cache on disk: its parts, whose it is, and its locks.

    chunks-1/             0700, or 2770 where it is shared
        usage             how many bytes each shard holds (`artifactstore.chunk_cache.usage`)
        00/ … 3f/         shards
            lock          locked by whoever writes into the shard or removes from it
            c<digest>     a chunk: its content and nothing else
            t<pack id>    a pack's tail, and behind it 32 bytes of digest over pack id and tail
            new-<random>  being written; where nobody holds the shard's lock, by somebody who was killed

Locks belong to open files (flock), are never waited for longer than a tenth of a second,
and are let go of by the system when their holder dies. Reading takes no lock.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Final

from artifactstore.chunk_cache.syscalls import FileSeen, System
from artifactstore.chunk_cache.usage import SHARD_COUNT, Usage
from artifactstore.clock import Clock
from artifactstore.forks import renew_in_children

FOLDER_NAME: Final = "chunks-1"  # the number counts layouts: another one is another folder
LOCK_NAME: Final = "lock"
USAGE_NAME: Final = "usage"
NEW_PREFIX: Final = "new-"
OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY
_OPEN_LOCK: Final = os.O_RDWR | os.O_CREAT
_BLOCK_BYTES: Final = 4096
_NAME_BYTES: Final = 256
HASTY: Final = tuple(0.00005 * 2**power for power in range(5))
"""Waits for a lock, in seconds: 1.5 ms in all."""
PATIENT: Final = (*HASTY, 0.0016, *(0.0032,) * 29)
"""A tenth of a second in all."""


class Sharing(Enum):
    """Who may use a cache's folder."""

    OWNER = "owner"
    GROUP = "group"


class Busy(Exception):
    """A lock could not be had in time. Not an error: what was to be done can be left."""


class ForeignFolder(PermissionError):
    """The folder is somebody else's and was not declared shared."""


class NoLocks(OSError):
    """The file system has no locks that exclude."""


class OpenFolder:
    """The folder, opened for one change. All paths are relative to it, so that one that was deleted stays deleted."""

    def __init__(self, folder: "Folder", descriptor: int, usage_descriptor: int) -> None:
        self._folder = folder
        self._usage_descriptor = usage_descriptor
        self.descriptor: Final = descriptor
        self.usage: Final = Usage(folder.system, usage_descriptor)

    @contextmanager
    def locked(self, shard: int, *, waits_seconds: Sequence[float] = PATIENT) -> Iterator[int]:
        """Hold a shard's lock; gives the shard's descriptor. What is done there is relative to that one: a path
        through the shard's name would follow a link in its place.

        Raises:
            Busy: Somebody else has it.
            OSError: It is no folder, or the system refuses.
        """
        with (
            self._folder.opened(f"{shard:02x}", OPEN_FOLDER, dir_fd=self.descriptor) as held,
            self._folder.opened(LOCK_NAME, _OPEN_LOCK, dir_fd=held) as lock,
            self._folder.lock_of(lock, waits_seconds),
        ):
            yield held

    @contextmanager
    def locked_usage(self) -> Iterator[None]:
        """Hold the lock of `usage`; nothing else is asked for meanwhile."""
        with self._folder.lock_of(self._usage_descriptor):
            yield

    def count(self, shard: int, held: int) -> list[FileSeen]:
        """Find out what a shard holds, remove what killed writers left, and record it. ``held`` is of `locked`."""
        system = self._folder.system
        entries = []
        for file in system.list(held):
            if file.name.startswith(NEW_PREFIX):
                system.unlink(file.name, dir_fd=held)
            elif file.name != LOCK_NAME:
                entries.append(file)
        self.usage.set_counted(shard, sum(charge_of(entry.size_bytes) for entry in entries))
        return entries


class Folder:
    """Where a cache lies. Any number of threads; a forked child lets go of its parent's files."""

    def __init__(self, path: str, *, sharing: Sharing, clock: Clock, system: System) -> None:
        """``path`` is the folder in which `FOLDER_NAME` is made. Nothing is looked at yet."""
        self.path: Final = os.path.join(path, FOLDER_NAME)
        self.system: Final = system
        self._is_shared = sharing is Sharing.GROUP
        self._folder_mode = 0o2770 if self._is_shared else 0o700
        self._file_mode = 0o660 if self._is_shared else 0o600
        self._clock = clock
        self._descriptors: set[int] = set()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child: a lock that is open here too would outlive its holder."""
        inherited, self._descriptors = self._descriptors, set()
        for descriptor in inherited:
            with suppress(OSError):
                os.close(descriptor)

    def refuse_foreign(self) -> bool:
        """Whether the folder is there.

        Raises:
            ForeignFolder: It is, and somebody else's.
        """
        try:
            looked = self.system.stat(self.path)
        except FileNotFoundError:
            return False
        self._refuse(looked)
        return True

    def prepare(self) -> None:
        """Make what is not there.

        Raises:
            ForeignFolder: The folder is somebody else's.
            NoLocks: The file system has no locks.
            Busy: Somebody else is doing it.
            OSError: The system refuses.
        """
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self._make_folder(self.path, dir_fd=None)
        with self.opened(self.path, OPEN_FOLDER) as root:
            looked = self.system.stat_open(root)
            self._refuse(looked)
            if not self._is_shared and stat.S_IMODE(looked.st_mode) & 0o077:
                self.system.set_mode(root, self._folder_mode)
            for shard in range(SHARD_COUNT):
                self._make_folder(f"{shard:02x}", dir_fd=root)
            with self.opened(USAGE_NAME, _OPEN_LOCK, dir_fd=root) as descriptor:
                self._prepare_usage(root, descriptor)

    @contextmanager
    def open(self) -> Iterator[OpenFolder]:
        """Open the folder for one change.

        Raises:
            FileNotFoundError: It is not there, or not whole: `prepare` it.
            OSError: The system refuses.
        """
        with (
            self.opened(self.path, OPEN_FOLDER) as root,
            self.opened(USAGE_NAME, os.O_RDWR, dir_fd=root) as usage,
        ):
            yield OpenFolder(self, root, usage)

    @contextmanager
    def opened(self, path: str, flags: int, *, dir_fd: int | None = None) -> Iterator[int]:
        """One open file, closed in the end, also in a child that is forked meanwhile."""
        descriptor = self.system.open(path, flags, self._file_mode, dir_fd=dir_fd)
        self._descriptors.add(descriptor)
        try:
            if self._is_shared and flags & os.O_CREAT:
                with suppress(PermissionError):  # somebody else's, who has done it
                    self.system.set_mode(descriptor, self._file_mode)
            yield descriptor
        finally:
            # First forgotten, then closed: the number may be another file's right after.
            self._descriptors.discard(descriptor)
            self.system.close(descriptor)

    @contextmanager
    def lock_of(self, descriptor: int, waits_seconds: Sequence[float] = PATIENT) -> Iterator[None]:
        """Hold the lock of an open file.

        Raises:
            Busy: Somebody else has it.
        """
        for wait in waits_seconds:
            if self.system.lock(descriptor):
                break
            self._clock.sleep(wait)
        else:
            raise Busy
        try:
            yield
        finally:
            # Not left to closing: a child that was forked meanwhile may have the file open.
            self.system.unlock(descriptor)

    def _make_folder(self, path: str, *, dir_fd: int | None) -> None:
        try:
            self.system.mkdir(path, self._folder_mode, dir_fd=dir_fd)
        except FileExistsError:
            return
        if self._is_shared:  # whatever the umask
            with self.opened(path, OPEN_FOLDER, dir_fd=dir_fd) as descriptor:
                self.system.set_mode(descriptor, self._folder_mode)

    def _prepare_usage(self, root: int, descriptor: int) -> None:
        usage = Usage(self.system, descriptor)
        with self.lock_of(descriptor):
            # Some network file systems say yes to everybody.
            with self.opened(USAGE_NAME, os.O_RDWR, dir_fd=root) as second:
                if self.system.lock(second):
                    raise NoLocks(errno.ENOLCK, "locks there exclude nobody")
            if not usage.is_valid():
                usage.reset()

    def _refuse(self, looked: os.stat_result) -> None:
        if not self._is_shared and looked.st_uid != os.geteuid():
            raise ForeignFolder(errno.EPERM, "it belongs to another user")


def charge_of(size_bytes: int) -> int:
    """What a file counts for: whole blocks of 4 KiB, and 256 bytes for its name in the folder."""
    return -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES + _NAME_BYTES
