"""``push`` and ``pull``."""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict, Unpack

import click

from artifactstore.artifacts.download import pull_with_references
from artifactstore.artifacts.locking import LOCK_FILE, pull_lock
from artifactstore.cli.command import command, current
from artifactstore.cli.describing import Description, description_options
from artifactstore.cli.output import human_bytes, human_count, json_text, print_json, printable, say, shown_path
from artifactstore.cli.session import (
    expired_option,
    memory_option,
    note,
    open_current,
    settings,
    showing_progress,
    size_option,
)
from artifactstore.cli.views import pull_fields, push_fields
from artifactstore.codec import Compression
from artifactstore.config import COMPRESSIONS
from artifactstore.results import VersionInfo
from artifactstore.store import Store
from artifactstore.transaction.upload import Strategy
from artifactstore.transfer.context import Reuse
from artifactstore.transfer.found import FollowLinks, OnError
from artifactstore.transfer.plan import ConflictStrategy, PullOptions
from artifactstore.transfer.pull import PullResult
from artifactstore.transfer.push import PushOptions, PushResult

_SHOWN_PATHS = 20


class Effort(TypedDict):
    jobs: int | None
    limit_rate: int | None
    max_memory: int | None


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


def effort_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how hard a transfer may try."""
    for option in (
        click.option("--max-memory", callback=memory_option, metavar="SIZE", help="Budget for buffers, such as 300M."),
        click.option("--limit-rate", callback=size_option, metavar="SIZE", help="Bytes a second at most, such as 10M."),
        click.option("-j", "--jobs", type=click.IntRange(1, 256), metavar="N", help="Transfers at a time."),
    ):
        function = option(function)
    return function


def open_with(given: Effort) -> Store:
    return open_current(jobs=given["jobs"], limit_rate_bytes=given["limit_rate"], max_memory_bytes=given["max_memory"])


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


def show_paths(what: str, paths: Sequence[bytes]) -> None:
    for path in paths[:_SHOWN_PATHS]:
        say(f"{what:8}  {shown_path(path)}")
    if len(paths) > _SHOWN_PATHS:
        say(f"{what:8}  … and {len(paths) - _SHOWN_PATHS:,} more")
