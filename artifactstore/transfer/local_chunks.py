"""Chunks that files of the destination still hold, so that they need not be fetched.

A local file is never trusted: what is taken from it is hashed when it is taken, and counts
only as the chunk it turns out to be.
"""

import os
import stat
from collections.abc import Iterator
from typing import Final

from artifactstore.chunking import CutFunction, Cutter
from artifactstore.digest import CHUNK_CONTEXT, Digest, digest_of
from artifactstore.manifest.format import FileDigester
from artifactstore.manifest.model import EntryKind
from artifactstore.transfer.conflict import OTHER, LocalFact
from artifactstore.transfer.folders import SYSTEM, Folders, System, split
from artifactstore.transfer.pieces import LocalRun

WINDOW_BYTES: Final = 4 << 20
_KINDS: Final = {stat.S_IFREG: EntryKind.FILE, stat.S_IFDIR: EntryKind.DIRECTORY, stat.S_IFLNK: EntryKind.LINK}


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

    def index(self) -> dict[Digest, int]:
        """Where each of its chunks starts.

        Raises:
            OSError: It can't be read.
        """
        found: dict[Digest, int] = {}
        position = 0
        for digest, length in self.chunks():
            found.setdefault(digest, position)
            position += length
        return found

    def file_digest(self) -> bytes:
        """Its file digest; empty where it changed while it was read.

        Raises:
            OSError: It can't be read.
        """
        digester = FileDigester()
        for digest, length in self.chunks():
            digester.add(digest, length)
        return digester.digest() if fact_of(os.fstat(self._handle)) == self.fact else b""

    def read(self, run: LocalRun) -> list[memoryview] | None:
        """The bytes of a run, checked chunk by chunk; None where they are not there (any more)."""
        buffer = memoryview(bytearray(run.content_length))
        try:
            if os.preadv(self._handle, [buffer], run.offset) != len(buffer):
                return None
        except OSError:
            return None
        raws = []
        start = 0
        for digest, length in run.chunks:
            raw = buffer[start : start + length]
            if digest_of(CHUNK_CONTEXT, raw) != digest:
                return None
            raws.append(raw)
            start += length
        return raws

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
