"""Errors of the t9k interface: each is what the original raises, and an error of this package, too.

Scripts catch `RuntimeError`, `ValueError` or `OSError`, as they did; whoever catches
`ArtifactStoreError` has `what`, `data_safe` and `next_step`. The texts begin as the original's do.
"""

import sys
from typing import cast

from artifactstore.errors import (
    ArtifactStoreError,
    BackendError,
    ConfigurationError,
    DestinationError,
    DestinationExists,
    InvalidPath,
    NameNotFound,
    NotFound,
    PathExists,
    ReferenceNotAllowed,
    SourceChanged,
    SourceError,
    SourceNotFound,
    SourceUnreadable,
    UnsafeManifest,
    VersionExists,
)

_NOTHING_WRITTEN = "Nothing was written."


class NotLoggedIn(ConfigurationError, RuntimeError):
    default_next_step = "Call `em.login()` first."


class NoStoreURL(ConfigurationError, ValueError):
    """What was given as ``ais_host`` names no store."""

    default_next_step = "Give the URL of a store (s3://bucket/prefix, or a folder), or set ARTIFACTSTORE_URL."


class LoginFailed(BackendError, OSError):
    """The store could not be opened: not there, not reachable, no rights. See `login_failed`."""

    default_data_safe = _NOTHING_WRITTEN

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_login_failed, (self.args, self.__dict__)


def _rebuild_login_failed(args: tuple[str], state: dict[str, object]) -> LoginFailed:
    error = LoginFailed(*args)
    error.__dict__.update(state)
    return error


def login_failed(what: str, *, where: str, next_step: str) -> LoginFailed:
    """A `LoginFailed`; where the library `requests` is loaded, one that ``except requests.HTTPError`` catches."""
    http_error = getattr(sys.modules.get("requests"), "HTTPError", None)
    if not isinstance(http_error, type) or not issubclass(http_error, OSError):
        return LoginFailed(what, where=where, next_step=next_step)
    kind = cast("type[LoginFailed]", type("LoginFailed", (LoginFailed, http_error), {"__module__": __name__}))
    return kind(what, where=where, next_step=next_step)


class ArtifactNotFound(NotFound, FileNotFoundError, RuntimeError):
    """`load_artifact` found nothing, neither here nor in the store."""


class NotAnArtifact(ArtifactStoreError, RuntimeError):
    """Something else is there: a folder, a Run, or a version that an Artifact's local layout can't hold."""

    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Load an Artifact; `artifactstore pull` brings any other version to a directory."


class UnsafeArtifact(UnsafeManifest, RuntimeError):
    """A version in the store says something of itself that must not be followed."""


class ArtifactFileMissing(NotFound, FileNotFoundError, RuntimeError):
    """A directory without the `metadata.yaml` of an Artifact."""

    default_next_step = "Load a directory that em.create_artifact made; its name ends with a date and six characters."


class InvalidArtifactFile(ArtifactStoreError, ValueError):
    """A `metadata.yaml` or `references.yaml` that can't be understood."""

    default_data_safe = "The file is as it was; nothing was written."
    default_next_step = "Correct the file, or restore it from a copy."


class SourceMissing(SourceNotFound, FileNotFoundError, RuntimeError):
    """What is to be added is not there, or is not of the kind."""


class SourceDenied(SourceUnreadable, OSError):
    """What is to be added can't be read."""

    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Make it readable, or leave it out."


class SourceMoved(SourceChanged, RuntimeError):
    """What is to be added changed while it was copied."""

    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Add it again when nothing writes to it."


class SourceOverlaps(SourceError, RuntimeError):
    """A directory to be added holds the Artifact's own local directory."""

    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Add its parts one by one, or set EM_ARTIFACT_PARENT_DIR to a place outside of it."


class ObjectPathExists(PathExists, ValueError):
    """Another object has the path, or a path that goes through it."""

    default_next_step = "Give it another obj_path."


class ReservedPath(InvalidPath):
    """An object path of which the local layout makes its own use."""


class ReferenceRefused(ReferenceNotAllowed, ValueError):
    """What is to be referenced is no URI, or one that holds a secret."""

    default_data_safe = _NOTHING_WRITTEN


class FolderNotFound(NameNotFound, ValueError):
    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Name a folder that is there, or say make_folder=True."


class ArtifactExists(VersionExists, RuntimeError):
    """Strategy `error`, and another artifact has the name."""

    default_next_step = "Choose another conflict_strategy (new, skip, replace), another folder or another name."


class LocalCopyExists(DestinationExists, RuntimeError):
    """Another artifact lies where a download would go."""


class NothingToUpload(NotFound, RuntimeError):
    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Name a local directory of an Artifact, or a directory that holds some."


class NotOffered(ArtifactStoreError, NotImplementedError):
    """A part of t9k that is not offered here."""

    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "docs/t9k.md says what is offered."


class LocalError(DestinationError, OSError):
    """The local directory can't be read or written."""

    default_data_safe = "No half-written file was left."
    default_next_step = "Make room or fix the permissions there, then try again."
