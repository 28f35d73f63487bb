"""Semantic versions of releases: exactly ``major.minor.micro``. Pure."""

import re
from dataclasses import dataclass
from typing import Final, Self

from artifactstore.errors import InvalidName

_SEMANTIC: Final = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class SemanticVersion:
    """``1.10.0`` comes after ``1.9.0``."""

    major: int
    minor: int
    micro: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.micro}"

    def next_minor(self) -> Self:
        """``1.4.0`` after ``1.3.3``."""
        return type(self)(self.major, self.minor + 1, 0)


FIRST_RELEASE: Final = SemanticVersion(1, 0, 0)


def parse_semantic_version(text: str) -> SemanticVersion:
    """Read ``1.0.0``: three numbers of at most nine digits, without zeros before them.

    Raises:
        InvalidName: Anything else, such as ``v1.0.0``, ``1.0`` or ``1.0.0rc1``.
    """
    match = _SEMANTIC.fullmatch(text)
    if match is None:
        raise InvalidName(f"{text[:200]!r} is no version of a release: it is major.minor.micro, as 1.0.0")
    return SemanticVersion(*map(int, match.groups()))
