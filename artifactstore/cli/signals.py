"""Ctrl-C and SIGTERM: say what is safe, clean up, and be gone within five seconds.

The first signal raises `Interrupted` in the main thread, so that temporary files are removed on the way out.
Threads that hang in a request do not hold the program: a watchdog ends it. A second signal ends it at once.
"""

import contextlib
import enum
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

WATCHDOG_SECONDS: Final = 4.0

_SAFE: Final = {
    "push": "No half-made version is visible, older ones are not affected. "
    "Run the same push again: it sends only what is missing.",
    "pull": "No half-written file was left, stored data is not affected. "
    "Run the same pull again: what was finished here is not fetched again.",
    "rm": "Each version is either removed or not, never half. Run the same command again to go on.",
    "init": "Run the same command again.",
}
_SAFE_AT_ONCE: Final = {
    "pull": "There was no time to clean up: names that begin with .artifactstore-tmp- may be left in or beside the "
    "destination. Remove them; all other files are whole, stored data is not affected. Run the same pull again.",
}
_SAFE_OTHERWISE: Final = "Stored data is not affected. Run the same command again."


class Interrupted(KeyboardInterrupt):
    """The user or the system asked the program to end.

    Attributes:
        exit_code: 128 and the number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class Ending(enum.Enum):
    """How the program ends after a signal: by its own way out, or without."""

    CLEANED_UP = enum.auto()
    AT_ONCE = enum.auto()


def interrupted_text(command: str, ending: Ending) -> str:
    """What is safe and how to go on, in one line."""
    at_once = _SAFE_AT_ONCE.get(command) if ending is Ending.AT_ONCE else None
    return f"interrupted: {at_once or _SAFE.get(command, _SAFE_OTHERWISE)}"


class Interruption:
    """Handles the signals of one run of the program, and tells the user once.

    Args:
        tell: Called when the program is about to end because of a signal; from any thread.
    """

    def __init__(self, tell: Callable[[Ending], None]) -> None:
        self._tell = tell
        self._told = threading.Lock()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, SIGINT and SIGTERM raise `Interrupted` once. Does nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        # Ignored by whoever started us (nohup, a shell's background job): leave it so.
        ours = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        for number in ours:
            signal.signal(number, self._on_first)
        try:
            yield
        finally:
            for number in ours:
                # After a first signal the second must still end the program at once.
                if signal.getsignal(number) == self._on_first:
                    signal.signal(number, before[number])

    def tell(self, ending: Ending = Ending.CLEANED_UP) -> None:
        """Tell the user, unless that is done."""
        if self._told.acquire(blocking=False):
            self._tell(ending)

    def _on_first(self, number: int, _frame: FrameType | None) -> None:
        for both in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(both) is not signal.SIG_IGN:
                signal.signal(both, self._on_second)
        watchdog = threading.Timer(WATCHDOG_SECONDS, self._end_now, args=(128 + number,))
        watchdog.daemon = True
        watchdog.start()
        raise Interrupted(number)

    def _on_second(self, number: int, _frame: FrameType | None) -> None:
        self._end_now(128 + number)

    def _end_now(self, exit_code: int) -> None:
        with contextlib.suppress(Exception):  # the program ends in the next line, whatever happened here
            self.tell(Ending.AT_ONCE)
            sys.stderr.flush()
        os._exit(exit_code)
