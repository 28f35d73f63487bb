"""Any other storage that fsspec opens: ``gs://``, ``abfs://``, ``sftp://``, …

For reach, not for many writers: fsspec has no put-if-absent that is one everywhere (its
local and memory file systems look and then write), so stores here have a single writer.

Of fsspec only calls are used that report errors: `exists`, `find`, `walk` and `glob` take a
disk that fails for one that is empty. Its caches of listings and instances stay off: a
cached listing knows nothing of what others wrote.
"""

import datetime
import inspect
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import fsspec
from fsspec.spec import AbstractFileSystem

from artifactstore.backend.protocol import (
    TEMPORARY_PREFIX,
    CommonPrefix,
    ObjectInfo,
    check_level_prefix,
    check_object_key,
    check_object_prefix,
    is_object_key,
)
from artifactstore.backend.syscalls import mapped
from artifactstore.clock import SYSTEM_CLOCK, Clock
from artifactstore.digest import Buffer
from artifactstore.errors import (
    ArtifactStoreError,
    BackendError,
    ConfigurationError,
    CorruptData,
    ObjectExists,
    ObjectNotFound,
    StorePermissionDenied,
    TransientBackendError,
)
from artifactstore.redaction import redact_url

# Here one call puts an object whole, and a folder is there only while it has objects.
_OBJECT_STORES: Final = frozenset(
    ("gs", "gcs", "s3", "s3a", "abfs", "abfss", "az", "oss", "cos", "obs", "tos", "oci", "r2", "hf")
)
_TEMPORARY_NAME_BYTES: Final = 16
_MODIFIED_FIELDS: Final = ("mtime", "LastModified", "last_modified", "updated", "modified", "created", "timeCreated")
_STATUS_FIELDS: Final = ("status", "status_code", "code", "http_status")
_PASSING_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_USERINFO: Final = re.compile(r"(?<=://)[^/?#\s'\"]*@")
_QUERY: Final = re.compile(r"(?<=://)([^?\s'\"]*)\?[^\s'\"]*")
_Result = TypeVar("_Result")


