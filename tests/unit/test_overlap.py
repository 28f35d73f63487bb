"""A local store, what is pushed to it and where it is pulled to, lying in one another."""

import os
from pathlib import Path

import pytest

from artifactstore.errors import ConfigurationError, InvalidName, SourceNotFound
from artifactstore.manifest.diff import ChangeKind
from artifactstore.store import ConflictStrategy, PullOptions, RemoveOptions, Store, open_store
from artifactstore.testing.stores import make_tree, tree_at

FILES = {b"a": b"a", b"b/c": b"content"}


@pytest.fixture(params=["store", "deep/er/store", "odd !*[x]? #st\\ore ", "b\udcff"])
def inside(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    make_tree(tmp_path / "tree", FILES)
    return tmp_path / "tree"


def opened(path: Path, tmp_path: Path) -> Store:
    return open_store(path, state_path=tmp_path / "state")


class TestStoreInsideTheTree:
    def test_it_is_left_out_and_said_so(self, tree: Path, tmp_path: Path, inside: str) -> None:
        with opened(tree / inside, tmp_path) as store:
            done = store.push(tree, "n")
            assert [os.fsdecode(notice.path) for notice in done.notices] == [inside]
            assert [entry.path for entry in store.files("n") if entry.size] == [b"a", b"b/c"]
            assert store.push(tree, "n").action == "unchanged"

    def test_it_is_left_out_of_several_sources(self, tree: Path, tmp_path: Path, inside: str) -> None:
        make_tree(tmp_path / "other", {b"x": b"x"})
        with opened(tree / inside, tmp_path) as store:
            done = store.push([tree, tmp_path / "other"], "n")
            assert [os.fsdecode(notice.path) for notice in done.notices] == [f"tree/{inside}"]
            assert {entry.path for entry in store.files("n") if entry.size} == {b"tree/a", b"tree/b/c", b"other/x"}

    def test_a_path_that_only_looks_like_it_is_pushed(self, tree: Path, tmp_path: Path) -> None:
        make_tree(tmp_path / "tree" / "b" / "store", {b"x": b"x"})
        make_tree(tmp_path / "tree" / "store-2", {b"x": b"x"})
        with opened(tree / "store", tmp_path) as store:
            store.push(tree, "n")
            assert {entry.path for entry in store.files("n")} == {b"a", b"b/c", b"b/store/x", b"store-2/x"}

    def test_it_is_found_through_links(self, tree: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tree)
        with opened(tmp_path / "link" / "store", tmp_path) as store:
            assert store.push(tree, "n").notices
            assert store.push(tmp_path / "link", "n").action == "unchanged"

    def test_it_is_no_difference(self, tree: Path, tmp_path: Path) -> None:
        with opened(tree / "store", tmp_path) as store:
            store.push(tree, "n")
            assert not list(store.diff("n", tree))
            assert not list(store.status(tree).changes)
            (tree / "new").write_bytes(b"new")
            assert [(c.kind, c.path) for c in store.status(tree).changes] == [(ChangeKind.ADDED, b"new")]

    def test_delete_does_not_reach_it(self, tree: Path, tmp_path: Path) -> None:
        with opened(tree / "store", tmp_path) as store:
            store.push(tree, "n")
            before = tree_at(tree / "store")
            for strategy in ConflictStrategy:
                with pytest.raises(ConfigurationError, match="--delete"):
                    store.pull("n", tree, options=PullOptions(delete=True, confirm_delete=True, strategy=strategy))
            store.pull("n", tree, options=PullOptions(strategy=ConflictStrategy.REPLACE))
            assert tree_at(tree / "store") == before


class TestTheStoreItself:
    @pytest.mark.parametrize("where", ["", "packs", "sub/dir"])
    def test_nothing_is_pulled_into_it(self, tree: Path, tmp_path: Path, where: str) -> None:
        with opened(tmp_path / "store", tmp_path) as store:
            store.push(tree, "n")
            before = tree_at(tmp_path / "store")
            with pytest.raises(ConfigurationError, match="in the store"):
                store.pull("n", tmp_path / "store" / where)
            assert tree_at(tmp_path / "store") == before

    @pytest.mark.parametrize("reference", ["n", "n:v1/b", "n:v1/a"])
    def test_nor_where_the_destination_is_chosen(
        self, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str
    ) -> None:
        with opened(tmp_path / "store", tmp_path) as store:
            store.push(tree, "n")
            monkeypatch.chdir(tmp_path / "store" / "packs")
            with pytest.raises(ConfigurationError, match="in the store"):
                store.pull(reference)

    @pytest.mark.parametrize("what", ["", "packs"])
    def test_it_is_not_pushed_to_itself_but_to_another(self, tree: Path, tmp_path: Path, what: str) -> None:
        with opened(tmp_path / "store", tmp_path) as store:
            store.push(tree, "n")
            with pytest.raises(ConfigurationError, match="belongs to the store"):
                store.push(tmp_path / "store" / what, "backup")
        with opened(tmp_path / "second", tmp_path) as second:
            assert second.push(tmp_path / "store" / what, "backup").action == "committed"


def test_a_source_that_is_not_there_makes_no_store(tmp_path: Path) -> None:
    with opened(tmp_path / "store", tmp_path) as store, pytest.raises(SourceNotFound):
        store.push(tmp_path / "nothing", "n")
    assert not (tmp_path / "store").exists()


def test_status_of_a_directory_that_is_not_there_says_so(tree: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "store", tmp_path) as store:
        store.push(tree, "n")
        with pytest.raises(SourceNotFound):
            store.status(tmp_path / "nothing")


class TestWholeVersions:
    """What can't be done to a part of a version is not done to all of it instead."""

    @pytest.mark.parametrize("reference", ["n:v1/a", "n:latest/b/c", "n:prod/no-such-path"])
    def test_a_path_inside_is_refused(self, tree: Path, tmp_path: Path, reference: str) -> None:
        with opened(tmp_path / "store", tmp_path) as store:
            store.push(tree, "n")
            store.set_alias("n:v1", "prod")
            for call in (
                lambda: store.remove(reference),
                lambda: store.remove(reference, options=RemoveOptions(all_versions=True)),
                lambda: store.set_alias(reference, "other"),
                lambda: store.show(reference),
                lambda: store.usage(reference),
            ):
                with pytest.raises(InvalidName, match="whole version"):
                    call()
            assert [info.version for info in store.versions("n")] == ["n:v1"]
            assert [alias.alias for alias in store.aliases("n")] == ["prod"]

    def test_usage_of_latest_is_that_of_one_version(self, tree: Path, tmp_path: Path) -> None:
        with opened(tmp_path / "store", tmp_path) as store:
            store.push(tree, "n")
            (tree / "a").write_bytes(b"changed")
            store.push(tree, "n")
            assert store.usage("n").versions == 2
            assert store.usage("n:latest").versions == store.usage("n:v2").versions == 1
