"""Where a cache lies and how large it may be, where nobody said so; and opening one."""

import os
import shutil
from typing import Final

from artifactstore.chunk_cache.disk import DiskCache
from artifactstore.chunk_cache.folder import Sharing
from artifactstore.chunk_cache.protocol import ChunkCache, NoCache
from artifactstore.clock import SYSTEM_CLOCK, Clock

CACHE_DIR_VARIABLE: Final = "ARTIFACTSTORE_CACHE_DIR"
CACHE_SIZE_VARIABLE: Final = "ARTIFACTSTORE_CACHE_SIZE"
CACHE_SHARING_VARIABLE: Final = "ARTIFACTSTORE_CACHE_SHARING"
DEFAULT_MAX_BYTES: Final = 5 << 30
_FREE_PART: Final = 10


def default_cache_folder() -> str:
    """`artifactstore` in the user's folder for caches."""
    import platformdirs  # 10 ms that an explicit choice need not spend

    return platformdirs.user_cache_dir("artifactstore", appauthor=False)


def default_cache_bytes(folder: str | os.PathLike[str]) -> int:
    """5 GiB, or a tenth of what is free where ``folder`` lies (or will), if that is less."""
    place = os.path.abspath(folder)
    while True:
        try:
            return min(DEFAULT_MAX_BYTES, shutil.disk_usage(place).free // _FREE_PART)
        except OSError:
            parent = os.path.dirname(place)
            if parent == place:
                return 0
            place = parent


def open_cache(
    folder: str | os.PathLike[str] | None = None,
    *,
    max_bytes: int | None = None,
    sharing: Sharing = Sharing.OWNER,
    clock: Clock = SYSTEM_CLOCK,
) -> ChunkCache:
    """The cache in a folder; nothing is made before something is put.

    Args:
        folder: Where; by default `default_cache_folder`.
        max_bytes: The cap; by default `default_cache_bytes`, by what is free now. 0: no cache.
        sharing: Whether others of the folder's group use it too.

    Raises:
        ValueError: ``max_bytes`` is negative.
    """
    where = default_cache_folder() if folder is None else folder
    limit = default_cache_bytes(where) if max_bytes is None else max_bytes
    return DiskCache(where, max_bytes=limit, sharing=sharing, clock=clock) if limit else NoCache()
