"""Aliases, folders, the store's own record."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.fault import ErrorAfter, Fault, FaultBackend
from artifactstore.errors import Conflict, CorruptData, InvalidName, NameNotFound, StoreNotFound, UnsupportedFormat
from artifactstore.keys import STORE, NameKeys, item_record_key
from artifactstore.names import Name
from artifactstore.testing.clock import VirtualClock
from artifactstore.testing.uploader import push
from artifactstore.transaction.aliases import alias_history, drop_alias, list_aliases, move_alias, read_alias
from artifactstore.transaction.listing import (
    FolderItem,
    ItemKind,
    check_case,
    folder_exists,
    folder_state,
    holds_anything,
    list_folder,
    list_names,
    put_folder_record,
    put_name_removed,
)
from artifactstore.transaction.records import FolderState, StoreSettings, Writers, encode_record, fresh_nonce
from artifactstore.transaction.store_record import (
    StoreTraits,
    create_store,
    read_settings,
    read_store,
    write_settings,
)
from artifactstore.transaction.versions import Version, remove_version

NAME = Name("m")
TRAITS = StoreTraits(cut="fastcdc-v2020:16384:65536:262144", writers=Writers.MANY)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(clock: VirtualClock) -> MemoryBackend:
    return MemoryBackend(clock=clock)


def make(store: MemoryBackend, clock: VirtualClock, count: int) -> list[Version]:
    return [push(store, clock, "m", {b"f": str(n).encode()}).version for n in range(count)]


def test_every_move_of_an_alias_stays_in_its_history(store: MemoryBackend, clock: VirtualClock) -> None:
    """Fault 29: A, B, A are three moves."""
    a, b = make(store, clock, 2)
    for version in (a, b, a):
        move_alias(store, clock, "prod", to=version)
    history = list(alias_history(store, NAME, "prod"))
    assert [(m.number, m.slot) for m in history] == [(3, 1), (2, 2), (1, 1)]
    assert len({m.record.nonce for m in history}) == 3
    assert read_alias(store, NAME, "prod").tx == a.tx


def test_moving_an_alias_to_where_it_is_writes_nothing(store: MemoryBackend, clock: VirtualClock) -> None:
    (version,) = make(store, clock, 1)
    first = move_alias(store, clock, "prod", to=version)
    assert move_alias(store, clock, "prod", to=version) == first


def test_twenty_writers_of_one_alias_lose_no_acknowledged_move(store: MemoryBackend, clock: VirtualClock) -> None:
    """Fault 28."""
    made = make(store, clock, 20)
    moved: list[tuple[int, int]] = []

    def move(version: Version) -> None:
        result = move_alias(store, clock, "prod", to=version)
        moved.append((result.number, result.slot))

    threads = [threading.Thread(target=move, args=(version,)) for version in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history = [(m.number, m.slot) for m in alias_history(store, NAME, "prod")]
    assert sorted(history) == sorted(moved)
    assert [number for number, _ in history] == list(range(20, 0, -1))
    assert read_alias(store, NAME, "prod").slot == max(moved)[1]


def test_alias_move_whose_reply_is_lost_is_made_once(store: MemoryBackend, clock: VirtualClock) -> None:
    (version,) = make(store, clock, 1)
    faulty = FaultBackend(store, faults=[Fault(verb="put_if_absent", action=ErrorAfter())])
    assert move_alias(faulty, clock, "prod", to=version).number == 1
    assert len(list(alias_history(store, NAME, "prod"))) == 1


def test_aliases_are_listed_where_they_point_now(store: MemoryBackend, clock: VirtualClock) -> None:
    a, b = make(store, clock, 2)
    for alias, version in (("prod", a), ("beta", b), ("gone", a), ("prod", b)):
        move_alias(store, clock, alias, to=version)
    drop_alias(store, clock, NAME, "gone")
    store.put(NameKeys(NAME).aliases + "latest/9999999999999998-1", b"foreign")
    assert [(m.alias, m.slot) for m in list_aliases(store, NAME)] == [("beta", 2), ("prod", 2)]
    with pytest.raises(NameNotFound):
        read_alias(store, NAME, "gone")
    with pytest.raises(NameNotFound):
        drop_alias(store, clock, NAME, "gone")


@pytest.mark.parametrize("alias", ["latest", "v3", "a/b", "", ".x", "é"])
def test_computed_and_odd_aliases_are_refused(store: MemoryBackend, clock: VirtualClock, alias: str) -> None:
    (version,) = make(store, clock, 1)
    with pytest.raises(InvalidName):
        move_alias(store, clock, alias, to=version)


def test_folders_list_one_level_and_leave_out_what_is_not_ours(store: MemoryBackend, clock: VirtualClock) -> None:
    for name in ("top", "a/one", "a/b/two", "a/b/c/three"):
        push(store, clock, name, {b"f": b"x"})
    for key in ("names/.jobs/1/dir/@d/v/9999999999999998-1", "names/-odd/@x/v/1", "names/a/@/v/1", "names/stray"):
        store.put(key, b"?")
    put_folder_record(store, clock, "empty", state=FolderState.MADE)
    kinds = {kind: [i.text for i in list_folder(store) if i.kind is kind] for kind in ItemKind}
    assert kinds == {ItemKind.FOLDER: ["a", "empty"], ItemKind.NAME: ["top"]}
    assert set(list_folder(store, "a")) == {
        FolderItem(kind=ItemKind.NAME, text="a/one"),
        FolderItem(kind=ItemKind.FOLDER, text="a/b"),
    }
    assert sorted(n.text for n in list_names(store)) == ["a/b/c/three", "a/b/two", "a/one", "top"]
    assert list(list_folder(store, "empty")) == []


def test_folder_records_count_up_and_say_nothing_twice(store: MemoryBackend, clock: VirtualClock) -> None:
    assert folder_state(store, "x") is None
    said = [
        put_folder_record(store, clock, "x", state=state)
        for state in (FolderState.MADE, FolderState.MADE, FolderState.REMOVED, FolderState.REMOVED, FolderState.MADE)
    ]
    assert said == [True, False, True, False, True]
    assert folder_state(store, "x") is FolderState.MADE
    assert [last.rpartition("-")[2] for last in sorted(store.keys())] == ["3.made", "2.removed", "1.made"]
    with pytest.raises(InvalidName):
        put_folder_record(store, clock, "", state=FolderState.MADE)


def test_of_two_folder_records_that_crossed_each_other_the_made_one_counts(
    store: MemoryBackend, clock: VirtualClock
) -> None:
    for made in (True, False):
        store.put(item_record_key("", "x", 1, made=made), b"{}")
    assert folder_state(store, "x") is FolderState.MADE
    assert [item.text for item in list_folder(store)] == ["x"]


def listed(store: MemoryBackend, folder: str = "") -> list[str]:
    return [item.text for item in list_folder(store, folder)]


def test_made_folders_are_listed_in_their_place_among_names_and_folders(
    store: MemoryBackend, clock: VirtualClock
) -> None:
    for name in ("b/x", "d/x", "name"):
        push(store, clock, name, {b"f": b"x"})
    for folder in ("a", "b", "c", "e"):
        put_folder_record(store, clock, folder, state=FolderState.MADE)
    assert listed(store) == ["name", "a", "b", "c", "d", "e"]
    put_folder_record(store, clock, "c", state=FolderState.REMOVED)
    assert listed(store) == ["name", "a", "b", "d", "e"]


def test_removed_folder_is_left_out_until_something_is_in_it_again(store: MemoryBackend, clock: VirtualClock) -> None:
    version = push(store, clock, "a/b/name", {b"f": b"x"}).version
    put_folder_record(store, clock, "a", state=FolderState.REMOVED)
    assert listed(store) == ["a"] and folder_exists(store, "a")  # the record alone hides nothing
    remove_version(store, clock, version)
    assert listed(store) == [] and not folder_exists(store, "a")
    push(store, clock, "a/c/other", {b"f": b"x"})
    assert listed(store) == ["a"] and folder_exists(store, "a")


def test_removed_folder_is_there_again_when_a_folder_in_it_is_made(store: MemoryBackend, clock: VirtualClock) -> None:
    put_folder_record(store, clock, "a/b", state=FolderState.MADE)
    put_folder_record(store, clock, "a", state=FolderState.REMOVED)
    assert holds_anything(store, "a") and listed(store) == ["a"]
    put_folder_record(store, clock, "a/b", state=FolderState.REMOVED)
    assert not holds_anything(store, "a") and listed(store) == []


def test_removed_name_is_left_out_until_it_has_a_version_again(store: MemoryBackend, clock: VirtualClock) -> None:
    (version,) = make(store, clock, 1)
    put_name_removed(store, clock, NAME)
    assert listed(store) == ["m"]
    remove_version(store, clock, version)
    assert listed(store) == []
    assert [name.text for name in list_names(store)] == ["m"]
    push(store, clock, "m", {b"f": b"again"})
    assert listed(store) == ["m"]


def test_slot_that_was_never_committed_is_nothing_in_a_folder(store: MemoryBackend, clock: VirtualClock) -> None:
    version = push(store, clock, "a/name", {b"f": b"x"}).version
    store.put(NameKeys(version.name).slot(2), encode_record(version.record))  # its outcome names slot 1
    remove_version(store, clock, version)
    assert not holds_anything(store, "a")
    assert folder_exists(store, "a")  # nobody has removed it


@pytest.mark.parametrize("pool", [False, True], ids=["one by one", "at once"])
def test_a_listing_asks_once_for_records_and_once_for_each_thing_removed(
    store: MemoryBackend, clock: VirtualClock, pool: bool
) -> None:
    gone = [push(store, clock, f"gone{n}/x", {b"f": b"x"}).version for n in range(3)]
    for n in range(5):
        push(store, clock, f"there{n}/x", {b"f": b"x"})
    count = CountBackend(store)
    assert len(list(list_folder(count))) == 8
    assert count.counts.request_count == 1
    for version in gone:
        remove_version(store, clock, version)
        put_folder_record(store, clock, version.name.folder, state=FolderState.REMOVED)
    put_folder_record(store, clock, "never", state=FolderState.MADE)
    put_folder_record(store, clock, "never", state=FolderState.REMOVED)
    count = CountBackend(store)
    with ThreadPoolExecutor(2) as threads:
        items = list(list_folder(count, pool=threads if pool else None))
    assert [item.text for item in items] == [f"there{n}" for n in range(5)]
    assert count.counts.request_count == 2 + 3


def test_folder_that_is_not_there_does_not_exist(store: MemoryBackend, clock: VirtualClock) -> None:
    push(store, clock, "a/b/name", {b"f": b"x"})
    assert [folder for folder in ("", "a", "a/b", "a/b/name", "b", "nameless") if folder_exists(store, folder)] == [
        "",
        "a",
        "a/b",
    ]
    with pytest.raises(InvalidName):
        folder_exists(store, "a//b")


@pytest.mark.parametrize("name", ["Team/model", "team/Model", "TEAM/other"])
def test_name_that_differs_only_in_case_is_refused(store: MemoryBackend, clock: VirtualClock, name: str) -> None:
    push(store, clock, "team/model", {b"f": b"x"})
    with pytest.raises(Conflict, match="only in case"):
        check_case(store, Name(name))


@pytest.mark.parametrize("name", ["team/model", "team/other", "model", "team"])
def test_other_names_and_the_name_itself_are_not_twins(store: MemoryBackend, clock: VirtualClock, name: str) -> None:
    push(store, clock, "team/model", {b"f": b"x"})
    check_case(store, Name(name))


def test_store_record_is_made_once_by_whoever_is_first(store: MemoryBackend, clock: VirtualClock) -> None:
    with pytest.raises(StoreNotFound):
        read_store(store)
    first, ours = create_store(store, clock, traits=TRAITS)
    assert ours and len(first.store_id_bytes) == 16
    assert create_store(store, clock, traits=TRAITS) == (first, False)
    assert read_store(store) == first


def test_store_of_another_digest_or_a_damaged_record_is_refused(store: MemoryBackend, clock: VirtualClock) -> None:
    create_store(store, clock, traits=TRAITS)
    body = bytes(store.get(STORE))
    store.overwrite(STORE, body.replace(b"blake3-256", b"blake4-512"))
    with pytest.raises(UnsupportedFormat, match="blake4"):
        read_store(store)
    store.overwrite(STORE, body[:-20])
    with pytest.raises(CorruptData):
        read_store(store)


def test_newest_settings_count(store: MemoryBackend, clock: VirtualClock) -> None:
    assert read_settings(store) == (0, None)
    for number, writers in enumerate((Writers.SINGLE, Writers.MANY)):
        settings = StoreSettings(nonce=fresh_nonce(clock), writers=writers)
        assert write_settings(store, clock, after=number, settings=settings)
        assert read_settings(store) == (number + 1, settings)
    assert not write_settings(store, clock, after=1, settings=StoreSettings(nonce=fresh_nonce(clock)))
