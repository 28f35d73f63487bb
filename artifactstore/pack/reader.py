"""Reading packs: which ranges to ask for, and the proof of what comes back.

`plan_reads` is pure. The rest asks a backend for one range and checks every byte of it
before returning any: a table against its pack id, a chunk against its digest. Content of
whole files comes without a table; its digests are computed for the file digest to be
checked against.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from artifactstore.backend.protocol import Backend
from artifactstore.codec import DecodeError
from artifactstore.digest import Buffer, Digest, PackId, digest_of
from artifactstore.errors import CorruptData
from artifactstore.keys import pack_key
from artifactstore.pack.format import (
    HEADER_BYTES,
    MAX_PACK_BYTES,
    RECORD_HEADER_BYTES,
    TRAILER_BYTES,
    ChunkKind,
    Table,
    context_of,
    decode_record,
    iter_records,
    parse_tail,
)


class ByteRange(NamedTuple):
    """A half-open range of bytes of one object."""

    start: int
    end: int


def plan_reads(wanted: Iterable[ByteRange], *, max_gap_bytes: int, max_read_bytes: int) -> list[ByteRange]:
    """Merge the ranges a pack reader wants into the reads it should issue.

    Args:
        wanted: Ranges in one pack, in any order; they may touch or overlap. Empty ones are left out.
        max_gap_bytes: Largest run of unwanted bytes worth downloading to save a request. 0 merges only ranges that
            touch.
        max_read_bytes: Ranges that touch or lie apart are not merged into a read longer than this. A longer range
            stays whole, as do ranges that overlap.

    Returns:
        Reads sorted by start, pairwise disjoint, covering every wanted byte, and every wanted range lies in one of
        them. Empty if ``wanted`` is empty.

    Raises:
        ValueError: A limit is negative.
    """
    if max_gap_bytes < 0 or max_read_bytes < 0:
        raise ValueError(f"limits of {max_gap_bytes} and {max_read_bytes} bytes")
    reads: list[ByteRange] = []
    for part in _overlapping_joined(wanted):
        last = reads[-1] if reads else None
        if last and part.start - last.end <= max_gap_bytes and part.end - last.start <= max_read_bytes:
            reads[-1] = ByteRange(last.start, part.end)
        else:
            reads.append(part)
    return reads


def _overlapping_joined(wanted: Iterable[ByteRange]) -> list[ByteRange]:
    """Sorted, disjoint, none empty. First of all, so that no overlap makes a merged read grow past its limit."""
    parts: list[ByteRange] = []
    for part in sorted(wanted):
        if parts and part.start < parts[-1].end:
            parts[-1] = ByteRange(parts[-1].start, max(parts[-1].end, part.end))
        elif part.start < part.end:
            parts.append(ByteRange(part.start, part.end))
    return parts


def read_table(backend: Backend, pack: PackId, *, object_bytes: int, table_bytes: int) -> Table:
    """Fetch and prove the table of a pack: one request.

    Args:
        object_bytes: Length of the pack object, as a root has it.
        table_bytes: Length of its tail, as a root has it.

    Raises:
        ObjectNotFound: The pack is gone.
        CorruptData: The tail is not what the pack is named for, or the lengths can't be those of a pack.
        UnsupportedFormat: Written by a newer version.
        BackendError: The storage did not answer.
    """
    tail = fetch_tail(backend, pack, object_bytes=object_bytes, table_bytes=table_bytes)
    return parse_tail(pack, tail, object_bytes=object_bytes)


def fetch_tail(backend: Backend, pack: PackId, *, object_bytes: int, table_bytes: int) -> Buffer:
    """Fetch the tail of a pack, for `parse_tail` to prove. Otherwise as `read_table`."""
    start = object_bytes - table_bytes
    if table_bytes < TRAILER_BYTES or start < HEADER_BYTES or object_bytes > MAX_PACK_BYTES:
        what = f"a pack of {object_bytes} bytes can't have a tail of {table_bytes}"
        raise CorruptData(what, key=pack_key(pack))
    return backend.get_range(pack_key(pack), start, table_bytes)


def read_chunk(  # noqa: PLR0913 - one chunk is named by its pack, place, kind and digest
    backend: Backend,
    pack: PackId,
    *,
    kind: ChunkKind,
    offset: int,
    stored_length: int,
    digest: Digest,
    max_raw_length: int,
) -> Buffer:
    """Fetch one chunk and check it against its digest: one request.

    Args:
        offset: Where its record starts in the object.
        stored_length: Length of its record.
        max_raw_length: Refuse a longer chunk before decoding it.

    Raises:
        ObjectNotFound: The pack is gone.
        CorruptData: The range is not a record, or holds something else.
        BackendError: The storage did not answer.
    """
    body = _fetch(backend, pack, offset=offset, length=stored_length)
    return check_chunk(body, pack=pack, kind=kind, offset=offset, digest=digest, max_raw_length=max_raw_length)


def check_chunk(
    record: memoryview, *, pack: PackId, kind: ChunkKind, offset: int, digest: Digest, max_raw_length: int
) -> Buffer:
    """The raw bytes of a record that was fetched with others, checked against its digest.

    Args:
        record: Exactly the record.
        offset: Where it starts in the object, for the error.

    Raises:
        CorruptData: It is not a record, or holds something else.
    """
    span = (offset, offset + len(record))
    try:
        found, raw, end = decode_record(record, max_raw_length=max_raw_length)
    except DecodeError as error:
        raise CorruptData(f"a chunk can't be decoded: {error}", key=pack_key(pack), byte_range=span) from error
    if end != len(record):
        raise CorruptData(f"{len(record) - end} bytes behind a chunk", key=pack_key(pack), byte_range=span)
    if found is not kind or digest_of(context_of(kind), raw) != digest:
        what = f"a chunk does not have the digest {digest.hex()}"
        raise CorruptData(what, key=pack_key(pack), byte_range=span)
    return raw


def read_extent(
    backend: Backend, pack: PackId, *, offset: int, stored_length: int, chunk_count: int, max_raw_length: int
) -> Iterator[tuple[Digest, Buffer]]:
    """Fetch a run of chunks of content: one request. See `iter_extent`."""
    body = _fetch(backend, pack, offset=offset, length=stored_length)
    return iter_extent(body, pack=pack, offset=offset, chunk_count=chunk_count, max_raw_length=max_raw_length)


def iter_extent(
    body: memoryview, *, pack: PackId, offset: int, chunk_count: int, max_raw_length: int
) -> Iterator[tuple[Digest, Buffer]]:
    """The chunks of an extent, each with the digest of what it really holds.

    Nothing is proved until the caller has compared the digests, or the file digest over them, with what they should
    be: nobody may see the bytes before.

    Args:
        body: Exactly the extent's records.
        offset: Where they start in the object, for the errors.

    Raises:
        CorruptData: They are not ``chunk_count`` records of content; raised as late as where that shows.
    """
    try:
        for kind, raw in iter_records(body, chunk_count, max_raw_length=max_raw_length):
            if kind is not ChunkKind.CONTENT:
                raise DecodeError(f"a chunk of kind {kind.name} among content")
            yield digest_of(context_of(kind), raw), raw
    except DecodeError as error:
        span = (offset, offset + len(body))
        raise CorruptData(f"chunks can't be decoded: {error}", key=pack_key(pack), byte_range=span) from error


def _fetch(backend: Backend, pack: PackId, *, offset: int, length: int) -> memoryview:
    # A place comes from a manifest: it is refused here rather than sent as an absurd request.
    if offset < HEADER_BYTES or length <= RECORD_HEADER_BYTES or offset + length > MAX_PACK_BYTES:
        what = "a place in a pack where no chunk can be"
        raise CorruptData(what, key=pack_key(pack), byte_range=(offset, offset + length))
    return memoryview(backend.get_range(pack_key(pack), offset, length))
