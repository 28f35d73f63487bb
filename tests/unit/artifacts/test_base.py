"""The version that an artifact was loaded from, when others have come meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.artifacts.artifact import Artifact, create_artifact, load_artifact
from artifactstore.store import Store
from artifactstore.testing.stores import StoreWorld


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with StoreWorld(tmp_path).store() as store:
        yield store


def uploaded(artifact: Artifact, content: bytes) -> list[str]:
    with artifact.new_file("x") as file:
        file.write(content)
    return [notice.reason for notice in artifact.upload().notices]


def test_an_upload_over_versions_that_it_does_not_build_on_says_so(store: Store) -> None:
    uploaded(create_artifact("demo", store=store), b"1")
    mine, theirs = load_artifact("demo", store=store), load_artifact("demo", store=store)
    assert uploaded(theirs, b"2") == []
    [reason] = uploaded(mine, b"3")
    assert reason.startswith("made out of demo:v1, and not of demo:v2, which was the newest")
    assert uploaded(mine, b"4") == []


def test_versions_that_were_deleted_are_not_missed(store: Store) -> None:
    uploaded(create_artifact("demo", store=store), b"1")
    mine = load_artifact("demo", store=store)
    uploaded(load_artifact("demo", store=store), b"2")
    store.remove("demo:v2")
    assert uploaded(mine, b"3") == []
