"""Pulls, end to end, out of a store in memory (faults 51, 52, 54, 56-58, 63)."""

import os
import random
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.backend.memory import MemoryBackend
from artifactstore.chunking import DEFAULT_CUT
from artifactstore.digest import Buffer, PackId
from artifactstore.errors import DestinationExists, DownloadConflict, PathNotFound
from artifactstore.manifest.model import Entry, Extent
from artifactstore.testing.stored_versions import Directory, File, Link, Thing, VersionMaker
from artifactstore.transfer.conflict import LocalFact
from artifactstore.transfer.destination import OccupiedDestination
from artifactstore.transfer.download import Means, download
from artifactstore.transfer.local_chunks import ChunkList, LocalFile
from artifactstore.transfer.pieces import LocalRun, StoredRun
from artifactstore.transfer.plan import ConflictStrategy, DownloadResult, PullOptions, SyncedFile
from artifactstore.transfer.progress import ProgressTotals
from artifactstore.transfer.survey import KnownPlaces

MIB = 1 << 20
SKIP = PullOptions(strategy=ConflictStrategy.SKIP)
NEW = PullOptions(strategy=ConflictStrategy.NEW)
REPLACE = PullOptions(strategy=ConflictStrategy.REPLACE)
SMALL_WINDOWS = Means(budget_bytes=1)


