"""An artifact as a dictionary: what `Artifact.to_dict` gives and `Artifact.parse_from_dict` takes.

It may come from anywhere, so everything in it is checked before any of it counts.
"""

import os
from typing import Annotated

import msgspec
from msgspec import Meta

from artifactstore.artifacts.objects import Additions
from artifactstore.artifacts.paths import check_object_path
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.digest import parse_digest
from artifactstore.manifest.model import ReferenceTarget
from artifactstore.names import Name, Reference, check_label, parse_whole
from artifactstore.transfer.found import Scan

_MAX_URI = 8192


class Addition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that was added and not uploaded yet.

    Attributes:
        kind: ``file``, ``directory``, ``reference``, or ``new_file``: what was written with `Artifact.new_file`, which
            only lives as long as its artifact.
        path: Object path; empty for the artifact's root.
        source: Absolute path on this machine.
    """

    kind: str
    path: str
    source: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    uri: Annotated[str, Meta(max_length=_MAX_URI)] = ""
    size_bytes: Annotated[int, Meta(ge=0)] | None = None
    etag: str = ""
    version_id: str = ""
    digest: str = ""


class ArtifactDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The dictionary. Fields that are not known are left alone: ``objects`` is one of them."""

    name: str
    labels: tuple[str, ...] = ()
    description: str = ""
    metadata: dict[str, object] = {}
    version: str | None = None
    base: str | None = None
    removed: tuple[str, ...] = ()
    additions: tuple[Addition, ...] = ()

    def base_reference(self) -> Reference | None:
        return parse_whole(self.base) if self.base is not None else None

    def without(self) -> frozenset[bytes]:
        return frozenset(check_object_path(path) for path in self.removed)

    def read_additions(self) -> Additions:
        """What was added, looked at again.

        Raises:
            ValueError: One of them can't be read from a dictionary.
            SourceError: Its source is not there any more.
        """
        additions = Additions()
        for number, addition in enumerate(self.additions):
            try:
                _add(additions, addition)
            except ValueError as error:
                raise ValueError(f"additions[{number}]: {error}") from error
        return additions


def parse_document(data: object) -> ArtifactDocument:
    """Check a dictionary.

    Raises:
        ValueError: It is not one of an artifact; the message has the path of the field.
    """
    try:
        document = msgspec.convert(data, ArtifactDocument)
    except msgspec.ValidationError as error:
        raise ValueError(f"not an artifact: {error}") from error
    Name(document.name)
    for label in document.labels:
        check_label(label)
    if document.version is not None:
        parse_whole(document.version)
    document.base_reference()
    document.without()
    return document


def serialize_additions(additions: Additions) -> list[dict[str, object]]:
    """What was added, as values that JSON can hold."""
    rows = []
    for part in additions.placed:
        kind = "new_file" if part.is_temporary else "directory" if isinstance(part.added, Scan) else "file"
        rows.append(
            Addition(
                kind=kind,
                path=os.fsdecode(part.path),
                source=os.fsdecode(part.source),
                include=part.include,
                exclude=part.exclude,
            )
        )
    for path, target in additions.references.items():
        rows.append(
            Addition(
                kind="reference",
                path=os.fsdecode(path),
                uri=target.uri,
                size_bytes=target.size_bytes,
                etag=target.etag,
                version_id=target.version_id,
                digest=target.digest.hex(),
            )
        )
    return [msgspec.to_builtins(row) for row in rows]


def _add(additions: Additions, addition: Addition) -> None:
    path = check_object_path(addition.path) if addition.path or addition.kind != "directory" else b""
    source = os.fsencode(addition.source)
    if addition.kind in ("file", "directory") and not os.path.isabs(source):
        raise ValueError(f"source {addition.source!r} is not an absolute path")
    match addition.kind:
        case "file":
            additions.add_file(source, path)
        case "directory":
            additions.add_directory(
                source, path, include=addition.include, exclude=addition.exclude, clock=SYSTEM_CLOCK
            )
        case "reference":
            additions.add_references({path: _target(addition)}, _target(addition).uri)
        case "new_file":
            raise ValueError(f"{addition.path!r} was written with new_file: only an upload keeps it")
        case kind:
            raise ValueError(f"kind {kind!r} is not known")


def _target(addition: Addition) -> ReferenceTarget:
    return ReferenceTarget(
        uri=addition.uri,
        size_bytes=addition.size_bytes,
        etag=addition.etag,
        version_id=addition.version_id,
        digest=parse_digest(addition.digest) if addition.digest else b"",
    )
