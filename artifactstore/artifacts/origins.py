"""Where the content of references lies: one interface over web servers, directories and file systems of fsspec.

An origin answers, or fails; it never takes a failure for "nothing there":

    ReferenceNotFound      the place answered that nothing is there
    ReferenceUnreachable   the place did not answer, or would not
    ReferenceNotAllowed    the rules refuse what would have to be opened
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from artifactstore.artifacts.reference_rules import ReferenceRules
from artifactstore.digest import Buffer
from artifactstore.errors import ReferenceUnreachable
from artifactstore.manifest.model import MAX_SIZE_BYTES
from artifactstore.redaction import redact, secrets_of

_log = logging.getLogger(__name__)
PIECE_BYTES: Final = 4 << 20
MODIFIED: Final = "modified:"
"""Before the time of the last change, which stands for an entity tag where a place has none."""

_MAX_TAG_CHARACTERS: Final = 1024
_SECRET_OPTIONS: Final = ("key", "username", "user")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """How some content looks from outside.

    Attributes:
        size_bytes: Its size, or None where the place does not tell.
        etag: Its entity tag, or `MODIFIED` and a time, or empty.
        version_id: Which version of it the place keeps, or empty.
    """

    size_bytes: int | None = None
    etag: str = ""
    version_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One object or prefix of an origin.

    Attributes:
        uri: Where it is.
        name: Its path below the prefix that was listed.
        is_prefix: Whether it stands for what is below it.
        facts: How it looks; None where that takes a request of its own (`Origin.look`).
    """

    uri: str
    name: bytes = b""
    is_prefix: bool = False
    facts: Facts | None = None


class Origin(Protocol):
    """A kind of place. Safe for threads. The URIs it is given have passed `reference_rules.check_uri`."""

    def look(self, uri: str) -> Found:
        """What is there. An object's facts are known afterwards.

        Raises:
            ReferenceNotFound, ReferenceUnreachable, ReferenceNotAllowed: See above.
        """

    def children(self, uri: str) -> Sequence[Found]:
        """What lies below a prefix: all of its next level, at least.

        Raises:
            ReferenceNotFound, ReferenceUnreachable, ReferenceNotAllowed: See above.
        """

    def read(
        self, uri: str, *, version_id: str, before: Callable[[Facts], None], write: Callable[[Buffer], object]
    ) -> Facts:
        """Hand all content to ``write``, piece by piece.

        Args:
            version_id: This version of it, where the place keeps versions. Else what is there now.
            before: Told how the content looks before any of it is read; what it raises ends the reading.

        Returns:
            How it looks afterwards.

        Raises:
            ReferenceNotFound, ReferenceUnreachable, ReferenceNotAllowed: See above.
        """

    def close(self) -> None:
        """Give back connections."""


def tag(value: object) -> str:
    """What a place says of an entity tag or version, as it can be kept; empty where it can't."""
    text = value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    return text if text.isprintable() and len(text) <= _MAX_TAG_CHARACTERS else ""


def size(value: object) -> int | None:
    """What a place says of a size; None where that is no size."""
    try:
        number = int(value) if isinstance(value, str | int) and not isinstance(value, bool) else -1
    except ValueError:
        return None
    return number if 0 <= number <= MAX_SIZE_BYTES else None


def secrets_in(rules: ReferenceRules, scheme: str) -> tuple[str, ...]:
    """The secrets among a scheme's options."""
    texts = dict(_texts(rules.options.get(scheme, {})))
    return (*secrets_of(texts), *(texts[name] for name in _SECRET_OPTIONS if len(texts.get(name, "")) >= 8))


def unreachable(uri: str, error: BaseException | str, *, secrets: Sequence[str] = ()) -> ReferenceUnreachable:
    """The error for a place that did not answer; what it said stands in the message, without secrets."""
    said = error if isinstance(error, str) else str(error) or type(error).__name__
    text = redact(said, secrets=secrets)
    _log.debug("%s: %s", uri, text)
    return ReferenceUnreachable(f"can't reach {uri}: {text}".rstrip(". "), where=uri)


def safe_cause(error: Exception, *, secrets: Sequence[str] = ()) -> Exception | None:
    """``error``, unless its text gives a secret away: tracebacks print causes."""
    text = f"{error} {error!r}"
    return error if redact(text, secrets=secrets) == text else None


def _texts(options: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in options.items():
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, Mapping):
            yield from _texts(value)
