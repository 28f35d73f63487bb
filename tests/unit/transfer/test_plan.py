"""The one conflict rule and its strategies, case by case (docs/download.md has the same table)."""

from pathlib import Path

import pytest

from artifactstore.errors import DestinationExists, DownloadConflict
from artifactstore.manifest.model import Entry, EntryKind, ReferenceTarget
from artifactstore.transfer.conflict import OTHER, LocalFact, Verdict, judge, name_beside
from artifactstore.transfer.plan import ConflictedPath, ConflictStrategy, PullOptions, PullPlan, check_plan
from artifactstore.transfer.planner import paths_to_read, plan_pull

ERROR, SKIP, NEW, REPLACE = ConflictStrategy
P = b"model.bin"
GUIDE = Path(__file__).parents[3] / "docs" / "download.md"


def file(path: bytes, number: int, *, executable: bool = False) -> Entry:
    return Entry(path, EntryKind.FILE, number, executable, bytes([number]) * 32, bytes([number]) * 16)


def link(path: bytes, target: bytes = b"to") -> Entry:
    return Entry(path, EntryKind.LINK, target=target)


def folder(path: bytes) -> Entry:
    return Entry(path, EntryKind.DIRECTORY)


def here(entry: Entry, *, inode: int = 7) -> LocalFact:
    return LocalFact(
        kind=entry.kind,
        size=entry.size,
        executable=entry.executable,
        target=entry.target,
        digest=entry.digest,
        inode=inode,
    )


def plan(
    *incoming: Entry,
    local: tuple[Entry, ...] = (),
    base: tuple[Entry, ...] | None = None,
    strategy: ConflictStrategy = ERROR,
    delete: bool = False,
) -> PullPlan:
    facts = {e.path: here(e) for e in local}
    for path in [e.path for e in local]:
        while b"/" in path:
            path = path.rpartition(b"/")[0]
            facts.setdefault(path, LocalFact(kind=EntryKind.DIRECTORY))
    bases = None if base is None else {e.path: e for e in base}
    return plan_pull(incoming, local=facts, base=bases, strategy=strategy, delete=delete)


def what_happens(result: PullPlan) -> dict[str, list[bytes]]:
    return {
        name: rows
        for name, rows in {
            "write": [w.path for w in (*result.writes, *result.late_writes)],
            "remove": [r.path for r in (*result.clears, *result.removals)],
            "keep": list(result.kept),
            "conflict": [c.path for c in result.conflicts],
        }.items()
        if rows
    }


# base, local, incoming: 0 is absent. What the rule says, and what skip, new, replace do about it.
RULE = [
    ((0, 0, 1), Verdict.INCOMING, "write", "write", "write"),
    ((0, 1, 0), Verdict.LOCAL, "", "", ""),
    ((0, 1, 1), Verdict.SAME, "", "", ""),
    ((0, 1, 2), Verdict.CONFLICT, "keep", "beside", "write"),
    ((1, 0, 0), Verdict.SAME, "", "", ""),
    ((1, 0, 1), Verdict.LOCAL, "keep", "keep", "write"),
    ((1, 0, 2), Verdict.CONFLICT, "keep", "write", "write"),
    ((1, 1, 0), Verdict.INCOMING, "remove", "remove", "remove"),
    ((1, 1, 1), Verdict.SAME, "", "", ""),
    ((1, 1, 2), Verdict.INCOMING, "write", "write", "write"),
    ((1, 2, 0), Verdict.CONFLICT, "keep", "keep", "keep"),
    ((1, 2, 1), Verdict.LOCAL, "keep", "keep", "write"),
    ((1, 2, 2), Verdict.SAME, "", "", ""),
    ((1, 2, 3), Verdict.CONFLICT, "keep", "beside", "write"),
]
IDS = ["base {}, local {}, incoming {}".format(*case[0]) for case in RULE]


@pytest.mark.parametrize(("states", "verdict", "skip", "new", "replace"), RULE, ids=IDS)
def test_the_rule_and_its_strategies(
    states: tuple[int, int, int], verdict: Verdict, skip: str, new: str, replace: str
) -> None:
    base, local, incoming = (file(P, number) if number else None for number in states)
    assert judge(base=base, local=here(local) if local else None, incoming=incoming) is verdict
    for strategy, outcome in ((SKIP, skip), (NEW, new), (REPLACE, replace)):
        result = plan(
            *([incoming] if incoming else []),
            local=(local,) if local else (),
            base=(base,) if base else (),
            strategy=strategy,
        )
        happened = what_happens(result)
        assert (happened.pop("conflict", []) == [P]) == (verdict is Verdict.CONFLICT)
        if outcome == "beside":
            [conflict] = result.conflicts
            assert happened == {"write": [conflict.beside], "keep": [P]} and conflict.beside != P
        else:
            assert happened == ({outcome: [P]} if outcome else {})


