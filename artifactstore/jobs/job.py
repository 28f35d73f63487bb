"""The job that a program is: how it is begun, and which one this code works for.

    with artifactstore.job("train-7") as job:       # completed at its end, failed by an exception
        ...

    @artifactstore.job()                            # each call is a job
    def train(): ...

    job = artifactstore.current_job()               # the one that is open, else one until the program ends

Asked for in this order: the innermost `with job(...)` of this thread or task; the innermost of the
main thread, or the job that was begun last by `JobBlock.start`; the job that was begun because
something needed one. docs/jobs.md says what that means for nested jobs and for threads.
"""

import functools
import inspect
import threading
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Final, ParamSpec, TypeVar, cast

from artifactstore.forks import renew_in_children
from artifactstore.jobs.ending import uncaught, watch_ending
from artifactstore.jobs.exits import EXITS, grace_seconds
from artifactstore.jobs.identity import JobIdentity, check_job_text, check_project, identify
from artifactstore.jobs.listing import find_job as find_job
from artifactstore.jobs.records import JobStatus
from artifactstore.jobs.running import SIGTERM_ERROR, heartbeat_interval
from artifactstore.jobs.running import Job as Job
from artifactstore.store import Store, open_store
from artifactstore.transfer.provenance import find_job_by

P = ParamSpec("P")
T = TypeVar("T")
_blocks: Final[ContextVar[tuple[Job, ...]]] = ContextVar("artifactstore_jobs", default=())


class _OpenJobs:
    """Jobs that were begun in this process and are not over."""

    def __init__(self) -> None:
        self.holders: dict[Job, int] = {}
        """By how many blocks each of them is held; the program is one, too."""
        self.shared: list[Job] = []
        """What threads without a block of their own work for, the innermost last."""
        self.implicit: list[Job] = []
        """Those that something needed, the last one last."""
        self.lock = threading.RLock()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child: whoever begins a job there begins a process of it. Those that were begun by the parent
        are the current ones still."""
        self.lock = threading.RLock()
        self.holders = {}


_open: Final = _OpenJobs()


class JobBlock:
    """What `job` makes: a context manager, a decorator, and a job to begin by `start`."""

    def __init__(
        self, job_id: str | None, *, project: str | None, store: Store | None, heartbeat_seconds: float | None
    ) -> None:
        if job_id is not None and not isinstance(job_id, str):
            raise TypeError("a job's id is text; as a decorator, write @artifactstore.job()")
        if job_id is not None:
            check_job_text(job_id, of="a job's id")
        if project is not None:
            check_project(project)
        heartbeat_interval(heartbeat_seconds)
        self._job_id = job_id
        self._project = project
        self._store = store
        self._heartbeat_seconds = heartbeat_seconds
        self._entered: list[Job] = []

    def __enter__(self) -> Job:
        job = self._hold()
        self._entered.append(job)
        _blocks.set((*_blocks.get(), job))
        if _in_main_thread():
            with _open.lock:
                _open.shared.append(job)
        return job

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        inside = [each for each in _blocks.get() if each in self._entered]
        job = inside[-1] if inside else self._entered[-1]
        self._entered.remove(job)
        _blocks.set(_without(_blocks.get(), job))
        if _in_main_thread():
            with _open.lock:
                _open.shared = list(_without(tuple(_open.shared), job))
        # A block inside another one of the same job does not decide: the outer one may have caught this.
        if kind is not None and job not in _blocks.get() and (job.is_terminated or not _is_fine(error)):
            job.note_failure(kind.__name__)
        _release(job)

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """``function`` so that each call of it is this block.

        Raises:
            TypeError: A generator function: it would run outside of the block.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError("a generator can't be a job: use `with artifactstore.job(...)` inside it")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> object:
                with self._again():
                    return await function(*args, **kwargs)

            return cast(Callable[P, T], awaited)

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> T:
            with self._again():
                return function(*args, **kwargs)

        return called

    def start(self) -> Job:
        """Begin the job without a block: it is this program's until `Job.finish`, or until the program ends. For
        notebooks.

        Raises:
            As for entering the block.
        """
        job = self._hold()
        with _open.lock:
            _open.shared.append(job)
        return job

    def _again(self) -> "JobBlock":
        return JobBlock(
            self._job_id, project=self._project, store=self._store, heartbeat_seconds=self._heartbeat_seconds
        )

    def _hold(self) -> Job:
        """The job, begun; one that this process works for already is joined."""
        outer = open_job()
        identity = self._identity(outer)
        store = self._store or (outer.store if outer is not None else None)
        job = _begin(identity, store, heartbeat_seconds=self._heartbeat_seconds)
        if self._project is not None and self._project not in (job.project, job.asked_project):
            _release(job)
            raise ValueError(f"job {job.id} works for project {job.project!r}, not for {self._project!r}")
        return job

    def _identity(self, outer: Job | None) -> JobIdentity:
        if self._job_id is None and outer is not None:
            return identify(job_id=outer.id, project=self._project or outer.project)
        return identify(job_id=self._job_id, project=self._project)


