"""The seven verbs that every storage speaks, and what they promise.

A backend holds *objects*: immutable bytes under a key (`/`-separated text below one root).
It knows nothing of packs or versions. All methods may be called from any thread.

Promises every backend makes (the conformance suite in `artifactstore.testing` holds each
implementation and each wrapper to them):

- An object appears under its key whole, or not at all, and is durable when `put` returns.
- Reads and listings see every write that has returned, on any machine (read-after-write,
  list-after-write).
- `put_if_absent` lets exactly one of any number of callers win, if `has_put_if_absent`.
- "Not there" is `ObjectNotFound`, and only when the storage said so. An error is never
  "not there", never an empty listing.
- No exception but those of `artifactstore.errors` comes out; SDK errors are mapped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from artifactstore.digest import Buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One object as the storage lists it.

    Attributes:
        size_bytes: Its length.
        modified: When it was written, by the *store's* clock, in seconds since the epoch.
    """

    key: str
    size_bytes: int
    modified: float


@dataclass(frozen=True, slots=True)
class CommonPrefix:
    """All keys that go on from ``prefix``, which ends with `/` (listings by one level)."""

    prefix: str


@runtime_checkable
class Backend(Protocol):
    """One storage root."""

    @property
    def url(self) -> str:
        """Where it is, for people: without credentials."""
        ...

    @property
    def has_put_if_absent(self) -> bool:
        """Whether `put_if_absent` is meant to be atomic here. `init` proves it by a race."""
        ...

    def get(self, key: str) -> Buffer:
        """The whole object.

        Raises:
            ObjectNotFound: The storage said that it is not there.
            BackendError: Anything else.
        """
        ...

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        """Exactly ``length`` (> 0) bytes from ``start``.

        Raises:
            ObjectNotFound: The storage said that it is not there.
            CorruptData: The object ends before ``start + length``: never a short read.
            BackendError: Anything else.
        """
        ...

    def put(self, key: str, body: Buffer) -> None:
        """Store ``body`` under a key that nobody else uses. Putting the same bytes again is harmless.

        Raises:
            BackendError: It may or may not be there (`TransientBackendError.effect_unknown`).
        """
        ...

    def put_if_absent(self, key: str, body: Buffer) -> None:
        """Store ``body`` unless the key is taken. Never retried below: a retry can lose against itself.

        Raises:
            ObjectExists: The key is taken, or another writer is at it (S3's 412 and 409): read it back.
            BackendError: It may or may not be there.
        """
        ...

    def head(self, key: str) -> ObjectInfo:
        """Ask the storage itself, past every cache.

        Raises:
            ObjectNotFound: The storage said that it is not there.
            BackendError: Anything else.
        """
        ...

    def list(
        self, prefix: str, *, start_after: str = "", page_size: int | None = None
    ) -> Iterator[ObjectInfo]:
        """Objects whose key starts with ``prefix`` and sorts after ``start_after``, in byte order of their keys.

        Pages are fetched as the iterator goes on; ``page_size`` caps one page, for callers who want only the
        first few. An empty prefix lists everything. Temporary objects of the backend itself are left out.
        """
        ...

    def list_level(self, prefix: str) -> Iterator[ObjectInfo | CommonPrefix]:
        """One level below ``prefix`` (empty, or ending with `/`): objects, and what goes on after the next `/`.

        In byte order of key or prefix.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the object; durable on return. An absent key is fine."""
        ...

    def close(self) -> None:
        """Give back connections and handles. Calling it twice is fine."""
        ...
