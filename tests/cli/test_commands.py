"""The commands, run as a user runs them, on a store in a temporary directory."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from artifactstore.cli.main import program


class Cli:
    """Runs commands in a directory of their own, with the default store."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.source = directory / "run"

    def __call__(self, *arguments: str | Path, code: int = 0, stdin: str = "") -> Result:
        result = CliRunner().invoke(program, [str(argument) for argument in arguments], input=stdin)
        assert result.exit_code == code, result.output + (str(result.exception) if result.exception else "")
        return result

    def lines(self, *arguments: str | Path, code: int = 0) -> list[str]:
        return self(*arguments, code=code).stdout.splitlines()

    def json(self, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self(*arguments, "--json", code=code).stdout)
        assert document.pop("schema") == f"artifactstore/{arguments[0]}/1"
        return document

    def error(self, *arguments: str | Path, code: int) -> str:
        result = self(*arguments, code=code)
        first = result.stderr.splitlines()[0]
        assert first.startswith("error: ")
        assert "Traceback" not in result.output
        as_json = json.loads(self(*arguments, "--json", code=code).stderr.splitlines()[-1])
        assert as_json["error"]["exit_code"] == code
        return first


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    for kind in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.delenv("ARTIFACTSTORE_URL", raising=False)
    work = tmp_path / "work"
    (work / "run" / "logs").mkdir(parents=True)
    (work / "run" / "weights").write_bytes(bytes(range(256)) * 400)
    (work / "run" / "logs" / "train.log").write_text("started\n")
    (work / "run" / "tool").write_text("#!/bin/sh\n")
    (work / "run" / "tool").chmod(0o755)
    (work / "run" / "link").symlink_to("weights")
    monkeypatch.chdir(work)
    yield Cli(work)


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# -- push and pull -------------------------------------------------------------------------------------


def test_push_and_pull_give_the_same_files_back(cli: Cli) -> None:
    pushed = cli("push", "run", "models/m", "-m", "first")
    assert pushed.stdout.startswith("models/m:v1: 3 files, 100 KiB; ")
    assert "made a new store at" in pushed.stderr
    pulled = cli("pull", "models/m", "copy")
    assert pulled.stdout.startswith(f"models/m:v1 → {cli.directory}/copy: 4 paths written")
    assert files_of(cli.directory / "copy") == files_of(cli.source)
    assert os.readlink(cli.directory / "copy/link") == "weights"
    assert os.access(cli.directory / "copy/tool", os.X_OK)
    assert not os.access(cli.directory / "copy/weights", os.X_OK)


def test_unchanged_content_makes_no_version_and_says_so(cli: Cli) -> None:
    cli("push", "run", "m")
    assert cli.lines("push", "run", "m") == ["m:v1: unchanged, no new version (3 files, 100 KiB)"]
    assert cli.json("push", "run", "m")["action"] == "unchanged"


def test_push_reports_as_json(cli: Cli) -> None:
    document = cli.json("push", "run", "m", "--alias", "prod", "--label", "good")
    assert document["action"] == "committed"
    assert (document["name"], document["version"], document["slot"]) == ("m", "m:v1", 1)
    assert (document["files"], document["content_bytes"]) == (3, 102400 + 8 + 10)
    assert document["aliases"] == ["prod"]
    assert document["sent_bytes"] > 0


@pytest.mark.parametrize(
    ("strategy", "action", "version"),
    [("version", "committed", "m:v2"), ("skip", "skipped", "m:v1"), ("replace", "replaced", "m:v2")],
)
def test_strategies_of_push(cli: Cli, strategy: str, action: str, version: str) -> None:
    cli("push", "run", "m")
    (cli.source / "tool").write_text("changed")
    document = cli.json("push", "run", "m", "--strategy", strategy)
    assert (document["action"], document["version"]) == (action, version)
    assert document["replaced"] == (["m:v1"] if strategy == "replace" else [])


