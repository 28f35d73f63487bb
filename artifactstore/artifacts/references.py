"""References: entries of a version whose content stays elsewhere.

    resolve   a URI, or a prefix of many        → what is there, as it looks now
    verify    what was recorded, and what is there now → what drifted
    fetch     the content of one                → checked against what was recorded

What was recorded proves content by the strongest of: a digest, a version that the place keeps, an entity tag, a size.
From the entity tag down the proof is weak: places may give equal tags to other bytes, and other tags to equal ones.
A digest that was recorded decides alone, whenever content is read.
"""

import enum
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import unquote_to_bytes, urlsplit

import blake3

from artifactstore.artifacts.file_origin import FileOrigin
from artifactstore.artifacts.fsspec_origin import FsspecOrigin
from artifactstore.artifacts.http_origin import HttpOrigin
from artifactstore.artifacts.origins import MODIFIED, Facts, Found, Origin
from artifactstore.artifacts.paths import check_object_path, directory_path, object_path
from artifactstore.artifacts.reference_rules import ARTIFACT_SCHEME, ReferenceRules, check_uri
from artifactstore.clock import SYSTEM_CLOCK, Clock
from artifactstore.digest import REFERENCE_CONTEXT, Buffer
from artifactstore.errors import (
    ConfigurationError,
    InvalidName,
    InvalidPath,
    ReferenceChanged,
    ReferenceGone,
    ReferenceNotAllowed,
    ReferenceNotFound,
    ReferenceUnreachable,
)
from artifactstore.manifest.model import ReferenceTarget
from artifactstore.names import parse_reference
from artifactstore.transfer.progress import NULL_PROGRESS, Progress

_REQUESTS: Final = 8
_PROGRESS_BYTES: Final = 64 << 10
_VERSION_MARK: Final = "?versionId="
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_ENCODED: Final = frozenset({"http", "https", "file"})


class Proof(enum.Enum):
    """What shows that content is the same, the strongest first."""

    DIGEST = "digest"
    VERSION = "version"
    ETAG = "etag"
    SIZE = "size"
    NOTHING = "nothing"

    @property
    def is_weak(self) -> bool:
        """Whether other content could pass."""
        return self not in (Proof.DIGEST, Proof.VERSION)


