"""Lineage: what versions were made from, who used them, and what became of both."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import pytest

from artifactstore.artifacts.lineage import EdgeKind, LineageDirection, LineageGraph, NodeState, lineage
from artifactstore.artifacts.moves import move
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.fault import ErrorBefore, Fault
from artifactstore.errors import InvalidName, NameNotFound, StoreReadOnly, TransientBackendError, VersionDeleted
from artifactstore.keys import NameKeys, TxId
from artifactstore.names import Name, Slot, parse_whole
from artifactstore.store import PushOptions, RemoveOptions
from artifactstore.testing.stores import StoreWorld, make_tree
from artifactstore.transaction.records import (
    StoreSettings,
    UseRecord,
    VersionPin,
    Writers,
    encode_record,
    fresh_nonce,
)
from artifactstore.transaction.resolve import resolve
from artifactstore.transaction.store_record import write_settings
from artifactstore.transaction.uses import version_user
from artifactstore.transaction.versions import remove_version

UP, DOWN = LineageDirection.UP, LineageDirection.DOWN


class World(StoreWorld):
    """A store whose versions are made from one another."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._contents = count()
        self.opened = self.store()

    def make(self, name: str, *sources: str, by: str = "") -> str:
        """A new version, made from others."""
        make_tree(self.folder / "tree", {b"f": str(next(self._contents)).encode()})
        options = PushOptions(made_from=sources, made_by=by)
        version = self.opened.push(self.folder / "tree", name, options=options).version
        assert version is not None
        return version

    def pin(self, reference: str) -> VersionPin:
        parsed = parse_whole(reference)
        return resolve(self.memory, parsed.name, parsed.version).pin

    def rewrite(self, version: str, made_from: tuple[VersionPin, ...]) -> None:
        """Have a version's record say something else, as only somebody who writes to the storage by hand can."""
        name, _, slot = version.partition(":v")
        key = NameKeys(Name(name)).slot(int(slot))
        record = msgspec.json.decode(self.memory.get(key))
        record["made_from"] = msgspec.to_builtins(made_from)
        self.memory.overwrite(key, msgspec.json.encode(record))

    def put_use(self, used: VersionPin, user: VersionPin) -> None:
        """A hint, true or not."""
        name, _, slot = used.version.partition(":v")
        use = UseRecord(nonce=fresh_nonce(self.clock), used=used.tx, version=user)
        self.memory.put(NameKeys(Name(name)).use(int(slot), version_user(TxId(user.tx))), encode_record(use))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.opened.close()


def shown(graph: LineageGraph) -> set[str]:
    """Nodes as text: with the state where there is something to say of it."""
    return {
        f"job {node.job}" if node.job else f"{node.version} {node.state.value}".removesuffix(f" {NodeState.LIVE.value}")
        for node in graph.nodes
    }


def edges(graph: LineageGraph) -> set[tuple[str, str]]:
    """Edges of all kinds, by the names of what they connect."""
    names = {node.key: node.version or node.job for node in graph.nodes}
    return {(names[edge.source], names[edge.target]) for edge in graph.edges}


def test_a_version_alone_has_no_lineage(world: World) -> None:
    world.make("raw")
    graph = lineage(world.opened, "raw")
    assert shown(graph) == {"raw:v1"} and not graph.edges and graph.is_complete
    assert graph.start == f"version:{world.pin('raw').tx}" == graph.nodes[0].key


def test_up_follows_what_a_version_was_made_from_and_down_who_used_it(world: World) -> None:
    world.make("raw")
    world.make("tokens", "raw", by="prep-7")
    world.make("vocabulary")
    world.make("model", "tokens", "vocabulary", by="train-3")
    world.make("report", "model:latest")
    graph = lineage(world.opened, "model")
    assert shown(graph) == {
        "model:v1", "tokens:v1", "vocabulary:v1", "raw:v1", "report:v1", "job prep-7", "job train-3",
    }  # fmt: skip
    assert edges(graph) == {
        ("raw:v1", "tokens:v1"),
        ("prep-7", "tokens:v1"),
        ("tokens:v1", "model:v1"),
        ("vocabulary:v1", "model:v1"),
        ("train-3", "model:v1"),
        ("model:v1", "report:v1"),
    }
    assert graph.is_complete
    assert shown(lineage(world.opened, "model", direction=UP)) == shown(graph) - {"report:v1"}
    assert shown(lineage(world.opened, "model", direction=DOWN)) == {"model:v1", "job train-3", "report:v1"}


