"""The tools side by side: each does the same errand in its own words."""

from collections.abc import Mapping
from typing import Final

from harness.tools.backup import Borg, Restic
from harness.tools.copying import Aws, Cp, Rclone, S5cmd
from harness.tools.dvc import Dvc
from harness.tools.own import ArtifactStore
from harness.tools.protocol import Program, Tool

__all__ = ["OWN_NAME", "Program", "Tool", "make_tools"]

OWN_NAME: Final = ArtifactStore.name


def make_tools(own: Program, peers: Mapping[str, Program]) -> list[Tool]:
    """Ours, and one or more for each peer that is installed.

    Args:
        own: The program `artifactstore`.
        peers: Programs by the name of the peer.
    """
    makers = {"cp": (Cp,), "rclone": (Rclone,), "restic": (Restic,), "dvc": (Dvc,), "s5cmd": (S5cmd,), "aws": (Aws,)}
    tools: list[Tool] = [ArtifactStore(own)]
    for name, program in peers.items():
        if name == "borg":
            tools += [Borg(program, compression="none"), Borg(program, compression="lz4")]
        else:
            tools += [make(program) for make in makers[name]]
    return tools
