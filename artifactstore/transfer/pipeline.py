"""Source files → chunks → packs, with bounded memory.

    feed (one thread)      large files: read into reused buffers, cut
    prepare (a small pool) small files: read; all: digest each chunk, look it up, encode what is new
    place (one thread)     in walk order: append new chunks to packs, note extents

Feed and place run in the caller's thread in turn. What overlaps with them is hashing,
compressing, verifying and sending, all of which release the interpreter lock.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, repeat

from artifactstore.codec import Codec, choose, encode, encode_each
from artifactstore.dedup.known import KnownChunks
from artifactstore.dedup.neighbours import Neighbours
from artifactstore.dedup.packs import PackSet
from artifactstore.digest import CHUNK_CONTEXT, Buffer, Digest, digest_of, xxh3_of
from artifactstore.manifest.format import FileDigester, file_digest, single_chunk_file_digest
from artifactstore.manifest.model import Extent
from artifactstore.pack.format import ChunkKind
from artifactstore.transfer.context import Reuse, UploadEnvironment
from artifactstore.transfer.extents import ExtentBuilder
from artifactstore.transfer.feed import Batch, Feed, Piece
from artifactstore.transfer.found import Found
from artifactstore.transfer.packing import PackSender

_BATCHES_AHEAD = 4


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file whose chunks all have a place.

    Attributes:
        row: Its row in the scan.
        seen: What it looked like after its last byte was read.
        extents: Over the upload's pack numbers.
    """

    row: int
    seen: Found
    digest: bytes
    xxh3: bytes
    extents: tuple[Extent, ...]


# What `prepare` found out about one chunk: digest, raw length, (pack number, chunk number) where it is known,
# else its codec and encoded bytes. All-zero chunks have the `_ZEROS` mark for a hit.
_Prepared = tuple[Digest, int, tuple[int, int] | None, Codec, Buffer]
_ZEROS = (-1, -1)
_NOTHING = b""
_EMPTY_DIGEST = file_digest([])
_EMPTY_XXH3 = xxh3_of(b"")


class _Assembly:
    """A file of several chunks, on the way."""

    __slots__ = ("digester", "extents")

    def __init__(self) -> None:
        self.digester = FileDigester()
        self.extents = ExtentBuilder()

    def finish(self, piece: Piece, seen: Found) -> StoredFile:
        return StoredFile(piece.row, seen, self.digester.digest(), piece.xxh3, self.extents.build())


