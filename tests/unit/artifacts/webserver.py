"""A web server that says what a test wants."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    says_length: bool = True
    cut_after: int | None = None


Route = Callable[["Request"], Answer]


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]


class WebServer:
    """Files with entity tags and indexes of directories; whatever is in `routes` goes before them."""

    def __init__(self, server: ThreadingHTTPServer, host: str) -> None:
        self.host = host
        self.port = server.server_address[1]
        self.files: dict[str, bytes] = {}
        self.changes: dict[str, int] = {}
        self.routes: dict[str, Route] = {}
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def put(self, path: str, content: bytes) -> None:
        self.files[path] = content
        self.changes[path] = self.changes.get(path, 0) + 1

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        path = unquote(urlsplit(request.path).path)
        if path in self.routes:
            return self.routes[path](request)
        if path in self.files:
            return Answer(body=self.files[path], headers={"ETag": f'"{self.changes[path]}"'})
        below = path if path.endswith("/") else f"{path}/"
        names = sorted({self._name(below, file) for file in self.files if file.startswith(below)})
        if not names:
            return Answer(status=404)
        if not path.endswith("/"):
            return Answer(status=301, headers={"Location": quote(below)})
        links = "".join(f'<a href="{quote(name)}">{name}</a>\n' for name in names)
        index = f'<html><a href="?C=N;O=D">Name</a><a href="../">up</a>{links}</html>'
        return Answer(body=index.encode(), headers={"Content-Type": "text/html; charset=utf-8"})

    @staticmethod
    def _name(below: str, file: str) -> str:
        first, slash, _ = file.removeprefix(below).partition("/")
        return first + slash


@contextlib.contextmanager
def serve(host: str = "127.0.0.1", port: int = 0) -> Iterator[WebServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = web.answer(Request(method=self.command, path=self.path, headers=dict(self.headers)))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.says_length and "Content-Length" not in answer.headers:
                self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Connection", "close")
            self.close_connection = True
            self.end_headers()
            if self.command != "HEAD":
                with contextlib.suppress(OSError):
                    self.wfile.write(answer.body[: answer.cut_after])

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((host, port), Handler)
    web = WebServer(server, host)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
