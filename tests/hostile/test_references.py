"""URIs from people who want to read what is not theirs (faults 116, 117; promise S4)."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.artifacts.webserver import Answer, WebServer, serve

from artifactstore.artifacts import file_origin, http_guard
from artifactstore.artifacts.reference_rules import ReferenceRules, check_uri, is_public_address
from artifactstore.artifacts.references import DriftState, Origins, fetch, resolve, verify
from artifactstore.errors import ArtifactStoreError, ReferenceNotAllowed, ReferenceUnreachable
from artifactstore.manifest.model import ReferenceTarget
from artifactstore.testing.clock import VirtualClock

SECRET = b"what must not be read"
RULES = ReferenceRules()
OUTSIDE = "127.0.0.2"
"""Stands for the public internet in these tests."""


@pytest.fixture
def inner() -> Iterator[WebServer]:
    """A server inside of the network, at an address that is refused."""
    with serve() as server:
        server.put("/secret", SECRET)
        yield server


@pytest.fixture
def outer(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server outside, that belongs to somebody hostile."""
    monkeypatch.setattr(http_guard, "is_public_address", lambda address: address == OUTSIDE)
    with serve(OUTSIDE) as server:
        yield server


def assert_refused(uri: str, rules: ReferenceRules = RULES) -> ReferenceNotAllowed:
    target = ReferenceTarget(uri=uri)
    with Origins(rules) as origins:
        with pytest.raises(ReferenceNotAllowed):
            resolve(uri, origins)
        assert verify(b"x", target, origins).state is DriftState.NOT_ALLOWED
        with pytest.raises(ReferenceNotAllowed) as caught:
            fetch(target, origins, lambda piece: pytest.fail("something was read"))
    return caught.value


# -- the web: addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:7f00:0001]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fc00::1]",
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[fd00:ec2::254]",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_inner_address_is_refused_however_it_is_written(inner: WebServer, host: str, scheme: str) -> None:
    assert_refused(f"{scheme}://{host}:{inner.port}/secret")
    assert inner.requests == []


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:800::200e"])
def test_public_address_is_allowed(address: str) -> None:
    assert is_public_address(address)


