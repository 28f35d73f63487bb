"""Hints about who used a version: versions made from it, and jobs."""

import dataclasses
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import msgspec
import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.fault import ErrorAfter, ErrorBefore, Fault, FaultBackend
from artifactstore.errors import CorruptData, InvalidName, UnsupportedFormat
from artifactstore.keys import NameKeys
from artifactstore.names import Name
from artifactstore.testing.clock import VirtualClock
from artifactstore.testing.uploader import push
from artifactstore.transaction.records import UseRecord, VersionPin, encode_record, fresh_nonce
from artifactstore.transaction.uses import (
    check_job_id,
    job_user,
    pinned_place,
    put_use_hints,
    read_use,
    record_use,
    use_keys,
    version_user,
)
from artifactstore.transaction.versions import Version

USED = Name("data/raw")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(clock: VirtualClock) -> MemoryBackend:
    return MemoryBackend(clock=clock)


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def made(store: MemoryBackend, clock: VirtualClock, name: str, *sources: Version) -> Version:
    """A version that says what it was made from."""
    version = push(store, clock, name, {b"f": name.encode()}).version
    record = msgspec.structs.replace(version.record, made_from=tuple(source.pin for source in sources))
    return dataclasses.replace(version, record=record)


def test_a_version_is_a_user_of_each_it_was_made_from_and_is_told_once(
    store: MemoryBackend, clock: VirtualClock, pool: Executor
) -> None:
    raw, other = made(store, clock, "data/raw"), made(store, clock, "other")
    model = made(store, clock, "model", raw, other)
    assert put_use_hints(store, clock, model, pool=pool) == 2
    before = store.keys()
    assert put_use_hints(store, clock, model, pool=pool) == 2
    assert store.keys() == before
    for used in (raw, other):
        (key,) = use_keys(store, used.name, 1)
        assert key == NameKeys(used.name).use(1, version_user(model.tx))
        record = read_use(store, key).record
        assert (record.used, record.version, record.job) == (used.tx, model.pin, "")


def test_nothing_is_asked_where_a_version_was_made_from_nothing(
    store: MemoryBackend, clock: VirtualClock, pool: Executor
) -> None:
    count = CountBackend(store)
    assert put_use_hints(count, clock, made(store, clock, "raw"), pool=pool) == 0
    assert count.counts.request_count == 0


def test_hint_that_can_not_be_put_is_left_out(store: MemoryBackend, clock: VirtualClock, pool: Executor) -> None:
    raw, other = made(store, clock, "data/raw"), made(store, clock, "other")
    model = made(store, clock, "model", raw, other)
    faulty = FaultBackend(store, faults=[Fault(verb="put_if_absent", action=ErrorBefore())])
    assert put_use_hints(faulty, clock, model, pool=pool) == 1


def test_pin_that_names_no_version_is_left_out(store: MemoryBackend, clock: VirtualClock, pool: Executor) -> None:
    raw = made(store, clock, "data/raw")
    odd = tuple(msgspec.structs.replace(raw.pin, version=text) for text in ("", "a", "../x:v1", "a:prod", "a:v1/p"))
    assert [pinned_place(pin) for pin in odd] == [None] * 5
    assert pinned_place(raw.pin) == (USED, 1)
    model = made(store, clock, "model")
    odd_model = dataclasses.replace(model, record=msgspec.structs.replace(model.record, made_from=odd))
    before = store.keys()
    assert put_use_hints(store, clock, odd_model, pool=pool) == 0
    assert store.keys() == before


def test_job_is_a_user_once(store: MemoryBackend, clock: VirtualClock) -> None:
    raw = made(store, clock, "data/raw")
    assert record_use(store, clock, raw, "train 7/é")
    assert not record_use(store, clock, raw, "train 7/é")
    assert record_use(store, clock, raw, "train 8")
    records = [read_use(store, key).record for key in use_keys(store, USED, 1)]
    assert sorted(record.job for record in records) == ["train 7/é", "train 8"]
    assert {record.version for record in records} == {None}


def test_use_by_a_job_whose_reply_is_lost_is_recorded_once(store: MemoryBackend, clock: VirtualClock) -> None:
    raw = made(store, clock, "data/raw")
    faulty = FaultBackend(store, faults=[Fault(verb="put_if_absent", action=ErrorAfter())])
    assert record_use(faulty, clock, raw, "train")
    assert len(list(use_keys(store, USED, 1))) == 1


@pytest.mark.parametrize("job", ["", "a\nb", "\x1b[2J", "x" * 201, "é" * 40, "\ud800"])
def test_odd_ids_of_jobs_are_refused(store: MemoryBackend, clock: VirtualClock, job: str) -> None:
    raw = made(store, clock, "data/raw")
    before = store.keys()
    with pytest.raises(InvalidName):
        record_use(store, clock, raw, job)
    assert store.keys() == before


def test_long_ids_of_jobs_are_fine() -> None:
    assert check_job_id("x" * 200) == "x" * 200


def test_users_of_different_kinds_never_meet() -> None:
    tx = made(MemoryBackend(clock=VirtualClock()), VirtualClock(), "raw").tx
    assert version_user(tx) != job_user(tx)


def test_foreign_objects_beside_uses_are_left_out(store: MemoryBackend, clock: VirtualClock) -> None:
    raw = made(store, clock, "data/raw")
    record_use(store, clock, raw, "train")
    for text in ("stray", "f" * 63, "F" * 64, "f" * 64 + "/x"):
        store.put(NameKeys(USED).uses(1) + text, b"?")
    assert len(list(use_keys(store, USED, 1))) == 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", CorruptData),
        (b'{"format": 2}', UnsupportedFormat),
        (b'{"format": 1, "nonce": "00000000000000000000000000000000", "used": "x", "job": "j"}', CorruptData),
    ],
)
def test_use_that_can_not_be_read_is_an_error_not_an_unused_version(
    store: MemoryBackend, clock: VirtualClock, body: bytes, error: type[Exception]
) -> None:
    key = NameKeys(USED).use(1, job_user("j"))
    store.put(key, body)
    with pytest.raises(error):
        read_use(store, key)


@pytest.mark.parametrize("both", [False, True])
def test_use_is_by_a_version_or_by_a_job(store: MemoryBackend, clock: VirtualClock, both: bool) -> None:
    raw = made(store, clock, "data/raw")
    with pytest.raises(ValueError, match="one of them"):
        UseRecord(
            nonce=fresh_nonce(clock),
            used=raw.tx,
            version=VersionPin(version="a:v1", tx=raw.tx, content=raw.record.content) if both else None,
            job="j" if both else "",
        )


def test_record_of_a_use_has_the_fields_that_the_format_names(store: MemoryBackend, clock: VirtualClock) -> None:
    raw = made(store, clock, "data/raw")
    use = UseRecord(nonce=fresh_nonce(clock), used=raw.tx, job="j")
    fields = set(msgspec.json.decode(encode_record(use)))
    assert fields == {
        "format", "required_features", "nonce", "used", "version", "job", "created", "who", "host",
    }  # fmt: skip
