"""Which snapshots are kept, by number and by age; and that many small ones do not become many small packs."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.fault import ErrorBefore, Fault, permission_denied
from artifactstore.errors import CorruptData, InvalidMetadata, VersionDeleted
from artifactstore.jobs.directory import SyncableDirectory, create_syncable_directory
from artifactstore.jobs.job import job
from artifactstore.jobs.removal import remove_job
from artifactstore.jobs.retention import (
    KEEP_ALL,
    RetentionRule,
    apply_retention,
    read_retention,
    retention_rule,
    set_retention,
)
from artifactstore.jobs.snapshots import DIRECTORY, snapshot_reference
from artifactstore.keys import JobKeys, counted
from artifactstore.names import Latest, job_name
from artifactstore.store import Store
from artifactstore.testing.stores import StoreWorld, make_tree, tree_at
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transaction.aliases import move_alias
from artifactstore.transaction.resolve import resolve
from artifactstore.transaction.versions import read_tombstone
from artifactstore.transfer.upload import MAX_SMALL_PACKS

DAY = 86_400
NAME = job_name("j", DIRECTORY, "key")


class Job:
    """A job's directory in a store, with a clock that is moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = StoreWorld(folder)
        self.store = self.world.store()
        self.directory = self.made(self.store)
        self._count = 0

    def made(self, store: Store, path: str = "d") -> SyncableDirectory:
        return create_syncable_directory("key", self.folder / path, job="j", store=store)

    def upload(self, count: int = 1, *, apart_seconds: float = 0.0) -> None:
        for _ in range(count):
            self._count += 1
            make_tree(self.folder / "d", {b"a": b"%d" % self._count})
            self.directory.upload()
            self.world.virtual_clock.advance(apart_seconds)

    @property
    def numbers(self) -> list[int]:
        return [snapshot.number for snapshot in self.directory.history()]


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Job]:
    made = Job(tmp_path)
    yield made
    made.store.close()


def test_all_snapshots_are_kept_without_a_rule(jobs: Job) -> None:
    jobs.upload(5)
    assert jobs.numbers == [5, 4, 3, 2, 1]
    assert read_retention(jobs.store, "j", "key") == KEEP_ALL
    assert apply_retention(jobs.store, "j", "key").removed == ()


def test_rule_is_applied_when_it_is_made_and_after_every_upload(jobs: Job) -> None:
    jobs.upload(5)
    assert jobs.directory.keep(last=3).removed == (2, 1)
    assert jobs.numbers == [5, 4, 3]
    jobs.upload(2)
    assert jobs.numbers == [7, 6, 5]


def test_newest_snapshot_with_anything_in_it_outlives_empty_ones(jobs: Job) -> None:
    jobs.directory.keep(last=1)
    jobs.upload(2)
    make_tree(jobs.folder / "d", {})
    jobs.directory.upload()
    assert jobs.numbers == [3, 2]
    jobs.upload()
    assert jobs.numbers == [4]


def test_rule_holds_for_every_process_of_the_job_and_for_requeued_ones(jobs: Job) -> None:
    jobs.directory.keep(last=1)
    with jobs.world.store(user="elsewhere") as store:
        other = jobs.made(store, "e")
        for content in (b"1", b"2", b"3"):
            make_tree(jobs.folder / "e", {b"a": content})
            other.upload()
    assert jobs.numbers == [3]


def test_newest_rule_counts_and_can_be_lifted(jobs: Job) -> None:
    jobs.directory.keep(last=1)
    jobs.directory.keep(last=2)
    jobs.upload(3)
    assert jobs.numbers == [3, 2]
    jobs.directory.keep()
    jobs.upload(3)
    assert jobs.numbers == [6, 5, 4, 3, 2]


def test_snapshots_grow_too_old(jobs: Job) -> None:
    jobs.directory.keep(max_age="2d")
    jobs.upload(5, apart_seconds=DAY)
    assert jobs.numbers == [5, 4]
    jobs.world.virtual_clock.advance(100 * DAY)
    assert apply_retention(jobs.store, "j", "key").removed == (4,)
    assert jobs.numbers == [5], "the newest always stays"


def test_snapshot_stays_as_long_as_one_part_of_the_rule_keeps_it(jobs: Job) -> None:
    jobs.upload(4, apart_seconds=DAY)
    jobs.directory.keep(last=2, max_age="84h")
    assert jobs.numbers == [4, 3, 2]
    jobs.directory.keep(last=3, max_age="1h")
    assert jobs.numbers == [4, 3, 2]
    jobs.directory.keep(last=1, max_age="never")
    jobs.upload(2)
    assert jobs.numbers == [6, 5, 4, 3, 2]


