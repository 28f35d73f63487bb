"""Threads that want the same table at the same moment: one reads it, and what that one fails of is its own."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.forward import ForwardingBackend
from artifactstore.digest import Buffer
from artifactstore.errors import CorruptData
from artifactstore.names import Name, Slot
from artifactstore.reading import chunks
from artifactstore.reading.chunks import ChunkReader, Span
from artifactstore.reading.stored_file import StoredFile, find_file
from artifactstore.testing.stores import SMALL_CUT, StoreWorld, make_tree, small_limits
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transaction.resolve import open_version
from artifactstore.tree import StoredTree

PATIENCE_SECONDS = 20
CONTENT = seeded_bytes("content", 60_000)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreWorld]:
    """Two versions of one content, that is: of one pack."""
    monkeypatch.setattr(chunks, "WHOLE_FILE_BYTES", 0)  # by the table, always
    monkeypatch.setattr(chunks, "_SMALL_FILE_BYTES", 0)
    with small_limits():
        world = StoreWorld(tmp_path, cut=SMALL_CUT)
        make_tree(tmp_path / "tree", {b"f": CONTENT})
        with world.store() as store:
            store.push(tmp_path / "tree", "one")
            store.push(tmp_path / "tree", "other")
        yield world


class Held(ForwardingBackend):
    """Lets the first range wait until somebody waits for what asked for it, and then fail; or all fail."""

    def __init__(self, world: StoreWorld, failures: list[BaseException], waits: threading.Event) -> None:
        super().__init__(world.memory)
        self._failures = failures
        self._waits = waits
        self._lock = threading.Lock()
        self._count = 0
        self.asked = threading.Event()

    def get_range(self, key: str, offset: int, length: int) -> Buffer:
        with self._lock:
            self._count += 1
            is_first = self._count == 1
            failure = self._failures.pop(0) if self._failures else None
        if is_first:
            self.asked.set()
            assert self._waits.wait(PATIENCE_SECONDS)
        if failure is not None:
            raise failure
        return super().get_range(key, offset, length)


def both(
    world: StoreWorld, monkeypatch: pytest.MonkeyPatch, failures: list[BaseException]
) -> tuple[Future[list[Buffer]], Future[list[Buffer]]]:
    """Two reads by one reader, of which the second waits for the table that the first one is at."""
    waits = threading.Event()

    class Told(Future):  # type: ignore[type-arg]
        def result(self, timeout: float | None = None) -> object:
            waits.set()
            return super().result(timeout)

    monkeypatch.setattr(chunks, "Future", Told)
    backend = Held(world, failures, waits)
    reader = ChunkReader(backend)

    def read(name: str) -> list[Buffer]:
        version, root = open_version(world.memory, Name(name), Slot(1))
        tree = StoredTree(world.memory, root, version=version.text)
        return reader.read([Span(StoredFile(tree, find_file(tree, b"f")), 0, len(CONTENT))])

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(read, "one")
        assert backend.asked.wait(PATIENCE_SECONDS), first.exception()
        second = pool.submit(read, "other")
    return first, second


def test_who_is_interrupted_interrupts_nobody_else(world: StoreWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = both(world, monkeypatch, [KeyboardInterrupt()])
    assert isinstance(first.exception(), KeyboardInterrupt)
    assert second.result() == [CONTENT]


def test_damage_is_told_to_each_by_the_name_of_its_own_version(
    world: StoreWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage = CorruptData("a table is damaged")
    first, second = both(world, monkeypatch, [damage, damage])
    told = [future.exception() for future in (first, second)]
    assert [error.versions for error in told if isinstance(error, CorruptData)] == [("one:v1",), ("other:v1",)]
    assert told[0] is not told[1]
