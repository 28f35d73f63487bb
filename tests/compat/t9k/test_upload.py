"""Uploads: where they go, what the strategies do, and what stays as it was when they fail."""

import os
import shutil
import threading
from pathlib import Path

import pytest
from compat.t9k.conftest import objects_at, things

from artifactstore import ArtifactStoreError, Store, open_store
from artifactstore.compat.t9k import em, remote
from artifactstore.compat.t9k.em.artifact import Artifact
from artifactstore.manifest.model import EntryKind
from artifactstore.transaction.edits import VersionEdit
from artifactstore.transaction.listing import folder_state
from artifactstore.transaction.records import FolderState


def made(name: str = "demo", content: str = "content", **kwargs: object) -> Artifact:
    artifact = em.create_artifact(name, **kwargs)
    Path("source.txt").write_text(content)
    artifact.add_file("source.txt", "data/x.txt")
    return artifact


def stored(store: Store, reference: str) -> dict[str, bytes]:
    found, reference = {}, store.show(reference).version
    for entry in store.files(reference):
        path = os.fsdecode(entry.path)
        if entry.kind == EntryKind.FILE:
            found[path] = store.open(f"{reference}/{path}").read()
        elif entry.kind == EntryKind.REFERENCE:
            found[path] = entry.reference.uri.encode()
        else:
            found[path + "/"] = b""
    return found


def names(store: Store) -> list[str]:
    found, waiting = [], [""]
    while waiting:
        for item in store.list(waiting.pop()):
            (waiting if item.is_folder else found).append(item.name)
    return sorted(found)


# -- what goes up --------------------------------------------------------------------------------------


def test_an_upload_is_a_version_of_the_objects(store: Store) -> None:
    artifact = made(labels=["good", "not so good", "good", "v3"], description="two\nlines")
    os.makedirs(f"{artifact.local}/empty")
    Path(artifact.local, "written.log").write_text("by the script itself")
    Path(artifact.local, ".artifactignore").write_text("*")
    os.makedirs(f"{artifact.local}/.artifactstore-tmp-dead/of a killed add")
    Path(artifact.local, "data", ".artifactstore-tmp-gone").write_text("of a killed download")
    artifact.add_reference("s3://bucket/key", "refs/")
    assert artifact.upload() is None
    assert names(store) == ["alice/default/demo"]
    assert stored(store, "alice/default/demo:v1") == {
        ".artifactignore": b"*",
        "data/x.txt": b"content",
        "empty/": b"",
        "refs/key": b"s3://bucket/key",
        "written.log": b"by the script itself",
    }
    assert not any(".artifactstore-tmp" in path for path in things(artifact.local))
    info = store.show("alice/default/demo")
    assert (info.labels, info.message) == (("good",), "two\nlines")
    assert info.metadata["t9k"]["labels"] == ["good", "not so good", "good", "v3"]
    assert info.metadata["t9k"]["alternativeName"] == artifact.alternative_name
    assert [found.version for found in store.find(labels=["good"])] == ["alice/default/demo:v1"]


def test_the_history_says_where_it_went(store: Store) -> None:
    artifact = made()
    artifact.upload()
    (record,) = artifact.remote
    assert list(record) == ["action", "timestamp", "host", "id", "path"]
    assert record["action"] == "upload" and record["host"] == store.url
    assert (record["id"], record["path"]) == ("alice/default/demo:v1", "/alice/default/demo")
    assert em.load_artifact(artifact.local).remote == artifact.remote == artifact.to_dict()["remote"]


def test_what_a_link_in_the_local_directory_points_to_goes_up(store: Store, work: Path) -> None:
    artifact = made()
    (work / "large").write_text("behind a link")
    os.symlink(work / "large", f"{artifact.local}/linked")
    artifact.upload()
    assert stored(store, "alice/default/demo")["linked"] == b"behind a link"


def test_an_artifact_without_objects_can_be_uploaded(store: Store) -> None:
    em.create_artifact("demo").upload()
    assert stored(store, "alice/default/demo") == {}


