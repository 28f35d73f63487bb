"""Manifest bytes that must never change, and a second reader written from docs/format.md alone.

Changing any of these is a new format.
"""

import struct
from pathlib import Path

import blake3
import msgspec
import xxhash

from artifactstore.digest import Digest, PackId
from artifactstore.manifest.build import (
    BuiltBlock,
    RootDetails,
    assemble_root,
    build_blocks,
    build_extent_list,
    count_entries,
    locate_blocks,
)
from artifactstore.manifest.cuts import cut_blocks
from artifactstore.manifest.format import decode_block, decode_root, encode_index_page, encode_root, file_digest
from artifactstore.manifest.model import (
    HOLE,
    NO_PLACES,
    BlockRow,
    Entry,
    EntryKind,
    EntryPlaces,
    Extent,
    PackRow,
    ReferenceTarget,
    StoredChunk,
)

HERE = Path(__file__).parent
CUT = "fastcdc-v2020:16384:65536:262144"
ONE, TWO = Digest(bytes(range(32))), Digest(bytes(range(32, 64)))
XXH3 = bytes(range(16))
FILE = file_digest([(ONE, 65_536), (TWO, 10), (TWO, 10)])

BLOCK_DIGEST = "5f0f1727849ad432ebbc98cc5bb70d49d519dd7197bb041d0202d4494ffbfac1"
CONTENT_DIGEST = "643ca5b261171150de62e07e9c582feaad11aa65853b277c630836578d40afff"
FILE_DIGEST = "16ad3e886a91acb1f8e6baa3c115dfa784b3692645511432f4a4b7fe1744eb8f"
PAGE_DIGEST = "cc1727c61192762aace28bfc5afb63f3d7b7a60813e35a09fe0bdf2c08c6b922"
LIST_DIGEST = "f2826236b5bd555b3c463472c731fbeedd3d18228aef1a2dbce6f4620af1adec"
CUTS = [
    828,
    1033,
    1259,
    1336,
    1877,
    2557,
    3232,
    3785,
    4105,
    4117,
    4777,
    5206,
    5307,
    5508,
    5888,
    6004,
    6356,
    6661,
    6922,
    7523,
    8114,
    8379,
    8938,
    9000,
]


class Packs:
    def row(self, number: int) -> PackRow:
        return PackRow(bytes([200 - number]) * 20, 1 << 20, 122, 0)


ENTRIES = [
    Entry(b"a", EntryKind.DIRECTORY),
    Entry(b"b/empty", EntryKind.FILE, 0, False, file_digest([]), XXH3),
    Entry(b"b/file", EntryKind.FILE, 65_556, True, FILE, XXH3),
    Entry(b"b-", EntryKind.LINK, target=b"../\xff"),
    Entry(b"c", EntryKind.REFERENCE, reference=ReferenceTarget("s3://bucket/key", 5, "etag", "version", TWO)),
    Entry(b"hole", EntryKind.FILE, 1 << 40, False, FILE, XXH3),
]
PLACES = [
    NO_PLACES,
    NO_PLACES,
    EntryPlaces((Extent(5, 7, 1, 64, 1000, 65_536), Extent(2, 0, 2, 4096, 40, 20))),
    NO_PLACES,
    NO_PLACES,
    EntryPlaces((Extent(HOLE, 0, 1 << 22, 1 << 18, 0, 1 << 40),)),
]


def built() -> tuple[BuiltBlock, bytes]:
    """The block, and the root object (its document not compressed: what zstd writes may change)."""
    [block] = build_blocks(ENTRIES, PLACES, packs=Packs())
    assert isinstance(block, BuiltBlock)
    index = locate_blocks([block], [], packs=Packs())
    about = RootDetails(
        cut=CUT, counts=count_entries(ENTRIES), target="folder/name", done_run=3, nonce=XXH3, base_tx="0" * 32
    )
    document = msgspec.msgpack.encode(assemble_root(index, about))
    return block, struct.pack("<8sBI", b"ASTROOT\x01", 0, len(document)) + document


def test_a_root_and_its_block_have_the_bytes_they_always_had() -> None:
    block, root = built()
    assert root == (HERE / "format-1.root").read_bytes()
    assert block.digest.hex() == BLOCK_DIGEST
    assert decode_root(root).content_digest.hex() == CONTENT_DIGEST
    assert FILE.hex() == FILE_DIGEST
    assert decode_root(encode_root(decode_root(root))) == decode_root(root)


def test_a_compressed_root_of_long_ago_is_read() -> None:
    assert decode_root((HERE / "format-1.root.zst").read_bytes()) == decode_root((HERE / "format-1.root").read_bytes())


def test_pages_and_extent_lists_have_the_bytes_they_always_had() -> None:
    row = BlockRow(b"a", 3, ONE, StoredChunk(1, 2, 64, 100, TWO), ((0, 5), (1, 100)))
    page = encode_index_page([row], [b"\x01" * 20, b"\x02" * 20])
    context = "artifactstore 1 block index"
    assert blake3.blake3(page, derive_key_context=context).hexdigest() == PAGE_DIGEST
    extents = [Extent(n % 3, n, 1, 64 + n, 30, 20) if n % 5 else Extent(HOLE, 0, 9, 7, 0, 63) for n in range(70)]
    [(raw, digest)] = build_extent_list(extents, packs=Packs()).pieces
    assert blake3.blake3(raw, derive_key_context="artifactstore 1 extent list").digest() == digest
    assert digest.hex() == LIST_DIGEST


