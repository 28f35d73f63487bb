"""``mkdir``, ``rmdir`` and ``mv``, as a user runs them."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from artifactstore.cli import folders
from artifactstore.cli.main import program


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a store that holds models/m (v1, v3, prod) and models/deep/n."""
    for kind in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.setenv("ARTIFACTSTORE_URL", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    for name, content in (("models/m", "1"), ("models/m", "2"), ("models/m", "3"), ("models/deep/n", "4")):
        (tmp_path / "f").write_text(content)
        run("push", "f", name)
    run("rm", "models/m:v2")
    run("alias", "models/m:v3", "prod")
    return tmp_path


def run(*arguments: str, code: int = 0, stdin: str = "") -> Result:
    result = CliRunner().invoke(program, list(arguments), input=stdin)
    assert result.exit_code == code, result.output + str(result.exception or "")
    return result


def lines(*arguments: str) -> list[str]:
    return run(*arguments).stdout.splitlines()


def as_json(*arguments: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run(*arguments, "--json").stdout)
    assert document.pop("schema") == f"artifactstore/{arguments[0]}/1"
    return document


def test_made_folder_is_listed_and_can_be_looked_into(cli: Path) -> None:
    assert lines("mkdir", "a/b") == ["made a/b/"]
    assert lines("mkdir", "a/b/") == ["there already: a/b/"]
    assert lines("ls") == ["a/", "models/"] and lines("ls", "a") == ["a/b/"]
    assert lines("ls", "a/b") == [] == as_json("ls", "a/b")["items"]
    assert as_json("mkdir", "c") == {"folder": "c", "is_new": True}
    assert as_json("mkdir", "c/") == {"folder": "c", "is_new": False}
    assert run("mkdir", "d", "--quiet").output == ""


def test_removed_folder_is_listed_no_more(cli: Path) -> None:
    run("mkdir", "a/b")
    assert lines("rmdir", "a/b") == ["removed a/b/"]
    assert lines("ls", "a") == []
    run("rmdir", "a")
    assert lines("ls") == ["models/"]
    run("ls", "a", code=3)
    run("rmdir", "a", code=3)


def test_folder_with_something_in_it_is_a_conflict(cli: Path) -> None:
    result = run("rmdir", "models", code=4)
    assert result.stderr.startswith("error: folder models is not empty. Nothing was removed.")
    error = json.loads(run("rmdir", "models", "--json", code=4).stderr)["error"]
    assert error["kind"] == "FolderNotEmpty" and error["where"] == "models"


def test_recursive_removal_shows_what_goes_and_needs_a_yes(cli: Path) -> None:
    planned = lines("rmdir", "models", "--recursive", "--dry-run")
    assert sorted(planned) == [
        "would remove models/",
        "would remove models/deep/",
        "would remove models/deep/n:v1",
        "would remove models/m:v1",
        "would remove models/m:v3",
    ]
    assert "models holds 3 versions: say --yes" in run("rmdir", "models", "--recursive", code=2).stderr
    assert "--yes" in run("rmdir", "models", "--recursive", "--json", code=2).stderr
    result = run("rmdir", "models", "--recursive", "--yes")
    assert result.stdout.splitlines() == [line.replace("would remove", "removed") for line in planned]
    assert "note: alias models/m:prod pointed there, and now points nowhere" in result.stderr
    assert lines("ls") == []


def test_recursive_removal_asks_a_person(cli: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "is_interactive", lambda: True)
    asked = run("rmdir", "models", "--recursive", stdin="n\n", code=1)
    assert "Remove models with 3 versions for good?" in asked.stderr
    assert lines("ls") == ["models/"]
    run("rmdir", "models", "--recursive", stdin="y\n")
    assert lines("ls") == []
    run("mkdir", "empty/inner")
    run("rmdir", "empty", "--recursive")  # nothing to ask about


def test_recursive_removal_as_json(cli: Path) -> None:
    document = as_json("rmdir", "models", "--recursive", "--yes")
    assert document["dry_run"] is False and document["folders"] == ["models/deep", "models"]
    assert sorted(document["versions"]) == ["models/deep/n:v1", "models/m:v1", "models/m:v3"]
    assert document["aliases"] == ["models/m:prod"]


def test_protected_alias_stands_in_the_way_of_removal_and_not_of_a_move(cli: Path) -> None:
    run("alias", "models/m", "prod", "--protect")
    error = json.loads(run("rmdir", "models", "--recursive", "--yes", "--json", code=4).stderr)["error"]
    assert error["kind"] == "AliasProtected"
    run("mv", "models/m", "m")
    run("rm", "m:prod", code=4)
    run("mv", "m", "models/m")
    run("rmdir", "models", "--recursive", "--yes", "--force")


def test_name_moves_and_new_numbers_are_said(cli: Path) -> None:
    planned = run("mv", "models/m", "best", "--dry-run")
    assert planned.stdout == "would move models/m → best: 2 versions, aliases prod\n"
    assert planned.stderr == "note: versions of best will have other numbers: v3 → v2\n"
    moved = run("mv", "models/m", "best")
    assert moved.stdout == "moved models/m → best: 2 versions, aliases prod\n"
    assert moved.stderr == "note: versions of best have other numbers: v3 → v2\n"
    assert lines("ls") == ["best", "models/"] and lines("ls", "models") == ["models/deep/"]
    assert run("cat", "best:prod/f").stdout == "3"
    assert as_json("show", "best:prod")["version"]["moved_from"] == "models/m:v3"
    assert "is deleted" in run("cat", "models/m:v3/f", code=3).stderr


def test_folder_moves_as_json(cli: Path) -> None:
    run("mkdir", "models/empty")
    document = as_json("mv", "models", "old/")
    assert {key: document[key] for key in ("old", "new", "is_folder", "dry_run")} == {
        "old": "models", "new": "old/models", "is_folder": True, "dry_run": False,
    }  # fmt: skip
    assert document["names"] == [
        {
            "old": "models/deep/n",
            "new": "old/models/deep/n",
            "versions": [{"old": "models/deep/n:v1", "new": "old/models/deep/n:v1"}],
            "aliases": [],
            "renumbered": False,
        },
        {
            "old": "models/m",
            "new": "old/models/m",
            "versions": [
                {"old": "models/m:v1", "new": "old/models/m:v1"},
                {"old": "models/m:v3", "new": "old/models/m:v2"},
            ],
            "aliases": ["prod"],
            "renumbered": True,
        },
    ]
    assert lines("ls", "old/models") == ["old/models/deep/", "old/models/empty/", "old/models/m"]


def test_folder_without_names_moves_in_one_line(cli: Path) -> None:
    run("mkdir", "a/b")
    assert lines("mv", "a", "c", "--dry-run") == ["would move a/ → c/"]
    assert lines("mv", "a", "c") == ["moved a/ → c/"]
    assert run("mv", "c", "d", "--quiet").output == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["mv", "nothing", "new"], 3),
        (["mv", "models/m", "models/deep/n"], 4),
        (["mv", "models", "models/inside"], 2),
        (["mv", "models/m", "models/m"], 2),
        (["mv", "models/m:v1", "new"], 2),
        (["mv", "models/m"], 2),
        (["mkdir", "../a"], 2),
        (["mkdir", ""], 2),
        (["mkdir", "/"], 2),
        (["rmdir", "nothing"], 3),
        (["rmdir", "/", "--recursive", "--yes"], 2),
    ],
)
def test_mistakes_have_their_exit_codes(cli: Path, arguments: list[str], code: int) -> None:
    result = run(*arguments, code=code)
    assert result.stderr.startswith("error: ") and "Traceback" not in result.output
    assert lines("ls", "models") == ["models/deep/", "models/m"]
