"""How many bytes a cache on disk holds: one small file that all its processes write.

    offset   size   field
    0        16     magic, with the layout's number
    16       512    64 × u64 little-endian: bytes charged to each shard
    528      64     64 × u8: state of each shard

A shard's fields are changed only by who holds that shard's lock; they grow only under the
lock of this file, which is held for one comparison with the cap and one write. So the sum
never passes the cap, whoever writes at the same time.

A state other than CLEAN means that the number can't be believed: CHANGING where nobody
holds the shard's lock is what a killed writer left. Whoever takes the lock next counts
that shard anew. A number never says less than there is: bytes are charged before they are
written and given back after they are gone.
"""

import struct
from typing import Final

from artifactstore.chunk_cache.syscalls import System

SHARD_COUNT: Final = 64
CLEAN: Final = 0
CHANGING: Final = 1
UNKNOWN: Final = 2

_MAGIC: Final = b"arts chunks 1\n\0\0"
_BYTES: Final = struct.Struct(f"<{SHARD_COUNT}Q")
_NUMBER: Final = struct.Struct("<Q")
_BYTES_AT: Final = len(_MAGIC)
_STATES_AT: Final = _BYTES_AT + _BYTES.size
_FILE_BYTES: Final = _STATES_AT + SHARD_COUNT
_MAX_BYTES: Final = 1 << 56


class DamagedUsage(OSError):
    """The file is not what was written: it has to be begun anew."""


class Usage:
    """The open file. Whoever calls holds the lock that the method names; every method may raise `OSError`."""

    def __init__(self, system: System, descriptor: int) -> None:
        self._system = system
        self._descriptor = descriptor

    def is_valid(self) -> bool:
        """Whether the file is whole. No lock."""
        try:
            return max(self._shards()) < _MAX_BYTES and max(self._read()[_STATES_AT:]) <= UNKNOWN
        except DamagedUsage:
            return False

    def reset(self) -> None:
        """Begin anew, with every shard to be counted. This file's lock."""
        self._system.write_at(self._descriptor, bytes(_BYTES.size) + bytes([UNKNOWN]) * SHARD_COUNT, _BYTES_AT)
        self._system.write_at(self._descriptor, _MAGIC, 0)

    def unknown_shards(self) -> list[int]:
        """Those that have not been counted since the file was made. No lock."""
        states = self._read()[_STATES_AT:]
        return [shard for shard, state in enumerate(states) if state == UNKNOWN] if UNKNOWN in states else []

    def is_clean(self, shard: int) -> bool:
        """Whether the shard's number can be believed. The shard's lock."""
        return self._system.read_at(self._descriptor, 1, _STATES_AT + shard) == bytes([CLEAN])

    def total_bytes(self) -> int:
        """What all shards hold. No lock: the number of some moment."""
        return sum(self._shards())

    def reserve(self, shard: int, charge_bytes: int, *, limit_bytes: int) -> int:
        """Charge a shard, if the sum stays within the limit. The shard's lock and this file's.

        Returns:
            0 where it was charged, and is CHANGING now; else by how many bytes the sum would pass the limit.
        """
        shards = self._shards()
        short = sum(shards) + charge_bytes - limit_bytes
        if short > 0:
            return short
        self.begin(shard)
        self._write(shard, shards[shard] + charge_bytes)
        return 0

    def begin(self, shard: int) -> None:
        """From now on, until `finish`, a death leaves the shard to be counted anew. The shard's lock."""
        self._system.write_at(self._descriptor, bytes([CHANGING]), _STATES_AT + shard)

    def finish(self, shard: int, freed_bytes: int = 0) -> None:
        """Give back what is gone; the shard is CLEAN again. The shard's lock."""
        if freed_bytes:
            self._write(shard, max(0, self._shards()[shard] - freed_bytes))
        self._system.write_at(self._descriptor, bytes([CLEAN]), _STATES_AT + shard)

    def set_counted(self, shard: int, counted_bytes: int) -> None:
        """What a shard was found to hold. The shard's lock."""
        self._write(shard, counted_bytes)
        self.finish(shard)

    def _write(self, shard: int, number: int) -> None:
        self._system.write_at(self._descriptor, _NUMBER.pack(number), _BYTES_AT + shard * _NUMBER.size)

    def _shards(self) -> tuple[int, ...]:
        return _BYTES.unpack(self._read()[_BYTES_AT:_STATES_AT])

    def _read(self) -> bytes:
        data = self._system.read_at(self._descriptor, _FILE_BYTES, 0)
        if len(data) != _FILE_BYTES or not data.startswith(_MAGIC):
            raise DamagedUsage("the record of what the cache holds is damaged")
        return data
