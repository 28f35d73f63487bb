"""A pull that brings the content of references, too.

    check     conflicts of files and of references together, and whether the references still hold
    pull      what the store has
    fetch     what references point to: each file whole and checked, or not at all

References go by the one rule of every pull (docs/download.md): for it, a reference is a file whose content is known by
the digest that was recorded. One without a digest is read once to be compared, where a file stands in its place.
"""

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import blake3
import msgspec

from artifactstore.artifacts.reference_rules import ReferenceRules, rules_of
from artifactstore.artifacts.references import Origins, check_unchanged, fetch
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.digest import PATH_CONTEXT, REFERENCE_CONTEXT, Buffer, digest_of
from artifactstore.errors import ReferenceChanged
from artifactstore.manifest.model import Entry, EntryKind, ReferenceTarget
from artifactstore.names import parse_reference
from artifactstore.store import Store
from artifactstore.transfer.conflict import LocalFact
from artifactstore.transfer.destination import Destination, OccupiedDestination
from artifactstore.transfer.folders import SYSTEM, Folders, destination_error, split
from artifactstore.transfer.plan import PullOptions, PullPlan, Removal, Write, check_plan
from artifactstore.transfer.planner import directories_of, plan_pull
from artifactstore.transfer.preflight import State, check_room, check_twins, look, open_destination
from artifactstore.transfer.progress import NULL_PROGRESS, Progress
from artifactstore.transfer.pull import Destination as Place
from artifactstore.transfer.pull import PullResult
from artifactstore.transfer.survey import survey

_SHOWN: Final = 20
_PIECE_BYTES: Final = 4 << 20
_FILE: Final = int(EntryKind.FILE)


def pull_with_references(
    store: Store,
    reference: str,
    destination: Place | None = None,
    *,
    options: PullOptions | None = None,
    rules: ReferenceRules | None = None,
    progress: Progress = NULL_PROGRESS,
) -> PullResult:
    """Bring a version, or a part of it, to a directory, with the content of its references.

    Args:
        destination, options: As of `Store.pull`.
        rules: Instead of the settings'.

    Returns:
        As of `Store.pull`; references count as the files that they became, and none is left out.

    Raises:
        DownloadConflict: Files or references are in conflict, and the strategy is `error`; nothing was written.
        ReferenceChanged: A reference is not what it was when it was added. What was written by then stays.
        ReferenceUnreachable, ReferenceNotAllowed: A reference can't be read.
        As `Store.pull`.
    """
    options = options or PullOptions()
    if not store.show(str(replace(parse_reference(reference), path=b""))).references:
        return store.pull(reference, destination, options=options, progress=progress)
    planned = store.pull(reference, destination, options=replace(options, dry_run=True))
    if not planned.references:
        return store.pull(planned.version, planned.destination, options=options, progress=progress)
    with Origins(rules or rules_of(store)) as origins:
        coming = _Coming(store, planned, options, origins, progress)
        plan = coming.plan()
        if options.dry_run:
            return coming.result(planned, plan)
        check_plan(_joint(plan, planned), options)
        _check_all(coming.wanted(plan), origins)
        done = store.pull(planned.version, planned.destination, options=options, progress=progress)
        # Files have come meanwhile, and directories.
        plan = coming.plan()
        check_plan(plan, options)
        coming.execute(plan)
        return coming.result(done, plan)


def _check_all(targets: Iterable[ReferenceTarget], origins: Origins) -> None:
    """As `check_unchanged`, of all: the error names each that does not hold, and not the first alone."""

    def one(target: ReferenceTarget) -> ReferenceChanged | None:
        try:
            check_unchanged(target, origins)
        except ReferenceChanged as error:
            return error
        return None

    changed = [error for error in origins.map(one, targets) if error is not None]
    if not changed:
        return
    first = changed[0]
    if len(changed) > 1:
        more = f"; and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        said = "; ".join(error.what for error in changed[:_SHOWN]) + more
        what = f"{len(changed):,} references do not hold: {said}"
        raise type(first)(what, old=first.old, new=first.new, where=first.where) from first
    raise first


@dataclass(frozen=True, slots=True)
class _Known:
    """Size and digest of a reference's content, as far as they are known."""

    target: ReferenceTarget
    size_bytes: int | None
    digest: bytes