class FsspecBackend:
    """One folder, or prefix, of a file system of fsspec.

    Args:
        url: A URL that fsspec opens; may hold a password, which is then shown nowhere.
        clock: Names of temporary files come from it.

    Raises:
        ConfigurationError: fsspec does not know the protocol, or lacks the package for it.
    """

    def __init__(self, url: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._secret_url = url
        self._url = redact_url(url)
        self._secrets = _secrets_of(url)
        self._clock = clock
        if "::" in url:
            raise ConfigurationError("chained URLs are not for stores: their caches would answer", where=self._url)
        self._lock = threading.RLock()
        self._opened: tuple[int, AbstractFileSystem, str] | None = None
        self._ls_options: dict[str, Any] = {}
        self._file_system()

    def __repr__(self) -> str:
        return f"FsspecBackend({self._url!r})"

    def __reduce__(self) -> tuple[object, ...]:
        # The URL may hold a password, and so may anything that fsspec keeps.
        raise TypeError("a backend over fsspec is opened anew in each process, not sent there")

    @property
    def url(self) -> str:
        return self._url

    @property
    def has_put_if_absent(self) -> bool:
        """False: whatever fsspec offers for it looks first and writes then."""
        return False

    def get(self, key: str) -> Buffer:
        check_object_key(key)
        body: Buffer = self._of_object(key, lambda fs, path: fs.cat_file(path))
        return body

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        check_object_key(key)
        if start < 0 or length <= 0:
            raise ValueError(f"not a range: {length} bytes from {start}")
        try:
            body: Buffer = self._of_object(key, lambda fs, path: fs.cat_file(path, start=start, end=start + length))
        except ObjectNotFound:
            raise
        except BackendError:
            # A range past the end is an error of its own on some storages: HTTP's 416.
            self._check_range(key, start, length)
            raise
        if len(body) != length:
            self._check_range(key, start, length)
            raise TransientBackendError(
                f"asked for {length} bytes of {key}, got {len(body)}", where=self._url, effect_unknown=False
            )
        return body

    def put(self, key: str, body: Buffer) -> None:
        check_object_key(key)
        content = bytes(body)
        self._call(f"can't write {key}", lambda: self._store(key, content))

    def put_if_absent(self, key: str, body: Buffer) -> None:
        """Looks, then writes: for the single writer that `has_put_if_absent` allows."""
        with self._lock:
            try:
                self.head(key)
            except ObjectNotFound:
                self.put(key, body)
            else:
                raise ObjectExists(key, where=self._url)

    def head(self, key: str) -> ObjectInfo:
        check_object_key(key)
        facts = self._of_object(key, lambda fs, path: fs.info(path))
        if facts.get("type") == "directory":
            raise ObjectNotFound(key, where=self._url)
        return self._info(key, facts)

    def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None) -> Iterator[ObjectInfo]:
        """As in the protocol; a folder is listed as a whole, whatever ``page_size`` says."""
        check_object_prefix(prefix)
        open_folders = [iter(self._level(prefix[: prefix.rfind("/") + 1], prefix, start_after))]
        while open_folders:
            key, facts = next(open_folders[-1], ("", None))
            if facts is None:
                open_folders.pop()
            elif key.endswith("/"):
                open_folders.append(iter(self._level(key, prefix, start_after)))
            else:
                yield self._info(key, facts)

    def list_level(self, prefix: str) -> Iterator[ObjectInfo | CommonPrefix]:
        check_level_prefix(prefix)
        for key, facts in self._level(prefix, prefix, ""):
            if not key.endswith("/"):
                yield self._info(key, facts)
            elif self._is_object_store() or next(self.list(key), None) is not None:
                yield CommonPrefix(key)

    def delete(self, key: str) -> None:
        check_object_key(key)
        try:
            self._of_object(key, lambda fs, path: fs.rm_file(path))
        except ObjectNotFound:
            return
        except BackendError:
            # Some file systems have an error of their own for folders and for what is not there.
            try:
                self.head(key)
            except ObjectNotFound:
                return
            raise

    def close(self) -> None:
        with self._lock:
            self._opened = None

    # The file system

    def _file_system(self) -> tuple[AbstractFileSystem, str]:
        """The file system, and the root's path in it. Made anew after a fork: connections don't survive one."""
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened = (os.getpid(), *self._call(f"can't open {self._url}", self._open))
            return self._opened[1], self._opened[2]

    def _open(self) -> tuple[AbstractFileSystem, str]:
        try:
            fs, root = fsspec.core.url_to_fs(self._secret_url, skip_instance_cache=True)
        except (ValueError, ImportError) as error:
            # No such protocol, or `pip install gcsfs` is what it says.
            raise ConfigurationError(self._scrub(f"fsspec can't open {self._url}: {error}")) from None
        # Set here and not passed in: some file systems hand on what they are given to their own client.
        if hasattr(getattr(fs, "dircache", None), "use_listings_cache"):
            fs.dircache.use_listings_cache = False
        parameters = inspect.signature(fs.ls).parameters.values()
        takes_any = any(p.kind is p.VAR_KEYWORD or p.name == "refresh" for p in parameters)
        self._ls_options = {"refresh": True} if takes_any else {}
        return fs, root.rstrip("/")

    def _is_object_store(self) -> bool:
        return urlsplit(self._url).scheme in _OBJECT_STORES

    def _of_object(self, key: str, ask: Callable[[AbstractFileSystem, str], Any]) -> Any:
        """What ``ask`` says of the object; only the storage itself can say "not there"."""
        fs, root = self._file_system()
        try:
            return self._call(f"can't reach {key}", lambda: ask(fs, f"{root}/{key}"))
        except _NotThere:
            raise ObjectNotFound(key, where=self._url) from None

    # Writing

    def _store(self, key: str, content: bytes) -> None:
        fs, root = self._file_system()
        path = f"{root}/{key}"
        if self._is_object_store() or type(fs).mv is AbstractFileSystem.mv:
            self._in_folder(fs, path, lambda: fs.pipe_file(path, content))
            return
        # A file system writes to the name at once: half an object would be seen. Its own rename shows it whole.
        temporary = f"{root}/{TEMPORARY_PREFIX}{self._clock.random_bytes(_TEMPORARY_NAME_BYTES).hex()}"
        self._in_folder(fs, temporary, lambda: fs.pipe_file(temporary, content))
        self._in_folder(fs, path, lambda: fs.mv(temporary, path))

    def _in_folder(self, fs: AbstractFileSystem, path: str, write: Callable[[], object]) -> None:
        """``write``, and once more after making the folder if that was missing. Most storages have none."""
        try:
            write()
        except (FileNotFoundError, NotADirectoryError):
            fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            write()

    # Reading

    def _check_range(self, key: str, start: int, length: int) -> None:
        size_bytes = self.head(key).size_bytes
        if start + length > size_bytes:
            raise CorruptData(
                f"the object has {size_bytes} bytes only",
                key=key,
                byte_range=(start, start + length),
                where=f"{self._url}/{key}",
            )

    def _level(self, folder: str, prefix: str, start_after: str) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """What lies in ``folder`` (empty, or ending with ``/``), by key and sorted; keys of folders end with ``/``."""
        found = []
        for name, facts in self._folder_entries(folder):
            key = folder + name
            if not is_object_key(key):
                continue  # foreign, or our own temporary files
            if facts.get("type") == "directory":
                key += "/"
                wanted = key > start_after or start_after.startswith(key)
                wanted = wanted and (key.startswith(prefix) or prefix.startswith(key))
            else:
                wanted = key > start_after and key.startswith(prefix)
            if wanted and key != TEMPORARY_PREFIX:
                found.append((key, facts))
        found.sort(key=_first)
        return found

    def _folder_entries(self, folder: str) -> Sequence[tuple[str, Mapping[str, Any]]]:
        fs, root = self._file_system()
        path = f"{root}/{folder}".rstrip("/")
        try:
            entries = self._call(f"can't list {folder or self._url}", lambda: _listed(fs, path, self._ls_options))
        except _NotThere:
            return ()
        # A storage may list the folder itself, and the file in its place when it is one.
        return [
            (name.rpartition("/")[2], facts)
            for facts in entries
            if (name := facts["name"].rstrip("/")).strip("/") != path.strip("/")
        ]

    def _info(self, key: str, facts: Mapping[str, Any]) -> ObjectInfo:
        size_bytes = facts.get("size")
        if size_bytes is None:
            raise BackendError(f"the storage does not say how large {key} is", where=self._url)
        return ObjectInfo(key=key, size_bytes=int(size_bytes), modified=self._modified(facts))

    def _modified(self, facts: Mapping[str, Any]) -> float:
        for field in _MODIFIED_FIELDS:
            if (seconds := _seconds(facts.get(field))) is not None:
                return seconds
        # Not known: then it is young, and nobody takes it for old enough to be removed.
        return self._clock.now()

    # Errors

    def _call(self, what: str, ask: Callable[[], _Result]) -> _Result:
        """``ask()``, with every error of fsspec and of what is below it made one of ours."""
        try:
            return ask()
        except ArtifactStoreError:
            raise
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise _NotThere(self._scrub(f"{what}: not there"), where=self._url) from self._safe_cause(error)
        # What lies below fsspec raises errors of any kind; each becomes a BackendError with its text.
        except Exception as error:  # noqa: BLE001
            raise self._mapped(error, what) from self._safe_cause(error)

    def _mapped(self, error: Exception, what: str) -> BackendError:
        text = self._scrub(f"{what}: {error or type(error).__name__}")
        status = _status(error)
        if isinstance(error, PermissionError) or status in (401, 403):
            return StorePermissionDenied(text, where=self._url)
        if isinstance(error, TimeoutError | ConnectionError | EOFError) or status in _PASSING_STATUS:
            return TransientBackendError(text, where=self._url)
        if isinstance(error, OSError) and error.errno:
            return mapped(error, what, where=self._url, effect_unknown=True)
        return BackendError(text, where=self._url)

    def _safe_cause(self, error: Exception) -> Exception | None:
        """``error``, unless its text gives a secret away: tracebacks print causes."""
        text = f"{error} {error!r}"
        return error if self._scrub(text) == text else None

    def _scrub(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _QUERY.sub(r"\1", _USERINFO.sub("", text))


class _NotThere(BackendError):
    """The storage said that a path is not there."""


def _listed(fs: AbstractFileSystem, path: str, options: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    fs.invalidate_cache()
    listed: Sequence[Mapping[str, Any]] = fs.ls(path, detail=True, **options)
    return listed


def _secrets_of(url: str) -> tuple[str, ...]:
    """Texts in ``url`` that nobody should see, the longest first."""
    parts = urlsplit(url)
    texts = [text for text in (parts.password, *(value for _, value in parse_qsl(parts.query))) if text]
    found = {variant for text in texts for variant in (text, unquote(text)) if len(variant) > 3}
    return tuple(sorted(found, key=len, reverse=True))


def _status(error: Exception) -> int | None:
    """The HTTP status in an error of some SDK, wherever it keeps it."""
    for holder in (error, getattr(error, "response", None)):
        for field in _STATUS_FIELDS:
            value = getattr(holder, field, None)
            if isinstance(value, int):
                return int(value)
            if isinstance(value, str) and value.isdigit():
                return int(value)
    return None


def _seconds(value: object) -> float | None:
    """A time as file systems of fsspec give it: a number, a datetime, or ISO text."""
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime.datetime):
        return None
    return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).timestamp()


def _first(item: tuple[str, Mapping[str, Any]]) -> str:
    return item[0]
