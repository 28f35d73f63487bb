"""What a scan finds in a source tree, and in which order (faults 48, 52-63, 71)."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.errors import SourceChanged, SourceError, SourceNotFound, SourceUnreadable
from artifactstore.manifest.model import EntryKind
from artifactstore.manifest.paths import TEMPORARY_PREFIX, path_sort_key
from artifactstore.testing.clock import VirtualClock
from artifactstore.transfer.handles import MAX_HANDLES
from artifactstore.transfer.scan import FollowLinks, Found, OnError, Scan, ScanOptions, scan

FOLLOW = ScanOptions(follow_links=FollowLinks.ALWAYS)


def make(root: Path, *paths: str) -> Path:
    """Files with their own path as content; a path that ends with `/` is a directory."""
    for text in paths:
        path = root / text
        if text.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return root


def paths_of(result: Scan) -> list[bytes]:
    return [found.path for found in result.found]


def only(result: Scan) -> Found:
    (found,) = result.found
    return found


# -- what becomes the root --------------------------------------------------------------------------


def test_content_of_one_directory_becomes_the_root_in_entry_order(tmp_path: Path) -> None:
    make(tmp_path, "a/b", "a.txt", "a/c/d", "a-1", "z")
    result = scan([tmp_path])
    assert paths_of(result) == [b"a/b", b"a/c/d", b"a-1", b"a.txt", b"z"]
    assert paths_of(result) == sorted(paths_of(result), key=path_sort_key)


def test_one_file_enters_under_its_own_name(tmp_path: Path) -> None:
    make(tmp_path, "model.bin")
    assert paths_of(scan([tmp_path / "model.bin"])) == [b"model.bin"]


def test_several_sources_enter_under_their_names_sorted(tmp_path: Path) -> None:
    make(tmp_path, "x/z/one", "x/m.txt", "x/empty/")
    result = scan([tmp_path / "x/z", tmp_path / "x/m.txt", tmp_path / "x/empty"])
    assert paths_of(result) == [b"empty", b"m.txt", b"z/one"]


def test_two_sources_of_one_name_are_an_error_that_names_the_second(tmp_path: Path) -> None:
    make(tmp_path, "x/data/1", "y/data/2")
    with pytest.raises(SourceError, match=r"data.*y/data"):
        scan([tmp_path / "x/data", tmp_path / "y/data"])


def test_a_source_given_with_a_trailing_slash_or_dots_keeps_its_name(tmp_path: Path) -> None:
    make(tmp_path, "x/z/one", "x/other")
    result = scan([f"{tmp_path}/x/z/", f"{tmp_path}/x/z/../other"])
    assert paths_of(result) == [b"other", b"z/one"]


def test_missing_source_is_not_found_and_named(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="nowhere"):
        scan([tmp_path / "nowhere"])
    make(tmp_path, "file")
    with pytest.raises(SourceNotFound, match="file/below"):
        scan([tmp_path / "file/below"])


def test_no_source_is_a_misuse() -> None:
    with pytest.raises(ValueError, match="no source"):
        scan([])


def test_a_source_that_is_a_link_stands_for_what_it_points_to(tmp_path: Path) -> None:
    make(tmp_path, "real/file")
    (tmp_path / "link").symlink_to("real")
    assert paths_of(scan([tmp_path / "link"])) == [b"file"]
    assert scan([tmp_path / "link"]).source_key == os.fsencode(tmp_path / "real")


def test_a_special_file_as_a_source_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="neither a file nor a directory"):
        scan([tmp_path / "pipe"])


# -- kinds -------------------------------------------------------------------------------------------


def test_a_file_carries_its_stat_and_executable_bit(tmp_path: Path) -> None:
    make(tmp_path, "run.sh")
    (tmp_path / "run.sh").chmod(0o755)
    looked = (tmp_path / "run.sh").stat()
    found = only(scan([tmp_path]))
    assert (found.kind, found.size, found.inode) == (EntryKind.FILE, looked.st_size, looked.st_ino)
    assert (found.mtime_ns, found.ctime_ns, found.executable) == (looked.st_mtime_ns, looked.st_ctime_ns, True)


def test_empty_directories_are_rows_and_an_empty_root_is_none(tmp_path: Path) -> None:
    """Fault 52."""
    assert scan([tmp_path]).found == []
    make(tmp_path, "a/empty/", "b/full/file", "c/")
    result = scan([tmp_path])
    assert [(f.path, f.kind) for f in result.found] == [
        (b"a/empty", EntryKind.DIRECTORY),
        (b"b/full/file", EntryKind.FILE),
        (b"c", EntryKind.DIRECTORY),
    ]


def test_links_are_stored_as_links_whatever_they_point_to(tmp_path: Path) -> None:
    """Faults 54, 55: loops, dangling links, links to the parent and out of the tree."""
    targets = {"loop": "loop", "dangling": "no/such", "parent": "..", "out": "/etc/passwd", "dir": "d"}
    make(tmp_path, "d/file")
    for name, target in targets.items():
        (tmp_path / name).symlink_to(target)
    links = {f.path.decode(): f.target.decode() for f in scan([tmp_path]).found if f.kind == EntryKind.LINK}
    assert links == targets


def test_link_targets_that_are_not_utf8_are_bytes(tmp_path: Path) -> None:
    os.symlink(b"\xff\xfe", os.fsencode(tmp_path) + b"/link")
    assert only(scan([tmp_path])).target == b"\xff\xfe"


def test_fifos_sockets_and_devices_are_left_out_with_a_notice(tmp_path: Path) -> None:
    """Fault 53."""
    make(tmp_path, "file")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        result = scan([tmp_path])
    assert paths_of(result) == [b"file"]
    assert [(n.path, n.reason) for n in result.notices] == [
        (b"pipe", "a FIFO: left out"),
        (b"socket", "a socket: left out"),
    ]


def test_hard_links_are_files_of_their_own_that_name_the_first(tmp_path: Path) -> None:
    """Fault 56."""
    make(tmp_path, "b/two", "lone")
    os.link(tmp_path / "b/two", tmp_path / "b-three")
    os.link(tmp_path / "b/two", tmp_path / "a-one")
    result = scan([tmp_path])
    assert paths_of(result) == [b"a-one", b"b/two", b"b-three", b"lone"]
    assert result.hard_links == {b"b/two": b"a-one", b"b-three": b"a-one"}


def test_a_hard_link_to_a_file_outside_the_tree_is_an_ordinary_file(tmp_path: Path) -> None:
    make(tmp_path, "outside", "tree/")
    os.link(tmp_path / "outside", tmp_path / "tree/inside")
    assert scan([tmp_path / "tree"]).hard_links == {}


# -- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        b"\xff\xfe",
        b"new\nline",
        b"\x1b[31m",
        b"-rf",
        b" ",
        b"dot. ",
        b"CON",
        b"a:b",
        b"x\\y",
        b"\xc3\xa9",
        b"e\xcc\x81",
    ],
    ids=repr,
)
def test_any_name_is_found_as_its_bytes(tmp_path: Path, name: bytes) -> None:
    """Faults 57, 58, 60, 61."""
    with open(os.fsencode(tmp_path) + b"/" + name, "wb"):
        pass
    assert paths_of(scan([tmp_path])) == [name]


def test_git_folders_are_taken_like_any_other(tmp_path: Path) -> None:
    make(tmp_path, ".git/HEAD", ".gitignore")
    assert paths_of(scan([tmp_path])) == [b".git/HEAD", b".gitignore"]


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_a_pull_that_was_cut_off_left_is_left_out_and_said(tmp_path: Path, kind: str) -> None:
    """Fault 71."""
    own = TEMPORARY_PREFIX.decode() + "x"
    make(tmp_path, f"sub/{own}/inside" if kind == "directory" else f"sub/{own}", "file", "sub/other")
    found = scan([tmp_path])
    assert paths_of(found) == [b"file", b"sub/other"]
    assert [notice.path for notice in found.notices] == [f"sub/{own}".encode()]


def test_a_source_with_one_of_our_own_temporary_names_is_refused(tmp_path: Path) -> None:
    own = TEMPORARY_PREFIX.decode() + "x"
    make(tmp_path, f"sub/{own}", "file")
    with pytest.raises(SourceError, match=own):
        scan([tmp_path / "sub" / own, tmp_path / "file"])


def test_a_name_that_only_holds_our_prefix_is_taken(tmp_path: Path) -> None:
    name = "x" + TEMPORARY_PREFIX.decode()
    assert paths_of(scan([make(tmp_path, name)])) == [name.encode()]


DEEP_NAME = "d" * 20


@pytest.fixture
def deep(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A chain of as many directories as asked for with a file at the bottom, too deep to make or remove by path."""
    root = tmp_path / "deep"
    root.mkdir()
    handle = os.open(root, os.O_RDONLY)
    for _ in range(request.param):
        os.mkdir(DEEP_NAME, dir_fd=handle)
        below = os.open(DEEP_NAME, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)
    yield root
    # The topmost directory goes after what is in it has moved up beside it.
    while (first := root / DEEP_NAME).exists():
        if (first / DEEP_NAME).exists():
            (first / DEEP_NAME).rename(root / "next")
        else:
            (first / "file").unlink()
        first.rmdir()
        if (root / "next").exists():
            (root / "next").rename(first)


