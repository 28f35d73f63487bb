"""One level of a directory, without going through all that is below it."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.manifest.model import Entry, Root
from artifactstore.testing.hostile_manifests import link_at
from artifactstore.testing.stored_manifests import store_tree
from artifactstore.tree import StoredTree

FILES = {b"d%02d/e%d/f%05d" % (number % 40, number % 3, number): b"%d" % number for number in range(6000)}


@pytest.fixture(scope="module")
def stored() -> tuple[MemoryBackend, Root]:
    backend = MemoryBackend()
    return backend, store_tree(backend, FILES, others=[link_at(b"z", b"d00")])


def names(tree: StoredTree, path: bytes) -> list[bytes]:
    return [item.path if isinstance(item, Entry) else item + b"/" for item in tree.level(path)]


def expected(paths: set[bytes], path: bytes) -> list[bytes]:
    prefix = path + b"/" if path else b""
    level = set()
    for each in paths:
        if each.startswith(prefix):
            name, slash, _ = each[len(prefix) :].partition(b"/")
            level.add(prefix + name + slash)
    return sorted(level, key=lambda text: text.removesuffix(b"/").replace(b"/", b"\0"))


@pytest.mark.parametrize("path", [b"", b"d00", b"d07/e1", b"d39/e2", b"d", b"z", b"nothing", b"d00/e0/f00000"])
def test_level_is_what_lies_directly_there(stored: tuple[MemoryBackend, Root], path: bytes) -> None:
    backend, root = stored
    assert names(StoredTree(backend, root), path) == expected({*FILES, b"z"}, path)


def test_top_of_a_deep_tree_costs_no_more_blocks_than_directories(stored: tuple[MemoryBackend, Root]) -> None:
    backend, root = stored
    count = CountBackend(backend)
    tree = StoredTree(count, root)
    assert next(iter(tree.level(b"d20"))) == b"d20/e0"
    assert count.counts.request_count <= 1
    count.reset()
    assert list(islice(tree.level(b""), 3)) == [b"d00", b"d01", b"d02"]
    assert count.counts.request_count <= 4


@given(st.sets(st.text("ab/!~", min_size=1, max_size=9).map(lambda text: text.strip("/")), max_size=25))
def test_level_of_any_tree(texts: set[str]) -> None:
    paths = {text.encode() for text in texts if text and "//" not in text}
    paths = {path for path in paths if not any(other.startswith(path + b"/") for other in paths)}
    backend = MemoryBackend()
    tree = StoredTree(backend, store_tree(backend, dict.fromkeys(paths, b"x")))
    folders = {path[:at] for path in paths for at in range(len(path)) if path[at : at + 1] == b"/"}
    for folder in {b"", *folders}:
        assert names(tree, folder) == expected(paths, folder)
