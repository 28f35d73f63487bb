"""What the cache asks of the operating system: the one place where tests make a disk fail."""

import fcntl
import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileSeen:
    """A file as a listing of its folder shows it."""

    name: str
    size_bytes: int
    used_ns: int


class System:
    """The calls themselves. Tests derive from it. All raise `OSError`."""

    def open(self, path: str, flags: int, mode: int = 0o600, *, dir_fd: int | None = None) -> int:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode, dir_fd=dir_fd)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def stat_open(self, descriptor: int) -> os.stat_result:
        return os.fstat(descriptor)

    def stat(self, path: str, *, dir_fd: int | None = None) -> os.stat_result:
        return os.stat(path, dir_fd=dir_fd, follow_symlinks=False)

    def read(self, descriptor: int, length: int) -> bytes:
        return os.read(descriptor, length)

    def read_at(self, descriptor: int, length: int, offset: int) -> bytes:
        return os.pread(descriptor, length, offset)

    def write(self, descriptor: int, data: memoryview) -> int:
        return os.write(descriptor, data)

    def write_at(self, descriptor: int, data: bytes, offset: int) -> None:
        os.pwrite(descriptor, data, offset)

    def touch(self, descriptor: int, used_ns: int) -> None:
        """Record when a file was used."""
        try:
            os.utime(descriptor, ns=(used_ns, used_ns))
        except PermissionError:
            os.utime(descriptor)  # another user's file: only "now" is allowed

    def lock(self, descriptor: int) -> bool:
        """Take the one lock of a file, without waiting. False where somebody else has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self, descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def rename(self, source: str, target: str, *, dir_fd: int) -> None:
        os.rename(source, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)

    def unlink(self, path: str, *, dir_fd: int) -> None:
        os.unlink(path, dir_fd=dir_fd)

    def mkdir(self, path: str, mode: int, *, dir_fd: int | None = None) -> None:
        os.mkdir(path, mode, dir_fd=dir_fd)

    def set_mode(self, descriptor: int, mode: int) -> None:
        os.fchmod(descriptor, mode)

    def list(self, descriptor: int) -> list[FileSeen]:
        """The files of an open folder; what vanishes meanwhile is left out."""
        found = []
        with os.scandir(descriptor) as entries:
            for entry in entries:
                try:
                    looked = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                found.append(FileSeen(entry.name, looked.st_size, looked.st_mtime_ns))
        return found


SYSTEM = System()
