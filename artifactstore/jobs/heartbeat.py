"""A thread that says every so often that a job still works.

It is a daemon: it never holds up the end of a program. In a forked child there is none; the
parent's goes on for both.
"""

import threading
from collections.abc import Callable

from artifactstore.clock import Clock


class HeartbeatThread:
    """Calls ``beat`` about every ``interval_seconds``, a tenth more or less by chance: a thousand ranks that started
    together do not ask together. ``beat`` raises nothing."""

    def __init__(self, beat: Callable[[], object], *, interval_seconds: float, clock: Clock, name: str) -> None:
        self._beat = beat
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first call comes after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """No call begins from now on. One that has begun goes on; it is not waited for."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_seconds * (0.9 + 0.2 * self._clock.jitter())):
            self._beat()
