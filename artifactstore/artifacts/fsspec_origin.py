"""Every other scheme: `s3://`, `gs://`, `artifact://`, and whatever fsspec opens and the rules allow.

Only calls are used that report errors: `exists`, `find`, `walk` and `glob` take a disk that fails for one that is
empty. Caches of listings and instances stay off: they know nothing of what others wrote.
"""

import datetime
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from artifactstore.artifacts.origins import (
    MODIFIED,
    PIECE_BYTES,
    Facts,
    Found,
    safe_cause,
    secrets_in,
    size,
    tag,
    unreachable,
)
from artifactstore.artifacts.reference_rules import ARTIFACT_SCHEME, ReferenceRules
from artifactstore.digest import Buffer
from artifactstore.errors import (
    ArtifactStoreError,
    ConfigurationError,
    NotFound,
    ReferenceNotAllowed,
    ReferenceNotFound,
    ReferenceUnreachable,
)

_S3: Final = frozenset({"s3", "s3a"})
_TAGS: Final = ("ETag", "etag", "e_tag", "content_md5", "md5Hash", "md5", "checksum")
_VERSIONS: Final = ("VersionId", "version_id", "generation")
_TIMES: Final = ("LastModified", "last_modified", "mtime", "updated", "modified", "created", "timeCreated")
_VERSION_MARK: Final = "?versionId="


