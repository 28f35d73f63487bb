"""Moving names and folders: by reference, whole or to be continued, and nothing is ever lost."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from artifactstore.artifacts.folders import list_folders, make_folder
from artifactstore.artifacts.moves import MoveResult, VersionMove, move
from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.fault import (
    Crashed,
    ErrorBefore,
    Fault,
    FaultBackend,
    Meanwhile,
    crash_at,
    permission_denied,
)
from artifactstore.errors import (
    Conflict,
    InvalidName,
    NameNotFound,
    SourceChanged,
    StorePermissionDenied,
    StoreReadOnly,
    VersionDeleted,
)
from artifactstore.keys import PACKS, NameKeys, root_key, run_key
from artifactstore.names import Name, Slot
from artifactstore.store import PushOptions, RemoveOptions
from artifactstore.testing.stores import StoreWorld, Tree, make_tree, stored_things
from artifactstore.transaction.aliases import Guard, list_aliases, move_alias
from artifactstore.transaction.edits import VersionEdit, edit_version
from artifactstore.transaction.listing import list_whole_folder
from artifactstore.transaction.records import StoreSettings, Writers, fresh_nonce
from artifactstore.transaction.resolve import resolve
from artifactstore.transaction.roots import load_root
from artifactstore.transaction.runs import encode_condemned
from artifactstore.transaction.store_record import write_settings
from artifactstore.transaction.versions import live_versions, read_tombstone, read_whole_version

PLAIN = PushOptions()
OPTIONS = PushOptions(
    message="the message",
    labels=("good", "small"),
    metadata={"a": [1, {"b": None}]},
    ttl_seconds=3600.0,
    made_by="job-1",
)


class World(StoreWorld):
    """With a store that is open, and versions made of a text each."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.opened = self.store()

    def push(self, name: str, *contents: str, options: PushOptions = PLAIN) -> None:
        for content in contents:
            make_tree(self.folder / "tree", tree_of(content))
            self.opened.push(self.folder / "tree", name, options=options)

    def contents(self, name: str) -> list[str]:
        """What its live versions hold, the oldest first."""
        return contents(self.memory, name)

    def listed(self, folder: str = "") -> list[str]:
        return sorted(item.name + "/" * item.is_folder for item in self.opened.list(folder))


def tree_of(content: str) -> Tree:
    return {b"f": content.encode(), b"same": b"the same in all"}


def contents(memory: MemoryBackend, name: str) -> list[str]:
    live = list(live_versions(memory, Name(name)))
    return [stored_things(memory, version.text)[b"f"].content.decode() for version in reversed(live)]  # type: ignore[union-attr]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.opened.close()


# -- names ---------------------------------------------------------------------------------------------


def test_name_moves_with_all_its_versions_in_order(world: World) -> None:
    world.push("old", "one", "two", "three")
    result = move(world.opened, "old", "new/place")
    assert world.contents("new/place") == ["one", "two", "three"] and world.contents("old") == []
    (name,) = result.names
    assert (name.old, name.new) == ("old", "new/place") and not result.is_folder
    assert name.versions == tuple(VersionMove(old=f"old:v{n}", new=f"new/place:v{n}") for n in (1, 2, 3))
    assert not name.renumbered
    assert world.listed() == ["new/"] and world.listed("new") == ["new/place"]


def test_content_is_neither_read_nor_sent(world: World) -> None:
    world.push("old", "one", "two")
    packs = world.packs()
    counting = CountBackend(world.memory)
    faulty = FaultBackend(counting, faults=[Fault(key=PACKS + "*", action=ErrorBefore(), times=None)])
    with world.store(through=faulty) as store:
        move(store, "old", "new")
    assert world.packs() == packs
    assert counting.counts.sent_bytes < 20_000


def test_all_that_is_known_of_a_version_is_kept(world: World) -> None:
    world.push("raw", "raw")
    world.push("old", "one", options=OPTIONS)
    world.push("old", "two", options=PushOptions(made_from=("raw",)))
    before = [world.opened.show("old:v1"), world.opened.show("old:v2")]
    world.virtual_clock.advance(60)
    move(world.opened, "old", "new")
    for old, number in zip(before, (1, 2), strict=True):
        new = world.opened.show(f"new:v{number}")
        for field in (
            "content_digest", "message", "labels", "metadata", "expires", "git", "made_by", "made_from",
            "files", "links", "directories", "references", "content_bytes", "stored_bytes",
        ):  # fmt: skip
            assert getattr(new, field) == getattr(old, field), field
        assert new.moved_from is not None and new.moved_from.version == old.version and new.moved_from.tx == old.tx
        assert new.new_bytes == 0 and new.created > old.created
    assert [info.version for info in world.opened.find(labels="good")] == ["new:v1"]


