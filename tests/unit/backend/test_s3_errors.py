"""Whatever botocore and urllib3 raise becomes an error of ours, and the right one."""

import contextlib
import http.client
import inspect
import pickle
import socket
import ssl

import botocore.exceptions as sdk
import botocore.httpchecksum
import botocore.parsers
import pytest
import urllib3.exceptions as wire
from botocore.exceptions import ClientError

from artifactstore.backend.s3_errors import Request, map_error, retry_after_seconds
from artifactstore.errors import (
    ArtifactStoreError,
    BackendError,
    ConfigurationError,
    CorruptData,
    ObjectExists,
    ObjectNotFound,
    StoreNotFound,
    StoreOutOfSpace,
    StorePermissionDenied,
    TransientBackendError,
)

NOW = 1_800_000_000.0
ENDPOINT = "https://s3.example.test"


def request(operation: str = "get_object", *, conditional: bool = False) -> Request:
    return Request(
        operation=operation,
        key="some/key",
        where="s3://bucket/prefix/some/key",
        endpoint=ENDPOINT,
        conditional=conditional,
        byte_range=(3, 7),
        now=NOW,
    )


def refused(code: str, status: int = 400, **headers: str) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": "as planned", "StringToSign": "secret stuff"},
            "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
        },
        "GetObject",
    )


def make(kind: type[Exception]) -> Exception:
    """One of ``kind``, however it wants to be made."""
    error = kind.__new__(kind)
    Exception.__init__(error, "as planned")
    for field in ("partial", "expected", "length"):  # what the repr of some of them needs
        with contextlib.suppress(AttributeError):
            setattr(error, field, b"" if (kind.__module__, field) == ("http.client", "partial") else 1)
    if issubclass(kind, ClientError):
        error.response = {"Error": {"Code": "SomethingNew"}, "ResponseMetadata": {"HTTPStatusCode": 418}}
    return error


def sdk_exceptions() -> list[type[Exception]]:
    modules = (sdk, wire, botocore.parsers, botocore.httpchecksum, http.client, ssl, socket)
    found = {
        member
        for module in modules
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Exception) and not issubclass(member, Warning)
    }
    return sorted(found, key=lambda kind: f"{kind.__module__}.{kind.__qualname__}")


@pytest.mark.parametrize("kind", sdk_exceptions(), ids=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
def test_no_exception_of_the_sdk_is_missed(kind: type[Exception]) -> None:
    for operation in ("get_object", "put_object", ""):
        error = map_error(make(kind), request(operation))
        assert isinstance(error, ArtifactStoreError)
        assert pickle.loads(pickle.dumps(error)).what == error.what


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("NoSuchKey", 404, ObjectNotFound),
        ("NoSuchBucket", 404, StoreNotFound),
        ("InvalidBucketName", 400, StoreNotFound),
        ("404", 404, TransientBackendError),  # no S3 error in the body: not an S3 server's answer
        ("AccessDenied", 403, StorePermissionDenied),
        ("403", 403, StorePermissionDenied),
        ("InvalidAccessKeyId", 403, StorePermissionDenied),
        ("SignatureDoesNotMatch", 403, StorePermissionDenied),
        ("ExpiredToken", 400, StorePermissionDenied),
        ("SomethingNew", 403, StorePermissionDenied),
        ("SlowDown", 503, TransientBackendError),
        ("TooManyRequests", 429, TransientBackendError),
        ("InternalError", 500, TransientBackendError),
        ("502", 502, TransientBackendError),
        ("BadDigest", 400, TransientBackendError),
        ("IncompleteBody", 400, TransientBackendError),
        ("RequestTimeout", 400, TransientBackendError),
        ("OperationAborted", 409, TransientBackendError),
        ("InvalidRange", 416, CorruptData),
        ("QuotaExceeded", 403, StoreOutOfSpace),
        ("XMinioStorageFull", 507, StoreOutOfSpace),
        ("PermanentRedirect", 301, ConfigurationError),
        ("AuthorizationHeaderMalformed", 400, ConfigurationError),
        ("RequestTimeTooSkewed", 403, BackendError),
        ("NotImplemented", 501, BackendError),
        ("InvalidRequest", 400, BackendError),
        ("SomethingNew", 418, BackendError),
    ],
)
def test_codes_of_the_store_mean_what_they_mean(code: str, status: int, expected: type[Exception]) -> None:
    error = map_error(refused(code, status), request())
    assert type(error) is expected
    assert error.where


@pytest.mark.parametrize(
    ("code", "status"),
    [("PreconditionFailed", 412), ("412", 412), ("ConditionalRequestConflict", 409), ("409", 409)],
)
def test_a_conditional_put_that_loses_finds_an_object(code: str, status: int) -> None:
    error = map_error(refused(code, status), request("put_object", conditional=True))
    assert isinstance(error, ObjectExists)
    assert error.key == "some/key"
    assert not isinstance(map_error(refused(code, status), request("put_object")), ObjectExists)


def test_a_404_to_head_is_an_absent_object() -> None:
    assert isinstance(map_error(refused("404", 404), request("head_object")), ObjectNotFound)


