"""Which jobs a store knows, and what they do."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from artifactstore.backend.protocol import Backend, ObjectInfo
from artifactstore.catalog import Catalog
from artifactstore.errors import JobNotFound, ObjectNotFound
from artifactstore.jobs.records import JobStatus, ProcessRecord, ProcessState
from artifactstore.jobs.states import Process, newest_attempt, status_of
from artifactstore.keys import JOB_RECORDS, JobKeys, ProcessKey, parse_process_key
from artifactstore.store import Store
from artifactstore.transaction.records import decode_record, parse_timestamp
from artifactstore.transaction.versions import SHORT_PAGE

_TRIES: Final = 5
_PASSED_OVER: Final = 200
_CLOSE: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInfo:
    """A job as its records tell.

    Attributes:
        project: Of the process that began first. user, host: of the one that began the newest attempt.
        attempt: How often it was started, from 1.
        begun: When it was started first, RFC 3339. ended: when the last process of the newest attempt ended; empty
            while one runs, or is lost.
        beat: When a process was seen last, by that process's clock.
        processes: How many the newest attempt has, or had.
        source: What decided its id: a variable, a scheduler, ``given`` or ``new``.
        error: Class of the exception that it failed with; empty for none.
        tags: What it was tagged with, in whichever attempt, in alphabetical order.
    """

    id: str
    project: str
    user: str
    host: str
    status: JobStatus
    attempt: int
    begun: str
    ended: str
    beat: str
    processes: int
    source: str
    error: str
    tags: tuple[str, ...] = ()


class _Seen(NamedTuple):
    """The newest record of a process as a listing shows it."""

    key: ProcessKey
    modified: float


def find_job(store: Store, job_id: str) -> JobInfo:
    """One job.

    Raises:
        JobNotFound: There is none; the message names those with similar ids.
        InvalidName: ``job_id`` can't be one.
    """
    catalog = store.catalog
    processes = read_processes(catalog, job_id)
    if not processes:
        raise job_not_found(catalog, job_id)
    return info_of(job_id, processes, now=catalog.clock.now())


def list_jobs(
    store: Store, *, project: str | None = None, status: JobStatus | str | None = None, limit: int | None = None
) -> Iterator[JobInfo]:
    """The jobs of a store, those that began last first.

    One listing of all jobs' records, a thousand to a page, and one request for each process of the jobs asked for.

    Args:
        project, status: Only those.
        limit: At most so many.

    Raises:
        ValueError: The limit is negative, or there is no such status.
    """
    wanted = JobStatus(status) if status is not None else None
    if limit is not None and limit < 0:
        raise ValueError(f"a limit of {limit} jobs")
    return _list_jobs(store.catalog, project, wanted, limit)


def _list_jobs(
    catalog: Catalog, project: str | None, status: JobStatus | None, limit: int | None
) -> Iterator[JobInfo]:
    jobs = sorted(_seen_by_job(catalog.backend).items(), key=_newest_process, reverse=True)
    shown = 0
    for start in range(0, len(jobs), SHORT_PAGE):
        if limit is not None and shown >= limit:
            return
        some = jobs[start : start + SHORT_PAGE]
        read = iter(_read_all(catalog, [seen for _, all_seen in some for seen in all_seen]))
        for job_id, all_seen in some:
            processes = [process for process in (next(read) for _ in all_seen) if process is not None]
            if not processes or (limit is not None and shown >= limit):
                continue
            info = info_of(job_id, processes, now=catalog.clock.now())
            if project in (None, info.project) and status in (None, info.status):
                shown += 1
                yield info


def _newest_process(job: tuple[str, list[_Seen]]) -> str:
    """The name of the one that began last: names sort so."""
    return max(seen.key.process for seen in job[1])


def job_ids(backend: Backend) -> list[str]:
    """Ids of all jobs, sorted."""
    return sorted(_seen_by_job(backend))


def read_processes(catalog: Catalog, job_id: str) -> list[Process]:
    """All processes of a job, as their newest records tell; one listing, and a request for each.

    Raises:
        InvalidName: ``job_id`` can't be one.
        CorruptData, UnsupportedFormat: A record can't be read.
    """
    seen = _newest(catalog.backend.list(JobKeys(job_id).processes))
    return [process for process in _read_all(catalog, seen) if process is not None]


def info_of(job_id: str, processes: Sequence[Process], *, now: float) -> JobInfo:
    """What the processes of a job, of which there is at least one, tell of it."""
    these = newest_attempt(processes)
    first, status = these[0].record, status_of(processes, now=now)
    failed = [process.record.error for process in these if process.record.state is ProcessState.FAILED]
    over = status in (JobStatus.COMPLETED, JobStatus.FAILED)
    return JobInfo(
        id=job_id,
        project=project_of(processes),
        user=first.user,
        host=first.host,
        status=status,
        attempt=first.attempt,
        begun=min(process.record.begun for process in processes),
        ended=max(process.record.ended for process in these) if over else "",
        beat=max(process.record.beat for process in these),
        processes=len(these),
        source=first.source,
        error=next(filter(None, failed), ""),
        tags=tuple(sorted({tag for process in processes for tag in process.record.tags})),
    )


def project_of(processes: Sequence[Process]) -> str:
    """For what a job works: as the process said that began first."""
    return min(processes, key=lambda process: process.name).record.project


def job_not_found(catalog: Catalog, job_id: str) -> JobNotFound:
    """The error for a job that is not there; it says whether it was removed, and names those with similar ids."""
    keys = JobKeys(job_id)
    removed = next(iter(catalog.backend.list(keys.removals, page_size=1)), None)
    if removed is not None:
        return JobNotFound(f"job {job_id} was removed")
    close = difflib.get_close_matches(job_id, job_ids(catalog.backend), n=_CLOSE)
    near = f"; there {'is' if len(close) == 1 else 'are'} {' and '.join(close)}" if close else ""
    return JobNotFound(f"no job {job_id}{near}")


def _seen_by_job(backend: Backend) -> dict[str, list[_Seen]]:
    newest = _newest(_process_objects(backend))
    return {job_id: list(seen) for job_id, seen in groupby(newest, key=lambda each: each.key.job_id)}


def _process_objects(backend: Backend) -> Iterator[ObjectInfo]:
    """The records of all processes. What jobs made and used is passed over: a listing goes on behind it, once that
    is many objects."""
    after: str | None = ""
    while after is not None:
        start, after, others = after, None, 0
        for info in backend.list(JOB_RECORDS, start_after=start):
            if parse_process_key(info.key) is not None:
                others = 0
                yield info
                continue
            others += 1
            if others == _PASSED_OVER:
                after = f"{info.key.rpartition('/')[0]}0"  # `0` comes right behind `/`
                break


def _newest(objects: Iterator[ObjectInfo]) -> list[_Seen]:
    """The newest record of each process: it lists first."""
    found: list[_Seen] = []
    for info in objects:
        key = parse_process_key(info.key)
        if key is not None and (not found or found[-1].key[:2] != key[:2]):
            found.append(_Seen(key, info.modified))
    return found


def _read_all(catalog: Catalog, seen: Sequence[_Seen]) -> Iterator[Process | None]:
    return catalog.requests.map(lambda each: _read(catalog.backend, each), seen)


def _read(backend: Backend, seen: _Seen) -> Process | None:
    """A process as its newest record tells; None where the job was removed meanwhile."""
    keys = JobKeys(seen.key.job_id)
    for _ in range(_TRIES):
        key = keys.process_record(seen.key.process, seen.key.number)
        try:
            record = decode_record(ProcessRecord, backend.get(key), key=key)
        except ObjectNotFound:
            # It has written again, and removed the older one.
            newer = _newest(backend.list(keys.process(seen.key.process), page_size=SHORT_PAGE))
            if not newer:
                return None
            seen = newer[0]
            continue
        beat = seen.modified if seen.modified > 0 else parse_timestamp(record.beat) or 0.0
        return Process(name=seen.key.process, number=seen.key.number, seen=beat, record=record)
    return None
