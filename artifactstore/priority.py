"""Threads that give way: work in the background must not slow down what a program is there for.

A thread that gave way stays so, and the threads that it starts begin like it. Only Linux has
priorities of single threads; elsewhere such threads are few, and nothing else.
"""

import contextlib
import os
import sys
import threading
from typing import Final

BACKGROUND_THREADS: Final = 2
"""How many threads of one pool may work in the background at once."""

# Not further down: a thread that holds the interpreter's lock and is not let run stops all others.
_NICE: Final = 5

_this_thread: Final = threading.local()


def give_way() -> None:
    """Have this thread give way to others from now on. Where the system refuses, it works on as it is."""
    _this_thread.gives_way = True
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def gives_way() -> bool:
    """Whether this thread does."""
    return getattr(_this_thread, "gives_way", False)
