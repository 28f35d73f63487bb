"""The keys of all objects of a store, below its root (docs/format.md, "Keys").

Numbers in keys are written as 10**16-1-n, sixteen digits, then `-n` (n = 3:
`9999999999999996-3`): the newest lists first. Slots, moves, edits and settings count from
1, runs of a collection from 0. Every parser takes the one spelling and refuses others.
"""

import enum
import re
from typing import Final, NamedTuple, NewType

from artifactstore.digest import PACK_ID_BYTES, Digest, PackId
from artifactstore.errors import InvalidName
from artifactstore.names import JOBS, JobName, Name, decode_job_text, encode_job_text

TxId = NewType("TxId", str)
"""A transaction: 32 lower-case hexadecimal digits, random."""

TX_ID_BYTES: Final = 16
MAX_KEY_BYTES: Final = 900
STORE: Final = "store.json"
GC: Final = "gc/"
NAMES: Final = "names/"
PACKS: Final = "packs/"
TRANSACTIONS: Final = "tx/"
JOB_RECORDS: Final = "jobs/"
DELETED_SUFFIX: Final = ".deleted"
EDITED_SUFFIX: Final = ".edited"
_TOP: Final = 10**16 - 1
_COUNTED: Final = re.compile(r"([0-9]{16})-(0|[1-9][0-9]{0,15})", re.ASCII)
_LABEL: Final = re.compile(
    r"labels/(?P<label>[^/]+)/(?P<folder>(?:[^/@]+/)*)@(?P<last>[^/@]+)/(?P<slot>[^/]+)/(?P<number>[^/.]+)\.(?P<state>on|off)",
    re.ASCII,
)
_TX: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_PROCESS: Final = re.compile(r"process-[0-9]{13}-[0-9a-f]{16}", re.ASCII)
_ITEM_RECORD: Final = re.compile(r"([^/]+)/([0-9]+-[0-9]+)\.(made|removed)", re.ASCII)


def counted(number: int) -> str:
    """``number`` as it stands in keys.

    Raises:
        ValueError: Negative or over 10**16-1.
    """
    if not 0 <= number <= _TOP:
        raise ValueError(f"{number} can't stand in a key")
    return f"{_TOP - number:016d}-{number}"


def parse_counted(text: str) -> int | None:
    """The number in ``text``, or None where it is not the one spelling of a number in a key."""
    match = _COUNTED.fullmatch(text)
    if not match or int(match.group(1)) + int(match.group(2)) != _TOP:
        return None
    return int(match.group(2))


def parse_tx_id(text: str) -> TxId:
    """Raises ValueError unless ``text`` is 32 lower-case hexadecimal digits."""
    if not _TX.fullmatch(text):
        raise ValueError(f"not a transaction id: {text[:80]!r}")
    return TxId(text)


def pack_key(pack: PackId) -> str:
    return f"packs/{pack[:1].hex()}/{pack.hex()}"


def parse_pack_key(key: str) -> PackId | None:
    """The pack whose object has ``key``; None for anything else below ``packs/`` (`.moved` records)."""
    text = key.rpartition("/")[2]
    if len(text) != 2 * PACK_ID_BYTES or not re.fullmatch(r"[0-9a-f]+", text, re.ASCII):
        return None
    pack = PackId(bytes.fromhex(text))
    return pack if pack_key(pack) == key else None


def moved_key(pack: PackId) -> str:
    return f"{pack_key(pack)}.moved"


def root_key(tx: TxId) -> str:
    return f"tx/{tx[:2]}/{tx}/root"


def outcome_key(tx: TxId) -> str:
    return f"tx/{tx[:2]}/{tx}/outcome"


def store_setting_key(number: int) -> str:
    return f"store/{counted(number)}"


