"""Artifacts: build one, upload it as a version, load a version, change it, upload it again.

    artifact = create_artifact("demo", labels=["raw"], metadata={"rows": 3})
    artifact.add_file("weights.bin")
    artifact.add_dir("logs", obj_path="runs/")
    print(artifact.upload().version)          # demo:v1

Adding copies nothing and reads nothing: content is read by `Artifact.upload`, which says
what changed since it was added. What a loaded artifact has already is not moved again.
"""

import io
import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, Self

from artifactstore.artifacts.document import ArtifactDocument, parse_document, serialize_additions
from artifactstore.artifacts.download import pull_with_references
from artifactstore.artifacts.folders import folder_exists
from artifactstore.artifacts.new_file import NewFile
from artifactstore.artifacts.objects import Additions, ArtifactObject, object_fields, stored_object
from artifactstore.artifacts.paths import check_object_path, directory_path, object_path
from artifactstore.artifacts.reference_rules import rules_of
from artifactstore.artifacts.references import Origins, resolve
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.errors import NameNotFound, PathExists, PathNotFound, SourceError
from artifactstore.manifest.model import Entry
from artifactstore.manifest.paths import shown
from artifactstore.names import (
    Name,
    Reference,
    Slot,
    check_alias,
    check_folder,
    check_label,
    checked_text,
    listed,
    parse_whole,
)
from artifactstore.store import Store, open_store
from artifactstore.transaction.expiry import Ttl, asked_ttl
from artifactstore.transaction.notes import check_notes
from artifactstore.transaction.records import Notes
from artifactstore.transaction.upload import Strategy
from artifactstore.transaction.uses import check_job_id
from artifactstore.transfer.compose import Carried, Composition, is_below_any
from artifactstore.transfer.found import Notice
from artifactstore.transfer.handles import missing_source
from artifactstore.transfer.plan import ConflictStrategy, PullOptions
from artifactstore.transfer.progress import NULL_PROGRESS, Progress
from artifactstore.transfer.pull import PullResult
from artifactstore.transfer.push import PushOptions, PushResult

_log = logging.getLogger(__name__)
Path = str | os.PathLike[str]
StoreLike = Store | str | os.PathLike[str] | None
_REPORTED: Final = 10


