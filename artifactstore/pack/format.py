"""Pack, format 1: many encoded chunks in one object, with a table of them at its end.

    offset     size    field
    0          8       magic "ASTPACK", then the version, 1
    8          2       format, u16: 1
    10         4       feature bits, u32: 0; a reader that does not know a set bit refuses the pack
    14         16      store id
    30         16      nonce: random, new for each pack
    46         8       key id: 0 (reserved for client-side encryption)
    54         10      zero
    64         ...     chunk records, back to back, no padding:
                         1   tag: codec in the low four bits, kind in the high four
                         4   encoded length, u32
                         4   raw length, u32
                         n   encoded bytes
    t          41 n    rows, one for each record, in the same order:
                         32  digest of the raw bytes, in the context of the kind
                         9   tag, encoded length, raw length, as in the record
    end-40     4       body check, u32: low half of XXH3-64 of everything before the rows
    end-36     4       row count n, u32
    end-32     8       row offset t, u64
    end-24     16      nonce, again
    end-8      8       magic "ASTPTAB", then the version, 1

All numbers are little-endian. The *tail* is everything from t on. The pack id is the
first 20 bytes of BLAKE3 (derived key, context "artifactstore 1 pack") of the nonce
followed by the tail up to end-24: so one ranged read of the tail proves itself, and a
record carries its own lengths, so that a run of records can be read without the table.
The rows come last so that a pack is written in one pass. The body check is no proof (each
chunk's digest is): it finds the flipped bit that changes no decoded byte.
This module turns bytes into values and back. It does no I/O.
"""

import enum
import itertools
import operator
import struct
import sys
from array import array
from collections.abc import Iterator
from typing import Final

import xxhash

from artifactstore.codec import Codec, DecodeError, decode
from artifactstore.digest import (
    BLOCK_CONTEXT,
    BLOCK_INDEX_CONTEXT,
    CHUNK_CONTEXT,
    DIGEST_BYTES,
    EXTENT_LIST_CONTEXT,
    Buffer,
    Digest,
    PackId,
    pack_id_of,
)
from artifactstore.errors import CorruptData, UnsupportedFormat
from artifactstore.keys import pack_key

FORMAT: Final = 1
HEADER_BYTES: Final = 64
RECORD_HEADER_BYTES: Final = 9
ROW_BYTES: Final = 41
TRAILER_BYTES: Final = 40
STORE_ID_BYTES: Final = 16
NONCE_BYTES: Final = 16
TARGET_PACK_BYTES: Final = 32 << 20
MAX_PACK_BYTES: Final = 64 << 20
SMALL_PACK_BYTES: Final = 4 << 20
"""Packs under this cost a request for little: a version that names many of them is fragmented."""
MAX_ROWS: Final = 65_536
MAX_METADATA_BYTES: Final = 4 << 20
"""The largest raw length of any chunk; chunks of content are bounded by the cut function besides."""

_HEADER_MAGIC: Final = b"ASTPACK\x01"
_TRAILER_MAGIC: Final = b"ASTPTAB\x01"
_HEADER: Final = struct.Struct("<8sHI16s16s8s10s")
_TRAILER: Final = struct.Struct("<IIQ16s8s")
_UNPROVEN_BYTES: Final = NONCE_BYTES + len(_TRAILER_MAGIC)
RECORD: Final = struct.Struct("<BII")
ROW: Final = struct.Struct("<32sBII")
_NO_KEY: Final = bytes(8)
_PADDING: Final = bytes(10)
_CHECK_MASK: Final = 0xFFFF_FFFF


class ChunkKind(enum.IntEnum):
    """What a chunk holds. Each kind has a digest context of its own."""

    CONTENT = 0
    BLOCK = 1
    EXTENT_LIST = 2
    INDEX_PAGE = 3


_CONTEXTS: Final = (CHUNK_CONTEXT, BLOCK_CONTEXT, EXTENT_LIST_CONTEXT, BLOCK_INDEX_CONTEXT)
_KINDS: Final = tuple(ChunkKind)
_TAGS: Final = frozenset(kind << 4 | codec for kind in ChunkKind for codec in Codec)
_CODEC_OF_TAG: Final = bytes(tag & 15 for tag in range(256))


def context_of(kind: ChunkKind) -> str:
    """The digest context of chunks of ``kind``."""
    return _CONTEXTS[kind]


