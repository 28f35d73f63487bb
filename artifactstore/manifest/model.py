"""What a directory state is made of: entries, places, blocks, a root.

Values only. `format` turns them into bytes and back; `paths` says which paths are safe.
They are msgspec structs so that a million of them encode and decode at C speed; the field
order *is* the format (docs/format.md).
"""

import enum
from typing import Final

import msgspec

HOLE: Final = -1
"""Stands where a pack's number stands in an extent of zeros that are not stored."""

INLINE: Final = -1
"""Stands where a pack's number stands in a block that lies in the root itself."""


class EntryKind(enum.IntEnum):
    FILE = 1
    DIRECTORY = 2  # an empty one; others follow from the paths below them
    LINK = 3
    REFERENCE = 4


class ReferenceTarget(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Bytes that stay elsewhere: where, and how they looked when they were added."""

    uri: str
    size_bytes: int | None = None
    etag: str = ""
    version_id: str = ""
    digest: bytes = b""


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

    path: bytes
    kind: int
    size: int = 0
    executable: bool = False
    digest: bytes = b""
    xxh3: bytes = b""
    target: bytes = b""
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

    pack: int
    first_chunk: int
    chunk_count: int
    offset: int
    stored_length: int
    content_length: int


class StoredChunk(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Where one metadata chunk (a block, a piece of an extent list, a page of a block index) lies.

    Attributes:
        pack: Index into the pack list beside it, or `INLINE`.
        chunk: Its number in the pack's table; 0 where inline.
        offset: Where its record starts in the pack object; where inline, the offset in the root's inline bytes.
        stored_length: Bytes of its record; where inline, of the bare encoded block.
        digest: Over its raw bytes, in the context of its type.
    """

    pack: int
    chunk: int
    offset: int
    stored_length: int
    digest: bytes


class EntryPlaces(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Where a file's content lies: its extents, or, when they are many, the chunks that hold the list of them."""

    extents: tuple[Extent, ...] = ()
    lists: tuple[StoredChunk, ...] = ()


NO_PLACES: Final = EntryPlaces()


class Block(msgspec.Struct, frozen=True):
    """Some 512 consecutive entries and, row by row, their places.

    Attributes:
        entries: Sorted by path component.
        places: One for each entry; `NO_PLACES` for all that are not files, and for empty files.
        packs: The packs that the extents and lists name, each once.
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
        stored: Where the block itself lies; `StoredChunk.pack` indexes the root's pack table.
        used: For each pack that the block, its extent lists and its extents need: (index into the root's pack
            table, bytes of it that they use). The pack that holds the block is among them.
    """

    first_path: bytes
    entry_count: int
    content_digest: bytes
    stored: StoredChunk
    used: tuple[tuple[int, int], ...]


class IndexPage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A page of the block index that is stored as a chunk of its own (roots of over 10,000 blocks)."""

    first_path: bytes
    block_count: int
    stored: StoredChunk


class PackRow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One pack in a root's pack table.

    Attributes:
        pack: Its id (20 bytes).
        object_bytes: Size of the pack object.
        table_bytes: Size of its tail: table and trailer.
        used_bytes: Bytes of it that this version uses.
    """

    pack: bytes
    object_bytes: int
    table_bytes: int
    used_bytes: int


class Counts(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How many entries of each kind, and the content bytes of all files."""

    files: int = 0
    directories: int = 0
    links: int = 0
    references: int = 0
    content_bytes: int = 0


class Root(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The immutable description (manifest) of one directory state.

    Attributes:
        required_features: A reader that lacks one refuses to read, a writer to build on it.
        cut: The cut function, as text.
        content_digest: Over all blocks' content digests: the identity of the content.
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

    required_features: tuple[str, ...] = ()
    cut: str
    content_digest: bytes
    counts: Counts
    target: str
    done_run: int
    nonce: bytes
    packs: tuple[PackRow, ...]
    blocks: tuple[BlockRow, ...]
    pages: tuple[IndexPage, ...] = ()
    inline: bytes = b""
    base_tx: str = ""
