"""Packs under construction: one preallocated buffer, one copy of each chunk into it.

A buffer of 32 MiB costs thousands of page faults when it is first written, so builders
are used again (`PackBuilder.reset`). What is about to be sent is checked once more over
the very bytes that will be sent (`verify_sealed`).
"""

import mmap
from dataclasses import dataclass
from typing import Final, NamedTuple

import xxhash

from artifactstore.codec import Codec, DecodeError, decode
from artifactstore.digest import DIGEST_BYTES, Buffer, Digest, PackId, digest_of
from artifactstore.errors import CorruptData, UnsupportedFormat
from artifactstore.keys import pack_key
from artifactstore.pack.format import (
    HEADER_BYTES,
    MAX_METADATA_BYTES,
    MAX_PACK_BYTES,
    MAX_ROWS,
    RECORD_HEADER_BYTES,
    ROW,
    ROW_BYTES,
    TARGET_PACK_BYTES,
    TRAILER_BYTES,
    ChunkKind,
    Table,
    context_of,
    encode_header,
    encode_tail,
    parse_pack,
    tag_of,
)

_CHUNK_OVERHEAD_BYTES: Final = RECORD_HEADER_BYTES + ROW_BYTES


class AddedChunk(NamedTuple):
    """Where a chunk went: its number in the pack, and the offset and length of its record in the object."""

    number: int
    offset: int
    stored_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedPack:
    """A finished pack object.

    Attributes:
        pack: Its id.
        body: The whole object. A view of the builder's buffer: valid until the builder's `reset`.
        table_bytes: Length of its tail (rows and trailer).
        table: What it holds; outlives ``body``.
    """

    pack: PackId
    body: memoryview
    table_bytes: int
    table: Table


class PackBuilder:
    """Puts encoded chunks into one pack. Not thread-safe.

    Args:
        store_id: 16 bytes.
        nonce: 16 random bytes, never used before.
        capacity_bytes: The size that the finished object should not pass. A single larger chunk still makes a pack,
            of its own.
    """

    __slots__ = ("_body", "_buffer", "_capacity", "_end", "_nonce", "_rows", "_store_id")

    def __init__(self, *, store_id: bytes, nonce: bytes, capacity_bytes: int = TARGET_PACK_BYTES) -> None:
        if not HEADER_BYTES + TRAILER_BYTES <= capacity_bytes <= MAX_PACK_BYTES:
            raise ValueError(f"a pack can't have a capacity of {capacity_bytes} bytes")
        self._store_id: Final = store_id
        self._capacity: Final = capacity_bytes
        # Fresh pages of the system, touched once as they are filled. Through a view: assigning to a slice of a
        # bytearray copies twice.
        self._buffer = memoryview(mmap.mmap(-1, capacity_bytes))
        self._body: memoryview | None = None
        self._start(nonce)

    def _start(self, nonce: bytes) -> None:
        self._buffer[:HEADER_BYTES] = encode_header(store_id=self._store_id, nonce=nonce)
        self._nonce = nonce
        self._rows: list[bytes] = []
        self._end = HEADER_BYTES

    @property
    def row_count(self) -> int:
        """How many chunks it holds."""
        return len(self._rows)

    @property
    def body_bytes(self) -> int:
        """Bytes of header and records so far."""
        return self._end

    def fits(self, encoded_length: int) -> bool:
        """Whether a chunk of this encoded length can be added. Always true of an empty builder, up to 64 MiB."""
        rows = len(self._rows)
        limit = self._capacity if rows else MAX_PACK_BYTES
        size = self._end + encoded_length + (rows + 1) * ROW_BYTES + RECORD_HEADER_BYTES + TRAILER_BYTES
        return rows < MAX_ROWS and size <= limit

    def add(self, *, kind: ChunkKind, digest: Digest, codec: Codec, encoded: Buffer, raw_length: int) -> AddedChunk:
        """Append one chunk.

        Raises:
            ValueError: It does not fit, the pack is sealed, or lengths and digest are not of a chunk.
        """
        encoded_length = len(encoded)
        if not self.fits(encoded_length) or self._body is not None:
            raise ValueError("the pack is full or sealed")
        if len(digest) != DIGEST_BYTES or not 0 < raw_length <= MAX_METADATA_BYTES:
            raise ValueError(f"not a chunk: digest of {len(digest)} bytes, {raw_length} raw bytes")
        if encoded_length != raw_length if codec is Codec.RAW else encoded_length >= raw_length:
            raise ValueError(f"{encoded_length} bytes of {codec.name} for {raw_length} raw bytes")
        row = ROW.pack(digest, tag_of(kind, codec), encoded_length, raw_length)
        start = self._end
        middle = start + RECORD_HEADER_BYTES
        end = middle + encoded_length
        if end > len(self._buffer):
            self._grow(end)
        self._buffer[start:middle] = row[DIGEST_BYTES:]
        self._buffer[middle:end] = encoded
        self._end = end
        number = len(self._rows)
        self._rows.append(row)
        return AddedChunk(number, start, end - start)

    def _grow(self, needed_bytes: int) -> None:
        larger = memoryview(mmap.mmap(-1, needed_bytes))
        larger[: self._end] = self._buffer[: self._end]
        self._buffer = larger

    def seal(self) -> SealedPack:
        """Finish the pack. Afterwards only `reset` may be called. May run in another thread than `add` did.

        Raises:
            ValueError: It is empty, or sealed already.
        """
        if self._body is not None or not self._rows:
            raise ValueError("the pack is sealed or empty")
        rows = b"".join(self._rows)
        # One pass over the whole body, without the GIL: fed chunk by chunk it would be taken and given back each time.
        check = xxhash.xxh3_64_intdigest(self._buffer[: self._end])
        pack, tail = encode_tail(rows, nonce=self._nonce, body_bytes=self._end, body_check=check)
        end = self._end + len(tail)
        if end > len(self._buffer):
            self._grow(end)
        self._buffer[self._end : end] = tail
        # Read-only: nothing between here and the storage has a reason to write to it.
        self._body = self._buffer[:end].toreadonly()
        return SealedPack(pack=pack, body=self._body, table_bytes=len(tail), table=Table(rows))

    def reset(self, nonce: bytes) -> None:
        """Start the next pack in the same buffer, sealed or not.

        The body of the last `SealedPack` is released: using it afterwards is a ValueError instead of wrong bytes.

        Raises:
            BufferError: The body is being read at this moment.
        """
        if self._body is not None:
            self._body.release()
            self._body = None
        self._start(nonce)


