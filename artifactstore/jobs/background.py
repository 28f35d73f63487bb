"""Uploads in the background: one thread for each process, and a queue that can't grow.

    handle = directory.upload(wait=False)
    ...
    handle.wait()          # its result, or its error

For each directory one upload may be under way and one may wait. Another one that is asked for then
*is* the waiting one: an upload takes what the directory holds when it begins, so it serves both.
An error that nobody waited for is logged when it happens, and once more, as an error, at the end of
the program or of the job unless a later upload of that directory succeeded (docs/background.md).
"""

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar, cast

from artifactstore.clock import SYSTEM_CLOCK, Clock
from artifactstore.forks import renew_in_children
from artifactstore.jobs.exits import EXITS, Exits
from artifactstore.priority import give_way

R = TypeVar("R")
ToldOfFailure = Callable[[str], object]
"""Called with the class of an exception that is reported to nobody else."""

_log = logging.getLogger(__name__)

MAX_WAITING: Final = 64
"""How many directories may wait for their uploads."""


class UploadHandle(Generic[R]):
    """An upload in the background."""

    def __init__(self, work: Callable[[], R], *, failed: ToldOfFailure | None) -> None:
        self._work: Callable[[], R] | None = work
        self._failed = failed
        self._finished = threading.Event()
        self._result: R | None = None
        self._error: BaseException | None = None
        self._is_awaited = False
        self._pid = os.getpid()

    def __repr__(self) -> str:
        state = "waiting or under way" if not self.done() else "failed" if self._error is not None else "done"
        return f"<{type(self).__name__}: {state}>"

    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._finished.is_set()

    def wait(self, timeout: float | None = None) -> R:
        """Its result, once it is there.

        Args:
            timeout: In seconds; by default as long as it takes.

        Raises:
            TimeoutError: It goes on.
            ValueError: It is an upload of the process that forked this one.
            As the upload itself.
        """
        if not self.done() and self._pid != os.getpid():
            raise ValueError("this upload goes on in the parent process: wait for it there")
        self._is_awaited = True
        if not self._finished.wait(timeout):
            self._is_awaited = False
            raise TimeoutError(f"the upload is not done within {timeout:g} seconds; it goes on")
        return self._outcome()

    def result(self) -> R:
        """Its result, without waiting.

        Raises:
            TimeoutError: It is not done.
            As the upload itself.
        """
        if not self.done():
            raise TimeoutError("the upload is not done yet; it goes on")
        self._is_awaited = True
        return self._outcome()

    def _outcome(self) -> R:
        if self._error is not None:
            raise self._error
        return cast(R, self._result)

    # -- for the queue -------------------------------------------------------------------------------

    def _replace(self, work: Callable[[], R]) -> None:
        self._work = work

    def _run(self) -> None:
        work, self._work = self._work, None
        assert work is not None  # it is run once
        try:
            self._result = work()
        except BaseException as error:  # noqa: BLE001 - raised by `wait`, else logged
            self._error = error
        self._finished.set()


class Background:
    """Does uploads one after the other, in a thread that gives way to others. Safe for threads.

    In a forked child it begins with an empty queue and no thread.
    """

    def __init__(
        self, *, exits: Exits = EXITS, max_waiting: int = MAX_WAITING, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._exits = exits
        self._max_waiting = max_waiting
        self._clock = clock
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child (`artifactstore.forks`): what waits is the parent's to upload."""
        self._changed = threading.Condition()
        self._waiting: OrderedDict[Hashable, UploadHandle[object]] = OrderedDict()
        self._running: Hashable | None = None
        self._failures: dict[Hashable, UploadHandle[object]] = {}
        self._has_thread = False

    def submit(
        self, work: Callable[[], R], *, of: Hashable, failed: ToldOfFailure | None = None
    ) -> UploadHandle[R]:
        """Have ``work`` done in the background.

        Where one of the same directory waits already, ``work`` takes its place, and its handle stands for both. Where
        `MAX_WAITING` others wait, this waits for room.

        Args:
            of: Says which directory it is an upload of.
            failed: Called if it fails and nobody waits for it.

        Raises:
            ConfigurationError: ARTIFACTSTORE_GRACE_SECONDS is no number of seconds.
        """
        with self._changed:
            self._exits.add(self.finish)
            while (same := self._waiting.get(of)) is None and len(self._waiting) >= self._max_waiting:
                self._changed.wait()
            if same is not None:
                same._replace(work)
                return cast(UploadHandle[R], same)
            handle = UploadHandle(work, failed=failed)
            self._waiting[of] = cast(UploadHandle[object], handle)
            self.begin()
            self._changed.notify_all()
        return handle

    def begin(self) -> None:
        """Start the thread, unless it is there. At the very end of a program no thread can be started any more."""
        with self._changed:
            if not self._has_thread:
                threading.Thread(target=self._work, name="artifactstore-background", daemon=True).start()
                self._has_thread = True

    def settle(self, timeout: float | None = None, *, of: Hashable = None) -> bool:
        """Wait until nothing is waiting or under way.

        Args:
            timeout: In seconds; by default as long as it takes.
            of: Only of this directory.

        Returns:
            Whether that is so.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._is_settled(of), timeout)

    def _is_settled(self, of: Hashable) -> bool:
        if of is not None:
            return of not in self._waiting and self._running != of
        return not self._waiting and self._running is None

    def finish(self, timeout: float | None = None) -> None:
        """`settle`, then log as errors the failures that nobody has heard of."""
        if not self.settle(timeout):
            _log.error(
                "the time is over and uploads in the background are not done. The newest snapshots are whole; the "
                "next upload of each directory sends what is missing."
            )
        with self._changed:
            failures, self._failures = self._failures, {}
            if self._is_settled(None):
                self._exits.remove(self.finish)
        for handle in failures.values():
            if handle._error is not None and not handle._is_awaited:
                _log.error("an upload in the background failed, and nobody waited for it: %s", said(handle._error))
                if handle._failed is not None:
                    handle._failed(type(handle._error).__name__)

    def _work(self) -> None:
        give_way()
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                of, handle = self._waiting.popitem(last=False)
                self._running = of
                self._changed.notify_all()
            handle._run()
            with self._changed:
                self._running = None
                self._note(of, handle)
                self._changed.notify_all()
            del handle  # what it holds is not kept until the next one comes

    def _note(self, of: Hashable, handle: UploadHandle[object]) -> None:
        if handle._error is None:
            self._failures.pop(of, None)
            return
        self._failures[of] = handle  # whoever waits may have given up by now: `finish` looks again
        if not handle._is_awaited:
            _log.warning("an upload in the background failed: %s", said(handle._error))


def said(error: BaseException) -> str:
    """What an error is and says, for logs."""
    return f"{type(error).__name__}: {error}"


BACKGROUND: Final = Background()
"""That of this process."""
