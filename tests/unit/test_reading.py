"""A stored file as a stream: as a local file would behave, at the cost of the chunks it touches, each checked."""

import io
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.digest import Buffer, PackId
from artifactstore.errors import CorruptData, InvalidName, PathNotFound
from artifactstore.keys import PACKS
from artifactstore.manifest.model import Block, EntryPlaces, Extent
from artifactstore.names import Name, Slot
from artifactstore.pack.format import ROW, Table, parse_tail
from artifactstore.reading import chunks, stream, window
from artifactstore.reading.stored_file import StoredFile, WholeExtent
from artifactstore.store import Store
from artifactstore.testing.stores import (
    SMALL_CUT,
    Directory,
    Link,
    Sparse,
    StoreWorld,
    edit_tree,
    make_tree,
    small_limits,
)
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transaction.resolve import open_version
from artifactstore.tree import StoredEntry, StoredTree

NOISE = seeded_bytes("noise", 60_000)
TREE = {
    b"empty": b"",
    b"small": b"some text",
    b"noise": NOISE,
    b"text": b"a line of text\n" * 4000,
    b"holes": Sparse(100_000, ((0, b"head"), (50_000, NOISE[:3000]))),
    b"repeated": NOISE[:9000] * 3,
    b"folder/inside": b"inside",
    b"none": Directory(),
    b"link": Link(b"small"),
}


@dataclass(frozen=True, slots=True)
class Opened:
    world: StoreWorld
    count: CountBackend
    store: Store
    place: Path

    def content(self, path: str) -> bytes:
        return (self.place / path).read_bytes()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """Every file but the smallest is read as a stream, not whole."""
    folder = tmp_path_factory.mktemp("reading")
    with small_limits(), pytest.MonkeyPatch.context() as patch:
        for module in (chunks, stream):
            patch.setattr(module, "WHOLE_FILE_BYTES", 300)
        patch.setattr(chunks, "_SMALL_FILE_BYTES", 300)
        patch.setattr(stream, "_BUFFER_BYTES", 1024)
        for module in (stream, window):
            patch.setattr(module, "READ_AHEAD_BYTES", 8 << 10)
        patch.setattr(window, "FIRST_AHEAD_BYTES", 1024)
        world = StoreWorld(folder, cut=SMALL_CUT)
        make_tree(folder / "tree", TREE)
        with world.store() as store:
            store.push(folder / "tree", "n")
            edit_tree(folder / "tree", {b"edited": NOISE[:20_000] + b"inserted" + NOISE[20_000:]})
            store.push(folder / "tree", "n")
        count = CountBackend(world.memory)
        with world.store(through=count) as store:
            yield Opened(world, count, store, folder / "tree")


def is_pack(key: str) -> bool:
    return key.startswith(PACKS)


