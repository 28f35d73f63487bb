"""A clock that moves only when told, with chance from a seed."""

import random
import threading

DEFAULT_START = 1_767_225_600.0  # 2026-01-01T00:00:00Z


class VirtualClock:
    """Time stands still until somebody sleeps or a test moves it; the same seed gives the same ids.

    Sleeping returns at once and moves time for everybody. All methods may be called from any
    thread (threads share one sequence of random numbers, in the order in which they ask).

    Args:
        seed: Of all randomness.
        start: Seconds since the epoch.
    """

    def __init__(self, seed: int = 0, *, start: float = DEFAULT_START) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._now = start
        self._monotonic = 0.0
        self.slept_seconds = 0.0

    def now(self) -> float:
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        with self._lock:
            return self._monotonic

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.advance(seconds)
            with self._lock:
                self.slept_seconds += seconds

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        with self._lock:
            self._now += seconds
            self._monotonic += seconds

    def set_wall_clock(self, now: float) -> None:
        """Set the wall clock, as an administrator or a wrong battery would; `monotonic` does not notice."""
        with self._lock:
            self._now = now

    def random_bytes(self, count: int) -> bytes:
        with self._lock:
            return self._random.randbytes(count)

    def jitter(self) -> float:
        with self._lock:
            return self._random.random()
