"""S3, and every server that speaks it: MinIO, Ceph, SeaweedFS, RustFS, … (docs/s3.md).

Five calls are enough: `put_object`, `get_object`, `head_object`, `list_objects_v2`,
`delete_object`, on botocore's client, which is boto3's without the transfer manager. Each
object is one plain PUT. Nothing is retried here; `wrappers.retry` does that, for it knows
which requests may be sent twice.
"""

import base64
import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote_plus

from botocore.exceptions import ClientError

from artifactstore.backend.protocol import (
    MAX_OBJECT_KEY_BYTES,
    CommonPrefix,
    ObjectInfo,
    check_level_prefix,
    check_object_key,
    check_object_prefix,
    is_object_key,
)
from artifactstore.backend.s3_errors import EXPIRED, Request, map_error, not_s3, too_short
from artifactstore.backend.s3_location import S3Location, UploadCheck, parse_s3_url
from artifactstore.backend.s3_transport import (
    SMALL_BODY_BYTES,
    Body,
    ClientSlot,
    Deadlines,
    Progress,
    read_exactly,
)
from artifactstore.clock import SYSTEM_CLOCK, Clock
from artifactstore.digest import Buffer
from artifactstore.errors import (
    ArtifactStoreError,
    BackendError,
    ObjectNotFound,
    StorePermissionDenied,
    TransientBackendError,
)

_FIRST_CONTACTS: Final = 3
_AWS: Final = "AWS S3, or the endpoint of the profile"


