"""S3 URLs: one spelling, no secrets, and what the environment adds."""

import pickle

import pytest

from artifactstore.backend.s3 import S3Backend
from artifactstore.backend.s3_location import S3Location, UploadCheck, parse_s3_url
from artifactstore.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket", S3Location(bucket="bucket")),
        ("s3://bucket/", S3Location(bucket="bucket")),
        ("s3://bucket/a/b/", S3Location(bucket="bucket", prefix="a/b")),
        ("s3://bucket/a%20b%25", S3Location(bucket="bucket", prefix="a b%")),
        ("s3://bucket?region=eu-west-1", S3Location(bucket="bucket", region="eu-west-1")),
        (
            "s3://bucket/p?endpoint_url=http://127.0.0.1:9000&upload_check=sha256&addressing=path&profile=minio",
            S3Location(
                bucket="bucket",
                prefix="p",
                endpoint_url="http://127.0.0.1:9000",
                upload_check=UploadCheck.SHA256,
                addressing="path",
                profile="minio",
            ),
        ),
        (
            "s3://bucket?sse=aws:kms&sse_kms_key_id=arn:aws:kms:eu-west-1:1:key/k&requester_pays=true&anonymous=true",
            S3Location(
                bucket="bucket",
                sse="aws:kms",
                sse_kms_key_id="arn:aws:kms:eu-west-1:1:key/k",
                requester_pays=True,
                anonymous=True,
            ),
        ),
    ],
)
def test_a_url_is_parsed_once_and_spelled_in_one_way(url: str, expected: S3Location) -> None:
    location = parse_s3_url(url, environ={})
    assert location == expected
    assert parse_s3_url(location.url, environ={}) == location


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///prefix",
        "s3://bad bucket",
        "http://bucket/prefix",
        "s3://bucket/a//b",
        "s3://bucket/../other",
        "s3://bucket/%2e%2e/other",
        "s3://bucket/%ff",
        "s3://bucket#fragment",
        "s3://bucket?unknown=1",
        "s3://bucket?region=a&region=b",
        "s3://bucket?sse=yes",
        "s3://bucket?sse_kms_key_id=k",
        "s3://bucket?sse=AES256&sse_kms_key_id=k",
        "s3://bucket?upload_check=blake3",
        "s3://bucket?requester_pays=1",
        "s3://bucket?addressing=auto2",
        "s3://bucket?endpoint_url=127.0.0.1:9000",
        "s3://bucket?endpoint_url=ftp://host",
        "s3://bucket?endpoint_url=http://host?x=1",
    ],
)
def test_what_is_not_such_a_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_s3_url(url, environ={})


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAKEY:canarySecret@bucket/prefix",
        "s3://canarySecret@bucket",
        "s3://bucket?endpoint_url=https://AKIAKEY:canarySecret@host",
        "s3://bucket?aws_secret_access_key=canarySecret",
        "s3://bucket?secret=canarySecret",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    """Fault 114."""
    with pytest.raises(ConfigurationError) as raised:
        parse_s3_url(url, environ={})
    assert "canarySecret" not in repr(vars(raised.value))
    assert "canarySecret" not in str(raised.value)


def test_the_endpoint_comes_from_the_url_then_from_the_environment() -> None:
    environ = {"AWS_ENDPOINT_URL": "http://all:1", "AWS_ENDPOINT_URL_S3": "http://s3:1"}
    assert parse_s3_url("s3://bucket?endpoint_url=http://url:1", environ=environ).endpoint_url == "http://url:1"
    assert parse_s3_url("s3://bucket", environ=environ).endpoint_url == "http://s3:1"
    del environ["AWS_ENDPOINT_URL_S3"]
    assert parse_s3_url("s3://bucket", environ=environ).endpoint_url == "http://all:1"
    environ["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true"
    assert parse_s3_url("s3://bucket", environ=environ).endpoint_url == ""


def test_encryption_may_come_from_the_environment() -> None:
    environ = {"ARTIFACTSTORE_S3_SSE": "aws:kms", "ARTIFACTSTORE_S3_SSE_KMS_KEY_ID": "k"}
    location = parse_s3_url("s3://bucket", environ=environ)
    assert (location.sse, location.sse_kms_key_id) == ("aws:kms", "k")


def test_a_backend_opens_without_a_request_and_survives_pickling() -> None:
    backend = S3Backend.from_url("s3://bucket/prefix?endpoint_url=http://127.0.0.1:1", environ={})
    again = pickle.loads(pickle.dumps(backend))
    assert again.url == backend.url == "s3://bucket/prefix?endpoint_url=http://127.0.0.1:1"
    assert backend.url in repr(backend)
    assert backend.has_put_if_absent
    backend.close()
    backend.close()
