"""Cutting a modified file mostly by knowing how its old version was cut.

A cut depends only on the bytes from the cut before it up to one byte behind itself. So
where new content holds two consecutive chunks of the old file, the cut between them is
where it was, and comparing digests (which an upload needs anyway) stands in for searching
it. The first chunk of each run is cut for real, to find where in the old file we are; so is
the last one, whose end nothing has confirmed. The cuts are exactly those of `Cutter.cuts`.

Only chunks of the same old file predict one another, and its last chunk predicts nothing:
it was cut by the end of the file, not by its content.
This module turns bytes into cuts and digests. It does no I/O.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from artifactstore.chunking import Cutter
from artifactstore.dedup.known import KnownChunks
from artifactstore.digest import CHUNK_CONTEXT, Digest, digest_of
from artifactstore.manifest.model import HOLE, Extent
from artifactstore.pack.format import Table


@dataclass(frozen=True, slots=True)
class Cuts:
    """Attributes: ends: of the certain chunks. digests: of each of them."""

    ends: list[int]
    digests: list[Digest]


class OldContent:
    """How a file was cut before.

    Args:
        extents: Of the old file; packs are numbers of the upload.
        tables: Of these packs, as far as they are known.
        known: Says where a chunk lies.
    """

    def __init__(self, extents: Sequence[Extent], tables: Mapping[int, Table], known: KnownChunks) -> None:
        self._known = known
        self._tables = tables
        self._runs: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for number, extent in enumerate(extents):
            if extent.pack != HOLE and extent.pack in tables:
                is_last = number + 1 == len(extents)
                end = extent.first_chunk + extent.chunk_count - is_last
                self._runs[extent.pack].append((extent.first_chunk, end))

    def following(self, digest: Digest) -> Iterator[tuple[Digest, int]]:
        """Digest and length of the chunks that came after this one, as far as they lie behind it in one pack."""
        hit = self._known.lookup(digest)
        if hit is None:
            return
        pack, chunk = hit
        for first, end in self._runs.get(pack, ()):
            if first <= chunk < end:
                table = self._tables[pack]
                for number in range(chunk + 1, min(end, len(table))):
                    yield table.digest(number), table.raw_length(number)
                return


def predicted_cuts(cutter: Cutter, data: memoryview, old: OldContent, *, final: bool) -> Cuts:
    """As ``cutter.cuts(data, final=final)``, with the digest of each chunk.

    Without ``final`` some more cuts may be certain, where old content confirms them.

    Args:
        data: Content from the start of a chunk on.
        old: What it may hold runs of.
        final: Whether the content ends with ``data``.
    """
    ends: list[int] = []
    digests: list[Digest] = []
    start = 0
    while (length := cutter.first_cut(data[start:], final=final)) is not None:
        digest = digest_of(CHUNK_CONTEXT, data[start : start + length])
        start += length
        ends.append(start)
        digests.append(digest)
        accepted = 0
        for expected, expected_length in old.following(digest):
            end = start + expected_length
            if end > len(data) or digest_of(CHUNK_CONTEXT, data[start:end]) != expected:
                break
            ends.append(end)
            digests.append(expected)
            start = end
            accepted += 1
        if accepted:
            # Nothing behind it has confirmed where this one ends.
            ends.pop()
            digests.pop()
            start = ends[-1]
    return Cuts(ends, digests)
