"""Manifest, format 1: a root over blocks of entries (docs/format.md, "Entries, blocks, roots").

    block          msgpack array of two bins: entries, places. Stored like a chunk.
      entries      array of rows, fields in the order of `model.Entry`
      places       array: packs (array of 20-byte ids), then one row for each entry, as `model.EntryPlaces`
    extent list    array: packs, extents as `model.Extent`. One piece of a long list; stored like a chunk.
    index page     array: packs, block rows as `model.BlockRow`. Stored like a chunk; very large roots only.
    root           an object:
                     offset   size   field
                     0        8      magic "ASTROOT", then the version, 1
                     8        1      codec of the rest: 0 raw, 1 zstd
                     9        4      raw length of the rest, u32, little-endian
                     13       ...    msgpack map, fields in the order of `model.Root`

Entries stand apart from places so that their digest says nothing of where content lies:
equal content has equal content digests in every store. For the same reason there is one
encoding only: every decoder encodes again and compares.
This module turns bytes into values and back. It does no I/O.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import blake3
import msgspec
from msgspec import Meta

from artifactstore import codec
from artifactstore.chunking import parse_cut_function
from artifactstore.digest import (
    BLOCK_CONTENT_CONTEXT,
    CONTENT_CONTEXT,
    FILE_CONTEXT,
    ROOT_CONTEXT,
    Buffer,
    Digest,
    digest_of,
)
from artifactstore.errors import CorruptData, UnsupportedFormat
from artifactstore.manifest import checks
from artifactstore.manifest.document import Document
from artifactstore.manifest.model import (
    MAX_BLOCK_ENTRIES,
    MAX_CHUNK_BYTES,
    MAX_LIST_EXTENTS,
    MAX_PACKS,
    MAX_PAGE_BLOCKS,
    NO_CONTENT,
    Block,
    BlockRow,
    Entry,
    EntryPlaces,
    Extent,
    PackIdBytes,
    Root,
)

KNOWN_FEATURES: Final[frozenset[str]] = frozenset()
"""Required features of roots that this version can read."""

MAX_ROOT_BYTES: Final = 256 << 20
MAX_LIST_BYTES: Final = 256 << 10

_MAGIC: Final = b"ASTROOT\x01"
_ROOT_HEADER: Final = struct.Struct("<8sBI")
_RUN: Final = struct.Struct("<32sIQ")

_Packs = Annotated[tuple[PackIdBytes, ...], Meta(max_length=MAX_PACKS)]
_Part = Annotated[memoryview, Meta(max_length=MAX_CHUNK_BYTES)]
_Places = Annotated[tuple[EntryPlaces, ...], Meta(max_length=MAX_BLOCK_ENTRIES)]
_Extents = Annotated[tuple[Extent, ...], Meta(min_length=1, max_length=MAX_LIST_EXTENTS)]


class _PlacesPart(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    packs: _Packs
    places: _Places


class _ExtentList(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    packs: _Packs
    extents: _Extents


class _Page(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    packs: _Packs
    blocks: Annotated[tuple[BlockRow, ...], Meta(min_length=1, max_length=MAX_PAGE_BLOCKS)]


class _RootHead(msgspec.Struct):
    required_features: tuple[str, ...] = ()


_BLOCK: Final = Document[tuple[memoryview, memoryview]](tuple[_Part, _Part], name="block")
_ENTRIES: Final = Document[tuple[Entry, ...]](
    Annotated[tuple[Entry, ...], Meta(min_length=1, max_length=MAX_BLOCK_ENTRIES)], name="entries"
)
_PLACES: Final = Document[_PlacesPart](_PlacesPart, name="places")
_LIST: Final = Document[_ExtentList](_ExtentList, name="extents")
_PAGE: Final = Document[_Page](_Page, name="blocks")
_ROOT: Final = Document[Root](Root, name="root")
_ROOT_HEAD: Final = msgspec.msgpack.Decoder(_RootHead)


# Blocks


def encode_entries(entries: Sequence[Entry]) -> bytes:
    """The entries of one block: what its content digest is over."""
    return _ENTRIES.encode(entries)


def encode_block_parts(entries: bytes, places: Sequence[object], packs: Sequence[bytes]) -> bytes:
    """A block from its encoded entries; ``places`` are `EntryPlaces` or tuples of the same fields."""
    return _BLOCK.encode((entries, _PLACES.encode((packs, places))))


def encode_block(block: Block) -> bytes:
    """The raw bytes of a block, before any codec."""
    return encode_block_parts(encode_entries(block.entries), block.places, block.packs)


def entries_digest(entries: Buffer) -> Digest:
    """The content digest of a block with these encoded entries."""
    return digest_of(BLOCK_CONTENT_CONTEXT, entries)


def block_content_digest(raw: Buffer) -> Digest:
    """The content digest of the encoded block ``raw``.

    Raises:
        CorruptData: Not a block.
    """
    return entries_digest(_split(raw)[0])


def decode_entries_only(raw: Buffer) -> tuple[Entry, ...]:
    """The entries of an encoded block, places left alone. For listings and comparisons.

    Raises:
        CorruptData: As `decode_block`.
    """
    return _decode_entries(_split(raw)[0])


def decode_block(raw: Buffer) -> Block:
    """Read a block: well-formed, in its one spelling, and in agreement with itself.

    Fields fit the kinds of their entries; there is one row of places for each entry; packs are named once and in
    range; extents lie inside a pack, and add up to the size of their file. Whether paths are safe and in order is
    not asked here: that is `paths.check_entries`, over whole versions.

    Raises:
        CorruptData: Anything wrong; the message starts with the place (``entries[3].size``).
    """
    first, second = _split(raw)
    entries = _decode_entries(first)
    part = _PLACES.decode(second)
    block = Block(entries=entries, places=part.places, packs=part.packs)
    checks.check_places(block)
    return block


def _split(raw: Buffer) -> tuple[memoryview, memoryview]:
    if len(raw) > MAX_CHUNK_BYTES:
        raise CorruptData(f"block: {len(raw)} bytes, over {MAX_CHUNK_BYTES}")
    return _BLOCK.decode(raw)


def _decode_entries(raw: Buffer) -> tuple[Entry, ...]:
    entries = _ENTRIES.decode(raw)
    checks.check_fields(entries)
    return entries


# Extent lists


def encode_extent_list(extents: Sequence[object], packs: Sequence[bytes]) -> bytes:
    """One piece of a long extent list: at most 4,096 extents whose packs index ``packs``."""
    return _LIST.encode((packs, extents))


def decode_extent_list(raw: Buffer) -> tuple[tuple[Extent, ...], tuple[bytes, ...]]:
    """The extents of one piece, and the packs they index.

    Raises:
        CorruptData: Anything wrong; the message starts with the place (``extents[3].pack``).
    """
    if len(raw) > MAX_LIST_BYTES:
        raise CorruptData(f"extents: {len(raw)} bytes, over {MAX_LIST_BYTES}")
    piece = _LIST.decode(raw)
    checks.check_pack_ids(piece.packs, at="packs")
    checks.check_extents(piece.extents, len(piece.packs), at="extents")
    return piece.extents, piece.packs


# Pages of the block index


def encode_index_page(rows: Sequence[BlockRow], packs: Sequence[bytes]) -> bytes:
    """One page of a block index; the rows index ``packs``."""
    return _PAGE.encode((packs, rows))


def decode_index_page(raw: Buffer) -> tuple[tuple[BlockRow, ...], tuple[bytes, ...]]:
    """The rows of one page, and the packs they index.

    Raises:
        CorruptData: Anything wrong; the message starts with the place (``blocks[3].stored``).
    """
    if len(raw) > MAX_CHUNK_BYTES:
        raise CorruptData(f"blocks: {len(raw)} bytes, over {MAX_CHUNK_BYTES}")
    page = _PAGE.decode(raw)
    checks.check_pack_ids(page.packs, at="packs")
    checks.check_block_rows(page.blocks, pack_count=len(page.packs), inline_bytes=0)
    return page.blocks, page.packs


# Roots


def encode_root(root: Root) -> bytes:
    """The root object. Fit for the store as it is; its digest goes into the outcome.

    Raises:
        ValueError: It would be over 256 MiB.
    """
    raw = _ROOT.encode(root)
    if len(raw) > MAX_ROOT_BYTES:
        raise ValueError(f"a root of {len(raw)} bytes is over {MAX_ROOT_BYTES}")
    used, encoded = codec.encode(raw, codec.Codec.ZSTD)
    return b"".join((_ROOT_HEADER.pack(_MAGIC, used, len(raw)), encoded))


def decode_root(data: Buffer) -> Root:
    """Read a root object and check it against itself.

    Raises:
        CorruptData: Anything wrong; the message starts with the place (``packs[3].pack``).
        UnsupportedFormat: Another version, an unknown required feature or cut function.
    """
    root = _decode_root_document(_root_document(memoryview(data)))
    parse_cut_function(root.cut)
    checks.check_root(root)
    is_interim = root.content_digest == NO_CONTENT and not root.blocks
    if not root.pages and not is_interim:
        rows = ((Digest(row.content_digest), row.entry_count) for row in root.blocks)
        if content_digest(root.cut, rows) != root.content_digest:
            raise CorruptData("content_digest: not that of the blocks")
    return root


def _root_document(data: memoryview) -> Buffer:
    magic = bytes(data[:8])
    if len(data) < _ROOT_HEADER.size or magic[:7] != _MAGIC[:7]:
        raise CorruptData("root: not a root")
    if magic != _MAGIC:
        raise UnsupportedFormat(f"a root of format {magic[7]}")
    _, used, raw_length = _ROOT_HEADER.unpack_from(data)
    if raw_length > MAX_ROOT_BYTES:
        raise CorruptData(f"root: {raw_length} bytes, over {MAX_ROOT_BYTES}")
    try:
        return codec.decode(used, data[_ROOT_HEADER.size :], raw_length)
    except codec.DecodeError as error:
        raise CorruptData(f"root: {error}") from error


def _decode_root_document(raw: Buffer) -> Root:
    # Features first, and leniently: a newer root may have fields that this version refuses.
    try:
        unknown = set(_ROOT_HEAD.decode(raw).required_features) - KNOWN_FEATURES
    except (msgspec.MsgspecError, RecursionError, MemoryError, UnicodeDecodeError) as error:
        raise CorruptData(f"required_features: {error}") from error
    if unknown:
        raise UnsupportedFormat(f"this version needs features that are not known here: {sorted(unknown)!r:.200}")
    return _ROOT.decode(raw)


def root_digest(data: Buffer) -> Digest:
    """The digest of a whole root object, as the outcome names it."""
    return digest_of(ROOT_CONTEXT, data)


# Identities


def content_digest(cut: str, rows: Iterable[tuple[Digest, int]]) -> Digest:
    """The identity of a directory state: over the cut function and (content digest, entry count) of all blocks.

    Under one cut function the same content has the same content digest in every store.
    """
    parts = [len(encoded := cut.encode()).to_bytes(4, "little"), encoded]
    parts += [digest + count.to_bytes(4, "little") for digest, count in rows]
    return digest_of(CONTENT_CONTEXT, b"".join(parts))


class FileDigester:
    """Computes a file digest chunk by chunk.

    The digest is over runs of equal chunks (digest, raw length u32, how many u64), so that a hole costs nothing
    however long it is, and equals the zeros it stands for.
    """

    __slots__ = ("_count", "_digest", "_hasher", "_length", "_pending")

    def __init__(self) -> None:
        self._hasher = blake3.blake3(derive_key_context=FILE_CONTEXT)
        self._pending: list[bytes] = []
        self._digest = b""
        self._length = 0
        self._count = 0

    def add(self, digest: Digest, raw_length: int) -> None:
        """One more chunk of ``raw_length`` content bytes."""
        if digest == self._digest and raw_length == self._length:
            self._count += 1
        else:
            self._close_run()
            self._digest, self._length, self._count = digest, raw_length, 1

    def add_repeated(self, digest: Digest, raw_length: int, count: int) -> None:
        """``count`` equal chunks."""
        if count > 0:
            self.add(digest, raw_length)
            self._count += count - 1

    def digest(self) -> Digest:
        """The digest of all chunks so far. More may follow."""
        hasher = self._hasher.copy()
        hasher.update(b"".join(self._pending))
        if self._count:
            hasher.update(_RUN.pack(self._digest, self._length, self._count))
        return Digest(hasher.digest())

    def _close_run(self) -> None:
        if self._count:
            self._pending.append(_RUN.pack(self._digest, self._length, self._count))
            if len(self._pending) >= 1024:
                self._hasher.update(b"".join(self._pending))
                self._pending.clear()


def file_digest(chunks: Iterable[tuple[Digest, int]]) -> Digest:
    """The digest of a file of these chunks (digest, raw length), in order. An empty file has none."""
    digester = FileDigester()
    for digest, raw_length in chunks:
        digester.add(digest, raw_length)
    return digester.digest()


def single_chunk_file_digest(digest: Digest, raw_length: int) -> Digest:
    """`file_digest` of a file that is one chunk: most files are."""
    return digest_of(FILE_CONTEXT, _RUN.pack(digest, raw_length, 1))
