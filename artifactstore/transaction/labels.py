"""Label hints: which versions may have a label, by one listing (`labels/<label>/…`).

Put after the commit. A reader checks each against slot, tombstone and later edits, so a
hint that is missing or stale costs a search result or a request, never a wrong answer.
"""

from collections.abc import Iterable
from concurrent.futures import Executor

from artifactstore.backend.protocol import Backend
from artifactstore.errors import BackendError
from artifactstore.keys import label_key
from artifactstore.transaction.versions import Version

FIRST_LABELS = 0
"""Stands where later edits have their number: the labels that a version was made with."""


def put_label_hints(backend: Backend, version: Version, labels: Iterable[str], *, pool: Executor) -> int:
    """Say that a version was made with these labels; returns how many hints are there now.

    What fails is left out: the version is committed, and its record has the labels.
    """

    def put(label: str) -> bool:
        try:
            backend.put(label_key(label, version.name, version.slot, FIRST_LABELS, on=True), b"")
        except BackendError:
            return False
        return True

    return sum(pool.map(put, labels))
