"""Folders that lie in one another: a local store, what is pushed to it, and where its versions are pulled to.

A store inside a tree that is pushed would grow by all it holds with every push; a pull into a store, or one
that deletes around it, would damage the store. The first is left out, the others are refused.
"""

import os
import re
from collections.abc import Sequence
from typing import Final

from artifactstore.errors import ConfigurationError
from artifactstore.names import Reference
from artifactstore.transfer.content import Source
from artifactstore.transfer.found import Notice
from artifactstore.transfer.handles import missing_source, shown
from artifactstore.transfer.pull import Destination

THE_STORE: Final = "the store itself: left out"
_SPECIAL: Final = re.compile(r"([\\*?\[\]!# ])")


def check_sources(sources: Sequence[Source], *, store_path: str | None) -> None:
    """Refuse sources that no push can take, before a store is made for them.

    Raises:
        SourceNotFound: One is not there.
        ConfigurationError: One is the store, or lies in it.
    """
    for source in sources:
        path = os.path.abspath(os.fsencode(source))
        # Nothing at all (a variable that is not set) is no name for the working directory.
        if not os.fsencode(source) or not os.path.lexists(path):
            raise missing_source(path if source else b"")
        if store_path is not None and _inside(_real(path), _real(store_path)) is not None:
            raise ConfigurationError(
                f"{shown(path)} belongs to the store that it would be pushed to",
                where=shown(path),
                next_step="Push something else, or name another store with --store.",
            )


def store_in_sources(sources: Sequence[Source], *, store_path: str | None) -> tuple[Notice, ...]:
    """Where a version of ``sources`` would hold the store, as paths of that version."""
    if store_path is None:
        return ()
    notices = []
    for source in sources:
        path = os.path.abspath(os.fsencode(source))
        inside = _inside(_real(store_path), _real(path))
        if inside:
            under = b"" if len(sources) == 1 else os.path.basename(path) + b"/"
            notices.append(Notice(under + inside, THE_STORE))
    return tuple(notices)


def exclusions(notices: Sequence[Notice]) -> tuple[str, ...]:
    """Patterns (docs/ignore.md) that leave out just these paths."""
    return tuple("/" + _SPECIAL.sub(r"\\\1", os.fsdecode(notice.path)) for notice in notices)


def check_destination(
    reference: Reference, destination: Destination | None, *, store_path: str | None, deletes: bool
) -> None:
    """Refuse a destination where a pull would damage the store.

    Args:
        destination: As given to the pull; None where it is the pull's to choose.
        deletes: Whether what the version lacks is removed.

    Raises:
        ConfigurationError: It is the store, lies in it, or holds it and would lose it.
    """
    if store_path is None:
        return
    # Of a part, what is a file lands in the working directory.
    last = reference.path.rpartition(b"/")[2] or os.fsencode(reference.name.last)
    chosen = [last, b"."] if reference.path else [last]
    store = _real(store_path)
    for path in chosen if destination is None else [os.fsencode(destination)]:
        here = _real(path)
        if _inside(here, store) is not None:
            raise _refused(here, "lies in the store: a pull there would damage it", "Pull to another directory.")
        if deletes and _inside(store, here) is not None:
            raise _refused(here, "holds the store, and --delete would remove it", "Pull without --delete.")


def _refused(path: bytes, why: str, next_step: str) -> ConfigurationError:
    return ConfigurationError(f"{shown(path)} {why}", where=shown(path), next_step=next_step)


def _real(path: str | bytes) -> bytes:
    return os.path.realpath(os.fsencode(path))


def _inside(path: bytes, folder: bytes) -> bytes | None:
    """``path`` relative to ``folder``, empty if they are the same; None where it is not inside."""
    if path == folder:
        return b""
    start = folder.rstrip(b"/") + b"/"
    return path[len(start) :] if path.startswith(start) else None
