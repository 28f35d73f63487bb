"""Text and JSON as they leave the program: sizes, dates, paths, tables, and nothing that a terminal would obey."""

import base64
import datetime
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

import click

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_WINDOW_ROWS = 1000
_T = TypeVar("_T")


def printable(text: str) -> str:
    """``text`` with everything that a terminal might obey, hide or choke on written as an escape (one line, always)."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return _SHORT_ESCAPES.get(character) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shown_path(path: bytes) -> str:
    """A path for people. Backslashes are doubled, so that no two paths look the same."""
    return printable(os.fsdecode(path).replace("\\", "\\\\"))


def json_path(path: bytes, *, field: str = "path") -> dict[str, str]:
    """A path for programs: as text, and where it is not UTF-8 also its very bytes, in base64, as ``<field>_base64``."""
    try:
        return {field: path.decode("utf-8")}
    except UnicodeDecodeError:
        encoded = base64.b64encode(path).decode("ascii")
        return {field: path.decode("utf-8", "replace"), f"{field}_base64": encoded}


def json_text(text: str) -> str:
    """Text for programs: what came in as bytes that are not UTF-8 becomes U+FFFD, which every JSON reader takes."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def human_bytes(count: int) -> str:
    """``1.2 GiB``: three digits at most, base 1024."""
    if abs(count) < 1024:
        return f"{count} B"
    value = float(count)
    for unit in _UNITS:
        value /= 1024
        if abs(value) < 999.5 or unit == _UNITS[-1]:
            break
    return f"{value:.1f} {unit}" if abs(value) < 99.95 else f"{value:.0f} {unit}"


def human_count(count: int, noun: str) -> str:
    """``1 file``, ``20,000 files``; ``-y`` nouns are spelled by the caller."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def short_date(timestamp: str) -> str:
    """An RFC 3339 time as ``2026-01-31 08:00`` in local time; anything else as it is."""
    try:
        moment = datetime.datetime.fromisoformat(timestamp)
    except ValueError:
        return printable(timestamp)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def say(text: str) -> None:
    """A line on stdout."""
    click.echo(text)


def styled(text: str, color: str) -> str:
    """``text`` in a colour, unless NO_COLOR is set. Escapes are stripped where the output is not a terminal."""
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=color)


def print_json(kind: str, fields: Mapping[str, object]) -> None:
    """One JSON document on stdout, pure ASCII, with its schema."""
    click.echo(json.dumps({"schema": f"artifactstore/{kind}/1", **fields}, indent=2))


def print_json_items(
    kind: str,
    fields: Mapping[str, object],
    items: Iterable[Mapping[str, object]],
    *,
    closing: Callable[[], Mapping[str, object]] = dict,
) -> None:
    """One JSON document whose list ``items`` is written as it comes, however long it is.

    Args:
        fields: What stands before ``items``.
        closing: Called after the last item, for what stands after them.
    """
    head = json.dumps({"schema": f"artifactstore/{kind}/1", **fields}, indent=2)
    click.echo(head.removesuffix("\n}") + ',\n  "items": [', nl=False)
    separator = "\n    "
    for window in _windows(items):
        click.echo(separator + ",\n    ".join(json.dumps(item) for item in window), nl=False)
        separator = ",\n    "
    rest = "".join(f",\n  {json.dumps(key)}: {json.dumps(value)}" for key, value in closing().items())
    click.echo(f"\n  ]{rest}\n}}")


def print_table(
    rows: Iterable[Sequence[str]], *, header: Sequence[str] = (), right: frozenset[int] = frozenset()
) -> None:
    """Aligned columns, written as the rows come; widths are settled by the first thousand.

    Args:
        rows: Cells that are printable already.
        header: Shown dimmed, and only above at least one row.
        right: The columns to align to the right.
    """
    widths: list[int] = []
    for window in _windows(rows):
        if not widths and header:
            window = [header, *window]
        for row in window:
            widths += [0] * (len(row) - len(widths))
            widths[: len(row)] = [max(width, len(cell)) for width, cell in zip(widths, row, strict=False)]
        click.echo("\n".join(_line(row, widths, right) for row in window))


def _line(row: Sequence[str], widths: Sequence[int], right: frozenset[int]) -> str:
    cells = [
        cell.rjust(width) if column in right else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=False))
    ]
    return "  ".join(cells).rstrip()


def _windows(items: Iterable[_T]) -> Iterator[list[_T]]:
    iterator = iter(items)
    while window := list(islice(iterator, _WINDOW_ROWS)):
        yield window


def write_bytes(data: bytes | memoryview) -> None:
    """Raw bytes on stdout."""
    sys.stdout.buffer.write(data)


def error_label() -> str:
    """``error:``, red on a terminal."""
    return styled("error:", "red") if sys.stderr.isatty() else "error:"


def warning_label() -> str:
    """``warning:``, yellow on a terminal."""
    return styled("warning:", "yellow") if sys.stderr.isatty() else "warning:"
