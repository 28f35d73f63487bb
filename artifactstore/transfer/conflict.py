"""The one conflict rule of every download (docs/download.md, "The rule").

A path has three states: in the *base* (what was last synced here), *local* (what is there
now), *incoming* (what the version holds). Each of them may be absent. Where two agree the
third stands; where all three differ the path is in conflict, and the strategy decides.
No base is the same as an empty one: what is here and differs is then a conflict.
This module compares values. It does no I/O.
"""

import enum
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from artifactstore.digest import PATH_CONTEXT, digest_of
from artifactstore.manifest.model import Entry, EntryKind

OTHER: Final = 0
"""The kind of a local path that no version can hold: a FIFO, a socket, a device."""

_MAX_NAME_BYTES: Final = 255
_TOKEN_DIGITS: Final = 12
_MAX_EXTENSION_BYTES: Final = 16


class LocalFact(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is at one path of the destination.

    Attributes:
        kind: An `EntryKind`, or `OTHER`.
        size: Bytes of a file; 0 for others.
        executable: Whether the owner may execute the file.
        target: Where a link points.
        digest: The file's digest, or empty where it was not needed.
        inode, mtime_ns, ctime_ns: With the size, how to tell later that it is still the same.
    """

    kind: int
    size: int = 0
    executable: bool = False
    target: bytes = b""
    digest: bytes = b""
    inode: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0


class Verdict(enum.Enum):
    """What the rule says about one path."""

    SAME = "same"  # local and incoming agree
    INCOMING = "incoming"  # only the version changed it
    LOCAL = "local"  # only this side changed it
    CONFLICT = "conflict"  # both did, differently


def judge(*, base: Entry | None, local: LocalFact | None, incoming: Entry | None) -> Verdict:
    """Apply the rule to one path; None stands for absent.

    A local file whose digest is not known counts as different from everything of its size.
    """
    if matches(local, incoming):
        return Verdict.SAME
    if matches(local, base):
        return Verdict.INCOMING
    if same_entry(base, incoming):
        return Verdict.LOCAL
    return Verdict.CONFLICT


def matches(local: LocalFact | None, entry: Entry | None) -> bool:
    """Whether the local path is what the entry says."""
    if local is None or entry is None:
        return local is None and entry is None
    if local.kind != entry.kind:
        return False
    if local.kind == EntryKind.FILE:
        return (
            local.size == entry.size
            and local.executable == entry.executable
            and local.digest == entry.digest
            and local.digest != b""
        )
    return local.kind == EntryKind.DIRECTORY or (local.kind == EntryKind.LINK and local.target == entry.target)


def same_entry(one: Entry | None, other: Entry | None) -> bool:
    """Whether two entries say the same of their path. Digests of different cut functions count as different."""
    if one is None or other is None:
        return one is other
    return (
        one.kind == other.kind
        and one.digest == other.digest
        and one.size == other.size
        and one.executable == other.executable
        and one.target == other.target
        and one.reference == other.reference
    )


def needs_digest(local: LocalFact, *, base: Entry | None, incoming: Entry | None) -> bool:
    """Whether the rule can't decide before the local file was read."""
    if local.kind != EntryKind.FILE or local.digest:
        return False
    return any(e is not None and e.kind == EntryKind.FILE and e.size == local.size for e in (base, incoming))


def name_beside(path: bytes, entries: Iterable[Entry], *, taken: Callable[[bytes], bool]) -> bytes:
    """Where strategy `new` puts what comes in: ``model.incoming-<12 digits>.bin`` beside ``model.bin``.

    The digits are of a digest over what comes in, so that pulling the same thing twice lands under the same name.
    The extension (at most 16 bytes) stays at the end, names never pass 255 bytes, and where the name is ``taken``
    it counts on: ``model.incoming-<12 digits>-2.bin``.
    """
    folder, slash, name = path.rpartition(b"/")
    stem, dot, extension = name.rpartition(b".")
    if not stem or len(extension) > _MAX_EXTENSION_BYTES:
        stem, dot, extension = name, b"", b""
    parts = b"\0".join(b"%s\0%d\0%s\0%s" % (e.path, e.executable, e.digest, e.target) for e in entries)
    token = digest_of(PATH_CONTEXT, parts).hex()[:_TOKEN_DIGITS].encode()
    attempt = 1
    while True:
        count = b"-%d" % attempt if attempt > 1 else b""
        tail = b".incoming-" + token + count + dot + extension
        candidate = folder + slash + stem[: _MAX_NAME_BYTES - len(tail)] + tail
        if not taken(candidate):
            return candidate
        attempt += 1
