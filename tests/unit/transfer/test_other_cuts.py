"""A store whose settings change how content is cut: what was learned under the old cut function is not mixed in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.chunking import CutFunction
from artifactstore.testing.stores import StoreWorld, edit_tree, make_tree, tree_at
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transaction.records import StoreSettings
from artifactstore.transaction.store_record import write_settings

OLD = CutFunction(min_bytes=4096, average_bytes=16_384, max_bytes=65_536)
NEW = CutFunction(min_bytes=256, average_bytes=512, max_bytes=1024)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StoreWorld]:
    make_tree(tmp_path / "tree", {b"large": seeded_bytes("large", 200_000), b"small": b"small"})
    world = StoreWorld(tmp_path, cut=OLD)
    with world.store() as store:
        store.push(tmp_path / "tree", "name")
    settings = StoreSettings(nonce="0" * 32, cut=str(NEW))
    assert write_settings(world.memory, world.clock, after=0, settings=settings)
    yield world


def test_files_remembered_from_before_are_cut_anew(world: StoreWorld) -> None:
    """Chunks longer than the new cut function allows would be refused by every reader."""
    tree = world.folder / "tree"
    edit_tree(tree, {b"small": b"changed"})
    with world.store() as store:
        store.push(tree, "name")
    assert world.stored("name:v2") == tree_at(tree)
    assert world.pulled("name:v2") == tree_at(tree)


def test_content_digest_does_not_depend_on_what_is_remembered(world: StoreWorld) -> None:
    tree = world.folder / "tree"
    with world.store() as store:
        known = store.push(tree, "a")
    with world.fresh_user() as store:
        assert store.push(tree, "b").content_digest == known.content_digest


def test_files_pulled_from_an_older_version_are_cut_anew(world: StoreWorld) -> None:
    with world.store(user="other") as store:
        store.pull("name:v1", world.folder / "out")
        world.virtual_clock.advance(3600)
        store.push(world.folder / "out", "copy")
    assert world.pulled("copy") == tree_at(world.folder / "out")


def test_pull_of_an_older_version_over_a_tree_cut_anew_finds_it_unchanged(world: StoreWorld) -> None:
    tree = world.folder / "tree"
    with world.store() as store:
        store.push(tree, "new")
        result = store.pull("name:v1", tree)
    assert result.conflicts == result.written == ()
