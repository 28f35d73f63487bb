"""What a pull writes into local state about the files it left or made."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.fault import Fault, Meanwhile
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.dedup.rows import RACY_SECONDS, DirectoryRows
from artifactstore.dedup.state import LocalState
from artifactstore.store import Store
from artifactstore.testing.stores import StoreWorld, make_tree
from artifactstore.transfer import pull as pulls
from artifactstore.transfer.found import found_file


@pytest.fixture
def world(tmp_path: Path) -> StoreWorld:
    make_tree(tmp_path / "tree", {b"kept": b"content", b"made": b"more content"})
    world = StoreWorld(tmp_path)
    with world.store(user="another machine") as store:
        store.push(tmp_path / "tree", "name")
    return world


def pull(world: StoreWorld, *, looked_seconds_after: float, seconds: float) -> tuple[Path, DirectoryRows]:
    """Pull to where one file is already, that long after it was written, and for that long."""
    place = world.folder / "place"
    make_tree(place, {b"kept": b"content"})
    world.virtual_clock.set_now((place / "kept").stat().st_ctime + looked_seconds_after)
    slow = Fault(verb="get_range", action=Meanwhile(lambda: world.virtual_clock.advance(seconds)))
    faulty = world.faulty(slow)
    with world.store(through=faulty) as store:
        store.pull("name", place)
        rows = store._state.load_directory(
            bytes.fromhex(store.store_id), os.path.realpath(os.fsencode(place)), cut=store.record.cut
        )
    assert faulty.hits
    assert rows is not None
    return place, rows


def row_of(place: Path, name: str, rows: DirectoryRows) -> int | None:
    return rows.find(found_file(name.encode(), (place / name).stat(), 0))


def test_file_that_was_fresh_when_the_pull_looked_at_it_is_looked_at_again_next_time(world: StoreWorld) -> None:
    """Fault 47: it may have changed after that within the resolution of its times, however long the pull took."""
    place, rows = pull(world, looked_seconds_after=RACY_SECONDS / 2, seconds=60)
    assert row_of(place, "kept", rows) is None
    assert row_of(place, "made", rows) is not None


def test_file_that_was_left_alone_before_the_pull_is_known_afterwards(world: StoreWorld) -> None:
    place, rows = pull(world, looked_seconds_after=RACY_SECONDS + 1, seconds=0)
    assert row_of(place, "kept", rows) is not None


def known_after_edit(world: StoreWorld, edit: Callable[[Path], object]) -> tuple[bool, bool]:
    """Whether a file that a pull has just written is known, and still is after an edit, by clocks as they are."""
    place = world.folder / "place"
    state = LocalState(world.folder / "state", clock=SYSTEM_CLOCK)
    with Store(world.memory.url, world.memory, state=state, clock=SYSTEM_CLOCK) as store:
        store.pull("name", place)
        rows = state.load_directory(bytes.fromhex(store.store_id), os.fsencode(place), cut=store.record.cut)
        assert rows is not None
        before = row_of(place, "made", rows) is not None
        edit(place / "made")
        return before, row_of(place, "made", rows) is not None


def test_file_that_a_pull_wrote_is_known_at_once_and_an_edit_at_once_shows(world: StoreWorld) -> None:
    assert known_after_edit(world, lambda path: path.write_bytes(b"MORE CONTENT")) == (True, False)


def test_where_the_file_system_gives_no_later_times_a_fresh_file_is_looked_at_again(
    world: StoreWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulls, "_TICKS", 0)
    assert known_after_edit(world, lambda path: None) == (False, False)


def test_where_no_time_can_be_asked_for_a_fresh_file_is_looked_at_again(
    world: StoreWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)
    assert known_after_edit(world, lambda path: None) == (False, False)
    assert sorted(os.listdir(world.folder / "place")) == ["kept", "made"]
