"""Scripts for Foundations: the seed's calls, and each row of the table in docs/foundations.md."""

import inspect
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import artifactstore
from artifactstore import Store, find_job, list_saved, open_saved, open_store
from artifactstore.compat import foundations
from artifactstore.compat.foundations import SyncableDirectory
from artifactstore.jobs.job import end_jobs
from artifactstore.jobs.snapshots import list_snapshots, snapshot_reference
from artifactstore.jobs.tensorboard import set_tensorboard_logdir
from artifactstore.testing.stores import quick_folder

ROOT = Path(__file__).parents[3]
AsJob = Callable[[str], None]


@pytest.fixture
def place() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder / "store"


@pytest.fixture
def store(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store as others see it; the program itself finds it by its settings, and is job 1."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARTIFACTSTORE_URL", str(place))
    for name in ("ARTIFACTSTORE_JOB_ID", "FOUNDATIONS_COMMAND_LINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FOUNDATIONS_JOB_ID", "1")
    with open_store(place, state_path=tmp_path / "state") as opened:
        opened.init()
        yield opened
        end_jobs()


@pytest.fixture
def as_job(store: Store, monkeypatch: pytest.MonkeyPatch) -> AsJob:
    """Go on as another job."""

    def change(job_id: str) -> None:
        end_jobs()
        monkeypatch.setenv("FOUNDATIONS_JOB_ID", job_id)

    return change


