"""The backend that fails by plan must itself be right: crash enumeration rests on it."""

from collections.abc import Callable

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.fault import (
    AnswerFrom,
    Crash,
    Crashed,
    Delay,
    EndMidway,
    ErrorAfter,
    ErrorBefore,
    ErrorMidway,
    Fault,
    FaultBackend,
    LongBody,
    Meanwhile,
    Request,
    ShortBody,
    WrongBody,
    conflict,
    crash_at,
    fail_at,
    permission_denied,
    slow_down,
)
from artifactstore.errors import (
    ArtifactStoreError,
    ObjectExists,
    ObjectNotFound,
    StorePermissionDenied,
    TransientBackendError,
)
from artifactstore.testing.clock import VirtualClock


@pytest.fixture
def memory() -> MemoryBackend:
    backend = MemoryBackend()
    for number in range(5):
        backend.put(f"k/{number}", bytes([number]) * 10)
    return backend


def test_an_error_before_has_no_effect(memory: MemoryBackend) -> None:
    backend = FaultBackend(memory, faults=[Fault(verb="put", action=ErrorBefore())])
    with pytest.raises(TransientBackendError):
        backend.put("new", b"1")
    assert "new" not in memory
    backend.put("new", b"1")
    assert "new" in memory


def test_an_error_after_has_its_effect(memory: MemoryBackend) -> None:
    """Fault 9."""
    backend = FaultBackend(memory, faults=[Fault(verb="put_if_absent", action=ErrorAfter())])
    with pytest.raises(TransientBackendError) as raised:
        backend.put_if_absent("new", b"1")
    assert raised.value.effect_unknown
    assert "new" in memory


def test_a_writer_can_be_made_to_lose_against_itself_and_against_nobody(memory: MemoryBackend) -> None:
    """Faults 9, 30."""
    backend = FaultBackend(
        memory,
        faults=[
            Fault(key="mine", action=ErrorAfter(conflict)),
            Fault(key="nobody", action=ErrorBefore(conflict)),
        ],
    )
    with pytest.raises(ObjectExists):
        backend.put_if_absent("mine", b"1")
    with pytest.raises(ObjectExists):
        backend.put_if_absent("nobody", b"1")
    assert "mine" in memory
    assert "nobody" not in memory


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (ShortBody(3), b"\1" * 7),
        (LongBody(2), b"\1" * 10 + b"\0\0"),
        (WrongBody(0), b"\0" + b"\1" * 9),
        (WrongBody(-1), b"\1" * 9 + b"\0"),
    ],
    ids=["short", "long", "first bit", "last bit"],
)
def test_bodies_are_damaged_as_returned_and_as_stored(
    memory: MemoryBackend, action: ShortBody | LongBody | WrongBody, expected: bytes
) -> None:
    backend = FaultBackend(
        memory, faults=[Fault(verb="get*", action=action, times=2), Fault(verb="put*", action=action)]
    )
    assert bytes(backend.get("k/1")) == expected
    assert bytes(backend.get_range("k/1", 0, 10)) == expected
    assert bytes(backend.get("k/1")) == b"\1" * 10
    backend.put("new", b"\1" * 10)
    assert bytes(memory.get("new")) == expected


def test_requests_are_chosen_by_verb_key_and_count(memory: MemoryBackend) -> None:
    backend = FaultBackend(memory, faults=[Fault(verb="get", key="k/*", nth=2, times=2, action=ErrorBefore())])
    backend.head("k/0")
    backend.get("k/0")
    for _ in range(2):
        with pytest.raises(TransientBackendError):
            backend.get("k/1")
    backend.get("k/1")
    assert backend.hits == (Request("get", "k/1"), Request("get", "k/1"))
    assert len(backend.requests) == 5


def test_a_fault_for_ever_ends_only_by_healing(memory: MemoryBackend) -> None:
    """Fault 97."""
    backend = FaultBackend(memory, faults=[fail_at(2, times=None, error=permission_denied)])
    backend.get("k/0")
    for _ in range(3):
        with pytest.raises(StorePermissionDenied):
            backend.get("k/0")
    backend.heal()
    backend.get("k/0")


