"""The short way to S3: the same requests and the same answers as botocore's, for a part of the time."""

import datetime
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import botocore.session
import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError

from artifactstore.backend.s3_direct import DirectReads, parse_time

ODD = "deep/a b+c~d_é%/@x"
LISTING = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name><Prefix>p%2Fa+b</Prefix>
<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>t+1</NextContinuationToken>
<Contents><Key>p%2Fa+b%2Bc</Key><LastModified>2026-11-21T18:14:25.123Z</LastModified><Size>12</Size></Contents>
<CommonPrefixes><Prefix>p%2Fa+b%2F</Prefix></CommonPrefixes></ListBucketResult>"""
NO_KEY = "<Error><Code>NoSuchKey</Code><Message>gone</Message><RequestId>r</RequestId></Error>"


class Raw:
    """A response's body, as urllib3 gives it."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def read(self, *_: object) -> bytes:
        return self.body

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.body


@dataclass
class Wire:
    """Stands where requests leave: remembers them, and answers as told."""

    status: int = 200
    body: str = "content"
    headers: dict[str, str] = field(default_factory=dict)
    sent: list[Any] = field(default_factory=list)

    def __call__(self, *, request: Any, **_: object) -> AWSResponse:
        self.sent.append(request)
        headers = {"content-length": str(len(self.body)), "etag": '"e"', **self.headers}
        response = AWSResponse(request.url, self.status, headers, Raw(self.body.encode()))
        if not request.stream_output or self.status >= 300:
            response._content = self.body.encode()
        return response


@dataclass
class World:
    """A client whose requests end at `wire`."""

    config: Config = field(default_factory=Config)
    endpoint_url: str | None = "http://s3.example.test:9000"
    bucket: str = "bucket"

    def __post_init__(self) -> None:
        self.wire = Wire()
        self.client = botocore.session.Session().create_client(
            "s3",
            region_name="eu-west-1",
            endpoint_url=self.endpoint_url,
            aws_access_key_id="key",
            aws_secret_access_key="not a secret",
            config=self.config.merge(
                Config(
                    retries={"total_max_attempts": 1},
                    user_agent="us",
                    response_checksum_validation="when_required",
                )
            ),
        )
        self.client.meta.events.register("before-send.s3", self.wire)
        self.direct = DirectReads(self.client, self.wire)

    def long_way(self, operation: str, **parameters: Any) -> Any:
        answer = getattr(self.client, operation)(Bucket=self.bucket, **parameters)
        self.direct.learn(operation, {"Bucket": self.bucket, **parameters})
        return answer

    def short_way(self, operation: str, **parameters: Any) -> Any:
        return self.direct.call(operation, {"Bucket": self.bucket, **parameters})

    def learned(self) -> "World":
        self.long_way("get_object", Key="store.json")
        self.wire.body = LISTING
        self.long_way("list_objects_v2", Prefix="x")
        self.wire.body = "content"
        self.wire.sent.clear()
        return self


@pytest.fixture
def world() -> World:
    return World().learned()


KINDS: dict[str, Callable[[], World]] = {
    "path style": World,
    "virtual host": lambda: World(endpoint_url=None, config=Config(s3={"addressing_style": "virtual"})),
    "dots in the bucket": lambda: World(endpoint_url=None, bucket="a.bucket"),
    "anonymous": lambda: World(config=Config(signature_version=UNSIGNED)),
    "https": lambda: World(endpoint_url="https://s3.example.test", config=Config(s3={"payload_signing_enabled": True})),
}
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "object": ("get_object", {"Key": "names/@a/v/9999999999999998-1"}),
    "odd key": ("get_object", {"Key": ODD}),
    "range": ("get_object", {"Key": "k", "Range": "bytes=3-9"}),
    "requester pays": ("get_object", {"Key": "k", "RequestPayer": "requester"}),
    "listing": ("list_objects_v2", {"Prefix": "p/a b"}),
    "odd listing": ("list_objects_v2", {"Prefix": ODD, "StartAfter": f"{ODD}0", "MaxKeys": 3}),
    "level": ("list_objects_v2", {"Prefix": "", "Delimiter": "/", "ContinuationToken": "a+b/c="}),
    "paying listing": ("list_objects_v2", {"Prefix": "p", "RequestPayer": "requester"}),
}


@pytest.fixture(scope="module", params=KINDS)
def any_world(request: pytest.FixtureRequest) -> tuple[str, World]:
    """A world of each kind; made once, as it takes long."""
    return request.param, KINDS[request.param]().learned()


@pytest.mark.parametrize("name", REQUESTS)
def test_the_request_is_the_one_that_botocore_would_send(any_world: tuple[str, World], name: str) -> None:
    kind, world = any_world
    world.wire.sent.clear()
    operation, parameters = REQUESTS[name]
    world.wire.body = LISTING if operation == "list_objects_v2" else "content"
    world.long_way(operation, **parameters)
    world.short_way(operation, **parameters)
    expected, sent = world.wire.sent
    assert (sent.method, sent.stream_output) == ("GET", operation == "get_object")
    assert sorted(sent.url.partition("?")[2].split("&")) == sorted(expected.url.partition("?")[2].split("&"))
    assert sent.url.partition("?")[0] == expected.url.partition("?")[0]
    assert headers_of(sent) == headers_of(expected)
    assert ("Authorization" in sent.headers) == (kind != "anonymous")


