"""Uploads and downloads of syncable directories that are cut off, or fail, at any request (faults 4, 11, 33)."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from artifactstore.backend.protocol import Backend
from artifactstore.backend.wrappers.fault import (
    Action,
    Crashed,
    ErrorAfter,
    ErrorBefore,
    Fault,
    crash_at,
    permission_denied,
)
from artifactstore.digest import PackId
from artifactstore.errors import ArtifactStoreError
from artifactstore.jobs.directory import SyncableDirectory, create_syncable_directory
from artifactstore.jobs.snapshots import list_snapshots, snapshot_reference
from artifactstore.store import Store
from artifactstore.testing.stores import (
    SMALL_CUT,
    File,
    StoreWorld,
    Thing,
    edit_tree,
    quick_folder,
    small_limits,
    tree_at,
)
from artifactstore.testing.strategies import seeded_bytes

KEY = "model"
PARENT, JOB = "parent", "job"
MOST_REQUESTS = 300
OLD = {b"weights": seeded_bytes("weights", 20_000), b"log/1": b"1", b"gone": b"gone"}
EDITED = OLD[b"weights"][:9000] + b"edited" + OLD[b"weights"][9000:]
Contents = dict[bytes, Thing]


@dataclass(eq=False)
class Run:
    id: str
    store: Store


@dataclass(slots=True)
class SyncWorld:
    """A job with a source, on a machine, at a moment that can be gone back to.

    Attributes:
        snapshots: What each (job, number) that was acknowledged holds.
    """

    world: StoreWorld
    snapshots: dict[tuple[str, int], Mapping[bytes, Thing]] = field(default_factory=dict)
    _memory: object = None
    _snapshots: dict[tuple[str, int], Mapping[bytes, Thing]] = field(default_factory=dict)

    @property
    def place(self) -> Path:
        return self.world.folder / "place"

    def start(self, store: Store) -> SyncableDirectory:
        """What a start of the job does first."""
        return create_syncable_directory(KEY, self.place, PARENT, job=Run(JOB, store))

    @contextmanager
    def machine(self, *, through: Backend | None = None, jobs: int = 1) -> Iterator[Store]:
        with self.world.store(user="machine", through=through, jobs=jobs) as store:
            yield store

    def upload(self, directory: SyncableDirectory) -> int:
        number = directory.upload().number
        assert number is not None
        self.snapshots[JOB, number] = tree_at(self.place)
        return number

    def parent_uploads(self, written: Mapping[bytes, Thing], removed: tuple[bytes, ...] = ()) -> None:
        place = self.world.folder / "parent"
        edit_tree(place, written, removed=removed)
        with self.world.store(user="parent") as store:
            number = create_syncable_directory(KEY, place, job=Run(PARENT, store)).upload().number
        assert number is not None
        self.snapshots[PARENT, number] = tree_at(place)

    def keep(self) -> None:
        self._memory, self._snapshots = self.world.memory.snapshot(), dict(self.snapshots)
        for name in ("place", "state-machine"):
            if (self.world.folder / name).exists():
                shutil.copytree(self.world.folder / name, self.world.folder / f"kept-{name}", symlinks=True)

    def go_back(self) -> None:
        self.world.memory.restore(self._memory)  # type: ignore[arg-type]
        self.snapshots = dict(self._snapshots)
        for name in ("place", "state-machine"):
            shutil.rmtree(self.world.folder / name, ignore_errors=True)
            if (self.world.folder / f"kept-{name}").exists():
                shutil.copytree(self.world.folder / f"kept-{name}", self.world.folder / name, symlinks=True)

    def check(self) -> None:
        """Each snapshot that was acknowledged is whole, and a newer one holds all that was being uploaded."""
        seen = {}
        with self.world.fresh_user() as store:
            for job in (PARENT, JOB):
                for snapshot in list_snapshots(store, job, KEY):
                    place = self.world.folder / "check"
                    store.pull(snapshot_reference(job, KEY, snapshot.number), place)
                    seen[job, snapshot.number] = tree_at(place)
                    shutil.rmtree(place)
        assert seen.keys() >= self.snapshots.keys()
        for which, content in seen.items():
            assert content == self.snapshots.get(which, tree_at(self.place)), which


@contextmanager
def prepared(past: Callable[[SyncWorld], None]) -> Iterator[SyncWorld]:
    with quick_folder() as folder, small_limits():
        world = SyncWorld(StoreWorld(folder, cut=SMALL_CUT))
        world.parent_uploads(OLD)
        past(world)
        world.keep()
        yield world


def came_from_the_source(world: SyncWorld) -> None:
    """The job's directory came from its source and was edited: its first upload comes now."""
    with world.machine() as store:
        world.start(store)
    edit_tree(world.place, {b"weights": EDITED, b"log/2": seeded_bytes("2", 6000)}, removed=[b"gone"])


