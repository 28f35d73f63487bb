"""Pushes of twenty writers at once, and of one after another, by each strategy: docs/protocol.md, "Strategies".

Faults 27, 28, 33, 37 and 136, through `Store.push`.
"""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.fault import Crash, Crashed, Fault, Meanwhile
from artifactstore.errors import VersionExists
from artifactstore.names import Name
from artifactstore.store import PushOptions, PushResult, Strategy
from artifactstore.testing.stores import File, StoreWorld, make_tree, quick_folder
from artifactstore.transaction.aliases import alias_history
from artifactstore.transaction.listing import list_names
from artifactstore.transaction.versions import live_versions, remove_version, versions

WRITERS = 20


class World(StoreWorld):
    """Writers with trees and machines of their own; each tree holds one file that says whose it is."""

    def push(self, text: str, strategy: Strategy = Strategy.VERSION, *, through=None, **options) -> PushResult:  # type: ignore[no-untyped-def]
        place = self.folder / f"tree-{text}"
        make_tree(place, {b"file": text.encode()})
        with self.store(through=through, user=text, jobs=2) as store:
            return store.push(place, "n", options=PushOptions(strategy=strategy, **options))

    def all_at_once(self, strategy: Strategy, **options) -> tuple[list[PushResult], list[VersionExists]]:  # type: ignore[no-untyped-def]
        """What each of them was told. They start together."""
        barrier = threading.Barrier(WRITERS)
        results: list[PushResult] = []
        refused: list[VersionExists] = []

        def write(number: int) -> None:
            barrier.wait()
            try:
                results.append(self.push(f"writer{number}", strategy, **options))
            except VersionExists as error:
                refused.append(error)

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(write, range(WRITERS)))
        return results, refused

    def content(self, reference: str) -> str:
        thing = self.stored(reference)[b"file"]
        assert isinstance(thing, File)
        return thing.content.decode()

    def contents(self, name: str = "n") -> list[str]:
        return [self.content(version) for version in self.live(name)]


@pytest.fixture
def world() -> Iterator[World]:
    with quick_folder() as folder:
        yield World(folder)


def check(world: World, results: list[PushResult]) -> None:
    """Whoever was told that a version was made finds it, with his content."""
    for result in results:
        if result.action in ("committed", "replaced"):
            assert result.version is not None
            number = int(world.content(result.version).removeprefix("writer"))
            assert 0 <= number < WRITERS


def test_twenty_with_version_make_twenty_numbered_without_a_gap(world: World) -> None:
    results, _ = world.all_at_once(Strategy.VERSION)
    check(world, results)
    assert world.live("n") == [f"n:v{number}" for number in range(WRITERS, 0, -1)]
    assert len(set(world.contents())) == WRITERS
    assert {result.version for result in results} == set(world.live("n"))


def test_twenty_with_replace_never_delete_the_highest_nor_what_they_did_not_see(world: World) -> None:
    world.push("before")
    results, _ = world.all_at_once(Strategy.REPLACE)
    live = world.live("n")
    assert live[0] == f"n:v{WRITERS + 1}"
    assert "n:v1" not in live
    assert {result.version for result in results} == {f"n:v{number}" for number in range(2, WRITERS + 2)}
    deleted = {version for result in results for version in result.replaced}
    assert deleted | set(live) == {f"n:v{number}" for number in range(1, WRITERS + 2)}
    assert not deleted & set(live)
    for result in results:
        assert all(int(version.removeprefix("n:v")) < (result.slot or 0) for version in result.replaced)


def test_twenty_with_error_make_one_version_and_nineteen_are_told(world: World) -> None:
    results, refused = world.all_at_once(Strategy.ERROR)
    [winner] = results
    assert len(refused) == WRITERS - 1
    assert world.live("n") == [winner.version]
    assert all("has a version already" in str(error) for error in refused)


def test_twenty_with_skip_make_one_version_and_nineteen_report_it(world: World) -> None:
    results, _ = world.all_at_once(Strategy.SKIP)
    actions = sorted(result.action for result in results)
    assert actions == ["committed"] + ["skipped"] * (WRITERS - 1)
    assert {result.version for result in results} == set(world.live("n"))
    assert len(world.live("n")) == 1


def test_twenty_with_new_make_twenty_under_names_of_their_own(world: World) -> None:
    results, _ = world.all_at_once(Strategy.NEW)
    check(world, results)
    names = sorted(result.name for result in results)
    assert len(set(names)) == WRITERS
    assert names.count("n") == 1
    assert all(re.fullmatch(r"n_\d{6}_\d{6}_[a-z]{6}", name) for name in names if name != "n")
    assert {name.text for name in list_names(world.memory)} == set(names)
    assert {world.content(f"{name}:v1") for name in names} == {f"writer{number}" for number in range(WRITERS)}


def test_twenty_that_move_one_alias_lose_no_move(world: World) -> None:
    """Fault 28: the alias ends where one of them put it, and its history has them all."""
    results, _ = world.all_at_once(Strategy.VERSION, aliases=("prod",))
    history = list(alias_history(world.memory, Name("n"), "prod"))
    assert sorted(move.slot for move in history) == sorted(result.slot or 0 for result in results)
    assert [move.number for move in history] == list(range(WRITERS, 0, -1))
    with world.fresh_user() as store:
        [alias] = store.aliases("n")
    assert alias.version == f"n:v{history[0].slot}"


