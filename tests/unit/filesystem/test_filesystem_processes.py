"""A file system and its open files in other processes: pickled, forked, spawned."""

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import fsspec
import pytest

from artifactstore.chunk_cache.protocol import NoCache
from artifactstore.errors import ConfigurationError
from artifactstore.filesystem.mounts import MOUNTS
from artifactstore.filesystem.system import ArtifactFileSystem, open_filesystem
from artifactstore.store import open_store
from artifactstore.testing.strategies import seeded_bytes

NOISE = seeded_bytes("processes", 12_000_000)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("processes")
    (place / "tree").mkdir()
    (place / "tree" / "large").write_bytes(NOISE)
    (place / "tree" / "small").write_bytes(b"small")
    with open_store(place / "store", state_path=place / "state") as store:
        store.push(place / "tree", "data")
    yield str(place / "store")
    MOUNTS.clear()


def read_at(fs: ArtifactFileSystem, offset: int) -> bytes:
    return fs.cat_file("data:v1/large", offset, offset + 1000)


def read_on(file: object, offset: int) -> bytes:
    file.seek(offset)  # type: ignore[attr-defined]
    return file.read(1000)  # type: ignore[attr-defined,no-any-return]


def test_pickled_file_system_is_the_same_one(url: str) -> None:
    fs = open_filesystem(url, allow_expired=True, latest_seconds=3)
    copy = pickle.loads(pickle.dumps(fs))
    assert copy == fs
    assert hash(copy) == hash(fs)
    assert (copy.store, copy.allow_expired, copy.latest_seconds) == (url, True, 3)
    assert fs != open_filesystem(url)
    assert fsspec.AbstractFileSystem.from_json(fs.to_json()) == fs
    assert json.loads(fs.to_json())["store"] == url


def test_pickled_file_goes_on_where_it_was_in_the_version_it_was_opened_in(url: str) -> None:
    with open_filesystem(url).open("data:latest/large") as file:
        file.seek(7_000_000)
        copy = pickle.loads(pickle.dumps(file))
        assert copy.path == "data:v1/large"
        assert copy.tell() == 7_000_000
        assert copy.read(100) == file.read(100) == NOISE[7_000_000:7_000_100]
        copy.close()


def test_no_secret_is_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "memory://user:sesame42@name"
    with pytest.raises(ConfigurationError, match="secret") as caught:
        pickle.dumps(ArtifactFileSystem(secret))
    assert "sesame42" not in str(caught.value)
    assert "sesame42" not in repr(ArtifactFileSystem(secret))
    monkeypatch.setenv("ARTIFACTSTORE_URL", secret)
    fs = ArtifactFileSystem()
    assert b"sesame42" not in pickle.dumps(fs)
    assert "sesame42" not in fs.to_json()
    assert pickle.loads(pickle.dumps(fs)) == fs


