"""Properties of chunks, codecs and packs over generated input."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.chunking import Cutter
from artifactstore.codec import Codec, Compression, DecodeError, decode, encode, encode_each
from artifactstore.digest import PackId
from artifactstore.errors import CorruptData, UnsupportedFormat
from artifactstore.pack.format import HEADER_BYTES, MAX_METADATA_BYTES, Table, decode_record, parse_pack, parse_tail
from artifactstore.pack.reader import ByteRange, iter_extent, plan_reads
from artifactstore.pack.writer import verify_sealed
from artifactstore.testing.strategies import PackSample, content, cut_functions, sealed_packs, slicings

LIMIT = 1 << 16
unhurried = settings(deadline=None)  # how long an example takes says nothing on a busy machine
ranges = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 60)).map(lambda pair: ByteRange(pair[0], sum(pair))), max_size=30
)


@unhurried
@given(st.data(), content(), cut_functions())
def test_cuts_are_the_same_however_content_is_sliced(data, raw, cut):
    cutter, start, ends = Cutter(cut), 0, []
    for _, stop in data.draw(slicings(len(raw))):
        ends += [start + end for end in cutter.cuts(memoryview(raw)[start:stop], final=False)]
        start = ends[-1] if ends else 0
    ends += [start + end for end in cutter.cuts(memoryview(raw)[start:], final=True)]
    assert ends == Cutter(cut).cuts(memoryview(raw), final=True)
    assert (ends[-1] if ends else 0) == len(raw)


@unhurried
@given(content(), st.sampled_from(Codec))
def test_encoding_round_trips_and_never_grows(raw, codec):
    used, encoded = encode(raw, codec)
    assert len(encoded) <= len(raw)
    assert bytes(decode(used, encoded, len(raw))) == raw


@unhurried
@given(st.lists(content(), max_size=8), st.sampled_from(Compression))
def test_bulk_encoding_round_trips(raws, compression):
    pairs = encode_each(raws, compression)
    assert [decode(codec, encoded, len(raw)) for raw, (codec, encoded) in zip(raws, pairs, strict=True)] == raws


@unhurried
@given(st.integers(0, 15), st.one_of(st.binary(), st.binary().map(b"\x28\xb5\x2f\xfd".__add__)), st.integers(0, LIMIT))
def test_arbitrary_bytes_decode_to_the_promised_length_or_raise_decode_error(codec, encoded, raw_length):
    with contextlib.suppress(DecodeError):
        assert len(decode(codec, encoded, raw_length)) == raw_length


@unhurried
@given(st.one_of(st.binary(), st.binary().map(b"\x01\x20\0\0\0\xff\0\0\0\x28\xb5\x2f\xfd\x20\xff".__add__)))
def test_arbitrary_records_raise_only_decode_error(record):
    try:
        _, raw, end = decode_record(memoryview(record), max_raw_length=LIMIT)
    except DecodeError:
        return
    assert 0 < len(raw) <= LIMIT
    assert end <= len(record)


@unhurried
@given(sealed_packs())
def test_packs_round_trip(sample: PackSample):
    table = parse_pack(sample.sealed.pack, sample.body)
    verify_sealed(sample.sealed, max_raw_length=MAX_METADATA_BYTES)
    position = HEADER_BYTES
    for number, (kind, raw) in enumerate(sample.chunks):
        assert table.offset(number) == position
        found = decode_record(memoryview(sample.body)[position:], max_raw_length=LIMIT)
        assert found[:2] == (kind, raw)
        position += found[2]
    assert position == len(sample.body) - sample.sealed.table_bytes


@unhurried
@given(sealed_packs(), st.data())
def test_any_run_of_chunks_reads_back_as_an_extent(sample: PackSample, data):
    first = data.draw(st.integers(0, len(sample.chunks)))
    count = data.draw(st.integers(0, len(sample.chunks) - first))
    offset, stored, length = sample.sealed.table.slice_extent(first, count)
    kinds = {kind for kind, _ in sample.chunks[first : first + count]}
    extent = iter_extent(
        memoryview(sample.body)[offset : offset + stored],
        pack=sample.sealed.pack, offset=offset, chunk_count=count, max_raw_length=LIMIT,
    )  # fmt: skip
    if kinds <= {0}:
        raws = [bytes(raw) for _, raw in extent]
        assert raws == [raw for _, raw in sample.chunks[first : first + count]]
        assert sum(map(len, raws)) == length
    else:
        with pytest.raises(CorruptData):
            list(extent)


@unhurried
@given(sealed_packs(), st.data())
def test_a_pack_with_any_edit_is_refused(sample: PackSample, data):
    start = data.draw(st.integers(0, len(sample.body)))
    end = data.draw(st.integers(start, min(start + 50, len(sample.body))))
    edited = sample.body[:start] + data.draw(st.binary(max_size=50)) + sample.body[end:]
    if edited == sample.body:
        return
    with pytest.raises((CorruptData, UnsupportedFormat)):
        parse_pack(sample.sealed.pack, edited)


@unhurried
@given(st.binary(max_size=300), st.integers(0, 1000))
def test_arbitrary_tails_raise_only_documented_errors(tail, object_bytes):
    with pytest.raises((CorruptData, UnsupportedFormat)):
        parse_tail(PackId(bytes(20)), tail, object_bytes=object_bytes)


@unhurried
@given(st.binary(max_size=20).map(lambda rows: rows * 41))
def test_columns_of_any_rows_agree_with_single_values(rows):
    table = Table(rows)
    numbers = range(len(table))
    assert table.digests() == b"".join(map(table.digest, numbers))
    expected = [int.from_bytes(rows[41 * number + 37 : 41 * number + 41], "little") for number in numbers]
    assert list(table.raw_lengths()) == expected
    assert table.positions()[-1] == sum(expected)


@given(ranges, st.integers(0, 40), st.integers(0, 200))
@settings(max_examples=300, deadline=None)
def test_reads_cover_what_is_wanted_and_little_more(wanted, gap, size):
    reads = plan_reads(wanted, max_gap_bytes=gap, max_read_bytes=size)
    asked = {byte for start, end in wanted for byte in range(start, end)}
    read = [byte for start, end in reads for byte in range(start, end)]
    assert asked <= set(read)
    assert len(read) == len(set(read))
    assert reads == sorted(reads)
    for start, end in wanted:
        assert start >= end or any(low <= start and end <= high for low, high in reads)
    for low, high in reads:
        assert low in asked
        assert high - 1 in asked
        holes = [byte for byte in range(low, high) if byte not in asked]
        if high - low > size:
            assert not holes
        assert all(any(byte + step in asked for step in range(gap + 1)) for byte in holes)
