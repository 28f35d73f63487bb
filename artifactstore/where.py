"""Conditions on versions, as `find --where` takes them: ``acc >= 0.9``, ``created < 2026-11``, ``message ~ draft``.

    condition   KEY OP VALUE         blanks around OP don't matter
    KEY         a field of `FIELDS`, or a path into the metadata: `metadata.train.acc`, or `train.acc` for short.
                A part with dots, blanks or operators in it stands in double quotes: metadata."val.acc".
                A part of digits is also the place in a list, counted from 0. Where nothing is at the path, a key
                `train.acc` of the metadata itself will do
    OP          = != < <= > >= ~     `~`: contains
    VALUE       the rest of the text; in double quotes (as in JSON) it is text, whatever it looks like

What is stored decides how it is compared: numbers as numbers, true and false as such, text as text. Times
(RFC 3339, in the fields and in metadata) are compared with as much of a time as VALUE has, in UTC:
`created = 2026-11` is that month, `created <= 2026-11-20` has all of that day. `~` looks for a part of a
text, an element of a list, a key of an object. What can't be compared does not match; what is not there
matches `= null` and nothing else.

This module turns text into values and looks at values. It does no I/O, and nothing of an expression is run.
"""

import datetime
import enum
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from artifactstore.errors import InvalidExpression
from artifactstore.results import VersionInfo

_BARE_PART: Final = re.compile(r"""[^\s."=!<>~]+""")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_OPERATOR: Final = re.compile(r"[=!<>~]+")
_BLANKS: Final = re.compile(r"\s*")
_NUMBER: Final = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,4})?", re.ASCII)
_SLOT: Final = re.compile(r"v([0-9]{1,15})", re.ASCII)
_TIME: Final = re.compile(
    r"([0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2})?)?)"
    r"(?:T([0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?)(Z|[+-][0-9]{2}:[0-9]{2})?)?",
    re.ASCII,
)
_DAY: Final = len("2026-11-20")
_MINUTE: Final = len("08:30")
_METADATA: Final = "metadata"


class Operator(enum.Enum):
    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    CONTAINS = "~"


class _Kind(enum.Enum):
    TEXT = "a text"
    NUMBER = "a number"
    TIME = "a time such as 2026-11, 2026-11-20 or 2026-11-20T08:30:00Z"


FIELDS: Final[Mapping[str, _Kind]] = {
    "name": _Kind.TEXT,
    "version": _Kind.NUMBER,
    "created": _Kind.TIME,
    "expires": _Kind.TIME,
    "who": _Kind.TEXT,
    "host": _Kind.TEXT,
    "made_by": _Kind.TEXT,
    "message": _Kind.TEXT,
    "files": _Kind.NUMBER,
    "content_bytes": _Kind.NUMBER,
}
"""What a KEY of one part may name beside metadata. `version` is the number in ``name:v3``."""

_OPERATORS: Final = {each.value: each for each in Operator}
_COMPARISONS: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    Operator.EQUAL: operator.eq,
    Operator.UNEQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.MORE: operator.gt,
    Operator.AT_LEAST: operator.ge,
}
_CONSTANTS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operand:
    """What VALUE may mean: always a text; a number, a time, a constant where it reads as one.

    Attributes:
        is_bare: Not in quotes.
        time: As much of a UTC time as is given.
    """

    text: str
    is_bare: bool
    number: int | float | None = None
    time: str | None = None

    def is_constant(self, value: bool | None) -> bool:
        return self.is_bare and self.text in _CONSTANTS and _CONSTANTS[self.text] is value


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition. Made by `parse_condition`.

    Attributes:
        field: Of `FIELDS`; empty for metadata.
        path: Into the metadata.
    """

    field: str
    path: tuple[str, ...]
    operator: Operator
    operand: _Operand

    def matches(self, info: VersionInfo) -> bool:
        """Whether a version is as this says."""
        value = _of_field(info, self.field) if self.field else _of_metadata(info.metadata, self.path)
        return _compare(value, self.operator, self.operand)


def parse_condition(text: str) -> Condition:
    """Read ``KEY OP VALUE``; see the grammar at the top of this module.

    Raises:
        InvalidExpression: ``text`` is not one; says where it goes wrong.
    """
    path, at = _parse_key(text)
    operator_at = at
    token = _OPERATOR.match(text, at)
    if token is None:
        raise _bad(text, at, "an operator (= != < <= > >= ~) is expected here")
    if token[0] not in _OPERATORS:
        raise _bad(text, at, f"no operator {token[0]}: one of = != < <= > >= ~ is expected here")
    at = _skip(text, token.end())
    operand = _parse_value(text, at)
    how = _OPERATORS[token[0]]
    if len(path) == 1 and path[0] in FIELDS and not text.lstrip().startswith('"'):
        field = path[0]
        operand = _operand_of_field(text, field, how, operand, operator_at=operator_at, value_at=at)
        return Condition(field=field, path=(), operator=how, operand=operand)
    return Condition(field="", path=path[1:] if path[0] == _METADATA else path, operator=how, operand=operand)


def _parse_key(text: str) -> tuple[tuple[str, ...], int]:
    """The parts of KEY, and where what follows begins."""
    parts = []
    at = _skip(text, 0)
    while True:
        if quoted := _QUOTED.match(text, at):
            parts.append(_unquoted(text, quoted))
            at = quoted.end()
        elif bare := _BARE_PART.match(text, at):
            parts.append(bare[0])
            at = bare.end()
        else:
            raise _bad(text, at, "a key is expected here, such as metadata.acc or created")
        if not text.startswith(".", at):
            return tuple(parts), _skip(text, at)
        at += 1


def _parse_value(text: str, at: int) -> _Operand:
    if at == len(text):
        raise _bad(text, at, 'a value is expected here ("" is the empty text)')
    if text[at] == '"':
        quoted = _QUOTED.match(text, at)
        if quoted is None:
            raise _bad(text, at, "this quote is not closed")
        end = _skip(text, quoted.end())
        if end != len(text):
            raise _bad(text, end, "nothing may follow the quoted value")
        value = _unquoted(text, quoted)
        return _Operand(text=value, is_bare=False, time=_utc(value))
    bare = text[at:].rstrip()
    return _Operand(text=bare, is_bare=True, number=_number(bare), time=_utc(bare))


def _operand_of_field(
    text: str, field: str, how: Operator, operand: _Operand, *, operator_at: int, value_at: int
) -> _Operand:
    """The operand as the field's kind takes it. What could never match is refused."""
    kind = FIELDS[field]
    if how is Operator.CONTAINS:
        if kind is _Kind.NUMBER:
            raise _bad(text, operator_at, f"{field} is a number, and ~ looks into texts")
        return operand
    if kind is _Kind.TEXT or operand.is_constant(None):
        return operand
    slot = _SLOT.fullmatch(operand.text) if field == "version" else None
    if slot is not None:
        return replace(operand, is_bare=True, number=int(slot[1]))
    if (operand.number if kind is _Kind.NUMBER else operand.time) is None:
        raise _bad(text, value_at, f"{field} is compared with {kind.value}")
    return replace(operand, is_bare=True)


