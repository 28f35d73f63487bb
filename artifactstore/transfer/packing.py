"""Filling packs in walk order and sending each full one in the background.

One thread (the uploader's) adds chunks; sealed packs are verified byte for byte and sent
by a small pool. Only so many pack buffers exist, so a slow store slows the reader down
instead of filling memory.
"""

import threading
from collections import deque
from concurrent.futures import Future

from artifactstore.codec import Codec
from artifactstore.dedup.known import KnownChunks
from artifactstore.dedup.landmarks import landmarks_of
from artifactstore.dedup.packs import GrowingLayout, PackSet
from artifactstore.digest import Buffer, Digest, PackId
from artifactstore.keys import pack_key
from artifactstore.manifest.model import PackRow
from artifactstore.pack.format import MAX_METADATA_BYTES, ChunkKind
from artifactstore.pack.writer import PackBuilder, verify_sealed
from artifactstore.transfer.context import UploadEnvironment

NONCE_BYTES = 16


class PackSender:
    """Adds chunks, all of one kind, to the pack being filled; seals, verifies and sends full ones.

    Args:
        known: Told of every content chunk that is added; it must not know it yet.

    Attributes:
        landmarks: Of the packs sealed so far.
    """

    def __init__(self, environment: UploadEnvironment, packs: PackSet, known: KnownChunks) -> None:
        self._env = environment
        self._packs = packs
        self._known = known
        self._spare: list[PackBuilder] = []
        self._builders_left = environment.packs_in_flight + 1
        self._sending: deque[tuple[Future[None], PackBuilder]] = deque()
        self._builder: PackBuilder | None = None
        self._number = -1
        self._lock = threading.Lock()
        self._layout = GrowingLayout()
        self.landmarks: list[tuple[Digest, PackId]] = []
        self.sent_bytes = 0
        self.sent_packs = 0

    def add(
        self, *, kind: ChunkKind, digest: Digest, codec: Codec, encoded: Buffer, raw_length: int
    ) -> tuple[int, int, int, int]:
        """Append one encoded chunk.

        Returns:
            (number of the pack, number of the chunk in it, offset of its record, bytes of its record).
        """
        builder = self._builder
        if builder is None or not builder.fits(len(encoded)):
            if builder is not None:
                self.seal()
            builder = self._open()
        added = builder.add(kind=kind, digest=digest, codec=codec, encoded=encoded, raw_length=raw_length)
        self._layout.append(added.stored_length, raw_length)
        if kind == ChunkKind.CONTENT:
            self._known.add_new(digest, self._number, added.number)
        return self._number, added.number, added.offset, added.stored_length

    def seal(self) -> None:
        """Close the pack being filled, if there is one, and send it. It has its name once `flush` returns."""
        builder, self._builder = self._builder, None
        if builder is not None:
            self._sending.append((self._env.transfers.submit(self._send, builder, self._number), builder))

    def flush(self) -> None:
        """Seal, and wait until every pack is stored.

        Raises:
            BackendError: A pack could not be stored.
            CorruptData: A pack did not decode to what was put into it (a hardware fault).
        """
        self.seal()
        while self._sending:
            self._await_one()

    def abandon(self) -> None:
        """Wait for what is under way, whatever becomes of it; nothing is removed from the store."""
        for future, _ in self._sending:
            future.cancel()
        for future, _ in self._sending:
            if not future.cancelled():
                future.exception()
        self._sending.clear()

    def _open(self) -> PackBuilder:
        while self._sending and self._sending[0][0].done():
            self._await_one()
        if not self._spare and self._builders_left == 0:
            self._await_one()
        nonce = self._env.clock.random_bytes(NONCE_BYTES)
        if self._spare:
            builder = self._spare.pop()
            builder.reset(nonce)
        else:
            self._builders_left -= 1
            builder = PackBuilder(store_id=self._env.store_id, nonce=nonce)
        self._builder = builder
        self._number, self._layout = self._packs.begin()
        return builder

    def _await_one(self) -> None:
        future, builder = self._sending.popleft()
        future.result()
        self._spare.append(builder)

    def _send(self, builder: PackBuilder, number: int) -> None:
        sealed = builder.seal()
        # Over the very bytes that are handed on: a codec or memory fault is found before it is stored.
        verify_sealed(sealed, max_raw_length=MAX_METADATA_BYTES)
        row = PackRow(sealed.pack, len(sealed.body), sealed.table_bytes, 0)
        self._env.backend.put(pack_key(sealed.pack), sealed.body)
        self._env.on_put(row, sealed.table.kind(0))
        with self._lock:
            self._packs.settle(number, row)
            self.landmarks += [(digest, sealed.pack) for digest in landmarks_of(sealed.table)]
            self.sent_bytes += row.object_bytes
            self.sent_packs += 1