def verify_sealed(sealed: SealedPack, *, max_raw_length: int) -> None:
    """Decode every record again and compare it with its digest, over the very bytes to be sent.

    Catches a compressor that wrote nonsense, and memory that changed since the chunk was hashed. Decoding and
    hashing release the GIL: run it in a thread of its own for each pack.

    Args:
        max_raw_length: Of chunks of content, in bytes; metadata may have `MAX_METADATA_BYTES`.

    Raises:
        CorruptData: Do not send it. Reading and packing the chunks again may help.
    """
    try:
        rows = parse_pack(sealed.pack, sealed.body).rows
    except (CorruptData, UnsupportedFormat) as error:
        raise _damaged(sealed.pack, error.what, (0, len(sealed.body))) from error
    limits = [max_raw_length if kind is ChunkKind.CONTENT else MAX_METADATA_BYTES for kind in ChunkKind]
    contexts = [context_of(kind) for kind in ChunkKind]
    end = HEADER_BYTES
    for number, (digest, tag, encoded_length, raw_length) in enumerate(ROW.iter_unpack(rows)):
        start, end = end, end + RECORD_HEADER_BYTES + encoded_length
        kind = tag >> 4
        try:
            if raw_length > limits[kind]:
                raise DecodeError(f"{raw_length} raw bytes, over {limits[kind]}")
            raw = decode(tag & 15, sealed.body[start + RECORD_HEADER_BYTES : end], raw_length)
        except DecodeError as error:
            raise _damaged(sealed.pack, f"chunk {number} can't be decoded again: {error}", (start, end)) from error
        if digest_of(contexts[kind], raw) != digest:
            raise _damaged(sealed.pack, f"chunk {number} decodes to other bytes than were hashed", (start, end))


def _damaged(pack: PackId, what: str, span: tuple[int, int]) -> CorruptData:
    error = CorruptData(f"a pack was damaged in memory before it was sent: {what}", key=pack_key(pack), byte_range=span)
    error.data_safe = "It was not sent; stored data is not affected."
    error.next_step = "Push again; if it happens again, test this machine's memory."
    return error
