"""Windows cut by themselves and joined give the cuts of the whole."""

import random

import pytest

from artifactstore.chunking import DEFAULT_CUT, CutFunction, Cutter

SMALL_CUT = CutFunction(min_bytes=64, average_bytes=256, max_bytes=1024)


def joined_cuts(data: bytes, *, window_bytes: int, cut: CutFunction) -> list[int]:
    """Cut each window from its own start, then join them one after another."""
    cutter = Cutter(cut)
    ends: list[int] = []
    chunk_start = 0
    for start in range(0, len(data), window_bytes):
        end = min(start + window_bytes, len(data))
        final = end == len(data)
        guesses = cutter.cuts(memoryview(data)[start:end], final=final)
        carried = start - chunk_start
        found, kept = cutter.join(
            memoryview(data)[chunk_start:end], [carried + guess for guess in guesses], window_start=carried, final=final
        )
        assert [carried + guess for guess in guesses][len(guesses) - kept :] == found[len(found) - kept :]
        ends += [chunk_start + each for each in found]
        chunk_start = ends[-1] if ends else 0
    return ends


def seeded(length: int, *, seed: int) -> bytes:
    return random.Random(seed).randbytes(length)


@pytest.mark.parametrize("seed", range(40))
def test_joined_windows_are_cut_like_the_whole(seed: int) -> None:
    chance = random.Random(seed)
    data = seeded(chance.randrange(1, 60_000), seed=seed)
    if seed % 3 == 0:  # repetitive: windows may never fall into step
        data = (data[: chance.randrange(1, 300)] * 400)[: len(data)]
    if seed % 5 == 0:
        data = data[: len(data) // 2] + bytes(20_000) + data[len(data) // 2 :]
    whole = Cutter(SMALL_CUT).cuts(memoryview(data), final=True)
    assert joined_cuts(data, window_bytes=chance.randrange(1024, 9000), cut=SMALL_CUT) == whole


def test_joined_windows_of_default_size_are_cut_like_the_whole() -> None:
    data = seeded(9 << 20, seed=7)
    whole = Cutter(DEFAULT_CUT).cuts(memoryview(data), final=True)
    assert joined_cuts(data, window_bytes=1 << 20, cut=DEFAULT_CUT) == whole
