"""What the numbers were measured on. No host name and no path gets in here."""

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine, as far as it explains numbers.

    Attributes:
        file_system: Type of the one that the work was done on.
    """

    processor: str
    cores: int
    memory_bytes: int
    kernel: str
    file_system: str
    python: str


def this_machine(work: Path) -> Machine:
    """The one this runs on; ``work`` is where stores and data lie."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=f"{platform.system()} {platform.release()}",
        file_system=_file_system(work),
        python=platform.python_version(),
    )


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1) if match else platform.machine()


def _file_system(work: Path) -> str:
    """The type of the mount with the longest path above ``work``."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    place = work.resolve()
    above = [(len(fields[1]), fields[2]) for fields in mounts if place.is_relative_to(fields[1])]
    return max(above)[1] if above else "unknown"
