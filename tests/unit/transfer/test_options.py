"""What pushes, pulls and edits are asked, refused before anything is read where it can't be meant."""

from collections.abc import Callable

import pytest

from artifactstore.artifacts.pinning import pin, unpin, verify_references
from artifactstore.errors import InvalidName
from artifactstore.names import listed
from artifactstore.store import PullOptions, PushOptions, VersionEdit
from artifactstore.testing.stores import StoreWorld, make_tree


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (PushOptions, ("aliases", "labels", "made_from", "include", "exclude")),
        (PullOptions, ("paths", "include", "exclude")),
        (VersionEdit, ("add_labels", "remove_labels", "unset_metadata")),
    ],
    ids=str,
)
def test_a_text_is_no_list(kind: Callable[..., object], fields: tuple[str, ...]) -> None:
    for field in fields:
        with pytest.raises(TypeError, match="a list is meant, and not 'ab'"):
            kind(**{field: "ab"})


def test_a_text_is_no_list_of_references(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = StoreWorld(tmp_path_factory.mktemp("world"))
    make_tree(world.folder / "tree", {b"a": b"a"})
    with world.store() as store:
        store.push(world.folder / "tree", "n")
        for call in (verify_references, pin, unpin):
            with pytest.raises(TypeError, match="paths: a list is meant"):
                call(store, "n", "ab")


@pytest.mark.parametrize("given", ["", b"ab", 5, None])
def test_what_is_no_list_is_refused(given: object) -> None:
    with pytest.raises(TypeError, match="things: a list is meant"):
        listed("things", given)  # type: ignore[arg-type]


def test_any_list_will_do() -> None:
    assert PushOptions(labels=iter(["a", "b"])).labels == ("a", "b")  # type: ignore[arg-type]


def test_what_can_be_no_job_is_refused_before_anything_is_read() -> None:
    with pytest.raises(InvalidName, match="job"):
        PushOptions(made_by="a\nb")
