"""``jobs``, ``jobs show`` and ``jobs rm``."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, dropwhile, islice
from typing import Any

import click

from artifactstore.cli import logs
from artifactstore.cli.command import command, current
from artifactstore.cli.invocation import common_options
from artifactstore.cli.lazy import LazyCommand, LazyGroup
from artifactstore.cli.listing import Page
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
    styled,
)
from artifactstore.cli.session import note, open_current
from artifactstore.cli.sync_views import job_fields, job_version_fields, process_fields, thing_fields
from artifactstore.jobs.listing import JobInfo, find_job, list_jobs, read_processes
from artifactstore.jobs.manifest import JobManifest, JobThing, JobVersion, job_manifest
from artifactstore.jobs.records import JobStatus
from artifactstore.jobs.removal import remove_job
from artifactstore.jobs.states import Process
from artifactstore.names import version_title
from artifactstore.store import Store

_COLORS = {
    JobStatus.RUNNING: "cyan",
    JobStatus.COMPLETED: "green",
    JobStatus.FAILED: "red",
    JobStatus.LOST: "yellow",
}
_LOOKED_AT = 1000
_HEADER = ("job", "status", "project", "user", "host", "begun", "ended", "attempt", "tags")


def _lazy(attribute: str, summary: str) -> LazyCommand:
    return LazyCommand(module="artifactstore.cli.jobs", attribute=attribute, summary=summary)


COMMANDS = {
    "show": _lazy("show", "Show what a job has, made and used, and its processes."),
    "rm": _lazy("rm", "Remove a job: its snapshots, saved files and records."),
}


def _list(project: str | None, status: str | None, limit: int | None, after: str) -> None:
    """List jobs, those that began last first; or run one of the commands below."""
    context = click.get_current_context()
    if context.invoked_subcommand is not None:
        if project is not None or status is not None or limit is not None or after:
            raise click.UsageError(f"these options go with the list, not with {context.invoked_subcommand}", context)
        return
    current().command = "jobs"
    logs.set_up(current())
    with open_current() as store:
        page = Page(_jobs(store, project, status, after), limit=limit, mark=lambda job: job.id)
        if current().json:
            asked = {"project": project, "status": status}
            print_json_items("jobs", asked, map(job_fields, page), closing=page.closing)
        else:
            is_empty = not _print(page)
            page.say_next()
            if is_empty:
                note(_none_found(project, status, after))


def _print(found: Iterable[JobInfo]) -> bool:
    """The table; whether it has any rows. What is the same for all of the first thousand (one attempt, no tags) has no
    column: most terminals have no room for it."""
    jobs = iter(found)
    first = list(islice(jobs, _LOOKED_AT))
    columns = [
        number
        for number, title in enumerate(_HEADER)
        if (title != "attempt" or any(job.attempt > 1 for job in first))
        and (title != "tags" or any(job.tags for job in first))
    ]
    rows = ([cells[number] for number in columns] for cells in map(_row, chain(first, jobs)))
    header = [_HEADER[number] for number in columns]
    right = frozenset(place for place, title in enumerate(header) if title == "attempt")
    print_table(rows, header=header, right=right)
    return bool(first)


def _none_found(project: str | None, status: str | None, after: str) -> str:
    of = f" of project {project}" if project is not None else ""
    return f"no jobs{f' that are {status}' if status is not None else ''}{of}{f' after {after}' if after else ''}"


def _jobs(store: Store, project: str | None, status: str | None, after: str) -> Iterator[JobInfo]:
    if not after:
        return list_jobs(store, project=project, status=status)
    find_job(store, after)  # one that is not there is no end of the list
    behind = islice(dropwhile(lambda job: job.id != after, list_jobs(store)), 1, None)
    return (job for job in behind if project in (None, job.project) and status in (None, job.status.value))


jobs = LazyGroup(
    name="jobs",
    table=COMMANDS,
    help="List jobs, show what one has, made and used, or remove one.\n\nWithout a command: a list, newest first.",
    params=[
        click.Option(["--project"], metavar="P", help="Only those of this project."),
        click.Option(["--status"], type=click.Choice([s.value for s in JobStatus]), help="Only those that are so."),
        click.Option(["--limit"], type=click.IntRange(1), metavar="N", help="Show N at most, and how to see the next."),
        click.Option(["--after"], default="", metavar="ID", help="Go on after the last of the page before."),
        *common_options(),
    ],
    callback=_list,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _row(job: JobInfo) -> Sequence[str]:
    return (
        printable(job.id),
        job.status.value,  # no colour: its escapes would count as width
        printable(job.project),
        printable(job.user),
        printable(job.host),
        short_date(job.begun),
        short_date(job.ended) if job.ended else "-",
        str(job.attempt),
        printable(", ".join(job.tags)),
    )


def _status(job: JobInfo) -> str:
    error = f" ({printable(job.error)})" if job.error else ""
    return styled(job.status.value, _COLORS[job.status]) + error


@command("show")
@click.argument("job_id", metavar="ID")
def show(job_id: str) -> None:
    """Show what a job has, made and used, and its processes."""
    with open_current() as store:
        manifest = job_manifest(store, job_id)
        processes = read_processes(store.catalog, job_id)
    if current().json:
        _show_json(manifest, processes)
        return
    job = manifest.job
    rows = [
        ("job", printable(job.id)),
        ("status", _status(job)),
        ("project", printable(job.project)),
        ("user", printable(f"{job.user}@{job.host}".strip("@"))),
        ("begun", short_date(job.begun)),
        ("ended", short_date(job.ended) if job.ended else "-"),
        ("seen", short_date(job.beat)),
        ("attempt", str(job.attempt)),
    ]
    if job.tags:
        rows.append(("tags", printable(", ".join(job.tags))))
    print_table(rows)
    _section("directories", map(_thing_row, manifest.directories))
    _section("saved files", map(_thing_row, manifest.saved))
    _section("made", map(_version_row, manifest.made))
    _section("used", map(_version_row, manifest.used))
    _section("processes", map(_process_row, processes))


def _show_json(manifest: JobManifest, processes: Sequence[Process]) -> None:
    fields: dict[str, Any] = {
        "job": job_fields(manifest.job),
        "directories": [thing_fields(thing) for thing in manifest.directories],
        "saved": [thing_fields(thing) for thing in manifest.saved],
        "made": [job_version_fields(version) for version in manifest.made],
        "used": [job_version_fields(version) for version in manifest.used],
        "processes": [process_fields(process) for process in processes],
    }
    print_json("jobs-show", fields)


def _section(title: str, rows: Iterator[Sequence[str]]) -> None:
    first = next(rows, None)
    if first is None:
        return
    say(f"\n{title}")
    print_table([first, *rows])


def _thing_row(thing: JobThing) -> Sequence[str]:
    newest = thing.versions[0]
    return (
        printable(f"{thing.key}@{newest.slot}"),
        short_date(newest.created),
        human_count(newest.files, "file"),
        human_bytes(newest.content_bytes),
        human_count(len(thing.versions), "snapshot"),
    )


def _version_row(version: JobVersion) -> Sequence[str]:
    return (printable(version_title(version.version)), short_date(version.created), version.content_digest[:12])


def _process_row(process: Process) -> Sequence[str]:
    record = process.record
    rank = f"rank {record.rank}" if record.rank is not None else ""
    return (
        f"attempt {record.attempt}",
        record.state.value,
        printable(f"{record.host}:{record.pid}"),
        short_date(record.begun),
        short_date(record.ended) if record.ended else "-",
        rank,
        printable(record.error),
    )


def _kept_title(version: str, job_id: str) -> str:
    """``model@3`` of what a job keeps."""
    return version_title(version).removesuffix(f" of job {job_id}")


@command("rm")
@click.argument("job_id", metavar="ID")
@click.option("--force", is_flag=True, help="Remove it although it is running.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, remove nothing.")
def rm(job_id: str, force: bool, dry_run: bool) -> None:
    """Remove a job: its snapshots, saved files and records.

    Artifacts that it made stay. Snapshots don't come back; their space returns with garbage collection.
    """
    with open_current() as store:
        done = remove_job(store, job_id, force=force, dry_run=dry_run)
    if current().json:
        versions = [json_text(version) for version in done.versions]
        snapshots = [json_text(_kept_title(version, job_id)) for version in done.versions]
        fields = {"job_id": json_text(job_id), "dry_run": dry_run, "versions": versions, "snapshots": snapshots}
        print_json("jobs-rm", fields)
        return
    if not current().quiet:
        would = "would remove" if dry_run else "removed"
        for version in done.versions:
            say(printable(f"{would} {_kept_title(version, job_id)}"))
        say(printable(f"{would} job {job_id}"))
    if not dry_run:
        note("the space returns with garbage collection")