def test_the_first_upload_to_a_folder_that_is_absent_makes_the_store(place: Path) -> None:
    em.login(str(place))
    assert not place.exists()
    made().upload()
    with open_store(place) as store:
        assert names(store) == ["alice/default/demo"]


# -- folders -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "folder,path",
    [
        ("default", "alice/default"),
        ("default/", "alice/default"),
        ("/alice/default", "alice/default"),
        ("/alice/default/", "alice/default"),
        ("", "alice"),
        ("/alice", "alice"),
        ("/", ""),
    ],
)
def test_some_folders_are_always_there(store: Store, folder: str, path: str) -> None:
    artifact = made()
    artifact.upload(folder=folder)
    assert names(store) == [f"{path}/demo".lstrip("/")]
    assert artifact.remote[-1]["path"] == f"/{path}/demo".replace("//", "/")


@pytest.mark.parametrize("folder", ["other", "default/sub", "/bob", "/bob/default", "a/b/c"])
def test_a_folder_that_is_missing_is_a_value_error_and_nothing_is_written(
    store: Store, place: Path, folder: str
) -> None:
    artifact = made()
    before, stored_before = things(artifact.local), things(place)
    for strategy in ("new", "skip", "error", "replace"):
        with pytest.raises(ValueError, match=r"^Folder does not exist: '/") as caught:
            artifact.upload(folder=folder, conflict_strategy=strategy)
        assert isinstance(caught.value, ArtifactStoreError)
    assert things(artifact.local) == before and things(place) == stored_before


def test_make_folder_makes_it_and_those_above_and_they_stay(store: Store) -> None:
    artifact = made()
    artifact.upload(folder="cv/mnist", make_folder=True)
    assert names(store) == ["alice/cv/mnist/demo"]
    for folder in ("alice", "alice/cv", "alice/cv/mnist"):
        assert folder_state(store.catalog.backend, folder) is FolderState.MADE
    store.remove("alice/cv/mnist/demo:v1")
    made("second").upload(folder="cv/mnist")
    made("third").upload(folder="cv")
    assert "alice/cv/mnist/second" in names(store) and "alice/cv/third" in names(store)


def test_a_folder_in_which_somebody_has_something_is_there(store: Store, work: Path) -> None:
    (work / "dir").mkdir()
    store.push(work / "dir", "shared/models/resnet")
    made().upload(folder="/shared/models")
    assert names(store) == ["shared/models/demo", "shared/models/resnet"]


@pytest.mark.parametrize("folder", ["a b", "ü", "../up", "/a//b", ":v1", "x@y", "/" + "/".join("abcdefghi"), ".hidden"])
@pytest.mark.parametrize("make_folder", [True, False])
def test_a_folder_that_no_store_can_have_is_a_value_error(
    store: Store, place: Path, folder: str, make_folder: bool
) -> None:
    artifact = made()
    before = things(place)
    with pytest.raises(ValueError):
        artifact.upload(folder=folder, make_folder=make_folder)
    assert things(place) == before and artifact.remote == []


@pytest.mark.parametrize(
    "given,user", [("bob", "bob"), ("b o b", "b_o_b"), ("DOM\\bob", "DOM_bob"), ("-b", "_b"), (".b", "_b"), ("ü", "_")]
)
def test_the_user_s_name_is_made_one_that_a_store_can_have(
    store: Store, monkeypatch: pytest.MonkeyPatch, given: str, user: str
) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_USER", given)
    em.login(store.url)
    made().upload()
    assert names(store) == [f"{user}/default/demo"]


# -- strategies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["", "New", "version", "overwrite", None])
def test_a_strategy_that_is_none_is_refused_before_anything_else(store: Store, place: Path, strategy: str) -> None:
    artifact = made()
    before = things(place)
    for call in (artifact.upload, lambda **given: em.upload(artifact.local, **given)):
        with pytest.raises(ValueError, match=r"^Not supported conflict strategy"):
            call(conflict_strategy=strategy)
    assert things(place) == before and artifact.remote == []


