"""Compositions that carry a version which is deleted, and collected, between any two of their requests."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.fault import Fault, FaultBackend, Meanwhile
from artifactstore.errors import SourceChanged, VersionDeleted
from artifactstore.keys import outcome_key, parse_tx_id, root_key
from artifactstore.names import Name, parse_reference
from artifactstore.store import PushResult
from artifactstore.testing.collector import WEEK_SECONDS, Collector
from artifactstore.testing.stores import (
    SMALL_CUT,
    File,
    StoreWorld,
    Tree,
    edit_tree,
    make_tree,
    quick_folder,
    small_limits,
)
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transaction.runs import look
from artifactstore.transaction.versions import live_versions, remove_version
from artifactstore.transfer.compose import Carried, Composition, Placed

LARGE = seeded_bytes("large", 24_000)
OLD: Tree = {b"large": LARGE, **{b"%02d" % n: seeded_bytes(str(n), 900) for n in range(12)}}
# In more pieces than fit beside its entry: their list is stored apart.
PIECES = b"".join(LARGE[at : at + 4000] + b"inserted %d" % at for at in range(0, 24_000, 4000))
MOST_REQUESTS = 200


class World(StoreWorld):
    """A store with a version that is carried into another name, beside a file of this machine."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, cut=SMALL_CUT)
        self.collector = Collector(self.memory, self.clock)
        make_tree(folder / "tree", OLD)
        make_tree(folder / "own", {b"x": b"own"})
        for edits in ({}, {b"large": PIECES}):
            edit_tree(folder / "tree", edits)
            with self.store() as store:
                store.push(folder / "tree", "old")
        self.carried = {b"c/" + path: thing for path, thing in self.stored("old").items()}
        self.start = self.memory.snapshot()

    def compose(self, *, through: FaultBackend, user: str) -> PushResult:
        composition = Composition(
            placed=[Placed(source=os.fsencode(self.folder / "own" / "x"), path=b"x")],
            carried=[Carried(reference=parse_reference("old"), path=b"c")],
        )
        with self.store(through=through, user=user, jobs=1) as store:
            return store.push_composition(composition, "new")

    def delete_old(self) -> None:
        for version in list(live_versions(self.memory, Name("old"))):
            remove_version(self.memory, self.clock, version)
        self.virtual_clock.advance(2 * WEEK_SECONDS)

    def finish_run(self) -> None:
        view = look(self.memory)
        if view.runs and not view.runs[0].has_done:
            number = view.runs[0].number
            self.collector.decide(number)
            self.collector.delete(number)
            assert self.collector.finish(number)

    def undecided(self) -> list[str]:
        keys = set(self.memory.keys())
        txs = {parse_tx_id(key.split("/")[2]) for key in keys if key.startswith("tx/")}
        return [tx for tx in txs if root_key(tx) in keys and outcome_key(tx) not in keys]


@pytest.fixture
def world() -> Iterator[World]:
    with quick_folder() as folder, small_limits():
        yield World(folder)


def condemn(world: World) -> None:
    world.delete_old()
    world.collector.condemn()


def collect(world: World) -> None:
    world.delete_old()
    world.collector.collect()


@pytest.mark.parametrize("happens", [condemn, collect])
def test_carried_version_deleted_at_any_request_is_in_the_new_one_whole_or_there_is_none(
    world: World, happens: Callable[[World], None]
) -> None:
    made = refused = 0
    for request in range(1, MOST_REQUESTS):
        world.memory.restore(world.start)
        faulty = world.faulty(Fault(nth=request, action=Meanwhile(lambda: happens(world))))
        try:
            world.compose(through=faulty, user=f"machine-{request}")
        except (VersionDeleted, SourceChanged) as error:
            refused += 1
            assert "old" in str(error)
            assert not list(live_versions(world.memory, Name("new")))
            assert not world.undecided()  # a root that nobody decides would keep packs for another week
            continue
        if not faulty.hits:
            break
        made += 1
        for _ in range(2):
            assert world.stored("new") == {**world.carried, b"x": File(b"own")}
            world.finish_run()
            world.virtual_clock.advance(2 * WEEK_SECONDS)
            world.collector.collect()
    assert made
    assert refused
