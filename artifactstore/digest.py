"""Digests: BLAKE3-256, one context per type of object.

A digest is 32 raw bytes. Each type of object hashes under a context string of its own
(BLAKE3's key derivation mode), so that no object of one type can stand in for one of
another: a manifest block served in place of a chunk fails its check.
XXH3-128 lives here too. It proves that two files *differ*; it never proves them equal.
"""

from typing import Final, NewType

import blake3
import xxhash

Buffer = bytes | bytearray | memoryview

Digest = NewType("Digest", bytes)
"""A BLAKE3-256 digest: 32 bytes. In JSON and on the command line 64 lower-case hexadecimal digits, nothing else."""

PackId = NewType("PackId", bytes)
"""The name of a pack: the first 20 bytes of a digest over its nonce and table."""

DIGEST_BYTES: Final = 32
PACK_ID_BYTES: Final = 20

CHUNK_CONTEXT: Final = "artifactstore 1 chunk"
BLOCK_CONTEXT: Final = "artifactstore 1 block"
BLOCK_CONTENT_CONTEXT: Final = "artifactstore 1 block content"
EXTENT_LIST_CONTEXT: Final = "artifactstore 1 extent list"
BLOCK_INDEX_CONTEXT: Final = "artifactstore 1 block index"
FILE_CONTEXT: Final = "artifactstore 1 file"
CONTENT_CONTEXT: Final = "artifactstore 1 content"
ROOT_CONTEXT: Final = "artifactstore 1 root"
PACK_CONTEXT: Final = "artifactstore 1 pack"
PATH_CONTEXT: Final = "artifactstore 1 path"
REFERENCE_CONTEXT: Final = "artifactstore 1 reference"
USER_CONTEXT: Final = "artifactstore 1 user"


def digest_of(context: str, data: Buffer) -> Digest:
    """The digest of ``data`` as an object of the type that ``context`` names."""
    return Digest(blake3.blake3(data, derive_key_context=context).digest())


def pack_id_of(nonce: bytes, table: Buffer) -> PackId:
    """The id of a pack with this nonce and this encoded table: never the same twice, and proof of the table."""
    return PackId(blake3.blake3(nonce, derive_key_context=PACK_CONTEXT).update(table).digest(length=PACK_ID_BYTES))


def xxh3_of(data: Buffer) -> bytes:
    """XXH3-128, 16 bytes, big-endian (the canonical form). Not an identity."""
    return xxhash.xxh3_128_digest(data)


def parse_digest(text: str) -> Digest:
    """Read the one spelling of a digest.

    Raises:
        ValueError: Not exactly 64 lower-case hexadecimal digits.
    """
    if len(text) != 2 * DIGEST_BYTES or not set(text) <= set("0123456789abcdef"):
        raise ValueError(f"a digest is 64 lower-case hexadecimal digits, not {text[:80]!r}")
    return Digest(bytes.fromhex(text))
