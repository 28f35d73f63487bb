"""A cache in memory, for one process: small, exact, and the model that the others are held against."""

import threading
from collections import OrderedDict
from typing import Final

from artifactstore.digest import CHUNK_CONTEXT, Buffer, Digest, PackId, digest_of
from artifactstore.forks import renew_in_children

_CHUNK: Final = b"c"
_TABLE: Final = b"t"


class MemoryCache:
    """Keeps what was used last, up to a number of bytes of content. A forked child has a copy of its own."""

    def __init__(self, *, max_bytes: int) -> None:
        """``max_bytes`` is a hard limit; what is longer by itself is not kept.

        Raises:
            ValueError: It is negative.
        """
        if max_bytes < 0:
            raise ValueError(f"max_bytes must not be negative, not {max_bytes}")
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, bytes] = OrderedDict()
        self._used_bytes = 0
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child (`artifactstore.forks`): begin anew, because a thread may have been changing it."""
        self._lock = threading.Lock()
        self._entries = OrderedDict()
        self._used_bytes = 0

    @property
    def used_bytes(self) -> int:
        """Length of all that is kept."""
        return self._used_bytes

    def get(self, digest: Digest, length: int) -> bytes | None:
        raw = self._get(_CHUNK + digest)
        if raw is None or (len(raw) == length and digest_of(CHUNK_CONTEXT, raw) == digest):
            return raw
        with self._lock:
            self._drop(_CHUNK + digest)
        return None

    def put(self, digest: Digest, raw: Buffer) -> None:
        self._put(_CHUNK + digest, raw)

    def get_table(self, pack: PackId) -> bytes | None:
        return self._get(_TABLE + pack)

    def put_table(self, pack: PackId, tail: Buffer) -> None:
        self._put(_TABLE + pack, tail)

    def _get(self, key: bytes) -> bytes | None:
        with self._lock:
            value = self._entries.get(key)
            if value is not None:
                self._entries.move_to_end(key)
            return value

    def _put(self, key: bytes, value: Buffer) -> None:
        size = memoryview(value).nbytes
        with self._lock:
            self._drop(key)
            if size > self._max_bytes:
                return
            while self._used_bytes + size > self._max_bytes:
                self._drop(next(iter(self._entries)))
            self._entries[key] = bytes(value)
            self._used_bytes += size

    def _drop(self, key: bytes) -> None:
        value = self._entries.pop(key, None)
        if value is not None:
            self._used_bytes -= len(value)
