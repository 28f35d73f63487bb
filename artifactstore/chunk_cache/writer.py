"""Putting entries into a cache on disk, and making room for them."""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from artifactstore.chunk_cache.entries import Entry
from artifactstore.chunk_cache.eviction import Candidate, choose_victims
from artifactstore.chunk_cache.folder import HASTY, NEW_PREFIX, Busy, Folder, OpenFolder, charge_of
from artifactstore.chunk_cache.syscalls import System
from artifactstore.chunk_cache.usage import SHARD_COUNT
from artifactstore.clock import Clock
from artifactstore.digest import Buffer

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_SAMPLE: Final = 2048
_BATCH_PART: Final = 32
_MAX_BATCH_BYTES: Final = 16 << 20
_TRIES: Final = 4
_RECOUNT_EVERY: Final = 512


class Writer:
    """Writes under the cap. Any number of threads; keeps nothing between calls but where to look for victims.

    Attributes:
        stored: Entries written so far.
        evicted: Entries removed for room so far.
    """

    def __init__(self, folder: Folder, *, limit_bytes: int, clock: Clock, system: System) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._batch_bytes = min(limit_bytes // _BATCH_PART, _MAX_BATCH_BYTES)
        self._clock = clock
        self._system = system
        self._next_shard = clock.random_bytes(1)[0] % SHARD_COUNT
        self.stored = 0
        self.evicted = 0

    def put(self, entry: Entry, parts: Sequence[Buffer], *, must_replace: bool) -> None:
        """Write an entry, unless there is no room for it.

        Args:
            parts: Its bytes.
            must_replace: Whether an entry of the same size has to go; else it is taken for the same.

        Raises:
            FileNotFoundError: The folder is not prepared, or was deleted.
            DamagedUsage: `usage` has to be begun anew.
            Busy: Others have the locks.
            OSError: The system refuses.
        """
        charge = charge_of(sum(memoryview(part).nbytes for part in parts))
        if charge > self._limit_bytes:
            return
        with self._folder.open() as opened:
            for shard in opened.usage.unknown_shards():
                with opened.locked(shard) as held:
                    opened.count(shard, held)
            for _ in range(_TRIES):
                short = self._put_if_room(opened, entry, parts, must_replace=must_replace)
                if short == 0:
                    return
                self._make_room(opened, charge)

    def drop(self, entry: Entry, inode: int) -> None:
        """Remove an entry, if it is still the file that was found to be damaged. Errors as `put`."""
        with self._folder.open() as opened, opened.locked(entry.shard) as held:
            looked = self._system.stat(entry.name, dir_fd=held)
            if looked.st_ino == inode:
                self._system.unlink(entry.name, dir_fd=held)
                opened.count(entry.shard, held)  # it may have been charged with another size than it has now

    def _put_if_room(self, opened: OpenFolder, entry: Entry, parts: Sequence[Buffer], *, must_replace: bool) -> int:
        """0, or by how many bytes the cap would be passed."""
        size = sum(memoryview(part).nbytes for part in parts)
        with opened.locked(entry.shard) as held:
            # Now and then without need: files that were removed by hand, or not accounted for when power went.
            if not opened.usage.is_clean(entry.shard) or self._clock.jitter() * _RECOUNT_EVERY < 1:
                opened.count(entry.shard, held)
            old = self._looked(entry, held)
            if old is not None and old.st_size == size and not must_replace:
                with self._folder.opened(entry.name, os.O_RDONLY, dir_fd=held) as descriptor:
                    self._system.touch(descriptor, self._now_ns())
                return 0
            with opened.locked_usage():
                short = opened.usage.reserve(entry.shard, charge_of(size), limit_bytes=self._limit_bytes)
            if short:
                return short
            self._write(entry, parts, held)  # where that fails the shard stays to be counted
            opened.usage.finish(entry.shard, 0 if old is None else charge_of(old.st_size))
            self.stored += 1
            return 0

    def _looked(self, entry: Entry, held: int) -> os.stat_result | None:
        try:
            looked = self._system.stat(entry.name, dir_fd=held)
        except FileNotFoundError:
            return None
        return looked if stat.S_ISREG(looked.st_mode) else None

    def _write(self, entry: Entry, parts: Sequence[Buffer], held: int) -> None:
        new = f"{NEW_PREFIX}{self._clock.random_bytes(8).hex()}"
        with self._folder.opened(new, _CREATE, dir_fd=held) as descriptor:
            try:
                for part in parts:
                    view = memoryview(part).cast("B")
                    while view:
                        view = view[self._system.write(descriptor, view) :]
                self._system.touch(descriptor, self._now_ns())
                self._system.rename(new, entry.name, dir_fd=held)
            except OSError:
                with suppress(FileNotFoundError):
                    self._system.unlink(new, dir_fd=held)
                raise

    def _make_room(self, opened: OpenFolder, charge_bytes: int) -> None:
        found, is_all = self._candidates(opened)
        short = opened.usage.total_bytes() + charge_bytes - self._limit_bytes
        if short <= 0:  # counting has shown that there is room
            return
        victims = choose_victims(found, needed_bytes=short, batch_bytes=self._batch_bytes, now_ns=self._now_ns())
        if not is_all:  # far above a cap lower than others': not every entry of a few shards
            victims = victims[: len(found) // 2]
        by_shard: dict[int, list[Candidate]] = {}
        for victim in victims:
            by_shard.setdefault(victim.shard, []).append(victim)
        for shard, gone in by_shard.items():
            with suppress(Busy), opened.locked(shard, waits_seconds=HASTY) as held:
                self._evict(opened, shard, gone, held)

    def _candidates(self, opened: OpenFolder) -> tuple[list[Candidate], bool]:
        """The entries of enough shards, in turn; and whether these are all shards."""
        first = self._next_shard
        found: list[Candidate] = []
        for number in range(first, first + SHARD_COUNT):
            shard = number % SHARD_COUNT
            with suppress(Busy), opened.locked(shard, waits_seconds=HASTY) as held:
                for file in opened.count(shard, held):
                    found.append(Candidate(shard, file.name, charge_of(file.size_bytes), file.used_ns))
            self._next_shard = (shard + 1) % SHARD_COUNT
            if len(found) >= _SAMPLE:
                return found, False
        return found, True

    def _evict(self, opened: OpenFolder, shard: int, victims: Sequence[Candidate], held: int) -> None:
        """Remove those that nobody used since they were looked at. The shard's lock."""
        opened.usage.begin(shard)
        freed = 0
        for victim in victims:
            with suppress(FileNotFoundError):
                looked = self._system.stat(victim.name, dir_fd=held)
                if looked.st_mtime_ns == victim.used_ns:
                    self._system.unlink(victim.name, dir_fd=held)
                    freed += charge_of(looked.st_size)
                    self.evicted += 1
        opened.usage.finish(shard, freed)

    def _now_ns(self) -> int:
        return int(self._clock.now() * 1e9)
