"""What local state remembers of the files of one directory.

Columns: names, stat keys, file digests, and, decoded only when asked for, places. A row
stands for a file only while size, inode, mtime and ctime are all the same *and* the file
had been left alone for two seconds when it was looked at (git's racy-clean rule): a file
changed within the resolution of its own timestamps never counts.
Not covered: a change that leaves all four as they were, which takes a clock set back or
writing to the disk below the file system. `--checksum` reads every file.

Rows don't know where a push began, so pushes of a directory above or below share them.
"""

import sys
from array import array
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
import xxhash

from artifactstore.digest import DIGEST_BYTES, Digest
from artifactstore.manifest.model import HOLE, NO_PLACES, Entry, EntryKind, EntryPlaces, Extent, StoredChunk

RACY_SECONDS: Final = 2
"""A file changed this shortly before it was looked at may change again without its times telling."""

XXH3_BYTES: Final = 16
_FORMAT: Final = f"rows 1 {sys.byteorder}".encode()
_FILE: Final = int(EntryKind.FILE)
# Not `EntryPlaces`: a row has all extents of its file beside it, however many they are.
_PLACES: Final = msgspec.msgpack.Decoder(tuple[tuple[tuple[Extent, ...], tuple[StoredChunk, ...]], ...])


def settled_before_ns(observed_at: float) -> int:
    """Files whose times lie before this were not in the middle of a change when looked at (git's racy-clean rule).

    Args:
        observed_at: When they were looked at, *before* they were read, in seconds since the epoch.
    """
    return int((observed_at - RACY_SECONDS) * 1e9)


class FileStat(Protocol):
    """What identifies one state of a file: a scan's row, or what a pull has just written."""

    @property
    def path(self) -> bytes: ...
    @property
    def size(self) -> int: ...
    @property
    def inode(self) -> int: ...
    @property
    def mtime_ns(self) -> int: ...
    @property
    def ctime_ns(self) -> int: ...


class _Columns(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """As stored. Numbers are native 8-byte columns: the file never leaves its machine."""

    names: bytes  # joined by NUL
    sizes: bytes
    inodes: bytes
    mtimes: bytes
    ctimes: bytes
    clean: bytes  # 1 or 0 a row
    digests: bytes
    xxh3s: bytes
    packs: tuple[bytes, ...]
    places: bytes  # msgpack, for each row its extents and list pieces


_COLUMNS: Final = msgspec.msgpack.Decoder(_Columns)


class DirectoryRows:
    """Remembered files of one directory; rows are numbered from 0."""

    __slots__ = ("_columns", "_ctimes", "_inodes", "_mtimes", "_numbers", "_places", "_sizes")

    def __init__(self, columns: _Columns) -> None:
        self._columns = columns
        names = columns.names.split(b"\0") if columns.names else []
        self._numbers = dict(zip(names, range(len(names)), strict=True))
        self._sizes = array("Q", columns.sizes)
        self._inodes = array("Q", columns.inodes)
        self._mtimes = array("q", columns.mtimes)
        self._ctimes = array("q", columns.ctimes)
        self._places: tuple[tuple[tuple[Extent, ...], tuple[StoredChunk, ...]], ...] | None = None

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def packs(self) -> tuple[bytes, ...]:
        """The pack ids that places index."""
        return self._columns.packs

    @property
    def names(self) -> tuple[bytes, ...]:
        return tuple(self._numbers)

    def find(self, found: FileStat) -> int | None:
        """The row that still stands for this file, or None: read it."""
        row = self._numbers.get(found.path.rpartition(b"/")[2])
        if (
            row is not None
            and self._columns.clean[row]
            and self._ctimes[row] == found.ctime_ns
            and self._mtimes[row] == found.mtime_ns
            and self._sizes[row] == found.size
            and self._inodes[row] == found.inode
        ):
            return row
        return None

    def digest(self, row: int) -> Digest:
        """File digest."""
        return Digest(self._columns.digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES])

    def entry(self, row: int, path: bytes, *, executable: bool) -> Entry:
        """The row as an entry. The executable bit is the file's own: it is not content and not remembered."""
        columns = self._columns
        return Entry(
            path,
            _FILE,
            self._sizes[row],
            executable,
            columns.digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES],
            columns.xxh3s[row * XXH3_BYTES : (row + 1) * XXH3_BYTES],
        )

    def places(self, row: int) -> EntryPlaces:
        """Where its content lies; packs are indices into `packs`."""
        if self._places is None:
            self._places = _PLACES.decode(self._columns.places)
        return EntryPlaces(*self._places[row])

    def encode(self, key: bytes) -> bytes:
        """Bytes to store under ``key``, which they are bound to."""
        body = msgspec.msgpack.encode(self._columns)
        return _seal(key, body) + body


