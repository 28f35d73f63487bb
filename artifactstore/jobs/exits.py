"""The end of a program: last uploads when it ends by itself, by an exception, or by SIGTERM.

    exit       `sys.exit`, an exception that nobody caught, the last line: as long as it takes
    SIGTERM    within the grace period, in a thread of its own while the program goes on, and after
               the uploads the records that jobs were ended; then the handler that was there
               before, or the end that SIGTERM means
    SIGKILL    nothing: what was uploaded is whole, the rest is sent by the next run

The handler itself only wakes the thread: whatever lock the program held at that moment, it goes on
and gives it back. A second SIGTERM is handed on at once. In a forked child nothing is left to do.
"""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from types import FrameType
from typing import Final

from artifactstore.clock import SYSTEM_CLOCK, Clock
from artifactstore.errors import ConfigurationError
from artifactstore.forks import renew_in_children
from artifactstore.jobs.ending import at_exit

_log = logging.getLogger(__name__)

GRACE_VARIABLE: Final = "ARTIFACTSTORE_GRACE_SECONDS"
GRACE_SECONDS: Final = 25.0
"""Schedulers give 30 seconds from SIGTERM to SIGKILL."""
MAX_GRACE_SECONDS: Final = 3600.0
RECORDING_SECONDS: Final = 2.0
"""What last uploads leave of the grace for what comes after them, at most a fifth of it."""

End = Callable[[float | None], None]
"""Called with the seconds that are left; None at the end of the program, where there is time. After SIGTERM the
program may go on, and it may be called again."""


def grace_seconds(environment: Mapping[str, str] | None = None) -> float:
    """How long last uploads may take after SIGTERM.

    Raises:
        ConfigurationError: ARTIFACTSTORE_GRACE_SECONDS is not from 0 to 3600.
    """
    text = (os.environ if environment is None else environment).get(GRACE_VARIABLE, "").strip()
    try:
        seconds = float(text) if text else GRACE_SECONDS
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_GRACE_SECONDS:
        raise ConfigurationError(f"{GRACE_VARIABLE} must be from 0 to 3600", next_step="Correct it, or unset it.")
    return seconds


