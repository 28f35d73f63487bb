"""Label hints: which versions may have a label, by one listing (`labels/<label>/…`).

Put after the commit or the edit. A reader checks each against slot, tombstone and later
edits, so a hint that is missing or stale costs a search result or a request, never a wrong answer.
"""

import logging
from collections.abc import Iterable
from concurrent.futures import Executor

from artifactstore.backend.protocol import Backend
from artifactstore.errors import BackendError
from artifactstore.keys import label_key
from artifactstore.transaction.versions import Version

FIRST_LABELS = 0
"""Stands where later edits have their number: the labels that a version was made with."""

_log = logging.getLogger(__name__)


def put_label_hints(backend: Backend, version: Version, labels: Iterable[str], *, pool: Executor) -> int:
    """Say that a version was made with these labels; returns how many hints are there now.

    What fails is left out: the version is committed, and its record has the labels.
    """

    def put(label: str) -> bool:
        return _put(backend, version, label, number=FIRST_LABELS, on=True)

    return sum(pool.map(put, labels))


def put_edit_hints(
    backend: Backend, version: Version, *, number: int, on: Iterable[str], off: Iterable[str] = ()
) -> None:
    """Say that from edit ``number`` on a version has some labels, and lacks others.

    What fails is told and left out: the edit has the labels, and the same edit again puts the hints.
    """
    missing = [label for label in on if not _put(backend, version, label, number=number, on=True)]
    for label in off:
        _put(backend, version, label, number=number, on=False)
    if missing:
        _log.warning(
            "%s has the labels %s, but `find` may not find it by them: run the same edit again",
            version.text,
            ", ".join(missing),
        )


def _put(backend: Backend, version: Version, label: str, *, number: int, on: bool) -> bool:
    try:
        backend.put(label_key(label, version.name, version.slot, number, on=on), b"")
    except BackendError:
        return False
    return True
