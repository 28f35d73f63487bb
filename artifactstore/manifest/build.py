"""From sorted entries to blocks and a root.

    built = build_blocks(entries, places, packs=packs, reuse=reusable(base_rows, avoid=condemned))
    stored = [store(block.raw, block.digest) for block in blocks_to_store(built)]    # the uploader's part
    index = locate_blocks(built, stored, packs=packs)
    pages = build_pages(index)                                                       # empty but for huge trees
    root = assemble_root(index, details, pages=[...], packs=packs)

While an upload runs, places name packs by number in a list of the whole upload; blocks
get their own short lists here. Where a block ends depends on its entries alone, so equal
content has equal blocks, and an edit changes one. This module decides; it does no I/O.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from artifactstore.digest import (
    BLOCK_CONTEXT,
    EXTENT_LIST_CONTEXT,
    Digest,
    PackId,
    digest_of,
)
from artifactstore.errors import SourceError
from artifactstore.manifest.cuts import cut_blocks
from artifactstore.manifest.format import (
    decode_block,
    encode_block_parts,
    encode_entries,
    encode_extent_list,
    entries_digest,
)
from artifactstore.manifest.index import (
    BlockIndex,
    BuiltPage,
    LocatedBlock,
    PackNumbers,
    RootDetails,
    assemble_root,
    build_pages,
)
from artifactstore.manifest.model import (
    HOLE,
    INLINE,
    MAX_CHUNK_BYTES,
    MAX_INLINE_EXTENTS,
    MAX_LIST_EXTENTS,
    MAX_ROOT_BLOCKS,
    Counts,
    Entry,
    EntryKind,
    EntryPlaces,
    Extent,
    StoredChunk,
)
from artifactstore.manifest.paths import batched, shown

# All that an uploader calls, from one place.
__all__ = [
    "BlockIndex",
    "BuiltBlock",
    "BuiltList",
    "BuiltPage",
    "LocatedBlock",
    "PackNumbers",
    "RootDetails",
    "assemble_root",
    "blocks_to_store",
    "build_blocks",
    "build_extent_list",
    "build_pages",
    "count_entries",
    "in_reused_blocks",
    "locate_blocks",
    "needs_list",
    "reusable",
]

MAX_INLINE_BYTES: Final = 64 << 10
"""New blocks of no more bytes than this, all together, lie in the root itself: no pack, no request."""

_NOTHING_LISTED: Final[Mapping[bytes, Mapping[int, int]]] = {}
_NOTHING_REUSED: Final[Mapping[Digest, "LocatedBlock"]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltBlock:
    """A new block, encoded.

    Attributes:
        raw: To be stored as one chunk of kind `BLOCK`.
        digest: Of ``raw``, in the context of blocks.
        used: (number of a pack in the upload, bytes of it) for all that its rows need.
    """

    raw: bytes
    digest: Digest
    content_digest: Digest
    first_path: bytes
    entry_count: int
    used: tuple[tuple[int, int], ...]


# Extent lists


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltList:
    """A long extent list, encoded.

    Attributes:
        pieces: (raw, digest) of each piece, each to be stored as one chunk of kind `EXTENT_LIST`.
        used: (number of a pack in the upload, bytes of it) for all its extents. The packs of the pieces themselves
            come on top once the `EntryPlaces` name them.
    """

    pieces: tuple[tuple[bytes, Digest], ...]
    used: Mapping[int, int]


def needs_list(extents: Sequence[Extent]) -> bool:
    """Whether a file has too many extents to carry them in its block."""
    return len(extents) > MAX_INLINE_EXTENTS


def build_extent_list(extents: Sequence[Extent], *, packs: PackNumbers) -> BuiltList:
    """Encode a long list of extents, which name packs by their number in the upload.

    Store the pieces, give the file ``EntryPlaces(lists=...)`` with the pieces' places, and pass ``used`` on to
    `build_blocks` under the file's path.
    """
    used: dict[int, int] = {}
    pieces = []
    for start in range(0, len(extents), MAX_LIST_EXTENTS):
        part = extents[start : start + MAX_LIST_EXTENTS]
        here: dict[int, int] = {}
        for extent in part:
            if extent.pack != HOLE:
                here[extent.pack] = here.get(extent.pack, 0) + extent.stored_length
        local = {number: index for index, number in enumerate(here)}
        raw = encode_extent_list(_renumber_extents(part, local), [packs.row(n).pack for n in here])
        pieces.append((raw, digest_of(EXTENT_LIST_CONTEXT, raw)))
        for number, count in here.items():
            used[number] = used.get(number, 0) + count
    return BuiltList(pieces=tuple(pieces), used=used)


# Blocks


def in_reused_blocks(
    entries: Sequence[Entry], numbers: Sequence[int], *, reuse: Mapping[Digest, LocatedBlock]
) -> frozenset[int]:
    """Which of these entries, by number in order, lie in blocks that `build_blocks` will not build anew.

    Nobody looks at their places, so a list of extents need not be stored for them. Costs an encoding of each block
    that such an entry lies in; nothing where ``numbers`` is empty.
    """
    if not numbers or not reuse:
        return frozenset()
    found: list[int] = []
    left = deque(numbers)
    for rows in cut_blocks(entries):
        here = []
        while left and left[0] < rows.stop:
            here.append(left.popleft())
        if here:
            known = reuse.get(entries_digest(encode_entries(entries[rows])))
            if known is not None and known.entry_count == rows.stop - rows.start:
                found += here
    return frozenset(found)


def build_blocks(
    entries: Sequence[Entry],
    places: Sequence[EntryPlaces],
    *,
    packs: PackNumbers,
    list_used: Mapping[bytes, Mapping[int, int]] = _NOTHING_LISTED,
    reuse: Mapping[Digest, LocatedBlock] = _NOTHING_REUSED,
) -> list[BuiltBlock | LocatedBlock]:
    """Cut sorted entries into blocks and encode those that are not stored already.

    Args:
        entries: All entries of the version, sorted and sound (`paths.check_entries`).
        places: Row by row; packs are numbers in the upload. Rows of blocks that are reused are not looked at.
        packs: Rows of all packs that the places name.
        list_used: For each path whose places are lists: `BuiltList.used`.
        reuse: Blocks that may stand in for a new one of the same content digest (`reusable`).

    Raises:
        SourceError: A file in so many pieces that no block can hold its row.
        CorruptData: Entries and places contradict one another (sizes, kinds, extents that no pack can have).
    """
    blocks: list[BuiltBlock | LocatedBlock] = []
    for rows in cut_blocks(entries):
        own = entries[rows]
        encoded = encode_entries(own)
        content = entries_digest(encoded)
        known = reuse.get(content)
        # Equal digests prove equal entries: the count can only differ where the base's index lies.
        if known is not None and known.entry_count == len(own):
            blocks.append(known)
        else:
            blocks.append(_build(own, places[rows], encoded, content, packs, list_used))
    return blocks


def _build(
    entries: Sequence[Entry],
    places: Sequence[EntryPlaces],
    encoded: bytes,
    content: Digest,
    packs: PackNumbers,
    list_used: Mapping[bytes, Mapping[int, int]],
) -> BuiltBlock:
    used: dict[int, int] = {}
    for row in places:
        for extent in row.extents:
            used[extent.pack] = used.get(extent.pack, 0) + extent.stored_length
        for piece in row.lists:
            used[piece.pack] = used.get(piece.pack, 0) + piece.stored_length
    used.pop(HOLE, None)
    _add_listed(used, entries, places, list_used)
    numbers = list(used)
    ids = [packs.row(number).pack for number in numbers]
    raw = encode_block_parts(encoded, _renumber(places, numbers), ids)
    if len(raw) > MAX_CHUNK_BYTES:
        raise SourceError(
            f"the files from {shown(entries[0].path)} to {shown(entries[-1].path)} lie in more pieces than a block "
            f"of the manifest can name ({len(raw)} bytes of {MAX_CHUNK_BYTES})",
            next_step="Push to a fresh store, or as another name, where the data is stored in one piece.",
        )
    # Decoded before it is stored: a block that contradicts itself would be a version that nobody can read.
    decode_block(raw)
    return BuiltBlock(
        raw=raw,
        digest=digest_of(BLOCK_CONTEXT, raw),
        content_digest=content,
        first_path=entries[0].path,
        entry_count=len(entries),
        used=tuple(used.items()),
    )


def _add_listed(
    used: dict[int, int],
    entries: Sequence[Entry],
    places: Sequence[EntryPlaces],
    list_used: Mapping[bytes, Mapping[int, int]],
) -> None:
    for entry, row in zip(entries, places, strict=True):
        if row.lists:
            for number, count in list_used[entry.path].items():
                used[number] = used.get(number, 0) + count


def _renumber(places: Sequence[EntryPlaces], numbers: Sequence[int]) -> Sequence[object]:
    """Places whose packs are indices into ``numbers``. Tuples stand for structs: they encode alike, and are faster."""
    local = {number: index for index, number in enumerate(numbers)}
    if all(number == index for number, index in local.items()):
        return places
    local[HOLE] = HOLE
    return [
        (
            [
                (local[e.pack], e.first_chunk, e.chunk_count, e.offset, e.stored_length, e.content_length)
                for e in row.extents
            ],
            [(local[c.pack], c.chunk, c.offset, c.stored_length, c.digest) for c in row.lists] if row.lists else (),
        )
        for row in places
    ]


def _renumber_extents(extents: Sequence[Extent], local: Mapping[int, int]) -> list[object]:
    return [
        (local.get(e.pack, HOLE), e.first_chunk, e.chunk_count, e.offset, e.stored_length, e.content_length)
        for e in extents
    ]


def reusable(rows: Iterable[LocatedBlock], *, avoid: Collection[PackId] = ()) -> dict[Digest, LocatedBlock]:
    """The stored blocks of a base version by content digest, for `build_blocks`.

    Inline blocks are left out: they are built anew, which costs nothing.

    Args:
        avoid: Packs that this upload may not rely on; a block that needs one of them is not reused.
    """
    return {
        row.content_digest: row
        for row in rows
        if row.holder is not None and not (avoid and any(pack.pack in avoid for pack, _ in row.used))
    }


def blocks_to_store(blocks: Sequence[BuiltBlock | LocatedBlock]) -> list[BuiltBlock]:
    """The new blocks that must be stored as chunks, in order: none where all new ones together fit into the root."""
    new = [block for block in blocks if isinstance(block, BuiltBlock)]
    # Pages of an index have no room for blocks.
    is_small = len(blocks) <= MAX_ROOT_BLOCKS and sum(len(block.raw) for block in new) <= MAX_INLINE_BYTES
    return [] if is_small else new


def locate_blocks(
    blocks: Sequence[BuiltBlock | LocatedBlock], stored: Sequence[StoredChunk], *, packs: PackNumbers
) -> BlockIndex:
    """Put new and reused blocks together once all are stored.

    Args:
        stored: Where each block of `blocks_to_store` lies, in that order; packs are numbers in the upload.

    Raises:
        ValueError: Another number of places than blocks to store.
    """
    places = iter(stored)
    is_inline = not blocks_to_store(blocks)
    located = []
    for block in blocks:
        if isinstance(block, LocatedBlock):
            located.append(block)
        elif is_inline:
            located.append(_locate_inline(block, packs))
        else:
            located.append(_locate(block, next(places, None), packs))
    if next(places, None) is not None:
        raise ValueError("more places than blocks to store")
    return BlockIndex(blocks=tuple(located))


def _locate_inline(block: BuiltBlock, packs: PackNumbers) -> LocatedBlock:
    return LocatedBlock(
        first_path=block.first_path,
        entry_count=block.entry_count,
        content_digest=block.content_digest,
        stored=StoredChunk(INLINE, 0, 0, len(block.raw), block.digest),
        holder=None,
        used=tuple((packs.row(number), count) for number, count in block.used),
        inline=block.raw,
    )


def _locate(block: BuiltBlock, stored: StoredChunk | None, packs: PackNumbers) -> LocatedBlock:
    if stored is None or stored.digest != block.digest:
        raise ValueError(f"the block from {shown(block.first_path)} has no place")
    used = dict(block.used)
    used[stored.pack] = used.get(stored.pack, 0) + stored.stored_length
    return LocatedBlock(
        first_path=block.first_path,
        entry_count=block.entry_count,
        content_digest=block.content_digest,
        stored=stored,
        holder=packs.row(stored.pack),
        used=tuple((packs.row(number), count) for number, count in used.items()),
    )


def count_entries(entries: Iterable[Entry]) -> Counts:
    """How many entries of each kind, and the content bytes of all files."""
    kinds: Counter[int] = Counter()
    content_bytes = 0
    for batch in batched(entries):
        kinds.update([entry.kind for entry in batch])
        content_bytes += sum([entry.size for entry in batch])
    return Counts(
        files=kinds[EntryKind.FILE],
        directories=kinds[EntryKind.DIRECTORY],
        links=kinds[EntryKind.LINK],
        references=kinds[EntryKind.REFERENCE],
        content_bytes=content_bytes,
    )
