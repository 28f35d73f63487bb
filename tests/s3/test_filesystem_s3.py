"""The file system on a store in a real S3 server."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from s3.proxy import Answer, FaultProxy, Rule, s3_error
from s3.servers import S3Server

from artifactstore.errors import BackendError
from artifactstore.filesystem.mounts import MOUNTS
from artifactstore.filesystem.system import ArtifactFileSystem
from artifactstore.store import init_store
from artifactstore.testing.strategies import seeded_bytes

NOISE = seeded_bytes("filesystem on s3", 12_000_000)


@pytest.fixture
def url(s3_url: str, tmp_path: Path) -> Iterator[str]:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "large").write_bytes(NOISE)
    (tmp_path / "tree" / "small").write_bytes(b"small")
    with init_store(s3_url) as store:
        store.push(tmp_path / "tree", "data")
    yield s3_url
    MOUNTS.clear()


def read_at(fs: ArtifactFileSystem, offset: int) -> bytes:
    return fs.cat_file("data:v1/large", offset, offset + 70_000)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_ranges_are_read_by_threads_and_by_workers(url: str) -> None:
    fs = fsspec.filesystem("artifact", store=url)
    offsets = [number * 590_000 for number in range(20)]
    expected = [NOISE[offset : offset + 70_000] for offset in offsets]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(read_at, [fs] * 20, offsets)) == expected
    assert fs.cat_ranges(["data:v1/large"] * 20, offsets, [offset + 70_000 for offset in offsets]) == expected
    for method in ("fork", "spawn"):
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as workers:
            assert list(workers.map(read_at, [fs] * 20, offsets, timeout=60)) == expected
    with fs.open("data:v1/large") as file:
        assert file.read() == NOISE


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (400, "InvalidRequest")])
def test_storage_that_refuses_is_no_missing_file(
    url: str, s3_server: S3Server, proxy: FaultProxy, status: int, code: str
) -> None:
    fs = fsspec.filesystem("artifact", store=url.replace(s3_server.endpoint_url, proxy.endpoint_url))
    assert fs.exists("data:v1/small")
    proxy.plan(Rule(action=Answer(status, body=s3_error(status, code)), times=None))
    fs.invalidate_cache()
    for call in (fs.exists, fs.isfile, fs.open, fs.find, fs.glob):
        with pytest.raises(BackendError) as caught:
            call("data:v1/small")
        assert not isinstance(caught.value, OSError)
