"""Pack format: round trips, the limits, and every way of being damaged. Faults 77, 78, 81, 83."""

import struct

import pytest
import xxhash

from artifactstore.codec import Codec, DecodeError
from artifactstore.digest import CHUNK_CONTEXT, PackId, digest_of, pack_id_of
from artifactstore.errors import CorruptData, UnsupportedFormat
from artifactstore.keys import pack_key
from artifactstore.pack.format import (
    HEADER_BYTES,
    MAX_METADATA_BYTES,
    MAX_PACK_BYTES,
    MAX_ROWS,
    RECORD_HEADER_BYTES,
    ROW,
    ROW_BYTES,
    TRAILER_BYTES,
    ChunkKind,
    Table,
    context_of,
    decode_record,
    encode_header,
    encode_tail,
    iter_records,
    parse_pack,
    parse_tail,
    tag_of,
    tail_bytes,
)
from artifactstore.testing.strategies import PackSample, build_pack, seeded_bytes

NONCE = b"sixteen nonce by"
STORE = b"sixteen byte id."
DAMAGED = (CorruptData, UnsupportedFormat)


@pytest.fixture(scope="module")
def sample() -> PackSample:
    return build_pack(
        [
            (ChunkKind.CONTENT, seeded_bytes("pack", 70)),
            (ChunkKind.CONTENT, b"text that repeats. " * 20),
            (ChunkKind.BLOCK, b"{block}" * 30),
            (ChunkKind.EXTENT_LIST, b"short"),
            (ChunkKind.INDEX_PAGE, bytes(300)),
        ]
    )


def tail_of(sample: PackSample) -> bytes:
    return sample.body[-sample.sealed.table_bytes :]


def crafted_tail(*rows: tuple[bytes, int, int, int]) -> tuple[PackId, bytes, int]:
    """A tail whose id is right, whatever its rows say: ``(id, tail, object_bytes)``."""
    body_bytes = HEADER_BYTES + sum(RECORD_HEADER_BYTES + row[2] for row in rows)
    encoded = b"".join(ROW.pack(*row) for row in rows)
    pack, tail = encode_tail(encoded, nonce=NONCE, body_bytes=body_bytes, body_check=0)
    return pack, tail, body_bytes + len(tail)


def test_a_pack_reads_back(sample):
    table = parse_pack(sample.sealed.pack, sample.body, store_id=STORE)
    assert len(table) == 5
    for number, (kind, raw) in enumerate(sample.chunks):
        assert table.kind(number) is kind
        assert table.digest(number) == digest_of(context_of(kind), raw)
        assert table.raw_length(number) == len(raw)
        record = memoryview(sample.body)[table.offset(number) :]
        assert decode_record(record, max_raw_length=500) == (
            kind, raw, RECORD_HEADER_BYTES + table.encoded_length(number)
        )  # fmt: skip
    assert [table.codec(number) for number in range(5)] == [Codec.RAW, Codec.ZSTD, Codec.ZSTD, Codec.RAW, Codec.ZSTD]


def test_the_builder_says_where_each_chunk_went(sample):
    table = sample.sealed.table
    for added in sample.added:
        assert table.slice_extent(added.number, 1)[:2] == (added.offset, added.stored_length)


def test_the_tail_alone_gives_the_same_table(sample):
    table = parse_tail(sample.sealed.pack, tail_of(sample), object_bytes=len(sample.body))
    assert table.rows == parse_pack(sample.sealed.pack, sample.body).rows == sample.sealed.table.rows
    assert len(tail_of(sample)) == tail_bytes(len(table))


def test_columns_agree_with_single_values(sample):
    table = sample.sealed.table
    numbers = range(len(table))
    assert table.digests() == b"".join(table.digest(number) for number in numbers)
    assert list(table.encoded_lengths()) == [table.encoded_length(number) for number in numbers]
    assert list(table.raw_lengths()) == [table.raw_length(number) for number in numbers]
    assert list(table.offsets())[:-1] == [table.offset(number) for number in numbers]
    assert list(table.tags()) == [tag_of(table.kind(number), table.codec(number)) for number in numbers]


