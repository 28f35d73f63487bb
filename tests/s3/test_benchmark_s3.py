"""The benchmark that needs an S3 server, with little data. That numbers come out is tested, not which."""

import json
import os
import subprocess
import sys
from pathlib import Path

from s3.servers import S3Server

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


def test_random_reads_are_measured_for_both_tools(tmp_path: Path, s3_server: S3Server) -> None:
    out = tmp_path / "results" / "tiny.json"
    argv = [sys.executable, str(BENCHMARKS / "run.py"), "--only", "random-reads", "--scale", "0.001", "--runs", "1"]
    environ = {**os.environ, "AWS_ENDPOINT_URL": s3_server.endpoint_url}
    places = ["--work", str(tmp_path / "work"), "--out", str(out), "--peers", "none", "--s3", "env"]
    done = subprocess.run([*argv, *places], capture_output=True, text=True, timeout=200, env=environ)
    assert done.returncode == 0, done.stderr
    question = json.loads(out.read_text())["questions"]["random-reads"]
    assert set(question["tools"]) == {"artifactstore", "s3fs"}
    assert all(goal["measured"] is not None for goal in question["goals"])
    for columns in question["tools"].values():
        assert columns["ranges"]["median"]["request_count"] <= 50