def test_strategy_error_is_a_conflict_and_new_takes_another_name(cli: Cli) -> None:
    cli("push", "run", "m")
    (cli.source / "tool").write_text("changed")
    assert "--strategy" in cli.error("push", "run", "m", "--strategy", "error", code=4)
    assert cli.json("push", "run", "m", "--strategy", "new")["name"].startswith("m_")


def test_several_paths_enter_under_their_own_names(cli: Cli) -> None:
    cli("push", "run/weights", "run/logs", "parts")
    assert cli.lines("ls", "parts:v1", "-R")[0].endswith("logs/train.log")
    assert cli.lines("ls", "parts:v1")[1].endswith("weights")


def test_include_exclude_and_ignore_files(cli: Cli) -> None:
    cli("push", "run", "one", "--exclude", "*.log", "--exclude", "link")
    assert {e["path"] for e in cli.json("ls", "one:v1", "-R")["items"]} == {"logs", "tool", "weights"}
    cli("push", "run", "two", "--include", "*.log")
    assert {e["path"] for e in cli.json("ls", "two:v1", "-R")["items"]} == {"logs/train.log"}


def test_follow_symlinks_stores_what_they_point_to(cli: Cli) -> None:
    cli("push", "run", "m", "--follow-symlinks")
    assert cli("cat", "m:v1/link").stdout_bytes == (cli.source / "weights").read_bytes()


def test_what_is_left_out_is_a_note_and_quiet_is_quiet(cli: Cli) -> None:
    os.mkfifo(cli.source / "pipe")
    assert "note: pipe: " in cli("push", "run", "m").stderr
    quiet = cli("push", "run", "m", "-q")
    assert quiet.output == ""
    assert [n["path"] for n in cli.json("push", "run", "m")["notices"]] == ["pipe"]


def test_a_dry_run_of_push_writes_nothing(cli: Cli) -> None:
    cli("init")
    assert "Dry run: nothing was written" in cli("push", "run", "m", "--dry-run").stdout
    assert cli.json("push", "run", "m", "--dry-run")["action"] == "planned"
    assert cli.lines("ls") == []


def test_aliases_move_even_if_nothing_changed(cli: Cli) -> None:
    cli("push", "run", "m")
    assert cli.lines("push", "run", "m", "--alias", "prod")[0].endswith("; alias prod")
    assert cli.lines("ls", "m:prod")


def test_a_part_and_a_single_file_can_be_pulled(cli: Cli) -> None:
    cli("push", "run", "m")
    cli("pull", "m:v1/logs", "part")
    assert files_of(cli.directory / "part") == {"train.log": b"started\n"}
    cli("pull", "m:latest/logs/train.log")
    assert (cli.directory / "train.log").read_text() == "started\n"


def test_pull_goes_to_a_directory_called_as_the_name(cli: Cli) -> None:
    cli("push", "run", "models/m")
    cli("pull", "models/m")
    assert files_of(cli.directory / "m") == files_of(cli.source)


def test_a_conflict_lists_the_paths_and_writes_nothing(cli: Cli) -> None:
    cli("push", "run", "m")
    cli("pull", "m", "copy")
    (cli.source / "logs/train.log").write_text("theirs")
    cli("push", "run", "m")
    (cli.directory / "copy/logs/train.log").write_text("mine")
    assert "logs/train.log" in cli.error("pull", "m", "copy", code=4)
    assert (cli.directory / "copy/logs/train.log").read_text() == "mine"
    cli("pull", "m", "copy", "--strategy", "skip")
    assert (cli.directory / "copy/logs/train.log").read_text() == "mine"
    cli("pull", "m", "copy", "--strategy", "replace")
    assert (cli.directory / "copy/logs/train.log").read_text() == "theirs"


def test_strategy_new_puts_what_comes_in_beside(cli: Cli) -> None:
    cli("push", "run", "m")
    (cli.directory / "copy/logs").mkdir(parents=True)
    (cli.directory / "copy/logs/train.log").write_text("mine")
    document = cli.json("pull", "m", "copy", "--strategy", "new")
    (conflict,) = document["conflicts"]
    assert conflict["path"] == "logs/train.log"
    assert (cli.directory / "copy" / conflict["beside"]["path"]).read_text() == "started\n"


