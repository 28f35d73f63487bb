"""Tools that copy files one to one: cp, rclone, s5cmd, aws."""

from pathlib import Path
from typing import ClassVar

from harness.measure import Command
from harness.scene import FolderTarget, S3Target, Scene
from harness.tools.protocol import Commands, Tool


class Cp(Tool):
    """What the file system can do. A version is a copy of everything."""

    name: str = "cp"
    settings: str = "`cp -r`; each version is a copy of its own"
    targets: ClassVar[tuple[type, ...]] = (FolderTarget,)

    def prepare(self, scene: Scene) -> Commands:
        return (Command(argv=("mkdir", str(scene.target.path))),)

    def push(self, scene: Scene, label: str) -> Commands:
        return (Command(argv=(self.program, "-r", str(scene.source), f"{scene.target.path}/{label}")),)

    def push_unchanged(self, scene: Scene, label: str) -> Commands:
        return ()

    def pull(self, scene: Scene, label: str, destination: Path) -> Commands:
        return (Command(argv=(self.program, "-r", f"{scene.target.path}/{label}/.", str(destination))),)


class Rclone(Tool):
    """Without versions: the second overwrites the first."""

    name: str = "rclone"
    settings: str = "`rclone copy --transfers 8`; overwrites"

    def push(self, scene: Scene, label: str) -> Commands:
        return (self._copy(scene, str(scene.source), self._remote(scene)),)

    def pull(self, scene: Scene, label: str, destination: Path) -> Commands:
        return (self._copy(scene, self._remote(scene), str(destination)),)

    def _remote(self, scene: Scene) -> str:
        prefix = "bench:" if isinstance(scene.target, S3Target) else ""
        return f"{prefix}{scene.target.path}"

    def _copy(self, scene: Scene, source: str, destination: str) -> Command:
        environ = {"RCLONE_CONFIG": "/dev/null"}
        if isinstance(scene.target, S3Target):
            environ |= {
                "RCLONE_CONFIG_BENCH_TYPE": "s3",
                "RCLONE_CONFIG_BENCH_PROVIDER": "Ceph",
                "RCLONE_CONFIG_BENCH_ENV_AUTH": "true",
                "RCLONE_CONFIG_BENCH_ENDPOINT": scene.target.server.endpoint_url,
                "RCLONE_S3_NO_CHECK_BUCKET": "true",
            }
        return Command(argv=(self.program, "copy", "--transfers", "8", source, destination), environ=environ)


class S5cmd(Tool):
    """Without versions. `cp` for the first push and for pulls, `sync` later."""

    name: str = "s5cmd"
    settings: str = "`s5cmd cp`, later pushes `s5cmd sync`; overwrites"
    targets: ClassVar[tuple[type, ...]] = (S3Target,)

    def push(self, scene: Scene, label: str) -> Commands:
        return (self._command(scene, "cp", f"{scene.source}/", f"s3://{scene.target.path}/"),)

    def push_changed(self, scene: Scene, label: str) -> Commands:
        return (self._command(scene, "sync", f"{scene.source}/", f"s3://{scene.target.path}/"),)

    def pull(self, scene: Scene, label: str, destination: Path) -> Commands:
        return (self._command(scene, "cp", f"s3://{scene.target.path}/*", f"{destination}/"),)

    def _command(self, scene: Scene, *arguments: str) -> Command:
        endpoint = ("--endpoint-url", scene.target.server.endpoint_url) if isinstance(scene.target, S3Target) else ()
        return Command(argv=(self.program, "--log", "error", *endpoint, *arguments))


class Aws(Tool):
    """Without versions. `cp --recursive` for the first push and for pulls, `sync` later."""

    name: str = "aws"
    settings: str = "`aws s3 cp --recursive`, later pushes `aws s3 sync`; overwrites"
    targets: ClassVar[tuple[type, ...]] = (S3Target,)

    def push(self, scene: Scene, label: str) -> Commands:
        return (self._command(scene, "cp", "--recursive", str(scene.source), f"s3://{scene.target.path}/"),)

    def push_changed(self, scene: Scene, label: str) -> Commands:
        return (self._command(scene, "sync", str(scene.source), f"s3://{scene.target.path}/"),)

    def pull(self, scene: Scene, label: str, destination: Path) -> Commands:
        return (self._command(scene, "cp", "--recursive", f"s3://{scene.target.path}/", str(destination)),)

    def _command(self, scene: Scene, verb: str, *arguments: str) -> Command:
        endpoint = ("--endpoint-url", scene.target.server.endpoint_url) if isinstance(scene.target, S3Target) else ()
        return Command(argv=(self.program, *endpoint, "s3", verb, "--only-show-errors", *arguments))