class Pipeline:
    """Stores the content of source files.

    Args:
        same_file: Places of a stored file with this file digest, if there is one to rely on.
        neighbours: Looks for equal content under other names.
    """

    def __init__(
        self,
        environment: UploadEnvironment,
        sender: PackSender,
        packs: PackSet,
        known: KnownChunks,
        *,
        same_file: Callable[[bytes], tuple[Extent, ...] | None],
        neighbours: Neighbours,
    ) -> None:
        self._neighbours = neighbours
        self._sender = sender
        self._packs = packs
        self._known = known
        self._compression = environment.compression
        self._reuse = environment.reuse
        self._same_file = same_file
        self._work = environment.work
        self._progress = environment.progress
        self._zeros = bytes(environment.cut.max_bytes)
        self._zero_digests: dict[int, Digest] = {}
        self._codecs: dict[int, Codec] = {}
        self._open: dict[int, _Assembly] = {}
        self.saved_bytes = 0

    def run(self, feed: Feed) -> Generator[StoredFile, None, None]:
        """Read, cut, digest and place everything that ``feed`` yields, in its order.

        Yields:
            Each file when its last chunk has a place. `PackSender.flush` comes after.

        Ended early, it leaves no thread at work on a batch and no file open. Close it to be sure of that.
        """
        with closing(feed.batches()) as batches:
            yield from self._run(batches, feed)
        with closing(feed.again()) as batches:
            yield from self._run(batches, feed)

    def _run(self, batches: Iterator[Batch], feed: Feed) -> Iterator[StoredFile]:
        pending: deque[tuple[Batch, Future[None]]] = deque()
        try:
            for batch in batches:
                self._choose_codecs(batch)
                pending.append((batch, self._work.submit(self._prepare, batch, feed)))
                while len(pending) >= _BATCHES_AHEAD or (pending and pending[0][1].done()):
                    yield from self._place(*pending.popleft(), feed)
            while pending:
                yield from self._place(*pending.popleft(), feed)
        finally:
            # Those at work still read files: the reader's handles must not be closed under them.
            wait([future for _, future in pending if not future.cancel()])

    def _choose_codecs(self, batch: Batch) -> None:
        """One codec for all of a large file, by the first of its bytes that are not in a hole."""
        for piece in batch.pieces:
            if piece.ends:
                codec = self._codecs.get(piece.row)
                if codec is None:
                    codec = choose(batch.view[piece.start : piece.ends[-1]], self._compression)
                piece.codec = self._codecs[piece.row] = codec
            if piece.is_final:
                self._codecs.pop(piece.row, None)

    # -- in the pool ---------------------------------------------------------------------------------

    def _prepare(self, batch: Batch, feed: Feed) -> None:
        feed.fill(batch)
        small: list[Piece] = []
        for piece in batch.pieces:
            if piece.is_whole and len(piece.ends) == 1:
                small.append(piece)
            elif piece.ends:
                piece.prepared = self._prepare_chunks(piece, batch.view)
                if piece.is_whole:
                    piece.xxh3 = xxh3_of(batch.view[piece.start : piece.ends[-1]])
        if small:
            self._prepare_small(small, batch.view)

    def _prepare_chunks(self, piece: Piece, view: memoryview) -> list[_Prepared]:
        prepared: list[_Prepared] = []
        lookup = self._known.lookup
        codec = piece.codec
        if codec is None:
            codec = choose(view[piece.start : piece.ends[-1]], self._compression)
        start = piece.start
        digests = chain(repeat(None, len(piece.ends) - len(piece.digests)), piece.digests)
        for end, digest in zip(piece.ends, digests, strict=True):
            raw = view[start:end]
            length = end - start
            start = end
            if not raw[0] and not raw[-1] and raw == self._zeros[:length]:
                prepared.append((self._zero_digest(length), length, _ZEROS, Codec.RAW, _NOTHING))
                continue
            if digest is None:
                digest = digest_of(CHUNK_CONTEXT, raw)
            hit = lookup(digest)
            if hit is None:
                used, encoded = encode(raw, codec)
                prepared.append((digest, length, None, used, encoded))
            else:
                prepared.append((digest, length, hit, Codec.RAW, raw))
        return prepared

    def _prepare_small(self, pieces: Sequence[Piece], view: memoryview) -> None:
        """Files of one chunk: many at once, and matched as whole files."""
        lookup = self._known.lookup
        new: list[tuple[Piece, Digest, memoryview]] = []
        for piece in pieces:
            raw = view[piece.start : piece.ends[0]]
            length = len(raw)
            piece.xxh3 = xxh3_of(raw)
            if not raw[0] and not raw[-1] and raw == self._zeros[:length]:
                digest = self._zero_digest(length)
                piece.prepared = [(digest, length, _ZEROS, Codec.RAW, _NOTHING)]
                piece.digest = single_chunk_file_digest(digest, length)
                continue
            digest = digest_of(CHUNK_CONTEXT, raw)
            piece.digest = single_chunk_file_digest(digest, length)
            hit = lookup(digest)
            if hit is not None:
                piece.prepared = [(digest, length, hit, Codec.RAW, raw)]
            else:
                new.append((piece, digest, raw))
        encoded = encode_each([raw for _, _, raw in new], self._compression)
        for (piece, digest, raw), (codec, data) in zip(new, encoded, strict=True):
            piece.prepared = [(digest, len(raw), None, codec, data)]

    def _zero_digest(self, length: int) -> Digest:
        digest = self._zero_digests.get(length)
        if digest is None:
            digest = self._zero_digests[length] = digest_of(CHUNK_CONTEXT, self._zeros[:length])
        return digest

    # -- in the caller's thread ----------------------------------------------------------------------

    def _place(self, batch: Batch, prepared: Future[None], feed: Feed) -> Iterator[StoredFile]:
        prepared.result()
        self._neighbours.settle()
        saved_before = self.saved_bytes
        for piece in batch.pieces:
            if self._reuse is Reuse.ALL:
                self._neighbours.offer(chunk[0] for chunk in piece.prepared if chunk[2] is None)
            if piece.is_whole and len(piece.ends) <= 1:
                yield self._place_small(piece)
                continue
            assembly = self._open.get(piece.row)
            if assembly is None:
                assembly = self._open[piece.row] = _Assembly()
            self._place_chunks(assembly, piece)
            if piece.is_final:
                del self._open[piece.row]
                if piece.seen is not None:
                    yield assembly.finish(piece, piece.seen)
        self._progress.advance(
            files=sum(piece.is_final for piece in batch.pieces),
            content_bytes=sum(map(_content_length, batch.pieces)),
            saved_bytes=self.saved_bytes - saved_before,
        )
        feed.give_back(batch)

    def _place_small(self, piece: Piece) -> StoredFile:
        assert piece.seen is not None  # a whole piece is read until it did not change
        if not piece.ends:
            return StoredFile(piece.row, piece.seen, _EMPTY_DIGEST, _EMPTY_XXH3, ())
        extents = None
        if piece.prepared[0][2] is None:
            extents = self._same_file(piece.digest)
        if extents is None:
            builder = ExtentBuilder()
            self._place_chunk(builder, piece.prepared[0])
            extents = builder.build()
        else:
            self.saved_bytes += piece.seen.size
        return StoredFile(piece.row, piece.seen, piece.digest, piece.xxh3, extents)

    def _place_chunks(self, assembly: _Assembly, piece: Piece) -> None:
        if piece.zeros is not None:
            length, count = piece.zeros
            assembly.digester.add_repeated(self._zero_digest(length), length, count)
            assembly.extents.add_zeros(length, count)
            self.saved_bytes += length * count
            return
        add_digest = assembly.digester.add
        for prepared in piece.prepared:
            add_digest(prepared[0], prepared[1])
            self._place_chunk(assembly.extents, prepared)

    def _place_chunk(self, extents: ExtentBuilder, prepared: _Prepared) -> None:
        digest, length, hit, codec, encoded = prepared
        if hit is _ZEROS:
            extents.add_zeros(length, 1)
            self.saved_bytes += length
            return
        if hit is None:
            hit = self._known.lookup(digest)  # put by a chunk before this one, after it was looked up
            if hit is None:
                number, chunk, offset, stored_length = self._sender.add(
                    kind=ChunkKind.CONTENT, digest=digest, codec=codec, encoded=encoded, raw_length=length
                )
                extents.add(number, chunk, offset, stored_length, length)
                return
        number, chunk = hit
        offset, stored_length, _ = self._packs.layout(number).slice_extent(chunk, 1)
        extents.add(number, chunk, offset, stored_length, length)
        self.saved_bytes += length


def _content_length(piece: Piece) -> int:
    if piece.zeros is not None:
        return piece.zeros[0] * piece.zeros[1]
    return piece.ends[-1] - piece.start if piece.ends else 0
