"""Names and paths as t9k has them, and what they are in a store.

    artifact name       letters, digits, `-`, `_`; at most 40; first and last a letter or digit
    alternative name    <name>_<yymmdd>_<HHMMSS>_<6 of a-z, 0-9>
    object path         `a`, `b/` (the source's own name is added), `/b/a` (the slash goes)
    remote path         /<user>/folder/name, in the store user/folder/name

Text in, text out: this module looks at no file.
"""

import datetime
import os
import re
from collections.abc import Mapping
from typing import Final

from artifactstore.clock import Clock
from artifactstore.compat.t9k.errors import ReservedPath
from artifactstore.errors import InvalidName, InvalidPath
from artifactstore.manifest.paths import unsafe_reason
from artifactstore.names import Name, check_folder
from artifactstore.transfer.provenance import author

METADATA_FILE: Final = "metadata.yaml"
REFERENCES_FILE: Final = "references.yaml"
USER_VARIABLE: Final = "ARTIFACTSTORE_USER"
DEFAULT_FOLDER: Final = "default"
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,38}[A-Za-z0-9])?", re.ASCII)
_ALTERNATIVE: Final = re.compile(r".*[0-9]{6}_[0-9]{6}_[a-z0-9]{6}", re.ASCII | re.DOTALL)
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9._-]", re.ASCII)
_DIGITS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_SUFFIX_CHARACTERS: Final = 6
_MAX_SEGMENT: Final = 128


def check_artifact_name(name: str) -> str:
    """``name``, if an Artifact may be called so.

    Raises:
        InvalidName: It may not.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidName(
            f"Invalid name of Artifact: {name!r}. It has letters, digits, '-' and '_', starts and ends with a letter "
            "or digit, and has at most 40 characters. Nothing was written."
        )
    return name


def alternative_name(name: str, *, seconds: float, entropy: bytes) -> str:
    """``<name>_<yymmdd>_<HHMMSS>_<6 characters>``, local time.

    Args:
        seconds: The moment, since the epoch.
        entropy: Eight bytes or more, from which the last part is made.
    """
    moment = datetime.datetime.fromtimestamp(seconds).strftime("%y%m%d_%H%M%S")
    number = int.from_bytes(entropy)
    suffix = ""
    for _ in range(_SUFFIX_CHARACTERS):
        number, digit = divmod(number, len(_DIGITS))
        suffix += _DIGITS[digit]
    return f"{name}_{moment}_{suffix}"


def is_alternative_name(text: str) -> bool:
    """Whether ``text`` ends like an alternative name."""
    return _ALTERNATIVE.fullmatch(text) is not None


def local_moment(clock: Clock) -> str:
    """Now, as t9k writes it: ISO 8601 in local time, with its offset."""
    return datetime.datetime.fromtimestamp(clock.now(), datetime.UTC).astimezone().isoformat()


def object_path(source: str, given: str | None) -> str:
    """Where in an Artifact the file or URI ``source`` goes.

    ``.``, ``..`` and empty parts are resolved, as a file system would.

    Raises:
        InvalidPath: Outside of the Artifact, or of a form that no version can hold.
        ReservedPath: The local layout has a file of its own there.
    """
    path = _resolved(source, given) or os.path.basename(source)  # as `cp file .` has it
    return checked_object_path(path, given=given)


def directory_path(source: str, given: str | None) -> str:
    """As `object_path`, for a directory: ``.`` is the Artifact itself, and gives an empty path."""
    path = _resolved(source, given)
    return checked_object_path(path, given=given) if path or not given else path


def _resolved(source: str, given: str | None) -> str:
    own = os.path.basename(source)
    path = (given or "").removeprefix("/")
    if not path or path.endswith("/"):
        path += own
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                raise InvalidPath(f"the object path {path!r} leaves the Artifact. Nothing was written.")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def checked_object_path(path: str, *, given: str | None = None) -> str:
    """``path``, if an object can have it; errors as `object_path`."""
    shown = repr(given or path)
    try:
        reason = unsafe_reason(os.fsencode(path))
    except UnicodeEncodeError:
        reason = "is not text that a file system takes"
    if reason:
        raise InvalidPath(f"the object path {shown} {reason}. Nothing was written.")
    if path.partition("/")[0] in (METADATA_FILE, REFERENCES_FILE):
        raise ReservedPath(
            f"the object path {shown} is where an Artifact keeps its own {path.partition('/')[0]}. Nothing was "
            "written. Give it another obj_path."
        )
    return path


def user_name(environment: Mapping[str, str]) -> str:
    """The user below whose folder relative remote paths are; characters that no name has become ``_``."""
    text = _FOREIGN.sub("_", environment.get(USER_VARIABLE) or author().who)[:_MAX_SEGMENT]
    return f"_{text[1:]}" if text[:1] in (".", "-") else text or "_"


def remote_path(path: str, *, user: str) -> str:
    """``path`` from the top, without a slash at its end: ``/user/folder`` for ``folder/``."""
    absolute = path if path.startswith("/") else f"/{user}/{path}"
    return absolute.rstrip("/") or "/"


def store_folder(path: str) -> str:
    """A remote folder as the store has it: ``user/folder`` for ``/user/folder``.

    Raises:
        InvalidName: A store can't have it.
    """
    return check_folder(path.strip("/"))


def check_segment(text: str) -> str:
    """``text``, if it may be the last part of a name in a store, and so the name of a directory.

    Raises:
        InvalidName: It may not.
    """
    if Name(text).last != text:
        raise InvalidName(f"{text!r} is not one part of a name")
    return text
