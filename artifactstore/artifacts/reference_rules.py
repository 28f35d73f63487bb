"""Which URIs may be references, and which places may be asked for them.

    scheme         on the list (`reference_schemes`); never one that wraps others
    chains         `a::b` opens b through a: refused
    credentials    user part, signed parameters, known forms of keys: refused, and not repeated
    http, https    no address that is not on the public internet, but for `allow_private_references`
                   and your own S3 endpoint
    file           only below declared roots (`reference_roots`), links resolved

A URI in a version may come from anybody who can push: these rules are for whoever resolves it.
Addresses are checked where connections are made (`http_origin`), real paths where files are opened (`file_origin`).
"""

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from artifactstore.backend.s3_location import S3Location, parse_s3_url
from artifactstore.config import Settings, load_settings
from artifactstore.errors import InvalidName, ReferenceNotAllowed
from artifactstore.names import parse_reference
from artifactstore.store import Store

MAX_URI_CHARACTERS: Final = 8192
ARTIFACT_SCHEME: Final = "artifact"
_URI: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
# They open whatever they are told to, past every rule here.
_WRAPPERS: Final = frozenset(
    (
        *("asyncwrapper", "blockcache", "cached", "dask", "data", "dir", "filecache", "generic"),
        *("libarchive", "local", "reference", "root", "simplecache", "tar", "zip"),
    )
)
_WITH_CONTAINER: Final = frozenset({"abfs", "abfss"})  # container@account
_HTTP: Final = frozenset({"http", "https"})
_SECRET_PARAMETER: Final = re.compile(
    r"signature|credential|secret|passw|token|api[-_]?key|access[-_]?key|googleaccessid|authori[sz]ation"
    r"|(^|[-_])(sig|auth|pwd|jwt|key-pair-id)$",
    re.IGNORECASE,
)
_SECRET_TEXT: Final = re.compile(
    r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])|AIza[\w-]{30,}|gh[opsu]_\w{30,}|github_pat_\w{20,}"
    r"|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}"
)
_USERINFO: Final = re.compile(r"://[^/?#\s]*@")
_HOST: Final = re.compile(r"(?:[^\s/?#@\[\]\\:%]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

# Public addresses by number, and no place of the public internet: Azure's host agent.
_INNER_ADDRESSES: Final = frozenset({ipaddress.ip_address("168.63.129.16")})
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRules:
    """What references may point to, and what is needed to open them.

    Attributes:
        schemes: The schemes that are allowed, in lower case.
        roots: Directories below which `file://` may read, absolute.
        allow_private: Whether `http(s)` may go to addresses that are not public.
        trusted_endpoints: URLs of servers that `http(s)` may go to wherever they are: your own S3 endpoint.
        options: For each scheme, what its file system is opened with (`storage_options`). Kept nowhere.
        max_objects: How many objects one prefix may have.
        max_unsized_bytes: How long content may be whose size was not recorded.
        max_stall_seconds: How long a place may take over the next 64 KiB of content; silence on the web ends sooner.
    """

    schemes: frozenset[str] = frozenset({"s3", "gs", "http", "https", "file", "artifact"})
    roots: tuple[str, ...] = ()
    allow_private: bool = False
    trusted_endpoints: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict, repr=False)
    max_objects: int = 1_000_000
    max_unsized_bytes: int = 1 << 40
    max_stall_seconds: float = 300.0

    def __post_init__(self) -> None:
        if self.max_unsized_bytes < 1 or self.max_stall_seconds <= 0:
            raise ValueError("the limits on content of references are above zero")
        if any(not os.path.isabs(root) for root in self.roots):
            raise ValueError("a root of references is an absolute path")


def load_rules(
    settings: Settings,
    *,
    store_url: str = "",
    options: Mapping[str, Mapping[str, object]] | None = None,
    environment: Mapping[str, str] | None = None,
) -> ReferenceRules:
    """The rules that the settings make.

    Args:
        settings: Of this process (`config.load_settings`).
        store_url: The store's; its S3 endpoint, region and profile are used for `s3://`, too.
        options: By scheme, what to open file systems with: fsspec's `storage_options`. They win.
        environment: Instead of the process's.
    """
    env = os.environ if environment is None else environment
    # Without a store in S3: what the environment says of S3.
    location = parse_s3_url(store_url if store_url.startswith("s3://") else "s3://any-bucket", environ=env)
    given = dict(options or {})
    merged = {**given, "s3": {**_s3_options(location), **given.get("s3", {})}}
    return ReferenceRules(
        schemes=frozenset(settings.reference_schemes),
        roots=settings.reference_roots,
        allow_private=settings.allow_private_references,
        trusted_endpoints=(location.endpoint_url,) if location.endpoint_url else (),
        options=merged,
    )


def rules_of(store: Store, *, options: Mapping[str, Mapping[str, object]] | None = None) -> ReferenceRules:
    """The rules for references in an open store, by the settings of this process; arguments as `load_rules`."""
    given = dict(options or {})
    # What it has of its own is meant, and `latest` of now.
    own = {"store": store, "latest_seconds": 0.0, **given.get(ARTIFACT_SCHEME, {})}
    return load_rules(load_settings(), store_url=store.url, options={**given, ARTIFACT_SCHEME: own})


def _s3_options(location: S3Location) -> dict[str, object]:
    options: dict[str, object] = {}
    if location.endpoint_url:
        options["endpoint_url"] = location.endpoint_url
    if location.profile:
        options["profile"] = location.profile
    if location.region:
        options["client_kwargs"] = {"region_name": location.region}
    if location.anonymous:
        options["anon"] = True
    return options


