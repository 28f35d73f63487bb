"""The plan of a sync: what would move between a directory and the snapshots of jobs, and the states it was made for.

A JSON document, so that it can be looked at, kept, and applied later if nothing has moved since:

    schema      artifactstore/sync-plan/1
    created, host, store_id, key
    directory   absolute path
    direction   down, up or both
    source      job, the number asked for or null, and the snapshot seen: number, tx, content; null for none
    target      the same of the job that is synced for: uploads go there
    options     strategy, delete, confirm_delete, include, exclude
    local       the directory as it was seen: digest, files, content_bytes, level, parts (path, digest)
    down, up    what would move: action, path, kind, size_bytes

It is bound to what it saw by digests, and its size is that of the list of changes: `local.parts` has at most a
thousand rows, one for each path, or each directory, or each name at the top, whichever are few enough.
Of it is obeyed what was asked: the key, the directory, the jobs, the direction and the options. What would move is not:
applying makes that again from what was asked, and compares. So the paths in `down` and `up` are only ever compared with
others; they are checked all the same. Who applies plans of others has to look at the directory first.
A path is text; what is not UTF-8 or can't be printed, and
`%`, is percent-encoded.
This module turns text into values and back, and compares. It does no I/O.
"""

import enum
import posixpath
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from artifactstore.digest import PATH_CONTEXT, digest_of
from artifactstore.errors import PlanOutdated, SyncPlanError, UnsupportedFormat
from artifactstore.manifest.model import Entry
from artifactstore.manifest.paths import unsafe_reason
from artifactstore.names import encode_job_text
from artifactstore.transfer.plan import ConflictStrategy

SCHEMA: Final = "artifactstore/sync-plan/1"
MAX_PLAN_BYTES: Final = 256 << 20
MAX_PARTS: Final = 1000
_SCHEMA_START: Final = "artifactstore/sync-plan/"
_DIGEST_DIGITS: Final = frozenset("0123456789abcdef")


class Direction(enum.Enum):
    """Which way content may move."""

    DOWN = "down"
    UP = "up"
    BOTH = "both"  # first down, then up

    @property
    def goes_down(self) -> bool:
        return self is not Direction.UP

    @property
    def goes_up(self) -> bool:
        return self is not Direction.DOWN


class Level(enum.Enum):
    """What a part of a directory is, the finest first."""

    PATHS = "paths"
    DIRECTORIES = "directories"
    TOP = "top"
    WHOLE = "whole"


