"""Plan a sync of a directory with the snapshots of jobs, and apply the plan if nothing has moved since.

    plan = plan_sync(store, SyncRequest(key="model", directory="model", source_job_id="42", target_job_id="43"))
    print(plan.down, plan.up)
    apply_sync(store, plan)

Applying takes from the document what was asked (directory, key, jobs, options), makes the plan again, and compares: the
moves that it lists are never obeyed (`artifactstore.jobs.sync_plan`). In between, the rule for conflicts guards local
edits as ever. The target is looked at once more right before the upload begins. What another process commits to it
from then until this upload has committed is not refused: both are snapshots, and a notice of the upload says so.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from artifactstore.clock import timestamp
from artifactstore.errors import NameNotFound, PlanOutdated
from artifactstore.jobs.directory import SyncableDirectory, open_syncable_directory
from artifactstore.jobs.snapshots import DIRECTORY, list_snapshots, missing, newest_version, snapshot_reference
from artifactstore.jobs.sync_plan import (
    Action,
    Direction,
    Level,
    PlannedMove,
    SeenJob,
    SeenSnapshot,
    SyncOptions,
    SyncPlan,
    check_still_holds,
    parse_path,
    path_text,
    see_directory,
)
from artifactstore.jobs.sync_results import SnapshotDownload, SnapshotUpload
from artifactstore.manifest.diff import ChangeKind, diff_entries
from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.manifest.paths import path_sort_key
from artifactstore.names import job_name
from artifactstore.store import Store
from artifactstore.transfer.found import Notice, Unmatched
from artifactstore.transfer.plan import PullOptions
from artifactstore.transfer.planner import directories_of
from artifactstore.transfer.progress import NULL_PROGRESS, Progress
from artifactstore.transfer.provenance import author
from artifactstore.transfer.push import PushOptions
from artifactstore.transfer.selection import Selection

_UP_ACTIONS: Final = {
    ChangeKind.ADDED: Action.ADD,
    ChangeKind.MODIFIED: Action.MODIFY,
    ChangeKind.REMOVED: Action.REMOVE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRequest:
    """What is to be synced with what.

    Attributes:
        source_job_id: Content comes from its newest snapshot, or from number ``snapshot``.
        target_job_id: The job that is synced for: content goes to its next snapshot.
    """

    key: str
    directory: str
    source_job_id: str
    target_job_id: str
    snapshot: int | None = None
    direction: Direction = Direction.BOTH
    options: SyncOptions = field(default_factory=SyncOptions)

    @property
    def selection(self) -> Selection:
        """What its patterns take."""
        return Selection(include=self.options.include, exclude=self.options.exclude)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncResult:
    """What applying a plan did; None for a direction that the plan does not go, or had nothing for."""

    download: SnapshotDownload | None
    upload: SnapshotUpload | None


def plan_sync(
    store: Store, request: SyncRequest, *, level: Level | None = None, progress: Progress = NULL_PROGRESS
) -> SyncPlan:
    """What would move. Files are read where they changed; nothing is written.

    Args:
        level: How finely the directory is told apart; by default as finely as keeps the plan small.

    Raises:
        NameNotFound: The source has no such key, or no such snapshot.
        SourceNotFound: Content is to go up, and there is no such directory.
        PlanOutdated: The source moved meanwhile.
    """
    planning = _Planning(store, request)
    source, target = planning.seen_source(), planning.seen_target()
    local = planning.local_files()
    down, after = planning.down(source, local, progress)
    return SyncPlan(
        created=timestamp(store.catalog.clock.now()),
        host=author().host,
        store_id=store.store_id,
        key=request.key,
        directory=path_text(os.path.abspath(os.fsencode(request.directory))),
        direction=request.direction,
        source=source,
        target=target,
        options=request.options,
        local=see_directory(local, level=level),
        down=tuple(down),
        up=tuple(planning.up(target, after)),
    )


def apply_sync(
    store: Store, plan: SyncPlan, *, message: str = "", progress: Progress = NULL_PROGRESS
) -> SyncResult:
    """Do what a plan says, first down, then up.

    Args:
        message: What the snapshot is that is made, if one is.

    Raises:
        PlanOutdated: A side has moved since, or it is a plan for another store. Nothing was written.
        DownloadConflict: The plan has conflicts, and its strategy is `error`. Nothing was written.
        As `SyncableDirectory.download` and `SyncableDirectory.upload`: what came down stays when the upload fails.
    """
    if plan.store_id != store.store_id:
        raise PlanOutdated(f"the plan is for the store {plan.store_id[:12]}…, and this is another one", side="store")
    request = request_of(plan)
    check_still_holds(plan, plan_sync(store, request, level=plan.local.level, progress=progress))
    planning = _Planning(store, request)
    seen = plan.source.snapshot
    down = plan.direction.goes_down and seen is not None
    return SyncResult(
        download=planning.download(seen.number, progress=progress) if down and seen is not None else None,
        upload=planning.upload(plan.target, message, progress) if plan.direction.goes_up else None,
    )


def request_of(plan: SyncPlan) -> SyncRequest:
    """What was asked when the plan was made."""
    return SyncRequest(
        key=plan.key,
        directory=os.fsdecode(parse_path(plan.directory)),
        source_job_id=plan.source.job_id,
        target_job_id=plan.target.job_id,
        snapshot=plan.source.asked,
        direction=plan.direction,
        options=plan.options,
    )


class _Planning:
    """One request, and the directory it is about."""

    def __init__(self, store: Store, request: SyncRequest) -> None:
        self._store = store
        self._request = request
        self._selection = request.selection

    def _directory(self) -> SyncableDirectory:
        request = self._request
        return open_syncable_directory(
            request.key,
            request.directory,
            request.source_job_id,
            strategy=request.options.strategy,
            job=request.target_job_id,
            store=self._store,
        )

    # -- what is there -------------------------------------------------------------------------------

    def seen_source(self) -> SeenJob:
        request = self._request
        seen = self._seen(request.source_job_id, request.snapshot)
        is_own = request.source_job_id == request.target_job_id
        if seen.snapshot is None and (request.direction is Direction.DOWN or not is_own):
            raise missing(self._store, request.source_job_id, request.key, or_else="")
        return seen

    def seen_target(self) -> SeenJob:
        return self._seen(self._request.target_job_id, None)

    def _seen(self, job_id: str, asked: int | None) -> SeenJob:
        if asked is None:
            newest = newest_version(self._store, job_name(job_id, DIRECTORY, self._request.key))
            if newest is None:
                return SeenJob(job_id=job_id)
            number, pin = newest.slot, newest.pin
        else:
            number = asked
            try:
                pin = self._store.resolve(snapshot_reference(job_id, self._request.key, asked))
            except NameNotFound as error:
                raise missing(self._store, job_id, self._request.key, number=asked, or_else="") from error
        snapshot = SeenSnapshot(number=number, tx=pin.tx, content=pin.content)
        return SeenJob(job_id=job_id, asked=asked, snapshot=snapshot)

    def local_files(self) -> Sequence[Entry]:
        request = self._request
        if request.direction.goes_down and not os.path.lexists(request.directory):
            return ()  # what comes down makes it
        return self._store.local_files(request.directory, selection=self._selection)

    # -- down ----------------------------------------------------------------------------------------

    def download(self, number: int, *, dry_run: bool = False, progress: Progress) -> SnapshotDownload:
        request, directory = self._request, self._directory()
        options = PullOptions(
            delete=request.options.delete,
            confirm_delete=request.options.confirm_delete,
            include=request.options.include,
            exclude=request.options.exclude,
            dry_run=dry_run,
        )
        # To name a number means to go back to it; news from a source come in by asking for the newest.
        asked = number if request.snapshot is not None or not self._holds_own_work() else None
        done = directory.download(snapshot=asked, options=options, progress=progress)
        if done.number != number:
            what = f"job {request.source_job_id} has {done.snapshot} now"
            raise PlanOutdated(what, side="source") if dry_run else _moved_late(what)
        return done

    def _holds_own_work(self) -> bool:
        request = self._request
        last = self._store.last_synced(request.directory)
        return last is not None and last.name == job_name(request.target_job_id, DIRECTORY, request.key)

    def down(
        self, source: SeenJob, local: Sequence[Entry], progress: Progress
    ) -> tuple[list[PlannedMove], dict[bytes, Entry]]:
        """What would move down, and what the directory would hold then."""
        after = {entry.path: entry for entry in local}
        if not self._request.direction.goes_down or source.snapshot is None:
            return [], after
        done = self.download(source.snapshot.number, dry_run=True, progress=progress)
        incoming = self._incoming(source, done)
        for path in done.removed:
            after.pop(path, None)
        after.update(incoming)
        return list(_down_moves(done, incoming)), after

    def _incoming(self, source: SeenJob, done: SnapshotDownload) -> dict[bytes, Entry]:
        """The entries to be written, by where they land."""
        number = source.snapshot.number if source.snapshot is not None else None
        written, landing = set(done.written), {c.path: c.beside for c in done.conflicts if c.beside}
        found: dict[bytes, Entry] = {}
        for entry in self._store.files(snapshot_reference(source.job_id, self._request.key, number)):
            for path in _landings(entry.path, landing):
                if path in written:
                    found[path] = msgspec.structs.replace(entry, path=path)
        return found

    # -- up ------------------------------------------------------------------------------------------

    def up(self, target: SeenJob, after: Mapping[bytes, Entry]) -> Iterator[PlannedMove]:
        """What would be in the next snapshot of the target, against its newest one."""
        if not self._request.direction.goes_up:
            return
        folders = directories_of(after)
        now = [e for e in after.values() if e.kind != EntryKind.DIRECTORY or e.path not in folders]
        now.sort(key=lambda entry: path_sort_key(entry.path))
        for change in diff_entries(self._stored(target), now, same_cut=False, undecided=_same):
            entry = change.new or change.old
            yield PlannedMove(
                action=_UP_ACTIONS[change.kind],
                path=path_text(change.path),
                size_bytes=entry.size if entry is not None and change.new is not None else 0,
            )

    def _stored(self, target: SeenJob) -> Iterator[Entry]:
        if target.snapshot is None:
            return
        reference = snapshot_reference(target.job_id, self._request.key, target.snapshot.number)
        yield from (entry for entry in self._store.files(reference) if self._selection.takes_entry(entry))

    def upload(self, seen: SeenJob, message: str, progress: Progress) -> SnapshotUpload:
        """Upload, if the target has what was ``seen`` still."""
        now = self.seen_target()
        if now != seen:
            newest = f"{self._request.key}@{now.snapshot.number}" if now.snapshot is not None else "no snapshot"
            error = PlanOutdated(f"job {seen.job_id} has {newest} now, since the plan was compared", side="target")
            if self._request.direction.goes_down:
                error.data_safe = "What was to come down is here; nothing was uploaded."
            raise error
        options = PushOptions(
            include=self._request.options.include,
            exclude=self._request.options.exclude,
            unmatched=Unmatched.KEPT,
        )
        done = self._directory().upload(message=message, options=options, progress=progress)
        late = self._came_between(seen, done)
        return replace(done, notices=(*done.notices, late)) if late is not None else done

    def _came_between(self, seen: SeenJob, done: SnapshotUpload) -> Notice | None:
        """What to say of a snapshot that was committed while this one was uploaded."""
        before = seen.snapshot.number if seen.snapshot is not None else 0
        if done.action != "committed" or done.number is None or done.number <= before + 1:
            return None
        between = [s for s in list_snapshots(self._store, seen.job_id, self._request.key) if s.number < done.number]
        if not between or between[0].number <= before:
            return None
        return Notice(b".", f"{between[0]} came in meanwhile, and the plan did not know it: its changes may not be in")


def _landings(path: bytes, beside: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """Where an entry may land: where it is called, or beside what it conflicts with."""
    yield path
    above = path
    while beside and above:
        if above in beside:
            yield beside[above] + path[len(above) :]
        above = above.rpartition(b"/")[0]


def _down_moves(done: SnapshotDownload, incoming: Mapping[bytes, Entry]) -> Iterator[PlannedMove]:
    in_conflict = {conflict.path for conflict in done.conflicts}
    for path in sorted(done.written, key=path_sort_key):
        size = incoming[path].size if path in incoming else 0
        yield PlannedMove(action=Action.WRITE, path=path_text(path), size_bytes=size)
    for path in sorted(done.removed, key=path_sort_key):
        yield PlannedMove(action=Action.REMOVE, path=path_text(path))
    for conflict in done.conflicts:
        beside = path_text(conflict.beside)
        yield PlannedMove(action=Action.CONFLICT, path=path_text(conflict.path), beside=beside)
    for path in done.kept:
        if path not in in_conflict:
            yield PlannedMove(action=Action.KEEP, path=path_text(path))


def _same(old: Entry, new: Entry) -> bool:
    """Files that another cut function was used for: one size and one XXH3-128 are taken for one content."""
    return False


def _moved_late(what: str) -> PlanOutdated:
    error = PlanOutdated(f"{what}, which came in while the plan was applied", side="source")
    error.data_safe = "It was downloaded; nothing was uploaded."
    return error
