"""`http://` and `https://`: fsspec's file system makes the client, and this module asks.

fsspec itself takes every failure of `info` for "not there". Here only 404 and 410 say so.
A URL that ends with a slash is a prefix: the page there is an index, and the links on it that lead below it are what
the prefix holds. Servers that keep no index have no prefixes.
Redirects are followed here: what the options say of who asks (headers, cookies, a password) stays with the scheme, host
and port that the URI names.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from artifactstore.artifacts.http_guard import ALLOW_PRIVATE, AddressRefused, check_options, guarded_client
from artifactstore.artifacts.origins import (
    MODIFIED,
    PIECE_BYTES,
    Facts,
    Found,
    safe_cause,
    secrets_in,
    size,
    tag,
    unreachable,
)
from artifactstore.artifacts.reference_rules import ReferenceRules
from artifactstore.digest import Buffer
from artifactstore.errors import (
    ArtifactStoreError,
    ReferenceNotAllowed,
    ReferenceNotFound,
    ReferenceUnreachable,
)

if TYPE_CHECKING:
    import aiohttp
    import yarl

_MAX_INDEX_BYTES: Final = 16 << 20
_INDEX_TYPES: Final = ("text/html", "application/xhtml+xml")
_GONE: Final = (404, 410)
_DENIED: Final = (401, 403, 407)
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MAX_REDIRECTS: Final = 10
# Of a request, and of a client: who asks, and what for. For whom the URI names, and for nobody else.
_PERSONAL: Final = frozenset(["headers", "cookies", "auth", "params", "data", "json", "middlewares"])
_PERSONAL_TO_CLIENT: Final = frozenset(["headers", "cookies", "cookie_jar", "auth", "middlewares"])


class HttpOrigin:
    """Web servers, by one client.

    Raises:
        ReferenceNotAllowed: The options would take the connections out of our hands.
    """

    def __init__(self, scheme: str, rules: ReferenceRules) -> None:
        import fsspec.asyn
        from fsspec.implementations.http import HTTPFileSystem

        options = dict(rules.options.get(scheme, {}))
        if not rules.allow_private:
            check_options(options)
        self._rules = rules
        self._secrets = secrets_in(rules, scheme)
        self._stranger: aiohttp.ClientSession | None = None
        self._sync = fsspec.asyn.sync

        async def client(**client_options: Any) -> "aiohttp.ClientSession":
            return await guarded_client(rules, **client_options)

        self._fs = HTTPFileSystem(skip_instance_cache=True, **{**options, "get_client": client})

    def look(self, uri: str) -> Found:
        if urlsplit(uri).path.endswith("/"):
            return Found(uri=uri, is_prefix=True)
        with self._errors(uri):
            found: Found = self._sync(self._fs.loop, self._look, uri)
            return found

    def children(self, uri: str) -> Sequence[Found]:
        base = uri if urlsplit(uri).path.endswith("/") else f"{uri.partition('?')[0]}/"
        with self._errors(base):
            place, text = self._sync(self._fs.loop, self._index, base)
        return _links(base, place, text)

    def read(
        self, uri: str, *, version_id: str, before: Callable[[Facts], None], write: Callable[[Buffer], object]
    ) -> Facts:
        with self._errors(uri):
            response = self._sync(self._fs.loop, self._ask, "GET", uri)
        try:
            facts = _facts(response)
            before(facts)
            while piece := self._piece(uri, response):
                write(piece)
            return facts
        finally:
            self._sync(self._fs.loop, _let_go, response)

    def close(self) -> None:
        for session in (self._fs._session, self._stranger):
            if session is not None and self._fs.loop.is_running():
                self._sync(self._fs.loop, session.close)

    # In the thread of fsspec's loop

    async def _look(self, uri: str) -> Found:
        response = await self._ask("HEAD", uri, check=False)
        await _let_go(response)
        facts = _facts(response)
        # Not every server answers HEAD as it would GET.
        if response.status >= 400 or facts == Facts():
            response = await self._ask("GET", uri)
            await _let_go(response)
            facts = _facts(response)
        is_prefix = response.url.path == f"{self._fs.encode_url(uri).path}/"
        return Found(uri=uri, is_prefix=is_prefix, facts=None if is_prefix else facts)

    async def _index(self, uri: str) -> tuple[str, str]:
        response = await self._ask("GET", uri)
        try:
            if response.content_type not in _INDEX_TYPES:
                raise ReferenceNotFound(f"{uri} lists nothing: it is {response.content_type}, and no index", where=uri)
            body = bytearray()
            while piece := await response.content.read(PIECE_BYTES):
                body += piece
                if len(body) > _MAX_INDEX_BYTES:
                    raise ReferenceNotAllowed(f"the index at {uri} is over {_MAX_INDEX_BYTES} bytes long", where=uri)
            return str(response.url), body.decode("utf-8", "replace")
        finally:
            await _let_go(response)

    async def _ask(self, method: str, uri: str, *, check: bool = True) -> "aiohttp.ClientResponse":
        session = await self._fs.set_session()
        options = dict(self._fs.kwargs)
        first = place = self._fs.encode_url(uri)
        for _ in range(_MAX_REDIRECTS + 1):
            # Sizes and tags are of the content itself, not of a compressed form of it.
            options["headers"] = {**options.get("headers", {}), "Accept-Encoding": "identity"}
            options["allow_redirects"] = False
            response: aiohttp.ClientResponse = await session.request(method, place, **options)
            target = _redirect(response, self._rules)
            if target is None:
                break
            await _let_go(response)
            place = target
            options.pop("params", None)  # the target has them already, where they are meant
            if place.origin() != first.origin():
                session = await self._stranger_session()
                options = {name: value for name, value in options.items() if name not in _PERSONAL}
        else:
            raise ReferenceUnreachable(f"{uri} redirects more than {_MAX_REDIRECTS} times", where=uri)
        if check and response.status >= 300:
            await _let_go(response)
            raise _refused(response.status, uri)
        return response

    async def _stranger_session(self) -> "aiohttp.ClientSession":
        """A client that knows nothing of the user. Once another server was asked, it goes on with this one."""
        if self._stranger is None:
            options = {name: v for name, v in self._fs.client_kwargs.items() if name not in _PERSONAL_TO_CLIENT}
            session = await guarded_client(self._rules, **options)
            if self._stranger is None:
                self._stranger = session
            else:  # another request was first
                await session.close()
        return self._stranger

    # In the caller's

    def _piece(self, uri: str, response: "aiohttp.ClientResponse") -> bytes:
        with self._errors(uri):
            piece: bytes = self._sync(self._fs.loop, response.content.read, PIECE_BYTES)
            return piece

    @contextmanager
    def _errors(self, uri: str) -> Iterator[None]:
        import aiohttp

        try:
            yield
        except ArtifactStoreError:
            raise
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, AddressRefused):
                raise ReferenceNotAllowed(
                    f"{uri} leads to {error.host}, which is at no address of the public internet",
                    where=uri,
                    next_step=ALLOW_PRIVATE,
                ) from None
            raise unreachable(uri, error, secrets=self._secrets) from safe_cause(error, secrets=self._secrets)
        # What lies below raises errors of many kinds (aiohttp's, yarl's, of the system): none means "not there".
        except Exception as error:  # noqa: BLE001
            raise unreachable(uri, error, secrets=self._secrets) from safe_cause(error, secrets=self._secrets)


async def _let_go(response: "aiohttp.ClientResponse") -> None:
    response.close()


def _redirect(response: "aiohttp.ClientResponse", rules: ReferenceRules) -> "yarl.URL | None":
    """Where a response sends us, if it does.

    Raises:
        ReferenceNotAllowed: To a scheme that references may not have.
    """
    import yarl

    location = response.headers.get("Location") or response.headers.get("URI")
    if response.status not in _REDIRECTS or not location:
        return None
    target = response.url.join(yarl.URL(location))
    if target.scheme not in rules.schemes & {"http", "https"}:
        raise ReferenceNotAllowed(f"{response.url} redirects to {target.scheme}://, which references may not use")
    return target


def _refused(status: int, uri: str) -> ReferenceNotFound:
    if status in _GONE:
        return ReferenceNotFound(f"nothing is at {uri}", where=uri)
    if status in _DENIED:
        return ReferenceUnreachable(f"{uri} is not for everybody (HTTP {status})", where=uri)
    return ReferenceUnreachable(f"{uri} answers with HTTP {status}", where=uri)


def _facts(response: "aiohttp.ClientResponse") -> Facts:
    headers = response.headers
    encoded = headers.get("Content-Encoding", "identity").lower() != "identity"
    modified = tag(headers.get("Last-Modified", ""))
    version_id = tag(headers.get("x-amz-version-id", "") or headers.get("x-goog-generation", ""))
    return Facts(
        size_bytes=None if encoded else size(headers.get("Content-Length", "")),
        etag=tag(headers.get("ETag", "")) or (f"{MODIFIED}{modified}" if modified else ""),
        version_id="" if version_id == "null" else version_id,
    )


def _anchors(text: str) -> list[str]:
    """Where the links of a page lead, as they are written there."""
    from html.parser import HTMLParser

    targets: list[str] = []

    class Anchors(HTMLParser):
        def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
            if name == "a":
                targets.extend(value for key, value in attributes if key == "href" and value)

    page = Anchors()
    page.feed(text)
    page.close()
    return targets


def _links(base: str, place: str, text: str) -> Sequence[Found]:
    """The links on the index at ``place`` that lead below it, as URIs below ``base``, which led there."""
    above = place if urlsplit(place).path.endswith("/") else f"{place}/"
    found: dict[bytes, Found] = {}
    for target in _anchors(text):
        try:
            link = urljoin(above, target.strip())
        except ValueError:
            continue  # no link that anybody could follow
        below = link.removeprefix(above)
        # Ways to sort an index (`?C=N`), parts of a page, and what leads elsewhere.
        if below == link or not below.strip("/") or "?" in below or "#" in below:
            continue
        name = unquote_to_bytes(below).rstrip(b"/")
        found[name] = Found(uri=base + below, name=name, is_prefix=below.endswith("/"))
    return [found[name] for name in sorted(found)]
