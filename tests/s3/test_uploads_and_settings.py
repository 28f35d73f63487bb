"""What goes out: checksums, signatures, settings; what stays in: secrets. And processes: forks, pickles."""

import os
import pickle
import subprocess
import sys
import textwrap
import traceback

import pytest
from s3.proxy import Answer, DamageUpload, FaultProxy, Rule
from s3.servers import SECRET_KEY, S3Server

from artifactstore.backend.s3 import S3Backend
from artifactstore.errors import (
    ArtifactStoreError,
    BackendError,
    ConfigurationError,
    ObjectNotFound,
    StoreNotFound,
    StorePermissionDenied,
    TransientBackendError,
)
from artifactstore.testing.backend import seeded_bytes

SMALL = b"a record"
LARGE = seeded_bytes("large", 1 << 20)
SESSION_TOKEN = "canaryT0kenB5hR9uNc2Vq7Ej6Xf"
UNSIGNED = "UNSIGNED-PAYLOAD"


@pytest.fixture
def opened(s3_url: str, s3_server: S3Server, proxy: FaultProxy, open_s3):
    """Opens the place of this test through the proxy, with more options in its URL."""
    prefix = s3_url.partition("?")[0].rpartition("/")[2]

    def open_with(options: str = "") -> S3Backend:
        return open_s3(s3_server.url(prefix, endpoint_url=proxy.endpoint_url) + options)

    return open_with


def put_headers(proxy: FaultProxy) -> dict[str, str]:
    [head] = [head for (method, _), head in zip(proxy.requests, proxy.heads, strict=True) if method == "PUT"]
    return head


@pytest.mark.parametrize("check", ["crc32", "md5", "sha256", "none"])
def test_small_bodies_are_always_signed(opened, proxy: FaultProxy, check: str) -> None:
    """Fault 85: records are not content-addressed, so each server must check them on arrival."""
    opened(f"&upload_check={check}").put("record", SMALL)
    head = put_headers(proxy)
    assert head["x-amz-content-sha256"] not in ("", UNSIGNED)
    assert ("content-md5" in head) == (check != "none")


@pytest.mark.parametrize(
    ("check", "header", "signed"),
    [
        ("crc32", "x-amz-checksum-crc32", False),
        ("md5", "content-md5", False),
        ("sha256", "", True),
        ("none", "", False),
    ],
)
def test_large_bodies_carry_the_check_that_was_chosen(
    opened, proxy: FaultProxy, check: str, header: str, *, signed: bool
) -> None:
    backend = opened(f"&upload_check={check}")
    backend.put("large", LARGE)
    head = put_headers(proxy)
    assert (head["x-amz-content-sha256"] != UNSIGNED) == signed
    assert {name for name in head if "checksum" in name or name == "content-md5"} == {header} - {""}
    assert "x-amz-trailer" not in head
    assert bytes(backend.get("large")) == LARGE


@pytest.mark.parametrize(("check", "body"), [("crc32", SMALL), ("md5", LARGE), ("sha256", LARGE)])
def test_a_body_damaged_on_its_way_is_refused_by_the_server(
    opened, direct: S3Backend, s3_server: S3Server, proxy: FaultProxy, check: str, body: bytes
) -> None:
    """Fault 85: and sending it again is right."""
    if check == "sha256" and not s3_server.checks_clock_and_signature:
        pytest.skip("not every server checks signatures")
    backend = opened(f"&upload_check={check}")
    proxy.plan(Rule(method="PUT", action=DamageUpload(position=3)))
    with pytest.raises(BackendError):
        backend.put("key", body)
    with pytest.raises(ObjectNotFound):
        direct.get("key")
    backend.put("key", body)
    assert bytes(direct.get("key")) == body


def test_whether_a_server_checks_uploads_can_be_asked(direct: S3Backend, s3_server: S3Server) -> None:
    checks = direct.checks_uploads("doctor/probe")
    assert checks == (s3_server.kind == "ministack") or s3_server.kind == "given"
    assert list(direct.list("")) == []