def test_delete_removes_what_was_never_in_a_version(cli: Cli) -> None:
    cli("push", "run", "m")
    cli("pull", "m", "copy")
    (cli.directory / "copy/extra").write_text("x")
    cli("pull", "m", "copy")
    assert (cli.directory / "copy/extra").exists()
    assert [p["path"] for p in cli.json("pull", "m", "copy", "--delete")["removed"]] == ["extra"]


def test_a_dry_run_of_pull_shows_and_writes_nothing(cli: Cli) -> None:
    cli("push", "run", "m")
    lines = cli.lines("pull", "m", "copy", "--dry-run")
    assert lines[0] == "write     link"
    assert lines[-1].endswith("4 paths to write, 100 KiB. Dry run: nothing was written")
    assert not (cli.directory / "copy").exists()


def test_pull_reports_as_json(cli: Cli) -> None:
    cli("push", "run", "m")
    document = cli.json("pull", "m", "copy")
    assert document["version"] == "m:v1"
    assert document["destination"] == str(cli.directory / "copy")
    assert {p["path"] for p in document["written"]} == {"link", "logs/train.log", "tool", "weights"}
    assert document["fetched_bytes"] > 0


# -- looking -------------------------------------------------------------------------------------------


def test_ls_shows_folders_names_versions_and_files(cli: Cli) -> None:
    cli("push", "run", "models/a")
    cli("push", "run", "models/deep/b", "--label", "good")
    cli("push", "run", "top", "--alias", "prod")
    assert cli.lines("ls") == ["models/", "top"]
    assert cli.lines("ls", "models") == cli.lines("ls", "models/") == ["models/a", "models/deep/"]
    (version,) = cli.lines("ls", "top")
    assert version.startswith("top:v1  2")
    assert version.endswith("  3 files  100 KiB  prod")
    assert cli.lines("ls", "top:v1") == [
        "l           link -> weights",
        "d           logs/",
        "x     10 B  tool",
        "-  100 KiB  weights",
    ]
    assert cli.lines("ls", "top:v1/logs") == ["-  8 B  logs/train.log"]
    assert cli.lines("ls", "-l")[1].startswith("top      v1  2")


def test_ls_as_json(cli: Cli) -> None:
    cli("push", "run", "models/a")
    assert cli.json("ls") == {"folder": "", "items": [{"kind": "folder", "name": "models"}], "next": None}
    (name,) = cli.json("ls", "models", "--long")["items"]
    assert (name["kind"], name["name"], name["newest"]["slot"]) == ("name", "models/a", 1)
    assert cli.json("ls", "models/a")["items"][0]["content_bytes"] == 102418
    kinds = [(e["kind"], e["path"]) for e in cli.json("ls", "models/a:v1")["items"]]
    assert kinds == [("link", "link"), ("directory", "logs"), ("file", "tool"), ("file", "weights")]


def test_long_lists_come_in_pages(cli: Cli) -> None:
    for number in range(5):
        (cli.source / "tool").write_text(str(number))
        cli("push", "run", "m")
        cli("push", "run", f"many/n{number}", "-q")
    pages: dict[str, list[str]] = {"m": [], "many": [], "m:v5": []}
    for listed, seen in pages.items():
        after: list[str] = []
        while True:
            document = cli.json("ls", listed, "--limit", "2", *after)
            assert len(document["items"]) <= 2
            seen += [str(item.get("slot") or item.get("path") or item["name"]) for item in document["items"]]
            if document["next"] is None:
                break
            after = ["--after", document["next"]]
    assert pages == {
        "m": ["5", "4", "3", "2", "1"],
        "many": [f"many/n{n}" for n in range(5)],
        "m:v5": ["link", "logs", "tool", "weights"],
    }
    assert "there are more: --after v4" in cli("log", "m", "--limit", "2").stderr
    assert "--after" not in cli("log", "m", "--limit", "5").stderr


