"""``sync plan`` and ``sync apply``."""

import os
import stat
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Unpack

import click
import msgspec

from artifactstore.cli.command import command, current
from artifactstore.cli.effort import Effort, effort_options, open_with
from artifactstore.cli.output import human_bytes, print_json, printable, say
from artifactstore.cli.session import note, open_current, showing_progress
from artifactstore.cli.sync import DownOptions, down_options, known_job, parse_source, show_download, upload_line
from artifactstore.cli.sync_views import download_fields, upload_fields
from artifactstore.errors import NameNotFound, SyncPlanError
from artifactstore.jobs.listing import read_processes
from artifactstore.jobs.snapshots import list_keys, missing
from artifactstore.jobs.sync_plan import (
    MAX_PLAN_BYTES,
    Direction,
    PlannedMove,
    SyncOptions,
    SyncPlan,
    parse_plan,
    serialize_plan,
)
from artifactstore.jobs.syncing import SyncRequest, apply_sync, plan_sync
from artifactstore.store import Store
from artifactstore.transfer.plan import ConflictStrategy
from artifactstore.transfer.provenance import author

_SHOWN_MOVES = 50
_MISSING_OK = "With --missing-ok the plan only goes up."


class _PlanArguments(DownOptions):
    key: str
    directory: str
    missing_ok: bool
    direction: str
    out: str | None


class _ApplyArguments(Effort):
    plan: str
    message: str


@command("plan")
@click.argument("key")
@click.argument("directory", type=click.Path(), metavar="DIR")
@down_options
@click.option(
    "--direction",
    type=click.Choice([d.value for d in Direction]),
    default=Direction.BOTH.value,
    show_default=True,
    help="What may move: from the job, to the current job, or first down and then up.",
)
@click.option("--missing-ok", is_flag=True, help="Nothing under --job yet is fine: then it only goes up.")
@click.option("--out", type=click.Path(dir_okay=False), metavar="FILE", help="Keep the plan, for `sync apply`.")
def plan(**given: Unpack[_PlanArguments]) -> None:
    """Show what would move, and keep it for `sync apply`.

    Down comes the snapshot of --job, up goes the directory to the current job (without one to that of --job).
    Nothing is written but FILE. The plan is bound to the snapshots and to the content of the directory that it saw.
    """
    source, number = parse_source(given["job"])
    request = SyncRequest(
        key=given["key"],
        directory=given["directory"],
        source_job_id=source,
        target_job_id=known_job() or source,
        snapshot=number,
        direction=Direction(given["direction"]),
        options=SyncOptions(
            strategy=ConflictStrategy(given["strategy"]),
            delete=given["delete"],
            confirm_delete=given["confirm_delete"],
            include=given["include"],
            exclude=given["exclude"],
        ),
    )
    with open_current() as store, showing_progress() as progress:
        planned = partial(plan_sync, store, progress=progress)
        made = _plan(store, request, planned, is_named=given["job"] is not None, missing_ok=given["missing_ok"])
        new = made.target.job_id if made.direction.goes_up and _is_new(store, made) else ""
    if new and not current().json:
        note(f"job {new} is new: the store knows nothing of it yet")
    if given["out"] is not None:
        _write(given["out"], serialize_plan(made))
    if current().json:
        fields = msgspec.to_builtins(made)
        del fields["schema"]
        print_json("sync-plan", fields)
    else:
        _show(made)
        if given["out"] is None:
            note("--out FILE keeps the plan, and `artifactstore sync apply FILE` does what it says")


def _plan(
    store: Store, request: SyncRequest, planned: Callable[[SyncRequest], SyncPlan], *, is_named: bool, missing_ok: bool
) -> SyncPlan:
    """The plan. Where the job that was named has nothing to bring, that is an error, as of `sync down`."""
    source, goes_down = request.source_job_id, request.direction.goes_down
    try:
        made = planned(request)
        if not (is_named and goes_down and made.source.snapshot is None) or missing_ok:
            return made
    except NameNotFound as error:
        if request.snapshot is not None or not goes_down:
            raise
        if not missing_ok or not request.direction.goes_up:
            raise missing(
                store, source, request.key, or_else=_MISSING_OK if request.direction.goes_up else ""
            ) from error
        note(f"job {source} has nothing under the key {request.key} yet: nothing comes down")
        up = replace(request, source_job_id=request.target_job_id, direction=Direction.UP)
        return planned(up)
    raise missing(store, source, request.key, or_else=_MISSING_OK)


