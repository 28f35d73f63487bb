"""Jobs in one process: their blocks, what is made and used in them, what is recorded of them."""

import asyncio
import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import artifactstore
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.errors import ConfigurationError, InvalidName, JobNotFound, JobRunning, NameNotFound, StoreNotFound
from artifactstore.jobs.identity import identify
from artifactstore.jobs.job import current_job, end_jobs, job, open_job
from artifactstore.jobs.listing import find_job, list_jobs
from artifactstore.jobs.manifest import job_manifest
from artifactstore.jobs.records import JobStatus
from artifactstore.jobs.removal import remove_job
from artifactstore.jobs.running import Job, heartbeat_interval
from artifactstore.names import Reference, Slot, job_name
from artifactstore.store import PushOptions, Store
from artifactstore.testing.stores import StoreWorld, make_tree


@pytest.fixture
def world(tmp_path: Path) -> StoreWorld:
    return StoreWorld(tmp_path)


@pytest.fixture
def store(world: StoreWorld) -> Iterator[Store]:
    with world.store() as store:
        yield store


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    make_tree(tmp_path / "tree", {b"a": b"content"})
    return tmp_path / "tree"


def status(store: Store, job_id: str) -> JobStatus:
    return find_job(store, job_id).status


def test_a_block_runs_and_completes(store: Store, world: StoreWorld) -> None:
    with job("train-7", project="shapes", store=store) as train:
        assert (train.id, train.project, train.status) == ("train-7", "shapes", "running")
        assert train.user and train.host and train.attempt == 1
        running = find_job(store, "train-7")
        world.virtual_clock.advance(5)
    assert train.status == "completed"
    done = find_job(store, "train-7")
    assert (running.status, running.ended, running.begun) == ("running", "", "2027-01-15T08:00:00.000Z")
    assert (done.status, done.begun, done.ended) == ("completed", running.begun, "2027-01-15T08:00:05.000Z")
    assert (done.id, done.project, done.user, done.host) == ("train-7", "shapes", train.user, train.host)
    assert (done.processes, done.source, done.error) == (1, "given", "")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("secret"), "failed"),
        (KeyboardInterrupt(), "failed"),
        (SystemExit(3), "failed"),
        (SystemExit("text"), "failed"),
        (SystemExit(0), "completed"),
        (SystemExit(), "completed"),
        (GeneratorExit(), "completed"),
    ],
    ids=repr,
)
def test_an_exception_that_leaves_the_block_fails_the_job(store: Store, error: BaseException, expected: str) -> None:
    with pytest.raises(type(error)), job("j", store=store):
        raise error
    found = find_job(store, "j")
    assert found.status == expected
    assert found.error == (type(error).__name__ if expected == "failed" else "")


def test_nothing_of_an_exception_but_its_class_is_recorded(store: Store, world: StoreWorld) -> None:
    with pytest.raises(ValueError, match="canary"), job("j", store=store):
        raise ValueError("canary")
    assert not any(b"canary" in bytes(world.memory.get(key)) for key in sorted(world.memory.keys()))


def test_nothing_of_the_environment_is_recorded(
    store: Store, world: StoreWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SOME_TOKEN", "canary-of-the-environment")
    monkeypatch.setattr("sys.argv", ["train.py", "--password=canary-of-the-environment"])
    with job(store=store):
        pass
    assert status(store, "slurm-7") == "completed"
    assert not any(b"canary" in bytes(world.memory.get(key)) for key in sorted(world.memory.keys()))


def test_each_call_of_a_decorated_function_is_a_job(store: Store) -> None:
    seen = []

    @job(store=store, project="p")
    def train(rate: float, *, steps: int = 1) -> float:
        """Trains."""
        seen.append(current_job().id)
        return rate * steps

    assert (train(0.5, steps=4), train(1.0)) == (2.0, 1.0)
    assert train.__doc__ == "Trains."
    assert len(set(seen)) == 2
    assert {info.id for info in list_jobs(store)} == set(seen)


def test_a_decorated_coroutine_is_a_job_while_it_runs(store: Store) -> None:
    @job("a", store=store)
    async def train() -> str:
        await asyncio.sleep(0)
        assert current_job().status == "running"
        return await asyncio.to_thread(lambda: current_job().id)

    assert asyncio.run(train()) == "a"
    assert status(store, "a") == "completed"


def test_coroutines_at_once_have_jobs_of_their_own(store: Store) -> None:
    async def train(name: str) -> str:
        with job(name, store=store):
            await asyncio.sleep(0.01)
            return current_job().id

    async def both() -> list[str]:
        return await asyncio.gather(train("a"), train("b"))

    assert asyncio.run(both()) == ["a", "b"]


def test_generators_are_refused_as_jobs_and_so_is_a_decorator_without_parentheses() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="generator"):
        job()(numbers)
    with pytest.raises(TypeError, match=r"@artifactstore.job\(\)"):
        job(numbers)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", ["", "a\nb", "x" * 201])
