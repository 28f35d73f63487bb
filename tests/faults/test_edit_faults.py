"""Edits of versions and moves of aliases that are cut off, fail, or lose their reply."""

import contextlib
import logging

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.fault import (
    Crashed,
    ErrorAfter,
    ErrorBefore,
    Fault,
    FaultBackend,
    conflict,
    crash_at,
    permission_denied,
)
from artifactstore.errors import (
    CommitStateUnknown,
    ObjectExists,
    StorePermissionDenied,
    TransientBackendError,
    VersionDeleted,
    VersionExists,
)
from artifactstore.keys import NameKeys, label_key
from artifactstore.names import Latest, Name
from artifactstore.testing.clock import VirtualClock
from artifactstore.testing.interleave import Task
from artifactstore.testing.uploader import push
from artifactstore.transaction.edits import VersionEdit, edit_version
from artifactstore.transaction.resolve import resolve
from artifactstore.transaction.upload import Strategy
from artifactstore.transaction.versions import Version, list_slots, remove_version

NAME = Name("m")
KEYS = NameKeys(NAME)
CHANGE = VersionEdit(message="good", add_labels=("a",), set_metadata={"k": 1})


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.memory = MemoryBackend(clock=self.clock)
        self.version: Version = push(self.memory, self.clock, NAME.text, {b"f": b"x"}).version

    def edit(self, backend=None, change: VersionEdit = CHANGE) -> Version:  # type: ignore[no-untyped-def]
        return edit_version(backend or self.memory, self.clock, self.version, change)

    def faulty(self, *faults: Fault) -> FaultBackend:
        return FaultBackend(self.memory, faults=faults, clock=self.clock)

    @property
    def message(self) -> str:
        return resolve(self.memory, NAME, Latest()).notes.message


@pytest.fixture
def world() -> World:
    return World()


def requests_of_an_edit() -> int:
    world = World()
    counted = CountBackend(world.memory)
    world.edit(counted)
    return counted.counts.request_count


REQUESTS = range(1, requests_of_an_edit() + 1)


def check_finished(world: World) -> None:
    """The edit is made, once, and found by its label."""
    notes = resolve(world.memory, NAME, Latest()).notes
    assert (notes.message, notes.labels, notes.metadata) == ("good", ("a",), {"k": 1})
    assert [key for key in world.memory.keys() if key.startswith(KEYS.edits(1))] == [KEYS.edit(1, 1)]  # noqa: SIM118
    assert label_key("a", NAME, 1, 1, on=True) in world.memory.keys()  # noqa: SIM118


@pytest.mark.parametrize("nth", REQUESTS)
def test_an_edit_killed_before_any_request_is_made_whole_or_not_and_the_next_run_finishes_it(
    world: World, nth: int
) -> None:
    with pytest.raises(Crashed):
        world.edit(world.faulty(crash_at(nth)))
    assert world.message in ("", "good")
    world.edit()
    check_finished(world)


@pytest.mark.parametrize("nth", REQUESTS)
@pytest.mark.parametrize("action", [ErrorBefore(), ErrorAfter(), ErrorAfter(conflict)], ids=["none", "lost", "409"])
def test_a_request_that_fails_once_leaves_one_whole_edit_after_the_next_run(
    world: World, nth: int, action: ErrorBefore | ErrorAfter
) -> None:
    # A reading that fails ends the edit: the layer below has tried again already.
    with contextlib.suppress(TransientBackendError, ObjectExists):
        world.edit(world.faulty(Fault(nth=nth, action=action)))
    assert world.message in ("", "good")
    world.edit()
    check_finished(world)


def test_an_edit_whose_reply_is_lost_is_made_once(world: World) -> None:
    world.edit(world.faulty(Fault(verb="put_if_absent", key="*/meta/*", action=ErrorAfter())))
    check_finished(world)


def test_an_edit_that_cannot_be_found_out_says_so(world: World) -> None:
    key = "*/meta/*"
    faulty = world.faulty(
        Fault(verb="put_if_absent", key=key, times=None, action=ErrorAfter()),
        Fault(verb="get", key=key, times=None, action=ErrorBefore()),
    )
    with pytest.raises(CommitStateUnknown, match="Nothing was removed"):
        world.edit(faulty)
    world.edit()
    check_finished(world)


def test_without_its_mark_no_edit_is_written(world: World) -> None:
    denied = Fault(verb="put_if_absent", key="*.edited", times=None, action=ErrorBefore(permission_denied))
    before = set(world.memory.keys())
    with pytest.raises(StorePermissionDenied):
        world.edit(world.faulty(denied))
    assert set(world.memory.keys()) == before


def test_the_mark_is_there_before_the_edit(world: World) -> None:
    task = Task(world.edit, world.memory)
    assert task.run_until("put_if_absent", "/meta/")
    assert KEYS.edited(1) in world.memory.keys()  # noqa: SIM118
    task.kill()
    assert world.message == ""
    world.edit()
    check_finished(world)


def test_readers_see_an_edit_as_soon_as_it_is_acknowledged(world: World) -> None:
    reader = Task(lambda backend: resolve(backend, NAME, Latest()), world.memory)
    assert reader.run_until("get", "/outcome")  # it has listed the slot, and seen no mark
    world.edit()
    assert reader.finish().notes.message == ""  # it began before
    assert world.message == "good"


def test_labels_whose_hint_failed_are_told_and_put_by_the_next_run(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        world.edit(world.faulty(Fault(verb="put", key="labels/*", times=None, action=ErrorBefore())))
    assert "run the same edit again" in caplog.text
    assert world.message == "good"
    world.edit()
    check_finished(world)


def test_an_edit_of_a_version_that_is_deleted_meanwhile_changes_nothing_that_is_read(world: World) -> None:
    task = Task(world.edit, world.memory)
    assert task.run_until("put_if_absent", "/meta/")
    remove_version(world.memory, world.clock, world.version)
    task.finish()
    with pytest.raises(VersionDeleted):
        resolve(world.memory, NAME, Latest())
    with pytest.raises(VersionDeleted):
        world.edit()


def test_slots_above_are_taken_and_decided_as_ever_while_versions_are_edited(world: World) -> None:
    world.edit()
    for text in (b"y", b"z"):
        version = push(world.memory, world.clock, NAME.text, {b"f": text}).version
        edit_version(world.memory, world.clock, version, CHANGE)
    assert [(state.number, state.deleted) for state in list_slots(world.memory, NAME)] == [
        (3, False),
        (2, False),
        (1, False),
    ]
    with pytest.raises(VersionExists):
        push(world.memory, world.clock, NAME.text, {b"f": b"!"}, strategy=Strategy.ERROR)
    skipped = push(world.memory, world.clock, NAME.text, {b"f": b"!"}, strategy=Strategy.SKIP)
    assert skipped.version.slot == 3
    assert push(world.memory, world.clock, NAME.text, {b"f": b"z"}).version.slot == 3
