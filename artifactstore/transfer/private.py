"""What a destination keeps to itself: the files that its `.artifactignore` files leave out of every push.

A pull that removes what the version lacks spares them: they are missing there because they were never
to be sent. The rules are those that lie here, not those that come in (docs/ignore.md).
"""

import errno
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from artifactstore.errors import DestinationError
from artifactstore.manifest.model import EntryKind
from artifactstore.manifest.paths import shown
from artifactstore.transfer.conflict import LocalFact
from artifactstore.transfer.folders import SYSTEM, Folders, System, destination_error
from artifactstore.transfer.ignore import IGNORE_FILE, MAX_IGNORE_FILE_BYTES, Ignore
from artifactstore.transfer.patterns import parse_lines

_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})


class Private:
    """The ignore files of a directory, asked about single paths.

    Args:
        lines: Of each ignore file, by the directory that it lies in.
        synced: Paths of the last synced state: an ignore file among them is the version's affair.
    """

    def __init__(self, lines: Mapping[bytes, Sequence[str]], *, synced: Collection[bytes] = ()) -> None:
        self._lines = lines
        self._synced = synced
        self._folders: dict[bytes, Ignore | None] = {b"": _with_lines(Ignore(), b"", lines)}

    def keeps(self, path: bytes, kind: int) -> bool:
        """Whether no push takes what is at ``path``; ignore files that were never synced count as such."""
        if not self._lines:
            return False
        folder, _, name = path.rpartition(b"/")
        if name == IGNORE_FILE and kind == EntryKind.FILE and path not in self._synced:
            return True
        rules = self._folder(folder)
        return rules is None or rules.leaves_out(path, is_directory=kind == EntryKind.DIRECTORY)

    def _folder(self, folder: bytes) -> Ignore | None:
        """The rules inside a directory; None where nothing below it is taken."""
        above: list[bytes] = []
        while folder not in self._folders:  # not by recursion: paths may be a thousand levels deep
            above.append(folder)
            folder = folder.rpartition(b"/")[0]
        rules = self._folders[folder]
        for below in reversed(above):
            if rules is not None and rules.leaves_out(below, is_directory=True):
                rules = None
            elif rules is not None:
                rules = _with_lines(rules, below, self._lines)
            self._folders[below] = rules
        return rules


def read_private(
    root: int, facts: Mapping[bytes, LocalFact], *, synced: Collection[bytes], system: System = SYSTEM
) -> Private:
    """The ignore files among what was found at a destination.

    Args:
        root: Handle of the destination.

    Raises:
        DestinationError: One can't be read.
    """
    lines: dict[bytes, Sequence[str]] = {}
    with Folders(root, system=system) as folders:
        for path in _ignore_files(facts):
            folder = path.rpartition(b"/")[0]
            try:
                text = _read(folders.open(folder))
            except OSError as error:
                if error.errno in _GONE:
                    continue  # removed, or made something else, since it was found
                raise destination_error(error, path, doing="read") from error
            if len(text) > MAX_IGNORE_FILE_BYTES:
                where = shown(path)
                raise DestinationError(f"{where} is longer than {MAX_IGNORE_FILE_BYTES} bytes", where=where)
            lines[folder] = parse_lines(text)
    return Private(lines, synced=synced)


def _ignore_files(facts: Mapping[bytes, LocalFact]) -> Iterable[bytes]:
    for path, fact in facts.items():
        if path.endswith(IGNORE_FILE) and fact.kind == EntryKind.FILE and path.rpartition(b"/")[2] == IGNORE_FILE:
            yield path


def _read(folder: int) -> bytes:
    opened = os.open(IGNORE_FILE, _READ_FLAGS, dir_fd=folder)
    try:
        found = bytearray()
        while len(found) <= MAX_IGNORE_FILE_BYTES and (more := os.read(opened, MAX_IGNORE_FILE_BYTES + 1)):
            found += more
        return bytes(found)
    finally:
        os.close(opened)


def _with_lines(rules: Ignore, folder: bytes, lines: Mapping[bytes, Sequence[str]]) -> Ignore:
    return rules.with_file(folder, lines[folder]) if folder in lines else rules


NOTHING_PRIVATE: Final = Private({})
