"""The suite over a folder."""

from pathlib import Path

import pytest

from artifactstore.backend.local import LocalBackend
from artifactstore.testing.backend import BackendConformance


class TestLocalBackend(BackendConformance):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> LocalBackend:  # type: ignore[override]
        backend = LocalBackend(tmp_path / "store")
        backend.create_root()
        return backend
