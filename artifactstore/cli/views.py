"""Results as JSON: the schemas that docs/cli.md promises. Fields are added, never renamed or removed."""

import os

from artifactstore.backend.doctor import DoctorReport
from artifactstore.cli.output import json_path, json_text
from artifactstore.manifest.diff import Change
from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.results import AliasInfo, FolderItem, Usage, VersionInfo
from artifactstore.transfer.pull import PullResult
from artifactstore.transfer.push import PushResult

_KINDS = {
    EntryKind.FILE: "file",
    EntryKind.DIRECTORY: "directory",
    EntryKind.LINK: "link",
    EntryKind.REFERENCE: "reference",
}


def version_fields(info: VersionInfo) -> dict[str, object]:
    """One version (``ls``, ``log``, ``show``)."""
    git = info.git
    return {
        "kind": "version",
        "name": info.name,
        "version": info.version,
        "slot": info.slot,
        "content_digest": info.content_digest,
        "created": info.created,
        "who": info.who,
        "host": info.host,
        "message": info.message,
        "git": None if git is None else {"commit": git.commit, "branch": git.branch, "dirty": git.dirty},
        "labels": list(info.labels),
        "aliases": list(info.aliases),
        "metadata": dict(info.metadata),
        "expires": info.expires or None,
        "edits": info.edits,
        "edited": info.edited or None,
        "edited_by": info.edited_by or None,
        "made_by": info.made_by or None,
        "made_from": [{"version": pin.version, "content_digest": pin.content} for pin in info.made_from],
        "moved_from": info.moved_from.version if info.moved_from else None,
        "files": info.files,
        "directories": info.directories,
        "links": info.links,
        "references": info.references,
        "content_bytes": info.content_bytes,
        "stored_bytes": info.stored_bytes,
        "new_bytes": info.new_bytes,
    }


def folder_item_fields(item: FolderItem, newest: VersionInfo | None) -> dict[str, object]:
    """A folder or a name (``ls``), with its newest version where that was asked for."""
    fields: dict[str, object] = {"kind": "folder" if item.is_folder else "name", "name": item.name}
    return fields | ({"newest": version_fields(newest)} if newest is not None else {})


def entry_fields(entry: Entry) -> dict[str, object]:
    """A path in a version (``ls``, ``diff``, ``status``)."""
    fields: dict[str, object] = {"kind": _KINDS[EntryKind(entry.kind)], **json_path(entry.path)}
    if entry.kind == EntryKind.FILE:
        fields |= {"size": entry.size, "executable": entry.executable, "digest": entry.digest.hex()}
    elif entry.kind == EntryKind.LINK:
        fields |= json_path(entry.target, field="target")
    elif entry.kind == EntryKind.REFERENCE and entry.reference is not None:
        fields |= {"uri": entry.reference.uri, "size": entry.reference.size_bytes}
    return fields


def change_fields(change: Change) -> dict[str, object]:
    """One difference (``diff``, ``status``)."""
    return {
        "change": change.kind.value,
        **json_path(change.path),
        "old": None if change.old is None else entry_fields(change.old),
        "new": None if change.new is None else entry_fields(change.new),
    }


def push_fields(result: PushResult) -> dict[str, object]:
    """What a push did (``push``)."""
    return {
        "action": result.action,
        "name": result.name,
        "version": result.version,
        "slot": result.slot,
        "content_digest": result.content_digest,
        "files": result.files,
        "content_bytes": result.content_bytes,
        "new_bytes": result.new_bytes,
        "sent_bytes": result.sent_bytes,
        "aliases": list(result.aliases),
        "replaced": list(result.replaced),
        "notices": [{**json_path(notice.path), "reason": json_text(notice.reason)} for notice in result.notices],
        "pack_count": result.pack_count,
        "small_pack_count": result.small_pack_count,
        "edited": result.edited,
        "references": result.references,
    }


def pull_fields(result: PullResult) -> dict[str, object]:
    """What a pull did, or would do (``pull``)."""
    return {
        "version": json_text(result.version),
        **json_path(os.fsencode(result.destination), field="destination"),
        "dry_run": result.dry_run,
        "files": result.files,
        "content_bytes": result.content_bytes,
        "fetched_bytes": result.fetched_bytes,
        "reused_bytes": result.reused_bytes,
        "written": [json_path(path) for path in result.written],
        "removed": [json_path(path) for path in result.removed],
        "kept": [json_path(path) for path in result.kept],
        "conflicts": [
            {**json_path(c.path), "beside": json_path(c.beside) if c.beside else None} for c in result.conflicts
        ],
        "references": [json_path(path) for path in result.references],
        "fetched_references": result.fetched_references,
    }


def alias_fields(alias: AliasInfo) -> dict[str, object]:
    """Where an alias points (``alias``)."""
    return {
        "alias": alias.alias,
        "version": alias.version or None,
        "protected": alias.protected,
        "number": alias.number,
        "moved": alias.moved,
        "who": alias.who,
        "host": alias.host,
    }


def usage_fields(usage: Usage) -> dict[str, object]:
    """What versions take (``du``)."""
    return {
        "versions": usage.versions,
        "files": usage.files,
        "content_bytes": usage.content_bytes,
        "stored_bytes": usage.stored_bytes,
        "pack_bytes": usage.pack_bytes,
        "pack_count": usage.pack_count,
        "small_pack_count": usage.small_pack_count,
        "fragmentation": round(usage.fragmentation, 4),
    }


def doctor_fields(report: DoctorReport) -> dict[str, object]:
    """What a storage can be relied on for (``doctor``)."""
    speeds = report.speeds
    return {
        "url": report.url,
        "advice": report.advice.value,
        "advice_text": report.advice_text,
        "findings": [{"probe": f.probe, "verdict": f.verdict.value, "text": f.text} for f in report.findings],
        "read_seconds": speeds.read_seconds,
        "write_seconds": speeds.write_seconds,
        "upload_bytes_per_second": speeds.upload_bytes_per_second,
        "download_bytes_per_second": speeds.download_bytes_per_second,
        "skew_seconds": report.skew_seconds,
    }
