"""Every error has one exit code, one line, and one JSON document."""

import inspect
import json

import click
import pytest

from artifactstore import errors
from artifactstore.cli.failures import ExitCode, error_document, error_text, exit_code_of

EXAMPLES: dict[str, Exception] = {
    "NotFound": errors.NotFound("x is not there"),
    "ObjectNotFound": errors.ObjectNotFound("packs/aa/bb", where="s3://b"),
    "StoreNotFound": errors.StoreNotFound("no store", where="/x"),
    "NameNotFound": errors.NameNotFound("no name a/b"),
    "VersionDeleted": errors.VersionDeleted("a:v1 was deleted"),
    "PathNotFound": errors.PathNotFound("no path"),
    "Conflict": errors.Conflict("conflict"),
    "ObjectExists": errors.ObjectExists("k"),
    "VersionExpired": errors.VersionExpired("n:v1 has expired", version="n:v1", expires="2026-01-31T08:00:00.000Z"),
    "AliasProtected": errors.AliasProtected("alias prod of n is protected", aliases=["prod"]),
    "InvalidMetadata": errors.InvalidMetadata("metadata.loss: JSON has no nan"),
    "VersionExists": errors.VersionExists("a has a version"),
    "DownloadConflict": errors.DownloadConflict("2 files", paths=[b"a", b"b\xff\x1b"]),
    "DestinationExists": errors.DestinationExists("it is a file"),
    "PathExists": errors.PathExists("two entries for x"),
    "FolderNotEmpty": errors.FolderNotEmpty("a holds names"),
    "JobNotFound": errors.JobNotFound("no job train-7"),
    "JobRunning": errors.JobRunning("job train-7 is running"),
    "SyncPlanError": errors.SyncPlanError("not a plan", where="plan.json"),
    "PlanOutdated": errors.PlanOutdated("the directory has changed", side="directory", paths=[b"a"]),
    "SourceFileNotFound": errors.SourceFileNotFound("there is no x", where="x"),
    "SourceIsDirectory": errors.SourceIsDirectory("x is a directory", where="x"),
    "CorruptData": errors.CorruptData("digest differs", key="packs/x", byte_range=(3, 9), versions=["a:v1"]),
    "UnsafeManifest": errors.UnsafeManifest("'..' in a path"),
    "UnsupportedFormat": errors.UnsupportedFormat("format 2"),
    "CommitStateUnknown": errors.CommitStateUnknown("no answer"),
    "SourceError": errors.SourceError("bad source"),
    "SourceNotFound": errors.SourceNotFound("no such path", where="/x"),
    "SourceUnreadable": errors.SourceUnreadable("no permission"),
    "SourceChanged": errors.SourceChanged("it changed"),
    "DestinationError": errors.DestinationError("disk full"),
    "BackendError": errors.BackendError("500"),
    "TransientBackendError": errors.TransientBackendError("503"),
    "StorePermissionDenied": errors.StorePermissionDenied("403"),
    "StoreOutOfSpace": errors.StoreOutOfSpace("full"),
    "StoreReadOnly": errors.StoreReadOnly("read-only"),
    "ReferenceNotFound": errors.ReferenceNotFound("nothing is there", where="s3://b/k"),
    "ReferenceUnreachable": errors.ReferenceUnreachable("no answer", where="https://example.org/x"),
    "ReferenceNotAllowed": errors.ReferenceNotAllowed("ftp:// is not allowed"),
    "ReferenceChanged": errors.ReferenceChanged("it changed", old={"etag": '"1"'}, new={"etag": '"2"'}),
    "ReferenceGone": errors.ReferenceGone("it is gone", old={"size_bytes": 3}, new={}),
    "ConfigurationError": errors.ConfigurationError("bad setting"),
    "ArtifactStoreError": errors.ArtifactStoreError("something"),
    "PinNotMet": errors.PinNotMet("n is pinned to content that is gone", where="artifactstore.lock"),
    "LockFileError": errors.LockFileError("no lock file", where="artifactstore.lock"),
    "InvalidExpression": errors.InvalidExpression("'acc', character 4: an operator is expected here", position=3),
    "InvalidPath": errors.InvalidPath("the object path '..' would leave the artifact"),
    "InvalidName": errors.InvalidName("name '..' is not valid"),
    "UsageError": click.UsageError("No such option: --x"),
    "ValueError": ValueError("a fault of ours"),
    "OSError": OSError(28, "No space left on device", "/x/y"),
    "MemoryError": MemoryError(),
}