class FsspecOrigin:
    """One scheme of fsspec.

    Raises:
        ConfigurationError: fsspec does not know it, or lacks the package for it.
    """

    def __init__(self, scheme: str, rules: ReferenceRules) -> None:
        self._scheme = scheme
        self._options = dict(rules.options.get(scheme, {}))
        self._secrets = secrets_in(rules, scheme)
        self._lock = threading.Lock()
        self._opened: dict[str, Any] = {}
        self._keeps_versions: dict[str, bool] = {}
        self._class = _class_of(scheme)

    def look(self, uri: str) -> Found:
        with self._errors(uri):
            fs, path = self._file_system(uri)
            info = fs.info(path, **_fresh(fs.info))
        if info.get("type") == "directory":
            return Found(uri=uri, is_prefix=True)
        if uri.endswith("/"):
            raise ReferenceNotFound(f"{uri} ends with a slash, and nothing is below it", where=uri)
        return Found(uri=uri, facts=self._facts(info, uri))

    def children(self, uri: str) -> Sequence[Found]:
        above = uri.rstrip("/")
        with self._errors(uri):
            fs, path = self._file_system(above)
            rows = fs.ls(path, detail=True, **_fresh(fs.ls))
        level = f"{path.strip('/')}/"
        found = []
        for row in rows:
            key = str(row["name"]).strip("/") if row.get("type") == "directory" else str(row["name"]).lstrip("/")
            # A storage may list the prefix itself, or an object in its place.
            if key in (level, level.rstrip("/")):
                continue
            if self._scheme == ARTIFACT_SCHEME and key.startswith(f"{path.strip('/')}:"):
                raise ReferenceNotAllowed(
                    f"{uri} says no version", where=uri, next_step=f"Say which one: {above}:v1, or {above}:latest"
                )
            if not key.startswith(level):
                raise ReferenceUnreachable(f"{uri} lists {key!r}, which is not below it", where=uri)
            found.append(self._child(above, key.removeprefix(level), row))
        return self._with_versions(uri, found)

    def _child(self, above: str, name: str, row: Mapping[str, Any]) -> Found:
        uri = f"{above}/{name}"
        if not uri.isprintable() or "::" in name or _VERSION_MARK in name:
            raise ReferenceNotAllowed(f"{above}/ holds {name!r}, and no URI can name that", where=above)
        encoded = name.encode("utf-8", "surrogateescape")
        if row.get("type") == "directory":
            return Found(uri=f"{uri}/", name=encoded, is_prefix=True)
        return Found(uri=uri, name=encoded, facts=self._facts(row, uri))

    def _facts(self, info: Mapping[str, Any], uri: str) -> Facts:
        if self._scheme == ARTIFACT_SCHEME:
            return _facts_of_stored(info, uri)
        return _facts(info)

    def _with_versions(self, uri: str, found: list[Found]) -> list[Found]:
        """A listing of S3 tells no versions: where the bucket keeps some, each object is asked for its own."""
        first = next((each for each in found if not each.is_prefix), None)
        if self._scheme not in _S3 or first is None:
            return found
        bucket = uri.partition("://")[2].partition("/")[0]
        if bucket not in self._keeps_versions:
            facts = self.look(first.uri).facts
            self._keeps_versions[bucket] = facts is not None and facts.version_id != ""
        if not self._keeps_versions[bucket]:
            return found
        return [each if each.is_prefix else Found(uri=each.uri, name=each.name) for each in found]

    def read(
        self, uri: str, *, version_id: str, before: Callable[[Facts], None], write: Callable[[Buffer], object]
    ) -> Facts:
        place, first = self._version(uri, version_id)
        if first.facts is None:
            raise ReferenceNotFound(f"{uri} is a prefix now, and was an object", where=uri)
        before(first.facts)
        with self._errors(uri):
            fs, path = self._file_system(place)
            file = fs.open(path, "rb", **({"cache_type": "none"} if self._scheme in _S3 else {}))
        with file:
            while piece := self._piece(uri, file):
                write(piece)
        # Nothing but another look tells whether it was replaced meanwhile.
        return self.look(place).facts or Facts()

    def _version(self, uri: str, version_id: str) -> tuple[str, Found]:
        """Where a version is read, and how it looks: in place where it is the newest, which takes fewer rights."""
        if not version_id or self._scheme not in _S3 or _VERSION_MARK in uri:
            return uri, self.look(uri)
        try:
            found = self.look(uri)
            if found.facts is not None and found.facts.version_id in (version_id, ""):
                return uri, found
        except ReferenceUnreachable:
            raise
        except ReferenceNotFound:
            pass  # deleted, and kept as an old version
        place = f"{uri}{_VERSION_MARK}{version_id}"
        return place, self.look(place)

    def close(self) -> None:
        with self._lock:
            self._opened.clear()

    def _piece(self, uri: str, file: Any) -> bytes:
        with self._errors(uri):
            piece: bytes = file.read(PIECE_BYTES)
            return piece

    def _file_system(self, uri: str) -> tuple[Any, str]:
        """The file system that a URI needs, and its path there."""
        options = {**self._class._get_kwargs_from_urls(uri), **self._options}
        if self._scheme in _S3:
            # Versions are read by name only; a listing with them would list every old one, too.
            options["version_aware"] = _VERSION_MARK in uri
        with self._lock:
            key = repr(sorted((name, repr(value)) for name, value in options.items()))
            if key not in self._opened:
                fs = self._class(skip_instance_cache=True, **options)
                # Set here and not passed in: some file systems hand on what they are given to their own client.
                if hasattr(getattr(fs, "dircache", None), "use_listings_cache"):
                    fs.dircache.use_listings_cache = False
                self._opened[key] = fs
            return self._opened[key], self._class._strip_protocol(uri)

    @contextmanager
    def _errors(self, uri: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise ReferenceNotFound(f"nothing is at {uri}", where=uri) from safe_cause(error, secrets=self._secrets)
        except NotFound as error:
            # A store's own file system: `artifact://`.
            raise ReferenceNotFound(f"nothing is at {uri}: {error.what}", where=uri) from error
        except ArtifactStoreError as error:
            raise unreachable(uri, error.what) from error
        # What lies below fsspec raises errors of any kind; none of them means "not there".
        except Exception as error:  # noqa: BLE001
            raise unreachable(uri, error, secrets=self._secrets) from safe_cause(error, secrets=self._secrets)


def _class_of(scheme: str) -> Any:
    import fsspec

    try:
        return fsspec.get_filesystem_class(scheme)
    except (ValueError, ImportError) as error:
        # No such protocol, or `pip install gcsfs` is what it says.
        raise ConfigurationError(f"fsspec can't open {scheme}://: {error}".rstrip(".")) from error


def _fresh(method: Callable[..., Any]) -> dict[str, object]:
    parameters = inspect.signature(method).parameters
    return {"refresh": True} if "refresh" in parameters else {}


def _time(value: object) -> str:
    """One spelling of a time, whether it is told as a number or as a date."""
    if isinstance(value, int | float):
        value = datetime.datetime.fromtimestamp(value, datetime.UTC)
    if isinstance(value, datetime.datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
        return moment.astimezone(datetime.UTC).isoformat(timespec="microseconds")
    return tag(value)


def _facts_of_stored(info: Mapping[str, Any], uri: str) -> Facts:
    """Of a stored file: its file digest says which content it is, whatever version it is looked at in."""
    if "reference" in info:
        raise ReferenceNotAllowed(f"{uri} is a reference itself: refer to {info['reference']}", where=uri)
    if info.get("type") != "file":
        raise ReferenceNotAllowed(f"{uri} is a link that leads nowhere", where=uri)
    return Facts(size_bytes=size(info.get("size")), version_id=tag(info.get("digest")))


def _facts(info: Mapping[str, Any]) -> Facts:
    etag = next((text for name in _TAGS if (text := tag(info.get(name)))), "")
    version_id = next((text for name in _VERSIONS if (text := tag(info.get(name)))), "")
    if not etag:
        changed = next((text for name in _TIMES if (text := _time(info.get(name)))), "")
        etag = f"{MODIFIED}{changed}" if changed else ""
    return Facts(size_bytes=size(info.get("size")), etag=etag, version_id="" if version_id == "null" else version_id)
