"""A cache on disk for many processes: one file for each entry, a hard cap, least recently used out first.

The rules, and why they hold:

- *Never a wrong byte.* What is read is hashed before it is returned. Nothing else is needed
  for that: no lock, no fsync, no trust in who else writes there.
- *Never above the cap.* Bytes are charged, under locks, before they are written, and given
  back after they are gone (`artifactstore.chunk_cache.usage`).
- *Never a reason to fail.* Whatever the system refuses, there is one warning, and content
  is fetched again from the store. After a minute writing is tried again.
- *Readers need no lock.* An entry appears by a rename and goes by an unlink; who has it
  open keeps it.

Which entry was used last is in the file's modification time, set on every use. Who evicts
looks at some shards, at least 2,048 entries (all, where there are fewer), and removes
the oldest of them.
"""

import errno
import logging
import math
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from artifactstore.chunk_cache.entries import Entry, chunk_entry, table_entry, table_proof
from artifactstore.chunk_cache.folder import OPEN_FOLDER, Busy, Folder, ForeignFolder, Sharing
from artifactstore.chunk_cache.syscalls import SYSTEM, System
from artifactstore.chunk_cache.usage import DamagedUsage
from artifactstore.chunk_cache.writer import Writer
from artifactstore.clock import SYSTEM_CLOCK, Clock
from artifactstore.digest import CHUNK_CONTEXT, DIGEST_BYTES, Buffer, Digest, PackId, digest_of

_log = logging.getLogger(__name__)

MAX_TABLE_BYTES: Final = 16 << 20
OVERHEAD_BYTES: Final = 272 << 10
"""Taken off every cap: the folders of the shards and the record of usage."""

_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY  # a FIFO in an entry's place must not hold us up
_NO_FILE: Final = frozenset({errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR, errno.ENOTDIR})
_PAUSE_SECONDS: Final = 60.0
_BUSY_PAUSE_SECONDS: Final = 5.0
_warned: Final[set[str]] = set()  # folders that this process has spoken of


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCounts:
    """What a cache did in this process so far. Roughly, where threads count at the same moment.

    Attributes:
        hits: Entries returned.
        misses: Entries that were not there, damaged ones included.
        damaged: Entries that were not what was put.
        stored: Entries written.
        evicted: Entries removed for room.
    """

    hits: int = 0
    misses: int = 0
    damaged: int = 0
    stored: int = 0
    evicted: int = 0


