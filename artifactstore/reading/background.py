"""Putting into a cache without making a reader wait for its disk."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from artifactstore.chunk_cache.protocol import ChunkCache
from artifactstore.digest import Buffer, Digest, PackId
from artifactstore.forks import Threads, renew_in_children

MAX_WAITING_BYTES: Final = 32 << 20


class BackgroundPuts:
    """A cache that one thread puts into, while readers go on. What it can't keep up with is not kept."""

    def __init__(self, cache: ChunkCache) -> None:
        self._cache = cache
        self._thread = Threads(1, "artifactstore-cache")
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child (`artifactstore.forks`): nothing is waiting."""
        self._lock = threading.Lock()
        self._waiting_bytes = 0

    def get(self, digest: Digest, length: int) -> bytes | None:
        return self._cache.get(digest, length)

    def put(self, digest: Digest, raw: Buffer) -> None:
        self._later(partial(self._cache.put, digest, raw), len(raw))

    def get_table(self, pack: PackId) -> bytes | None:
        return self._cache.get_table(pack)

    def put_table(self, pack: PackId, tail: Buffer) -> None:
        self._later(partial(self._cache.put_table, pack, tail), len(tail))

    def flush(self) -> None:
        """Wait until all is put that was given so far."""
        self._thread.submit(int).result()

    def _later(self, put: Callable[[], None], length: int) -> None:
        with self._lock:
            if self._waiting_bytes + length > MAX_WAITING_BYTES:
                return
            self._waiting_bytes += length
        try:
            self._thread.submit(self._put, put, length)
        except RuntimeError:  # the interpreter is on its way out
            self._done(length)

    def _put(self, put: Callable[[], None], length: int) -> None:
        try:
            put()
        finally:
            self._done(length)

    def _done(self, length: int) -> None:
        with self._lock:
            self._waiting_bytes -= length
