"""What all wrappers share: every verb goes on to the backend inside."""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from artifactstore.backend.protocol import Backend, CommonPrefix, ObjectInfo
from artifactstore.digest import Buffer

_Item = TypeVar("_Item")
PAGE_OBJECTS: Final = 1000
"""What one request of a listing brings at most, by S3's measure."""


class ForwardingBackend:
    """A backend that does what the one inside does. Derive, and change a verb."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inner!r})"

    @property
    def inner(self) -> Backend:
        """The backend inside."""
        return self._inner

    @property
    def url(self) -> str:
        return self._inner.url

    @property
    def has_put_if_absent(self) -> bool:
        return self._inner.has_put_if_absent

    def get(self, key: str) -> Buffer:
        return self._inner.get(key)

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        return self._inner.get_range(key, start, length)

    def put(self, key: str, body: Buffer) -> None:
        self._inner.put(key, body)

    def put_if_absent(self, key: str, body: Buffer) -> None:
        self._inner.put_if_absent(key, body)

    def head(self, key: str) -> ObjectInfo:
        return self._inner.head(key)

    def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None) -> Iterator[ObjectInfo]:
        return self._inner.list(prefix, start_after=start_after, page_size=page_size)

    def list_level(self, prefix: str) -> Iterator[ObjectInfo | CommonPrefix]:
        return self._inner.list_level(prefix)

    def delete(self, key: str) -> None:
        self._inner.delete(key)

    def close(self) -> None:
        self._inner.close()


def body_bytes(body: Buffer) -> int:
    """Length of ``body`` in bytes, whatever its items are."""
    return body.nbytes if isinstance(body, memoryview) else len(body)


def page_objects(page_size: int | None) -> int:
    """How many objects one request of a listing brings, when a caller asks for ``page_size``."""
    return min(page_size or PAGE_OBJECTS, PAGE_OBJECTS)


def in_pages(items: Iterator[_Item], page_size: int | None, on_request: Callable[[], None]) -> Iterator[_Item]:
    """``items``, with ``on_request`` called wherever a storage would be asked for the next page of them."""
    size = page_objects(page_size)
    on_request()
    for number, item in enumerate(items):
        if number and number % size == 0:
            on_request()
        yield item
