"""The suite over every wrapper, each around a backend in memory: with nothing planned, nothing may differ."""

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.fault import FaultBackend
from artifactstore.backend.wrappers.forward import ForwardingBackend
from artifactstore.backend.wrappers.limit import LimitBackend
from artifactstore.backend.wrappers.retry import RetryBackend
from artifactstore.testing.backend import BackendConformance
from artifactstore.testing.clock import VirtualClock


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


class TestRetryBackend(BackendConformance):
    @pytest.fixture
    def backend(self) -> RetryBackend:  # type: ignore[override]
        return RetryBackend(MemoryBackend(), clock=VirtualClock())


class TestLimitBackend(BackendConformance):
    @pytest.fixture
    def backend(self) -> LimitBackend:  # type: ignore[override]
        return LimitBackend(MemoryBackend(), clock=VirtualClock(), requests=3, rate_bytes=1 << 20)


class TestAllWrappersTogether(BackendConformance):
    @pytest.fixture
    def backend(self) -> CountBackend:  # type: ignore[override]
        clock = VirtualClock()
        limited = LimitBackend(FaultBackend(MemoryBackend()), clock=clock, requests=2, rate_bytes=1 << 20)
        return CountBackend(RetryBackend(limited, clock=clock))
