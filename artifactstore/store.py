"""One opened store: every operation by its name, each a call into the layer that does it.

with open_store() as store:
    store.push("runs/1", "models/resnet")
    store.pull("models/resnet", "elsewhere")
"""

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from artifactstore.backend.table import BackendOptions, open_backend
from artifactstore.chunking import parse_cut_function
from artifactstore.clock import SYSTEM_CLOCK, Clock
from artifactstore.config import load_settings
from artifactstore.dedup.state import LocalState
from artifactstore.errors import NameNotFound
from artifactstore.manifest.diff import Change, diff_blocks, diff_entries
from artifactstore.manifest.model import Entry
from artifactstore.names import Name, Reference, Slot, any_name, as_name, as_reference, parse_whole
from artifactstore.opened import DEFAULT_JOBS, DEFAULT_MEMORY_BYTES, OpenedStore, StoreOptions
from artifactstore.overlap import check_destination, check_sources, exclusions, store_in_sources
from artifactstore.reading import open_file
from artifactstore.results import (
    AliasInfo,
    FolderItem,
    RemoveOptions,
    RemoveResult,
    StatusReport,
    Usage,
    VersionInfo,
)
from artifactstore.search import Search, Unreadable, parse_query
from artifactstore.transaction.aliases import Guard
from artifactstore.transaction.edits import VersionEdit
from artifactstore.transaction.listing import check_case
from artifactstore.transaction.records import StoreSettings, VersionPin
from artifactstore.transaction.resolve import open_version, resolve
from artifactstore.transaction.upload import Strategy
from artifactstore.transaction.uses import check_job_id, record_use
from artifactstore.transfer.compare import local_entries
from artifactstore.transfer.compose import Composition
from artifactstore.transfer.content import Composed, Source, Trees
from artifactstore.transfer.context import Reuse
from artifactstore.transfer.found import FollowLinks, Found, Notice, OnError, Scan, ScanOptions, Unmatched
from artifactstore.transfer.overlay import push_over
from artifactstore.transfer.plan import ConflictStrategy, PullOptions
from artifactstore.transfer.progress import NULL_PROGRESS, Progress
from artifactstore.transfer.provenance import author
from artifactstore.transfer.pull import Destination, PullResult, pull
from artifactstore.transfer.push import PushOptions, PushResult, push
from artifactstore.transfer.scan import scan
from artifactstore.transfer.selection import EVERYTHING, Selection
from artifactstore.transfer.synced import synced_name
from artifactstore.tree import StoredTree

__all__ = [
    "AliasInfo",
    "ConflictStrategy",
    "FolderItem",
    "FollowLinks",
    "OnError",
    "PullOptions",
    "PullResult",
    "PushOptions",
    "PushResult",
    "RemoveOptions",
    "RemoveResult",
    "Reuse",
    "StatusReport",
    "Store",
    "StoreOptions",
    "Strategy",
    "Usage",
    "VersionEdit",
    "VersionInfo",
    "init_store",
    "open_store",
]

_DEFAULT_PUSH: Final = PushOptions()
_DEFAULT_PULL: Final = PullOptions()
_DEFAULT_REMOVE: Final = RemoveOptions()


