"""Packs filled in order and sent in the background: how many buffers there are, what fails, what is told."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.fault import ErrorBefore, Fault, FaultBackend
from artifactstore.chunking import DEFAULT_CUT
from artifactstore.codec import Codec, Compression
from artifactstore.dedup.known import KnownChunks
from artifactstore.dedup.packs import PackSet
from artifactstore.digest import CHUNK_CONTEXT, Buffer, Digest, PackId, digest_of
from artifactstore.errors import TransientBackendError
from artifactstore.keys import pack_key, parse_pack_key
from artifactstore.manifest.model import PackRow
from artifactstore.pack.format import ChunkKind, parse_pack
from artifactstore.testing.clock import VirtualClock
from artifactstore.testing.stores import small_limits
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transfer.context import Reuse, UploadEnvironment
from artifactstore.transfer.found import OnError
from artifactstore.transfer.packing import PackSender
from artifactstore.transfer.progress import NULL_PROGRESS


class Slow(MemoryBackend):
    """Puts wait until they may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go_on = threading.Event()

    def put(self, key: str, body: Buffer) -> None:
        assert self.may_go_on.wait(10)
        super().put(key, body)


@dataclass
class Sending:
    """A sender over some storage, and what it told."""

    backend: MemoryBackend | FaultBackend
    packs_in_flight: int = 2
    told: list[tuple[PackRow, ChunkKind]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = ThreadPoolExecutor(3)
        self.known = KnownChunks()
        self.packs = PackSet(self.backend, recorded=lambda _: None, adopt=lambda _: None)
        environment = UploadEnvironment(
            backend=self.backend,
            clock=VirtualClock(),
            store_id=bytes(16),
            cut=DEFAULT_CUT,
            compression=Compression.AUTO,
            reuse=Reuse.ALL,
            on_error=OnError.FAIL,
            work=self.pool,
            transfers=self.pool,
            packs_in_flight=self.packs_in_flight,
            on_put=lambda row, kind: self.told.append((row, kind)),
            progress=NULL_PROGRESS,
        )
        self.sender = PackSender(environment, self.packs, self.known)

    def add(self, raw: bytes) -> tuple[Digest, tuple[int, int, int, int]]:
        digest = digest_of(CHUNK_CONTEXT, raw)
        place = self.sender.add(
            kind=ChunkKind.CONTENT, digest=digest, codec=Codec.RAW, encoded=raw, raw_length=len(raw)
        )
        return digest, place


@pytest.fixture
def start() -> Iterator[Callable[..., Sending]]:
    made: list[Sending] = []

    def make(backend: MemoryBackend | FaultBackend, **options: int) -> Sending:
        made.append(Sending(backend, **options))
        return made[-1]

    with small_limits(pack_bytes=4096):
        yield make
    for sending in made:
        sending.pool.shutdown()


CHUNKS = [seeded_bytes(str(n), 700) for n in range(40)]


def test_every_chunk_lies_where_it_was_said_to(start: Callable[..., Sending]) -> None:
    memory = MemoryBackend()
    sending = start(memory)
    places = [sending.add(raw) for raw in CHUNKS]
    sending.sender.flush()
    assert sending.sender.sent_packs > 4
    for raw, (digest, (number, chunk, offset, stored_length)) in zip(CHUNKS, places, strict=True):
        pack = sending.packs.id_of(number)
        body = memory.get(pack_key(pack))
        table = parse_pack(pack, memoryview(body))
        assert table.digest(chunk) == digest
        assert table.slice_extent(chunk, 1) == (offset, stored_length, len(raw))
        assert sending.packs.layout(number).slice_extent(chunk, 1) == (offset, stored_length, len(raw))
        assert bytes(body[offset : offset + stored_length]).endswith(raw)
        assert sending.known.lookup(digest) == (number, chunk)


def test_each_pack_is_told_when_it_was_answered_and_counted(start: Callable[..., Sending]) -> None:
    memory = MemoryBackend()
    sending = start(memory)
    for raw in CHUNKS:
        sending.add(raw)
    sending.sender.flush()
    assert {pack_key(PackId(row.pack)) for row, _ in sending.told} == set(memory.keys())
    assert {kind for _, kind in sending.told} == {ChunkKind.CONTENT}
    assert sending.sender.sent_bytes == sum(len(memory.get(key)) for key in memory.keys())  # noqa: SIM118
    assert [row.object_bytes for row, _ in sending.told] == [
        len(memory.get(pack_key(PackId(row.pack)))) for row, _ in sending.told
    ]


def test_pack_of_nothing_is_not_sent(start: Callable[..., Sending]) -> None:
    memory = MemoryBackend()
    sending = start(memory)
    sending.sender.flush()
    sending.sender.seal()
    assert not memory.keys()


def test_pack_has_no_name_before_it_is_stored(start: Callable[..., Sending]) -> None:
    slow = Slow()
    sending = start(slow)
    _, (number, *_) = sending.add(CHUNKS[0])
    sending.sender.seal()
    with pytest.raises(LookupError):
        sending.packs.id_of(number)
    slow.may_go_on.set()
    sending.sender.flush()
    assert parse_pack_key(pack_key(sending.packs.id_of(number))) in {row.pack for row, _ in sending.told}


def test_slow_storage_slows_the_reader_down_instead_of_filling_memory(start: Callable[..., Sending]) -> None:
    slow = Slow()
    sending = start(slow, packs_in_flight=2)
    added = 0
    reader_done = threading.Event()

    def read() -> None:
        nonlocal added
        for raw in CHUNKS:
            sending.add(raw)
            added += 1
        sending.sender.flush()
        reader_done.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert not reader_done.wait(0.1)
    # Five chunks fill a pack: two packs in flight, one being filled, one chunk that waits for a buffer.
    assert added <= 3 * 5
    slow.may_go_on.set()
    reader.join(10)
    assert reader_done.is_set()
    assert sending.sender.sent_packs == len(slow.keys())


def test_pack_that_can_not_be_stored_fails_the_sender_and_is_not_told(start: Callable[..., Sending]) -> None:
    faulty = FaultBackend(MemoryBackend(), faults=[Fault(verb="put", nth=2, action=ErrorBefore())])
    sending = start(faulty)
    with pytest.raises(TransientBackendError):
        for raw in CHUNKS:
            sending.add(raw)
        sending.sender.flush()
    sending.sender.abandon()
    assert len(sending.told) == sending.sender.sent_packs
    stored = {request.key for request in faulty.requests} - {request.key for request in faulty.hits}
    assert {pack_key(PackId(row.pack)) for row, _ in sending.told} <= stored


def test_abandoned_sender_leaves_nothing_running(start: Callable[..., Sending]) -> None:
    slow = Slow()
    sending = start(slow)
    for raw in CHUNKS[:11]:
        sending.add(raw)
    slow.may_go_on.set()
    sending.sender.abandon()
    before = slow.keys()
    sending.pool.shutdown()
    assert slow.keys() == before
    assert len(sending.told) == len(before)


def test_chunk_longer_than_a_pack_has_one_of_its_own(start: Callable[..., Sending]) -> None:
    memory = MemoryBackend()
    sending = start(memory)
    long = seeded_bytes("long", 9000)
    places = [sending.add(raw)[1] for raw in (CHUNKS[0], long, CHUNKS[1])]
    sending.sender.flush()
    assert [number for number, *_ in places] == [0, 1, 2]
    assert sorted(map(len, map(memory.get, memory.keys())))[-1] > 9000
