"""Shared artifacts: files of a project, whoever added them.

    project("vision").shared.add("labels.csv")           # vision/shared/labels.csv:v1
    project("vision").shared.download("labels.csv", "data")

Each is a name of the store like others. Adding a file of the same name makes the next version:
the newest counts, earlier ones stay.
"""

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from artifactstore.errors import InvalidName, NameNotFound, VersionDeleted
from artifactstore.jobs.close_names import did_you_mean
from artifactstore.jobs.project_folder import project_folder
from artifactstore.jobs.single_files import (
    FileArtifact,
    FileDownload,
    FileNotes,
    FileUpload,
    PathLike,
    base_name,
    file_artifact,
    newest,
    note_use,
    pull_file,
    pulled_number,
    push_file,
    upload_of,
)
from artifactstore.names import Latest, Name, Reference, check_folder
from artifactstore.results import VersionInfo
from artifactstore.store import Store
from artifactstore.transfer.plan import ConflictStrategy
from artifactstore.transfer.progress import NULL_PROGRESS, Progress

SHARED: Final = "shared"
"""The folder of a project that its shared artifacts are in."""
_NO_METADATA: Final[Mapping[str, object]] = {}


class SharedArtifacts:
    """The shared artifacts of one project.

    Attributes:
        project: Whose they are: a folder of the store.
        folder: ``<project>/shared``.
        job_id: The job that adds and downloads; empty for the one that this code works for, if any.
    """

    def __init__(self, store: Store, project: str, *, job_id: str = "") -> None:
        """
        Raises:
            InvalidName: The project can't be a folder of a store; the message says why, and what to do.
        """
        self.project: Final = project_folder(project)
        self.folder: Final = f"{self.project}/{SHARED}"
        self.job_id: Final = job_id
        self._store = store

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.project!r})"

    def add(
        self,
        path: PathLike,
        name: str | None = None,
        *,
        message: str = "",
        metadata: Mapping[str, object] = _NO_METADATA,
        progress: Progress = NULL_PROGRESS,
    ) -> FileUpload:
        """Add a file, by default under its own name.

        Args:
            name: What it is to be called, where its own name is none of the grammar of names, or is taken by another
                file of the project.
            message: For people.
            metadata: Any JSON object.

        Raises:
            InvalidName: The name holds other characters than names do, such as blanks.
            SourceFileNotFound, SourceIsDirectory: There is no such file.
            SourceError: It can't be read. Nothing was added.
            As `Store.push`.
        """
        called = base_name(path) if name is None else name
        done = push_file(
            self._store,
            path,
            self._name(called),
            called=called,
            notes=FileNotes(message=message, metadata=metadata, made_by=self.job_id),
            progress=progress,
        )
        return upload_of(done, called=called)

    def list(self) -> tuple[FileArtifact, ...]:
        """What there is, by name, each as its newest version has it; nothing where nothing was added yet.

        Raises:
            StoreNotFound: There is no store.
        """
        return tuple(file_artifact(info, Name(info.name), called=Name(info.name).last) for info in self._newest())

    def show(self, name: str) -> FileArtifact:
        """One artifact, as its newest version has it.

        Raises:
            NameNotFound: There is none; the message names what is close to it.
        """
        stored = self._name(name)
        for info in newest(self._store, [stored]):
            return file_artifact(info, stored, called=name)
        raise self._missing(name)

    def open(self, name: str) -> io.BufferedReader:
        """An artifact as a seekable stream, checked as it is read.

        Raises:
            NameNotFound: There is none; the message names what is close to it.
        """
        reference = Reference(name=self._name(name), version=Latest(), path=os.fsencode(name))
        with self._telling(name):
            return self._store.open(reference)

    def download(
        self,
        name: str,
        directory: PathLike = ".",
        *,
        strategy: ConflictStrategy | str = ConflictStrategy.ERROR,
        progress: Progress = NULL_PROGRESS,
    ) -> FileDownload:
        """Bring an artifact into a directory, under its name.

        Args:
            strategy: Where another file of this name is there: ``error``, ``skip``, ``new``, ``replace``.

        Raises:
            NameNotFound: There is none; the message names what is close to it.
            DownloadConflict: Another file is there, and the strategy is `error`. Nothing was written.
            As `Store.pull`.
        """
        reference = Reference(name=self._name(name), version=Latest())
        with self._telling(name):
            path, done = pull_file(self._store, reference, directory, called=name, strategy=strategy, progress=progress)
        note_use(self._store, done.pin.version, job_id=self.job_id)
        return FileDownload(name=name, path=path, number=pulled_number(done), pulled=done)

    def _name(self, called: str) -> Name:
        try:
            if "/" in called:
                raise InvalidName(f"{called!r} holds a slash")
            check_folder(called)
        except InvalidName as error:
            raise InvalidName(f"{error}; add it under another name: add(path, name='...')") from error
        return Name(f"{self.folder}/{called}")

    def _newest(self) -> Iterator[VersionInfo]:
        names = [Name(item.name) for item in self._store.list(self.folder) if not item.is_folder]
        yield from newest(self._store, names)

    @contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        """Say what there is where something is not."""
        try:
            yield
        except (NameNotFound, VersionDeleted) as error:
            raise self._missing(name) from error

    def _missing(self, name: str) -> NameNotFound:
        there = [artifact.name for artifact in self.list()]
        return NameNotFound(
            f"project {self.project!r} has no shared artifact {name!r}",
            where=f"{self.folder}/{name}",
            next_step=did_you_mean(name, there, what="shared artifact", plural="shared artifacts"),
        )
