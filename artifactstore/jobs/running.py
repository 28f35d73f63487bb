"""A job while this process works for it: begun, seen to work, ended (`Job`)."""

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final, Self

from artifactstore.errors import ConfigurationError
from artifactstore.forks import renew_in_children
from artifactstore.jobs.heartbeat import HeartbeatThread
from artifactstore.jobs.identity import PROJECT_VARIABLES, JobIdentity, check_tag
from artifactstore.jobs.listing import project_of, read_processes
from artifactstore.jobs.process import ProcessLog
from artifactstore.jobs.records import JobStatus, ProcessState
from artifactstore.jobs.releases import ReleaseKind, Releases
from artifactstore.jobs.runs import RunArtifacts
from artifactstore.jobs.shared_files import SharedArtifacts
from artifactstore.jobs.states import Process
from artifactstore.names import Reference, Slot, parse_whole
from artifactstore.schedulers import JOB_VARIABLES
from artifactstore.store import Store
from artifactstore.transfer.provenance import author

_log = logging.getLogger(__name__)

HEARTBEAT_VARIABLE: Final = "ARTIFACTSTORE_HEARTBEAT_SECONDS"
HEARTBEAT_SECONDS: Final = 30.0
MIN_HEARTBEAT_SECONDS: Final = 1.0
MAX_HEARTBEAT_SECONDS: Final = 3600.0
SIGTERM_ERROR: Final = "ended by SIGTERM"

Finisher = Callable[[JobStatus], None]


