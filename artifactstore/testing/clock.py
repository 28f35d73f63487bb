"""A clock that stands still until told, and chance that repeats itself."""

import random
import threading


class VirtualClock:
    """A `artifactstore.clock.Clock` for tests. May be used from any thread.

    Sleeping moves the time on at once, for everybody; nothing ever waits.

    Args:
        start: Seconds since the epoch.
        seed: Of `random_bytes` and `jitter`: the same seed gives the same run.
    """

    def __init__(self, start: float = 1_800_000_000.0, *, seed: int = 0) -> None:
        self._now = start
        self._monotonic = 1000.0
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._slept: list[float] = []

    @property
    def slept(self) -> tuple[float, ...]:
        """Every wait so far, in seconds."""
        with self._lock:
            return tuple(self._slept)

    def now(self) -> float:
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        with self._lock:
            return self._monotonic

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._slept.append(seconds)
            self._pass(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Let time pass without anybody sleeping."""
        if seconds < 0:
            raise ValueError("time does not go back; use `set_now` for a clock that is set")
        with self._lock:
            self._pass(seconds)

    def set_now(self, seconds: float) -> None:
        """Set the wall clock, as an administrator may; the monotonic one goes on."""
        with self._lock:
            self._now = seconds

    def random_bytes(self, count: int) -> bytes:
        with self._lock:
            return self._random.randbytes(count)

    def jitter(self) -> float:
        with self._lock:
            return self._random.random()

    def _pass(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds


FakeClock = VirtualClock
