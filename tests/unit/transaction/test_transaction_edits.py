"""Later edits of versions: whole states that count up, announced by a mark beside the slot."""

import math
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.errors import (
    CorruptData,
    InvalidMetadata,
    InvalidName,
    NameNotFound,
    UnsupportedFormat,
    VersionDeleted,
)
from artifactstore.keys import NameKeys, label_key
from artifactstore.names import Latest, Name, Slot
from artifactstore.testing.clock import VirtualClock
from artifactstore.testing.interleave import Task
from artifactstore.testing.uploader import push
from artifactstore.transaction.edits import VersionEdit, edit_version
from artifactstore.transaction.outcomes import fresh_tx
from artifactstore.transaction.records import (
    Author,
    EditRecord,
    Notes,
    SlotRecord,
    decode_record,
    encode_record,
    fresh_nonce,
)
from artifactstore.transaction.resolve import open_version, resolve
from artifactstore.transaction.versions import (
    SlotState,
    Version,
    is_live,
    list_slots,
    live_versions,
    read_version,
    read_whole_version,
    remove_version,
    slot_state,
)

NAME = Name("team/model")
KEYS = NameKeys(NAME)


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.memory = MemoryBackend(clock=self.clock)

    def push(self, text: str = "x") -> Version:
        return push(self.memory, self.clock, NAME.text, {b"file": text.encode()}).version

    def edit(self, version: Version, **change) -> Version:  # type: ignore[no-untyped-def]
        return edit_version(
            self.memory, self.clock, version, VersionEdit(**change), author=Author(who="ann", host="here")
        )

    def notes(self, slot: int = 1) -> Notes:
        return resolve(self.memory, NAME, Slot(slot)).notes

    def keys(self) -> set[str]:
        return set(self.memory.keys())

    def keys_below(self, prefix: str) -> set[str]:
        return {key for key in self.keys() if key.startswith(prefix)}


@pytest.fixture
def world() -> World:
    return World()


def test_edits_change_what_is_named_and_nothing_else(world: World) -> None:
    version = world.push()
    world.edit(version, message="good", add_labels=("a", "b"), set_metadata={"acc": 0.9, "data": {"n": 1}})
    world.edit(version, add_labels=("c",), remove_labels=("a",), set_metadata={"acc": 0.95}, unset_metadata=("data",))
    assert world.notes() == Notes(message="good", labels=("b", "c"), metadata={"acc": 0.95})
    world.edit(version, ttl="2d")
    assert world.notes().labels == ("b", "c")
    assert world.notes().has_expired(world.clock.now() + 2 * 86400)
    world.edit(version, ttl="never", message="")
    assert world.notes() == Notes(labels=("b", "c"), metadata={"acc": 0.95})


def test_an_edit_says_whose_it_is_and_leaves_the_slot_as_it_was(world: World) -> None:
    version = world.push()
    before = bytes(world.memory.get(KEYS.slot(1)))
    edited = world.edit(version, message="good")
    assert edited.edit is not None
    assert (edited.edit.number, edited.edit.record.who, edited.edit.record.host) == (1, "ann", "here")
    assert edited.record == version.record
    assert bytes(world.memory.get(KEYS.slot(1))) == before
    assert resolve(world.memory, NAME, Latest()) == edited


def test_an_edit_that_changes_nothing_writes_nothing(world: World) -> None:
    version = world.push()
    before = world.keys()
    world.edit(version, remove_labels=("none",), unset_metadata=("none",))
    assert world.keys() == before
    world.edit(version, add_labels=("a",), set_metadata={"k": [1]})
    before = world.keys()
    assert world.edit(version, add_labels=("a",), set_metadata={"k": [1]}).edit is not None
    assert world.keys() == before


def test_labels_come_once_each(world: World) -> None:
    world.edit(world.push(), add_labels=("a", "b", "a"))
    assert world.notes().labels == ("a", "b")


def test_edits_of_one_version_are_none_of_another(world: World) -> None:
    first, second = world.push("1"), world.push("2")
    world.edit(first, message="one")
    world.edit(second, message="two")
    assert (world.notes(1).message, world.notes(2).message) == ("one", "two")


def test_hints_say_which_labels_were_put_on_and_taken_off(world: World) -> None:
    version = world.push()
    world.edit(version, add_labels=("a", "b"))
    world.edit(version, remove_labels=("a", "never-there"))
    assert world.keys_below("labels/") == {
        label_key("a", NAME, 1, 1, on=True),
        label_key("b", NAME, 1, 1, on=True),
        label_key("a", NAME, 1, 2, on=False),
    }


