"""Protected aliases: nothing passes over a protection, whoever was first."""

import itertools
import random
from collections.abc import Callable

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.protocol import Backend
from artifactstore.digest import Digest
from artifactstore.errors import AliasProtected, NameNotFound, VersionDeleted
from artifactstore.names import Name
from artifactstore.testing.clock import VirtualClock
from artifactstore.testing.interleave import Task
from artifactstore.testing.uploader import push
from artifactstore.transaction.aliases import (
    FORCE,
    AliasMove,
    Guard,
    alias_history,
    check_aliases_may_move,
    check_may_be_removed,
    drop_alias,
    list_aliases,
    move_alias,
    newest_move,
    protect_alias,
    read_alias,
)
from artifactstore.transaction.commit import settle_unchanged
from artifactstore.transaction.records import Author
from artifactstore.transaction.upload import Strategy, begin
from artifactstore.transaction.versions import Version, live_versions, remove_version

NAME = Name("m")
PROTECT = Guard(protect=True)


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.memory = MemoryBackend(clock=self.clock)
        self.made = [push(self.memory, self.clock, NAME.text, {b"f": str(n).encode()}).version for n in range(3)]

    def move(self, slot: int, guard: Guard = Guard(), *, backend: Backend | None = None) -> AliasMove:  # noqa: B008
        author = Author(who="force" if guard.force else "")
        return move_alias(backend or self.memory, self.clock, "prod", to=self.version(slot), author=author, guard=guard)

    def version(self, slot: int) -> Version:
        return self.made[slot - 1]

    def protect(self, backend: Backend, *, protect: bool = True) -> AliasMove:
        return protect_alias(backend, self.clock, NAME, "prod", protect=protect)

    def history(self) -> list[tuple[int, int, bool]]:
        return [(move.number, move.slot, move.protected) for move in alias_history(self.memory, NAME, "prod")]


@pytest.fixture
def world() -> World:
    return World()


def test_a_protected_alias_stays_where_it_is(world: World) -> None:
    world.move(1, PROTECT)
    with pytest.raises(AliasProtected, match=r"prod \(v1\)") as caught:
        world.move(2)
    assert caught.value.aliases == ("prod",)
    with pytest.raises(AliasProtected):
        world.move(2, Guard(protect=False))
    with pytest.raises(AliasProtected):
        drop_alias(world.memory, world.clock, NAME, "prod")
    assert world.history() == [(1, 1, True)]


def test_by_force_it_moves_and_stays_protected(world: World) -> None:
    world.move(1, PROTECT)
    world.move(2, FORCE)
    world.move(3, Guard(protect=False, force=True))
    world.move(1)
    assert world.history() == [(4, 1, False), (3, 3, False), (2, 2, True), (1, 1, True)]


def test_protection_is_a_move_of_its_own_and_comes_once(world: World) -> None:
    world.move(1)
    for protect in (True, True, False, False):
        world.protect(world.memory, protect=protect)
    assert world.history() == [(3, 1, False), (2, 1, True), (1, 1, False)]
    world.move(1, PROTECT)
    world.move(1, PROTECT)
    world.move(1)
    assert world.history()[0] == (4, 1, True)
    world.move(1, Guard(protect=False))
    assert world.history()[0] == (5, 1, False)


def test_a_forced_delete_takes_the_protection_with_it(world: World) -> None:
    world.move(1, PROTECT)
    drop_alias(world.memory, world.clock, NAME, "prod", guard=FORCE)
    assert world.history()[0] == (2, 0, False)
    assert not world.move(2).protected


def test_what_is_not_there_is_not_protected(world: World) -> None:
    with pytest.raises(NameNotFound):
        world.protect(world.memory)
    world.move(1)
    drop_alias(world.memory, world.clock, NAME, "prod")
    with pytest.raises(NameNotFound):
        world.protect(world.memory)
    world.move(2)
    remove_version(world.memory, world.clock, world.version(2))
    before = world.history()
    with pytest.raises(VersionDeleted):
        world.protect(world.memory)
    assert world.history() == before


def test_checks_up_front_name_every_protected_alias(world: World) -> None:
    for alias, slot in (("prod", 1), ("beta", 2), ("free", 1)):
        guard = PROTECT if alias != "free" else Guard()
        move_alias(world.memory, world.clock, alias, to=world.version(slot), guard=guard)
    check_aliases_may_move(world.memory, NAME, ["free", "new"])
    check_aliases_may_move(world.memory, NAME, ["prod", "free"], to=world.version(1))
    with pytest.raises(AliasProtected) as caught:
        check_aliases_may_move(world.memory, NAME, ["prod", "beta", "free"])
    assert caught.value.aliases == ("prod", "beta")
    moves = list(list_aliases(world.memory, NAME))
    check_may_be_removed(NAME, {3}, moves)
    with pytest.raises(AliasProtected, match=r"prod \(v1\)"):
        check_may_be_removed(NAME, {1, 3}, moves)


