"""Loading from a store: everything comes back, and nothing that a version says is followed blindly."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from compat.t9k.conftest import objects_at, things
from compat.t9k.test_t9k_local import ALTERNATIVE
from compat.t9k.test_upload import made, stored

from artifactstore import ArtifactStoreError, PushOptions, Store
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.compat.t9k import em
from artifactstore.errors import CorruptData
from artifactstore.keys import PACKS
from artifactstore.transaction.edits import VersionEdit


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Go on as if on another machine; gives its parent directory."""

    def go() -> str:
        monkeypatch.setenv("EM_ARTIFACT_PARENT_DIR", "elsewhere")
        return "elsewhere"

    return go


def pushed(store: Store, work: Path, files: dict[str, bytes], **options: object) -> str:
    """A version that somebody made without t9k."""
    directory = work / "pushed"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    return store.push(directory, "alice/default/demo", options=PushOptions(**options)).version


@pytest.mark.parametrize(
    "path",
    ["/alice/default/demo", "default/demo", "/alice/default/demo/", "/alice/default/demo:v1", "default/demo:latest"],
)
def test_an_artifact_comes_back_as_it_was(store: Store, elsewhere: Callable[[], str], path: str) -> None:
    artifact = made(labels=["a", "b c", "a"], description="two\nlines é")
    os.makedirs(f"{artifact.local}/empty")
    os.chmod(f"{artifact.local}/data/x.txt", 0o755)
    artifact.add_reference("s3://bucket/key", "refs/")
    artifact.add_reference("https://host/x#y: z", "123")
    artifact.upload()
    parent = elsewhere()
    loaded = em.load_artifact(path=path)
    assert {**loaded.to_dict(), "remote": []} == {**artifact.to_dict(), "remote": []}
    assert loaded.local == f"{parent}/{artifact.alternative_name}"
    assert objects_at(loaded.local) == {"data/x.txt": b"content", "empty/": b""}
    assert os.access(f"{loaded.local}/data/x.txt", os.X_OK)
    assert loaded.objects == artifact.objects
    assert em.load_artifact(loaded.local).to_dict() == loaded.to_dict()


def test_the_history_has_the_upload_and_the_download(store: Store, elsewhere: Callable[[], str]) -> None:
    artifact = made()
    artifact.upload()
    elsewhere()
    loaded = em.load_artifact("default/demo")
    upload, download = loaded.remote
    assert upload == artifact.remote[0]
    assert download["action"] == "download" and download["host"] == store.url
    assert (download["id"], download["path"]) == ("alice/default/demo:v1", "/alice/default/demo")
    again = em.load_artifact("default/demo")
    assert [record["action"] for record in again.remote] == ["upload", "download", "download"]


def test_a_local_directory_wins(store: Store) -> None:
    artifact = made()
    artifact.upload(folder="/")
    os.rename(artifact.local, "demo")
    assert em.load_artifact("demo").local == "demo"


def test_loading_again_replaces_what_differs_and_keeps_what_is_not_in_the_version(store: Store) -> None:
    artifact = made()
    artifact.upload()
    Path(artifact.local, "data", "x.txt").write_text("edited here")
    Path(artifact.local, "mine").write_text("only here")
    loaded = em.load_artifact("default/demo")
    assert loaded.local == artifact.local
    assert objects_at(loaded.local) == {"data/x.txt": b"content", "mine": b"only here"}
    assert [record["action"] for record in loaded.remote] == ["upload", "download"]


def test_references_are_those_of_the_version(store: Store) -> None:
    artifact = made()
    artifact.add_reference("s3://bucket/one", "r")
    artifact.upload()
    artifact.add_reference("s3://bucket/two", "s")
    assert em.load_artifact("default/demo").objects["r"]["uri"] == "s3://bucket/one"
    assert "s" not in em.load_artifact("default/demo").objects


def test_an_older_version_can_be_named(store: Store, elsewhere: Callable[[], str]) -> None:
    artifact = made()
    artifact.upload()
    artifact.add_reference("s3://bucket/key")
    artifact.upload()
    elsewhere()
    assert list(em.load_artifact("default/demo:v1").objects) == ["data/x.txt"]
    assert list(em.load_artifact("default/demo").objects) == ["data/x.txt", "key"]


