"""What a job has, made and used: its manifest, read from the store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from artifactstore.backend.protocol import Backend, CommonPrefix
from artifactstore.catalog import Catalog
from artifactstore.errors import InvalidName, NameNotFound, ObjectNotFound
from artifactstore.jobs.listing import JobInfo, info_of, job_not_found, read_processes
from artifactstore.jobs.records import JobStatus
from artifactstore.jobs.snapshots import DIRECTORY
from artifactstore.keys import JobKeys
from artifactstore.names import JobName, decode_job_text, job_name
from artifactstore.results import VersionInfo
from artifactstore.store import Store
from artifactstore.transaction.records import JobVersionRecord, decode_record

SAVED: Final = "saved"
"""The kind under which jobs keep saved files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobThing:
    """What a job keeps under a key: a directory with its snapshots, or a saved file.

    Attributes:
        kind: ``dir`` for a directory, ``saved`` for a saved file, or another.
        versions: Its live versions, the newest first: ``slot`` is the number of a snapshot.
    """

    kind: str
    key: str
    versions: tuple[VersionInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobVersion:
    """A version that a job made, or used, as it was called then.

    Attributes:
        version: ``name:v3``. tx: its transaction, which stays, whatever becomes of the name.
        content_digest: 64 hexadecimal digits.
        created: When it was made, or first used; RFC 3339.
    """

    version: str
    tx: str
    content_digest: str
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobManifest:
    """Everything that a store knows of a job.

    Attributes:
        job: Where no process of it was ever recorded, what its snapshots tell, with the attempt 0.
        things: What it keeps under keys of its own, by kind and key.
        made, used: Versions of artifacts, the oldest first. Hints: one that could not be written is missing.
    """

    job: JobInfo
    things: tuple[JobThing, ...]
    made: tuple[JobVersion, ...]
    used: tuple[JobVersion, ...]

    @property
    def directories(self) -> tuple[JobThing, ...]:
        """Its directories, with their snapshots."""
        return tuple(thing for thing in self.things if thing.kind == DIRECTORY)

    @property
    def saved(self) -> tuple[JobThing, ...]:
        """Its saved files."""
        return tuple(thing for thing in self.things if thing.kind == SAVED)


def job_manifest(store: Store, job_id: str) -> JobManifest:
    """What a job has, made and used.

    Raises:
        JobNotFound: There is no such job.
        InvalidName: ``job_id`` can't be one.
        CorruptData, UnsupportedFormat: A record can't be read.
    """
    keys, catalog = JobKeys(job_id), store.catalog
    found = [(name, _versions(store, name)) for name in job_names(catalog.backend, job_id)]
    processes = read_processes(catalog, job_id)
    versions = [version for _, some in found for version in some]
    if not processes and not versions:
        raise job_not_found(catalog, job_id)
    now = catalog.clock.now()
    job = info_of(job_id, processes, now=now) if processes else _info_of_versions(job_id, versions)
    return JobManifest(
        job=job,
        things=tuple(
            JobThing(kind=name.kind, key=name.key, versions=versions) for name, versions in found if versions
        ),
        made=_job_versions(catalog, keys.made),
        used=_job_versions(catalog, keys.used),
    )


def _info_of_versions(job_id: str, versions: Sequence[VersionInfo]) -> JobInfo:
    """What the snapshots of a job tell that no process was ever recorded of."""
    versions = sorted(versions, key=lambda version: version.created)
    first, last = versions[0], versions[-1]
    return JobInfo(
        id=job_id,
        project="",
        user=first.who,
        host=first.host,
        status=JobStatus.COMPLETED,
        attempt=0,
        begun=first.created,
        ended=last.created,
        beat=last.created,
        processes=0,
        source="",
        error="",
    )


def job_names(backend: Backend, job_id: str) -> Iterator[JobName]:
    """The names of what a job keeps, by kind and key; those whose versions are all deleted too. One listing, and one
    for each kind."""
    prefix = JobKeys(job_id).things
    for kind in _level(backend, prefix):
        for key in _level(backend, f"{prefix}{kind}/"):
            try:
                name = job_name(job_id, kind, decode_job_text(key.removeprefix("@")))
            except InvalidName:
                continue  # not ours
            if key == f"@{name.last}":
                yield name


def _level(backend: Backend, prefix: str) -> Iterator[str]:
    for item in backend.list_level(prefix):
        if isinstance(item, CommonPrefix):
            yield item.prefix.removeprefix(prefix).removesuffix("/")


def _versions(store: Store, name: JobName) -> tuple[VersionInfo, ...]:
    try:
        return tuple(store.versions(name))
    except NameNotFound:
        return ()  # all were deleted


def _job_versions(catalog: Catalog, prefix: str) -> tuple[JobVersion, ...]:
    keys = [info.key for info in catalog.backend.list(prefix)]
    read = catalog.requests.map(partial(_job_version, catalog.backend), keys)
    found = (version for version in read if version is not None)
    return tuple(sorted(found, key=lambda version: (version.created, version.version)))


def _job_version(backend: Backend, key: str) -> JobVersion | None:
    try:
        record = decode_record(JobVersionRecord, backend.get(key), key=key)
    except ObjectNotFound:
        return None  # the job was removed meanwhile
    pin = record.version
    return JobVersion(version=pin.version, tx=pin.tx, content_digest=pin.content, created=record.created)
