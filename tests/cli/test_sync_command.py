"""``sync`` on the command line."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from artifactstore.cli.main import program
from artifactstore.schedulers import JOB_VARIABLES


class Cli:
    """Runs commands on a default store of their own, which has `model@1` of job 42: a.txt and sub/b.bin."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        write("run", {"a.txt": "1", "sub/b.bin": "1"})
        self("sync", "up", "model", "run", "--job", "42")

    def __call__(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(program, list(arguments))
        assert result.exit_code == code, result.output + (str(result.exception) if result.exception else "")
        return result

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").stdout)

    def refused(self, *arguments: str, code: int) -> Any:
        result = self(*arguments, code=code)
        assert "Traceback" not in result.output
        return json.loads(self(*arguments, "--json", code=code).stderr.splitlines()[-1])["error"]


def write(root: str, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def there(root: str) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() for p in sorted(Path(root).rglob("*")) if p.is_file()}


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    for kind in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    for name in ("ARTIFACTSTORE_URL", *JOB_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return Cli(work)


# -- whose job it is -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [("up", "model", "run"), ("down", "model", "to"), ("history", "model"), ("plan", "model", "run")],
    ids=lambda command: command[0],
)
def test_without_any_job_nothing_is_made_up(cli: Cli, command: tuple[str, ...]) -> None:
    error = cli.refused("sync", *command, code=2)
    assert (error["kind"], error["data_safe"]) == ("ConfigurationError", "Nothing was written.")
    assert "--job" in error["next_step"]
    assert "ARTIFACTSTORE_JOB_ID" in error["next_step"]
    assert not Path("to").exists()
    assert [job["id"] for job in cli.json("jobs")["items"]] == ["42"]


def test_the_environment_names_the_job(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_JOB_ID", "43")
    assert cli.json("sync", "up", "model", "run")["job_id"] == "43"
    assert cli.json("sync", "up", "model", "run", "--job", "44")["job_id"] == "44"


# -- up ------------------------------------------------------------------------------------------------


def test_up_makes_numbered_snapshots_and_none_of_what_is_there(cli: Cli) -> None:
    assert cli("sync", "up", "model", "run", "--job", "42").stdout.startswith("job 42: model@1: unchanged")
    write("run", {"a.txt": "22"})
    done = cli.json("sync", "up", "model", "run", "--job", "42", "-m", "second")
    assert (done["snapshot"], done["number"], done["action"], done["files"]) == ("model@2", 2, "committed", 2)
    history = cli.json("sync", "history", "model", "--job", "42")
    assert [(row["number"], row["message"]) for row in history["items"]] == [(2, "second"), (1, "")]
    assert cli("sync", "up", "model", "run", "--job", "42", "--quiet").stdout == ""


def test_a_dry_run_uploads_nothing(cli: Cli) -> None:
    write("run", {"new": "1"})
    assert cli.json("sync", "up", "model", "run", "--job", "42", "--dry-run")["action"] == "planned"
    assert "Dry run" in cli("sync", "up", "model", "run", "--job", "42", "--dry-run").stdout
    assert len(cli.json("sync", "history", "model", "--job", "42")["items"]) == 1


def test_what_up_made_from_another_job_says_so(cli: Cli) -> None:
    cli("sync", "down", "model", "here", "--job", "42")
    cli("sync", "up", "model", "here", "--job", "43")
    assert cli.json("sync", "history", "model", "--job", "43")["items"][0]["source_job_ids"] == ["42"]


def test_up_with_patterns_leaves_the_rest_of_the_snapshot_alone(cli: Cli) -> None:
    write("run", {"a.txt": "2", "sub/b.bin": "2"})
    (Path("run") / "more.txt").write_text("2")
    cli("sync", "up", "model", "run", "--job", "42", "--include", "*.txt")
    cli("sync", "down", "model", "seen", "--job", "42")
    assert there("seen") == {"a.txt": "2", "more.txt": "2", "sub/b.bin": "1"}
    cli("sync", "up", "model", "run", "--job", "42", "--exclude", "*.txt")
    cli("sync", "down", "model", "seen", "--job", "42")
    assert there("seen")["sub/b.bin"] == "2"


def test_a_directory_that_is_not_there_is_no_empty_snapshot(cli: Cli) -> None:
    assert cli.refused("sync", "up", "model", "nowhere", "--job", "42", code=2)["kind"] == "SourceNotFound"
    assert cli.refused("sync", "up", "model", "run/a.txt", "--job", "42", code=1)["kind"] == "SourceError"


# -- down ----------------------------------------------------------------------------------------------


def test_down_brings_the_newest_or_the_one_that_is_named(cli: Cli) -> None:
    write("run", {"a.txt": "2"})
    cli("sync", "up", "model", "run", "--job", "42")
    assert cli.json("sync", "down", "model", "new", "--job", "42")["snapshot"] == "model@2"
    cli("sync", "down", "model", "newest", "--job", "42@latest")
    cli("sync", "down", "model", "old", "--job", "42@1")
    assert [there(name)["a.txt"] for name in ("new", "newest", "old")] == ["2", "2", "1"]
    assert cli.refused("sync", "down", "model", "old", "--job", "42@7", code=3)["kind"] == "NameNotFound"
    assert "count from 1" in cli.refused("sync", "down", "model", "old", "--job", "42@0", code=2)["what"]


def test_a_local_edit_is_a_conflict_and_the_strategy_decides(cli: Cli) -> None:
    cli("sync", "down", "model", "here", "--job", "42")
    write("run", {"a.txt": "theirs"})
    cli("sync", "up", "model", "run", "--job", "42")
    write("here", {"a.txt": "mine"})
    assert cli.refused("sync", "down", "model", "here", "--job", "42", code=4)["paths"] == [{"path": "a.txt"}]
    assert "conflict  a.txt" in cli("sync", "down", "model", "here", "--job", "42", "--strategy", "skip").stdout
    assert there("here")["a.txt"] == "mine"


def test_delete_removes_what_was_in_no_snapshot_and_patterns_bound_it(cli: Cli) -> None:
    cli("sync", "down", "model", "here", "--job", "42")
    write("here", {"x.txt": "mine", "x.log": "mine"})
    shown = cli("sync", "down", "model", "here", "--job", "42", "--delete", "--exclude", "*.log", "--dry-run").stdout
    assert "remove    x.txt" in shown
    assert "x.log" not in shown
    cli("sync", "down", "model", "here", "--job", "42", "--delete", "--exclude", "*.log")
    assert there("here").keys() == {"a.txt", "sub/b.bin", "x.log"}


def test_a_wrong_key_or_job_names_what_is_close(cli: Cli) -> None:
    assert "'model'" in cli.refused("sync", "down", "modle", "to", "--job", "42", code=3)["next_step"]
    assert "no job '43'" in cli.refused("sync", "down", "model", "to", "--job", "43", code=3)["what"]
    assert not Path("to").exists()


def test_a_first_run_may_find_nothing(cli: Cli) -> None:
    done = cli("sync", "down", "model", "to", "--job", "new", "--missing-ok")
    assert "nothing was done" in done.stderr
    assert cli.json("sync", "down", "model", "to", "--job", "new", "--missing-ok")["snapshot"] == ""
    assert cli.refused("sync", "down", "model", "to", "--job", "42@9", "--missing-ok", code=3)["kind"] == "NameNotFound"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("down", "model", "to", "--job", "42@9"), "job '42' has no snapshot model@9"),
        (("plan", "model", "to", "--job", "42@9"), "job '42' has no snapshot model@9"),
        (("down", "modle", "to", "--job", "42@9"), "job '42' has nothing under the key 'modle'"),
        (("down", "model", "to", "--job", "24"), "no job '24'"),
        (("plan", "model", "to", "--job", "24", "--direction", "down"), "no job '24'"),
        (("history", "modle", "--job", "42"), "job '42' has nothing under the key 'modle'"),
    ],
)
def test_what_is_missing_is_told_in_the_words_of_the_command(cli: Cli, arguments: tuple[str, ...], what: str) -> None:
    """Neither as the names under which snapshots lie, nor with the arguments of the Python call."""
    error = cli.refused("sync", *arguments, code=3)
    assert error["what"] == what
    assert "missing_ok=" not in error["next_step"]
    assert ("--missing-ok" in error["next_step"]) == (arguments[0] == "down" and "@" not in arguments[-1])


