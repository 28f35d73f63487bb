"""Look through a source tree: what is there, in the order a manifest lists it.

A scan opens no file but `.artifactignore`. It never follows a link unless told to, never
blocks on a FIFO, and goes down relative to directory handles, so that depth and path
length are bounded by the format, not by the system.

Cost: a few microseconds a file. Each directory is listed, looked at entry by entry and
sorted by name; walking depth first in that order is the order of manifests, since `/`
sorts lowest (`artifactstore.manifest.paths`).
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from artifactstore.clock import SYSTEM_CLOCK, Clock
from artifactstore.errors import SourceChanged, SourceError, SourceUnreadable
from artifactstore.manifest.model import EntryKind
from artifactstore.manifest.paths import MAX_COMPONENT_BYTES, TEMPORARY_PREFIX, unsafe_reason
from artifactstore.transfer.found import (
    FollowLinks,
    Found,
    Notice,
    OnError,
    Scan,
    ScanOptions,
    found_file,
)
from artifactstore.transfer.handles import (
    NO_PARENT,
    Directory,
    DirectoryHandles,
    missing_source,
    shown,
    source_error,
)
from artifactstore.transfer.ignore import IGNORE_FILE, MAX_IGNORE_FILE_BYTES, Ignore, build_ignore
from artifactstore.transfer.patterns import parse_lines

__all__ = [
    "Directory",
    "FollowLinks",
    "Found",
    "Notice",
    "OnError",
    "Scan",
    "ScanOptions",
    "check_source_path",
    "scan",
]

_FILE: Final = int(EntryKind.FILE)
_DIRECTORY: Final = int(EntryKind.DIRECTORY)
_LINK: Final = int(EntryKind.LINK)
_TYPE: Final = 0o170000
_REGULAR: Final = 0o100000
_VANISHED: Final = "vanished while the tree was looked through"
_LISTED_PROBLEMS: Final = 10
_LONG_PREFIX_BYTES: Final = 60_000
_DEEP_LEVELS: Final = 1_000
_READ_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


def scan(
    sources: Sequence[os.PathLike[str] | os.PathLike[bytes] | str | bytes],
    *,
    options: ScanOptions | None = None,
    clock: Clock = SYSTEM_CLOCK,
    tick: Callable[[int], None] | None = None,
) -> Scan:
    """Look through one or several sources.

    One directory: its content is the root. A file, or several sources: each enters under its
    own name. A source that is a link stands for what it points to.

    Args:
        sources: At least one.
        options: What to take.
        clock: Says when it began.
        tick: Called after each directory with the number of its rows.

    Raises:
        SourceNotFound: A source is not there.
        SourceUnreadable: Paths can't be read; the message lists them. Not with `OnError.SKIP`.
        SourceError: Two sources have one name, links form a loop, a pull would refuse a path.
        ValueError: No source.
    """
    options = options or ScanOptions()
    started_at = clock.now()
    walk = _Walk(options, tick)
    try:
        key = walk.run([os.path.abspath(os.fsencode(source)) for source in sources])
    finally:
        walk.handles.close()
    if walk.unreadable and options.on_error is OnError.FAIL:
        raise _unreadable(walk.unreadable)
    return Scan(
        found=walk.found,
        directories=walk.directories,
        notices=tuple(walk.notices),
        skipped=tuple(walk.unreadable),
        hard_links=_first_names(walk.linked.values()),
        started_at=started_at,
        source_key=key,
        follow_links=options.follow_links,
        growth=options.growth,
    )


@dataclass(frozen=True, slots=True)
class _Below:
    """A directory still to be looked through: its index, and the rules that hold in it."""

    index: int
    ignore: Ignore


_Row = Found | _Below


@dataclass(frozen=True, slots=True)
class _Frame:
    """A directory being walked: what is left of it, and how many rows there were before it."""

    rows: Iterator[_Row]
    below: _Below
    rows_before: int


class _Walk:
    """One scan in progress."""

    def __init__(self, options: ScanOptions, tick: Callable[[int], None] | None) -> None:
        self.options = options
        self.found: list[Found] = []
        self.directories: list[Directory] = []
        self.notices: list[Notice] = []
        self.unreadable: list[Notice] = []
        self.linked: dict[tuple[int, int], list[bytes]] = {}
        self._follow = options.follow_links is FollowLinks.ALWAYS
        self.handles = DirectoryHandles(self.directories, link_flags=0 if self._follow else os.O_NOFOLLOW)
        self._tick = tick

    def run(self, sources: list[bytes]) -> bytes:
        """Look through everything; returns the key for local state."""
        if not sources:
            raise ValueError("nothing to push: no source was given")
        ignore = build_ignore(include=self.options.include, exclude=self.options.exclude)
        stats = [_source_stat(source) for source in sources]
        if len(sources) == 1 and stat.S_ISDIR(stats[0].st_mode):
            root = self._new_root(b"", os.path.realpath(sources[0]), stats[0])
            self._descend(_Below(root, ignore))
            return self.directories[root].absolute
        rows: dict[bytes, _Row] = {}
        for source, looked in zip(sources, stats, strict=True):
            self._add_source(rows, source, looked, ignore)
        self._emit(rows[name] for name in sorted(rows))
        return b"\0".join(sorted(os.path.realpath(source) for source in sources))

    def _add_source(self, rows: dict[bytes, _Row], source: bytes, looked: os.stat_result, ignore: Ignore) -> None:
        name = os.path.basename(source)
        if not name:
            raise SourceError(f"{shown(source)} has no name to enter under; push it alone", where=shown(source))
        if name in rows:
            where = shown(source)
            raise SourceError(f"two sources are named {shown(name)}; {where} is the second", where=where)
        check_source_path(name)
        if stat.S_ISDIR(looked.st_mode):
            rows[name] = _Below(self._new_root(name, os.path.realpath(source), looked), ignore)
            return
        if not stat.S_ISREG(looked.st_mode):
            raise SourceError(f"{shown(source)} is neither a file nor a directory", where=shown(source))
        real = os.path.realpath(source)
        holder = os.stat(os.path.dirname(real))
        index = self._new_root(b"", real, holder, is_file=True)
        rows[name] = self._file(name, looked, index)

    def _new_root(self, path: bytes, absolute: bytes, looked: os.stat_result, *, is_file: bool = False) -> int:
        self.directories.append(
            Directory(
                path=path,
                absolute=absolute,
                parent=NO_PARENT,
                name=b"",
                device=looked.st_dev,
                inode=looked.st_ino,
                is_file=is_file,
            )
        )
        return len(self.directories) - 1

    def _emit(self, rows: Iterable[_Row]) -> None:
        for row in rows:
            if type(row) is Found:
                self.found.append(row)
            elif type(row) is _Below:
                self._descend(row)

    def _descend(self, top: _Below) -> None:
        """Walk a directory and all below it, depth first, without recursion."""
        frames: list[_Frame] = []
        found = self.found
        self._enter(top, frames)
        while frames:
            frame = frames[-1]
            for row in frame.rows:
                if type(row) is Found:
                    found.append(row)
                elif type(row) is _Below:
                    self._enter(row, frames)
                    break
            else:
                frames.pop()
                self._leave(frame)

    def _enter(self, below: _Below, frames: list[_Frame]) -> None:
        directory = self.directories[below.index]
        try:
            rows = self._rows(directory, below)
        except SourceUnreadable as error:
            self.unreadable.append(Notice(directory.path, error.what))
        except SourceChanged as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            self.notices.append(Notice(directory.path, _VANISHED))
        else:
            frames.append(_Frame(iter(rows), below, len(self.found)))
            if self._tick:
                self._tick(len(rows))

    def _leave(self, frame: _Frame) -> None:
        """Give a directory with nothing in it a row of its own."""
        path = self.directories[frame.below.index].path
        if path and len(self.found) == frame.rows_before and not frame.below.ignore.narrows:
            self.found.append(Found(path, _DIRECTORY, 0, 0, 0, 0, False, b"", frame.below.index))

    def _rows(self, directory: Directory, below: _Below) -> list[_Row]:
        """What is in a directory, sorted."""
        handle = self.handles.get(below.index)
        try:
            # One call decodes and encodes all names: half the price of listing as bytes.
            joined = os.fsencode("\0".join(os.listdir(handle)))
        except OSError as error:
            raise source_error(error, directory.absolute, doing="listing directory") from error
        if not joined:
            return []
        names = joined.split(b"\0")
        names.sort()
        prefix = directory.path + b"/" if directory.path else b""
        ignore = below.ignore
        if IGNORE_FILE in joined and IGNORE_FILE in names:
            ignore = self._with_ignore_file(handle, directory, ignore)
        if TEMPORARY_PREFIX in joined:
            names = [name for name in names if not self._is_left_over(prefix, name)]
        if _is_odd(prefix, joined, names):
            for name in names:
                check_source_path(prefix + name)
        return self._look(handle, names, prefix, _Below(below.index, ignore))

    def _is_left_over(self, prefix: bytes, name: bytes) -> bool:
        """Whether a pull that was killed left this. It belongs to no content; where it was is said."""
        if not name.startswith(TEMPORARY_PREFIX):
            return False
        self.notices.append(Notice(prefix + name, "left by a pull that was cut off: left out"))
        return True

    def _look(self, handle: int, names: list[bytes], prefix: bytes, here: _Below) -> list[_Row]:
        """Look at each name. The loop that costs: nothing in it that most files don't need."""
        rows: list[_Row] = []
        append = rows.append
        index, follow, is_plain = here.index, self._follow, here.ignore.is_trivial
        look = os.stat
        for name in names:
            path = prefix + name
            try:
                looked = look(name, dir_fd=handle, follow_symlinks=follow)
            except OSError as error:
                self._failed_look(error, handle, name, path)
                continue
            mode = looked.st_mode
            if mode & _TYPE == _REGULAR and is_plain and looked.st_nlink == 1:
                append(
                    Found(
                        path,
                        _FILE,
                        looked.st_size,
                        looked.st_ino,
                        looked.st_mtime_ns,
                        looked.st_ctime_ns,
                        mode & 0o100 != 0,
                        b"",
                        index,
                    )
                )
            elif (row := self._look_closer(handle, path, looked, here)) is not None:
                append(row)
        return rows

    def _look_closer(self, handle: int, path: bytes, looked: os.stat_result, here: _Below) -> _Row | None:
        """The row of a path that is not a plain file, or that rules may leave out."""
        is_directory = stat.S_ISDIR(looked.st_mode)
        ignore = here.ignore
        if not ignore.is_trivial:
            if ignore.leaves_out(path, is_directory=is_directory):
                return None
            if ignore.narrows and ignore.includes(path, is_directory=is_directory):
                ignore = ignore.inside_included()
            elif ignore.narrows and not is_directory:
                return None
        if is_directory:
            return self._below(path, looked, _Below(here.index, ignore))
        if stat.S_ISREG(looked.st_mode):
            return self._file(path, looked, here.index)
        if stat.S_ISLNK(looked.st_mode):
            return self._link(handle, path, here.index)
        self.notices.append(Notice(path, f"{_special_name(looked.st_mode)}: left out"))
        return None

    def _file(self, path: bytes, looked: os.stat_result, index: int) -> Found:
        if looked.st_nlink > 1:
            self.linked.setdefault((looked.st_dev, looked.st_ino), []).append(path)
        return found_file(path, looked, index)

    def _link(self, handle: int, path: bytes, index: int) -> Found | None:
        try:
            target = os.readlink(path.rpartition(b"/")[2], dir_fd=handle)
        except OSError as error:
            self._failed_look(error, handle, path.rpartition(b"/")[2], path)
            return None
        return Found(path, _LINK, 0, 0, 0, 0, False, target, index)

    def _below(self, path: bytes, looked: os.stat_result, here: _Below) -> _Row:
        parent = self.directories[here.index]
        if self.options.one_file_system and looked.st_dev != parent.device:
            self.notices.append(Notice(path, "another file system is mounted here: what is on it is left out"))
            return Found(path, _DIRECTORY, 0, 0, 0, 0, False, b"", here.index)
        if self._follow:
            self._refuse_loop(path, looked, here.index)
        name = path.rpartition(b"/")[2]
        self.directories.append(
            Directory(
                path=path,
                absolute=parent.absolute.rstrip(b"/") + b"/" + name,
                parent=here.index,
                name=name,
                device=looked.st_dev,
                inode=looked.st_ino,
            )
        )
        return _Below(len(self.directories) - 1, here.ignore)

    def _refuse_loop(self, path: bytes, looked: os.stat_result, index: int) -> None:
        while index != NO_PARENT:
            above = self.directories[index]
            if (above.device, above.inode) == (looked.st_dev, looked.st_ino):
                where = shown(path)
                raise SourceError(f"{where} leads back to {shown(above.absolute)}: a loop of links", where=where)
            index = above.parent

    def _failed_look(self, error: OSError, handle: int, name: bytes, path: bytes) -> None:
        """Decide what a failed stat or readlink means: gone, a bad link, or a path that can't be read."""
        where = shown(path)
        if self._follow and _is_link(handle, name):
            problem = "is part of a loop of links" if error.errno == errno.ELOOP else "points to nothing that is there"
            if error.errno in (errno.ELOOP, errno.ENOENT, errno.ENOTDIR):
                raise SourceError(f"link {where} {problem}, and links are to be followed", where=where) from error
        if isinstance(error, FileNotFoundError):
            self.notices.append(Notice(path, _VANISHED))
            return
        typed = source_error(error, path, doing="looking at")
        if not isinstance(typed, SourceUnreadable):
            raise typed from error
        self.unreadable.append(Notice(path, typed.what))

    def _with_ignore_file(self, handle: int, directory: Directory, ignore: Ignore) -> Ignore:
        """Add the directory's `.artifactignore`, if that is a regular file."""
        where = directory.absolute + b"/" + IGNORE_FILE
        try:
            opened = os.open(IGNORE_FILE, _READ_FLAGS, dir_fd=handle)
            try:
                if not stat.S_ISREG(os.fstat(opened).st_mode):
                    return ignore
                text = os.read(opened, MAX_IGNORE_FILE_BYTES + 1)
            finally:
                os.close(opened)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket: not rules
                return ignore
            raise source_error(error, where, doing="reading") from error
        if len(text) > MAX_IGNORE_FILE_BYTES:
            raise SourceError(f"{shown(where)} is longer than {MAX_IGNORE_FILE_BYTES} bytes", where=shown(where))
        return ignore.with_file(directory.path, parse_lines(text))


