"""Pulls that bring the content of references: the one conflict rule, contained, whole files only."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.artifacts.webserver import Answer, WebServer

from artifactstore.artifacts.artifact import create_artifact, load_artifact
from artifactstore.artifacts.download import pull_with_references
from artifactstore.artifacts.pinning import pin
from artifactstore.errors import (
    DestinationError,
    DownloadConflict,
    ReferenceChanged,
    ReferenceGone,
    ReferenceNotAllowed,
    ReferenceUnreachable,
)
from artifactstore.store import ConflictStrategy, PullOptions, Store
from artifactstore.testing.stores import StoreWorld

STRATEGIES = [ConflictStrategy.SKIP, ConflictStrategy.NEW, ConflictStrategy.REPLACE]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("ARTIFACTSTORE_ALLOW_PRIVATE_REFERENCES", "1")
    with StoreWorld(tmp_path).store() as store:
        yield store


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


def files_in(root: Path) -> dict[str, bytes]:
    return {
        os.path.relpath(os.path.join(folder, name), root): Path(folder, name).read_bytes()
        for folder, _, names in os.walk(root)
        for name in names
    }


def upload(store: Store, web: WebServer, *, digest: bool = True, **content: bytes) -> str:
    """A version with `own.txt` and, below `ref/`, a reference for each content."""
    artifact = create_artifact("demo", store=store)
    with artifact.new_file("own.txt") as file:
        file.write(b"own")
    for name, body in content.items():
        web.put(f"/{name}", body)
        artifact.add_reference(f"{web.url}/{name}", "ref/", digest=digest)
    done = artifact.upload()
    assert done.version is not None
    return done.version


def test_references_land_as_files_beside_the_others(store: Store, web: WebServer, there: Path) -> None:
    version = upload(store, web, a=b"content of a", b=b"")
    done = pull_with_references(store, version, there)
    assert files_in(there) == {"own.txt": b"own", "ref/a": b"content of a", "ref/b": b""}
    assert sorted(done.written) == [b"own.txt", b"ref/a", b"ref/b"]
    assert done.references == ()
    assert done.content_bytes == 15


def test_artifact_downloads_its_references(store: Store, web: WebServer, there: Path) -> None:
    artifact = load_artifact(upload(store, web, a=b"content of a"), store=store)
    assert artifact.download(there, references=False).references == (b"ref/a",)
    assert files_in(there) == {"own.txt": b"own"}
    artifact.download(there)
    assert files_in(there) == {"own.txt": b"own", "ref/a": b"content of a"}


def test_part_of_a_version_brings_its_references(store: Store, web: WebServer, there: Path) -> None:
    version = upload(store, web, a=b"1", b=b"2")
    pull_with_references(store, f"{version}/ref", there)
    assert files_in(there) == {"a": b"1", "b": b"2"}


def test_one_reference_by_its_path(store: Store, web: WebServer, there: Path) -> None:
    version = upload(store, web, a=b"1", b=b"2")
    pull_with_references(store, f"{version}/ref/b", there)
    assert files_in(there) == {"b": b"2"}


def test_chosen_paths_bring_their_references(store: Store, web: WebServer, there: Path) -> None:
    artifact = load_artifact(upload(store, web, a=b"1", b=b"2"), store=store)
    artifact.download(there, paths=["ref/a"])
    assert files_in(there) == {"ref/a": b"1"}


@pytest.mark.parametrize("digest", [False, True], ids=["as it looks", "by digest"])
def test_second_pull_writes_nothing(store: Store, web: WebServer, there: Path, digest: bool) -> None:
    version = upload(store, web, a=b"content", digest=digest)
    pull_with_references(store, version, there)
    before = (there / "ref" / "a").stat().st_mtime_ns
    done = pull_with_references(store, version, there)
    assert (done.written, done.kept, done.conflicts) == ((), (), ())
    assert (there / "ref" / "a").stat().st_mtime_ns == before


def test_dry_run_writes_nothing_and_tells(store: Store, web: WebServer, there: Path) -> None:
    version = upload(store, web, a=b"content")
    done = pull_with_references(store, version, there, options=PullOptions(dry_run=True))
    assert done.dry_run
    assert sorted(done.written) == [b"own.txt", b"ref/a"]
    assert not there.exists()


# -- the rule -------------------------------------------------------------------------------------------


def test_newer_reference_replaces_what_was_fetched_and_not_edited(store: Store, web: WebServer, there: Path) -> None:
    pull_with_references(store, upload(store, web, a=b"content"), there)
    pull_with_references(store, upload(store, web, a=b"newer"), there)
    assert files_in(there)["ref/a"] == b"newer"


def test_reference_that_is_no_more_goes_if_it_was_not_edited(store: Store, web: WebServer, there: Path) -> None:
    pull_with_references(store, upload(store, web, a=b"1", b=b"2", c=b"3"), there)
    (there / "ref" / "b").write_bytes(b"edited")
    version = upload(store, web, c=b"3")
    with pytest.raises(DownloadConflict) as caught:
        pull_with_references(store, version, there)
    assert caught.value.paths == (b"ref/b",)
    assert files_in(there) == {"own.txt": b"own", "ref/a": b"1", "ref/b": b"edited", "ref/c": b"3"}
    pull_with_references(store, version, there, options=PullOptions(strategy=ConflictStrategy.SKIP))
    assert files_in(there) == {"own.txt": b"own", "ref/b": b"edited", "ref/c": b"3"}


def test_plain_pull_leaves_what_was_fetched(store: Store, web: WebServer, there: Path) -> None:
    pull_with_references(store, upload(store, web, a=b"1", b=b"2"), there)
    done = store.pull(upload(store, web, b=b"2"), there)
    assert done.conflicts == ()
    assert files_in(there) == {"own.txt": b"own", "ref/a": b"1", "ref/b": b"2"}


def test_pinned_reference_that_was_fetched_is_the_same_file(store: Store, web: WebServer, there: Path) -> None:
    version = upload(store, web, a=b"1", b=b"2")
    pull_with_references(store, version, there)
    pinned = pin(store, version, ["ref/a"]).version
    assert pinned is not None
    done = pull_with_references(store, pinned, there)
    assert (done.written, done.removed, done.conflicts) == ((), (), ())
    assert files_in(there) == {"own.txt": b"own", "ref/a": b"1", "ref/b": b"2"}


@pytest.fixture
def conflict(store: Store, web: WebServer, there: Path) -> str:
    """A version of which a file and a reference are here already, and differ."""
    (there / "ref").mkdir(parents=True)
    (there / "ref" / "a").write_bytes(b"local!!")
    (there / "own.txt").write_bytes(b"local, too")
    return upload(store, web, a=b"content", b=b"2")


def test_error_lists_all_conflicts_and_writes_nothing(store: Store, there: Path, conflict: str) -> None:
    with pytest.raises(DownloadConflict) as caught:
        pull_with_references(store, conflict, there)
    assert caught.value.paths == (b"own.txt", b"ref/a")
    assert files_in(there) == {"own.txt": b"local, too", "ref/a": b"local!!"}


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.value)
def test_other_strategies_have_one_outcome_each(
    store: Store, there: Path, conflict: str, strategy: ConflictStrategy
) -> None:
    done = pull_with_references(store, conflict, there, options=PullOptions(strategy=strategy))
    found = files_in(there)
    assert found.pop("ref/b") == b"2"
    assert [each.path for each in done.conflicts] == [b"own.txt", b"ref/a"]
    if strategy is ConflictStrategy.REPLACE:
        assert found == {"own.txt": b"own", "ref/a": b"content"}
        return
    assert (found.pop("own.txt"), found.pop("ref/a")) == (b"local, too", b"local!!")
    beside = {os.fsdecode(each.beside) for each in done.conflicts if each.beside}
    assert found.keys() == beside
    assert sorted(found.values()) == ([b"content", b"own"] if strategy is ConflictStrategy.NEW else [])


@pytest.mark.parametrize("strategy", list(ConflictStrategy), ids=lambda strategy: strategy.value)
def test_file_in_place_of_a_directory_is_a_conflict(
    store: Store, web: WebServer, there: Path, strategy: ConflictStrategy
) -> None:
    there.mkdir()
    (there / "ref").write_bytes(b"a file")
    version = upload(store, web, a=b"content")
    options = PullOptions(strategy=strategy)
    if strategy is ConflictStrategy.ERROR:
        with pytest.raises(DownloadConflict):
            pull_with_references(store, version, there, options=options)
        assert files_in(there) == {"ref": b"a file"}
        return
    pull_with_references(store, version, there, options=options)
    found = files_in(there)
    assert found.pop("own.txt") == b"own"
    if strategy is ConflictStrategy.REPLACE:
        assert found == {"ref/a": b"content"}
    else:
        assert found.pop("ref") == b"a file"
        assert list(found.values()) == ([b"content"] if strategy is ConflictStrategy.NEW else [])


# -- contained, whole or not at all -----------------------------------------------------------------------


@pytest.mark.parametrize("strategy", list(ConflictStrategy), ids=lambda strategy: strategy.value)
def test_nothing_is_written_through_a_link(
    store: Store, web: WebServer, there: Path, tmp_path: Path, strategy: ConflictStrategy
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"outside")
    there.mkdir()
    (there / "ref").symlink_to(outside)
    (there / "own.txt").write_bytes(b"own")
    version = upload(store, web, a=b"content", file=b"from there")
    try:
        pull_with_references(store, version, there, options=PullOptions(strategy=strategy))
    except (DownloadConflict, DestinationError):
        assert strategy is ConflictStrategy.ERROR
    assert files_in(outside) == {"file": b"outside"}


def test_link_in_place_of_a_reference_is_replaced_and_not_followed(
    store: Store, web: WebServer, there: Path, tmp_path: Path
) -> None:
    (tmp_path / "target").write_bytes(b"outside")
    (there / "ref").mkdir(parents=True)
    (there / "ref" / "a").symlink_to(tmp_path / "target")
    options = PullOptions(strategy=ConflictStrategy.REPLACE)
    pull_with_references(store, upload(store, web, a=b"content"), there, options=options)
    assert (tmp_path / "target").read_bytes() == b"outside"
    assert not (there / "ref" / "a").is_symlink()
    assert (there / "ref" / "a").read_bytes() == b"content"


@pytest.mark.parametrize("digest", [False, True], ids=["as it looks", "by digest"])
def test_reference_that_changed_is_found_before_anything_is_written(
    store: Store, web: WebServer, there: Path, digest: bool
) -> None:
    version = upload(store, web, a=b"content", b=b"2", digest=digest)
    web.put("/a", b"longer content")
    with pytest.raises(ReferenceChanged) as caught:
        pull_with_references(store, version, there)
    assert caught.value.new["size_bytes"] == 14
    del web.files["/a"]
    with pytest.raises(ReferenceGone):
        pull_with_references(store, version, there)
    assert not there.exists()


def test_other_bytes_of_the_same_size_never_appear(store: Store, web: WebServer, there: Path) -> None:
    version = upload(store, web, a=b"content")
    web.files["/a"] = b"CONTENT"  # with the old entity tag
    with pytest.raises(ReferenceChanged) as caught:
        pull_with_references(store, version, there)
    assert caught.value.old.keys() == {"digest"}
    assert files_in(there) == {"own.txt": b"own"}


@pytest.mark.parametrize("digest", [False, True], ids=["as it looks", "by digest"])
def test_answer_that_is_cut_short_leaves_nothing(store: Store, web: WebServer, there: Path, digest: bool) -> None:
    version = upload(store, web, a=b"content", digest=digest)
    whole = Answer(body=b"content", headers={"ETag": '"1"'})
    cut = Answer(body=b"content", headers={"ETag": '"1"'}, cut_after=3)
    web.routes["/a"] = lambda request: whole if request.method == "HEAD" else cut
    with pytest.raises(ReferenceUnreachable):
        pull_with_references(store, version, there)
    assert files_in(there) == {"own.txt": b"own"}


def test_server_without_sizes_or_tags_works_and_is_checked(store: Store, web: WebServer, there: Path) -> None:
    body = [b"content"]
    web.routes["/plain"] = lambda request: Answer(body=body[0], says_length=False)
    artifact = create_artifact("plain", store=store)
    artifact.add_reference(f"{web.url}/plain")
    artifact.upload()
    done = pull_with_references(store, "plain", there)
    assert files_in(there) == {"plain": b"content"}
    assert done.content_bytes == 7
    body[0] = b"another"
    with pytest.raises(DownloadConflict):
        pull_with_references(store, "plain", there)
    assert files_in(there) == {"plain": b"content"}


def test_what_the_rules_refuse_is_not_asked_for(
    store: Store, web: WebServer, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = upload(store, web, a=b"content")
    monkeypatch.delenv("ARTIFACTSTORE_ALLOW_PRIVATE_REFERENCES")
    web.requests.clear()
    with pytest.raises(ReferenceNotAllowed):
        pull_with_references(store, version, there)
    assert web.requests == []
    assert not there.exists()
