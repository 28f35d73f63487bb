"""The program itself: help, options, exit codes, signals, closed pipes. No store is needed here."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from artifactstore import __version__
from artifactstore.cli import main as program_module
from artifactstore.cli.main import COMMANDS, program

PYTHON = [sys.executable, "-m", "artifactstore"]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "ARTIFACTSTORE_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(program, arguments)


def test_help_names_every_command_without_importing_one() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "artifactstore", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.summary)}$", done.stdout, re.MULTILINE)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    ours = {module for module in imported if module.startswith("artifactstore.")}
    assert {m for m in ours if not m.startswith("artifactstore.cli")} <= {
        "artifactstore._version",
        "artifactstore.errors",
    }
    heavy = (
        "boto3 botocore fsspec s3fs msgspec tqdm blake3 zstandard pathspec sqlite3 asyncio concurrent.futures logging"
    )
    assert not imported & set(heavy.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_that_begins_with_its_summary(name: str) -> None:
    command = program.get_command(click.Context(program), name)
    assert command is not None
    assert command.name == name
    assert (command.help or "").split("\n")[0] == COMMANDS[name].summary
    shown = run(name, "--help")
    assert shown.exit_code == 0
    for option in ("--store", "--json", "-v", "-q, --quiet", "--log-file", "--single-writer", "-h, --help"):
        assert option in shown.output


def test_version() -> None:
    assert run("--version").output == f"artifactstore, version {__version__}\n"


def test_no_command_shows_the_help_and_is_a_usage_error() -> None:
    result = run()
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["config", "--nonsense"], "No such option"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
        (["completion"], "Missing argument"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert "--help" in result.stderr
    assert result.stderr.count("\n") == 1


def test_usage_errors_are_json_with_json() -> None:
    result = run("config", "--json", "--nonsense")
    assert result.exit_code == 2
    body = json.loads(result.stderr)["error"]
    assert (body["kind"], body["exit_code"]) == ("UsageError", 2)


@pytest.mark.parametrize(
    "arguments",
    [["--store", "/s", "--json", "config"], ["config", "--json", "--store", "/s"], ["--json", "config", "--store=/s"]],
)
def test_common_options_stand_before_or_after_the_command(arguments: list[str]) -> None:
    document = json.loads(run(*arguments).stdout)
    assert document["schema"] == "artifactstore/config/1"
    assert document["store"]["url"] == "/s"
    assert document["store"]["where"] == "--store"


def test_the_nearer_of_two_stores_wins() -> None:
    assert json.loads(run("--store", "/a", "config", "--store", "/b", "--json").stdout)["store"]["url"] == "/b"


def test_config_shows_which_store_and_why_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_URL", "sftp://me:canary-secret@host/path")
    result = run("config")
    assert result.exit_code == 0
    assert "sftp://***@host/path" in result.stdout
    assert "ARTIFACTSTORE_URL is set, and no --store was given" in result.stdout
    assert "canary" not in result.output + run("config", "--json").output


def test_a_wrong_setting_is_one_line_naming_file_and_key(tmp_path: Path) -> None:
    (tmp_path / "artifactstore.toml").write_text("jobs = 'many'")
    result = run("config")
    assert result.exit_code == 2
    assert str(tmp_path / "artifactstore.toml") in result.stderr
    assert "`jobs`" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_both_names(shell: str) -> None:
    script = run("completion", shell).stdout
    assert "_ARTIFACTSTORE_COMPLETE" in script
    assert "_ARTS_COMPLETE" in script


def test_completion_offers_commands_without_loading_them() -> None:
    env = {**os.environ, "_ARTIFACTSTORE_COMPLETE": "bash_complete", "COMP_WORDS": "artifactstore p", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "artifactstore"], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "plain,push\nplain,pull\n"
    assert "artifactstore.cli.pushing" not in done.stderr


def test_windows_is_refused_in_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program_module.sys, "platform", "win32")
    with pytest.raises(SystemExit) as ended:
        program_module.main()
    assert ended.value.code == 1
    line = capsys.readouterr().err
    assert "Windows" in line
    assert line.count("\n") == 1


def test_a_log_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    result = run("config", "--log-file", str(tmp_path / "no" / "log"))
    assert result.exit_code == 2
    assert "can't write the log file" in result.stderr


FAKE = """
    import sys, threading, time, logging
    import artifactstore.cli.main as m
    from artifactstore.cli.command import command
    from artifactstore.cli.lazy import LazyCommand

    @command("push")
    def push():
        {body}

    module = sys.modules["fake_command"] = type(sys)("fake_command")
    module.push = push
    m.COMMANDS["push"] = LazyCommand(module="fake_command", attribute="push", summary="")
    m.main()
