"""Reading packs through a backend: each byte is proved, each error names the place. Faults 77-81."""

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.digest import Digest, PackId, digest_of
from artifactstore.errors import CorruptData, ObjectNotFound
from artifactstore.keys import pack_key
from artifactstore.pack.format import ChunkKind, context_of
from artifactstore.pack.reader import ByteRange, iter_extent, plan_reads, read_chunk, read_extent, read_table
from artifactstore.testing.strategies import PackSample, build_pack, seeded_bytes

CHUNKS = [
    (ChunkKind.CONTENT, seeded_bytes("reader", 500)),
    (ChunkKind.CONTENT, b"text that repeats. " * 30),
    (ChunkKind.CONTENT, b"the last one"),
    (ChunkKind.BLOCK, b"{block}" * 30),
]


@pytest.fixture
def sample() -> PackSample:
    return build_pack(CHUNKS)


@pytest.fixture
def backend(sample) -> MemoryBackend:
    store = MemoryBackend()
    store.put(pack_key(sample.sealed.pack), sample.body)
    return store


def digest(number: int) -> Digest:
    kind, raw = CHUNKS[number]
    return digest_of(context_of(kind), raw)


def read(backend, sample, number, **changed):
    added = sample.added[number]
    wanted = {
        "kind": CHUNKS[number][0],
        "offset": added.offset,
        "stored_length": added.stored_length,
        "digest": digest(number),
        "max_raw_length": 600,
    }
    return read_chunk(backend, sample.sealed.pack, **(wanted | changed))


def test_a_table_is_one_proved_range(backend, sample):
    sizes = {"object_bytes": len(sample.body), "table_bytes": sample.sealed.table_bytes}
    assert read_table(backend, sample.sealed.pack, **sizes).rows == sample.sealed.table.rows


@pytest.mark.parametrize(
    ("object_change", "table_change"), [(0, 1), (0, -1), (-1, 0), (0, -41), (0, -10_000), (1 << 30, 0)]
)
def test_a_table_with_wrong_sizes_is_corrupt(backend, sample, object_change, table_change):
    with pytest.raises(CorruptData) as caught:
        read_table(
            backend,
            sample.sealed.pack,
            object_bytes=len(sample.body) + object_change,
            table_bytes=sample.sealed.table_bytes + table_change,
        )
    assert caught.value.key == pack_key(sample.sealed.pack)


@pytest.mark.parametrize("number", range(4))
def test_a_chunk_is_one_proved_range(backend, sample, number):
    assert bytes(read(backend, sample, number)) == CHUNKS[number][1]


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": Digest(bytes(32))},
        {"kind": ChunkKind.BLOCK},
        {"offset": 65},
        {"offset": 0},
        {"offset": -5},
        {"offset": 10**12},
        {"stored_length": 500},
        {"stored_length": 9},
        {"stored_length": 0},
        {"stored_length": -1},
        {"stored_length": 10**12},
        {"stored_length": 510},
        {"max_raw_length": 499},
    ],
    ids=str,
)
def test_a_chunk_that_is_not_what_was_asked_for_is_corrupt(backend, sample, changed):
    with pytest.raises(CorruptData) as caught:
        read(backend, sample, 0, **changed)
    assert caught.value.key == pack_key(sample.sealed.pack)
    assert caught.value.byte_range is not None


# Fault 81
def test_a_chunk_of_one_kind_does_not_stand_in_for_another(backend, sample):
    added = sample.added[3]
    with pytest.raises(CorruptData):
        read(backend, sample, 3, kind=ChunkKind.CONTENT)
    with pytest.raises(CorruptData):
        read(backend, sample, 0, offset=added.offset, stored_length=added.stored_length)


def test_a_record_that_says_another_kind_is_corrupt_though_its_bytes_are_right(sample):
    body = bytearray(sample.body)
    body[sample.added[0].offset] |= ChunkKind.BLOCK << 4
    store = MemoryBackend()
    store.put(pack_key(sample.sealed.pack), body)
    with pytest.raises(CorruptData):
        read(store, sample, 0)


# Fault 77
def test_no_flipped_bit_gives_a_wrong_chunk(sample):
    key = pack_key(sample.sealed.pack)
    for number in range(4):
        added = sample.added[number]
        for position in range(added.offset, added.offset + added.stored_length):
            store = MemoryBackend()
            body = bytearray(sample.body)
            body[position] ^= 1 << position % 8
            store.put(key, body)
            try:
                raw = read(store, sample, number)
            except CorruptData as error:
                assert error.key == key
                assert error.byte_range == (added.offset, added.offset + added.stored_length)
            else:
                assert bytes(raw) == CHUNKS[number][1]


