"""An opened store: what its calls cost in requests, what they refuse, and what they never write."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.protocol import Backend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.fault import ErrorBefore, Fault, FaultBackend, permission_denied
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.dedup.state import LocalState
from artifactstore.errors import InvalidName, NameNotFound, StoreNotFound, StoreReadOnly, UnsupportedFormat
from artifactstore.keys import STORE, store_setting_key
from artifactstore.names import Latest, Name
from artifactstore.store import PushOptions, RemoveOptions, Store, StoreOptions, init_store, open_store
from artifactstore.testing.stores import StoreWorld, edit_tree, make_tree, tree_at
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transaction.records import StoreRecord, StoreSettings, Writers, decode_record
from artifactstore.transaction.resolve import open_version
from artifactstore.transaction.store_record import StoreTraits, create_store, write_settings

SMALL = {b"a": b"a", b"b/c": b"content"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    make_tree(tmp_path / "tree", SMALL)
    return tmp_path / "tree"


@pytest.fixture
def world(tmp_path: Path, tree: Path) -> StoreWorld:
    return StoreWorld(tmp_path)


class TestRequests:
    """Budgets. More would be more for every user, each time."""

    def cost(self, world: StoreWorld, call: Callable[[Store], object], *, user: str = "user") -> CountBackend:
        count = CountBackend(world.memory)
        with world.store(through=count, user=user) as store:
            call(store)
        return count

    def test_first_small_push(self, world: StoreWorld, tree: Path) -> None:
        assert self.cost(world, lambda store: store.push(tree, "n")).counts.request_count <= 12

    def test_second_small_push(self, world: StoreWorld, tree: Path) -> None:
        self.cost(world, lambda store: store.push(tree, "n"))
        edit_tree(tree, {b"a": b"changed"})
        assert self.cost(world, lambda store: store.push(tree, "n")).counts.request_count <= 15

    def test_second_small_push_from_another_machine(self, world: StoreWorld, tree: Path) -> None:
        self.cost(world, lambda store: store.push(tree, "n"))
        edit_tree(tree, {b"a": b"changed"})
        assert self.cost(world, lambda store: store.push(tree, "n"), user="other").counts.request_count <= 15

    def test_unchanged_push(self, world: StoreWorld, tree: Path) -> None:
        self.cost(world, lambda store: store.push(tree, "n"))
        count = self.cost(world, lambda store: store.push(tree, "n"))
        assert count.counts.request_count <= 7
        assert not count.counts.sent_bytes

    def test_push_that_only_moves_an_alias(self, world: StoreWorld, tree: Path) -> None:
        self.cost(world, lambda store: store.push(tree, "n"))
        count = self.cost(world, lambda store: store.push(tree, "n", options=PushOptions(aliases=("prod",))))
        assert count.counts.request_count <= 9

    def test_length_of_the_history_costs_nothing(self, world: StoreWorld, tree: Path) -> None:
        costs = []
        for number in range(55):
            edit_tree(tree, {b"a": b"%d" % number})
            costs.append(self.cost(world, lambda store: store.push(tree, "n")).counts.request_count)
        assert max(costs[1:]) == costs[1]
        assert self.cost(world, lambda store: store.pull("n", world.folder / "x")).counts.request_count <= 8

    def test_one_small_file_of_a_large_version_on_a_machine_that_knows_nothing(self, tmp_path: Path) -> None:
        world = StoreWorld(tmp_path)
        for folder in range(100):
            make_tree(tmp_path / "tree" / str(folder), {b"%d" % n: b"%d %d" % (folder, n) for n in range(200)})
        with world.store() as store:
            assert store.push(tmp_path / "tree", "n", options=PushOptions(aliases=("prod",))).files == 20_000
        for number, (reference, budget) in enumerate([("n:latest", 8), ("n:v1", 8), ("n:prod", 10)]):
            count = CountBackend(world.memory)
            with world.fresh_user(through=count) as store:
                store.pull(f"{reference}/77/123", tmp_path / f"out-{number}")
            assert (tmp_path / f"out-{number}" / "123").read_bytes() == b"77 123"
            assert count.counts.request_count <= budget, reference
            assert count.counts.received_bytes < 200_000
            count.reset()
            with world.fresh_user(through=count) as store, store.open(f"{reference}/77/123") as stream:
                assert stream.read() == b"77 123"
            assert count.counts.request_count <= budget, reference


@pytest.mark.parametrize(
    "call",
    [
        lambda store, folder: store.pull("n", folder / "out"),
        lambda store, folder: store.pull("n:prod", folder / "out"),
        lambda store, folder: store.open("n:v1/a").read(),
        lambda store, folder: list(store.versions("n")),
        lambda store, folder: list(store.list()),
        lambda store, folder: store.show("n:prod"),
        lambda store, folder: list(store.files("n")),
        lambda store, folder: list(store.diff("n:v1", "n:v2")),
        lambda store, folder: list(store.diff("n:v1", folder / "tree")),
        lambda store, folder: list(store.status(folder / "tree", "n").changes),
        lambda store, folder: list(store.aliases("n")),
        lambda store, folder: store.usage(),
        lambda store, folder: store.remove("n", options=RemoveOptions(dry_run=True)),
        lambda store, folder: store.push(folder / "tree", "n", options=PushOptions(dry_run=True)),
        lambda store, folder: store.push(folder / "tree", "other", options=PushOptions(dry_run=True)),
    ],
    ids=range(15),
)
def test_what_only_reads_needs_no_right_to_write(
    world: StoreWorld, tree: Path, call: Callable[[Store, Path], object]
) -> None:
    with world.store() as store:
        store.push(tree, "n", options=PushOptions(aliases=("prod",)))
        edit_tree(tree, {b"a": b"changed"})
        store.push(tree, "n")
    edit_tree(tree, {b"new": b"new"})
    before = world.memory.snapshot()
    denied = [
        Fault(verb=verb, times=None, action=ErrorBefore(permission_denied)) for verb in ("put*", "delete")
    ]
    faulty = FaultBackend(world.memory, faults=denied)
    with world.store(through=faulty, user="reader") as store:
        call(store, world.folder)
    assert not faulty.hits
    assert world.memory.snapshot() == before


class TestMaking:
    def test_absent_or_empty_folder_becomes_a_store_with_the_first_push(self, tree: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        for place in ("empty", "absent/deep"):
            with open_store(tmp_path / place, state_path=tmp_path / "state") as store:
                assert store.push(tree, "n").action == "committed"
                assert store.pull("n", tmp_path / f"out-{place[:5]}").files == 2

    def test_folder_with_something_else_in_it_does_not(self, tree: Path, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "thesis").write_text("a year of work")
        with open_store(tmp_path / "home", state_path=tmp_path / "state") as store, pytest.raises(StoreNotFound):
            store.push(tree, "n")
        assert [path.name for path in (tmp_path / "home").iterdir()] == ["thesis"]

    @pytest.mark.parametrize("what", ["a pull", "a dry run", "a list"])
    def test_nothing_else_makes_one(self, tree: Path, tmp_path: Path, what: str) -> None:
        calls: dict[str, Callable[[Store], object]] = {
            "a pull": lambda store: store.pull("n", tmp_path / "out"),
            "a dry run": lambda store: store.push(tree, "n", options=PushOptions(dry_run=True)),
            "a list": lambda store: list(store.list()),
        }
        with open_store(tmp_path / "absent", state_path=tmp_path / "state") as store, pytest.raises(StoreNotFound):
            calls[what](store)
        assert not (tmp_path / "absent").exists()

    def test_url_that_is_no_local_folder_needs_init(self, tree: Path, tmp_path: Path) -> None:
        memory = MemoryBackend()
        state = LocalState(tmp_path / "state")
        with Store(memory.url, memory, state=state) as store:
            with pytest.raises(StoreNotFound, match="init"):
                store.push(tree, "n")
            assert not memory.keys()
            assert store.init()
            assert not store.init()
            assert store.push(tree, "n").action == "committed"

    def test_init_store_makes_and_opens_one(self, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ARTIFACTSTORE_STATE", str(tmp_path / "state"))
        with init_store(tmp_path / "store") as store:
            first = store.store_id
            store.push(tree, "n")
        with init_store(tmp_path / "store") as store:
            assert store.store_id == first
            assert [item.name for item in store.list()] == ["n"]


class TestSingleWriter:
    """Storage without put-if-absent: every write says that it knows."""

    @pytest.fixture
    def single(self, tmp_path: Path) -> Callable[[bool], Store]:
        memory = MemoryBackend(has_put_if_absent=False)
        create_store(memory, SYSTEM_CLOCK, traits=StoreTraits(cut="fastcdc-v2020:256:512:1024", writers=Writers.SINGLE))

        def opened(accepted: bool) -> Store:
            state = LocalState(tmp_path / "state")
            return Store(memory.url, memory, state=state, options=StoreOptions(single_writer=accepted))

        return opened

    def test_writes_are_refused_unless_that_is_accepted(
        self, single: Callable[[bool], Store], tree: Path, tmp_path: Path
    ) -> None:
        with single(True) as store:
            store.push(tree, "n")
            store.set_alias("n:v1", "prod")
        with single(False) as store:
            for call in (
                lambda: store.push(tree, "n"),
                lambda: store.set_alias("n:v1", "other"),
                lambda: store.remove("n:v1"),
            ):
                with pytest.raises(StoreReadOnly, match="single-writer"):
                    call()
            # Reading and planning are fine.
            assert store.pull("n", tmp_path / "out").files == 2
            assert store.push(tree, "n", options=PushOptions(dry_run=True)).action == "unchanged"
            assert store.remove("n:v1", options=RemoveOptions(dry_run=True)).versions == ("n:v1",)

    def test_settings_made_since_bind_writers(self, world: StoreWorld, tree: Path) -> None:
        with world.store() as store:
            store.push(tree, "n")
        made = write_settings(
            world.memory, world.clock, after=0, settings=StoreSettings(nonce="0" * 32, writers=Writers.SINGLE)
        )
        assert made
        edit_tree(tree, {b"a": b"changed"})
        with world.store() as store, pytest.raises(StoreReadOnly):
            store.push(tree, "n")
        assert world.live("n") == ["n:v1"]

    def test_settings_that_this_version_does_not_know_stop_writers_and_no_readers(
        self, world: StoreWorld, tree: Path, tmp_path: Path
    ) -> None:
        """Fault 75."""
        with world.store() as store:
            store.push(tree, "n")
        write_settings(world.memory, world.clock, after=0, settings=StoreSettings(nonce="0" * 32))
        key = store_setting_key(1)
        body = json.loads(bytes(world.memory.get(key)))
        world.memory.overwrite(key, json.dumps(body | {"required_features": ["something new"]}).encode())
        edit_tree(tree, {b"a": b"changed"})
        with world.store() as store:
            for call in (
                lambda: store.push(tree, "n"),
                lambda: store.set_alias("n:v1", "prod"),
                lambda: store.remove("n:v1"),
            ):
                with pytest.raises(UnsupportedFormat, match="something new"):
                    call()
            assert store.pull("n", tmp_path / "out").files == 2
        assert world.live("n") == ["n:v1"]

    def test_cut_function_of_later_settings_is_used(self, world: StoreWorld, tree: Path) -> None:
        edit_tree(tree, {b"large": seeded_bytes("large", 100_000)})
        cut = "fastcdc-v2020:256:512:1024"
        write_settings(world.memory, world.clock, after=0, settings=StoreSettings(nonce="0" * 32, cut=cut))
        with world.store() as store:
            store.push(tree, "n")
            assert store.usage().pack_bytes > 100_000
        assert world.stored("n") == tree_at(tree)
        assert open_version(world.memory, Name("n"), Latest())[1].cut == cut


class TestOpening:
    def test_nothing_is_read_before_it_is_needed(self, world: StoreWorld) -> None:
        count = CountBackend(world.memory)
        with world.store(through=count) as store:
            assert repr(store) == "Store('memory://store')"
            assert not count.counts.request_count
            assert len(store.store_id) == 32
            assert store.store_id == store.record.store_id
        assert count.counts.request_count == 1

    def test_store_is_kept_apart_from_what_is_not_one(self, tmp_path: Path) -> None:
        memory = MemoryBackend()
        with Store(memory.url, memory, state=LocalState(tmp_path / "state")) as store:
            for call in (
                lambda: list(store.list()),
                lambda: list(store.versions("n")),
                lambda: store.pull("n", tmp_path / "out"),
                lambda: store.open("n:v1/a"),
                lambda: store.usage(),
                lambda: store.set_alias("n:v1", "prod"),
                lambda: store.remove("n"),
            ):
                with pytest.raises(StoreNotFound):
                    call()

    def test_closing_twice_is_fine(self, world: StoreWorld) -> None:
        store = world.store()
        store.close()
        store.close()

    def test_many_threads_may_use_it(self, world: StoreWorld, tree: Path, tmp_path: Path) -> None:
        with world.store() as store:
            store.push(tree, "n")

            def work(number: int) -> bool:
                store.push(tree, f"n-{number % 3}")
                store.pull("n", tmp_path / f"out-{number}")
                return tree_at(tmp_path / f"out-{number}") == tree_at(tree)

            with ThreadPoolExecutor(8) as pool:
                assert all(pool.map(work, range(16)))
            assert sorted(item.name for item in store.list()) == ["n", "n-0", "n-1", "n-2"]

    def test_bad_arguments_are_refused_before_anything_is_asked(self, world: StoreWorld, tree: Path) -> None:
        count = CountBackend(world.memory)
        with world.store(through=count) as store:
            for call in (
                lambda: store.push(tree, "n:v1"),
                lambda: store.push(tree, "../n"),
                lambda: store.pull("n:v0x!"),
                lambda: store.open("n:v1/../x"),
            ):
                with pytest.raises(InvalidName):
                    call()
        assert not count.counts.request_count

    def test_alias_that_is_none_is_refused_before_anything_is_written(self, world: StoreWorld, tree: Path) -> None:
        with world.store() as store:
            for options in (PushOptions(aliases=("v3",)), PushOptions(aliases=("prod", "latest"))):
                with pytest.raises(InvalidName):
                    store.push(tree, "n", options=options)
        assert world.memory.keys() == (STORE,)

    def test_name_that_is_not_there_is_said_so(self, world: StoreWorld, tmp_path: Path) -> None:
        with world.store() as store:
            for call in (
                lambda: store.pull("n", tmp_path / "out"),
                lambda: list(store.versions("n")),
                lambda: store.show("n:v1"),
                lambda: store.remove("n"),
            ):
                with pytest.raises(NameNotFound):
                    call()
        assert not (tmp_path / "out").exists()


def test_record_of_a_store_reads_as_it_was_made(world: StoreWorld) -> None:
    backend: Backend = world.memory
    record = decode_record(StoreRecord, backend.get(STORE), key=STORE)
    with world.store() as store:
        assert store.record == record