class Action(enum.Enum):
    """What would become of a path. Of the directory: write, remove, keep, conflict. Of the snapshot: the others."""

    WRITE = "write"
    REMOVE = "remove"
    KEEP = "keep"
    CONFLICT = "conflict"
    ADD = "add"
    MODIFY = "modify"


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document, or a part of one. Nothing else may stand in it."""


class PlannedMove(_Part, frozen=True, kw_only=True):
    """One path that moves, or that stays although the other side says otherwise.

    Attributes:
        path: As `path_text` writes it. beside: where what comes in would land instead; empty for nowhere.
        size_bytes: Of a file that moves.
    """

    action: Action
    path: str
    size_bytes: int = 0
    beside: str = ""


class SeenSnapshot(_Part, frozen=True, kw_only=True):
    """A snapshot as it was seen."""

    number: int
    tx: str
    content: str


class SeenJob(_Part, frozen=True, kw_only=True):
    """What a job has under the key.

    Attributes:
        asked: Number of the snapshot that was asked for; None for the newest.
        snapshot: None where there was none.
    """

    job_id: str
    asked: int | None = None
    snapshot: SeenSnapshot | None = None


class SeenPart(_Part, frozen=True, kw_only=True):
    """A part of the directory as it was seen."""

    path: str
    digest: str


class SeenDirectory(_Part, frozen=True, kw_only=True):
    """The directory as it was seen, as far as the patterns take it. Of nothing where it is not there."""

    digest: str
    files: int
    content_bytes: int
    level: Level
    parts: tuple[SeenPart, ...] = ()


class SyncOptions(_Part, frozen=True, kw_only=True):
    """How to sync: as of `PullOptions`."""

    strategy: ConflictStrategy = ConflictStrategy.ERROR
    delete: bool = False
    confirm_delete: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class SyncPlan(_Part, frozen=True, kw_only=True):
    """What would move, and the states for which that holds. See the module.

    Attributes:
        directory: As `path_text` writes it.
        source: Where content comes from. target: where it goes to. They may be one.
    """

    schema: str = SCHEMA
    created: str
    host: str
    store_id: str
    key: str
    directory: str
    direction: Direction
    source: SeenJob
    target: SeenJob
    options: SyncOptions
    local: SeenDirectory
    down: tuple[PlannedMove, ...] = ()
    up: tuple[PlannedMove, ...] = ()


_DECODER: Final = msgspec.json.Decoder(SyncPlan)


class _Schema(msgspec.Struct, frozen=True, kw_only=True):
    schema: str


# -- paths -------------------------------------------------------------------------------------------


def path_text(path: bytes) -> str:
    """A path as it stands in a plan."""
    return "".join(
        character if character.isprintable() and character != "%" else _encoded(character)
        for character in path.decode("utf-8", "surrogateescape")
    )


def parse_path(text: str) -> bytes:
    """Read a path of a plan.

    Raises:
        ValueError: Not as `path_text` writes it.
    """
    path = unquote_to_bytes(text)
    if path_text(path) != text:
        raise ValueError(f"{text[:200]!r} is not a path as plans have it")
    return path


def _encoded(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))


# -- what was seen -----------------------------------------------------------------------------------


def see_directory(entries: Sequence[Entry], *, level: Level | None = None) -> SeenDirectory:
    """A directory, as it is bound to a plan.

    Args:
        entries: All that is in it, in order.
        level: What its parts are; by default the finest of which there are few enough.
    """
    chosen = level or next((one for one in Level if len(_keys(entries, one)) <= MAX_PARTS), Level.WHOLE)
    grouped: dict[bytes, list[Entry]] = {}
    for entry in entries:
        grouped.setdefault(_KEY_OF[chosen](entry.path), []).append(entry)
    return SeenDirectory(
        digest=_digest(entries),
        files=sum(entry.digest != b"" for entry in entries),
        content_bytes=sum(entry.size for entry in entries),
        level=chosen,
        parts=tuple(SeenPart(path=path_text(path), digest=_digest(some)[:16]) for path, some in grouped.items()),
    )


def _keys(entries: Iterable[Entry], level: Level) -> set[bytes]:
    return {_KEY_OF[level](entry.path) for entry in entries}


_KEY_OF: Final[dict[Level, Callable[[bytes], bytes]]] = {
    Level.PATHS: lambda path: path,
    Level.DIRECTORIES: lambda path: path.rpartition(b"/")[0],
    Level.TOP: lambda path: path.partition(b"/")[0],
    Level.WHOLE: lambda path: b"",
}


def _digest(entries: Iterable[Entry]) -> str:
    rows = [(e.path, int(e.kind), e.size, e.executable, e.digest, e.target) for e in entries]
    return digest_of(PATH_CONTEXT, msgspec.msgpack.encode(rows)).hex()


# -- the document ------------------------------------------------------------------------------------


def serialize_plan(plan: SyncPlan) -> bytes:
    """The document, a field to a line."""
    return msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n"


def parse_plan(document: bytes, *, where: str) -> SyncPlan:
    """Read a plan, and check all that it says.

    Args:
        where: The file, for messages.

    Raises:
        UnsupportedFormat: A newer version of it.
        SyncPlanError: It is not a plan, or says what no plan says; names the field.
    """
    if len(document) > MAX_PLAN_BYTES:
        raise SyncPlanError(f"it has {len(document):,} bytes, and plans have at most {MAX_PLAN_BYTES:,}", where=where)
    try:
        schema = msgspec.json.decode(document, type=_Schema).schema
        if schema != SCHEMA and schema.startswith(_SCHEMA_START):
            raise UnsupportedFormat(f"{schema[:80]!r}, and this reads {SCHEMA!r}", where=where)
        if schema != SCHEMA:
            raise SyncPlanError(f"it is no plan of a sync, but {schema[:80]!r}", where=where)
        plan = _DECODER.decode(document)
        _check(plan)
    except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError) as error:
        raise SyncPlanError(f"it can't be read as a plan of a sync: {str(error)[:300]}", where=where) from error
    return plan


def _check(plan: SyncPlan) -> None:
    directory = parse_path(plan.directory)
    if not directory.startswith(b"/") or posixpath.normpath(directory) != directory:
        raise ValueError("directory: no absolute path, or one with `.`, `..` or an empty part in it")
    if b"\0" in directory:
        raise ValueError("directory: a zero byte in it")
    encode_job_text(plan.key)
    _check_job(plan.source, "source")
    _check_job(plan.target, "target")
    _check_digest(plan.local.digest, "local.digest", digits=64)
    for part in plan.local.parts:
        _check_digest(part.digest, "local.parts", digits=16)
        parse_path(part.path)
    for field, moves in (("down", plan.down), ("up", plan.up)):
        for number, move in enumerate(moves):
            _check_move(move, f"{field}[{number}]")


def _check_job(job: SeenJob, field: str) -> None:
    encode_job_text(job.job_id)
    seen = job.snapshot
    if (job.asked is not None and job.asked < 1) or (seen is not None and seen.number < 1):
        raise ValueError(f"{field}: snapshots count from 1")
    if job.asked is not None and (seen is None or seen.number != job.asked):
        raise ValueError(f"{field}: another snapshot than was asked for")
    if seen is not None:
        _check_digest(seen.content, f"{field}.snapshot.content", digits=64)


def _check_digest(text: str, field: str, *, digits: int) -> None:
    if len(text) != digits or not set(text) <= _DIGEST_DIGITS:
        raise ValueError(f"{field}: not {digits} lower-case hexadecimal digits")


def _check_move(move: PlannedMove, at: str) -> None:
    if move.size_bytes < 0:
        raise ValueError(f"{at}.size_bytes: below zero")
    for text in filter(None, (move.path, move.beside)) if move.path else ("",):
        if reason := unsafe_reason(parse_path(text)):
            raise ValueError(f"{at}.path: {text[:200]!r} {reason}")


# -- whether it still holds ----------------------------------------------------------------------------


def check_still_holds(plan: SyncPlan, now: SyncPlan) -> None:
    """Compare a plan with what it would be now. ``now.local`` has parts of the same level.

    Raises:
        PlanOutdated: A side moved; says which, and where.
    """
    for job, other, side, counts in (
        (plan.source, now.source, "source", plan.direction.goes_down),
        (plan.target, now.target, "target", plan.direction.goes_up),
    ):
        if counts and job != other:
            what = f"job {job.job_id} had {_named(plan.key, job)}, and has {_named(now.key, other)} now"
            raise PlanOutdated(what, side=side)
    if plan.local.digest != now.local.digest:
        raise _directory_moved(plan, now)
    if (plan.down, plan.up, plan.options) != (now.down, now.up, now.options):
        moved = {move.path for move in set(plan.down) ^ set(now.down) | set(plan.up) ^ set(now.up)}
        what = f"what would be done in {plan.directory} now is not what the plan says"
        raise PlanOutdated(what, side="plan", paths=[parse_path(path) for path in sorted(moved)])


def _named(key: str, job: SeenJob) -> str:
    seen = job.snapshot
    return f"{key}@{seen.number} ({seen.content[:12]})" if seen is not None else f"no snapshot of {key}"


def _directory_moved(plan: SyncPlan, now: SyncPlan) -> PlanOutdated:
    before = {part.path: part.digest for part in plan.local.parts}
    after = {part.path: part.digest for part in now.local.parts}
    moved = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    what = f"the directory {plan.directory} has changed"
    if plan.local.files != now.local.files:
        what += f": {plan.local.files:,} files then, {now.local.files:,} now"
    return PlanOutdated(what, side="directory", paths=[parse_path(path) or b"." for path in moved])
