"""The cache on disk: what it keeps, what goes, whose it is."""

import os
import stat
from pathlib import Path

import pytest

from artifactstore.chunk_cache.disk import MAX_TABLE_BYTES, OVERHEAD_BYTES, DiskCache
from artifactstore.chunk_cache.folder import Sharing
from artifactstore.testing.cached import CacheWorld, cap_for, chunks, disk_bytes
from artifactstore.testing.chunk_cache import ChunkCacheConformance, chunk_of, pack_of


@pytest.fixture
def world(tmp_path: Path) -> CacheWorld:
    return CacheWorld(tmp_path / "some" / "cache")


class TestDiskCache(ChunkCacheConformance):
    @pytest.fixture
    def cache(self, tmp_path: Path) -> DiskCache:
        return DiskCache(tmp_path, max_bytes=2 << 20)


class TestSharedDiskCache(ChunkCacheConformance):
    @pytest.fixture
    def cache(self, tmp_path: Path) -> DiskCache:
        return DiskCache(tmp_path, max_bytes=2 << 20, sharing=Sharing.GROUP)


def test_nothing_is_made_before_something_is_put(world: CacheWorld) -> None:
    cache = world.open()
    assert not world.has(cache, chunk_of("a"))
    assert cache.get_table(pack_of("a")) is None
    assert cache.used_bytes() == 0
    assert not world.folder.exists()


def test_entries_outlive_the_process(world: CacheWorld) -> None:
    world.put(world.open(), chunk_of("a"))
    world.open().put_table(pack_of("a"), b"tail")
    assert world.has(world.open(), chunk_of("a"))
    assert world.open().get_table(pack_of("a")) == b"tail"


def test_a_cache_that_appears_later_is_found(world: CacheWorld) -> None:
    reader = world.open()
    assert not world.has(reader, chunk_of("a"))
    world.put(world.open(), chunk_of("a"))
    assert world.has(reader, chunk_of("a"))


def test_the_least_recently_used_goes_first(world: CacheWorld) -> None:
    cache = world.open(cap_for(3))
    a, b, c, d = chunks(4)
    for chunk in (a, b, c):
        world.put(cache, chunk)
    assert world.has(cache, a)
    world.put(cache, d)
    assert [world.has(cache, chunk) for chunk in (a, b, c, d)] == [True, False, True, True]


def test_a_use_by_another_process_counts(world: CacheWorld) -> None:
    cache, other = world.open(cap_for(2)), world.open(cap_for(2))
    a, b, c = chunks(3)
    world.put(cache, a)
    world.put(cache, b)
    assert world.has(other, a)
    world.put(cache, c)
    assert world.has(cache, a) and not world.has(cache, b)


def test_putting_what_is_there_is_a_use_and_writes_nothing(world: CacheWorld) -> None:
    cache = world.open(cap_for(2))
    a, b, c = chunks(3)
    world.put(cache, a)
    inode = world.entry(a).stat().st_ino
    world.put(cache, b)
    world.put(cache, a)
    assert world.entry(a).stat().st_ino == inode
    world.put(cache, c)
    assert world.has(cache, a) and not world.has(cache, b)
    assert cache.counts.stored == 3


def test_tails_of_packs_go_as_chunks_do(world: CacheWorld) -> None:
    cache = world.open(cap_for(2))
    world.clock.advance(1)
    cache.put_table(pack_of("a"), bytes(4900))
    for chunk in chunks(2):
        world.put(cache, chunk)
    assert cache.get_table(pack_of("a")) is None
    assert cache.used_bytes() == world.charged()


def test_a_tail_of_an_absurd_length_is_not_kept(world: CacheWorld) -> None:
    cache = world.open(1 << 30)
    cache.put_table(pack_of("a"), bytes(MAX_TABLE_BYTES + 1))
    assert cache.get_table(pack_of("a")) is None
    cache.put_table(pack_of("a"), bytes(MAX_TABLE_BYTES))
    assert cache.get_table(pack_of("a")) == bytes(MAX_TABLE_BYTES)


