"""Writing a key once, and knowing afterwards whose write it was.

A put-if-absent whose reply is lost, or that is answered 409 or 412, says nothing by
itself: sent again, it would lose against itself. So whatever goes wrong, the key is read
back. The nonce in every body tells our write from every other.
"""

from dataclasses import dataclass
from typing import Final

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock
from artifactstore.digest import Buffer
from artifactstore.errors import (
    ArtifactStoreError,
    BackendError,
    CommitStateUnknown,
    ObjectExists,
    ObjectNotFound,
    StoreOutOfSpace,
    StorePermissionDenied,
    StoreReadOnly,
    TransientBackendError,
)

DEADLINE_SECONDS: Final = 60.0
_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 5.0
# Refusals: such a request has no effect, now or later.
_CERTAINLY_NOT: Final = (StoreOutOfSpace, StorePermissionDenied, StoreReadOnly)


@dataclass(frozen=True, slots=True)
class Won:
    """The key holds our bytes."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The key holds ``body``, which somebody else wrote."""

    body: bytes


class Backoff:
    """Growing waits with jitter, until a deadline on the monotonic clock."""

    def __init__(self, clock: Clock, *, deadline_seconds: float) -> None:
        self._clock = clock
        self._ends = clock.monotonic() + deadline_seconds
        self._wait_seconds = _FIRST_WAIT_SECONDS

    def wait(self, at_least_seconds: float = 0.0) -> bool:
        """Sleep; False, without sleeping, once the deadline is reached."""
        left = self._ends - self._clock.monotonic()
        if left <= 0:
            return False
        wait = max(self._wait_seconds * (0.5 + self._clock.jitter()), at_least_seconds)
        self._clock.sleep(min(wait, left))
        self._wait_seconds = min(self._wait_seconds * 2, _LONGEST_WAIT_SECONDS)
        return True


def put_once(
    backend: Backend, clock: Clock, key: str, body: bytes, *, deadline_seconds: float = DEADLINE_SECONDS
) -> Won | Lost:
    """Put ``body`` under ``key`` unless the key is taken, and find out for certain who has it.

    Args:
        body: Holds a nonce: no other writer's body is equal to it.
        deadline_seconds: How long failures are retried, reads and writes together.

    Raises:
        CommitStateUnknown: The write may have taken effect, and the key could not be read back. Nothing was removed.
        BackendError: It certainly did not take effect (no permission, storage not reached in time).
    """
    backoff = Backoff(clock, deadline_seconds=deadline_seconds)
    doubtful = False  # an earlier request may yet take effect
    while True:
        failure = _try_to_put(backend, key, body)
        if failure is None:
            return Won()
        if isinstance(failure, _CERTAINLY_NOT):
            raise _unknown(key) if doubtful else failure from failure
        doubtful = doubtful or (isinstance(failure, TransientBackendError) and failure.effect_unknown)
        taken = isinstance(failure, ObjectExists)
        found = _read_back(backend, key, backoff, doubtful=doubtful or taken)
        if found is not None:
            return Won() if found == body else Lost(found)
        # Absent: a 409 while another was at it, or a request that never arrived. Once more.
        pause = (isinstance(failure, TransientBackendError) and failure.retry_after_seconds) or 0.0
        if not (taken or isinstance(failure, TransientBackendError)) or not backoff.wait(pause):
            raise _given_up(key, failure, doubtful=doubtful) from failure


def _try_to_put(backend: Backend, key: str, body: bytes) -> ObjectExists | BackendError | None:
    try:
        backend.put_if_absent(key, body)
    except (ObjectExists, BackendError) as error:
        return error
    return None


def _given_up(key: str, failure: ObjectExists | BackendError, *, doubtful: bool) -> ArtifactStoreError:
    if doubtful:
        return _unknown(key)
    if isinstance(failure, ObjectExists):
        return TransientBackendError(f"{key} could not be written: others were at it all the time", where=key)
    return failure


def _read_back(backend: Backend, key: str, backoff: Backoff, *, doubtful: bool) -> bytes | None:
    """The body under ``key``, None where there is none."""
    while True:
        try:
            return as_bytes(backend.get(key))
        except ObjectNotFound:
            return None
        except TransientBackendError as error:
            if not backoff.wait(error.retry_after_seconds or 0.0):
                if doubtful:
                    raise _unknown(key) from error
                raise
        except BackendError as error:
            if doubtful:
                raise _unknown(key) from error
            raise


def as_bytes(body: Buffer) -> bytes:
    return body if isinstance(body, bytes) else bytes(body)


def _unknown(key: str) -> CommitStateUnknown:
    return CommitStateUnknown(
        f"{key} was sent, the reply was lost, and it can't be read back",
        where=key,
        data_safe="Nothing was removed; it was written whole or not at all.",
        next_step="Run the same command again: it finds out.",
    )