class Counting(MemoryBackend):
    """Counts requests, and refuses writes once it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges: list[tuple[str, int, int]] = []
        self.is_closed = False

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        self.ranges.append((key, start, length))
        return super().get_range(key, start, length)

    def put(self, key: str, body: Buffer) -> None:
        assert not self.is_closed, "a pull wrote to the store"
        super().put(key, body)


@pytest.fixture
def backend() -> Iterator[Counting]:
    yield Counting()


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


def read(root: Path) -> dict[bytes, Thing]:
    """What is below a directory, as a version would hold it."""
    found: dict[bytes, Thing] = {}
    top = os.fsencode(root)
    for folder, folders, files in os.walk(top):
        for name in [*files, *(f for f in folders if os.path.islink(os.path.join(folder, f)))]:
            path = os.path.join(folder, name)
            at = os.path.relpath(path, top)
            if os.path.islink(path):
                found[at] = Link(os.readlink(path))
            else:
                with open(path, "rb") as file:
                    found[at] = File(file.read(), executable=os.stat(path).st_mode & 0o100 != 0)
        if not folders and not files and folder != top:
            found[os.path.relpath(folder, top)] = Directory()
    return found


def files(things: Mapping[bytes, Thing]) -> dict[bytes, Thing]:
    return {p: File(t) if isinstance(t, bytes) else t for p, t in things.items()}


def put(root: Path, contents: Mapping[str, bytes]) -> None:
    for path, content in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


EVERYTHING: dict[bytes, Thing] = {
    b"empty": b"",
    b"small": b"hello",
    b"run.sh": File(b"#!/bin/sh\n", executable=True),
    b"link": Link(b"../outside/of/it"),
    b"dangling": Link(b"nowhere"),
    b"a/b/c/d": noise(1, 70_000),
    b"a/b-c": b"sorts before a/b/c by bytes, after it by components",
    b"a/empty": Directory(),
    b"odd \xff\n\x1b name": b"odd",
    b".git/config": b"[core]",
    b"chunks": noise(2, 600_000),
    b"large": noise(3, 10 * MIB),
    b"text": b"the same line over and over\n" * 400_000,
    b"same as large": noise(3, 10 * MIB),
    b"same as small": File(b"hello", executable=True),
    b"sparse": b"start" + bytes(5 * MIB) + b"middle" + bytes(3 * MIB),
}


class TestFresh:
    """Into nothing, or into an empty directory."""

    @pytest.mark.parametrize("empty", [False, True], ids=["absent", "empty"])
    @pytest.mark.parametrize("means", [Means(), SMALL_WINDOWS, Means(jobs=1)], ids=["default", "windows", "one job"])
    def test_every_kind_of_thing_comes_back_exactly(
        self, backend: Counting, tmp_path: Path, empty: bool, means: Means
    ) -> None:
        tree = VersionMaker(backend).make(EVERYTHING)
        backend.is_closed = True
        root = tmp_path / "dest"
        if empty:
            root.mkdir()
        result = download(tree, backend, root, means=means)
        assert read(root) == files(EVERYTHING)
        assert sorted(result.written) == sorted(EVERYTHING)
        assert os.listdir(tmp_path) == ["dest"]
        assert result.content_bytes == sum(len(t.content) for t in files(EVERYTHING).values() if isinstance(t, File))
        check_synced(result, root)

    def test_content_that_is_there_twice_is_fetched_once(self, backend: Counting, tmp_path: Path) -> None:
        content = noise(5, 3 * MIB)
        tree = VersionMaker(backend).make({b"%d" % n: content for n in range(5)})
        result = download(tree, backend, tmp_path / "dest")
        assert result.fetched_bytes < len(content) * 1.1
        assert result.content_bytes == 5 * len(content)

    def test_many_small_files_are_few_requests(self, backend: Counting, tmp_path: Path) -> None:
        tree = VersionMaker(backend).make({b"d%d/%d" % (n % 7, n): noise(n, 2000) for n in range(400)})
        backend.ranges.clear()
        download(tree, backend, tmp_path / "dest")
        content = [r for r in backend.ranges if r[2] > 100_000]
        assert len(content) == 1 and len(backend.ranges) <= 3

    def test_holes_are_restored_as_holes(self, backend: Counting, tmp_path: Path) -> None:
        tree = VersionMaker(backend).make({b"sparse": bytes(64 * MIB), b"tail": b"x" + bytes(32 * MIB)})
        result = download(tree, backend, tmp_path / "dest")
        assert result.fetched_bytes < MIB
        for name, size in (("sparse", 64 * MIB), ("tail", 32 * MIB + 1)):
            status = (tmp_path / "dest" / name).stat()
            assert status.st_size == size and status.st_blocks * 512 < 2 * MIB

    def test_a_version_of_nothing_makes_an_empty_directory(self, backend: Counting, tmp_path: Path) -> None:
        tree = VersionMaker(backend).make({b"d": Directory()})
        download(tree, backend, tmp_path / "dest", prefix=b"d")
        assert os.listdir(tmp_path / "dest") == []

    def test_the_last_synced_state_is_of_no_account(self, backend: Counting, tmp_path: Path) -> None:
        tree = VersionMaker(backend).make({b"x": b"1"})
        first = download(tree, backend, tmp_path / "dest")
        (tmp_path / "dest" / "x").unlink()
        download(tree, backend, tmp_path / "dest", base=first.entries)
        assert read(tmp_path / "dest") == {b"x": File(b"1")}

    def test_set_user_id_bits_are_never_written(self, backend: Counting, tmp_path: Path) -> None:  # fault 76
        tree = VersionMaker(backend).make({b"x": File(b"1", executable=True)})
        download(tree, backend, tmp_path / "dest")
        assert stat.S_IMODE((tmp_path / "dest" / "x").stat().st_mode) & 0o7000 == 0

    def test_a_dry_run_plans_and_writes_nothing(self, backend: Counting, tmp_path: Path) -> None:
        tree = VersionMaker(backend).make(EVERYTHING)
        result = download(tree, backend, tmp_path / "dest", options=PullOptions(dry_run=True))
        assert [w.path for w in result.plan.writes] == [e.path for e in result.entries]
        assert os.listdir(tmp_path) == [] and result.written == ()

    def test_durable_gives_the_same(self, backend: Counting, tmp_path: Path) -> None:
        tree = VersionMaker(backend).make({b"a/x": b"1", b"a/l": Link(b"x"), b"e": Directory()})
        for name in ("absent", "empty", "occupied"):
            if name != "absent":
                (tmp_path / name).mkdir()
            if name == "occupied":
                put(tmp_path / name, {"mine": b"mine"})
            download(tree, backend, tmp_path / name, options=PullOptions(durable=True))
            assert set(read(tmp_path / name)) - {b"mine"} == {b"a/x", b"a/l", b"e"}

    def test_progress_adds_up(self, backend: Counting, tmp_path: Path) -> None:
        totals = ProgressTotals()
        tree = VersionMaker(backend).make(EVERYTHING)
        result = download(tree, backend, tmp_path / "dest", means=Means(progress=totals))
        count = sum(isinstance(t, File) for t in files(EVERYTHING).values())
        assert (totals.files, totals.content_bytes) == (count, result.content_bytes)
        assert totals.phases[-1] == "downloading"


def check_synced(result: DownloadResult, root: Path) -> None:
    """What local state may record is what is there."""
    for row in result.synced:
        status = os.lstat(os.path.join(os.fsencode(root), row.path))
        seen = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        assert seen == (row.inode, row.size, row.mtime_ns, row.ctime_ns)
        assert row.entry.path == row.path and all(e.pack < len(row.packs) for e in row.places.extents)


class TestPart:
    """A path inside a version."""

    @pytest.mark.parametrize(
        ("prefix", "landed"),
        [(b"a", {b"b/x", b"b/y", b"l", b"z"}), (b"a/b", {b"x", b"y"}), (b"a/z", {b"z"}), (b"a/l", {b"l"})],
        ids=["directory", "deeper", "file", "link"],
    )
    def test_a_part_lands_without_the_path_above_it(
        self, backend: Counting, tmp_path: Path, prefix: bytes, landed: set[bytes]
    ) -> None:
        tree = VersionMaker(backend).make(
            {b"a/b/x": b"1", b"a/b/y": b"2", b"a/z": b"3", b"a/l": Link(b"z"), b"ab": b"4", b"b": b"5"}
        )
        result = download(tree, backend, tmp_path / "dest", prefix=prefix)
        assert read(tmp_path / "dest").keys() == landed == {e.path for e in result.entries}
        check_synced(result, tmp_path / "dest")

    def test_a_file_lands_in_a_large_directory_by_one_listing(self, backend: Counting, tmp_path: Path) -> None:
        put(tmp_path, {"other/deep/x": b"", "mine": b"mine"})
        tree = VersionMaker(backend).make({b"a/x": b"1"})
        (tmp_path / "other").chmod(0)  # would fail if it were looked into (not for root)
        try:
            download(tree, backend, tmp_path, prefix=b"a/x")
        finally:
            (tmp_path / "other").chmod(0o700)
        assert read(tmp_path).keys() == {b"x", b"mine", b"other/deep/x"}

    @pytest.mark.parametrize("prefix", [b"b", b"a/x/y", b"a/", b"A"])
    def test_a_part_that_is_not_there_is_an_error(self, backend: Counting, tmp_path: Path, prefix: bytes) -> None:
        tree = VersionMaker(backend).make({b"a/x": b"1"})
        with pytest.raises(PathNotFound):
            download(tree, backend, tmp_path / "dest", prefix=prefix)
        assert os.listdir(tmp_path) == []


SAME: dict[bytes, Thing] = {b"same": b"same", b"mine": b"1"}
V1 = SAME | {b"theirs": b"1", b"both": b"1", b"gone/x": b"1", b"l": Link(b"1")}
V2 = SAME | {b"theirs": b"2", b"both": b"2", b"new": b"2", b"l": Link(b"2")}


class TestOccupied:
    """Into a directory with something in it."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return tmp_path / "dest"

    def synced(self, backend: Counting, root: Path) -> tuple[VersionMaker, tuple[Entry, ...]]:
        """Pull the first version, then edit two of its files and add one."""
        maker = VersionMaker(backend)
        entries = download(maker.make(V1), backend, root).entries
        put(root, {"both": b"edited", "mine": b"edited too", "own/x": b"never synced"})
        return maker, entries

    def test_error_lists_conflicts_and_writes_nothing(self, backend: Counting, root: Path) -> None:
        maker, base = self.synced(backend, root)
        before, inodes = read(root), {p: p.lstat().st_ino for p in root.rglob("*")}
        with pytest.raises(DownloadConflict) as caught:
            download(maker.make(V2), backend, root, base=base)
        assert caught.value.paths == (b"both",)
        assert read(root) == before and inodes == {p: p.lstat().st_ino for p in root.rglob("*")}

    @pytest.mark.parametrize("strategy", [SKIP, NEW, REPLACE], ids=["skip", "new", "replace"])
    def test_each_strategy_ends_as_the_table_says(self, backend: Counting, root: Path, strategy: PullOptions) -> None:
        maker, base = self.synced(backend, root)
        result = download(maker.make(V2), backend, root, base=base, options=strategy)
        replaced = strategy is REPLACE
        expected = files(V2) | {
            b"both": File(b"2" if replaced else b"edited"),
            b"mine": File(b"1" if replaced else b"edited too"),
            b"own/x": File(b"never synced"),
        }
        [conflict] = result.conflicts
        if strategy is NEW:
            expected[conflict.beside] = File(b"2")
        assert read(root) == expected
        assert conflict.path == b"both" and result.removed == (b"gone/x", b"gone")
        assert result.kept == (() if replaced else (b"both", b"mine"))
        check_synced(result, root)
        again = download(maker.make(V2), backend, root, base=result.entries)
        assert again.plan.is_empty and read(root) == expected

    def test_without_a_base_equal_files_are_recognised_and_not_fetched(self, backend: Counting, root: Path) -> None:
        content = {b"one": noise(1, 1000), b"two": noise(2, 900_000), b"three": bytes(MIB), b"four": noise(4, 9 * MIB)}
        put(root, {p.decode(): c for p, c in content.items()})
        result = download(VersionMaker(backend).make(content), backend, root)
        assert result.plan.is_empty and result.fetched_bytes == 0
        assert result.reused_bytes == sum(map(len, content.values()))
        check_synced(result, root)
        assert {row.path for row in result.synced} == content.keys()

    def test_without_a_base_differing_files_are_conflicts(self, backend: Counting, root: Path) -> None:
        put(root, {"x": b"mine", "same": b"same"})
        tree = VersionMaker(backend).make({b"x": b"them", b"same": b"same", b"y": b"2"})
        with pytest.raises(DownloadConflict) as caught:
            download(tree, backend, root)
        assert caught.value.paths == (b"x",) and not (root / "y").exists()

    def test_files_that_are_known_are_not_read(self, backend: Counting, root: Path) -> None:
        tree = VersionMaker(backend).make({b"d/x": b"them"})
        put(root, {"d/x": b"them"})
        asked: list[bytes] = []

        class Known:
            def digest(self, path: bytes, fact: LocalFact) -> bytes:
                asked.append(path)
                return b"k" * 32

            def places(self, path: bytes, fact: LocalFact) -> KnownPlaces | None:
                return None

        with pytest.raises(DownloadConflict):  # it believes what it is told: another digest
            download(tree, backend, root, known=Known())
        assert asked == [b"d/x"]

    def test_a_changed_executable_bit_is_a_change(self, backend: Counting, root: Path) -> None:
        maker = VersionMaker(backend)
        put(root, {"mine": b""})
        first = download(maker.make({b"x": File(b"1")}), backend, root)
        download(maker.make({b"x": File(b"1", executable=True)}), backend, root, base=first.entries)
        assert read(root)[b"x"] == File(b"1", executable=True)

    def test_files_directories_and_links_take_each_others_places(self, backend: Counting, root: Path) -> None:
        maker = VersionMaker(backend)
        shapes: list[dict[bytes, Thing]] = [
            {b"p": b"file", b"q/x/1": b"1", b"q/y": b"2", b"r": Link(b"q"), b"s": Directory(), b"t": b"file"},
            {b"p/x/1": b"1", b"p/y": Link(b"x"), b"q": b"file", b"r/x": b"1", b"s": b"file", b"t": Link(b"p")},
            {b"p": Link(b"q"), b"q": Directory(), b"r": Directory(), b"s/x": b"1", b"t/x/y": b"1"},
            {b"p": Directory(), b"q/x": b"1", b"r": b"file", b"s": Link(b"nowhere"), b"t": b"file"},
        ]
        base: tuple[Entry, ...] = ()
        for shape in [*shapes, shapes[0], shapes[2], shapes[0]]:
            base = download(maker.make(shape), backend, root, base=base).entries
            assert read(root) == files(shape)

    def test_delete_removes_what_was_never_synced(self, backend: Counting, root: Path) -> None:
        maker, base = self.synced(backend, root)
        delete = PullOptions(strategy=ConflictStrategy.REPLACE, delete=True)
        result = download(maker.make(V2), backend, root, base=base, options=delete)
        assert read(root) == files(V2)
        assert {b"own/x", b"own"} <= set(result.removed)

    def test_delete_of_nearly_everything_wants_confirmation(self, backend: Counting, root: Path) -> None:  # fault 72
        put(root, {f"mine/{n}": b"" for n in range(9)})
        tree = VersionMaker(backend).make({b"x": b"1"})
        before = read(root)
        with pytest.raises(DestinationExists):
            download(tree, backend, root, options=PullOptions(delete=True))
        assert read(root) == before
        download(tree, backend, root, options=PullOptions(delete=True, confirm_delete=True))
        assert read(root) == {b"x": File(b"1")}

    def test_nothing_outside_is_deleted_through_a_link(self, backend: Counting, root: Path, tmp_path: Path) -> None:
        put(tmp_path, {"outside/x": b"theirs"})
        put(root, {"mine": b""})
        (root / "way").symlink_to("../outside")
        options = PullOptions(strategy=ConflictStrategy.REPLACE, delete=True, confirm_delete=True)
        download(VersionMaker(backend).make({b"way/y": b"1"}), backend, root, options=options)
        assert read(root) == {b"way/y": File(b"1")}
        assert read(tmp_path / "outside") == {b"x": File(b"theirs")}

    def test_a_pull_that_changes_nothing_touches_nothing(self, backend: Counting, root: Path) -> None:
        tree = VersionMaker(backend).make(V1)
        base = download(tree, backend, root).entries
        before = {p: p.lstat() for p in [root, *root.rglob("*")]}
        assert download(tree, backend, root, base=base).plan.is_empty
        assert {p: p.lstat().st_ctime_ns for p in before} == {p: s.st_ctime_ns for p, s in before.items()}


