"""The small JSON records of the protocol: what each says, how it is read and written.

    store.json                StoreRecord      what kind of store this is
    store/<k>                 StoreSettings    later settings, the newest counts
    names/…/v/<slot>          SlotRecord       one numbered version: hints for people, and its transaction
    tx/…/outcome              OutcomeRecord    committed or fenced: the one decision
    names/…/v/<slot>.deleted  Tombstone        the version is deleted, for ever
    names/…/meta/<slot>/<k>   EditRecord       the k-th later edit of what is noted on a version; the newest counts
    names/…/alias/<a>/<k>     AliasRecord      the k-th move of an alias
    names/…/used/<slot>/<d>   UseRecord        who used a version: a hint
    names/…/.folder/<i>/<k>.* FolderRecord     a folder was made or removed; a name was removed
    jobs/<job>/made/<tx>      JobVersionRecord a version that a job made, …/used/<tx> one that it used: hints

All are UTF-8 JSON objects of at most 1 MiB. All have three fields beside their own:
`format` (1), `required_features` and `nonce` (32 hexadecimal digits, random), which makes
every body that was ever written different from every other: whoever reads a key back
knows whether it was his write that won.

Forward compatibility: a reader ignores fields that it does not know. A writer whose new
field changes what a record *means* names a feature in `required_features`; a reader that
does not know that feature refuses the record (`UnsupportedFormat`).
This module turns bytes into values and back. It does no I/O.
"""

import datetime
import enum
import re
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from artifactstore.clock import Clock
from artifactstore.digest import Buffer, Digest, parse_digest
from artifactstore.errors import CorruptData, UnsupportedFormat
from artifactstore.keys import TxId, parse_tx_id

FORMAT: Final = 1
KNOWN_FEATURES: Final[frozenset[str]] = frozenset()
MAX_RECORD_BYTES: Final = 1 << 20
NONCE_BYTES: Final = 16
DIGEST_NAME: Final = "blake3-256"
_NONCE: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What every record has."""

    format: int = FORMAT
    required_features: tuple[str, ...] = ()
    nonce: str

    def __post_init__(self) -> None:
        if not _NONCE.fullmatch(self.nonce):
            raise ValueError("nonce: not 32 lower-case hexadecimal digits")


class Writers(enum.Enum):
    """How many may write at once: decided by `init`, from what the storage proved."""

    MANY = "many"
    SINGLE = "single"


class StoreRecord(Record, frozen=True, kw_only=True):
    """`store.json`.

    Attributes:
        store_id: 32 hexadecimal digits; pinned by clients, stands in every pack.
        digest: The digest algorithm, `blake3-256`.
        cut: The cut function of pushes, as text.
        writers: Whether put-if-absent was proved.
        folds_case: Names that differ only in case are one name here.
        created: When, RFC 3339.
    """

    store_id: str
    digest: str = DIGEST_NAME
    cut: str
    writers: Writers
    folds_case: bool = False
    created: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _NONCE.fullmatch(self.store_id):
            raise ValueError("store_id: not 32 lower-case hexadecimal digits")

    @property
    def store_id_bytes(self) -> bytes:
        """The 16 bytes that stand in pack headers."""
        return bytes.fromhex(self.store_id)


class StoreSettings(Record, frozen=True, kw_only=True):
    """`store/<k>`: settings changed since `init`. They bind writers; the newest record counts, whole.

    Attributes:
        cut: Replaces the record's cut function where set.
        writers: Replaces the record's where set.
    """

    cut: str | None = None
    writers: Writers | None = None
    created: str = ""


class GitState(msgspec.Struct, frozen=True, kw_only=True):
    """The git checkout a version was pushed from."""

    commit: str
    branch: str = ""
    remote: str = ""
    dirty: bool = False


class VersionPin(msgspec.Struct, frozen=True, kw_only=True):
    """One version, as exactly as can be said.

    Attributes:
        version: ``name:v3``, as it was called then.
        tx: Its transaction: stays, whatever becomes of the name.
        content: Its content digest, 64 hexadecimal digits.
    """

    version: str
    tx: str
    content: str

    def __post_init__(self) -> None:
        parse_tx_id(self.tx)
        parse_digest(self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What is noted on a version and may be edited later.

    Attributes:
        labels: Without doubles. metadata: a JSON object.
        expires: From when on readers refuse the version unless asked, RFC 3339; empty for never.
    """

    message: str = ""
    labels: tuple[str, ...] = ()
    metadata: dict[str, object] = field(default_factory=dict)
    expires: str = ""

    def has_expired(self, now_seconds: float) -> bool:
        """Whether the version's time is over, at a time in seconds since the epoch."""
        return bool(self.expires) and parse_expiry(self.expires) <= now_seconds


