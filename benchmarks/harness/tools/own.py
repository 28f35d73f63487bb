"""`artifactstore` itself, by its command line."""

from pathlib import Path

from harness.measure import Command
from harness.scene import S3Target, Scene
from harness.tools.protocol import Commands, Tool

_NAME = "bench/data"


class ArtifactStore(Tool):
    """Ours."""

    name: str = "artifactstore"
    settings: str = "`push DIR NAME`, `pull NAME DEST`, all settings at their defaults"

    def prepare(self, scene: Scene) -> Commands:
        return (Command(argv=(self.program, "init", store_url(scene))),)

    def push(self, scene: Scene, label: str) -> Commands:
        return (self._command(scene, "push", str(scene.source), _NAME),)

    def pull(self, scene: Scene, label: str, destination: Path) -> Commands:
        return (self._command(scene, "pull", _NAME, str(destination)),)

    def _command(self, scene: Scene, *arguments: str) -> Command:
        return Command(argv=(self.program, "--store", store_url(scene), *arguments))


def store_url(scene: Scene) -> str:
    """What ``--store`` is told."""
    target = scene.target
    if isinstance(target, S3Target):
        return f"s3://{target.path}?endpoint_url={target.server.endpoint_url}"
    return str(target.path)
