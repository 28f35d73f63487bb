"""Syncable directories: what comes from where, what travels, and what is left alone."""

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from artifactstore.backend.protocol import Backend
from artifactstore.backend.wrappers.fault import ErrorBefore, Fault, permission_denied
from artifactstore.errors import (
    DestinationError,
    DownloadConflict,
    InvalidName,
    NameNotFound,
    SourceError,
    SourceNotFound,
    StoreNotFound,
    StorePermissionDenied,
    VersionDeleted,
    VersionExpired,
)
from artifactstore.jobs.directory import SyncableDirectory, create_syncable_directory, open_syncable_directory
from artifactstore.jobs.snapshots import list_job_ids, list_keys
from artifactstore.manifest.diff import ChangeKind
from artifactstore.names import Latest, Reference, job_name
from artifactstore.store import PushOptions, RemoveOptions, Store, Strategy, open_store
from artifactstore.testing.stores import Directory, File, Link, StoreWorld, Thing, edit_tree, make_tree, tree_at
from artifactstore.transfer.plan import ConflictStrategy, PullOptions

KEY = "model"
TREE: dict[bytes, Thing] = {
    b"weights": b"1" * 5000,
    b"logs/a": b"a",
    b"bin/run": File(b"#!", executable=True),
    b"link": Link(b"weights"),
    b"empty": Directory(),
}
AsRead = dict[bytes, Thing]


@dataclass(eq=False)
class Run:
    """A run of a job on some machine."""

    id: str
    store: Store


