"""The program: finds the command, runs it, and turns whatever happens into an exit code and a line for people.

``artifactstore --help`` has 100 ms: nothing is imported here that a command alone needs.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from artifactstore._version import __version__
from artifactstore.cli.failures import ExitCode, error_document, error_text, exit_code_of
from artifactstore.cli.invocation import Invocation, common_options
from artifactstore.cli.lazy import LazyCommand, LazyGroup
from artifactstore.cli.output import error_label
from artifactstore.cli.signals import Ending, Interrupted, Interruption, interrupted_text

_HELP = """Content-addressed artifacts and directories over nothing but a bucket or a folder.

\b
  artifactstore push DIR NAME      make a new version of NAME out of DIR
  artifactstore pull NAME DEST     get it back, anywhere

Content is named folder/name, name:v3, name:alias, name@DIGEST, name:v3/path/inside.
Without --store: ARTIFACTSTORE_URL, artifactstore.toml, the user's file, a folder under the
user's data directory (`artifactstore config` shows which, and why).
"""


def _lazy(module: str, attribute: str, summary: str) -> LazyCommand:
    return LazyCommand(module=f"artifactstore.cli.{module}", attribute=attribute, summary=summary)


COMMANDS = {
    "init": _lazy("setup", "init", "Make a store at a URL, and prove what it can be relied on for."),
    "push": _lazy("pushing", "push", "Make a new version of a name out of a directory."),
    "pull": _lazy("pulling", "pull", "Get a version, or a part of one, into a directory."),
    "lock": _lazy("locking", "lock", "Pin names to content, in a file for version control."),
    "ls": _lazy("listing", "ls", "List folders, names, versions, files."),
    "log": _lazy("listing", "log", "Show the versions of a name, newest first."),
    "find": _lazy("finding", "find", "Find versions by label, and by what is noted on them."),
    "show": _lazy("reading", "show", "Show everything known about one version."),
    "artifact": _lazy("artifacts", "artifact", "Build, show, verify and pin artifacts."),
    "cat": _lazy("reading", "cat", "Write one file of a version to stdout."),
    "diff": _lazy("comparing", "diff", "Compare two versions, or a version and a directory."),
    "status": _lazy("comparing", "status", "Compare a directory with what it was last pushed or pulled as."),
    "edit": _lazy("editing", "edit", "Change labels, metadata, message or time-to-live of a version."),
    "alias": _lazy("changing", "alias", "Show the aliases of a name, move, protect or delete one."),
    "rm": _lazy("changing", "rm", "Remove a version, or all versions of a name."),
    "du": _lazy("reading", "du", "Show how much a version, a name or the store holds."),
    "mkdir": _lazy("folders", "mkdir", "Make a folder that stays while it is empty."),
    "rmdir": _lazy("folders", "rmdir", "Remove an empty folder; with `--recursive`, all that is in it."),
    "mv": _lazy("folders", "mv", "Move a name, or a folder with all in it, to another place."),
    "lineage": _lazy("lineage", "lineage", "Show what a version was made from, and who used it."),
    "jobs": _lazy("jobs", "jobs", "List jobs, show what one has, made and used, or remove one."),
    "sync": _lazy("sync", "sync", "Move directories from job to job."),
    "tensorboard": _lazy(
        "tensorboard", "tensorboard", "Bring TensorBoard logs of jobs together, and show them."
    ),
    "doctor": _lazy("setup", "doctor", "Probe a store: what can be relied on, and how fast it is."),
    "config": _lazy("settings", "config", "Show all settings, and which source decided each."),
    "completion": _lazy("settings", "completion", "Print the completion script for a shell."),
}


class Program(LazyGroup):
    """The group, with our own way of ending."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run, and end with one of the documented exit codes."""
        name = prog_name or "artifactstore"
        _complete(self, name, complete_var)
        arguments = list(sys.argv[1:] if args is None else args)
        invocation = Invocation()
        interruption = Interruption(lambda ending: _show_interruption(invocation, ending))
        try:
            with interruption.watching():
                code = self._run(name, arguments, invocation)
        except Interrupted as interrupted:
            interruption.tell()
            code = interrupted.exit_code
        except KeyboardInterrupt:
            interruption.tell()
            code = ExitCode.INTERRUPTED
        sys.exit(int(code))

    def _run(self, name: str, arguments: list[str], invocation: Invocation) -> int:
        try:
            with self.make_context(name, arguments, obj=invocation) as context:
                self.invoke(context)
            _flush()
        except click.exceptions.Exit as end:
            return end.exit_code
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            return ExitCode.USAGE
        except click.Abort:
            click.echo("nothing was done", err=True)
            return ExitCode.FAILURE
        except BrokenPipeError:
            return _on_closed_pipe()
        except Exception as error:  # noqa: BLE001 - the program ends with it: one line, and an exit code
            _show(error, invocation, arguments)
            return exit_code_of(error)
        return ExitCode.OK


def _show(error: Exception, invocation: Invocation, arguments: Sequence[str]) -> None:
    from artifactstore.redaction import redact, secrets_of

    secrets = secrets_of(os.environ)
    if invocation.verbosity >= 2:
        import traceback

        click.echo(redact("".join(traceback.format_exception(error)), secrets=secrets), err=True)
    # A command line that can't be parsed has not come to the point where --json counts.
    if invocation.json or (isinstance(error, click.UsageError) and "--json" in arguments):
        click.echo(redact(error_document(error), secrets=secrets), err=True)
    else:
        click.echo(redact(error_text(error, label=error_label()), secrets=secrets), err=True)


def _show_interruption(invocation: Invocation, ending: Ending) -> None:
    end_of_echo = "\n" if sys.stderr.isatty() else ""  # the terminal has printed ^C
    sys.stderr.write(f"{end_of_echo}{interrupted_text(invocation.command, ending)}\n")
    sys.stderr.flush()


def _flush() -> None:
    # Here, where a full disk or a closed pipe under stdout still becomes an exit code.
    sys.stdout.flush()


def _on_closed_pipe() -> int:
    # The reader (`head`) has all it wants. Python's own flush at exit must not complain again.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.FAILURE


def _complete(program: click.Command, name: str, variable: str | None) -> None:
    variable = variable or f"_{name.upper()}_COMPLETE"
    if instruction := os.environ.get(variable):
        from click.shell_completion import shell_complete

        sys.exit(shell_complete(program, {}, name, variable, instruction))


program = Program(
    name="artifactstore",
    table=COMMANDS,
    help=_HELP,
    params=common_options(),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
click.version_option(__version__, "--version", prog_name="artifactstore")(program)


def _fill_closed_streams() -> None:
    # `>&-`: Python has None then. Opened in this order, they also take the numbers that no other file should get.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open until the program ends


def refuse_windows() -> str:
    """The one line for Windows, or nothing elsewhere."""
    if sys.platform == "win32":
        return "error: artifactstore runs on Linux and macOS, not on Windows. Nothing was done. Use it inside WSL."
    return ""


def main() -> NoReturn:
    """The entry point of ``artifactstore`` and ``arts``."""
    if line := refuse_windows():
        sys.stderr.write(line + "\n")
        sys.exit(ExitCode.FAILURE)
    _fill_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # An ASCII terminal gets escapes, not a UnicodeEncodeError half way through a listing.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    called_as = os.path.basename(sys.argv[0])
    program.main(prog_name="arts" if called_as == "arts" else "artifactstore")
