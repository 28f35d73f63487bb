"""Where the content of files comes from, cut into pieces of bounded size.

    stored run    consecutive chunks of one pack
    zero run      equal chunks of zeros: nothing is read, nothing is written
    local run     chunks that an older version of the file should hold here, and where they are stored

This module turns places into lists. It does no I/O.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from artifactstore.digest import DIGEST_BYTES, Digest, PackId
from artifactstore.errors import CorruptData
from artifactstore.manifest.model import HOLE, Extent
from artifactstore.pack.format import ROW_BYTES, Table
from artifactstore.transfer.plan import Write

LOCAL_RUN_BYTES: Final = 1 << 20
"""It is read, hashed and written while it is in the processor's cache."""


class StoredRun(NamedTuple):
    """Consecutive chunks of one pack: where their records are, how many, and how much content they hold."""

    pack: PackId
    offset: int
    stored_length: int
    chunk_count: int
    content_length: int


class ZeroRun(NamedTuple):
    """``chunk_count`` chunks of ``chunk_length`` zeros each."""

    chunk_length: int
    chunk_count: int

    @property
    def content_length(self) -> int:
        return self.chunk_length * self.chunk_count

    @property
    def stored_length(self) -> int:
        return 0


class LocalRun(NamedTuple):
    """Chunks that should lie one behind the other in a local file.

    Attributes:
        offset: Where the first begins there.
        chunks: Digest, length and stored length of each.
        stored: Where they lie in the store: for those that turn out not to be there.
    """

    offset: int
    chunks: tuple[tuple[Digest, int, int], ...]
    stored: StoredRun

    @property
    def content_length(self) -> int:
        return self.stored.content_length

    @property
    def stored_length(self) -> int:
        return 0

    def stored_parts(self, numbers: Sequence[int]) -> Iterator[tuple[int, StoredRun]]:
        """Where chunks of these rising numbers are stored, neighbours together, each with the first one's number."""
        starts = list(itertools.accumulate((stored for _, _, stored in self.chunks), initial=self.stored.offset))
        contents = list(itertools.accumulate((length for _, length, _ in self.chunks), initial=0))
        for _, neighbours in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
            group = [number for _, number in neighbours]
            first, end = group[0], group[-1] + 1
            length = contents[end] - contents[first]
            yield first, StoredRun(self.stored.pack, starts[first], starts[end] - starts[first], end - first, length)


Run = StoredRun | ZeroRun | LocalRun


class Segment(NamedTuple):
    """Some of a file's runs, and where in the content they start."""

    offset: int
    runs: list[Run]


@dataclass(frozen=True, slots=True)
class Content:
    """One content, and all the paths it lands at.

    Attributes:
        writes: At least one; all have the same digest and size.
        runs: Where it comes from, in order.
        stored_length: Bytes of its records.
    """

    writes: list[Write]
    runs: list[Run]
    stored_length: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stored_length", sum(run.stored_length for run in self.runs))

    @property
    def size(self) -> int:
        return self.writes[0].entry.size

    @property
    def digest(self) -> bytes:
        return self.writes[0].entry.digest

    @property
    def path(self) -> bytes:
        """The path that messages name."""
        return self.writes[0].entry.path


def runs_of(extents: Sequence[Extent], packs: Sequence[bytes]) -> list[Run]:
    """Extents with their packs' ids in place of numbers."""
    return [
        ZeroRun(e.offset, e.chunk_count)
        if e.pack == HOLE
        else StoredRun(PackId(packs[e.pack]), e.offset, e.stored_length, e.chunk_count, e.content_length)
        for e in extents
    ]


def is_small(content: Content, *, window_bytes: int) -> bool:
    """Whether it is read, decoded and written at one go: it fits a window and has no holes."""
    fits = content.size <= window_bytes and content.stored_length <= window_bytes
    return fits and all(type(run) is StoredRun for run in content.runs)