class _Coming:
    """The references that one pull brings, by their paths relative to the destination."""

    def __init__(
        self, store: Store, planned: PullResult, options: PullOptions, origins: Origins, progress: Progress
    ) -> None:
        self._path = os.fsencode(planned.destination)
        self._options = options
        self._origins = origins
        self._progress = progress
        entries = _relative(store, planned.version, allow_expired=options.allow_expired)
        chosen = set(planned.references)
        self._known = {
            path: _Known(entry.reference, entry.reference.size_bytes, entry.reference.digest)
            for path, entry in entries.items()
            if entry.reference is not None and path in chosen
        }
        self._base = {
            entry.path: entry
            for entry in store.last_pulled(planned.version, planned.destination, options.paths)
            if entry.reference is not None and entry.reference.digest and entry.path not in entries.keys() - chosen
        }

    # -- deciding ----------------------------------------------------------------------------------

    def plan(self) -> PullPlan:
        """What the rule says, given what is there now."""
        facts = self._look()
        self._learn(facts)
        incoming = [_as_file(path, known) for path, known in self._known.items()]
        base = {path: _base_file(entry) for path, entry in self._base.items() if _is_file(facts.get(path))}
        sizes = {entry.path: {entry.size} for entry in incoming}
        for path, entry in base.items():
            sizes.setdefault(path, set()).add(entry.size)
        self._read(facts, [path for path, some in sizes.items() if _is_file(facts.get(path), some)])
        return plan_pull(incoming, local=facts, base=base, strategy=self._options.strategy, delete=False)

    def wanted(self, plan: PullPlan) -> list[ReferenceTarget]:
        """What has to be fetched."""
        return [self._known[write.entry.path].target for write in (*plan.writes, *plan.late_writes)]

    def _look(self) -> dict[bytes, LocalFact]:
        if look(self._path) is State.ABSENT:
            return {}
        paths = self._known.keys() | self._base.keys()
        root = self._open_root()
        try:
            return survey(root, folders=directories_of(paths), leaves=paths, everything=False)
        finally:
            os.close(root)

    def _learn(self, facts: Mapping[bytes, LocalFact]) -> None:
        """Read what nothing was recorded of, where that is needed: to compare, or to know how much is coming."""
        unknown = [
            path
            for path, known in self._known.items()
            if known.size_bytes is None or (not known.digest and _is_file(facts.get(path), {known.size_bytes}))
        ]
        if not unknown:
            return
        self._progress.phase("comparing references", total_files=len(unknown), total_bytes=None)

        def learn(path: bytes) -> _Known:
            target = self._known[path].target
            read = fetch(target, self._origins, _ignore)
            self._progress.advance(files=1)
            proved = msgspec.structs.replace(target, size_bytes=read.size_bytes, digest=read.digest)
            return _Known(proved, read.size_bytes, read.digest)

        self._known.update(zip(unknown, self._origins.map(learn, unknown), strict=True))

    def _read(self, facts: dict[bytes, LocalFact], paths: Sequence[bytes]) -> None:
        """Learn the digests of files that are here. What changes meanwhile stays without: it differs."""
        if not paths:
            return
        root = self._open_root()
        try:
            with Folders(root) as folders:
                for path in paths:
                    digest = _digest_of_local(folders, path)
                    facts[path] = msgspec.structs.replace(facts[path], digest=digest)
        finally:
            os.close(root)

    def _open_root(self) -> int:
        try:
            return os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise destination_error(error, self._path, doing="read") from error

    # -- doing ---------------------------------------------------------------------------------------

    def execute(self, plan: PullPlan) -> None:
        """Carry out a plan that was checked."""
        writes = [*plan.writes, *plan.late_writes]
        if not (writes or plan.clears or plan.removals):
            return
        destination = open_destination(self._path, look(self._path), clock=SYSTEM_CLOCK, durable=self._options.durable)
        try:
            sizes = [write.entry.size for write in writes]
            check_room(
                destination, growth_bytes=sum(sizes) - _replaced_bytes(writes), largest_bytes=max(sizes, default=0)
            )
            check_twins(destination, [write.path for write in writes])
            self._progress.phase("fetching references", total_files=len(writes), total_bytes=sum(sizes))
            self._land_all(destination, plan.writes)
            self._remove(destination, plan.clears, must_go=True)
            self._land_all(destination, plan.late_writes)
            self._remove(destination, plan.removals, must_go=False)
            destination.finish()
        except BaseException:
            destination.abandon()
            raise
        finally:
            destination.close()

    def _land_all(self, destination: Destination, writes: Sequence[Write]) -> None:
        for _ in self._origins.map(lambda write: self._land(destination, write), writes):
            pass

    def _land(self, destination: Destination, write: Write) -> None:
        with destination.folders() as folders:
            growing = destination.begin_file(folders, write)
        offset = 0

        def keep(piece: Buffer) -> None:
            nonlocal offset
            growing.write([piece], offset)
            offset += len(piece)
            self._progress.advance(content_bytes=len(piece))

        try:
            fetch(self._known[write.entry.path].target, self._origins, keep)
            growing.finish()
        except BaseException:
            growing.discard()
            raise
        growing.close()
        self._progress.advance(files=1)

    def _remove(self, destination: Destination, removals: Sequence[Removal], *, must_go: bool) -> None:
        if not isinstance(destination, OccupiedDestination):
            return
        with Folders(destination.root) as folders:
            for removal in removals:
                destination.remove(folders, removal, must_go=must_go)

    def result(self, done: PullResult, plan: PullPlan) -> PullResult:
        """What the pull did, or would do, with the references in it."""
        writes = [*plan.writes, *plan.late_writes]
        size_bytes = sum(write.entry.size for write in writes)
        is_done = not done.dry_run
        return replace(
            done,
            files=done.files + len(self._known),
            written=(*done.written, *(write.path for write in writes)),
            removed=(*done.removed, *(removal.path for removal in (*plan.clears, *plan.removals))),
            kept=tuple(sorted({*done.kept, *plan.kept})),
            conflicts=_joint(plan, done).conflicts,
            references=(),
            content_bytes=done.content_bytes + size_bytes,
            fetched_bytes=done.fetched_bytes + (size_bytes if is_done else 0),
            reused_bytes=done.reused_bytes + (sum(entry.size for entry in plan.unchanged) if is_done else 0),
            fetched_references=len(writes) if is_done else 0,
        )