def headers_of(request: Any) -> dict[str, str]:
    """Without what is of one moment, and without what botocore notes about its own retries."""
    left_out = {"amz-sdk-invocation-id", "amz-sdk-request", "X-Amz-Date", "Authorization"}
    return {
        name: value.decode() if isinstance(value, bytes) else value
        for name, value in request.headers.items()
        if name not in left_out
    }


def test_an_object_comes_with_the_fields_that_are_looked_at(world: World) -> None:
    world.wire.headers = {"content-range": "bytes 3-9/100"}
    world.wire.status = 206
    expected = world.long_way("get_object", Key="k", Range="bytes=3-9")
    answer = world.short_way("get_object", Key="k", Range="bytes=3-9")
    for name in ("ETag", "ContentLength", "ContentRange"):
        assert answer[name] == expected[name]
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert answer["Body"]._raw_stream.read() == b"content"


def test_what_an_answer_lacks_is_missing(world: World) -> None:
    world.wire.headers = {"content-length": "many", "etag": ""}
    assert "ContentLength" not in world.short_way("get_object", Key="k")


def test_a_page_is_the_one_that_botocore_reads(world: World) -> None:
    world.wire.body = LISTING
    expected = world.long_way("list_objects_v2", Prefix="p/a b")
    page = world.short_way("list_objects_v2", Prefix="p/a b")
    for name in ("Name", "Prefix", "IsTruncated", "NextContinuationToken", "CommonPrefixes"):
        assert page[name] == expected[name]
    (row,) = page["Contents"]
    assert row == {name: expected["Contents"][0][name] for name in ("Key", "Size", "LastModified")}
    assert row["Key"] == "p/a b+c"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "<html/>",
        "<ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
        LISTING.replace("<Size>12", "<Size>twelve"),
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><html>&b;</html>',
    ],
)
def test_what_is_no_listing_is_no_empty_one(world: World, body: str) -> None:
    world.wire.body = body
    assert "IsTruncated" not in world.short_way("list_objects_v2", Prefix="p")
    assert len(world.wire.sent) == 1


@pytest.mark.parametrize("operation", ["get_object", "list_objects_v2"])
@pytest.mark.parametrize(("status", "code"), [(404, "NoSuchKey"), (403, "AccessDenied"), (503, "SlowDown")])
def test_a_refusal_is_the_error_that_botocore_makes_of_it(
    world: World, operation: str, status: int, code: str
) -> None:
    world.wire.status, world.wire.body = status, NO_KEY.replace("NoSuchKey", code)
    parameters = {"Key": "k"} if operation == "get_object" else {"Prefix": "k"}
    with pytest.raises(ClientError) as expected:
        world.long_way(operation, **parameters)
    with pytest.raises(ClientError) as caught:
        world.short_way(operation, **parameters)
    assert len(world.wire.sent) == 2
    assert caught.value.operation_name == expected.value.operation_name
    assert caught.value.response["Error"] == expected.value.response["Error"]
    assert json.dumps(caught.value.response["ResponseMetadata"]["HTTPStatusCode"]) == str(status)


@pytest.mark.parametrize("status", [301, 307, 400])
def test_a_redirect_is_left_to_botocore(world: World, status: int) -> None:
    world.wire.status, world.wire.body = status, NO_KEY
    assert world.short_way("get_object", Key="k") is None


def test_nothing_is_known_before_botocore_has_shown_it() -> None:
    world = World()
    assert world.short_way("get_object", Key="k") is None
    world.wire.status = 404
    with pytest.raises(ClientError):
        world.client.get_object(Bucket="bucket", Key="k")
    assert world.short_way("get_object", Key="k") is None
    assert world.short_way("list_objects_v2", Prefix="k") is None


def test_requests_of_another_form_are_left_to_botocore(world: World) -> None:
    assert world.short_way("get_object", Key="k", VersionId="v") is None
    assert world.short_way("head_object", Key="k") is None


def test_an_example_that_is_not_understood_is_not_followed() -> None:
    world = World()
    world.client.get_object(Bucket="bucket", Key="one")
    world.direct.learn("get_object", {"Bucket": "bucket", "Key": "another"})
    assert world.short_way("get_object", Key="k") is None
    world.long_way("get_object", Key="k")
    assert world.short_way("get_object", Key="k") is None


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("2026-11-21T18:14:25.000Z", 25),
        ("Sat, 21 Nov 2026 18:14:25 GMT", 25),
        ("1795284865", 25),
    ],
)
def test_times_are_read_as_botocore_reads_them(text: str, second: int) -> None:
    assert parse_time(text) == datetime.datetime(2026, 11, 21, 18, 14, second, tzinfo=datetime.UTC)
