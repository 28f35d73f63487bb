"""Folders: looking at them, making and removing them."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.artifacts.folders import delete_folder, folder_exists, list_folders, make_folder
from artifactstore.backend.wrappers.fault import ErrorBefore, Fault, permission_denied
from artifactstore.errors import (
    AliasProtected,
    FolderNotEmpty,
    InvalidName,
    NameNotFound,
    StorePermissionDenied,
    StoreReadOnly,
    TransientBackendError,
)
from artifactstore.keys import NameKeys
from artifactstore.names import Latest, Name
from artifactstore.store import PushOptions, RemoveOptions, Store
from artifactstore.testing.stores import StoreWorld, make_tree
from artifactstore.transaction.aliases import Guard, move_alias
from artifactstore.transaction.records import StoreSettings, Writers, fresh_nonce
from artifactstore.transaction.resolve import resolve
from artifactstore.transaction.store_record import write_settings


@pytest.fixture
def world(tmp_path: Path) -> StoreWorld:
    make_tree(tmp_path / "tree", {b"f": b"content"})
    return StoreWorld(tmp_path)


@pytest.fixture
def store(world: StoreWorld) -> Iterator[Store]:
    with world.store() as store:
        yield store


def push(world: StoreWorld, store: Store, name: str, content: bytes = b"content") -> None:
    make_tree(world.folder / "tree", {b"f": content})
    store.push(world.folder / "tree", name)


def listed(store: Store, folder: str = "") -> list[str]:
    return sorted(item.name + "/" * item.is_folder for item in store.list(folder))


# -- making --------------------------------------------------------------------------------------------


def test_made_folder_is_listed_while_it_is_empty(store: Store) -> None:
    assert make_folder(store, "models/vision")
    assert not make_folder(store, "models/vision/")
    assert listed(store) == ["models/"] and listed(store, "models") == ["models/vision/"]
    assert list(list_folders(store)) == ["models"]
    assert list(list_folders(store, recursive=True)) == ["models", "models/vision"]
    assert folder_exists(store, "models/vision") and folder_exists(store, "models/") and folder_exists(store, "")
    assert listed(store, "models/vision") == []


def test_folder_that_names_lie_in_exists_without_being_made(world: StoreWorld, store: Store) -> None:
    push(world, store, "models/vision/resnet")
    assert folder_exists(store, "models") and folder_exists(store, "models/vision")
    assert not folder_exists(store, "models/vision/resnet") and not folder_exists(store, "data")
    assert not make_folder(store, "models/vision")
    store.remove("models/vision/resnet", options=RemoveOptions(all_versions=True))
    assert folder_exists(store, "models/vision") and listed(store, "models") == ["models/vision/"]


def test_folder_without_its_parents_is_refused_unless_they_are_to_be_made(store: Store) -> None:
    with pytest.raises(NameNotFound, match="no folder a/b"):
        make_folder(store, "a/b/c", parents=False)
    assert listed(store) == []
    make_folder(store, "a/b")
    assert make_folder(store, "a/b/c", parents=False) and make_folder(store, "d", parents=False)
    assert list(list_folders(store, recursive=True)) == ["a", "a/b", "a/b/c", "d"]


def test_parents_stay_when_the_folder_in_them_is_removed(store: Store) -> None:
    make_folder(store, "a/b")
    delete_folder(store, "a/b")
    assert listed(store) == ["a/"]


@pytest.mark.parametrize(
    "folder", ["", "/", "/a", "a//b", "../a", ".hidden", "a/@b", "é", "a:v1", "/".join("abcdefghi")]
)
def test_odd_folders_are_refused_and_nothing_is_written(world: StoreWorld, store: Store, folder: str) -> None:
    before = world.memory.keys()
    with pytest.raises(InvalidName):
        make_folder(store, folder)
    with pytest.raises(InvalidName):
        delete_folder(store, folder, recursive=True)
    assert world.memory.keys() == before


def test_eight_folders_are_not_too_deep(store: Store) -> None:
    assert make_folder(store, "/".join("abcdefgh"))


def test_twenty_at_once_make_a_folder_once(world: StoreWorld, store: Store) -> None:
    threads = [threading.Thread(target=make_folder, args=(store, "a/b")) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [key for key in sorted(world.memory.keys()) if ".folder/" in key] == [
        "names/.folder/a/9999999999999998-1.made",
        "names/a/.folder/b/9999999999999998-1.made",
    ]


def test_where_one_may_write_nothing_is_made_or_removed(world: StoreWorld, store: Store) -> None:
    push(world, store, "a/x")
    single = StoreSettings(nonce=fresh_nonce(world.clock), writers=Writers.SINGLE)
    write_settings(world.memory, world.clock, after=0, settings=single)
    with pytest.raises(StoreReadOnly):
        make_folder(store, "b")
    with pytest.raises(StoreReadOnly):
        delete_folder(store, "a", recursive=True)
    assert delete_folder(store, "a", recursive=True, dry_run=True).versions == ("a/x:v1",)


# -- removing ------------------------------------------------------------------------------------------


def test_removed_folder_is_gone_and_can_be_made_again(store: Store) -> None:
    make_folder(store, "a")
    removal = delete_folder(store, "a")
    assert removal.folders == ("a",) and removal.versions == ()
    assert not folder_exists(store, "a") and listed(store) == []
    with pytest.raises(NameNotFound):
        delete_folder(store, "a")
    assert make_folder(store, "a") and listed(store) == ["a/"]


def test_folder_with_something_in_it_is_not_removed_by_accident(world: StoreWorld, store: Store) -> None:
    push(world, store, "a/b/x")
    make_folder(store, "c/d")
    for folder in ("a", "a/b", "c"):
        with pytest.raises(FolderNotEmpty, match=folder):
            delete_folder(store, folder)
    assert world.live("a/b/x") == ["a/b/x:v1"]
    assert list(list_folders(store, recursive=True)) == ["a", "a/b", "c", "c/d"]


def test_folder_whose_versions_are_all_deleted_is_empty(world: StoreWorld, store: Store) -> None:
    push(world, store, "a/x")
    store.remove("a/x:v1")
    assert listed(store, "a") == []
    delete_folder(store, "a")
    assert listed(store) == []


def test_recursive_removal_deletes_all_versions_below(world: StoreWorld, store: Store) -> None:
    for name in ("a/x", "a/b/y", "ab", "x"):
        push(world, store, name)
    push(world, store, "a/x", b"second")
    store.set_alias("a/x:v1", "prod")
    make_folder(store, "a/empty")
    planned = delete_folder(store, "a", recursive=True, dry_run=True)
    assert planned.dry_run and world.live("a/x") == ["a/x:v2", "a/x:v1"] and listed(store, "a")
    removal = delete_folder(store, "a", recursive=True)
    assert removal.folders[-1] == "a" and set(removal.folders) == {"a", "a/b", "a/empty"}
    assert sorted(removal.versions) == ["a/b/y:v1", "a/x:v1", "a/x:v2"]
    assert removal.aliases == ("a/x:prod",)
    assert (planned.folders, planned.versions, planned.aliases) == (removal.folders, removal.versions, removal.aliases)
    assert listed(store) == ["ab", "x"] and listed(store, "a") == [] and listed(store, "a/b") == []
    assert not world.live("a/x") and world.live("ab") and world.live("x")


def test_push_into_a_removed_folder_brings_it_back(world: StoreWorld, store: Store) -> None:
    push(world, store, "a/b/x")
    push(world, store, "a/b/y")
    delete_folder(store, "a", recursive=True)
    push(world, store, "a/b/x")
    assert listed(store) == ["a/"] and listed(store, "a") == ["a/b/"] and listed(store, "a/b") == ["a/b/x"]
    assert world.live("a/b/x") == ["a/b/x:v2"]


def test_protected_alias_in_a_folder_stands_in_the_way_of_all_of_it(world: StoreWorld, store: Store) -> None:
    for name in ("a/first", "a/second"):
        push(world, store, name)
    version = resolve(world.memory, Name("a/second"), Latest())
    move_alias(world.memory, world.clock, "prod", to=version, guard=Guard(protect=True))
    with pytest.raises(AliasProtected, match="prod"):
        delete_folder(store, "a", recursive=True)
    with pytest.raises(AliasProtected, match="prod"):
        delete_folder(store, "a", recursive=True, dry_run=True)
    assert world.live("a/first") and world.live("a/second")
    assert len(delete_folder(store, "a", recursive=True, force=True).versions) == 2
    assert listed(store) == []


def test_removal_that_was_cut_off_goes_on(world: StoreWorld, store: Store) -> None:
    for name in ("a/x", "a/y"):
        push(world, store, name)
    refused = ErrorBefore(permission_denied)
    fault = Fault(verb="put_if_absent", key=NameKeys(Name("a/y")).slots + "*", action=refused, times=None)
    with world.store(through=world.faulty(fault)) as failing, pytest.raises(StorePermissionDenied):
        delete_folder(failing, "a", recursive=True)
    assert not world.live("a/x") and world.live("a/y") and listed(store) == ["a/"]
    assert delete_folder(store, "a", recursive=True).versions == ("a/y:v1",)
    assert listed(store) == []


def test_storage_that_fails_is_an_error_not_an_empty_folder(world: StoreWorld, store: Store) -> None:
    push(world, store, "a/x")
    fault = Fault(verb="list*", key="names/*", action=ErrorBefore(), times=None)
    with world.store(through=world.faulty(fault)) as failing:
        for look in (lambda: folder_exists(failing, "a"), lambda: delete_folder(failing, "a", recursive=True)):
            with pytest.raises(TransientBackendError):
                look()
        with pytest.raises(TransientBackendError):
            list(list_folders(failing))


def test_folders_of_nothing_are_not_found(store: Store) -> None:
    assert list(list_folders(store)) == []
    with pytest.raises(NameNotFound):
        list_folders(store, "nowhere")
    with pytest.raises(InvalidName):
        list_folders(store, "../x")


def test_removed_name_is_listed_no_more_until_it_is_pushed_again(world: StoreWorld, store: Store) -> None:
    push(world, store, "a")
    push(world, store, "b")
    push(world, store, "b", b"second")
    store.remove("a", options=RemoveOptions(all_versions=True))
    store.remove("b:v2")
    assert listed(store) == ["b"]
    store.remove("b:v1")
    assert listed(store) == []
    store.push(world.folder / "tree", "a", options=PushOptions())
    assert listed(store) == ["a"]
