"""Putting into a cache without making a reader wait for its disk."""

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Final

from artifactstore.chunk_cache.protocol import ChunkCache
from artifactstore.digest import Buffer, Digest, PackId
from artifactstore.forks import Threads, renew_in_children

_log = logging.getLogger(__name__)

BATCH_BYTES: Final = 2 << 20
"""As much is put at once: a thread that wakes for every chunk costs readers more than the putting."""
MAX_WAITING_BYTES: Final = 32 << 20


class BackgroundPuts:
    """A cache that one thread puts into, while readers go on. What it can't keep up with is not kept.

    Some content may wait in memory for more to come; it is put at the end of the process.
    """

    def __init__(self, cache: ChunkCache) -> None:
        self._cache = cache
        self._thread = Threads(1, "artifactstore-cache")
        self._queue = _Queue()
        weakref.finalize(self, _drain, self._queue)

    def get(self, digest: Digest, length: int) -> bytes | None:
        return self._cache.get(digest, length)

    def put(self, digest: Digest, raw: Buffer) -> None:
        self._later(partial(self._cache.put, digest, raw), len(raw))

    def get_table(self, pack: PackId) -> bytes | None:
        return self._cache.get_table(pack)

    def put_table(self, pack: PackId, tail: Buffer) -> None:
        self._later(partial(self._cache.put_table, pack, tail), len(tail))

    def flush(self) -> None:
        """Return when all is put that was given so far."""
        self._thread.submit(_drain, self._queue).result()

    def _later(self, put: Callable[[], None], length: int) -> None:
        if self._queue.add(put, length):
            with contextlib.suppress(RuntimeError):  # the interpreter is on its way out, and drains it then
                self._thread.submit(_drain, self._queue)


class _Queue:
    """What is to be put."""

    def __init__(self) -> None:
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child (`artifactstore.forks`): what waits is the parent's to put."""
        self._lock = threading.Lock()
        self._puts: list[tuple[Callable[[], None], int]] = []
        self._batch_bytes = 0
        self._bytes = 0

    def add(self, put: Callable[[], None], length: int) -> bool:
        """Whether it is time to put what is there."""
        with self._lock:
            if self._bytes + length > MAX_WAITING_BYTES:
                return False
            self._puts.append((put, length))
            self._bytes += length
            self._batch_bytes += length
            if self._batch_bytes < BATCH_BYTES:
                return False
            self._batch_bytes = 0
            return True

    def take(self) -> list[tuple[Callable[[], None], int]]:
        with self._lock:
            taken, self._puts, self._batch_bytes = self._puts, [], 0
            return taken

    def done(self, length: int) -> None:
        with self._lock:
            self._bytes -= length


def _drain(queue: _Queue) -> None:
    taken = queue.take()
    left = sum(length for _, length in taken)
    try:
        for put, length in taken:
            try:
                put()
            # A cache is never a reason to fail, and what follows is none the worse for it.
            except Exception as error:  # noqa: BLE001
                _log.warning("an entry could not be put into the cache: %s", error)
            queue.done(length)
            left -= length
    finally:
        queue.done(left)  # what is left when this thread is interrupted is not put
