"""Content that an upload stores a second time before its version is made: what it relied on is gone, or in crumbs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.fault import Fault, Meanwhile
from artifactstore.digest import PackId
from artifactstore.errors import SourceChanged
from artifactstore.keys import PACKS, pack_key
from artifactstore.names import Latest, Name
from artifactstore.pack.format import ChunkKind, parse_pack
from artifactstore.store import OnError, PushOptions, PushResult
from artifactstore.testing.collector import WEEK_SECONDS, Collector
from artifactstore.testing.stores import (
    SMALL_CUT,
    StoreWorld,
    Tree,
    edit_tree,
    make_tree,
    quick_folder,
    small_limits,
    tree_at,
)
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transaction.resolve import open_version
from artifactstore.transaction.versions import live_versions, remove_version
from artifactstore.transfer import upload

# Under small limits three packs: `a` and the start of `b`; more of `b`; its end and `c`.
TREE: Tree = {b"a": seeded_bytes("a", 8000), b"b": seeded_bytes("b", 30_000), b"c": seeded_bytes("c", 600)}


class World(StoreWorld):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, cut=SMALL_CUT)
        self.tree = folder / "tree"
        make_tree(self.tree, TREE)

    def push(self, *faults: Fault, on_error: OnError = OnError.FAIL) -> PushResult:
        with self.store(through=self.faulty(*faults), jobs=1) as store:
            return store.push(self.tree, "name", options=PushOptions(on_error=on_error))

    def content_packs(self) -> list[PackId]:
        """In the order in which they were filled: by the file whose chunks come first."""
        _, root = open_version(self.memory, Name("name"), Latest())
        packs = [PackId(row.pack) for row in root.packs]
        return [p for p in packs if parse_pack(p, self.memory.get(pack_key(p))).kind(0) is ChunkKind.CONTENT]

    def check(self) -> None:
        assert self.stored("name") == tree_at(self.tree)
        _, root = open_version(self.memory, Name("name"), Latest())
        assert {PackId(row.pack) for row in root.packs} <= self.packs()


@pytest.fixture
def world() -> Iterator[World]:
    with quick_folder() as folder, small_limits():
        yield World(folder)


def test_pack_found_gone_while_another_ones_content_is_stored_again_is_not_relied_on(world: World) -> None:
    """`a` leads to the first pack; `b`, read again for it, leads to the last one; `c` lies there and is not read."""
    world.push()
    packs = world.content_packs()
    assert len(packs) == 3
    for pack in packs:
        world.memory.delete(pack_key(pack))
    edit_tree(world.tree, {b"a": seeded_bytes("a", 8000)[:-1] + b"!"})
    assert world.push().action == "committed"
    world.check()


@pytest.mark.parametrize("on_error", OnError)
def test_file_that_changes_while_crumbs_are_put_together_is_stored_as_it_is_now(
    world: World, monkeypatch: pytest.MonkeyPatch, on_error: OnError
) -> None:
    """Nothing was promised yet, so its old content is not missed."""
    monkeypatch.setattr(upload, "MAX_SMALL_PACKS", 2)
    edit = Meanwhile(lambda: edit_tree(world.tree, {b"c": b"changed"}))
    world.push(Fault(verb="put", key=f"{PACKS}*", nth=3, action=edit), on_error=on_error)
    world.check()


def test_file_that_changed_when_its_pack_is_condemned_is_named_in_the_error(world: World) -> None:
    odd = b"odd \xff name"
    edit_tree(world.tree, {odd: b"content"})
    world.push()

    def condemn() -> None:
        for version in live_versions(world.memory, Name("name")):
            remove_version(world.memory, world.clock, version)
        world.virtual_clock.advance(2 * WEEK_SECONDS)
        edit_tree(world.tree, {odd: b"other content"})
        Collector(world.memory, world.clock).collect()

    edit_tree(world.tree, {b"a": b"new"})
    with pytest.raises(SourceChanged) as caught:
        world.push(Fault(verb="put", key="tx/*", action=Meanwhile(condemn)))
    assert caught.value.where == "odd \\xff name"
