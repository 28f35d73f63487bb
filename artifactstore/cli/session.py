"""The store that a command works on, opened as the options and settings say."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import click

from artifactstore.cli import display
from artifactstore.cli.command import current
from artifactstore.cli.output import printable
from artifactstore.config import MIN_MEMORY_BYTES, Settings, load_settings, parse_size
from artifactstore.errors import InvalidMetadata
from artifactstore.store import Store, open_store
from artifactstore.transaction.expiry import Never, asked_ttl
from artifactstore.transfer.progress import Progress


def size_option(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """For ``callback=`` of an option: ``10M`` as bytes."""
    try:
        return None if value is None else parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from error


def memory_option(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """As `size_option`, for the budget of buffers."""
    size = size_option(context, parameter, value)
    if size is not None and size < MIN_MEMORY_BYTES:
        raise click.BadParameter(f"{value} is too little: 64M at least", context, parameter)
    return size


def ttl_option(context: click.Context, parameter: click.Parameter, value: str | None) -> float | Never | None:
    """For ``callback=`` of an option: ``30d`` as seconds, ``never`` as it is; None where it is not given."""
    try:
        return None if value is None else asked_ttl(value)
    except InvalidMetadata as error:
        raise click.BadParameter(printable(str(error)), context, parameter) from error


def expired_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option of every command that reads what is in a version."""
    return click.option("--expired", "allow_expired", is_flag=True, help="Read it even if it has expired.")(function)


def settings() -> Settings:
    """All settings, as the command line, the environment and the files say."""
    return load_settings(current().store)


def open_current(
    *, jobs: int | None = None, limit_rate_bytes: int | None = None, max_memory_bytes: int | None = None
) -> Store:
    """Open the store. What is not given comes from the settings."""
    return open_store(
        current().store,
        single_writer=current().single_writer,
        jobs=jobs,
        limit_rate_bytes=limit_rate_bytes,
        max_memory_bytes=max_memory_bytes,
    )


@contextlib.contextmanager
def showing_progress(*, noun: str = "file") -> Iterator[Progress]:
    """Progress for one operation, closed whatever happens; ``noun`` is what its files are called."""
    progress = display.progress_for(current(), noun=noun)
    try:
        yield progress
    finally:
        progress.close()


def note(text: str) -> None:
    """A line on stderr that nobody needs to act on; not with ``--quiet``."""
    if not current().quiet:
        display.write_line(f"note: {printable(text)}")


def path_bytes(text: str) -> bytes:
    """An argument as the bytes it came as."""
    return os.fsencode(text)
