"""Files of stored versions that an upload has to read after all: their packs are condemned or too small to keep,
or the version was cut in another way. Fetched to a temporary directory, they are sources like others."""

import os
import shutil
import tempfile
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, Future, wait
from typing import Final, NamedTuple, Self

from artifactstore.backend.protocol import Backend
from artifactstore.errors import SourceUnreadable
from artifactstore.reading import open_file
from artifactstore.transfer.found import Scan, found_file
from artifactstore.transfer.handles import NO_PARENT, Directory, shown

_COPY_BYTES: Final = 1 << 20
AT_ONCE: Final = 8
"""Files that are fetched at once at most: each may have a window of content in memory."""


class _Copy(NamedTuple):
    """A file that was fetched: where it is, and how its folder and it look."""

    path: str
    holder: os.stat_result
    looked: os.stat_result


class Staging:
    """The staged files of one upload. Use it as a context manager: they go with it.

    Args:
        pool: Fetches files side by side. Not that of the stored trees, as these wait for theirs.
        found: Rows that are staged are replaced in it by rows of what was fetched.
    """

    def __init__(self, backend: Backend, found: Scan, *, pool: Executor) -> None:
        self._backend = backend
        self._pool = pool
        self._scan = found
        self._folder = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def stage(self, rows: Sequence[int]) -> None:
        """Fetch the content of these rows, checked as it is read.

        Raises:
            CorruptData: It is gone, or damaged.
            SourceUnreadable: There is no room for it on this machine.
        """
        if not rows:
            return
        self._make_folder()
        coming: deque[tuple[int, Future[_Copy]]] = deque()
        try:
            for row in rows:
                if len(coming) == AT_ONCE:
                    self._settle(*coming.popleft())
                coming.append((row, self._pool.submit(self._copy, row)))
            while coming:
                self._settle(*coming.popleft())
        finally:
            for _, future in coming:
                future.cancel()
            wait([future for _, future in coming])  # they write into the folder, which may go next

    def _make_folder(self) -> None:
        if self._folder:
            return
        try:
            self._folder = tempfile.mkdtemp(prefix="artifactstore-")
        except OSError as error:
            what = f"can't make a folder for temporary copies: {os.strerror(error.errno or 0)}"
            raise SourceUnreadable(what, next_step="Make room, or set TMPDIR.") from error

    def _copy(self, row: int) -> _Copy:
        """In a thread of the pool."""
        found = self._scan.found[row]
        file = self._scan.carried[found.path]
        path = os.path.join(self._folder, str(row))
        try:
            with open_file(file.tree, self._backend, file.path) as source, open(path, "wb") as target:
                shutil.copyfileobj(source, target, _COPY_BYTES)
            if found.executable:
                os.chmod(path, 0o700)
            holder, looked = os.stat(self._folder), os.stat(path)
        except OSError as error:
            what = f"can't make a temporary copy of {shown(found.path)}: {os.strerror(error.errno or 0)}"
            raise SourceUnreadable(what, where=self._folder, next_step="Make room there, or set TMPDIR.") from error
        return _Copy(path, holder, looked)

    def _settle(self, row: int, coming: Future[_Copy]) -> None:
        path, holder, looked = coming.result()
        self._scan.directories.append(
            Directory(
                path=b"",
                absolute=os.path.realpath(os.fsencode(path)),
                parent=NO_PARENT,
                name=b"",
                device=holder.st_dev,
                inode=holder.st_ino,
                is_file=True,
            )
        )
        index = len(self._scan.directories) - 1
        self._scan.temporary.add(index)
        self._scan.found[row] = found_file(self._scan.found[row].path, looked, index)