def _is_new(store: Store, made: SyncPlan) -> bool:
    """Whether the target is no job yet: no program began it, and nothing is kept for it."""
    job_id = made.target.job_id
    return made.target.snapshot is None and not list_keys(store, job_id) and not read_processes(store.catalog, job_id)


def _show(made: SyncPlan) -> None:
    sides = (
        (f"down from job {made.source.job_id}", made.direction.goes_down, made.down),
        (f"up to job {made.target.job_id}", made.direction.goes_up, made.up),
    )
    for title, goes, moves in sides:
        if not goes:
            continue
        for move in moves[:_SHOWN_MOVES]:
            say(f"{move.action.value:8}  {_move_text(move)}")
        if len(moves) > _SHOWN_MOVES:
            say(f"… and {len(moves) - _SHOWN_MOVES:,} more")
        counts = Counter(move.action.value for move in moves)
        parts = ", ".join(f"{count:,} {action}" for action, count in counts.items()) or "nothing"
        total = sum(move.size_bytes for move in moves)
        say(printable(f"{title}: {parts}{f', {human_bytes(total)}' if total else ''}"))


def _move_text(move: PlannedMove) -> str:
    beside = f": what comes in would be {printable(move.beside)}" if move.beside else ""
    size = f"  {human_bytes(move.size_bytes)}" if move.size_bytes else ""
    return f"{printable(move.path)}{size}{beside}"


def _write(path: str, document: bytes) -> None:
    """Whole or not at all, where the file system can."""
    temporary = f"{path}.{os.getpid()}.part"
    try:
        with open(temporary, "xb") as file:
            file.write(document)
        os.replace(temporary, path)
    except OSError as error:
        if os.path.lexists(temporary) and not isinstance(error, FileExistsError):
            os.unlink(temporary)
        what = f"the plan can't be written: {error.strerror or error}"
        raise SyncPlanError(what, where=path, next_step="Name another FILE.") from error


@command("apply")
@click.argument("plan", type=click.Path(), metavar="PLAN")
@click.option("-m", "--message", default="", help="What the snapshot is that is made, if one is.")
@effort_options
def apply(**given: Unpack[_ApplyArguments]) -> None:
    """Do what a plan says, unless a side has moved since.

    If a job has another snapshot by now, or the directory other content, that is said, and nothing is written.
    """
    wanted = parse_plan(_read(given["plan"]), where=printable(given["plan"]))
    _say_what_is_meant(wanted)
    with open_with(given) as store, showing_progress() as progress:
        done = apply_sync(store, wanted, message=given["message"], progress=progress)
    for notice in done.upload.notices if done.upload is not None else ():
        note(str(notice))
    if current().json:
        fields = {
            "download": download_fields(done.download) if done.download is not None else None,
            "upload": upload_fields(done.upload) if done.upload is not None else None,
        }
        print_json("sync-apply", fields)
    elif not current().quiet:
        if done.download is not None:
            show_download(done.download, wanted.directory)
        if done.upload is not None:
            say(upload_line(done.upload))


def _say_what_is_meant(wanted: SyncPlan) -> None:
    """What of the plan is obeyed, before anything is done: it may come from anywhere."""
    here = author().host
    if wanted.host != here:
        there = wanted.host or "another machine"
        note(f"the plan was made on {there}, and this is {here}: the directory is this one's")
    if current().json or current().quiet:
        return
    down = f", down from job {wanted.source.job_id}" if wanted.direction.goes_down else ""
    up = f", up to job {wanted.target.job_id}" if wanted.direction.goes_up else ""
    say(printable(f"directory {wanted.directory}, key {wanted.key}{down}{up}"))


def _read(path: str) -> bytes:
    try:
        # Not waiting for who writes into a pipe; a device might never end.
        with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SyncPlanError("it is no file, and a plan is one", where=path, next_step="Check the path.")
            return file.read(MAX_PLAN_BYTES + 1)
    except OSError as error:
        what = f"the plan can't be read: {error.strerror or error}"
        raise SyncPlanError(what, where=path, next_step="Check the path.") from error
