"""A directory as a zip, the same bytes each time and on every machine.

    local header   one for each member, its name, then its content as it is (method 0, "stored")
    central entry  one for each member, after all contents
    end records    the ZIP64 ones where a number does not fit, then the plain one

Contents are not compressed: what deflate makes of one input differs between versions of zlib, and
compressed bytes have nothing in common with those of a file that changed a little. The store
compresses and deduplicates what it keeps by itself.
Members stand in the order of a manifest's entries. Their times are 1980-01-01 00:00, their modes
0644, 0755 where the owner may execute, 0777 for links, whose content is their target (as Info-ZIP
has it). A directory is a member where it is empty. Names are UTF-8 (flag bit 11). Numbers are
little-endian, in the fields of PKWARE's APPNOTE.TXT 6.3, sections 4.3.7 to 4.3.16.

`archive_member`, `local_header`, `central_entry` and `end_records` do no I/O; `write_archive` does.
"""

import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Final

from artifactstore.errors import SourceError
from artifactstore.manifest.model import EntryKind
from artifactstore.transfer.found import Found, Scan
from artifactstore.transfer.handles import shown
from artifactstore.transfer.read import MAX_ATTEMPTS, SourceReader, keeps_changing

MAX_MEMBER_NAME_BYTES: Final = 0xFFFF
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_END_64: Final = struct.Struct("<4sQ2H2I4Q")
_LOCATOR_64: Final = struct.Struct("<4sIQI")
_STORED: Final = 0
_UTF8_NAMES: Final = 1 << 11
_TIME: Final = 0
_DATE: Final = 1 << 5 | 1  # 1980-01-01: the earliest there is
_UNIX: Final = 3
_MADE_BY: Final = _UNIX << 8 | 45
_NEEDS_PLAIN: Final = 20
_NEEDS_64: Final = 45
_EXTRA_64: Final = 1
_FULL_16: Final = 0xFFFF
_FULL_32: Final = 0xFFFFFFFF
_DOS_DIRECTORY: Final = 0x10
_MODES: Final = {EntryKind.FILE: 0o100644, EntryKind.LINK: 0o120777, EntryKind.DIRECTORY: 0o040755}
_EXECUTABLE_MODE: Final = 0o100755
_BUFFER_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveMember:
    """One member.

    Attributes:
        name: With a slash at its end for a directory.
        mode: As of Unix, with the kind of file.
        size: Bytes of content; of a link, of its target.
        crc: CRC-32 of the content.
    """

    name: bytes
    mode: int
    size: int = 0
    crc: int = 0


def archive_member(row: Found, *, size: int, crc: int) -> ArchiveMember:
    """The member that a row of a scan becomes."""
    kind = EntryKind(row.kind)
    mode = _EXECUTABLE_MODE if kind is EntryKind.FILE and row.executable else _MODES[kind]
    name = row.path + b"/" if kind is EntryKind.DIRECTORY else row.path
    return ArchiveMember(name=name, mode=mode, size=size, crc=crc)


def local_header(member: ArchiveMember) -> bytes:
    """What stands before the content. Its length depends on name and size alone."""
    is_large = member.size >= _FULL_32
    extra = struct.pack("<2H2Q", _EXTRA_64, 16, member.size, member.size) if is_large else b""
    size = _FULL_32 if is_large else member.size
    head = _LOCAL.pack(
        *(b"PK\x03\x04", _needs(is_large), _UTF8_NAMES, _STORED, _TIME, _DATE),
        *(member.crc, size, size, len(member.name), len(extra)),
    )
    return head + member.name + extra


