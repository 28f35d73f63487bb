"""Artifacts through their own calls: build, upload, load, change, read, write down."""

import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import artifactstore
from artifactstore.artifacts.artifact import Artifact, create_artifact, load_artifact
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.errors import (
    ArtifactStoreError,
    DownloadConflict,
    InvalidName,
    InvalidPath,
    NameNotFound,
    PathExists,
    PathNotFound,
    SourceError,
    SourceNotFound,
    SourceUnreadable,
    VersionExists,
    VersionExpired,
)
from artifactstore.keys import NAMES, PACKS, TRANSACTIONS
from artifactstore.store import Store
from artifactstore.testing.stores import File, Link, StoreWorld, Tree, make_tree, tree_at
from artifactstore.transfer.push import PushOptions

TREE: Tree = {b"1.png": b"one", b"sub/2.png": b"two", b"run.sh": File(b"#!", executable=True), b"l": Link(b"1.png")}


@pytest.fixture
def world(tmp_path: Path) -> StoreWorld:
    make_tree(tmp_path / "a", TREE)
    return StoreWorld(tmp_path)


@pytest.fixture
def store(world: StoreWorld) -> Iterator[Store]:
    with world.store() as store:
        yield store


@pytest.fixture
def source(world: StoreWorld) -> Path:
    return world.folder / "a"


def written(world: StoreWorld) -> list[str]:
    return [key for key in set(world.memory.keys()) if key.startswith((NAMES, PACKS, TRANSACTIONS))]


