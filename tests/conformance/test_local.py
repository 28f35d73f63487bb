"""The suite over a folder, with and without hard links."""

import errno
from pathlib import Path

import pytest

from artifactstore.backend.local import LocalBackend
from artifactstore.backend.syscalls import System
from artifactstore.testing.backend import BackendConformance


class TestLocalBackend(BackendConformance):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> LocalBackend:  # type: ignore[override]
        backend = LocalBackend(tmp_path / "store")
        backend.create_root()
        return backend


class WithoutHardLinks(System):
    """exFAT, or some FUSE."""

    def link(self, source: str, target: str) -> None:
        raise OSError(errno.EPERM, "no hard links here", target)


class TestLocalBackendWithoutHardLinks(BackendConformance):
    """Fault 46: for a single writer all but the race holds."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> LocalBackend:  # type: ignore[override]
        backend = LocalBackend(tmp_path / "store", system=WithoutHardLinks())
        backend.create_root()
        return backend