class DirectoryRowsBuilder:
    """Collects the rows of one directory."""

    def __init__(self, *, observed_at: float) -> None:
        """``observed_at``: when the scan began, *before* the files were looked at; seconds since the epoch."""
        self._limit_ns = settled_before_ns(observed_at)
        self._names: list[bytes] = []
        self._sizes = array("Q")
        self._inodes = array("Q")
        self._mtimes = array("q")
        self._ctimes = array("q")
        self._clean = bytearray()
        self._digests = bytearray()
        self._xxh3s = bytearray()
        self._packs: dict[bytes, int] = {}
        self._places: list[EntryPlaces] = []

    def __len__(self) -> int:
        return len(self._names)

    def add(
        self,
        found: FileStat,
        *,
        digest: bytes,
        xxh3: bytes,
        places: EntryPlaces,
        pack_id: Callable[[int], bytes],
        observed_at: float | None = None,
    ) -> None:
        """Remember one file, as it looked before it was read and, unchanged, after.

        Args:
            places: Where its content lies.
            pack_id: Says what a pack number in ``places`` stands for.
            observed_at: When this one was looked at, if not with the others.
        """
        limit_ns = self._limit_ns if observed_at is None else settled_before_ns(observed_at)
        self._names.append(found.path.rpartition(b"/")[2])
        self._sizes.append(found.size)
        self._inodes.append(found.inode)
        self._mtimes.append(found.mtime_ns)
        self._ctimes.append(found.ctime_ns)
        self._clean.append(found.mtime_ns < limit_ns and found.ctime_ns < limit_ns)
        self._digests += digest
        self._xxh3s += xxh3
        self._places.append(self._renumbered(places, pack_id))

    def build(self) -> DirectoryRows:
        """The rows. Each name must have been added once."""
        return DirectoryRows(
            _Columns(
                b"\0".join(self._names),
                self._sizes.tobytes(),
                self._inodes.tobytes(),
                self._mtimes.tobytes(),
                self._ctimes.tobytes(),
                bytes(self._clean),
                bytes(self._digests),
                bytes(self._xxh3s),
                tuple(self._packs),
                msgspec.msgpack.encode(self._places),
            )
        )

    def _renumbered(self, places: EntryPlaces, pack_id: Callable[[int], bytes]) -> EntryPlaces:
        if not places.lists and not places.extents:
            return NO_PLACES
        number = self._number
        extents = tuple(
            [
                Extent(
                    number(e.pack, pack_id), e.first_chunk, e.chunk_count, e.offset, e.stored_length, e.content_length
                )
                for e in places.extents
            ]
        )
        if not places.lists:
            return EntryPlaces(extents)
        lists = [
            StoredChunk(number(c.pack, pack_id), c.chunk, c.offset, c.stored_length, c.digest) for c in places.lists
        ]
        return EntryPlaces(extents, tuple(lists))

    def _number(self, pack: int, pack_id: Callable[[int], bytes]) -> int:
        if pack == HOLE:
            return HOLE
        key = pack_id(pack)
        number = self._packs.get(key)
        if number is None:
            number = self._packs[key] = len(self._packs)
        return number


def decode_rows(data: bytes, key: bytes) -> DirectoryRows | None:
    """Read what `DirectoryRows.encode` wrote under this key; None for anything else, damaged bytes included."""
    body = data[XXH3_BYTES:]
    if data[:XXH3_BYTES] != _seal(key, body):
        return None
    try:
        return DirectoryRows(_COLUMNS.decode(body))
    except (msgspec.DecodeError, ValueError):  # written by another version
        return None


def _seal(key: bytes, body: bytes) -> bytes:
    """A checksum that binds bytes to where they belong: a torn or misplaced row is a miss, not a wrong answer."""
    state = xxhash.xxh3_128(_FORMAT)
    state.update(len(key).to_bytes(8, "little"))
    state.update(key)
    state.update(body)
    return state.digest()
