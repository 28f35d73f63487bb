"""Push: a directory of this machine becomes a version.

    scan  ∥  begin: look at `gc/`, at the name and its newest version
    unchanged by the signature of the scan?  → report it
    reuse, read, send: `upload.ContentUpload`
    unchanged by content?  → report it
    commit, then remember what was learned
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

from artifactstore.backend.wrappers.discard import DiscardBackend
from artifactstore.chunking import is_compiled
from artifactstore.dedup.base import Base
from artifactstore.dedup.landmarks import write_landmarks
from artifactstore.dedup.packs import PackSet, RecordedPack
from artifactstore.dedup.rows import DirectoryRows, DirectoryRowsBuilder
from artifactstore.dedup.state import Synced
from artifactstore.digest import PackId
from artifactstore.errors import CorruptData, VersionDeleted
from artifactstore.keys import TxId
from artifactstore.manifest.model import Entry, EntryKind, EntryPlaces, PackRow
from artifactstore.names import Name, Reference, check_alias, parse_whole
from artifactstore.pack.format import SMALL_PACK_BYTES, ChunkKind
from artifactstore.transaction.aliases import FORCE, NO_GUARD
from artifactstore.transaction.commit import commit, settle_early, settle_known
from artifactstore.transaction.edits import VersionEdit, edit_version, with_newest_edit
from artifactstore.transaction.expiry import NEVER, expiry_after, parse_ttl
from artifactstore.transaction.labels import put_label_hints
from artifactstore.transaction.notes import check_notes
from artifactstore.transaction.protection import check_protection_early, check_protection_finally
from artifactstore.transaction.records import Notes, VersionPin
from artifactstore.transaction.resolve import resolve
from artifactstore.transaction.upload import Action, CommitResult, IfUnchanged, SlotDetails, Upload, begin
from artifactstore.transaction.uses import put_made_hint, put_use_hints
from artifactstore.transaction.versions import Version, with_edit
from artifactstore.transfer.content import Content, deleted_among
from artifactstore.transfer.context import Reuse, StoreContext, UploadEnvironment
from artifactstore.transfer.found import (
    CARRIED,
    Found,
    Notice,
    Scan,
    ScanOptions,
)
from artifactstore.transfer.progress import NULL_PROGRESS, Progress
from artifactstore.transfer.provenance import job_id, provenance
from artifactstore.transfer.push_options import PushOptions as PushOptions
from artifactstore.transfer.push_options import PushResult as PushResult
from artifactstore.transfer.rollback import Witness
from artifactstore.transfer.staging import Staging
from artifactstore.transfer.synced import IN_PART, synced_name, with_rest
from artifactstore.transfer.upload import ContentUpload, KnownFile, Remembered
from artifactstore.tree import StoredTree

_log = logging.getLogger(__name__)
_PACK_MEMORY_BYTES: Final = 40 << 20
_MAX_PACKS_IN_FLIGHT: Final = 6


def push(
    context: StoreContext,
    source: Content,
    name: Name,
    *,
    options: PushOptions,
    progress: Progress = NULL_PROGRESS,
) -> PushResult:
    """Make a version of ``name`` out of what the source holds.

    Raises:
        NotFound: A version that it carries or is made from is not there, or was deleted meanwhile.
        PathExists: Parts of a composition have something for one path.
        SourceError: A source is missing, can't be read, or kept changing. No version was made.
        VersionExists: Strategy `error`, and the name has a live version.
        AliasProtected: A protected alias would move, or lose its version. No version was made.
        InvalidName, InvalidMetadata: An alias, or what is to be noted, can't be stored. Nothing was asked or written.
        CommitStateUnknown: It can't be found out whether the version was made.
        BackendError: The storage failed. No version was made.
    """
    for alias in options.aliases:
        check_alias(alias)
    notes = check_notes(
        Notes(
            message=options.message,
            labels=options.labels,
            metadata=options.metadata,
            expires=_expires(context, options),
        )
    )
    if not is_compiled():
        _log.warning("the chunker runs as pure Python, some 200 times slower: install pyfastcdc from a wheel")
    witness = Witness(context, name, aliases=options.aliases)
    # Whatever the scan finds, the look at `gc/` and at the name is the same: both at once.
    beginning = context.requests.submit(
        begin,
        context.backend,
        context.clock,
        name=name,
        strategy=options.strategy,
        guard=FORCE if options.force else NO_GUARD,
    )
    progress.phase("scanning", total_files=None, total_bytes=None)
    try:
        found = source.look(_scan_options(options), context.clock)
    except BaseException:
        beginning.cancel()
        raise
    upload = beginning.result()
    try:
        details = _details(context, options, notes, origin=source.origin)
        found = source.complete(found, context)
        with Staging(context.backend, found, pool=context.work) as staging:
            return _Push(context, found, options, progress, upload, witness).run(details, staging)
    except CorruptData as error:
        if (gone := deleted_among(context, error.versions)) is not None:
            raise VersionDeleted(f"{gone} was deleted while it was carried over, and is being collected") from error
        raise
    finally:
        upload.close()


def _expires(context: StoreContext, options: PushOptions) -> str:
    return expiry_after(context.clock, None if options.ttl_seconds is None else parse_ttl(options.ttl_seconds))


def _scan_options(options: PushOptions) -> ScanOptions:
    return ScanOptions(
        include=options.include,
        exclude=options.exclude,
        follow_links=options.follow_links,
        one_file_system=options.one_file_system,
        on_error=options.on_error,
        growth=options.growth,
    )


def _details(context: StoreContext, options: PushOptions, notes: Notes, *, origin: str) -> SlotDetails:
    pins = context.requests.map(partial(_pin, context), _parsed(options.made_from))
    where = provenance(origin)
    return SlotDetails(
        who=where.who,
        host=where.host,
        message=notes.message,
        git=where.git,
        labels=notes.labels,
        metadata=notes.metadata,
        expires=notes.expires,
        made_by=options.made_by or job_id(),
        made_from=tuple(pins),
    )


def _parsed(made_from: Sequence[str | Reference | VersionPin]) -> list[Reference | VersionPin]:
    return [given if isinstance(given, VersionPin) else parse_whole(given) for given in made_from]


def _pin(context: StoreContext, given: Reference | VersionPin) -> VersionPin:
    return given if isinstance(given, VersionPin) else resolve(context.backend, given.name, given.version).pin


class _Push:
    """One push, after the scan."""

    def __init__(
        self,
        context: StoreContext,
        found: Scan,
        options: PushOptions,
        progress: Progress,
        upload: Upload,
        witness: Witness,
    ) -> None:
        self._witness = witness
        self._context = context
        self._scan = found
        self._options = options
        self._progress = progress
        self._upload = upload
        self._signature = found.signature()
        self._content: ContentUpload | None = None
        self._sent: list[PackRow] = []
        self._details = SlotDetails()

    def run(self, details: SlotDetails, staging: Staging) -> PushResult:
        upload, options = self._upload, self._options
        self._details = details
        self._witness.look_at_slot(upload.highest_slot)
        if not options.dry_run and (early := settle_early(upload, aliases=options.aliases)):
            return self._settled(early)
        synced = self._unchanged_by_signature()
        if synced is not None:
            if options.dry_run:
                return self._planned_unchanged()
            known = settle_known(upload, tx=TxId(synced.tx), aliases=options.aliases, details=self._details)
            if known is not None:
                return self._settled(known)
        again = options.reuse is Reuse.NOTHING
        check_protection_early(upload, aliases=options.aliases, makes_version=again)
        self._content = self._store_content(staging)
        if options.dry_run:
            return self._planned(self._content)
        result = self._commit(self._content)
        self._leave_hints(self._content, result)
        self._remember(self._content, result)
        return self._result(result)

    @property
    def _reads_everything(self) -> bool:
        return self._options.checksum or self._options.reuse is Reuse.NOTHING

    def _unchanged_by_signature(self) -> Synced | None:
        """The synced state that this tree still is, if its version is the latest one."""
        context, latest = self._context, self._upload.latest
        if latest is None or self._reads_everything or self._scan.skipped:
            return None
        synced = context.state.synced(context.store_id, self._scan.source_key, latest.name.text)
        if synced is None or not synced.is_settled or synced.tx != latest.tx or synced.signature != self._signature:
            return None
        return synced

    # -- content -------------------------------------------------------------------------------------

    def _store_content(self, staging: Staging) -> ContentUpload:
        context, upload = self._context, self._upload
        remembered = self._remembered_rows()
        packs = PackSet(
            context.backend,
            recorded=lambda pack: context.state.recorded_pack(context.store_id, pack),
            adopt=upload.adopt,
        )
        base = self._base(packs)
        content = ContentUpload(
            self._environment(),
            self._scan,
            packs,
            base=base,
            remembered=Remembered(
                files=self._known_files(remembered, packs),
                packs={path: rows.packs for path, rows in remembered.items()},
            ),
            staging=staging,
        )
        self._progress.phase(
            "uploading", total_files=len(self._scan.found), total_bytes=self._scan.content_bytes
        )
        content.store(interrupted=self._interrupted())
        context.state.forget_packs(context.store_id, content.gone)
        return content

    def _environment(self) -> UploadEnvironment:
        context = self._context
        backend = DiscardBackend(context.backend) if self._options.dry_run else context.backend
        return UploadEnvironment(
            backend=backend,
            clock=context.clock,
            store_id=context.store_id,
            cut=context.cut,
            compression=self._options.compression,
            reuse=self._options.reuse,
            on_error=self._options.on_error,
            work=context.work,
            transfers=context.requests,
            packs_in_flight=max(1, min(_MAX_PACKS_IN_FLIGHT, context.memory_bytes // _PACK_MEMORY_BYTES - 1)),
            on_put=self._ignore_pack if self._options.dry_run else self._record_pack,
            progress=self._progress,
        )

    def _ignore_pack(self, row: PackRow, kind: ChunkKind) -> None:
        """A dry run puts nothing."""

    def _record_pack(self, row: PackRow, kind: ChunkKind) -> None:
        """Its PUT was answered: an interrupted upload need not send its content again."""
        if kind is ChunkKind.CONTENT:  # blocks and lists are of use to nobody before their version is committed
            pack = RecordedPack(
                pack=PackId(row.pack),
                done_run=self._upload.done_run,
                object_bytes=row.object_bytes,
                table_bytes=row.table_bytes,
            )
            self._context.state.record_pack(self._context.store_id, pack, tx=self._upload.tx)
        self._sent.append(row)
        self._upload.heartbeat(lambda: tuple(self._sent), cut=str(self._context.cut))

    def _base(self, packs: PackSet) -> Base | None:
        """The newest live version, else the other one named, if its content is cut like ours."""
        if self._options.reuse is Reuse.NOTHING:
            return None
        other, cut = self._scan.base, str(self._context.cut)
        if other is not None:
            self._trust(other.tree, packs)
        latest, root = self._upload.latest, self._upload.latest_root()
        if latest is not None and root is not None and root.cut == cut:
            packs.ban(self._upload.condemned([PackId(row.pack) for row in root.packs]))
            return Base(StoredTree(self._context.backend, root, version=latest.text), latest.tx, packs)
        return Base(other.tree, other.tx, packs) if other is not None and other.tree.root.cut == cut else None

    def _trust(self, tree: StoredTree, packs: PackSet) -> None:
        """Rely on the packs of a version that was found live after `begin`."""
        packs.ban(self._upload.condemned([PackId(row.pack) for row in tree.root.packs]))
        packs.trust(tree.root.packs)

    def _interrupted(self) -> list[RecordedPack]:
        if self._options.reuse is Reuse.NOTHING:
            return []
        return self._context.state.pending_packs(self._context.store_id)

    def _remembered_rows(self) -> dict[bytes, DirectoryRows]:
        if self._reads_everything:
            return {}
        paths = [directory.absolute for directory in self._scan.directories]
        return self._context.state.load_directories(self._context.store_id, paths, cut=str(self._context.cut))

    def _known_files(self, remembered: dict[bytes, DirectoryRows], packs: PackSet) -> list[KnownFile | None]:
        self._trust_carried(packs)
        rows_of = [remembered.get(directory.absolute) for directory in self._scan.directories]
        return [
            self._known_carried(found) if found.directory == CARRIED else _known(found, rows_of[found.directory])
            for found in self._scan.found
        ]

    def _trust_carried(self, packs: PackSet) -> None:
        """The versions that files are carried from were found live after `begin`: their packs may be relied on."""
        if self._options.reuse is Reuse.NOTHING:
            return
        trees = {id(file.tree): file.tree for file in self._scan.carried.values()}
        for tree in trees.values():
            self._trust(tree, packs)

    def _known_carried(self, found: Found) -> KnownFile | None:
        """None for what has to be read again: under another cut function its digest would be another."""
        file = self._scan.carried.get(found.path)
        if file is None or file.tree.root.cut != str(self._context.cut) or self._options.reuse is Reuse.NOTHING:
            return None
        entry = Entry(found.path, found.kind, found.size, found.executable, file.digest, file.xxh3)
        return KnownFile(entry, file.extents, file.packs)

    # -- the end -------------------------------------------------------------------------------------

    def _commit(self, content: ContentUpload) -> CommitResult:
        self._progress.phase("committing", total_files=None, total_bytes=None)
        again = self._options.reuse is Reuse.NOTHING
        return commit(
            self._upload,
            content,
            details=self._details,
            aliases=self._options.aliases,
            if_unchanged=IfUnchanged.COMMIT if again else IfUnchanged.REPORT,
        )

    def _leave_hints(self, content: ContentUpload, result: CommitResult) -> None:
        """Landmarks, labels and uses, of committed versions only; losing them costs no data."""
        if result.action is Action.COMMITTED:
            context, version = self._context, result.version
            write_landmarks(context.backend, version.tx, content.landmarks, pool=context.requests)
            put_label_hints(context.backend, version, self._details.labels, pool=context.requests)
            put_use_hints(context.backend, context.clock, version, pool=context.requests)
            put_made_hint(context.backend, context.clock, version)
        else:
            self._repair_hint(result.version)

    def _settled(self, result: CommitResult) -> PushResult:
        """What was there already, before anything was read or sent."""
        self._repair_hint(result.version)
        return self._result(result)

    def _repair_hint(self, version: Version) -> None:
        """A job that pushes again what it made may have been cut off after the commit."""
        if version.record.made_by == self._details.made_by:
            put_made_hint(self._context.backend, self._context.clock, version)

    def _remember(self, content: ContentUpload, result: CommitResult) -> None:
        """What the next push of this tree need not find out again. Losing it costs time only."""
        context, version = self._context, result.version
        if result.action is Action.SKIPPED:
            return
        packs = {PackId(row.pack) for row in (*self._sent, *content.pack_rows())}
        context.state.mark_packs_committed(context.store_id, packs)
        context.state.save_directories(context.store_id, self._rows_to_remember(content), cut=str(context.cut))
        is_part = self._scan.is_part
        if content.skipped or self._scan.temporary or (self._scan.carried and not is_part):
            return
        name = version.name.text
        synced = Synced(
            store_id=context.store_id,
            directory=self._scan.source_key,
            name=synced_name(name, IN_PART) if is_part else name,
            slot=version.slot,
            tx=version.tx,
            content_digest=content.content_digest(),
            signature=self._signature,
            is_settled=self._scan.is_settled() and not content.changed_since_scan and not is_part,
            url=context.url,
        )
        context.state.record_synced(synced, self._part_synced(content) if is_part else content.entries())

    def _part_synced(self, content: ContentUpload) -> list[Entry]:
        """What came from this machine; of the rest what was synced here before, and is in the version still."""
        before = self._context.state.last_synced(self._scan.source_key)
        known = before is not None and before.store_id == self._context.store_id
        entries = self._context.state.synced_entries(before) if before is not None and known else None
        carried = {found.path for found in self._scan.found if found.directory == CARRIED}
        own = (entry for entry in content.entries() if entry.path not in carried)
        return with_rest(own, entries or (), stays=lambda entry: entry.path in carried)

    def _rows_to_remember(self, content: ContentUpload) -> dict[bytes, DirectoryRows]:
        builders: dict[int, DirectoryRowsBuilder] = {}
        directories = self._scan.directories
        for row, found in enumerate(self._scan.found):
            if found.directory == CARRIED or found.directory in self._scan.temporary:
                continue
            if found.kind != EntryKind.FILE or (entry := content.entry_of(row)) is None:
                continue
            builder = builders.get(found.directory)
            if builder is None:
                builder = builders[found.directory] = DirectoryRowsBuilder(observed_at=self._scan.started_at)
            builder.add(
                content.seen.get(row, found),
                digest=entry.digest,
                xxh3=entry.xxh3,
                places=EntryPlaces(content.extents_of(row)),
                pack_id=content.pack_id,
            )
        return {directories[i].absolute: builder.build() for i, builder in builders.items()}

    # -- results -------------------------------------------------------------------------------------

    def _result(self, result: CommitResult) -> PushResult:
        content, version = self._content, result.version
        record = version.record
        self._witness.note_slot(version.name, version.slot)
        if version.name == self._upload.name:  # strategy `new` may have made another name
            for move in result.moves:
                self._witness.look_at_move(move.alias, move.number)
        action = "replaced" if result.replaced and result.action is Action.COMMITTED else result.action.value
        packs = content.pack_rows() if content is not None else ()
        return PushResult(
            action=action,
            name=version.name.text,
            version=version.text,
            slot=version.slot,
            content_digest=record.content,
            files=record.files,
            content_bytes=record.content_bytes,
            new_bytes=content.new_content_bytes if content is not None else 0,
            sent_bytes=content.sent_bytes if content is not None else 0,
            aliases=tuple(move.alias for move in result.moves),
            replaced=tuple(f"{version.name}:v{slot}" for slot in result.replaced),
            notices=self._notices(),
            pack_count=len(packs),
            small_pack_count=sum(row.object_bytes < SMALL_PACK_BYTES for row in packs),
            edited=result.action is Action.UNCHANGED and self._note_on(version),
            references=record.references,
        )

    def _note_on(self, version: Version) -> bool:
        """Note on the version that stands what was asked of a new one, as its aliases move to it."""
        options, context = self._options, self._context
        is_asked = options.message or options.labels or options.metadata or options.ttl_seconds is not None
        # What others noted since `begin` counts; where nothing is asked for, a request more would be for nothing.
        before = (with_newest_edit if is_asked else with_edit)(context.backend, version)
        # Whoever uploads content wants it to be read: a time that is over does not go on being over.
        renewed = NEVER if before.notes.has_expired(context.clock.now()) else None
        change = VersionEdit(
            message=options.message if options.message and not before.notes.message else None,
            add_labels=self._details.labels,
            set_metadata=self._details.metadata,
            ttl=renewed if options.ttl_seconds is None else options.ttl_seconds,
        )
        if change == VersionEdit():
            return False
        after = edit_version(context.backend, context.clock, before, change, author=self._details.author)
        return after.notes != before.notes

    def _planned(self, content: ContentUpload) -> PushResult:
        latest, digest = self._upload.latest, content.content_digest().hex()
        is_unchanged = latest is not None and latest.record.content == digest
        if not is_unchanged:
            check_protection_finally(self._upload, aliases=self._options.aliases)
        return PushResult(
            action="unchanged" if is_unchanged else "planned",
            name=self._upload.name.text,
            version=latest.text if latest is not None else None,
            slot=latest.slot if latest is not None else None,
            content_digest=digest,
            files=content.counts.files,
            content_bytes=content.counts.content_bytes,
            new_bytes=content.new_content_bytes,
            sent_bytes=content.sent_bytes,
            notices=self._notices(),
            references=content.counts.references,
        )

    def _planned_unchanged(self) -> PushResult:
        latest = self._upload.latest
        assert latest is not None
        return PushResult(
            action="unchanged",
            name=self._upload.name.text,
            version=latest.text,
            slot=latest.slot,
            content_digest=latest.record.content,
            files=latest.record.files,
            content_bytes=latest.record.content_bytes,
            new_bytes=0,
            sent_bytes=0,
            notices=self._notices(),
            references=latest.record.references,
        )

    def _notices(self) -> tuple[Notice, ...]:
        skipped = self._content.skipped if self._content is not None else []
        return (*self._scan.notices, *self._scan.skipped, *skipped)


def _known(found: Found, rows: DirectoryRows | None) -> KnownFile | None:
    """What is remembered of a file, if it still stands for it."""
    if rows is None or found.kind != EntryKind.FILE or (row := rows.find(found)) is None:
        return None
    places = rows.places(row)
    if places.lists:
        return None  # a pull's: its extents are in the store, and asking for them needs their packs first
    return KnownFile(rows.entry(row, found.path, executable=found.executable), places.extents, rows.packs)
