"""What is at a path of a version: links are followed inside it, and never out of it."""

import posixpath
from typing import Final, NamedTuple

from artifactstore.errors import PathNotFound
from artifactstore.manifest.model import EntryKind
from artifactstore.manifest.paths import shown
from artifactstore.tree import StoredEntry, StoredTree

MAX_LINKS: Final = 40


class Seen(NamedTuple):
    """What is there.

    Attributes:
        path: Where it really lies.
        found: Its entry; None for a directory with something in it, and for the top.
    """

    path: bytes
    found: StoredEntry | None

    @property
    def is_directory(self) -> bool:
        return self.found is None or self.found.entry.kind == EntryKind.DIRECTORY


def look_up(tree: StoredTree, path: bytes) -> Seen:
    """What is at ``path``; of a link, what it leads to.

    Raises:
        PathNotFound: Nothing, or a link that leads nowhere, out of the version, or in a circle.
        CorruptData, UnsafeManifest, BackendError: As `StoredTree.find`.
    """
    at = path
    for _ in range(MAX_LINKS + 1):
        seen = _direct(tree, at)
        if seen is not None and (seen.found is None or seen.found.entry.kind != EntryKind.LINK):
            return seen
        at = _followed(tree, at, seen)
    raise PathNotFound(f"{shown(path)} in {tree.version} leads through more than {MAX_LINKS} links")


def _direct(tree: StoredTree, path: bytes) -> Seen | None:
    if not path:
        return Seen(b"", None)
    try:
        return Seen(path, tree.find(path))
    except PathNotFound:
        return Seen(path, None) if next(tree.level(path), None) is not None else None


def _followed(tree: StoredTree, path: bytes, link: Seen | None) -> bytes:
    """Where a link leads, or where ``path`` leads through the first link on its way."""
    if link is not None and link.found is not None:
        return _target(tree, path, link.found.entry.target)
    slash = path.find(b"/")
    while slash > 0:
        above = _direct(tree, path[:slash])
        if above is None:
            break
        if above.found is not None:
            if above.found.entry.kind != EntryKind.LINK:
                break
            target = _target(tree, path[:slash], above.found.entry.target)
            return target + path[slash:] if target else path[slash + 1 :]
        slash = path.find(b"/", slash + 1)
    raise PathNotFound(f"there is no {shown(path)} in {tree.version}")


def _target(tree: StoredTree, link: bytes, target: bytes) -> bytes:
    joined = posixpath.normpath(posixpath.join(b"/", link, b"..", target))
    # As deep as the link lies it may go up, and no further: `/` would swallow the rest.
    depth = len(link.split(b"/")) - 1
    ups = _ups(target)
    if target.startswith(b"/") or ups > depth:
        raise PathNotFound(f"{shown(link)} is a link to {shown(target)}, which is not in {tree.version}")
    return joined.lstrip(b"/")


def _ups(target: bytes) -> int:
    """How far above where it starts a relative path ever goes."""
    level = highest = 0
    for part in target.split(b"/"):
        if part == b"..":
            level += 1
        elif part not in (b"", b"."):
            level -= 1
        highest = max(highest, level)
    return highest
