"""Backup programs, which keep versions as chunks in packs: restic and borg."""

from pathlib import Path
from typing import ClassVar

from harness.measure import Command
from harness.scene import FolderTarget, S3Target, Scene
from harness.tools.protocol import Commands, Program, Tool


class Restic(Tool):
    """Encrypts always; `.` as the source, so that a restore lands in the destination itself."""

    name: str = "restic"
    settings: str = "all settings at their defaults (it compresses, and always encrypts)"

    def prepare(self, scene: Scene) -> Commands:
        return (self._command(scene, "init"),)

    def push(self, scene: Scene, label: str) -> Commands:
        return (self._command(scene, "backup", ".", directory=scene.source),)

    def pull(self, scene: Scene, label: str, destination: Path) -> Commands:
        return (self._command(scene, "restore", "latest", "--target", str(destination)),)

    def _command(self, scene: Scene, *arguments: str, directory: Path | None = None) -> Command:
        target = scene.target
        at_s3 = f"s3:{target.server.endpoint_url}/{target.path}" if isinstance(target, S3Target) else str(target.path)
        environ = {"RESTIC_REPOSITORY": at_s3, "RESTIC_PASSWORD": "benchmark"}
        return Command(argv=(self.program, "--quiet", *arguments), directory=directory, environ=environ)


class Borg(Tool):
    """Without encryption."""

    name: str = "borg"
    settings: str = "no encryption, `--compression none`"
    targets: ClassVar[tuple[type, ...]] = (FolderTarget,)

    def __init__(self, program: Program, *, compression: str) -> None:
        super().__init__(program)
        self._compression = compression
        if compression != "none":
            self.name = f"borg, {compression}"
            self.settings = f"no encryption, `--compression {compression}`, its default"

    def prepare(self, scene: Scene) -> Commands:
        return (self._command("init", "--encryption", "none", str(scene.target.path)),)

    def push(self, scene: Scene, label: str) -> Commands:
        archive = f"{scene.target.path}::{label}"
        return (self._command("create", "--compression", self._compression, archive, ".", directory=scene.source),)

    def pull(self, scene: Scene, label: str, destination: Path) -> Commands:
        return (self._command("extract", f"{scene.target.path}::{label}", directory=destination),)

    def _command(self, *arguments: str, directory: Path | None = None) -> Command:
        # A fresh home has not met the repository: borg would ask whether that is meant.
        environ = {
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        }
        return Command(argv=(self.program, *arguments), directory=directory, environ=environ)
