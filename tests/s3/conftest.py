"""Fixtures of the tests against a real server: the fault proxy, and backends that lose patience quickly."""

import contextlib
import logging
from collections.abc import Callable, Iterator

import pytest
from s3.proxy import FaultProxy
from s3.servers import S3Server

from artifactstore.backend.s3 import S3Backend
from artifactstore.backend.s3_location import parse_s3_url
from artifactstore.backend.s3_transport import Deadlines

QUICK = Deadlines(connect_seconds=2.0, answer_seconds=0.5, stall_seconds=0.2, stall_bytes=64 << 10)
OpenS3 = Callable[[str], S3Backend]


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    """Every level of every logger lands in the reports, which the session searches for secrets (fault 114)."""
    caplog.set_level(logging.DEBUG)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def open_s3() -> Iterator[OpenS3]:
    """Opens an S3 URL, and closes it after the test."""
    with contextlib.ExitStack() as stack:

        def open_url(url: str) -> S3Backend:
            backend = S3Backend(parse_s3_url(url, environ={}), max_connections=8, deadlines=QUICK)
            return stack.enter_context(contextlib.closing(backend))

        yield open_url


@pytest.fixture
def direct(s3_url: str, open_s3: OpenS3) -> S3Backend:
    """The place of this test, as it is."""
    return open_s3(s3_url)


@pytest.fixture
def s3(s3_url: str, s3_server: S3Server, proxy: FaultProxy, open_s3: OpenS3) -> S3Backend:
    """The same place, through the proxy."""
    prefix = s3_url.partition("?")[0].rpartition("/")[2]
    return open_s3(s3_server.url(prefix, endpoint_url=proxy.endpoint_url))
