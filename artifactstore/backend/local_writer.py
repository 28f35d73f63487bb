"""How an object gets its name in a folder: whole, durable, and only if nobody has it.

    mkdir what is missing · write tmp/<random> · sync it · link it to its name ·
    sync every new folder's entry, then the object's · unlink tmp/<random>

Cut anywhere, this leaves a file in `tmp/`, or empty folders, or the object whole. What is
reported as stored, or as taken by somebody else, survives a loss of power.
"""

import errno
import os
import stat
import threading
from collections.abc import Sequence
from typing import Final

from artifactstore.backend.protocol import TEMPORARY_PREFIX, check_object_key
from artifactstore.backend.syscalls import System, mapped
from artifactstore.clock import Clock
from artifactstore.errors import BackendError, StoreNotFound

TEMPORARY_FOLDER: Final = TEMPORARY_PREFIX.rstrip("/")
NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_TEMPORARY_NAME_BYTES: Final = 16
_LEFTOVER_SECONDS: Final = 7 * 86_400
_WRITE_ATTEMPTS: Final = 3
_NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def check_root(system: System, root: str) -> None:
    """Open the root, asking a shared file system anew.

    Raises:
        StoreNotFound: There is no such folder.
        BackendError: Anything else.
    """
    try:
        system.close_read(system.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in NOT_THERE:
            raise StoreNotFound(f"no store at {root}: there is no such folder", where=root) from error
        raise mapped(error, f"can't open {root}", where=root) from error


class LocalWriter:
    """Writes objects below ``root``. May be used from any thread.

    Args:
        root: The folder, with no link on the way to it.
        clock: Names of temporary files come from it.
        system: The calls of the operating system.
    """

    def __init__(self, root: str, *, clock: Clock, system: System) -> None:
        self._root = root
        self._tmp = os.path.join(root, TEMPORARY_FOLDER)
        self._clock = clock
        self._system = system
        self._synced_folders: set[str] = set()
        self._has_hard_links: bool | None = None
        self._swept = False
        # Only for file systems without hard links, where one process at most may write.
        self._rename_lock = threading.Lock()

    def has_hard_links(self) -> bool:
        """False where the file system has none (exFAT, some FUSE): found out by trying, once."""
        if self._has_hard_links is None:
            try:
                self._has_hard_links = self._try_hard_link()
            except (BackendError, StoreNotFound, _WriteAgain):
                return True  # not writable, not there: nothing is known, and a write will say so
        return self._has_hard_links

    def make_folder(self, path: str) -> None:
        """mkdir that lost races and links to folders don't disturb.

        Raises:
            OSError: It is not there now.
        """
        try:
            self._system.mkdir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise

    def publish(self, key: str, view: memoryview) -> bool:
        """Make the object appear, whole and durable. False: the key is taken (durably too)."""
        path = f"{self._root}/{check_object_key(key)}"
        for attempt in range(1, _WRITE_ATTEMPTS + 1):
            made = self._make_folders(key)
            try:
                temporary = self._write_temporary(key, view)
                try:
                    published = self._give_name(key, temporary, path)
                finally:
                    self._discard(temporary)
            except _WriteAgain as again:
                if attempt == _WRITE_ATTEMPTS:
                    raise mapped(again.error, f"can't write {key}", where=path, needed_bytes=len(view)) from again.error
                self._synced_folders.clear()
                continue
            self._sync_folders(key, made)
            return published
        raise AssertionError("the last attempt returns or raises")

    def _make_folders(self, key: str) -> tuple[str, ...]:
        """Make the folders above ``key``; those whose own entries are not known to be synced, from the top."""
        folders = [key[:i] for i, letter in enumerate(key) if letter == "/"]
        unsynced = tuple(folder for folder in folders if folder not in self._synced_folders)
        try:
            self._make_each(unsynced)
        except FileNotFoundError as error:
            check_root(self._system, self._root)
            # A folder above is gone that was here: an empty one of `doctor/`, removed behind its probe.
            self._synced_folders.difference_update(folders)
            try:
                self._make_each(folders)
            except OSError:
                raise mapped(error, f"can't make the folders of {key}", where=self._root) from error
            return tuple(folders)
        except OSError as error:
            raise mapped(error, f"can't make the folders of {key}", where=self._root) from error
        return unsynced

    def _make_each(self, folders: Sequence[str]) -> None:
        for folder in folders:
            self.make_folder(f"{self._root}/{folder}")

    def _sync_folders(self, key: str, made: tuple[str, ...]) -> None:
        """Sync the entry of each new folder in the one above it, then that of the object."""
        parent = os.path.dirname(f"{self._root}/{key}")
        try:
            for folder in made:
                self._system.sync_directory(os.path.dirname(f"{self._root}/{folder}"))
                self._synced_folders.add(folder)
            self._system.sync_directory(parent)
        except OSError as error:
            # The name is visible and may not last: neither done nor undone.
            raise mapped(error, f"can't sync {parent}", where=f"{self._root}/{key}", effect_unknown=True) from error
        if not self._swept:
            self._swept = True
            self._sweep_leftovers()

    def _write_temporary(self, key: str, view: memoryview) -> str:
        path, descriptor = self._open_temporary(key, len(view))
        try:
            self._write_and_sync(descriptor, view)
        except OSError as error:
            self._discard(path)
            if error.errno == errno.EIO:
                # After a failed fsync the page cache may hold what the disk does not, marked clean:
                # a second fsync of the same file would lie. Only a file written anew can be trusted.
                raise _WriteAgain(error) from error
            raise mapped(error, f"can't write {key}", where=path, needed_bytes=len(view)) from error
        return path

    def _write_and_sync(self, descriptor: int, view: memoryview) -> None:
        try:
            done = 0
            while done < len(view):
                done += self._system.write(descriptor, view[done:])
            self._system.sync(descriptor)
        finally:
            # NFS tells of quotas only here, so this may raise as well.
            self._system.close(descriptor)

    def _open_temporary(self, key: str, needed_bytes: int) -> tuple[str, int]:
        path = f"{self._tmp}/{self._clock.random_bytes(_TEMPORARY_NAME_BYTES).hex()}"
        try:
            try:
                return path, self._system.open(path, _CREATE)
            except FileNotFoundError:
                check_root(self._system, self._root)
                self.make_folder(self._tmp)
                return path, self._system.open(path, _CREATE)
        except OSError as error:
            raise mapped(error, f"can't write {key}", where=path, needed_bytes=needed_bytes) from error

    def _give_name(self, key: str, temporary: str, path: str) -> bool:
        if self._has_hard_links is False:
            return self._rename_if_absent(key, temporary, path)
        try:
            self._system.link(temporary, path)
        except OSError as error:
            # The link may have been made and its reply been lost: then both names are one inode.
            if self._is_one_file(temporary, path):
                return True
            if error.errno == errno.EEXIST:
                return False
            if error.errno == errno.ENOENT:
                raise _WriteAgain(error) from error
            if error.errno in _NO_HARD_LINKS and not self._try_hard_link():
                self._has_hard_links = False
                return self._rename_if_absent(key, temporary, path)
            raise mapped(error, f"can't write {key}", where=path, effect_unknown=True) from error
        return True

    def _is_one_file(self, temporary: str, path: str) -> bool:
        try:
            return os.path.samestat(self._system.stat(temporary), self._system.stat(path))
        except OSError:  # one of them is not there, or can't be told: not known to be one
            return False

    def _rename_if_absent(self, key: str, temporary: str, path: str) -> bool:
        """For a single writer: nothing keeps another process from renaming in between."""
        with self._rename_lock:
            if os.path.lexists(path):
                return False
            try:
                self._system.rename(temporary, path)
            except OSError as error:
                raise mapped(error, f"can't write {key}", where=path, effect_unknown=True) from error
            return True

    def _try_hard_link(self) -> bool:
        """Whether this file system has hard links, tried among the temporary files."""
        first = self._write_temporary("a temporary file", memoryview(b""))
        second = f"{first}.link"
        try:
            self._system.link(first, second)
        except OSError as error:
            if error.errno in _NO_HARD_LINKS:
                return False
            raise mapped(error, "can't link temporary files", where=first) from error
        else:
            return True
        finally:
            self._discard(second)
            self._discard(first)

    def _discard(self, temporary: str) -> None:
        try:
            self._system.unlink(temporary)
        except OSError:  # a leftover is never read; the sweep takes it one day
            return

    def _sweep_leftovers(self) -> None:
        """Remove temporary files that dead processes of this user left. Their names are never used again.

        Age is measured on the clock of the file system, and safety does not rest on it: a
        writer that finds its file gone (a laptop asleep for a week) writes it again.
        """
        try:
            found = [(entry.path, entry.stat(follow_symlinks=False)) for entry in self._system.entries(self._tmp)]
            now = self._system.stat(self._tmp).st_mtime
        except OSError:  # tidying is never worth an error
            return
        for path, facts in found:
            if facts.st_uid == os.getuid() and stat.S_ISREG(facts.st_mode) and now - facts.st_mtime > _LEFTOVER_SECONDS:
                self._discard(path)


class _WriteAgain(Exception):
    """The temporary file can't be trusted, or is gone: write another."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error
