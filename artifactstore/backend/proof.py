"""What `init` must know of a storage before it makes a store there; `doctor` asks for more.

Probes write below `doctor/<random>/` and remove what they wrote.
"""

import enum
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock
from artifactstore.errors import BackendError, CorruptData, ObjectExists, ObjectNotFound, TransientBackendError

WRITERS: Final = 16
ROUNDS: Final = 3
_TOKEN_BYTES: Final = 16


class _Outcome(enum.Enum):
    WON = enum.auto()
    LOST = enum.auto()
    UNKNOWN = enum.auto()


def probe_prefix(clock: Clock) -> str:
    """A fresh prefix for probes; never listed as data."""
    return f"doctor/{clock.random_bytes(_TOKEN_BYTES).hex()}/"


def prove_put_if_absent(backend: Backend, clock: Clock) -> bool:
    """Whether exactly one of sixteen writers wins a key, round after round, and what it wrote stays.

    A storage that accepts a conditional write and ignores the condition is found out here: several win.

    Raises:
        BackendError: It can't be written, read or cleaned up.
    """
    if not backend.has_put_if_absent:
        return False
    prefix = probe_prefix(clock)
    keys = [f"{prefix}race-{number}" for number in range(ROUNDS)]
    try:
        return all(_race(backend, key) for key in keys)
    finally:
        for key in keys:
            backend.delete(key)


def _race(backend: Backend, key: str) -> bool:
    bodies = [f"writer {number}".encode() * 64 for number in range(WRITERS)]
    start = threading.Barrier(WRITERS)

    def write(body: bytes) -> _Outcome:
        start.wait()
        try:
            backend.put_if_absent(key, body)
        except ObjectExists:
            return _Outcome.LOST
        except TransientBackendError:
            return _Outcome.UNKNOWN  # servers stumble over sixteen writers at once; it may have been written
        return _Outcome.WON

    with ThreadPoolExecutor(WRITERS) as pool:
        outcomes = list(zip(bodies, pool.map(write, bodies), strict=True))
    won = [body for body, outcome in outcomes if outcome is _Outcome.WON]
    possible = won or [body for body, outcome in outcomes if outcome is _Outcome.UNKNOWN]
    if len(won) > 1 or (stored := bytes(backend.get(key))) not in possible:
        return False
    # Once more, when nobody is racing: a storage may hold the condition only against what is under way, or not at all.
    try:
        backend.put_if_absent(key, b"too late")
    except ObjectExists:
        return bytes(backend.get(key)) == stored
    return False


def has_ranged_reads(backend: Backend, clock: Clock) -> bool:
    """Whether a range of an object can be read: without that nothing that is stored comes back.

    Raises:
        BackendError: It can't be written or cleaned up.
    """
    key = f"{probe_prefix(clock)}range"
    body = bytes(range(256)) * 16
    try:
        backend.put(key, body)
        try:
            return bytes(backend.get_range(key, 1000, 200)) == body[1000:1200]
        except (BackendError, CorruptData):
            return False
    finally:
        backend.delete(key)


def folds_case(backend: Backend, clock: Clock) -> bool:
    """Whether keys that differ only in case are one object here.

    Raises:
        BackendError: It can't be written, read or cleaned up.
    """
    prefix = probe_prefix(clock)
    try:
        backend.put(f"{prefix}case", b"lower")
        try:
            backend.head(f"{prefix}CASE")
        except ObjectNotFound:
            return False
        return True
    finally:
        backend.delete(f"{prefix}case")