class DiskCache:
    """See the module. Any number of threads and processes may use one folder, each with a cap of its own."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int,
        sharing: Sharing = Sharing.OWNER,
        clock: Clock = SYSTEM_CLOCK,
        system: System = SYSTEM,
    ) -> None:
        """Nothing is touched yet.

        Args:
            path: The folder in which the cache makes its own; made where it is not there.
            max_bytes: What the cache may take on the disk, folders included (`OVERHEAD_BYTES`). Where processes differ,
                the highest bounds the cache, and nobody writes while it holds more than their own.
            sharing: Whether others of the folder's group use it too.

        Raises:
            ValueError: ``max_bytes`` is negative.
        """
        if max_bytes < 0:
            raise ValueError(f"max_bytes must not be negative, not {max_bytes}")
        self._clock = clock
        self._system = system
        self._folder = Folder(os.path.abspath(path), sharing=sharing, clock=clock, system=system)
        self._writer = Writer(self._folder, limit_bytes=max_bytes - OVERHEAD_BYTES, clock=clock, system=system)
        self._is_looked_at = False
        self._is_prepared = False
        self._is_foreign = False
        self._no_writes_before = -math.inf
        self._hits = self._misses = self._damaged = 0

    @property
    def path(self) -> str:
        """The cache's own folder. It may be deleted at any time."""
        return self._folder.path

    @property
    def counts(self) -> CacheCounts:
        return CacheCounts(
            hits=self._hits,
            misses=self._misses,
            damaged=self._damaged,
            stored=self._writer.stored,
            evicted=self._writer.evicted,
        )

    def used_bytes(self) -> int:
        """What the cache is charged with now, by all processes; 0 where there is none."""
        try:
            with self._folder.open() as folder:
                return folder.usage.total_bytes()
        except OSError:
            return 0

    def get(self, digest: Digest, length: int) -> bytes | None:
        return self._get(chunk_entry(digest), length, lambda data: _proven_chunk(data, digest, length))

    def get_table(self, pack: PackId) -> bytes | None:
        return self._get(table_entry(pack), MAX_TABLE_BYTES + DIGEST_BYTES, lambda data: _proven_tail(data, pack))

    def put(self, digest: Digest, raw: Buffer) -> None:
        self._put(chunk_entry(digest), (raw,), must_replace=False)

    def put_table(self, pack: PackId, tail: Buffer) -> None:
        # One that is there may be whole and still not this pack's: only the caller knows.
        if memoryview(tail).nbytes <= MAX_TABLE_BYTES:
            self._put(table_entry(pack), (tail, table_proof(pack, tail)), must_replace=True)

    def _get(self, entry: Entry, max_bytes: int, prove: Callable[[bytes], bytes | None]) -> bytes | None:
        try:
            found = self._read(entry, max_bytes) if self._may_read() else None
        except FileNotFoundError:
            found = None
        except OSError as error:
            self._say("can't be read", error)
            found = None
        if found is None:
            self._misses += 1
            return None
        data, inode = found
        proven = None if data is None else prove(data)
        if proven is None:
            self._drop(entry, inode)
        else:
            self._hits += 1
        return proven

    def _read(self, entry: Entry, max_bytes: int) -> tuple[bytes | None, int]:
        """The bytes of an entry (None: it can't be one) and its inode; it counts as used now."""
        shard = self._system.open(f"{self._folder.path}/{entry.shard:02x}", OPEN_FOLDER)  # no link in its place
        try:
            return self._read_from(shard, entry, max_bytes)
        finally:
            self._system.close(shard)

    def _read_from(self, shard: int, entry: Entry, max_bytes: int) -> tuple[bytes | None, int]:
        try:
            descriptor = self._system.open(entry.name, _READ, dir_fd=shard)
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            return None, self._system.stat(entry.name, dir_fd=shard).st_ino
        try:
            looked = self._system.stat_open(descriptor)
            if not stat.S_ISREG(looked.st_mode) or looked.st_size > max_bytes:
                return None, looked.st_ino
            data = self._system.read(descriptor, looked.st_size)
            with suppress(OSError):  # a cache that can't be written still gives
                self._system.touch(descriptor, int(self._clock.now() * 1e9))
        finally:
            self._system.close(descriptor)
        return data, looked.st_ino

    def _may_read(self) -> bool:
        if not self._is_looked_at:
            try:
                self._is_looked_at = self._folder.refuse_foreign()
            except ForeignFolder as error:
                self._refuse(error)
        return not self._is_foreign

    def _drop(self, entry: Entry, inode: int) -> None:
        self._misses += 1
        self._damaged += 1
        _log.info("the cache's entry %s/%s was damaged; it is dropped and fetched again", self.path, entry.path)
        with suppress(OSError, Busy):  # then it stays, and stays a miss
            self._writer.drop(entry, inode)

    def _put(self, entry: Entry, parts: Sequence[Buffer], *, must_replace: bool) -> None:
        if self._is_foreign or self._clock.monotonic() < self._no_writes_before:
            return
        try:
            self._write(entry, parts, must_replace=must_replace)
        except Busy:  # somebody was stopped in the middle, or there are very many: they fill the cache as well
            self._no_writes_before = self._clock.monotonic() + _BUSY_PAUSE_SECONDS
        except ForeignFolder as error:
            self._refuse(error)
        except OSError as error:
            self._no_writes_before = self._clock.monotonic() + _PAUSE_SECONDS
            self._say("can't be written", error)

    def _write(self, entry: Entry, parts: Sequence[Buffer], *, must_replace: bool) -> None:
        if self._is_prepared:
            try:
                self._writer.put(entry, parts, must_replace=must_replace)
                return
            except (FileNotFoundError, DamagedUsage) as error:
                if isinstance(error, FileNotFoundError):
                    self._say("was deleted while in use; it is begun anew", None)
        self._folder.prepare()
        self._is_prepared = True
        self._writer.put(entry, parts, must_replace=must_replace)

    def _refuse(self, error: ForeignFolder) -> None:
        self._is_foreign = True
        self._say("is not used", error)

    def _say(self, problem: str, error: OSError | None) -> None:
        """Warn, once for each folder and process."""
        if self.path not in _warned:
            _warned.add(self.path)
            reason = f" ({error.strerror or error})" if error else ""
            _log.warning("the cache in %s %s%s; %s", self.path, problem, reason, _advice(error))


def _proven_chunk(data: bytes, digest: Digest, length: int) -> bytes | None:
    return data if len(data) == length and digest_of(CHUNK_CONTEXT, data) == digest else None


def _proven_tail(data: bytes, pack: PackId) -> bytes | None:
    tail = memoryview(data)[:-DIGEST_BYTES]
    return bytes(tail) if table_proof(pack, tail) == data[len(tail) :] else None


def _advice(error: OSError | None) -> str:
    if error is None:
        return "nothing is lost"
    if isinstance(error, ForeignFolder):
        return "set cache_dir to a folder of yours, or cache_sharing to group if it is meant to be shared"
    safe = "reading goes on without it, more slowly"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{safe}. Free some space, or set cache_dir to another disk"
    return f"{safe}. Set cache_dir to a folder that can be written, or cache_size to 0"
