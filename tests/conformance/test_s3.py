"""The suite over S3: the server of the session, plain and behind the retries that a store adds."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from artifactstore.backend.protocol import Backend
from artifactstore.backend.s3 import S3Backend
from artifactstore.backend.wrappers.retry import RetryBackend
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.testing.backend import BackendConformance


def clear(backend: Backend) -> None:
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(backend.delete, [info.key for info in backend.list("")]):
            pass


class TestS3Backend(BackendConformance):
    overwrites_on_put = True

    @pytest.fixture
    def backend(self, s3_url: str) -> Iterator[S3Backend]:  # type: ignore[override]
        with contextlib.closing(S3Backend.from_url(s3_url, max_connections=16)) as backend:
            yield backend
            clear(backend)


class TestRetriedS3Backend(BackendConformance):
    overwrites_on_put = True
    large_body_bytes = 1 << 20
    many_objects = 1001

    @pytest.fixture
    def backend(self, s3_url: str) -> Iterator[RetryBackend]:  # type: ignore[override]
        with contextlib.closing(RetryBackend(S3Backend.from_url(s3_url), clock=SYSTEM_CLOCK)) as backend:
            yield backend
            clear(backend)