def test_a_server_without_conditional_writes_says_so() -> None:
    error = map_error(refused("NotImplemented", 501), request("put_object", conditional=True))
    assert "If-None-Match" in str(error)


def test_a_short_object_is_named_with_its_range() -> None:
    error = map_error(refused("InvalidRange", 416), request())
    assert isinstance(error, CorruptData)
    assert (error.key, error.byte_range) == ("some/key", (3, 7))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (sdk.NoCredentialsError(), StorePermissionDenied),
        (sdk.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), StorePermissionDenied),
        (sdk.UnauthorizedSSOTokenError(), StorePermissionDenied),
        (sdk.ProfileNotFound(profile="p"), ConfigurationError),
        (sdk.ConfigParseError(path="/x", error="y"), ConfigurationError),
        (sdk.EndpointConnectionError(endpoint_url=ENDPOINT, error=OSError("refused")), TransientBackendError),
        (sdk.ConnectTimeoutError(endpoint_url=ENDPOINT), TransientBackendError),
        (sdk.ReadTimeoutError(endpoint_url=ENDPOINT), TransientBackendError),
        (sdk.ConnectionClosedError(endpoint_url=ENDPOINT), TransientBackendError),
        (sdk.ProxyConnectionError(proxy_url="http://proxy"), TransientBackendError),
        (sdk.IncompleteReadError(actual_bytes=1, expected_bytes=2), TransientBackendError),
        (sdk.SSLError(endpoint_url=ENDPOINT, error="EOF occurred"), TransientBackendError),
        (sdk.SSLError(endpoint_url=ENDPOINT, error="certificate verify failed"), ConfigurationError),
        (botocore.parsers.ResponseParserError("not XML"), TransientBackendError),
        (wire.ProtocolError("broken"), TransientBackendError),
        (wire.ReadTimeoutError(None, "/", "late"), TransientBackendError),  # type: ignore[arg-type]
        (http.client.IncompleteRead(b""), TransientBackendError),
        (ConnectionResetError(104, "Connection reset by peer"), TransientBackendError),
        (TimeoutError("timed out"), TransientBackendError),
        (RuntimeError("a bug"), BackendError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_failures_on_the_way_mean_what_they_mean(kind: Exception, expected: type[Exception]) -> None:
    assert type(map_error(kind, request())) is expected


def test_settings_that_botocore_calls_a_value_error_are_settings() -> None:
    made = Request(operation="", key="", where="s3://bucket", endpoint=ENDPOINT)
    assert isinstance(map_error(ValueError("Invalid endpoint: x"), made), ConfigurationError)


@pytest.mark.parametrize("operation", ["get_object", "head_object", "list_objects_v2", "put_object", "delete_object"])
def test_only_writes_leave_doubt(operation: str) -> None:
    error = map_error(sdk.ConnectionClosedError(endpoint_url=ENDPOINT), request(operation))
    assert isinstance(error, TransientBackendError)
    assert error.effect_unknown == (operation in ("put_object", "delete_object"))


@pytest.mark.parametrize("kind", [sdk.EndpointConnectionError, sdk.ConnectTimeoutError])
def test_what_never_connected_had_no_effect(kind: type[Exception]) -> None:
    error = map_error(kind(endpoint_url=ENDPOINT, error="no route"), request("put_object"))
    assert isinstance(error, TransientBackendError)
    assert not error.effect_unknown


def test_an_error_of_ours_comes_through_the_wrapping_of_the_sdk() -> None:
    stalled = TransientBackendError("stalled", effect_unknown=False)
    assert map_error(sdk.HTTPClientError(error=stalled), request()) is stalled


def test_clocks_are_compared_by_the_answers_date() -> None:
    """Fault 98."""
    date = "Fri, 15 Jan 2027 08:00:00 GMT"  # NOW
    behind = map_error(refused("RequestTimeTooSkewed", 403, date="Fri, 15 Jan 2027 09:00:00 GMT"), request())
    assert "this machine's clock is 3600 s behind the store's" in str(behind)
    assert "0 s" in str(map_error(refused("RequestTimeTooSkewed", 403, date=date), request()))
    assert "differs too much" in str(map_error(refused("RequestTimeTooSkewed", 403), request()))


def test_the_region_is_named() -> None:
    error = map_error(refused("PermanentRedirect", 301, **{"x-amz-bucket-region": "eu-west-3"}), request())
    assert "region eu-west-3" in str(error)
    assert "AWS_DEFAULT_REGION=eu-west-3" in str(error)


def test_what_a_server_echoes_of_a_request_is_forgotten() -> None:
    """Fault 114."""
    cause = refused("SignatureDoesNotMatch", 403)
    map_error(cause, request())
    assert "secret stuff" not in repr(vars(cause))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("9" * 400, 999_999_999.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2021 08:00:30 GMT", 0.0),
        ("Fri, 99 Jan 2021 08:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, expected: float | None) -> None:
    """Fault 89."""
    assert retry_after_seconds(text, now=NOW) == expected


def test_messages_are_one_line() -> None:
    error = map_error(sdk.HTTPClientError(error="first\nsecond\n\nthird"), request())
    assert "\n" not in str(error)
