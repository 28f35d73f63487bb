"""Files, web servers and file systems of fsspec as places of references, by one suite."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import fsspec
import pytest
from unit.artifacts.webserver import WebServer

from artifactstore.artifacts.reference_rules import ReferenceRules
from artifactstore.testing.origins import OriginConformance, Place


class FilePlace:
    keeps_versions = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base = f"file://{quote(str(root))}/"
        self.rules = ReferenceRules(roots=(str(root),))
        self.changes = 0

    def uri(self, name: str) -> str:
        return self.base + quote(name)

    def write(self, name: str, content: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.changes += 1
        os.utime(path, ns=(0, 10**18 + self.changes))

    def remove(self, name: str) -> None:
        (self.root / name).unlink()


class WebPlace:
    keeps_versions = False

    def __init__(self, web: WebServer) -> None:
        self.web = web
        self.base = f"{web.url}/"
        self.rules = ReferenceRules(allow_private=True)

    def uri(self, name: str) -> str:
        return self.base + quote(name)

    def write(self, name: str, content: bytes) -> None:
        self.web.put(f"/{name}", content)

    def remove(self, name: str) -> None:
        del self.web.files[f"/{name}"]


class MemoryPlace:
    keeps_versions = False

    def __init__(self, name: str) -> None:
        self.fs = fsspec.filesystem("memory")
        self.base = f"memory://{name}/"
        self.rules = ReferenceRules(schemes=frozenset({"memory"}))

    def uri(self, name: str) -> str:
        return self.base + name

    def write(self, name: str, content: bytes) -> None:
        self.fs.pipe_file(self.uri(name), content)

    def remove(self, name: str) -> None:
        self.fs.rm_file(self.uri(name))


class TestFiles(OriginConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return FilePlace(tmp_path)


class TestWebServer(OriginConformance):
    @pytest.fixture
    def place(self, web: WebServer) -> Place:
        return WebPlace(web)


class TestFileSystemOfFsspec(OriginConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Place]:
        place = MemoryPlace(tmp_path.name)
        yield place
        if place.fs.exists(place.base):
            place.fs.rm(place.base, recursive=True)
