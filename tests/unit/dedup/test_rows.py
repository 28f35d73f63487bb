"""Remembered files: when a row still stands for a file, and when it may not (faults 64, 104)."""

import dataclasses
from dataclasses import dataclass

import pytest

from artifactstore.dedup.rows import DirectoryRows, DirectoryRowsBuilder, decode_rows
from artifactstore.manifest.model import HOLE, NO_PLACES, Entry, EntryKind, EntryPlaces, Extent, StoredChunk

SECOND = 10**9
KEY = b"store and directory"
PACKS = [b"A" * 20, b"B" * 20, b"C" * 20]


@dataclass(frozen=True)
class File:
    """A file as a scan or a pull sees it."""

    path: bytes = b"dir/name"
    size: int = 5
    inode: int = 7
    mtime_ns: int = 100 * SECOND
    ctime_ns: int = 100 * SECOND


def remembered(
    *files: File, observed_at: float = 200.0, places: EntryPlaces = NO_PLACES, digest: bytes = b"d" * 32
) -> DirectoryRows:
    builder = DirectoryRowsBuilder(observed_at=observed_at)
    for file in files:
        builder.add(file, digest=digest, xxh3=b"x" * 16, places=places, pack_id=PACKS.__getitem__)
    return builder.build()


def test_an_untouched_file_is_found_with_its_digest_and_places() -> None:
    places = EntryPlaces((Extent(2, 3, 4, 500, 600, 700), Extent(HOLE, 0, 2, 99, 0, 198)))
    rows = remembered(File(), places=places)
    row = rows.find(File())
    assert row == 0
    assert rows.digest(0) == b"d" * 32
    assert rows.entry(0, b"dir/name", executable=True) == Entry(
        b"dir/name", EntryKind.FILE, 5, True, b"d" * 32, b"x" * 16
    )
    assert rows.packs == (PACKS[2],)
    assert rows.places(0) == EntryPlaces((Extent(0, 3, 4, 500, 600, 700), Extent(HOLE, 0, 2, 99, 0, 198)))


def test_long_extent_lists_bring_their_packs() -> None:
    rows = remembered(File(), places=EntryPlaces((), (StoredChunk(1, 2, 3, 4, b"l" * 32),)))
    assert (rows.packs, rows.places(0).lists[0].pack) == ((PACKS[1],), 0)


@pytest.mark.parametrize("field", ["size", "inode", "mtime_ns", "ctime_ns"])
def test_a_file_that_differs_in_one_of_its_four_marks_is_read_again(field: str) -> None:
    """Fault 64: a content that was swapped under an old mtime still has a new ctime."""
    rows = remembered(File())
    for step in (-1, 1):
        changed = dataclasses.replace(File(), **{field: getattr(File(), field) + step})
        assert rows.find(changed) is None


@pytest.mark.parametrize("field", ["mtime_ns", "ctime_ns"])
@pytest.mark.parametrize(("age_seconds", "is_clean"), [(1.0, False), (2.0, False), (2.5, True), (-50.0, False)])
def test_a_file_changed_shortly_before_it_was_looked_at_is_never_clean(
    field: str, age_seconds: float, is_clean: bool
) -> None:
    """Fault 64: it may change again within the resolution of its timestamps, or has a time in the future."""
    file = dataclasses.replace(File(), **{field: int((200 - age_seconds) * SECOND)})
    assert (remembered(file).find(file) is not None) == is_clean


def test_time_that_passes_after_the_look_does_not_make_a_row_clean() -> None:
    """The flag is recorded: when the row is loaded plays no part."""
    file = dataclasses.replace(File(), mtime_ns=199 * SECOND)
    loaded = decode_rows(remembered(file).encode(KEY), KEY)
    assert loaded is not None
    assert loaded.find(file) is None


def test_rows_know_files_by_name_wherever_the_push_began() -> None:
    rows = remembered(File(path=b"a/b/name"))
    assert rows.find(File(path=b"name")) == 0
    assert rows.find(File(path=b"a/b/other")) is None


def test_names_are_any_bytes_and_times_may_lie_before_1970() -> None:
    files = [File(path=b"\xff\n", mtime_ns=-5), File(path=b" "), File(path=b"x", inode=2**64 - 1, size=2**63 - 1)]
    loaded = decode_rows(remembered(*files).encode(KEY), KEY)
    assert loaded is not None
    assert [loaded.find(file) for file in files] == [0, 1, 2]
    assert loaded.names == (b"\xff\n", b" ", b"x")


def test_an_empty_directory_has_no_rows() -> None:
    loaded = decode_rows(remembered().encode(KEY), KEY)
    assert loaded is not None
    assert len(loaded) == 0
    assert loaded.find(File()) is None


def test_any_flipped_or_missing_byte_makes_rows_a_miss() -> None:
    """Fault 104."""
    data = remembered(File(), places=EntryPlaces((Extent(0, 3, 4, 500, 600, 700),))).encode(KEY)
    assert decode_rows(data, KEY) is not None
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1
        assert decode_rows(bytes(flipped), KEY) is None
        assert decode_rows(data[:position], KEY) is None


def test_rows_of_one_directory_are_not_taken_for_those_of_another() -> None:
    assert decode_rows(remembered(File()).encode(KEY), KEY + b"/below") is None
