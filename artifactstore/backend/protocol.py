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

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

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
            ObjectExists: Other bytes are there. Only some backends look (local disk, memory); none may be relied on.
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


MAX_OBJECT_KEY_BYTES: Final = 1024
TEMPORARY_PREFIX: Final = "tmp/"
_FORBIDDEN_IN_KEYS: Final = re.compile(r"[\x00-\x1f\x7f]")


def check_object_key(key: str) -> str:
    """``key`` if an object may be stored under it; every backend asks here first.

    One rule for all backends, so that nothing works on one storage and escapes its root on another.

    Raises:
        ValueError: Empty, absolute, an empty component, ``.`` or ``..``, a control character, text that is not
            UTF-8, over 1,024 bytes, or below ``tmp/`` (which belongs to the local backend).
    """
    if _has_bad_components(key.split("/")) or key.startswith(TEMPORARY_PREFIX):
        raise ValueError(f"not a key of an object: {key[:200]!r}")
    _check_key_text(key)
    return key


def check_object_prefix(prefix: str) -> str:
    """``prefix`` if keys may start with it. Empty is fine, and so is one that ends inside a component.

    Raises:
        ValueError: No key can start with it; see `check_object_key`.
    """
    components = prefix.split("/")
    if _has_bad_components(components[:-1]):
        raise ValueError(f"not a prefix of keys: {prefix[:200]!r}")
    _check_key_text(prefix)
    return prefix


def check_level_prefix(prefix: str) -> str:
    """``prefix`` if a level can be listed below it: empty, or ending with ``/``.

    Raises:
        ValueError: It can't.
    """
    check_object_prefix(prefix)
    if prefix and not prefix.endswith("/"):
        raise ValueError(f"a level is listed below a prefix that ends with '/', not {prefix[:200]!r}")
    return prefix


def is_object_key(text: str) -> bool:
    """Whether ``text`` could be the key of an object: listings leave everything else out as foreign."""
    try:
        check_object_key(text)
    except ValueError:
        return False
    return True


def _has_bad_components(components: Sequence[str]) -> bool:
    return any(component in ("", ".", "..") for component in components)


def _check_key_text(text: str) -> None:
    try:
        length = len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"a key is text that UTF-8 can carry, not {text[:200]!r}") from error
    if length > MAX_OBJECT_KEY_BYTES or _FORBIDDEN_IN_KEYS.search(text):
        raise ValueError(f"not a key of an object: {text[:200]!r}")
