"""Random reads of one large file in an S3 server: as a stored version, and as a plain object.

    read_ranges.py put ENDPOINT BUCKET PREFIX LENGTH SCRATCH         pushes the file, and puts it as it is
    read_ranges.py artifactstore ENDPOINT BUCKET PREFIX COUNT SCRATCH SEED
    read_ranges.py s3fs ENDPOINT BUCKET PREFIX COUNT SCRATCH SEED    both print numbers as JSON

Content is noise that nothing can compress. SCRATCH is empty. Credentials come from the environment.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import fsspec

from artifactstore.backend.table import BackendOptions, open_backend
from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.dedup.state import LocalState
from artifactstore.filesystem.system import open_filesystem
from artifactstore.store import Store

READ_BYTES: Final = 64 << 10
READERS: Final = (1, 8, 32)
_NAME: Final = "bench/random"
_PATH: Final = f"{_NAME}:v1/noise"
_BLOCK_BYTES: Final = 1 << 20
_TABLE_STEP_BYTES: Final = 8 << 20
Numbers = dict[str, dict[str, float]]
Read = Callable[[int], bytes]


def put(endpoint: str, place: str, length: int, scratch: Path) -> None:
    """The file in both forms."""
    source = scratch / "source"
    source.mkdir()
    with (source / "noise").open("wb") as file:
        for number in range(0, length, _BLOCK_BYTES):
            file.write(random.Random(f"noise {number}").randbytes(min(_BLOCK_BYTES, length - number)))
    with opened(endpoint, place, scratch / "state") as store:
        store.init()
        store.push(source, _NAME)
    plain_system(endpoint).put_file(str(source / "noise"), f"{place}/plain/noise")


def opened(endpoint: str, place: str, state: Path) -> Store:
    """The store, with a backend that counts."""
    url = f"s3://{place}/store?endpoint_url={endpoint}"
    counter = CountBackend(open_backend(url, clock=SYSTEM_CLOCK, options=BackendOptions(jobs=max(READERS))))
    return Store(url, counter, state=LocalState(state, clock=SYSTEM_CLOCK))


def plain_system(endpoint: str) -> Any:
    """s3fs, as it comes."""
    return fsspec.filesystem("s3", endpoint_url=endpoint, skip_instance_cache=True)


def timed(read: Read, offsets: Sequence[int], *, readers: int, requests: Callable[[], int]) -> dict[str, float]:
    """All of the reads, by so many threads."""
    before = requests()
    cpu, start = time.process_time(), time.perf_counter()
    if readers == 1:
        lengths = [len(read(offset)) for offset in offsets]
    else:
        with ThreadPoolExecutor(readers) as threads:
            lengths = [len(content) for content in threads.map(read, offsets)]
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    if set(lengths) != {READ_BYTES}:
        raise AssertionError("a read was not as long as asked for")
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "request_count": requests() - before}


def draw(seed: str, count: int, length: int) -> list[int]:
    """Where to read: the same for all tools."""
    return [random.Random(f"{seed} {number}").randrange(length - READ_BYTES) for number in range(count)]


def read_stored(endpoint: str, place: str, count: int, scratch: Path, seed: str) -> Numbers:
    """Through the file system, with a cache on disk that is empty at first. Each column with caches of its own."""
    numbers: Numbers = {}
    for column in ("cold-1", *(f"tables-{readers}" for readers in READERS), "ranges"):
        os.environ["ARTIFACTSTORE_CACHE_DIR"] = str(scratch / f"cache-{column}")
        with opened(endpoint, place, scratch / f"state-{column}") as store:
            fs = open_filesystem(store)
            counter = store.catalog.backend
            length = fs.size(_PATH)
            offsets = draw(f"{seed} {column}", count, length)
            if column != "cold-1":
                for at in range(0, length, _TABLE_STEP_BYTES):
                    fs.cat_file(_PATH, at, at + 1)

            def read(offset: int, fs: Any = fs) -> bytes:
                return fs.cat_file(_PATH, offset, offset + READ_BYTES)  # type: ignore[no-any-return]

            def requests(counter: Any = counter) -> int:
                return counter.counts.request_count  # type: ignore[no-any-return]

            if column == "ranges":
                numbers[column] = timed_ranges(fs, _PATH, offsets, requests)
            else:
                numbers[column] = timed(read, offsets, readers=int(column.partition("-")[2]), requests=requests)
    return numbers


def read_plain(endpoint: str, place: str, count: int, seed: str) -> Numbers:
    """Through s3fs, which has no tables and keeps nothing of what `cat_file` read."""
    fs = plain_system(endpoint)
    path = f"{place}/plain/noise"
    length = fs.size(path)
    sent: list[object] = []
    fs._s3.meta.events.register("before-send.s3.GetObject", lambda **_: sent.append(1) and None)
    numbers: Numbers = {}
    for column in ("cold-1", *(f"tables-{readers}" for readers in READERS), "ranges"):
        offsets = draw(f"{seed} {column}", count, length)

        def read(offset: int) -> bytes:
            return fs.cat_file(path, start=offset, end=offset + READ_BYTES)  # type: ignore[no-any-return]

        if column == "ranges":
            numbers[column] = timed_ranges(fs, path, offsets, lambda: len(sent))
        else:
            readers = int(column.partition("-")[2])
            numbers[column] = timed(read, offsets, readers=readers, requests=lambda: len(sent))
    return numbers


def timed_ranges(fs: Any, path: str, offsets: Sequence[int], requests: Callable[[], int]) -> dict[str, float]:
    """All of the reads by one call."""
    before = requests()
    cpu, start = time.process_time(), time.perf_counter()
    got = fs.cat_ranges([path] * len(offsets), list(offsets), [at + READ_BYTES for at in offsets], on_error="raise")
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    if {len(content) for content in got} != {READ_BYTES}:
        raise AssertionError("a read was not as long as asked for")
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "request_count": requests() - before}


def main() -> None:
    """The command line."""
    verb, endpoint, bucket, prefix, number, scratch = sys.argv[1:7]
    place = f"{bucket}/{prefix}"
    match verb:
        case "put":
            put(endpoint, place, int(number), Path(scratch))
        case "artifactstore":
            print(json.dumps(read_stored(endpoint, place, int(number), Path(scratch), sys.argv[7])))
        case "s3fs":
            print(json.dumps(read_plain(endpoint, place, int(number), sys.argv[7])))


if __name__ == "__main__":
    main()
