"""``tensorboard``."""

import contextlib
import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

import click

from artifactstore.cli.command import command, current
from artifactstore.cli.display import write_line
from artifactstore.cli.output import human_bytes, human_count, json_text, print_json, printable, say, warning_label
from artifactstore.cli.session import note, open_current
from artifactstore.errors import ArtifactStoreError
from artifactstore.jobs.tensorboard_folder import BroughtLogs, TensorboardFolder, check_has_logs, jobs_with_tensorboard
from artifactstore.store import Store

_PROGRAM = "tensorboard"
_MODULE = "tensorboard.main"
_TERMINATION_SECONDS = 2.0


@command("tensorboard")
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--project", metavar="PROJECT", help="Also the jobs of a project that have TensorBoard logs.")
@click.option("--tag", metavar="TAG", help="Also the jobs with this tag that have TensorBoard logs.")
@click.option("--all", "every", is_flag=True, help="All jobs that have TensorBoard logs.")
@click.option("--dir", "directory", metavar="DIR", help="Where the logs go; by default a temporary place.")
@click.option("--host", metavar="HOST", help="Where TensorBoard listens.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="On which port it listens.")
@click.option(
    "--reload", "reload_seconds", type=click.FloatRange(min=1), default=30.0, show_default=True, metavar="SECONDS",
    help="How often to bring what is new.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Bring the logs together, say where they are, and start nothing.")
def tensorboard(  # noqa: PLR0913 - one for each option
    jobs: tuple[str, ...],
    project: str | None,
    tag: str | None,
    every: bool,
    directory: str | None,
    host: str | None,
    port: int | None,
    reload_seconds: float,
    once: bool,
) -> None:
    """Bring TensorBoard logs of jobs together, and show them.

    Each job has a folder. While TensorBoard runs, what jobs upload is brought, too; Ctrl-C ends both. TensorBoard
    itself is not part of this program: `pip install tensorboard`.
    """
    if not jobs and not every and project is None and tag is None:
        raise click.UsageError("which jobs? Name them, or say --project, --tag or --all")
    arguments = ["--reload_interval", f"{reload_seconds:g}"]
    arguments += ["--host", host] if host is not None else []
    arguments += ["--port", str(port)] if port is not None else []
    with open_current() as store, _folder(directory, stays=once) as path:
        for job_id in jobs:
            check_has_logs(store, job_id)
        bringing = _Bringing(store, TensorboardFolder(store, path), _Choice(jobs, project, tag, every))
        _show(path, bringing.refresh())
        if not once:
            _run([*_program(path), "--logdir", path, *arguments], bringing, reload_seconds)


class _Choice:
    """Which jobs: those named, and those found at this moment."""

    def __init__(self, jobs: Sequence[str], project: str | None, tag: str | None, every: bool) -> None:
        self._jobs = jobs
        self._filters = [
            *([(None, None)] if every else []),
            *([(project, tag)] if project is not None or tag is not None else []),
        ]

    def jobs(self, store: Store) -> list[str]:
        found = [jobs_with_tensorboard(store, project=project, tag=tag) for project, tag in self._filters]
        return list(dict.fromkeys([*self._jobs, *itertools.chain(*found)]))


class _Bringing:
    """What is brought together, again and again."""

    def __init__(self, store: Store, folder: TensorboardFolder, choice: _Choice) -> None:
        self._store = store
        self._folder = folder
        self._choice = choice
        self._last_problem = ""

    def refresh(self) -> list[BroughtLogs]:
        """Bring what is new."""
        return self._folder.refresh(self._choice.jobs(self._store))

    def try_refresh(self) -> None:
        """As `refresh`; what fails is shown once, and tried again the next time."""
        try:
            self.refresh()
        except ArtifactStoreError as error:
            problem = str(error)
            if problem != self._last_problem:
                write_line(f"{warning_label()} nothing new was brought, it is tried again: {printable(problem)}")
            self._last_problem = problem
        else:
            self._last_problem = ""


@contextlib.contextmanager
def _folder(directory: str | None, *, stays: bool) -> Iterator[str]:
    """Where the logs go. A temporary place is removed at the end, unless it is all there is to show."""
    if directory is not None:
        yield os.path.abspath(directory)
        return
    made = tempfile.mkdtemp(prefix="artifactstore-tensorboard-")
    try:
        yield made
    except _NotInstalled:
        raise
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    if not stays:
        shutil.rmtree(made, ignore_errors=True)


class _NotInstalled(ArtifactStoreError):
    """TensorBoard can't be started. The logs stay."""


def _program(path: str) -> list[str]:
    """How TensorBoard is started: that of this Python, else the one on the PATH."""
    with contextlib.suppress(ModuleNotFoundError):
        if importlib.util.find_spec(_MODULE) is not None:
            return [sys.executable, "-m", _MODULE]
    found = shutil.which(_PROGRAM)
    if found is not None:
        return [found]
    raise _NotInstalled(
        "TensorBoard is not installed",
        data_safe=f"The logs are in {path}.",
        next_step="Run `pip install tensorboard`, then this again; or show that folder to a TensorBoard elsewhere.",
    )


def _run(arguments: list[str], bringing: _Bringing, reload_seconds: float) -> None:
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)  # noqa: S603 - a list, and no shell
    try:
        while True:
            try:
                code = process.wait(reload_seconds)
                break
            except subprocess.TimeoutExpired:
                bringing.try_refresh()
    finally:
        _end(process)
    if code != 0:
        raise ArtifactStoreError(f"TensorBoard ended with code {code}", next_step="What it printed says why.")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_TERMINATION_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _show(path: str, brought: Sequence[BroughtLogs]) -> None:
    if current().json:
        print_json("tensorboard", {"directory": json_text(path), "jobs": [_fields(logs) for logs in brought]})
        return
    for logs in brought:
        what = f"{human_count(logs.files, 'file')}, {human_bytes(logs.content_bytes)}"
        say(f"{printable(logs.job_id)}: {what} in {printable(logs.folder)}")
    if not brought:
        note(f"no logs were uploaded yet; they will come to {path}")


def _fields(logs: BroughtLogs) -> dict[str, object]:
    return {
        "job": logs.job_id,
        "key": logs.key,
        "snapshot": logs.number,
        "folder": json_text(logs.folder),
        "files": logs.files,
        "content_bytes": logs.content_bytes,
    }
