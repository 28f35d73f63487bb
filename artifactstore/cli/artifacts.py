"""``artifact create``, ``artifact add`` and ``artifact show``; the table of the group."""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Unpack

import click

from artifactstore.artifacts.artifact import Artifact, create_artifact, load_artifact
from artifactstore.artifacts.objects import ArtifactObject, object_fields, stored_object
from artifactstore.cli.command import command, current
from artifactstore.cli.describing import Description, description_options
from artifactstore.cli.invocation import common_options
from artifactstore.cli.lazy import LazyCommand, LazyGroup
from artifactstore.cli.output import (
    human_bytes,
    json_path,
    print_json,
    print_json_items,
    print_table,
    printable,
    say,
    shown_path,
)
from artifactstore.cli.pushing import push_line
from artifactstore.cli.reading import version_rows
from artifactstore.cli.session import expired_option, note, open_current, showing_progress
from artifactstore.cli.views import push_fields, version_fields
from artifactstore.transfer.progress import Progress
from artifactstore.transfer.push import PushResult

_SHOWN_OBJECTS = 50


def _lazy(module: str, attribute: str, summary: str) -> LazyCommand:
    return LazyCommand(module=f"artifactstore.cli.{module}", attribute=attribute, summary=summary)


COMMANDS = {
    "create": _lazy("artifacts", "create", "Make a version out of files, directories and references."),
    "add": _lazy("artifacts", "add", "Make the next version: what the newest has, and more or less."),
    "show": _lazy("artifacts", "show", "Show a version and its objects."),
    "lineage": _lazy("lineage", "lineage", "Show what a version was made from, and who used it."),
    "verify": _lazy("references", "verify", "Check whether references still point to what they pointed to."),
    "pin": _lazy("references", "pin", "Store what references point to, in a new version."),
    "unpin": _lazy("references", "unpin", "Turn stored files back into the references they came from."),
}

artifact = LazyGroup(
    name="artifact",
    table=COMMANDS,
    help="Build, show, verify and pin artifacts.",
    params=common_options(),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _Parts(Description):
    paths: tuple[str, ...]
    placed: tuple[tuple[str, str], ...]
    references: tuple[str, ...]
    placed_references: tuple[tuple[str, str], ...]
    to: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    digest: bool


class _CreateArguments(_Parts):
    name: str
    make_folder: bool


class _AddArguments(_Parts):
    name: str
    removed: tuple[str, ...]


def _parts_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--digest", is_flag=True, help="Read what references point to once, and keep its digest."),
        click.option("--exclude", multiple=True, metavar="PATTERN", help="Of directories, leave out what matches."),
        click.option("--include", multiple=True, metavar="PATTERN", help="Of directories, take only what matches."),
        click.option(
            "--reference-as",
            "placed_references",
            nargs=2,
            multiple=True,
            metavar="URI OBJECT",
            help="A reference under another object path; repeatable.",
        ),
        click.option("--reference", "references", multiple=True, metavar="URI", help="Content that stays elsewhere."),
        click.option(
            "--add", "placed", nargs=2, multiple=True, metavar="PATH OBJECT", help="A path under another object path."
        ),
        click.option("--to", metavar="FOLDER", help="Where in the artifact PATHs and references go."),
    ):
        function = option(function)
    return function


@command("create")
@click.argument("name")
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
@_parts_options
@click.option("--no-make-folder", "make_folder", flag_value=False, default=True, help="NAME's folder must be there.")
@description_options
def create(**given: Unpack[_CreateArguments]) -> None:
    """Make a version out of files, directories and references.

    Each PATH enters under its own name; --to puts them into a folder of the artifact, --add gives one a path of its
    own: `a/` means into a, under its own name; `.` makes the content of a directory the artifact's.
    """
    folder, _, last = given["name"].rpartition("/")
    with open_current() as store:
        artifact = create_artifact(
            last,
            labels=given["labels"],
            description=given["message"],
            metadata=given["metadata"],
            store=store,
        )
        _upload(artifact, given, folder=folder, make_folder=given["make_folder"])


