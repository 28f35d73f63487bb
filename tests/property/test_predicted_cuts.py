"""Cuts found by prediction are the cuts of the chunker, whatever became of the old content."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.chunking import CutFunction, Cutter
from artifactstore.codec import Codec
from artifactstore.dedup.known import KnownChunks
from artifactstore.dedup.prediction import OldContent, predicted_cuts
from artifactstore.digest import CHUNK_CONTEXT, digest_of
from artifactstore.manifest.model import Extent
from artifactstore.pack.format import ChunkKind, Table
from artifactstore.pack.writer import PackBuilder

CUT = CutFunction(min_bytes=64, average_bytes=256, max_bytes=1024)


class Stored:
    """Files packed one behind another, as an upload leaves them."""

    def __init__(self, files: list[bytes]) -> None:
        builder = PackBuilder(store_id=bytes(16), nonce=bytes(16), capacity_bytes=1 << 20)
        self.extents: list[Extent] = []
        for content in files:
            first, start = builder.row_count, 0
            for end in Cutter(CUT).cuts(memoryview(content), final=True):
                raw = content[start:end]
                digest = digest_of(CHUNK_CONTEXT, raw)
                builder.add(kind=ChunkKind.CONTENT, digest=digest, codec=Codec.RAW, encoded=raw, raw_length=len(raw))
                start = end
            self.extents.append(Extent(0, first, builder.row_count - first, 64, 1, len(content)))
        self.table: Table = builder.seal().table
        self.known = KnownChunks()
        self.known.add_table(0, self.table)

    def old(self, file: int) -> OldContent:
        return OldContent([self.extents[file]], {0: self.table}, self.known)


def content(seed: int, length: int, *, period: int) -> bytes:
    data = random.Random(seed).randbytes(length)
    return (data[:period] * (length // period + 1))[:length] if period else data


@st.composite
def edited(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """An old file, another file that was packed right behind it, and new content made of pieces of both."""
    period = draw(st.sampled_from([0, 0, 0, 50, 700]))
    old = content(draw(st.integers(0, 99)), draw(st.integers(1, 20_000)), period=period)
    other = content(draw(st.integers(100, 199)), draw(st.integers(1, 5_000)), period=period)
    whole = old + other
    new = b""
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(whole)))
        end = draw(st.integers(start, len(whole)))
        new += draw(st.sampled_from([whole[start:end], whole, old, bytes(draw(st.integers(0, 3000)))]))
        new += content(draw(st.integers(200, 299)), draw(st.integers(0, 300)), period=0)
    return old, other, new


@settings(max_examples=300, deadline=None)
@given(edited(), st.booleans())
def test_predicted_cuts_are_those_of_the_chunker(files: tuple[bytes, bytes, bytes], final: bool) -> None:
    old, other, new = files
    found = predicted_cuts(Cutter(CUT), memoryview(new), Stored([old, other]).old(0), final=final)
    if final:
        assert found.ends == Cutter(CUT).cuts(memoryview(new), final=True)
    else:
        # Certain are at least as many as for the chunker, and whatever follows they stay.
        assert len(found.ends) >= len(Cutter(CUT).cuts(memoryview(new), final=False))
        for following in (b"", bytes(3000), content(1, 3000, period=0)):
            assert Cutter(CUT).cuts(memoryview(new + following), final=True)[: len(found.ends)] == found.ends
    starts = [0, *found.ends]
    assert found.digests == [
        digest_of(CHUNK_CONTEXT, new[start:end]) for start, end in zip(starts, found.ends, strict=False)
    ]


def test_a_file_that_goes_on_where_the_old_one_ended_is_not_cut_there() -> None:
    old, other = content(1, 5000, period=0), content(2, 5000, period=0)
    found = predicted_cuts(Cutter(CUT), memoryview(old + other), Stored([old, other]).old(0), final=True)
    assert found.ends == Cutter(CUT).cuts(memoryview(old + other), final=True)
    assert len(old) not in found.ends


def test_equal_content_is_cut_for_real_only_at_both_ends() -> None:
    old = content(3, 200_000, period=0)
    stored = Stored([old])
    cutter = Cutter(CUT)
    asked: list[int] = []

    class Counting(Cutter):
        def first_cut(self, data: memoryview, *, final: bool) -> int | None:
            asked.append(len(data))
            return cutter.first_cut(data, final=final)

    found = predicted_cuts(Counting(CUT), memoryview(old), stored.old(0), final=True)
    assert len(found.ends) > 300
    assert len(asked) < 8
