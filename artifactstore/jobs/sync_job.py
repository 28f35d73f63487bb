"""The job that a directory is uploaded to, and the store that it is in."""

import contextlib
import os
import weakref
from dataclasses import dataclass
from typing import Final, Protocol

from artifactstore.jobs.identity import identify
from artifactstore.jobs.job import current_job
from artifactstore.jobs.listing import read_processes
from artifactstore.jobs.process import ProcessLog
from artifactstore.jobs.records import ProcessState
from artifactstore.jobs.running import Job, heartbeat_interval
from artifactstore.store import Store, open_store

StoreLike = Store | str | os.PathLike[str] | None
_UPLOADS: Final = weakref.WeakKeyDictionary[object, set[str]]()
"""Which snapshots each run of a job in this process has uploaded."""


class JobLike(Protocol):
    """What a directory has to know of a job."""

    @property
    def id(self) -> str: ...

    @property
    def store(self) -> Store: ...


class _Process:
    """Stands for a run of a job of which only the id was given."""


_THIS_PROCESS: Final = _Process()


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncJob:
    """A run of a job, the store it works with, and the snapshots that it uploaded from this process.

    Attributes:
        open: The job, where it is one that this process works for: what goes on in the background ends before it does.
    """

    job_id: str
    store: Store
    uploads: set[str]
    open: Job | None = None


def sync_job(job: JobLike | str | None, store: StoreLike, closing: contextlib.ExitStack) -> SyncJob:
    """The run meant. A store that is opened for it is closed with ``closing``."""
    if isinstance(job, str):
        opened = store if isinstance(store, Store) else closing.enter_context(open_store(store))
        return SyncJob(job_id=job, store=opened, uploads=_UPLOADS.setdefault(_THIS_PROCESS, set()))
    given = store if isinstance(store, Store) or store is None else open_store(store)
    run: JobLike = job if job is not None else current_job(given)
    if given is not None and given is not store and (job is not None or run.store is not given):
        closing.callback(given.close)  # a job that began in it needs it until it ends
    return SyncJob(
        job_id=run.id,
        store=given or run.store,
        uploads=_UPLOADS.setdefault(run, set()),
        open=run if isinstance(run, Job) else None,
    )


def record_job(store: Store, job_id: str) -> None:
    """Let `list_jobs` know a job that no program has begun, now that something was uploaded for it: as one process
    that has ended.

    Raises:
        ArtifactStoreError: It can't be recorded.
    """
    if read_processes(store.catalog, job_id):
        return
    catalog = store.writable_catalog()
    log = ProcessLog(catalog.backend, catalog.clock, identify(job_id=job_id), interval_seconds=heartbeat_interval())
    log.begin([])
    log.end(ProcessState.COMPLETED)
