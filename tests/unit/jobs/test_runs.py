"""Run artifacts: files of a job by name and step, a directory as a zip, the notebook."""

import errno
import io
import os
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import artifactstore
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.errors import (
    DownloadConflict,
    InvalidName,
    JobNotFound,
    NameNotFound,
    SourceError,
    SourceNotFound,
    VersionDeleted,
)
from artifactstore.jobs import single_files
from artifactstore.jobs.notebook import current_notebook
from artifactstore.jobs.runs import RunArtifacts
from artifactstore.store import Store
from artifactstore.testing.stores import File, Link, StoreWorld, edit_tree, make_tree


@pytest.fixture
def world(tmp_path: Path) -> StoreWorld:
    make_tree(tmp_path / "out", {b"a.png": b"first", b"other/a.png": b"of another directory"})
    return StoreWorld(tmp_path)


@pytest.fixture
def store(world: StoreWorld) -> Iterator[Store]:
    with world.store() as store:
        yield store


@pytest.fixture
def run(store: Store) -> RunArtifacts:
    return RunArtifacts(store, "team/job 1")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


class TestAdding:
    def test_a_file_is_an_artifact_under_its_own_name(self, run: RunArtifacts, out: Path) -> None:
        done = run.add(out / "a.png", message="confusion", metadata={"acc": 0.5})
        assert (done.name, done.step, done.number, done.action) == ("a.png", None, 1, "committed")
        artifact = run.show("a.png")
        assert (artifact.message, artifact.metadata, artifact.made_by) == ("confusion", {"acc": 0.5}, "team/job 1")
        assert run.open("a.png").read() == b"first"

    def test_a_file_of_the_same_name_counts_from_then_on_and_the_earlier_one_stays(
        self, run: RunArtifacts, out: Path
    ) -> None:
        run.add(out / "a.png")
        assert run.add(out / "other" / "a.png").number == 2
        assert run.open("a.png").read() == b"of another directory"
        assert run.open("a.png", number=1).read() == b"first"
        assert [artifact.number for artifact in run.history("a.png")] == [2, 1]

    def test_the_same_file_again_is_no_news(self, run: RunArtifacts, out: Path) -> None:
        run.add(out / "a.png")
        assert (run.add(out / "a.png").action, run.add(out / "a.png").number) == ("unchanged", 1)

    def test_names_of_all_kinds_are_taken(self, run: RunArtifacts, tmp_path: Path) -> None:
        odd = ["a b (1).png", "grüße.txt", ".env", "x@3:v1", "%2F", "a%2F5", "5", "..."]
        for name in odd:
            (tmp_path / name).write_text(name)
            run.add(tmp_path / name)
        assert [group.name for group in run.list()] == sorted(odd)
        assert [run.open(name).read().decode() for name in odd] == odd

    @pytest.mark.parametrize("name", ["ü" * 40, "a\nb", b"\xff"], ids=["too long", "line break", "not text"])
    def test_names_that_no_key_can_hold_are_refused(
        self, world: StoreWorld, run: RunArtifacts, tmp_path: Path, name: str | bytes
    ) -> None:
        path = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
        make_tree(path, {})
        before = set(world.memory.keys())
        with pytest.raises((InvalidName, SourceError)):
            run.add(os.fsdecode(path))
        os.rmdir(path)
        Path(os.fsdecode(path)).write_text("x")
        with pytest.raises(InvalidName):
            run.add(os.fsdecode(path))
        assert set(world.memory.keys()) == before

    def test_what_is_no_file_is_refused_by_what_it_is(self, run: RunArtifacts, out: Path) -> None:
        with pytest.raises(FileNotFoundError):
            run.add(out / "missing.png")
        with pytest.raises(SourceNotFound):
            run.add(out / "missing.png")
        with pytest.raises(SourceError, match="is a directory"):
            run.add(out / "other")
        os.mkfifo(out / "pipe")
        with pytest.raises(SourceError, match="no regular file"):
            run.add(out / "pipe")

    def test_jobs_do_not_see_one_another(self, store: Store, run: RunArtifacts, out: Path) -> None:
        run.add(out / "a.png")
        other = RunArtifacts(store, "team/job 2")
        other.add(out / "other" / "a.png")
        assert run.open("a.png").read() == b"first"

    def test_many_threads_lose_nothing(self, store: Store, tmp_path: Path) -> None:
        make_tree(tmp_path / "many", {b"%d/loss.csv" % n: b"%d" % n for n in range(12)})

        def add(number: int) -> None:
            RunArtifacts(store, "job").add(tmp_path / "many" / str(number) / "loss.csv")

        threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        run = RunArtifacts(store, "job")
        contents = {run.open("loss.csv", number=a.number).read() for a in run.history("loss.csv")}
        assert contents == {b"%d" % n for n in range(12)}


