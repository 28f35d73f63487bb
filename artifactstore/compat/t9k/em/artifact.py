"""The Artifact of t9k: files and references in a local directory, uploaded to a store and loaded from one."""

import contextlib
import logging
import os
from collections.abc import Mapping
from dataclasses import replace

from artifactstore.artifacts.reference_rules import ReferenceRules, check_uri
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.compat.t9k import remote, session
from artifactstore.compat.t9k.documents import Metadata, metadata_from
from artifactstore.compat.t9k.errors import (
    ArtifactFileMissing,
    ArtifactNotFound,
    LocalCopyExists,
    LocalError,
    ReferenceRefused,
    SourceMissing,
)
from artifactstore.compat.t9k.local import LocalDirectory, check_free, parent_directory
from artifactstore.compat.t9k.naming import (
    check_segment,
    directory_path,
    is_alternative_name,
    local_moment,
    object_path,
    remote_path,
)
from artifactstore.compat.t9k.objects import Objects, Record
from artifactstore.errors import InvalidName, InvalidPath, NotFound, ReferenceNotAllowed

_log = logging.getLogger(__name__)


class Artifact:
    """A set of files, and references to others, in a local directory of its own.

    Made by `em.create_artifact` and `em.load_artifact`. Files are copied when they are added; what else is put into
    the local directory is uploaded, too.

    Args:
        metadata: As `to_dict` makes it. Its local directory is made, unless it is there.
        objects: Its objects, by path.

    Attributes:
        name, labels, description, created_timestamp, alternative_name: As it was created.
        objects: By object path: `path`, `size_bytes` and `checksum` (MD5) of a file, `path` and `uri` of a reference.
            It can be used as a list of these, too.
        remote: Uploads and downloads: `action`, `timestamp`, `host`, `id` (the version: ``user/default/name:v3``) and
            `path`.
        local: Its local directory; relative where the parent directory is given so.
    """

    def __init__(
        self, metadata: Mapping[str, object], objects: Mapping[str, Mapping[str, str | int]] | None = None
    ) -> None:
        self.parse_from_dict(metadata)
        check_segment(self._metadata.alternative_name)
        self._use(os.path.join(parent_directory(os.environ), self._metadata.alternative_name))
        self._records: dict[str, Record] = {path: dict(record) for path, record in (objects or {}).items()}
        if not os.path.isdir(self._place.path) and not self._place.create(self._metadata):
            raise LocalError(f"'{self._local}' is there, and is no directory", where=self._local)

    def _use(self, local: str) -> None:
        self._local = local
        # Absolute from now on: the program may change its working directory.
        self._place = LocalDirectory(path=os.path.abspath(local), clock=SYSTEM_CLOCK)
        self._objects: Objects | None = None

    def __repr__(self) -> str:
        return f"Artifact({self.alternative_name!r})"

    @property
    def name(self) -> str:
        return self._metadata.name

    @property
    def labels(self) -> list[str]:
        return self._metadata.labels

    @property
    def description(self) -> str:
        return self._metadata.description

    @property
    def created_timestamp(self) -> str:
        return self._metadata.created_timestamp

    @property
    def alternative_name(self) -> str:
        return self._metadata.alternative_name

    @property
    def remote(self) -> list[dict[str, str]]:
        return self._metadata.remote

    @property
    def local(self) -> str:
        return self._local

    @property
    def objects(self) -> Objects:
        """What was added, or was there when it was loaded. MD5s are computed when this is first asked for.

        Raises:
            LocalError: A file is gone or can't be read.
        """
        if self._objects is None:
            for path, record in self._records.items():
                if "uri" not in record and "checksum" not in record:
                    record["checksum"] = self._place.checksum(path)
            self._objects = Objects(dict(record) for record in self._records.values())
        return self._objects

    def to_dict(self) -> dict[str, object]:
        """What `metadata.yaml` says."""
        return self._metadata.to_dict()

    def parse_from_dict(self, data: Mapping[str, object]) -> None:
        """Take over what `to_dict` made. The local directory stays the same.

        Raises:
            KeyError: A field is missing.
            ValueError: A field is not what it should be.
        """
        self._metadata = metadata_from(data)

    # -- adding --------------------------------------------------------------------------------------

    def add_file(self, file_path: str, obj_path: str | None = None) -> None:
        """Copy a file into the Artifact, over an object that has the path.

        Args:
            obj_path: Where to: by default under its own name; with a slash at the end, in there under its own name.

        Raises:
            SourceMissing: There is no such file. (A RuntimeError and a FileNotFoundError.)
            InvalidPath: The path leaves the Artifact, or is where it keeps its own `metadata.yaml`. (A ValueError.)
            ObjectPathExists: A reference has the path. (A ValueError.)
            SourceDenied, SourceMoved, LocalError: It could not be copied. The Artifact is as it was.
        """
        source = os.path.abspath(os.fspath(file_path))
        if not os.path.isfile(source):
            raise SourceMissing(f"File does not exist: '{source}'")
        path = object_path(source, obj_path)
        check_free([path], self._references())
        self._record(path, self._place.place_file(source, path))

    def add_dir(self, dir_path: str, obj_path: str | None = None) -> None:
        """Copy a directory into the Artifact, links followed; into a directory of objects that is there.

        Args:
            obj_path: Where to: by default under its own name; with a slash at the end, in there under its own name;
                ``.`` makes what it holds the Artifact's.

        Raises:
            As `add_file`, and SourceOverlaps: it holds the Artifact's own local directory.
        """
        source = os.path.abspath(os.fspath(dir_path))
        if not os.path.isdir(source):
            raise SourceMissing(f"Directory does not exist: '{source}'")
        path = directory_path(source, obj_path)
        references = self._references()
        if path:
            check_free([f"{path}/"], references)
        for placed, size in self._place.place_tree(source, path, taken=references).items():
            self._record(placed, size)

    def add_reference(self, uri: str, obj_path: str | None = None) -> None:
        """Note a URI as an object. Nothing is asked for there.

        Raises:
            ReferenceRefused: No URI, or one that holds a secret. (A ValueError.)
            ObjectPathExists: A file has the path. (A ValueError.)
            InvalidPath: As `add_file`.
            LocalError: It could not be written down.
        """
        _check_uri(uri)
        path = object_path(uri, obj_path)
        try:
            path.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidPath(f"the object path {path!r} is not text. Nothing was written.") from error
        with self._place.locked():
            references = self._references()
            references.pop(path, None)
            check_free([path], references)
            self._place.check_unused(path)
            self._place.write_references({**references, path: uri})
        self._records[path] = {"path": path, "uri": uri}
        self._objects = None

    def _references(self) -> dict[str, str]:
        return self._place.read_references()

    def _record(self, path: str, size_bytes: int) -> None:
        self._records[path] = {"path": path, "size_bytes": size_bytes}
        self._objects = None

    # -- store ---------------------------------------------------------------------------------------

    def upload(self, folder: str = "default", make_folder: bool = False, conflict_strategy: str = "new") -> None:
        """Make a version of this Artifact in the store, of what its local directory holds.

        Args:
            folder: Below `/<user>/` unless it starts with a slash. `/<user>/default` is always there.
            make_folder: Whether the folder may be made.
            conflict_strategy: Where another Artifact has the name: `skip`, `error`, `new` (take the alternative name)
                or `replace` (its versions go once this one is there).

        Raises:
            NotLoggedIn: Call `em.login` first. (A RuntimeError.)
            ValueError: No such strategy.
            FolderNotFound: The folder is not there. (A ValueError.)
            ArtifactExists: Strategy `error`, and the name is taken. (A RuntimeError.)
            ArtifactStoreError: The store or the local directory failed; no version was made, and the next call goes on.
        """
        strategy = remote.check_strategy(conflict_strategy)
        login = session.current()
        references = self._references()
        for uri in references.values():
            _check_uri(uri)
        item = remote.Item(
            metadata=self._metadata,
            directory=self._place.path,
            references=references,
            moment=local_moment(SYSTEM_CLOCK),
        )
        target = remote.Target(
            folder=remote_path(os.fspath(folder), user=login.user), make_folder=make_folder, strategy=strategy
        )
        self._place.remove_leftovers()
        record = remote.upload(login, item, target)
        if record is not None:
            self._remember(record)
            _log.info("uploaded %s as %s", self.alternative_name, record["id"])

    def _remember(self, record: dict[str, str]) -> None:
        """Add to the history, in the file and here; what others added meanwhile stays."""
        with self._place.locked():
            known = self._place.read_metadata().remote
            self._metadata.remote[:] = [*known, *(own for own in self._metadata.remote if own not in known), record]
            self._place.write_metadata(self._metadata)

    # -- loading -------------------------------------------------------------------------------------

    @classmethod
    def load_local(cls, directory: str) -> "Artifact":
        """The Artifact in a local directory, wherever it is.

        Raises:
            ArtifactFileMissing: It is no Artifact's. (A FileNotFoundError and a RuntimeError.)
            InvalidArtifactFile: Its files can't be understood. (A ValueError.)
        """
        local = os.fspath(directory).rstrip("/") or "/"
        made = cls.__new__(cls)
        made._use(local)
        metadata = made._place.read_metadata()
        references = made._references()
        base = os.path.basename(made._place.path)
        # A copy under another such name is another Artifact; under any other name it is the same one.
        alternative = base if is_alternative_name(base) else metadata.alternative_name
        made.parse_from_dict({**metadata.to_dict(), "alternativeName": alternative})
        made._records = {path: {"path": path, "size_bytes": size} for path, size in made._place.files().items()}
        made._records |= {path: {"path": path, "uri": uri} for path, uri in references.items()}
        return made

    @classmethod
    def load_remote(cls, path: str) -> "Artifact":
        """Download an Artifact to the parent directory, and load it.

        Raises:
            NotLoggedIn: Call `em.login` first.
            ArtifactNotFound: Nothing is there. (A RuntimeError and a FileNotFoundError.)
            NotAnArtifact: Something else is there. (A RuntimeError.)
            LocalCopyExists: Another Artifact lies where it would go.
        """
        login = session.current()
        try:
            found = remote.find(login, path)
            local = os.path.join(parent_directory(os.environ), found.metadata.alternative_name)
            place = LocalDirectory(path=os.path.abspath(local), clock=SYSTEM_CLOCK)
            history = _history(place, found.metadata)
            with place.adding() if os.path.isdir(place.path) else contextlib.nullcontext():
                remote.fetch(login, found, place.path)
        except (NotFound, InvalidName) as error:
            raise _not_found(path, error) from error
        place.write_references(found.references)
        place.write_metadata(replace(found.metadata, remote=[*history, _download(login, found, path)]))
        return cls.load_local(local)


