"""Where one tool works in one run: its scratch folder, its home, its store."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BUCKET_TOOL: Final = Path(__file__).with_name("bucket.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Server:
    """An S3 server, and what a client needs to know.

    Attributes:
        description: For the report; names no host.
        environ: Credentials and region, by the AWS conventions.
    """

    description: str
    endpoint_url: str
    bucket: str
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderTarget:
    """A store on this machine's disk."""

    path: Path
    environ: Mapping[str, str]

    def stored_bytes(self) -> int:
        """Content of all files; a hard link counts once."""
        lengths: dict[int, int] = {}
        for directory, _, names in os.walk(self.path):
            for name in names:
                facts = os.lstat(os.path.join(directory, name))
                lengths[facts.st_ino] = facts.st_size
        return sum(lengths.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Target:
    """A store below a prefix of a bucket."""

    server: S3Server
    prefix: str

    @property
    def environ(self) -> Mapping[str, str]:
        """What a client finds in its environment."""
        return self.server.environ

    @property
    def path(self) -> str:
        """Bucket and prefix."""
        return f"{self.server.bucket}/{self.prefix}"

    def stored_bytes(self) -> int:
        """Content of all objects, by listing."""
        return bucket_command(self.server, "usage", self.prefix)

    def clear(self) -> None:
        """Delete every object."""
        bucket_command(self.server, "empty", self.prefix)


Target = FolderTarget | S3Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One tool at work.

    Attributes:
        scratch: A folder of its own; gone after the run.
        source: Where every version of the data lies in its turn.
        target: The store.
    """

    scratch: Path
    source: Path
    target: Target


def isolated_environ(home: Path, target: Target | None = None) -> dict[str, str]:
    """The whole environment of a process that must find nothing of an earlier one, except in ``home``."""
    scratch = home / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    environ = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "TMPDIR": str(scratch),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_STATE_HOME": str(home / "state"),
        "DVC_SITE_CACHE_DIR": str(home / "site"),  # else in a folder that all users of the machine share
    }
    return {**environ, **(target.environ if target else {})}


def bucket_command(server: S3Server, verb: str, prefix: str = "") -> int:
    """Run `bucket.py` in a process of its own: its client would make this one large. Its number comes back.

    Raises:
        CalledProcessError: It failed, and has said why.
    """
    argv = [sys.executable, str(_BUCKET_TOOL), verb, server.endpoint_url, server.bucket, prefix]
    environ = {"PATH": os.environ.get("PATH", os.defpath), **server.environ}
    done = subprocess.run(argv, env=environ, check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    return int(json.loads(done.stdout))
