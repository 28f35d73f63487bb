"""What the settings make of the rules; what places of every kind say, and how it is taken."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from unit.artifacts.webserver import Answer, Request, WebServer

from artifactstore.artifacts.artifact import create_artifact
from artifactstore.artifacts.reference_rules import ReferenceRules, load_rules, rules_of
from artifactstore.artifacts.references import DriftState, Origins, Proof, fetch, name_of, resolve, strength, verify
from artifactstore.config import load_settings
from artifactstore.errors import (
    ConfigurationError,
    ReferenceChanged,
    ReferenceNotAllowed,
    ReferenceNotFound,
    ReferenceUnreachable,
)
from artifactstore.manifest.model import ReferenceTarget
from artifactstore.store import Store
from artifactstore.testing.origins import content_of
from artifactstore.testing.stores import StoreWorld

ANYWHERE = ReferenceRules(allow_private=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with StoreWorld(tmp_path).store() as store:
        yield store


# -- settings -------------------------------------------------------------------------------------------


def test_settings_become_rules(tmp_path: Path) -> None:
    environment = {
        "ARTIFACTSTORE_REFERENCE_SCHEMES": "s3, https",
        "ARTIFACTSTORE_REFERENCE_ROOTS": os.pathsep.join(["/data", "relative"]),
        "ARTIFACTSTORE_ALLOW_PRIVATE_REFERENCES": "1",
    }
    rules = load_rules(load_settings(environment=environment, directory=tmp_path), environment={})
    assert rules.schemes == {"s3", "https"}
    assert rules.roots == ("/data", str(tmp_path / "relative"))
    assert rules.allow_private
    assert rules.trusted_endpoints == ()


def test_nothing_private_and_no_file_is_allowed_by_default(tmp_path: Path) -> None:
    rules = load_rules(load_settings(environment={}, directory=tmp_path), environment={})
    assert rules.schemes == {"s3", "gs", "http", "https", "file", "artifact"}
    assert (rules.roots, rules.allow_private) == ((), False)


@pytest.mark.parametrize(
    ("store_url", "environment"),
    [("s3://bucket/store?endpoint_url=http://minio:9000", {}), ("/local", {"AWS_ENDPOINT_URL": "http://minio:9000"})],
    ids=["of the store", "of the environment"],
)
def test_own_endpoint_is_used_and_trusted(tmp_path: Path, store_url: str, environment: dict[str, str]) -> None:
    settings = load_settings(environment={}, directory=tmp_path)
    rules = load_rules(settings, store_url=store_url, environment=environment)
    assert rules.trusted_endpoints == ("http://minio:9000",)
    assert rules.options["s3"]["endpoint_url"] == "http://minio:9000"


def test_options_do_not_show_in_messages() -> None:
    rules = ReferenceRules(options={"s3": {"secret": "hidden-word"}})
    assert "hidden-word" not in repr(rules)


@pytest.mark.parametrize("key", ["reference_schemes = ['ftp']", "allow_private_references = true"])
def test_project_can_not_loosen_the_rules(tmp_path: Path, key: str) -> None:
    (tmp_path / "artifactstore.toml").write_text(key)
    with pytest.raises(ConfigurationError, match="can't be set by a project"):
        load_settings(environment={}, directory=tmp_path)


def test_project_may_name_roots_inside_itself_alone(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/")
    file = tmp_path / "artifactstore.toml"
    file.write_text('reference_roots = ["data", "."]')
    assert load_settings(environment={}, directory=tmp_path).reference_roots == (str(tmp_path / "data"), str(tmp_path))
    for outside in ("/", "..", "out", "/etc"):
        file.write_text(f'reference_roots = ["{outside}"]')
        with pytest.raises(ConfigurationError, match="inside its own directory"):
            load_settings(environment={}, directory=tmp_path)


@pytest.mark.parametrize(
    "environment",
    [
        {"ARTIFACTSTORE_REFERENCE_SCHEMES": "s3://"},
        {"ARTIFACTSTORE_REFERENCE_SCHEMES": "S3"},
        {"ARTIFACTSTORE_ALLOW_PRIVATE_REFERENCES": "perhaps"},
    ],
)
def test_wrong_setting_is_an_error_and_not_taken_for_no(environment: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        load_settings(environment=environment, directory=tmp_path)


# -- names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://bucket/a/b.bin", b"b.bin"),
        ("s3://bucket/a/b/", b"b"),
        ("s3://bucket", b"bucket"),
        ("s3://bucket/b.bin?versionId=abc/def", b"b.bin"),
        ("s3://bucket/100%25", b"100%25"),
        ("https://example.org/a/b%20c.bin?x=/y", b"b c.bin"),
        ("https://example.org:8443/", b"example.org"),
        ("file:///a/b%25/", b"b%"),
        ("artifact://folder/name:v3/x/y", b"y"),
        ("artifact://name:v3", b"name"),
    ],
)
def test_name_of_a_uri_is_its_last_part(uri: str, name: bytes) -> None:
    assert name_of(uri) == name


# -- web servers -----------------------------------------------------------------------------------------


def test_server_that_knows_no_head_is_asked_otherwise(web: WebServer) -> None:
    answer = Answer(body=b"content", headers={"ETag": '"1"'})
    web.routes["/x"] = lambda request: Answer(status=405) if request.method == "HEAD" else answer
    with Origins(ANYWHERE) as origins:
        target = resolve(f"{web.url}/x", origins).targets[b""]
    assert (target.size_bytes, target.etag) == (7, '"1"')


def test_server_that_tells_nothing_works_and_proves_nothing(web: WebServer) -> None:
    web.routes["/x"] = lambda request: Answer(body=b"content", says_length=False)
    with Origins(ANYWHERE) as origins:
        target = resolve(f"{web.url}/x", origins).targets[b""]
        assert target == ReferenceTarget(uri=f"{web.url}/x")
        assert strength(target) is Proof.NOTHING
        assert content_of(target, origins) == b"content"
        drift = verify(b"x", target, origins)
        assert (drift.state, drift.proof, drift.is_weak) == (DriftState.SAME, Proof.NOTHING, True)
        by_digest = resolve(f"{web.url}/x", origins, digest=True).targets[b""]
        assert not verify(b"x", by_digest, origins, content=True).is_weak


def test_time_of_the_last_change_stands_for_a_missing_tag(web: WebServer) -> None:
    times = ["Mon, 02 Nov 2026 08:00:00 GMT"]
    web.routes["/x"] = lambda request: Answer(body=b"content", headers={"Last-Modified": times[0]})
    with Origins(ANYWHERE) as origins:
        target = resolve(f"{web.url}/x", origins).targets[b""]
        times[0] = "Tue, 03 Nov 2026 08:00:00 GMT"
        assert verify(b"x", target, origins).state is DriftState.CHANGED


def test_size_of_a_compressed_answer_is_no_size_of_the_content(web: WebServer) -> None:
    import gzip

    packed = gzip.compress(b"content" * 100)
    web.routes["/x"] = lambda request: Answer(body=packed, headers={"Content-Encoding": "gzip"})
    with Origins(ANYWHERE) as origins:
        target = resolve(f"{web.url}/x", origins, digest=True).targets[b""]
        assert target.size_bytes == 700
        assert content_of(target, origins) == b"content" * 100


@pytest.mark.parametrize("status", [401, 403, 407, 429, 500, 502, 503])
@pytest.mark.parametrize("path", ["/x", "/x/"])
def test_failure_is_neither_gone_nor_empty(web: WebServer, status: int, path: str) -> None:
    web.routes[path] = lambda request: Answer(status=status)
    target = ReferenceTarget(uri=f"{web.url}/x", size_bytes=3)
    web.routes["/x"] = web.routes[path]
    with Origins(ANYWHERE) as origins:
        with pytest.raises(ReferenceUnreachable, match=str(status)):
            resolve(f"{web.url}{path}", origins)
        assert verify(b"x", target, origins).state is DriftState.UNREACHABLE
        with pytest.raises(ReferenceUnreachable):
            fetch(target, origins, lambda piece: None)


@pytest.mark.parametrize("status", [404, 410])
def test_only_the_server_can_say_that_something_is_gone(web: WebServer, status: int) -> None:
    web.routes["/x"] = lambda request: Answer(status=status)
    with Origins(ANYWHERE) as origins, pytest.raises(ReferenceNotFound) as caught:
        resolve(f"{web.url}/x", origins)
    assert not isinstance(caught.value, ReferenceUnreachable)


@pytest.mark.parametrize("body", [b"", b"<html>no links here</html>", b'<a href="?C=N">Name</a><a href="..">up</a>'])
def test_index_without_anything_below_is_an_error(web: WebServer, body: bytes) -> None:
    web.routes["/d/"] = lambda request: Answer(body=body, headers={"Content-Type": "text/html"})
    with Origins(ANYWHERE) as origins, pytest.raises(ReferenceNotFound, match="nothing is below"):
        resolve(f"{web.url}/d/", origins)


def test_prefix_that_is_no_index_is_an_error(web: WebServer) -> None:
    web.routes["/d/"] = lambda request: Answer(body=b"{}", headers={"Content-Type": "application/json"})
    with Origins(ANYWHERE) as origins, pytest.raises(ReferenceNotFound, match="no index"):
        resolve(f"{web.url}/d/", origins)


def test_uri_that_was_added_is_kept_and_not_where_it_redirects_to(web: WebServer) -> None:
    web.put("/real", b"content")
    web.routes["/x"] = lambda request: Answer(status=302, headers={"Location": "/real"})
    with Origins(ANYWHERE) as origins:
        target = resolve(f"{web.url}/x", origins).targets[b""]
        assert (target.uri, target.size_bytes) == (f"{web.url}/x", 7)
        assert content_of(target, origins) == b"content"


def test_more_content_than_was_recorded_is_not_read_to_its_end(web: WebServer) -> None:
    web.routes["/x"] = lambda request: Answer(body=bytes(50 << 20), says_length=False)
    taken: list[int] = []
    with Origins(ANYWHERE) as origins, pytest.raises(ReferenceChanged):
        target = ReferenceTarget(uri=f"{web.url}/x", size_bytes=1 << 20, digest=bytes(32))
        fetch(target, origins, lambda piece: taken.append(len(piece)))
    assert sum(taken) <= 1 << 20


def test_request_is_for_the_content_itself(web: WebServer) -> None:
    seen: list[Request] = []
    web.routes["/x"] = lambda request: (seen.append(request), Answer(body=b"x"))[1]
    with Origins(ANYWHERE) as origins:
        resolve(f"{web.url}/x", origins, digest=True)
    assert {request.headers["Accept-Encoding"] for request in seen} == {"identity"}


# -- places that move, or lie ----------------------------------------------------------------------------


def test_file_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(5 << 20))
    os.utime(path, ns=(0, 10**18))
    with Origins(ReferenceRules(roots=(str(tmp_path),))) as origins:
        target = resolve(path.as_uri(), origins).targets[b""]
        with pytest.raises(ReferenceChanged, match="while it was read"):
            fetch(target, origins, lambda piece: os.utime(path, ns=(0, 2 * 10**18)))


class ShortFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """Announces more than it gives."""

    protocol = "short"

    def info(self, path: str, **options: object) -> dict[str, object]:
        return {"name": path, "type": "file", "size": 10}

    def _open(self, path: str, mode: str = "rb", **options: object) -> io.BytesIO:
        return io.BytesIO(b"seven!!")


def test_less_than_was_announced_is_an_error() -> None:
    fsspec.register_implementation("short", ShortFileSystem, clobber=True)
    with Origins(ReferenceRules(schemes=frozenset({"short"}))) as origins:
        with pytest.raises(ReferenceUnreachable, match="7 of 10 bytes"):
            fetch(ReferenceTarget(uri="short://x"), origins, lambda piece: None)
        with pytest.raises(ReferenceUnreachable):
            resolve("short://x", origins, digest=True)


class BrokenFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """Fails as file systems of fsspec do: in any way."""

    protocol = "broken"
    error: Exception

    def info(self, path: str, **options: object) -> dict[str, object]:
        raise type(self).error

    def ls(self, path: str, detail: bool = True, **options: object) -> list[object]:
        raise type(self).error


@pytest.mark.parametrize(
    "error",
    [OSError(5, "Input/output error"), PermissionError("no"), TimeoutError(), ValueError("odd"), KeyError("Contents")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("uri", ["broken://x", "broken://x/"])
def test_failing_file_system_is_neither_empty_nor_gone(error: Exception, uri: str) -> None:
    fsspec.register_implementation("broken", BrokenFileSystem, clobber=True)
    BrokenFileSystem.error = error
    with Origins(ReferenceRules(schemes=frozenset({"broken"}))) as origins:
        with pytest.raises(ReferenceUnreachable):
            resolve(uri, origins)
        assert verify(b"x", ReferenceTarget(uri=uri), origins).state is DriftState.UNREACHABLE


def test_secret_that_a_file_system_prints_is_not_passed_on() -> None:
    fsspec.register_implementation("broken", BrokenFileSystem, clobber=True)
    BrokenFileSystem.error = OSError("login with hidden-password-1 failed")
    rules = ReferenceRules(schemes=frozenset({"broken"}), options={"broken": {"password": "hidden-password-1"}})
    with Origins(rules) as origins, pytest.raises(ReferenceUnreachable) as caught:
        resolve("broken://x", origins)
    assert "hidden-password-1" not in f"{caught.value} {caught.value.__cause__!r}"


# -- stored versions -------------------------------------------------------------------------------------


def stored(store: Store, content: bytes) -> None:
    artifact = create_artifact("folder/other", store=store)
    with artifact.new_file("deep/x") as file:
        file.write(content)
    with artifact.new_file("y") as file:
        file.write(os.urandom(8))
    artifact.upload()


def test_stored_version_can_be_referred_to(store: Store) -> None:
    stored(store, b"content")
    with Origins(rules_of(store)) as origins:
        found = resolve("artifact://folder/other:v1", origins)
        assert list(found.placed()) == [b"other/deep/x", b"other/y"]
        target = found.targets[b"deep/x"]
        assert target.uri == "artifact://folder/other:v1/deep/x"
        assert strength(target) is Proof.VERSION
        assert content_of(target, origins) == b"content"
        for missing in ("artifact://folder/other:v1/z", "artifact://folder/other:v9/y", "artifact://nobody:v1"):
            with pytest.raises(ReferenceNotFound):
                resolve(missing, origins)


def test_reference_to_a_name_has_to_say_which_version(store: Store) -> None:
    stored(store, b"content")
    with Origins(rules_of(store)) as origins:
        for uri in ("artifact://folder/other", "artifact://folder/other/", "artifact://folder"):
            with pytest.raises(ReferenceNotAllowed, match="says no version") as caught:
                resolve(uri, origins)
            assert "artifact://folder/other:latest" in caught.value.next_step


def test_reference_to_the_latest_drifts_when_its_content_does(store: Store) -> None:
    stored(store, b"content")
    with Origins(rules_of(store)) as origins:
        target = resolve("artifact://folder/other:latest/deep/x", origins).targets[b""]
        stored(store, b"content")
        assert verify(b"x", target, origins).state is DriftState.SAME
        stored(store, b"another")
        assert verify(b"x", target, origins).state is DriftState.CHANGED
        with pytest.raises(ReferenceChanged):
            fetch(target, origins, lambda piece: None)


def test_reference_to_a_reference_is_refused(store: Store, web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_ALLOW_PRIVATE_REFERENCES", "1")
    web.put("/x", b"content")
    artifact = create_artifact("other", store=store)
    artifact.add_reference(f"{web.url}/x")
    artifact.upload()
    with Origins(rules_of(store)) as origins:
        for uri in ("artifact://other:v1/x", "artifact://other:v1"):
            with pytest.raises(ReferenceNotAllowed, match=f"refer to {web.url}/x"):
                resolve(uri, origins)
