"""Strategies: what happens when the name exists, alone and with twenty writers (faults 27, 37, 136).

The table of outcomes is in docs/protocol.md, "Strategies".
"""

import contextlib
import re
import threading

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.fault import Crashed, Fault, FaultBackend, Meanwhile, crash_at
from artifactstore.errors import InvalidName, VersionExists
from artifactstore.names import Alias, Latest, Name
from artifactstore.testing.clock import VirtualClock
from artifactstore.testing.interleave import Task
from artifactstore.testing.uploader import push, read_tree
from artifactstore.transaction.listing import list_names
from artifactstore.transaction.resolve import resolve
from artifactstore.transaction.upload import Action, CommitResult, Strategy
from artifactstore.transaction.versions import latest_committed, live_versions, remove_version, versions

NAME = Name("m")
WRITERS = 20


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.memory = MemoryBackend(clock=self.clock)

    def push(self, text: str, *, through=None, **options) -> CommitResult:  # type: ignore[no-untyped-def]
        backend = self.memory if through is None else through
        return push(backend, self.clock, NAME.text, {b"file": text.encode()}, **options)

    def live(self, name: Name = NAME) -> list[str]:
        return [read_tree(self.memory, v)[b"file"].decode() for v in live_versions(self.memory, name)]


@pytest.fixture
def world() -> World:
    return World()


# One writer


@pytest.mark.parametrize("strategy", Strategy)
def test_every_strategy_makes_the_first_version_of_a_free_name(world: World, strategy: Strategy) -> None:
    result = world.push("a", strategy=strategy)
    assert (result.action, result.version.text) == (Action.COMMITTED, "m:v1")


def test_version_takes_the_next_number(world: World) -> None:
    world.push("a")
    assert world.push("b").version.slot == 2
    assert world.live() == ["b", "a"]


@pytest.mark.parametrize("strategy", [Strategy.VERSION, Strategy.REPLACE])
def test_unchanged_content_makes_no_version_says_so_and_still_moves_aliases(world: World, strategy: Strategy) -> None:
    world.push("a")
    world.push("b")
    result = world.push("b", strategy=strategy, aliases=["prod"])
    assert (result.action, result.version.slot) == (Action.UNCHANGED, 2)
    assert resolve(world.memory, NAME, Alias("prod")).slot == 2
    # `replace` deletes the others all the same.
    assert world.live() == (["b"] if strategy is Strategy.REPLACE else ["b", "a"])
    assert result.replaced == ((1,) if strategy is Strategy.REPLACE else ())


def test_content_of_an_older_version_is_a_change(world: World) -> None:
    for text in "aba":
        assert world.push(text).action is Action.COMMITTED
    assert world.live() == ["a", "b", "a"]


def test_unchanged_version_that_is_deleted_just_before_it_is_reported_is_made_again(world: World) -> None:
    first = world.push("a").version
    faulty = FaultBackend(
        world.memory,
        faults=[
            Fault(
                verb="list",
                key="names/@m/v/9999999999999998-1*",
                action=Meanwhile(lambda: bool(remove_version(world.memory, world.clock, first)) and None),
            )
        ],
    )
    result = world.push("a", through=faulty)
    assert faulty.hits
    assert (result.action, result.version.slot) == (Action.COMMITTED, 2)
    assert world.live() == ["a"]


def test_skip_and_error_leave_the_version_that_stands_before_anything_is_sent(world: World) -> None:
    world.push("a")
    before = world.memory.keys()
    result = world.push("b", strategy=Strategy.SKIP)
    assert (result.action, result.version.slot) == (Action.SKIPPED, 1)
    with pytest.raises(VersionExists, match="m:v1"):
        world.push("b", strategy=Strategy.ERROR)
    assert world.memory.keys() == before


def test_skip_moves_its_alias_only_to_a_version_of_the_same_content(world: World) -> None:
    world.push("a")
    assert world.push("b", strategy=Strategy.SKIP, aliases=["prod"]).moves == ()
    result = world.push("a", strategy=Strategy.SKIP, aliases=["prod"])
    assert result.action is Action.SKIPPED
    assert [move.slot for move in result.moves] == [1]


def test_replace_deletes_all_versions_it_saw(world: World) -> None:
    for text in "abc":
        world.push(text)
    result = world.push("d", strategy=Strategy.REPLACE)
    assert (result.version.slot, result.replaced) == (4, (3, 2, 1))
    assert world.live() == ["d"]


def test_replace_spares_a_version_made_since_its_start(world: World) -> None:
    world.push("a")
    replacing = Task(lambda backend: world.push("b", through=backend, strategy=Strategy.REPLACE), world.memory)
    assert replacing.run_until("put_if_absent", "/v/")
    world.push("c")
    assert replacing.finish().replaced == (1,)
    assert world.live() == ["b", "c"]


