"""The YAML files of local directories: those of the original load, and nothing else does harm."""

import os
from pathlib import Path

import pytest
from compat.t9k.conftest import things
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore import ArtifactStoreError
from artifactstore.compat.t9k import em
from artifactstore.compat.t9k.documents import format_document, parse_document
from artifactstore.compat.t9k.errors import InvalidArtifactFile

# Written by t9k 0.6.0b0.
ORIGINAL_METADATA = r"""kind: Artifact
name: tensorboard_logs
labels:
- Keras
- MNIST v2
- v3
- '1'
- "\xE9: \"x\""
description: "line one\nline: two\t#3 \xE9\Lend word word word word word word word\
  \ word word word word word word word word word word word word word word word word\
  \ word word word word word word word "
createdTimestamp: '2022-08-23T19:47:28.193521+08:00'
alternativeName: tensorboard_logs_220823_194728_4e48t2
remote:
- action: upload
  timestamp: '2022-08-23T19:48:28.123456+08:00'
  host: https://home.example.com/t9k/aistore/server
  id: b1c3f0b2-0c49-4f4d-9a57-0e3f2a1c7d11
  path: /alice/default/tensorboard_logs
"""
ORIGINAL_REFERENCES = """refs/key with space: s3://bucket/key with space
'123': 'http://h/x#y: z'
"""


@pytest.fixture
def directory() -> Path:
    """A local directory as the original makes it."""
    made = Path(".em/artifacts/tensorboard_logs_220823_194728_4e48t2")
    (made / "logs").mkdir(parents=True)
    (made / "logs" / "events").write_bytes(b"events")
    (made / "metadata.yaml").write_text(ORIGINAL_METADATA)
    (made / "references.yaml").write_text(ORIGINAL_REFERENCES)
    return made


def test_a_directory_of_the_original_loads(directory: Path) -> None:
    artifact = em.load_artifact(str(directory))
    assert artifact.labels == ["Keras", "MNIST v2", "v3", "1", 'é: "x"']
    assert artifact.description == "line one\nline: two\t#3 é\u2028end " + "word " * 30
    assert artifact.created_timestamp == "2022-08-23T19:47:28.193521+08:00"
    assert artifact.remote[0]["id"] == "b1c3f0b2-0c49-4f4d-9a57-0e3f2a1c7d11"
    assert {path: record.get("uri") for path, record in artifact.objects.items()} == {
        "logs/events": None,
        "refs/key with space": "s3://bucket/key with space",
        "123": "http://h/x#y: z",
    }


def test_what_is_written_is_what_the_original_writes() -> None:
    document = parse_document(ORIGINAL_METADATA.encode(), where="x")
    assert format_document(document).decode() == ORIGINAL_METADATA


def test_files_written_by_hand_load(directory: Path) -> None:
    (directory / "metadata.yaml").write_text(
        "# by hand\nname: x\nlabels: [2022, yes, 1.5]\ndescription:\ncreatedTimestamp: 2022-08-23T19:47:28+08:00\n"
        "alternativeName: x_1\nremote: []\nmore: {of: [it]}\n"
    )
    artifact = em.load_artifact(str(directory))
    assert (artifact.labels, artifact.description) == (["2022", "yes", "1.5"], "")
    assert artifact.created_timestamp == "2022-08-23T19:47:28+08:00"


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {k: v}\n" + "".join(
    f"{name}: &{name}\n  <<: [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "an object to be built": (ORIGINAL_METADATA + "x: !!python/object/apply:os.system ['touch harm']\n", "it has tags"),
    "another tag": (ORIGINAL_METADATA + "x: !!binary aGFybQ==\n", "it has tags"),
    "a tag of a list": (ORIGINAL_METADATA + "x: !y []\n", "it has tags"),
    "aliases that multiply": (ORIGINAL_METADATA + BOMB, "anchors or aliases"),
    "merges that multiply": (ORIGINAL_METADATA + MERGE_BOMB, "anchors or aliases"),
    "an anchor": (ORIGINAL_METADATA + "x: &x y\n", "anchors or aliases"),
    "an alias to nothing": (ORIGINAL_METADATA + "x: *x\n", "anchors or aliases"),
    "deep lists": (ORIGINAL_METADATA + "x: " + "[" * 20 + "]" * 20 + "\n", "levels deep"),
    "very deep lists": ("name: " + "[" * 200_000, "levels deep"),
    "very deep mappings": ("name: " + "{a: " * 100_000, "levels deep"),
    "very deep indentation": ("".join(" " * depth + "a:\n" for depth in range(2_000)), "levels deep"),
    "digits without end": ("name: " + "1:" * 200_000 + "1\n", "is missing"),
    "a list": ("- a\n- b\n", "not a mapping"),
    "a text": ("hello", "not a mapping"),
    "nothing": ("", "is missing"),
    "two documents": (ORIGINAL_METADATA + "---\nname: y\n", "more than one document"),
    "a list as a key": (ORIGINAL_METADATA + "? [a]\n: b\n", "a key is not a text"),
    "broken": ("name: [\n", "while parsing"),
    "not text": ("name: \x00\x01", ""),
    "a tab": ("name:\n\t- x\n", ""),
    "nothing of an artifact": ("kind: Artifact\n", "is missing"),
    "labels that are a mapping": (ORIGINAL_METADATA.replace("- Keras\n", "- {a: b}\n"), "labels: not a list"),
    "a history of lists": (
        ORIGINAL_METADATA.replace("- action: upload\n", "- action: [upload]\n"),
        "remote: not a list",
    ),
}