def test_log_shows_versions_newest_first(cli: Cli) -> None:
    cli("push", "run", "m", "-m", "first one", "--alias", "prod")
    (cli.source / "tool").write_text("2")
    cli("push", "run", "m", "-m", "second\x1b[31m one")
    header, newest, oldest = cli.lines("log", "m")
    assert header.split() == ["version", "when", "who", "size", "new", "commit", "aliases", "message"]
    assert newest.startswith("v2 ")
    assert newest.endswith("second\\x1b[31m one")
    assert oldest.endswith("-       prod     first one")
    assert [v["message"] for v in cli.json("log", "m")["items"]] == ["second\x1b[31m one", "first one"]


def test_log_shows_the_git_commit_of_the_source(cli: Cli) -> None:
    (cli.directory / ".git").mkdir()
    (cli.directory / ".git/HEAD").write_text("0123456789abcdef0123456789abcdef01234567\n")
    cli("push", "run", "m")
    assert "  0123456789  " in cli.lines("log", "m")[1]
    assert cli.json("show", "m")["version"]["git"]["commit"].startswith("0123456789abcdef")


def test_show_tells_everything(cli: Cli) -> None:
    cli("push", "run", "m", "-m", "why", "--alias", "prod", "--label", "good")
    shown = dict(line.split(None, 1) for line in cli.lines("show", "m:prod"))
    assert shown["version"] == "m:v1"
    assert shown["message"] == "why"
    assert shown["labels"] == "good"
    assert shown["aliases"] == "prod"
    assert shown["size"] == "100 KiB (102,418 bytes)"
    version = cli.json("show", "m")["version"]
    assert shown["content"] == version["content_digest"]
    assert cli.json("show", f"m@{version['content_digest']}")["version"]["slot"] == 1


def test_cat_writes_the_very_bytes(cli: Cli) -> None:
    cli("push", "run", "m")
    assert cli("cat", "m:v1/weights").stdout_bytes == (cli.source / "weights").read_bytes()


def test_diff_of_two_versions(cli: Cli) -> None:
    cli("push", "run", "m")
    (cli.source / "tool").write_text("longer than before")
    (cli.source / "new").write_text("n")
    shutil.rmtree(cli.source / "logs")
    cli("push", "run", "m")
    assert cli.lines("diff", "m:v1", "m:v2") == [
        "D  logs/train.log  8 B",
        "A  new  1 B",
        "M  tool  10 B → 18 B",
        "3 differences: 1 added, 1 removed, 1 modified",
    ]
    changes = cli.json("diff", "m:v1", "m")["items"]
    assert [(c["change"], c["path"]) for c in changes] == [
        ("removed", "logs/train.log"),
        ("added", "new"),
        ("modified", "tool"),
    ]
    assert (changes[2]["old"]["size"], changes[2]["new"]["size"]) == (10, 18)
    assert cli("diff", "m:v1", "m:v2", "--exit-code", code=1).stdout
    assert cli.lines("diff", "m:v2", "m:latest", "--exit-code") == ["no differences"]


def test_diff_with_a_directory(cli: Cli) -> None:
    cli("push", "run", "m")
    assert cli.lines("diff", "m", "run", "--exit-code") == ["no differences"]
    (cli.source / "tool").unlink()
    for directory in ("run", "./run", cli.source):
        assert cli.lines("diff", "m", directory, "-q") == ["D  tool  10 B"]


def test_status_compares_with_the_last_push_or_pull(cli: Cli) -> None:
    cli("push", "run", "m")
    assert cli.lines("status", "run") == ["compared with m:v1", "no differences"]
    cli("pull", "m", "copy")
    (cli.directory / "copy/tool").write_text("edited")
    assert cli.lines("status", "copy", "--exit-code", code=1)[:2] == ["compared with m:v1", "M  tool  10 B → 6 B"]
    document = cli.json("status", "copy")
    assert document["version"] == "m:v1"
    assert document["directory"] == str(cli.directory / "copy")
    assert [c["path"] for c in document["items"]] == ["tool"]
    assert cli.lines("status", "copy", "m:v1")[1] == "M  tool  10 B → 6 B"