def test_the_table_in_the_guide_is_this_table() -> None:
    words = {"stays": ("", "keep"), "written": ("write",), "removed": ("remove",), "lands beside": ("beside",)}
    verdicts = {
        "only the version changed it": Verdict.INCOMING,
        "only you changed it": Verdict.LOCAL,
        "the same": Verdict.SAME,
        "**conflict**": Verdict.CONFLICT,
    }
    lines = [line.strip("|\n ").split(" | ") for line in GUIDE.read_text(encoding="utf-8").splitlines()]
    rows = [line for line in lines if len(line) == 7 and line[3] in verdicts]
    assert len(rows) == len(RULE)
    for row, (states, verdict, *outcomes) in zip(rows, RULE, strict=True):
        assert tuple(0 if cell == "–" else int(cell) for cell in row[:3]) == states
        assert verdicts[row[3]] is verdict
        assert all(outcome in words[cell] for cell, outcome in zip(row[4:], outcomes, strict=True)), row


def test_an_unknown_base_makes_every_difference_a_conflict() -> None:
    result = plan(file(b"a", 1), file(b"b", 2), file(b"c", 3), local=(file(b"a", 1), file(b"b", 9), file(b"d", 4)))
    assert what_happens(result) == {"write": [b"c"], "keep": [b"b"], "conflict": [b"b"]}
    assert [e.path for e in result.unchanged] == [b"a"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (file(P, 1), file(P, 1, executable=True)),
        (link(P, b"x"), link(P, b"y")),
        (file(P, 1), link(P)),
        (link(P), folder(P)),
    ],
    ids=["executable bit", "target", "file and link", "link and directory"],
)
def test_every_attribute_of_the_declared_set_counts(one: Entry, other: Entry) -> None:
    assert judge(base=one, local=here(one), incoming=other) is Verdict.INCOMING
    assert judge(base=one, local=here(other), incoming=one) is Verdict.LOCAL
    assert judge(base=None, local=here(one), incoming=other) is Verdict.CONFLICT


def test_a_file_whose_content_is_not_known_differs_from_everything() -> None:
    unknown = LocalFact(kind=EntryKind.FILE, size=1)
    assert judge(base=file(P, 1), local=unknown, incoming=file(P, 1)) is not Verdict.SAME


def test_only_files_whose_size_leaves_it_open_are_read() -> None:
    local = {
        b"same size": LocalFact(kind=EntryKind.FILE, size=1),
        b"other size": LocalFact(kind=EntryKind.FILE, size=5),
        b"size of base": LocalFact(kind=EntryKind.FILE, size=3),
        b"known": here(file(b"known", 1)),
        b"not in it": LocalFact(kind=EntryKind.FILE, size=1),
    }
    incoming = [file(b"same size", 1), file(b"other size", 2), file(b"size of base", 2), file(b"known", 1)]
    assert paths_to_read(incoming, local=local, base={b"size of base": file(b"size of base", 3)}) == [
        b"same size",
        b"size of base",
    ]


