"""One file that is larger than memory may be: what counts is the peak."""

from typing import Final

from harness.scene import FolderTarget

from questions.directory import PEAK_MEMORY, PULL, PUSH, DirectoryQuestion

LOCAL_LARGE: Final = DirectoryQuestion(
    name="local-large",
    title="One file of 10 GiB, local store",
    note="bf16 weights, no holes. For the peak memory; times, of one run, are for orientation.",
    corpus="large",
    kind=FolderTarget,
    steps=(PUSH, PULL),
    ratios_to="cp",
    goals=(PEAK_MEMORY,),
    is_large=True,
    chosen_tools=("artifactstore", "cp", "restic", "borg"),  # dvc would keep five copies
    most_runs=1,
)
