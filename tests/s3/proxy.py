"""A proxy between client and S3 server that breaks things by plan (faults 89–94): one thread, asyncio, loopback.

    with FaultProxy(server.endpoint_url) as proxy:
        proxy.plan(Rule(method="PUT", path="*/outcome", action=DropReply()))

A request is read whole, then meets the first rule that fits it and is not used up; others
pass. Signatures stay valid, for the host name that the client signed is passed on.
"""

import asyncio
import fnmatch
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """Answer in the server's place; nothing reaches it."""

    status: int
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True)
class DropReply:
    """The server does it, and the client never hears of it."""


@dataclass(frozen=True)
class CutUpload:
    """The connection breaks after so many bytes of the request's body; the server gets nothing."""

    after_bytes: int = 0


@dataclass(frozen=True)
class DamageUpload:
    """One bit of the request's body is another one when it reaches the server."""

    position: int = 0


@dataclass(frozen=True)
class CutBody:
    """The answer's body ends after so many bytes: closed in good order, or reset."""

    after_bytes: int
    reset: bool = False


@dataclass(frozen=True)
class LieAboutLength:
    """The answer announces and carries so many bytes more (or fewer, if negative) than it should."""

    extra_bytes: int


@dataclass(frozen=True)
class Trickle:
    """After so many bytes the answer's body comes one byte at a time."""

    after_bytes: int = 0
    seconds_per_byte: float = 0.05


@dataclass(frozen=True)
class FlipBit:
    """One bit of the answer's body is another one."""

    position: int = 0


@dataclass(frozen=True)
class Wait:
    """The answer comes later."""

    seconds: float


Action = Answer | DropReply | CutUpload | DamageUpload | CutBody | LieAboutLength | Trickle | FlipBit | Wait


@dataclass(kw_only=True)
class Rule:
    """Which requests meet ``action``: the method and path (without query) that fit, ``times`` times (None: always)."""

    action: Action
    method: str = "*"
    path: str = "*"
    times: int | None = 1

    def takes(self, method: str, path: str) -> bool:
        if self.times == 0 or not (fnmatch.fnmatch(method, self.method) and fnmatch.fnmatch(path, self.path)):
            return False
        if self.times is not None:
            self.times -= 1
        return True


def s3_error(status: int, code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as planned</Message></Error>".encode()


class FaultProxy:
    def __init__(self, upstream_url: str) -> None:
        parts = urlsplit(upstream_url)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._rules: list[Rule] = []
        self.requests: list[tuple[str, str]] = []
        """Method and path of every request so far."""
        self.heads: list[dict[str, str]] = []
        """Their headers, names in lower case."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault proxy", daemon=True)
        self._started = threading.Event()
        self._port = 0

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def plan(self, *rules: Rule) -> None:
        """Forget the old plan; these rules count now."""
        self._rules = list(rules)

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        if not self._started.wait(10):
            raise RuntimeError("the proxy did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, limit=1 << 20)
        self._port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; whether the connection may serve another."""
        line, headers = await _head(reader)
        method, target = line.split(" ")[:2]
        path = target.partition("?")[0]
        self.requests.append((method, path))
        self.heads.append(headers)
        action = next((rule.action for rule in self._rules if rule.takes(method, path)), None)
        if headers.pop("expect", ""):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = int(headers.get("content-length", 0))
        if isinstance(action, CutUpload):
            await reader.readexactly(min(action.after_bytes, length))
            writer.transport.abort()
            return False
        body = await reader.readexactly(length)
        if isinstance(action, Answer):
            return await self._answer(writer, action, method)
        if isinstance(action, DamageUpload) and body:
            body = body[: action.position] + bytes([body[action.position] ^ 1]) + body[action.position + 1 :]
        status, answer_headers, answer = await self._forward(line, headers, body, method)
        return await self._reply(writer, action, method, (status, answer_headers, answer))

    async def _answer(self, writer: asyncio.StreamWriter, action: Answer, method: str) -> bool:
        body = s3_error(action.status, action.code) if action.body is None else action.body
        headers = {"content-type": "application/xml", **action.headers, "content-length": str(len(body))}
        writer.write(_encode(f"HTTP/1.1 {action.status} As Planned", headers))
        if method != "HEAD":
            writer.write(body)
        await writer.drain()
        return True

    async def _forward(
        self, line: str, headers: dict[str, str], body: bytes, method: str
    ) -> tuple[str, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection(*self._upstream, limit=1 << 20)
        try:
            writer.write(_encode(line, {**headers, "connection": "close"}) + body)
            await writer.drain()
            status, answer_headers = await _head(reader)
            while status.split(" ")[1] == "100":
                status, answer_headers = await _head(reader)
            answer = b"" if method == "HEAD" else await _body(reader, answer_headers)
        finally:
            writer.close()
        answer_headers.pop("connection", None)
        return status, answer_headers, answer

    async def _reply(
        self,
        writer: asyncio.StreamWriter,
        action: Action | None,
        method: str,
        answer: tuple[str, dict[str, str], bytes],
    ) -> bool:
        status, headers, body = answer
        if isinstance(action, DropReply):
            writer.transport.abort()
            return False
        if isinstance(action, Wait):
            await asyncio.sleep(action.seconds)
        if isinstance(action, LieAboutLength):
            body = body[: action.extra_bytes] if action.extra_bytes < 0 else body + b"?" * action.extra_bytes
        if isinstance(action, FlipBit) and body:
            body = body[: action.position] + bytes([body[action.position] ^ 1]) + body[action.position + 1 :]
        if method != "HEAD":
            headers["content-length"] = str(len(body))
        writer.write(_encode(status, headers))
        return await self._send_body(writer, action, body)

    async def _send_body(self, writer: asyncio.StreamWriter, action: Action | None, body: bytes) -> bool:
        if isinstance(action, CutBody):
            writer.write(body[: action.after_bytes])
            await writer.drain()
            if action.reset:
                writer.transport.abort()
            return False
        if isinstance(action, Trickle):
            writer.write(body[: action.after_bytes])
            for position in range(action.after_bytes, len(body)):
                writer.write(body[position : position + 1])
                await writer.drain()
                await asyncio.sleep(action.seconds_per_byte)
            return True
        writer.write(body)
        await writer.drain()
        return True


async def _head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rows = text[:-4].split("\r\n")
    pairs = (row.partition(":") for row in rows)
    return line, {name.lower(): value.strip() for name, _, value in pairs}


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.pop("transfer-encoding", "") != "chunked":
        length = headers.get("content-length")
        return await (reader.read(-1) if length is None else reader.readexactly(int(length)))
    pieces = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    return b"".join(pieces)


def _encode(line: str, headers: Mapping[str, str]) -> bytes:
    rows = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{line}\r\n{rows}\r\n".encode("latin-1")
