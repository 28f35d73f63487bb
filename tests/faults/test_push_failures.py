"""A push that fails: as a whole, with nothing half visible, saying what is known; and what the next one says.

Faults 7, 8, 10, 11, 12, 42 and 97, through `Store.push`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.fault import (
    Crash,
    Crashed,
    ErrorAfter,
    ErrorBefore,
    Fault,
    permission_denied,
)
from artifactstore.errors import (
    BackendError,
    CommitStateUnknown,
    StoreOutOfSpace,
    StorePermissionDenied,
    VersionExists,
)
from artifactstore.keys import PACKS
from artifactstore.store import PushOptions, PushResult, Strategy
from artifactstore.testing.stores import (
    SMALL_CUT,
    StoreWorld,
    edit_tree,
    make_tree,
    quick_folder,
    small_limits,
    tree_at,
)
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transfer import content as content_module
from artifactstore.transfer import pipeline


class World(StoreWorld):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, cut=SMALL_CUT)
        self.tree = folder / "tree"
        make_tree(self.tree, {b"a": b"a", b"large": seeded_bytes("large", 60_000)})

    def push(self, *faults: Fault, progress=None, **options) -> PushResult:  # type: ignore[no-untyped-def]
        with self.store(through=self.faulty(*faults)) as store:
            if progress is not None:
                return store.push(self.tree, "n", options=PushOptions(**options), progress=progress)
            return store.push(self.tree, "n", options=PushOptions(**options))

    def check_nothing_is_visible_and_a_rerun_finishes(self) -> None:
        assert not self.live("n")
        assert self.push().action == "committed"
        assert self.stored("n") == tree_at(self.tree)


@pytest.fixture
def world() -> Iterator[World]:
    with quick_folder() as folder, small_limits():
        yield World(folder)


@pytest.mark.parametrize("error", [MemoryError, RuntimeError, RecursionError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("nth", [1, 20, 60])
def test_error_in_a_worker_fails_the_push_as_a_whole(
    world: World, error: type[BaseException], nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 12: no commit of a partial tree, whatever it is and wherever it strikes."""
    real, calls = pipeline.encode, 0

    def failing(raw, codec):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls == nth:
            raise error
        return real(raw, codec)

    monkeypatch.setattr(pipeline, "encode", failing)
    with pytest.raises(error):
        world.push()
    assert calls >= nth
    monkeypatch.setattr(pipeline, "encode", real)
    world.check_nothing_is_visible_and_a_rerun_finishes()


@pytest.mark.parametrize("phase", ["scanning", "uploading", "committing"])
def test_interrupt_in_any_phase_leaves_nothing_visible(world: World, phase: str) -> None:
    """Fault 11."""

    class Interrupting:
        def phase(self, name: str, *, total_files: int | None, total_bytes: int | None) -> None:
            if name == phase:
                raise KeyboardInterrupt

        def advance(self, *, files: int = 0, content_bytes: int = 0, saved_bytes: int = 0) -> None:
            pass

    with pytest.raises(KeyboardInterrupt):
        world.push(progress=Interrupting())
    world.check_nothing_is_visible_and_a_rerun_finishes()