def tag_of(kind: ChunkKind, codec: Codec) -> int:
    """Kind and codec as the one byte that records and rows store."""
    return kind << 4 | codec


def tail_bytes(row_count: int) -> int:
    """Length of rows and trailer."""
    return row_count * ROW_BYTES + TRAILER_BYTES


class Table:
    """The table of a pack: columns over its encoded rows, one value for each chunk.

    Attributes:
        rows: The encoded rows, `ROW_BYTES` each, the digest first.
    """

    __slots__ = ("_encoded", "_offsets", "_positions", "_raw", "rows")

    def __init__(self, rows: bytes) -> None:
        self.rows: Final = rows
        self._encoded: array[int] | None = None
        self._raw: array[int] | None = None
        self._offsets: array[int] | None = None
        self._positions: array[int] | None = None

    def __len__(self) -> int:
        return len(self.rows) // ROW_BYTES

    def digest(self, number: int) -> Digest:
        start = self._checked(number) * ROW_BYTES
        return Digest(self.rows[start : start + DIGEST_BYTES])

    def kind(self, number: int) -> ChunkKind:
        return _KINDS[self.rows[self._checked(number) * ROW_BYTES + DIGEST_BYTES] >> 4]

    def codec(self, number: int) -> Codec:
        return Codec(self.rows[self._checked(number) * ROW_BYTES + DIGEST_BYTES] & 15)

    def encoded_length(self, number: int) -> int:
        return self.encoded_lengths()[self._checked(number)]

    def raw_length(self, number: int) -> int:
        return self.raw_lengths()[self._checked(number)]

    def offset(self, number: int) -> int:
        """Where the chunk's record starts in the object."""
        return self.offsets()[self._checked(number)]

    def slice_extent(self, first: int, count: int) -> tuple[int, int, int]:
        """``(offset, stored_length, content_length)`` of ``count`` consecutive chunks from ``first`` on.

        Raises:
            IndexError: Not all of them are in the table.
        """
        if first < 0 or count < 0 or first + count > len(self):
            raise IndexError(f"chunks {first} to {first + count} of {len(self)}")
        offsets, positions = self.offsets(), self.positions()
        offset, position = offsets[first], positions[first]
        return offset, offsets[first + count] - offset, positions[first + count] - position

    def tags(self) -> bytes:
        """The tag byte of each chunk (`tag_of`)."""
        return self.rows[DIGEST_BYTES::ROW_BYTES]

    def digests(self) -> bytes:
        """All digests, back to back, `DIGEST_BYTES` each: for bulk loading."""
        packed = bytearray(len(self) * DIGEST_BYTES)
        for column in range(DIGEST_BYTES):
            packed[column::DIGEST_BYTES] = self.rows[column::ROW_BYTES]
        return bytes(packed)

    def encoded_lengths(self) -> "array[int]":
        if self._encoded is None:
            self._encoded = _column(self.rows, DIGEST_BYTES + 1)
        return self._encoded

    def raw_lengths(self) -> "array[int]":
        if self._raw is None:
            self._raw = _column(self.rows, DIGEST_BYTES + 5)
        return self._raw

    def offsets(self) -> "array[int]":
        """Where each record starts, and, one more, where the last one ends."""
        if self._offsets is None:
            stored = map(RECORD_HEADER_BYTES.__add__, self.encoded_lengths())
            self._offsets = array("Q", itertools.accumulate(stored, initial=HEADER_BYTES))
        return self._offsets

    def positions(self) -> "array[int]":
        """Raw bytes before each chunk, and, one more, of all."""
        if self._positions is None:
            self._positions = array("Q", itertools.accumulate(self.raw_lengths(), initial=0))
        return self._positions

    def _checked(self, number: int) -> int:
        if not 0 <= number < len(self):
            raise IndexError(f"chunk {number} of {len(self)}")
        return number