class TestKinds:
    """Where a directory meets a file or a link of the same name."""

    def test_an_untouched_file_makes_way_for_a_directory(self) -> None:
        result = plan(file(b"a/x", 2), file(b"a/y", 3), local=(file(b"a", 1),), base=(file(b"a", 1),))
        assert [r.path for r in result.clears] == [b"a"]
        assert [w.path for w in result.late_writes] == [b"a/x", b"a/y"]
        assert not result.writes and not result.conflicts

    def test_an_untouched_directory_makes_way_for_a_file_contents_first(self) -> None:
        local = (file(b"a/x/1", 1), file(b"a/y", 2))
        result = plan(file(b"a", 3), local=local, base=local)
        assert [r.path for r in result.clears] == [b"a/y", b"a/x/1", b"a/x", b"a"]
        assert [w.path for w in result.late_writes] == [b"a"]

    def test_one_edited_file_keeps_its_directory(self) -> None:
        base = (file(b"a/x", 1), file(b"a/y", 2))
        result = plan(file(b"a", 3), local=(file(b"a/x", 9), file(b"a/y", 2)), base=base, strategy=SKIP)
        assert what_happens(result) == {"keep": [b"a"], "conflict": [b"a"]}

    def test_a_file_never_synced_keeps_its_directory(self) -> None:
        result = plan(file(b"a", 3), local=(file(b"a/x", 1), file(b"a/mine", 5)), base=(file(b"a/x", 1),))
        assert [c.path for c in result.conflicts] == [b"a"]
        assert result.is_empty

    def test_a_directory_comes_in_beside_an_edited_file(self) -> None:
        result = plan(
            file(b"a/x", 2), file(b"a/y", 3), local=(file(b"a", 9),), base=(file(b"a", 1),), strategy=NEW
        )
        [conflict] = result.conflicts
        assert conflict.path == b"a"
        assert [w.path for w in result.writes] == [conflict.beside + b"/x", conflict.beside + b"/y"]
        assert result.kept == (b"a",)

    def test_a_directory_that_became_a_file_here_stays_one_where_the_version_did_not_change(self) -> None:
        base = (file(b"a/x", 1), file(b"a/y", 2))
        result = plan(*base, local=(file(b"a", 9),), base=base)
        assert what_happens(result) == {"keep": [b"a", b"a/x", b"a/y"]}

    def test_a_link_is_never_a_directory_whatever_it_points_to(self) -> None:
        result = plan(file(b"a/x", 2), local=(link(b"a", b"elsewhere"),))
        assert [c.path for c in result.conflicts] == [b"a"]
        result = plan(file(b"a/x", 2), local=(link(b"a", b"elsewhere"),), strategy=REPLACE)
        assert [r.path for r in result.clears] == [b"a"]
        assert [w.path for w in result.late_writes] == [b"a/x"]

    def test_an_empty_directory_is_there_when_it_has_something_in_it(self) -> None:
        result = plan(folder(b"a"), local=(file(b"a/mine", 1),))
        assert result.is_empty and not result.conflicts

    def test_something_that_is_no_file_is_a_conflict(self) -> None:
        facts = {P: LocalFact(kind=OTHER)}
        result = plan_pull([file(P, 1)], local=facts, base={P: file(P, 2)}, strategy=SKIP, delete=True)
        assert what_happens(result) == {"keep": [P], "conflict": [P]}


class TestRemovals:
    """What the version lacks."""

    def test_what_was_synced_and_is_untouched_goes_with_its_directories(self) -> None:
        local = (file(b"a/b/x", 1), file(b"a/y", 2), file(b"z", 3))
        result = plan(file(b"z", 3), local=local, base=local)
        assert [r.path for r in result.removals] == [b"a/b/x", b"a/y", b"a/b", b"a"]
        assert result.deleted_count == 0

    def test_a_directory_that_the_version_still_has_stays(self) -> None:
        local = (file(b"a/x", 1), file(b"a/y", 2))
        result = plan(file(b"a/y", 2), local=local, base=local)
        assert [r.path for r in result.removals] == [b"a/x"]

    def test_what_was_edited_here_is_a_conflict_and_stays(self) -> None:
        for strategy in (SKIP, NEW, REPLACE):
            result = plan(local=(file(P, 9),), base=(file(P, 1),), strategy=strategy)
            assert what_happens(result) == {"keep": [P], "conflict": [P]}

    def test_delete_takes_what_was_never_synced_too(self) -> None:
        local = (file(b"a", 1), file(b"mine/x", 2))
        assert plan(file(b"a", 1), local=local).is_empty
        result = plan(file(b"a", 1), local=local, delete=True)
        assert [r.path for r in result.removals] == [b"mine/x", b"mine"]
        assert result.deleted_count == 1 and result.local_count == 2

    def test_delete_takes_an_edited_file_only_with_replace(self) -> None:
        assert plan(local=(file(P, 9),), base=(file(P, 1),), strategy=SKIP, delete=True).is_empty
        result = plan(local=(file(P, 9),), base=(file(P, 1),), strategy=REPLACE, delete=True)
        assert what_happens(result) == {"remove": [P], "conflict": [P]}

    def test_delete_never_takes_pipes_sockets_and_devices(self) -> None:
        result = plan_pull([], local={b"fifo": LocalFact(kind=OTHER)}, base=None, strategy=REPLACE, delete=True)
        assert result.is_empty

    def test_delete_leaves_what_lies_in_a_directory_that_stands(self) -> None:
        result = plan(file(b"a", 3), local=(file(b"a/mine", 1),), strategy=SKIP, delete=True)
        assert result.is_empty and result.kept == (b"a",)

    def test_deleting_more_than_half_wants_confirmation(self) -> None:  # fault 72
        local = tuple(file(b"%d" % n, n + 1) for n in range(4))
        kept_two = plan(*local[:2], local=local, delete=True)
        check_plan(kept_two, PullOptions(delete=True))
        for incoming in ((), local[:1]):
            result = plan(*incoming, local=local, delete=True)
            with pytest.raises(DestinationExists, match="of the 4 files"):
                check_plan(result, PullOptions(delete=True))
            check_plan(result, PullOptions(delete=True, confirm_delete=True))