def test_a_run_of_chunks_is_one_extent(sample):
    table = sample.sealed.table
    offset, stored, length = table.slice_extent(1, 3)
    assert offset == table.offset(1)
    assert offset + stored == table.offset(4)
    assert length == sum(table.raw_length(number) for number in (1, 2, 3))
    records = memoryview(sample.body)[offset : offset + stored]
    assert list(iter_records(records, 3, max_raw_length=500)) == list(sample.chunks[1:4])
    assert table.slice_extent(5, 0) == (len(sample.body) - sample.sealed.table_bytes, 0, 0)


@pytest.mark.parametrize("number", [-1, 5, 10**9])
def test_a_chunk_that_is_not_there_is_an_index_error(sample, number):
    table = sample.sealed.table
    for column in (table.digest, table.kind, table.codec, table.encoded_length, table.raw_length, table.offset):
        with pytest.raises(IndexError):
            column(number)
    with pytest.raises(IndexError):
        table.slice_extent(number, 1)


@pytest.mark.parametrize(("first", "count"), [(0, 6), (4, 2), (6, 0), (0, -1), (-1, 2)])
def test_an_extent_past_the_table_is_an_index_error(sample, first, count):
    with pytest.raises(IndexError):
        sample.sealed.table.slice_extent(first, count)


# Fault 77
def test_every_flipped_bit_of_a_pack_is_found(sample):
    for position in range(len(sample.body)):
        for bit in range(8):
            body = bytearray(sample.body)
            body[position] ^= 1 << bit
            with pytest.raises(DAMAGED):
                parse_pack(sample.sealed.pack, body)


def test_every_flipped_bit_of_a_tail_is_found(sample):
    tail = tail_of(sample)
    for position in range(len(tail)):
        for bit in range(8):
            damaged = bytearray(tail)
            damaged[position] ^= 1 << bit
            with pytest.raises(DAMAGED) as caught:
                parse_tail(sample.sealed.pack, damaged, object_bytes=len(sample.body))
            assert pack_key(sample.sealed.pack) in str(caught.value)


def test_every_flipped_bit_of_a_record_is_found_or_changes_no_byte(sample):
    table = sample.sealed.table
    for number, (kind, raw) in enumerate(sample.chunks):
        offset, stored, _ = table.slice_extent(number, 1)
        for position in range(stored):
            for bit in range(8):
                record = bytearray(sample.body[offset : offset + stored])
                record[position] ^= 1 << bit
                try:
                    found, decoded, end = decode_record(memoryview(record), max_raw_length=1 << 20)
                except DecodeError:
                    continue
                same = digest_of(context_of(found), decoded) == digest_of(context_of(kind), raw)
                assert not same or (decoded == raw and end == stored and found is kind)


# Fault 78
def test_a_pack_cut_at_any_length_is_refused(sample):
    for length in range(len(sample.body)):
        with pytest.raises(DAMAGED):
            parse_pack(sample.sealed.pack, sample.body[:length])


@pytest.mark.parametrize("garbage", [b"\0", b"x", bytes(ROW_BYTES), bytes(100)], ids=["zero", "x", "row", "many"])
def test_a_pack_grown_by_garbage_is_refused(sample, garbage):
    for body in (sample.body + garbage, garbage + sample.body):
        with pytest.raises(DAMAGED):
            parse_pack(sample.sealed.pack, body)


def test_a_tail_cut_or_grown_is_refused(sample):
    tail = tail_of(sample)
    for wrong in [tail[1:], tail[:-1], b"", tail[-TRAILER_BYTES:], tail[ROW_BYTES:], b"\0" + tail, tail + b"\0"]:
        with pytest.raises(DAMAGED):
            parse_tail(sample.sealed.pack, wrong, object_bytes=len(sample.body))
    for object_bytes in (0, len(tail), len(sample.body) - 1, len(sample.body) + 1, MAX_PACK_BYTES + 1):
        with pytest.raises(DAMAGED):
            parse_tail(sample.sealed.pack, tail, object_bytes=object_bytes)


