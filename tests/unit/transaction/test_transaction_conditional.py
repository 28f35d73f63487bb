"""Writing once: whatever happens to the request, the writer learns whose write it was (faults 7, 9, 10, 30)."""

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.fault import (
    ErrorAfter,
    ErrorBefore,
    Fault,
    FaultBackend,
    MakeError,
    conflict,
    permission_denied,
    slow_down,
    transient,
)
from artifactstore.errors import (
    BackendError,
    CommitStateUnknown,
    StorePermissionDenied,
    TransientBackendError,
)
from artifactstore.testing.clock import VirtualClock
from artifactstore.transaction.conditional import Lost, Won, put_once

KEY = "tx/aa/x/outcome"
OURS, THEIRS = b"ours", b"theirs"


def write(*faults: Fault, taken: bool = False) -> tuple[Won | Lost, MemoryBackend, VirtualClock]:
    clock = VirtualClock()
    memory = MemoryBackend(clock=clock)
    if taken:
        memory.put(KEY, THEIRS)
    return put_once(FaultBackend(memory, faults=faults), clock, KEY, OURS), memory, clock


def test_first_writer_wins_and_the_second_gets_the_body_that_won() -> None:
    assert write()[0] == Won()
    assert write(taken=True)[0] == Lost(THEIRS)


@pytest.mark.parametrize("error", [transient, conflict, slow_down], ids=["5xx", "409 or 412", "503"])
@pytest.mark.parametrize("action", [ErrorBefore, ErrorAfter], ids=["request lost", "reply lost"])
@pytest.mark.parametrize("times", [1, 3])
def test_failed_write_is_read_back_and_won(error: MakeError, action: type, times: int) -> None:
    result, memory, _ = write(Fault(verb="put_if_absent", times=times, action=action(error)))
    assert result == Won()
    assert memory.get(KEY) == OURS


@pytest.mark.parametrize("error", [transient, conflict], ids=["5xx", "409 or 412"])
def test_failed_write_to_a_taken_key_is_lost_not_won(error: MakeError) -> None:
    result, memory, _ = write(Fault(verb="put_if_absent", action=ErrorBefore(error)), taken=True)
    assert result == Lost(THEIRS)
    assert memory.get(KEY) == THEIRS


def test_read_back_that_fails_for_a_while_is_tried_again() -> None:
    faults = [
        Fault(verb="put_if_absent", action=ErrorAfter()),
        Fault(verb="get", times=4, action=ErrorBefore()),
    ]
    assert write(*faults)[0] == Won()


@pytest.mark.parametrize("error", [transient, permission_denied], ids=["5xx", "403"])
@pytest.mark.parametrize("action", [ErrorBefore, ErrorAfter], ids=["request lost", "reply lost"])
def test_unreadable_key_after_a_lost_reply_is_a_state_unknown_and_removes_nothing(
    error: MakeError, action: type
) -> None:
    clock = VirtualClock()
    memory = MemoryBackend(clock=clock)
    faulty = FaultBackend(
        memory,
        faults=[
            Fault(verb="put_if_absent", times=None, action=action()),
            Fault(verb="get", times=None, action=ErrorBefore(error)),
        ],
    )
    began = clock.monotonic()
    with pytest.raises(CommitStateUnknown):
        put_once(faulty, clock, KEY, OURS, deadline_seconds=20)
    assert clock.monotonic() - began <= 20
    assert {request.verb for request in faulty.requests} == {"put_if_absent", "get"}


def test_write_that_never_arrives_ends_at_the_deadline() -> None:
    with pytest.raises(CommitStateUnknown):  # a late request may yet take effect
        write(Fault(verb="put_if_absent", times=None, action=ErrorBefore()))
    with pytest.raises(TransientBackendError):  # none of these did, the storage said so
        write(Fault(verb="put_if_absent", times=None, action=ErrorBefore(slow_down)))
    with pytest.raises(TransientBackendError, match="others were at it"):
        write(Fault(verb="put_if_absent", times=None, action=ErrorBefore(conflict)))


def test_refused_write_is_the_refusal_unless_an_earlier_one_is_in_doubt() -> None:
    with pytest.raises(StorePermissionDenied):
        write(Fault(verb="put_if_absent", action=ErrorBefore(permission_denied)))
    with pytest.raises(CommitStateUnknown):
        write(
            Fault(verb="put_if_absent", action=ErrorBefore()),
            Fault(verb="put_if_absent", nth=2, action=ErrorBefore(permission_denied)),
        )


def test_error_of_unknown_kind_is_read_back_before_it_is_believed() -> None:
    def odd(key: str) -> Exception:
        return BackendError("something odd", where=key)

    assert write(Fault(verb="put_if_absent", action=ErrorAfter(odd)))[0] == Won()
    with pytest.raises(BackendError, match="odd"):
        write(Fault(verb="put_if_absent", action=ErrorBefore(odd)))


def test_waits_grow_and_heed_what_the_storage_asks_for() -> None:
    _, _, clock = write(Fault(verb="put_if_absent", times=2, action=ErrorBefore(slow_down)))
    assert clock.slept and min(clock.slept) >= 3.0
