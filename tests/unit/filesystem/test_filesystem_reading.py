"""Reading files where they lie: what comes, what it costs, and what can't come out wrong."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.filesystem.mounted import NOISE, TREE, Mounted

from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.forward import ForwardingBackend
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.digest import Buffer
from artifactstore.errors import CorruptData
from artifactstore.filesystem import mounts
from artifactstore.filesystem.file import ArtifactFile
from artifactstore.filesystem.system import open_filesystem
from artifactstore.keys import PACKS
from artifactstore.reading import chunks
from artifactstore.testing.stores import SMALL_CUT

DATA = "sets/data:v1"
FILES = ["large", "empty", "small", "lines", "holes", "folder/one", "links/file"]
CHUNK = SMALL_CUT.max_bytes + 20


def is_pack(key: str) -> bool:
    return key.startswith(PACKS)


def all_packs(mounted: Mounted) -> list[str]:
    return list(filter(is_pack, mounted.world.memory.keys()))


# As a local file

CACHES = [None, "none", "readahead", "bytes", "all"]
operations = st.lists(
    st.one_of(
        st.tuples(st.just("seek"), st.integers(0, 110_000), st.sampled_from([0, 1, 2])),
        st.tuples(st.just("read"), st.sampled_from([-1, None, 0, 1, 10, 1000, 5000, 50_000]), st.none()),
        st.tuples(st.just("readinto"), st.sampled_from([0, 1, 700, 30_000]), st.none()),
        st.tuples(st.just("readline"), st.sampled_from([-1, 0, 3, 100, 20_000]), st.none()),
        st.tuples(st.just("tell"), st.none(), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(FILES), steps=operations, cache=st.sampled_from([None, "none", "readahead", "bytes", "all"])
)
def test_file_behaves_like_a_local_one(mounted: Mounted, path: str, steps: list[tuple], cache: str | None) -> None:
    with mounted.fs.open(f"{DATA}/{path}", cache_type=cache) as file, (mounted.place / path).open("rb") as local:
        for verb, number, whence in steps:
            assert perform(file, verb, number, whence) == perform(local, verb, number, whence)


def perform(file: io.BufferedReader, verb: str, number: int, whence: int) -> object:
    match verb:
        case "seek":
            return file.seek(number, whence)
        case "read":
            return file.read(number)
        case "readinto":
            buffer = bytearray(number)
            return file.readinto(buffer), buffer
        case "readline":
            return file.readline(number)
    return file.tell()


def test_file_is_what_callers_of_files_expect(mounted: Mounted) -> None:
    file = mounted.fs.open(f"{DATA}/lines")
    assert isinstance(file, ArtifactFile)
    assert (file.readable(), file.seekable(), file.writable(), file.closed) == (True, True, False, False)
    assert (file.size, file.mode, file.path) == (len(TREE[b"lines"]), "rb", f"{DATA}/lines")
    assert file.full_name == f"artifact://{DATA}/lines"
    assert file.info()["name"] == f"{DATA}/lines"
    with file:
        pass
    for call in (file.read, file.tell, lambda: file.seek(0)):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_text_and_lines(mounted: Mounted) -> None:
    expected = (mounted.place / "lines").read_text().splitlines(keepends=True)
    with mounted.fs.open(f"{DATA}/lines", "r") as text:
        assert list(text) == expected
    with mounted.fs.open(f"{DATA}/lines") as binary:
        assert [line.decode() for line in binary] == expected
    assert mounted.fs.read_text(f"{DATA}/small") == "some text"
    assert mounted.fs.head(f"{DATA}/lines", 6) == b"line 0"
    assert mounted.fs.tail(f"{DATA}/lines", 5) == b"2999\n"


def test_lines_of_a_file_are_few_requests(mounted: Mounted) -> None:
    with mounted.fs.open(f"{DATA}/lines") as file:
        mounted.count.reset()
        assert len(list(file)) == 3000
    assert mounted.count.counts.request_count < 15


# What it costs


def test_part_of_a_large_file_costs_its_chunks_and_a_table(mounted: Mounted) -> None:
    fs = mounted.fs
    fs.info(f"{DATA}/large")
    mounted.count.reset()
    assert fs.cat_file(f"{DATA}/large", 30_000, 31_000) == NOISE[30_000:31_000]
    assert mounted.count.counts.request_count <= 4
    assert mounted.count.counts.received_bytes <= 1000 + 2 * CHUNK + 4000, "its chunks, at most two tables"
    mounted.count.reset()
    assert fs.cat_file(f"{DATA}/large", 30_100, 30_900) == NOISE[30_100:30_900]
    assert not mounted.count.counts.request_count, "they are in memory"


def test_random_reads_of_a_file_are_a_request_each_once_tables_are_known(mounted: Mounted) -> None:
    fs = mounted.fs
    fs.cat_file(f"{DATA}/large")
    fresh = mounted.fresh()  # a cache of its own
    for at in range(0, len(NOISE), 5000):
        fresh.cat_file(f"{DATA}/large", at, at + 1)
    with fresh.open(f"{DATA}/large") as file:
        for at in (41_200, 3_300, 52_100, 18_700):
            mounted.count.reset()
            file.seek(at)
            assert file.read(500) == NOISE[at : at + 500]
            assert mounted.count.counts.request_count <= 2, "it may cross from one pack to the next"
            assert mounted.count.counts.received_bytes <= 500 + 2 * CHUNK


def test_reading_on_gets_more_and_more_ahead(mounted: Mounted) -> None:
    with mounted.fs.open(f"{DATA}/large") as file:
        mounted.count.reset()
        for at in range(0, len(NOISE), 100):
            assert file.read(100) == NOISE[at : at + 100]
    assert mounted.count.counts.request_count < 30
    assert mounted.count.counts.received_bytes < 1.2 * len(NOISE), "tables included"


def test_small_file_is_one_request(mounted: Mounted) -> None:
    mounted.fs.info(f"{DATA}/small")
    mounted.count.reset()
    assert mounted.fs.cat_file(f"{DATA}/small") == b"some text"
    assert mounted.count.counts.request_count == 1


def test_tables_of_small_files_are_read_once_they_are_worth_it(mounted: Mounted) -> None:
    """And then what is read again comes from the cache."""
    names = [f"{DATA}/{name}" for name in ("small", "run", "folder/deep/er/three", "odd/a:b@c*[d]?")]
    for _ in range(20):
        for name in names:
            mounted.fs.cat_file(name)
    mounted.count.reset()
    for name in names:
        mounted.fs.cat_file(name)
    assert not mounted.count.counts.request_count


def test_holes_are_not_fetched(mounted: Mounted) -> None:
    mounted.fs.cat_file(f"{DATA}/holes", 0, 1)
    mounted.count.reset()
    assert mounted.fs.cat_file(f"{DATA}/holes", 70_000, 90_000) == bytes(20_000)
    with mounted.fs.open(f"{DATA}/holes") as file:
        file.seek(70_000)
        assert file.read(20_000) == bytes(20_000)
    assert not mounted.count.counts.request_count


def test_what_one_file_system_read_another_finds_in_the_cache(
    mounted: Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = mounts.open_cache()
    monkeypatch.setattr(mounts, "open_cache", lambda *_, **__: cache)
    first, second = mounted.fresh(), mounted.fresh()
    first.cat_file(f"{DATA}/large")
    first._mount._cache.flush()
    second.info(f"{DATA}/large")
    mounted.count.reset()
    assert second.cat_file(f"{DATA}/large") == NOISE
    assert mounted.count.counts.request_count <= 1, "the list of its extents"


# Many at once


def test_ranges_come_in_their_order_and_near_ones_together(mounted: Mounted) -> None:
    fs = mounted.fs
    fs.info(f"{DATA}/large")
    starts = [50_000, 0, 10_000, 13_000, 16_000, 20_000]
    mounted.count.reset()
    got = fs.cat_ranges([f"{DATA}/large"] * 6, starts, [start + 400 for start in starts], max_gap=6000)
    assert got == [NOISE[start : start + 400] for start in starts]
    few = mounted.count.counts
    fresh = mounted.fresh()
    fresh.info(f"{DATA}/large")
    mounted.count.reset()
    assert fresh.cat_ranges([f"{DATA}/large"] * 6, starts, [start + 400 for start in starts], max_gap=0) == got
    many = mounted.count.counts
    assert few.request_count < many.request_count
    assert few.received_bytes > many.received_bytes


def test_many_files_come_by_few_requests(mounted: Mounted) -> None:
    fs = mounted.fs
    names = fs.find(f"{DATA}/many")
    assert sum(fs.sizes(names)) == fs.du(f"{DATA}/many")
    mounted.count.reset()
    got = fs.cat(names)
    assert got == {name: mounted.content(name.removeprefix(f"{DATA}/")) for name in names}
    assert len(got) == 50
    assert mounted.count.counts.request_count <= 4
    assert fs.cat(f"{DATA}/folder", recursive=True) == {
        name: mounted.content(name.removeprefix(f"{DATA}/")) for name in fs.find(f"{DATA}/folder")
    }
    assert fs.cat(f"{DATA}/small") == b"some text"
    assert set(fs.cat(f"{DATA}/folder/*o*")) == {f"{DATA}/folder/one", f"{DATA}/folder/two"}


@pytest.mark.parametrize(
    ("start", "end"), [(None, None), (0, 10), (-10, None), (None, -10), (5, 3), (59_990, 70_000), (70_000, 80_000)]
)
def test_ranges_are_slices(mounted: Mounted, start: int | None, end: int | None) -> None:
    assert mounted.fs.cat_file(f"{DATA}/large", start, end) == NOISE[start:end]
    assert mounted.fs.cat_ranges([f"{DATA}/large"], start, end) == [NOISE[start:end]]


def test_range_that_fails_does_not_take_the_others_with_it(mounted: Mounted) -> None:
    names = [f"{DATA}/small", f"{DATA}/nothing", f"{DATA}/folder"]
    first, second, third = mounted.fs.cat_ranges(names, 0, 4)
    assert first == b"some"
    assert isinstance(second, FileNotFoundError)
    assert isinstance(third, IsADirectoryError)
    with pytest.raises(FileNotFoundError):
        mounted.fs.cat_ranges(names, 0, 4, on_error="raise")
    assert mounted.fs.cat(names[:2], on_error="omit") == {names[0]: b"some text"}
    with pytest.raises(ValueError, match="offsets"):
        mounted.fs.cat_ranges(names, [0], 4)
    with pytest.raises(TypeError):
        mounted.fs.cat_ranges("name", 0, 4)


def test_more_than_fits_comes_in_turns(mounted: Mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "MAX_FETCH_BYTES", 4000)
    names = [f"{DATA}/large", f"{DATA}/folder/one", f"{DATA}/small", f"{DATA}/large"]
    assert mounted.fs.cat_ranges(names, 0, None) == [NOISE, NOISE[:5000], b"some text", NOISE]


def test_threads_share_a_file_system_and_files(mounted: Mounted) -> None:
    offsets = [(7919 * number) % 59_000 for number in range(200)]
    with mounted.fs.open(f"{DATA}/large") as shared, ThreadPoolExecutor(8) as pool:

        def read(offset: int) -> bool:
            with mounted.fs.open(f"{DATA}/large") as file:
                file.seek(offset)
                own = file.read(900)
            shared.seek(offset)
            return own == NOISE[offset : offset + 900] == mounted.fs.cat_file(f"{DATA}/large", offset, offset + 900)

        assert all(pool.map(read, offsets))
        shared.seek(0)
        assert sorted(b"".join(pool.map(lambda _: shared.read(600), range(100)))) == sorted(NOISE)


class Slow(ForwardingBackend):
    """As a storage far away: whoever wants the same thing at once asks before it has come."""

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        SYSTEM_CLOCK.sleep(0.05)
        return super().get_range(key, start, length)


def test_threads_that_want_one_table_read_it_once(mounted: Mounted) -> None:
    count = CountBackend(Slow(mounted.world.memory))
    with mounted.world.store(through=count) as store:
        fs, barrier = open_filesystem(store), threading.Barrier(8)
        fs.cat_file(f"{DATA}/large", 50_000, 50_001)
        count.reset()

        def read(_: int) -> bytes:
            barrier.wait()
            return fs.cat_file(f"{DATA}/large", 100, 101)

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(read, range(8))) == {NOISE[100:101]}
        assert count.counts.request_count <= 1 + 8, "each may get the chunk by itself"


# What can't come out wrong


@pytest.mark.parametrize("path", ["large", "lines", "holes", "folder/one", "small"])
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "tables known"])
def test_damage_is_an_error_before_a_wrong_byte_is_returned(mounted: Mounted, path: str, warm: bool) -> None:
    memory, content = mounted.world.memory, mounted.content(path)
    snapshot, failed = memory.snapshot(), 0
    for key in all_packs(mounted):
        fs = mounted.fresh()
        fs.info(f"{DATA}/{path}")
        if warm and len(content) > 6000:
            fs.cat_file(f"{DATA}/{path}", 0, 1)
        body = bytearray(memory.get(key))
        body[70:] = bytes(byte ^ 0xFF for byte in body[70:])
        memory.overwrite(key, body)
        for read in (fs.cat_file, fs.read_bytes, fs.read_text):
            try:
                got = read(f"{DATA}/{path}", **({"encoding": "latin-1", "newline": ""} if read == fs.read_text else {}))
                assert got == (content.decode("latin-1") if read == fs.read_text else content)
            except CorruptData as error:
                assert error.versions == ("sets/data:v1",)
                failed += 1
        [got] = fs.cat_ranges([f"{DATA}/{path}"], 0, None)
        assert got == content or isinstance(got, CorruptData)
        memory.restore(snapshot)
    assert failed


def test_byte_that_changed_in_a_small_file_is_an_error(mounted: Mounted) -> None:
    """It is read without a table: the file digest finds it."""
    memory = mounted.world.memory
    snapshot = memory.snapshot()
    [key] = [key for key in all_packs(mounted) if b"some text" in bytes(memory.get(key))]
    memory.overwrite(key, bytes(memory.get(key)).replace(b"some text", b"some tent"))
    try:
        for read in (mounted.fs.cat_file, mounted.fs.read_text):
            with pytest.raises(CorruptData, match="does not have its digest"):
                read(f"{DATA}/small")
    finally:
        memory.restore(snapshot)
    assert mounted.fs.cat_file(f"{DATA}/small") == b"some text", "and the wrong one was not kept"


def test_pack_that_is_gone_is_damage_and_no_missing_file(mounted: Mounted) -> None:
    memory = mounted.world.memory
    snapshot = memory.snapshot()
    with mounted.fs.open(f"{DATA}/large") as file:
        for key in all_packs(mounted):
            memory.delete(key)
        try:
            with pytest.raises(CorruptData, match="a pack is gone") as caught:
                file.read(10)
            assert not isinstance(caught.value, OSError)
            assert caught.value.versions == ("sets/data:v1",)
        finally:
            memory.restore(snapshot)
        assert file.read(10) == NOISE[:10], "and once it is back, it can be read"


def test_damaged_table_in_the_cache_is_read_again(mounted: Mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = mounts.open_cache()
    monkeypatch.setattr(mounts, "open_cache", lambda *_, **__: cache)
    first = mounted.fresh()
    first.cat_file(f"{DATA}/large")
    first._mount._cache.flush()
    tables = [key for key in cache._entries if key.startswith(b"t")]
    assert tables
    for key in tables:
        cache._entries[key] = cache._entries[key][:-1] + b"?"
    assert mounted.fresh().cat_file(f"{DATA}/large") == NOISE


def test_download_brings_a_directory_as_it_was(mounted: Mounted, tmp_path: Path) -> None:
    mounted.fs.get(f"{DATA}/folder", str(tmp_path / "got"), recursive=True)
    for path in ("one", "two", "deep/er/three"):
        assert (tmp_path / "got" / path).read_bytes() == mounted.content(f"folder/{path}")
    mounted.fs.get_file(f"{DATA}/small", str(tmp_path / "small"))
    assert (tmp_path / "small").read_bytes() == b"some text"


def test_store_given_open_stays_open(mounted: Mounted) -> None:
    fs = open_filesystem(mounted.store)
    assert fs.cat_file(f"{DATA}/small") == b"some text"
    del fs
    assert mounted.store.show(DATA).files
