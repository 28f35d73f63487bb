"""How many requests: on a storage far away, each is a round trip."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from harness.measure import Sample
from harness.question import Answer, Column, Context, Goal, Measure, S3Use
from harness.scene import S3Target, isolated_environ
from harness.tools import OWN_NAME

_COUNTER: Final = Path(__file__).resolve().parent.parent / "harness" / "count_requests.py"
_COLUMNS: Final = {
    "first-push": "first small push",
    "second-push": "second small push",
    "pull-name": "one file, by `name:latest`",
    "pull-version": "one file, by `name:vN`",
    "pull-alias": "one file, by alias",
}
_AT_MOST: Final = {"first-push": 12, "second-push": 15, "pull-name": 8, "pull-version": 8, "pull-alias": 10}


class RequestsQuestion:
    """Counted between the store and its backend, through the Python API; each pull from a cold start."""

    name = "requests"
    title = "Requests"
    s3_use = S3Use.WELCOME
    is_large = False

    def ask(self, context: Context) -> Answer:
        """Once: requests don't vary. On S3 where there is a server, else in memory."""
        many = context.corpus("many")
        failed: dict[str, str] = {}
        with TemporaryDirectory(dir=context.work) as scratch, many.shown("v1") as source:
            try:
                counts = _count(context, source, Path(scratch))
            except subprocess.CalledProcessError as error:
                counts, failed = {}, {OWN_NAME: f"the count ended with {error.returncode}"}
        where = "S3" if context.s3 else "memory, for want of an S3 server"
        file_count = many.contents["v1"].file_count
        return Answer(
            name=self.name,
            title=self.title,
            note=f"Backend: {where}. A small push: twenty files, then one of them changed. Pulls: one file of a "
            f"version of {file_count:,} files, nothing known locally.",
            columns=[Column(name=name, title=title) for name, title in _COLUMNS.items()],
            shown=(Measure.REQUESTS,),
            ratios_to="",
            goals=[Goal(column=name, measure=Measure.REQUESTS, at_most=most) for name, most in _AT_MOST.items()],
            samples={OWN_NAME: {name: [Sample(request_count=count)] for name, count in counts.items()}},
            failed=failed,
            corpora={"many v1": {"file_count": file_count, "content_bytes": many.contents["v1"].content_bytes}},
        )


def _count(context: Context, source: Path, scratch: Path) -> dict[str, int]:
    """Run `count_requests.py` in a process of its own, as it is not small."""
    target = S3Target(server=context.s3, prefix=scratch.name) if context.s3 else None
    url = f"s3://{target.path}?endpoint_url={target.server.endpoint_url}" if target else f"memory://{scratch.name}"
    argv = [sys.executable, str(_COUNTER), url, str(source), str(scratch)]
    try:
        done = subprocess.run(
            argv, env=isolated_environ(scratch, target), check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
    finally:
        if target:
            target.clear()
    counts: dict[str, int] = json.loads(done.stdout)
    return counts
