"""Stores with a past, and a push over each of them: what tests of cut-off and failing pushes share."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from artifactstore.backend.protocol import Backend
from artifactstore.errors import VersionExists
from artifactstore.names import Name
from artifactstore.store import PushOptions, PushResult, Strategy
from artifactstore.testing.collector import WEEK_SECONDS, Collector
from artifactstore.testing.stores import (
    SMALL_CUT,
    Directory,
    File,
    Link,
    Sparse,
    StoreWorld,
    Thing,
    Tree,
    edit_tree,
    make_tree,
    quick_folder,
    small_limits,
    tree_at,
)
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transaction.aliases import list_aliases
from artifactstore.transaction.listing import list_names

NAME = "team/model"
LARGE = seeded_bytes("large", 20_000)
OLD: Tree = {
    b"a/1": seeded_bytes("1", 300),
    b"a/2": File(seeded_bytes("2", 2500), executable=True),
    b"large": LARGE,
    b"link": Link(b"a/1"),
    b"none": Directory(),
    b"sparse": Sparse(30_000, ((16_384, b"data"),)),
}
# Inserted here and there, so that the large file lies in more pieces than fit beside its entry.
EDITED = b"".join(LARGE[at : at + 4000] + b"inserted %d" % at for at in range(0, 20_000, 4000))
NEW: Tree = {b"a/1": seeded_bytes("new", 700), b"b/3": seeded_bytes("3", 9000), b"large": EDITED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A store's past, and the push that comes now.

    Attributes:
        past: Brings the world to where the push begins.
        options: Of the push.
        name: Pushed as.
        user: By whom.
        root_blocks: As for `small_limits`.
    """

    past: Callable[["PushWorld"], None]
    options: PushOptions = field(default_factory=PushOptions)
    name: str = NAME
    user: str = "user"
    root_blocks: int = 10_000


