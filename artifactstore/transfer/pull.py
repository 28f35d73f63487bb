"""Pull: a version, or a part of it, comes to a directory of this machine.

What local state knows is used (the base of the conflict rule, digests of files that did not
change) and what was learned is remembered; `download` does the rest.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from artifactstore.clock import Clock
from artifactstore.dedup.rows import RACY_SECONDS, DirectoryRows, DirectoryRowsBuilder
from artifactstore.dedup.state import LocalState, Synced
from artifactstore.errors import PathNotFound
from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.manifest.paths import TEMPORARY_PREFIX
from artifactstore.names import Reference
from artifactstore.transaction.records import VersionPin
from artifactstore.transaction.versions import Version
from artifactstore.transfer.conflict import LocalFact
from artifactstore.transfer.context import StoreContext
from artifactstore.transfer.download import DEFAULT_JOBS, Means, download
from artifactstore.transfer.plan import ConflictedPath, DownloadResult, PullOptions, SyncBase
from artifactstore.transfer.progress import NULL_PROGRESS, Progress
from artifactstore.transfer.rollback import open_watched
from artifactstore.transfer.selection import Selection
from artifactstore.transfer.survey import KnownPlaces
from artifactstore.transfer.synced import IN_PART, synced_name, with_rest
from artifactstore.tree import StoredTree

_TICKS: Final = 20
_TICK_SECONDS: Final = 0.002

Destination = str | bytes | os.PathLike[str] | os.PathLike[bytes]
_GUEST: Final = b"//guest"
"""Behind a directory's path: what single files that were brought there were last synced as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullResult:
    """What a pull did, or, in a dry run, would do.

    Attributes:
        version: ``name:v3``, with the path inside if only a part was pulled.
        destination: Absolute path.
        files: In the version, or the part of it.
        written, removed, kept: Paths relative to the destination. Kept ones stand although the version says otherwise.
        conflicts: Paths that both sides changed, each with where what came in landed instead, if it did.
        references: Paths whose content is not in the store; they were left out.
        content_bytes: Content of everything written.
        fetched_bytes: Read from the store, and of what references point to.
        reused_bytes: Content that was here already.
        fetched_references: How many references were fetched; ``written`` has them too.
        pin: Which version it was, beyond doubt.
    """

    version: str
    destination: str
    files: int
    written: tuple[bytes, ...]
    removed: tuple[bytes, ...]
    kept: tuple[bytes, ...]
    conflicts: tuple[ConflictedPath, ...]
    references: tuple[bytes, ...]
    content_bytes: int
    fetched_bytes: int
    reused_bytes: int
    dry_run: bool
    pin: VersionPin
    fetched_references: int = 0