def test_versions_of_equal_content_stay_two(world: World) -> None:
    world.push("old", "same", "other", "same")
    world.opened.remove("old:v2")
    result = move(world.opened, "old", "new")
    assert world.contents("new") == ["same", "same"]
    assert result.names[0].renumbered == (VersionMove(old="old:v3", new="new:v2"),)


def test_gaps_are_closed_and_reported(world: World) -> None:
    world.push("old", *"abcde")
    for number in (1, 4):
        world.opened.remove(f"old:v{number}")
    planned = move(world.opened, "old", "new", dry_run=True)
    result = move(world.opened, "old", "new")
    assert world.contents("new") == ["b", "c", "e"]
    assert [(m.old, m.new) for m in result.names[0].versions] == [
        ("old:v2", "new:v1"),
        ("old:v3", "new:v2"),
        ("old:v5", "new:v3"),
    ]
    assert planned.names == result.names and len(result.names[0].renumbered) == 3


def test_name_whose_versions_were_deleted_may_be_moved_to_and_numbers_go_on(world: World) -> None:
    world.push("new", "x", "y")
    world.opened.remove("new", options=RemoveOptions(all_versions=True))
    world.push("old", "a")
    planned = move(world.opened, "old", "new", dry_run=True)
    assert planned.names == move(world.opened, "old", "new").names
    assert planned.names[0].versions == (VersionMove(old="old:v1", new="new:v3"),)


def test_dry_run_writes_nothing(world: World) -> None:
    world.push("old", "a")
    world.push("f/x", "b")
    make_folder(world.opened, "f/empty")
    before = world.memory.keys()
    with world.store(user="other") as store:
        assert move(store, "old", "new", dry_run=True).dry_run
        move(store, "f", "g", dry_run=True)
    assert world.memory.keys() == before


def test_old_versions_are_deleted_and_say_where_they_are_now(world: World) -> None:
    world.push("old", "a")
    old = resolve(world.memory, Name("old"), Slot(1))
    move(world.opened, "old", "new")
    with pytest.raises(VersionDeleted):
        world.opened.show("old:v1")
    tombstone = read_tombstone(world.memory, Name("old"), 1)
    assert tombstone is not None and tombstone.reason == "moved to new:v1"
    new = resolve(world.memory, Name("new"), Slot(1))
    assert tombstone.moved_to == new.pin and new.record.moved_from == old.pin


def test_name_moves_into_a_folder(world: World) -> None:
    world.push("a/old", "x")
    assert move(world.opened, "a/old", "b/").new == "b/old"
    assert move(world.opened, "b/old", "b/old2").new == "b/old2"
    with pytest.raises(InvalidName):
        move(world.opened, "b/old2", "/")


def test_name_goes_before_a_folder_of_that_name_unless_there_is_a_slash(world: World) -> None:
    world.push("a", "name")
    world.push("a/b", "inside")
    assert not move(world.opened, "a", "c").is_folder
    assert world.contents("c") == ["name"] and world.contents("a/b") == ["inside"]
    world.push("a", "again")
    assert move(world.opened, "a/", "d").is_folder
    assert world.contents("d/b") == ["inside"] and world.contents("a") == ["again"]


def test_folder_in_a_name_of_the_same_text_is_no_obstacle(world: World) -> None:
    world.push("a", "x")
    move(world.opened, "a", "a/a")
    assert world.contents("a/a") == ["x"]


# -- aliases -------------------------------------------------------------------------------------------


