"""Where a pull writes: whole files under their final names, never anything half written.

    destination      how files get there
    absent           all into a sibling `.artifactstore-tmp-<random>`, which takes the name by one rename
    empty            all into a staging directory inside it, then one rename for each name at the top
    anything else    each file as `.artifactstore-tmp-<random>` in its own directory, then renamed over the old one

What is there counts as it was when the pull looked at it: a path that changed since, or
appeared, is left alone and ends the pull. Permissions are those of a new file: 0666 or
0777 less the umask; set-user-id bits, owners and times are never written.
"""

import contextlib
import errno
import itertools
import os
from typing import Final

from artifactstore.clock import Clock
from artifactstore.digest import Buffer
from artifactstore.errors import DestinationError, DestinationExists
from artifactstore.manifest.model import EntryKind
from artifactstore.manifest.paths import TEMPORARY_PREFIX, shown
from artifactstore.transfer.conflict import LocalFact
from artifactstore.transfer.folders import (
    SYSTEM,
    Folders,
    System,
    destination_error,
    list_directory,
    remove_tree,
    split,
    write_all,
)
from artifactstore.transfer.plan import Removal, Write
from artifactstore.transfer.planner import directories_of

_OCCUPIED: Final = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR})


class GrowingFile:
    """A file that several threads write into until it is whole."""

    def __init__(self, destination: "Destination", write: Write, directory: int, made: bytes, handle: int) -> None:
        self._destination = destination
        self._write = write
        self._directory = directory
        self._made = made
        self._handle = handle

    def write(self, buffers: list[Buffer], offset: int) -> None:
        """Write all of them from ``offset`` of the content on. What is never written to reads as zeros.

        Raises:
            DestinationError: The system refused.
        """
        try:
            write_all(self._destination.system, self._handle, buffers, offset)
        except OSError as error:
            raise self._destination.failed(error, self._write) from error

    def finish(self) -> os.stat_result:
        """Let it appear under its name. The caller has checked every byte of it.

        Raises:
            DestinationError: The system refused, or what was to be replaced has changed.
        """
        try:
            self._destination.system.truncate(self._handle, self._write.entry.size)
            return self._destination.settle(self._write, self._directory, self._made, self._handle)
        except OSError as error:
            raise self._destination.failed(error, self._write) from error

    def close(self) -> None:
        """Give back the handles."""
        self._destination.system.close(self._handle)
        self._destination.system.close(self._directory)

    def discard(self) -> None:
        """Remove what was written so far, and close."""
        with contextlib.suppress(OSError):
            self._destination.system.unlink(self._made, self._directory)
        self.close()


