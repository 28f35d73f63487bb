"""Syncable directories: a directory of this machine that travels between jobs under a key.

    directory = create_syncable_directory("model", "sync/path", source_job_id="42")
    ...                                   # read and write files in sync/path
    print(directory.upload().snapshot)    # model@1: the current job's; those of job 42 stay as they are

Creating one downloads. What is uploaded always goes to the current job, as its next numbered
snapshot. docs/sync.md says what comes from where, and what happens to local edits.
"""

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Final, Literal, Self, overload

from artifactstore.errors import (
    ArtifactStoreError,
    NameNotFound,
    NotFound,
    StoreNotFound,
    VersionDeleted,
)
from artifactstore.jobs.background import BACKGROUND, UploadHandle
from artifactstore.jobs.local_directory import Landmark, check_source, holds_anything, remove_empty
from artifactstore.jobs.retention import (
    RetentionResult,
    apply_after_upload,
    apply_retention,
    retention_rule,
    set_retention,
)
from artifactstore.jobs.snapshots import (
    DIRECTORY,
    Snapshot,
    job_name_of,
    list_snapshots,
    missing,
    newest_version,
    note_use,
    snapshot_reference,
)
from artifactstore.jobs.sync_job import JobLike, StoreLike, SyncJob, record_job, sync_job
from artifactstore.jobs.sync_results import (
    SnapshotDownload,
    SnapshotUpload,
    SyncStatus,
    nothing_new,
)
from artifactstore.jobs.sync_status import compare_with_states
from artifactstore.jobs.watch import Watch
from artifactstore.names import JobName, Latest, Reference, Slot, VersionSelector, job_name
from artifactstore.store import Store
from artifactstore.transaction.expiry import Ttl
from artifactstore.transaction.records import VersionPin
from artifactstore.transaction.resolve import resolve
from artifactstore.transaction.upload import Action, Strategy
from artifactstore.transaction.versions import Version, live_versions
from artifactstore.transfer.folders import destination_error
from artifactstore.transfer.found import Growth, Notice
from artifactstore.transfer.plan import ConflictStrategy, PullOptions, SyncBase
from artifactstore.transfer.progress import NULL_PROGRESS, Progress
from artifactstore.transfer.push import PushOptions, PushResult

_log = logging.getLogger(__name__)
_TEMPORARY: Final = "artifactstore-sync-"
_MOST_LOOKED_AT: Final = 50
_ALL_GONE: Final = "nothing that was last synced here is left, and the snapshot lacks all of it; older ones keep it"
_DEFAULT_PUSH: Final = PushOptions()
_DEFAULT_PULL: Final = PullOptions()
WATCHED: Final = PushOptions(growth=Growth.TAKE_START)
"""How a watched directory is uploaded."""