def test_aliases_move_too_and_protected_ones_stay_protected(world: World) -> None:
    world.push("old", "a", "b", "c")
    world.opened.remove("old:v1")
    for alias, number, protect in (("prod", 2, True), ("beta", 3, False)):
        version = resolve(world.memory, Name("old"), Slot(number))
        move_alias(world.memory, world.clock, alias, to=version, guard=Guard(protect=protect))
    result = move(world.opened, "old", "new")
    assert sorted(result.names[0].aliases) == ["beta", "prod"]
    at_new = {m.alias: (m.slot, m.protected) for m in list_aliases(world.memory, Name("new"))}
    assert at_new == {"prod": (1, True), "beta": (2, False)}
    assert not list(list_aliases(world.memory, Name("old")))
    world.push("old", "again", options=PushOptions(aliases=("prod",)))


def test_alias_of_a_deleted_version_stays_behind(world: World) -> None:
    world.push("old", "a", "b")
    world.opened.set_alias("old:v1", "stale")
    world.opened.remove("old:v1")
    assert move(world.opened, "old", "new").names[0].aliases == ()
    assert not list(list_aliases(world.memory, Name("new")))


# -- refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("nothing", "new", NameNotFound),
        ("nothing/", "new", NameNotFound),
        ("old", "old", InvalidName),
        ("old", "taken", Conflict),
        ("old:v1", "new", InvalidName),
        ("old", "new:v1", InvalidName),
        ("old", "../new", InvalidName),
        ("old", "", InvalidName),
        ("", "new", InvalidName),
        ("f", "f", InvalidName),
        ("f", "f/g", InvalidName),
        ("f/", "f/g/h", InvalidName),
        ("f/", "f/", InvalidName),
        ("f", "full", Conflict),
        ("/", "new", InvalidName),
        ("f", "/".join("abcdefghi"), InvalidName),
        ("deep", "/".join("abcdefg"), InvalidName),
        ("old", "/".join(["x" * 128] * 7), InvalidName),
    ],
)
def test_what_can_not_be_is_refused_up_front(world: World, old: str, new: str, error: type[Exception]) -> None:
    world.push("old", "a")
    world.push("taken", "b")
    world.push("f/x", "c")
    world.push("full/y", "d")
    world.push("deep/1/2/3", "e")
    before = world.memory.keys()
    for dry_run in (True, False):
        with pytest.raises(error):
            move(world.opened, old, new, dry_run=dry_run)
    assert world.memory.keys() == before


def test_place_that_is_taken_says_that_nothing_was_moved(world: World) -> None:
    world.push("old", "a")
    world.push("taken", "a")  # of the same content, and yet somebody else's
    with pytest.raises(Conflict, match="Nothing was moved"):
        move(world.opened, "old", "taken")


def test_second_move_to_where_the_first_one_went_is_refused(world: World) -> None:
    world.push("old", "a")
    move(world.opened, "old", "new")
    world.push("old", "b")
    with pytest.raises(Conflict):
        move(world.opened, "old", "new")
    assert world.contents("old") == ["b"] and world.contents("new") == ["a"]


def test_where_one_may_write_nothing_is_moved(world: World) -> None:
    world.push("old", "a")
    single = StoreSettings(nonce=fresh_nonce(world.clock), writers=Writers.SINGLE)
    write_settings(world.memory, world.clock, after=0, settings=single)
    with pytest.raises(StoreReadOnly):
        move(world.opened, "old", "new")


# -- folders -------------------------------------------------------------------------------------------


def test_folder_moves_with_all_that_is_in_it(world: World) -> None:
    world.push("a/x", "x1", "x2")
    world.push("a/b/y", "y1")
    world.push("ab", "not in it")
    make_folder(world.opened, "a/empty/inner")
    world.opened.set_alias("a/x:v1", "prod")
    result = move(world.opened, "a", "c/d")
    assert result.is_folder and [name.new for name in result.names] == ["c/d/b/y", "c/d/x"]
    assert world.contents("c/d/x") == ["x1", "x2"] and world.contents("c/d/b/y") == ["y1"]
    assert world.opened.show("c/d/x:prod").version == "c/d/x:v1"
    assert list(list_folders(world.opened, recursive=True)) == [
        "c", "c/d", "c/d/b", "c/d/empty", "c/d/empty/inner",
    ]  # fmt: skip
    assert world.listed() == ["ab", "c/"]


