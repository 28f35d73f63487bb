"""``pull``."""

from typing import Unpack

import click

from artifactstore.artifacts.download import pull_with_references
from artifactstore.artifacts.locking import LOCK_FILE, pull_lock
from artifactstore.cli.command import command, current
from artifactstore.cli.effort import Effort, effort_options, open_with, show_paths
from artifactstore.cli.output import human_bytes, human_count, json_text, print_json, printable, say, shown_path
from artifactstore.cli.session import (
    expired_option,
    note,
    showing_progress,
)
from artifactstore.cli.views import pull_fields
from artifactstore.store import Store
from artifactstore.transfer.plan import ConflictStrategy, PullOptions
from artifactstore.transfer.pull import PullResult


class _PullArguments(Effort):
    name: str | None
    destination: str | None
    locked: bool
    lock_file: str | None
    strategy: str
    delete: bool
    confirm_delete: bool
    references: bool
    durable: bool
    dry_run: bool
    allow_expired: bool


@command("pull")
@click.argument("name", required=False)
@click.argument("destination", required=False, type=click.Path(), metavar="[DEST]")
@click.option(
    "--strategy",
    type=click.Choice([s.value for s in ConflictStrategy]),
    default=ConflictStrategy.ERROR.value,
    show_default=True,
    help="What to do about files that differ here and there.",
)
@click.option("--delete", is_flag=True, help="Also remove files that were never in a version.")
@click.option("--confirm-delete", is_flag=True, help="Let --delete remove more than half of what is here.")
@click.option("--references", is_flag=True, help="Also fetch what references point to, and check it.")
@click.option("--durable", is_flag=True, help="Force every file to disk before the end.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, write nothing.")
@click.option("--lock", "locked", is_flag=True, help="Pull what the lock file pins: NAME, or without it everything.")
@click.option("--file", "lock_file", type=click.Path(), metavar="FILE", help="The lock file.  [artifactstore.lock]")
@expired_option
@effort_options
def pull(**given: Unpack[_PullArguments]) -> None:
    """Get a version, or a part of one, into a directory.

    NAME is name, name:v3, name:alias, name@DIGEST, and name:v3/path for a part of it.
    DEST is, unless given, a directory in the working directory, called as the last part of NAME.
    With --lock, NAME is one that the lock file pins, and DEST is where the file says.
    """
    options = PullOptions(
        strategy=ConflictStrategy(given["strategy"]),
        delete=given["delete"],
        confirm_delete=given["confirm_delete"],
        durable=given["durable"],
        dry_run=given["dry_run"],
        allow_expired=given["allow_expired"],
    )
    name = given["name"]
    if given["locked"]:
        if given["references"]:
            raise click.UsageError("--references does not go with --lock", click.get_current_context())
        _pull_locked(given, options)
        return
    if name is None or given["lock_file"] is not None:
        raise click.UsageError("pull needs a name; --file goes with --lock", click.get_current_context())
    with open_with(given) as store, showing_progress() as progress:
        bring = pull_with_references if given["references"] else Store.pull
        result = bring(store, name, given["destination"], options=options, progress=progress)
    if current().json:
        print_json("pull", pull_fields(result))
    elif not current().quiet:
        _show_pull(result)


def _pull_locked(given: _PullArguments, options: PullOptions) -> None:
    name, path = given["name"], given["lock_file"] or LOCK_FILE
    with open_with(given) as store, showing_progress() as progress:
        results = pull_lock(
            store,
            path,
            names=() if name is None else name,
            destination=given["destination"],
            options=options,
            progress=progress,
        )
    if current().json:
        print_json("pulls", {"file": json_text(path), "items": [pull_fields(result) for result in results]})
    elif not current().quiet:
        for result in results:
            _show_pull(result)


def _show_pull(result: PullResult) -> None:
    if result.dry_run:
        show_paths("write", result.written)
        show_paths("remove", result.removed)
    show_paths("keep", result.kept)
    for conflict in result.conflicts:
        beside = f": what came in is {shown_path(conflict.beside)}" if conflict.beside else ""
        say(f"conflict  {shown_path(conflict.path)}{beside}")
    if result.references:
        count = human_count(len(result.references), "reference")
        note(f"{count} left out: their content is not in the store, and --references fetches it")
    say(pull_line(result))


def pull_line(result: PullResult) -> str:
    """What a pull did, in one line."""
    where = f"{result.version} → {result.destination}"
    if result.dry_run:
        removed = f", {len(result.removed):,} to remove" if result.removed else ""
        written = f"{human_count(len(result.written), 'path')} to write{removed}, {human_bytes(result.content_bytes)}"
        return printable(f"{where}: {written}. Dry run: nothing was written")
    if not result.written and not result.removed and result.kept:
        what = f"nothing to do, {human_count(len(result.kept), 'path')} left as changed or removed here"
        what += " (--strategy replace undoes that)"
    elif not result.written and not result.removed:
        what = f"nothing to do, {human_count(result.files, 'file')} here already"
    else:
        removed = f", {len(result.removed):,} removed" if result.removed else ""
        references = human_count(result.fetched_references, "reference")
        of_these = f" ({references})" if result.fetched_references else ""
        moved = f"{human_bytes(result.fetched_bytes)} fetched{of_these}, {human_bytes(result.reused_bytes)} were here"
        what = (
            f"{human_count(len(result.written), 'path')} written{removed}, {human_bytes(result.content_bytes)}; {moved}"
        )
    return printable(f"{where}: {what}")
