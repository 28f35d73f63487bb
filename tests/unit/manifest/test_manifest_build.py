"""From rows to blocks and roots: cuts, renumbering, reuse, pages."""

import msgspec
import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.digest import Digest, PackId
from artifactstore.errors import CorruptData, SourceError
from artifactstore.manifest.build import (
    MAX_INLINE_BYTES,
    BlockIndex,
    BuiltBlock,
    LocatedBlock,
    assemble_root,
    blocks_to_store,
    build_blocks,
    build_extent_list,
    build_pages,
    count_entries,
    locate_blocks,
    needs_list,
    reusable,
)
from artifactstore.manifest.cuts import cut_blocks
from artifactstore.manifest.format import decode_block, decode_extent_list, decode_root, encode_root
from artifactstore.manifest.index import locate_row
from artifactstore.manifest.model import (
    HOLE,
    INLINE,
    MAX_BLOCK_ENTRIES,
    MAX_CHUNK_BYTES,
    MAX_ROOT_BLOCKS,
    NO_PLACES,
    Entry,
    EntryKind,
    EntryPlaces,
    Extent,
    PackRow,
    StoredChunk,
)
from artifactstore.pack.format import ChunkKind
from artifactstore.testing.backend import seeded_bytes
from artifactstore.testing.hostile_manifests import file_at, link_at
from artifactstore.testing.stored_manifests import PackShelf, details, store_tree


class Numbers:
    """Packs of an upload by number, made up."""

    def row(self, number: int) -> PackRow:
        return PackRow(b"%020d" % (997 * number % 1000), 1 << 20, 81, 0)

    def id(self, number: int) -> PackId:
        return PackId(self.row(number).pack)


def place(pack: int, size: int = 10) -> EntryPlaces:
    return EntryPlaces((Extent(pack, 3, 1, 64, 100, size),))


def rows(count: int, *, pack: int = 0) -> tuple[list[Entry], list[EntryPlaces]]:
    return [file_at(b"f%06d" % number, size=10) for number in range(count)], [place(pack)] * count


def stored(number: int, block: BuiltBlock) -> StoredChunk:
    return StoredChunk(7, number, 64 + 1000 * number, 900, block.digest)


def locate(blocks: list[BuiltBlock | LocatedBlock]) -> BlockIndex:
    places = [stored(number, block) for number, block in enumerate(blocks_to_store(blocks))]
    return locate_blocks(blocks, places, packs=Numbers())


def changed_blocks(before: list[Entry], after: list[Entry]) -> int:
    old = {tuple(before[cut]) for cut in cut_blocks(before)}
    return sum(tuple(after[cut]) not in old for cut in cut_blocks(after))


# Cuts


def test_blocks_cover_all_rows_in_order_and_are_some_512() -> None:
    entries, _ = rows(50_000)
    cuts = cut_blocks(entries)
    assert [entry for cut in cuts for entry in entries[cut]] == entries
    lengths = [cut.stop - cut.start for cut in cuts]
    assert max(lengths) <= MAX_BLOCK_ENTRIES
    assert min(lengths) >= 1
    assert 350 < sum(lengths) / len(lengths) < 650
    assert cut_blocks([]) == []


@pytest.mark.parametrize("position", range(0, 20_000, 1117))
def test_an_edit_changes_one_block_rarely_two(position: int) -> None:
    entries, _ = rows(20_000)
    edited = list(entries)
    edited[position] = file_at(edited[position].path, size=11)
    assert changed_blocks(entries, edited) == 1
    inserted = [*entries[: position + 1], file_at(entries[position].path + b"-new"), *entries[position + 1 :]]
    assert changed_blocks(entries, inserted) <= 2
    removed = [*entries[:position], *entries[position + 1 :]]
    assert changed_blocks(entries, removed) <= 2


def test_long_runs_without_a_boundary_recover_after_an_edit() -> None:
    entries, _ = rows(60_000)
    natural = {cut.start for cut in cut_blocks(entries)}
    calm = [entry for number, entry in enumerate(entries) if number not in natural]
    for position in range(0, len(calm), 5003):
        inserted = [*calm[:position], file_at(calm[position].path + b"-"), *calm[position:]]
        inserted.sort(key=lambda entry: entry.path)
        assert changed_blocks(calm, inserted) <= 3


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(lambda n: file_at(b"/".join([b"%05d" % n, *[b"x" * 250] * 200])), id="paths-of-50-KB"),
        pytest.param(lambda n: link_at(b"%05d" % n, b"y" * 60_000), id="targets-of-60-KB"),
        pytest.param(lambda n: file_at(b"%05d" % n, size=2**40), id="files-of-1-TiB"),
    ],
)
def test_blocks_of_huge_rows_hold_few_of_them(entry) -> None:  # type: ignore[no-untyped-def]
    entries = [entry(number) for number in range(200)]
    for cut in cut_blocks(entries):
        assert sum(len(e.path) + len(e.target) for e in entries[cut]) < MAX_CHUNK_BYTES // 2
        assert cut.stop - cut.start < 60


