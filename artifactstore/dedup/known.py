"""Chunks that are stored already: digest → (pack number, chunk number).

Columns, not objects, and no numpy: an open-addressing table of entry numbers over one
column of digests and one of places. At most 64 bytes a chunk.

    digests   32 bytes an entry
    places     8 bytes an entry: pack number * 2**32 + chunk number
    slots      4 bytes a slot, 2 to 4 slots an entry; entry number + 1, or 0 for empty

One thread at a time may add while any number look up: an entry's columns are written
before the slot that names it, and a grown table replaces the old one in one assignment.
"""

import struct
from array import array
from collections.abc import Sequence
from typing import Final, Protocol

from artifactstore.digest import DIGEST_BYTES, Digest

DEFAULT_BUDGET_BYTES: Final = 128 << 20
MAX_BYTES_PER_CHUNK: Final = 64
_FIRST_SLOTS: Final = 1 << 12
_KEY: Final = struct.Struct("<Q24x")
_NUMBER_BITS: Final = 32
_NUMBER_MASK: Final = (1 << _NUMBER_BITS) - 1


class DigestColumn(Protocol):
    """What is read of a pack's table: all its digests, back to back."""

    def digests(self) -> bytes: ...


class KnownChunks:
    """A bounded map of chunks that may be named instead of stored again. Keys are digests of any type."""

    def __init__(self, *, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> None:
        """``budget_bytes`` is a hard limit, at `MAX_BYTES_PER_CHUNK` an entry; what comes after is not added."""
        self._capacity = budget_bytes // MAX_BYTES_PER_CHUNK
        self._digests = bytearray()
        self._places = array("Q")
        self._slots = array("I", bytes(4 * _FIRST_SLOTS))
        self._is_full = False

    def __len__(self) -> int:
        return len(self._places)

    @property
    def is_full(self) -> bool:
        """Whether something was not added because of the budget: what it would have saved is stored again."""
        return self._is_full

    @property
    def memory_bytes(self) -> int:
        """What the columns take."""
        return len(self._digests) + 8 * len(self._places) + 4 * len(self._slots)

    def lookup(self, digest: bytes) -> tuple[int, int] | None:
        """(pack number, chunk number) of the chunk with this digest, or None."""
        slots = self._slots
        mask = len(slots) - 1
        slot = int.from_bytes(digest[:8], "little") & mask
        while entry := slots[slot]:
            end = entry * DIGEST_BYTES
            if self._digests[end - DIGEST_BYTES : end] == digest:
                place = self._places[entry - 1]
                return place >> _NUMBER_BITS, place & _NUMBER_MASK
            slot = (slot + 1) & mask
        return None

    def add(self, digest: Digest, pack_number: int, chunk_number: int) -> bool:
        """Add one chunk; the first place of a digest stays. False where the budget is used up."""
        if self.lookup(digest) is not None:
            return True
        return self._append(digest, [pack_number << _NUMBER_BITS | chunk_number]) == 1

    def add_new(self, digest: Digest, pack_number: int, chunk_number: int) -> None:
        """As `add`, for a chunk that was just looked up in vain: most chunks of an upload come this way."""
        count = len(self._places)
        if count >= self._capacity:
            self._is_full = True
            return
        self._digests += digest
        self._places.append(pack_number << _NUMBER_BITS | chunk_number)
        slots = self._slots
        if 2 * count >= len(slots):
            self._grow()
            return
        mask = len(slots) - 1
        slot = int.from_bytes(digest[:8], "little") & mask
        while slots[slot]:
            slot = (slot + 1) & mask
        slots[slot] = count + 1

    def add_table(self, pack_number: int, table: DigestColumn) -> int:
        """Add all chunks of a pack, by its table; returns how many were added before the budget was used up."""
        digests = table.digests()
        first = pack_number << _NUMBER_BITS
        return self._append(digests, range(first, first + len(digests) // DIGEST_BYTES))

    def _append(self, digests: bytes, places: Sequence[int]) -> int:
        before = len(self._places)
        count = min(len(places), self._capacity - before)
        if count < len(places):
            self._is_full = True
        if count <= 0:
            return 0
        digests = digests[: count * DIGEST_BYTES]
        self._digests += digests
        self._places.extend(places[:count])
        if 2 * (before + count) > len(self._slots):
            self._grow()
        else:
            self._place(self._slots, digests, before)
        return count

    def _grow(self) -> None:
        size = len(self._slots)
        while size < 2 * len(self._places):
            size *= 2
        slots = array("I", bytes(4 * size))
        self._place(slots, self._digests, 0)
        self._slots = slots

    @staticmethod
    def _place(slots: "array[int]", digests: bytes | bytearray, before: int) -> None:
        """Put entries into free slots. A digest that is there already gets one that nothing reaches: rare, harmless."""
        mask = len(slots) - 1
        entry = before
        for (key,) in _KEY.iter_unpack(digests):
            entry += 1
            slot = key & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = entry
