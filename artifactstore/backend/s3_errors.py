"""What S3, botocore and urllib3 can say, as the errors of `artifactstore.errors`.

Every exception is mapped (a test walks through all that the installed SDK has). Codes of
the store decide first, its HTTP status second; "not there" is believed only from an S3
error code, never from a bare 404 of something in between.
"""

import email.utils
import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import botocore.exceptions as sdk
import urllib3.exceptions as wire
from botocore.parsers import ResponseParserError

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


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_KEYS: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId"})
_REFUSED: Final = _codes(
    "AccessDenied AllAccessDisabled AccountProblem Forbidden UnauthorizedAccess InvalidPayer NotSignedUp "
    "InvalidSecurity RequestExpired AccessForbidden Unauthorized KMS.AccessDeniedException 401 403"
)
_REGION: Final = _codes(
    "PermanentRedirect TemporaryRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException "
    "IncorrectEndpoint 301 302 307 308"
)
_BUSY: Final = _codes(
    "SlowDown SlowDownRead SlowDownWrite ServiceUnavailable Throttling ThrottlingException Throttled TooManyRequests "
    "RequestLimitExceeded RequestThrottled BandwidthLimitExceeded ServerBusy Busy 429 503"
)
# The body was cut short or damaged on its way up and refused: nothing is stored, sending it again is right.
_DAMAGED_UPLOAD: Final = _codes(
    "BadDigest XAmzContentSHA256Mismatch XAmzContentChecksumMismatch IncompleteBody RequestTimeout"
)
_FULL: Final = _codes(
    "QuotaExceeded XMinioStorageFull XMinioAdminBucketQuotaExceeded InsufficientStorage StorageFull 507"
)
_LOST: Final = _codes(
    "PreconditionFailed ConditionalRequestConflict 409 412"
)
_NO_BUCKET: Final = frozenset({"NoSuchBucket", "InvalidBucketName", "NoSuchAccessPoint"})

