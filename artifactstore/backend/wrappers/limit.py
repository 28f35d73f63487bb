"""At most so many requests at once, and at most so many bytes a second."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Final, TypeVar

from artifactstore.backend.protocol import Backend, CommonPrefix, ObjectInfo
from artifactstore.backend.wrappers.forward import ForwardingBackend, body_bytes
from artifactstore.clock import Clock
from artifactstore.digest import Buffer
from artifactstore.forks import renew_in_children

_Item = TypeVar("_Item")
_BURST_SECONDS: Final = 0.25


class TokenBucket:
    """Bytes flow in at a rate, a quarter of a second's worth is kept, and whoever takes more than is there waits.

    Args:
        rate_bytes: Bytes a second.
        clock: Measures and waits.
    """

    def __init__(self, rate_bytes: int, *, clock: Clock) -> None:
        if rate_bytes <= 0:
            raise ValueError(f"a rate is over 0 bytes a second, not {rate_bytes}")
        self._rate_bytes = rate_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._capacity = rate_bytes * _BURST_SECONDS
        self._level = self._capacity
        self._filled_at = clock.monotonic()

    def take(self, count_bytes: int) -> None:
        """Take that many bytes, and wait as long as they are more than there are.

        The debt is booked at once and the wait is outside the lock: bodies larger than the
        bucket pass, and callers are served in the order in which they came.
        """
        with self._lock:
            now = self._clock.monotonic()
            self._level = min(self._capacity, self._level + (now - self._filled_at) * self._rate_bytes)
            self._filled_at = now
            self._level -= count_bytes
            debt = -self._level
        if debt > 0:
            self._clock.sleep(debt / self._rate_bytes)


class LimitBackend(ForwardingBackend):
    """Holds requests back; changes nothing else.

    Args:
        inner: What is asked.
        clock: Measures and waits.
        requests: How many may run at once. None: any number.
        rate_bytes: Bodies put and got, in bytes a second, all together. None: no limit. A body
            put or a range waits before it goes; a whole object is paid for when its size is known.
    """

    def __init__(
        self, inner: Backend, *, clock: Clock, requests: int | None = None, rate_bytes: int | None = None
    ) -> None:
        if requests is not None and requests < 1:
            raise ValueError(f"at least one request must be allowed, not {requests}")
        super().__init__(inner)
        self._clock = clock
        self._request_limit = requests
        self._rate_bytes = rate_bytes
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child (`artifactstore.forks`): count anew, the parent's requests are not the child's."""
        self._slots: contextlib.AbstractContextManager[object] = (
            contextlib.nullcontext() if self._request_limit is None else threading.BoundedSemaphore(self._request_limit)
        )
        self._bucket = None if self._rate_bytes is None else TokenBucket(self._rate_bytes, clock=self._clock)

    def get(self, key: str) -> Buffer:
        with self._slots:
            body = self._inner.get(key)
        self._pay(body_bytes(body))
        return body

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        self._pay(max(0, length))
        with self._slots:
            return self._inner.get_range(key, start, length)

    def put(self, key: str, body: Buffer) -> None:
        self._pay(body_bytes(body))
        with self._slots:
            self._inner.put(key, body)

    def put_if_absent(self, key: str, body: Buffer) -> None:
        self._pay(body_bytes(body))
        with self._slots:
            self._inner.put_if_absent(key, body)

    def head(self, key: str) -> ObjectInfo:
        with self._slots:
            return self._inner.head(key)

    def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None) -> Iterator[ObjectInfo]:
        return self._held(self._inner.list(prefix, start_after=start_after, page_size=page_size))

    def list_level(self, prefix: str) -> Iterator[ObjectInfo | CommonPrefix]:
        return self._held(self._inner.list_level(prefix))

    def delete(self, key: str) -> None:
        with self._slots:
            self._inner.delete(key)

    def _pay(self, count_bytes: int) -> None:
        if self._bucket is not None:
            self._bucket.take(count_bytes)

    def _held(self, items: Iterator[_Item]) -> Iterator[_Item]:
        # A slot for as long as a page is fetched and not longer: who reads a listing may make
        # requests of its own between two items, or leave it there for ever.
        while True:
            with self._slots:
                item = next(items, None)
            if item is None:
                return
            yield item
