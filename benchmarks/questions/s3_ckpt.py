"""The checkpoint of `local_ckpt`, to an S3 server and back."""

from typing import Final

from harness.question import Goal, Measure
from harness.scene import S3Target

from questions.directory import (
    PEAK_MEMORY,
    PULL,
    PULL_SECOND,
    PUSH,
    PUSH_SECOND,
    UNCHANGED,
    UNCHANGED_COLD,
    DirectoryQuestion,
)

S3_CKPT: Final = DirectoryQuestion(
    name="s3-ckpt",
    title="Checkpoint, S3",
    note="The data of the checkpoint above. A server on the same machine shares the processor with its clients; its "
    "work is not in the CPU seconds.",
    corpus="ckpt",
    kind=S3Target,
    steps=(PUSH, UNCHANGED, UNCHANGED_COLD, PULL, PUSH_SECOND, PULL_SECOND),
    ratios_to="s5cmd",
    goals=(
        Goal(column="push", measure=Measure.WALL, at_most=1.0, peer="s5cmd"),
        Goal(column="unchanged", measure=Measure.COMMAND, at_most=0.8),
        Goal(column="push-second", measure=Measure.COMMAND, at_most=1.2),
        Goal(column="push-second", measure=Measure.ADDED, at_most=20e6),
        Goal(column="pull", measure=Measure.WALL, at_most=1.3, peer="s5cmd"),
        PEAK_MEMORY,
    ),
)
