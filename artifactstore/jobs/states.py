"""What a job does, by what its processes say of themselves, and by when they were seen.

A process that runs puts a heartbeat every so often. One that was not seen for three of them, and
a minute more, is taken for dead. When it was seen is told by the storage's clock where the storage
tells (`ObjectInfo.modified`): clocks of machines that work for jobs do not matter. The minute is for
the clock of whoever asks.
This module decides about values that it is given. It does no I/O.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from artifactstore.jobs.records import JobStatus, ProcessRecord, ProcessState

MISSED_BEATS: Final = 3
SKEW_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of a job.

    Attributes:
        name: As it stands in keys; they sort by when the processes began.
        number: Of its newest record.
        seen: When that was written, in seconds since the epoch: by the storage's clock, or by its own.
    """

    name: str
    number: int
    seen: float
    record: ProcessRecord

    def is_fresh(self, now: float) -> bool:
        """Whether it was seen lately enough to be alive."""
        return now - self.seen <= MISSED_BEATS * self.record.interval_seconds + SKEW_SECONDS


def newest_attempt(processes: Sequence[Process]) -> list[Process]:
    """Those of the newest start of the job; empty for none."""
    newest = max((process.record.attempt for process in processes), default=0)
    return [process for process in processes if process.record.attempt == newest]


def status_of(processes: Sequence[Process], *, now: float) -> JobStatus:
    """What a job does, by the processes of its newest attempt.

    Failed if one of them failed; else running while one runs; else lost if one was lost and none took its place; else
    completed.

    Args:
        processes: At least one.
        now: Seconds since the epoch, by the clock of whoever asks.
    """
    these = newest_attempt(processes)
    now = latest(these, now)
    if any(process.record.state is ProcessState.FAILED for process in these):
        return JobStatus.FAILED
    running = [process for process in these if process.record.state is ProcessState.RUNNING]
    if any(process.is_fresh(now) for process in running):
        return JobStatus.RUNNING
    replaced = {(name, number) for process in these for name, number in process.record.seen.items()}
    if any((process.name, process.number) not in replaced for process in running):
        return JobStatus.LOST
    return JobStatus.COMPLETED


def latest(processes: Sequence[Process], now: float) -> float:
    """``now``, or later where the storage's clock has shown that it is."""
    return max([now, *(process.seen for process in processes)])


def attempt_of(processes: Sequence[Process], *, counted: int | None, now: float) -> int:
    """Which start of the job a process belongs to that begins now.

    The scheduler's count decides where there is one. Else it joins the newest attempt while a process of that is
    alive, and begins the next one when none is.
    """
    these = newest_attempt(processes)
    newest = these[0].record.attempt if these else 0
    if counted is not None and counted >= newest:
        return counted
    now = latest(these, now)
    alive = any(process.record.state is ProcessState.RUNNING and process.is_fresh(now) for process in these)
    return newest if alive else newest + 1
