"""``mkdir``, ``rmdir`` and ``mv``."""

import sys

import click

from artifactstore.artifacts.folders import FolderRemoval, delete_folder, make_folder
from artifactstore.artifacts.moves import MoveResult, NameMove, move
from artifactstore.cli.command import command, current
from artifactstore.cli.output import human_count, print_json, printable, say
from artifactstore.cli.session import note, open_current
from artifactstore.store import Store


@command("mkdir")
@click.argument("folder")
def mkdir(folder: str) -> None:
    """Make a folder that stays while it is empty.

    With those above it. A folder need not be made: one is there as soon as a name lies in it.
    """
    with open_current() as store:
        is_new = make_folder(store, folder)
    if current().json:
        print_json("mkdir", {"folder": folder.removesuffix("/"), "is_new": is_new})
    elif not current().quiet:
        say(f"{'made' if is_new else 'there already:'} {printable(folder.removesuffix('/'))}/")


@command("rmdir")
@click.argument("folder")
@click.option("--recursive", is_flag=True, help="Also the folders and names in it, with all their versions.")
@click.option("--yes", is_flag=True, help="Don't ask before removing versions.")
@click.option("--force", is_flag=True, help="Also versions that protected aliases point to.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, remove nothing.")
def rmdir(folder: str, recursive: bool, yes: bool, force: bool, dry_run: bool) -> None:
    """Remove an empty folder; with `--recursive`, all that is in it.

    Removed versions don't come back. Their space returns with garbage collection.
    """
    with open_current() as store:
        if recursive and not yes and not dry_run:
            _ask(store, folder, force=force)
        removal = delete_folder(store, folder, recursive=recursive, force=force, dry_run=dry_run)
    _show_removal(removal)


def is_interactive() -> bool:
    """Whether a question would reach a person."""
    return sys.stdin.isatty()


def _ask(store: Store, folder: str, *, force: bool) -> None:
    planned = delete_folder(store, folder, recursive=True, force=force, dry_run=True)
    if not planned.versions:
        return
    count = human_count(len(planned.versions), "version")
    if current().json or not is_interactive():
        raise click.UsageError(
            f"{printable(folder)} holds {count}: say --yes to remove them all", click.get_current_context()
        )
    click.confirm(f"Remove {printable(folder)} with {count} for good?", abort=True, err=True)


def _show_removal(removal: FolderRemoval) -> None:
    if current().json:
        fields = {
            "dry_run": removal.dry_run,
            "folders": list(removal.folders),
            "versions": list(removal.versions),
            "aliases": list(removal.aliases),
        }
        print_json("rmdir", fields)
        return
    if not current().quiet:
        for thing in (*removal.versions, *(f"{folder}/" for folder in removal.folders)):
            say(printable(f"{'would remove' if removal.dry_run else 'removed'} {thing}"))
    for alias in removal.aliases:
        note(f"alias {alias} {'points there' if removal.dry_run else 'pointed there, and now points nowhere'}")
    if removal.versions and not removal.dry_run:
        note("the space returns with garbage collection")


@command("mv")
@click.argument("old")
@click.argument("new")
@click.option("--dry-run", is_flag=True, help="Show what would be moved, move nothing.")
def mv(old: str, new: str, dry_run: bool) -> None:
    """Move a name, or a folder with all in it, to another place.

    All live versions move, with their aliases; no content is read or sent. `OLD/` is always a folder;
    `NEW/` is the folder to move into. Cut off, the same command goes on where it stopped.
    """
    with open_current() as store:
        result = move(store, old, new, dry_run=dry_run)
    if current().json:
        print_json("mv", _move_fields(result))
    else:
        _show_move(result)


def _move_fields(result: MoveResult) -> dict[str, object]:
    return {
        "old": result.old,
        "new": result.new,
        "is_folder": result.is_folder,
        "dry_run": result.dry_run,
        "names": [
            {
                "old": name.old,
                "new": name.new,
                "versions": [{"old": version.old, "new": version.new} for version in name.versions],
                "aliases": list(name.aliases),
                "renumbered": bool(name.renumbered),
            }
            for name in result.names
        ],
    }


def _show_move(result: MoveResult) -> None:
    if not current().quiet:
        slash = "/" if result.is_folder else ""
        for name in result.names:
            say(printable(_name_line(name, dry_run=result.dry_run)))
        if not result.names:
            say(printable(f"{'would move' if result.dry_run else 'moved'} {result.old}{slash} → {result.new}{slash}"))
    for name in result.names:
        changed = [f"{one.old.rpartition(':')[2]} → {one.new.rpartition(':')[2]}" for one in name.renumbered]
        if changed:
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            will = "will have" if result.dry_run else "have"
            note(f"versions of {name.new} {will} other numbers: {', '.join(changed[:3])}{more}")


def _name_line(name: NameMove, *, dry_run: bool) -> str:
    aliases = f", aliases {', '.join(name.aliases)}" if name.aliases else ""
    count = human_count(len(name.versions), "version")
    return f"{'would move' if dry_run else 'moved'} {name.old} → {name.new}: {count}{aliases}"
