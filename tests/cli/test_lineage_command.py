"""``lineage``, as a user runs it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from artifactstore.artifacts.lineage import lineage
from artifactstore.artifacts.lineage_pictures import lineage_graphviz, lineage_mermaid
from artifactstore.cli.main import program
from artifactstore.store import open_store


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a store: model was made from tokens, and tokens from raw."""
    for kind in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.setenv("ARTIFACTSTORE_URL", str(tmp_path / "store"))
    monkeypatch.setenv("ARTIFACTSTORE_JOB_ID", "job 7")
    monkeypatch.chdir(tmp_path)
    for name, source in (("raw", ""), ("data/tokens", "raw"), ("model", "data/tokens")):
        (tmp_path / "f").write_text(name)
        run("push", "f", name, *(("--made-from", source) if source else ()))
    return tmp_path


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(program, list(arguments))
    assert result.exit_code == code, result.output + str(result.exception or "")
    return result


def test_text_shows_both_ways(cli: Path) -> None:
    assert run("lineage", "data/tokens").stdout.splitlines() == [
        "data/tokens:v1, by job job 7",
        "made from",
        "└── raw:v1, by job job 7",
        "used by",
        "└── model:v1, by job job 7",
    ]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--up"], ["raw:v1"]),
        (["--down"], ["model:v1"]),
        (["--up", "--down"], ["raw:v1", "model:v1"]),
    ],
)
def test_one_way_or_both(cli: Path, options: list[str], shown: list[str]) -> None:
    text = run("lineage", "data/tokens:v1", *options).stdout
    assert [name for name in ("raw:v1", "model:v1") if name in text] == shown


def test_depth_says_that_there_is_more(cli: Path) -> None:
    result = run("lineage", "model", "--depth", "1")
    assert result.stdout.splitlines()[-1] == "    └── …"
    assert result.stderr == "note: it goes on at data/tokens:v1: more with --depth, or from there\n"
    assert run("lineage", "model", "--depth", "1", "--quiet").stderr == ""
    assert run("lineage", "model", "--depth", "0").stderr.startswith("note: it goes on at model:v1:")


def test_json_is_a_graph(cli: Path) -> None:
    document = json.loads(run("lineage", "model", "--json").stdout)
    assert document["schema"] == "artifactstore/lineage/1" and document["reference"] == "model"
    assert [node.get("version") or node["job"] for node in document["nodes"]] == [
        "model:v1", "job 7", "data/tokens:v1", "raw:v1",
    ]  # fmt: skip
    keys = {node["key"] for node in document["nodes"]}
    assert document["start"] in keys and document["complete"] is True
    assert all({edge["source"], edge["target"]} <= keys for edge in document["edges"])


def test_pictures_are_those_of_the_library(cli: Path) -> None:
    with open_store() as store:
        graph = lineage(store, "model")
    assert run("lineage", "model", "--format", "mermaid").stdout == lineage_mermaid(graph) + "\n"
    assert run("lineage", "model", "--format", "graphviz").stdout == lineage_graphviz(graph) + "\n"


def test_deleted_and_moved_versions_are_shown(cli: Path) -> None:
    run("mv", "data/tokens", "words")
    run("rm", "raw:v1")
    assert run("lineage", "model", "--up").stdout.splitlines()[2:] == [
        "└── words:v1, by job job 7 (was data/tokens:v1)",
        "    └── raw:v1, by job job 7 (deleted)",
    ]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nothing"], 3),
        (["model:v9"], 3),
        (["model:v1/f"], 2),
        (["model", "--depth", "-1"], 2),
        (["model", "--format", "svg"], 2),
        ([], 2),
    ],
)
def test_mistakes_have_their_exit_codes(cli: Path, arguments: list[str], code: int) -> None:
    result = run("lineage", *arguments, code=code)
    assert result.stderr.startswith("error: ") and "Traceback" not in result.output
