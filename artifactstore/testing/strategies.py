"""Hypothesis strategies for chunks and packs, and seeded bytes for golden data.

content        bytes as files have them: zeros, text-like, incompressible, mixed
cut_functions  small ones, so that short content is cut often
slicings       any way in which a reader may hand over content
sealed_packs   a finished pack beside what was put into it
"""

from dataclasses import dataclass
from itertools import pairwise

import blake3
from hypothesis import strategies as st

from artifactstore.chunking import CutFunction
from artifactstore.codec import Codec, encode
from artifactstore.digest import digest_of
from artifactstore.pack.format import ChunkKind, context_of
from artifactstore.pack.writer import AddedChunk, PackBuilder, SealedPack

SMALL_CUT = CutFunction(min_bytes=256, average_bytes=512, max_bytes=1024)
"""The smallest cut function for tests that want many chunks out of little content."""


def seeded_bytes(seed: str, length: int) -> bytes:
    """Incompressible bytes that are the same on every machine and for ever: BLAKE3's extended output."""
    return blake3.blake3(seed.encode()).digest(length=length)


@st.composite
def content(draw: st.DrawFn, *, max_pieces: int = 6, max_piece_bytes: int = 4096) -> bytes:
    """Content made of runs of zeros, of repeated text, and of incompressible bytes."""
    pieces: list[bytes] = []
    for _ in range(draw(st.integers(0, max_pieces))):
        length = draw(st.integers(1, max_piece_bytes))
        pattern = draw(st.one_of(st.just(b"\0"), st.binary(min_size=1, max_size=40), st.none()))
        if pattern is None:
            pieces.append(seeded_bytes(str(draw(st.integers(0, 50))), length))
        else:
            pieces.append((pattern * (length // len(pattern) + 1))[:length])
    return b"".join(pieces)


@st.composite
def cut_functions(draw: st.DrawFn) -> CutFunction:
    """Cut functions with chunks of at most a few KiB."""
    minimum = draw(st.sampled_from([64, 100, 256]))
    return CutFunction(
        min_bytes=minimum,
        average_bytes=draw(st.sampled_from([256, 512, 1000])),
        max_bytes=draw(st.sampled_from([1024, 1500, 4096])),
    )


@st.composite
def slicings(draw: st.DrawFn, length: int) -> list[tuple[int, int]]:
    """Ranges that cover ``length`` bytes in order; some may be empty."""
    inner = draw(st.lists(st.integers(0, length), max_size=12))
    return list(pairwise([0, *sorted(inner), length]))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackSample:
    """A pack and what is in it.

    Attributes:
        chunks: Kind and raw bytes of each chunk.
        added: Where the builder said it put each of them.
        body: A copy of the whole object.
    """

    sealed: SealedPack
    chunks: tuple[tuple[ChunkKind, bytes], ...]
    added: tuple[AddedChunk, ...]
    body: bytes


def build_pack(
    chunks: list[tuple[ChunkKind, bytes]],
    *,
    codec: Codec = Codec.ZSTD,
    store_id: bytes = b"sixteen byte id.",
    nonce: bytes = b"sixteen nonce by",
) -> PackSample:
    """Put these chunks into one pack. Those that ``codec`` does not shrink are stored raw."""
    builder = PackBuilder(store_id=store_id, nonce=nonce, capacity_bytes=1 << 20)
    added: list[AddedChunk] = []
    for kind, raw in chunks:
        used, encoded = encode(raw, codec)
        digest = digest_of(context_of(kind), raw)
        added.append(builder.add(kind=kind, digest=digest, codec=used, encoded=encoded, raw_length=len(raw)))
    sealed = builder.seal()
    return PackSample(sealed=sealed, chunks=tuple(chunks), added=tuple(added), body=bytes(sealed.body))


@st.composite
def sealed_packs(draw: st.DrawFn, *, max_chunks: int = 8) -> PackSample:
    """Packs of a few chunks of any kind."""
    raws = content(max_pieces=3, max_piece_bytes=1500).filter(bool)
    chunk = st.tuples(st.sampled_from(ChunkKind), raws)
    chunks = draw(st.lists(chunk, min_size=1, max_size=max_chunks))
    nonce = draw(st.binary(min_size=16, max_size=16))
    return build_pack(chunks, codec=draw(st.sampled_from(Codec)), nonce=nonce)
