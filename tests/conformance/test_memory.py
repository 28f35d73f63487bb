"""The suite over the backend in memory: the reference."""

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.testing.backend import BackendConformance


class TestMemoryBackend(BackendConformance):
    @pytest.fixture
    def backend(self) -> MemoryBackend:  # type: ignore[override]
        return MemoryBackend()
