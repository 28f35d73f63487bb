"""Content out of packs into files: ranges are read, decoded, checked, and only then land.

    small files    a batch of them by few ranges; each is decoded and checked in memory, then written at one go
    large files    by segments that several threads write into one temporary file, which gets its name when the
                   digest over all of its chunks, taken in order, is the one the entry has

Memory is bounded for each thread: about one window of stored bytes and one of content.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from artifactstore.backend.protocol import Backend
from artifactstore.chunking import CutFunction
from artifactstore.codec import DecodeError
from artifactstore.digest import CHUNK_CONTEXT, Buffer, Digest, PackId, digest_of
from artifactstore.errors import CorruptData, ObjectNotFound
from artifactstore.keys import pack_key
from artifactstore.manifest.format import FileDigester, single_chunk_file_digest
from artifactstore.manifest.paths import shown
from artifactstore.pack.format import RECORD, RECORD_HEADER_BYTES, ChunkKind, decode_record
from artifactstore.pack.reader import ByteRange, iter_extent, plan_reads
from artifactstore.transfer.destination import Destination
from artifactstore.transfer.large import Cancelled, LargeFile, SegmentWriter
from artifactstore.transfer.pieces import LOCAL_RUN_BYTES, Content, LocalRun, Run, Segment, StoredRun, ZeroRun
from artifactstore.transfer.plan import Write

MAX_GAP_BYTES: Final = 256 << 10
_NOTHING: Final = memoryview(b"")

@dataclass(slots=True)
class Landed:
    """What one task did.

    Attributes:
        files: Each path that was written, and how it looks there.
        fetched_bytes: Read from the store.
        reused_bytes: Content taken from local files.
        content_bytes: Content dealt with.
    """

    files: list[tuple[Write, os.stat_result]] = field(default_factory=list)
    fetched_bytes: int = 0
    reused_bytes: int = 0
    content_bytes: int = 0


class Fetcher:
    """Reads content for one pull. Any number of threads.

    Args:
        cut: The version's cut function: no chunk of content is longer than it allows.
        version: For errors.
        window_bytes: How much a thread reads, or decodes before it writes.
        landers: How many threads decode and write small files at once. More only get in each other's way, while
            any number may wait for the storage.
        damage: Finds out, after a check failed, which chunk is to blame: slow, and only for the message.
    """

    def __init__(  # noqa: PLR0913 - what a pull consists of
        self,
        backend: Backend,
        destination: Destination,
        *,
        cut: CutFunction,
        version: str,
        window_bytes: int,
        landers: int,
        damage: Callable[[Content], CorruptData | None],
    ) -> None:
        self._backend = backend
        self._destination = destination
        self._max_raw_length = cut.max_bytes
        self._version = version
        self._damage = damage
        self._landing = threading.Semaphore(landers)
        self._buffers = threading.local()
        # A window holds at least one whole record, or a stream would never move on.
        self.window_bytes: Final = max(window_bytes, 2 * (cut.max_bytes + RECORD_HEADER_BYTES))
        self.cancelled: Final = threading.Event()

    # -- small files -----------------------------------------------------------------------------

    def land_batch(self, batch: Sequence[Content]) -> Landed:
        """Fetch, check and write some small files.

        Raises:
            CorruptData: A file's chunks are not those that its entry describes, or a pack is gone. Nothing is left
                at its path.
            DestinationError: It can't be written.
            BackendError: The storage did not answer.
            Cancelled: Another task failed.
        """
        landed = Landed()
        runs = [run for content in batch for run in content.runs if type(run) is StoredRun]
        views = self._read(runs, batch, landed)
        with self._landing, self._destination.folders() as folders:
            for content in batch:
                if self.cancelled.is_set():
                    raise Cancelled
                buffers = self._whole(content, views)
                for write in content.writes:
                    landed.files.append((write, self._destination.land_file(folders, write, buffers)))
                landed.content_bytes += content.size * len(content.writes)
        return landed

    def _whole(self, content: Content, views: Iterator[memoryview]) -> list[Buffer]:
        """A small file's chunks, checked."""
        if len(content.runs) == 1 and type(run := content.runs[0]) is StoredRun and run.chunk_count == 1:
            return [self._lone_chunk(content, run, next(views))]
        digester = FileDigester()
        buffers: list[Buffer] = []
        length = 0
        for run in content.runs:
            assert type(run) is StoredRun
            for digest, raw in self._chunks(run, next(views), run.offset, run.chunk_count, content):
                digester.add(digest, len(raw))
                buffers.append(raw)
                length += len(raw)
        if length != content.size or digester.digest() != content.digest:
            raise self._mismatch(content)
        return buffers

    def _lone_chunk(self, content: Content, run: StoredRun, record: memoryview) -> Buffer:
        """The same for a file of one chunk, which most are: a few calls less for each."""
        try:
            kind, raw, end = decode_record(record, max_raw_length=self._max_raw_length)
        except DecodeError as error:
            raise self._hurt(f"a chunk can't be decoded: {error}", run, content) from error
        if kind is not ChunkKind.CONTENT or end != len(record) or len(raw) != content.size:
            raise self._hurt("a chunk is not the one that the manifest describes", run, content)
        if single_chunk_file_digest(digest_of(CHUNK_CONTEXT, raw), len(raw)) != content.digest:
            raise self._mismatch(content)
        return raw

    # -- large files -----------------------------------------------------------------------------

    def land_segment(self, large: LargeFile, number: int) -> Landed:
        """Fetch and write one segment of a large file; the last one to finish checks the file and names it.

        Raises:
            CorruptData, DestinationError, BackendError, Cancelled: As `land_batch`.
        """
        landed = Landed()
        segment = large.segments[number]
        files = large.opened(self._destination)
        out = SegmentWriter(files, segment.offset, cancelled=self.cancelled)
        self._fill(out, segment, large, landed)
        # Where the next segment was written depends on this: the digest over the chunks alone would not tell.
        if out.length != sum(run.content_length for run in segment.runs):
            raise self._mismatch(large.content)
        landed.content_bytes += out.length * len(files)
        if large.add(number, out.rows):
            if large.digest() != large.content.digest:
                raise self._mismatch(large.content)
            landed.files.extend(large.finish())
        return landed

    def _fill(self, out: SegmentWriter, segment: Segment, large: LargeFile, landed: Landed) -> None:
        """Write all runs of a segment."""
        content = large.content
        stored = [run for run in segment.runs if type(run) is StoredRun and run.stored_length <= self.window_bytes]
        views = self._read(stored, [content], landed)
        for run in segment.runs:
            if type(run) is ZeroRun:
                if not 0 < run.chunk_length <= self._max_raw_length:
                    raise self._mismatch(content)
                out.add_zeros(digest_of(CHUNK_CONTEXT, bytes(run.chunk_length)), run.chunk_length, run.chunk_count)
            elif type(run) is LocalRun:
                self._local(out, run, large, landed)
            elif type(run) is StoredRun and run.stored_length <= self.window_bytes:
                for digest, raw in self._chunks(run, next(views), run.offset, run.chunk_count, content):
                    out.add(digest, raw)
            elif type(run) is StoredRun:
                for digest, raw in self._stream(run, content, landed):
                    out.add(digest, raw)
        out.flush()

    def _local(self, out: SegmentWriter, run: LocalRun, large: LargeFile, landed: Landed) -> None:
        """A run out of the local file. What it does not hold is in the store too."""
        assert large.local is not None
        buffer = self._buffer(run.content_length)
        missing = large.local.read(run, buffer)
        landed.reused_bytes += run.content_length - sum(run.chunks[number][1] for number in missing)
        if not missing:
            out.add_all([(digest, length, 1) for digest, length, _ in run.chunks], buffer)
            return
        parts = list(run.stored_parts(missing))
        views = self._read([stored for _, stored in parts], [large.content], landed)
        fetched: dict[int, tuple[Digest, Buffer]] = {}
        for (first, stored), view in zip(parts, views, strict=True):
            chunks = self._chunks(stored, view, stored.offset, stored.chunk_count, large.content)
            fetched.update(enumerate(chunks, first))
        start = 0
        for number, (digest, length, _) in enumerate(run.chunks):
            out.add(*fetched.get(number, (digest, buffer[start : start + length])))
            start += length
        out.flush()  # the next run will be read into the same buffer

    def _buffer(self, length: int) -> memoryview:
        """This thread's own, which it uses again: fresh memory takes longer to come by than to fill."""
        held: memoryview | None = getattr(self._buffers, "held", None)
        if held is None or len(held) < length:
            held = self._buffers.held = memoryview(bytearray(max(length, LOCAL_RUN_BYTES)))
        return held[:length]

    def _stream(
        self, run: StoredRun, content: Content, landed: Landed
    ) -> Iterator[tuple[Digest, Buffer]]:
        """A run longer than a window. A record cut by the end of one range is read again with the next."""
        position, end, left = run.offset, run.offset + run.stored_length, run.chunk_count
        while position < end:
            part = run._replace(offset=position, stored_length=min(self.window_bytes, end - position))
            [view] = self._read([part], [content], landed)
            count, length = _whole_records(view, left)
            if count == 0:
                raise self._hurt("a chunk can't be decoded: it is longer than any may be", run, content)
            yield from self._chunks(run, view[:length], position, count, content)
            position += length
            left -= count
        if left:
            raise self._hurt(f"{left} chunks are missing at the end of a run", run, content)

    # -- reading ---------------------------------------------------------------------------------

    def _read(self, runs: Sequence[StoredRun], contents: Sequence[Content], landed: Landed) -> Iterator[memoryview]:
        """The records of each run, in the order of ``runs``; neighbours are read together."""
        by_pack: dict[PackId, list[tuple[int, int, int]]] = {}
        for number, run in enumerate(runs):
            by_pack.setdefault(run.pack, []).append((run.offset, run.offset + run.stored_length, number))
        views: list[memoryview] = [_NOTHING] * len(runs)
        for pack, spans in by_pack.items():
            spans.sort()
            reads = plan_reads(
                (ByteRange(start, end) for start, end, _ in spans),
                max_gap_bytes=MAX_GAP_BYTES,
                max_read_bytes=2 * self.window_bytes,
            )
            at = 0
            for low, high in reads:
                body = self._get(pack, low, high - low, contents)
                landed.fetched_bytes += high - low
                while at < len(spans) and spans[at][0] < high:
                    start, end, number = spans[at]
                    views[number] = body[start - low : end - low]
                    at += 1
        return iter(views)

    def _get(self, pack: PackId, offset: int, length: int, contents: Sequence[Content]) -> memoryview:
        key = pack_key(pack)
        if self.cancelled.is_set():
            raise Cancelled
        try:
            return memoryview(self._backend.get_range(key, offset, length))
        except ObjectNotFound as error:
            missing = CorruptData("a pack is gone", key=key, versions=self._versions())
            raise _for_files(missing, contents, pack) from error
        except CorruptData as error:
            short = CorruptData(error.what, key=key, byte_range=(offset, offset + length), versions=self._versions())
            raise _for_files(short, contents, pack) from error

    def _chunks(
        self, run: StoredRun, view: memoryview, offset: int, count: int, content: Content
    ) -> Iterator[tuple[Digest, Buffer]]:
        chunks = iter_extent(
            view, pack=run.pack, offset=offset, chunk_count=count, max_raw_length=self._max_raw_length
        )
        try:
            yield from chunks
        except CorruptData as error:
            raise self._hurt(error.what, run, content) from error

    # -- damage ------------------------------------------------------------------------------------

    def _versions(self) -> tuple[str, ...]:
        return (self._version,) if self._version else ()

    def _hurt(self, what: str, run: StoredRun, content: Content) -> CorruptData:
        span = (run.offset, run.offset + run.stored_length)
        error = CorruptData(what, key=pack_key(run.pack), byte_range=span, versions=self._versions())
        return _for_files(error, [content], run.pack)

    def _mismatch(self, content: Content) -> CorruptData:
        found = self._damage(content)
        if found is not None:
            error = CorruptData(found.what, key=found.key, byte_range=found.byte_range, versions=self._versions())
            return _for_files(error, [content], None)
        what = f"the chunks of {shown(content.path)} do not make up the digest {content.digest.hex()}"
        return CorruptData(what, versions=self._versions(), where=self._version)


def _whole_records(view: memoryview, most: int) -> tuple[int, int]:
    """How many whole records a range starts with, at most ``most``, and their length."""
    count = end = 0
    while count < most and end + RECORD_HEADER_BYTES <= len(view):
        after = end + RECORD_HEADER_BYTES + RECORD.unpack_from(view, end)[1]
        if after > len(view):
            break
        end = after
        count += 1
    return count, end


def _for_files(error: CorruptData, contents: Sequence[Content], pack: PackId | None) -> CorruptData:
    """The same error, naming the files that it hurts."""

    def needs(runs: Sequence[Run]) -> bool:
        stored = (run.stored if type(run) is LocalRun else run for run in runs)
        return pack is None or any(type(run) is StoredRun and run.pack == pack for run in stored)

    hurt = [write.entry.path for content in contents if needs(content.runs) for write in content.writes]
    more = f" and {len(hurt) - 1} more files" if len(hurt) > 1 else ""
    what = f"{error.what}; {shown(hurt[0])}{more} can't be read" if hurt else error.what
    return CorruptData(what, key=error.key, byte_range=error.byte_range, versions=error.versions)
