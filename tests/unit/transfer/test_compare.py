"""Status and diff: a directory against a version, against its last sync, and versions against one another."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.errors import NameNotFound, PathNotFound
from artifactstore.manifest.diff import Change
from artifactstore.store import Store
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
)
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transfer.read import SourceReader

TREE: Tree = {
    b"a": b"a",
    b"d/large": seeded_bytes("large", 20_000),
    b"d/x": b"x",
    b"empty": b"",
    b"link": Link(b"a"),
    b"none": Directory(),
    b"sparse": Sparse(60_000, ((30_000, b"x"),)),
}
EDITS: Tree = {
    b"a": File(b"a", executable=True),
    b"d/large": seeded_bytes("large", 20_000)[:-1],
    b"d/new": b"new",
    b"link": Link(b"empty"),
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StoreWorld]:
    with small_limits():
        make_tree(tmp_path / "tree", TREE)
        yield StoreWorld(tmp_path, cut=SMALL_CUT)


@pytest.fixture
def store(world: StoreWorld) -> Iterator[Store]:
    with world.store() as store:
        store.push(world.folder / "tree", "n")
        yield store


@pytest.fixture
def tree(world: StoreWorld) -> Path:
    return world.folder / "tree"


def shown(changes: Iterator[Change]) -> list[tuple[str, bytes]]:
    return [(change.kind.value, change.path) for change in changes]


EXPECTED = [
    ("modified", b"a"),
    ("modified", b"d/large"),
    ("added", b"d/new"),
    ("removed", b"d/x"),
    ("modified", b"link"),
    ("removed", b"none"),
]


def edit(tree: Path) -> None:
    edit_tree(tree, EDITS, removed=[b"d/x", b"none"])


def test_unchanged_directory_has_no_changes_and_is_not_read(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SourceReader, "_opened", lambda *_: pytest.fail("a file was read"))
    assert shown(store.status(tree).changes) == []
    assert shown(store.status(tree, "n:v1").changes) == []
    assert shown(store.diff("n", tree)) == []


def test_directory_is_held_against_its_last_sync(store: Store, tree: Path) -> None:
    edit(tree)
    report = store.status(tree)
    assert report.version == "n:v1"
    assert shown(report.changes) == EXPECTED


def test_directory_is_held_against_any_version(store: Store, tree: Path) -> None:
    edit(tree)
    assert shown(store.diff("n:v1", tree)) == EXPECTED
    assert shown(store.status(tree, "n:v1").changes) == EXPECTED
    store.push(tree, "n")
    assert shown(store.diff("n:v1", "n:v2")) == EXPECTED
    assert shown(store.diff("n:v2", "n:v1")) == [
        ({"added": "removed", "removed": "added"}.get(kind, kind), path) for kind, path in EXPECTED
    ]
    assert shown(store.diff("n:v2", tree)) == []
    assert shown(store.status(tree).changes) == []


def test_machine_that_knows_nothing_reads_the_files_and_comes_to_the_same(
    world: StoreWorld, store: Store, tree: Path
) -> None:
    with world.fresh_user() as stranger:
        assert shown(stranger.diff("n:v1", tree)) == []
        edit(tree)
        assert shown(stranger.diff("n:v1", tree)) == EXPECTED


def test_file_rewritten_with_what_it_held_is_no_change(store: Store, tree: Path) -> None:
    dense = bytes(30_000) + b"x" + bytes(29_999)
    edit_tree(tree, {b"a": b"a", b"d/large": seeded_bytes("large", 20_000), b"sparse": dense})
    assert shown(store.status(tree).changes) == []


def test_parts_are_held_against_parts(store: Store, tree: Path) -> None:
    edit(tree)
    store.push(tree, "n")
    assert shown(store.diff("n:v1/d", "n:v2/d")) == [("modified", b"large"), ("added", b"new"), ("removed", b"x")]
    assert shown(store.diff("n:v2/d", tree / "d")) == []
    with pytest.raises((PathNotFound, NameNotFound)):
        list(store.diff("n:v9", "n:v2"))


def test_names_are_held_against_one_another(store: Store, tree: Path) -> None:
    edit(tree)
    store.push(tree, "other")
    assert shown(store.diff("n", "other")) == EXPECTED


def test_directory_that_was_never_synced_is_said_so(store: Store, tmp_path: Path) -> None:
    make_tree(tmp_path / "strange", {b"a": b"a"})
    with pytest.raises(NameNotFound, match="not pushed or pulled yet"):
        store.status(tmp_path / "strange")


def test_last_sync_counts_whatever_its_name_was(
    world: StoreWorld, store: Store, tree: Path, tmp_path: Path
) -> None:
    world.virtual_clock.advance(1)
    store.push(tree, "other")
    assert store.status(tree).version == "other:v1"
    store.pull("n:v1/d", tmp_path / "part")
    report = store.status(tmp_path / "part")
    assert report.version == "n:v1/d"
    assert shown(report.changes) == []


def test_what_lies_in_a_version_is_listed_in_order(store: Store) -> None:
    assert [entry.path for entry in store.files("n")] == sorted(TREE)
    assert [entry.path for entry in store.files("n:v1/d")] == [b"d/large", b"d/x"]
    assert [entry.path for entry in store.files("n:v1/a")] == [b"a"]
    assert [entry.path for entry in store.files("n:v1/none")] == [b"none"]
    with pytest.raises(PathNotFound):
        list(store.files("n:v1/nothing"))