class TestBeside:
    """Names for strategy `new`."""

    def free(self, _: bytes) -> bool:
        return False

    def test_the_name_keeps_its_directory_and_its_extension(self) -> None:
        name = name_beside(b"d.x/model.bin", [file(b"d.x/model.bin", 1)], taken=self.free)
        assert name.startswith(b"d.x/model.incoming-") and name.endswith(b".bin")
        assert name_beside(b".bashrc", [file(b".bashrc", 1)], taken=self.free).startswith(b".bashrc.incoming-")

    def test_the_name_depends_on_what_comes_in_and_on_nothing_else(self) -> None:
        one, same, other = (name_beside(P, [file(P, n)], taken=self.free) for n in (1, 1, 2))
        assert one == same != other

    def test_a_name_that_is_taken_counts_on(self) -> None:
        first = name_beside(P, [file(P, 1)], taken=self.free)
        second = name_beside(P, [file(P, 1)], taken=lambda name: name == first)
        assert second == first.replace(b".bin", b"-2.bin")

    @pytest.mark.parametrize("name", [b"x" * 255, b"x" * 245 + b".safetens"], ids=["no extension", "extension"])
    def test_no_name_is_longer_than_a_file_system_takes(self, name: bytes) -> None:  # fault 59
        assert len(name_beside(name, [file(name, 1)], taken=lambda n: b"-2" not in n)) == 255

    def test_what_an_earlier_pull_put_beside_is_not_put_there_again(self) -> None:
        first = plan(file(P, 2), local=(file(P, 9),), strategy=NEW)
        [conflict] = first.conflicts
        again = plan(file(P, 2), local=(file(P, 9), file(conflict.beside, 2)), strategy=NEW, delete=True)
        assert again.is_empty and again.conflicts == (conflict,)

    def test_a_name_that_the_version_or_the_user_has_is_not_taken(self) -> None:
        [conflict] = plan(file(P, 2), local=(file(P, 9),), strategy=NEW).conflicts
        mine = plan(file(P, 2), local=(file(P, 9), file(conflict.beside, 77)), strategy=NEW)
        assert [w.path for w in mine.writes] == [conflict.beside.replace(b".bin", b"-2.bin")]
        theirs = plan(file(P, 2), file(conflict.beside, 5), local=(file(P, 9),), strategy=NEW)
        assert {w.path for w in theirs.writes} == {conflict.beside, conflict.beside.replace(b".bin", b"-2.bin")}


def test_references_are_left_out_and_listed() -> None:
    reference = Entry(b"r", EntryKind.REFERENCE, reference=ReferenceTarget("s3://bucket/key"))
    for local in ((), (file(b"x", 1),)):
        result = plan(reference, file(b"x", 1), local=local)
        assert result.references == (reference,)
        assert b"r" not in [w.path for w in result.writes]
    assert plan(reference, local=(file(b"r", 1),), delete=True).is_empty


def test_conflicts_are_refused_by_error_and_by_nothing_else() -> None:
    result = plan(file(P, 2), local=(file(P, 9),))
    with pytest.raises(DownloadConflict) as caught:
        check_plan(result, PullOptions())
    assert caught.value.paths == (P,) and "model.bin" in str(caught.value)
    for strategy in (SKIP, NEW, REPLACE):
        check_plan(result, PullOptions(strategy=strategy))
    assert result.conflicts == (ConflictedPath(P),)
