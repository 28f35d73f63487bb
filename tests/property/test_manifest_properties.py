"""Manifests under hypothesis: round trips, arbitrary bytes, and simple oracles for order, safety and difference."""

import itertools
from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.backend.memory import MemoryBackend
from artifactstore.digest import CHUNK_CONTEXT, digest_of
from artifactstore.errors import CorruptData, UnsafeManifest, UnsupportedFormat
from artifactstore.manifest import cuts
from artifactstore.manifest.diff import diff_entries
from artifactstore.manifest.format import (
    FileDigester,
    block_content_digest,
    decode_block,
    decode_entries_only,
    decode_extent_list,
    decode_index_page,
    decode_root,
    encode_block,
    encode_entries,
    encode_extent_list,
    encode_root,
    entries_digest,
    file_digest,
)
from artifactstore.manifest.model import NO_PLACES, Block, Entry, EntryKind, Extent
from artifactstore.manifest.paths import check_entries, folded, folding_twins, path_sort_key, unsafe_reason
from artifactstore.testing.hostile_manifests import file_at
from artifactstore.testing.manifest_strategies import blocks, extents_of, pack_lists, paths, states
from artifactstore.testing.stored_manifests import PackShelf, store_built, store_rows
from artifactstore.tree import StoredTree


@given(blocks())
def test_blocks_come_back_as_they_were(block: Block) -> None:
    raw = encode_block(block)
    assert decode_block(raw) == block
    assert decode_entries_only(raw) == block.entries
    assert block_content_digest(raw) == entries_digest(encode_entries(block.entries))


@given(st.lists(st.integers(1, 1 << 50).flatmap(extents_of), min_size=1, max_size=80), pack_lists)
def test_extent_lists_come_back_as_they_were(extents: list[Extent], packs: tuple[bytes, ...]) -> None:
    assert decode_extent_list(encode_extent_list(extents, packs)) == (tuple(extents), packs)


_documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=30,
)
_noise = st.binary(max_size=200) | _documents.map(msgspec.msgpack.encode)
_noisy_blocks = st.tuples(_noise, _noise).map(msgspec.msgpack.encode) | _noise


@given(_noisy_blocks)
def test_arbitrary_bytes_raise_only_the_documented_error(raw: bytes) -> None:  # faults 73, 87
    for decode in (decode_block, decode_entries_only, decode_extent_list, decode_index_page, block_content_digest):
        try:
            decode(raw)
        except CorruptData as error:
            assert str(error)


@given(_noise, st.sampled_from([0, 1, 2]))
def test_arbitrary_roots_raise_only_the_documented_errors(document: bytes, codec: int) -> None:  # faults 75, 87
    data = b"ASTROOT\x01" + bytes([codec]) + len(document).to_bytes(4, "little") + document
    for candidate in (data, document):
        try:
            decode_root(candidate)
        except (CorruptData, UnsupportedFormat) as error:
            assert str(error)


@given(blocks(), st.data())
def test_a_changed_block_is_refused_or_another_sound_block(block: Block, data: st.DataObject) -> None:
    raw = bytearray(encode_block(block))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode_block(raw)
    except CorruptData:
        return
    assert encode_block(found) == raw


@given(states())
def test_states_are_taken(state: list[Entry]) -> None:
    check_entries(state)


@given(st.lists(st.one_of(paths, st.binary(max_size=6), st.sampled_from([b"a", b"a/b", b"a-", b"/", b"..", b"a//b"]))))
def test_paths_are_taken_just_where_the_plain_rules_say_so(candidates: list[bytes]) -> None:
    # Faults 65, 66, 70, 71, against rules written down the slow way.
    components = [path.split(b"/") for path in candidates]
    is_sound = (
        all(unsafe_reason(path) is None for path in candidates)
        and all(one < two for one, two in itertools.pairwise(components))
        and not any(
            two[: len(one)] == one for i, one in enumerate(components) for j, two in enumerate(components) if i != j
        )
    )
    try:
        check_entries([file_at(path) for path in candidates])
    except UnsafeManifest:
        assert not is_sound
    else:
        assert is_sound


@given(st.lists(paths, max_size=30))
def test_sorting_by_key_is_sorting_by_components(candidates: list[bytes]) -> None:
    assert sorted(candidates, key=path_sort_key) == sorted(candidates, key=lambda path: path.split(b"/"))


@given(st.sets(paths, max_size=12))
def test_twins_are_found_just_where_prefixes_fold_alike(candidates: set[bytes]) -> None:  # fault 60
    prefixes = {
        b"/".join(parts[:n]) for path in candidates for parts in [path.split(b"/")] for n in range(1, len(parts) + 1)
    }
    twins = folding_twins(sorted(candidates, key=path_sort_key))
    assert bool(twins) == (len({folded(prefix) for prefix in prefixes}) < len(prefixes))
    assert all(folded(one) == folded(two) and one != two for one, two in twins)


