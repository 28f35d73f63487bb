"""The stores that this process has mounted, by where they are."""

import os
import threading
import weakref
from collections import OrderedDict
from typing import Final

from artifactstore.backend.table import local_path_of
from artifactstore.chunk_cache.folder import Sharing
from artifactstore.chunk_cache.location import open_cache
from artifactstore.chunk_cache.protocol import ChunkCache, NoCache
from artifactstore.config import load_settings
from artifactstore.filesystem.mount import Mount
from artifactstore.forks import renew_in_children
from artifactstore.reading.background import BackgroundPuts
from artifactstore.store import Store, open_store

_MAX_MOUNTS: Final = 8
_CACHE_SETTINGS: Final = frozenset(["cache_dir", "cache_size"])


class Mounts:
    """Keeps the ones used last open, so that libraries which make a file system for each call don't open it anew."""

    def __init__(self) -> None:
        self._mounts: OrderedDict[str, Mount] = OrderedDict()
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child (`artifactstore.forks`)."""
        self._lock = threading.Lock()

    def at(self, url: str) -> Mount:
        """The store at a URL or absolute path, as `config.load_settings` gives it."""
        with self._lock:
            mount = self._mounts.get(url)
            if mount is None:
                store = open_store(url)
                mount = mount_of(store)
                # Closed when nobody uses it any more, at the end at the latest.
                weakref.finalize(mount, store.close)
                self._mounts[url] = mount
            self._mounts.move_to_end(url)
            if len(self._mounts) > _MAX_MOUNTS:
                self._mounts.popitem(last=False)
            return mount

    def clear(self) -> None:
        """Forget them all; what is still used stays open."""
        with self._lock:
            self._mounts.clear()


MOUNTS: Final = Mounts()


def mount_of(store: Store) -> Mount:
    """A mount of an open store, which stays the caller's to close."""
    return Mount(store, _cache_for(store.url))


def _cache_for(url: str) -> ChunkCache:
    """The cache that the settings name. A store on local disk is as near as a cache: it has one if somebody says so."""
    settings = load_settings()
    if local_path_of(url) is not None and not _CACHE_SETTINGS.intersection(settings.origins):
        return NoCache()
    sharing = Sharing(settings.cache_sharing)
    cache = open_cache(settings.cache_path, max_bytes=settings.cache_bytes, sharing=sharing)
    return cache if isinstance(cache, NoCache) else BackgroundPuts(cache)


def resolve_url(url: str | os.PathLike[str] | None) -> str:
    """Where a store is: as given, or as the settings have it.

    Raises:
        ConfigurationError: A setting or the URL is wrong.
    """
    return load_settings(None if url is None else os.fspath(url)).store.url
