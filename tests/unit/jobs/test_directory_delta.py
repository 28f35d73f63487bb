"""What syncing costs: only chunks that are missing move, both ways, in few requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.jobs.directory import SyncableDirectory, create_syncable_directory
from artifactstore.store import Store
from artifactstore.testing.stores import StoreWorld, edit_tree, tree_at
from artifactstore.testing.strategies import seeded_bytes

LARGE = 6 << 20
REGION = 64 << 10
MOVED = 640_000
"""A changed region may touch several chunks, and a block and a root name them; far less than all."""


@dataclass(eq=False)
class Run:
    id: str
    store: Store


@pytest.fixture
def world(tmp_path: Path) -> StoreWorld:
    return StoreWorld(tmp_path)


@contextmanager
def counted(world: StoreWorld, machine: str) -> Iterator[tuple[Store, CountBackend]]:
    count = CountBackend(world.memory)
    with world.store(user=machine, through=count) as store:
        yield store, count


def directory(store: Store, job: str, path: Path, source: str | None = None) -> SyncableDirectory:
    return create_syncable_directory("model", path, source, job=Run(job, store))


def rewrite_region(path: Path, seed: str) -> None:
    with open(path, "r+b") as file:
        file.seek(LARGE // 2)
        file.write(seeded_bytes(seed, REGION))


@pytest.fixture
def source(world: StoreWorld, tmp_path: Path) -> Path:
    """Job 42 has uploaded a large file and some small ones, from a machine of its own."""
    edit_tree(tmp_path / "of-42", {b"large": seeded_bytes("large", LARGE), b"a/b": b"small", b"c": b"c"})
    with world.store(user="of 42") as store:
        directory(store, "42", tmp_path / "of-42").upload()
    return tmp_path / "of-42"


def test_the_first_upload_of_a_job_sends_only_what_it_changed_in_its_sources_files(
    world: StoreWorld, source: Path, tmp_path: Path
) -> None:
    with counted(world, "b") as (store, count):
        synced = directory(store, "43", tmp_path / "b", "42")
        rewrite_region(tmp_path / "b" / "large", "other")
        count.reset()
        done = synced.upload()
        assert count.counts.sent_bytes < MOVED
        assert done.sent_bytes < MOVED
        assert count.counts.received_bytes < 100_000
        assert count.counts.request_count <= 24
    assert world_holds(world, tmp_path, "43") == tree_at(tmp_path / "b")


def test_the_first_upload_of_what_came_from_the_source_unchanged_sends_no_content(
    world: StoreWorld, source: Path, tmp_path: Path
) -> None:
    with counted(world, "b") as (store, count):
        synced = directory(store, "43", tmp_path / "b", "42")
        count.reset()
        assert (synced.upload().new_bytes, synced.upload().action) == (0, "unchanged")
        assert count.counts.sent_bytes < 20_000


def test_later_uploads_send_only_the_change_too(world: StoreWorld, source: Path, tmp_path: Path) -> None:
    with counted(world, "b") as (store, count):
        synced = directory(store, "43", tmp_path / "b", "42")
        for number in range(3):
            rewrite_region(tmp_path / "b" / "large", f"{number}")
            count.reset()
            synced.upload()
            assert count.counts.sent_bytes < MOVED
            assert count.counts.request_count <= (24 if number == 0 else 18)


def test_after_news_from_the_source_they_are_not_sent_again(world: StoreWorld, source: Path, tmp_path: Path) -> None:
    with counted(world, "b") as (store, count), world.store(user="of 42") as theirs:
        synced = directory(store, "43", tmp_path / "b", "42")
        edit_tree(tmp_path / "b", {b"c": b"mine"})
        synced.upload()
        edit_tree(source, {b"more": seeded_bytes("more", LARGE)})
        directory(theirs, "42", source).upload()
        synced.download()
        count.reset()
        assert synced.upload().number == 2
        assert count.counts.sent_bytes < MOVED


def test_a_download_onto_the_previous_state_fetches_only_the_change(
    world: StoreWorld, source: Path, tmp_path: Path
) -> None:
    with counted(world, "b") as (store, count), world.store(user="of 42") as theirs:
        synced = directory(store, "43", tmp_path / "b", "42")
        rewrite_region(source / "large", "news")
        directory(theirs, "42", source).upload()
        count.reset()
        done = synced.download()
        assert done.fetched_bytes < MOVED
        assert done.reused_bytes > LARGE - MOVED
        assert count.counts.received_bytes < MOVED
        assert count.counts.request_count <= 16
        count.reset()
        assert synced.download().written == ()
        assert count.counts.request_count <= 3, "nothing new"
    assert tree_at(tmp_path / "b") == tree_at(source)


def test_a_job_that_begins_where_its_source_left_off_on_one_machine_fetches_nothing(
    world: StoreWorld, source: Path, tmp_path: Path
) -> None:
    with counted(world, "of 42") as (store, count):
        directory(store, "43", source, "42")
        assert count.counts.received_bytes < 50_000


@pytest.mark.parametrize(
    ("job", "of", "most"),
    [("new", None, 5), ("42", None, 9), ("43", "42", 14)],
    ids=["nothing there", "its own", "a source"],
)
def test_beginning_takes_few_requests(
    world: StoreWorld, source: Path, tmp_path: Path, job: str, of: str | None, most: int
) -> None:
    with counted(world, "b") as (store, count):
        directory(store, job, tmp_path / "b", of)
        assert count.counts.request_count <= most, count.counts


def test_an_unchanged_upload_takes_few_requests_and_sends_nothing(
    world: StoreWorld, source: Path, tmp_path: Path
) -> None:
    with counted(world, "of 42") as (store, count):
        synced = directory(store, "42", source)
        count.reset()
        assert synced.upload().action == "unchanged"
        assert count.counts.request_count <= 7
        assert count.counts.sent_bytes == 0


def world_holds(world: StoreWorld, folder: Path, job: str) -> object:
    with world.fresh_user() as store:
        directory(store, "reader", folder / "check", job)
    return tree_at(folder / "check")