def test_folder_moves_into_another_and_onto_an_empty_one(world: World) -> None:
    world.push("a/x", "x")
    assert move(world.opened, "a/", "b/").new == "b/a"
    make_folder(world.opened, "empty")
    move(world.opened, "b/a", "empty")
    assert world.contents("empty/x") == ["x"]


def test_folder_moves_up_into_its_own_parent_only_if_that_is_free(world: World) -> None:
    world.push("a/b/x", "x")
    with pytest.raises(Conflict):
        move(world.opened, "a/b", "a")
    move(world.opened, "a/b", "top")
    assert world.contents("top/x") == ["x"]


def test_empty_folder_moves(world: World) -> None:
    make_folder(world.opened, "a/b")
    move(world.opened, "a", "c")
    assert list(list_folders(world.opened, recursive=True)) == ["c", "c/b"]


def test_place_with_a_folder_in_it_is_taken(world: World) -> None:
    world.push("a/x", "x")
    make_folder(world.opened, "c/somebodys")
    with pytest.raises(Conflict):
        move(world.opened, "a", "c")
    assert world.contents("a/x") == ["x"]


def test_one_name_that_would_be_too_long_keeps_the_whole_folder_in_place(world: World) -> None:
    world.push("a/x", "x")
    world.push("a/" + "y" * 120, "y")
    with pytest.raises(InvalidName):
        move(world.opened, "a", "/".join(["z" * 120] * 5))
    assert world.contents("a/x") == ["x"] and world.listed() == ["a/"]


# -- cut off, and run again ------------------------------------------------------------------------------


def prepare(world: World) -> None:
    world.push("a/x", "x1", "x2", "x3")
    world.opened.remove("a/x:v2")
    world.push("a/b/y", "y1")
    make_folder(world.opened, "a/empty")
    version = resolve(world.memory, Name("a/x"), Slot(1))
    move_alias(world.memory, world.clock, "prod", to=version, guard=Guard(protect=True))


def snapshot(memory: MemoryBackend) -> dict[str, bytes]:
    return {key: bytes(memory.get(key)) for key in memory.keys()}  # noqa: SIM118 - a method, no mapping


def restore(memory: MemoryBackend, objects: dict[str, bytes]) -> None:
    for key in list(memory.keys()):
        memory.delete(key)
    for key, body in objects.items():
        memory.put(key, body)


def somewhere(memory: MemoryBackend, *names: str) -> set[str]:
    return {content for name in names for content in contents(memory, name)}


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
def test_move_that_dies_at_any_request_loses_nothing_and_goes_on(world: World, after_effect: bool) -> None:
    prepare(world)
    start = snapshot(world.memory)
    with world.store(through=(counting := CountBackend(world.memory)), jobs=1) as store:
        move(store, "a", "z")
    expected = {"x": ["x1", "x3"], "b/y": ["y1"]}
    first = world.stored("z/x:prod")
    resumed = 0
    for request in range(1, counting.counts.request_count + 1, 2):
        restore(world.memory, start)
        faulty = world.faulty(crash_at(request, after_effect=after_effect))
        with world.store(through=faulty, jobs=1) as store:
            try:
                move(store, "a", "z")
            except (Crashed, BaseExceptionGroup):
                pass
            else:
                continue
        resumed += 1
        assert somewhere(world.memory, "a/x", "z/x") == {"x1", "x3"}, request
        assert somewhere(world.memory, "a/b/y", "z/b/y") == {"y1"}, request
        with world.fresh_user() as store:
            try:
                move(store, "a", "z")
            except NameNotFound:
                assert world.contents("a/x") == [] == world.contents("a/b/y")  # all that was left was to say so
        for name, wanted in expected.items():
            assert world.contents(f"z/{name}") == wanted, (request, name)
            assert world.contents(f"a/{name}") == [], (request, name)
        (alias,) = list_aliases(world.memory, Name("z/x"))
        assert alias.protected and world.stored("z/x:prod") == first, request
        assert not list(list_aliases(world.memory, Name("a/x"))), request
        assert list(list_folders(world.opened, recursive=True)) == ["z", "z/b", "z/empty"], request
    assert resumed > 30


def test_name_whose_move_was_done_but_could_not_say_so_is_reported_as_moved(world: World) -> None:
    world.push("old", "a")
    move(world.opened, "old", "new")
    again = move(world.opened, "old", "new")
    assert again.names[0].versions == (VersionMove(old="old:v1", new="new:v1"),)
    assert world.contents("new") == ["a"]


