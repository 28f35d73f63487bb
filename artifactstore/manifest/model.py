"""What a directory state is made of: entries, places, blocks, a root.

Values only. `format` turns them into bytes and back; `paths` says which paths are safe.
They are msgspec structs so that a million of them encode and decode at C speed; the field
order *is* the format (docs/format.md).
"""

import enum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

MAX_SIZE_BYTES: Final = 2**63 - 1
"""No file, and no sum of sizes, is larger."""

MAX_BLOCK_ENTRIES: Final = 1024
MAX_INLINE_EXTENTS: Final = 64
"""A file of more extents has them in chunks of their own."""

MAX_LIST_EXTENTS: Final = 4096
"""Extents in one piece of an extent list: under 256 KiB, encoded."""

MAX_ROOT_BLOCKS: Final = 10_000
"""A root of more blocks has its index in pages."""

MAX_PAGE_BLOCKS: Final = 512
MAX_PAGES: Final = 65_536
MAX_PACKS: Final = 4_194_304
MAX_ENTRIES: Final = 10**9
MAX_PATH_BYTES: Final = 65_535
MAX_CHUNK_BYTES: Final = 4 << 20
"""No chunk, of content or metadata, is longer before encoding."""

# Bounds that msgspec checks while it decodes, before it makes anything.
Size = Annotated[int, Meta(ge=0, le=MAX_SIZE_BYTES)]
PackOffset = Annotated[int, Meta(ge=0, le=64 << 20)]
ChunkNumber = Annotated[int, Meta(ge=0, le=65_535)]
PackIndex = Annotated[int, Meta(ge=0, le=MAX_PACKS)]
PackIndexOrNone = Annotated[int, Meta(ge=-1, le=MAX_PACKS)]
Path = Annotated[bytes, Meta(min_length=1, max_length=MAX_PATH_BYTES)]
DigestBytes = Annotated[bytes, Meta(min_length=32, max_length=32)]
PackIdBytes = Annotated[bytes, Meta(min_length=20, max_length=20)]

HOLE: Final = -1
"""Stands where a pack's number stands in an extent of zeros that are not stored."""

INLINE: Final = -1
"""Stands where a pack's number stands in a block that lies in the root itself."""


NO_CONTENT: Final = bytes(32)
"""Stands where a content digest stands in a root that describes no content."""


class EntryKind(enum.IntEnum):
    FILE = 1
    DIRECTORY = 2  # an empty one; others follow from the paths below them
    LINK = 3
    REFERENCE = 4


