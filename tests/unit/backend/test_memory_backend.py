"""What the backend in memory has for tests, beyond the protocol."""

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.errors import ObjectNotFound
from artifactstore.testing.clock import VirtualClock


def test_times_are_those_of_the_clock() -> None:
    clock = VirtualClock(start=1000.0)
    backend = MemoryBackend(clock=clock)
    backend.put("a", b"")
    clock.advance(5)
    backend.put("b", b"")
    assert [info.modified for info in backend.list("")] == [1000.0, 1005.0]
    backend.set_modified("b", 17.0)
    assert backend.head("b").modified == 17.0


def test_a_snapshot_is_what_was_and_comes_back_as_often_as_wanted() -> None:
    backend = MemoryBackend()
    backend.put("a", b"1")
    snapshot = backend.snapshot()
    for _ in range(2):
        backend.put("b", b"2")
        backend.delete("a")
        backend.restore(snapshot)
        assert backend.keys() == ("a",)
        assert [info.key for info in backend.list("")] == ["a"]
        assert backend.get("a") == b"1"


def test_a_copy_goes_its_own_way() -> None:
    backend = MemoryBackend()
    backend.put("a", b"1")
    twin = backend.copy()
    twin.put("b", b"2")
    backend.delete("a")
    assert backend.keys() == ()
    assert twin.keys() == ("a", "b")
    assert "a" in twin
    assert "a" not in backend


def test_objects_can_be_damaged_only_where_they_are() -> None:
    backend = MemoryBackend(clock=VirtualClock(start=1000.0))
    backend.put("a", b"1")
    modified = backend.head("a").modified
    backend.overwrite("a", b"damaged")
    assert backend.get("a") == b"damaged"
    assert backend.head("a").modified == modified
    for ask in (lambda: backend.overwrite("b", b""), lambda: backend.set_modified("b", 0.0)):
        with pytest.raises(ObjectNotFound):
            ask()


def test_it_can_withdraw_its_promise_of_put_if_absent() -> None:
    backend = MemoryBackend(has_put_if_absent=False)
    assert not backend.has_put_if_absent
    assert not backend.copy().has_put_if_absent


def test_writes_between_two_pages_of_a_listing_are_seen_behind_it_and_missed_before_it() -> None:
    backend = MemoryBackend()
    for number in (1, 3, 5, 7):
        backend.put(f"k/{number}", b"")
    listing = backend.list("k/", page_size=2)
    seen = [next(listing).key, next(listing).key]
    backend.put("k/0", b"")
    backend.put("k/4", b"")
    backend.delete("k/5")
    assert seen + [info.key for info in listing] == ["k/1", "k/3", "k/4", "k/7"]
