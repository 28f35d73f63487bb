"""What a push of unchanged content notes on the version that stands, where others edit it or its time is limited."""

from collections.abc import Callable
from pathlib import Path

import pytest

from artifactstore.artifacts.artifact import create_artifact
from artifactstore.store import PushOptions, PushResult, Store, VersionEdit
from artifactstore.testing.stores import StoreWorld, make_tree
from artifactstore.transfer.progress import NullProgress


class Meanwhile(NullProgress):
    """Does something once the push has looked at the name and goes on to the content."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def phase(self, name: str, *, total_files: int | None, total_bytes: int | None) -> None:
        if name == "uploading":
            self._act()


@pytest.fixture
def world(tmp_path: Path) -> StoreWorld:
    make_tree(tmp_path / "tree", {b"a": b"a"})
    return StoreWorld(tmp_path)


def push(store: Store, world: StoreWorld, **options: object) -> PushResult:
    return store.push(world.folder / "tree", "n", options=PushOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("checksum", [True, False])
def test_never_lifts_a_time_to_live_and_saying_nothing_leaves_it(world: StoreWorld, checksum: bool) -> None:
    with world.store() as store:
        push(store, world, ttl_seconds=60.0)
        assert not push(store, world, checksum=checksum).edited
        assert store.show("n").expires
        lifted = push(store, world, ttl_seconds="never", checksum=checksum)
        assert (lifted.action, lifted.edited) == ("unchanged", True)
        assert not store.show("n").expires
        assert not push(store, world, ttl_seconds="never", checksum=checksum).edited


def test_an_upload_of_an_artifact_lifts_it_too(world: StoreWorld) -> None:
    with world.store() as store:
        for ttl in ("1h", "never"):
            artifact = create_artifact("n", store=store)
            artifact.add_file(world.folder / "tree" / "a")
            artifact.upload(ttl=ttl)
            assert bool(store.show("n").expires) == (ttl == "1h")
        assert len(world.live("n")) == 1


def test_a_message_that_somebody_gave_it_meanwhile_stays(world: StoreWorld) -> None:
    with world.store() as store, world.store(user="another") as theirs:
        push(store, world)
        act = Meanwhile(lambda: theirs.edit("n", VersionEdit(message="theirs", add_labels=("b",))))
        options = PushOptions(message="ours", labels=("a",), checksum=True)
        again = store.push(world.folder / "tree", "n", options=options, progress=act)
        assert (again.action, again.edited) == ("unchanged", True)
        info = store.show("n")
        assert (info.message, set(info.labels)) == ("theirs", {"a", "b"})