class Machines:
    """Machines that share a store and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = StoreWorld(folder)
        self._stores: dict[str, Store] = {}

    def run(self, job: str, machine: str = "here", *, through: Backend | None = None) -> Run:
        if through is not None or machine not in self._stores:
            self._stores[machine] = self.world.store(user=machine, through=through)
        return Run(job, self._stores[machine])

    def path(self, name: str) -> Path:
        return self.folder / "work" / name

    def start(
        self, job: str, path: str, source: str | None = None, *, machine: str = "here", **options: object
    ) -> SyncableDirectory:
        """A fresh run of a job makes its directory."""
        run = self.run(job, machine)
        return create_syncable_directory(KEY, self.path(path), source, job=run, **options)  # type: ignore[arg-type]

    def snapshot(self, job: str, number: int | None = None) -> AsRead:
        """What a snapshot holds, pulled on a fresh machine."""
        with self.world.fresh_user() as store:
            run, place = Run("reader", store), self.folder / "snapshot"
            try:
                directory = create_syncable_directory(KEY, place, job, job=run, strategy="replace")
                exactly = PullOptions(delete=True, confirm_delete=True)
                directory.download(snapshot=number, strategy="replace", options=exactly)
                return tree_at(place)
            finally:
                make_tree(place, {})

    def close(self) -> None:
        for store in self._stores.values():
            store.close()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    made = Machines(tmp_path)
    yield made
    made.close()


@pytest.fixture
def source(machines: Machines) -> SyncableDirectory:
    """Job 42 has uploaded TREE, from a machine of its own."""
    directory = machines.start("42", "of-42", machine="of 42")
    edit_tree(machines.path("of-42"), TREE)
    assert directory.upload().snapshot == "model@1"
    return directory


class TestBeginning:
    def test_a_new_key_begins_with_an_empty_directory(self, machines: Machines) -> None:
        directory = machines.start("1", "new/deep")
        assert os.listdir(machines.path("new/deep")) == []
        assert str(directory) == str(machines.path("new/deep"))
        assert list(directory.history()) == []

    def test_without_a_path_it_is_a_temporary_directory(self, machines: Machines) -> None:
        directory = create_syncable_directory(KEY, job=machines.run("1"))
        assert os.listdir(str(directory)) == []
        os.rmdir(str(directory))

    def test_its_text_is_the_path_as_given_and_it_stays_where_it_was_made(
        self, machines: Machines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machines.path("").mkdir()
        monkeypatch.chdir(machines.path(""))
        directory = create_syncable_directory(KEY, "sync/path/", job=machines.run("1"))
        assert str(directory) == "sync/path/"
        monkeypatch.chdir("/")
        edit_tree(machines.path("sync/path"), {b"a": b"1"})
        assert directory.upload().files == 1
        assert os.fspath(directory) == str(machines.path("sync/path"))

    def test_with_a_source_it_is_downloaded_at_once(self, machines: Machines, source: SyncableDirectory) -> None:
        directory = machines.start("43", "there", "42")
        assert tree_at(machines.path("there")) == tree_at(str(source))
        assert (directory.job_id, directory.source_job_id) == ("43", "42")

    def test_a_requeued_job_goes_on_with_its_own(self, machines: Machines, source: SyncableDirectory) -> None:
        machines.start("42", "elsewhere", machine="another")
        assert tree_at(machines.path("elsewhere")) == tree_at(str(source))

    def test_the_jobs_own_id_as_source_is_no_source(self, machines: Machines, source: SyncableDirectory) -> None:
        assert machines.start("42", "again", "42").source_job_id is None
        assert machines.start("new", "nothing", "new").source_job_id is None

    def test_a_requeued_job_goes_on_with_what_it_made_of_its_source(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        first = machines.start("43", "first", "42")
        edit_tree(machines.path("first"), {b"weights": b"2" * 5000})
        first.upload()
        machines.start("43", "second", "42", machine="another")
        assert tree_at(machines.path("second")) == tree_at(machines.path("first"))

    def test_a_third_start_does_too(self, machines: Machines, source: SyncableDirectory) -> None:
        for number in (1, 2):
            directory = machines.start("43", f"{number}", "42", machine=f"{number}")
            edit_tree(machines.path(f"{number}"), {b"weights": b"%d" % number})
            assert directory.upload().number == number
        third = machines.start("43", "3", "42", machine="3")
        assert tree_at(machines.path("3"))[b"weights"] == File(b"2")
        assert [snapshot.source_job_ids for snapshot in third.history()] == [("42",), ("42",)]

    def test_in_the_run_that_uploaded_it_the_source_is_still_what_it_was(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        run = machines.run("43")
        first = create_syncable_directory(KEY, machines.path("first"), "42", job=run)
        edit_tree(machines.path("first"), {b"weights": b"2"})
        first.upload()
        create_syncable_directory(KEY, machines.path("look"), "42", job=run)
        assert tree_at(machines.path("look")) == tree_at(str(source))

    def test_made_again_in_one_run_it_undoes_nothing_that_was_made_there(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        """A cell of a notebook that is run again."""
        run = machines.run("43")
        there = machines.path("there")
        first = create_syncable_directory(KEY, there, "42", job=run)
        edit_tree(there, {b"weights": b"2", b"more": b"1"})
        first.upload()
        edit_tree(there, {b"more": b"2"})
        edit_tree(str(source), {b"news": b"1"})
        source.upload()
        again = create_syncable_directory(KEY, there, "42", job=run)
        found = tree_at(there)
        assert [found[path] for path in (b"weights", b"more", b"news")] == [File(b"2"), File(b"2"), File(b"1")]
        assert again.upload().number == 2
        assert [snapshot.source_job_ids for snapshot in again.history()] == [("42",), ("42",)]
        create_syncable_directory(KEY, there, "42", job=run)
        assert tree_at(there) == found

    def test_made_again_in_one_run_with_another_source_it_becomes_that(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        other = machines.start("41", "of-41")
        edit_tree(machines.path("of-41"), {b"weights": b"other"})
        other.upload()
        run = machines.run("43")
        create_syncable_directory(KEY, machines.path("there"), "42", job=run).upload()
        create_syncable_directory(KEY, machines.path("there"), "41", job=run)
        assert tree_at(machines.path("there")) == {b"weights": File(b"other")}

    def test_another_source_than_before_is_downloaded(self, machines: Machines, source: SyncableDirectory) -> None:
        other = machines.start("41", "of-41")
        edit_tree(machines.path("of-41"), {b"weights": b"other"})
        other.upload()
        machines.start("43", "first", "42").upload()
        machines.start("43", "second", "41")
        assert tree_at(machines.path("second")) == {b"weights": File(b"other")}

    def test_a_directory_that_another_job_left_becomes_what_the_source_has(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        """Jobs one after another on one machine, in one directory: each begins with its source, not with leftovers."""
        first = machines.start("43", "shared", "42")
        edit_tree(machines.path("shared"), {b"weights": b"2", b"of-43": b"more"}, removed=[b"logs/a"])
        first.upload()
        machines.start("44", "shared", "42")
        assert tree_at(machines.path("shared")) == tree_at(str(source))

    def test_the_newest_snapshot_is_taken(self, machines: Machines, source: SyncableDirectory) -> None:
        edit_tree(str(source), {b"weights": b"2"})
        source.upload()
        machines.start("43", "there", "42")
        assert tree_at(machines.path("there"))[b"weights"] == File(b"2")

    def test_the_first_job_makes_the_store(self, tmp_path: Path) -> None:
        with create_syncable_directory(KEY, tmp_path / "a", job="1", store=tmp_path / "store") as directory:
            edit_tree(tmp_path / "a", {b"x": b"1"})
            assert directory.upload().snapshot == "model@1"
        with create_syncable_directory(KEY, tmp_path / "b", "1", job="2", store=tmp_path / "store"):
            assert tree_at(tmp_path / "b") == {b"x": File(b"1")}

    @pytest.mark.parametrize("key", ["a/b", "..", ".", "ü 1", "@", "x:v3", "a%2Fb", "__tensorboard__"])
    def test_any_text_is_a_key_and_a_job(self, machines: Machines, key: str) -> None:
        run = machines.run(key)
        first = create_syncable_directory(key, machines.path("a"), job=run)
        edit_tree(machines.path("a"), {b"x": key.encode()})
        assert first.upload().snapshot == f"{key}@1"
        create_syncable_directory(key, machines.path("b"), key, job=machines.run("other"))
        assert tree_at(machines.path("b")) == {b"x": File(key.encode())}
        assert list_keys(run.store, key) == [key]


class TestWhatIsNotThere:
    def test_an_unknown_job_is_an_error_that_names_close_ones(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        machines.start("train-2026-01", "b").upload()
        with pytest.raises(NameNotFound, match="'train-2026-01'") as caught:
            machines.start("43", "there", "train-2026-O1")
        assert "missing_ok" in str(caught.value)
        assert not machines.path("there").exists()

    def test_an_unknown_key_is_an_error_that_names_close_ones(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        with pytest.raises(NameNotFound, match="'model'"):
            create_syncable_directory("modle", machines.path("there"), "42", job=machines.run("43"))

    def test_where_nothing_is_close_some_are_named(self, machines: Machines, source: SyncableDirectory) -> None:
        with pytest.raises(NameNotFound, match="The jobs there are '42'"):
            machines.start("43", "there", "nothing like it")

    def test_in_an_empty_store_it_says_so(self, machines: Machines) -> None:
        with pytest.raises(NameNotFound, match="no jobs in this store"):
            machines.start("43", "there", "42")

    def test_missing_ok_begins_with_nothing(self, machines: Machines) -> None:
        directory = machines.start("43", "there", "42", missing_ok=True)
        edit_tree(machines.path("there"), {b"x": b"1"})
        assert directory.upload().number == 1
        assert machines.snapshot("43") == {b"x": File(b"1")}

    def test_a_failing_store_is_not_an_empty_one(self, machines: Machines, source: SyncableDirectory) -> None:
        for at in range(1, 4):
            fault = Fault(nth=at, times=None, action=ErrorBefore(permission_denied))
            with machines.world.store(user=f"{at}", through=machines.world.faulty(fault)) as store:
                for asked in ("42", None):
                    with pytest.raises(StorePermissionDenied):
                        create_syncable_directory(
                            KEY, machines.path("there"), asked, job=Run("42", store), missing_ok=True
                        )
        assert not machines.path("there").exists()

    def test_deleted_snapshots_are_an_error_unless_they_may_be_missing(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        run = machines.run("43")
        whole = Reference(name=job_name("42", "dir", KEY), version=Latest())
        run.store.remove(whole, options=RemoveOptions(all_versions=True))
        with pytest.raises(VersionDeleted):
            machines.start("43", "there", "42")
        assert machines.start("43", "there", "42", missing_ok=True).upload().number == 1
        assert machines.start("42", "again", machine="another").upload().number == 2, "numbers are never used twice"

    @pytest.mark.parametrize("job", ["42", "43"], ids=["its own", "of its source"])
    def test_a_snapshot_whose_time_is_over_is_not_taken_for_none(
        self, machines: Machines, source: SyncableDirectory, job: str
    ) -> None:
        edit_tree(str(source), {b"weights": b"2"})
        source.upload(options=PushOptions(ttl_seconds=60))
        machines.world.virtual_clock.advance(61)
        with pytest.raises(VersionExpired):
            machines.start(job, "there", "42", machine="another", missing_ok=True)

    def test_what_is_no_store_is_not_taken_for_an_empty_one(self, machines: Machines, tmp_path: Path) -> None:
        edit_tree(tmp_path / "mine", {b"file": b"mine"})
        with pytest.raises(StoreNotFound):
            create_syncable_directory(KEY, machines.path("there"), job="1", store=tmp_path / "mine")
        assert not machines.path("there").exists()

    def test_a_temporary_directory_goes_with_the_error(
        self, machines: Machines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machines.path("").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(machines.path("")))
        with pytest.raises(NameNotFound):
            create_syncable_directory(KEY, None, "42", job=machines.run("43"))
        assert os.listdir(machines.path("")) == []


class TestRefused:
    @pytest.mark.parametrize(
        ("call", "error"),
        [
            (lambda run, path: create_syncable_directory("", path, job=run), InvalidName),
            (lambda run, path: create_syncable_directory("a\nb", path, job=run), InvalidName),
            (lambda run, path: create_syncable_directory("k" * 201, path, job=run), InvalidName),
            (lambda run, path: create_syncable_directory(KEY, path, "", job=run), InvalidName),
            (lambda run, path: create_syncable_directory(KEY, path, 42, job=run), TypeError),  # type: ignore[arg-type]
            (lambda run, path: create_syncable_directory(None, path, job=run), TypeError),  # type: ignore[arg-type]
            (lambda run, path: create_syncable_directory(KEY, "", job=run), ValueError),
            (lambda run, path: create_syncable_directory(KEY, path, job=run, strategy="mine"), ValueError),
            (lambda run, path: create_syncable_directory(KEY, path, job="\0", store=run.store), InvalidName),
        ],
        ids=["no key", "control characters", "long", "no source", "number", "none", "no path", "strategy", "job"],
    )
    def test_bad_input_is_refused_and_nothing_is_written(
        self, machines: Machines, call: Callable[[Run, Path], object], error: type[Exception]
    ) -> None:
        before = list(machines.world.memory.keys())
        with pytest.raises(error):
            call(machines.run("1"), machines.path("there"))
        assert list(machines.world.memory.keys()) == before
        assert not machines.path("there").exists()

    def test_a_file_in_its_place_is_refused(self, machines: Machines) -> None:
        edit_tree(machines.path(""), {b"file": b"mine"})
        with pytest.raises(DestinationError):
            machines.start("1", "file")
        assert machines.path("file").read_bytes() == b"mine"

    def test_upload_of_a_directory_that_is_gone_is_an_error(self, machines: Machines) -> None:
        directory = machines.start("1", "there")
        machines.path("there").rmdir()
        with pytest.raises(SourceNotFound, match="no directory"):
            directory.upload()
        edit_tree(machines.path(""), {b"there": b"a file"})
        with pytest.raises(SourceError, match="no directory"):
            directory.upload()
        assert list(directory.history()) == []

    def test_strategies_that_do_not_count_up_are_refused(self, machines: Machines) -> None:
        with pytest.raises(ValueError, match="replace"):
            machines.start("1", "there").upload(options=PushOptions(strategy=Strategy.REPLACE))


class TestUpload:
    def test_goes_to_the_current_job_and_the_sources_state_stays(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        before = machines.snapshot("42")
        directory = machines.start("43", "there", "42")
        edit_tree(machines.path("there"), {b"weights": b"2"}, removed=[b"logs/a"])
        done = directory.upload(message="better")
        assert (done.snapshot, done.job_id, done.action) == ("model@1", "43", "committed")
        assert machines.snapshot("42") == before
        assert machines.snapshot("43") == tree_at(machines.path("there"))
        assert [snapshot.number for snapshot in directory.history("42")] == [1]
        (made,) = directory.history()
        assert (made.source_job_ids, made.message, made.files) == (("42",), "better", 2)
        newest = Reference(name=job_name("43", "dir", KEY), version=Latest())
        assert machines.run("43").store.show(newest).made_by == "43"

    def test_each_is_a_snapshot_of_its_own_that_stays(self, machines: Machines) -> None:
        directory = machines.start("1", "there")
        for number in (1, 2, 3):
            edit_tree(machines.path("there"), {b"x": b"%d" % number})
            assert directory.upload().snapshot == f"model@{number}"
        assert [str(snapshot) for snapshot in directory.history()] == ["model@3", "model@2", "model@1"]
        assert machines.snapshot("1", 2) == {b"x": File(b"2")}

    def test_identical_content_makes_none(self, machines: Machines, source: SyncableDirectory) -> None:
        done = source.upload()
        assert (done.action, done.snapshot) == ("unchanged", "model@1")
        edit_tree(str(source), {b"weights": b"1" * 5000})  # written again, with another time
        assert source.upload().action == "unchanged"
        machines.start("42", "elsewhere", machine="another").upload()
        assert [snapshot.number for snapshot in source.history()] == [1]

    def test_change_is_decided_by_content_not_by_size_and_time(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        weights = os.path.join(str(source), "weights")
        before = os.stat(weights)
        with open(weights, "r+b") as file:
            file.write(b"2")
        os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert source.upload().snapshot == "model@2"
        assert machines.snapshot("42")[b"weights"] == File(b"2" + b"1" * 4999)

    def test_everything_about_files_that_matters_is_kept(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        assert machines.snapshot("42") == tree_at(str(source))
        os.chmod(os.path.join(str(source), "bin/run"), 0o644)
        os.rmdir(os.path.join(str(source), "empty"))
        edit_tree(str(source), {b"link": Link(b"logs")})
        assert source.upload().number == 2
        after = machines.snapshot("42")
        assert after == tree_at(str(source))
        assert after[b"bin/run"] == File(b"#!")

    def test_what_was_removed_here_is_not_in_the_next_snapshot(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        edit_tree(str(source), {}, removed=[b"logs", b"link"])
        source.upload()
        assert machines.snapshot("42").keys() == {b"weights", b"bin/run", b"empty"}
        assert machines.snapshot("42", 1).keys() == TREE.keys()

    def test_a_directory_behind_a_link_is_synced_as_itself(self, machines: Machines) -> None:
        machines.path("real").mkdir(parents=True)
        machines.path("link").symlink_to("real")
        directory = machines.start("1", "link")
        edit_tree(machines.path("real"), {b"x": b"1"})
        assert directory.upload().number == 1
        edit_tree(machines.path("real"), {b"x": b"2"})
        assert [change.path for change in directory.status().last_sync.changes] == [b"x"]
        assert machines.path("link").is_symlink()

    def test_a_dry_run_says_what_would_move(self, machines: Machines) -> None:
        directory = machines.start("1", "there")
        edit_tree(machines.path("there"), {b"x": b"1" * 3000})
        planned = directory.upload(options=PushOptions(dry_run=True))
        assert (planned.action, planned.snapshot, planned.number, planned.files) == ("planned", "", None, 1)
        assert list(directory.history()) == []


class TestOpened:
    """What programs do that only upload: they download nothing, and know where the directory came from all the same."""

    def test_opening_downloads_nothing_and_makes_nothing(self, machines: Machines, source: SyncableDirectory) -> None:
        for job in ("42", "43"):
            directory = open_syncable_directory(KEY, machines.path("there"), "42", job=machines.run(job, "another"))
            assert not machines.path("there").exists()
            assert str(directory) == str(machines.path("there"))
        assert directory.download().number == 1
        assert tree_at(machines.path("there")) == tree_at(str(source))

    def test_an_upload_of_what_an_earlier_program_downloaded_is_made_from_that(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        machines.start("43", "there", "42")
        edit_tree(machines.path("there"), {b"new": b""})
        for number in (1, 2):
            edit_tree(machines.path("there"), {b"new": b"%d" % number})
            done = open_syncable_directory(KEY, machines.path("there"), job=machines.run("43")).upload()
            assert done.number == number
        assert [s.source_job_ids for s in source.history("43")] == [(), ("42",)]
        machines.start("43", "restarted", "42", machine="another")
        assert tree_at(machines.path("restarted")) == tree_at(machines.path("there")), "its own, made out of 42's"

    def test_an_origin_that_was_deleted_since_is_no_hindrance(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        machines.start("43", "there", "42")
        whole = Reference(name=job_name("42", "dir", KEY), version=Latest())
        machines.run("43").store.remove(whole)
        assert open_syncable_directory(KEY, machines.path("there"), job=machines.run("43")).upload().number == 1
        assert machines.snapshot("43") == tree_at(machines.path("there"))


class TestHistories:
    def test_two_jobs_under_one_key_keep_their_own(self, machines: Machines) -> None:
        directories = [machines.start(job, job, machine=job) for job in ("a", "b")]
        for number in (1, 2):
            for directory in directories:
                edit_tree(str(directory), {b"x": f"{directory.job_id}{number}".encode()})
                assert directory.upload().number == number
        for directory in directories:
            assert [s.number for s in directory.history()] == [2, 1]
            assert machines.snapshot(directory.job_id) == {b"x": File(f"{directory.job_id}2".encode())}

    def test_processes_of_one_job_get_increasing_snapshots_and_none_is_lost(self, machines: Machines) -> None:
        ranks = [machines.start("job", f"{rank}", machine=f"{rank}") for rank in range(4)]

        def uploads(directory: SyncableDirectory) -> list[int]:
            numbers = []
            for step in range(3):
                edit_tree(str(directory), {b"x": f"{directory} {step}".encode()})
                numbers.append(directory.upload().number or 0)
            return numbers

        with ThreadPoolExecutor(len(ranks)) as pool:
            numbers = list(pool.map(uploads, ranks))
        assert all(list(own) == sorted(own) for own in numbers)
        assert sorted(n for own in numbers for n in own) == list(range(1, 13))
        contents = {machines.snapshot("job", number)[b"x"] for number in range(1, 13)}
        assert contents == {File(f"{d} {step}".encode()) for d in ranks for step in range(3)}

    def test_a_genetic_search_ends_with_a_history_of_its_own_for_each_job(self, machines: Machines) -> None:
        """Twenty jobs from five parents, at once, on machines of their own."""
        for parent in range(5):
            directory = machines.start(f"parent-{parent}", f"p{parent}", machine=f"p{parent}")
            edit_tree(str(directory), {b"genes": b"%d" % parent * 3000, b"log": b"0"})
            directory.upload()
            edit_tree(str(directory), {b"log": b"of %d" % parent})
            directory.upload()
        runs = [machines.run(f"child-{n}", f"c{n}") for n in range(20)]

        def live(number: int) -> None:
            path = machines.path(f"c{number}")
            directory = create_syncable_directory(KEY, path, f"parent-{number % 5}", job=runs[number])
            assert tree_at(path)[b"log"] == File(b"of %d" % (number % 5))
            edit_tree(path, {b"genes": b"%d+%d" % (number % 5, number)}, removed=[b"log"])
            assert directory.upload().number == 1

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(live, range(20)))
        for number in range(20):
            child = f"child-{number}"
            assert machines.snapshot(child) == {b"genes": File(b"%d+%d" % (number % 5, number))}
            (only,) = machines.start(child, f"again-{number}").history()
            assert only.source_job_ids == (f"parent-{number % 5}",)
        for parent in range(5):
            history = list(machines.start("reader", f"r{parent}", f"parent-{parent}").history(f"parent-{parent}"))
            assert [s.number for s in history] == [2, 1]
        assert len(list_job_ids(runs[0].store)) == 26, "with the reader, that used snapshots"

    def test_a_snapshot_says_who_made_it_where_and_how_much_it_holds(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        (snapshot,) = source.history()
        assert snapshot.created.endswith("Z")
        assert snapshot.who
        assert snapshot.host
        assert (snapshot.files, snapshot.links, snapshot.directories) == (3, 1, 1)
        assert snapshot.content_bytes == 5003
        assert snapshot.job_id == "42"
        assert str(snapshot) == "model@1"


class TestDownload:
    def test_brings_what_the_source_uploaded_since(self, machines: Machines, source: SyncableDirectory) -> None:
        directory = machines.start("43", "there", "42")
        edit_tree(str(source), {b"weights": b"2"}, removed=[b"logs/a"])
        source.upload()
        done = directory.download()
        assert (done.snapshot, done.job_id, done.written) == ("model@2", "42", (b"weights",))
        assert done.removed[0] == b"logs/a"
        assert tree_at(machines.path("there"))[b"weights"] == File(b"2")
        assert not machines.path("there/logs/a").exists()

    def test_local_edits_stay_and_so_do_files_that_were_never_synced(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        directory = machines.start("43", "there", "42")
        edit_tree(machines.path("there"), {b"logs/a": b"mine", b"new": b"mine"}, removed=[b"link"])
        edit_tree(str(source), {b"weights": b"2"})
        source.upload()
        directory.download()
        here = tree_at(machines.path("there"))
        assert (here[b"weights"], here[b"logs/a"], here[b"new"]) == (File(b"2"), File(b"mine"), File(b"mine"))
        assert b"link" not in here

    def test_a_file_edited_here_and_gone_there_is_a_conflict(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        directory = machines.start("43", "there", "42")
        edit_tree(machines.path("there"), {b"logs/a": b"mine"})
        edit_tree(str(source), {}, removed=[b"logs/a"])
        source.upload()
        with pytest.raises(DownloadConflict):
            directory.download()
        assert tree_at(machines.path("there"))[b"logs/a"] == File(b"mine")

    @pytest.mark.parametrize("strategy", ConflictStrategy, ids=lambda strategy: strategy.value)
    def test_conflicts_go_by_the_strategy(
        self, machines: Machines, source: SyncableDirectory, strategy: ConflictStrategy
    ) -> None:
        directory = machines.start("43", "there", "42", strategy=strategy.value)
        edit_tree(machines.path("there"), {b"weights": b"mine"})
        edit_tree(str(source), {b"weights": b"theirs", b"logs/a": b"theirs"})
        source.upload()
        if strategy is ConflictStrategy.ERROR:
            with pytest.raises(DownloadConflict) as caught:
                directory.download()
            assert caught.value.paths == (b"weights",)
            assert tree_at(machines.path("there"))[b"logs/a"] == File(b"a"), "nothing was written"
            return
        done = directory.download()
        here = tree_at(machines.path("there"))
        assert here[b"logs/a"] == File(b"theirs")
        expected = b"theirs" if strategy is ConflictStrategy.REPLACE else b"mine"
        assert here[b"weights"] == File(expected)
        if strategy is ConflictStrategy.NEW:
            (conflict,) = done.conflicts
            assert here[conflict.beside] == File(b"theirs")

    def test_the_strategy_of_a_call_is_stronger_than_the_directorys(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        directory = machines.start("43", "there", "42")
        edit_tree(machines.path("there"), {b"weights": b"mine"})
        edit_tree(str(source), {b"weights": b"theirs"})
        source.upload()
        directory.download(strategy="replace")
        assert tree_at(machines.path("there"))[b"weights"] == File(b"theirs")

    def test_a_file_that_was_there_before_the_first_download_is_never_overwritten_silently(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        edit_tree(machines.path("there"), {b"weights": b"mine"})
        with pytest.raises(DownloadConflict):
            machines.start("43", "there", "42")
        assert tree_at(machines.path("there")) == {b"weights": File(b"mine")}

    def test_what_is_here_already_as_it_is_there_is_no_conflict(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        edit_tree(machines.path("there"), {b"weights": b"1" * 5000, b"mine": b"mine"})
        machines.start("43", "there", "42")
        assert tree_at(machines.path("there")) == {**tree_at(str(source)), b"mine": File(b"mine")}

    def test_a_restart_in_the_same_directory_keeps_what_was_not_uploaded_yet(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        directory = machines.start("43", "there", "42")
        edit_tree(machines.path("there"), {b"weights": b"2"})
        directory.upload()
        edit_tree(machines.path("there"), {b"weights": b"3", b"logs/a": b"3"})
        machines.start("43", "there", "42")
        here = tree_at(machines.path("there"))
        assert (here[b"weights"], here[b"logs/a"]) == (File(b"3"), File(b"3"))

    def test_what_the_job_uploaded_is_not_undone_by_a_download_from_its_source(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        directory = machines.start("43", "there", "42")
        edit_tree(machines.path("there"), {b"weights": b"mine"}, removed=[b"link"])
        directory.upload()
        done = directory.download()
        assert (done.snapshot, done.written, done.removed) == ("model@1", (), ())
        edit_tree(str(source), {b"logs/a": b"news"})
        source.upload()
        assert directory.download().written == (b"logs/a",)
        here = tree_at(machines.path("there"))
        assert (here[b"weights"], here[b"logs/a"]) == (File(b"mine"), File(b"news"))
        assert b"link" not in here
        assert directory.upload().number == 2
        assert next(directory.history()).source_job_ids == ("42",)

    def test_looking_for_news_leaves_the_next_restart_without_conflicts(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        directory = machines.start("43", "there", "42")
        edit_tree(machines.path("there"), {b"weights": b"2"})
        directory.upload()
        directory.download()
        edit_tree(machines.path("there"), {b"weights": b"3"})
        machines.start("43", "there", "42")
        assert tree_at(machines.path("there"))[b"weights"] == File(b"3")

    def test_an_older_snapshot_brings_back_what_was(self, machines: Machines) -> None:
        directory = machines.start("1", "there")
        for number in (1, 2):
            edit_tree(machines.path("there"), {b"x": b"%d" % number, b"only-%d" % number: b""})
            directory.upload()
            edit_tree(machines.path("there"), {}, removed=[b"only-%d" % number])
        directory.upload()
        done = directory.download(snapshot=1)
        assert done.number == 1
        assert tree_at(machines.path("there")) == {b"x": File(b"1"), b"only-1": File(b"")}
        with pytest.raises(NameNotFound):
            directory.download(snapshot=9)
        with pytest.raises(InvalidName):
            directory.download(snapshot=0)

    def test_what_is_here_already_is_brought_again_only_where_nothing_is_left_or_everything_is_to_be_replaced(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        directory = machines.start("43", "there", "42")
        edit_tree(machines.path("there"), {b"logs/a": b"mine"}, removed=[b"weights"])
        assert directory.download().written == ()
        machines.start("43", "there", "42")
        assert tree_at(machines.path("there")).get(b"weights") is None, "an edit"
        assert set(directory.download(strategy="replace").written) == {b"logs/a", b"weights"}
        make_tree(machines.path("there"), {})
        assert directory.download().written
        assert tree_at(machines.path("there")) == tree_at(str(source))
        make_tree(machines.path("there"), {})
        machines.path("there").rmdir()
        machines.start("43", "there", "42")
        assert tree_at(machines.path("there")) == tree_at(str(source))

    def test_a_snapshot_that_is_here_already_and_deleted_there_is_an_error(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        directory = machines.start("43", "there", "42")
        machines.run("43").store.remove(Reference(name=job_name("42", "dir", KEY), version=Latest()))
        with pytest.raises(VersionDeleted):
            directory.download()

    def test_a_dry_run_changes_nothing(self, machines: Machines, source: SyncableDirectory) -> None:
        directory = machines.start("43", "there", "42")
        edit_tree(str(source), {b"weights": b"2"})
        source.upload()
        before = tree_at(machines.path("there"))
        assert directory.download(options=PullOptions(dry_run=True)).written == (b"weights",)
        assert tree_at(machines.path("there")) == before
        assert directory.status().last_sync.snapshot == "model@1"

    def test_another_rank_of_the_job_gets_what_this_one_uploaded(self, machines: Machines) -> None:
        ranks = [machines.start("job", f"{rank}", machine=f"{rank}") for rank in range(2)]
        edit_tree(str(ranks[0]), {b"x": b"1"})
        ranks[0].upload()
        assert ranks[1].download().written == (b"x",)


class TestWiped:
    """The directory was removed and made again, with a file of somebody else in it."""

    def wipe(self, path: Path) -> None:
        shutil.rmtree(path)
        make_tree(path, {b"stray": b"1"})

    def test_all_of_it_comes_back(
        self, machines: Machines, source: SyncableDirectory, caplog: pytest.LogCaptureFixture
    ) -> None:
        machines.start("43", "there", "42")
        self.wipe(machines.path("there"))
        directory = machines.start("43", "there", "42")
        assert set(tree_at(machines.path("there"))) == {*TREE, b"stray"}
        assert "all of it comes back" in caplog.text
        self.wipe(machines.path("there"))
        assert len(directory.download().written) == len(TREE)

    def test_one_path_that_is_left_makes_the_others_removed_by_hand(
        self, machines: Machines, source: SyncableDirectory
    ) -> None:
        directory = machines.start("43", "there", "42")
        edit_tree(machines.path("there"), {}, removed=[b"logs/a", b"link"])
        assert directory.download().written == ()

    def test_an_upload_of_it_warns(self, machines: Machines, source: SyncableDirectory) -> None:
        assert source.upload().notices == ()
        edit_tree(str(source), {b"weights": b"2"})
        assert source.upload().notices == ()
        self.wipe(machines.path("of-42"))
        assert "nothing that was last synced here is left" in str(source.upload().notices[0])
        assert source.upload().notices == ()


class TestSeveralKeys:
    def test_a_second_key_in_a_directory_leaves_the_files_of_the_first(self, machines: Machines) -> None:
        for key in ("one", "two"):
            made = machines.path(f"made-{key}")
            edit_tree(made, {key.encode(): key.encode()})
            open_syncable_directory(key, made, job=machines.run("42", "of 42")).upload()
        run, path = machines.run("43"), machines.path("both")
        for key in ("one", "two", "one"):
            create_syncable_directory(key, path, "42", job=run)
            open_syncable_directory(key, path, "42", job=run).download(snapshot=1)
        assert set(tree_at(path)) == {b"one", b"two"}

    def test_under_one_key_what_another_job_has_not_goes(self, machines: Machines) -> None:
        for job, name in (("1", b"a"), ("2", b"b")):
            machines.start(job, f"of-{job}")
            edit_tree(machines.path(f"of-{job}"), {name: b"1"})
            open_syncable_directory(KEY, machines.path(f"of-{job}"), job=machines.run(job)).upload()
            machines.start("3", "here", job)
        assert set(tree_at(machines.path("here"))) == {b"b"}


class TestStatus:
    def test_says_what_differs_from_each_state(self, machines: Machines, source: SyncableDirectory) -> None:
        directory = machines.start("43", "there", "42")
        edit_tree(machines.path("there"), {b"weights": b"2"})
        directory.upload()
        edit_tree(machines.path("there"), {b"new": b""}, removed=[b"logs/a"])
        edit_tree(str(source), {b"bin/run": b"news"})
        source.upload()
        status = directory.status()
        assert status.directory == str(directory)
        own = [(b"logs/a", ChangeKind.REMOVED), (b"new", ChangeKind.ADDED)]
        for state in (status.last_sync, status.job):
            assert (state.snapshot, state.job_id) == ("model@1", "43")
            assert [(change.path, change.kind) for change in state.changes] == own
        assert (status.source.snapshot, status.source.job_id) == ("model@2", "42")
        against = [change.path for change in status.source.changes]
        assert against == [b"bin/run", b"logs/a", b"new", b"weights"]

    def test_knows_nothing_before_the_first_sync(self, machines: Machines) -> None:
        directory = machines.start("1", "there")
        edit_tree(machines.path("there"), {b"x": b"1"})
        status = directory.status()
        assert {state.snapshot for state in (status.last_sync, status.job, status.source)} == {""}
        assert not status.last_sync.changes

    def test_after_an_upload_nothing_differs(self, machines: Machines, source: SyncableDirectory) -> None:
        status = source.status()
        assert (status.last_sync.snapshot, status.job.snapshot, status.source.snapshot) == ("model@1", "model@1", "")
        assert not status.last_sync.changes
        assert not status.job.changes

    def test_a_directory_that_is_gone_is_an_error(self, machines: Machines) -> None:
        directory = machines.start("1", "there")
        machines.path("there").rmdir()
        with pytest.raises(SourceNotFound):
            directory.status()

    def test_history_of_a_store_that_was_never_written_is_empty(self, machines: Machines) -> None:
        assert list(machines.start("1", "there").history("nobody")) == []


class TestStores:
    def test_a_store_given_by_path_is_closed_with_the_directory(self, tmp_path: Path) -> None:
        open_store(tmp_path / "store").close()
        with create_syncable_directory(KEY, tmp_path / "a", job="1", store=str(tmp_path / "store")) as directory:
            edit_tree(tmp_path / "a", {b"x": b"1"})
            directory.upload()
        directory.close()

    def test_a_store_inside_the_directory_is_left_out(self, tmp_path: Path) -> None:
        edit_tree(tmp_path / "a", {b"x": b"1"})
        with create_syncable_directory(KEY, tmp_path / "a", job="1", store=tmp_path / "a/store") as directory:
            assert directory.upload().files == 1
            assert directory.upload().action == "unchanged"
