"""References to what was moved: the error says where it went."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.artifacts.locking import pull_lock, write_lock
from artifactstore.artifacts.moves import move
from artifactstore.errors import NameNotFound, PinNotMet, VersionDeleted
from artifactstore.store import RemoveOptions, Store
from artifactstore.testing.stores import StoreWorld, make_tree


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    make_tree(tmp_path / "tree", {b"a": b"a"})
    with StoreWorld(tmp_path).store() as store:
        store.push(tmp_path / "tree", "old")
        yield store


@pytest.mark.parametrize("reference", ["old", "old:v1"])
def test_a_version_that_was_moved(store: Store, reference: str) -> None:
    move(store, "old", "new")
    with pytest.raises(
        VersionDeleted, match=r"it was moved, and is new:v1 now\. Nothing of it is lost\. Use its new name"
    ):
        store.resolve(reference)


def test_content_that_was_moved(store: Store) -> None:
    content = store.show("old").content_digest
    move(store, "old", "new")
    with pytest.raises(NameNotFound, match="it was moved, and new:v1 is its newest version now"):
        store.resolve(f"old@{content}")


def test_a_pin_of_what_was_moved(store: Store, tmp_path: Path) -> None:
    write_lock(store, "old", tmp_path / "lock")
    move(store, "old", "new")
    with pytest.raises(PinNotMet, match="it was moved, and new:v1 is"):
        pull_lock(store, tmp_path / "lock")


def test_what_was_deleted_and_not_moved(store: Store) -> None:
    store.remove("old", options=RemoveOptions(all_versions=True))
    with pytest.raises(VersionDeleted, match="deleted on purpose"):
        store.resolve("old")
    with pytest.raises(VersionDeleted, match=r"old:v1 is deleted\. It was deleted on purpose"):
        store.resolve("old:v1")