def _joint(plan: PullPlan, done: PullResult) -> PullPlan:
    """The plan with the conflicts of both."""
    by_path = {conflict.path: conflict for conflict in (*done.conflicts, *plan.conflicts)}
    return replace(plan, conflicts=tuple(by_path[path] for path in sorted(by_path)))


def _relative(store: Store, version: str, *, allow_expired: bool) -> dict[bytes, Entry]:
    """The entries of a version, or a part of it, under their paths below the destination, as a pull has them."""
    prefix = parse_reference(version).path
    found: dict[bytes, Entry] = {}
    for entry in store.files(version, allow_expired=allow_expired):
        strip = prefix.rfind(b"/") + 1 if entry.path == prefix else len(prefix) + 1 if prefix else 0
        found[entry.path[strip:]] = entry
    return found


def _as_file(path: bytes, known: _Known) -> Entry:
    # Without a digest it equals no local file: where one stands in its place, the digest was learned.
    digest = known.digest or digest_of(PATH_CONTEXT, known.target.uri.encode("utf-8", "surrogateescape"))
    return Entry(path=path, kind=_FILE, size=known.size_bytes or 0, digest=digest)


def _base_file(entry: Entry) -> Entry:
    assert entry.reference is not None
    return Entry(path=entry.path, kind=_FILE, size=entry.reference.size_bytes or 0, digest=entry.reference.digest)


def _is_file(fact: LocalFact | None, sizes: Iterable[int] | None = None) -> bool:
    return fact is not None and fact.kind == _FILE and (sizes is None or fact.size in sizes)


def _replaced_bytes(writes: Iterable[Write]) -> int:
    return sum(write.replaces.size for write in writes if write.replaces is not None)


def _digest_of_local(folders: Folders, path: bytes) -> bytes:
    """Of a file of the destination, never through a link; empty where it is none any more."""
    folder, name = split(path)
    try:
        handle = SYSTEM.open_file(name, folders.open(folder))
    except OSError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return b""
        hasher = blake3.blake3(derive_key_context=REFERENCE_CONTEXT)
        while piece := os.read(handle, _PIECE_BYTES):
            hasher.update(piece)
        return hasher.digest()
    except OSError as error:
        raise destination_error(error, path, doing="read") from error
    finally:
        os.close(handle)


def _ignore(piece: Buffer) -> None:
    pass
