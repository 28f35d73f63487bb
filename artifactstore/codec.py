"""Chunk bytes and their encoded form.

    number   codec    encoded bytes
    0        raw      the raw bytes themselves
    1        zstd     one zstd frame: content size present, no checksum, no dictionary, fewer bytes than raw
    2        -        reserved (byte-shuffled floats)

The raw length is stored beside the encoded bytes and must be what the frame declares:
memory is never spent on a length that nobody agreed to. Encoded bytes carry no checksum
of their own, because every chunk is checked against its digest after decoding.
This module turns bytes into bytes. It does no I/O.
"""

import enum
import threading
from collections.abc import Sequence
from typing import Final

import zstandard

from artifactstore.digest import Buffer

_LEVEL: Final = 1
_PROBE_BYTES: Final = 64 << 10
_PROBE_SLICES: Final = 4
_PROBE_SLICE_BYTES: Final = _PROBE_BYTES // _PROBE_SLICES
_WORTHWHILE_DIVISOR: Final = 3
"""`AUTO` compresses what becomes smaller by at least one part in this many. Weights save 8 to 22 %, all of it entropy
coding that is slower than any disk: a third keeps them out (docs/decisions/0003-compression.md)."""
_GLANCE_BYTES: Final = 1 << 10
_GLANCE_FROM_BYTES: Final = 4 << 10
_HOPELESS_DIVISOR: Final = 10
_FRAME_MAGIC: Final = b"\x28\xb5\x2f\xfd"


class Codec(enum.IntEnum):
    """How a chunk's bytes are stored. 2 is reserved for byte-shuffled floats."""

    RAW = 0
    ZSTD = 1


class Compression(enum.Enum):
    """What the user asked for."""

    AUTO = "auto"
    ZSTD = "zstd"
    NONE = "none"


class DecodeError(ValueError):
    """Bytes that this format could not have written."""


class _Contexts(threading.local):
    # A zstd context serves one thread at a time; making one for each chunk costs more than a small chunk.
    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(
            level=_LEVEL, write_content_size=True, write_checksum=False, write_dict_id=False
        ).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_contexts: Final = _Contexts()


def choose(sample: Buffer, compression: Compression) -> Codec:
    """Choose the codec for a file by a probe of its content.

    Args:
        sample: Content of the file, or a part of it. Of more than 64 KiB four slices are tried.
        compression: `AUTO` takes zstd only where it saves at least a third of the sample.
    """
    if compression is not Compression.AUTO:
        return Codec.ZSTD if compression is Compression.ZSTD else Codec.RAW
    view = memoryview(sample)
    if len(view) > _PROBE_BYTES:
        stride = (len(view) - _PROBE_SLICE_BYTES) // (_PROBE_SLICES - 1)
        slices = [view[i * stride : i * stride + _PROBE_SLICE_BYTES] for i in range(_PROBE_SLICES)]
    else:
        slices = [view]
    raw_length = sum(map(len, slices))
    saved = raw_length - sum(len(_contexts.compress(piece)) for piece in slices)
    return Codec.ZSTD if saved * _WORTHWHILE_DIVISOR >= raw_length > 0 else Codec.RAW


def encode(raw: Buffer, codec: Codec) -> tuple[Codec, Buffer]:
    """Encode one chunk.

    Returns:
        The codec used and the encoded bytes: ``raw`` itself and `RAW` where ``codec`` would not shrink it.
    """
    if codec is Codec.ZSTD:
        encoded = _contexts.compress(raw)
        if len(encoded) < len(raw):
            return Codec.ZSTD, encoded
    return Codec.RAW, raw


def encode_each(raws: Sequence[Buffer], compression: Compression) -> list[tuple[Codec, Buffer]]:
    """Encode many files of one chunk each: `choose` and `encode` in one, for each of them.

    The encoding of such a file is its own probe: under `AUTO` it is kept where it saves at least a third, and not
    even tried where the middle of the file hardly shrinks.
    """
    if compression is Compression.AUTO:
        return [_encode_if_worthwhile(raw) for raw in raws]
    codec = choose(b"", compression)
    return [encode(raw, codec) for raw in raws]


def _encode_if_worthwhile(raw: Buffer) -> tuple[Codec, Buffer]:
    length = len(raw)
    compress = _contexts.compress
    if length > _GLANCE_FROM_BYTES:
        middle = (length - _GLANCE_BYTES) // 2
        glance = len(compress(memoryview(raw)[middle : middle + _GLANCE_BYTES]))
        if (_GLANCE_BYTES - glance) * _HOPELESS_DIVISOR < _GLANCE_BYTES:
            return Codec.RAW, raw
    encoded = compress(raw)
    saved = length - len(encoded)
    return (Codec.ZSTD, encoded) if saved * _WORTHWHILE_DIVISOR >= length > 0 else (Codec.RAW, raw)


def decode(codec: int, encoded: Buffer, raw_length: int) -> Buffer:
    """Decode one chunk into exactly ``raw_length`` bytes.

    Returns:
        ``encoded`` itself for `RAW`, new bytes otherwise.

    Raises:
        DecodeError: An unknown codec, damaged bytes, another length than ``raw_length``, anything behind the end.
    """
    if codec == Codec.RAW:
        if len(encoded) != raw_length:
            raise DecodeError(f"{len(encoded)} raw bytes where {raw_length} are expected")
        return encoded
    if codec != Codec.ZSTD:
        raise DecodeError(f"unknown codec {codec}")
    _check_frame(encoded, raw_length)
    try:
        # The frame declares its size, checked above, so this allocates exactly raw_length bytes.
        raw = _contexts.decompress(encoded, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DecodeError(f"zstd: {error}") from error
    if len(raw) != raw_length:
        raise DecodeError(f"{len(raw)} bytes decoded where {raw_length} are expected")
    return raw


def _check_frame(encoded: Buffer, raw_length: int) -> None:
    """Refuse a frame that our encoder would not write, before any memory is spent on it."""
    # Zstandard's own reader takes skippable frames, frames of unknown size, and a frame of size 0 with anything
    # behind it; it ignores the unused bit of the frame header.
    if len(encoded) >= raw_length:
        raise DecodeError(f"{len(encoded)} encoded bytes are not fewer than {raw_length} raw ones")
    if len(encoded) < 6 or encoded[:4] != _FRAME_MAGIC:
        raise DecodeError("not a zstd frame")
    if encoded[4] & 0b0001_1111:
        raise DecodeError("a zstd frame with a checksum, a dictionary or unknown bits")
    try:
        declared = zstandard.frame_content_size(encoded)
    except zstandard.ZstdError as error:
        raise DecodeError(f"zstd: {error}") from error
    if declared != raw_length:
        raise DecodeError(f"a zstd frame of {declared} bytes where {raw_length} are expected")
