"""Which backend a URL names. Backends load when their URL is opened, never before.

    a path, file://…      local disk
    s3://…                boto3
    memory://name         the memory of this process, by name
    anything else         fsspec, where it knows the protocol
"""

import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock
from artifactstore.errors import ConfigurationError
from artifactstore.redaction import redact_url

if TYPE_CHECKING:
    from artifactstore.backend.memory import MemoryBackend

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# `s3:/bucket`, `s3:bucket`: a slip, and not a folder to be made here.
_HALF_A_URL: Final = re.compile(r"(s3|s3a|gs|gcs|abfs|az|sftp|ssh|memory|file|https?):")
_EXTRA_CONNECTIONS: Final = 16
_memory_stores: dict[str, "MemoryBackend"] = {}
_memory_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendOptions:
    """What a backend is told beside its URL.

    Attributes:
        jobs: How many requests run at once at most; connection pools are sized by it.
        deadline_seconds: How long one request may be tried again before it fails for good.
        limit_rate_bytes: Bytes a second sent and received, all requests together. None: no limit.
    """

    jobs: int = 8
    deadline_seconds: float = 300.0
    limit_rate_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.jobs < 1 or self.deadline_seconds <= 0:
            raise ValueError(f"not options of a backend: {self}")
        if self.limit_rate_bytes is not None and self.limit_rate_bytes <= 0:
            raise ValueError(f"a rate is over 0 bytes a second, not {self.limit_rate_bytes}")


DEFAULT_OPTIONS: Final = BackendOptions()


def open_backend(
    url_or_path: str | os.PathLike[str], *, clock: Clock, options: BackendOptions = DEFAULT_OPTIONS
) -> Backend:
    """The backend at a URL or path, with retries around it, and with the limits that ``options`` asks for.

    Nothing is looked up or made: a root that is not there shows at the first request.

    Raises:
        ConfigurationError: Nobody here speaks this protocol, or a part of the URL is wrong.
    """
    text = os.fspath(url_or_path)
    backend = _OPENERS.get(_protocol_of(text), _open_fsspec)(text, clock, options)
    return _wrapped(backend, clock, options)


def local_path_of(url_or_path: str | os.PathLike[str]) -> str | None:
    """The folder that a URL or path names on this machine's file systems; None where it names something else.

    Raises:
        ConfigurationError: A ``file://`` URL of another machine, or text that is no URL and no likely path.
    """
    text = os.fspath(url_or_path)
    protocol = _protocol_of(text)
    if protocol == "":
        return text
    return _path_of_file_url(text) if protocol == "file" else None


def create_local_root(url_or_path: str | os.PathLike[str], *, clock: Clock) -> None:
    """Make the folder of a local store, durably; for any other URL there is nothing to make.

    Raises:
        BackendError: The folder can't be made.
    """
    path = local_path_of(url_or_path)
    if path is not None:
        from artifactstore.backend.local import LocalBackend

        LocalBackend(path, clock=clock).create_root()


def _protocol_of(text: str) -> str:
    """What stands before ``://``, in lower case; empty for plain paths."""
    if not text:
        raise ConfigurationError("an empty text names no store")
    if match := _SCHEME.match(text):
        return match.group(1).lower()
    if "://" in text or _HALF_A_URL.match(text):
        raise ConfigurationError(f"{redact_url(text)!r} is neither a path nor a URL like s3://bucket/prefix")
    return ""


def _path_of_file_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path or parts.query or parts.fragment:
        raise ConfigurationError(f"{redact_url(url)} is not a folder of this machine: write file:///absolute/path")
    return unquote(parts.path)


def _wrapped(backend: Backend, clock: Clock, options: BackendOptions) -> Backend:
    from artifactstore.backend.wrappers.limit import LimitBackend
    from artifactstore.backend.wrappers.log import LogBackend, is_wanted
    from artifactstore.backend.wrappers.retry import RetryBackend

    if is_wanted():
        backend = LogBackend(backend, clock=clock)

    # Limits inside: every try pays for its bytes, and nobody keeps a slot while waiting to try again.
    if options.limit_rate_bytes is not None:
        backend = LimitBackend(backend, clock=clock, rate_bytes=options.limit_rate_bytes)
    return RetryBackend(backend, clock=clock, deadline_seconds=options.deadline_seconds)


def _open_local(url: str, clock: Clock, options: BackendOptions) -> Backend:
    from artifactstore.backend.local import LocalBackend

    return LocalBackend(_path_of_file_url(url) if _SCHEME.match(url) else url, clock=clock)


def _open_memory(url: str, clock: Clock, options: BackendOptions) -> Backend:
    from artifactstore.backend.memory import MemoryBackend

    name = url.partition("://")[2]
    with _memory_lock:
        return _memory_stores.setdefault(name, MemoryBackend(clock=clock, name=name))


def _open_s3(url: str, clock: Clock, options: BackendOptions) -> Backend:
    from artifactstore.backend.s3 import S3Backend

    # A pull's own threads come on top of the jobs, and `init` races sixteen writers.
    return S3Backend.from_url(url, max_connections=options.jobs + _EXTRA_CONNECTIONS, clock=clock)


def _open_fsspec(url: str, clock: Clock, options: BackendOptions) -> Backend:
    from artifactstore.backend.fsspec import FsspecBackend

    return FsspecBackend(url, clock=clock)


_OPENERS: Final[Mapping[str, Callable[[str, Clock, BackendOptions], Backend]]] = {
    "": _open_local,
    "file": _open_local,
    "memory": _open_memory,
    "s3": _open_s3,
}
