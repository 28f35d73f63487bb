"""Chunks that files of the destination still hold, so that they need not be fetched.

A local file is never trusted: what is taken from it is hashed when it is taken, and counts
only as the chunk it turns out to be.
"""

import contextlib
import itertools
import os
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from artifactstore.chunking import CutFunction, Cutter
from artifactstore.digest import CHUNK_CONTEXT, DIGEST_BYTES, Digest, digest_of
from artifactstore.manifest.format import FileDigester
from artifactstore.manifest.model import EntryKind
from artifactstore.transfer.conflict import OTHER, LocalFact
from artifactstore.transfer.folders import SYSTEM, Folders, System, split
from artifactstore.transfer.pieces import LocalRun

WINDOW_BYTES: Final = 4 << 20
_KINDS: Final = {stat.S_IFREG: EntryKind.FILE, stat.S_IFDIR: EntryKind.DIRECTORY, stat.S_IFLNK: EntryKind.LINK}


class ListedChunk(NamedTuple):
    """A chunk, and where in the file it starts."""

    digest: Digest
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class ChunkList:
    """Which chunks a file is made of, as far as they are known; some 50 bytes for each.

    Attributes:
        digests: Back to back, in order of the file.
        starts: Where in the file each begins.
        lengths: Of each.
    """

    digests: bytes
    starts: "array[int]"
    lengths: "array[int]"

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: int) -> ListedChunk:
        digest = Digest(self.digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES])
        return ListedChunk(digest, self.starts[number], self.lengths[number])

    def by_digest(self) -> dict[Digest, int]:
        """Where each chunk starts, the first of equal ones."""
        whole = self.digests
        last_first = range(len(whole) - DIGEST_BYTES, -1, -DIGEST_BYTES)
        digests = (Digest(whole[at : at + DIGEST_BYTES]) for at in last_first)
        return dict(zip(digests, reversed(self.starts), strict=True))

    def file_digest(self) -> bytes:
        """The digest of a file of exactly these chunks."""
        digester = FileDigester()
        for number, length in enumerate(self.lengths):
            digester.add(self[number].digest, length)
        return digester.digest()

    def samples(self, count: int) -> list[ListedChunk]:
        """At most ``count`` of them, spread evenly, the first and the last included."""
        last = len(self) - 1
        return [self[number] for number in sorted({last * n // (count - 1) for n in range(count)})] if self else []


class LocalFile:
    """One file of the destination, open for reading. Any number of threads may read."""

    def __init__(self, handle: int, *, cut: CutFunction) -> None:
        """``handle`` is closed by `close`."""
        self._handle = handle
        self._cut = cut
        self.fact: Final = fact_of(os.fstat(handle))

    def chunks(self) -> Iterator[tuple[Digest, int]]:
        """Digest and length of each chunk, in order, as far as the file goes now.

        Raises:
            OSError: It can't be read.
        """
        size, position, filled = self.fact.size, 0, 0
        cutter = Cutter(self._cut) if size > self._cut.min_bytes else None
        buffer = memoryview(bytearray(min(size, WINDOW_BYTES + self._cut.max_bytes)))
        while position < size:
            count = os.preadv(self._handle, [buffer[filled : filled + size - position]], position)
            position = position + count if count else size
            filled += count
            is_last = position >= size
            ends = cutter.cuts(buffer[:filled], final=is_last) if cutter else [filled]
            start = 0
            for end in ends:
                yield digest_of(CHUNK_CONTEXT, buffer[start:end]), end - start
                start = end
            rest = bytes(buffer[start:filled])
            buffer[: len(rest)] = rest
            filled = len(rest)

    def listed(self) -> ChunkList | None:
        """Its chunks; None where it changed while it was read.

        Raises:
            OSError: It can't be read.
        """
        digests, lengths = bytearray(), array("I")
        for digest, length in self.chunks():
            digests += digest
            lengths.append(length)
        if fact_of(os.fstat(self._handle)) != self.fact:
            return None
        starts = array("Q", itertools.accumulate(lengths, initial=0))
        return ChunkList(bytes(digests), starts[:-1], lengths)

    def holds(self, chunk: ListedChunk) -> bool:
        """Whether a chunk lies where a list says."""
        data = memoryview(bytearray(chunk.length))
        return self._fill(data, chunk.start) == len(data) and digest_of(CHUNK_CONTEXT, data) == chunk.digest

    def read(self, run: LocalRun, buffer: memoryview) -> list[int]:
        """Read a run to the start of ``buffer``; returns which of its chunks are not there (any more).

        Each of the others was hashed in the buffer: it is the chunk that the run names.
        """
        filled = self._fill(buffer[: run.content_length], run.offset)
        missing: list[int] = []
        start = 0
        for number, (digest, length, _) in enumerate(run.chunks):
            end = start + length
            if end > filled or digest_of(CHUNK_CONTEXT, buffer[start:end]) != digest:
                missing.append(number)
            start = end
        return missing

    def _fill(self, buffer: memoryview, offset: int) -> int:
        """How many bytes could be read."""
        filled = 0
        with contextlib.suppress(OSError, OverflowError):
            while filled < len(buffer) and (count := os.preadv(self._handle, [buffer[filled:]], offset + filled)):
                filled += count
        return filled

    def close(self) -> None:
        """Give back the handle."""
        os.close(self._handle)


def open_local(folders: Folders, path: bytes, *, cut: CutFunction, system: System = SYSTEM) -> LocalFile:
    """Open a regular file of the destination, never through a link, never blocking.

    Raises:
        OSError: It can't be opened, or is something else.
    """
    folder, name = split(path)
    handle = system.open_file(name, folders.open(folder))
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path!r} is not a regular file")
        return LocalFile(handle, cut=cut)
    except BaseException:
        system.close(handle)
        raise


def fact_of(status: os.stat_result, *, target: bytes = b"") -> LocalFact:
    """What a stat says of a path."""
    mode = status.st_mode
    kind = _KINDS.get(stat.S_IFMT(mode), OTHER)
    is_file = kind == EntryKind.FILE
    return LocalFact(
        kind=kind,
        size=status.st_size if is_file else 0,
        executable=is_file and mode & stat.S_IXUSR != 0,
        target=target,
        inode=status.st_ino,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
    )