class S3Backend:
    """One prefix of a bucket.

    Picklable and printable: it holds no credentials, the SDK finds them in each process anew.

    Args:
        location: Where.
        max_connections: Connections kept open; as many requests can run at once.
        deadlines: How long a request may go without progress.
    """

    def __init__(
        self,
        location: S3Location,
        *,
        max_connections: int = 16,
        deadlines: Deadlines | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._location = location
        self._max_connections = max_connections
        self._deadlines = deadlines or Deadlines()
        self._clock = clock
        self._root = f"{location.prefix}/" if location.prefix else ""
        self._clients = ClientSlot(location, max_connections=max_connections, deadlines=self._deadlines, clock=clock)
        self._write_options = _write_options(location)
        self._common: dict[str, Any] = {"RequestPayer": "requester"} if location.requester_pays else {}
        self._has_answered = False
        self._failed_contacts = 0

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        max_connections: int = 16,
        clock: Clock = SYSTEM_CLOCK,
        environ: Mapping[str, str] = os.environ,
    ) -> "S3Backend":
        """The backend at ``s3://bucket/prefix?…``. No request is sent.

        Raises:
            ConfigurationError: Not such a URL.
        """
        return cls(parse_s3_url(url, environ=environ), max_connections=max_connections, clock=clock)

    def __repr__(self) -> str:
        return f"S3Backend({self.url!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self._location, self._max_connections, self._deadlines, self._clock)

    @property
    def url(self) -> str:
        return self._location.url

    @property
    def has_put_if_absent(self) -> bool:
        return True

    def get(self, key: str) -> Buffer:
        request = self._request("get_object", key)
        answer = self._call(request, Key=self._full(key))
        raw = self._object_body(answer, request, status=200)
        return read_exactly(raw, int(answer["ContentLength"]), self._progress(request), where=request.where)

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        if start < 0 or length <= 0:
            raise ValueError(f"not a range: {length} bytes from {start}")
        request = replace(self._request("get_object", key), byte_range=(start, start + length))
        last = start + length - 1
        answer = self._call(request, Key=self._full(key), Range=f"bytes={start}-{last}")
        raw = self._object_body(answer, request, status=206)
        said = str(answer.get("ContentRange", ""))
        if not said.startswith(f"bytes {start}-{last}/"):
            raw.close()
            raise _wrong_range(said, request)
        if answer["ContentLength"] != length:
            raw.close()
            raise not_s3(request)
        return read_exactly(raw, length, self._progress(request), where=request.where)

    def put(self, key: str, body: Buffer) -> None:
        self._put(self._request("put_object", key), body, {})

    def put_if_absent(self, key: str, body: Buffer) -> None:
        self._put(self._request("put_object", key, conditional=True), body, {"IfNoneMatch": "*"})

    def head(self, key: str) -> ObjectInfo:
        request = self._request("head_object", key)
        try:
            answer = self._call(request, Key=self._full(key))
        except ObjectNotFound:
            if not self._has_answered:
                self._ask_why()
            raise
        except TransientBackendError:
            raise
        except BackendError:
            self._ask_why()
            raise
        if "LastModified" not in answer or "ContentLength" not in answer:
            raise not_s3(request)
        return ObjectInfo(
            key=key, size_bytes=answer["ContentLength"], modified=answer["LastModified"].timestamp()
        )

    def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None) -> Iterator[ObjectInfo]:
        check_object_prefix(prefix)
        last = ""
        for page in self._pages(prefix, start_after=start_after, page_size=page_size):
            for row in page.get("Contents", ()):
                info = self._info(row, prefix)
                self._check_order(last, info.key)
                last = info.key
                if is_object_key(info.key):
                    yield info

    def list_level(self, prefix: str) -> Iterator[ObjectInfo | CommonPrefix]:
        check_level_prefix(prefix)
        last = ""
        for page in self._pages(prefix, delimiter="/"):
            level: list[tuple[str, ObjectInfo | CommonPrefix]] = []
            for row in page.get("Contents", ()):
                info = self._info(row, prefix)
                level.append((info.key, info))
            for common in page.get("CommonPrefixes", ()):
                text = self._relative(common["Prefix"], prefix)
                level.append((text, CommonPrefix(text)))
            for key, item in sorted(level, key=lambda pair: pair[0]):
                self._check_order(last, key)
                last = key
                if is_object_key(key.removesuffix("/") if isinstance(item, CommonPrefix) else key):
                    yield item

    def delete(self, key: str) -> None:
        try:
            self._call(self._request("delete_object", key), Key=self._full(key))
        except ObjectNotFound:
            return

    def close(self) -> None:
        self._clients.close()

    def checks_uploads(self, key: str) -> bool:
        """Whether the server refuses a large body that was damaged on its way. Leaves nothing under ``key``.

        For `doctor`: old servers ignore checksums they do not know (docs/s3.md, "What protects the bytes").
        """
        if self._location.upload_check is not UploadCheck.CRC32:
            return self._location.upload_check is not UploadCheck.NONE
        refused = not self._takes(key, zlib.crc32(b"right") ^ 1)
        accepted = self._takes(key, zlib.crc32(b"right"))
        self.delete(key)
        return refused and accepted

    def _takes(self, key: str, checksum: int) -> bool:
        said = base64.b64encode(checksum.to_bytes(4, "big")).decode()
        request = self._request("put_object", key)
        try:
            self._call(request, Key=self._full(key), Body=b"right", ChecksumCRC32=said, **self._write_options)
        except StorePermissionDenied:
            raise
        except BackendError:
            return False
        return True

    def _put(self, request: Request, body: Buffer, condition: Mapping[str, str]) -> None:
        answer = self._call(
            request,
            Key=self._full(request.key),
            Body=_sendable(body),
            **condition,
            **_checksum(body, self._location.upload_check),
            **self._write_options,
        )
        if not answer.get("ETag"):
            raise not_s3(request)

    def _pages(
        self, prefix: str, *, start_after: str = "", page_size: int | None = None, delimiter: str = ""
    ) -> Iterator[Mapping[str, Any]]:
        request = self._request("list_objects_v2", prefix)
        asked: dict[str, Any] = {"Prefix": self._root + prefix}
        if delimiter:
            asked["Delimiter"] = delimiter
        if page_size is not None:
            asked["MaxKeys"] = min(max(page_size, 1), 1000)
        if start_after:
            asked["StartAfter"] = self._root + start_after
        token = ""
        while True:
            page = self._call(request, **asked, **({"ContinuationToken": token} if token else {}))
            if not _is_listing_of(page, asked["Prefix"]):
                raise not_s3(request)
            yield page
            if not page["IsTruncated"]:
                return
            following = page.get("NextContinuationToken", "")
            if not following or following == token:
                raise BackendError("the listing stops in the middle without saying how to go on", where=request.where)
            token = following

    def _call(self, request: Request, **parameters: Any) -> Mapping[str, Any]:
        client = self._client(request)
        try:
            answer = self._send(client, request, parameters)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in EXPIRED:
                raise map_error(error, request) from error
            # Refused for its signature, so without effect: read the credentials again, once.
            self._clients.renew(client)
            answer = self._again(request, parameters)
        except Exception as error:  # all that an SDK can raise, as the one error that our callers know
            raise self._unanswered(map_error(error, request)) from error
        self._has_answered = True
        return answer

    def _unanswered(self, error: ArtifactStoreError) -> ArtifactStoreError:
        """An endpoint that never answered is soon believed to be a wrong one: no minutes of retries."""
        if self._has_answered or not isinstance(error, TransientBackendError):
            return error
        self._failed_contacts += 1
        if self._failed_contacts < _FIRST_CONTACTS:
            return error
        return BackendError(
            error.what,
            where=error.where,
            next_step="Check the endpoint (AWS_ENDPOINT_URL, endpoint_url=) and the network, then try again.",
        )

    def _again(self, request: Request, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        client = self._client(request)
        try:
            return self._send(client, request, parameters)
        except Exception as error:  # as in `_call`
            raise map_error(error, request) from error

    def _send(self, client: Any, request: Request, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        given = {"Bucket": self._location.bucket, **self._common, **parameters}
        direct = self._clients.direct()
        short = direct.call(request.operation, given) if direct is not None else None
        if short is not None:
            return short
        answer: Mapping[str, Any] = getattr(client, request.operation)(**given)
        if direct is not None:
            direct.learn(request.operation, given)
        return answer

    def _client(self, request: Request) -> Any:
        try:
            return self._clients.client()
        except Exception as error:  # settings that botocore refuses, ValueError among them
            raise map_error(error, replace(request, operation="")) from error

    def _ask_why(self) -> None:
        """An error to HEAD has no body: "no such bucket" and "no such object", or all reasons for 400, look alike.

        Raises:
            StoreNotFound, StorePermissionDenied, …: What a listing of next to nothing says instead.
        """
        self._call(self._request("list_objects_v2", ""), Prefix=f"{self._root}doctor/", MaxKeys=1)

    def _object_body(self, answer: Mapping[str, Any], request: Request, *, status: int) -> Any:
        """The raw response of an object's body, once the headers are those of an S3 object."""
        raw = answer["Body"]._raw_stream
        got = answer["ResponseMetadata"]["HTTPStatusCode"]
        if "ETag" not in answer or "ContentLength" not in answer:
            raw.close()
            raise not_s3(request)
        if got != status:
            raw.close()
            raise BackendError(
                f"asked for {'a range' if status == 206 else 'an object'}, answered with HTTP {got}: "
                "something between here and the store ignores Range",
                where=request.where,
            )
        return raw

    def _progress(self, request: Request) -> Progress:
        return Progress(self._clock, self._deadlines, where=request.where)

    def _request(self, operation: str, key: str, *, conditional: bool = False) -> Request:
        if operation != "list_objects_v2":
            check_object_key(key)
        return Request(
            operation=operation,
            key=key,
            where=f"s3://{self._location.bucket}/{self._full(key)}",
            endpoint=self._location.endpoint_url or _AWS,
            conditional=conditional,
            now=self._clock.now(),
        )

    def _full(self, key: str) -> str:
        full = self._root + key
        if len(full.encode()) > MAX_OBJECT_KEY_BYTES:
            raise BackendError(f"with its prefix, the key is over {MAX_OBJECT_KEY_BYTES} bytes", where=self.url)
        return full

    def _info(self, row: Mapping[str, Any], prefix: str) -> ObjectInfo:
        return ObjectInfo(
            key=self._relative(row["Key"], prefix),
            size_bytes=row["Size"],
            modified=row["LastModified"].timestamp(),
        )

    def _relative(self, full: str, prefix: str) -> str:
        if not full.startswith(self._root + prefix):
            raise BackendError(f"a listing of {prefix!r} names {full!r}", where=self.url)
        return full[len(self._root) :]

    def _check_order(self, last: str, key: str) -> None:
        # By code point, which is the byte order of UTF-8.
        if last and key <= last:
            raise BackendError(
                f"the bucket does not list in byte order ({key!r} came after {last!r})",
                where=self.url,
                next_step="Use a general purpose bucket: one whose listings are not sorted can't hold a store.",
            )


def _reopen(location: S3Location, max_connections: int, deadlines: Deadlines, clock: Clock) -> S3Backend:
    return S3Backend(location, max_connections=max_connections, deadlines=deadlines, clock=clock)


def _write_options(location: S3Location) -> dict[str, str]:
    options = {"ServerSideEncryption": location.sse, "SSEKMSKeyId": location.sse_kms_key_id}
    return {name: value for name, value in options.items() if value}


def _sendable(body: Buffer) -> bytes | Body:
    return bytes(body) if len(body) <= SMALL_BODY_BYTES else Body(body)


def _checksum(body: Buffer, check: UploadCheck) -> dict[str, str]:
    if check is UploadCheck.NONE:
        return {}
    if len(body) <= SMALL_BODY_BYTES or check is UploadCheck.MD5:
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        return {"ContentMD5": base64.b64encode(digest).decode()}
    if check is UploadCheck.CRC32:
        return {"ChecksumCRC32": base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()}
    return {}  # the payload signature is the check


def _is_listing_of(page: Mapping[str, Any], prefix: str) -> bool:
    """Whether it is a listing at all: a page of something else parses to an empty one, which would be a lie."""
    said = page.get("Prefix", "")
    # Ceph does not quote the prefix that it repeats, and the SDK unquotes it all the same.
    return "IsTruncated" in page and "Name" in page and said in (prefix, unquote_plus(prefix))


def _wrong_range(said: str, request: Request) -> ArtifactStoreError:
    start, end = request.byte_range or (0, 0)
    total = said.rpartition("/")[2]
    if said.startswith(f"bytes {start}-") and total.isdigit() and int(total) < end:
        return too_short(request, total=f"has {total} bytes only")
    return BackendError(f"asked for bytes {start}-{end - 1}, got {said[:100]!r}", where=request.where)
