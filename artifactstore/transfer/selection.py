"""Which paths of a directory state include and exclude patterns take, whether it is on this machine or stored.

A scan asks the rules on its way down. Here they are asked about single paths, with the same answers, but
for `.artifactignore` files, which say what a directory of this machine keeps to itself (docs/ignore.md).
"""

from collections.abc import Sequence
from typing import Final

from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.transfer.ignore import Ignore, build_ignore


class Selection:
    """Patterns, asked about paths. Equal for equal patterns.

    Attributes:
        include, exclude: As in `PushOptions`.
    """

    def __init__(self, *, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self.include: Final = tuple(include)
        self.exclude: Final = tuple(exclude)
        self._folders: dict[bytes, Ignore | None] = {b"": build_ignore(include=include, exclude=exclude)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selection) and (self.include, self.exclude) == (other.include, other.exclude)

    def __hash__(self) -> int:
        return hash((self.include, self.exclude))

    @property
    def is_everything(self) -> bool:
        """Whether there are no patterns."""
        rules = self._folders[b""]
        return rules is not None and rules.is_trivial

    def takes(self, path: bytes, kind: int) -> bool:
        """Whether the patterns take what is at ``path``; a directory where it would be taken while it is empty."""
        if kind == EntryKind.DIRECTORY:
            rules = self._folder(path)
            return rules is not None and not rules.narrows
        rules = self._folder(path.rpartition(b"/")[0])
        if rules is None or rules.leaves_out(path, is_directory=False):
            return False
        return not rules.narrows or rules.includes(path, is_directory=False)

    def takes_entry(self, entry: Entry) -> bool:
        """As `takes`."""
        return self.takes(entry.path, entry.kind)

    def _folder(self, folder: bytes) -> Ignore | None:
        """The rules inside a directory; None where nothing below it is taken."""
        above: list[bytes] = []
        while folder not in self._folders:  # not by recursion: paths may be a thousand levels deep
            above.append(folder)
            folder = folder.rpartition(b"/")[0]
        rules = self._folders[folder]
        for below in reversed(above):
            rules = self._folders[below] = None if rules is None else _inside(rules, below)
        return rules


def _inside(rules: Ignore, folder: bytes) -> Ignore | None:
    if rules.leaves_out(folder, is_directory=True):
        return None
    if rules.narrows and rules.includes(folder, is_directory=True):
        return rules.inside_included()
    return rules


EVERYTHING: Final = Selection()
