"""A small store as a file system: small chunks, small packs, requests counted, a cache in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.chunk_cache.memory import MemoryCache
from artifactstore.filesystem import mounts
from artifactstore.filesystem.system import ArtifactFileSystem, open_filesystem
from artifactstore.manifest.model import ReferenceTarget
from artifactstore.reading import chunks, window
from artifactstore.store import Store
from artifactstore.testing.stores import (
    SMALL_CUT,
    Directory,
    File,
    Link,
    Sparse,
    StoreWorld,
    make_tree,
    small_limits,
)
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transfer.compose import Composition, Placed

NOISE = seeded_bytes("filesystem", 60_000)
TREE = {
    b"large": NOISE,
    b"empty": b"",
    b"small": b"some text",
    b"lines": b"".join(b"line %d\n" % number for number in range(3000)),
    b"holes": Sparse(100_000, ((0, b"head"), (50_000, NOISE[:3000]))),
    b"run": File(b"#!", executable=True),
    b"folder/one": NOISE[:5000],
    b"folder/two": NOISE[5000:9000],
    b"folder/deep/er/three": b"three",
    b"none": Directory(),
    b"links/file": Link(b"../folder/one"),
    b"links/folder": Link(b"../folder"),
    b"links/circle": Link(b"circle"),
    b"links/out": Link(b"../../small"),
    b"links/absolute": Link(b"/etc/passwd"),
    b"links/nowhere": Link(b"nothing"),
    b"odd/\xff\xfe": b"not text",
    b"odd/a:b@c*[d]?": b"signs",
    **{b"many/%02d" % number: b"%d" % number * 50 for number in range(50)},
}


@dataclass(frozen=True, slots=True)
class Mounted:
    """Versions `sets/data:v1` and `:v2` (a line longer, and with a reference), alias `good` on v1; name `top`."""

    world: StoreWorld
    count: CountBackend
    store: Store
    fs: ArtifactFileSystem
    place: Path

    def fresh(self, **options: object) -> ArtifactFileSystem:
        """Another one that knows nothing yet."""
        return open_filesystem(self.store, **options)  # type: ignore[arg-type]

    def content(self, path: str) -> bytes:
        return (self.place / path).read_bytes()


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Files of some kilobytes are read as large ones are, and caches are in memory."""
    patch.setattr(chunks, "_SMALL_FILE_BYTES", 300)
    patch.setattr(chunks, "_REQUEST_WORTH_BYTES", 300)
    patch.setattr(chunks, "WHOLE_FILE_BYTES", 6000)
    patch.setattr(chunks, "MAX_GAP_BYTES", 500)
    patch.setattr(window, "FIRST_AHEAD_BYTES", 1024)
    patch.setattr(window, "READ_AHEAD_BYTES", 8 << 10)
    patch.setattr(mounts, "open_cache", lambda *_, **__: MemoryCache(max_bytes=10 << 20))


def push_all(folder: Path) -> tuple[StoreWorld, Path]:
    """The store, and where the tree of `sets/data:v1` lies."""
    with small_limits():
        world = StoreWorld(folder, cut=SMALL_CUT)
        make_tree(folder / "tree", TREE)
        make_tree(folder / "second", {**TREE, b"small": b"some more text"})
        with world.store() as store:
            store.push(folder / "tree", "sets/data")
            store.set_alias("sets/data:v1", "good")
            store.push_composition(
                Composition(
                    placed=(Placed(source=bytes(folder / "second")),),
                    references={b"there/far": ReferenceTarget(uri="s3://bucket/far", size_bytes=7)},
                ),
                "sets/data",
            )
            store.push(folder / "tree", "top")
    return world, folder / "tree"


@contextmanager
def mount(world: StoreWorld, place: Path) -> Iterator[Mounted]:
    """It as a file system, nothing of it known yet."""
    count = CountBackend(world.memory)
    with world.store(through=count) as store:
        yield Mounted(world, count, store, open_filesystem(store), place)
