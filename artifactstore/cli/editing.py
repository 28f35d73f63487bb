"""``edit``."""

import click

from artifactstore.cli.assignments import metadata_option
from artifactstore.cli.command import command, current
from artifactstore.cli.output import print_json, printable, say, short_date
from artifactstore.cli.session import open_current
from artifactstore.cli.views import version_fields
from artifactstore.results import VersionInfo
from artifactstore.transaction.edits import VersionEdit


@command("edit")
@click.argument("name", metavar="NAME:VERSION")
@click.option("--label", "labels", multiple=True, metavar="LABEL", help="Put a label on it; repeatable.")
@click.option("--no-label", "no_labels", multiple=True, metavar="LABEL", help="Take a label off; repeatable.")
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="KEY=VALUE",
    callback=metadata_option,
    help="Set metadata: VALUE is JSON where it is JSON, else text; @FILE sets all keys of a JSON file; repeatable.",
)
@click.option("--unset", "keys", multiple=True, metavar="KEY", help="Remove metadata; repeatable.")
@click.option("-m", "--message", help="What this version is, in place of what was said.")
@click.option("--ttl", metavar="TTL", help="Let it expire after 30d, 12h, 90m from now, or never.")
def edit(  # noqa: PLR0913 - one for each option
    name: str,
    labels: tuple[str, ...],
    no_labels: tuple[str, ...],
    values: dict[str, object],
    keys: tuple[str, ...],
    message: str | None,
    ttl: str | None,
) -> None:
    """Change labels, metadata, message or time-to-live of a version.

    Its content never changes. Without a version NAME is the newest one.
    """
    if not (labels or no_labels or values or keys or ttl) and message is None:
        raise click.UsageError("say what to change", click.get_current_context())
    change = VersionEdit(
        message=message,
        add_labels=labels,
        remove_labels=no_labels,
        set_metadata=values,
        unset_metadata=keys,
        ttl=ttl or None,
    )
    with open_current() as store:
        info = store.edit(name, change)
    if current().json:
        print_json("edit", {"version": version_fields(info)})
    elif not current().quiet:
        say(edit_line(info))


def edit_line(info: VersionInfo) -> str:
    """What is noted on a version now, in one line."""
    parts = [
        f"labels {', '.join(info.labels)}" if info.labels else "no labels",
        f"metadata {', '.join(info.metadata)}" if info.metadata else "no metadata",
        f"expires {short_date(info.expires)}" if info.expires else "never expires",
    ]
    return printable(f"{info.version}: {'; '.join(parts)}")
