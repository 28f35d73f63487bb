"""What a push leaves out: `--include`, `--exclude` and `.artifactignore` files (docs/ignore.md).

Rules are those of gitignore: the last matching line of a file decides, a file further down
beats one further up, `!` takes back in, and nothing below a directory that is left out is
looked at. `--exclude` lines stand as if in a file of their own that beats all others.
`--include` only narrows: with it, a path must also match, or lie below a directory that
does. pathspec is imported only when there is a rule.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE: Final = b".artifactignore"
MAX_IGNORE_FILE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Lines:
    """Compiled lines, and how much of a path lies above the directory they stand in."""

    spec: "GitIgnoreSpec"
    skip: int

    def decide(self, text: str) -> bool | None:
        """True: left out; False: taken back in; None: no line matches."""
        return self.spec.check_file(text[self.skip :]).include


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignore:
    """The rules that hold in one directory. Immutable: going down makes another.

    Attributes:
        narrows: Whether there are include patterns that nothing above has matched yet.
    """

    files: tuple[_Lines, ...] = ()
    exclude: _Lines | None = None
    include: _Lines | None = None

    @property
    def is_trivial(self) -> bool:
        """Whether every path is taken, so that nobody needs to ask."""
        return not self.files and self.exclude is None and self.include is None

    @property
    def narrows(self) -> bool:
        return self.include is not None

    def with_file(self, directory: bytes, lines: Sequence[str]) -> Self:
        """The rules in ``directory`` (relative, empty for the root), whose `.artifactignore` has ``lines``."""
        compiled = _compile(lines, skip=len(os.fsdecode(directory)) + 1 if directory else 0)
        return self if compiled is None else replace(self, files=(*self.files, compiled))

    def leaves_out(self, path: bytes, *, is_directory: bool) -> bool:
        """Whether a rule excludes ``path`` (relative to the root). Include patterns are not asked."""
        text = _text(path, is_directory=is_directory)
        for lines in (self.exclude, *reversed(self.files)):
            decision = None if lines is None else lines.decide(text)
            if decision is not None:
                return decision
        return False

    def includes(self, path: bytes, *, is_directory: bool) -> bool:
        """Whether the include patterns, if any, take ``path`` itself."""
        return self.include is None or self.include.decide(_text(path, is_directory=is_directory)) is True

    def inside_included(self) -> Self:
        """The rules below a directory that the include patterns take: all of it is wanted."""
        return replace(self, include=None)


def build_ignore(*, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Ignore:
    """The rules at the root of a tree.

    Args:
        include: Patterns as in a gitignore file, relative to the root; with any, only what matches is taken.
        exclude: Patterns as in a gitignore file, relative to the root.

    Raises:
        ValueError: A pattern can't be read.
    """
    return Ignore(include=_compile(include, skip=0), exclude=_compile(exclude, skip=0))


def _text(path: bytes, *, is_directory: bool) -> str:
    text = os.fsdecode(path)
    return f"{text}/" if is_directory else text


def _compile(lines: Sequence[str], *, skip: int) -> _Lines | None:
    if not any(line.strip() and not line.startswith("#") for line in lines):
        return None
    from pathspec import GitIgnoreSpec  # 25 ms that most pushes need not spend

    # "simple" is Python's own `re`: the others refuse names that are not UTF-8.
    return _Lines(GitIgnoreSpec.from_lines(lines, backend="simple"), skip)