class SyncableDirectory:
    """A directory that is uploaded and downloaded as a whole, under a key. Made by `create_syncable_directory`.

    Safe to be used by several threads; each upload holds what the files were while it read them. Use it as a context
    manager, or `close` it, where it was given a store by URL or path.

    Attributes:
        key: What it is called in the store.
        job_id: The current job's id: whose snapshots uploads make.
        source_job_id: The job it came from; None where it follows the current job.
        strategy: What downloads do about conflicts unless they are told otherwise.
    """

    def __init__(
        self, path: str, name: JobName, run: SyncJob, *, source: JobName | None, strategy: ConflictStrategy
    ) -> None:
        self.key: Final = name.key
        self.job_id: Final = name.job_id
        self.source_job_id: Final = source.job_id if source is not None else None
        self.strategy: Final = strategy
        self._given = path
        self._path = os.path.abspath(path)
        self._name = name
        self._source = source
        self._store = run.store
        self._uploads = run.uploads
        self._job = run.open
        self._is_prepared = False
        self._is_recorded = False
        self._closing = contextlib.ExitStack()
        self._made_from: tuple[VersionPin, ...] = ()
        self._upload_base: Reference | None = None
        self._knows_origin = False
        self._landmark = Landmark(self._path)

    def __str__(self) -> str:
        """The path as it was given."""
        return self._given

    def __fspath__(self) -> str:
        return self._path

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key!r}, {self._given!r}, job_id={self.job_id!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store if this directory opened it, after its uploads in the background. The files stay. Calling it
        twice is fine."""
        BACKGROUND.settle(of=self._background_key)
        self._closing.close()

    # -- up ------------------------------------------------------------------------------------------

    @overload
    def upload(
        self,
        *,
        wait: Literal[True] = True,
        message: str = "",
        options: PushOptions = _DEFAULT_PUSH,
        progress: Progress = NULL_PROGRESS,
    ) -> SnapshotUpload: ...

    @overload
    def upload(
        self,
        *,
        wait: Literal[False],
        message: str = "",
        options: PushOptions = _DEFAULT_PUSH,
        progress: Progress = NULL_PROGRESS,
    ) -> UploadHandle[SnapshotUpload]: ...

    def upload(
        self,
        *,
        wait: bool = True,
        message: str = "",
        options: PushOptions = _DEFAULT_PUSH,
        progress: Progress = NULL_PROGRESS,
    ) -> SnapshotUpload | UploadHandle[SnapshotUpload]:
        """Make what the directory is now the current job's next snapshot; identical content makes none.

        All or nothing: cut off at any moment, the newest snapshot stays what it was, and the next upload sends only
        what is missing. What was removed here is not in the new snapshot; older ones keep it. Snapshots that are not
        to be kept any more (`keep`) are removed.

        Args:
            wait: False: return at once with a handle, and upload in the background (docs/background.md). The job, and
                the program, end after that. Only the store itself is asked for at once.

        Raises:
            SourceNotFound: There is no such directory.
            SourceError: It is no directory, or something in it can't be read, or kept changing. No snapshot was made.
            BackendError: The storage failed. No snapshot was made.
            CommitStateUnknown: It can't be found out whether the snapshot was made.
            ValueError: A strategy that does not count snapshots up.
        """
        if options.strategy is not Strategy.VERSION:
            raise ValueError(f"each upload is a snapshot of its own: strategy {options.strategy.value} does not apply")
        work = partial(self._upload_now, message=message, options=options, progress=progress)
        return work() if wait else self._later(work)

    def _later(self, work: Callable[[], SnapshotUpload]) -> UploadHandle[SnapshotUpload]:
        self._prepare_background()
        failed = self._job.note_failure if self._job is not None else None
        return BACKGROUND.submit(work, of=self._background_key, failed=failed)

    def _prepare_background(self) -> None:
        """Have at hand what can't be made at the very end of a program: threads, and a new store, proved by a race."""
        if self._is_prepared:
            return
        self._store.made_catalog()
        BACKGROUND.begin()
        if self._job is not None:
            self._job.at_finish(lambda status: BACKGROUND.finish())
        self._is_prepared = True

    @property
    def _background_key(self) -> tuple[str, str, str]:
        return self._store.url, self._name.text, self._path

    def _upload_now(self, *, message: str, options: PushOptions, progress: Progress) -> SnapshotUpload:
        check_source(self._path, self._given)
        self._recall_origin()
        was_wiped = self._landmark.is_lost(self._store)
        done = self._store.push(
            self._path,
            self._name,
            options=replace(
                options,
                message=message or options.message,
                made_by=options.made_by or self.job_id,
                made_from=(*options.made_from, *self._made_from),
            ),
            base=self._upload_base,
            progress=progress,
        )
        if not options.dry_run and done.slot is not None:
            self._knows_origin = True
            self._upload_base = None  # from now on the job's own snapshot is what uploads build on
            self._uploads.add(_mark(self._store, self._name, done.slot))
            if done.action == Action.COMMITTED.value:
                apply_after_upload(self._store, self._name)
                self._record_job()
        uploaded = self._uploaded(done)
        if not was_wiped or done.action == Action.UNCHANGED.value:
            return uploaded
        _log.warning("%s: %s", self._given, _ALL_GONE)
        return replace(uploaded, notices=(*uploaded.notices, Notice(b".", _ALL_GONE)))

    def _record_job(self) -> None:
        """Let people find the job by its first snapshot, where only its id was given and no program has begun it."""
        if self._job is not None or self._is_recorded:
            return
        try:
            record_job(self._store, self.job_id)
            self._is_recorded = True
        except ArtifactStoreError as error:
            _log.warning("job %s could not be recorded, the next upload tries again: %s", self.job_id, error)

    def watch(
        self, interval: Ttl = 30.0, *, message: str = "", options: PushOptions = WATCHED
    ) -> Watch[SnapshotUpload]:
        """Upload every so often in the background, and once more at the end: of the `with` block, of the job, of the
        program, after an exception, and on SIGTERM.

        It has begun when this returns. Use it as a context manager, or `stop` it. An upload where nothing changed
        makes no snapshot. Files that grow are taken as they were when they were opened.

        Args:
            interval: Seconds, text (``30s``, ``5m``) or a timedelta.

        Raises:
            ValueError: No interval.
            ConfigurationError: ARTIFACTSTORE_GRACE_SECONDS is no number of seconds.
            StoreNotFound, StoreReadOnly, BackendError: The store can't be written.
        """
        self._prepare_background()
        job = self._job
        watch = Watch(
            lambda: self.upload(wait=False, message=message, options=options),
            interval=interval,
            what=repr(self._given),
            failed=job.note_failure if job is not None else None,
        ).start()
        if job is not None:
            job.at_finish(lambda status: watch.finish())
        return watch

    def keep(self, *, last: int | None = None, max_age: Ttl | None = None) -> RetentionResult:
        """Which snapshots of the job's key are kept, from now on: the newest ``last``, and those younger than
        ``max_age`` (``7d``, ``12h``, seconds, a timedelta). Without either, all of them.

        Recorded in the store, and applied now and after each upload. The newest snapshot always stays, and so do those
        that an alias points to.

        Raises:
            ValueError: Not above zero, or no age.
            As `jobs.retention.apply_retention`.
        """
        set_retention(self._store, self.job_id, self.key, retention_rule(last=last, max_age=max_age))
        return apply_retention(self._store, self.job_id, self.key)

    def _recall_origin(self) -> None:
        """What local state knows of where the directory came from, where it was not this object that brought it."""
        if self._knows_origin:
            return
        self._knows_origin = True
        with contextlib.suppress(NotFound):  # deleted since, or a store to be made: nothing to build on
            last = self._store.last_synced(self._path)
            if last is not None and last.name != self._name and isinstance(last.name, JobName) and not last.path:
                self._made_from = (self._store.resolve(last, allow_expired=True),)
                self._upload_base = last

    def _uploaded(self, done: PushResult) -> SnapshotUpload:
        return SnapshotUpload(
            snapshot=f"{self.key}@{done.slot}" if done.slot is not None else "",
            job_id=self.job_id,
            number=done.slot,
            action=done.action,
            content_digest=done.content_digest,
            files=done.files,
            content_bytes=done.content_bytes,
            new_bytes=done.new_bytes,
            sent_bytes=done.sent_bytes,
            notices=done.notices,
        )

    # -- down ----------------------------------------------------------------------------------------

    def download(
        self,
        *,
        snapshot: int | None = None,
        strategy: ConflictStrategy | str | None = None,
        options: PullOptions = _DEFAULT_PULL,
        progress: Progress = NULL_PROGRESS,
    ) -> SnapshotDownload:
        """Bring what is new: of the source job, or without one of the current job.

        Local edits stay. Where both sides changed a path since the last sync, the strategy decides. What this job has
        uploaded counts as an edit against its source: it is not undone by a download.

        Args:
            snapshot: This one, instead of the newest: the directory becomes what it was.
            strategy: ``error``, ``skip``, ``new`` or ``replace``; by default that of the directory.
            options: The rest of how to pull. Its `strategy` and `base` are not used.

        Raises:
            NameNotFound: There is no such snapshot.
            DownloadConflict: Both sides changed a path, and the strategy is `error`. Nothing was written.
            As `Store.pull`.
        """
        name = self._source or self._name
        version = snapshot_reference(name.job_id, self.key, snapshot).version
        options = replace(options, strategy=_strategy(strategy) if strategy is not None else self.strategy)
        if snapshot is None and self._holds_work_on_source():
            # Held against the job's own upload, all in which the source is behind it would look like news from there.
            return self._pull_news(name, replace(options, base=SyncBase.SAME_NAME), progress)
        try:
            return self._pull(name, version, replace(options, base=self._base()), progress)
        except NameNotFound as error:
            if snapshot is None:
                raise
            raise missing(self._store, name.job_id, self.key, number=snapshot, or_else="") from error

    def _base(self) -> SyncBase:
        """What a download compares with: the last sync, if that was under this key, of whatever job. What was brought
        here under another key has nothing to do with it, and stays."""
        last = self._store.last_synced(self._path)
        is_same_key = last is not None and isinstance(last.name, JobName) and _place(last.name) == _place(self._name)
        return SyncBase.LAST_SYNC if is_same_key else SyncBase.SAME_NAME

    def _holds_work_on_source(self) -> bool:
        """Whether what was last synced here is what this job made out of its source."""
        last = self._store.last_synced(self._path) if self._source is not None else None
        return last is not None and last.name == self._name and not self._landmark.is_lost(self._store)

    def _pull_news(self, name: JobName, options: PullOptions, progress: Progress) -> SnapshotDownload:
        newest = newest_version(self._store, name)
        if newest is None or newest.pin not in self._made_from:
            return self._pull(name, Latest(), options, progress)
        return nothing_new(name, newest)  # the job's own snapshot stays what was last synced here

    def _pull(
        self, name: JobName, version: VersionSelector, options: PullOptions, progress: Progress = NULL_PROGRESS
    ) -> SnapshotDownload:
        here = self._already_here(Reference(name=name, version=version), options)
        if here is not None:
            self._came_from(here.pin, Reference(name=name, version=Slot(here.slot)), options)
            return nothing_new(name, here)
        done = self._store.pull(Reference(name=name, version=version), self._path, options=options, progress=progress)
        number = int(done.pin.version.rpartition(":v")[2])
        self._came_from(done.pin, Reference(name=name, version=Slot(number)), options)
        return SnapshotDownload(
            snapshot=f"{name.key}@{number}",
            job_id=name.job_id,
            number=number,
            files=done.files,
            written=done.written,
            removed=done.removed,
            kept=done.kept,
            conflicts=done.conflicts,
            content_bytes=done.content_bytes,
            fetched_bytes=done.fetched_bytes,
            reused_bytes=done.reused_bytes,
            dry_run=done.dry_run,
        )

    def _already_here(self, reference: Reference, options: PullOptions) -> Version | None:
        """The snapshot meant, where it is what was last synced here: by the rule all that differs is local edits, which
        stay. None where a pull has to look.
        """
        last = self._store.last_synced(self._path)
        if last is None or last.name != reference.name or last.path or not holds_anything(self._path):
            return None
        if options.delete or options.paths or options.strategy is ConflictStrategy.REPLACE:
            return None
        if reference.version not in (Latest(), last.version) or self._landmark.is_lost(self._store):
            return None
        backend = self._store.catalog.backend
        found = resolve(backend, reference.name, reference.version)
        is_same = Slot(found.slot) == last.version and not found.notes.expires
        return found if is_same else None

    def _came_from(self, pin: VersionPin, reference: Reference, options: PullOptions) -> None:
        if options.dry_run:
            return
        self._knows_origin = True
        if reference.name != self._name:
            if self._made_from != (pin,):
                note_use(self._store, reference, self.job_id)
            self._made_from = (pin,)
            self._upload_base = reference

    def _begin(self, *, missing_ok: bool) -> None:
        """Bring what the directory begins with: see `create_syncable_directory`."""
        options = PullOptions(strategy=self.strategy, base=self._base())
        try:
            own = self._own_work()
            if own is not None:
                self._pull(self._name, Slot(own.slot), options)
            elif self._source is not None and self._goes_on_here(self._source):
                self._pull_news(self._source, replace(options, base=SyncBase.SAME_NAME), NULL_PROGRESS)
            else:
                self._pull(self._source or self._name, Latest(), options)
        except NotFound as error:
            self._begin_with_nothing(error, missing_ok=missing_ok)
        try:
            os.makedirs(self._path, exist_ok=True)
        except OSError as error:
            raise destination_error(error, os.fsencode(self._path), doing="make") from error

    def _own_work(self) -> Version | None:
        """The newest snapshot, where an earlier run of the current job made it out of its source; else None."""
        if self._source is None:
            return None
        versions = live_versions(self._store.catalog.backend, self._name)
        newest: Version | None = None
        for version in islice(versions, _MOST_LOOKED_AT):
            if newest is None and _mark(self._store, self._name, version.slot) in self._uploads:
                return None
            newest = newest or version
            sources = [name for name in map(job_name_of, version.record.made_from) if name is not None]
            if sources:  # the newest that tells: not each upload knows where the directory came from
                self._made_from = version.record.made_from
                return newest if self._source in sources else None
        return None

    def _goes_on_here(self, source: JobName) -> bool:
        """Whether the directory was last synced as what this job made out of its source: that is not undone."""
        last = self._store.last_synced(self._path)
        if last is None or last.name != self._name or not holds_anything(self._path):
            return False
        if self._landmark.is_lost(self._store):
            return False
        try:
            made = resolve(self._store.catalog.backend, self._name, last.version)
        except NotFound:
            return False  # removed since
        if source not in map(job_name_of, made.record.made_from):
            return False
        self._made_from = made.record.made_from
        return True

    def _begin_with_nothing(self, error: NotFound, *, missing_ok: bool) -> None:
        """Accept that there is nothing to download, or say what is there instead."""
        if isinstance(error, StoreNotFound):
            if not self._store.may_be_made:
                raise error
        elif not isinstance(error, (NameNotFound, VersionDeleted)):
            raise error
        if self._source is None or missing_ok:
            return
        if isinstance(error, VersionDeleted):
            what = f"all snapshots of job {self._source.job_id!r} under the key {self.key!r} are deleted"
            raise VersionDeleted(what) from error
        raise missing(self._store, self._source.job_id, self.key) from error

    # -- looking -------------------------------------------------------------------------------------

    def status(self) -> SyncStatus:
        """What differs between the directory and its last sync, the job's newest snapshot, and the source's.

        Raises:
            SourceNotFound, SourceError: There is no such directory.
        """
        check_source(self._path, self._given)
        return compare_with_states(self._store, self._path, self._given, job=self._name, source=self._source)

    def history(self, job_id: str | None = None) -> Iterator[Snapshot]:
        """The snapshots under the key, the newest first; none before the first upload.

        Args:
            job_id: Whose; by default the current job's.
        """
        return list_snapshots(self._store, job_id if job_id is not None else self.job_id, self.key)


def create_syncable_directory(  # noqa: PLR0913 - the first three are the seed's
    key: str,
    directory_path: str | os.PathLike[str] | None = None,
    source_job_id: str | None = None,
    *,
    missing_ok: bool = False,
    strategy: ConflictStrategy | str = ConflictStrategy.ERROR,
    job: JobLike | str | None = None,
    store: StoreLike = None,
) -> SyncableDirectory:
    """A directory that is uploaded to the current job, and begins with what a job uploaded before.

    It begins with the newest snapshot of the source job. Without a source, with the current job's own, if there is one:
    a job that was requeued goes on where it was. So does a requeued job with a source, once it has uploaded what it
    made of that source. What is in the directory already is treated as by every download: local edits stay.

    Args:
        key: What it is called in the store: any text up to 200 bytes without control characters.
        directory_path: Where it is on this machine; made if it is not there. By default a new temporary directory.
        source_job_id: The job whose snapshot it begins with.
        missing_ok: Begin with nothing where the source job or its key is not there: for a first run.
        strategy: What to do where the directory and the snapshot both changed a path: ``error``, ``skip``, ``new`` or
            ``replace``.
        job: The job that uploads go to, or its id; by default the current one.
        store: The store, or where it is; by default the job's.

    Raises:
        NameNotFound: No such source job, or no such key in it; the error names what is close. Nothing was written.
        DownloadConflict: Both sides changed a path, and the strategy is `error`. Nothing was written.
        InvalidName: Key or job id can't be stored.
        DestinationExists, DestinationError: The directory can't be made, or can't be written to.
    """
    with contextlib.ExitStack() as on_error:
        directory = open_syncable_directory(
            key, directory_path, source_job_id, strategy=strategy, job=job, store=store
        )
        on_error.callback(directory.close)
        if directory_path is None:
            on_error.callback(remove_empty, str(directory))
        directory._begin(missing_ok=missing_ok)
        on_error.pop_all()
    return directory


def open_syncable_directory(
    key: str,
    directory_path: str | os.PathLike[str] | None = None,
    source_job_id: str | None = None,
    *,
    strategy: ConflictStrategy | str = ConflictStrategy.ERROR,
    job: JobLike | str | None = None,
    store: StoreLike = None,
) -> SyncableDirectory:
    """As `create_syncable_directory`, downloading nothing and making nothing: for what was synced before.

    Raises:
        InvalidName: Key or job id can't be stored.
    """
    if not isinstance(key, str) or not isinstance(source_job_id, str | None):
        raise TypeError(f"key and source_job_id are text, not {key!r} and {source_job_id!r}")
    chosen = _strategy(strategy)
    if directory_path is not None and not os.fspath(directory_path):
        raise ValueError("an empty text is no directory; give none at all for a temporary one")
    source = job_name(source_job_id, DIRECTORY, key) if source_job_id is not None else None
    job_name("_", DIRECTORY, key)  # refused before a job begins for it
    with contextlib.ExitStack() as closing:
        run = sync_job(job, store, closing)
        name = job_name(run.job_id, DIRECTORY, key)
        path = os.fspath(directory_path) if directory_path is not None else tempfile.mkdtemp(prefix=_TEMPORARY)
        directory = SyncableDirectory(
            path, name, run, source=source if source != name else None, strategy=chosen
        )
        directory._closing = closing.pop_all()
    return directory


def _strategy(given: ConflictStrategy | str) -> ConflictStrategy:
    try:
        return ConflictStrategy(given)
    except ValueError:
        known = ", ".join(strategy.value for strategy in ConflictStrategy)
        raise ValueError(f"{given!r} is no strategy for conflicts; there are {known}") from None


def _place(name: JobName) -> tuple[str, str]:
    return name.kind, name.key


def _mark(store: Store, name: JobName, slot: int) -> str:
    return f"{store.store_id}/{name}{Slot(slot)}"