def check_twenty_edits(world: World) -> None:
    notes = world.notes()
    assert sorted(notes.labels) == sorted(f"label{number}" for number in range(20))
    assert notes.metadata == {f"key{number}": number for number in range(20)}
    assert world.keys_below(KEYS.edits(1)) == {KEYS.edit(1, number) for number in range(1, 21)}
    for label in notes.labels:
        assert len(world.keys_below(f"labels/{label}/")) == 1


def twenty_edits() -> list[VersionEdit]:
    return [VersionEdit(add_labels=(f"label{number}",), set_metadata={f"key{number}": number}) for number in range(20)]


def test_twenty_editors_at_once_lose_no_edit(world: World) -> None:
    version = world.push()
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda change: edit_version(world.memory, world.clock, version, change), twenty_edits()))
    check_twenty_edits(world)


@pytest.mark.parametrize("seed", range(5))
def test_twenty_editors_request_by_request_lose_no_edit(world: World, seed: int) -> None:
    version, chance = world.push(), random.Random(seed)
    going = [
        Task(partial(edit_version, clock=world.clock, version=version, change=change), world.memory)
        for change in twenty_edits()
    ]
    for task in going:
        assert task.run_until("put_if_absent", "/meta/")  # all of them have seen that there is no edit yet
    while unfinished := [task for task in going if not task.finished]:
        chance.choice(unfinished).step()
    assert [task.error for task in going if task.error is not None] == []
    check_twenty_edits(world)


def test_a_deleted_version_is_not_edited(world: World) -> None:
    version = world.push()
    remove_version(world.memory, world.clock, version)
    before = world.keys()
    with pytest.raises(VersionDeleted):
        world.edit(version, message="late")
    with pytest.raises(VersionDeleted):
        resolve(world.memory, NAME, Slot(1))
    assert world.keys() == before


def test_a_version_that_was_never_committed_is_not_found_for_editing(world: World) -> None:
    record = SlotRecord(nonce=fresh_nonce(world.clock), tx=fresh_tx(world.clock), content="00" * 32, created="")
    world.memory.put(KEYS.slot(1), encode_record(record))
    with pytest.raises(NameNotFound, match="not finished"):
        resolve(world.memory, NAME, Slot(1))


def test_a_mark_without_an_edit_means_nothing(world: World) -> None:
    version = world.push()
    world.memory.put(KEYS.edited(1), b"")
    assert resolve(world.memory, NAME, Latest()).notes == version.notes
    world.edit(version, message="later")
    assert world.notes().message == "later"


def test_a_mark_neither_deletes_a_slot_nor_makes_one(world: World) -> None:
    first, second = world.push("1"), world.push("2")
    world.edit(first, message="x")
    world.edit(second, message="x")
    world.push("3")
    remove_version(world.memory, world.clock, second)
    world.memory.put(KEYS.edited(9), b"")
    expected = [
        SlotState(number=3),
        SlotState(number=2, deleted=True, edited=True),
        SlotState(number=1, edited=True),
    ]
    for page_size in (1, 2, 3, 50):
        assert list(list_slots(world.memory, NAME, page_size=page_size)) == expected
    for below in (1, 2, 3, 4):
        assert list(list_slots(world.memory, NAME, below=below)) == [s for s in expected if s.number < below]
    assert [slot_state(world.memory, NAME, number) for number in (1, 2, 3, 9)] == [*expected[::-1], None]
    assert is_live(world.memory, first)
    assert not is_live(world.memory, second)


def test_versions_that_nobody_edited_cost_no_request_more(world: World) -> None:
    for text in "abcdefgh":
        world.push(text)

    def listed() -> tuple[list[str], int]:
        counted = CountBackend(world.memory)
        found = [version.notes.message for version in live_versions(counted, NAME, reader=read_whole_version)]
        return found, counted.counts.request_count

    _, before = listed()
    world.edit(resolve(world.memory, NAME, Slot(3)), message="edited")
    assert listed() == (["", "", "", "", "", "edited", "", ""], before + 2)


def test_notes_of_a_version_whose_edits_were_not_read_are_not_taken_for_it(world: World) -> None:
    world.edit(world.push(), message="new")
    state = SlotState(number=1, edited=True)
    version = read_version(world.memory, NAME, state)
    assert version is not None
    with pytest.raises(AssertionError, match="edits"):
        _ = version.notes
    whole = read_whole_version(world.memory, NAME, state)
    assert whole is not None
    assert whole.notes.message == "new"


