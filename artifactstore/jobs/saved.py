"""Saved files: single files of a job, each under a friendly name.

    save_artifact("out/train_val_loss.png", "Loss_Curve")
    list_saved("train-7")                            # from anywhere
    load_saved("Loss_Curve", "train-7")              # ./train_val_loss.png

Each key is a name of its own, ``.jobs/<job>/saved/<key>``: files that are called the same do not
meet under different keys. What is saved under a key again is its next version; earlier ones stay.
"""

import contextlib
import io
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from artifactstore.errors import InvalidName, NameNotFound, NotFound, SourceFileNotFound, SourceIsDirectory
from artifactstore.jobs.close_names import did_you_mean
from artifactstore.jobs.job import open_job
from artifactstore.jobs.listing import job_not_found
from artifactstore.jobs.manifest import SAVED
from artifactstore.jobs.single_files import (
    FileDownload,
    FileNotes,
    FileUpload,
    PathLike,
    base_name,
    newest,
    pull_file,
    push_file,
    upload_of,
)
from artifactstore.jobs.snapshots import list_job_ids, list_keys
from artifactstore.jobs.sync_job import JobLike, StoreLike, SyncJob, sync_job
from artifactstore.names import JobName, Latest, Reference, Slot, job_name
from artifactstore.results import VersionInfo
from artifactstore.store import Store
from artifactstore.transfer.plan import ConflictStrategy
from artifactstore.transfer.progress import NULL_PROGRESS, Progress

