"""References of stored versions: whether they still hold, and what becomes of them.

    verify_references   what drifted since they were added
    pin                 a new version in which their content is stored
    unpin               a new version in which stored content is a reference again

Versions never change: `pin` and `unpin` make the next one, in which everything else is carried over as it is.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import blake3
import msgspec

from artifactstore.artifacts.paths import check_object_path
from artifactstore.artifacts.reference_rules import ReferenceRules, rules_of
from artifactstore.artifacts.references import Drift, Origins, fetch, resolve, verify
from artifactstore.digest import REFERENCE_CONTEXT
from artifactstore.errors import (
    DestinationError,
    PathNotFound,
    ReferenceChanged,
    ReferenceNotAllowed,
)
from artifactstore.manifest.model import Entry, EntryKind, ReferenceTarget
from artifactstore.manifest.paths import shown
from artifactstore.names import listed, parse_whole
from artifactstore.results import VersionInfo
from artifactstore.store import Store
from artifactstore.transaction.records import parse_expiry
from artifactstore.transfer.compose import Carried, Composition, Placed
from artifactstore.transfer.progress import NULL_PROGRESS, Progress
from artifactstore.transfer.push import PushOptions, PushResult

_PIECE_BYTES: Final = 4 << 20
Paths = Sequence[str | bytes]


def references_in(entries: Iterator[Entry], paths: Paths = ()) -> dict[bytes, ReferenceTarget]:
    """The references among some entries, by path.

    Args:
        paths: Only these, and those below them.

    Raises:
        PathNotFound: No reference is at one of the paths, nor below it.
    """
    found = {entry.path: entry.reference for entry in entries if entry.reference is not None}
    if not paths:
        return found
    chosen: dict[bytes, ReferenceTarget] = {}
    for path in map(_object_path, listed("paths", paths)):
        below = {at: target for at, target in found.items() if at == path or at.startswith(path + b"/")}
        if not below:
            raise PathNotFound(f"no reference is at {shown(path)}, nor below it", where=shown(path))
        chosen |= below
    return chosen


def verify_references(
    store: Store,
    reference: str,
    paths: Paths = (),
    *,
    content: bool = False,
    rules: ReferenceRules | None = None,
    progress: Progress = NULL_PROGRESS,
) -> list[Drift]:
    """Hold the references of a version against what is there now.

    Args:
        reference: The version, or a path of it.
        paths: Only these, and those below them.
        content: Read what has a digest recorded: that alone proves its content.
        rules: Instead of the settings'.

    Returns:
        One row for each reference, by path, whatever became of it. Empty for a version without any.

    Raises:
        PathNotFound: No reference is at one of the paths, nor below it.
        As `Store.files`.
    """
    targets = references_in(store.files(reference), paths)
    with Origins(rules or rules_of(store)) as origins:
        progress.phase("looking at references", total_files=len(targets), total_bytes=None)

        def look(path: bytes) -> Drift:
            drift = verify(path, targets[path], origins, content=content)
            progress.advance(files=1)
            return drift

        return list(origins.map(look, targets))


def pin(
    store: Store,
    reference: str,
    paths: Paths = (),
    *,
    rules: ReferenceRules | None = None,
    options: PushOptions | None = None,
    progress: Progress = NULL_PROGRESS,
) -> PushResult:
    """Make a new version in which references are stored content. It needs room for that in the temporary directory.

    Args:
        reference: The version to start from: ``name``, ``name:v3``.
        paths: Only these references, and those below them; by default all.
        rules: Instead of the settings'.
        options: Instead of the version's own message, labels, metadata and time-to-live.

    Returns:
        The new version.

    Raises:
        PathNotFound: There is no reference, or none at one of the paths.
        ReferenceChanged: One is not what it was when it was added; nothing was stored.
        ReferenceUnreachable, ReferenceNotAllowed: One can't be read; nothing was stored.
        As `Store.push_composition`.
    """
    info = store.show(reference)
    targets = references_in(store.files(info.version), paths)
    if not targets:
        raise PathNotFound(f"{info.version} has no references", where=info.version)
    with tempfile.TemporaryDirectory(prefix="artifactstore-") as scratch:
        with Origins(rules or rules_of(store)) as origins:
            placed = _fetched(targets, origins, os.fsencode(scratch), progress)
        composition = Composition(placed=placed, carried=(_all_of(info),))
        return store.push_composition(composition, info.name, options=_options(store, info, options), progress=progress)


def _fetched(
    targets: Mapping[bytes, ReferenceTarget], origins: Origins, scratch: bytes, progress: Progress
) -> list[Placed]:
    sizes = [target.size_bytes or 0 for target in targets.values()]
    progress.phase("fetching references", total_files=len(targets), total_bytes=sum(sizes))

    def one(numbered: tuple[int, bytes]) -> Placed:
        number, path = numbered
        file = os.path.join(scratch, b"%d" % number)
        fetch_to_file(targets[path], origins, file)
        progress.advance(files=1, content_bytes=os.path.getsize(file))
        return Placed(source=file, path=path, is_temporary=True)

    return list(origins.map(one, enumerate(targets)))


def fetch_to_file(target: ReferenceTarget, origins: Origins, path: bytes) -> bytes:
    """Read a reference into a new file; returns its digest. After an error, what is in the file is worth nothing.

    Raises:
        DestinationError: The system refused.
        As `references.fetch`.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _no_room(error) from error
    try:
        return fetch(target, origins, _writer(handle)).digest
    finally:
        os.close(handle)


def _writer(handle: int) -> Callable[[bytes | bytearray | memoryview], object]:
    def write(piece: bytes | bytearray | memoryview) -> None:
        view = memoryview(piece)
        try:
            while view:
                view = view[os.write(handle, view) :]
        except OSError as error:
            raise _no_room(error) from error

    return write