@pytest.mark.parametrize("strategy", [Strategy.ERROR, Strategy.SKIP])
def test_one_killed_between_slot_and_outcome_is_awaited_then_fenced_and_one_of_the_others_wins(
    world: World, strategy: Strategy
) -> None:
    """Fault 136."""
    with pytest.raises(Crashed):
        faulty = world.faulty(Fault(verb="put_if_absent", key="*/outcome", action=Crash()))
        world.push("killed", strategy, through=faulty)
    began = world.clock.monotonic()
    results, refused = world.all_at_once(strategy)
    winners = [result for result in results if result.action == "committed"]
    assert len(winners) == 1
    assert world.live("n") == [winners[0].version]
    assert len(refused) == (WRITERS - 1 if strategy is Strategy.ERROR else 0)
    assert world.clock.monotonic() - began >= 30
    assert len(list(versions(world.memory, Name("n")))) == 1


@pytest.mark.parametrize("strategy", Strategy)
def test_one_asleep_between_slot_and_outcome_finds_itself_fenced_and_goes_on(
    world: World, strategy: Strategy
) -> None:
    """Fault 136: it commits by its strategy, or finds the winner."""
    faulty = world.faulty(
        Fault(
            verb="put_if_absent",
            key="*/outcome",
            action=Meanwhile(lambda: world.push("other", Strategy.ERROR) and None),
        )
    )
    if strategy is Strategy.ERROR:
        with pytest.raises(VersionExists, match="n:v2"):
            world.push("sleeper", strategy, through=faulty)
        assert world.contents() == ["other"]
        return
    result = world.push("sleeper", strategy, through=faulty)
    if strategy is Strategy.SKIP:
        assert (result.action, result.version) == ("skipped", "n:v2")
        assert world.contents() == ["other"]
    elif strategy is Strategy.NEW:
        assert world.content(f"{result.name}:v1") == "sleeper"
        assert world.contents() == ["other"]
    else:
        assert world.contents() == ["sleeper", "other"]


@pytest.mark.parametrize("strategy", Strategy)
def test_each_strategy_on_a_free_name_and_on_one_whose_versions_are_all_deleted(
    world: World, strategy: Strategy
) -> None:
    assert world.push("first", strategy).version == "n:v1"
    [version] = live_versions(world.memory, Name("n"))
    remove_version(world.memory, world.clock, version)
    result = world.push("second", strategy)
    assert (result.action, result.version) == ("committed", "n:v2")
    assert world.contents() == ["second"]


ON_A_LIVE_NAME: dict[Strategy, Callable[[World, PushResult], bool]] = {
    Strategy.VERSION: lambda world, result: (result.action, world.contents()) == ("committed", ["b", "a"]),
    Strategy.REPLACE: lambda world, result: (result.action, result.replaced, world.contents())
    == ("replaced", ("n:v1",), ["b"]),
    Strategy.SKIP: lambda world, result: (result.action, result.version, world.contents())
    == ("skipped", "n:v1", ["a"]),
    Strategy.NEW: lambda world, result: (result.action, world.contents(result.name), world.contents())
    == ("committed", ["b"], ["a"]),
}


@pytest.mark.parametrize("strategy", ON_A_LIVE_NAME)
def test_each_strategy_on_a_name_with_a_version(world: World, strategy: Strategy) -> None:
    world.push("a")
    assert ON_A_LIVE_NAME[strategy](world, world.push("b", strategy))


def test_error_on_a_name_with_a_version_reads_and_sends_nothing(world: World) -> None:
    world.push("a")
    before = world.memory.snapshot()
    faulty = world.faulty()
    with pytest.raises(VersionExists, match="n:v1") as caught:
        world.push("b", Strategy.ERROR, through=faulty)
    assert "--strategy" in caught.value.next_step
    assert world.memory.snapshot() == before
    assert len(faulty.requests) <= 7


def test_unchanged_replace_deletes_the_others_and_moves_the_alias(world: World) -> None:
    world.push("a")
    world.push("b")
    result = world.push("b", Strategy.REPLACE, aliases=("prod",))
    assert (result.action, result.replaced, result.aliases) == ("unchanged", ("n:v1",), ("prod",))
    assert world.live("n") == ["n:v2"]


def test_two_processes_of_one_machine_push_one_directory_and_lose_nothing(world: World, tmp_path: Path) -> None:
    """Fault 33: they share local state."""
    make_tree(tmp_path / "tree", {b"%d" % n: b"%d" % n for n in range(50)})

    def write(number: int) -> PushResult:
        with world.store(user="one machine") as store:
            return store.push(tmp_path / "tree", "shared", options=PushOptions(message=str(number)))

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(write, range(6)))
    committed = {result.version for result in results if result.action == "committed"}
    assert committed == set(world.live("shared"))
    assert committed
    assert {result.content_digest for result in results} == {results[0].content_digest}
