"""Codecs: what is chosen, what comes back, and what is refused. Faults 78, 83, 84."""

import concurrent.futures
import struct

import pytest
import zstandard

from artifactstore.codec import Codec, Compression, DecodeError, choose, decode, encode, encode_each
from artifactstore.testing.strategies import seeded_bytes

TEXT = b"".join(b"step %d loss=0.%d\n" % (i, i * 7919 % 1000) for i in range(2000))
NOISE = seeded_bytes("noise", 50_000)


def weights(count: int) -> bytes:
    """bf16-like: a random byte beside one that takes few values."""
    low, draw = seeded_bytes("low", count), seeded_bytes("high", count)
    high = bytes(0x3C - min(bin(byte).count("1"), 6) for byte in draw)
    return bytes(byte for pair in zip(low, high, strict=True) for byte in pair)


def zstd(raw: bytes, **settings: bool) -> bytes:
    return zstandard.ZstdCompressor(level=1, **settings).compress(raw)


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("raw", [TEXT, NOISE, b"x", b"", bytes(300_000)], ids=["text", "noise", "one", "none", "zeros"])
def test_what_was_encoded_decodes(raw, codec):
    used, encoded = encode(raw, codec)
    assert bytes(decode(used, encoded, len(raw))) == raw


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_buffer_type_is_taken(kind):
    used, encoded = encode(kind(TEXT), Codec.ZSTD)
    assert used is Codec.ZSTD
    assert decode(used, kind(encoded), len(TEXT)) == TEXT


def test_what_does_not_shrink_is_stored_raw_and_not_copied():
    used, encoded = encode(NOISE, Codec.ZSTD)
    assert used is Codec.RAW
    assert encoded is NOISE


def test_decoding_raw_bytes_copies_nothing():
    assert decode(Codec.RAW, NOISE, len(NOISE)) is NOISE


@pytest.mark.parametrize(
    ("sample", "compression", "codec"),
    [
        (TEXT, Compression.AUTO, Codec.ZSTD),
        (TEXT, Compression.ZSTD, Codec.ZSTD),
        (TEXT, Compression.NONE, Codec.RAW),
        (NOISE, Compression.AUTO, Codec.RAW),
        (NOISE, Compression.ZSTD, Codec.ZSTD),
        (b"", Compression.AUTO, Codec.RAW),
        (b"", Compression.ZSTD, Codec.ZSTD),
        (NOISE + TEXT * 10, Compression.AUTO, Codec.ZSTD),
        (TEXT[:2000] + NOISE * 8, Compression.AUTO, Codec.RAW),
    ],
)
def test_the_probe_looks_at_the_whole_sample(sample, compression, codec):
    assert choose(sample, compression) is codec


def test_weights_stay_raw_under_auto_and_shrink_on_request():
    data = weights(40_000)
    assert choose(data, Compression.AUTO) is Codec.RAW
    assert len(encode(data, choose(data, Compression.ZSTD))[1]) < 0.9 * len(data)


def test_small_files_are_encoded_where_it_saves_a_third():
    raws = [TEXT[:3000], TEXT, NOISE[:100], NOISE, b"", weights(5000), b"x"]
    codecs = [codec for codec, _ in encode_each(raws, Compression.AUTO)]
    assert codecs == [Codec.ZSTD, Codec.ZSTD, Codec.RAW, Codec.RAW, Codec.RAW, Codec.RAW, Codec.RAW]


@pytest.mark.parametrize("compression", Compression)
def test_small_files_decode_whatever_was_asked_for(compression):
    raws = [TEXT, NOISE, b"x", memoryview(TEXT)[5:500], weights(5000)]
    pairs = encode_each(raws, compression)
    assert [bytes(decode(codec, encoded, len(raw))) for raw, (codec, encoded) in zip(raws, pairs, strict=True)] == raws


def test_no_compression_means_none():
    assert encode_each([TEXT], Compression.NONE) == [(Codec.RAW, TEXT)]


# Fault 83: a length nobody agreed to is refused before memory is spent on it.
def test_a_bomb_is_refused_by_its_declared_size():
    bomb = zstd(bytes(64 << 20))
    assert len(bomb) < 10_000
    with pytest.raises(DecodeError, match="frame of 67108864 bytes"):
        decode(Codec.ZSTD, bomb, 65_536)


def test_a_bomb_that_lies_about_its_size_is_refused():
    bomb = bytearray(zstd(bytes(64 << 20)))
    assert bomb[6:10] == struct.pack("<I", 64 << 20)
    bomb[6:10] = struct.pack("<I", 65_536)
    assert zstandard.frame_content_size(bytes(bomb)) == 65_536
    with pytest.raises(DecodeError):
        decode(Codec.ZSTD, bytes(bomb), 65_536)


@pytest.mark.parametrize(
    ("encoded", "raw_length"),
    [
        (zstd(TEXT) + b"x", len(TEXT)),
        (zstd(TEXT) + zstd(TEXT), 2 * len(TEXT)),
        (zstd(TEXT) + zstd(TEXT), len(TEXT)),
        (b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstd(TEXT), len(TEXT)),
        (zstd(TEXT)[:-1], len(TEXT)),
        (zstd(TEXT)[:5], len(TEXT)),
        (b"", 100),
        (b"", 0),
        (zstd(b""), 0),
        (zstd(b"") + b"trailing", 100),
        (zstd(TEXT, write_checksum=True), len(TEXT)),
        (zstd(TEXT, write_content_size=False), len(TEXT)),
        (zstd(TEXT), len(TEXT) - 1),
        (zstd(TEXT), len(TEXT) + 1),
        (zstd(NOISE), len(NOISE)),
        (NOISE[:100], 200),
    ],
    ids=[
        "trailing-byte", "two-frames", "frame-behind", "skippable-frame", "cut", "only-header", "nothing",
        "nothing-for-nothing", "empty-frame", "empty-frame-and-more", "checksum", "unknown-size", "one-less",
        "one-more", "not-smaller", "noise",
    ],
)  # fmt: skip
def test_frames_that_the_encoder_would_not_write_are_refused(encoded, raw_length):
    with pytest.raises(DecodeError):
        decode(Codec.ZSTD, encoded, raw_length)


def test_the_unused_bit_of_a_frame_header_is_refused():
    frame = bytearray(zstd(TEXT))
    frame[4] ^= 0b0001_0000
    assert zstandard.ZstdDecompressor().decompress(bytes(frame)) == TEXT
    with pytest.raises(DecodeError, match="unknown bits"):
        decode(Codec.ZSTD, bytes(frame), len(TEXT))


@pytest.mark.parametrize("codec", [2, 3, 15, -1])
def test_unknown_codecs_are_refused(codec):
    with pytest.raises(DecodeError, match="unknown codec"):
        decode(codec, b"abc", 3)


@pytest.mark.parametrize("raw_length", [0, 2, 4])
def test_raw_bytes_must_have_the_length_that_was_promised(raw_length):
    with pytest.raises(DecodeError):
        decode(Codec.RAW, b"abc", raw_length)


def test_threads_do_not_share_contexts():
    raws = [TEXT[number : number + 5000] * 3 for number in range(64)]

    def round_trip(raw: bytes) -> bool:
        return all(decode(*encode(raw, Codec.ZSTD), len(raw)) == raw for _ in range(20))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(round_trip, raws))
