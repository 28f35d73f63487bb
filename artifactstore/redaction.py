"""Keeping secrets out of what is shown, logged or written down.

`redact_url` is for a URL or path as a whole: what stands in results, messages and local
state. `redact` is the last line of defence for any text, such as a log line of a library.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

HIDDEN: Final = "***"
_WHOLE: Final = re.compile(r"((?:[A-Za-z0-9+.-]+::)*[A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*)([^?#]*)(?:\?([^#]*))?")
_USERINFO: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s'\"]*@")
_QUERY: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^?\s'\"]*\?)([^\s'\"]*)")
_PLAIN_PARAMETERS: Final = frozenset(
    ["endpoint_url", "region", "profile", "addressing", "sse", "upload_check", "requester_pays", "anonymous"]
)
_HEADER: Final = re.compile(
    r"((?:authorization|x-amz-security-token|x-amz-signature|signature)['\"]?\s*[:=]\s*b?['\"]?)[^'\"\r\n]+",
    re.IGNORECASE,
)
_SECRET_VARIABLE: Final = re.compile(
    r"SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|ACCOUNT_KEY|API_?KEY|CONNECTION_STRING|(^|_)SAS(_|$)", re.IGNORECASE
)
_PATH_VARIABLE: Final = re.compile(r"_(FILE|PATH|DIR|URI|ENDPOINT)$", re.IGNORECASE)
_SHORTEST_SECRET: Final = 8


def redact_url(url: str) -> str:
    """One whole URL without its secrets; a plain path comes back as it is.

    User and password become ``***``, and so does every parameter after ``?`` that is not known to hold none: those
    that are tell two stores apart (the same bucket of two endpoints). A fragment goes.
    """
    match = _WHOLE.match(url)
    if match is None:
        return url
    scheme, authority, path, query = match.groups()
    # A password may hold any number of "@": all up to the last one is hidden.
    _, at, host = authority.rpartition("@")
    return f"{scheme}{HIDDEN if at else ''}{at}{host}{path}" + (f"?{_redact_query(query)}" if query else "")


def redact(text: str, *, secrets: Sequence[str] = ()) -> str:
    """``text`` without secrets: those in URLs, signed headers, and ``secrets`` themselves.

    The last line of defence for logs and error messages; code that knows what it prints should not need it.
    """
    clean = _QUERY.sub(lambda match: match.group(1) + _redact_query(match.group(2)), _USERINFO.sub(r"\1***@", text))
    clean = _HEADER.sub(r"\1***", clean)
    for secret in secrets:
        clean = clean.replace(secret, HIDDEN)
    return clean


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values in ``environment`` that look like secrets by the names of their variables."""
    return tuple(
        value
        for name, value in environment.items()
        if len(value) >= _SHORTEST_SECRET and _SECRET_VARIABLE.search(name) and not _PATH_VARIABLE.search(name)
    )


def _redact_query(query: str) -> str:
    return "&".join(_redact_parameter(pair) for pair in query.split("&"))


def _redact_parameter(pair: str) -> str:
    key, equals, value = pair.partition("=")
    if not equals or key not in _PLAIN_PARAMETERS or "@" in value or "%40" in value:
        return f"{key}={HIDDEN}" if equals else HIDDEN
    return pair
