"""An opened store, as pushes and pulls need it."""

import enum
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from artifactstore.backend.protocol import Backend
from artifactstore.chunking import CutFunction
from artifactstore.clock import Clock
from artifactstore.codec import Compression
from artifactstore.dedup.state import LocalState
from artifactstore.manifest.model import PackRow
from artifactstore.pack.format import ChunkKind
from artifactstore.transfer.found import OnError
from artifactstore.transfer.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreContext:
    """What is the same for every transfer.

    Attributes:
        url: Where the store is, without secrets.
        work: Hashes, compresses and decodes: about as many threads as there are cores.
        requests: Talks to the storage: as many threads as requests may run at once.
        memory_bytes: Budget for buffers.
    """

    backend: Backend
    clock: Clock
    url: str
    store_id: bytes
    cut: CutFunction
    state: LocalState
    work: Executor
    requests: Executor
    memory_bytes: int


class Reuse(enum.Enum):
    """What of the store an upload may build on."""

    ALL = "all"
    NOTHING = "nothing"  # everything is sent again: what is damaged in the store is in nothing that is new


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadEnvironment:
    """What an upload works with.

    Attributes:
        work: Hashes and compresses.
        transfers: Sends and asks; verification of packs runs here too.
        on_error: What happens about source files that can't be read.
        packs_in_flight: How many sealed packs may wait for the storage at once.
        on_put: Told of each pack whose PUT was answered, and what kind of chunks it holds.
    """

    backend: Backend
    clock: Clock
    store_id: bytes
    cut: CutFunction
    compression: Compression
    reuse: Reuse
    on_error: OnError
    work: Executor
    transfers: Executor
    packs_in_flight: int
    on_put: Callable[[PackRow, ChunkKind], None]
    progress: Progress
