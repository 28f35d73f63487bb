"""Retries: what is tried again, for how long, and what never."""

from collections.abc import Callable

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.fault import (
    ErrorAfter,
    ErrorBefore,
    ErrorMidway,
    Fault,
    FaultBackend,
    permission_denied,
    slow_down,
)
from artifactstore.backend.wrappers.retry import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, RetryBackend
from artifactstore.errors import ObjectNotFound, StorePermissionDenied, TransientBackendError
from artifactstore.testing.clock import VirtualClock

FAILING = Fault(action=ErrorBefore(), times=None)


def backend_with(*faults: Fault, deadline_seconds: float = 300.0) -> tuple[RetryBackend, FaultBackend, VirtualClock]:
    memory = MemoryBackend()
    for number in range(2500):
        memory.put(f"k/{number % 3}/{number:04}", b"content")
    clock = VirtualClock()
    faulty = FaultBackend(memory, faults=faults, clock=clock)
    return RetryBackend(faulty, clock=clock, deadline_seconds=deadline_seconds), faulty, clock


ASKS: dict[str, Callable[[RetryBackend], object]] = {
    "get": lambda backend: backend.get("k/0/0000"),
    "get_range": lambda backend: backend.get_range("k/0/0000", 1, 2),
    "head": lambda backend: backend.head("k/0/0000"),
    "put": lambda backend: backend.put("new", b"1"),
    "delete": lambda backend: backend.delete("k/0/0000"),
    "list": lambda backend: list(backend.list("")),
    "list_level": lambda backend: list(backend.list_level("")),
}


@pytest.mark.parametrize("verb", ASKS)
@pytest.mark.parametrize("action", [ErrorBefore(), ErrorAfter()], ids=["before", "after"])
def test_what_fails_in_passing_is_tried_again(verb: str, action: ErrorBefore | ErrorAfter) -> None:
    """Faults 89, 90, 91."""
    backend, faulty, clock = backend_with(Fault(verb=verb, action=action, times=3))
    ASKS[verb](backend)
    assert len(faulty.hits) == 3
    assert len(clock.slept) == 3


@pytest.mark.parametrize("verb", ASKS)
def test_what_will_not_pass_is_not_tried_again(verb: str) -> None:
    backend, faulty, clock = backend_with(Fault(action=ErrorBefore(permission_denied), times=None))
    with pytest.raises(StorePermissionDenied):
        ASKS[verb](backend)
    assert len(faulty.requests) == 1
    assert clock.slept == ()


def test_absence_is_an_answer() -> None:
    backend, faulty, _ = backend_with()
    with pytest.raises(ObjectNotFound):
        backend.get("absent")
    assert len(faulty.requests) == 1


@pytest.mark.parametrize("action", [ErrorBefore(), ErrorAfter()], ids=["before", "after"])
def test_put_if_absent_is_never_tried_again(action: ErrorBefore | ErrorAfter) -> None:
    """Fault 9: a second try could lose against the first."""
    backend, faulty, clock = backend_with(Fault(action=action))
    with pytest.raises(TransientBackendError):
        backend.put_if_absent("new", b"1")
    assert len(faulty.requests) == 1
    assert clock.slept == ()


@pytest.mark.parametrize("verb", ASKS)
def test_there_is_a_deadline_for_all_tries_together(verb: str) -> None:
    backend, _, clock = backend_with(FAILING, deadline_seconds=60.0)
    began = clock.monotonic()
    with pytest.raises(TransientBackendError):
        ASKS[verb](backend)
    assert 30.0 < clock.monotonic() - began <= 60.0


def test_waits_double_up_to_a_limit_and_are_spread_over_all_of_it() -> None:
    backend, _, clock = backend_with(FAILING, deadline_seconds=2000.0)
    with pytest.raises(TransientBackendError):
        backend.get("k/0/0000")
    limits = [min(FIRST_WAIT_SECONDS * 2**number, LONGEST_WAIT_SECONDS) for number in range(len(clock.slept))]
    parts = [wait / limit for wait, limit in zip(clock.slept, limits, strict=True)]
    assert all(0 <= part <= 1 for part in parts)
    assert len(parts) > 50
    assert min(parts) < 0.2
    assert max(parts) > 0.8


