"""Strict, canonical msgpack documents: one value, one spelling; a fault names its place.

Bounds on numbers, lengths and counts are part of the types in `model`; msgspec checks
them before it makes anything. What it decoded must encode to the same bytes again, so
missing defaults, numbers longer than needed and the like are refused. No I/O.
"""

import re
from typing import Any, Final, Generic, TypeVar

import msgspec

from artifactstore.digest import Buffer
from artifactstore.errors import CorruptData

T = TypeVar("T")

_STEP: Final = re.compile(r"\[(\d+|\.\.\.)\]|\.(\w+)")
_PLACE: Final = re.compile(r" - at `([^`]*)`$")


class Document(Generic[T]):
    """One type of document.

    Args:
        kind: The type msgspec decodes to.
        name: What faults are named under: `entries` gives `entries[3].size`. Fields of a struct stand alone.
    """

    def __init__(self, kind: Any, *, name: str) -> None:
        self._kind = kind
        self._name = name
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._encoder = msgspec.msgpack.Encoder()

    def encode(self, value: object) -> bytes:
        """The one spelling of ``value``. Tuples may stand for the structs of the same fields."""
        return self._encoder.encode(value)

    def decode(self, raw: Buffer) -> T:
        """Read a document.

        Raises:
            CorruptData: Not one, or not in its one spelling. The message starts with the place of the fault.
        """
        try:
            value = self._decoder.decode(raw)
        except (msgspec.MsgspecError, RecursionError, MemoryError, UnicodeDecodeError) as error:
            raise CorruptData(self._explain(error)) from error
        # bytes compare by memcmp; a memoryview would be compared element by element.
        if self._encoder.encode(value) != bytes(raw):
            raise CorruptData(f"{self._name}: not in canonical form")
        return value

    def _explain(self, error: BaseException) -> str:
        text = str(error)
        match = _PLACE.search(text)
        place = _place(self._name, match.group(1), self._kind) if match else self._name
        return f"{place}: {_PLACE.sub('', text).lower()}"


def _place(name: str, steps: str, kind: Any) -> str:
    """msgspec's ``$[3][2]`` in the words of the document: ``entries[3].size``."""
    node: Any = msgspec.inspect.type_info(kind)
    whole = name
    if isinstance(node, msgspec.inspect.StructType):
        name = ""
    for step in _STEP.finditer(steps):
        index, field = step.groups()
        if isinstance(node, msgspec.inspect.UnionType):
            node = next(t for t in node.types if not isinstance(t, msgspec.inspect.NoneType))
        if isinstance(node, msgspec.inspect.StructType):
            found = _field(node, index, field)
            name = f"{name}.{found.name}" if name else found.name
            node = found.type
        else:
            name = f"{name}[{index}]"
            is_fixed = isinstance(node, msgspec.inspect.TupleType)
            node = node.item_types[int(index)] if is_fixed else getattr(node, "item_type", None)
    return name or whole


def _field(node: Any, index: str | None, field: str | None) -> Any:
    if field is not None:
        return next(f for f in node.fields if f.encode_name == field)
    return node.fields[int(index or 0)]