@command("add")
@click.argument("name")
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
@_parts_options
@click.option("--remove", "removed", multiple=True, metavar="OBJECT", help="Leave this object or directory out.")
@description_options
def add(**given: Unpack[_AddArguments]) -> None:
    """Make the next version: what the newest has, and more or less.

    NAME may say which version to go on from: name:v3, name:alias. What it has already is neither read nor sent.
    A PATH replaces what the version has at its place. Labels and metadata are kept, and added to.
    """
    with open_current() as store:
        artifact = load_artifact(given["name"], store=store)
        artifact.labels = [*dict.fromkeys([*artifact.labels, *given["labels"]])]
        artifact.metadata |= given["metadata"]
        artifact.description = given["message"]
        for path in given["removed"]:
            artifact.remove(path)
        _upload(artifact, given)


def _upload(artifact: Artifact, given: _Parts, *, folder: str = "", make_folder: bool = True) -> None:
    _add_paths(artifact, given)
    if given["references"] or given["placed_references"]:
        with showing_progress(noun="reference") as progress:
            _add_references(artifact, given, progress)
    with showing_progress() as progress:
        done = artifact.upload(
            folder,
            make_folder,
            given["strategy"],
            aliases=given["aliases"],
            ttl=given["ttl"],
            made_from=given["made_from"],
            force=given["force"],
            progress=progress,
        )
    artifact.close()
    show_upload(done)


def show_upload(done: PushResult) -> None:
    """What became of an artifact that was uploaded."""
    for notice in done.notices:
        note(str(notice))
    if current().json:
        print_json("artifact", push_fields(done))
    elif not current().quiet:
        say(push_line(done))


def _folder(given: _Parts) -> str | None:
    return f"{given['to'].rstrip('/')}/" if given["to"] else None


def _add_paths(artifact: Artifact, given: _Parts) -> None:
    for path, obj_path in [*((path, _folder(given)) for path in given["paths"]), *given["placed"]]:
        _add_path(artifact, path, obj_path, include=given["include"], exclude=given["exclude"])


def _add_references(artifact: Artifact, given: _Parts, progress: Progress) -> None:
    for uri, obj_path in [*((uri, _folder(given)) for uri in given["references"]), *given["placed_references"]]:
        artifact.add_reference(uri, obj_path, digest=given["digest"], progress=progress)


def _add_path(
    artifact: Artifact, path: str, obj_path: str | None, *, include: Sequence[str], exclude: Sequence[str]
) -> None:
    if os.path.isdir(path):
        artifact.add_dir(path, obj_path, include=include, exclude=exclude)
    else:
        artifact.add_file(path, obj_path)


@command("show")
@click.argument("name")
@click.option("--all", "everything", is_flag=True, help=f"All objects, not just the first {_SHOWN_OBJECTS}.")
@expired_option
def show(name: str, everything: bool, allow_expired: bool) -> None:
    """Show a version and its objects."""
    with open_current() as store:
        info = store.show(name)
        objects = (stored_object(entry) for entry in store.files(info.version, allow_expired=allow_expired))
        if current().json:
            print_json_items("artifact-show", {"version": version_fields(info)}, map(_object_fields, objects))
            return
        print_table([(label, printable(value)) for label, value in version_rows(info) if value])
        _show_objects(objects, limit=None if everything else _SHOWN_OBJECTS)


def _object_fields(item: ArtifactObject) -> dict[str, object]:
    return {**object_fields(item), **json_path(os.fsencode(item.path))}


def _show_objects(objects: Iterator[ArtifactObject], *, limit: int | None) -> None:
    click.echo()
    print_table((_object_row(item) for item in islice(objects, limit)), right=frozenset({1}))
    if next(objects, None) is not None:
        note("there are more objects: --all shows them")


def _object_row(item: ArtifactObject) -> tuple[str, ...]:
    size = "" if item.size_bytes is None else human_bytes(item.size_bytes)
    target = f" => {printable(item.uri)}" if item.uri else ""
    return (item.kind, size, f"{shown_path(os.fsencode(item.path))}{target}")