def job(
    job_id: str | None = None,
    *,
    project: str | None = None,
    store: Store | None = None,
    heartbeat_seconds: float | None = None,
) -> JobBlock:
    """A job: ``with artifactstore.job("train-7") as job:``, or ``@artifactstore.job()`` before a function.

    It is recorded as running when the block begins, as completed at its end, and as failed when an exception leaves
    it. Whatever is pushed meanwhile was made by it.

    Args:
        job_id: Who it is. Without one: the job that is open here, else what the environment and the scheduler say, else
            a new one.
        project: Instead of what the environment says.
        store: Where it is recorded; by default where the job around it is, else the store that the settings name.
        heartbeat_seconds: From one sign of life to the next, 1 to 3600; 30 by default, or as
            ARTIFACTSTORE_HEARTBEAT_SECONDS says.

    Raises:
        InvalidName: Id or project is empty, too long, or can't be printed.
        ConfigurationError: A variable has such an id.
        ValueError: That job is open here, and works for another project.
        BackendError, StoreNotFound, StoreReadOnly: Its beginning can't be recorded.
    """
    return JobBlock(job_id, project=project, store=store, heartbeat_seconds=heartbeat_seconds)


def current_job(store: Store | None = None) -> Job:
    """The job that this code works for. Where none is open, one begins, and ends with the program.

    It ends as completed, or as failed where an uncaught exception ended the program or one of its threads.

    Args:
        store: Where it has to be recorded: in another store than the open job is, the same job is begun there. Without
            one, where the open job is, else in the store that the settings name.

    Raises:
        As `job`.
    """
    outer = _explicit_job()
    if outer is not None and (store is None or store.url == outer.store.url):
        return outer
    with _open.lock:
        identity = _implicit_identity(outer)
        opened = store or open_store()
        found = next((each for each in _open.implicit if _is_of(each, identity, opened, given=store)), None)
        if found is None:
            found = _begin_new(identity, opened, owns_store=store is None, heartbeat_seconds=None)
            _open.holders[found] = 1
            _open.implicit = [*(each for each in _open.implicit if each.is_open), found]
            if outer is not None:
                outer.at_finish(found.finish)
        elif store is None:
            opened.close()
        return found


def _is_of(each: Job, identity: JobIdentity, opened: Store, *, given: Store | None) -> bool:
    """Whether an implicit job is the one of ``identity``, in the very store that was given (another one of the same
    URL may be closed by now), or in the one that the settings name."""
    same_store = each.store is given if given is not None else each.owns_store and each.store.url == opened.url
    return each.is_open and each.id == identity.id and same_store