class Exits:
    """What this process still has to do before it ends. Safe for threads."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._before: Callable[[int, FrameType | None], object] | int | None = None
        self._warned = False
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child (`artifactstore.forks`): the work is the parent's. SIGTERM is handed on."""
        self._lock = threading.RLock()
        self._ends: list[End] = []
        self._records: list[Callable[[], None]] = []
        self._is_ending = False
        self._has_thread = False
        self._signals: SimpleQueue[int] = SimpleQueue()
        self._grace_seconds = GRACE_SECONDS
        self._main_is_done = threading.Event()
        self._main_ends = False

    def add(self, end: End) -> None:
        """Have ``end`` called before the program ends; those added last come first. Adding it again is fine.

        SIGTERM is handled if the main thread adds one, and if whoever started the program did not ignore it.

        Raises:
            ConfigurationError: ARTIFACTSTORE_GRACE_SECONDS is no number of seconds.
        """
        self._grace_seconds = grace_seconds()
        with self._lock:
            at_exit(self._at_exit)
            if end not in self._ends:
                self._ends.append(end)
            self._handle_sigterm()

    def add_record(self, record: Callable[[], None]) -> None:
        """Have ``record`` called after SIGTERM, once last uploads are over; not at the end of a program that ends by
        itself. Where SIGTERM can't be handled it is not called, and nothing is said about that.

        Raises:
            ConfigurationError: ARTIFACTSTORE_GRACE_SECONDS is no number of seconds.
        """
        self._grace_seconds = grace_seconds()
        with self._lock:
            at_exit(self._at_exit)
            self._records.append(record)
            self._handle_sigterm(warn=False)

    def remove_record(self, record: Callable[[], None]) -> None:
        """Forget about it, as `remove`."""
        with self._lock:
            if record in self._records:
                self._records.remove(record)
            self._restore()

    def remove(self, end: End) -> None:
        """Forget about it. The handler of SIGTERM that was there before comes back with the last one."""
        with self._lock:
            if end in self._ends:
                self._ends.remove(end)
            self._restore()

    def _restore(self) -> None:
        if not self._ends and not self._records and _in_main_thread() and self._is_ours():
            signal.signal(signal.SIGTERM, self._before)
            self._before = None

    # -- SIGTERM -------------------------------------------------------------------------------------

    def _is_ours(self) -> bool:
        return signal.getsignal(signal.SIGTERM) == self._on_signal

    def _handle_sigterm(self, *, warn: bool = True) -> None:
        if self._before is None and not self._install(warn=warn):
            return
        if not self._has_thread:
            # Begun now: a handler should start nothing, and at its very end a program can't start threads.
            threading.Thread(target=self._await_signals, name="artifactstore-exit", daemon=True).start()
            self._has_thread = True

    def _install(self, *, warn: bool) -> bool:
        """Whether SIGTERM is handled here now."""
        before = signal.getsignal(signal.SIGTERM)
        if before is signal.SIG_IGN:
            return False
        if before is None or not _in_main_thread():
            why = "another library handles it" if before is None else "they were asked for outside of the main thread"
            if warn and not self._warned:
                _log.warning("SIGTERM ends this program without last uploads: %s", why)
            self._warned = self._warned or warn
            return False
        self._before = before
        signal.signal(signal.SIGTERM, self._on_signal)
        return True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, between any two of its steps: takes no lock."""
        if self._is_ending or not (self._ends or self._records):
            self._is_ending = False
            self._hand_on(number, frame)
        else:
            self._is_ending = True
            self._signals.put(number)

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        before = self._before
        if callable(before):
            before(number, frame)
            return
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _await_signals(self) -> None:
        signals, pid = self._signals, os.getpid()
        while True:
            number = signals.get()
            ends_at = self._clock.monotonic() + self._grace_seconds
            if self._ends:
                _log.warning("SIGTERM: last uploads, for at most %g seconds", self._grace_seconds)
            kept = min(RECORDING_SECONDS, self._grace_seconds / 5) if self._records else 0.0
            self._call(ends_at - kept)
            self._record(ends_at)
            if self._main_ends:
                # The program is at its end anyhow, and what it uploads now is newer.
                self._main_is_done.wait(max(0.0, ends_at - self._clock.monotonic()))
            os.kill(pid, number)

    def _record(self, ends_at: float) -> None:
        """In one more thread: storage that does not answer must not hold up the end."""
        with self._lock:
            records = self._records[::-1]
        if not records or self._main_ends:
            return  # a program that ends by itself says how
        thread = threading.Thread(target=_call_all, args=(records,), name="artifactstore-exit-records", daemon=True)
        with contextlib.suppress(RuntimeError):  # the program has come to its end meanwhile
            thread.start()
            thread.join(max(0.0, ends_at - self._clock.monotonic()))

    # -- the end -------------------------------------------------------------------------------------

    def _call(self, ends_at: float | None) -> None:
        with self._lock:
            ends = self._ends[::-1]
        for end in ends:
            try:
                end(None if ends_at is None else max(0.0, ends_at - self._clock.monotonic()))
            except Exception:  # noqa: BLE001 - as said below
                # Logged: the others have their turn, and nobody is left to catch this.
                _log.exception("what was to be done before the program ends failed")

    def _at_exit(self) -> None:
        self._main_ends = True
        self._call(None)
        self._main_is_done.set()


def _call_all(records: list[Callable[[], None]]) -> None:
    for record in records:
        try:
            record()
        except Exception:  # noqa: BLE001 - logged: the others have their turn, and nobody is left to catch this
            _log.exception("what was to be recorded before the program ends was not")


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


EXITS: Final = Exits()
"""Those of this process."""
