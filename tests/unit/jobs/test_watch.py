"""Watching a directory: uploads by interval, one more at the end, errors told once and raised at the end."""

import datetime
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.fault import ErrorBefore, Fault, permission_denied
from artifactstore.errors import SourceNotFound
from artifactstore.jobs.background import BACKGROUND, Background, UploadHandle
from artifactstore.jobs.directory import WATCHED, SyncableDirectory, create_syncable_directory
from artifactstore.jobs.exits import Exits
from artifactstore.jobs.job import job
from artifactstore.jobs.listing import find_job
from artifactstore.jobs.watch import Watch, interval_seconds
from artifactstore.testing.stores import StoreWorld, make_tree, tree_at
from artifactstore.transfer.found import Growth

SECONDS = 10.0
"""More than anything here takes."""
SOON = 0.002
NEVER = 1000.0
"""An interval that no test lives to see the end of."""


class Uploads:
    """Stands for a directory: counts, and fails as it is told."""

    def __init__(self) -> None:
        self.exits = Exits()
        self.background = Background(exits=self.exits)
        self.fails: Callable[[int], Exception | None] = lambda number: None
        self.count = 0
        self._changed = threading.Condition()

    def ask(self) -> UploadHandle[int]:
        return self.background.submit(self._upload, of="directory")

    def _upload(self) -> int:
        with self._changed:
            self.count += 1
            self._changed.notify_all()
            error = self.fails(self.count)
        if error is not None:
            raise error
        return self.count

    def watch(self, interval: float = NEVER, failed: Callable[[str], object] | None = None) -> Watch[int]:
        return Watch(self.ask, interval=interval, what="the directory", failed=failed, exits=self.exits)

    def await_count(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.count >= count, SECONDS)


@pytest.fixture
def uploads() -> Iterator[Uploads]:
    before = signal.getsignal(signal.SIGTERM)
    yield Uploads()
    signal.signal(signal.SIGTERM, before)


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_watch_uploads_again_and_again_and_once_more_at_the_end(uploads: Uploads) -> None:
    watch = uploads.watch(SOON).start()
    uploads.await_count(5)
    last = watch.stop()
    assert last == uploads.count >= 6
    assert uploads.background.settle(SECONDS)
    assert not watch.is_active


def test_first_upload_comes_after_one_interval_and_the_last_one_at_the_end_of_the_block(uploads: Uploads) -> None:
    with uploads.watch() as watch:
        assert watch.is_active
        assert uploads.count == 0
    assert uploads.count == 1


def test_stopping_again_uploads_nothing(uploads: Uploads) -> None:
    watch = uploads.watch().start()
    assert watch.stop() == 1
    assert watch.stop() is None
    watch.finish()
    assert uploads.count == 1
    with pytest.raises(ValueError, match="has ended"):
        watch.start()


def test_upload_that_fails_is_tried_again_and_told_once(uploads: Uploads, caplog: pytest.LogCaptureFixture) -> None:
    uploads.fails = lambda number: OSError("no network") if number < 5 else None
    watch = uploads.watch(SOON).start()
    uploads.await_count(7)
    watch.stop()
    uploads.background.finish()
    assert messages(caplog, logging.WARNING) == [
        "an upload of the directory failed, and will be tried again: OSError: no network"
    ]
    assert messages(caplog, logging.ERROR) == []


def test_each_different_error_is_told(uploads: Uploads, caplog: pytest.LogCaptureFixture) -> None:
    uploads.fails = lambda number: OSError(f"error {number % 2}") if number < 7 else None
    watch = uploads.watch(SOON).start()
    uploads.await_count(8)
    watch.stop()
    assert [text[-7:] for text in messages(caplog, logging.WARNING)] == ["error 1", "error 0"]


def test_last_upload_that_fails_is_raised_at_the_end(uploads: Uploads) -> None:
    uploads.fails = lambda number: OSError("no network")
    with pytest.raises(OSError, match="no network"), uploads.watch():
        pass
    with pytest.raises(OSError, match="no network"):
        uploads.watch().start().stop()


