"""Cut functions and the cutter: the grammar, the limits, the slicing rule, runs of zeros."""

from itertools import pairwise

import pytest

from artifactstore.chunking import DEFAULT_CUT, CutFunction, Cutter, is_compiled, parse_cut_function
from artifactstore.errors import UnsupportedFormat
from artifactstore.testing.strategies import SMALL_CUT, seeded_bytes


def cut_in_slices(data: bytes, sizes: list[int], cut: CutFunction) -> list[int]:
    """Feed ``data`` as a reader does: what is not certain yet stays and gets more behind it."""
    cutter = Cutter(cut)
    ends: list[int] = []
    start = stop = 0
    for size in [*sizes, len(data)]:
        stop = min(len(data), stop + size)
        found = cutter.cuts(memoryview(data)[start:stop], final=stop == len(data))
        ends += [start + end for end in found]
        start = ends[-1] if ends else 0
        if stop == len(data):
            break
    return ends


def test_cut_function_has_one_spelling_that_reads_back():
    assert str(DEFAULT_CUT) == "fastcdc-v2020:16384:65536:262144"
    assert parse_cut_function(str(DEFAULT_CUT)) == DEFAULT_CUT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fastcdc-v2020:16384:65536",
        "fastcdc-v2021:16384:65536:262144",
        "fastcdc-v2020:016384:65536:262144",
        "fastcdc-v2020:16384:65536:262144 ",
        "fastcdc-v2020:16384:65536:262144\n",
        "fastcdc-v2020:+16384:65536:262144",
        "fastcdc-v2020:１６３８４:65536:262144",
        "fastcdc-v2020:65536:16384:262144",
        "fastcdc-v2020:1:65536:262144",
        "fastcdc-v2020:16384:65536:99999999999",
        "fastcdc-v2020:" + "9" * 10_000,
        "rabin:16384:65536:262144",
    ],
)
def test_unknown_cut_function_is_an_unsupported_format(text):
    with pytest.raises(UnsupportedFormat):
        parse_cut_function(text)


@pytest.mark.parametrize(
    "sizes", [(63, 256, 1024), (64, 255, 1024), (64, 256, 1023), (512, 256, 1024), (64, 4096, 1024)]
)
def test_parameters_the_algorithm_is_not_defined_for_are_refused(sizes):
    with pytest.raises(ValueError, match=r"out of range|order"):
        CutFunction(min_bytes=sizes[0], average_bytes=sizes[1], max_bytes=sizes[2])


def test_nothing_is_no_chunk():
    cutter = Cutter(DEFAULT_CUT)
    assert cutter.cuts(memoryview(b""), final=True) == []
    assert cutter.cuts(memoryview(b""), final=False) == []


@pytest.mark.parametrize("length", [1, 100, SMALL_CUT.min_bytes])
def test_content_not_longer_than_the_minimum_is_one_chunk(length):
    data = memoryview(seeded_bytes("short", length))
    assert Cutter(SMALL_CUT).cuts(data, final=True) == [length]
    assert Cutter(SMALL_CUT).cuts(data, final=False) == []


def test_without_final_cutting_stops_where_fewer_than_the_maximum_are_left():
    data = memoryview(seeded_bytes("certain", 50_000))
    cutter = Cutter(SMALL_CUT)
    certain = cutter.cuts(data, final=False)
    everything = cutter.cuts(data, final=True)
    assert certain == everything[: len(certain)]
    assert len(data) - certain[-1] < SMALL_CUT.max_bytes <= len(data) - certain[-2]
    assert everything[-1] == len(data)


def test_chunks_keep_the_limits_but_for_the_last():
    ends = Cutter(SMALL_CUT).cuts(memoryview(seeded_bytes("limits", 200_000)), final=True)
    lengths = [end - start for start, end in pairwise([0, *ends])]
    assert all(SMALL_CUT.min_bytes <= length <= SMALL_CUT.max_bytes for length in lengths[:-1])
    assert 0 < lengths[-1] <= SMALL_CUT.max_bytes
    assert SMALL_CUT.average_bytes / 2 < 200_000 / len(lengths) < SMALL_CUT.average_bytes * 2


@pytest.mark.parametrize("size", [1, 7, 255, 256, 1023, 1024, 1025, 9000])
def test_cuts_do_not_depend_on_how_content_is_sliced(size):
    data = seeded_bytes("slices", 9_000)
    whole = Cutter(SMALL_CUT).cuts(memoryview(data), final=True)
    assert cut_in_slices(data, [size] * (len(data) // size), SMALL_CUT) == whole


def test_one_cutter_serves_many_files_without_remembering():
    first, second = (memoryview(seeded_bytes(name, 20_000)) for name in ("a", "b"))
    cutter = Cutter(SMALL_CUT)
    cutter.cuts(first, final=True)
    assert cutter.cuts(second, final=True) == Cutter(SMALL_CUT).cuts(second, final=True)


def test_an_insertion_at_the_front_moves_few_cuts():
    data = seeded_bytes("shift", 400_000)

    def chunks(content: bytes) -> set[bytes]:
        ends = Cutter(SMALL_CUT).cuts(memoryview(content), final=True)
        return {content[start:end] for start, end in pairwise([0, *ends])}

    before = chunks(data)
    assert len(before - chunks(b"37 bytes that were not there before.." + data)) < 10


@pytest.mark.parametrize("cut", [DEFAULT_CUT, SMALL_CUT], ids=str)
def test_a_run_of_zeros_is_cut_into_equal_chunks(cut):
    length = Cutter(cut).zero_chunk_length()
    ends = Cutter(cut).cuts(memoryview(bytes(5 * cut.max_bytes)), final=False)
    assert ends == [length * (number + 1) for number in range(len(ends))]
    assert 5 * cut.max_bytes - ends[-1] < cut.max_bytes


@pytest.mark.parametrize("kind", [bytes, bytearray], ids=["read-only", "writable"])
def test_read_only_and_writable_buffers_are_cut_alike(kind):
    data = seeded_bytes("buffers", 20_000)
    assert Cutter(SMALL_CUT).cuts(memoryview(kind(data)), final=True) == Cutter(SMALL_CUT).cuts(
        memoryview(data), final=True
    )


def test_the_pure_fallback_cuts_alike():
    from pyfastcdc.py import FastCDC

    data = seeded_bytes("fallback", 600_000)
    pure = FastCDC(65536, min_size=16384, max_size=262144, normalized_chunking=1)
    assert [chunk.offset + chunk.length for chunk in pure.cut_buf(data)] == Cutter(DEFAULT_CUT).cuts(
        memoryview(data), final=True
    )


def test_the_chunker_is_known_to_be_compiled_or_not(monkeypatch):
    import pyfastcdc
    import pyfastcdc.py

    assert is_compiled() is pyfastcdc.FastCDC.__module__.startswith("pyfastcdc.cy")
    monkeypatch.setattr(pyfastcdc, "FastCDC", pyfastcdc.py.FastCDC)
    assert not is_compiled()
