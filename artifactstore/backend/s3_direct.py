"""Small reads from S3 without most of the SDK: for searches and pulls that send thousands of them.

For each request botocore checks the parameters against a model, resolves the endpoint, calls
some forty hooks, and parses the answer by the model again: some 1.2 ms of processor time, in
one thread at a time, of which signing and sending take less than half. What a GET or a listing looks
like does not change from one to the next. So the first one of a client goes through botocore, and is
looked at; the following ones are built after its example, and signed and sent by botocore's own signer
and session. Errors are parsed by botocore; redirects, and requests of another form, are left to it.
"""

import datetime
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote, unquote_plus, urlencode
from xml.etree import ElementTree

from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.parsers import create_parser
from botocore.response import StreamingBody
from botocore.utils import parse_timestamp

Parameters = Mapping[str, Any]
_OPERATIONS: Final = {"get_object": "GetObject", "list_objects_v2": "ListObjectsV2"}
_AUTHENTICATIONS: Final = ("v4", "s3v4", "none")
_HEADERS: Final = {"Range": "Range", "RequestPayer": "x-amz-request-payer"}
_QUERY: Final = {
    "Prefix": "prefix",
    "Delimiter": "delimiter",
    "MaxKeys": "max-keys",
    "StartAfter": "start-after",
    "ContinuationToken": "continuation-token",
}
_KNOWN: Final = {"Bucket", "Key", *_HEADERS, *_QUERY}
# 301, 307 and 400 may mean another region, which botocore finds out and remembers.
_REDIRECTED: Final = frozenset({301, 302, 307, 308, 400})


@dataclass(frozen=True, slots=True)
class _Example:
    """What all requests of one kind have in common.

    Attributes:
        base: The URL before key or query.
        context: What the signer has to know.
    """

    base: str
    user_agent: str
    context: Mapping[str, Any]


class DirectReads:
    """The short way of one client. Safe for threads.

    Args:
        client: botocore's.
        send: Sends a prepared request, as botocore would.
    """

    def __init__(self, client: Any, send: Callable[..., Any]) -> None:
        self._client = client
        self._send = send
        self._signed = threading.local()
        self._examples: dict[str, _Example | None] = {}
        self._errors = create_parser("rest-xml")
        for name in _OPERATIONS.values():
            client.meta.events.register(f"before-sign.s3.{name}", self._remember)

    def call(self, operation: str, parameters: Parameters) -> Mapping[str, Any] | None:
        """The answer, in the form that botocore gives it; None where botocore has to be asked.

        Raises:
            ClientError: The storage refused.
            As botocore: What goes wrong on the way.
        """
        example = self._examples.get(operation)
        if example is None or not _KNOWN.issuperset(parameters):
            return None
        response = self._send(request=self._prepared(operation, example, parameters))
        if response.status_code >= 300:
            if response.status_code in _REDIRECTED:
                return None
            raise self._error(operation, response)
        return _object(response) if operation == "get_object" else _listing(response.content)

    def learn(self, operation: str, parameters: Parameters) -> None:
        """botocore has just answered this request, in this thread: take it for an example."""
        signed = getattr(self._signed, "request", None)
        if operation not in _OPERATIONS or operation in self._examples or signed is None:
            return
        self._signed.request = None
        url, context, user_agent = signed
        base = _base(operation, url, parameters)
        usual = base is not None and context.get("auth_type") in _AUTHENTICATIONS
        self._examples[operation] = _Example(base, user_agent, context) if base is not None and usual else None

    def _remember(self, *, request: Any, operation_name: str, **_: object) -> None:
        self._signed.request = (request.url, dict(request.context), request.headers.get("User-Agent", ""))

    def _prepared(self, operation: str, example: _Example, parameters: Parameters) -> Any:
        is_object = operation == "get_object"
        headers = {"User-Agent": example.user_agent}
        headers |= {header: parameters[name] for name, header in _HEADERS.items() if name in parameters}
        url = f"{example.base}{_tail(operation, parameters)}"
        request = AWSRequest(method="GET", url=url, headers=headers, stream_output=is_object)
        request.context.update(example.context)
        self._client._request_signer.sign(_OPERATIONS[operation], request)
        return request.prepare()

    def _error(self, operation: str, response: Any) -> ClientError:
        name = _OPERATIONS[operation]
        answer = {
            "headers": response.headers,
            "status_code": response.status_code,
            "body": response.content,
            "context": {"operation_name": name},
        }
        shape = self._client.meta.service_model.operation_model(name).output_shape
        return ClientError(self._errors.parse(answer, shape), name)


