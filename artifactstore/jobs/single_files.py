"""Versions that are one file: how run artifacts and shared artifacts are stored, found and brought back."""

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from artifactstore.backend.table import local_path_of
from artifactstore.catalog import version_info
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.errors import (
    BackendError,
    CommitStateUnknown,
    InvalidName,
    NameNotFound,
    SourceError,
    SourceFileNotFound,
    SourceIsDirectory,
    VersionDeleted,
)
from artifactstore.jobs.archive import write_archive
from artifactstore.names import Latest, Name, Reference, Slot, parse_whole
from artifactstore.overlap import check_sources, exclusions, store_in_sources
from artifactstore.results import VersionInfo
from artifactstore.store import Store
from artifactstore.transaction.resolve import resolve
from artifactstore.transfer.compose import Composition, Placed
from artifactstore.transfer.found import FollowLinks, Notice, Scan, ScanOptions
from artifactstore.transfer.plan import ConflictStrategy, PullOptions, SyncBase
from artifactstore.transfer.progress import NULL_PROGRESS, Progress
from artifactstore.transfer.provenance import job_id as current_job_id
from artifactstore.transfer.pull import PullResult
from artifactstore.transfer.push import PushOptions, PushResult
from artifactstore.transfer.scan import scan

PathLike = str | os.PathLike[str]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileArtifact:
    """A file that is stored, as its newest version has it.

    Attributes:
        name: What it is called: with the step, all that is needed to read it.
        step: Of a step artifact; None for others.
        number: Of the version, from 1 on: how often it was added with another content.
        reference: ``name:v3`` of the version, for `Store.show`, `Store.remove` and lineage.
        created: RFC 3339, by the uploader's clock. who, host: the user and the machine that added it.
        made_by: Id of the job that added it, or empty.
    """

    name: str
    step: int | None = None
    number: int
    reference: Reference
    size_bytes: int
    created: str
    who: str
    host: str
    made_by: str
    message: str
    metadata: Mapping[str, object]
    content_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileUpload:
    """What adding a file did.

    Attributes:
        number: Of the version made, or of the one that has this content already.
        action: `committed`, or `unchanged`: the newest version has this content.
        new_bytes: Content that was not in the store. sent_bytes: of packs sent.
        notices: What was left out of a directory, and why.
    """

    name: str
    step: int | None = None
    number: int
    action: str
    size_bytes: int
    new_bytes: int
    sent_bytes: int
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDownload:
    """What bringing back a file did.

    Attributes:
        path: Absolute path of the file.
        number: Of the version that it is.
        pulled: All that is known about it: whether it was here already, or a local edit was kept.
    """

    name: str
    step: int | None = None
    path: str
    number: int
    pulled: PullResult

    def __fspath__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class FileNotes:
    """What is noted on a version beside its content."""

    message: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    made_by: str = ""

    def push_options(self) -> PushOptions:
        return PushOptions(message=self.message, metadata=dict(self.metadata), made_by=self.made_by)


NO_NOTES: Final = FileNotes()


# -- adding -----------------------------------------------------------------------------------------


def base_name(path: PathLike) -> str:
    """The last part of a path, whatever it ends with: ``logs`` of ``run/logs/``.

    Raises:
        InvalidName: It has none: the root of the file system.
    """
    name = os.path.basename(os.path.abspath(os.fspath(path)))
    if not name:
        raise InvalidName(f"{os.fspath(path)} has no name of its own")
    return name


def push_file(  # noqa: PLR0913 - what, where to, and how, by keyword
    store: Store,
    path: PathLike,
    name: Name,
    *,
    called: str,
    notes: FileNotes = NO_NOTES,
    base: Reference | None = None,
    progress: Progress = NULL_PROGRESS,
) -> PushResult:
    """Make a file the next version of ``name``, and the only thing in it.

    Args:
        called: What the file is called in the version.
        base: Another version that much of its content is in already, perhaps.

    Raises:
        SourceFileNotFound, SourceIsDirectory: There is no such file.
        SourceError: It is no file, or can't be read, or kept changing. No version was made.
    """
    _check_file(path)
    placed = Placed(source=os.path.abspath(os.fsencode(path)), path=os.fsencode(called))
    return store.push_composition(
        Composition(placed=[placed], base=base), name, options=notes.push_options(), progress=progress
    )


def _check_file(path: PathLike) -> None:
    where = os.fspath(path)
    if not os.path.exists(path):
        raise SourceFileNotFound(f"there is no file {where}", where=where)
    if os.path.isdir(path):
        raise SourceIsDirectory(
            f"{where} is a directory, and an artifact of a run or a project is a file",
            where=where,
            next_step="Add it as a zip, make it a syncable directory, or push it: those keep what changed apart.",
        )
    if not os.path.isfile(path):
        raise SourceError(f"{where} is no regular file", where=where)


