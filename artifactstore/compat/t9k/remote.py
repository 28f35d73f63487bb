"""Artifacts in a store: which name an upload goes to, and what a version says of the Artifact it holds.

    /user/folder/name       the name user/folder/name; each upload is a version of it
    objects, references     the version's content
    everything else         the version's labels and message, and exactly under `t9k` in its metadata

An upload of an Artifact that has the name already (the same alternative name) is a new
version. Another one's name is a conflict, and the strategy decides.
"""

import contextlib
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from artifactstore.artifacts.folders import folder_exists, make_folder
from artifactstore.compat.t9k.documents import Metadata, metadata_from
from artifactstore.compat.t9k.errors import (
    ArtifactExists,
    FolderNotFound,
    NotAnArtifact,
    UnsafeArtifact,
)
from artifactstore.compat.t9k.naming import (
    DEFAULT_FOLDER,
    METADATA_FILE,
    REFERENCES_FILE,
    alternative_name,
    check_segment,
    remote_path,
    store_folder,
)
from artifactstore.compat.t9k.session import Session
from artifactstore.errors import InvalidName, NameNotFound, StoreNotFound, VersionDeleted, VersionExists
from artifactstore.manifest.model import EntryKind, ReferenceTarget
from artifactstore.manifest.paths import shown
from artifactstore.names import check_label, parse_reference
from artifactstore.results import VersionInfo
from artifactstore.store import Store
from artifactstore.transaction.edits import VersionEdit
from artifactstore.transaction.records import parse_timestamp
from artifactstore.transaction.upload import Strategy
from artifactstore.transfer.compose import Composition, Placed
from artifactstore.transfer.found import FollowLinks
from artifactstore.transfer.plan import ConflictStrategy, PullOptions
from artifactstore.transfer.push import PushOptions, PushResult

