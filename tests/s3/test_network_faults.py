"""What a network and a server in trouble do to requests: faults 2, 3, 9, 30 and 89 to 94."""

import pytest
from s3.proxy import (
    Answer,
    CutBody,
    CutUpload,
    DropReply,
    FaultProxy,
    LieAboutLength,
    Rule,
    Trickle,
    Wait,
)

from artifactstore.backend.s3 import S3Backend
from artifactstore.backend.wrappers.retry import RetryBackend
from artifactstore.errors import BackendError, ObjectExists, ObjectNotFound, TransientBackendError
from artifactstore.testing.clock import VirtualClock
from artifactstore.transaction.conditional import Won, put_once

BODY = bytes(range(256)) * 4096  # 1 MiB: past what fits into socket buffers unseen
HTML = b"<html><body>Please log in</body></html>"
READS = {
    "get": lambda backend: backend.get("key"),
    "get_range": lambda backend: backend.get_range("key", 0, len(BODY)),
    "head": lambda backend: backend.head("key"),
    "list": lambda backend: list(backend.list("")),
    "list_level": lambda backend: list(backend.list_level("")),
}
WRITES = {
    "put": lambda backend: backend.put("new", BODY),
    "small put": lambda backend: backend.put("new", b"small"),
    "put_if_absent": lambda backend: backend.put_if_absent("new", b"small"),
    "delete": lambda backend: backend.delete("key"),
}
EVERYTHING = {**READS, **WRITES}


@pytest.fixture(autouse=True)
def _stored(s3: S3Backend) -> None:
    s3.put("key", BODY)


def answers(status: int, code: str = "", **headers: str) -> Rule:
    return Rule(action=Answer(status, code, headers), times=None)


@pytest.mark.parametrize("verb", EVERYTHING)
@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (429, "TooManyRequests"), (503, "ServiceUnavailable")])
def test_a_busy_store_says_when_to_come_back(
    s3: S3Backend, proxy: FaultProxy, verb: str, status: int, code: str
) -> None:
    """Fault 89."""
    proxy.plan(answers(status, code, **{"retry-after": "7"}))
    with pytest.raises(TransientBackendError) as raised:
        EVERYTHING[verb](s3)
    assert raised.value.retry_after_seconds == 7.0
    assert not raised.value.effect_unknown


@pytest.mark.parametrize("verb", EVERYTHING)
@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (502, "BadGateway"), (504, "GatewayTimeout")])
def test_a_failing_server_may_have_done_what_was_asked(
    s3: S3Backend, proxy: FaultProxy, verb: str, status: int, code: str
) -> None:
    """Fault 90."""
    proxy.plan(answers(status, code))
    with pytest.raises(TransientBackendError) as raised:
        EVERYTHING[verb](s3)
    assert raised.value.effect_unknown == (verb in WRITES)


@pytest.mark.parametrize("verb", EVERYTHING)
@pytest.mark.parametrize("status", [200, 404, 502])
def test_the_page_of_a_proxy_is_never_taken_for_an_answer(
    s3: S3Backend, proxy: FaultProxy, verb: str, status: int
) -> None:
    """Fault 91: above all, not for an empty listing and not for "no such object"."""
    if verb == "delete" and status == 200:
        pytest.skip("an answer to DELETE is empty: nothing tells a true 200 from another")
    if verb == "head" and status == 404:
        pytest.skip("an answer to HEAD is empty; what a 404 means is asked by a listing at the first one only")
    proxy.plan(Rule(action=Answer(status, body=HTML, headers={"content-type": "text/html"}), times=None))
    with pytest.raises(BackendError):
        EVERYTHING[verb](s3)


@pytest.mark.parametrize("verb", ["get", "get_range"])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("after_bytes", [0, 1, 300_000, len(BODY) - 1])
def test_a_body_that_ends_early_is_an_error(
    s3: S3Backend, proxy: FaultProxy, verb: str, *, reset: bool, after_bytes: int
) -> None:
    """Faults 91 and 92."""
    proxy.plan(Rule(method="GET", action=CutBody(after_bytes, reset)))
    with pytest.raises(TransientBackendError):
        READS[verb](s3)
    assert bytes(s3.get("key")) == BODY, "and the connection it came over is not used again"


@pytest.mark.parametrize("extra_bytes", [-1, 1, 5000, -len(BODY)])
def test_a_range_of_another_length_is_an_error(s3: S3Backend, proxy: FaultProxy, extra_bytes: int) -> None:
    """Fault 92."""
    proxy.plan(Rule(method="GET", action=LieAboutLength(extra_bytes)))
    with pytest.raises(TransientBackendError):
        s3.get_range("key", 0, len(BODY))
    assert bytes(s3.get_range("key", 5, 10)) == BODY[5:15]


@pytest.mark.parametrize(("start", "length"), [(0, 10), (100, 1000), (len(BODY) - 1, 1)])
def test_a_range_that_was_ignored_is_an_error(s3: S3Backend, proxy: FaultProxy, start: int, length: int) -> None:
    """Fault 93."""
    proxy.plan(Rule(method="GET", action=Answer(200, headers={"etag": '"x"'}, body=BODY)))
    with pytest.raises(BackendError, match="ignores Range"):
        s3.get_range("key", start, length)


