"""One store as a file system sees it: which version is meant, and what was found there before.

Shared by all file systems of a process that show the same store. A version by number or by
content digest stays what it is; `latest` and aliases are asked for again after a while.
"""

import threading
from dataclasses import dataclass
from typing import Final

from artifactstore.catalog import Catalog
from artifactstore.chunk_cache.protocol import ChunkCache
from artifactstore.forks import renew_in_children
from artifactstore.names import Alias, Latest, Name, Slot, VersionSelector
from artifactstore.reading.chunks import ChunkReader
from artifactstore.reading.shelf import Shelf
from artifactstore.reading.stored_file import StoredFile
from artifactstore.store import Store
from artifactstore.transaction.resolve import open_version
from artifactstore.transaction.versions import Version
from artifactstore.tree import StoredEntry, StoredTree

_MAX_VERSIONS: Final = 64
_MAX_EXTENTS: Final = 1_000_000
_MAX_MOVING: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A version that may be read.

    Attributes:
        asked_at: When the storage said that it is the one that is meant, in seconds of the monotonic clock.
    """

    version: Version
    tree: StoredTree
    asked_at: float


class Mount:
    """Any number of threads, and forked children.

    Args:
        cache: Where chunks and tables are kept between processes.

    Attributes:
        reader: Of chunks.
    """

    def __init__(self, store: Store, cache: ChunkCache) -> None:
        self.store: Final = store
        self._catalog: Catalog | None = None
        self._cache = cache
        self._reader: ChunkReader | None = None
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child (`artifactstore.forks`): a thread may have been at any of these."""
        self._lock = threading.Lock()
        self._versions: Shelf[tuple[Name, VersionSelector], Opened] = Shelf(_MAX_VERSIONS)
        self._files: Shelf[tuple[str, bytes], StoredFile] = Shelf(_MAX_EXTENTS)

    @property
    def catalog(self) -> Catalog:
        """Of the store; `store.json` is read the first time."""
        if self._catalog is None:
            self._catalog = self.store.catalog
        return self._catalog

    @property
    def reader(self) -> ChunkReader:
        if self._reader is None:
            catalog = self.catalog
            with self._lock:
                if self._reader is None:
                    self._reader = ChunkReader(catalog.backend, pool=catalog.requests, cache=self._cache)
        return self._reader

    def open(self, name: Name, selector: VersionSelector, *, latest_seconds: float, allow_expired: bool) -> Opened:
        """The version that is meant.

        Args:
            latest_seconds: How long `latest` and aliases are taken to mean the same version.
            allow_expired: Open it though its time is over.

        Raises:
            NameNotFound, VersionDeleted: It is not there.
            VersionExpired: Its time is over.
            CorruptData, UnsupportedFormat, BackendError: It can't be read.
        """
        catalog = self.catalog
        known = self._versions.get((name, selector))
        if known is not None and isinstance(selector, Latest | Alias):
            known = known if catalog.clock.monotonic() - known.asked_at < latest_seconds else None
        if known is not None and (allow_expired or not known.version.notes.has_expired(catalog.clock.now())):
            return known
        # One that has expired may have been given more time since.
        return self._open(name, selector, allow_expired=allow_expired)

    def _open(self, name: Name, selector: VersionSelector, *, allow_expired: bool) -> Opened:
        catalog = self.catalog
        asked_at = catalog.clock.monotonic()
        readable_at = None if allow_expired else catalog.clock.now()
        version, root = open_version(catalog.backend, name, selector, pool=catalog.requests, readable_at=readable_at)
        by_number = (name, Slot(version.slot))
        known = self._versions.get(by_number)
        if known is not None and known.version.tx == version.tx:
            tree = known.tree
        else:
            tree = StoredTree(catalog.backend, root, version=version.text, pool=catalog.requests)
        opened = Opened(version=version, tree=tree, asked_at=asked_at)
        self._versions.put(by_number, opened, weight=1)
        self._versions.put((name, selector), opened, weight=1)
        return opened

    def file(self, opened: Opened, found: StoredEntry) -> StoredFile:
        """A file of a version, to be read by `reader`.

        Raises:
            CorruptData, BackendError: As `StoredTree.extents`.
        """
        key = (opened.version.tx, found.entry.path)
        file = self._files.get(key)
        if file is None:
            file = StoredFile(opened.tree, found)
            self._files.put(key, file, weight=file.extent_count + 10)
        return file

    def forget(self) -> None:
        """Ask the storage again which version is meant, and how long it may be read."""
        self._versions.clear()
