"""What a cache of stored content is to those who read through it.

A cache is never authoritative and never a reason to fail: what it can't keep it forgets,
and what it gives back is proven first.
"""

from typing import Protocol

from artifactstore.digest import Buffer, Digest, PackId


class ChunkCache(Protocol):
    """Chunks by digest, tails of packs by pack. Any number of threads; also after a fork."""

    def get(self, digest: Digest, length: int) -> bytes | None:
        """The chunk with this digest, checked against it just now, or None.

        Args:
            digest: Of the chunk's content, under `CHUNK_CONTEXT`.
            length: Its length in bytes: an entry of another length is not it.

        Returns:
            The chunk. None where it is not there, or is not what was put: such an entry is dropped.
        """
        ...

    def put(self, digest: Digest, raw: Buffer) -> None:
        """Keep a chunk's content for a while, perhaps. Never raises for the sake of disk or memory."""
        ...

    def get_table(self, pack: PackId) -> bytes | None:
        """The tail of a pack (its table and trailer), as it was put, or None.

        Damage to it is found here. Whether it is that pack's tail at all only the caller can prove, by the pack's id;
        where that fails, `put_table` replaces it.
        """
        ...

    def put_table(self, pack: PackId, tail: Buffer) -> None:
        """Keep the tail of a pack for a while, perhaps; it takes the place of one that is there. Never raises."""
        ...


class NoCache:
    """Keeps nothing."""

    def get(self, digest: Digest, length: int) -> bytes | None:
        return None

    def put(self, digest: Digest, raw: Buffer) -> None:
        pass

    def get_table(self, pack: PackId) -> bytes | None:
        return None

    def put_table(self, pack: PackId, tail: Buffer) -> None:
        pass