CODES = {
    ExitCode.FAILURE: "ArtifactStoreError SourceError SourceUnreadable SourceChanged DestinationError "
    "ReferenceChanged SourceIsDirectory ValueError OSError MemoryError",
    ExitCode.USAGE: "SourceNotFound ConfigurationError LockFileError ReferenceNotAllowed InvalidName InvalidPath "
    "InvalidMetadata InvalidExpression SyncPlanError SourceFileNotFound UsageError",
    ExitCode.NOT_FOUND: "NotFound ObjectNotFound StoreNotFound NameNotFound VersionDeleted VersionExpired PathNotFound "
    "JobNotFound PinNotMet ReferenceNotFound ReferenceUnreachable ReferenceGone",
    ExitCode.CONFLICT: "Conflict ObjectExists VersionExists AliasProtected DownloadConflict DestinationExists "
    "PathExists FolderNotEmpty JobRunning PlanOutdated",
    ExitCode.CORRUPT: "CorruptData UnsafeManifest",
    ExitCode.STORAGE: "BackendError TransientBackendError StorePermissionDenied StoreOutOfSpace StoreReadOnly",
    ExitCode.UNKNOWN_COMMIT: "CommitStateUnknown",
    ExitCode.UNSUPPORTED: "UnsupportedFormat",
}


def test_every_error_of_the_tree_is_in_this_table() -> None:
    tree = {name for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)}
    assert tree <= set(EXAMPLES)


@pytest.mark.parametrize(("kind", "code"), [(k, c) for c, kinds in CODES.items() for k in kinds.split()])
def test_each_kind_has_its_exit_code(kind: str, code: ExitCode) -> None:
    assert exit_code_of(EXAMPLES[kind]) == code


def test_the_codes_cover_all_examples() -> None:
    assert {k for kinds in CODES.values() for k in kinds.split()} == set(EXAMPLES)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_each_error_says_what_and_whether_data_is_safe_and_what_to_do(kind: str) -> None:
    error = EXAMPLES[kind]
    first, *paths = error_text(error, label="error:").split("\n")
    assert first.startswith("error: ")
    assert first.isprintable()
    assert len(first.split(". ")) >= 3
    assert paths == {"DownloadConflict": ["  a", "  b\\xff\\x1b"], "PlanOutdated": ["  a"]}.get(kind, [])


@pytest.mark.parametrize("kind", EXAMPLES)
def test_each_error_is_one_line_of_json(kind: str) -> None:
    text = error_document(EXAMPLES[kind])
    assert text.isascii()
    assert "\n" not in text
    document = json.loads(text)
    assert document["schema"] == "artifactstore/error/1"
    body = document["error"]
    assert body["kind"] == kind
    assert body["exit_code"] == exit_code_of(EXAMPLES[kind])
    assert all(body[part] for part in ("what", "data_safe", "next_step"))


def test_details_go_into_the_json() -> None:
    conflict = json.loads(error_document(EXAMPLES["DownloadConflict"]))["error"]
    assert conflict["paths"] == [{"path": "a"}, {"path": "b\ufffd\x1b", "path_base64": "Yv8b"}]
    changed = json.loads(error_document(EXAMPLES["ReferenceChanged"]))["error"]
    assert (changed["old"], changed["new"]) == ({"etag": '"1"'}, {"etag": '"2"'})
    expired = json.loads(error_document(EXAMPLES["VersionExpired"]))["error"]
    assert (expired["version"], expired["expires"]) == ("n:v1", "2026-01-31T08:00:00.000Z")
    assert json.loads(error_document(EXAMPLES["AliasProtected"]))["error"]["aliases"] == ["prod"]
    corrupt = json.loads(error_document(EXAMPLES["CorruptData"]))["error"]
    assert (corrupt["key"], corrupt["byte_range"], corrupt["versions"]) == ("packs/x", [3, 9], ["a:v1"])


def test_many_conflicts_are_not_all_printed() -> None:
    error = errors.DownloadConflict("25 files", paths=[b"%d" % n for n in range(25)])
    lines = error_text(error, label="error:").split("\n")
    assert len(lines) == 12
    assert lines[-1] == "  … and 15 more"


def test_a_very_long_path_is_shortened_in_the_middle() -> None:
    error = errors.SourceNotFound(f"there is no /start/{'x' * 60_000}/end")
    text = error_text(error, label="error:")
    assert len(text) < 2100
    assert "/start/" in text
    assert "/end" in text
    assert len(json.loads(error_document(error))["error"]["what"]) > 60_000


def test_no_message_makes_a_terminal_obey() -> None:
    error = errors.NameNotFound("no name \x1b]0;owned\x07 \n second line")
    text = error_text(error, label="error:")
    assert "\x1b" not in text
    assert "\n" not in text
