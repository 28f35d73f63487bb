"""Jobs on a storage that fails: what must not fail with it, what must say so, and what a second try finishes."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.fault import (
    Crashed,
    ErrorAfter,
    ErrorBefore,
    Fault,
    Meanwhile,
    crash_at,
    fail_at,
    permission_denied,
    transient,
)
from artifactstore.errors import BackendError, CorruptData, JobNotFound, StorePermissionDenied, UnsupportedFormat
from artifactstore.jobs.heartbeat import HeartbeatThread
from artifactstore.jobs.identity import identify
from artifactstore.jobs.job import job, open_job
from artifactstore.jobs.listing import find_job, list_jobs
from artifactstore.jobs.manifest import job_manifest
from artifactstore.jobs.removal import remove_job
from artifactstore.jobs.running import Job
from artifactstore.names import job_name
from artifactstore.testing.stores import StoreWorld, make_tree
from artifactstore.transaction.versions import live_versions

FOR_EVER = None


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StoreWorld]:
    make_tree(tmp_path / "tree", {b"a": b"content"})
    yield StoreWorld(tmp_path)


def records(world: StoreWorld, prefix: str = "jobs/") -> list[str]:
    return [key for key in sorted(world.memory.keys()) if key.startswith(prefix)]


def test_heartbeats_that_fail_warn_once_and_fail_nothing(world: StoreWorld, caplog: pytest.LogCaptureFixture) -> None:
    failing = world.faulty(Fault(verb="put", key="jobs/*", action=ErrorBefore(permission_denied), nth=1, times=5))
    with caplog.at_level(logging.WARNING), world.store(through=failing) as store, job("x", store=store) as mine:
        assert [mine.heartbeat() for _ in range(7)] == [False] * 5 + [True] * 2
        assert find_job(store, "x").status == "running"
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1 and "the job goes on" in warnings[0] and "denied" in warnings[0]
    with world.store() as store:
        assert find_job(store, "x").status == "completed"
    assert len(records(world)) == 1


@pytest.mark.parametrize("verb", ["put", "delete", "put_if_absent"])
def test_replies_that_are_lost_change_nothing(world: StoreWorld, verb: str) -> None:
    failing = world.faulty(Fault(verb=verb, key="jobs/*", action=ErrorAfter(transient), times=2))
    with world.store(through=failing) as store:
        with job("x", store=store) as mine:
            for _ in range(4):
                mine.heartbeat()
        info = find_job(store, "x")
    assert (info.status, info.processes, info.attempt) == ("completed", 1, 1)


def test_older_records_that_could_not_be_removed_go_later_or_do_no_harm(world: StoreWorld) -> None:
    failing = world.faulty(Fault(verb="delete", key="jobs/*", action=ErrorBefore(permission_denied), times=2))
    with world.store(through=failing) as store, job("x", store=store) as mine:
        for _ in range(3):
            mine.heartbeat()
        assert len(records(world)) == 4
        mine.heartbeat()
        assert len(records(world)) == 2
    never = world.faulty(Fault(verb="delete", key="jobs/*", action=ErrorBefore(permission_denied), times=FOR_EVER))
    with world.store(through=never) as store:
        with job("y", store=store) as mine:
            mine.heartbeat()
        assert find_job(store, "y").status == "completed"
        assert len(records(world, "jobs/y/")) == 3


def test_a_beginning_that_can_not_be_recorded_is_an_error_and_no_job(world: StoreWorld) -> None:
    failing = world.faulty(
        Fault(verb="put_if_absent", key="jobs/*", action=ErrorBefore(permission_denied), times=FOR_EVER)
    )
    with world.store(through=failing) as store:
        with pytest.raises(StorePermissionDenied), job("x", store=store):
            raise AssertionError("never entered")
        assert open_job() is None
    assert records(world) == []


def test_an_end_that_can_not_be_recorded_warns_and_shows_as_lost(
    world: StoreWorld, caplog: pytest.LogCaptureFixture
) -> None:
    failing = world.faulty(
        Fault(verb="put_if_absent", key="jobs/*", action=ErrorBefore(permission_denied), nth=2, times=FOR_EVER)
    )
    with caplog.at_level(logging.WARNING), world.store(through=failing) as store:
        with pytest.raises(KeyError), job("x", store=store):
            raise KeyError
        assert len(caplog.records) == 1 and "shown as lost" in caplog.text
        world.virtual_clock.advance(600)
        assert find_job(store, "x").status == "lost"


@pytest.mark.parametrize("request_number", range(1, 12))
@pytest.mark.parametrize("after_effect", [False, True])
def test_a_process_killed_at_any_request_leaves_a_job_that_can_be_begun_again(
    world: StoreWorld, request_number: int, after_effect: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HeartbeatThread, "start", lambda self: None)  # what is killed has no threads left
    crashing = world.faulty(crash_at(request_number, after_effect=after_effect))
    try:
        store = world.store(through=crashing, user="killed")
        killed = Job(identify({}, job_id="x", directory="/p"), store).start()
        killed.heartbeat()
        killed.finish()
    except Crashed:
        pass
    world.virtual_clock.advance(600)
    with world.store() as store:
        assert {info.status for info in list_jobs(store)} <= {"lost", "completed"}
        with job("x", store=store):
            assert find_job(store, "x").status == "running"
        assert find_job(store, "x").status == "completed"


def test_a_listing_that_fails_is_an_error_never_no_job(world: StoreWorld) -> None:
    with world.store() as store, job("x", store=store):
        pass
    for verb in ("list", "get"):
        failing = world.faulty(Fault(verb=verb, key="jobs/*", action=ErrorBefore(permission_denied), times=FOR_EVER))
        with world.store(through=failing) as store:
            for ask in (find_job, job_manifest, remove_job):
                with pytest.raises(BackendError):
                    ask(store, "x")
            with pytest.raises(BackendError):
                list(list_jobs(store))
            with pytest.raises(BackendError):
                job("x", store=store).start()
    with world.store() as store:
        assert find_job(store, "x").status == "completed"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", CorruptData),
        (b"{}", CorruptData),
        (b'{"format": 2, "nonce": "00"}', UnsupportedFormat),
        (b'{"format": 1, "required_features": ["x"]}', UnsupportedFormat),
        (b"x" * (2 << 20), CorruptData),
    ],
    ids=["empty", "nothing in it", "newer", "newer feature", "huge"],
)
def test_a_record_that_can_not_be_read_is_an_error_that_names_it(
    world: StoreWorld, body: bytes, error: type[Exception]
) -> None:
    with world.store() as store:
        with job("x", store=store):
            pass
        (key,) = records(world)
        world.memory.delete(key)
        world.memory.put(key, body)
        with pytest.raises(error, match=key):
            find_job(store, "x")


def test_a_heartbeat_between_listing_and_reading_is_not_a_job_that_is_gone(world: StoreWorld) -> None:
    """The record that was listed is removed by the next but one."""
    with world.store() as store, job("x", store=store) as mine:
        meanwhile = Meanwhile(lambda: (mine.heartbeat(), mine.heartbeat(), None)[2])
        changing = world.faulty(Fault(verb="get", key="jobs/x/*", action=meanwhile, times=3))
        with world.store(through=changing, user="reader") as reader:
            assert find_job(reader, "x").status == "running"


@pytest.mark.parametrize("request_number", range(1, 40, 2))
def test_a_removal_that_fails_at_any_request_is_finished_by_the_next(
    world: StoreWorld, tmp_path: Path, request_number: int
) -> None:
    with world.store() as store, job("x", store=store):
        store.push(tmp_path / "tree", job_name("x", "dir", "state"))
        store.push(tmp_path / "tree", job_name("x", "saved", "file"))
        store.push(tmp_path / "tree", "models/a")
    failing = world.faulty(fail_at(request_number, error=permission_denied))
    with world.store(through=failing) as store:
        try:
            remove_job(store, "x")
        except BackendError:
            with world.store(user="again") as again:
                assert find_job(again, "x").status == "completed"
                remove_job(again, "x")
    with world.store() as store:
        with pytest.raises(JobNotFound, match="was removed"):
            find_job(store, "x")
        assert store.show("models/a").made_by == "x"
        for kind, key in (("dir", "state"), ("saved", "file")):
            assert list(live_versions(world.memory, job_name("x", kind, key))) == []
    assert [key for key in records(world) if "/removed/" not in key] == []


def test_a_note_about_what_was_made_that_can_not_be_put_costs_a_line(world: StoreWorld, tmp_path: Path) -> None:
    denied = ErrorBefore(permission_denied)
    failing = world.faulty(Fault(verb="put_if_absent", key="jobs/x/made/*", action=denied, times=FOR_EVER))
    with world.store(through=failing) as store:
        with job("x", store=store):
            assert store.push(tmp_path / "tree", "models/a").action == "committed"
        assert job_manifest(store, "x").made == ()
        assert store.show("models/a").made_by == "x"
