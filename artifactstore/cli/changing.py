"""``alias`` and ``rm``."""

import sys

import click

from artifactstore.cli.command import command, current
from artifactstore.cli.output import human_count, print_json, print_table, printable, say, short_date
from artifactstore.cli.session import note, open_current
from artifactstore.cli.views import alias_fields
from artifactstore.names import Latest, parse_reference
from artifactstore.results import RemoveOptions, RemoveResult
from artifactstore.store import Store


@command("alias")
@click.argument("name")
@click.argument("alias", required=False, metavar="[ALIAS]")
def alias(name: str, alias: str | None) -> None:
    """Show the aliases of a name, or move one to a version.

    `alias models/resnet` shows them; `alias models/resnet:v3 prod` moves prod to version 3.
    """
    with open_current() as store:
        if alias is None:
            _list_aliases(store, name)
            return
        moved = store.set_alias(name, alias)
    if current().json:
        print_json("alias", {"moved": alias_fields(moved)})
    elif not current().quiet:
        say(printable(f"{moved.alias} → {moved.version}"))


def _list_aliases(store: Store, name: str) -> None:
    moves = list(store.aliases(name))
    if current().json:
        print_json("alias", {"name": name, "items": [alias_fields(move) for move in moves]})
        return
    print_table([(printable(m.alias), printable(m.version), short_date(m.moved), printable(m.who)) for m in moves])


@command("rm")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask before removing all versions.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, remove nothing.")
def rm(name: str, yes: bool, dry_run: bool) -> None:
    """Remove a version, or all versions of a name.

    `rm models/resnet:v3` removes version 3; `rm models/resnet` asks, and then removes all.
    Removed versions don't come back. Their space returns with garbage collection.
    """
    reference = parse_reference(name)
    every = reference.version == Latest() and ":" not in name
    with open_current() as store:
        if every and not yes and not dry_run:
            _ask(store, name)
        result = store.remove(name, options=RemoveOptions(all_versions=every, dry_run=dry_run))
    _show_removed(result, dry_run=dry_run)


def is_interactive() -> bool:
    """Whether a question would reach a person."""
    return sys.stdin.isatty()


def _ask(store: Store, name: str) -> None:
    planned = store.remove(name, options=RemoveOptions(all_versions=True, dry_run=True))
    if current().json or not is_interactive():
        raise click.UsageError(
            f"{printable(name)} has {human_count(len(planned.versions), 'version')}: "
            "say --yes to remove them all, or name one (NAME:v3)",
            click.get_current_context(),
        )
    question = f"Remove {human_count(len(planned.versions), 'version')} of {printable(name)} for good?"
    click.confirm(question, abort=True, err=True)


def _show_removed(result: RemoveResult, *, dry_run: bool) -> None:
    if current().json:
        fields = {"dry_run": dry_run, "versions": list(result.versions), "aliases": list(result.aliases)}
        print_json("rm", fields)
        return
    if not current().quiet:
        for version in result.versions:
            say(printable(f"{'would remove' if dry_run else 'removed'} {version}"))
    for name in result.aliases:
        note(f"alias {name} pointed there, and now points nowhere")
    if not dry_run:
        note("the space returns with garbage collection")