@pytest.mark.parametrize("deep", [1000], indirect=True)
def test_a_thousand_levels_and_twenty_thousand_bytes_of_path_are_found(deep: Path) -> None:
    """Fault 59."""
    assert only(scan([deep])).path == b"/".join([DEEP_NAME.encode()] * 1000 + [b"file"])


@pytest.mark.parametrize("deep", [1101], indirect=True)
def test_more_levels_than_a_manifest_may_have_are_refused(deep: Path) -> None:
    with pytest.raises(SourceError, match="levels deep"):
        scan([deep])


def test_siblings_after_a_deep_branch_are_found_with_few_handles_open(tmp_path: Path) -> None:
    """Fault 45: handles are bounded; directories above are opened again when needed."""
    here = tmp_path
    expected = []
    for level in range(80):
        make(here, "m/", "z/file")
        expected.append("m/" * level + "z/file")
        here = here / "m"
    before = len(os.listdir("/dev/fd"))
    most = 0

    def count(_: int) -> None:
        nonlocal most
        most = max(most, len(os.listdir("/dev/fd")))

    result = scan([tmp_path], tick=count)
    assert {p.decode() for p in paths_of(result)} == {*expected, "m/" * 79 + "m"}
    assert paths_of(result) == sorted(paths_of(result), key=path_sort_key)
    assert before + 5 < most <= before + MAX_HANDLES + 1
    assert len(os.listdir("/dev/fd")) == before


