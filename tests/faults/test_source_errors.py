"""The system refuses in the middle of looking at or reading a source (faults 43, 45, 47, 48)."""

import errno
import os
from pathlib import Path

import pytest

from artifactstore.errors import ArtifactStoreError, SourceChanged, SourceError, SourceUnreadable
from artifactstore.transfer.read import SourceReader
from artifactstore.transfer.scan import scan

CASES = [
    (errno.EIO, SourceUnreadable),
    (errno.EACCES, SourceUnreadable),
    (errno.EPERM, SourceUnreadable),
    (errno.ENOENT, SourceChanged),
    (errno.ESTALE, SourceChanged),
    (errno.ELOOP, SourceChanged),
    (errno.EMFILE, SourceError),
    (errno.ENFILE, SourceError),
    (errno.ENOMEM, SourceError),
]
IDS = [errno.errorcode[number] for number, _ in CASES]


def fail_calls(monkeypatch: pytest.MonkeyPatch, name: str, number: int, *, after: int = 0) -> None:
    """Let the call `os.<name>` fail once it has worked ``after`` times."""
    call = getattr(os, name)
    count = 0

    def failing(*args: object, **options: object) -> object:
        nonlocal count
        count += 1
        if count > after:
            raise OSError(number, os.strerror(number))
        return call(*args, **options)

    monkeypatch.setattr(os, name, failing)


def check_message(error: ArtifactStoreError) -> None:
    """What, where, whether data is safe, what to do next."""
    assert "busy" in str(error)
    assert error.data_safe in str(error)
    assert error.next_step in str(error)


@pytest.mark.parametrize(("number", "kind"), CASES, ids=IDS)
def test_a_file_that_cannot_be_opened_is_a_typed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[SourceError]
) -> None:
    (tmp_path / "busy").write_bytes(b"content")
    result = scan([tmp_path])
    fail_calls(monkeypatch, "open", number, after=1)  # the directory's handle
    with SourceReader(result) as reader, pytest.raises(kind) as raised:
        reader.read(result.found[0])
    assert type(raised.value) is kind
    check_message(raised.value)


@pytest.mark.parametrize("name", ["read", "readv"])
def test_an_input_error_in_a_small_file_is_a_typed_error_and_leaks_no_handle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "busy").write_bytes(b"content")
    result = scan([tmp_path])
    before = len(os.listdir("/dev/fd"))
    fail_calls(monkeypatch, name, errno.EIO)
    with SourceReader(result) as reader, pytest.raises(SourceUnreadable) as raised:
        if name == "read":
            reader.read(result.found[0])
        else:
            reader.read_into(result.found[0], memoryview(bytearray(100)))
    check_message(raised.value)
    assert len(os.listdir("/dev/fd")) == before


def test_an_input_error_in_a_large_file_names_the_offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "busy").write_bytes(bytes(3000))
    result = scan([tmp_path])
    with SourceReader(result) as reader, reader.open(result.found[0]) as source:
        fail_calls(monkeypatch, "preadv", errno.EIO, after=1)
        buffer = memoryview(bytearray(1000))
        source.read_at(0, buffer)
        with pytest.raises(SourceUnreadable, match="byte 1000") as raised:
            source.read_at(1000, buffer)
    check_message(raised.value)


def test_reads_cut_short_by_the_system_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * 40
    (tmp_path / "busy").write_bytes(content)
    result = scan([tmp_path])
    call = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset: call(fd, [buffers[0][:100]], offset))
    buffer = memoryview(bytearray(len(content)))
    with SourceReader(result) as reader, reader.open(result.found[0]) as source:
        assert source.read_at(0, buffer) == len(content)
        assert source.finish() is result.found[0]
    assert buffer == content


def test_a_file_system_without_holes_is_all_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "busy").open("wb") as stream:
        stream.truncate(1 << 20)
    result = scan([tmp_path])
    fail_calls(monkeypatch, "lseek", errno.EINVAL)
    with SourceReader(result) as reader, reader.open(result.found[0]) as source:
        (segment,) = source.segments()
    assert (segment.start, segment.length, segment.is_hole) == (0, 1 << 20, False)


@pytest.mark.parametrize(("number", "kind"), CASES[:3], ids=IDS[:3])
def test_a_path_that_cannot_be_looked_at_fails_the_scan_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[SourceError]
) -> None:
    (tmp_path / "busy").write_bytes(b"content")
    call = os.stat

    def failing(path: object, **options: object) -> os.stat_result:
        if path == b"busy":
            raise OSError(number, os.strerror(number))
        return call(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", failing)
    with pytest.raises(kind) as raised:
        scan([tmp_path])
    check_message(raised.value)


def test_a_failed_scan_leaves_no_handle_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tmp_path / f"d{number}").mkdir()
    before = len(os.listdir("/dev/fd"))
    fail_calls(monkeypatch, "listdir", errno.EMFILE, after=3)
    with pytest.raises(SourceError):
        scan([tmp_path])
    monkeypatch.undo()
    assert len(os.listdir("/dev/fd")) == before
