"""What a push leaves out: `--include`, `--exclude` and `.artifactignore` files (docs/ignore.md).

Rules are those of gitignore: the last matching line of a file decides, a file further down
beats one further up, `!` takes back in, and nothing below a directory that is left out is
looked at. `--exclude` lines stand as if in a file of their own that beats all others.
`--include` only narrows: with it, a path must also match, or lie below a directory that
does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from artifactstore.transfer.patterns import PatternList

IGNORE_FILE: Final = b".artifactignore"
MAX_IGNORE_FILE_BYTES: Final = 1 << 20
_NOTHING: Final = PatternList(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignore:
    """The rules that hold in one directory. Immutable: going down makes another.

    Attributes:
        files: Of each ignore file from the root down: its lines, and how much of a path lies above it.
        exclude: From the command line.
        include: From the command line; empty too where a directory above was included.
    """

    files: tuple[tuple[PatternList, int], ...] = ()
    exclude: PatternList = _NOTHING
    include: PatternList = _NOTHING

    @property
    def is_trivial(self) -> bool:
        """Whether every path is taken, so that nobody needs to ask."""
        return not (self.files or self.exclude or self.include)

    @property
    def narrows(self) -> bool:
        """Whether there are include patterns that nothing above has matched yet."""
        return bool(self.include)

    def with_file(self, directory: bytes, lines: Sequence[str]) -> Self:
        """The rules in ``directory`` (relative, empty for the root), whose `.artifactignore` has ``lines``."""
        patterns = PatternList(lines)
        above = len(directory) + 1 if directory else 0
        return replace(self, files=(*self.files, (patterns, above))) if patterns else self

    def leaves_out(self, path: bytes, *, is_directory: bool) -> bool:
        """Whether a rule excludes ``path`` (relative to the root). Include patterns are not asked."""
        decision = self.exclude.decide(path, is_directory=is_directory)
        if decision is not None:
            return decision
        for patterns, above in reversed(self.files):
            decision = patterns.decide(path[above:], is_directory=is_directory)
            if decision is not None:
                return decision
        return False

    def includes(self, path: bytes, *, is_directory: bool) -> bool:
        """Whether the include patterns match ``path`` itself."""
        return self.include.decide(path, is_directory=is_directory) is True

    def inside_included(self) -> Self:
        """The rules below a directory that the include patterns take: all of it is wanted."""
        return replace(self, include=_NOTHING)


def build_ignore(*, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Ignore:
    """The rules at the root of a tree.

    Args:
        include: Patterns as in a gitignore file, relative to the root; with any, only what matches is taken.
        exclude: Patterns as in a gitignore file, relative to the root.
    """
    return Ignore(include=PatternList(include), exclude=PatternList(exclude))