# Fault 79
def test_a_missing_pack_is_not_found_and_not_empty(sample):
    store = MemoryBackend()
    with pytest.raises(ObjectNotFound):
        read(store, sample, 0)
    with pytest.raises(ObjectNotFound):
        read_table(store, sample.sealed.pack, object_bytes=len(sample.body), table_bytes=sample.sealed.table_bytes)


# Fault 78
def test_a_pack_cut_short_is_corrupt(sample):
    store = MemoryBackend()
    store.put(pack_key(sample.sealed.pack), sample.body[: sample.added[1].offset + 5])
    with pytest.raises(CorruptData):
        read(store, sample, 1)


def test_an_extent_gives_its_chunks_with_the_digests_of_what_they_hold(backend, sample):
    offset, stored, _ = sample.sealed.table.slice_extent(0, 3)
    place = {"offset": offset, "stored_length": stored, "chunk_count": 3, "max_raw_length": 600}
    chunks = [(found, bytes(raw)) for found, raw in read_extent(backend, sample.sealed.pack, **place)]
    assert chunks == [(digest(number), CHUNKS[number][1]) for number in range(3)]


@pytest.mark.parametrize(("first", "count", "claimed"), [(0, 3, 2), (0, 3, 4), (0, 4, 4), (3, 1, 1)])
def test_an_extent_that_is_not_so_many_chunks_of_content_is_corrupt(backend, sample, first, count, claimed):
    offset, stored, _ = sample.sealed.table.slice_extent(first, count)
    place = {"offset": offset, "stored_length": stored, "chunk_count": claimed, "max_raw_length": 600}
    with pytest.raises(CorruptData) as caught:
        list(read_extent(backend, sample.sealed.pack, **place))
    assert caught.value.byte_range == (offset, offset + stored)


def test_a_damaged_extent_shows_in_its_digests_or_as_an_error(sample):
    offset, stored, _ = sample.sealed.table.slice_extent(0, 3)
    whole = bytes(sample.body[offset : offset + stored])
    expected = [(digest(number), CHUNKS[number][1]) for number in range(3)]
    for position in range(stored):
        body = bytearray(whole)
        body[position] ^= 1 << position % 8
        try:
            extent = iter_extent(
                memoryview(body), pack=sample.sealed.pack, offset=offset, chunk_count=3, max_raw_length=600
            )
            found = [(chunk_digest, bytes(raw)) for chunk_digest, raw in extent]
        except CorruptData:
            continue
        assert [raw for _, raw in found] == [raw for _, raw in expected] or [d for d, _ in found] != [
            d for d, _ in expected
        ]


@pytest.mark.parametrize(
    ("wanted", "reads"),
    [
        ([], []),
        ([(5, 5)], []),
        ([(0, 10)], [(0, 10)]),
        ([(10, 20), (0, 10)], [(0, 20)]),
        ([(0, 10), (13, 20)], [(0, 20)]),
        ([(0, 10), (14, 20)], [(0, 10), (14, 20)]),
        ([(0, 30), (5, 10)], [(0, 30)]),
        ([(0, 90), (90, 101)], [(0, 90), (90, 101)]),
        ([(0, 90), (89, 150)], [(0, 150)]),
        ([(0, 500), (501, 502)], [(0, 500), (501, 502)]),
        ([(0, 10), (0, 10)], [(0, 10)]),
    ],
    ids=["nothing", "empty", "one", "touching", "small-gap", "wide-gap", "inside", "too-long", "overlapping",
         "long-stays-whole", "twice"],
)  # fmt: skip
def test_reads_are_merged_over_small_gaps_up_to_a_limit(wanted, reads):
    ranges = [ByteRange(*pair) for pair in wanted]
    assert plan_reads(ranges, max_gap_bytes=3, max_read_bytes=100) == reads


@pytest.mark.parametrize(("gap", "size"), [(-1, 5), (5, -1)])
def test_negative_limits_are_refused(gap, size):
    with pytest.raises(ValueError, match="limits"):
        plan_reads([], max_gap_bytes=gap, max_read_bytes=size)


def test_pack_ids_of_nothing_stored_are_not_found():
    with pytest.raises(ObjectNotFound):
        read_extent(MemoryBackend(), PackId(bytes(20)), offset=64, stored_length=100, chunk_count=1, max_raw_length=100)
