"""Edits, time-to-live, alias history and protection through an opened store."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.errors import (
    AliasProtected,
    InvalidName,
    NameNotFound,
    StoreReadOnly,
    VersionDeleted,
    VersionExpired,
)
from artifactstore.store import PullOptions, PushOptions, RemoveOptions, Store, VersionEdit
from artifactstore.testing.stores import SMALL_CUT, StoreWorld, edit_tree, make_tree, small_limits
from artifactstore.transaction.records import StoreSettings, Writers, fresh_nonce
from artifactstore.transaction.store_record import write_settings

DAY = 86400.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StoreWorld]:
    with small_limits():
        make_tree(tmp_path / "tree", {b"a": b"a"})
        yield StoreWorld(tmp_path, cut=SMALL_CUT)


@pytest.fixture
def store(world: StoreWorld) -> Iterator[Store]:
    with world.store() as store:
        for content in (b"1", b"2", b"3"):
            edit_tree(world.folder / "tree", {b"a": content})
            store.push(world.folder / "tree", "n", options=PushOptions(message="made", labels=("new",)))
        yield store


def keys(world: StoreWorld) -> set[str]:
    return set(world.memory.keys())


class TestEdits:
    def test_are_seen_wherever_versions_are(self, store: Store) -> None:
        edited = store.edit(
            "n:v2", VersionEdit(message="good", add_labels=("best",), set_metadata={"acc": 1}, ttl="30d")
        )
        assert (edited.message, edited.labels, edited.metadata) == ("good", ("new", "best"), {"acc": 1})
        assert edited.expires > edited.edited >= edited.created
        assert edited.edits == 1
        assert edited.edited_by
        assert store.show("n:v2") == edited
        assert list(store.versions("n"))[1] == edited
        assert [found.version for found in store.find(labels=["best"])] == ["n:v2"]
        store.edit("n:v2", VersionEdit(remove_labels=("best",)))
        assert list(store.find(labels=["best"])) == []
        assert [info.edits for info in store.versions("n")] == [0, 2, 0]

    def test_leave_content_and_history_alone(self, world: StoreWorld, store: Store) -> None:
        before = store.show("n:v1")
        store.edit("n:v1", VersionEdit(message="x"))
        after = store.show("n:v1")
        assert (after.content_digest, after.created, after.tx) == (before.content_digest, before.created, before.tx)
        assert world.pulled("n:v1")
        assert store.push(world.folder / "tree", "n").version == "n:v3"

    def test_of_others_cost_a_listing_nothing(self, world: StoreWorld, store: Store) -> None:
        def requests() -> int:
            count = CountBackend(world.memory)
            with world.store(through=count) as other:
                assert len(list(other.versions("n"))) == 3
            return count.counts.request_count

        before = requests()
        store.edit("n:v1", VersionEdit(message="x"))
        assert requests() == before + 2

    @pytest.mark.parametrize("reference", ["n:v1/a", "no name", ""])
    def test_are_about_whole_versions(self, store: Store, reference: str) -> None:
        with pytest.raises(InvalidName):
            store.edit(reference, VersionEdit(message="x"))

    def test_of_what_is_not_there_are_refused(self, world: StoreWorld, store: Store) -> None:
        store.remove("n:v1")
        before = keys(world)
        with pytest.raises(VersionDeleted):
            store.edit("n:v1", VersionEdit(message="x"))
        with pytest.raises(NameNotFound):
            store.edit("n:v9", VersionEdit(message="x"))
        with pytest.raises(NameNotFound):
            store.edit("n:prod", VersionEdit(message="x"))
        assert keys(world) == before

    def test_need_a_store_that_may_be_written_to(self, world: StoreWorld, store: Store) -> None:
        settings = StoreSettings(nonce=fresh_nonce(world.clock), writers=Writers.SINGLE)
        write_settings(world.memory, world.clock, after=0, settings=settings)
        for change in (
            lambda: store.edit("n:v1", VersionEdit(message="x")),
            lambda: store.set_alias("n:v1", "prod"),
            lambda: store.protect_alias("n", "prod"),
            lambda: store.unprotect_alias("n", "prod"),
            lambda: store.delete_alias("n", "prod"),
        ):
            with pytest.raises(StoreReadOnly):
                change()


class TestExpiry:
    def test_is_refused_by_every_reader_unless_allowed(self, world: StoreWorld, store: Store) -> None:
        store.edit("n:v3", VersionEdit(ttl=DAY))
        world.clock.sleep(DAY)
        readers: list[Callable[[bool], object]] = [
            lambda allowed: store.pull("n", world.folder / "x", options=PullOptions(allow_expired=allowed)),
            lambda allowed: store.open("n:v3/a", allow_expired=allowed).close(),
            lambda allowed: list(store.files("n", allow_expired=allowed)),
            lambda allowed: list(store.diff("n:v1", "n:v3", allow_expired=allowed)),
            lambda allowed: list(store.diff("n:v3", "n:v1", allow_expired=allowed)),
            lambda allowed: list(store.diff("n:v3", world.folder / "tree", allow_expired=allowed)),
            lambda allowed: list(store.status(world.folder / "tree", "n", allow_expired=allowed).changes),
        ]
        for read in readers:
            with pytest.raises(VersionExpired, match="n:v3"):
                read(False)
        assert not (world.folder / "x").exists()
        for read in readers:
            read(True)

    def test_does_not_keep_a_version_from_being_looked_after(self, world: StoreWorld, store: Store) -> None:
        store.edit("n:v3", VersionEdit(ttl=DAY))
        world.clock.sleep(2 * DAY)
        assert store.show("n").version == "n:v3"
        assert store.usage("n:v3").versions == 1
        assert store.set_alias("n", "prod").version == "n:v3"
        store.edit("n:prod", VersionEdit(ttl="never"))
        assert list(store.files("n"))
        store.edit("n", VersionEdit(ttl=1))
        world.clock.sleep(1)
        assert store.remove("n").versions == ("n:v3",)

    def test_is_set_by_a_push_and_its_content_still_serves_the_next(self, world: StoreWorld, store: Store) -> None:
        make_tree(world.folder / "big", {b"x": bytes(range(256)) * 40})
        store.push(world.folder / "big", "big", options=PushOptions(ttl_seconds=DAY))
        world.clock.sleep(DAY)
        edit_tree(world.folder / "big", {b"y": b"more"})
        with world.fresh_user() as other:
            result = other.push(world.folder / "big", "big")
        assert result.new_bytes == 4
        assert world.pulled("big")
        with pytest.raises(VersionExpired):
            world.pulled("big:v1")


class TestAliasHistory:
    def test_has_every_move(self, store: Store) -> None:
        store.set_alias("n:v1", "prod")
        store.set_alias("n:v2", "prod", protect=True)
        store.set_alias("n:v3", "prod", force=True)
        store.unprotect_alias("n", "prod")
        gone = store.delete_alias("n", "prod")
        assert (gone.version, gone.number) == ("", 5)
        assert [(move.number, move.version, move.protected) for move in store.alias_history("n", "prod")] == [
            (5, "", False),
            (4, "n:v3", False),
            (3, "n:v3", True),
            (2, "n:v2", True),
            (1, "n:v1", False),
        ]
        assert list(store.aliases("n")) == []
        with pytest.raises(NameNotFound):
            list(store.alias_history("n", "beta"))
        with pytest.raises(InvalidName):
            list(store.alias_history("n", "latest"))


class TestProtection:
    def test_holds_against_moves_deletes_removal_and_pushes(self, world: StoreWorld, store: Store) -> None:
        store.set_alias("n:v1", "prod")
        assert store.protect_alias("n", "prod").protected
        before = keys(world)
        edit_tree(world.folder / "tree", {b"a": b"4"})
        for change in (
            lambda: store.set_alias("n:v2", "prod"),
            lambda: store.delete_alias("n", "prod"),
            lambda: store.remove("n:v1"),
            lambda: store.remove("n", options=RemoveOptions(all_versions=True)),
            lambda: store.remove("n", options=RemoveOptions(all_versions=True, dry_run=True)),
            lambda: store.push(world.folder / "tree", "n", options=PushOptions(aliases=("prod",))),
        ):
            with pytest.raises(AliasProtected):
                change()
            assert keys(world) == before
        assert world.live("n") == ["n:v3", "n:v2", "n:v1"]

    def test_gives_way_to_force(self, world: StoreWorld, store: Store) -> None:
        store.set_alias("n:v1", "prod", protect=True)
        assert store.set_alias("n:v2", "prod", force=True).protected
        assert store.remove("n:v2", options=RemoveOptions(force=True)).aliases == ("prod",)
        assert not store.delete_alias("n", "prod", force=True).protected

    def test_does_not_stand_in_the_way_of_other_versions(self, world: StoreWorld, store: Store) -> None:
        store.set_alias("n:v1", "prod", protect=True)
        assert store.set_alias("n:v1", "prod").number == 1
        store.remove("n:v2")
        store.set_alias("n:v3", "other")
        assert world.live("n") == ["n:v3", "n:v1"]
