"""``find``."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import click

from artifactstore.cli.command import command, current
from artifactstore.cli.display import write_line
from artifactstore.cli.failures import exit_code_of
from artifactstore.cli.listing import Page, references_text
from artifactstore.cli.output import (
    human_bytes,
    json_text,
    print_json_items,
    print_table,
    printable,
    short_date,
    warning_label,
)
from artifactstore.cli.session import note, open_current, showing_progress
from artifactstore.cli.views import version_fields
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.results import VersionInfo
from artifactstore.search import Unreadable
from artifactstore.transfer.progress import Progress

_HEADER = ("version", "when", "size", "labels", "message")


@command("find")
@click.argument("folder", default="", metavar="[FOLDER]")
@click.option("--label", "labels", multiple=True, metavar="LABEL", help="Versions with this label; of several, all.")
@click.option("--where", multiple=True, metavar="EXPR", help="Such as 'acc >= 0.9', 'created < 2026-11'; repeatable.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Show N at most, and how to see the next.")
@click.option("--after", default="", metavar="LAST", help="Go on after the last of the page before.")
@click.option("-j", "--jobs", type=click.IntRange(1, 256), metavar="N", help="Requests at a time.")
def find(
    folder: str, labels: tuple[str, ...], where: tuple[str, ...], limit: int | None, after: str, jobs: int | None
) -> None:
    """Find versions by label, and by what is noted on them.

    By label it takes one listing and two requests for each match. Without a label, all versions below FOLDER are
    looked through. A version that can't be read is named, and passed over; the exit code is 5 then. EXPR is KEY OP
    VALUE: KEY a path into the metadata, or a field (name, version, created, expires, who, host, made_by, message,
    files, content_bytes); OP one of = != < <= > >= ~ (contains).
    """
    folder = folder.rstrip("/")
    with open_current(jobs=jobs) as store, showing_progress(noun="version") as progress:
        unreadable: list[Unreadable] = []
        found = store.find(
            labels=labels,
            where=where,
            folder=folder,
            after=after,
            progress=progress,
            on_unreadable=unreadable.append,
        )
        page = Page(found, limit=limit, mark=lambda info: info.version)
        infos = _apart(page, progress)
        now = SYSTEM_CLOCK.now()
        if current().json:
            asked = {"folder": folder, "labels": list(labels), "where": list(where)}
            closing = partial(_closing, page, unreadable)
            print_json_items("find", asked, (_fields(info, now) for info in infos), closing=closing)
        else:
            print_table((_row(info, now) for info in infos), header=_HEADER, right=frozenset({2}))
            page.say_next()
            if not page.any and sys.stdout.isatty():
                note("nothing found")
    for each in unreadable:
        write_line(f"{warning_label()} {printable(each.version)} is unreadable: {printable(str(each.error))}")
    if unreadable:
        raise click.exceptions.Exit(max(exit_code_of(each.error) for each in unreadable))


def _closing(page: Page[VersionInfo], unreadable: list[Unreadable]) -> Mapping[str, object]:
    said = [{"version": each.version, "reason": json_text(str(each.error))} for each in unreadable]
    return {**page.closing(), "unreadable": said}


def _apart(page: Page[VersionInfo], progress: Progress) -> Iterable[VersionInfo]:
    """On a terminal, the results once the progress is off it; elsewhere as they come."""
    if not sys.stdout.isatty():
        return page
    infos = list(page)
    progress.close()
    return infos


def _fields(info: VersionInfo, now_seconds: float) -> Mapping[str, object]:
    return {**version_fields(info), "expired": info.has_expired(now_seconds)}


def _row(info: VersionInfo, now_seconds: float) -> Sequence[str]:
    expired = "(expired) " if info.has_expired(now_seconds) else ""
    return (
        printable(info.version),
        short_date(info.created),
        human_bytes(info.content_bytes),
        printable(",".join(info.labels)) or "-",
        expired + printable("  ".join(filter(None, [references_text(info), info.message]))),
    )
