"""A small uploader over trees in memory, for tests of the protocol.

It uses the real formats and the real `transaction` layer, and does in the plainest way what
an uploader has to do: files of one chunk each, a block of entries for each first letter,
stored in packs, reuse of the latest version and of its own interrupted uploads.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock
from artifactstore.codec import Codec
from artifactstore.digest import (
    BLOCK_CONTEXT,
    CHUNK_CONTEXT,
    Digest,
    PackId,
    digest_of,
    xxh3_of,
)
from artifactstore.errors import CorruptData, ObjectNotFound, SourceChanged
from artifactstore.keys import pack_key
from artifactstore.manifest.format import (
    block_content_digest,
    content_digest,
    decode_block,
    encode_block,
    encode_root,
    root_digest,
    single_chunk_file_digest,
)
from artifactstore.manifest.model import (
    Block,
    BlockRow,
    Counts,
    Entry,
    EntryKind,
    EntryPlaces,
    Extent,
    PackRow,
    Root,
    StoredChunk,
)
from artifactstore.names import Name
from artifactstore.pack.format import ChunkKind
from artifactstore.pack.reader import read_chunk, read_extent
from artifactstore.pack.writer import AddedChunk, PackBuilder
from artifactstore.transaction.commit import commit, settle_early, settle_unchanged
from artifactstore.transaction.roots import load_root
from artifactstore.transaction.upload import CommitResult, EncodedRoot, Strategy, Upload, begin
from artifactstore.transaction.versions import Version

CUT: Final = "fastcdc-v2020:16384:65536:262144"
_MAX_RAW_BYTES: Final = 1 << 20
_PACK_BYTES: Final = 64 << 10
Tree = dict[bytes, bytes]
"""Files by path; none empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a chunk or block lies."""

    pack: PackRow
    chunk: AddedChunk


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPack:
    """A pack that this user's uploads put, as local state keeps it: with the *d* of that upload, for good."""

    done_run: int
    places: dict[Digest, Place]


@dataclass(slots=True)
class LocalState:
    """What one user's machine remembers between uploads."""

    packs: dict[PackId, RecordedPack] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredBlock:
    row: BlockRow
    place: Place
    packs: tuple[PackRow, ...]  # of its files and its own