def _check_uri(uri: str) -> None:
    if not isinstance(uri, str):
        raise TypeError(f"uri: a text, not a {type(uri).__name__}")
    # Nothing is opened here, so any scheme will do; what a reader of the version may open, its own rules say.
    rules = ReferenceRules(schemes=frozenset({uri.partition("://")[0].lower()}))
    try:
        check_uri(uri, rules)
    except ReferenceNotAllowed as error:
        raise ReferenceRefused(error.what, where=error.where, next_step=error.next_step) from error


def _history(place: LocalDirectory, incoming: Metadata) -> list[dict[str, str]]:
    """What the local copy knows of uploads and downloads, if there is one, and what the version knows.

    Raises:
        LocalCopyExists: Another Artifact is there.
    """
    if not os.path.lexists(place.path):
        return incoming.remote
    if not os.path.isdir(place.path):
        raise LocalCopyExists(f"'{place.path}' is there, and is no directory", where=place.path)
    try:
        known = place.read_metadata()
    except ArtifactFileMissing:
        return incoming.remote  # a download that was cut off
    if (known.name, known.created_timestamp) != (incoming.name, incoming.created_timestamp):
        raise LocalCopyExists(f"'{place.path}' holds another Artifact", where=place.path)
    return [*known.remote, *(record for record in incoming.remote if record not in known.remote)]


def _download(login: session.Session, found: remote.Found, path: str) -> dict[str, str]:
    return {
        "action": "download",
        "timestamp": local_moment(SYSTEM_CLOCK),
        "host": login.host,
        "path": remote_path(path, user=login.user),
        "id": found.version,
    }


def _not_found(path: str, error: NotFound | InvalidName) -> ArtifactNotFound:
    reason = error.what if isinstance(error, NotFound) else str(error)
    made = ArtifactNotFound(f"Not a local directory or a remote path: '{path}': {reason}")
    if isinstance(error, NotFound):
        made.data_safe, made.next_step = error.data_safe, error.next_step
    return made
