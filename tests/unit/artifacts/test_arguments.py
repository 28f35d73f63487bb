"""Arguments that can't be meant are refused where they are given, by name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artifactstore.artifacts.artifact import create_artifact, load_artifact
from artifactstore.errors import InvalidMetadata, InvalidName
from artifactstore.store import Store
from artifactstore.testing.stores import StoreWorld


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with StoreWorld(tmp_path).store() as store:
        yield store


class Scalar:
    """What numpy's numbers are like."""

    def item(self) -> float:
        return 1.5


class Array(Scalar):
    ndim = 1

    def tolist(self) -> list[float]:
        return [1.5]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"name": 5}, TypeError, "a name is a text, and not 5"),
        ({"name": None}, TypeError, "a name is a text"),
        ({"description": None}, TypeError, "the message: a text is meant, and not None"),
        ({"labels": [5]}, TypeError, "a label is a text, and not 5"),
        ({"labels": ["no label"]}, InvalidName, "no label"),
        ({"metadata": {"a": {1, 2}}}, InvalidMetadata, "metadata.a: JSON has no set$"),
        ({"metadata": {"a": [Scalar()]}}, InvalidMetadata, r"metadata.a\[0\]: JSON has no Scalar; its .item\(\) may"),
        ({"metadata": {"a": Array()}}, InvalidMetadata, r"JSON has no Array; its .tolist\(\) may be kept"),
    ],
    ids=str,
)
def test_when_an_artifact_is_made(store: Store, arguments: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        create_artifact(**{"name": "demo", **arguments}, store=store)


def test_when_it_is_uploaded_loaded_or_downloaded(store: Store, tmp_path: Path) -> None:
    artifact = create_artifact("demo", store=store)
    with pytest.raises(TypeError, match="folder is a text, and not 5"):
        artifact.upload(folder=5)  # type: ignore[arg-type]
    artifact.upload()
    with pytest.raises(TypeError, match="a path is a text, and not None"):
        load_artifact(None, store=store)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="paths is empty"):
        artifact.download(tmp_path / "there", paths=[])
    artifact.download(tmp_path / "there")


def test_metadata_is_the_artifacts_own(store: Store) -> None:
    given = {"a": [1]}
    artifact = create_artifact("demo", metadata=given, store=store)
    given["a"].append(2)
    assert artifact.metadata == {"a": [1]}
