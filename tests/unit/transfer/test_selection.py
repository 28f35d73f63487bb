"""Patterns on both ways: a pull of what matches, and a push of what matches over what is stored."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.errors import DownloadConflict, PathExists
from artifactstore.manifest.model import EntryKind
from artifactstore.store import PullOptions, PushOptions, Store, open_store
from artifactstore.transfer.found import Found, ScanOptions, Unmatched
from artifactstore.transfer.plan import ConflictStrategy, SyncBase
from artifactstore.transfer.scan import scan
from artifactstore.transfer.selection import EVERYTHING, Selection

PATHS = ("a.bin", "a.txt", "data/x.bin", "data/deep/y.txt", "logs/1.txt", "logs/old/2.txt", "café/ü.txt")
RULES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "none": ((), ()),
    "include names": (("*.txt",), ()),
    "include a directory": (("data/",), ()),
    "include a path": (("/logs/old",), ()),
    "exclude names": ((), ("*.bin",)),
    "exclude a directory": ((), ("logs",)),
    "exclude and take back": ((), ("*.txt", "!a.txt")),
    "take back below what is out": ((), ("data", "!data/deep")),
    "both": (("data", "*.txt"), ("*.bin", "old")),
    "all but": ((), ("*", "!*/", "!*.txt")),
}


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def there(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_a_selection_takes_what_a_scan_with_the_same_patterns_finds(
    rules: tuple[tuple[str, ...], tuple[str, ...]], tmp_path: Path
) -> None:
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    (tmp_path / "data" / "empty").mkdir()
    (tmp_path / "logs" / "old" / "empty").mkdir()
    include, exclude = rules
    selection = Selection(include=include, exclude=exclude)
    everything = scan([tmp_path], options=ScanOptions()).found
    expected = scan([tmp_path], options=ScanOptions(include=include, exclude=exclude)).found
    taken = [row for row in everything if selection.takes(row.path, row.kind)]
    assert _files(taken) == _files(expected)
    # A scan also makes rows of directories that rules have emptied.
    assert _folders(taken) == _folders(expected) & _folders(everything)
    assert (selection == EVERYTHING) == selection.is_everything == (rules == ((), ()))


def test_a_path_a_thousand_levels_deep_is_asked_about_without_recursion() -> None:
    deep = b"/".join([b"d"] * 5000)
    assert Selection(include=("x",)).takes(deep + b"/x", EntryKind.FILE)
    assert not Selection(exclude=("d",)).takes(deep + b"/x", EntryKind.FILE)


def _files(rows: list[Found]) -> set[bytes]:
    return {row.path for row in rows if row.kind != EntryKind.DIRECTORY}


def _folders(rows: list[Found]) -> set[bytes]:
    return {row.path for row in rows if row.kind == EntryKind.DIRECTORY}


class Place:
    """A store, and a directory `here`; `n:v1` holds a.txt, a.bin and sub/b.txt."""

    def __init__(self, store: Store, root: Path) -> None:
        self.store, self.root, self.here, self.there = store, root, root / "here", root / "there"
        write(self.there, **{"a.txt": "1", "a.bin": "1", "sub__b.txt": "1"})
        store.push(self.there, "n")

    def pull(self, **options: object) -> object:
        return self.store.pull("n", self.here, options=PullOptions(base=SyncBase.LAST_SYNC, **options))  # type: ignore[arg-type]

    def push_over(self, source: Path, *include: str, exclude: tuple[str, ...] = ()) -> dict[str, str]:
        options = PushOptions(include=include, exclude=exclude, unmatched=Unmatched.KEPT)
        self.store.push(source, "n", options=options)
        return self.stored()

    def stored(self) -> dict[str, str]:
        found = {}
        for entry in self.store.files("n"):
            path = entry.path.decode()
            if entry.kind == EntryKind.FILE:
                with self.store.open(f"n:latest/{path}") as file:
                    found[path] = file.read().decode()
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with open_store(tmp_path / "store", state_path=tmp_path / "state") as store:
        yield Place(store, tmp_path)


def test_a_pull_with_patterns_brings_what_they_take(place: Place) -> None:
    place.pull(include=("*.txt",), exclude=("sub",))
    assert there(place.here) == {"a.txt": "1"}
    place.pull(include=("*.bin",))
    assert there(place.here) == {"a.txt": "1", "a.bin": "1"}


def test_what_patterns_do_not_take_is_neither_written_nor_removed(place: Place) -> None:
    place.pull()
    write(place.there, **{"a.txt": "2", "a.bin": "2"})
    (place.there / "sub" / "b.txt").unlink()
    place.store.push(place.there, "n")
    place.pull(include=("a.*",), exclude=("*.bin",))
    assert there(place.here) == {"a.txt": "2", "a.bin": "1", "sub/b.txt": "1"}


def test_after_a_part_the_rest_still_is_what_it_was_synced_as(place: Place) -> None:
    place.pull()
    write(place.there, **{"a.txt": "2", "a.bin": "2"})
    (place.there / "sub" / "b.txt").unlink()
    place.store.push(place.there, "n")
    place.pull(include=("*.txt",))
    place.pull()
    assert there(place.here) == {"a.txt": "2", "a.bin": "2"}


def test_parts_follow_a_name_when_it_is_held_against_that_name(place: Place) -> None:
    for content in ("2", "3"):
        place.store.pull("n", place.here, options=PullOptions(include=("*.txt",)))
        write(place.there, **{"a.txt": content})
        place.store.push(place.there, "n")
    place.store.pull("n", place.here)
    assert there(place.here) == {"a.txt": "3", "a.bin": "1", "sub/b.txt": "1"}


def test_delete_with_patterns_removes_only_what_they_take(place: Place) -> None:
    place.pull()
    write(place.here, **{"x.txt": "mine", "x.bin": "mine", "more__y.txt": "mine"})
    place.pull(include=("*.bin",), delete=True, confirm_delete=True)
    assert there(place.here).keys() == {"a.txt", "a.bin", "sub/b.txt", "x.txt", "more/y.txt"}
    (place.here / "bare").mkdir()
    place.pull(include=("*.txt",), delete=True, confirm_delete=True)
    assert there(place.here).keys() == {"a.txt", "a.bin", "sub/b.txt"}
    assert (place.here / "bare").is_dir()


def test_a_conflict_outside_of_the_patterns_does_not_stand_in_the_way(place: Place) -> None:
    place.pull()
    write(place.there, **{"a.txt": "2", "a.bin": "2"})
    place.store.push(place.there, "n")
    write(place.here, **{"a.bin": "mine"})
    with pytest.raises(DownloadConflict):
        place.pull()
    place.pull(exclude=("*.bin",))
    assert there(place.here) == {"a.txt": "2", "a.bin": "mine", "sub/b.txt": "1"}
    with pytest.raises(DownloadConflict, match=r"a\.bin"):
        place.pull()


def test_a_directory_with_what_patterns_leave_alone_is_not_cleared_for_a_file(place: Place) -> None:
    write(place.here, **{"a.txt__mine.bin": "mine"})
    with pytest.raises(DownloadConflict):
        place.pull(include=("/a.txt",))
    place.pull(include=("/a.txt",), strategy=ConflictStrategy.SKIP)
    assert there(place.here) == {"a.txt/mine.bin": "mine"}


@pytest.mark.parametrize("incoming,local", [("d", "d__x.log"), ("d__a.txt", "d")], ids=["directory", "file"])
def test_replace_clears_nothing_that_patterns_leave_alone(place: Place, incoming: str, local: str) -> None:
    place.pull()
    write(place.there, **{incoming: "theirs"})
    place.store.push(place.there, "n")
    write(place.here, **{local: "mine"})
    before = there(place.here)
    for delete in (False, True):
        options = {"include": ("*.txt",)} if local == "d" else {"exclude": ("*.log",)}
        place.pull(**options, strategy=ConflictStrategy.REPLACE, delete=delete, confirm_delete=True)
        assert there(place.here) == before


def test_a_push_of_what_matches_keeps_the_rest_of_the_newest_version(place: Place) -> None:
    write(place.here, **{"a.txt": "2", "new.txt": "2", "a.bin": "2", "sub__c.bin": "2"})
    assert place.push_over(place.here, "*.txt") == {"a.bin": "1", "a.txt": "2", "new.txt": "2"}
    stored = place.push_over(place.here, exclude=("*.txt",))
    assert stored == {"a.bin": "2", "a.txt": "2", "new.txt": "2", "sub/c.bin": "2"}
    assert [info.slot for info in place.store.versions("n")] == [3, 2, 1]


def test_what_does_not_change_makes_no_version_with_patterns_either(place: Place) -> None:
    write(place.here, **{"a.txt": "1", "sub__b.txt": "1", "other.bin": "x"})
    place.push_over(place.here, "*.txt")
    assert [info.slot for info in place.store.versions("n")] == [1]


def test_the_first_push_with_patterns_holds_what_matches(place: Place) -> None:
    options = PushOptions(include=("*.txt",), unmatched=Unmatched.KEPT)
    place.store.push(place.there, "other", options=options)
    assert [entry.path for entry in place.store.files("other")] == [b"a.txt", b"sub/b.txt"]


def test_a_push_in_between_is_built_upon(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes of one job upload each their part: none undoes the other's."""
    from artifactstore.transfer import overlay

    other = place.root / "other"
    write(other, **{"a.bin": "theirs"})
    write(place.here, **{"a.txt": "mine"})
    push, calls = overlay.push, []

    def late(*args: object, **settings: object) -> object:
        if not calls:
            calls.append("theirs")
            place.push_over(other, "*.bin")
        return push(*args, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(overlay, "push", late)
    assert place.push_over(place.here, "/a.txt") == {"a.bin": "theirs", "a.txt": "mine", "sub/b.txt": "1"}


def test_a_file_that_matches_where_the_rest_has_a_directory_is_refused(place: Place) -> None:
    write(place.here, sub="a file")
    with pytest.raises(PathExists, match="sub"):
        place.push_over(place.here, "/sub", exclude=("sub/",))
    assert [info.slot for info in place.store.versions("n")] == [1]


def test_only_one_directory_goes_over_a_version(place: Place) -> None:
    options = PushOptions(include=("*.txt",), unmatched=Unmatched.KEPT)
    with pytest.raises(ValueError, match="one directory"):
        place.store.push([place.there, place.root], "n", options=options)


def test_what_was_pushed_over_is_what_the_next_pull_compares_with(place: Place) -> None:
    place.pull()
    write(place.here, **{"a.txt": "mine"})
    place.push_over(place.here, "*.txt")
    write(place.there, **{"a.txt": "theirs", "a.bin": "theirs"})
    place.store.push(place.there, "n")
    place.pull()
    assert there(place.here) == {"a.txt": "theirs", "a.bin": "theirs", "sub/b.txt": "1"}


def test_files_that_never_were_in_what_was_pushed_over_are_not_removed_by_the_next_pull(place: Place) -> None:
    write(place.root / "elsewhere", **{"a.bin": "1"})
    place.store.push(place.root / "elsewhere", "other")
    place.pull()
    write(place.here, **{"a.bin": "2"})
    place.store.push(place.here, "other", options=PushOptions(include=("*.bin",), unmatched=Unmatched.KEPT))
    place.store.pull("other", place.here, options=PullOptions(base=SyncBase.LAST_SYNC))
    assert there(place.here) == {"a.bin": "2", "a.txt": "1", "sub/b.txt": "1"}
