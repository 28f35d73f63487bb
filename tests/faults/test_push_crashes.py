"""A push that is killed at any request, or has any request fail: nothing older is lost, a re-run finishes it.

Faults 1-10, 12 and 30; test plan 5.2 and 5.3 (a), through `Store.push`.
"""

import os

import pytest
from push_worlds import SCENARIOS, Prepared, PushWorld, Scenario, collect_much_later, prepared, rerun

from artifactstore.backend.wrappers.fault import (
    Action,
    Crashed,
    ErrorAfter,
    ErrorBefore,
    Fault,
    crash_at,
    permission_denied,
)
from artifactstore.errors import ArtifactStoreError, BackendError, CommitStateUnknown
from artifactstore.store import Strategy

scenarios = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
MOST_REQUESTS = 400


def run_hurt(prepared: Prepared, fault: Fault, *, jobs: int) -> tuple[PushWorld, BaseException | None, bool]:
    """The push with one fault in its way; what became of it, and whether the fault hit anything."""
    world, faulty = prepared.again(), None
    before = set(world.memory.keys())
    faulty = world.faulty(fault)
    began = world.clock.monotonic()
    error: BaseException | None = None
    try:
        world.push(prepared.scenario, through=faulty, jobs=jobs)
    except (Crashed, ArtifactStoreError) as caught:
        error = caught
    assert world.clock.monotonic() - began < 900, "retries end"
    assert before <= set(world.memory.keys()), "an uploader never deletes anything"
    assert "delete" not in {request.verb for request in faulty.requests}
    return world, error, bool(faulty.hits)


@scenarios
@pytest.mark.parametrize("after_effect", [False, True], ids=["before its effect", "after its effect"])
def test_push_killed_at_any_request_loses_nothing_and_a_rerun_finishes(
    scenario: Scenario, after_effect: bool
) -> None:
    replaces = scenario.options.strategy is Strategy.REPLACE
    with prepared(scenario) as start:
        for request in range(1, MOST_REQUESTS):
            fault = crash_at(request, after_effect=after_effect)
            world, error, was_hit = run_hurt(start, fault, jobs=1)
            if not was_hit:
                break
            assert isinstance(error, Crashed)
            world.check(replaced=replaces)
            sent = recorded_chunks(world, scenario)
            packs = world.packs()
            rerun(world, scenario)
            assert not world.content_chunks(world.packs() - packs) & sent, "sent twice"
            world.check(replaced=replaces)
            if request % 6 == 0:
                collect_much_later(world)
                world.check(replaced=replaces)
    assert 7 < request < MOST_REQUESTS
    print(f"crash points recovered: {request - 1}/{request - 1}")


def recorded_chunks(world: PushWorld, scenario: Scenario) -> set[bytes]:
    """The content chunks that this user's local state knows to be stored."""
    with world.store(user=scenario.user) as store:
        pending = {pack.pack for pack in store._state.pending_packs(bytes.fromhex(store.store_id))}
    return world.content_chunks(frozenset(pending) & world.packs())


@pytest.mark.parametrize(
    "name", ["first push", "second push", "replace", "index in pages", "after an interrupted push"]
)
def test_what_an_interrupted_push_has_sent_is_used_again(name: str) -> None:
    """Fault 4: cut off right before its root, the push sends no content when it is run again."""
    scenario = SCENARIOS[name]
    with prepared(scenario) as start:
        world = start.again()
        faulty = world.faulty(Fault(verb="put", key="tx/*/root", action=ErrorBefore(permission_denied)))
        with pytest.raises(BackendError):
            world.push(scenario, through=faulty)
        packs = world.packs()
        rerun(world, scenario)
        assert not world.content_chunks(world.packs() - packs)
        with world.store(user=scenario.user) as store:
            assert not store._state.pending_packs(bytes.fromhex(store.store_id)), "used, so not pending any more"


ERRORS: dict[str, Action] = {
    "error before effect": ErrorBefore(),
    "lost reply": ErrorAfter(),
    "forbidden": ErrorBefore(permission_denied),
}


LOOPS = [(name, error, times) for name in SCENARIOS for error in ERRORS for times in (1, None)]
# In the short form each kind of error meets a scenario or two, and each scenario at most one kind of error.
CHOSEN = LOOPS if os.environ.get("ARTIFACTSTORE_SOAK") else LOOPS[::7]


@pytest.mark.parametrize(
    ("name", "error_name", "times"),
    CHOSEN,
    ids=[f"{name}, {error}, {'once' if times else 'for ever'}" for name, error, times in CHOSEN],
)
def test_push_with_any_request_failing_ends_typed_and_a_rerun_finishes(
    name: str, error_name: str, times: int | None
) -> None:
    scenario, action = SCENARIOS[name], ERRORS[error_name]
    replaces = scenario.options.strategy is Strategy.REPLACE
    with prepared(scenario) as start:
        for request in range(1, MOST_REQUESTS):
            fault = Fault(nth=request, times=times, action=action)
            world, error, was_hit = run_hurt(start, fault, jobs=3)
            if not was_hit:
                break
            assert error is None or isinstance(error, BackendError | CommitStateUnknown), error
            world.check(replaced=replaces)
            rerun(world, scenario)
            world.check(replaced=replaces)
    assert 7 < request < MOST_REQUESTS
