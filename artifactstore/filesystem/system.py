"""Stored versions as a file system: `artifact://folder/name:version/path`, for whatever speaks fsspec.

    pandas.read_parquet("artifact://tables:v3/part.parquet", storage_options={"store": "s3://bucket/store"})

Nothing is downloaded: a read costs the chunks that it touches, each proved by its digest, and
chunks stay in a cache on disk (docs/filesystem.md). It can't be written.
"""

import datetime
import os
from collections.abc import Sequence
from typing import Any, ClassVar, Final, NoReturn

from fsspec.spec import AbstractFileSystem
from fsspec.utils import stringify_path, tokenize

from artifactstore.errors import ArtifactStoreError, ConfigurationError
from artifactstore.filesystem.failures import PathIsDirectory, PathIsTaken, ReadOnly
from artifactstore.filesystem.file import ArtifactFile
from artifactstore.filesystem.infos import Info, created_at
from artifactstore.filesystem.locations import Bare, parse_location
from artifactstore.filesystem.mount import Mount
from artifactstore.filesystem.mounts import MOUNTS, mount_of, resolve_url
from artifactstore.filesystem.view import View
from artifactstore.reading.chunks import Span
from artifactstore.reading.window import Window
from artifactstore.redaction import redact_url
from artifactstore.store import Store

LATEST_SECONDS: Final = 30.0
# What callers of fsspec pass to any file system, and what is of no meaning to this one.
_FSSPEC_OPTIONS: Final = frozenset(
    ["asynchronous", "batch_size", "listings_expiry_time", "loop", "max_paths", "use_listings_cache"]
)
_MAGIC: Final = "*?["


class ArtifactFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """See the module. Any number of threads; can be pickled, and used in forked children.

    Args:
        store: URL or path of the store, or an open one; by default the one that the settings name.
        allow_expired: Also read versions whose time is over.
        latest_seconds: How long `latest` and aliases are taken to mean the same version; versions by number and by
            digest never change. `invalidate_cache` asks again.

    Raises:
        ConfigurationError: A setting or the URL is wrong.
        TypeError: There is no such option.
    """

    protocol: ClassVar[str] = "artifact"
    # Settings may name another store the next time. What is dear to open is shared: `mounts`.
    cachable: ClassVar[bool] = False

    def __init__(
        self,
        store: str | os.PathLike[str] | Store | None = None,
        *,
        allow_expired: bool = False,
        latest_seconds: float = LATEST_SECONDS,
        **fsspec_options: Any,
    ) -> None:
        if unknown := sorted(fsspec_options.keys() - _FSSPEC_OPTIONS):
            # A slip in `store` must not end in reading another store.
            raise TypeError(f"no option {', '.join(unknown)}: there are store, allow_expired and latest_seconds")
        super().__init__(**fsspec_options)
        self.allow_expired: Final = allow_expired
        self.latest_seconds: Final = latest_seconds
        self._is_chosen = store is not None
        # Held for as long as this or an open file is: then the store stays open.
        self._mounted = mount_of(store) if isinstance(store, Store) else None
        self._url = store.url if isinstance(store, Store) else resolve_url(store)

    # -- which it is ---------------------------------------------------------------------------------

    @property
    def store(self) -> str:
        """Where the store is, without secrets."""
        return redact_url(self._url)

    @property
    def fsid(self) -> str:
        return f"artifact-{self._mount.store.store_id}"

    @property
    def _fs_token(self) -> str:
        token: str = tokenize(type(self).__name__, self._url, self.allow_expired, self.latest_seconds)
        return token

    @property
    def _mount(self) -> Mount:
        if self._mounted is None:
            self._mounted = MOUNTS.at(self._url)
        return self._mounted

    @property
    def _view(self) -> View:
        return View(self._mount, latest_seconds=self.latest_seconds, allow_expired=self.allow_expired)

    def __repr__(self) -> str:
        return f"ArtifactFileSystem({self.store!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return _open, (type(self), self._options())

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        cls = type(self)
        return {"cls": f"{cls.__module__}:{cls.__name__}", "protocol": self.protocol, "args": (), **self._options()}

    def _options(self) -> dict[str, Any]:
        """What makes the same one in another process. Never a secret."""
        options = {"allow_expired": self.allow_expired, "latest_seconds": self.latest_seconds}
        if self.store == self._url:
            return {"store": self._url, **options}
        if not self._is_chosen:
            return options  # its settings will say
        raise ConfigurationError(
            "the URL of this store holds a secret, which is not passed on to other processes",
            where=self.store,
            next_step="Give the secret by the environment, there as well, and name the store without it.",
        )

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        stripped: str = super()._strip_protocol(path)
        return stripped.lstrip("/")

    def invalidate_cache(self, path: str | None = None) -> None:
        """Ask the storage again which versions `latest` and aliases mean, and what was edited."""
        self._mount.forget()
        super().invalidate_cache(path)

    # -- looking -------------------------------------------------------------------------------------

    def info(self, path: str, **kwargs: Any) -> Info:
        """What is at a path: `name`, `type`, `size`; in a version also `version`, `created`, and a file's `digest`.

        Raises:
            FileNotFoundError: Nothing is (also a `NotFound` or `InvalidName`).
            ArtifactStoreError: It can't be told.
        """
        return self._view.info(self._strip_protocol(path))

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """What lies directly in a folder, a version or a directory. Errors as `info`."""
        infos = self._view.level(self._strip_protocol(path))
        return infos if detail else sorted(info["name"] for info in infos)

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Whether something is there. That it can't be told is an error, as for `info`, and not False."""
        return self._type(path) is not None

    def isfile(self, path: str) -> bool:
        return self._type(path) == "file"

    def isdir(self, path: str) -> bool:
        return self._type(path) == "directory"

    def _type(self, path: str) -> str | None:
        try:
            kind: str = self.info(path)["type"]
        except FileNotFoundError:
            return None
        return kind

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **kwargs: Any
    ) -> Any:
        """All files below a path, by one pass over the version's list of files."""
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        text = self._versioned(self._strip_protocol(path))
        try:
            place = parse_location(text)
            if isinstance(place, Bare):
                return super().find(text, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **kwargs)
            found = self._view.below(place, max_depth=maxdepth, with_directories=withdirs)
        except FileNotFoundError:
            found = {}  # as fsspec has it
        names = sorted(found)
        return {name: found[name] for name in names} if detail else names

    def walk(self, path: str, maxdepth: int | None = None, topdown: bool = True, **kwargs: Any) -> Any:
        return super().walk(self._versioned(self._strip_protocol(path)), maxdepth=maxdepth, topdown=topdown, **kwargs)

    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        stripped = self._strip_protocol(path)
        ending = "/" if stringify_path(path).endswith("/") else ""
        return super().glob(self._versioned(stripped) + ending, maxdepth=maxdepth, **kwargs)

    def expand_path(self, path: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any) -> Any:
        paths = [path] if isinstance(path, str | os.PathLike) else path
        texts = [self._versioned(self._strip_protocol(each)) for each in paths]
        return super().expand_path(texts, recursive=recursive, maxdepth=maxdepth, **kwargs)

    def _versioned(self, text: str) -> str:
        """A path or pattern of which the names of what is found begin as it begins: ``demo/*`` is ``demo:latest/*``."""
        first = min((at for at in map(text.find, _MAGIC) if at >= 0), default=len(text))
        if ":" in text[:first] or "@" in text[:first]:
            return text
        plain = text if first == len(text) else text[:first].rpartition("/")[0]
        try:
            return self._view.versioned(plain) + text[len(plain) :]
        except FileNotFoundError:
            return text

    def checksum(self, path: str) -> int:
        """The file digest as a number: the same for the same content, wherever it is."""
        return int(self._digest(path), 16)

    def ukey(self, path: str) -> str:
        """The file digest, in hexadecimal digits."""
        return self._digest(path)

    def _digest(self, path: str) -> str:
        info = self.info(path)
        digest: str = info.get("digest") or tokenize(info)
        return digest

    def created(self, path: str) -> datetime.datetime:
        """When the version was made, by its uploader's clock."""
        place = parse_location(self._strip_protocol(path))
        if isinstance(place, Bare):
            raise PathIsDirectory(f"{place.text} is no version", next_step="Say which: NAME:VERSION")
        opened = self._view.opened(place)
        return created_at(opened) or datetime.datetime.fromtimestamp(0, datetime.UTC)

    def modified(self, path: str) -> datetime.datetime:
        """As `created`: a version does not change."""
        return self.created(path)

    # -- reading -------------------------------------------------------------------------------------

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        *,
        cache_type: str | None = None,
        **kwargs: Any,
    ) -> ArtifactFile:
        text = self._strip_protocol(path)
        if mode != "rb":
            if "x" in mode and self.exists(text):
                raise PathIsTaken(f"{text} is there already")
            self._refuse(text)
        opened, file = self._view.file(text)
        pinned = f"{opened.version.text}/{os.fsdecode(file.path)}"
        return ArtifactFile(
            self,
            text,
            Window(self._mount.reader, file),
            pinned=pinned,
            details={**self._view.info(pinned), "name": text},
            block_size=block_size,
            cache_type=cache_type,
            cache_options=cache_options,
        )

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Bytes of a file, from ``start`` to ``end`` as in a slice.

        Raises:
            FileNotFoundError, IsADirectoryError: No file is there.
            CorruptData: Stored bytes fail their check. BackendError: The storage did not answer.
        """
        [content] = self._mount.reader.read([self._span(path, start, end)])
        return bytes(content)

    def cat_ranges(
        self,
        paths: list[str],
        starts: int | list[int | None] | None,
        ends: int | list[int | None] | None,
        max_gap: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """Ranges of files, in the order asked for: near ones come by one request, others side by side.

        Args:
            max_gap: Largest run of unwanted bytes worth getting to save a request; by default 128 KiB.
            on_error: ``return`` puts an error in place of the bytes; else it is raised.
        """
        if not isinstance(paths, list):
            raise TypeError("paths is a list")
        first, last = _spread(starts, len(paths)), _spread(ends, len(paths))
        results: list[Any] = [b""] * len(paths)
        spans: dict[int, Span] = {}
        for number, path in enumerate(paths):
            try:
                spans[number] = self._span(path, first[number], last[number])
            except (ArtifactStoreError, OSError) as error:
                if on_error != "return":
                    raise
                results[number] = error
        for number, content in self._read(spans, max_gap, on_error).items():
            results[number] = content
        return results

    def _read(self, spans: dict[int, Span], max_gap_bytes: int | None, on_error: str) -> dict[int, Any]:
        reader = self._mount.reader
        try:
            contents = reader.read(list(spans.values()), max_gap_bytes=max_gap_bytes)
            return {number: bytes(content) for number, content in zip(spans, contents, strict=True)}
        except ArtifactStoreError:
            if on_error != "return":
                raise
        results: dict[int, Any] = {}
        for number, part in spans.items():  # to find out which of them it is
            try:
                results[number] = bytes(reader.read([part])[0])
            except ArtifactStoreError as error:
                results[number] = error
        return results

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **kwargs: Any) -> Any:
        """Whole files, several at once; a directory with ``recursive``. Otherwise as in fsspec."""
        paths = self.expand_path(path, recursive=recursive)
        if recursive:
            paths = [each for each in paths if not self.isdir(each)]
        elif len(paths) == 1 and not isinstance(path, list) and paths[0] == self._strip_protocol(path):
            return self.cat_file(paths[0], **kwargs)
        contents = self.cat_ranges(paths, None, None, on_error="raise" if on_error == "raise" else "return")
        if on_error == "omit":
            return {each: got for each, got in zip(paths, contents, strict=True) if not isinstance(got, Exception)}
        return dict(zip(paths, contents, strict=True))

    def _span(self, path: str, start: int | None, end: int | None) -> Span:
        _, file = self._view.file(self._strip_protocol(path))
        first, last, _ = slice(start, end).indices(file.size)
        return Span(file, first, max(first, last))

    # -- writing -------------------------------------------------------------------------------------

    def _refuse(self, path: Any, *args: Any, **kwargs: Any) -> NoReturn:
        """Stored versions don't change.

        Raises:
            ReadOnly: Always.
        """
        where = f": {path}" if path and isinstance(path, str) else ""
        raise ReadOnly(f"the file system of a store can't be written{where}")

    mkdir = makedirs = rmdir = _rm = rm_file = rm = mv = cp_file = copy = _refuse
    put = put_file = pipe = pipe_file = touch = _refuse

    def start_transaction(self) -> NoReturn:
        self._refuse("")


def _open(kind: type[ArtifactFileSystem], options: dict[str, Any]) -> ArtifactFileSystem:
    return kind(**options)


def _spread(given: Any, count: int) -> Sequence[int | None]:
    numbers = given if isinstance(given, list) else [given] * count
    if len(numbers) != count:
        raise ValueError(f"{len(numbers)} offsets for {count} paths")
    return numbers


def open_filesystem(
    store: str | os.PathLike[str] | Store | None = None,
    *,
    allow_expired: bool = False,
    latest_seconds: float = LATEST_SECONDS,
) -> ArtifactFileSystem:
    """A store as a file system, without the registry of fsspec: as `ArtifactFileSystem`, and with its type."""
    return ArtifactFileSystem(store, allow_expired=allow_expired, latest_seconds=latest_seconds)