"""


def with_body(body: str, *arguments: str) -> list[str]:
    script = textwrap.dedent(FAKE).format(body=textwrap.dedent(body).strip().replace("\n", "\n    "))
    return [sys.executable, "-c", script, "push", *arguments]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_says_what_is_safe_and_ends_the_program(number: signal.Signals, code: int) -> None:
    body = """
    try:
        print("ready", flush=True)
        threading.Event().wait(60)
    finally:
        print("cleaned up", flush=True)
    """
    with subprocess.Popen(with_body(body), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=5)
    assert process.returncode == code
    assert out == "cleaned up\n"
    assert err.count("\n") == 1
    assert "No half-made version is visible" in err
    assert "Run the same push again: it sends only what is missing." in err


def test_a_thread_that_hangs_does_not_hold_the_program() -> None:
    body = """
    threading.Thread(target=time.sleep, args=(60,)).start()
    import artifactstore.cli.signals as s
    s.WATCHDOG_SECONDS = 0.1
    print("ready", flush=True)
    time.sleep(60)
    """
    with subprocess.Popen(with_body(body), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=5)
    assert process.returncode == 130
    assert err.count("interrupted: ") == 1


def test_a_second_signal_ends_it_at_once() -> None:
    body = """
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("hanging", flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(with_body(body), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "hanging\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=3)
    assert process.returncode == 130
    assert err.count("interrupted: ") == 1


def fake(body: str, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(with_body(body, *arguments), capture_output=True, text=True, env={**os.environ, **env})


def test_a_fault_of_ours_is_a_line_and_a_traceback_only_with_vv() -> None:
    plain = fake("raise KeyError('inside')")
    assert plain.returncode == 1
    assert plain.stderr.startswith("error: internal error: KeyError: 'inside'. ")
    assert plain.stderr.count("\n") == 1
    assert "Traceback" in fake("raise KeyError('inside')", "-vv").stderr


def test_errors_of_the_system_name_the_file() -> None:
    done = fake("open('/nonexistent/file')")
    assert done.returncode == 1
    assert "No such file or directory (/nonexistent/file)" in done.stderr


def test_no_secret_leaves_by_any_door(tmp_path: Path) -> None:  # fault 114
    body = """
    logging.getLogger("artifactstore.x").debug("PUT https://me:canary-1@host/?X-Amz-Signature=canary-2")
    logging.getLogger("artifactstore.x").info("Authorization: AWS4 canary-3")
    logging.getLogger("botocore.auth").debug("StringToSign canary-4")
    logging.getLogger("artifactstore.x").warning("key is canary-5-secret")
    raise KeyError("sftp://u:canary-1@h canary-5-secret")
    """
    log = tmp_path / "log"
    for options in ((), ("-v",), ("-vv",), ("--json",), ("-q",)):
        done = fake(body, *options, "--log-file", str(log), AWS_SECRET_ACCESS_KEY="canary-5-secret")
        assert done.returncode == 1
        assert "canary" not in done.stdout + done.stderr
    assert "canary" not in log.read_text()
    assert log.read_text().count("PUT https://***@host/") == 5


def test_warnings_always_show_and_steps_only_with_v() -> None:
    body = """
    logging.getLogger("artifactstore.x").warning("look \\x1b[0m out")
    logging.getLogger("artifactstore.x").info("a step")
    import warnings; warnings.warn("and this")
    """
    plain = fake(body, "-q").stderr
    assert plain.startswith("warning: look \\x1b[0m out\n")
    assert "and this" in plain
    assert "a step" not in plain
    assert "a step" in fake(body, "-v").stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_do_no_harm(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m artifactstore config {closed}', sys.executable], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert not done.stderr


@pytest.mark.parametrize("words", ["push fi", "push other fi", "pull name fi", "diff name fi", "status fi"])
def test_paths_are_completed(words: str) -> None:
    environment = {
        "COMP_WORDS": f"artifactstore {words}",
        "COMP_CWORD": str(len(words.split())),
        "_ARTIFACTSTORE_COMPLETE": "bash_complete",
    }
    done = subprocess.run(PYTHON, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.stdout == "file,fi\n", done.stderr


def test_options_of_a_command_are_options_only() -> None:
    for name in COMMANDS:
        options = run(name, "--help").stdout.partition("\nOptions:\n")[2].partition("\nCommands:\n")[0]
        assert all(line.lstrip().startswith("-") for line in options.splitlines() if re.match("  [^ ]", line))


def test_a_closed_pipe_ends_the_program_quietly() -> None:
    script = with_body("for _ in range(100000): print('x' * 100)")
    with subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=10) == 1
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_full_disk_under_stdout_is_an_error_not_a_success() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PYTHON, "config"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr


def test_a_terminal_that_lacks_letters_gets_escapes() -> None:
    env = {**os.environ, "PYTHONIOENCODING": "latin-1", "ARTIFACTSTORE_URL": "/日"}
    done = subprocess.run([*PYTHON, "config"], env=env, capture_output=True, check=True)
    assert b"/\\u65e5" in done.stdout
