"""Which requests bring the wanted parts of packs: near ones together, far ones apart. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from artifactstore.digest import PackId
from artifactstore.pack.reader import ByteRange, plan_reads

MAX_GAP_BYTES: Final = 128 << 10
"""As many unwanted bytes are worth less than one request more: 10 ms at 12 MB a second."""
MAX_READ_BYTES: Final = 8 << 20
"""What is longer is several requests, which run at once."""


class Place(NamedTuple):
    """A run of records in a pack, ``start`` to ``end``."""

    pack: PackId
    start: int
    end: int


class Fetch(NamedTuple):
    """One request: a range of a pack, and which of the wanted places lie in it."""

    pack: PackId
    span: ByteRange
    numbers: tuple[int, ...]


def plan_fetches(
    places: Sequence[Place], *, max_gap_bytes: int = MAX_GAP_BYTES, max_read_bytes: int = MAX_READ_BYTES
) -> list[Fetch]:
    """The requests that bring some places.

    Args:
        places: In any order, from any number of packs and files; they may overlap.
        max_gap_bytes, max_read_bytes: As `plan_reads`.

    Returns:
        Requests by pack, in the order in which packs first come, then by offset. Every place lies in just one.
    """
    by_pack: dict[PackId, list[int]] = {}
    for number, place in enumerate(places):
        by_pack.setdefault(place.pack, []).append(number)
    fetches: list[Fetch] = []
    for pack, numbers in by_pack.items():
        spans = [ByteRange(places[number].start, places[number].end) for number in numbers]
        reads = plan_reads(spans, max_gap_bytes=max_gap_bytes, max_read_bytes=max_read_bytes)
        starts = [read.start for read in reads]
        inside: list[list[int]] = [[] for _ in reads]
        for number, span in zip(numbers, spans, strict=True):
            inside[bisect_right(starts, span.start) - 1].append(number)
        fetches += [Fetch(pack, read, tuple(some)) for read, some in zip(reads, inside, strict=True)]
    return fetches


class Ahead:
    """How far to read beyond what is asked for: nothing for a reader that jumps, more and more for one that goes on.

    Args:
        first_bytes: Ahead of the second read of a row, doubled with each that follows.
        max_bytes: Never further.
    """

    def __init__(self, *, first_bytes: int, max_bytes: int) -> None:
        self._first_bytes = first_bytes
        self._max_bytes = max_bytes
        self._bytes = 0

    def after(self, *, goes_on: bool) -> int:
        """Bytes to read from the start of this read on, at least; 0 for no more than is asked for.

        Args:
            goes_on: Whether it begins where the one before it ended.
        """
        self._bytes = min(2 * self._bytes + self._first_bytes, self._max_bytes) if goes_on else 0
        return self._bytes
