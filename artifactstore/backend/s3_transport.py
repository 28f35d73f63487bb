"""How bytes go to and from S3: bodies without copies, progress deadlines, clients by process.

botocore signs, retries nothing (`total_max_attempts=1`; `wrappers.retry` does that), and
never sees the transfer manager: `s3transfer` and its CRT twin are not even imported.
"""

import io
import logging
import os
import threading
from dataclasses import dataclass
from typing import Any, Final

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config

from artifactstore._version import __version__
from artifactstore.backend.s3_direct import DirectReads, parse_time
from artifactstore.backend.s3_location import S3Location, UploadCheck
from artifactstore.clock import Clock
from artifactstore.digest import Buffer
from artifactstore.errors import BackendError, TransientBackendError

SMALL_BODY_BYTES: Final = 256 << 10
"""Bodies up to this size are sent in one go, signed, with Content-MD5: it costs nothing and every server checks it."""

_PIECE_BYTES: Final = 64 << 10
_MAX_CONTROL_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long a request may go without progress.

    Attributes:
        connect_seconds: To connect, and for one 64 KiB piece of an upload to leave this machine.
        answer_seconds: Silence after the request was sent, and between any two reads.
        stall_seconds: In each such window at least `stall_bytes` must arrive (or the rest, if that is less).
    """

    connect_seconds: float = 10.0
    answer_seconds: float = 60.0
    stall_seconds: float = 30.0
    stall_bytes: int = 64 << 10


class Body(io.RawIOBase):
    """A buffer that the HTTP client reads in pieces which are views, not copies."""

    def __init__(self, data: Buffer) -> None:
        self._view = memoryview(data).cast("B")
        self._at = 0

    def __len__(self) -> int:
        return len(self._view)

    def __repr__(self) -> str:
        return f"<{len(self._view)} bytes>"

    def read(self, size: int = -1) -> Any:
        # `size` is the SDK's 16 KiB or 1 MiB guess. One piece must pass within one socket timeout,
        # which bounds the slowest upload that counts as alive.
        piece = self._view[self._at : self._at + _PIECE_BYTES]
        self._at += len(piece)
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._view)}[whence]
        self._at = min(max(base + offset, 0), len(self._view))
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


class Progress:
    """Raises once a window passes without enough bytes."""

    def __init__(self, clock: Clock, deadlines: Deadlines, *, where: str) -> None:
        self._clock = clock
        self._deadlines = deadlines
        self._where = where
        self._received = 0
        self._window_end = clock.monotonic() + deadlines.stall_seconds

    def add(self, count: int) -> None:
        """``count`` bytes came."""
        self._received += count
        now = self._clock.monotonic()
        if now < self._window_end:
            return
        if self._received < self._deadlines.stall_bytes:
            raise TransientBackendError(
                f"the transfer stalled: {self._received} bytes in {self._deadlines.stall_seconds:g} s",
                where=self._where,
                effect_unknown=False,
            )
        self._received = 0
        self._window_end = now + self._deadlines.stall_seconds


def read_exactly(raw: Any, length: int, progress: Progress, *, where: str) -> bytearray:
    """``length`` bytes of a response, into one buffer, straight from the socket where that is possible.

    ``raw`` is urllib3's response. It is given back to its pool when all bytes came, and closed otherwise.

    Raises:
        TransientBackendError: It ended early, went on for longer, or stalled.
    """
    buffer = bytearray(length)
    try:
        with memoryview(buffer) as view:
            filled = _fill(raw, view, progress)
            if filled == length:
                _finish(raw, where=where)
    except BaseException:
        raw.close()
        raise
    if filled != length:
        raw.close()
        raise TransientBackendError(
            f"the answer ended after {filled} of {length} bytes", where=where, effect_unknown=False
        )
    return buffer


def _fill(raw: Any, view: memoryview, progress: Progress) -> int:
    reader = _plain_reader(raw, len(view))
    at = 0
    while at < len(view):
        if reader is not None:
            # One recv at most per call: the deadline is looked at after each, however slowly bytes drip.
            count = reader.readinto1(view[at:])
        else:
            piece = _some(raw, min(len(view) - at, _PIECE_BYTES))
            count = len(piece)
            view[at : at + count] = piece
        if not count:
            break
        at += count
        progress.add(count)
    return at


def _some(raw: Any, most: int) -> bytes:
    """What is there, at most ``most`` bytes, waiting for the first; empty at the end."""
    read = getattr(raw, "read1", raw.read)  # urllib3 1 has no read1
    piece: bytes = read(most)
    return piece


def _plain_reader(raw: Any, length: int) -> Any:
    """The buffered socket under a response whose body is neither chunked nor encoded; None for others.

    urllib3 and http.client would copy each byte twice more, and hide from us how slowly they come.
    """
    answer = getattr(raw, "_fp", None)
    reader = getattr(answer, "fp", None)
    plain = not getattr(answer, "chunked", True) and getattr(answer, "length", None) == length
    return reader if plain and length and hasattr(reader, "readinto1") else None


def _finish(raw: Any, *, where: str) -> None:
    if _plain_reader(raw, getattr(getattr(raw, "_fp", None), "length", None) or 0) is None:
        if _some(raw, 1):
            raise TransientBackendError("the answer is longer than announced", where=where, effect_unknown=False)
    else:
        raw._fp.close()  # read to its end: only now may the connection serve another request
    raw.release_conn()


def read_control(raw: Any, progress: Progress, *, where: str) -> bytes:
    """All of a small answer (a listing, an error), bounded in time and size."""
    pieces = []
    total = 0
    try:
        while piece := _some(raw, _PIECE_BYTES):
            total += len(piece)
            if total > _MAX_CONTROL_BYTES:
                raise BackendError("the answer is too long for a listing or an error", where=where)
            pieces.append(piece)
            progress.add(len(piece))
    except BaseException:
        raw.close()
        raise
    raw.release_conn()
    return b"".join(pieces)


class ClientSlot:
    """One botocore client, made at first use and made again in a forked child.

    A child must not use its parent's connections: the two would read each other's answers.
    """

    def __init__(self, location: S3Location, *, max_connections: int, deadlines: Deadlines, clock: Clock) -> None:
        self._location = location
        self._max_connections = max_connections
        self._deadlines = deadlines
        self._clock = clock
        self._made = _Made()

    def client(self) -> Any:
        """The client of this process."""
        made = self._made
        if made.pid != os.getpid():
            # A fresh lock too: at the fork, another thread may have held the old one.
            made = self._made = _Made()
        if made.client is None:
            with made.lock:
                if made.client is None:
                    made.client = self._make(made)
        return made.client

    def direct(self) -> DirectReads | None:
        """The short way of this process's client, once it is made."""
        made = self._made
        return made.direct if made.pid == os.getpid() else None

    def renew(self, stale: Any) -> None:
        """Forget ``stale``, so that the next request reads the credentials again."""
        if self._made.client is stale:
            self._made = _Made()

    def close(self) -> None:
        made, self._made = self._made, _Made()
        if made.client is not None and made.pid == os.getpid():
            made.client.close()

    def _make(self, made: "_Made") -> Any:
        location = self._location
        _keep_tokens_out_of_logs()
        session = botocore.session.Session(profile=location.profile or None)
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse_time)
        region = location.region or session.get_config_variable("region") or os.environ.get("AWS_REGION")
        client = session.create_client(
            "s3",
            region_name=region or None,
            endpoint_url=location.endpoint_url or None,
            config=self._config(),
        )
        signed = client.meta.config.merge(
            Config(s3={**(client.meta.config.s3 or {}), "payload_signing_enabled": True})
        )
        events = client.meta.events
        events.register("before-call.s3.PutObject", _SignSmallBodies(signed))
        sender = _Sender(client, self._clock, self._deadlines)
        events.register("before-send.s3", sender)
        made.direct = DirectReads(client, sender)
        return client

    def _config(self) -> Config:
        location = self._location
        s3: dict[str, Any] = {"payload_signing_enabled": location.upload_check is UploadCheck.SHA256}
        if location.addressing != "auto":
            s3["addressing_style"] = location.addressing
        return Config(
            s3=s3,
            signature_version=UNSIGNED if location.anonymous else None,
            connect_timeout=self._deadlines.connect_seconds,
            read_timeout=self._deadlines.answer_seconds,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=self._max_connections,
            tcp_keepalive=True,
            # We name our own upload check; what is read is checked by BLAKE3.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # Given whole: what botocore would put together for each request takes 0.1 ms.
            user_agent=f"artifactstore/{__version__} Botocore/{botocore.__version__}",
        )


