"""A single-threaded numpy loop that writes checkpoints, with or without a watch that uploads them.

    train_loop.py MODE URL SCRATCH SECONDS INTERVAL_SECONDS CHANGED_BYTES     prints numbers as JSON

MODE is `alone` or `watched`. Every interval one of four files is rewritten with noise, in both modes; SCRATCH is empty.
Writing is not counted, what the upload of it costs the loop is.
"""

import json
import os
import resource
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import numpy as np

from artifactstore.jobs.directory import SyncableDirectory, create_syncable_directory
from artifactstore.store import open_store

_FILES: Final = 4
_SIZE: Final = 256
_STEPS: Final = 1000
"""Seconds are told for so many steps."""
_WRITTEN_BYTES: Final = 4 << 20


class Training:
    """Steps of about a millisecond: the loop asks for the interpreter's lock that often."""

    def __init__(self) -> None:
        chance = np.random.default_rng(1)
        self._weights = chance.standard_normal((_SIZE, _SIZE), dtype=np.float32)
        self._batch = chance.standard_normal((_SIZE, _SIZE), dtype=np.float32)

    def step(self) -> None:
        out = np.tanh(self._batch @ self._weights)
        self._weights *= 0.999
        self._weights += 1e-4 * (self._batch.T @ out) / _SIZE


def write_checkpoint(directory: Path, number: int, length: int) -> None:
    """Rewrite one of the files, as programs do: under another name, then renamed."""
    path = directory / f"part-{number % _FILES}"
    with open(path.with_suffix(".new"), "wb") as file:
        for start in range(0, length, _WRITTEN_BYTES):
            file.write(os.urandom(min(_WRITTEN_BYTES, length - start)))
    path.with_suffix(".new").rename(path)


def train(directory: Path, *, seconds: float, interval_seconds: float, changed_bytes: int) -> tuple[float, int]:
    """Seconds spent in steps, and how many steps that were."""
    training, spent, steps, checkpoints = Training(), 0.0, 0, 0
    while spent < seconds:
        until = min(seconds, interval_seconds * (checkpoints + 1))
        began = time.perf_counter()
        while spent + time.perf_counter() - began < until:
            training.step()
            steps += 1
        spent += time.perf_counter() - began
        write_checkpoint(directory, checkpoints, changed_bytes)
        checkpoints += 1
    return spent, steps


def main() -> None:
    """The command line."""
    mode, url, scratch = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    seconds, interval_seconds, changed_bytes = float(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6])
    with open_store(url, state_path=scratch / "state") as store:
        directory: SyncableDirectory = create_syncable_directory("model", scratch / "model", job="train", store=store)
        for number in range(_FILES):
            write_checkpoint(scratch / "model", number, changed_bytes)
        directory.upload()
        before = resource.getrusage(resource.RUSAGE_SELF)
        with directory.watch(interval_seconds) if mode == "watched" else nullcontext():
            spent, steps = train(
                scratch / "model", seconds=seconds, interval_seconds=interval_seconds, changed_bytes=changed_bytes
            )
            after = resource.getrusage(resource.RUSAGE_SELF)
        snapshots = len(list(directory.history()))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"seconds": spent / steps * _STEPS, "cpu_seconds": cpu, "steps": steps, "snapshots": snapshots}))


if __name__ == "__main__":
    main()
