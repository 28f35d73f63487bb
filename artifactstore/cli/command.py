"""What all commands share: the common options, and a log that is set up before anything happens."""

from collections.abc import Callable
from typing import Any

import click

from artifactstore.cli import logs
from artifactstore.cli.invocation import COMMON_NAMES, Invocation, common_options


class StoreCommand(click.Command):
    """A command that takes the common options too, in a section of their own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(common_options())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Options of every command": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):  # the usage line has those
                common = parameter.name in COMMON_NAMES or parameter.name == "help"
                sections["Options of every command" if common else "Options"].append(record)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        invocation = ctx.ensure_object(Invocation)
        invocation.command = ctx.info_name or ""
        logs.set_up(invocation)
        return super().invoke(ctx)


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A decorator: the function becomes the command ``name``, with the common options."""
    return click.command(name, cls=StoreCommand, context_settings={"help_option_names": ["-h", "--help"]})


def current() -> Invocation:
    """The invocation of the command that is running."""
    return click.get_current_context().ensure_object(Invocation)
