"""The errors that callers may catch, cut by what they can do next.

    ArtifactStoreError
      NotFound                   look at the name again
        ObjectNotFound             no object under this key
        StoreNotFound              no store at this URL (not initialised, bucket missing)
        NameNotFound               no such name, folder, version, alias
          JobNotFound                no such job
        VersionDeleted             it was there, and has been deleted
        VersionExpired             its time is over: readers refuse it unless asked
        PathNotFound               no such path in the version
        PinNotMet                  a lock file pins content that the store does not have
        ReferenceNotFound          nothing is at a URI, or nothing below it
          ReferenceUnreachable       nobody knows what is at a URI: it could not be asked
      Conflict                   somebody or something was there first: decide, then run again
        ObjectExists               a put-if-absent found another object
        VersionExists              strategy `error`: the name has a version already
        AliasProtected             a protected alias would be moved, deleted or left pointing to nothing
        DownloadConflict           local edits stand in the way of a download
        DestinationExists          the destination can't be used as it is
        PathExists                 two things for one path of a version
        FolderNotEmpty             a folder that would be removed holds something
        JobRunning                 a job that would be removed is at work
        PlanOutdated               a side has moved since a plan for syncing was made
      CorruptData                stored bytes are not what they were when written
      UnsafeManifest             a manifest names paths that must not be written
      UnsupportedFormat          written by a newer version
      CommitStateUnknown         the commit may or may not have happened; nothing was removed
      SourceError                the tree being uploaded
        SourceNotFound             a path that is not there
          SourceFileNotFound         one that was given as a file (a FileNotFoundError, too)
        SourceIsDirectory          a directory where a file is meant (an IsADirectoryError, too)
        SourceUnreadable           a path that can't be read
        SourceChanged              a file kept changing while it was read
      DestinationError           the place being written to: no space, no permission, a file system that can't
      BackendError               the storage did not do it
        TransientBackendError      it may work later; was retried
        StorePermissionDenied      credentials or rights
        StoreOutOfSpace            the store's file system or quota is full
        StoreReadOnly              this store can't be written in this way
      ReferenceNotAllowed        a URI that the rules for references refuse
      ReferenceChanged           what is at a URI is not what was there when it was added
        ReferenceGone              nothing is there any more (a ReferenceNotFound, too)
      ConfigurationError         a setting is wrong
      SyncPlanError              a plan for syncing can't be read, or says what it may not say
      LockFileError              a lock file can't be read, or says what it may not say

Bad arguments are `ValueError` (`InvalidName`, `InvalidExpression`, `InvalidMetadata`) or `TypeError`, outside this
tree: catching them never catches lost data. Every error survives pickling.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

_NOTHING_WRITTEN = "Nothing was written."


class InvalidName(ValueError):
    """A name, alias, version, job id or reference that is not of the grammar in `artifactstore.names`."""


class InvalidPath(InvalidName):
    """A path of an artifact's object that no version can hold."""


class InvalidMetadata(ValueError):
    """Labels, message, metadata or a time-to-live that can't be kept with a version; nothing was written."""


class InvalidExpression(ValueError):
    """A condition of a search that is not of the grammar in `artifactstore.where`.

    Attributes:
        position: Where in the text it goes wrong, counted from 0.
    """

    def __init__(self, what: str, *, position: int = 0) -> None:
        super().__init__(what)
        self.position = position


