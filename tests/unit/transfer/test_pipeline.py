"""Files on their way into packs: in walk order, each chunk once, large files in pieces, whatever changes meanwhile."""

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import pytest

from artifactstore.codec import Codec, Compression
from artifactstore.digest import PackId
from artifactstore.errors import SourceChanged
from artifactstore.keys import pack_key
from artifactstore.manifest.model import HOLE, Entry, Extent
from artifactstore.names import Latest, Name
from artifactstore.pack.format import ChunkKind, Table, parse_pack
from artifactstore.store import PushOptions
from artifactstore.testing.stores import SMALL_CUT, Sparse, StoreWorld, Tree, make_tree, small_limits, tree_at
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transaction.resolve import open_version
from artifactstore.transfer.feed import Batch, Feed
from artifactstore.transfer.pipeline import Pipeline
from artifactstore.transfer.read import MAX_ATTEMPTS, OpenSource
from artifactstore.tree import StoredTree


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_limits():
        yield


class Pushed:
    """A tree pushed to a store of its own, and where its content went."""

    def __init__(self, folder: Path, tree: Tree, **options) -> None:  # type: ignore[no-untyped-def]
        self.world = StoreWorld(folder, cut=SMALL_CUT)
        self.place = folder / "tree"
        make_tree(self.place, tree)
        with self.world.store() as store:
            self.result = store.push(self.place, "name", options=PushOptions(**options))
        _, root = open_version(self.world.memory, Name("name"), Latest())
        stored = StoredTree(self.world.memory, root)
        self.extents: dict[bytes, list[tuple[bytes, Extent]]] = {}
        self.entries: dict[bytes, Entry] = {}
        for entry, places, block in stored.entries():
            self.entries[entry.path] = entry
            self.extents[entry.path] = [
                (b"" if e.pack == HOLE else block.packs[e.pack], msgspec.structs.replace(e, pack=HOLE))
                for e in stored.extents(places, block)
            ]

    def table(self, pack: bytes) -> Table:
        return parse_pack(PackId(pack), memoryview(self.world.memory.get(pack_key(PackId(pack)))))

    def codecs(self, path: bytes) -> set[int]:
        return {
            self.table(pack).codec(number)
            for pack, e in self.extents[path]
            if pack
            for number in range(e.first_chunk, e.first_chunk + e.chunk_count)
        }

    def content_chunks(self) -> int:
        tables = [self.table(pack) for pack in self.world.packs()]
        return sum(table.kind(n) is ChunkKind.CONTENT for table in tables for n in range(len(table)))


def test_content_lies_in_packs_in_walk_order(tmp_path: Path) -> None:
    """A restore in order is a sequential read."""
    pushed = Pushed(tmp_path, {b"%02d" % n: seeded_bytes(str(n), 100 + 397 * n) for n in range(40)})
    order = [
        (pack, e.first_chunk) for path in sorted(pushed.extents) for pack, e in pushed.extents[path] if e.chunk_count
    ]
    packs = list(dict.fromkeys(pack for pack, _ in order))
    assert order == sorted(order, key=lambda place: (packs.index(place[0]), place[1]))
    assert len(packs) > 3
    # Consecutive chunks of a pack are one extent.
    assert all(len(extents) <= 2 for extents in pushed.extents.values())


def test_equal_content_is_stored_once(tmp_path: Path) -> None:
    """Within a file, between large and small files of one push, and of files that are equal as a whole."""
    part = seeded_bytes("part", 20_000)
    pushed = Pushed(tmp_path, {b"a": part, b"b": part, b"c": part + part, b"d": part[:200], b"e": part[:200]})
    assert pushed.result.sent_bytes < 2 * len(part)
    assert pushed.extents[b"a"] == pushed.extents[b"b"]
    assert pushed.extents[b"d"] == pushed.extents[b"e"]
    assert pushed.result.new_bytes < 1.2 * len(part)
    assert pushed.world.pulled("name") == tree_at(pushed.place)


