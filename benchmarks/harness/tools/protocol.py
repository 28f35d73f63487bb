"""What a tool is asked to do. Commands are returned, not run: the stopwatch runs them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.measure import Command
from harness.scene import FolderTarget, S3Target, Scene

Commands = Sequence[Command]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An installed program, and what it says of itself."""

    path: Path
    version: str


class Tool:
    """One program with one set of settings.

    Attributes:
        name: In tables.
        settings: What is not obvious about how it is called; for the README.
        version: What the program says of itself.
        targets: Kinds of stores it speaks to.
    """

    name: str
    settings: str
    targets: ClassVar[tuple[type, ...]] = (FolderTarget, S3Target)

    def __init__(self, program: Program) -> None:
        self.program = str(program.path)
        self.version = program.version

    def prepare(self, scene: Scene) -> Commands:
        """Make an empty store. Not measured."""
        return ()

    def stage(self, scene: Scene) -> None:
        """The source has changed: bring it to where the tool wants it. Not measured."""

    def push(self, scene: Scene, label: str) -> Commands:
        """Bring the source to the store. ``label`` is new with each push."""
        raise NotImplementedError

    def push_changed(self, scene: Scene, label: str) -> Commands:
        """The same after an earlier push, when some of the source has changed."""
        return self.push(scene, label)

    def push_unchanged(self, scene: Scene, label: str) -> Commands:
        """The same when nothing has changed. Nothing if the tool has no such thing."""
        return self.push_changed(scene, label)

    def stage_pull(self, scene: Scene, destination: Path) -> None:
        """The destination, an empty folder, is there: bring what the tool needs there to pull. Not measured."""

    def pull(self, scene: Scene, label: str, destination: Path) -> Commands:
        """Bring back what was pushed under this label, the newest one, into ``destination``."""
        raise NotImplementedError

    def pulled(self, scene: Scene, destination: Path) -> Path:
        """Where below ``destination`` the content lies then."""
        return destination
