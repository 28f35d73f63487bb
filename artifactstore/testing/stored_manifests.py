"""Versions written straight into a backend, for tests of whatever reads them.

`PackShelf` plays the uploader's part: it puts chunks into packs and knows the packs by
number. `store_tree` makes a sound version from contents; `store_rows` writes whatever rows
it is given, sound or not.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from artifactstore.backend.protocol import Backend
from artifactstore.chunking import DEFAULT_CUT
from artifactstore.codec import Codec, encode
from artifactstore.digest import BLOCK_CONTEXT, Digest, digest_of, xxh3_of
from artifactstore.keys import pack_key
from artifactstore.manifest.build import (
    BlockIndex,
    RootDetails,
    assemble_root,
    blocks_to_store,
    build_blocks,
    build_pages,
    count_entries,
    locate_blocks,
)
from artifactstore.manifest.format import content_digest, encode_block, entries_digest, file_digest
from artifactstore.manifest.format import encode_entries as encode_rows
from artifactstore.manifest.model import (
    INLINE,
    NO_PLACES,
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
from artifactstore.manifest.paths import path_sort_key
from artifactstore.pack.format import ChunkKind, context_of
from artifactstore.pack.writer import PackBuilder

STORE_ID: Final = bytes(range(16))
ROOT_NONCE: Final = bytes(16)
CHUNK_BYTES: Final = DEFAULT_CUT.max_bytes


class PackShelf:
    """Packs of one upload: filled, sealed and put into a backend; deterministic for one ``seed``."""

    def __init__(self, backend: Backend, *, seed: str = "shelf", capacity_bytes: int = 4 << 20) -> None:
        self._backend = backend
        self._seed = seed
        self._capacity_bytes = capacity_bytes
        self._rows: list[PackRow] = []
        self._builder: PackBuilder | None = None

    def row(self, number: int) -> PackRow:
        """The row of a sealed pack."""
        return self._rows[number]

    def add(self, kind: ChunkKind, raw: bytes) -> StoredChunk:
        """Store one chunk; the place names the pack by its number."""
        codec, encoded = encode(raw, Codec.ZSTD)
        if self._builder is not None and not self._builder.fits(len(encoded)):
            self.seal()
        if self._builder is None:
            nonce = hashlib.shake_128(f"{self._seed} {len(self._rows)}".encode()).digest(16)
            self._builder = PackBuilder(store_id=STORE_ID, nonce=nonce, capacity_bytes=self._capacity_bytes)
        digest = digest_of(context_of(kind), raw)
        added = self._builder.add(kind=kind, digest=digest, codec=codec, encoded=encoded, raw_length=len(raw))
        return StoredChunk(len(self._rows), added.number, added.offset, added.stored_length, digest)

    def add_file(self, content: bytes) -> tuple[Digest, EntryPlaces]:
        """Store the content of a file, cut every 256 KiB."""
        chunks = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]
        stored = [self.add(ChunkKind.CONTENT, chunk) for chunk in chunks]
        extents = tuple(
            Extent(s.pack, s.chunk, 1, s.offset, s.stored_length, len(c)) for s, c in zip(stored, chunks, strict=True)
        )
        lengths = map(len, chunks)
        return file_digest((Digest(s.digest), n) for s, n in zip(stored, lengths, strict=True)), EntryPlaces(extents)

    def seal(self) -> None:
        """Put the pack being filled, if there is one."""
        if self._builder is not None:
            sealed = self._builder.seal()
            self._backend.put(pack_key(sealed.pack), bytes(sealed.body))
            self._rows.append(PackRow(sealed.pack, len(sealed.body), sealed.table_bytes, 0))
            self._builder = None


def file_entry(path: bytes, content: bytes, digest: Digest, *, executable: bool = False) -> Entry:
    """The entry of a file."""
    return Entry(path, EntryKind.FILE, len(content), executable, digest, xxh3_of(content))


def details(entries: Iterable[Entry], *, target: str = "name") -> RootDetails:
    """What a root says beside its blocks, in tests."""
    counts = count_entries(entries)
    return RootDetails(cut=str(DEFAULT_CUT), counts=counts, target=target, done_run=-1, nonce=ROOT_NONCE)


def store_tree(
    backend: Backend, contents: Mapping[bytes, bytes], *, others: Sequence[Entry] = (), seed: str = "shelf"
) -> Root:
    """Store a version of these files (path → content) and these other entries. Deterministic.

    Returns:
        Its root, as an uploader would encode it. Nothing under `tx/` or `names/` is written.
    """
    shelf = PackShelf(backend, seed=seed)
    rows = [(entry, NO_PLACES) for entry in others]
    for path in sorted(contents, key=path_sort_key):
        digest, places = shelf.add_file(contents[path])
        rows.append((file_entry(path, contents[path], digest), places))
    shelf.seal()
    rows.sort(key=lambda row: path_sort_key(row[0].path))
    return store_built([entry for entry, _ in rows], [places for _, places in rows], shelf)


def store_built(
    entries: Sequence[Entry],
    places: Sequence[EntryPlaces],
    shelf: PackShelf,
    *,
    list_used: Mapping[bytes, Mapping[int, int]] | None = None,
) -> Root:
    """Build the manifest of sorted rows whose content lies on the shelf, store it, and return the root."""
    blocks = build_blocks(entries, places, packs=shelf, list_used=list_used or {})
    stored = [shelf.add(ChunkKind.BLOCK, block.raw) for block in blocks_to_store(blocks)]
    shelf.seal()
    return store_index(locate_blocks(blocks, stored, packs=shelf), details(entries), shelf)


def store_index(index: BlockIndex, about: RootDetails, shelf: PackShelf) -> Root:
    """Store the pages of an index, if it has any, and return the root over it."""
    pages = [(page, shelf.add(ChunkKind.INDEX_PAGE, page.raw)) for page in build_pages(index)]
    shelf.seal()
    return assemble_root(index, about, pages=pages, packs=shelf)


def store_rows(entries: Sequence[Entry], places: Sequence[EntryPlaces] = (), *, packs: Sequence[PackRow] = ()) -> Root:
    """The root of a version with just these rows, in one block inside the root. Nothing is checked.

    Args:
        places: None for no content at all.
        packs: What the places index, sorted by id.
    """
    block = Block(tuple(entries), tuple(places) or (NO_PLACES,) * len(entries), tuple(row.pack for row in packs))
    raw = encode_block(block)
    content = entries_digest(encode_rows(block.entries))
    stored = StoredChunk(INLINE, 0, 0, len(raw), digest_of(BLOCK_CONTEXT, raw))
    used = tuple((number, 0) for number in range(len(packs)))
    kinds = [entry.kind for entry in entries]
    return Root(
        cut=str(DEFAULT_CUT),
        content_digest=content_digest(str(DEFAULT_CUT), [(content, len(entries))]),
        # Unknown kinds are counted as files, so that the count of entries fits.
        counts=Counts(
            files=len(entries) - kinds.count(2) - kinds.count(3) - kinds.count(4),
            directories=kinds.count(EntryKind.DIRECTORY),
            links=kinds.count(EntryKind.LINK),
            references=kinds.count(EntryKind.REFERENCE),
        ),
        target="name",
        done_run=-1,
        nonce=ROOT_NONCE,
        packs=tuple(packs),
        blocks=(BlockRow(entries[0].path, len(entries), content, stored, used),),
        inline=raw,
    )
