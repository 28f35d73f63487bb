"""How long it takes to say something: what every command costs before its work begins."""

import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from harness.measure import Command, CommandFailed, Sample, measure
from harness.question import Answer, Column, Context, Goal, Measure, S3Use
from harness.scene import isolated_environ
from harness.tools import OWN_NAME

_LEAST_RUNS: Final = 11
_BARE: Final = "python -c pass"


class StartQuestion:
    """`artifactstore --help`, and the interpreter alone, in turns."""

    name = "start"
    title = "Start"
    s3_use = S3Use.NONE
    is_large = False

    def ask(self, context: Context) -> Answer:
        """At least `_LEAST_RUNS` runs: they are short. The first of each is a warm-up and does not count."""
        programs: Mapping[str, tuple[str, ...]] = {
            OWN_NAME: (context.tools[0].program, "--help"),
            _BARE: (sys.executable, "-c", "pass"),
        }
        samples: dict[str, list[Sample]] = {name: [] for name in programs}
        failed: dict[str, str] = {}
        with TemporaryDirectory(dir=context.work) as scratch:
            environ = isolated_environ(Path(scratch))
            for _ in range(1 + max(_LEAST_RUNS, context.runs)):
                for name in [name for name in programs if name not in failed]:
                    command = Command(argv=programs[name])
                    try:
                        samples[name].append(measure([command], environ=environ, log=Path(scratch) / "output"))
                    except CommandFailed as error:
                        failed[name] = str(error)
        return Answer(
            name=self.name,
            title=self.title,
            note="Files in the page cache.",
            columns=[Column(name="help", title="`--help`")],
            shown=(Measure.COMMAND, Measure.CPU),
            ratios_to=_BARE,
            goals=(Goal(column="help", measure=Measure.COMMAND, at_most=0.1),),
            samples={name: {"help": rows[1:]} for name, rows in samples.items() if name not in failed},
            failed=failed,
        )
