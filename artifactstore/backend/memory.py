"""A backend in memory: the default in tests, and the reference for what the others must do.

One lock around every effect makes it linearizable. Listings fetch page after page, each
under the lock of its own, so that writes fall between pages as they do on a real storage.
"""

import bisect
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from artifactstore.backend.protocol import (
    CommonPrefix,
    ObjectInfo,
    check_level_prefix,
    check_object_key,
    check_object_prefix,
)
from artifactstore.clock import SYSTEM_CLOCK, Clock
from artifactstore.digest import Buffer
from artifactstore.errors import CorruptData, ObjectExists, ObjectNotFound

PAGE_OBJECTS: Final = 1000
# The least text that sorts after everything that starts with a given text and "/".
_AFTER_SLASH: Final = chr(ord("/") + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object as it lies in memory."""

    body: bytes
    modified: float


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """All objects at one moment; see `MemoryBackend.snapshot`."""

    objects: Mapping[str, StoredObject]


class MemoryBackend:
    """Objects in a dictionary.

    Args:
        clock: Stamps ``modified``.
        name: Stands in ``url``, to tell two of them apart in messages.
        has_put_if_absent: False plays a storage without an atomic put-if-absent: what
            `put_if_absent` does stays the same, only the promise is withdrawn.
    """

    def __init__(
        self, *, clock: Clock = SYSTEM_CLOCK, name: str = "store", has_put_if_absent: bool = True
    ) -> None:
        self._clock = clock
        self._name = name
        self._has_put_if_absent = has_put_if_absent
        self._lock = threading.Lock()
        self._objects: dict[str, StoredObject] = {}
        self._sorted_keys: list[str] = []

    def __repr__(self) -> str:
        return f"MemoryBackend({self.url!r}, {len(self._objects)} objects)"

    @property
    def url(self) -> str:
        return f"memory://{self._name}"

    @property
    def has_put_if_absent(self) -> bool:
        return self._has_put_if_absent

    def get(self, key: str) -> Buffer:
        return self._object(key).body

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        if start < 0 or length <= 0:
            raise ValueError(f"not a range: {length} bytes from {start}")
        body = self._object(key).body
        if start + length > len(body):
            raise CorruptData(
                f"the object has {len(body)} bytes only", key=key, byte_range=(start, start + length), where=key
            )
        return body[start : start + length]

    def put(self, key: str, body: Buffer) -> None:
        content = bytes(body)
        check_object_key(key)
        with self._lock:
            present = self._objects.get(key)
            if present is None:
                self._insert(key, content)
            elif present.body != content:
                # Nothing is ever overwritten in a store: whoever does it here has a bug.
                raise ObjectExists(key, where=self.url)

    def put_if_absent(self, key: str, body: Buffer) -> None:
        content = bytes(body)
        check_object_key(key)
        with self._lock:
            if key in self._objects:
                raise ObjectExists(key, where=self.url)
            self._insert(key, content)

    def head(self, key: str) -> ObjectInfo:
        return _info(key, self._object(key))

    def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None) -> Iterator[ObjectInfo]:
        check_object_prefix(prefix)
        page_objects = min(page_size or PAGE_OBJECTS, PAGE_OBJECTS)
        while page := self._page(prefix, start_after, page_objects):
            yield from page
            if len(page) < page_objects:
                return
            start_after = page[-1].key

    def list_level(self, prefix: str) -> Iterator[ObjectInfo | CommonPrefix]:
        check_level_prefix(prefix)
        found: ObjectInfo | CommonPrefix | None = self._next_in_level(prefix, prefix)
        while found is not None:
            yield found
            if isinstance(found, CommonPrefix):
                found = self._next_in_level(prefix, found.prefix[:-1] + _AFTER_SLASH)
            else:
                found = self._next_in_level(prefix, found.key + "\0")

    def delete(self, key: str) -> None:
        check_object_key(key)
        with self._lock:
            if self._objects.pop(key, None) is not None:
                del self._sorted_keys[bisect.bisect_left(self._sorted_keys, key)]

    def close(self) -> None:
        pass

    # What follows is for tests only: no other backend has it.

    def __contains__(self, key: object) -> bool:
        with self._lock:
            return key in self._objects

    def snapshot(self) -> MemorySnapshot:
        """All objects now. Cheap: bodies are immutable and shared."""
        with self._lock:
            return MemorySnapshot(dict(self._objects))

    def restore(self, snapshot: MemorySnapshot) -> None:
        """Make the store hold exactly what ``snapshot`` holds."""
        with self._lock:
            self._objects = dict(snapshot.objects)
            self._sorted_keys = sorted(self._objects)

    def copy(self) -> "MemoryBackend":
        """Another store with the same objects, independent from here on."""
        twin = MemoryBackend(clock=self._clock, name=self._name, has_put_if_absent=self._has_put_if_absent)
        twin.restore(self.snapshot())
        return twin

    def overwrite(self, key: str, body: Buffer) -> None:
        """Damage an object: put other bytes under its key, keeping the time it was written."""
        with self._lock:
            present = self._objects.get(key)
            if present is None:
                raise ObjectNotFound(key, where=self.url)
            self._objects[key] = StoredObject(body=bytes(body), modified=present.modified)

    def set_modified(self, key: str, modified: float) -> None:
        """Make an object older or younger than it is, in seconds since the epoch."""
        with self._lock:
            present = self._objects.get(key)
            if present is None:
                raise ObjectNotFound(key, where=self.url)
            self._objects[key] = StoredObject(body=present.body, modified=modified)

    def keys(self) -> tuple[str, ...]:
        """All keys, sorted."""
        with self._lock:
            return tuple(self._sorted_keys)

    def _object(self, key: str) -> StoredObject:
        check_object_key(key)
        with self._lock:
            present = self._objects.get(key)
        if present is None:
            raise ObjectNotFound(key, where=self.url)
        return present

    def _insert(self, key: str, content: bytes) -> None:
        bisect.insort(self._sorted_keys, key)
        self._objects[key] = StoredObject(body=content, modified=self._clock.now())

    def _page(self, prefix: str, start_after: str, page_objects: int) -> tuple[ObjectInfo, ...]:
        with self._lock:
            # Text of Python sorts as its UTF-8 does: by code point.
            first = max(
                bisect.bisect_left(self._sorted_keys, prefix), bisect.bisect_right(self._sorted_keys, start_after)
            )
            keys = self._sorted_keys[first : first + page_objects]
            return tuple(_info(key, self._objects[key]) for key in keys if key.startswith(prefix))

    def _next_in_level(self, prefix: str, start: str) -> ObjectInfo | CommonPrefix | None:
        with self._lock:
            position = bisect.bisect_left(self._sorted_keys, start)
            if position == len(self._sorted_keys) or not self._sorted_keys[position].startswith(prefix):
                return None
            key = self._sorted_keys[position]
            slash = key.find("/", len(prefix))
            return CommonPrefix(key[: slash + 1]) if slash >= 0 else _info(key, self._objects[key])


def _info(key: str, stored: StoredObject) -> ObjectInfo:
    return ObjectInfo(key=key, size_bytes=len(stored.body), modified=stored.modified)