def test_encryption_and_billing_settings_are_passed_through(opened, proxy: FaultProxy) -> None:
    proxy.plan(Rule(action=Answer(200, headers={"etag": '"x"'}, body=b""), times=None))
    opened("&sse=aws:kms&sse_kms_key_id=alias/mine&requester_pays=true").put("key", SMALL)
    head = put_headers(proxy)
    assert head["x-amz-server-side-encryption"] == "aws:kms"
    assert head["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/mine"
    assert head["x-amz-request-payer"] == "requester"


def test_anonymous_requests_carry_no_signature(opened, proxy: FaultProxy) -> None:
    proxy.plan(Rule(action=Answer(403, "AccessDenied"), times=None))
    with pytest.raises(StorePermissionDenied):
        opened("&anonymous=true").get("key")
    assert "authorization" not in proxy.heads[0]


# Permission, buckets, credentials, clocks


@pytest.mark.parametrize("verb", ["get", "head", "delete", "list", "put", "put_if_absent"])
def test_forbidden_is_not_absent(s3: S3Backend, proxy: FaultProxy, verb: str) -> None:
    """Fault 99: HEAD without the right to list gives 403 for what is not there."""
    proxy.plan(Rule(action=Answer(403, "AccessDenied"), times=None))
    call = {"list": lambda: list(s3.list("")), "put": lambda: s3.put("key", b"")}
    call["put_if_absent"] = lambda: s3.put_if_absent("key", b"")
    with pytest.raises(StorePermissionDenied):
        (call.get(verb) or (lambda: getattr(s3, verb)("key")))()


@pytest.mark.parametrize("verb", ["get", "head", "delete", "list", "put", "put_if_absent"])
def test_a_missing_bucket_is_a_missing_store(s3_server: S3Server, open_s3, verb: str) -> None:
    """Fault 99."""
    backend = open_s3(f"s3://no-such-bucket-here?endpoint_url={s3_server.endpoint_url}")
    call = {"list": lambda: list(backend.list("")), "put": lambda: backend.put("key", b"")}
    call["put_if_absent"] = lambda: backend.put_if_absent("key", b"")
    with pytest.raises(StoreNotFound):
        (call.get(verb) or (lambda: getattr(backend, verb)("key")))()


def test_a_bucket_of_another_region_names_it(s3: S3Backend, proxy: FaultProxy) -> None:
    """Fault 99."""
    moved = Answer(301, "PermanentRedirect", {"x-amz-bucket-region": "eu-central-1"})
    proxy.plan(Rule(action=moved, times=None))
    with pytest.raises(ConfigurationError, match="eu-central-1"):
        s3.get("key")


def test_expired_credentials_are_read_again_once(s3: S3Backend, proxy: FaultProxy) -> None:
    """Fault 97: whoever renewed them in the meantime, in a file or by a process, is not asked to start over."""
    s3.put("key", SMALL)
    proxy.plan(Rule(action=Answer(400, "ExpiredToken"), times=1))
    assert bytes(s3.get("key")) == SMALL
    proxy.plan(Rule(action=Answer(400, "ExpiredToken"), times=None))
    with pytest.raises(StorePermissionDenied, match="expired") as raised:
        s3.get("key")
    assert "run the same command again" in str(raised.value)


def test_a_wrong_clock_is_named(s3: S3Backend, proxy: FaultProxy) -> None:
    """Fault 98."""
    said = {"date": "Thu, 01 Jan 2015 00:00:00 GMT"}
    proxy.plan(Rule(action=Answer(403, "RequestTimeTooSkewed", said), times=None))
    with pytest.raises(BackendError, match=r"this machine's clock is \d+ s ahead of the store's"):
        s3.get("key")


def test_wrong_keys_are_named_without_being_shown(
    s3_url: str, s3_server: S3Server, open_s3, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not s3_server.checks_clock_and_signature:
        pytest.skip("not every server knows its keys")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrongSecretCanary")
    with pytest.raises(StorePermissionDenied, match="AWS_SECRET_ACCESS_KEY") as raised:
        open_s3(s3_url).get("key")
    assert "wrongSecretCanary" not in "".join(traceback.format_exception(raised.value))


def test_no_credentials_is_one_clear_line(s3_url: str, open_s3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StorePermissionDenied, match="AWS_ACCESS_KEY_ID") as raised:
        open_s3(s3_url).get("key")
    assert "\n" not in str(raised.value)


def test_a_profile_that_is_not_there_is_a_setting_gone_wrong(s3_url: str, open_s3) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        open_s3(s3_url + "&profile=nowhere").get("key")


# Listings that lie


def listing(contents: str, *, prefix: str, truncated: str = "false", more: str = "") -> Answer:
    body = (
        f"<?xml version='1.0'?><ListBucketResult><Name>b</Name><Prefix>{prefix}</Prefix><MaxKeys>1000</MaxKeys>"
        f"<IsTruncated>{truncated}</IsTruncated>{contents}{more}</ListBucketResult>"
    )
    return Answer(200, body=body.encode(), headers={"content-type": "application/xml"})


def row(key: str) -> str:
    return f"<Contents><Key>{key}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"


@pytest.fixture
def root(s3_url: str) -> str:
    """What all keys of this test start with in the bucket."""
    return s3_url.partition("?")[0].removeprefix("s3://").partition("/")[2] + "/"


def test_a_listing_out_of_order_is_refused(s3: S3Backend, proxy: FaultProxy, root: str) -> None:
    proxy.plan(Rule(action=listing(row(f"{root}b") + row(f"{root}a"), prefix=root)))
    with pytest.raises(BackendError, match="byte order"):
        list(s3.list(""))


def test_a_listing_of_something_else_is_refused(s3: S3Backend, proxy: FaultProxy, root: str) -> None:
    """Fault 17: an answer to another question, a cache's for instance, is not an empty listing."""
    proxy.plan(Rule(action=listing("", prefix="elsewhere/")))
    with pytest.raises(TransientBackendError):
        list(s3.list(""))
    proxy.plan(Rule(action=listing(row("elsewhere/a"), prefix=root)))
    with pytest.raises(BackendError):
        list(s3.list(""))


def test_an_empty_document_is_not_an_empty_listing(s3: S3Backend, proxy: FaultProxy) -> None:
    """Fault 17."""
    for body in (b"", b"<html/>", b"<ListBucketResult/>", b"{}"):
        proxy.plan(Rule(action=Answer(200, body=body)))
        with pytest.raises(BackendError):
            list(s3.list(""))


def test_a_listing_cut_off_without_a_way_on_is_refused(s3: S3Backend, proxy: FaultProxy, root: str) -> None:
    """Fault 17."""
    proxy.plan(Rule(action=listing(row(f"{root}a"), prefix=root, truncated="true")))
    with pytest.raises(BackendError, match="stops in the middle"):
        list(s3.list(""))


def test_a_second_page_that_fails_is_not_the_end(s3: S3Backend, proxy: FaultProxy, root: str) -> None:
    """Fault 17."""
    first = listing(
        row(f"{root}a"), prefix=root, truncated="true", more="<NextContinuationToken>t</NextContinuationToken>"
    )
    proxy.plan(Rule(action=first), Rule(action=Answer(403, "AccessDenied"), times=None))
    found = s3.list("")
    assert next(found).key == "a"
    with pytest.raises(StorePermissionDenied):
        next(found)


# Secrets


def test_no_secret_in_repr_pickle_url_or_error(
    s3: S3Backend, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Faults 112 and 114: servers echo the canonical request, session token included, in their errors."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION_TOKEN)
    echo = f"<Error><Code>SignatureDoesNotMatch</Code><CanonicalRequest>{SESSION_TOKEN}</CanonicalRequest></Error>"
    proxy.plan(Rule(action=Answer(403, body=echo.encode()), times=None))
    with pytest.raises(ArtifactStoreError) as raised:
        s3.get("key")
    cause = raised.value.__cause__
    shown = [repr(s3), s3.url, str(raised.value), repr(vars(raised.value)), caplog.text]
    shown += traceback.format_exception(raised.value)
    shown += [repr(vars(cause)), pickle.dumps(raised.value).decode("latin-1"), pickle.dumps(s3).decode("latin-1")]
    secrets = (SESSION_TOKEN, SECRET_KEY, os.environ["AWS_SECRET_ACCESS_KEY"])
    assert not [secret for secret in secrets for text in shown if secret in text]


# Processes


def test_a_pickled_backend_works_in_another_process(direct: S3Backend) -> None:
    """Fault 112: whoever opens it brings their own credentials."""
    direct.put("key", SMALL)
    code = "import pickle,sys; sys.stdout.buffer.write(pickle.load(sys.stdin.buffer).get('key'))"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(direct), capture_output=True, timeout=60)
    assert done.stdout == SMALL, done.stderr.decode()


def test_a_forked_child_uses_connections_of_its_own(direct: S3Backend, s3_url: str) -> None:
    """Fault 110: with shared ones, parent and child would read each other's answers."""
    program = textwrap.dedent("""
        import os, sys
        from artifactstore.backend.s3 import S3Backend
        backend = S3Backend.from_url(sys.argv[1])
        for who in ("parent", "child"):
            backend.put(who, who.encode() * 1000)
        child = os.fork()
        who = "parent" if child else "child"
        for _ in range(50):
            assert bytes(backend.get(who)) == who.encode() * 1000
        if child:
            assert os.waitpid(child, 0)[1] == 0
            assert bytes(backend.get(who)) == who.encode() * 1000
        else:
            os._exit(0)
    """)
    done = subprocess.run([sys.executable, "-c", program, s3_url], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_the_transfer_manager_is_never_loaded(s3_url: str) -> None:
    """Neither s3transfer nor the CRT client, which ignores the endpoint and can switch itself on."""
    program = textwrap.dedent("""
        import sys
        from artifactstore.backend.s3 import S3Backend
        backend = S3Backend.from_url(sys.argv[1])
        backend.put("key", bytes(9 << 20))
        assert len(backend.get("key")) == 9 << 20
        print(*(name for name in sys.modules if name.split(".")[0] in ("s3transfer", "awscrt")))
    """)
    done = subprocess.run([sys.executable, "-c", program, s3_url], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_a_body_goes_straight_into_its_buffer(direct: S3Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast path is taken with the urllib3 that is installed; without it, reads are right too."""
    from artifactstore.backend import s3_transport

    direct.put("key", LARGE)
    found = s3_transport._plain_reader
    readers: list[object] = []
    monkeypatch.setattr(s3_transport, "_plain_reader", lambda *a: readers.append(found(*a)) or readers[-1])
    assert bytes(direct.get_range("key", 3, 1000)) == LARGE[3:1003]
    assert readers[0] is not None
    monkeypatch.setattr(s3_transport, "_plain_reader", lambda *a: None)
    assert bytes(direct.get("key")) == LARGE
    assert bytes(direct.get_range("key", 3, 1000)) == LARGE[3:1003]
