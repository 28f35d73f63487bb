"""What a pull is asked, what it will do to a destination, and what it did.

A plan (made by `artifactstore.transfer.planner`) is lists of things to write and to
remove. A dry run is the plan and nothing else.

    write      parents made as needed, never over anything but what the plan says is there
    late write the same, where something of another kind stands in the way: after `clears`
    removal    a file, a link, or a directory if it is empty by then
    kept       paths that stay as they are, though the version says otherwise

Values only. This module does no I/O.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from artifactstore.errors import DestinationExists, DownloadConflict
from artifactstore.manifest.model import Entry, EntryPlaces
from artifactstore.names import listed
from artifactstore.transfer.conflict import LocalFact

MAX_UNCONFIRMED_DELETE_PERCENT: Final = 50
"""`delete` of more of what is here than this wants `confirm_delete` besides."""

_SHOWN_PATHS: Final = 5


class ConflictStrategy(enum.Enum):
    """What to do where this side and the version both changed a path, differently."""

    ERROR = "error"
    SKIP = "skip"
    NEW = "new"
    REPLACE = "replace"


class SyncBase(enum.Enum):
    """What counts as the state that this side and the version both come from."""

    SAME_NAME = "same name"  # what was last synced here under the version's name
    LAST_SYNC = "last sync"  # what was last synced here, under whatever name
    AS_GUEST = "as guest"  # as SAME_NAME, and the directory is not taken for this version afterwards: for single files


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOptions:
    """How to pull.

    Attributes:
        strategy: For conflicts: list them and write nothing, keep what is here, put what comes in beside it, or let
            the version's files win everywhere, over local edits that conflict with nothing too.
        delete: Also remove files that were never synced and that the version lacks.
        confirm_delete: Let `delete` remove more than half of what is here.
        durable: Flush every file and directory to the disk before returning.
        dry_run: Plan only.
        allow_expired: Take a version whose time is over.
        paths: Only these paths of what is pulled, each with all below it; empty for everything.
        include, exclude: gitignore patterns. What they do not take is left alone here, with `delete` too.
        base: What edits here and changes there are told apart by.

    Raises:
        TypeError: A text where a list is meant.
    """

    strategy: ConflictStrategy = ConflictStrategy.ERROR
    delete: bool = False
    confirm_delete: bool = False
    durable: bool = False
    dry_run: bool = False
    allow_expired: bool = False
    paths: tuple[bytes, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    base: SyncBase = SyncBase.SAME_NAME

    def __post_init__(self) -> None:
        for what in ("paths", "include", "exclude"):
            object.__setattr__(self, what, listed(what, getattr(self, what)))


class Write(msgspec.Struct, frozen=True, gc=False):
    """One entry to land.

    Attributes:
        entry: What comes in; its path is relative to the destination.
        path: Where it lands: the entry's path, but for strategy `new`.
        replaces: What is there now, or None.
    """

    entry: Entry
    path: bytes
    replaces: LocalFact | None = None


class Removal(msgspec.Struct, frozen=True, gc=False):
    """One path to remove. A directory goes only if it is empty by then."""

    path: bytes
    fact: LocalFact


class ConflictedPath(msgspec.Struct, frozen=True, gc=False):
    """One conflict, and where what comes in lands instead (strategy `new`), else empty."""

    path: bytes
    beside: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullPlan:
    """What a pull will do, in this order: writes, clears, late writes, removals.

    Attributes:
        writes: Files, links and empty directories to land.
        clears: What has to go before the late writes, contents before their directory.
        late_writes: Entries that land where something of another kind stands now.
        removals: What the version no longer has, or never had (`delete`); directories last, the deepest first.
        unchanged: Entries that are here already.
        kept: Paths where this side stands although the version says otherwise, conflicts with `skip` included.
        conflicts: By path.
        references: Entries whose content is not in the store. A pull leaves them out.
        deleted_count: How many of the removals are due to `delete` alone.
        local_count: How many files and links are here.
    """

    writes: tuple[Write, ...] = ()
    clears: tuple[Removal, ...] = ()
    late_writes: tuple[Write, ...] = ()
    removals: tuple[Removal, ...] = ()
    unchanged: tuple[Entry, ...] = ()
    kept: tuple[bytes, ...] = ()
    conflicts: tuple[ConflictedPath, ...] = ()
    references: tuple[Entry, ...] = ()
    deleted_count: int = 0
    local_count: int = 0

    @property
    def write_bytes(self) -> int:
        """Content bytes of all that will be written."""
        return sum(w.entry.size for w in self.writes) + sum(w.entry.size for w in self.late_writes)

    @property
    def is_empty(self) -> bool:
        """Whether nothing will change."""
        return not (self.writes or self.clears or self.late_writes or self.removals)


class SyncedFile(msgspec.Struct, frozen=True, gc=False):
    """A file that is here as the version has it: what local state may record.

    Attributes:
        path: Relative to the destination.
        entry, places, packs: The version's entry, its places, and the pack list that the places index.
        inode, size, mtime_ns, ctime_ns: Of the file as it lies there now.
    """

    path: bytes
    entry: Entry
    places: EntryPlaces
    packs: tuple[bytes, ...]
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadResult:
    """What a pull did.

    Attributes:
        plan: What was decided; for a dry run the only thing there is.
        written: Paths that were written, in no order.
        removed: Paths that were removed.
        kept: Paths where this side stands although the version says otherwise.
        conflicts: Conflicts, each with where what came in landed instead.
        fetched_bytes: Bytes read from the store for content.
        reused_bytes: Content bytes that were here already: of unchanged files, and chunks out of their older versions.
        content_bytes: Content bytes of everything that was written.
        synced: Files that are here as the version has them, written or found so.
        entries: Everything the version (or the part of it) holds, relative to the destination: the next base.
    """

    plan: PullPlan
    written: tuple[bytes, ...] = ()
    removed: tuple[bytes, ...] = ()
    kept: tuple[bytes, ...] = ()
    conflicts: tuple[ConflictedPath, ...] = ()
    fetched_bytes: int = 0
    reused_bytes: int = 0
    content_bytes: int = 0
    synced: tuple[SyncedFile, ...] = ()
    entries: tuple[Entry, ...] = ()


def check_plan(plan: PullPlan, options: PullOptions) -> None:
    """Refuse a plan that must not be executed.

    Raises:
        DownloadConflict: There are conflicts, and the strategy is `error`.
        DestinationExists: `delete` would remove over half of what is here, and that was not confirmed.
    """
    if plan.conflicts and options.strategy is ConflictStrategy.ERROR:
        paths = [c.path for c in plan.conflicts]
        count = f"{len(paths)} paths have" if len(paths) > 1 else "1 path has"
        raise DownloadConflict(f"{count} changed both here and in the version: {_some(paths)}", paths=paths)
    share = plan.deleted_count * 100
    if share > plan.local_count * MAX_UNCONFIRMED_DELETE_PERCENT and not options.confirm_delete:
        error = DestinationExists(
            f"--delete would remove {plan.deleted_count} of the {plan.local_count} files that are here"
        )
        error.next_step = "Look at them with --dry-run; to go ahead, confirm with --confirm-delete."
        raise error


def _some(paths: Sequence[bytes]) -> str:
    shown = ", ".join(p.decode("utf-8", "backslashreplace") for p in paths[:_SHOWN_PATHS])
    return shown + (f" and {len(paths) - _SHOWN_PATHS} more" if len(paths) > _SHOWN_PATHS else "")
