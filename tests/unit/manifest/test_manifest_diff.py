"""What differs between two states, and which blocks must be loaded to know."""

import msgspec

from artifactstore.backend.memory import MemoryBackend
from artifactstore.manifest.diff import (
    Change,
    ChangeKind,
    Sameness,
    diff_blocks,
    diff_entries,
    plan_diff,
    same_content,
)
from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.testing.hostile_manifests import file_at, link_at
from artifactstore.testing.stored_manifests import store_tree
from artifactstore.tree import StoredTree

DIRECTORY = EntryKind.DIRECTORY
replace = msgspec.structs.replace


def changes(old: list[Entry], new: list[Entry], **options: object) -> list[tuple[bytes, str]]:
    return [(c.path, c.kind.value) for c in diff_entries(old, new, **options)]  # type: ignore[arg-type]


def test_paths_on_one_side_only_are_added_or_removed_in_entry_order() -> None:
    old = [file_at(b"a"), file_at(b"b/x"), file_at(b"b-"), file_at(b"z")]
    new = [file_at(b"b/x"), file_at(b"b/y"), file_at(b"c"), file_at(b"z")]
    assert changes(old, new) == [(b"a", "removed"), (b"b/y", "added"), (b"b-", "removed"), (b"c", "added")]
    assert changes([], new) == [(e.path, "added") for e in new]
    assert changes(old, []) == [(e.path, "removed") for e in old]
    assert changes(old, old) == []


def test_a_change_carries_both_entries() -> None:
    old, new = file_at(b"a"), replace(file_at(b"a"), executable=True)
    assert list(diff_entries([old], [new])) == [Change(b"a", ChangeKind.MODIFIED, old, new)]


def test_kind_target_and_executable_bit_are_changes() -> None:
    old = [file_at(b"a"), link_at(b"b", b"x"), file_at(b"c")]
    new = [link_at(b"a", b"x"), link_at(b"b", b"y"), replace(file_at(b"c"), executable=True)]
    assert changes(old, new) == [(b"a", "modified"), (b"b", "modified"), (b"c", "modified")]


def test_a_file_that_becomes_a_directory_is_removed_and_its_files_added() -> None:
    assert changes([file_at(b"a")], [file_at(b"a/b")]) == [(b"a", "removed"), (b"a/b", "added")]


def test_an_empty_directory_that_fills_or_empties_is_no_change_of_its_own() -> None:
    empty, full = [Entry(b"d", DIRECTORY)], [file_at(b"d/x")]
    assert changes(empty, full) == [(b"d/x", "added")]
    assert changes(full, empty) == [(b"d/x", "removed")]
    assert changes(empty, [file_at(b"dx")]) == [(b"d", "removed"), (b"dx", "added")]


def test_digests_decide_under_one_cut_and_only_disprove_across_two() -> None:
    old = file_at(b"a", size=5)
    other = replace(old, digest=b"\x01" * 32)
    assert same_content(old, old, same_cut=False) is Sameness.SAME
    assert same_content(old, other, same_cut=True) is Sameness.DIFFERENT
    assert same_content(old, other, same_cut=False) is Sameness.UNKNOWN
    assert same_content(old, replace(other, size=6), same_cut=False) is Sameness.DIFFERENT
    assert same_content(old, replace(other, xxh3=b"\x01" * 16), same_cut=False) is Sameness.DIFFERENT


def test_what_entries_can_not_tell_is_asked_and_else_counts_as_modified() -> None:
    old = file_at(b"a", size=5)
    new = replace(old, digest=b"\x01" * 32)
    assert changes([old], [new], same_cut=False) == [(b"a", "modified")]
    asked: list[tuple[Entry, Entry]] = []

    def look(one: Entry, two: Entry) -> bool:
        asked.append((one, two))
        return False

    assert changes([old], [new], same_cut=False, undecided=look) == []
    assert asked == [(old, new)]


def test_blocks_that_both_have_are_not_loaded() -> None:
    contents = {b"d/%05d" % n: b"" for n in range(5000)}
    one, two = MemoryBackend(), MemoryBackend()
    old = StoredTree(one, store_tree(one, contents))
    edited = {**contents, b"d/02500": b"x", b"d/zz": b"y"}
    del edited[b"d/00000"]
    new = StoredTree(two, store_tree(two, edited))
    olds, news = plan_diff(old.rows(), new.rows())
    assert 1 <= len(olds) <= 4
    assert 1 <= len(news) <= 4
    assert plan_diff(old.rows(), old.rows()) == ([], [])
    found = [(c.path, c.kind.value) for c in diff_blocks(old, new)]
    assert found == [(b"d/00000", "removed"), (b"d/02500", "modified"), (b"d/zz", "added")]
