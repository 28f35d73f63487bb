"""Source files as batches of chunks: bounded reads, holes that are not read, files that change meanwhile."""

import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pytest

from artifactstore.chunking import Cutter
from artifactstore.digest import xxh3_of
from artifactstore.errors import SourceChanged, SourceError
from artifactstore.testing.stores import SMALL_CUT, Sparse, Tree, make_tree, small_limits
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transfer.feed import Batch, Feed
from artifactstore.transfer.found import Found, Scan
from artifactstore.transfer.read import OpenSource, SourceReader
from artifactstore.transfer.scan import scan


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_limits():
        yield


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[Tree], Scan]:
    def make(content: Tree) -> Scan:
        make_tree(tmp_path / "tree", content)
        return scan([tmp_path / "tree"])

    return make


class Read:
    """What a feed yields, put together again by path."""

    def __init__(self, found: Scan, *, before_batch: Callable[[], None] = lambda: None) -> None:
        self.content: dict[bytes, bytes] = {}
        self.ends: dict[bytes, list[int]] = {}
        self.xxh3: dict[bytes, bytes] = {}
        self.large: list[bytes] = []
        self.errors: dict[bytes, SourceError] = {}
        self.buffers: set[int] = set()
        paths = [each.path for each in found.found]
        with (
            SourceReader(found) as reader,
            Feed(
                reader,
                list(enumerate(found.found)),
                cut=SMALL_CUT,
                before_large=lambda row: self.large.append(paths[row]),
                on_unreadable=lambda row, error: self.errors.update({paths[row]: error}),
            ) as feed,
        ):
            for batch in chain(feed.batches(), feed.again()):
                before_batch()
                feed.fill(batch)
                self._take(batch, paths)
                feed.give_back(batch)

    def _take(self, batch: Batch, paths: list[bytes]) -> None:
        self.buffers.add(id(batch.view.obj))
        for piece in batch.pieces:
            path = paths[piece.row]
            content = self.content.setdefault(path, b"")
            ends = self.ends.setdefault(path, [])
            if piece.zeros is not None:
                length, count = piece.zeros
                ends += range(len(content) + length, len(content) + length * count + 1, length)
                content += bytes(length * count)
            else:
                ends += [len(content) + end - piece.start for end in piece.ends]
                content += bytes(batch.view[piece.start : piece.ends[-1]]) if piece.ends else b""
            self.content[path] = content
            if piece.is_final:
                self.xxh3[path] = piece.xxh3 or xxh3_of(content)
                if piece.seen is None:
                    del self.content[path], self.ends[path]


CONTENT: Tree = {
    b"empty": b"",
    b"one byte": b"x",
    b"one chunk": seeded_bytes("a", 256),
    b"a bit more": seeded_bytes("a", 257),
    b"just small": seeded_bytes("b", 4096),
    b"just large": seeded_bytes("b", 4097),
    b"windows": seeded_bytes("c", 50_000),
    b"whole windows": seeded_bytes("d", 16 << 10),
    b"zeros": bytes(30_000),
    b"hole": Sparse(200_000, ((100_000, b"x"),)),
    b"hole at the end": Sparse(100_000, ((0, seeded_bytes("e", 5000)),)),
    b"nothing but a hole": Sparse(1 << 20),
}


def test_pieces_put_together_are_the_files_cut_as_one_piece(tree: Callable[[Tree], Scan]) -> None:
    read = Read(tree(CONTENT))
    assert not read.errors
    for path, thing in CONTENT.items():
        content = thing.content if isinstance(thing, Sparse) else thing
        assert read.content[path] == content, path
        assert read.ends[path] == Cutter(SMALL_CUT).cuts(memoryview(content), final=True), path
        assert read.xxh3[path] == xxh3_of(content), path


def test_files_of_several_chunks_are_announced_before_they_are_read(tree: Callable[[Tree], Scan]) -> None:
    read = Read(tree(CONTENT))
    assert set(read.large) == {path for path in CONTENT if len(read.content[path]) > SMALL_CUT.min_bytes}


def test_buffers_are_used_again(tree: Callable[[Tree], Scan]) -> None:
    assert len(Read(tree({b"%d" % n: seeded_bytes(str(n), 9000) for n in range(20)})).buffers) <= 3


