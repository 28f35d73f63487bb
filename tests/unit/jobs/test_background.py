"""Uploads in the background: one thread, a queue that can't grow, and errors that are never lost."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.errors import ConfigurationError, SourceNotFound, StoreNotFound
from artifactstore.forks import Threads
from artifactstore.jobs.background import BACKGROUND, Background
from artifactstore.jobs.directory import create_syncable_directory, open_syncable_directory
from artifactstore.jobs.exits import GRACE_VARIABLE, Exits, grace_seconds
from artifactstore.jobs.job import job
from artifactstore.jobs.listing import find_job
from artifactstore.priority import BACKGROUND_THREADS, give_way, gives_way
from artifactstore.store import open_store
from artifactstore.testing.stores import StoreWorld, make_tree

SECONDS = 10.0
"""More than anything here takes."""


@pytest.fixture
def sigterm() -> Iterator[None]:
    """What handles SIGTERM comes back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def background(sigterm: None) -> Background:
    return Background(exits=Exits())


class Gate:
    """Work that begins, and waits until it may end."""

    def __init__(self, result: object = None) -> None:
        self.begun, self.may_end, self.result = threading.Event(), threading.Event(), result

    def __call__(self) -> object:
        self.begun.set()
        assert self.may_end.wait(SECONDS)
        return self.result


def fail() -> None:
    raise ZeroDivisionError("nothing can be divided by it")


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


def test_handle_waits_for_the_result(background: Background) -> None:
    gate = Gate("snapshot")
    handle = background.submit(gate, of="a")
    assert gate.begun.wait(SECONDS)
    assert not handle.done()
    with pytest.raises(TimeoutError, match="it goes on"):
        handle.wait(0.001)
    with pytest.raises(TimeoutError):
        handle.result()
    gate.may_end.set()
    assert handle.wait() == handle.wait(SECONDS) == handle.result() == "snapshot"
    assert handle.done()