class Job:
    """A job that this process works for. Made by `artifactstore.job` and `artifactstore.current_job`.

    May be used from any thread. In a forked child it is the same job, under the heartbeat of the process that began
    it: what the child makes and uses counts, its end does not.

    Attributes:
        id, project, user: See docs/jobs.md. asked_project: what was asked for, where the job began under another one.
        host: This machine. rank: of this process among those of the job, where a launcher says.
        store: Where it is recorded. owns_store: it was opened for this job, and is closed at its end.
    """

    def __init__(
        self,
        identity: JobIdentity,
        store: Store,
        *,
        heartbeat_seconds: float | None = None,
        owns_store: bool = False,
    ) -> None:
        self.id: Final = identity.id
        self.project = identity.project
        self.asked_project: Final = identity.project
        self.user: Final = identity.user
        self.host: Final = author().host
        self.rank: Final = identity.rank
        self.store: Final = store
        self._identity = identity
        self._interval_seconds = heartbeat_interval(heartbeat_seconds)
        self.owns_store: Final = owns_store
        self._log: ProcessLog | None = None
        self._thread: HeartbeatThread | None = None
        self._status: JobStatus | None = None
        self._coming_end = JobStatus.COMPLETED
        self._error = ""
        self._warned = False
        self._is_terminated = False
        self._passes_beat = False
        self._finishers: list[Finisher] = []
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child (`artifactstore.forks`): leave the records and the end to the parent."""
        self._lock = threading.RLock()
        self._log = None
        self._thread = None
        self._finishers = []

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self.store.url!r})"

    @property
    def status(self) -> JobStatus:
        """What this process knows: running, or how it has ended. Other processes of the job are not asked:
        `find_job` does."""
        return self._status or JobStatus.RUNNING

    @property
    def is_open(self) -> bool:
        """Whether it was begun and has not ended, as far as this process knows."""
        return self._status is JobStatus.RUNNING

    @property
    def is_terminated(self) -> bool:
        """Whether SIGTERM has come, and its end was to be recorded for that."""
        return self._is_terminated

    @property
    def attempt(self) -> int:
        """Which start of the job this is, from 1; 0 before it has begun, and in forked children."""
        return self._log.attempt if self._log is not None else 0

    @cached_property
    def artifacts(self) -> RunArtifacts:
        """The job's own files, and those of its steps (docs/runs.md)."""
        return RunArtifacts(self.store, self.id)

    @cached_property
    def shared(self) -> SharedArtifacts:
        """Files that the jobs of its project share."""
        return SharedArtifacts(self.store, self.project, job_id=self.id)

    @cached_property
    def models(self) -> Releases:
        """Models of its project, with semantic versions."""
        return Releases(self.store, self.project, ReleaseKind.MODELS, job_id=self.id)

    @cached_property
    def datasets(self) -> Releases:
        """Data sets of its project, with semantic versions."""
        return Releases(self.store, self.project, ReleaseKind.DATASETS, job_id=self.id)

    def start(self) -> Self:
        """Record that this process works for the job, and go on saying so. Once; again is fine.

        Raises:
            ValueError: It has ended.
            BackendError, StoreNotFound, StoreReadOnly: It can't be recorded. Nothing has begun.
        """
        with self._lock:
            if self._status is JobStatus.RUNNING:
                return self
            if self._status is not None:
                raise ValueError(f"job {self.id} has ended in this process; begin it again by artifactstore.job(...)")
            catalog = self.store.made_catalog()
            others = read_processes(catalog, self.id)
            identity = replace(self._identity, project=self._first_project(others))
            log = ProcessLog(catalog.backend, catalog.clock, identity, interval_seconds=self._interval_seconds)
            log.begin(others)
            self.project = identity.project
            self._log, self._status = log, JobStatus.RUNNING
            self._thread = HeartbeatThread(
                self.heartbeat,
                interval_seconds=self._interval_seconds,
                clock=catalog.clock,
                name=f"artifactstore-heartbeat-{self.id}",
            )
            self._thread.start()
        return self

    def _first_project(self, others: Sequence[Process]) -> str:
        """The project that the job began under: what it made there is not looked for elsewhere."""
        first, asked = project_of(others) if others else self.asked_project, self.asked_project
        if first != asked:
            _log.warning("job %s began under project %s, and stays there: %s was asked for now", self.id, first, asked)
        return first

    def heartbeat(self) -> bool:
        """Say that the job still works. A thread does so every 30 seconds or as asked.

        Returns:
            Whether it was recorded. A failure is no error: one warning is logged for all of them.
        """
        log = self._log
        if log is None or self._status is not JobStatus.RUNNING:
            return False
        if self._passes_beat:
            # Right after the record that SIGTERM ended the job: only a program that lives on for another interval is
            # running after all.
            self._passes_beat = False
            return False
        try:
            log.beat()
        except Exception as error:  # noqa: BLE001 - as said below
            # Whatever it is (the storage, a closed store, no memory): the program goes on. A job whose heartbeats
            # fail for long is shown as lost until one arrives.
            self._warn("job %s: a heartbeat could not be recorded, and the job goes on: %s", error)
            return False
        return True

    def tag(self, text: str) -> None:
        """Tag the job: it is shown with it, and found by it. Again is fine.

        Args:
            text: 1 to 128 characters on one line.

        Raises:
            InvalidName: It can't be a tag.
            ValueError: It has not begun, has ended, or has too many already; or this is a forked child, whose parent
                keeps the records.
            BackendError: It could not be recorded.
        """
        check_tag(text)
        with self._lock:  # or the end might be recorded before the tag, and would not be the newest record
            if self._log is None or self._status is not JobStatus.RUNNING:
                raise ValueError(f"job {self.id} is not open in this process: it can't be tagged from here")
            self._log.tag(text)

    def finish(self, status: JobStatus | str = JobStatus.COMPLETED, *, error: str = "") -> None:
        """End this process's work for the job, once; again does nothing.

        What was asked for by `at_finish` comes first. Not being able to record the end is no error: a warning is
        logged.

        Args:
            status: ``completed`` or ``failed``. After `note_failure` it is ``failed``, whatever is said here.
            error: Class of the exception that ended it, for people.

        Raises:
            ValueError: Another status.
        """
        wanted = JobStatus(status)
        if wanted not in (JobStatus.COMPLETED, JobStatus.FAILED):
            raise ValueError(f"a job ends as completed or failed, not as {wanted}")
        if wanted is JobStatus.FAILED:
            self.note_failure(error)
        self.run_finishers()
        with self._lock:
            if self._status is not JobStatus.RUNNING:
                return
            self._status = self._coming_end
            log, thread = self._log, self._thread
        if thread is not None:
            thread.stop()
        if log is not None:
            self._record_end(log)
            if self.owns_store:
                self.store.close()

    def note_failure(self, error: str = "") -> None:
        """Whatever comes, the job will have failed. It goes on until it is finished.

        Args:
            error: Class of the exception, for people. The first one is kept.
        """
        with self._lock:
            self._coming_end = JobStatus.FAILED
            self._error = self._error or error

    def record_termination(self) -> None:
        """Record that SIGTERM ends the job, now that the program can. It stays open here: a program that goes on says
        so by its heartbeats, and how it ended by its own end.

        Raises:
            ArtifactStoreError: That could not be written.
        """
        with self._lock:
            log = self._log
            if log is None or self._status is not JobStatus.RUNNING:
                return
            self._is_terminated = self._passes_beat = True
            self._error = SIGTERM_ERROR  # rather than last uploads that the grace was too short for
        log.end(ProcessState.FAILED, error=self._error)

    def at_finish(self, finisher: Finisher) -> None:
        """Have ``finisher`` called when the job ends, before that is recorded; with how it ends.

        At the end of a program threads can still be started then. The last one asked for comes first. An exception of
        one is logged, and the others come all the same.
        """
        with self._lock:
            self._finishers.append(finisher)

    def run_finishers(self) -> None:
        """Call what `at_finish` was given, each once."""
        while True:
            with self._lock:
                if not self._finishers:
                    return
                finisher, coming = self._finishers.pop(), self._coming_end
            try:
                finisher(coming)
            except Exception:  # noqa: BLE001 - as said below
                # Logged: the end of a job has to be recorded, and nobody is left to catch this.
                _log.exception("job %s: what was to be done at its end failed", self.id)

    def use(self, reference: str | Reference) -> str:
        """Record that the job uses a version, for its manifest and for `lineage`.

        Returns:
            Which version that is (``name:v3``): pull this one, and an alias that moves meanwhile does not matter.

        Raises:
            As `Store.resolve`.
        """
        name = parse_whole(reference).name
        pin = self.store.resolve(reference)
        slot = int(pin.version.removeprefix(f"{name}:v"))
        self.store.record_use(Reference(name=name, version=Slot(slot)), by=self.id)
        return pin.version

    def environment(self) -> dict[str, str]:
        """Variables that make a program which this one starts part of the same job: add them to its environment."""
        return {JOB_VARIABLES[0]: self.id, PROJECT_VARIABLES[0]: self.project}

    def _record_end(self, log: ProcessLog) -> None:
        state = ProcessState.FAILED if self._status is JobStatus.FAILED else ProcessState.COMPLETED
        try:
            log.end(state, error=self._error if state is ProcessState.FAILED else "")
        except Exception as error:  # noqa: BLE001 - as said below
            # Whatever it is: an exception that is on its way to the caller must not be hidden by this one.
            self._warned = False
            self._warn("job %s: its end could not be recorded, it will be shown as lost: %s", error)

    def _warn(self, message: str, error: Exception) -> None:
        with self._lock:
            warned, self._warned = self._warned, True
        if not warned:
            _log.warning(message, self.id, error)


def heartbeat_interval(seconds: float | None = None, *, environment: Mapping[str, str] | None = None) -> float:
    """How long from one heartbeat to the next: as asked, as ARTIFACTSTORE_HEARTBEAT_SECONDS says, else 30 seconds.

    Raises:
        ValueError: ``seconds`` is not from 1 to 3600.
        ConfigurationError: The variable is not.
    """
    if seconds is not None:
        if not MIN_HEARTBEAT_SECONDS <= seconds <= MAX_HEARTBEAT_SECONDS:
            raise ValueError(f"heartbeats come every 1 to 3600 seconds, not {seconds}")
        return float(seconds)
    text = (os.environ if environment is None else environment).get(HEARTBEAT_VARIABLE, "").strip()
    if not text:
        return HEARTBEAT_SECONDS
    try:
        return heartbeat_interval(float(text))
    except ValueError as error:
        raise ConfigurationError(
            f"{HEARTBEAT_VARIABLE} must be from 1 to 3600", next_step="Correct it, or unset it."
        ) from error
