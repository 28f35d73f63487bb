"""Bytes that must never change: cuts on seeded data, and one pack of format 1. Changing either is a new format."""

import struct
from pathlib import Path

import blake3
import pytest
import xxhash
import zstandard

from artifactstore.chunking import DEFAULT_CUT, Cutter
from artifactstore.codec import Codec
from artifactstore.digest import PackId, digest_of
from artifactstore.pack.format import ChunkKind, context_of, iter_records, parse_pack, parse_tail
from artifactstore.pack.writer import PackBuilder
from artifactstore.testing.strategies import SMALL_CUT, seeded_bytes

PACK = Path(__file__).with_name("format-1.pack")
PACK_ID = "4e6cb1edaec90e8970a012fcc775eaf886fb71d9"
STORE = bytes(range(16))
NONCE = bytes(range(0xA0, 0xB0))
# What zstd writes may differ from one of its versions to the next; what it reads may not.
FRAME = bytes.fromhex("28b52ffd60180075000038676f6c64656e2001000e528b11")
CHUNKS = [
    (ChunkKind.CONTENT, Codec.RAW, b"hello, pack"),
    (ChunkKind.CONTENT, Codec.ZSTD, b"golden " * 40),
    (ChunkKind.BLOCK, Codec.RAW, b"block"),
    (ChunkKind.EXTENT_LIST, Codec.RAW, b"extent list"),
    (ChunkKind.INDEX_PAGE, Codec.RAW, b"index page"),
]
CONTEXTS = [
    "artifactstore 1 chunk",
    "artifactstore 1 block",
    "artifactstore 1 extent list",
    "artifactstore 1 block index",
]
DEFAULT_ENDS = [
    82048, 174859, 240409, 310108, 392723, 494267, 570445, 603116, 640407, 726233, 861937, 902642, 927931, 960481,
    1027202, 1130789, 1269804, 1357861, 1393280, 1417164, 1458892, 1514817, 1543689, 1659029, 1740757, 1867383,
    1925993, 2000000,
]  # fmt: skip
SMALL_ENDS = [652, 1239, 2263, 2719, 3405, 3692, 4632, 5571, 6513, 7037, 7891, 8000]


def build() -> PackBuilder:
    builder = PackBuilder(store_id=STORE, nonce=NONCE, capacity_bytes=1 << 16)
    for kind, codec, raw in CHUNKS:
        encoded = FRAME if codec is Codec.ZSTD else raw
        digest = digest_of(context_of(kind), raw)
        builder.add(kind=kind, digest=digest, codec=codec, encoded=encoded, raw_length=len(raw))
    return builder


@pytest.mark.parametrize(
    ("cut", "length", "ends"), [(DEFAULT_CUT, 2_000_000, DEFAULT_ENDS), (SMALL_CUT, 8_000, SMALL_ENDS)], ids=str
)
def test_content_is_cut_where_it_always_was(cut, length, ends):
    assert Cutter(cut).cuts(memoryview(seeded_bytes("golden cuts", length)), final=True) == ends


@pytest.mark.parametrize(("cut", "length"), [(DEFAULT_CUT, 262_144), (SMALL_CUT, 1_024)], ids=str)
def test_zeros_are_cut_where_they_always_were(cut, length):
    assert Cutter(cut).zero_chunk_length() == length


def test_the_writer_writes_the_golden_pack():
    sealed = build().seal()
    assert sealed.pack.hex() == PACK_ID
    assert bytes(sealed.body) == PACK.read_bytes()


def test_the_reader_reads_the_golden_pack():
    body = PACK.read_bytes()
    pack = PackId(bytes.fromhex(PACK_ID))
    table = parse_pack(pack, body, store_id=STORE)
    raws = [(kind, raw) for kind, _, raw in CHUNKS]
    end = table.offsets()[-1]
    assert list(iter_records(memoryview(body)[64:end], len(CHUNKS), max_raw_length=1000)) == raws
    assert [table.codec(number) for number in range(len(CHUNKS))] == [codec for _, codec, _ in CHUNKS]
    assert parse_tail(pack, body[end:], object_bytes=len(body)).rows == table.rows


def test_docs_suffice_to_read_the_golden_pack():
    """A second reader, written from docs/format.md alone."""
    body = PACK.read_bytes()
    magic, number, features, store, nonce, key, padding = struct.unpack("<8sHI16s16s8s10s", body[:64])
    assert (magic, number, features) == (b"ASTPACK\x01", 1, 0)
    assert (store, nonce, key + padding) == (STORE, NONCE, bytes(18))
    check, count, start, nonce_again, magic = struct.unpack("<IIQ16s8s", body[-40:])
    assert (nonce_again, magic) == (nonce, b"ASTPTAB\x01")
    assert len(body) == start + 41 * count + 40
    assert xxhash.xxh3_64_intdigest(body[:start]) % 2**32 == check
    hasher = blake3.blake3(nonce + body[start:-24], derive_key_context="artifactstore 1 pack")
    assert hasher.hexdigest()[:40] == PACK_ID
    position = 64
    for index, (kind, codec, raw) in enumerate(CHUNKS):
        row = body[start + 41 * index : start + 41 * index + 41]
        tag, encoded_length, raw_length = struct.unpack("<BII", row[32:])
        assert body[position : position + 9] == row[32:]
        assert (tag >> 4, tag & 15, raw_length) == (kind, codec, len(raw))
        encoded = body[position + 9 : position + 9 + encoded_length]
        decoded = zstandard.ZstdDecompressor().decompress(encoded) if tag & 15 else encoded
        assert decoded == raw
        assert blake3.blake3(decoded, derive_key_context=CONTEXTS[kind]).digest() == row[:32]
        position += 9 + encoded_length
    assert position == start
