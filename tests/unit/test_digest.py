"""Digests: the very bytes, one context for each type of object, one spelling."""

import blake3
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from artifactstore import digest
from artifactstore.digest import (
    CHUNK_CONTEXT,
    DIGEST_BYTES,
    PACK_CONTEXT,
    PACK_ID_BYTES,
    digest_of,
    pack_id_of,
    parse_digest,
    xxh3_of,
)

CONTEXTS = sorted(value for name, value in vars(digest).items() if name.endswith("_CONTEXT"))


def test_golden_digests() -> None:
    """Changing one is another format."""
    assert digest_of(CHUNK_CONTEXT, b"x") == blake3.blake3(b"x", derive_key_context="artifactstore 1 chunk").digest()
    assert digest_of(CHUNK_CONTEXT, b"abc").hex() == GOLDEN_CHUNK
    assert pack_id_of(bytes(16), b"table").hex() == GOLDEN_PACK
    assert xxh3_of(b"abc").hex() == "06b05ab6733a618578af5f94892f3950"


GOLDEN_CHUNK = "1976ad7e6b896f38a9970c4c176eb83dea289836534272ee8c66197676c1f234"
GOLDEN_PACK = "5bb841c9a9e1df438ca91c24f9da44cd08170db0"


def test_contexts_are_those_of_the_format_and_all_different() -> None:
    kinds = ["block", "block content", "block index", "chunk", "content", "extent list", "file", "pack", "path"]
    kinds += ["reference", "root", "user"]
    assert sorted(f"artifactstore 1 {kind}" for kind in kinds) == CONTEXTS


@given(st.binary(max_size=100))
def test_no_object_of_one_type_has_the_digest_of_another(data: bytes) -> None:
    """Fault 81."""
    digests = {digest_of(context, data) for context in CONTEXTS} | {blake3.blake3(data).digest()}
    assert len(digests) == len(CONTEXTS) + 1


@given(st.binary(max_size=100), st.binary(min_size=16, max_size=16), st.binary(max_size=100))
def test_all_kinds_of_buffers_count_alike(data: bytes, nonce: bytes, table: bytes) -> None:
    assert digest_of(CHUNK_CONTEXT, data) == digest_of(CHUNK_CONTEXT, bytearray(data))
    assert digest_of(CHUNK_CONTEXT, data) == digest_of(CHUNK_CONTEXT, memoryview(b"x" + data)[1:])
    assert len(digest_of(CHUNK_CONTEXT, data)) == DIGEST_BYTES
    assert xxh3_of(data) == xxh3_of(memoryview(data)) == xxhash.xxh3_128(data).digest()
    pack = pack_id_of(nonce, table)
    assert len(pack) == PACK_ID_BYTES
    assert digest_of(PACK_CONTEXT, nonce + table).startswith(pack)


def test_pack_has_another_name_with_each_nonce() -> None:
    assert pack_id_of(b"a" * 16, b"table") != pack_id_of(b"b" * 16, b"table")


@given(st.binary(min_size=32, max_size=32))
def test_digest_reads_back_from_its_one_spelling(raw: bytes) -> None:
    assert parse_digest(raw.hex()) == raw


@pytest.mark.parametrize(
    "text", ["", "0" * 63, "0" * 65, "0" * 62 + "0x", "A" * 64, "g" * 64, " " + "0" * 63, "0" * 64 + "\n", "٠" * 64]
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="64 lower-case"):
        parse_digest(text)
