"""Stored data is damaged and its source is still there: pushed again without reuse, it is whole again."""

from pathlib import Path

import pytest

from artifactstore.errors import CorruptData
from artifactstore.keys import pack_key
from artifactstore.store import PushOptions, Reuse
from artifactstore.testing.stores import StoreWorld, Tree, make_tree, tree_at
from artifactstore.testing.strategies import seeded_bytes

TREE: Tree = {b"large": seeded_bytes("again", 400_000), b"small": b"a few bytes", b"folder/other": b"and some more"}


@pytest.fixture
def world(tmp_path: Path) -> StoreWorld:
    world = StoreWorld(tmp_path)
    make_tree(tmp_path / "source", TREE)
    with world.store() as store:
        store.push(tmp_path / "source", "data")
    return world


def damage_every_pack(world: StoreWorld) -> None:
    for key in [pack_key(pack) for pack in world.packs()]:
        body = bytearray(world.memory.get(key))
        body[len(body) // 3] ^= 1
        world.memory.overwrite(key, body)


def test_unchanged_content_pushed_without_reuse_makes_a_whole_version_of_its_own(world: StoreWorld) -> None:
    damage_every_pack(world)
    with pytest.raises(CorruptData, match=r"push its source again with --no-reuse"):
        world.pulled("data")
    with world.store() as store:
        result = store.push(world.folder / "source", "data", options=PushOptions(reuse=Reuse.NOTHING))
    assert (result.action, result.version) == ("committed", "data:v2")
    assert world.pulled("data") == tree_at(world.folder / "source")


def test_what_is_pushed_after_that_builds_on_the_whole_version(world: StoreWorld) -> None:
    damage_every_pack(world)
    with world.store() as store:
        store.push(world.folder / "source", "data", options=PushOptions(reuse=Reuse.NOTHING))
        (world.folder / "source" / "small").write_bytes(b"changed")
        result = store.push(world.folder / "source", "data")
    assert result.sent_bytes < 10_000
    assert world.pulled("data") == tree_at(world.folder / "source")


def test_with_reuse_unchanged_content_makes_no_version(world: StoreWorld) -> None:
    with world.store() as store:
        assert store.push(world.folder / "source", "data").action == "unchanged"


def test_a_damaged_root_of_the_newest_version_does_not_stand_in_the_way(world: StoreWorld) -> None:
    [root] = [key for key in world.memory.keys() if key.endswith("/root")]  # noqa: SIM118 - a backend, not a dict
    body = bytearray(world.memory.get(root))
    body[len(body) // 2] ^= 1
    world.memory.overwrite(root, body)
    with world.store() as store:
        result = store.push(world.folder / "source", "data", options=PushOptions(reuse=Reuse.NOTHING))
    assert result.version == "data:v2"
    assert world.pulled("data") == tree_at(world.folder / "source")