class PushWorld(StoreWorld):
    """A store, the tree that is pushed, and what was acknowledged so far."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, cut=SMALL_CUT)
        self.tree = folder / "tree"
        self.acknowledged: dict[str, Mapping[bytes, Thing]] = {}
        self.collector = Collector(self.memory, self.clock)

    def push(self, scenario: Scenario, *, through: Backend | None = None, jobs: int = 1) -> PushResult:
        """Push the tree as the scenario says."""
        with self.store(through=through, user=scenario.user, jobs=jobs) as store:
            result = store.push(self.tree, scenario.name, options=scenario.options)
        if result.version is not None:
            self.acknowledged[result.version] = tree_at(self.tree)
        for gone in result.replaced:
            self.acknowledged.pop(gone, None)
        return result

    def check(self, *, replaced: bool = False) -> list[str]:
        """Every acknowledged version reads back byte by byte, and what else is visible is the new tree, whole.

        Args:
            replaced: Acknowledged versions may have been deleted by a push that ended half way.

        Returns:
            What is visible, the newest first.
        """
        visible = [version for name in list_names(self.memory) for version in self.live(name.text)]
        assert replaced or set(self.acknowledged) <= set(visible)
        for version in visible:
            assert self.stored(version) == self.acknowledged.get(version, tree_at(self.tree)), version
        return visible


@dataclass(slots=True)
class Prepared:
    """A scenario at the moment before its push, to be gone back to as often as needed."""

    scenario: Scenario
    world: PushWorld
    _snapshot: object = field(init=False)
    _acknowledged: dict[str, Mapping[bytes, Thing]] = field(init=False)

    def __post_init__(self) -> None:
        self._snapshot = self.world.memory.snapshot()
        self._acknowledged = dict(self.world.acknowledged)
        for state in self.world.folder.glob("state-*"):
            shutil.copytree(state, self.world.folder / f"kept-{state.name}")

    def again(self) -> PushWorld:
        """The world as it was."""
        self.world.memory.restore(self._snapshot)  # type: ignore[arg-type]
        self.world.acknowledged = dict(self._acknowledged)
        for state in self.world.folder.glob("state-*"):
            shutil.rmtree(state)
        for kept in self.world.folder.glob("kept-*"):
            shutil.copytree(kept, self.world.folder / kept.name.removeprefix("kept-"))
        return self.world


@contextmanager
def prepared(scenario: Scenario) -> Iterator[Prepared]:
    """The scenario at the moment before its push, under small limits."""
    with quick_folder() as folder, small_limits(root_blocks=scenario.root_blocks):
        world = PushWorld(folder)
        make_tree(world.tree, OLD)
        scenario.past(world)
        yield Prepared(scenario, world)


def rerun(world: PushWorld, scenario: Scenario) -> None:
    """The same command once more ends with the tree stored, as the newest version, and every alias on it."""
    try:
        result = world.push(scenario)
    except VersionExists:
        assert scenario.options.strategy is Strategy.ERROR
        result = None
    newest = world.live(scenario.name)[0]
    if scenario.options.strategy is not Strategy.NEW:
        assert world.stored(newest) == tree_at(world.tree)
    if result is not None and result.version is not None:
        assert world.stored(result.version) == tree_at(world.tree)
        moves = list_aliases(world.memory, Name(result.version.partition(":")[0]))
        slots = {move.alias: move.slot for move in moves}
        assert all(slots[alias] == result.slot for alias in scenario.options.aliases)


def collect_much_later(world: PushWorld) -> None:
    """What was left behind goes, and takes nothing with it."""
    world.virtual_clock.advance(2 * WEEK_SECONDS)
    assert world.collector.collect() is not None


def nothing(world: PushWorld) -> None:
    """The first push of all."""


def one_version(world: PushWorld) -> None:
    world.push(Scenario(past=nothing, options=PushOptions(aliases=("prod",))))
    edit_tree(world.tree, NEW, removed=[b"none"])


def a_collection(world: PushWorld) -> None:
    one_version(world)
    world.collector.collect([])
    world.push(Scenario(past=nothing))
    edit_tree(world.tree, {b"more": b"more", b"a/1": b"back"})


def another_name(world: PushWorld) -> None:
    world.push(Scenario(past=nothing, name="elsewhere", user="somebody"))
    edit_tree(world.tree, {b"own": seeded_bytes("own", 500)})


def an_interrupted_push(world: PushWorld) -> None:
    """Its packs are there and recorded; nothing else is."""
    keys = set(world.memory.keys())
    world.push(Scenario(past=nothing))
    world.acknowledged.clear()
    for key in set(world.memory.keys()) - keys:
        if not key.startswith("packs/"):
            world.memory.delete(key)
    with world.store() as store:
        state, store_id = store._state, bytes.fromhex(store.store_id)
        for pack in world.packs():
            recorded = state.recorded_pack(store_id, pack)
            if recorded is None:  # of blocks or lists
                continue
            state.forget_packs(store_id, [pack])
            state.record_pack(store_id, recorded, tx="0" * 32)
    edit_tree(world.tree, {b"more": b"more"})


def unchanged(world: PushWorld) -> None:
    world.push(Scenario(past=nothing, options=PushOptions(aliases=("prod",))))


SCENARIOS: Mapping[str, Scenario] = {
    "first push": Scenario(past=nothing),
    "second push": Scenario(past=one_version),
    "second push by another machine": Scenario(past=one_version, user="somebody"),
    "push that moves aliases": Scenario(past=one_version, options=PushOptions(aliases=("prod", "new"), labels=("l",))),
    "unchanged push that moves an alias": Scenario(past=unchanged, options=PushOptions(aliases=("new",))),
    "replace": Scenario(past=a_collection, options=PushOptions(strategy=Strategy.REPLACE)),
    "new": Scenario(past=one_version, options=PushOptions(strategy=Strategy.NEW)),
    "error on a free name": Scenario(past=another_name, options=PushOptions(strategy=Strategy.ERROR)),
    "content known by landmarks": Scenario(past=another_name, options=PushOptions(strategy=Strategy.SKIP)),
    "index in pages": Scenario(past=one_version, root_blocks=1),
    "after an interrupted push": Scenario(past=an_interrupted_push),
}
