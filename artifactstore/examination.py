"""What `artifactstore doctor` does: find out what a storage can be relied on for, and leave it as it was."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from artifactstore.backend.doctor import DoctorReport, run_doctor
from artifactstore.backend.table import BackendOptions, create_local_root, local_path_of, open_backend
from artifactstore.clock import SYSTEM_CLOCK, Clock
from artifactstore.config import load_settings


def examine(
    url: str | os.PathLike[str] | None = None,
    *,
    clock: Clock = SYSTEM_CLOCK,
    on_probe: Callable[[str], None] = lambda probe: None,
) -> DoctorReport:
    """Probe the storage at ``url``, whether there is a store or not; without one, the store that the settings name.

    Some 200 MB go back and forth. Everything lies below ``doctor/`` there, and is removed again.

    Args:
        on_probe: Called with the name of each probe as it begins.

    Raises:
        ConfigurationError: A setting or the URL is wrong. Whatever the storage does is a finding, not an error.
    """
    settings = load_settings(os.fspath(url) if url is not None else None)
    location = settings.store.url
    options = BackendOptions(limit_rate_bytes=settings.limit_rate_bytes)
    with _left_as_it_was(local_path_of(location)):
        create_local_root(location, clock=clock)
        with contextlib.closing(open_backend(location, clock=clock, options=options)) as backend:
            return run_doctor(backend, clock, on_probe=on_probe)


@contextlib.contextmanager
def _left_as_it_was(path: str | None) -> Iterator[None]:
    """Empty directories that were not there before go again: the first push must find an empty folder empty."""
    if path is None:
        yield
        return
    root = Path(os.path.abspath(path))
    absent = [place for place in (root / "tmp", root / "doctor", root, *root.parents) if not os.path.lexists(place)]
    try:
        yield
    finally:
        for place in absent:
            with contextlib.suppress(OSError):
                place.rmdir()
