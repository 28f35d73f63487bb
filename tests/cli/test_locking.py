"""``lock`` and ``pull --lock`` as a user runs them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from artifactstore.cli.main import program

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Commands in an empty directory; the store has `team/m` v1, alias prod, with a file that holds 1."""
    for kind in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.setenv("ARTIFACTSTORE_URL", str(tmp_path / "store"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(program, arguments)
        assert result.exit_code == code, result.output + (str(result.exception) if result.exception else "")
        return result

    push(run, "team/m", "1")
    yield run


def push(run: Run, name: str, text: str) -> None:
    folder = Path("../source")
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text(text)
    run("push", "../source", name, "--alias", "prod")


def test_what_does_not_go_together_is_said(run: Run) -> None:
    assert "without it, a name is pinned again" in run("lock", "--update", "team/m", code=2).stderr
    run("lock", "team/m")
    assert (
        "says which version, and that is what the lock file says" in run("pull", "--lock", "team/m:v1", code=2).stderr
    )


def test_what_is_pinned_is_pulled_whatever_the_alias_becomes(run: Run) -> None:
    said = run("lock", "team/m:prod").stdout
    assert said.startswith("team/m:prod: pinned to v1 (")
    assert said.endswith("…); to m\n")
    push(run, "team/m", "2")
    assert "team/m:v1 → " in run("pull", "--lock").stdout
    assert Path("m/file").read_text() == "1"
    assert ", was v1; to m" in run("lock", "--update").stdout
    run("pull", "--lock", "team/m")
    assert Path("m/file").read_text() == "2"
    assert run("lock", "--update").stdout.endswith("; unchanged\n")


def test_file_and_destination_are_the_users_choice(run: Run) -> None:
    Path("sub").mkdir()
    run("lock", "team/m", "--file", "sub/pins.lock", "--to", "./models/m/")
    run("pull", "--lock", "--file", "sub/pins.lock")
    assert Path("sub/models/m/file").read_text() == "1"
    run("pull", "--lock", "--file", "sub/pins.lock", "team/m", "here")
    assert Path("here/file").read_text() == "1"
    assert not Path("artifactstore.lock").exists()


def test_as_json(run: Run) -> None:
    document = json.loads(run("lock", "team/m:prod", "--json").stdout)
    content = document["items"][0].pop("content_digest")
    assert len(content) == 64
    assert document == {
        "schema": "artifactstore/lock/1",
        "file": "artifactstore.lock",
        "items": [
            {"name": "team/m", "change": "added", "asked": "team/m:prod", "version": "v1", "destination": "m"},
        ],
    }
    pulled = json.loads(run("pull", "--lock", "--json").stdout)
    assert (pulled["schema"], pulled["file"]) == ("artifactstore/pulls/1", "artifactstore.lock")
    assert [(item["version"], item["files"]) for item in pulled["items"]] == [("team/m:v1", 1)]


def test_a_dry_run_and_the_other_options_of_pull_hold_for_all_pins(run: Run) -> None:
    run("lock", "team/m")
    assert "Dry run" in run("pull", "--lock", "--dry-run").stdout
    assert not Path("m").exists()
    run("pull", "--lock")
    Path("m/file").write_text("mine")
    run("pull", "--lock", "--strategy", "replace")
    assert Path("m/file").read_text() == "1"
    assert run("pull", "--lock", "--quiet").output == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("lock",), 2, "--update"),
        (("lock", "team/m", "--update"), 2, "--update"),
        (("lock", "--update", "--to", "x"), 2, "--update"),
        (("lock", "--update"), 2, "no lock file"),
        (("lock", "team/m", "team/m:v1"), 2, "given twice"),
        (("lock", "team/m", "other", "--to", "x"), 2, "one reference"),
        (("lock", "team/m", "--to", "../x"), 2, "'..'"),
        (("lock", "team/m", "--to", ".git/hooks"), 2, "git's own files"),
        (("lock", "team/m:v1/file"), 2, "path inside"),
        (("lock", "nowhere"), 3, "no name nowhere"),
        (("pull",), 2, "needs a name"),
        (("pull", "team/m", "--file", "x"), 2, "--file goes with --lock"),
        (("pull", "--lock"), 2, "no lock file"),
    ],
)
def test_errors_write_nothing(run: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = run(*arguments, code=code)
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert list(Path().iterdir()) == []


def test_a_pin_that_can_not_be_met_says_what_to_do(run: Run) -> None:
    run("lock", "team/m")
    push(run, "team/m", "2")
    run("rm", "team/m:v1")
    result = run("pull", "--lock", code=3)
    assert "team/m is pinned to the content of v1" in result.stderr
    assert "artifactstore lock team/m" in result.stderr
    run("lock", "team/m")
    run("pull", "--lock")


def test_a_file_with_marks_of_a_conflict_says_so(run: Run) -> None:
    run("lock", "team/m")
    lock = Path("artifactstore.lock")
    lock.write_text("<<<<<<< ours\n" + lock.read_text())
    assert "git has left marks of a conflict" in run("pull", "--lock", code=2).stderr
