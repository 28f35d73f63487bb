"""Questions about pushing and pulling a directory, and the steps that they have in common."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from harness.measure import CommandFailed, Sample
from harness.question import ANY_COLUMN, Answer, Context, Goal, Measure, S3Use
from harness.scene import S3Target, Target
from harness.session import Pull, Push, Since, Step, WrongContent, session
from harness.tools import Tool

_SHOWN: Final = (Measure.WALL, Measure.CPU, Measure.PEAK_RSS, Measure.ADDED)

PUSH: Final = Step(name="push", title="first push", action=Push(version="v1", label="v1", since=Since.FIRST))
UNCHANGED: Final = Step(
    name="unchanged", title="unchanged", action=Push(version="v1", label="v1-again", since=Since.UNCHANGED)
)
UNCHANGED_COLD: Final = Step(
    name="unchanged-cold",
    title="unchanged, fresh home",
    action=Push(version="v1", label="v1-fresh", since=Since.UNCHANGED, home="fresh"),
)
PULL: Final = Step(name="pull", title="pull", action=Pull(version="v1", label="v1"))
PUSH_SECOND: Final = Step(
    name="push-second", title="second version", action=Push(version="v2", label="v2", since=Since.CHANGED)
)
PULL_SECOND: Final = Step(name="pull-second", title="pull of it", action=Pull(version="v2", label="v2"))
PEAK_MEMORY: Final = Goal(column=ANY_COLUMN, measure=Measure.PEAK_RSS, at_most=400e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryQuestion:
    """Every tool that speaks to this kind of store goes through the steps, in a fresh store each time.

    Attributes:
        kind: Of store.
        ratios_to: The tool that times are compared with in tables.
        chosen_tools: Only these; empty for all of them.
        most_runs: Even if more are asked for.
    """

    name: str
    title: str
    note: str
    corpus: str
    kind: type[Target]
    steps: Sequence[Step]
    ratios_to: str
    goals: Sequence[Goal]
    is_large: bool = False
    chosen_tools: Sequence[str] = ()
    most_runs: int = sys.maxsize

    @property
    def s3_use(self) -> S3Use:
        return S3Use.NEEDED if self.kind is S3Target else S3Use.NONE

    def ask(self, context: Context) -> Answer:
        """Tools in turns, each run beginning with the next one: none always follows the same other one's traces."""
        data = context.corpus(self.corpus)
        tools = [tool for tool in context.tools if self._asks(tool)]
        runs = min(context.runs, self.most_runs)
        samples: dict[str, dict[str, list[Sample]]] = {tool.name: {} for tool in tools}
        failed: dict[str, str] = {}
        for run in range(runs):
            first = run % len(tools)
            for tool in tools[first:] + tools[:first]:
                if tool.name not in failed:
                    print(f"  {self.name}, run {run + 1} of {runs}: {tool.name}", file=sys.stderr, flush=True)
                    self._measure(context, tool, samples[tool.name], failed)
        return Answer(
            name=self.name,
            title=self.title,
            note=self.note,
            columns=[step.column for step in self.steps],
            shown=_SHOWN,
            ratios_to=self.ratios_to,
            goals=self.goals,
            samples={name: columns for name, columns in samples.items() if name not in failed},
            failed=failed,
            corpora={f"{self.corpus} {version}": asdict(content) for version, content in data.contents.items()},
        )

    def _asks(self, tool: Tool) -> bool:
        return self.kind in tool.targets and (not self.chosen_tools or tool.name in self.chosen_tools)

    def _measure(
        self, context: Context, tool: Tool, samples: dict[str, list[Sample]], failed: dict[str, str]
    ) -> None:
        try:
            done = session(context, tool, self.kind, context.corpus(self.corpus), self.steps)
        except (CommandFailed, WrongContent) as error:
            failed[tool.name] = str(error)
            return
        for name, sample in done.items():
            samples.setdefault(name, []).append(sample)
