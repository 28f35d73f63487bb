"""Where the cache lies and how large it may be."""

import os
from pathlib import Path

import pytest

from artifactstore.chunk_cache.defaults import DEFAULT_MAX_BYTES, default_cache_bytes, default_cache_folder
from artifactstore.chunk_cache.disk import DiskCache
from artifactstore.chunk_cache.location import open_cache
from artifactstore.chunk_cache.protocol import NoCache
from artifactstore.testing.chunk_cache import chunk_of


def free(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    facts = os.statvfs("/")
    fields = [4096, 4096, *facts[2:4], free_bytes // 4096, *facts[5:]]
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(fields) if path == "/" else missing())


def missing() -> None:
    raise FileNotFoundError


def test_the_default_is_at_most_a_tenth_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 1 << 40)
    assert default_cache_bytes("/not/there/yet") == DEFAULT_MAX_BYTES
    free(monkeypatch, 10 << 30)
    assert default_cache_bytes("/not/there/yet") == 1 << 30
    free(monkeypatch, 0)
    assert default_cache_bytes("/not/there/yet") == 0


def test_the_default_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder() == str(tmp_path / "artifactstore")
    cache = open_cache(max_bytes=1 << 20)
    digest, raw = chunk_of("a")
    cache.put(digest, raw)
    assert (tmp_path / "artifactstore" / "chunks-1").is_dir()
    assert open_cache(max_bytes=1 << 20).get(digest, len(raw)) == raw


def test_a_size_of_nothing_is_no_cache(tmp_path: Path) -> None:
    assert isinstance(open_cache(tmp_path / "a", max_bytes=0), NoCache)
    assert isinstance(open_cache(tmp_path / "a"), DiskCache)
    assert not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match="negative"):
        open_cache(tmp_path, max_bytes=-1)