class ScriptedUpload:
    """One upload: the `RootSource` that a real uploader is to `commit`."""

    def __init__(self, upload: Upload, tree: Tree, local: LocalState) -> None:
        self.upload: Final = upload
        self.source: Final = tree
        self._backend = upload.backend
        self._clock = upload.clock
        self._local = local
        self._entries = {path: _entry(path, content) for path, content in sorted(tree.items())}
        self._chunks = {path: digest_of(CHUNK_CONTEXT, content) for path, content in tree.items()}
        self._places: dict[Digest, Place] = {}
        self._blocks: dict[Digest, _StoredBlock] = {}
        self.new_bytes = 0

    @property
    def content_digest(self) -> Digest:
        blocks = [(_entries_digest(entries), len(entries)) for entries in self._groups()]
        return content_digest(CUT, blocks)

    def learn(self) -> None:
        """Step (2): what can be reused, all of it seen after `begin`."""
        root = self.upload.latest_root()
        if root is not None:
            spoiled = self.upload.condemned([PackId(row.pack) for row in root.packs])
            self._learn_version(root, spoiled)
        for pack, recorded in self._local.packs.items():
            if any(digest not in self._places for digest in recorded.places) and self._answers(pack):
                self.upload.adopt(recorded.done_run)
                for digest, place in recorded.places.items():
                    self._places.setdefault(digest, place)

    def _learn_version(self, root: Root, spoiled: frozenset[PackId]) -> None:
        for row in root.blocks:
            packs = tuple(root.packs[index] for index, _ in row.used)
            if any(PackId(p.pack) in spoiled for p in packs):
                continue
            stored = row.stored
            place = Place(
                pack=root.packs[stored.pack], chunk=AddedChunk(stored.chunk, stored.offset, stored.stored_length)
            )
            try:
                block = _read_block(self._backend, root, row)
            except ObjectNotFound:
                continue  # collected while this upload slept: a miss
            self._blocks[Digest(row.content_digest)] = _StoredBlock(row=row, place=place, packs=packs)
            by_id = {p.pack: p for p in packs}
            for entry, places in zip(block.entries, block.places, strict=True):
                extent = places.extents[0]
                chunk = AddedChunk(extent.first_chunk, extent.offset, extent.stored_length)
                mine = self._entries.get(entry.path)
                if mine is not None and mine.digest == entry.digest:
                    self._places[self._chunks[entry.path]] = Place(pack=by_id[block.packs[extent.pack]], chunk=chunk)

    def _answers(self, pack: PackId) -> bool:
        try:
            self._backend.head(pack_key(pack))
        except ObjectNotFound:
            return False
        return True

    def put_packs(self) -> None:
        """Step (3): chunks first, then the blocks that name them."""
        missing = {d: self.source[path] for path, d in self._chunks.items() if d not in self._places}
        self._places |= self._put(ChunkKind.CONTENT, missing)
        blocks: dict[Digest, tuple[Digest, list[Entry], bytes, tuple[PackRow, ...]]] = {}
        for entries in self._groups():
            content = _entries_digest(entries)
            if content not in self._blocks:
                raw, packs = self._encode_block(entries)
                blocks[content] = (digest_of(BLOCK_CONTEXT, raw), entries, raw, packs)
        places = self._put(ChunkKind.BLOCK, {digest: raw for digest, _, raw, _ in blocks.values()})
        for content, (digest, entries, _, packs) in blocks.items():
            self._blocks[content] = _stored_block(content, digest, entries, places[digest], packs)

    def _groups(self) -> list[list[Entry]]:
        return [list(group) for _, group in groupby(self._entries.values(), key=lambda entry: entry.path[:1])]

    def _encode_block(self, entries: Sequence[Entry]) -> tuple[bytes, tuple[PackRow, ...]]:
        places = [self._places[self._chunks[entry.path]] for entry in entries]
        packs = tuple({place.pack.pack: place.pack for place in places}.values())
        numbers = {pack.pack: number for number, pack in enumerate(packs)}
        rows = tuple(_places(numbers[p.pack.pack], p.chunk, e.size) for p, e in zip(places, entries, strict=True))
        block = Block(entries=tuple(entries), places=rows, packs=tuple(pack.pack for pack in packs))
        return encode_block(block), packs

    def _put(self, kind: ChunkKind, items: dict[Digest, bytes]) -> dict[Digest, Place]:
        """One pack of these chunks; recorded only once its PUT was answered, with this upload's *d*."""
        if not items:
            return {}
        builder = PackBuilder(store_id=bytes(16), nonce=self._clock.random_bytes(16), capacity_bytes=_PACK_BYTES)
        added = {
            digest: builder.add(kind=kind, digest=digest, codec=Codec.RAW, encoded=raw, raw_length=len(raw))
            for digest, raw in items.items()
        }
        sealed = builder.seal()
        row = PackRow(pack=sealed.pack, object_bytes=len(sealed.body), table_bytes=sealed.table_bytes, used_bytes=0)
        done_run = self.upload.done_run
        self._backend.put(pack_key(sealed.pack), sealed.body)
        self.new_bytes += len(sealed.body)
        places = {digest: Place(pack=row, chunk=chunk) for digest, chunk in added.items()}
        if kind is ChunkKind.CONTENT:
            self._local.packs[sealed.pack] = RecordedPack(done_run=done_run, places=places)
        return places

    def encode_root(self, *, done_run: int, target: Name) -> EncodedRoot:
        blocks = [self._blocks[_entries_digest(entries)] for entries in self._groups()]
        packs = sorted({p.pack: p for b in blocks for p in b.packs}.values(), key=lambda row: row.pack)
        number = {row.pack: index for index, row in enumerate(packs)}
        root = Root(
            cut=CUT,
            content_digest=self.content_digest,
            counts=Counts(files=len(self._entries), content_bytes=sum(map(len, self.source.values()))),
            target=target.text,
            done_run=done_run,
            nonce=self._clock.random_bytes(16),
            packs=tuple(packs),
            blocks=tuple(_renumbered(block, number) for block in blocks),
        )
        body = encode_root(root)
        return EncodedRoot(
            body=body,
            digest=root_digest(body),
            packs=frozenset(PackId(row.pack) for row in packs),
            content_digest=Digest(root.content_digest),
            cut=CUT,
            counts=root.counts,
            new_bytes=self.new_bytes,
        )

    def replace(self, packs: frozenset[PackId]) -> None:
        """Chunks in these packs, and every block that lies in one of them or names one, are put again."""
        self._places = {d: place for d, place in self._places.items() if place.pack.pack not in packs}
        self._blocks = {d: b for d, b in self._blocks.items() if packs.isdisjoint(PackId(p.pack) for p in b.packs)}
        for pack in packs:
            self._local.packs.pop(pack, None)
        for path, digest in self._chunks.items():
            if digest not in self._places and digest_of(CHUNK_CONTEXT, self.source.get(path, b"")) != digest:
                raise SourceChanged(f"{path!r} changed since it was read")
        self.put_packs()


