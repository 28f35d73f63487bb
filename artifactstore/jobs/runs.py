"""Artifacts of a run: files of a job by their names, alone or one for each step.

    job.artifacts.add("out/confusion.png")               # confusion.png
    job.artifacts.add("out/sample.png", step=5)          # sample.png at step 5
    job.artifacts.add_directory_as_zip("logs/")          # logs.zip
    job.artifacts.open("sample.png", step=5)

Each is a version of its own of ``.jobs/<job>/run/<name>``, or ``…/run/<name>/<step>`` (percent-
encoded: one segment). Adding a file of the same name, and step, makes the next version: the newest
counts, earlier ones stay. Steps have names of their own so that reading one of thousands costs no
more than reading one, and so that equal content at two steps is two artifacts.
"""

import io
import operator
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, SupportsIndex

from artifactstore.backend.protocol import CommonPrefix
from artifactstore.errors import InvalidName, NameNotFound, SourceError, VersionDeleted
from artifactstore.jobs.close_names import did_you_mean
from artifactstore.jobs.listing import job_not_found
from artifactstore.jobs.notebook import current_notebook
from artifactstore.jobs.single_files import (
    FileArtifact,
    FileDownload,
    FileNotes,
    FileUpload,
    PathLike,
    base_name,
    file_artifact,
    newest,
    pull_file,
    pulled_number,
    push_archive,
    push_file,
    upload_of,
)
from artifactstore.keys import NAMES, JobKeys
from artifactstore.names import JobName, Latest, Reference, Slot, decode_job_text, job_name
from artifactstore.store import Store
from artifactstore.transfer.found import FollowLinks
from artifactstore.transfer.plan import ConflictStrategy
from artifactstore.transfer.progress import NULL_PROGRESS, Progress

