"""``show``, ``cat`` and ``du``."""

import json
import sys

import click

from artifactstore.cli.command import command, current
from artifactstore.cli.output import human_bytes, human_count, print_json, print_table, printable, short_date
from artifactstore.cli.session import expired_option, open_current
from artifactstore.cli.views import usage_fields, version_fields
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.errors import NameNotFound
from artifactstore.results import Usage, VersionInfo

_READ_BYTES = 1 << 20


@command("show")
@click.argument("name")
def show(name: str) -> None:
    """Show everything known about one version."""
    with open_current() as store:
        info = store.show(name)
    if current().json:
        print_json("show", {"version": version_fields(info)})
    else:
        print_table([(label, printable(value)) for label, value in version_rows(info) if value])


def version_rows(info: VersionInfo) -> list[tuple[str, str]]:
    git = info.git
    return [
        ("version", info.version),
        ("content", info.content_digest),
        ("created", short_date(info.created)),
        ("by", f"{info.who}@{info.host}".strip("@")),
        ("message", info.message),
        ("git commit", f"{git.commit} {f'({git.branch})' if git.branch else ''}".strip() if git else ""),
        ("labels", ", ".join(info.labels)),
        ("aliases", ", ".join(info.aliases)),
        ("expired" if info.has_expired(SYSTEM_CLOCK.now()) else "expires", short_date(info.expires)),
        ("edited", f"{_times(info.edits)}, last {short_date(info.edited)} by {info.edited_by}" if info.edits else ""),
        ("made by", info.made_by),
        ("made from", ", ".join(pin.version for pin in info.made_from)),
        ("files", f"{info.files:,}"),
        ("directories", f"{info.directories:,} empty" if info.directories else ""),
        ("links", f"{info.links:,}" if info.links else ""),
        ("references", f"{info.references:,}" if info.references else ""),
        ("size", f"{human_bytes(info.content_bytes)} ({info.content_bytes:,} bytes)"),
        ("stored", human_bytes(info.stored_bytes)),
        ("new", human_bytes(info.new_bytes)),
        *((f"metadata {key}", _shown(value)) for key, value in info.metadata.items()),
    ]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _shown(value: object) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@command("cat")
@click.argument("name", metavar="NAME:VERSION/PATH")
@expired_option
def cat(name: str, allow_expired: bool) -> None:
    """Write one file of a version to stdout.

    With --json only errors are JSON.
    """
    if ":" not in name and "@" not in name:
        raise click.UsageError(
            f"{printable(name)} says no version and path: NAME:latest/PATH is the newest", click.get_current_context()
        )
    with open_current() as store, store.open(name, allow_expired=allow_expired) as source:
        while data := source.read(_READ_BYTES):
            sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@command("du")
@click.argument("name", required=False)
def du(name: str | None) -> None:
    """Show how much a version, a name or the store holds.

    \b
    content   what the files of all versions counted hold
    stored    what that takes after deduplication and compression
    packs     the objects that it lies in, whole
    """
    with open_current() as store:
        usage = store.usage(name)
    if name and not usage.versions:
        raise NameNotFound(f"no name {name}")
    if current().json:
        print_json("du", {"of": name, **usage_fields(usage)})
    else:
        print_table(_usage_rows(usage))


def _usage_rows(usage: Usage) -> list[tuple[str, str]]:
    saved = f" ({usage.content_bytes / usage.stored_bytes:.1f} times less)" if usage.stored_bytes else ""
    small = f", {usage.small_pack_count:,} of them under 4 MiB" if usage.small_pack_count else ""
    return [
        ("versions", f"{usage.versions:,}"),
        ("files", f"{usage.files:,}"),
        ("content", human_bytes(usage.content_bytes)),
        ("stored", human_bytes(usage.stored_bytes) + saved),
        ("packs", f"{human_bytes(usage.pack_bytes)} in {human_count(usage.pack_count, 'pack')}{small}"),
        ("fragmentation", f"{usage.fragmentation:.0%} of the packs is content of none of these versions"),
    ]