def test_error_is_raised_by_every_wait_and_is_no_error_at_the_end(
    background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    handle = background.submit(fail, of="a")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            handle.wait(SECONDS)
    with pytest.raises(ZeroDivisionError):
        handle.result()
    background.finish()
    assert errors(caplog) == []


def test_error_that_somebody_waits_for_is_not_logged(background: Background, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    background.submit(gate, of="before")
    handle = background.submit(fail, of="a")
    raised = list[BaseException]()

    def wait() -> None:
        try:
            handle.wait(SECONDS)
        except ZeroDivisionError as error:
            raised.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not handle._is_awaited:
        waiting.join(0.001)
    gate.may_end.set()
    waiting.join(SECONDS)
    background.finish()
    assert len(raised) == 1
    assert caplog.records == []


def test_error_that_comes_while_a_wait_gives_up_is_logged_at_the_end(
    background: Background, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_fail = threading.Event()

    def work() -> None:
        assert may_fail.wait(SECONDS)
        fail()

    handle = background.submit(work, of="a")

    def too_late(timeout: float | None) -> bool:
        may_fail.set()
        background.settle(SECONDS)
        return False

    monkeypatch.setattr(handle._finished, "wait", too_late)
    with pytest.raises(TimeoutError):
        handle.wait(0.001)
    background.finish()
    assert len(errors(caplog)) == 1


def test_error_that_nobody_waited_for_is_logged_when_it_happens_and_at_the_end(
    background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    background.submit(fail, of="a", failed=told.append)
    assert background.settle(SECONDS)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    background.finish()
    background.finish()
    assert len(errors(caplog)) == 1, "once"
    assert "ZeroDivisionError: nothing can be divided by it" in errors(caplog)[0]
    assert told == ["ZeroDivisionError"]


def test_error_that_a_later_upload_of_the_directory_made_good_is_no_error_at_the_end(
    background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    background.submit(fail, of="a")
    background.settle(SECONDS)
    background.submit(lambda: None, of="a")
    background.submit(fail, of="b")
    background.finish()
    assert len(errors(caplog)) == 1


def test_uploads_of_one_directory_that_wait_become_one_the_newest(background: Background) -> None:
    gate, done = Gate(), list[int]()
    first = background.submit(gate, of="a")
    assert gate.begun.wait(SECONDS)
    handles = [background.submit(lambda number=number: done.append(number), of="a") for number in range(100)]
    assert len(set(map(id, handles))) == 1
    assert handles[0] is not first, "what has begun may have read the directory already"
    gate.may_end.set()
    handles[0].wait(SECONDS)
    assert done == [99]


def test_full_queue_makes_others_wait_and_lets_the_same_directory_in(sigterm: None) -> None:
    background, gate, entered = Background(exits=Exits(), max_waiting=2), Gate(), threading.Event()
    background.submit(gate, of="running")
    assert gate.begun.wait(SECONDS)
    one, two = (background.submit(lambda: None, of=of) for of in ("one", "two"))
    assert background.submit(lambda: "newer", of="one") is one

    def third() -> None:
        background.submit(lambda: None, of="three").wait(SECONDS)
        entered.set()

    thread = threading.Thread(target=third)
    thread.start()
    assert not entered.wait(0.05)
    gate.may_end.set()
    assert entered.wait(SECONDS)
    thread.join(SECONDS)
    assert one.wait(SECONDS) == "newer"
    assert two.done()


def test_all_is_done_in_one_thread_that_gives_way(background: Background) -> None:
    threads = set()
    for number in range(5):
        background.submit(lambda: threads.add((threading.get_ident(), gives_way())), of=number)
    assert background.settle(SECONDS)
    assert len(threads) == 1
    assert threads != {(threading.get_ident(), True)}
    assert next(iter(threads))[1]
    assert not gives_way()


def test_pools_do_background_work_in_few_threads_that_give_way_too() -> None:
    pool, seen = Threads(8, "test"), set[tuple[int, bool]]()

    def ask() -> None:
        give_way()
        list(pool.map(lambda _: seen.add((threading.get_ident(), gives_way())), range(50)))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(SECONDS)
    assert 1 <= len(seen) <= BACKGROUND_THREADS
    assert all(gives_way for _, gives_way in seen)
    assert pool.submit(gives_way).result() is False, "work in the foreground does not"
    pool.shutdown()
    with pytest.raises(RuntimeError):
        pool.submit(gives_way)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_child_begins_with_an_empty_queue(background: Background) -> None:
    gate = Gate()
    handle = background.submit(gate, of="a")
    waiting = background.submit(fail, of="b")
    assert gate.begun.wait(SECONDS)
    child = os.fork()
    if not child:
        signal.alarm(20)
        code = 1
        try:
            assert background.settle(0)
            assert background.submit(lambda: 7, of="a").wait(SECONDS) == 7
            for of_parent in (handle, waiting):
                with pytest.raises(ValueError, match="parent"):
                    of_parent.wait()
            background.finish()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    gate.may_end.set()
    handle.wait(SECONDS)
    with pytest.raises(ZeroDivisionError):
        waiting.wait(SECONDS)


def test_handler_of_sigterm_comes_back_when_nothing_is_left_to_do(sigterm: None) -> None:
    def handler(number: int, frame: object) -> None: ...

    signal.signal(signal.SIGTERM, handler)
    background = Background(exits=Exits())
    background.submit(lambda: None, of="a")
    assert signal.getsignal(signal.SIGTERM) is not handler
    background.finish()
    assert signal.getsignal(signal.SIGTERM) is handler
    background.submit(lambda: None, of="a")
    assert signal.getsignal(signal.SIGTERM) is not handler
    background.finish()
    assert signal.getsignal(signal.SIGTERM) is handler


def test_sigterm_that_is_ignored_stays_so(sigterm: None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    background = Background(exits=Exits())
    background.submit(lambda: None, of="a").wait(SECONDS)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_sigterm_that_can_not_be_handled_is_told(sigterm: None, caplog: pytest.LogCaptureFixture) -> None:
    background = Background(exits=Exits())
    thread = threading.Thread(target=lambda: background.submit(lambda: None, of="a").wait(SECONDS))
    thread.start()
    thread.join(SECONDS)
    assert "outside of the main thread" in caplog.text


@pytest.mark.parametrize("text", ["-1", "soon", "3601", "nan"])
def test_grace_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=GRACE_VARIABLE):
        grace_seconds({GRACE_VARIABLE: text})


def test_grace_can_be_set() -> None:
    assert grace_seconds({}) == grace_seconds({GRACE_VARIABLE: " "}) == 25
    assert grace_seconds({GRACE_VARIABLE: "110"}) == 110
    assert grace_seconds({GRACE_VARIABLE: "0"}) == 0


# -- of a directory ------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StoreWorld]:
    yield StoreWorld(tmp_path)
    BACKGROUND.finish()


def test_upload_in_the_background_makes_the_same_snapshot(world: StoreWorld, tmp_path: Path) -> None:
    with world.store() as store:
        directory = create_syncable_directory("key", tmp_path / "d", job="j", store=store)
        make_tree(tmp_path / "d", {b"a": b"1", b"b": b"2" * 50_000})
        handle = directory.upload(wait=False, message="in the background")
        done = handle.wait(SECONDS)
        assert (done.snapshot, done.action, done.files) == ("key@1", "committed", 2)
        assert [snapshot.message for snapshot in directory.history()] == ["in the background"]
        assert directory.upload().action == "unchanged"


def test_error_of_an_upload_in_the_background_is_raised_by_wait(world: StoreWorld, tmp_path: Path) -> None:
    with world.store() as store:
        directory = create_syncable_directory("key", tmp_path / "d", job="j", store=store)
        (tmp_path / "d").rmdir()
        with pytest.raises(SourceNotFound):
            directory.upload(wait=False).wait(SECONDS)


def test_job_ends_after_its_uploads_and_has_failed_with_them(
    world: StoreWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with world.store() as store:
        with job("good", store=store):
            directory = create_syncable_directory("key", tmp_path / "d")
            make_tree(tmp_path / "d", {b"a": b"1" * 50_000})
            handle = directory.upload(wait=False)
        assert handle.done()
        assert find_job(store, "good").status == "completed"
        with job("bad", store=store):
            directory = create_syncable_directory("key", tmp_path / "e")
            (tmp_path / "e").rmdir()
            directory.upload(wait=False)
        assert find_job(store, "bad").status == "failed"
        assert find_job(store, "bad").error == "SourceNotFound"
    assert "nobody waited for it" in errors(caplog)[0]


def test_store_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with open_store(tmp_path / "other", state_path=tmp_path / "state") as store:
        directory = open_syncable_directory("key", tmp_path / "d", job="j", store=store)
        with pytest.raises(StoreNotFound):
            directory.upload(wait=False)
        with pytest.raises(StoreNotFound):
            directory.watch(10)


def test_closing_a_directory_waits_for_its_uploads(world: StoreWorld, tmp_path: Path) -> None:
    with world.store() as store:
        with create_syncable_directory("key", tmp_path / "d", job="j", store=store) as directory:
            make_tree(tmp_path / "d", {b"a": b"1" * 50_000})
            handle = directory.upload(wait=False)
        assert handle.done()