def check_uri(uri: str, rules: ReferenceRules) -> str:
    """Refuse what no reference may be; nothing is asked for anywhere.

    Returns:
        The scheme, in lower case.

    Raises:
        ReferenceNotAllowed: The rules refuse it. The message shows of the URI only its scheme and host.
    """
    scheme, rest = _split(uri)
    if scheme in _WRAPPERS:
        hint = " (write file:///absolute/path)" if scheme == "local" else ""
        raise ReferenceNotAllowed(f"{scheme}:// opens other places, past every rule, and is no reference{hint}")
    if scheme not in rules.schemes:
        allowed = ", ".join(sorted(rules.schemes)) or "none"
        raise ReferenceNotAllowed(
            f"references may not use {scheme}:// (allowed: {allowed})",
            next_step="Add it to `reference_schemes` in your settings file, if it is to be allowed.",
        )
    check_credentials(uri)
    if "::" in (rest.partition("/")[2] if scheme in _HTTP else rest):
        raise ReferenceNotAllowed(f"{shown(uri)} has `::`, which chains one place behind another")
    if scheme in _HTTP:
        _check_host(scheme, re.split(r"[/?#]", rest, maxsplit=1)[0])
    return scheme


def shown(uri: str) -> str:
    """A URI that `check_uri` may not have seen yet, for messages: what may hold a secret is left out."""
    match = _URI.fullmatch(uri)
    if match is None:
        return "the URI"
    authority = re.split(r"[/?#]", match.group(2), maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    is_plain = host.isprintable() and "%" not in host
    return f"{match.group(1).lower()}://{host}/…" if is_plain and host else f"{match.group(1).lower()}://…"


def _split(uri: str) -> tuple[str, str]:
    if not uri or len(uri) > MAX_URI_CHARACTERS:
        raise ReferenceNotAllowed(f"a URI has 1 to {MAX_URI_CHARACTERS} characters, not {len(uri)}")
    match = _URI.fullmatch(uri)
    if match is None and "::" in uri:
        raise ReferenceNotAllowed("a URI with `::` chains one place behind another, and is no reference")
    if match is None:
        raise ReferenceNotAllowed(
            "a reference is a URI: scheme://…", next_step="Write file:///absolute/path for a local file."
        )
    if not uri.isprintable():
        what = f"{shown(uri)} has characters that can't be printed"
        raise ReferenceNotAllowed(what, next_step="Percent-encode them.")
    if not match.group(2).strip("/") and match.group(1).lower() != "file":
        raise ReferenceNotAllowed(f"{match.group(1).lower()}:// names nothing")
    return match.group(1).lower(), match.group(2)


def check_credentials(uri: str) -> None:
    """Refuse a URI that holds a user, a password, a signature or a key.

    Raises:
        ReferenceNotAllowed: It does. The message does not repeat it.
    """
    scheme, rest = _split(uri)
    if _has_userinfo(scheme, rest):
        raise _secret(uri, "holds a user or a password")
    query = rest.partition("?")[2]
    pairs = parse_qsl(re.sub(r"[;#?]", "&", query), keep_blank_values=True)
    fragment = parse_qsl(rest.partition("#")[2], keep_blank_values=False)
    for name, _ in (*pairs, *fragment):
        if _SECRET_PARAMETER.search(name):
            raise _secret(uri, f"holds a credential (the parameter {name[:60]!r})")
    if _SECRET_TEXT.search(uri) or _SECRET_TEXT.search(unquote(uri)):
        raise _secret(uri, "holds what looks like a key or a token")


def _check_host(scheme: str, authority: str) -> None:
    if not _HOST.fullmatch(authority):
        raise ReferenceNotAllowed(f"{scheme}:// is followed by no host")
    host = authority.rpartition(":")[0] or authority
    try:
        packed = socket.inet_aton(host)
    except OSError:
        return
    if host != socket.inet_ntoa(packed):
        # 127.1, 0x7f000001, 2130706433, 0177.0.0.1: nobody writes an address so who means well.
        raise ReferenceNotAllowed(f"{host} is an odd spelling of {socket.inet_ntoa(packed)}: write that")


def _has_userinfo(scheme: str, rest: str) -> bool:
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if scheme == ARTIFACT_SCHEME:
        return "@" in authority and not _is_pinned_name(rest)
    if scheme in _WITH_CONTAINER:
        return ":" in authority.rpartition("@")[0]
    return "@" in authority or "%40" in authority or bool(_USERINFO.search(unquote(rest)))


def _is_pinned_name(text: str) -> bool:
    # artifact://name@<content digest>/path
    try:
        parse_reference(text)
    except InvalidName:
        return False
    return True


def _secret(uri: str, problem: str) -> ReferenceNotAllowed:
    return ReferenceNotAllowed(
        f"{uri.partition('://')[0].lower()}://… {problem}, and a store keeps none",
        next_step="Take it out; credentials are given by the environment, or as storage options, when it is read.",
    )


def is_public_address(text: str) -> bool:
    """Whether an IP address is one of the public internet, in all that it may stand for.

    IPv4 inside of IPv6 (mapped, 6to4, NAT64, Teredo) counts as the IPv4 address that it reaches.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if address.is_multicast or not address.is_global or address in _INNER_ADDRESSES:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return True
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return all(each is None or is_public_address(str(each)) for each in inner)


def endpoint_of(url: str) -> tuple[str, int]:
    """Host and port of a server's URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