class SlotRecord(Record, frozen=True, kw_only=True):
    """One numbered version of a name. Every field but ``tx`` is a hint: outcome and root decide.

    Attributes:
        tx: The transaction. It is this version's only if its committed outcome names this slot.
        content: The content digest, 64 hexadecimal digits.
        created: When, by the uploader's clock, RFC 3339.
        who, host: User and machine.
        expires: From when on readers refuse it unless asked, RFC 3339; empty for never.
        made_by: Id of the job that made it, or empty.
        made_from: The versions it was made from.
        moved_from: The version that this one was, under another name.
        content_bytes: Of all files. stored_bytes: of the packs it uses, as far as it uses them. new_bytes: sent
            by this upload.
    """

    tx: str
    content: str
    created: str
    who: str = ""
    host: str = ""
    message: str = ""
    git: GitState | None = None
    labels: tuple[str, ...] = ()
    metadata: dict[str, object] = {}
    expires: str = ""
    made_by: str = ""
    made_from: tuple[VersionPin, ...] = ()
    moved_from: VersionPin | None = None
    files: int = 0
    directories: int = 0
    links: int = 0
    references: int = 0
    content_bytes: int = 0
    stored_bytes: int = 0
    new_bytes: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_tx_id(self.tx)
        parse_digest(self.content)
        if self.expires:
            parse_expiry(self.expires)

    @property
    def notes(self) -> Notes:
        """What was noted on it when it was made."""
        return _notes(self)

    @property
    def tx_id(self) -> TxId:
        return TxId(self.tx)

    @property
    def content_digest(self) -> Digest:
        return parse_digest(self.content)


class EditRecord(Record, frozen=True, kw_only=True):
    """One later edit of what is noted on a version: all of it, as it is from then on.

    Attributes:
        tx: The version's transaction.
        created: When it was edited. who, host: by whom.
    """

    tx: str
    created: str
    who: str = ""
    host: str = ""
    message: str = ""
    labels: tuple[str, ...] = ()
    metadata: dict[str, object] = {}
    expires: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_tx_id(self.tx)
        if self.expires:
            parse_expiry(self.expires)

    @property
    def notes(self) -> Notes:
        """What is noted on the version from this edit on."""
        return _notes(self)


def _notes(record: SlotRecord | EditRecord) -> Notes:
    return Notes(message=record.message, labels=record.labels, metadata=record.metadata, expires=record.expires)


class OutcomeState(enum.Enum):
    COMMITTED = "committed"
    FENCED = "fenced"


class OutcomeRecord(Record, frozen=True, kw_only=True):
    """The one decision about a transaction.

    Attributes:
        slot: Key of the slot that is its version; empty where fenced.
        root: Root digest, 64 hexadecimal digits; empty where fenced.
        reason: Why it was fenced, for people.
    """

    state: OutcomeState
    slot: str = ""
    root: str = ""
    created: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.state is OutcomeState.COMMITTED:
            parse_digest(self.root)
            if not self.slot:
                raise ValueError("slot: missing in a committed outcome")

    @property
    def committed(self) -> bool:
        return self.state is OutcomeState.COMMITTED

    @property
    def root_digest(self) -> Digest:
        return parse_digest(self.root)


class Tombstone(Record, frozen=True, kw_only=True):
    """The version is deleted. Final. ``reason`` is for people; ``moved_to`` is what it is now, where it was moved."""

    tx: str
    created: str
    who: str = ""
    host: str = ""
    reason: str = ""
    moved_to: VersionPin | None = None


