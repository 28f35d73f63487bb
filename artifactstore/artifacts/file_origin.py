"""`file://`: regular files below declared roots, wherever links lead.

What counts is the real path: of what was named when it is looked at, and of what was opened once it is open, so
that a link which is bent in between opens nothing outside of the roots.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

from artifactstore.artifacts.origins import MODIFIED, PIECE_BYTES, Facts, Found, unreachable
from artifactstore.artifacts.reference_rules import ReferenceRules
from artifactstore.digest import Buffer
from artifactstore.errors import ArtifactStoreError, ReferenceNotAllowed, ReferenceNotFound

_MAX_LEVELS: Final = 1_100
_ALLOW: Final = "Name a directory above it in `reference_roots` or ARTIFACTSTORE_REFERENCE_ROOTS, if it is to be read."
# A pipe that nobody writes to must not be waited for.
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0)


class FileOrigin:
    """Files of this machine."""

    def __init__(self, rules: ReferenceRules) -> None:
        self._roots = tuple(os.path.realpath(os.fsencode(root)) for root in rules.roots)

    def look(self, uri: str) -> Found:
        path = self._real(uri)
        with _errors(uri):
            status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            return Found(uri=uri, is_prefix=True)
        if uri.endswith("/"):
            raise ReferenceNotFound(f"{uri} ends with a slash, and is no directory", where=uri)
        _check_regular(status, uri)
        return Found(uri=uri, facts=_facts(status))

    def children(self, uri: str) -> Sequence[Found]:
        path = self._real(uri)
        if path.count(b"/") + _path_of(uri).count(b"/") > 2 * _MAX_LEVELS:
            raise ReferenceNotAllowed(f"{uri} goes round in circles, or is too deep", where=uri)
        with _errors(uri), os.scandir(path) as rows:
            names = sorted(row.name for row in rows)
        above = _ancestors(path)
        return [self._child(uri, name, above) for name in names]

    def _child(self, uri: str, name: bytes, above: frozenset[bytes]) -> Found:
        child = f"{uri.rstrip('/')}/{quote(name)}"
        found = self.look(child)
        if found.is_prefix and self._real(child) in above:
            raise ReferenceNotAllowed(f"{child} is a link to a directory above it: it has no end", where=child)
        return Found(uri=found.uri, name=name, is_prefix=found.is_prefix, facts=found.facts)

    def read(
        self, uri: str, *, version_id: str, before: Callable[[Facts], None], write: Callable[[Buffer], object]
    ) -> Facts:
        path = self._real(uri)
        with _errors(uri):
            handle = os.open(path, _READ)
        try:
            self._check(_path_of_handle(handle, path), uri)
            status = os.fstat(handle)
            _check_regular(status, uri)
            before(_facts(status))
            while piece := _piece(handle, uri):
                write(piece)
            return _facts(os.fstat(handle))
        finally:
            os.close(handle)

    def close(self) -> None:
        pass

    def _real(self, uri: str) -> bytes:
        path = os.path.realpath(_path_of(uri))
        self._check(path, uri)
        return path

    def _check(self, path: bytes, uri: str) -> None:
        # What lies outside is refused whether it is there or not: nobody learns what is.
        if not any(path == root or path.startswith(root.rstrip(b"/") + b"/") for root in self._roots):
            where = "below no declared root" if self._roots else "a local file, and no roots are declared"
            raise ReferenceNotAllowed(f"{uri} is {where}", where=uri, next_step=_ALLOW)


def _path_of(uri: str) -> bytes:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise ReferenceNotAllowed(f"{uri} is no file of this machine: write file:///absolute/path", where=uri)
    if parts.query or parts.fragment or "?" in uri or "#" in uri:
        raise ReferenceNotAllowed(f"{uri} has a ? or #: write %3F and %23 for those in a file's name", where=uri)
    path = unquote_to_bytes(parts.path)
    if b"\0" in path:
        raise ReferenceNotAllowed(f"{uri} has a NUL byte, and no file has one", where=uri)
    return path


def _path_of_handle(handle: int, path: bytes) -> bytes:
    """The real path of what was opened."""
    try:
        return os.readlink(b"/proc/self/fd/%d" % handle)
    except OSError:
        return os.path.realpath(path)  # no /proc here: as good as it gets


def _ancestors(path: bytes) -> frozenset[bytes]:
    above = [path]
    while len(above[-1]) > 1:
        above.append(os.path.dirname(above[-1]))
    return frozenset(above)


def _check_regular(status: os.stat_result, uri: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ReferenceNotAllowed(f"{uri} is neither a file nor a directory", where=uri)


def _facts(status: os.stat_result) -> Facts:
    return Facts(size_bytes=status.st_size, etag=f"{MODIFIED}{status.st_mtime_ns}")


def _piece(handle: int, uri: str) -> bytes:
    with _errors(uri):
        return os.read(handle, PIECE_BYTES)


@contextmanager
def _errors(uri: str) -> Iterator[None]:
    try:
        yield
    except ArtifactStoreError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ReferenceNotFound(f"nothing is at {uri}", where=uri) from error
    except OSError as error:
        raise unreachable(uri, error.strerror or str(error)) from error
