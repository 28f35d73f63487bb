"""Blocks, extent lists, pages, roots as bytes: one spelling, bounded, faults named by their place."""

import msgspec
import pytest

from artifactstore.digest import CHUNK_CONTEXT, Digest, digest_of
from artifactstore.errors import CorruptData, UnsupportedFormat
from artifactstore.manifest.format import (
    FileDigester,
    block_content_digest,
    content_digest,
    decode_block,
    decode_entries_only,
    decode_extent_list,
    decode_index_page,
    decode_root,
    encode_block,
    encode_entries,
    encode_extent_list,
    encode_index_page,
    encode_root,
    entries_digest,
    file_digest,
    root_digest,
    single_chunk_file_digest,
)
from artifactstore.manifest.model import (
    HOLE,
    NO_CONTENT,
    NO_PLACES,
    Block,
    BlockRow,
    Counts,
    Entry,
    EntryKind,
    EntryPlaces,
    Extent,
    ReferenceTarget,
    StoredChunk,
)
from artifactstore.testing.hostile_manifests import file_at, link_at
from artifactstore.testing.stored_manifests import store_rows

PACK = b"\x07" * 20
EXTENT = Extent(0, 3, 1, 64, 100, 10)
STORED = StoredChunk(0, 1, 64, 100, b"\x09" * 32)


def block(*rows: tuple[Entry, EntryPlaces], packs: tuple[bytes, ...] = (PACK,)) -> Block:
    return Block(tuple(entry for entry, _ in rows), tuple(places for _, places in rows), packs)


SOUND = block(
    (file_at(b"a", size=10), EntryPlaces((EXTENT,))),
    (Entry(b"b", EntryKind.DIRECTORY), NO_PLACES),
    (file_at(b"c", size=14), EntryPlaces((EXTENT, Extent(HOLE, 0, 2, 2, 0, 4)))),
    (file_at(b"d", size=1 << 40), EntryPlaces(lists=(STORED,))),
    (link_at(b"e", b"../\xff"), NO_PLACES),
    (Entry(b"f", EntryKind.REFERENCE, reference=ReferenceTarget("s3://b/k", 5, "tag", "v", b"\x01" * 32)), NO_PLACES),
    (file_at(b"g"), NO_PLACES),
)


def test_a_block_of_every_kind_of_entry_comes_back_as_it_was() -> None:
    raw = encode_block(SOUND)
    assert decode_block(raw) == SOUND
    assert decode_entries_only(memoryview(raw)) == SOUND.entries
    assert block_content_digest(raw) == entries_digest(encode_entries(SOUND.entries))


def test_content_digest_says_nothing_of_places() -> None:
    moved = block((SOUND.entries[0], EntryPlaces((Extent(0, 9, 1, 640, 90, 10),))), packs=(b"\x08" * 20,))
    here = block((SOUND.entries[0], SOUND.places[0]))
    assert encode_block(moved) != encode_block(here)
    assert block_content_digest(encode_block(moved)) == block_content_digest(encode_block(here))


@pytest.mark.parametrize(
    "field",
    ["path", "size", "executable", "digest", "xxh3", "target", "reference"],
)
def test_content_digest_covers_every_column(field: str) -> None:
    base = {
        "size": SOUND.entries[0],
        "target": SOUND.entries[4],
        "reference": SOUND.entries[5],
    }.get(field, SOUND.entries[0])
    other = {
        "path": b"z",
        "size": 11,
        "executable": True,
        "digest": b"\x02" * 32,
        "xxh3": b"\x02" * 16,
        "target": b"y",
        "reference": ReferenceTarget("s3://b/k", 6, "tag", "v", b"\x01" * 32),
    }[field]
    changed = msgspec.structs.replace(base, **{field: other})
    assert entries_digest(encode_entries([base])) != entries_digest(encode_entries([changed]))


def _reencoded(entries: object, places: object = ((), ((),))) -> bytes:
    return msgspec.msgpack.encode((msgspec.msgpack.encode(entries), msgspec.msgpack.encode(places)))


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([[b"a", 2]], id="defaults-left-out"),
        pytest.param([[b"a", 2, 0, False, b"", b"", b""]], id="one-default-left-out"),
    ],
)
def test_a_second_spelling_of_the_same_entries_is_refused(entries: object) -> None:
    sound = [[b"a", 2, 0, False, b"", b"", b"", None]]
    decode_entries_only(_reencoded(sound))
    with pytest.raises(CorruptData, match="entries: not in canonical form"):
        decode_entries_only(_reencoded(entries))


