"""Which backend a URL opens, what it costs to open it, and what is never shown of it."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from artifactstore.backend.local import LocalBackend
from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.protocol import Backend
from artifactstore.backend.table import (
    BackendOptions,
    create_local_root,
    local_path_of,
    open_backend,
)
from artifactstore.backend.wrappers.forward import ForwardingBackend
from artifactstore.backend.wrappers.limit import LimitBackend
from artifactstore.backend.wrappers.retry import RetryBackend
from artifactstore.errors import ConfigurationError, ObjectNotFound
from artifactstore.testing.clock import VirtualClock

CLOCK = VirtualClock()


def innermost(backend: Backend) -> Backend:
    while isinstance(backend, ForwardingBackend):
        backend = backend.inner
    return backend


def test_a_path_is_a_folder(tmp_path: Path) -> None:
    for text in (str(tmp_path / "a b%41"), tmp_path / "a b%41"):
        backend = innermost(open_backend(text, clock=CLOCK))
        assert isinstance(backend, LocalBackend)
        assert backend.url == str(tmp_path / "a b%41")


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    for url in (f"file://{tmp_path}/a%20b", f"FILE://localhost{tmp_path}/a%20b"):
        backend = innermost(open_backend(url, clock=CLOCK))
        assert isinstance(backend, LocalBackend)
        assert backend.url == f"{tmp_path}/a b"
        assert local_path_of(url) == f"{tmp_path}/a b"


def test_only_local_urls_have_a_path() -> None:
    assert local_path_of("some/folder") == "some/folder"
    assert local_path_of("s3://bucket/prefix") is None
    assert local_path_of("memory://x") is None


def test_memory_is_one_store_by_name_in_this_process() -> None:
    first = open_backend("memory://shared-name", clock=CLOCK)
    second = open_backend("memory://shared-name", clock=CLOCK)
    other = open_backend("memory://other-name", clock=CLOCK)
    first.put("key", b"content")
    assert bytes(second.get("key")) == b"content"
    assert list(other.list("")) == []
    assert isinstance(innermost(first), MemoryBackend)


def test_s3_opens_without_a_request() -> None:
    backend = open_backend("s3://bucket/prefix?endpoint_url=http://127.0.0.1:9", clock=CLOCK)
    assert type(innermost(backend)).__name__ == "S3Backend"
    backend.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nosuchprotocol://host/path",
        "s3:/bucket/prefix",
        "s3:bucket",
        "file://otherhost/path",
        "file://relative",
        "file:///path?query",
        "simplecache::s3://bucket/prefix",
        "1s3://bucket",
    ],
)
def test_what_is_neither_path_nor_known_url_is_one_clear_line(text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        open_backend(text, clock=CLOCK)
    assert "\n" not in str(raised.value)


def test_retries_are_around_and_limits_only_when_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="artifactstore.requests")
    plain = open_backend(tmp_path, clock=CLOCK)
    assert isinstance(plain, RetryBackend)
    assert isinstance(plain.inner, LocalBackend)
    limited = open_backend(tmp_path, clock=CLOCK, options=BackendOptions(limit_rate_bytes=1000))
    assert isinstance(limited, RetryBackend)
    assert isinstance(limited.inner, LimitBackend)


def test_requests_are_logged_when_somebody_listens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="artifactstore.requests")
    create_local_root(tmp_path / "store", clock=CLOCK)
    backend = open_backend(tmp_path / "store", clock=CLOCK)
    backend.put("a/key", b"body")
    with pytest.raises(ObjectNotFound):
        backend.get("another")
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["PUT 4 a/key", "GET another"]


def test_a_root_is_made_for_folders_only(tmp_path: Path) -> None:
    create_local_root(tmp_path / "a" / "store", clock=CLOCK)
    assert (tmp_path / "a" / "store").is_dir()
    create_local_root(f"file://{tmp_path}/b", clock=CLOCK)
    assert (tmp_path / "b").is_dir()
    create_local_root("memory://anything", clock=CLOCK)


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"deadline_seconds": 0.0}, {"limit_rate_bytes": 0}])
def test_options_that_cant_work_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"rate|options"):
        BackendOptions(**wrong)


def test_a_local_store_loads_no_sdk() -> None:
    script = (
        "import sys\n"
        "from artifactstore.backend.table import open_backend\n"
        "from artifactstore.clock import SYSTEM_CLOCK\n"
        "open_backend('.', clock=SYSTEM_CLOCK)\n"
        "print([name for name in ('boto3', 'botocore', 'fsspec', 's3fs', 'asyncio') if name in sys.modules])\n"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
