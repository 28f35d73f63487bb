"""What an artifact holds before it is uploaded: parts by object path, no two of them in each other's way."""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from artifactstore.artifacts.reference_rules import check_credentials
from artifactstore.clock import Clock
from artifactstore.errors import PathExists, SourceError, SourceUnreadable
from artifactstore.manifest.model import Entry, EntryKind, ReferenceTarget
from artifactstore.manifest.paths import shown
from artifactstore.transfer.compose import Composition, Placed, gather_placed
from artifactstore.transfer.found import Found, Scan, ScanOptions, found_file
from artifactstore.transfer.handles import missing_source, source_error

_SPECIAL: Final = re.compile(r"([\\*?\[\]!# ])")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactObject:
    """One object of an artifact.

    Attributes:
        path: Its object path.
        kind: ``file``, ``link``, ``directory`` (an empty one) or ``reference``.
        size_bytes: Of a file, or of what a reference points to as far as that is known.
        digest: File digest of a stored file, 64 hexadecimal digits; empty for what is not uploaded yet.
        uri: Of a reference.
    """

    path: str
    kind: str
    size_bytes: int | None = None
    digest: str = ""
    uri: str = ""


@dataclass(slots=True)
class Additions:
    """What was added, in the order in which it was.

    Attributes:
        placed: Files and directories of this machine.
        references: By object path.
    """

    placed: list[Placed] = field(default_factory=list)
    references: dict[bytes, ReferenceTarget] = field(default_factory=dict)
    _files: dict[bytes, str] = field(default_factory=dict)
    _folders: set[bytes] = field(default_factory=set)

    def add_file(self, source: bytes, path: bytes, *, is_temporary: bool = False) -> None:
        """Note a file; nothing of it is read.

        Raises:
            SourceNotFound, SourceUnreadable, SourceError: No file that can be read.
            PathExists: Something was added for this path already, or it lies in a file.
        """
        row = _file_row(source, path)
        self._claim([path], shown(source))
        self.placed.append(Placed(source=source, path=path, added=row, is_temporary=is_temporary))

    def add_directory(
        self, source: bytes, path: bytes, *, include: tuple[str, ...], exclude: tuple[str, ...], clock: Clock
    ) -> None:
        """Note a directory and what is in it now; nothing of it is read.

        Raises:
            SourceError: No directory, or one that can't be looked through.
            PathExists: Something in it was added for its path already.
        """
        if not os.path.isdir(source):
            if os.path.lexists(source):
                raise SourceError(f"{shown(source)} is not a directory: add it with add_file", where=shown(source))
            raise missing_source(source)
        part = Placed(source=source, include=include, exclude=exclude)
        added = gather_placed([part], options=ScanOptions(), clock=clock)
        self._claim(_paths_below(path, added), shown(source))
        self.placed.append(replace(part, path=path, added=added))

    def add_references(self, targets: Mapping[bytes, ReferenceTarget], origin: str) -> None:
        """Note references, all of them or none.

        Raises:
            ReferenceNotAllowed: A URI holds credentials.
            PathExists: Something was added for one of the paths already.
        """
        for target in targets.values():
            check_credentials(target.uri)
        self._claim(list(targets), origin)
        self.references.update(targets)

    def check_free(self, path: bytes) -> None:
        """Raises:
        PathExists: Something was added for this path already.
        """
        self._check(path, "what is to be added")

    def remove(self, path: bytes) -> bool:
        """Take back what was added at a path and below it; returns whether anything was."""
        references = {at: target for at, target in self.references.items() if not _is_at(at, path)}
        placed = [_without(part, path) for part in self.placed if not _is_at(part.path, path)]
        changed = len(references) != len(self.references) or placed != self.placed
        self.references, self.placed = references, placed
        self._reclaim()
        return changed

    def composition_parts(self) -> Composition:
        """What is added, as a composition without anything carried."""
        return Composition(placed=tuple(self.placed), references=dict(self.references))

    def objects(self) -> Iterator[ArtifactObject]:
        """Each object, as it was when it was added."""
        for part in self.placed:
            if isinstance(part.added, Scan):
                prefix = part.path + b"/" if part.path else b""
                yield from (_object_of_row(row, prefix + row.path) for row in part.added.found)
            elif part.added is not None:
                yield _object_of_row(part.added, part.path)
        for path, target in self.references.items():
            yield reference_object(path, target)

    # -- which paths are taken -----------------------------------------------------------------------

    def _claim(self, paths: Sequence[bytes], origin: str) -> None:
        for path in paths:
            self._check(path, origin)
        self._take(paths, origin)

    def _take(self, paths: Iterable[bytes], origin: str) -> None:
        folders = self._folders
        for path in paths:
            self._files[path] = origin
            folder = path.rpartition(b"/")[0]
            while folder and folder not in folders:
                folders.add(folder)
                folder = folder.rpartition(b"/")[0]

    def _check(self, path: bytes, origin: str) -> None:
        if path in self._files:
            raise PathExists(f"two entries for {shown(path)}: {self._files[path]} and {origin}", where=shown(path))
        if path in self._folders:
            raise PathExists(f"{shown(path)} is a directory of what was added: {origin} can't take its place")
        folder = path.rpartition(b"/")[0]
        while folder and folder not in self._folders:
            if folder in self._files:
                what = f"{shown(folder)} is a file ({self._files[folder]}), and {shown(path)} would lie in it"
                raise PathExists(what, where=shown(path))
            folder = folder.rpartition(b"/")[0]

    def _reclaim(self) -> None:
        self._files, self._folders = {}, set()
        for part in self.placed:
            paths = _paths_below(part.path, part.added) if isinstance(part.added, Scan) else [part.path]
            self._take(paths, shown(part.source))
        for path, target in self.references.items():
            self._take([path], target.uri)