def _source_stat(source: bytes) -> os.stat_result:
    try:
        return os.stat(source)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing_source(source) from error
    except OSError as error:
        raise source_error(error, source, doing="looking at") from error


def _is_link(handle: int, name: bytes) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _special_name(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def _first_names(groups: Iterable[list[bytes]]) -> dict[bytes, bytes]:
    """Each further name of a file, to its first in entry order."""
    firsts: dict[bytes, bytes] = {}
    for paths in groups:
        first, *others = sorted(paths, key=lambda path: path.replace(b"/", b"\0"))
        firsts.update(dict.fromkeys(others, first))
    return firsts


def _unreadable(problems: list[Notice]) -> SourceUnreadable:
    listed = "; ".join(notice.reason for notice in problems[:_LISTED_PROBLEMS])
    more = f" and {len(problems) - _LISTED_PROBLEMS} more" if len(problems) > _LISTED_PROBLEMS else ""
    return SourceUnreadable(f"{len(problems)} paths can't be read: {listed}{more}", where=shown(problems[0].path))


def _is_odd(prefix: bytes, joined: bytes, names: list[bytes]) -> bool:
    """Whether a path in this directory might be one that no pull would write: most directories need no closer look."""
    return (
        len(prefix) > _LONG_PREFIX_BYTES
        or (len(joined) > MAX_COMPONENT_BYTES and max(map(len, names)) > MAX_COMPONENT_BYTES)
        or prefix.count(b"/") > _DEEP_LEVELS
    )


def check_source_path(path: bytes) -> None:
    """Refuse here what a pull would refuse.

    Raises:
        SourceError: It would refuse this path.
    """
    if reason := unsafe_reason(path):
        where = shown(path)
        raise SourceError(
            f"the path {where} {reason}: no pull would write it", where=where, next_step="Rename it, or --exclude it."
        )