class ArtifactStoreError(Exception):
    """The root of the tree.

    Args:
        what: What happened, one sentence without a full stop at the end.
        where: The object, path or URL it happened at.
        data_safe: Whether anything is lost or half done.
        next_step: What to do or run now.
    """

    default_data_safe: ClassVar[str] = "Stored data is not affected."
    default_next_step: ClassVar[str] = "Run the command again with -v to see each request."

    def __init__(self, what: str, *, where: str = "", data_safe: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.data_safe = data_safe or self.default_data_safe
        self.next_step = next_step or self.default_next_step

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where and self.where not in self.what else ""
        return f"{self.what}{place}. {self.data_safe} {self.next_step}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[ArtifactStoreError], args: tuple[object, ...], state: dict[str, object]) -> ArtifactStoreError:
    error = kind.__new__(kind, *args)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class NotFound(ArtifactStoreError):
    default_next_step = "Check the name: `artifactstore ls` shows what is there."


class ObjectNotFound(NotFound):
    """No object under ``key``."""

    default_next_step = "Run `artifactstore doctor` to see whether the store answers as it should."

    def __init__(self, key: str, *, where: str = "") -> None:
        super().__init__(f"no object {key}", where=where)
        self.key = key


class StoreNotFound(NotFound):
    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Make one with `artifactstore init URL`, or name another with --store."


class NameNotFound(NotFound):
    pass


class JobNotFound(NameNotFound):
    default_next_step = "`artifactstore jobs` lists the jobs of this store."


class VersionDeleted(NotFound):
    default_data_safe = "It was deleted on purpose; other versions are not affected."
    default_next_step = "`artifactstore log NAME` shows the versions that are left."


class VersionExpired(NotFound):
    """The version is still there, and its time is over.

    Attributes:
        version: ``name:v3``.
        expires: Since when, RFC 3339.
    """

    default_data_safe = "It is still stored, and is not read by accident."
    default_next_step = "To read it all the same, say --expired (in Python allow_expired=True)."

    def __init__(self, what: str, *, version: str = "", expires: str = "", where: str = "") -> None:
        super().__init__(what, where=where)
        self.version = version
        self.expires = expires


class PathNotFound(NotFound):
    default_next_step = "`artifactstore ls NAME:VERSION` shows the paths in a version."


class PinNotMet(NotFound):
    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Pin what is there now with `artifactstore lock`, or push that content again."


class Conflict(ArtifactStoreError):
    pass


class ObjectExists(Conflict):
    """A put-if-absent found another object under ``key``."""

    def __init__(self, key: str, *, where: str = "") -> None:
        super().__init__(f"object {key} exists already", where=where)
        self.key = key


class VersionExists(Conflict):
    """Strategy ``error``: the name has a live version."""

    default_data_safe = "No version was made."
    default_next_step = "Choose another --strategy (version, skip, new, replace) or another name."


class AliasProtected(Conflict):
    """A protected alias stands in the way.

    Attributes:
        aliases: The protected ones.
    """

    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Lift it with `artifactstore alias NAME ALIAS --unprotect`, or say --force."

    def __init__(self, what: str, *, aliases: Sequence[str] = (), where: str = "") -> None:
        super().__init__(what, where=where)
        self.aliases = tuple(aliases)


class DownloadConflict(Conflict):
    """Paths that differ here, in the version, and from what was last synced.

    Attributes:
        paths: The paths in conflict, relative to the destination.
    """

    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Choose --strategy skip, new or replace, or move your files away."

    def __init__(self, what: str, *, paths: Sequence[bytes], where: str = "") -> None:
        super().__init__(what, where=where)
        self.paths = tuple(paths)


class PathExists(Conflict):
    """Two parts of what is to be a version have something for one path."""

    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Give one of them another path, or leave it out."


class FolderNotEmpty(Conflict):
    default_data_safe = "Nothing was removed."
    default_next_step = "Remove what is in it, or all of it at once with --recursive (in Python recursive=True)."


class JobRunning(Conflict):
    default_data_safe = "Nothing was removed."
    default_next_step = "Wait for its end, or remove it all the same with --force (in Python force=True)."


class PlanOutdated(Conflict):
    """A plan for syncing does not hold any more.

    Attributes:
        side: What moved: ``store`` (another one), ``source`` or ``target`` (snapshots of a job), ``directory``,
            or ``plan`` (what would be done is not what it says).
        paths: Where it moved, as far as that can be told.
    """

    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Look at what happened, and make a new plan."

    def __init__(self, what: str, *, side: str, paths: Sequence[bytes] = (), where: str = "") -> None:
        super().__init__(what, where=where)
        self.side = side
        self.paths = tuple(paths)


class DestinationExists(Conflict):
    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Name another destination, or move away what is there."


class CorruptData(ArtifactStoreError):
    """Stored bytes fail their check.

    Attributes:
        key: The damaged object.
        byte_range: Half-open range in it, or None for all of it.
        versions: What it hurts, as far as known (``name:v3``).
    """

    default_data_safe = "No wrong byte was returned; versions that do not use this object are not affected."
    default_next_step = "Restore this object from a copy of the store, or push its source again with --no-reuse."

    def __init__(
        self,
        what: str,
        *,
        key: str = "",
        byte_range: tuple[int, int] | None = None,
        versions: Sequence[str] = (),
        where: str = "",
    ) -> None:
        super().__init__(what, where=where or key)
        self.key = key
        self.byte_range = byte_range
        self.versions = tuple(versions)

    def __str__(self) -> str:
        span = f" bytes {self.byte_range[0]}-{self.byte_range[1]}" if self.byte_range else ""
        hurt = f" It hurts {', '.join(self.versions)}." if self.versions else ""
        place = f" ({self.where}{span})" if self.where else ""
        return f"{self.what}{place}.{hurt} {self.data_safe} {self.next_step}"


class UnsafeManifest(ArtifactStoreError):
    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Do not trust where this version comes from; ask who pushed it (`artifactstore log NAME`)."


class UnsupportedFormat(ArtifactStoreError):
    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Upgrade: pip install --upgrade artifactstore"


class CommitStateUnknown(ArtifactStoreError):
    default_data_safe = "Nothing was removed; the upload is either committed whole or not visible at all."
    default_next_step = "Run the same push again: it finds out, and sends nothing twice."


class SourceError(ArtifactStoreError):
    default_data_safe = "No version was made; older versions are not affected."
    default_next_step = "Change what is pushed, or leave it out with --exclude, then push again."


class SourceNotFound(SourceError):
    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Check the path."


class SourceFileNotFound(SourceNotFound, FileNotFoundError):
    """A single file that was to be stored is not there; ``except FileNotFoundError`` catches it, too."""


class SourceIsDirectory(SourceError, IsADirectoryError):
    """A single file was to be stored, and a directory is there; ``except IsADirectoryError`` catches it, too."""

    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Sync it with create_syncable_directory, or push it."


class SourceUnreadable(SourceError):
    default_next_step = "Make it readable, or leave it out with --exclude."


class SourceChanged(SourceError):
    default_next_step = "Push again when nothing writes to it, or leave it out with --exclude."


class DestinationError(ArtifactStoreError):
    default_data_safe = "No half-written file was left; stored data is not affected."
    default_next_step = "Make room or fix the permissions there, then run the same pull again."


class BackendError(ArtifactStoreError):
    default_next_step = "Run `artifactstore doctor` to see whether the store answers as it should."


class TransientBackendError(BackendError):
    """The storage failed in a way that may pass.

    Attributes:
        retry_after_seconds: What the storage asked for, or None.
        effect_unknown: The request may have taken effect (a lost reply).
    """

    default_next_step = "Run the same command again later: it goes on where this one stopped."

    def __init__(
        self, what: str, *, where: str = "", retry_after_seconds: float | None = None, effect_unknown: bool = True
    ) -> None:
        super().__init__(what, where=where)
        self.retry_after_seconds = retry_after_seconds
        self.effect_unknown = effect_unknown


class StorePermissionDenied(BackendError):
    default_next_step = "Check the credentials and the bucket policy (docs/s3.md lists what is needed)."


class StoreOutOfSpace(BackendError):
    default_next_step = "Make room in the store, then run the same command again: it sends only what is missing."


class StoreReadOnly(BackendError):
    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "It can be read. To write, run this where it can be written, or name another with --store."


class ConfigurationError(ArtifactStoreError):
    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "`artifactstore config` shows which setting won and where it comes from."


class SyncPlanError(ArtifactStoreError):
    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Make a new plan."


class LockFileError(ArtifactStoreError):
    default_data_safe = _NOTHING_WRITTEN
    default_next_step = "Correct the file, or take an earlier one from version control, then run this again."


class ReferenceNotFound(NotFound):
    """Nothing is at a URI, or nothing below it."""

    default_next_step = "Check the URI."


class ReferenceUnreachable(ReferenceNotFound):
    """What is at a URI could not be asked for: no connection, no rights, or a server that fails."""

    default_next_step = "Check that the server is up and that your credentials for it hold, then try again."


class ReferenceNotAllowed(ArtifactStoreError):
    """A URI that the rules for references refuse. The message holds no secret."""

    default_data_safe = "Nothing was asked for there, and nothing was written."
    default_next_step = "docs/references.md says which URIs are allowed, and how to allow more."


class ReferenceChanged(ArtifactStoreError):
    """What is at a URI is not what was there when it was added.

    Attributes:
        old: What was recorded, of the fields that differ: ``size_bytes``, ``etag``, ``version_id``, ``digest``
            (hexadecimal digits).
        new: What is there now, of the same fields. Empty when nothing is there.
    """

    default_data_safe = "Nothing of it was kept."
    default_next_step = "Bring the old content back, or add the reference again in a new version."

    def __init__(
        self, what: str, *, old: Mapping[str, object], new: Mapping[str, object], where: str = ""
    ) -> None:
        super().__init__(what, where=where)
        self.old = dict(old)
        self.new = dict(new)


class ReferenceGone(ReferenceChanged, ReferenceNotFound):
    """Nothing is any more where a reference points."""