def test_a_bad_id_is_refused_before_anything_is_written(store: Store, world: StoreWorld, bad: str) -> None:
    before = _records(world, "")
    with pytest.raises(InvalidName):
        job(bad, store=store)
    with pytest.raises(InvalidName):
        job("j", project=bad + "y" * 129 if bad else bad, store=store)
    with pytest.raises(InvalidName):
        find_job(store, bad)
    assert _records(world, "") == before


def test_an_odd_id_comes_back_as_it_is(store: Store) -> None:
    odd = "tränen/../@a:b %"
    with job(odd, store=store):
        pass
    assert [info.id for info in list_jobs(store)] == [odd]
    assert find_job(store, odd).id == odd


class TestNested:
    def test_another_id_is_another_job_and_the_outer_one_goes_on(self, store: Store) -> None:
        with job("outer", store=store) as outer:
            with job("inner") as inner:
                assert current_job() is inner
                assert inner.store is store
            assert current_job() is outer
            assert (status(store, "outer"), status(store, "inner")) == ("running", "completed")
        assert status(store, "outer") == "completed"

    @pytest.mark.parametrize("job_id", [None, "outer"])
    def test_without_an_id_or_with_the_same_it_is_the_same_job(self, store: Store, job_id: str | None) -> None:
        with job("outer", store=store) as outer:
            with job(job_id) as inner:
                assert inner is outer
            assert outer.status == "running"
        info = find_job(store, "outer")
        assert (info.status, info.processes, info.attempt) == ("completed", 1, 1)

    def test_an_exception_that_the_outer_block_catches_fails_nothing(self, store: Store) -> None:
        with job("outer", store=store):
            try:
                with job():
                    raise ValueError
            except ValueError:
                pass
        assert status(store, "outer") == "completed"

    def test_an_inner_job_that_fails_leaves_the_outer_one_alone(self, store: Store) -> None:
        with job("outer", store=store), pytest.raises(ValueError, match="x"), job("inner"):
            raise ValueError("x")
        assert (status(store, "outer"), status(store, "inner")) == ("completed", "failed")

    def test_a_requeue_under_another_project_is_warned_once_and_stays(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        with job("x", project="shapes", store=store):
            pass
        with job("x", project="sounds", store=store) as requeued:
            assert requeued.heartbeat()
            with job("x", project="sounds", store=store):
                pass
            assert requeued.project == "shapes"
        told = "job x began under project shapes, and stays there: sounds was asked for now"
        assert [record.getMessage() for record in caplog.records] == [told]
        assert [(info.id, info.project) for info in list_jobs(store, project="shapes")] == [("x", "shapes")]
        assert list(list_jobs(store, project="sounds")) == []

    def test_another_project_under_the_same_id_is_refused(self, store: Store) -> None:
        with job("outer", project="p", store=store) as outer:
            with pytest.raises(ValueError, match="project 'p', not for 'q'"), job("outer", project="q"):
                pass
            assert current_job() is outer and outer.status == "running"
        assert status(store, "outer") == "completed"

    def test_inside_an_implicit_job_it_is_that_one(self, store: Store) -> None:
        implicit = current_job(store)
        with job() as inner:
            assert inner is implicit
        assert implicit.status == "running"
        with job("named") as named:
            assert current_job() is named
        assert current_job(store) is implicit

    def test_an_exception_that_leaves_a_block_of_an_implicit_job_fails_it_at_its_end(self, store: Store) -> None:
        implicit = current_job(store)
        with pytest.raises(ValueError, match="x"), job():
            raise ValueError("x")
        assert status(store, implicit.id) == "running"
        end_jobs()
        assert status(store, implicit.id) == "failed"

    def test_in_another_store_the_current_job_is_begun_there_too_and_ends_with_it(
        self, store: Store, tmp_path: Path
    ) -> None:
        other = StoreWorld(tmp_path / "other", name="other")
        with other.store() as second:
            with job("j", store=store, project="p") as outer:
                there = current_job(second)
                assert (there.id, there.project, there.store) == ("j", "p", second)
                assert current_job(second) is there
                assert current_job() is outer
                assert status(second, "j") == "running"
            assert (status(store, "j"), status(second, "j")) == ("completed", "completed")


class TestThreads:
    def test_a_thread_works_for_the_job_of_the_main_thread(self, store: Store) -> None:
        with job("j", store=store) as outer, ThreadPoolExecutor(1) as pool:
            assert pool.submit(current_job).result() is outer

    def test_threads_have_jobs_of_their_own(self, store: Store, tree: Path) -> None:
        together = threading.Barrier(4)

        def train(number: int) -> str:
            with job(f"j{number}", store=store):
                together.wait()
                store.push(tree, f"model/{number}")
                assert current_job().id == f"j{number}"
                return store.show(f"model/{number}").made_by

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(train, range(4))) == ["j0", "j1", "j2", "j3"]
        assert {info.status for info in list_jobs(store)} == {JobStatus.COMPLETED}

    def test_threads_with_one_id_share_a_job_until_the_last_is_done(self, store: Store) -> None:
        together = threading.Barrier(4)

        def work(number: int) -> Job:
            with job("shared", store=store) as mine:
                together.wait()
                return mine

        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(work, range(4)))) == 1
        info = find_job(store, "shared")
        assert (info.status, info.processes, info.attempt) == ("completed", 1, 1)


