"""Many small files to a store on the local disk and back."""

from typing import Final

from harness.question import Goal, Measure
from harness.scene import FolderTarget

from questions.directory import PEAK_MEMORY, PULL, PUSH, UNCHANGED, UNCHANGED_COLD, DirectoryQuestion

LOCAL_SMALL: Final = DirectoryQuestion(
    name="local-small",
    title="Small files, local store",
    note="20,000 files in 200 directories, sizes log-normal around 16 KiB; half of them noise, half text.",
    corpus="small",
    kind=FolderTarget,
    steps=(PUSH, UNCHANGED, UNCHANGED_COLD, PULL),
    ratios_to="cp",
    goals=(
        Goal(column="push", measure=Measure.WALL, at_most=1.0, peer="cp"),
        Goal(column="unchanged", measure=Measure.COMMAND, at_most=0.35),
        Goal(column="pull", measure=Measure.WALL, at_most=1.0, peer="cp"),
        PEAK_MEMORY,
    ),
)
