"""Progress on a terminal: one bar for each phase, gone when the phase is over."""

import shutil
import sys
import threading
from typing import TYPE_CHECKING

from artifactstore.cli.invocation import Invocation
from artifactstore.cli.output import human_bytes, human_count
from artifactstore.transfer.progress import NULL_PROGRESS, Progress

if TYPE_CHECKING:
    from tqdm import tqdm

_WITH_TOTAL = (
    "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}{unit}/{total_fmt}{unit} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
)
_NARROW = "{desc}: {percentage:3.0f}% of {total_fmt}{unit}, {rate_fmt}, {remaining} left"
_NARROW_COLUMNS = 80
_WITHOUT_TOTAL = "{desc} [{elapsed}]"

_lock = threading.RLock()
_shown: "BarProgress | None" = None


def progress_for(invocation: Invocation, *, noun: str = "file") -> Progress:
    """Bars where a person watches; nothing with ``--quiet``, and nothing where stderr is not a terminal.

    Args:
        noun: What the files of its phases are called.
    """
    if invocation.quiet or not sys.stderr.isatty():
        return NULL_PROGRESS
    return BarProgress(noun=noun)


def write_line(text: str) -> None:
    """A line on stderr; a bar that is there moves down."""
    with _lock:
        if _shown is not None:
            _shown.clear()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def _format(total_bytes: int | None) -> str:
    if not total_bytes:
        return _WITHOUT_TOTAL
    # Where there is no room, a bar of one character is worth less than the words.
    return _WITH_TOTAL if shutil.get_terminal_size().columns >= _NARROW_COLUMNS else _NARROW


class BarProgress:
    """`Progress` as a tqdm bar on stderr: phase, bytes, rate, files, and what was saved."""

    def __init__(self, *, noun: str = "file") -> None:
        self._noun = noun
        self._bar: tqdm[object] | None = None
        self._total_files: int | None = None
        self._name = ""
        self._files = 0
        self._content_bytes = 0
        self._saved_bytes = 0

    def phase(self, name: str, *, total_files: int | None, total_bytes: int | None) -> None:
        global _shown
        from tqdm import tqdm

        with _lock:
            self.close()
            # The default lock is one for many processes: it costs 20 ms and a semaphore that we don't need.
            tqdm.set_lock(_lock)
            tqdm.monitor_interval = 0
            self._name, self._total_files = name, total_files
            self._files = self._content_bytes = self._saved_bytes = 0
            self._bar = tqdm(
                desc=name,
                total=total_bytes or None,
                unit="iB",
                unit_scale=True,
                unit_divisor=1024,
                leave=False,
                dynamic_ncols=True,
                file=sys.stderr,
                bar_format=_format(total_bytes),
            )
            _shown = self

    def advance(self, *, files: int = 0, content_bytes: int = 0, saved_bytes: int = 0) -> None:
        with _lock:
            if self._bar is None:
                return
            self._files += files
            self._content_bytes += content_bytes
            self._saved_bytes += saved_bytes
            if self._bar.total is None:
                self._bar.set_description_str(f"{self._name}: {self._details_without_total()}", refresh=False)
                # tqdm draws at most ten times a second, but only when its count has moved.
                self._bar.update(content_bytes or 1)
            else:
                self._bar.set_postfix_str(self._details(), refresh=False)
                self._bar.update(content_bytes)

    def clear(self) -> None:
        """Wipe the bar off the line; the next report draws it again."""
        with _lock:
            if self._bar is not None:
                self._bar.clear()

    def close(self) -> None:
        global _shown
        with _lock:
            if self._bar is not None:
                self._bar.close()
                self._bar = None
            if _shown is self:
                _shown = None

    def _details(self) -> str:
        of_all = f" of {self._total_files:,}" if self._total_files else ""
        details = f"{self._files:,}{of_all} {self._noun}s" if of_all else human_count(self._files, self._noun)
        if self._saved_bytes:
            details += f", {human_bytes(self._saved_bytes)} saved"
        return details

    def _details_without_total(self) -> str:
        return self._details() + (f", {human_bytes(self._content_bytes)}" if self._content_bytes else "")
