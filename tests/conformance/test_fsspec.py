"""The suite over what fsspec opens: its memory (an object store of sorts) and its local files."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from artifactstore.backend.fsspec import FsspecBackend
from artifactstore.testing.backend import BackendConformance


class TestFsspecMemory(BackendConformance):
    overwrites_on_put = True

    @pytest.fixture
    def backend(self) -> Iterator[FsspecBackend]:  # type: ignore[override]
        yield FsspecBackend("memory://conformance/store")
        memory = fsspec.filesystem("memory")
        memory.store.clear()
        memory.pseudo_dirs[:] = [""]


class TestFsspecLocal(BackendConformance):
    overwrites_on_put = True

    @pytest.fixture
    def backend(self, tmp_path: Path) -> FsspecBackend:  # type: ignore[override]
        return FsspecBackend(f"file://{tmp_path}/store")
