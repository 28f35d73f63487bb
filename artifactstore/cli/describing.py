"""The options that say what a new version is: message, labels, metadata, aliases, time-to-live, origin."""

from collections.abc import Callable
from typing import Any, Final, TypedDict

import click

from artifactstore.cli.assignments import metadata_option
from artifactstore.cli.session import ttl_option
from artifactstore.transaction.expiry import Never
from artifactstore.transaction.upload import Strategy

_LONGEST_MESSAGE_BYTES: Final = 64 << 10


class Description(TypedDict):
    """What the options give."""

    message: str
    aliases: tuple[str, ...]
    labels: tuple[str, ...]
    metadata: dict[str, object]
    ttl: float | Never | None
    made_from: tuple[str, ...]
    strategy: str
    force: bool


def _message(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    if len((value or "").encode("utf-8", "replace")) > _LONGEST_MESSAGE_BYTES:
        raise click.BadParameter("the message is over 64 KiB long", context, parameter)
    return value or ""


def description_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """For a command that makes a version."""
    for option in (
        click.option("--force", is_flag=True, help="Go over protected aliases."),
        click.option(
            "--strategy",
            type=click.Choice([s.value for s in Strategy]),
            default=Strategy.VERSION.value,
            show_default=True,
            help="What to do when the name has a version.",
        ),
        click.option(
            "--made-from", multiple=True, metavar="REF", help="A version that this one is made from; repeatable."
        ),
        click.option(
            "--ttl", callback=ttl_option, metavar="TTL", help="Let the version expire after 30d, 12h, 90m; or never."
        ),
        click.option(
            "--metadata",
            multiple=True,
            metavar="KEY=VALUE",
            callback=metadata_option,
            help="Metadata: VALUE is JSON where it is JSON, else text; @FILE takes a whole JSON file; repeatable.",
        ),
        click.option("--label", "labels", multiple=True, metavar="LABEL", help="Label the version; repeatable."),
        click.option("--alias", "aliases", multiple=True, metavar="ALIAS", help="Move this alias to it; repeatable."),
        click.option("-m", "--message", default="", callback=_message, help="What this version is."),
    ):
        function = option(function)
    return function