@pytest.mark.parametrize("size_bytes", [10, 100, 4096, 70_000])
def test_the_disk_never_holds_more_than_the_cap_folders_and_blocks_included(world: CacheWorld, size_bytes: int) -> None:
    cap = OVERHEAD_BYTES + (1 << 20)
    cache = world.open(cap)
    for chunk in chunks(300, size_bytes):
        world.put(cache, chunk)
        assert cache.used_bytes() <= cap - OVERHEAD_BYTES
    assert disk_bytes(world.root) <= cap
    assert cache.used_bytes() == world.charged() > (1 << 20) * 3 // 4
    assert cache.counts.evicted > 0


def test_a_cache_of_many_shards_full_of_entries_evicts_the_older_half_first(world: CacheWorld) -> None:
    """Where there are too many to look at all of them, those that go are old ones of some shards."""
    cache = world.open(cap_for(3000, 10))
    some = chunks(3300, 10)
    for chunk in some:
        world.put(cache, chunk)
    names = world.entries().keys()
    kept = [f"c{digest.hex()}" in names for digest, _ in some]
    assert sum(kept) <= 3000
    assert all(kept[1650:])
    assert cache.used_bytes() == world.charged()


def test_whoever_has_a_lower_cap_does_not_write_above_it(world: CacheWorld) -> None:
    large, small = world.open(cap_for(50)), world.open(cap_for(5))
    some = chunks(50)
    for chunk in some:
        world.put(large, chunk)
    assert large.used_bytes() == cap_for(50) - OVERHEAD_BYTES
    world.put(small, chunk_of("new"))
    assert small.used_bytes() <= cap_for(5) - OVERHEAD_BYTES
    assert world.has(small, chunk_of("new"))
    assert [world.has(small, chunk) for chunk in some[-4:]] == [True] * 4


def test_a_cap_below_the_folders_keeps_nothing(world: CacheWorld) -> None:
    cache = world.open(OVERHEAD_BYTES)
    world.put(cache, chunk_of("a"))
    assert not world.has(cache, chunk_of("a"))
    assert world.entries() == {}


def test_a_negative_cap_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="negative"):
        DiskCache(tmp_path, max_bytes=-1)


def test_what_was_used_in_a_future_that_a_wrong_clock_made_up_goes_first(world: CacheWorld) -> None:
    cache = world.open(cap_for(2))
    a, b, c = chunks(3)
    world.put(cache, a)
    world.clock.set_now(world.clock.now() + 365 * 86_400)
    world.put(cache, b)
    world.clock.set_now(world.clock.now() - 365 * 86_400)
    assert world.has(cache, a)
    world.put(cache, c)
    assert world.has(cache, a) and not world.has(cache, b)


def test_counts_say_what_happened(world: CacheWorld) -> None:
    cache = world.open(cap_for(1))
    a, b = chunks(2)
    world.has(cache, a)
    world.put(cache, a)
    world.has(cache, a)
    world.put(cache, b)
    world.entry(b).write_bytes(b"damage")
    world.has(cache, b)
    counts = cache.counts
    assert (counts.hits, counts.misses, counts.damaged, counts.stored, counts.evicted) == (1, 2, 1, 2, 1)


def modes(world: CacheWorld) -> tuple[set[int], set[int]]:
    """Modes of folders, and of files."""
    found = [world.root, *world.root.rglob("*")]
    folders = {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_dir()}
    return folders, {stat.S_IMODE(path.stat().st_mode) for path in found if not path.is_dir()}


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o022])
def test_nobody_else_may_look_whatever_the_umask(world: CacheWorld, umask: int) -> None:
    before = os.umask(umask)
    try:
        world.put(world.open(), chunk_of("a"))
    finally:
        os.umask(before)
    assert modes(world) == ({0o700}, {0o600})


def test_a_folder_of_ours_that_others_may_look_into_is_closed_to_them(world: CacheWorld) -> None:
    world.root.mkdir(parents=True)
    world.root.chmod(0o777)
    world.put(world.open(), chunk_of("a"))
    assert stat.S_IMODE(world.root.stat().st_mode) == 0o700
    assert stat.S_IMODE(world.folder.stat().st_mode) != 0o700, "the folder around it is not ours to change"


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o022])
def test_a_shared_cache_is_open_to_its_group_whatever_the_umask(world: CacheWorld, umask: int) -> None:
    before = os.umask(umask)
    try:
        world.put(world.open(sharing=Sharing.GROUP), chunk_of("a"))
    finally:
        os.umask(before)
    assert modes(world) == ({0o2770}, {0o660})
