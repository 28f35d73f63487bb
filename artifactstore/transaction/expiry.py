"""Time-to-live: how long readers take a version without being told to.

A time-to-live is given as text (`30d`, `12h`, `90m`, `never`), seconds or a timedelta, and is kept as the time
at which it ends. That time is compared with the clock of whoever reads: nothing safe depends on it.
"""

import datetime
import math
import re
from typing import Final, Literal

from artifactstore.clock import Clock, timestamp
from artifactstore.errors import InvalidMetadata, VersionExpired
from artifactstore.transaction.versions import Version

Ttl = str | float | datetime.timedelta
Never = Literal["never"]
NEVER: Final = "never"
MAX_TTL_SECONDS: Final = 1000 * 365 * 86400.0
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_TTL: Final = re.compile(r"([0-9]{1,12})([smhdw])", re.ASCII)


def parse_ttl(ttl: Ttl) -> float | None:
    """A time-to-live in seconds; None for `never`.

    Args:
        ttl: Text (``30d``, ``12h``, ``90m``, ``45s``, ``2w``, ``never``), seconds, or a timedelta.

    Raises:
        InvalidMetadata: None of these, nothing or negative, or over a thousand years.
    """
    if ttl == NEVER:
        return None
    match ttl:
        case datetime.timedelta():
            seconds = ttl.total_seconds()
        case int() | float() if not isinstance(ttl, bool):
            seconds = float(ttl)
        case str() if found := _TTL.fullmatch(ttl):
            seconds = float(int(found[1]) * _UNITS[found[2]])
        case _:
            raise InvalidMetadata(f"no time-to-live: {str(ttl)[:80]!r}; say such as 30d, 12h, 90m or never")
    if not math.isfinite(seconds) or not 0 < seconds <= MAX_TTL_SECONDS:
        raise InvalidMetadata(f"a time-to-live of {ttl} is not more than nothing and at most a thousand years")
    return seconds


def asked_ttl(ttl: Ttl) -> float | Never:
    """A time-to-live in seconds, or `never`: where None is for who says nothing about it. Errors as `parse_ttl`."""
    seconds = parse_ttl(ttl)
    return NEVER if seconds is None else seconds


def expiry_after(clock: Clock, seconds: float | None) -> str:
    """The time so many seconds from now, as records keep it; empty for None, which is never."""
    return "" if seconds is None else timestamp(clock.now() + seconds)


def version_expired(version: Version) -> VersionExpired:
    """The error of readers that meet it."""
    expires = version.notes.expires
    return VersionExpired(f"{version.text} has expired on {expires}", version=version.text, expires=expires)
