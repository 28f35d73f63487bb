"""What `init` must know of a storage before it makes a store there; `doctor` asks for more.

Probes write below `doctor/<random>/` and remove what they wrote.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock
from artifactstore.errors import ObjectExists, ObjectNotFound

WRITERS: Final = 16
ROUNDS: Final = 3
_TOKEN_BYTES: Final = 16


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

    def write(body: bytes) -> bool:
        start.wait()
        try:
            backend.put_if_absent(key, body)
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(WRITERS) as pool:
        won = [body for body, has_won in zip(bodies, pool.map(write, bodies), strict=True) if has_won]
    if len(won) != 1 or bytes(backend.get(key)) != won[0]:
        return False
    # Once more, when nobody is racing: a storage may hold the condition only against what is under way, or not at all.
    try:
        backend.put_if_absent(key, b"too late")
    except ObjectExists:
        return bytes(backend.get(key)) == won[0]
    return False


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
