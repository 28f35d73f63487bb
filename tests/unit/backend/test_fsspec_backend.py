"""Stores over fsspec: errors are errors, nothing is cached, and no secret is shown."""

import datetime
import errno
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from artifactstore.backend.fsspec import FsspecBackend
from artifactstore.errors import (
    ArtifactStoreError,
    BackendError,
    ConfigurationError,
    CorruptData,
    ObjectNotFound,
    StoreOutOfSpace,
    StorePermissionDenied,
    TransientBackendError,
)
from artifactstore.testing.clock import VirtualClock


class SpyFileSystem(MemoryFileSystem):
    """fsspec's memory, with a plan of failures, and a tongue that repeats the URL it was opened with."""

    protocol = "spy"
    store: dict[str, Any] = {}  # noqa: RUF012 - as in the class it derives from
    pseudo_dirs = [""]  # noqa: RUF012
    plan: Callable[[str], None] = staticmethod(lambda call: None)
    calls: list[str] = []  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.partition("://")[2].rpartition("@")[2].split("?")[0] if "://" in path else path

    def _do(self, call: str) -> None:
        SpyFileSystem.calls.append(call)
        SpyFileSystem.plan(call)

    def ls(self, path, detail=True, **options):  # type: ignore[no-untyped-def]
        self._do("ls")
        assert options.get("refresh")
        return super().ls(path, detail=detail, **options)

    def info(self, path, **options):  # type: ignore[no-untyped-def]
        self._do("info")
        return super().info(path, **options)

    def cat_file(self, path, start=None, end=None, **options):  # type: ignore[no-untyped-def]
        self._do("cat_file")
        return super().cat_file(path, start=start, end=end, **options)

    def pipe_file(self, path, value, mode="overwrite", **options):  # type: ignore[no-untyped-def]
        self._do("pipe_file")
        return super().pipe_file(path, value, mode=mode, **options)

    def rm_file(self, path):  # type: ignore[no-untyped-def]
        self._do("rm_file")
        return super().rm_file(path)

    def exists(self, path, **options):  # type: ignore[no-untyped-def]
        raise AssertionError("takes errors for absence")

    find = walk = glob = exists  # type: ignore[assignment]


@pytest.fixture
def spy() -> Iterator[type[SpyFileSystem]]:
    fsspec.register_implementation("spy", SpyFileSystem, clobber=True)
    SpyFileSystem.plan = staticmethod(lambda call: None)
    SpyFileSystem.store.clear()
    SpyFileSystem.calls.clear()
    yield SpyFileSystem


def fail_with(error: Exception) -> Callable[[str], None]:
    def plan(call: str) -> None:
        raise error

    return staticmethod(plan)  # type: ignore[return-value]


ASKS: dict[str, Callable[[FsspecBackend], object]] = {
    "get": lambda backend: backend.get("folder/key"),
    "get_range": lambda backend: backend.get_range("folder/key", 1, 2),
    "head": lambda backend: backend.head("folder/key"),
    "put": lambda backend: backend.put("folder/new", b"1"),
    "put_if_absent": lambda backend: backend.put_if_absent("folder/newer", b"1"),
    "delete": lambda backend: backend.delete("folder/key"),
    "list": lambda backend: list(backend.list("")),
    "list_level": lambda backend: list(backend.list_level("")),
}


class HttpError(Exception):
    """As SDKs have it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


@pytest.mark.parametrize("verb", ASKS)
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.EIO, "I/O error"), TransientBackendError),
        (OSError(errno.ENOSPC, "no space"), StoreOutOfSpace),
        (PermissionError(errno.EACCES, "denied"), StorePermissionDenied),
        (PermissionError("denied"), StorePermissionDenied),
        (TimeoutError("slow"), TransientBackendError),
        (ConnectionResetError("reset"), TransientBackendError),
        (HttpError(403), StorePermissionDenied),
        (HttpError(503), TransientBackendError),
        (HttpError(404), BackendError),
        (HttpError(418), BackendError),
        (RuntimeError("anything"), BackendError),
        (KeyError("anything"), BackendError),
        (OSError("no number"), BackendError),
    ],
    ids=lambda value: repr(value) if isinstance(value, Exception) else "",
)
def test_an_error_is_typed_and_never_an_absence_or_an_empty_listing(
    spy: type[SpyFileSystem], verb: str, error: Exception, kind: type[BackendError]
) -> None:
    """Faults 17, 99, 100: fsspec's own `exists` and `find` turn these into False and nothing."""
    backend = FsspecBackend("spy://host/store")
    backend.put("folder/key", b"content")
    spy.plan = fail_with(error)
    with pytest.raises(kind) as raised:
        ASKS[verb](backend)
    assert not isinstance(raised.value, ObjectNotFound)


def test_listings_are_asked_for_anew_and_instances_are_not_shared(spy: type[SpyFileSystem]) -> None:
    """Fault 95."""
    backend = FsspecBackend("spy://host/store")
    backend.put("folder/key", b"content")
    spy.calls.clear()
    for _ in range(2):
        assert len(list(backend.list(""))) == 1
    assert spy.calls.count("ls") == 4
    assert backend._file_system()[0] is not FsspecBackend("spy://host/store")._file_system()[0]


