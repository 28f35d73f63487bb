"""Seeded data: the same bytes on every machine, from the standard library alone.

    ckpt    v1: one file of 1 GiB, bf16 weights
            v2: 37 bytes inserted at the front, one region of 10 MiB and twenty of 64 KiB rewritten
    small   20,000 files in 200 directories, sizes log-normal (mean 16 KiB, median 9.7 KiB); every second one noise,
            the others text of sixteen letters
    large   one file of 10 GiB, bf16 weights
    regions v1: 8 files of 128 MiB, bf16 weights
            v2: 1 % of each rewritten, in regions of 64 KiB that are spread over it
    many    200,000 files of 64 to 128 bytes in 200 directories

A corpus is generated once, under a directory named by what it is made from, and kept. ``scale`` multiplies
bytes (ckpt, large, regions) or numbers of files (small, many).
"""

import contextlib
import hashlib
import json
import math
import os
import random
import shutil
import statistics
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Final

GENERATOR: Final = 1  # changes with the bytes that are generated
_BLOCK_BYTES: Final = 1 << 20
_WEIGHT_DEVIATION: Final = 0.02
_FRONT_BYTES: Final = 37
_LARGE_EDIT_BYTES: Final = 10 << 20
_SMALL_EDIT_BYTES: Final = 64 << 10
_SMALL_EDITS: Final = 20
_MEAN_FILE_BYTES: Final = 16 << 10
_FILE_SIGMA: Final = 1.0
_MAX_FILE_BYTES: Final = 4 << 20
_WORTH_SETTLING_BYTES: Final = 256 << 20  # of less, reading it again does not show
_SETTLED_SECONDS: Final = 3.0
_REGIONS_FILES: Final = 8
_REGIONS_FILE_BYTES: Final = 128 << 20
_FILES_PER_DIRECTORY: Final = {"small": 100, "many": 1000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One version of a corpus, in numbers.

    Attributes:
        digest: BLAKE2b-128 over paths and bytes, in order of generation.
    """

    file_count: int
    content_bytes: int
    digest: str


class Corpus:
    """Generated data on disk.

    Attributes:
        name: One of `CORPORA`.
        contents: By version: ``v1``, and for ckpt and regions ``v2``.
        current: Where a version lies while it is `shown`.
    """

    def __init__(self, name: str, root: Path, contents: Mapping[str, Content]) -> None:
        self.name = name
        self.contents = contents
        self._root = root
        self.current = root / "current"

    @contextlib.contextmanager
    def shown(self, version: str) -> Iterator[Path]:
        """Give a version under the path that all versions have in turn, as a training run's output directory has.

        The directory is renamed: its files keep inode and times, so that a tool's own record
        of what it has seen is neither helped nor hurt.
        """
        os.rename(self._root / version, self.current)
        try:
            yield self.current
        finally:
            os.rename(self.current, self._root / version)


def corpus(name: str, *, scale: float, directory: Path) -> Corpus:
    """The corpus called ``name``, generated below ``directory`` unless it is there.

    Raises:
        KeyError: There is no such corpus.
        ValueError: The scale is not above 0.
    """
    if not scale > 0:
        raise ValueError(f"a scale is above 0, not {scale}")
    root = directory / f"{name}-{scale:g}-{GENERATOR}"
    stamp = root / "contents.json"
    if not stamp.exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        contents = CORPORA[name](root, scale)
        _settle(sum(content.content_bytes for content in contents.values()))
        stamp.write_text(json.dumps({version: asdict(content) for version, content in contents.items()}))
    contents = {version: Content(**fields) for version, fields in json.loads(stamp.read_text()).items()}
    _put_back(root, contents)
    return Corpus(name, root, contents)


def _settle(length: int) -> None:
    """Let files grow old: tools don't trust the times of a file that changed just before they read it."""
    os.sync()
    if length >= _WORTH_SETTLING_BYTES:
        time.sleep(_SETTLED_SECONDS)


def _put_back(root: Path, versions: Mapping[str, Content]) -> None:
    """After a run that was killed one version is still called ``current``."""
    missing = [version for version in versions if not (root / version).exists()]
    if missing:
        os.rename(root / "current", root / missing[0])


# -- ckpt, large ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    """Bytes of v1 from ``start`` are others in v2."""

    start: int
    body: bytes


class _Weights:
    """Normally distributed bf16 values, little-endian, as a stream of bytes.

    The two bytes of each value are drawn from their own distributions, apart: nothing repeats, and
    zstd saves 23 % of it, where it saves 22 % of exact values, which would take ten times as long.
    """

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._low, self._high = _byte_tables()

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        count = (length + 1) // 2
        values = bytearray(2 * count)
        values[0::2] = self._random.randbytes(count).translate(self._low)
        values[1::2] = self._random.randbytes(count).translate(self._high)
        return bytes(values[:length])


def _byte_tables() -> tuple[bytes, bytes]:
    """For the low and the high byte: 256 equally likely values each, sorted."""
    normal = statistics.NormalDist(0.0, _WEIGHT_DEVIATION)
    draws = 1 << 16
    values = [struct.pack("<f", normal.inv_cdf((i + 0.5) / draws))[2:] for i in range(draws)]
    low = sorted(value[0] for value in values)
    high = sorted(value[1] for value in values)
    every = slice(draws // 512, None, draws // 256)
    return bytes(low[every]), bytes(high[every])


def _generate_ckpt(root: Path, scale: float) -> dict[str, Content]:
    length = max(4096, int((1 << 30) * scale))
    edits = _edits(length, scale)
    weights = _Weights("ckpt v1")
    front = random.Random("ckpt v2 front").randbytes(_FRONT_BYTES)
    with _Files(root / "v1") as first, _Files(root / "v2") as second:
        for files in (first, second):
            files.begin("model.safetensors")
        second.write(front)
        for start in range(0, length, _BLOCK_BYTES):
            block = weights.take(min(_BLOCK_BYTES, length - start))
            first.write(block)
            second.write(_edited(block, start, edits))
    return {"v1": first.content, "v2": second.content}


def _edits(length: int, scale: float) -> list[_Edit]:
    """One long edit and twenty short ones, in regions of their own so that none touch."""
    chance = random.Random("ckpt edits")
    weights = _Weights("ckpt v2")
    sizes = [max(1, int(_LARGE_EDIT_BYTES * scale))]
    sizes += [max(1, int(_SMALL_EDIT_BYTES * min(scale, 1.0)))] * _SMALL_EDITS
    region = length // len(sizes)
    chance.shuffle(sizes)
    return [
        _Edit(start=number * region + chance.randrange(region - size), body=weights.take(size))
        for number, size in enumerate(sizes)
    ]


def _edited(block: bytes, start: int, edits: list[_Edit]) -> bytes:
    for edit in edits:
        first = max(edit.start, start)
        last = min(edit.start + len(edit.body), start + len(block))
        if first < last:
            new = edit.body[first - edit.start : last - edit.start]
            block = block[: first - start] + new + block[last - start :]
    return block


def _generate_large(root: Path, scale: float) -> dict[str, Content]:
    weights = _Weights("large")
    length = max(4096, int((10 << 30) * scale))
    with _Files(root / "v1") as file:
        file.begin("model.safetensors")
        for start in range(0, length, _BLOCK_BYTES):
            file.write(weights.take(min(_BLOCK_BYTES, length - start)))
    return {"v1": file.content}


def _generate_regions(root: Path, scale: float) -> dict[str, Content]:
    length = max(64 << 10, int(_REGIONS_FILE_BYTES * scale))
    weights = _Weights("regions v1")
    with contextlib.ExitStack() as stack:
        both = [stack.enter_context(_Files(root / version)) for version in ("v1", "v2")]
        for number in range(_REGIONS_FILES):
            edits = _spread(length, seed=f"regions v2 {number}")
            for files in both:
                files.begin(f"part-{number}.bin")
            for start in range(0, length, _BLOCK_BYTES):
                block = weights.take(min(_BLOCK_BYTES, length - start))
                both[0].write(block)
                both[1].write(_edited(block, start, edits))
    return {"v1": both[0].content, "v2": both[1].content}


def _spread(length: int, *, seed: str) -> list[_Edit]:
    """Edits that make up 1 % of the bytes, each in a part of its own."""
    size = min(_SMALL_EDIT_BYTES, length // 100)
    count = length // 100 // size
    chance, weights, part = random.Random(seed), _Weights(seed), length // count
    return [
        _Edit(start=number * part + chance.randrange(part - size), body=weights.take(size)) for number in range(count)
    ]


class _Files:
    """Files of one directory being written, one after the other, and counted. The directory is made."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._file: BinaryIO | None = None
        self._digest = hashlib.blake2b(digest_size=16)
        self._length = 0
        self._count = 0

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._file is not None:
            self._file.close()

    def begin(self, name: str) -> None:
        """What is written from here on goes into this file."""
        self.__exit__()
        self._file = (self._directory / name).open("wb")
        self._digest.update(name.encode() + b"\0")
        self._count += 1

    def write(self, body: bytes) -> None:
        assert self._file is not None
        self._file.write(body)
        self._digest.update(body)
        self._length += len(body)

    @property
    def content(self) -> Content:
        return Content(file_count=self._count, content_bytes=self._length, digest=self._digest.hexdigest())


# -- small, many ---------------------------------------------------------------------------------------


def _generate_small(root: Path, scale: float) -> dict[str, Content]:
    chance = random.Random("small")
    letters = bytes(ord("a") + byte % 16 for byte in range(256))
    median = math.log(_MEAN_FILE_BYTES) - _FILE_SIGMA**2 / 2

    def body(number: int) -> bytes:
        length = min(int(chance.lognormvariate(median, _FILE_SIGMA)), _MAX_FILE_BYTES)
        noise = chance.randbytes(length)
        return noise if number % 2 else noise.translate(letters)

    return {"v1": _write_files(root / "v1", max(2, int(20_000 * scale)), "small", body)}


def _generate_many(root: Path, scale: float) -> dict[str, Content]:
    chance = random.Random("many")
    count = max(2, int(200_000 * scale))
    return {"v1": _write_files(root / "v1", count, "many", lambda _: chance.randbytes(chance.randrange(64, 129)))}


def _write_files(root: Path, count: int, name: str, body: Callable[[int], bytes]) -> Content:
    per_directory = _FILES_PER_DIRECTORY[name]
    digest = hashlib.blake2b(digest_size=16)
    total = 0
    for number in range(count):
        path = file_path(name, number)
        if number % per_directory == 0:
            (root / path).parent.mkdir(parents=True)
        content = body(number)
        (root / path).write_bytes(content)
        digest.update(b"%s\0%d\0%s" % (path.encode(), len(content), content))
        total += len(content)
    return Content(file_count=count, content_bytes=total, digest=digest.hexdigest())


def file_path(name: str, number: int) -> str:
    """Where the file with this number lies in small or many."""
    return f"part-{number // _FILES_PER_DIRECTORY[name]:03d}/item-{number:06d}.bin"


CORPORA: Final[Mapping[str, Callable[[Path, float], dict[str, Content]]]] = {
    "ckpt": _generate_ckpt,
    "small": _generate_small,
    "large": _generate_large,
    "many": _generate_many,
    "regions": _generate_regions,
}
