"""Finding versions: what is found, in which order, at which cost, and what hints can't do."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.artifacts.folders import delete_folder, make_folder
from artifactstore.backend.protocol import Backend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.fault import ErrorBefore, Fault, permission_denied
from artifactstore.errors import CorruptData, InvalidExpression, InvalidName, NameNotFound, StorePermissionDenied
from artifactstore.keys import NameKeys, label_key
from artifactstore.names import Name
from artifactstore.search import Spot, Unreadable, in_all
from artifactstore.store import PushOptions, RemoveOptions, Store
from artifactstore.testing.stores import StoreWorld, edit_tree, make_tree
from artifactstore.transaction.edits import VersionEdit
from artifactstore.transaction.records import SlotRecord, encode_record, fresh_nonce


class Finder:
    """A store, and pushes to it."""

    def __init__(self, folder: Path) -> None:
        self.world = StoreWorld(folder)
        self.tree = folder / "tree"
        self.pushes = 0
        make_tree(self.tree, {b"a": b"0"})

    def push(self, name: str, *labels: str, message: str = "", **metadata: object) -> str:
        self.pushes += 1
        edit_tree(self.tree, {b"a": b"%d" % self.pushes})
        options = PushOptions(labels=labels, message=message, metadata=metadata)
        with self.world.store() as store:
            return store.push(self.tree, name, options=options).version or ""

    def edit(self, version: str, change: VersionEdit) -> None:
        with self.world.store() as store:
            store.edit(version, change)

    def remove(self, version: str) -> None:
        with self.world.store() as store:
            store.remove(version, options=RemoveOptions())

    def hint(self, label: str, name: str, slot: int, *, number: int = 0, on: bool = True) -> None:
        self.world.memory.put(label_key(label, Name(name), slot, number, on=on), b"")

    def find(
        self,
        *labels: str,
        where: tuple[str, ...] = (),
        folder: str = "",
        after: str = "",
        through: Backend | None = None,
    ) -> list[str]:
        with self.world.store(through=through) as store:
            return [info.version for info in store.find(labels=labels, where=where, folder=folder, after=after)]


@pytest.fixture
def finder(tmp_path: Path) -> Finder:
    return Finder(tmp_path)


class TestByLabel:
    def test_finds_the_versions_that_have_it(self, finder: Finder) -> None:
        finder.push("a", "good")
        finder.push("a")
        finder.push("team/b", "good", "old")
        finder.push("team/deep/c", "bad")
        assert finder.find("good") == ["a:v1", "team/b:v1"]
        assert finder.find("nothing") == []

    def test_lists_by_folder_and_name_and_the_newest_version_first(self, finder: Finder) -> None:
        for name in ("b", "team/x", "a", "team/sub/y", "b", "a-b", "9/z"):
            finder.push(name, "good")
        expected = ["9/z:v1", "a-b:v1", "a:v1", "b:v2", "b:v1", "team/x:v1", "team/sub/y:v1"]  # as keys sort
        assert finder.find("good") == finder.find() == finder.find("good", "good") == expected

    def test_several_labels_are_all_of_them(self, finder: Finder) -> None:
        finder.push("a", "one", "two")
        finder.push("b", "one")
        finder.push("c", "two", "three")
        finder.push("d", "three", "two", "one")
        assert finder.find("one", "two") == ["a:v1", "d:v1"]
        assert finder.find("three", "one", "two") == ["d:v1"]
        assert finder.find("one", "nothing") == []

    def test_stays_below_the_folder(self, finder: Finder) -> None:
        for name in ("team", "team/a", "team/sub/b", "team-two/c"):
            finder.push(name, "good")
        assert finder.find("good", folder="team") == ["team/a:v1", "team/sub/b:v1"]
        assert finder.find("good", folder="team/sub") == ["team/sub/b:v1"]

    def test_an_edit_adds_and_takes_away(self, finder: Finder) -> None:
        finder.push("a", "good")
        finder.push("b")
        finder.edit("a:v1", VersionEdit(remove_labels=("good",)))
        finder.edit("b:v1", VersionEdit(add_labels=("good", "new")))
        assert finder.find("good") == ["b:v1"]
        assert finder.find("new", "good") == ["b:v1"]
        finder.edit("a:v1", VersionEdit(add_labels=("good",)))
        assert finder.find("good") == ["a:v1", "b:v1"]

    def test_deleted_versions_are_not_found(self, finder: Finder) -> None:
        finder.push("a", "good")
        finder.push("a", "good")
        finder.remove("a:v2")
        assert finder.find("good") == ["a:v1"]

    def test_conditions_filter_what_has_the_label(self, finder: Finder) -> None:
        finder.push("a", "good", acc=0.5)
        finder.push("b", "good", acc=0.9)
        finder.push("c", acc=0.9)
        assert finder.find("good", where=("acc > 0.8",)) == ["b:v1"]
        assert finder.find("good", where=("acc > 0.8", "name = a")) == []

    def test_what_is_found_is_what_show_shows(self, finder: Finder) -> None:
        finder.push("a", "good", message="first", acc=0.5)
        finder.edit("a:v1", VersionEdit(message="edited", set_metadata={"acc": 0.7}, ttl="1d"))
        with finder.world.store() as store:
            (found,) = store.find(labels="good", where="acc = 0.7")
            assert found == store.show("a:v1")


class TestHints:
    """They say where to look, and never what is there."""

    def test_one_for_a_slot_that_is_not_there_is_dropped(self, finder: Finder) -> None:
        finder.push("a", "good")
        finder.hint("good", "a", 9)
        finder.hint("good", "nowhere/n", 1)
        assert finder.find("good") == ["a:v1"]

    def test_one_for_a_version_without_the_label_is_dropped(self, finder: Finder) -> None:
        finder.push("a")
        finder.hint("good", "a", 1)
        assert finder.find("good") == []

    def test_the_newest_one_counts(self, finder: Finder) -> None:
        finder.push("a", "good")
        finder.hint("good", "a", 1, number=3, on=False)
        count = CountBackend(finder.world.memory)
        assert finder.find("good", through=count) == []
        assert count.counts.requests == {"list": 1, "get": 1}  # store.json
        finder.hint("good", "a", 1, number=4)
        assert finder.find("good") == ["a:v1"]

    def test_one_that_lost_its_way_behind_an_edit_does_no_harm(self, finder: Finder) -> None:
        finder.push("a", "good")
        finder.edit("a:v1", VersionEdit(remove_labels=("good",)))
        finder.world.memory.delete(label_key("good", Name("a"), 1, 1, on=False))
        assert finder.find("good") == []

    def test_strangers_are_passed_over(self, finder: Finder) -> None:
        finder.push("a", "good")
        for key in ("readme", "@a/x/y.on", "a/1-2/3-4.on", "@a/9999999999999998-1/9999999999999999-0.maybe"):
            finder.world.memory.put(f"labels/good/{key}", b"")
        finder.world.memory.put("labels/goodness/@a/9999999999999998-1/9999999999999999-0.on", b"")
        assert finder.find("good") == ["a:v1"]


class TestByScan:
    def test_looks_at_everything_below_the_folder(self, finder: Finder) -> None:
        finder.push("a", acc=0.9)
        finder.push("a", acc=0.1)
        finder.push("team/b", acc=0.95)
        finder.push("team/sub/c", acc=0.2)
        assert finder.find(where=("acc > 0.5",)) == ["a:v1", "team/b:v1"]
        assert finder.find(where=("acc > 0.5",), folder="team") == ["team/b:v1"]
        assert finder.find(folder="team") == ["team/b:v1", "team/sub/c:v1"]
        assert finder.find() == ["a:v2", "a:v1", "team/b:v1", "team/sub/c:v1"]

    def test_edits_count_and_deleted_versions_do_not(self, finder: Finder) -> None:
        for name in ("a", "b", "c"):
            finder.push(name, acc=0.9)
        finder.edit("a:v1", VersionEdit(set_metadata={"acc": 0.1}))
        finder.remove("b:v1")
        assert finder.find(where=("acc > 0.5",)) == ["c:v1"]
        assert finder.find(where=("acc < 0.5",)) == ["a:v1"]

    def test_uploads_in_progress_and_given_up_are_not_found(self, finder: Finder) -> None:
        finder.push("a")
        clock = finder.world.clock
        pending = SlotRecord(nonce=fresh_nonce(clock), tx="0" * 32, content="0" * 64, created="")
        finder.world.memory.put(NameKeys(Name("a")).slot(2), encode_record(pending))
        finder.world.memory.put(NameKeys(Name("b")).slot(1), encode_record(pending))
        assert finder.find() == ["a:v1"]

    def test_records_of_jobs_and_folders_are_passed_over_unread(self, finder: Finder) -> None:
        finder.push("a")
        for key in (".jobs/j/dir/@k/v/9999999999999998-1", ".folder/x", "a/b", "@a/v/x", "@/v/9999999999999998-1"):
            finder.world.memory.put(f"names/{key}", b"not ours")
        assert finder.find() == ["a:v1"]

    def test_expired_versions_are_found(self, finder: Finder) -> None:
        finder.push("a", "good")
        finder.edit("a:v1", VersionEdit(ttl="1h"))
        finder.world.virtual_clock.advance(7200)
        assert finder.find("good") == finder.find() == finder.find(where=("expires > 2020",)) == ["a:v1"]


class TestPages:
    @pytest.mark.parametrize("labels", [(), ("good",), ("good", "all")], ids=["scan", "label", "labels"])
    def test_after_goes_on_where_a_page_ended(self, finder: Finder, labels: tuple[str, ...]) -> None:
        for name in ("a", "b", "b", "team/c", "team/a"):
            finder.push(name, "good", "all")
        everything = finder.find(*labels)
        assert len(everything) == 5
        for index, version in enumerate(everything):
            assert finder.find(*labels, after=version) == everything[index + 1 :]
        assert finder.find(*labels, after="b:v9") == [v for v in everything if v > "b"]
        assert finder.find(*labels, after="zz/z:v1") == []

    def test_after_works_within_a_folder(self, finder: Finder) -> None:
        for name in ("a", "team/a", "team/b", "z"):
            finder.push(name, "good")
        for labels in ((), ("good",)):
            assert finder.find(*labels, folder="team", after="team/a:v1") == ["team/b:v1"]
            assert finder.find(*labels, folder="team", after="a:v1") == ["team/a:v1", "team/b:v1"]

    def test_an_edited_and_deleted_version_is_a_place_to_go_on_from(self, finder: Finder) -> None:
        for name in ("a", "b"):
            finder.push(name)
        finder.edit("a:v1", VersionEdit(message="x"))
        finder.remove("a:v1")
        assert finder.find(after="a:v1") == ["b:v1"]

    @pytest.mark.parametrize("labels", [(), ("good",)], ids=["scan", "label"])
    def test_a_reader_that_stops_early_leaves_the_rest_unread(self, finder: Finder, labels: tuple[str, ...]) -> None:
        for number in range(200):
            slot = NameKeys(Name(f"n{number:03d}")).slot(1)
            record = SlotRecord(
                nonce=fresh_nonce(finder.world.clock), tx="0" * 32, content="0" * 64, created="", labels=("good",)
            )
            finder.world.memory.put(slot, encode_record(record))
            finder.hint("good", f"n{number:03d}", 1)
        count = CountBackend(finder.world.memory)
        with finder.world.store(through=count) as store:
            found = store.find(labels=labels)
            list(islice(found, 3 if labels else 0))
            assert isinstance(found, Iterator)
            found.close()  # type: ignore[attr-defined]
        assert count.counts.requests.get("get", 0) < 150


class TestCost:
    def test_a_label_costs_one_listing_and_two_requests_for_each_match(self, finder: Finder) -> None:
        for number in range(6):
            finder.push(f"n{number}", *(("good",) if number % 2 else ()))
        count = CountBackend(finder.world.memory)
        assert len(finder.find("good", through=count)) == 3
        assert count.counts.requests == {"list": 1 + 3, "get": 1 + 3}  # one GET is of store.json

    def test_an_edited_match_costs_two_more(self, finder: Finder) -> None:
        finder.push("a", "good")
        finder.push("b", "good")
        finder.edit("a:v1", VersionEdit(message="edited"))
        count = CountBackend(finder.world.memory)
        assert len(finder.find("good", through=count)) == 2
        assert count.counts.requests == {"list": 1 + 2 + 1, "get": 1 + 2 + 1}

    def test_only_what_all_labels_name_is_read(self, finder: Finder) -> None:
        for number in range(8):
            finder.push(f"n{number}", "good", *(("rare",) if number == 5 else ()))
        count = CountBackend(finder.world.memory)
        assert finder.find("good", "rare", through=count) == ["n5:v1"]
        assert count.counts.requests == {"list": 2 + 1, "get": 1 + 1}

    def test_a_scan_costs_one_listing_and_a_read_for_each_version_that_is_there(self, finder: Finder) -> None:
        for number in range(5):
            finder.push(f"f{number}/n", step=number)
        finder.remove("f1/n:v1")
        count = CountBackend(finder.world.memory)
        assert finder.find(where=("step = 3",), through=count) == ["f3/n:v1"]
        assert count.counts.requests == {"list": 1, "get": 1 + 4 + 1}  # store.json, slots, the outcome of the match

    def test_what_jobs_stored_is_not_listed(self, finder: Finder) -> None:
        finder.push("a")
        for number in range(2500):
            finder.world.memory.put(f"names/.jobs/j{number}/dir/@k/v/9999999999999998-1", b"")
        count = CountBackend(finder.world.memory)
        assert finder.find(through=count) == ["a:v1"]
        assert count.counts.requests["list"] == 1

    def test_progress_hears_of_each_version_looked_at(self, finder: Finder) -> None:
        for number in range(5):
            finder.push(f"n{number}", step=number)
        told = Told()
        with finder.world.store() as store:
            assert len(list(store.find(where="step > 2", progress=told))) == 2
        assert told.phases == ["searching"]
        assert told.looked_at == 5


class Told:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.looked_at = 0

    def phase(self, name: str, *, total_files: int | None, total_bytes: int | None) -> None:
        self.phases.append(name)

    def advance(self, *, files: int = 0, content_bytes: int = 0, saved_bytes: int = 0) -> None:
        self.looked_at += files

    def close(self) -> None:
        pass


class TestErrors:
    """None of them looks like "nothing found"."""

    @pytest.mark.parametrize(
        "asked",
        [{"labels": "no label"}, {"labels": ("latest",)}, {"folder": "a//b"}, {"after": "a"}, {"after": "a:prod"}],
        ids=str,
    )
    def test_bad_names_are_refused_before_anything_is_read(self, finder: Finder, asked: dict[str, str]) -> None:
        with finder.world.store() as store, pytest.raises(InvalidName):
            store.find(**asked)  # type: ignore[arg-type]

    def test_bad_conditions_are_refused_before_anything_is_read(self, finder: Finder) -> None:
        with finder.world.store() as store, pytest.raises(InvalidExpression):
            store.find(where=["acc > 1", "acc"])

    @pytest.mark.parametrize("labels", [(), ("good",)], ids=["scan", "label"])
    def test_a_folder_that_is_not_there(self, finder: Finder, labels: tuple[str, ...]) -> None:
        finder.push("team/a")
        with pytest.raises(NameNotFound, match="no folder nowhere"):
            finder.find(*labels, folder="nowhere")
        assert finder.find("good", folder="team") == []

    @pytest.mark.parametrize("labels", [(), ("good",)], ids=["scan", "label"])
    def test_a_folder_that_was_made_is_there_and_one_that_was_removed_is_not(
        self, finder: Finder, labels: tuple[str, ...]
    ) -> None:
        finder.push("gone/a")
        with finder.world.store() as store:
            make_folder(store, "empty")
            delete_folder(store, "gone", recursive=True)
        assert finder.find(*labels, folder="empty") == []
        with pytest.raises(NameNotFound, match="no folder gone"):
            finder.find(*labels, folder="gone")

    @pytest.mark.parametrize(
        ("labels", "verb", "key"),
        [
            ((), "list", "names/*"),
            ((), "get", "names/@a/v/*"),
            ((), "get", "tx/*/outcome"),
            ((), "list", "names/@a/meta/*"),
            (("good",), "list", "labels/good/*"),
            (("good",), "list", "names/@a/v/*"),
            (("good",), "get", "names/@a/v/*"),
            (("good",), "get", "names/@a/meta/*"),
        ],
    )
    def test_a_storage_that_refuses(self, finder: Finder, labels: tuple[str, ...], verb: str, key: str) -> None:
        finder.push("a", "good")
        finder.edit("a:v1", VersionEdit(message="edited"))
        faulty = finder.world.faulty(Fault(verb=verb, key=key, times=None, action=ErrorBefore(permission_denied)))
        with pytest.raises(StorePermissionDenied):
            finder.find(*labels, through=faulty)

    @pytest.mark.parametrize("labels", [(), ("good",)], ids=["scan", "label"])
    def test_a_damaged_record(self, finder: Finder, labels: tuple[str, ...]) -> None:
        finder.push("a", "good")
        key = NameKeys(Name("a")).slot(1)
        finder.world.memory.delete(key)
        finder.world.memory.put(key, b"{")
        with pytest.raises(CorruptData, match="names/@a/v/"):
            finder.find(*labels)

    @pytest.mark.parametrize("labels", [(), ("good",)], ids=["scan", "label"])
    def test_a_damaged_record_does_not_hide_the_others(self, finder: Finder, labels: tuple[str, ...]) -> None:
        for name in ("a", "b", "b", "c"):
            finder.push(name, "good")
        for slot in (1, 2):
            key = NameKeys(Name("b")).slot(slot)
            finder.world.memory.delete(key)
            finder.world.memory.put(key, b"{")
        told: list[Unreadable] = []
        with finder.world.store() as store:
            found = [info.version for info in store.find(labels=labels, on_unreadable=told.append)]
            rest = store.find(labels=labels)
            assert [next(rest).version, next(rest).version] == found == ["a:v1", "c:v1"]
            with pytest.raises(CorruptData, match="names/@b/v/"):
                next(rest)
        assert [each.version for each in told] == ["b:v2", "b:v1"]


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5))), min_size=1, max_size=4))
def test_what_sorted_streams_have_in_common_is_their_intersection(streams: list[list[tuple[str, int]]]) -> None:
    sets = [{Spot.of(Name(name), slot) for name, slot in stream} for stream in streams]
    common = in_all(iter(sorted(each)) for each in sets)
    assert list(common) == sorted(set.intersection(*sets))


def test_a_store_is_asked_for_only_once_the_results_are_wanted(finder: Finder) -> None:
    finder.push("a")
    count = CountBackend(finder.world.memory)
    with finder.world.store(through=count) as store:
        found = Store.find(store)
        assert count.counts.requests == {"get": 1}
        assert [info.version for info in found] == ["a:v1"]
