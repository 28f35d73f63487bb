"""The outcome of a transaction: the one decision, written once, never changed or removed."""

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock, timestamp
from artifactstore.errors import CommitStateUnknown, ObjectNotFound, TransientBackendError
from artifactstore.keys import TX_ID_BYTES, TxId, outcome_key
from artifactstore.transaction.conditional import Lost, put_once
from artifactstore.transaction.records import (
    OutcomeRecord,
    OutcomeState,
    decode_record,
    encode_record,
    fresh_nonce,
)


def fresh_tx(clock: Clock) -> TxId:
    return TxId(clock.random_bytes(TX_ID_BYTES).hex())


def read_outcome(backend: Backend, tx: TxId) -> OutcomeRecord | None:
    """How ``tx`` was decided; None while it is not.

    Raises:
        CorruptData, UnsupportedFormat: It can't be read as an outcome.
    """
    key = outcome_key(tx)
    try:
        body = backend.get(key)
    except ObjectNotFound:
        return None
    return decode_record(OutcomeRecord, body, key=key)


def decide(backend: Backend, clock: Clock, tx: TxId, outcome: OutcomeRecord) -> OutcomeRecord:
    """Put ``outcome`` unless ``tx`` is decided, and say how it is decided now.

    Raises:
        CommitStateUnknown: It may have been decided so.
    """
    key = outcome_key(tx)
    match put_once(backend, clock, key, encode_record(outcome)):
        case Lost(body):
            return decode_record(OutcomeRecord, body, key=key)
        case _:
            return outcome


def fence(backend: Backend, clock: Clock, tx: TxId, *, reason: str) -> OutcomeRecord:
    """Make sure that an undecided ``tx`` can never commit. Always safe: a committed one stays committed.

    Returns:
        How the transaction is decided now.

    Raises:
        TransientBackendError: That could not be found out.
    """
    fenced = OutcomeRecord(
        nonce=fresh_nonce(clock), state=OutcomeState.FENCED, created=timestamp(clock.now()), reason=reason
    )
    try:
        return decide(backend, clock, tx, fenced)
    except CommitStateUnknown as error:
        # It is not our commit that is in doubt.
        raise TransientBackendError(f"could not fence transaction {tx}", where=outcome_key(tx)) from error