def test_exception_in_the_block_is_not_hidden_and_the_last_upload_is_made(
    uploads: Uploads, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZeroDivisionError), uploads.watch():
        raise ZeroDivisionError
    assert uploads.count == 1
    uploads.fails = lambda number: OSError("no network")
    failures: list[str] = []
    with pytest.raises(ZeroDivisionError), uploads.watch(failed=failures.append):
        raise ZeroDivisionError
    assert messages(caplog, logging.ERROR) == ["the last upload of the directory failed: OSError: no network"]
    assert failures == ["OSError"]


def test_last_upload_after_sigterm_is_cut_off_when_the_time_is_over_and_the_watch_goes_on(
    uploads: Uploads, caplog: pytest.LogCaptureFixture
) -> None:
    begun, gate = threading.Event(), threading.Event()
    uploads.background.submit(lambda: (begun.set(), gate.wait(SECONDS)), of="another directory")
    assert begun.wait(SECONDS)
    watch = uploads.watch().start()
    watch.finish(0.01)
    assert "not done within 0.01 seconds" in messages(caplog, logging.ERROR)[0]
    gate.set()
    assert watch.is_active
    assert watch.stop() == 1, "the one that was asked for, or another one"


@pytest.mark.parametrize(
    "interval,seconds",
    [(30, 30), (0.5, 0.5), ("30s", 30), ("5m", 300), (datetime.timedelta(minutes=2), 120)],
    ids=str,
)
def test_intervals_as_people_write_them(interval: float | str | datetime.timedelta, seconds: float) -> None:
    assert interval_seconds(interval) == seconds


@pytest.mark.parametrize("interval", [0, -1, "soon", "never", "", True, float("nan"), float("inf")], ids=str)
def test_what_is_no_interval_is_refused(uploads: Uploads, interval: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        uploads.watch(interval)


# -- of a directory ------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StoreWorld]:
    yield StoreWorld(tmp_path)
    BACKGROUND.finish()


def made(world: StoreWorld, path: Path) -> SyncableDirectory:
    return create_syncable_directory("key", path, job="j", store=world.store())


def test_watched_directory_ends_as_it_was_at_the_end(world: StoreWorld, tmp_path: Path) -> None:
    with made(world, tmp_path / "d") as directory, directory.watch(NEVER, message="watched"):
        make_tree(tmp_path / "d", {b"a": b"1", b"sub/b": b"2" * 9000})
    assert [str(snapshot) for snapshot in directory.history()] == ["key@1"]
    other = made(world, tmp_path / "other")
    assert tree_at(tmp_path / "other") == tree_at(tmp_path / "d")
    other.close()


def test_nothing_changed_makes_no_snapshot(world: StoreWorld, tmp_path: Path) -> None:
    directory = made(world, tmp_path / "d")
    make_tree(tmp_path / "d", {b"a": b"1"})
    for action in ("committed", "unchanged"):
        done = directory.watch(NEVER).stop()
        assert done is not None
        assert done.action == action
    assert len(list(directory.history())) == 1


def test_files_that_grow_are_taken_as_they_were() -> None:
    assert WATCHED.growth is Growth.TAKE_START


def test_upload_that_failed_is_made_good_by_the_next(
    world: StoreWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = world.faulty(Fault(verb="put_if_absent", key="names/*", times=2, action=ErrorBefore(permission_denied)))
    directory = create_syncable_directory("key", tmp_path / "d", job="j", store=world.store(through=faulty))
    make_tree(tmp_path / "d", {b"a": b"1"})
    watch = directory.watch(SOON)
    done = threading.Event()
    while not done.wait(0.005):
        if list(directory.history()):
            done.set()
    watch.stop()
    assert len(messages(caplog, logging.WARNING)) == 1
    assert len(list(directory.history())) == 1


def test_watch_of_a_job_ends_with_it(world: StoreWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with world.store() as store:
        with job("good", store=store):
            directory = create_syncable_directory("key", tmp_path / "d")
            watch = directory.watch(NEVER)
            make_tree(tmp_path / "d", {b"a": b"1"})
        assert not watch.is_active
        assert len(list(directory.history())) == 1
        assert find_job(store, "good").status == "completed"
        with job("bad", store=store):
            directory = create_syncable_directory("key", tmp_path / "e")
            directory.watch(NEVER)
            (tmp_path / "e").rmdir()
        assert find_job(store, "bad").status == "failed"
        assert find_job(store, "bad").error == SourceNotFound.__name__
    assert "there is no directory" in messages(caplog, logging.ERROR)[0]