class Destination:
    """One directory that is being written to. May be used by many threads, each with `Folders` of its own.

    Args:
        root: Handle of the directory below which everything is written. Closed by `close`.
        path: How messages name the destination.
        clock: Temporary names come from it.
        durable: Whether files and directories are flushed to the disk.
    """

    def __init__(self, root: int, path: bytes, *, clock: Clock, durable: bool, system: System = SYSTEM) -> None:
        self.root = root
        self.path = path
        self.system = system
        self._durable = durable
        self._touched: set[bytes] = {b""}
        self._temporary = TEMPORARY_PREFIX + clock.random_bytes(8).hex().encode()
        self._counter = itertools.count()

    def folders(self) -> Folders:
        """Handles for one thread, making directories on the way."""
        return Folders(self.root, system=self.system, make=True)

    # -- landing ---------------------------------------------------------------------------

    def land_file(self, folders: Folders, write: Write, buffers: list[Buffer]) -> os.stat_result:
        """Write a whole file that was checked, and let it appear under its name.

        Raises:
            DestinationError: The system refused, or what was to be replaced has changed.
        """
        system = self.system
        folder, name = split(write.path)
        try:
            directory = folders.open(folder)
            made = self._name_for(name)
            handle = system.create(made, directory, mode=0o777 if write.entry.executable else 0o666)
            try:
                if buffers:
                    write_all(system, handle, buffers, 0)
                return self.settle(write, directory, made, handle)
            except BaseException:
                with contextlib.suppress(OSError):
                    system.unlink(made, directory)
                raise
            finally:
                system.close(handle)
        except OSError as error:
            raise self.failed(error, write) from error

    def begin_file(self, folders: Folders, write: Write) -> GrowingFile:
        """Start a file that is written piece by piece.

        Raises:
            DestinationError: The system refused.
        """
        folder, name = split(write.path)
        try:
            # A handle of its own: `folders` moves on.
            directory = os.dup(folders.open(folder))
            try:
                made = self._name_for(name)
                handle = self.system.create(made, directory, mode=0o777 if write.entry.executable else 0o666)
            except BaseException:
                self.system.close(directory)
                raise
        except OSError as error:
            raise self.failed(error, write) from error
        return GrowingFile(self, write, directory, made, handle)

    def settle(self, write: Write, directory: int, made: bytes, handle: int) -> os.stat_result:
        """Give a finished file its name; returns how it looks afterwards."""
        if self._durable:
            self.system.sync(handle)
        self._take_name(write, directory, made)
        return self.system.stat_open(handle)

    def land_link(self, folders: Folders, write: Write) -> None:
        """Make a symbolic link. Where it points to does not matter: nothing is ever written through it.

        Raises:
            DestinationError: The system refused, or what was to be replaced has changed.
        """
        folder, name = split(write.path)
        try:
            directory = folders.open(folder)
            made = self._name_for(name)
            self.system.symlink(write.entry.target, made, directory)
            try:
                self._take_name(write, directory, made)
            except BaseException:
                with contextlib.suppress(OSError):
                    self.system.unlink(made, directory)
                raise
        except OSError as error:
            raise self.failed(error, write) from error

    def land_folder(self, folders: Folders, write: Write) -> None:
        """Make a directory.

        Raises:
            DestinationError: The system refused.
        """
        try:
            folders.open(write.path)
        except OSError as error:
            raise self.failed(error, write) from error
        self._touched.add(write.path)

    def _name_for(self, name: bytes) -> bytes:
        """Under which name a file is written until it is whole."""
        raise NotImplementedError

    def _take_name(self, write: Write, directory: int, made: bytes) -> None:
        """Let what was made appear under its name."""
        raise NotImplementedError

    # -- the whole ------------------------------------------------------------------------------

    def finish(self) -> None:
        """Everything is written: let it appear, where it has not yet.

        Raises:
            DestinationExists: Something else appeared at the destination meanwhile.
            DestinationError: The system refused.
        """
        self._sync_folders()

    def settled(self, write: Write, status: os.stat_result) -> os.stat_result:
        """How a file looks after `finish`, given how it looked when it was written."""
        return status

    def abandon(self) -> None:
        """Remove what can't be finished."""

    def close(self) -> None:
        """Give back the handle."""
        self.system.close(self.root)

    def _sync_folders(self) -> None:
        if not self._durable:
            return
        with Folders(self.root, system=self.system) as folders:
            for folder in sorted(self._touched | directories_of(self._touched), reverse=True):
                try:
                    self.system.sync(folders.open(folder))
                except FileNotFoundError:
                    continue  # emptied by this pull, and removed
                except OSError as error:
                    raise destination_error(error, folder) from error

    def temporary_name(self) -> bytes:
        """A name that nobody else uses."""
        return b"%s-%d" % (self._temporary, next(self._counter))

    def failed(self, error: OSError, write: Write) -> DestinationError:
        """The typed error for what the system said while writing."""
        free = None
        with contextlib.suppress(OSError):
            room = self.system.room(self.root)
            free = room.f_bavail * room.f_frsize
        return destination_error(error, write.path, needed_bytes=write.entry.size, free_bytes=free)


class StagedDestination(Destination):
    """A fresh one. Files get their final names at once, in a directory that nobody looks into."""

    def __init__(
        self, path: bytes, parent: int, staging: bytes, *, clock: Clock, durable: bool, system: System = SYSTEM
    ) -> None:
        """``parent`` is closed by `close`; ``staging`` was made in it."""
        super().__init__(system.open_directory(staging, parent), path, clock=clock, durable=durable, system=system)
        self._parent = parent
        self._staging = staging

    def _name_for(self, name: bytes) -> bytes:
        return name

    def _take_name(self, write: Write, directory: int, made: bytes) -> None:
        if self._durable:
            self._touched.add(split(write.path)[0])

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            remove_tree(self._staging, self._parent, system=self.system)

    def close(self) -> None:
        super().close()
        self.system.close(self._parent)


