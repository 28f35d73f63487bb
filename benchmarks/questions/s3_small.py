"""The small files of `local_small`, to an S3 server and back."""

from typing import Final

from harness.question import Goal, Measure
from harness.scene import S3Target

from questions.directory import PEAK_MEMORY, PULL, PUSH, UNCHANGED, UNCHANGED_COLD, DirectoryQuestion

S3_SMALL: Final = DirectoryQuestion(
    name="s3-small",
    title="Small files, S3",
    note="The data of the small files above. A server on the same machine shares the processor with its clients; its "
    "work is not in the CPU seconds.",
    corpus="small",
    kind=S3Target,
    steps=(PUSH, UNCHANGED, UNCHANGED_COLD, PULL),
    ratios_to="s5cmd",
    goals=(
        Goal(column="push", measure=Measure.WALL, at_most=1 / 8, peer="s5cmd"),
        Goal(column="push", measure=Measure.WALL, at_most=1 / 3, peer="restic"),
        Goal(column="unchanged", measure=Measure.COMMAND, at_most=0.8),
        Goal(column="pull", measure=Measure.WALL, at_most=1 / 8, peer="s5cmd"),
        Goal(column="pull", measure=Measure.WALL, at_most=1 / 3, peer="restic"),
        PEAK_MEMORY,
    ),
)
