"""Fixtures: a small store, mounted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.filesystem.mounted import Mounted, make_small, mount, push_all

from artifactstore.testing.stores import StoreWorld


@pytest.fixture(autouse=True)
def _small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> tuple[StoreWorld, Path]:
    return push_all(tmp_path_factory.mktemp("filesystem"))


@pytest.fixture
def mounted(pushed: tuple[StoreWorld, Path]) -> Iterator[Mounted]:
    with mount(*pushed) as mounted:
        yield mounted
