"""What people note on a version, checked before anything is written: message, labels, metadata.

Metadata is a JSON object. What would come back as something else is refused: NaN and
infinities, keys that are not text, values that JSON does not know.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from artifactstore.errors import InvalidMetadata
from artifactstore.names import check_label, listed
from artifactstore.transaction.records import MAX_RECORD_BYTES, Notes

MAX_MESSAGE_BYTES: Final = 64 << 10
MAX_DEPTH: Final = 64
# For what else stands in the record of a version: counts, git state, what it was made from.
_RESERVED_BYTES: Final = 64 << 10


def check_notes(notes: Notes) -> Notes:
    """The notes as they are stored: labels once each, metadata of plain JSON values.

    Raises:
        InvalidName: A label is no name for an alias.
        InvalidMetadata: The metadata is no JSON object, or something is too long; the message says where.
    """
    message = _text(notes.message, "the message")
    length = len(message.encode())
    if length > MAX_MESSAGE_BYTES:
        raise InvalidMetadata(f"the message has {length} bytes, over 64 KiB")
    checked = Notes(
        message=message,
        labels=check_labels(notes.labels),
        metadata=check_metadata(notes.metadata),
        expires=notes.expires,
    )
    length = len(msgspec.json.format(msgspec.json.encode({"notes": checked}), indent=1))
    if length > MAX_RECORD_BYTES - _RESERVED_BYTES:
        raise InvalidMetadata(f"message, labels and metadata have {length} bytes as JSON, over 960 KiB")
    return checked


def check_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels once each, in their order.

    Raises:
        InvalidName: One is not of the grammar of aliases.
    """
    return tuple(dict.fromkeys(check_label(label) for label in listed("labels", labels)))


def check_metadata(metadata: Mapping[str, object]) -> dict[str, object]:
    """A JSON object of plain values: tuples become lists, subclasses of text and numbers plain ones.

    Raises:
        InvalidMetadata: It is none; the message has the path of what is wrong.
    """
    if not isinstance(metadata, Mapping):
        raise InvalidMetadata(f"metadata: a {type(metadata).__name__}, not a JSON object")
    checked = _object(metadata, "metadata", depth=1)
    try:
        again = msgspec.json.decode(msgspec.json.encode(checked))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidMetadata(f"metadata: no JSON that can be read again: {error}") from error
    if again != checked:
        raise InvalidMetadata("metadata: it does not come back from JSON as it was")
    return checked


def _object(value: Mapping[object, object] | Mapping[str, object], path: str, *, depth: int) -> dict[str, object]:
    if depth > MAX_DEPTH:
        raise InvalidMetadata(f"{path[:200]}: nested deeper than {MAX_DEPTH} levels")
    found: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise InvalidMetadata(f"{path}: the key {str(key)[:80]!r} is a {type(key).__name__}, not text")
        plain = _text(key, f"{path}: a key")
        found[plain] = _value(item, f"{path}.{plain}", depth=depth + 1)
    return found


def _value(value: object, path: str, *, depth: int) -> object:
    match value:
        case None | bool():
            return value
        case str():
            return _text(value, path)
        case int():
            return int(value)
        case float():
            if not math.isfinite(value):
                raise InvalidMetadata(f"{path}: JSON has no {value}")
            return float(value)
        case Mapping():
            return _object(value, path, depth=depth)
        case list() | tuple():
            if depth > MAX_DEPTH:
                raise InvalidMetadata(f"{path[:200]}: nested deeper than {MAX_DEPTH} levels")
            return [_value(item, f"{path}[{index}]", depth=depth + 1) for index, item in enumerate(value)]
    raise InvalidMetadata(f"{path}: JSON has no {type(value).__name__}{_advice(value)}")


def _advice(value: object) -> str:
    """What numbers and arrays of numpy, and what is like them, can be turned into."""
    if getattr(value, "ndim", 0):
        return "; its .tolist() may be kept" if hasattr(value, "tolist") else ""
    return "; its .item() may be kept" if callable(getattr(value, "item", None)) else ""


def _text(value: str, path: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{path}: a text is meant, and not {value!r:.200}")
    plain = str.__str__(value)
    try:
        plain.encode()
    except UnicodeEncodeError as error:
        raise InvalidMetadata(f"{path}: not Unicode text") from error
    return plain