@pytest.mark.parametrize("strategy", ["new", "skip", "error", "replace"])
def test_without_a_conflict_every_strategy_uploads(store: Store, strategy: str) -> None:
    made().upload(conflict_strategy=strategy)
    assert names(store) == ["alice/default/demo"]


@pytest.mark.parametrize("strategy", ["new", "skip", "error", "replace"])
def test_the_same_artifact_is_no_conflict_but_a_new_version(store: Store, strategy: str) -> None:
    artifact = made()
    artifact.upload()
    os.unlink(f"{artifact.local}/data/x.txt")
    Path(artifact.local, "y").write_text("new")
    again = em.load_artifact(artifact.local)
    again.upload(conflict_strategy=strategy)
    assert names(store) == ["alice/default/demo"]
    assert stored(store, "alice/default/demo") == {"data/": b"", "y": b"new"}
    assert stored(store, "alice/default/demo:v1") == {"data/x.txt": b"content"}
    assert [record["id"] for record in again.remote] == ["alice/default/demo:v1", "alice/default/demo:v2"]


def test_the_same_content_again_is_no_new_version_but_one_more_record(store: Store) -> None:
    artifact = made()
    artifact.upload()
    artifact.upload()
    assert len(list(store.versions("alice/default/demo"))) == 1
    assert [record["id"] for record in artifact.remote] == ["alice/default/demo:v1"] * 2


def test_what_an_artifact_says_of_itself_is_renewed_without_new_content(store: Store) -> None:
    artifact = made(labels=["old", "kept"], description="before")
    artifact.upload()
    artifact.parse_from_dict({**artifact.to_dict(), "labels": ["kept", "new one", "new"], "description": "after"})
    artifact.upload()
    (info,) = store.versions("alice/default/demo")
    assert (set(info.labels), info.message) == ({"kept", "new"}, "after")
    shutil.rmtree(".em")
    assert em.load_artifact("default/demo").labels == ["kept", "new one", "new"]


def test_new_takes_the_alternative_name(store: Store) -> None:
    made().upload()
    other = made(content="other")
    other.upload()
    own = f"alice/default/{other.alternative_name}"
    assert names(store) == ["alice/default/demo", own]
    assert stored(store, own) == {"data/x.txt": b"other"}
    assert other.remote[-1]["path"] == f"/{own}"
    other.add_reference("s3://bucket/key")
    other.upload()
    assert [record["id"] for record in other.remote] == [f"{own}:v1", f"{own}:v2"]


def test_skip_does_nothing_and_records_nothing(store: Store, place: Path) -> None:
    made().upload()
    other = made(content="other")
    before = things(place)
    assert other.upload(conflict_strategy="skip") is None
    assert other.remote == [] and things(place) == before


def test_error_is_a_runtime_error_and_nothing_is_written(store: Store, place: Path) -> None:
    made().upload()
    other = made(content="other")
    before, local = things(place), things(other.local)
    message = "^Artifact already exists in Folder /alice/default: 'demo'"
    for kind in (RuntimeError, ArtifactStoreError):
        with pytest.raises(kind, match=message):
            other.upload(conflict_strategy="error")
    assert things(place) == before and things(other.local) == local


def test_replace_deletes_the_other_s_versions_once_its_own_is_there(store: Store) -> None:
    first = made()
    first.upload()
    first.add_file("source.txt", "more")
    first.upload()
    other = made(content="other", labels=["mine"])
    other.upload(conflict_strategy="replace")
    (info,) = store.versions("alice/default/demo")
    assert info.version == "alice/default/demo:v3" and info.labels == ("mine",)
    assert stored(store, "alice/default/demo") == {"data/x.txt": b"other"}
    # The first one is another Artifact there now.
    with pytest.raises(RuntimeError, match="already exists"):
        first.upload(conflict_strategy="error")


