"""Reading one source file: all of one state of it, or an error (faults 43, 47-49, 51-53)."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from artifactstore.errors import SourceChanged
from artifactstore.transfer.read import MAX_ATTEMPTS, Segment, SourceReader
from artifactstore.transfer.scan import FollowLinks, ScanOptions, scan

MIB = 1 << 20


@pytest.mark.parametrize("content", [b"", b"x", b"abc" * 5000], ids=["empty", "one byte", "15 kB"])
def test_a_small_file_comes_back_whole_with_the_row_it_had(tmp_path: Path, content: bytes) -> None:
    """Fault 52."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file").write_bytes(content)
    found = scan([tmp_path]).found[0]
    with SourceReader(scan([tmp_path])) as reader:
        data, seen = reader.read(found)
        assert (data, seen is found) == (content, True)
        buffer = bytearray(1 << 16)
        assert reader.read_into(found, memoryview(buffer)) is found
        assert buffer[: len(content)] == content


def test_a_file_changed_since_the_scan_is_read_as_it_is_now_and_says_so(tmp_path: Path) -> None:
    """Fault 47: what comes back is the row to record, never the scan's."""
    (tmp_path / "file").write_bytes(b"before")
    result = scan([tmp_path])
    (tmp_path / "file").write_bytes(b"and after")
    with SourceReader(result) as reader:
        data, seen = reader.read(result.found[0])
    assert data == b"and after"
    assert seen == scan([tmp_path]).found[0]
    assert seen != result.found[0]


def test_a_file_replaced_by_another_file_is_read_as_it_is_now(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"before")
    result = scan([tmp_path])
    (tmp_path / "new").write_bytes(b"after")
    (tmp_path / "new").rename(tmp_path / "file")
    with SourceReader(result) as reader:
        data, seen = reader.read(result.found[0])
    assert (data, seen.inode) == (b"after", (tmp_path / "file").stat().st_ino)


def vanish(path: Path) -> None:
    path.unlink()


def become_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def become_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def become_link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


@pytest.mark.parametrize("replace", [vanish, become_directory, become_fifo, become_link])
def test_a_file_that_something_else_took_the_place_of_is_an_error_and_never_a_wait(
    tmp_path: Path, replace: Callable[[Path], None]
) -> None:
    """Fault 48; a FIFO without a writer would block a plain open for ever (fault 53)."""
    (tmp_path / "file").write_bytes(b"content")
    result = scan([tmp_path])
    replace(tmp_path / "file")
    with SourceReader(result) as reader, pytest.raises(SourceChanged, match="file"):
        reader.read(result.found[0])
    with SourceReader(result) as reader, pytest.raises(SourceChanged, match="file"):
        reader.open(result.found[0])


@pytest.mark.parametrize("target", ["secret", "moved"])
def test_a_directory_on_the_way_swapped_for_a_link_is_not_gone_through(tmp_path: Path, target: str) -> None:
    """Fault 48: a link in place of a directory would lead the reader out of the tree, even to the directory itself."""
    (tmp_path / "tree/d").mkdir(parents=True)
    (tmp_path / "tree/d/file").write_bytes(b"mine")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/file").write_bytes(b"theirs")
    result = scan([tmp_path / "tree"])
    (tmp_path / "tree/d").rename(tmp_path / "moved")
    (tmp_path / "tree/d").symlink_to(tmp_path / target)
    with SourceReader(result) as reader, pytest.raises(SourceChanged, match="replaced by a link"):
        reader.read(result.found[0])


def test_a_directory_on_the_way_replaced_by_another_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/file").write_bytes(b"mine")
    result = scan([tmp_path])
    (tmp_path / "d").rename(tmp_path / "old")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/file").write_bytes(b"other")
    with SourceReader(result) as reader, pytest.raises(SourceChanged, match="replaced"):
        reader.read(result.found[0])


