"""Opened stores for tests: a storage in memory, a clock that stands still, users with local state of their own.

    world = StoreWorld(tmp_path)
    make_tree(tmp_path / "tree", {b"a": b"content", b"bin/run": File(b"#!", executable=True), b"l": Link(b"a")})
    with world.store() as store:
        store.push(tmp_path / "tree", "name")
    assert world.pulled("name") == tree_at(tmp_path / "tree")

Trees are dictionaries from paths (raw bytes) to what lies there. `make_tree` writes one and
`tree_at` reads one back, so that trees compare byte by byte. Under `small_limits` a few
kilobytes go through everything that otherwise takes gigabytes.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.protocol import Backend
from artifactstore.backend.wrappers.fault import Fault, FaultBackend
from artifactstore.chunking import DEFAULT_CUT, CutFunction
from artifactstore.clock import Clock
from artifactstore.dedup import landmarks, neighbours
from artifactstore.dedup.known import DigestColumn
from artifactstore.dedup.state import LocalState
from artifactstore.digest import DIGEST_BYTES, Digest, PackId
from artifactstore.keys import pack_key, parse_pack_key
from artifactstore.manifest import build, cuts, index
from artifactstore.manifest.model import MAX_ROOT_BLOCKS, Entry, EntryKind
from artifactstore.names import Name, parse_reference
from artifactstore.pack.format import ChunkKind, parse_pack
from artifactstore.pack.writer import PackBuilder
from artifactstore.reading import open_file
from artifactstore.store import Store, StoreOptions
from artifactstore.testing.clock import VirtualClock
from artifactstore.testing.stored_versions import Directory, File, Link, Thing
from artifactstore.transaction.records import Writers
from artifactstore.transaction.resolve import open_version
from artifactstore.transaction.store_record import StoreTraits, create_store
from artifactstore.transaction.versions import live_versions
from artifactstore.transfer import feed, local_chunks, packing, reuse
from artifactstore.tree import StoredTree

__all__ = [
    "SMALL_CUT",
    "Directory",
    "File",
    "HardLink",
    "Link",
    "Sparse",
    "StoreWorld",
    "Thing",
    "Tree",
    "edit_tree",
    "make_tree",
    "quick_folder",
    "small_limits",
    "stored_things",
    "tree_at",
]


@dataclass(frozen=True, slots=True)
class Sparse:
    """A file with holes: ``size`` bytes, zeros but for ``parts`` (offset, bytes)."""

    size: int
    parts: tuple[tuple[int, bytes], ...] = ()

    @property
    def content(self) -> bytes:
        """What a reader sees."""
        dense = bytearray(self.size)
        for offset, part in self.parts:
            dense[offset : offset + len(part)] = part
        return bytes(dense[: self.size])


@dataclass(frozen=True, slots=True)
class HardLink:
    """One more name of the file at ``to``."""

    to: bytes


Tree = Mapping[bytes, Thing | Sparse | HardLink]
_FIRST_MTIME_NS: Final = 1_600_000_000 * 10**9
# Files of tests are changed within one tick of the file system's clock. Every write gets a time of its own, so
# that local state can tell a change from none, as it can on files that people change.
_seconds: Final = count()


def make_tree(root: str | bytes | os.PathLike[str], tree: Tree) -> None:
    """Make a directory that holds exactly ``tree``, in place of whatever is at ``root``."""
    top = os.fsencode(root)
    if os.path.lexists(top):
        shutil.rmtree(top)
    os.makedirs(top)
    edit_tree(root, tree)


def edit_tree(
    root: str | bytes | os.PathLike[str], written: Tree, *, removed: Sequence[bytes] = ()
) -> None:
    """Remove some paths of a directory, then write others, in place of what is there.

    Directories that become empty stay, as they do when people delete files.
    """
    top = os.fsencode(root)
    for path in removed:
        full = os.path.join(top, path)
        if os.path.isdir(full) and not os.path.islink(full):
            shutil.rmtree(full)
        else:
            os.unlink(full)
    later = []
    for path, thing in written.items():
        if isinstance(thing, HardLink):
            later.append((path, thing))
        else:
            _write(os.path.join(top, path), thing)
    for path, link in later:
        os.makedirs(os.path.dirname(os.path.join(top, path)), exist_ok=True)
        os.link(os.path.join(top, link.to), os.path.join(top, path))


def _write(full: bytes, thing: Thing | Sparse) -> None:
    os.makedirs(os.path.dirname(full), exist_ok=True)
    if os.path.lexists(full) and not os.path.isdir(full):
        os.unlink(full)
    match thing:
        case Directory():
            os.makedirs(full, exist_ok=True)
            return
        case Link(target):
            os.symlink(target, full)
            return
        case Sparse(size, parts):
            with open(full, "xb") as stream:
                for offset, part in parts:
                    stream.seek(offset)
                    stream.write(part)
                stream.truncate(size)
        case File(content, executable):
            _write_file(full, content)
            if executable:
                os.chmod(full, 0o755)
        case bytes(content):
            _write_file(full, content)
    mtime = _FIRST_MTIME_NS + next(_seconds) * 10**9
    os.utime(full, ns=(mtime, mtime))


def _write_file(full: bytes, content: bytes) -> None:
    with open(full, "xb") as stream:
        stream.write(content)


def tree_at(root: str | bytes | os.PathLike[str]) -> dict[bytes, Thing]:
    """What a directory holds: files with content and executable bit, links, empty directories."""
    top = os.fsencode(root)
    found: dict[bytes, Thing] = {}
    for directory, folders, files in os.walk(top):
        inside = os.path.relpath(directory, top)
        for name in [*folders, *files]:
            full = os.path.join(directory, name)
            path = name if inside == b"." else inside + b"/" + name
            if os.path.islink(full):
                found[path] = Link(os.readlink(full))
            elif not os.path.isdir(full):
                with open(full, "rb") as stream:
                    found[path] = File(stream.read(), executable=bool(os.fstat(stream.fileno()).st_mode & 0o100))
            elif not os.listdir(full):
                found[path] = Directory()
    return found


SMALL_CUT: Final = CutFunction(min_bytes=256, average_bytes=512, max_bytes=1024)
"""For stores under `small_limits`: a file of 4 KiB has several chunks."""


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder that goes afterwards, in memory where there is such a place: hundreds of pushes wait for no disk."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None
    folder = tempfile.mkdtemp(prefix="artifactstore-test-", dir=place)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder)


@contextmanager
def small_limits(*, pack_bytes: int = 16 << 10, root_blocks: int = MAX_ROOT_BLOCKS) -> Iterator[None]:
    """Make everything that is large in a store small, so that a few files exercise it.

    Packs are full at ``pack_bytes``, files of over 4 KiB are read in windows, blocks have some four rows and
    never lie in the root, more than three extents make a list, every sixteenth chunk is a landmark, and pulls look
    for chunks in every changed file of the destination.

    Args:
        root_blocks: With more blocks than this the index of a root lies in pages.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed, "WINDOW_BYTES", 8 << 10)
        patch.setattr(feed, "MAX_BATCH_FILES", 5)
        patch.setattr(packing, "PackBuilder", partial(PackBuilder, capacity_bytes=pack_bytes))
        patch.setattr(packing, "landmarks_of", _landmarks_of)
        for module in (landmarks, neighbours):
            patch.setattr(module, "is_landmark", _is_landmark)
        patch.setattr(cuts, "_BLOCK_MASK", 3)
        patch.setattr(cuts, "MAX_BLOCK_ENTRIES", 8)
        patch.setattr(build, "MAX_INLINE_BYTES", 0)
        patch.setattr(build, "MAX_INLINE_EXTENTS", 3)
        patch.setattr(build, "MAX_LIST_EXTENTS", 5)
        for module in (build, index):
            patch.setattr(module, "MAX_ROOT_BLOCKS", root_blocks)
        patch.setattr(local_chunks, "WINDOW_BYTES", 4 << 10)
        patch.setattr(reuse, "_MIN_REUSED_BYTES", 1)
        yield