def push(  # noqa: PLR0913 - what a push is told
    backend: Backend,
    clock: Clock,
    name: str,
    tree: Tree,
    *,
    strategy: Strategy = Strategy.VERSION,
    aliases: Sequence[str] = (),
    local: LocalState | None = None,
) -> CommitResult:
    """Upload a tree, from step (1) to (9)."""
    upload = begin(backend, clock, name=Name(name), strategy=strategy)
    if (settled := settle_early(upload, aliases=aliases)) is not None:
        return settled
    source = ScriptedUpload(upload, tree, local if local is not None else LocalState())
    settled = settle_unchanged(upload, content_digest=source.content_digest, cut=CUT, aliases=aliases)
    if settled is not None:
        return settled
    source.learn()
    source.put_packs()
    return commit(upload, source, aliases=aliases)


def read_tree(backend: Backend, version: Version) -> Tree:
    """Every byte of a version, each checked.

    Raises:
        NotFound, CorruptData: A version that can't be read whole.
    """
    root = load_root(backend, version)
    tree: Tree = {}
    for row in root.blocks:
        block = _read_block(backend, root, row)
        for entry, places in zip(block.entries, block.places, strict=True):
            extent = places.extents[0]
            chunks = list(
                read_extent(
                    backend,
                    PackId(block.packs[extent.pack]),
                    offset=extent.offset,
                    stored_length=extent.stored_length,
                    chunk_count=1,
                    max_raw_length=_MAX_RAW_BYTES,
                )
            )
            ((digest, raw),) = chunks
            if single_chunk_file_digest(digest, len(raw)) != entry.digest:
                raise CorruptData("content is not that of the entry", versions=[version.text])
            tree[entry.path] = bytes(raw)
    return tree


def _read_block(backend: Backend, root: Root, row: BlockRow) -> Block:
    stored = row.stored
    raw = read_chunk(
        backend,
        PackId(root.packs[stored.pack].pack),
        kind=ChunkKind.BLOCK,
        offset=stored.offset,
        stored_length=stored.stored_length,
        digest=Digest(stored.digest),
        max_raw_length=_MAX_RAW_BYTES,
    )
    return decode_block(raw)


def _entry(path: bytes, content: bytes) -> Entry:
    digest = single_chunk_file_digest(digest_of(CHUNK_CONTEXT, content), len(content))
    return Entry(path, EntryKind.FILE, len(content), False, digest, xxh3_of(content))


def _entries_digest(entries: Iterable[Entry]) -> Digest:
    block = Block(entries=tuple(entries), places=(), packs=())
    return block_content_digest(encode_block(block))


def _places(pack: int, chunk: AddedChunk, size: int) -> EntryPlaces:
    return EntryPlaces((Extent(pack, chunk.number, 1, chunk.offset, chunk.stored_length, size),))


def _stored_block(
    content: Digest, digest: Digest, entries: Sequence[Entry], place: Place, packs: tuple[PackRow, ...]
) -> _StoredBlock:
    chunk = place.chunk
    row = BlockRow(
        entries[0].path,
        len(entries),
        content,
        StoredChunk(0, chunk.number, chunk.offset, chunk.stored_length, digest),
        (),
    )
    return _StoredBlock(row=row, place=place, packs=(*packs, place.pack))


def _renumbered(block: _StoredBlock, number: dict[bytes, int]) -> BlockRow:
    old = block.row
    stored = StoredChunk(
        number[block.place.pack.pack],
        old.stored.chunk,
        old.stored.offset,
        old.stored.stored_length,
        old.stored.digest,
    )
    used = tuple((index, 0) for index in sorted({number[pack.pack] for pack in block.packs}))
    return BlockRow(old.first_path, old.entry_count, old.content_digest, stored, used)