# Blocks


def test_a_block_gets_the_short_pack_list_of_its_own() -> None:
    entries = [file_at(b"a", size=10), file_at(b"b", size=24), file_at(b"c"), link_at(b"d", b"x")]
    extents = (Extent(900, 0, 1, 64, 30, 10), Extent(HOLE, 0, 2, 2, 0, 4), Extent(5, 1, 1, 64, 40, 10))
    [block] = build_blocks(entries, [place(5), EntryPlaces(extents), NO_PLACES, NO_PLACES], packs=Numbers())
    assert isinstance(block, BuiltBlock)
    decoded = decode_block(block.raw)
    assert decoded.packs == (Numbers().id(5), Numbers().id(900))
    assert [e.pack for e in decoded.places[1].extents] == [1, HOLE, 0]
    assert decoded.entries == tuple(entries)
    assert dict(block.used) == {5: 140, 900: 30}


def test_the_same_rows_give_the_same_bytes_whatever_the_numbers() -> None:
    class Other(Numbers):
        def row(self, number: int) -> PackRow:
            return super().row(number - 50)

    entries, _ = rows(3000)
    here = build_blocks(entries, [place(n // 700) for n in range(3000)], packs=Numbers())
    there = build_blocks(entries, [place(50 + n // 700) for n in range(3000)], packs=Other())
    assert [b.raw for b in blocks_to_store(here)] == [b.raw for b in blocks_to_store(there)]
    assert len(here) > 2


def test_rows_that_contradict_themselves_never_become_a_block() -> None:
    with pytest.raises(CorruptData, match=r"places\[0\]\.extents: 9 bytes"):
        build_blocks([file_at(b"a", size=10)], [place(0, size=9)], packs=Numbers())


def test_a_file_in_too_many_pieces_is_an_error_of_the_source() -> None:
    piece = StoredChunk(0, 0, 64, 100, b"\x01" * 32)
    entries, places = [file_at(b"a", size=10)], [EntryPlaces(lists=(piece,) * 120_000)]
    with pytest.raises(SourceError, match="'a'"):
        build_blocks(entries, places, packs=Numbers(), list_used={b"a": {0: 1}})


def test_counts_are_by_kind() -> None:
    entries = [file_at(b"a", size=5), file_at(b"b", size=7), Entry(b"c", EntryKind.DIRECTORY), link_at(b"d", b"x")]
    counts = count_entries(iter(entries))
    assert (counts.files, counts.directories, counts.links, counts.references, counts.content_bytes) == (2, 1, 1, 0, 12)


# Extent lists


def test_a_long_extent_list_is_cut_into_pieces_with_packs_of_their_own() -> None:
    extents = [
        Extent(n % 7 if n % 9 else HOLE, n % 100 if n % 9 else 0, 1, 64, 30 if n % 9 else 0, 64) for n in range(9000)
    ]
    assert needs_list(extents)
    assert not needs_list(extents[:64])
    built = build_extent_list(extents, packs=Numbers())
    assert len(built.pieces) == 3
    read: list[Extent] = []
    for raw, _ in built.pieces:
        assert len(raw) < 256 << 10
        part, packs = decode_extent_list(raw)
        number = {Numbers().id(n): n for n in range(7)}
        read += [e if e.pack == HOLE else msgspec.structs.replace(e, pack=number[PackId(packs[e.pack])]) for e in part]
    assert read == extents
    assert dict(built.used) == {n: sum(e.stored_length for e in extents if e.pack == n) for n in range(7)}


def test_appending_to_a_long_list_keeps_its_first_pieces() -> None:
    extents = [Extent(n % 7, n % 100, 1, 64, 30, 64) for n in range(9000)]
    before = build_extent_list(extents, packs=Numbers()).pieces
    after = build_extent_list([*extents, Extent(9, 0, 1, 64, 30, 64)], packs=Numbers()).pieces
    assert after[:2] == before[:2]


def test_a_block_needs_the_packs_of_its_lists_and_of_their_extents() -> None:  # fault 141
    extents = [Extent(2 + n % 2, n % 100, 1, 64, 30, 64) for n in range(100)]
    built = build_extent_list(extents, packs=Numbers())
    pieces = tuple(StoredChunk(9, n, 64, 500, digest) for n, (_, digest) in enumerate(built.pieces))
    entry = file_at(b"big", size=6400)
    blocks = build_blocks([entry], [EntryPlaces(lists=pieces)], packs=Numbers(), list_used={b"big": built.used})
    root = assemble_root(locate(blocks), details([entry]))
    used = {row.pack: row.used_bytes for row in root.packs}
    assert used == {Numbers().id(9): 500, Numbers().id(2): 1500, Numbers().id(3): 1500}
    assert isinstance(blocks[0], BuiltBlock)
    assert set(decode_block(blocks[0].raw).packs) == set(used)


# Roots


def test_a_small_tree_lies_in_its_root() -> None:
    entries, places = rows(100)
    blocks = build_blocks(entries, places, packs=Numbers())
    assert blocks_to_store(blocks) == []
    root = assemble_root(locate(blocks), details(entries))
    assert decode_root(encode_root(root)) == root
    assert {row.stored.pack for row in root.blocks} == {INLINE}
    row = root.blocks[0]
    assert decode_block(root.inline[row.stored.offset :][: row.stored.stored_length]).entries == tuple(
        entries[: row.entry_count]
    )


def test_a_large_tree_is_stored_and_its_root_names_every_pack() -> None:
    entries, _ = rows(5000)
    blocks = build_blocks(entries, [place(n // 1000) for n in range(5000)], packs=Numbers())
    assert len(blocks_to_store(blocks)) == len(blocks)
    root = assemble_root(locate(blocks), details(entries), more_packs=[Numbers().row(33)])
    assert decode_root(encode_root(root)) == root
    assert {row.pack for row in root.packs} == {Numbers().id(n) for n in (0, 1, 2, 3, 4, 7, 33)}
    used = {row.pack: row.used_bytes for row in root.packs}
    assert used[Numbers().id(2)] == 1000 * 100
    assert used[Numbers().id(7)] == 900 * len(blocks)
    assert used[Numbers().id(33)] == 0


def test_a_pack_that_many_files_share_is_not_used_beyond_its_size() -> None:
    entries = [file_at(b"f%05d" % number, size=10) for number in range(2000)]
    shared = EntryPlaces((Extent(0, 3, 1, 64, 1000, 10),))
    root = assemble_root(locate(build_blocks(entries, [shared] * 2000, packs=Numbers())), details(entries))
    assert {row.pack: row.used_bytes for row in root.packs}[Numbers().id(0)] == Numbers().row(0).object_bytes
    assert decode_root(encode_root(root)) == root


def test_an_empty_tree_has_a_root() -> None:
    root = assemble_root(locate(build_blocks([], [], packs=Numbers())), details([]))
    assert decode_root(encode_root(root)) == root
    assert root.blocks == ()


def test_an_unchanged_block_is_reused_as_it_lies() -> None:
    entries, places = rows(5000)
    first = locate(build_blocks(entries, places, packs=Numbers()))
    base = assemble_root(first, details(entries))
    known = reusable(locate_row(row, base.packs) for row in base.blocks)
    # Elsewhere now, and one file edited: one block is new, all others stay where they were.
    edited = [
        *entries[:4000],
        file_at(
            entries[4000].path,
            size=10,
        ),
        *entries[4001:],
    ]
    edited[4000] = msgspec.structs.replace(edited[4000], executable=True)
    blocks = build_blocks(edited, [place(44)] * 5000, packs=Numbers(), reuse=known)
    new = [block for block in blocks if isinstance(block, BuiltBlock)]
    assert len(new) == 1
    root = assemble_root(locate(blocks), details(edited))
    assert decode_root(encode_root(root)) == root
    assert {row.pack for row in root.packs} >= {Numbers().id(0), Numbers().id(7), Numbers().id(44)}
    kept = [row.content_digest for row in root.blocks if row.content_digest in known]
    assert len(kept) == len(blocks) - 1


def test_few_new_blocks_beside_reused_ones_lie_in_the_root() -> None:
    entries, places = rows(5000)
    first = locate(build_blocks(entries, places, packs=Numbers()))
    known = reusable(first.blocks)
    smallest = min(cut_blocks(entries), key=lambda cut: cut.stop - cut.start)
    edited = list(entries)
    edited[smallest.start] = msgspec.structs.replace(edited[smallest.start], executable=True)
    blocks = build_blocks(edited, places, packs=Numbers(), reuse=known)
    [new] = [block for block in blocks if isinstance(block, BuiltBlock)]
    assert len(new.raw) <= MAX_INLINE_BYTES
    assert blocks_to_store(blocks) == []
    root = assemble_root(locate(blocks), details(edited))
    assert root.inline == new.raw
    assert decode_root(encode_root(root)) == root
    # The next version builds it again: an inline block belongs to one root.
    assert new.content_digest not in reusable(locate_row(r, root.packs, inline=root.inline) for r in root.blocks)


def test_a_block_that_needs_a_condemned_pack_is_not_reused() -> None:  # fault 141
    entries, _ = rows(5000)
    index = locate(build_blocks(entries, [place(n // 2500) for n in range(5000)], packs=Numbers()))
    avoid = {Numbers().id(1)}
    left = reusable(index.blocks, avoid=avoid)
    assert 0 < len(left) < len(index.blocks)
    assert all(row.pack not in avoid for block in left.values() for row, _ in block.used)
    assert reusable(index.blocks, avoid={Numbers().id(7)}) == {}


def test_equal_content_has_one_identity_wherever_it_lies() -> None:
    contents = {b"d/%04d" % n: seeded_bytes(str(n), n % 50) for n in range(2000)}
    here = store_tree(MemoryBackend(), contents)
    there = store_tree(MemoryBackend(), contents, seed="other")
    assert here.packs != there.packs
    assert here.content_digest == there.content_digest
    edited = {**contents, b"d/0007": b"other"}
    assert store_tree(MemoryBackend(), edited).content_digest != here.content_digest


def test_places_that_do_not_fit_the_blocks_are_a_mistake_of_the_caller() -> None:
    blocks = build_blocks(*rows(5000), packs=Numbers())
    chunks = [stored(number, block) for number, block in enumerate(blocks_to_store(blocks))]
    for wrong in (chunks[:-1], [*chunks, chunks[0]], chunks[::-1]):
        with pytest.raises(ValueError, match="place"):
            locate_blocks(blocks, wrong, packs=Numbers())


# Pages


def huge_index(count: int, *, seed: int = 0) -> BlockIndex:
    """An index of many blocks, made up."""
    holder = Numbers().row(7)
    return BlockIndex(
        blocks=tuple(
            LocatedBlock(
                first_path=b"p%07d" % number,
                entry_count=1,
                content_digest=Digest(seeded_bytes(f"{seed} {number}", 32)),
                stored=StoredChunk(7, number % 60_000, 64, 100, seeded_bytes(str(number), 32)),
                holder=holder,
                used=((holder, 100), (Numbers().row(number // 3000), 50)),
            )
            for number in range(count)
        )
    )


def test_over_10_000_blocks_the_index_lies_in_pages() -> None:
    index = huge_index(MAX_ROOT_BLOCKS + 1)
    pages = build_pages(index)
    assert sum(page.block_count for page in pages) == len(index.blocks)
    assert 20 <= len(pages) <= 120
    shelf = PackShelf(MemoryBackend())
    places = [shelf.add(ChunkKind.INDEX_PAGE, page.raw) for page in pages]
    shelf.seal()
    counts = details([file_at(b"x")] * len(index.blocks))
    root = assemble_root(index, counts, pages=list(zip(pages, places, strict=True)), packs=shelf)
    assert decode_root(encode_root(root)) == root
    assert root.blocks == ()
    assert {shelf.row(0).pack} < {row.pack for row in root.packs}
    with pytest.raises(ValueError, match="pages"):
        assemble_root(index, counts)


def test_up_to_10_000_blocks_there_are_no_pages() -> None:
    assert build_pages(huge_index(MAX_ROOT_BLOCKS)) == []


def test_an_edit_changes_one_page() -> None:
    before = huge_index(12_000)
    blocks = list(before.blocks)
    del blocks[6000]
    after = BlockIndex(blocks=tuple(blocks))
    old = {page.digest for page in build_pages(before)}
    assert sum(page.digest not in old for page in build_pages(after)) <= 2