def batches(contents: Iterable[Content], *, window_bytes: int, max_files: int) -> Iterator[list[Content]]:
    """Small contents in the order in which they are stored, grouped so that a batch fits a window.

    A pack is filled in walk order, so a batch is mostly one range of one pack, and the files of few directories.
    """
    order: dict[PackId, int] = {}

    def place(content: Content) -> tuple[int, int]:
        if not content.runs:
            return -1, 0
        run = content.runs[0]
        assert type(run) is StoredRun
        return order.setdefault(run.pack, len(order)), run.offset

    batch: list[Content] = []
    stored = size = 0
    for content in sorted(contents, key=place):
        stored += content.stored_length
        size += content.size
        if batch and (max(stored, size) > window_bytes or len(batch) >= max_files):
            yield batch
            batch, stored, size = [], content.stored_length, content.size
        batch.append(content)
    if batch:
        yield batch


def segments(runs: Iterable[Run], *, window_bytes: int) -> Iterator[Segment]:
    """A large content in parts that different threads may handle.

    Stored runs longer than a window stay whole: where one chunk ends is only known from the one before it.
    """
    start = position = stored = 0
    part: list[Run] = []
    for run in runs:
        if part and (
            position - start + run.content_length > window_bytes or stored + run.stored_length > window_bytes
        ):
            yield Segment(start, part)
            start, stored, part = position, 0, []
        part.append(run)
        stored += run.stored_length
        position += run.content_length
    if part:
        yield Segment(start, part)


def with_local(
    runs: Iterable[Run], *, tables: Callable[[PackId], Table], local: Mapping[Digest, int], max_run_bytes: int
) -> Iterator[Run]:
    """Take from a local file what it should hold.

    Args:
        tables: The table of a pack.
        local: Where in the local file chunks start.
        max_run_bytes: Content of one run. Local ones are shorter still (`LOCAL_RUN_BYTES`).

    Raises:
        CorruptData: A run is not what its pack's table says.
    """
    for run in runs:
        if type(run) is StoredRun:
            yield from _split(run, tables(run.pack), local, max_run_bytes)
        else:
            yield run


def _split(run: StoredRun, table: Table, local: Mapping[Digest, int], max_run_bytes: int) -> Iterator[Run]:
    first = first_chunk(run, table)
    offsets, lengths = table.offsets(), table.raw_lengths()
    digests = table_digests(table, first, first + run.chunk_count)
    places = list(map(local.get, digests))
    number, end = first, first + run.chunk_count
    while number < end:
        start, at = number, places[number - first]
        most = max_run_bytes if at is None else min(max_run_bytes, LOCAL_RUN_BYTES)
        length = 0
        while number < end and places[number - first] == (at if at is None else at + length):
            if length and length + lengths[number] > most:
                break
            length += lengths[number]
            number += 1
        stored = StoredRun(run.pack, *_span(table, start, number - start))
        if at is None:
            yield stored
            continue
        chunks = ((digests[n - first], lengths[n], offsets[n + 1] - offsets[n]) for n in range(start, number))
        yield LocalRun(at, tuple(chunks), stored)


def table_digests(table: Table, first: int, end: int) -> list[Digest]:
    """Of the chunks from ``first`` to before ``end``, all of which are in the table."""
    rows = table.rows
    starts = range(first * ROW_BYTES, end * ROW_BYTES, ROW_BYTES)
    return [Digest(rows[start : start + DIGEST_BYTES]) for start in starts]


def first_chunk(run: StoredRun, table: Table) -> int:
    """The number of a run's first chunk; the table has to agree with all of the run."""
    offsets = table.offsets()
    low, high = 0, len(table)
    while low < high:
        middle = (low + high) // 2
        if offsets[middle] < run.offset:
            low = middle + 1
        else:
            high = middle
    if low + run.chunk_count > len(table) or _span(table, low, run.chunk_count) != run[1:]:
        raise CorruptData("a place does not fit the table of its pack")
    return low


def _span(table: Table, first: int, count: int) -> tuple[int, int, int, int]:
    offset, stored_length, raw_length = table.slice_extent(first, count)
    return offset, stored_length, count, raw_length
