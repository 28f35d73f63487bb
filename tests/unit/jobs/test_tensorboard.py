"""TensorBoard's logs: uploaded while they grow, and brought together from many jobs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from unit.jobs.events import EventLog, read_records, read_scalars, write_scalars

from artifactstore import (
    DownloadConflict,
    JobNotFound,
    NameNotFound,
    PullOptions,
    Store,
    create_syncable_directory,
    find_job,
    job,
    open_store,
    set_tensorboard_logdir,
)
from artifactstore.jobs.snapshots import list_snapshots, snapshot_reference
from artifactstore.jobs.tensorboard import KEY
from artifactstore.jobs.tensorboard_folder import TensorboardFolder, check_has_logs, folder_name, jobs_with_tensorboard
from artifactstore.testing.stores import quick_folder

FOUR = [(0, 0.5), (1, 0.25), (2, 0.125), (3, 0.062)]


@pytest.fixture
def place() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder / "store"


@pytest.fixture
def store(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ARTIFACTSTORE_JOB_ID", raising=False)
    with open_store(place) as opened:
        opened.init()
        yield opened


def events_of(directory: str) -> list[Path]:
    return sorted(Path(directory).rglob("*tfevents*"))


class TestUploading:
    def test_what_is_in_the_directory_at_the_end_of_the_job_is_there(self, store: Store, tmp_path: Path) -> None:
        with job("7", store=store):
            logs = set_tensorboard_logdir("logs")
            assert str(logs) == "logs" and os.path.isdir("logs") and logs.is_active
            write_scalars(tmp_path / "logs" / "train", "loss", [0.5, 0.25, 0.125, 0.0625])
        assert not logs.is_active
        (brought,) = TensorboardFolder(store, tmp_path / "all").refresh(["7"])
        assert read_scalars(Path(brought.folder)) == {"loss": FOUR}

    def test_a_file_that_grows_is_uploaded_as_it_is_and_only_its_end_is_sent(self, store: Store) -> None:
        with job("7", store=store), EventLog(Path("logs")) as writer:
            logs = set_tensorboard_logdir("logs", interval="1h")
            for step in range(20_000):
                writer.add("loss", 1 / (step + 1), step)
            writer.flush()
            first = logs.upload()
            writer.add("loss", 0.5, 20_000)
            writer.flush()
            second = logs.upload()
            assert (first.number, second.number) == (1, 2)
            assert 0 < second.new_bytes < first.new_bytes / 2
            assert logs.upload().action == "unchanged"

    def test_a_file_that_grows_at_every_look_is_taken_as_it_was(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with job("7", store=store):
            logs = set_tensorboard_logdir("logs", interval="1h")
            events = tmp_path / "logs" / "events.out.tfevents.1"
            events.write_bytes(b"begun")
            read = {name: getattr(os, name) for name in ("read", "pread", "readv", "preadv")}

            def growing(name: str) -> Callable[..., object]:
                def look(*arguments: object) -> object:
                    with open(events, "ab") as file:
                        file.write(b" more")
                    return read[name](*arguments)

                return look

            with monkeypatch.context() as patch:
                for name in read:
                    patch.setattr(os, name, growing(name))
                assert logs.upload().action == "committed"
            assert events.stat().st_size > 5

    def test_the_job_is_tagged(self, store: Store) -> None:
        with job("7", store=store, project="vision"):
            set_tensorboard_logdir("logs")
            assert find_job(store, "7").tags == ("tensorboard",)
        with job("8", store=store) as other:
            other.tag("tensorboard")
            other.tag("x")
        with job("9", store=store):
            pass
        assert jobs_with_tensorboard(store) == ["8", "7"]
        assert jobs_with_tensorboard(store, project="vision") == ["7"]
        assert jobs_with_tensorboard(store, tag="x") == ["8"]

    def test_an_exception_uploads_too(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(KeyError), job("7", store=store):
            set_tensorboard_logdir("logs")
            write_scalars(tmp_path / "logs", "loss", [1.0])
            raise KeyError
        assert len(list(list_snapshots(store, "7", KEY))) == 1

    def test_a_last_upload_that_fails_fails_the_job_as_that_of_a_watched_directory_does(
        self, store: Store, tmp_path: Path
    ) -> None:
        with job("logs", store=store):
            os.rmdir(str(set_tensorboard_logdir("logs")))
        with job("watch", store=store):
            directory = create_syncable_directory("model", "model")
            directory.watch()
            os.rmdir("model")
        ends = [(info.status, info.error) for info in (find_job(store, "logs"), find_job(store, "watch"))]
        assert ends == [("failed", "SourceNotFound")] * 2

    def test_it_is_uploaded_every_so_often(self, store: Store, tmp_path: Path) -> None:
        with job("7", store=store):
            write_scalars(tmp_path / "logs", "loss", [1.0])
            logs = set_tensorboard_logdir("logs", interval=0.01)
            until = time.monotonic() + 30
            while not list(list_snapshots(store, "7", KEY)):
                assert time.monotonic() < until, "nothing was uploaded"
                time.sleep(0.02)
            logs.stop()

    def test_a_requeued_job_goes_on_with_its_logs_and_keeps_what_is_there(self, store: Store, tmp_path: Path) -> None:
        with job("7", store=store):
            set_tensorboard_logdir("first")
            write_scalars(tmp_path / "first", "a", [1.0])
        write_scalars(tmp_path / "second", "b", [2.0])
        with job("7", store=store):
            set_tensorboard_logdir("second")
            write_scalars(tmp_path / "second", "c", [3.0])
        (brought,) = TensorboardFolder(store, tmp_path / "all").refresh(["7"])
        assert set(read_scalars(Path(brought.folder))) == {"a", "b", "c"}

    def test_logs_that_went_on_here_are_not_undone_by_older_ones_of_the_store(
        self, store: Store, tmp_path: Path, place: Path
    ) -> None:
        with job("7", store=store):
            set_tensorboard_logdir("logs")
            (tmp_path / "logs" / "events.out.tfevents.1").write_bytes(b"old")
        (tmp_path / "logs" / "events.out.tfevents.1").write_bytes(b"old and new")
        with open_store(place, state_path=tmp_path / "lost-state") as other, job("7", store=other):
            set_tensorboard_logdir("logs")
        assert (tmp_path / "logs" / "events.out.tfevents.1").read_bytes() == b"old and new"

    def test_the_same_directory_again_is_the_same_and_another_has_a_key_of_its_own(self, store: Store) -> None:
        with job("7", store=store):
            logs = set_tensorboard_logdir("logs")
            assert set_tensorboard_logdir(Path("logs").absolute()) is logs
            other = set_tensorboard_logdir("more")
            assert (logs.directory.key, other.directory.key) == ("__tensorboard__", "__tensorboard__/2")
            logs.stop()
            again = set_tensorboard_logdir("logs")
            assert again is not logs and again.directory.key == "__tensorboard__"

    def test_ranks_do_not_take_each_others_place(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for rank in ("0", "3"):
            monkeypatch.setenv("RANK", rank)
            with job("7", store=store):
                set_tensorboard_logdir(f"logs{rank}")
                write_scalars(tmp_path / f"logs{rank}", f"loss{rank}", [1.0])
        brought = TensorboardFolder(store, tmp_path / "all").refresh(["7"])
        assert [Path(each.folder).name for each in brought] == ["7", "7+rank-3"]
        assert [list(read_scalars(Path(each.folder))) for each in brought] == [["loss0"], ["loss3"]]

    def test_what_can_be_no_directory_or_interval_is_refused_before_a_job_begins(self, store: Store) -> None:
        with pytest.raises(ValueError, match="no directory"):
            set_tensorboard_logdir("", store=store)
        with pytest.raises(ValueError, match="no interval"):
            set_tensorboard_logdir("logs", interval="often", store=store)
        assert list(store.catalog.backend.list("jobs/")) == [] and not os.path.exists("logs")

    def test_a_program_that_is_told_to_end_uploads_first(self, store: Store, place: Path, tmp_path: Path) -> None:
        program = (
            "import os, sys, signal, artifactstore\n"
            "from pathlib import Path\n"
            "artifactstore.set_tensorboard_logdir('logs')\n"
            "Path('logs/events.out.tfevents.1').write_bytes(b'event')\n"
            "print('ready', flush=True)\n"
            "while True:\n"
            "    signal.pause()\n"
        )
        environment = {**os.environ, "ARTIFACTSTORE_URL": str(place), "ARTIFACTSTORE_JOB_ID": "7"}
        with subprocess.Popen(
            [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            process.terminate()
            assert process.wait(30) == -signal.SIGTERM
        assert [entry.path for entry in store.files(snapshot_reference("7", KEY))] == [b"events.out.tfevents.1"]


class TestBringingTogether:
    @pytest.fixture
    def writer(self, store: Store) -> Iterator[EventLog]:
        """Of a job that has uploaded one value and goes on."""
        with job("7", store=store):
            self.logs = set_tensorboard_logdir("logs", interval="1h")
            with EventLog(Path("logs")) as writer:
                writer.add("loss", 0.5, 0)
                writer.flush()
                self.logs.upload()
                yield writer

    def test_each_job_has_a_folder(self, store: Store, tmp_path: Path) -> None:
        for job_id in ("a", "b/c"):
            with job(job_id, store=store):
                set_tensorboard_logdir(f"logs-{job_id}")
                write_scalars(tmp_path / f"logs-{job_id}", "loss", [0.5])
        with job("none yet", store=store):
            pass
        brought = TensorboardFolder(store, tmp_path / "all").refresh(["a", "b/c", "none yet"])
        assert [each.job_id for each in brought] == ["a", "b/c"]
        assert [os.path.relpath(each.folder, tmp_path / "all") for each in brought] == ["a", folder_name("b/c")]
        assert all(read_scalars(Path(each.folder)) == {"loss": [(0, 0.5)]} for each in brought)
        assert [(each.number, each.files, each.is_new) for each in brought] == [(1, 1, True)] * 2

    def test_an_event_file_that_grew_is_the_same_file_still(
        self, store: Store, tmp_path: Path, writer: EventLog
    ) -> None:
        folder = TensorboardFolder(store, tmp_path / "all")
        (brought,) = folder.refresh(["7"])
        (events,) = events_of(brought.folder)
        with events.open("rb") as opened:  # as TensorBoard has it
            assert len(list(read_records(opened.read()))) == 2
            assert not folder.refresh(["7"])[0].is_new
            writer.add("loss", 0.25, 1)
            writer.flush()
            self.logs.upload()
            assert folder.refresh(["7"])[0].is_new
            (record,) = read_records(opened.read())
            assert b"loss" in record
        assert read_scalars(Path(brought.folder)) == {"loss": FOUR[:2]}

    def test_another_program_goes_on_with_the_folder(
        self, store: Store, tmp_path: Path, writer: EventLog, place: Path
    ) -> None:
        TensorboardFolder(store, tmp_path / "all").refresh(["7"])
        writer.add("loss", 0.25, 1)
        writer.flush()
        self.logs.upload()
        with open_store(place, state_path=tmp_path / "other-state") as other:
            (brought,) = TensorboardFolder(other, tmp_path / "all").refresh(["7"])
        assert read_scalars(Path(brought.folder)) == {"loss": FOUR[:2]}

    def test_a_file_that_was_written_anew_is_replaced(self, store: Store, tmp_path: Path) -> None:
        with job("7", store=store):
            logs = set_tensorboard_logdir("logs", interval="1h")
            for content in (b"first", b"something else"):
                for name in ("events.out.tfevents.1", "metadata.tsv"):
                    (tmp_path / "logs" / name).write_bytes(content)
                logs.upload()
                TensorboardFolder(store, tmp_path / "all").refresh(["7"])
                assert {path.read_bytes() for path in (tmp_path / "all" / "7").iterdir()} == {content}

    def test_nothing_is_written_through_a_link(self, store: Store, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "events.tfevents").write_bytes(b"beg")
        with job("7", store=store):
            set_tensorboard_logdir("logs")
            (tmp_path / "logs" / "run").mkdir()
            (tmp_path / "logs" / "run" / "events.tfevents").write_bytes(b"begun")
        (tmp_path / "all" / "7").mkdir(parents=True)
        (tmp_path / "all" / "7" / "run").symlink_to(outside)
        with pytest.raises(DownloadConflict):
            TensorboardFolder(store, tmp_path / "all").refresh(["7"])
        assert (outside / "events.tfevents").read_bytes() == b"beg"

    def test_what_somebody_else_changed_is_left_alone(
        self, store: Store, tmp_path: Path, writer: EventLog
    ) -> None:
        folder = TensorboardFolder(store, tmp_path / "all")
        (brought,) = folder.refresh(["7"])
        (events,) = events_of(brought.folder)
        events.write_bytes(b"mine")
        writer.add("loss", 0.25, 1)
        writer.flush()
        self.logs.upload()
        with job("another", store=store):
            set_tensorboard_logdir("logs-of-another")
            write_scalars(tmp_path / "logs-of-another", "loss", [0.5])
        with pytest.raises(DownloadConflict):
            folder.refresh(["7", "another"])
        assert events.read_bytes() == b"mine"
        assert read_scalars(tmp_path / "all" / "another") == {"loss": [(0, 0.5)]}

    def test_the_same_logs_of_two_ranks_and_empty_ones_are_shown_once(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_scalars(tmp_path / "logs", "loss", [0.5])
        for rank, path in (("0", "logs"), ("1", "logs"), ("2", "empty")):
            monkeypatch.setenv("RANK", rank)
            with job("7", store=store):
                set_tensorboard_logdir(path)
        assert [each.key for each in TensorboardFolder(store, tmp_path / "all").refresh(["7"])] == [KEY]

    def test_a_job_without_logs_is_told_from_one_that_has_none_yet(self, store: Store) -> None:
        with job("train-7", store=store):
            set_tensorboard_logdir("logs")
            check_has_logs(store, "train-7")
        with job("other", store=store):
            pass
        with pytest.raises(NameNotFound, match="has no TensorBoard logs"):
            check_has_logs(store, "other")
        with pytest.raises(JobNotFound, match="train-7"):
            check_has_logs(store, "train-8")

    def test_the_snapshots_are_those_of_any_syncable_directory(self, store: Store, tmp_path: Path) -> None:
        with job("7", store=store):
            set_tensorboard_logdir("logs")
            write_scalars(tmp_path / "logs", "loss", [0.5])
        store.pull(snapshot_reference("7", KEY, 1), tmp_path / "copy", options=PullOptions())
        assert read_scalars(tmp_path / "copy") == {"loss": [(0, 0.5)]}


@pytest.mark.parametrize(
    ("job_id", "starts"),
    [("train-7", "train-7"), ("..", "_.-"), (".hidden", "_hidden-"), ("a/b", "a_b-"), ("ü", "_-"), ("x" * 200, "xxx")],
)
def test_names_of_folders_are_safe_anywhere(job_id: str, starts: str) -> None:
    name = folder_name(job_id)
    assert name.startswith(starts) and len(name) <= 160 and not set(name) & set("/\\:*?\"<>| ") and name[0] != "."
    assert folder_name(job_id, "__tensorboard__/rank-3/2") == f"{name}+rank-3.2"


def test_jobs_with_similar_ids_have_folders_of_their_own() -> None:
    assert len({folder_name(text) for text in ("a/b", "a_b", "a b", "a:b")}) == 4
