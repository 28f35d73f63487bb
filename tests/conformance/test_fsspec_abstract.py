"""fsspec's own suites for file systems, as far as they apply to one that can't be written: get, and open.

What the suites write as scenarios is pushed through a store: a version for each change.
"""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec.tests.abstract as abstract
import pytest

from artifactstore.filesystem.system import ArtifactFileSystem
from artifactstore.store import Store, open_store
from artifactstore.testing.stores import quick_folder

ROOT = "scenarios/now:latest"


class _Written(io.BytesIO):
    def __init__(self, scenario: "PushingFileSystem", path: str) -> None:
        super().__init__()
        self._scenario, self._path = scenario, path

    def close(self) -> None:
        if not self.closed:
            self._scenario.pipe_file(self._path, self.getvalue())
        super().close()


class PushingFileSystem(ArtifactFileSystem):
    """The file system under test, and the few ways of writing that the scenarios use: files beside it, then a push."""

    def __init__(self, store: Store, place: Path) -> None:
        super().__init__(store, latest_seconds=0)
        self.pushed, self.place = store, place
        place.mkdir()
        self._push()

    def _push(self) -> None:
        self.pushed.push(self.place, "scenarios/now")

    def _local(self, path: str) -> Path:
        return self.place / self._strip_protocol(path).removeprefix(ROOT).lstrip("/")

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self._local(path).mkdir(parents=True, exist_ok=True)
        self._push()

    mkdir = makedirs

    def pipe_file(self, path: str, value: bytes, **kwargs: Any) -> None:
        self._local(path).parent.mkdir(parents=True, exist_ok=True)
        self._local(path).write_bytes(value)
        self._push()

    def pipe(self, path: str, value: bytes, **kwargs: Any) -> None:
        self.pipe_file(path, value)

    def touch(self, path: str, **kwargs: Any) -> None:
        self.pipe_file(path, b"")

    def rm(self, path: str, recursive: bool = False, **kwargs: Any) -> None:
        local = self._local(path)
        shutil.rmtree(local) if local.is_dir() else local.unlink()
        self._push()

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        return _Written(self, path) if mode == "wb" else super()._open(path, mode, **kwargs)


class ArtifactFixtures(abstract.AbstractFixtures):
    @pytest.fixture
    def fs(self) -> Iterator[PushingFileSystem]:
        with quick_folder() as place, open_store(place / "store", state_path=place / "state") as store:
            yield PushingFileSystem(store, place / "scenario")

    @pytest.fixture
    def fs_path(self) -> str:
        return ROOT

    @pytest.fixture
    def fs_join(self) -> Any:
        return lambda *parts: "/".join(parts)


class TestGet(abstract.AbstractGetTests, ArtifactFixtures):
    pass


class TestOpen(abstract.AbstractOpenTests, ArtifactFixtures):
    pass
