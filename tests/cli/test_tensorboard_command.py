"""``tensorboard``, as a user runs it; TensorBoard itself is stood in for by a program that says what it was told."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from unit.jobs.events import read_scalars, write_scalars

from artifactstore import Store, job, open_store, set_tensorboard_logdir
from artifactstore.cli.main import program

STAND_IN = """#!{python}
import os, signal, sys, time
print(*sys.argv[1:], flush=True)
folder = sys.argv[sys.argv.index("--logdir") + 1]
{body}
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store with two jobs of two projects that have logs, and one that has none; TensorBoard is not installed."""
    for kind in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.setenv("ARTIFACTSTORE_URL", str(tmp_path / "store"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("ARTIFACTSTORE_JOB_ID", raising=False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path)
    with open_store() as opened:
        opened.init()
        for job_id, project in (("train-7", "vision"), ("a/b", "speech")):
            with job(job_id, project=project, store=opened) as run:
                set_tensorboard_logdir(f"logs/{job_id}")
                write_scalars(tmp_path / "logs" / job_id, "loss", [0.5])
                run.tag(f"of {project}")
        with job("none", store=opened):
            pass
        yield opened


@pytest.fixture(autouse=True)
def without_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.cli.tensorboard._MODULE", "no_such_tensorboard.main")


def stand_in(body: str) -> None:
    """Put a `tensorboard` on the PATH."""
    path = Path("bin/tensorboard")
    path.write_text(STAND_IN.format(python=sys.executable, body=body))
    path.chmod(0o755)


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(program, ["tensorboard", *arguments])
    assert result.exit_code == code, result.output + str(result.exception or "")
    return result


def jobs_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_once_brings_the_logs_and_says_where_they_are(store: Store, tmp_path: Path) -> None:
    result = run("train-7", "--dir", "all", "--once")
    assert result.stdout.startswith("train-7: 1 file, ") and result.stdout.endswith(f" in {tmp_path}/all/train-7\n")
    assert read_scalars(tmp_path / "all" / "train-7") == {"loss": [(0, 0.5)]}


@pytest.mark.parametrize(
    ("arguments", "folders"),
    [
        (["--all"], ["a_b-", "train-7"]),
        (["--project", "vision"], ["train-7"]),
        (["--tag", "of speech"], ["a_b-"]),
        (["--project", "vision", "--tag", "of speech"], []),
        (["train-7", "--project", "speech"], ["a_b-", "train-7"]),
        (["train-7", "--all"], ["a_b-", "train-7"]),
    ],
)
def test_jobs_are_named_or_found(store: Store, tmp_path: Path, arguments: list[str], folders: list[str]) -> None:
    run(*arguments, "--dir", "all", "--once")
    assert [name.rstrip("0123456789abcdef") if "-" in name and name != "train-7" else name
            for name in jobs_in(tmp_path / "all")] == folders  # fmt: skip


def test_json_says_what_is_where(store: Store, tmp_path: Path) -> None:
    document = json.loads(run("train-7", "--dir", "all", "--once", "--json").stdout)
    assert document["schema"] == "artifactstore/tensorboard/1" and document["directory"] == str(tmp_path / "all")
    (logs,) = document["jobs"]
    assert (logs["job"], logs["key"], logs["snapshot"], logs["files"]) == ("train-7", "__tensorboard__", 1, 1)
    assert logs["folder"] == str(tmp_path / "all" / "train-7") and logs["content_bytes"] > 0


def test_once_without_a_place_leaves_a_temporary_one(store: Store, tmp_path: Path) -> None:
    folder = json.loads(run("train-7", "--once", "--json").stdout)["directory"]
    assert Path(folder).parent == tmp_path / "temporary" and jobs_in(Path(folder)) == ["train-7"]


def test_without_tensorboard_the_logs_are_there_and_the_exit_code_is_1(store: Store, tmp_path: Path) -> None:
    result = run("train-7", code=1)
    (folder,) = (tmp_path / "temporary").iterdir()
    assert jobs_in(folder) == ["train-7"] and str(folder / "train-7") in result.stdout
    assert "pip install tensorboard" in result.stderr and f"The logs are in {folder}." in result.stderr


def test_tensorboard_is_started_on_the_folder_and_the_temporary_one_goes_with_it(store: Store, tmp_path: Path) -> None:
    stand_in("print(os.listdir(folder))")
    options = ["--host", "0.0.0.0", "--port", "0", "--reload", "5"]
    done = subprocess.run(
        [sys.executable, "-m", "artifactstore", "tensorboard", "train-7", *options], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    _, told, listed = done.stdout.splitlines()
    assert told.startswith(f"--logdir {tmp_path}/temporary/artifactstore-tensorboard-")
    assert told.endswith("--reload_interval 5 --host 0.0.0.0 --port 0") and listed == "['train-7']"
    assert jobs_in(tmp_path / "temporary") == []


def test_the_module_of_this_python_comes_first(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "standing").mkdir()
    (tmp_path / "standing" / "board.py").write_text("import sys\nprint('module', *sys.argv[1:3])\n")
    monkeypatch.syspath_prepend(str(tmp_path / "standing"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "standing"))
    monkeypatch.setattr("artifactstore.cli.tensorboard._MODULE", "board")
    run("train-7", "--dir", "all")
    assert capfd.readouterr().out == f"module --logdir {tmp_path}/all\n"


def test_a_tensorboard_that_fails_is_an_error(store: Store) -> None:
    stand_in("sys.exit(3)")
    assert "TensorBoard ended with code 3" in run("train-7", "--dir", "all", code=1).stderr


def test_what_comes_while_it_runs_is_brought(
    store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The stand-in waits for a job that begins only once it runs."""
    stand_in(
        "open('started', 'w').close()\n"
        "until = time.monotonic() + 30\n"
        "while not os.path.isdir(folder + '/later') and time.monotonic() < until: time.sleep(0.02)\n"
        "print(sorted(os.listdir(folder))[-2:])"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "artifactstore", "tensorboard", "--all", "--dir", "all", "--reload", "1"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + 30
        while not Path("started").exists() and time.monotonic() < until:
            time.sleep(0.02)
        with job("later", store=store):
            set_tensorboard_logdir("logs/later")
            write_scalars(tmp_path / "logs" / "later", "loss", [0.5])
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and out.splitlines()[-1] == "['later', 'train-7']"


@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_both(store: Store, tmp_path: Path, by: signal.Signals, code: int) -> None:
    stand_in("open('started', 'w').write(str(os.getpid()))\nos.rename('started', 'pid')\ntime.sleep(60)")
    command = [sys.executable, "-m", "artifactstore", "tensorboard", "train-7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 30
        while not Path("pid").exists() and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(by)
        process.communicate(timeout=30)
    assert process.returncode == code
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("pid").read_text()), 0)
    assert jobs_in(tmp_path / "temporary") == []


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "which jobs"),
        (["train-8"], 3, "train-7"),
        (["none"], 3, "has no TensorBoard logs"),
        (["train-7", "none"], 3, "has no TensorBoard logs"),
        (["train-7", "--reload", "0"], 2, "--reload"),
        (["train-7", "--port", "70000"], 2, "--port"),
        (["train\n7"], 2, "control characters"),
    ],
)
def test_mistakes_have_their_exit_codes(
    store: Store, tmp_path: Path, arguments: list[str], code: int, told: str
) -> None:
    result = run(*arguments, code=code)
    assert told in result.stderr and "Traceback" not in result.output
    assert jobs_in(tmp_path / "temporary") == []


def test_jobs_that_have_nothing_yet_are_told(store: Store) -> None:
    with job("soon", project="new", store=store):
        set_tensorboard_logdir("logs/soon")
        result = run("soon", "--dir", "all", "--once")
    assert result.stdout == "" and result.stderr.startswith("note: no logs were uploaded yet")
