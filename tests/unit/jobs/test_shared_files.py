"""Shared artifacts of a project, and which projects can have some."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import artifactstore
from artifactstore.errors import DownloadConflict, InvalidName, NameNotFound, SourceError, StorePermissionDenied
from artifactstore.jobs.project import Project, project
from artifactstore.jobs.shared_files import SharedArtifacts
from artifactstore.store import Store
from artifactstore.testing.stores import StoreWorld, make_tree


@pytest.fixture
def world(tmp_path: Path) -> StoreWorld:
    make_tree(tmp_path / "out", {b"labels.csv": b"first", b"other/labels.csv": b"second", b"a b.csv": b"blank"})
    return StoreWorld(tmp_path)


@pytest.fixture
def store(world: StoreWorld) -> Iterator[Store]:
    with world.store() as store:
        yield store


@pytest.fixture
def shared(store: Store) -> SharedArtifacts:
    return project("team/vision", store).shared


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


class TestFiles:
    def test_whoever_adds_a_file_shares_it_with_the_project(
        self, world: StoreWorld, shared: SharedArtifacts, out: Path, tmp_path: Path
    ) -> None:
        assert shared.list() == ()
        shared.add(out / "labels.csv", message="by hand", metadata={"rows": 3})
        with world.store(user="another") as elsewhere:
            there = project("team/vision", elsewhere).shared
            (artifact,) = there.list()
            assert (artifact.name, artifact.message, artifact.metadata) == ("labels.csv", "by hand", {"rows": 3})
            assert there.open("labels.csv").read() == b"first"
            assert Path(there.download("labels.csv", tmp_path / "in").path).read_bytes() == b"first"
        assert world.live("team/vision/shared/labels.csv") == ["team/vision/shared/labels.csv:v1"]

    def test_a_file_of_the_same_name_counts_from_then_on_and_the_earlier_one_stays(
        self, world: StoreWorld, shared: SharedArtifacts, out: Path
    ) -> None:
        shared.add(out / "labels.csv")
        assert shared.add(out / "other" / "labels.csv").number == 2
        assert shared.show("labels.csv").number == 2
        assert shared.open("labels.csv").read() == b"second"
        assert len(world.live("team/vision/shared/labels.csv")) == 2

    def test_a_name_outside_of_the_grammar_is_refused_and_another_one_can_be_given(
        self, world: StoreWorld, shared: SharedArtifacts, out: Path, tmp_path: Path
    ) -> None:
        before = set(world.memory.keys())
        for wrong in (None, "", "../x", "a/b", ".hidden", "x:v1"):
            with pytest.raises(InvalidName):
                shared.add(out / "a b.csv", wrong)
        assert set(world.memory.keys()) == before
        assert shared.add(out / "a b.csv", "a-b.csv").name == "a-b.csv"
        assert shared.open("a-b.csv").read() == b"blank"
        assert Path(shared.download("a-b.csv", tmp_path / "in").path).name == "a-b.csv"

    def test_directories_and_what_is_missing_are_refused(self, shared: SharedArtifacts, out: Path) -> None:
        with pytest.raises(SourceError, match="is a directory"):
            shared.add(out / "other")
        with pytest.raises(FileNotFoundError):
            shared.add(out / "gone.csv")

    def test_a_local_file_is_not_overwritten(self, shared: SharedArtifacts, out: Path, tmp_path: Path) -> None:
        shared.add(out / "labels.csv")
        make_tree(tmp_path / "in", {b"labels.csv": b"mine"})
        with pytest.raises(DownloadConflict):
            shared.download("labels.csv", tmp_path / "in")
        assert (tmp_path / "in" / "labels.csv").read_bytes() == b"mine"

    def test_what_is_not_there_is_an_error_that_says_what_is(
        self, store: Store, shared: SharedArtifacts, out: Path
    ) -> None:
        for call in (shared.show, shared.open, shared.download):
            with pytest.raises(NameNotFound, match="no shared artifacts yet"):
                call("label.csv")
        shared.add(out / "labels.csv")
        with pytest.raises(NameNotFound, match=r"Did you mean the shared artifact 'labels\.csv'"):
            shared.open("label.csv")
        store.remove(shared.show("labels.csv").reference)
        assert shared.list() == ()
        with pytest.raises(NameNotFound):
            shared.open("labels.csv")


class TestProjects:
    @pytest.mark.parametrize("name", ["vision", "a/b/c/d/e/f", "My_project-2.1", "1"])
    def test_a_project_is_a_folder(self, store: Store, out: Path, name: str) -> None:
        with project(name, store) as found:
            found.shared.add(out / "labels.csv")
            found.models.add(out / "labels.csv", "m")
            assert found.shared.list()[0].reference.name.text == f"{name}/shared/labels.csv"

    @pytest.mark.parametrize(
        "name", ["", "my project", "größe", "../x", "a//b", "/a", "a/", ".hidden", "a:b", "a/b/c/d/e/f/g", "x" * 129]
    )
    def test_other_texts_are_refused_in_words_that_help(self, store: Store, name: str) -> None:
        with pytest.raises(InvalidName, match="ARTIFACTSTORE_PROJECT"):
            project(name, store)
        with pytest.raises(InvalidName, match="can't be a folder of a store"):
            SharedArtifacts(store, name)

    def test_a_project_opens_and_closes_the_store_that_is_named(
        self, world: StoreWorld, tmp_path: Path, out: Path
    ) -> None:
        with project("vision", tmp_path / "local") as found:
            found.shared.add(out / "labels.csv")
        with artifactstore.project("vision", tmp_path / "local") as again:
            assert [artifact.name for artifact in again.shared.list()] == ["labels.csv"]


class TestJobs:
    def test_a_job_knows_its_project_and_one_that_is_no_folder_is_told(self, store: Store) -> None:
        with artifactstore.job("1", project="team/vision", store=store):
            found = project()
            assert (found.name, found.store) == ("team/vision", store)
        with artifactstore.job("2", project="my project", store=store), pytest.raises(InvalidName, match="my project"):
            project()

    def test_what_a_job_adds_and_downloads_is_in_its_manifest(
        self, store: Store, out: Path, tmp_path: Path
    ) -> None:
        with artifactstore.job("maker", project="vision", store=store):
            project().shared.add(out / "labels.csv")
        with artifactstore.job("user", project="other", store=store):
            project("vision").shared.download("labels.csv", tmp_path / "in")
        assert [made.version for made in artifactstore.job_manifest(store, "maker").made] == [
            "vision/shared/labels.csv:v1"
        ]
        assert [used.version for used in artifactstore.job_manifest(store, "user").used] == [
            "vision/shared/labels.csv:v1"
        ]

    def test_who_may_only_read_downloads_all_the_same(
        self, store: Store, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        project("vision", store).shared.add(out / "labels.csv")

        def denied(*args: object, **kwargs: object) -> None:
            raise StorePermissionDenied("not allowed")

        monkeypatch.setattr(Store, "record_use", denied)
        done = Project("vision", store, job_id="user").shared.download("labels.csv", tmp_path / "in")
        assert Path(done.path).read_bytes() == b"first"
        assert "could not be noted" in caplog.text
