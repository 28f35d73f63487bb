"""Requests to the storage, counted by `CountBackend` between a store and its backend.

    count_requests.py URL DIRECTORY SCRATCH     prints numbers as JSON

DIRECTORY holds the corpus `many`, SCRATCH is empty. Nothing at the URL may exist yet.
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from artifactstore.backend.table import open_backend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.dedup.state import LocalState
from artifactstore.store import PushOptions, Store

_SMALL_FILES: Final = 20
_ALIAS: Final = "chosen"


@contextlib.contextmanager
def counted_store(url: str, state: Path) -> Iterator[tuple[Store, CountBackend]]:
    """A store that has not sent a request yet, and its counter."""
    counter = CountBackend(open_backend(url, clock=SYSTEM_CLOCK))
    with Store(url, counter, state=LocalState(state, clock=SYSTEM_CLOCK)) as store:
        yield store, counter


def count_pushes(url: str, scratch: Path) -> dict[str, int]:
    """A first push of a few files, and a second one after a change."""
    source = scratch / "few"
    source.mkdir()
    for number in range(_SMALL_FILES):
        (source / f"{number:02d}.txt").write_text(f"file {number}\n" * 100)
    counts = {}
    for step in ("first-push", "second-push"):
        with counted_store(url, scratch / "state-few") as (store, counter):
            store.push(source, "bench/few")
            counts[step] = counter.counts.request_count
        (source / "00.txt").write_text("changed\n")
    return counts


def count_pulls(url: str, directory: Path, scratch: Path) -> dict[str, int]:
    """One file in the middle of a large version, each time by a machine that has not met the store."""
    files = sorted(path.relative_to(directory).as_posix() for path in directory.glob("*/*"))
    middle = files[len(files) // 2]
    with counted_store(url, scratch / "state-many") as (store, _):
        store.push(directory, "bench/many", options=PushOptions(aliases=(_ALIAS,)))
    counts = {}
    for step, selector in {"pull-name": "latest", "pull-version": "v1", "pull-alias": _ALIAS}.items():
        destination = scratch / step
        with counted_store(url, scratch / f"state-{step}") as (store, counter):
            store.pull(f"bench/many:{selector}/{middle}", destination)
            counts[step] = counter.counts.request_count
        pulled = destination / Path(middle).name
        if pulled.read_bytes() != (directory / middle).read_bytes():
            raise AssertionError(f"{step} brought other bytes")
    return counts


def main() -> None:
    """The command line."""
    url, directory, scratch = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    with counted_store(url, scratch / "state-init") as (store, _):
        store.init()
    print(json.dumps({**count_pushes(url, scratch), **count_pulls(url, directory, scratch)}))


if __name__ == "__main__":
    main()
