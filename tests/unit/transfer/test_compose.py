"""Compositions: what each part becomes, that stored content is not moved again, and what does not go together."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.chunking import CutFunction
from artifactstore.errors import NameNotFound, PathExists, PathNotFound, SourceError, SourceNotFound, VersionDeleted
from artifactstore.keys import NAMES, PACKS, store_setting_key
from artifactstore.manifest.model import EntryKind, ReferenceTarget
from artifactstore.names import parse_reference
from artifactstore.store import PushOptions, PushResult, RemoveOptions, Reuse
from artifactstore.testing.stores import (
    SMALL_CUT,
    Directory,
    File,
    Link,
    StoreWorld,
    Tree,
    make_tree,
    quick_folder,
    small_limits,
)
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.testing.tree_strategies import trees
from artifactstore.transaction.records import StoreSettings, encode_record, fresh_nonce
from artifactstore.transfer import upload as upload_module
from artifactstore.transfer.compose import Carried, Composition, Placed

TREE: Tree = {
    b"a": b"a",
    b"b/large": seeded_bytes("large", 9000),
    b"b/x": File(b"#!/bin/sh\n", executable=True),
    b"c": Link(b"a"),
    b"d": Directory(),
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StoreWorld]:
    with small_limits():
        make_tree(tmp_path / "tree", TREE)
        yield StoreWorld(tmp_path, cut=SMALL_CUT)


def placed(source: Path, path: bytes = b"", **more) -> Placed:  # type: ignore[no-untyped-def]
    return Placed(source=os.fsencode(source), path=path, **more)


def carried(reference: str, path: bytes = b"", *, without: tuple[bytes, ...] = ()) -> Carried:
    return Carried(reference=parse_reference(reference), path=path, without=frozenset(without))


def compose(world: StoreWorld, *parts: Placed | Carried, name: str = "n", through=None, **options) -> PushResult:  # type: ignore[no-untyped-def]
    references = options.pop("references", {})
    composition = Composition(
        placed=[part for part in parts if isinstance(part, Placed)],
        carried=[part for part in parts if isinstance(part, Carried)],
        references=references,
    )
    with world.store(through=through) as store:
        return store.push_composition(composition, name, options=PushOptions(**options))


def stored(tree: Tree, prefix: bytes = b"") -> dict[bytes, object]:
    return {prefix + p: File(thing) if isinstance(thing, bytes) else thing for p, thing in tree.items()}


class TestPlaced:
    def test_one_directory_as_the_root_is_what_a_plain_push_of_it_is(self, world: StoreWorld) -> None:
        with world.store() as store:
            pushed = store.push(world.folder / "tree", "n")
        composed = compose(world, placed(world.folder / "tree"))
        assert (composed.action, composed.version) == ("unchanged", pushed.version)
        assert compose(world, placed(world.folder / "tree"), name="m").content_digest == pushed.content_digest

    def test_each_part_goes_where_it_is_placed(self, world: StoreWorld) -> None:
        make_tree(world.folder / "more", {b"y": b"y", b"sub/z": b"z"})
        compose(
            world,
            placed(world.folder / "tree", b"in/tree"),
            placed(world.folder / "more", b"in"),
            placed(world.folder / "more" / "y", b"renamed"),
        )
        assert world.pulled("n") == {
            **stored(TREE, b"in/tree/"),
            b"in/y": File(b"y"),
            b"in/sub/z": File(b"z"),
            b"renamed": File(b"y"),
        }

    def test_an_empty_directory_is_kept_until_something_is_in_it(self, world: StoreWorld) -> None:
        (world.folder / "empty").mkdir()
        compose(world, placed(world.folder / "empty", b"e"))
        assert world.pulled("n") == {b"e": Directory()}
        compose(world, placed(world.folder / "empty", b"e"), placed(world.folder / "tree" / "a", b"e/a"))
        assert world.pulled("n") == {b"e/a": File(b"a")}

    def test_patterns_hold_for_their_own_part(self, world: StoreWorld) -> None:
        make_tree(world.folder / "more", {b"a": b"a"})
        compose(
            world,
            placed(world.folder / "tree", b"t", exclude=("b", "a")),
            placed(world.folder / "more", b"m"),
        )
        assert set(world.pulled("n")) == {b"t/c", b"t/d", b"m/a"}

    def test_files_of_one_directory_are_opened_through_one_handle(self, world: StoreWorld) -> None:
        make_tree(world.folder / "many", {b"%d" % number: b"%d" % number for number in range(30)})
        parts = [placed(world.folder / "many" / str(number), b"x/%d" % number) for number in range(30)]
        compose(world, *parts)
        assert world.pulled("n") == {b"x/%d" % number: File(b"%d" % number) for number in range(30)}

    def test_a_link_that_is_placed_stands_for_what_it_points_to(self, world: StoreWorld) -> None:
        compose(world, placed(world.folder / "tree" / "c", b"c"))
        assert world.pulled("n") == {b"c": File(b"a")}

    @pytest.mark.parametrize(
        ("first", "second"), [(b"x", b"x"), (b"x", b"x/y"), (b"x/y", b"x")], ids=["same", "below", "above"]
    )
    def test_two_parts_in_each_others_way_are_refused_and_nothing_is_written(
        self, world: StoreWorld, first: bytes, second: bytes
    ) -> None:
        before = set(world.memory.keys())
        file = world.folder / "tree" / "a"
        with pytest.raises(PathExists, match="x"):
            compose(world, placed(file, first), placed(file, second))
        assert set(world.memory.keys()) == before

    def test_what_is_not_there_or_can_not_be_the_root_is_refused(self, world: StoreWorld) -> None:
        with pytest.raises(SourceNotFound):
            compose(world, placed(world.folder / "missing", b"x"))
        with pytest.raises(SourceError, match="can't be the root"):
            compose(world, placed(world.folder / "tree" / "a"))
        with pytest.raises(SourceError, match=r"component '\.\.'"):
            compose(world, placed(world.folder / "tree" / "a", b"x/../y"))
        assert not [key for key in set(world.memory.keys()) if key.startswith((NAMES, PACKS))]

    def test_unchanged_parts_are_recognised_without_reading_them(self, world: StoreWorld) -> None:
        parts = (placed(world.folder / "tree", b"t"), placed(world.folder / "tree" / "a", b"a"))
        compose(world, *parts)
        count = CountBackend(world.memory)
        again = compose(world, *parts, through=count)
        assert (again.action, again.version, again.sent_bytes) == ("unchanged", "n:v1", 0)

    def test_temporary_sources_leave_nothing_in_local_state(self, world: StoreWorld) -> None:
        compose(world, placed(world.folder / "tree" / "b" / "large", b"l", is_temporary=True))
        with world.store() as store:
            directory = os.fsencode(world.folder / "tree" / "b" / "large")
            assert store._state.load_directory(store.record.store_id_bytes, directory, cut=str(SMALL_CUT)) is None


class TestReferences:
    TARGET = ReferenceTarget(uri="s3://bucket/key", size_bytes=7, etag="e")

    def test_references_are_entries_and_count_for_the_content_digest(self, world: StoreWorld) -> None:
        one = compose(world, placed(world.folder / "tree"), references={b"r/x": self.TARGET})
        with world.store() as store:
            entry = next(entry for entry in store.files("n") if entry.kind == EntryKind.REFERENCE)
            assert (entry.path, entry.reference) == (b"r/x", self.TARGET)
            assert store.show("n").references == 1
        moved = ReferenceTarget(uri="s3://bucket/other", size_bytes=7, etag="e")
        two = compose(world, placed(world.folder / "tree"), references={b"r/x": moved})
        assert (two.action, two.slot) == ("committed", 2)
        assert one.content_digest != two.content_digest
        again = compose(world, placed(world.folder / "tree"), references={b"r/x": moved})
        assert (again.action, again.slot) == ("unchanged", 2)

    def test_a_reference_in_the_way_of_a_file_is_refused(self, world: StoreWorld) -> None:
        with pytest.raises(PathExists, match="reference"):
            compose(world, placed(world.folder / "tree"), references={b"a": self.TARGET})


class TestCarried:
    @pytest.fixture(autouse=True)
    def _pushed(self, world: StoreWorld) -> None:
        with world.store() as store:
            store.push(world.folder / "tree", "base")

    def test_a_stored_version_is_carried_without_moving_a_byte_of_content(self, world: StoreWorld) -> None:
        before = world.content_chunks()
        packs = world.packs()
        done = compose(world, carried("base"))
        assert world.pulled("n") == stored(TREE)
        assert done.new_bytes == 0
        assert world.content_chunks(world.packs() - packs) == set()
        assert world.content_chunks() == before

    def test_content_is_the_same_as_if_it_had_been_pushed(self, world: StoreWorld) -> None:
        with world.store() as store:
            assert compose(world, carried("base")).content_digest == store.show("base").content_digest

    def test_parts_of_versions_go_where_they_are_placed(self, world: StoreWorld) -> None:
        compose(world, carried("base:v1/b", b"x/y"), carried("base:v1/a", b"file"))
        assert world.pulled("n") == {
            b"x/y/large": File(TREE[b"b/large"]),  # type: ignore[arg-type]
            b"x/y/x": File(b"#!/bin/sh\n", executable=True),
            b"file": File(b"a"),
        }

    def test_what_is_left_out_is_not_there_with_all_below_it(self, world: StoreWorld) -> None:
        compose(world, carried("base", without=(b"b", b"c")))
        assert set(world.pulled("n")) == {b"a", b"d"}

    def test_a_placed_file_replaces_what_is_carried_at_its_path(self, world: StoreWorld) -> None:
        make_tree(world.folder / "new", {b"f": b"new"})
        compose(world, carried("base"), placed(world.folder / "new" / "f", b"a"))
        assert world.pulled("n") == {**stored(TREE), b"a": File(b"new")}

    def test_references_are_carried_too(self, world: StoreWorld) -> None:
        compose(world, references={b"r": TestReferences.TARGET}, name="with")
        compose(world, carried("with", b"in"))
        with world.store() as store:
            assert [entry.reference for entry in store.files("n")] == [TestReferences.TARGET]

    def test_a_version_that_is_gone_is_an_error_and_nothing_is_written(self, world: StoreWorld) -> None:
        before = set(world.memory.keys())
        with pytest.raises(NameNotFound):
            compose(world, carried("nothing"))
        with pytest.raises(PathNotFound):
            compose(world, carried("base:v1/nothing", b"x"))
        assert set(world.memory.keys()) == before
        with world.store() as store:
            store.remove("base", options=RemoveOptions(all_versions=True))
        with pytest.raises(VersionDeleted):
            compose(world, carried("base"))

    def test_the_copy_outlives_the_version_it_was_made_from(self, world: StoreWorld) -> None:
        compose(world, carried("base"))
        with world.store() as store:
            store.remove("base", options=RemoveOptions(all_versions=True))
        assert world.pulled("n") == stored(TREE)

    def test_a_version_that_was_cut_in_another_way_is_stored_again(self, world: StoreWorld, tmp_path: Path) -> None:
        with world.store() as store:
            other = CutFunction(min_bytes=512, average_bytes=1024, max_bytes=2048)
            record = StoreSettings(nonce=fresh_nonce(world.clock), cut=str(other))
            world.memory.put(store_setting_key(1), encode_record(record))
            store.push(world.folder / "tree", "pushed")
        done = compose(world, carried("base"))
        assert world.pulled("n") == stored(TREE)
        with world.store() as store:
            assert done.content_digest == store.show("pushed").content_digest

    def test_without_reuse_everything_is_sent_again(self, world: StoreWorld) -> None:
        packs = world.packs()
        compose(world, carried("base"), reuse=Reuse.NOTHING)
        new = world.packs() - packs
        assert world.content_chunks(new) == world.content_chunks(packs)
        assert world.pulled("n") == stored(TREE)

    def test_very_many_small_packs_are_brought_together(
        self, world: StoreWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(upload_module, "MAX_SMALL_PACKS", 5)
        for number in range(8):
            make_tree(world.folder / "one", {b"f": seeded_bytes(f"f{number}", 3000)})
            parts = [placed(world.folder / "one" / "f", b"f%d" % number)]
            compose(world, *parts, *([carried("n")] if number else []))
        done = compose(world, carried("n", b"all"), name="m")
        assert done.small_pack_count <= 7
        assert world.pulled("m") == {
            b"all/f%d" % number: File(seeded_bytes(f"f{number}", 3000)) for number in range(8)
        }


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(one=trees(), other=trees())
def test_a_carried_tree_beside_a_placed_one_is_both_of_them(one: Tree, other: Tree) -> None:
    with quick_folder() as folder, small_limits():
        world = StoreWorld(folder, cut=SMALL_CUT)
        make_tree(folder / "one", one)
        make_tree(folder / "other", other)
        with world.store() as store:
            store.push(folder / "one", "one")
            store.push(folder / "other", "other")
        compose(world, carried("one", b"1"), placed(folder / "other", b"2"))
        found = world.stored("n")
        assert {path[2:]: thing for path, thing in found.items() if path.startswith(b"1/")} == world.stored("one")
        assert {path[2:]: thing for path, thing in found.items() if path.startswith(b"2/")} == world.stored("other")
