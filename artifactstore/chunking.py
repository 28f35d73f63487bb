"""Where content is cut into chunks: FastCDC (v2020), so that an insertion moves few cuts.

    "fastcdc-v2020:16384:65536:262144"    algorithm : minimum : average : maximum, in bytes

The cut function is named in `store.json` and in every root, because equal content has
equal chunks only under one cut function. Its cuts are those of the Rust crate `fastcdc`
(`v2020`, normalisation level 1, seed 0); tests/golden pins them on seeded data.
This module turns bytes into cuts. It does no I/O.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from artifactstore.errors import UnsupportedFormat

_ALGORITHM: Final = "fastcdc-v2020"
_TEXT: Final = re.compile(rf"{_ALGORITHM}:([1-9][0-9]*):([1-9][0-9]*):([1-9][0-9]*)", re.ASCII)
_LARGEST_BYTES: Final = 4 << 20
_ABSURD_TEXT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class CutFunction:
    """The parameters of FastCDC v2020.

    A chunk has at least ``min_bytes`` (but for the last one of a file) and at most
    ``max_bytes``; its expected length is about ``average_bytes + min_bytes / 4``.

    Raises:
        ValueError: Out of the ranges that the algorithm is defined for, or not in order.
    """

    min_bytes: int
    average_bytes: int
    max_bytes: int

    def __post_init__(self) -> None:
        in_range = 64 <= self.min_bytes <= 1 << 20 and 256 <= self.average_bytes <= 4 << 20
        if not in_range or not 1024 <= self.max_bytes <= _LARGEST_BYTES:
            raise ValueError(f"{self} is out of range")
        if not self.min_bytes <= self.average_bytes <= self.max_bytes:
            raise ValueError(f"{self}: minimum, average, maximum must be in this order")

    def __str__(self) -> str:
        return f"{_ALGORITHM}:{self.min_bytes}:{self.average_bytes}:{self.max_bytes}"


DEFAULT_CUT: Final = CutFunction(min_bytes=16 << 10, average_bytes=64 << 10, max_bytes=256 << 10)


def parse_cut_function(text: str) -> CutFunction:
    """Read the one spelling of a cut function.

    Raises:
        UnsupportedFormat: Not one that this version can compute.
    """
    match = _TEXT.fullmatch(text[:_ABSURD_TEXT])
    if match is None:
        raise UnsupportedFormat(f"unknown cut function {text[:_ABSURD_TEXT]!r}")
    minimum, average, maximum = (int(number) for number in match.groups())
    try:
        return CutFunction(min_bytes=minimum, average_bytes=average, max_bytes=maximum)
    except ValueError as error:
        raise UnsupportedFormat(f"cut function {text!r} is out of range") from error


class Cutter:
    """Cuts buffers. Not thread-safe: one for each thread. Most of the work runs without the GIL."""

    __slots__ = ("_chunker", "cut")

    def __init__(self, cut: CutFunction) -> None:
        # pyfastcdc is loaded with the first cutter: pulls and listings never need it.
        from pyfastcdc import FastCDC

        self.cut: Final = cut
        self._chunker = FastCDC(
            cut.average_bytes, min_size=cut.min_bytes, max_size=cut.max_bytes, normalized_chunking=1
        )

    def cuts(self, data: memoryview, *, final: bool) -> list[int]:
        """Ends of the chunks that are certain: ``data[0:e0]``, ``data[e0:e1]``, …

        Args:
            data: Content from the start of a chunk on; contiguous bytes.
            final: Whether the content ends with ``data``: then the last end is ``len(data)``. Without it, cutting
                stops where fewer than ``max_bytes`` are left: the caller puts more content behind the rest and
                calls again. However content is sliced, the chunks are the same.

        Returns:
            Rising ends; empty where nothing is certain yet, or nothing is there.
        """
        length = len(data)
        if final and length <= self.cut.min_bytes:
            return [length] if length else []
        # A cut depends on at most the `max_bytes` that follow the one before it.
        last_certain_start = length - 1 if final else length - self.cut.max_bytes
        ends: list[int] = []
        if last_certain_start < 0:
            return ends
        for chunk in self._chunker.cut_buf(data):
            end: int = chunk.offset + chunk.length
            ends.append(end)
            if end > last_certain_start:
                break
        return ends

    def first_cut(self, data: memoryview, *, final: bool) -> int | None:
        """Where the first chunk ends, if that is certain; None where it is not, or nothing is there.

        Args:
            data: Content from the start of a chunk on.
            final: Whether the content ends with ``data``.
        """
        length = len(data)
        if final and length <= self.cut.min_bytes:
            return length or None
        if length < (1 if final else self.cut.max_bytes):
            return None
        first: int = next(self._chunker.cut_buf(data)).length
        return first

    def join(
        self, data: memoryview, guesses: Sequence[int], *, window_start: int, final: bool
    ) -> tuple[list[int], int]:
        """As `cuts`, given the cuts of the same content from a later position on.

        Cutting from any position soon falls into step with the true cuts, because a cut depends only on the bytes
        since the one before it. So windows of one file can be cut by several threads, each from its start, and
        joined here at the cost of a few chunks: from the first cut that both have on, they are the same.

        Args:
            data: Content from the start of a chunk on; the window is its end.
            guesses: Ends, relative to ``data``, that `cuts` found in ``data[window_start:]``, with the same ``final``.
            window_start: Where the window starts in ``data``.
            final: As for `cuts`.

        Returns:
            Rising ends, and how many of them, from the last one back, are guesses.
        """
        if window_start == 0:
            return list(guesses), len(guesses)
        known = {end: number for number, end in enumerate(guesses)}
        known[window_start] = -1
        ends: list[int] = []
        last_certain_start = len(data) - 1 if final else len(data) - self.cut.max_bytes
        if last_certain_start < 0:
            return ends, 0
        for chunk in self._chunker.cut_buf(data):
            end: int = chunk.offset + chunk.length
            ends.append(end)
            number = known.get(end)
            if number is not None:
                kept = guesses[number + 1 :]
                return [*ends, *kept], len(kept)
            if end > last_certain_start:
                break
        return ends, 0

    def zero_chunk_length(self) -> int:
        """The length of each chunk of a run of zeros, but for those that reach its end.

        The chunker starts anew at each cut, so every chunk that begins at least ``max_bytes`` before the end of
        the run has this length. Sparse files are cut by it without being read.
        """
        return _zero_chunk_length(self.cut)


@functools.lru_cache(maxsize=16)
def _zero_chunk_length(cut: CutFunction) -> int:
    return Cutter(cut).cuts(memoryview(bytes(cut.max_bytes)), final=False)[0]


def is_compiled() -> bool:
    """Whether the chunker runs as machine code. On its pure Python fallback it is some 200 times slower."""
    from pyfastcdc import FastCDC

    return bool(FastCDC.__module__.startswith("pyfastcdc.cy"))
