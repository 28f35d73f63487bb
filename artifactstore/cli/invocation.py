"""One run of the program: the options that every command takes, before or after its name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import click


@dataclass(slots=True)
class Invocation:
    """What the common options say. Filled in while the command line is parsed.

    Attributes:
        store: ``--store``, or None.
        json: One JSON document on stdout instead of text; errors as JSON on stderr.
        quiet: No progress, no notes, no summaries of what was done.
        verbosity: 1 shows each step and request, 2 tracebacks as well.
        log_file: Also write a log there.
        single_writer: The user promises that nothing else writes to the store meanwhile.
        command: The command's name, once known.
    """

    store: str | None = None
    json: bool = False
    quiet: bool = False
    verbosity: int = 0
    log_file: str | None = None
    single_writer: bool = False
    command: str = ""


def _remember(field: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        invocation = context.ensure_object(Invocation)
        if value in (None, False, 0) or context.resilient_parsing:
            return
        setattr(invocation, field, invocation.verbosity + value if field == "verbosity" else value)

    return remember


COMMON_NAMES: Final = frozenset({"store", "json", "quiet", "verbosity", "log_file", "single_writer"})


def common_options() -> list[click.Parameter]:
    """Fresh copies of the options that every command takes. They are read before any other, whatever their place."""

    def option(*names: str, field: str, **settings: Any) -> click.Option:
        return click.Option([*names, field], expose_value=False, is_eager=True, callback=_remember(field), **settings)

    return [
        option("--store", field="store", metavar="URL", help="The store: a URL or a directory."),
        option("--json", field="json", is_flag=True, help="Print one JSON document instead of text."),
        option("--single-writer", field="single_writer", is_flag=True, help="Promise that nothing else writes now."),
        option("-q", "--quiet", field="quiet", is_flag=True, help="No progress, no notes, no summary."),
        option("-v", field="verbosity", count=True, help="Show each step; -vv tracebacks as well."),
        option("--log-file", field="log_file", metavar="FILE", type=click.Path(dir_okay=False), help="Append a log."),
    ]
