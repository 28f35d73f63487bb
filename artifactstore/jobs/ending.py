"""The end of a program: what is called then, and which exception, if any, ended it.

    early   pools of threads still work: for last uploads
    late    other threads have ended: for what is said at the very end

Hooks that were there before are called as before, whatever they do. Children that `multiprocessing`
forked leave out `atexit`, and pass no hook an exception: what is to be done there hangs on its own end.
"""

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final

Failed = Callable[[type[BaseException]], None]

_uncaught: Final[list[str]] = []
_watching: Final[list[object]] = []
"""What `sys.last_value` was when watching began."""
_at_exit: Final[dict[Callable[[], None], int]] = {}
"""What is called at the end, and in which process that was asked for last."""
_BEFORE_POOLS: Final = 100
"""`multiprocessing` ends what is of a higher priority first: its pools have 15."""


def watch_ending(*, early: Callable[[], None], late: Callable[[], None], thread_failed: Failed) -> None:
    """Have these called: at the end of the program, and in a thread that an exception ends. Does so once."""
    at_exit(late)
    if _watching:
        return
    _watching.append(_last_value())
    _watch_program()
    _watch_threads(thread_failed)
    # Functions of `atexit` come after the pools of `concurrent.futures` were shut down; these come before.
    register: Callable[[Callable[[], None]], object] = getattr(threading, "_register_atexit", atexit.register)
    with contextlib.suppress(RuntimeError):  # the program is ending already
        register(early)


def at_exit(function: Callable[[], None]) -> None:
    """Have ``function`` called at the end of this process. Asking again is fine; so is asking in a forked child."""
    before, here = _at_exit.get(function), os.getpid()
    _at_exit[function] = here
    if before is None:
        atexit.register(function)
    if before != here and _is_child_of_multiprocessing():
        from multiprocessing.util import Finalize  # is there already, by whoever forked

        Finalize(None, _at_child_end, (function,), exitpriority=_BEFORE_POOLS)


def _is_child_of_multiprocessing() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _at_child_end(function: Callable[[], None]) -> None:
    kind = sys.exc_info()[0]  # called while the exception, if there is one, is on its way
    if kind is not None and not issubclass(kind, SystemExit) and not _uncaught:
        _uncaught.append(kind.__name__)
    function()


def uncaught() -> str:
    """Class of the exception that ended the program; empty for none."""
    if _uncaught:
        return _uncaught[0]
    # Somebody may have put a hook of his own in the place of ours. The interpreter notes the exception before it calls
    # any. In a session with people, a mistake ends nothing.
    value = _last_value()
    if value is None or _is_interactive() or (_watching and value is _watching[0]):
        return ""
    return type(value).__name__


def _watch_program() -> None:
    before = sys.excepthook

    def hook(kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> None:
        if not _is_interactive():
            _uncaught.append(kind.__name__)
        before(kind, value, traceback)

    sys.excepthook = hook


def _watch_threads(failed: Failed) -> None:
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs, /) -> None:
        if not issubclass(args.exc_type, SystemExit):
            failed(args.exc_type)
        before(args)

    threading.excepthook = hook


def _last_value() -> object:
    return getattr(sys, "last_value", None)


def _is_interactive() -> bool:
    return hasattr(sys, "ps1")
