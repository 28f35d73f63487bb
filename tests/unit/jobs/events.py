"""Event files of TensorBoard: written by tensorboardX, read back record by record, with their checksums."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

_POLYNOMIAL = 0x82F63B78


class EventLog:
    """One event file, written as training programs write it; what `flush` was called after is on the disk.

    `tensorboardX.SummaryWriter` puts a thread before the same writer: its `flush` does not wait for that.
    """

    def __init__(self, directory: Path, suffix: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(directory / "events"), filename_suffix=suffix)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._writer.close()

    def add(self, tag: str, value: float, step: int) -> None:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        self._writer.write_event(Event(wall_time=1.8e9 + step, step=step, summary=summary))

    def flush(self) -> None:
        self._writer.flush()


def write_scalars(directory: Path, tag: str, values: list[float]) -> None:
    """A new event file."""
    with EventLog(directory, f".{tag}") as log:
        for step, value in enumerate(values):
            log.add(tag, value, step)


def read_scalars(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar of the event files below a directory, each record checked."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(directory.rglob("*tfevents*")):
        for record in read_records(path.read_bytes()):
            event = Event.FromString(record)
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, round(value.simple_value, 3)))
    return found


def read_records(content: bytes) -> Iterator[bytes]:
    """TFRecords: length, its checksum, content, its checksum. One that was cut off at the end is not there yet."""
    at = 0
    while at + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        assert _masked(content[at : at + 8]) == struct.unpack_from("<I", content, at + 8)[0]
        end = at + 12 + length + 4
        if end > len(content):
            return
        record = content[at + 12 : end - 4]
        assert _masked(record) == struct.unpack_from("<I", content, end - 4)[0]
        yield record
        at = end


def _masked(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
