"""What a pull spares: files that the destination's `.artifactignore` files keep to it."""

import os
from pathlib import Path

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.errors import DestinationError
from artifactstore.manifest.model import Entry
from artifactstore.testing.stored_versions import VersionMaker
from artifactstore.transfer.download import download
from artifactstore.transfer.plan import ConflictStrategy, DownloadResult, PullOptions

DELETE = PullOptions(delete=True, confirm_delete=True)
EXACTLY = PullOptions(delete=True, confirm_delete=True, strategy=ConflictStrategy.REPLACE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "here"


def put(root: Path, contents: dict[str, str]) -> None:
    for path, text in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def pull(
    root: Path, version: dict[bytes, bytes], options: PullOptions, *, base: tuple[Entry, ...] = ()
) -> DownloadResult:
    backend = MemoryBackend()
    return download(VersionMaker(backend).make(version), backend, root, options=options, base=base)


def left(root: Path) -> list[str]:
    found = (os.path.relpath(os.path.join(at, name), root) for at, _, names in os.walk(root) for name in names)
    return sorted(found)


@pytest.mark.parametrize("options", [DELETE, EXACTLY], ids=["delete", "replace"])
def test_delete_spares_what_is_ignored_here_and_the_ignore_file(root: Path, options: PullOptions) -> None:
    put(root, {".artifactignore": "*.key\nsecret/\n", "a.key": "1", "secret/b": "2", "deep/c.key": "3", "deep/d": "4"})
    result = pull(root, {b"data": b"new"}, options)
    assert left(root) == [".artifactignore", "a.key", "data", "deep/c.key", "secret/b"]
    assert set(result.removed) == {b"deep/d"}


def test_a_dry_run_says_the_same(root: Path) -> None:
    put(root, {".artifactignore": "*.key\nsecret/\n", "secret/b": "2", "deep/c.key": "3", "deep/d": "4"})
    options = PullOptions(delete=True, confirm_delete=True, dry_run=True)
    plan = pull(root, {b"data": b"new"}, options).plan
    assert [removal.path for removal in plan.removals] == [b"deep/d"]


def test_files_further_down_and_rules_that_take_back_in_count(root: Path) -> None:
    put(root, {".artifactignore": "*.log\n", "a/.artifactignore": "!keep.log\n", "a/keep.log": "1", "a/x.log": "2"})
    pull(root, {b"data": b"new"}, DELETE)
    assert left(root) == [".artifactignore", "a/.artifactignore", "a/x.log", "data"]


def test_what_the_version_has_is_its_own_although_it_is_ignored_here(root: Path) -> None:
    put(root, {".artifactignore": "*.key\n", "a.key": "1"})
    pull(root, {b"a.key": b"2"}, EXACTLY)
    assert (root / "a.key").read_text() == "2"


def test_a_directory_with_ignored_files_in_it_does_not_make_way(root: Path) -> None:
    put(root, {".artifactignore": "*.key\n", "data/a.key": "1"})
    result = pull(root, {b"data": b"new"}, PullOptions(strategy=ConflictStrategy.REPLACE))
    assert [conflict.path for conflict in result.conflicts] == [b"data"]
    assert (root / "data/a.key").read_text() == "1"


def test_an_ignore_file_that_came_with_a_version_goes_with_it(root: Path) -> None:
    first = pull(root, {b".artifactignore": b"*.key\n", b"data": b"1"}, DELETE)
    put(root, {"a.key": "1"})
    pull(root, {b"data": b"1"}, DELETE, base=first.entries)
    assert left(root) == ["a.key", "data"]


def test_an_ignore_file_that_is_too_long_is_an_error_and_nothing_is_removed(root: Path) -> None:
    put(root, {".artifactignore": "#" * ((1 << 20) + 1), "a": "1"})
    with pytest.raises(DestinationError, match="longer"):
        pull(root, {b"data": b"new"}, DELETE)
    assert left(root) == [".artifactignore", "a"]
