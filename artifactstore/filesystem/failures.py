"""Errors that are both what our callers catch and what callers of a file system do.

    NameMissing, VersionMissing, PathMissing    NotFound         and FileNotFoundError
    BadPath                                     InvalidName      and FileNotFoundError
    PathIsDirectory                             PathNotFound     and IsADirectoryError
    PathIsTaken                                 PathExists       and FileExistsError
    ReadOnly                                    StoreReadOnly    and OSError (EROFS)

Nothing else is one of both. Libraries take these for "not there" and go on: zarr fills in
zeros, a walk leaves the folder out. So damage, a storage that does not answer, a store that
is not there, a version that has expired and a reference are never among them.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from artifactstore.errors import (
    InvalidName,
    NameNotFound,
    NotFound,
    PathExists,
    PathNotFound,
    StoreReadOnly,
    VersionDeleted,
)


class NameMissing(NameNotFound, FileNotFoundError):
    errno = errno.ENOENT


class VersionMissing(VersionDeleted, FileNotFoundError):
    errno = errno.ENOENT


class PathMissing(PathNotFound, FileNotFoundError):
    errno = errno.ENOENT


class BadPath(InvalidName, FileNotFoundError):
    """A path that nothing in a store can have."""

    errno = errno.ENOENT


class PathIsDirectory(PathNotFound, IsADirectoryError):
    errno = errno.EISDIR


class PathIsTaken(PathExists, FileExistsError):
    errno = errno.EEXIST


class ReadOnly(StoreReadOnly, OSError):
    default_next_step = "Push a new version: `artifactstore push`, or in Python Store.push and Artifact.upload."
    errno = errno.EROFS


class ReferenceNotStored(PathNotFound):
    """A reference: its bytes lie elsewhere, and the file system reads what is stored.

    Attributes:
        uri: Where they lie.
    """

    default_next_step = "Read it there, or `artifactstore artifact pin` it: then it is stored."

    def __init__(self, what: str, *, uri: str, where: str = "") -> None:
        super().__init__(what, where=where)
        self.uri = uri


_BOTH: Final[tuple[tuple[type[NotFound], type[NotFound]], ...]] = (
    (NameNotFound, NameMissing),
    (VersionDeleted, VersionMissing),
    (PathNotFound, PathMissing),
)


@contextmanager
def as_missing() -> Iterator[None]:
    """What says that a name, a version or a path is not there comes out as the error that is both."""
    try:
        yield
    except NotFound as error:
        for kind, both in _BOTH:
            if type(error) is kind:
                raise both(
                    error.what, where=error.where, data_safe=error.data_safe, next_step=error.next_step
                ) from error
        raise
