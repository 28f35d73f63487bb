"""What a transfer reports while it runs.

The movers call `Progress`; whoever shows it (the command line, a notebook) implements it.
Calls come from any thread, once per batch of files or bytes, never once per chunk.
"""

import threading
from typing import Final, Protocol


class Progress(Protocol):
    """Told what is going on. Thread-safe, cheap, never raises."""

    def phase(self, name: str, *, total_files: int | None, total_bytes: int | None) -> None:
        """A new phase begins, and the one before it is over.

        Args:
            name: What is being done, a word or two for people: ``scanning``, ``uploading``.
            total_files: How many files it will take, or None where that is not known yet.
            total_bytes: How many content bytes it will take, or None.
        """
        ...

    def advance(self, *, files: int = 0, content_bytes: int = 0, saved_bytes: int = 0) -> None:
        """Some more of the phase is done.

        Args:
            files: Files finished since the last call.
            content_bytes: Content bytes dealt with since the last call, the saved ones among them.
            saved_bytes: Content bytes that did not have to move, because they are there already.
        """
        ...

    def close(self) -> None:
        """Nothing more will come, whether it went well or not. May be called twice."""
        ...


class NullProgress:
    """Shows nothing."""

    def phase(self, name: str, *, total_files: int | None, total_bytes: int | None) -> None:
        pass

    def advance(self, *, files: int = 0, content_bytes: int = 0, saved_bytes: int = 0) -> None:
        pass

    def close(self) -> None:
        pass


NULL_PROGRESS: Final = NullProgress()


class ProgressTotals:
    """Adds up what it is told, for tests and for callers that poll.

    Attributes:
        phases: Names of the phases so far, in order.
        files, content_bytes, saved_bytes: Sums over all phases.
        closed: Whether `close` was called.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.phases: list[str] = []
        self.files = 0
        self.content_bytes = 0
        self.saved_bytes = 0
        self.closed = False

    def phase(self, name: str, *, total_files: int | None, total_bytes: int | None) -> None:
        with self._lock:
            self.phases.append(name)

    def advance(self, *, files: int = 0, content_bytes: int = 0, saved_bytes: int = 0) -> None:
        with self._lock:
            self.files += files
            self.content_bytes += content_bytes
            self.saved_bytes += saved_bytes

    def close(self) -> None:
        with self._lock:
            self.closed = True
