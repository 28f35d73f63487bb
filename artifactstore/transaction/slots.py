"""Taking the next slot of a name, and deciding the slots below it."""

from typing import Final

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock
from artifactstore.errors import CommitStateUnknown, TransientBackendError
from artifactstore.keys import NameKeys
from artifactstore.names import Name
from artifactstore.transaction.conditional import Backoff, Won, put_once
from artifactstore.transaction.outcomes import fence, read_outcome
from artifactstore.transaction.records import OutcomeRecord, SlotRecord, encode_record
from artifactstore.transaction.versions import SHORT_PAGE, SlotState, Version, confirm, list_slots, read_slot

PENDING_SECONDS: Final = 30.0
_TAKING_SECONDS: Final = 300.0
_LOSSES_BEFORE_LOOKING: Final = 3


def take_slot(backend: Backend, clock: Clock, name: Name, record: SlotRecord, *, first: int) -> int:
    """Step (6): put the slot under the lowest number that is free, and return it.

    Slot N is tried only when N-1 exists: ``first`` is one above a slot that was seen, or 1.

    Raises:
        TransientBackendError: Not within five minutes, or it can't be found out. No version was made.
    """
    keys = NameKeys(name)
    body = encode_record(record)
    backoff = Backoff(clock, deadline_seconds=_TAKING_SECONDS)
    number, losses = first, 0
    while True:
        try:
            if isinstance(put_once(backend, clock, keys.slot(number), body), Won):
                return number
        except CommitStateUnknown as error:
            # A slot alone makes no version: only the outcome does, and that was not put.
            raise TransientBackendError(f"could not take slot {number} of {name}", where=keys.slot(number)) from error
        number, losses = number + 1, losses + 1
        if losses % _LOSSES_BEFORE_LOOKING == 0:
            # A crowd: wait for a moment, then go on above everybody who came meanwhile.
            if not backoff.wait():
                raise TransientBackendError(f"could not take a slot of {name}: others take them all the time")
            number = max(number, highest_slot(backend, name) + 1)


def highest_slot(backend: Backend, name: Name) -> int:
    """The highest slot, of whatever state; 0 for none. One short page."""
    return next((state.number for state in list_slots(backend, name, page_size=SHORT_PAGE)), 0)


def live_rival(backend: Backend, clock: Clock, name: Name, *, below: int) -> Version | None:
    """The highest committed live version among the slots under ``below``, once each of them is decided.

    A pending slot is awaited 30 s by the clock, counted from the first look for all of them, then
    its transaction is fenced. No request where ``below`` is 1.
    """
    backoff = Backoff(clock, deadline_seconds=PENDING_SECONDS)
    pending: list[tuple[SlotState, SlotRecord]] = []
    rival: Version | None = None
    if below > 1:
        for state in list_slots(backend, name, below=below):
            if state.deleted:
                continue  # only committed versions are: it is decided
            record = read_slot(backend, name, state.number)
            outcome = read_outcome(backend, record.tx_id)
            if outcome is None:
                pending.append((state, record))
            elif (rival := confirm(name, state, record, outcome)) is not None:
                break
    # Whether a version stands or not, one is enough; the pending ones above it may still become it.
    while pending and rival is None:
        if not backoff.wait():
            return _fence_pending(backend, clock, name, pending)
        rival, pending = _look_again(backend, name, pending)
    return rival


def _look_again(
    backend: Backend, name: Name, pending: list[tuple[SlotState, SlotRecord]]
) -> tuple[Version | None, list[tuple[SlotState, SlotRecord]]]:
    left = []
    for state, record in pending:
        outcome = read_outcome(backend, record.tx_id)
        if outcome is None:
            left.append((state, record))
        elif (version := confirm(name, state, record, outcome)) is not None:
            return version, []
    return None, left


def _fence_pending(
    backend: Backend, clock: Clock, name: Name, pending: list[tuple[SlotState, SlotRecord]]
) -> Version | None:
    """Fence what did not decide itself; a version where one of them committed after all."""
    for state, record in pending:
        outcome: OutcomeRecord = fence(backend, clock, record.tx_id, reason=f"awaited by a push to {name}")
        if (version := confirm(name, state, record, outcome)) is not None:
            return version
    return None