def test_what_was_edited_in_the_store_counts(store: Store, elsewhere: Callable[[], str]) -> None:
    made(labels=["old", "not for a store", "kept"], description="before").upload()
    store.edit("alice/default/demo", VersionEdit(message="after", add_labels=("new",), remove_labels=("old",)))
    elsewhere()
    loaded = em.load_artifact("default/demo")
    assert (loaded.labels, loaded.description) == (["not for a store", "kept", "new"], "after")


def test_a_loaded_artifact_is_the_same_one_and_not_a_conflict(store: Store, elsewhere: Callable[[], str]) -> None:
    made().upload()
    elsewhere()
    loaded = em.load_artifact("default/demo")
    loaded.add_reference("s3://bucket/key")
    loaded.upload(conflict_strategy="error")
    assert loaded.remote[-1]["id"] == "alice/default/demo:v2"
    assert stored(store, "alice/default/demo") == {"data/x.txt": b"content", "key": b"s3://bucket/key"}


def test_a_version_that_was_pushed_loads_as_the_same_artifact_each_time(store: Store, work: Path) -> None:
    pushed(store, work, {"x/y": b"z"}, message="text", labels=("good",))
    first = em.load_artifact("default/demo")
    second = em.load_artifact("default/demo")
    assert ALTERNATIVE.fullmatch(first.alternative_name)
    assert first.alternative_name == second.alternative_name and first.local == second.local
    assert (first.name, first.labels, first.description) == ("demo", ["good"], "text")
    assert objects_at(first.local) == {"x/y": b"z"}


# -- what is not there, or is something else -----------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/alice/default/other", "other", "default/demo:v9", "default/demo:prod", "a b", "/bob"]
)
def test_what_is_in_neither_place_is_a_runtime_error_and_an_os_error(store: Store, work: Path, path: str) -> None:
    made().upload()
    before = things(work)
    for kind in (RuntimeError, OSError, FileNotFoundError, ArtifactStoreError):
        with pytest.raises(kind, match=r"^Not a local directory or a remote path: '"):
            em.load_artifact(path)
    assert things(work) == before


def test_a_deleted_artifact_is_not_there(store: Store) -> None:
    made().upload()
    store.remove("alice/default/demo:v1")
    with pytest.raises(RuntimeError, match=r"Not a local directory or a remote path.*deleted"):
        em.load_artifact("default/demo")


def test_an_expired_artifact_is_not_read_by_accident(store: Store) -> None:
    made().upload()
    store.edit("alice/default/demo", VersionEdit(ttl=0.001))
    SYSTEM_CLOCK.sleep(0.01)
    with pytest.raises(RuntimeError, match="expired"):
        em.load_artifact("default/demo")


def test_a_folder_is_no_artifact(store: Store, work: Path) -> None:
    made().upload()
    before = things(work)
    with pytest.raises(RuntimeError, match="refers to type 'Folder' rather than 'Artifact'"):
        em.load_artifact("/alice/default")
    assert things(work) == before


def test_before_login_a_remote_path_is_no_local_directory() -> None:
    with pytest.raises(OSError, match=r"^Not a local directory: '/alice/default/demo'"):
        em.load_artifact("/alice/default/demo")


# -- what must not be followed -------------------------------------------------------------------------

GOOD = {
    "kind": "Artifact",
    "name": "demo",
    "labels": [],
    "description": "",
    "createdTimestamp": "2022-08-23T19:47:28+08:00",
    "alternativeName": "demo_220823_194728_4e48t2",
    "remote": [],
}
HOSTILE = [
    ("alternative name with dots", {**GOOD, "alternativeName": "../../../out"}),
    ("alternative name that is absolute", {**GOOD, "alternativeName": "/tmp/out"}),
    ("alternative name with a folder", {**GOOD, "alternativeName": "a/b"}),
    ("alternative name of dots", {**GOOD, "alternativeName": ".."}),
    ("hidden alternative name", {**GOOD, "alternativeName": ".bashrc"}),
    ("temporary alternative name", {**GOOD, "alternativeName": ".artifactstore-tmp-1"}),
    ("empty alternative name", {**GOOD, "alternativeName": ""}),
    ("alternative name with a version", {**GOOD, "alternativeName": "a:v1"}),
    ("alternative name that is a number", {**GOOD, "alternativeName": 3}),
    ("name with dots", {**GOOD, "name": "../x"}),
    ("no name", {key: value for key, value in GOOD.items() if key != "name"}),
    ("labels that are a text", {**GOOD, "labels": "abc"}),
    ("labels of numbers", {**GOOD, "labels": [1]}),
    ("description that is a list", {**GOOD, "description": ["x"]}),
    ("history that is a text", {**GOOD, "remote": "x"}),
    ("history of texts", {**GOOD, "remote": ["x"]}),
    ("history of numbers", {**GOOD, "remote": [{"action": 1}]}),
    ("history that is deep", {**GOOD, "remote": [{"action": {"a": "b"}}]}),
    ("a text", "x"),
    ("a list", [GOOD]),
    ("a number", 7),
]