FILES = ["empty", "small", "noise", "text", "holes", "repeated", "edited", "folder/inside"]
operations = st.lists(
    st.one_of(
        st.tuples(st.just("seek"), st.integers(-5000, 110_000), st.sampled_from([0, 1, 2])),
        st.tuples(st.just("read"), st.sampled_from([-1, 0, 1, 10, 1000, 1025, 5000, 50_000]), st.none()),
        st.tuples(st.just("readinto"), st.sampled_from([0, 1, 700, 30_000]), st.none()),
        st.tuples(st.just("readline"), st.none(), st.none()),
        st.tuples(st.just("peek"), st.none(), st.none()),
        st.tuples(st.just("tell"), st.none(), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(FILES), steps=operations)
def test_stream_behaves_like_a_local_file(opened: Opened, path: str, steps: list[tuple]) -> None:
    with opened.store.open(f"n:v2/{path}") as stream, (opened.place / path).open("rb") as local:
        for verb, number, whence in steps:
            assert perform(stream, verb, number, whence) == perform(local, verb, number, whence)


def perform(stream: io.BufferedReader, verb: str, number: int, whence: int) -> object:
    match verb:
        case "seek":
            try:
                return stream.seek(number, whence)
            except OSError as error:
                return error.errno
        case "read":
            return stream.read(number)
        case "readinto":
            buffer = bytearray(number)
            return stream.readinto(buffer), buffer
        case "peek":
            return stream.peek(1)[:1]
        case "readline":
            return stream.readline()
    return stream.tell()


@pytest.mark.parametrize("path", FILES)
def test_reading_all_of_it_one_way_or_another_brings_its_content(opened: Opened, path: str) -> None:
    content = opened.content(path)
    with opened.store.open(f"n/{path}".replace("n/", "n:latest/")) as stream:
        assert stream.read() == content
        assert stream.read() == b""
        stream.seek(0)
        assert b"".join(iter(lambda: stream.read(777), b"")) == content
        stream.seek(0)
        assert b"".join(stream) == content
        assert stream.seekable()
        assert stream.readable()
        assert not stream.writable()
    assert stream.closed


def test_range_costs_only_the_chunks_it_touches(opened: Opened) -> None:
    with opened.store.open("n:v2/noise") as stream:
        for offset in (0, 40_000, 59_990, 12_345):
            opened.count.reset()
            stream.seek(offset)
            assert stream.read(10) == NOISE[offset : offset + 10]
            counts = opened.count.counts
            assert counts.request_count <= 2, "a range may cross into the next chunk, or need the table of its pack"
            assert counts.received_bytes <= 2 * (SMALL_CUT.max_bytes + 20) + 1000


def test_large_range_is_few_requests(opened: Opened) -> None:
    with opened.store.open("n:v2/noise") as stream:
        opened.count.reset()
        stream.seek(10_000)
        assert stream.read(30_000) == NOISE[10_000:40_000]
        # Range and table of each pack it lies in, and one where the buffer began.
        assert opened.count.counts.request_count <= 8
        assert opened.count.counts.received_bytes < 36_000


def test_reading_from_start_to_end_in_small_steps_is_few_requests(opened: Opened) -> None:
    with opened.store.open("n:v2/noise") as stream:
        opened.count.reset()
        for at in range(0, 60_000, 100):
            assert stream.read(100) == NOISE[at : at + 100]
        # A hundred chunks: fewer requests with each step ahead.
        assert opened.count.counts.request_count < 25
        assert opened.count.counts.received_bytes < 67_000, "tables included"


def test_reading_all_at_once_is_few_requests(opened: Opened) -> None:
    with opened.store.open("n:v2/noise") as stream:
        opened.count.reset()
        assert stream.read() == NOISE
        assert opened.count.counts.request_count < 20, "tables included"


def test_small_file_is_opened_in_few_requests_and_read_without_any(opened: Opened) -> None:
    opened.count.reset()
    stream = opened.store.open("n:v2/small")
    assert opened.count.counts.request_count <= 8
    opened.count.reset()
    assert stream.read() == b"some text"
    assert not opened.count.counts.request_count


def test_holes_are_not_fetched(opened: Opened) -> None:
    with opened.store.open("n:v2/holes") as stream:
        opened.count.reset()
        stream.seek(70_000)
        assert stream.read(20_000) == bytes(20_000)
        assert not opened.count.counts.request_count


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("n:v2/nothing", "no 'nothing'"),
        ("n:v2/folder", "directory"),
        ("n:v2/none", "not a file"),
        ("n:v2/link", "not a file"),
        ("n:v2/small/more", "no 'small/more'"),
        ("n:v2", "not a file"),
    ],
)
def test_what_is_no_file_is_named(opened: Opened, reference: str, words: str) -> None:
    with pytest.raises(PathNotFound, match=words):
        opened.store.open(reference)


def test_path_that_leads_out_is_no_reference(opened: Opened) -> None:
    with pytest.raises(InvalidName):
        opened.store.open("n:v2/../small")


