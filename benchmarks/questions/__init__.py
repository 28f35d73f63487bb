"""All questions, in the order in which they are asked and reported."""

from collections.abc import Sequence
from typing import Final

from harness.question import Question

from questions.artifact import ArtifactQuestion
from questions.find import FindQuestion
from questions.local_ckpt import LOCAL_CKPT
from questions.local_large import LOCAL_LARGE
from questions.local_small import LOCAL_SMALL
from questions.random_reads import RandomReadsQuestion
from questions.requests import RequestsQuestion
from questions.s3_ckpt import S3_CKPT
from questions.s3_small import S3_SMALL
from questions.slowdown import SlowdownQuestion
from questions.start import StartQuestion
from questions.sync import SYNC_CHANGE, SYNC_LOCAL, SYNC_S3

QUESTIONS: Final[Sequence[Question]] = (
    LOCAL_CKPT,
    LOCAL_SMALL,
    S3_CKPT,
    S3_SMALL,
    StartQuestion(),
    RequestsQuestion(),
    ArtifactQuestion(),
    FindQuestion(),
    RandomReadsQuestion(),
    SYNC_CHANGE,
    SYNC_LOCAL,
    SYNC_S3,
    SlowdownQuestion(),
    LOCAL_LARGE,
)