class Store(OpenedStore):
    """An opened store. Safe for threads and in forked children; use it as a context manager, or `close` it.

    Nothing is read when it is made: `store.json` is read with the first call that needs it.

    Attributes:
        url: Where it is, without secrets.
    """

    # -- moving --------------------------------------------------------------------------------------

    def push(
        self,
        sources: Source | Sequence[Source],
        name: str | Name,
        *,
        options: PushOptions = _DEFAULT_PUSH,
        base: Reference | None = None,
        progress: Progress = NULL_PROGRESS,
    ) -> PushResult:
        """Make a new version of ``name``: the content of a directory, or several paths under their own names.

        A local folder that is absent or empty becomes a store first.

        Args:
            base: Another version that much of the content is in already: what was last pulled here, say.

        Raises:
            InvalidName: Not a name.
            As `transfer.push.push`.
        """
        target = as_name(name)
        many = [sources] if isinstance(sources, (str, bytes, os.PathLike)) else list(sources)
        check_sources(many, store_path=self._path)
        own = store_in_sources(many, store_path=self._path)
        trees, settings = Trees(many, base), self._settings_for_push(target, options)
        if options.unmatched is Unmatched.KEPT and (options.include or options.exclude):
            left_out = exclusions(own)
            context = self._context(settings)
            done = push_over(context, trees, target, options=options, left_out=left_out, progress=progress)
        else:
            options = replace(options, exclude=(*options.exclude, *exclusions(own)))
            done = push(self._context(settings), trees, target, options=options, progress=progress)
        return replace(done, notices=(*done.notices, *own))

    def push_composition(
        self,
        composition: Composition,
        name: str | Name,
        *,
        options: PushOptions = _DEFAULT_PUSH,
        progress: Progress = NULL_PROGRESS,
    ) -> PushResult:
        """Make a new version of ``name`` out of parts: files of this machine, references, and stored versions.

        What is carried over from stored versions is neither read nor sent again.

        Raises:
            InvalidName: Not a name.
            PathExists: Two parts have something for one path.
            As `transfer.push.push`.
        """
        target = as_name(name)
        trees = [part for part in composition.placed if not isinstance(part.added, Found)]
        folders = {os.path.dirname(part.source) for part in composition.placed if isinstance(part.added, Found)}
        check_sources([*(part.source for part in trees), *folders], store_path=self._path)
        own: list[Notice] = []
        placed = [part for part in composition.placed if isinstance(part.added, Found)]
        for part in trees:
            inside = store_in_sources([part.source], store_path=self._path)
            own += (Notice(os.path.join(part.path, notice.path), notice.reason) for notice in inside)
            placed.append(replace(part, exclude=(*part.exclude, *exclusions(inside))) if inside else part)
        context = self._context(self._settings_for_push(target, options))
        content = Composed(replace(composition, placed=placed))
        done = push(context, content, target, options=options, progress=progress)
        return replace(done, notices=(*done.notices, *own))

    def _settings_for_push(self, target: Name, options: PushOptions) -> StoreSettings | None:
        settings = self._prepare_for_push(dry_run=options.dry_run)
        if self.record.folds_case:
            check_case(self._backend, target)
        return settings

    def pull(
        self,
        reference: str | Reference,
        destination: Destination | None = None,
        *,
        options: PullOptions = _DEFAULT_PULL,
        progress: Progress = NULL_PROGRESS,
    ) -> PullResult:
        """Bring a version, or a part of it, to a directory. Nothing is written to the store.

        Raises:
            InvalidName: Not a reference.
            As `transfer.pull.pull`.
        """
        parsed = as_reference(reference)
        check_destination(parsed, destination, store_path=self._path, deletes=options.delete)
        return pull(self._context(), parsed, destination, options=options, progress=progress)

    def last_pulled(self, reference: str, directory: Destination, paths: Sequence[bytes] = ()) -> tuple[Entry, ...]:
        """What a directory was last pulled, or pushed, as under a reference's name; empty where that is not known here.

        Args:
            paths: Those of `PullOptions`.
        """
        parsed = as_reference(reference)
        name = synced_name(parsed.name.text, b"//".join([parsed.path, *sorted(paths)]))
        synced = self._state.synced(self.record.store_id_bytes, os.path.realpath(os.fsencode(directory)), name)
        return (self._state.synced_entries(synced) or ()) if synced is not None else ()

    def last_synced(self, directory: Destination) -> Reference | None:
        """Which version a directory was last pushed to this store or pulled from it as; None where nothing else than
        that is known here. A part of a version has its path inside.
        """
        synced = self._state.last_synced(os.path.realpath(os.fsencode(directory)))
        if synced is None or synced.store_id != self.record.store_id_bytes:
            return None
        name, _, inside = synced.name.partition("//")
        return Reference(name=any_name(name), version=Slot(synced.slot), path=os.fsencode(inside))

    def synced_entries(self, directory: Destination) -> tuple[Entry, ...]:
        """What a directory held when it was last synced with this store (`last_synced`), as far as is known here."""
        synced = self._state.last_synced(os.path.realpath(os.fsencode(directory)))
        if synced is None or synced.store_id != self.record.store_id_bytes:
            return ()
        return self._state.synced_entries(synced) or ()

    def open(self, reference: str | Reference, *, allow_expired: bool = False) -> io.BufferedReader:
        """One file of a version (``name:v3/path``) as a seekable stream, checked as it is read.

        Raises:
            PathNotFound: Nothing is there, or no file.
            VersionExpired: The version's time is over, and that was not allowed.
            CorruptData: Stored bytes fail their check: here, or when they are read.
        """
        parsed = as_reference(reference)
        tree = self._tree(parsed, allow_expired=allow_expired)
        return open_file(tree, self._backend, parsed.path, pool=self._requests)

    # -- looking -------------------------------------------------------------------------------------

    def list(self, folder: str = "") -> Iterator[FolderItem]:
        """Folders and names directly in a folder."""
        return self._catalog().folder(folder)

    def versions(self, name: str | Name) -> Iterator[VersionInfo]:
        """Versions of a name, the newest first."""
        return self._catalog().versions(as_name(name))

    def show(self, reference: str | Reference) -> VersionInfo:
        """Everything known about one version.

        Raises:
            InvalidName: No reference, or one to a path inside a version.
        """
        return self._catalog().version(parse_whole(reference))

    def resolve(self, reference: str | Reference, *, allow_expired: bool = False) -> VersionPin:
        """Which version a reference means now, with the content digest that its root proves.

        Raises:
            InvalidName: No reference, or one to a path inside a version.
            NameNotFound, VersionDeleted: There is no such version.
            VersionExpired: Its time is over, and that was not allowed.
        """
        target = parse_whole(reference)
        self.record  # noqa: B018 - as for _catalog
        readable_at = None if allow_expired else self._clock.now()
        version, root = open_version(
            self._backend, target.name, target.version, pool=self._requests, readable_at=readable_at
        )
        return VersionPin(version=version.text, tx=version.tx, content=root.content_digest.hex())

    def find(
        self,
        *,
        labels: str | Iterable[str] = (),
        where: str | Iterable[str] = (),
        folder: str = "",
        after: str = "",
        progress: Progress = NULL_PROGRESS,
        on_unreadable: Callable[[Unreadable], None] | None = None,
    ) -> Iterator[VersionInfo]:
        """Live versions by label and by conditions, by folder and name, the newest of a name first.

        With a label: one listing, and two requests for each version that was given it. Without one, all names below
        the folder are looked through. `VersionInfo.aliases` are not looked up.

        Args:
            labels: All of them are on the version.
            where: Conditions as `artifactstore.where` has them: ``metadata.acc >= 0.9``, ``created < 2026-11``.
            folder: The name lies below it, at any depth; empty for all.
            after: Only what is listed after this version (``name:v3``).
            progress: Told of each version looked at, as of a file.
            on_unreadable: Told of each version of which a record can't be read.

        Raises:
            CorruptData, UnsupportedFormat: A version can't be read; raised after all that can be. Not with
                ``on_unreadable``.
            InvalidName: A label, the folder or ``after`` is not of the grammar.
            InvalidExpression: A condition is not.
            NameNotFound: The folder is not there.
        """
        query = parse_query(labels=labels, where=where, folder=folder, after=after)
        self.record  # noqa: B018 - as for _catalog
        return Search(
            backend=self._backend, requests=self._requests, progress=progress, on_unreadable=on_unreadable
        ).find(query)

    def files(self, reference: str | Reference, *, allow_expired: bool = False) -> Iterator[Entry]:
        """The entries of a version, or below a path of it, in order.

        Raises:
            PathNotFound: The version has nothing at the path.
            VersionExpired: The version's time is over, and that was not allowed.
        """
        parsed = as_reference(reference)
        tree = self._tree(parsed, allow_expired=allow_expired)
        empty = True
        for entry, _, _ in tree.below(parsed.path):
            empty = False
            yield entry
        if empty and parsed.path:
            yield tree.find(parsed.path).entry

    def diff(
        self, old: str | Reference, new: str | Reference | os.PathLike[str], *, allow_expired: bool = False
    ) -> Iterator[Change]:
        """What changed from one version to another, or to a directory (a `pathlib.Path`).

        References with a path inside compare what is below it.

        Raises:
            VersionExpired: The time of one is over, and that was not allowed.
        """
        reference = as_reference(old)
        tree = self._tree(reference, allow_expired=allow_expired)
        if isinstance(new, os.PathLike):
            return self._diff_directory(self._entries_below(tree, reference), new, cut=tree.root.cut)
        other = as_reference(new)
        other_tree = self._tree(other, allow_expired=allow_expired)
        same_cut = tree.root.cut == other_tree.root.cut
        if not reference.path and not other.path:
            return diff_blocks(tree, other_tree, same_cut=same_cut)
        return diff_entries(
            self._entries_below(tree, reference), self._entries_below(other_tree, other), same_cut=same_cut
        )

    def status(
        self,
        directory: str | os.PathLike[str],
        reference: str | Reference | None = None,
        *,
        allow_expired: bool = False,
    ) -> StatusReport:
        """A directory against what it was last pushed or pulled as, or against a version.

        Raises:
            SourceNotFound: It is not there.
            NameNotFound: It was never pushed or pulled, as far as is known here.
        """
        check_sources([directory], store_path=None)
        if reference is not None:
            changes = self.diff(reference, Path(directory), allow_expired=allow_expired)
            return StatusReport(directory=os.fspath(directory), version=str(reference), changes=changes)
        context = self._context(self._settings())
        synced = self._state.last_synced(os.path.realpath(os.fsencode(directory)))
        entries = self._state.synced_entries(synced) if synced is not None else None
        if synced is None or entries is None:
            raise NameNotFound(
                f"{directory} was not pushed or pulled yet, as far as is known here",
                next_step="Name a version to compare it with: artifactstore status DIR NAME",
            )
        found = self._scan(directory)
        name, _, inside = synced.name.partition("//")
        version = f"{name}:v{synced.slot}" + (f"/{inside}" if inside else "")
        changes = diff_entries(entries, local_entries(context, found, cut=context.cut))
        return StatusReport(directory=os.fspath(directory), version=version, changes=changes)

    def _diff_directory(self, old: Iterable[Entry], directory: os.PathLike[str], *, cut: str) -> Iterator[Change]:
        found = self._scan(directory)
        return diff_entries(old, local_entries(self._context(), found, cut=parse_cut_function(cut)))

    def local_files(self, directory: str | os.PathLike[str], *, selection: Selection = EVERYTHING) -> Sequence[Entry]:
        """The entries that a push of a directory would make. Files that local state knows are not read.

        Args:
            selection: Only what these patterns take.

        Raises:
            SourceNotFound: It is not there.
            SourceError: A file can't be read, or kept changing.
        """
        check_sources([directory], store_path=None)
        context = self._context(self._settings())
        return local_entries(context, self._scan(directory, selection), cut=context.cut)

    def _scan(self, directory: os.PathLike[str] | str, selection: Selection = EVERYTHING) -> Scan:
        own = store_in_sources([directory], store_path=self._path)
        exclude = (*selection.exclude, *exclusions(own))
        return scan([directory], options=ScanOptions(include=selection.include, exclude=exclude), clock=self._clock)

    def _entries_below(self, tree: StoredTree, reference: Reference) -> Iterator[Entry]:
        """Entries below the reference's path, their paths relative to it."""
        strip = len(reference.path) + 1 if reference.path else 0
        for entry, _, _ in tree.below(reference.path):
            yield msgspec.structs.replace(entry, path=entry.path[strip:]) if strip else entry

    def aliases(self, name: str) -> Iterator[AliasInfo]:
        """Where the aliases of a name point."""
        return self._catalog().aliases(Name(name))

    def alias_history(self, name: str, alias: str) -> Iterator[AliasInfo]:
        """All moves of an alias, the newest first."""
        return self._catalog().alias_history(Name(name), alias)

    def set_alias(
        self, reference: str | Reference, alias: str, *, protect: bool | None = None, force: bool = False
    ) -> AliasInfo:
        """Make an alias point to a version.

        Args:
            protect: From now on it is protected, or not; None leaves that as it is.
            force: Move it although it is protected.

        Raises:
            InvalidName: No reference, or one to a path inside a version; no alias.
            AliasProtected: It is protected and points elsewhere.
        """
        target = parse_whole(reference)
        guard = Guard(protect=protect, force=force)
        return self.writable_catalog().set_alias(target, alias, author=author(), guard=guard)

    def protect_alias(self, name: str, alias: str) -> AliasInfo:
        """Protect an alias where it points: it moves on, or goes, only by force, and so does what it points to."""
        return self.writable_catalog().protect_alias(Name(name), alias, protect=True, author=author())

    def unprotect_alias(self, name: str, alias: str) -> AliasInfo:
        """Lift the protection of an alias."""
        return self.writable_catalog().protect_alias(Name(name), alias, protect=False, author=author())

    def delete_alias(self, name: str, alias: str, *, force: bool = False) -> AliasInfo:
        """Take an alias away. The version it points to stays, and so does its history.

        Raises:
            NameNotFound: No such alias.
            AliasProtected: It is protected.
        """
        return self.writable_catalog().delete_alias(Name(name), alias, author=author(), guard=Guard(force=force))

    def edit(self, reference: str | Reference, change: VersionEdit) -> VersionInfo:
        """Change message, labels, metadata or time-to-live of a version; its content never changes.

        Raises:
            InvalidName: No reference, or one to a path inside a version.
            InvalidMetadata: What would be noted is too long. Nothing was written.
            VersionDeleted: It is deleted.
        """
        return self.writable_catalog().edit(parse_whole(reference), change, author=author())

    def remove(self, reference: str | Reference, *, options: RemoveOptions = _DEFAULT_REMOVE) -> RemoveResult:
        """Delete a version, or with `RemoveOptions.all_versions` all of them. Space returns with garbage collection.

        Raises:
            InvalidName: No reference, or one to a path inside a version: versions are deleted whole.
        """
        target = parse_whole(reference)
        if not options.dry_run:
            self._prepare_for_write()
        return self._catalog().remove(target, options=options, author=author())

    def usage(self, reference: str | None = None) -> Usage:
        """What a version (``name:v3``, ``name:latest``), all versions of a name, or the whole store take.

        Raises:
            InvalidName: No reference, or one to a path inside a version.
        """
        if not reference:
            return self._catalog().usage(None)
        target = parse_whole(reference)
        return self._catalog().usage(target, all_versions=reference == target.name.text)

    def record_use(self, reference: str | Reference, *, by: str) -> bool:
        """Say that a job used a version, for `lineage`. A version made from another one says so by itself.

        Args:
            by: Id of the job.

        Returns:
            Whether that is new.

        Raises:
            InvalidName: No reference to a whole version, or no id of a job.
            NameNotFound, VersionDeleted: The version is not there.
        """
        target, job = parse_whole(reference), check_job_id(by)
        catalog = self.writable_catalog()
        version = resolve(self._backend, target.name, target.version)
        return record_use(self._backend, catalog.clock, version, job, author=author())