class Artifact:
    """A named, versioned set of files and references. Made by `create_artifact` and `load_artifact`.

    Attributes:
        name: Store-wide name, with its folders if any.
        labels, description, metadata: Go into the version at the upload.
        version: ``name:v3`` once it is uploaded or loaded, else None.
    """

    def __init__(
        self,
        name: str,
        *,
        labels: Sequence[str] = (),
        description: str = "",
        metadata: Mapping[str, object] | None = None,
        store: StoreLike = None,
    ) -> None:
        self.name = Name(name).text
        self.labels = _checked_labels(labels)
        # Before anything is added: at the upload much work may be lost.
        notes = check_notes(Notes(message=description, metadata=dict({} if metadata is None else metadata)))
        self.description = notes.message
        self.metadata: dict[str, object] = notes.metadata
        self.version: str | None = None
        self._store_like = store
        self._opened: Store | None = store if isinstance(store, Store) else None
        self._additions = Additions()
        self._base: Reference | None = None
        self._without: frozenset[bytes] = frozenset()
        self._folder: str | None = None
        self._new_files: list[NewFile] = []
        self._scratch: weakref.finalize[..., Artifact] | None = None

    def __repr__(self) -> str:
        return f"Artifact({self.version or self.name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove temporary files, and close the store if this artifact opened it. Calling it twice is fine."""
        for new in self._still_open():
            new.discard()
        self._clear_scratch()
        if self._opened is not None and not isinstance(self._store_like, Store):
            self._opened.close()
            self._opened = None

    @property
    def store(self) -> Store:
        """The store it is in, or goes to; opened when it is first needed."""
        if self._opened is None:
            assert not isinstance(self._store_like, Store)
            self._opened = open_store(self._store_like)
        return self._opened

    # -- building ------------------------------------------------------------------------------------

    def add_file(self, file_path: Path, obj_path: str | None = None) -> None:
        """Add a file of this machine. It is read at the upload.

        Args:
            obj_path: Where it goes: by default its own name; ``a/`` puts it into ``a`` under its own name.

        Raises:
            InvalidPath: No version can hold the path.
            SourceNotFound, SourceUnreadable, SourceError: There is no file that can be read.
            PathExists: Something was added for this path already.
        """
        source = _absolute(file_path)
        self._additions.add_file(source, object_path(file_path, obj_path))

    def add_dir(
        self,
        dir_path: Path,
        obj_path: str | None = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> None:
        """Add all that is in a directory of this machine. It is read at the upload.

        Args:
            obj_path: Where it goes: by default its own name; ``b/`` puts it into ``b`` under its own name; ``.`` makes
                its content the artifact's.
            include, exclude: gitignore patterns (docs/ignore.md).

        Raises:
            As `add_file`.
        """
        source = _absolute(dir_path)
        self._additions.add_directory(
            source,
            directory_path(dir_path, obj_path),
            include=listed("include", include),
            exclude=listed("exclude", exclude),
            clock=SYSTEM_CLOCK,
        )

    def add_reference(
        self,
        uri: str,
        obj_path: str | None = None,
        *,
        digest: bool = False,
        storage_options: Mapping[str, object] | None = None,
        progress: Progress = NULL_PROGRESS,
    ) -> None:
        """Add content that stays where it is: an object, or all below a prefix (docs/references.md).

        It is looked at now; how it looks is what the version says of it.

        Args:
            uri: ``s3://``, ``https://``, ``file://``, …: what the settings allow. A directory, or a slash at the end,
                stands for everything below.
            obj_path: As of `add_file`, and for a prefix as of `add_dir`.
            digest: Read all of it now, and note its digests: only they prove content for good.
            storage_options: What fsspec opens it with. Kept nowhere.
            progress: Told of each object found, and with ``digest`` of what is read.

        Raises:
            ReferenceNotAllowed: The settings do not allow it, or it holds credentials.
            ReferenceNotFound: Nothing is there; `ReferenceUnreachable`: nobody knows.
            InvalidPath, PathExists: As `add_file`.
        """
        options = {uri.partition(":")[0].lower(): storage_options} if storage_options else None
        with Origins(rules_of(self.store, options=options)) as origins:
            found = resolve(uri, origins, digest=digest, progress=progress)
        self._additions.add_references(found.placed(obj_path), uri)

    def new_file(self, obj_path: str, mode: str = "wb", *, encoding: str | None = None) -> NewFile:
        """Write an object: ``with artifact.new_file("notes.txt", "w") as file: ...``.

        What is written lies in a temporary directory until the artifact is uploaded or closed. It is added when it is
        closed, as a ``with`` block does; after an exception in the block nothing is added.

        Args:
            mode: ``wb`` or ``w``.

        Raises:
            InvalidPath, PathExists: As `add_file`; before anything is written.
        """
        if mode not in ("w", "wb"):
            raise ValueError(f"mode {mode!r}: a new object is written, with 'w' or 'wb'")
        path = check_object_path(obj_path)
        self._additions.check_free(path)
        if any(new.path == path for new in self._still_open()):
            raise PathExists(f"{shown(path)} is being written already", where=shown(path))
        handle, source = tempfile.mkstemp(dir=self._scratch_folder())
        file = os.fdopen(handle, mode, encoding=encoding or (None if "b" in mode else "utf-8"))
        new = NewFile(file, os.fsencode(source), path=path, add=self._add_new)
        self._new_files.append(new)
        return new

    def _add_new(self, new: NewFile) -> None:
        self._still_open()
        self._additions.add_file(new.source, new.path, is_temporary=True)

    def _still_open(self) -> list[NewFile]:
        self._new_files = [new for new in self._new_files if new.is_open]
        return self._new_files

    def _check_new_files(self) -> None:
        """What was written must be there: an upload never leaves it out quietly."""
        for new in self._still_open():
            raise SourceError(
                f"{shown(new.path)} is still being written",
                data_safe="No version was made.",
                next_step="Close it, or discard it, before the upload.",
            )
        for part in self._additions.placed:
            if part.is_temporary and not os.path.exists(part.source):
                raise SourceError(
                    f"{shown(part.path)} was written with new_file, and went when the artifact was closed",
                    data_safe="No version was made.",
                    next_step="Upload before closing; or remove it, and write it again.",
                )

    def _scratch_folder(self) -> str:
        if self._scratch is None or self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="artifactstore-")
            # Also when nobody closes the artifact.
            self._scratch = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def _clear_scratch(self) -> None:
        if self._scratch is not None:
            self._scratch()
            self._scratch = None

    def remove(self, obj_path: str) -> None:
        """Take out an object, or a directory of objects: what was added, and what the loaded version has there.

        Raises:
            PathNotFound: The artifact has nothing there.
        """
        path = check_object_path(obj_path.rstrip("/"))
        removed = self._additions.remove(path)
        if self._base is not None and self._base_has(path):
            self._without |= {path}
            removed = True
        if not removed:
            raise PathNotFound(f"there is no {shown(path)} in {self.version or self.name}")

    @property
    def objects(self) -> Mapping[str, ArtifactObject]:
        """All objects by path, in order: those of the loaded version, and what was added, as it was then."""
        objects = {item.path: item for item in self._base_objects()}
        objects.update((item.path, item) for item in self._additions.objects())
        return MappingProxyType(dict(sorted(objects.items())))

    # -- uploading -----------------------------------------------------------------------------------

    def upload(  # noqa: PLR0913 - all of it is optional, and by keyword
        self,
        folder: str = "",
        make_folder: bool = True,
        conflict_strategy: str = "version",
        *,
        aliases: Sequence[str] = (),
        ttl: Ttl | None = None,
        made_from: Sequence[str] = (),
        made_by: str = "",
        force: bool = False,
        progress: Progress = NULL_PROGRESS,
    ) -> PushResult:
        """Make it a version. Everything that can be checked is, before anything is read or sent.

        Args:
            folder: Goes before the name.
            make_folder: Without it, the folder must be there.
            conflict_strategy: What to do when the name has a live version: ``version``, ``skip``, ``error``, ``new``,
                ``replace`` (docs/artifacts.md).
            aliases: Move to the version.
            force: Move protected aliases too, and with ``replace`` delete what they point to.
            ttl: How long readers take it: ``30d``, seconds, a `timedelta`.
            made_from: The versions it was made from, as references.
            made_by: The job that made it; by default what the environment says.

        Returns:
            The version made, or the one that stands, and what the upload did. Its notices say what changed since it
            was added.

        Raises:
            ValueError: No such strategy; no time-to-live.
            InvalidName: Not a folder, alias, label or id of a job.
            NameNotFound: The folder is not there, and is not to be made.
            VersionExists: Strategy ``error``, and the name has a live version.
            SourceError: A file is gone, can't be read, or is still being written.
            As `Store.push_composition`.
        """
        target = self._target(folder)
        options = PushOptions(
            strategy=_parse_strategy(conflict_strategy),
            message=self.description,
            aliases=tuple(check_alias(alias) for alias in listed("aliases", aliases)),
            force=force,
            labels=tuple(_checked_labels(self.labels)),
            metadata=dict(self.metadata),
            ttl_seconds=None if ttl is None else asked_ttl(ttl),
            made_by=check_job_id(made_by) if made_by else "",
            made_from=(*listed("made_from", made_from), *self._made_from_base(target)),
        )
        self._check_new_files()
        if not make_folder and not folder_exists(self.store, folder.strip("/")):
            raise NameNotFound(f"there is no folder {folder}", next_step="Make it, or upload with make_folder=True.")
        done = self.store.push_composition(self._composition(), target.text, options=options, progress=progress)
        if (passed := self._passed_over(done)) is not None:
            done = replace(done, notices=(*done.notices, passed))
        self._report(done)
        if done.action != "skipped":
            self._rebase(done)
        self.version = done.version
        return done

    def _target(self, folder: str) -> Name:
        folder = check_folder(checked_text("folder", folder).strip("/"))
        return Name(f"{folder}/{self.name}" if folder else self.name)

    def _made_from_base(self, target: Name) -> tuple[str, ...]:
        """Another name's version that this one is built on is what it was made from."""
        return (str(self._base),) if self._base is not None and self._base.name != target else ()

    def _composition(self) -> Composition:
        parts = self._additions.composition_parts()
        if self._base is None:
            return parts
        carried = Carried(reference=self._base, without=self._without)
        return Composition(placed=parts.placed, carried=(carried,), references=parts.references)

    def _passed_over(self, done: PushResult) -> Notice | None:
        """Versions that came after the one it was loaded from: what they changed is not in the new one."""
        base = self._base
        if done.action != "committed" or base is None or base.name.text != done.name:
            return None
        if not isinstance(base.version, Slot) or done.slot is None or done.slot <= base.version.number + 1:
            return None
        between = (info.version for info in self.store.versions(done.name) if info.slot < (done.slot or 0))
        newest = next(between, None)
        if newest is None or newest == str(base):
            return None
        return Notice(b".", f"made out of {base}, and not of {newest}, which was the newest: its changes are not in it")

    def _report(self, done: PushResult) -> None:
        for notice in done.notices[:_REPORTED]:
            _log.warning("%s: %s", done.version, notice)
        if len(done.notices) > _REPORTED:
            _log.warning("%s: and %d more", done.version, len(done.notices) - _REPORTED)

    def _rebase(self, done: PushResult) -> None:
        """What was uploaded is what the next changes build on."""
        if done.version is not None:
            self._base = parse_whole(done.version)
            self._without = frozenset()
            self._additions = Additions()
            self._clear_scratch()

    # -- reading -------------------------------------------------------------------------------------

    def download(
        self,
        dest: Path | None = None,
        *,
        paths: Sequence[str] | None = None,
        conflict_strategy: str = "error",
        references: bool = True,
        allow_expired: bool = False,
        progress: Progress = NULL_PROGRESS,
    ) -> PullResult:
        """Bring the version, or some paths of it, to a directory.

        Args:
            dest: By default a directory called like the artifact.
            paths: Objects or directories of objects; they keep their paths. By default all.
            conflict_strategy: Where local files differ: ``error``, ``skip``, ``new``, ``replace`` (docs/download.md).
            references: Fetch what references point to, and check it (docs/references.md); else they are left out.
            allow_expired: Read the version even if its time is over.

        Raises:
            PathNotFound: One of the paths is not there.
            ValueError: ``paths`` is empty; no such strategy.
            VersionExpired: Its time is over.
            ReferenceChanged, ReferenceUnreachable, ReferenceNotAllowed: A reference can't be fetched.
            As `Store.pull`.
        """
        options = PullOptions(
            strategy=_parse_conflict_strategy(conflict_strategy),
            paths=_chosen(paths),
            allow_expired=allow_expired,
        )
        if references:
            return pull_with_references(self.store, self._uploaded(), dest, options=options, progress=progress)
        return self.store.pull(self._uploaded(), dest, options=options, progress=progress)

    def open(self, path: str, *, allow_expired: bool = False) -> io.BufferedReader:
        """One object of the version as a seekable stream, checked as it is read.

        Raises:
            PathNotFound: The version has no such file.
            VersionExpired: Its time is over, and `allow_expired` is not said.
        """
        reference = f"{self._uploaded()}/{os.fsdecode(check_object_path(path))}"
        return self.store.open(reference, allow_expired=allow_expired)

    def _uploaded(self) -> str:
        if self.version is None:
            raise NameNotFound(f"{self.name} is not uploaded yet", next_step="Call its upload() first.")
        return self.version

    # -- as a dictionary -----------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Everything about it as values that JSON can hold; `parse_from_dict` reads it back.

        ``objects`` is for people. ``additions`` has what was added and not uploaded yet.
        """
        return {
            "name": self.name,
            "labels": list(self.labels),
            "description": self.description,
            "metadata": dict(self.metadata),
            "version": self.version,
            "base": str(self._base) if self._base is not None else None,
            "removed": sorted(os.fsdecode(path) for path in self._without),
            "additions": serialize_additions(self._additions),
            "objects": {path: object_fields(item) for path, item in self.objects.items()},
        }

    def parse_from_dict(self, data: dict[str, Any]) -> None:
        """Become what a dictionary of `to_dict` says. Nothing changes where it is not one.

        Raises:
            ValueError: It is not; the message says which field.
            SourceError: A file that was added is not there any more.
        """
        document: ArtifactDocument = parse_document(data)
        additions = document.read_additions()
        self.name = document.name
        self.labels = list(document.labels)
        self.description = document.description
        self.metadata = dict(document.metadata)
        self.version = document.version
        self._base = document.base_reference()
        self._without = document.without()
        self._additions = additions

    # -- the version it builds on ---------------------------------------------------------------------

    def _base_entries(self) -> Iterator[Entry]:
        if self._base is not None:
            yield from self.store.files(str(self._base))

    def _base_objects(self) -> Iterator[ArtifactObject]:
        for entry in self._base_entries():
            if not is_below_any(entry.path, self._without):
                yield stored_object(entry)

    def _base_has(self, path: bytes) -> bool:
        if is_below_any(path, self._without):
            return False
        try:
            return next(self.store.files(f"{self._base}/{os.fsdecode(path)}"), None) is not None
        except PathNotFound:
            return False

    def load(self, reference: str) -> None:
        """Take over a stored version: what it holds, says and is called.

        Raises:
            NameNotFound, VersionDeleted: There is no such version.
        """
        info = self.store.show(reference)
        self.name = info.name
        self.labels = list(info.labels)
        self.description = info.message
        self.metadata = dict(info.metadata)
        self.version = info.version
        self._base = parse_whole(info.version)
        self._without = frozenset()
        self._additions = Additions()


def create_artifact(
    name: str,
    labels: Sequence[str] | None = None,
    description: str = "",
    metadata: Mapping[str, object] | None = None,
    *,
    store: StoreLike = None,
) -> Artifact:
    """A new artifact, of nothing yet.

    Args:
        name: Store-wide: ``demo``, or with its folders ``models/demo``.
        labels: For searching (docs/find.md); each a name part.
        description: For people; the message of its version.
        metadata: Any JSON object.
        store: An open store or where it is; by default the one that the settings name.

    Raises:
        InvalidName: Not a name, or not a label.
        InvalidMetadata: The metadata is no JSON object, or something is too long.
        TypeError: The name or the description is no text.
    """
    return Artifact(name, labels=labels or (), description=description, metadata=metadata, store=store)


def load_artifact(path: str, *, store: StoreLike = None) -> Artifact:
    """A stored version as an artifact: to read it, or to make the next version out of it.

    Args:
        path: ``folder/name``, ``name:v3``, ``name:alias``, ``name@digest``.

    Raises:
        NameNotFound, VersionDeleted: There is no such version.
    """
    reference = parse_whole(checked_text("a path", path).strip("/"))
    artifact = Artifact(reference.name.text, store=store)
    artifact.load(str(reference))
    return artifact


def _chosen(paths: Sequence[str] | None) -> tuple[bytes, ...]:
    if paths is None:
        return ()
    chosen = tuple(check_object_path(path.rstrip("/")) for path in listed("paths", paths))
    if not chosen:
        # To pull options it is everything, which whoever computed an empty list hardly means.
        raise ValueError("paths is empty: name something, or leave it out for everything")
    return chosen


def _checked_labels(labels: Sequence[str]) -> list[str]:
    return [check_label(label) for label in listed("labels", labels)]


def _absolute(path: Path) -> bytes:
    raw = os.fsencode(path)
    if not raw:
        raise missing_source(raw)  # and not the working directory
    return os.path.abspath(raw)


def _parse_strategy(text: str) -> Strategy:
    try:
        return Strategy(text)
    except ValueError as error:
        choices = ", ".join(strategy.value for strategy in Strategy)
        raise ValueError(f"conflict_strategy {text!r} is none of {choices}") from error


def _parse_conflict_strategy(text: str) -> ConflictStrategy:
    try:
        return ConflictStrategy(text)
    except ValueError as error:
        choices = ", ".join(strategy.value for strategy in ConflictStrategy)
        raise ValueError(f"conflict_strategy {text!r} is none of {choices}") from error
