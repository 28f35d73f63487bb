"""The documentation is run. What a page shows is what the program does.

    ```console                       runs; lines that start with "$ " are commands, the others what they print
    ```console not-run: reason       does not run, and says why
    ```python                        runs too, in README.md and docs/python.md

All blocks of one page run in one sandbox, in order: an empty home, a working directory that holds nothing but a
copy of `docs` (as a clone would), and the default store in that home. `pip` does nothing: what is to be installed is
there. `/tmp` is a directory of the sandbox. In the output `...` stands for anything, within a line or for some lines.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from artifactstore.cli.failures import ExitCode
from artifactstore.cli.invocation import COMMON_NAMES
from artifactstore.cli.main import COMMANDS, program

ROOT = Path(__file__).parent.parent
PAGES = sorted(path for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")] if path.is_file())
PYTHON_NAMES = (
    *("artifacts", "background", "cli", "filesystem", "foundations", "jobs", "python"),
    *("references", "runs", "saved", "sync", "sync-plan", "t9k", "tensorboard", "versions"),
)
PYTHON_PAGES = {"README.md", "docs/cache.md", *(f"docs/{name}.md" for name in PYTHON_NAMES)}
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>console|python)(?P<rest>[^\n]*)\n(?P<body>.*?)^(?P=indent)```", re.M | re.S
)
CLI_PRELUDE = "import artifactstore\nfrom artifactstore import *\nstore = artifactstore.open_store()\n"
NOT_RUN = re.compile(r" not-run: \S.{5,}")


@dataclass(frozen=True)
class Step:
    """One command of a console block with its expected output, or one whole Python block."""

    kind: str
    line: int
    text: str
    expected: str = ""


def steps_of(text: str, *, python: bool) -> list[Step]:
    steps = []
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        rest = fence["rest"].rstrip()
        if rest:
            assert NOT_RUN.fullmatch(rest), f"line {line}: only `not-run: reason` may follow, not {rest!r}"
            continue
        body = re.sub(rf"^{fence['indent']}", "", fence["body"], flags=re.M)
        if fence["info"] == "python":
            steps += [Step("python", line, body)] if python else []
        else:
            steps += console_steps(body, line)
    return steps


def console_steps(body: str, line: int) -> list[Step]:
    steps: list[Step] = []
    for number, text in enumerate(body.splitlines(), start=line + 1):
        if text.startswith("$ "):
            steps.append(Step("console", number, text[2:]))
        elif steps and steps[-1].text.endswith("\\") and not steps[-1].expected:
            last = steps.pop()
            steps.append(Step("console", last.line, f"{last.text}\n{text}"))
        else:
            assert steps, f"line {number}: output before the first command"
            last = steps.pop()
            steps.append(Step("console", last.line, last.text, f"{last.expected}{text}\n"))
    return steps


class Sandbox:
    """An empty home, an empty directory, nothing of the caller's environment but the program."""

    def __init__(self, directory: Path, *, prelude: str) -> None:
        self.prelude = prelude
        self.work = directory / "work"
        self.tmp = directory / "tmp"
        for made in (self.work, self.tmp, directory / "home", directory / "bin"):
            made.mkdir()
        shutil.copytree(ROOT / "docs", self.work / "docs")
        (directory / "bin" / "pip").symlink_to(shutil.which("true") or "/usr/bin/true")
        self.environment = {
            "HOME": str(directory / "home"),
            "PATH": f"{directory / 'bin'}:{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "NO_COLOR": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    def run(self, step: Step) -> str:
        text = step.text.replace("/tmp/", f"{self.tmp}/")
        command = ["bash", "-euo", "pipefail", "-c", text]
        if step.kind == "python":
            command = [sys.executable, "-c", self.prelude + text]
        done = subprocess.run(
            command,
            cwd=self.work,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"line {step.line}: exit {done.returncode}\n$ {step.text}\n{done.stdout}"
        return done.stdout


def pattern_of(expected: str) -> re.Pattern[str]:
    """``...`` alone on a line: any lines; within a line: anything in it. Blanks at line ends don't count."""
    parts = []
    for line in expected.splitlines():
        if line.strip() == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append("[^\n]*?".join(re.escape(piece) for piece in line.rstrip().split("...")) + "[ \t]*\n")
    return re.compile("".join(parts))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_run_and_print_what_it_says(page: Path, tmp_path: Path) -> None:
    python = str(page.relative_to(ROOT)) in PYTHON_PAGES
    sandbox = Sandbox(tmp_path, prelude=CLI_PRELUDE if page.name == "cli.md" else "")
    for step in steps_of(page.read_text(), python=python):
        printed = sandbox.run(step)
        if step.expected:
            fits = pattern_of(step.expected).fullmatch(printed if printed.endswith("\n") else printed + "\n")
            assert fits, (
                f"{page.name}, line {step.line}: $ {step.text}\nexpected:\n{step.expected}\nprinted:\n{printed}"
            )


def sections() -> dict[str, str]:
    """The sections of docs/cli.md by the command they are about."""
    text = (ROOT / "docs/cli.md").read_text()
    parts = re.split(r"^## `([a-z]+)`$", text, flags=re.M)
    return {name: re.split(r"^## ", body, flags=re.M)[0] for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_command_has_a_section_and_every_section_a_command() -> None:
    assert list(sections()) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_shows_the_command_and_its_python_call(name: str) -> None:
    body = sections()[name]
    assert re.search(
        rf"^\$ (?:[A-Z_]+=\S+ )?(?:artifactstore|arts)[^\n]* {name}\b|^\$ artifactstore {name}\b", body, re.M
    )
    assert "```python" in body or "No Python call" in body


def subcommands(command: click.Command) -> list[click.Command]:
    """Of a group, but for those that are commands of their own too."""
    if not isinstance(command, click.Group):
        return []
    context = click.Context(command)
    found = [command.get_command(context, name) for name in command.list_commands(context)]
    own = [program.get_command(click.Context(program), name) for name in COMMANDS]
    return [one for one in found if one is not None and not any(one is other for other in own)]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_documents_every_option_and_no_other(name: str) -> None:
    command = program.get_command(click.Context(program), name)
    assert command is not None
    own = {
        max(p.opts, key=len)
        for one in [command, *subcommands(command)]
        for p in one.params
        if isinstance(p, click.Option) and p.name not in COMMON_NAMES
    } - {"--help"}
    documented = set(re.findall(r"^\| `(--[a-z-]+)", sections()[name], re.M))
    assert documented == own


def test_the_common_options_are_documented() -> None:
    text = (ROOT / "docs/cli.md").read_text()
    for parameter in program.params:
        if isinstance(parameter, click.Option):
            assert any(f"`{name}" in text for name in parameter.opts), parameter.opts


def test_the_table_of_exit_codes_is_the_one_in_the_program() -> None:
    text = (ROOT / "docs/cli.md").read_text()
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.M)}
    assert documented == {int(code) for code in ExitCode}


def test_every_json_schema_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"^\| `artifactstore/([a-z-]+)/1` \|", (ROOT / "docs/cli.md").read_text(), re.M))
    source = "".join(path.read_text() for path in (ROOT / "artifactstore/cli").glob("*.py"))
    printed = set(re.findall(r'print_json(?:_items)?\(\s*"([a-z-]+)"', source))
    assert documented == printed | {"error", "log", "ls"}


def test_the_extractor_understands_its_own_rules() -> None:
    text = "x\n```console\n$ echo a\na\n$ echo \\\n  b\n```\n```console not-run: needs a bucket\n$ false\n```\n"
    steps = steps_of(text, python=False)
    assert [(s.line, s.text, s.expected) for s in steps] == [(3, "echo a", "a\n"), (5, "echo \\\n  b", "")]
    assert pattern_of("a ... c\n...\nz\n").fullmatch("a b c\n1\n2\nz\n")
    assert not pattern_of("a\n").fullmatch("b\n")