def test_status_of_an_unknown_directory_is_not_found(cli: Cli) -> None:
    cli("init")
    assert "status" in cli.error("status", "run", code=3)


def test_alias_shows_and_moves(cli: Cli) -> None:
    cli("push", "run", "m")
    assert cli.lines("alias", "m:v1", "prod") == ["prod → m:v1"]
    (shown,) = cli.lines("alias", "m")
    assert shown.startswith("prod  m:v1  2")
    (item,) = cli.json("alias", "m")["items"]
    assert (item["alias"], item["version"]) == ("prod", "m:v1")
    assert cli.json("alias", "m:v1", "best")["moved"]["alias"] == "best"


def test_rm_removes_one_version_and_asks_before_all(cli: Cli) -> None:
    for number in range(3):
        (cli.source / "tool").write_text(str(number))
        cli("push", "run", "m")
    assert cli.lines("rm", "m:v1", "--dry-run") == ["would remove m:v1"]
    removed = cli("rm", "m:v1")
    assert removed.stdout == "removed m:v1\n"
    assert "the space returns with garbage collection" in removed.stderr
    assert "has 2 versions: say --yes" in cli.error("rm", "m", code=2)
    assert cli.json("rm", "m", "--yes")["versions"] == ["m:v3", "m:v2"]
    cli.error("log", "m", code=3)
    cli.error("pull", "m:v2", "x", code=3)


