"""``sync up``, ``down``, ``status`` and ``history``; the table of the group."""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, TypedDict, Unpack

import click

from artifactstore.cli.command import command, current
from artifactstore.cli.comparing import show_changes
from artifactstore.cli.effort import Effort, effort_options, open_with, show_paths
from artifactstore.cli.invocation import common_options
from artifactstore.cli.lazy import LazyCommand, LazyGroup
from artifactstore.cli.listing import Page, page_options
from artifactstore.cli.output import (
    human_bytes,
    human_count,
    json_text,
    print_json,
    print_json_items,
    print_table,
    printable,
    say,
    short_date,
    shown_path,
)
from artifactstore.cli.session import note, open_current, showing_progress
from artifactstore.cli.sync_views import download_fields, snapshot_fields, state_fields, upload_fields
from artifactstore.errors import ConfigurationError, NameNotFound
from artifactstore.jobs.directory import open_syncable_directory
from artifactstore.jobs.identity import check_job_text, identify
from artifactstore.jobs.snapshots import Snapshot, list_snapshots, missing
from artifactstore.jobs.sync_results import SnapshotDownload, SnapshotUpload, StateDifference
from artifactstore.names import JobName
from artifactstore.store import Store
from artifactstore.transfer.found import Unmatched
from artifactstore.transfer.plan import ConflictStrategy, PullOptions
from artifactstore.transfer.push import PushOptions


def _lazy(module: str, attribute: str, summary: str) -> LazyCommand:
    return LazyCommand(module=f"artifactstore.cli.{module}", attribute=attribute, summary=summary)


COMMANDS = {
    "up": _lazy("sync", "up", "Make a directory the next snapshot of a job."),
    "down": _lazy("sync", "down", "Bring a job's snapshot to a directory; local edits stay."),
    "status": _lazy("sync", "status", "Show how a directory differs from its last sync and from what jobs have."),
    "history": _lazy("sync", "history", "Show the snapshots of a job's directory, newest first."),
    "plan": _lazy("planning", "plan", "Show what would move, and keep it for `sync apply`."),
    "apply": _lazy("planning", "apply", "Do what a plan says, unless a side has moved since."),
}

