"""Decide what a pull does: what comes in, what is here, what was last synced here.

`plan_pull` holds the three against one another by the rule in
`artifactstore.transfer.conflict` and turns the answers into a plan.

Directories are not decided by themselves. They exist where something is below them; only
empty ones are entries; and they count where a file or link of the same name meets them.
This module turns facts into a plan. It does no I/O.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.transfer.conflict import (
    OTHER,
    LocalFact,
    Verdict,
    judge,
    matches,
    name_beside,
    needs_digest,
    same_entry,
)
from artifactstore.transfer.plan import ConflictedPath, ConflictStrategy, PullPlan, Removal, Write

_LEAVES: Final = frozenset({EntryKind.FILE, EntryKind.LINK})


def _everything(path: bytes, kind: int) -> bool:
    return True


def plan_pull(
    incoming: Sequence[Entry],
    *,
    local: Mapping[bytes, LocalFact],
    base: Mapping[bytes, Entry] | None,
    strategy: ConflictStrategy,
    delete: bool,
    takes: Callable[[bytes, int], bool] = _everything,
) -> PullPlan:
    """Decide what a pull does.

    Args:
        incoming: What the version holds: checked, sorted, paths relative to the destination.
        local: What is here, directories included. Paths that nobody asks about may be missing: without `delete`
            those outside the directories that ``incoming`` and ``base`` name.
        base: What was last synced here, or None.
        strategy: For conflicts.
        delete: Whether files that were never synced go too.
        takes: Which paths may go, by path and kind: the others are left alone, whatever the strategy. What patterns
            leave out, and what is private here.

    Returns:
        The plan, conflicts included whatever the strategy: `check_plan` says whether it may be executed.
    """
    if not local and not base:
        references = tuple(e for e in incoming if e.kind == EntryKind.REFERENCE)
        return PullPlan(
            writes=tuple(Write(e, e.path) for e in incoming if e.kind != EntryKind.REFERENCE), references=references
        )
    planner = _Planner(incoming, local, base or {}, strategy, takes)
    planner.settle_kinds()
    planner.settle_paths()
    planner.drop_synced()
    if delete:
        planner.delete_others()
    return planner.plan()


def paths_to_read(
    incoming: Iterable[Entry], *, local: Mapping[bytes, LocalFact], base: Mapping[bytes, Entry] | None
) -> list[bytes]:
    """The local files that have to be read (to learn their digest) before `plan_pull` can decide well."""
    base = base or {}
    by_path = {e.path: e for e in incoming}
    return [
        path
        for path, fact in local.items()
        if fact.kind == EntryKind.FILE and needs_digest(fact, base=base.get(path), incoming=by_path.get(path))
    ]


def directories_of(paths: Iterable[bytes]) -> set[bytes]:
    """Every directory above these paths, without the root."""
    found: set[bytes] = set()
    for path in paths:
        cut = path.rfind(b"/")
        while cut > 0:
            folder = path[:cut]
            if folder in found:
                break
            found.add(folder)
            cut = path.rfind(b"/", 0, cut)
    return found


class _Planner:
    """The working state of one `plan_pull`."""

    def __init__(
        self,
        incoming: Sequence[Entry],
        local: Mapping[bytes, LocalFact],
        base: Mapping[bytes, Entry],
        strategy: ConflictStrategy,
        takes: Callable[[bytes, int], bool],
    ) -> None:
        self._takes = takes
        self._incoming = {e.path: e for e in incoming}
        self._local = local
        self._base = base
        self._strategy = strategy
        self._incoming_folders = directories_of(self._incoming)
        self._base_folders = directories_of(base)
        self._sorted_incoming = _Sorted(self._incoming)
        self._sorted_local = _Sorted(local)
        self._writes: list[Write] = []
        self._clears: list[Removal] = []
        self._late: list[Write] = []
        self._removals: dict[bytes, LocalFact] = {}
        self._unchanged: list[Entry] = []
        self._kept: set[bytes] = set()
        self._conflicts: list[ConflictedPath] = []
        self._beside: set[bytes] = set()
        self._settled: set[bytes] = set()  # incoming paths that settle_kinds has decided
        self._clearing: set[bytes] = set()  # at and below these everything goes
        self._standing: set[bytes] = set()  # at and below these nothing goes
        self._deleted_count = 0
        self._spared: set[bytes] = set()

    # -- kinds: a directory meets a file or a link of the same name --------------------

    def settle_kinds(self) -> None:
        explicit = {p for p, e in self._incoming.items() if e.kind == EntryKind.DIRECTORY}
        for folder in sorted(self._incoming_folders | explicit):
            fact = self._local.get(folder)
            if fact is not None and fact.kind != EntryKind.DIRECTORY:
                self._folder_meets_leaf(folder, fact)
        for path, entry in self._incoming.items():
            fact = self._local.get(path)
            if fact is not None and fact.kind == EntryKind.DIRECTORY and entry.kind in _LEAVES:
                self._leaf_meets_folder(entry, fact)

    def _folder_meets_leaf(self, folder: bytes, fact: LocalFact) -> None:
        """A directory comes in; a file, link or something else is there."""
        below = (self._incoming[p] for p in self._sorted_incoming.below(folder))
        at = self._incoming.get(folder)
        entries = [e for e in (*([at] if at else []), *below) if e.kind != EntryKind.REFERENCE]
        self._settled.update(e.path for e in entries)
        if not entries or all(same_entry(self._base.get(e.path), e) for e in entries):
            self._local_stands(folder, [Removal(folder, fact)], entries)
        elif folder in self._base and matches(fact, self._base[folder]):
            self._clear([Removal(folder, fact)], entries)
        else:
            self._kinds_conflict(folder, [Removal(folder, fact)], entries)

    def _leaf_meets_folder(self, entry: Entry, fact: LocalFact) -> None:
        """A file or link comes in; a directory is there."""
        self._settled.add(entry.path)
        # Sorted backwards, contents come before their directory.
        below = [Removal(p, self._local[p]) for p in reversed(self._sorted_local.below(entry.path))]
        obstacles = [*below, Removal(entry.path, fact)]
        base = self._base.get(entry.path)
        if same_entry(base, entry):
            self._local_stands(entry.path, obstacles, [entry])
        elif all(self._is_as_synced(r) for r in obstacles):
            self._clear(obstacles, [entry])
        else:
            self._kinds_conflict(entry.path, obstacles, [entry])

    def _is_as_synced(self, removal: Removal) -> bool:
        base = self._base.get(removal.path)
        if removal.fact.kind == EntryKind.DIRECTORY and removal.path in self._base_folders:
            return True
        return base is not None and matches(removal.fact, base)

    def _local_stands(self, path: bytes, obstacles: list[Removal], entries: list[Entry]) -> None:
        if self._strategy is ConflictStrategy.REPLACE and entries and self._may_go(obstacles):
            self._clear(obstacles, entries)
        else:
            self._stand(path, entries)

    def _kinds_conflict(self, path: bytes, obstacles: list[Removal], entries: list[Entry]) -> None:
        beside = b""
        if self._strategy is ConflictStrategy.REPLACE and self._may_go(obstacles):
            self._clear(obstacles, entries)
        elif self._strategy is ConflictStrategy.NEW:
            beside = self._land_beside(path, entries)
            self._stand(path, [])
        else:
            self._stand(path, entries)
        self._conflicts.append(ConflictedPath(path, beside))

    def _may_go(self, obstacles: list[Removal]) -> bool:
        """Whether nothing is in the way that patterns leave alone. Directories by themselves are nothing."""
        return all(r.fact.kind == EntryKind.DIRECTORY or self._takes(r.path, r.fact.kind) for r in obstacles)

    def _clear(self, obstacles: list[Removal], entries: list[Entry]) -> None:
        self._clears.extend(obstacles)
        self._clearing.add(obstacles[-1].path)
        self._late.extend(Write(e, e.path) for e in entries)

    def _stand(self, path: bytes, entries: list[Entry]) -> None:
        self._standing.add(path)
        self._kept.add(path)
        self._kept.update(e.path for e in entries)

    # -- paths: both sides have, or lack, a leaf -----------------------------------------

    def settle_paths(self) -> None:
        for path, entry in self._incoming.items():
            if path in self._settled or entry.kind == EntryKind.REFERENCE:
                continue
            fact = self._local.get(path)
            verdict = judge(base=self._base.get(path), local=fact, incoming=entry)
            if verdict is Verdict.SAME:
                self._unchanged.append(entry)
            elif verdict is Verdict.INCOMING or self._strategy is ConflictStrategy.REPLACE:
                self._writes.append(Write(entry, path, fact))
                if verdict is Verdict.CONFLICT:
                    self._conflicts.append(ConflictedPath(path))
            elif verdict is Verdict.LOCAL:
                self._kept.add(path)
            else:
                self._paths_conflict(entry, fact)

    def _paths_conflict(self, entry: Entry, fact: LocalFact | None) -> None:
        beside = b""
        if self._strategy is not ConflictStrategy.NEW:
            self._kept.add(entry.path)
        elif fact is None:
            # Removed here, changed there: nothing of this side is in the way.
            self._writes.append(Write(entry, entry.path))
        else:
            beside = self._land_beside(entry.path, [entry])
            self._kept.add(entry.path)
        self._conflicts.append(ConflictedPath(entry.path, beside))

    def _land_beside(self, path: bytes, entries: list[Entry]) -> bytes:
        """Let the entries at or below ``path`` land beside it, unless an earlier pull has put them there."""

        def taken(candidate: bytes) -> bool:
            if candidate in self._incoming or candidate in self._incoming_folders or candidate in self._beside:
                return True
            return candidate in self._local and not self._holds(candidate, path, entries)

        beside = name_beside(path, entries, taken=taken)
        self._beside.add(beside)
        self._standing.add(beside)
        if beside not in self._local:
            self._writes.extend(Write(e, beside + e.path[len(path) :]) for e in entries)
        return beside

    def _holds(self, candidate: bytes, path: bytes, entries: list[Entry]) -> bool:
        """Whether all that an earlier pull put under this name is still there, by kind, size and target."""
        pairs = ((self._local.get(candidate + e.path[len(path) :]), e) for e in entries)
        return all(
            fact is not None and (fact.kind, fact.size, fact.target) == (e.kind, e.size, e.target)
            for fact, e in pairs
        )

    # -- removals ------------------------------------------------------------------------------

    def drop_synced(self) -> None:
        """What was synced here and is not in the version goes if it is untouched."""
        for path, entry in self._base.items():
            fact = self._local.get(path)
            if fact is None or path in self._incoming or path in self._incoming_folders or self._is_settled(path):
                continue
            if entry.kind == EntryKind.REFERENCE:
                continue  # its content never came from here: whoever fetched it decides
            if matches(fact, entry):
                self._removals[path] = fact
            else:
                self._conflicts.append(ConflictedPath(path))
                self._kept.add(path)
                if fact.kind == EntryKind.DIRECTORY and self._strategy is not ConflictStrategy.REPLACE:
                    self._standing.add(path)

    def delete_others(self) -> None:
        """What was never synced goes too; with `replace` also what was, and was edited."""
        for path, fact in self._local.items():
            if path in self._incoming or path in self._incoming_folders or self._is_settled(path):
                continue
            if not self._takes(path, fact.kind):
                self._spared.add(path)
                continue
            if fact.kind == EntryKind.DIRECTORY:
                self._removals.setdefault(path, fact)
                self._kept.discard(path)
            elif fact.kind != OTHER and path not in self._removals and self._may_delete(path):
                self._removals[path] = fact
                self._kept.discard(path)
                self._deleted_count += 1

    def _may_delete(self, path: bytes) -> bool:
        return path not in self._base or self._strategy is ConflictStrategy.REPLACE

    def _is_settled(self, path: bytes) -> bool:
        """Whether it lies at or below something that goes, or stays, as a whole."""
        return _is_within(path, self._clearing) or _is_within(path, self._standing)

    # -- the result ------------------------------------------------------------------------------

    def plan(self) -> PullPlan:
        leaves = [Removal(p, f) for p, f in self._removals.items() if f.kind != EntryKind.DIRECTORY]
        return PullPlan(
            writes=tuple(self._writes),
            clears=tuple(self._clears),
            late_writes=tuple(self._late),
            removals=(*leaves, *self._folders_to_prune(leaves)),
            unchanged=tuple(self._unchanged),
            kept=tuple(sorted(self._kept)),
            conflicts=tuple(sorted(self._conflicts, key=lambda c: c.path)),
            references=tuple(e for e in self._incoming.values() if e.kind == EntryKind.REFERENCE),
            deleted_count=self._deleted_count,
            local_count=sum(f.kind in _LEAVES for f in self._local.values()),
        )

    def _folders_to_prune(self, leaves: list[Removal]) -> Iterator[Removal]:
        """Directories that may be empty once the leaves are gone, the deepest first."""
        folders = {p for p, f in self._removals.items() if f.kind == EntryKind.DIRECTORY}
        folders |= directories_of(r.path for r in leaves) | directories_of(folders)
        folders -= self._spared | directories_of(self._spared)
        folders -= self._incoming_folders | self._incoming.keys() | directories_of(w.path for w in self._writes)
        for folder in sorted(folders, key=lambda f: (-f.count(b"/"), f)):
            fact = self._local.get(folder)
            if fact is not None and fact.kind == EntryKind.DIRECTORY:
                yield Removal(folder, fact)


class _Sorted:
    """Paths in entry order, where all that is below a directory stands together."""

    def __init__(self, paths: Iterable[bytes]) -> None:
        self._unsorted: Iterable[bytes] | None = paths
        self._keys: list[bytes] = []

    def below(self, folder: bytes) -> list[bytes]:
        if self._unsorted is not None:
            self._keys = sorted(p.replace(b"/", b"\0") for p in self._unsorted)
            self._unsorted = None
        key = folder.replace(b"/", b"\0")
        start, end = bisect_left(self._keys, key + b"\0"), bisect_left(self._keys, key + b"\1")
        return [k.replace(b"\0", b"/") for k in self._keys[start:end]]


def _is_within(path: bytes, roots: set[bytes]) -> bool:
    if not roots:
        return False
    while path:
        if path in roots:
            return True
        path = path.rpartition(b"/")[0]
    return False
