"""Bring a version, or a part of it, to a destination (docs/download.md).

    load      entries of the version, all of them checked before anything is written
    look      what is at the destination, as far as it matters; files are read only where the rule needs to know
    plan      pure; a dry run ends here
    fetch     ranges of packs → chunks → files, by a few threads
    finish    the destination appears (fresh), or has changed file by file (not fresh)

A pull writes nothing to the store.
"""

import contextlib
import errno
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import compress
from typing import Final, NamedTuple

import msgspec

from artifactstore.backend.protocol import Backend
from artifactstore.chunking import parse_cut_function
from artifactstore.clock import SYSTEM_CLOCK, Clock
from artifactstore.manifest.model import Block, Entry, EntryKind, EntryPlaces
from artifactstore.manifest.paths import check_entries, path_sort_key, shown
from artifactstore.transfer.conflict import LocalFact
from artifactstore.transfer.destination import Destination, OccupiedDestination
from artifactstore.transfer.fetch import Fetcher, Landed
from artifactstore.transfer.folders import SYSTEM, Folders, System, destination_error, split
from artifactstore.transfer.large import Cancelled, LargeFile
from artifactstore.transfer.local_chunks import open_local
from artifactstore.transfer.pieces import (
    Content,
    ZeroRun,
    batches,
    is_small,
    runs_of,
    segments,
)
from artifactstore.transfer.plan import (
    ConflictStrategy,
    DownloadResult,
    PullOptions,
    PullPlan,
    Removal,
    SyncedFile,
    Write,
    check_plan,
)
from artifactstore.transfer.planner import directories_of, paths_to_read, plan_pull
from artifactstore.transfer.preflight import (
    State,
    check_rights,
    check_room,
    check_twins,
    look,
    open_destination,
)
from artifactstore.transfer.private import NOTHING_PRIVATE, read_private
from artifactstore.transfer.progress import NULL_PROGRESS, Progress
from artifactstore.transfer.reuse import OldFile, Reuse
from artifactstore.transfer.selection import Selection
from artifactstore.transfer.survey import KnownFiles, NothingKnown, survey
from artifactstore.transfer.synced import is_wiped
from artifactstore.transfer.tables import Tables
from artifactstore.tree import StoredTree

_log = logging.getLogger(__name__)
DEFAULT_JOBS: Final = 4
DEFAULT_BUDGET_BYTES: Final = 128 << 20
_MAX_WINDOW_BYTES: Final = 8 << 20
_MIN_WINDOW_BYTES: Final = 1 << 20
_MAX_BATCH_FILES: Final = 1024
_BATCHES_PER_JOB: Final = 4
_LANDERS: Final = min(4, max(2, os.cpu_count() or 2))
_CHANGED: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, None})

_Task = Callable[[], "Landed | LargeFile"]
"""Work for a thread. A large file is work for more threads, one for each of its segments."""


