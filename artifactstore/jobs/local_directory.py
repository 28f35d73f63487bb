"""The directory of this machine that is synced: whether it is there, and whether it is still what it was."""

import contextlib
import os
from typing import Final

from artifactstore.errors import SourceError, SourceNotFound
from artifactstore.store import Store
from artifactstore.transfer.synced import is_wiped


class Landmark:
    """Tells whether nothing is left of what a directory was last synced as: it was made anew.

    One path that was in the last state, and still is, is remembered: the state has not to be read each time.
    """

    def __init__(self, root: str) -> None:
        self._root: Final = root
        self._found = b""

    def __contains__(self, path: object) -> bool:
        """Whether a path is there now."""
        assert isinstance(path, bytes)
        whole = os.path.join(os.fsencode(self._root), path)
        is_there = os.path.lexists(whole)
        self._found = whole if is_there else b""
        return is_there

    def is_lost(self, store: Store) -> bool:
        """Whether there was something, and nothing of it is left."""
        if self._found and os.path.lexists(self._found):
            return False
        return is_wiped(store.synced_entries(self._root), self)


def check_source(path: str, given: str) -> None:
    """Refuse to look at, or to upload, what is not there.

    Args:
        given: The path as people wrote it.

    Raises:
        SourceNotFound, SourceError: There is no such directory.
    """
    if not os.path.lexists(path):
        raise SourceNotFound(
            f"there is no directory {given} to upload",
            where=path,
            next_step="Make it, or create the syncable directory again: that brings back what was uploaded.",
        )
    if not os.path.isdir(path):
        raise SourceError(f"{given} is no directory, and only directories are synced", where=path)


def holds_anything(path: str) -> bool:
    """Whether it is a directory with something in it."""
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is not None
    except (FileNotFoundError, NotADirectoryError):
        return False


def remove_empty(path: str | os.PathLike[str]) -> None:
    """Remove it, if it is an empty directory."""
    with contextlib.suppress(OSError):
        os.rmdir(path)
