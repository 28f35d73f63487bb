"""Interleaving clients request by request, in an order that the test chooses.

Each `Task` runs a piece of ordinary, blocking code in a thread of its own that stops before
every request to the storage until it is told to go on. Only one thread ever runs, so that
the same choices give the same run; and a task can be killed before any request, like a
process by SIGKILL.

    a = Task(lambda backend: push(backend, ...), store)
    b = Task(lambda backend: collect(backend, ...), store)
    while not (a.finished and b.finished):
        choose([a, b]).step()
"""

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from artifactstore.backend.protocol import Backend, CommonPrefix, ObjectInfo
from artifactstore.backend.wrappers.forward import ForwardingBackend, in_pages
from artifactstore.digest import Buffer

_Result = TypeVar("_Result")
_PATIENCE_SECONDS = 60.0


class Killed(BaseException):
    """The task was killed. Not an `Exception`: nothing may survive it by catching errors."""


class Task(Generic[_Result]):
    """Code that stops before every request.

    Attributes:
        next_request: Verb and key of the request it stands before; None when it has finished.
        result: What the code returned; None before, and after an error.
        error: What it raised.
    """

    def __init__(self, work: Callable[[Backend], _Result], store: Backend) -> None:
        self.next_request: tuple[str, str] | None = None
        self.result: _Result | None = None
        self.error: BaseException | None = None
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self._killed = False
        self._thread = threading.Thread(target=self._run, args=(work, _Stops(store, self._stop)), daemon=True)
        self._thread.start()
        self._await_stop()

    @property
    def finished(self) -> bool:
        return self.next_request is None

    def step(self) -> None:
        """Let it make its request, and go on to the next."""
        if not self.finished:
            self._go.release()
            self._await_stop()

    def finish(self) -> _Result:
        """Let it run to its end.

        Raises:
            BaseException: What it raised.
        """
        while not self.finished:
            self.step()
        if self.error is not None:
            raise self.error
        if self.result is None:
            raise AssertionError("the work returned nothing")
        return self.result

    def run_until(self, verb: str, key_part: str) -> bool:
        """Step until it stands before such a request; False where it finishes first."""
        while self.next_request is not None:
            if self.next_request[0] == verb and key_part in self.next_request[1]:
                return True
            self.step()
        return False

    def kill(self) -> None:
        """Stop it for ever, where it stands."""
        if not self.finished:
            self._killed = True
            self._go.release()
            self._await_stop()

    def _await_stop(self) -> None:
        if not self._stopped.acquire(timeout=_PATIENCE_SECONDS):
            raise AssertionError(f"stuck after {self.next_request}")

    def _stop(self, verb: str, key: str) -> None:
        self.next_request = (verb, key)
        self._stopped.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    def _run(self, work: Callable[[Backend], _Result], backend: Backend) -> None:
        try:
            self.result = work(backend)
        except BaseException as error:  # noqa: BLE001 - kept for whoever looks at the task; nothing is swallowed
            self.error = error
        finally:
            self.next_request = None
            self._stopped.release()


class _Stops(ForwardingBackend):
    """Calls ``stop`` before every request."""

    def __init__(self, inner: Backend, stop: Callable[[str, str], None]) -> None:
        super().__init__(inner)
        self._stop = stop

    def get(self, key: str) -> Buffer:
        self._stop("get", key)
        return self._inner.get(key)

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        self._stop("get_range", key)
        return self._inner.get_range(key, start, length)

    def put(self, key: str, body: Buffer) -> None:
        self._stop("put", key)
        self._inner.put(key, body)

    def put_if_absent(self, key: str, body: Buffer) -> None:
        self._stop("put_if_absent", key)
        self._inner.put_if_absent(key, body)

    def head(self, key: str) -> ObjectInfo:
        self._stop("head", key)
        return self._inner.head(key)

    def delete(self, key: str) -> None:
        self._stop("delete", key)
        self._inner.delete(key)

    def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None) -> Iterator[ObjectInfo]:
        listing = self._inner.list(prefix, start_after=start_after, page_size=page_size)
        return in_pages(listing, page_size, lambda: self._stop("list", prefix))

    def list_level(self, prefix: str) -> Iterator[ObjectInfo | CommonPrefix]:
        return in_pages(self._inner.list_level(prefix), None, lambda: self._stop("list_level", prefix))
