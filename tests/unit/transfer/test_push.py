"""Push through an opened store: what is read, what is sent, what is said, and what is remembered."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.codec import Compression
from artifactstore.errors import (
    InvalidMetadata,
    InvalidName,
    SourceChanged,
    SourceError,
    SourceNotFound,
    SourceUnreadable,
    VersionExpired,
)
from artifactstore.keys import NAMES, PACKS, STORE, TRANSACTIONS, pack_key
from artifactstore.manifest.paths import TEMPORARY_PREFIX
from artifactstore.names import parse_reference
from artifactstore.pack.format import ChunkKind, parse_pack
from artifactstore.store import FollowLinks, OnError, PushOptions, PushResult, Store, Strategy
from artifactstore.testing.stores import (
    SMALL_CUT,
    Directory,
    File,
    HardLink,
    Link,
    StoreWorld,
    Tree,
    edit_tree,
    make_tree,
    small_limits,
    tree_at,
)
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transfer import content as content_module
from artifactstore.transfer import upload as upload_module
from artifactstore.transfer.found import Growth
from artifactstore.transfer.read import SourceReader
from artifactstore.transfer.scan import scan

TREE: Tree = {b"a": b"a", b"b/large": seeded_bytes("large", 9000), b"b/x": File(b"#!/bin/sh\n", executable=True)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StoreWorld]:
    with small_limits():
        make_tree(tmp_path / "tree", TREE)
        yield StoreWorld(tmp_path, cut=SMALL_CUT)


@pytest.fixture
def tree(world: StoreWorld) -> Path:
    return world.folder / "tree"


def push(world: StoreWorld, source, name: str = "n", *, user: str = "user", through=None, **options) -> PushResult:  # type: ignore[no-untyped-def]
    with world.store(user=user, through=through) as store:
        return store.push(source, name, options=PushOptions(**options))


class Reads:
    """Which files were opened to be read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[bytes] = []
        real = SourceReader._opened

        def opened(reader: SourceReader, found):  # type: ignore[no-untyped-def]
            self.paths.append(found.path)
            return real(reader, found)

        monkeypatch.setattr(SourceReader, "_opened", opened)

    def clear(self) -> None:
        self.paths.clear()