def test_replace_leaves_what_a_protected_alias_points_to(world: World) -> None:
    world.move(2, PROTECT)
    with pytest.raises(AliasProtected, match="No version was made"):
        push(world.memory, world.clock, NAME.text, {b"f": b"new"}, strategy=Strategy.REPLACE)
    assert [version.slot for version in live_versions(world.memory, NAME)] == [3, 2, 1]


def test_replace_leaves_what_is_protected_while_the_push_is_under_way(world: World) -> None:
    world.move(2)
    task = Task(lambda b: push(b, world.clock, NAME.text, {b"f": b"new"}, strategy=Strategy.REPLACE), world.memory)
    assert task.run_until("put_if_absent", "/outcome")
    world.protect(world.memory)
    with pytest.raises(AliasProtected, match="m:v4 is committed and safe"):
        task.finish()
    assert [version.slot for version in live_versions(world.memory, NAME)] == [4, 3, 2, 1]


def test_replace_by_force_goes_over_protection(world: World) -> None:
    world.move(2, PROTECT)
    upload = begin(world.memory, world.clock, name=NAME, strategy=Strategy.REPLACE, guard=FORCE)
    root = upload.latest_root()
    assert root is not None
    settle_unchanged(upload, content_digest=Digest(root.content_digest), cut=root.cut, aliases=["prod"])
    assert [version.slot for version in live_versions(world.memory, NAME)] == [3]
    assert world.history()[0] == (2, 3, True)


def test_an_alias_protected_while_a_push_was_under_way_is_not_moved_by_it(world: World) -> None:
    world.move(1)
    task = Task(lambda b: push(b, world.clock, NAME.text, {b"f": b"new"}, aliases=["prod"]), world.memory)
    assert task.run_until("put_if_absent", "/outcome")
    world.protect(world.memory)
    with pytest.raises(AliasProtected, match="m:v4 is committed and safe"):
        task.finish()
    assert read_alias(world.memory, NAME, "prod").slot == 1
    assert len(list(live_versions(world.memory, NAME))) == 4


@pytest.mark.parametrize(
    "other",
    [lambda w, b: w.move(2, backend=b), lambda w, b: drop_alias(b, w.clock, NAME, "prod")],
    ids=["move", "delete"],
)
def test_who_loses_against_a_protection_looks_again(world: World, other: Callable[[World, Backend], AliasMove]) -> None:
    world.move(1)
    task = Task(lambda backend: other(world, backend), world.memory)
    assert task.run_until("put_if_absent", "alias/prod")
    world.protect(world.memory)
    with pytest.raises(AliasProtected):
        task.finish()
    assert world.history() == [(2, 1, True), (1, 1, False)]


def test_a_protection_that_loses_against_a_move_protects_what_it_moved_to(world: World) -> None:
    world.move(1)
    task = Task(world.protect, world.memory)
    assert task.run_until("put_if_absent", "alias/prod")
    world.move(2)
    task.finish()
    assert world.history() == [(3, 2, True), (2, 2, False), (1, 1, False)]


def test_a_protection_that_loses_against_a_delete_finds_nothing(world: World) -> None:
    world.move(1)
    task = Task(world.protect, world.memory)
    assert task.run_until("put_if_absent", "alias/prod")
    drop_alias(world.memory, world.clock, NAME, "prod")
    with pytest.raises(NameNotFound):
        task.finish()


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_order_nothing_unforced_passes_over_a_protection(seed: int) -> None:
    """Random interleavings, request by request, of clients that move, protect, unprotect, delete and force."""
    world, chance = World(), random.Random(seed)
    acknowledged: set[int] = set()

    def note(task: Task[AliasMove]) -> None:
        if task.error is not None:
            assert isinstance(task.error, AliasProtected | NameNotFound), task.error
        elif task.result is not None:
            acknowledged.add(task.result.number)

    kinds: list[Callable[[Backend], AliasMove]] = [
        lambda b: world.move(1, backend=b),
        lambda b: world.move(2, backend=b),
        lambda b: world.move(3, PROTECT, backend=b),
        lambda b: world.move(2, FORCE, backend=b),
        world.protect,
        lambda b: world.protect(b, protect=False),
        lambda b: drop_alias(b, world.clock, NAME, "prod"),
    ]
    going: list[Task[AliasMove]] = []
    for _ in range(150):
        if len(going) < 4:
            going.append(Task(chance.choice(kinds), world.memory))
        task = chance.choice(going)
        task.step()
        if task.finished:
            going.remove(task)
            note(task)
    for task in going:
        while not task.finished:
            task.step()
        note(task)
    history = list(alias_history(world.memory, NAME, "prod"))[::-1]
    assert [move.number for move in history] == list(range(1, len(history) + 1))
    assert acknowledged <= {move.number for move in history}
    for before, after in itertools.pairwise(history):
        if before.protected and (after.slot, after.tx) != (before.slot, before.tx):
            assert after.record.who == "force"
    assert newest_move(world.memory, NAME, "prod") == (history[-1] if history else None)