def _is_landmark(digest: bytes) -> bool:
    return not digest[-1] & 15


def _landmarks_of(table: DigestColumn) -> list[Digest]:
    digests = table.digests()
    found = [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]
    return [Digest(digest) for digest in found if _is_landmark(digest)]


def stored_things(backend: Backend, reference: str) -> dict[bytes, Thing]:
    """What a version holds, read through the stored formats alone: quicker than a pull, and as well checked."""
    parsed = parse_reference(reference)
    version, root = open_version(backend, parsed.name, parsed.version)
    tree = StoredTree(backend, root, version=version.text)
    return {entry.path: _thing(tree, backend, entry) for entry, _, _ in tree.entries()}


def _thing(tree: StoredTree, backend: Backend, entry: Entry) -> Thing:
    if entry.kind == EntryKind.LINK:
        return Link(entry.target)
    if entry.kind == EntryKind.DIRECTORY:
        return Directory()
    with open_file(tree, backend, entry.path) as stream:
        return File(stream.read(), executable=entry.executable)


class StoreWorld:
    """A storage in memory that holds a store, and users that work with it.

    Args:
        folder: For local state and pulled trees.
        cut: Of the store: a small one gives many chunks from little content.
        clock: A `VirtualClock` by default: all files are long settled by it.
        name: Tells the storages of two worlds apart.

    Attributes:
        memory: What the storage holds.
    """

    def __init__(
        self, folder: Path, *, cut: CutFunction = DEFAULT_CUT, clock: Clock | None = None, name: str = "store"
    ) -> None:
        self.virtual_clock: Final = VirtualClock()
        self.clock: Final[Clock] = clock or self.virtual_clock
        self.folder: Final = folder
        self.memory: Final = MemoryBackend(clock=self.clock, name=name)
        self._pulls = count()
        create_store(self.memory, self.clock, traits=StoreTraits(cut=str(cut), writers=Writers.MANY))

    def store(self, *, through: Backend | None = None, user: str = "user", jobs: int = 4) -> Store:
        """Open it. Close what you open.

        Args:
            through: A wrapper around `memory`, to count or to hurt.
            user: Whose local state: a machine of its own for each user.
        """
        backend = self.memory if through is None else through
        state = LocalState(self.folder / f"state-{user}", clock=self.clock)
        return Store(backend.url, backend, state=state, clock=self.clock, options=StoreOptions(jobs=jobs))

    def faulty(self, *faults: Fault) -> FaultBackend:
        """The storage behind a plan of faults."""
        return FaultBackend(self.memory, faults=faults, clock=self.clock)

    @contextmanager
    def fresh_user(self, *, through: Backend | None = None) -> Iterator[Store]:
        """A store opened on a machine that knows nothing of it, and is thrown away afterwards."""
        user = f"fresh-{next(self._pulls)}"
        try:
            with self.store(through=through, user=user) as store:
                yield store
        finally:
            shutil.rmtree(self.folder / f"state-{user}", ignore_errors=True)

    def pulled(self, reference: str, *, through: Backend | None = None) -> dict[bytes, Thing]:
        """What a pull to a fresh directory of a fresh machine brings."""
        place = self.folder / f"pulled-{next(self._pulls)}"
        try:
            with self.fresh_user(through=through) as store:
                store.pull(reference, place)
            return tree_at(place)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def stored(self, reference: str) -> dict[bytes, Thing]:
        """What a version holds: see `stored_things`."""
        return stored_things(self.memory, reference)

    def live(self, name: str) -> list[str]:
        """Its live versions (``name:v3``), the newest first."""
        return [version.text for version in live_versions(self.memory, Name(name))]

    def packs(self) -> frozenset[PackId]:
        """The packs that are there."""
        return frozenset(pack for pack in map(parse_pack_key, self.memory.keys()) if pack is not None)

    def content_chunks(self, packs: Iterable[PackId] | None = None) -> set[bytes]:
        """Digests of the content chunks in these packs, or in all that are there."""
        some = self.packs() if packs is None else packs
        tables = [parse_pack(pack, memoryview(self.memory.get(pack_key(pack)))) for pack in some]
        return {t.digest(n) for t in tables for n in range(len(t)) if t.kind(n) is ChunkKind.CONTENT}
