"""A store, a clock, a user and a collector: what the tests of uploads under collection share."""

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.protocol import Backend
from artifactstore.digest import PackId
from artifactstore.keys import parse_pack_key
from artifactstore.names import Name
from artifactstore.testing.clock import VirtualClock
from artifactstore.testing.collector import DAY_SECONDS, Collector
from artifactstore.testing.interleave import Task
from artifactstore.testing.uploader import LocalState, Tree, push, read_tree
from artifactstore.transaction.upload import CommitResult
from artifactstore.transaction.versions import live_versions, remove_version

NAME = Name("m")
OLD: Tree = {b"a": b"alpha" * 10, b"b": b"beta" * 10}
NEW: Tree = {b"a": b"alpha" * 10, b"b": b"changed" * 10}
MONTH_SECONDS = 30 * DAY_SECONDS


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.memory = MemoryBackend(clock=self.clock)
        self.local = LocalState()
        self.collector = Collector(self.memory, self.clock)

    def push(self, tree: Tree, *, through: Backend | None = None, **options) -> CommitResult:  # type: ignore[no-untyped-def]
        backend = self.memory if through is None else through
        return push(backend, self.clock, NAME.text, tree, local=options.pop("local", self.local), **options)

    def task(self, tree: Tree, **options) -> Task[CommitResult]:  # type: ignore[no-untyped-def]
        return Task(lambda backend: self.push(tree, through=backend, **options), self.memory)

    def packs(self) -> frozenset[PackId]:
        return frozenset(filter(None, map(parse_pack_key, self.memory.keys())))

    def check(self) -> None:
        for version in live_versions(self.memory, NAME):
            assert read_tree(self.memory, version)


def delete_all(world: World) -> None:
    for version in live_versions(world.memory, NAME):
        remove_version(world.memory, world.clock, version)
