"""How long a search takes: by label, where only matches are read, and by a condition, where everything is."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from harness.measure import Command, CommandFailed, Sample, measure
from harness.question import Answer, Column, Context, Goal, Measure, S3Use
from harness.scene import FolderTarget, S3Target, Target, isolated_environ
from harness.tools import OWN_NAME

_FILLER: Final = Path(__file__).resolve().parent.parent / "harness" / "fill_versions.py"
_ARTIFACTS: Final = 10_000
_LEAST_ARTIFACTS: Final = 5
_ASKED: Final[Mapping[str, tuple[str, ...]]] = {
    "label": ("--label", "chosen"),
    "labels": ("--label", "chosen", "--label", "all"),
    "label-where": ("--label", "chosen", "--where", "acc >= 0"),
    "where": ("--where", "acc >= 0", "--where", "message ~ run"),
}
_COLUMNS: Final = (
    Column(name="label", title="one label"),
    Column(name="labels", title="two labels"),
    Column(name="label-where", title="label and condition"),
    Column(name="where", title="condition alone, all match"),
)


class FindQuestion:
    """`artifactstore find`, whole processes, each with a home that has never met the store."""

    name = "find"
    title = "Finding versions"
    s3_use = S3Use.WELCOME
    is_large = False

    def ask(self, context: Context) -> Answer:
        """One store for all runs; searches leave nothing in it."""
        count = max(_LEAST_ARTIFACTS, round(_ARTIFACTS * context.scale))
        samples: dict[str, list[Sample]] = {}
        failed: dict[str, str] = {}
        chosen = 0
        with TemporaryDirectory(dir=context.work) as scratch:
            target = _target(context, Path(scratch))
            try:
                chosen = _filled(target, count, Path(scratch))
                for _ in range(context.runs):
                    for name in _ASKED:
                        found = chosen if name != "where" else count
                        samples.setdefault(name, []).append(_found(context, target, name, found))
            except (CommandFailed, subprocess.CalledProcessError, ValueError) as error:
                failed[OWN_NAME] = _said(error)
            finally:
                if isinstance(target, S3Target):
                    target.clear()
        where = "S3" if context.s3 else "a local store, for want of an S3 server"
        return Answer(
            name=self.name,
            title=self.title,
            note=f"{count:,} artifacts of one version each, {chosen:,} of them with the label. Backend: {where}. Each "
            "search with a fresh home, start of Python included, printed as JSON and counted.",
            columns=_COLUMNS,
            shown=(Measure.COMMAND, Measure.CPU, Measure.PEAK_RSS),
            ratios_to="",
            goals=[Goal(column="label", measure=Measure.COMMAND, at_most=2.0)],
            samples={} if failed else {OWN_NAME: samples},
            failed=failed,
            corpora={"versions": {"artifact_count": count, "labelled_count": chosen}},
        )


def _target(context: Context, scratch: Path) -> Target:
    if context.s3 is not None:
        return S3Target(server=context.s3, prefix=scratch.name)
    return FolderTarget(path=scratch / "store", environ={})


def _url(target: Target) -> str:
    if isinstance(target, S3Target):
        return f"s3://{target.path}?endpoint_url={target.server.endpoint_url}"
    return str(target.path)


def _filled(target: Target, count: int, scratch: Path) -> int:
    """Fill the store; how many versions have the label."""
    place = scratch / "fill"
    place.mkdir()
    argv = [sys.executable, str(_FILLER), _url(target), str(count), str(place)]
    environ = isolated_environ(scratch / "home-fill", target)
    done = subprocess.run(argv, env=environ, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    return int(json.loads(done.stdout))


def _found(context: Context, target: Target, name: str, expected: int) -> Sample:
    """One search.

    Raises:
        CommandFailed: It failed.
        ValueError: It did not find what is there.
    """
    program = context.tools[0].program
    with TemporaryDirectory(dir=context.work) as scratch:
        home = Path(scratch)
        command = Command(argv=(program, "--store", _url(target), "find", *_ASKED[name], "--json"))
        sample = measure([command], environ=isolated_environ(home, target), log=home / "output")
        items = len(json.loads((home / "output").read_text())["items"])
    if items != expected:
        raise ValueError(f"{name}: {items} versions were found, and {expected} are there")
    return sample


def _said(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"filling the store ended with {error.returncode}"
    return str(error)