# -- meanwhile (fault 36) ------------------------------------------------------------------------------


def moving_while(world: World, happens: Callable[[], None], *, verb: str, key: str) -> MoveResult:
    """A move, and what somebody else does right before its first such request."""
    fault = Fault(verb=verb, key=key, action=Meanwhile(happens))
    with world.store(through=world.faulty(fault), jobs=1) as store:
        return move(store, "old", "new")


def test_version_deleted_before_it_is_copied_stops_the_move_and_loses_nothing_else(world: World) -> None:
    world.push("old", "a", "b")

    def delete() -> None:
        with world.store(user="other") as store:
            store.remove("old:v1")

    with pytest.raises(VersionDeleted, match="old:v1 was deleted while it was copied"):
        moving_while(world, delete, verb="get", key=root_key(resolve(world.memory, Name("old"), Slot(1)).tx))
    assert world.contents("old") == ["b"] and world.contents("new") == []
    move(world.opened, "old", "new")
    assert world.contents("new") == ["b"]


def test_version_deleted_after_its_copy_was_looked_at_is_kept_by_the_copy(world: World) -> None:
    world.push("old", "a", "b")

    def delete() -> None:
        with world.store(user="other") as store:
            store.remove("old:v1")

    moving_while(world, delete, verb="put", key="tx/*/root")
    assert world.contents("new") == ["a", "b"] and world.contents("old") == []


def test_version_whose_packs_are_condemned_is_not_copied_and_not_deleted(world: World) -> None:
    """As if it had been deleted long ago, and a collection came on between the two looks at `gc/`."""
    world.push("old", "a", "b")
    packs = [row.pack for row in load_root(world.memory, resolve(world.memory, Name("old"), Slot(1))).packs]

    def condemn() -> None:
        world.memory.put(run_key(0, "list"), encode_condemned(packs, nonce=bytes(16)))  # type: ignore[arg-type]

    with pytest.raises(SourceChanged, match="collect"):
        moving_while(world, condemn, verb="put", key="tx/*/root")
    assert world.contents("old") == ["a", "b"] and world.contents("new") == []


def test_what_is_pushed_to_the_old_name_meanwhile_is_moved_too(world: World) -> None:
    world.push("old", "a", "b")

    def push() -> None:
        world.push("old", "c")

    result = moving_while(world, push, verb="put_if_absent", key=NameKeys(Name("new")).slot(2))
    assert world.contents("new") == ["a", "b", "c"] and world.contents("old") == []
    assert len(result.names[0].versions) == 3


def test_what_is_pushed_to_the_old_name_at_the_end_stays_there(world: World) -> None:
    world.push("old", "a")

    def push() -> None:
        world.push("old", "b")

    moving_while(world, push, verb="put_if_absent", key="*.deleted")
    assert world.contents("new") == ["a"] and world.contents("old") == ["b"]
    assert world.listed() == ["new", "old"]


def test_what_is_pushed_to_the_new_name_meanwhile_stays_there(world: World) -> None:
    world.push("old", "a", "b")

    def push() -> None:
        world.push("new", "stranger")

    moving_while(world, push, verb="put_if_absent", key=NameKeys(Name("new")).slot(2))
    assert world.contents("new") == ["a", "stranger", "b"] and world.contents("old") == []


def test_edit_of_a_version_that_is_copied_already_reaches_the_copy(world: World) -> None:
    world.push("old", "a", options=OPTIONS)
    world.push("old", "b")

    def edit() -> None:
        change = VersionEdit(message="edited", add_labels=("new",), remove_labels=("good",), set_metadata={"k": 1})
        edit_version(world.memory, world.clock, resolve(world.memory, Name("old"), Slot(1)), change)

    moving_while(world, edit, verb="put_if_absent", key=NameKeys(Name("new")).slot(2))
    new = world.opened.show("new:v1")
    assert (new.message, new.labels) == ("edited", ("small", "new"))
    assert new.metadata == {"a": [1, {"b": None}], "k": 1} and new.expires
    assert [info.version for info in world.opened.find(labels="new")] == ["new:v1"]
    assert not list(world.opened.find(labels="good"))


