r"""gitignore patterns as regular expressions over bytes, with git's exact meaning.

Written out because the idiom `*`, `!*/`, `!*.py` has to work: a pattern matches a path
itself, never what lies below one (whoever walks does not go into what is left out), and
then the last line that matches decides. The source is git's `wildmatch.c` and `dir.c`.

    ?  [a-z]        one byte, never `/`
    *               any bytes without `/`
    **/  /**/  /**  any number of directories, none included; everything below
    \x              x itself
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_STAR, _SLASH, _BACKSLASH = b"*", b"/", b"\\"
_BYTE_ORDER_MARK: Final = "\N{ZERO WIDTH NO-BREAK SPACE}"
_SPECIAL: Final = re.compile(rb"[*?\[\\]")
_NEVER: Final = rb"(?!)"
_CLASSES: Final = {
    b"alnum": rb"0-9A-Za-z",
    b"alpha": rb"A-Za-z",
    b"blank": rb" \t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": rb"0-9",
    b"graph": rb"!-~",
    b"lower": rb"a-z",
    b"print": rb" -~",
    b"punct": rb"!-/:-@\[-`{-~",
    b"space": rb" \t-\r",
    b"upper": rb"A-Z",
    b"xdigit": rb"0-9A-Fa-f",
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line.

    Attributes:
        expression: Matches a whole path relative to the directory of its file, or a whole name.
        is_for_names: Whether it is matched against the last part of a path alone.
        is_for_directories: Whether it means directories only.
        takes_back: Whether what it matches is taken back in.
    """

    expression: re.Pattern[bytes]
    is_for_names: bool
    is_for_directories: bool
    takes_back: bool


class PatternList:
    """The lines of one ignore file, or of one option."""

    __slots__ = ("_patterns",)

    def __init__(self, lines: Sequence[str]) -> None:
        parsed = (_parse(os.fsencode(line)) for line in lines)
        self._patterns = [pattern for pattern in parsed if pattern is not None]
        self._patterns.reverse()

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def decide(self, path: bytes, *, is_directory: bool) -> bool | None:
        """Whether the last line that matches ``path`` matches (True) or takes back (False); None where none does."""
        name = path.rpartition(_SLASH)[2]
        for pattern in self._patterns:
            if (is_directory or not pattern.is_for_directories) and pattern.expression.match(
                name if pattern.is_for_names else path
            ):
                return not pattern.takes_back
        return None


def parse_lines(text: bytes) -> list[str]:
    """The lines of an ignore file."""
    return [line.removesuffix("\r") for line in os.fsdecode(text).removeprefix(_BYTE_ORDER_MARK).split("\n")]


def _parse(line: bytes) -> Pattern | None:
    if line.startswith(b"#"):
        return None
    text = _without_trailing_spaces(line)
    takes_back = text.startswith(b"!")
    text = text[takes_back:]
    is_for_directories = text.endswith(_SLASH)
    text = text.removesuffix(_SLASH)
    if not text:
        return None
    is_for_names = _SLASH not in text
    expression = re.compile(rb"(?s:%s)\Z" % _translate(text.removeprefix(_SLASH)))
    return Pattern(expression, is_for_names, is_for_directories, takes_back)


def _without_trailing_spaces(line: bytes) -> bytes:
    text = line.rstrip(b" ")
    escapes = len(text) - len(text.rstrip(_BACKSLASH))
    return text + b" " if escapes % 2 and len(text) < len(line) else text


def _translate(text: bytes) -> bytes:
    parts = []
    at = 0
    while at < len(text):
        byte = text[at : at + 1]
        if byte == _STAR:
            part, at = _stars(text, at)
        elif byte == b"?":
            part, at = b"[^/]", at + 1
        elif byte == b"[":
            part, at = _bracket(text, at)
        elif byte == _BACKSLASH:
            # A backslash at the end matches nothing.
            part, at = re.escape(text[at + 1 : at + 2]) or _NEVER, at + 2
        else:
            part, at = re.escape(byte), at + 1
        parts.append(part)
    return b"".join(parts)


def _stars(text: bytes, start: int) -> tuple[bytes, int]:
    """A run of stars from ``start``, and where it ends: two or more alone between slashes go across directories."""
    end = start
    while text[end : end + 1] == _STAR:
        end += 1
    # git compares what comes before the first special byte by itself, and then takes stars at
    # the start of the rest for stars after a slash: `/a**` goes across directories.
    stands_alone = text[start - 1 : start] in (b"", _SLASH) or not _SPECIAL.search(text, 0, start)
    if end - start < 2 or not stands_alone:
        return b"[^/]*", end
    if end == len(text) or text.startswith(b"\\/", end):
        return b".*", end
    if text[end : end + 1] == _SLASH:
        return b"(?:.*/)?", end + 1
    return b"[^/]*", end


def _bracket(text: bytes, start: int) -> tuple[bytes, int]:
    """A bracket expression from ``start``, and where it ends; one that never closes matches nothing."""
    at = start + 1
    negated = text[at : at + 1] in (b"!", b"^")
    at += negated
    members = []
    is_first = True
    while is_first or text[at : at + 1] != b"]":
        if at >= len(text):
            return _NEVER, len(text)
        member, at = _member(text, at)
        if member is None:
            return _NEVER, len(text)
        members.append(member)
        is_first = False
    chosen = b"".join(members)
    if negated:
        return b"[^/%s]" % chosen, at + 1
    return (b"(?!/)[%s]" % chosen if chosen else _NEVER), at + 1


def _member(text: bytes, at: int) -> tuple[bytes | None, int]:
    """One member of a bracket expression: a class, a range, a byte. None where it is malformed."""
    if text.startswith(b"[:", at):
        end = text.find(b":]", at)
        known = _CLASSES.get(text[at + 2 : end]) if end > 0 else None
        return (known, end + 2) if known else (None, at)
    low, at = _member_byte(text, at)
    if text[at : at + 1] == b"-" and text[at + 1 : at + 2] not in (b"", b"]"):
        high, at = _member_byte(text, at + 1)
        if low is None or high is None:
            return None, at
        return (b"%s-%s" % (re.escape(low), re.escape(high)) if low <= high else b""), at
    return (None if low is None else re.escape(low)), at


def _member_byte(text: bytes, at: int) -> tuple[bytes | None, int]:
    if text[at : at + 1] == _BACKSLASH:
        at += 1
    return text[at : at + 1] or None, at + 1