def test_rm_on_a_terminal_takes_no_for_an_answer(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("push", "run", "m")
    monkeypatch.setattr("artifactstore.cli.changing.is_interactive", lambda: True)
    asked = cli("rm", "m", stdin="n\n", code=1)
    assert "Remove 1 version of m for good?" in asked.stderr
    assert "nothing was done" in asked.stderr
    assert cli("rm", "m", stdin="y\n").stdout.endswith("removed m:v1\n")


def test_rm_tells_which_aliases_point_nowhere_now(cli: Cli) -> None:
    cli("push", "run", "m", "--alias", "prod")
    assert "alias prod" in cli("rm", "m:v1").stderr


def test_du_counts_shared_content_once(cli: Cli) -> None:
    cli("push", "run", "m")
    (cli.source / "tool").write_text("2")
    cli("push", "run", "m")
    usage = cli.json("du", "m")
    assert (usage["of"], usage["versions"], usage["files"]) == ("m", 2, 6)
    assert usage["content_bytes"] == 2 * 102400 + 10 + 1 + 16
    assert usage["stored_bytes"] < 150_000
    assert cli.json("du")["versions"] == 2
    assert cli.lines("du", "m")[0] == "versions       2"


# -- stores --------------------------------------------------------------------------------------------


def test_init_makes_a_store_once(cli: Cli) -> None:
    assert cli.lines("init", "./s")[0].startswith(f"made a store: {cli.directory}/s")
    document = cli.json("init", "./s")
    assert (document["is_new"], document["writers"]) == (False, "many")
    cli("push", "run", "m", "--store", "./s")
    assert cli.lines("--store", "s", "ls") == ["m"]
    assert cli.json("config", "--store", "s")["store"]["url"] == str(cli.directory / "s")


def test_only_an_empty_directory_becomes_a_store_by_push(cli: Cli) -> None:
    cli.error("push", "run", "m", "--store", "run/logs", code=3)
    cli.error("push", "run", "m", "--store", "run", code=2)
    assert not (cli.source / "store.json").exists()


# -- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["push", "run"], 2, "a path and then a name"),
        (["push", "run", "../m"], 2, "not a valid name part"),
        (["push", "run", "m:v1"], 2, "just a name"),
        (["push", "nothing", "m"], 2, "nothing"),
        (["push", "run", "m", "--alias", "latest"], 2, "computed"),
        (["push", "run", "m", "--strategy", "fast"], 2, "--strategy"),
        (["push", "run", "m", "--limit-rate", "fast"], 2, "10M"),
        (["push", "run", "m", "-j", "0"], 2, "-j"),
        (["push", "run", "m", "-m", "x" * 70_000], 2, "64 KiB"),
        (["push", "run/weights", "run/../run/weights", "m"], 1, "weights"),
        (["push", "run", ""], 2, "empty"),
        (["push", "run", "m", "--max-memory", "1M"], 2, "64M"),
        (["push", "run", "m", "--store", ""], 2, "--store"),
        (["push", "run", "m", "--store", "s3:/b"], 2, "two slashes"),
        (["pull", "there", "x", "--store", "run/logs"], 3, "run/logs"),
        (["pull", "nothing", "x"], 3, "nothing"),
        (["pull", "there:v9", "x"], 3, "v9"),
        (["pull", "there:nope", "x"], 3, "nope"),
        (["pull", "there:v1/no/path", "x"], 3, "no/path"),
        (["pull", "there:v1/../x", "x"], 2, "not a path"),
        (["pull", "there@123", "x"], 2, "digest"),
        (["pull", "there", "run/weights"], 4, "weights"),
        (["ls", "nothing"], 3, "nothing"),
        (["ls", "nothing:v1"], 3, "nothing"),
        (["ls", "there", "--after", "x"], 2, "v12"),
        (["log", "nothing"], 3, "nothing"),
        (["show", "nothing"], 3, "nothing"),
        (["cat", "there:v1/nothing"], 3, "nothing"),
        (["cat", "there:v1/logs"], 3, "logs"),
        (["diff", "there", "./nothing"], 2, "nothing"),
        (["cat", "there"], 2, "NAME:latest/PATH"),
        (["cat", "there/tool"], 2, "NAME:latest/PATH"),
        (["diff", "./run", "there"], 2, "comes first"),
        (["status", "nothing"], 2, "nothing"),
        (["log", "there:v1"], 2, "just a name"),
        (["show", "there:v1/tool"], 2, "whole version"),
        (["du", "there:v1/tool"], 2, "whole version"),
        (["alias", "there:v1/tool", "a"], 2, "whole version"),
        (["rm", "there:v1/tool"], 2, "whole version"),
        (["rm", "there:v1/tool", "--yes"], 2, "whole version"),
        (["alias", "there:v1", "v3"], 2, "computed"),
        (["alias", "nothing:v1", "a"], 3, "nothing"),
        (["rm", "nothing:v1"], 3, "nothing"),
        (["du", "nothing"], 3, "nothing"),
        (["ls", "--store", "/nonexistent/store"], 3, "/nonexistent/store"),
        (["ls", "--store", "nosuchscheme://x"], 2, "nosuchscheme"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else None,
)
def test_bad_input_is_one_line_with_its_code(cli: Cli, arguments: list[str], code: int, said: str) -> None:
    cli("push", "run", "there")
    assert said in cli.error(*arguments, code=code)


def test_a_pull_that_leaves_removals_alone_does_not_say_that_all_is_here(cli: Cli) -> None:
    cli("push", "run", "m")
    cli("pull", "m", "copy")
    assert cli("pull", "m", "copy").stdout.endswith("nothing to do, 3 files here already\n")
    (cli.directory / "copy" / "tool").unlink()
    last = cli.lines("pull", "m", "copy")[-1]
    assert "1 path left as changed or removed here" in last
    assert "here already" not in last
    cli("pull", "m", "copy", "--strategy", "replace")
    assert (cli.directory / "copy" / "tool").exists()


def test_a_version_without_files_is_remarked_on(cli: Cli) -> None:
    assert "note: no file in m:v1" in cli("push", "run", "m", "--include", "*.typo").stderr
    assert "no file" not in cli("push", "run", "m").stderr


def test_a_version_whose_root_is_lost_can_be_given_up(cli: Cli, tmp_path: Path) -> None:
    cli("push", "run", "m")
    for root in (tmp_path / "data").rglob("tx/*/*/root"):
        root.unlink()
    (cli.source / "tool").write_text("changed")
    assert "`artifactstore rm m:v1`" in cli.error("push", "run", "m", code=5)
    cli("rm", "m:v1")
    cli("push", "run", "m")
    cli("pull", "m", "copy")
    assert files_of(cli.directory / "copy") == files_of(cli.source)


def test_a_record_that_is_damaged_or_newer_is_named_in_words(cli: Cli, tmp_path: Path) -> None:
    cli("push", "run", "m")
    [record] = (tmp_path / "data").rglob("store.json")
    document = json.loads(record.read_text())
    record.write_text(json.dumps({**document, "format": 99}))
    assert "a store record needs format 99" in cli.error("ls", code=8)
    record.write_text("{")
    assert "not a record that can be read" in cli.error("ls", code=5)


def test_a_damaged_object_is_named_with_the_version_it_hurts(cli: Cli, tmp_path: Path) -> None:
    cli("push", "run", "m")
    for pack in (tmp_path / "data").rglob("packs/*/*"):
        body = bytearray(pack.read_bytes())
        body[200:240] = bytes(40)
        pack.chmod(0o600)
        pack.write_bytes(body)
    line = cli.error("pull", "m", "copy", code=5)
    assert "m:v1" in line
    assert "packs/" in line
    assert not (cli.directory / "copy").exists()


def test_a_store_of_a_newer_format_is_refused(cli: Cli) -> None:
    cli("init", "./s")
    record = cli.directory / "s/store.json"
    body = json.loads(record.read_text())
    record.chmod(0o600)
    record.write_text(json.dumps({**body, "format": 99}))
    assert "pip install --upgrade" in cli.error("ls", "--store", "s", code=8)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_a_store_that_may_not_be_read_is_a_storage_error(cli: Cli) -> None:
    cli("init", "./s")
    (cli.directory / "s").chmod(0)
    cli.error("ls", "--store", "s", code=6)


def test_names_that_are_not_utf8_round_trip_and_print_escaped(cli: Cli) -> None:  # faults 57, 58
    name = os.fsdecode(b"odd\n\x1b\xff")
    (cli.source / name).write_text("odd")
    cli("push", "run", "m")
    assert "-      3 B  odd\\n\\x1b\\xff" in cli.lines("ls", "m:v1")
    (item,) = [e for e in cli.json("ls", "m:v1")["items"] if "path_base64" in e]
    assert item["path_base64"] == "b2RkChv/"
    (shown,) = [e for e in json.loads(cli("artifact", "show", "m:v1", "--json").stdout)["items"] if "path_base64" in e]
    assert (shown["path"], shown["path_base64"]) == (item["path"], item["path_base64"])
    cli("pull", f"m:v1/{name}", "copy")
    assert (cli.directory / "copy" / name).exists() or (cli.directory / "copy").is_file()


def test_doctor_says_what_can_be_relied_on_and_leaves_nothing(cli: Cli) -> None:
    lines = cli.lines("doctor", "./new")
    assert lines[-1] == f"{cli.directory}/new: Any number of writers may use a store here at once."
    assert {line.split()[0] for line in lines[:-1]} <= {"good", "note"}
    assert not (cli.directory / "new").exists()
    (cli.directory / "empty").mkdir()
    document = cli.json("doctor", "--store", "empty")
    assert document["advice"] == "many"
    assert document["upload_bytes_per_second"] > 0
    assert cli("push", "run", "m", "--store", "empty").stdout.startswith("m:v1: ")


def test_doctor_finds_storage_that_does_not_keep_writers_apart(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.backend.doctor.prove_put_if_absent", lambda backend, clock: False)
    result = cli("doctor", "./new", code=6)
    assert "bad      put if absent" in result.stdout
    assert "Only one writer at a time is safe here" in result.stdout
