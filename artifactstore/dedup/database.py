"""The SQLite file under local state: opened late, checked, and never a reason to fail.

Nothing here is authoritative, so every trouble has the same answer: go on without it. A
damaged file is set aside and begun anew; a file that can't be used (locked, read-only, no
space, someone else's, a file system where locks fail) is replaced for this process by one
in memory. Either way there is one warning.
"""

import os
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from artifactstore.forks import renew_in_children

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")
Row = tuple[object, ...]
Value = str | bytes | int | float | None

_BUSY_SECONDS: Final = 2.0
_OWNER_ONLY: Final = 0o700
_CREATE_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_MOUNTS: Final = "/proc/self/mountinfo"
_SHARED_FILE_SYSTEMS: Final = frozenset(
    ("9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2", "smb3", "smbfs")
)
# SQLite's primary result codes; names of them come with the module, which is imported late.
_ERROR, _CORRUPT, _SCHEMA, _NOT_A_DATABASE = 1, 11, 17, 26
_DAMAGED: Final = frozenset({_ERROR, _CORRUPT, _SCHEMA, _NOT_A_DATABASE})


class DamagedRow(ValueError):
    """A row holds what was never written into it."""


def as_int(value: object) -> int:
    if not isinstance(value, int):
        raise DamagedRow(f"{value!r:.40} is not a number")
    return value


def as_float(value: object) -> float:
    if not isinstance(value, float):
        raise DamagedRow(f"{value!r:.40} is not a number")
    return value


def as_bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise DamagedRow(f"{value!r:.40} is not bytes")
    return value


def as_text(value: object) -> str:
    if not isinstance(value, str):
        raise DamagedRow(f"{value!r:.40} is not text")
    return value


class StateDatabase:
    """One SQLite file, used from any thread, by any number of processes."""

    def __init__(self, path: str, *, schema: str, warn: Callable[[str], None]) -> None:
        """Nothing is opened yet. ``schema`` makes what is not there; ``warn`` is called at most once."""
        self._path = path
        self._schema = schema
        self._warn = warn
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inherited: list[sqlite3.Connection] = []
        self._inode = 0
        self._has_warned = False
        self._may_rebuild = True
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child (`artifactstore.forks`): use a connection of its own."""
        self._lock = threading.RLock()
        connection, self._connection = self._connection, None
        if connection is not None:
            # Kept, because even closing it would touch files that the parent goes on using.
            self._inherited.append(connection)

    @property
    def path(self) -> str:
        return self._path

    def select(self, query: str, values: Sequence[Value], read: Callable[[Row], T]) -> list[T]:
        """The result of one query, each row made into a value by ``read`` (which may raise `DamagedRow`)."""
        return self._run(lambda connection: [read(row) for row in connection.execute(query, values)])

    def write(self, statements: Iterable[tuple[str, Sequence[Value]]]) -> None:
        """Execute all, or none, in one transaction."""
        batch = list(statements)

        def execute(connection: "sqlite3.Connection") -> None:
            with connection:  # commits or rolls back
                connection.execute("BEGIN IMMEDIATE")
                for query, values in batch:
                    connection.execute(query, values)

        self._run(execute)

    def close(self) -> None:
        """Calling it twice is fine; using it again opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _run(self, action: Callable[["sqlite3.Connection"], T]) -> T:
        import sqlite3  # a few milliseconds that commands without local state need not spend

        with self._lock:
            for _ in range(2):
                try:
                    return action(self._opened())
                except (sqlite3.Error, OSError, DamagedRow) as error:
                    self._give_up_file(error)
            return action(self._opened())

    def _opened(self) -> "sqlite3.Connection":
        if self._connection is None:
            self._prepare_file()
            self._connection = self._connect(self._path)
        return self._connection

    def _prepare_file(self) -> None:
        """Make the file for its owner alone, whatever the umask, and refuse one that somebody else put there."""
        os.makedirs(os.path.dirname(self._path), mode=_OWNER_ONLY, exist_ok=True)
        handle = os.open(self._path, _CREATE_FLAGS, 0o600)
        try:
            looked = os.fstat(handle)
        finally:
            os.close(handle)
        if looked.st_uid != os.geteuid():
            raise PermissionError(f"{self._path} belongs to another user")
        if stat.S_IMODE(looked.st_mode) & 0o077:
            os.chmod(self._path, 0o600)
        self._inode = looked.st_ino

    def _connect(self, path: str) -> "sqlite3.Connection":
        import sqlite3

        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            # WAL needs memory shared by all its users, so it is for file systems of one machine.
            mode = "DELETE" if _is_shared(path) else "WAL"
            connection.executescript(f"PRAGMA journal_mode={mode}; PRAGMA synchronous=NORMAL; {self._schema}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _give_up_file(self, error: Exception) -> None:
        """Set a damaged file aside, once; replace one that can't be used by one in memory."""
        self.close()
        is_damaged = isinstance(error, DamagedRow) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
        if is_damaged and self._may_rebuild:
            self._may_rebuild = False
            self._say(f"local state in {self._path} was damaged ({error}); it was set aside and begun anew")
            with suppress(OSError):  # then the second try ends in memory
                self._set_aside()
            return
        self._say(f"local state in {self._path} can't be used ({error}); going on without it, more slowly")
        self._connection = self._connect(":memory:")

    def _set_aside(self) -> None:
        if os.stat(self._path).st_ino == self._inode:  # else another process has done it
            os.replace(self._path, f"{self._path}.damaged")
            for suffix in ("-wal", "-shm", "-journal"):
                with suppress(FileNotFoundError):
                    os.unlink(self._path + suffix)

    def _say(self, message: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._warn(message)


def _is_shared(path: str) -> bool:
    """Whether ``path`` lies on a file system of several machines, as far as the system says."""
    real = os.path.realpath(path)
    longest, kind = "", ""
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                left, _, right = line.partition(" - ")
                point = left.split(" ")[4]
                if len(point) >= len(longest) and (real + "/").startswith(point.rstrip("/") + "/"):
                    longest, kind = point, right.split(" ")[0]
    except (OSError, IndexError):  # not Linux: assume the usual
        return False
    return kind in _SHARED_FILE_SYSTEMS or kind.startswith("fuse")
