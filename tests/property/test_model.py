"""A store against a dictionary: random pushes, pulls, deletions, aliases, crashes and collections, interleaved.

Test plan 5.4. Users have machines and trees of their own. While one pushes, others get their turn between any two of
its requests. Whatever happens: what was acknowledged and not deleted reads back, byte by byte.

ARTIFACTSTORE_SOAK=1 makes many more examples.
"""

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from artifactstore.backend.wrappers.fault import (
    Crashed,
    ErrorAfter,
    ErrorBefore,
    Fault,
    Meanwhile,
    crash_at,
    permission_denied,
)
from artifactstore.errors import (
    ArtifactStoreError,
    BackendError,
    CommitStateUnknown,
    CorruptData,
    NotFound,
    UnsafeManifest,
    UnsupportedFormat,
    VersionExists,
)
from artifactstore.names import Name
from artifactstore.store import ConflictStrategy, PullOptions, PushOptions, PushResult, Strategy
from artifactstore.testing.collector import DAY_SECONDS, WEEK_SECONDS, Collector
from artifactstore.testing.stores import (
    SMALL_CUT,
    StoreWorld,
    Thing,
    Tree,
    make_tree,
    quick_folder,
    small_limits,
    tree_at,
)
from artifactstore.testing.tree_strategies import Edit, apply_edit, edits, trees
from artifactstore.transaction.listing import list_names
from artifactstore.transaction.runs import look
from artifactstore.transaction.versions import live_versions, remove_version
from artifactstore.transfer import rollback

USERS = ("alice", "bob")
NAMES = ("n", "team/n")
users = st.sampled_from(USERS)
names = st.sampled_from(NAMES)
requests = st.integers(1, 45)
# Most pushes make versions; the others have their say too.
strategies = st.sampled_from([Strategy.VERSION] * 4 + [Strategy.REPLACE, Strategy.SKIP, Strategy.ERROR, Strategy.NEW])
interruptions = st.lists(
    st.tuples(
        requests, st.sampled_from(["push", "delete", "alias", "condemn", "decide", "finish", "collect", "sleep"])
    ),
    max_size=4,
)