class NameKeys:
    """The keys that belong to one name."""

    __slots__ = ("prefix",)

    def __init__(self, name: Name) -> None:
        folder = f"{name.folder}/" if name.folder else ""
        self.prefix: Final = f"names/{folder}@{name.last}/"

    @property
    def slots(self) -> str:
        """Prefix of slots with their tombstones and marks of edits, the newest first."""
        return f"{self.prefix}v/"

    @property
    def aliases(self) -> str:
        return f"{self.prefix}alias/"

    def slot(self, number: int) -> str:
        return f"{self.prefix}v/{counted(number)}"

    def tombstone(self, number: int) -> str:
        return self.slot(number) + DELETED_SUFFIX

    def edited(self, number: int) -> str:
        """The mark that a slot has later edits."""
        return self.slot(number) + EDITED_SUFFIX

    def alias_moves(self, alias: str) -> str:
        """Prefix of the moves of one alias, the newest first."""
        return f"{self.prefix}alias/{alias}/"

    def alias_move(self, alias: str, number: int) -> str:
        return f"{self.prefix}alias/{alias}/{counted(number)}"

    def edits(self, slot: int) -> str:
        """Prefix of the edits of one version, the newest first."""
        return f"{self.prefix}meta/{counted(slot)}/"

    def edit(self, slot: int, number: int) -> str:
        return f"{self.prefix}meta/{counted(slot)}/{counted(number)}"

    def uses(self, slot: int) -> str:
        """Prefix of the hints about who used one version."""
        return f"{self.prefix}used/{counted(slot)}/"

    def use(self, slot: int, user: Digest) -> str:
        """``user`` is a digest of what says who it is: a user has one hint, however often it is put."""
        return f"{self.prefix}used/{counted(slot)}/{user.hex()}"


class SlotObject(enum.Enum):
    """What lies under the key of a slot, in the order in which it lists."""

    RECORD = ""
    TOMBSTONE = DELETED_SUFFIX
    EDITED = EDITED_SUFFIX


def parse_slot_key(key: str, prefix: str) -> tuple[int, SlotObject] | None:
    """The slot's number, and which of its objects a key under a slots prefix is; None for foreign objects."""
    text, dot, suffix = key.removeprefix(prefix).partition(".")
    number = parse_counted(text)
    try:
        return None if number is None else (number, SlotObject(dot + suffix))
    except ValueError:
        return None


def parse_version_key(key: str) -> tuple[Name, int] | None:
    """The name and number of a slot's key; None for anything else (a tombstone, a stranger)."""
    head, _, slot = key.removeprefix(NAMES).rpartition("/v/")
    folder, _, last = head.rpartition("@")
    number = parse_counted(slot)
    try:
        name = JobName(folder + last) if folder.startswith(f"{JOBS}/") else Name(folder + last)
    except InvalidName:
        return None
    return (name, number) if number is not None and NameKeys(name).slot(number) == key else None


def parse_slot_object_key(key: str) -> tuple[Name, int, SlotObject] | None:
    """The name, the slot's number and which of its objects a key under `names/` is; None for anything else."""
    head, _, text = key.removeprefix(NAMES).rpartition("/v/")
    folder, at, last = head.rpartition("@")
    parsed = parse_slot_key(text, "")
    if parsed is None or not at or folder[-1:] not in ("", "/"):
        return None
    try:
        return Name(folder + last), *parsed
    except InvalidName:
        return None


def items_prefix(folder: str) -> str:
    """Prefix of the records about what was made in a folder, or removed from it."""
    return f"names/{folder}/.folder/" if folder else "names/.folder/"


def item_records_prefix(folder: str, item: str) -> str:
    """Those about one item: ``sub`` is a folder, ``@name`` a name."""
    return f"{items_prefix(folder)}{item}/"


def item_record_key(folder: str, item: str, number: int, *, made: bool) -> str:
    return f"{item_records_prefix(folder, item)}{counted(number)}.{'made' if made else 'removed'}"


def parse_item_record(text: str) -> tuple[str, int, bool] | None:
    """Item, number and whether it was made, of what follows `items_prefix` in a key; None for foreign objects."""
    match = _ITEM_RECORD.fullmatch(text)
    number = parse_counted(match.group(2)) if match else None
    return (match.group(1), number, match.group(3) == "made") if match and number else None


def landmark_prefix(digest: Digest) -> str:
    return f"landmarks/{digest[:1].hex()}/{digest.hex()}/"


def landmark_key(digest: Digest, tx: TxId, pack: PackId) -> str:
    return f"{landmark_prefix(digest)}{tx}/{pack.hex()}"


def label_key(label: str, name: Name, slot: int, number: int, *, on: bool) -> str:
    """The hint that a version has (or no longer has) a label."""
    keys = NameKeys(name).prefix.removeprefix(NAMES)
    return f"labels/{label}/{keys}{counted(slot)}/{counted(number)}.{'on' if on else 'off'}"


