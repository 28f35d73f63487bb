"""DVC: data lies in its workspace, is added to a cache there, and pushed from the cache."""

import shutil
from pathlib import Path
from typing import ClassVar

from harness.measure import Command
from harness.scene import FolderTarget, Scene
from harness.tools.protocol import Commands, Tool


class Dvc(Tool):
    """Data is copied to the workspace before the clock runs; `dvc add` copies it again, to the cache."""

    name: str = "dvc"
    settings: str = "`dvc add` and `dvc push` together; the data lies in the workspace already"
    targets: ClassVar[tuple[type, ...]] = (FolderTarget,)

    def prepare(self, scene: Scene) -> Commands:
        _workspace(scene).mkdir()
        return (
            self._command(scene, "init", "--no-scm"),
            self._command(scene, "config", "core.analytics", "false"),
            self._command(scene, "config", "core.check_update", "false"),
            self._command(scene, "remote", "add", "--default", "store", str(scene.target.path)),
        )

    def stage(self, scene: Scene) -> None:
        shutil.rmtree(_workspace(scene) / "data", ignore_errors=True)
        shutil.copytree(scene.source, _workspace(scene) / "data")

    def push(self, scene: Scene, label: str) -> Commands:
        return (self._command(scene, "add", "data"), self._command(scene, "push"))

    def stage_pull(self, scene: Scene, destination: Path) -> None:
        (destination / ".dvc").mkdir()
        for name in (".dvc/config", "data.dvc"):
            shutil.copy(_workspace(scene) / name, destination / name)

    def pull(self, scene: Scene, label: str, destination: Path) -> Commands:
        return (self._command(scene, "pull", directory=destination),)

    def pulled(self, scene: Scene, destination: Path) -> Path:
        return destination / "data"

    def _command(self, scene: Scene, verb: str, *arguments: str, directory: Path | None = None) -> Command:
        argv = (self.program, verb, "--quiet", *arguments)
        return Command(argv=argv, directory=directory or _workspace(scene))


def _workspace(scene: Scene) -> Path:
    return scene.scratch / "workspace"
