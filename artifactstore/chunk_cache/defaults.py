"""Where a cache lies and how large it may be, where nobody said so."""

import os
from typing import Final

CACHE_DIR_VARIABLE: Final = "ARTIFACTSTORE_CACHE_DIR"
CACHE_SIZE_VARIABLE: Final = "ARTIFACTSTORE_CACHE_SIZE"
CACHE_SHARING_VARIABLE: Final = "ARTIFACTSTORE_CACHE_SHARING"
DEFAULT_MAX_BYTES: Final = 5 << 30
_FREE_PART: Final = 10


def default_cache_folder() -> str:
    """`artifactstore` in the user's folder for caches."""
    import platformdirs  # 10 ms that an explicit choice need not spend

    return platformdirs.user_cache_dir("artifactstore", appauthor=False)


def default_cache_bytes(folder: str | os.PathLike[str]) -> int:
    """5 GiB, or a tenth of what is free where ``folder`` lies (or will), if that is less."""
    place = os.path.abspath(folder)
    while True:
        try:
            facts = os.statvfs(place)
            return min(DEFAULT_MAX_BYTES, facts.f_bavail * facts.f_frsize // _FREE_PART)
        except OSError:
            parent = os.path.dirname(place)
            if parent == place:
                return 0
            place = parent
