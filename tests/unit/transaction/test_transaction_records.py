"""Records: one JSON object each, read strictly, never trusted further than it must be (faults 75, 87)."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.errors import CorruptData, UnsupportedFormat
from artifactstore.testing.clock import VirtualClock
from artifactstore.transaction.records import (
    MAX_RECORD_BYTES,
    AliasRecord,
    FolderRecord,
    FolderState,
    GitState,
    OutcomeRecord,
    OutcomeState,
    Record,
    SlotRecord,
    StoreRecord,
    StoreSettings,
    Tombstone,
    Writers,
    decode_record,
    encode_record,
    fresh_nonce,
    parse_timestamp,
)

NONCE = "0123456789abcdef" * 2
DIGEST = "ab" * 32
TIME = "2026-01-31T08:00:00.000Z"
RECORDS: list[Record] = [
    StoreRecord(nonce=NONCE, store_id=NONCE, cut="fastcdc-v2020:1:2:3", writers=Writers.MANY, created=TIME),
    StoreSettings(nonce=NONCE, writers=Writers.SINGLE),
    SlotRecord(
        nonce=NONCE,
        tx=NONCE,
        content=DIGEST,
        created=TIME,
        who="Zoë",
        message="line\nline \x1b[31m",
        git=GitState(commit="c0ffee", dirty=True),
        labels=("a", "b"),
        metadata={"loss": 0.5, "nested": {"x": [1, None]}},
        content_bytes=2**62,
    ),
    OutcomeRecord(nonce=NONCE, state=OutcomeState.COMMITTED, slot="names/@m/v/9999999999999998-1", root=DIGEST),
    OutcomeRecord(nonce=NONCE, state=OutcomeState.FENCED, reason="stale"),
    Tombstone(nonce=NONCE, tx=NONCE, created=TIME),
    AliasRecord(nonce=NONCE, slot=3, tx=NONCE, created=TIME),
    AliasRecord(nonce=NONCE, slot=0, created=TIME),
    FolderRecord(nonce=NONCE, state=FolderState.MADE, created=TIME),
]


def kind_name(record: object) -> str:
    return type(record).__name__


@pytest.mark.parametrize("record", RECORDS, ids=kind_name)
def test_record_reads_back_as_it_was_written(record: Record) -> None:
    assert decode_record(type(record), encode_record(record), key="k") == record


@pytest.mark.parametrize("record", RECORDS, ids=kind_name)
def test_unknown_fields_are_ignored_and_unknown_features_are_refused(record: Record) -> None:
    document = json.loads(encode_record(record))
    document["surprise"] = {"of": ["a", "later", "version"]}
    assert decode_record(type(record), json.dumps(document).encode(), key="k") == record
    document["required_features"] = ["time-travel"]
    with pytest.raises(UnsupportedFormat, match="time-travel"):
        decode_record(type(record), json.dumps(document).encode(), key="k")


@pytest.mark.parametrize("record", RECORDS, ids=kind_name)
def test_newer_format_is_refused_even_where_the_rest_can_not_be_read(record: Record) -> None:
    body = json.dumps({"format": 2, "nonce": 7}).encode()
    with pytest.raises(UnsupportedFormat):
        decode_record(type(record), body, key="k")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nonce", "short"),
        ("nonce", None),
        ("tx", "../../etc/passwd"),
        ("tx", "A" * 32),
        ("content", "zz" * 32),
        ("content", DIGEST.upper()),
        ("content_bytes", "many"),
        ("labels", "a"),
        ("format", "1"),
    ],
)
def test_wrong_field_is_corrupt_data_that_names_the_object(field: str, value: object) -> None:
    document = json.loads(encode_record(RECORDS[2]))
    document[field] = value
    with pytest.raises(CorruptData) as caught:
        decode_record(SlotRecord, json.dumps(document).encode(), key="names/@m/v/x")
    assert caught.value.key == "names/@m/v/x"


def test_committed_outcome_without_slot_or_root_is_corrupt() -> None:
    for missing in ("slot", "root"):
        document = json.loads(encode_record(RECORDS[3]))
        del document[missing]
        with pytest.raises(CorruptData):
            decode_record(OutcomeRecord, json.dumps(document).encode(), key="k")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"format": 1',
        b"\xff\xfe",
        b'{"format": 1, "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"format": ' + b"9" * 5000 + b"}",
        b" " * (MAX_RECORD_BYTES + 1),
    ],
    ids=["empty", "null", "array", "cut", "not utf-8", "deep", "huge number", "too long"],
)
def test_what_is_not_a_record_is_corrupt_data(body: bytes) -> None:
    with pytest.raises(CorruptData):
        decode_record(OutcomeRecord, body, key="k")


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_only_the_documented_errors(body: bytes) -> None:
    for kind in {type(record) for record in RECORDS}:
        with pytest.raises((CorruptData, UnsupportedFormat)):
            decode_record(kind, body, key="k")


@given(st.data())
def test_records_with_flipped_bytes_raise_only_the_documented_errors(data: st.DataObject) -> None:
    record = data.draw(st.sampled_from(RECORDS))
    body = bytearray(encode_record(record))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CorruptData, UnsupportedFormat):
        decode_record(type(record), bytes(body), key="k")


def test_record_over_the_limit_is_refused_when_it_is_written() -> None:
    record = SlotRecord(nonce=NONCE, tx=NONCE, content=DIGEST, created=TIME, message="x" * MAX_RECORD_BYTES)
    with pytest.raises(ValueError, match="1 MiB"):
        encode_record(record)


def test_nonces_differ() -> None:
    clock = VirtualClock()
    assert len({fresh_nonce(clock) for _ in range(1000)}) == 1000


def test_timestamps_are_hints() -> None:
    assert parse_timestamp(TIME) == 1769846400.0
    assert parse_timestamp("yesterday") is None
