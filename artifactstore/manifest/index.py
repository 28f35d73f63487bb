"""The block index of a version, and the root over it.

Between versions a block travels as a `LocatedBlock`, free of any table's numbers; here it
gets the numbers of one root's pack table, or of one page's. Decides; does no I/O.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from artifactstore.digest import BLOCK_INDEX_CONTEXT, Digest, digest_of
from artifactstore.manifest.cuts import cut_pages
from artifactstore.manifest.format import content_digest, encode_index_page
from artifactstore.manifest.model import (
    INLINE,
    MAX_ROOT_BLOCKS,
    BlockRow,
    Counts,
    IndexPage,
    PackRow,
    Root,
    StoredChunk,
)


class PackNumbers(Protocol):
    """The packs of one upload by number; all that blocks name are sealed."""

    def row(self, number: int) -> PackRow: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedBlock:
    """A stored block and all it needs, in no table's numbers. Fit for the index of any root.

    Attributes:
        stored: Where it lies; its `pack` means nothing here unless it is `INLINE`.
        holder: The pack that holds it; None where inline.
        used: Every pack that it needs (the holder too) and how many bytes of it.
        inline: Its raw bytes where it lies in a root; else empty.
    """

    first_path: bytes
    entry_count: int
    content_digest: Digest
    stored: StoredChunk
    holder: PackRow | None
    used: tuple[tuple[PackRow, int], ...]
    inline: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockIndex:
    """All blocks of a version, in order, each one stored or inline."""

    blocks: tuple[LocatedBlock, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltPage:
    """A page of a block index, encoded: to be stored as one chunk of kind `INDEX_PAGE`."""

    raw: bytes
    digest: Digest
    first_path: bytes
    block_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RootDetails:
    """What a root says beside its blocks; the fields of `model.Root`."""

    cut: str
    counts: Counts
    target: str
    done_run: int
    nonce: bytes
    base_tx: str = ""


def build_pages(index: BlockIndex) -> list[BuiltPage]:
    """The pages of the index of a version of over 10,000 blocks; empty for all others.

    A page names packs by id, so an unchanged stretch of the index has the same pages again.
    """
    if len(index.blocks) <= MAX_ROOT_BLOCKS:
        return []
    pages = []
    costs = [128 + len(block.first_path) + 40 * len(block.used) for block in index.blocks]
    for rows in cut_pages([block.first_path for block in index.blocks], costs):
        blocks = index.blocks[rows]
        ids = sorted({row.pack for block in blocks for row, _ in block.used})
        numbers = {pack: number for number, pack in enumerate(ids)}
        raw = encode_index_page([_block_row(block, numbers, 0) for block in blocks], ids)
        pages.append(
            BuiltPage(
                raw=raw,
                digest=digest_of(BLOCK_INDEX_CONTEXT, raw),
                first_path=blocks[0].first_path,
                block_count=len(blocks),
            )
        )
    return pages


def assemble_root(
    index: BlockIndex,
    details: RootDetails,
    *,
    pages: Sequence[tuple[BuiltPage, StoredChunk]] = (),
    packs: PackNumbers | None = None,
    more_packs: Iterable[PackRow] = (),
) -> Root:
    """The root of a version.

    Args:
        pages: All of `build_pages`, each with its place; ``packs`` tells the rows of the packs they lie in.
        more_packs: Packs that the version needs for anything else, or that an upload under way wants kept.

    Returns:
        A root whose pack table covers everything that its blocks, lists, pages and ``more_packs`` name.

    Raises:
        ValueError: Pages are missing.
    """
    if sum(page.block_count for page, _ in pages) != (len(index.blocks) if len(index.blocks) > MAX_ROOT_BLOCKS else 0):
        raise ValueError("the pages are not those of the index")
    page_packs = [packs.row(stored.pack) for _, stored in pages] if packs is not None else []
    table = _pack_table(index, pages, page_packs, more_packs)
    numbers = {row.pack: number for number, row in enumerate(table)}
    identities = ((block.content_digest, block.entry_count) for block in index.blocks)
    return Root(
        cut=details.cut,
        content_digest=content_digest(details.cut, identities),
        counts=details.counts,
        target=details.target,
        done_run=details.done_run,
        nonce=details.nonce,
        packs=table,
        blocks=() if pages else _block_rows(index, numbers),
        pages=tuple(
            IndexPage(page.first_path, page.block_count, _in_table(stored, numbers[row.pack]))
            for (page, stored), row in zip(pages, page_packs, strict=True)
        ),
        inline=b"".join(block.inline for block in index.blocks),
        base_tx=details.base_tx,
    )


def _pack_table(
    index: BlockIndex,
    pages: Sequence[tuple[BuiltPage, StoredChunk]],
    page_packs: Sequence[PackRow],
    more_packs: Iterable[PackRow],
) -> tuple[PackRow, ...]:
    rows = {row.pack: row for row in more_packs}
    used = dict.fromkeys(rows, 0)
    needs = chain.from_iterable(block.used for block in index.blocks)
    page_needs = ((row, stored.stored_length) for row, (_, stored) in zip(page_packs, pages, strict=True))
    for row, count in chain(needs, page_needs):
        rows[row.pack] = row
        used[row.pack] = used.get(row.pack, 0) + count
    # Files that share chunks count them twice; no pack is used by more than all of it.
    return tuple(
        PackRow(pack, row.object_bytes, row.table_bytes, min(used[pack], row.object_bytes))
        for pack, row in sorted(rows.items())
    )


def _block_rows(index: BlockIndex, numbers: Mapping[bytes, int]) -> tuple[BlockRow, ...]:
    rows = []
    inline_bytes = 0
    for block in index.blocks:
        rows.append(_block_row(block, numbers, inline_bytes))
        inline_bytes += len(block.inline)
    return tuple(rows)


def _block_row(block: LocatedBlock, numbers: Mapping[bytes, int], inline_offset: int) -> BlockRow:
    if block.holder is None:
        stored = StoredChunk(INLINE, 0, inline_offset, len(block.inline), block.stored.digest)
    else:
        stored = _in_table(block.stored, numbers[block.holder.pack])
    used = tuple(sorted((numbers[row.pack], count) for row, count in block.used))
    return BlockRow(block.first_path, block.entry_count, block.content_digest, stored, used)


def _in_table(stored: StoredChunk, number: int) -> StoredChunk:
    return StoredChunk(number, stored.chunk, stored.offset, stored.stored_length, stored.digest)


def locate_row(row: BlockRow, table: Sequence[PackRow], *, inline: bytes = b"") -> LocatedBlock:
    """A row of an index (of a root, or of a page) as a block fit for any root.

    Args:
        table: The packs that the row's numbers index.
        inline: The inline bytes of the root that the row comes from.
    """
    stored = row.stored
    is_inline = stored.pack == INLINE
    return LocatedBlock(
        first_path=row.first_path,
        entry_count=row.entry_count,
        content_digest=Digest(row.content_digest),
        stored=stored,
        holder=None if is_inline else table[stored.pack],
        used=tuple((table[number], count) for number, count in row.used),
        inline=inline[stored.offset : stored.offset + stored.stored_length] if is_inline else b"",
    )
