"""`push --ttl never`: not the same as to say nothing."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from artifactstore.cli.main import program


def run(*arguments: str) -> str:
    result = CliRunner().invoke(program, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def expires() -> str | None:
    found: str | None = json.loads(run("show", "demo", "--json"))["version"]["expires"]
    return found


@pytest.mark.parametrize(
    "command", [("push", "run", "demo"), ("artifact", "create", "demo", "run")], ids=lambda words: words[0]
)
def test_never_lifts_the_time_to_live_of_what_has_not_changed(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.delenv("ARTIFACTSTORE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").write_text("content")
    run(*command, "--ttl", "12h")
    run(*command)
    assert expires()
    run(*command, "--ttl", "never")
    assert expires() is None
    assert json.loads(run("show", "demo", "--json"))["version"]["slot"] == 1
