"""Names, versions and references: one spelling, and no way out of the store."""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artifactstore.digest import Digest
from artifactstore.errors import ArtifactStoreError, InvalidName
from artifactstore.keys import NameKeys
from artifactstore.names import (
    Alias,
    Content,
    JobName,
    Latest,
    Name,
    Reference,
    Slot,
    check_alias,
    check_folder,
    job_name,
    parse_reference,
    parse_version,
)

DIGEST = Digest(bytes(range(32)))


@pytest.mark.parametrize(
    "text", ["n", "a/b", "_x", "0", "A.b-c_d", "v3", "latest", "a/b/c/d/e/f/g/h/i", "x" * 128, "a..b", "a."]
)
def test_name_is_what_it_was_made_of(text: str) -> None:
    name = Name(text)
    assert str(name) == name.text == text
    assert name.last == text.split("/")[-1]
    assert name.folder == "/".join(text.split("/")[:-1])


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/../../b", "a/./b", ".hidden", "-x", "a b", "a\n"),
        *("a\0", "é", "ａ", "a/b/c/d/e/f/g/h/i/j", "x" * 129, "a@b", "a%2e%2e", "%2e%2e", "a\\b", "C:", "~", "a*"),
        *("٣", "..%2f", "\u2024\u2024", "a:/b"),
    ],
)
def test_what_is_no_name_is_refused_and_said_which_part(text: str) -> None:
    """Fault 121: checked after decoding once; nothing is normalised."""
    with pytest.raises(InvalidName):
        Name(text)
    with pytest.raises(InvalidName):
        parse_reference(text)


def test_bad_arguments_are_no_lost_data() -> None:
    assert issubclass(InvalidName, ValueError)
    assert not issubclass(InvalidName, ArtifactStoreError)


@given(st.text(max_size=40))
@example("names")
@example("a/@b")
def test_any_text_is_a_name_inside_the_store_or_none(text: str) -> None:
    try:
        name = Name(text)
    except InvalidName:
        return
    prefix = NameKeys(name).prefix
    assert prefix.startswith("names/")
    assert ".." not in prefix.split("/")
    assert prefix.count("@") == 1


def test_folder_is_empty_at_the_top_and_at_most_eight_deep() -> None:
    assert check_folder("") == ""
    assert check_folder("a/b") == "a/b"
    assert check_folder("/".join("abcdefgh")) == "a/b/c/d/e/f/g/h"
    for text in ("/".join("abcdefghi"), "/", "a/", "..", "a//b"):
        with pytest.raises(InvalidName):
            check_folder(text)


@pytest.mark.parametrize("text", ["prod", "latest2", "vx", "v0", "v01", "V3", "v", "3"])
def test_alias_may_look_almost_like_a_version(text: str) -> None:
    assert check_alias(text) == text
    assert parse_version(text) == Alias(text)


@pytest.mark.parametrize("text", ["latest", "v3", "v999", "", "a/b", ".x", "a b", "x" * 129])
def test_alias_that_is_computed_or_ill_formed_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        check_alias(text)


def test_versions_are_numbers_latest_or_aliases() -> None:
    assert parse_version("v3") == Slot(3)
    assert parse_version("latest") == Latest()
    assert parse_version("v1" + "0" * 14) == Slot(10**14)
    assert parse_version("v" + "9" * 16) == Alias("v" + "9" * 16)
    with pytest.raises(InvalidName):
        parse_version("")


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("n", Reference(name=Name("n"), version=Latest())),
        ("a/b", Reference(name=Name("a/b"), version=Latest())),
        ("n:v3", Reference(name=Name("n"), version=Slot(3))),
        ("n:prod", Reference(name=Name("n"), version=Alias("prod"))),
        ("n:latest/a", Reference(name=Name("n"), version=Latest(), path=b"a")),
        ("n:v3/a b/ü", Reference(name=Name("n"), version=Slot(3), path="a b/ü".encode())),
        ("n:v3/a/", Reference(name=Name("n"), version=Slot(3), path=b"a")),
        ("n:v3/x:y@z", Reference(name=Name("n"), version=Slot(3), path=b"x:y@z")),
        ("n:v3/\udcff", Reference(name=Name("n"), version=Slot(3), path=b"\xff")),
        ("n:v3/-", Reference(name=Name("n"), version=Slot(3), path=b"-")),
        (f"n@{DIGEST.hex()}", Reference(name=Name("n"), version=Content(DIGEST))),
        (f"n@{DIGEST.hex()}/p", Reference(name=Name("n"), version=Content(DIGEST), path=b"p")),
    ],
)
def test_reference_reads_as_it_is_written(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    [
        *("n:", "n:v3//a", "n:v3/..", "n:v3/../a", "n:v3/a/../b", "n:v3/./a", "n:v3/a\0b", ":v3", "n:a:b", "n@"),
        *("n@abc", f"n@{DIGEST.hex().upper()}", f"n@{DIGEST.hex()}0", f"@{DIGEST.hex()}", "n:v3@", "/n:v3", "n/:v3"),
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    """Faults 65 and 121."""
    with pytest.raises(InvalidName):
        parse_reference(text)


def test_slash_right_behind_the_version_means_all_of_it() -> None:
    assert parse_reference("n:v3/") == parse_reference("n:v3")


components = st.binary(min_size=1, max_size=8).filter(
    lambda part: not set(part) & {0, 47} and part not in (b".", b"..")
)


@given(st.lists(components, min_size=1, max_size=4).map(b"/".join))
def test_any_path_of_a_version_can_be_referred_to(path: bytes) -> None:
    """Fault 57: bytes that are not UTF-8 come in as they do on a command line."""
    reference = Reference(name=Name("n"), version=Slot(1), path=path)
    assert parse_reference(str(reference)) == reference
    assert parse_reference(f"n:v1/{os.fsdecode(path)}").path == path


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidName:
        return
    assert not any(part in (b"", b".", b"..") for part in reference.path.split(b"/") if reference.path)


class TestJobNames:
    @pytest.mark.parametrize("text", ["42", "slurm-c-1_2", ".", "..", "a/b@c:d", "größe", "x%2Fy", " ", "~", "...x"])
    def test_any_text_is_one_segment_and_comes_back(self, text: str) -> None:
        name = job_name(text, "dir", text)
        assert (name.job_id, name.kind, name.key) == (text, "dir", text)
        assert name.text.count("/") == 3
        assert JobName(name.text) == name

    @pytest.mark.parametrize("text", ["", "a\nb", "\x7f", "\udc80", "x" * 201, "ü" * 40])
    def test_what_can_not_be_one_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidName):
            job_name(text, "dir", "key")
        with pytest.raises(InvalidName):
            job_name("job", "dir", text)

    @pytest.mark.parametrize(
        "text", ["a/b", ".jobs/a/dir/a b", ".jobs/../dir/x", ".jobs/%61/dir/x", ".jobs/%FF/dir/x", ".jobs/a/Dir/x", ""]
    )
    def test_there_is_one_spelling(self, text: str) -> None:
        with pytest.raises(InvalidName):
            JobName(text)

    def test_no_name_of_people_is_one(self) -> None:
        with pytest.raises(InvalidName):
            Name(job_name("42", "dir", "key").text)