@pytest.mark.parametrize(
    ("short", "long"),
    [
        pytest.param(b"\x02\x00\xc2", b"\xcc\x02\x00\xc2", id="kind-as-u8"),
        pytest.param(b"\xc4\x01a", b"\xc5\x00\x01a", id="path-as-bin16"),
        pytest.param(b"\x91\x98", b"\xdc\x00\x01\x98", id="rows-as-array16"),
    ],
)
def test_lengths_and_numbers_longer_than_needed_are_refused(short: bytes, long: bytes) -> None:
    sound = msgspec.msgpack.encode([[b"a", 2, 0, False, b"", b"", b"", None]])
    spelled = sound.replace(short, long, 1)
    assert spelled != sound
    assert msgspec.msgpack.decode(spelled) == msgspec.msgpack.decode(sound)
    with pytest.raises(CorruptData, match="canonical"):
        decode_entries_only(msgspec.msgpack.encode((spelled, b"")))


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        (Entry(b"a", 1, -1, False, b"d" * 32, b"x" * 16), r"entries\[1\]\.size: expected `int` >= 0"),
        (
            Entry(b"a", 1, 2**63, False, b"d" * 32, b"x" * 16),
            r"entries\[1\]\.size: expected `int` <= 9223372036854775807",
        ),
        (Entry(b"a", 1, 0, False, b"d" * 31, b"x" * 16), r"entries\[1\]\.digest: has 31 bytes, not 32"),
        (Entry(b"a", 1, 0, False, b"d" * 33, b"x" * 16), r"entries\[1\]\.digest: expected `bytes` of length <= 32"),
        (Entry(b"a", 7), r"entries\[1\]\.kind: expected `int` <= 4"),
        (Entry(b"a", 3, target=b"x", executable=True), r"entries\[1\]\.executable: is set"),
        (Entry(b"a", 4, reference=ReferenceTarget("u", -1)), r"entries\[1\]\.reference\.size_bytes: expected"),
    ],
)
def test_a_fault_in_an_entry_names_its_place(entry: Entry, place: str) -> None:  # fault 74
    raw = encode_block(block((file_at(b"0"), NO_PLACES), (entry, NO_PLACES)))
    with pytest.raises(CorruptData, match=f"^{place}"):
        decode_block(raw)


@pytest.mark.parametrize(
    ("places", "place"),
    [
        (EntryPlaces((EXTENT, Extent(1, 0, 1, 64, 100, 0))), r"places\[1\]\.extents\[1\]\.content_length: expected"),
        (EntryPlaces((EXTENT, Extent(1, 0, 1, 64, 100, 4))), r"places\[1\]\.extents\[1\]\.pack: 1 of 1"),
        (EntryPlaces((EXTENT,)), r"places\[1\]\.extents: 10 bytes, and entries\[1\]\.size is 14"),
        (EntryPlaces(lists=(msgspec.structs.replace(STORED, pack=3),)), r"places\[1\]\.lists\[0\]\.pack: 3 of 1"),
    ],
)
def test_a_fault_in_places_names_its_place(places: EntryPlaces, place: str) -> None:  # fault 74
    raw = encode_block(block((file_at(b"0"), NO_PLACES), (file_at(b"a", size=14), places)))
    with pytest.raises(CorruptData, match=f"^{place}"):
        decode_block(raw)


def test_more_inline_extents_than_a_row_may_have_are_refused() -> None:
    size = 65 * EXTENT.content_length
    raw = encode_block(block((file_at(b"a", size=size), EntryPlaces((EXTENT,) * 65))))
    with pytest.raises(CorruptData, match=r"^places\[0\]\.extents: expected `array` of length <= 64"):
        decode_block(raw)


def test_a_block_that_names_a_pack_twice_is_refused() -> None:
    with pytest.raises(CorruptData, match=r"^packs: a pack is named twice"):
        decode_block(encode_block(block((file_at(b"a"), NO_PLACES), packs=(PACK, PACK))))


def test_every_single_bit_flip_of_a_block_is_refused_or_decodes_canonically() -> None:
    # The digest finds every flip; this shows that what slips through decoding has one spelling still.
    raw = encode_block(SOUND)
    for position in range(len(raw)):
        for bit in range(8):
            flipped = bytearray(raw)
            flipped[position] ^= 1 << bit
            try:
                found = decode_block(flipped)
            except CorruptData:
                continue
            assert encode_block(found) == flipped


@pytest.mark.parametrize("length", range(0, 40, 3))
def test_a_truncated_block_is_refused(length: int) -> None:
    raw = encode_block(SOUND)
    with pytest.raises(CorruptData):
        decode_block(raw[: len(raw) - 1 - length])
    with pytest.raises(CorruptData):
        decode_block(raw + bytes(length + 1))


def test_an_extent_list_comes_back_with_its_packs() -> None:
    extents = (EXTENT, Extent(HOLE, 0, 1 << 40, 65_536, 0, 1 << 56), Extent(1, 0, 2, 64, 30, 20))
    packs = (PACK, b"\x08" * 20)
    assert decode_extent_list(encode_extent_list(extents, packs)) == (extents, packs)


@pytest.mark.parametrize(
    ("extents", "packs", "place"),
    [
        ((), (PACK,), "extents: expected"),
        ((EXTENT,) * 4097, (PACK,), "extents: expected"),
        ((EXTENT, EXTENT), (), r"extents\[0\]\.pack: 0 of 0"),
        ((EXTENT,), (PACK, PACK), "packs: a pack is named twice"),
        ((EXTENT,), (PACK[:-1],), r"packs\[0\]: expected"),
    ],
)
def test_a_bad_extent_list_is_refused_by_place(
    extents: tuple[Extent, ...], packs: tuple[bytes, ...], place: str
) -> None:
    with pytest.raises(CorruptData, match=f"^{place}"):
        decode_extent_list(encode_extent_list(extents, packs))


