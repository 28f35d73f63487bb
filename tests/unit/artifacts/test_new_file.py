"""Objects that are written into an artifact."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.artifacts.artifact import Artifact, create_artifact
from artifactstore.errors import InvalidPath, PathExists, SourceError
from artifactstore.store import Store
from artifactstore.testing.stores import File, StoreWorld


@pytest.fixture
def world(tmp_path: Path) -> StoreWorld:
    return StoreWorld(tmp_path)


@pytest.fixture
def store(world: StoreWorld) -> Iterator[Store]:
    with world.store() as store:
        yield store


@pytest.fixture
def artifact(store: Store) -> Iterator[Artifact]:
    with create_artifact("demo", store=store) as artifact:
        yield artifact


def test_a_plain_writer_adds_what_was_written_when_it_is_closed(world: StoreWorld, artifact: Artifact) -> None:
    writer = artifact.new_file("a")
    writer.write(b"content")
    assert "a" not in artifact.objects
    writer.close()
    writer.close()
    with artifact.new_file("b", "w") as file:
        print("text", file=file)
    artifact.upload()
    assert world.pulled("demo") == {b"a": File(b"content"), b"b": File(b"text\n")}


def test_the_path_is_checked_at_once(artifact: Artifact) -> None:
    with pytest.raises(InvalidPath):
        artifact.new_file("../a")
    first = artifact.new_file("a")
    with pytest.raises(PathExists, match="being written"):
        artifact.new_file("a")
    first.close()
    with pytest.raises(PathExists):
        artifact.new_file("a")


def test_an_upload_does_not_leave_out_what_is_still_being_written(world: StoreWorld, artifact: Artifact) -> None:
    writer = artifact.new_file("a")
    with pytest.raises(SourceError, match="'a' is still being written"):
        artifact.upload()
    assert not world.live("demo")
    writer.discard()
    writer.close()
    assert not artifact.upload().files


def test_an_exception_in_a_block_discards_it(artifact: Artifact) -> None:
    with pytest.raises(RuntimeError, match="stop"), artifact.new_file("a"):
        raise RuntimeError("stop")
    assert not artifact.objects
    artifact.new_file("a").close()
    assert list(artifact.objects) == ["a"]


def test_what_took_its_path_meanwhile_stays(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    writer = artifact.new_file("a")
    artifact.add_file(tmp_path / "other", "a")
    with pytest.raises(PathExists):
        writer.close()
    assert artifact.upload().content_bytes == 5


def test_an_upload_after_close_says_what_is_gone(world: StoreWorld, artifact: Artifact) -> None:
    with artifact.new_file("notes/a") as file:
        file.write(b"content")
    artifact.close()
    with pytest.raises(SourceError, match="'notes/a' was written with new_file, and went when the artifact was closed"):
        artifact.upload()
    assert not world.live("demo")