@pytest.mark.parametrize("text,reason", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_metadata_is_refused_and_stays_as_it_is(directory: Path, work: Path, text: str, reason: str) -> None:
    (directory / "metadata.yaml").write_text(text)
    before = things(work)
    for kind in (ValueError, ArtifactStoreError):
        with pytest.raises(kind, match=f"Invalid file of Artifact: .*{reason}"):
            em.load_artifact(str(directory))
    assert things(work) == before


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b"name: \xe9\n", b"\x80"])
def test_metadata_that_is_no_text_is_refused(directory: Path, body: bytes) -> None:
    (directory / "metadata.yaml").write_bytes(body)
    with pytest.raises(ValueError, match="Invalid file of Artifact"):
        em.load_artifact(str(directory))


@pytest.mark.parametrize("path", ["../x", "/../x", "a/../../x", "/etc/x", "metadata.yaml", "a\0b", "", ".", "a//b"])
def test_references_that_leave_the_artifact_are_refused(directory: Path, path: str) -> None:
    (directory / "references.yaml").write_bytes(format_document({path: "s3://bucket/key"}))
    with pytest.raises(ValueError, match="Invalid file of Artifact"):
        em.load_artifact(str(directory))


@pytest.mark.parametrize("value", ["[s3://b/k]", "{a: b}", "null", ""])
def test_references_that_are_no_uris_are_refused(directory: Path, value: str) -> None:
    (directory / "references.yaml").write_text(f"x: {value}\n")
    with pytest.raises(ValueError, match="not a URI"):
        em.load_artifact(str(directory))


@pytest.mark.parametrize("name,limit", [("metadata.yaml", 16 << 20), ("references.yaml", 64 << 20)])
def test_a_file_that_is_too_long_is_not_read(directory: Path, name: str, limit: int) -> None:
    os.truncate(directory / name, limit + 1)
    with pytest.raises(ValueError, match=f"over {limit} bytes"):
        em.load_artifact(str(directory))


@pytest.mark.parametrize("name", ["metadata.yaml", "references.yaml"])
def test_what_is_no_file_is_not_waited_for(directory: Path, name: str) -> None:
    (directory / name).unlink()
    (directory / name).mkdir()
    with pytest.raises((ValueError, OSError)) as caught:
        em.load_artifact(str(directory))
    assert isinstance(caught.value, ArtifactStoreError)


def test_a_fifo_is_not_waited_for(directory: Path) -> None:
    (directory / "metadata.yaml").unlink()
    os.mkfifo(directory / "metadata.yaml")
    with pytest.raises(ValueError, match="no regular file"):
        em.load_artifact(str(directory))


TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)


@given(st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS, max_size=3), max_size=5))
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_again(document: dict[str, object]) -> None:
    assert parse_document(format_document(document), where="x") == document


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_mapping_or_the_one_error(body: bytes) -> None:
    try:
        assert isinstance(parse_document(body, where="x"), dict)
    except InvalidArtifactFile as error:
        assert "Invalid file of Artifact: x" in str(error)
