"""Requests and bytes, by verb: what `-v` shows and what tests hold budgets against."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from artifactstore.backend.protocol import Backend, CommonPrefix, ObjectInfo
from artifactstore.backend.wrappers.forward import ForwardingBackend, body_bytes, in_pages
from artifactstore.digest import Buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What was asked for so far.

    Attributes:
        requests: By verb; a listing counts one for each page of at most 1,000.
        sent_bytes: Bodies put.
        received_bytes: Bodies got.
    """

    requests: Mapping[str, int]
    sent_bytes: int
    received_bytes: int

    @property
    def request_count(self) -> int:
        """Requests of all verbs."""
        return sum(self.requests.values())


class CountBackend(ForwardingBackend):
    """Counts requests that were begun, whether they succeed or not; bytes of those that did."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._lock = threading.Lock()
        self._requests: dict[str, int] = {}
        self._sent_bytes = 0
        self._received_bytes = 0

    @property
    def counts(self) -> Counts:
        """What was counted until now."""
        with self._lock:
            return Counts(
                requests=dict(self._requests), sent_bytes=self._sent_bytes, received_bytes=self._received_bytes
            )

    def reset(self) -> None:
        """Start again at nothing."""
        with self._lock:
            self._requests = {}
            self._sent_bytes = self._received_bytes = 0

    def get(self, key: str) -> Buffer:
        self._count("get")
        return self._received(self._inner.get(key))

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        self._count("get_range")
        return self._received(self._inner.get_range(key, start, length))

    def put(self, key: str, body: Buffer) -> None:
        self._count("put")
        self._inner.put(key, body)
        self._sent(body)

    def put_if_absent(self, key: str, body: Buffer) -> None:
        self._count("put_if_absent")
        self._inner.put_if_absent(key, body)
        self._sent(body)

    def head(self, key: str) -> ObjectInfo:
        self._count("head")
        return self._inner.head(key)

    def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None) -> Iterator[ObjectInfo]:
        listing = self._inner.list(prefix, start_after=start_after, page_size=page_size)
        return in_pages(listing, page_size, lambda: self._count("list"))

    def list_level(self, prefix: str) -> Iterator[ObjectInfo | CommonPrefix]:
        return in_pages(self._inner.list_level(prefix), None, lambda: self._count("list_level"))

    def delete(self, key: str) -> None:
        self._count("delete")
        self._inner.delete(key)

    def _count(self, verb: str) -> None:
        with self._lock:
            self._requests[verb] = self._requests.get(verb, 0) + 1

    def _received(self, body: Buffer) -> Buffer:
        with self._lock:
            self._received_bytes += body_bytes(body)
        return body

    def _sent(self, body: Buffer) -> None:
        with self._lock:
            self._sent_bytes += body_bytes(body)
