"""Fixtures: a small store, mounted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.filesystem.mounted import Mounted, make_small, mount, push_all

from artifactstore.testing.stores import StoreWorld


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> tuple[StoreWorld, Path]:
    return push_all(tmp_path_factory.mktemp("filesystem"))


@pytest.fixture
def mounted(pushed: tuple[StoreWorld, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Mounted]:
    make_small(monkeypatch)
    with mount(*pushed) as mounted:
        yield mounted
