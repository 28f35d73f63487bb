"""What an upload believes of the store and is no longer so: a stale hint is a miss, never a version with holes.

Faults 26, 79, 80 and 139, and the collection of what a push is about to use.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.fault import Crash, Crashed, ErrorBefore, Fault, Meanwhile, permission_denied
from artifactstore.digest import PackId
from artifactstore.errors import BackendError
from artifactstore.keys import PACKS, pack_key
from artifactstore.names import Latest, Name
from artifactstore.store import PushOptions, PushResult
from artifactstore.testing.collector import DAY_SECONDS, WEEK_SECONDS, Collector
from artifactstore.testing.stores import (
    SMALL_CUT,
    StoreWorld,
    edit_tree,
    make_tree,
    quick_folder,
    small_limits,
    tree_at,
)
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transaction.resolve import open_version
from artifactstore.transaction.versions import live_versions, remove_version

LARGE = seeded_bytes("large", 30_000)
TREE = {b"large": LARGE, **{b"%02d" % n: seeded_bytes(str(n), 600) for n in range(20)}}


class World(StoreWorld):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, cut=SMALL_CUT)
        self.tree = folder / "tree"
        self.collector = Collector(self.memory, self.clock)
        make_tree(self.tree, TREE)

    def push(self, name: str = "name", *, through=None, user: str = "user", **options) -> PushResult:  # type: ignore[no-untyped-def]
        with self.store(through=through, user=user) as store:
            return store.push(self.tree, name, options=PushOptions(**options))

    def delete_and_collect(self, name: str = "name") -> None:
        for version in live_versions(self.memory, Name(name)):
            if version.slot == 1:
                remove_version(self.memory, self.clock, version)
        self.virtual_clock.advance(2 * WEEK_SECONDS)
        assert self.collector.collect() is not None

    def packs_of(self, name: str) -> list[PackId]:
        _, root = open_version(self.memory, Name(name), Latest())
        return [PackId(row.pack) for row in root.packs]

    def check(self, name: str = "name") -> None:
        assert self.stored(name) == tree_at(self.tree)
        assert set(self.packs_of(name)) <= self.packs()


@pytest.fixture
def world() -> Iterator[World]:
    with quick_folder() as folder, small_limits():
        yield World(folder)


def test_packs_of_local_state_that_were_collected_are_sent_again(world: World) -> None:
    """Fault 26: files are unchanged and remembered, their packs are gone."""
    first = world.push()
    world.delete_and_collect()
    assert not world.packs()
    again = world.push("other")
    assert again.sent_bytes >= first.sent_bytes - 100
    world.check("other")


def test_packs_of_local_state_that_are_there_are_used_without_reading_a_file(world: World) -> None:
    world.push()
    edit_tree(world.tree, {})
    faulty = world.faulty(Fault(verb="put", key=f"{PACKS}*", nth=3, action=Meanwhile(pytest.fail)))
    result = world.push("other", through=faulty)
    assert result.new_bytes == 0
    world.check("other")
    # By HEAD of each pack: nothing may be taken from a pack unseen.
    asked = {request.key for request in faulty.requests if request.verb in ("head", "get_range")}
    assert {pack_key(pack) for pack in world.packs_of("other")} & {pack_key(p) for p in world.packs_of("name")} <= asked


def test_pack_of_local_state_that_is_not_whole_is_not_relied_on(world: World) -> None:
    world.push()
    pack = max(world.packs(), key=lambda pack: len(world.memory.get(pack_key(pack))))
    world.memory.overwrite(pack_key(pack), bytes(world.memory.get(pack_key(pack)))[:-1])
    world.push("other")
    world.check("other")
    assert pack not in world.packs_of("other")


@pytest.mark.parametrize("what", ["gone", "cut short", "flipped"])
def test_interrupted_uploads_packs_that_are_gone_or_damaged_are_sent_again(world: World, what: str) -> None:
    """Fault 80. What is gone is forgotten, so that no later push asks for it."""
    with pytest.raises(BackendError):
        world.push(through=world.faulty(Fault(verb="put", key="tx/*", action=ErrorBefore(permission_denied))))
    pack = max(world.packs(), key=lambda pack: len(world.memory.get(pack_key(pack))))
    body = bytes(world.memory.get(pack_key(pack)))
    match what:
        case "gone":
            world.memory.delete(pack_key(pack))
        case "cut short":
            world.memory.overwrite(pack_key(pack), body[:-3])
        case "flipped":
            world.memory.overwrite(pack_key(pack), body[:-60] + bytes([body[-60] ^ 1]) + body[-59:])
    world.push()
    world.check()
    assert pack not in world.packs_of("name")
    with world.store() as store:
        pending = store._state.pending_packs(bytes.fromhex(store.store_id))
    assert [each.pack for each in pending] == ([] if what == "gone" else [pack])


@pytest.mark.parametrize("user", ["user", "another machine"])
@pytest.mark.parametrize("which", range(6))
def test_version_is_whole_although_a_pack_of_its_base_is_lost(world: World, user: str, which: int) -> None:
    """Fault 79: whatever of the base is read and missing is stored again from the source."""
    world.push()
    packs = sorted(world.packs_of("name"), key=lambda pack: -len(world.memory.get(pack_key(pack))))
    world.memory.delete(pack_key(packs[which % len(packs)]))
    edit_tree(world.tree, {b"large": LARGE[:10_000] + b"inserted" + LARGE[10_000:], b"%02d" % which: b"new"})
    result = world.push(user=user, checksum=True)
    assert result.action == "committed"
    world.check()


def test_pack_that_is_found_gone_after_content_of_it_was_reused_is_left_altogether(world: World) -> None:
    """Small files match the base before a large one, read after them, needs the table of their pack."""
    make_tree(world.tree, {**{b"%02d" % n: seeded_bytes(f"tiny {n}", 100) for n in range(40)}, b"z": LARGE[:9000]})
    world.push()
    [lost] = [pack for pack in world.packs_of("name") if len(world.memory.get(pack_key(pack))) > 10_000]
    world.memory.delete(pack_key(lost))
    edit_tree(world.tree, {b"z": LARGE[:4000] + b"inserted" + LARGE[4000:9000]})
    world.push(user="another machine")
    world.check()


def test_deleted_version_is_no_base(world: World) -> None:
    """Fault 131: nobody needs its packs any more, though they are still there."""
    world.push()
    before = world.packs()
    for version in live_versions(world.memory, Name("name")):
        remove_version(world.memory, world.clock, version)
    edit_tree(world.tree, {b"00": b"new"})
    assert world.push(user="another machine").version == "name:v2"
    assert not before & set(world.packs_of("name"))
    world.check()


@pytest.mark.parametrize("which", range(6))
def test_version_is_whole_although_a_pack_of_its_base_is_damaged(world: World, which: int) -> None:
    """A pack that fails its check where it is read is not built on."""
    world.push()
    packs = sorted(world.packs_of("name"), key=lambda pack: -len(world.memory.get(pack_key(pack))))
    pack = packs[which % len(packs)]
    body = bytearray(world.memory.get(pack_key(pack)))
    for position in (100, len(body) - 60):  # a chunk, and the table
        body[position] ^= 1
    world.memory.overwrite(pack_key(pack), body)
    edit_tree(world.tree, {path: content[:-5] + b"other" for path, content in TREE.items()})
    assert world.push(user="another machine").action == "committed"
    world.check()


def test_base_that_is_deleted_and_collected_while_the_upload_sleeps_is_a_miss(world: World) -> None:
    """Fault 14: at any request of the upload a month passes, in which the base goes."""
    world.push()
    edit_tree(world.tree, {b"large": LARGE[:10_000] + b"inserted" + LARGE[10_000:], b"00": b"new"})
    start, tree = world.memory.snapshot(), tree_at(world.tree)
    for request in range(1, 200):
        world.memory.restore(start)
        faulty = world.faulty(Fault(nth=request, action=Meanwhile(lambda: sleep_a_month(world))))
        result = world.push(through=faulty, user=f"user-{request}")
        assert result.version is not None
        assert world.stored(result.version) == tree
        if not faulty.hits:
            break
    assert 15 < request < 200


def sleep_a_month(world: World) -> None:
    world.virtual_clock.advance(15 * DAY_SECONDS)
    world.delete_and_collect()
    world.virtual_clock.advance(15 * DAY_SECONDS)


@pytest.mark.parametrize("what", ["deleted", "deleted and collected", "undecided", "pack lost", "root lost"])
def test_landmark_counts_only_by_a_live_committed_version_that_names_its_pack(world: World, what: str) -> None:
    """Faults 26 and 139."""
    world.push("elsewhere", user="somebody")
    if what == "undecided":
        for key in sorted(world.memory.keys()):
            if key.endswith("/outcome"):
                world.memory.delete(key)
    elif what == "root lost":
        for key in sorted(world.memory.keys()):
            if key.endswith("/root"):
                world.memory.delete(key)
    elif what == "pack lost":
        largest = max(world.packs(), key=lambda pack: len(world.memory.get(pack_key(pack))))
        world.memory.delete(pack_key(largest))
    else:
        for version in live_versions(world.memory, Name("elsewhere")):
            remove_version(world.memory, world.clock, version)
        if what == "deleted and collected":
            world.delete_and_collect("elsewhere")
    before = world.packs()
    world.push("name")
    world.check("name")
    if what != "pack lost":
        assert not before & set(world.packs_of("name"))


def test_landmarks_of_another_name_save_most_of_the_sending(world: World) -> None:
    make_tree(world.tree, {b"%02d" % n: seeded_bytes(f"many {n}", 20_000) for n in range(20)})
    first = world.push("elsewhere", user="somebody")
    again = world.push("name")
    assert again.sent_bytes < first.sent_bytes / 2
    assert again.new_bytes < first.new_bytes / 2
    world.check("name")


def test_undecided_version_is_no_base(world: World) -> None:
    """Fault 139: its packs are needed by nobody yet."""
    faulty = world.faulty(Fault(verb="put_if_absent", key="*/outcome", action=Crash()))
    with pytest.raises(Crashed):
        world.push(through=faulty)
    assert any(map(re.compile("/v/").search, world.memory.keys())), "its slot is there"
    before = world.packs()
    world.push(user="somebody")
    assert not before & set(world.packs_of("name"))
    world.check()