def test_replace_by_the_same_content_makes_it_the_other_artifact(store: Store) -> None:
    made(labels=["first"]).upload()
    other = made(labels=["second"], description="mine")
    other.upload(conflict_strategy="replace")
    shutil.rmtree(".em")
    loaded = em.load_artifact("default/demo")
    assert (loaded.alternative_name, loaded.labels) == (other.alternative_name, ["second"])
    other_again = em.load_artifact(loaded.local)
    other_again.upload(conflict_strategy="error")


def test_a_name_that_was_pushed_to_is_another_artifact_s(store: Store, work: Path) -> None:
    (work / "dir").mkdir()
    store.push(work / "dir", "alice/default/demo")
    with pytest.raises(RuntimeError, match="already exists"):
        made().upload(conflict_strategy="error")
    artifact = made()
    artifact.upload()
    assert names(store) == ["alice/default/demo", f"alice/default/{artifact.alternative_name}"]


def test_an_alternative_name_that_is_taken_is_an_error(store: Store, work: Path) -> None:
    made().upload()
    other = made()
    (work / "dir").mkdir()
    store.push(work / "dir", f"alice/default/{other.alternative_name}")
    with pytest.raises(RuntimeError, match=f"already exists in Folder /alice/default: '{other.alternative_name}'"):
        other.upload()
    assert other.remote == []


def test_a_deleted_name_is_free_again(store: Store) -> None:
    made().upload()
    store.remove("alice/default/demo:v1")
    other = made(content="other")
    other.upload(conflict_strategy="error")
    assert other.remote[-1]["id"] == "alice/default/demo:v2"


@pytest.mark.parametrize("strategy,count", [("new", 6), ("skip", 1), ("error", 1)])
def test_of_many_at_once_one_has_the_name(store: Store, strategy: str, count: int) -> None:
    artifacts = [made(content=f"content {number}") for number in range(6)]
    outcomes: list[BaseException | None] = [None] * 6

    def upload(number: int) -> None:
        try:
            artifacts[number].upload(conflict_strategy=strategy)
        except RuntimeError as error:
            outcomes[number] = error

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(store)) == count
    uploaded = [artifact for artifact in artifacts if artifact.remote]
    assert len(uploaded) == count
    assert sum(error is not None for error in outcomes) == (5 if strategy == "error" else 0)
    for artifact in uploaded:
        assert stored(store, artifact.remote[-1]["id"]) == objects_at(artifact.local)


