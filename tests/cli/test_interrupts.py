"""Ctrl-C and SIGTERM in the middle of real transfers (fault 11): quick, clean, and to be gone on with."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from artifactstore.cli.signals import Ending, interrupted_text

PYTHON = [sys.executable, "-m", "artifactstore"]
SLOW = ["--limit-rate", "2M"]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    source = tmp_path / "work" / "run"
    source.mkdir(parents=True)
    for number in range(4):
        (source / f"part{number}").write_bytes(os.urandom(12 << 20))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def run(*arguments: str) -> str:
    done = subprocess.run([*PYTHON, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def interrupted(*arguments: str, by: signal.Signals, once: Path) -> tuple[int, str, float]:
    """Start a command, signal it once the glob of ``once`` matches something; its code, stderr, and seconds to end."""
    with subprocess.Popen([*PYTHON, *arguments], stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 20
        while not list(once.parent.rglob(once.name)) and time.monotonic() < until and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(by)
        began = time.monotonic()
        _, err = process.communicate(timeout=20)
        return process.returncode, err, time.monotonic() - began


@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_push_that_is_interrupted_makes_nothing_visible_and_goes_on(
    work: Path, by: signal.Signals, code: int
) -> None:
    ended, err, seconds = interrupted("push", "run", "m", *SLOW, by=by, once=work / "data" / "store.json")
    assert ended == code
    assert seconds < 5
    assert [line for line in err.splitlines() if line.startswith("interrupted: ")] == [
        "interrupted: No half-made version is visible, older ones are not affected. "
        "Run the same push again: it sends only what is missing."
    ]
    assert "Traceback" not in err
    assert run("ls") == ""
    assert run("push", "run", "m").startswith("m:v1: 4 files")
    run("pull", "m", "copy")
    for number in range(4):
        assert Path(f"copy/part{number}").read_bytes() == Path(f"run/part{number}").read_bytes()


def test_what_is_said_about_leftovers_depends_on_how_the_program_ends() -> None:
    assert "No half-written file was left" in interrupted_text("pull", Ending.CLEANED_UP)
    at_once = interrupted_text("pull", Ending.AT_ONCE)
    assert "No half-written file was left" not in at_once
    assert ".artifactstore-tmp-" in at_once
    assert interrupted_text("push", Ending.AT_ONCE) == interrupted_text("push", Ending.CLEANED_UP)


def test_the_second_signal_says_that_nothing_was_cleaned_up() -> None:
    script = (
        "import os, signal, time\n"
        "from artifactstore.cli.signals import Interruption\n"
        "i = Interruption(lambda ending: os.write(1, ending.name.encode()))\n"
        "with i.watching():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    finally:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "AT_ONCE", "")


def test_a_pull_that_is_interrupted_leaves_nothing_half_done(work: Path) -> None:
    run("push", "run", "m")
    ended, err, seconds = interrupted(
        "pull", "m", "copy", *SLOW, by=signal.SIGTERM, once=work / "work" / ".artifactstore-tmp-*"
    )
    assert ended == 143
    assert seconds < 5
    # Threads that wait for slow storage may outlast the time there is to clean up: then that is said.
    left = list(Path().glob(".artifactstore-tmp-*"))
    assert ("No half-written file was left" if not left else "no time to clean up") in err
    assert not Path("copy").exists()
    run("pull", "m", "copy")
    assert sorted(os.listdir("copy")) == [f"part{number}" for number in range(4)]