def numbered_files(count: int) -> list[Entry]:
    return [Entry(b"d/%06d" % n, EntryKind.FILE, n % 3 << 20, False, FILE, XXH3) for n in range(count)]


def test_blocks_end_where_they_always_ended() -> None:
    assert [cut.stop for cut in cut_blocks(numbered_files(9000))] == CUTS


# A second implementation, from the text of the format: it shares nothing with ours but msgpack, BLAKE3 and XXH3.


def plain_digest(context: str, data: bytes) -> bytes:
    return blake3.blake3(data, derive_key_context="artifactstore 1 " + context).digest()


def plain_root(data: bytes) -> dict[str, object]:
    assert data[:8] == b"ASTROOT\x01"
    assert data[8] == 0
    assert int.from_bytes(data[9:13], "little") == len(data) - 13
    document: dict[str, object] = msgspec.msgpack.decode(data[13:])
    return document


def test_a_second_reader_finds_the_same_in_a_root() -> None:
    root = plain_root((HERE / "format-1.root").read_bytes())
    assert list(root) == [
        "required_features", "cut", "content_digest", "counts", "target", "done_run", "nonce", "packs", "blocks",
        "pages", "inline", "base_tx",
    ]  # fmt: skip
    assert root["counts"] == [3, 1, 1, 1, (1 << 40) + 65_556]
    packs, inline = root["packs"], root["inline"]
    assert isinstance(packs, list)
    assert isinstance(inline, bytes)
    assert packs == [[b"\xc3" * 20, 1 << 20, 122, 1000], [b"\xc6" * 20, 1 << 20, 122, 40]]
    [[first_path, count, content, stored, used]] = root["blocks"]  # type: ignore[misc]
    assert (first_path, count, used) == (b"a", 6, [[0, 1000], [1, 40]])
    pack, chunk, offset, length, digest = stored
    assert (pack, chunk, offset) == (-1, 0, 0)
    block = inline[offset : offset + length]
    assert plain_digest("block", block) == digest
    entries_part, places_part = msgspec.msgpack.decode(block)
    assert plain_digest("block content", entries_part) == content
    identity = struct.pack("<I", len(CUT)) + CUT.encode() + content + struct.pack("<I", count)
    assert plain_digest("content", identity) == root["content_digest"]
    entries, (ids, rows) = msgspec.msgpack.decode(entries_part), msgspec.msgpack.decode(places_part)
    assert entries[2] == [b"b/file", 1, 65_556, True, FILE, XXH3, b"", None]
    assert entries[4] == [b"c", 4, 0, False, b"", b"", b"", ["s3://bucket/key", 5, "etag", "version", TWO]]
    assert [[ids[e[0]][0], *e[1:]] for e in rows[2][0]] == [[0xC3, 7, 1, 64, 1000, 65_536], [0xC6, 0, 2, 4096, 40, 20]]
    assert rows[5] == [[[-1, 0, 1 << 22, 1 << 18, 0, 1 << 40]], []]
    assert rows[0] == [[], []]


def test_a_second_reader_computes_the_same_file_digest() -> None:
    runs = ONE + struct.pack("<IQ", 65_536, 1) + TWO + struct.pack("<IQ", 10, 2)
    assert plain_digest("file", runs) == FILE
    assert plain_digest("file", b"") == file_digest([])


def plain_cuts(entries: list[Entry]) -> list[int]:
    """Where blocks end, by the text of the format."""
    hashes = [xxhash.xxh3_64_intdigest(e.path) for e in entries]
    costs = [160 + len(e.path) + 40 * min(e.size >> 14, 64) + (e.size >> 20) for e in entries]
    ends, start = [], 0
    while start < len(entries):
        after = start + 1
        while after < len(entries) and after - start < 1024 and sum(costs[start : after + 1]) <= 1_572_864:
            after += 1
        natural = [n for n in range(start + 1, after + 1) if n < len(entries) and hashes[n] % 512 == 0]
        if natural:
            end = natural[0]
        elif after == len(entries):
            end = after
        else:
            half = start + -(-(after - start) // 2)
            end = min(range(half, after + 1), key=lambda n: (hashes[n], n))
        ends.append(end)
        start = end
    return ends


def test_a_second_writer_ends_blocks_in_the_same_places() -> None:
    small = [Entry(b"d/%06d" % n, EntryKind.FILE, 0, False, FILE, XXH3) for n in range(5000)]
    for entries in (small, numbered_files(5000)):
        assert plain_cuts(entries) == [cut.stop for cut in cut_blocks(entries)]


def test_the_block_of_the_golden_root_decodes() -> None:
    block, _ = built()
    decoded = decode_block(block.raw)
    assert decoded.entries == tuple(ENTRIES)
    assert decoded.packs == tuple(PackId(Packs().row(n).pack) for n in (5, 2))
