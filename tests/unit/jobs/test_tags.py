"""Tags of jobs: recorded at once, and kept whatever becomes of the job."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore import InvalidName, Store, StorePermissionDenied, find_job, job, list_jobs, open_store
from artifactstore.backend.wrappers.fault import ErrorBefore, Fault, permission_denied
from artifactstore.testing.stores import StoreWorld, quick_folder


@pytest.fixture
def store() -> Iterator[Store]:
    with quick_folder() as folder, open_store(folder / "store") as opened:
        opened.init()
        yield opened


def test_a_tag_is_there_at_once_and_after_the_end(store: Store) -> None:
    with job("7", store=store) as run:
        run.tag("ß b")
        run.tag("a")
        run.tag("a")
        assert find_job(store, "7").tags == ("a", "ß b")
    assert find_job(store, "7").tags == ("a", "ß b")
    assert [info.tags for info in list_jobs(store)] == [("a", "ß b")]


def test_tags_of_all_attempts_and_processes_count(store: Store) -> None:
    for tag in ("first", "second"):
        with job("7", store=store) as run:
            run.tag(tag)
    info = find_job(store, "7")
    assert (info.attempt, info.tags) == (2, ("first", "second"))


def test_heartbeats_keep_the_tags(store: Store) -> None:
    with job("7", store=store) as run:
        run.tag("a")
        assert run.heartbeat() and run.heartbeat()
        assert find_job(store, "7").tags == ("a",)


@pytest.mark.parametrize("text", ["", "a\nb", " a", "x" * 129])
def test_what_is_no_tag_is_refused(store: Store, text: str) -> None:
    with job("7", store=store) as run, pytest.raises(InvalidName):
        run.tag(text)


def test_a_job_gets_64_tags_from_a_process_and_no_more(store: Store) -> None:
    with job("7", store=store) as run:
        for number in range(64):
            run.tag(f"t{number}")
        with pytest.raises(ValueError, match="at most 64"):
            run.tag("one more")
        run.tag("t63")
    assert len(find_job(store, "7").tags) == 64


def test_a_job_that_has_ended_is_not_tagged_and_stays_ended(store: Store) -> None:
    with job("7", store=store) as run:
        pass
    with pytest.raises(ValueError, match="not open"):
        run.tag("late")
    assert (find_job(store, "7").status, find_job(store, "7").tags) == ("completed", ())


def test_a_tag_that_cannot_be_written_is_an_error_and_not_remembered(tmp_path: Path) -> None:
    world = StoreWorld(tmp_path)
    refused = Fault(action=ErrorBefore(permission_denied), verb="put", key="jobs/*")
    with world.store(through=world.faulty(refused)) as store:
        with job("7", store=store) as run:
            with pytest.raises(StorePermissionDenied):
                run.tag("a")
            run.tag("b")
        assert find_job(store, "7").tags == ("b",)
