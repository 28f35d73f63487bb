"""What jobs keep in a store under keys: their numbered snapshots, and what to say where there are none.

A snapshot is a version of a `names.job_name`, and `key@3` is how people write the third one.
"""

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from artifactstore.backend.protocol import Backend, CommonPrefix
from artifactstore.errors import ArtifactStoreError, InvalidName, JobNotFound, NameNotFound, NotFound, VersionDeleted
from artifactstore.keys import JOB_RECORDS, NAMES
from artifactstore.names import JOBS, JobName, Latest, Reference, Slot, decode_job_text, job_name
from artifactstore.results import VersionInfo
from artifactstore.store import Store
from artifactstore.transaction.records import VersionPin
from artifactstore.transaction.resolve import resolve
from artifactstore.transaction.versions import Version

DIRECTORY: Final = "dir"
"""The kind under which jobs keep snapshots of directories."""
NO_JOB: Final = "(no job)"
"""Stands for the job of a directory that belongs to none: nothing is uploaded or recorded under it."""
_MOST_COMPARED: Final = 10_000
_FEW: Final = 5
_MISSING_OK: Final = "missing_ok=True begins with an empty directory instead."


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One numbered state of what a job keeps under a key; as text ``key@3``.

    Attributes:
        number: Counts up from 1 in each job. Two processes of a job never get the same one.
        created: RFC 3339, by the uploader's clock. who, host: the user and the machine that uploaded it.
        source_job_ids: The jobs whose snapshots it was made from.
        files, directories, links: How many; only empty directories count.
        content_bytes: Of all files. new_bytes: what its upload added to the store.
    """

    job_id: str
    key: str
    number: int
    created: str
    who: str
    host: str
    message: str
    source_job_ids: tuple[str, ...]
    files: int
    directories: int
    links: int
    content_bytes: int
    new_bytes: int
    content_digest: str

    def __str__(self) -> str:
        return f"{self.key}@{self.number}"


def snapshot_reference(job_id: str, key: str, number: int | None = None, *, kind: str = DIRECTORY) -> Reference:
    """Snapshot ``number`` of a job's key, or the newest one.

    Raises:
        InvalidName: Job id or key can't be stored, or the number is not above zero.
    """
    if number is not None and number < 1:
        raise InvalidName(f"snapshots count from 1, and {number} was asked for")
    version = Latest() if number is None else Slot(number)
    return Reference(name=job_name(job_id, kind, key), version=version)


def list_snapshots(store: Store, job_id: str, key: str, *, kind: str = DIRECTORY) -> Iterator[Snapshot]:
    """The snapshots of a job's key, the newest first; none where there are none.

    Raises:
        InvalidName: Job id or key can't be stored.
        StoreNotFound: There is no store.
    """
    name = job_name(job_id, kind, key)
    versions = store.versions(name)
    try:
        first = next(versions)
    except NameNotFound:
        return
    yield _snapshot(name, first)
    for info in versions:
        yield _snapshot(name, info)


def newest_version(store: Store, name: JobName) -> Version | None:
    """The newest snapshot as the store has it; None where there is none, or none is left."""
    try:
        return resolve(store.catalog.backend, name, Latest())
    except (NameNotFound, VersionDeleted):
        return None


def note_use(store: Store, reference: Reference, job_id: str) -> None:
    """Record that a job began from a snapshot of another one, for its manifest and for lineage. A note: what fails (a
    store that is only read, too) is left out. So is what no job used."""
    if job_id == NO_JOB:
        return
    with contextlib.suppress(ArtifactStoreError):
        store.record_use(reference, by=job_id)


def source_jobs(pins: Iterable[VersionPin]) -> tuple[str, ...]:
    """Ids of the jobs whose snapshots are among the pins."""
    names = (job_name_of(pin) for pin in pins)
    return tuple(dict.fromkeys(name.job_id for name in names if name is not None))


def job_name_of(pin: VersionPin) -> JobName | None:
    """The job's name in a pin; None for versions of other names, and for what is no version at all."""
    try:
        return JobName(pin.version.rpartition(":")[0])
    except InvalidName:
        return None


def _snapshot(name: JobName, info: VersionInfo) -> Snapshot:
    return Snapshot(
        job_id=name.job_id,
        key=name.key,
        number=info.slot,
        created=info.created,
        who=info.who,
        host=info.host,
        message=info.message,
        source_job_ids=source_jobs(info.made_from),
        files=info.files,
        directories=info.directories,
        links=info.links,
        content_bytes=info.content_bytes,
        new_bytes=info.new_bytes,
        content_digest=info.content_digest,
    )


# -- what is there, where something is not ----------------------------------------------------------


def list_keys(store: Store, job_id: str, *, kind: str = DIRECTORY) -> list[str]:
    """The keys under which a job has, or had, snapshots. One listing."""
    prefix = f"{NAMES}{job_name(job_id, kind, '_').folder}/"
    return [text.removeprefix("@") for text in _segments(store.catalog.backend, prefix)]


def list_job_ids(store: Store) -> list[str]:
    """The ids of all jobs that left anything in the store. Two listings."""
    backend = store.catalog.backend
    found = (*_segments(backend, f"{NAMES}{JOBS}/"), *_segments(backend, JOB_RECORDS))
    return sorted(set(found))


def _segments(backend: Backend, prefix: str) -> list[str]:
    """What lies one level below a prefix, decoded."""
    level = (item.prefix for item in backend.list_level(prefix) if isinstance(item, CommonPrefix))
    below = (item.removeprefix(prefix).removesuffix("/") for item in islice(level, _MOST_COMPARED))
    return [decode_job_text(text) for text in below]


def missing(
    store: Store, job_id: str, key: str, *, number: int | None = None, kind: str = DIRECTORY, or_else: str = _MISSING_OK
) -> NotFound:
    """The error about a job, a key of a job, or its snapshot ``number``, that is not there: it names what is close.

    Args:
        or_else: What else can be done, in the words of whoever asked: calls and commands have different ones.
    """
    keys = list_keys(store, job_id, kind=kind)
    if number is not None and key in keys:
        return NameNotFound(
            f"job {job_id!r} has no snapshot {key}@{number}", next_step="Its history lists those that are there."
        )
    if keys:
        next_step = _suggestion(key, keys, what="key", plural="keys", or_else=or_else)
        return NameNotFound(f"job {job_id!r} has nothing under the key {key!r}", next_step=next_step)
    jobs = list_job_ids(store)
    if job_id in jobs:
        return NameNotFound(
            f"job {job_id!r} has nothing under the key {key!r}: it has not uploaded a directory yet",
            next_step=f"Upload there first. {or_else}".rstrip(),
        )
    next_step = _suggestion(job_id, jobs, what="job", plural="jobs", or_else=or_else)
    return JobNotFound(f"no job {job_id!r}", next_step=next_step)


def _suggestion(text: str, there: Sequence[str], *, what: str, plural: str, or_else: str) -> str:
    close = difflib.get_close_matches(text, there, n=3)
    if close:
        return f"Did you mean the {what} {' or '.join(map(repr, close))}? {or_else}".rstrip()
    if not there:
        return f"There are no {plural} in this store yet. {or_else}".rstrip()
    shown = ", ".join(map(repr, there[:_FEW]))
    more = f" and {len(there) - _FEW} more" if len(there) > _FEW else ""
    return f"The {plural} there are {shown}{more}. {or_else}".rstrip()
