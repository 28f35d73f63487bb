"""Log directories of TensorBoard: uploaded while a job writes to them.

    set_tensorboard_logdir("logs")
    writer = SummaryWriter("logs")

The directory is a syncable one under the key ``__tensorboard__``. Event files grow without end, so
each upload takes them as they are when it reads them; what was uploaded of them before is not sent
again. Other ranks of a job, and a second directory of a process, have keys of their own
(``__tensorboard__/rank-3``, ``__tensorboard__/2``): the newest snapshot of a key is one directory,
not a mixture of several. `jobs.tensorboard_folder` brings all of them together.
"""

import os
import threading
import weakref
from functools import partial
from typing import Final

from artifactstore.forks import renew_in_children
from artifactstore.jobs.background import BACKGROUND
from artifactstore.jobs.directory import SyncableDirectory, create_syncable_directory
from artifactstore.jobs.job import current_job
from artifactstore.jobs.records import JobStatus
from artifactstore.jobs.running import Job
from artifactstore.jobs.sync_results import SnapshotUpload
from artifactstore.jobs.watch import Watch, interval_seconds
from artifactstore.store import Store
from artifactstore.transaction.expiry import Ttl
from artifactstore.transfer.found import Growth
from artifactstore.transfer.plan import ConflictStrategy
from artifactstore.transfer.push import PushOptions

KEY: Final = "__tensorboard__"
TAG: Final = "tensorboard"
"""What a job with such a directory is tagged with."""
INTERVAL_SECONDS: Final = 30.0
_AS_THEY_ARE: Final = PushOptions(growth=Growth.TAKE_START)


class TensorboardLogs:
    """A log directory that is being uploaded. Made by `set_tensorboard_logdir`.

    Attributes:
        directory: The syncable directory: its `history`, its `status`.
    """

    def __init__(self, directory: SyncableDirectory, job: Job, interval: Ttl) -> None:
        self.directory: Final = directory
        self._watch = Watch[SnapshotUpload](
            partial(BACKGROUND.submit, self._upload, of=(job.store.url, job.id, directory.key)),
            interval=interval,
            what=f"the TensorBoard logs in {directory}",
            failed=job.note_failure,
        )

    def __str__(self) -> str:
        """The path as it was given."""
        return str(self.directory)

    def __fspath__(self) -> str:
        return os.fspath(self.directory)

    @property
    def is_active(self) -> bool:
        """Whether it goes on."""
        return self._watch.is_active

    def upload(self) -> SnapshotUpload:
        """Upload what there is now, besides the uploads that come by themselves.

        Raises:
            As `SyncableDirectory.upload`.
        """
        return self._upload()

    def stop(self) -> SnapshotUpload | None:
        """Upload once more, and end; None where it had ended before.

        Raises:
            As `SyncableDirectory.upload`.
        """
        return self._watch.stop()

    def _upload(self) -> SnapshotUpload:
        return self.directory.upload(options=_AS_THEY_ARE)

    def _start(self, job: Job) -> None:
        self._watch.start()
        job.at_finish(self._finish)

    def _finish(self, _status: JobStatus) -> None:
        self._watch.finish()


class _Known:
    """The log directories of the jobs of this process, by their real paths."""

    def __init__(self) -> None:
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child: it is the parent that uploads."""
        self.lock = threading.Lock()
        self.logs = weakref.WeakKeyDictionary[Job, dict[str, TensorboardLogs]]()


_known: Final = _Known()


def set_tensorboard_logdir(
    path: str | os.PathLike[str],
    *,
    interval: Ttl = INTERVAL_SECONDS,
    job: Job | None = None,
    store: Store | None = None,
) -> TensorboardLogs:
    """Upload a directory of TensorBoard logs while the job works, and tag the job ``tensorboard``.

    It is uploaded every so often in the background, and once more when the job or the program ends, by an exception or
    by SIGTERM, too; if that last upload fails, the job has failed.
    A job that was requeued begins with what it had uploaded; files that are here already stay.

    Args:
        path: Made if it is not there. The same one again is fine.
        interval: From one upload to the next: seconds, or text such as ``30s``.
        job: By default the current one.
        store: Where that is recorded; by default as for `current_job`.

    Raises:
        ValueError: No interval; or the job is not open in this process.
        DestinationExists, DestinationError: The directory can't be made, or can't be written to.
        BackendError: The storage failed.
    """
    if not os.fspath(path):
        raise ValueError("an empty text is no directory")
    interval_seconds(interval)
    run = job if job is not None else current_job(store)
    place = os.path.realpath(path)
    with _known.lock:
        logs = _known.logs.setdefault(run, {})
        found = logs.get(place)
        if found is None or not found.is_active:
            run.tag(TAG)
            key = found.directory.key if found is not None else _key(run.rank, len(logs) + 1)
            directory = create_syncable_directory(
                key, path, strategy=ConflictStrategy.SKIP, job=run, store=store, missing_ok=True
            )
            found = TensorboardLogs(directory, run, interval)
            found._start(run)
            logs[place] = found
    return found


def is_tensorboard_key(key: str) -> bool:
    """Whether a job keeps TensorBoard logs under a key."""
    return key == KEY or key.startswith(f"{KEY}/")


def _key(rank: int | None, count: int) -> str:
    """The key of the ``count``-th log directory of a process."""
    parts = [KEY, f"rank-{rank}" if rank else "", str(count) if count > 1 else ""]
    return "/".join(part for part in parts if part)
