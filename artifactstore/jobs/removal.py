"""Removing a job: what it keeps under keys of its own is deleted, and what is known of it.

Artifacts that it made stay; their records go on naming it. The order lets a removal that was cut off
be done again: the record that it was removed, what it keeps, hints, and last the records of its
processes, which make it a job.
"""

from dataclasses import dataclass

from artifactstore.catalog import Catalog
from artifactstore.clock import timestamp
from artifactstore.errors import JobRunning, NameNotFound
from artifactstore.jobs.listing import info_of, job_not_found, read_processes
from artifactstore.jobs.manifest import job_names
from artifactstore.jobs.records import JobStatus, RemovalRecord
from artifactstore.jobs.retention import KEEP_ALL, set_retention
from artifactstore.jobs.snapshots import DIRECTORY
from artifactstore.keys import JobKeys, parse_counted
from artifactstore.names import JobName, Latest, Reference
from artifactstore.results import RemoveOptions
from artifactstore.store import Store
from artifactstore.transaction.conditional import put_once
from artifactstore.transaction.records import encode_record, fresh_nonce
from artifactstore.transfer.provenance import author


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRemoval:
    """What was removed with a job, or would be.

    Attributes:
        versions: Snapshots and saved files, as references.
        dry_run: Nothing was removed.
    """

    job_id: str
    versions: tuple[str, ...]
    dry_run: bool


def remove_job(store: Store, job_id: str, *, force: bool = False, dry_run: bool = False) -> JobRemoval:
    """Remove a job: its snapshots, its saved files, and what is recorded of it. Final; space returns with garbage
    collection.

    Artifacts that it made stay, and so do snapshots of other jobs that were made from its own.

    Args:
        force: Remove one that is at work, too. It goes on, and is a job again with its next heartbeat.
        dry_run: Say what would go.

    Raises:
        JobNotFound: There is no such job.
        JobRunning: It is at work. Nothing was removed.
        StoreReadOnly: The store can't be written.
    """
    catalog = store.catalog if dry_run else store.writable_catalog()
    processes = read_processes(catalog, job_id)
    names = list(job_names(catalog.backend, job_id))
    if not processes and not any(_remove(store, name, dry_run=True) for name in names):
        raise job_not_found(catalog, job_id)
    info = info_of(job_id, processes, now=catalog.clock.now()) if processes else None
    if info is not None and info.status is JobStatus.RUNNING and not force:
        raise JobRunning(f"job {job_id} is running, on {info.host}; it was seen at {info.beat}")
    if not dry_run:
        _put_removal(catalog, job_id)
    versions = [version for name in names for version in _remove(store, name, dry_run=dry_run)]
    if not dry_run:
        for name in names:
            if name.kind == DIRECTORY:  # the next job of this id begins without rules of the one that is gone
                set_retention(store, job_id, name.key, KEEP_ALL)
        keys = JobKeys(job_id)
        for prefix in (keys.made, keys.used, keys.processes):
            _delete_all(catalog, prefix)
    return JobRemoval(job_id=job_id, versions=tuple(versions), dry_run=dry_run)


def _put_removal(catalog: Catalog, job_id: str) -> None:
    keys, here = JobKeys(job_id), author()
    number = 0
    for info in catalog.backend.list(keys.removals, page_size=1):
        number = parse_counted(info.key.removeprefix(keys.removals)) or 0
        break
    record = RemovalRecord(
        nonce=fresh_nonce(catalog.clock), created=timestamp(catalog.clock.now()), who=here.who, host=here.host
    )
    # Whoever loses the race finds that it is said.
    put_once(catalog.backend, catalog.clock, keys.removal(number + 1), encode_record(record))


def _remove(store: Store, name: JobName, *, dry_run: bool) -> tuple[str, ...]:
    try:
        options = RemoveOptions(all_versions=True, dry_run=dry_run)
        return store.remove(Reference(name=name, version=Latest()), options=options).versions
    except NameNotFound:
        return ()  # all were deleted before


def _delete_all(catalog: Catalog, prefix: str) -> None:
    keys = [info.key for info in catalog.backend.list(prefix)]
    for _ in catalog.requests.map(catalog.backend.delete, keys):
        pass