_log = logging.getLogger(__name__)
_FILE: Final = "file"
"""Where the metadata of a version has what the file was called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedFile:
    """A saved file, as its newest version has it; as text ``key@3``.

    Attributes:
        key: The friendly name. file_name: what the file was called when it was saved.
        number: Of the version, from 1 on: how often the key was saved with another content.
        created: RFC 3339, by the clock of who saved it. who, host: the user and the machine.
    """

    key: str
    job_id: str
    number: int
    file_name: str
    size_bytes: int
    created: str
    who: str
    host: str
    content_digest: str

    def __str__(self) -> str:
        return f"{self.key}@{self.number}"


def save_artifact(
    filepath: PathLike,
    key: str | None = None,
    *,
    job: JobLike | str | None = None,
    store: StoreLike = None,
    progress: Progress = NULL_PROGRESS,
) -> FileUpload:
    """Save a file with a job, under a friendly name.

    Under a key that is there already it becomes the next version, and a warning says so. The same content makes none.

    Args:
        filepath: The file; of a link, the one that it leads to.
        key: Any text up to 200 bytes without control characters; by default what the file is called.
        job: The job, or its id; by default the current one.
        store: The store, or where it is; by default the job's.

    Raises:
        SourceFileNotFound: There is no such file (a `FileNotFoundError`, too).
        SourceIsDirectory: It is a directory (an `IsADirectoryError`, too).
        SourceError: It can't be read, or kept changing. Nothing was saved.
        InvalidName: The key can't be stored.
        As `Store.push`.
    """
    if not isinstance(key, str | None):
        raise TypeError(f"key is text, not {key!r}")
    _check_file(filepath)
    called = base_name(filepath)
    wanted = called if key is None else key
    job_name("_", SAVED, wanted)  # refused before a job begins for it
    with contextlib.ExitStack() as closing:
        run = sync_job(job, store, closing)
        name = job_name(run.job_id, SAVED, wanted)
        done = push_file(
            run.store, filepath, name, called=called, notes=_notes(called, run.job_id), progress=progress
        )
    saved = upload_of(done, called=wanted)
    if saved.action == "committed" and saved.number > 1:
        _log.warning(
            "job %s has saved %r before: this is its version %d, earlier ones stay", run.job_id, wanted, saved.number
        )
    return saved


def list_saved(job_id: str | None = None, *, store: StoreLike = None) -> list[SavedFile]:
    """The saved files of a job, by key, each as its newest version has it. One listing, and a request for each.

    Args:
        job_id: By default the current job.
        store: The store, or where it is; by default that of the job that is open here, else as the settings say.

    Raises:
        JobNotFound: There is no such job; the message names those with similar ids.
    """
    with contextlib.ExitStack() as closing:
        run = _readable(job_id, store, closing)
        names = [job_name(run.job_id, SAVED, key) for key in list_keys(run.store, run.job_id, kind=SAVED)]
        if not names and job_id is not None and job_id not in list_job_ids(run.store):
            raise job_not_found(run.store.catalog, job_id)
        found = newest(run.store, names)
    return sorted((_saved_file(info) for info in found), key=lambda saved: saved.key)


def load_saved(  # noqa: PLR0913 - what, where to, and how, by keyword
    key: str,
    job_id: str | None = None,
    *,
    directory: PathLike = ".",
    number: int | None = None,
    strategy: ConflictStrategy | str = ConflictStrategy.ERROR,
    store: StoreLike = None,
    progress: Progress = NULL_PROGRESS,
) -> FileDownload:
    """Bring a saved file into a directory, under the name that it was saved from.

    Args:
        job_id: By default the current job.
        directory: Made if it is not there.
        number: An earlier version; by default the newest.
        strategy: Where another file of this name is there: ``error``, ``skip``, ``new``, ``replace``.
        store: As for `list_saved`.

    Returns:
        What was done; its `path` is that of the file.

    Raises:
        JobNotFound, NameNotFound: There is no such job, or key; the message names what is close to it.
        DownloadConflict: Another file is there, and the strategy is `error`. Nothing was written.
        As `Store.pull`.
    """
    chosen = ConflictStrategy(strategy)
    with contextlib.ExitStack() as closing:
        run = _readable(job_id, store, closing)
        inside = _inside(run, key, number)
        version = Reference(name=inside.name, version=inside.version)
        called = os.fsdecode(inside.path)
        path, done = pull_file(run.store, version, directory, called=called, strategy=chosen, progress=progress)
    assert isinstance(inside.version, Slot)
    return FileDownload(name=key, path=path, number=inside.version.number, pulled=done)


@contextlib.contextmanager
def open_saved(
    key: str, job_id: str | None = None, *, number: int | None = None, store: StoreLike = None
) -> Iterator[io.BufferedReader]:
    """A saved file as a seekable stream, checked as it is read: ``with open_saved("Loss_Curve", "train-7") as file:``.

    Args:
        job_id, number, store: As for `load_saved`.

    Raises:
        JobNotFound, NameNotFound: There is no such job, or key; the message names what is close to it.
        CorruptData: Stored bytes fail their check.
    """
    with contextlib.ExitStack() as closing:
        run = _readable(job_id, store, closing)
        yield closing.enter_context(run.store.open(_inside(run, key, number)))


# -- saving -----------------------------------------------------------------------------------------


def _check_file(path: PathLike) -> None:
    shown = os.fspath(path)
    if not os.path.exists(path):
        raise SourceFileNotFound(
            f"there is no file {shown}", where=shown, next_step="Write it to the disk first, then save it."
        )
    if os.path.isdir(path):
        raise SourceIsDirectory(f"{shown} is a directory, and single files are saved", where=shown)


def _notes(called: str, job_id: str) -> FileNotes:
    try:
        called.encode()
    except UnicodeEncodeError:
        return FileNotes(made_by=job_id)  # bytes that are no text: the version alone has them
    return FileNotes(made_by=job_id, metadata={_FILE: called})


# -- finding ----------------------------------------------------------------------------------------


def _readable(job_id: str | None, store: StoreLike, closing: contextlib.ExitStack) -> SyncJob:
    """The job whose files are read. None begins for a job that is named."""
    here = open_job() if store is None and job_id is not None else None
    return sync_job(job_id, here.store if here is not None else store, closing)


def _inside(run: SyncJob, key: str, number: int | None) -> Reference:
    """The one file of a version."""
    if number is not None and number < 1:
        raise InvalidName(f"versions count from 1, and {number} was asked for")
    name = job_name(run.job_id, SAVED, key)
    asked = Reference(name=name, version=Latest() if number is None else Slot(number))
    try:
        info = run.store.show(asked)
    except NameNotFound as error:
        raise _missing(run.store, name, number) from error
    found = Reference(name=name, version=Slot(info.slot))
    entry = next(run.store.files(found))
    return Reference(name=name, version=Slot(info.slot), path=entry.path)


def _missing(store: Store, name: JobName, number: int | None) -> NotFound:
    keys = list_keys(store, name.job_id, kind=SAVED)
    if name.key in keys:
        what = f"version {number} of it" if number is not None else "it"
        next_step = "load_saved without a number brings the newest." if number is not None else ""
        return NameNotFound(f"job {name.job_id!r} has saved {name.key!r}, and {what} is not there", next_step=next_step)
    if not keys and name.job_id not in list_job_ids(store):
        return job_not_found(store.catalog, name.job_id)
    return NameNotFound(
        f"job {name.job_id!r} has saved nothing under the key {name.key!r}",
        next_step=did_you_mean(name.key, keys, what="key", plural="saved files"),
    )


def _saved_file(info: VersionInfo) -> SavedFile:
    name = JobName(info.name)
    called = info.metadata.get(_FILE)
    return SavedFile(
        key=name.key,
        job_id=name.job_id,
        number=info.slot,
        file_name=called if isinstance(called, str) else "",
        size_bytes=info.content_bytes,
        created=info.created,
        who=info.who,
        host=info.host,
        content_digest=info.content_digest,
    )