def test_name_that_leads_inside_is_refused(inner: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_names(monkeypatch, {"innocent.example": [["127.0.0.1"]]})
    error = assert_refused(f"http://innocent.example:{inner.port}/secret")
    assert "innocent.example" in str(error)
    assert inner.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_inside_is_refused(inner: WebServer, outer: WebServer, status: int) -> None:
    outer.routes["/x"] = lambda request: Answer(status=status, headers={"Location": f"{inner.url}/secret"})
    assert_refused(f"{outer.url}/x")
    assert outer.requests
    assert inner.requests == []


def test_last_of_several_redirects_is_checked_too(inner: WebServer, outer: WebServer) -> None:
    for number in range(4):
        outer.routes[f"/{number}"] = lambda request, n=number: Answer(  # type: ignore[misc]
            status=302, headers={"Location": f"/{n + 1}" if n < 3 else f"http://127.1:{inner.port}/secret"}
        )
    with Origins(RULES) as origins, pytest.raises((ReferenceNotAllowed, ReferenceUnreachable)):
        resolve(f"{outer.url}/0", origins)
    assert inner.requests == []


PERSONAL: dict[str, dict[str, object]] = {
    "a header": {"headers": {"X-Api-Key": "of mine"}},
    "a header of the client": {"client_kwargs": {"headers": {"X-Api-Key": "of mine"}}},
    "a cookie": {"cookies": {"session": "of mine"}},
    "a cookie of the client": {"client_kwargs": {"cookies": {"session": "of mine"}}},
}


@pytest.mark.parametrize("options", PERSONAL.values(), ids=PERSONAL)
def test_headers_and_cookies_stay_with_the_server_that_the_uri_names(options: dict[str, object]) -> None:
    def has_it(server: WebServer) -> list[bool]:
        return ["of mine" in " ".join(request.headers.values()) for request in server.requests]

    with serve() as mine, serve() as other:
        mine.routes["/x"] = lambda request: Answer(status=302, headers={"Location": "/y"})
        mine.routes["/y"] = lambda request: Answer(status=302, headers={"Location": f"{other.url}/z"})
        mine.put("/end", b"content")
        other.routes["/z"] = lambda request: Answer(status=307, headers={"Location": f"{mine.url}/end"})
        with Origins(ReferenceRules(allow_private=True, options={"http": options})) as origins:
            target = resolve(f"{mine.url}/x", origins).targets[b""]
        assert target.size_bytes == len(b"content")
        assert [request.path for request in mine.requests] == ["/x", "/y", "/end"]
        assert has_it(mine) == [True, True, False]  # where it leads from the other is for the other to say
        assert has_it(other) == [False]


@pytest.mark.parametrize("says_length", [True, False])
def test_content_of_a_size_that_was_not_recorded_has_a_limit(outer: WebServer, says_length: bool) -> None:
    outer.routes["/x"] = lambda request: Answer(body=b"content", says_length=says_length)
    target, written = ReferenceTarget(uri=f"{outer.url}/x"), bytearray()
    with Origins(ReferenceRules(max_unsized_bytes=7)) as origins:
        assert fetch(target, origins, written.extend).size_bytes == 7
    written.clear()
    with Origins(ReferenceRules(max_unsized_bytes=6)) as origins:
        with pytest.raises(ReferenceNotAllowed, match="longer than 6 bytes, and its size was not recorded"):
            fetch(target, origins, written.extend)
        assert not written
        recorded = ReferenceTarget(uri=target.uri, size_bytes=7)
        assert fetch(recorded, origins, written.extend).size_bytes == 7


@pytest.mark.parametrize(("seconds", "is_given_up"), [(4, True), (2, False)])
def test_content_that_drips_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, is_given_up: bool
) -> None:
    clock = VirtualClock()
    real = file_origin._piece
    monkeypatch.setattr(file_origin, "PIECE_BYTES", 1)
    monkeypatch.setattr(file_origin, "_piece", lambda *given: (clock.advance(seconds), real(*given))[1])
    (tmp_path / "f").write_bytes(b"slow")
    target = ReferenceTarget(uri=f"file://{tmp_path}/f")
    rules = ReferenceRules(roots=(str(tmp_path),), max_stall_seconds=10)
    with Origins(rules, clock=clock) as origins:
        if is_given_up:
            with pytest.raises(ReferenceUnreachable, match="comes too slowly"):
                fetch(target, origins, lambda piece: None)
        else:  # and our own disk may be slow
            assert fetch(target, origins, lambda piece: clock.advance(100)).size_bytes == 4


def test_redirects_without_an_end_are_given_up(outer: WebServer) -> None:
    outer.routes["/x"] = lambda request: Answer(status=302, headers={"Location": "/x"})
    with Origins(RULES) as origins, pytest.raises(ReferenceUnreachable, match="redirects more than 10 times"):
        resolve(f"{outer.url}/x", origins)
    assert len(outer.requests) < 20


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/_x", "data:,x"])
def test_redirect_to_another_scheme_is_refused(outer: WebServer, location: str) -> None:
    outer.routes["/x"] = lambda request: Answer(status=302, headers={"Location": location})
    assert_refused(f"{outer.url}/x")


def test_redirect_to_a_scheme_that_is_not_on_the_list_is_refused(outer: WebServer) -> None:
    outer.routes["/x"] = lambda request: Answer(status=302, headers={"Location": "https://example.org/x"})
    assert_refused(f"{outer.url}/x", ReferenceRules(schemes=frozenset({"http"})))


