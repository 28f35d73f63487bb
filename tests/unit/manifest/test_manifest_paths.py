"""Which paths and entries are refused, by which words, and how they are sorted."""

import pytest

from artifactstore.errors import UnsafeManifest
from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.manifest.paths import (
    check_entries,
    check_path,
    folding_twins,
    path_sort_key,
    shown,
    unsafe_reason,
)
from artifactstore.testing.hostile_manifests import file_at, link_at


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"", "is empty"),
        (b"/", "is absolute"),
        (b"/a", "is absolute"),
        (b"a/../b", "has a component '..'"),
        (b"./a", "has a component '.'"),
        (b"a//b", "has a component ''"),
        (b"a/", "has a component ''"),
        (b"a\0", "holds a NUL byte"),
        (b"x" * 256, "has a component of more than 255 bytes"),
        (b"/".join([b"x" * 255] * 257), "is longer than 65535 bytes"),
        (b"/".join([b"x"] * 1101), "is more than 1100 levels deep"),
        (b"a/.artifactstore-tmp-0/b", "which is ours"),
    ],
)
def test_unsafe_path_is_refused_by_both_ways_of_asking(path: bytes, reason: str) -> None:  # faults 59, 65, 71
    assert reason in (unsafe_reason(path) or "")
    with pytest.raises(UnsafeManifest):
        check_path(path)
    with pytest.raises(UnsafeManifest):
        check_entries([file_at(path)])


@pytest.mark.parametrize(
    "path",
    [
        b"a",
        b"...",
        b"..a",
        b"a..",
        b". ",
        b"~",
        b"-",
        b"\n",
        b"\\",
        b"C:",
        b"x" * 255,
        b"/".join([b"x"] * 1100),
        b"\xff",
    ],
)
def test_odd_path_is_taken_by_both_ways_of_asking(path: bytes) -> None:  # faults 57, 58, 59, 61
    check_path(path)
    check_entries([file_at(path)])


def test_messages_show_odd_paths_escaped_and_short() -> None:
    assert shown(b"a\x1b[2J\xff\n") == r"'a\x1b[2J\\xff\n'"
    assert len(shown(b"x" * 60_000)) < 300


def test_a_directory_walk_is_in_order_as_it_is() -> None:
    walk = [b"a", b"a-/x", b"a.txt", b"b/a", b"b/c/d", b"b/c-", b"b-", b"b/"]
    in_order = sorted(walk, key=path_sort_key)
    assert in_order == [b"a", b"a-/x", b"a.txt", b"b/", b"b/a", b"b/c/d", b"b/c-", b"b-"]
    assert in_order == sorted(walk, key=lambda path: path.split(b"/"))


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        ([b"a", b"a"], "stands there twice"),
        ([b"b", b"a"], "out of order"),
        ([b"a-", b"a/b"], "out of order"),
        ([b"a", b"a/b"], "lies below"),
        ([b"a", b"a/b/c/d"], "lies below"),
    ],
)
def test_neighbours_that_clash_are_refused(paths: list[bytes], reason: str) -> None:  # faults 66, 70
    with pytest.raises(UnsafeManifest, match=reason):
        check_entries([file_at(path) for path in paths])


@pytest.mark.parametrize("size", [4095, 4096, 4097, 8192])
def test_a_clash_across_internal_batches_is_found(size: int) -> None:
    entries = [file_at(b"%06d" % number) for number in range(size)]
    check_entries(iter(entries))
    with pytest.raises(UnsafeManifest, match="twice"):
        check_entries([*entries, entries[-1]])
    with pytest.raises(UnsafeManifest, match="below"):
        check_entries([*entries, file_at(entries[-1].path + b"/x")])


def test_no_entries_are_fine() -> None:
    check_entries([])


def test_a_field_that_does_not_fit_is_named_with_its_path() -> None:
    with pytest.raises(UnsafeManifest, match=r"'a/b': target is set"):
        check_entries([file_at(b"a/a"), Entry(b"a/b", EntryKind.DIRECTORY, target=b"x")])
    with pytest.raises(UnsafeManifest, match="kind is 9"):
        check_entries([Entry(b"a", 9)])
    with pytest.raises(UnsafeManifest, match="size is negative"):
        check_entries([file_at(b"a", size=-1)])


def test_twins_on_a_folding_file_system_are_found() -> None:  # fault 60
    decomposed = "cafe\N{COMBINING ACUTE ACCENT}".encode()
    composed = "caf\N{LATIN SMALL LETTER E WITH ACUTE}".encode()
    paths = [b"A", decomposed, composed, b"a", b"b", b"\xff", b"stra\xc3\x9fe", b"STRASSE"]
    assert folding_twins(paths) == [(decomposed, composed), (b"A", b"a"), (b"stra\xc3\x9fe", b"STRASSE")]


def test_directories_that_would_melt_into_one_are_twins() -> None:  # fault 60
    assert folding_twins([b"Data/a", b"data/b", b"data/c"]) == [(b"Data", b"data")]
    assert folding_twins([b"x/Data/a", b"x/data"]) == [(b"x/Data", b"x/data")]
    assert folding_twins([b"a/b", b"a/c", b"b/a", b"c"]) == []


def test_a_link_may_point_anywhere() -> None:
    check_entries([link_at(b"a", b"/etc/passwd"), link_at(b"b", b"../.."), link_at(b"c", b"\xff" * 300)])
