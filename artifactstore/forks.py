"""Forks: what a child process must not go on with, and has to make anew.

A child of `os.fork` (a worker of a data loader, `multiprocessing` on Linux) has copies of
all objects and only one of the threads. A pool of threads takes work there that nobody
does, a lock that another thread held is held for ever, and a SQLite connection must not be
used by two processes.
"""

import os
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Final, ParamSpec, Protocol, TypeVar

from artifactstore.priority import BACKGROUND_THREADS, give_way, gives_way

P = ParamSpec("P")
T = TypeVar("T")
_REFUSED: Final = "cannot schedule new futures"
"""How a pool says that it takes no more work: after `shutdown`, and at the end of the program."""


class Renewable(Protocol):
    """Something that can't be used in a forked child as it is."""

    def renew(self) -> None:
        """Called once in the child, before any code of its own: make threads, locks and connections anew.

        Nothing that is inherited may be waited for or closed: it is the parent's.
        """
        ...


_known: Final[weakref.WeakSet[Renewable]] = weakref.WeakSet()


def renew_in_children(thing: Renewable) -> None:
    """Have ``thing`` renewed in every process that this one forks, as long as it is in use."""
    _known.add(thing)


class Threads(Executor):
    """A pool of threads that whoever was given it can go on using in a forked child: there it has threads of its own.

    What the parent's threads were at does not go on in the child. What a thread asks for that gives way
    (`artifactstore.priority`) is done by few threads that do, too. At the very end of a program, when no pool takes
    work any more, it is done at once by whoever asks.
    """

    def __init__(self, max_workers: int, name: str) -> None:
        self._max_workers = max_workers
        self._name = name
        self._is_closed = False
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child: begin with no thread and no work."""
        self._pool = ThreadPoolExecutor(self._max_workers, self._name)
        few = min(self._max_workers, BACKGROUND_THREADS)
        self._background = ThreadPoolExecutor(few, f"{self._name}-background", initializer=give_way)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        pool = self._background if gives_way() else self._pool
        try:
            return pool.submit(fn, *args, **kwargs)
        except RuntimeError as error:
            if self._is_closed or not str(error).startswith(_REFUSED):
                raise
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - for whoever asks for the result
            done.set_exception(error)
        return done

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._is_closed = True
        for pool in (self._pool, self._background):
            pool.shutdown(wait, cancel_futures=cancel_futures)


def _renew_all() -> None:
    for thing in list(_known):
        thing.renew()


os.register_at_fork(after_in_child=_renew_all)