def _no_room(error: OSError) -> DestinationError:
    failed = DestinationError(f"a reference can't be kept for a while: {error.strerror}", where=tempfile.gettempdir())
    failed.next_step = "Make room there, or name another directory in TMPDIR."
    return failed


def unpin(  # noqa: PLR0913 - which content, which URI, and how: all by keyword
    store: Store,
    reference: str,
    paths: Paths = (),
    *,
    uri: str | None = None,
    rules: ReferenceRules | None = None,
    options: PushOptions | None = None,
    progress: Progress = NULL_PROGRESS,
) -> PushResult:
    """Make a new version in which stored files are references again: the way back from `pin`.

    Each file's reference is the one that the newest older version has at its path. What it gives now must be what is
    stored, by digest; the new reference keeps that digest.

    Args:
        reference: The version to start from.
        paths: These files; by default all that were references in an older version.
        uri: Instead of what older versions say, for one path.
        rules, options: As of `pin`.

    Raises:
        PathNotFound: No file is at one of the paths, or none was ever a reference.
        ReferenceChanged: What a reference gives is not what is stored.
        ReferenceUnreachable, ReferenceNotAllowed: It can't be read.
        As `Store.push_composition`.
    """
    if uri is not None and len(paths) != 1:
        raise ValueError("one URI is for one path")
    info = store.show(reference)
    files = {entry.path for entry in store.files(info.version) if entry.kind == EntryKind.FILE}
    wanted = _wanted(info, files, [_object_path(path) for path in listed("paths", paths)])
    if uri is not None:
        sources = {path: ReferenceTarget(uri=uri) for path in wanted}
    else:
        sources = _older_references(store, info, wanted, must_have=bool(paths))
    with Origins(rules or rules_of(store)) as origins:
        progress.phase("comparing with references", total_files=len(sources), total_bytes=None)

        def one(path: bytes) -> ReferenceTarget:
            found = _same_content(store, f"{info.version}/{os.fsdecode(path)}", sources[path], origins)
            progress.advance(files=1)
            return found

        targets = dict(zip(sources, origins.map(one, sources), strict=True))
    composition = Composition(carried=(_all_of(info),), references=targets)
    return store.push_composition(composition, info.name, options=_options(store, info, options), progress=progress)


def _wanted(info: VersionInfo, files: set[bytes], paths: Sequence[bytes]) -> set[bytes]:
    if not paths:
        return files
    wanted: set[bytes] = set()
    for path in paths:
        below = {file for file in files if file == path or file.startswith(path + b"/")}
        if not below:
            raise PathNotFound(f"{info.version} has no file at {shown(path)}, nor below it", where=shown(path))
        wanted |= below
    return wanted


def _older_references(
    store: Store, info: VersionInfo, wanted: set[bytes], *, must_have: bool
) -> dict[bytes, ReferenceTarget]:
    """For each path the reference that the newest older version has there."""
    found: dict[bytes, ReferenceTarget] = {}
    for older in store.versions(info.name):
        if older.slot >= info.slot or not older.references:
            continue
        there = references_in(store.files(older.version))
        found = {**{path: there[path] for path in wanted & there.keys()}, **found}
        if len(found) == len(wanted):
            break
    missing = sorted(wanted - found.keys()) if must_have or not found else []
    if missing:
        raise PathNotFound(
            f"no older version of {info.name} has a reference at {shown(missing[0])}",
            where=info.version,
            next_step="Say which URI it is to be.",
        )
    return dict(sorted(found.items()))


def _same_content(store: Store, stored: str, target: ReferenceTarget, origins: Origins) -> ReferenceTarget:
    """A reference as it looks now, proved to give what is stored."""
    digest, size_bytes = _stored_digest(store, stored)
    resolution = resolve(target.uri, origins)
    if resolution.is_prefix:
        raise ReferenceNotAllowed(f"{target.uri} is a prefix, and {stored} is one file", where=target.uri)
    now = resolution.targets[b""]
    if now.size_bytes in (None, size_bytes):
        read = fetch(now, origins, _ignore)
        if read.digest == digest:
            return msgspec.structs.replace(now, size_bytes=size_bytes, digest=digest)
        new: dict[str, object] = {"digest": read.digest.hex()}
        old: dict[str, object] = {"digest": digest.hex()}
    else:
        new, old = {"size_bytes": now.size_bytes}, {"size_bytes": size_bytes}
    raise ReferenceChanged(f"{target.uri} does not give what is stored as {stored}", old=old, new=new, where=target.uri)


def _stored_digest(store: Store, stored: str) -> tuple[bytes, int]:
    hasher = blake3.blake3(derive_key_context=REFERENCE_CONTEXT)
    size_bytes = 0
    with store.open(stored) as file:
        while piece := file.read(_PIECE_BYTES):
            hasher.update(piece)
            size_bytes += len(piece)
    return hasher.digest(), size_bytes


def _ignore(piece: bytes | bytearray | memoryview) -> None:
    pass


def _all_of(info: VersionInfo) -> Carried:
    return Carried(reference=parse_whole(info.version))


def _options(store: Store, info: VersionInfo, given: PushOptions | None) -> PushOptions:
    """As the version was: pinning changes where content lies, and nothing that people said of it."""
    if given is not None:
        return replace(given, made_from=(*given.made_from, info.version))
    expires = parse_expiry(info.expires) if info.expires else None
    return PushOptions(
        message=info.message,
        labels=tuple(info.labels),
        metadata=dict(info.metadata),
        ttl_seconds=None if expires is None else expires - store.catalog.clock.now(),
        made_from=(info.version,),
    )


def _object_path(path: str | bytes) -> bytes:
    return check_object_path(os.fsencode(path).rstrip(b"/"))