def test_followed_links_are_read_through(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/one").write_bytes(b"content")
    (tmp_path / "farm").mkdir()
    (tmp_path / "farm/file").symlink_to("../cache/one")
    (tmp_path / "farm/dir").symlink_to("../cache")
    result = scan([tmp_path / "farm"], options=ScanOptions(follow_links=FollowLinks.ALWAYS))
    with SourceReader(result) as reader:
        assert [reader.read(found)[0] for found in result.found] == [b"content", b"content"]


def test_a_large_file_is_read_at_any_offset_and_never_past_the_size_it_had(tmp_path: Path) -> None:
    """Fault 49: a log that grows for ever ends where it ended when it was opened."""
    path = tmp_path / "log"
    path.write_bytes(bytes(range(256)) * 64)
    result = scan([tmp_path])
    with SourceReader(result) as reader, reader.open(result.found[0]) as source:
        with path.open("ab") as growing:
            growing.write(b"more" * 1000)
        buffer = memoryview(bytearray(1 << 20))
        assert source.size == 16384
        assert source.read_at(0, buffer) == 16384
        assert source.read_at(16000, buffer) == 384
        assert source.read_at(16384, buffer) == 0
        assert bytes(buffer[:3]) == bytes(range(128, 131))
        assert source.finish() is None


def test_a_file_truncated_while_open_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    result = scan([tmp_path])
    with SourceReader(result) as reader, reader.open(result.found[0]) as source:
        os.truncate(path, 10)
        assert source.read_at(0, memoryview(bytearray(1000))) == 10
        assert source.finish() is None


def test_a_file_left_alone_while_open_counts(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1000)
    result = scan([tmp_path])
    with SourceReader(result) as reader, reader.open(result.found[0]) as source:
        source.read_at(0, memoryview(bytearray(1000)))
        assert source.finish() is result.found[0]


def test_holes_and_data_of_a_sparse_file_cover_it_all(tmp_path: Path) -> None:
    """Fault 51."""
    path = tmp_path / "sparse"
    with path.open("wb") as stream:
        stream.seek(8 * MIB)
        stream.write(b"data" * 4096)
        stream.truncate(1 << 40)
    result = scan([tmp_path])
    with SourceReader(result) as reader, reader.open(result.found[0]) as source:
        segments = source.segments()
    assert [segment.is_hole for segment in segments] == [True, False, True]
    assert segments[0] == Segment(0, segments[1].start, True)
    assert segments[1].start <= 8 * MIB < 8 * MIB + 16384 <= segments[2].start
    assert segments[2].start + segments[2].length == 1 << 40 == result.found[0].size


@pytest.mark.parametrize("size", [0, 1, 5 * MIB])
def test_a_dense_file_is_one_segment_or_none(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(os.urandom(size))
    result = scan([tmp_path])
    with SourceReader(result) as reader, reader.open(result.found[0]) as source:
        assert source.segments() == ([Segment(0, size, False)] if size else [])


def test_a_file_of_holes_only_is_one_hole(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as stream:
        stream.truncate(MIB)
    result = scan([tmp_path])
    with SourceReader(result) as reader, reader.open(result.found[0]) as source:
        assert source.segments() == [Segment(0, MIB, True)]


def test_a_file_too_large_for_the_buffer_is_not_cut_short(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 10)
    result = scan([tmp_path])
    (tmp_path / "file").write_bytes(b"x" * 100)
    with SourceReader(result) as reader, pytest.raises(SourceChanged):
        reader.read_into(result.found[0], memoryview(bytearray(10)))


def test_a_single_named_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "other").write_bytes(b"second")
    result = scan([tmp_path / "other", tmp_path / "file"])
    with SourceReader(result) as reader:
        assert [reader.read(found)[0] for found in result.found] == [b"content", b"second"]


def test_a_named_link_to_a_file_is_read_through_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_bytes(b"content")
    (tmp_path / "named").symlink_to("real/file")
    result = scan([tmp_path / "named"])
    assert result.found[0].path == b"named"
    with SourceReader(result) as reader:
        assert reader.read(result.found[0])[0] == b"content"


def test_many_threads_read_one_scan_and_leave_no_handle_open(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"d{number}").mkdir()
        (tmp_path / f"d{number}/file").write_bytes(b"%d" % number)
    result = scan([tmp_path])
    before = len(os.listdir("/dev/fd"))
    wrong: list[bytes] = []

    def read_all(offset: int) -> None:
        for found in result.found[offset:] + result.found[:offset]:
            data, _ = reader.read(found)
            if b"d%s/file" % data != found.path:
                wrong.append(found.path)

    with SourceReader(result) as reader:
        threads = [threading.Thread(target=read_all, args=(30 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert len(os.listdir("/dev/fd")) == before


def test_closing_twice_is_fine_and_reading_again_opens_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    result = scan([tmp_path])
    reader = SourceReader(result)
    reader.read(result.found[0])
    reader.close()
    reader.close()
    assert reader.read(result.found[0])[0] == b"content"
    reader.close()


def test_a_file_that_changes_under_each_read_is_an_error_after_a_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 47."""
    path = tmp_path / "busy"
    path.write_bytes(b"0")
    result = scan([tmp_path])
    reads: list[int] = []
    read_now = os.read

    def read_and_change(handle: int, count: int) -> bytes:
        data = read_now(handle, count)
        reads.append(count)
        os.utime(path, ns=(len(reads), len(reads)))
        return data

    monkeypatch.setattr(os, "read", read_and_change)
    with SourceReader(result) as reader, pytest.raises(SourceChanged, match="busy kept changing"):
        reader.read(result.found[0])
    assert len(reads) == MAX_ATTEMPTS