def test_who_comes_in_between_is_seen(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = made(), made(content="other")
    real, asked = remote.newest, []

    def late(store: Store, name: str):
        asked.append(name)
        found = real(store, name)
        if len(asked) == 1:
            first.upload()
        return found

    monkeypatch.setattr(remote, "newest", late)
    second.upload()
    assert names(store) == ["alice/default/demo", f"alice/default/{second.alternative_name}"]


# -- failures ------------------------------------------------------------------------------------------


def test_before_login_nothing_is_uploaded() -> None:
    artifact = made()
    for call in (artifact.upload, lambda: em.upload(artifact.local)):
        for kind in (RuntimeError, ArtifactStoreError):
            with pytest.raises(kind, match=r"^Not logged in"):
                call()
    assert artifact.remote == []


def test_an_upload_that_fails_is_not_recorded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = made()
    before = things(artifact.local)
    os.symlink("nowhere", f"{artifact.local}/dangling")
    with pytest.raises(ArtifactStoreError):
        artifact.upload()
    os.unlink(f"{artifact.local}/dangling")
    assert things(artifact.local) == before and artifact.remote == [] and names(store) == []


def test_a_reference_below_a_file_is_refused(store: Store, place: Path) -> None:
    artifact = made()
    artifact.add_reference("s3://bucket/key", "x")
    Path(artifact.local, "x").write_text("put there by hand")
    before = things(place)
    with pytest.raises(ArtifactStoreError, match="two entries"):
        artifact.upload()
    assert artifact.remote == [] and names(store) == [] and things(place).keys() >= before.keys()


def test_a_secret_in_a_reference_that_the_original_wrote_does_not_go_up(store: Store, place: Path) -> None:
    artifact = made()
    Path(artifact.local, "references.yaml").write_text("x: s3://user:hunter2@bucket/key\n")
    before = things(place)
    with pytest.raises(ValueError) as caught:
        artifact.upload()
    assert "hunter2" not in str(caught.value)
    assert things(place) == before


def test_records_that_others_added_meanwhile_stay(store: Store) -> None:
    artifact = made()
    twin = em.load_artifact(artifact.local)
    twin.upload()
    artifact.upload(folder="/alice")
    paths = [record["path"] for record in em.load_artifact(artifact.local).remote]
    assert paths == ["/alice/default/demo", "/alice/demo"]
    assert artifact.remote == em.load_artifact(artifact.local).remote


def test_description_and_labels_of_any_length_travel(store: Store) -> None:
    description = "ö" * 50_000
    artifact = made(labels=["é b", "x" * 500], description=description)
    artifact.upload()
    shutil.rmtree(".em")
    loaded = em.load_artifact("default/demo")
    assert (loaded.description, loaded.labels) == (description, ["é b", "x" * 500])


def test_what_is_too_long_for_a_store_is_refused_and_nothing_is_written(store: Store, place: Path) -> None:
    artifact = made(description="x" * (1 << 20))
    with pytest.raises(ValueError):
        artifact.upload()
    assert names(store) == [] and artifact.remote == []


def test_metadata_that_others_noted_stays(store: Store) -> None:
    artifact = made()
    artifact.upload()
    store.edit("alice/default/demo", VersionEdit(set_metadata={"accuracy": 0.9}))
    artifact.parse_from_dict({**artifact.to_dict(), "description": "after"})
    artifact.upload()
    info = store.show("alice/default/demo")
    assert info.metadata["accuracy"] == 0.9 and info.message == "after"


# -- em.upload -----------------------------------------------------------------------------------------


def test_one_artifact_by_its_directory(store: Store) -> None:
    artifact = made()
    for path in (artifact.local, f"{artifact.local}/", os.path.abspath(artifact.local)):
        assert em.upload(path=path) is None
    assert names(store) == ["alice/default/demo"]
    assert len(em.load_artifact(artifact.local).remote) == 3


def test_all_artifacts_of_a_parent_directory(store: Store) -> None:
    made("one"), made("two"), made("two")
    os.makedirs(".em/artifacts/not_one")
    Path(".em/artifacts/file_220101_000000_abcdef").write_text("")
    em.upload(path=".em/artifacts", folder="all", make_folder=True)
    assert len(names(store)) == 3
    assert {"alice/all/one", "alice/all/two"} < set(names(store))


def test_a_renamed_directory_is_one_artifact(store: Store) -> None:
    os.rename(made().local, "renamed")
    em.upload("renamed")
    assert names(store) == ["alice/default/demo"]


def test_nothing_to_upload_is_a_runtime_error(store: Store, work: Path) -> None:
    (work / "dir" / "sub").mkdir(parents=True)
    for kind in (RuntimeError, ArtifactStoreError):
        with pytest.raises(kind, match=r"^No Run/Artifact is to be uploaded"):
            em.upload("dir")
    with pytest.raises(FileNotFoundError):
        em.upload("nothing")


def test_a_run_is_refused_before_anything_is_uploaded(store: Store) -> None:
    made("aaa")
    run = Path(".em/artifacts/zzz_220101_000000_abcdef")
    run.mkdir()
    (run / "metadata.yaml").write_text("kind: Run\nname: zzz\n")
    with pytest.raises(NotImplementedError, match="is a Run"):
        em.upload(".em/artifacts")
    with pytest.raises(RuntimeError):
        em.upload(str(run))
    assert names(store) == []


def test_a_directory_that_can_t_be_read_is_seen_before_anything_is_uploaded(store: Store) -> None:
    made("aaa")
    Path(made("zzz").local, "metadata.yaml").write_text("kind: Artifact\nname: [")
    with pytest.raises(ValueError, match="Invalid file of Artifact"):
        em.upload(".em/artifacts")
    assert names(store) == []