class TestReuse:
    """Chunks that an older version of a file still holds here."""

    OLD = noise(11, 12 * MIB)
    NEW = b"37 bytes that were put in at the front" + OLD[: 4 * MIB] + noise(12, 200_000) + OLD[4 * MIB + 200_000 :]

    @pytest.fixture(params=[Means(), SMALL_WINDOWS], ids=["default", "windows"])
    def means(self, request: pytest.FixtureRequest) -> Means:
        chosen: Means = request.param
        return chosen

    def test_only_the_difference_is_fetched(self, backend: Counting, tmp_path: Path, means: Means) -> None:
        maker = VersionMaker(backend)
        base = download(maker.make({b"x": self.OLD, b"y": b""}), backend, tmp_path / "dest").entries
        result = download(maker.make({b"x": self.NEW}), backend, tmp_path / "dest", base=base, means=means)
        assert (tmp_path / "dest" / "x").read_bytes() == self.NEW
        assert result.fetched_bytes < MIB and result.reused_bytes > 10 * MIB
        check_synced(result, tmp_path / "dest")

    def test_an_edited_file_serves_with_replace_too(self, backend: Counting, tmp_path: Path, means: Means) -> None:
        put(tmp_path / "dest", {"x": self.OLD[: 9 * MIB] + b"edited here"})
        tree = VersionMaker(backend).make({b"x": self.NEW})
        result = download(tree, backend, tmp_path / "dest", options=REPLACE, means=means)
        assert (tmp_path / "dest" / "x").read_bytes() == self.NEW
        assert 2 * MIB < result.fetched_bytes < 5 * MIB

    def test_what_the_local_file_no_longer_holds_is_fetched(
        self, backend: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        maker = VersionMaker(backend)
        base = download(maker.make({b"x": self.OLD}), backend, tmp_path / "dest").entries
        monkeypatch.setattr(LocalFile, "read", lambda self, run, buffer: list(range(len(run.chunks))))
        result = download(maker.make({b"x": self.NEW}), backend, tmp_path / "dest", base=base)
        assert (tmp_path / "dest" / "x").read_bytes() == self.NEW and result.reused_bytes == 0

    def test_a_table_that_is_gone_costs_the_saving_only(self, backend: Counting, tmp_path: Path) -> None:
        maker = VersionMaker(backend)
        base = download(maker.make({b"x": self.OLD}), backend, tmp_path / "dest").entries
        tree = maker.make({b"x": self.NEW})
        tails = {row.pack: row for row in tree.root.packs}
        tree.root = msgspec.structs.replace(  # type: ignore[misc]
            tree.root, packs=tuple(msgspec.structs.replace(r, table_bytes=r.table_bytes + 41) for r in tails.values())
        )
        tree._pack_rows = {r.pack: r for r in tree.root.packs}  # type: ignore[misc]
        result = download(tree, backend, tmp_path / "dest", base=base)
        assert (tmp_path / "dest" / "x").read_bytes() == self.NEW and result.reused_bytes == 0

    def test_a_run_is_only_taken_where_it_hashes_to_what_it_should(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_bytes(self.OLD)
        file = LocalFile(os.open(path, os.O_RDONLY), cut=DEFAULT_CUT)
        chunks = file.listed()
        assert chunks is not None and sum(chunks.lengths) == len(self.OLD)
        last = chunks[len(chunks) - 2]
        pair = [chunks[len(chunks) - 2], chunks[len(chunks) - 1]]
        rest = len(self.OLD) - last.start
        run = LocalRun(last.start, tuple((c.digest, c.length, 0) for c in pair), StoredRun(PackId(b""), 0, 0, 2, rest))
        buffer = memoryview(bytearray(rest))
        assert file.read(run, buffer) == [] and buffer == self.OLD[last.start :]
        assert all(map(file.holds, chunks.samples(5)))
        path.write_bytes(self.OLD[:-1] + b"!")
        assert file.read(run, buffer) == [1] and file.listed() is None
        path.write_bytes(self.OLD[:-1])
        assert file.read(run, buffer) == [1] and not file.holds(pair[1]) and file.holds(pair[0])
        path.write_bytes(b"")
        assert file.read(run, buffer) == [0, 1]
        assert file.read(run._replace(offset=1 << 63), buffer) == [0, 1]
        file.close()


class Lying:
    """Knows the digests of files, and says that their content lies where it may not."""

    def __init__(self, result: DownloadResult, places: Callable[[SyncedFile], KnownPlaces | None]) -> None:
        self._files = {file.path: file for file in result.synced}
        self._places = places

    def digest(self, path: bytes, fact: LocalFact) -> bytes:
        return self._files[path].entry.digest

    def places(self, path: bytes, fact: LocalFact) -> KnownPlaces | None:
        return self._places(self._files[path])


class Misled(Lying):
    """Takes every file for another one than it is."""

    def digest(self, path: bytes, fact: LocalFact) -> bytes:
        return b"?" * 32


def truth(file: SyncedFile) -> KnownPlaces:
    return KnownPlaces(file.places.extents, file.packs)


def edited(content: bytes, edits: list[tuple[float, int, int]]) -> bytes:
    """At a share of its length, so many bytes go and so many come."""
    for number, (at, gone, come) in enumerate(edits):
        start = int(at * len(content))
        content = content[:start] + noise(900 + number, come) + content[start + gone :]
    return content


class TestRemembered:
    """Local state says where the content of old files lies: a guess that saves reading them."""

    OLD = noise(21, 6 * MIB)
    NEW = OLD[: 2 * MIB] + noise(22, 65_536) + OLD[2 * MIB + 65_536 :]

    @pytest.fixture
    def reads(self, monkeypatch: pytest.MonkeyPatch) -> list[LocalFile]:
        """Files that were read and cut as a whole."""
        seen: list[LocalFile] = []
        listed = LocalFile.listed

        def noted(file: LocalFile) -> ChunkList | None:
            seen.append(file)
            return listed(file)

        monkeypatch.setattr(LocalFile, "listed", noted)
        return seen

    def pull(
        self, backend: Counting, root: Path, new: bytes, places: Callable[[SyncedFile], KnownPlaces | None]
    ) -> DownloadResult:
        maker = VersionMaker(backend)
        first = download(maker.make({b"x": self.OLD}), backend, root)
        known = Lying(first, places)
        result = download(maker.make({b"x": new, b"y": b"2"}), backend, root, base=first.entries, known=known)
        assert (root / "x").read_bytes() == new
        check_synced(result, root)
        return result

    @pytest.mark.parametrize("new", [NEW, b"37 bytes at the front" + OLD, OLD[: 4 * MIB]], ids=["in", "front", "cut"])
    def test_an_old_file_is_not_read_to_find_out_what_it_holds(
        self, backend: Counting, tmp_path: Path, reads: list[LocalFile], new: bytes
    ) -> None:
        result = self.pull(backend, tmp_path / "dest", new, truth)
        assert not reads and result.fetched_bytes < MIB
        assert result.reused_bytes > len(new) - MIB

    def test_a_file_that_was_read_to_compare_it_is_not_read_again(
        self, backend: Counting, tmp_path: Path, reads: list[LocalFile]
    ) -> None:
        maker = VersionMaker(backend)
        put(tmp_path / "dest", {"x": self.OLD})
        [base] = [entry for entry, _, _ in maker.make({b"x": self.OLD}).entries()]
        result = download(maker.make({b"x": self.NEW}), backend, tmp_path / "dest", base=[base])
        assert (tmp_path / "dest" / "x").read_bytes() == self.NEW
        assert len(reads) == 1 and result.fetched_bytes < MIB

    @pytest.mark.parametrize(
        "lie",
        [
            lambda file: KnownPlaces(file.places.extents[::-1], file.packs),
            lambda file: KnownPlaces(file.places.extents, file.packs[::-1]),
            lambda file: KnownPlaces(file.places.extents, [b"?" * 20 for _ in file.packs]),
            lambda file: KnownPlaces(file.places.extents, []),
            lambda file: KnownPlaces([Extent(0, 60_000, 7, 64, 10, 10)], file.packs),
            lambda file: KnownPlaces([Extent(-1, 0, 1, 1 << 40, 0, 1 << 40), *file.places.extents], file.packs),
            lambda file: KnownPlaces([*file.places.extents, *file.places.extents], file.packs),
            lambda file: None,
        ],
        ids=["order", "packs", "unknown packs", "no packs", "beyond", "shifted", "twice", "nothing"],
    )
    def test_state_that_lies_costs_reading_the_file_only(
        self, backend: Counting, tmp_path: Path, lie: Callable[[SyncedFile], KnownPlaces | None]
    ) -> None:
        assert self.pull(backend, tmp_path / "dest", self.NEW, lie).fetched_bytes < MIB

    def test_where_a_few_chunks_are_not_as_remembered_only_those_are_fetched(
        self, backend: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[LocalFile]
    ) -> None:
        """The samples do not hit them: the file was changed in two places, and its times put back."""
        monkeypatch.setattr(ChunkList, "samples", lambda chunks, count: [chunks[0]])
        root = tmp_path / "dest"

        def changed(file: SyncedFile) -> KnownPlaces:
            with open(root / "x", "r+b") as here:
                for at in (MIB + 5, 5 * MIB):
                    here.seek(at)
                    here.write(b"other")
            seen = os.stat(root / "x")
            assert seen.st_size == len(self.OLD)
            return truth(file)

        monkeypatch.setattr(OccupiedDestination, "_check_unchanged", lambda *_: None)
        result = self.pull(backend, root, self.NEW, changed)
        assert not reads and result.fetched_bytes < MIB

    @settings(max_examples=25, deadline=None)
    @given(
        edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 300_000), st.integers(0, 300_000)), max_size=4),
        local_edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), st.integers(0, 9)), max_size=2),
        order=st.randoms(use_true_random=False),
        jobs=st.sampled_from([1, 4]),
    )
    def test_any_edit_lands_whatever_state_says(
        self,
        edits: list[tuple[float, int, int]],
        local_edits: list[tuple[float, int, int]],
        order: random.Random,
        jobs: int,
    ) -> None:
        old = noise(31, 2 * MIB)
        new, here = edited(old, edits), edited(old, local_edits)
        backend = Counting()
        maker = VersionMaker(backend, pack_bytes=MIB)

        def lie(file: SyncedFile) -> KnownPlaces:
            extents = [*file.places.extents, *order.choices(file.places.extents, k=order.randrange(3))]
            order.shuffle(extents)
            return KnownPlaces(extents, order.sample(file.packs, len(file.packs)))

        with TemporaryDirectory() as folder:
            root = Path(folder) / "dest"
            first = download(maker.make({b"x": old, b"z": b"1"}), backend, root)
            (root / "x").write_bytes(here)
            means = Means(jobs=jobs)
            tree = maker.make({b"x": new, b"z": b"2"})
            known = Misled(first, lie)
            download(tree, backend, root, base=first.entries, known=known, options=REPLACE, means=means)
            assert read(root) == files({b"x": new, b"z": b"2"})
