"""``find`` as a user runs it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from artifactstore.cli.main import program
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.keys import NameKeys
from artifactstore.names import Name
from artifactstore.store import PushOptions, open_store
from artifactstore.testing.stores import make_tree
from artifactstore.transaction.edits import VersionEdit

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Commands on a store that holds `a` v1 and v2, `team/b` v1 and `team/old` v1, which has expired."""
    for kind in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.setenv("ARTIFACTSTORE_URL", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    with open_store() as store:
        store.init()
        for number, (name, labels, acc) in enumerate(
            [("a", ("good",), 0.5), ("a", ("good", "new"), 0.9), ("team/b", ("new",), 0.95), ("team/old", (), 0.1)]
        ):
            make_tree(tmp_path / "tree", {b"f": b"%d" % number})
            options = PushOptions(labels=labels, message=f"run {number}", metadata={"acc": acc})
            store.push(tmp_path / "tree", name, options=options)
        store.edit("team/old:v1", VersionEdit(ttl=0.001))
    SYSTEM_CLOCK.sleep(0.01)

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(program, arguments)
        assert result.exit_code == code, result.output + (str(result.exception) if result.exception else "")
        return result

    yield run


def first_column(result: Result) -> list[str]:
    return [line.split()[0] for line in result.stdout.splitlines()[1:]]


def document(result: Result) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(result.stdout)
    assert body.pop("schema") == "artifactstore/find/1"
    return body


def test_by_label_and_condition(run: Run) -> None:
    assert first_column(run("find", "--label", "good")) == ["a:v2", "a:v1"]
    assert first_column(run("find", "--label", "good", "--label", "new")) == ["a:v2"]
    assert first_column(run("find", "--label", "new", "--where", "acc > 0.9")) == ["team/b:v1"]
    assert first_column(run("find", "--where", "acc > 0.6", "--where", "name ~ a")) == ["a:v2", "team/b:v1"]
    assert first_column(run("find", "team/")) == ["team/b:v1", "team/old:v1"]


def test_shows_what_people_look_for(run: Run) -> None:
    header, row = run("find", "--label", "good", "--where", "version = 2").stdout.splitlines()
    assert header.split() == ["version", "when", "size", "labels", "message"]
    assert row.split()[3:] == ["1", "B", "good,new", "run", "1"]


def test_expired_versions_are_listed_and_marked(run: Run) -> None:
    lines = run("find", "team").stdout.splitlines()
    assert "(expired) run 3" in lines[2]
    assert "expired" not in lines[1]
    items = document(run("find", "team", "--json"))["items"]
    assert [item["expired"] for item in items] == [False, True]


def test_nothing_found_is_no_error_and_prints_nothing(run: Run) -> None:
    result = run("find", "--label", "nothing")
    assert (result.stdout, result.stderr) == ("", "")
    assert document(run("find", "--label", "nothing", "--json")) == {
        "folder": "",
        "labels": ["nothing"],
        "where": [],
        "items": [],
        "next": None,
        "unreadable": [],
    }


def test_pages_go_on_where_they_ended(run: Run) -> None:
    result = run("find", "--limit", "2")
    assert first_column(result) == ["a:v2", "a:v1"]
    assert "--after a:v1" in result.stderr
    assert first_column(run("find", "--limit", "2", "--after", "a:v1")) == ["team/b:v1", "team/old:v1"]
    page = document(run("find", "--label", "good", "--limit", "1", "--json"))
    assert (page["items"][0]["version"], page["next"]) == ("a:v2", "a:v2")
    assert page["items"][0]["metadata"] == {"acc": 0.9}


@pytest.mark.parametrize("by", [("--label", "new"), ("--where", "acc > 0.6")], ids=["label", "scan"])
def test_a_record_that_can_not_be_read_does_not_hide_the_others(run: Run, tmp_path: Path, by: tuple[str, str]) -> None:
    key = tmp_path / "store" / NameKeys(Name("a")).slot(2)
    key.chmod(0o644)
    key.write_bytes(b"{")
    result = run("find", *by, code=5)
    assert first_column(result) == ["team/b:v1"]
    assert "warning: a:v2 is unreadable" in result.stderr
    found = document(run("find", *by, "--json", code=5))
    assert [item["version"] for item in found["items"]] == ["team/b:v1"]
    assert [each["version"] for each in found["unreadable"]] == ["a:v2"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--where", "acc => 3"), 2, "'acc => 3', character 5: no operator =>"),
        (("--where", "created = soon"), 2, "character 11: created is compared with a time"),
        (("--label", "no label"), 2, "'no label'"),
        (("--after", "a"), 2, "'a' is no version such as name:v3"),
        (("a//b",), 2, "a//b"),
        (("nowhere",), 3, "no folder nowhere"),
        (("team/b",), 3, "team/b is a name, and a search goes through folders"),
    ],
)
def test_errors_say_what_is_wrong(run: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = run("find", *arguments, code=code)
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert result.stdout == ""
    error = json.loads(run("find", *arguments, "--json", code=code).stderr)["error"]
    assert error["exit_code"] == code
    assert said in error["what"]
