"""What a store holds about a job, beside its directories and files (docs/format.md, "Jobs").

    jobs/<job>/process-<when>-<random>/<k>   ProcessRecord   one process, the newest counts
    jobs/<job>/made/<tx>                     VersionHint     a version that the job made
    jobs/<job>/used/<tx>                     VersionHint     a version that it used
    jobs/<job>/removed/<k>                   RemovalRecord   it was removed

A process alone writes its records, so their numbers need no race. What a job is follows from
the processes of its newest attempt (`jobs.states`). Hints are in `transaction.uses`.
This module turns bytes into values and back. It does no I/O.
"""

import enum

import msgspec

from artifactstore.transaction.records import Record

MAX_ATTEMPT = 10**9
MAX_SEEN = 64
MAX_TAGS = 64


class JobStatus(enum.StrEnum):
    """What a job does.

    RUNNING: A process of it was seen lately. COMPLETED: All ended well. FAILED: One ended by an exception.
    LOST: One ended without a word: killed, or its machine is gone.
    """

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    LOST = "lost"


class ProcessState(enum.StrEnum):
    """What a process says of itself."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class ProcessRecord(Record, frozen=True, kw_only=True):
    """One process of a job, as it was at its latest heartbeat or at its end.

    Attributes:
        attempt: Which start of the job it belongs to, from 1.
        begun, beat, ended: By its own clock, RFC 3339; ``ended`` is empty while it runs.
        interval_seconds: How long from one heartbeat to the next.
        rank: Among the processes of the job; None where no launcher says.
        source: What decided the job's id.
        error: Class of the exception that it failed with. Its text may hold anything, and is left out.
        seen: Processes of the same rank that ran when it began, with the number of their newest record then: one
            that never wrote again was dead, and this one took its place.
        tags: What this process tagged the job with.
        made_with: The version of this program.
    """

    state: ProcessState
    attempt: int
    begun: str
    beat: str
    ended: str = ""
    interval_seconds: float
    project: str
    user: str = ""
    host: str = ""
    pid: int = 0
    rank: int | None = None
    source: str = ""
    error: str = ""
    seen: dict[str, int] = msgspec.field(default_factory=dict)
    tags: tuple[str, ...] = ()
    made_with: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.attempt <= MAX_ATTEMPT:
            raise ValueError("attempt: not from 1 on")
        if not 0 < self.interval_seconds < float("inf"):
            raise ValueError("interval_seconds: not above zero")


class RemovalRecord(Record, frozen=True, kw_only=True):
    """The job was removed: its snapshots and saved files are deleted, its other records are gone."""

    created: str
    who: str = ""
    host: str = ""


# As in `transaction.records`: built here, before threads use them.
for _kind in (ProcessRecord, RemovalRecord):
    msgspec.json.Decoder(_kind)
