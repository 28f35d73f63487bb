"""A backend that fails by plan: every fault a storage can show, at a request that is chosen.

    FaultBackend(memory, faults=[
        Fault(verb="put_if_absent", key="*/outcome", action=ErrorAfter()),        a lost reply
        Fault(verb="get_range", nth=3, action=WrongBody()),                       a flipped bit
        Fault(verb="list", action=ErrorMidway(after=1)),                          a page that fails
        Fault(nth=17, times=None, action=ErrorBefore(permission_denied)),         credentials expire for good
        crash_at(5),                                                              killed before request 5
    ])

Requests are numbered from 1 over all threads, and the plan knows no chance: the same
requests in the same order meet the same faults. A listing is one request for each page.
"""

import fnmatch
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from artifactstore.backend.protocol import Backend, CommonPrefix, ObjectInfo
from artifactstore.backend.wrappers.forward import ForwardingBackend, body_bytes, page_objects
from artifactstore.clock import Clock
from artifactstore.digest import Buffer
from artifactstore.errors import ObjectExists, StorePermissionDenied, TransientBackendError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
MakeError = Callable[[str], Exception]
"""Makes the error of a key."""


class Crashed(BaseException):
    """The process is dead from here on. Not an `Exception`: nothing may survive it by catching errors."""


def transient(key: str) -> Exception:
    """What a 500, 502, 504, a reset or a timeout becomes."""
    return TransientBackendError("the storage failed, as planned", where=key)


def slow_down(key: str) -> Exception:
    """What a 503 with Retry-After becomes."""
    return TransientBackendError("slow down", where=key, retry_after_seconds=3.0, effect_unknown=False)


def permission_denied(key: str) -> Exception:
    """What a 403 becomes."""
    return StorePermissionDenied("access denied, as planned", where=key)


def conflict(key: str) -> Exception:
    """What a 409 or 412 becomes: with `ErrorAfter` a writer loses against itself, with `ErrorBefore` against nobody."""
    return ObjectExists(key)


@dataclass(frozen=True, slots=True)
class ErrorBefore:
    """Nothing happens, and an error comes back."""

    error: MakeError = transient


@dataclass(frozen=True, slots=True)
class ErrorAfter:
    """It happens, and an error comes back all the same: the reply was lost."""

    error: MakeError = transient


@dataclass(frozen=True, slots=True)
class ShortBody:
    """The body lacks its last bytes: as it is returned by reads, as it is stored by writes."""

    missing_bytes: int = 1


@dataclass(frozen=True, slots=True)
class LongBody:
    """The body has zeros at its end that nobody wrote: as returned, or as stored."""

    extra_bytes: int = 1


@dataclass(frozen=True, slots=True)
class WrongBody:
    """One bit of the body is flipped: as returned, or as stored. Positions may count from the end."""

    position: int = 0


@dataclass(frozen=True, slots=True)
class Delay:
    """It takes as long as this; with a clock of tests, that is no time. A stall is a long one."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Crash:
    """The process is killed, before or after the request has its effect. All later requests fail likewise."""

    after_effect: bool = False


@dataclass(frozen=True, slots=True)
class AnswerFrom:
    """Another backend answers, such as an old copy of this one: a stale read, a stale listing."""

    backend: Backend


@dataclass(frozen=True, slots=True)
class ErrorMidway:
    """A listing brings ``after`` items, then an error."""

    after: int = 0
    error: MakeError = transient


@dataclass(frozen=True, slots=True)
class EndMidway:
    """A listing brings ``after`` items and says that this was all."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """Something else happens first: another client gets its turn. It may use the same backend."""

    happens: Callable[[], None]


Action = (
    ErrorBefore
    | ErrorAfter
    | ShortBody
    | LongBody
    | WrongBody
    | Delay
    | Crash
    | AnswerFrom
    | ErrorMidway
    | EndMidway
    | Meanwhile
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One line of a plan.

    Attributes:
        action: What happens.
        verb: The method of the backend, or ``*``.
        key: Pattern of keys (of prefixes, for listings): ``*`` stands for any text, slashes too.
        nth: Which of the requests that match is the first to be hit, from 1.
        times: How many of them in a row are hit. None: all that follow.
    """

    action: Action
    verb: str = "*"
    key: str = "*"
    nth: int = 1
    times: int | None = 1

    def __post_init__(self) -> None:
        if self.nth < 1 or (self.times is not None and self.times < 1):
            raise ValueError(f"requests are counted from 1: {self}")

    def matches(self, verb: str, key: str) -> bool:
        """Whether such a request counts for this fault."""
        return fnmatch.fnmatchcase(verb, self.verb) and fnmatch.fnmatchcase(key, self.key)

    def hits(self, count: int) -> bool:
        """Whether the ``count``-th request that matches is hit."""
        return count >= self.nth and (self.times is None or count < self.nth + self.times)


def crash_at(request: int, *, after_effect: bool = False) -> Fault:
    """Kill the process at the request of this number, from 1."""
    return Fault(nth=request, action=Crash(after_effect))


def fail_at(request: int, *, times: int | None = 1, error: MakeError = transient) -> Fault:
    """Fail the request of this number without effect, and those after it: ``times`` in all, None for ever."""
    return Fault(nth=request, times=times, action=ErrorBefore(error))


@dataclass(frozen=True, slots=True)
class Request:
    """One request that was made."""

    verb: str
    key: str


