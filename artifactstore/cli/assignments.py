"""``KEY=VALUE`` arguments: metadata from the command line."""

import os
from collections.abc import Mapping, Sequence

import click
import msgspec

from artifactstore.cli.output import printable

_MAX_FILE_BYTES = 1 << 20


def metadata_option(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, object]:
    """For ``callback=`` of a repeatable option: ``K=V`` with V as JSON where it is JSON, or ``@file.json``."""
    found: dict[str, object] = {}
    for value in values:
        try:
            found |= _from_file(value[1:]) if value.startswith("@") else _assignment(value)
        except ValueError as error:
            raise click.BadParameter(printable(str(error)), context, parameter) from error
    return found


def _assignment(text: str) -> dict[str, object]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ValueError(f"{text[:80]!r} is not KEY=VALUE, nor @FILE")
    return {key: _value(value)}


def _value(text: str) -> object:
    """JSON where it is JSON, else the text itself."""
    try:
        value: object = msgspec.json.decode(text.encode("utf-8", "surrogateescape"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return text
    return value


def _from_file(path: str) -> Mapping[str, object]:
    try:
        with open(path, "rb") as stream:
            body = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
    if len(body) > _MAX_FILE_BYTES:
        raise ValueError(f"{path}: over 1 MiB")
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{os.path.basename(path)} is no JSON object: {error}") from error
