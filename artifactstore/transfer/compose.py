"""Compositions: a version made of parts, from this machine and from versions that are stored already.

    placed      files and directories of this machine, each where it goes
    carried     stored versions, or parts of them: named again, neither read nor sent
    references  bytes that stay elsewhere

`gather_placed` looks at this machine; `complete` adds the rest and checks that the parts go
together. What comes out is a `Scan` like that of one directory.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
import xxhash

from artifactstore.clock import Clock
from artifactstore.errors import PathExists, SourceError
from artifactstore.manifest.model import Block, Entry, EntryKind, EntryPlaces, ReferenceTarget
from artifactstore.manifest.paths import path_sort_key
from artifactstore.names import Reference
from artifactstore.transaction.resolve import open_version
from artifactstore.transfer.context import StoreContext
from artifactstore.transfer.found import CARRIED, CarriedFile, Found, Notice, Scan, ScanOptions, found_file
from artifactstore.transfer.handles import NO_PARENT, Directory, missing_source, shown, source_error
from artifactstore.transfer.scan import check_source_path, scan
from artifactstore.transfer.selection import Selection
from artifactstore.tree import StoredTree

_FILE: Final = int(EntryKind.FILE)
_DIRECTORY: Final = int(EntryKind.DIRECTORY)
_REFERENCE: Final = int(EntryKind.REFERENCE)
_LISTED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A file or directory of this machine, and where it goes.

    Attributes:
        source: Absolute path.
        path: Where in the version; empty for the version's root, which only a directory can be.
        include, exclude: gitignore patterns, for a directory.
        added: What was there when it was added: a directory's scan, a file's row. What differs at the push is reported.
        is_temporary: It will not be there again.
    """

    source: bytes
    path: bytes = b""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    added: Scan | Found | None = None
    is_temporary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A stored version, or a part of one, taken as it is.

    Attributes:
        reference: The version; with a path inside, just what is there.
        path: Where in the new version; empty for its root.
        without: Paths of the new version that are left out, each with all below it.
        unless: What these patterns take is left out.
    """

    reference: Reference
    path: bytes = b""
    without: frozenset[bytes] = frozenset()
    unless: Selection | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """What a version is to be made of. What is placed, or a reference, replaces what is carried at the same path.

    Attributes:
        base: Another version that much of what is placed is in already, or None.
    """

    placed: Sequence[Placed] = ()
    carried: Sequence[Carried] = ()
    references: Mapping[bytes, ReferenceTarget] = field(default_factory=dict)
    base: Reference | None = None


def gather_placed(placed: Sequence[Placed], *, options: ScanOptions, clock: Clock) -> Scan:
    """Look at the parts that are on this machine. The rows are in order; that they go together is not checked yet.

    Args:
        options: For all directories; their own patterns are added.

    Raises:
        SourceError: As `scan.scan`, and where what would be the version's root is no directory.
    """
    gathering = _Gathering(options, clock)
    for part in placed:
        gathering.add(part)
    return gathering.scan(placed)


def complete(local: Scan, composition: Composition, context: StoreContext) -> Scan:
    """Add references and what is carried, and check that all parts go together.

    To be called after `gc/` was looked at: the versions are found live by requests made here.

    Raises:
        PathExists: Two parts have something for one path, or one has a file where another has a directory.
        NotFound: A version to carry is not there.
    """
    if not composition.carried and not composition.references and len(composition.placed) == 1:
        return local
    rows = list(local.found)
    rows += [Found(path, _REFERENCE, 0, 0, 0, 0, False, b"", CARRIED) for path in composition.references]
    targets = dict(composition.references)
    taken = {row.path for row in rows}
    carried: dict[bytes, CarriedFile] = {}
    for part in composition.carried:
        for entry, file in _carried_entries(part, context):
            if entry.path in taken:
                continue
            rows.append(
                Found(entry.path, entry.kind, entry.size, 0, 0, 0, entry.executable, entry.target, CARRIED)
            )
            if file is not None:
                carried[entry.path] = file
            if entry.reference is not None:
                targets[entry.path] = entry.reference
    rows.sort(key=_row_key)
    is_part = any(part.unless is not None for part in composition.carried)
    found = _checked(rows, local.directories)
    return replace(local, found=found, references=targets, carried=carried, is_part=is_part)


class _Gathering:
    """Parts of this machine on their way into one scan."""

    def __init__(self, options: ScanOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._started_at = clock.now()
        self._rows: list[Found] = []
        self._directories: list[Directory] = []
        self._notices: list[Notice] = []
        self._skipped: list[Notice] = []
        self._hard_links: dict[bytes, bytes] = {}
        self._temporary: set[int] = set()
        self._holders: dict[bytes, int] = {}
        self._reals: dict[bytes, bytes] = {}

    def add(self, part: Placed) -> None:
        try:
            looked = os.stat(part.source)
        except FileNotFoundError as error:
            raise missing_source(part.source) from error
        except OSError as error:
            raise source_error(error, part.source, doing="looking at") from error
        if stat.S_ISDIR(looked.st_mode):
            self._add_directory(part)
        elif not stat.S_ISREG(looked.st_mode):
            raise SourceError(f"{shown(part.source)} is neither a file nor a directory", where=shown(part.source))
        elif not part.path:
            raise SourceError(f"{shown(part.source)} is a file: it can't be the root", where=shown(part.source))
        else:
            self._add_file(part, looked)

    def scan(self, placed: Sequence[Placed]) -> Scan:
        self._rows.sort(key=_row_key)
        return Scan(
            found=self._rows,
            directories=self._directories,
            notices=tuple(self._notices),
            skipped=tuple(self._skipped),
            hard_links=self._hard_links,
            started_at=self._started_at,
            source_key=_source_key(placed, self._directories),
            follow_links=self._options.follow_links,
            growth=self._options.growth,
            temporary=self._temporary,
        )

    def _add_directory(self, part: Placed) -> None:
        options = replace(
            self._options,
            include=(*self._options.include, *part.include),
            exclude=(*self._options.exclude, *part.exclude),
        )
        found = scan([part.source], options=options, clock=self._clock)
        prefix, first = (part.path + b"/" if part.path else b""), len(self._directories)
        if isinstance(part.added, Scan):
            self._notices += _changes(part.added, found, prefix=prefix)
        self._directories += [_moved(d, prefix=prefix, first=first) for d in found.directories]
        if part.path:
            check_source_path(part.path)
        if prefix or first:
            self._rows += [_placed_row(row, prefix=prefix, first=first) for row in found.found]
        else:
            self._rows += found.found
        if not found.found and part.path:
            self._rows.append(Found(part.path, _DIRECTORY, 0, 0, 0, 0, False, b"", first))
        self._notices += [Notice(prefix + notice.path, notice.reason) for notice in found.notices]
        self._skipped += [Notice(prefix + notice.path, notice.reason) for notice in found.skipped]
        self._hard_links.update({prefix + path: prefix + first for path, first in found.hard_links.items()})
        if part.is_temporary:
            self._temporary.update(range(first, len(self._directories)))

    def _add_file(self, part: Placed, looked: os.stat_result) -> None:
        check_source_path(part.path)
        row = found_file(part.path, looked, self._holder(part))
        if isinstance(part.added, Found) and not _is_same(part.added, row):
            self._notices.append(Notice(part.path, "changed since it was added: stored as it is now"))
        self._rows.append(row)

    def _holder(self, part: Placed) -> int:
        """The directory to open the file in: one for all files of a directory that keep their names."""
        folder, name = os.path.split(part.source)
        if folder not in self._reals:
            self._reals[folder] = os.path.realpath(folder)
        real = os.path.join(self._reals[folder], name)
        if os.path.islink(real):
            real = os.path.realpath(real)
        keeps_name = os.path.basename(real) == part.path.rpartition(b"/")[2]
        key = os.path.dirname(real) if keeps_name and not part.is_temporary else real
        index = self._holders.get(key)
        if index is None:
            index = self._holders[key] = self._new_holder(key, is_file=key == real)
            if part.is_temporary:
                self._temporary.add(index)
        return index

    def _new_holder(self, key: bytes, *, is_file: bool) -> int:
        looked = os.stat(os.path.dirname(key) if is_file else key)
        self._directories.append(
            Directory(
                path=b"",
                absolute=key,
                parent=NO_PARENT,
                name=b"",
                device=looked.st_dev,
                inode=looked.st_ino,
                is_file=is_file,
            )
        )
        return len(self._directories) - 1


def _row_key(row: Found) -> bytes:
    return path_sort_key(row.path)


def _moved(directory: Directory, *, prefix: bytes, first: int) -> Directory:
    path = (prefix + directory.path).rstrip(b"/")
    parent = directory.parent + first if directory.parent != NO_PARENT else NO_PARENT
    return replace(directory, path=path, parent=parent)


def _placed_row(row: Found, *, prefix: bytes, first: int) -> Found:
    return msgspec.structs.replace(row, path=prefix + row.path, directory=row.directory + first)


def _source_key(placed: Sequence[Placed], directories: Sequence[Directory]) -> bytes:
    """One directory as the root is what a plain push of it is; everything else is named by what is placed where."""
    if len(placed) == 1 and not placed[0].path and directories:
        return directories[0].absolute
    state = xxhash.xxh3_128()
    for part in placed:
        state.update(msgspec.msgpack.encode((part.source, part.path, part.include, part.exclude)))
    return b"\0composed\0" + state.digest()


def _checked(rows: Sequence[Found], directories: Sequence[Directory]) -> list[Found]:
    """The rows without empty directories that are not empty any more.

    Raises:
        PathExists: Two rows for one path, or something below what is no directory.
    """
    checked: list[Found] = []
    for row in rows:
        before = checked[-1] if checked else None
        if before is None or not (row.path == before.path or row.path.startswith(before.path + b"/")):
            checked.append(row)
        elif before.kind == _DIRECTORY and (row.path != before.path or row.kind == _DIRECTORY):
            checked[-1] = row
        else:
            raise _clash(before, row, directories)
    return checked


def _clash(one: Found, other: Found, directories: Sequence[Directory]) -> PathExists:
    both = " and ".join(_origin(row, directories) for row in (one, other))
    if one.path == other.path:
        return PathExists(f"two entries for {shown(one.path)}: {both}", where=shown(one.path))
    what = f"{shown(one.path)} is a file, and {shown(other.path)} would lie in it: {both}"
    return PathExists(what, where=shown(other.path))


def _origin(row: Found, directories: Sequence[Directory]) -> str:
    if row.directory == CARRIED:
        return "a reference" if row.kind == _REFERENCE else "a stored version"
    directory = directories[row.directory]
    return shown(directory.absolute if directory.is_file else os.path.join(directory.absolute, row.name))


# -- what changed since it was added ----------------------------------------------------------------


def _is_same(added: Found, now: Found) -> bool:
    return (added.kind, added.size, added.inode, added.mtime_ns, added.target) == (
        now.kind,
        now.size,
        now.inode,
        now.mtime_ns,
        now.target,
    )


def _changes(added: Scan, now: Scan, *, prefix: bytes) -> Iterator[Notice]:
    if added.found == now.found:
        return
    before = {row.path: row for row in added.found}
    for row in now.found:
        old = before.pop(row.path, None)
        if old is None:
            yield Notice(prefix + row.path, "came after its directory was added: stored too")
        elif not _is_same(old, row):
            yield Notice(prefix + row.path, "changed since it was added: stored as it is now")
    for path in before:
        yield Notice(prefix + path, "gone since it was added: not stored")


# -- stored versions --------------------------------------------------------------------------------


def _carried_entries(part: Carried, context: StoreContext) -> Iterator[tuple[Entry, CarriedFile | None]]:
    """What a stored version brings, under its new paths."""
    reference = part.reference
    version, root = open_version(context.backend, reference.name, reference.version, pool=context.requests)
    tree = StoredTree(context.backend, root, version=version.text, pool=context.requests)
    strip = len(reference.path)
    for entry, places, block in _entries_at(tree, reference.path):
        path = (part.path + b"/" + entry.path[strip:].lstrip(b"/")).strip(b"/")
        if part.unless is not None and part.unless.takes(path, entry.kind):
            continue
        if path and not (part.without and is_below_any(path, part.without)):
            moved = msgspec.structs.replace(entry, path=path)
            yield moved, _carried_file(tree, entry, places, block) if entry.kind == _FILE else None


def _entries_at(tree: StoredTree, path: bytes) -> Iterable[tuple[Entry, EntryPlaces, Block]]:
    if not path:
        return tree.entries()
    below = list(tree.below(path))
    return below or [tree.find(path)]


def _carried_file(tree: StoredTree, entry: Entry, places: EntryPlaces, block: Block) -> CarriedFile:
    extents = tuple(tree.extents(places, block)) if places.lists else places.extents
    return CarriedFile(tree, entry.path, entry.digest, entry.xxh3, extents, block.packs)


def is_below_any(path: bytes, tops: frozenset[bytes]) -> bool:
    """Whether a path is one of some, or below one, however many they are."""
    while path:
        if path in tops:
            return True
        path = path.rpartition(b"/")[0]
    return False
