"""One upload's content: which files are read, what is reused, and the manifest over all of it.

The order of requests is that of docs/protocol.md, "Upload": `begin` came before this, so
whatever is learned here counts as seen; packs go out while files are read; then the extent
lists, the blocks and, from `encode_root`, the root. `replace` goes through the same code
again for the files whose packs were condemned meanwhile.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from artifactstore.codec import Codec, encode
from artifactstore.dedup.base import Base, TableLoader, translate
from artifactstore.dedup.known import KnownChunks
from artifactstore.dedup.neighbours import Neighbours
from artifactstore.dedup.packs import PackSet, RecordedPack
from artifactstore.dedup.prediction import OldContent
from artifactstore.digest import Digest, PackId
from artifactstore.errors import SourceChanged, SourceError
from artifactstore.manifest.build import (
    BlockIndex,
    BuiltPage,
    LocatedBlock,
    RootDetails,
    assemble_root,
    blocks_to_store,
    build_blocks,
    build_extent_list,
    build_pages,
    count_entries,
    in_reused_blocks,
    locate_blocks,
    needs_list,
)
from artifactstore.manifest.format import content_digest, encode_root, root_digest
from artifactstore.manifest.model import (
    HOLE,
    NO_PLACES,
    Counts,
    Entry,
    EntryKind,
    EntryPlaces,
    Extent,
    PackRow,
    StoredChunk,
)
from artifactstore.names import Name
from artifactstore.pack.format import SMALL_PACK_BYTES, ChunkKind
from artifactstore.transaction.upload import EncodedRoot
from artifactstore.transfer.context import UploadEnvironment
from artifactstore.transfer.feed import Feed
from artifactstore.transfer.found import CARRIED, Found, Notice, OnError, Scan
from artifactstore.transfer.handles import shown
from artifactstore.transfer.packing import PackSender
from artifactstore.transfer.pipeline import Pipeline, StoredFile
from artifactstore.transfer.read import SourceReader
from artifactstore.transfer.staging import Staging

MAX_SMALL_PACKS = 64
MAX_HINTED_PACKS = 256
ROOT_NONCE_BYTES = 16


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What local state remembers of an unchanged file: its entry, and its extents over a list of pack ids."""

    entry: Entry
    extents: tuple[Extent, ...]
    packs: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What local state knows of a scanned tree.

    Attributes:
        files: For each row of the scan what is remembered of it, if it still stands for it.
        packs: By absolute path of a directory, packs in which files of it lay before.
    """

    files: Sequence[KnownFile | None]
    packs: Mapping[bytes, Sequence[bytes]]


class ContentUpload:
    """The content of one scan on its way into the store. Implements `transaction.upload.RootSource`.

    Args:
        base: The version it builds on, or None.
        remembered: What local state knows of the tree.
        staging: Fetches what stored versions bring where it can't stay in their packs.

    Attributes:
        skipped: Files that could not be read and were left out.
        seen: By row of the scan, what each file that was read looked like after its last byte.
        sent_bytes, sent_packs: Of all packs put, metadata included.
        landmarks: Of the packs put, each with its pack.
        saved_bytes: Content bytes that did not have to be stored.
        gone: Those of the interrupted uploads' packs that are not there any more.
    """

    def __init__(
        self,
        environment: UploadEnvironment,
        scan: Scan,
        packs: PackSet,
        *,
        base: Base | None,
        remembered: Remembered,
        staging: Staging,
    ) -> None:
        self._staging = staging
        self._env = environment
        self._scan = scan
        self._packs = packs
        self._base = base
        self._known_files = remembered.files
        self._hints = remembered.packs
        self._rows: dict[int, tuple[Entry, tuple[Extent, ...]]] = {}
        self._index = BlockIndex(blocks=())
        self._pages: list[tuple[BuiltPage, StoredChunk]] = []
        self._counts = Counts()
        self._other_names: list[int] = []
        self.skipped: list[Notice] = []
        self.gone: list[PackId] = []
        self.seen: dict[int, Found] = {}
        self.sent_bytes = 0
        self.sent_packs = 0
        self.landmarks: list[tuple[Digest, PackId]] = []
        self.saved_bytes = 0

    # -- content -------------------------------------------------------------------------------------

    def store(self, *, interrupted: Sequence[RecordedPack]) -> None:
        """Put everything the version needs, its metadata included, and wait until the storage has it.

        Args:
            interrupted: Packs of earlier uploads of this user that never committed; what still answers is reused.

        Raises:
            SourceError: A file can't be read, or kept changing.
            BackendError: A pack could not be stored.
        """
        to_read = self._without_other_names(self._reuse_known_files())
        self._store_files(to_read, interrupted=interrupted)
        self._store_other_names()
        self._leave_lost_packs()
        small = self._small_packs()
        if len(small) > MAX_SMALL_PACKS:
            self._put_again(small)
            self._leave_lost_packs()
        self._store_metadata()

    def replace(self, packs: frozenset[PackId]) -> None:
        """Put again what is needed of these condemned packs (`RootSource`).

        Raises:
            SourceChanged: A file that was in them is not what it was.
        """
        before = {row: entry.digest for row, (entry, _) in self._rows.items()}
        self._put_again(packs)
        self._leave_lost_packs()
        for row, digest in before.items():
            now = self.entry_of(row)
            if now is None or now.digest != digest:
                raise SourceChanged(
                    "the store gave up a pack that this upload relied on, and a file that was in it has changed since",
                    where=shown(self._scan.found[row].path),
                )
        self._store_metadata()

    def encode_root(self, *, done_run: int, target: Name) -> EncodedRoot:
        """The root over what is stored (`RootSource`)."""
        details = RootDetails(
            cut=str(self._env.cut),
            counts=self._counts,
            target=str(target),
            done_run=done_run,
            nonce=self._env.clock.random_bytes(ROOT_NONCE_BYTES),
            base_tx=self._base.tx if self._base else "",
        )
        root = assemble_root(self._index, details, pages=self._pages, packs=self._packs)
        body = encode_root(root)
        return EncodedRoot(
            body=body,
            digest=root_digest(body),
            packs=frozenset(PackId(row.pack) for row in root.packs),
            content_digest=Digest(root.content_digest),
            cut=root.cut,
            counts=root.counts,
            stored_bytes=sum(row.used_bytes for row in root.packs),
            new_bytes=self.sent_bytes,
        )

    def content_digest(self) -> Digest:
        """The content digest of what is stored."""
        blocks = self._index.blocks
        return content_digest(str(self._env.cut), ((b.content_digest, b.entry_count) for b in blocks))

    def entries(self) -> list[Entry]:
        """All entries, in order."""
        return [self._rows[row][0] for row in sorted(self._rows)]

    def extents_of(self, row: int) -> tuple[Extent, ...]:
        """Places of a file of the scan, over the numbers that `pack_id` knows."""
        return self._rows[row][1]

    def pack_id(self, number: int) -> PackId:
        return self._packs.id_of(number)

    def pack_rows(self) -> tuple[PackRow, ...]:
        """The packs that the version needs."""
        return tuple({row.pack: row for block in self._index.blocks for row, _ in block.used}.values())

    @property
    def counts(self) -> Counts:
        return self._counts

    @property
    def new_content_bytes(self) -> int:
        """Content bytes that had to be stored."""
        return max(0, self._counts.content_bytes - self.saved_bytes)

    @property
    def changed_since_scan(self) -> bool:
        """Whether a file was not what the scan saw by the time it was read."""
        return any(seen is not self._scan.found[row] for row, seen in self.seen.items())

    def entry_of(self, row: int) -> Entry | None:
        return self._rows[row][0] if row in self._rows else None

    def _reuse_known_files(self) -> list[int]:
        """Fill in what needs no reading; returns the rows that do."""
        named = {PackId(p) for known in self._known_files if known is not None for p in known.packs}
        self._packs.ask(named, self._env.transfers)
        to_read: list[int] = []
        for row, found in enumerate(self._scan.found):
            if found.kind != EntryKind.FILE:
                reference = self._scan.references.get(found.path)
                self._rows[row] = Entry(found.path, found.kind, target=found.target, reference=reference), ()
                continue
            known = self._known_files[row]
            extents = translate(known.extents, known.packs, self._packs) if known is not None else None
            if known is None or extents is None:
                to_read.append(row)
                continue
            self._rows[row] = _entry(found, known.entry.digest, known.entry.xxh3), extents
            self.saved_bytes += found.size
        reused = len(self._scan.found) - len(to_read)
        self._env.progress.advance(files=reused, content_bytes=self.saved_bytes, saved_bytes=self.saved_bytes)
        return to_read

    def _without_other_names(self, rows: list[int]) -> list[int]:
        """These rows but for further names of a file that is among them: hard links are read once."""
        found, first_name = self._scan.found, self._scan.hard_links
        if not first_name:
            return rows
        paths = {found[row].path for row in rows}
        self._other_names = [row for row in rows if first_name.get(found[row].path) in paths]
        left = set(self._other_names)
        return [row for row in rows if row not in left]

    def _store_other_names(self) -> None:
        """Further names of files that were read: the same content, unless somebody broke the link meanwhile."""
        if not self._other_names:
            return
        rows = {entry.path: row for row, (entry, _) in self._rows.items()}
        again = []
        for row in self._other_names:
            found = self._scan.found[row]
            first = rows.get(self._scan.hard_links[found.path])
            if first is None or self.seen.get(first) is not self._scan.found[first]:
                again.append(row)
                continue
            entry, extents = self._rows[first]
            self._rows[row] = _entry(found, entry.digest, entry.xxh3), extents
            self.saved_bytes += found.size
            self._env.progress.advance(files=1, content_bytes=found.size, saved_bytes=found.size)
        self._store_files(again)

    def _store_files(self, rows: Sequence[int], *, interrupted: Sequence[RecordedPack] = ()) -> None:
        """Read these rows and give every chunk of them a place."""
        if not rows:
            return
        self._staging.stage([row for row in rows if self._scan.found[row].directory == CARRIED])
        known = KnownChunks()
        tables = TableLoader(self._env.backend, self._packs, known, self._env.transfers)
        self.gone += tables.load_recorded(interrupted)
        found = self._scan.found
        if self._base is not None:
            self._base.use_tables(tables)
            self._base.load_for([found[row].path for row in rows], sum(found[row].size for row in rows))
        tables.load(self._hinted_packs(rows))
        sender = PackSender(self._env, self._packs, known)
        neighbours = Neighbours(
            self._env.backend, self._packs, tables, self._env.transfers, cut=str(self._env.cut)
        )
        pipeline = Pipeline(
            self._env, sender, self._packs, known, same_file=self._same_file, neighbours=neighbours
        )
        try:
            with (
                SourceReader(self._scan) as reader,
                Feed(
                    reader,
                    ((row, found[row]) for row in rows),
                    cut=self._env.cut,
                    before_large=self._before_large,
                    on_unreadable=self._unreadable,
                ) as feed,
                closing(pipeline.run(feed)) as stored,
            ):
                self._take(stored)
            sender.flush()
        finally:
            neighbours.close()
            self._close_sender(sender)
        self.saved_bytes += pipeline.saved_bytes

    def _hinted_packs(self, rows: Sequence[int]) -> list[PackId]:
        """Where files that the base lacks may lie nevertheless, such as those just pushed under another name."""
        found, directories = self._scan.found, self._scan.directories
        strange = {
            found[row].directory for row in rows if self._base is None or not self._base.has_file(found[row].path)
        }
        packs = dict.fromkeys(
            PackId(pack) for number in sorted(strange) for pack in self._hints.get(directories[number].absolute, ())
        )
        hinted = list(packs)[:MAX_HINTED_PACKS]
        self._packs.ask(hinted, self._env.transfers)
        return hinted

    def _take(self, stored: Iterable[StoredFile]) -> None:
        for file in stored:
            self._rows[file.row] = _entry(file.seen, file.digest, file.xxh3), file.extents
            self.seen[file.row] = file.seen

    def _same_file(self, digest: bytes) -> tuple[Extent, ...] | None:
        return self._base.same_file(digest) if self._base is not None else None

    def _before_large(self, row: int) -> OldContent | None:
        found = self._scan.found[row]
        return self._base.learn_old_content(found.path, found.size) if self._base is not None else None

    def _unreadable(self, row: int, error: SourceError) -> None:
        if self._env.on_error is not OnError.SKIP:
            raise error
        self.skipped.append(Notice(self._scan.found[row].path, error.what))

    def _close_sender(self, sender: PackSender) -> None:
        sender.abandon()
        self.sent_bytes += sender.sent_bytes
        self.sent_packs += sender.sent_packs
        self.landmarks += sender.landmarks

    # -- packs that may not be kept ------------------------------------------------------------------

    def _small_packs(self) -> set[PackId]:
        """Packs so small that reading many of them would cost a request each time."""
        rows = [self._packs.row(number) for number in self._packs_in_use()]
        return {PackId(row.pack) for row in rows if row.object_bytes < SMALL_PACK_BYTES}

    def _packs_in_use(self) -> set[int]:
        """Numbers of the packs that content lies in."""
        return {e.pack for _, extents in self._rows.values() for e in extents if e.pack != HOLE}

    def _leave_lost_packs(self) -> None:
        """Store again what was reused from packs that were found gone or damaged afterwards.

        Reading those files again may show that further packs are, so until nothing lies in one.
        """
        while lost := self._packs.banned_among(self._packs_in_use()):
            self._put_again(lost)

    def _put_again(self, packs: Collection[PackId]) -> None:
        """Store the content that lies in these packs in new ones, from the source as it is now."""
        self._packs.ban(packs)
        rows = sorted(
            row
            for row, (_, extents) in self._rows.items()
            if any(e.pack != HOLE and self._packs.is_banned(e.pack) for e in extents)
        )
        for row in rows:
            del self._rows[row]
        self._store_files(rows)

    # -- metadata ------------------------------------------------------------------------------------

    def _store_metadata(self) -> None:
        """Cut entries into blocks and put those that the base does not have.

        A block names packs by id, and a pack's id follows from all its chunks. So content, extent lists, blocks and
        index pages each go into packs of their own, in this order.
        """
        entries = self.entries()
        self._counts = count_entries(entries)
        reuse = self._base.reusable() if self._base is not None else {}
        places, list_used = self._place_entries(entries, reuse)
        blocks = build_blocks(entries, places, packs=self._packs, list_used=list_used, reuse=reuse)
        stored = self._put_metadata(ChunkKind.BLOCK, [(b.raw, b.digest) for b in blocks_to_store(blocks)])
        self._index = locate_blocks(blocks, stored, packs=self._packs)
        pages = build_pages(self._index)
        page_places = self._put_metadata(ChunkKind.INDEX_PAGE, [(page.raw, page.digest) for page in pages])
        self._pages = list(zip(pages, page_places, strict=True))

    def _place_entries(
        self, entries: Sequence[Entry], reuse: Mapping[Digest, LocatedBlock]
    ) -> tuple[list[EntryPlaces], dict[bytes, dict[int, int]]]:
        """Places row by row, those of very many extents as lists that are stored here."""
        rows = sorted(self._rows)
        long = [number for number, row in enumerate(rows) if needs_list(self._rows[row][1])]
        listed = in_reused_blocks(entries, long, reuse=reuse)
        lists = {
            rows[number]: build_extent_list(self._rows[rows[number]][1], packs=self._packs)
            for number in long
            if number not in listed
        }
        pieces = [piece for row in lists for piece in lists[row].pieces]
        stored = iter(self._put_metadata(ChunkKind.EXTENT_LIST, pieces))
        list_places = {
            row: EntryPlaces(lists=tuple(next(stored) for _ in built.pieces)) for row, built in lists.items()
        }
        places = []
        for row in rows:
            extents = self._rows[row][1]
            places.append(list_places.get(row) or (EntryPlaces(extents) if extents else NO_PLACES))
        return places, {self._rows[row][0].path: dict(built.used) for row, built in lists.items()}

    def _put_metadata(self, kind: ChunkKind, chunks: Sequence[tuple[bytes, Digest]]) -> list[StoredChunk]:
        """Store metadata chunks in packs of their own."""
        if not chunks:
            return []
        sender = PackSender(self._env, self._packs, KnownChunks(budget_bytes=0))
        stored = []
        try:
            for raw, digest in chunks:
                codec, encoded = encode(raw, Codec.ZSTD)
                number, chunk, offset, stored_length = sender.add(
                    kind=kind, digest=digest, codec=codec, encoded=encoded, raw_length=len(raw)
                )
                stored.append(StoredChunk(number, chunk, offset, stored_length, digest))
            sender.flush()
        finally:
            self._close_sender(sender)
        return stored


def _entry(found: Found, digest: bytes, xxh3: bytes) -> Entry:
    return Entry(found.path, found.kind, found.size, found.executable, digest, xxh3)