class _Made:
    __slots__ = ("client", "direct", "lock", "pid")

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.client: Any = None
        self.direct: DirectReads | None = None


class _SignSmallBodies:
    """Signs the payload of small bodies, whatever the client does with large ones."""

    def __init__(self, signed: Config) -> None:
        self._signed = signed

    def __call__(self, *, params: dict[str, Any], **_: object) -> None:
        if not isinstance(params.get("body"), Body):
            params["context"]["client_config"] = self._signed


class _Sender:
    """Sends requests as botocore would, and reads what is not an object's body under a progress deadline.

    botocore itself reads listings and errors whole, however slowly they drip and however long they are.
    """

    def __init__(self, client: Any, clock: Clock, deadlines: Deadlines) -> None:
        self._session = client._endpoint.http_session
        self._clock = clock
        self._deadlines = deadlines

    def __call__(self, *, request: Any, **_: object) -> Any:
        is_object_body = request.stream_output
        request.stream_output = True
        response = self._session.send(request)
        if not is_object_body or response.status_code >= 300:
            where = f"{request.method} {request.url.partition('?')[0]}"
            progress = Progress(self._clock, self._deadlines, where=where)
            response._content = read_control(response.raw, progress, where=where)
        return response


def _keep_tokens_out_of_logs() -> None:
    # At DEBUG, botocore logs whole requests, session tokens included. A root logger set to DEBUG must not
    # turn that on; whoever wants it sets the level of the `botocore` logger.
    logger = logging.getLogger("botocore")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
