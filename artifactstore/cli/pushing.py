"""``push``."""

from typing import Unpack

import click

from artifactstore.cli.command import command, current
from artifactstore.cli.describing import Description, description_options
from artifactstore.cli.effort import Effort, effort_options, open_with
from artifactstore.cli.output import human_bytes, human_count, print_json, printable, say
from artifactstore.cli.session import (
    note,
    settings,
    showing_progress,
)
from artifactstore.cli.views import push_fields
from artifactstore.codec import Compression
from artifactstore.config import COMPRESSIONS
from artifactstore.results import VersionInfo
from artifactstore.transaction.upload import Strategy
from artifactstore.transfer.context import Reuse
from artifactstore.transfer.found import FollowLinks, OnError
from artifactstore.transfer.push import PushOptions, PushResult


class _PushArguments(Effort, Description):
    paths: tuple[str, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    follow_symlinks: bool
    one_file_system: bool
    compression: str | None
    checksum: bool
    no_reuse: bool
    on_error: str
    dry_run: bool


@command("push")
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="PATH... NAME")
@description_options
@click.option("--include", multiple=True, metavar="PATTERN", help="Take only what matches (gitignore rules).")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out what matches (gitignore rules).")
@click.option("--follow-symlinks", is_flag=True, help="Store what links point to, not the links.")
@click.option("--one-file-system", is_flag=True, help="Leave out what is mounted inside the tree.")
@click.option("--compression", type=click.Choice(COMPRESSIONS), help="auto: where it saves 5 % or more.")
@click.option("--checksum", is_flag=True, help="Read every file, even if it looks unchanged.")
@click.option("--no-reuse", is_flag=True, help="Send everything again: the way out when stored data is damaged.")
@click.option(
    "--on-error",
    type=click.Choice([o.value for o in OnError]),
    default=OnError.FAIL.value,
    show_default=True,
    help="What to do about files that can't be read.",
)
@click.option("--dry-run", is_flag=True, help="Read and compare, write nothing.")
@effort_options
def push(**given: Unpack[_PushArguments]) -> None:
    """Make a new version of a name out of a directory.

    The content of one directory becomes the root of the version. Several paths, or a file, enter under
    their own names. The last argument is the name. Unchanged content makes no new version.
    """
    if len(given["paths"]) < 2:
        raise click.UsageError("push needs a path and then a name", click.get_current_context())
    *sources, name = given["paths"]
    options = _push_options(given)
    with open_with(given) as store, showing_progress() as progress:
        result = store.push(sources, name, options=options, progress=progress)
    for notice in result.notices:
        note(str(notice))
    if result.action in ("committed", "replaced") and not (result.files or result.notices):
        note(f"no file in {result.version}")
    if current().json:
        print_json("push", push_fields(result))
    elif not current().quiet:
        say(push_line(result))


def _push_options(given: _PushArguments) -> PushOptions:
    return PushOptions(
        strategy=Strategy(given["strategy"]),
        message=given["message"],
        aliases=given["aliases"],
        force=given["force"],
        labels=given["labels"],
        metadata=given["metadata"],
        ttl_seconds=given["ttl"],
        made_from=given["made_from"],
        include=given["include"],
        exclude=given["exclude"],
        follow_links=FollowLinks.ALWAYS if given["follow_symlinks"] else FollowLinks.NEVER,
        one_file_system=given["one_file_system"],
        compression=Compression(given["compression"] or settings().compression),
        checksum=given["checksum"],
        reuse=Reuse.NOTHING if given["no_reuse"] else Reuse.ALL,
        on_error=OnError(given["on_error"]),
        dry_run=given["dry_run"],
    )


def content_text(counted: PushResult | VersionInfo) -> str:
    """What a version holds, in a few words."""
    references = f", {human_count(counted.references, 'reference')}" if counted.references else ""
    return f"{human_count(counted.files, 'file')}, {human_bytes(counted.content_bytes)}{references}"


def push_line(result: PushResult) -> str:
    """What a push did, in one line."""
    content = content_text(result)
    moved = f"{human_bytes(result.new_bytes)} new, {human_bytes(result.sent_bytes)} sent"
    packs = f", {human_count(result.pack_count, 'pack')}" if result.pack_count else ""
    what = {
        "committed": f"{result.version}: {content}; {moved}{packs}",
        "replaced": f"{result.version}: {content}; {moved}{packs}; {len(result.replaced):,} replaced",
        "unchanged": f"{result.version}: unchanged, no new version ({content}){_noted(result)}",
        "skipped": f"{result.version} exists: skipped, no new version",
        "planned": f"{result.name}: {content}; {moved}. Dry run: nothing was written",
    }[result.action]
    aliases = f"; alias {', '.join(result.aliases)}" if result.aliases else ""
    return printable(what + aliases)


def _noted(result: PushResult) -> str:
    return "; its labels, metadata or time-to-live are changed" if result.edited else ""
