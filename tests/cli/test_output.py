"""What leaves the program as text: readable by people, harmless to terminals (faults 58, 123)."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.cli.output import (
    human_bytes,
    human_count,
    json_path,
    json_text,
    print_json_items,
    print_table,
    printable,
    short_date,
    shown_path,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (102_348, "99.9 KiB"),
        (102_400, "100 KiB"),
        (1023 * 1024, "1.0 MiB"),
        (1_288_490_189, "1.2 GiB"),
        (1 << 62, "4.0 EiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_sizes_have_three_digits_and_a_binary_unit(count: int, text: str) -> None:
    assert human_bytes(count) == text


def test_counts_have_their_noun_in_the_right_number() -> None:
    assert [human_count(n, "file") for n in (0, 1, 20_000)] == ["0 files", "1 file", "20,000 files"]
    assert human_count(2, "directory") == "2 directories"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"plain/name", "plain/name"),
        ("é/日本".encode(), "é/日本"),
        (b"new\nline", "new\\nline"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        (b"bad\xffbyte", "bad\\xffbyte"),
        (b"back\\slash", "back\\\\slash"),
        ("right\u202eleft".encode(), "right\\u202eleft"),
        ("c1\x9b31m".encode(), "c1\\x9b31m"),
        ("no-break\u00a0space".encode(), "no-break\\xa0space"),
        ("tag\U000e0041".encode(), "tag\\U000e0041"),
    ],
)
def test_paths_are_escaped_when_printed(path: bytes, text: str) -> None:
    assert shown_path(path) == text


@given(st.binary())
def test_whatever_the_path_the_terminal_gets_one_line_of_printable_text(path: bytes) -> None:
    shown = shown_path(path)
    assert shown.isprintable()
    shown.encode("utf-8")


@given(st.binary(max_size=6), st.binary(max_size=6))
def test_no_two_paths_look_the_same(one: bytes, other: bytes) -> None:
    assert (shown_path(one) == shown_path(other)) == (one == other)


@given(st.text(st.characters()))
def test_messages_become_one_printable_line(text: str) -> None:
    assert printable(text).isprintable()


@given(st.binary())
def test_paths_in_json_are_valid_unicode_and_lose_nothing(path: bytes) -> None:
    import base64

    fields = json.loads(json.dumps(json_path(path)))
    fields["path"].encode("utf-8")
    back = base64.b64decode(fields["path_base64"]) if "path_base64" in fields else fields["path"].encode()
    assert back == path


@given(st.text(st.characters(exclude_categories=())))
def test_text_in_json_has_no_lone_surrogates(text: str) -> None:
    json_text(text).encode("utf-8")


def test_good_text_in_json_stays_as_it_is() -> None:
    assert json_text("é𝔘" + string.printable) == "é𝔘" + string.printable
    assert json_text("a\udcffb") == "a\ufffdb"


def test_dates_are_local_and_short(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert short_date("2026-01-31T20:15:00.123Z") == "2026-02-01 05:15"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert short_date("when\x1b") == "when\\x1b"


def test_tables_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("a", "1"), ("long", "1000")], header=("name", "n"), right=frozenset({1}))
    assert capsys.readouterr().out == "name     n\na        1\nlong  1000\n"


def test_an_empty_table_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([], header=("name",))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("count", [0, 1, 2, 1000, 1001, 2500])
def test_long_lists_are_still_one_json_document(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    print_json_items("ls", {"folder": ""}, ({"n": n} for n in range(count)), closing=lambda: {"next": None})
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "schema": "artifactstore/ls/1",
        "folder": "",
        "items": [{"n": n} for n in range(count)],
        "next": None,
    }
