"""Local state: what this user's earlier pushes and pulls let us skip now.

Never authoritative. Whatever it says is a hint or is checked by its user, and losing it
costs time, not data. It holds names, paths, times and digests; no content, no secrets.

    packs         packs that uploads of this user have put, with the *d* of the upload
    directories   remembered files of a directory (`artifactstore.dedup.rows`)
    synced        which version a directory was last pushed or pulled as: the base of the
                  conflict rule, and the signature of the tree it was
    stores        which store a URL led to
    counters      the highest slots and alias moves seen
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import msgspec
import xxhash
import zstandard

from artifactstore.clock import SYSTEM_CLOCK, Clock
from artifactstore.dedup.database import Row, StateDatabase, as_bytes, as_float, as_int, as_text
from artifactstore.dedup.packs import RecordedPack
from artifactstore.dedup.rows import DirectoryRows, decode_rows
from artifactstore.digest import PackId
from artifactstore.manifest.model import Entry
from artifactstore.redaction import redact_url

_log = logging.getLogger(__name__)

STATE_VARIABLE: Final = "ARTIFACTSTORE_STATE_DIR"
_FILE_NAME: Final = "state-1.sqlite3"  # the number counts schemas: another one is another file
_DAY_SECONDS: Final = 86_400
_DIRECTORY_DAYS: Final = 90
_SYNCED_DAYS: Final = 400
_MAX_BYTES: Final = 1 << 30
_BATCH: Final = 500
_MAX_BASE_BYTES: Final = 4 << 30
_PRUNED: Final = "pruned at"
_ENTRIES: Final = msgspec.msgpack.Decoder(tuple[Entry, ...])
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS packs (store BLOB, pack BLOB, done_run INTEGER, object_bytes INTEGER,
    table_bytes INTEGER, tx TEXT, committed INTEGER, recorded_at REAL, PRIMARY KEY (store, pack)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pending ON packs (store, recorded_at) WHERE committed = 0;
CREATE TABLE IF NOT EXISTS directories (store BLOB, path BLOB, seen_at REAL, rows BLOB, UNIQUE (store, path));
CREATE TABLE IF NOT EXISTS synced (store BLOB, directory BLOB, name TEXT, slot INTEGER, tx TEXT,
    content_digest BLOB, signature BLOB, is_settled INTEGER, url TEXT, recorded_at REAL, entries BLOB,
    UNIQUE (directory, store, name));
CREATE TABLE IF NOT EXISTS stores (url TEXT PRIMARY KEY, store BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (store BLOB, counter TEXT, value INTEGER, PRIMARY KEY (store, counter))
    WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """Which version a directory was last pushed or pulled as.

    Attributes:
        directory: Its key, as in `Scan.source_key`.
        signature: Of the scan that was pushed, or of the directory after the pull.
        is_settled: Whether an equal signature now proves that nothing changed since.
        url: Where the store was, without secrets.
        recorded_at: Seconds since the epoch.
    """

    store_id: bytes
    directory: bytes
    name: str
    slot: int
    tx: str
    content_digest: bytes
    signature: bytes
    is_settled: bool
    url: str = ""
    recorded_at: float = 0.0


def default_state_folder() -> str:
    """`$ARTIFACTSTORE_STATE_DIR`, or `artifactstore` in the user's folder for state."""
    chosen = os.environ.get(STATE_VARIABLE)
    if chosen:
        return os.path.abspath(os.path.expanduser(chosen))
    import platformdirs  # 10 ms that an explicit choice need not spend

    return platformdirs.user_state_dir("artifactstore", appauthor=False)


