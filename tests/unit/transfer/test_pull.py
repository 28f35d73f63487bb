"""Pull through an opened store: which version, which part of it, where to, and what the next push and pull know."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.errors import (
    DownloadConflict,
    InvalidName,
    NameNotFound,
    PathNotFound,
    VersionDeleted,
)
from artifactstore.store import ConflictStrategy, PullOptions, PullResult, PushOptions
from artifactstore.testing.stores import (
    SMALL_CUT,
    Directory,
    File,
    Link,
    Sparse,
    StoreWorld,
    Tree,
    edit_tree,
    make_tree,
    small_limits,
    tree_at,
)
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transfer.read import SourceReader

LARGE = seeded_bytes("large", 20_000)
TREE: Tree = {
    b"a": b"a",
    b"folder/large": LARGE,
    b"folder/deep/x": File(b"x", executable=True),
    b"folder.txt": b"not in the folder",
    b"link": Link(b"a"),
    b"none": Directory(),
    b"sparse": Sparse(50_000, ((20_000, b"x"),)),
    b"new\nline": b"odd",
    b"\xff": b"not UTF-8",
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StoreWorld]:
    with small_limits():
        world = StoreWorld(tmp_path, cut=SMALL_CUT)
        make_tree(tmp_path / "tree", TREE)
        with world.store(user="pusher") as store:
            store.push(tmp_path / "tree", "n", options=PushOptions(aliases=("prod",)))
        yield world


def pull(world: StoreWorld, reference: str, destination=None, *, user: str = "user", **options) -> PullResult:  # type: ignore[no-untyped-def]
    with world.store(user=user) as store:
        return store.pull(reference, destination, options=PullOptions(**options))


def push_again(world: StoreWorld, edits: Tree, **removed) -> None:  # type: ignore[no-untyped-def]
    edit_tree(world.folder / "tree", edits, **removed)
    with world.store(user="pusher") as store:
        store.push(world.folder / "tree", "n")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


class TestReferences:
    def test_each_kind_of_reference_brings_the_version_it_means(self, world: StoreWorld, tmp_path: Path) -> None:
        first = tree_at(tmp_path / "tree")
        push_again(world, {b"a": b"changed"})
        with world.store() as store:
            digest = store.show("n:v1").content_digest
        for number, (reference, text) in enumerate(
            [("n", "n:v2"), ("n:latest", "n:v2"), ("n:v1", "n:v1"), ("n:prod", "n:v1"), (f"n@{digest}", "n:v1")]
        ):
            result = pull(world, reference, tmp_path / f"out-{number}")
            assert result.version == text
            expected = first if text == "n:v1" else tree_at(tmp_path / "tree")
            assert tree_at(tmp_path / f"out-{number}") == expected

    @pytest.mark.parametrize(
        ("reference", "error"),
        [
            ("other", NameNotFound),
            ("n:v7", NameNotFound),
            ("n:stable", NameNotFound),
            (f"n@{'0' * 64}", NameNotFound),
            ("n:v1/nothing", PathNotFound),
            ("n:v1/a/below", PathNotFound),
            ("n:v1/fold", PathNotFound),
            ("n:v1/../a", InvalidName),
            ("n:v0", InvalidName),
        ],
    )
    def test_what_is_not_there_is_said_so_and_nothing_is_made(
        self, world: StoreWorld, out: Path, reference: str, error: type[Exception]
    ) -> None:
        if reference == "n:v0":
            error = NameNotFound  # a valid alias
        with pytest.raises(error):
            pull(world, reference, out)
        assert not out.exists()

    def test_deleted_version_is_said_to_be_deleted(self, world: StoreWorld, out: Path) -> None:
        with world.store() as store:
            store.remove("n:v1")
        for reference in ("n:v1", "n:prod", "n"):
            with pytest.raises((VersionDeleted, NameNotFound)):
                pull(world, reference, out)
        assert not out.exists()


class TestParts:
    def test_directory_of_a_version_becomes_the_destination(self, world: StoreWorld, out: Path) -> None:
        result = pull(world, "n:v1/folder", out)
        assert result.version == "n:v1/folder"
        assert result.files == 2
        assert tree_at(out) == {b"large": File(LARGE), b"deep/x": File(b"x", executable=True)}

    @pytest.mark.parametrize("path", ["a", "folder/large", "folder/deep/x", "link", "sparse", "new\nline", "\udcff"])
    def test_one_file_or_link_lands_under_its_own_name(self, world: StoreWorld, out: Path, path: str) -> None:
        pull(world, f"n:v1/{path}", out)
        name = os.fsencode(path).rpartition(b"/")[2]
        assert tree_at(out) == {name: tree_at(world.folder / "tree")[os.fsencode(path)]}

    def test_empty_directory_becomes_the_destination(self, world: StoreWorld, out: Path) -> None:
        pull(world, "n:v1/none", out)
        assert tree_at(out) == {}
        assert out.is_dir()

    def test_part_leaves_what_lies_beside_it_alone(self, world: StoreWorld, out: Path) -> None:
        make_tree(out, {b"mine": b"mine", b"a": b"also mine"})
        pull(world, "n:v1/folder/deep/x", out)
        assert tree_at(out) == {b"mine": File(b"mine"), b"a": File(b"also mine"), b"x": File(b"x", executable=True)}

    def test_part_and_whole_are_synced_apart(self, world: StoreWorld, out: Path) -> None:
        """A part pulled into a directory is no base of the whole there: nothing of the one goes with the other."""
        pull(world, "n:v1/folder", out)
        result = pull(world, "n:v1", out)
        assert not result.removed
        part = {b"large": File(LARGE), b"deep/x": File(b"x", executable=True)}
        assert tree_at(out) == {**tree_at(world.folder / "tree"), **part}


class TestDefaultDestination:
    @pytest.mark.parametrize(
        ("reference", "made"),
        [("n", "n"), ("n:v1", "n"), ("n:v1/folder", "folder"), ("n:v1/folder/deep", "deep"), ("n:v1/none", "none")],
    )
    def test_directory_is_called_like_the_last_part_of_the_reference(
        self, world: StoreWorld, tmp_path: Path, reference: str, made: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        result = pull(world, reference)
        assert result.destination == str(tmp_path / "here" / made)
        assert os.listdir(tmp_path / "here") == [made]

    def test_single_file_lands_in_the_working_directory(
        self, world: StoreWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        pull(world, "n:v1/folder/large")
        assert tree_at(tmp_path / "here") == {b"large": File(LARGE)}


class TestTwice:
    """What was pulled before is the base: the one conflict rule needs it."""

    def test_second_pull_of_the_same_version_changes_and_fetches_nothing(self, world: StoreWorld, out: Path) -> None:
        pull(world, "n", out)
        count = CountBackend(world.memory)
        with world.store(through=count) as store:
            result = store.pull("n", out)
        assert (result.written, result.removed, result.fetched_bytes) == ((), (), 0)
        assert result.reused_bytes > len(LARGE)
        assert "put" not in count.counts.requests

    def test_newer_version_comes_over_an_untouched_older_one(self, world: StoreWorld, out: Path) -> None:
        pull(world, "n", out)
        push_again(world, {b"a": b"changed", b"new": b"new"}, removed=[b"folder.txt", b"none"])
        result = pull(world, "n", out)
        assert sorted(result.written) == [b"a", b"new"]
        assert b"folder.txt" in result.removed
        assert tree_at(out) == tree_at(world.folder / "tree")

    def test_local_edits_that_conflict_with_nothing_stay(self, world: StoreWorld, out: Path) -> None:
        pull(world, "n", out)
        edit_tree(out, {b"a": b"mine", b"own": b"own"})
        push_again(world, {b"new": b"new"})
        result = pull(world, "n", out)
        assert result.kept == (b"a",)
        assert (out / "a").read_bytes() == b"mine"
        assert (out / "own").read_bytes() == b"own"
        assert (out / "new").read_bytes() == b"new"

    @pytest.mark.parametrize("strategy", ConflictStrategy)
    def test_conflicts_go_by_the_strategy(self, world: StoreWorld, out: Path, strategy: ConflictStrategy) -> None:
        pull(world, "n", out)
        edit_tree(out, {b"a": b"mine"})
        push_again(world, {b"a": b"theirs", b"new": b"new"})
        if strategy is ConflictStrategy.ERROR:
            with pytest.raises(DownloadConflict) as caught:
                pull(world, "n", out, strategy=strategy)
            assert caught.value.paths == (b"a",)
            assert not (out / "new").exists()
            return
        result = pull(world, "n", out, strategy=strategy)
        assert (out / "new").read_bytes() == b"new"
        if strategy is ConflictStrategy.REPLACE:
            assert (out / "a").read_bytes() == b"theirs"
            return
        assert (out / "a").read_bytes() == b"mine"
        [conflict] = result.conflicts
        assert conflict.path == b"a"
        if strategy is ConflictStrategy.NEW:
            assert (Path(os.fsdecode(os.fsencode(out) + b"/" + conflict.beside))).read_bytes() == b"theirs"

    def test_machine_that_knows_nothing_takes_every_difference_for_a_conflict(
        self, world: StoreWorld, out: Path
    ) -> None:
        pull(world, "n", out)
        push_again(world, {b"a": b"theirs"})
        with pytest.raises(DownloadConflict):
            pull(world, "n", out, user="somebody else")
        assert pull(world, "n", out).written == (b"a",)

    def test_directory_that_was_pushed_is_a_base_too(self, world: StoreWorld) -> None:
        """The next pull into the pushed directory knows what it was."""
        with world.store(user="other") as store:
            store.pull("n", world.folder / "elsewhere")
            edit_tree(world.folder / "elsewhere", {b"a": b"from elsewhere"})
            store.push(world.folder / "elsewhere", "n")
        result = pull(world, "n", world.folder / "tree", user="pusher")
        assert result.written == (b"a",)
        assert (world.folder / "tree" / "a").read_bytes() == b"from elsewhere"

    def test_dry_run_writes_and_remembers_nothing(self, world: StoreWorld, out: Path) -> None:
        result = pull(world, "n", out, dry_run=True)
        assert result.dry_run
        assert len(result.written) == len(TREE)
        assert not out.exists()
        pull(world, "n", out)
        push_again(world, {b"a": b"changed"}, removed=[b"folder.txt"])
        planned = pull(world, "n", out, dry_run=True)
        assert (planned.written, planned.removed) == ((b"a",), (b"folder.txt",))
        done = pull(world, "n", out)
        assert (done.written, done.removed) == (planned.written, planned.removed)
        assert done.content_bytes == planned.content_bytes == len(b"changed")


class TestAfterwards:
    def test_pulled_directory_pushed_back_is_unchanged_and_not_read(
        self, world: StoreWorld, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pull(world, "n", out)
        opened = []
        real = SourceReader._opened
        monkeypatch.setattr(
            SourceReader, "_opened", lambda self, found: opened.append(found.path) or real(self, found)
        )
        with world.store() as store:
            result = store.push(out, "n")
        assert (result.action, result.sent_bytes) == ("unchanged", 0)
        assert opened == []

    def test_pulled_edited_and_pushed_sends_only_the_edit(self, world: StoreWorld, out: Path) -> None:
        pull(world, "n", out)
        edit_tree(out, {b"a": b"edited"})
        with world.store() as store:
            result = store.push(out, "n")
        assert (result.action, result.new_bytes) == ("committed", len(b"edited"))
        assert world.stored("n") == tree_at(out)

    def test_status_of_a_pulled_directory_is_clean(self, world: StoreWorld, out: Path) -> None:
        pull(world, "n", out)
        with world.store() as store:
            report = store.status(out)
            assert report.version == "n:v1"
            assert not list(report.changes)

    def test_executable_bit_that_was_changed_here_is_put_right_by_replace(self, world: StoreWorld, out: Path) -> None:
        pull(world, "n", out)
        (out / "a").chmod(0o755)
        (out / "folder" / "deep" / "x").chmod(0o644)
        pull(world, "n", out, strategy=ConflictStrategy.REPLACE)
        assert tree_at(out) == tree_at(world.folder / "tree")
