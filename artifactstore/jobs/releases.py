"""Releases: models and data sets of a project, with semantic versions.

    models = project("vision").models
    models.add("out/model", "resnet", "1.0.0", short_description="first")     # vision/models/resnet/1.0.0
    models.add("out/model", "resnet")                                         # 1.1.0: the next minor
    models.download("resnet", save_path="models").path                        # models/resnet-1.1.0

Each version is a name of the store of its own, made by the strategy that takes a name once: of any
number of writers that want a version one gets it, and what is there is never replaced. A version
that was deleted stays taken. Each is built on the one before it: what it has already is not sent.
"""

import enum
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from artifactstore.errors import InvalidName, NameNotFound, VersionDeleted, VersionExists
from artifactstore.jobs.close_names import did_you_mean
from artifactstore.jobs.project_folder import project_folder
from artifactstore.jobs.semantic_versions import FIRST_RELEASE, SemanticVersion, parse_semantic_version
from artifactstore.jobs.single_files import base_name, newest, note_use
from artifactstore.names import Latest, Name, Reference, check_folder, listed
from artifactstore.results import VersionInfo
from artifactstore.store import Store
from artifactstore.transaction.listing import ItemKind, holds_anything, list_whole_folder
from artifactstore.transaction.upload import Strategy
from artifactstore.transaction.versions import versions
from artifactstore.transfer.compose import Composition, Placed
from artifactstore.transfer.found import Notice
from artifactstore.transfer.plan import ConflictStrategy, PullOptions
from artifactstore.transfer.progress import NULL_PROGRESS, Progress
from artifactstore.transfer.pull import PullResult
from artifactstore.transfer.push import PushOptions, PushResult

PathLike = str | os.PathLike[str]
README: Final = b"README.md"
_NO_METADATA: Final[Mapping[str, object]] = {}


