"""``jobs`` on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import artifactstore
from artifactstore.artifacts.lineage import lineage
from artifactstore.artifacts.lineage_pictures import lineage_fields, lineage_text
from artifactstore.cli.main import program
from artifactstore.names import Latest, Reference, job_name
from artifactstore.schedulers import JOB_VARIABLES


class Cli:
    """Runs commands on a default store of their own, which has jobs: `good` (completed) and `bad` (failed)."""

    def __init__(self) -> None:
        Path("run").mkdir()
        Path("run/a").write_text("1")
        with artifactstore.open_store() as store:
            store.push("run", "data")
            with artifactstore.job("good", project="vision", store=store) as job:
                store.push("run", "models/resnet")
                job.use("data")
            with pytest.raises(KeyError), artifactstore.job("bad", project="speech", store=store):
                raise KeyError("x")
        self("sync", "up", "model", "run", "--job", "good")

    def __call__(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(program, list(arguments))
        assert result.exit_code == code, result.output + (str(result.exception) if result.exception else "")
        return result

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").stdout)

    def ids(self, *arguments: str) -> list[str]:
        return [job["id"] for job in self.json("jobs", *arguments)["items"]]

    def refused(self, *arguments: str, code: int) -> Any:
        assert "Traceback" not in self(*arguments, code=code).output
        return json.loads(self(*arguments, "--json", code=code).stderr.splitlines()[-1])["error"]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    for kind in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    for name in ("ARTIFACTSTORE_URL", *JOB_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return Cli()


def test_jobs_are_listed_those_that_began_last_first(cli: Cli) -> None:
    assert cli.ids() == ["bad", "good"]
    lines = cli("jobs").stdout.splitlines()
    assert lines[0].split() == ["job", "status", "project", "user", "host", "begun", "ended"]
    assert lines[1].split()[:3] == ["bad", "failed", "speech"]
    assert lines[2].split()[:3] == ["good", "completed", "vision"]


def test_attempts_and_tags_have_columns_where_there_is_something_to_tell(cli: Cli) -> None:
    with artifactstore.open_store() as store, artifactstore.job("good", store=store, project="vision") as job:
        assert cli("jobs").stdout.splitlines()[0].split()[-1] == "attempt"
        job.tag("baseline")
    header, *rows = cli("jobs").stdout.splitlines()
    assert header.split()[-2:] == ["attempt", "tags"]
    end = header.index("attempt") + len("attempt")
    assert sorted(row[end - 1] for row in rows) == ["1", "2"], "aligned"


def test_close_ids_are_named_in_the_plural(cli: Cli) -> None:
    with artifactstore.open_store() as store, artifactstore.job("goods", store=store):
        pass
    assert "; there are good" in cli.refused("jobs", "show", "goodd", code=3)["what"]
    assert "; there is bad" in cli.refused("jobs", "show", "badx", code=3)["what"]


def test_jobs_are_chosen_by_project_and_status(cli: Cli) -> None:
    assert cli.ids("--project", "vision") == ["good"]
    assert cli.ids("--status", "failed") == ["bad"]
    assert cli.ids("--project", "vision", "--status", "failed") == []
    assert cli.refused("jobs", "--status", "gone", code=2)["kind"] == "UsageError"


def test_a_list_without_jobs_says_so(cli: Cli) -> None:
    found = cli("jobs", "--project", "visoin", "--status", "failed")
    assert (found.stdout, found.stderr) == ("", "note: no jobs that are failed of project visoin\n")
    assert cli("jobs", "--project", "visoin", "--quiet").stderr == ""
    assert cli("jobs", "--project", "visoin", "--json").stderr == ""
    assert cli("jobs").stderr == ""


def test_jobs_go_page_by_page(cli: Cli) -> None:
    first = cli.json("jobs", "--limit", "1")
    assert ([job["id"] for job in first["items"]], first["next"]) == (["bad"], "bad")
    assert cli.ids("--after", "bad") == ["good"]
    assert cli.ids("--after", "good") == []
    assert "--after bad" in cli("jobs", "--limit", "1").stderr


def test_a_page_after_a_job_that_is_not_there_is_no_empty_page(cli: Cli) -> None:
    assert cli.refused("jobs", "--after", "goot", code=3)["kind"] == "JobNotFound"


def test_options_of_the_list_do_not_go_with_a_command(cli: Cli) -> None:
    assert "go with the list" in cli.refused("jobs", "--status", "failed", "show", "good", code=2)["what"]


def test_show_has_directories_versions_made_and_used_and_processes(cli: Cli) -> None:
    found = cli.json("jobs", "show", "good")
    assert (found["job"]["id"], found["job"]["status"], found["job"]["project"]) == ("good", "completed", "vision")
    assert found["job"]["ended"] >= found["job"]["begun"]
    (directory,) = found["directories"]
    assert (directory["key"], [snapshot["number"] for snapshot in directory["snapshots"]]) == ("model", [1])
    assert "models/resnet:v1" in [version["version"] for version in found["made"]]
    assert [version["version"] for version in found["used"]] == ["data:v1"]
    assert found["saved"] == []
    assert [process["state"] for process in found["processes"]] == ["completed"]
    shown = cli("jobs", "show", "good").stdout
    for part in ("status   completed", "directories\nmodel@1", "models/resnet:v1", "used\ndata:v1", "processes\n"):
        assert part in shown


def test_show_and_lineage_tell_where_a_directory_came_from(cli: Cli) -> None:
    with artifactstore.open_store() as store, artifactstore.job("next", store=store):
        artifactstore.create_syncable_directory("model", "to", "good").upload()
    (used,) = cli.json("jobs", "show", "next")["used"]
    assert (used["version"], used["title"]) == (".jobs/good/dir/model:v1", "model@1 of job good")
    assert "used\nmodel@1 of job good" in cli("jobs", "show", "next").stdout
    with artifactstore.open_store() as store:
        graph = lineage(store, Reference(name=job_name("good", "dir", "model"), version=Latest()))
    assert lineage_text(graph).splitlines()[0] == "model@1 of job good, by job good"
    assert "job next" in lineage_text(graph)
    assert "model@1 of job next, by job next" in lineage_text(graph)
    fields: Any = lineage_fields(graph)["nodes"]
    assert "model@1 of job next" in [node["title"] for node in fields if "title" in node]


def test_show_says_why_a_job_failed(cli: Cli) -> None:
    assert cli.json("jobs", "show", "bad")["job"]["error"] == "KeyError"
    assert "failed (KeyError)" in cli("jobs", "show", "bad").stdout


def test_a_job_that_is_not_there_is_an_error_that_names_close_ones(cli: Cli) -> None:
    error = cli.refused("jobs", "show", "goodd", code=3)
    assert error["kind"] == "JobNotFound"
    assert "good" in error["what"].replace("goodd", "")
    assert cli.refused("jobs", "rm", "goodd", code=3)["kind"] == "JobNotFound"


def test_rm_removes_a_job_and_its_snapshots_and_leaves_what_it_made(cli: Cli) -> None:
    planned = cli.json("jobs", "rm", "good", "--dry-run")
    assert (planned["dry_run"], planned["versions"]) == (True, [".jobs/good/dir/model:v1"])
    assert planned["snapshots"] == ["model@1"]
    assert cli("jobs", "rm", "good", "--dry-run").stdout.startswith("would remove model@1\n")
    assert cli.ids() == ["bad", "good"]
    assert cli("jobs", "rm", "good").stdout.endswith("removed job good\n")
    assert cli.ids() == ["bad"]
    assert cli.json("show", "models/resnet")["version"]["version"] == "models/resnet:v1"
    assert cli.refused("sync", "down", "model", "to", "--job", "good", code=3)["exit_code"] == 3


def test_a_running_job_is_removed_only_by_force(cli: Cli) -> None:
    with artifactstore.open_store() as store, artifactstore.job("busy", store=store):
        assert cli.ids("--status", "running") == ["busy"]
        assert cli.refused("jobs", "rm", "busy", code=4)["kind"] == "JobRunning"
        cli("jobs", "rm", "busy", "--force", "--quiet")
        assert "busy" not in cli.ids()


def test_a_store_that_is_not_there_has_not_no_jobs(cli: Cli) -> None:
    assert cli.refused("jobs", "--store", "nowhere", code=3)["kind"] == "StoreNotFound"
