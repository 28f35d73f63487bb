"""Trees of every awkward kind through a store: what comes back is what went in, however it was stored."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.testing.stores import (
    SMALL_CUT,
    Directory,
    File,
    HardLink,
    Link,
    Sparse,
    StoreWorld,
    Tree,
    edit_tree,
    make_tree,
    quick_folder,
    small_limits,
    tree_at,
)
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.testing.tree_strategies import Edit, apply_edit, edits, trees

few = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    with small_limits():
        yield


@contextmanager
def worlds(count: int = 1) -> Iterator[list[StoreWorld]]:
    """Stores with nothing in common, in a folder that goes afterwards."""
    with quick_folder() as folder:
        for number in range(count):
            (folder / str(number)).mkdir()
        yield [StoreWorld(folder / str(n), cut=SMALL_CUT, name=f"store-{n}") for n in range(count)]


def push(world: StoreWorld, tree: Path, name: str = "name", *, user: str = "user") -> str:
    with world.store(user=user) as store:
        return store.push(tree, name).content_digest


@few
@given(tree=trees())
@example(tree={})
@example(tree={b"empty": b"", b"d": Directory(), b"l": Link(b"empty"), b"x": File(b"#!", executable=True)})
@example(tree={b"zeros": bytes(20_000), b"same": bytes(20_000), b"one": b"\0", b"holes": Sparse(300_000)})
@example(tree={b"a": seeded_bytes("p", 9000) + bytes(9000) + seeded_bytes("q", 300), b"b": HardLink(b"a")})
def test_what_is_pulled_is_byte_by_byte_what_was_pushed(tree: Tree) -> None:
    """Faults 51-54, 56-58, 61, 63."""
    with worlds() as [world]:
        make_tree(world.folder / "tree", tree)
        push(world, world.folder / "tree")
        assert world.pulled("name") == tree_at(world.folder / "tree")


@few
@given(tree=trees())
@example(tree={b"h": Sparse(2_000_000, ((0, b"x"), (700_001, b"y"), (1_999_999, b"z")))})
@example(tree={b"h": Sparse(65_536)})
def test_sparse_file_has_the_content_digest_of_its_dense_copy(tree: Tree) -> None:
    """Fault 51: wherever holes lie, and whatever the file system makes of them."""
    with worlds(2) as [sparse, dense]:
        make_tree(sparse.folder / "tree", tree)
        shutil.copytree(sparse.folder / "tree", dense.folder / "tree", symlinks=True, copy_function=_copy_dense)
        assert push(sparse, sparse.folder / "tree") == push(dense, dense.folder / "tree")
        # Nor does a hole take space: all-zero chunks are stored in neither.
        assert sparse.content_chunks() == dense.content_chunks()


def _copy_dense(source: str, target: str) -> None:
    with open(source, "rb") as read, open(target, "wb") as write:
        write.write(read.read())
    shutil.copymode(source, target)


@few
@given(tree=trees(), changes=st.lists(st.lists(edits, min_size=1, max_size=4), min_size=1, max_size=3))
def test_content_digest_tells_content_whatever_was_reused_on_the_way(tree: Tree, changes: list[list[Edit]]) -> None:
    """After any edits a push onto older versions equals a fresh push elsewhere, and all versions stay as they were."""
    with worlds(2) as [world, other]:
        place = world.folder / "tree"
        make_tree(place, tree)
        push(world, place)
        states = [tree_at(place)]
        for step in changes:
            for edit in step:
                apply_edit(place, edit)
            digest = push(world, place)
            assert digest == push(other, place, user=f"user-{len(states)}", name=f"name-{len(states)}")
            if tree_at(place) != states[-1]:
                states.append(tree_at(place))
        with world.store() as store:
            assert len(list(store.versions("name"))) == len(states)
        for number, state in enumerate(states, start=1):
            assert world.pulled(f"name:v{number}") == state


@few
@given(tree=trees(), steps=st.lists(edits, min_size=1, max_size=4))
def test_pull_over_an_older_state_makes_the_newer_one(tree: Tree, steps: list[Edit]) -> None:
    with worlds() as [world]:
        place, elsewhere = world.folder / "tree", world.folder / "elsewhere"
        make_tree(place, tree)
        push(world, place)
        with world.store(user="other") as store:
            store.pull("name", elsewhere)
        for edit in steps:
            apply_edit(place, edit)
        push(world, place)
        count = CountBackend(world.memory)
        with world.store(user="other", through=count) as store:
            result = store.pull("name", elsewhere)
        assert tree_at(elsewhere) == tree_at(place)
        assert result.fetched_bytes <= count.counts.received_bytes
        assert "put" not in count.counts.requests


def test_pull_over_an_older_state_moves_only_the_difference(tmp_path: Path) -> None:
    """The bytes of one changed file come, and of one large file only the chunks around the change."""
    world = StoreWorld(tmp_path, cut=SMALL_CUT)
    place, elsewhere = tmp_path / "tree", tmp_path / "elsewhere"
    large = seeded_bytes("large", 400_000)
    make_tree(place, {b"large": large, **{b"%d" % n: seeded_bytes(str(n), 2000) for n in range(100)}})
    push(world, place)
    with world.store(user="other") as store:
        store.pull("name", elsewhere)
    edit_tree(place, {b"7": b"changed", b"large": large[:200_000] + b"inserted" + large[200_000:]})
    push(world, place)
    count = CountBackend(world.memory)
    with world.store(user="other", through=count) as store:
        result = store.pull("name", elsewhere)
    assert tree_at(elsewhere) == tree_at(place)
    assert sorted(result.written) == [b"7", b"large"]
    assert result.fetched_bytes < 10_000
    assert result.reused_bytes > 590_000
    # Tables of packs and the manifest come on top.
    assert count.counts.received_bytes < 150_000