def has_uploaded(world: SyncWorld) -> None:
    """The job has uploaded once, and edited more."""
    came_from_the_source(world)
    with world.machine() as store:
        world.upload(world.start(store))
    edit_tree(world.place, {b"weights": EDITED[:15_000] + b"more" + EDITED[15_000:]}, removed=[b"log/1"])


PASTS = {"first upload": came_from_the_source, "second upload": has_uploaded}
pasts = pytest.mark.parametrize("past", PASTS.values(), ids=PASTS.keys())


@pasts
@pytest.mark.parametrize("after_effect", [False, True], ids=["before its effect", "after its effect"])
def test_an_upload_killed_at_any_request_leaves_snapshots_whole_and_the_next_start_sends_what_is_missing(
    past: Callable[[SyncWorld], None], after_effect: bool
) -> None:
    with prepared(past) as world:
        edited = tree_at(world.place)
        for request in range(1, MOST_REQUESTS):
            world.go_back()
            faulty = world.world.faulty()
            with world.machine(through=faulty) as store:
                directory = world.start(store)
                faulty.add(crash_at(request, after_effect=after_effect))
                try:
                    world.upload(directory)
                    break
                except Crashed:
                    pass
            world.check()
            packs = world.world.packs()
            sent = world.world.content_chunks(recorded(world) & packs)
            with world.machine() as store:
                world.upload(world.start(store))
            assert tree_at(world.place) == edited, "the next start kept every edit"
            assert not world.world.content_chunks(world.world.packs() - packs) & sent, "sent twice"
            world.check()
    assert 7 < request < MOST_REQUESTS


def recorded(world: SyncWorld) -> frozenset[PackId]:
    with world.machine() as store:
        return frozenset(p.pack for p in store._state.pending_packs(bytes.fromhex(store.store_id)))


ERRORS: dict[str, Action] = {
    "error before effect": ErrorBefore(),
    "lost reply": ErrorAfter(),
    "forbidden": ErrorBefore(permission_denied),
}


@pytest.mark.parametrize(
    ("error_name", "times"),
    [(name, times) for name in ERRORS for times in (1, None) if (name, times) != ("lost reply", None)],
    ids=lambda value: value if isinstance(value, str) else "once" if value else "for ever",
)
def test_a_start_and_an_upload_with_any_request_failing_end_typed_and_the_next_start_finishes(
    error_name: str, times: int | None
) -> None:
    with prepared(has_uploaded) as world:
        edited = tree_at(world.place)
        for request in range(1, MOST_REQUESTS, 2):
            world.go_back()
            faulty = world.world.faulty(Fault(nth=request, times=times, action=ERRORS[error_name]))
            with world.machine(through=faulty, jobs=3) as store, suppress(ArtifactStoreError):
                world.upload(world.start(store))
            assert tree_at(world.place) == edited
            world.check()
            if not faulty.hits:
                break
            with world.machine() as store:
                world.upload(world.start(store))
            assert tree_at(world.place) == edited
            world.check()
    assert 7 < request < MOST_REQUESTS


@pytest.mark.parametrize("action", ["crash", "error"])
def test_a_download_cut_off_anywhere_destroys_no_edit_and_is_finished_by_the_next(action: str) -> None:
    def past(world: SyncWorld) -> None:
        with world.machine() as store:
            world.start(store)
        world.parent_uploads({b"weights": EDITED, b"log/2": seeded_bytes("2", 6000)}, (b"gone",))
        edit_tree(world.place, {b"mine": b"mine", b"log/1": b"mine"})

    with prepared(past) as world:
        after = {**world.snapshots[PARENT, 2], b"mine": File(b"mine"), b"log/1": File(b"mine")}
        for request in range(1, MOST_REQUESTS):
            world.go_back()
            before = tree_at(world.place)
            fault = (
                crash_at(request)
                if action == "crash"
                else Fault(nth=request, times=None, action=ErrorBefore(permission_denied))
            )
            faulty = world.world.faulty(fault)
            with world.machine(through=faulty) as store, suppress(Crashed, ArtifactStoreError):
                world.start(store)
            here = tree_at(world.place)
            for path in before.keys() | after.keys():
                assert here.get(path) in (before.get(path), after.get(path)), path
            if not faulty.hits:
                break
            with world.machine() as store:
                world.start(store)
            assert tree_at(world.place) == after
    assert 5 < request < MOST_REQUESTS


def test_a_first_download_that_is_cut_off_leaves_nothing_or_everything() -> None:
    with prepared(lambda world: None) as world:
        for request in range(1, MOST_REQUESTS):
            world.go_back()
            faulty = world.world.faulty(crash_at(request))
            with world.machine(through=faulty) as store:
                try:
                    world.start(store)
                except Crashed:
                    there = tree_at(world.place) if world.place.exists() else {}
                    assert there in ({}, world.snapshots[PARENT, 1])
                else:
                    break
        assert tree_at(world.place) == world.snapshots[PARENT, 1]
    assert 5 < request < MOST_REQUESTS