STRATEGIES: Final = ("skip", "error", "new", "replace")
KEY: Final = "t9k"
_MAX_ATTEMPTS: Final = 10
_MAX_MESSAGE_BYTES: Final = 64 << 10
_MAX_HISTORY: Final = 100
# The last pattern that matches decides: everything, whatever an .artifactignore says, but what is not an object.
_EXCLUDE: Final = ("!*", f"/{METADATA_FILE}", f"/{REFERENCES_FILE}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An Artifact on its way to a store.

    Attributes:
        directory: Its local directory, absolute.
        references: URIs by object path.
        moment: When, ISO 8601.
    """

    metadata: Metadata
    directory: str
    references: Mapping[str, str]
    moment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where an upload goes.

    Attributes:
        folder: As people see it: `/user/folder`.
        make_folder: Whether it may be made.
    """

    folder: str
    make_folder: bool
    strategy: str


def check_strategy(strategy: str) -> str:
    """``strategy``, if there is such a one; ValueError otherwise."""
    if strategy not in STRATEGIES:
        raise ValueError(
            f"Not supported conflict strategy: {strategy!r}; there are {', '.join(STRATEGIES)}. Nothing was written."
        )
    return strategy


# -- upload ------------------------------------------------------------------------------------------


def upload(session: Session, item: Item, target: Target) -> dict[str, str] | None:
    """Make a version of the Artifact.

    Returns:
        The record for its history; None where strategy `skip` skipped it.

    Raises:
        FolderNotFound: The folder is not there, and may not be made.
        ArtifactExists: Another Artifact has the name, and the strategy is `error`; or it has the alternative name.
        As `Store.push_composition`.
    """
    folder = store_folder(target.folder)
    is_missing = _is_missing(session, target, folder)
    below = f"{folder}/" if folder else ""
    placed = _place(session.store, item, target, below)
    if placed is None:
        return None
    for notice in placed.notices:
        _log.warning("not uploaded: %s", notice)
    if is_missing:
        make_folder(session.store, folder)  # so that it stays when this Artifact goes
    return {
        "action": "upload",
        "timestamp": item.moment,
        "host": session.host,
        "id": placed.version or "",
        "path": f"/{placed.name}",
    }


def _is_missing(session: Session, target: Target, folder: str) -> bool:
    """Whether the folder is to be made.

    Raises:
        FolderNotFound: It is not there, and may not be.
    """
    if folder in ("", session.user, f"{session.user}/{DEFAULT_FOLDER}"):
        return False
    try:
        is_there = folder_exists(session.store, folder)
    except StoreNotFound:
        is_there = False  # in the end the push says so, or makes it
    if not is_there and not target.make_folder:
        raise FolderNotFound(f"Folder does not exist: '{target.folder}'")
    return not is_there


def _place(store: Store, item: Item, target: Target, below: str) -> PushResult | None:
    """Decide by what has the name now; who comes in between makes it decide once more."""
    own = below + item.metadata.name
    name, strategy = own, target.strategy
    for _ in range(_MAX_ATTEMPTS):
        standing = newest(store, name)
        if standing is None:
            how = Strategy.ERROR
        elif _is_same(standing, item):
            how = Strategy.VERSION
        elif strategy == "replace":
            how = Strategy.REPLACE
        elif strategy == "skip":
            _log.info("/%s is another Artifact: skipped", name)
            return None
        elif strategy == "new" and name == own:
            name = below + item.metadata.alternative_name
            continue
        else:
            break
        with contextlib.suppress(VersionExists):  # somebody was quicker: look again
            return _push(store, item, name, how, standing)
    raise _exists(target, name)


def _exists(target: Target, name: str) -> ArtifactExists:
    return ArtifactExists(f"Artifact already exists in Folder {target.folder}: '{name.rpartition('/')[2]}'")


def newest(store: Store, name: str) -> VersionInfo | None:
    """The newest live version of a name, or None."""
    try:
        return store.show(name)
    except (NameNotFound, VersionDeleted, StoreNotFound):
        return None


def _is_same(standing: VersionInfo, item: Item) -> bool:
    own = standing.metadata.get(KEY)
    return isinstance(own, dict) and own.get("alternativeName") == item.metadata.alternative_name


def _push(store: Store, item: Item, name: str, strategy: Strategy, standing: VersionInfo | None) -> PushResult:
    composition = Composition(
        placed=(Placed(source=os.fsencode(item.directory), exclude=_EXCLUDE),),
        references={os.fsencode(path): ReferenceTarget(uri=uri) for path, uri in item.references.items()},
    )
    notes = _Notes.of(item)
    options = PushOptions(
        strategy=strategy,
        message=notes.message,
        labels=notes.labels,
        metadata={KEY: notes.exact},
        follow_links=FollowLinks.ALWAYS,
    )
    done = store.push_composition(composition, name, options=options)
    if done.action == "unchanged" and standing is not None and done.version:
        # Content that is there already gives no version of its own: what it says of itself may be new all the same.
        _renew(store, done.version, notes)
    return done


@dataclass(frozen=True, slots=True, kw_only=True)
class _Notes:
    """What a version says of its Artifact.

    Attributes:
        labels, message: As far as a store can have them.
        exact: All of it.
    """

    labels: tuple[str, ...]
    message: str
    exact: dict[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, item: Item) -> "_Notes":
        exact = {**item.metadata.to_dict(), "remote": item.metadata.remote[-_MAX_HISTORY:], "uploaded": item.moment}
        return cls(labels=_fitting(item.metadata.labels), message=_summary(item.metadata.description), exact=exact)


def _renew(store: Store, version: str, notes: _Notes) -> None:
    standing = store.show(version)
    before = standing.metadata.get(KEY)
    same = isinstance(before, dict) and _identity(before) == _identity(notes.exact)
    if same and (standing.message, set(standing.labels)) == (notes.message, set(notes.labels)):
        return
    gone = tuple(label for label in standing.labels if label not in notes.labels)
    change = VersionEdit(
        message=notes.message, add_labels=notes.labels, remove_labels=gone, set_metadata={KEY: notes.exact}
    )
    store.edit(version, change)


def _identity(exact: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in exact.items() if key not in ("remote", "uploaded")}


def _fitting(labels: Iterable[str]) -> tuple[str, ...]:
    """The labels that a store can have, once each."""
    fitting = []
    for label in labels:
        try:
            fitting.append(check_label(label))
        except InvalidName:
            continue  # it stands in the exact list
    return tuple(dict.fromkeys(fitting))


def _summary(description: str) -> str:
    """As much of it as a message can hold."""
    return description.encode()[:_MAX_MESSAGE_BYTES].decode(errors="ignore")


# -- download ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A version that can be loaded.

    Attributes:
        version: ``name:v3``.
        metadata: With the record of its upload.
        references: URIs by object path.
    """

    version: str
    metadata: Metadata
    references: dict[str, str]


def find(session: Session, path: str) -> Found:
    """Look at what a remote path means: nothing is downloaded.

    Raises:
        NotFound: Nothing is there.
        NotAnArtifact: A folder is there, or a version that no local directory of an Artifact can hold.
        UnsafeArtifact: The version says something of itself that must not be followed.
        InvalidName: Not a path that a store can have.
    """
    reference = remote_path(path, user=session.user).lstrip("/")
    try:
        info = session.store.show(reference)
    except NameNotFound as error:
        if _is_folder(session.store, reference):
            raise NotAnArtifact(f"Remote path refers to type 'Folder' rather than 'Artifact': '{path}'") from error
        raise
    metadata = _metadata_of(info, session.host)
    return Found(version=info.version, metadata=metadata, references=_references_of(session.store, info))


def _is_folder(store: Store, reference: str) -> bool:
    return next(store.list(parse_reference(reference).name.text), None) is not None


def _metadata_of(info: VersionInfo, host: str) -> Metadata:
    exact = info.metadata.get(KEY)
    if exact is None:
        return _foreign(info)
    try:
        if not isinstance(exact, dict):
            raise ValueError("not a mapping")
        stored = metadata_from(exact)
        check_segment(stored.alternative_name)
        check_segment(stored.name)
    except (KeyError, ValueError) as error:
        raise UnsafeArtifact(
            f"the metadata of {info.version} is not that of an Artifact: {KEY}: {error}", where=info.version
        ) from error
    uploaded = exact.get("uploaded")
    record = {
        "action": "upload",
        "timestamp": uploaded if isinstance(uploaded, str) else info.created,
        "host": host,
        "id": info.version,
        "path": f"/{info.name}",
    }
    return Metadata(
        name=stored.name,
        labels=_current_labels(stored.labels, info.labels),
        # Edited in the store since: that counts.
        description=stored.description if info.message == _summary(stored.description) else info.message,
        created_timestamp=stored.created_timestamp,
        alternative_name=stored.alternative_name,
        remote=[*stored.remote, record],
    )


def _current_labels(exact: list[str], labels: tuple[str, ...]) -> list[str]:
    """The exact labels, with those that were added or taken away in the store since."""
    kept = [label for label in exact if label in labels or not _fitting([label])]
    return [*kept, *(label for label in labels if label not in kept)]


def _foreign(info: VersionInfo) -> Metadata:
    """An Artifact made of a version that was not uploaded by t9k: the same one for every load of the version."""
    name = info.name.rpartition("/")[2]
    seconds = parse_timestamp(info.created) or 0.0
    return Metadata(
        name=name,
        labels=list(info.labels),
        description=info.message,
        created_timestamp=info.created,
        alternative_name=alternative_name(name, seconds=seconds, entropy=bytes.fromhex(info.tx)),
    )


def _references_of(store: Store, info: VersionInfo) -> dict[str, str]:
    references: dict[str, str] = {}
    for entry in store.files(info.version):
        if entry.kind == EntryKind.LINK:
            raise NotAnArtifact(
                f"{info.version} has a symbolic link, {shown(entry.path)}: an Artifact has files only",
                next_step=f"Bring it to a directory with `artifactstore pull {info.version} DIRECTORY`.",
            )
        top = entry.path.partition(b"/")[0]
        if top in (METADATA_FILE.encode(), REFERENCES_FILE.encode()):
            raise NotAnArtifact(
                f"{info.version} has {shown(top)} at its top, where an Artifact keeps its own",
                next_step=f"Bring it to a directory with `artifactstore pull {info.version} DIRECTORY`.",
            )
        if entry.reference is not None:
            references[_text_of(info, entry.path)] = entry.reference.uri
    return references


def _text_of(info: VersionInfo, path: bytes) -> str:
    try:
        return path.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotAnArtifact(f"{info.version} has a reference at {shown(path)}, which is not text") from error


def fetch(session: Session, found: Found, directory: str) -> None:
    """Bring the objects to ``directory``, each checked; files that differ are replaced.

    Raises:
        As `Store.pull`.
    """
    session.store.pull(found.version, directory, options=PullOptions(strategy=ConflictStrategy.REPLACE))
