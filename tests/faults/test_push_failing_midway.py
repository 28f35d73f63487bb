"""A push that fails while its threads are at work: it ends, and leaves no thread and no handle behind."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.fault import ErrorBefore, Fault, permission_denied
from artifactstore.errors import BackendError
from artifactstore.keys import PACKS
from artifactstore.testing.stores import SMALL_CUT, StoreWorld, Tree, make_tree, quick_folder, small_limits
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transfer.feed import Feed
from artifactstore.transfer.pipeline import Pipeline

SMALL: Tree = {b"folder/%03d" % n: seeded_bytes(str(n), 900) for n in range(100)}
LARGE: Tree = {b"large": seeded_bytes("large", 300_000)}


@pytest.fixture
def world() -> Iterator[StoreWorld]:
    with quick_folder() as folder, small_limits():
        yield StoreWorld(folder, cut=SMALL_CUT)


def slowed(monkeypatch: pytest.MonkeyPatch, owner: type, method: str) -> None:
    real = getattr(owner, method)

    def slow(*args):  # type: ignore[no-untyped-def]
        time.sleep(0.02)
        return real(*args)

    monkeypatch.setattr(owner, method, slow)


def open_below(folder: Path) -> list[str]:
    handles = []
    for handle in os.listdir("/proc/self/fd"):
        try:
            handles.append(os.readlink(f"/proc/self/fd/{handle}"))
        except FileNotFoundError:  # the listing's own
            continue
    return [path for path in handles if path.startswith(str(folder))]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to see open handles")
@pytest.mark.parametrize(
    ("tree", "owner", "method"),
    [(SMALL, Pipeline, "_prepare"), (LARGE, Pipeline, "_prepare"), (LARGE, Feed, "_read_window")],
    ids=["small files being read", "windows being prepared", "windows being read"],
)
def test_storage_that_refuses_while_files_are_read_ends_the_push_and_leaves_nothing_open(
    world: StoreWorld, monkeypatch: pytest.MonkeyPatch, tree: Tree, owner: type, method: str
) -> None:
    """Fault 12: reading, cutting and hashing are ahead of what is sent, in threads of their own."""
    place = world.folder / "tree"
    make_tree(place, tree)
    slowed(monkeypatch, owner, method)
    refusing = world.faulty(Fault(verb="put", key=f"{PACKS}*", times=None, action=ErrorBefore(permission_denied)))
    with world.store(through=refusing) as store:
        with pytest.raises(BackendError) as caught:
            store.push(place, "name")
        # Still while the traceback is held on to, and all it refers to.
        assert caught.value.__traceback__ is not None
        assert open_below(place) == []
    assert open_below(place) == []
