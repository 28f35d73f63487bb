"""Content that other names have stored already, found by landmarks (design: "Landmarks").

A landmark's hit names a pack and a transaction. Both are hints: the pack counts once the
transaction is found to be a live committed version whose root names it, by requests sent
after this upload looked at `gc/`. Then that pack and its neighbours in the root are learned,
while the upload goes on reading; what was sent before the answer came is stored twice.
"""

import logging
from collections.abc import Iterable
from concurrent.futures import Executor, Future

from artifactstore.backend.protocol import Backend
from artifactstore.dedup.base import TableLoader
from artifactstore.dedup.landmarks import Hint, find_hints, is_landmark
from artifactstore.dedup.packs import PackSet
from artifactstore.digest import Digest, PackId
from artifactstore.errors import ArtifactStoreError, BackendError
from artifactstore.keys import TxId, parse_version_key
from artifactstore.manifest.model import PackRow
from artifactstore.transaction.outcomes import read_outcome
from artifactstore.transaction.roots import load_root
from artifactstore.transaction.versions import read_version, slot_state

_log = logging.getLogger(__name__)
MAX_NEIGHBOURS = 64
MAX_LOOKUPS = 4096


class Neighbours:
    """Looks up the landmarks among new chunks in the background. All methods for the uploader's thread."""

    def __init__(self, backend: Backend, packs: PackSet, tables: TableLoader, pool: Executor, *, cut: str) -> None:
        self._backend = backend
        self._packs = packs
        self._tables = tables
        self._pool = pool
        self._cut = cut
        self._asked: set[Digest] = set()
        self._known_tx: set[TxId] = set()
        self._pending: list[Future[tuple[PackRow, ...]]] = []

    def offer(self, digests: Iterable[Digest]) -> None:
        """New chunks: those that are landmarks are looked up."""
        for digest in digests:
            if is_landmark(digest) and digest not in self._asked and len(self._asked) < MAX_LOOKUPS:
                self._asked.add(digest)
                self._pending.append(self._pool.submit(self._look_up, digest))

    def settle(self) -> None:
        """Learn what lookups have found so far. Reads tables: a request for each pack, several at once."""
        done = [future for future in self._pending if future.done()]
        if not done:
            return
        self._pending = [future for future in self._pending if not future.done()]
        for future in done:
            rows = future.result()
            self._packs.trust(rows)
            try:
                self._tables.load(PackId(row.pack) for row in rows)
            except BackendError as error:
                _log.info("what a landmark led to can't be read: %s", error)

    def close(self) -> None:
        """Nobody waits for the rest."""
        for future in self._pending:
            future.cancel()

    def _look_up(self, digest: Digest) -> tuple[PackRow, ...]:
        """The pack that holds this chunk and its neighbours; nothing where no live version names it."""
        try:
            for hint in find_hints(self._backend, [digest], max_requests=1):
                if hint.tx in self._known_tx:
                    return ()
                if rows := self._live_packs(hint):
                    self._known_tx.add(hint.tx)
                    return rows
        except ArtifactStoreError as error:
            # Another version's damage is not this upload's concern: its content is stored again.
            _log.info("a landmark led nowhere: %s", error)
        return ()

    def _live_packs(self, hint: Hint) -> tuple[PackRow, ...]:
        outcome = read_outcome(self._backend, hint.tx)
        place = parse_version_key(outcome.slot) if outcome is not None and outcome.committed else None
        if place is None:
            return ()
        name, number = place
        state = slot_state(self._backend, name, number)
        version = read_version(self._backend, name, state) if state is not None and not state.deleted else None
        if version is None or version.tx != hint.tx:
            return ()
        root = load_root(self._backend, version)
        named = [row for row in root.packs if row.pack == hint.pack]
        if root.cut != self._cut or not named:
            return ()
        others = [row for row in root.packs if row.pack != hint.pack]
        return (*named, *others[: MAX_NEIGHBOURS - 1])
