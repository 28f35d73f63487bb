"""The S3 server of a run: the one that the environment names, or a Ceph of its own."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from harness import Refused
from harness.scene import S3Server, bucket_command

_CEPH: Final = Path(__file__).resolve().parents[2] / "tests" / "s3" / "ceph.sh"
_CEPH_PROGRAMS: Final = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "curl")
_GIVEN: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION")
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_CEPH_KEY: Final = "benchmarkkey1"
_CEPH_SECRET: Final = "benchmarksecret1"


@contextlib.contextmanager
def s3_server(choice: str, *, work: Path, bucket: str) -> Iterator[S3Server | None]:
    """The server to measure with, and its bucket made; None where there is none.

    Args:
        choice: ``env`` (named by AWS_ENDPOINT_URL), ``ceph`` (a throw-away one), ``none``,
            or ``auto``: the first of them that is there.

    Raises:
        Refused: What was chosen is not there. AWS itself is never taken by accident: it needs its endpoint named.
        CalledProcessError: Ceph does not start, or the bucket can't be made.
    """
    if choice == "auto":
        choice = "env" if _given_endpoint() else "ceph" if _has_ceph() else "none"
    if choice == "none":
        yield None
        return
    with contextlib.ExitStack() as stack:
        server = _given(bucket) if choice == "env" else stack.enter_context(_ceph(work, bucket))
        bucket_command(server, "make")
        yield server


def _given_endpoint() -> str:
    return next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")


def _given(bucket: str) -> S3Server:
    endpoint_url = _given_endpoint()
    if not endpoint_url:
        raise Refused("set AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    given = {name: os.environ[name] for name in _GIVEN if name in os.environ}
    return _server("given by the environment", endpoint_url, bucket, given)


def _server(description: str, endpoint_url: str, bucket: str, given: Mapping[str, str]) -> S3Server:
    region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or "us-east-1"
    environ = {**given, "AWS_REGION": region, "AWS_DEFAULT_REGION": region, "AWS_EC2_METADATA_DISABLED": "true"}
    return S3Server(description=description, endpoint_url=endpoint_url, bucket=bucket, environ=environ)


def _has_ceph() -> bool:
    return all(shutil.which(program) for program in _CEPH_PROGRAMS)


@contextlib.contextmanager
def _ceph(work: Path, bucket: str) -> Iterator[S3Server]:
    if not _has_ceph():
        raise Refused(f"no Ceph here: it needs {', '.join(_CEPH_PROGRAMS)}")
    directory = work / "ceph"
    keys = {"ACCESS_KEY": _CEPH_KEY, "SECRET_KEY": _CEPH_SECRET}
    port = _port()
    start = ["bash", str(_CEPH), "start", str(directory), str(port)]
    try:
        # A file, not a pipe: the daemons inherit it, and a pipe would only close with the last of them.
        with (work / "ceph.out").open("wb") as out:
            subprocess.run(
                start, env={**os.environ, **keys}, check=True, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        given = {"AWS_ACCESS_KEY_ID": _CEPH_KEY, "AWS_SECRET_ACCESS_KEY": _CEPH_SECRET}
        yield _server(f"{_ceph_version()}, objects in memory, on loopback", f"http://127.0.0.1:{port}", bucket, given)
    finally:
        subprocess.run(["bash", str(_CEPH), "stop", str(directory)], check=False)
        shutil.rmtree(directory, ignore_errors=True)


def _ceph_version() -> str:
    done = subprocess.run(["radosgw", "--version"], capture_output=True, text=True, check=False)
    words = done.stdout.split()  # ceph version 16.2.15 (…) pacific (stable)
    return f"Ceph gateway {words[2] if len(words) > 2 else 'of unknown version'}"


def _port() -> int:
    """One that is free now, and 7000 above it, where the monitor listens."""
    for _ in range(50):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = 20_000 + probe.getsockname()[1] % 20_000
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port + 7000))
            return port
    raise OSError("no free pair of ports")
