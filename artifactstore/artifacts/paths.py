"""Where something goes in an artifact: the rules for object paths.

    add_file('1.png')            → 1.png         add_dir('a/')              → a
    add_file('1.png', 'a/')      → a/1.png       add_dir('a/', 'b/')        → b/a
    add_file('1.png', 'a/2.png') → a/2.png       add_dir('a/', 'b/a')       → b/a
    add_file('1.png', '/a.png')  → a.png         add_dir('a/', '.')         → the artifact's root

No path given: the source's own last part. A slash at the front is dropped; one at the end
means "in there, under its own name". Everything else is the whole path.
"""

import os
import posixpath

from artifactstore.errors import InvalidPath
from artifactstore.manifest.paths import shown, unsafe_reason

ROOT = "."


def object_path(source: str | bytes | os.PathLike[str] | os.PathLike[bytes], obj_path: str | bytes | None) -> bytes:
    """The path of a file that is added.

    Raises:
        InvalidPath: No version can hold it.
    """
    given = os.fsencode(obj_path) if obj_path else b""
    path = given.lstrip(b"/")
    if not path or path.endswith(b"/"):
        name = _own_name(os.fsencode(source))
        path = path.rstrip(b"/") + b"/" + name if path.rstrip(b"/") else name
    return check_object_path(path)


def _own_name(source: bytes) -> bytes:
    name = posixpath.basename(source)
    return posixpath.basename(os.path.abspath(source)) if name in (b"", b".", b"..") else name


def directory_path(source: str | bytes | os.PathLike[str] | os.PathLike[bytes], obj_path: str | bytes | None) -> bytes:
    """The path of a directory that is added; empty for the artifact's root.

    Raises:
        InvalidPath: No version can hold it.
    """
    if obj_path and os.fsencode(obj_path).rstrip(b"/") == os.fsencode(ROOT):
        return b""
    return object_path(source, obj_path)


def check_object_path(path: str | bytes) -> bytes:
    """``path`` if it may stand in an artifact.

    Raises:
        InvalidPath: It leaves the artifact, is absolute, or is otherwise not one.
    """
    raw = os.fsencode(path)
    if reason := unsafe_reason(raw):
        leaves = " and would leave the artifact" if b".." in raw.split(b"/") else ""
        raise InvalidPath(f"the object path {shown(raw)} {reason}{leaves}")
    return raw
