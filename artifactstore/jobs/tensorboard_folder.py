"""The TensorBoard logs of many jobs in one folder, a folder for each, for TensorBoard to read.

    <folder>/<job>                the logs of a job
    <folder>/<job>+rank-3         those of another rank of it, or of a second log directory
    <folder>/<safe>-<8 digits>    of a job whose id can't name a folder

TensorBoard keeps event files open and reads on where it was. So what came to an event file is
appended to it here, too; everything else is replaced as by any other download.
"""

import logging
import os
import re
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import xxhash

from artifactstore.errors import ArtifactStoreError, BackendError, NameNotFound
from artifactstore.jobs.listing import find_job, list_jobs
from artifactstore.jobs.snapshots import DIRECTORY, list_keys, newest_version
from artifactstore.jobs.tensorboard import KEY, TAG, is_tensorboard_key
from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.names import JobName, Reference, Slot, job_name
from artifactstore.store import Store

_log = logging.getLogger(__name__)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]", re.ASCII)
_EVENTS: Final = b"tfevents"
"""In the name of every event file: TensorBoard knows them by it."""
_COMPARED_BYTES: Final = 64 << 10
_COPIED_BYTES: Final = 1 << 20
_LONGEST_NAME: Final = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class BroughtLogs:
    """The logs of a job, brought here.

    Attributes:
        key: ``__tensorboard__``, or another that begins so.
        number: Of the snapshot that the folder holds.
        folder: Absolute path.
        files, content_bytes: In the snapshot.
        is_new: Whether something came with this refresh.
    """

    job_id: str
    key: str
    number: int
    folder: str
    files: int
    content_bytes: int
    is_new: bool


class TensorboardFolder:
    """Brings the logs of jobs together. Not for several threads at once.

    Args:
        store: Where the jobs are.
        path: The folder; made if it is not there. What else is in it stays.
    """

    def __init__(self, store: Store, path: str | os.PathLike[str]) -> None:
        self.path: Final = os.path.abspath(path)
        self._store = store
        self._brought: dict[JobName, BroughtLogs] = {}

    def refresh(self, job_ids: Sequence[str]) -> list[BroughtLogs]:
        """Bring what is new of these jobs. A job that has uploaded no logs yet is passed over.

        Of a job's further log directories those that hold the same as another one, and empty ones, are left out. What
        is wrong with the logs of one is raised after those of the others were brought.

        Raises:
            DownloadConflict: A file in the folder was changed by somebody else. It is as it was.
            DestinationExists, DestinationError: The folder can't be made, or can't be written to.
            As `Store.pull`.
        """
        found: list[BroughtLogs] = []
        failed: list[ArtifactStoreError] = []
        for job_id in job_ids:
            seen: set[bytes] = set()
            for key in _tensorboard_keys(self._store, job_id):
                try:
                    logs = self._bring(job_name(job_id, DIRECTORY, key), seen)
                except BackendError:
                    raise  # it would be the same with the others
                except ArtifactStoreError as error:
                    failed.append(error)
                    continue
                if logs is not None:
                    found.append(logs)
        os.makedirs(self.path, exist_ok=True)
        if failed:
            raise failed[0]
        return found

    def _bring(self, name: JobName, seen: set[bytes]) -> BroughtLogs | None:
        newest = newest_version(self._store, name)
        if newest is None or newest.record.files == 0 or newest.record.content_digest in seen:
            return None
        seen.add(newest.record.content_digest)
        known = self._brought.get(name)
        if known is not None and known.number == newest.slot:
            return replace(known, is_new=False)
        folder = os.path.join(self.path, folder_name(name.job_id, name.key))
        version = Reference(name=name, version=Slot(newest.slot))
        grow_event_files(self._store, version, folder)
        self._store.pull(version, folder)
        self._brought[name] = BroughtLogs(
            job_id=name.job_id,
            key=name.key,
            number=newest.slot,
            folder=folder,
            files=newest.record.files,
            content_bytes=newest.record.content_bytes,
            is_new=True,
        )
        return self._brought[name]


def jobs_with_tensorboard(store: Store, *, project: str | None = None, tag: str | None = None) -> list[str]:
    """Ids of the jobs that were tagged by `set_tensorboard_logdir`, those that began last first.

    Args:
        project, tag: Only those that work for it, that have it.
    """
    return [
        info.id
        for info in list_jobs(store, project=project)
        if TAG in info.tags and (tag is None or tag in info.tags)
    ]


def check_has_logs(store: Store, job_id: str) -> None:
    """Refuse a job that has no TensorBoard logs and is not about to have some.

    Raises:
        JobNotFound: There is no such job; the message names those with similar ids.
        NameNotFound: It has no logs.
    """
    if _tensorboard_keys(store, job_id) or TAG in find_job(store, job_id).tags:
        return
    raise NameNotFound(
        f"job {job_id!r} has no TensorBoard logs",
        next_step="In the job, say set_tensorboard_logdir(path) before it writes them.",
    )


def folder_name(job_id: str, key: str = KEY) -> str:
    """What the folder of a job's logs is called: its id, where that can name a folder anywhere."""
    safe = _UNSAFE.sub("_", job_id)[:_LONGEST_NAME]
    if safe.startswith("."):
        safe = f"_{safe[1:]}"  # hidden
    if safe != job_id:
        safe = f"{safe}-{xxhash.xxh3_64_hexdigest(job_id.encode())[:8]}"
    rest = key.removeprefix(KEY).strip("/")  # behind a `+`, which the name of no other job's folder has
    return f"{safe}+{_UNSAFE.sub('.', rest)}" if rest else safe


def _tensorboard_keys(store: Store, job_id: str) -> list[str]:
    return sorted(key for key in list_keys(store, job_id) if is_tensorboard_key(key))


# -- event files ------------------------------------------------------------------------------------


def grow_event_files(store: Store, version: Reference, folder: str) -> None:
    """Append to the event files below a folder what a version has more of them. Files that are no beginning of what the
    version has are left to the download that follows."""
    root = os.path.realpath(os.fsencode(folder))
    for entry in store.files(version) if os.path.isdir(root) else ():
        if entry.kind == EntryKind.FILE and _EVENTS in os.path.basename(entry.path):
            local = os.path.join(root, entry.path)
            size = _size_to_grow(local, entry)
            if size is not None:
                _append(store, replace(version, path=entry.path), local, size)


def _size_to_grow(local: bytes, entry: Entry) -> int | None:
    """How long the file is, if it may be the beginning of the entry. One that a link leads to is not ours to write."""
    try:
        looked = os.lstat(local)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(looked.st_mode) or looked.st_nlink > 1 or os.path.realpath(local) != local:
        return None
    return looked.st_size if 0 < looked.st_size < entry.size else None


def _append(store: Store, stored_file: Reference, local: bytes, size: int) -> None:
    start = max(0, size - _COMPARED_BYTES)
    with store.open(stored_file) as stored, open(local, "r+b") as file:
        stored.seek(start)
        file.seek(start)
        if stored.read(size - start) == file.read(size - start):
            shutil.copyfileobj(stored, file, _COPIED_BYTES)