@pytest.fixture
def no_job(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDATIONS_COMMAND_LINE", "True")


def things(directory: object) -> dict[str, bytes]:
    top = Path(str(directory))
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def stored(store: Store, job_id: str, key: str = "k") -> list[str]:
    return [os.fsdecode(entry.path) for entry in store.files(snapshot_reference(job_id, key))]


def snapshots(store: Store, job_id: str, key: str = "k") -> list[int]:
    return [snapshot.number for snapshot in list_snapshots(store, job_id, key)]


def made(path: str, **files: str) -> SyncableDirectory:
    """A directory with files, uploaded as `k`."""
    directory = foundations.create_syncable_directory("k", path)
    for name, content in files.items():
        Path(path, name).write_text(content)
    directory.upload()
    return directory


class TestAsItWas:
    """The first table of docs/foundations.md, in its order."""

    def test_the_story_of_the_documentation(self, store: Store, as_job: AsJob, tmp_path: Path) -> None:
        as_job("42")
        directory = foundations.create_syncable_directory("directory_key", "sync/path")
        Path("sync/path/hello.csv").write_text("1,2,3")
        assert directory.upload() is None
        as_job("43")
        again = foundations.create_syncable_directory("directory_key", "there", "42")
        assert things("there") == {"hello.csv": b"1,2,3"}
        Path("there/hello.csv").write_text("4,5,6")
        again.upload()
        for job_id, content in (("42", b"1,2,3"), ("43", b"4,5,6")):
            snapshot = snapshot_reference(job_id, "directory_key")
            with store.open(replace(snapshot, path=b"hello.csv")) as file:
                assert file.read() == content

    def test_calls_and_parameters(self) -> None:
        create = foundations.create_syncable_directory
        assert foundations.artifacts.create_syncable_directory is create
        assert list(inspect.signature(create).parameters) == ["key", "directory_path", "source_job_id"]
        assert list(inspect.signature(foundations.save_artifact).parameters) == ["filepath", "key"]
        assert list(inspect.signature(foundations.set_tensorboard_logdir).parameters) == ["path"]
        public = {name for name in dir(SyncableDirectory) if not name.startswith("_")}
        assert public == {"upload", "download"}

    def test_every_call_returns_none_but_for_the_one_that_creates(self, store: Store, tmp_path: Path) -> None:
        directory = foundations.create_syncable_directory("k", "d")
        (tmp_path / "f").write_text("f")
        calls = [
            directory.upload,
            directory.download,
            lambda: foundations.save_artifact("f"),
            lambda: foundations.set_tensorboard_logdir("logs"),
        ]
        assert [call() for call in calls] == [None] * 4

    def test_its_text_is_the_path_as_given(self, store: Store) -> None:
        assert str(foundations.create_syncable_directory("k", "some/where/")) == "some/where/"
        directory = foundations.create_syncable_directory("k")
        assert os.path.isdir(str(directory)) and os.path.isabs(str(directory))

    def test_the_job_is_named_by_the_variable(self, store: Store) -> None:
        made("d", f="f")
        assert find_job(store, "1").source == "FOUNDATIONS_JOB_ID"

    def test_creating_downloads_at_once(self, store: Store, as_job: AsJob) -> None:
        made("d", f="f")
        as_job("2")
        foundations.create_syncable_directory("k", "e", "1")
        assert things("e") == {"f": b"f"}

    def test_without_a_source_it_is_the_jobs_own(self, store: Store, as_job: AsJob) -> None:
        made("d", f="f")
        as_job("1")
        foundations.create_syncable_directory("k", "e")
        assert things("e") == {"f": b"f"}

    @pytest.mark.parametrize(("key", "source"), [("k", "l"), ("other", "1")], ids=["job", "key"])
    def test_an_unknown_job_or_key_is_an_empty_start_with_a_warning(
        self, store: Store, as_job: AsJob, caplog: pytest.LogCaptureFixture, key: str, source: str
    ) -> None:
        made("d", f="f")
        as_job("2")
        directory = foundations.create_syncable_directory(key, "e", source)
        assert things("e") == {}
        (warning,) = caplog.messages
        assert "begins with nothing" in warning and (source if key == "k" else key) in warning
        directory.download()
        assert "nothing was downloaded" in caplog.messages[-1]
        Path("e/g").write_text("g")
        directory.upload()
        assert stored(store, "2", key) == ["g"]

    def test_a_file_that_is_here_is_not_overwritten_by_the_first_download(
        self, store: Store, as_job: AsJob, caplog: pytest.LogCaptureFixture
    ) -> None:
        made("d", f="theirs", g="theirs")
        as_job("2")
        Path("e").mkdir()
        Path("e/f").write_text("mine")
        foundations.create_syncable_directory("k", "e", "1")
        assert things("e") == {"f": b"mine", "g": b"theirs"}
        assert [message for message in caplog.messages if message.endswith("stay as they are: f")]

    def test_uploads_go_to_the_current_job_and_the_sources_state_stays(self, store: Store, as_job: AsJob) -> None:
        made("d", f="f")
        as_job("2")
        directory = foundations.create_syncable_directory("k", "e", "1")
        Path("e/g").write_text("g")
        directory.upload()
        assert (stored(store, "1"), stored(store, "2")) == (["f"], ["f", "g"])

    def test_a_directory_that_is_gone_uploads_nothing(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        directory = foundations.create_syncable_directory("k", "d")
        os.rmdir("d")
        directory.upload()
        assert snapshots(store, "1") == [] and "nothing was uploaded" in caplog.text

    def test_outside_of_a_job_it_downloads_and_does_not_upload(
        self, store: Store, as_job: AsJob, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        made("d", f="f")
        as_job("2")
        monkeypatch.setenv("FOUNDATIONS_COMMAND_LINE", "True")
        directory = foundations.create_syncable_directory("k", "e", "1")
        assert things("e") == {"f": b"f"}
        Path("e/g").write_text("g")
        directory.upload()
        assert caplog.messages == ["local_job_id required for uploading artifacts: e was not uploaded"]
        assert stored(store, "1") == ["f"] and os.listdir(Path(store.url) / "jobs") == ["1"]

    def test_outside_of_a_job_nothing_is_saved(
        self, store: Store, no_job: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        foundations.save_artifact("not even there")
        foundations.set_tensorboard_logdir("logs")
        assert caplog.messages == [
            "Cannot save artifact outside of job.",
            "logs is not uploaded: this program is no job",
        ]
        assert not (Path(store.url) / "jobs").exists()

    def test_ids_and_keys_may_be_numbers(self, store: Store, as_job: AsJob, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("f")
        foundations.save_artifact("f", 7)
        foundations.create_syncable_directory(5, "d").upload()
        as_job("2")
        foundations.create_syncable_directory(5, "e", 1)
        assert [saved.key for saved in list_saved("1", store=store)] == ["7"] and snapshots(store, "1", "5") == [1]

    def test_what_cannot_be_saved_raises_as_before(self, store: Store) -> None:
        with pytest.raises(FileNotFoundError):
            foundations.save_artifact("nothing", "k")
        with pytest.raises(IsADirectoryError):
            foundations.save_artifact(".", "k")
        assert not (Path(store.url) / "jobs").exists()

    def test_the_log_directory_is_tagged(self, store: Store) -> None:
        foundations.set_tensorboard_logdir("logs")
        Path("logs/events.out.tfevents.1").write_text("event")
        end_jobs()
        assert find_job(store, "1").tags == ("tensorboard", "tf")
        assert stored(store, "1", "__tensorboard__") == ["events.out.tfevents.1"]


class TestMended:
    """The second table of docs/foundations.md, in its order."""

    def test_the_directory_is_made(self, store: Store) -> None:
        foundations.create_syncable_directory("k", "new/deep")
        assert os.path.isdir("new/deep")

    def test_what_changed_is_told_by_content(self, store: Store) -> None:
        directory = made("d", f="one")
        before = os.stat("d/f")
        Path("d/f").write_text("two")
        os.utime("d/f", ns=(before.st_atime_ns, before.st_mtime_ns))
        directory.upload()
        assert snapshots(store, "1") == [2, 1]

    def test_a_touched_file_is_not_sent_again(self, store: Store) -> None:
        directory = made("d", f="one")
        os.utime("d/f", (time.time() + 5, time.time() + 5))
        directory.upload()
        assert snapshots(store, "1") == [1]

    def test_what_was_removed_is_gone_in_the_next_state_and_does_not_come_back(self, store: Store) -> None:
        directory = made("d", f="f", g="g")
        os.unlink("d/f")
        directory.upload()
        directory.download()
        assert stored(store, "1") == ["g"] and things("d") == {"g": b"g"}

    def test_empty_directories_links_and_the_executable_bit_are_kept(self, store: Store, as_job: AsJob) -> None:
        Path("d/empty").mkdir(parents=True)
        Path("d/run").write_text("#!")
        Path("d/run").chmod(0o755)
        Path("d/link").symlink_to("run")
        foundations.create_syncable_directory("k", "d").upload()
        as_job("2")
        foundations.create_syncable_directory("k", "e", "1")
        assert os.path.isdir("e/empty") and os.readlink("e/link") == "run" and os.access("e/run", os.X_OK)

    def test_a_key_leads_nowhere_else(self, store: Store) -> None:
        foundations.create_syncable_directory("../../x", "d").upload()
        assert snapshots(store, "1", "../../x") == [1]
        names = {path.name for path in (Path(store.url) / "names" / ".jobs" / "1" / "dir").iterdir()}
        assert names == {"@..%2F..%2Fx"}

    def test_an_upload_is_one_state_that_stays(self, store: Store) -> None:
        directory = made("d", f="one")
        Path("d/f").write_text("two")
        directory.upload()
        assert snapshots(store, "1") == [2, 1]

    def test_a_newer_state_replaces_what_was_not_edited_here(self, store: Store, as_job: AsJob) -> None:
        made("d", f="one", g="one")
        as_job("2")
        directory = foundations.create_syncable_directory("k", "e", "1")
        Path("e/g").write_text("mine")
        Path("d/f").write_text("two")
        Path("d/g").write_text("two")
        with artifactstore.create_syncable_directory("k", "d", job="1") as source:
            source.upload()
        directory.download()
        assert things("e") == {"f": b"two", "g": b"mine"}

    def test_files_of_one_name_under_two_keys_stay_apart(self, store: Store) -> None:
        for folder in ("x", "y"):
            Path(folder).mkdir()
            Path(folder, "curve.png").write_text(folder)
            foundations.save_artifact(f"{folder}/curve.png", f"curve {folder}")
        for folder in ("x", "y"):
            with open_saved(f"curve {folder}", "1", store=store) as file:
                assert file.read() == folder.encode()

    def test_a_key_that_is_saved_again_keeps_what_it_was(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        for content in ("one", "two"):
            Path("f").write_text(content)
            foundations.save_artifact("f", "k")
        assert [record.levelno for record in caplog.records] == [logging.WARNING] and "version 2" in caplog.text
        with open_saved("k", "1", number=1, store=store) as file:
            assert file.read() == b"one"

    def test_logs_are_uploaded_while_the_job_works(self, store: Store) -> None:
        foundations.set_tensorboard_logdir("logs")
        assert set_tensorboard_logdir("logs").is_active

    @pytest.mark.parametrize("name", ["log_param", "log_metric", "set_tag", "submit", "load_parameters"])
    def test_what_is_not_offered_says_so(self, name: str) -> None:
        with pytest.raises(AttributeError, match=f"and not its {name}"):
            getattr(foundations, name)
        assert not hasattr(foundations, "something_else")


def test_each_row_of_the_tables_has_its_test() -> None:
    text = (ROOT / "docs" / "foundations.md").read_text()
    rows = {
        title: len(re.findall(r"^\| (?!--)[^|]", body, re.M))
        for title, body in zip(*[iter(re.split(r"^## (.+)$", text, flags=re.M)[1:])] * 2, strict=True)
    }
    for title, kind in (("As it was", TestAsItWas), ("Mended", TestMended)):
        tests = [name for name in vars(kind) if name.startswith("test_")]
        assert rows[title] == len(tests), (title, rows[title], len(tests))


# -- scripts as they are -----------------------------------------------------------------------------

SCRIPT = """
import subprocess, sys
import foundations
from foundations.artifacts import create_syncable_directory

directory = foundations.create_syncable_directory("directory_key", "sync/path", *sys.argv[1:])
with open("sync/path/hello.csv", "a") as file:
    file.write("line\\n")
directory.upload()
foundations.save_artifact("sync/path/hello.csv", "Hello")
inner = "import foundations; print(foundations.__name__)"
child = subprocess.run([sys.executable, "-c", inner], stdout=subprocess.PIPE)
print(child.stdout.decode().strip(), foundations.artifacts.create_syncable_directory is create_syncable_directory)
sys.exit(3)
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "artifactstore.compat.foundations", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_scripts_run_as_they_are_and_build_on_each_other(store: Store, place: Path, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    for job_id, source in (("42", []), ("43", ["42"])):
        done = run("--store", str(place), "train.py", *source, FOUNDATIONS_JOB_ID=job_id, ARTIFACTSTORE_URL="/nowhere")
        assert (done.returncode, done.stderr) == (3, "")
        assert done.stdout == "artifactstore.compat.foundations True\n"
        os.rename("sync", f"sync-{job_id}")
    assert [things(f"sync-{job_id}/path")["hello.csv"] for job_id in ("42", "43")] == [b"line\n", b"line\nline\n"]
    assert [str(find_job(store, job_id).status) for job_id in ("42", "43")] == ["completed", "completed"]
    with open_saved("Hello", "43", store=store) as file:
        assert file.read() == b"line\nline\n"


def test_warnings_are_seen_without_setting_anything_up(store: Store) -> None:
    done = run("-c", "import foundations; foundations.create_syncable_directory('k', 'd', 'nobody')")
    assert done.returncode == 0 and "begins with nothing: no job" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--store"], ["--store="], ["--store", "x"]])
def test_misuse_is_told(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2 and "usage: " in done.stderr and done.stdout == ""


def test_help_is_shown() -> None:
    done = run("--help")
    assert done.returncode == 0 and "SCRIPT" in done.stdout


def test_install_makes_the_imports_of_scripts_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("foundations", "foundations.artifacts"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    foundations.install()
    foundations.install()
    import foundations as facade  # type: ignore[import-not-found]
    from foundations.artifacts import create_syncable_directory  # type: ignore[import-not-found]

    assert facade is foundations and create_syncable_directory is foundations.create_syncable_directory
    monkeypatch.setitem(sys.modules, "foundations", sys)
    with pytest.raises(ImportError, match="another foundations"):
        foundations.install()