def test_store_that_the_settings_name_is_asked_for_each_time(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_URL", url)
    assert fsspec.filesystem("artifact").cat_file("data:v1/small") == b"small"
    monkeypatch.setenv("ARTIFACTSTORE_URL", "memory://another")
    assert fsspec.filesystem("artifact").store == "memory://another"


def test_option_that_is_not_there_is_refused(url: str) -> None:
    with pytest.raises(TypeError, match="no option stor: there are store"):
        fsspec.filesystem("artifact", stor=url)
    assert fsspec.filesystem("artifact", store=url, asynchronous=True, use_listings_cache=False).store == url


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_through_what_they_are_sent(url: str, method: str) -> None:
    offsets = [number * 1_100_000 for number in range(10)]
    fs = open_filesystem(url)
    with fs.open("data:v1/large") as file:
        read_on(file, 0)  # threads and locks are in use before
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
            by_system = list(pool.map(read_at, [fs] * 10, offsets, timeout=60))
            by_file = list(pool.map(read_on, [file] * 10, offsets, timeout=60))
    assert by_system == by_file == [NOISE[offset : offset + 1000] for offset in offsets]


def test_forked_child_goes_on_with_what_it_inherits(url: str) -> None:
    """Fault 110: while the parent's threads are at work, and hold locks."""
    program = """
        import os, random, signal, sys, threading, warnings
        from artifactstore import open_filesystem

        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12 on, about forks with threads
        fs = open_filesystem(sys.argv[1])
        file = fs.open("data:v1/large")
        expected = fs.cat_file("data:v1/large")
        done = False
        def busy():
            with fs.open("data:v1/large") as own:
                while not done:
                    at = random.randrange(11_000_000)
                    own.seek(at)
                    assert own.read(100_000) == expected[at:at + 100_000]
                    fs.cat_ranges(["data:v1/large"] * 2, [0, at], [10, at + 10])
        threads = [threading.Thread(target=busy) for _ in range(3)]
        for thread in threads:
            thread.start()
        children = []
        for number in range(12):
            child = os.fork()
            if child:
                children.append(child)
                continue
            signal.alarm(30)
            file.seek(number * 900_000)
            good = file.read(5_000_000) == expected[number * 900_000:][:5_000_000]
            good &= fs.cat_file("data:v1/small") == b"small" and fs.exists("data:latest/small")
            with fs.open("data:v1/large") as another:
                good &= another.read() == expected
            os._exit(0 if good else 1)
        codes = [os.waitpid(child, 0)[1] for child in children]
        done = True
        for thread in threads:
            thread.join()
        file.close()
        sys.exit(any(codes) and f"a child failed: {codes}")
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program), url],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not done.stderr


def test_forked_child_does_not_wait_for_locks_that_were_held(url: str) -> None:
    """Fault 110: by threads that are not in the child."""
    program = """
        import os, signal, sys, threading, warnings
        from contextlib import ExitStack
        from artifactstore import open_filesystem
        from artifactstore.filesystem.mounts import MOUNTS

        warnings.simplefilter("ignore", DeprecationWarning)
        fs = open_filesystem(sys.argv[1])
        file = fs.open("data:v1/large")
        expected = fs.cat_file("data:v1/large")
        assert file.read(10) == expected[:10]
        mount, reader, window = fs._mount, fs._mount.reader, file.cache._window
        locks = [file._lock.held, window._check._lock, mount._lock, mount._versions._lock, mount._files._lock,
                 reader._lock, reader._chunks._lock, reader._tables._lock, MOUNTS._lock, mount.store._lock]
        held, release = threading.Event(), threading.Event()
        def hold():
            with ExitStack() as stack:
                for lock in locks:
                    stack.enter_context(lock)
                held.set()
                release.wait()
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        child = os.fork()
        if not child:
            signal.alarm(30)
            good = file.read(9_000_000) == expected[10:9_000_010]
            good &= fs.cat_file("data:v1/large", 5, 500_000) == expected[5:500_000]
            good &= open_filesystem(sys.argv[1]).cat_file("data:v1/small") == b"small"
            os._exit(0 if good else 1)
        code = os.waitpid(child, 0)[1]
        release.set()
        thread.join()
        file.close()
        sys.exit(code and f"the child failed: {code}")
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program), url],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_mounted_store_is_shared_and_closed_in_the_end(url: str, tmp_path: Path) -> None:
    first, second = ArtifactFileSystem(url), ArtifactFileSystem(url)
    assert first._mount is second._mount
    with first.open("data:v1/large") as file:
        MOUNTS.clear()
        assert ArtifactFileSystem(url)._mount is not first._mount
        del first, second
        assert file.read(10) == NOISE[:10], "an open file keeps it open"


def test_cache_is_where_the_settings_say_and_local_stores_need_none(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MOUNTS.clear()
    assert isinstance(ArtifactFileSystem(url)._mount._cache, NoCache)
    monkeypatch.setenv("ARTIFACTSTORE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("ARTIFACTSTORE_CACHE_SIZE", "100M")
    for _ in range(2):
        MOUNTS.clear()
        fs = ArtifactFileSystem(url)
        assert fs.cat_file("data:v1/large", 5_000_000, 6_000_000) == NOISE[5_000_000:6_000_000]
        fs._mount._cache.flush()  # type: ignore[attr-defined]
        counts = fs._mount._cache._cache.counts  # type: ignore[attr-defined]
    assert (counts.misses, counts.stored) == (0, 0), "the second one found all of it"
    assert counts.hits > 5
    MOUNTS.clear()
