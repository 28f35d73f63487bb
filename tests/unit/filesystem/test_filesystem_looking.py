"""Folders, names, versions and what is in them, as a file system shows it."""

import errno
import os
import pickle
from collections.abc import Callable

import pytest
from unit.filesystem.mounted import NOISE, TREE, Mounted

from artifactstore.backend.wrappers.fault import ErrorBefore, Fault, FaultBackend
from artifactstore.errors import (
    ArtifactStoreError,
    BackendError,
    InvalidName,
    NameNotFound,
    PathNotFound,
    StoreNotFound,
    VersionDeleted,
    VersionExpired,
)
from artifactstore.filesystem.failures import ReferenceNotStored
from artifactstore.filesystem.system import open_filesystem
from artifactstore.results import RemoveOptions
from artifactstore.store import PushOptions

DATA = "sets/data:v1"
FILES = sorted(f"{DATA}/{os.fsdecode(path)}" for path, thing in TREE.items() if path != b"none")


def test_folders_and_names_are_listed(mounted: Mounted) -> None:
    assert mounted.fs.ls("", detail=False) == ["sets", "top"]
    assert mounted.fs.ls("artifact://sets/", detail=False) == ["sets/data"]
    assert {info["type"] for info in mounted.fs.ls("")} == {"directory"}


def test_name_without_a_version_shows_its_latest_and_says_so(mounted: Mounted) -> None:
    names = mounted.fs.ls("sets/data", detail=False)
    assert "sets/data:latest/large" in names
    assert {info["version"] for info in mounted.fs.ls("sets/data")} == {"sets/data:v2"}


@pytest.mark.parametrize("version", [":v1", ":good", "@DIGEST"])
def test_version_is_found_by_number_alias_and_digest(mounted: Mounted, version: str) -> None:
    text = "sets/data" + version.replace("DIGEST", mounted.store.show(DATA).content_digest)
    assert mounted.fs.cat_file(f"{text}/small") == b"some text"
    names = mounted.fs.ls(text, detail=False)
    top = {f"{text}/{name}" for name in os.listdir(mounted.place)}
    assert set(names) == top
    assert mounted.fs.find(text) == [name.replace(DATA, text) for name in FILES]


def test_directory_shows_what_is_directly_in_it(mounted: Mounted) -> None:
    infos = {info["name"]: info for info in mounted.fs.ls(f"{DATA}/folder")}
    assert set(infos) == {f"{DATA}/folder/{name}" for name in ("deep", "one", "two")}
    assert infos[f"{DATA}/folder/deep"]["type"] == "directory"
    assert infos[f"{DATA}/folder/one"]["size"] == 5000
    assert mounted.fs.ls(f"{DATA}/none") == []
    assert mounted.fs.ls(f"{DATA}/small", detail=False) == [f"{DATA}/small"]


def test_info_has_size_type_version_and_digest(mounted: Mounted) -> None:
    info = mounted.fs.info(f"{DATA}/folder/one")
    assert (info["size"], info["type"], info["version"]) == (5000, "file", DATA)
    assert info["digest"] == info["ETag"] == mounted.fs.ukey(f"{DATA}/folder/one")
    assert info["mtime"] == info["created"] == mounted.fs.modified(f"{DATA}/large").timestamp()
    assert not info["executable"]
    assert mounted.fs.info(f"{DATA}/run")["executable"]
    assert mounted.fs.size(f"{DATA}/large") == len(NOISE)


def test_same_content_has_the_same_checksum_in_any_version(mounted: Mounted) -> None:
    fs = mounted.fs
    assert fs.checksum(f"{DATA}/large") == fs.checksum("sets/data:v2/large") == fs.checksum("top:v1/large")
    assert fs.checksum(f"{DATA}/small") != fs.checksum("sets/data:v2/small")
    assert fs.ukey(f"{DATA}/folder") == fs.ukey(f"{DATA}/folder")