@pytest.mark.parametrize("verb", ["get", "get_range", "list", "list_level"])
def test_a_transfer_at_a_few_bytes_a_second_is_given_up(s3: S3Backend, proxy: FaultProxy, verb: str) -> None:
    """Fault 94: bytes keep coming, so no timeout of a socket ever ends this."""
    proxy.plan(Rule(method="GET", action=Trickle(after_bytes=10, seconds_per_byte=0.03)))
    with pytest.raises(TransientBackendError, match="stalled"):
        READS[verb](s3)


def test_an_error_that_drips_is_given_up_too(s3: S3Backend, proxy: FaultProxy) -> None:
    """Fault 94."""
    proxy.plan(Rule(method="GET", path="*absent", action=Trickle(seconds_per_byte=0.03)))
    with pytest.raises(TransientBackendError, match="stalled"):
        s3.get("absent")


@pytest.mark.parametrize("verb", ["get", "put", "put_if_absent"])
def test_silence_is_given_up(s3: S3Backend, proxy: FaultProxy, verb: str) -> None:
    """Fault 91."""
    proxy.plan(Rule(action=Wait(1.5)))
    with pytest.raises(TransientBackendError) as raised:
        EVERYTHING[verb](s3)
    assert raised.value.effect_unknown == (verb in WRITES)


@pytest.mark.parametrize("after_bytes", [0, 1, 500_000])
def test_an_upload_cut_short_leaves_nothing(
    s3: S3Backend, direct: S3Backend, proxy: FaultProxy, after_bytes: int
) -> None:
    """Faults 2 and 3."""
    proxy.plan(Rule(method="PUT", action=CutUpload(after_bytes)))
    with pytest.raises(TransientBackendError):
        s3.put("cut", BODY)
    with pytest.raises(ObjectNotFound):
        direct.get("cut")
    s3.put("cut", BODY)
    assert bytes(direct.get("cut")) == BODY


def test_a_lost_reply_to_a_conditional_put_is_doubt_and_then_a_loss_against_oneself(
    s3: S3Backend, direct: S3Backend, proxy: FaultProxy
) -> None:
    """Fault 9, and the reason why nothing below may send it twice."""
    proxy.plan(Rule(method="PUT", action=DropReply()))
    with pytest.raises(TransientBackendError) as raised:
        s3.put_if_absent("slot", b"mine")
    assert raised.value.effect_unknown
    assert bytes(direct.get("slot")) == b"mine"
    assert [method for method, path in proxy.requests if path.endswith("slot")] == ["PUT"]
    with pytest.raises(ObjectExists):
        s3.put_if_absent("slot", b"mine")


@pytest.mark.parametrize(
    "action",
    [DropReply(), Answer(409, "ConditionalRequestConflict"), Answer(500, "InternalError"), Answer(503, "SlowDown")],
    ids=["lost reply", "409", "500", "503"],
)
def test_put_once_finds_out_who_won(s3: S3Backend, direct: S3Backend, proxy: FaultProxy, action: object) -> None:
    """Faults 9 and 30: over the wire, with the winner known in the end."""
    proxy.plan(Rule(method="PUT", action=action, times=2))  # type: ignore[arg-type]
    assert put_once(s3, VirtualClock(), "slot", b"mine, by its nonce") == Won()
    assert bytes(direct.get("slot")) == b"mine, by its nonce"


@pytest.mark.parametrize("status", [409, 412])
def test_409_and_412_both_mean_read_it_back(s3: S3Backend, proxy: FaultProxy, status: int) -> None:
    """Fault 30."""
    proxy.plan(answers(status, "ConditionalRequestConflict" if status == 409 else "PreconditionFailed"))
    with pytest.raises(ObjectExists):
        s3.put_if_absent("slot", b"mine")


@pytest.mark.parametrize("verb", EVERYTHING)
def test_behind_the_retries_trouble_passes_unseen(s3: S3Backend, proxy: FaultProxy, verb: str) -> None:
    """Faults 89 to 92, together."""
    clock = VirtualClock()
    patient = RetryBackend(s3, clock=clock)
    if verb == "put_if_absent":
        pytest.skip("never sent twice: put_once is its retry")
    proxy.plan(
        Rule(action=Answer(503, "SlowDown", {"retry-after": "3"})),
        Rule(action=Answer(502, body=HTML)),
        Rule(action=DropReply()),
        Rule(action=Answer(500, "InternalError")),
    )
    EVERYTHING[verb](patient)
    proxy.plan()
    assert sum(clock.slept) >= 3.0, "Retry-After was waited for"
    if verb == "put":
        assert bytes(patient.get("new")) == BODY


def test_an_endpoint_that_never_answers_is_soon_believed_to_be_wrong(open_s3, s3_url: str) -> None:
    """No minutes of retries for a mistyped endpoint: one line, which names it."""
    url = s3_url.partition("?")[0] + "?endpoint_url=http://127.0.0.1:1"
    backend = RetryBackend(open_s3(url), clock=VirtualClock())
    with pytest.raises(BackendError, match=r"http://127\.0\.0\.1:1: Connection refused") as raised:
        list(backend.list(""))
    assert not isinstance(raised.value, TransientBackendError)
    assert "\n" not in str(raised.value)