def push_archive(  # noqa: PLR0913 - what, where to, and how, by keyword
    store: Store,
    directory: PathLike,
    name: Name,
    *,
    called: str,
    notes: FileNotes = NO_NOTES,
    base: Reference | None = None,
    follow_links: FollowLinks = FollowLinks.NEVER,
    progress: Progress = NULL_PROGRESS,
) -> PushResult:
    """Make a directory, as a zip (`jobs.archive`), the next version of ``name``. The zip lies in TMPDIR meanwhile.

    Raises:
        SourceNotFound: There is no such directory.
        SourceError: It is no directory, something in it can't be read or kept changing, or there is no room for the
            zip. No version was made.
    """
    where = os.fspath(directory)
    check_sources([directory], store_path=local_path_of(store.url))
    if not os.path.isdir(directory):
        raise SourceError(f"{where} is no directory", where=where, next_step="A file can be added as it is.")
    own = store_in_sources([directory], store_path=local_path_of(store.url))
    found = scan(
        [directory], options=ScanOptions(exclude=exclusions(own), follow_links=follow_links), clock=SYSTEM_CLOCK
    )
    with _archived(found, where) as source:
        placed = Placed(source=source, path=os.fsencode(called), is_temporary=True)
        composition = Composition(placed=[placed], base=base)
        done = store.push_composition(composition, name, options=notes.push_options(), progress=progress)
    return replace(done, notices=(*done.notices, *found.notices, *own))


@contextmanager
def _archived(found: Scan, where: str) -> Iterator[bytes]:
    """The path of a zip of what a scan found. It goes afterwards."""
    with ExitStack() as closing:
        try:
            target = closing.enter_context(tempfile.NamedTemporaryFile(prefix="artifactstore-"))
            try:
                write_archive(found, target)
                target.flush()
            except OSError:
                with suppress(OSError):
                    target.close()  # which tries once more to write what is left
                raise
        except OSError as error:
            what = f"can't write the zip of {where}: {os.strerror(error.errno or 0)}"
            next_step = f"Make room in {tempfile.gettempdir()}, or set TMPDIR."
            raise SourceError(what, where=where, next_step=next_step) from error
        yield os.fsencode(target.name)


def upload_of(done: PushResult, *, called: str, step: int | None = None) -> FileUpload:
    """A push of one file, as its caller sees it."""
    assert done.slot is not None  # no dry runs, and each strategy used here ends with a version
    return FileUpload(
        name=called,
        step=step,
        number=done.slot,
        action=done.action,
        size_bytes=done.content_bytes,
        new_bytes=done.new_bytes,
        sent_bytes=done.sent_bytes,
        notices=done.notices,
    )


# -- looking ----------------------------------------------------------------------------------------


def newest(store: Store, names: Iterable[Name]) -> list[VersionInfo]:
    """The newest version of each of the names that has one now; asked for several at once."""
    catalog = store.catalog
    found = catalog.requests.map(partial(_newest, store), list(names))
    return [info for info in found if info is not None]


def _newest(store: Store, name: Name) -> VersionInfo | None:
    try:
        return version_info(resolve(store.catalog.backend, name, Latest()))
    except (NameNotFound, VersionDeleted):
        return None


def file_artifact(info: VersionInfo, name: Name, *, called: str, step: int | None = None) -> FileArtifact:
    """A version of one file, as its reader sees it."""
    return FileArtifact(
        name=called,
        step=step,
        number=info.slot,
        reference=Reference(name=name, version=Slot(info.slot)),
        size_bytes=info.content_bytes,
        created=info.created,
        who=info.who,
        host=info.host,
        made_by=info.made_by,
        message=info.message,
        metadata=info.metadata,
        content_digest=info.content_digest,
    )


# -- bringing back ----------------------------------------------------------------------------------


def pull_file(
    store: Store,
    reference: Reference,
    directory: PathLike,
    *,
    called: str,
    strategy: ConflictStrategy | str = ConflictStrategy.ERROR,
    progress: Progress = NULL_PROGRESS,
) -> tuple[str, PullResult]:
    """Bring a version of one file into a directory; returns the file's path there.

    Raises:
        NameNotFound, VersionDeleted: There is no such version.
        DownloadConflict: Another file of this name is there, and the strategy is `error`. Nothing was written.
        ValueError: No such strategy.
        As `Store.pull`.
    """
    # The directory may be a synced one: it is not taken for this version then.
    options = PullOptions(strategy=ConflictStrategy(strategy), base=SyncBase.AS_GUEST)
    done = store.pull(reference, directory, options=options, progress=progress)
    landed = next((conflict.beside for conflict in done.conflicts if conflict.beside), os.fsencode(called))
    return os.path.join(done.destination, os.fsdecode(landed)), done


def pulled_number(done: PullResult) -> int:
    """The number of the version that a pull brought."""
    return int(done.pin.version.rpartition(":v")[2])


def note_use(store: Store, version: str, *, job_id: str = "") -> None:
    """Say that a job used a version, for its manifest and for lineage. Who may only read, reads all the same.

    Args:
        job_id: By default the job that this code works for, if there is one.
    """
    job = job_id or current_job_id()
    if not job:
        return
    try:
        store.record_use(parse_whole(version), by=job)
    except (BackendError, CommitStateUnknown) as error:
        _log.warning("%s was downloaded; that job %s used it could not be noted: %s", version, job, error)
