"""The grammar of names, versions, aliases and references to content.

    name        folder/sub/name      segments of [A-Za-z0-9_][A-Za-z0-9._-]{0,127}, at most 8 folders
    version     v3 | latest | alias  `v<number>` and `latest` are computed, never stored as aliases
    reference   NAME | NAME:VERSION | NAME:VERSION/path | NAME@DIGEST | NAME@DIGEST/path

Without `:` or `@` the whole text is a name. There is one spelling of each; others are
refused, not normalised. Paths in references are text; bytes that are not UTF-8 come in as
Python's surrogate escapes, as on any command line.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import quote, unquote

from artifactstore.digest import Digest, parse_digest
from artifactstore.errors import InvalidName

_Item = TypeVar("_Item")
MAX_FOLDER_DEPTH: Final = 8
LATEST: Final = "latest"
JOBS: Final = ".jobs"
"""Folder of all that belongs to jobs."""
MAX_JOB_TEXT_BYTES: Final = 200
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_SLOT: Final = re.compile(r"v([1-9][0-9]{0,14})", re.ASCII)
_JOB_NAME: Final = re.compile(r"\.jobs/([^/@]+)/([a-z]+)/([^/@]+)", re.ASCII)
_GRAMMAR: Final = "letters, digits, `.`, `_` and `-`, starting with a letter, digit or `_`, at most 128 characters"


def checked_text(what: str, given: str) -> str:
    """``given`` if it is a text. What is none would fail somewhere else, and not say what it is about.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(given, str):
        raise TypeError(f"{what} is a text, and not {given!r:.200}")
    return given


def _check_segment(segment: str, *, of: str) -> None:
    if not _SEGMENT.fullmatch(segment):
        raise InvalidName(f"{of}: {segment!r} is not a valid name part ({_GRAMMAR})")


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A store-wide name: ``folder/sub/name``."""

    text: str

    def __post_init__(self) -> None:
        if not checked_text("a name", self.text):
            raise InvalidName("a name can't be empty")
        if ":" in self.text or "@" in self.text:
            raise InvalidName(f"{self.text!r} says which version, and just a name is meant here")
        segments = self.text.split("/")
        if len(segments) > MAX_FOLDER_DEPTH + 1:
            raise InvalidName(f"name {self.text!r} is more than {MAX_FOLDER_DEPTH} folders deep")
        for segment in segments:
            _check_segment(segment, of=f"name {self.text!r}")

    @property
    def folder(self) -> str:
        """The folder part, without a slash at the end; empty at the top."""
        return self.text.rpartition("/")[0]

    @property
    def last(self) -> str:
        """The part after the last slash."""
        return self.text.rpartition("/")[2]

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, order=True)
class JobName(Name):
    """What a job has versions of: ``.jobs/<job id>/<kind>/<key>``, job id and key percent-encoded.

    No name of people begins with a dot, so the two never meet. Made by `job_name`.
    """

    def __post_init__(self) -> None:
        match = _JOB_NAME.fullmatch(self.text)
        if match is None or any(encode_job_text(decode_job_text(part)) != part for part in match.group(1, 3)):
            raise InvalidName(f"{self.text!r} is not the name of something that a job has")

    @property
    def job_id(self) -> str:
        return decode_job_text(self.text.split("/")[1])

    @property
    def kind(self) -> str:
        return self.text.split("/")[2]

    @property
    def key(self) -> str:
        return decode_job_text(self.last)


def job_name(job_id: str, kind: str, key: str) -> JobName:
    """The name of what job ``job_id`` has under ``key``; ``kind`` is such as ``dir`` or ``saved``.

    Raises:
        InvalidName: Job id or key is empty, has control characters, or passes 200 bytes encoded.
    """
    return JobName(f"{JOBS}/{encode_job_text(job_id)}/{kind}/{encode_job_text(key)}")


def any_name(text: str) -> Name:
    """A name of people or of what a job has, as this package wrote it down somewhere.

    Raises:
        InvalidName: It is neither.
    """
    return JobName(text) if text.startswith(f"{JOBS}/") else Name(text)


def encode_job_text(text: str) -> str:
    """A job id or key as it stands in keys: percent-encoded, so that any text is one segment.

    Raises:
        InvalidName: It is empty, has control characters, is no text, or passes 200 bytes encoded.
    """
    if not isinstance(text, str):
        raise TypeError(f"what names a job, or what it has, is a text, and not {text!r}")
    if not text or not text.isprintable():
        raise InvalidName(f"{text[:200]!r} can't name a job, or what it has: empty, or control characters")
    encoded = quote(text, safe="")
    if encoded.strip(".") == "":
        encoded = encoded.replace(".", "%2E")  # a storage may take `.` and `..` for something else
    if len(encoded) > MAX_JOB_TEXT_BYTES:
        raise InvalidName(f"{text[:200]!r} is too long: over {MAX_JOB_TEXT_BYTES} bytes, percent-encoded")
    return encoded


def decode_job_text(encoded: str) -> str:
    """The text behind `encode_job_text`; what is not UTF-8 becomes U+FFFD, which never encodes to the same."""
    return unquote(encoded)


def listed(what: str, given: Iterable[_Item]) -> tuple[_Item, ...]:
    """What is given as a list. A text alone would be taken for the list of its letters.

    Raises:
        TypeError: It is no list.
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(f"{what}: a list is meant, and not {given!r:.200}")
    return tuple(given)