_CREDENTIALS: Final = (
    sdk.NoCredentialsError,
    sdk.PartialCredentialsError,
    sdk.CredentialRetrievalError,
    sdk.MetadataRetrievalError,
    sdk.NoAuthTokenError,
    sdk.TokenRetrievalError,
    sdk.SSOError,
    sdk.LoginError,
    sdk.RefreshWithMFAUnsupportedError,
    sdk.UnknownCredentialError,
    sdk.UnknownTokenProviderError,
)
_UNREACHED: Final = (sdk.EndpointConnectionError, sdk.ConnectTimeoutError, sdk.ProxyConnectionError)
_SETTINGS: Final = (
    sdk.ProfileNotFound,
    sdk.ConfigNotFound,
    sdk.ConfigParseError,
    sdk.InvalidConfigError,
    sdk.BaseEndpointResolverError,
    sdk.EndpointProviderError,
    sdk.InvalidEndpointConfigurationError,
    sdk.InvalidProxiesConfigError,
    sdk.InvalidS3AddressingStyleError,
    sdk.InvalidS3UsEast1RegionalEndpointConfigError,
    sdk.InvalidSTSRegionalEndpointsConfigError,
    sdk.InvalidRetryConfigurationError,
    sdk.InvalidDefaultsMode,
    sdk.InvalidChecksumConfigError,
    sdk.InvalidDNSNameError,
    sdk.InvalidHostLabelError,
    sdk.InvalidIMDSEndpointError,
    sdk.InvalidIMDSEndpointModeError,
    sdk.UnsupportedS3ConfigurationError,
    sdk.UnsupportedS3ArnError,
    sdk.UnsupportedS3AccesspointConfigurationError,
    sdk.UnsupportedSignatureVersionError,
    sdk.UnknownSignatureVersionError,
    sdk.UnknownRegionError,
    sdk.MissingDependencyException,
    sdk.ValidationError,
)
# The connection broke, stalled or carried something that is not S3: it may work next time.
_BROKEN: Final = (
    sdk.ConnectionError,
    sdk.HTTPClientError,
    sdk.IncompleteReadError,
    sdk.ChecksumError,
    sdk.FlexibleChecksumError,
    wire.HTTPError,
    http.client.HTTPException,
    OSError,
)
NO_CREDENTIALS_NEXT: Final = (
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (docs/s3.md lists every way)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked, for the message and for what the answer means.

    Attributes:
        operation: The SDK's name of it, `put_object`.
        key: As the caller knows it; empty for listings.
        where: The full place, for people.
        endpoint: The server, for people.
        conditional: Whether it was a put-if-absent.
        byte_range: What part was asked for, half-open.
        now: This machine's clock, in seconds since the epoch.
    """

    operation: str
    key: str
    where: str
    endpoint: str
    conditional: bool = False
    byte_range: tuple[int, int] | None = None
    now: float = 0.0

    @property
    def writes(self) -> bool:
        return self.operation in ("put_object", "delete_object")


def map_error(error: Exception, request: Request) -> ArtifactStoreError:
    """``error``, whatever it is, as one of ours. The caller raises it ``from error``."""
    if isinstance(error, ArtifactStoreError):
        return error
    if isinstance(error, sdk.ClientError):
        return _refusal(error, request)
    inner = _cause(error)
    if isinstance(inner, ArtifactStoreError):  # raised by our own reader or sender, wrapped on its way up
        return inner
    if isinstance(error, sdk.SSLError | wire.SSLError):
        return _ssl(error, request)
    if isinstance(error, _CREDENTIALS):
        return StorePermissionDenied(
            f"no usable credentials: {_text(error)}", where=request.endpoint, next_step=NO_CREDENTIALS_NEXT
        )
    if isinstance(error, _UNREACHED):
        return TransientBackendError(
            f"can't reach {request.endpoint}: {_reason(error)}", where=request.where, effect_unknown=False
        )
    if isinstance(error, _SETTINGS) or (isinstance(error, ValueError) and not request.operation):
        return ConfigurationError(f"S3 settings: {_text(error)}", where=request.endpoint)
    if isinstance(error, ResponseParserError):
        return not_s3(request)
    if isinstance(error, _BROKEN):
        return TransientBackendError(
            f"the connection to {request.endpoint} failed: {_reason(error)}",
            where=request.where,
            effect_unknown=request.writes,
        )
    return BackendError(f"{request.operation or 'S3'}: {_text(error)}", where=request.where)


def not_s3(request: Request) -> TransientBackendError:
    """Something answered that is not S3: a proxy's or a captive portal's page."""
    return TransientBackendError(
        f"the answer to {request.operation} did not come from an S3 server (a proxy, a login page?)",
        where=request.where,
        effect_unknown=request.writes,
    )


def _refusal(error: sdk.ClientError, request: Request) -> ArtifactStoreError:
    details = error.response.get("Error", {})
    code = str(details.get("Code", ""))
    metadata = error.response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0) or 0)
    headers = {str(name).lower(): str(value) for name, value in metadata.get("HTTPHeaders", {}).items()}
    message = str(details.get("Message") or "")[:300]
    strip_secrets(error)
    said = f"{code}: {message}" if message and message != code else code
    mapped = _by_meaning(code, status, request)
    if mapped is not None:
        return mapped
    if code == "RequestTimeTooSkewed":
        return _skewed(headers, request)
    if code in EXPIRED:
        return StorePermissionDenied(
            "the S3 credentials have expired",
            where=request.where,
            data_safe="Nothing is lost: what was sent stays.",
            next_step="Get fresh credentials, then run the same command again: it sends only what is missing.",
        )
    if code in _KEYS:
        return StorePermissionDenied(
            f"the store does not accept these credentials ({said})",
            where=request.endpoint,
            next_step="Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, the profile, and that they are of this server.",
        )
    if code in _REGION:
        return _elsewhere(said, headers, request)
    return _by_kind(code, status, said, headers, request)


def _by_meaning(code: str, status: int, request: Request) -> ArtifactStoreError | None:
    """The answers that are results rather than failures."""
    if request.conditional and (code in _LOST or status in (409, 412)):
        return ObjectExists(request.key, where=request.where)
    if code == "NoSuchKey" or (code == "404" and request.operation == "head_object"):
        return ObjectNotFound(request.key, where=request.where)
    if code in _NO_BUCKET:
        return StoreNotFound(
            "there is no such bucket",
            where=f"{request.where}, at {request.endpoint}",
            next_step="Check the bucket's name and the endpoint, or make the bucket first.",
        )
    if code == "InvalidRange" or status == 416:
        return too_short(request, total="ends before that")
    return None


def too_short(request: Request, *, total: str) -> CorruptData:
    """A range was asked for that the object does not have."""
    return CorruptData(
        f"the object {total}", key=request.key, byte_range=request.byte_range, where=request.where
    )


def _by_kind(
    code: str, status: int, said: str, headers: Mapping[str, str], request: Request
) -> ArtifactStoreError:
    if code in _FULL or status == 507:
        return StoreOutOfSpace(f"the store is full ({said})", where=request.where)
    if code in _REFUSED or (status in (401, 403) and code not in _BUSY):
        return StorePermissionDenied(
            f"{request.operation} is not allowed with these credentials ({said})", where=request.where
        )
    if code in _BUSY or status in (429, 503):
        return TransientBackendError(
            f"the store is busy ({said})",
            where=request.where,
            retry_after_seconds=retry_after_seconds(headers.get("retry-after", ""), now=request.now),
            effect_unknown=False,
        )
    if code in _DAMAGED_UPLOAD:
        return TransientBackendError(
            f"the store refused a damaged upload ({said})", where=request.where, effect_unknown=False
        )
    if code == "NotImplemented" or status == 501:
        feature = "conditional writes (If-None-Match)" if request.conditional else request.operation
        return BackendError(f"this server does not know {feature} ({said})", where=request.where)
    if status >= 500 or code in ("OperationAborted", "InternalError"):
        return TransientBackendError(
            f"the store failed ({said})",
            where=request.where,
            retry_after_seconds=retry_after_seconds(headers.get("retry-after", ""), now=request.now),
            effect_unknown=request.writes,
        )
    if code.isdigit() and code == str(status):  # no S3 error code in the body: not an S3 server's answer
        if request.operation != "head_object":  # whose errors have no body anywhere
            return not_s3(request)
        return BackendError(f"the store refused head_object (HTTP {status})", where=request.where)
    return BackendError(f"the store refused {request.operation} ({said})", where=request.where)


def _elsewhere(said: str, headers: Mapping[str, str], request: Request) -> ArtifactStoreError:
    region = headers.get("x-amz-bucket-region", "")
    hint = f"the bucket is in region {region}" if region else "the bucket is in another region or at another endpoint"
    return ConfigurationError(
        f"{hint} ({said})",
        where=request.where,
        next_step=f"Set AWS_DEFAULT_REGION{'=' + region if region else ''}, or ?region= in the store URL.",
    )


def _skewed(headers: Mapping[str, str], request: Request) -> ArtifactStoreError:
    theirs = _http_date(headers.get("date", ""))
    if theirs is None:
        difference = "differs too much from the store's"
    else:
        ahead = request.now - theirs
        difference = f"is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the store's"
    return BackendError(
        f"this machine's clock {difference}, so the store refuses its signatures",
        where=request.endpoint,
        next_step="Set this machine's clock (or the server's, if that is the wrong one), then run the command again.",
    )


def _ssl(error: Exception, request: Request) -> ArtifactStoreError:
    if "certificate" in str(error).lower():
        return ConfigurationError(
            f"the certificate of {request.endpoint} is not trusted: {_reason(error)}",
            where=request.endpoint,
            next_step="Set AWS_CA_BUNDLE to the file with the authority's certificate.",
        )
    return TransientBackendError(
        f"TLS to {request.endpoint} failed: {_reason(error)}", where=request.where, effect_unknown=request.writes
    )


def retry_after_seconds(text: str, *, now: float) -> float | None:
    """A `Retry-After` header: seconds, or a date. None where there is none that makes sense."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    moment = _http_date(text)
    return None if moment is None else max(0.0, moment - now)


def strip_secrets(error: sdk.ClientError) -> None:
    """Take out of an SDK error what the server echoes of the request: signatures, and with them session tokens."""
    details = error.response.get("Error", {})
    error.response["Error"] = {name: details[name] for name in ("Code", "Message") if name in details}


def _http_date(text: str) -> float | None:
    if not text:
        return None
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _cause(error: Exception) -> object:
    kwargs = getattr(error, "kwargs", None)
    return kwargs.get("error") if isinstance(kwargs, dict) else None


def _reason(error: Exception) -> str:
    """The innermost plain reason: `Connection refused`, not five layers of wrapping."""
    current: object = error
    for _ in range(8):
        inner = _cause(current) if isinstance(current, Exception) else None
        inner = inner or getattr(current, "reason", None) or getattr(current, "__cause__", None)
        if not isinstance(inner, Exception) and isinstance(current, wire.ProtocolError) and len(current.args) > 1:
            inner = current.args[1]
        if not isinstance(inner, Exception):
            break
        current = inner
    if isinstance(current, OSError) and current.strerror:
        return current.strerror
    return _text(current) if isinstance(current, Exception) else "no reason given"


def _text(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:300]