def test_two_clients_do_not_wait_alike() -> None:
    waits = []
    for seed in (1, 2):
        clock = VirtualClock(seed=seed)
        backend = RetryBackend(FaultBackend(MemoryBackend(), faults=[FAILING]), clock=clock)
        with pytest.raises(TransientBackendError):
            backend.get("key")
        waits.append(clock.slept)
    assert waits[0] != waits[1]


def test_the_storage_is_not_asked_sooner_than_it_said() -> None:
    backend, _, clock = backend_with(Fault(action=ErrorBefore(slow_down), times=4))
    backend.get("k/0/0000")
    assert len(clock.slept) == 4
    assert all(wait >= 3.0 for wait in clock.slept)


def test_a_storage_that_asks_for_more_than_the_deadline_is_not_waited_for() -> None:
    backend, _, clock = backend_with(Fault(action=ErrorBefore(slow_down)), deadline_seconds=2.0)
    with pytest.raises(TransientBackendError) as raised:
        backend.get("k/0/0000")
    assert raised.value.retry_after_seconds == 3.0
    assert clock.slept == ()


@pytest.mark.parametrize("after", [0, 1, 499, 1000])
def test_a_listing_cut_anywhere_goes_on_with_nothing_twice_and_nothing_lost(after: int) -> None:
    backend, faulty, _ = backend_with(
        Fault(verb="list", action=ErrorMidway(after)),
        Fault(verb="list", nth=3, action=ErrorMidway(7)),
        Fault(verb="list", nth=5, action=ErrorBefore()),
    )
    expected = [info.key for info in backend.list("")]
    faulty.heal()
    assert expected == [info.key for info in backend.list("")]
    assert len(expected) == 2500


def test_a_level_cut_midway_is_made_whole() -> None:
    backend, faulty, _ = backend_with(Fault(verb="list_level", action=ErrorMidway(2), times=2))
    level = list(backend.list_level("k/"))
    faulty.heal()
    assert level == list(backend.list_level("k/"))
    assert len(level) == 3


def test_a_listing_that_fails_for_ever_is_an_error_and_not_an_end() -> None:
    """Fault 17."""
    backend, _, _ = backend_with(Fault(verb="list", nth=2, times=None, action=ErrorBefore()))
    seen = []
    with pytest.raises(TransientBackendError):
        for info in backend.list(""):
            seen.append(info.key)
    assert len(seen) == 1000


def test_a_slow_reader_of_a_listing_does_not_use_up_its_deadline() -> None:
    backend, _, clock = backend_with(Fault(verb="list", nth=2, action=ErrorBefore()), deadline_seconds=10.0)
    count = 0
    for _ in backend.list(""):
        count += 1
        if count == 1000:
            clock.advance(3600)
    assert count == 2500


@pytest.mark.parametrize("deadline_seconds", [0.0, -1.0])
def test_a_deadline_in_the_past_is_refused(deadline_seconds: float) -> None:
    with pytest.raises(ValueError, match="deadline"):
        RetryBackend(MemoryBackend(), clock=VirtualClock(), deadline_seconds=deadline_seconds)


def test_who_waits_for_long_is_told_why_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    backend, _, _ = backend_with(FAILING)
    with pytest.raises(TransientBackendError):
        backend.get("k/0/0000")
    said = [record.getMessage() for record in caplog.records]
    assert 2 <= len(said) <= 6  # of some thirty tries within 300 s
    assert all("the storage failed, as planned" in text and "trying again for up to" in text for text in said)


def test_what_passes_soon_is_not_worth_a_word(caplog: pytest.LogCaptureFixture) -> None:
    backend, _, _ = backend_with(Fault(verb="get", action=ErrorBefore(), times=3))
    backend.get("k/0/0000")
    assert not caplog.records
