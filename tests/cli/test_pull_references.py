"""`pull --references` as a user runs it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from artifactstore.artifacts.artifact import create_artifact
from artifactstore.cli.main import program


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_text("content")
    monkeypatch.setenv("ARTIFACTSTORE_REFERENCE_ROOTS", str(data))
    monkeypatch.chdir(tmp_path)
    with create_artifact("demo") as artifact:
        artifact.add_reference(data.as_uri())
        artifact.upload()
    return data


def run(*arguments: str) -> Result:
    return CliRunner().invoke(program, arguments)


def test_a_version_of_references_only_does_not_look_empty(data: Path) -> None:
    for arguments in (["ls", "demo"], ["ls", "-l"], ["log", "demo"], ["find"], ["show", "demo"]):
        assert "1" in (done := run(*arguments)).stdout
        assert "reference" in done.stdout, arguments
    pushed = run("artifact", "create", "other", "--reference", (data / "a").as_uri())
    assert pushed.stdout == "other:v1: 0 files, 0 B, 1 reference; 0 B new, 0 B sent\n"
    again = run("artifact", "create", "other", "--reference", (data / "a").as_uri(), "--json")
    assert json.loads(again.stdout)["references"] == 1


def test_pull_leaves_references_out_and_says_how_to_get_them(data: Path) -> None:
    done = run("pull", "demo", "there")
    assert done.exit_code == 0
    assert "1 reference left out: their content is not in the store, and --references fetches it" in done.stderr


def test_pull_with_references_brings_them(data: Path) -> None:
    done = run("pull", "demo", "there", "--references", "--json")
    document = json.loads(done.stdout)
    assert (document["written"], document["references"]) == ([{"path": "data/a"}], [])
    assert Path("there/data/a").read_text() == "content"
    assert (document["fetched_bytes"], document["fetched_references"]) == (7, 1)
    again = json.loads(run("pull", "demo", "there", "--references", "--json").stdout)
    assert (again["fetched_bytes"], again["fetched_references"]) == (0, 0)


def test_pull_says_how_many_references_it_fetched(data: Path) -> None:
    dry = json.loads(run("pull", "demo", "there", "--references", "--dry-run", "--json").stdout)
    assert (dry["fetched_bytes"], dry["fetched_references"]) == (0, 0)
    assert "1 path written, 7 B; 7 B fetched (1 reference)" in run("pull", "demo", "there", "--references").stdout


@pytest.mark.parametrize(
    ("change", "code", "kind"),
    [
        (lambda data: (data / "a").write_text("something else"), 1, "ReferenceChanged"),
        (lambda data: (data / "a").unlink(), 3, "ReferenceGone"),
    ],
    ids=["changed", "gone"],
)
def test_reference_that_does_not_hold_is_an_error_and_nothing_is_written(
    data: Path, change: object, code: int, kind: str
) -> None:
    change(data)  # type: ignore[operator]
    done = run("pull", "demo", "there", "--references", "--json")
    assert done.exit_code == code
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["kind"] == kind
    assert error["old"]["size_bytes"] == 7
    assert not Path("there").exists()


def test_what_the_settings_do_not_allow_is_a_wrong_use(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARTIFACTSTORE_REFERENCE_ROOTS")
    done = run("pull", "demo", "there", "--references")
    assert done.exit_code == 2
    assert "ARTIFACTSTORE_REFERENCE_ROOTS" in done.stderr


def test_references_do_not_go_with_a_lock_file(data: Path) -> None:
    assert run("pull", "demo", "--lock", "--references").exit_code == 2


def test_all_references_that_do_not_hold_are_named(data: Path) -> None:
    (data / "b").write_text("content")
    run("artifact", "create", "two", "--reference", (data / "a").as_uri(), "--reference", (data / "b").as_uri())
    (data / "a").write_text("something else")
    (data / "b").unlink()
    error = json.loads(run("pull", "two", "there", "--references", "--json").stderr.splitlines()[-1])["error"]
    assert error["kind"] == "ReferenceChanged"
    assert "2 references do not hold: " in error["what"]
    assert "/a has changed since it was added" in error["what"]
    assert "/b any more" in error["what"]
