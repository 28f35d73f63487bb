"""The cache in a folder."""

import os

from artifactstore.chunk_cache.defaults import default_cache_bytes, default_cache_folder
from artifactstore.chunk_cache.disk import DiskCache
from artifactstore.chunk_cache.folder import Sharing
from artifactstore.chunk_cache.protocol import ChunkCache, NoCache
from artifactstore.clock import SYSTEM_CLOCK, Clock


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