class TestSteps:
    def test_steps_are_grouped_by_name_whatever_directory_they_come_from(self, run: RunArtifacts, out: Path) -> None:
        run.add(out / "other" / "a.png", step=10)
        run.add(out / "a.png", step=2)
        run.add(out / "a.png", step=-1)
        (group,) = run.list()
        assert (group.name, group.plain, list(group.steps)) == ("a.png", None, [-1, 2, 10])
        assert run.steps("a.png") == (-1, 2, 10)
        assert run.open("a.png", step=10).read() == b"of another directory"
        assert run.show("a.png", 2).metadata == {"step": 2}

    def test_equal_content_at_two_steps_is_two_artifacts(self, run: RunArtifacts, out: Path) -> None:
        run.add(out / "a.png")
        for step in (1, 2, 1):
            run.add(out / "a.png", step=step)
        assert run.steps("a.png") == (1, 2)
        assert run.show("a.png").metadata == {}

    def test_the_same_step_again_counts_from_then_on(self, run: RunArtifacts, out: Path) -> None:
        run.add(out / "a.png", step=3)
        assert run.add(out / "other" / "a.png", step=3).number == 2
        assert run.open("a.png", 3).read() == b"of another directory"
        assert [artifact.number for artifact in run.history("a.png", 3)] == [2, 1]

    def test_reading_one_of_many_steps_costs_what_reading_one_does(
        self, world: StoreWorld, run: RunArtifacts, out: Path
    ) -> None:
        def requests() -> int:
            counting = CountBackend(world.memory)
            with world.fresh_user(through=counting) as store:
                RunArtifacts(store, "team/job 1").open("a.png", 0).read()
            return counting.counts.request_count

        run.add(out / "a.png", step=0)
        before = requests()
        for step in range(1, 30):
            run.add(out / "a.png", step=step)
        assert requests() == before

    def test_a_step_is_sent_only_as_far_as_it_differs_from_the_one_before(
        self, run: RunArtifacts, tmp_path: Path
    ) -> None:
        content = os.urandom(2 << 20)
        make_tree(tmp_path / "w", {b"w.bin": content})
        run.add(tmp_path / "w" / "w.bin", step=1)
        make_tree(tmp_path / "w2", {b"w.bin": content[: 1 << 20] + b"!" + content[1 << 20 :]})
        assert run.add(tmp_path / "w2" / "w.bin", step=2).sent_bytes < 600_000

    def test_numpy_integers_are_steps_and_other_values_are_not(self, run: RunArtifacts, out: Path) -> None:
        class Integer:
            def __index__(self) -> int:
                return 7

        assert run.add(out / "a.png", step=Integer()).step == 7
        for wrong in (True, "5", 1.0):
            with pytest.raises(TypeError):
                run.add(out / "a.png", step=wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError):
            run.add(out / "a.png", step=10**15)