def test_removed_snapshots_cost_later_uploads_nothing(jobs: Job) -> None:
    jobs.directory.keep(last=2)
    counting = CountBackend(jobs.world.memory)

    def requests_of_an_upload() -> int:
        counting.reset()
        jobs.upload()
        return counting.counts.request_count

    with jobs.world.store(through=counting) as store:
        jobs.directory = jobs.made(store)
        jobs.upload(4)
        few = requests_of_an_upload()
        jobs.upload(30)
        assert requests_of_an_upload() <= few


def test_snapshots_that_are_young_cost_later_uploads_nothing(jobs: Job) -> None:
    jobs.directory.keep(last=2, max_age="7d")
    counting = CountBackend(jobs.world.memory)

    def requests_of_an_upload() -> int:
        counting.reset()
        jobs.upload(apart_seconds=60)
        return counting.counts.request_count

    with jobs.world.store(through=counting) as store:
        jobs.directory = jobs.made(store)
        jobs.upload(20, apart_seconds=60)
        few = requests_of_an_upload()
        jobs.upload(40, apart_seconds=60)
        assert requests_of_an_upload() <= few + 2
        assert jobs.numbers[-1] == 1


def test_a_few_clocks_that_are_ahead_keep_no_more_than_their_own_snapshots(jobs: Job) -> None:
    clock = jobs.world.virtual_clock
    now = clock.now()
    clock.set_now(now + 100 * DAY)
    jobs.upload(3)
    clock.set_now(now)
    jobs.upload(5, apart_seconds=DAY)
    jobs.directory.keep(max_age="36h")
    assert jobs.numbers == [8, 3, 2, 1]


def test_rule_goes_with_the_job(jobs: Job) -> None:
    with job("j", store=jobs.store):
        jobs.directory.keep(last=1)
        jobs.upload()
    remove_job(jobs.store, "j")
    assert read_retention(jobs.store, "j", "key") == KEEP_ALL
    jobs.upload(2)
    assert len(jobs.numbers) == 2


def test_snapshot_under_an_alias_stays(jobs: Job) -> None:
    jobs.upload(2)
    first = resolve(jobs.world.memory, NAME, snapshot_reference("j", "key", 1).version)
    move_alias(jobs.world.memory, jobs.world.clock, "best", to=first)
    jobs.directory.keep(last=1)
    jobs.upload(3)
    assert jobs.numbers == [5, 1]


def test_dry_run_removes_nothing(jobs: Job) -> None:
    jobs.upload(4)
    set_retention(jobs.store, "j", "key", RetentionRule(last=1))
    planned = apply_retention(jobs.store, "j", "key", dry_run=True)
    assert (planned.kept, planned.removed, planned.dry_run) == ((4,), (3, 2, 1), True)
    assert jobs.numbers == [4, 3, 2, 1]


def test_history_that_is_short_enough_takes_few_requests(jobs: Job) -> None:
    jobs.directory.keep(last=5)
    jobs.upload(3)
    counting = CountBackend(jobs.world.memory)
    with jobs.world.store(through=counting) as store:
        store.record  # noqa: B018 - asked for once
        counting.reset()
        apply_retention(store, "j", "key")
        assert counting.counts.request_count <= 5


def test_removed_snapshot_says_why(jobs: Job) -> None:
    jobs.upload(2)
    jobs.directory.keep(last=1)
    tombstone = read_tombstone(jobs.world.memory, NAME, 1)
    assert tombstone is not None
    assert tombstone.reason == "retention"


def test_many_at_once_agree(jobs: Job) -> None:
    jobs.upload(8)
    set_retention(jobs.store, "j", "key", RetentionRule(last=2))
    together = threading.Barrier(4)

    def apply(_: int) -> tuple[int, ...]:
        together.wait(10)
        return apply_retention(jobs.store, "j", "key").kept

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(apply, range(4))) == {(8, 7)}
    assert jobs.numbers == [8, 7]


def test_rules_made_at_once_all_count_one_after_the_other(jobs: Job) -> None:
    together = threading.Barrier(4)

    def keep(last: int) -> None:
        together.wait(10)
        set_retention(jobs.store, "j", "key", RetentionRule(last=last))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(keep, range(1, 5)))
    assert read_retention(jobs.store, "j", "key").last in range(1, 5)
    prefix = f"{JobKeys('j').prefix}retention-key/"
    rules = [info.key for info in jobs.world.memory.list(prefix)]
    assert rules == [f"{prefix}{counted(number)}" for number in (4, 3, 2, 1)]