def test_versions_are_told_apart_and_newer_ones_are_nobodys_source(world: World) -> None:
    world.make("raw")
    world.make("model", "raw")
    world.make("raw")
    world.make("model", "raw")
    assert edges(lineage(world.opened, "raw:v1")) == {("raw:v1", "model:v1")}
    assert edges(lineage(world.opened, "model:v2")) == {("raw:v2", "model:v2")}


def test_job_that_used_a_version_and_made_another_is_one_node(world: World) -> None:
    world.make("raw")
    assert world.opened.record_use("raw", by="train-1")
    assert not world.opened.record_use("raw:v1", by="train-1")
    world.make("model", "raw", by="train-1")
    graph = lineage(world.opened, "raw")
    assert edges(graph) == {("raw:v1", "train-1"), ("train-1", "model:v1"), ("raw:v1", "model:v1")}
    assert {edge.kind for edge in graph.edges} == {EdgeKind.USED_BY, EdgeKind.MADE_BY, EdgeKind.MADE_FROM}


def test_use_is_recorded_of_whole_versions_that_are_there(world: World) -> None:
    world.make("raw")
    before = world.memory.keys()
    with pytest.raises(InvalidName):
        world.opened.record_use("raw:v1/f", by="job")
    with pytest.raises(InvalidName):
        world.opened.record_use("raw", by="")
    with pytest.raises(NameNotFound):
        world.opened.record_use("other", by="job")
    with pytest.raises(NameNotFound):
        world.opened.record_use("raw:v2", by="job")
    assert world.memory.keys() == before


def test_use_is_not_recorded_where_only_one_may_write(world: World) -> None:
    world.make("raw")
    single = StoreSettings(nonce=fresh_nonce(world.clock), writers=Writers.SINGLE)
    write_settings(world.memory, world.clock, after=0, settings=single)
    with pytest.raises(StoreReadOnly):
        world.opened.record_use("raw", by="job")


# -- what became of them -------------------------------------------------------------------------------


def test_deleted_ancestors_are_shown_and_gone_through(world: World) -> None:
    world.make("raw")
    world.make("tokens", "raw")
    world.make("model", "tokens")
    for version in ("tokens:v1", "raw:v1"):
        world.opened.remove(version)
    assert shown(lineage(world.opened, "model")) == {"model:v1", "tokens:v1 deleted", "raw:v1 deleted"}


def test_deleted_users_are_shown_as_deleted(world: World) -> None:
    world.make("raw")
    world.make("tokens", "raw")
    world.make("model", "tokens")
    world.opened.remove("tokens", options=RemoveOptions(all_versions=True))
    assert shown(lineage(world.opened, "raw")) == {"raw:v1", "tokens:v1 deleted", "model:v1"}


def test_deleted_version_itself_is_shown_by_its_number(world: World) -> None:
    world.make("raw")
    world.make("tokens", "raw")
    world.opened.set_alias("tokens:v1", "prod")
    world.opened.remove("tokens:v1")
    assert shown(lineage(world.opened, "tokens:v1")) == {"tokens:v1 deleted", "raw:v1"}
    for reference in ("tokens", "tokens:prod"):
        with pytest.raises(VersionDeleted):
            lineage(world.opened, reference)


@pytest.mark.parametrize("reference", ["nothing", "nothing:v1", "raw:v9", "raw:prod", f"raw@{'0' * 64}"])
def test_version_that_never_was_is_not_found(world: World, reference: str) -> None:
    world.make("raw")
    with pytest.raises(NameNotFound):
        lineage(world.opened, reference)


def test_paths_and_odd_limits_are_refused(world: World) -> None:
    world.make("raw")
    with pytest.raises(InvalidName):
        lineage(world.opened, "raw:v1/f")
    with pytest.raises(ValueError, match="depth"):
        lineage(world.opened, "raw", depth=-1)
    with pytest.raises(ValueError, match="max_nodes"):
        lineage(world.opened, "raw", max_nodes=0)


def test_ancestors_that_this_store_does_not_have_are_missing(world: World) -> None:
    world.make("raw")
    world.make("model", "raw")
    real, elsewhere = world.pin("raw"), TxId("ab" * 16)
    world.rewrite(
        "model:v1",
        (
            msgspec.structs.replace(real, tx=elsewhere),  # this number is another version
            msgspec.structs.replace(real, tx="cd" * 16, version="never:v4"),
            msgspec.structs.replace(real, tx="ef" * 16, version="no\nversion <at all>"),
        ),
    )
    graph = lineage(world.opened, "model", direction=UP)
    assert shown(graph) == {"model:v1", "raw:v1 missing", "never:v4 missing", "no\nversion <at all> missing"}
    assert graph.is_complete


