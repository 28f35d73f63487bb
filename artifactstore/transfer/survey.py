"""What is at a destination: only where a pull may have to do with it.

Looked at are the directories that the version or the last synced state name, all of what a
file of the version would replace, and with `delete` everything. So a pull of one file into
a large home directory costs one listing. Nothing is opened but directories, and links are
read, not followed.
"""

import os
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from artifactstore.manifest.model import EntryKind, Extent
from artifactstore.manifest.paths import TEMPORARY_PREFIX
from artifactstore.transfer.conflict import LocalFact
from artifactstore.transfer.folders import SYSTEM, Folders, System, destination_error, list_directory
from artifactstore.transfer.local_chunks import fact_of

_DIRECTORY: Final = int(EntryKind.DIRECTORY)
_LINK: Final = int(EntryKind.LINK)


class KnownFiles(Protocol):
    """What is remembered of the files of a destination, so that they need not be read."""

    def digest(self, path: bytes, fact: LocalFact) -> bytes:
        """The digest of the file at ``path``, if it has not changed since it was remembered, else empty bytes."""
        ...

    def places(self, path: bytes, fact: LocalFact) -> "KnownPlaces | None":
        """In which packs the content of the file at ``path`` lies, under the same condition. Nobody relies on it."""
        ...


class KnownPlaces(NamedTuple):
    """All extents of a file, over ``packs``."""

    extents: Sequence[Extent]
    packs: Sequence[bytes]


class NothingKnown:
    """Remembers nothing."""

    def digest(self, path: bytes, fact: LocalFact) -> bytes:
        return b""

    def places(self, path: bytes, fact: LocalFact) -> KnownPlaces | None:
        return None


def survey(
    root: int, *, folders: Iterable[bytes], leaves: Collection[bytes], everything: bool, system: System = SYSTEM
) -> dict[bytes, LocalFact]:
    """Look at what is there. Our own temporary names are left out.

    Args:
        root: Handle of the destination.
        folders: Directories to look into, where they are there.
        leaves: Paths at which a file or link may land: a directory in its place is looked through as a whole.
        everything: Look through all of it.

    Returns:
        By path, directories included. Digests are empty.

    Raises:
        DestinationError: A directory can't be read.
    """
    facts: dict[bytes, LocalFact] = {}
    wanted = {b"", *folders}
    waiting: list[tuple[bytes, bool]] = [(b"", everything)]
    with Folders(root, system=system) as handles:
        while waiting:
            folder, is_whole = waiting.pop()
            try:
                rows = _rows(handles.open(folder), folder, system)
            except FileNotFoundError:
                continue  # removed since its parent was listed
            except OSError as error:
                raise destination_error(error, folder, doing="read") from error
            facts.update(rows)
            for path, fact in rows:
                if fact.kind == _DIRECTORY and (is_whole or path in wanted or path in leaves):
                    waiting.append((path, is_whole or path in leaves))
    return facts


def _rows(directory: int, folder: bytes, system: System) -> list[tuple[bytes, LocalFact]]:
    rows = []
    start = folder + b"/" if folder else b""
    for row in list_directory(directory):
        name = os.fsencode(row.name)
        if name.startswith(TEMPORARY_PREFIX):
            continue
        try:
            fact = fact_of(row.stat(follow_symlinks=False))
            if fact.kind == _LINK:
                fact = fact_of(row.stat(follow_symlinks=False), target=system.read_link(name, directory))
        except FileNotFoundError:
            continue
        rows.append((start + name, fact))
    return rows