# Fault 81
def test_a_valid_pack_under_another_name_is_refused(sample):
    other = build_pack([(ChunkKind.CONTENT, b"other")], nonce=b"another 16 bytes")
    with pytest.raises(CorruptData, match="named for"):
        parse_pack(sample.sealed.pack, other.body)


def test_the_same_chunks_make_another_pack_every_time(sample):
    again = build_pack(list(sample.chunks), nonce=b"another 16 bytes")
    assert again.sealed.pack != sample.sealed.pack
    assert again.sealed.table.rows == sample.sealed.table.rows


def test_a_pack_of_another_store_is_refused(sample):
    with pytest.raises(CorruptData, match="belongs to store"):
        parse_pack(sample.sealed.pack, sample.body, store_id=bytes(16))


def test_errors_name_the_pack_and_the_range(sample):
    body = bytearray(sample.body)
    body[sample.added[1].offset] ^= 0xF0
    with pytest.raises(CorruptData) as caught:
        parse_pack(sample.sealed.pack, body)
    start = sample.added[1].offset
    assert caught.value.key == pack_key(sample.sealed.pack)
    assert caught.value.byte_range == (start, start + sample.added[1].stored_length)


@pytest.mark.parametrize("offset", [7, 8, 10, 46], ids=["version", "format", "features", "key"])
def test_a_newer_header_asks_for_an_upgrade(sample, offset):
    body = bytearray(sample.body)
    body[offset] += 1
    with pytest.raises(UnsupportedFormat):
        parse_pack(sample.sealed.pack, body)


@pytest.mark.parametrize("tag", [0x02, 0x40, 0xFF], ids=["codec", "kind", "both"])
def test_a_kind_or_codec_of_the_future_asks_for_an_upgrade(tag):
    pack, tail, object_bytes = crafted_tail((bytes(32), tag, 5, 5))
    with pytest.raises(UnsupportedFormat):
        parse_tail(pack, tail, object_bytes=object_bytes)


@pytest.mark.parametrize(
    "row",
    [
        (bytes(32), 0, 0, 0),
        (bytes(32), 0, 5, 6),
        (bytes(32), 0, 6, 5),
        (bytes(32), 1, 5, 5),
        (bytes(32), 1, 6, 5),
        (bytes(32), 1, 5, MAX_METADATA_BYTES + 1),
        (bytes(32), 1, 5, 2**32 - 1),
    ],
    ids=["empty", "raw-shorter", "raw-longer", "zstd-equal", "zstd-longer", "over-4-MiB", "over-all"],
)
def test_rows_that_no_writer_makes_are_refused_though_the_id_is_right(row):
    pack, tail, object_bytes = crafted_tail((bytes(32), 0, 3, 3), row)
    with pytest.raises(CorruptData):
        parse_tail(pack, tail, object_bytes=object_bytes)


def test_lengths_that_do_not_add_up_are_refused_though_the_id_is_right():
    rows = ROW.pack(bytes(32), 0, 2**32 - 1, 2**32 - 1) * 3
    for body_bytes in (HEADER_BYTES, 1000, 2**32):
        pack, tail = encode_tail(rows, nonce=NONCE, body_bytes=body_bytes, body_check=0)
        with pytest.raises(CorruptData):
            parse_tail(pack, tail, object_bytes=body_bytes + len(tail))


def test_lengths_that_leave_a_gap_are_refused_though_the_id_is_right():
    rows = ROW.pack(bytes(32), 0, 10, 10)
    body_bytes = HEADER_BYTES + RECORD_HEADER_BYTES + 10
    for wrong in (body_bytes - 1, body_bytes + 1):
        pack, tail = encode_tail(rows, nonce=NONCE, body_bytes=wrong, body_check=0)
        with pytest.raises(CorruptData, match="add up"):
            parse_tail(pack, tail, object_bytes=wrong + len(tail))


