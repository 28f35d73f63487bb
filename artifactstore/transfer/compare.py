"""What a directory of this machine holds, as entries: to hold it against a version or the last sync."""

from collections.abc import Iterator, Sequence
from itertools import chain

from artifactstore.chunking import CutFunction
from artifactstore.dedup.rows import DirectoryRows
from artifactstore.digest import CHUNK_CONTEXT, digest_of, xxh3_of
from artifactstore.errors import SourceError
from artifactstore.manifest.format import FileDigester
from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.transfer.context import StoreContext
from artifactstore.transfer.feed import Feed, Piece
from artifactstore.transfer.found import Found, Scan
from artifactstore.transfer.read import SourceReader


def local_entries(context: StoreContext, scan: Scan, *, cut: CutFunction) -> list[Entry]:
    """The entries that a push of this scan would make. Files that local state knows are not read.

    Raises:
        SourceError: A file can't be read, or kept changing.
    """
    paths = [directory.absolute for directory in scan.directories]
    remembered = context.state.load_directories(context.store_id, paths, cut=str(cut))
    rows_of = [remembered.get(directory.absolute) for directory in scan.directories]
    entries: list[Entry | None] = [_without_reading(found, rows_of[found.directory]) for found in scan.found]
    to_read = [(row, scan.found[row]) for row, entry in enumerate(entries) if entry is None]
    for row, entry in _read(scan, to_read, cut=cut):
        entries[row] = entry
    return [entry for entry in entries if entry is not None]


def _without_reading(found: Found, rows: DirectoryRows | None) -> Entry | None:
    if found.kind != EntryKind.FILE:
        return Entry(found.path, found.kind, target=found.target)
    row = rows.find(found) if rows is not None else None
    return rows.entry(row, found.path, executable=found.executable) if rows is not None and row is not None else None


def _read(scan: Scan, rows: Sequence[tuple[int, Found]], *, cut: CutFunction) -> Iterator[tuple[int, Entry]]:
    zeros = bytes(cut.max_bytes)
    digesters: dict[int, FileDigester] = {}
    with (
        SourceReader(scan) as reader,
        Feed(reader, rows, cut=cut, before_large=_nothing_old, on_unreadable=_fail) as feed,
    ):
        for batch in chain(feed.batches(), feed.again()):
            feed.fill(batch)
            for piece in batch.pieces:
                digester = digesters.setdefault(piece.row, FileDigester())
                _add(digester, piece, batch.view, zeros)
                if piece.is_final:
                    del digesters[piece.row]
                    if (seen := piece.seen) is not None:
                        xxh3 = piece.xxh3 or xxh3_of(batch.view[piece.start : (piece.ends or [piece.start])[-1]])
                        digest = digester.digest()
                        yield piece.row, Entry(seen.path, seen.kind, seen.size, seen.executable, digest, xxh3)
            feed.give_back(batch)


def _add(digester: FileDigester, piece: Piece, view: memoryview, zeros: bytes) -> None:
    if piece.zeros is not None:
        length, count = piece.zeros
        digester.add_repeated(digest_of(CHUNK_CONTEXT, zeros[:length]), length, count)
    start = piece.start
    for end in piece.ends:
        digester.add(digest_of(CHUNK_CONTEXT, view[start:end]), end - start)
        start = end


def _nothing_old(row: int) -> None:
    """Nothing is known of how a file was cut before."""


def _fail(row: int, error: SourceError) -> None:
    raise error
