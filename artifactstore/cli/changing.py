"""``alias`` and ``rm``."""

import sys
from collections.abc import Mapping, Sequence

import click

from artifactstore.cli.command import command, current
from artifactstore.cli.output import human_count, print_json, print_table, printable, say, short_date
from artifactstore.cli.session import note, open_current
from artifactstore.cli.views import alias_fields
from artifactstore.names import Latest, parse_reference
from artifactstore.results import AliasInfo, RemoveOptions, RemoveResult
from artifactstore.store import Store


@command("alias")
@click.argument("name")
@click.argument("alias", required=False, metavar="[ALIAS]")
@click.option("--history", is_flag=True, help="Show all moves of the alias, newest first.")
@click.option("--protect", is_flag=True, help="Protect it: it moves on, or goes, only with --force.")
@click.option("--unprotect", is_flag=True, help="Lift its protection.")
@click.option("--delete", is_flag=True, help="Take it away; the version stays.")
@click.option("--force", is_flag=True, help="Move or delete it although it is protected.")
def alias(name: str, alias: str | None, force: bool, **wanted: bool) -> None:
    """Show the aliases of a name, move, protect or delete one.

    `alias models/resnet` shows them; `alias models/resnet:v3 prod` moves prod to version 3. With --protect and
    --unprotect a NAME without version leaves the alias where it points.
    """
    action = _one_of(wanted, alias, name)
    with open_current() as store:
        if alias is None:
            moves = list(store.aliases(name))
            if not moves:
                store.show(name)  # a name that is not there is an error
            _show_aliases(moves, {"name": name})
        elif action == "history":
            _show_history(list(store.alias_history(name, alias)), {"name": name, "alias": alias})
        else:
            _show_move(_change_alias(store, name, alias, action, force=force))


def _one_of(wanted: Mapping[str, bool], alias: str | None, name: str) -> str:
    """The one thing to do, or nothing: to move."""
    asked = [option for option, is_asked in wanted.items() if is_asked]
    problem = ""
    if len(asked) > 1:
        problem = f"--{asked[0]} and --{asked[1]} are two things"
    elif asked and alias is None:
        problem = f"--{asked[0]} needs an alias: NAME ALIAS"
    elif asked and asked[0] in ("history", "delete") and not _is_bare(name):
        problem = f"--{asked[0]} is about an alias, not about a version: give the name alone"
    if problem:
        raise click.UsageError(problem, click.get_current_context())
    return asked[0] if asked else ""


def _is_bare(name: str) -> bool:
    return ":" not in name and "@" not in name


def _change_alias(store: Store, name: str, alias: str, action: str, *, force: bool) -> AliasInfo:
    if action == "delete":
        return store.delete_alias(name, alias, force=force)
    if not action or not _is_bare(name):
        protect = {"protect": True, "unprotect": False}.get(action)
        return store.set_alias(name, alias, protect=protect, force=force)
    return store.protect_alias(name, alias) if action == "protect" else store.unprotect_alias(name, alias)


def _show_move(moved: AliasInfo) -> None:
    if current().json:
        print_json("alias", {"moved": alias_fields(moved)})
    elif not current().quiet:
        where = f"→ {moved.version}" if moved.version else "is deleted"
        say(printable(f"{moved.alias} {where}{' (protected)' if moved.protected else ''}"))


def _show_aliases(moves: Sequence[AliasInfo], fields: Mapping[str, object]) -> None:
    if current().json:
        print_json("alias", {**fields, "items": [alias_fields(move) for move in moves]})
        return
    print_table(
        [
            (
                printable(move.alias),
                printable(move.version),
                short_date(move.moved),
                printable(move.who),
                "protected" if move.protected else "",
            )
            for move in moves
        ]
    )


def _show_history(moves: Sequence[AliasInfo], fields: Mapping[str, object]) -> None:
    if current().json:
        _show_aliases(moves, fields)
        return
    print_table(
        [
            (
                str(move.number),
                printable(move.version) or "deleted",
                short_date(move.moved),
                printable(f"{move.who}@{move.host}".strip("@")),
                "protected" if move.protected else "",
            )
            for move in moves
        ],
        right=frozenset({0}),
    )


@command("rm")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask before removing all versions.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, remove nothing.")
@click.option("--force", is_flag=True, help="Remove it although a protected alias points to it.")
def rm(name: str, yes: bool, dry_run: bool, force: bool) -> None:
    """Remove a version, or all versions of a name.

    `rm models/resnet:v3` removes version 3; `rm models/resnet` asks, and then removes all.
    Removed versions don't come back. Their space returns with garbage collection.
    """
    reference = parse_reference(name)
    every = reference.version == Latest() and ":" not in name
    with open_current() as store:
        if every and not yes and not dry_run:
            _ask(store, name, force=force)
        result = store.remove(name, options=RemoveOptions(all_versions=every, dry_run=dry_run, force=force))
    _show_removed(result, dry_run=dry_run)


def is_interactive() -> bool:
    """Whether a question would reach a person."""
    return sys.stdin.isatty()


def _ask(store: Store, name: str, *, force: bool) -> None:
    planned = store.remove(name, options=RemoveOptions(all_versions=True, dry_run=True, force=force))
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
