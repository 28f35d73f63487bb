"""Folders, names, versions, aliases, deletion and usage, as people ask a store for them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.errors import InvalidName, NameNotFound, VersionDeleted
from artifactstore.keys import PACKS, NameKeys
from artifactstore.names import Name
from artifactstore.store import PushOptions, RemoveOptions, Store
from artifactstore.testing.stores import SMALL_CUT, StoreWorld, edit_tree, make_tree, small_limits
from artifactstore.testing.strategies import seeded_bytes


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StoreWorld]:
    with small_limits():
        make_tree(tmp_path / "tree", {b"a": b"a"})
        yield StoreWorld(tmp_path, cut=SMALL_CUT)


@pytest.fixture
def store(world: StoreWorld) -> Iterator[Store]:
    with world.store() as store:
        yield store


def push(world: StoreWorld, store: Store, name: str, content: bytes = b"a", **options) -> None:  # type: ignore[no-untyped-def]
    edit_tree(world.folder / "tree", {b"a": content})
    store.push(world.folder / "tree", name, options=PushOptions(**options))


class TestFolders:
    def test_hold_names_and_folders(self, world: StoreWorld, store: Store) -> None:
        for name in ("top", "models/resnet", "models/big/llama", "models/big/other", "data"):
            push(world, store, name)

        def listed(folder: str = "") -> set[tuple[str, bool]]:
            return {(item.name, item.is_folder) for item in store.list(folder)}

        assert listed() == {("top", False), ("data", False), ("models", True)}
        assert listed("models") == {("models/resnet", False), ("models/big", True)}
        assert listed("models/big") == {("models/big/llama", False), ("models/big/other", False)}

    def test_name_and_folder_may_be_called_alike(self, world: StoreWorld, store: Store) -> None:
        push(world, store, "a")
        push(world, store, "a/b")
        assert {(item.name, item.is_folder) for item in store.list()} == {("a", False), ("a", True)}
        assert [item.name for item in store.list("a")] == ["a/b"]

    def test_folder_that_is_not_there_is_said_so_or_empty(self, store: Store) -> None:
        assert list(store.list()) == []
        try:
            assert list(store.list("nowhere")) == []
        except NameNotFound as error:
            assert "nowhere" in str(error)
        with pytest.raises(InvalidName):
            list(store.list("../x"))


class TestVersions:
    def test_are_listed_newest_first_with_their_aliases(self, world: StoreWorld, store: Store) -> None:
        for number in range(3):
            push(world, store, "n", b"%d" % number, message=f"m{number}", aliases=("prod",) if number == 1 else ())
        store.set_alias("n:v3", "next")
        listed = list(store.versions("n"))
        assert [version.version for version in listed] == ["n:v3", "n:v2", "n:v1"]
        assert [version.message for version in listed] == ["m2", "m1", "m0"]
        assert [version.aliases for version in listed] == [("next",), ("prod",), ()]
        assert store.show("n") == listed[0]
        assert store.show("n:prod") == listed[1]
        assert store.show(f"n@{listed[2].content_digest}") == listed[2]

    def test_cost_two_requests_each(self, world: StoreWorld, store: Store) -> None:
        for number in range(12):
            push(world, store, "n", b"%d" % number)
        count = CountBackend(world.memory)
        with world.store(through=count) as other:
            assert len(list(other.versions("n"))) == 12
        assert count.counts.request_count <= 2 * 12 + 4

    def test_of_a_name_that_is_not_there(self, world: StoreWorld, store: Store) -> None:
        push(world, store, "resnet-50")
        with pytest.raises(NameNotFound, match="resnet-5"):
            list(store.versions("resnet-5"))


class TestAliases:
    def test_move_and_keep_to_their_name(self, world: StoreWorld, store: Store) -> None:
        push(world, store, "n", b"1")
        push(world, store, "n", b"2")
        push(world, store, "other", b"3")
        assert store.set_alias("n:v1", "prod").version == "n:v1"
        moved = store.set_alias("n:latest", "prod")
        assert (moved.alias, moved.version) == ("prod", "n:v2")
        assert moved.who
        store.set_alias("n:prod", "copy")
        assert {alias.alias: alias.version for alias in store.aliases("n")} == {"prod": "n:v2", "copy": "n:v2"}
        assert list(store.aliases("other")) == []

    @pytest.mark.parametrize("alias", ["latest", "v1", "", "a/b", "-x", "é"])
    def test_computed_and_ill_formed_ones_are_refused(self, world: StoreWorld, store: Store, alias: str) -> None:
        push(world, store, "n")
        with pytest.raises(InvalidName):
            store.set_alias("n:v1", alias)

    def test_point_to_versions_that_are_there(self, world: StoreWorld, store: Store) -> None:
        push(world, store, "n")
        with pytest.raises(NameNotFound):
            store.set_alias("n:v2", "prod")
        store.remove("n:v1")
        with pytest.raises(VersionDeleted):
            store.set_alias("n:v1", "prod")


class TestRemoving:
    def test_one_version_leaves_the_others(self, world: StoreWorld, store: Store) -> None:
        for number in range(3):
            push(world, store, "n", b"%d" % number, aliases=("prod",) if number == 1 else ())
        result = store.remove("n:v2")
        assert (result.versions, result.aliases) == (("n:v2",), ("prod",))
        assert world.live("n") == ["n:v3", "n:v1"]
        with pytest.raises(VersionDeleted):
            store.show("n:v2")
        with pytest.raises(VersionDeleted):
            store.remove("n:v2")
        push(world, store, "n", b"1")
        assert world.live("n") == ["n:v4", "n:v3", "n:v1"], "its number is never given again"

    def test_latest_is_then_the_one_below(self, world: StoreWorld, store: Store) -> None:
        push(world, store, "n", b"1")
        push(world, store, "n", b"2")
        store.remove("n")
        assert store.show("n").version == "n:v1"

    def test_all_versions_go_with_the_name(self, world: StoreWorld, store: Store) -> None:
        for number in range(3):
            push(world, store, "n", b"%d" % number)
        push(world, store, "kept")
        planned = store.remove("n", options=RemoveOptions(all_versions=True, dry_run=True))
        assert planned.dry_run
        assert world.live("n") == ["n:v3", "n:v2", "n:v1"]
        done = store.remove("n", options=RemoveOptions(all_versions=True))
        assert done.versions == planned.versions == ("n:v3", "n:v2", "n:v1")
        with pytest.raises(NameNotFound):
            list(store.versions("n"))
        with pytest.raises(NameNotFound):
            store.remove("n", options=RemoveOptions(all_versions=True))
        assert world.live("kept") == ["kept:v1"]

    def test_nothing_is_deleted_but_by_its_tombstone(self, world: StoreWorld, store: Store) -> None:
        push(world, store, "n")
        before = set(world.memory.keys())
        store.remove("n")
        assert before < set(world.memory.keys())
        made = set(world.memory.keys()) - before
        assert [key for key in made if "/v/" in key] == [NameKeys(Name("n")).tombstone(1)]


class TestUsage:
    def test_counts_shared_packs_once(self, world: StoreWorld, store: Store) -> None:
        large = seeded_bytes("large", 30_000)
        push(world, store, "n", large)
        first = store.usage("n:v1")
        push(world, store, "n", large + b"more")
        push(world, store, "other", large)
        both, everything = store.usage("n"), store.usage()
        assert (first.versions, both.versions, everything.versions) == (1, 2, 3)
        assert both.content_bytes == 60_004
        assert everything.content_bytes == 90_004
        assert 30_000 < first.stored_bytes <= first.pack_bytes < 34_000
        assert both.pack_bytes < 40_000
        assert both.files == 2
        assert everything.pack_bytes == sum(
            len(world.memory.get(key)) for key in filter(lambda key: key.startswith(PACKS), world.memory.keys())
        )
        assert everything.pack_count == everything.small_pack_count == len(world.packs())
        assert 0 <= everything.fragmentation < 0.2

    def test_of_an_empty_store_is_nothing(self, store: Store) -> None:
        usage = store.usage()
        assert (usage.versions, usage.pack_bytes, usage.fragmentation) == (0, 0, 0.0)

    def test_fragmentation_is_what_a_version_leaves_unused(self, world: StoreWorld, store: Store) -> None:
        push(world, store, "n", seeded_bytes("1", 8000))
        edit_tree(world.folder / "tree", {b"b": seeded_bytes("2", 2000)})
        store.push(world.folder / "tree", "n")
        edit_tree(world.folder / "tree", {}, removed=[b"a"])
        store.push(world.folder / "tree", "n")
        assert store.usage("n:v3").fragmentation < 0.3
        make_tree(world.folder / "tree", {b"a": seeded_bytes("1", 8000)[:300]})
        store.push(world.folder / "tree", "n")
        assert store.usage("n:v1").content_bytes == 8000

    def test_of_a_name_that_is_not_there(self, store: Store) -> None:
        with pytest.raises(NameNotFound):
            store.usage("n")
