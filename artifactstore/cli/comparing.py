"""``diff`` and ``status``."""

import os
from collections.abc import Iterator
from pathlib import Path

import click

from artifactstore.cli.command import command, current
from artifactstore.cli.output import human_bytes, human_count, print_json_items, printable, say, shown_path, styled
from artifactstore.cli.session import expired_option, open_current
from artifactstore.cli.views import change_fields
from artifactstore.manifest.diff import Change, ChangeKind

_SIGNS = {
    ChangeKind.ADDED: ("A", "green"),
    ChangeKind.REMOVED: ("D", "red"),
    ChangeKind.MODIFIED: ("M", "yellow"),
}
_EXIT_CODE = click.option("--exit-code", is_flag=True, help="End with 1 if there are differences.")


@command("diff")
@click.argument("old")
@click.argument("new", type=click.Path(), metavar="NEW|DIR")
@_EXIT_CODE
@expired_option
def diff(old: str, new: str, exit_code: bool, allow_expired: bool) -> None:
    """Compare two versions, or a version and a directory.

    NEW is taken for a directory if it starts with . / or ~, or if a directory of that name is here and it
    has no ":" or "@".
    """
    if old.startswith((".", "/", "~")):
        raise click.UsageError("the version comes first, then the directory", click.get_current_context())
    other: str | Path = Path(new).expanduser() if is_directory_argument(new) else new
    with open_current() as store:
        changes = _Counted(store.diff(old, other, allow_expired=allow_expired))
        if current().json:
            print_json_items("diff", {"old": old, "new": printable(new)}, (change_fields(c) for c in changes))
        else:
            _show(changes)
    _end(changes, exit_code)


@command("status")
@click.argument("directory", default=".", type=click.Path())
@click.argument("name", required=False)
@_EXIT_CODE
@expired_option
def status(directory: str, name: str | None, exit_code: bool, allow_expired: bool) -> None:
    """Compare a directory with what it was last pushed or pulled as.

    With NAME (name, name:v3, name:alias) it is compared with that version instead.
    """
    with open_current() as store:
        report = store.status(directory, name, allow_expired=allow_expired)
        changes = _Counted(iter(report.changes))
        if current().json:
            fields = {"directory": printable(os.path.abspath(directory)), "version": report.version}
            print_json_items("status", fields, (change_fields(c) for c in changes))
        else:
            say(f"compared with {printable(report.version)}")
            _show(changes)
    _end(changes, exit_code)


def is_directory_argument(text: str) -> bool:
    """Whether an argument of ``diff`` means a directory, and not a version."""
    if text.startswith((".", "/", "~")):
        return True
    return ":" not in text and "@" not in text and os.path.isdir(text)


class _Counted:
    """Passes changes on, and counts them."""

    def __init__(self, changes: Iterator[Change]) -> None:
        self._changes = changes
        self.counts = dict.fromkeys(ChangeKind, 0)

    def __iter__(self) -> Iterator[Change]:
        for change in self._changes:
            self.counts[change.kind] += 1
            yield change

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def show_changes(changes: Iterator[Change]) -> None:
    """Each change on a line, and how many there are."""
    _show(_Counted(changes))


def _show(changes: _Counted) -> None:
    for change in changes:
        sign, color = _SIGNS[change.kind]
        say(f"{styled(sign, color)}  {shown_path(change.path)}{_sizes(change)}")
    if current().quiet:
        return
    if not changes.total:
        say("no differences")
        return
    counts = (f"{count:,} {kind.value}" for kind, count in changes.counts.items() if count)
    say(f"{human_count(changes.total, 'difference')}: {', '.join(counts)}")


def _sizes(change: Change) -> str:
    before, after = change.old, change.new
    if before is not None and after is not None:
        if before.size != after.size:
            return f"  {human_bytes(before.size)} → {human_bytes(after.size)}"
        return ""
    entry = before or after
    return f"  {human_bytes(entry.size)}" if entry is not None and entry.size else ""


def _end(changes: _Counted, exit_code: bool) -> None:
    if exit_code and changes.total:
        click.get_current_context().exit(1)
