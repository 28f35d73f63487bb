"""Slots, versions, and what a reference means: outcomes and roots decide, everything else is a hint."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.digest import Digest
from artifactstore.errors import CorruptData, NameNotFound, UnsupportedFormat, VersionDeleted
from artifactstore.keys import NameKeys, outcome_key, root_key
from artifactstore.names import Alias, Content, Latest, Name, Slot
from artifactstore.testing.clock import VirtualClock
from artifactstore.testing.uploader import push, read_tree
from artifactstore.transaction.aliases import move_alias
from artifactstore.transaction.outcomes import fence, fresh_tx
from artifactstore.transaction.records import SlotRecord, decode_record, encode_record, fresh_nonce
from artifactstore.transaction.resolve import open_version, resolve
from artifactstore.transaction.roots import load_root
from artifactstore.transaction.versions import (
    SlotState,
    is_live,
    latest_committed,
    list_slots,
    live_versions,
    read_tombstone,
    remove_version,
    versions,
)

NAME = Name("team/model")


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.memory = MemoryBackend(clock=self.clock)

    def push(self, text: str, **options):  # type: ignore[no-untyped-def]
        return push(self.memory, self.clock, NAME.text, {b"file": text.encode()}, **options).version

    def pending(self, number: int) -> str:
        """A slot whose transaction was never decided."""
        tx = fresh_tx(self.clock)
        record = SlotRecord(nonce=fresh_nonce(self.clock), tx=tx, content="00" * 32, created="")
        self.memory.put(NameKeys(NAME).slot(number), encode_record(record))
        return tx


@pytest.fixture
def world() -> World:
    return World()


def test_latest_is_the_highest_committed_live_version(world: World) -> None:
    for text in "abc":
        world.push(text)
    world.pending(4)
    fence(world.memory, world.clock, world.pending(5), reason="test")  # type: ignore[arg-type]
    assert resolve(world.memory, NAME, Latest()).slot == 3
    remove_version(world.memory, world.clock, resolve(world.memory, NAME, Slot(3)))
    assert resolve(world.memory, NAME, Latest()).slot == 2
    assert read_tree(world.memory, resolve(world.memory, NAME, Latest())) == {b"file": b"b"}


def test_slots_are_listed_newest_first_with_their_tombstones_over_any_page_size(world: World) -> None:
    made = [world.push(text) for text in "abcdefg"]
    for version in (made[1], made[4], made[6]):
        assert remove_version(world.memory, world.clock, version)
    expected = [SlotState(number=n, deleted=n in (2, 5, 7)) for n in range(7, 0, -1)]
    for page_size in (None, 1, 2, 3, 5):
        assert list(list_slots(world.memory, NAME, page_size=page_size)) == expected
    for below in range(1, 8):
        assert list(list_slots(world.memory, NAME, below=below)) == [s for s in expected if s.number < below]


def test_tombstone_that_comes_between_two_pages_is_seen(world: World) -> None:
    made = [world.push(text) for text in "abc"]
    listing = list_slots(world.memory, NAME, page_size=1)
    assert next(listing).number == 3
    remove_version(world.memory, world.clock, made[0])
    assert list(listing)[-1] == SlotState(number=1, deleted=True)


def test_foreign_objects_among_slots_are_ignored(world: World) -> None:
    world.push("a")
    for key in ("README", "9999999999999997-3", "1", "9999999999999990-9.deleted.bak", "9999999999999990-9.deleted"):
        world.memory.put(NameKeys(NAME).slots + key, b"?")
    assert list(list_slots(world.memory, NAME)) == [SlotState(number=1, deleted=False)]


@pytest.mark.parametrize("pooled", [False, True], ids=["one by one", "read ahead"])
def test_history_has_every_committed_version_newest_first(world: World, pooled: bool) -> None:
    for number in range(1, 41):
        world.push(str(number))
    remove_version(world.memory, world.clock, resolve(world.memory, NAME, Slot(7)))
    world.pending(41)
    with ThreadPoolExecutor(4) as pool:
        found = list(versions(world.memory, NAME, pool=pool if pooled else None))
        live = [v.slot for v in live_versions(world.memory, NAME, pool=pool if pooled else None)]
    assert [v.slot for v in found] == list(range(40, 0, -1))
    assert [v.slot for v in found if v.deleted] == [7]
    assert live == [n for n in range(40, 0, -1) if n != 7]


def test_history_can_be_left_after_the_first_page_without_reading_the_rest(world: World) -> None:
    for number in range(60):
        world.push(str(number))
    counted = CountBackend(world.memory)
    with ThreadPoolExecutor(4) as pool:
        history = versions(counted, NAME, pool=pool)
        assert [next(history).slot for _ in range(5)] == [60, 59, 58, 57, 56]
        del history
    assert counted.counts.request_count <= 2 * (5 + 16) + 1


def test_deleted_version_says_so_and_others_do_not_suffer(world: World) -> None:
    first = world.push("a")
    world.push("b")
    assert is_live(world.memory, first)
    assert remove_version(world.memory, world.clock, first, reason="too old")
    assert not remove_version(world.memory, world.clock, first)
    assert not is_live(world.memory, first)
    tombstone = read_tombstone(world.memory, NAME, 1)
    assert tombstone is not None and tombstone.reason == "too old" and tombstone.tx == first.tx
    assert read_tombstone(world.memory, NAME, 2) is None
    with pytest.raises(VersionDeleted):
        resolve(world.memory, NAME, Slot(1))
    assert resolve(world.memory, NAME, Slot(2)).slot == 2


def test_name_whose_versions_are_all_deleted_says_so(world: World) -> None:
    remove_version(world.memory, world.clock, world.push("a"))
    with pytest.raises(VersionDeleted, match="all versions"):
        resolve(world.memory, NAME, Latest())
    assert latest_committed(world.memory, NAME) is None


@pytest.mark.parametrize("selector", [Latest(), Slot(1), Slot(9), Alias("prod"), Content(Digest(bytes(32)))], ids=str)
def test_what_is_not_there_is_not_found(world: World, selector) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NameNotFound):
        resolve(world.memory, NAME, selector)
    world.pending(1)
    with pytest.raises(NameNotFound):
        resolve(world.memory, NAME, selector)
    with pytest.raises(NameNotFound):
        open_version(world.memory, NAME, selector)


def test_slot_whose_outcome_names_another_slot_does_not_count(world: World) -> None:
    first = world.push("a")
    stolen = decode_record(SlotRecord, world.memory.get(NameKeys(NAME).slot(1)), key="")
    world.memory.put(NameKeys(NAME).slot(2), encode_record(stolen))
    world.memory.put(NameKeys(Name("other")).slot(1), encode_record(stolen))
    assert resolve(world.memory, NAME, Latest()) == first
    with pytest.raises(NameNotFound):
        resolve(world.memory, Name("other"), Latest())


def test_content_means_the_newest_live_version_with_it_whatever_slots_claim(world: World) -> None:
    wanted = world.push("same")
    world.push("other")
    again = world.push("same")
    liar = decode_record(SlotRecord, world.memory.get(NameKeys(NAME).slot(2)), key="")
    world.memory.overwrite(
        NameKeys(NAME).slot(2), encode_record(liar).replace(liar.content.encode(), wanted.record.content.encode())
    )
    selector = Content(wanted.record.content_digest)
    assert open_version(world.memory, NAME, selector)[0] == again
    remove_version(world.memory, world.clock, again)
    assert open_version(world.memory, NAME, selector)[0] == wanted


def test_alias_follows_its_newest_move_and_names_a_deleted_version_as_such(world: World) -> None:
    first, second = world.push("a"), world.push("b")
    move_alias(world.memory, world.clock, "prod", to=first)
    assert resolve(world.memory, NAME, Alias("prod")) == first
    move_alias(world.memory, world.clock, "prod", to=second)
    assert resolve(world.memory, NAME, Alias("prod")) == second
    remove_version(world.memory, world.clock, second)
    with pytest.raises(VersionDeleted, match="prod"):
        resolve(world.memory, NAME, Alias("prod"))


@pytest.mark.parametrize("pooled", [False, True], ids=["one by one", "at once"])
def test_root_that_is_not_the_outcomes_is_corrupt_and_names_the_version(world: World, pooled: bool) -> None:
    first, second = world.push("a"), world.push("b")
    other = world.memory.get(root_key(first.tx))
    world.memory.overwrite(root_key(second.tx), other)
    with ThreadPoolExecutor(1) as pool, pytest.raises(CorruptData) as caught:
        open_version(world.memory, NAME, Latest(), pool=pool if pooled else None)
    assert caught.value.key == root_key(second.tx)
    assert caught.value.versions == ("team/model:v2",)
    assert load_root(world.memory, first).target == NAME.text


@pytest.mark.parametrize("pooled", [False, True], ids=["one by one", "at once"])
def test_root_that_is_gone_is_a_deleted_version_or_damage(world: World, pooled: bool) -> None:
    version = world.push("a")
    world.memory.delete(root_key(version.tx))
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(CorruptData, match="gone"):
            open_version(world.memory, NAME, Latest(), pool=pool if pooled else None)
        remove_version(world.memory, world.clock, version)
        with pytest.raises(VersionDeleted):
            load_root(world.memory, version)


def test_unreadable_records_stop_a_lookup_instead_of_falling_back_to_an_older_version(world: World) -> None:
    world.push("a")
    second = world.push("b")
    body = world.memory.get(outcome_key(second.tx))
    for damaged, error in (
        (b"{}", CorruptData),
        (body.replace(b'"format": 1', b'"format": 9'), UnsupportedFormat),  # type: ignore[union-attr]
    ):
        world.memory.overwrite(outcome_key(second.tx), damaged)
        with pytest.raises(error):
            resolve(world.memory, NAME, Latest())


def test_cold_lookup_takes_the_requests_it_may(world: World) -> None:
    for number in range(30):
        move_alias(world.memory, world.clock, "prod", to=world.push(str(number)))
    remove_version(world.memory, world.clock, resolve(world.memory, NAME, Slot(30)))
    with ThreadPoolExecutor(1) as pool:
        for selector, budget in ((Latest(), 4), (Slot(3), 4), (Slot(29), 4)):
            counted = CountBackend(world.memory)
            open_version(counted, NAME, selector, pool=pool)
            assert counted.counts.request_count <= budget, selector
        move_alias(world.memory, world.clock, "prod", to=resolve(world.memory, NAME, Slot(5)))
        counted = CountBackend(world.memory)
        open_version(counted, NAME, Alias("prod"), pool=pool)
        assert counted.counts.request_count <= 6