class FaultBackend(ForwardingBackend):
    """Makes the requests of its plan fail; see the top of this module.

    Args:
        inner: What the requests that don't fail are made of.
        faults: The plan. Where several hit one request, the first of them counts.
        clock: Needed for `Delay`.
    """

    def __init__(self, inner: Backend, *, faults: Iterable[Fault] = (), clock: Clock | None = None) -> None:
        super().__init__(inner)
        self._lock = threading.Lock()
        self._plan: list[tuple[Fault, list[int]]] = [(fault, [0]) for fault in faults]
        self._clock = clock
        self._requests: list[Request] = []
        self._hits: list[Request] = []
        self._crashed = False

    @property
    def requests(self) -> tuple[Request, ...]:
        """Every request so far, those hit too."""
        with self._lock:
            return tuple(self._requests)

    @property
    def hits(self) -> tuple[Request, ...]:
        """The requests that a fault hit: a test that meant to hurt something looks here."""
        with self._lock:
            return tuple(self._hits)

    @property
    def crashed(self) -> bool:
        """Whether a planned crash has happened."""
        return self._crashed

    def add(self, *faults: Fault) -> None:
        """Put more into the plan; they count from now on."""
        with self._lock:
            self._plan += [(fault, [0]) for fault in faults]

    def heal(self) -> None:
        """Forget the plan: nothing fails any more, not even after a crash."""
        with self._lock:
            self._plan = []
            self._crashed = False

    def get(self, key: str) -> Buffer:
        return self._read("get", key, lambda backend: backend.get(key))

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        return self._read("get_range", key, lambda backend: backend.get_range(key, start, length))

    def head(self, key: str) -> ObjectInfo:
        return self._do("head", key, lambda backend: backend.head(key))

    def put(self, key: str, body: Buffer) -> None:
        self._write("put", key, body, lambda stored: self._inner.put(key, stored))

    def put_if_absent(self, key: str, body: Buffer) -> None:
        self._write("put_if_absent", key, body, lambda stored: self._inner.put_if_absent(key, stored))

    def delete(self, key: str) -> None:
        self._do("delete", key, lambda backend: backend.delete(key))

    def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None) -> Iterator[ObjectInfo]:
        return self._listing(
            Request("list", prefix),
            lambda backend: backend.list(prefix, start_after=start_after, page_size=page_size),
            page_size,
        )

    def list_level(self, prefix: str) -> Iterator[ObjectInfo | CommonPrefix]:
        return self._listing(Request("list_level", prefix), lambda backend: backend.list_level(prefix), None)

    def _next_action(self, verb: str, key: str) -> Action | None:
        """Note the request; what the plan has for it. Raises what comes before any effect."""
        request = Request(verb, key)
        with self._lock:
            if self._crashed:
                raise Crashed(f"{verb} {key} after the crash")
            self._requests.append(request)
            action = None
            for fault, count in self._plan:
                if not fault.matches(verb, key):
                    continue
                count[0] += 1
                if action is None and fault.hits(count[0]):
                    action = fault.action
                    self._hits.append(request)
        self._before(request, action)
        return action

    def _before(self, request: Request, action: Action | None) -> None:
        match action:
            case ErrorBefore(error):
                raise error(request.key)
            case Crash(after_effect=False):
                self._die(request)
            case Meanwhile(happens):
                happens()
            case Delay(seconds):
                if self._clock is None:
                    raise ValueError("a plan with delays needs a clock")
                self._clock.sleep(seconds)

    def _after(self, request: Request, action: Action | None) -> None:
        match action:
            case ErrorAfter(error):
                raise error(request.key)
            case Crash(after_effect=True):
                self._die(request)

    def _die(self, request: Request) -> None:
        with self._lock:
            self._crashed = True
        raise Crashed(f"killed at {request.verb} {request.key}")

    def _do(self, verb: str, key: str, ask: Callable[[Backend], _Result]) -> _Result:
        action = self._next_action(verb, key)
        result = ask(action.backend if isinstance(action, AnswerFrom) else self._inner)
        self._after(Request(verb, key), action)
        return result

    def _read(self, verb: str, key: str, ask: Callable[[Backend], Buffer]) -> Buffer:
        action = self._next_action(verb, key)
        body = ask(action.backend if isinstance(action, AnswerFrom) else self._inner)
        self._after(Request(verb, key), action)
        return _damaged(body, action)

    def _write(self, verb: str, key: str, body: Buffer, store: Callable[[Buffer], None]) -> None:
        action = self._next_action(verb, key)
        store(_damaged(body, action))
        self._after(Request(verb, key), action)

    def _listing(
        self, request: Request, ask: Callable[[Backend], Iterator[_Item]], page_size: int | None
    ) -> Iterator[_Item]:
        size = page_objects(page_size)
        action = self._next_page(request)
        for number, item in enumerate(ask(action.backend if isinstance(action, AnswerFrom) else self._inner)):
            if number and number % size == 0:
                action = self._next_page(request)
            if isinstance(action, ErrorMidway | EndMidway) and number % size == action.after:
                break
            yield item
        if isinstance(action, ErrorMidway):
            raise action.error(request.key)

    def _next_page(self, request: Request) -> Action | None:
        action = self._next_action(request.verb, request.key)
        self._after(request, action)  # a page whose reply is lost brings nothing
        return action


def _damaged(body: Buffer, action: Action | None) -> Buffer:
    match action:
        case ShortBody(missing_bytes):
            return memoryview(body).cast("B")[:-missing_bytes]
        case LongBody(extra_bytes):
            return bytes(body) + bytes(extra_bytes)
        case WrongBody(position) if body_bytes(body):
            damaged = bytearray(body)
            damaged[position] ^= 1
            return damaged
    return body
