"""What init asks of a storage before it makes a store there."""

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.fault import ErrorBefore, Fault, FaultBackend, LongBody, WrongBody
from artifactstore.errors import StoreReadOnly
from artifactstore.initialise import initialise
from artifactstore.keys import STORE
from artifactstore.testing.clock import VirtualClock
from artifactstore.transaction.records import Writers


def test_a_storage_with_everything_becomes_a_store_once() -> None:
    memory, clock = MemoryBackend(), VirtualClock()
    first = initialise("memory://x", memory, clock, single_writer=False)
    again = initialise("memory://x", memory, clock, single_writer=False)
    assert (first.is_new, again.is_new) == (True, False)
    assert first.record == again.record
    assert first.record.writers is Writers.MANY
    assert list(memory.keys()) == [STORE]  # no probe stays


@pytest.mark.parametrize("action", [ErrorBefore(), WrongBody(), LongBody(300)], ids=["error", "wrong", "whole"])
def test_a_storage_without_ranged_reads_is_refused_even_for_one_writer(
    action: ErrorBefore | WrongBody | LongBody,
) -> None:
    memory, clock = MemoryBackend(), VirtualClock()
    backend = FaultBackend(memory, faults=[Fault(verb="get_range", action=action, times=None)])
    with pytest.raises(StoreReadOnly, match="range of an object"):
        initialise("memory://x", backend, clock, single_writer=True)
    assert not list(memory.keys())


def test_a_storage_where_writers_overwrite_each_other_needs_the_word_for_it() -> None:
    clock = VirtualClock()
    memory = MemoryBackend(has_put_if_absent=False)
    with pytest.raises(StoreReadOnly, match="only one may write at a time"):
        initialise("memory://x", memory, clock, single_writer=False)
    assert not list(memory.keys())
    assert initialise("memory://x", memory, clock, single_writer=True).record.writers is Writers.SINGLE