# -- following links ---------------------------------------------------------------------------------


def test_followed_links_are_what_they_point_to(tmp_path: Path) -> None:
    """Fault 55."""
    make(tmp_path, "cache/one", "cache/dir/two", "farm/")
    (tmp_path / "farm/a").symlink_to("../cache/one")
    (tmp_path / "farm/d").symlink_to(tmp_path / "cache/dir")
    result = scan([tmp_path / "farm"], options=FOLLOW)
    assert [(f.path, f.kind) for f in result.found] == [(b"a", EntryKind.FILE), (b"d/two", EntryKind.FILE)]
    assert result.found[0].inode == (tmp_path / "cache/one").stat().st_ino


@pytest.mark.parametrize(
    ("link", "target", "said"),
    [("sub/up", "..", "loop"), ("self", "self", "loop"), ("sub/dangling", "no/such", "nothing")],
    ids=["to the directory above", "to itself", "to nothing"],
)
def test_followed_links_that_lead_nowhere_are_errors_that_name_them(
    tmp_path: Path, link: str, target: str, said: str
) -> None:
    make(tmp_path, "sub/file")
    (tmp_path / link).symlink_to(target)
    with pytest.raises(SourceError, match=f"{link}.*{said}"):
        scan([tmp_path], options=FOLLOW)


def test_one_directory_may_be_followed_to_twice(tmp_path: Path) -> None:
    make(tmp_path, "real/file")
    (tmp_path / "x").symlink_to("real")
    (tmp_path / "y").symlink_to("real")
    assert paths_of(scan([tmp_path], options=FOLLOW)) == [b"real/file", b"x/file", b"y/file"]


# -- what can't be read ------------------------------------------------------------------------------


def refuse_listing(monkeypatch: pytest.MonkeyPatch, number: int, *directories: Path) -> None:
    """Let the system refuse to list these directories; works for root too, whom permissions don't stop."""
    inodes = {directory.stat().st_ino for directory in directories}
    listdir = os.listdir

    def refusing(handle: int) -> list[str]:
        if os.fstat(handle).st_ino in inodes:
            raise OSError(number, os.strerror(number))
        return listdir(handle)

    monkeypatch.setattr(os, "listdir", refusing)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO], ids=["no permission", "input/output error"])
def test_every_directory_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Faults 43, 62."""
    make(tmp_path, "a/1", "b/2", "c/3")
    refuse_listing(monkeypatch, number, tmp_path / "a", tmp_path / "c")
    with pytest.raises(SourceUnreadable, match=r"2 paths.*/a failed.*/c failed"):
        scan([tmp_path])


def test_skipping_lists_what_cannot_be_read_and_does_not_call_it_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a/1", "b/2")
    refuse_listing(monkeypatch, errno.EACCES, tmp_path / "a")
    result = scan([tmp_path], options=ScanOptions(on_error=OnError.SKIP))
    assert paths_of(result) == [b"b/2"]
    assert [notice.path for notice in result.skipped] == [b"a"]


def test_running_out_of_handles_is_an_error_even_when_skipping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 45: what this process lacks says nothing about the source."""
    make(tmp_path, "a/1")
    refuse_listing(monkeypatch, errno.EMFILE, tmp_path / "a")
    with pytest.raises(SourceError, match="can't open more files"):
        scan([tmp_path], options=ScanOptions(on_error=OnError.SKIP))