class _Place(NamedTuple):
    """Where one incoming file's content lies."""

    places: EntryPlaces
    block: Block


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a pull works with.

    Attributes:
        jobs: Threads.
        budget_bytes: Memory for content on its way, all threads together.
        clock: Names of temporary files come from it.
        progress: Told how far it is.
        system: The calls of the operating system; for tests.
    """

    jobs: int = DEFAULT_JOBS
    budget_bytes: int = DEFAULT_BUDGET_BYTES
    clock: Clock = SYSTEM_CLOCK
    progress: Progress = NULL_PROGRESS
    system: System = SYSTEM

    @property
    def window_bytes(self) -> int:
        """Bytes of one read: a thread holds that much as stored, and up to that much decoded."""
        return min(_MAX_WINDOW_BYTES, max(_MIN_WINDOW_BYTES, self.budget_bytes // (3 * self.jobs)))


def download(  # noqa: PLR0913 - one call is one pull
    tree: StoredTree,
    backend: Backend,
    destination: os.PathLike[str] | os.PathLike[bytes] | str | bytes,
    *,
    prefix: bytes = b"",
    base: Mapping[bytes, Entry] | Iterable[Entry] | None = None,
    known: KnownFiles | None = None,
    options: PullOptions | None = None,
    means: Means | None = None,
) -> DownloadResult:
    """Pull a version, or the part of it at ``prefix``, to a directory.

    Args:
        destination: The directory; it need not be there. What is below ``prefix`` becomes its content; where
            ``prefix`` is a file or link, that enters under its own name.
        prefix: A path in the version; empty for all of it.
        base: What was last synced here, paths relative to the destination; None if that is not known. Of no
            account where the destination is absent or empty.
        known: What is remembered of files there.
        options: Strategy and the like.
        means: Threads, memory, clock, progress.

    Raises:
        PathNotFound: The version has nothing at ``prefix``.
        UnsafeManifest: An entry must not be written; nothing was.
        DownloadConflict: There are conflicts, and the strategy is `error`; nothing was written.
        DestinationExists: The destination can't be used as it is, or `delete` wants confirmation.
        DestinationError: It can't be written to. Files already there whole stay; nothing half written does.
        CorruptData: Stored bytes fail their check; no file with them is left at its path.
        BackendError: The storage did not answer.
    """
    path = os.path.abspath(os.fsencode(destination))
    pull = _Pull(tree, backend, path, means or Means(), options or PullOptions(), known or NothingKnown())
    incoming = pull.load(prefix)
    state = look(pull.path)
    facts: dict[bytes, LocalFact] = {}
    if state is State.OCCUPIED:
        entries = base.values() if isinstance(base, Mapping) else base or ()
        pull.base = {entry.path: entry for entry in entries if pull.selection.takes_entry(entry)}
        facts = pull.look(incoming)
    if is_wiped(pull.base.values(), facts):
        _log.warning("nothing that was last synced at %s is there any more: all of it comes back", shown(path))
        pull.base = {}
    plan = plan_pull(
        incoming,
        local=facts,
        base=pull.base,
        strategy=pull.options.strategy,
        delete=pull.options.delete,
        takes=pull.takes,
    )
    if pull.options.dry_run:
        return DownloadResult(plan=plan, kept=plan.kept, conflicts=plan.conflicts, entries=tuple(incoming))
    check_plan(plan, pull.options)
    pull.execute(plan, state, facts)
    return pull.result(plan, facts, incoming)


class _Pull:
    """One pull in progress."""

    def __init__(
        self,
        tree: StoredTree,
        backend: Backend,
        path: bytes,
        means: Means,
        options: PullOptions,
        known: KnownFiles,
    ) -> None:
        self.path = path
        self.options = options
        self.selection = Selection(include=options.include, exclude=options.exclude)
        self.base: dict[bytes, Entry] = {}
        self.private = NOTHING_PRIVATE
        self._tree = tree
        self._backend = backend
        self._means = means
        self._cut = parse_cut_function(tree.root.cut)
        self._tables = Tables(tree, backend, cut=self._cut)
        self._known = known
        self._reuse = Reuse(
            self._tables, known, cut=self._cut, window_bytes=means.window_bytes, system=means.system
        )
        self._where: dict[bytes, _Place] = {}
        self._landed = Landed()
        self._removed: list[bytes] = []
        self._written: list[bytes] = []
        self._larges: list[LargeFile] = []

    # -- what comes in ---------------------------------------------------------------------------

    def load(self, prefix: bytes) -> list[Entry]:
        """The entries to land, checked, their paths relative to the destination."""
        self._means.progress.phase("reading the version", total_files=None, total_bytes=None)
        rows = self._chosen(prefix) if self.options.paths else list(self._tree.below(prefix))
        strip = len(prefix) + 1 if prefix else 0
        if prefix and not rows:
            rows = [self._tree.find(prefix)]
            if rows[0][0].kind == EntryKind.DIRECTORY:
                return []  # an empty one: the destination itself
            strip = prefix.rfind(b"/") + 1
        entries = [e if not strip else msgspec.structs.replace(e, path=e.path[strip:]) for e, _, _ in rows]
        if not self.selection.is_everything:
            taken = [self.selection.takes_entry(entry) for entry in entries]
            entries, rows = list(compress(entries, taken)), list(compress(rows, taken))
        check_entries(entries)
        for entry, (_, places, block) in zip(entries, rows, strict=True):
            self._where[entry.path] = _Place(places, block)
        return entries

    def _chosen(self, prefix: bytes) -> list[tuple[Entry, EntryPlaces, Block]]:
        """Only what `PullOptions.paths` names."""
        chosen: dict[bytes, tuple[Entry, EntryPlaces, Block]] = {}
        for path in self.options.paths:
            whole = prefix + b"/" + path if prefix else path
            rows = list(self._tree.below(whole)) or [self._tree.find(whole)]
            chosen.update((entry.path, (entry, places, block)) for entry, places, block in rows)
        return [chosen[path] for path in sorted(chosen, key=path_sort_key)]

    # -- what is there ---------------------------------------------------------------------------

    def look(self, incoming: Sequence[Entry]) -> dict[bytes, LocalFact]:
        """What is at the destination, with the digests that the rule needs."""
        self._means.progress.phase("comparing", total_files=None, total_bytes=None)
        leaves = {e.path for e in incoming if e.kind != EntryKind.DIRECTORY}
        folders = directories_of(self._where) | directories_of(self.base)
        folders.update(e.path for e in incoming if e.kind == EntryKind.DIRECTORY)
        try:
            root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise destination_error(error, self.path, doing="read") from error
        try:
            facts = survey(
                root, folders=folders, leaves=leaves, everything=self.options.delete, system=self._means.system
            )
            if self.options.delete or self.options.strategy is ConflictStrategy.REPLACE:
                self.private = read_private(root, facts, synced=self.base, system=self._means.system)
            unread = []
            for path in paths_to_read(incoming, local=facts, base=self.base):
                if digest := self._known.digest(path, facts[path]):
                    facts[path] = msgspec.structs.replace(facts[path], digest=digest)
                else:
                    unread.append(path)
            self._read(root, unread, facts, {entry.path: entry.digest for entry in incoming})
        finally:
            os.close(root)
        return facts

    def takes(self, path: bytes, kind: int) -> bool:
        """Whether what is at ``path`` may go: patterns take it, and it is nothing that is never sent from here."""
        return self.selection.takes(path, kind) and not self.private.keeps(path, kind)

    def _read(
        self, root: int, paths: Sequence[bytes], facts: dict[bytes, LocalFact], incoming: Mapping[bytes, bytes]
    ) -> None:
        """Learn the digests of files by reading them. What changes meanwhile stays without: it differs."""
        share = max(1, len(paths) // (self._means.jobs * _BATCHES_PER_JOB))
        parts = [paths[at : at + share] for at in range(0, len(paths), share)]
        if not parts:
            return
        self._means.progress.phase(
            "comparing", total_files=len(paths), total_bytes=sum(facts[path].size for path in paths)
        )
        with ThreadPoolExecutor(self._means.jobs) as pool:
            for digests in pool.map(partial(self._digests, root, facts, incoming), parts):
                for path, digest in digests:
                    facts[path] = msgspec.structs.replace(facts[path], digest=digest)

    def _digests(
        self, root: int, facts: Mapping[bytes, LocalFact], incoming: Mapping[bytes, bytes], paths: Sequence[bytes]
    ) -> list[tuple[bytes, bytes]]:
        found = []
        with Folders(root, system=self._means.system) as folders:
            for path in paths:
                try:
                    file = open_local(folders, path, cut=self._cut, system=self._means.system)
                    with contextlib.closing(file):
                        if file.fact == facts[path] and (chunks := file.listed()) is not None:
                            digest = chunks.file_digest()
                            found.append((path, digest))
                            if digest != incoming.get(path):
                                self._reuse.keep(path, file.fact, chunks)
                except OSError as error:
                    # With `replace` nothing hangs on what is there.
                    if error.errno not in _CHANGED and self.options.strategy is not ConflictStrategy.REPLACE:
                        raise destination_error(error, path, doing="read") from error
        self._means.progress.advance(files=len(paths), content_bytes=sum(facts[path].size for path in paths))
        return found

    # -- doing it --------------------------------------------------------------------------------

    def execute(self, plan: PullPlan, state: State, facts: Mapping[bytes, LocalFact]) -> None:
        """Carry out a plan that was checked."""
        if plan.is_empty and state is State.OCCUPIED:
            return
        means = self._means
        destination = open_destination(
            self.path, state, clock=means.clock, durable=self.options.durable, system=means.system
        )
        try:
            groups = [self._contents(plan.writes), self._contents(plan.late_writes)]
            _preflight(destination, plan, [c for group in groups for c in group], facts)
            files = [w for w in (*plan.writes, *plan.late_writes) if w.entry.kind == EntryKind.FILE]
            means.progress.phase("downloading", total_files=len(files), total_bytes=plan.write_bytes)
            fetcher = Fetcher(
                self._backend,
                destination,
                cut=self._cut,
                version=self._tree.version,
                window_bytes=means.window_bytes,
                landers=_LANDERS,
                damage=self._tables.locate_damage,
            )
            self._land(destination, fetcher, plan.writes, groups[0])
            if isinstance(destination, OccupiedDestination):
                self._remove(destination, plan.clears, must_go=True)
                self._land(destination, fetcher, plan.late_writes, groups[1])
                self._remove(destination, plan.removals, must_go=False)
            destination.finish()
            self._landed.files = [(w, destination.settled(w, status)) for w, status in self._landed.files]
        except BaseException:
            destination.abandon()
            raise
        finally:
            destination.close()

    def _contents(self, writes: Sequence[Write]) -> list[Content]:
        """What has to be fetched, each content once."""
        by_digest: dict[tuple[bytes, int], Content] = {}
        for write in writes:
            entry = write.entry
            if entry.kind != EntryKind.FILE:
                continue
            content = by_digest.get((entry.digest, entry.size))
            if content is not None:
                content.writes.append(write)
                continue
            places, block = self._where[entry.path]
            extents = places.extents
            if places.lists:
                extents = self._tree.extents(places, block)
                # So local state remembers them, and need not read the list to find out what is here.
                self._where[entry.path] = _Place(EntryPlaces(extents), block)
            by_digest[entry.digest, entry.size] = Content([write], runs_of(extents, block.packs))
        return list(by_digest.values())

    def _land(
        self, destination: Destination, fetcher: Fetcher, writes: Sequence[Write], contents: Sequence[Content]
    ) -> None:
        self._run(self._tasks(fetcher, contents, destination), fetcher)
        with destination.folders() as folders:
            for write in writes:
                if write.entry.kind == EntryKind.LINK:
                    destination.land_link(folders, write)
                elif write.entry.kind == EntryKind.DIRECTORY:
                    destination.land_folder(folders, write)
        self._written.extend(write.path for write in writes)

    def _tasks(self, fetcher: Fetcher, contents: Sequence[Content], destination: Destination) -> Iterator[_Task]:
        """Work for the threads, made as they go on. Large files first: they take the longest to finish."""
        small = []
        for content in contents:
            old = self._reuse.open(content, destination)
            if old is None and is_small(content, window_bytes=fetcher.window_bytes):
                small.append(content)
                continue
            large = LargeFile(content, local=old.file if old else None)
            self._larges.append(large)
            yield partial(self._plan_large, large, old, fetcher.window_bytes)
        total = sum(content.size for content in small)
        share = max(_MIN_WINDOW_BYTES, total // (self._means.jobs * _BATCHES_PER_JOB))
        for batch in batches(
            small, window_bytes=min(fetcher.window_bytes, share), max_files=_MAX_BATCH_FILES
        ):
            yield partial(fetcher.land_batch, batch)

    def _plan_large(self, large: LargeFile, old: OldFile | None, window_bytes: int) -> LargeFile:
        """Decide where a large file's content comes from."""
        runs = self._reuse.runs(large.content, old) if old is not None else None
        large.plan(list(segments(runs or large.content.runs, window_bytes=window_bytes)))
        return large

    def _run(self, tasks: Iterator[_Task], fetcher: Fetcher) -> None:
        """Run tasks by a few threads; the first error ends all of them."""
        jobs = self._means.jobs
        pending: set[Future[Landed | LargeFile]] = set()
        segments_first: deque[_Task] = deque()
        try:
            with ThreadPoolExecutor(jobs, thread_name_prefix="pull") as pool:
                try:
                    while True:
                        while len(pending) < 2 * jobs and (task := _next(segments_first, tasks)):
                            pending.add(pool.submit(task))
                        if not pending:
                            break
                        pending, larges = self._collect(pending)
                        for large in larges:
                            parts = range(len(large.segments))
                            segments_first.extend(partial(fetcher.land_segment, large, n) for n in parts)
                except BaseException:
                    fetcher.cancelled.set()
                    for future in pending:
                        future.cancel()
                    raise
        finally:
            # No thread is at work any more. Of what was finished nothing is removed by this.
            for large in self._larges:
                large.discard()
            self._larges.clear()

    def _collect(
        self, pending: set[Future[Landed | LargeFile]]
    ) -> tuple[set[Future[Landed | LargeFile]], list[LargeFile]]:
        """Wait for some; returns the others, and the large files that are to be landed now."""
        done, left = wait(pending, return_when=FIRST_COMPLETED)
        larges = []
        # Those that were merely stopped say nothing about why.
        for future in sorted(done, key=lambda f: isinstance(f.exception(), Cancelled)):
            result = future.result()
            if isinstance(result, Landed):
                self._note(result)
            else:
                larges.append(result)
        return left, larges

    def _note(self, landed: Landed) -> None:
        total = self._landed
        total.files.extend(landed.files)
        total.fetched_bytes += landed.fetched_bytes
        total.reused_bytes += landed.reused_bytes
        total.content_bytes += landed.content_bytes
        self._means.progress.advance(
            files=len(landed.files), content_bytes=landed.content_bytes, saved_bytes=landed.reused_bytes
        )

    def _remove(self, destination: OccupiedDestination, removals: Sequence[Removal], *, must_go: bool) -> None:
        with Folders(destination.root, system=self._means.system) as folders:
            for removal in removals:
                if destination.remove(folders, removal, must_go=must_go):
                    self._removed.append(removal.path)

    # -- what came of it ---------------------------------------------------------------------------

    def result(self, plan: PullPlan, facts: Mapping[bytes, LocalFact], incoming: Sequence[Entry]) -> DownloadResult:
        unchanged = [e for e in plan.unchanged if e.kind == EntryKind.FILE]
        synced = [
            self._synced(w.entry, (s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns))
            for w, s in self._landed.files
            if w.path == w.entry.path
        ]
        for entry in unchanged:
            fact = facts[entry.path]
            synced.append(self._synced(entry, (fact.inode, fact.size, fact.mtime_ns, fact.ctime_ns)))
        return DownloadResult(
            plan=plan,
            written=tuple(self._written),
            removed=tuple(self._removed),
            kept=plan.kept,
            conflicts=plan.conflicts,
            fetched_bytes=self._landed.fetched_bytes,
            reused_bytes=self._landed.reused_bytes + sum(e.size for e in unchanged),
            content_bytes=self._landed.content_bytes,
            synced=tuple(synced),
            entries=tuple(incoming),
        )

    def _synced(self, entry: Entry, seen: tuple[int, int, int, int]) -> SyncedFile:
        places, block = self._where[entry.path]
        return SyncedFile(entry.path, entry, places, block.packs, *seen)


