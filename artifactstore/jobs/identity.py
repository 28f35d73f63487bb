"""Who a job is: its id, project and user, by what was said, and by what the environment says.

    id        ARTIFACTSTORE_JOB_ID, FOUNDATIONS_JOB_ID, the scheduler's (`schedulers`), else a new one
    project   ARTIFACTSTORE_PROJECT, FOUNDATIONS_PROJECT_NAME, PROJECT_NAME, the scheduler's, else the
              name of the working directory
    user      the scheduler's, else whoever runs it
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from artifactstore.clock import SYSTEM_CLOCK, Clock, timestamp
from artifactstore.errors import ConfigurationError, InvalidName
from artifactstore.names import encode_job_text
from artifactstore.schedulers import JOB_VARIABLES, Scheduled, plain_text, rank_of, scheduled_job
from artifactstore.transfer.provenance import author

PROJECT_VARIABLES: Final = ("ARTIFACTSTORE_PROJECT", "FOUNDATIONS_PROJECT_NAME", "PROJECT_NAME")
NO_PROJECT: Final = "default"
_RANDOM_BYTES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class JobIdentity:
    """Who a job is.

    Attributes:
        id: 1 to 200 bytes, percent-encoded; nothing that can't be printed.
        project: For what it works. user: for whom.
        attempt: Counts from 1, where the scheduler counts; None where nobody does.
        rank: Of this process among those of the job, where a launcher says.
        source: What decided the id: a variable, a scheduler, `given`, or `new`.
    """

    id: str
    project: str
    user: str
    attempt: int | None = None
    rank: int | None = None
    source: str


def identify(
    environment: Mapping[str, str] | None = None,
    *,
    job_id: str | None = None,
    project: str | None = None,
    directory: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> JobIdentity:
    """Who the job of a process is.

    Args:
        environment: Instead of the process's.
        job_id, project: Instead of what the environment says.
        directory: Instead of the working directory.
        clock: For a new id.

    Raises:
        InvalidName: ``job_id`` or ``project`` is empty, too long or can't be printed.
        ConfigurationError: The id in a variable is; the message names the variable.
    """
    env = os.environ if environment is None else environment
    scheduled = scheduled_job(env)
    named = _named(env) if job_id is None else (check_job_text(job_id, of="a job's id"), "given")
    if named is None:
        named = (scheduled.id, scheduled.scheduler) if scheduled is not None else (new_job_id(clock), "new")
    chosen, source = named
    by_scheduler = scheduled if scheduled is not None and scheduled.id == chosen else None
    return JobIdentity(
        id=chosen,
        project=check_project(project) if project is not None else _project(env, scheduled, directory),
        user=(scheduled.user if scheduled else "") or author().who,
        # A requeue is counted for the scheduler's own job: one that people named may be several of those.
        attempt=by_scheduler.attempt if by_scheduler else None,
        rank=scheduled.rank if scheduled else rank_of(env),
        source=source,
    )


def new_job_id(clock: Clock = SYSTEM_CLOCK) -> str:
    """An id that no other job has: when it was made, in UTC, and chance (``20261121-185506-1f2e3d4c5b``)."""
    moment = timestamp(clock.now())
    digits = "".join(c for c in moment[:19] if c.isdigit())
    return f"{digits[:8]}-{digits[8:]}-{clock.random_bytes(_RANDOM_BYTES).hex()}"


def check_job_text(text: str, *, of: str) -> str:
    """``text`` if it may stand in keys as a job's id.

    Raises:
        InvalidName: It may not.
    """
    if not isinstance(text, str):
        raise TypeError(f"{of} is text, not {type(text).__name__}")
    encode_job_text(text)
    return text


def check_project(text: str) -> str:
    """``text`` if it may be a project: 1 to 128 characters on one line.

    Raises:
        InvalidName: It may not.
    """
    if not text or plain_text(text) != text:
        raise InvalidName(f"{text[:200]!r} can't be a project: 1 to 128 characters, none of them a control character")
    return text


def check_tag(text: str) -> str:
    """``text`` if it may tag a job: 1 to 128 characters on one line.

    Raises:
        InvalidName: It may not.
    """
    if not isinstance(text, str):
        raise TypeError(f"a tag is text, not {type(text).__name__}")
    if not text or plain_text(text) != text:
        raise InvalidName(f"{text[:200]!r} can't be a tag: 1 to 128 characters, none of them a control character")
    return text


def _named(env: Mapping[str, str]) -> tuple[str, str] | None:
    for variable in JOB_VARIABLES:
        text = env.get(variable, "").strip()
        if text:
            try:
                return check_job_text(text, of=variable), variable
            except InvalidName as error:
                raise ConfigurationError(f"{variable}: {error}", next_step="Correct it, or unset it.") from error
    return None


def _project(env: Mapping[str, str], scheduled: Scheduled | None, directory: str | None) -> str:
    said = [plain_text(env.get(variable, "")) for variable in PROJECT_VARIABLES]
    said.append(plain_text(scheduled.project) if scheduled else "")
    return next(filter(None, said), "") or plain_text(os.path.basename(directory or _working_directory())) or NO_PROJECT


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""  # it was removed
