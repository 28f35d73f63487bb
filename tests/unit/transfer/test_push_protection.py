"""Pushes and protected aliases: what would move one is refused, and what has not changed moves none."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from artifactstore.errors import AliasProtected
from artifactstore.keys import PACKS
from artifactstore.store import PushOptions, PushResult, Reuse, Strategy
from artifactstore.testing.stores import StoreWorld, edit_tree, make_tree


@pytest.fixture
def world(tmp_path: Path) -> StoreWorld:
    return StoreWorld(tmp_path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    make_tree(tmp_path / "tree", {b"a": b"a", b"b": b"b"})
    return tmp_path / "tree"


def push(world: StoreWorld, source: Path, *, user: str = "user", **options: object) -> PushResult:
    with world.store(user=user) as store:
        return store.push(source, "n", options=PushOptions(**options))  # type: ignore[arg-type]


def but_for_packs(keys: Iterable[str]) -> set[str]:
    return {key for key in keys if not key.startswith(PACKS)}


def test_an_alias_that_is_protected_does_not_move_with_a_push(world: StoreWorld, tree: Path) -> None:
    push(world, tree, aliases=("prod",))
    with world.store() as store:
        store.protect_alias("n", "prod")
    push(world, tree, aliases=("prod",))  # it points there already
    edit_tree(tree, {b"new": b"new"})
    keys = set(world.memory.keys())
    for dry_run in (True, False):
        with pytest.raises(AliasProtected, match="prod"):
            push(world, tree, aliases=("prod",), dry_run=dry_run)
    assert but_for_packs(world.memory.keys()) == but_for_packs(keys)
    keys = set(world.memory.keys())
    push(world, tree)
    with pytest.raises(AliasProtected, match="prod"):
        push(world, tree, aliases=("prod",), user="another")
    assert len(set(world.memory.keys()) - keys) == 3  # slot, root and outcome: what is known early sends nothing


@pytest.mark.parametrize("strategy", [Strategy.VERSION, Strategy.REPLACE, Strategy.SKIP])
@pytest.mark.parametrize("dry_run", [True, False])
def test_what_has_not_changed_moves_nothing_also_where_it_has_to_be_read(
    world: StoreWorld, tree: Path, strategy: Strategy, dry_run: bool
) -> None:
    push(world, tree, aliases=("prod",))
    with world.store() as store:
        store.protect_alias("n", "prod")
    again = push(world, tree, aliases=("prod",), strategy=strategy, dry_run=dry_run, user="who was never here")
    assert (again.action, again.version) in (("unchanged", "n:v1"), ("skipped", "n:v1"))
    with pytest.raises(AliasProtected, match="prod"):
        push(world, tree, aliases=("prod",), reuse=Reuse.NOTHING)


def test_an_alternative_name_has_aliases_of_its_own(world: StoreWorld, tree: Path) -> None:
    push(world, tree, aliases=("prod",))
    with world.store() as store:
        store.protect_alias("n", "prod")
    made = push(world, tree, aliases=("prod",), strategy=Strategy.NEW)
    assert made.name != "n"
    assert world.live(made.name) == [made.version]


def test_replace_does_not_delete_what_a_protected_alias_points_to(world: StoreWorld, tree: Path) -> None:
    push(world, tree, aliases=("prod",))
    with world.store() as store:
        store.protect_alias("n", "prod")
    edit_tree(tree, {b"new": b"new"})
    keys = set(world.memory.keys())
    with pytest.raises(AliasProtected, match="prod"):
        push(world, tree, strategy=Strategy.REPLACE)
    assert but_for_packs(world.memory.keys()) == but_for_packs(keys)


def test_force_goes_over_protection(world: StoreWorld, tree: Path) -> None:
    push(world, tree, aliases=("prod",))
    with world.store() as store:
        store.protect_alias("n", "prod")
    edit_tree(tree, {b"new": b"new"})
    push(world, tree, aliases=("prod",), force=True)
    edit_tree(tree, {b"newer": b"newer"})
    push(world, tree, strategy=Strategy.REPLACE, force=True)
    assert world.live("n") == ["n:v3"]
