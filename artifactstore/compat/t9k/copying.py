"""Files and directories on their way into a local directory: cloned where the file system can, copied elsewhere.

A clone (FICLONE: btrfs, XFS, bcachefs) shares the blocks of its source until one of the two
is written to; it is not a hard link. Links are followed, as t9k does. What is copied lands
under a temporary name first, so that nothing half ever has an object's name.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from artifactstore.compat.t9k.errors import LocalError, SourceDenied, SourceMissing, SourceMoved
from artifactstore.manifest.paths import shown

_FICLONE: Final = 0x40049409
_COPY_BYTES: Final = 1 << 20
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_GONE: Final = (errno.ENOENT, errno.ENOTDIR)


def copy_file(source: str, target: str) -> int:
    """Copy or clone the file at ``source`` to the new file ``target``, with its mode bits and time.

    Returns:
        Its size in bytes.

    Raises:
        SourceMissing, SourceDenied: It is not there, no regular file, or can't be read.
        SourceMoved: It changed meanwhile.
        LocalError: ``target`` can't be written.
    """
    with _opened(source) as descriptor:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise SourceMissing(f"File does not exist: '{source}': neither a file nor a directory")
        with writing(target):
            out = os.open(target, _CREATE, 0o600)
            try:
                if not _clone(descriptor, out):
                    _copy(descriptor, out, source=source)
                os.utime(out, ns=(before.st_atime_ns, before.st_mtime_ns))
                os.fchmod(out, stat.S_IMODE(before.st_mode) & 0o777)
                copied = os.fstat(out).st_size
            finally:
                os.close(out)
        after = os.fstat(descriptor)
        if copied != before.st_size or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise SourceMoved(f"{shown(os.fsencode(source))} changed while it was copied", where=source)
    return copied


@contextlib.contextmanager
def _opened(source: str) -> Iterator[int]:
    try:
        descriptor = os.open(source, _READ)
    except OSError as error:
        raise _source_error(error, source) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _source_error(error: OSError, source: str) -> SourceMissing | SourceDenied:
    if error.errno in _GONE:
        return SourceMissing(f"File does not exist: '{source}'")
    return SourceDenied(f"can't read {shown(os.fsencode(source))}: {error.strerror}", where=source)


def _clone(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False  # another file system, or one that can't: a plain copy tells what else may be wrong
    return True


def _copy(descriptor: int, out: int, *, source: str) -> None:
    buffer = memoryview(bytearray(_COPY_BYTES))
    while True:
        try:
            count = os.readv(descriptor, [buffer])
        except OSError as error:
            raise _source_error(error, source) from error
        if not count:
            return
        done = 0
        while done < count:
            done += os.write(out, buffer[done:count])


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Errors of the operating system inside become a `LocalError` about ``path``.

    Raises:
        LocalError: See there.
    """
    try:
        yield
    except (LocalError, SourceDenied, SourceMissing):
        raise
    except OSError as error:
        raise local_error(error, path) from error


def local_error(error: OSError, path: str) -> LocalError:
    """The error of ours that ``error`` is, for something in or about the local directory."""
    made = LocalError(f"{shown(os.fsencode(path))}: {error.strerror or error}", where=path)
    made.errno = error.errno
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What is below a directory, links followed.

    Attributes:
        directories: Relative paths, parents first.
        files: Relative path and absolute source.
    """

    directories: list[str] = field(default_factory=list)
    files: list[tuple[str, str]] = field(default_factory=list)


def look_at_tree(source: str) -> Tree:
    """List a directory to be copied.

    Raises:
        SourceMissing: A link to nothing, a FIFO, a socket or a device in it; a directory that is gone.
        SourceDenied: A directory in it can't be read, or a link leads back to a directory above it.
    """
    tree = Tree()
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(source, "", frozenset())]
    while waiting:
        directory, relative, above = waiting.pop()
        try:
            looked = os.stat(directory)
            with os.scandir(directory) as found:
                rows = sorted(found, key=lambda row: row.name)
            identity = (looked.st_dev, looked.st_ino)
            if identity in above:
                raise SourceDenied(f"a link leads back to a directory above it: '{directory}'", where=directory)
            if relative:
                tree.directories.append(relative)
            inside = above | {identity}
            for row in rows:
                path = f"{relative}/{row.name}" if relative else row.name
                if row.is_dir():
                    waiting.append((row.path, path, inside))
                elif row.is_file():
                    tree.files.append((path, row.path))
                else:
                    raise SourceMissing(f"File does not exist: '{row.path}': a link to nothing, or no regular file")
        except (SourceDenied, SourceMissing):
            raise
        except OSError as error:
            raise _source_error(error, directory) from error
    return tree