def _next(first: deque[_Task], then: Iterator[_Task]) -> _Task | None:
    return first.popleft() if first else next(then, None)


def _preflight(
    destination: Destination, plan: PullPlan, contents: Sequence[Content], facts: Mapping[bytes, LocalFact]
) -> None:
    """Refuse what can't end well, before a byte is fetched."""
    writes = (*plan.writes, *plan.late_writes)
    sizes = [(c.size - sum(r.content_length for r in c.runs if type(r) is ZeroRun), len(c.writes)) for c in contents]
    replaced = sum(w.replaces.size for w in writes if w.replaces) + sum(r.fact.size for r in plan.clears)
    check_room(
        destination,
        growth_bytes=sum(size * count for size, count in sizes) - replaced,
        largest_bytes=max((size for size, _ in sizes), default=0),
    )
    gone = {r.path for r in (*plan.clears, *plan.removals)}
    check_twins(destination, {w.path for w in writes} | {p for p in facts if p not in gone})
    if facts:
        changing = {split(path)[0] for path in gone.union(w.path for w in writes)}
        check_rights(destination, sorted({_nearest(folder, facts) for folder in changing}))


def _nearest(folder: bytes, facts: Mapping[bytes, LocalFact]) -> bytes:
    """The deepest directory at or above ``folder`` that is there."""
    while folder and (folder not in facts or facts[folder].kind != EntryKind.DIRECTORY):
        folder = split(folder)[0]
    return folder