def test_types_are_told_apart(mounted: Mounted) -> None:
    fs = mounted.fs
    for directory in ("", "sets", "sets/data", DATA, f"{DATA}/folder", f"{DATA}/none", f"{DATA}/links/folder"):
        assert (fs.isdir(directory), fs.isfile(directory), fs.exists(directory)) == (True, False, True)
    for file in (f"{DATA}/small", f"{DATA}/empty", f"{DATA}/links/file"):
        assert (fs.isdir(file), fs.isfile(file), fs.exists(file)) == (False, True, True)


def test_find_walk_and_glob_agree_with_what_was_pushed(mounted: Mounted) -> None:
    fs = mounted.fs
    assert fs.find(DATA) == FILES
    walked = [f"{root}/{name}" for root, _, names in fs.walk(DATA) for name in names]
    assert sorted(walked) == FILES
    assert fs.glob(f"{DATA}/**/t*") == [f"{DATA}/folder/deep/er/three", f"{DATA}/folder/two"]
    assert fs.glob(f"{DATA}/folder/*") == [f"{DATA}/folder/{name}" for name in ("deep", "one", "two")]
    assert fs.glob("sets/data/l*e") == ["sets/data:latest/large"]
    assert fs.glob("*/data") == ["sets/data"]
    assert fs.du(f"{DATA}/folder") == 9005


def test_find_goes_as_deep_as_it_is_told(mounted: Mounted) -> None:
    fs = mounted.fs
    assert fs.find(f"{DATA}/folder", maxdepth=1) == [f"{DATA}/folder/one", f"{DATA}/folder/two"]
    everything = fs.find(f"{DATA}/folder", maxdepth=2, withdirs=True)
    names = ["", "/deep", "/deep/er", "/one", "/two"]
    assert everything == [f"{DATA}/folder{name}" for name in names]
    assert fs.find(f"{DATA}/small") == [f"{DATA}/small"]
    assert fs.find(f"{DATA}/nothing") == []
    assert fs.find("", maxdepth=2, withdirs=True) == ["sets", "sets/data", "top", *sorted(fs.ls("top", detail=False))]
    with pytest.raises(ValueError, match="maxdepth"):
        fs.find(DATA, maxdepth=0)


def test_finding_everything_in_a_large_version_is_few_requests(mounted: Mounted) -> None:
    mounted.fs.info(DATA)
    mounted.count.reset()
    mounted.fs.find(DATA)
    assert mounted.count.counts.request_count <= 8


def test_odd_names_come_as_they_are(mounted: Mounted) -> None:
    names = mounted.fs.ls(f"{DATA}/odd", detail=False)
    assert [mounted.fs.cat_file(name) for name in names] == [b"signs", b"not text"]
    assert os.fsencode(names[1]).endswith(b"\xff\xfe")


# Links


def test_links_inside_the_version_are_followed(mounted: Mounted) -> None:
    fs = mounted.fs
    assert fs.cat_file(f"{DATA}/links/file") == NOISE[:5000]
    assert fs.cat_file(f"{DATA}/links/folder/two") == NOISE[5000:9000]
    assert fs.ls(f"{DATA}/links/folder", detail=False) == [
        f"{DATA}/links/folder/{name}" for name in ("deep", "one", "two")
    ]
    listed = {info["name"].rpartition("/")[2]: info for info in fs.ls(f"{DATA}/links")}
    assert (listed["file"]["type"], listed["file"]["size"]) == ("file", 5000)
    assert listed["folder"]["type"] == "link", "so that no walk goes in a circle"
    assert listed["nowhere"]["destination"] == b"nothing"


