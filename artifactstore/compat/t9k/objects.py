"""What `Artifact.objects` is: the mapping that t9k makes, which can be used as the list that it documents.

    objects["a/b"]["size_bytes"]        as a mapping: by object path
    objects[0], objects[-1]["path"]     as a list
    for each in objects:                each is the path, as text, and has the fields of its object
        print(each, each["size_bytes"])

Both are values: changing them changes nothing in the Artifact.
"""

from collections.abc import Iterable, Iterator
from typing import Self, SupportsIndex, overload

Record = dict[str, str | int]


class ObjectPath(str):
    """An object path that also gives the fields of its object: ``path["checksum"]``."""

    record: Record

    def __new__(cls, record: Record) -> Self:
        self = super().__new__(cls, record["path"])
        self.record = record
        return self

    @overload
    def __getitem__(self, key: str, /) -> str | int: ...
    @overload
    def __getitem__(self, key: SupportsIndex | slice, /) -> str: ...
    def __getitem__(self, key: str | SupportsIndex | slice, /) -> str | int:
        return self.record[key] if isinstance(key, str) else super().__getitem__(key)

    def __reduce__(self) -> tuple[object, ...]:
        return ObjectPath, (self.record,)

    def get(self, key: str, default: str | int | None = None) -> str | int | None:
        """A field of the object, or ``default``."""
        return self.record.get(key, default)

    def keys(self) -> Iterable[str]:
        """The names of the object's fields."""
        return self.record.keys()

    def values(self) -> Iterable[str | int]:
        """The values of the object's fields."""
        return self.record.values()

    def items(self) -> Iterable[tuple[str, str | int]]:
        """The object's fields."""
        return self.record.items()


class Objects(dict[str, Record]):
    """Objects by their paths. Changing it changes nothing in the Artifact.

    Args:
        records: One for each object: `path` and either `size_bytes` and `checksum` (MD5, hexadecimal), or `uri`.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        super().__init__((ObjectPath(record), record) for record in records)

    @overload
    def __getitem__(self, key: str | int, /) -> Record: ...
    @overload
    def __getitem__(self, key: slice, /) -> list[Record]: ...  # type: ignore[overload-cannot-match,unused-ignore]
    def __getitem__(self, key: str | int | slice, /) -> Record | list[Record]:
        return super().__getitem__(key) if isinstance(key, str) else list(self.values())[key]

    def __contains__(self, key: object, /) -> bool:
        return any(record == key for record in self.values()) if isinstance(key, dict) else super().__contains__(key)

    def __reduce__(self) -> tuple[object, ...]:
        return Objects, (list(self.values()),)

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self))
