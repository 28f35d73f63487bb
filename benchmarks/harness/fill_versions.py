"""A store of many names with one small version each, some of them labelled.

    fill_versions.py URL COUNT SCRATCH     prints how many have the label, as JSON

The versions are pushed one by one to a store in memory, and its objects are then put at the URL
as they are: what is there is what that many pushes leave, and it takes minutes, not hours.
SCRATCH is empty. Nothing at the URL may exist yet.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.table import BackendOptions, create_local_root, open_backend
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.dedup.state import LocalState
from artifactstore.store import PushOptions, Store

LABEL: Final = "chosen"
OTHER_LABEL: Final = "all"
_ONE_IN: Final = 20
_FOLDERS: Final = 20
_JOBS: Final = 16


def is_chosen(number: int) -> bool:
    """One in twenty, from all folders in turn."""
    return number % _ONE_IN == number // _ONE_IN % _FOLDERS


def fill(memory: MemoryBackend, count: int, scratch: Path) -> int:
    """Push; returns how many versions have the label."""
    source = scratch / "source"
    source.mkdir()
    chosen = 0
    with Store(memory.url, memory, state=LocalState(scratch / "state", clock=SYSTEM_CLOCK)) as store:
        store.init()
        for number in range(count):
            # A few contents in turns: most pushes send no content, and each makes a version.
            (source / "numbers.txt").write_text(f"{number % 100}\n" * 100)
            labels = (OTHER_LABEL, LABEL) if is_chosen(number) else (OTHER_LABEL,)
            chosen += is_chosen(number)
            options = PushOptions(
                labels=labels, message=f"run {number}", metadata={"acc": number / count, "step": number}
            )
            store.push(source, f"team-{number % _FOLDERS:02d}/model-{number:05d}", options=options)
    return chosen


def copy(memory: MemoryBackend, url: str) -> None:
    """Put all objects at a URL."""
    create_local_root(url, clock=SYSTEM_CLOCK)
    target = open_backend(url, clock=SYSTEM_CLOCK, options=BackendOptions(jobs=_JOBS))
    with ThreadPoolExecutor(_JOBS) as pool:
        for _ in pool.map(lambda key: target.put(key, memory.get(key)), list(memory.keys())):
            pass
    target.close()


def check(url: str, scratch: Path) -> None:
    """What was put is a store, and its versions can be read."""
    backend = open_backend(url, clock=SYSTEM_CLOCK)
    with Store(url, backend, state=LocalState(scratch / "state-check", clock=SYSTEM_CLOCK)) as store:
        store.show("team-00/model-00000:v1")
        if store.open("team-00/model-00000:v1/numbers.txt").read() != b"0\n" * 100:
            raise AssertionError("other bytes than were pushed")


def main() -> None:
    """The command line."""
    url, count, scratch = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    memory = MemoryBackend(clock=SYSTEM_CLOCK, name="fill")
    chosen = fill(memory, count, scratch)
    copy(memory, url)
    check(url, scratch)
    print(json.dumps(chosen))


if __name__ == "__main__":
    main()
