"""A push that is cut off, or whose requests fail, anywhere: nothing older is lost, and a re-run finishes it.

Faults 4-10 and 30; test plan 5.2 and 5.3 (a). Scenarios are pushes over a store with history.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.protocol import Backend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.fault import (
    Crashed,
    ErrorAfter,
    ErrorBefore,
    Fault,
    FaultBackend,
    conflict,
    crash_at,
    permission_denied,
    transient,
)
from artifactstore.errors import (
    ArtifactStoreError,
    BackendError,
    CommitStateUnknown,
    ObjectNotFound,
    TransientBackendError,
    VersionExists,
)
from artifactstore.keys import outcome_key
from artifactstore.names import Alias, Latest, Name
from artifactstore.testing.clock import VirtualClock
from artifactstore.testing.collector import WEEK_SECONDS, Collector
from artifactstore.testing.uploader import LocalState, Tree, push, read_tree
from artifactstore.transaction.aliases import alias_history
from artifactstore.transaction.listing import list_names
from artifactstore.transaction.resolve import resolve
from artifactstore.transaction.upload import Action, CommitResult, Strategy
from artifactstore.transaction.versions import Version, live_versions

NAME = Name("team/model")
OLD: Tree = {b"a1": b"old a" * 20, b"b1": b"same" * 30}
NEW: Tree = {b"a1": b"new a" * 20, b"b1": b"same" * 30, b"c1": b"more" * 9}


@dataclass
class World:
    """A store with two versions, the older one aliased, and a collection in its past."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    local: LocalState = field(default_factory=LocalState)
    acknowledged: dict[str, tuple[Version, Tree]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.memory = MemoryBackend(clock=self.clock)

    def push(
        self, tree: Tree, *, through: Backend | None = None, strategy: Strategy = Strategy.VERSION, **options
    ) -> CommitResult:  # type: ignore[no-untyped-def]
        backend = through if through is not None else self.memory
        result = push(
            backend, self.clock, NAME.text, tree, strategy=strategy, aliases=["prod"], local=self.local, **options
        )
        self.acknowledged[result.version.text] = (result.version, tree)
        return result

    def check(self, *, replaced: bool = False) -> None:
        """Every acknowledged version that nobody deleted reads back, byte by byte; every visible one is whole."""
        names = list(list_names(self.memory))
        live = {version.text: version for name in names for version in live_versions(self.memory, name)}
        if not replaced:
            assert set(self.acknowledged) <= set(live)
        for text, version in live.items():
            tree = read_tree(self.memory, version)
            assert text not in self.acknowledged or tree == self.acknowledged[text][1]


def with_history() -> World:
    world = World()
    world.push({b"a1": b"older a", b"b1": b"same" * 30})
    Collector(world.memory, world.clock).collect([])
    world.push(OLD)
    return world


def empty() -> World:
    return World()


SCENARIOS = {
    "first push": (empty, Strategy.VERSION),
    "second push": (with_history, Strategy.VERSION),
    "replace": (with_history, Strategy.REPLACE),
    "new": (with_history, Strategy.NEW),
    "error on a free name": (empty, Strategy.ERROR),
    "skip on a free name": (empty, Strategy.SKIP),
}
scenarios = pytest.mark.parametrize(("make", "strategy"), SCENARIOS.values(), ids=SCENARIOS.keys())


def requests_of(make: Callable[[], World], strategy: Strategy) -> int:
    world = make()
    backend = CountBackend(world.memory)
    world.push(NEW, through=backend, strategy=strategy)
    return backend.counts.request_count


@scenarios
@pytest.mark.parametrize("after_effect", [False, True], ids=["before its effect", "after its effect"])
def test_push_killed_at_any_request_loses_nothing_and_a_rerun_finishes(
    make: Callable[[], World], strategy: Strategy, after_effect: bool
) -> None:
    replaces = strategy is Strategy.REPLACE
    total = requests_of(make, strategy)
    for request in range(1, total + 1):
        world = make()
        before = set(world.memory.keys())
        with pytest.raises(Crashed):
            world.push(
                NEW,
                through=FaultBackend(world.memory, faults=[crash_at(request, after_effect=after_effect)]),
                strategy=strategy,
            )
        assert before <= set(world.memory.keys()), "an uploader never deletes anything"
        world.check(replaced=replaces)
        rerun(world, strategy)
        world.check(replaced=replaces)
        # What the first run left behind is no harm to collection, nor collection to what counts.
        world.clock.advance(2 * WEEK_SECONDS)
        assert Collector(world.memory, world.clock).collect() is not None
        world.check(replaced=replaces)
    assert total >= 9


def rerun(world: World, strategy: Strategy) -> None:
    """The same command again succeeds, or reports the version that the first run did commit (fault 7)."""
    try:
        result = world.push(NEW, strategy=strategy)
    except VersionExists:
        result = None
    standing = resolve(world.memory, NAME, Latest())
    if strategy is not Strategy.NEW:
        assert read_tree(world.memory, standing) == NEW
        if result is not None:
            # An alias that the first run did not get to is moved, unchanged content included (fault 8).
            assert resolve(world.memory, NAME, Alias("prod")) == standing
    elif result is not None:
        assert read_tree(world.memory, result.version) == NEW


def test_rerun_sends_only_what_is_missing() -> None:
    """Fault 4: the packs that an interrupted push put are used again."""
    whole = CountBackend((world := empty()).memory)
    world.push(NEW, through=whole)
    world = empty()
    with pytest.raises(Crashed):
        world.push(NEW, through=FaultBackend(world.memory, faults=[crash_at(requests_before_root())]))
    again = CountBackend(world.memory)
    world.push(NEW, through=again)
    assert again.counts.sent_bytes < whole.counts.sent_bytes - sum(map(len, NEW.values()))
    world.check()


def requests_before_root() -> int:
    world = empty()
    backend = FaultBackend(world.memory)
    world.push(NEW, through=backend)
    return next(n for n, request in enumerate(backend.requests, start=1) if request.key.endswith("/root"))


ERRORS = {
    "error before effect": ErrorBefore(transient),
    "lost reply": ErrorAfter(transient),
    "forbidden": ErrorBefore(permission_denied),
}


@scenarios
@pytest.mark.parametrize("action", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("times", [1, None], ids=["once", "for ever"])
def test_push_with_any_request_failing_ends_typed_and_a_rerun_finishes(
    make: Callable[[], World], strategy: Strategy, action: ErrorBefore | ErrorAfter, times: int | None
) -> None:
    request, untouched = 0, False
    while not untouched:
        request += 1
        world = make()
        began = world.clock.monotonic()
        faulty = FaultBackend(world.memory, faults=[Fault(nth=request, times=times, action=action)])
        before = set(world.memory.keys())
        try:
            world.push(NEW, through=faulty, strategy=strategy)
            untouched = not faulty.hits
        except ArtifactStoreError as error:
            assert isinstance(error, BackendError | CommitStateUnknown), error
        assert world.clock.monotonic() - began < 600, "retries end"
        assert before <= set(world.memory.keys())
        world.check(replaced=strategy is Strategy.REPLACE)
        rerun(world, strategy)
        world.check(replaced=strategy is Strategy.REPLACE)
    assert request > 9


def outcome_faults(*faults: Fault) -> tuple[World, FaultBackend]:
    world = with_history()
    return world, FaultBackend(world.memory, faults=faults)


@pytest.mark.parametrize("error", [transient, conflict], ids=["timeout", "412"])
def test_lost_reply_of_the_outcome_is_read_back_as_our_own(error) -> None:  # type: ignore[no-untyped-def]
    """Fault 9."""
    world, faulty = outcome_faults(Fault(verb="put_if_absent", key="*/outcome", action=ErrorAfter(error)))
    result = world.push(NEW, through=faulty)
    assert (result.action, result.version.slot, result.attempts) == (Action.COMMITTED, 3, 1)
    world.check()


def test_conflict_that_was_none_is_not_reported_as_exists() -> None:
    """Fault 30: a 409 on slot and outcome, with nothing there."""
    world, faulty = outcome_faults(
        Fault(verb="put_if_absent", key="*/v/*", times=2, action=ErrorBefore(conflict)),
        Fault(verb="put_if_absent", key="*/outcome", times=2, action=ErrorBefore(conflict)),
    )
    result = world.push(NEW, through=faulty)
    assert (result.version.slot, result.attempts) == (3, 1)
    assert len(faulty.hits) == 4


@pytest.mark.parametrize("committed", [False, True], ids=["never arrived", "arrived"])
def test_outcome_that_can_not_be_read_back_is_a_state_unknown_that_deletes_nothing(committed: bool) -> None:
    """Fault 10."""
    action = ErrorAfter() if committed else ErrorBefore()
    world, faulty = outcome_faults(
        Fault(verb="put_if_absent", key="*/outcome", times=None, action=action),
        Fault(verb="get", key="*/outcome", nth=2, times=None, action=ErrorBefore()),
    )
    before = set(world.memory.keys())
    with pytest.raises(CommitStateUnknown) as caught:
        world.push(NEW, through=faulty)
    assert "removed" in str(caught.value)
    assert before <= set(world.memory.keys())
    assert not [request for request in faulty.requests if request.verb == "delete"]
    world.check()
    result = world.push(NEW)
    assert result.action is (Action.UNCHANGED if committed else Action.COMMITTED)
    world.check()


def test_slot_that_can_not_be_read_back_is_no_commit_and_says_so() -> None:
    world, faulty = outcome_faults(
        Fault(verb="put_if_absent", key="*/v/*", times=None, action=ErrorAfter()),
        Fault(verb="get", key="*/v/*", nth=2, times=None, action=ErrorBefore()),
    )
    with pytest.raises(TransientBackendError):
        world.push(NEW, through=faulty)
    assert world.push(NEW).action is Action.COMMITTED
    world.check()


@pytest.mark.parametrize("what", ["lost", "overwrote"])
def test_storage_that_does_not_keep_the_outcome_is_found_out_before_it_is_acknowledged(what: str) -> None:
    """Fault 32: the read-back at (9). Neither an alias moves nor a version is replaced on the strength of it."""
    world = with_history()

    class Forgetful(CountBackend):
        def put_if_absent(self, key: str, body) -> None:  # type: ignore[no-untyped-def]
            super().put_if_absent(key, body)
            if key.endswith("/outcome"):
                if what == "lost":
                    world.memory.delete(key)
                else:
                    world.memory.overwrite(key, bytes(body).replace(b"committed", b"fenced"))

    with pytest.raises(BackendError, match=what):
        world.push(NEW, through=Forgetful(world.memory), strategy=Strategy.REPLACE)
    assert [move.slot for move in alias_history(world.memory, NAME, "prod")] == [2, 1]
    world.check()


@pytest.mark.parametrize("nth", [2, 3], ids=["before the move", "after the move"])
def test_alias_in_doubt_says_that_the_version_is_committed(nth: int) -> None:
    world, faulty = outcome_faults(
        Fault(verb="put_if_absent", key="*/alias/*", times=None, action=ErrorAfter()),
        Fault(verb="get", key="*/alias/*", nth=nth, times=None, action=ErrorBefore()),
    )
    with pytest.raises((CommitStateUnknown, TransientBackendError), match="v3 is committed"):
        world.push(NEW, through=faulty)
    assert resolve(world.memory, NAME, Latest()).slot == 3
    assert world.push(NEW).action is Action.UNCHANGED
    assert resolve(world.memory, NAME, Alias("prod")).slot == 3


def test_acknowledged_version_has_an_outcome() -> None:
    world = with_history()
    version = world.push(NEW).version
    assert world.memory.get(outcome_key(version.tx))
    with pytest.raises(ObjectNotFound):
        world.memory.get(outcome_key(version.tx) + "x")
