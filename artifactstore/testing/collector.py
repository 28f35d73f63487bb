"""A scripted collector: runs of garbage collection, whole or step by step, for tests of uploads.

It does what docs/protocol.md demands of a collector and nothing clever: no caches, one
request after the other, and condemned packs may be given by the test, needed or not.
Like a real one it keeps nothing of its own between steps, so any step of a run can be done
by another `Collector`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock
from artifactstore.digest import Buffer, PackId
from artifactstore.errors import CorruptData, ObjectNotFound
from artifactstore.keys import (
    DELETED_SUFFIX,
    PACKS,
    TRANSACTIONS,
    TxId,
    pack_key,
    parse_pack_key,
    parse_tx_id,
    root_key,
    run_key,
)
from artifactstore.manifest.format import decode_root
from artifactstore.transaction.conditional import Lost, put_once
from artifactstore.transaction.outcomes import fence, read_outcome
from artifactstore.transaction.records import NONCE_BYTES, OutcomeRecord
from artifactstore.transaction.runs import decode_condemned, encode_condemned, look

WEEK_SECONDS: Final = 7 * 24 * 3600.0
DAY_SECONDS: Final = 24 * 3600.0


def packs_of_root(body: Buffer) -> frozenset[PackId]:
    """Every pack that a root names."""
    return frozenset(PackId(row.pack) for row in decode_root(body).packs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A transaction as one look at it found it.

    Attributes:
        live: Undecided with a root, or committed without a tombstone: its packs are needed.
        root_modified: When its root was put, by the store's clock; None where it has none.
    """

    tx: TxId
    outcome: OutcomeRecord | None
    live: bool
    root_modified: float | None


class Collector:
    """One collector.

    Args:
        packs_of: Which packs a root needs.
        stale_seconds: Undecided transactions and packs older than this, by the store's clock, may be collected.
    """

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        *,
        packs_of: Callable[[Buffer], frozenset[PackId]] = packs_of_root,
        stale_seconds: float = WEEK_SECONDS,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._packs_of = packs_of
        self._stale_seconds = stale_seconds

    # The store as it is

    def transactions(self) -> tuple[Transaction, ...]:
        """All of them, looked at one by one after one listing. Any error stops the collection."""
        roots: dict[TxId, float | None] = {}
        for info in self._backend.list(TRANSACTIONS):
            _, _, rest = info.key.removeprefix(TRANSACTIONS).partition("/")
            tx_text, _, record = rest.partition("/")
            tx = parse_tx_id(tx_text)
            roots.setdefault(tx, None)
            if record == "root":
                roots[tx] = info.modified
        return tuple(self._look(tx, modified) for tx, modified in roots.items())

    def _look(self, tx: TxId, root_modified: float | None) -> Transaction:
        outcome = read_outcome(self._backend, tx)
        if outcome is None:
            live = root_modified is not None
        else:
            live = outcome.committed and not self._exists(outcome.slot + DELETED_SUFFIX)
        return Transaction(tx=tx, outcome=outcome, live=live, root_modified=root_modified)

    def needed(self) -> frozenset[PackId]:
        """What any transaction that is live now needs."""
        return frozenset().union(*(self._needs(t.tx) for t in self.transactions() if t.live))

    def _needs(self, tx: TxId) -> frozenset[PackId]:
        try:
            return self._packs_of(self._backend.get(root_key(tx)))
        except ObjectNotFound:
            # Another collector may have removed it: then it was dead, and says so.
            if self._look(tx, None).live:
                raise CorruptData("the root of a live transaction is gone", key=root_key(tx)) from None
            return frozenset()

    def _exists(self, key: str) -> bool:
        try:
            self._backend.head(key)
        except ObjectNotFound:
            return False
        return True

    # Steps of a run, in order

    def fence_stale(self) -> tuple[TxId, ...]:
        """Fence the undecided transactions whose root is older than the limit."""
        limit = self._clock.now() - self._stale_seconds
        stale = [
            t.tx
            for t in self.transactions()
            if t.outcome is None and t.root_modified is not None and t.root_modified <= limit
        ]
        for tx in stale:
            fence(self._backend, self._clock, tx, reason="undecided for too long")
        return tuple(stale)

    def old_packs(self) -> frozenset[PackId]:
        """Packs older than the limit that nothing live needs."""
        limit = self._clock.now() - self._stale_seconds
        old = [parse_pack_key(info.key) for info in self._backend.list(PACKS) if info.modified <= limit]
        return frozenset(pack for pack in old if pack is not None) - self.needed()

    def condemn(self, packs: Collection[PackId] | None = None) -> int | None:
        """Start the next run, by its `list`; None where the run before it is not done, or another was first.

        Args:
            packs: What to condemn, needed or not; by default `old_packs`.
        """
        chosen = self.old_packs() if packs is None else packs
        view = look(self._backend)
        if view.runs and not view.runs[0].has_done:
            return None
        number = view.runs[0].number + 1 if view.runs else 0
        return number if self._put_list(number, "list", chosen) == frozenset(chosen) else None

    def decide(self, run: int) -> frozenset[PackId]:
        """List the transactions *now*, spare what the live ones need, and put the final list, unless it is there."""
        return self.decide_sparing(run, self.needed())

    def decide_sparing(self, run: int, needed: Collection[PackId]) -> frozenset[PackId]:
        """The second half of `decide`, for tests that let time pass after the listing."""
        condemned = self._read_list(run, "list")
        return self._put_list(run, "delete", condemned.difference(needed))

    def delete(self, run: int) -> None:
        """Delete exactly what the final list names."""
        for pack in sorted(self._read_list(run, "delete")):
            self._backend.delete(pack_key(pack))

    def finish(self, run: int) -> bool:
        """Put `done`, if every pack of the final list is confirmed absent."""
        if any(self._exists(pack_key(pack)) for pack in self._read_list(run, "delete")):
            return False
        put_once(self._backend, self._clock, run_key(run, "done"), self._clock.random_bytes(NONCE_BYTES))
        return True

    def remove_dead_roots(self, dead: Collection[TxId]) -> None:
        """Remove the roots of transactions that were dead before the run began."""
        for tx in sorted(dead):
            if not self._look(tx, 0.0).live:
                self._backend.delete(root_key(tx))

    # Whole runs

    def collect(self, packs: Collection[PackId] | None = None, *, grace_seconds: float = DAY_SECONDS) -> int | None:
        """One run, or the rest of one that somebody left unfinished.

        Returns:
            Its number; None where it could not be started or finished.
        """
        self.fence_stale()
        dead = [t.tx for t in self.transactions() if not t.live and t.root_modified is not None]
        view = look(self._backend)
        if view.runs and not view.runs[0].has_done:
            run: int | None = view.runs[0].number
        else:
            run = self.condemn(packs)
            self._clock.sleep(grace_seconds)
        if run is None:
            return None
        self.decide(run)
        self.delete(run)
        if not self.finish(run):
            return None
        self.remove_dead_roots(dead)
        return run

    def _put_list(self, run: int, record: str, packs: Collection[PackId]) -> frozenset[PackId]:
        key = run_key(run, record)
        body = encode_condemned(packs, nonce=self._clock.random_bytes(NONCE_BYTES))
        match put_once(self._backend, self._clock, key, body):
            case Lost(theirs):
                return frozenset(decode_condemned(theirs, key=key))
            case _:
                return frozenset(packs)

    def _read_list(self, run: int, record: str) -> frozenset[PackId]:
        key = run_key(run, record)
        return frozenset(decode_condemned(self._backend.get(key), key=key))
