"""Tries again what failed in passing: with backoff and full jitter, under one deadline for each request.

What is never tried again here is `put_if_absent`: a second try can lose against the first.
The caller of it reads back who won (docs/protocol.md, "Ambiguity").
"""

import logging
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from artifactstore.backend.protocol import Backend, CommonPrefix, ObjectInfo
from artifactstore.backend.wrappers.forward import ForwardingBackend
from artifactstore.clock import Clock
from artifactstore.digest import Buffer
from artifactstore.errors import TransientBackendError

FIRST_WAIT_SECONDS: Final = 0.1
LONGEST_WAIT_SECONDS: Final = 20.0
DEADLINE_SECONDS: Final = 300.0
SILENT_SECONDS: Final = 5.0
"""A request that has been tried for longer than this is worth a word."""

REPORT_EVERY_SECONDS: Final = 60.0
_log: Final = logging.getLogger(__name__)
_Item = TypeVar("_Item", ObjectInfo, ObjectInfo | CommonPrefix)
_Result = TypeVar("_Result")


class RetryBackend(ForwardingBackend):
    """Retries `TransientBackendError`, and nothing else.

    Args:
        inner: What is asked.
        clock: Measures the deadline, waits, and gives the jitter.
        deadline_seconds: No try is begun later than this after the first one of a request. A
            listing has as long for each item that it waits for.
    """

    def __init__(self, inner: Backend, *, clock: Clock, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        if deadline_seconds <= 0:
            raise ValueError(f"a deadline is in the future, not {deadline_seconds}")
        super().__init__(inner)
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        self._silent_until = clock.monotonic()

    def get(self, key: str) -> Buffer:
        return self._persist(lambda: self._inner.get(key))

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        return self._persist(lambda: self._inner.get_range(key, start, length))

    def head(self, key: str) -> ObjectInfo:
        return self._persist(lambda: self._inner.head(key))

    def put(self, key: str, body: Buffer) -> None:
        # Nobody else uses the key and the bytes are the same: a second try can only repeat the first.
        self._persist(lambda: self._inner.put(key, body))

    def delete(self, key: str) -> None:
        self._persist(lambda: self._inner.delete(key))

    def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None) -> Iterator[ObjectInfo]:
        """Goes on after the last object that was seen, however often it is cut."""
        patience = self._patience()
        while True:
            try:
                for info in self._inner.list(prefix, start_after=start_after, page_size=page_size):
                    start_after = info.key
                    yield info
                    patience = self._patience()
            except TransientBackendError as error:
                patience.wait_after(error)
            else:
                return

    def list_level(self, prefix: str) -> Iterator[ObjectInfo | CommonPrefix]:
        """Begins again when it is cut, and leaves out what was there already: a level can't be entered midway."""
        patience = self._patience()
        last = ""
        while True:
            try:
                for item in self._inner.list_level(prefix):
                    text = item.prefix if isinstance(item, CommonPrefix) else item.key
                    if text > last:
                        yield item
                        last = text
                        patience = self._patience()
            except TransientBackendError as error:
                patience.wait_after(error)
            else:
                return

    def _persist(self, ask: Callable[[], _Result]) -> _Result:
        patience = self._patience()
        while True:
            try:
                return ask()
            except TransientBackendError as error:
                patience.wait_after(error)

    def _patience(self) -> "_Patience":
        return _Patience(self._clock, self._deadline_seconds, self._report)

    def _report(self, error: TransientBackendError, left_seconds: float) -> None:
        """Say why nothing seems to happen; not for every thread that waits, and not all the time."""
        now = self._clock.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + REPORT_EVERY_SECONDS
            _log.warning("%s: %s; trying again for up to %.0f s", self.url, error.what, left_seconds)


class _Patience:
    """How long one request has still got."""

    __slots__ = ("_began", "_clock", "_deadline", "_report", "_wait_seconds")

    def __init__(
        self, clock: Clock, deadline_seconds: float, report: Callable[[TransientBackendError, float], None]
    ) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._deadline = self._began + deadline_seconds
        self._report = report
        self._wait_seconds = FIRST_WAIT_SECONDS

    def wait_after(self, error: TransientBackendError) -> None:
        """Wait before the next try; raises ``error`` where that would begin past the deadline.

        Full jitter: a uniform part of a wait that doubles. Many clients that failed together
        then do not come back together.
        """
        wait = self._clock.jitter() * self._wait_seconds
        if error.retry_after_seconds is not None:
            # Never sooner than asked; the jitter on top spreads those who were all told the same.
            wait += max(0.0, error.retry_after_seconds)
        now = self._clock.monotonic()
        if now + wait > self._deadline:
            raise error
        if now - self._began > SILENT_SECONDS:
            self._report(error, self._deadline - now)
        self._wait_seconds = min(2 * self._wait_seconds, LONGEST_WAIT_SECONDS)
        self._clock.sleep(wait)