def central_entry(member: ArchiveMember, *, offset: int) -> bytes:
    """The member's line in the directory at the end; ``offset`` is that of its local header."""
    large = b""
    size = place = _FULL_32
    if member.size >= _FULL_32:
        large += struct.pack("<2Q", member.size, member.size)
    else:
        size = member.size
    if offset >= _FULL_32:
        large += struct.pack("<Q", offset)
    else:
        place = offset
    extra = struct.pack("<2H", _EXTRA_64, len(large)) + large if large else b""
    attributes = member.mode << 16 | (_DOS_DIRECTORY if member.name.endswith(b"/") else 0)
    head = _CENTRAL.pack(
        *(b"PK\x01\x02", _MADE_BY, _needs(bool(large)), _UTF8_NAMES, _STORED, _TIME, _DATE),
        *(member.crc, size, size, len(member.name), len(extra)),
        *(0, 0, 0, attributes, place),
    )
    return head + member.name + extra


def end_records(*, count: int, offset: int, length: int) -> bytes:
    """What ends the archive: its directory has ``count`` entries in ``length`` bytes at ``offset``."""
    end = b""
    if count >= _FULL_16 or offset >= _FULL_32 or length >= _FULL_32:
        rest = _END_64.size - 12  # without the signature and this number
        end += _END_64.pack(b"PK\x06\x06", rest, _MADE_BY, _NEEDS_64, 0, 0, count, count, length, offset)
        end += _LOCATOR_64.pack(b"PK\x06\x07", 0, offset + length, 1)
    counted = min(count, _FULL_16)
    return end + _END.pack(
        b"PK\x05\x06", 0, 0, counted, counted, min(length, _FULL_32), min(offset, _FULL_32), 0
    )


def _needs(is_large: bool) -> int:
    return _NEEDS_64 if is_large else _NEEDS_PLAIN


def write_archive(found: Scan, target: IO[bytes]) -> None:
    """Write what a scan found as an archive to the start of a seekable file, holding one buffer at a time.

    Raises:
        SourceError: A path can't be named in a zip (nothing was written), or a file can't be read or kept changing.
        OSError: The file can't be written.
    """
    _check_names(found.found)
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    directory = []
    at = 0
    with SourceReader(found) as reader:
        for row in found.found:
            member = _write_member(row, reader, target, buffer)
            directory.append(central_entry(member, offset=at))
            at = target.tell()
    entries = b"".join(directory)
    target.write(entries)
    target.write(end_records(count=len(directory), offset=at, length=len(entries)))


def _check_names(rows: Iterable[Found]) -> None:
    for row in rows:
        try:
            row.path.decode("utf-8")
        except UnicodeDecodeError as error:
            where = shown(row.path)
            what = f"the name {where} is not UTF-8, and a zip holds no other names"
            raise SourceError(what, where=where, next_step="Rename it, or store the directory as it is.") from error
        if len(row.path) >= MAX_MEMBER_NAME_BYTES:
            where = shown(row.path[:200])
            raise SourceError(f"a path is too long for a zip ({len(row.path)} bytes): {where}…", where=where)


def _write_member(row: Found, reader: SourceReader, target: IO[bytes], buffer: memoryview) -> ArchiveMember:
    if row.kind == EntryKind.FILE:
        return _write_file(row, reader, target, buffer)
    member = archive_member(row, size=len(row.target), crc=zlib.crc32(row.target))
    target.write(local_header(member))
    target.write(row.target)
    return member


def _write_file(row: Found, reader: SourceReader, target: IO[bytes], buffer: memoryview) -> ArchiveMember:
    """The file as it was at one moment: one that changes meanwhile is read again."""
    start = target.tell()
    for _ in range(MAX_ATTEMPTS):
        target.seek(start)
        target.truncate()
        with reader.open(row) as source:
            # The checksum stands before the content and is known after it.
            target.write(local_header(archive_member(row, size=source.size, crc=0)))
            crc = at = 0
            while count := source.read_at(at, buffer):
                crc = zlib.crc32(buffer[:count], crc)
                target.write(buffer[:count])
                at += count
            now = source.finish()
        if now is not None:
            member = archive_member(now, size=at, crc=crc)
            target.seek(start)
            target.write(local_header(member))
            target.seek(0, os.SEEK_END)
            return member
    raise keeps_changing(row)
