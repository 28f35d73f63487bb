"""Caches on disk for tests: small ones, under a clock that moves with every use, and what lies in them."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from artifactstore.chunk_cache.disk import OVERHEAD_BYTES, DiskCache
from artifactstore.chunk_cache.folder import FOLDER_NAME, LOCK_NAME, USAGE_NAME, Sharing, charge_of
from artifactstore.chunk_cache.syscalls import SYSTEM, System
from artifactstore.digest import Digest
from artifactstore.testing.chunk_cache import chunk_of
from artifactstore.testing.clock import VirtualClock

ENTRY_BYTES = 5000
Chunk = tuple[Digest, bytes]


def cap_for(count: int, size_bytes: int = ENTRY_BYTES) -> int:
    """The cap that so many entries fill exactly."""
    return OVERHEAD_BYTES + count * charge_of(size_bytes)


def chunks(count: int, size_bytes: int = ENTRY_BYTES, *, seed: str = "") -> list[Chunk]:
    return [chunk_of(f"{seed}{number}", size_bytes) for number in range(count)]


def disk_bytes(folder: Path) -> int:
    """What the file system says that a folder takes, as `du` adds it up."""
    total = os.lstat(folder).st_blocks
    for path, directories, files in os.walk(folder):
        for name in (*directories, *files):
            try:
                total += os.lstat(os.path.join(path, name)).st_blocks
            except FileNotFoundError:  # evicted just now
                continue
    return total * 512


@dataclass
class CacheWorld:
    """One folder and any number of caches over it."""

    folder: Path
    clock: VirtualClock = field(default_factory=VirtualClock)

    def open(
        self, max_bytes: int = 64 << 20, *, sharing: Sharing = Sharing.OWNER, system: System = SYSTEM
    ) -> DiskCache:
        return DiskCache(self.folder, max_bytes=max_bytes, sharing=sharing, clock=self.clock, system=system)

    def put(self, cache: DiskCache, chunk: Chunk) -> None:
        self.clock.advance(1)
        cache.put(*chunk)

    def has(self, cache: DiskCache, chunk: Chunk) -> bool:
        """Whether a get hits; it counts as a use."""
        self.clock.advance(1)
        found = cache.get(chunk[0], len(chunk[1]))
        assert found is None or found == chunk[1]
        return found is not None

    @property
    def root(self) -> Path:
        return self.folder / FOLDER_NAME

    @property
    def usage_file(self) -> Path:
        return self.root / USAGE_NAME

    def entries(self) -> dict[str, Path]:
        """Every file but locks and accounts."""
        return {path.name: path for path in self.root.glob("*/*") if path.name != LOCK_NAME}

    def entry(self, chunk: Chunk) -> Path:
        return self.entries()[f"c{chunk[0].hex()}"]

    def charged(self) -> int:
        """What the entries that are there count for."""
        return sum(charge_of(os.lstat(path).st_size) for path in self.entries().values())