@pytest.mark.parametrize("pooled", [False, True])
def test_a_damaged_or_foreign_edit_is_not_passed_over(world: World, pooled: bool) -> None:
    version = world.push()
    world.edit(version, message="one")
    world.edit(version, message="two")
    key = KEYS.edit(1, 2)
    body = bytes(world.memory.get(key))
    record = decode_record(EditRecord, body, key=key)
    foreign = body.replace(record.tx.encode(), b"0" * 32)
    newer = body.replace(b'"format": 1', b'"format": 2')
    with ThreadPoolExecutor(1) as pool:
        for damaged, error in ((body[:-9], CorruptData), (foreign, CorruptData), (newer, UnsupportedFormat)):
            world.memory.overwrite(key, damaged)
            with pytest.raises(error):
                open_version(world.memory, NAME, Latest(), pool=pool if pooled else None)
            with pytest.raises(error):
                world.edit(version, message="three")


@pytest.mark.parametrize(
    ("metadata", "where"),
    [
        ({"loss": math.nan}, r"metadata\.loss: JSON has no nan"),
        ({"a": {"b": [1, math.inf]}}, r"metadata\.a\.b\[1\]: JSON has no inf"),
        ({"a": {1: 2}}, r"metadata\.a: the key '1' is a int, not text"),
        ({None: 2}, r"metadata: the key 'None' is a NoneType"),
        ({"a": b"bytes"}, r"metadata\.a: JSON has no bytes"),
        ({"a": {1, 2}}, r"metadata\.a: JSON has no set"),
        ({"a": object()}, r"metadata\.a: JSON has no object"),
        ({"a": "\ud800"}, r"metadata\.a: not Unicode"),
        ({"\udc80": 1}, r"metadata: a key: not Unicode"),
        ({"a": 10**5000}, r"metadata"),
        ([], "metadata: a list, not a JSON object"),
        ("text", "metadata: a str, not a JSON object"),
    ],
)
def test_metadata_that_is_no_json_object_is_refused_with_its_place(metadata, where: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidMetadata, match=where):
        VersionEdit(set_metadata=metadata)


@pytest.mark.parametrize("shape", [lambda inner: [inner], lambda inner: {"k": inner}], ids=["lists", "objects"])
def test_metadata_nested_too_deep_to_be_read_again_is_refused(shape) -> None:  # type: ignore[no-untyped-def]
    value: object = 1
    for _ in range(5000):
        value = shape(value)
    with pytest.raises(InvalidMetadata, match="nested deeper"):
        VersionEdit(set_metadata={"a": value})


def test_metadata_of_every_json_kind_comes_back(world: World) -> None:
    class Text(str):
        __slots__ = ()

    metadata: dict[str, object] = {
        "": None,
        "text": Text("ü\x00\u2028"),
        "numbers": [0, -1, 2**70, 1e308, -0.5, True],
        "tuple": (1, ("a",)),
        "empty": [{}, []],
    }
    world.edit(world.push(), set_metadata=metadata)
    assert world.notes().metadata == {**metadata, "tuple": [1, ["a"]]}


@pytest.mark.parametrize(
    "change",
    [
        {"set_metadata": {"long": "x" * (1 << 20)}},
        {"set_metadata": {"many": [[]] * 400_000}},
        {"set_metadata": {"escaped": "\x00" * 200_000}},
        {"message": "x" * (65 << 10)},
        {"message": "\udc80"},
    ],
    ids=["text", "list", "escapes", "message", "surrogate"],
)
def test_what_is_too_long_for_a_record_is_refused_and_nothing_is_written(world: World, change) -> None:  # type: ignore[no-untyped-def]
    version = world.push()
    before = world.keys()
    with pytest.raises(InvalidMetadata):
        world.edit(version, **change)
    assert world.keys() == before


def test_many_small_edits_that_come_to_too_much_are_refused_by_the_one_that_does_it(world: World) -> None:
    version = world.push()
    for number in range(9):
        world.edit(version, set_metadata={f"k{number}": "x" * 100_000})
    before = world.keys()
    with pytest.raises(InvalidMetadata, match="over 960 KiB"):
        world.edit(version, set_metadata={"k9": "x" * 100_000})
    assert world.keys() == before
    assert len(world.notes().metadata) == 9


@pytest.mark.parametrize("label", ["", "a/b", "latest", "v3", "ü", "x" * 129])
def test_labels_are_of_the_grammar_of_aliases(label: str) -> None:
    with pytest.raises(InvalidName):
        VersionEdit(add_labels=(label,))
    with pytest.raises(InvalidName):
        VersionEdit(remove_labels=(label,))


def test_one_text_is_not_taken_for_a_list_of_labels() -> None:
    with pytest.raises(TypeError):
        VersionEdit(add_labels="prod")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"add_labels": ("a",), "remove_labels": ("a",)},
        {"set_metadata": {"a": 1}, "unset_metadata": ("a",)},
    ],
)
def test_what_is_given_and_taken_away_at_once_is_refused(change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidMetadata, match="both given and taken away: a"):
        VersionEdit(**change)
