"""One way to make a version of a directory, through the Python API, in a process of its own.

    build_artifact.py push|add-dir|add-file STORE DIRECTORY
"""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Final

import artifactstore


def push(store: artifactstore.Store, directory: str) -> None:
    """A plain push, to compare with."""
    store.push(directory, "bench/many")


def add_dir(store: artifactstore.Store, directory: str) -> None:
    """An artifact of one directory."""
    artifact = artifactstore.create_artifact("bench/many", store=store)
    artifact.add_dir(directory, obj_path="data")
    artifact.upload()


def add_file(store: artifactstore.Store, directory: str) -> None:
    """An artifact, file by file."""
    artifact = artifactstore.create_artifact("bench/many", store=store)
    for folder, _, names in os.walk(directory):
        inside = os.path.relpath(folder, directory)
        for name in names:
            artifact.add_file(os.path.join(folder, name), f"data/{inside}/")
    artifact.upload()


_WAYS: Final[Mapping[str, Callable[[artifactstore.Store, str], None]]] = {
    "push": push,
    "add-dir": add_dir,
    "add-file": add_file,
}


def main() -> None:
    way, url, directory = sys.argv[1:]
    with artifactstore.open_store(url) as store:
        _WAYS[way](store, directory)


if __name__ == "__main__":
    main()