@pytest.mark.parametrize("name", ["circle", "out", "absolute", "nowhere", "nowhere/more"])
def test_links_that_lead_to_nothing_inside_are_not_followed(mounted: Mounted, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        mounted.fs.open(f"{DATA}/links/{name}")
    if "/" not in name:
        assert mounted.fs.info(f"{DATA}/links/{name}")["type"] == "link"


# What is not there


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("nothing", NameNotFound),
        ("nothing:v1", NameNotFound),
        ("nothing:v1/path", NameNotFound),
        ("sets/nothing", NameNotFound),
        ("sets/data:v9", NameNotFound),
        ("sets/data:no", NameNotFound),
        (f"sets/data@{'0' * 64}", NameNotFound),
        (f"{DATA}/nothing", PathNotFound),
        (f"{DATA}/small/nothing", PathNotFound),
        ("sets/data:", InvalidName),
        ("sets/data@12", InvalidName),
        ("sets//data", InvalidName),
        (f"{DATA}/a//b", InvalidName),
        (f"{DATA}/../x", InvalidName),
        ("..", InvalidName),
        ("a b", InvalidName),
    ],
)
def test_what_is_not_there_is_both_our_error_and_the_usual_one(
    mounted: Mounted, path: str, kind: type[Exception]
) -> None:
    fs = mounted.fs
    calls: list[Callable[[str], object]] = [fs.info, fs.ls, fs.open, fs.cat_file, fs.size]
    for call in calls:
        with pytest.raises(FileNotFoundError) as caught:
            call(path)
        assert isinstance(caught.value, kind)
        assert caught.value.errno == errno.ENOENT
        copy = pickle.loads(pickle.dumps(caught.value))
        assert (type(copy), str(copy), copy.errno) == (type(caught.value), str(caught.value), errno.ENOENT)
    assert not fs.exists(path)
    assert not fs.isfile(path)
    assert not fs.isdir(path)
    assert fs.find(path) == fs.glob(path) == []


@pytest.mark.parametrize("path", ["", "sets", "sets/data", DATA, f"{DATA}/folder", f"{DATA}/none"])
def test_directory_is_not_read_as_a_file(mounted: Mounted, path: str) -> None:
    for call in (mounted.fs.open, mounted.fs.cat_file):
        with pytest.raises(IsADirectoryError) as caught:
            call(path)
        assert isinstance(caught.value, PathNotFound)
        assert caught.value.errno == errno.EISDIR


def test_reference_is_listed_and_reading_it_names_its_uri(mounted: Mounted) -> None:
    info = mounted.fs.info("sets/data:v2/there/far")
    assert (info["reference"], info["size"]) == ("s3://bucket/far", 7)
    with pytest.raises(ReferenceNotStored, match="s3://bucket/far") as caught:
        mounted.fs.open("sets/data:v2/there/far")
    assert caught.value.uri == "s3://bucket/far"
    assert "`artifactstore artifact pin`" in caught.value.next_step
    assert not isinstance(caught.value, OSError), "which readers of chunks take for zeros"


def test_deleted_version_is_not_there(mounted: Mounted) -> None:
    with mounted.world.store() as store:
        store.push(mounted.place, "going")
        store.remove("going", options=RemoveOptions(all_versions=True))
    with pytest.raises(FileNotFoundError) as caught:
        mounted.fs.info("going:v1/small")
    assert isinstance(caught.value, VersionDeleted)


# Storage that fails


@pytest.mark.parametrize("verb", ["list", "list_level", "get", "get_range"])
def test_storage_that_fails_is_never_taken_for_nothing_there(mounted: Mounted, verb: str) -> None:
    failing = FaultBackend(
        mounted.world.memory,
        faults=[Fault(action=ErrorBefore(), verb=verb, times=None)],
        clock=mounted.world.clock,
    )
    with mounted.world.store(through=failing) as store:
        fs = open_filesystem(store)
        seen = 0
        for call in (
            lambda: fs.exists(DATA),
            lambda: fs.isfile(f"{DATA}/large"),
            lambda: fs.isdir("sets"),
            lambda: fs.exists("sets"),
            lambda: fs.ls(DATA),
            lambda: fs.find(DATA),
            lambda: fs.glob("sets/*"),
            lambda: list(fs.walk("sets")),
            lambda: fs.cat_file(f"{DATA}/large", 0, 10),
        ):
            try:
                call()
            except BackendError:
                seen += 1
        assert seen


