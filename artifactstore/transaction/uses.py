"""Uses: which versions were made from a version, and which jobs read it (`names/…/@name/used/…`), and the other
way round, which versions a job made and read (`jobs/<job>/made/…`, `…/used/…`).

Put after the commit. Of a version that was made from another one, its own record decides, so
a hint that is missing or stale costs a line in a picture, never a wrong one. That a job used a
version is said nowhere else: there the record itself is all there is to know.
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock, timestamp
from artifactstore.digest import USER_CONTEXT, Digest, digest_of
from artifactstore.errors import BackendError, InvalidName, ObjectExists
from artifactstore.keys import JobKeys, NameKeys, TxId
from artifactstore.names import JOBS, JobName, Name, Slot, encode_job_text, parse_version, parse_whole
from artifactstore.transaction.conditional import Won, put_once
from artifactstore.transaction.records import (
    NOBODY,
    Author,
    JobVersionRecord,
    UseRecord,
    VersionPin,
    decode_record,
    encode_record,
    fresh_nonce,
)
from artifactstore.transaction.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A use as it is recorded. ``key`` is where."""

    key: str
    record: UseRecord


def check_job_id(text: str) -> str:
    """``text`` if it may be the id of a job: 1 to 200 bytes (percent-encoded), nothing that can't be printed.

    Raises:
        InvalidName: It is not.
    """
    encode_job_text(text)
    return text


def version_user(tx: TxId) -> Digest:
    """What stands for a version among the users of another one."""
    return digest_of(USER_CONTEXT, b"version\0" + tx.encode())


def job_user(job: str) -> Digest:
    """What stands for a job among the users of a version."""
    return digest_of(USER_CONTEXT, b"job\0" + job.encode())


def pinned_place(pin: VersionPin) -> tuple[Name, int] | None:
    """Name and slot of a pin; None where its text is no version (it may come from anywhere)."""
    try:
        name, _, slot = pin.version.rpartition(":v")
        if name.startswith(f"{JOBS}/"):
            version = parse_version(f"v{slot}")
            return (JobName(name), version.number) if isinstance(version, Slot) else None
        reference = parse_whole(pin.version)
    except InvalidName:
        return None
    return (reference.name, reference.version.number) if isinstance(reference.version, Slot) else None


def put_use_hints(backend: Backend, clock: Clock, version: Version, *, pool: Executor) -> int:
    """Say beside each version that ``version`` was made from that it was; returns how many hints are there now.

    What fails is left out: ``version`` is committed, and its record has the pins.
    """

    def put(pin: VersionPin) -> bool:
        place = pinned_place(pin)
        if place is None:
            return False
        record = version.record
        use = UseRecord(
            nonce=fresh_nonce(clock),
            used=pin.tx,
            version=version.pin,
            created=record.created,
            who=record.who,
            host=record.host,
        )
        name, slot = place
        try:
            with contextlib.suppress(ObjectExists):
                backend.put_if_absent(NameKeys(name).use(slot, version_user(version.tx)), encode_record(use))
        except BackendError:
            return False
        return True

    return sum(pool.map(put, version.record.made_from))


def record_use(backend: Backend, clock: Clock, version: Version, job: str, *, author: Author = NOBODY) -> bool:
    """Say that a job used a version.

    Returns:
        Whether that is new.

    Raises:
        InvalidName: No id of a job.
        CommitStateUnknown: It may be recorded.
    """
    use = UseRecord(
        nonce=fresh_nonce(clock),
        used=version.tx,
        job=check_job_id(job),
        created=timestamp(clock.now()),
        who=author.who,
        host=author.host,
    )
    # First where the job has it: with the other one there already, it is not looked for again.
    put_once(backend, clock, JobKeys(job).used_version(version.tx), _job_version(clock, version, created=use.created))
    key = NameKeys(version.name).use(version.slot, job_user(job))
    return isinstance(put_once(backend, clock, key, encode_record(use)), Won)


def put_made_hint(backend: Backend, clock: Clock, version: Version) -> bool:
    """Say beside the records of the job that made ``version`` that it did; returns whether a hint is there now.

    None is put for what belongs to the job itself. What fails is left out: ``version`` is committed, and its record
    names the job.
    """
    record = version.record
    if not record.made_by or isinstance(version.name, JobName):
        return False
    try:
        key = JobKeys(record.made_by).made_version(version.tx)
        with contextlib.suppress(ObjectExists):
            backend.put_if_absent(key, _job_version(clock, version, created=record.created))
    except (BackendError, InvalidName):  # a job of that id can't be: the id comes from a record
        return False
    return True


def _job_version(clock: Clock, version: Version, *, created: str) -> bytes:
    return encode_record(JobVersionRecord(nonce=fresh_nonce(clock), version=version.pin, created=created))


def use_keys(backend: Backend, name: Name, slot: int) -> Iterator[str]:
    """Keys of all uses of a version, in no order that means anything; one lazy listing."""
    prefix = NameKeys(name).uses(slot)
    for info in backend.list(prefix):
        if _is_use(info.key.removeprefix(prefix)):
            yield info.key


def read_use(backend: Backend, key: str) -> Use:
    """One use.

    Raises:
        ObjectNotFound: It is not there.
        CorruptData, UnsupportedFormat: It can't be read.
    """
    return Use(key=key, record=decode_record(UseRecord, backend.get(key), key=key))


def _is_use(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