def check_folder(text: str) -> str:
    """``text`` if it is a folder (empty means the top).

    Raises:
        InvalidName: It is not.
    """
    if checked_text("a folder", text):
        segments = text.split("/")
        if len(segments) > MAX_FOLDER_DEPTH:
            raise InvalidName(f"folder {text!r} is more than {MAX_FOLDER_DEPTH} deep")
        for segment in segments:
            _check_segment(segment, of=f"folder {text!r}")
    return text


def check_alias(text: str) -> str:
    """``text`` if it may be stored as an alias.

    Raises:
        InvalidName: Not a valid segment, or one of the computed names (``latest``, ``v3``).
    """
    return _check_mark(text, "alias")


def check_label(text: str) -> str:
    """``text`` if it may be stored as a label: the grammar is that of aliases.

    Raises:
        InvalidName: As `check_alias`.
    """
    return _check_mark(text, "label")


def _check_mark(text: str, kind: str) -> str:
    _check_segment(checked_text(f"a {kind}" if kind != "alias" else "an alias", text), of=f"{kind} {text!r}")
    if text == LATEST or _SLOT.fullmatch(text):
        raise InvalidName(f"{kind} {text!r}: that is computed, and can't be stored")
    return text


@dataclass(frozen=True, slots=True)
class Latest:
    """The highest committed live version."""

    def __str__(self) -> str:
        return f":{LATEST}"


@dataclass(frozen=True, slots=True)
class Slot:
    """Version number ``number``, counted from 1."""

    number: int

    def __str__(self) -> str:
        return f":v{self.number}"


@dataclass(frozen=True, slots=True)
class Alias:
    """Whatever version the alias points to now."""

    text: str

    def __str__(self) -> str:
        return f":{self.text}"


@dataclass(frozen=True, slots=True)
class Content:
    """The newest live version with this content digest."""

    digest: Digest

    def __str__(self) -> str:
        return f"@{self.digest.hex()}"


VersionSelector = Latest | Slot | Alias | Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Content in a store: a name, which version of it, and a path inside (empty: all of it)."""

    name: Name
    version: VersionSelector
    path: bytes = b""

    def __str__(self) -> str:
        inside = f"/{os.fsdecode(self.path)}" if self.path else ""
        version = "" if self.version == Latest() and not inside else str(self.version)
        return f"{self.name}{version}{inside}"


def parse_version(text: str) -> VersionSelector:
    """Read ``v3``, ``latest`` or an alias.

    Raises:
        InvalidName: None of them.
    """
    if text == LATEST:
        return Latest()
    if slot := _SLOT.fullmatch(text):
        return Slot(int(slot.group(1)))
    return Alias(check_alias(text))


def parse_reference(text: str) -> Reference:
    """Read a reference; see the grammar at the top of this module.

    Raises:
        InvalidName: ``text`` is not one; the message says which part.
    """
    checked_text("a reference", text)
    at = min((i for i in (text.find(":"), text.find("@")) if i >= 0), default=-1)
    if at < 0:
        return Reference(name=Name(text), version=Latest())
    selector, _, inside = text[at + 1 :].partition("/")
    if text[at] == ":":
        version = parse_version(selector)
    else:
        try:
            version = Content(parse_digest(selector))
        except ValueError as error:
            raise InvalidName(f"reference {text!r}: {error}") from error
    return Reference(name=Name(text[:at]), version=version, path=_inside(text, inside))


def version_title(version: str) -> str:
    """What people call a version: ``model@3 of job 42`` where a job keeps it under a key, else as it is."""
    name, colon, number = version.rpartition(":v")
    if not colon or not name.startswith(f"{JOBS}/"):
        return version
    try:
        kept = JobName(name)
    except InvalidName:
        return version
    kind = "" if kept.kind == "dir" else f"{kept.kind} "
    return f"{kind}{kept.key}@{number} of job {kept.job_id}"


def as_name(name: str | Name) -> Name:
    """A name, given as text or as what it is.

    Raises:
        InvalidName: The text is not one.
    """
    return name if isinstance(name, Name) else Name(name)


def as_reference(reference: str | Reference) -> Reference:
    """A reference, given as text or as what it is.

    Raises:
        InvalidName: The text is not one.
    """
    return reference if isinstance(reference, Reference) else parse_reference(reference)


def parse_whole(text: str | Reference) -> Reference:
    """Read a reference to a whole version, for what can't be done to a part of one.

    Raises:
        InvalidName: ``text`` is no reference, or has a path inside.
    """
    reference = as_reference(text)
    if reference.path:
        raise InvalidName(f"{str(text)!r} has a path inside a version, and a whole version is meant here")
    return reference


def _inside(text: str, inside: str) -> bytes:
    path = inside.removesuffix("/")
    if "\0" in path or any(part in ("", ".", "..") for part in path.split("/") if path):
        raise InvalidName(f"reference {text!r}: {inside!r} is not a path inside a version")
    return os.fsencode(path)
