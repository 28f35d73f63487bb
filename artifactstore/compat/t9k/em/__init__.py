"""`t9k.em`: create Artifacts, fill them, upload them to a store and load them from one.

    from artifactstore.compat.t9k import em

    em.login()
    artifact = em.create_artifact(name="logs", labels=["tensorboard"])
    artifact.add_dir("run/logs")
    artifact.upload()

Signatures, defaults, local files and errors are those of t9k; docs/t9k.md says what differs.
Its Runs are not offered: `create_run` and `load_run` are not there.
"""

import logging
import os
from collections.abc import Sequence
from typing import Final

from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.compat.t9k import remote, session
from artifactstore.compat.t9k.documents import KIND, MAX_METADATA_BYTES, Metadata
from artifactstore.compat.t9k.em import artifact as artifact
from artifactstore.compat.t9k.em.artifact import Artifact
from artifactstore.compat.t9k.errors import ArtifactNotFound, NothingToUpload, NotOffered, SourceMissing
from artifactstore.compat.t9k.local import LocalDirectory, parent_directory
from artifactstore.compat.t9k.naming import (
    METADATA_FILE,
    alternative_name,
    check_artifact_name,
    is_alternative_name,
    local_moment,
)

__all__ = ["Artifact", "artifact", "create_artifact", "load_artifact", "login", "logout", "upload"]

_ENTROPY_BYTES: Final = 16
_MAX_ATTEMPTS: Final = 100
_RUNS: Final = ("containers", "create_run", "load_run", "run")
_log = logging.getLogger(__name__)


def __getattr__(name: str) -> object:
    what = "this module has the Artifacts of t9k.em, and not its Runs" if name in _RUNS else "there is no such name"
    raise AttributeError(f"t9k.em.{name} is not offered: {what}")


def __dir__() -> list[str]:
    return sorted(__all__)


def create_artifact(name: str, labels: Sequence[str] | None = None, description: str = "") -> Artifact:
    """A new Artifact, with a local directory of its own below EM_ARTIFACT_PARENT_DIR (by default `.em/artifacts`).

    Raises:
        InvalidName: Not a name of an Artifact. (A ValueError.)
        TypeError, ValueError: Labels or description are not text.
        LocalError: The directory can't be made. (An OSError.)
    """
    check_artifact_name(name)
    texts = _texts(labels) if isinstance(labels, Sequence) else []
    description = _texts([description or ""])[0]
    for _ in range(_MAX_ATTEMPTS):
        metadata = Metadata(
            name=name,
            labels=texts,
            description=description,
            created_timestamp=local_moment(SYSTEM_CLOCK),
            alternative_name=alternative_name(
                name, seconds=SYSTEM_CLOCK.now(), entropy=SYSTEM_CLOCK.random_bytes(_ENTROPY_BYTES)
            ),
        )
        local = os.path.join(parent_directory(os.environ), metadata.alternative_name)
        if LocalDirectory(path=os.path.abspath(local), clock=SYSTEM_CLOCK).create(metadata):
            _log.info("Artifact %s saved to local directory %s", name, local)
            return Artifact(metadata.to_dict())
    raise AssertionError("a hundred random names were all taken")


def _texts(values: Sequence[str]) -> list[str]:
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"labels and description are text, not {type(value).__name__}. Nothing was written.")
        value.encode("utf-8")  # a ValueError for half a surrogate pair
    return [str(value) for value in values]


def load_artifact(path: str) -> Artifact:
    """The Artifact in a local directory, or else at a path of the store: ``/user/folder/name``.

    A remote path that does not start with a slash is below `/<user>/`. It is downloaded to the parent directory.
    With a version behind it (``name:v3``) that version is loaded, and not the newest.

    Raises:
        ArtifactNotFound: In neither place. (A RuntimeError and a FileNotFoundError.)
        As `Artifact.load_local` and `Artifact.load_remote`.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        return Artifact.load_local(path)
    if not session.is_logged_in():
        raise ArtifactNotFound(
            f"Not a local directory: '{path}'", next_step="If it is a remote path, call `em.login()` first."
        )
    return Artifact.load_remote(path)


def upload(path: str, folder: str = "default", make_folder: bool = False, conflict_strategy: str = "new") -> None:
    """Upload the Artifact in a local directory, or all Artifacts in a parent directory, by name.

    All are looked at before the first one is uploaded. What was uploaded when one fails stays.

    Raises:
        NotLoggedIn: Call `em.login` first. (A RuntimeError.)
        NothingToUpload: No Artifact is there. (A RuntimeError.)
        NotOffered: A Run is there. (A NotImplementedError.)
        As `Artifact.load_local` and `Artifact.upload`.
    """
    remote.check_strategy(conflict_strategy)
    session.current()
    artifacts = [Artifact.load_local(directory) for directory in _directories(os.fspath(path))]
    if not artifacts:
        raise NothingToUpload(f"No Run/Artifact is to be uploaded: '{path}' holds none")
    for each in artifacts:
        each.upload(folder=folder, make_folder=make_folder, conflict_strategy=conflict_strategy)


def _directories(path: str) -> list[str]:
    """The local directories at, or directly below, ``path``."""
    if not os.path.isdir(path):
        raise SourceMissing(f"Directory does not exist: '{path}'")
    whole = os.path.abspath(path)
    if is_alternative_name(os.path.basename(whole)) or os.path.isfile(os.path.join(whole, METADATA_FILE)):
        found = [path]
    else:
        with os.scandir(path) as rows:
            found = sorted(row.path for row in rows if is_alternative_name(row.name) and row.is_dir())
    for directory in found:
        _check_kind(directory)
    return found


def _check_kind(directory: str) -> None:
    place = LocalDirectory(path=os.path.abspath(directory), clock=SYSTEM_CLOCK)
    document = place.read_document(METADATA_FILE, max_bytes=MAX_METADATA_BYTES) or {}
    kind = document.get("kind", KIND)
    if kind != KIND:
        raise NotOffered(f"'{directory}' is a {kind}, and only Artifacts are offered here", where=directory)


def login(ais_host: str | None = None, api_key: str | None = None, timeout: int | None = None) -> None:
    """Open a store for the calls that follow.

    Args:
        ais_host: Its URL or path; by default ``CONFIG["aistore_host"]``, else what the settings say.
        api_key: Taken because scripts give one; not used, kept, or shown.
        timeout: Seconds that the store has to answer this call.

    Raises:
        NoStoreURL: It is no URL of a store. (A ValueError.)
        LoginFailed: The store is not there, can't be reached, or may not be read. (An OSError, and a
            requests.HTTPError in programs that use requests.)
    """
    session.login(ais_host, api_key, timeout)


def logout() -> None:
    """Close the store. Without a login this only warns."""
    session.logout()