@pytest.fixture
def reads(world: StoreWorld, monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


class TestUnchanged:
    def test_tree_is_recognised_without_reading_a_file_or_a_block(
        self, world: StoreWorld, tree: Path, reads: Reads
    ) -> None:
        first = push(world, tree)
        reads.clear()
        count = CountBackend(world.memory)
        again = push(world, tree, through=count)
        assert (again.action, again.version, again.slot) == ("unchanged", "n:v1", 1)
        assert again.content_digest == first.content_digest
        assert (again.files, again.content_bytes) == (first.files, first.content_bytes)
        assert (again.new_bytes, again.sent_bytes) == (0, 0)
        assert not reads.paths
        assert "get_range" not in count.counts.requests

    @pytest.mark.parametrize("change", ["touched", "chmod and back", "moved away and back", "another inode"])
    def test_tree_that_only_looks_changed_is_unchanged_too(
        self, world: StoreWorld, tree: Path, change: str
    ) -> None:
        push(world, tree)
        match change:
            case "touched":
                os.utime(tree / "a")
            case "chmod and back":
                (tree / "a").chmod(0o755)
                (tree / "a").chmod(0o644)
            case "moved away and back":
                (tree / "a").rename(tree / "c")
                (tree / "c").rename(tree / "a")
            case "another inode":
                edit_tree(tree, {b"a": b"a"})
        result = push(world, tree)
        assert (result.action, result.sent_bytes) == ("unchanged", 0)
        assert world.live("n") == ["n:v1"]

    def test_only_changed_files_are_read(self, world: StoreWorld, tree: Path, reads: Reads) -> None:
        push(world, tree)
        edit_tree(tree, {b"b/new": b"new", b"a": b"A"})
        reads.clear()
        assert push(world, tree).action == "committed"
        assert sorted(reads.paths) == [b"a", b"b/new"]
        assert world.stored("n") == tree_at(tree)

    def test_executable_bit_alone_is_a_change_that_reads_and_sends_no_content(
        self, world: StoreWorld, tree: Path, reads: Reads
    ) -> None:
        push(world, tree)
        (tree / "b" / "large").chmod(0o755)
        reads.clear()
        result = push(world, tree)
        assert result.action == "committed"
        assert result.new_bytes == 0
        assert world.stored("n")[b"b/large"] == File(seeded_bytes("large", 9000), executable=True)

    def test_checksum_reads_every_file(
        self, world: StoreWorld, tree: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Fault 64: content that was changed under equal times is found."""
        push(world, tree)
        before, other = scan([tree]).found, seeded_bytes("other", 9000)
        with (tree / "b" / "large").open("r+b") as stream:
            stream.write(other)
        # A clock that was set back, say: all times are as they were.
        monkeypatch.setattr(content_module, "scan", lambda *args, **more: replace(scan(*args, **more), found=before))
        assert push(world, tree).action == "unchanged", "the limit that the docs state"
        reads.clear()
        assert push(world, tree, checksum=True).action == "committed"
        assert sorted(reads.paths) == [b"a", b"b/large", b"b/x"]
        assert world.stored("n")[b"b/large"] == File(other)

    def test_file_changed_right_before_the_push_is_never_taken_for_clean(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Fault 64: within the resolution of its own times it may change again."""
        world = StoreWorld(tmp_path, clock=SYSTEM_CLOCK)
        place = tmp_path / "tree"
        make_tree(place, {b"fresh": b"one"})
        before = scan([place]).found
        push(world, place)
        # All its times stay as they are, as they do within one tick of the file system's clock.
        monkeypatch.setattr(content_module, "scan", lambda *args, **more: replace(scan(*args, **more), found=before))
        for content in (b"two", b"six"):
            (place / "fresh").write_bytes(content)
            assert push(world, place).action == "committed"
            assert world.stored("n")[b"fresh"] == File(content)

    def test_file_that_has_settled_is_clean(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        world = StoreWorld(tmp_path)
        assert world.clock.now() > time.time() + 2, "by the clock of tests everything is settled"
        make_tree(tmp_path / "tree", TREE)
        reads = Reads(monkeypatch)
        push(world, tmp_path / "tree")
        reads.clear()
        push(world, tmp_path / "tree", "other")
        assert not reads.paths

    def test_older_version_pushed_again_is_a_change_that_sends_no_content(self, world: StoreWorld, tree: Path) -> None:
        push(world, tree)
        old = tree_at(tree)
        edit_tree(tree, {b"a": b"changed", b"b/large": seeded_bytes("more", 9000)})
        push(world, tree)
        make_tree(tree, old)
        result = push(world, tree)
        assert (result.action, result.slot) == ("committed", 3)
        assert world.stored("n:v3") == world.stored("n:v1")

    def test_deleted_version_is_not_what_a_tree_is_unchanged_since(self, world: StoreWorld, tree: Path) -> None:
        push(world, tree)
        with world.store() as store:
            store.remove("n:v1")
        result = push(world, tree)
        assert (result.action, result.version) == ("committed", "n:v2")
        assert world.stored("n") == tree_at(tree)


class TestSources:
    def test_one_file_enters_under_its_own_name(self, world: StoreWorld, tree: Path) -> None:
        push(world, tree / "b" / "large")
        assert set(world.stored("n")) == {b"large"}

    def test_several_sources_enter_under_their_own_names(self, world: StoreWorld, tree: Path) -> None:
        make_tree(world.folder / "other", {b"in": b"in", b"deep/er": b"er"})
        push(world, [tree / "a", world.folder / "other", os.fsencode(tree / "b")])
        assert set(world.stored("n")) == {b"a", b"other/in", b"other/deep/er", b"b/large", b"b/x"}
        again = push(world, [world.folder / "other", tree / "b", tree / "a"])
        assert again.action == "unchanged", "their order does not matter"

    def test_two_sources_of_one_name_are_refused(self, world: StoreWorld, tree: Path) -> None:
        make_tree(world.folder / "other", {b"a": b"another"})
        with pytest.raises(SourceError, match="two sources are named"):
            push(world, [tree / "a", world.folder / "other" / "a"])
        assert not world.live("n")

    def test_source_that_is_missing_is_said_so_before_anything_is_written(self, world: StoreWorld) -> None:
        before = world.memory.snapshot()
        with pytest.raises(SourceNotFound, match="nowhere"):
            push(world, world.folder / "nowhere")
        assert world.memory.snapshot() == before

    def test_no_source_at_all_is_a_mistake(self, world: StoreWorld) -> None:
        with pytest.raises(ValueError, match="no source"):
            push(world, [])

    def test_include_and_exclude_choose(self, world: StoreWorld, tree: Path) -> None:
        push(world, tree, exclude=("b/large",))
        assert set(world.stored("n")) == {b"a", b"b/x"}
        push(world, tree, include=("*.x", "x"))
        assert set(world.stored("n")) == {b"b/x"}

    def test_links_are_stored_unless_they_are_to_be_followed(self, world: StoreWorld, tree: Path) -> None:
        edit_tree(tree, {b"link": Link(b"a"), b"out": Link(os.fsencode(world.folder / "tree" / "b"))})
        push(world, tree)
        assert world.stored("n")[b"link"] == Link(b"a")
        push(world, tree, follow_links=FollowLinks.ALWAYS)
        assert world.stored("n")[b"link"] == File(b"a")
        assert world.stored("n")[b"out/x"] == File(b"#!/bin/sh\n", executable=True)

    def test_hard_links_are_read_once_and_stored_once(self, world: StoreWorld, tree: Path, reads: Reads) -> None:
        """Fault 56."""
        large = seeded_bytes("linked", 30_000)
        make_tree(tree, {b"1": large, b"2": HardLink(b"1"), b"d/3": HardLink(b"1")})
        result = push(world, tree)
        assert result.files == 3
        assert result.content_bytes == 90_000
        assert result.new_bytes <= 30_000
        assert len(reads.paths) == 1
        assert world.stored("n") == dict.fromkeys([b"1", b"2", b"d/3"], File(large))

    def test_hard_link_that_is_broken_meanwhile_is_read_by_itself(
        self, world: StoreWorld, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_tree(tree, {b"1": b"one", b"2": HardLink(b"1")})
        real = SourceReader._opened

        def opened(reader: SourceReader, found):  # type: ignore[no-untyped-def]
            if found.path == b"1" and os.stat(tree / "1").st_nlink == 2:
                edit_tree(tree, {b"1": b"changed"})
            return real(reader, found)

        monkeypatch.setattr(SourceReader, "_opened", opened)
        push(world, tree)
        assert world.stored("n") == {b"1": File(b"changed"), b"2": File(b"one")}

    def test_fifos_and_sockets_are_left_out_and_said_so(self, world: StoreWorld, tree: Path) -> None:
        """Fault 53."""
        os.mkfifo(tree / "pipe")
        result = push(world, tree)
        assert [notice.path for notice in result.notices] == [b"pipe"]
        assert b"pipe" not in world.stored("n")

    def test_what_a_pull_that_was_cut_off_left_is_in_no_version(self, world: StoreWorld, tree: Path) -> None:
        """Fault 71: no pull would write it."""
        before = tree_at(tree)
        edit_tree(tree, {TEMPORARY_PREFIX + b"x": b"x"})
        result = push(world, tree)
        assert [notice.path for notice in result.notices] == [TEMPORARY_PREFIX + b"x"]
        assert world.pulled("n") == before

    @pytest.mark.parametrize("content", [{}, {b"e": Directory()}, {b"e": b""}, {b"l": Link(b"x")}], ids=range(4))
    def test_trees_of_next_to_nothing_are_versions_too(self, world: StoreWorld, tree: Path, content: Tree) -> None:
        """Fault 52."""
        make_tree(tree, content)
        assert push(world, tree).action == "committed"
        assert world.pulled("n") == tree_at(tree)
        assert not world.packs() or content == {b"e": b""} or all(world.packs())
        assert push(world, tree).action == "unchanged"


class TestUnreadable:
    @pytest.fixture
    def gone(self, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`b/large` can't be opened."""
        real = os.open

        def refusing(path, flags, *args, **kwargs):  # type: ignore[no-untyped-def]
            if path == b"large":
                raise PermissionError(13, "Permission denied")
            return real(path, flags, *args, **kwargs)

        monkeypatch.setattr(os, "open", refusing)

    @pytest.mark.usefixtures("gone")
    def test_file_fails_the_push_by_its_name(self, world: StoreWorld, tree: Path) -> None:
        """Fault 62."""
        with pytest.raises(SourceUnreadable, match="b/large") as caught:
            push(world, tree)
        assert "No version was made" in str(caught.value)
        assert not world.live("n")

    @pytest.mark.usefixtures("gone")
    def test_file_is_left_out_and_listed_where_that_is_asked_for(self, world: StoreWorld, tree: Path) -> None:
        """Fault 43."""
        result = push(world, tree, on_error=OnError.SKIP)
        assert [notice.path for notice in result.notices] == [b"b/large"]
        assert set(world.stored("n")) == {b"a", b"b/x"}

    def test_tree_with_something_left_out_is_looked_at_again(
        self, world: StoreWorld, tree: Path, gone: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        push(world, tree, on_error=OnError.SKIP)
        monkeypatch.undo()
        with small_limits():
            result = push(world, tree, on_error=OnError.SKIP)
        assert result.action == "committed"
        assert world.stored("n") == tree_at(tree)

    def test_file_that_vanishes_after_the_scan_fails_the_push(
        self, world: StoreWorld, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Fault 48."""
        real = SourceReader._opened

        def opened(reader: SourceReader, found):  # type: ignore[no-untyped-def]
            if found.path == b"b/x":
                (tree / "b" / "x").unlink(missing_ok=True)
            return real(reader, found)

        monkeypatch.setattr(SourceReader, "_opened", opened)
        with pytest.raises(SourceChanged, match="b/x"):
            push(world, tree)
        assert not world.live("n")
        assert push(world, tree, on_error=OnError.SKIP).action == "committed"
        assert world.stored("n") == tree_at(tree)

    @pytest.mark.parametrize("path", [b"a", b"b/large"])
    def test_file_that_changes_while_it_is_read_is_stored_as_it_was_at_one_moment_and_not_remembered_as_clean(
        self, world: StoreWorld, tree: Path, path: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Faults 35 and 47."""
        real, states = SourceReader._opened, [b"x" * 5000, b"y" * 7000]

        def opened(reader: SourceReader, found):  # type: ignore[no-untyped-def]
            handle = real(reader, found)
            if found.path == path and states:
                edit_tree(tree, {path: states.pop(0)})
            return handle

        monkeypatch.setattr(SourceReader, "_opened", opened)
        push(world, tree)
        monkeypatch.setattr(SourceReader, "_opened", real)
        stored = world.stored("n")[path]
        first = b"a" if path == b"a" else seeded_bytes("large", 9000)
        assert stored in (File(first), File(b"x" * 5000), File(b"y" * 7000))
        push(world, tree)
        assert world.stored("n") == tree_at(tree)


class TestDryRun:
    def test_writes_nothing_and_says_what_would_be(self, world: StoreWorld, tree: Path) -> None:
        before = world.memory.snapshot()
        planned = push(world, tree, dry_run=True, aliases=("prod",))
        assert (planned.action, planned.version) == ("planned", None)
        assert world.memory.snapshot() == before
        done = push(world, tree)
        assert planned.content_digest == done.content_digest
        assert (planned.files, planned.content_bytes) == (done.files, done.content_bytes)
        assert planned.new_bytes == done.new_bytes
        assert planned.sent_bytes == done.sent_bytes

    def test_leaves_nothing_behind_that_a_later_push_would_believe(self, world: StoreWorld, tree: Path) -> None:
        push(world, tree, dry_run=True)
        push(world, tree)
        assert world.stored("n") == tree_at(tree)

    def test_of_an_unchanged_tree_says_so(self, world: StoreWorld, tree: Path) -> None:
        push(world, tree)
        before = world.memory.snapshot()
        for checksum in (False, True):
            result = push(world, tree, dry_run=True, checksum=checksum, aliases=("prod",))
            assert (result.action, result.version) == ("unchanged", "n:v1")
        assert world.memory.snapshot() == before

    def test_of_a_changed_tree_counts_only_what_is_new(self, world: StoreWorld, tree: Path) -> None:
        push(world, tree)
        edit_tree(tree, {b"new": seeded_bytes("new", 3000)})
        result = push(world, tree, dry_run=True)
        assert result.action == "planned"
        assert result.new_bytes == 3000


class TestResult:
    def test_tells_what_was_new(self, world: StoreWorld, tree: Path) -> None:
        first = push(world, tree)
        assert first.new_bytes == first.content_bytes == 1 + 9000 + 10
        assert first.sent_bytes == sum(len(world.memory.get(pack_key(pack))) for pack in world.packs())
        edit_tree(tree, {b"b/new": seeded_bytes("new", 5000)})
        second = push(world, tree)
        assert second.new_bytes == 5000
        assert 5000 < second.sent_bytes < 7000
        with world.store() as store:
            shown = store.show("n:v2")
        assert shown.new_bytes == second.sent_bytes
        assert shown.stored_bytes <= first.sent_bytes + second.sent_bytes

    def test_version_says_who_made_it_and_why(self, world: StoreWorld, tree: Path) -> None:
        result = push(world, tree, message="why", labels=("good",), metadata={"loss": 0.5}, aliases=("prod", "best"))
        assert result.aliases == ("prod", "best")
        with world.store() as store:
            shown = store.show("n:prod")
        assert (shown.message, shown.labels, shown.metadata) == ("why", ("good",), {"loss": 0.5})
        assert set(shown.aliases) == {"prod", "best"}
        assert shown.who
        assert shown.host == os.uname().nodename
        assert shown.created.startswith("2027-01-15T")
        assert (shown.files, shown.directories, shown.links) == (3, 0, 0)

    @pytest.mark.parametrize("compression", Compression)
    def test_compression_changes_bytes_sent_and_nothing_else(
        self, world: StoreWorld, tree: Path, compression: Compression
    ) -> None:
        edit_tree(tree, {b"text": b"text " * 5000})
        auto = push(world, tree, "auto", user="first")
        result = push(world, tree, "n", user="second", compression=compression)
        assert result.content_digest == auto.content_digest
        assert world.stored("n") == tree_at(tree)

    def test_fragmentation_is_told(self, world: StoreWorld, tree: Path) -> None:
        for number in range(6):
            edit_tree(tree, {b"%d" % number: seeded_bytes(str(number), 2000)})
            result = push(world, tree)
        assert result.pack_count >= 6
        assert result.small_pack_count == result.pack_count


class TestReuse:
    def test_same_directory_under_another_name_sends_no_content(self, world: StoreWorld, tree: Path) -> None:
        push(world, tree)
        result = push(world, tree, "other")
        assert result.new_bytes == 0
        assert world.stored("other") == tree_at(tree)

    def test_renamed_directory_sends_no_content(self, world: StoreWorld, tree: Path) -> None:
        push(world, tree)
        tree.rename(world.folder / "moved")
        edit_tree(world.folder / "moved", {b"new": b"new"})
        (world.folder / "moved" / "b").rename(world.folder / "moved" / "c")
        (world.folder / "moved" / "c" / "large").rename(world.folder / "moved" / "c" / "renamed")
        for user in ("user", "another machine"):
            result = push(world, world.folder / "moved", user=user)
            assert result.new_bytes == (3 if user == "user" else 0)
            assert world.stored("n") == tree_at(world.folder / "moved")

    def test_large_file_that_is_moved_and_changed_sends_only_what_changed(self, world: StoreWorld, tree: Path) -> None:
        large = seeded_bytes("large", 60_000)
        make_tree(tree, {b"before/large": large, b"other": seeded_bytes("other", 50_000)})
        push(world, tree)
        make_tree(tree, {b"after/large": large[:30_000] + b"more" + large[30_000:], b"other": large})
        result = push(world, tree, user="another machine")
        assert result.new_bytes < 4000
        assert world.stored("n") == tree_at(tree)

    def test_another_machine_sends_only_what_changed(self, world: StoreWorld, tree: Path) -> None:
        large = seeded_bytes("large", 60_000)
        make_tree(tree, {b"large": large, **{b"%d" % n: seeded_bytes(str(n), 300) for n in range(50)}})
        push(world, tree)
        edit_tree(tree, {b"large": large[:30_000] + b"inserted" + large[30_000:], b"7": b"changed"})
        result = push(world, tree, user="other machine")
        assert result.new_bytes < 4000
        assert world.stored("n") == tree_at(tree)

    def test_another_machine_and_another_name_save_what_landmarks_show(self, world: StoreWorld, tree: Path) -> None:
        make_tree(tree, {b"%d" % n: seeded_bytes(str(n), 20_000) for n in range(20)})
        push(world, tree)
        result = push(world, tree, "other", user="other machine")
        assert result.new_bytes < 200_000
        assert world.stored("other") == tree_at(tree)

    def test_list_of_a_file_in_many_pieces_is_not_sent_again_with_a_change_elsewhere(
        self, world: StoreWorld, tree: Path
    ) -> None:
        """Nor with no change at all."""
        large = seeded_bytes("large", 20_000)
        make_tree(tree, {b"large": large, **{b"z%02d" % n: b"%d" % n for n in range(30)}})
        push(world, tree)
        edit_tree(tree, {b"large": b"".join(large[at : at + 2000] + b"more" for at in range(0, 20_000, 2000))})
        push(world, tree)
        for user in ("user", "another machine"):
            result = push(world, tree, user=user, checksum=True)
            assert (result.action, result.sent_bytes) == ("unchanged", 0)
        before = world.packs()
        edit_tree(tree, {b"z29": b"changed"})
        push(world, tree)
        sent = [parse_pack(pack, memoryview(world.memory.get(pack_key(pack)))) for pack in world.packs() - before]
        assert {table.kind(0) for table in sent} == {ChunkKind.CONTENT, ChunkKind.BLOCK}
        assert world.stored("n") == tree_at(tree)

    def test_many_small_packs_are_put_together(
        self, world: StoreWorld, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Reading a request's worth of each of hundreds of packs is what makes a store slow."""
        monkeypatch.setattr(upload_module, "MAX_SMALL_PACKS", 8)
        monkeypatch.setattr(upload_module, "SMALL_PACK_BYTES", 4000)
        counts = []
        for number in range(12):
            edit_tree(tree, {b"%02d" % number: seeded_bytes(f"small {number}", 1500)})
            counts.append(push(world, tree).pack_count)
            assert world.stored("n") == tree_at(tree)
        assert max(counts) <= 8 + 4
        assert counts[-1] < max(counts)

    def test_packs_that_are_large_enough_stay(
        self, world: StoreWorld, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(upload_module, "MAX_SMALL_PACKS", 3)
        monkeypatch.setattr(upload_module, "SMALL_PACK_BYTES", 100)
        for number in range(8):
            edit_tree(tree, {b"%02d" % number: seeded_bytes(f"small {number}", 1500)})
            result = push(world, tree)
        assert result.pack_count > 8
        assert result.new_bytes == 1500

    def test_file_that_changes_while_small_packs_are_put_together_is_stored_as_it_is_now(
        self, world: StoreWorld, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(upload_module, "MAX_SMALL_PACKS", 4)
        for number in range(4):
            edit_tree(tree, {b"%02d" % number: seeded_bytes(f"small {number}", 1500)})
            push(world, tree)
        real = upload_module.ContentUpload._put_again

        times = 0

        def put_again(self, *args):  # type: ignore[no-untyped-def]
            nonlocal times
            times += 1
            edit_tree(tree, {b"a": b"changed meanwhile"})
            return real(self, *args)

        monkeypatch.setattr(upload_module.ContentUpload, "_put_again", put_again)
        for number in range(10, 20):
            edit_tree(tree, {b"%02d" % number: seeded_bytes(f"last {number}", 1500)})
            assert push(world, tree).action == "committed"
            if times:
                break
        assert times == 1
        assert world.stored("n") == tree_at(tree)


def test_nothing_but_what_a_push_needs_is_written(world: StoreWorld, tree: Path) -> None:
    push(world, tree, aliases=("prod",), labels=("good",))
    keys = set(world.memory.keys()) - {STORE}
    assert {key.split("/")[0] + "/" for key in keys} <= {PACKS, TRANSACTIONS, NAMES, "landmarks/", "labels/"}
    assert sum(key.startswith(TRANSACTIONS) for key in keys) == 2


def test_progress_ends_at_what_was_announced(world: StoreWorld, tree: Path) -> None:
    class Seen:
        def __init__(self) -> None:
            self.phases: list[str] = []
            self.total = self.files = self.content = 0

        def phase(self, name: str, *, total_files: int | None, total_bytes: int | None) -> None:
            self.phases.append(name)
            self.total = total_bytes or self.total

        def advance(self, *, files: int = 0, content_bytes: int = 0, saved_bytes: int = 0) -> None:
            self.files += files
            self.content += content_bytes

    for edit in ({}, {b"new": seeded_bytes("new", 20_000)}):
        edit_tree(tree, edit)
        seen = Seen()
        with world.store() as store:
            result = store.push(tree, "n", progress=seen)
        assert seen.phases == ["scanning", "uploading", "committing"]
        assert seen.content == seen.total == result.content_bytes
        assert seen.files == result.files


def test_store_closed_in_the_middle_is_no_version(world: StoreWorld, tree: Path) -> None:
    store: Store = world.store()
    store.close()
    with pytest.raises(RuntimeError):
        store.push(tree, "n")
    assert not world.live("n")


class TestNotes:
    def test_an_unchanged_push_notes_on_the_version_that_stands_what_it_was_asked(
        self, world: StoreWorld, tree: Path
    ) -> None:
        push(world, tree, message="first", labels=("a",), metadata={"x": 1})
        again = push(world, tree, message="second", labels=("b",), metadata={"y": 2}, ttl_seconds=60.0)
        assert (again.action, again.version, again.edited) == ("unchanged", "n:v1", True)
        with world.store() as store:
            info = store.show("n")
        assert (info.message, info.labels, dict(info.metadata)) == ("first", ("a", "b"), {"x": 1, "y": 2})
        assert info.expires

    def test_the_same_push_again_notes_nothing(self, world: StoreWorld, tree: Path) -> None:
        push(world, tree, message="m", labels=("a",), metadata={"x": 1})
        keys = set(world.memory.keys())
        assert not push(world, tree, message="m", labels=("a",), metadata={"x": 1}).edited
        assert not push(world, tree, message="other").edited
        assert set(world.memory.keys()) == keys

    @pytest.mark.parametrize("touched", [False, True])
    @pytest.mark.parametrize(("ttl", "is_for_ever"), [(None, True), (60.0, False)])
    def test_unchanged_content_over_an_expired_version_can_be_read_again(
        self, world: StoreWorld, tree: Path, ttl: float | None, is_for_ever: bool, touched: bool
    ) -> None:
        push(world, tree, ttl_seconds=1.0)
        world.virtual_clock.advance(2)
        again = push(world, tree, ttl_seconds=ttl, checksum=touched)
        assert (again.action, again.version, again.edited) == ("unchanged", "n:v1", True)
        assert world.pulled("n")
        with world.store() as store:
            assert (store.show("n").expires == "") is is_for_ever
        assert push(world, tree).edited is False

    @pytest.mark.parametrize("aliases", [(), ("a",)])
    def test_a_skipped_push_leaves_an_expired_version_expired(
        self, world: StoreWorld, tree: Path, aliases: tuple[str, ...]
    ) -> None:
        push(world, tree, ttl_seconds=1.0)
        world.virtual_clock.advance(2)
        skipped = push(world, tree, strategy=Strategy.SKIP, aliases=aliases)
        assert (skipped.action, skipped.edited) == ("skipped", False)
        with pytest.raises(VersionExpired):
            world.pulled("n")

    def test_a_skipped_push_notes_nothing(self, world: StoreWorld, tree: Path) -> None:
        push(world, tree)
        skipped = push(world, tree, strategy=Strategy.SKIP, labels=("a",))
        assert (skipped.action, skipped.edited) == ("skipped", False)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"metadata": {"x": float("nan")}},
            {"metadata": {"x": "y" * (1 << 20)}},
            {"labels": ("no label",)},
            {"ttl_seconds": -1.0},
            {"ttl_seconds": float("nan")},
            {"ttl_seconds": 1e18},
        ],
        ids=str,
    )
    def test_what_can_not_be_noted_is_refused_before_anything_is_asked(
        self, world: StoreWorld, tree: Path, wrong: dict[str, object]
    ) -> None:
        count = CountBackend(world.memory)
        with pytest.raises((InvalidMetadata, InvalidName)):
            push(world, tree, through=count, **wrong)
        assert not [key for key in set(world.memory.keys()) if key != STORE]


class TestBase:
    def test_what_lies_in_another_users_version_is_not_sent_again(self, world: StoreWorld, tree: Path) -> None:
        push(world, tree, "theirs", user="them")
        with world.store(user="us") as store:
            store.pull("theirs", world.folder / "ours")
        edit_tree(world.folder / "ours", {b"new": b"new"})
        packs = world.packs()
        with world.store(user="us") as store:
            done = store.push(world.folder / "ours", "ours", base=parse_reference("theirs"))
        assert len(world.content_chunks(world.packs() - packs)) == 1
        assert (done.version, done.new_bytes) == ("ours:v1", 3)
        assert world.pulled("ours") == tree_at(world.folder / "ours")

    def test_a_base_that_is_not_there_costs_only_what_it_would_have_saved(self, world: StoreWorld, tree: Path) -> None:
        with world.store() as store:
            store.push(tree, "n", base=parse_reference("nothing"))
        assert world.pulled("n") == tree_at(tree)


class TestGrowth:
    @pytest.fixture
    def growing(self, world: StoreWorld, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A log that gets one more line whenever somebody has read from it."""
        log = world.folder / "logs" / "events"
        log.parent.mkdir()
        log.write_bytes(b"line\n" * 2000)
        real = os.readv, os.preadv

        def grow() -> None:
            with log.open("ab") as stream:
                stream.write(b"more\n")

        def readv(handle: int, buffers: list[memoryview]) -> int:
            count = real[0](handle, buffers)
            grow()
            return count

        def preadv(handle: int, buffers: list[memoryview], offset: int) -> int:
            count = real[1](handle, buffers, offset)
            grow()
            return count

        monkeypatch.setattr(os, "readv", readv)
        monkeypatch.setattr(os, "preadv", preadv)
        return log

    def test_a_file_that_keeps_growing_is_an_error(self, world: StoreWorld, growing: Path) -> None:
        with pytest.raises(SourceChanged):
            push(world, growing.parent)

    @pytest.mark.parametrize("lines", [10, 2000], ids=["small", "large"])
    def test_or_is_stored_as_it_was_when_it_was_opened(self, world: StoreWorld, growing: Path, lines: int) -> None:
        growing.write_bytes(b"line\n" * lines)
        push(world, growing.parent, growth=Growth.TAKE_START)
        assert world.stored("n") == {b"events": File(b"line\n" * lines)}
        again = push(world, growing.parent, growth=Growth.TAKE_START)
        assert again.action == "committed", "it has grown since"
        stored = world.stored("n")[b"events"]
        assert isinstance(stored, File)
        assert stored.content.startswith(b"line\n" * lines + b"more\n")
