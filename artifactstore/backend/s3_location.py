"""Where a store lies in S3: ``s3://bucket/prefix?option=value&…``, parsed once.

    endpoint_url     another server than AWS; `AWS_ENDPOINT_URL_S3` and `AWS_ENDPOINT_URL` work too
    region, profile  as in `~/.aws/config`
    addressing       auto | path | virtual
    sse              AES256 | aws:kms | aws:kms:dsse: server-side encryption asked for with every object
    sse_kms_key_id   which key, for the two kms kinds
    upload_check     crc32 | md5 | sha256 | none: what guards large bodies on the way up (docs/s3.md)
    requester_pays   true: the reader's account is billed
    anonymous        true: requests are not signed (public buckets)

Credentials never stand in a URL: they come from the environment, a profile or the machine,
by the AWS conventions. A URL with a user part is refused without being printed.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from artifactstore.errors import ConfigurationError

# Access point aliases have this form too; S3 itself is the judge of names.
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", re.ASCII)
_OPTIONS: Final = (
    "endpoint_url",
    "region",
    "profile",
    "addressing",
    "sse",
    "sse_kms_key_id",
    "upload_check",
    "requester_pays",
    "anonymous",
)
_SSE: Final = ("", "AES256", "aws:kms", "aws:kms:dsse")
_ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


class UploadCheck(enum.Enum):
    """What lets the server see that a large body arrived as it was sent. Small ones are always signed and checked."""

    CRC32 = "crc32"
    MD5 = "md5"
    SHA256 = "sha256"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Location:
    """A bucket, a prefix in it, and how to talk to it. Holds no secret.

    Attributes:
        bucket: Its name.
        prefix: Empty, or text that does not end with a slash.
        endpoint_url: Empty for AWS itself, or for what the profile says.
    """

    bucket: str
    prefix: str = ""
    endpoint_url: str = ""
    region: str = ""
    profile: str = ""
    addressing: str = "auto"
    sse: str = ""
    sse_kms_key_id: str = ""
    upload_check: UploadCheck = UploadCheck.CRC32
    requester_pays: bool = False
    anonymous: bool = False

    def __post_init__(self) -> None:
        if not _BUCKET.fullmatch(self.bucket):
            raise ConfigurationError(f"{self.bucket!r} can't be a bucket")
        if self.prefix.startswith("/") or self.prefix.endswith("/") or "//" in self.prefix:
            raise ConfigurationError(f"the prefix {self.prefix!r} has an empty part")
        if any(part in (".", "..") for part in self.prefix.split("/")):
            raise ConfigurationError(f"the prefix {self.prefix!r} has a part that is only dots")
        if self.addressing not in ("auto", "path", "virtual"):
            raise ConfigurationError("addressing is auto, path or virtual")
        if self.sse not in _SSE:
            raise ConfigurationError("sse is AES256, aws:kms or aws:kms:dsse")
        if self.sse_kms_key_id and not self.sse.startswith("aws:kms"):
            raise ConfigurationError("sse_kms_key_id needs sse=aws:kms")
        if self.endpoint_url:
            _check_endpoint(self.endpoint_url)

    @property
    def url(self) -> str:
        """The one spelling of this location, for people and for records. Options at their defaults are left out."""
        options = {
            "endpoint_url": self.endpoint_url,
            "region": self.region,
            "profile": self.profile,
            "addressing": "" if self.addressing == "auto" else self.addressing,
            "sse": self.sse,
            "sse_kms_key_id": self.sse_kms_key_id,
            "upload_check": "" if self.upload_check is UploadCheck.CRC32 else self.upload_check.value,
            "requester_pays": "true" if self.requester_pays else "",
            "anonymous": "true" if self.anonymous else "",
        }
        query = urlencode({name: value for name, value in options.items() if value}, safe="/:")
        path = f"/{quote(self.prefix)}" if self.prefix else ""
        return f"s3://{self.bucket}{path}" + (f"?{query}" if query else "")


def parse_s3_url(url: str, *, environ: Mapping[str, str]) -> S3Location:
    """Read an S3 URL; what it leaves out may come from ``environ`` (`AWS_ENDPOINT_URL`, `ARTIFACTSTORE_S3_SSE`, …).

    Raises:
        ConfigurationError: It is not one. The message never holds the user part of a URL.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3":
        raise ConfigurationError("an S3 URL starts with s3://")
    if "@" in parts.netloc:
        raise ConfigurationError(
            "credentials can't stand in a store URL",
            next_step="Take them out, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile.",
        )
    if parts.fragment:
        raise ConfigurationError("an S3 URL has no #fragment; write %23 for a # in the prefix")
    options = _options(parts.query)
    return S3Location(
        bucket=parts.netloc,
        prefix=_unquote(parts.path).strip("/"),
        endpoint_url=options.get("endpoint_url", "") or _endpoint_of(environ),
        region=options.get("region", ""),
        profile=options.get("profile", ""),
        addressing=options.get("addressing", "auto"),
        sse=options.get("sse", environ.get("ARTIFACTSTORE_S3_SSE", "")),
        sse_kms_key_id=options.get("sse_kms_key_id", environ.get("ARTIFACTSTORE_S3_SSE_KMS_KEY_ID", "")),
        upload_check=_upload_check(options.get("upload_check", "crc32")),
        requester_pays=_truth(options, "requester_pays"),
        anonymous=_truth(options, "anonymous"),
    )


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            # Only the name: a mistyped secret must not be printed.
            raise ConfigurationError(f"an S3 URL has no option {name[:40]!r}: {', '.join(_OPTIONS)}")
        if name in options:
            raise ConfigurationError(f"option {name} stands twice in the URL")
        options[name] = value
    return options


def _endpoint_of(environ: Mapping[str, str]) -> str:
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return ""
    return next((environ[name] for name in _ENDPOINT_VARIABLES if environ.get(name)), "")


def _check_endpoint(endpoint_url: str) -> None:
    parts = urlsplit(endpoint_url)
    if "@" in parts.netloc:
        raise ConfigurationError("credentials can't stand in an endpoint URL")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError(f"{endpoint_url!r} is not an endpoint: http://host:port or https://host")


def _upload_check(text: str) -> UploadCheck:
    try:
        return UploadCheck(text)
    except ValueError as error:
        raise ConfigurationError("upload_check is crc32, md5, sha256 or none") from error


def _truth(options: Mapping[str, str], name: str) -> bool:
    value = options.get(name, "false")
    if value not in ("true", "false"):
        raise ConfigurationError(f"{name} is true or false")
    return value == "true"


def _unquote(path: str) -> str:
    try:
        return unquote(path, errors="strict")
    except UnicodeDecodeError as error:
        raise ConfigurationError("the prefix of an S3 URL is percent-encoded UTF-8") from error