sync = LazyGroup(
    name="sync",
    table=COMMANDS,
    help="Move directories from job to job.",
    params=common_options(),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_MISSING_OK: Final = "With --missing-ok that is fine, and nothing is done."


class Patterns(TypedDict):
    """What `pattern_options` say."""

    include: tuple[str, ...]
    exclude: tuple[str, ...]


class _UpArguments(Effort, Patterns):
    key: str
    directory: str
    job: str | None
    message: str
    dry_run: bool


class DownOptions(Patterns):
    """What `down_options` say."""

    job: str | None
    strategy: str
    delete: bool
    confirm_delete: bool


class _DownArguments(Effort, DownOptions):
    key: str
    directory: str
    missing_ok: bool
    durable: bool
    dry_run: bool


def pattern_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that narrow what is synced."""
    for option in (
        click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave alone what matches, on both sides."),
        click.option("--include", multiple=True, metavar="PATTERN", help="Sync only what matches (gitignore rules)."),
    ):
        function = option(function)
    return function


def down_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of what brings snapshots."""
    for option in (
        click.option("--confirm-delete", is_flag=True, help="Let --delete remove more than half of what is here."),
        click.option("--delete", is_flag=True, help="Also remove files here that were never in a snapshot."),
        click.option(
            "--strategy",
            type=click.Choice([s.value for s in ConflictStrategy]),
            default=ConflictStrategy.ERROR.value,
            show_default=True,
            help="What to do about files that both sides changed.",
        ),
        click.option("--job", metavar="ID[@N]", help="The job that it comes from, and which snapshot.  [newest]"),
    ):
        function = option(function)
    return pattern_options(function)


# -- jobs --------------------------------------------------------------------------------------------


def known_job() -> str:
    """Id of the job that this runs for, as the environment says; empty where it says none."""
    identity = identify()
    return "" if identity.source == "new" else identity.id


def chosen_job(given: str | None) -> str:
    """The job named by an option, else by the environment.

    Raises:
        ConfigurationError: Nothing names one.
    """
    job_id = check_job_text(given, of="--job") if given is not None else known_job()
    if not job_id:
        raise ConfigurationError(
            "no job is named: a new id for each command would hide what one uploads from the next",
            data_safe="Nothing was written.",
            next_step="Say --job ID, or set ARTIFACTSTORE_JOB_ID for all commands of the job.",
        )
    return job_id


def parse_source(text: str | None) -> tuple[str, int | None]:
    """``ID@3`` as the job's id and the snapshot's number, None for the newest. Without text the current job."""
    if text is None:
        return chosen_job(None), None
    job_id, at, number = text.rpartition("@")
    if at and number == "latest":
        return check_job_text(job_id, of="--job"), None
    if at and number.isascii() and number.isdecimal() and len(number) < 10:
        return check_job_text(job_id, of="--job"), int(number)
    return check_job_text(text, of="--job"), None


# -- up ----------------------------------------------------------------------------------------------


@command("up")
@click.argument("key")
@click.argument("directory", type=click.Path(), metavar="DIR")
@click.option("--job", metavar="ID", help="The job whose snapshot it becomes.  [the current one]")
@click.option("-m", "--message", default="", help="What this snapshot is.")
@pattern_options
@click.option("--dry-run", is_flag=True, help="Read and compare, write nothing.")
@effort_options
def up(**given: Unpack[_UpArguments]) -> None:
    """Make a directory the next snapshot of a job.

    Identical content makes none. With --include or --exclude, what they do not match stays in the snapshot
    as it was in the one before.
    """
    job_id = chosen_job(given["job"])
    options = PushOptions(
        message=given["message"],
        include=given["include"],
        exclude=given["exclude"],
        unmatched=Unmatched.KEPT,
        dry_run=given["dry_run"],
    )
    with open_with(given) as store, showing_progress() as progress:
        directory = open_syncable_directory(given["key"], given["directory"], job=job_id, store=store)
        done = directory.upload(options=options, progress=progress)
    for notice in done.notices:
        note(str(notice))
    if current().json:
        print_json("sync-up", upload_fields(done))
    elif not current().quiet:
        say(upload_line(done))


def upload_line(done: SnapshotUpload) -> str:
    """What an upload did, in one line."""
    content = f"{human_count(done.files, 'file')}, {human_bytes(done.content_bytes)}"
    moved = f"{human_bytes(done.new_bytes)} new, {human_bytes(done.sent_bytes)} sent"
    what = {
        "unchanged": f"{done.snapshot}: unchanged, no new snapshot ({content})",
        "planned": f"{content}; {moved}. Dry run: nothing was written",
    }.get(done.action, f"{done.snapshot}: {content}; {moved}")
    return printable(f"job {done.job_id}: {what}")


# -- down --------------------------------------------------------------------------------------------


@command("down")
@click.argument("key")
@click.argument("directory", type=click.Path(), metavar="DIR")
@down_options
@click.option("--missing-ok", is_flag=True, help="Nothing there yet is fine: for first runs.")
@click.option("--durable", is_flag=True, help="Force every file to disk before the end.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, write nothing.")
@effort_options
def down(**given: Unpack[_DownArguments]) -> None:
    """Bring a job's snapshot to a directory; local edits stay.

    What was synced here before, is gone there and was not edited here goes. With --include or --exclude,
    what they do not match is left alone.
    """
    source, number = parse_source(given["job"])
    options = PullOptions(
        delete=given["delete"],
        confirm_delete=given["confirm_delete"],
        include=given["include"],
        exclude=given["exclude"],
        durable=given["durable"],
        dry_run=given["dry_run"],
    )
    with open_with(given) as store, showing_progress() as progress:
        directory = open_syncable_directory(
            given["key"], given["directory"], source, job=known_job() or source, store=store
        )
        try:
            done = directory.download(
                snapshot=number, strategy=given["strategy"], options=options, progress=progress
            )
        except NameNotFound as error:
            if number is not None:
                raise
            if not given["missing_ok"]:
                raise missing(store, source, given["key"], or_else=_MISSING_OK) from error
            note(f"job {source} has nothing under the key {given['key']} yet: nothing was done")
            done = SnapshotDownload(snapshot="", job_id=source, number=0, files=0)
    if current().json:
        print_json("sync-down", download_fields(done))
    elif not current().quiet and done.snapshot:
        show_download(done, given["directory"])


def show_download(done: SnapshotDownload, directory: str) -> None:
    """What a download did."""
    if done.dry_run:
        show_paths("write", done.written)
        show_paths("remove", done.removed)
    show_paths("keep", done.kept)
    for conflict in done.conflicts:
        beside = f": what came in is {shown_path(conflict.beside)}" if conflict.beside else ""
        say(f"conflict  {shown_path(conflict.path)}{beside}")
    say(printable(f"{done.snapshot} of job {done.job_id} → {directory}: {_moved(done)}"))


def _moved(done: SnapshotDownload) -> str:
    removed = f", {len(done.removed):,} removed" if done.removed else ""
    written = f"{human_count(len(done.written), 'path')} written{removed}, {human_bytes(done.content_bytes)}"
    if done.dry_run:
        removed = f", {len(done.removed):,} to remove" if done.removed else ""
        written = f"{human_count(len(done.written), 'path')} to write{removed}, {human_bytes(done.content_bytes)}"
        return f"{written}. Dry run: nothing was written"
    if not done.written and not done.removed:
        kept = f", {human_count(len(done.kept), 'path')} left as changed here" if done.kept else ""
        return f"nothing to do{kept}"
    return f"{written}; {human_bytes(done.fetched_bytes)} fetched, {human_bytes(done.reused_bytes)} were here"


# -- looking -----------------------------------------------------------------------------------------


@command("status")
@click.argument("key", required=False)
@click.argument("directory", default=".", type=click.Path(), metavar="[DIR]")
@click.option("--job", metavar="ID", help="Compare with what this job has, too.")
def status(key: str | None, directory: str, job: str | None) -> None:
    """Show how a directory differs from its last sync and from what jobs have.

    DIR is the working directory unless given; KEY what it was last synced as.
    """
    with open_current() as store:
        last = store.last_synced(directory)
        synced = last.name if last is not None and isinstance(last.name, JobName) else None
        if key is None and synced is None:
            raise NameNotFound(
                f"{printable(directory)} was not synced with a job yet, as far as is known here",
                next_step="Name a key: artifactstore sync status KEY DIR",
            )
        key = key if key is not None or synced is None else synced.key
        before = synced.job_id if synced is not None and synced.key == key else ""
        own = known_job() or job or before or chosen_job(None)
        source = job or before or None
        opened = open_syncable_directory(key or "", directory, source, job=own, store=store)
        found = opened.status()
    states = (("last sync", found.last_sync), ("job", found.job), ("source", found.source))
    if current().json:
        fields = {name.replace(" ", "_"): state_fields(state) for name, state in states}
        print_json("sync-status", {"directory": json_text(os.path.abspath(directory)), "key": key, **fields})
        return
    for name, state in states:
        _show_state(name, state, is_asked=name != "source" or opened.source_job_id is not None)


def _show_state(name: str, state: StateDifference, *, is_asked: bool) -> None:
    if not is_asked:
        return
    what = f"{state.snapshot} of job {state.job_id}" if state.job_id else state.snapshot or "nothing yet"
    say(printable(f"{name}: {what}"))
    if state.snapshot:
        show_changes(iter(state.changes))


@command("history")
@click.argument("key")
@click.option("--job", metavar="ID", help="The job whose snapshots they are.  [the current one]")
@page_options
def history(key: str, job: str | None, limit: int | None, after: str) -> None:
    """Show the snapshots of a job's directory, newest first."""
    job_id = chosen_job(job)
    below = _number(after)
    with open_current() as store:
        snapshots = _listed(store, job_id, key)
        wanted = (snapshot for snapshot in snapshots if below is None or snapshot.number < below)
        page = Page(wanted, limit=limit, mark=lambda snapshot: str(snapshot.number))
        if current().json:
            fields = {"job_id": json_text(job_id), "key": json_text(key)}
            print_json_items("sync-history", fields, map(snapshot_fields, page), closing=page.closing)
        else:
            print_table(map(_history_row, page), header=_HISTORY_HEADER, right=frozenset({3, 4, 5}))
            page.say_next()


def _listed(store: Store, job_id: str, key: str) -> Iterator[Snapshot]:
    """The snapshots of a key; none at all is an error that says what is there."""
    found = list_snapshots(store, job_id, key)
    first = next(found, None)
    if first is None:
        raise missing(store, job_id, key, or_else="")
    return chain([first], found)


def _number(after: str) -> int | None:
    if not after:
        return None
    if not (after.isascii() and after.isdecimal()):
        raise click.UsageError("--after takes the number of a snapshot here: 12", click.get_current_context())
    return int(after)


_HISTORY_HEADER = ("snapshot", "when", "who", "files", "size", "new", "made from", "message")


def _history_row(snapshot: Snapshot) -> Sequence[str]:
    return (
        printable(str(snapshot)),
        short_date(snapshot.created),
        printable(f"{snapshot.who}@{snapshot.host}".strip("@")),
        f"{snapshot.files:,}",
        human_bytes(snapshot.content_bytes),
        human_bytes(snapshot.new_bytes),
        printable(", ".join(snapshot.source_job_ids)) or "-",
        printable(snapshot.message),
    )