RUN: Final = "run"
"""The kind under which jobs keep the artifacts of their runs."""
STEP: Final = "step"
"""Where the metadata of a step artifact has its step."""
MAX_STEP: Final = 10**15
_FEW: Final = 5
_NO_METADATA: Final[Mapping[str, object]] = {}
_STEP: Final = re.compile(r"0|-?[1-9][0-9]{0,14}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactGroup:
    """All that a job has under one name.

    Attributes:
        plain: The artifact without a step, or None.
        steps: By step, in order.
    """

    name: str
    plain: FileArtifact | None
    steps: Mapping[int, FileArtifact]


class RunArtifacts:
    """The artifacts of one job's runs. Any number of threads, processes and machines may add at once.

    Attributes:
        job_id: Whose they are.
    """

    def __init__(self, store: Store, job_id: str) -> None:
        self.job_id: Final = job_id
        self._store = store
        self._folder: Final = job_name(job_id, RUN, "_").folder
        self._latest_steps: dict[str, Reference] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.job_id!r})"

    # -- adding ----------------------------------------------------------------------------------------

    def add(
        self,
        path: PathLike,
        step: SupportsIndex | None = None,
        *,
        message: str = "",
        metadata: Mapping[str, object] = _NO_METADATA,
        progress: Progress = NULL_PROGRESS,
    ) -> FileUpload:
        """Add a file under its own name.

        Args:
            step: An integer groups it with the artifacts of this name at other steps.
            message: For people.
            metadata: Any JSON object. ``step`` in it is the step.

        Raises:
            SourceFileNotFound, SourceIsDirectory: There is no such file.
            SourceError: It can't be read. Nothing was added.
            InvalidName: Its name is over 200 bytes, percent-encoded, or has control characters.
            ValueError, TypeError: ``step`` is no integer, or not below 10¹⁵.
            As `Store.push`.
        """
        called, number = base_name(path), _step(step)
        name = self._name(called, number)
        done = push_file(
            self._store,
            path,
            name,
            called=called,
            notes=self._notes(message, metadata, number),
            base=self._base(called, number),
            progress=progress,
        )
        return self._remembered(upload_of(done, called=called, step=number), name)

    def add_directory_as_zip(
        self,
        directory: PathLike,
        step: SupportsIndex | None = None,
        *,
        follow_links: FollowLinks = FollowLinks.NEVER,
        message: str = "",
        metadata: Mapping[str, object] = _NO_METADATA,
        progress: Progress = NULL_PROGRESS,
    ) -> FileUpload:
        """Add a directory as ``<its name>.zip``: the same bytes whenever it holds the same.

        What a push would leave out (`.artifactignore`) is left out. The zip is written to a temporary file first: it
        needs as much room as the directory, and no memory.

        Args:
            follow_links: By default links are stored as links.

        Raises:
            SourceNotFound: There is no such directory.
            SourceError: It is no directory, something in it can't be read, or no zip can name it. Nothing was added.
            As `add`.
        """
        called, number = f"{base_name(directory)}.zip", _step(step)
        name = self._name(called, number)
        done = push_archive(
            self._store,
            directory,
            name,
            called=called,
            notes=self._notes(message, metadata, number),
            base=self._base(called, number),
            follow_links=follow_links,
            progress=progress,
        )
        return self._remembered(upload_of(done, called=called, step=number), name)

    def add_current_notebook(
        self, path: PathLike | None = None, step: SupportsIndex | None = None, *, progress: Progress = NULL_PROGRESS
    ) -> FileUpload:
        """Add the notebook that this code runs in, as it was saved last.

        Args:
            path: Where it is, if that can't be found out (`jobs.notebook`).

        Raises:
            SourceNotFound: It can't be found out, or is not there.
            SourceError: ``path`` is no notebook.
        """
        notebook = current_notebook() if path is None else os.fspath(path)
        if not notebook.endswith(".ipynb"):
            raise SourceError(f"{notebook} is no notebook: it does not end in .ipynb", where=notebook)
        return self.add(notebook, step, progress=progress)

    def _notes(self, message: str, metadata: Mapping[str, object], step: int | None) -> FileNotes:
        noted = dict(metadata) if step is None else {**metadata, STEP: step}
        return FileNotes(message=message, metadata=noted, made_by=self.job_id)

    def _base(self, called: str, step: int | None) -> Reference | None:
        """The step that was added last from here may hold much of what this one does."""
        return self._latest_steps.get(called) if step is not None else None

    def _remembered(self, upload: FileUpload, name: JobName) -> FileUpload:
        if upload.step is not None:
            self._latest_steps[upload.name] = Reference(name=name, version=Slot(upload.number))
        return upload

    # -- looking ---------------------------------------------------------------------------------------

    def list(self) -> tuple[ArtifactGroup, ...]:
        """What there is, by name, each as its newest version has it. One listing, and three requests for each artifact.

        Raises:
            JobNotFound: There is no such job; the message names those with similar ids.
            StoreNotFound: There is no store.
        """
        names = tuple(self._names())
        if not names:
            self._check_job()
        return self._groups(names)

    def _check_job(self) -> None:
        """That a job without artifacts is one.

        Raises:
            JobNotFound: It is not.
        """
        catalog, keys = self._store.catalog, JobKeys(self.job_id)
        if not any(True for prefix in (keys.prefix, keys.things) for _ in catalog.backend.list(prefix, page_size=1)):
            raise job_not_found(catalog, self.job_id)

    def steps(self, name: str) -> tuple[int, ...]:
        """The steps there are of a name, in order; none where there are none."""
        return tuple(step for group in self._groups(self._names_of(name)) for step in group.steps)

    def _groups(self, stored: Iterable[JobName]) -> tuple[ArtifactGroup, ...]:
        names = {name.text: name for name in stored}
        found: dict[str, dict[int | None, FileArtifact]] = {}
        for info in newest(self._store, names.values()):
            name = names[info.name]
            called, step = _parse_key(name.key)
            found.setdefault(called, {})[step] = file_artifact(info, name, called=called, step=step)
        return tuple(_group(called, artifacts) for called, artifacts in sorted(found.items()))

    def show(self, name: str, step: SupportsIndex | None = None) -> FileArtifact:
        """One artifact, as its newest version has it.

        Raises:
            NameNotFound: There is none; the message names what is close to it.
        """
        number = _step(step)
        stored = self._name(name, number)
        for info in newest(self._store, [stored]):
            return file_artifact(info, stored, called=name, step=number)
        raise self._missing(name, number)

    def history(self, name: str, step: SupportsIndex | None = None) -> Iterator[FileArtifact]:
        """All versions of one artifact, the newest first.

        Raises:
            NameNotFound: There is none.
        """
        number = _step(step)
        stored = self._name(name, number)
        try:
            for info in self._store.versions(stored):
                yield file_artifact(info, stored, called=name, step=number)
        except NameNotFound as error:
            raise self._missing(name, number) from error

    # -- reading ---------------------------------------------------------------------------------------

    def open(
        self, name: str, step: SupportsIndex | None = None, *, number: int | None = None
    ) -> io.BufferedReader:
        """An artifact as a seekable stream, checked as it is read.

        Args:
            number: An earlier version; by default the newest.

        Raises:
            NameNotFound: There is none; the message names what is close to it.
        """
        reference = self._reference(name, _step(step), number, path=os.fsencode(name))
        with self._telling(name, _step(step), number):
            return self._store.open(reference)

    def download(
        self,
        name: str,
        directory: PathLike = ".",
        step: SupportsIndex | None = None,
        *,
        number: int | None = None,
        strategy: ConflictStrategy | str = ConflictStrategy.ERROR,
        progress: Progress = NULL_PROGRESS,
    ) -> FileDownload:
        """Bring an artifact into a directory, under its name.

        Args:
            number: An earlier version; by default the newest.
            strategy: Where another file of this name is there: ``error``, ``skip``, ``new``, ``replace``.

        Raises:
            NameNotFound: There is none; the message names what is close to it.
            DownloadConflict: Another file is there, and the strategy is `error`. Nothing was written.
            As `Store.pull`.
        """
        reference = self._reference(name, _step(step), number)
        with self._telling(name, _step(step), number):
            path, done = pull_file(self._store, reference, directory, called=name, strategy=strategy, progress=progress)
        return FileDownload(name=name, step=_step(step), path=path, number=pulled_number(done), pulled=done)

    def _reference(self, name: str, step: int | None, number: int | None, *, path: bytes = b"") -> Reference:
        if number is not None and number < 1:
            raise InvalidName(f"versions count from 1, and {number} was asked for")
        version = Latest() if number is None else Slot(number)
        return Reference(name=self._name(name, step), version=version, path=path)

    @contextmanager
    def _telling(self, name: str, step: int | None, number: int | None) -> Iterator[None]:
        """Say what there is where something is not."""
        try:
            yield
        except (NameNotFound, VersionDeleted) as error:
            if number is None:
                raise self._missing(name, step) from error
            there = f"version {number} of artifact {name!r}" + (f" at step {step}" if step is not None else "")
            if isinstance(error, VersionDeleted):
                raise VersionDeleted(f"{there} is deleted") from error
            raise NameNotFound(f"there is no {there}", next_step="Look at its history().") from error

    # -- names -----------------------------------------------------------------------------------------

    def _name(self, called: str, step: int | None) -> JobName:
        if "/" in called:
            raise InvalidName(f"{called!r} is no name of an artifact: it is that of a file, without directories")
        return job_name(self.job_id, RUN, called if step is None else f"{called}/{step}")

    def _names(self) -> Iterator[JobName]:
        """All names that have, or had, versions. One listing."""
        prefix = f"{NAMES}{self._folder}/"
        for item in self._store.catalog.backend.list_level(prefix):
            text = item.prefix.removeprefix(prefix).removesuffix("/") if isinstance(item, CommonPrefix) else ""
            if text.startswith("@"):
                yield job_name(self.job_id, RUN, decode_job_text(text.removeprefix("@")))

    def _names_of(self, called: str) -> Iterator[JobName]:
        return (name for name in self._names() if _parse_key(name.key)[0] == called)

    def _missing(self, name: str, step: int | None) -> NameNotFound:
        there = next(iter(self._groups(self._names_of(name))), None)
        if there is None:
            others = sorted({_parse_key(other.key)[0] for other in self._names()} - {name})
            if not others:
                self._check_job()
            return NameNotFound(
                f"job {self.job_id!r} has no artifact {name!r}",
                next_step=did_you_mean(name, others, what="artifact", plural="other artifacts"),
            )
        steps = ", ".join(map(str, list(there.steps)[:_FEW])) + (", …" if len(there.steps) > _FEW else "")
        if step is None:
            return NameNotFound(f"artifact {name!r} is there for steps only", next_step=f"Say which one: {steps}.")
        if steps:
            return NameNotFound(f"artifact {name!r} has no step {step}", next_step=f"The steps there are {steps}.")
        return NameNotFound(f"artifact {name!r} has no steps", next_step="It is there without a step.")


def _group(called: str, artifacts: Mapping[int | None, FileArtifact]) -> ArtifactGroup:
    steps = {step: artifacts[step] for step in sorted(step for step in artifacts if step is not None)}
    return ArtifactGroup(name=called, plain=artifacts.get(None), steps=steps)


def _step(step: SupportsIndex | None) -> int | None:
    if step is None:
        return None
    if isinstance(step, bool):
        raise TypeError(f"a step is an integer, not {step}")
    number = operator.index(step)
    if abs(number) >= MAX_STEP:
        raise ValueError(f"step {number} is out of range: below 10**15, either way")
    return number


def _parse_key(key: str) -> tuple[str, int | None]:
    """Name and step of what is stored under a key. No name of a file has a slash."""
    called, _, step = key.partition("/")
    return (called, int(step)) if _STEP.fullmatch(step) else (key, None)