def test_edits_made_before_are_kept(world: World) -> None:
    world.push("old", "a", options=OPTIONS)
    version = resolve(world.memory, Name("old"), Slot(1))
    edit_version(world.memory, world.clock, version, VersionEdit(message="edited", remove_labels=("good",)))
    move(world.opened, "old", "new")
    new = next(live_versions(world.memory, Name("new"), reader=read_whole_version))
    assert new.notes.message == new.record.message == "edited" and new.notes.labels == ("small",)


def test_copy_that_is_not_the_same_is_found_before_anything_is_deleted(world: World) -> None:
    world.push("old", "a", "b")
    slots = NameKeys(Name("old")).slots
    refused = Fault(verb="put_if_absent", key=f"{slots}*", action=ErrorBefore(permission_denied), times=None)
    with world.store(through=world.faulty(refused)) as store, pytest.raises(StorePermissionDenied):
        move(store, "old", "new")
    assert world.contents("old") == ["a", "b"] == world.contents("new")
    key = NameKeys(Name("new")).slot(1)
    record = msgspec.json.decode(world.memory.get(key))
    other = resolve(world.memory, Name("old"), Slot(2))
    record["moved_from"]["tx"] = other.tx
    world.memory.overwrite(key, msgspec.json.encode(record))
    with pytest.raises(Exception, match="is not what old:v2 is"):
        move(world.opened, "old", "new")
    assert world.contents("old") == ["a", "b"]


def test_two_copies_of_one_version_become_one(world: World) -> None:
    """Two movers have looked before either of them has copied anything."""
    world.push("old", "a", "b")
    world.opened.set_alias("old:v2", "prod")

    def copy() -> None:
        refused = Fault(key="*.deleted", verb="put_if_absent", action=ErrorBefore(permission_denied), times=None)
        with (
            world.store(through=world.faulty(refused), user="other", jobs=1) as store,
            pytest.raises(StorePermissionDenied),
        ):
            move(store, "old", "new")

    result = moving_while(world, copy, verb="put_if_absent", key=NameKeys(Name("new")).slot(1))
    assert world.contents("new") == ["a", "b"] and world.live("new") == ["new:v2", "new:v1"]
    assert [version.new for version in result.names[0].versions] == ["new:v1", "new:v2"]
    tombstone = read_tombstone(world.memory, Name("new"), 3)
    assert tombstone is not None and tombstone.reason == "moved to new:v1"
    assert world.opened.show("new:prod").version == "new:v2"


def test_another_mover_who_is_done_between_any_two_requests_leaves_aliases_that_point_to_what_is_there(
    world: World,
) -> None:
    """Also where both have copied a version: the alias follows from the copy that goes to the one that stays."""
    world.push("old", "a", "b")
    world.opened.set_alias("old:v1", "prod", protect=True)
    start = world.memory.snapshot()

    def another() -> None:
        with world.store(user="other", jobs=1) as store:
            move(store, "old", "new")

    for request in range(1, 200):
        world.memory.restore(start)
        faulty = world.faulty(Fault(nth=request, action=Meanwhile(another)))
        with world.store(through=faulty, user=f"mover-{request}", jobs=1) as store:
            move(store, "old", "new")
        if not faulty.hits:
            break
        assert world.contents("new") == ["a", "b"]
        version = world.opened.show("new:prod").version
        assert world.opened.open(f"{version}/f").read() == b"a"
        assert next(list_aliases(world.memory, Name("new"))).protected
    assert 20 < request < 200


@pytest.mark.parametrize("count", [2, 5])
def test_movers_at_the_same_time_make_one_copy_of_each_version(world: World, count: int) -> None:
    prepare(world)
    failed: list[Exception] = []

    def run(number: int) -> None:
        with world.store(user=f"mover-{number}") as store:
            try:
                move(store, "a", "z")
            except NameNotFound:
                pass  # another one was quicker
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert world.contents("z/x") == ["x1", "x3"] and world.contents("z/b/y") == ["y1"]
    assert world.contents("a/x") == [] == world.contents("a/b/y")
    alias = next(list_aliases(world.memory, Name("z/x")))
    assert alias.protected and world.opened.show("z/x:prod").version
    assert [item.text for item in list_whole_folder(world.memory, "z")] == ["z/x", "z/b"]
