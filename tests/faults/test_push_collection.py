"""Real pushes with a collector at work between any two of their requests.

Faults 13, 14, 131, 135, 138, 141 and 142. Whatever is collected when: the version that is made is whole, and stays so.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from artifactstore.backend.wrappers.fault import (
    Crash,
    Crashed,
    Delay,
    ErrorBefore,
    Fault,
    FaultBackend,
    Meanwhile,
    permission_denied,
)
from artifactstore.digest import PackId
from artifactstore.errors import BackendError, SourceChanged
from artifactstore.keys import PACKS, TxId, pack_key, parse_tx_id, root_key
from artifactstore.manifest.model import Root
from artifactstore.names import Name, parse_reference
from artifactstore.store import PushOptions, PushResult
from artifactstore.testing.collector import DAY_SECONDS, WEEK_SECONDS, Collector
from artifactstore.testing.stores import (
    SMALL_CUT,
    StoreWorld,
    Tree,
    edit_tree,
    make_tree,
    quick_folder,
    small_limits,
    tree_at,
)
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transaction.outcomes import read_outcome
from artifactstore.transaction.resolve import open_version
from artifactstore.transaction.runs import look
from artifactstore.transaction.versions import live_versions, remove_version
from artifactstore.tree import StoredTree

LARGE = seeded_bytes("large", 24_000)
OLD: Tree = {b"large": LARGE, **{b"%02d" % n: seeded_bytes(str(n), 900) for n in range(12)}}
# In more pieces than fit beside its entry: their list is stored apart.
PIECES = b"".join(LARGE[at : at + 4000] + b"inserted %d" % at for at in range(0, 24_000, 4000))
EDITS: Tree = {b"large": PIECES, b"05": b"new"}
MOST_REQUESTS = 200


class World(StoreWorld):
    """A store whose only version is about to be deleted, and a tree that is pushed onto it."""

    def __init__(self, folder: Path, *, pushes: int = 1) -> None:
        super().__init__(folder, cut=SMALL_CUT)
        self.tree = folder / "tree"
        self.collector = Collector(self.memory, self.clock)
        make_tree(self.tree, OLD)
        for number in range(pushes):
            self.push()
            edit_tree(self.tree, EDITS if number == pushes - 1 else {b"%02d" % number: b"in between"})
        self.start = self.memory.snapshot()

    def push(self, *, through: FaultBackend | None = None, user: str = "user", name: str = "name") -> PushResult:
        with self.store(through=through, user=user, jobs=1) as store:
            return store.push(self.tree, name, options=PushOptions())

    def delete_old(self, name: str = "name") -> None:
        """Somebody deletes what was there before the push."""
        for version in list(live_versions(self.memory, Name(name))):
            if version.slot == 1:
                remove_version(self.memory, self.clock, version)

    def root(self, reference: str) -> Root:
        parsed = parse_reference(reference)
        return open_version(self.memory, parsed.name, parsed.version)[1]

    def check(self, result: PushResult) -> None:
        """The version is whole, its root names every pack that anything of it names, and collections leave it so."""
        assert result.version is not None
        for _ in range(2):
            assert self.stored(result.version) == tree_at(self.tree)
            root = self.root(result.version)
            named = {PackId(row.pack) for row in root.packs}
            assert named <= self.packs()
            tree = StoredTree(self.memory, root)
            for _, places, block in tree.entries():
                assert named >= {PackId(pack) for pack in block.packs}
                tree.extents(places, block)
            self.finish_runs()
            self.virtual_clock.advance(2 * WEEK_SECONDS)
            assert self.collector.collect() is not None

    def finish_runs(self) -> None:
        """Bring a run that is under way to its end."""
        view = look(self.memory)
        if view.runs and not view.runs[0].has_done:
            number = view.runs[0].number
            self.collector.decide(number)
            self.collector.delete(number)
            assert self.collector.finish(number)


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_limits():
        yield


@pytest.fixture
def world() -> Iterator[World]:
    with quick_folder() as folder:
        yield World(folder)


def each_request(world: World, happens: Callable[[int], None], *, user: Callable[[int], str]) -> Iterator[PushResult]:
    """The push again and again, with something happening before each of its requests in turn."""
    for request in range(1, MOST_REQUESTS):
        world.memory.restore(world.start)
        faulty = world.faulty(Fault(nth=request, action=Meanwhile(lambda at=request: happens(at))))
        result = world.push(through=faulty, user=user(request))
        if not faulty.hits:
            assert request > 12
            return
        yield result
    raise AssertionError("it never ends")


def fresh(request: int) -> str:
    return f"machine-{request}"


def test_old_version_deleted_and_its_packs_condemned_at_any_request(world: World) -> None:
    """Fault 13: the run is not finished before the upload is."""

    def happens(_: int) -> None:
        world.delete_old()
        world.virtual_clock.advance(2 * WEEK_SECONDS)
        world.collector.condemn()

    for result in each_request(world, happens, user=fresh):
        world.check(result)


@pytest.mark.parametrize("later", [1, 2, 4, 8])
def test_packs_condemned_at_any_request_and_deleted_some_requests_later(world: World, later: int) -> None:
    """Faults 13 and 14: a run in full, its steps a day apart, while the upload goes on between them."""
    for request in range(1, MOST_REQUESTS):
        world.memory.restore(world.start)

        def condemn() -> None:
            world.delete_old()
            world.virtual_clock.advance(2 * WEEK_SECONDS)
            world.collector.condemn()

        def finish() -> None:
            world.virtual_clock.advance(DAY_SECONDS)
            world.finish_runs()

        faulty = world.faulty(
            Fault(nth=request, action=Meanwhile(condemn)), Fault(nth=request + later, action=Meanwhile(finish))
        )
        result = world.push(through=faulty, user=fresh(request))
        if not faulty.hits:
            break
        world.check(result)
    assert 12 < request < MOST_REQUESTS


def test_first_push_that_sleeps_for_a_month_at_any_request(world: World) -> None:
    """Fault 14: what it has put is collected meanwhile, its transaction fenced."""
    make_tree(world.tree, {b"%d" % n: seeded_bytes(f"first {n}", 3000) for n in range(8)})
    name = iter(f"name-{n}" for n in range(MOST_REQUESTS))

    def happens() -> None:
        for _ in range(2):
            world.virtual_clock.advance(15 * DAY_SECONDS)
            world.collector.collect()

    for request in range(1, MOST_REQUESTS):
        world.memory.restore(world.start)
        faulty = world.faulty(Fault(nth=request, action=Meanwhile(happens)))
        result = world.push(through=faulty, user=fresh(request), name=next(name))
        assert result.action == "committed"
        if not faulty.hits:
            break
        world.check(result)
    assert 12 < request < MOST_REQUESTS


def test_upload_whose_packs_went_while_it_slept_and_whose_source_changed_says_so(world: World) -> None:
    """Fault 14: no version, nothing dangling, what was there stays, and the next push is whole."""
    outcomes = set()
    for request in range(1, MOST_REQUESTS):
        world.memory.restore(world.start)
        make_tree(world.tree, OLD)
        edit_tree(world.tree, EDITS)

        def happens() -> None:
            world.delete_old()
            world.virtual_clock.advance(15 * DAY_SECONDS)
            for path in ("large", "00"):  # in place: a scan that runs meanwhile finds them
                (world.tree / path).write_bytes(b"something else")
            world.collector.collect()

        faulty = world.faulty(Fault(nth=request, action=Meanwhile(happens)))
        try:
            result = world.push(through=faulty, user=fresh(request))
        except SourceChanged as error:
            outcomes.add("said so")
            assert error.where
            assert not world.live("name")
            result = world.push(user=fresh(request))
        if not faulty.hits:
            break
        outcomes.add("made")
        assert result.version is not None
        stored = world.stored(result.version)
        if stored != tree_at(world.tree):  # made before the source changed, or partly: each file as it was at some time
            assert stored.keys() == tree_at(world.tree).keys()
        world.virtual_clock.advance(2 * WEEK_SECONDS)
        world.collector.collect()
        assert world.stored(result.version) == stored
    assert outcomes == {"made", "said so"}


def interrupted(world: World, user: str = "user") -> frozenset[PackId]:
    """Cut a push off right before its root; returns its packs."""
    before = world.packs()
    with pytest.raises(BackendError):
        world.push(
            through=world.faulty(Fault(verb="put", key="tx/*", action=ErrorBefore(permission_denied))), user=user
        )
    return world.packs() - before


def test_packs_of_an_interrupted_upload_condemned_at_any_request_of_the_next(world: World) -> None:
    """Faults 13 and 138: they are weeks old, and no root names them."""
    for request in range(1, MOST_REQUESTS):
        world.memory.restore(world.start)
        user = fresh(request)
        interrupted(world, user)

        def happens() -> None:
            world.virtual_clock.advance(2 * WEEK_SECONDS)
            world.collector.collect()

        faulty = world.faulty(Fault(nth=request, action=Meanwhile(happens)))
        result = world.push(through=faulty, user=user)
        if not faulty.hits:
            break
        world.check(result)
    assert 12 < request < MOST_REQUESTS


def test_pack_that_a_late_put_brings_back_after_its_collection_is_not_used(world: World) -> None:
    """Fault 138: the upload takes over the *d* recorded beside it, and so looks at the run that condemned it."""
    packs = interrupted(world)
    bodies = {pack: world.memory.get(pack_key(pack)) for pack in packs}
    world.virtual_clock.advance(2 * WEEK_SECONDS)
    run = world.collector.collect()
    assert not packs & world.packs()
    for pack, body in bodies.items():
        world.memory.put(pack_key(pack), body)  # sent by a laptop that wakes up now
    result = world.push()
    assert result.version is not None
    assert not packs & {PackId(row.pack) for row in world.root(result.version).packs}
    assert world.root(result.version).done_run < (run or 0) + 1
    for pack in packs:
        world.memory.delete(pack_key(pack))  # nor does a late DELETE of that run hurt
    world.check(result)


def test_pack_whose_put_was_not_answered_is_not_recorded(world: World) -> None:
    """Fault 138: it may arrive after its name was condemned."""
    before = world.packs()
    with pytest.raises(Crashed):
        world.push(through=world.faulty(Fault(verb="put", key=f"{PACKS}*", action=Crash(after_effect=True))))
    [unanswered] = world.packs() - before
    result = world.push()
    assert result.version is not None
    assert unanswered not in {PackId(row.pack) for row in world.root(result.version).packs}
    world.check(result)


@pytest.mark.parametrize("index", range(5))
def test_condemned_pack_goes_with_every_block_and_list_that_names_it(world: World, index: int) -> None:
    """Fault 141: each pack of the base in turn is condemned between the root and the second look at `gc/`."""
    world.push()  # v2: its large file lies in many pieces, some in packs of v1
    edit_tree(world.tree, {b"07": b"newer"})
    base = world.root("name:v2")
    packs = [PackId(row.pack) for row in base.packs]
    condemned = packs[index % len(packs)]

    def happens() -> None:
        run = world.collector.condemn([condemned])
        assert run is not None
        world.collector.decide_sparing(run, ())

    faulty = world.faulty(Fault(verb="list", key="gc/*", nth=2, action=Meanwhile(happens)))
    result = world.push(through=faulty)
    assert faulty.hits
    assert result.version is not None
    root = world.root(result.version)
    assert condemned not in {PackId(row.pack) for row in root.packs}
    # Nothing of it is needed: deleting it now leaves the version whole, and so does every later collection.
    world.memory.delete(pack_key(condemned))
    world.collector.finish(look(world.memory).runs[0].number)
    for version in list(live_versions(world.memory, Name("name"))):
        if version.text != result.version:
            remove_version(world.memory, world.clock, version)
    world.check(result)
    # The other packs stay in use: not everything was put again.
    assert len({row.pack for row in root.packs} & {bytes(pack) for pack in packs}) >= 1


def test_upload_that_is_slower_than_collections_puts_again_only_what_was_condemned_and_ends(world: World) -> None:
    """Fault 135: before each second look another pack of the deleted base is condemned."""
    left = [PackId(row.pack) for row in world.root("name:v1").packs]
    count = len(left)
    sent: list[int] = []

    def happens() -> None:
        sent.append(len(world.packs()))
        if left:
            world.delete_old()
            world.finish_runs()
            world.collector.condemn([left.pop()])

    faulty = world.faulty(Fault(verb="list", key="gc/*", nth=2, times=None, action=Meanwhile(happens)))
    result = world.push(through=faulty)
    assert 2 < len(sent) <= count + 2
    assert len(given_up(world, faulty)) == len(sent) - 1
    world.check(result)


def given_up(world: World, faulty: FaultBackend) -> list[TxId]:
    """The transactions of a push but for the committed one: all fenced, in the end."""
    puts = [parse_tx_id(r.key.split("/")[2]) for r in faulty.requests if r.verb == "put" and r.key.endswith("/root")]
    refused = {request.key for request in faulty.hits}
    outcomes = {tx: read_outcome(world.memory, tx) for tx in puts if root_key(tx) not in refused}
    assert None not in outcomes.values()
    return [tx for tx, outcome in outcomes.items() if outcome is not None and not outcome.committed]


def test_upload_of_weeks_names_its_packs_every_two_days_and_ends(world: World) -> None:
    """Fault 142: collections in between take nothing of it, and its interim roots are fenced in the end."""
    make_tree(world.tree, {b"%02d" % n: seeded_bytes(f"slow {n}", 8000) for n in range(24)})
    packs_before = world.packs()
    deleted: set[PackId] = set()

    def collect() -> None:
        before = world.packs()
        world.collector.collect()
        deleted.update(before - world.packs())

    faulty = world.faulty(
        *(Fault(verb="put", key=f"{PACKS}*", nth=n, action=Meanwhile(collect)) for n in range(2, 30, 3)),
        Fault(verb="put", key=f"{PACKS}*", times=None, action=Delay(1.5 * DAY_SECONDS)),
    )
    result = world.push(through=faulty, name="slow")
    assert world.clock.now() - 1_800_000_000 > 2 * WEEK_SECONDS
    assert not deleted - packs_before, "no pack of the upload was ever collected"
    assert len(given_up(world, faulty)) >= 5
    world.check(result)


@pytest.mark.parametrize("end", ["unchanged", "failed"])
def test_interim_roots_are_fenced_however_the_upload_ends(world: World, end: str) -> None:
    world.push()
    faults = [Fault(verb="put", key=f"{PACKS}*", times=None, action=Delay(3 * DAY_SECONDS))]
    if end == "failed":
        edit_tree(world.tree, {b"new": seeded_bytes("new", 40_000)})
        faults.insert(0, Fault(verb="put", key="tx/*/root", nth=3, times=None, action=ErrorBefore(permission_denied)))
    else:
        # A machine that knows nothing, and a base that it can't read: it sends all, then finds that nothing changed.
        for row in world.root("name").packs:
            world.memory.delete(pack_key(PackId(row.pack)))
    faulty = world.faulty(*faults)
    with suppress(BackendError):
        result = world.push(through=faulty, user="slow machine")
        assert result.action == end
    assert given_up(world, faulty)