def test_upload_succeeds_where_old_snapshots_can_not_be_removed(
    jobs: Job, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jobs.directory.keep(last=1)
    faults = [
        Fault(verb="put_if_absent", key="*.deleted", times=None, action=ErrorBefore(permission_denied)),
    ]
    with jobs.world.store(through=jobs.world.faulty(*faults)) as store:
        directory = jobs.made(store)
        for content in (b"1", b"2"):
            make_tree(jobs.folder / "d", {b"a": content})
            assert directory.upload().action == "committed"
    assert "old snapshots of 'key' could not be removed" in caplog.text
    assert jobs.numbers == [2, 1]
    jobs.upload()
    assert jobs.numbers == [3], "the next upload makes up for it"


def test_removal_cut_off_midway_leaves_the_newer_ones(jobs: Job) -> None:
    jobs.upload(6)
    set_retention(jobs.store, "j", "key", RetentionRule(last=1))
    fault = Fault(verb="put_if_absent", key="*.deleted", nth=3, times=None, action=ErrorBefore(permission_denied))
    with jobs.world.store(through=jobs.world.faulty(fault)) as store, pytest.raises(Exception, match="access denied"):
        apply_retention(store, "j", "key")
    assert jobs.numbers == [6, 5, 4, 3]


def test_job_that_began_with_a_removed_snapshot_goes_on(jobs: Job) -> None:
    jobs.upload(1)
    with jobs.world.store(user="child") as store:
        child = create_syncable_directory("key", jobs.folder / "child", "j", job="child", store=store)
        jobs.directory.keep(last=1)
        jobs.upload(2)
        with pytest.raises(VersionDeleted):
            child.download(snapshot=1)
        (jobs.folder / "child" / "b").write_bytes(b"new")
        assert child.upload().snapshot == "key@1"
        child.download()
    assert tree_at(jobs.folder / "child").keys() == {b"a", b"b"}


def test_keys_of_any_text_have_rules_of_their_own(jobs: Job) -> None:
    for key in ("a", "a/b", "ä b", "retention-a", ".", "process-1"):
        set_retention(jobs.store, "j", key, RetentionRule(last=len(key)))
    for key in ("a", "a/b", "ä b", "retention-a", ".", "process-1"):
        assert read_retention(jobs.store, "j", key).last == len(key)
    assert read_retention(jobs.store, "other", "a") == KEEP_ALL


def test_damaged_rule_is_no_rule_to_keep_nothing_by(jobs: Job) -> None:
    jobs.upload(3)
    jobs.world.memory.put(f"{JobKeys('j').prefix}retention-key/{counted(1)}", b"{}")
    with pytest.raises(CorruptData):
        apply_retention(jobs.store, "j", "key")
    jobs.upload()
    assert jobs.numbers == [4, 3, 2, 1]


@pytest.mark.parametrize("last", [0, -1])
def test_number_that_keeps_nothing_is_refused(jobs: Job, last: int) -> None:
    with pytest.raises(ValueError, match="newest"):
        jobs.directory.keep(last=last)


def test_what_is_no_rule_is_refused(jobs: Job) -> None:
    for last in (True, 1.5, "3"):
        with pytest.raises(TypeError):
            retention_rule(last=last)  # type: ignore[arg-type]
    for max_age in ("soon", 0, -1):
        with pytest.raises(InvalidMetadata):
            jobs.directory.keep(max_age=max_age)
    assert read_retention(jobs.store, "j", "key") == KEEP_ALL


def test_two_hundred_small_snapshots_need_few_packs(tmp_path: Path) -> None:
    """A file is added by each, the one of the logs grows: every upload sends a small pack."""
    world = StoreWorld(tmp_path)
    with world.store() as store:
        directory = create_syncable_directory("key", tmp_path / "d", job="j", store=store)
        directory.keep(last=3)
        most = 0
        for number in range(200):
            (tmp_path / "d" / f"step-{number}").write_bytes(seeded_bytes(str(number), 3000))
            with open(tmp_path / "d" / "log", "ab") as log:
                log.write(b"step %d\n" % number)
            directory.upload()
            usage = store.usage(snapshot_reference("j", "key"))  # type: ignore[arg-type]
            most = max(most, usage.pack_count)
        assert most <= MAX_SMALL_PACKS + 10
        assert [snapshot.number for snapshot in directory.history()] == [200, 199, 198]
        assert resolve(world.memory, NAME, Latest()).record.files == 201
    with world.fresh_user() as store:
        create_syncable_directory("key", tmp_path / "pulled", "j", job="other", store=store)
    assert tree_at(tmp_path / "pulled") == tree_at(tmp_path / "d")