@pytest.mark.parametrize("verb", ASKS)
def test_a_secret_in_the_url_is_shown_nowhere(
    spy: type[SpyFileSystem], verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Faults 114, 115: also not by an error of the storage that repeats it."""
    caplog.set_level(logging.DEBUG)
    url = "spy://user:canary-pass@host/store?token=canary-token"
    backend = FsspecBackend(url)
    backend.put("folder/key", b"content")
    shown = [backend.url, repr(backend), str(vars(type(backend)))]
    spy.plan = fail_with(RuntimeError(f"GET {url} with canary-pass failed"))
    with pytest.raises(BackendError) as raised:
        ASKS[verb](backend)
    shown.append("".join(traceback.format_exception(raised.value)))
    shown.append(repr(pickle.dumps(raised.value)))
    shown.append(repr(vars(raised.value)))
    shown.append(caplog.text)
    assert backend.url == "spy://***@host/store?token=***"
    assert "canary" not in "".join(shown)


def test_an_error_without_secrets_keeps_its_cause(spy: type[SpyFileSystem]) -> None:
    backend = FsspecBackend("spy://host/store")
    spy.plan = fail_with(RuntimeError("plain"))
    with pytest.raises(BackendError, match="plain") as raised:
        backend.get("key")
    assert isinstance(raised.value.__cause__, RuntimeError)


def test_it_is_not_sent_to_other_processes() -> None:
    """Fault 112."""
    with pytest.raises(TypeError, match="opened anew"):
        pickle.dumps(FsspecBackend("memory://store"))


@pytest.mark.parametrize(
    "url", ["nosuch://host/x", "simplecache::memory://x", "filecache::gs://bucket/x"], ids=["unknown", "cache", "file"]
)
def test_what_fsspec_cant_open_or_would_cache_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        FsspecBackend(url)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("body", [b"", b"01234", b"0123456789"], ids=["nothing", "short", "all of it"])
def test_a_range_answered_with_another_length_is_an_error(
    spy: type[SpyFileSystem], monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """Faults 92, 93: a body cut, a range ignored."""
    backend = FsspecBackend("spy://host/store")
    backend.put("key", b"0123456789")
    monkeypatch.setattr(SpyFileSystem, "cat_file", lambda self, path, start=None, end=None: body)
    with pytest.raises(TransientBackendError):
        backend.get_range("key", 2, 6)


def test_a_range_past_the_end_refused_by_the_storage_is_corrupt_data(spy: type[SpyFileSystem]) -> None:
    backend = FsspecBackend("spy://host/store")
    backend.put("key", b"0123456789")

    def refuse(call: str) -> None:
        if call == "cat_file":
            raise OSError(errno.EINVAL, "range not satisfiable")

    spy.plan = staticmethod(refuse)
    with pytest.raises(CorruptData):
        backend.get_range("key", 8, 5)
    with pytest.raises(BackendError):
        backend.get_range("key", 2, 5)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("mtime", 1234.5, 1234.5),
        ("LastModified", datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), 1767225600.0),
        ("last_modified", datetime.datetime(2026, 1, 1), 1767225600.0),
        ("updated", "2026-01-01T00:00:00Z", 1767225600.0),
        ("created", "no time at all", 1_800_000_000.0),
        ("nothing", None, 1_800_000_000.0),
    ],
)
def test_times_are_read_in_all_their_forms_and_unknown_ones_are_young(
    spy: type[SpyFileSystem], monkeypatch: pytest.MonkeyPatch, field: str, value: object, expected: float
) -> None:
    facts = {"name": "/host/store/key", "size": 1, "type": "file", field: value}
    monkeypatch.setattr(SpyFileSystem, "info", lambda self, path, **options: facts)
    assert FsspecBackend("spy://host/store", clock=VirtualClock()).head("key").modified == expected


def test_a_size_that_is_not_known_is_an_error(spy: type[SpyFileSystem], monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"name": "/host/store/key", "size": None, "type": "file"}
    monkeypatch.setattr(SpyFileSystem, "info", lambda self, path, **options: facts)
    with pytest.raises(BackendError, match="how large"):
        FsspecBackend("spy://host/store").head("key")


def test_on_a_file_system_objects_appear_by_rename_and_never_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 2."""
    backend = FsspecBackend(f"file://{tmp_path}/store", clock=VirtualClock())
    backend.put("folder/first", b"content")

    def cut(self: LocalFileSystem, path: str, value: bytes, **options: object) -> None:
        Path(path).write_bytes(value[:3])
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalFileSystem, "pipe_file", cut)
    with pytest.raises(KeyboardInterrupt):
        backend.put("folder/second", b"content")
    assert [info.key for info in backend.list("")] == ["folder/first"]
    with pytest.raises(ObjectNotFound):
        backend.get("folder/second")


def test_a_listing_that_names_the_folder_itself_names_no_object(
    spy: type[SpyFileSystem], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Object stores with placeholders of folders do."""
    listed = [
        {"name": "/host/store/folder/", "size": 0, "type": "file"},
        {"name": "/host/store/folder/key", "size": 3, "type": "file"},
    ]
    monkeypatch.setattr(SpyFileSystem, "ls", lambda self, path, detail=True, **options: listed)
    assert [info.key for info in FsspecBackend("spy://host/store").list("folder/")] == ["folder/key"]


def test_file_systems_are_opened_anew_after_a_fork(
    spy: type[SpyFileSystem], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 110."""
    backend = FsspecBackend("spy://host/store")
    before = backend._file_system()[0]
    assert backend._file_system()[0] is before
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert backend._file_system()[0] is not before


def test_a_closed_backend_opens_itself_when_it_is_used(spy: type[SpyFileSystem]) -> None:
    backend = FsspecBackend("spy://host/store")
    backend.put("key", b"content")
    backend.close()
    assert backend.get("key") == b"content"


def test_nothing_but_errors_of_ours_comes_out_of_a_missing_root(tmp_path: Path) -> None:
    backend = FsspecBackend(f"file://{tmp_path}/absent")
    assert list(backend.list("")) == []
    for ask in (backend.get, backend.head):
        with pytest.raises(ArtifactStoreError):
            ask("key")
