"""What local state files about a directory that a part of a version was synced with.

    name              the whole version
    name//path        what lies at a path of it
    name// (in part)  what patterns take of it

The rule for conflicts holds path by path, and so does what it compares with: after a part was synced, the
rest still is what it was synced as before.
This module turns values into values. It does no I/O.
"""

from collections.abc import Callable, Container, Iterable
from typing import Final

from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.manifest.paths import path_sort_key

IN_PART: Final = b" (in part)"
"""Stands where a path inside stands: patterns took a part of it."""


def synced_name(name: str, path: bytes) -> str:
    """How local state files what a directory was synced as: the name, with the path inside for a part of it."""
    return f"{name}//{path.decode('utf-8', 'backslashreplace')}" if path else name


def is_wiped(synced: Iterable[Entry], here: Container[bytes]) -> bool:
    """Whether nothing is left of what a directory was synced as, and there was something. Then it was made anew, and
    nobody has removed its files one by one: what was synced says nothing about it."""
    some = False
    for entry in synced:
        if entry.kind == EntryKind.REFERENCE:
            continue  # its content never came from here
        if entry.path in here:
            return False
        some = True
    return some


def with_rest(entries: Iterable[Entry], before: Iterable[Entry], *, stays: Callable[[Entry], bool]) -> list[Entry]:
    """What a directory was synced as, after a part of it was synced.

    Args:
        entries: Of that part, as they are now.
        before: All of it, as it was synced before.
        stays: Whether an entry of ``before`` is of the rest.
    """
    now = list(entries)
    paths = {entry.path for entry in now}
    rest = (entry for entry in before if stays(entry) and entry.path not in paths)
    return sorted([*now, *rest], key=lambda entry: path_sort_key(entry.path))
