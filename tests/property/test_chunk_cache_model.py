"""The cache on disk against a model: exactly the least recently used go, and the cap holds at every step."""

import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from artifactstore.chunk_cache.disk import OVERHEAD_BYTES
from artifactstore.chunk_cache.folder import charge_of
from artifactstore.testing.cached import CacheWorld, disk_bytes
from artifactstore.testing.chunk_cache import chunk_of, pack_of

SIZES = (0, 10, 4096, 4097, 9000, 20_000)
ROOM_BYTES = 50_000
CHUNKS = [chunk_of(str(number), SIZES[number % len(SIZES)]) for number in range(24)]
PROOF_BYTES = 32


class AgainstAModel(RuleBasedStateMachine):
    """Two caches over one folder, as two processes would have."""

    def __init__(self) -> None:
        super().__init__()
        self.world = CacheWorld(Path(tempfile.mkdtemp(prefix="artifactstore-cache-")))
        self.caches = [self.world.open(OVERHEAD_BYTES + ROOM_BYTES) for _ in range(2)]
        self.model: OrderedDict[str, int] = OrderedDict()

    def teardown(self) -> None:
        shutil.rmtree(self.world.folder)

    def keep(self, name: str, size: int, *, replace: bool) -> None:
        """The new one comes before the old one of its name goes: room is made for both."""
        charge = charge_of(size)
        if self.model.get(name) != charge or replace:
            while sum(self.model.values()) + charge > ROOM_BYTES:
                self.model.popitem(last=False)
        self.model[name] = charge
        self.model.move_to_end(name)

    @rule(number=st.integers(0, 23), by=st.integers(0, 1))
    def put(self, number: int, by: int) -> None:
        digest, raw = CHUNKS[number]
        self.world.put(self.caches[by], CHUNKS[number])
        self.keep(f"c{digest.hex()}", len(raw), replace=False)

    @rule(number=st.integers(0, 23), by=st.integers(0, 1))
    def get(self, number: int, by: int) -> None:
        name = f"c{CHUNKS[number][0].hex()}"
        assert self.world.has(self.caches[by], CHUNKS[number]) == (name in self.model)
        if name in self.model:
            self.model.move_to_end(name)

    @rule(number=st.integers(0, 3), size=st.sampled_from(SIZES), by=st.integers(0, 1))
    def put_table(self, number: int, size: int, by: int) -> None:
        pack = pack_of(str(number))
        self.world.clock.advance(1)
        self.caches[by].put_table(pack, bytes(size))
        self.keep(f"t{pack.hex()}", size + PROOF_BYTES, replace=True)

    @rule(number=st.integers(0, 23), content=st.binary(min_size=1, max_size=100))
    def damage(self, number: int, content: bytes) -> None:
        name = f"c{CHUNKS[number][0].hex()}"
        if self.model.pop(name, None) is not None:
            self.world.entries()[name].write_bytes(b"?" + content)
            assert not self.world.has(self.caches[0], CHUNKS[number])

    @invariant()
    def what_is_there_is_what_the_model_says(self) -> None:
        assert self.world.entries().keys() == self.model.keys()
        assert self.world.charged() == sum(self.model.values()) <= ROOM_BYTES

    @invariant()
    def the_disk_holds_no_more_than_the_cap(self) -> None:
        if self.world.root.exists():
            assert disk_bytes(self.world.root) <= OVERHEAD_BYTES + ROOM_BYTES


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
