"""An object of an artifact while it is written: a file in a temporary directory until it is closed."""

import contextlib
import os
from collections.abc import Callable
from typing import IO, Any, Final


class NewFile:
    """What `Artifact.new_file` gives: a file to write to, plainly or in a ``with`` block.

    It has all methods of files. `close` adds it to the artifact. Left by an exception, a ``with`` block discards it.
    """

    def __init__(self, file: IO[Any], source: bytes, *, path: bytes, add: Callable[["NewFile"], None]) -> None:
        self.source: Final = source
        self.path: Final = path
        self._file = file
        self._add = add
        self._is_done = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __repr__(self) -> str:
        return f"NewFile({os.fsdecode(self.path)!r})"

    def __enter__(self) -> IO[Any]:
        return self._file

    def __exit__(self, kind: object, *exc_info: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    @property
    def is_open(self) -> bool:
        """Whether it is neither added nor discarded."""
        return not self._is_done

    def close(self) -> None:
        """Add what was written to the artifact. Calling it twice is fine.

        Raises:
            PathExists: Something was added for its path meanwhile; what was written is discarded.
        """
        if self._is_done:
            return
        try:
            self._file.close()
            self._is_done = True
            self._add(self)
        except BaseException:
            self._is_done = False
            self.discard()
            raise

    def discard(self) -> None:
        """Forget it: nothing is added. Does nothing after `close`."""
        if self._is_done:
            return
        self._is_done = True
        with contextlib.suppress(OSError, ValueError):
            self._file.close()
        with contextlib.suppress(OSError):
            os.unlink(self.source)
