"""What the file system says of a path: the dictionaries that fsspec passes around."""

import datetime
from typing import Any

from artifactstore.filesystem.mount import Opened
from artifactstore.manifest.model import Entry, EntryKind

Info = dict[str, Any]


def folder_info(text: str) -> Info:
    """Of a folder, or of a name: what is in it depends on the version."""
    return {"name": text, "size": 0, "type": "directory"}


def directory_info(opened: Opened, name: str) -> Info:
    """Of a directory in a version, or of all of it."""
    return {"name": name, "size": 0, "type": "directory", "version": opened.version.text, **_times(opened)}


def entry_info(opened: Opened, name: str, entry: Entry) -> Info:
    """Of an entry of a version.

    A file has `digest`, the file digest in hexadecimal digits, and the same as `ETag`. A reference has the size that
    was noted and its URI as `reference`; a link that leads nowhere in the version has its target as `destination`.
    """
    if entry.kind == EntryKind.DIRECTORY:
        return directory_info(opened, name)
    info = {"name": name, "size": entry.size, "type": "file", "version": opened.version.text, **_times(opened)}
    if entry.kind == EntryKind.LINK:
        return {**info, "type": "link", "islink": True, "destination": entry.target}
    if entry.reference is not None:
        return {**info, "size": entry.reference.size_bytes, "reference": entry.reference.uri}
    digest = entry.digest.hex()
    return {**info, "digest": digest, "ETag": digest, "executable": entry.executable}


def created_at(opened: Opened) -> datetime.datetime | None:
    """When a version was made, by its uploader's clock; None where that is no time."""
    try:
        moment = datetime.datetime.fromisoformat(opened.version.record.created)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def _times(opened: Opened) -> Info:
    moment = created_at(opened)
    return {} if moment is None else {"created": moment.timestamp(), "mtime": moment.timestamp()}
