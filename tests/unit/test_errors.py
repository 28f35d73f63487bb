"""Errors: one tree, four parts in every message, and whole after pickling."""

import inspect
import pickle
import re

import pytest

from artifactstore import errors
from artifactstore.errors import (
    AliasProtected,
    ArtifactStoreError,
    CommitStateUnknown,
    CorruptData,
    DownloadConflict,
    InvalidMetadata,
    InvalidName,
    NameNotFound,
    ObjectExists,
    ObjectNotFound,
    PlanOutdated,
    ReferenceChanged,
    TransientBackendError,
    VersionExpired,
)


def everything() -> list[type[ArtifactStoreError]]:
    found = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, ArtifactStoreError)]
    assert len(found) > 20
    return found


def made(kind: type[ArtifactStoreError]) -> ArtifactStoreError:
    if issubclass(kind, ObjectNotFound | ObjectExists):
        return kind("packs/aa/bb", where="s3://bucket")
    if issubclass(kind, DownloadConflict):
        return kind("2 paths have changed", paths=[b"a", b"\xff"], where="/home")
    if issubclass(kind, PlanOutdated):
        return kind("the directory has changed", side="directory", paths=[b"a", b"\xff"], where="/home")
    if issubclass(kind, AliasProtected):
        return kind("alias prod of n is protected", aliases=["prod"], where="names")
    if issubclass(kind, VersionExpired):
        return kind("n:v1 has expired", version="n:v1", expires="2026-01-31T08:00:00.000Z", where="names")
    if issubclass(kind, ReferenceChanged):
        return kind("it has changed", old={"size_bytes": 3}, new={"size_bytes": 4}, where="s3://bucket/key")
    if issubclass(kind, CorruptData):
        return kind("it is damaged", key="packs/aa/bb", byte_range=(3, 9), versions=["n:v1"])
    if issubclass(kind, TransientBackendError):
        return kind("slow down", where="s3://bucket", retry_after_seconds=3.0, effect_unknown=False)
    return kind("it went wrong", where="somewhere", data_safe="All is well.", next_step="Do this.")


@pytest.mark.parametrize("kind", everything(), ids=lambda kind: kind.__name__)
def test_message_says_what_where_whether_data_is_safe_and_what_to_do(kind: type[ArtifactStoreError]) -> None:
    """Promise R8."""
    error = made(kind)
    text = str(error)
    assert error.what in text
    assert error.where in text
    assert error.data_safe in text
    assert error.next_step in text
    assert text.endswith((".", ")", "`"))
    assert re.search(r"[A-Z`]", error.next_step)
    assert ".." not in text
    plain = kind.__new__(kind)
    ArtifactStoreError.__init__(plain, "what")
    assert plain.data_safe
    assert plain.next_step, "every kind has something to do next"


@pytest.mark.parametrize("kind", everything(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_error_survives_pickling_with_all_its_fields(kind: type[ArtifactStoreError], protocol: int) -> None:
    error = made(kind)
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.args == error.args
    assert vars(again) == vars(error)


def test_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"    ( *)([A-Z]\w+)", line):
            depth = len(match.group(1)) // 2
            above = [*above[:depth], match.group(2)]
            drawn[match.group(2)] = above[depth - 1] if depth else "Exception"
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in everything()}


def test_catching_bad_arguments_never_catches_lost_data() -> None:
    # These two are about a local file that was named by the caller, as `open` would have said it.
    local = {errors.SourceFileNotFound, errors.SourceIsDirectory}
    assert all(not issubclass(kind, ValueError | TypeError | OSError) for kind in set(everything()) - local)
    assert issubclass(InvalidName, ValueError)
    assert issubclass(InvalidMetadata, ValueError)


def test_place_that_is_in_the_message_already_is_not_said_twice() -> None:
    assert str(NameNotFound("no name n", where="n")).count("n name n") == 0
    assert str(NameNotFound("no name team/model", where="team/model")).count("team/model") == 1
    assert str(NameNotFound("no such name", where="team/model")).count("team/model") == 1


def test_damage_names_the_object_the_range_and_whom_it_hurts() -> None:
    error = CorruptData("a chunk is damaged", key="packs/aa/bb", byte_range=(10, 20), versions=["n:v1", "n:v2"])
    assert "packs/aa/bb bytes 10-20" in str(error)
    assert "It hurts n:v1, n:v2." in str(error)
    assert "No wrong byte was returned" in str(error)


def test_commit_in_doubt_deletes_nothing_and_says_how_to_find_out() -> None:
    """Fault 10."""
    text = str(CommitStateUnknown("the push was sent"))
    assert "Nothing was removed" in text
    assert "Run the same push again" in text