def _column(rows: bytes, start: int) -> "array[int]":
    """The u32 at ``start`` of each row. Strided slices move the bytes at C speed, without an object for each row."""
    packed = bytearray(len(rows) // ROW_BYTES * 4)
    for byte in range(4):
        packed[byte::4] = rows[start + byte :: ROW_BYTES]
    column = array("I", packed)
    if sys.byteorder == "big":
        column.byteswap()
    return column


def encode_header(*, store_id: bytes, nonce: bytes) -> bytes:
    """The first `HEADER_BYTES` of a pack.

    Raises:
        ValueError: Store id or nonce is not 16 bytes long.
    """
    if len(store_id) != STORE_ID_BYTES or len(nonce) != NONCE_BYTES:
        raise ValueError("store id and nonce are 16 bytes each")
    return _HEADER.pack(_HEADER_MAGIC, FORMAT, 0, store_id, nonce, _NO_KEY, _PADDING)


def encode_tail(rows: bytes, *, nonce: bytes, body_bytes: int, body_check: int) -> tuple[PackId, bytes]:
    """The id and the tail of a pack with these rows.

    Args:
        body_bytes: Length of everything before the rows: header and records.
        body_check: XXH3-64 of it, of which the low half is stored.
    """
    check = body_check & _CHECK_MASK
    trailer = _TRAILER.pack(check, len(rows) // ROW_BYTES, body_bytes, nonce, _TRAILER_MAGIC)
    tail = rows + trailer
    return pack_id_of(nonce, memoryview(tail)[:-_UNPROVEN_BYTES]), tail


def parse_tail(pack: PackId, tail: Buffer, *, object_bytes: int) -> Table:
    """Read the tail of a pack: proof that these rows are the ones ``pack`` was named for.

    Args:
        tail: The last bytes of the object: exactly its rows and trailer.
        object_bytes: Length of the whole object.

    Raises:
        CorruptData: Anything is wrong; the error names the pack.
        UnsupportedFormat: Written by a newer version.
    """
    return _parse_tail(pack, memoryview(tail), object_bytes=object_bytes)[0]


def _parse_tail(pack: PackId, tail: memoryview, *, object_bytes: int) -> tuple[Table, bytes, int]:
    start = object_bytes - len(tail)
    if len(tail) < TRAILER_BYTES or start < HEADER_BYTES or object_bytes > MAX_PACK_BYTES:
        what = f"a pack of {object_bytes} bytes can't have a tail of {len(tail)}"
        raise _corrupt(pack, what, max(start, 0), object_bytes)
    check, count, offset, nonce, magic = _TRAILER.unpack_from(tail, len(tail) - TRAILER_BYTES)
    _check_magic(pack, magic, _TRAILER_MAGIC, object_bytes - len(magic))
    if pack_id_of(nonce, tail[:-_UNPROVEN_BYTES]) != pack:
        raise _corrupt(pack, "the table is not the one that the pack is named for", start, object_bytes)
    # From here on the bytes are those that the writer of this pack wrote: what is wrong now was wrong then.
    if count > MAX_ROWS or len(tail) != tail_bytes(count) or offset != start:
        raise _corrupt(pack, f"the trailer counts {count} rows from {offset} on", start, object_bytes)
    table = Table(bytes(tail[: count * ROW_BYTES]))
    _check_rows(pack, table, start)
    return table, nonce, check


def _check_rows(pack: PackId, table: Table, start: int) -> None:
    tags, encoded, raw = table.tags(), table.encoded_lengths(), table.raw_lengths()
    if not _TAGS.issuperset(tags):
        raise UnsupportedFormat(f"pack {pack.hex()} has chunks of a kind or codec that this version does not know")
    if table.offsets()[-1] != start:
        raise _corrupt(pack, "the encoded lengths do not add up", start, start + len(table.rows))
    if raw and (max(raw) > MAX_METADATA_BYTES or not min(raw)):
        raise _corrupt(pack, "a raw length is out of range", start, start + len(table.rows))
    # `RAW` is 0 and as long as the raw bytes, `ZSTD` is 1 and shorter: so the codecs follow from the lengths.
    shorter = bytes(map(operator.lt, encoded, raw))
    if tags.translate(_CODEC_OF_TAG) != shorter or any(map(operator.gt, encoded, raw)):
        raise _corrupt(pack, "an encoded length does not fit its codec", start, start + len(table.rows))


def parse_pack(pack: PackId, body: Buffer, *, store_id: bytes | None = None) -> Table:
    """Read a whole pack object: header, records and table agree. Nothing is decoded.

    Args:
        store_id: The store it must belong to; None takes any.

    Raises:
        CorruptData: Anything is wrong; the error names the pack and the byte range.
        UnsupportedFormat: Written by a newer version.
    """
    view = memoryview(body)
    length = len(view)
    if not HEADER_BYTES + TRAILER_BYTES <= length <= MAX_PACK_BYTES:
        raise _corrupt(pack, f"a pack can't have {length} bytes", 0, length)
    header_nonce = _check_header(pack, view, store_id)
    count = _TRAILER.unpack_from(view, length - TRAILER_BYTES)[1]
    start = length - tail_bytes(count)
    if start < HEADER_BYTES:
        raise _corrupt(pack, f"no room for {count} rows", length - TRAILER_BYTES, length)
    table, nonce, check = _parse_tail(pack, view[start:], object_bytes=length)
    if nonce != header_nonce:
        raise _corrupt(pack, "header and trailer differ", 0, HEADER_BYTES)
    _check_records(pack, view, table)
    if xxhash.xxh3_64_intdigest(view[:start]) & _CHECK_MASK != check:
        raise _corrupt(pack, "header or records are not as they were written", 0, start)
    return table


def _check_header(pack: PackId, view: memoryview, store_id: bytes | None) -> bytes:
    """The nonce of a header that is as it should be."""
    magic, number, features, store, nonce, key_id, padding = _HEADER.unpack_from(view)
    _check_magic(pack, magic, _HEADER_MAGIC, 0)
    if number != FORMAT or features or key_id != _NO_KEY:
        raise UnsupportedFormat(
            f"pack {pack.hex()} has format {number}, features {features:#x}, key {key_id.hex()}", where=pack_key(pack)
        )
    if padding != _PADDING:
        raise _corrupt(pack, "the header does not end with zeros", 54, HEADER_BYTES)
    if store_id not in (None, store):
        raise _corrupt(pack, f"the pack belongs to store {store.hex()}", 14, 30)
    return bytes(nonce)


def _check_records(pack: PackId, view: memoryview, table: Table) -> None:
    rows, offsets = table.rows, table.offsets()
    for number in range(len(table)):
        offset, row = offsets[number], number * ROW_BYTES
        if view[offset : offset + RECORD_HEADER_BYTES] != rows[row + DIGEST_BYTES : row + ROW_BYTES]:
            raise _corrupt(pack, f"record {number} and its row differ", offset, offsets[number + 1])


def _check_magic(pack: PackId, found: bytes, expected: bytes, offset: int) -> None:
    if found == expected:
        return
    if found[:-1] == expected[:-1]:
        raise UnsupportedFormat(f"pack {pack.hex()} has version {found[-1]}", where=pack_key(pack))
    raise _corrupt(pack, "not a pack", offset, offset + len(expected))


def _corrupt(pack: PackId, what: str, start: int, end: int) -> CorruptData:
    return CorruptData(what, key=pack_key(pack), byte_range=(start, end))


def decode_record(record: memoryview, *, max_raw_length: int) -> tuple[ChunkKind, Buffer, int]:
    """Decode the record at the start of ``record``; more may follow it.

    Args:
        max_raw_length: Refuse longer chunks before decoding them.

    Returns:
        ``(kind, raw bytes, offset of what follows)``. The raw bytes of an uncompressed chunk are a view of ``record``.

    Raises:
        DecodeError: It is cut short, too long, of an unknown kind or codec, or damaged.
    """
    if len(record) < RECORD_HEADER_BYTES:
        raise DecodeError(f"{len(record)} bytes where a record's header should be")
    tag, encoded_length, raw_length = RECORD.unpack_from(record)
    end = RECORD_HEADER_BYTES + encoded_length
    if tag not in _TAGS:
        raise DecodeError(f"unknown kind {tag >> 4} or codec {tag & 15}")
    if not 0 < raw_length <= max_raw_length:
        raise DecodeError(f"a raw length of {raw_length}, over {max_raw_length} or 0")
    if end > len(record):
        raise DecodeError(f"a record of {end} bytes where {len(record)} are left")
    return _KINDS[tag >> 4], decode(tag & 15, record[RECORD_HEADER_BYTES:end], raw_length), end


def iter_records(body: memoryview, count: int, *, max_raw_length: int) -> Iterator[tuple[ChunkKind, Buffer]]:
    """Decode a run of records, such as an extent's: ``(kind, raw bytes)`` of each.

    Raises:
        DecodeError: A record is wrong, or they are not exactly ``count`` records that fill ``body``. What was
            yielded before is to be thrown away.
    """
    position = 0
    for _ in range(count):
        kind, raw, length = decode_record(body[position:], max_raw_length=max_raw_length)
        position += length
        yield kind, raw
    if position != len(body):
        raise DecodeError(f"{len(body) - position} bytes behind the last of {count} records")