class AliasRecord(Record, frozen=True, kw_only=True):
    """One move of an alias: to ``slot`` (whose transaction is ``tx``), or, with slot 0, to nothing.

    Attributes:
        protected: It moves on, or goes, only by force.
    """

    slot: int
    tx: str = ""
    protected: bool = False
    created: str
    who: str = ""
    host: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slot < 0:
            raise ValueError("slot: negative")
        if self.slot:
            parse_tx_id(self.tx)


class UseRecord(Record, frozen=True, kw_only=True):
    """Somebody used a version. A hint: of a version that was made from it, that version's own record decides.

    Attributes:
        used: Transaction of the version that was used.
        version: The version made from it; None where a job used it.
        job: Id of the job; empty where a version was made from it.
    """

    used: str
    version: VersionPin | None = None
    job: str = ""
    created: str = ""
    who: str = ""
    host: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_tx_id(self.used)
        if (self.version is None) == (not self.job):
            raise ValueError("either a version or a job, and one of them")


class JobVersionRecord(Record, frozen=True, kw_only=True):
    """A version that a job made, or used. A hint: for what was made, the version's own record decides."""

    version: VersionPin
    created: str


class FolderState(enum.Enum):
    MADE = "made"
    REMOVED = "removed"


class FolderRecord(Record, frozen=True, kw_only=True):
    """A folder was made, or removed again; or a name was removed, with all its versions."""

    state: FolderState
    created: str
    who: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who did it, on which machine, for people."""

    who: str = ""
    host: str = ""


NOBODY: Final = Author()

RecordType = TypeVar("RecordType", bound=Record)


def fresh_nonce(clock: Clock) -> str:
    return clock.random_bytes(NONCE_BYTES).hex()


def encode_record(record: Record) -> bytes:
    """The record as indented JSON.

    Raises:
        ValueError: Over 1 MiB.
    """
    body = msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"
    if len(body) > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {len(body)} bytes, over 1 MiB: shorten message, labels or metadata")
    return body


class _Preamble(msgspec.Struct, frozen=True):
    format: int
    required_features: tuple[str, ...] = ()


def decode_record(kind: type[RecordType], body: Buffer, *, key: str) -> RecordType:
    """Read a record strictly.

    Raises:
        UnsupportedFormat: A newer format, or a required feature that is not known here.
        CorruptData: Anything else that is wrong; the message has the path of the faulty field.
    """
    if len(body) > MAX_RECORD_BYTES:
        raise CorruptData(f"a record of {len(body)} bytes, over the limit of 1 MiB", key=key)
    preamble = _decode(_Preamble, body, key=key)
    unknown = [feature for feature in preamble.required_features if feature not in KNOWN_FEATURES]
    if preamble.format != FORMAT or unknown:
        needs = f"features {', '.join(unknown)}"[:200] if unknown else f"format {preamble.format}"
        raise UnsupportedFormat(f"{_spoken(kind)} needs {needs}, which this version does not know", where=key)
    return _decode(kind, body, key=key)


_Decoded = TypeVar("_Decoded")


def _decode(kind: type[_Decoded], body: Buffer, *, key: str) -> _Decoded:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptData(f"not {_spoken(kind)} that can be read: {error}", key=key) from error


def _spoken(kind: type) -> str:
    """``SlotRecord`` as ``a slot record``."""
    if kind is _Preamble:
        return "a record"
    words = re.sub(r"(?<!^)([A-Z])", r" \1", kind.__name__).lower()
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


# msgspec builds what it knows of a type at its first use, and lets other threads use it half built: they crash.
# So everything is built here, while the module is imported.
for _kind in (_Preamble, *Record.__subclasses__()):
    msgspec.json.Decoder(_kind)


def parse_expiry(text: str) -> float:
    """Seconds since the epoch.

    Raises:
        ValueError: Not RFC 3339 with a time zone.
    """
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("expires: a time without its zone")
    return moment.timestamp()


def parse_timestamp(text: str) -> float | None:
    """Seconds since the epoch of a record's ``created``; None where it is not one (it is only a hint)."""
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
