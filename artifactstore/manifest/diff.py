"""What differs between two directory states.

Blocks with equal content digests hold equal entries: they are left out on both sides, so
that comparing two versions costs only the blocks in which they differ. The rest is a
merge of two sorted streams. This module decides; it does no I/O.
"""

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from artifactstore.manifest.index import LocatedBlock
from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.manifest.paths import path_sort_key


class ChangeKind(enum.Enum):
    """What happened to a path."""

    ADDED = "added"
    REMOVED = "removed"
    MODIFIED = "modified"


class Change(NamedTuple):
    """One path that differs.

    Attributes:
        old: Its entry before; None where added.
        new: Its entry now; None where removed.
    """

    path: bytes
    kind: ChangeKind
    old: Entry | None
    new: Entry | None


class Sameness(enum.Enum):
    """What two entries tell about the content of their files."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


class BlockSource(Protocol):
    """A directory state in blocks, as `artifactstore.tree.StoredTree` is one."""

    def rows(self) -> Sequence[LocatedBlock]: ...

    def entries_of(self, blocks: Sequence[int]) -> Iterator[Entry]: ...


def same_content(old: Entry, new: Entry, *, same_cut: bool) -> Sameness:
    """Compare the content of two files by their entries.

    Equal file digests prove equal content. Another size or XXH3-128 proves other content; so does another file
    digest where both files were cut by one function.

    Args:
        same_cut: Whether both file digests come from the same cut function.
    """
    if old.digest == new.digest:
        return Sameness.SAME
    if same_cut or old.size != new.size or old.xxh3 != new.xxh3:
        return Sameness.DIFFERENT
    return Sameness.UNKNOWN


def _differ(old: Entry, new: Entry) -> bool:
    return True


def diff_entries(
    old: Iterable[Entry],
    new: Iterable[Entry],
    *,
    same_cut: bool = True,
    undecided: Callable[[Entry, Entry], bool] = _differ,
) -> Iterator[Change]:
    """Merge two sorted streams of entries into their differences, in entry order.

    An empty directory that got its first file, or a directory that lost its last one, is no change of its own:
    the directory is there before and after.

    Args:
        same_cut: Whether the file digests of both come from the same cut function.
        undecided: Asked for (old, new) files that only their content could tell apart: whether they differ.
    """
    olds, news = iter(old), iter(new)
    before, after = next(olds, None), next(news, None)
    while before is not None or after is not None:
        order = _order(before, after)
        if before is not None and after is not None and order == 0:
            if _is_modified(before, after, same_cut, undecided):
                yield Change(before.path, ChangeKind.MODIFIED, before, after)
            before, after = next(olds, None), next(news, None)
        elif before is not None and order < 0:
            if not _goes_on(before, after):
                yield Change(before.path, ChangeKind.REMOVED, before, None)
            before = next(olds, None)
        elif after is not None:
            if not _goes_on(after, before):
                yield Change(after.path, ChangeKind.ADDED, None, after)
            after = next(news, None)


def _order(before: Entry | None, after: Entry | None) -> int:
    if before is None:
        return 1
    if after is None:
        return -1
    if before.path == after.path:
        return 0
    return -1 if path_sort_key(before.path) < path_sort_key(after.path) else 1


def _goes_on(entry: Entry, other: Entry | None) -> bool:
    """Whether an empty directory of one side is a directory with something in it on the other side."""
    # All below a directory follows it directly, so the next entry of the other side decides.
    return entry.kind == EntryKind.DIRECTORY and other is not None and other.path.startswith(entry.path + b"/")


def _is_modified(old: Entry, new: Entry, same_cut: bool, undecided: Callable[[Entry, Entry], bool]) -> bool:
    if old == new:
        return False
    if old.kind != new.kind or old.kind != EntryKind.FILE or old.executable != new.executable:
        return True
    sameness = same_content(old, new, same_cut=same_cut)
    return undecided(old, new) if sameness is Sameness.UNKNOWN else sameness is Sameness.DIFFERENT


def plan_diff(old: Sequence[LocatedBlock], new: Sequence[LocatedBlock]) -> tuple[list[int], list[int]]:
    """Which blocks two versions must load to be compared: those whose content the other one does not have.

    Returns:
        Numbers of blocks of the old one and of the new one, rising. The entries of all others are equal.
    """
    olds = {row.content_digest for row in old}
    news = {row.content_digest for row in new}
    return (
        [number for number, row in enumerate(old) if row.content_digest not in news],
        [number for number, row in enumerate(new) if row.content_digest not in olds],
    )


def diff_blocks(
    old: BlockSource,
    new: BlockSource,
    *,
    same_cut: bool = True,
    undecided: Callable[[Entry, Entry], bool] = _differ,
) -> Iterator[Change]:
    """The differences between two versions, loading only blocks in which they differ. See `diff_entries`."""
    olds, news = plan_diff(old.rows(), new.rows())
    return diff_entries(old.entries_of(olds), new.entries_of(news), same_cut=same_cut, undecided=undecided)