@pytest.mark.parametrize("metadata", [case for _, case in HOSTILE], ids=[name for name, _ in HOSTILE])
def test_metadata_that_lies_is_refused_and_nothing_is_written(store: Store, work: Path, metadata: object) -> None:
    pushed(store, work, {"x": b"y"}, metadata={"t9k": metadata})
    before = things(work.parent)
    for kind in (RuntimeError, ArtifactStoreError):
        with pytest.raises(kind, match="not that of an Artifact"):
            em.load_artifact("default/demo")
    assert things(work.parent) == before


def test_metadata_as_it_should_be_is_followed(store: Store, work: Path) -> None:
    pushed(store, work, {"x": b"y"}, metadata={"t9k": GOOD})
    loaded = em.load_artifact("default/demo")
    assert loaded.local == ".em/artifacts/demo_220823_194728_4e48t2"


def test_another_artifact_s_directory_is_not_overwritten(store: Store, work: Path) -> None:
    mine = made("mine")
    pushed(store, work, {"data/x.txt": b"theirs"}, metadata={"t9k": {**GOOD, "alternativeName": mine.alternative_name}})
    before = things(mine.local)
    for kind in (RuntimeError, ArtifactStoreError):
        with pytest.raises(kind, match="holds another Artifact"):
            em.load_artifact("default/demo")
    assert things(mine.local) == before


def test_a_file_where_the_directory_would_be_is_not_overwritten(store: Store, work: Path) -> None:
    pushed(store, work, {"x": b"y"}, metadata={"t9k": GOOD})
    os.makedirs(".em/artifacts")
    Path(".em/artifacts/demo_220823_194728_4e48t2").write_text("mine")
    with pytest.raises(RuntimeError, match="no directory"):
        em.load_artifact("default/demo")
    assert Path(".em/artifacts/demo_220823_194728_4e48t2").read_text() == "mine"


@pytest.mark.parametrize("name", ["metadata.yaml", "references.yaml", "metadata.yaml/below"])
def test_a_version_with_a_file_called_like_the_artifact_s_own_is_refused(store: Store, work: Path, name: str) -> None:
    pushed(store, work, {name: b"kind: Run", "x": b"y"})
    before = things(work)
    with pytest.raises(RuntimeError, match=r"keeps its own.*artifactstore pull alice/default/demo:v1"):
        em.load_artifact("default/demo")
    assert things(work) == before


def test_a_version_with_links_is_refused(store: Store, work: Path) -> None:
    (work / "pushed").mkdir()
    os.symlink("/etc/passwd", work / "pushed" / "link")
    store.push(work / "pushed", "alice/default/demo")
    before = things(work)
    with pytest.raises(RuntimeError, match="symbolic link"):
        em.load_artifact("default/demo")
    assert things(work) == before


def test_damaged_content_is_found_and_no_artifact_is_made(store: Store, place: Path) -> None:
    made(content="x" * 100_000).upload()
    shutil.rmtree(".em")
    for pack in (place / PACKS).rglob("*"):
        if pack.is_file():
            os.chmod(pack, 0o644)
            pack.write_bytes(bytes(byte ^ 1 for byte in pack.read_bytes()))
    with pytest.raises(CorruptData):
        em.load_artifact("default/demo")
    assert not any(path.endswith("metadata.yaml") for path in things("."))


def test_a_download_that_was_cut_off_is_finished_by_the_next_one(store: Store, elsewhere: Callable[[], str]) -> None:
    artifact = made()
    artifact.upload()
    parent = elsewhere()
    os.makedirs(f"{parent}/{artifact.alternative_name}/data")
    Path(parent, artifact.alternative_name, "data", ".artifactstore-tmp-1").write_text("half")
    loaded = em.load_artifact("default/demo")
    assert list(loaded.objects) == ["data/x.txt"]
    loaded.add_reference("s3://bucket/key")
    loaded.upload()