def test_zeros_are_stored_nowhere(tmp_path: Path) -> None:
    pushed = Pushed(tmp_path, {b"a": b"\0", b"b": bytes(256), b"c": bytes(100_000), b"d": Sparse(100_000)})
    assert pushed.content_chunks() == 0
    assert pushed.extents[b"c"] == pushed.extents[b"d"]
    assert pushed.result.new_bytes == 0
    assert pushed.world.pulled("name") == tree_at(pushed.place)


TEXT = b"a line of text that is like the line before it\n" * 900
NOISE = seeded_bytes("noise", 40_000)


@pytest.mark.parametrize(
    ("compression", "text", "noise"),
    [
        (Compression.AUTO, {Codec.ZSTD}, {Codec.RAW}),
        (Compression.ZSTD, {Codec.ZSTD}, {Codec.RAW}),
        (Compression.NONE, {Codec.RAW}, {Codec.RAW}),
    ],
    ids=lambda value: value.value if isinstance(value, Compression) else "",
)
def test_each_file_is_compressed_where_that_saves_something(
    tmp_path: Path, compression: Compression, text: set[Codec], noise: set[Codec]
) -> None:
    sizes = {b"small": 250, b"several chunks": 3000, b"windows": 40_000}
    tree = {kind + name: content[:size] for name, size in sizes.items() for kind, content in _KINDS.items()}
    pushed = Pushed(tmp_path, tree, compression=compression)
    for name in sizes:
        assert pushed.codecs(b"text " + name) == text, name
        assert pushed.codecs(b"noise " + name) == noise, name


_KINDS = {b"text ": TEXT, b"noise ": NOISE}


def test_file_that_begins_with_a_hole_is_compressed_like_any_other(tmp_path: Path) -> None:
    """Its codec is chosen by its data, not by the hole in front of it."""
    pushed = Pushed(tmp_path, {b"sparse": Sparse(80_000, ((40_960, TEXT[:30_000]),))})
    assert pushed.codecs(b"sparse") == {Codec.ZSTD}
    assert pushed.result.sent_bytes < 10_000


def test_large_file_that_changes_while_it_is_read_is_stored_as_it_is_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 47: nothing of the attempt that does not count gets into the file, however late it is dealt with."""
    first, second = seeded_bytes("first", 60_000), seeded_bytes("second", 61_000)
    real_finish, real_prepare = OpenSource.finish, Pipeline._prepare
    attempts = 0
    batches = count()

    def finish(self: OpenSource):  # type: ignore[no-untyped-def]
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            (tmp_path / "tree" / "file").write_bytes(second)
        return real_finish(self)

    def prepare(self: Pipeline, batch: Batch, feed: Feed) -> None:
        if next(batches) == 60_000 // (8 << 10) + 1:
            time.sleep(0.15)  # the second attempt begins: the end of the first is dealt with meanwhile
        real_prepare(self, batch, feed)

    monkeypatch.setattr(OpenSource, "finish", finish)
    monkeypatch.setattr(Pipeline, "_prepare", prepare)
    pushed = Pushed(tmp_path, {b"file": first, b"next": b"x"})
    assert attempts == 2
    assert pushed.entries[b"file"].size == len(second)
    assert pushed.world.pulled("name") == tree_at(pushed.place)


def test_file_that_never_stays_the_same_fails_the_push_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 47: after `MAX_ATTEMPTS`."""
    real = OpenSource.finish
    attempts = 0

    def finish(self: OpenSource):  # type: ignore[no-untyped-def]
        nonlocal attempts
        attempts += 1
        (tmp_path / "tree" / "restless").write_bytes(bytes([attempts]) * 30_000)
        return real(self)

    monkeypatch.setattr(OpenSource, "finish", finish)
    with pytest.raises(SourceChanged, match="restless"):
        Pushed(tmp_path, {b"restless": seeded_bytes("r", 30_000)})
    assert attempts == MAX_ATTEMPTS
