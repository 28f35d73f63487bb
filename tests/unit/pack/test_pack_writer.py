"""The builder: its limits, its buffer, and the last check before a pack is sent. Faults 84, 85."""

import concurrent.futures
import mmap

import pytest

from artifactstore.codec import Codec, encode
from artifactstore.digest import CHUNK_CONTEXT, Digest, digest_of
from artifactstore.errors import CorruptData
from artifactstore.pack.format import (
    HEADER_BYTES,
    MAX_METADATA_BYTES,
    MAX_ROWS,
    RECORD_HEADER_BYTES,
    ROW_BYTES,
    TRAILER_BYTES,
    ChunkKind,
    context_of,
    parse_pack,
)
from artifactstore.pack.writer import AddedChunk, PackBuilder, SealedPack, verify_sealed
from artifactstore.testing.strategies import build_pack, seeded_bytes

STORE = b"sixteen byte id."
TEXT = b"a line that is there many times\n" * 50


def builder(capacity_bytes: int = 1 << 20, nonce: bytes = b"sixteen nonce by") -> PackBuilder:
    return PackBuilder(store_id=STORE, nonce=nonce, capacity_bytes=capacity_bytes)


def put(target: PackBuilder, raw: bytes, kind: ChunkKind = ChunkKind.CONTENT) -> AddedChunk:
    digest = digest_of(context_of(kind), raw)
    return target.add(kind=kind, digest=digest, codec=Codec.RAW, encoded=raw, raw_length=len(raw))


def writable(sealed: SealedPack) -> mmap.mmap:
    """The memory behind a sealed pack, which only a fault would change."""
    memory = sealed.body.obj
    assert isinstance(memory, mmap.mmap)
    return memory


def test_chunks_are_numbered_and_placed_in_order():
    target = builder()
    assert put(target, b"a") == (0, HEADER_BYTES, RECORD_HEADER_BYTES + 1)
    added = target.add(kind=ChunkKind.BLOCK, digest=Digest(bytes(32)), codec=Codec.RAW, encoded=b"bc", raw_length=2)
    assert added == (1, HEADER_BYTES + RECORD_HEADER_BYTES + 1, RECORD_HEADER_BYTES + 2)
    assert (target.row_count, target.body_bytes) == (2, added.offset + added.stored_length)


def test_a_full_pack_reaches_its_capacity_and_never_passes_it():
    room = 1000 - HEADER_BYTES - TRAILER_BYTES - 2 * (RECORD_HEADER_BYTES + ROW_BYTES)
    for spare in (0, 1):
        target = builder(1000)
        put(target, bytes(300))
        assert target.fits(room - 300)
        assert not target.fits(room - 300 + 1)
        put(target, bytes(room - 300 - spare))
        assert len(target.seal().body) == 1000 - spare


def test_what_does_not_fit_is_refused_and_changes_nothing():
    target = builder(1000)
    put(target, b"first")
    with pytest.raises(ValueError, match="full"):
        put(target, bytes(1000))
    put(target, b"second")
    sealed = target.seal()
    assert parse_pack(sealed.pack, sealed.body).raw_length(1) == 6


def test_a_chunk_larger_than_the_capacity_makes_a_pack_of_its_own():
    target = builder(1000)
    raw = seeded_bytes("large", MAX_METADATA_BYTES)
    put(target, raw, ChunkKind.BLOCK)
    assert not target.fits(1)
    sealed = target.seal()
    assert len(sealed.table) == 1
    verify_sealed(sealed, max_raw_length=10)


def test_rows_are_limited_whatever_their_size():
    target = builder(32 << 20)
    for _ in range(MAX_ROWS):
        put(target, b"x")
    assert not target.fits(1)
    sealed = target.seal()
    assert len(parse_pack(sealed.pack, sealed.body)) == MAX_ROWS


def test_a_reused_builder_writes_what_a_new_one_would():
    used = builder()
    put(used, seeded_bytes("before", 5000))
    used.seal()
    used.reset(b"the second nonce")
    fresh = builder(nonce=b"the second nonce")
    for target in (used, fresh):
        put(target, b"after")
    assert used.seal().body == fresh.seal().body


def test_a_builder_can_be_reset_before_it_is_sealed():
    target = builder()
    put(target, b"abandoned")
    target.reset(b"the second nonce")
    assert (target.row_count, target.body_bytes) == (0, HEADER_BYTES)


def test_a_body_used_after_reset_is_an_error_and_not_other_bytes():
    target = builder()
    put(target, b"sent")
    sealed = target.seal()
    target.reset(b"the second nonce")
    with pytest.raises(ValueError, match="released"):
        bytes(sealed.body)
    assert sealed.table.raw_length(0) == 4


def test_a_sealed_pack_takes_no_more_and_an_empty_one_is_not_sealed():
    target = builder()
    with pytest.raises(ValueError, match="empty"):
        target.seal()
    put(target, b"x")
    target.seal()
    with pytest.raises(ValueError, match="sealed"):
        target.seal()
    with pytest.raises(ValueError, match="sealed"):
        put(target, b"y")


