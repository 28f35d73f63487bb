"""Limits hold back and change nothing; counts are what a storage would bill."""

import threading
from collections.abc import Callable

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.protocol import ObjectInfo
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.fault import Fault, FaultBackend, Meanwhile, fail_at
from artifactstore.backend.wrappers.limit import LimitBackend, TokenBucket
from artifactstore.errors import TransientBackendError
from artifactstore.testing.backend import run_together
from artifactstore.testing.clock import VirtualClock


def test_bytes_flow_at_the_rate_after_a_short_burst() -> None:
    clock = VirtualClock()
    bucket = TokenBucket(1000, clock=clock)
    began = clock.monotonic()
    for _ in range(100):
        bucket.take(100)
    assert clock.monotonic() - began == pytest.approx(10.0 - 0.25)


def test_time_without_bytes_is_not_saved_up() -> None:
    clock = VirtualClock()
    bucket = TokenBucket(1000, clock=clock)
    clock.advance(3600)
    bucket.take(1250)
    assert clock.slept == (pytest.approx(1.0),)


def test_a_body_larger_than_the_bucket_passes() -> None:
    clock = VirtualClock()
    TokenBucket(1000, clock=clock).take(64 << 20)
    assert sum(clock.slept) == pytest.approx((64 << 20) / 1000, rel=0.01)


@pytest.mark.parametrize("rate", [0, -5])
def test_a_rate_that_never_lets_anything_through_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match="rate"):
        TokenBucket(rate, clock=VirtualClock())


@pytest.mark.parametrize(
    "move",
    [
        lambda backend: backend.put("new", bytes(10_000)),
        lambda backend: backend.put_if_absent("new", memoryview(bytes(10_000))),
        lambda backend: backend.get("key"),
        lambda backend: backend.get_range("key", 0, 10_000),
    ],
    ids=["put", "put_if_absent", "get", "get_range"],
)
def test_bodies_both_ways_are_paid_for(move: Callable[[LimitBackend], object]) -> None:
    clock = VirtualClock()
    memory = MemoryBackend()
    memory.put("key", bytes(10_000))
    move(LimitBackend(memory, clock=clock, rate_bytes=1000))
    assert sum(clock.slept) == pytest.approx(9.75)


def test_no_more_requests_run_at_once_than_allowed() -> None:
    lock = threading.Lock()
    running = most = 0
    gate = threading.Event()

    def enter() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(0.02)
        with lock:
            running -= 1

    memory = MemoryBackend()
    memory.put("key", b"x")
    faulty = FaultBackend(memory, faults=[Fault(action=Meanwhile(enter), times=None)])
    backend = LimitBackend(faulty, clock=VirtualClock(), requests=3)
    run_together([lambda: backend.get("key")] * 12)
    assert most <= 3
    assert running == 0


def test_requests_made_while_a_listing_is_read_do_not_wait_for_it() -> None:
    memory = MemoryBackend()
    for number in range(5):
        memory.put(f"k/{number}", b"x")
    backend = LimitBackend(memory, clock=VirtualClock(), requests=1)
    bodies = [backend.get(info.key) for info in backend.list("", page_size=2)]
    levels = [backend.get(item.key) for item in backend.list_level("k/") if isinstance(item, ObjectInfo)]
    assert bodies == levels == [b"x"] * 5


def test_a_request_that_fails_gives_its_place_back() -> None:
    backend = LimitBackend(
        FaultBackend(MemoryBackend(), faults=[fail_at(1, times=5)]), clock=VirtualClock(), requests=1
    )
    for _ in range(5):
        with pytest.raises(TransientBackendError):
            backend.put("key", b"x")
    backend.put("key", b"x")


def test_no_requests_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="request"):
        LimitBackend(MemoryBackend(), clock=VirtualClock(), requests=0)


def test_requests_and_bytes_are_counted_by_verb() -> None:
    backend = CountBackend(MemoryBackend())
    backend.put("a", bytes(10))
    backend.put_if_absent("b", memoryview(bytearray(80)).cast("Q"))
    backend.get("a")
    backend.get_range("b", 0, 5)
    backend.head("a")
    backend.delete("a")
    list(backend.list(""))
    list(backend.list_level(""))
    counts = backend.counts
    assert counts.requests == dict.fromkeys(
        ("put", "put_if_absent", "get", "get_range", "head", "delete", "list", "list_level"), 1
    )
    assert counts.request_count == 8
    assert (counts.sent_bytes, counts.received_bytes) == (90, 15)
    backend.reset()
    assert backend.counts.request_count == backend.counts.sent_bytes == backend.counts.received_bytes == 0


def test_requests_that_fail_count_and_their_bytes_do_not() -> None:
    backend = CountBackend(FaultBackend(MemoryBackend(), faults=[fail_at(1, times=None)]))
    for ask in (lambda: backend.put("a", bytes(10)), lambda: backend.get("a"), lambda: list(backend.list(""))):
        with pytest.raises(TransientBackendError):
            ask()
    assert backend.counts.request_count == 3
    assert (backend.counts.sent_bytes, backend.counts.received_bytes) == (0, 0)


@pytest.mark.parametrize(
    ("taken", "page_size", "expected"),
    [(0, None, 0), (1, None, 1), (1, 1, 1), (2, 1, 2), (10, 3, 4), (2500, None, 3), (1000, None, 1), (1001, None, 2)],
)
def test_a_listing_is_one_request_for_each_page(taken: int, page_size: int | None, expected: int) -> None:
    memory = MemoryBackend()
    for number in range(2500):
        memory.put(f"{number:04}", b"")
    backend = CountBackend(memory)
    listing = backend.list("", page_size=page_size)
    for _ in range(taken):
        next(listing)
    assert backend.counts.request_count == expected


def test_counts_are_right_with_many_threads() -> None:
    memory = MemoryBackend()
    memory.put("key", bytes(7))
    backend = CountBackend(memory)
    run_together([lambda: [backend.get("key") for _ in range(200)]] * 8)
    assert backend.counts.requests == {"get": 1600}
    assert backend.counts.received_bytes == 1600 * 7
