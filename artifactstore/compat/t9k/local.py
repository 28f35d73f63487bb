"""An Artifact's local directory: its two documents, and its objects as plain files.

    <parent>/<alternative name>/metadata.yaml      what the Artifact says of itself
                                references.yaml    object path: URI; there once something was referenced
                                …                  objects

All paths are absolute: a program that changes its working directory goes on with the same
one. Everything lands under a temporary name first and takes its place by a rename.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from artifactstore.clock import Clock
from artifactstore.compat.t9k.copying import copy_file, local_error, look_at_tree, writing
from artifactstore.compat.t9k.documents import (
    MAX_METADATA_BYTES,
    MAX_REFERENCES_BYTES,
    Metadata,
    Node,
    format_document,
    metadata_from,
    parse_document,
)
from artifactstore.compat.t9k.errors import (
    ArtifactFileMissing,
    InvalidArtifactFile,
    LocalError,
    ObjectPathExists,
    SourceOverlaps,
)
from artifactstore.compat.t9k.naming import METADATA_FILE, REFERENCES_FILE, checked_object_path
from artifactstore.errors import InvalidMetadata, InvalidName
from artifactstore.manifest.paths import TEMPORARY_PREFIX

PARENT_VARIABLE: Final = "EM_ARTIFACT_PARENT_DIR"
DEFAULT_PARENT: Final = ".em/artifacts"
_TEMPORARY: Final = TEMPORARY_PREFIX.decode()
_HASH_BYTES: Final = 1 << 20
_MAX_NEW_BYTES: Final = 4 << 20
_OCCUPIED: Final = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})


def parent_directory(environment: Mapping[str, str]) -> str:
    """Where local directories are made, as the environment says it now; it may be relative."""
    return environment.get(PARENT_VARIABLE) or DEFAULT_PARENT


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDirectory:
    """One Artifact's place on this machine.

    Attributes:
        path: Absolute.
        clock: Names of temporary files come from it.
    """

    path: str
    clock: Clock

    # -- the documents -------------------------------------------------------------------------------

    def create(self, metadata: Metadata) -> bool:
        """Make the directory, with `metadata.yaml` in it, by one rename; False where something has the name.

        Raises:
            LocalError: It can't be made.
            ValueError: Labels and description are longer than can ever be read or uploaded.
        """
        body = format_document(metadata.to_dict())
        if len(body) > _MAX_NEW_BYTES:
            raise InvalidMetadata(f"labels and description make a file of {len(body)} bytes. Nothing was written.")
        staging = os.path.join(os.path.dirname(self.path), self._temporary_name())
        with writing(self.path):
            if os.path.lexists(self.path):
                return False
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            os.mkdir(staging)
            try:
                self._write(os.path.join(staging, METADATA_FILE), body)
                os.rename(staging, self.path)
            except OSError as error:
                if error.errno not in _OCCUPIED:
                    raise
                return False  # somebody was quicker
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return True

    def read_metadata(self) -> Metadata:
        """What `metadata.yaml` says.

        Raises:
            ArtifactFileMissing: There is none.
            InvalidArtifactFile: It can't be understood.
        """
        path = os.path.join(self.path, METADATA_FILE)
        document = self.read_document(METADATA_FILE, max_bytes=MAX_METADATA_BYTES)
        if document is None:
            raise ArtifactFileMissing(f"Missing file of Artifact: '{path}'", where=self.path)
        try:
            return metadata_from(document)
        except KeyError as error:
            raise InvalidArtifactFile(f"Invalid file of Artifact: {path}: {error} is missing", where=path) from error
        except ValueError as error:
            raise InvalidArtifactFile(f"Invalid file of Artifact: {path}: {error}", where=path) from error

    def write_metadata(self, metadata: Metadata) -> None:
        """Replace `metadata.yaml`, durably.

        Raises:
            LocalError: It can't be written; it is as it was.
        """
        self._replace(METADATA_FILE, format_document(metadata.to_dict()))

    def read_references(self) -> dict[str, str]:
        """URIs by object path; empty where nothing is referenced.

        Raises:
            InvalidArtifactFile: The file can't be understood, or has a path that leaves the Artifact.
        """
        path = os.path.join(self.path, REFERENCES_FILE)
        document = self.read_document(REFERENCES_FILE, max_bytes=MAX_REFERENCES_BYTES) or {}
        references: dict[str, str] = {}
        for key, uri in document.items():
            try:
                if not isinstance(uri, str):
                    raise InvalidName(f"{key}: not a URI")
                references[checked_object_path(key)] = uri
            except InvalidName as error:
                raise InvalidArtifactFile(f"Invalid file of Artifact: {path}: {error}", where=path) from error
        return references

    def write_references(self, references: Mapping[str, str]) -> None:
        """Replace `references.yaml`; without references there is none."""
        if references:
            self._replace(REFERENCES_FILE, format_document(references))
            return
        with writing(self.path), contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.path, REFERENCES_FILE))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the documents, or is adding something, meanwhile."""
        with self._lock(fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def adding(self) -> Iterator[None]:
        """Temporary files that are there now are in use."""
        with self._lock(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def _lock(self, operation: int) -> Iterator[None]:
        with writing(self.path):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # On a file system without locks it goes on: at worst a record of the history is lost, or an add fails.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, operation)
            yield
        finally:
            os.close(descriptor)

    def remove_leftovers(self) -> None:
        """Remove temporary files of calls that were killed: no version could have them.

        Raises:
            LocalError: One can't be removed.
        """
        with self.locked(), writing(self.path):
            for folder, directories, files in os.walk(self.path):
                for name in [name for name in (*directories, *files) if name.startswith(_TEMPORARY)]:
                    _remove(os.path.join(folder, name))
                directories[:] = [name for name in directories if not name.startswith(_TEMPORARY)]

    def read_document(self, name: str, *, max_bytes: int) -> dict[str, Node] | None:
        """A document of the directory; None where it is not there."""
        path = os.path.join(self.path, name)
        try:
            # A FIFO would be waited for.
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as source:
                if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                    raise InvalidArtifactFile(f"Invalid file of Artifact: {path}: no regular file", where=path)
                body = source.read(max_bytes + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise local_error(error, path) from error
        if len(body) > max_bytes:
            raise InvalidArtifactFile(f"Invalid file of Artifact: {path}: over {max_bytes} bytes", where=path)
        return parse_document(body, where=path)

    def _replace(self, name: str, body: bytes) -> None:
        with writing(self.path), self._temporary() as temporary:
            self._write(temporary, body)
            os.rename(temporary, os.path.join(self.path, name))

    @staticmethod
    def _write(path: str, body: bytes) -> None:
        with Path(path).open("xb") as target:
            target.write(body)
            target.flush()
            os.fsync(target.fileno())

    # -- objects -------------------------------------------------------------------------------------

    def files(self) -> dict[str, int]:
        """Sizes in bytes of all regular files but the two documents, links to files included, by object path.

        Raises:
            LocalError: A directory can't be read.
        """
        found: dict[str, int] = {}
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            with writing(self.path), os.scandir(os.path.join(self.path, folder)) as rows:
                for row in sorted(rows, key=lambda row: row.name):
                    path = f"{folder}/{row.name}" if folder else row.name
                    if row.name.startswith(_TEMPORARY) or path in (METADATA_FILE, REFERENCES_FILE):
                        continue
                    if row.is_dir(follow_symlinks=False):
                        waiting.append(path)
                    elif row.is_file():
                        found[path] = row.stat().st_size
        return dict(sorted(found.items()))

    def checksum(self, path: str) -> str:
        """MD5 of an object, hexadecimal: a field that t9k has. Nothing here trusts it.

        Raises:
            LocalError: The file is gone or can't be read.
        """
        state = hashlib.md5(usedforsecurity=False)
        full = os.path.join(self.path, path)
        with writing(full), Path(full).open("rb", buffering=0) as source:
            buffer = memoryview(bytearray(_HASH_BYTES))
            while count := source.readinto(buffer):
                state.update(buffer[:count])
        return state.hexdigest()

    def place_file(self, source: str, path: str) -> int:
        """Copy a file to the object path ``path``, over a file that is there; returns its size in bytes.

        Raises:
            ObjectPathExists: A directory is there, or a file where a directory would have to be.
            SourceMissing, SourceDenied, SourceMoved, LocalError: As `copy_file`. Nothing was changed.
        """
        self._check_places([], [path])
        with self.adding(), self._temporary() as temporary:
            size = copy_file(source, temporary)
            self._land(temporary, path)
        return size

    def place_tree(self, source: str, path: str, *, taken: Mapping[str, str]) -> dict[str, int]:
        """Copy a directory to the object path ``path``, into a directory that is there: each file at once, whole.

        Args:
            path: Empty for the Artifact itself.
            taken: Object paths that no file may have: references.

        Returns:
            Sizes in bytes by object path.

        Raises:
            ObjectPathExists, InvalidPath: A file of it can't have its path. Nothing was changed.
            SourceOverlaps: It holds this very directory.
            SourceMissing, SourceDenied, SourceMoved, LocalError: As `look_at_tree` and `copy_file`.
        """
        real, own = os.path.realpath(source), os.path.realpath(self.path)
        if own == real or own.startswith(real.rstrip("/") + "/"):
            raise SourceOverlaps(f"'{source}' holds the Artifact's own local directory", where=self.path)
        tree = look_at_tree(source)
        start = f"{path}/" if path else ""
        directories = [path] if path else []
        directories += [checked_object_path(start + below) for below in tree.directories]
        targets = [checked_object_path(start + below) for below, _ in tree.files]
        check_free(targets, taken)
        self._check_places(directories, targets)
        with self.adding(), self._temporary() as staging, writing(staging):
            os.mkdir(staging)
            for below in tree.directories:
                os.mkdir(os.path.join(staging, below))
            sizes = {start + below: copy_file(full, os.path.join(staging, below)) for below, full in tree.files}
            if os.path.lexists(os.path.join(self.path, path)):
                self._merge(staging, start, directories, targets)
            else:
                self._land(staging, path)
        return sizes

    def _merge(self, staging: str, start: str, directories: list[str], files: list[str]) -> None:
        for directory in directories:
            os.makedirs(os.path.join(self.path, directory), exist_ok=True)
        for target in files:
            os.rename(os.path.join(staging, target[len(start) :]), os.path.join(self.path, target))

    def _land(self, temporary: str, path: str) -> None:
        """Rename into place; a failure takes back the directories that were made for it."""
        full = os.path.join(self.path, path)
        parents = []
        parent = os.path.dirname(full)
        while not os.path.lexists(parent):
            parents.append(parent)
            parent = os.path.dirname(parent)
        try:
            with writing(full):
                os.makedirs(os.path.dirname(full), exist_ok=True)
                os.rename(temporary, full)
        except LocalError:
            for made in parents:
                with contextlib.suppress(OSError):
                    os.rmdir(made)
            raise

    def _check_places(self, directories: list[str], files: list[str]) -> None:
        """Every directory is one or is free, every file is one or is free, and no link leads out on the way.

        Raises:
            ObjectPathExists: See there.
        """
        wanted = {*directories, *(above for path in (*directories, *files) for above in _above(path))}
        for path in sorted(wanted):
            if self._mode(path) not in (0, stat.S_IFDIR):
                raise ObjectPathExists(f"Object file already exists: '{path}', where a directory would be")
        for path in files:
            if self._mode(path) == stat.S_IFDIR:
                raise ObjectPathExists(f"a directory of objects already exists: '{path}'")

    def _mode(self, path: str) -> int:
        """Of what kind is there; 0 for nothing."""
        full = os.path.join(self.path, path)
        try:
            return stat.S_IFMT(os.lstat(full).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return 0
        except OSError as error:
            raise local_error(error, full) from error

    def check_unused(self, path: str) -> None:
        """Refuse an object path that anything has on the disk, or that leads through a file.

        Raises:
            ObjectPathExists: It has.
        """
        self._check_places([], [path])
        if self._mode(path):
            raise ObjectPathExists(f"Object file already exists: '{path}'")

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[str]:
        """A free name in the directory; what is left there in the end goes."""
        path = os.path.join(self.path, self._temporary_name())
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                _remove(path)

    def _temporary_name(self) -> str:
        return _TEMPORARY + self.clock.random_bytes(8).hex()


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def check_free(paths: Iterable[str], references: Mapping[str, str]) -> None:
    """Refuse paths of objects that a reference has, or where one would lie in the other.

    Raises:
        ObjectPathExists: One of them can't be.
    """
    if not references:
        return
    through = {above for path in references for above in _above(path)}
    for path in paths:
        for taken in (path, *_above(path)):
            if taken in references:
                raise ObjectPathExists(f"Object reference already exists: '{taken}'")
        if path in through:
            raise ObjectPathExists(f"Object reference already exists: below '{path}'")


def _above(path: str) -> Iterator[str]:
    """The directories that a path lies in."""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
