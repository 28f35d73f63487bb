"""Which requests bring what is wanted, how far ahead is read, and what stays in memory."""

from contextlib import nullcontext
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.chunk_cache.memory import MemoryCache
from artifactstore.digest import CHUNK_CONTEXT, Buffer, Digest, PackId, digest_of
from artifactstore.reading import background
from artifactstore.reading.background import BackgroundPuts
from artifactstore.reading.ranges import Ahead, Place, plan_fetches
from artifactstore.reading.shelf import Shelf

PACKS = [PackId(bytes([number]) * 20) for number in range(3)]
places = st.lists(
    st.builds(
        lambda pack, start, length: Place(pack, start, start + length),
        st.sampled_from(PACKS),
        st.integers(0, 5000),
        st.integers(1, 300),
    ),
    max_size=30,
)


@given(wanted=places, gap=st.integers(0, 400), most=st.integers(0, 2000))
def test_every_place_lies_in_just_one_request(wanted: list[Place], gap: int, most: int) -> None:
    fetches = plan_fetches(wanted, max_gap_bytes=gap, max_read_bytes=most)
    inside = sorted(number for fetch in fetches for number in fetch.numbers)
    assert inside == list(range(len(wanted)))
    for fetch in fetches:
        for number in fetch.numbers:
            place = wanted[number]
            assert place.pack == fetch.pack
            assert fetch.span.start <= place.start < place.end <= fetch.span.end
    spans = [(fetch.pack, fetch.span.start, fetch.span.end) for fetch in fetches]
    for one, other in pairwise(spans):
        assert one[0] != other[0] or one[2] <= other[1], "requests of a pack are in order and apart"


def test_near_places_come_together_and_far_ones_apart() -> None:
    wanted = [Place(PACKS[0], 500, 600), Place(PACKS[0], 100, 200), Place(PACKS[1], 100, 200)]
    assert len(plan_fetches(wanted, max_gap_bytes=300)) == 2
    assert len(plan_fetches(wanted, max_gap_bytes=299)) == 3
    assert plan_fetches([]) == []


def test_reader_that_goes_on_gets_twice_as_much_each_time_up_to_the_limit() -> None:
    ahead = Ahead(first_bytes=10, max_bytes=100)
    assert ahead.after(goes_on=False) == 0
    assert [ahead.after(goes_on=True) for _ in range(5)] == [10, 30, 70, 100, 100]


def test_reader_that_jumps_gets_nothing_ahead_and_begins_again() -> None:
    ahead = Ahead(first_bytes=10, max_bytes=100)
    assert [ahead.after(goes_on=True) for _ in range(3)] == [10, 30, 70]
    assert ahead.after(goes_on=False) == 0
    assert ahead.after(goes_on=True) == 10


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40)), max_size=60))
def test_shelf_keeps_what_was_used_last_and_no_more_than_its_weight(steps: list[tuple[int, int]]) -> None:
    shelf: Shelf[int, int] = Shelf(100)
    model: dict[int, tuple[int, int]] = {}
    for key, weight in steps:
        shelf.put(key, weight, weight=weight)
        model.pop(key, None)
        model[key] = (weight, weight)
        while sum(weight for _, weight in model.values()) > 100:
            model.pop(next(iter(model)))
        got = shelf.get(steps[0][0])
        assert got == (model[steps[0][0]][0] if steps[0][0] in model else None)
        if steps[0][0] in model:
            model[steps[0][0]] = model.pop(steps[0][0])
    shelf.clear()
    assert all(shelf.get(key) is None for key in range(10))


def test_shelf_does_not_keep_what_is_too_heavy() -> None:
    shelf: Shelf[str, int] = Shelf(100)
    shelf.put("light", 1, weight=60)
    shelf.put("heavy", 2, weight=101)
    assert (shelf.get("light"), shelf.get("heavy")) == (1, None)


def test_what_is_put_in_the_background_arrives() -> None:
    cache = MemoryCache(max_bytes=1 << 20)
    behind = BackgroundPuts(cache)
    digest = digest_of(CHUNK_CONTEXT, b"content")
    behind.put(digest, b"content")
    behind.put_table(PACKS[0], b"table")
    behind.flush()
    assert (cache.get(digest, 7), cache.get_table(PACKS[0])) == (b"content", b"table")
    assert (behind.get(digest, 7), behind.get_table(PACKS[0])) == (b"content", b"table")


def test_cache_that_can_not_keep_up_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MAX_WAITING_BYTES", 10)
    cache = MemoryCache(max_bytes=1 << 20)
    behind = BackgroundPuts(cache)
    first, second = (digest_of(CHUNK_CONTEXT, content) for content in (b"one", b"more than fits"))
    behind.put(first, b"one")
    behind.put(second, b"more than fits")
    behind.flush()
    assert (cache.get(first, 3), cache.get(second, 14)) == (b"one", None)
    behind.put(second, b"1234567890")
    behind.flush()
    assert cache.used_bytes > 3, "there is room again"


class Failing(MemoryCache):
    """Fails once."""

    failure: BaseException | None = None

    def put(self, digest: Digest, raw: Buffer) -> None:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        super().put(digest, raw)


@pytest.mark.parametrize("failure", [ValueError("unexpected"), KeyboardInterrupt()])
def test_an_entry_that_can_not_be_put_costs_no_room_and_no_other(
    monkeypatch: pytest.MonkeyPatch, failure: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "MAX_WAITING_BYTES", 10)
    cache = Failing(max_bytes=1 << 20)
    cache.failure = failure
    behind = BackgroundPuts(cache)
    contents = (b"first", b"other")
    digests = [digest_of(CHUNK_CONTEXT, content) for content in contents]
    for digest, content in zip(digests, contents, strict=True):
        behind.put(digest, content)
    is_interrupted = isinstance(failure, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt) if is_interrupted else nullcontext():
        behind.flush()
    assert cache.get(digests[1], 5) == (None if is_interrupted else b"other")
    assert ("unexpected" in caplog.text) is not is_interrupted
    for digest, content in zip(digests, contents, strict=True):
        behind.put(digest, content)
    behind.flush()
    assert [cache.get(digest, 5) for digest in digests] == list(contents), "there is room for both"


def test_what_waits_is_put_when_the_cache_is_no_longer_used() -> None:
    cache = MemoryCache(max_bytes=1 << 20)
    digest = digest_of(CHUNK_CONTEXT, b"content")
    behind = BackgroundPuts(cache)
    behind.put(digest, b"content")
    del behind
    assert cache.get(digest, 7) == b"content"
