"""Where a block of entries, or a page of a block index, ends: a rule over their paths.

From its start on, a block's *window* is the longest run of rows within 1,024 rows and a
cost of 1.5 MiB (at least one row). The block ends before the first row of the window,
or right after it, whose path hash (XXH3-64) has its lowest nine bits zero: one in 512.
Without such a row it ends before the one with the lowest hash in the window's second half
(the row right after the window counted in), which an edit elsewhere does not move either.
Each block depends on its own start and the rows after it alone; so an edit changes one
block, rarely two. The rule is part of the format: other cuts would give the same content
another content digest (docs/format.md, "Where blocks end"). No I/O.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import xxhash

from artifactstore.manifest.model import MAX_BLOCK_ENTRIES, MAX_INLINE_EXTENTS, MAX_PAGE_BLOCKS, Entry

_BLOCK_MASK: Final = 511
_BLOCK_COST: Final = 3 << 19
_PAGE_MASK: Final = 255 << 16
_PAGE_COST: Final = 1 << 20
_ROW_COST: Final = 160
_EXTENT_COST: Final = 40


def cut_blocks(entries: Sequence[Entry]) -> list[slice]:
    """Group sorted entries into blocks; depends on nothing but the entries.

    Returns:
        Slices of ``entries``, in order, covering all of them; none for no entries.
    """
    costs = [
        _ROW_COST + len(e.path) if e.size < 16384 and not e.target and e.reference is None else _cost(e)
        for e in entries
    ]
    return cut_rows(
        [e.path for e in entries], costs, mask=_BLOCK_MASK, max_rows=MAX_BLOCK_ENTRIES, max_cost=_BLOCK_COST
    )


def _cost(entry: Entry) -> int:
    """No less than what the row can need, encoded, where chunks have at least 16 KiB."""
    cost = _ROW_COST + len(entry.path) + len(entry.target)
    # Up to 64 extents in the block itself; beyond, some 53 bytes for each piece of an extent list.
    cost += _EXTENT_COST * min(entry.size >> 14, MAX_INLINE_EXTENTS) + (entry.size >> 20)
    if entry.reference is not None:
        target = entry.reference
        cost += 64 + 4 * (len(target.uri) + len(target.etag) + len(target.version_id))
    return cost


def cut_pages(first_paths: Sequence[bytes], costs: Sequence[int]) -> list[slice]:
    """Group the rows of a block index into pages: the same rule by other bits, 256 rows on average, 512 at most."""
    return cut_rows(first_paths, costs, mask=_PAGE_MASK, max_rows=MAX_PAGE_BLOCKS, max_cost=_PAGE_COST)


def cut_rows(paths: Sequence[bytes], costs: Sequence[int], *, mask: int, max_rows: int, max_cost: int) -> list[slice]:
    """The rule itself.

    Args:
        costs: Of each row; positive.
        mask: A row ends a block before it where its path hash has none of these bits.

    Returns:
        Slices of ``paths``, in order, covering all of them.
    """
    hashes = list(map(xxhash.xxh3_64_intdigest, paths))
    natural = [number for number, value in enumerate(hashes) if not value & mask]
    ends = [0, *accumulate(costs)]
    pieces = []
    start, count = 0, len(paths)
    while start < count:
        fitting = bisect_right(ends, ends[start] + max_cost) - 1
        window_end = max(start + 1, min(start + max_rows, fitting))
        at = bisect_right(natural, start)
        if at < len(natural) and natural[at] <= window_end:
            end = natural[at]
        elif window_end == count:
            end = count
        else:
            half = start + (window_end - start + 1) // 2
            end = min(range(half, window_end + 1), key=hashes.__getitem__)
        pieces.append(slice(start, end))
        start = end
    return pieces
