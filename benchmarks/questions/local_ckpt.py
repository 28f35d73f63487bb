"""A checkpoint to a store on the local disk and back, then a second one that shares most of it."""

from typing import Final

from harness.question import Goal, Measure
from harness.scene import FolderTarget

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

LOCAL_CKPT: Final = DirectoryQuestion(
    name="local-ckpt",
    title="Checkpoint, local store",
    note="One file of 1 GiB bf16 weights; in the second version 37 bytes inserted at the front, one region of 10 MiB "
    "and twenty of 64 KiB rewritten.",
    corpus="ckpt",
    kind=FolderTarget,
    steps=(PUSH, UNCHANGED, UNCHANGED_COLD, PULL, PUSH_SECOND, PULL_SECOND),
    ratios_to="cp",
    goals=(
        Goal(column="push", measure=Measure.WALL, at_most=1.3, peer="cp"),
        Goal(column="push-second", measure=Measure.WALL, at_most=0.35, peer="cp"),
        Goal(column="push-second", measure=Measure.ADDED, at_most=20e6),
        Goal(column="pull", measure=Measure.WALL, at_most=1.3, peer="cp"),
        PEAK_MEMORY,
    ),
)
