"""Syncable directories and saved files as scripts for Foundations call them.

Every call returns None, as there. What it is called with is taken for its text (``source_job_id=42``), and a job or
key that is not there is a warning, not an error. docs/foundations.md lists what is as it was, and what is not.
"""

import logging
import os
import weakref
from typing import Final

from artifactstore.errors import DownloadConflict, NameNotFound, SourceNotFound, VersionDeleted
from artifactstore.jobs.directory import SyncableDirectory as NativeDirectory
from artifactstore.jobs.directory import create_syncable_directory as create_native
from artifactstore.jobs.job import current_job, open_job
from artifactstore.jobs.saved import save_artifact as save_native
from artifactstore.jobs.snapshots import NO_JOB
from artifactstore.jobs.tensorboard import set_tensorboard_logdir as set_native_logdir
from artifactstore.transfer.plan import ConflictStrategy

__all__ = ["SyncableDirectory", "create_syncable_directory"]

COMMAND_LINE_VARIABLE: Final = "FOUNDATIONS_COMMAND_LINE"
_TAG: Final = "tf"
_SHOWN_PATHS: Final = 5

_log = logging.getLogger("artifactstore.compat.foundations")


class SyncableDirectory:
    """A directory that is uploaded to the current job, as `create_syncable_directory` makes it."""

    def __init__(self, directory: NativeDirectory) -> None:
        self._directory = directory
        weakref.finalize(self, directory.close)

    def __str__(self) -> str:
        """The path as it was given."""
        return str(self._directory)

    def __fspath__(self) -> str:
        return os.fspath(self._directory)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._directory.key!r}, {str(self)!r})"

    def upload(self) -> None:
        """Make what the directory is now the next snapshot of the current job.

        A directory that is not there, and a program that is no job, are a warning each.

        Raises:
            As the native `SyncableDirectory.upload` for everything else.
        """
        if self._directory.job_id == NO_JOB:
            _log.warning("local_job_id required for uploading artifacts: %s was not uploaded", self)
            return
        try:
            self._directory.upload()
        except SourceNotFound as error:
            _log.warning("nothing was uploaded: %s", error)

    def download(self) -> None:
        """Bring what is new in the source job, or without one in the current job. Local edits stay.

        Raises:
            As the native `SyncableDirectory.download`, but for what is not there and for conflicts.
        """
        try:
            try:
                self._directory.download()
            except DownloadConflict as error:
                _warn_of(error, str(self))
                self._directory.download(strategy=ConflictStrategy.SKIP)
        except (NameNotFound, VersionDeleted) as error:
            _log.warning("nothing was downloaded to %s: %s", self, error)


def create_syncable_directory(
    key: object, directory_path: str | os.PathLike[str] | None = None, source_job_id: object = None
) -> SyncableDirectory:
    """A directory that begins with what a job uploaded under a key, and is uploaded to the current one.

    Args:
        key: What it is called in the store.
        directory_path: Where it is on this machine; by default a new temporary directory.
        source_job_id: Whose it begins with; by default the current job's.

    Raises:
        As the native `create_syncable_directory`, but for what is not there and for conflicts.
    """
    source = None if source_job_id is None else str(source_job_id)
    missing_ok, strategy = False, ConflictStrategy.ERROR
    while True:
        try:
            made = create_native(
                str(key), directory_path, source, missing_ok=missing_ok, strategy=strategy, job=_job()
            )
            break
        except (NameNotFound, VersionDeleted) as error:
            if missing_ok:
                raise
            missing_ok = True
            _log.warning("the directory begins with nothing: %s", error.what)
        except DownloadConflict as error:
            if strategy is ConflictStrategy.SKIP:
                raise
            strategy = ConflictStrategy.SKIP
            _warn_of(error, str(directory_path))
    return SyncableDirectory(made)


def save_artifact(filepath: str | os.PathLike[str], key: object = None) -> None:
    """Save a file with the current job, under a friendly name; by default what the file is called.

    Raises:
        FileNotFoundError: There is no such file. Nothing was saved.
        IsADirectoryError: It is a directory.
    """
    if is_no_job():
        _log.warning("Cannot save artifact outside of job.")
        return
    save_native(filepath, None if key is None else str(key))


def set_tensorboard_logdir(path: str | os.PathLike[str]) -> None:
    """Upload a directory of TensorBoard logs while the job works, and tag the job.

    Raises:
        As the native `set_tensorboard_logdir`.
    """
    if is_no_job():
        _log.warning("%s is not uploaded: this program is no job", os.fspath(path))
        os.makedirs(path, exist_ok=True)
        return
    set_native_logdir(path)
    current_job().tag(_TAG)


def is_no_job() -> bool:
    """Whether this program was told to be none, and has not begun one all the same."""
    return os.environ.get(COMMAND_LINE_VARIABLE) == "True" and open_job() is None


def _job() -> str | None:
    return NO_JOB if is_no_job() else None


def _warn_of(error: DownloadConflict, path: str) -> None:
    shown = ", ".join(os.fsdecode(each) for each in error.paths[:_SHOWN_PATHS])
    more = f" and {len(error.paths) - _SHOWN_PATHS} more" if len(error.paths) > _SHOWN_PATHS else ""
    _log.warning("files in %s differ from those to download, and stay as they are: %s%s", path, shown, more)
