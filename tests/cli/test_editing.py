"""``edit``, time-to-live and protected aliases on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from artifactstore.cli.assignments import metadata_option
from artifactstore.cli.main import program


class Cli:
    """Runs commands on a default store of their own, which has `demo:v1` and `demo:v2`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for content in ("one", "two"):
            (directory / "run").mkdir(exist_ok=True)
            (directory / "run" / "file").write_text(content)
            self("push", "run", "demo", "-m", content)

    def __call__(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(program, list(arguments))
        assert result.exit_code == code, result.output + (str(result.exception) if result.exception else "")
        return result

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").stdout)

    def shown(self, name: str) -> Any:
        return self.json("show", name)["version"]

    def refused(self, *arguments: str, code: int) -> str:
        result = self(*arguments, code=code)
        assert "Traceback" not in result.output
        assert json.loads(self(*arguments, "--json", code=code).stderr.splitlines()[-1])["error"]["exit_code"] == code
        return result.stderr.splitlines()[0]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    for kind in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.delenv("ARTIFACTSTORE_URL", raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return Cli(work)


def expire(cli: Cli, name: str) -> None:
    """Let it expire now: the shortest time-to-live there is, already over when the next command looks."""
    from artifactstore import VersionEdit, open_store

    with open_store() as store:
        store.edit(name, VersionEdit(ttl=1e-9))


def test_edit_changes_what_is_said_of_a_version(cli: Cli) -> None:
    done = cli(
        "edit", "demo:v1", "--label", "good", "--label", "old", "--set", "acc=0.9", "--set", "note=a b", "-m", "first"
    )
    assert done.stdout == "demo:v1: labels good, old; metadata acc, note; never expires\n"
    assert cli("edit", "demo:v1", "--no-label", "old", "--unset", "note", "--ttl", "30d").stdout.startswith(
        "demo:v1: labels good; metadata acc; expires 20"
    )
    shown = cli.shown("demo:v1")
    assert (shown["message"], shown["labels"], shown["metadata"]) == ("first", ["good"], {"acc": 0.9})
    assert shown["edits"] == 2
    assert shown["edited"] > shown["created"]
    assert shown["expires"] > shown["edited"]
    assert cli.shown("demo")["labels"] == []
    assert cli.json("edit", "demo:v1", "--ttl", "never")["version"]["expires"] is None


def test_edit_without_a_version_is_about_the_newest(cli: Cli) -> None:
    assert cli.json("edit", "demo", "--label", "x")["version"]["version"] == "demo:v2"
    assert cli("edit", "demo", "--label", "y", "--quiet").stdout == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("k=1", 1),
        ("k=1.5", 1.5),
        ("k=true", True),
        ("k=null", None),
        ('k={"a": [1]}', {"a": [1]}),
        ('k="1"', "1"),
        ("k=one", "one"),
        ("k=", ""),
        ("k=a=b", "a=b"),
        ("k=NaN", "NaN"),
        ("k=1e999", "1e999"),
        ("k={broken", "{broken"),
        ("k=" + "[" * 5000, "[" * 5000),
    ],
)
def test_a_value_is_json_where_it_is_json(text: str, value: object) -> None:
    import click

    assert metadata_option(click.Context(program), click.Option(["--set"]), [text]) == {"k": value}


def test_metadata_comes_from_a_file_too(cli: Cli) -> None:
    Path("m.json").write_text('{"lr": 0.1, "tags": ["a"]}')
    cli("push", "run/file", "other", "--metadata", "@m.json", "--metadata", "lr=0.2")
    assert cli.shown("other")["metadata"] == {"lr": 0.2, "tags": ["a"]}
    cli("edit", "other", "--set", "@m.json")
    assert cli.shown("other")["metadata"] == {"lr": 0.1, "tags": ["a"]}


@pytest.mark.parametrize("body", [b"[1]", b"{", b"NaN", b'{"a": NaN}', b"\xff", b""], ids=repr)
def test_a_file_that_is_no_json_object_is_refused(cli: Cli, body: bytes) -> None:
    Path("m.json").write_bytes(body)
    assert "m.json is no JSON object" in cli.refused("edit", "demo", "--set", "@m.json", code=2)
    assert "nowhere" in cli.refused("push", "run", "demo", "--metadata", "@nowhere", code=2)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["edit", "demo"], 2),
        (["edit", "demo", "--set", "novalue"], 2),
        (["edit", "demo", "--set", "=1"], 2),
        (["edit", "demo", "--label", "latest"], 2),
        (["edit", "demo", "--label", "a", "--no-label", "a"], 2),
        (["edit", "demo", "--ttl", "soon"], 2),
        (["edit", "demo", "--ttl", "0d"], 2),
        (["edit", "demo", "-m", "x" * 70_000], 2),
        (["edit", "demo:v1/file", "--label", "a"], 2),
        (["edit", "demo:v7", "--label", "a"], 3),
        (["edit", "nothing", "--label", "a"], 3),
        (["push", "run", "demo", "--ttl", "1y"], 2),
        (["push", "run", "demo", "--made-from", "demo:v9"], 3),
        (["push", "run", "demo", "--metadata", "x"], 2),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else str(value),
)
def test_what_cannot_be_noted_is_refused_and_nothing_is_changed(cli: Cli, arguments: list[str], code: int) -> None:
    before = cli("log", "demo", "--json").stdout
    cli.refused(*arguments, code=code)
    assert cli("log", "demo", "--json").stdout == before