class TestHeartbeats:
    def test_a_job_that_says_nothing_any_more_is_lost(self, store: Store, world: StoreWorld) -> None:
        with job("j", store=store, heartbeat_seconds=30):
            world.virtual_clock.advance(3 * 30 + 59)
            assert status(store, "j") == "running"
            world.virtual_clock.advance(2)
            lost = find_job(store, "j")
            assert (lost.status, lost.ended, lost.beat) == ("lost", "", lost.begun)
            assert [info.id for info in list_jobs(store, status="lost")] == ["j"]

    def test_a_heartbeat_shows_that_it_lives(self, store: Store, world: StoreWorld) -> None:
        with job("j", store=store, heartbeat_seconds=30) as mine:
            for _ in range(10):
                world.virtual_clock.advance(100)
                assert mine.heartbeat()
                assert status(store, "j") == "running"
            assert find_job(store, "j").beat == "2027-01-15T08:16:40.000Z"

    def test_the_thread_beats_by_itself(self, store: Store, world: StoreWorld, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("artifactstore.jobs.running.MIN_HEARTBEAT_SECONDS", 0.001)
        beaten = threading.Event()
        monkeypatch.setattr("artifactstore.jobs.running.ProcessLog.beat", lambda log: beaten.set())
        with job("j", store=store, heartbeat_seconds=0.01):
            assert beaten.wait(10)

    def test_the_interval_is_the_jobs_own(self, store: Store, world: StoreWorld) -> None:
        with job("slow", store=store, heartbeat_seconds=600):
            world.virtual_clock.advance(1800)
            assert status(store, "slow") == "running"
            world.virtual_clock.advance(100)
            assert status(store, "slow") == "lost"

    def test_few_records_are_left_of_many_heartbeats(self, store: Store, world: StoreWorld) -> None:
        with job("j", store=store) as mine:
            for _ in range(20):
                mine.heartbeat()
            assert len(_records(world, "jobs/j/")) == 2
        assert len(_records(world, "jobs/j/")) == 1

    def test_after_its_end_no_heartbeat_is_recorded(self, store: Store, world: StoreWorld) -> None:
        with job("j", store=store) as mine:
            pass
        before = _records(world, "jobs/")
        assert not mine.heartbeat()
        mine.finish("failed")
        assert _records(world, "jobs/") == before
        assert mine.status == "completed"

    def test_clocks_of_machines_that_work_do_not_matter(self, store: Store, world: StoreWorld) -> None:
        """The storage says when a heartbeat came."""
        with job("j", store=store):
            pass
        with job("late", store=store):
            (key,) = _records(world, "jobs/late/")
            body = bytes(world.memory.get(key)).replace(b"2027-01-15T08", b"2027-01-15T03")
            world.memory.delete(key)
            world.memory.put(key, body)
            assert find_job(store, "late").beat.startswith("2027-01-15T03")
            assert status(store, "late") == "running"

    def test_an_asking_clock_that_is_behind_the_storages_does_no_harm(self, store: Store, world: StoreWorld) -> None:
        with job("j", store=store):
            world.virtual_clock.set_now(1_800_000_000 - 7200)
            assert status(store, "j") == "running"

    def test_an_asking_clock_that_is_behind_still_sees_what_the_storage_shows(
        self, store: Store, world: StoreWorld
    ) -> None:
        _another_process(world, "j")
        with job("j", store=store):
            _another_process(world, "j")  # not in the place of the first
            world.virtual_clock.advance(500)
        world.virtual_clock.set_now(1_800_000_000 - 7200)
        assert status(store, "j") == "lost"

    def test_an_asking_clock_that_is_half_a_minute_ahead_does_no_harm(self, store: Store, world: StoreWorld) -> None:
        with job("j", store=store, heartbeat_seconds=1):
            world.virtual_clock.advance(30)
            assert status(store, "j") == "running"

    @pytest.mark.parametrize("bad", [0, 0.5, -1, 3601, float("nan"), float("inf")])
    def test_an_interval_out_of_bounds_is_refused(self, store: Store, bad: float) -> None:
        with pytest.raises(ValueError, match="1 to 3600"):
            job("j", store=store, heartbeat_seconds=bad)

    def test_the_interval_may_come_from_the_environment(self) -> None:
        assert heartbeat_interval(environment={}) == 30
        assert heartbeat_interval(environment={"ARTIFACTSTORE_HEARTBEAT_SECONDS": " 5 "}) == 5
        assert heartbeat_interval(7, environment={"ARTIFACTSTORE_HEARTBEAT_SECONDS": "5"}) == 7
        with pytest.raises(ConfigurationError, match="ARTIFACTSTORE_HEARTBEAT_SECONDS"):
            heartbeat_interval(environment={"ARTIFACTSTORE_HEARTBEAT_SECONDS": "often"})


def _records(world: StoreWorld, prefix: str) -> list[str]:
    return [key for key in sorted(world.memory.keys()) if key.startswith(prefix)]


class TestAttempts:
    def test_a_start_after_the_end_is_the_next_attempt(self, store: Store, world: StoreWorld) -> None:
        with pytest.raises(ValueError, match="x"), job("j", store=store):
            raise ValueError("x")
        world.virtual_clock.advance(10)
        with job("j", store=store) as again:
            assert again.attempt == 2
            assert status(store, "j") == "running"
        info = find_job(store, "j")
        assert (info.status, info.attempt, info.processes, info.error) == ("completed", 2, 1, "")
        assert info.begun == "2027-01-15T08:00:00.000Z"  # of the first attempt

    def test_a_start_while_another_process_works_joins_it(self, world: StoreWorld, store: Store) -> None:
        with job("j", store=store) as first:
            second = _another_process(world, "j")
            assert (first.attempt, second.attempt) == (1, 1)
            assert find_job(store, "j").processes == 2
        assert status(store, "j") == "running"
        second.finish("failed", error="OSError")
        assert (status(store, "j"), find_job(store, "j").error) == ("failed", "OSError")

    def test_a_start_right_after_a_kill_takes_the_killed_ones_place(self, world: StoreWorld, store: Store) -> None:
        """Too early to know that the first one is dead: it is the same attempt."""
        _another_process(world, "j")
        world.virtual_clock.advance(20)
        with job("j", store=store) as again:
            assert again.attempt == 1
            world.virtual_clock.advance(500)
            again.heartbeat()
        assert status(store, "j") == "completed"

    def test_a_process_that_wrote_again_was_not_replaced(self, world: StoreWorld, store: Store) -> None:
        first = _another_process(world, "j")
        with job("j", store=store):
            first.heartbeat()
        world.virtual_clock.advance(500)
        assert status(store, "j") == "lost"

    def test_a_start_long_after_a_kill_is_the_next_attempt(self, world: StoreWorld, store: Store) -> None:
        _another_process(world, "j")
        world.virtual_clock.advance(500)
        assert status(store, "j") == "lost"
        with job("j", store=store) as again:
            assert again.attempt == 2
        assert status(store, "j") == "completed"

    def test_the_scheduler_counts_requeues(
        self, world: StoreWorld, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        with pytest.raises(ValueError, match="x"), job(store=store) as first:
            raise ValueError("x")
        with job(store=store) as step:
            assert step.attempt == 1  # another step of the same start
        assert status(store, "slurm-7") == "failed"
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        with job(store=store) as requeued:
            assert (requeued.id, requeued.attempt) == (first.id, 2)
        assert status(store, "slurm-7") == "completed"

    def test_a_job_object_is_begun_once(self, store: Store) -> None:
        with job("j", store=store) as mine:
            assert mine.start() is mine
        with pytest.raises(ValueError, match="has ended"):
            mine.start()
        with pytest.raises(ValueError, match="not as running"):
            mine.finish("running")


def _another_process(world: StoreWorld, job_id: str) -> Job:
    """As another machine would begin: outside of what this process has open."""
    return Job(identify({}, job_id=job_id, directory="/p"), world.store(user="other")).start()


class TestImplicit:
    def test_the_current_job_is_begun_once_and_ends_with_the_program(self, store: Store) -> None:
        assert open_job() is None
        mine = current_job(store)
        assert current_job(store) is mine
        assert status(store, mine.id) == "running"
        end_jobs()
        assert status(store, mine.id) == "completed"
        assert open_job() is None
        assert current_job(store) is not mine

    def test_the_environment_names_it(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ARTIFACTSTORE_JOB_ID", "named")
        monkeypatch.setenv("ARTIFACTSTORE_PROJECT", "p")
        assert (current_job(store).id, current_job(store).project) == ("named", "p")

    def test_it_may_be_begun_by_name_without_a_block(self, store: Store, tree: Path) -> None:
        mine = job("notebook", store=store).start()
        assert current_job() is mine
        store.push(tree, "model")
        assert store.show("model").made_by == "notebook"
        mine.finish()
        assert status(store, "notebook") == "completed"
        assert open_job() is None

    def test_a_closed_store_does_not_keep_its_end_from_being_recorded(self, world: StoreWorld) -> None:
        with world.store() as first:
            mine = current_job(first)
        end_jobs()
        with world.store() as later:
            assert status(later, mine.id) == "completed"

    def test_without_a_store_the_settings_decide(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ARTIFACTSTORE_URL", str(tmp_path / "chosen"))
        mine = current_job()
        assert mine.store.url.endswith("chosen")
        assert current_job() is mine
        with job("named") as named:
            assert named.store is mine.store
        end_jobs()
        with artifactstore.open_store() as store:
            assert {info.id: info.status for info in list_jobs(store)} == {
                mine.id: JobStatus.COMPLETED,
                "named": JobStatus.COMPLETED,
            }

    def test_a_store_that_is_not_there_is_an_error_and_no_job_is_open(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thing").touch()
        monkeypatch.setenv("ARTIFACTSTORE_URL", str(tmp_path / "full"))
        with pytest.raises(StoreNotFound):
            current_job()
        with pytest.raises(StoreNotFound), job("j"):
            raise AssertionError("never entered")
        assert open_job() is None


class TestMadeAndUsed:
    def test_what_is_pushed_in_a_job_was_made_by_it(self, store: Store, tree: Path) -> None:
        with job("x", store=store):
            made = store.push(tree, "models/a")
            store.push(tree, "models/other", options=PushOptions(made_by="somebody"))
        store.push(tree, "models/b")
        assert store.show("models/a").made_by == "x"
        assert store.show("models/b").made_by == ""
        manifest = job_manifest(store, "x")
        (version,) = manifest.made
        assert (version.version, version.content_digest) == ("models/a:v1", made.content_digest)
        assert version.created == store.show("models/a").created

    def test_what_is_used_is_in_the_manifest_and_in_the_lineage(self, store: Store, tree: Path) -> None:
        store.push(tree, "data/raw")
        with job("x", store=store) as mine:
            assert mine.use("data/raw") == "data/raw:v1"
            assert mine.use("data/raw:v1") == "data/raw:v1"
            assert mine.use("data/raw:latest") == "data/raw:v1"
            with pytest.raises(NameNotFound):
                mine.use("data/none")
        store.record_use("data/raw", by="x")
        assert [version.version for version in job_manifest(store, "x").used] == ["data/raw:v1"]
        assert "x" in artifactstore.lineage_text(artifactstore.lineage(store, "data/raw"))

    def test_snapshots_of_other_jobs_can_be_used(self, store: Store, tree: Path) -> None:
        store.push(tree, job_name("a", "dir", "state"))
        with job("b", store=store) as mine:
            mine.use(Reference(name=job_name("a", "dir", "state"), version=Slot(1)))
        assert [version.version for version in job_manifest(store, "b").used] == [".jobs/a/dir/state:v1"]

    def test_a_note_that_was_lost_comes_with_the_next_push_of_the_same(
        self, store: Store, world: StoreWorld, tree: Path
    ) -> None:
        with job("x", store=store):
            store.push(tree, "models/a")
            (key,) = _records(world, "jobs/x/made/")
            world.memory.delete(key)
            assert store.push(tree, "models/a").action == "unchanged"
            assert _records(world, "jobs/x/made/") == [key]
        with job("y", store=store):
            assert store.push(tree, "models/a").action == "unchanged"
        assert job_manifest(store, "y").made == ()

    def test_an_environment_that_names_a_job_makes_notes_without_a_job(
        self, store: Store, world: StoreWorld, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        store.push(tree, "models/a")
        assert store.show("models/a").made_by == "slurm-7"
        assert list(list_jobs(store)) == []
        with job(store=store):
            pass
        assert [version.version for version in job_manifest(store, "slurm-7").made] == ["models/a:v1"]

    def test_programs_that_it_starts_can_belong_to_it(self, store: Store) -> None:
        with job("x", project="p", store=store) as mine:
            assert mine.environment() == {"ARTIFACTSTORE_JOB_ID": "x", "ARTIFACTSTORE_PROJECT": "p"}


def _filled(store: Store, tree: Path) -> None:
    """Job `x` with two snapshots of one directory, a saved file, and an artifact made and used."""
    with job("x", project="p", store=store) as mine:
        store.push(tree, job_name("x", "dir", "state"))
        make_tree(tree, {b"more": b"more"})
        store.push(tree, job_name("x", "dir", "state"))
        store.push(tree, job_name("x", "saved", "Loss Curve"))
        store.push(tree, "models/a")
        mine.use("models/a")


class TestManifest:
    def test_it_lists_directories_with_snapshots_saved_files_and_artifacts(self, store: Store, tree: Path) -> None:
        _filled(store, tree)
        manifest = job_manifest(store, "x")
        assert (manifest.job.id, manifest.job.status) == ("x", "completed")
        (directory,), (saved,) = manifest.directories, manifest.saved
        assert (directory.key, [version.slot for version in directory.versions]) == ("state", [2, 1])
        assert (saved.key, len(saved.versions)) == ("Loss Curve", 1)
        assert [version.version for version in manifest.made] == ["models/a:v1"]
        assert [version.version for version in manifest.used] == ["models/a:v1"]

    def test_of_a_job_that_did_nothing_it_is_empty(self, store: Store) -> None:
        with job("x", store=store):
            manifest = job_manifest(store, "x")
        assert (manifest.things, manifest.made, manifest.used) == ((), (), ())

    def test_strangers_in_the_store_are_left_out(self, store: Store, world: StoreWorld, tree: Path) -> None:
        _filled(store, tree)
        for key in ("jobs/x/stranger", "jobs/y", "jobs/x/process-1/2", "names/.jobs/x/dir/state/v/1", "jobs/%zz/a/b"):
            world.memory.put(key, b"?")
        assert len(job_manifest(store, "x").things) == 2
        assert [info.id for info in list_jobs(store)] == ["x"]


class TestFinding:
    def test_a_job_that_is_not_there_is_an_error_that_names_similar_ones(self, store: Store) -> None:
        for name in ("train-1", "train-2", "evaluate"):
            with job(name, store=store):
                pass
        with pytest.raises(JobNotFound, match=r"no job trian-1; there (is|are) .*train-1") as caught:
            find_job(store, "trian-1")
        assert "evaluate" not in str(caught.value)
        with pytest.raises(JobNotFound, match=r"no job zzz[.]"):
            job_manifest(store, "zzz")

    def test_jobs_are_listed_the_newest_first(self, store: Store, world: StoreWorld) -> None:
        for name in ("c", "a", "b"):
            with job(name, store=store, project="even" if name == "a" else "odd"):
                world.virtual_clock.advance(1)
        assert [info.id for info in list_jobs(store)] == ["b", "a", "c"]
        assert [info.id for info in list_jobs(store, project="odd")] == ["b", "c"]
        assert [info.id for info in list_jobs(store, limit=2)] == ["b", "a"]
        assert [info.id for info in list_jobs(store, project="odd", status="completed", limit=1)] == ["b"]
        assert list(list_jobs(store, status="failed")) == list(list_jobs(store, limit=0)) == []

    def test_bad_filters_are_refused_at_once(self, store: Store) -> None:
        with pytest.raises(ValueError, match="sleeping"):
            list_jobs(store, status="sleeping")
        with pytest.raises(ValueError, match="-1"):
            list_jobs(store, limit=-1)

    def test_many_jobs_cost_one_listing_and_one_read_each(self, store: Store, world: StoreWorld) -> None:
        for number in range(120):
            with job(f"j{number}", store=store):
                world.virtual_clock.advance(1)
        counting = CountBackend(world.memory)
        with world.store(through=counting) as counted:
            counted.record  # noqa: B018
            before = counting.counts.requests
            assert len(list(list_jobs(counted))) == 120
            after = counting.counts.requests
        assert after["list"] - before.get("list", 0) == 1
        assert after["get"] - before["get"] == 120

    def test_the_newest_few_of_many_cost_little(self, store: Store, world: StoreWorld) -> None:
        for number in range(120):
            with job(f"j{number}", store=store):
                world.virtual_clock.advance(1)
        counting = CountBackend(world.memory)
        with world.store(through=counting) as counted:
            assert [info.id for info in list_jobs(counted, limit=3)] == ["j119", "j118", "j117"]
        assert counting.counts.request_count <= 60

    def test_a_job_that_made_much_is_passed_over_quickly(self, store: Store, world: StoreWorld) -> None:
        for name in ("a", "b"):
            with job(name, store=store):
                pass
        for number in range(3000):
            world.memory.put(f"jobs/a/made/{number:032x}", b"?")
        counting = CountBackend(world.memory)
        with world.store(through=counting) as counted:
            assert {info.id for info in list_jobs(counted)} == {"a", "b"}
        assert counting.counts.requests["list"] <= 3


class TestRemoving:
    def test_what_it_kept_goes_and_what_it_made_stays(self, store: Store, world: StoreWorld, tree: Path) -> None:
        _filled(store, tree)
        store.push(tree, job_name("y", "dir", "state"))
        plan = remove_job(store, "x", dry_run=True)
        assert job_manifest(store, "x").directories
        done = remove_job(store, "x")
        assert plan.versions == done.versions
        assert sorted(done.versions) == [
            ".jobs/x/dir/state:v1",
            ".jobs/x/dir/state:v2",
            ".jobs/x/saved/Loss%20Curve:v1",
        ]
        with pytest.raises(JobNotFound, match="job x was removed"):
            find_job(store, "x")
        with pytest.raises(NameNotFound):
            list(store.versions(job_name("x", "dir", "state")))
        assert store.show("models/a").made_by == "x"
        assert len(list(store.versions(job_name("y", "dir", "state")))) == 1
        assert list(list_jobs(store)) == []

    def test_one_that_runs_is_refused_unless_forced(self, store: Store, world: StoreWorld) -> None:
        with job("x", store=store) as mine:
            before = _records(world, "")
            with pytest.raises(JobRunning, match="x is running"):
                remove_job(store, "x")
            assert _records(world, "") == before
            remove_job(store, "x", force=True)
            with pytest.raises(JobNotFound):
                find_job(store, "x")
            mine.heartbeat()
            assert status(store, "x") == "running"  # it does
        assert status(store, "x") == "completed"

    def test_a_lost_one_can_be_removed(self, store: Store, world: StoreWorld) -> None:
        _another_process(world, "x")
        world.virtual_clock.advance(500)
        assert remove_job(store, "x").versions == ()

    def test_one_that_is_not_there_is_an_error(self, store: Store) -> None:
        with pytest.raises(JobNotFound):
            remove_job(store, "x")

    def test_an_id_that_was_removed_can_be_used_again(self, store: Store, world: StoreWorld) -> None:
        for number in (1, 2):
            with job("x", store=store) as mine:
                assert mine.attempt == 1
            remove_job(store, "x")
            assert len(_records(world, "jobs/x/removed/")) == number


def test_a_forked_child_works_for_the_job_and_its_end_is_not_the_jobs(store: Store, tree: Path, tmp_path: Path) -> None:
    local = artifactstore.init_store(tmp_path / "local")
    with local, job("x", store=local) as mine:
        child = os.fork()
        if child == 0:
            try:
                with job() as again:
                    ok = again.id == "x" and mine.status == "running" and not mine.heartbeat()
                    local.push(tree, "models/a")
                mine.finish("failed")
                raise SystemExit(0)
            except SystemExit:
                os._exit(0 if ok else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert mine.heartbeat()
        assert find_job(local, "x").status == "running"
        assert local.show("models/a").made_by == "x"
    with artifactstore.open_store(tmp_path / "local") as later:
        assert (status(later, "x"), find_job(later, "x").processes) == ("completed", 2)  # its own block was one


def test_a_job_that_can_not_say_how_it_ended_warns_and_hides_no_exception(
    store: Store, world: StoreWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*arguments: object, **named: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("artifactstore.jobs.running.ProcessLog.end", fails)
    with caplog.at_level(logging.WARNING), pytest.raises(KeyError), job("x", store=store):
        raise KeyError
    assert ["no network" in record.getMessage() for record in caplog.records] == [True]


class TestAtItsEnd:
    def test_what_was_asked_for_comes_before_the_end_is_recorded_the_last_first(self, store: Store) -> None:
        seen: list[object] = []
        with job("x", store=store) as mine:
            mine.at_finish(lambda coming: seen.append((1, coming, status(store, "x"))))
            mine.at_finish(lambda coming: seen.append((2, coming, status(store, "x"))))
        assert seen == [(2, "completed", "running"), (1, "completed", "running")]

    def test_it_is_told_of_a_failure(self, store: Store) -> None:
        seen: list[JobStatus] = []
        with pytest.raises(KeyError), job("x", store=store) as mine:
            mine.at_finish(seen.append)
            raise KeyError
        assert seen == ["failed"]

    def test_one_that_fails_is_logged_and_keeps_nothing_from_coming(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[JobStatus] = []

        def fails(coming: JobStatus) -> None:
            raise OSError("last upload")

        with job("x", store=store) as mine:
            mine.at_finish(seen.append)
            mine.at_finish(fails)
        assert seen == ["completed"]
        assert "last upload" in caplog.text
        assert status(store, "x") == "completed"


def test_files_models_and_data_sets_of_a_job_hang_on_it(store: Store, tmp_path: Path, tree: Path) -> None:
    with job("train-7", project="shapes", store=store) as train:
        train.artifacts.add(tree / "a")
        train.shared.add(tree / "a")
        train.models.add(tree, "net")
        train.datasets.add(tree, "squares", "2.0.0")
        assert train.artifacts is train.artifacts, "a step builds on the one before it"
    assert [group.name for group in train.artifacts.list()] == ["a"]
    assert {item.name for item in store.list("shapes")} == {"shapes/shared", "shapes/models", "shapes/datasets"}
    assert {pin.version for pin in job_manifest(store, "train-7").made} >= {"shapes/models/net/1.0.0:v1"}