def _skip(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at


def _unquoted(text: str, quoted: re.Match[str]) -> str:
    try:
        return str(json.loads(quoted[0], strict=False))
    except ValueError as error:
        raise _bad(text, quoted.start(), "not a text as JSON writes it") from error


def _bad(text: str, at: int, what: str) -> InvalidExpression:
    return InvalidExpression(f"{text!r}, character {at + 1}: {what}", position=at)


def _number(text: str) -> int | float | None:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    return float(text) if match[1] or match[2] else int(text)


def _utc(text: str) -> str | None:
    """As much of a time in UTC as ``text`` has of it; None where it is no time."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    date, clock, zone = match[1], match[2] or "", match[3] or "Z"
    if (clock and len(date) < _DAY) or (zone != "Z" and len(clock) < _MINUTE):
        return None
    whole, point, fraction = (f"{date}T{clock}" if clock else date).partition(".")
    filled = whole + "0001-01-01T00:00:00"[len(whole) :]
    try:
        moment = datetime.datetime.fromisoformat(filled + zone).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return None
    return moment.isoformat()[: len(whole)] + point + fraction


def _of_field(info: VersionInfo, field: str) -> object:
    if field == "version":
        return info.slot
    value: object = getattr(info, field)
    return None if field in ("expires", "made_by") and not value else value


def _of_metadata(metadata: Mapping[str, object], path: Sequence[str]) -> object:
    """What lies at a path, or else under a key that is spelled like all of it (``--metadata train.acc=0.9``)."""
    value = _at(metadata, path)
    return metadata.get(".".join(path)) if value is None else value


def _at(metadata: object, path: Sequence[str]) -> object:
    """What lies at a path; None where nothing does."""
    value = metadata
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list | tuple) and part.isascii() and part.isdigit() and len(part) < 16:
            value = value[int(part)] if int(part) < len(value) else None
        else:
            return None
    return value


def _compare(value: object, how: Operator, operand: _Operand) -> bool:
    if value is None:
        return how is Operator.EQUAL and operand.is_constant(None)
    if how is Operator.CONTAINS:
        return _contains(value, operand)
    sides = _sides(value, operand)
    if sides is None:  # not two things of one kind
        return how is Operator.UNEQUAL
    if isinstance(value, bool) and how not in (Operator.EQUAL, Operator.UNEQUAL):
        return False
    return _COMPARISONS[how](*sides)


def _sides(value: object, operand: _Operand) -> tuple[object, object] | None:
    """The two things to compare."""
    match value:
        case bool():
            constant = next((each for each in (True, False) if operand.is_constant(each)), None)
            return None if constant is None else (value, constant)
        case int() | float():
            return None if operand.number is None else (value, operand.number)
        case str():
            time = _utc(value) if operand.is_bare and operand.time is not None and len(value) >= _DAY else None
            if time is None or operand.time is None:
                return value, operand.text
            return time[: len(operand.time)], operand.time
        case _:
            return None


def _contains(value: object, operand: _Operand) -> bool:
    if isinstance(value, str | Mapping):
        return operand.text in value
    if isinstance(value, list | tuple):
        return any(_compare(element, Operator.EQUAL, operand) for element in value)
    return False