def test_listings_mark_what_has_expired(cli: Cli) -> None:
    expire(cli, "demo:v2")
    for arguments in (["ls", "demo"], ["ls", "-l"], ["log", "demo"]):
        assert "expired 20" in cli(*arguments).stdout, arguments
    assert "\nexpired  20" in cli("show", "demo").stdout
    locked = cli("lock", "demo")
    assert "warning: demo:v2 has expired on 20" in locked.stderr
    cli("edit", "demo", "--ttl", "never")
    assert cli("lock", "--update").stderr == ""


def test_push_says_when_a_version_expires_and_what_it_was_made_from(cli: Cli) -> None:
    cli("push", "run", "made", "--ttl", "12h", "--made-from", "demo:v1", "--made-from", "demo")
    shown = cli.shown("made")
    assert [pin["version"] for pin in shown["made_from"]] == ["demo:v1", "demo:v2"]
    assert shown["expires"] > shown["created"]
    text = cli("show", "made").stdout
    assert "made from  demo:v1, demo:v2" in text
    assert "expires    20" in text
    assert "from demo:v1, demo:v2" in cli("log", "made").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["pull", "demo", "copy"],
        ["ls", "demo:latest"],
        ["cat", "demo:latest/file"],
        ["diff", "demo:v1", "demo:v2"],
        ["diff", "demo:v2", "./run"],
        ["status", "run", "demo:v2"],
    ],
    ids=" ".join,
)
def test_readers_refuse_an_expired_version_unless_asked(cli: Cli, arguments: list[str]) -> None:
    expire(cli, "demo:v2")
    assert "demo:v2 has expired" in cli.refused(*arguments, code=3)
    assert not Path("copy").exists()
    cli(*arguments, "--expired")


def test_show_log_and_edit_do_not_mind_that_a_version_has_expired(cli: Cli) -> None:
    expire(cli, "demo:v2")
    assert cli.shown("demo")["version"] == "demo:v2"
    assert "expired 20" in cli("log", "demo").stdout
    assert "v2" in cli("ls", "demo").stdout
    cli("edit", "demo", "--ttl", "never")
    cli("pull", "demo", "copy")


def test_a_protected_alias_moves_by_force_only(cli: Cli) -> None:
    assert cli("alias", "demo:v1", "prod", "--protect").stdout == "prod → demo:v1 (protected)\n"
    assert "prod (v1)" in cli.refused("alias", "demo:v2", "prod", code=4)
    assert "prod (v1)" in cli.refused("alias", "demo", "prod", "--delete", code=4)
    assert "prod (v1)" in cli.refused("rm", "demo:v1", code=4)
    assert "prod (v1)" in cli.refused("rm", "demo", "--yes", code=4)
    assert "prod (v1)" in cli.refused("rm", "demo:v1", "--dry-run", code=4)
    assert cli("alias", "demo:v2", "prod", "--force").stdout == "prod → demo:v2 (protected)\n"
    cli("rm", "demo:v1")
    assert "removed demo:v2" in cli("rm", "demo:v2", "--force").stdout


def test_protection_is_put_on_and_lifted_where_the_alias_points(cli: Cli) -> None:
    cli("alias", "demo:v1", "prod")
    assert cli("alias", "demo", "prod", "--protect").stdout == "prod → demo:v1 (protected)\n"
    assert "protected" in cli("alias", "demo").stdout
    assert cli("alias", "demo", "prod", "--unprotect").stdout == "prod → demo:v1\n"
    assert cli("alias", "demo", "prod", "--delete").stdout == "prod is deleted\n"
    assert "no alias prod" in cli.refused("alias", "demo", "prod", "--protect", code=3)
    assert "no alias prod" in cli.refused("alias", "demo", "prod", "--delete", code=3)


def test_the_history_of_an_alias_is_kept(cli: Cli) -> None:
    cli("alias", "demo:v1", "prod")
    cli("alias", "demo:v2", "prod", "--protect")
    cli("alias", "demo", "prod", "--delete", "--force")
    rows = cli("alias", "demo", "prod", "--history").stdout.splitlines()
    assert [row.split()[:2] for row in rows] == [["3", "deleted"], ["2", "demo:v2"], ["1", "demo:v1"]]
    document = cli.json("alias", "demo", "prod", "--history")
    assert (document["name"], document["alias"]) == ("demo", "prod")
    assert [(item["number"], item["version"], item["protected"]) for item in document["items"]] == [
        (3, None, False),
        (2, "demo:v2", True),
        (1, "demo:v1", False),
    ]
    assert "never had" in cli.refused("alias", "demo", "beta", "--history", code=3)


def test_aliases_of_a_name_that_is_not_there_are_an_error_and_no_empty_list(cli: Cli) -> None:
    assert cli("alias", "demo").stdout == ""
    assert cli.json("alias", "demo")["items"] == []
    assert "no name dmeo" in cli.refused("alias", "dmeo", code=3)


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "--history"],
        ["demo", "--protect"],
        ["demo", "prod", "--protect", "--unprotect"],
        ["demo", "prod", "--delete", "--history"],
        ["demo:v1", "prod", "--history"],
        ["demo:v1", "prod", "--delete"],
    ],
    ids=" ".join,
)
def test_options_of_alias_that_make_no_sense_are_refused(cli: Cli, arguments: list[str]) -> None:
    cli.refused("alias", *arguments, code=2)