def open_store(  # noqa: PLR0913 - one keyword for each option of the command line
    url: str | os.PathLike[str] | None = None,
    *,
    clock: Clock = SYSTEM_CLOCK,
    single_writer: bool = False,
    jobs: int | None = None,
    limit_rate_bytes: int | None = None,
    max_memory_bytes: int | None = None,
    state_path: str | os.PathLike[str] | None = None,
) -> Store:
    """The store at a URL or path; without one, the store that the settings name (`artifactstore config`).

    What is not given comes from the settings, too.

    Args:
        single_writer: Write to storage that allows one writer at a time.
        jobs: Requests at once.
        limit_rate_bytes: Bytes a second at most, both ways together.
        max_memory_bytes: Budget for buffers.
        state_path: Folder of local state; by default in the user's data folder.

    Raises:
        ConfigurationError: A setting or the URL is wrong.
    """
    settings = load_settings(os.fspath(url) if url is not None else None)
    location = settings.store.url
    options = BackendOptions(
        jobs=jobs or settings.jobs or DEFAULT_JOBS, limit_rate_bytes=limit_rate_bytes or settings.limit_rate_bytes
    )
    return Store(
        location,
        open_backend(location, clock=clock, options=options),
        state=LocalState(state_path or settings.state_path, clock=clock),
        clock=clock,
        options=StoreOptions(
            jobs=options.jobs,
            memory_bytes=max_memory_bytes or settings.max_memory_bytes or DEFAULT_MEMORY_BYTES,
            single_writer=single_writer,
        ),
    )


def init_store(url: str | os.PathLike[str], *, single_writer: bool = False, clock: Clock = SYSTEM_CLOCK) -> Store:
    """Make a store at ``url`` unless there is one, and open it."""
    store = open_store(url, single_writer=single_writer, clock=clock)
    store.init()
    return store
