"""Files of stored versions that an upload has to read after all: their packs are condemned or too small to keep,
or the version was cut in another way. Fetched to a temporary directory, they are sources like others."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from typing import Final, Self

from artifactstore.backend.protocol import Backend
from artifactstore.errors import SourceUnreadable
from artifactstore.reading import open_file
from artifactstore.transfer.found import Found, Scan, found_file
from artifactstore.transfer.handles import NO_PARENT, Directory, shown

_COPY_BYTES: Final = 1 << 20


class Staging:
    """The staged files of one upload. Use it as a context manager: they go with it.

    Args:
        found: Rows that are staged are replaced in it by rows of what was fetched.
    """

    def __init__(self, backend: Backend, found: Scan) -> None:
        self._backend = backend
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
        for row in rows:
            self._scan.found[row] = self._fetched(row)

    def _fetched(self, row: int) -> Found:
        found = self._scan.found[row]
        file = self._scan.carried[found.path]
        if not self._folder:
            self._folder = tempfile.mkdtemp(prefix="artifactstore-")
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
        return found_file(found.path, looked, index)
