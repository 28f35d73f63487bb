"""What programs do that keep a directory here and one there alike: ours, rclone, aws, dvc."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

from harness.measure import Command
from harness.scene import FolderTarget, S3Target, Scene
from harness.tools.own import ArtifactStore, store_url
from harness.tools.protocol import Commands, Tool

_ERRANDS: Final = Path(__file__).resolve().parent.parent / "sync_directory.py"


class Syncer:
    """One program. Commands are returned, not run.

    Attributes:
        name: In tables.
        settings: How it is called.
        targets: Kinds of stores it speaks to.
    """

    settings: str
    targets: ClassVar[tuple[type, ...]] = (FolderTarget, S3Target)

    def __init__(self, tool: Tool) -> None:
        self.name = tool.name
        self.version = tool.version
        self.program = tool.program

    def prepare(self, scene: Scene) -> Commands:
        """Make an empty store. Not measured."""
        return ()

    def stage(self, scene: Scene) -> None:
        """The source has changed: bring it to where the program wants it. Not measured."""

    def up(self, scene: Scene) -> Commands:
        """Make the store like the source."""
        raise NotImplementedError

    def stage_down(self, scene: Scene, place: Path) -> None:
        """Bring to the directory what the program needs to know what is new. Not measured."""

    def down(self, scene: Scene, place: Path) -> Commands:
        """Make the directory like the store; after the first time it has what the store had before."""
        raise NotImplementedError

    def content(self, place: Path) -> Path:
        """Where below ``place`` the content lies."""
        return place


class ArtifactStoreSync(Syncer):
    """Through the Python API: the job is begun and ended, too."""

    settings = "`SyncableDirectory.upload()` and `.download()` in a job, all settings at their defaults"

    def prepare(self, scene: Scene) -> Commands:
        return (self._command("init", store_url(scene)),)

    def up(self, scene: Scene) -> Commands:
        return (self._command("up", store_url(scene), str(scene.source)),)

    def down(self, scene: Scene, place: Path) -> Commands:
        return (self._command("down", store_url(scene), str(place)),)

    def _command(self, *arguments: str) -> Command:
        return Command(argv=(sys.executable, str(_ERRANDS), *arguments))


class RcloneSync(Syncer):
    """By size and time, or it would read everything there and here."""

    settings = "`rclone sync --transfers 8`"

    def up(self, scene: Scene) -> Commands:
        return (self._sync(scene, str(scene.source), self._remote(scene)),)

    def down(self, scene: Scene, place: Path) -> Commands:
        return (self._sync(scene, self._remote(scene), str(place)),)

    def _remote(self, scene: Scene) -> str:
        return f"{'bench:' if isinstance(scene.target, S3Target) else ''}{scene.target.path}"

    def _sync(self, scene: Scene, source: str, destination: str) -> Command:
        environ = {"RCLONE_CONFIG": "/dev/null"}
        if isinstance(scene.target, S3Target):
            environ |= {
                "RCLONE_CONFIG_BENCH_TYPE": "s3",
                "RCLONE_CONFIG_BENCH_PROVIDER": "Ceph",
                "RCLONE_CONFIG_BENCH_ENV_AUTH": "true",
                "RCLONE_CONFIG_BENCH_ENDPOINT": scene.target.server.endpoint_url,
                "RCLONE_S3_NO_CHECK_BUCKET": "true",
            }
        return Command(argv=(self.program, "sync", "--transfers", "8", source, destination), environ=environ)


class AwsSync(Syncer):
    """A changed file of the size it had is not downloaded where the older one lies, unless times must be the same."""

    settings = "`aws s3 sync --delete`, downloads with `--exact-timestamps`"
    targets: ClassVar[tuple[type, ...]] = (S3Target,)

    def up(self, scene: Scene) -> Commands:
        return (self._sync(scene, str(scene.source), f"s3://{scene.target.path}/"),)

    def down(self, scene: Scene, place: Path) -> Commands:
        return (self._sync(scene, "--exact-timestamps", f"s3://{scene.target.path}/", str(place)),)

    def _sync(self, scene: Scene, *arguments: str) -> Command:
        assert isinstance(scene.target, S3Target)
        endpoint = ("--endpoint-url", scene.target.server.endpoint_url)
        argv = (self.program, *endpoint, "s3", "sync", "--delete", "--only-show-errors", *arguments)
        return Command(argv=argv)


class DvcSync(Syncer):
    """Data is copied to its workspace before the clock runs; what a pull needs to know travels with the code."""

    settings = "`dvc add` and `dvc push`; `dvc pull`; the data lies in the workspace already"

    def prepare(self, scene: Scene) -> Commands:
        workspace = scene.scratch / "workspace"
        workspace.mkdir()
        commands = [
            self._command(workspace, "init", "--no-scm"),
            self._command(workspace, "config", "core.analytics", "false"),
            self._command(workspace, "config", "core.check_update", "false"),
            self._command(workspace, "remote", "add", "--default", "store", self._remote(scene)),
        ]
        if isinstance(scene.target, S3Target):
            endpoint = scene.target.server.endpoint_url
            commands.append(self._command(workspace, "remote", "modify", "store", "endpointurl", endpoint))
        return commands

    def stage(self, scene: Scene) -> None:
        data = scene.scratch / "workspace" / "data"
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(scene.source, data)

    def up(self, scene: Scene) -> Commands:
        workspace = scene.scratch / "workspace"
        return (self._command(workspace, "add", "data"), self._command(workspace, "push"))

    def stage_down(self, scene: Scene, place: Path) -> None:
        (place / ".dvc").mkdir(parents=True, exist_ok=True)
        for name in (".dvc/config", "data.dvc"):
            shutil.copy(scene.scratch / "workspace" / name, place / name)

    def down(self, scene: Scene, place: Path) -> Commands:
        return (self._command(place, "pull"),)

    def content(self, place: Path) -> Path:
        return place / "data"

    def _remote(self, scene: Scene) -> str:
        return f"{'s3://' if isinstance(scene.target, S3Target) else ''}{scene.target.path}"

    def _command(self, directory: Path, verb: str, *arguments: str) -> Command:
        return Command(argv=(self.program, verb, "--quiet", *arguments), directory=directory)


_SYNCERS: Final[Mapping[str, type[Syncer]]] = {
    ArtifactStore.name: ArtifactStoreSync,
    "rclone": RcloneSync,
    "aws": AwsSync,
    "dvc": DvcSync,
}


def make_syncers(tools: Sequence[Tool], kind: type) -> list[Syncer]:
    """Those of the tools that can sync with such a store."""
    made = [_SYNCERS[tool.name](tool) for tool in tools if tool.name in _SYNCERS]
    return [syncer for syncer in made if kind in syncer.targets]
