"""References in stored versions: added, verified, pinned, unpinned."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.artifacts.webserver import WebServer

from artifactstore.artifacts.artifact import create_artifact, load_artifact
from artifactstore.artifacts.pinning import pin, unpin, verify_references
from artifactstore.artifacts.references import DriftState, Proof
from artifactstore.errors import (
    InvalidName,
    InvalidPath,
    PathExists,
    PathNotFound,
    ReferenceChanged,
    ReferenceGone,
    ReferenceNotAllowed,
    ReferenceNotFound,
    ReferenceUnreachable,
)
from artifactstore.manifest.model import EntryKind
from artifactstore.store import Store
from artifactstore.testing.stores import StoreWorld
from artifactstore.transaction.edits import VersionEdit
from artifactstore.transfer.progress import ProgressTotals


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("ARTIFACTSTORE_ALLOW_PRIVATE_REFERENCES", "1")
    monkeypatch.setenv("ARTIFACTSTORE_REFERENCE_ROOTS", str(tmp_path / "data"))
    with StoreWorld(tmp_path).store() as store:
        yield store


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    (data / "a.bin").write_bytes(b"content of a")
    (data / "deep" / "b.bin").write_bytes(b"content of b")
    return data


def kinds(store: Store, version: str) -> dict[str, EntryKind]:
    return {os.fsdecode(entry.path): EntryKind(entry.kind) for entry in store.files(version)}


def made(store: Store, data: Path, *, digest: bool = False) -> str:
    artifact = create_artifact("demo", labels=["raw"], description="with references", metadata={"n": 1}, store=store)
    artifact.add_reference(f"file://{data}", "ref", digest=digest)
    with artifact.new_file("own.txt", "w") as file:
        file.write("own")
    done = artifact.upload()
    assert done.version is not None
    return done.version


def test_prefix_is_added_as_one_reference_for_each_object(store: Store, data: Path) -> None:
    version = made(store, data)
    assert kinds(store, version) == {
        "own.txt": EntryKind.FILE,
        "ref/a.bin": EntryKind.REFERENCE,
        "ref/deep/b.bin": EntryKind.REFERENCE,
    }
    objects = load_artifact(version, store=store).objects
    assert objects["ref/a.bin"].uri == f"file://{data}/a.bin"
    assert objects["ref/a.bin"].size_bytes == 12


@pytest.mark.parametrize(
    ("digest", "phases", "files", "content_bytes"),
    [
        (False, ["looking at references"], 2, 0),
        (True, ["looking at references", "reading references"], 4, 24),
    ],
    ids=["looked at", "read"],
)
def test_adding_references_tells_how_far_it_is(
    store: Store, data: Path, digest: bool, phases: list[str], files: int, content_bytes: int
) -> None:
    seen = ProgressTotals()
    create_artifact("demo", store=store).add_reference(f"file://{data}", digest=digest, progress=seen)
    assert (seen.phases, seen.files, seen.content_bytes) == (phases, files, content_bytes)


@pytest.mark.parametrize(
    ("obj_path", "path"),
    [(None, "a.bin"), ("x/", "x/a.bin"), ("x/y.bin", "x/y.bin"), ("/y.bin", "y.bin")],
)
def test_object_goes_where_a_file_would(store: Store, data: Path, obj_path: str | None, path: str) -> None:
    artifact = create_artifact("demo", store=store)
    artifact.add_reference(f"file://{data}/a.bin", obj_path)
    assert list(artifact.objects) == [path]


@pytest.mark.parametrize(
    ("obj_path", "path"),
    [(None, "deep/b.bin"), ("x/", "x/deep/b.bin"), ("x", "x/b.bin"), (".", "b.bin")],
)
@pytest.mark.parametrize("slash", ["", "/"])
def test_prefix_goes_where_a_directory_would(
    store: Store, data: Path, obj_path: str | None, path: str, slash: str
) -> None:
    artifact = create_artifact("demo", store=store)
    artifact.add_reference(f"file://{data}/deep{slash}", obj_path)
    assert list(artifact.objects) == [path]


@pytest.mark.parametrize("obj_path", ["../x", "a/../../x", "a//b"])
def test_path_that_leaves_the_artifact_is_refused(store: Store, data: Path, obj_path: str) -> None:
    artifact = create_artifact("demo", store=store)
    with pytest.raises(InvalidPath):
        artifact.add_reference(f"file://{data}/a.bin", obj_path)
    assert not artifact.objects


def test_prefix_with_one_path_that_is_taken_adds_nothing(store: Store, data: Path) -> None:
    artifact = create_artifact("demo", store=store)
    with artifact.new_file("ref/deep/b.bin") as file:
        file.write(b"mine")
    with pytest.raises(PathExists):
        artifact.add_reference(f"file://{data}", "ref")
    assert list(artifact.objects) == ["ref/deep/b.bin"]


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("http://127.0.0.1:1/x", ReferenceUnreachable),
        ("file:///etc/passwd", ReferenceNotAllowed),
        ("https://user:secret-word@example.org/x", ReferenceNotAllowed),
        ("ftp://example.org/x", ReferenceNotAllowed),
        ("plain", ReferenceNotAllowed),
    ],
)
def test_uri_that_can_not_be_a_reference_adds_nothing(store: Store, uri: str, error: type[Exception]) -> None:
    artifact = create_artifact("demo", store=store)
    with pytest.raises(error):
        artifact.add_reference(uri)
    assert not artifact.objects


def test_empty_prefix_adds_nothing(store: Store, data: Path) -> None:
    (data / "empty").mkdir()
    artifact = create_artifact("demo", store=store)
    for uri in (f"file://{data}/empty", f"file://{data}/absent/"):
        with pytest.raises(ReferenceNotFound):
            artifact.add_reference(uri)
    assert not artifact.objects


def test_credentials_do_not_come_in_by_a_dictionary(store: Store, data: Path) -> None:
    artifact = create_artifact("demo", store=store)
    artifact.add_reference(f"file://{data}/a.bin")
    document = artifact.to_dict()
    [row] = document["additions"]
    row["uri"] = "https://user:secret-word@example.org/x"
    with pytest.raises((ReferenceNotAllowed, ValueError)) as caught:
        create_artifact("other", store=store).parse_from_dict(document)
    assert "secret-word" not in str(caught.value)


def test_options_are_used_and_not_kept(store: Store, web: WebServer) -> None:
    web.put("/x", b"content")
    artifact = create_artifact("demo", store=store)
    artifact.add_reference(f"{web.url}/x", storage_options={"headers": {"Authorization": "Bearer secret-word"}})
    assert web.requests[-1].headers["Authorization"] == "Bearer secret-word"
    assert "secret-word" not in str(artifact.to_dict())


# -- verify ---------------------------------------------------------------------------------------------


def test_verify_tells_what_drifted(store: Store, data: Path) -> None:
    version = made(store, data)
    assert [row.state for row in verify_references(store, version)] == [DriftState.SAME] * 2
    (data / "a.bin").write_bytes(b"longer than before")
    (data / "deep" / "b.bin").unlink()
    changed, gone = verify_references(store, version)
    assert (changed.path, changed.state) == (b"ref/a.bin", DriftState.CHANGED)
    assert ("size_bytes", 12, 18) in [(each.field, each.old, each.new) for each in changed.changes]
    assert (gone.path, gone.state) == (b"ref/deep/b.bin", DriftState.GONE)


def test_verify_by_content_needs_a_digest(store: Store, data: Path) -> None:
    version = made(store, data, digest=True)
    os.utime(data / "a.bin", ns=(0, 10**18))
    looked, read = (verify_references(store, version, ["ref/a.bin"], content=content)[0] for content in (False, True))
    assert looked.state is DriftState.CHANGED
    assert (read.state, read.proof, read.is_weak) == (DriftState.SAME, Proof.DIGEST, False)


def test_verify_of_what_is_no_reference_is_an_error(store: Store, data: Path) -> None:
    version = made(store, data)
    with pytest.raises(PathNotFound):
        verify_references(store, version, ["own.txt"])


# -- pin and unpin --------------------------------------------------------------------------------------


def test_pin_stores_the_content_and_carries_the_rest(store: Store, data: Path) -> None:
    version = made(store, data)
    done = pin(store, version)
    assert done.version == "demo:v2"
    assert set(kinds(store, "demo:v2").values()) == {EntryKind.FILE}
    with store.open("demo:v2/ref/deep/b.bin") as file:
        assert file.read() == b"content of b"
    with store.open("demo:v2/own.txt") as file:
        assert file.read() == b"own"
    info = store.show("demo:v2")
    assert (info.message, info.labels, info.metadata) == ("with references", ("raw",), {"n": 1})
    assert [each.version for each in info.made_from] == ["demo:v1"]
    assert kinds(store, "demo:v1")["ref/a.bin"] is EntryKind.REFERENCE


def test_pin_and_unpin_make_no_version_that_outlives_the_one_it_was(store: Store, data: Path) -> None:
    version = made(store, data)
    expires = store.edit(version, VersionEdit(ttl="30d")).expires
    assert expires
    pin(store, "demo")
    unpin(store, "demo")
    assert [info.expires for info in store.versions("demo")] == [expires] * 3
    store.edit("demo", VersionEdit(ttl="never"))
    pin(store, "demo")
    assert store.show("demo").expires == ""


def test_pin_of_one_path_leaves_the_others(store: Store, data: Path) -> None:
    pin(store, made(store, data), ["ref/deep"])
    assert kinds(store, "demo:v2") == {
        "own.txt": EntryKind.FILE,
        "ref/a.bin": EntryKind.REFERENCE,
        "ref/deep/b.bin": EntryKind.FILE,
    }


def test_pin_of_what_changed_stores_nothing(store: Store, data: Path) -> None:
    version = made(store, data)
    (data / "a.bin").write_bytes(b"CONTENT OF A")
    os.utime(data / "a.bin", ns=(0, 10**18))
    with pytest.raises(ReferenceChanged):
        pin(store, version)
    (data / "a.bin").unlink()
    with pytest.raises(ReferenceGone):
        pin(store, version)
    assert [each.version for each in store.versions("demo")] == ["demo:v1"]


def test_pin_without_references_is_an_error(store: Store) -> None:
    artifact = create_artifact("plain", store=store)
    with artifact.new_file("x") as file:
        file.write(b"x")
    artifact.upload()
    with pytest.raises(PathNotFound):
        pin(store, "plain")
    with pytest.raises(InvalidName):
        pin(store, "plain:v1/x")


def test_unpin_is_the_way_back(store: Store, data: Path) -> None:
    pin(store, made(store, data))
    done = unpin(store, "demo")
    assert done.version == "demo:v3"
    assert kinds(store, "demo:v3") == kinds(store, "demo:v1")
    rows = verify_references(store, "demo:v3", content=True)
    assert {(row.state, row.proof) for row in rows} == {(DriftState.SAME, Proof.DIGEST)}


def test_unpin_of_what_is_not_the_same_any_more_is_refused(store: Store, data: Path) -> None:
    pin(store, made(store, data))
    (data / "a.bin").write_bytes(b"CONTENT OF A")
    with pytest.raises(ReferenceChanged) as caught:
        unpin(store, "demo", ["ref/a.bin"])
    assert caught.value.old.keys() == caught.value.new.keys() == {"digest"}
    assert [each.version for each in store.versions("demo")] == ["demo:v2", "demo:v1"]
    assert unpin(store, "demo", ["ref/deep"]).version == "demo:v3"


def test_unpin_to_a_uri_that_is_given(store: Store, web: WebServer) -> None:
    artifact = create_artifact("demo", store=store)
    with artifact.new_file("x") as file:
        file.write(b"content")
    artifact.upload()
    web.put("/other", b"another")
    web.put("/same", b"content")
    with pytest.raises(PathNotFound):
        unpin(store, "demo", ["x"])
    with pytest.raises(ReferenceChanged):
        unpin(store, "demo", ["x"], uri=f"{web.url}/other")
    unpin(store, "demo", ["x"], uri=f"{web.url}/same")
    [entry] = store.files("demo")
    assert entry.reference is not None
    assert entry.reference.uri == f"{web.url}/same"
