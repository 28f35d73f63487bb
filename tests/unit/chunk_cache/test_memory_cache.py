"""The cache in memory."""

import pytest

from artifactstore.chunk_cache.memory import MemoryCache
from artifactstore.chunk_cache.protocol import NoCache
from artifactstore.testing.chunk_cache import ChunkCacheConformance, chunk_of, pack_of


class TestMemoryCache(ChunkCacheConformance):
    @pytest.fixture
    def cache(self) -> MemoryCache:
        return MemoryCache(max_bytes=1 << 20)


def test_the_least_recently_used_goes_first_and_the_cap_holds() -> None:
    cache = MemoryCache(max_bytes=30)
    chunks = [chunk_of(str(number), 10) for number in range(4)]
    for digest, raw in chunks[:3]:
        cache.put(digest, raw)
    assert cache.get(chunks[0][0], 10)
    cache.put(*chunks[3])
    assert [cache.get(digest, 10) is not None for digest, _ in chunks] == [True, False, True, True]
    assert cache.used_bytes == 30


def test_a_negative_cap_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        MemoryCache(max_bytes=-1)


def test_a_cap_of_nothing_keeps_nothing() -> None:
    cache = MemoryCache(max_bytes=0)
    cache.put(*chunk_of("a"))
    assert cache.get(chunk_of("a")[0], 5000) is None
    assert cache.used_bytes == 0


def test_a_forked_child_begins_anew() -> None:
    cache = MemoryCache(max_bytes=100)
    cache.put(*chunk_of("a", 10))
    cache.renew()
    assert cache.get(chunk_of("a", 10)[0], 10) is None
    cache.put(*chunk_of("a", 10))
    assert cache.get(chunk_of("a", 10)[0], 10) is not None


def test_no_cache_keeps_nothing() -> None:
    cache = NoCache()
    cache.put(*chunk_of("a"))
    cache.put_table(pack_of("a"), b"tail")
    assert cache.get(chunk_of("a")[0], 5000) is None
    assert cache.get_table(pack_of("a")) is None
