"""The conformance suite of caches: every promise of `artifactstore.chunk_cache.protocol`, as tests.

Subclass it in a test module and give it an empty cache that has room for some hundred KiB.
"""

import threading

from artifactstore.chunk_cache.protocol import ChunkCache
from artifactstore.digest import CHUNK_CONTEXT, Digest, PackId, digest_of
from artifactstore.testing.backend import run_together, seeded_bytes


def chunk_of(seed: str, size_bytes: int = 5000) -> tuple[Digest, bytes]:
    """A chunk and its digest, the same for the same seed."""
    raw = seeded_bytes(seed, size_bytes)
    return digest_of(CHUNK_CONTEXT, raw), raw


def pack_of(seed: str) -> PackId:
    return PackId(seeded_bytes(f"pack {seed}", 20))


class ChunkCacheConformance:
    """What every cache does."""

    def test_what_was_put_comes_back(self, cache: ChunkCache) -> None:
        for size in (0, 1, 4096, 65_537):
            digest, raw = chunk_of("a", size)
            cache.put(digest, raw)
            assert cache.get(digest, size) == raw

    def test_what_was_not_put_is_a_miss(self, cache: ChunkCache) -> None:
        digest, raw = chunk_of("a")
        assert cache.get(digest, len(raw)) is None
        assert cache.get_table(pack_of("a")) is None

    def test_any_buffer_can_be_put_and_bytes_come_back(self, cache: ChunkCache) -> None:
        for number, kind in enumerate((bytes, bytearray, memoryview)):
            digest, raw = chunk_of(str(number))
            cache.put(digest, kind(raw))
            cache.put_table(pack_of(str(number)), kind(raw))
            found = cache.get(digest, len(raw))
            assert type(found) is bytes and found == raw
            tail = cache.get_table(pack_of(str(number)))
            assert type(tail) is bytes and tail == raw

    def test_a_buffer_that_changes_after_the_put_changes_nothing(self, cache: ChunkCache) -> None:
        digest, raw = chunk_of("a")
        buffer = bytearray(raw)
        cache.put(digest, buffer)
        buffer[0] ^= 1
        assert cache.get(digest, len(raw)) == raw

    def test_bytes_put_under_a_digest_that_is_not_theirs_are_a_miss_and_gone(self, cache: ChunkCache) -> None:
        digest, raw = chunk_of("a")
        cache.put(digest, raw[:-1] + b"?")
        assert cache.get(digest, len(raw)) is None
        cache.put(digest, raw)
        assert cache.get(digest, len(raw)) == raw

    def test_a_chunk_asked_for_by_another_length_is_a_miss(self, cache: ChunkCache) -> None:
        digest, raw = chunk_of("a")
        for length in (len(raw) - 1, len(raw) + 1, 0):
            cache.put(digest, raw)
            assert cache.get(digest, length) is None

    def test_a_tail_takes_the_place_of_one_that_is_there(self, cache: ChunkCache) -> None:
        cache.put_table(pack_of("a"), b"some tail")
        cache.put_table(pack_of("a"), b"same size")
        assert cache.get_table(pack_of("a")) == b"same size"
        cache.put_table(pack_of("a"), b"")
        assert cache.get_table(pack_of("a")) == b""

    def test_chunks_and_tails_do_not_meet(self, cache: ChunkCache) -> None:
        digest, raw = chunk_of("a")
        cache.put(digest, raw)
        assert cache.get_table(PackId(digest[:20])) is None

    def test_what_is_larger_than_the_cache_is_not_kept_and_does_not_clear_it(self, cache: ChunkCache) -> None:
        digest, raw = chunk_of("small")
        cache.put(digest, raw)
        huge, content = chunk_of("huge", 20 << 20)
        cache.put(huge, content)
        cache.put_table(pack_of("huge"), content)
        assert cache.get(huge, len(content)) is None
        assert cache.get_table(pack_of("huge")) is None
        assert cache.get(digest, len(raw)) == raw

    def test_threads_may_use_it_together(self, cache: ChunkCache) -> None:
        chunks = [chunk_of(str(number), 3000 + number) for number in range(40)]
        wrong: list[int] = []
        begin = threading.Barrier(8)

        def work() -> None:
            begin.wait(10)
            for _ in range(5):
                for digest, raw in chunks:
                    found = cache.get(digest, len(raw))
                    if found is None:
                        cache.put(digest, raw)
                    elif found != raw:
                        wrong.append(len(raw))

        run_together([work] * 8)
        assert wrong == []
        assert all(cache.get(digest, len(raw)) == raw for digest, raw in chunks)
