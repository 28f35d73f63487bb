"""Versions with real cuts, for tests of pulls: contents go in, a `StoredTree` comes out.

Unlike `stored_manifests.store_tree`, which cuts anywhere, files are cut as a push cuts
them and runs of zeros become holes, so that what is pulled can be compared with what is
read back from disk. Chunks a version shares with an earlier one of the same maker are
stored once, as a push would do it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from artifactstore.backend.protocol import Backend
from artifactstore.chunking import DEFAULT_CUT, Cutter
from artifactstore.digest import CHUNK_CONTEXT, Digest, digest_of, xxh3_of
from artifactstore.manifest.format import FileDigester
from artifactstore.manifest.model import NO_PLACES, Entry, EntryKind, EntryPlaces
from artifactstore.manifest.paths import path_sort_key
from artifactstore.pack.format import ChunkKind
from artifactstore.testing.stored_manifests import PackShelf, store_built
from artifactstore.transfer.extents import ExtentBuilder
from artifactstore.tree import StoredTree


@dataclass(frozen=True, slots=True)
class File:
    """A file; ``Link`` and ``Directory`` are the other things that a version can hold."""

    content: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: bytes


@dataclass(frozen=True, slots=True)
class Directory:
    """An empty directory."""


Thing = bytes | File | Link | Directory
_ZERO_CHUNK: Final = bytes(DEFAULT_CUT.max_bytes)


class VersionMaker:
    """Stores versions in a backend, one after another."""

    def __init__(self, backend: Backend, *, seed: str = "versions", pack_bytes: int = 4 << 20) -> None:
        self._backend = backend
        self._shelf = PackShelf(backend, seed=seed, capacity_bytes=pack_bytes)
        self._cutter = Cutter(DEFAULT_CUT)
        self._known: dict[Digest, tuple[int, int, int, int]] = {}
        self._count = 0

    def make(self, things: Mapping[bytes, Thing]) -> StoredTree:
        """Store a version of these things, by path."""
        rows = [self._row(path, things[path]) for path in sorted(things, key=path_sort_key)]
        self._shelf.seal()
        root = store_built([entry for entry, _ in rows], [places for _, places in rows], self._shelf)
        self._count += 1
        return StoredTree(self._backend, root, version=f"name:v{self._count}")

    def _row(self, path: bytes, thing: Thing) -> tuple[Entry, EntryPlaces]:
        if isinstance(thing, Link):
            return Entry(path, EntryKind.LINK, target=thing.target), NO_PLACES
        if isinstance(thing, Directory):
            return Entry(path, EntryKind.DIRECTORY), NO_PLACES
        file = thing if isinstance(thing, File) else File(thing)
        content = file.content
        digester, extents = FileDigester(), ExtentBuilder()
        start = 0
        for end in self._cutter.cuts(memoryview(content), final=True):
            chunk = content[start:end]
            digest = digest_of(CHUNK_CONTEXT, chunk)
            digester.add(digest, len(chunk))
            if chunk == _ZERO_CHUNK[: len(chunk)]:
                extents.add_zeros(len(chunk), 1)
            else:
                extents.add(*self._place(digest, chunk), len(chunk))
            start = end
        entry = Entry(path, EntryKind.FILE, len(content), file.executable, digester.digest(), xxh3_of(content))
        return entry, EntryPlaces(extents.build()) if content else NO_PLACES

    def _place(self, digest: Digest, chunk: bytes) -> tuple[int, int, int, int]:
        place = self._known.get(digest)
        if place is None:
            stored = self._shelf.add(ChunkKind.CONTENT, chunk)
            place = self._known[digest] = stored.pack, stored.chunk, stored.offset, stored.stored_length
        return place
