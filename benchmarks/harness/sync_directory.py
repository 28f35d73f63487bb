"""One errand of a syncable directory, through the Python API, in a process of its own.

    sync_directory.py init STORE
    sync_directory.py up STORE DIRECTORY             as job `sender`
    sync_directory.py down STORE DIRECTORY           as job `receiver`, from `sender`
"""

import sys
from typing import Final

import artifactstore

_KEY: Final = "bench"
_SENDER: Final = "sender"


def up(url: str, path: str) -> None:
    """Upload."""
    with artifactstore.open_store(url) as store, artifactstore.job(_SENDER, store=store):
        artifactstore.open_syncable_directory(_KEY, path, store=store).upload()


def down(url: str, path: str) -> None:
    """Download what is new."""
    with artifactstore.open_store(url) as store, artifactstore.job("receiver", store=store):
        artifactstore.open_syncable_directory(_KEY, path, _SENDER, store=store).download()


def main() -> None:
    errand, url, *paths = sys.argv[1:]
    if errand == "init":
        artifactstore.init_store(url).close()
    else:
        {"up": up, "down": down}[errand](url, *paths)


if __name__ == "__main__":
    main()
