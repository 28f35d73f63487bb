"""Paths of the file system.

    (empty)                                the top: folders and names
    folder, folder/name                    a folder; a name: its latest version
    folder/name:version[/path]             a version (`v3`, `latest`, an alias), or what is in it
    folder/name@digest[/path]              the same, by content digest

A path without `:` and `@` ends at a name: what is in a version needs to say which one. Paths
inside are text; bytes that are not UTF-8 come in as Python's surrogate escapes.
"""

import os
from dataclasses import dataclass

from artifactstore.errors import InvalidName
from artifactstore.filesystem.failures import BadPath
from artifactstore.names import LATEST, Latest, Name, VersionSelector, check_folder, parse_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """A path that says no version: a folder, a name, or both. Empty: the top."""

    text: str

    @property
    def latest(self) -> "Inside":
        """The name's latest version."""
        return Inside(name=Name(self.text), version=Latest(), path=b"", head=f"{self.text}:{LATEST}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """A version, or a path in it.

    Attributes:
        path: In the version; empty for all of it.
        head: The part of the text that says which version.
    """

    name: Name
    version: VersionSelector
    path: bytes
    head: str

    def text(self, path: bytes) -> str:
        """The text of a path in the same version."""
        return f"{self.head}/{os.fsdecode(path)}" if path else self.head


def parse_location(text: str) -> Bare | Inside:
    """Read a path without its protocol.

    Raises:
        BadPath: Nothing in a store can have it.
    """
    try:
        if ":" not in text and "@" not in text:
            if text:
                # A name may be one level deeper than a folder.
                check_folder(text.rpartition("/")[0])
                Name(text)
            return Bare(text=text)
        reference = parse_reference(text)
    except InvalidName as error:
        raise BadPath(str(error)) from error
    length = len(os.fsdecode(reference.path))
    head = text[: -length - 1] if length else text
    return Inside(name=reference.name, version=reference.version, path=reference.path, head=head)