def test_work_on_a_source_is_not_undone_by_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_JOB_ID", "43")
    cli("sync", "down", "model", "here", "--job", "42")
    write("here", {"a.txt": "mine"})
    cli("sync", "up", "model", "here")
    for _ in range(2):
        cli("sync", "down", "model", "here", "--job", "42")
        assert there("here")["a.txt"] == "mine"


# -- looking -------------------------------------------------------------------------------------------


def test_status_tells_the_last_sync_the_job_and_its_source_apart(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_JOB_ID", "43")
    cli("sync", "down", "model", "here", "--job", "42")
    write("here", {"a.txt": "mine"})
    found = cli.json("sync", "status", "model", "here")
    assert (found["last_sync"]["job_id"], found["last_sync"]["snapshot"], found["job"]) == ("42", "model@1", None)
    assert [change["path"] for change in found["source"]["changes"]] == ["a.txt"]
    cli("sync", "up", "model", "here")
    found = cli.json("sync", "status", "model", "here", "--job", "42")
    assert (found["job"]["snapshot"], found["job"]["changes"]) == ("model@1", [])
    assert [change["change"] for change in found["source"]["changes"]] == ["modified"]
    shown = cli("sync", "status", "model", "here", "--job", "42").stdout
    assert shown.startswith("last sync: model@1 of job 43\nno differences\njob: model@1 of job 43\n")


def test_status_knows_the_key_of_the_working_directory(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("sync", "down", "model", "here", "--job", "42")
    monkeypatch.chdir("here")
    assert cli.json("sync", "status")["key"] == "model"
    monkeypatch.chdir("..")
    assert cli.refused("sync", "status", code=3)["kind"] == "NameNotFound"


def test_history_goes_page_by_page(cli: Cli) -> None:
    for content in ("2", "3"):
        write("run", {"a.txt": content})
        cli("sync", "up", "model", "run", "--job", "42")
    first = cli.json("sync", "history", "model", "--job", "42", "--limit", "2")
    assert ([row["snapshot"] for row in first["items"]], first["next"]) == (["model@3", "model@2"], "2")
    rest = cli.json("sync", "history", "model", "--job", "42", "--after", first["next"])
    assert ([row["number"] for row in rest["items"]], rest["next"]) == ([1], None)
    assert "model@3" in cli("sync", "history", "model", "--job", "42").stdout
    assert cli.refused("sync", "history", "modle", "--job", "42", code=3)["kind"] == "NameNotFound"
    error = cli.refused("sync", "history", "model", "--job", "42", "--after", "x", code=2)
    assert "number of a snapshot" in error["what"]


# -- plan and apply --------------------------------------------------------------------------------------


def test_a_plan_is_shown_kept_and_applied(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_JOB_ID", "43")
    write("here", {"mine": "1"})
    shown = cli("sync", "plan", "model", "here", "--job", "42", "--out", "plan.json").stdout
    assert re.search(r"^write +a\.txt +1 B$", shown, re.M)
    assert shown.endswith("up to job 43: 3 add, 3 B\n")
    assert there("here") == {"mine": "1"}
    done = cli.json("sync", "apply", "plan.json", "-m", "planned")
    assert (done["download"]["snapshot"], done["upload"]["snapshot"]) == ("model@1", "model@1")
    assert there("here").keys() == {"a.txt", "mine", "sub/b.bin"}
    assert cli.json("sync", "history", "model")["items"][0]["message"] == "planned"
    assert [job["id"] for job in cli.json("jobs")["items"]] == ["43", "42"]


def test_apply_says_first_what_it_is_about_and_on_which_machine_the_plan_was_made(cli: Cli) -> None:
    write("here", {"mine": "1"})
    cli("sync", "plan", "model", "here", "--job", "42", "--out", "plan.json")
    made = json.loads(Path("plan.json").read_text())
    Path("plan.json").write_text(json.dumps({**made, "host": "elsewhere"}))
    done = cli("sync", "apply", "plan.json")
    where = Path("here").absolute()
    assert done.stdout.startswith(f"directory {where}, key model, down from job 42, up to job 42\n")
    assert "the plan was made on elsewhere" in done.stderr
    cli("sync", "plan", "model", "here", "--job", "42", "--out", "plan.json")
    assert "was made on" not in cli("sync", "apply", "plan.json").stderr


def test_the_json_of_a_plan_is_a_plan(cli: Cli) -> None:
    write("here", {"mine": "1"})
    Path("plan.json").write_text(cli("sync", "plan", "model", "here", "--job", "42", "--json").stdout)
    assert "model@2" in cli("sync", "apply", "plan.json").stdout


def test_a_plan_that_does_not_hold_is_refused_with_what_moved(cli: Cli) -> None:
    cli("sync", "plan", "model", "here", "--job", "42", "--direction", "down", "--out", "plan.json")
    write("here", {"late": "1"})
    error = cli.refused("sync", "apply", "plan.json", code=4)
    assert (error["kind"], error["side"], error["paths"]) == ("PlanOutdated", "directory", [{"path": "late"}])
    assert cli("sync", "apply", "plan.json", code=4).stderr.endswith("\n  late\n")
    write("run", {"a.txt": "2"})
    cli("sync", "up", "model", "run", "--job", "42")
    assert cli.refused("sync", "apply", "plan.json", code=4)["side"] == "source"
    assert there("here") == {"late": "1"}


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"schema": "artifactstore/pull/1"}'], ids=repr)
def test_what_is_no_plan_is_wrong_usage(cli: Cli, content: bytes | None) -> None:
    if content is not None:
        Path("plan.json").write_bytes(content)
    error = cli.refused("sync", "apply", "plan.json", code=2)
    assert (error["kind"], error["where"]) == ("SyncPlanError", "plan.json")


def test_a_plan_that_can_t_be_written_leaves_nothing(cli: Cli) -> None:
    error = cli.refused("sync", "plan", "model", "here", "--job", "42", "--out", "no/such/plan.json", code=2)
    assert error["kind"] == "SyncPlanError"
    assert sorted(path.name for path in Path().iterdir()) == ["run"]


@pytest.mark.parametrize("name", ["sync", "jobs"])
def test_the_summaries_in_the_list_are_those_of_the_commands(cli: Cli, name: str) -> None:
    import click

    group = program.get_command(click.Context(program), name)
    assert isinstance(group, click.Group)
    context = click.Context(group)
    for command in group.list_commands(context):
        found = group.get_command(context, command)
        assert found is not None
        assert (found.help or "").split("\n")[0] == group.table[command].summary  # type: ignore[attr-defined]
        assert command in cli(name, "--help").stdout


def test_a_plan_for_a_job_that_is_not_there_is_an_error_as_of_down(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        error = cli.refused("sync", "plan", "model", "run", "--job", "421", code=3)
        assert error["kind"] == "JobNotFound"
        assert "'42'" in error["next_step"]
        assert "--missing-ok" in error["next_step"]
        monkeypatch.setenv("ARTIFACTSTORE_JOB_ID", "42")  # a source that is not there, for a job that is
    made = cli.json("sync", "plan", "model", "run", "--job", "421", "--missing-ok")
    assert (made["direction"], made["target"]["job_id"]) == ("up", "42")


def test_a_plan_says_that_its_target_is_a_new_job(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "job 421 is new" in cli("sync", "plan", "model", "run", "--job", "421", "--missing-ok").stderr
    assert "job 421 is new" in cli("sync", "plan", "model", "run", "--job", "421", "--direction", "up").stderr
    assert "is new" not in cli("sync", "plan", "model", "run", "--job", "42").stderr
    monkeypatch.setenv("ARTIFACTSTORE_JOB_ID", "43")
    assert "job 43 is new" in cli("sync", "plan", "model", "run", "--job", "42").stderr
    assert "job 43 is new" not in cli("sync", "plan", "model", "run", "--job", "42", "--json").stderr


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a directory"])
def test_only_a_file_is_read_as_a_plan(cli: Cli, kind: str) -> None:
    os.mkfifo("a pipe")
    os.symlink("/dev/zero", "a device")
    os.mkdir("a directory")
    assert cli.refused("sync", "apply", kind, code=2)["kind"] == "SyncPlanError"


def test_a_plan_may_be_a_link_to_a_file(cli: Cli) -> None:
    cli("sync", "plan", "model", "run", "--job", "42", "--out", "plan.json")
    os.symlink("plan.json", "link")
    cli("sync", "apply", "link")