def test_a_page_of_the_index_comes_back_with_its_packs() -> None:
    rows = (
        BlockRow(b"a", 5, b"\x01" * 32, STORED, ((0, 100), (1, 7))),
        BlockRow(b"a/b", 1024, b"\x02" * 32, StoredChunk(1, 0, 64, 100, b"\x03" * 32), ((1, 100),)),
        BlockRow(b"a-", 1, b"\x02" * 32, StoredChunk(1, 0, 64, 100, b"\x03" * 32), ((1, 100),)),
    )
    packs = (PACK, b"\x08" * 20)
    assert decode_index_page(encode_index_page(rows, packs)) == (rows, packs)
    with pytest.raises(CorruptData, match="out of order"):
        decode_index_page(encode_index_page(rows[::-1], packs))
    with pytest.raises(CorruptData, match=r"^blocks\[1\]\.used"):
        decode_index_page(encode_index_page([rows[0], msgspec.structs.replace(rows[1], used=((0, 1),))], packs))


def test_a_root_comes_back_as_it_was_compressed_or_not() -> None:
    small = store_rows([file_at(b"a")])
    large = store_rows([file_at(b"a%03d" % number) for number in range(300)])
    for root in (small, large):
        data = encode_root(root)
        assert decode_root(data) == root
        assert decode_root(memoryview(bytearray(data))) == root
        assert root_digest(data) == root_digest(memoryview(data))
    assert len(encode_root(large)) < len(large.inline)


def test_every_single_bit_flip_of_a_root_is_refused_or_changes_its_digest() -> None:
    data = encode_root(store_rows([file_at(b"a")]))
    digest = root_digest(data)
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        assert root_digest(flipped) != digest
        try:
            decode_root(flipped)
        except (CorruptData, UnsupportedFormat):
            continue


def test_an_interim_root_without_content_may_be_read() -> None:
    root = msgspec.structs.replace(
        store_rows([file_at(b"a")]), content_digest=NO_CONTENT, blocks=(), counts=Counts(), inline=b""
    )
    assert decode_root(encode_root(root)) == root


def test_a_fault_in_a_root_names_its_place() -> None:
    root = store_rows([file_at(b"a")])
    bad = msgspec.structs.replace(root.blocks[0], first_path=b"")
    with pytest.raises(CorruptData, match=r"^blocks\[0\]\.first_path: expected"):
        decode_root(encode_root(msgspec.structs.replace(root, blocks=(bad,))))


def test_an_unknown_feature_is_named_and_tells_to_upgrade() -> None:  # fault 75
    root = msgspec.structs.replace(store_rows([file_at(b"a")]), required_features=("sparse-packs",))
    with pytest.raises(UnsupportedFormat, match="sparse-packs") as caught:
        decode_root(encode_root(root))
    assert "pip install --upgrade artifactstore" in str(caught.value)


def _chunk(content: bytes) -> tuple[Digest, int]:
    return digest_of(CHUNK_CONTEXT, content), len(content)


def test_a_file_digest_is_over_digests_and_lengths_in_order() -> None:
    one, two = _chunk(b"one"), _chunk(b"two!")
    assert file_digest([one, two]) != file_digest([two, one])
    assert file_digest([one]) != file_digest([(one[0], 4)])
    assert file_digest([]) != file_digest([one])
    assert file_digest([one]) == single_chunk_file_digest(*one)


def test_repeated_chunks_digest_alike_however_they_are_added() -> None:
    one, zeros = _chunk(b"one"), _chunk(bytes(9))
    digester = FileDigester()
    digester.add(*one)
    digester.add_repeated(*zeros, 2)
    digester.add(*zeros)
    digester.add_repeated(*zeros, 0)
    digester.add_repeated(*zeros, 1997)
    digester.add(*one)
    assert digester.digest() == file_digest([one, *[zeros] * 2000, one])


def test_a_digester_can_be_asked_in_between() -> None:
    digester = FileDigester()
    chunks = [_chunk(str(number % 1500).encode()) for number in range(4000)]
    for number, chunk in enumerate(chunks, 1):
        digester.add(*chunk)
        if number % 999 == 0:
            assert digester.digest() == file_digest(chunks[:number])


def test_a_hole_of_exabytes_is_digested_at_once() -> None:  # fault 51
    digester = FileDigester()
    digester.add_repeated(*_chunk(bytes(9)), 2**62)
    assert len(digester.digest()) == 32


def test_a_state_is_identified_by_cut_blocks_and_counts() -> None:
    rows = [(Digest(b"\x01" * 32), 5), (Digest(b"\x02" * 32), 6)]
    same = content_digest("cut", rows)
    assert same == content_digest("cut", iter(rows))
    assert same != content_digest("cuu", rows)
    assert same != content_digest("cut", rows[::-1])
    assert same != content_digest("cut", [rows[0], (rows[1][0], 7)])
