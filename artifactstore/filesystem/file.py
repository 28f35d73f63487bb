"""An open file of the file system."""

import io
import threading
from typing import TYPE_CHECKING, Any, Final

from fsspec.spec import AbstractBufferedFile

from artifactstore.forks import renew_in_children
from artifactstore.reading.window import Window

if TYPE_CHECKING:
    from artifactstore.filesystem.system import ArtifactFileSystem

OWN_CACHE: Final = "chunks"
_LINE_BYTES: Final = 8192


class WindowCache:
    """What fsspec takes for a file's cache: gives any range, and reads ahead for who goes on from the last one."""

    name = OWN_CACHE

    def __init__(self, window: Window) -> None:
        self._window = window

    def _fetch(self, start: int | None, stop: int | None) -> bytes:
        size = self._window.file.size
        return bytes(self._window.read(start or 0, size if stop is None else stop))

    def some(self, start: int, most: int) -> bytes:
        """One or more bytes from ``start`` on, at most so many: what is at hand, or what comes next."""
        end = min(start + most, self._window.file.size)
        return bytes(self._window.some(start, end, wanted_end=start + 1)) if start < end else b""

    def _log_stats(self) -> str:
        return ""


class _Lock:
    """A lock that is free in a forked child."""

    def __init__(self) -> None:
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        self.held = threading.RLock()


class ArtifactFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """A file of a version, open for reading; bytes are proved before they are returned.

    Threads may share it; their reads come one after another. It can be pickled, and used in forked children, each of
    which has a position of its own. It goes on showing the version it was opened in, whatever becomes of `latest`.

    Args:
        pinned: The path that it has for ever.

    Attributes:
        path: Of the file, without protocol.
        size: Bytes.
        version: ``name:v3``.
    """

    def __init__(  # noqa: PLR0913 - what fsspec gives every file
        self,
        fs: "ArtifactFileSystem",
        path: str,
        window: Window,
        *,
        pinned: str,
        details: dict[str, Any],
        block_size: int | None = None,
        cache_type: str | None = None,
        cache_options: dict[str, Any] | None = None,
    ) -> None:
        self._lock = _Lock()
        self._window = window
        self._pinned = pinned
        self._options = {"block_size": block_size, "cache_type": cache_type, "cache_options": cache_options}
        is_own = cache_type in (None, OWN_CACHE)
        super().__init__(
            fs,
            path,
            "rb",
            block_size=block_size or "default",
            cache_type="none" if is_own else cache_type,
            cache_options=None if is_own else cache_options,
            size=window.file.size,
        )
        self._details = details
        self.version: Final[str] = window.file.version
        if is_own:
            self.cache = WindowCache(window)

    def _fetch_range(self, start: int, end: int) -> bytes:
        return bytes(self._window.read(start, end))

    def read(self, length: int | None = -1) -> bytes:
        with self._lock.held:
            content: bytes = super().read(length)
            return content

    def read1(self, length: int = -1) -> bytes:
        most = _LINE_BYTES if length < 0 else length
        with self._lock.held:
            if not isinstance(self.cache, WindowCache):
                return self.read(most)
            content = self.cache.some(self.tell(), most) if most else b""
            self.loc += len(content)
            return content

    def readinto(self, b: Any) -> int:
        view = memoryview(b).cast("B")
        with self._lock.held:
            content = self.read(len(view))
        view[: len(content)] = content
        return len(content)

    def seek(self, loc: int, whence: int = io.SEEK_SET) -> int:
        with self._lock.held:
            self._check_open()
            position: int = super().seek(loc, whence)
            return position

    def tell(self) -> int:
        self._check_open()
        position: int = super().tell()
        return position

    def readuntil(self, char: bytes = b"\n", blocks: int | None = None) -> bytes:
        with self._lock.held:
            line: bytes = super().readuntil(char, blocks or _LINE_BYTES)
            return line

    def readline(self, size: int | None = -1) -> bytes:
        left = self.size if size is None or size < 0 else size
        parts: list[bytes] = []
        with self._lock.held:
            while left:
                start = self.tell()
                part = self.read1(min(left, _LINE_BYTES))
                line_end = part.find(b"\n") + 1
                if line_end:
                    self.seek(start + line_end)
                parts.append(part[:line_end] if line_end else part)
                left -= len(part)
                if line_end or not part:
                    break
        return b"".join(parts)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self.fs, self._pinned, self._options, self.loc)

    def __repr__(self) -> str:
        return f"<ArtifactFile {self.path} of {self.version}>"

    __str__ = __repr__


def _reopen(fs: "ArtifactFileSystem", path: str, options: dict[str, Any], position: int) -> ArtifactFile:
    file: ArtifactFile = fs.open(path, "rb", **options)
    file.seek(position)
    return file
