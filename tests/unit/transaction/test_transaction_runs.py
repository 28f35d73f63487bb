"""Collection runs as an uploader sees them: what is condemned is found, or the commit fails closed (fault 134)."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.fault import ErrorBefore, ErrorMidway, Fault, FaultBackend
from artifactstore.digest import PackId
from artifactstore.errors import BackendError, CorruptData, UnsupportedFormat
from artifactstore.keys import run_key
from artifactstore.transaction.runs import (
    HEADER_BYTES,
    WHOLE_LIST_BYTES,
    GcView,
    condemned,
    encode_condemned,
    look,
)

NONCE = bytes(range(16))


def pack(number: int) -> PackId:
    return PackId(random.Random(number).randbytes(20))


def store(**records: list[int]) -> MemoryBackend:
    """`list3=[1, 2]` puts gc/3/list with those packs."""
    backend = MemoryBackend()
    for name, packs in records.items():
        record, number = name.rstrip("0123456789"), int(name.lstrip("abcdefghijklmnopqrstuvwxyz"))
        backend.put(run_key(number, record), encode_condemned([pack(p) for p in packs], nonce=NONCE))
    return backend


def test_list_has_these_very_bytes() -> None:
    body = encode_condemned([PackId(b"b" * 20), PackId(b"a" * 20)], nonce=NONCE)
    assert body == b"ARTSGC\x01\x00" + NONCE + b"\x02" + bytes(7) + b"a" * 20 + b"b" * 20
    assert len(body) == HEADER_BYTES + 40


def test_done_is_the_highest_run_that_is_done() -> None:
    assert look(MemoryBackend()) == GcView(done=-1)
    assert look(store(list0=[1], delete0=[1])).done == -1
    view = look(store(list0=[1], delete0=[1], done0=[], list1=[2], delete1=[], done1=[], list2=[1]))
    assert view.done == 1
    assert [run.number for run in view.runs] == [2, 1]
    assert not view.is_quiet


def test_look_is_one_listing_and_check_of_a_quiet_store_another() -> None:
    backend = CountBackend(store(list0=[1], delete0=[1], done0=[]))
    view = look(backend)
    assert view.is_quiet
    assert condemned(backend, after=view.done, packs=[pack(1)]) == frozenset()
    assert backend.counts.requests == {"list": 2}


def test_final_list_counts_once_it_is_there_and_the_first_list_until_then() -> None:
    assert condemned(store(list0=[1, 2]), after=-1, packs=[pack(1), pack(2), pack(3)]) == {pack(1), pack(2)}
    assert condemned(store(list0=[1, 2], delete0=[2]), after=-1, packs=[pack(1), pack(2)]) == {pack(2)}


def test_runs_that_are_done_meanwhile_count_and_those_done_before_do_not() -> None:
    backend = store(list0=[1], delete0=[1], done0=[], list1=[2], delete1=[2], done1=[], list2=[3])
    assert condemned(backend, after=0, packs=[pack(1), pack(2), pack(3)]) == {pack(2), pack(3)}
    assert condemned(backend, after=-1, packs=[pack(1)]) == {pack(1)}


def test_torn_listing_that_leaves_out_records_or_a_whole_run_still_finds_all() -> None:
    whole = store(list0=[1], delete0=[1], done0=[], list1=[2], delete1=[2], done1=[])

    class Torn(CountBackend):
        hidden: frozenset[str] = frozenset()

        def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None):  # type: ignore[no-untyped-def]
            shown = super().list(prefix, start_after=start_after, page_size=page_size)
            return (info for info in shown if info.key not in self.hidden)

    for hidden in (
        {run_key(1, "delete")},
        {run_key(1, "list"), run_key(1, "delete")},
        {run_key(0, "list"), run_key(0, "delete"), run_key(0, "done")},
    ):
        torn = Torn(whole)
        torn.hidden = frozenset(hidden)
        assert condemned(torn, after=-1, packs=[pack(1), pack(2)]) == {pack(1), pack(2)}


def test_foreign_objects_under_gc_are_ignored() -> None:
    backend = store(list0=[1])
    for key in ("gc/README", "gc/0/list", "gc/0000000000000001-7/list", "gc/9999999999999998-1x/done"):
        backend.put(key, b"?")
    assert look(backend).done == -1
    assert condemned(backend, after=-1, packs=[pack(1)]) == {pack(1)}


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: b"",
        lambda body: body[:-1],
        lambda body: body + b"\0",
        lambda body: body[:HEADER_BYTES],
        lambda body: b"X" + body[1:],
        lambda body: body[:HEADER_BYTES] + body[HEADER_BYTES + 20 :] + body[HEADER_BYTES : HEADER_BYTES + 20],
        lambda body: body[: HEADER_BYTES + 20] + body[HEADER_BYTES : HEADER_BYTES + 20] + body[HEADER_BYTES + 40 :],
    ],
    ids=["empty", "cut", "grown", "header only", "magic", "out of order", "twice"],
)
@pytest.mark.parametrize("count", [5, 20_000], ids=["small", "large"])
def test_malformed_list_fails_closed(damage, count: int) -> None:  # type: ignore[no-untyped-def]
    backend = store(list0=list(range(count)))
    key = run_key(0, "list")
    backend.overwrite(key, damage(backend.get(key)))
    with pytest.raises(CorruptData) as caught:
        condemned(backend, after=-1, packs=[pack(n) for n in range(count)])
    assert caught.value.key == key


def test_list_of_a_newer_format_is_refused() -> None:
    backend = store(list0=[1])
    backend.overwrite(run_key(0, "list"), b"ARTSGC\x02\x00" + backend.get(run_key(0, "list"))[8:])
    with pytest.raises(UnsupportedFormat):
        condemned(backend, after=-1, packs=[pack(1)])


def test_run_without_any_list_fails_closed() -> None:
    backend = MemoryBackend()
    backend.put(run_key(0, "done"), b"x")
    with pytest.raises(CorruptData):
        condemned(backend, after=-1, packs=[pack(1)])


@pytest.mark.parametrize(
    "fault",
    [
        Fault(verb="list", action=ErrorBefore()),
        Fault(verb="list", action=ErrorMidway(after=1)),
        Fault(verb="get", action=ErrorBefore()),
    ],
    ids=["listing", "listing midway", "list"],
)
def test_error_while_looking_is_never_taken_for_nothing_condemned(fault: Fault) -> None:
    backend = FaultBackend(store(list0=[1], delete0=[1]), faults=[fault])
    with pytest.raises(BackendError):
        condemned(backend, after=-1, packs=[pack(1)])


@settings(max_examples=30, deadline=None)
@given(st.integers(13_200, 40_000), st.integers(0, 2**32), st.integers(1, 400))
def test_large_list_is_searched_by_ranges_with_the_result_of_reading_it_whole(count: int, seed: int, some: int) -> None:
    chance = random.Random(seed)
    listed = [PackId(chance.randbytes(20)) for _ in range(count)]
    wanted = chance.sample(listed, some // 2) + [PackId(chance.randbytes(20)) for _ in range(some)]
    backend = MemoryBackend()
    backend.put(run_key(0, "list"), encode_condemned(listed, nonce=NONCE))
    assert backend.head(run_key(0, "list")).size_bytes > WHOLE_LIST_BYTES
    assert condemned(backend, after=-1, packs=wanted) == set(listed).intersection(wanted)


def test_one_pack_in_a_list_of_a_million_takes_a_handful_of_requests() -> None:
    chance = random.Random(1)
    listed = sorted(PackId(chance.randbytes(20)) for _ in range(1_000_000))
    memory = MemoryBackend()
    memory.put(run_key(0, "list"), encode_condemned(listed, nonce=NONCE))
    for wanted in (listed[0], listed[-1], listed[123_456], PackId(bytes(20)), PackId(b"\xff" * 20)):
        backend = CountBackend(memory)
        assert condemned(backend, after=-1, packs=[wanted]) == {wanted}.intersection(listed)
        assert backend.counts.request_count <= 6
        assert backend.counts.received_bytes < 1 << 20


def test_list_made_to_mislead_guesses_costs_no_more_than_bisection() -> None:
    # All ids but one share their first bytes: proportion says nothing.
    listed = [PackId(b"\x80" * 15 + n.to_bytes(5)) for n in range(300_000)] + [PackId(b"\xff" * 20)]
    memory = MemoryBackend()
    memory.put(run_key(0, "list"), encode_condemned(listed, nonce=NONCE))
    backend = CountBackend(memory)
    assert condemned(backend, after=-1, packs=[listed[250_000]]) == {listed[250_000]}
    assert backend.counts.request_count <= 40