def test_a_sealed_body_is_read_only():
    target = builder()
    put(target, b"x")
    assert target.seal().body.readonly


@pytest.mark.parametrize(
    ("digest", "codec", "encoded", "raw_length"),
    [
        (bytes(31), Codec.RAW, b"abc", 3),
        (bytes(32), Codec.RAW, b"", 0),
        (bytes(32), Codec.RAW, b"abc", 4),
        (bytes(32), Codec.RAW, b"abc", 2),
        (bytes(32), Codec.ZSTD, b"abc", 3),
        (bytes(32), Codec.ZSTD, b"abc", MAX_METADATA_BYTES + 1),
    ],
    ids=["short-digest", "empty", "raw-shorter", "raw-longer", "zstd-not-smaller", "over-4-MiB"],
)
def test_what_no_reader_would_take_is_not_written(digest, codec, encoded, raw_length):
    with pytest.raises(ValueError, match=r"not a chunk|raw bytes"):
        builder().add(
            kind=ChunkKind.CONTENT, digest=Digest(digest), codec=codec, encoded=encoded, raw_length=raw_length
        )


@pytest.mark.parametrize("capacity_bytes", [0, 103, (64 << 20) + 1])
def test_a_capacity_that_no_pack_has_is_refused(capacity_bytes):
    with pytest.raises(ValueError, match="capacity"):
        builder(capacity_bytes)


# Fault 84
def test_bad_compressor_output_is_found_before_it_is_sent():
    target = builder()
    codec, encoded = encode(TEXT, Codec.ZSTD)
    target.add(
        kind=ChunkKind.CONTENT,
        digest=digest_of(CHUNK_CONTEXT, TEXT.replace(b"many", b"some")),
        codec=codec,
        encoded=encoded,
        raw_length=len(TEXT),
    )
    with pytest.raises(CorruptData, match="chunk 0 decodes to other bytes"):
        verify_sealed(target.seal(), max_raw_length=len(TEXT))


def test_undecodable_compressor_output_is_found_before_it_is_sent():
    target = builder()
    put(target, b"fine")
    target.add(
        kind=ChunkKind.CONTENT,
        digest=digest_of(CHUNK_CONTEXT, TEXT),
        codec=Codec.ZSTD,
        encoded=bytes(encode(TEXT, Codec.ZSTD)[1])[:-1],
        raw_length=len(TEXT),
    )
    with pytest.raises(CorruptData, match="chunk 1 can't be decoded again") as caught:
        verify_sealed(target.seal(), max_raw_length=len(TEXT))
    assert "It was not sent" in str(caught.value)


def test_a_chunk_hashed_as_another_kind_is_found_before_it_is_sent():
    target = builder()
    digest = digest_of(CHUNK_CONTEXT, b"raw")
    target.add(kind=ChunkKind.BLOCK, digest=digest, codec=Codec.RAW, encoded=b"raw", raw_length=3)
    with pytest.raises(CorruptData):
        verify_sealed(target.seal(), max_raw_length=3)


# Fault 85
@pytest.mark.parametrize("codec", Codec)
def test_every_bit_that_flips_in_memory_after_sealing_is_found(codec):
    chunks = [(ChunkKind.CONTENT, TEXT[:200]), (ChunkKind.BLOCK, seeded_bytes("bits", 40))]
    sealed = build_pack(chunks, codec=codec).sealed
    memory = writable(sealed)
    for position in range(len(sealed.body)):
        memory[position] ^= 1 << position % 8
        with pytest.raises(CorruptData):
            verify_sealed(sealed, max_raw_length=1000)
        memory[position] ^= 1 << position % 8
    verify_sealed(sealed, max_raw_length=1000)


def test_a_bit_that_flips_before_sealing_is_found():
    target = builder()
    put(target, TEXT)
    source = bytearray(TEXT)
    digest = digest_of(CHUNK_CONTEXT, source)
    source[7] ^= 4
    target.add(kind=ChunkKind.CONTENT, digest=digest, codec=Codec.RAW, encoded=source, raw_length=len(source))
    with pytest.raises(CorruptData, match="chunk 1"):
        verify_sealed(target.seal(), max_raw_length=len(TEXT))


def test_content_longer_than_the_cut_function_allows_is_not_sent():
    target = builder()
    put(target, TEXT, ChunkKind.BLOCK)
    put(target, TEXT)
    with pytest.raises(CorruptData, match=r"chunk 1 .* over 1000"):
        verify_sealed(target.seal(), max_raw_length=1000)


def test_packs_are_verified_side_by_side():
    packs = [build_pack([(ChunkKind.CONTENT, TEXT)] * 50, nonce=bytes([number]) * 16).sealed for number in range(16)]
    writable(packs[11])[300] ^= 1
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(verify_sealed, sealed, max_raw_length=len(TEXT)) for sealed in packs]
    assert [run.exception() is not None for run in runs] == [number == 11 for number in range(16)]
