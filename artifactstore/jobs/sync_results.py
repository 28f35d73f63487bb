"""What the calls of a syncable directory answer."""

from dataclasses import dataclass

from artifactstore.manifest.diff import Change
from artifactstore.names import JobName, Reference, Slot
from artifactstore.transaction.versions import Version
from artifactstore.transfer.found import Notice
from artifactstore.transfer.plan import ConflictedPath


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotUpload:
    """What an upload did.

    Attributes:
        snapshot: ``key@3``: the one made, or the one that has this content already. Empty, and ``number`` None, for a
            dry run of a key without any.
        action: `committed`; `unchanged` where the newest snapshot has this content; `planned` for a dry run.
        new_bytes: Content that was not in the store. sent_bytes: of packs sent.
        notices: Paths left out, and why.
    """

    snapshot: str
    job_id: str
    number: int | None
    action: str
    content_digest: str
    files: int
    content_bytes: int
    new_bytes: int
    sent_bytes: int
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDownload:
    """What a download did, or, in a dry run, would do.

    Attributes:
        snapshot: ``key@3``. job_id: whose it is.
        files: In the snapshot.
        written, removed: Paths that changed here.
        kept: Paths that stand as they are here, although the snapshot says otherwise; not looked for where the snapshot
            was here already.
        conflicts: Paths that both sides changed, each with where what came in landed instead, if it did.
        content_bytes: Of everything written. fetched_bytes: read from the store.
        reused_bytes: content that was here already.
    """

    snapshot: str
    job_id: str
    number: int
    files: int
    written: tuple[bytes, ...] = ()
    removed: tuple[bytes, ...] = ()
    kept: tuple[bytes, ...] = ()
    conflicts: tuple[ConflictedPath, ...] = ()
    content_bytes: int = 0
    fetched_bytes: int = 0
    reused_bytes: int = 0
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDifference:
    """A directory against one state.

    Attributes:
        snapshot: Which one, ``key@3`` (``name:v3`` for what is no snapshot of a job); empty where there is none: then
            ``changes`` is empty, too.
        job_id: Whose it is.
        changes: From that state to what the directory is now, in the order of paths.
    """

    snapshot: str = ""
    job_id: str = ""
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncStatus:
    """What differs between a directory and the states that it has to do with.

    Attributes:
        last_sync: Against what was last uploaded from here or downloaded to here, as far as this machine knows.
        job: Against the newest snapshot of the current job.
        source: Against the newest snapshot of the source job; without a source, of none.
    """

    directory: str
    last_sync: StateDifference
    job: StateDifference
    source: StateDifference


def nothing_new(name: JobName, version: Version) -> SnapshotDownload:
    """A download of what is here already."""
    return SnapshotDownload(
        snapshot=f"{name.key}@{version.slot}", job_id=name.job_id, number=version.slot, files=version.record.files
    )


def difference_of(state: Reference, changes: tuple[Change, ...]) -> StateDifference:
    """How a directory differs from a state of it."""
    if isinstance(state.name, JobName) and isinstance(state.version, Slot):
        snapshot, job_id = f"{state.name.key}@{state.version.number}", state.name.job_id
    else:
        snapshot, job_id = str(state), ""
    return StateDifference(snapshot=snapshot, job_id=job_id, changes=changes)
