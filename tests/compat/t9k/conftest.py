"""A place for each test: a working directory, a store, a user, and nobody logged in before or after."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore import Store, open_store
from artifactstore.compat.t9k import CONFIG, em, session
from artifactstore.testing.stores import quick_folder


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory of the script."""
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.setenv("ARTIFACTSTORE_USER", "alice")
    for name in ("EM_ARTIFACT_PARENT_DIR", "ARTIFACTSTORE_T9K_HOST", "ARTIFACTSTORE_URL"):
        monkeypatch.delenv(name, raising=False)
    yield directory
    if session.is_logged_in():
        em.logout()
    for key in CONFIG.to_dict():
        del CONFIG[key]


@pytest.fixture
def place() -> Iterator[Path]:
    """Where the store is."""
    with quick_folder() as folder:
        yield folder / "store"


@pytest.fixture
def store(place: Path) -> Iterator[Store]:
    """The store, as others see it. Nothing is in it; somebody is logged in to it."""
    with open_store(place) as store:
        store.init()
        em.login(ais_host=str(place), api_key="not-a-secret")
        yield store


def things(directory: str | os.PathLike[str]) -> dict[str, bytes]:
    """Every file below a directory, and empty directories with a slash behind them."""
    found = {}
    for root, folders, files in os.walk(directory):
        for name in files:
            full = os.path.join(root, name)
            found[os.path.relpath(full, directory)] = Path(full).read_bytes()
        if not folders and not files and root != str(directory):
            found[os.path.relpath(root, directory) + "/"] = b""
    return found


def objects_at(directory: str | os.PathLike[str]) -> dict[str, bytes]:
    """As `things`, without the two documents."""
    return {p: c for p, c in things(directory).items() if p not in ("metadata.yaml", "references.yaml")}