def test_store_that_is_not_there_is_no_missing_file(mounted: Mounted) -> None:
    fs = open_filesystem("memory://no-such-store")
    with pytest.raises(StoreNotFound) as caught:
        fs.exists("name:v1/path")
    assert not isinstance(caught.value, OSError)


# Time


def test_latest_and_aliases_are_asked_for_again_after_a_while(mounted: Mounted) -> None:
    clock, fs = mounted.world.virtual_clock, mounted.fresh(latest_seconds=10)
    with mounted.world.store() as store:
        store.push(mounted.place, "moving")
        store.set_alias("moving:v1", "here")
        assert fs.info("moving:latest")["version"] == fs.info("moving:here")["version"] == "moving:v1"
        store.push(mounted.place / "folder", "moving")
        store.set_alias("moving:v2", "here")
    clock.advance(9)
    mounted.count.reset()
    assert fs.info("moving:latest")["version"] == fs.info("moving:here")["version"] == "moving:v1"
    assert not mounted.count.counts.request_count
    clock.advance(2)
    assert fs.info("moving:latest")["version"] == fs.info("moving:here")["version"] == "moving:v2"


def test_invalidate_cache_asks_at_once_and_open_files_stay(mounted: Mounted) -> None:
    fs = mounted.fs
    with mounted.world.store() as store:
        store.push(mounted.place / "folder", "shown")
        with fs.open("shown:latest/one") as file:
            store.push(mounted.place / "odd", "shown")
            assert fs.info("shown:latest")["version"] == "shown:v1"
            fs.invalidate_cache()
            assert fs.info("shown:latest")["version"] == "shown:v2"
            assert file.read() == NOISE[:5000]
            assert file.version == "shown:v1"


def test_versions_by_number_are_not_asked_for_again(mounted: Mounted) -> None:
    mounted.fs.info(f"{DATA}/small")
    mounted.world.virtual_clock.advance(10**6)
    mounted.count.reset()
    assert mounted.fs.info(f"{DATA}/small")["size"] == 9
    assert not mounted.count.counts.request_count


def test_expired_version_is_refused_unless_asked_for(mounted: Mounted) -> None:
    with mounted.world.store() as store:
        store.push(mounted.place, "short", options=PushOptions(ttl_seconds=60))
    assert mounted.fs.isfile("short:v1/small")
    mounted.world.virtual_clock.advance(61)
    for call in (mounted.fs.exists, mounted.fs.open, mounted.fs.ls, mounted.fs.find, mounted.fs.glob):
        with pytest.raises(VersionExpired) as caught:
            call("short:v1/small")
        assert not isinstance(caught.value, OSError), "which readers of chunks take for zeros"
    assert mounted.fresh(allow_expired=True).cat_file("short:v1/small") == b"some text"


# Writing


@pytest.mark.parametrize(
    "verb",
    ["mkdir", "makedirs", "rmdir", "rm", "rm_file", "touch", "pipe_file", "put_file", "mv", "cp_file", "copy"],
)
def test_writing_is_refused(mounted: Mounted, verb: str) -> None:
    with pytest.raises(OSError, match="can't be written") as caught:
        getattr(mounted.fs, verb)(f"{DATA}/new", "other")
    assert caught.value.errno == errno.EROFS
    assert isinstance(caught.value, ArtifactStoreError)


@pytest.mark.parametrize("mode", ["wb", "ab", "r+b", "w", "a", "xb"])
def test_opening_for_writing_is_refused(mounted: Mounted, mode: str) -> None:
    with pytest.raises(OSError, match="can't be written"):
        mounted.fs.open(f"{DATA}/new", mode)


def test_exclusive_opening_of_what_is_there_says_so(mounted: Mounted) -> None:
    with pytest.raises(FileExistsError):
        mounted.fs.open(f"{DATA}/small", "xb")


def test_pipes_and_transactions_are_refused(mounted: Mounted) -> None:
    with pytest.raises(OSError, match="can't be written"):
        mounted.fs.pipe({f"{DATA}/new": b""})
    with pytest.raises(OSError, match="can't be written"):
        mounted.fs.start_transaction()