def label_prefix(label: str, folder: str = "") -> str:
    """Prefix of the hints about a label, of the names below a folder (empty: of all)."""
    return f"labels/{label}/{folder}/" if folder else f"labels/{label}/"


def labelled_prefix(label: str, name: Name, slot: int) -> str:
    """Prefix of the hints about a label and a version, the newest first."""
    return f"labels/{label}/{NameKeys(name).prefix.removeprefix(NAMES)}{counted(slot)}/"


class LabelHint(NamedTuple):
    """That a version has a label (``on``), or no longer has it; ``number`` is that of the edit, 0 for none."""

    label: str
    name: Name
    slot: int
    number: int
    on: bool


def parse_label_key(key: str) -> LabelHint | None:
    """The hint that a key is; None for foreign objects."""
    match = _LABEL.fullmatch(key)
    if match is None:
        return None
    slot, number = parse_counted(match["slot"]), parse_counted(match["number"])
    try:
        name = Name(f"{match['folder']}{match['last']}")
    except InvalidName:
        return None
    if slot is None or number is None:
        return None
    return LabelHint(match["label"], name, slot, number, match["state"] == "on")


class JobKeys:
    """The keys of one job's records. What it has versions of lies below `NameKeys` of its `JobName`.

    Raises:
        InvalidName: No id of a job.
    """

    __slots__ = ("_encoded", "prefix")

    def __init__(self, job_id: str) -> None:
        self._encoded: Final = encode_job_text(job_id)
        self.prefix: Final = f"{JOB_RECORDS}{self._encoded}/"

    @property
    def processes(self) -> str:
        """Prefix of the records of its processes."""
        return f"{self.prefix}process-"

    def process(self, process: str) -> str:
        """Prefix of the records of one process, the newest first."""
        return f"{self.prefix}{process}/"

    def process_record(self, process: str, number: int) -> str:
        return f"{self.prefix}{process}/{counted(number)}"

    @property
    def made(self) -> str:
        """Prefix of the hints about versions that it made."""
        return f"{self.prefix}made/"

    def made_version(self, tx: TxId) -> str:
        return f"{self.prefix}made/{tx}"

    @property
    def used(self) -> str:
        """Prefix of the hints about versions that it used."""
        return f"{self.prefix}used/"

    def used_version(self, tx: TxId) -> str:
        return f"{self.prefix}used/{tx}"

    @property
    def removals(self) -> str:
        """Prefix of the records that it was removed, the newest first."""
        return f"{self.prefix}removed/"

    def removal(self, number: int) -> str:
        return f"{self.prefix}removed/{counted(number)}"

    @property
    def things(self) -> str:
        """Prefix of the kinds of what it has versions of."""
        return f"{NAMES}{JOBS}/{self._encoded}/"


class ProcessKey(NamedTuple):
    """A record of a process of a job; ``number`` counts up from 1."""

    job_id: str
    process: str
    number: int


def process_name(begun_milliseconds: int, random: bytes) -> str:
    """A process of a job as it stands in keys: they list by when they began. ``random`` has 8 bytes."""
    return f"process-{begun_milliseconds:013d}-{random.hex()}"


def parse_process_key(key: str) -> ProcessKey | None:
    """The record that a key is; None for foreign objects."""
    encoded, _, rest = key.removeprefix(JOB_RECORDS).partition("/")
    process, _, text = rest.partition("/")
    number = parse_counted(text)
    job_id = decode_job_text(encoded)
    try:
        known = bool(number) and _PROCESS.fullmatch(process) and encode_job_text(job_id) == encoded
    except InvalidName:
        return None
    return ProcessKey(job_id, process, number) if known and number else None


def run_key(run: int, record: str) -> str:
    """``record`` (`list`, `delete`, `done`, `decided`) of collection run ``run``."""
    return f"gc/{counted(run)}/{record}"


def parse_run_key(key: str) -> tuple[int, str] | None:
    """``(run, record)`` of a key under `gc/`; None for foreign objects."""
    number, _, record = key.removeprefix(GC).partition("/")
    run = parse_counted(number)
    return None if run is None else (run, record)


def check_key_length(name: Name) -> None:
    """Refuse a name whose longest key would pass 900 bytes.

    Raises:
        InvalidName: It would.
    """
    longest = len(label_key("x" * 128, name, 1, 1, on=False).encode())
    if longest > MAX_KEY_BYTES:
        raise InvalidName(f"name {name.text!r} is too long: its longest key would have {longest} bytes, over 900")
