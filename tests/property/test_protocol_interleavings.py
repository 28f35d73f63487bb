"""Random interleavings of two uploaders and a collector, request by request, against an oracle (test plan 5.4).

Oracle: which versions were acknowledged, with which content, and which of them somebody asked
to delete. At every moment each visible version is whole, and each acknowledged one is visible
until it is deleted on purpose. A process may be killed anywhere; time passes at any moment.
"""

import random
import re
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from artifactstore.backend.memory import MemoryBackend
from artifactstore.digest import PackId
from artifactstore.errors import CorruptData, NotFound, VersionExists
from artifactstore.keys import parse_pack_key
from artifactstore.names import Latest, Name
from artifactstore.testing.clock import VirtualClock
from artifactstore.testing.collector import DAY_SECONDS, Collector
from artifactstore.testing.interleave import Task
from artifactstore.testing.uploader import LocalState, Tree, push, read_tree
from artifactstore.transaction import commit, runs, upload, versions
from artifactstore.transaction.aliases import alias_history
from artifactstore.transaction.listing import list_names
from artifactstore.transaction.resolve import resolve
from artifactstore.transaction.upload import Action, CommitResult, Strategy
from artifactstore.transaction.versions import Version, live_versions, remove_version

NAME = Name("m")
SLOTS = 2
TREES = st.dictionaries(
    st.sampled_from([b"a1", b"a2", b"b1", b"c1"]), st.sampled_from([b"x" * 40, b"y" * 50, b"z" * 60]), min_size=1
)


POINTS = [("put", "/root"), ("list", "gc/"), ("put_if_absent", "/v/"), ("put_if_absent", "/outcome")]


@dataclass
class Push:
    task: Task[CommitResult]
    tree: Tree


class Protocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.memory = MemoryBackend(clock=self.clock)
        self.locals = [LocalState() for _ in range(SLOTS)]
        self.pushes: list[Push | None] = [None] * SLOTS
        self.collecting: list[Task[bool]] = []
        self.acknowledged: dict[str, Tree] = {}
        self.may_be_deleted: set[str] = set()
        self.aliased: set[int] = set()

    # Uploaders

    @rule(who=st.integers(0, SLOTS - 1), tree=TREES, strategy=st.sampled_from(Strategy), alias=st.booleans())
    def begin_push(self, who: int, tree: Tree, strategy: Strategy, alias: bool) -> None:
        if self.pushes[who] is not None:
            return
        local = self.locals[who]
        self.pushes[who] = Push(
            Task(
                lambda backend: push(
                    backend, self.clock, NAME.text, tree, strategy=strategy, aliases=["prod"] * alias, local=local
                ),
                self.memory,
            ),
            tree,
        )

    @rule(who=st.integers(0, SLOTS - 1), steps=st.integers(1, 12))
    def go_on(self, who: int, steps: int) -> None:
        going = self.pushes[who]
        if going is None:
            return
        for _ in range(steps):
            going.task.step()
        if going.task.finished:
            self.pushes[who] = None
            self.acknowledge(going)

    @rule(who=st.integers(0, SLOTS - 1), point=st.sampled_from(POINTS))
    def go_on_to(self, who: int, point: tuple[str, str]) -> None:
        """To just before a request where order matters: chance alone rarely stops there."""
        going = self.pushes[who]
        if going is not None:
            going.task.run_until(*point)
            self.go_on(who, 0)

    def acknowledge(self, done: Push) -> None:
        if isinstance(done.task.error, VersionExists):
            return
        if done.task.error is not None:
            raise done.task.error
        result = done.task.result
        assert result is not None
        self.may_be_deleted |= {f"{NAME}:v{slot}" for slot in result.replaced}
        if result.version.name == NAME:
            self.aliased |= {move.number for move in result.moves}
        if result.action is not Action.SKIPPED:
            known = self.acknowledged.setdefault(result.version.text, done.tree)
            assert known == done.tree

    @rule(who=st.integers(0, SLOTS - 1))
    def kill(self, who: int) -> None:
        going = self.pushes[who]
        if going is not None:
            going.task.kill()
            self.pushes[who] = None

    @rule(who=st.integers(0, SLOTS - 1))
    def lose_local_state(self, who: int) -> None:
        if self.pushes[who] is None:
            self.locals[who].packs.clear()

    # Collectors

    @precondition(lambda self: len(self.collecting) < 2)
    @rule(seed=st.integers(0, 3), everything=st.booleans())
    def begin_collection(self, seed: int, everything: bool) -> None:
        packs = self.packs()
        chosen = packs if everything else random.Random(seed).sample(packs, len(packs) // 2)

        def collect(backend) -> bool:  # type: ignore[no-untyped-def]
            Collector(backend, self.clock).collect(chosen)
            return True

        self.collecting.append(Task(collect, self.memory))

    @rule()
    def collect_at_once(self) -> None:
        """A whole run, or the rest of one, with everything condemned."""
        Collector(self.memory, self.clock).collect(self.packs(), grace_seconds=0)

    @precondition(lambda self: self.collecting)
    @rule(which=st.integers(0, 1), steps=st.integers(1, 25))
    def collect_on(self, which: int, steps: int) -> None:
        task = self.collecting[which % len(self.collecting)]
        for _ in range(steps):
            task.step()
        if task.finished:
            self.collecting.remove(task)
            if task.error is not None:
                raise task.error

    @precondition(lambda self: self.collecting)
    @rule(which=st.integers(0, 1))
    def kill_collector(self, which: int) -> None:
        self.collecting.pop(which % len(self.collecting)).kill()

    # The world

    @rule(days=st.sampled_from([1, 3, 8]))
    def time_passes(self, days: int) -> None:
        self.clock.advance(days * DAY_SECONDS)

    @rule(which=st.integers(0, 5))
    def delete_a_version(self, which: int) -> None:
        live = self.live()
        if live:
            version = live[which % len(live)]
            self.may_be_deleted.add(version.text)
            remove_version(self.memory, self.clock, version)

    @rule(who=st.integers(0, SLOTS - 1))
    def finish_push(self, who: int) -> None:
        going = self.pushes[who]
        if going is not None:
            while not going.task.finished:
                going.task.step()
            self.pushes[who] = None
            self.acknowledge(going)

    # What holds

    def live(self) -> list[Version]:
        return [version for name in list_names(self.memory) for version in live_versions(self.memory, name)]

    def packs(self) -> list[PackId]:
        return [pack for key in self.memory.keys() if (pack := parse_pack_key(key)) is not None]  # noqa: SIM118

    @invariant()
    def visible_versions_are_whole_and_acknowledged_ones_visible(self) -> None:
        live = {version.text: version for version in self.live()}
        for text, version in live.items():
            tree = read_tree(self.memory, version)
            assert tree == self.acknowledged.get(text, tree)
        assert self.acknowledged.keys() - live.keys() <= self.may_be_deleted | self.replaced()

    def replaced(self) -> set[str]:
        """Deleted by a `replace`, which may not have reported yet, or never will: always in favour of a later one."""
        found = set()
        for version in versions.versions(self.memory, NAME):
            tombstone = versions.read_tombstone(self.memory, NAME, version.slot) if version.deleted else None
            if tombstone is not None and (by := re.fullmatch(rf"replaced by {NAME}:v(\d+)", tombstone.reason)):
                assert int(by.group(1)) > version.slot
                found.add(version.text)
        return found

    @invariant()
    def latest_is_the_highest_live_version(self) -> None:
        mine = [version.slot for version in self.live() if version.name == NAME]
        if mine:
            assert resolve(self.memory, NAME, Latest()).slot == max(mine)

    @invariant()
    def no_acknowledged_move_of_an_alias_is_lost(self) -> None:
        numbers = [move.number for move in alias_history(self.memory, NAME, "prod")]
        assert numbers == list(range(len(numbers), 0, -1))
        assert self.aliased <= set(numbers)

    def teardown(self) -> None:
        for going in self.pushes:
            if going is not None:
                going.task.kill()
        for task in self.collecting:
            task.kill()


PROFILE = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    print_blob=True,
)


def test_random_interleavings_keep_every_acknowledged_version() -> None:
    run_state_machine_as_test(Protocol, settings=PROFILE)


def no_second_look(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(commit, "condemned", lambda backend, *, after, packs: frozenset())
    patch.setattr(upload, "condemned", lambda backend, *, after, packs: frozenset())


def second_look_leaves_out_done_runs(patch: pytest.MonkeyPatch) -> None:
    whole = runs.condemned

    def some(backend, *, after, packs):  # type: ignore[no-untyped-def]
        return whole(backend, after=max(after, runs.look(backend).done), packs=packs)

    patch.setattr(commit, "condemned", some)


@pytest.mark.parametrize("ablation", [no_second_look, second_look_leaves_out_done_runs])
def test_random_interleavings_find_what_a_rule_left_out_breaks(
    ablation,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    ablation(monkeypatch)
    found = settings(PROFILE, max_examples=500, derandomize=True, phases=["generate"], database=None)
    with pytest.raises((NotFound, CorruptData)):  # a visible version lacks chunks
        run_state_machine_as_test(Protocol, settings=found)