def test_ancestor_whose_record_is_damaged_is_unreadable_and_said_so(world: World) -> None:
    world.make("raw")
    world.make("model", "raw")
    world.memory.overwrite(NameKeys(Name("raw")).slot(1), b"{}")
    graph = lineage(world.opened, "model")
    assert shown(graph) == {"model:v1", "raw:v1 unreadable"}
    assert not graph.is_complete and "raw:v1 can't be read" in graph.notices[0]


def test_use_that_is_damaged_is_said_and_the_others_are_shown(world: World) -> None:
    world.make("raw")
    world.make("model", "raw")
    world.memory.put(NameKeys(Name("raw")).uses(1) + "0" * 64, b"{")
    graph = lineage(world.opened, "raw")
    assert shown(graph) == {"raw:v1", "model:v1"}
    assert not graph.is_complete and "who used raw:v1" in graph.notices[0]


def test_storage_that_fails_is_an_error_not_a_version_without_users(world: World) -> None:
    world.make("raw")
    world.make("model", "raw")
    for fault in (
        Fault(verb="list", key=NameKeys(Name("raw")).uses(1) + "*", action=ErrorBefore(), times=None),
        Fault(verb="get", key=NameKeys(Name("model")).slots + "*", action=ErrorBefore(), times=None),
    ):
        with world.store(through=world.faulty(fault)) as store, pytest.raises(TransientBackendError):
            lineage(store, "raw")


# -- hints are checked ---------------------------------------------------------------------------------


def test_hint_that_its_user_does_not_bear_out_is_left_out(world: World) -> None:
    world.make("raw")
    world.make("stranger")
    world.put_use(world.pin("raw"), world.pin("stranger"))
    assert shown(lineage(world.opened, "raw")) == {"raw:v1"}


def test_hint_of_a_user_that_was_never_committed_is_left_out(world: World) -> None:
    world.make("raw")
    pin = world.pin("raw")
    world.put_use(pin, VersionPin(version="ghost:v1", tx="ab" * 16, content=pin.content))
    assert shown(lineage(world.opened, "raw")) == {"raw:v1"}


def test_hint_about_another_version_of_that_number_is_left_out(world: World) -> None:
    world.make("raw")
    world.make("model", "raw")
    keys = NameKeys(Name("raw"))
    use = UseRecord(nonce=fresh_nonce(world.clock), used="ab" * 16, job="wrong")
    world.memory.put(keys.uses(1) + "0" * 64, encode_record(use))
    assert shown(lineage(world.opened, "raw")) == {"raw:v1", "model:v1"}


def test_lost_hint_costs_the_way_down_not_the_way_up(world: World) -> None:
    world.make("raw")
    world.make("model", "raw")
    for key in list(world.memory.keys()):
        if "/used/" in key:
            world.memory.delete(key)
    assert shown(lineage(world.opened, "raw")) == {"raw:v1"}
    assert shown(lineage(world.opened, "model")) == {"raw:v1", "model:v1"}


# -- moved ---------------------------------------------------------------------------------------------


def test_moved_ancestors_and_users_are_found_under_their_new_names(world: World) -> None:
    world.make("raw")
    world.make("tokens", "raw")
    world.make("model", "tokens")
    move(world.opened, "tokens", "data/tokens")
    move(world.opened, "data/tokens", "final/tokens")
    for start in ("raw", "model", "final/tokens", "tokens:v1"):
        graph = lineage(world.opened, start)
        assert shown(graph) == {"raw:v1", "final/tokens:v1", "model:v1"}, start
        assert edges(graph) == {("raw:v1", "final/tokens:v1"), ("final/tokens:v1", "model:v1")}
    moved = next(node for node in graph.nodes if node.version == "final/tokens:v1")
    assert moved.formerly == ("data/tokens:v1", "tokens:v1")


def test_moved_and_then_deleted_is_deleted_under_its_last_name(world: World) -> None:
    world.make("raw")
    world.make("model", "raw")
    move(world.opened, "raw", "data/raw")
    world.opened.remove("data/raw:v1")
    assert shown(lineage(world.opened, "model")) == {"model:v1", "data/raw:v1 deleted"}


def test_tombstone_that_points_to_a_version_that_knows_nothing_of_it_is_not_followed(world: World) -> None:
    world.make("raw")
    world.make("model", "raw")
    world.make("other")
    move(world.opened, "other", "stranger")
    raw = resolve(world.memory, Name("raw"), Slot(1))
    remove_version(world.memory, world.clock, raw, moved_to=world.pin("stranger"))
    assert shown(lineage(world.opened, "model")) == {"model:v1", "raw:v1 deleted"}


