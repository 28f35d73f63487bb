"""Making a store: find out what the storage can do, then put `store.json`."""

from dataclasses import dataclass

from artifactstore.backend.proof import folds_case, has_ranged_reads, prove_put_if_absent
from artifactstore.backend.protocol import Backend
from artifactstore.backend.table import create_local_root
from artifactstore.chunking import DEFAULT_CUT
from artifactstore.clock import Clock
from artifactstore.errors import StoreNotFound, StoreReadOnly
from artifactstore.transaction.records import StoreRecord, Writers
from artifactstore.transaction.store_record import StoreTraits, create_store, read_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialised:
    """Attributes: record: what counts now. is_new: whether this call made it, or found it there."""

    record: StoreRecord
    is_new: bool


def initialise(url: str, backend: Backend, clock: Clock, *, single_writer: bool) -> Initialised:
    """Make a store at ``url``, unless there is one.

    A race of 16 writers shows whether put-if-absent holds. Where it does not, only one writer at
    a time is safe, and the store is made only if ``single_writer`` accepts that.

    Raises:
        StoreReadOnly: One writer at a time only, and that was not accepted; or no ranged reads. Nothing was written.
        BackendError: The storage can't be written or read.
    """
    create_local_root(url, clock=clock)
    try:
        return Initialised(record=read_store(backend), is_new=False)
    except StoreNotFound:
        pass
    if not has_ranged_reads(backend, clock):
        raise StoreReadOnly(
            "this storage does not answer requests for a range of an object, and a store can't be read without",
            where=backend.url,
            next_step="Use other storage; `artifactstore doctor URL` says more.",
        )
    writers = Writers.MANY if prove_put_if_absent(backend, clock) else Writers.SINGLE
    if writers is Writers.SINGLE and not single_writer:
        raise StoreReadOnly(
            "this storage lets two writers win the same key, so only one may write at a time",
            where=backend.url,
            next_step="Accept that with `artifactstore --single-writer init URL`, or use other storage; "
            "`artifactstore doctor URL` says more.",
        )
    traits = StoreTraits(cut=str(DEFAULT_CUT), writers=writers, folds_case=folds_case(backend, clock))
    record, is_new = create_store(backend, clock, traits=traits)
    return Initialised(record=record, is_new=is_new)
