"""A version read from the store: found with few requests, checked whole, damage named."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.chunking import DEFAULT_CUT
from artifactstore.digest import Digest, PackId
from artifactstore.errors import CorruptData, PathNotFound, UnsafeManifest
from artifactstore.keys import pack_key
from artifactstore.manifest.build import BlockIndex, LocatedBlock, RootDetails, build_extent_list
from artifactstore.manifest.format import decode_root, encode_block, encode_entries, encode_root, entries_digest
from artifactstore.manifest.model import (
    HOLE,
    MAX_ROOT_BLOCKS,
    NO_PLACES,
    Block,
    Counts,
    Entry,
    EntryKind,
    EntryPlaces,
    Extent,
    PackRow,
    Root,
)
from artifactstore.names import Name
from artifactstore.pack.format import ChunkKind
from artifactstore.testing.hostile_manifests import file_at, link_at
from artifactstore.testing.stored_manifests import PackShelf, details, store_built, store_index, store_tree
from artifactstore.transaction.roots import encode_interim_root
from artifactstore.tree import StoredTree

VERSION = "data/set:v3"
CUT = str(DEFAULT_CUT)


def contents(count: int) -> dict[bytes, bytes]:
    return {b"d%02d/f%05d" % (n % 40, n): b"%d" % n for n in range(count)}


@pytest.fixture(scope="module")
def stored() -> tuple[MemoryBackend, Root]:
    backend = MemoryBackend()
    return backend, store_tree(backend, contents(6000), others=[link_at(b"z", b"d00")])


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


def damaged(backend: MemoryBackend, key: str, body: bytes | None) -> MemoryBackend:
    """A copy of the store in which one object is another, or gone."""
    other = MemoryBackend()
    for info in backend.list(""):
        if info.key != key:
            other.put(info.key, backend.get(info.key))
    if body is not None:
        other.put(key, body)
    return other


# Reading


def test_all_entries_come_in_order_with_their_content(
    stored: tuple[MemoryBackend, Root], pool: ThreadPoolExecutor
) -> None:
    backend, root = stored
    for tree in (StoredTree(backend, root), StoredTree(backend, root, pool=pool)):
        rows = list(tree.entries())
        assert [entry.path for entry, _, _ in rows] == [*sorted(contents(6000)), b"z"]
        for entry, places, block in rows[::599]:
            assert sum(e.content_length for e in tree.extents(places, block)) == entry.size
            for extent in places.extents:
                assert tree.pack_row(PackId(block.packs[extent.pack])).pack == block.packs[extent.pack]


def test_entries_alone_of_some_blocks(stored: tuple[MemoryBackend, Root], pool: ThreadPoolExecutor) -> None:
    backend, root = stored
    tree = StoredTree(backend, root, pool=pool)
    last = tree.block_count - 1
    expected = [*tree.block(last).entries, *tree.block(0).entries]
    assert list(tree.entries_of([last, 0])) == expected


def test_neighbouring_blocks_are_read_together(stored: tuple[MemoryBackend, Root], pool: ThreadPoolExecutor) -> None:
    backend, root = stored
    assert len(root.blocks) > 8
    counted = CountBackend(backend)
    tree = StoredTree(counted, root, pool=pool)
    blocks = tree.load_blocks(range(tree.block_count))
    assert counted.counts.request_count <= 2
    assert [block.entries[0].path for block in blocks] == [row.first_path for row in root.blocks]


def test_blocks_come_in_the_order_asked_for(stored: tuple[MemoryBackend, Root], pool: ThreadPoolExecutor) -> None:
    backend, root = stored
    tree = StoredTree(backend, root, pool=pool)
    three = tree.load_blocks([5, 1, 5])
    assert three == [tree.block(5), tree.block(1), tree.block(5)]


def test_finding_one_path_in_a_cold_version_is_one_request(stored: tuple[MemoryBackend, Root]) -> None:
    backend, root = stored
    counted = CountBackend(backend)
    tree = StoredTree(counted, root)
    found = tree.find(b"d07/f03007")
    assert found.entry.path == b"d07/f03007"
    assert found.places.extents
    assert counted.counts.request_count == 1
    tree.find(b"d07/f03007")
    assert counted.counts.request_count == 1


def test_every_path_is_found_and_nothing_else(stored: tuple[MemoryBackend, Root]) -> None:
    backend, root = stored
    tree = StoredTree(backend, root)
    for path in [b"d00/f00000", b"d39/f05999", b"z", *[row.first_path for row in root.blocks]]:
        assert tree.find(path).entry.path == path
        assert path in [entry.path for entry in tree.block(tree.block_of(path)).entries]
    for path in (b"", b"a", b"d00", b"d00/f00000x", b"d00/", b"zz", b"d07/f03007/x"):
        with pytest.raises(PathNotFound):
            tree.find(path)


def test_a_path_that_is_not_there_names_the_version(stored: tuple[MemoryBackend, Root]) -> None:
    backend, root = stored
    with pytest.raises(PathNotFound, match="'no/such' in data/set:v3"):
        StoredTree(backend, root, version=VERSION).find(b"no/such")


@pytest.mark.parametrize("path", [b"d00", b"d17", b"d39"])
def test_all_below_a_directory_and_nothing_else(stored: tuple[MemoryBackend, Root], path: bytes) -> None:
    backend, root = stored
    counted = CountBackend(backend)
    found = [entry.path for entry, _, _ in StoredTree(counted, root).below(path)]
    assert found == sorted(p for p in contents(6000) if p.startswith(path + b"/"))
    assert counted.counts.request_count <= 2


def test_below_nothing_is_all_and_below_a_file_is_nothing(stored: tuple[MemoryBackend, Root]) -> None:
    backend, root = stored
    tree = StoredTree(backend, root)
    assert len(list(tree.below(b""))) == 6001
    for path in (b"z", b"d00/f00000", b"d0", b"d", b"no", b"zz"):
        assert list(tree.below(path)) == []


def test_below_does_not_take_siblings_that_sort_inside_by_bytes() -> None:
    backend = MemoryBackend()
    tree = StoredTree(backend, store_tree(backend, {b"a/x": b"1", b"a-": b"2", b"a/y/z": b"3", b"a.b": b"4"}))
    assert [entry.path for entry, _, _ in tree.below(b"a")] == [b"a/x", b"a/y/z"]


def test_an_empty_version_has_nothing() -> None:
    tree = StoredTree(MemoryBackend(), store_tree(MemoryBackend(), {}))
    assert list(tree.entries()) == []
    assert list(tree.below(b"a")) == []
    assert tree.rows() == ()
    with pytest.raises(PathNotFound):
        tree.find(b"a")


def test_a_small_version_is_read_from_its_root_alone() -> None:
    root = store_tree(MemoryBackend(), {b"a": b"1", b"b/c": b"2"})
    tree = StoredTree(MemoryBackend(), decode_root(encode_root(root)))
    assert [entry.path for entry, _, _ in tree.entries()] == [b"a", b"b/c"]
    assert tree.find(b"b/c").entry.size == 1


def test_two_threads_may_read_one_tree(stored: tuple[MemoryBackend, Root], pool: ThreadPoolExecutor) -> None:
    backend, root = stored
    tree = StoredTree(backend, root, pool=pool)
    expected = [entry for entry, _, _ in StoredTree(backend, root).entries()]
    wrong: list[object] = []

    def read(step: int) -> None:
        for entry in expected[::step]:
            if tree.find(entry.path).entry != entry:
                wrong.append(entry)
        if [entry for entry, _, _ in tree.entries()] != expected:
            wrong.append(step)

    threads = [threading.Thread(target=read, args=(step,)) for step in (67, 71, 73, 79)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_reader_that_stops_early_leaves_nothing_behind(
    stored: tuple[MemoryBackend, Root], pool: ThreadPoolExecutor
) -> None:
    backend, root = stored
    rows = StoredTree(backend, root, pool=pool).entries()
    next(rows)
    rows.close()  # type: ignore[attr-defined]


# Extent lists


def long_file(extra: int = 0) -> tuple[MemoryBackend, Root, list[Extent]]:
    """A version with a file of 9,000 extents beside a small one."""
    backend = MemoryBackend()
    shelf = PackShelf(backend, capacity_bytes=1 << 16)
    extents = []
    for number in range(9000):
        if number % 2:
            extents.append(Extent(HOLE, 0, 1, 3, 0, 3))
        else:
            place = shelf.add(ChunkKind.CONTENT, b"%06d" % number)
            extents.append(Extent(place.pack, place.chunk, 1, place.offset, place.stored_length, 6))
    small, small_places = shelf.add_file(b"small")
    shelf.seal()
    built = build_extent_list(extents, packs=shelf)
    pieces = tuple(shelf.add(ChunkKind.EXTENT_LIST, raw) for raw, _ in built.pieces)
    shelf.seal()
    size = 4500 * 9 + extra
    entries = [file_at(b"long", size=size), Entry(b"small", EntryKind.FILE, 5, False, small, b"x" * 16)]
    root = store_built(entries, [EntryPlaces(lists=pieces), small_places], shelf, list_used={b"long": built.used})
    return backend, root, extents


def test_a_long_extent_list_is_read_in_full_and_names_packs_of_its_block(pool: ThreadPoolExecutor) -> None:
    backend, root, extents = long_file()
    counted = CountBackend(backend)
    tree = StoredTree(counted, root, pool=pool)
    found = tree.find(b"long")
    before = counted.counts.request_count
    read = tree.extents(found.places, found.block)
    assert counted.counts.request_count - before <= 3
    assert [(e.content_length, e.offset, e.first_chunk) for e in read] == [
        (e.content_length, e.offset, e.first_chunk) for e in extents
    ]
    named = {found.block.packs[e.pack] for e in read if e.pack != HOLE}
    assert len(named) > 1
    assert named < {row.pack for row in root.packs}
    small = tree.find(b"small")
    assert tree.extents(small.places, small.block) == small.places.extents


def test_an_extent_list_that_does_not_add_up_is_refused() -> None:  # fault 74
    backend, root, _ = long_file(extra=1)
    tree = StoredTree(backend, root, version=VERSION)
    found = tree.find(b"long")
    with pytest.raises(CorruptData, match="'long' does not add up") as caught:
        tree.extents(found.places, found.block)
    assert caught.value.versions == (VERSION,)


def test_an_extent_list_that_names_foreign_packs_is_refused() -> None:  # fault 141
    backend, root, _ = long_file()
    tree = StoredTree(backend, root)
    found = tree.find(b"long")
    poorer = Block(found.block.entries, found.block.places, (*found.block.packs[:-1], b"\x00" * 20))
    with pytest.raises(CorruptData):
        tree.extents(found.places, poorer)


# Damage


def first_block_range(root: Root) -> tuple[str, int, int]:
    stored = root.blocks[0].stored
    return pack_key(PackId(root.packs[stored.pack].pack)), stored.offset, stored.offset + stored.stored_length


def test_any_flipped_byte_of_a_block_is_reported_with_object_range_and_version(
    stored: tuple[MemoryBackend, Root],
) -> None:  # fault 77
    backend, root = stored
    key, start, end = first_block_range(root)
    whole = bytes(backend.get(key))
    for position in range(start, end, max(1, (end - start) // 60)):
        body = bytearray(whole)
        body[position] ^= 0x10
        tree = StoredTree(damaged(backend, key, bytes(body)), root, version=VERSION)
        with pytest.raises(CorruptData) as caught:
            tree.find(root.blocks[0].first_path)
        assert (caught.value.key, caught.value.byte_range, caught.value.versions) == (key, (start, end), (VERSION,))
        assert tree.block(1).entries


def test_a_pack_that_is_gone_is_named_with_the_version(stored: tuple[MemoryBackend, Root]) -> None:  # fault 79
    backend, root = stored
    key, _, _ = first_block_range(root)
    tree = StoredTree(damaged(backend, key, None), root, version=VERSION)
    with pytest.raises(CorruptData, match="gone") as caught:
        list(tree.entries())
    assert (caught.value.key, caught.value.versions) == (key, (VERSION,))


def test_a_pack_cut_short_is_named_with_the_version(stored: tuple[MemoryBackend, Root]) -> None:  # fault 78
    backend, root = stored
    key, start, _ = first_block_range(root)
    tree = StoredTree(damaged(backend, key, bytes(backend.get(key))[: start + 5]), root, version=VERSION)
    with pytest.raises(CorruptData) as caught:
        tree.block(0)
    assert (caught.value.key, caught.value.versions) == (key, (VERSION,))


def test_damage_met_by_threads_is_reported_alike(stored: tuple[MemoryBackend, Root], pool: ThreadPoolExecutor) -> None:
    backend, root = stored
    key, start, _ = first_block_range(root)
    body = bytearray(backend.get(key))
    body[start + 20] ^= 1
    tree = StoredTree(damaged(backend, key, bytes(body)), root, version=VERSION, pool=pool)
    with pytest.raises(CorruptData) as caught:
        list(tree.entries())
    assert caught.value.versions == (VERSION,)


def one_block(
    entries: list[Entry], *, first_path: bytes | None = None, count: int | None = None, content: bytes | None = None,
    foreign_pack: bool = False, then: list[Entry] | None = None, kind: ChunkKind = ChunkKind.BLOCK,
) -> StoredTree:  # fmt: skip
    """A version of one stored block (and maybe another), whose index says what the arguments say."""
    backend = MemoryBackend()
    shelf = PackShelf(backend)
    located = []
    for number, rows in enumerate([entries, then] if then else [entries]):
        packs = (b"\x09" * 20,) if foreign_pack else ()
        raw = encode_block(Block(tuple(rows), (NO_PLACES,) * len(rows), packs))
        chunk = shelf.add(kind, raw)
        digest = entries_digest(encode_entries(rows))
        located.append((rows, chunk, Digest(content if content and not number else digest)))
    shelf.seal()
    blocks = tuple(
        LocatedBlock(
            first_path=(first_path if first_path and not n else rows[0].path),
            entry_count=count if count and not n else len(rows),
            content_digest=digest,
            stored=chunk,
            holder=shelf.row(0),
            used=((shelf.row(0), chunk.stored_length),),
        )
        for n, (rows, chunk, digest) in enumerate(located)
    )
    total = sum(block.entry_count for block in blocks)
    about = msgspec.structs.replace(details([]).counts, files=total)
    named = RootDetails(cut=details([]).cut, counts=about, target="t", done_run=-1, nonce=bytes(16))
    return StoredTree(backend, store_index(BlockIndex(blocks=blocks), named, shelf), version=VERSION)


@pytest.mark.parametrize(
    ("tree", "error"),
    [
        pytest.param(lambda: one_block([file_at(b"a")], first_path=b"b"), CorruptData, id="first-path"),
        pytest.param(lambda: one_block([file_at(b"a")], count=2), CorruptData, id="entry-count"),
        pytest.param(lambda: one_block([file_at(b"a")], content=b"\x01" * 32), CorruptData, id="content-digest"),
        pytest.param(lambda: one_block([file_at(b"a")], foreign_pack=True), CorruptData, id="unnamed-pack"),
        pytest.param(lambda: one_block([file_at(b"a")], kind=ChunkKind.EXTENT_LIST), CorruptData, id="other-kind"),
        pytest.param(lambda: one_block([file_at(b"b"), file_at(b"a")]), UnsafeManifest, id="unsorted"),
        pytest.param(
            lambda: one_block([file_at(b"a"), file_at(b"c")], then=[file_at(b"b")]), UnsafeManifest, id="overlapping"
        ),
        pytest.param(
            lambda: one_block([link_at(b"a", b"/etc")], then=[file_at(b"a/b")]), UnsafeManifest, id="below-a-link"
        ),
    ],
)
def test_a_block_that_is_not_what_its_index_says_is_refused(tree, error) -> None:  # type: ignore[no-untyped-def]
    made = tree()
    with pytest.raises(error, match=VERSION):
        list(made.entries())
    with pytest.raises(error, match=VERSION):
        made.block(0)


def test_an_inline_block_is_held_against_its_digest() -> None:
    root = store_tree(MemoryBackend(), {b"a": b"1"})
    stored = msgspec.structs.replace(root.blocks[0].stored, digest=b"\x01" * 32)
    bad = msgspec.structs.replace(root, blocks=(msgspec.structs.replace(root.blocks[0], stored=stored),))
    with pytest.raises(CorruptData, match="digest"):
        StoredTree(MemoryBackend(), bad).find(b"a")


def test_an_interim_root_is_not_a_version() -> None:
    packs = [PackRow(bytes([n]) * 20, 1000, 81, 0) for n in range(2)]
    body = encode_interim_root(packs=packs, target=Name("n"), done_run=3, cut=CUT, nonce=bytes(16))
    root = decode_root(body)
    assert root.packs == tuple(packs)
    with pytest.raises(CorruptData, match="interim"):
        StoredTree(MemoryBackend(), root)


# Pages


@pytest.fixture(scope="module")
def huge() -> tuple[MemoryBackend, Root]:
    """A version of 10,500 blocks of one entry: its index lies in pages."""
    backend = MemoryBackend()
    shelf = PackShelf(backend)
    blocks = []
    for number in range(MAX_ROOT_BLOCKS + 500):
        entry = file_at(b"p/%06d" % number)
        chunk = shelf.add(ChunkKind.BLOCK, encode_block(Block((entry,), (NO_PLACES,), ())))
        blocks.append((entry, chunk))
    shelf.seal()
    located = tuple(
        LocatedBlock(
            first_path=entry.path,
            entry_count=1,
            content_digest=entries_digest(encode_entries([entry])),
            stored=chunk,
            holder=shelf.row(chunk.pack),
            used=((shelf.row(chunk.pack), chunk.stored_length),),
        )
        for entry, chunk in blocks
    )
    root = store_index(BlockIndex(blocks=located), details(entry for entry, _ in blocks), shelf)
    assert root.pages
    return backend, decode_root(encode_root(root))


def test_a_path_in_a_huge_version_costs_a_page_and_a_block(huge: tuple[MemoryBackend, Root]) -> None:
    backend, root = huge
    counted = CountBackend(backend)
    tree = StoredTree(counted, root)
    assert tree.block_count == MAX_ROOT_BLOCKS + 500
    assert tree.find(b"p/007777").entry.path == b"p/007777"
    assert counted.counts.request_count == 2
    assert tree.block_of(b"p/007777") == 7777
    for path in (b"p/000000", b"p/010499", *[page.first_path for page in root.pages]):
        assert tree.find(path).entry.path == path
    for path in (b"a", b"p", b"p/0077770", b"q"):
        with pytest.raises(PathNotFound):
            tree.find(path)


def test_a_huge_version_is_read_in_few_requests(huge: tuple[MemoryBackend, Root], pool: ThreadPoolExecutor) -> None:
    backend, root = huge
    counted = CountBackend(backend)
    tree = StoredTree(counted, root, pool=pool)
    assert len(tree.rows()) == tree.block_count
    assert counted.counts.request_count <= 2
    assert [entry.path for entry in tree.entries_of(range(9_900, 10_100))] == [
        b"p/%06d" % n for n in range(9_900, 10_100)
    ]


def test_pages_that_are_not_those_of_the_root_are_refused(huge: tuple[MemoryBackend, Root]) -> None:
    backend, root = huge
    replace = msgspec.structs.replace
    wrong = {
        "digest": replace(root, content_digest=b"\x01" * 32),
        "counts": replace(root, counts=Counts(files=5)),
        "missing-page": replace(root, pages=root.pages[:-1]),
        "swapped": replace(root, pages=(replace(root.pages[0], stored=root.pages[1].stored), *root.pages[1:])),
        "count": replace(root, pages=(replace(root.pages[0], block_count=1), *root.pages[1:])),
    }
    for name, bad in wrong.items():
        with pytest.raises(CorruptData, match=VERSION):
            StoredTree(backend, bad, version=VERSION).rows()
            pytest.fail(name)


def test_a_page_that_needs_a_pack_the_root_does_not_name_is_refused(huge: tuple[MemoryBackend, Root]) -> None:
    backend, root = huge  # fault 141
    page_pack = root.pages[0].stored.pack
    other = next(n for n in range(len(root.packs)) if n != page_pack)
    packs = tuple(
        PackRow(row.pack[:-1] + bytes([row.pack[-1] ^ 1]), row.object_bytes, row.table_bytes, 0) if n == other else row
        for n, row in enumerate(root.packs)
    )
    with pytest.raises(CorruptData, match="does not name"):
        StoredTree(backend, msgspec.structs.replace(root, packs=packs)).rows()