def _tail(operation: str, parameters: Parameters) -> str:
    """Key or query of a URL, as botocore spells it."""
    if operation == "get_object":
        return quote(parameters["Key"], safe="/~")
    given = [(spelled, str(parameters[name])) for name, spelled in _QUERY.items() if name in parameters]
    return "?" + urlencode([("list-type", "2"), *given, ("encoding-type", "url")], quote_via=quote, safe="~")


def _base(operation: str, url: str, parameters: Parameters) -> str | None:
    """What stands before the tail; None where the URL is not of the form that `_tail` makes."""
    if operation == "list_objects_v2":
        base, _, query = url.partition("?")
        return base if query.startswith("list-type=2&") else None
    tail = _tail(operation, parameters)
    return url.removesuffix(tail) if url.endswith(f"/{tail}") else None


def _object(response: Any) -> Mapping[str, Any]:
    """The fields of an answer to `get_object` that are looked at; those that it lacks are missing."""
    headers = response.headers
    answer: dict[str, Any] = {
        "Body": StreamingBody(response.raw, None),
        "ResponseMetadata": {"HTTPStatusCode": response.status_code},
    }
    if "etag" in headers:
        answer["ETag"] = headers["etag"]
    if headers.get("content-length", "").isdecimal():
        answer["ContentLength"] = int(headers["content-length"])
    if "content-range" in headers:
        answer["ContentRange"] = headers["content-range"]
    return answer


def _listing(body: bytes) -> Mapping[str, Any]:
    """The fields of a page that are looked at; none of them where it is no listing, or can't be read."""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - as botocore does; expat refuses entities that explode
        return _page(root) if _plain(root.tag) == "ListBucketResult" else {}
    except (ElementTree.ParseError, KeyError, ValueError):
        return {}


def _page(root: ElementTree.Element) -> Mapping[str, Any]:
    contents: list[dict[str, str]] = []
    prefixes: list[dict[str, str]] = []
    single: dict[str, str] = {}
    for element in root:
        name = _plain(element.tag)
        if name == "Contents":
            contents.append({_plain(part.tag): part.text or "" for part in element})
        elif name == "CommonPrefixes":
            prefixes.extend({"Prefix": part.text or ""} for part in element if _plain(part.tag) == "Prefix")
        else:
            single[name] = element.text or ""
    decoded = unquote_plus if single.get("EncodingType") == "url" else str
    page: dict[str, Any] = {
        "Contents": [
            {"Key": decoded(row["Key"]), "Size": int(row["Size"]), "LastModified": parse_time(row["LastModified"])}
            for row in contents
        ],
        "CommonPrefixes": [{"Prefix": decoded(row["Prefix"])} for row in prefixes],
        **{name: single[name] for name in ("Name", "NextContinuationToken") if name in single},
    }
    if "Prefix" in single:
        page["Prefix"] = decoded(single["Prefix"])
    if "IsTruncated" in single:
        page["IsTruncated"] = single["IsTruncated"] == "true"
    return page


def _plain(tag: str) -> str:
    """A tag without its namespace."""
    return tag.rpartition("}")[2]


def parse_time(text: Any) -> datetime.datetime:
    """What listings and headers say of times. botocore's own way takes 0.1 ms for each."""
    for read in (datetime.datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text)
        except (ValueError, TypeError):
            continue
        if moment.tzinfo is not None:
            return moment
    parsed: datetime.datetime = parse_timestamp(text)
    return parsed
