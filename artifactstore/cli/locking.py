"""``lock``."""

from collections.abc import Iterable, Mapping

import click

from artifactstore.artifacts.lock import PinChange
from artifactstore.artifacts.locking import LOCK_FILE, update_lock, write_lock
from artifactstore.cli.command import command, current
from artifactstore.cli.display import write_line
from artifactstore.cli.output import json_text, print_json, printable, say, warning_label
from artifactstore.cli.session import open_current
from artifactstore.errors import InvalidName, VersionExpired
from artifactstore.store import Store

_SHOWN_DIGITS = 12


@command("lock")
@click.argument("references", nargs=-1, metavar="REF...")
@click.option(
    "--file",
    "path",
    default=LOCK_FILE,
    show_default=True,
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="The lock file.",
)
@click.option("--to", "destination", metavar="DEST", help="Where pulls put it, relative to the folder of FILE.")
@click.option("--update", is_flag=True, help="Resolve every reference in the file again.")
def lock(references: tuple[str, ...], path: str, destination: str | None, update: bool) -> None:
    """Pin names to content, in a file for version control.

    What is pinned is what each REF means now. REF is name, name:v3, name:alias or name@DIGEST.
    `artifactstore pull --lock` then brings exactly that content, whatever becomes of the alias or the newest version.
    """
    if update and references:
        raise click.UsageError(
            "--update is for everything that is pinned: without it, a name is pinned again", click.get_current_context()
        )
    if update == bool(references) or (update and destination is not None):
        raise click.UsageError(
            "name what to pin, or say --update for everything that is pinned", click.get_current_context()
        )
    if len(references) > 1 and destination is not None:
        raise click.UsageError("--to goes with one reference", click.get_current_context())
    with open_current() as store:
        changes = _changes(store, references, path, destination)
        for change in changes:
            _warn_of_expired(store, change)
    if current().json:
        print_json("lock", {"file": json_text(path), "items": [_fields(change) for change in changes]})
    elif not current().quiet:
        for change in changes:
            say(_line(change))


def _changes(store: Store, references: Iterable[str], path: str, destination: str | None) -> tuple[PinChange, ...]:
    try:
        if not references:
            return update_lock(store, path)
        return write_lock(store, references, path, destination=destination)
    except InvalidName:
        raise
    except ValueError as error:
        raise click.UsageError(printable(str(error)), click.get_current_context()) from error


def _warn_of_expired(store: Store, change: PinChange) -> None:
    try:
        store.resolve(change.pin.reference)
    except VersionExpired as error:
        write_line(f"{warning_label()} {printable(error.what)}: pulls of it want --expired")


def _fields(change: PinChange) -> Mapping[str, object]:
    pin = change.pin
    return {
        "name": pin.name,
        "change": change.kind,
        "asked": pin.asked,
        "version": pin.version,
        "content_digest": pin.content_digest,
        "destination": pin.destination,
    }


def _line(change: PinChange) -> str:
    pin, old = change.pin, change.old
    before = f", was {old.version}" if old is not None and old.content_digest != pin.content_digest else ""
    said = "unchanged" if change.kind == "unchanged" else f"to {pin.destination}"
    return printable(f"{pin.asked}: pinned to {pin.version} ({pin.content_digest[:_SHOWN_DIGITS]}…){before}; {said}")
