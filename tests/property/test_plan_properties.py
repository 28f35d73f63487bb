"""Plans of pulls, carried out on a model of a file system, for small trees of every shape."""

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.errors import DownloadConflict
from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.manifest.paths import check_entries, path_sort_key
from artifactstore.transfer.conflict import LocalFact, matches, same_entry
from artifactstore.transfer.plan import ConflictStrategy, PullOptions, PullPlan, Removal, Write, check_plan
from artifactstore.transfer.planner import directories_of, plan_pull

State = dict[bytes, Entry]

PATHS = [b"a", b"b", b"a/x", b"a/y", b"a/x/1", b"a/x/2", b"b/x", b"c/d/e", b"c/d", b"c.d"]
THINGS = [
    *((EntryKind.FILE, number, executable) for number in (1, 2, 3) for executable in (False, True)),
    (EntryKind.LINK, 1, False),
    (EntryKind.LINK, 2, False),
    (EntryKind.DIRECTORY, 0, False),
]


def entry(path: bytes, kind: EntryKind, number: int, executable: bool) -> Entry:
    if kind == EntryKind.FILE:
        return Entry(path, kind, number, executable, bytes([number]) * 32, bytes([number]) * 16)
    if kind == EntryKind.LINK:
        return Entry(path, kind, target=b"to%d" % number)
    return Entry(path, kind)


def fact_of(e: Entry) -> LocalFact:
    return LocalFact(kind=e.kind, size=e.size, executable=e.executable, target=e.target, digest=e.digest)


@st.composite
def trees(draw: st.DrawFn) -> State:
    """A directory state: paths at which something is, none of them below another."""
    tree: State = {}
    for path in draw(st.permutations(PATHS)):
        clashes = any(p.startswith(path + b"/") or path.startswith(p + b"/") for p in tree)
        if not clashes and draw(st.booleans()):
            tree[path] = entry(path, *draw(st.sampled_from(THINGS)))
    return tree


@st.composite
def edited(draw: st.DrawFn, tree: State) -> State:
    """The same state after some edits: what a user or a later version does to it."""
    other = draw(trees())
    kept = {p: e for p, e in tree.items() if draw(st.integers(0, 3))}
    for path, e in other.items():
        clashes = any(p.startswith(path + b"/") or path.startswith(p + b"/") for p in kept)
        if not clashes and draw(st.booleans()):
            kept[path] = e
    return kept


class Case(NamedTuple):
    base: State
    local: State
    incoming: State


@st.composite
def cases(draw: st.DrawFn) -> Case:
    base = draw(trees())
    return Case(base, draw(edited(base)), draw(edited(base)))


class Disk:
    """A model of a file system that refuses what a real one refuses."""

    def __init__(self, tree: State) -> None:
        self.leaves = {p: e for p, e in tree.items() if e.kind != EntryKind.DIRECTORY}
        self.folders = {p for p, e in tree.items() if e.kind == EntryKind.DIRECTORY} | directories_of(tree)

    def facts(self) -> dict[bytes, LocalFact]:
        facts = {p: fact_of(e) for p, e in self.leaves.items()}
        return facts | {p: LocalFact(kind=EntryKind.DIRECTORY) for p in self.folders}

    def write(self, write: Write) -> None:
        above = directories_of([write.path])
        assert not above & self.leaves.keys(), f"{write.path!r} would go through a file"
        self.folders |= above
        if write.entry.kind == EntryKind.DIRECTORY:
            assert write.path not in self.leaves
            self.folders.add(write.path)
            return
        assert write.path not in self.folders, f"{write.path!r} is a directory"
        here = self.leaves.get(write.path)
        assert (fact_of(here) if here else None) == write.replaces
        self.leaves[write.path] = write.entry

    def remove(self, removal: Removal, *, must_go: bool) -> None:
        if removal.fact.kind != EntryKind.DIRECTORY:
            assert fact_of(self.leaves.pop(removal.path)) == removal.fact
            return
        assert removal.path in self.folders
        below = [p for p in (*self.leaves, *self.folders) if p.startswith(removal.path + b"/")]
        assert not (below and must_go)
        if not below:
            self.folders.discard(removal.path)

    def carry_out(self, plan: PullPlan) -> None:
        for write in plan.writes:
            self.write(write)
        for removal in plan.clears:
            self.remove(removal, must_go=True)
        for write in plan.late_writes:
            self.write(write)
        for removal in plan.removals:
            self.remove(removal, must_go=False)

    def holds(self, e: Entry, path: bytes | None = None) -> bool:
        path = e.path if path is None else path
        if e.kind == EntryKind.DIRECTORY:
            return path in self.folders
        here = self.leaves.get(path)
        return here is not None and matches(fact_of(here), e)


