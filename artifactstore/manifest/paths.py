"""Which paths and entries a manifest may have, and their order.

Paths are raw bytes, relative, separated by `/`. Entries are sorted by path component, with
`/` below every other byte, so that all that lies below a directory follows it directly.
One rule for both sides: a push refuses exactly what a pull would refuse.
This module decides; it does no I/O.
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import ge
from typing import Final

from artifactstore.errors import UnsafeManifest
from artifactstore.manifest.model import MAX_PATH_BYTES, MAX_SIZE_BYTES, Entry, EntryKind, ReferenceTarget

MAX_COMPONENT_BYTES: Final = 255
MAX_LEVELS: Final = 1_100
TEMPORARY_PREFIX: Final = b".artifactstore-tmp-"
"""Our own temporary files and staging directories start with it; no entry has such a component."""

_BATCH: Final = 4096
_FILE: Final = int(EntryKind.FILE)
_LINK: Final = int(EntryKind.LINK)
_REFERENCE: Final = int(EntryKind.REFERENCE)
_DIRECTORY: Final = int(EntryKind.DIRECTORY)


def path_sort_key(path: bytes) -> bytes:
    """What entries are sorted by: the path with `/` as its lowest byte (NUL never occurs in one)."""
    return path.replace(b"/", b"\0")


def shown(path: bytes) -> str:
    """A path for messages: quoted, odd bytes and control characters escaped, cut after 200 characters."""
    text = path[:800].decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 200 else text[:200] + "…")


def unsafe_reason(path: bytes) -> str | None:
    """Why ``path`` may not stand in a manifest, or None where it may.

    The reason goes on from "the path …": ``is absolute``.
    """
    if not path:
        return "is empty"
    if len(path) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    if b"\0" in path:
        return "holds a NUL byte"
    if path.startswith(b"/"):
        return "is absolute"
    components = path.split(b"/")
    if len(components) > MAX_LEVELS:
        return f"is more than {MAX_LEVELS} levels deep"
    for component in components:
        if reason := _unsafe_component(component):
            return reason
    return None


def _unsafe_component(component: bytes) -> str | None:
    if component in (b"", b".", b".."):
        return f"has a component {shown(component)}"
    if len(component) > MAX_COMPONENT_BYTES:
        return f"has a component of more than {MAX_COMPONENT_BYTES} bytes"
    if component.startswith(TEMPORARY_PREFIX):
        return f"has a component that starts with {shown(TEMPORARY_PREFIX)}, which is ours"
    return None


def check_path(path: bytes) -> None:
    """Refuse a path that must not be written below a destination.

    Raises:
        UnsafeManifest: Absolute, empty, with an empty, `.` or `..` component, with NUL, with a component over
            255 bytes, over 65,535 bytes or 1,100 levels in all, or with a component named like our own
            temporary files.
    """
    if reason := unsafe_reason(path):
        raise UnsafeManifest(f"the path {shown(path)} {reason}")


def field_fault(entry: Entry) -> tuple[str, str] | None:
    """The first field of ``entry`` that does not fit its kind, and what is wrong with it; None for a sound entry."""
    if entry.kind == _FILE:
        return _file_fault(entry)
    if entry.kind not in (_DIRECTORY, _LINK, _REFERENCE):
        return "kind", f"is {entry.kind}: only files, empty directories, links and references exist"
    for field, empty in (("size", 0), ("executable", False), ("digest", b""), ("xxh3", b"")):
        if getattr(entry, field) != empty:
            return field, "is set, and only a file has it"
    if entry.kind == _LINK:
        if not entry.target or b"\0" in entry.target or len(entry.target) > MAX_PATH_BYTES:
            return "target", "is empty, holds a NUL byte or is too long"
    elif entry.target:
        return "target", "is set, and only a link has it"
    return _reference_fault(entry)


def _file_fault(entry: Entry) -> tuple[str, str] | None:
    if not 0 <= entry.size <= MAX_SIZE_BYTES:
        return "size", "is negative or over 2**63-1"
    if len(entry.digest) != 32:
        return "digest", f"has {len(entry.digest)} bytes, not 32"
    if len(entry.xxh3) != 16:
        return "xxh3", f"has {len(entry.xxh3)} bytes, not 16"
    if entry.target:
        return "target", "is set, and only a link has it"
    if entry.reference is not None:
        return "reference", "is set, and only a reference has it"
    return None


def _reference_fault(entry: Entry) -> tuple[str, str] | None:
    target = entry.reference
    if (target is not None) != (entry.kind == _REFERENCE):
        return "reference", "is missing, or set where it may not be"
    if target is not None and not _is_sound(target):
        return "reference", "has an empty URI, control characters, a negative size or a digest that is not one"
    return None


def _is_sound(target: ReferenceTarget) -> bool:
    return (
        bool(target.uri)
        and all(text.isprintable() for text in (target.uri, target.etag, target.version_id))
        and 0 <= (target.size_bytes or 0) <= MAX_SIZE_BYTES
        and len(target.digest) in (0, 32)
    )


def first_field_fault(entries: Sequence[Entry]) -> tuple[int, str, str] | None:
    """(index, field, reason) of the first entry whose fields do not fit its kind; None where all do."""
    odd = [
        number
        for number, entry in enumerate(entries)
        if not (
            entry.kind == 1
            and len(entry.digest) == 32
            and len(entry.xxh3) == 16
            and not entry.target
            and entry.reference is None
            and 0 <= entry.size <= MAX_SIZE_BYTES
        )
    ]
    for number in odd:
        if fault := field_fault(entries[number]):
            return number, *fault
    return None


def batched(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """``entries`` in lists of some thousands: work on many at once runs at C speed."""
    stream = iter(entries)
    while batch := list(islice(stream, _BATCH)):
        yield batch


def check_entries(entries: Iterable[Entry]) -> None:
    """Check all entries of a version, before anything of it is written.

    Sorted, no path twice, nothing below a path that is an entry itself (a file, a link, an *empty* directory),
    every path safe, every kind with the fields it has and no others. Streams: memory is that of one batch.

    Raises:
        UnsafeManifest: At the first entry that fails; the message names it.
    """
    last: bytes | None = None
    for batch in batched(entries):
        _check_paths([entry.path for entry in batch])
        if fault := first_field_fault(batch):
            number, field, reason = fault
            raise UnsafeManifest(f"the entry {shown(batch[number].path)}: {field} {reason}")
        last = check_order([entry.path for entry in batch], last)


def _check_paths(paths: Sequence[bytes]) -> None:
    # All paths at once as /a/b/NUL/c/NUL: what is wrong with any of them shows up as a substring, and the
    # search runs at memory speed. Only on a hit is each path looked at.
    joined = b"/" + b"/\0/".join(paths) + b"/"
    clean = (
        b"//" not in joined
        and b"/./" not in joined
        and b"/../" not in joined
        and b"/" + TEMPORARY_PREFIX not in joined
        and joined.count(b"\0") == len(paths) - 1
        and max(map(len, paths)) <= MAX_COMPONENT_BYTES
    )
    if not clean:
        for path in paths:
            check_path(path)


def check_order(paths: Sequence[bytes], last: bytes | None = None) -> bytes:
    """Check that paths are sorted, none is there twice, and none lies below another.

    Args:
        paths: At least one.
        last: The path before them, if any.

    Returns:
        The last of ``paths``.

    Raises:
        UnsafeManifest: They are not.
    """
    # With `/` as byte 0, whatever lies below p sorts between p and p+byte 1. So `next >= p+1` says three things
    # at once: sorted, not the same path again, and not below it.
    keys = [path.replace(b"/", b"\0") for path in paths]
    floors = [key + b"\1" for key in keys]
    if last is not None:
        keys.insert(0, path_sort_key(last))
        floors.insert(0, keys[0] + b"\1")
        paths = [last, *paths]
    if not all(map(ge, islice(keys, 1, None), floors)):
        for before, after in zip(paths, islice(paths, 1, None), strict=False):
            _check_neighbours(before, after)
    return paths[-1]


def _check_neighbours(before: bytes, after: bytes) -> None:
    if before == after:
        raise UnsafeManifest(f"the path {shown(after)} stands there twice")
    if after.startswith(before + b"/"):
        raise UnsafeManifest(
            f"the path {shown(after)} lies below {shown(before)}, which is a file, a link or an empty directory"
        )
    if path_sort_key(after) < path_sort_key(before):
        raise UnsafeManifest(f"the path {shown(after)} is out of order: it stands after {shown(before)}")


def folded(path: bytes) -> bytes:
    """What a file system that folds case and Unicode forms may make of ``path``."""
    if path.isascii():
        return path.lower()
    text = path.decode("utf-8", "surrogateescape")
    # Canonical caseless matching (Unicode 3.13, D145): folding can leave decomposed letters in another order.
    text = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
    return text.encode("utf-8", "surrogateescape")


def folding_twins(paths: Iterable[bytes], *, fold: Callable[[bytes], bytes] = folded) -> list[tuple[bytes, bytes]]:
    """Pairs of different paths, or of directories above them, that are one on a file system that folds.

    For destinations that fold; others never ask. Each pair is reported once, in order of its second path.
    """
    first: dict[bytes, bytes] = {}
    twins: dict[tuple[bytes, bytes], None] = {}
    for path in paths:
        for prefix in _new_prefixes(path, first, fold):
            other = first.setdefault(fold(prefix), prefix)
            if other != prefix:
                twins[other, prefix] = None
    return list(twins)


def _new_prefixes(path: bytes, seen: dict[bytes, bytes], fold: Callable[[bytes], bytes]) -> list[bytes]:
    """``path`` and the directories above it, the highest first, up to one that is known in this very spelling."""
    prefixes = [path]
    cut = path.rfind(b"/")
    while cut > 0:
        above = path[:cut]
        if seen.get(fold(above)) == above:
            break
        prefixes.append(above)
        cut = path.rfind(b"/", 0, cut)
    return prefixes[::-1]
