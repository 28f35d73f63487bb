"""What a scan finds: rows in the order of a manifest's entries, and what was left out.

Rows are msgspec structs: 200,000 of them are made, hashed and thrown away in a fraction
of a second, and the garbage collector never looks at them.
"""

import enum
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec
import xxhash

from artifactstore.dedup.rows import settled_before_ns
from artifactstore.manifest.model import EntryKind, Extent, ReferenceTarget
from artifactstore.transfer.handles import Directory, shown
from artifactstore.tree import StoredTree

CARRIED: Final = -2
"""Stands where a directory's index stands in a row that comes from a stored version."""

_FILE: Final = int(EntryKind.FILE)
_SIGNATURE_ROWS: Final = 8192


class FollowLinks(enum.Enum):
    """What a symbolic link in the tree becomes."""

    NEVER = "never"  # a link
    ALWAYS = "always"  # what it points to; a loop and a dangling link are errors


class OnError(enum.Enum):
    """What happens at a path that can't be read."""

    FAIL = "fail"
    SKIP = "skip"  # it is left out and listed


class Growth(enum.Enum):
    """What happens to a file that grows while it is read."""

    READ_AGAIN = "read again"  # up to three times, then it is an error
    TAKE_START = "take start"  # what it held when it was opened is the content: for logs


class Unmatched(enum.Enum):
    """What becomes of what include and exclude patterns do not take."""

    LEFT_OUT = "left out"  # it is not in the version
    KEPT = "kept"  # it stays in the version as the newest one has it


class Found(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One path of a scan.

    Attributes:
        path: As in the version: relative, raw bytes.
        kind: `EntryKind.FILE`, `DIRECTORY` (with nothing in it), `LINK` or, in compositions, `REFERENCE`; a plain int.
        size: Bytes of a file; 0 for others.
        inode: Of a file; 0 for others, whose times don't matter either.
        mtime_ns: Last change of the content, nanoseconds since the epoch.
        ctime_ns: Last change of content or attributes, nanoseconds since the epoch.
        executable: Whether the owner may execute the file.
        target: Where a link points.
        directory: Index in `Scan.directories`: of the directory it lies in; of itself for an empty directory.
            `CARRIED` for what does not lie on this machine.
    """

    path: bytes
    kind: int
    size: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    executable: bool
    target: bytes
    directory: int

    @property
    def name(self) -> bytes:
        """The last part of its path."""
        return self.path.rpartition(b"/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """What to take of a tree.

    Attributes:
        include: gitignore patterns; with any, only what matches is taken.
        exclude: gitignore patterns of what is left out.
        follow_links: Whether links are stored or followed.
        one_file_system: Leave out what is mounted inside the tree.
        on_error: What happens at a path that can't be read.
        growth: What happens to a file that grows while it is read.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow_links: FollowLinks = FollowLinks.NEVER
    one_file_system: bool = False
    on_error: OnError = OnError.FAIL
    growth: Growth = Growth.READ_AGAIN


@dataclass(frozen=True, slots=True)
class Notice:
    """Something in the tree that is not in the version, and why; ``path`` is relative to the version's root."""

    path: bytes
    reason: str

    def __str__(self) -> str:
        return f"{shown(self.path)}: {self.reason}"


class CarriedFile(NamedTuple):
    """A file of a stored version that is to be in the next one as it is: its content is not read.

    Attributes:
        tree: The version it lies in, found live after the upload began.
        path: Its path there.
        extents: Where its content lies, over ``packs``.
    """

    tree: StoredTree
    path: bytes
    digest: bytes
    xxh3: bytes
    extents: tuple[Extent, ...]
    packs: Sequence[bytes]


class BaseTree(NamedTuple):
    """A version that was found live after the upload began, and its transaction."""

    tree: StoredTree
    tx: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a scan found.

    Attributes:
        found: In entry order. An empty directory is a row; one with something in it is not.
        directories: Where the rows lie; rows name them by index.
        notices: FIFOs, sockets, devices and mount points left out, and paths that vanished meanwhile.
        skipped: Paths that can't be read, left out because of `OnError.SKIP`.
        hard_links: For a file that is one more name of another file of this scan: that file's path.
        started_at: When it began, in seconds since the epoch.
        source_key: Names what was scanned, for local state: the real path of the directory, or of several
            sources joined by NUL.
        follow_links: As asked.
        references: By path, the targets of rows that are references.
        carried: By path, the rows that are files of stored versions.
        base: Another version than the name's own that much of the content is in.
        growth: What happens to files that grow while they are read.
        is_part: Whether patterns chose what comes from this machine, and the rest is carried.
        temporary: Indexes of directories that will not be there again: local state need not remember them.
    """

    found: list[Found]
    directories: list[Directory]
    notices: tuple[Notice, ...]
    skipped: tuple[Notice, ...]
    hard_links: dict[bytes, bytes]
    started_at: float
    source_key: bytes
    follow_links: FollowLinks
    references: Mapping[bytes, ReferenceTarget] = field(default_factory=dict)
    carried: Mapping[bytes, CarriedFile] = field(default_factory=dict)
    base: BaseTree | None = None
    growth: Growth = Growth.READ_AGAIN
    is_part: bool = False
    temporary: set[int] = field(default_factory=set)

    @property
    def content_bytes(self) -> int:
        """Bytes of all files."""
        return sum(map(attrgetter("size"), self.found))

    def signature(self) -> bytes:
        """XXH3-128 over all rows: two scans with one signature found the same paths with the same times."""
        state = xxhash.xxh3_128()
        encode = msgspec.msgpack.encode
        for start in range(0, len(self.found), _SIGNATURE_ROWS):
            state.update(encode(self.found[start : start + _SIGNATURE_ROWS]))
        if self.references:
            state.update(encode(sorted(self.references.items())))
        for path, file in sorted(self.carried.items()):
            state.update(encode((path, file.digest)))
        return state.digest()

    def is_settled(self) -> bool:
        """Whether every file was last changed well before the scan: only then its signature proves anything later."""
        limit = settled_before_ns(self.started_at)
        return all(max(map(attrgetter(time), self.found), default=0) < limit for time in ("mtime_ns", "ctime_ns"))


def found_file(path: bytes, looked: os.stat_result, directory: int) -> Found:
    """The row of a regular file with this stat."""
    return Found(
        path,
        _FILE,
        looked.st_size,
        looked.st_ino,
        looked.st_mtime_ns,
        looked.st_ctime_ns,
        looked.st_mode & 0o100 != 0,
        b"",
        directory,
    )