def test_a_file_that_vanishes_meanwhile_is_not_there_and_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "gone", "here")
    listdir = os.listdir

    def listing(handle: int) -> list[str]:
        names = listdir(handle)
        (tmp_path / "gone").unlink()
        return names

    monkeypatch.setattr(os, "listdir", listing)
    result = scan([tmp_path])
    assert paths_of(result) == [b"here"]
    assert [notice.path for notice in result.notices] == [b"gone"]


def test_a_directory_swapped_for_a_link_meanwhile_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 48."""
    make(tmp_path, "tree/d/file", "secret/key")
    inode = (tmp_path / "tree/d").stat().st_ino
    opened = os.open

    def swapping(path: bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == b"d" and (tmp_path / "tree/d").stat().st_ino == inode:
            (tmp_path / "tree/d").rename(tmp_path / "moved")
            (tmp_path / "tree/d").symlink_to(tmp_path / "secret")
        return opened(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", swapping)
    with pytest.raises(SourceChanged, match="tree/d was replaced"):
        scan([tmp_path / "tree"])


def test_a_mount_inside_the_tree_is_left_out_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 62; mounting takes rights, so the device number is what is faked."""
    make(tmp_path, "here/file", "mount/file")
    stat_now = os.stat
    inode = (tmp_path / "mount").stat().st_ino

    def elsewhere(path: object, *args: object, **options: object) -> os.stat_result:
        looked = stat_now(path, *args, **options)  # type: ignore[arg-type]
        if looked.st_ino != inode:
            return looked
        values = list(looked)
        values[2] += 1
        return os.stat_result(values, {"st_mtime_ns": looked.st_mtime_ns, "st_ctime_ns": looked.st_ctime_ns})

    monkeypatch.setattr(os, "stat", elsewhere)
    result = scan([tmp_path], options=ScanOptions(one_file_system=True))
    assert [(f.path, f.kind) for f in result.found] == [
        (b"here/file", EntryKind.FILE),
        (b"mount", EntryKind.DIRECTORY),
    ]
    assert "another file system" in result.notices[0].reason


# -- signature ---------------------------------------------------------------------------------------


def test_signature_of_an_untouched_tree_stays(tmp_path: Path) -> None:
    make(tmp_path, "a", "b/c", "empty/")
    assert scan([tmp_path]).signature() == scan([tmp_path]).signature()


@pytest.mark.parametrize("change", ["content", "new", "removed", "renamed", "mode", "link", "touched", "emptied"])
def test_signature_changes_with_anything_that_a_version_holds(tmp_path: Path, change: str) -> None:
    make(tmp_path, "a", "b/c", "empty/")
    (tmp_path / "l").symlink_to("a")
    before = scan([tmp_path]).signature()
    if change == "content":
        (tmp_path / "a").write_text("other")
    elif change == "new":
        make(tmp_path, "b/new")
    elif change == "removed":
        (tmp_path / "empty").rmdir()
    elif change == "renamed":
        (tmp_path / "a").rename(tmp_path / "aa")
    elif change == "mode":
        (tmp_path / "a").chmod(0o755)
    elif change == "link":
        (tmp_path / "l").unlink()
        (tmp_path / "l").symlink_to("b")
    elif change == "touched":
        os.utime(tmp_path / "a", ns=(1, 1))
    else:
        (tmp_path / "b/c").unlink()
    assert scan([tmp_path]).signature() != before


def test_a_tree_is_settled_only_when_every_file_was_left_alone_for_two_seconds(tmp_path: Path) -> None:
    """Fault 64."""
    make(tmp_path, "old", "new")
    changed = (tmp_path / "new").stat().st_ctime
    assert not scan([tmp_path], clock=VirtualClock(changed + 1.9)).is_settled()
    assert scan([tmp_path], clock=VirtualClock(changed + 2.1)).is_settled()
    os.utime(tmp_path / "old", (1, 1))
    assert not scan([tmp_path], clock=VirtualClock(changed)).is_settled(), "an old mtime can be made up, a ctime can't"
    os.utime(tmp_path / "old", (changed + 1000, changed + 1000))
    assert not scan([tmp_path], clock=VirtualClock(changed + 2.1)).is_settled()


def test_progress_is_told_after_each_directory(tmp_path: Path) -> None:
    make(tmp_path, "a/1", "a/2", "b")
    seen: list[int] = []
    scan([tmp_path], tick=seen.append)
    assert seen == [2, 2]
