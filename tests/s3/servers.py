"""The S3 server of a test session, and the programs beside it: Ceph, an emulator, `rclone serve s3`."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import botocore.session
from botocore.exceptions import ClientError

CEPH_SCRIPT = pathlib.Path(__file__).parent / "ceph.sh"
REGION = "us-east-1"
# Told apart from everything else at the end of the session: see tests/conftest.py.
SECRET_KEY = "canaryQ7vXk2secretZ9LmT4pWs8Yd3"
ACCESS_KEY = "testaccesskey1"


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running server and the bucket in it.

    Attributes:
        kind: ``ceph``, ``ministack``, or ``given``.
        root_url: A store URL below which every test makes its own prefix.
        environ: What a client needs in its environment.
    """

    kind: str
    root_url: str
    endpoint_url: str
    environ: Mapping[str, str]

    @property
    def bucket(self) -> str:
        return urlsplit(self.root_url).netloc

    @property
    def checks_clock_and_signature(self) -> bool:
        return self.kind == "ceph"

    def url(self, prefix: str, *, endpoint_url: str = "") -> str:
        """The store URL of ``prefix``, through another endpoint (a proxy) if one is named."""
        parts = urlsplit(self.root_url)
        path = f"{parts.path.rstrip('/')}/{prefix}"
        options = {name: values[0] for name, values in parse_qs(parts.query).items()}
        options["endpoint_url"] = endpoint_url or options.get("endpoint_url", self.endpoint_url)
        query = "&".join(f"{name}={value}" for name, value in options.items() if value)
        return f"s3://{parts.netloc}{path}" + (f"?{query}" if query else "")

    def client(self):
        """A plain client, for what a store never does (making buckets, damaging objects)."""
        return botocore.session.Session().create_client("s3", endpoint_url=self.endpoint_url or None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def own_environ(endpoint_url: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def make_bucket(server: S3Server) -> None:
    client = server.client()
    try:
        client.create_bucket(Bucket=server.bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise


def remove_objects(server: S3Server, prefix: str) -> None:
    """Leave nothing below the places whose names start with ``prefix`` in a server that outlives the session."""
    if server.kind != "given" and not os.environ.get("ARTIFACTSTORE_TEST_S3_URL"):
        return
    client = server.client()
    root = urlsplit(server.root_url).path.strip("/")
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=server.bucket, Prefix=f"{root}/{prefix}".lstrip("/")
    )
    with ThreadPoolExecutor(8) as pool:
        keys = [row["Key"] for page in pages for row in page.get("Contents", ())]
        for _ in pool.map(lambda key: client.delete_object(Bucket=server.bucket, Key=key), keys):
            pass


@contextlib.contextmanager
def ceph(directory: pathlib.Path) -> Iterator[str]:
    """A Ceph of its own on free ports; its endpoint. Raises CalledProcessError where it can't start."""
    port = _port_pair()
    environ = {**os.environ, "ACCESS_KEY": ACCESS_KEY, "SECRET_KEY": SECRET_KEY}
    try:
        # A file, not a pipe: the daemons inherit it, and a pipe would only close with the last of them.
        with (directory.parent / "ceph.out").open("wb") as out:
            start = ["bash", str(CEPH_SCRIPT), "start", str(directory), str(port)]
            subprocess.run(
                start, env=environ, check=True, timeout=120, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        yield f"http://127.0.0.1:{port}"
    finally:
        subprocess.run(["bash", str(CEPH_SCRIPT), "stop", str(directory)], check=False, timeout=60)


def has_ceph() -> bool:
    return all(shutil.which(tool) for tool in ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "curl"))


def _port_pair() -> int:
    for _ in range(50):
        port = 20_000 + free_port() % 20_000
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port + 7000))
            return port
    raise OSError("no free pair of ports")


@contextlib.contextmanager
def ministack(directory: pathlib.Path) -> Iterator[str]:
    """The emulator from the test extra; its endpoint."""
    port = free_port()
    environ = {
        **os.environ,
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "SERVICES": "s3,sts",
        "LOG_LEVEL": "WARNING",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "DOCKER_HOST": "unix:///nonexistent.sock",
        "TMPDIR": str(directory),
    }
    with _running([sys.executable, "-m", "ministack"], environ, directory / "ministack.out", port) as endpoint:
        yield endpoint


@contextlib.contextmanager
def rclone_s3(directory: pathlib.Path) -> Iterator[str]:
    """`rclone serve s3` over a folder, which takes every conditional write and overwrites; its endpoint."""
    port = free_port()
    data = directory / "data"
    data.mkdir(parents=True)
    command = [
        *(_rclone(), "serve", "s3", str(data), "--addr", f"127.0.0.1:{port}"),
        *("--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--config", os.devnull, "--vfs-cache-mode", "off"),
    ]
    with _running(command, dict(os.environ), directory / "rclone.out", port) as endpoint:
        yield endpoint


def has_rclone() -> bool:
    return bool(_rclone())


def _rclone() -> str:
    beside = pathlib.Path(sys.executable).parent / "rclone"
    return str(beside) if beside.exists() else shutil.which("rclone") or ""


@contextlib.contextmanager
def _running(command: list[str], environ: dict[str, str], log: pathlib.Path, port: int) -> Iterator[str]:
    endpoint = f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environ, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        try:
            _await_answer(process, endpoint, log)
            yield endpoint
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_answer(process: subprocess.Popen[bytes], endpoint: str, log: pathlib.Path) -> None:
    deadline = time.monotonic() + 60
    pause = threading.Event()
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(endpoint, timeout=2).close()
        except urllib.error.HTTPError as answered:
            answered.close()
            return
        except OSError:
            pause.wait(0.1)
        else:
            return
    raise RuntimeError(f"{endpoint} did not come up: {log.read_text(errors='replace')[-2000:]}")