def test_a_tail_under_the_header_of_another_pack_is_refused_though_all_checks_are_right():
    body = encode_header(store_id=STORE, nonce=b"another 16 bytes") + struct.pack("<BII", 0, 3, 3) + b"raw"
    rows = ROW.pack(digest_of(CHUNK_CONTEXT, b"raw"), 0, 3, 3)
    check = xxhash.xxh3_64_intdigest(body)
    pack, tail = encode_tail(rows, nonce=NONCE, body_bytes=len(body), body_check=check)
    with pytest.raises(CorruptData, match="header and trailer differ"):
        parse_pack(pack, body + tail)


def test_too_many_rows_are_refused():
    row = ROW.pack(bytes(32), 0, 1, 1)
    body_bytes = HEADER_BYTES + (MAX_ROWS + 1) * (RECORD_HEADER_BYTES + 1)
    pack, tail = encode_tail(row * (MAX_ROWS + 1), nonce=NONCE, body_bytes=body_bytes, body_check=0)
    with pytest.raises(CorruptData, match="counts 65537 rows"):
        parse_tail(pack, tail, object_bytes=body_bytes + len(tail))


def test_a_row_count_that_wraps_is_refused(sample):
    trailer = struct.pack("<IIQ", 0, 2**32 - 1, HEADER_BYTES)
    pack = pack_id_of(NONCE, trailer)
    tail = trailer + NONCE + b"ASTPTAB\x01"
    with pytest.raises(CorruptData):
        parse_tail(pack, tail, object_bytes=HEADER_BYTES + len(tail))


@pytest.mark.parametrize("object_bytes", [0, 63, 103])
def test_an_object_too_short_for_a_pack_is_refused(object_bytes):
    with pytest.raises(CorruptData):
        parse_pack(PackId(bytes(20)), bytes(object_bytes))


@pytest.mark.parametrize(("store_id", "nonce"), [(b"short", NONCE), (STORE, b""), (STORE + b"x", NONCE)])
def test_header_fields_have_their_length(store_id, nonce):
    with pytest.raises(ValueError, match="16 bytes"):
        encode_header(store_id=store_id, nonce=nonce)


# Fault 83
def test_a_record_over_the_limit_is_refused_before_it_is_decoded():
    record = struct.pack("<BII", 1, 5, 1001) + b"never looked at"
    with pytest.raises(DecodeError, match="raw length of 1001"):
        decode_record(memoryview(record), max_raw_length=1000)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\0" * 8,
        struct.pack("<BII", 0, 0, 0),
        struct.pack("<BII", 0, 5, 5) + b"four",
        struct.pack("<BII", 0, 2**32 - 1, 5) + b"12345",
        struct.pack("<BII", 2, 5, 5) + b"12345",
        struct.pack("<BII", 0x40, 5, 5) + b"12345",
    ],
    ids=["nothing", "cut-header", "empty", "cut", "absurd-length", "codec", "kind"],
)
def test_records_that_no_writer_makes_are_refused(record):
    with pytest.raises(DecodeError):
        decode_record(memoryview(record), max_raw_length=1000)


@pytest.mark.parametrize(("count", "extra"), [(4, 0), (6, 0), (5, 1), (0, 0)])
def test_a_run_of_records_must_fill_its_range_exactly(sample, count, extra):
    end = len(sample.body) - sample.sealed.table_bytes
    body = memoryview(sample.body)[HEADER_BYTES : end + extra]
    with pytest.raises(DecodeError):
        list(iter_records(body, count, max_raw_length=1000))


def test_kinds_have_contexts_of_their_own():
    assert len({context_of(kind) for kind in ChunkKind}) == len(ChunkKind)
    assert context_of(ChunkKind.CONTENT) == CHUNK_CONTEXT


def test_an_empty_table_is_a_table():
    table = Table(b"")
    assert (len(table), table.digests(), list(table.offsets())) == (0, b"", [HEADER_BYTES])
