"""Whether decoded blocks, extent lists and roots agree with themselves.

The types in `model` bound each number by itself; this module checks what numbers say
about one another. Faults name their place, like ``places[3].extents[0].pack``. No I/O.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from operator import lt
from typing import Final

from artifactstore.errors import CorruptData
from artifactstore.manifest.model import (
    HOLE,
    INLINE,
    MAX_CHUNK_BYTES,
    MAX_ENTRIES,
    Block,
    BlockRow,
    Entry,
    EntryKind,
    EntryPlaces,
    Extent,
    Root,
    StoredChunk,
)
from artifactstore.manifest.paths import first_field_fault, path_sort_key
from artifactstore.pack.format import HEADER_BYTES, MAX_PACK_BYTES, MAX_ROWS, RECORD_HEADER_BYTES

_LEAST_RECORD_BYTES: Final = RECORD_HEADER_BYTES + 1
_TX: Final = re.compile(r"([0-9a-f]{32})?", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def check_fields(entries: Sequence[Entry]) -> None:
    """Raises CorruptData at the first entry whose fields do not fit its kind."""
    if fault := first_field_fault(entries):
        number, field, reason = fault
        raise CorruptData(f"entries[{number}].{field}: {reason}")


def check_pack_ids(packs: Sequence[bytes], *, at: str) -> None:
    """Raises CorruptData where a pack is named twice."""
    if len(set(packs)) != len(packs):
        raise CorruptData(f"{at}: a pack is named twice")


def check_places(block: Block) -> None:
    """Check the places of a block against its entries.

    Raises:
        CorruptData: Another number of rows than entries, a pack out of range or named twice, an extent that no
            pack can have, extents that do not add up to the size of their file, places of what has no content.
    """
    if len(block.places) != len(block.entries):
        raise CorruptData(f"places: {len(block.places)} rows for {len(block.entries)} entries")
    check_pack_ids(block.packs, at="packs")
    pack_count = len(block.packs)
    for number, (entry, row) in enumerate(zip(block.entries, block.places, strict=True)):
        if len(row.extents) == 1 and not row.lists:
            # Nearly every row: a file of one chunk. The same checks as below, without a call.
            extent = row.extents[0]
            length, stored = extent.content_length, extent.stored_length
            if (
                length == entry.size
                and extent.chunk_count == 1
                and 0 <= extent.pack < pack_count
                and length <= MAX_CHUNK_BYTES
                and stored >= _LEAST_RECORD_BYTES
                and HEADER_BYTES <= extent.offset <= MAX_PACK_BYTES - stored
            ):
                continue
        elif not row.extents and not row.lists and not entry.size:
            continue
        _check_row(number, entry, row, pack_count)


def _check_row(number: int, entry: Entry, row: EntryPlaces, pack_count: int) -> None:
    at = f"places[{number}]"
    if entry.kind != EntryKind.FILE:
        raise CorruptData(f"{at}: content of an entry that is not a file")
    for index, piece in enumerate(row.lists):
        if fault := _stored_fault(piece, pack_count):
            raise CorruptData(f"{at}.lists[{index}].{fault}")
    total = check_extents(row.extents, pack_count, at=f"{at}.extents")
    if row.lists:
        if row.extents or not entry.size:
            raise CorruptData(f"{at}: a list of extents beside extents, or of an empty file")
    elif total != entry.size:
        raise CorruptData(f"{at}.extents: {total} bytes, and entries[{number}].size is {entry.size}")


def check_extents(extents: Sequence[Extent], pack_count: int, *, at: str) -> int:
    """Check extents one by one.

    Returns:
        The content bytes they stand for.

    Raises:
        CorruptData: At the first one that no pack, or none of ``pack_count`` packs, can have.
    """
    for number, extent in enumerate(extents):
        if fault := _extent_fault(extent, pack_count):
            raise CorruptData(f"{at}[{number}].{fault}")
    return sum(extent.content_length for extent in extents)


def _extent_fault(extent: Extent, pack_count: int) -> str | None:
    """What is wrong with an extent, its field first; None for a sound one."""
    count, length = extent.chunk_count, extent.content_length
    if extent.pack == HOLE:
        return _hole_fault(extent)
    if not 0 <= extent.pack < pack_count:
        return f"pack: {extent.pack} of {pack_count}"
    if extent.first_chunk + count > MAX_ROWS:
        return "chunk_count: beyond the largest table"
    stored, offset = extent.stored_length, extent.offset
    if not HEADER_BYTES <= offset <= MAX_PACK_BYTES - stored:
        return "offset: outside of any pack"
    if stored < count * _LEAST_RECORD_BYTES:
        return f"stored_length: {stored} bytes can't hold {count} chunks"
    if not count <= length <= count * MAX_CHUNK_BYTES:
        return f"content_length: {count} chunks can't have {length} bytes"
    return None


def _hole_fault(extent: Extent) -> str | None:
    if extent.first_chunk or extent.stored_length:
        return "stored_length: a hole is not stored"
    if not 0 < extent.offset <= MAX_CHUNK_BYTES:
        return f"offset: chunks of {extent.offset} zeros"
    if extent.chunk_count * extent.offset != extent.content_length:
        return "content_length: not that of its chunks"
    return None


def _stored_fault(chunk: StoredChunk, pack_count: int) -> str | None:
    """What is wrong with a metadata chunk that must lie in a pack; None for a sound one."""
    if not 0 <= chunk.pack < pack_count:
        return f"pack: {chunk.pack} of {pack_count}"
    if not HEADER_BYTES <= chunk.offset <= MAX_PACK_BYTES - chunk.stored_length:
        return "offset: outside of any pack"
    if chunk.stored_length < _LEAST_RECORD_BYTES:
        return f"stored_length: {chunk.stored_length} bytes can't hold a chunk"
    return None


def check_block_rows(rows: Sequence[BlockRow], *, pack_count: int, inline_bytes: int) -> None:
    """Check the rows of a block index, or of one page of it.

    Raises:
        CorruptData: First paths out of order, a chunk outside of any pack (or of the root's inline bytes), packs
            used that are out of range, not sorted, or without the one that holds the block.
    """
    for number, row in enumerate(rows):
        if fault := _block_row_fault(row, pack_count, inline_bytes):
            raise CorruptData(f"blocks[{number}].{fault}")
    keys = [path_sort_key(row.first_path) for row in rows]
    if not all(before < after for before, after in pairwise(keys)):
        raise CorruptData("blocks: first paths are out of order")


def _block_row_fault(row: BlockRow, pack_count: int, inline_bytes: int) -> str | None:
    stored = row.stored
    if stored.pack == INLINE:
        if stored.chunk or stored.offset + stored.stored_length > inline_bytes:
            return "stored.offset: outside of the inline bytes"
    elif fault := _stored_fault(stored, pack_count):
        return f"stored.{fault}"
    packs = [index for index, _ in row.used]
    if not all(before < after for before, after in pairwise(packs)) or (packs and packs[-1] >= pack_count):
        return "used: packs out of range or out of order"
    if stored.pack != INLINE and stored.pack not in packs:
        return "used: without the pack that holds the block"
    return None


def check_root(root: Root) -> None:
    """Check a root against itself. What its pages say is checked when they are loaded.

    Raises:
        CorruptData: Pack table not sorted, or with impossible sizes; an index out of range; counts that are not
            the sum of the blocks'; blocks and pages at once; text that is not what its field says.
    """
    packs = [row.pack for row in root.packs]
    if not all(map(lt, packs, packs[1:])):
        raise CorruptData("packs: not sorted, or a pack is named twice")
    for number, row in enumerate(root.packs):
        if row.table_bytes > row.object_bytes or row.used_bytes > row.object_bytes:
            raise CorruptData(f"packs[{number}]: more bytes of table, or in use, than the object has")
    if root.pages and (root.blocks or root.inline):
        raise CorruptData("pages: beside blocks or inline bytes")
    check_block_rows(root.blocks, pack_count=len(packs), inline_bytes=len(root.inline))
    _check_pages(root)
    _check_counts(root)
    if not _TX.fullmatch(root.base_tx):
        raise CorruptData("base_tx: not a transaction id")
    if _CONTROL.search(root.target):
        raise CorruptData("target: holds control characters")


def _check_pages(root: Root) -> None:
    for number, page in enumerate(root.pages):
        if fault := _stored_fault(page.stored, len(root.packs)):
            raise CorruptData(f"pages[{number}].stored.{fault}")
    keys = [path_sort_key(page.first_path) for page in root.pages]
    if not all(map(lt, keys, keys[1:])):
        raise CorruptData("pages: first paths are out of order")


def _check_counts(root: Root) -> None:
    counts = root.counts
    total = counts.files + counts.directories + counts.links + counts.references
    if total > MAX_ENTRIES:
        raise CorruptData(f"counts: {total} entries, over {MAX_ENTRIES}")
    if not root.pages and total != sum(row.entry_count for row in root.blocks):
        raise CorruptData(f"counts: {total} entries, and the blocks have another number")
    if counts.content_bytes and not counts.files:
        raise CorruptData("counts.content_bytes: content without files")