def test_name_that_is_outside_first_and_inside_then_is_refused(
    inner: WebServer, outer: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the second look-up is the one that is connected to, and so the one that counts."""
    resolve_names(monkeypatch, {"rebinds.example": [[OUTSIDE], ["127.0.0.1"]]})
    uri = f"http://rebinds.example:{inner.port}/secret"
    with serve(OUTSIDE, inner.port) as first:
        first.put("/secret", b"harmless")
        with Origins(RULES) as origins:
            target = resolve(uri, origins).targets[b""]
        with Origins(RULES) as origins, pytest.raises(ReferenceNotAllowed):
            fetch(target, origins, lambda piece: pytest.fail("something was read"))
    assert inner.requests == []


def test_name_with_an_inner_and_an_outer_address_leads_outside_or_nowhere(
    inner: WebServer, outer: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_names(monkeypatch, {"both.example": [["127.0.0.1", OUTSIDE]]})
    outer.put("/secret", b"harmless")
    with Origins(RULES) as origins:
        resolve(f"http://both.example:{outer.port}/secret", origins)
        with pytest.raises(ArtifactStoreError):
            resolve(f"http://both.example:{inner.port}/secret", origins)
    assert inner.requests == []


def test_link_of_an_index_that_leads_elsewhere_is_not_followed(inner: WebServer, outer: WebServer) -> None:
    links = [f"{inner.url}/secret", "//127.0.0.1/x", "../up", "/etc/", "javascript:alert(1)", "%2e%2e/up", "ok"]
    body = "".join(f'<a href="{link}">x</a>' for link in links).encode()
    outer.routes["/d/"] = lambda request: Answer(body=body, headers={"Content-Type": "text/html"})
    outer.put("/d/ok", b"x")
    with Origins(RULES) as origins:
        try:
            assert list(resolve(f"{outer.url}/d/", origins).targets) == [b"ok"]
        except ReferenceNotAllowed as error:
            assert ".." in str(error)  # `%2e%2e`, said by name
    assert inner.requests == []


def test_index_without_an_end_is_given_up(outer: WebServer) -> None:
    def deeper(request: object) -> Answer:
        return Answer(body=b'<a href="a/">a</a><a href="b/">b</a>', headers={"Content-Type": "text/html"})

    outer.answer = deeper  # type: ignore[method-assign, assignment]
    with Origins(ReferenceRules(max_objects=50)) as origins, pytest.raises(ReferenceNotAllowed, match="over 50"):
        resolve(f"{outer.url}/", origins)


@pytest.mark.parametrize(
    "options",
    [
        {"client_kwargs": {"trust_env": True}},
        {"proxy": "http://127.0.0.1:1"},
        {"client_kwargs": {"connector": object()}},
    ],
    ids=["trust_env", "proxy", "connector"],
)
def test_options_that_let_somebody_else_connect_are_refused(inner: WebServer, options: dict[str, object]) -> None:
    rules = ReferenceRules(options={"http": options})
    assert_refused(f"{inner.url}/secret", rules)
    assert inner.requests == []


def test_allowing_private_addresses_allows_them(inner: WebServer) -> None:
    with Origins(ReferenceRules(allow_private=True)) as origins:
        assert resolve(f"{inner.url}/secret", origins).targets[b""].size_bytes == len(SECRET)


def test_trusted_endpoint_is_trusted_at_its_port_alone(inner: WebServer, outer: WebServer) -> None:
    with serve() as endpoint:
        endpoint.put("/x", b"x")
        rules = ReferenceRules(trusted_endpoints=(f"http://localhost:{endpoint.port}",))
        with Origins(rules) as origins:
            assert resolve(f"{endpoint.url}/x", origins).targets[b""].size_bytes == 1
        assert_refused(f"{inner.url}/secret", rules)
    assert inner.requests == []


# -- files ---------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "root-and-more").mkdir()
    (tmp_path / "root-and-more" / "secret").write_bytes(SECRET)
    return root


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "file://localhost/etc/passwd", "FILE:///etc/passwd", "file:///"])
def test_no_file_is_read_when_no_roots_are_declared(uri: str) -> None:
    assert_refused(uri)


@pytest.mark.parametrize(
    "way", ["../secret", "x/../../secret", "%2e%2e/secret", "..%2Fsecret", "../root-and-more/secret"]
)
def test_way_out_of_the_root_is_refused(root: Path, way: str) -> None:
    assert_refused(f"file://{root}/{way}", ReferenceRules(roots=(str(root),)))


@pytest.mark.parametrize("target", ["../secret", "..", "/", "hop"])
def test_link_out_of_the_root_is_refused(root: Path, target: str) -> None:
    (root / "hop").symlink_to("../secret")
    (root / "link").symlink_to(target)
    rules = ReferenceRules(roots=(str(root),))
    assert_refused(f"file://{root}/link", rules)
    with Origins(rules) as origins, pytest.raises(ReferenceNotAllowed):
        resolve(f"file://{root}/", origins)


def test_outside_of_the_root_nobody_learns_what_is_there(root: Path) -> None:
    rules = ReferenceRules(roots=(str(root),))
    there = str(assert_refused(f"file://{root.parent}/secret", rules))
    missing = str(assert_refused(f"file://{root.parent}/absent", rules))
    assert there.replace("secret", "absent") == missing


def test_link_inside_of_the_root_is_followed(root: Path) -> None:
    (root / "real").write_bytes(b"mine")
    (root / "link").symlink_to("real")
    with Origins(ReferenceRules(roots=(str(root),))) as origins:
        assert resolve(f"file://{root}/link", origins).targets[b""].size_bytes == 4


def test_root_may_be_a_link_itself(root: Path) -> None:
    (root / "x").write_bytes(b"mine")
    (root.parent / "alias").symlink_to(root)
    with Origins(ReferenceRules(roots=(str(root.parent / "alias"),))) as origins:
        assert resolve(f"file://{root}/x", origins).targets[b""].size_bytes == 4


def test_link_that_is_bent_between_look_and_open_reads_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "d").mkdir()
    (root / "d" / "secret").write_bytes(b"harmless")
    before = file_origin.os.path.realpath

    def bend(path: bytes) -> bytes:
        real = before(path)
        if real.endswith(b"/d/secret"):
            (root / "d" / "secret").unlink()
            (root / "d").rmdir()
            (root / "d").symlink_to(root.parent)
        return real

    with Origins(ReferenceRules(roots=(str(root),))) as origins:
        target = ReferenceTarget(uri=f"file://{root}/d/secret")
        origins.of(target.uri)
        monkeypatch.setattr(file_origin.os.path, "realpath", bend)
        with pytest.raises(ReferenceNotAllowed):
            fetch(target, origins, lambda piece: pytest.fail("something was read"))


def test_directory_in_itself_is_refused(root: Path) -> None:
    (root / "d").mkdir()
    (root / "d" / "again").symlink_to("..")
    with (
        Origins(ReferenceRules(roots=(str(root.parent),))) as origins,
        pytest.raises(ReferenceNotAllowed, match="no end"),
    ):
        resolve(f"file://{root}/", origins)


@pytest.mark.timeout(20)
def test_pipe_is_refused_and_not_waited_for(root: Path) -> None:
    file_origin.os.mkfifo(root / "pipe")
    assert_refused(f"file://{root}/pipe", ReferenceRules(roots=(str(root),)))


@pytest.mark.parametrize("uri", ["file://elsewhere/x", "file://x", "file:///a?b", "file:///a#b", "file:///a%00b"])
def test_what_names_no_file_of_this_machine_is_refused(uri: str) -> None:
    assert_refused(uri, ReferenceRules(roots=("/",)))


# -- URIs ----------------------------------------------------------------------------------------------

HIDDEN = "hunter2hunter2"


@pytest.mark.parametrize(
    "uri",
    [
        f"https://user:{HIDDEN}@example.org/x",
        f"https://{HIDDEN}@example.org/x",
        f"https://user:pw%40{HIDDEN}@example.org/x",
        f"https://example.org%40{HIDDEN}/x",
        f"s3://AKIAABCDEFGHIJKLMNOP:{HIDDEN}@bucket/x",
        f"gs://{HIDDEN}@bucket/x",
        f"artifact://user:{HIDDEN}@name:v1/x",
        f"https://example.org/go?to=https://u:{HIDDEN}@example.org/",
        f"https://bucket.s3.amazonaws.com/x?X-Amz-Algorithm=a&X-Amz-Signature={HIDDEN}",
        f"https://bucket.s3.amazonaws.com/x?x-amz-credential={HIDDEN}",
        f"https://bucket.s3.amazonaws.com/x?X-Amz-Security-Token={HIDDEN}",
        f"https://bucket.s3.amazonaws.com/x?%58-Amz-Signature={HIDDEN}",
        f"https://bucket.s3.amazonaws.com/x?AWSAccessKeyId=a&Signature={HIDDEN}&Expires=1",
        f"https://storage.googleapis.com/b/x?X-Goog-Signature={HIDDEN}",
        f"https://storage.googleapis.com/b/x?GoogleAccessId={HIDDEN}",
        f"https://account.blob.core.windows.net/c/x?sv=1&sig={HIDDEN}",
        f"https://example.org/x?token={HIDDEN}",
        f"https://example.org/x?a=1;access_token={HIDDEN}",
        f"https://example.org/x?api_key={HIDDEN}",
        f"https://example.org/x?apikey={HIDDEN}",
        f"https://example.org/x?password={HIDDEN}",
        f"https://example.org/x?auth={HIDDEN}",
        f"https://example.org/x#access_token={HIDDEN}",
        f"s3://bucket/x?X-Amz-Signature={HIDDEN}",
        f"https://example.org/ghp_{HIDDEN * 3}/x",
        f"https://example.org/x?key=AIza{HIDDEN * 3}",
        f"https://example.org/AKIA{HIDDEN.upper()}AB/x",
    ],
)
def test_credential_in_a_uri_is_refused_and_not_repeated(uri: str) -> None:
    error = assert_refused(uri)
    assert HIDDEN not in f"{error!s} {error!r} {error.where} {error.__cause__!r}".replace(HIDDEN.upper(), HIDDEN)
    assert "credential" in str(error)


@pytest.mark.parametrize(
    "uri",
    [
        "filecache::s3://bucket/x",
        "simplecache::file:///etc/passwd",
        "https://example.org/x::file:///etc/passwd",
        "zip://x::https://example.org/y.zip",
        "s3://bucket/a::b",
    ],
)
def test_chained_uri_is_refused(uri: str) -> None:
    assert "chain" in str(assert_refused(uri)) or "zip" in uri


@pytest.mark.parametrize("scheme", ["ftp", "sftp", "gopher", "data", "javascript", "memory", "local", "smb", "hdfs"])
def test_scheme_that_is_not_on_the_list_is_refused(scheme: str) -> None:
    assert_refused(f"{scheme}://host/x")


@pytest.mark.parametrize("scheme", ["local", "filecache", "simplecache", "reference", "dir", "zip", "data", "generic"])
def test_scheme_that_opens_others_is_refused_though_it_is_on_the_list(scheme: str) -> None:
    assert_refused(f"{scheme}://host/x", ReferenceRules(schemes=frozenset({scheme})))


UNCLEAN = """
    /etc/passwd | etc | C:\\x | s3:bucket | http:/x | http:// | s3:// | http:///x | https://ex ample/x | http://a\\@127.0.0.1/x
    http://[::1/x | http://::1/x | http://a:b:c/x | http://127.0.0.1%2f@x/
"""


@pytest.mark.parametrize("uri", [uri.strip() for line in UNCLEAN.strip().splitlines() for uri in line.split(" | ")])
def test_what_is_no_clean_uri_is_refused(uri: str) -> None:
    with pytest.raises(ReferenceNotAllowed):
        check_uri(uri, RULES)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "http://a\n/x",
        "https://example.org/\x1b[31m",
        "https://example.org/\0",
        "s3://b/\ud800",
        "s3://b/" + "x" * 9000,
    ],
    ids=["empty", "newline", "escape", "NUL", "surrogate", "too long"],
)
def test_uri_that_could_not_be_stored_or_shown_is_refused(uri: str) -> None:
    with pytest.raises(ReferenceNotAllowed):
        check_uri(uri, RULES)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/a b/ü.bin",
        "s3://bucket/x?versionId=abc",
        "S3://bucket/x",
        "gs://bucket/x",
        "https://example.org/x?a=1&key=data/train.csv",
        "https://example.org:8443/x",
        "https://[2606:4700:4700::1111]/x",
        "https://xn--bcher-kva.example/x",
        "https://example.org/@user/x",
        "artifact://folder/name:v3/path",
        f"artifact://name@{'0' * 64}/path",
        "file:///a/b%20c",
    ],
)
def test_usual_uri_is_allowed(uri: str) -> None:
    assert check_uri(uri, RULES) == uri.partition(":")[0].lower()


# -- in place of a resolver -------------------------------------------------------------------------------


def resolve_names(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[list[str]]]) -> None:
    """Each look-up of a name gives its next addresses, and the last ones from then on."""
    real = socket.getaddrinfo
    left = {name: list(rounds) for name, rounds in answers.items()}

    def look_up(host: str, port: int, *args: object, **options: object) -> list[object]:
        if host not in left:
            return list(real(host, port, *args, **options))  # type: ignore[arg-type]
        addresses = left[host].pop(0) if len(left[host]) > 1 else left[host][0]
        return [row for address in addresses for row in real(address, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
