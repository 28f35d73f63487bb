"""`store.json` and the settings under `store/`: what kind of store this is."""

from dataclasses import dataclass

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock, timestamp
from artifactstore.errors import ObjectNotFound, StoreNotFound, UnsupportedFormat
from artifactstore.keys import STORE, parse_counted, store_setting_key
from artifactstore.transaction.conditional import Lost, put_once
from artifactstore.transaction.records import (
    DIGEST_NAME,
    NONCE_BYTES,
    StoreRecord,
    StoreSettings,
    Writers,
    decode_record,
    encode_record,
    fresh_nonce,
)

_SETTINGS = "store/"
_SHORT_PAGE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTraits:
    """What `init` decides about a new store.

    Attributes:
        cut: The cut function of pushes, as text.
        writers: Many, if put-if-absent was proved here.
        folds_case: Keys that differ only in case are one object here.
    """

    cut: str
    writers: Writers
    folds_case: bool = False


def create_store(backend: Backend, clock: Clock, *, traits: StoreTraits) -> tuple[StoreRecord, bool]:
    """Put `store.json` unless it is there.

    Returns:
        The record that counts, and whether it is ours: another `init` at the same time may have been first.

    Raises:
        CommitStateUnknown: It may be there.
        CorruptData, UnsupportedFormat: There is one that can't be read.
    """
    record = StoreRecord(
        nonce=fresh_nonce(clock),
        store_id=clock.random_bytes(NONCE_BYTES).hex(),
        cut=traits.cut,
        writers=traits.writers,
        folds_case=traits.folds_case,
        created=timestamp(clock.now()),
    )
    match put_once(backend, clock, STORE, encode_record(record)):
        case Lost(body):
            return _decode(body), False
        case _:
            return record, True


def read_store(backend: Backend) -> StoreRecord:
    """`store.json`. One request.

    Raises:
        StoreNotFound: No store here.
        UnsupportedFormat: A newer format, feature or digest.
        CorruptData: It can't be read.
    """
    try:
        body = backend.get(STORE)
    except ObjectNotFound as error:
        raise StoreNotFound("no store here", where=backend.url) from error
    return _decode(body)


def _decode(body: bytes | bytearray | memoryview) -> StoreRecord:
    record = decode_record(StoreRecord, body, key=STORE)
    if record.digest != DIGEST_NAME:
        raise UnsupportedFormat(f"the store's digest is {record.digest[:80]!r}", where=STORE)
    return record


def read_settings(backend: Backend) -> tuple[int, StoreSettings | None]:
    """The newest settings and their number; (0, None) where `store.json` says all. Writers must heed them.

    One listing, and a request where there are any.
    """
    for info in backend.list(_SETTINGS, page_size=_SHORT_PAGE):
        number = parse_counted(info.key.removeprefix(_SETTINGS))
        if number:
            return number, decode_record(StoreSettings, backend.get(info.key), key=info.key)
    return 0, None


def write_settings(backend: Backend, clock: Clock, *, after: int, settings: StoreSettings) -> bool:
    """Put settings number ``after`` + 1; False where another writer was first: read, and decide again.

    Raises:
        CommitStateUnknown: They may be there.
    """
    return not isinstance(put_once(backend, clock, store_setting_key(after + 1), encode_record(settings)), Lost)