def open_job() -> Job | None:
    """The job that this code works for, None where none is open. Begins none."""
    explicit = _explicit_job()
    if explicit is not None:
        return explicit
    return next((each for each in reversed(_open.implicit) if each.is_open), None)


def _explicit_job() -> Job | None:
    for jobs in (_blocks.get(), tuple(_open.shared)):
        for each in reversed(jobs):
            if each.is_open:
                return each
    return None


def _implicit_identity(outer: Job | None) -> JobIdentity:
    if outer is not None:
        return identify(job_id=outer.id, project=outer.project)
    identity = identify()
    # One new id for all stores that this program works with.
    known = open_job() if identity.source == "new" else None
    return identify(job_id=known.id, project=known.project) if known is not None else identity


def _begin(identity: JobIdentity, store: Store | None, *, heartbeat_seconds: float | None) -> Job:
    """The job in a store (None: as the settings say), begun, or joined where it is open here."""
    opened = store or open_store()
    with _open.lock:
        here = (each for each in reversed(_open.holders) if (each.store.url, each.id) == (opened.url, identity.id))
        found = next((each for each in here if each.is_open), None)
        if found is None:
            found = _begin_new(identity, opened, owns_store=store is None, heartbeat_seconds=heartbeat_seconds)
        elif store is None:
            opened.close()
        _open.holders[found] = _open.holders.get(found, 0) + 1
        return found


def _begin_new(identity: JobIdentity, store: Store, *, owns_store: bool, heartbeat_seconds: float | None) -> Job:
    begun = Job(identity, store, heartbeat_seconds=heartbeat_seconds, owns_store=owns_store)
    try:
        grace_seconds()  # refused before anything is recorded
        begun.start()
    except BaseException:
        if owns_store:
            store.close()
        raise
    EXITS.add_record(begun.record_termination)
    begun.at_finish(lambda status: EXITS.remove_record(begun.record_termination))  # the first one comes last
    watch_ending(early=_before_end, late=end_jobs, thread_failed=_thread_failed)
    _open.holders = {each: count for each, count in _open.holders.items() if each.is_open}
    return begun


def _release(held: Job) -> None:
    """One block less; the last one ends the job."""
    with _open.lock:
        if held not in _open.holders:
            return  # of the parent of this process, or over
        _open.holders[held] -= 1
        if _open.holders[held]:
            return
        del _open.holders[held]
    held.finish()


def _without(jobs: tuple[Job, ...], gone: Job) -> tuple[Job, ...]:
    """The jobs but for the last time that ``gone`` is among them."""
    for index in range(len(jobs) - 1, -1, -1):
        if jobs[index] is gone:
            return jobs[:index] + jobs[index + 1 :]
    return jobs


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _is_fine(error: BaseException | None) -> bool:
    """Whether it ends a block as it should be: `sys.exit(0)`, or a generator that nobody reads on."""
    return isinstance(error, GeneratorExit) or (isinstance(error, SystemExit) and error.code in (None, 0))


def _thread_failed(kind: type[BaseException]) -> None:
    failed = open_job()
    if failed is not None:
        failed.note_failure(kind.__name__)


def _left_open() -> list[Job]:
    """Jobs of this process that only its end ends, the innermost first."""
    return [each for each in reversed(_open.holders) if each.is_open]


def _before_end() -> None:
    for each in _left_open():
        error = _error_of(each)
        if error:
            each.note_failure(error)
        each.run_finishers()


def end_jobs() -> None:
    """End the jobs that were begun without a block, as the end of the program does."""
    for each in _left_open():
        error = _error_of(each)
        each.finish(JobStatus.FAILED if error else JobStatus.COMPLETED, error=error)


def _error_of(left_open: Job) -> str:
    """What ended a job that only the end of the program ends; empty for nothing."""
    return uncaught() or (SIGTERM_ERROR if left_open.is_terminated else "")


def _open_job_id() -> str:
    found = open_job()
    return found.id if found is not None else ""


find_job_by(_open_job_id)
