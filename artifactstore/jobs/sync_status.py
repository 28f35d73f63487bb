"""A directory against the states that it has to do with."""

from pathlib import Path

from artifactstore.errors import NameNotFound
from artifactstore.jobs.snapshots import newest_version
from artifactstore.jobs.sync_results import StateDifference, SyncStatus, difference_of
from artifactstore.manifest.diff import Change
from artifactstore.names import JobName, Reference, Slot
from artifactstore.store import Store


def compare_with_states(store: Store, path: str, given: str, *, job: JobName, source: JobName | None) -> SyncStatus:
    """What differs between a directory and its last sync, the job's newest snapshot, and the source's.

    Args:
        given: The path as people wrote it.
    """
    last, since_last = _since_last_sync(store, path)
    compared = {last: since_last.changes} if last is not None else {}
    newest = _against_newest(store, path, job, compared)
    from_source = _against_newest(store, path, source, compared) if source is not None else StateDifference()
    return SyncStatus(directory=given, last_sync=since_last, job=newest, source=from_source)


def _since_last_sync(store: Store, path: str) -> tuple[Reference | None, StateDifference]:
    last = store.last_synced(path)
    if last is None:
        return None, StateDifference()
    try:
        changes = tuple(store.status(path).changes)
    except NameNotFound:
        return None, StateDifference()  # forgotten, or lost with local state, in between
    return last, difference_of(last, changes)


def _against_newest(
    store: Store, path: str, name: JobName, compared: dict[Reference, tuple[Change, ...]]
) -> StateDifference:
    """The directory against a job's newest snapshot; what was ``compared`` already is not compared again."""
    newest = newest_version(store, name)
    if newest is None:
        return StateDifference()
    reference = Reference(name=name, version=Slot(newest.slot))
    if reference not in compared:
        compared[reference] = tuple(store.diff(reference, Path(path)))
    return difference_of(reference, compared[reference])
