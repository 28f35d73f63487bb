"""The entries of a cache on disk: where each lies, and what proves it."""

from dataclasses import dataclass
from typing import Final

from artifactstore.chunk_cache.usage import SHARD_COUNT
from artifactstore.digest import Buffer, Digest, PackId, digest_of

_TABLE_CONTEXT: Final = "artifactstore 1 cached table"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the cache."""

    shard: int
    name: str

    @property
    def path(self) -> str:
        return f"{self.shard:02x}/{self.name}"


def chunk_entry(digest: Digest) -> Entry:
    return Entry(digest[0] % SHARD_COUNT, f"c{digest.hex()}")


def table_entry(pack: PackId) -> Entry:
    return Entry(pack[0] % SHARD_COUNT, f"t{pack.hex()}")


def table_proof(pack: PackId, tail: Buffer) -> Digest:
    """What lies behind a tail: it finds damage, and a tail under another pack's name; it proves nothing to an enemy."""
    return digest_of(_TABLE_CONTEXT, b"".join((pack, tail)))
