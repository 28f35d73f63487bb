"""The lock file: which content each name is pinned to, in a form that git shows and merges well.

    version = 1

    [pins."models/resnet"]
    asked = "models/resnet:prod"        the reference as it was given
    version = "v3"                      what it meant then: for people
    content = "4be0…"                   the content digest: what is pulled
    to = "models/resnet"                where to, below the lock file's folder

One table for each name, sorted by name, each field on a line of its own, nothing that changes without need: the
same pins are the same bytes. A lock file comes with a checkout, from whoever wrote it, so that nothing in it is
believed before it is checked; a pull goes nowhere but below the folder of the file, and never into `.git`.
This module turns text into values and back, and says what a change would be. It does no I/O.
"""

import posixpath
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from artifactstore.digest import parse_digest
from artifactstore.errors import InvalidName, LockFileError, UnsupportedFormat
from artifactstore.manifest.paths import unsafe_reason
from artifactstore.names import Name, Slot, parse_version, parse_whole

FORMAT: Final = 1
MAX_LOCK_BYTES: Final = 4 << 20
_HEADER: Final = "# Made by `artifactstore lock`; `artifactstore pull --lock` obeys it.\n"
_FIELDS: Final = ("asked", "version", "content", "to")
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\"}
_GIT_NAMES: Final = (".git", "git~1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One name, and the content that it is pinned to.

    Attributes:
        name: ``folder/name``.
        asked: The reference as it was given, such as ``folder/name:prod``.
        version: ``v3``, what that meant when it was pinned.
        content_digest: 64 hexadecimal digits.
        destination: Where pulls put it, relative to the folder of the lock file.

    Raises:
        InvalidName: ``name``, ``asked`` or ``version`` is not what it should be.
        ValueError: ``content_digest`` or ``destination`` is not.
    """

    name: str
    asked: str
    version: str
    content_digest: str
    destination: str

    def __post_init__(self) -> None:
        name = Name(self.name)
        if parse_whole(self.asked).name != name:
            raise InvalidName(f"{self.asked!r} is of another name than {self.name}")
        if not isinstance(parse_version(self.version), Slot):
            raise InvalidName(f"{self.version!r} is no version such as v3")
        parse_digest(self.content_digest)
        check_destination_path(self.destination)

    @property
    def reference(self) -> str:
        """What is pulled: ``folder/name@4be0…``."""
        return f"{self.name}@{self.content_digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A lock file's pins, by name.

    Raises:
        ValueError: Two are of one name, or would go to one place.
    """

    pins: tuple[Pin, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "pins", tuple(sorted(self.pins, key=lambda pin: pin.name)))
        names = [pin.name for pin in self.pins]
        if len(set(names)) != len(names):
            raise ValueError("two pins of one name")
        _check_apart(self.pins)

    def of(self, name: str) -> Pin | None:
        """The pin of a name, or None."""
        return next((pin for pin in self.pins if pin.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinChange:
    """What became of one pin; ``old`` is None where there was none."""

    pin: Pin
    old: Pin | None = None

    @property
    def kind(self) -> str:
        """``added``, ``changed`` or ``unchanged``."""
        if self.old is None:
            return "added"
        return "unchanged" if self.old == self.pin else "changed"


def check_destination_path(text: str) -> str:
    """``text`` if a lock file may send content there.

    Raises:
        ValueError: Absolute, or with `.`, `..`, `.git`, an empty part, or something that can't be printed, in it.
    """
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!r} is not Unicode text") from error
    if reason := unsafe_reason(raw):
        raise ValueError(f"the path {text[:200]!r} {reason}")
    if not text.isprintable():
        raise ValueError(f"the path {text[:200]!r} has characters that can't be printed")
    if leads_into_git(text):
        raise ValueError(f"the path {text[:200]!r} leads into git's own files")
    return text


def leads_into_git(path: str) -> bool:
    """Whether a relative path is, or is in, a `.git`; also as file systems spell it that know no case, or drop dots
    and blanks at the end.
    """
    return any(part.casefold().rstrip(". ") in _GIT_NAMES for part in path.split("/"))


def normal_destination(text: str) -> str:
    """A destination as people type it (``./data/``) as it stands in a lock file.

    Raises:
        ValueError: As `check_destination_path`.
    """
    return check_destination_path(posixpath.normpath(text) if text else text)


def _check_apart(pins: Iterable[Pin]) -> None:
    """Refuse two destinations of which one is, or contains, the other: pulls would undo one another."""
    by_place = sorted(pins, key=_parts)
    # Sorted by their parts, a place is followed at once by what lies in it.
    for one, other in pairwise(by_place):
        if _parts(other)[: len(_parts(one))] == _parts(one):
            raise ValueError(f"{one.name} and {other.name} would go to {one.destination} and {other.destination}")


def _parts(pin: Pin) -> list[str]:
    """Of its destination. File systems that know no case take ``A`` and ``a`` for one place."""
    return pin.destination.casefold().split("/")


def plan_pins(lock: Lock, pins: Iterable[Pin]) -> tuple[Lock, tuple[PinChange, ...]]:
    """The lock file with these pins in place of those of the same names, and what that changes.

    Raises:
        ValueError: Two are of one name, or would go to one place.
    """
    fresh = tuple(pins)
    names = {pin.name for pin in fresh}
    changes = tuple(PinChange(pin=pin, old=lock.of(pin.name)) for pin in fresh)
    return Lock(pins=(*fresh, *(pin for pin in lock.pins if pin.name not in names))), changes


def serialize_lock(lock: Lock) -> str:
    """The text of a lock file. The same pins give the same text."""
    tables = (_table(pin) for pin in lock.pins)
    return "\n".join([f"{_HEADER}version = {FORMAT}\n", *tables])


def _table(pin: Pin) -> str:
    values = (pin.asked, pin.version, pin.content_digest, pin.destination)
    lines = [f"{field} = {_quoted(value)}\n" for field, value in zip(_FIELDS, values, strict=True)]
    return f"[pins.{_quoted(pin.name)}]\n{''.join(lines)}"


def _quoted(text: str) -> str:
    """A basic string of TOML. `Pin` lets no control character through, and those are all else that needs an escape."""
    return f'"{"".join(_ESCAPES.get(character, character) for character in text)}"'


def parse_lock(text: str, *, where: str) -> Lock:
    """Read the text of a lock file, and check all that it says.

    Args:
        where: The file, for messages.

    Raises:
        UnsupportedFormat: A newer version of it.
        LockFileError: It is not a lock file, or says what a lock file may not say; names the field.
    """
    document = _toml(text, where)
    version = document.get("version")
    if type(version) is not int:
        raise LockFileError("version: no number of a version of this format", where=where)
    if version != FORMAT:
        raise UnsupportedFormat(f"a lock file of version {version}, and this reads version {FORMAT}", where=where)
    _check_keys(document, {"version", "pins"}, "", where)
    tables = document.get("pins", {})
    if not isinstance(tables, Mapping):
        raise LockFileError("pins: not tables by name", where=where)
    pins = tuple(_pin(name, table, where) for name, table in tables.items())
    try:
        return Lock(pins=pins)
    except ValueError as error:
        raise LockFileError(str(error), where=where) from error


def _toml(text: str, where: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        marks = " (git has left marks of a conflict in it)" if "\n<<<<<<< " in f"\n{text}" else ""
        raise LockFileError(f"it can't be read as TOML{marks}: {str(error)[:200]}", where=where) from error


def _pin(name: str, table: Any, where: str) -> Pin:
    path = f"pins.{name[:200]!r}"
    if not isinstance(table, Mapping):
        raise LockFileError(f"{path}: not a table", where=where)
    _check_keys(table, set(_FIELDS), f"{path}.", where)
    for field in _FIELDS:
        if not isinstance(table.get(field), str):
            raise LockFileError(f"{path}.{field}: no text", where=where)
    try:
        return Pin(
            name=name,
            asked=table["asked"],
            version=table["version"],
            content_digest=table["content"],
            destination=table["to"],
        )
    except ValueError as error:
        raise LockFileError(f"{path}: {error}", where=where) from error


def _check_keys(table: Mapping[str, Any], known: set[str], path: str, where: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        # Nothing is ever left out when the file is written again.
        raise LockFileError(f"{path}{unknown[0][:200]}: not a field of a lock file", where=where)