def test_of_two_faults_for_one_request_the_first_counts_and_both_are_used_up(memory: MemoryBackend) -> None:
    backend = FaultBackend(
        memory, faults=[Fault(action=ErrorBefore(slow_down)), Fault(action=ErrorBefore(permission_denied))]
    )
    with pytest.raises(TransientBackendError) as raised:
        backend.get("k/0")
    assert raised.value.retry_after_seconds == 3.0
    backend.get("k/0")


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
def test_a_crash_ends_everything(memory: MemoryBackend, after_effect: bool) -> None:
    backend = FaultBackend(memory, faults=[crash_at(2, after_effect=after_effect)])
    backend.put("one", b"1")
    with pytest.raises(Crashed):
        backend.put("two", b"2")
    assert ("two" in memory) is after_effect
    assert backend.crashed
    asks: list[Callable[[], object]] = [
        lambda: backend.get("one"),
        lambda: backend.get_range("one", 0, 1),
        lambda: backend.head("one"),
        lambda: backend.put("three", b"3"),
        lambda: backend.put_if_absent("three", b"3"),
        lambda: backend.delete("one"),
        lambda: list(backend.list("")),
        lambda: list(backend.list_level("")),
    ]
    for ask in asks:
        with pytest.raises(Crashed):
            ask()
    assert memory.keys() == tuple(sorted([*(f"k/{number}" for number in range(5)), "one", *["two"] * after_effect]))


def test_a_crash_is_survived_by_nobody_who_catches_errors() -> None:
    assert not issubclass(Crashed, Exception)
    assert not issubclass(Crashed, ArtifactStoreError)


def test_every_request_can_be_cut_in_turn(memory: MemoryBackend) -> None:
    def work(backend: FaultBackend) -> None:
        list(backend.list("k/", page_size=2))
        backend.put("a", b"")
        backend.get("a")

    untouched = FaultBackend(memory.copy())
    work(untouched)
    assert [request.verb for request in untouched.requests] == ["list", "list", "list", "put", "get"]
    for number in range(1, 6):
        backend = FaultBackend(memory.copy(), faults=[crash_at(number)])
        with pytest.raises(Crashed):
            work(backend)
        assert len(backend.requests) == number
    work(FaultBackend(memory.copy(), faults=[crash_at(6)]))


def test_a_listing_fails_midway_or_ends_too_early(memory: MemoryBackend) -> None:
    """Fault 17."""
    backend = FaultBackend(
        memory, faults=[Fault(verb="list", action=ErrorMidway(3)), Fault(verb="list", action=EndMidway(2), nth=2)]
    )
    seen = []
    with pytest.raises(TransientBackendError):
        for info in backend.list(""):
            seen.append(info.key)
    assert seen == ["k/0", "k/1", "k/2"]
    assert [info.key for info in backend.list("")] == ["k/0", "k/1"]
    assert len(list(backend.list(""))) == 5


def test_a_later_page_fails(memory: MemoryBackend) -> None:
    backend = FaultBackend(memory, faults=[Fault(verb="list", nth=2, action=ErrorBefore())])
    listing = backend.list("", page_size=2)
    assert [next(listing).key, next(listing).key] == ["k/0", "k/1"]
    with pytest.raises(TransientBackendError):
        next(listing)


def test_an_error_midway_comes_also_when_the_listing_is_shorter(memory: MemoryBackend) -> None:
    backend = FaultBackend(memory, faults=[Fault(verb="list*", action=ErrorMidway(100), times=2)])
    with pytest.raises(TransientBackendError):
        list(backend.list(""))
    with pytest.raises(TransientBackendError):
        list(backend.list_level(""))


def test_stale_answers_come_from_an_old_copy(memory: MemoryBackend) -> None:
    """Fault 95."""
    old = memory.copy()
    memory.put("new", b"1")
    memory.delete("k/0")
    backend = FaultBackend(memory, faults=[Fault(action=AnswerFrom(old), times=4)])
    with pytest.raises(ObjectNotFound):
        backend.get("new")
    assert backend.head("k/0").size_bytes == 10
    assert "new" not in [info.key for info in backend.list("")]
    assert len(list(backend.list_level(""))) == 1
    assert backend.get("new") == b"1"


def test_delays_take_time_of_the_clock_only(memory: MemoryBackend) -> None:
    """Fault 14."""
    clock = VirtualClock()
    before = clock.now()
    backend = FaultBackend(memory, faults=[Fault(action=Delay(30 * 86_400))], clock=clock)
    backend.get("k/0")
    assert clock.now() - before == 30 * 86_400


def test_another_client_can_have_its_turn_first(memory: MemoryBackend) -> None:
    backend = FaultBackend(memory)

    def other() -> None:
        backend.put_if_absent("slot", b"theirs")

    backend.add(Fault(verb="put_if_absent", action=Meanwhile(other)))
    with pytest.raises(ObjectExists):
        backend.put_if_absent("slot", b"ours")
    assert memory.get("slot") == b"theirs"


@pytest.mark.parametrize("nth, times", [(0, 1), (1, 0), (-1, None)])
def test_a_plan_that_can_never_hit_is_refused(nth: int, times: int | None) -> None:
    with pytest.raises(ValueError, match="from 1"):
        Fault(action=Crash(), nth=nth, times=times)
