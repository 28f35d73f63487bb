"""``artifact verify``, ``artifact pin`` and ``artifact unpin``."""

from collections import Counter

import click

from artifactstore.artifacts.pinning import pin as pin_references
from artifactstore.artifacts.pinning import unpin as unpin_files
from artifactstore.artifacts.pinning import verify_references
from artifactstore.artifacts.references import Drift, DriftState
from artifactstore.cli.artifacts import show_upload
from artifactstore.cli.command import command, current
from artifactstore.cli.failures import ExitCode
from artifactstore.cli.output import (
    human_count,
    json_path,
    json_text,
    print_json,
    print_table,
    printable,
    say,
    shown_path,
)
from artifactstore.cli.session import open_current, showing_progress


@command("verify")
@click.argument("name")
@click.argument("paths", nargs=-1, metavar="[OBJECT]...")
@click.option("--content", is_flag=True, help="Read what has a digest recorded: only that proves its content.")
def verify(name: str, paths: tuple[str, ...], content: bool) -> None:
    """Check whether references still point to what they pointed to.

    Exit code 5 where something drifted or is gone, 6 where something can't be looked at and the rest is the same.
    """
    with open_current() as store, showing_progress(noun="reference") as progress:
        drifts = verify_references(store, name, paths, content=content, progress=progress)
    if current().json:
        print_json("artifact-verify", {"references": [_fields(drift) for drift in drifts]})
    else:
        _show(drifts)
    states = {drift.state for drift in drifts}
    if states & {DriftState.CHANGED, DriftState.GONE}:
        raise click.exceptions.Exit(ExitCode.CORRUPT)
    if states - {DriftState.SAME}:
        raise click.exceptions.Exit(ExitCode.STORAGE)


def _show(drifts: list[Drift]) -> None:
    print_table(_row(drift) for drift in drifts)
    if not current().quiet:
        counts = Counter(drift.state.value for drift in drifts)
        parts = ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()))
        say(f"{human_count(len(drifts), 'reference')}: {parts}" if drifts else "no references")


def _row(drift: Drift) -> tuple[str, ...]:
    changes = "; ".join(f"{change.field}: {change.old} → {change.new}" for change in drift.changes) or drift.reason
    weak = " (weak: only a version id, or a digest with --content, proves it)" if drift.is_weak else ""
    return (drift.state.value, shown_path(drift.path), printable(drift.uri), printable(changes) + weak)


def _fields(drift: Drift) -> dict[str, object]:
    return {
        **json_path(drift.path),
        "uri": json_text(drift.uri),
        "state": drift.state.value,
        "proof": drift.proof.value,
        "weak": drift.is_weak,
        "changes": [{"field": change.field, "old": change.old, "new": change.new} for change in drift.changes],
        "reason": json_text(drift.reason),
    }


@command("pin")
@click.argument("name")
@click.argument("paths", nargs=-1, metavar="[OBJECT]...")
def pin(name: str, paths: tuple[str, ...]) -> None:
    """Store what references point to, in a new version."""
    with open_current() as store, showing_progress(noun="reference") as progress:
        done = pin_references(store, name, paths, progress=progress)
    show_upload(done)


@command("unpin")
@click.argument("name")
@click.argument("paths", nargs=-1, metavar="[OBJECT]...")
@click.option("--uri", help="Where the one OBJECT lies, instead of what an older version says.")
def unpin(name: str, paths: tuple[str, ...], uri: str | None) -> None:
    """Turn stored files back into the references they came from.

    What a reference gives now must be what is stored: both are read and compared.
    """
    if uri is not None and len(paths) != 1:
        raise click.UsageError("--uri goes with exactly one OBJECT", click.get_current_context())
    with open_current() as store, showing_progress(noun="reference") as progress:
        done = unpin_files(store, name, paths, uri=uri, progress=progress)
    show_upload(done)
