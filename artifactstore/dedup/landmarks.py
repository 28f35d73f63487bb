"""Landmarks: how an upload finds equal content in versions it knows nothing of.

One chunk in 1,024, chosen by its digest, is a landmark. Committed uploads leave an empty
object per landmark of the packs they wrote, named after the chunk, their transaction and
the pack; an upload looks up only its own landmarks, about one listing per 64 MiB of new
data, and a hit names a pack and, by the transaction's root, its neighbours.

Landmarks are hints. Nothing may be reused on their word alone; losing or inventing one
costs a request or some space, no data.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from artifactstore.backend.protocol import Backend
from artifactstore.dedup.known import DigestColumn
from artifactstore.digest import DIGEST_BYTES, PACK_ID_BYTES, Digest, PackId
from artifactstore.errors import BackendError
from artifactstore.keys import TxId, landmark_key, landmark_prefix, parse_tx_id

CHUNKS_PER_LANDMARK: Final = 1024
MAX_HINTS_PER_LANDMARK: Final = 4
_LOW_BYTE: Final = DIGEST_BYTES - 2  # the table of known chunks uses the first bytes
_HIGH_MASK: Final = CHUNKS_PER_LANDMARK // 256 - 1


@dataclass(frozen=True, slots=True)
class Hint:
    """A pack that may hold a chunk, and the transaction that put it there."""

    digest: Digest
    tx: TxId
    pack: PackId


def is_landmark(digest: bytes) -> bool:
    """Whether the chunk with this digest is a landmark: byte 30 and the two low bits of byte 31 are zero."""
    return digest[_LOW_BYTE] == 0 and digest[_LOW_BYTE + 1] & _HIGH_MASK == 0


def landmarks_of(table: DigestColumn) -> list[Digest]:
    """The landmarks among the chunks of a pack."""
    digests = table.digests()
    found = []
    # Only every 256th row passes the search for a zero in its column: no loop over all rows.
    column = digests[_LOW_BYTE::DIGEST_BYTES]
    row = column.find(0)
    while row >= 0:
        digest = digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES]
        if is_landmark(digest):
            found.append(Digest(digest))
        row = column.find(0, row + 1)
    return found


def write_landmarks(
    backend: Backend, tx: TxId, landmarks: Iterable[tuple[Digest, PackId]], *, pool: Executor | None = None
) -> int:
    """Leave the landmarks of a committed upload's own packs; returns how many are there now.

    What fails is left out: a landmark is not worth failing an upload that is committed.

    Args:
        landmarks: Landmark chunks, each with the pack of this upload that holds it.
        pool: Where the requests run; one after the other without it.
    """

    def write(key: str) -> bool:
        try:
            backend.put(key, b"")
        except BackendError:
            return False
        return True

    keys = [landmark_key(digest, tx, pack) for digest, pack in landmarks]
    return sum(pool.map(write, keys) if pool else map(write, keys))


def find_hints(
    backend: Backend, digests: Sequence[Digest], *, max_requests: int, pool: Executor | None = None
) -> Iterator[Hint]:
    """Who else has stored these chunks.

    Args:
        digests: Of new chunks; those that are no landmarks are not asked for.
        max_requests: How many listings may be sent.
        pool: Where they run; one after the other without it.

    Returns:
        At most `MAX_HINTS_PER_LANDMARK` hints for each, in the order of ``digests``. An error is no hint.
    """
    wanted = [digest for digest in dict.fromkeys(digests) if is_landmark(digest)][:max_requests]

    def look(digest: Digest) -> list[Hint]:
        prefix = landmark_prefix(digest)
        hints: list[Hint] = []
        try:
            for info in backend.list(prefix, page_size=MAX_HINTS_PER_LANDMARK):
                if hint := _parse(digest, info.key.removeprefix(prefix)):
                    hints.append(hint)
                if len(hints) == MAX_HINTS_PER_LANDMARK:
                    break
        except BackendError:
            pass  # what is missed is stored again
        return hints

    for hints in pool.map(look, wanted) if pool else map(look, wanted):
        yield from hints


def _parse(digest: Digest, text: str) -> Hint | None:
    tx, _, pack = text.partition("/")
    try:
        hint = Hint(digest, parse_tx_id(tx), PackId(bytes.fromhex(pack)))
    except ValueError:
        return None
    return hint if len(hint.pack) == PACK_ID_BYTES and hint.pack.hex() == pack else None