class TestReading:
    def test_an_artifact_comes_under_its_name_and_a_file_that_differs_is_not_overwritten(
        self, run: RunArtifacts, out: Path, tmp_path: Path
    ) -> None:
        run.add(out / "a.png")
        done = run.download("a.png", tmp_path / "here")
        assert done.path == str(tmp_path / "here" / "a.png")
        assert Path(done).read_bytes() == b"first"
        make_tree(tmp_path / "there", {b"a.png": b"mine", b"b": b"b"})
        with pytest.raises(DownloadConflict):
            run.download("a.png", tmp_path / "there")
        beside = run.download("a.png", tmp_path / "there", strategy="new")
        assert Path(beside.path).read_bytes() == b"first" and Path(beside.path).name != "a.png"
        assert run.download("a.png", tmp_path / "there", strategy="replace").number == 1
        assert (tmp_path / "there" / "a.png").read_bytes() == b"first"
        assert (tmp_path / "there" / "b").read_bytes() == b"b"

    def test_a_step_and_an_earlier_version_can_be_brought(self, run: RunArtifacts, out: Path, tmp_path: Path) -> None:
        run.add(out / "a.png", step=1)
        run.add(out / "other" / "a.png", step=1)
        assert Path(run.download("a.png", tmp_path / "1", 1, number=1).path).read_bytes() == b"first"
        assert run.download("a.png", tmp_path / "2", 1).number == 2

    def test_what_is_not_there_is_an_error_that_says_what_is(self, run: RunArtifacts, out: Path) -> None:
        run.add(out / "a.png")
        run.add(out / "other" / "a.png", step=4)
        make_tree(out, {b"only.png": b"x"})
        run.add(out / "only.png", step=1)
        for call, says in (
            (lambda: run.open("b.png"), "Did you mean the artifact 'a.png'"),
            (lambda: run.open("a.png", 5), "steps there are 4"),
            (lambda: run.show("only.png"), "Say which one: 1"),
            (lambda: run.open("a.png", number=7), "no version 7"),
            (lambda: list(run.history("zzz")), "no artifact 'zzz'"),
            (lambda: run.download("a.png", step=9), "steps there are 4"),
        ):
            with pytest.raises(NameNotFound, match=says):
                call()

    def test_an_unknown_job_is_an_error_and_a_job_without_artifacts_is_not(
        self, store: Store, run: RunArtifacts, out: Path
    ) -> None:
        run.add(out / "a.png")
        for call in (lambda: RunArtifacts(store, "team/job").list(), lambda: RunArtifacts(store, "x").open("a.png")):
            with pytest.raises(JobNotFound):
                call()
        with artifactstore.job("other", store=store) as job:
            assert RunArtifacts(store, job.id).list() == ()

    def test_a_deleted_artifact_is_listed_no_more(self, store: Store, run: RunArtifacts, out: Path) -> None:
        run.add(out / "a.png")
        run.add(out / "a.png", step=1)
        run.add(out / "other" / "a.png", step=1)
        store.remove(run.show("a.png").reference)
        store.remove(run.show("a.png", 1).reference)
        (group,) = run.list()
        assert (group.plain, group.steps[1].number) == (None, 1)
        with pytest.raises(VersionDeleted):
            run.open("a.png", 1, number=2)
        with pytest.raises(NameNotFound, match="for steps only"):
            run.open("a.png")

    def test_names_with_slashes_lead_nowhere(self, run: RunArtifacts, out: Path) -> None:
        run.add(out / "a.png", step=1)
        for name in ("a.png/1", "../a.png", ""):
            with pytest.raises(InvalidName):
                run.open(name)


