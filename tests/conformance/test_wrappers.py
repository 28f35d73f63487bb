"""The suite over every wrapper, each around a backend in memory: with nothing planned, nothing may differ."""

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.fault import FaultBackend
from artifactstore.backend.wrappers.forward import ForwardingBackend
from artifactstore.testing.backend import BackendConformance


class TestForwardingBackend(BackendConformance):
    @pytest.fixture
    def backend(self) -> ForwardingBackend:  # type: ignore[override]
        return ForwardingBackend(MemoryBackend())


class TestCountBackend(BackendConformance):
    @pytest.fixture
    def backend(self) -> CountBackend:  # type: ignore[override]
        return CountBackend(MemoryBackend())


class TestFaultBackend(BackendConformance):
    @pytest.fixture
    def backend(self) -> FaultBackend:  # type: ignore[override]
        return FaultBackend(MemoryBackend())
