"""Collection runs as an uploader sees them (docs/protocol.md, "Collection").

`gc/<n>/list` and `gc/<n>/delete` are the packs that run n condemns and will delete:

    offset   size    field
    0        6       magic "ARTSGC"
    6        2       format, u16 little-endian: 1
    8        16      nonce
    24       8       count, u64 little-endian
    32       20 × n  pack ids, strictly ascending

A count that does not fit the object's size, or ids out of order, is `CorruptData`: an
uploader that can't read a list must not commit. Lists over 256 KiB are searched by
ranges: pack ids are digests, so a guess by proportion is mostly right at once.
"""

import struct
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from artifactstore.backend.protocol import Backend
from artifactstore.digest import PACK_ID_BYTES, Buffer, PackId
from artifactstore.errors import CorruptData, ObjectNotFound, UnsupportedFormat
from artifactstore.keys import GC, parse_run_key, run_key

MAGIC: Final = b"ARTSGC"
LIST_FORMAT: Final = 1
HEADER_BYTES: Final = 32
WHOLE_LIST_BYTES: Final = 256 << 10
_HEADER: Final = struct.Struct("<6sH16sQ")
_PAGE_IDS: Final = 3_200
_NO_RUN: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One collection run: which of its records a listing showed, with their sizes in bytes."""

    number: int
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def has_list(self) -> bool:
        return "list" in self.sizes

    @property
    def has_delete(self) -> bool:
        return "delete" in self.sizes

    @property
    def has_done(self) -> bool:
        return "done" in self.sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class GcView:
    """What one listing of `gc/` said.

    Attributes:
        done: *d*: the highest run that is done; -1 for none.
        runs: The highest done run and all above it, the newest first.
    """

    done: int
    runs: tuple[RunView, ...] = ()

    @property
    def is_quiet(self) -> bool:
        """Whether no run was under way."""
        return all(run.number <= self.done for run in self.runs)


def look(backend: Backend) -> GcView:
    """Step (1): one listing.

    Runs list newest first and a run starts only when the one before is done: the first done
    run that the listing shows is the highest.
    """
    runs: list[RunView] = []
    for run in _runs(backend):
        runs.append(run)
        if run.has_done:
            return GcView(done=run.number, runs=tuple(runs))
    return GcView(done=_NO_RUN, runs=tuple(runs))


def _runs(backend: Backend) -> Iterator[RunView]:
    """The runs of one listing, newest first; each whole."""
    current: RunView | None = None
    for info in backend.list(GC):
        parsed = parse_run_key(info.key)
        if parsed is None:
            continue  # not ours
        number, record = parsed
        if current is None or number != current.number:
            if current is not None:
                yield current
            current = RunView(number=number)
        current.sizes[record] = info.size_bytes
    if current is not None:
        yield current


def condemned(backend: Backend, *, after: int, packs: Collection[PackId]) -> frozenset[PackId]:
    """Step (5): which of ``packs`` a run after ``after`` condemns, by a fresh listing.

    Reads `delete`, or where that is not there yet `list`, of every run after ``after``,
    done or not. Call it only when the root that names ``packs`` has been put: a run that
    comes up later sees that root.

    Raises:
        CorruptData: A list is malformed or missing. Committing then is not safe.
        UnsupportedFormat: A list of a newer format.
        BackendError: A list can't be read.
    """
    seen: dict[int, RunView] = {}
    for run in _runs(backend):
        if run.number <= after:
            break
        seen[run.number] = run
    wanted = sorted(packs)
    found: set[PackId] = set()
    if wanted:
        # Every number up to the highest, also one that a torn listing left out (fault 134).
        for number in range(after + 1, max(seen, default=after) + 1):
            key, size = _list_of(backend, seen.get(number, RunView(number=number)))
            found.update(_search(backend, key, size, wanted))
    return frozenset(found)


def _list_of(backend: Backend, run: RunView) -> tuple[str, int]:
    """Key and size of the final list of a run, or of its first one where nothing is final yet."""
    if run.has_delete or (run.has_list and not run.has_done):
        record = "delete" if run.has_delete else "list"
        return run_key(run.number, record), run.sizes[record]
    for record in ("delete", "list"):
        try:
            return run_key(run.number, record), backend.head(run_key(run.number, record)).size_bytes
        except ObjectNotFound:
            continue
    raise CorruptData("a collection run without its list of condemned packs", key=run_key(run.number, "list"))


def encode_condemned(packs: Collection[PackId], *, nonce: bytes) -> bytes:
    """The body of `gc/<n>/list` or `gc/<n>/delete`; ``nonce`` is 16 bytes."""
    if len(nonce) != 16 or any(len(pack) != PACK_ID_BYTES for pack in packs):
        raise ValueError("a nonce has 16 bytes, a pack id 20")
    ids = sorted(set(packs))
    return _HEADER.pack(MAGIC, LIST_FORMAT, nonce, len(ids)) + b"".join(ids)


def decode_condemned(body: Buffer, *, key: str) -> tuple[PackId, ...]:
    """All pack ids of a list.

    Raises:
        CorruptData: Malformed.
        UnsupportedFormat: A newer format.
    """
    data = bytes(body)
    _check_header(data, size_bytes=len(data), key=key)
    return tuple(_ids(data[HEADER_BYTES:], key=key))


def _check_header(header: Buffer, *, size_bytes: int, key: str) -> int:
    """The count of a list of ``size_bytes``."""
    if len(header) < HEADER_BYTES:
        raise CorruptData(f"a list of condemned packs of {len(header)} bytes", key=key)
    magic, version, _, count = _HEADER.unpack_from(header)
    if magic != MAGIC:
        raise CorruptData("not a list of condemned packs", key=key)
    if version != LIST_FORMAT:
        raise UnsupportedFormat(f"a list of condemned packs in format {version}", where=key)
    if size_bytes != HEADER_BYTES + PACK_ID_BYTES * count:
        raise CorruptData(f"a list of {count} condemned packs of {size_bytes} bytes", key=key)
    return int(count)


def _ids(data: bytes, *, key: str) -> list[PackId]:
    ids = [PackId(data[i : i + PACK_ID_BYTES]) for i in range(0, len(data), PACK_ID_BYTES)]
    if any(ids[i] >= ids[i + 1] for i in range(len(ids) - 1)):
        raise CorruptData("a list of condemned packs is out of order", key=key)
    return ids


def _search(backend: Backend, key: str, size_bytes: int, wanted: Sequence[PackId]) -> set[PackId]:
    if size_bytes <= WHOLE_LIST_BYTES:
        return set(decode_condemned(backend.get(key), key=key)).intersection(wanted)
    count = _check_header(backend.get_range(key, 0, HEADER_BYTES), size_bytes=size_bytes, key=key)
    if not count:
        return set()
    found: set[PackId] = set()
    whole = _Part(low=0, high=count, below=None, above=None)
    pending = [(whole, wanted, 0)]
    while pending:
        part, some, depth = pending.pop()
        first = part.guess(some[len(some) // 2], depth)
        ids = _read_ids(backend, key, part, first)
        found.update(set(ids).intersection(some))
        left, right = some[: bisect_left(some, ids[0])], some[bisect_left(some, ids[-1]) :]
        if left and first > part.low:
            pending.append((_Part(low=part.low, high=first, below=part.below, above=ids[0]), left, depth + 1))
        last = first + len(ids)
        if right and right[-1] > ids[-1] and last < part.high:
            pending.append((_Part(low=last, high=part.high, below=ids[-1], above=part.above), right, depth + 1))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Ids ``low`` to ``high`` of a list, and the ids just outside, where known."""

    low: int
    high: int
    below: PackId | None
    above: PackId | None

    def guess(self, pack: PackId, depth: int) -> int:
        """Number of the first id of the page to read: by proportion, and every third time the middle, so that a
        list made to mislead costs no more than bisection."""
        room = max(self.high - self.low - _PAGE_IDS, 0)
        if depth % 3 == 2:
            return self.low + room // 2
        bottom = int.from_bytes(self.below[:8]) if self.below else 0
        top = int.from_bytes(self.above[:8]) if self.above else 1 << 64
        share = (int.from_bytes(pack[:8]) - bottom) / max(top - bottom, 1)
        middle = self.low + int(min(max(share, 0.0), 1.0) * (self.high - self.low))
        return min(max(middle - _PAGE_IDS // 2, self.low), self.low + room)


def _read_ids(backend: Backend, key: str, part: _Part, first: int) -> list[PackId]:
    count = min(_PAGE_IDS, part.high - first)
    data = bytes(backend.get_range(key, HEADER_BYTES + PACK_ID_BYTES * first, PACK_ID_BYTES * count))
    ids = _ids(data, key=key)
    if (part.below and ids[0] <= part.below) or (part.above and ids[-1] >= part.above):
        raise CorruptData("a list of condemned packs is out of order", key=key)
    return ids
