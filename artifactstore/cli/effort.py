"""How hard a transfer may try: options of all commands that move data, and the store opened with them."""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import click

from artifactstore.cli.output import say, shown_path
from artifactstore.cli.session import (
    memory_option,
    open_current,
    size_option,
)
from artifactstore.store import Store

_SHOWN_PATHS = 20


class Effort(TypedDict):
    jobs: int | None
    limit_rate: int | None
    max_memory: int | None


def effort_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how hard a transfer may try."""
    for option in (
        click.option("--max-memory", callback=memory_option, metavar="SIZE", help="Budget for buffers, such as 300M."),
        click.option("--limit-rate", callback=size_option, metavar="SIZE", help="Bytes a second at most, such as 10M."),
        click.option("-j", "--jobs", type=click.IntRange(1, 256), metavar="N", help="Transfers at a time."),
    ):
        function = option(function)
    return function


def open_with(given: Effort) -> Store:
    return open_current(jobs=given["jobs"], limit_rate_bytes=given["limit_rate"], max_memory_bytes=given["max_memory"])


def show_paths(what: str, paths: Sequence[bytes]) -> None:
    for path in paths[:_SHOWN_PATHS]:
        say(f"{what:8}  {shown_path(path)}")
    if len(paths) > _SHOWN_PATHS:
        say(f"{what:8}  … and {len(paths) - _SHOWN_PATHS:,} more")