def pulled(
    case: Case, strategy: ConflictStrategy, *, delete: bool = False, base: State | None = None
) -> tuple[PullPlan, Disk]:
    disk = Disk(case.local)
    incoming = sorted(case.incoming.values(), key=lambda e: path_sort_key(e.path))
    check_entries(incoming)
    plan = plan_pull(
        incoming, local=disk.facts(), base=case.base if base is None else base, strategy=strategy, delete=delete
    )
    disk.carry_out(plan)
    return plan, disk


def local_edits(case: Case) -> State:
    """Files and links here that are not as they were last synced."""
    return {
        p: e
        for p, e in case.local.items()
        if e.kind != EntryKind.DIRECTORY and not same_entry(case.base.get(p), e)
    }


strategies = st.sampled_from(ConflictStrategy)
relaxed = settings(deadline=None)


@relaxed
@given(trees())
def test_a_fresh_destination_becomes_what_comes_in(tree: State) -> None:
    plan, disk = pulled(Case({}, {}, tree), ConflictStrategy.ERROR)
    assert not plan.conflicts and not plan.kept
    assert disk.facts() == Disk(tree).facts()


@relaxed
@given(cases(), strategies, st.booleans())
def test_an_untouched_destination_becomes_what_comes_in(case: Case, strategy: ConflictStrategy, delete: bool) -> None:
    case = case._replace(local=case.base)
    plan, disk = pulled(case, strategy, delete=delete)
    assert not plan.conflicts and not plan.kept
    assert disk.facts() == Disk(case.incoming).facts()


@relaxed
@given(cases(), st.sampled_from([ConflictStrategy.SKIP, ConflictStrategy.NEW, ConflictStrategy.ERROR]))
def test_only_replace_changes_a_local_edit(case: Case, strategy: ConflictStrategy) -> None:
    _, disk = pulled(case, strategy)
    for path, e in local_edits(case).items():
        assert disk.holds(e, path)


@relaxed
@given(cases())
def test_error_with_any_conflict_writes_nothing_and_lists_them_all(case: Case) -> None:
    plan, _ = pulled(case, ConflictStrategy.ERROR)
    options = PullOptions(strategy=ConflictStrategy.ERROR)
    if plan.conflicts:
        with pytest.raises(DownloadConflict) as caught:
            check_plan(plan, options)
        assert caught.value.paths == tuple(c.path for c in plan.conflicts)
    else:
        check_plan(plan, options)


@relaxed
@given(cases(), st.booleans())
def test_replace_ends_with_all_that_comes_in(case: Case, delete: bool) -> None:
    _, disk = pulled(case, ConflictStrategy.REPLACE, delete=delete)
    assert all(disk.holds(e) for e in case.incoming.values())


@relaxed
@given(cases())
def test_replace_with_delete_ends_with_exactly_what_comes_in(case: Case) -> None:
    plan, disk = pulled(case, ConflictStrategy.REPLACE, delete=True)
    assert disk.facts() == Disk(case.incoming).facts()
    assert not plan.kept


@relaxed
@given(cases())
def test_new_lands_every_conflicting_entry_somewhere(case: Case) -> None:
    plan, disk = pulled(case, ConflictStrategy.NEW)
    for conflict in plan.conflicts:
        for path, e in case.incoming.items():
            if path == conflict.path or path.startswith(conflict.path + b"/"):
                landed = (conflict.beside or conflict.path) + path[len(conflict.path) :]
                assert disk.holds(e, landed)


@relaxed
@given(cases(), st.sampled_from([ConflictStrategy.SKIP, ConflictStrategy.NEW, ConflictStrategy.REPLACE]))
def test_pulling_the_same_version_again_changes_nothing(case: Case, strategy: ConflictStrategy) -> None:
    _, disk = pulled(case, strategy)
    incoming = sorted(case.incoming.values(), key=lambda e: path_sort_key(e.path))
    again = plan_pull(incoming, local=disk.facts(), base=case.incoming, strategy=ConflictStrategy.ERROR, delete=False)
    assert again.is_empty and not again.conflicts


@relaxed
@given(cases(), st.sampled_from([ConflictStrategy.SKIP, ConflictStrategy.NEW]))
def test_without_a_base_nothing_that_is_here_is_lost(case: Case, strategy: ConflictStrategy) -> None:
    _, disk = pulled(case, strategy, base={})
    assert all(disk.holds(e) for e in case.local.values())


@relaxed
@given(cases(), strategies)
def test_what_was_never_synced_goes_only_with_delete(case: Case, strategy: ConflictStrategy) -> None:
    plan, disk = pulled(case, strategy)
    assert plan.deleted_count == 0
    in_the_way = directories_of(case.incoming) | case.incoming.keys()
    for path, e in case.local.items():
        free = not any(p == path or path.startswith(p + b"/") for p in in_the_way)
        if path not in case.base and free and path not in directories_of(case.base):
            assert disk.holds(e, path)