class TestBuilding:
    def test_files_directories_and_written_objects_become_a_version(
        self, world: StoreWorld, store: Store, source: Path
    ) -> None:
        with create_artifact("demo", store=store) as artifact:
            artifact.add_file(source / "1.png")
            artifact.add_file(source / "1.png", "images/")
            artifact.add_dir(source, obj_path="b/", exclude=["*.sh"])
            with artifact.new_file("notes/readme.txt", "w") as file:
                file.write("hallo")
            done = artifact.upload()
            assert (done.version, artifact.version) == ("demo:v1", "demo:v1")
        assert world.pulled("demo") == {
            b"1.png": File(b"one"),
            b"images/1.png": File(b"one"),
            b"b/a/1.png": File(b"one"),
            b"b/a/sub/2.png": File(b"two"),
            b"b/a/l": Link(b"1.png"),
            b"notes/readme.txt": File(b"hallo"),
        }

    def test_a_push_and_an_upload_of_the_same_are_the_same_thing(self, store: Store, source: Path) -> None:
        pushed = store.push(source, "demo")
        artifact = create_artifact("demo", store=store)
        artifact.add_dir(source, obj_path=".")
        uploaded = artifact.upload()
        assert (uploaded.action, uploaded.version) == ("unchanged", pushed.version)

    def test_adding_copies_nothing(self, world: StoreWorld, store: Store, source: Path) -> None:
        artifact = create_artifact("demo", store=store)
        before = tree_at(world.folder)
        artifact.add_dir(source)
        artifact.add_file(source / "1.png")
        assert tree_at(world.folder) == before
        assert written(world) == []

    def test_what_is_said_about_it_is_in_the_version(self, store: Store, source: Path) -> None:
        artifact = create_artifact(
            "demo", labels=["raw", "2026"], description="what it is", metadata={"rows": 3}, store=store
        )
        artifact.add_dir(source)
        artifact.upload(aliases=["prod"])
        info = store.show("demo:prod")
        assert (info.labels, info.message, dict(info.metadata)) == (("raw", "2026"), "what it is", {"rows": 3})

    def test_an_empty_artifact_is_a_version_of_nothing(self, world: StoreWorld, store: Store) -> None:
        assert create_artifact("demo", store=store).upload().version == "demo:v1"
        assert world.pulled("demo") == {}

    def test_removed_objects_are_not_in_the_version(self, world: StoreWorld, store: Store, source: Path) -> None:
        artifact = create_artifact("demo", store=store)
        artifact.add_dir(source)
        artifact.add_file(source / "1.png", "x/y")
        artifact.remove("a/sub/")
        artifact.remove("a/l")
        artifact.remove("x")
        assert sorted(artifact.objects) == ["a/1.png", "a/run.sh"]
        artifact.upload()
        assert sorted(world.pulled("demo")) == [b"a/1.png", b"a/run.sh"]
        with pytest.raises(PathNotFound):
            artifact.remove("a/sub")

    def test_taking_out_many_objects_costs_each_of_the_others_a_look_and_no_search(
        self, store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With a thousand taken out of two hundred thousand, the list of objects took a minute."""

        class Looked(frozenset[bytes]):
            def __iter__(self) -> Iterator[bytes]:
                raise AssertionError("searched")

        artifact = create_artifact("x", store=store)
        artifact.add_dir(source, ".")
        artifact.upload()
        artifact._without = Looked([b"sub"])
        assert set(artifact.objects) == {"1.png", "run.sh", "l"}

    def test_a_removed_path_may_be_taken_again(self, world: StoreWorld, store: Store, source: Path) -> None:
        artifact = create_artifact("demo", store=store)
        artifact.add_file(source / "1.png", "x")
        artifact.remove("x")
        artifact.add_file(source / "sub" / "2.png", "x")
        artifact.upload()
        assert world.pulled("demo") == {b"x": File(b"two")}

    def test_objects_list_what_was_added(self, store: Store, source: Path) -> None:
        artifact = create_artifact("demo", store=store)
        artifact.add_dir(source)
        objects = artifact.objects
        assert list(objects) == ["a/1.png", "a/l", "a/run.sh", "a/sub/2.png"]
        assert (objects["a/1.png"].size_bytes, objects["a/l"].kind) == (3, "link")

    def test_a_block_that_fails_adds_nothing(self, store: Store) -> None:
        artifact = create_artifact("demo", store=store)
        with pytest.raises(RuntimeError, match="stop"), artifact.new_file("x") as file:
            file.write(b"half")
            raise RuntimeError("stop")
        assert not artifact.objects

    def test_sources_stay_found_when_the_working_directory_changes(
        self, world: StoreWorld, store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(source)
        artifact = create_artifact("demo", store=store)
        artifact.add_file("1.png")
        monkeypatch.chdir(world.folder)
        artifact.upload()
        assert world.pulled("demo") == {b"1.png": File(b"one")}


class TestBadInput:
    @pytest.mark.parametrize("name", ["", "a b", "../x", "a:v1", "a//b", "x@y"])
    def test_names(self, name: str) -> None:
        with pytest.raises(InvalidName):
            create_artifact(name)

    def test_labels(self) -> None:
        with pytest.raises(InvalidName):
            create_artifact("demo", labels=["not a label"])
        with pytest.raises(TypeError, match="list"):
            create_artifact("demo", labels="abc")

    def test_object_paths_that_leave_the_artifact(self, store: Store, source: Path) -> None:
        artifact = create_artifact("demo", store=store)
        for add in (artifact.add_file, artifact.add_dir):
            with pytest.raises(InvalidPath):
                add(source, "../x")
        with pytest.raises(InvalidPath), artifact.new_file("/x/../../y"):
            pass

    def test_sources_that_are_missing_or_of_the_wrong_kind(self, store: Store, source: Path) -> None:
        artifact = create_artifact("demo", store=store)
        for add in (artifact.add_file, artifact.add_dir):
            with pytest.raises(SourceNotFound):
                add(source / "missing")
        with pytest.raises(SourceError, match="add_dir"):
            artifact.add_file(source)
        with pytest.raises(SourceError, match="add_file"):
            artifact.add_dir(source / "1.png")
        os.mkfifo(source / "fifo")
        with pytest.raises(SourceError, match="regular"):
            artifact.add_file(source / "fifo")
        assert not artifact.objects

    def test_a_file_that_can_not_be_read(
        self, store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Root may read everything, so the system's answer is stood in for.
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(SourceUnreadable):
            create_artifact("demo", store=store).add_file(source / "1.png")

    def test_two_entries_for_one_path(self, store: Store, source: Path) -> None:
        artifact = create_artifact("demo", store=store)
        artifact.add_dir(source)
        for path in ("a/1.png", "a/1.png/x", "a", "a/sub"):
            with pytest.raises(PathExists):
                artifact.add_file(source / "1.png", path)
        with pytest.raises(PathExists):
            artifact.add_dir(source)
        with pytest.raises(PathExists), artifact.new_file("a/1.png"):
            pass

    @pytest.mark.parametrize("strategy", ["", "overwrite", "NEW"])
    def test_a_strategy_that_there_is_not_is_refused_before_anything_is_read(
        self, world: StoreWorld, store: Store, source: Path, strategy: str
    ) -> None:
        artifact = create_artifact("demo", store=store)
        artifact.add_dir(source)
        with pytest.raises(ValueError, match="version, skip, error, new, replace"):
            artifact.upload(conflict_strategy=strategy)
        assert written(world) == []

    def test_what_is_no_id_of_a_job_is_refused_and_leaves_no_record_that_can_not_be_read(
        self, world: StoreWorld, store: Store, source: Path
    ) -> None:
        artifact = create_artifact("demo", store=store)
        artifact.add_dir(source)
        for wrong in ("two\nlines", "x" * 300):
            with pytest.raises(InvalidName):
                artifact.upload(made_by=wrong)
        with pytest.raises(TypeError):
            artifact.upload(made_by=5)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            store.push(source, "demo", options=PushOptions(made_by=5))  # type: ignore[arg-type]
        assert not [key for key in written(world) if key.startswith(NAMES)]
        assert list(store.find(where="files > 0")) == []

    def test_an_empty_path_is_not_the_working_directory(
        self, world: StoreWorld, store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(source)
        artifact = create_artifact("demo", store=store)
        for add in (artifact.add_dir, artifact.add_file, lambda path: store.push(path, "demo")):
            with pytest.raises(SourceNotFound, match="empty path"):
                add("")
        assert not artifact.objects and written(world) == []

    def test_a_text_where_a_list_is_meant_is_not_taken_for_its_letters(
        self, world: StoreWorld, store: Store, source: Path
    ) -> None:
        artifact = create_artifact("demo", store=store)
        for patterns in ({"include": "*.png"}, {"exclude": "*.png"}):
            with pytest.raises(TypeError, match="list"):
                artifact.add_dir(source, **patterns)
        artifact.add_dir(source)
        for wrong in ({"aliases": "prod"}, {"made_from": "raw:v1"}):
            with pytest.raises(TypeError, match="list"):
                artifact.upload(**wrong)  # type: ignore[arg-type]
        assert written(world) == []
        artifact.upload()
        with pytest.raises(TypeError, match="list"):
            artifact.download(world.folder / "d", paths="a")
        assert not (world.folder / "d").exists()

    def test_folders_and_aliases(self, world: StoreWorld, store: Store, source: Path) -> None:
        artifact = create_artifact("demo", store=store)
        artifact.add_dir(source)
        for label in ("not one", "v3"):
            with pytest.raises(InvalidName, match=f"label '{label}'"):
                create_artifact("demo", labels=[label])
        for wrong in ({"folder": "../x"}, {"folder": "a b"}, {"aliases": ["v3"]}, {"aliases": ["not one"]}):
            with pytest.raises(InvalidName):
                artifact.upload(**wrong)
        with pytest.raises(NameNotFound, match="folder"):
            artifact.upload("nowhere", make_folder=False)
        with pytest.raises(NameNotFound, match="nothing"):
            artifact.upload(made_from=["nothing:v1"])
        assert not [key for key in written(world) if key.startswith(NAMES)]

    def test_a_load_of_what_is_not_there(self, store: Store) -> None:
        for path in ("demo", "folder/demo:v3", "demo:prod"):
            with pytest.raises(NameNotFound):
                load_artifact(path, store=store)

    def test_reading_before_the_upload(self, store: Store) -> None:
        artifact = create_artifact("demo", store=store)
        with pytest.raises(NameNotFound, match="upload"):
            artifact.open("x")
        with pytest.raises(NameNotFound, match="upload"):
            artifact.download("x")


class TestUpload:
    def test_folders_go_before_the_name(self, store: Store, source: Path) -> None:
        artifact = create_artifact("demo", store=store)
        artifact.add_dir(source)
        assert artifact.upload("models/vision").version == "models/vision/demo:v1"
        assert artifact.upload("models/vision", make_folder=False).action == "unchanged"

    def test_each_strategy_has_its_outcome(self, store: Store, source: Path) -> None:
        def upload(strategy: str, text: bytes) -> tuple[str, str | None]:
            artifact = create_artifact("demo", store=store)
            with artifact.new_file("x") as file:
                file.write(text)
            done = artifact.upload(conflict_strategy=strategy)
            return done.action, done.version

        assert upload("error", b"1") == ("committed", "demo:v1")
        with pytest.raises(VersionExists):
            upload("error", b"2")
        assert upload("skip", b"2") == ("skipped", "demo:v1")
        assert upload("version", b"2") == ("committed", "demo:v2")
        action, version = upload("new", b"3")
        assert action == "committed"
        assert version is not None
        assert version.startswith("demo_")
        assert upload("replace", b"4") == ("replaced", "demo:v3")
        assert [info.version for info in store.versions("demo")] == ["demo:v3"]

    @pytest.mark.parametrize("strategy", ["version", "skip", "error", "new", "replace"])
    def test_of_twenty_writers_each_has_one_defined_outcome(
        self, world: StoreWorld, strategy: str
    ) -> None:
        outcomes: list[str] = []

        def write(number: int) -> None:
            with world.store(user=f"writer-{number}") as store:
                artifact = create_artifact("demo", store=store)
                with artifact.new_file("x") as file:
                    file.write(b"%d" % number)
                try:
                    outcomes.append(artifact.upload(conflict_strategy=strategy).action)
                except VersionExists:
                    outcomes.append("exists")
                artifact.close()

        threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        live = world.live("demo")
        match strategy:
            case "version":
                assert outcomes == ["committed"] * 20
                assert len(live) == 20
            case "skip":
                assert (outcomes.count("committed"), outcomes.count("skipped"), len(live)) == (1, 19, 1)
            case "error":
                assert (outcomes.count("committed"), outcomes.count("exists"), len(live)) == (1, 19, 1)
            case "new":
                assert outcomes == ["committed"] * 20
                assert len(live) == 1
            case "replace":
                assert set(outcomes) <= {"committed", "replaced"}
                assert len(outcomes) == 20
                assert live

    def test_a_file_that_changed_since_it_was_added_is_stored_as_it_is_and_reported(
        self, world: StoreWorld, store: Store, source: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        artifact = create_artifact("demo", store=store)
        artifact.add_dir(source)
        artifact.add_file(source / "1.png", "copy")
        (source / "1.png").write_bytes(b"changed since")
        (source / "new").write_bytes(b"new")
        (source / "run.sh").unlink()
        with caplog.at_level(logging.WARNING):
            done = artifact.upload()
        assert {os.fsdecode(notice.path): notice.reason.partition(" ")[0] for notice in done.notices} == {
            "a/1.png": "changed",
            "copy": "changed",
            "a/new": "came",
            "a/run.sh": "gone",
        }
        assert "changed since it was added" in caplog.text
        assert world.pulled("demo")[b"copy"] == File(b"changed since")

    def test_a_file_that_is_gone_since_is_an_error(self, world: StoreWorld, store: Store, source: Path) -> None:
        artifact = create_artifact("demo", store=store)
        artifact.add_file(source / "1.png")
        (source / "1.png").unlink()
        with pytest.raises(SourceNotFound):
            artifact.upload()
        assert written(world) == []

    def test_an_expired_version_is_read_if_asked(self, world: StoreWorld, store: Store, source: Path) -> None:
        artifact = create_artifact("demo", store=store)
        artifact.add_dir(source)
        artifact.upload(ttl=1e-9)
        loaded = load_artifact("demo", store=store)
        with pytest.raises(VersionExpired):
            loaded.open("a/1.png")
        with pytest.raises(VersionExpired):
            loaded.download(world.folder / "d")
        assert loaded.open("a/1.png", allow_expired=True).read() == b"one"
        for references in (True, False):
            loaded.download(world.folder / f"d{references}", references=references, allow_expired=True)
            assert (world.folder / f"d{references}" / "a" / "1.png").read_bytes() == b"one"

    def test_a_time_to_live_is_recorded(self, store: Store, world: StoreWorld) -> None:
        create_artifact("demo", store=store).upload(ttl="30d")
        assert store.show("demo").expires
        with pytest.raises(ValueError, match="time-to-live"):
            create_artifact("demo", store=store).upload(ttl="soon")

    def test_what_it_was_made_from_and_by_is_recorded(
        self, store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.push(source, "raw")
        monkeypatch.setenv("ARTIFACTSTORE_JOB_ID", "job-7")
        create_artifact("demo", store=store).upload(made_from=["raw:latest"])
        info = store.show("demo")
        assert (info.made_by, [pin.version for pin in info.made_from]) == ("job-7", ["raw:v1"])


class TestLoaded:
    @pytest.fixture(autouse=True)
    def _uploaded(self, store: Store, source: Path) -> None:
        artifact = create_artifact("demo", labels=["l"], description="d", metadata={"m": 1}, store=store)
        artifact.add_dir(source)
        artifact.upload()

    def test_it_is_what_was_uploaded(self, store: Store) -> None:
        artifact = load_artifact("demo:v1", store=store)
        assert (artifact.name, artifact.version, artifact.labels) == ("demo", "demo:v1", ["l"])
        assert (artifact.description, artifact.metadata) == ("d", {"m": 1})
        assert list(artifact.objects) == ["a/1.png", "a/l", "a/run.sh", "a/sub/2.png"]

    def test_the_next_version_moves_only_what_is_new(self, world: StoreWorld, store: Store) -> None:
        artifact = load_artifact("demo", store=store)
        with artifact.new_file("extra") as file:
            file.write(b"extra")
        artifact.remove("a/sub")
        before, packs = world.content_chunks(), world.packs()
        count = CountBackend(world.memory)
        with world.store(through=count, user="other") as other:
            artifact._opened = artifact._store_like = other
            done = artifact.upload()
        assert done.version == "demo:v2"
        assert len(world.content_chunks(world.packs() - packs) - before) == 1
        assert sorted(world.pulled("demo")) == [b"a/1.png", b"a/l", b"a/run.sh", b"extra"]
        assert sorted(world.pulled("demo:v1")) == [b"a/1.png", b"a/l", b"a/run.sh", b"a/sub/2.png"]

    def test_an_added_file_replaces_the_stored_one_at_its_path(self, world: StoreWorld, store: Store) -> None:
        artifact = load_artifact("demo", store=store)
        with artifact.new_file("a/1.png") as file:
            file.write(b"other")
        artifact.upload()
        assert world.pulled("demo")[b"a/1.png"] == File(b"other")

    def test_changes_go_on_from_the_version_just_uploaded(self, world: StoreWorld, store: Store) -> None:
        artifact = load_artifact("demo", store=store)
        for name in ("x", "y"):
            with artifact.new_file(name) as file:
                file.write(name.encode())
            artifact.upload()
        assert artifact.version == "demo:v3"
        assert {b"x", b"y"} <= set(world.pulled("demo:v3"))

    def test_under_another_name_it_was_made_from_the_first(self, store: Store) -> None:
        artifact = load_artifact("demo", store=store)
        artifact.name = "copy"
        artifact.upload("folder")
        assert [pin.version for pin in store.show("folder/copy").made_from] == ["demo:v1"]

    def test_removing_twice_or_what_is_not_there_is_an_error(self, store: Store) -> None:
        artifact = load_artifact("demo", store=store)
        artifact.remove("a/sub")
        for path in ("a/sub", "a/sub/2.png", "nothing"):
            with pytest.raises(PathNotFound):
                artifact.remove(path)

    def test_one_object_is_read_without_downloading(self, store: Store) -> None:
        with load_artifact("demo", store=store).open("a/sub/2.png") as stream:
            assert stream.read() == b"two"

    def test_some_paths_are_downloaded_under_their_paths(self, world: StoreWorld, store: Store) -> None:
        place = world.folder / "out"
        artifact = load_artifact("demo", store=store)
        artifact.download(place, paths=["a/sub/", "a/1.png"])
        assert tree_at(place) == {b"a/sub/2.png": File(b"two"), b"a/1.png": File(b"one")}
        with pytest.raises(PathNotFound):
            artifact.download(place, paths=["a/nothing"])

    def test_a_local_edit_is_a_conflict_of_a_download(self, world: StoreWorld, store: Store) -> None:
        place = world.folder / "out"
        make_tree(place, {b"a/1.png": b"mine"})
        artifact = load_artifact("demo", store=store)
        with pytest.raises(DownloadConflict):
            artifact.download(place)
        assert tree_at(place) == {b"a/1.png": File(b"mine")}
        artifact.download(place, conflict_strategy="skip")
        assert tree_at(place)[b"a/1.png"] == File(b"mine")
        with pytest.raises(ValueError, match="error, skip, new, replace"):
            artifact.download(place, conflict_strategy="all")


class TestDictionary:
    def test_it_reads_back_what_was_not_uploaded_yet(self, world: StoreWorld, store: Store, source: Path) -> None:
        artifact = create_artifact("demo", labels=["l"], description="d", metadata={"m": [1, None]}, store=store)
        artifact.add_dir(source, "x", exclude=["*.sh"])
        artifact.add_file(source / "1.png", "one")
        data = json.loads(json.dumps(artifact.to_dict()))
        other = create_artifact("other", store=store)
        other.parse_from_dict(data)
        assert other.to_dict() == artifact.to_dict()
        other.upload()
        assert sorted(world.pulled("demo")) == [b"one", b"x/1.png", b"x/l", b"x/sub/2.png"]

    def test_it_reads_back_a_loaded_version_and_its_changes(
        self, world: StoreWorld, store: Store, source: Path
    ) -> None:
        store.push(source, "demo")
        artifact = load_artifact("demo", store=store)
        artifact.remove("sub")
        other = create_artifact("other", store=store)
        other.parse_from_dict(json.loads(json.dumps(artifact.to_dict())))
        other.upload()
        assert sorted(world.pulled("demo:v2")) == [b"1.png", b"l", b"run.sh"]

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"name": "../x"}, "name"),
            ({"name": 3}, "name"),
            ({"labels": ["no label"]}, "label"),
            ({"removed": ["../x"]}, "leave the artifact"),
            ({"version": "a:v1/inside"}, "inside"),
            ({"additions": [{"kind": "file", "path": "../x", "source": "/etc/hostname"}]}, "additions"),
            ({"additions": [{"kind": "file", "path": "x", "source": "relative"}]}, r"additions\[0\].*absolute"),
            ({"additions": [{"kind": "socket", "path": "x"}]}, "socket"),
            ({"additions": [{"kind": "new_file", "path": "x"}]}, "new_file"),
            ({"additions": [{"kind": "reference", "path": "x", "uri": "s3://b/k", "digest": "12"}]}, "digest"),
        ],
    )
    def test_what_is_not_one_is_refused_and_nothing_changes(
        self, store: Store, change: dict[str, object], match: str
    ) -> None:
        artifact = create_artifact("demo", store=store)
        before = artifact.to_dict()
        with pytest.raises(ValueError, match=match):
            artifact.parse_from_dict({**before, **change})
        assert artifact.to_dict() == before

    def test_a_source_that_is_gone_is_said(self, store: Store, source: Path) -> None:
        artifact = create_artifact("demo", store=store)
        artifact.add_file(source / "1.png")
        data = artifact.to_dict()
        (source / "1.png").unlink()
        with pytest.raises(SourceNotFound):
            create_artifact("other", store=store).parse_from_dict(data)


def test_the_settings_name_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tree(tmp_path / "a", TREE)
    monkeypatch.setenv("ARTIFACTSTORE_URL", str(tmp_path / "store"))
    monkeypatch.setenv("ARTIFACTSTORE_STATE_DIR", str(tmp_path / "state"))
    with artifactstore.create_artifact("demo") as artifact:
        artifact.add_dir(tmp_path / "a")
        artifact.upload()
    with artifactstore.load_artifact("demo") as loaded:
        assert isinstance(loaded, Artifact)
        loaded.download(tmp_path / "out")
    assert set(tree_at(tmp_path / "out")) == {b"a/" + path for path in TREE}


def test_every_error_is_of_the_tree_or_about_arguments() -> None:
    assert issubclass(PathExists, ArtifactStoreError)
    assert issubclass(InvalidPath, ValueError)
