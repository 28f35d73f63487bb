"""Forks: what a child process must not go on with, and has to make anew.

A child of `os.fork` (a worker of a data loader, `multiprocessing` on Linux) has copies of
all objects and only one of the threads. A pool of threads takes work there that nobody
does, a lock that another thread held is held for ever, and a SQLite connection must not be
used by two processes.
"""

import os
import weakref
from typing import Final, Protocol


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


def _renew_all() -> None:
    for thing in list(_known):
        thing.renew()


os.register_at_fork(after_in_child=_renew_all)
