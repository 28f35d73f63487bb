"""Stored files that an upload has to read: fetched some at a time, and gone when it ends."""

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.errors import CorruptData
from artifactstore.keys import pack_key
from artifactstore.names import parse_reference
from artifactstore.reading import open_file
from artifactstore.store import PushOptions, PushResult, Reuse
from artifactstore.testing.stores import StoreWorld, make_tree, small_limits
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transfer import staging
from artifactstore.transfer.compose import Carried, Composition

TREE = {f"f{number:02}".encode(): seeded_bytes(str(number), 300) for number in range(20)}
PATIENCE_SECONDS = 20


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreWorld]:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with small_limits():
        world = StoreWorld(tmp_path)
        make_tree(tmp_path / "tree", TREE)
        with world.store() as store:
            store.push(tmp_path / "tree", "base")
        yield world


def copied(world: StoreWorld) -> PushResult:
    """Pushed again without reuse: every file has to be read."""
    whole = Composition(
        placed=(),
        carried=(Carried(reference=parse_reference("base"), path=b"", without=frozenset()),),
        references={},
    )
    with world.store() as store:
        return store.push_composition(whole, "n", options=PushOptions(reuse=Reuse.NOTHING))


def test_files_are_fetched_side_by_side_and_not_all_at_once(world: StoreWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    two, lock, real = threading.Barrier(2), threading.Lock(), open_file
    now, most = 0, 0

    def opened(*args, **keywords):  # type: ignore[no-untyped-def]
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        two.wait(PATIENCE_SECONDS)  # nobody goes on alone
        file = real(*args, **keywords)
        with lock:
            now -= 1
        return file

    monkeypatch.setattr(staging, "open_file", opened)
    copied(world)
    assert 2 <= most <= staging.AT_ONCE
    assert {path: file.content for path, file in world.pulled("n").items()} == TREE  # type: ignore[union-attr]
    assert os.listdir(tempfile.gettempdir()) == []


def test_one_that_fails_ends_all_and_leaves_nothing(world: StoreWorld) -> None:
    pack = next(iter(world.packs()))
    world.memory.overwrite(pack_key(pack), b"?" * len(world.memory.get(pack_key(pack))))
    with pytest.raises(CorruptData):
        copied(world)
    assert os.listdir(tempfile.gettempdir()) == []
    assert world.live("n") == []