class TestZip:
    def test_a_directory_is_an_artifact_called_after_it(self, run: RunArtifacts, tmp_path: Path) -> None:
        make_tree(tmp_path / "logs", {b"a": b"a", b"sub/run": File(b"#!", executable=True), b"l": Link(b"a")})
        done = run.add_directory_as_zip(f"{tmp_path}/logs/")
        assert (done.name, done.action) == ("logs.zip", "committed")
        archive = zipfile.ZipFile(io.BytesIO(run.open("logs.zip").read()))
        assert archive.namelist() == ["a", "l", "sub/run"]
        assert run.add_directory_as_zip(tmp_path / "logs").action == "unchanged"

    def test_the_dot_is_the_directory_that_it_is(
        self, run: RunArtifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_tree(tmp_path / "logs", {b"a": b"a"})
        monkeypatch.chdir(tmp_path / "logs")
        assert run.add_directory_as_zip(".", step=1).name == "logs.zip"
        assert run.steps("logs.zip") == (1,)

    def test_a_changed_file_is_all_that_is_sent_of_a_zip(self, run: RunArtifacts, tmp_path: Path) -> None:
        make_tree(tmp_path / "logs", {b"%02d" % n: os.urandom(300_000) for n in range(10)})
        run.add_directory_as_zip(tmp_path / "logs")
        edit_tree(tmp_path / "logs", {b"05": os.urandom(1000)})
        assert run.add_directory_as_zip(tmp_path / "logs").sent_bytes < 800_000

    def test_what_is_left_out_is_said(self, run: RunArtifacts, tmp_path: Path) -> None:
        make_tree(tmp_path / "logs", {b"a": b"a"})
        os.mkfifo(tmp_path / "logs" / "pipe")
        assert [notice.path for notice in run.add_directory_as_zip(tmp_path / "logs").notices] == [b"pipe"]

    def test_a_store_in_the_directory_is_left_out(self, tmp_path: Path) -> None:
        make_tree(tmp_path / "logs", {b"a": b"a"})
        with artifactstore.open_store(tmp_path / "logs" / "store", state_path=tmp_path / "state") as store:
            store.push(tmp_path / "logs", "first")
            run = RunArtifacts(store, "job")
            run.add_directory_as_zip(tmp_path / "logs")
            assert zipfile.ZipFile(io.BytesIO(run.open("logs.zip").read())).namelist() == ["a"]

    def test_no_directory_no_name_and_no_room_are_typed_errors_and_nothing_is_written(
        self, world: StoreWorld, run: RunArtifacts, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = set(world.memory.keys())
        with pytest.raises(SourceNotFound):
            run.add_directory_as_zip(tmp_path / "missing")
        with pytest.raises(SourceError, match="no directory"):
            run.add_directory_as_zip(out / "a.png")
        with pytest.raises(InvalidName, match="no name of its own"):
            run.add_directory_as_zip("/")

        def full(*args: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(single_files, "write_archive", full)
        with pytest.raises(SourceError, match="TMPDIR"):
            run.add_directory_as_zip(out)
        assert set(world.memory.keys()) == before


class TestNotebook:
    def test_vs_code_and_jupyter_say_which_notebook_this_is(self, tmp_path: Path) -> None:
        one, two = tmp_path / "one.ipynb", tmp_path / "two.ipynb"
        for path in (one, two):
            path.write_text("{}")
        said = {"__vsc_ipynb_file__": str(one)}
        assert current_notebook(environment={"JPY_SESSION_NAME": str(two)}, names=said) == str(one)
        assert current_notebook(environment={"JPY_SESSION_NAME": str(two)}, names={}) == str(two)

    @pytest.mark.parametrize("said", ["", "Console 1-8e2f", "gone.ipynb", "script.py"])
    def test_anything_else_is_an_error_that_says_what_to_do(
        self, tmp_path: Path, said: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "script.py").write_text("")
        with pytest.raises(SourceNotFound, match="add_current_notebook"):
            current_notebook(environment={"JPY_SESSION_NAME": said}, names={})

    def test_the_notebook_becomes_an_artifact(
        self, run: RunArtifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "analysis.ipynb"
        path.write_text('{"cells": []}')
        assert run.add_current_notebook(path).name == "analysis.ipynb"
        monkeypatch.setitem(vars(sys.modules["__main__"]), "__vsc_ipynb_file__", str(path))
        assert run.add_current_notebook().action == "unchanged"
        with pytest.raises(SourceError, match="is no notebook"):
            run.add_current_notebook(tmp_path / "out" / "a.png")