def test_new_commits_under_an_alternative_name_of_the_documented_form(world: World) -> None:
    world.push("a")
    result = world.push("b", strategy=Strategy.NEW)
    assert re.fullmatch(r"m_\d{6}_\d{6}_[a-z]{6}", result.version.name.text)
    assert result.version.slot == 1
    assert world.live(result.version.name) == ["b"]
    assert world.live() == ["a"]


def test_new_refuses_a_name_that_leaves_no_room_for_the_alternative() -> None:
    clock = VirtualClock()
    memory = MemoryBackend(clock=clock)
    name = "x" * 120
    push(memory, clock, name, {b"f": b"a"}, strategy=Strategy.NEW)
    with pytest.raises(InvalidName):
        push(memory, clock, name, {b"f": b"b"}, strategy=Strategy.NEW)


def test_all_versions_deleted_is_a_free_name(world: World) -> None:
    for strategy in (Strategy.ERROR, Strategy.SKIP, Strategy.NEW, Strategy.REPLACE):
        result = world.push("a", strategy=strategy)
        assert (result.action, result.version.name) == (Action.COMMITTED, NAME), strategy
        remove_version(world.memory, world.clock, result.version)
    assert world.push("a").version.slot == 5


# Pending slots


def stop_before_outcome(world: World, text: str, **options):  # type: ignore[no-untyped-def]
    task = Task(lambda backend: world.push(text, through=backend, **options), world.memory)
    assert task.run_until("put_if_absent", "/outcome")
    return task


@pytest.mark.parametrize("strategy", [Strategy.ERROR, Strategy.SKIP, Strategy.NEW])
def test_pending_lower_slot_is_awaited_thirty_seconds_then_fenced(world: World, strategy: Strategy) -> None:
    """Fault 136: a job killed between slot and outcome does not keep the name for ever."""
    stop_before_outcome(world, "dead").kill()
    began = world.clock.monotonic()
    result = world.push("a", strategy=strategy)
    assert (result.action, result.version.text) == (Action.COMMITTED, "m:v2")
    assert 30 <= world.clock.monotonic() - began < 40


@pytest.mark.parametrize("strategy", [Strategy.VERSION, Strategy.REPLACE])
def test_version_and_replace_do_not_wait_for_pending_slots(world: World, strategy: Strategy) -> None:
    pending = stop_before_outcome(world, "slow")
    began = world.clock.monotonic()
    assert world.push("a", strategy=strategy).version.slot == 2
    assert world.clock.monotonic() == began
    assert pending.finish().version.slot == 1
    assert world.live() == ["a", "slow"]


def test_fenced_writer_wakes_and_finds_the_winner(world: World) -> None:
    sleeping = stop_before_outcome(world, "sleeper", strategy=Strategy.ERROR)
    assert world.push("a", strategy=Strategy.ERROR).version.slot == 2
    with pytest.raises(VersionExists):
        sleeping.finish()
    assert world.live() == ["a"]


def test_fenced_writer_with_version_goes_on_under_a_new_transaction(world: World) -> None:
    sleeping = stop_before_outcome(world, "sleeper")
    world.push("a", strategy=Strategy.SKIP)
    result = sleeping.finish()
    assert (result.action, result.version.slot, result.attempts) == (Action.COMMITTED, 3, 2)
    assert world.live() == ["sleeper", "a"]


def test_pending_slot_that_commits_while_it_is_awaited_wins(world: World) -> None:
    first = stop_before_outcome(world, "first", strategy=Strategy.ERROR)
    second = Task(lambda backend: world.push("b", through=backend, strategy=Strategy.SKIP), world.memory)
    for _ in range(3):
        assert second.run_until("get", "/outcome")
        second.step()
    assert first.finish().version.slot == 1
    result = second.finish()
    assert (result.action, result.version.slot) == (Action.SKIPPED, 1)
    assert world.live() == ["first"]


def test_winner_deleted_just_before_skip_reports_it_is_not_reported(world: World) -> None:
    first = stop_before_outcome(world, "first")
    second = Task(lambda backend: world.push("b", through=backend, strategy=Strategy.SKIP), world.memory)
    assert second.run_until("put_if_absent", "/v/")
    standing = first.finish().version
    assert second.run_until("list", "names/@m/v/9999999999999998-1")
    remove_version(world.memory, world.clock, standing)
    result = second.finish()
    assert result.action is Action.COMMITTED
    assert world.live() == ["b"]


# Twenty writers


def twenty(world: World, strategy: Strategy, *, writer: str = "writer") -> tuple[list[CommitResult], int]:
    results: list[CommitResult] = []
    refused: list[VersionExists] = []
    unexpected: list[BaseException] = []
    barrier = threading.Barrier(WRITERS)

    def write(number: int) -> None:
        barrier.wait()
        try:
            results.append(world.push(f"{writer} {number}", strategy=strategy))
        except VersionExists as error:
            refused.append(error)
        except BaseException as error:
            unexpected.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert unexpected == []
    assert len(results) + len(refused) == WRITERS
    return results, len(refused)