class AbsentDestination(StagedDestination):
    """Nothing was there: the staging directory becomes the destination."""

    def finish(self) -> None:
        self._sync_folders()
        try:
            self.system.rename(self._staging, self._parent, os.path.basename(self.path), self._parent)
            if self._durable:
                self.system.sync(self._parent)
        except OSError as error:
            if error.errno in _OCCUPIED:
                raise _appeared(self.path) from error
            raise destination_error(error, self.path) from error


class EmptyDestination(StagedDestination):
    """An empty directory, perhaps somebody's working directory: it stays, and is filled name by name."""

    def finish(self) -> None:
        self._sync_folders()
        moved: list[bytes] = []
        try:
            if any(not os.fsencode(r.name).startswith(TEMPORARY_PREFIX) for r in list_directory(self._parent)):
                raise _appeared(self.path)
            for name in sorted(os.fsencode(row.name) for row in list_directory(self.root)):
                self.system.rename(name, self.root, name, self._parent)
                moved.append(name)
            self.system.rmdir(self._staging, self._parent)
            if self._durable:
                self.system.sync(self._parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                for name in moved:
                    self.system.rename(name, self._parent, name, self.root)
            raise destination_error(error, self.path) from error

    def settled(self, write: Write, status: os.stat_result) -> os.stat_result:
        # A rename counts as a change of the file's attributes: only names at the top got one.
        return status if b"/" in write.path else self.system.stat(write.path, self._parent)


class OccupiedDestination(Destination):
    """A directory with something in it: file by file."""

    def _name_for(self, name: bytes) -> bytes:
        return self.temporary_name()

    def _take_name(self, write: Write, directory: int, made: bytes) -> None:
        folder, name = split(write.path)
        self._touched.add(folder)
        self._check_unchanged(name, directory, write.replaces, write.path)
        self.system.rename(made, directory, name, directory)

    def remove(self, folders: Folders, removal: Removal, *, must_go: bool) -> bool:
        """Remove one path, if it is still what it was. A directory goes only if it is empty.

        Args:
            must_go: A directory that is not empty is an error: something is to land in its place.

        Returns:
            Whether it is gone.

        Raises:
            DestinationError: The system refused, or it has changed.
        """
        folder, name = split(removal.path)
        try:
            directory = folders.open(folder)
            if removal.fact.kind == EntryKind.DIRECTORY:
                self.system.rmdir(name, directory)
            else:
                self._check_unchanged(name, directory, removal.fact, removal.path)
                self.system.unlink(name, directory)
        except FileNotFoundError:
            return True
        except OSError as error:
            if removal.fact.kind == EntryKind.DIRECTORY and error.errno in _OCCUPIED:
                if must_go:
                    raise _changed(removal.path, "changed") from error
                return False
            raise destination_error(error, removal.path) from error
        self._touched.add(folder)
        return True

    def _check_unchanged(self, name: bytes, directory: int, expected: LocalFact | None, path: bytes) -> None:
        try:
            found = self.system.stat(name, directory)
        except FileNotFoundError:
            if expected is None:
                return
            raise _changed(path, "vanished") from None
        if expected is None:
            raise _changed(path, "appeared")
        seen = (expected.inode, expected.mtime_ns, expected.ctime_ns)
        if (found.st_ino, found.st_mtime_ns, found.st_ctime_ns) != seen:
            raise _changed(path, "changed")


def _appeared(path: bytes) -> DestinationExists:
    error = DestinationExists(f"{shown(path)} was fresh, and something else appeared there", where=shown(path))
    error.next_step = "See what wrote there, then run the same pull again."
    return error


def _changed(path: bytes, how: str) -> DestinationError:
    where = shown(path)
    error = DestinationError(f"{where} {how} while the pull was running, and was left alone", where=where)
    error.next_step = "Run the same pull again when nothing else writes there."
    return error
