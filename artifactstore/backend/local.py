"""Objects as files of a folder: on this disk, or on a file system that machines share.

    <root>/packs/ab/abcd…     the key is the path
    <root>/tmp/<random>       being written; never read, never listed

An object appears under its name whole, by `link` from a file already synced, and the call
returns when every directory entry on the way is synced too. `link` fails where the name is
taken, which makes put-if-absent atomic: also over NFS, for which the classic doubt (the
reply got lost, the link was made) is settled by comparing inodes. There are no file locks:
on some shared file systems everybody gets them.

Handles are not kept between calls. An open one goes on reading an object that was deleted,
and then a range would prove nothing about what the store holds.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final

from artifactstore.backend.local_writer import NOT_THERE, TEMPORARY_FOLDER, LocalWriter, check_root
from artifactstore.backend.protocol import (
    CommonPrefix,
    ObjectInfo,
    check_level_prefix,
    check_object_key,
    check_object_prefix,
    is_object_key,
)
from artifactstore.backend.syscalls import SYSTEM, System, mapped
from artifactstore.clock import SYSTEM_CLOCK, Clock
from artifactstore.digest import Buffer
from artifactstore.errors import (
    BackendError,
    CorruptData,
    ObjectExists,
    ObjectNotFound,
)

_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO in the way must not hang us
_COMPARED_BYTES: Final = 1 << 20
_Level = Sequence[tuple[str, "os.DirEntry[str]"]]
# Folders here are nobody's data and go with their last object. All others stay: removing one
# that another writer is about to use would need it to sync what it believes to be synced.
_PASSING_PREFIX: Final = "doctor/"


class LocalBackend:
    """A folder.

    Args:
        root: The folder; it need not exist yet (`create_root`). A link to it is followed once, here.
        clock: Names of temporary files come from it.
        system: The calls of the operating system; for tests.
    """

    def __init__(self, root: str | os.PathLike[str], *, clock: Clock = SYSTEM_CLOCK, system: System = SYSTEM) -> None:
        self._url = os.path.abspath(os.fspath(root))
        self._root = os.path.realpath(self._url)
        self._system = system
        self._writer = LocalWriter(self._root, clock=clock, system=system)

    def __repr__(self) -> str:
        return f"LocalBackend({self._url!r})"

    @property
    def url(self) -> str:
        return self._url

    @property
    def has_put_if_absent(self) -> bool:
        """False on file systems without hard links (exFAT, some FUSE): found out by trying, once."""
        return self._writer.has_hard_links()

    def create_root(self) -> None:
        """Make the folder and those above it, durably. It may be there already.

        Raises:
            BackendError: It can't be made.
        """
        missing = []
        path = self._root
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for folder in reversed(missing):
            try:
                self._writer.make_folder(folder)
                self._system.sync_directory(os.path.dirname(folder))
            except OSError as error:
                raise mapped(error, f"can't make the folder {folder}", where=folder) from error

    # Reading

    def get(self, key: str) -> Buffer:
        descriptor, facts = self._open_object(key)
        try:
            return self._read(descriptor, key, 0, facts.st_size)
        finally:
            self._system.close_read(descriptor)

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        if start < 0 or length <= 0:
            raise ValueError(f"not a range: {length} bytes from {start}")
        descriptor, facts = self._open_object(key)
        try:
            if start + length > facts.st_size:
                raise self._too_short(key, start, length, facts.st_size)
            return self._read(descriptor, key, start, length)
        finally:
            self._system.close_read(descriptor)

    def head(self, key: str) -> ObjectInfo:
        # Opened and read, never just stat: on a shared file system stat may answer from a cache of this machine.
        descriptor, facts = self._open_object(key)
        try:
            self._read(descriptor, key, 0, min(1, facts.st_size))
        finally:
            self._system.close_read(descriptor)
        return _info(key, facts)

    # Writing

    def put(self, key: str, body: Buffer) -> None:
        view = memoryview(body).cast("B")
        if not self._writer.publish(key, view) and not self._holds(key, view):
            raise ObjectExists(key, where=self._url)

    def put_if_absent(self, key: str, body: Buffer) -> None:
        if not self._writer.publish(key, memoryview(body).cast("B")):
            raise ObjectExists(key, where=self._url)

    def delete(self, key: str) -> None:
        path = self._path(key)
        parent = os.path.dirname(path)
        try:
            self._system.unlink(path)
        except OSError as error:
            if error.errno not in NOT_THERE and not os.path.isdir(path):
                raise mapped(error, f"can't delete {key}", where=path) from error
        try:
            # Also when it was gone already: whoever removed it may have been cut before this.
            self._system.sync_directory(parent)
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise mapped(error, f"can't sync {parent}", where=path, effect_unknown=True) from error
            check_root(self._system, self._root)
        if key.startswith(_PASSING_PREFIX):
            self._remove_empty(parent)

    # Listing

    def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None) -> Iterator[ObjectInfo]:
        """As in the protocol; a folder is read as a whole, whatever ``page_size`` says."""
        check_object_prefix(prefix)
        folder = prefix[: prefix.rfind("/") + 1]
        # One iterator for each folder on the way down: no recursion, however deep.
        open_folders = [iter(self._level(folder, prefix, start_after))]
        while open_folders:
            key, entry = next(open_folders[-1], ("", None))
            if entry is None:
                open_folders.pop()
            elif key.endswith("/"):
                open_folders.append(iter(self._level(key, prefix, start_after)))
            elif (info := self._entry_info(key, entry)) is not None:
                yield info

    def list_level(self, prefix: str) -> Iterator[ObjectInfo | CommonPrefix]:
        check_level_prefix(prefix)
        for key, entry in self._level(prefix, prefix, ""):
            if not key.endswith("/"):
                if (info := self._entry_info(key, entry)) is not None:
                    yield info
            # A folder without objects is a trace of the file system and not a prefix of keys.
            elif next(self.list(key), None) is not None:
                yield CommonPrefix(key)

    def close(self) -> None:
        pass

    # Reading, inside

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_object_key(key)}"

    def _open_object(self, key: str) -> tuple[int, os.stat_result]:
        path = self._path(key)
        try:
            descriptor = self._open_existing(key, path)
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise mapped(error, f"can't open {key}", where=path) from error
            raise ObjectNotFound(key, where=self._url) from error
        try:
            facts = self._system.stat_open(descriptor)
        except OSError as error:
            self._system.close_read(descriptor)
            raise mapped(error, f"can't open {key}", where=path) from error
        if stat.S_ISREG(facts.st_mode):
            return descriptor, facts
        self._system.close_read(descriptor)
        if stat.S_ISDIR(facts.st_mode):
            raise ObjectNotFound(key, where=self._url)
        raise BackendError(f"{key} is not a regular file", where=path)

    def _open_existing(self, key: str, path: str) -> int:
        try:
            return self._system.open(path, _READ)
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise
        # A shared file system may remember that the name was not there. Opening the folders above
        # makes it ask again; and "not there" must not stand for a root or a linked folder gone.
        self._reopen_folders(key)
        try:
            return self._system.open(path, _READ)
        except FileNotFoundError:
            self._check_no_dead_link(path)
            raise

    def _reopen_folders(self, key: str) -> None:
        """Open every folder above ``key``, from the root on.

        Raises:
            StoreNotFound: The root is not there.
            OSError: A folder is not there, and not for being a link to nothing.
        """
        check_root(self._system, self._root)
        for position in (i for i, letter in enumerate(key) if letter == "/"):
            folder = f"{self._root}/{key[:position]}"
            try:
                self._system.close_read(self._system.open(folder, _READ | os.O_DIRECTORY))
            except FileNotFoundError:
                self._check_no_dead_link(folder)
                raise

    def _check_no_dead_link(self, path: str) -> None:
        if os.path.islink(path):
            # What it pointed to may be a disk that is not mounted: an error, and never "not there".
            raise BackendError("a symbolic link in the store leads nowhere", where=path)

    def _read(self, descriptor: int, key: str, start: int, length: int) -> bytearray:
        buffer = bytearray(length)
        view = memoryview(buffer)
        done = 0
        while done < length:
            try:
                count = self._system.read_into(descriptor, view[done:], start + done)
            except OSError as error:
                raise mapped(error, f"can't read {key} at byte {start + done}", where=self._path(key)) from error
            if count == 0:
                raise self._too_short(key, start, length, start + done)
            done += count
        return buffer

    def _too_short(self, key: str, start: int, length: int, size_bytes: int) -> CorruptData:
        return CorruptData(
            f"the object has {size_bytes} bytes only",
            key=key,
            byte_range=(start, start + length),
            where=f"{self._url}/{key}",
        )

    # Comparing, tidying

    def _holds(self, key: str, view: memoryview) -> bool:
        """Whether the object has exactly these bytes."""
        descriptor, facts = self._open_object(key)
        try:
            return facts.st_size == len(view) and all(
                self._read(descriptor, key, start, len(part)) == part
                for start in range(0, len(view), _COMPARED_BYTES)
                for part in [view[start : start + _COMPARED_BYTES]]
            )
        finally:
            self._system.close_read(descriptor)

    def _remove_empty(self, folder: str) -> None:
        while folder.startswith(f"{self._root}/"):
            try:
                self._system.rmdir(folder)
            except OSError:  # not empty, or another was first: it may stay
                return
            folder = os.path.dirname(folder)

    # Listing, inside

    def _level(self, folder: str, prefix: str, start_after: str) -> _Level:
        """What lies in ``folder`` (empty, or ending with ``/``), by key and sorted; keys of folders end with ``/``."""
        found = []
        for entry in self._folder_entries(folder):
            if not folder and entry.name == TEMPORARY_FOLDER:
                continue
            key = folder + entry.name
            if self._is_folder(entry):
                key += "/"
                # All that lies below sorts before `start_after`, unless that lies below as well.
                wanted = key > start_after or start_after.startswith(key)
                wanted = wanted and (key.startswith(prefix) or prefix.startswith(key))
            else:
                wanted = key > start_after and key.startswith(prefix)
            if wanted and is_object_key(key.rstrip("/")):
                found.append((key, entry))
        # With the slash at its end a folder sorts as its keys do: `a.b` before `a/b`.
        found.sort(key=_first)
        return found

    def _folder_entries(self, folder: str) -> Sequence["os.DirEntry[str]"]:
        path = f"{self._root}/{folder}"
        try:
            try:
                return self._system.entries(path)
            except OSError as error:
                if error.errno not in NOT_THERE:
                    raise
            # As in `_open_existing`: ask again, and tell "not there" from a root or a linked folder gone.
            self._reopen_folders(folder)
            return self._system.entries(path)
        except OSError as error:
            if error.errno in NOT_THERE:
                return []
            raise mapped(error, f"can't list {folder or 'the store'}", where=path) from error

    def _is_folder(self, entry: "os.DirEntry[str]") -> bool:
        try:
            return entry.is_dir()
        except OSError as error:
            raise mapped(error, "can't list the store", where=entry.path) from error

    def _entry_info(self, key: str, entry: "os.DirEntry[str]") -> ObjectInfo | None:
        """None: it went away meanwhile, or is nothing that a store holds."""
        try:
            facts = entry.stat()
        except FileNotFoundError:
            self._check_no_dead_link(entry.path)
            return None
        except OSError as error:
            raise mapped(error, f"can't list {key}", where=entry.path) from error
        return _info(key, facts) if stat.S_ISREG(facts.st_mode) else None


def _first(item: tuple[str, "os.DirEntry[str]"]) -> str:
    return item[0]


def _info(key: str, facts: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key=key, size_bytes=facts.st_size, modified=facts.st_mtime)