def pull(
    context: StoreContext,
    reference: Reference,
    destination: Destination | None,
    *,
    options: PullOptions,
    progress: Progress = NULL_PROGRESS,
) -> PullResult:
    """Bring what ``reference`` names to ``destination``.

    Args:
        destination: By default a directory in the working directory, called like the last part of the reference;
            for a single file the working directory itself.

    Raises:
        NameNotFound, VersionDeleted, PathNotFound: There is no such thing.
        As `transfer.download.download`.
    """
    version, root = open_watched(context, reference, allow_expired=options.allow_expired)
    tree = StoredTree(context.backend, root, version=version.text, pool=context.requests)
    target = os.path.abspath(os.fsencode(destination if destination is not None else _default(tree, reference)))
    part = b"//".join([reference.path, *sorted(options.paths)])
    place = _Place(context, os.path.realpath(target), version, part, cut=root.cut)
    if options.base is SyncBase.AS_GUEST:
        place.synced_at = place.directory + _GUEST
    base = place.base(options.base)
    looked_at = context.clock.now()
    done = download(
        tree,
        context.backend,
        target,
        prefix=reference.path,
        base=base,
        known=RememberedFiles(context.state, context.store_id, place.directory, cut=root.cut),
        options=options,
        means=Means(jobs=DEFAULT_JOBS, budget_bytes=context.memory_bytes // 2, clock=context.clock, progress=progress),
    )
    if not options.dry_run:
        selection = Selection(include=options.include, exclude=options.exclude)
        place.remember(done, before=base or (), selection=selection, looked_at=looked_at)
    return _result(version, reference, target, done, dry_run=options.dry_run)


def _default(tree: StoredTree, reference: Reference) -> bytes:
    if not reference.path:
        return os.fsencode(reference.name.last)
    try:
        is_directory = tree.find(reference.path).entry.kind == EntryKind.DIRECTORY
    except PathNotFound:
        is_directory = True  # one with something in it, or nothing at all: the download will tell
    return reference.path.rpartition(b"/")[2] if is_directory else b"."


class _Place:
    """A destination, as local state knows it."""

    def __init__(self, context: StoreContext, directory: bytes, version: Version, path: bytes, *, cut: str) -> None:
        self.directory = directory
        self.synced_at = directory
        self._cut = cut
        self._context = context
        self._version = version
        self._name = synced_name(version.name.text, path)
        self._name_in_part = synced_name(version.name.text, path + IN_PART)

    def base(self, choice: SyncBase) -> tuple[Entry, ...] | None:
        """What was last synced here; None where that is not known."""
        state, store_id = self._context.state, self._context.store_id
        if choice is SyncBase.LAST_SYNC:
            synced = state.last_synced(self.synced_at)
        else:
            found = (state.synced(store_id, self.synced_at, name) for name in (self._name, self._name_in_part))
            synced = max(filter(None, found), key=lambda each: each.recorded_at, default=None)
        return state.synced_entries(synced) if synced is not None and synced.store_id == store_id else None

    def remember(
        self, done: DownloadResult, *, before: Sequence[Entry], selection: Selection, looked_at: float
    ) -> None:
        """Tell local state what is here now.

        Args:
            before: What was last synced here. selection: of which this was asked for, now.
            looked_at: When the pull began: files that it left as they were have not been looked at since then.
        """
        context, version = self._context, self._version
        rows = _rows(
            self.directory, done, looked_at=looked_at, written_at=context.clock.now(), settled_at=self._settled_at(done)
        )
        context.state.save_directories(context.store_id, rows, cut=self._cut)
        synced = Synced(
            store_id=context.store_id,
            directory=self.synced_at,
            name=self._name if selection.is_everything else self._name_in_part,
            slot=version.slot,
            tx=version.tx,
            content_digest=bytes.fromhex(version.record.content),
            signature=b"",  # the next scan of this directory makes one, once the files have settled
            is_settled=False,
            url=context.url,
        )
        entries: Sequence[Entry] = done.entries
        if not selection.is_everything:
            entries = with_rest(entries, before, stays=lambda entry: not selection.takes_entry(entry))
        context.state.record_synced(synced, entries)

    def _settled_at(self, done: DownloadResult) -> float | None:
        """A moment at which the written files had been left alone, as far as telling a change goes; None if not yet.

        They were named with the content that was checked. Once the file system gives later times than theirs, any
        further change shows in their own: they need not be left alone for a while to be known.
        """
        clock = self._context.clock
        written = set(done.written)
        newest_ns = max((max(f.mtime_ns, f.ctime_ns) for f in done.synced if f.path in written), default=0)
        if newest_ns and _time_passes(self.directory, newest_ns, clock=clock):
            return newest_ns / 1e9 + RACY_SECONDS + 1
        return None


def _time_passes(directory: bytes, moment_ns: int, *, clock: Clock) -> bool:
    """Whether files that change now, in ``directory``, get a later time than this: mostly within 4 ms."""
    probe = os.path.join(directory, TEMPORARY_PREFIX + clock.random_bytes(8).hex().encode())
    try:
        handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.unlink(probe)
            for _ in range(_TICKS):
                os.utime(handle)
                status = os.fstat(handle)
                if min(status.st_mtime_ns, status.st_ctime_ns) > moment_ns:
                    return True
                clock.sleep(_TICK_SECONDS)
        finally:
            os.close(handle)
    except OSError:
        pass  # then they count as changed just now
    return False


class RememberedFiles:
    """Digests of files that did not change since they were last pushed or pulled (`survey.KnownFiles`)."""

    def __init__(self, state: LocalState, store_id: bytes, root: bytes, *, cut: str) -> None:
        """``cut`` is the version's cut function: file digests of another one say nothing."""
        self._state = state
        self._store_id = store_id
        self._root = root
        self._cut = cut
        self._rows: dict[bytes, DirectoryRows | None] = {}

    def digest(self, path: bytes, fact: LocalFact) -> bytes:
        """The digest of the file at ``path`` while it is unchanged, else empty bytes."""
        rows, row = self._find(path, fact)
        return rows.digest(row) if rows is not None and row is not None else b""

    def places(self, path: bytes, fact: LocalFact) -> KnownPlaces | None:
        """In which packs the content of the file at ``path`` lies, while it is unchanged."""
        rows, row = self._find(path, fact)
        if rows is None or row is None:
            return None
        places = rows.places(row)
        return KnownPlaces(places.extents, rows.packs) if places.extents else None

    def _find(self, path: bytes, fact: LocalFact) -> tuple[DirectoryRows | None, int | None]:
        folder, _, _ = path.rpartition(b"/")
        if folder not in self._rows:
            self._rows[folder] = self._state.load_directory(
                self._store_id, _absolute(self._root, folder), cut=self._cut
            )
        rows = self._rows[folder]
        seen = _Seen(path, fact.size, fact.inode, fact.mtime_ns, fact.ctime_ns)
        return rows, rows.find(seen) if rows is not None else None


@dataclass(frozen=True, slots=True)
class _Seen:
    path: bytes
    size: int
    inode: int
    mtime_ns: int
    ctime_ns: int


def _rows(
    directory: bytes, done: DownloadResult, *, looked_at: float, written_at: float, settled_at: float | None
) -> dict[bytes, DirectoryRows]:
    """What is remembered of each directory. ``settled_at`` holds for the destination's own file system."""
    device = _device(directory)
    builders: dict[bytes, DirectoryRowsBuilder] = {}
    written = set(done.written)
    for file in done.synced:
        folder = file.path.rpartition(b"/")[0]
        builder = builders.get(folder)
        if builder is None:
            is_settled = settled_at is not None and _device(_absolute(directory, folder)) == device
            at = max(written_at, settled_at or 0.0) if is_settled else written_at
            builder = builders[folder] = DirectoryRowsBuilder(observed_at=at)
        builder.add(
            file,
            digest=file.entry.digest,
            xxh3=file.entry.xxh3,
            places=file.places,
            pack_id=file.packs.__getitem__,
            observed_at=None if file.path in written else looked_at,
        )
    return {_absolute(directory, folder): builder.build() for folder, builder in builders.items()}


def _device(directory: bytes) -> int | None:
    """Which file system it is on; None if it is not there any more."""
    try:
        return os.stat(directory).st_dev
    except OSError:
        return None


def _absolute(root: bytes, folder: bytes) -> bytes:
    return os.path.join(root, folder) if folder else root


def _result(
    version: Version, reference: Reference, target: bytes, done: DownloadResult, *, dry_run: bool
) -> PullResult:
    plan = done.plan
    inside = f"/{os.fsdecode(reference.path)}" if reference.path else ""
    if dry_run:
        written = tuple(write.path for write in (*plan.writes, *plan.late_writes))
        removed = tuple(removal.path for removal in (*plan.clears, *plan.removals))
    else:
        written, removed = done.written, done.removed
    return PullResult(
        version=f"{version.text}{inside}",
        destination=os.fsdecode(target),
        files=sum(entry.kind == EntryKind.FILE for entry in done.entries),
        written=written,
        removed=removed,
        kept=done.kept,
        conflicts=done.conflicts,
        references=tuple(entry.path for entry in plan.references),
        content_bytes=plan.write_bytes if dry_run else done.content_bytes,
        fetched_bytes=done.fetched_bytes,
        reused_bytes=done.reused_bytes,
        dry_run=dry_run,
        pin=version.pin,
    )