def test_copy_says_itself_what_it_was_made_from(world: World) -> None:
    world.make("raw")
    world.make("model", "raw")
    world.memory.delete(NameKeys(Name("raw")).use(1, version_user(TxId(world.pin("model").tx))))
    move(world.opened, "model", "final")
    assert shown(lineage(world.opened, "raw")) == {"raw:v1", "final:v1"}


# -- bounds --------------------------------------------------------------------------------------------


def chain(world: World, length: int) -> None:
    world.make("n0")
    for number in range(1, length):
        world.make(f"n{number}", f"n{number - 1}")


def test_depth_ends_the_walk_and_what_is_left_out_is_marked(world: World) -> None:
    chain(world, 7)
    graph = lineage(world.opened, "n3", depth=2)
    assert shown(graph) == {f"n{number}:v1" for number in range(1, 6)}
    assert {node.version for node in graph.nodes if node.goes_on_up} == {"n1:v1"}
    assert {node.version for node in graph.nodes if node.goes_on_down} == {"n5:v1"}
    assert not graph.is_complete
    assert lineage(world.opened, "n3", depth=3).is_complete
    alone = lineage(world.opened, "n3", depth=0)
    assert shown(alone) == {"n3:v1"}
    assert alone.nodes[0].goes_on_up and alone.nodes[0].goes_on_down


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_number_of_nodes_ends_the_walk_and_is_marked(world: World, direction: LineageDirection) -> None:
    for number in range(6):
        world.make(f"source{number}")
    world.make("middle", *(f"source{number}" for number in range(6)))
    for number in range(6):
        world.make(f"user{number}", "middle")
    graph = lineage(world.opened, "middle", max_nodes=4, direction=direction)
    assert len(graph.nodes) == 4 and len(graph.edges) == 3
    assert not graph.is_complete
    assert lineage(world.opened, "middle", max_nodes=7, direction=direction).is_complete


def test_many_users_are_not_all_read_where_few_are_shown(world: World) -> None:
    world.make("raw")
    for number in range(30):
        world.opened.record_use("raw", by=f"job {number:02}")
    counting = CountBackend(world.memory)
    with world.store(through=counting) as store:
        graph = lineage(store, "raw", max_nodes=5, direction=DOWN)
    assert len(graph.nodes) == 5 and graph.nodes[0].goes_on_down
    assert counting.counts.requests["get"] < 10


def test_many_users_of_many_versions_are_not_all_read_where_few_are_shown(world: World) -> None:
    """Room for five more nodes is room for five more of a level, not for five of each version in it."""
    world.make("raw")
    for number in range(8):
        world.make(f"middle{number}", "raw")
        for job in range(8):
            world.opened.record_use(f"middle{number}", by=f"job {number} {job}")
    counting = CountBackend(world.memory)
    with world.store(through=counting) as store:
        graph = lineage(store, "raw", max_nodes=14, direction=DOWN)
    assert len(graph.nodes) == 14 and not graph.is_complete
    # every version that has users left out says so
    assert sum(node.goes_on_down for node in graph.nodes) >= 7
    assert counting.counts.requests["get"] < 3 * 9 + 8 + 5 + 5


def test_cycles_end(world: World) -> None:
    world.make("a")
    world.make("b", "a")
    a, b = world.pin("a"), world.pin("b")
    world.rewrite("a:v1", (b, a))
    world.put_use(b, a)
    world.put_use(a, a)
    counting = CountBackend(world.memory)
    with world.store(through=counting) as store:
        graph = lineage(store, "a", depth=100)
    assert counting.counts.request_count < 60
    assert shown(graph) == {"a:v1", "b:v1"}
    assert edges(graph) == {("a:v1", "b:v1"), ("b:v1", "a:v1"), ("a:v1", "a:v1")}


def test_versions_that_meet_again_are_one_node_and_read_once(world: World) -> None:
    """A diamond of a diamond: without a memory the walk would double with each level."""
    world.make("d0")
    for level in range(1, 9):
        world.make(f"left{level}", f"d{level - 1}")
        world.make(f"right{level}", f"d{level - 1}")
        world.make(f"d{level}", f"left{level}", f"right{level}")
    counting = CountBackend(world.memory)
    with world.store(through=counting) as store:
        graph = lineage(store, "d8", depth=20, direction=UP)
    assert len(graph.nodes) == 25 and graph.is_complete
    assert counting.counts.request_count < 25 * 8


def test_reading_lineage_writes_nothing(world: World) -> None:
    chain(world, 3)
    before = world.memory.keys()
    with world.fresh_user() as store:
        lineage(store, "n1")
    assert world.memory.keys() == before


