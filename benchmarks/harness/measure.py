"""The stopwatch: one command as a process of its own, its time, its memory, and what it left.

Peak memory is what the kernel says of the process and those it waited for (`os.wait4`). A
process begins its life as a copy of this one, so what is below this program's own size,
some 20 MB, can't be told: this program must stay small, and imports accordingly.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

TIMEOUT_SECONDS: Final = 3600.0
_SHOWN_OUTPUT_BYTES: Final = 2000


class CommandFailed(Exception):
    """A measured command did not end well.

    Attributes:
        program: Its file name.
        exit_code: Negative for a signal.
        output: The end of what it printed. For the terminal only: it may name local paths.
    """

    def __init__(self, program: str, exit_code: int, output: str) -> None:
        super().__init__(f"{program} ended with {exit_code}")
        self.program = program
        self.exit_code = exit_code
        self.output = output


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run.

    Attributes:
        environ: All of its environment beside what `measure` is given.
    """

    argv: tuple[str, ...]
    directory: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measurement. What was not measured is None.

    Attributes:
        wall_seconds: Until the data is on disk: the command, and `sync` after it.
        command_seconds: The command alone.
        cpu_seconds: User and system time of its processes; not of a server, not of `sync`.
        peak_rss_bytes: Of its largest process.
        added_bytes: What the store grew by.
        request_count: Requests sent to the store.
        moved_bytes: Between the command and a server, both ways.
    """

    wall_seconds: float | None = None
    command_seconds: float | None = None
    cpu_seconds: float | None = None
    peak_rss_bytes: int | None = None
    added_bytes: int | None = None
    request_count: int | None = None
    moved_bytes: int | None = None


def measure(commands: Sequence[Command], *, environ: Mapping[str, str], log: Path) -> Sample:
    """Run commands one after the other, and `sync`.

    Args:
        commands: At least one; of several, times add up and the largest memory counts.
        environ: For all of them.
        log: Gets what they print.

    Raises:
        CommandFailed: One ended with another code than 0, or took longer than `TIMEOUT_SECONDS`.
    """
    os.sync()  # what others left unwritten is not to be paid for here
    start = time.monotonic()
    usages = [_run(command, environ, log) for command in commands]
    command_seconds = time.monotonic() - start
    os.sync()
    return Sample(
        wall_seconds=time.monotonic() - start,
        command_seconds=command_seconds,
        cpu_seconds=sum(cpu_seconds for cpu_seconds, _ in usages),
        peak_rss_bytes=max(peak_bytes for _, peak_bytes in usages),
    )


def run_quietly(commands: Sequence[Command], *, environ: Mapping[str, str], log: Path) -> None:
    """Run commands that are not measured. Errors as `measure`."""
    for command in commands:
        _run(command, environ, log)


def _run(command: Command, environ: Mapping[str, str], log: Path) -> tuple[float, int]:
    """CPU seconds and peak memory in bytes."""
    with log.open("w+b") as out:
        process = subprocess.Popen(
            command.argv,
            cwd=command.directory,
            env={**environ, **command.environ},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        limit = threading.Timer(TIMEOUT_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        limit.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            limit.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise CommandFailed(Path(command.argv[0]).name, process.returncode, _end_of(out))
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def _end_of(out: IO[bytes]) -> str:
    length = out.seek(0, os.SEEK_END)
    out.seek(max(0, length - _SHOWN_OUTPUT_BYTES))
    return out.read().decode(errors="replace")


def memory_floor_bytes(*, environ: Mapping[str, str], log: Path) -> int:
    """What a process that does nothing is said to have used: this program's own size. Less can't be told."""
    return _run(Command(argv=("true",)), environ, log)[1]


def drop_page_cache() -> bool:
    """Forget what was read from disk, so that reading means reading from the disk.

    Returns:
        Whether this machine lets us.
    """
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w") as switch:
            switch.write("3\n")
    except OSError:
        return False
    return True
