"""Jobs and syncs as JSON: the schemas that docs/cli.md promises. Fields are added, never renamed or removed."""

from collections.abc import Sequence

from artifactstore.cli.output import json_path, json_text
from artifactstore.cli.views import change_fields
from artifactstore.clock import timestamp
from artifactstore.jobs.listing import JobInfo
from artifactstore.jobs.manifest import JobThing, JobVersion
from artifactstore.jobs.snapshots import Snapshot
from artifactstore.jobs.states import Process
from artifactstore.jobs.sync_results import SnapshotDownload, SnapshotUpload, StateDifference
from artifactstore.names import version_title


def upload_fields(done: SnapshotUpload) -> dict[str, object]:
    """What an upload did (``sync up``, ``sync apply``)."""
    return {
        "snapshot": json_text(done.snapshot),
        "job_id": json_text(done.job_id),
        "number": done.number,
        "action": done.action,
        "content_digest": done.content_digest,
        "files": done.files,
        "content_bytes": done.content_bytes,
        "new_bytes": done.new_bytes,
        "sent_bytes": done.sent_bytes,
        "notices": [{**json_path(notice.path), "reason": notice.reason} for notice in done.notices],
    }


def download_fields(done: SnapshotDownload) -> dict[str, object]:
    """What a download did (``sync down``, ``sync apply``)."""
    return {
        "snapshot": json_text(done.snapshot),
        "job_id": json_text(done.job_id),
        "number": done.number,
        "dry_run": done.dry_run,
        "files": done.files,
        "content_bytes": done.content_bytes,
        "fetched_bytes": done.fetched_bytes,
        "reused_bytes": done.reused_bytes,
        "written": _paths(done.written),
        "removed": _paths(done.removed),
        "kept": _paths(done.kept),
        "conflicts": [
            {**json_path(conflict.path), "beside": json_path(conflict.beside) if conflict.beside else None}
            for conflict in done.conflicts
        ],
    }


def _paths(paths: Sequence[bytes]) -> list[dict[str, str]]:
    return [json_path(path) for path in paths]


def state_fields(state: StateDifference) -> dict[str, object] | None:
    """A directory against one state (``sync status``); None where there is none."""
    if not state.snapshot:
        return None
    return {
        "snapshot": json_text(state.snapshot),
        "job_id": json_text(state.job_id) or None,
        "changes": [change_fields(change) for change in state.changes],
    }


def snapshot_fields(snapshot: Snapshot) -> dict[str, object]:
    """One snapshot (``sync history``)."""
    return {
        "snapshot": str(snapshot),
        "number": snapshot.number,
        "created": snapshot.created,
        "who": snapshot.who,
        "host": snapshot.host,
        "message": snapshot.message,
        "source_job_ids": list(snapshot.source_job_ids),
        "files": snapshot.files,
        "directories": snapshot.directories,
        "links": snapshot.links,
        "content_bytes": snapshot.content_bytes,
        "new_bytes": snapshot.new_bytes,
        "content_digest": snapshot.content_digest,
    }


def job_fields(job: JobInfo) -> dict[str, object]:
    """One job (``jobs``, ``jobs show``)."""
    return {
        "id": job.id,
        "project": job.project,
        "user": job.user,
        "host": job.host,
        "status": job.status.value,
        "attempt": job.attempt,
        "begun": job.begun,
        "ended": job.ended or None,
        "beat": job.beat,
        "processes": job.processes,
        "source": job.source,
        "error": job.error or None,
        "tags": list(job.tags),
    }


def process_fields(process: Process) -> dict[str, object]:
    """One process of a job (``jobs show``)."""
    record = process.record
    return {
        "name": process.name,
        "state": record.state.value,
        "attempt": record.attempt,
        "rank": record.rank,
        "host": record.host,
        "pid": record.pid,
        "begun": record.begun,
        "seen": timestamp(process.seen),
        "ended": record.ended or None,
        "error": record.error or None,
    }


def thing_fields(thing: JobThing) -> dict[str, object]:
    """What a job keeps under a key (``jobs show``)."""
    return {
        "key": thing.key,
        "snapshots": [
            {
                "number": version.slot,
                "created": version.created,
                "files": version.files,
                "content_bytes": version.content_bytes,
                "content_digest": version.content_digest,
                "message": version.message,
            }
            for version in thing.versions
        ],
    }


def job_version_fields(version: JobVersion) -> dict[str, object]:
    """A version that a job made or used (``jobs show``)."""
    return {
        "version": version.version,
        "title": json_text(version_title(version.version)),
        "tx": version.tx,
        "content_digest": version.content_digest,
        "created": version.created,
    }
