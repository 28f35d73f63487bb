"""A local store that several programs find absent at once: the ranks of a job do."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from artifactstore.errors import StoreNotFound
from artifactstore.store import open_store
from artifactstore.testing.stores import make_tree

AT_ONCE = 4


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    make_tree(tmp_path / "tree", {b"a": b"a"})
    return tmp_path / "tree"


def test_first_pushes_of_several_programs_at_once_make_one_store(tmp_path: Path, tree: Path) -> None:
    together = Barrier(AT_ONCE)

    def push(number: int) -> str:
        with open_store(tmp_path / "store", state_path=tmp_path / f"state-{number}") as store:
            together.wait()
            store.push(tree, f"name-{number}")
            return store.store_id

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert len(set(pool.map(push, range(AT_ONCE)))) == 1
    with open_store(tmp_path / "store") as store:
        assert sorted(item.name for item in store.list()) == [f"name-{number}" for number in range(AT_ONCE)]


def test_a_store_that_was_cut_off_while_it_was_made_is_made_by_the_next_push(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "store/doctor/0123456789abcdef").mkdir(parents=True)
    (tmp_path / "store/tmp").mkdir()
    with open_store(tmp_path / "store") as store:
        assert store.push(tree, "name").version == "name:v1"


def test_a_folder_with_anything_else_in_it_becomes_no_store(tmp_path: Path, tree: Path) -> None:
    make_tree(tmp_path / "mine", {b"tmp/x": b"", b"file": b""})
    with open_store(tmp_path / "mine") as store, pytest.raises(StoreNotFound):
        store.push(tree, "name")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["file", "tmp"]


def test_a_store_that_another_program_made_just_before_is_used(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(tmp_path / "store") as late, open_store(tmp_path / "store") as early:
        asked: list[object] = []

        def meanwhile(store: object) -> bool:
            if not asked:
                asked.append(store)
                early.init()
            return False

        monkeypatch.setattr(type(late), "may_be_made", property(meanwhile))
        assert late.push(tree, "name").version == "name:v1"
        assert late.store_id == early.store_id