@pytest.mark.parametrize("path", ["noise", "text", "holes", "repeated", "edited"])
def test_damage_is_an_error_before_a_wrong_byte_is_returned(opened: Opened, path: str) -> None:
    """Fault 77: in whatever object, whenever it is read."""
    memory, content = opened.world.memory, opened.content(path)
    snapshot, failed = memory.snapshot(), 0
    for key in filter(is_pack, memory.keys()):
        body = bytearray(memory.get(key))
        for position in range(70, len(body), max(1, len(body) // 7)):
            body[position] ^= 0xFF
        memory.overwrite(key, body)
        try:
            with opened.store.open(f"n:v2/{path}") as stream:
                got = b""
                try:
                    while part := stream.read(500):
                        got += part
                finally:
                    assert content.startswith(got)
            assert got == content
        except CorruptData as error:
            assert error.key == key
            assert error.versions == ("n:v2",)
            failed += 1
        memory.restore(snapshot)
    assert failed


def test_manifest_that_names_other_chunks_of_the_right_packs_is_found_out(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 80: tables prove what lies where, the file's digest which of it is the file."""
    real = StoredTree.extents

    def one_further(self: StoredTree, places: EntryPlaces, block: Block) -> tuple[Extent, ...]:
        first, *others = real(self, places, block)
        shifted = msgspec.structs.replace(first, first_chunk=first.first_chunk + 1)
        return (msgspec.structs.replace(shifted, chunk_count=max(1, shifted.chunk_count - 1)), *others)

    monkeypatch.setattr(StoredTree, "extents", one_further)
    with pytest.raises(CorruptData, match="n:v2"), opened.store.open("n:v2/noise") as stream:
        stream.read()


@pytest.mark.parametrize("is_known", [False, True], ids=["from the storage", "from memory"])
def test_table_that_lies_about_how_long_chunks_are_moves_no_byte(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    """A pack's name proves what its writer said, not that it is so: one chunk is told longer, the next shorter."""

    def lying(pack: PackId, tail: Buffer, *, object_bytes: int) -> Table:
        rows = [list(row) for row in ROW.iter_unpack(parse_tail(pack, tail, object_bytes=object_bytes).rows)]
        for longer, shorter in zip(rows[::2], rows[1::2], strict=False):
            moved = min(20, shorter[3] - 1)
            longer[3] += moved
            shorter[3] -= moved
        return Table(b"".join(ROW.pack(*row) for row in rows))

    content = opened.content("noise")
    reader = chunks.ChunkReader(opened.world.memory)
    _, root = open_version(opened.world.memory, Name("n"), Slot(2))
    tree = StoredTree(opened.world.memory, root, version="n:v2")
    file = StoredFile(tree, tree.find(b"noise"))
    if is_known:
        reader.read([chunks.Span(file, 0, file.size)])
        reader._tables.clear()
    monkeypatch.setattr(chunks, "parse_tail", lying)
    for start in range(0, file.size - 100, 997):
        try:
            [got] = reader.read([chunks.Span(file, start, start + 100)])
        except CorruptData as error:
            assert "n:v2" in str(error)
        else:
            assert bytes(got) == content[start : start + 100]


def test_reader_of_all_of_a_file_finds_out_that_its_chunks_are_not_the_files(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each chunk is the one that the manifest names; what the writer of the manifest said of the file is wrong."""
    real = StoredTree.find

    def of_another_digest(self: StoredTree, path: bytes) -> StoredEntry:
        found = real(self, path)
        return found._replace(entry=msgspec.structs.replace(found.entry, digest=bytes(32)))

    monkeypatch.setattr(StoredTree, "find", of_another_digest)
    for path in ("noise", "holes"):
        content = opened.content(path)
        with opened.store.open(f"n:v2/{path}") as stream:
            with pytest.raises(CorruptData, match="n:v2"):
                stream.read()
            stream.seek(0)
            got = b""
            with pytest.raises(CorruptData, match="not those of its digest"):
                while part := stream.read(900):
                    got += part
            assert content.startswith(got)
            assert len(got) < len(content)


def test_pack_that_goes_while_a_stream_is_open_is_an_error_that_names_it(opened: Opened) -> None:
    """Fault 24: what was read before stays right."""
    memory = opened.world.memory
    snapshot = memory.snapshot()
    with opened.store.open("n:v2/noise") as stream:
        assert stream.read(10) == NOISE[:10]
        for key in filter(is_pack, memory.keys()):
            memory.delete(key)
        stream.seek(30_000)
        with pytest.raises(CorruptData, match="a pack is gone"):
            stream.read(10)
    memory.restore(snapshot)


def test_stream_can_be_used_after_a_failed_read(opened: Opened) -> None:
    memory = opened.world.memory
    snapshot = memory.snapshot()
    with opened.store.open("n:v2/noise") as stream:
        for key in filter(is_pack, memory.keys()):
            memory.delete(key)
        with pytest.raises(CorruptData):
            stream.read(10)
        memory.restore(snapshot)
        assert stream.read(10) == NOISE[:10]
        assert stream.seek(-5, io.SEEK_END) == len(NOISE) - 5
        assert stream.read() == NOISE[-5:]


def test_hole_takes_no_memory_for_its_chunks(tmp_path: Path) -> None:
    """A file of a gigabyte, or of an exabyte that somebody invented, is a few runs of zeros."""
    size = 1 << 28
    with small_limits():
        world = StoreWorld(tmp_path, cut=SMALL_CUT)
        make_tree(tmp_path / "tree", {b"holes": Sparse(size, ((size - 5000, NOISE[:5000]),))})
        with world.store() as store:
            store.push(tmp_path / "tree", "n")
            tracemalloc.start()
            try:
                with store.open("n:v1/holes") as stream:
                    stream.seek(size // 2)
                    assert stream.read(100) == bytes(100)
                    stream.seek(-5000, io.SEEK_END)
                    assert stream.read() == NOISE[:5000]
                _, peak_bytes = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    assert peak_bytes < 2 << 20


def test_read_of_more_than_fits_asks_for_it_in_parts(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (chunks, window):
        monkeypatch.setattr(module, "MAX_FETCH_BYTES", 5000)
    with opened.store.open("n:v2/noise") as stream:
        before = opened.count.counts.received_bytes
        buffer = bytearray(len(NOISE))
        assert stream.readinto(buffer) == len(buffer)
        assert buffer == NOISE
        assert opened.count.counts.received_bytes - before < 1.5 * len(NOISE)


def test_whole_files_are_put_together_in_one_pass(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each of sixty thousand files the list of all that came was copied: eleven seconds."""
    monkeypatch.setattr(chunks, "_SMALL_FILE_BYTES", 256 << 10)
    real, passed = chunks._whole_content, []

    def watched(file: StoredFile, extents: Sequence[WholeExtent], stored: Iterator[chunks.Chunks]) -> bytes:
        passed.append(stored)
        return real(file, extents, stored)

    monkeypatch.setattr(chunks, "_whole_content", watched)
    reader = chunks.ChunkReader(opened.world.memory)
    _, root = open_version(opened.world.memory, Name("n"), Slot(2))
    tree = StoredTree(opened.world.memory, root, version="n:v2")
    names = ["small", "folder/inside"]
    files = [StoredFile(tree, tree.find(name.encode())) for name in names]
    contents = reader.read([chunks.Span(file, 0, file.size) for file in files])
    assert [bytes(content) for content in contents] == [opened.content(name) for name in names]
    assert len(passed) == len(names)
    assert len({id(stored) for stored in passed}) == 1
