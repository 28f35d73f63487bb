"""Time, randomness and fresh ids. The only module that may ask the system for them.

Everything else gets a `Clock` passed in, so that tests can stop time, move it, and
repeat a run from its seed.
"""

import datetime
import os
import random
import time
from typing import Protocol


class Clock(Protocol):
    """What the rest of the package may know of time and chance."""

    def now(self) -> float:
        """Seconds since the epoch, by this machine's clock. Never part of a safety argument."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back. For deadlines and rates."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait. Negative waits are zero."""
        ...

    def random_bytes(self, count: int) -> bytes:
        """Unpredictable bytes: nonces, transaction ids."""
        ...

    def jitter(self) -> float:
        """A number in [0, 1) for backoff. Not for ids."""
        ...


class SystemClock:
    """The real one."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)

    def random_bytes(self, count: int) -> bytes:
        return os.urandom(count)

    def jitter(self) -> float:
        return random.random()


SYSTEM_CLOCK = SystemClock()


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds, as all our JSON records write times: ``2026-01-31T08:00:00.000Z``."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
