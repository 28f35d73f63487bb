"""The end of a program: what is called then, and which exception, if any, ended it.

    early   pools of threads still work: for last uploads
    late    other threads have ended: for what is said at the very end

Hooks that were there before are called as before, whatever they do.
"""

import atexit
import contextlib
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final

Failed = Callable[[type[BaseException]], None]

_uncaught: Final[list[str]] = []
_watching: Final[list[object]] = []
"""What `sys.last_value` was when watching began."""


def watch_ending(*, early: Callable[[], None], late: Callable[[], None], thread_failed: Failed) -> None:
    """Have these called: at the end of the program, and in a thread that an exception ends. Does so once."""
    if _watching:
        return
    _watching.append(_last_value())
    _watch_program()
    _watch_threads(thread_failed)
    atexit.register(late)
    # Functions of `atexit` come after the pools of `concurrent.futures` were shut down; these come before.
    register: Callable[[Callable[[], None]], object] = getattr(threading, "_register_atexit", atexit.register)
    with contextlib.suppress(RuntimeError):  # the program is ending already
        register(early)


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
