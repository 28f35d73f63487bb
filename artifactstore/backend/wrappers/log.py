"""Each request as a line of the log, for `-v`: verb, key, bytes, time. Keys hold no secrets."""

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

from artifactstore.backend.protocol import Backend, CommonPrefix, ObjectInfo
from artifactstore.backend.wrappers.forward import ForwardingBackend, body_bytes
from artifactstore.clock import Clock
from artifactstore.digest import Buffer
from artifactstore.errors import ArtifactStoreError

_log = logging.getLogger("artifactstore.requests")
_Result = TypeVar("_Result")


def is_wanted() -> bool:
    """Whether anybody listens; otherwise the wrapper is left out."""
    return _log.isEnabledFor(logging.INFO)


class LogBackend(ForwardingBackend):
    """Logs every request when it has ended, failed ones with their error."""

    def __init__(self, inner: Backend, *, clock: Clock) -> None:
        super().__init__(inner)
        self._clock = clock

    def get(self, key: str) -> Buffer:
        return self._timed("GET", key, lambda: self._inner.get(key))

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        return self._timed(f"GET {start}+{length}", key, lambda: self._inner.get_range(key, start, length))

    def put(self, key: str, body: Buffer) -> None:
        self._timed(f"PUT {body_bytes(body)}", key, lambda: self._inner.put(key, body))

    def put_if_absent(self, key: str, body: Buffer) -> None:
        self._timed(f"PUT-IF-ABSENT {body_bytes(body)}", key, lambda: self._inner.put_if_absent(key, body))

    def head(self, key: str) -> ObjectInfo:
        return self._timed("HEAD", key, lambda: self._inner.head(key))

    def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None) -> Iterator[ObjectInfo]:
        _log.info("LIST %s", prefix)
        return self._inner.list(prefix, start_after=start_after, page_size=page_size)

    def list_level(self, prefix: str) -> Iterator[ObjectInfo | CommonPrefix]:
        _log.info("LIST one level of %s", prefix)
        return self._inner.list_level(prefix)

    def delete(self, key: str) -> None:
        self._timed("DELETE", key, lambda: self._inner.delete(key))

    def _timed(self, verb: str, key: str, ask: Callable[[], _Result]) -> _Result:
        began = self._clock.monotonic()
        try:
            result = ask()
        except ArtifactStoreError as error:
            _log.info("%s %s: %s, %.0f ms", verb, key, error.what, 1000 * (self._clock.monotonic() - began))
            raise
        _log.info("%s %s: %.0f ms", verb, key, 1000 * (self._clock.monotonic() - began))
        return result