class ReferenceTarget(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Bytes that stay elsewhere: where, and how they looked when they were added."""

    uri: Annotated[str, Meta(min_length=1, max_length=8192)]
    size_bytes: Size | None = None
    etag: Annotated[str, Meta(max_length=1024)] = ""
    version_id: Annotated[str, Meta(max_length=1024)] = ""
    digest: Annotated[bytes, Meta(max_length=32)] = b""


class Entry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One path of a directory state.

    Attributes:
        path: Relative, `/`-separated raw bytes.
        kind: An `EntryKind`.
        size: Content bytes of a file; 0 for others.
        executable: Whether the owner may execute the file.
        digest: File digest (32 bytes): over its chunks' digests and lengths. Empty for others.
        xxh3: XXH3-128 of a file's content (16 bytes). Empty for others.
        target: Where a link points, as raw bytes. Empty for others.
        reference: Only for references.
    """

    path: Path
    kind: Annotated[int, Meta(ge=1, le=4)]
    size: Size = 0
    executable: bool = False
    digest: Annotated[bytes, Meta(max_length=32)] = b""
    xxh3: Annotated[bytes, Meta(max_length=16)] = b""
    target: Annotated[bytes, Meta(max_length=MAX_PATH_BYTES)] = b""
    reference: ReferenceTarget | None = None


class Extent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A run of consecutive chunks in one pack, or a run of equal chunks of zeros.

    Attributes:
        pack: Index into the pack list beside it, or `HOLE`.
        first_chunk: Number of its first chunk in the pack's table; 0 for a hole.
        chunk_count: How many chunks.
        offset: Where its first chunk record starts in the pack object; for a hole, the length of each chunk.
        stored_length: Bytes of its chunk records in the pack object (their headers included); 0 for a hole.
        content_length: Content bytes it stands for.
    """

    pack: PackIndexOrNone
    first_chunk: ChunkNumber
    chunk_count: Annotated[int, Meta(ge=1, le=MAX_SIZE_BYTES)]
    offset: PackOffset
    stored_length: PackOffset
    content_length: Annotated[int, Meta(ge=1, le=MAX_SIZE_BYTES)]


class StoredChunk(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Where one metadata chunk (a block, a piece of an extent list, a page of a block index) lies.

    Attributes:
        pack: Index into the pack list beside it, or `INLINE`.
        chunk: Its number in the pack's table; 0 where inline.
        offset: Where its record starts in the pack object; where inline, the offset in the root's inline bytes.
        stored_length: Bytes of its record; where inline, of the bare encoded block.
        digest: Over its raw bytes, in the context of its type.
    """

    pack: PackIndexOrNone
    chunk: ChunkNumber
    offset: PackOffset
    stored_length: Annotated[int, Meta(ge=1, le=64 << 20)]
    digest: DigestBytes


class EntryPlaces(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Where a file's content lies: its extents, or, when they are many, the chunks that hold the list of them."""

    extents: Annotated[tuple[Extent, ...], Meta(max_length=MAX_INLINE_EXTENTS)] = ()
    lists: Annotated[tuple[StoredChunk, ...], Meta(max_length=131_072)] = ()


NO_PLACES: Final = EntryPlaces()


class Block(msgspec.Struct, frozen=True):
    """Some 512 consecutive entries and, row by row, their places.

    Attributes:
        entries: Sorted by path component.
        places: One for each entry; `NO_PLACES` for all that are not files, and for empty files.
        packs: The packs that the extents and lists name, and those that the lists' extents need, each once.
    """

    entries: tuple[Entry, ...]
    places: tuple[EntryPlaces, ...]
    packs: tuple[bytes, ...]


class BlockRow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One block in a root's index.

    Attributes:
        first_path: Path of its first entry.
        entry_count: How many entries.
        content_digest: Over its entries, not its places: equal content, equal digest.
        stored: Where the block itself lies; `StoredChunk.pack` indexes the root's pack table (in a page of the
            index: the page's own list of packs).
        used: For each pack that the block, its extent lists and its extents need: (index into the same table,
            bytes of it that they use), in order of index. The pack that holds the block is among them.
    """

    first_path: Path
    entry_count: Annotated[int, Meta(ge=1, le=MAX_BLOCK_ENTRIES)]
    content_digest: DigestBytes
    stored: StoredChunk
    used: Annotated[tuple[tuple[PackIndex, Size], ...], Meta(max_length=MAX_PACKS)]


class IndexPage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A page of the block index that is stored as a chunk of its own (roots of over 10,000 blocks)."""

    first_path: Path
    block_count: Annotated[int, Meta(ge=1, le=MAX_PAGE_BLOCKS)]
    stored: StoredChunk


class PackRow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One pack in a root's pack table.

    Attributes:
        pack: Its id (20 bytes).
        object_bytes: Size of the pack object.
        table_bytes: Size of its tail: table and trailer.
        used_bytes: Bytes of it that this version uses.
    """

    pack: PackIdBytes
    object_bytes: Annotated[int, Meta(ge=1, le=64 << 20)]
    table_bytes: PackOffset
    used_bytes: PackOffset


class Counts(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How many entries of each kind, and the content bytes of all files."""

    files: Size = 0
    directories: Size = 0
    links: Size = 0
    references: Size = 0
    content_bytes: Size = 0


class Root(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The immutable description (manifest) of one directory state.

    Attributes:
        required_features: A reader that lacks one refuses to read, a writer to build on it.
        cut: The cut function, as text.
        content_digest: Over all blocks' content digests: the identity of the content. `NO_CONTENT` in the interim
            roots of a long upload, which only keep packs needed.
        counts: Of all entries.
        target: The name it was pushed as.
        done_run: *d*: the highest collection run that was done when the upload began; -1 for none.
        nonce: 16 random bytes.
        packs: Every pack that the version needs, its metadata's included.
        blocks: The block index; empty where `pages` is used.
        pages: The block index by pages, for very many blocks.
        inline: Bytes of blocks that lie in the root itself.
        base_tx: The transaction this state was built on, or empty.
    """

    required_features: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    cut: Annotated[str, Meta(max_length=200)]
    content_digest: DigestBytes
    counts: Counts
    target: Annotated[str, Meta(max_length=2000)]
    done_run: Annotated[int, Meta(ge=-1, le=10**16 - 1)]
    nonce: Annotated[bytes, Meta(min_length=16, max_length=16)]
    packs: Annotated[tuple[PackRow, ...], Meta(max_length=MAX_PACKS)]
    blocks: Annotated[tuple[BlockRow, ...], Meta(max_length=MAX_ROOT_BLOCKS)]
    pages: Annotated[tuple[IndexPage, ...], Meta(max_length=MAX_PAGES)] = ()
    inline: Annotated[bytes, Meta(max_length=64 << 10)] = b""
    base_tx: Annotated[str, Meta(max_length=32)] = ""