@given(st.lists(st.tuples(st.sampled_from([b"", b"a", b"b"]), st.integers(1, 3), st.integers(0, 5)), max_size=20))
def test_file_digests_do_not_depend_on_how_runs_are_added(runs: list[tuple[bytes, int, int]]) -> None:
    chunks = []
    digester = FileDigester()
    for content, length, count in runs:
        digest = digest_of(CHUNK_CONTEXT, content)
        digester.add_repeated(digest, length, count)
        chunks += [(digest, length)] * count
    assert digester.digest() == file_digest(chunks)


def _apart(state: Sequence[Entry]) -> dict[bytes, Entry]:
    return {entry.path: entry for entry in state}


@given(states(), states(), st.data())
def test_differences_are_those_of_two_dicts(old: list[Entry], other: list[Entry], data: st.DataObject) -> None:
    # Mix the second state from both, so that they share most entries.
    mixed = {e.path: e for e in [*old, *other] if data.draw(st.booleans())}
    new: list[Entry] = []
    for path in sorted(mixed, key=path_sort_key):
        if not new or not path.startswith(new[-1].path + b"/"):
            new.append(mixed[path])
    found = {c.path: (c.kind.value, c.old, c.new) for c in diff_entries(old, new)}
    before, after = _apart(old), _apart(new)

    def lives_on(entry: Entry, there: dict[bytes, Entry]) -> bool:
        return entry.kind == EntryKind.DIRECTORY and any(path.startswith(entry.path + b"/") for path in there)

    expected = {}
    for path in before.keys() | after.keys():
        one, two = before.get(path), after.get(path)
        if one is None and two is not None and not lives_on(two, before):
            expected[path] = ("added", None, two)
        elif two is None and one is not None and not lives_on(one, after):
            expected[path] = ("removed", one, None)
        elif one is not None and two is not None and _differ(one, two):
            expected[path] = ("modified", one, two)
    assert found == expected
    assert list(found) == sorted(found, key=path_sort_key)


def _differ(one: Entry, two: Entry) -> bool:
    if one.kind == two.kind == EntryKind.FILE:
        return one.executable != two.executable or one.digest != two.digest
    return one != two


@given(st.lists(st.integers(0, 1 << 30), max_size=300), st.integers(1, 12), st.integers(1, 4000), st.data())
def test_cuts_cover_all_within_bounds_and_start_anew(
    numbers: list[int], max_rows: int, max_cost: int, data: st.DataObject
) -> None:
    names = [b"%d" % number for number in sorted(set(numbers))]
    costs = [data.draw(st.integers(1, 2000)) for _ in names]
    pieces = cuts.cut_rows(names, costs, mask=7, max_rows=max_rows, max_cost=max_cost)
    assert [n for piece in pieces for n in range(piece.start, piece.stop)] == list(range(len(names)))
    for piece in pieces:
        length = piece.stop - piece.start
        assert 1 <= length <= max_rows
        assert length == 1 or sum(costs[piece]) <= max_cost
    # A piece depends on nothing before it.
    for index, piece in enumerate(pieces):
        rest = cuts.cut_rows(names[piece.start :], costs[piece.start :], mask=7, max_rows=max_rows, max_cost=max_cost)
        assert [slice(p.start + piece.start, p.stop + piece.start) for p in rest] == pieces[index:]


@settings(max_examples=30)
@given(states(max_size=40))
def test_a_state_that_was_stored_is_read_back(state: list[Entry]) -> None:
    backend = MemoryBackend()
    empty = [msgspec.structs.replace(e, size=0) if e.kind == EntryKind.FILE else e for e in state]
    root = store_built(empty, [NO_PLACES] * len(empty), PackShelf(backend))
    tree = StoredTree(backend, decode_root(encode_root(root)))
    assert [entry for entry, _, _ in tree.entries()] == empty
    for entry in empty:
        assert tree.find(entry.path).entry == entry
        above = entry.path.rpartition(b"/")[0]
        expected = [e for e in empty if e.path.startswith(above + b"/")] if above else empty
        assert [e for e, _, _ in tree.below(above)] == expected


@given(states(max_size=5).filter(bool))
def test_rows_written_without_checks_are_read_back_too(state: list[Entry]) -> None:
    empty = [msgspec.structs.replace(e, size=0) if e.kind == EntryKind.FILE else e for e in state]
    tree = StoredTree(MemoryBackend(), decode_root(encode_root(store_rows(empty))))
    assert [entry for entry, _, _ in tree.entries()] == empty
