"""What reading costs with the sizes that stores really have: 32 MiB packs, 64 KiB chunks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.chunk_cache.protocol import NoCache
from artifactstore.filesystem import mounts
from artifactstore.filesystem.system import open_filesystem
from artifactstore.testing.stores import StoreWorld, make_tree
from artifactstore.testing.strategies import seeded_bytes

MB = 1_000_000
CONTENT = seeded_bytes("costs", 100 * MB)
CHUNK_BYTES = 256 << 10
TABLE_BYTES = 64 << 10


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> StoreWorld:
    folder = tmp_path_factory.mktemp("costs")
    world = StoreWorld(folder)
    make_tree(folder / "tree", {b"large": CONTENT, **{b"small/%04d" % n: b"%d" % n * 30 for n in range(2000)}})
    with world.store() as store:
        store.push(folder / "tree", "data")
    return world


@pytest.fixture
def count(world: StoreWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[CountBackend]:
    monkeypatch.setattr(mounts, "open_cache", lambda *_, **__: NoCache())
    yield CountBackend(world.memory)


def test_a_megabyte_of_a_large_file_costs_about_a_megabyte(world: StoreWorld, count: CountBackend) -> None:
    """However large: the version's root and one of its blocks, one or two tables, and the chunks."""
    with world.store(through=count) as store:
        fs = open_filesystem(store)
        assert fs.cat_file("data:v1/large", 50 * MB, 51 * MB) == CONTENT[50 * MB : 51 * MB]
        cold = count.counts
        assert cold.request_count <= 10
        assert cold.received_bytes < MB + 2 * CHUNK_BYTES + 2 * TABLE_BYTES + 300_000
        for start in (3 * MB, 77 * MB, 20 * MB, 51 * MB):
            count.reset()
            assert fs.cat_file("data:v1/large", start, start + MB) == CONTENT[start : start + MB]
            assert count.counts.request_count <= 4
            assert count.counts.received_bytes < MB + 2 * CHUNK_BYTES + 2 * TABLE_BYTES


def test_small_reads_here_and_there_are_not_made_larger(world: StoreWorld, count: CountBackend) -> None:
    with world.store(through=count) as store, open_filesystem(store).open("data:v1/large") as file:
        for at in range(0, 100 * MB, 30 * MB):
            file.seek(at)
            file.read(1)
        count.reset()
        for at in (91 * MB, 5 * MB, 60 * MB, 33 * MB, 5 * MB + 3 * CHUNK_BYTES):
            file.seek(at)
            assert file.read(65536) == CONTENT[at : at + 65536]
        assert count.counts.request_count <= 6
        assert count.counts.received_bytes < 5 * (65536 + 2 * CHUNK_BYTES)


def test_reading_all_of_it_is_few_large_requests(world: StoreWorld, count: CountBackend) -> None:
    with world.store(through=count) as store, open_filesystem(store).open("data:v1/large") as file:
        count.reset()
        at = 0
        while part := file.read(MB):
            assert part == CONTENT[at : at + MB]
            at += len(part)
        assert at == len(CONTENT)
        assert count.counts.request_count < 50
        assert count.counts.received_bytes < 1.01 * len(CONTENT)


def test_one_small_file_costs_one_request_and_not_the_table_of_its_pack(
    world: StoreWorld, count: CountBackend, tmp_path: Path
) -> None:
    with world.store(through=count) as store:
        fs = open_filesystem(store)
        fs.info("data:v1/small/0700")
        count.reset()
        assert fs.cat_file("data:v1/small/0700") == b"700" * 30
        assert count.counts.request_count == 1
        assert count.counts.received_bytes < 1000
        count.reset()
        assert len(fs.cat("data:v1/small", recursive=True)) == 2000
        assert count.counts.request_count <= 12, "their blocks, and content"