class StoreMachine(RuleBasedStateMachine):
    """The oracle: `acknowledged` maps versions (``name:v3``) to what they hold."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.stack.enter_context(small_limits())
        self.world = StoreWorld(self.stack.enter_context(quick_folder()), cut=SMALL_CUT)
        self.collector = Collector(self.world.memory, self.world.clock)
        self.acknowledged: dict[str, Mapping[bytes, Thing]] = {}
        self.deleted: set[str] = set()
        self.steps = 0
        self.alarms: list[str] = []
        handler = logging.Handler(logging.WARNING)
        handler.emit = lambda record: self.alarms.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger(rollback.__name__).addHandler(handler)
        self.stack.callback(logging.getLogger(rollback.__name__).removeHandler, handler)

    def teardown(self) -> None:
        try:
            self.finish_runs()
            self.collect()
            self.check(self.world.live("n") + self.world.live("team/n"))
        finally:
            self.stack.close()

    def tree(self, user: str) -> Path:
        return self.world.folder / f"tree-{user}"

    @initialize(first=trees(max_size=6), second=trees(max_size=4))
    def make_trees(self, first: Tree, second: Tree) -> None:
        make_tree(self.tree("alice"), first)
        make_tree(self.tree("bob"), second)

    @rule(user=users, edit=edits)
    def edit(self, user: str, edit: Edit) -> None:
        apply_edit(self.tree(user), edit)

    # -- pushes ---------------------------------------------------------------------------------------

    def push(self, user: str, name: str, *faults: Fault, **options) -> PushResult:  # type: ignore[no-untyped-def]
        faulty = self.world.faulty(*faults)
        with self.world.store(user=user, through=faulty, jobs=1) as store:
            result = store.push(self.tree(user), name, options=PushOptions(**options))
        assert "delete" not in {request.verb for request in faulty.requests}
        self.deleted |= set(result.replaced)
        # "Unchanged" may be told of a version that another push has made and not yet been told of.
        if result.version is not None and result.action != "skipped" and result.version not in self.deleted:
            tree = tree_at(self.tree(user))
            assert self.acknowledged.setdefault(result.version, tree) == tree
        return result

    @rule(user=users, name=names, strategy=strategies, alias=st.booleans(), checksum=st.booleans(), turns=interruptions)
    def push_while_others_get_their_turn(
        self, user: str, name: str, strategy: Strategy, alias: bool, checksum: bool, turns: list[tuple[int, str]]
    ) -> None:
        """Faults 13, 14, 27, 36 and 135."""
        other = USERS[1 - USERS.index(user)]
        faults = [Fault(nth=at, action=Meanwhile(self.turn(what, other, name))) for at, what in turns]
        try:
            self.push(
                user, name, *faults, strategy=strategy, aliases=("prod",) if alias else (), checksum=checksum
            )
        except VersionExists:
            assert strategy is Strategy.ERROR

    def turn(self, what: str, user: str, name: str) -> Callable[[], None]:
        def push() -> None:
            self.push(user, name)

        def delete() -> None:
            for version in self.world.live(name)[-1:]:
                self.delete_version(version)

        def alias() -> None:
            for version in self.world.live(name)[:1]:
                with self.world.store(user=user) as store:
                    store.set_alias(version, "prod")

        steps = {
            "push": push,
            "delete": delete,
            "alias": alias,
            "condemn": self.condemn,
            "decide": self.decide,
            "finish": self.finish_runs,
            "collect": self.collect,
            "sleep": lambda: self.world.virtual_clock.advance(20 * DAY_SECONDS),
        }
        return steps[what]

    @rule(user=users, name=names, at=requests, after_effect=st.booleans())
    def push_is_killed(self, user: str, name: str, at: int, after_effect: bool) -> None:
        try:
            self.push(user, name, crash_at(at, after_effect=after_effect))
        except Crashed:
            self.adopt(tree_at(self.tree(user)))

    @rule(
        user=users,
        name=names,
        at=requests,
        times=st.sampled_from([1, 3, None]),
        action=st.sampled_from([ErrorBefore(), ErrorAfter(), ErrorBefore(permission_denied)]),
    )
    def push_meets_errors(
        self, user: str, name: str, at: int, times: int | None, action: ErrorBefore | ErrorAfter
    ) -> None:
        try:
            self.push(user, name, Fault(nth=at, times=times, action=action))
        except (BackendError, CommitStateUnknown):
            self.adopt(tree_at(self.tree(user)))

    def adopt(self, tree: Mapping[bytes, Thing]) -> None:
        """What a push that told nothing has made after all is whole, and stays."""
        for name in list_names(self.world.memory):
            for version in self.world.live(name.text):
                if version not in self.acknowledged:
                    assert self.world.stored(version) == tree
                    self.acknowledged[version] = tree

    # -- others ---------------------------------------------------------------------------------------

    @rule(user=users, name=names)
    def pull(self, user: str, name: str) -> None:
        """Into a directory that nobody edits: it becomes the version, exactly."""
        place = self.world.folder / f"checkout-{user}-{name.replace('/', '-')}"
        before = self.world.memory.snapshot()
        with self.world.store(user=user) as store:
            try:
                result = store.pull(name, place, options=PullOptions(strategy=ConflictStrategy.REPLACE))
            except NotFound:
                assert not self.world.live(name)
                return
        assert result.version == self.world.live(name)[0]
        assert tree_at(place) == self.acknowledged[result.version]
        assert self.world.memory.snapshot() == before

    @rule(user=users)
    def lose_local_state(self, user: str) -> None:
        shutil.rmtree(self.world.folder / f"state-{user}", ignore_errors=True)
        for place in self.world.folder.glob(f"checkout-{user}-*"):
            shutil.rmtree(place)  # without its base nobody could tell what to remove from it

    @rule(name=names, which=st.integers(0, 5))
    def delete(self, name: str, which: int) -> None:
        live = self.world.live(name)
        if live:
            self.delete_version(live[which % len(live)])

    def delete_version(self, text: str) -> None:
        name, _, number = text.partition(":v")
        for version in live_versions(self.world.memory, Name(name)):
            if version.slot == int(number):
                remove_version(self.world.memory, self.world.clock, version)
                self.deleted.add(text)

    @rule(days=st.sampled_from([0.1, 1.0, 8.0, 40.0]))
    def time_passes(self, days: float) -> None:
        self.world.virtual_clock.advance(days * DAY_SECONDS)

    # -- collection, step by step -----------------------------------------------------------------------

    @rule()
    def condemn(self) -> None:
        self.collector.fence_stale()
        self.collector.condemn()

    def unfinished(self) -> int | None:
        view = look(self.world.memory)
        return view.runs[0].number if view.runs and not view.runs[0].has_done else None

    @rule()
    def decide(self) -> None:
        run = self.unfinished()
        if run is not None:
            self.collector.decide(run)

    @rule()
    def finish_runs(self) -> None:
        run = self.unfinished()
        if run is not None:
            self.collector.decide(run)
            self.collector.delete(run)
            assert self.collector.finish(run)

    @rule()
    def collect(self) -> None:
        self.world.virtual_clock.advance(2 * WEEK_SECONDS)
        self.collector.collect()

    # -- damage -----------------------------------------------------------------------------------------

    @rule(which=st.integers(0, 10_000), at=st.integers(0, 100_000))
    def flip_a_byte_for_a_moment(self, which: int, at: int) -> None:
        """Fault 77: exact bytes or a typed error, whatever is read."""
        memory = self.world.memory
        keys = [key for key in memory.keys() if len(memory.get(key))]  # noqa: SIM118
        key = keys[which % len(keys)]
        body = bytes(memory.get(key))
        damaged = bytearray(body)
        damaged[at % len(body)] ^= 1 << at % 8
        memory.overwrite(key, damaged)
        for version in sorted(self.acknowledged.keys() - self.deleted):
            try:
                assert self.world.stored(version) == self.acknowledged[version]
            except (CorruptData, UnsupportedFormat, UnsafeManifest, NotFound) as error:
                assert isinstance(error, ArtifactStoreError)
        memory.overwrite(key, body)

    # -- what must hold ---------------------------------------------------------------------------------

    @invariant()
    def what_was_acknowledged_is_there(self) -> None:
        """All names are listed each time, and one version after the other is read."""
        live = [version for name in list_names(self.world.memory) for version in self.world.live(name.text)]
        assert set(live) == self.acknowledged.keys() - self.deleted
        assert not self.alarms, "the store never went back in time"
        self.steps += 1
        if live:
            self.check([live[self.steps % len(live)]])

    def check(self, versions: list[str]) -> None:
        for version in versions:
            assert self.world.stored(version) == self.acknowledged[version], version


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=2000 if os.environ.get("ARTIFACTSTORE_SOAK") else 200,
    stateful_step_count=40 if os.environ.get("ARTIFACTSTORE_SOAK") else 20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