def test_local_state_that_fails_after_the_commit_does_not_fail_the_push(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 109: it is there to save time, and says so itself."""
    import sqlite3

    real = sqlite3.connect

    def broken(*args, **kwargs):  # type: ignore[no-untyped-def]
        if args[0] != ":memory:":
            raise sqlite3.OperationalError("database is locked")
        return real(*args, **kwargs)

    monkeypatch.setattr(sqlite3, "connect", broken)
    assert world.push().action == "committed"
    assert world.push().action == "unchanged"
    assert world.stored("n") == tree_at(world.tree)


@pytest.mark.parametrize("committed", [False, True], ids=["never arrived", "arrived"])
def test_outcome_that_can_not_be_read_back_is_a_state_unknown_and_the_same_push_finds_out(
    world: World, committed: bool
) -> None:
    """Fault 10."""
    before = set(world.memory.keys())
    action = ErrorAfter() if committed else ErrorBefore()
    with pytest.raises(CommitStateUnknown) as caught:
        world.push(
            Fault(verb="put_if_absent", key="*/outcome", times=None, action=action),
            Fault(verb="get", key="*/outcome", times=None, action=ErrorBefore()),
        )
    assert "Nothing was removed" in str(caught.value)
    assert before <= set(world.memory.keys())
    assert world.push().action == ("unchanged" if committed else "committed")
    assert world.stored("n") == tree_at(world.tree)


@pytest.mark.parametrize("strategy", Strategy)
def test_rerun_of_a_push_that_was_killed_after_its_outcome_says_that_it_is_committed(
    world: World, strategy: Strategy
) -> None:
    """Fault 7."""
    with pytest.raises(Crashed):
        world.push(Fault(verb="put_if_absent", key="*/outcome", action=Crash(after_effect=True)), strategy=strategy)
    assert world.live("n") == ["n:v1"]
    if strategy is Strategy.ERROR:
        with pytest.raises(VersionExists, match="n:v1"):
            world.push(strategy=strategy)
        return
    result = world.push(strategy=strategy)
    expected = {Strategy.SKIP: "skipped", Strategy.NEW: "committed"}.get(strategy, "unchanged")
    assert result.action == expected
    assert world.stored("n:v1") == tree_at(world.tree)


@pytest.mark.parametrize("strategy", [Strategy.VERSION, Strategy.REPLACE, Strategy.SKIP])
def test_rerun_of_a_push_that_was_killed_before_its_alias_moves_it(world: World, strategy: Strategy) -> None:
    """Fault 8: unchanged content included."""
    with pytest.raises(Crashed):
        world.push(
            Fault(verb="put_if_absent", key="*/alias/*", action=Crash()), strategy=strategy, aliases=("prod",)
        )
    assert world.stored("n:v1") == tree_at(world.tree)
    with world.fresh_user() as store:
        assert not list(store.aliases("n"))
    result = world.push(strategy=strategy, aliases=("prod",))
    assert result.aliases == ("prod",)
    assert world.stored("n:prod") == tree_at(world.tree)


def out_of_space(key: str) -> Exception:
    return StoreOutOfSpace("no space left in the store", where=key)


@pytest.mark.parametrize("error", [permission_denied, out_of_space], ids=["credentials expire", "no space"])
@pytest.mark.parametrize("nth", [1, 3, 5])
def test_refusal_in_the_middle_of_the_packs_is_said_as_such_and_nothing_is_sent_twice_afterwards(
    world: World, error: Callable[[str], Exception], nth: int
) -> None:
    """Faults 42 and 97: not counted as a file that can't be read."""
    with pytest.raises((StorePermissionDenied, StoreOutOfSpace)) as caught:
        world.push(Fault(verb="put", key=f"{PACKS}*", nth=nth, times=None, action=ErrorBefore(error)))
    assert caught.value.where.startswith(PACKS)
    assert caught.value.next_step
    sent = world.packs()
    assert len(sent) == nth - 1
    world.check_nothing_is_visible_and_a_rerun_finishes()
    with world.store() as store:
        usage = store.usage()
    assert usage.pack_count == len(world.packs()), "what was sent before is used"


def test_landmarks_and_labels_that_can_not_be_put_do_not_fail_a_push_that_is_committed(world: World) -> None:
    hints = [
        Fault(verb="put*", key=key, times=None, action=ErrorBefore(permission_denied))
        for key in ("landmarks/*", "labels/*")
    ]
    result = world.push(*hints, labels=("good",))
    assert result.action == "committed"
    assert world.stored("n") == tree_at(world.tree)
    assert not any(key.startswith("landmarks/") for key in [*world.memory.keys()])


def test_scan_that_fails_ends_the_look_at_the_store_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_, **__):  # type: ignore[no-untyped-def]
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(content_module, "scan", failing)
    before = world.memory.snapshot()
    with pytest.raises(OSError, match="Input/output"):
        world.push()
    assert world.memory.snapshot() == before


def test_error_of_the_store_comes_before_that_of_the_tree_is_looked_for(world: World) -> None:
    edit_tree(world.tree, {b"new": b"new"})
    with pytest.raises(BackendError):
        world.push(Fault(verb="list", key="gc/*", times=None, action=ErrorBefore()))
    world.check_nothing_is_visible_and_a_rerun_finishes()
