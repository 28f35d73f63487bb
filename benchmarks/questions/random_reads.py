"""Random reads of a large file where it lies: through the file system, and of a plain object by s3fs."""

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

_READER: Final = Path(__file__).resolve().parent.parent / "harness" / "read_ranges.py"
_PEER: Final = "s3fs"
_FILE_BYTES: Final = 1 << 30
_LEAST_FILE_BYTES: Final = 8 << 20
_READS: Final = 1000
_LEAST_READS: Final = 50
_COLUMNS: Final = (
    Column(name="cold-1", title="one reader, cold"),
    Column(name="tables-1", title="one reader"),
    Column(name="tables-8", title="8 readers"),
    Column(name="tables-32", title="32 readers"),
    Column(name="ranges", title="`cat_ranges`"),
)


class RandomReadsQuestion:
    """64 KiB each, `cat_file` by threads of one process, and all by one call of `cat_ranges`."""

    name = "random-reads"
    title = "Random reads"
    s3_use = S3Use.NEEDED
    is_large = False

    def ask(self, context: Context) -> Answer:
        """The tools in turns, the same places for both, other ones in each run."""
        if context.s3 is None:
            raise ValueError("this is asked where there is an S3 server")
        length = max(_LEAST_FILE_BYTES, round(_FILE_BYTES * context.scale))
        count = min(_READS, max(_LEAST_READS, round(_READS * context.scale)))
        samples: dict[str, dict[str, list[Sample]]] = {}
        failed: dict[str, str] = {}
        with TemporaryDirectory(dir=context.work) as scratch:
            target = S3Target(server=context.s3, prefix=Path(scratch).name)
            try:
                _run(target, "put", length, Path(scratch) / "put")
                for run in range(context.runs):
                    for tool in (OWN_NAME, _PEER):
                        place = Path(scratch) / f"{tool}-{run}"
                        for name, numbers in json.loads(_run(target, tool, count, place, str(run))).items():
                            samples.setdefault(tool, {}).setdefault(name, []).append(_sample(numbers))
            except subprocess.CalledProcessError as error:
                samples, failed = {}, {OWN_NAME: f"the reader ended with {error.returncode}"}
            finally:
                target.clear()
        return Answer(
            name=self.name,
            title=self.title,
            note=f"{count:,} reads of 64 KiB of a file of {length / 2**20:,.0f} MiB that nothing can compress, at "
            "random places; seconds and requests are those of all of them. Where not cold, the tables of packs were "
            f"read before. Chunks are put into a cache on disk that holds none of them yet. {_PEER}: `cat_file` and "
            "`cat_ranges` of a plain object, as it comes; it checks nothing.",
            columns=_COLUMNS,
            shown=(Measure.COMMAND, Measure.CPU, Measure.REQUESTS),
            ratios_to=_PEER,
            goals=[
                Goal(column=column.name, measure=Measure.COMMAND, at_most=1.0, peer=_PEER) for column in _COLUMNS[1:]
            ],
            samples=samples,
            failed=failed,
            corpora={"noise": {"content_bytes": length, "read_count": count}},
        )


def _run(target: S3Target, verb: str, number: int, scratch: Path, *more: str) -> str:
    """`read_ranges.py` in a process of its own, with a home of its own."""
    scratch.mkdir()
    server = target.server
    argv = [sys.executable, str(_READER), verb, server.endpoint_url, server.bucket, target.prefix, str(number)]
    done = subprocess.run(
        [*argv, str(scratch), *more],
        env=isolated_environ(scratch / "home", target),
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def _sample(numbers: dict[str, float]) -> Sample:
    return Sample(
        command_seconds=numbers["seconds"],
        cpu_seconds=numbers["cpu_seconds"],
        request_count=round(numbers["request_count"]),
    )
