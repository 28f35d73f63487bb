"""What older versions of files at the destination are good for: where in them which chunks should lie.

    compared      a file that was read to learn its digest: its chunks are known from that
    remembered    local state knows in which packs its content lies; their tables name its chunks, in order
    read          it is read, cut and hashed now

The first two cost no reading. None is trusted: each chunk is hashed when it is taken, and those that are not where
they should be are fetched. Where a few samples of what is remembered are not there, the file is read.
"""

import contextlib
import threading
from array import array
from collections.abc import Iterator, Sequence
from typing import Final

from artifactstore.chunking import CutFunction
from artifactstore.digest import PackId
from artifactstore.errors import CorruptData, ObjectNotFound
from artifactstore.manifest.model import HOLE, EntryKind
from artifactstore.transfer.conflict import LocalFact
from artifactstore.transfer.destination import Destination
from artifactstore.transfer.folders import System
from artifactstore.transfer.local_chunks import ChunkList, LocalFile, open_local
from artifactstore.transfer.pieces import Content, LocalRun, Run, table_digests, with_local
from artifactstore.transfer.survey import KnownFiles, KnownPlaces
from artifactstore.transfer.tables import Tables

_MIN_REUSED_BYTES: Final = 1 << 20
"""Below this a changed file is fetched whole: asking for tables would cost more than it saves."""

_MAX_KEPT_CHUNKS: Final = 1 << 18
"""Some 12 MiB, for 16 GiB of files that differ."""

_SAMPLES: Final = 8


class Reuse:
    """Finds what local files hold, for one pull. Any number of threads.

    Args:
        known: What is remembered of files there.
        window_bytes: Content of one run.
    """

    def __init__(
        self, tables: Tables, known: KnownFiles, *, cut: CutFunction, window_bytes: int, system: System
    ) -> None:
        self._tables = tables
        self._known = known
        self._cut = cut
        self._window_bytes = window_bytes
        self._system = system
        self._lock = threading.Lock()
        self._kept: dict[bytes, tuple[LocalFact, ChunkList]] = {}
        self._room = _MAX_KEPT_CHUNKS

    def keep(self, path: bytes, fact: LocalFact, chunks: ChunkList) -> None:
        """A file was read: these are its chunks. Kept as long as there is room."""
        with self._lock:
            if fact.size >= _MIN_REUSED_BYTES and len(chunks) <= self._room:
                self._room -= len(chunks)
                self._kept[path] = fact, chunks

    def open(self, content: Content, destination: Destination) -> "OldFile | None":
        """An older version of the file here, if it is worth looking for chunks in it."""
        write = content.writes[0]
        fact = write.replaces
        if fact is None or fact.kind != EntryKind.FILE or min(fact.size, content.stored_length) < _MIN_REUSED_BYTES:
            return None
        with destination.folders() as folders, contextlib.suppress(OSError):
            file = open_local(folders, write.path, cut=self._cut, system=self._system)
            seen, chunks = self._kept.pop(write.path, (None, None))
            if chunks is not None and seen == file.fact:
                return OldFile(file, chunks=chunks)
            return OldFile(file, places=self._known.places(write.path, file.fact))
        return None

    def runs(self, content: Content, old: "OldFile") -> Sequence[Run] | None:
        """Where a content comes from, the local file's chunks taken first; None where it holds nothing of it.

        Raises:
            BackendError: The storage did not answer.
        """
        try:
            for chunks in self._lists(old):
                runs = list(
                    with_local(
                        content.runs,
                        tables=self._tables.get,
                        local=chunks.by_digest(),
                        max_run_bytes=self._window_bytes,
                    )
                )
                if any(type(run) is LocalRun for run in runs):
                    return runs
        except (OSError, CorruptData, ObjectNotFound):
            pass  # fetching all of it needs neither the local file nor tables, and tells what is wrong
        return None

    def _lists(self, old: "OldFile") -> Iterator[ChunkList]:
        """What the file may consist of, the best guess first."""
        if old.chunks is not None:
            yield old.chunks
            return
        if old.places is not None:
            remembered = self._remembered(old.places)
            if len(remembered) and all(map(old.file.holds, remembered.samples(_SAMPLES))):
                yield remembered
        if (read := old.file.listed()) is not None:
            yield read

    def _remembered(self, places: KnownPlaces) -> ChunkList:
        """The chunks of a file whose content lies there, as far as they lie in packs of this version."""
        digests, starts, lengths = bytearray(), array("Q"), array("I")
        position = 0
        for extent in places.extents:
            if extent.pack != HOLE:
                with contextlib.suppress(CorruptData, ObjectNotFound, IndexError):
                    table = self._tables.get(PackId(places.packs[extent.pack]))
                    first, end = extent.first_chunk, extent.first_chunk + extent.chunk_count
                    table.slice_extent(first, extent.chunk_count)
                    positions = table.positions()
                    shift = position - positions[first]
                    digests += b"".join(table_digests(table, first, end))
                    starts.extend(at + shift for at in positions[first:end])
                    lengths.extend(table.raw_lengths()[first:end])
            position += extent.content_length
        return ChunkList(bytes(digests), starts, lengths)


class OldFile:
    """A file at the destination, open, and what is known of its chunks before it is read."""

    __slots__ = ("chunks", "file", "places")

    def __init__(self, file: LocalFile, *, chunks: ChunkList | None = None, places: KnownPlaces | None = None) -> None:
        self.file: Final = file
        self.chunks: Final = chunks
        self.places: Final = places