def committed_slots(results: list[CommitResult]) -> list[int]:
    return sorted(r.version.slot for r in results if r.action is Action.COMMITTED)


@pytest.mark.parametrize("base", [False, True], ids=["free name", "name with a version"])
def test_twenty_writers_with_version_all_commit_and_none_is_lost(world: World, base: bool) -> None:
    if base:
        world.push("base")
    results, refused = twenty(world, Strategy.VERSION)
    assert refused == 0
    slots = committed_slots(results)
    assert len(set(slots)) == WRITERS
    assert sorted(world.live()) == sorted([f"writer {n}" for n in range(WRITERS)] + ["base"] * base)
    assert resolve(world.memory, NAME, Latest()).slot == slots[-1]


def test_twenty_writers_with_error_have_exactly_one_winner(world: World) -> None:
    results, refused = twenty(world, Strategy.ERROR)
    assert refused == WRITERS - 1
    assert len(world.live()) == 1
    assert [r.version for r in results] == [latest_committed(world.memory, NAME)]


def test_twenty_writers_with_skip_have_exactly_one_winner_and_report_it(world: World) -> None:
    results, _ = twenty(world, Strategy.SKIP)
    assert len(committed_slots(results)) == 1
    assert len(world.live()) == 1
    assert {r.version.slot for r in results} == set(committed_slots(results))


def test_twenty_writers_with_new_all_commit_one_of_them_under_the_name(world: World) -> None:
    results, _ = twenty(world, Strategy.NEW)
    assert [r.action for r in results] == [Action.COMMITTED] * WRITERS
    names = [r.version.name for r in results]
    assert len(set(names)) == WRITERS
    assert names.count(NAME) == 1
    assert set(list_names(world.memory)) == set(names)
    assert sorted(t for n in names for t in world.live(n)) == sorted(f"writer {n}" for n in range(WRITERS))


def test_twenty_writers_with_replace_all_commit_and_the_highest_stays(world: World) -> None:
    world.push("base")
    results, _ = twenty(world, Strategy.REPLACE)
    slots = committed_slots(results)
    assert len(slots) == WRITERS
    live = [v.slot for v in live_versions(world.memory, NAME)]
    replaced = {slot for r in results for slot in r.replaced}
    assert 1 in replaced, "what was there before all of them is gone"
    assert sorted([*live, *replaced]) == [1, *slots], "each version is live, or deleted by just one writer"
    assert live[0] == slots[-1]
    for result in results:
        assert all(slot < result.version.slot for slot in result.replaced)


def test_twenty_writers_with_error_over_a_dead_job_still_have_one_winner(world: World) -> None:
    """Fault 136."""
    stop_before_outcome(world, "dead").kill()
    _, refused = twenty(world, Strategy.ERROR)
    assert refused == WRITERS - 1
    assert len(world.live()) == 1


def test_hundred_versions_make_a_history_without_gaps(world: World) -> None:
    """Fault 37, in small: progress under a crowd."""
    for writer in ("first", "second"):  # what the newest version holds already would make none
        twenty(world, Strategy.VERSION, writer=writer)
    assert [v.slot for v in versions(world.memory, NAME)] == list(range(40, 0, -1))


# Requests


@pytest.mark.parametrize("strategy", Strategy)
def test_first_push_stays_within_its_budget_of_requests(world: World, strategy: Strategy) -> None:
    counted = CountBackend(world.memory)
    world.push("a", through=counted, strategy=strategy)
    # Two packs here, for content and for blocks; a small real tree has its blocks in the root. With `store.json`
    # and the store's settings that makes at most 12.
    assert counted.counts.request_count <= 9


def test_second_push_stays_within_its_budget_of_requests(world: World) -> None:
    world.push("a")
    counted = CountBackend(world.memory)
    world.push("b", through=counted)
    # gc, slots, slot, outcome, root, block; 2 packs, root; gc, slot, outcome, read-back. With two for the store: 15.
    assert counted.counts.request_count <= 13


def test_unchanged_push_takes_few_requests_and_writes_nothing(world: World) -> None:
    world.push("a")
    counted = CountBackend(world.memory)
    assert world.push("a", through=counted).action is Action.UNCHANGED
    assert counted.counts.requests == {"list": 3, "get": 3}


@pytest.mark.parametrize("strategy", Strategy)
def test_no_push_ever_deletes(world: World, strategy: Strategy) -> None:
    world.push("a")
    for request in range(1, 20):
        faulty = FaultBackend(world.memory, faults=[crash_at(request)])
        with contextlib.suppress(Crashed, VersionExists):
            world.push("b", through=faulty, strategy=strategy)
        assert "delete" not in {made.verb for made in faulty.requests}
