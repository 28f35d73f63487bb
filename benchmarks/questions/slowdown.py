"""How much uploads in the background slow down a program that computes."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from harness.measure import Sample
from harness.question import Answer, Column, Context, Goal, Measure, S3Use
from harness.scene import FolderTarget, S3Target, Target, isolated_environ
from harness.tools import OWN_NAME

_LOOP: Final = Path(__file__).resolve().parent.parent / "harness" / "train_loop.py"
_ALONE: Final = "the loop alone"
_SECONDS: Final = 120.0
_LEAST_SECONDS: Final = 2.0
_INTERVALS: Final = 4
_CHANGED_BYTES: Final = 100_000_000
_LEAST_CHANGED_BYTES: Final = 1 << 20
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class SlowdownQuestion:
    """A numpy loop that writes a checkpoint every 30 seconds: with a watch on its directory, and without."""

    name = "slowdown"
    title = "Training beside uploads"
    s3_use = S3Use.WELCOME
    is_large = False

    def ask(self, context: Context) -> Answer:
        """The two in turns, each in a fresh store."""
        seconds = max(_LEAST_SECONDS, _SECONDS * context.scale)
        changed = max(_LEAST_CHANGED_BYTES, round(_CHANGED_BYTES * context.scale))
        samples: dict[str, dict[str, list[Sample]]] = {}
        failed: dict[str, str] = {}
        for _ in range(context.runs):
            for name, mode in ((OWN_NAME, "watched"), (_ALONE, "alone")):
                try:
                    sample = _trained(context, mode, seconds, changed)
                except (subprocess.CalledProcessError, ValueError) as error:
                    failed[name] = _said(error)
                    continue
                samples.setdefault(name, {}).setdefault("steps", []).append(sample)
        where = "S3" if context.s3 else "a local store, for want of an S3 server"
        return Answer(
            name=self.name,
            title=self.title,
            note=f"{seconds:g} seconds of steps of about a millisecond in one thread; every "
            f"{seconds / _INTERVALS:g} seconds {changed / 1e6:,.0f} MB of 4 files are rewritten, which is not counted, "
            f"and uploaded. Backend: {where}. Processor seconds are those of the whole process.",
            columns=(Column(name="steps", title="1,000 steps"),),
            shown=(Measure.COMMAND, Measure.CPU),
            ratios_to=_ALONE,
            goals=[Goal(column="steps", measure=Measure.COMMAND, at_most=1.02, peer=_ALONE)],
            samples={name: columns for name, columns in samples.items() if name not in failed},
            failed=failed,
            corpora={"noise": {"changed_bytes": changed, "seconds": seconds}},
        )


def _trained(context: Context, mode: str, seconds: float, changed_bytes: int) -> Sample:
    """One run of the loop.

    Raises:
        CalledProcessError: It failed.
        ValueError: The watch did not upload.
    """
    with TemporaryDirectory(dir=context.work) as folder:
        scratch = Path(folder)
        target: Target = FolderTarget(path=scratch / "store", environ={})
        url = str(scratch / "store")
        if context.s3 is not None:
            target = S3Target(server=context.s3, prefix=scratch.name)
            url = f"s3://{target.path}?endpoint_url={context.s3.endpoint_url}"
        environ = {**isolated_environ(scratch / "home", target), **dict.fromkeys(_ONE_THREAD, "1")}
        argv = [sys.executable, str(_LOOP), mode, url, str(scratch), str(seconds), str(seconds / _INTERVALS)]
        try:
            made = [sys.executable, "-m", "artifactstore", "init", url]
            subprocess.run(made, env=environ, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            done = subprocess.run(
                [*argv, str(changed_bytes)], env=environ, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
            )
        finally:
            if isinstance(target, S3Target):
                target.clear()
    numbers = json.loads(done.stdout)
    if mode == "watched" and numbers["snapshots"] < _INTERVALS:
        raise ValueError(f"{numbers['snapshots']} snapshots were made of {_INTERVALS} checkpoints")
    return Sample(command_seconds=numbers["seconds"], cpu_seconds=numbers["cpu_seconds"])


def _said(error: subprocess.CalledProcessError | ValueError) -> str:
    return str(error) if isinstance(error, ValueError) else f"the loop ended with {error.returncode}"