class DriftState(enum.Enum):
    """How a reference stands."""

    SAME = "same"
    CHANGED = "changed"
    GONE = "gone"
    UNREACHABLE = "unreachable"
    NOT_ALLOWED = "not allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One thing that differs: ``size_bytes``, ``etag``, ``version_id`` or ``digest``."""

    field: str
    old: str | int
    new: str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One reference, held against what is there now.

    Attributes:
        path: In the version.
        uri: Where its content lies.
        state: Same, or what became of it.
        changes: What differs. With `SAME` the digest proved that the content does not.
        proof: What `SAME` rests on.
        reason: Why it can't be said, for `GONE`, `UNREACHABLE` and `NOT_ALLOWED`.
    """

    path: bytes
    uri: str
    state: DriftState
    changes: tuple[FieldChange, ...] = ()
    proof: Proof = Proof.NOTHING
    reason: str = ""

    @property
    def is_weak(self) -> bool:
        """Whether it looks the same, and nothing proves that it is."""
        return self.state is DriftState.SAME and self.proof.is_weak


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a URI stands for.

    Attributes:
        uri: As given.
        is_prefix: Whether it stands for what is below it.
        targets: For one object, its target under the empty path; for a prefix, each object under its path below it.
    """

    uri: str
    is_prefix: bool
    targets: Mapping[bytes, ReferenceTarget]

    def placed(self, obj_path: str | bytes | None = None) -> dict[bytes, ReferenceTarget]:
        """The targets by object path.

        Args:
            obj_path: None for the last part of the URI; with a slash at the end, in there under that name; ``.`` puts
                what a prefix holds at the root.

        Raises:
            InvalidPath: No version can hold one of the paths.
        """
        top = _object_path(self.uri, obj_path, is_prefix=self.is_prefix)
        above = top + b"/" if top else b""
        return {check_object_path(above + path if path else top): target for path, target in self.targets.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Content that was read whole.

    Attributes:
        size_bytes: How much it was.
        digest: Of all of it, in the context of references.
        proof: What shows that it is what was recorded.
    """

    size_bytes: int
    digest: bytes
    proof: Proof


class Origins:
    """The places of one task, opened when they are first needed. A context manager; safe for threads."""

    def __init__(self, rules: ReferenceRules, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.rules = rules
        self.clock = clock
        self._pool = ThreadPoolExecutor(_REQUESTS, "artifactstore-references")
        self._lock = threading.Lock()
        self._opened: dict[str, Origin] = {}

    def __enter__(self) -> "Origins":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back connections and threads."""
        self._pool.shutdown(cancel_futures=True)
        for origin in self._opened.values():
            origin.close()
        self._opened.clear()

    def of(self, uri: str) -> Origin:
        """The place that a URI lies in.

        Raises:
            ReferenceNotAllowed: The rules refuse the URI.
            ConfigurationError: A package for its scheme is missing.
        """
        scheme = check_uri(uri, self.rules)
        with self._lock:
            if scheme not in self._opened:
                self._opened[scheme] = _open(scheme, self.rules)
            return self._opened[scheme]

    def map(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """``work`` of each item, some at a time, in order."""
        return self._pool.map(work, items)


def _open(scheme: str, rules: ReferenceRules) -> Origin:
    if scheme in ("http", "https"):
        return HttpOrigin(scheme, rules)
    return FileOrigin(rules) if scheme == "file" else FsspecOrigin(scheme, rules)


# -- resolving ---------------------------------------------------------------------------------------


def resolve(uri: str, origins: Origins, *, digest: bool = False, progress: Progress = NULL_PROGRESS) -> Resolution:
    """Look at what a URI stands for: one object, or everything below a prefix.

    A prefix is a directory, or a URI with a slash at the end.

    Args:
        digest: Read all content now, and record its digests.
        progress: Told of each object as of a file: found, and with ``digest`` read.

    Raises:
        ReferenceNotAllowed: The rules refuse the URI, or something below it.
        ReferenceNotFound: Nothing is there, or nothing below it.
        ReferenceUnreachable: It could not be found out.
    """
    progress.phase("looking at references", total_files=None, total_bytes=None)
    found = origins.of(uri).look(uri)
    objects = _expand(uri, origins, progress) if found.is_prefix else {b"": found}
    if not objects:
        raise ReferenceNotFound(f"nothing is below {uri}", where=uri)
    if digest:
        progress.phase("reading references", total_files=len(objects), total_bytes=_size_bytes(objects.values()))
    targets = origins.map(partial(_target, origins=origins, digest=digest, progress=progress), objects.values())
    return Resolution(uri=uri, is_prefix=found.is_prefix, targets=dict(zip(objects, targets, strict=True)))


def _size_bytes(objects: Iterable[Found]) -> int | None:
    """Of all of them together; None where one does not say."""
    sizes = [each.facts.size_bytes if each.facts is not None else None for each in objects]
    return None if None in sizes else sum(filter(None, sizes))


def _target(found: Found, origins: Origins, *, digest: bool, progress: Progress) -> ReferenceTarget:
    facts = found.facts or Facts()
    target = ReferenceTarget(uri=found.uri, size_bytes=facts.size_bytes, etag=facts.etag, version_id=facts.version_id)
    if not digest:
        return target
    read = fetch(target, origins, lambda piece: progress.advance(content_bytes=len(piece)))
    progress.advance(files=1)
    return ReferenceTarget(
        uri=found.uri, size_bytes=read.size_bytes, etag=facts.etag, version_id=facts.version_id, digest=read.digest
    )


def _ignore(piece: Buffer) -> None:
    pass


def _expand(uri: str, origins: Origins, progress: Progress) -> dict[bytes, Found]:
    """All objects below a prefix, by their paths below it, in order."""
    objects: dict[bytes, Found] = {}
    seen = {uri}
    level = [(b"", uri)]
    while level:
        below: list[tuple[bytes, str]] = []
        for path, found in _level(level, origins):
            if not found.is_prefix:
                objects[path] = found
                progress.advance(files=1)
            elif found.uri not in seen:
                seen.add(found.uri)
                below.append((path, found.uri))
            if len(objects) + len(seen) > origins.rules.max_objects:
                raise ReferenceNotAllowed(f"{uri} has over {origins.rules.max_objects:,} objects", where=uri)
        level = below
    return {path: objects[path] for path in sorted(objects)}


def _level(prefixes: Sequence[tuple[bytes, str]], origins: Origins) -> Iterator[tuple[bytes, Found]]:
    listings = origins.map(lambda uri: origins.of(uri).children(uri), [uri for _, uri in prefixes])
    rows = []
    for (above, uri), children in zip(prefixes, listings, strict=True):
        rows += [(_below(above, child, uri), child) for child in children]
    looked = origins.map(lambda row: _looked(row, origins), [child for _, child in rows])
    yield from zip((path for path, _ in rows), looked, strict=True)


def _looked(child: Found, origins: Origins) -> Found:
    if child.is_prefix or child.facts is not None:
        check_uri(child.uri, origins.rules)
        return child
    return origins.of(child.uri).look(child.uri)


def _below(above: bytes, child: Found, uri: str) -> bytes:
    path = above + b"/" + child.name if above else child.name
    try:
        return check_object_path(path)
    except InvalidPath as error:
        raise ReferenceNotAllowed(f"below {uri}: {error}", where=uri) from error


def _object_path(uri: str, obj_path: str | bytes | None, *, is_prefix: bool) -> bytes:
    # The rules for files and directories want a source for its last part only.
    source = b"/" + name_of(uri)
    return directory_path(source, obj_path) if is_prefix else object_path(source, obj_path)


def name_of(uri: str) -> bytes:
    """The last part of a URI, as a name; the host, bucket or artifact where it has no other."""
    scheme, _, rest = uri.partition("://")
    if scheme.lower() == ARTIFACT_SCHEME:
        with suppress(InvalidName):  # a folder
            stored = parse_reference(rest.strip("/"))
            return stored.path.rpartition(b"/")[2] or stored.name.last.encode()
    if scheme.lower() in _ENCODED:
        parts = urlsplit(uri)
        path = unquote_to_bytes(parts.path).rstrip(b"/") or (parts.hostname or "").encode()
    else:
        path = rest.partition(_VERSION_MARK)[0].rstrip("/").encode("utf-8", "surrogateescape")
    return path.rpartition(b"/")[2]


# -- what was recorded, against what is there -----------------------------------------------------------


def strength(target: ReferenceTarget) -> Proof:
    """The strongest proof that was recorded."""
    if target.digest:
        return Proof.DIGEST
    if target.version_id:
        return Proof.VERSION
    if target.etag:
        return Proof.ETAG
    return Proof.NOTHING if target.size_bytes is None else Proof.SIZE


def verify(path: bytes, target: ReferenceTarget, origins: Origins, *, content: bool = False) -> Drift:
    """Look at what is there now.

    Args:
        content: Read it too, where a digest was recorded.

    Returns:
        What drifted. Nothing about the place is an error.
    """
    try:
        return _verify(path, target, origins, content=content)
    except ReferenceNotAllowed as error:
        state, reason = DriftState.NOT_ALLOWED, error.what
    except (ReferenceUnreachable, ConfigurationError) as error:
        state, reason = DriftState.UNREACHABLE, error.what
    except ReferenceNotFound as error:
        state, reason = DriftState.GONE, error.what
    except ReferenceChanged as error:
        state, reason = DriftState.CHANGED, error.what
    return Drift(path=path, uri=target.uri, state=state, reason=reason)


def _verify(path: bytes, target: ReferenceTarget, origins: Origins, *, content: bool) -> Drift:
    found = origins.of(target.uri).look(target.uri)
    if found.facts is None:
        raise ReferenceNotFound("a prefix is there now, and it was an object", where=target.uri)
    changes, proof = _compare(target, found.facts)
    if content and target.digest and not _has(changes, "size_bytes"):
        now = ReferenceTarget(uri=target.uri, size_bytes=found.facts.size_bytes)
        read = fetch(now, origins, _ignore)
        if read.digest == target.digest:
            proof = Proof.DIGEST
        else:
            changes.append(FieldChange(field="digest", old=target.digest.hex(), new=read.digest.hex()))
            proof = Proof.NOTHING
    is_same = not changes or proof in (Proof.DIGEST, Proof.VERSION)
    state = DriftState.SAME if is_same else DriftState.CHANGED
    return Drift(path=path, uri=target.uri, state=state, changes=tuple(changes), proof=proof)


def _compare(target: ReferenceTarget, facts: Facts) -> tuple[list[FieldChange], Proof]:
    """What differs, and the strongest sign that agrees. What one side does not know says nothing."""
    changes: list[FieldChange] = []
    proof = Proof.NOTHING
    pairs: list[tuple[str, str | int | None, str | int | None, Proof]] = [
        ("size_bytes", target.size_bytes, facts.size_bytes, Proof.SIZE),
        ("etag", target.etag, facts.etag if _is_alike(target.etag, facts.etag) else "", Proof.ETAG),
        ("version_id", target.version_id, facts.version_id, Proof.VERSION),
    ]
    for field, old, new, strong in pairs:
        if old in (None, "") or new in (None, ""):
            continue
        if old != new:
            changes.append(FieldChange(field=field, old=old or 0, new=new or 0))
        else:
            proof = strong
    if _has(changes, "size_bytes"):
        proof = Proof.NOTHING
    return changes, proof


def _is_alike(one: str, other: str) -> bool:
    # An entity tag says nothing about a time.
    return one.startswith(MODIFIED) == other.startswith(MODIFIED)


def _has(changes: Iterable[FieldChange], field: str) -> bool:
    return any(change.field == field for change in changes)


# -- content --------------------------------------------------------------------------------------------


def fetch(target: ReferenceTarget, origins: Origins, write: Callable[[Buffer], object]) -> Fetched:
    """Read the content of a reference. Only when this returns is what was written known to be right.

    Where a version was recorded and the place keeps versions, that one is read, whatever came after it.

    Args:
        write: Takes each piece, in order. It may have been given some when this fails.

    Raises:
        ReferenceChanged: Something else is there now; `ReferenceGone`: nothing.
        ReferenceNotAllowed: The rules refuse the URI, or its content is longer than they allow.
        ReferenceUnreachable: The place did not answer, or not to the end, or much too slowly.
    """
    reading = _Reading(target, write, origins)
    with _gone_is_changed(target):
        after = origins.of(target.uri).read(
            target.uri, version_id=target.version_id, before=reading.begin, write=reading.write
        )
    return reading.end(after)


def check_unchanged(target: ReferenceTarget, origins: Origins) -> None:
    """Find out without reading whether `fetch` can succeed. That it can is not promised.

    Raises:
        As `fetch`.
    """
    if target.version_id:
        return  # that version may be there still, whatever came after it: `fetch` will tell
    reading = _Reading(target, _ignore, origins)
    with _gone_is_changed(target):
        found = origins.of(target.uri).look(target.uri)
        if found.facts is None:
            raise ReferenceNotFound("a prefix is there now, and it was an object", where=target.uri)
    reading.begin(found.facts)


@contextmanager
def _gone_is_changed(target: ReferenceTarget) -> Iterator[None]:
    try:
        yield
    except ReferenceUnreachable:
        raise
    except ReferenceNotFound as error:
        old = _recorded(target)
        raise ReferenceGone(f"nothing is at {target.uri} any more", old=old, new={}, where=target.uri) from error


class _Reading:
    """One reference on its way in, checked as it comes."""

    def __init__(self, target: ReferenceTarget, write: Callable[[Buffer], object], origins: Origins) -> None:
        self._target = target
        self._write = write
        self._rules = origins.rules
        self._clock = origins.clock
        self._progress_count = 0
        self._progress_at = 0.0
        self._hasher = blake3.blake3(derive_key_context=REFERENCE_CONTEXT)
        self._count = 0
        self._first = Facts()
        self._proof = Proof.NOTHING

    def begin(self, facts: Facts) -> None:
        changes, self._proof = _compare(self._target, facts)
        self._first = facts
        # Of equal bytes a place may change the tag and the version: with a digest, the bytes themselves decide.
        is_proved = self._proof is Proof.VERSION or bool(self._target.digest)
        if changes and (not is_proved or _has(changes, "size_bytes")):
            raise self._changed(changes)
        self._check_length(facts.size_bytes or 0)
        self._progress_at = self._clock.monotonic()

    def write(self, piece: Buffer) -> None:
        self._count += len(piece)
        expected = self._target.size_bytes
        if expected is not None and self._count > expected:
            raise self._changed([FieldChange(field="size_bytes", old=expected, new=self._count)])
        self._check_length(self._count)
        came_at = self._clock.monotonic()
        self._check_progress(came_at)
        self._hasher.update(piece)
        self._write(piece)
        self._progress_at += self._clock.monotonic() - came_at  # what we take is none of the place's

    def _check_length(self, count: int) -> None:
        # Whoever has the place may go on for ever, and no size was recorded that would tell.
        limit = self._rules.max_unsized_bytes
        if self._target.size_bytes is None and count > limit:
            raise ReferenceNotAllowed(
                f"{self._target.uri} is longer than {limit:,} bytes, and its size was not recorded",
                where=self._target.uri,
                next_step="Add it again where it tells its size, or raise `max_unsized_bytes` of `ReferenceRules`.",
            )

    def _check_progress(self, now: float) -> None:
        if self._count - self._progress_count >= _PROGRESS_BYTES:
            self._progress_count, self._progress_at = self._count, now
        elif now - self._progress_at > self._rules.max_stall_seconds:
            raise ReferenceUnreachable(
                f"{self._target.uri} comes too slowly: under {_PROGRESS_BYTES >> 10} KiB in the last "
                f"{self._rules.max_stall_seconds:g} seconds",
                where=self._target.uri,
            )

    def end(self, after: Facts) -> Fetched:
        uri, digest = self._target.uri, self._hasher.digest()
        if self._target.digest:
            if digest != self._target.digest:
                raise self._changed([FieldChange(field="digest", old=self._target.digest.hex(), new=digest.hex())])
            return Fetched(size_bytes=self._count, digest=digest, proof=Proof.DIGEST)
        announced = self._first.size_bytes
        if after != self._first:
            changes = _compare(ReferenceTarget(uri=uri, **_fields(self._first)), after)[0]
            raise self._changed(changes, while_read=True)
        if announced is not None and announced != self._count:
            raise ReferenceUnreachable(f"{uri} ended after {self._count} of {announced} bytes", where=uri)
        expected = self._target.size_bytes
        if expected is not None and expected != self._count:
            raise self._changed([FieldChange(field="size_bytes", old=expected, new=self._count)])
        return Fetched(size_bytes=self._count, digest=digest, proof=self._proof)

    def _changed(self, changes: Sequence[FieldChange], *, while_read: bool = False) -> ReferenceChanged:
        when = "while it was read" if while_read else "since it was added"
        names = ", ".join(change.field.removesuffix("_bytes").replace("_", " ") for change in changes)
        told = "; ".join(f"{_told(change.old)} is now {_told(change.new)}" for change in changes)
        return ReferenceChanged(
            f"{self._target.uri} has changed {when}" + (f" ({names}: {told})" if changes else ""),
            old={change.field: change.old for change in changes},
            new={change.field: change.new for change in changes},
            where=self._target.uri,
        )


def _told(value: str | int) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _fields(facts: Facts) -> dict[str, Any]:
    return {"size_bytes": facts.size_bytes, "etag": facts.etag, "version_id": facts.version_id}


def _recorded(target: ReferenceTarget) -> dict[str, object]:
    fields = {
        "size_bytes": target.size_bytes,
        "etag": target.etag,
        "version_id": target.version_id,
        "digest": target.digest.hex(),
    }
    return {name: value for name, value in fields.items() if value not in (None, "")}