class LocalState:
    """Local state of one user on one machine, safe for threads and many processes. Its own troubles raise nothing."""

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """Nothing is opened before it is used.

        Args:
            folder: Where it lies; by default `default_state_folder`.
            warn: Told, once, why local state can't be used or was begun anew; by default the log is.
        """
        path = os.path.join(os.fspath(folder) if folder is not None else default_state_folder(), _FILE_NAME)
        self._database = StateDatabase(path, schema=_SCHEMA, warn=warn or _log.warning)
        self._clock = clock

    @property
    def path(self) -> str:
        """The file it lies in."""
        return self._database.path

    def close(self) -> None:
        """Calling it twice is fine."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- packs ---------------------------------------------------------------------------------------

    def record_pack(self, store_id: bytes, pack: RecordedPack, *, tx: str) -> None:
        """Remember a pack. Only after its PUT was answered, with the *d* of the upload that put it.

        Args:
            tx: The transaction it was put for, for people who look into the file.
        """
        self._database.write(
            [
                (
                    "INSERT INTO packs VALUES (?, ?, ?, ?, ?, ?, 0, ?) ON CONFLICT DO UPDATE "
                    "SET done_run = min(done_run, excluded.done_run)",
                    (
                        store_id,
                        pack.pack,
                        pack.done_run,
                        pack.object_bytes,
                        pack.table_bytes,
                        tx,
                        self._clock.now(),
                    ),
                )
            ]
        )

    def recorded_pack(self, store_id: bytes, pack: PackId) -> RecordedPack | None:
        """What is remembered of this pack."""
        rows = self._database.select(f"{_SELECT_PACKS} AND pack = ?", (store_id, pack), _recorded)
        return rows[0] if rows else None

    def pending_packs(self, store_id: bytes, *, limit: int = 1000) -> list[RecordedPack]:
        """Packs of uploads that are not known to have committed, newest first."""
        query = f"{_SELECT_PACKS} AND committed = 0 ORDER BY recorded_at DESC LIMIT ?"
        return self._database.select(query, (store_id, limit), _recorded)

    def mark_packs_committed(self, store_id: bytes, packs: Iterable[PackId]) -> None:
        """These packs belong to a version now: they are pending no longer."""
        query = "UPDATE packs SET committed = 1 WHERE store = ? AND pack = ?"
        self._database.write([(query, (store_id, pack)) for pack in packs])

    def forget_packs(self, store_id: bytes, packs: Iterable[PackId]) -> None:
        """These packs are gone from the store."""
        self._database.write([("DELETE FROM packs WHERE store = ? AND pack = ?", (store_id, pack)) for pack in packs])

    # -- directories ---------------------------------------------------------------------------------

    def load_directory(self, store_id: bytes, path: bytes, *, cut: str) -> DirectoryRows | None:
        """What is remembered of the files in the directory with this absolute path.

        Args:
            cut: The cut function that file digests and places must be of. Those of another one say nothing, and its
                chunks may be longer than any reader takes.
        """
        return self.load_directories(store_id, [path], cut=cut).get(path)

    def load_directories(self, store_id: bytes, paths: Sequence[bytes], *, cut: str) -> dict[bytes, DirectoryRows]:
        """As `load_directory`, for many; those of which nothing is remembered are left out."""
        now = self._clock.now()
        loaded: dict[bytes, DirectoryRows] = {}
        stale: list[bytes] = []
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            marks = ",".join("?" * len(batch))
            query = f"SELECT path, seen_at, rows FROM directories WHERE store = ? AND path IN ({marks})"  # noqa: S608
            for path, seen_at, data in self._database.select(query, (store_id, *batch), _directory):
                rows = decode_rows(data, _rows_key(store_id, path, cut))
                if rows is not None:
                    loaded[path] = rows
                if seen_at < now - _DAY_SECONDS:
                    stale.append(path)
        if stale:
            seen = "UPDATE directories SET seen_at = ? WHERE store = ? AND path = ?"
            self._database.write([(seen, (now, store_id, path)) for path in stale])
        return loaded

    def save_directories(self, store_id: bytes, directories: Mapping[bytes, DirectoryRows], *, cut: str) -> None:
        """Remember the files of these directories (by absolute path) in place of what was remembered of them.

        Args:
            cut: The cut function by which they were cut.
        """
        now = self._clock.now()
        query = "INSERT OR REPLACE INTO directories VALUES (?, ?, ?, ?)"
        self._database.write(
            [
                (query, (store_id, path, now, rows.encode(_rows_key(store_id, path, cut))))
                for path, rows in directories.items()
            ]
        )
        self._prune(now)

    def _prune(self, now: float) -> None:
        """Once a day, drop what was not seen for long; drop more where the file is too large."""
        if self.highest_seen(b"", _PRUNED) > now - _DAY_SECONDS:
            return
        self._database.write(
            [
                ("DELETE FROM directories WHERE seen_at < ?", (now - _DIRECTORY_DAYS * _DAY_SECONDS,)),
                ("DELETE FROM synced WHERE recorded_at < ?", (now - _SYNCED_DAYS * _DAY_SECONDS,)),
            ]
        )
        if self._used_bytes() > _MAX_BYTES:
            oldest = "SELECT rowid FROM directories ORDER BY seen_at LIMIT (SELECT count(*) / 2 FROM directories)"
            self._database.write([(f"DELETE FROM directories WHERE rowid IN ({oldest})", ())])  # noqa: S608
        self.note_seen(b"", _PRUNED, int(now))

    def _used_bytes(self) -> int:
        tables = "pragma_page_count, pragma_freelist_count, pragma_page_size"
        query = f"SELECT (page_count - freelist_count) * page_size FROM {tables}"  # noqa: S608
        return self._database.select(query, (), _number)[0]

    # -- synced states -------------------------------------------------------------------------------

    def record_synced(self, synced: Synced, entries: Sequence[Entry]) -> None:
        """Remember that a directory is this version now.

        Args:
            synced: `recorded_at` is filled in here.
            entries: Everything in it, in order: the base of the conflict rule.
        """
        body = zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(entries))
        values = (
            synced.store_id,
            synced.directory,
            synced.name,
            synced.slot,
            synced.tx,
            synced.content_digest,
            synced.signature,
            synced.is_settled,
            redact_url(synced.url),
            self._clock.now(),
            xxhash.xxh3_128_digest(body) + body,
        )
        marks = ",".join("?" * len(values))
        self._database.write([(f"INSERT OR REPLACE INTO synced VALUES ({marks})", values)])  # noqa: S608

    def synced(self, store_id: bytes, directory: bytes, name: str) -> Synced | None:
        """What this directory was last synced as under this name."""
        query = f"{_SELECT_SYNCED} WHERE directory = ? AND store = ? AND name = ?"
        rows = self._database.select(query, (directory, store_id, name), _synced)
        return rows[0] if rows else None

    def last_synced(self, directory: bytes) -> Synced | None:
        """What this directory was last synced as, under whatever name, in whatever store."""
        query = f"{_SELECT_SYNCED} WHERE directory = ? ORDER BY rowid DESC LIMIT 1"  # clocks go back at times
        rows = self._database.select(query, (directory,), _synced)
        return rows[0] if rows else None

    def synced_entries(self, synced: Synced) -> tuple[Entry, ...] | None:
        """The entries of a synced state; None where they are lost or were replaced meanwhile."""
        rows = self._database.select(
            "SELECT entries FROM synced WHERE directory = ? AND store = ? AND name = ? AND tx = ? AND recorded_at = ?",
            (synced.directory, synced.store_id, synced.name, synced.tx, synced.recorded_at),
            _blob,
        )
        if not rows or xxhash.xxh3_128_digest(body := rows[0][16:]) != rows[0][:16]:
            return None
        try:
            return _ENTRIES.decode(zstandard.ZstdDecompressor().decompress(body, max_output_size=_MAX_BASE_BYTES))
        except (zstandard.ZstdError, msgspec.DecodeError):  # written by another version
            return None

    # -- stores and counters -------------------------------------------------------------------------

    def pinned_store(self, url: str) -> bytes | None:
        """The id of the store that this URL last led to."""
        rows = self._database.select("SELECT store FROM stores WHERE url = ?", (redact_url(url),), _blob)
        return rows[0] if rows else None

    def pin_store(self, url: str, store_id: bytes) -> None:
        """Remember which store this URL leads to."""
        if self.pinned_store(url) != store_id:
            self._database.write([("INSERT OR REPLACE INTO stores VALUES (?, ?)", (redact_url(url), store_id))])

    def highest_seen(self, store_id: bytes, counter: str) -> int:
        """The highest number noted for this counter (``name``, or ``name:alias``); 0 where none was."""
        query = "SELECT value FROM counters WHERE store = ? AND counter = ?"
        rows = self._database.select(query, (store_id, counter), _number)
        return rows[0] if rows else 0

    def note_seen(self, store_id: bytes, counter: str, number: int) -> int:
        """Note a number; returns the highest noted before. A higher one means that the store went back in time."""
        before = self.highest_seen(store_id, counter)
        if number > before:
            query = "INSERT INTO counters VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)"
            self._database.write([(query, (store_id, counter, number))])
        return before


_SELECT_PACKS: Final = "SELECT pack, done_run, object_bytes, table_bytes FROM packs WHERE store = ?"
_SELECT_SYNCED: Final = (
    "SELECT store, directory, name, slot, tx, content_digest, signature, is_settled, url, recorded_at FROM synced"
)


def _rows_key(store_id: bytes, path: bytes, cut: str) -> bytes:
    """What remembered rows are bound to: under any other key they are a miss."""
    return store_id + cut.encode() + b"\0" + path


def _recorded(row: Row) -> RecordedPack:
    pack, done_run, object_bytes, table_bytes = row
    return RecordedPack(
        pack=PackId(as_bytes(pack)),
        done_run=as_int(done_run),
        object_bytes=as_int(object_bytes),
        table_bytes=as_int(table_bytes),
    )


def _synced(row: Row) -> Synced:
    store_id, directory, name, slot, tx, content_digest, signature, is_settled, url, recorded_at = row
    return Synced(
        store_id=as_bytes(store_id),
        directory=as_bytes(directory),
        name=as_text(name),
        slot=as_int(slot),
        tx=as_text(tx),
        content_digest=as_bytes(content_digest),
        signature=as_bytes(signature),
        is_settled=bool(is_settled),
        url=as_text(url),
        recorded_at=as_float(recorded_at),
    )


def _directory(row: Row) -> tuple[bytes, float, bytes]:
    return as_bytes(row[0]), as_float(row[1]), as_bytes(row[2])


def _blob(row: Row) -> bytes:
    return as_bytes(row[0])


def _number(row: Row) -> int:
    return as_int(row[0])
