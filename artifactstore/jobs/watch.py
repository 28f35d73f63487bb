"""Uploading a directory again and again while a program works in it.

    with directory.watch(interval="30s"):
        train()

An upload that fails is tried again at the next interval. What is wrong is logged once, and raised
at the end if the last upload fails, too.
"""

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from artifactstore.clock import SYSTEM_CLOCK, Clock
from artifactstore.forks import renew_in_children
from artifactstore.jobs.background import ToldOfFailure, UploadHandle, said
from artifactstore.jobs.exits import EXITS, Exits
from artifactstore.transaction.expiry import NEVER, Ttl, parse_ttl

R = TypeVar("R")

_log = logging.getLogger(__name__)
_MAX_WARNED: Final = 100


def interval_seconds(interval: Ttl) -> float:
    """How long from one upload to the next: seconds, text (``30s``, ``5m``) or a timedelta.

    Raises:
        ValueError: It is none of these, or not above zero.
    """
    if interval == NEVER:
        raise ValueError("an interval of never is none")
    try:
        seconds = parse_ttl(interval)
    except ValueError as error:
        raise ValueError(f"no interval: {interval!r}; say such as 30, 30s or 5m") from error
    assert seconds is not None
    return seconds


class Watch(Generic[R]):
    """Uploads every so often, and once more at the end. Made by `SyncableDirectory.watch`.

    Args:
        upload: Asks for an upload in the background.
        what: Of what, for messages.
        failed: Called if the very last upload fails where nobody can catch that.
    """

    def __init__(
        self,
        upload: Callable[[], UploadHandle[R]],
        *,
        interval: Ttl,
        what: str,
        failed: ToldOfFailure | None = None,
        exits: Exits = EXITS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._upload = upload
        self._interval_seconds = interval_seconds(interval)
        self._what = what
        self._failed = failed
        self._exits = exits
        self._clock = clock
        self._warned: set[str] = set()
        self.renew()
        self._stopped.clear()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child (`artifactstore.forks`): it is the parent that watches."""
        self._stopped = threading.Event()
        self._stopped.set()
        self._stopping = threading.Lock()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.stop()
        else:
            self.finish()  # its failure must not hide the exception that is on its way

    @property
    def is_active(self) -> bool:
        """Whether it goes on."""
        return self._thread is not None and not self._stopped.is_set()

    def start(self) -> Self:
        """Begin; the first upload comes after one interval. Again is fine while it goes on.

        Raises:
            ValueError: It was stopped.
            ConfigurationError: ARTIFACTSTORE_GRACE_SECONDS is no number of seconds.
        """
        with self._stopping:
            if self._stopped.is_set():
                raise ValueError(f"the watch of {self._what} has ended; begin another one")
            if self._thread is None:
                self._exits.add(self.finish)
                self._thread = threading.Thread(target=self._run, name="artifactstore-watch", daemon=True)
                self._thread.start()
        return self

    def stop(self) -> R | None:
        """Upload what the directory is now, and end.

        Returns:
            What the last upload did; None where it had ended before.

        Raises:
            As the last upload.
        """
        if not self._end():
            return None
        try:
            return self._upload().wait()
        finally:
            self._exits.remove(self.finish)

    def finish(self, timeout: float | None = None) -> None:
        """As `stop`, but an error is logged, and nothing raised.

        Args:
            timeout: Seconds that are left after SIGTERM. The program may go on after that, and so does the watch.
        """
        if timeout is None and not self._end():
            return
        try:
            self._upload().wait(timeout)
        except Exception as error:  # noqa: BLE001 - as said below
            # Whatever it is: at the end of a program nobody is left to catch it.
            _log.error("the last upload of %s failed: %s", self._what, said(error))
            if self._failed is not None:
                self._failed(type(error).__name__)
        finally:
            if timeout is None:
                self._exits.remove(self.finish)

    def _end(self) -> bool:
        """Whether it was this call that ended it."""
        with self._stopping:
            was_active = self.is_active
            self._stopped.set()
        return was_active

    def _run(self) -> None:
        due = self._clock.monotonic() + self._interval_seconds
        while not self._stopped.wait(max(0.0, due - self._clock.monotonic())):
            due = self._clock.monotonic() + self._interval_seconds
            try:
                self._upload().wait()
            except Exception as error:  # noqa: BLE001 - as said below
                # Whatever it is: the next interval tries again, and the last upload raises.
                self._warn(error)

    def _warn(self, error: Exception) -> None:
        text = said(error)
        if text not in self._warned and len(self._warned) < _MAX_WARNED:
            self._warned.add(text)
            _log.warning("an upload of %s failed, and will be tried again: %s", self._what, text)