def test_holes_are_not_read(tree: Callable[[Tree], Scan], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 51: a file of one TiB costs what its data costs."""
    read_bytes = 0
    real = OpenSource.read_at

    def counted(self: OpenSource, start: int, buffer: memoryview) -> int:
        nonlocal read_bytes
        count = real(self, start, buffer)
        read_bytes += count
        return count

    monkeypatch.setattr(OpenSource, "read_at", counted)
    found = tree({b"sparse": Sparse(1 << 24, ((1 << 22, b"x"),))})
    assert found.found[0].size == 1 << 24
    Read(found)
    assert read_bytes < 1 << 18


@pytest.mark.parametrize("size", [100, 3000, 50_000])
def test_file_that_grows_is_read_to_the_size_it_had_when_it_was_opened(
    tree: Callable[[Tree], Scan], tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 49: a log that grows for ever ends."""
    found = tree({b"log": seeded_bytes("log", size)})
    real = OpenSource.read_at
    grown = 0

    def growing(self: OpenSource, start: int, buffer: memoryview) -> int:
        nonlocal grown
        grown += 1
        with (tmp_path / "tree" / "log").open("ab") as log:
            log.write(b"more" * 50)
        return real(self, start, buffer)

    monkeypatch.setattr(OpenSource, "read_at", growing)
    with (tmp_path / "tree" / "log").open("ab") as log:
        log.write(b"since the scan" * 1000)
    read = Read(found)
    # It changed under every attempt, or was whole before it grew again.
    assert grown < 60
    assert isinstance(read.errors.get(b"log"), SourceChanged)


def test_small_files_that_outgrew_their_batch_since_the_scan_are_read_all_the_same(
    tree: Callable[[Tree], Scan], tmp_path: Path
) -> None:
    """Fault 49: neither the one that grew nor those behind it in the buffer fail."""
    content = {b"%d" % n: seeded_bytes(str(n), 2000) for n in range(4)}
    found = tree(content)
    content[b"1"] = seeded_bytes("grown", 30_000)
    (tmp_path / "tree" / "1").write_bytes(content[b"1"])
    read = Read(found)
    assert not read.errors
    assert read.content == content


@pytest.mark.parametrize("size", [0, 1, 5000])
def test_small_file_that_changes_under_its_first_reads_is_read_as_it_is_in_the_end(
    tree: Callable[[Tree], Scan], tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 47: emptied meanwhile, too."""
    found = tree({b"1": seeded_bytes("1", 2000), b"2": b"x"})
    content = seeded_bytes("new", size)

    def changed(self: SourceReader, found: Found, buffer: memoryview) -> Found:
        monkeypatch.undo()
        (tmp_path / "tree" / "1").write_bytes(content)
        raise SourceChanged("it kept changing")

    with small_limits():
        monkeypatch.setattr(SourceReader, "read_into", changed)
        read = Read(found)
    assert read.content == {b"1": content, b"2": b"x"}
    assert read.xxh3[b"1"] == xxh3_of(content)


def test_file_that_changes_once_while_it_is_read_is_read_again(
    tree: Callable[[Tree], Scan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 47."""
    found = tree({b"file": seeded_bytes("old", 40_000), b"other": b"x"})
    changed = seeded_bytes("new", 41_000)
    real = OpenSource.finish
    times = 0

    def finish(self: OpenSource):  # type: ignore[no-untyped-def]
        nonlocal times
        times += 1
        if times == 1:
            (tmp_path / "tree" / "file").write_bytes(changed)
        return real(self)

    monkeypatch.setattr(OpenSource, "finish", finish)
    read = Read(found)
    assert times == 2
    assert read.content == {b"file": changed, b"other": b"x"}
    assert read.xxh3[b"file"] == xxh3_of(changed)


@pytest.mark.parametrize("size", [100, 3000, 50_000])
def test_file_that_is_gone_or_no_file_any_more_is_reported_and_the_others_are_read(
    tree: Callable[[Tree], Scan], tmp_path: Path, size: int
) -> None:
    """Fault 48: a FIFO in its place does not block either."""
    content = {name: seeded_bytes("x", size) for name in (b"1", b"2", b"3", b"4")}
    found = tree(content)
    (tmp_path / "tree" / "1").unlink()
    (tmp_path / "tree" / "2").unlink()
    os.mkfifo(tmp_path / "tree" / "2")
    (tmp_path / "tree" / "3").unlink()
    (tmp_path / "tree" / "3").symlink_to("4")
    read = Read(found)
    assert {path: type(error) for path, error in read.errors.items()} == dict.fromkeys(
        [b"1", b"2", b"3"], SourceChanged
    )
    assert read.content == {b"4": content[b"4"]}


def test_unreadable_disk_names_the_offset(tree: Callable[[Tree], Scan], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 43."""
    found = tree({b"bad": seeded_bytes("x", 50_000), b"good": seeded_bytes("y", 50_000)})
    real = os.preadv

    def failing(handle: int, buffers: list[memoryview], offset: int) -> int:
        if offset >= 16_000 and os.readlink(f"/proc/self/fd/{handle}").endswith("/bad"):
            raise OSError(5, "Input/output error")
        return real(handle, buffers, offset)

    monkeypatch.setattr(os, "preadv", failing)
    read = Read(found)
    assert list(read.errors) == [b"bad"]
    assert "at byte 16384" in str(read.errors[b"bad"])
    assert list(read.content) == [b"good"]