class ReleaseKind(enum.StrEnum):
    """What is released: also the folder of the project that it is in."""

    MODELS = "models"
    DATASETS = "datasets"

    @property
    def one(self) -> str:
        """What one of them is called."""
        return "model" if self is ReleaseKind.MODELS else "data set"

    @property
    def many(self) -> str:
        """What several of them are called."""
        return f"{self.one}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One version of a model or data set.

    Attributes:
        version: ``1.0.0``.
        reference: ``vision/models/resnet/1.0.0:v1``, for `Store.pull`, `Store.open`, lineage and lock files.
        created: RFC 3339, by the uploader's clock. who, host: the user and the machine that added it.
        made_by: Id of the job that added it, or empty.
        content_bytes: Of all files.
    """

    name: str
    version: str
    reference: str
    short_description: str
    metadata: Mapping[str, object]
    labels: tuple[str, ...]
    created: str
    who: str
    host: str
    made_by: str
    files: int
    content_bytes: int
    content_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseUpload:
    """What adding a release did.

    Attributes:
        version: ``1.0.0``: the one asked for, or the next minor. reference: its name in the store, with its version.
        new_bytes: Content that was not in the store. sent_bytes: of packs sent.
        notices: Paths left out, and why.
    """

    name: str
    version: str
    reference: str
    files: int
    content_bytes: int
    new_bytes: int
    sent_bytes: int
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseDownload:
    """What downloading a release did.

    Attributes:
        path: Absolute path of the directory that holds it.
        release: All that is noted on it.
        pulled: Which files came, which were here already, and which local edits were kept.
    """

    path: str
    release: Release
    pulled: PullResult

    def __fspath__(self) -> str:
        return self.path


class Releases:
    """The models, or the data sets, of one project.

    Attributes:
        project: Whose they are: a folder of the store.
        folder: ``<project>/models`` or ``<project>/datasets``.
        job_id: The job that adds and downloads; empty for the one that this code works for, if any.
    """

    def __init__(self, store: Store, project: str, kind: ReleaseKind, *, job_id: str = "") -> None:
        """
        Raises:
            InvalidName: The project can't be a folder of a store; the message says why, and what to do.
        """
        self.project: Final = project_folder(project)
        self.kind: Final = ReleaseKind(kind)
        self.folder: Final = f"{self.project}/{self.kind.value}"
        self.job_id: Final = job_id
        self._store = store

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.project!r}, {self.kind.value!r})"

    # -- adding ----------------------------------------------------------------------------------------

    def add(  # noqa: PLR0913 - what it is first, as people say it; the rest is optional, and by keyword
        self,
        source_path: PathLike,
        name: str,
        version: str | None = None,
        *,
        short_description: str = "",
        readme: PathLike | None = None,
        metadata: Mapping[str, object] = _NO_METADATA,
        labels: Sequence[str] = (),
        progress: Progress = NULL_PROGRESS,
    ) -> ReleaseUpload:
        """Add a version: a directory, or one file.

        Args:
            version: ``major.minor.micro``. By default the next minor of the highest there is (``1.4.0`` after
                ``1.3.3``), or ``1.0.0``.
            short_description: The message of the version.
            readme: A file that becomes its ``README.md``.
            metadata: Any JSON object.
            labels: For searching (docs/find.md).

        Raises:
            VersionExists: The version is, or was, taken. Nothing was changed.
            InvalidName: Not a name, or not ``major.minor.micro``.
            SourceNotFound, SourceError: There is nothing, or something can't be read. No version was made.
            PathExists: ``readme``, and the directory has a ``README.md``.
            As `Store.push`.
        """
        wanted = parse_semantic_version(version) if version is not None else None
        options = PushOptions(
            strategy=Strategy.ERROR,
            message=short_description,
            metadata=dict(metadata),
            labels=listed("labels", labels),
            made_by=self.job_id,
        )
        return self._adding(name, _placed(source_path, readme), options, progress).add(wanted)

    def _adding(self, name: str, placed: Sequence[Placed], options: PushOptions, progress: Progress) -> "_Adding":
        return _Adding(self, self._store, self._checked(name), placed, options, progress)

    # -- looking ---------------------------------------------------------------------------------------

    def list(self) -> tuple[str, ...]:
        """The names that have live versions, in order. A listing, and one more for each.

        Raises:
            StoreNotFound: There is no store.
        """
        catalog = self._store.catalog
        folders = [item.name for item in catalog.folder(self.folder) if item.is_folder]
        are_there = catalog.requests.map(partial(holds_anything, catalog.backend), folders)
        there = (folder for folder, is_there in zip(folders, are_there, strict=True) if is_there)
        return tuple(sorted(folder.rpartition("/")[2] for folder in there))

    def versions(self, name: str) -> tuple[Release, ...]:
        """The versions of a model or data set, the highest first.

        Raises:
            NameNotFound: There are none; the message names what is close to it.
        """
        found = self._released(name, self.taken(name))
        if not found:
            raise self._missing(name)
        return found

    def show(self, name: str, version: str | None = None) -> Release:
        """One version: the highest, unless it is named.

        Raises:
            NameNotFound: It is not there; the message names what is close to it.
            VersionDeleted: It is deleted.
            InvalidName: Not a name, or not ``major.minor.micro``.
        """
        if version is None:
            for candidate in self.taken(name):
                for release in self._released(name, [candidate]):
                    return release
            raise self._missing(name)
        wanted = parse_semantic_version(version)
        for release in self._released(name, [wanted]):
            return release
        raise self._missing(name, wanted)

    def taken(self, name: str) -> tuple[SemanticVersion, ...]:
        """The versions that were ever begun, the highest first: live or deleted, finished or not. One listing."""
        found = []
        for item in list_whole_folder(self._store.catalog.backend, f"{self.folder}/{self._checked(name)}"):
            if item.kind is ItemKind.NAME:
                try:
                    found.append(parse_semantic_version(item.text.rpartition("/")[2]))
                except InvalidName:
                    continue  # somebody's own name in this folder
        return tuple(sorted(found, reverse=True))

    def stored_name(self, name: str, version: SemanticVersion) -> Name:
        """What a version is called in the store.

        Raises:
            InvalidName: ``name`` is not one part of a name.
        """
        return Name(f"{self.folder}/{self._checked(name)}/{version}")

    def _released(self, name: str, wanted: Iterable[SemanticVersion]) -> tuple[Release, ...]:
        found = newest(self._store, [self.stored_name(name, version) for version in wanted])
        return tuple(_release(name, info) for info in found)

    def _checked(self, name: str) -> str:
        if not name or "/" in name:
            raise InvalidName(f"{name!r} can't name a {self.kind.one}: it is one part of a name, without slashes")
        return check_folder(name)

    # -- reading ---------------------------------------------------------------------------------------

    def download(
        self,
        name: str,
        version: str | None = None,
        save_path: PathLike = ".",
        *,
        strategy: ConflictStrategy | str = ConflictStrategy.ERROR,
        progress: Progress = NULL_PROGRESS,
    ) -> ReleaseDownload:
        """Bring a version to ``<save_path>/<name>-<version>``, checked. What is there already is not fetched again.

        Args:
            version: By default the highest.
            strategy: Where files that are there differ: ``error``, ``skip``, ``new``, ``replace`` (docs/download.md).

        Raises:
            NameNotFound: It is not there; the message names what is close to it.
            VersionDeleted: It is deleted.
            DownloadConflict: Files differ, and the strategy is `error`. Nothing was written.
            As `Store.pull`.
        """
        options = PullOptions(strategy=ConflictStrategy(strategy))
        release = self.show(name, version)
        place = os.path.join(save_path, f"{release.name}-{release.version}")
        done = self._store.pull(release.reference, place, options=options, progress=progress)
        note_use(self._store, release.reference, job_id=self.job_id)
        return ReleaseDownload(path=done.destination, release=release, pulled=done)

    def _missing(self, name: str, wanted: SemanticVersion | None = None) -> NameNotFound | VersionDeleted:
        there = [release.version for release in self._released(name, self.taken(name))]
        if not there:
            one, many = self.kind.one, self.kind.many
            others = [other for other in self.list() if other != name]
            return NameNotFound(
                f"project {self.project!r} has no {one} {name!r}",
                where=f"{self.folder}/{name}",
                next_step=did_you_mean(name, others, what=one, plural=f"{many} of this project"),
            )
        close = did_you_mean(str(wanted), there, what="version", plural="versions")
        if wanted is not None and was_committed(self._store, self.stored_name(name, wanted)):
            return VersionDeleted(f"{self.kind.one} {name!r} {wanted} is deleted", next_step=close)
        return NameNotFound(f"{self.kind.one} {name!r} has no version {wanted}", next_step=close)


@dataclass(frozen=True, slots=True)
class _Adding:
    """One version on its way."""

    releases: Releases
    store: Store
    name: str
    placed: Sequence[Placed]
    options: PushOptions
    progress: Progress

    def add(self, wanted: SemanticVersion | None) -> ReleaseUpload:
        there = self._taken()
        if wanted is not None:
            # The strategy sees live versions; a deleted one is taken, too.
            if wanted in there and was_committed(self.store, self.releases.stored_name(self.name, wanted)):
                raise self._exists(wanted)
            return self._made(self._push(wanted, there), wanted)
        wanted = self._next(there)
        while True:
            try:
                return self._made(self._push(wanted, there), wanted)
            except VersionExists:
                # Somebody took it: that was progress, so this ends.
                there = self._taken()
                wanted = max(self._next(there), wanted.next_minor())

    def _taken(self) -> tuple[SemanticVersion, ...]:
        return () if self.store.may_be_made else self.releases.taken(self.name)

    def _next(self, there: Iterable[SemanticVersion]) -> SemanticVersion:
        """What comes after the highest version that was ever finished. One that was given up is free."""
        for version in there:
            if was_committed(self.store, self.releases.stored_name(self.name, version)):
                return version.next_minor()
        return FIRST_RELEASE

    def _push(self, wanted: SemanticVersion, there: Sequence[SemanticVersion]) -> PushResult:
        composition = Composition(placed=self.placed, base=self._base(wanted, there))
        target = self.releases.stored_name(self.name, wanted)
        try:
            return self.store.push_composition(composition, target, options=self.options, progress=self.progress)
        except VersionExists as error:
            raise self._exists(wanted) from error

    def _base(self, wanted: SemanticVersion, there: Sequence[SemanticVersion]) -> Reference | None:
        """The version just before it, else the lowest after it. Where that is not live, nothing is lost but time."""
        if not there:
            return None
        before = next((version for version in there if version < wanted), there[-1])
        return Reference(name=self.releases.stored_name(self.name, before), version=Latest())

    def _exists(self, wanted: SemanticVersion) -> VersionExists:
        return VersionExists(
            f"{self.releases.kind.one} {self.name!r} {wanted} is taken, and a version is never replaced",
            where=str(self.releases.stored_name(self.name, wanted)),
            next_step="Choose a higher version; without one, the next minor is taken.",
        )

    def _made(self, done: PushResult, version: SemanticVersion) -> ReleaseUpload:
        assert done.version is not None
        return ReleaseUpload(
            name=self.name,
            version=str(version),
            reference=done.version,
            files=done.files,
            content_bytes=done.content_bytes,
            new_bytes=done.new_bytes,
            sent_bytes=done.sent_bytes,
            notices=done.notices,
        )


def was_committed(store: Store, name: Name) -> bool:
    """Whether a name ever had a version, live or deleted by now."""
    return any(True for _ in versions(store.catalog.backend, name))


def _placed(source_path: PathLike, readme: PathLike | None) -> list[Placed]:
    source = os.path.abspath(os.fsencode(source_path))
    inside = b"" if os.path.isdir(source) else os.fsencode(base_name(source_path))
    placed = [Placed(source=source, path=inside)]
    if readme is not None:
        placed.append(Placed(source=os.path.abspath(os.fsencode(readme)), path=README))
    return placed


def _release(name: str, info: VersionInfo) -> Release:
    return Release(
        name=name,
        version=Name(info.name).last,
        reference=info.version,
        short_description=info.message,
        metadata=info.metadata,
        labels=info.labels,
        created=info.created,
        who=info.who,
        host=info.host,
        made_by=info.made_by,
        files=info.files,
        content_bytes=info.content_bytes,
        content_digest=info.content_digest,
    )