def _paths_below(path: bytes, found: Scan) -> list[bytes]:
    """Where what a directory holds goes, but for empty directories: those may be in several parts."""
    prefix = path + b"/" if path else b""
    return [prefix + row.path for row in found.found if row.kind != EntryKind.DIRECTORY]


def _is_at(path: bytes, top: bytes) -> bool:
    return path == top or path.startswith(top + b"/")


def _without(part: Placed, path: bytes) -> Placed:
    """The part without what it has at a path."""
    if not isinstance(part.added, Scan) or (part.path and not path.startswith(part.path + b"/")):
        return part
    inside = path[len(part.path) + 1 :] if part.path else path
    kept = [row for row in part.added.found if not _is_at(row.path, inside)]
    if len(kept) == len(part.added.found):
        return part
    pattern = "/" + _SPECIAL.sub(r"\\\1", os.fsdecode(inside))
    return replace(part, exclude=(*part.exclude, pattern), added=replace(part.added, found=kept))


def reference_object(path: bytes, target: ReferenceTarget) -> ArtifactObject:
    """A reference, as an object."""
    return ArtifactObject(
        path=os.fsdecode(path),
        kind="reference",
        size_bytes=target.size_bytes,
        digest=target.digest.hex(),
        uri=target.uri,
    )


def stored_object(entry: Entry) -> ArtifactObject:
    """An entry of a version, as an object."""
    if entry.reference is not None:
        return reference_object(entry.path, entry.reference)
    kind = EntryKind(entry.kind)
    return ArtifactObject(
        path=os.fsdecode(entry.path),
        kind=kind.name.lower(),
        size_bytes=entry.size if kind is EntryKind.FILE else None,
        digest=entry.digest.hex(),
    )


def object_fields(item: ArtifactObject) -> dict[str, object]:
    """An object as values that JSON can hold."""
    fields: dict[str, object] = {"path": item.path, "kind": item.kind, "size_bytes": item.size_bytes}
    if item.digest:
        fields["digest"] = item.digest
    if item.uri:
        fields["uri"] = item.uri
    return fields


def _object_of_row(row: Found, path: bytes) -> ArtifactObject:
    kind = EntryKind(row.kind).name.lower()
    size = row.size if row.kind == EntryKind.FILE else None
    return ArtifactObject(path=os.fsdecode(path), kind=kind, size_bytes=size)


def _file_row(source: bytes, path: bytes) -> Found:
    try:
        looked = os.stat(source)
    except FileNotFoundError as error:
        raise missing_source(source) from error
    except OSError as error:
        raise source_error(error, source, doing="looking at") from error
    if not stat.S_ISREG(looked.st_mode):
        what = "is a directory: add it with add_dir" if stat.S_ISDIR(looked.st_mode) else "is not a regular file"
        raise SourceError(f"{shown(source)} {what}", where=shown(source))
    if not os.access(source, os.R_OK):
        raise SourceUnreadable(f"{shown(source)} can't be read", where=shown(source))
    return found_file(path, looked, 0)
