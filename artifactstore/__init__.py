"""Content-addressed artifact and directory store over nothing but a bucket or a folder.

    import artifactstore

    with artifactstore.open_store() as store:
        store.push("runs/1", "models/resnet")
        store.pull("models/resnet:v1", "elsewhere")

Everything named here is public. It is imported when it is first used: ``import artifactstore`` alone costs nothing.
"""

from typing import TYPE_CHECKING

from artifactstore._version import __version__

if TYPE_CHECKING:
    from artifactstore.artifacts.artifact import Artifact as Artifact
    from artifactstore.artifacts.artifact import create_artifact as create_artifact
    from artifactstore.artifacts.artifact import load_artifact as load_artifact
    from artifactstore.artifacts.download import pull_with_references as pull_with_references
    from artifactstore.artifacts.folders import FolderRemoval as FolderRemoval
    from artifactstore.artifacts.folders import delete_folder as delete_folder
    from artifactstore.artifacts.folders import folder_exists as folder_exists
    from artifactstore.artifacts.folders import list_folders as list_folders
    from artifactstore.artifacts.folders import make_folder as make_folder
    from artifactstore.artifacts.lineage import LineageDirection as LineageDirection
    from artifactstore.artifacts.lineage import LineageEdge as LineageEdge
    from artifactstore.artifacts.lineage import LineageGraph as LineageGraph
    from artifactstore.artifacts.lineage import LineageNode as LineageNode
    from artifactstore.artifacts.lineage import lineage as lineage
    from artifactstore.artifacts.lineage_pictures import lineage_fields as lineage_fields
    from artifactstore.artifacts.lineage_pictures import lineage_graphviz as lineage_graphviz
    from artifactstore.artifacts.lineage_pictures import lineage_mermaid as lineage_mermaid
    from artifactstore.artifacts.lineage_pictures import lineage_text as lineage_text
    from artifactstore.artifacts.lock import Lock as Lock
    from artifactstore.artifacts.lock import Pin as Pin
    from artifactstore.artifacts.lock import PinChange as PinChange
    from artifactstore.artifacts.locking import pull_lock as pull_lock
    from artifactstore.artifacts.locking import read_lock as read_lock
    from artifactstore.artifacts.locking import update_lock as update_lock
    from artifactstore.artifacts.locking import write_lock as write_lock
    from artifactstore.artifacts.moves import MoveResult as MoveResult
    from artifactstore.artifacts.moves import NameMove as NameMove
    from artifactstore.artifacts.moves import VersionMove as VersionMove
    from artifactstore.artifacts.moves import move as move
    from artifactstore.artifacts.objects import ArtifactObject as ArtifactObject
    from artifactstore.artifacts.pinning import pin as pin
    from artifactstore.artifacts.pinning import unpin as unpin
    from artifactstore.artifacts.pinning import verify_references as verify_references
    from artifactstore.artifacts.reference_rules import ReferenceRules as ReferenceRules
    from artifactstore.artifacts.references import Drift as Drift
    from artifactstore.artifacts.references import DriftState as DriftState
    from artifactstore.artifacts.references import FieldChange as FieldChange
    from artifactstore.artifacts.references import Proof as Proof
    from artifactstore.backend.doctor import Advice as Advice
    from artifactstore.backend.doctor import DoctorReport as DoctorReport
    from artifactstore.backend.doctor import Finding as Finding
    from artifactstore.backend.doctor import Verdict as Verdict
    from artifactstore.codec import Compression as Compression
    from artifactstore.errors import AliasProtected as AliasProtected
    from artifactstore.errors import ArtifactStoreError as ArtifactStoreError
    from artifactstore.errors import BackendError as BackendError
    from artifactstore.errors import CommitStateUnknown as CommitStateUnknown
    from artifactstore.errors import ConfigurationError as ConfigurationError
    from artifactstore.errors import Conflict as Conflict
    from artifactstore.errors import CorruptData as CorruptData
    from artifactstore.errors import DestinationError as DestinationError
    from artifactstore.errors import DestinationExists as DestinationExists
    from artifactstore.errors import DownloadConflict as DownloadConflict
    from artifactstore.errors import FolderNotEmpty as FolderNotEmpty
    from artifactstore.errors import InvalidExpression as InvalidExpression
    from artifactstore.errors import InvalidMetadata as InvalidMetadata
    from artifactstore.errors import InvalidName as InvalidName
    from artifactstore.errors import InvalidPath as InvalidPath
    from artifactstore.errors import JobNotFound as JobNotFound
    from artifactstore.errors import JobRunning as JobRunning
    from artifactstore.errors import LockFileError as LockFileError
    from artifactstore.errors import NameNotFound as NameNotFound
    from artifactstore.errors import NotFound as NotFound
    from artifactstore.errors import ObjectExists as ObjectExists
    from artifactstore.errors import ObjectNotFound as ObjectNotFound
    from artifactstore.errors import PathExists as PathExists
    from artifactstore.errors import PathNotFound as PathNotFound
    from artifactstore.errors import PinNotMet as PinNotMet
    from artifactstore.errors import PlanOutdated as PlanOutdated
    from artifactstore.errors import ReferenceChanged as ReferenceChanged
    from artifactstore.errors import ReferenceGone as ReferenceGone
    from artifactstore.errors import ReferenceNotAllowed as ReferenceNotAllowed
    from artifactstore.errors import ReferenceNotFound as ReferenceNotFound
    from artifactstore.errors import ReferenceUnreachable as ReferenceUnreachable
    from artifactstore.errors import SourceChanged as SourceChanged
    from artifactstore.errors import SourceError as SourceError
    from artifactstore.errors import SourceFileNotFound as SourceFileNotFound
    from artifactstore.errors import SourceIsDirectory as SourceIsDirectory
    from artifactstore.errors import SourceNotFound as SourceNotFound
    from artifactstore.errors import SourceUnreadable as SourceUnreadable
    from artifactstore.errors import StoreNotFound as StoreNotFound
    from artifactstore.errors import StoreOutOfSpace as StoreOutOfSpace
    from artifactstore.errors import StorePermissionDenied as StorePermissionDenied
    from artifactstore.errors import StoreReadOnly as StoreReadOnly
    from artifactstore.errors import SyncPlanError as SyncPlanError
    from artifactstore.errors import TransientBackendError as TransientBackendError
    from artifactstore.errors import UnsafeManifest as UnsafeManifest
    from artifactstore.errors import UnsupportedFormat as UnsupportedFormat
    from artifactstore.errors import VersionDeleted as VersionDeleted
    from artifactstore.errors import VersionExists as VersionExists
    from artifactstore.errors import VersionExpired as VersionExpired
    from artifactstore.examination import examine as examine
    from artifactstore.filesystem.system import ArtifactFileSystem as ArtifactFileSystem
    from artifactstore.filesystem.system import open_filesystem as open_filesystem
    from artifactstore.jobs.background import UploadHandle as UploadHandle
    from artifactstore.jobs.directory import SyncableDirectory as SyncableDirectory
    from artifactstore.jobs.directory import create_syncable_directory as create_syncable_directory
    from artifactstore.jobs.directory import open_syncable_directory as open_syncable_directory
    from artifactstore.jobs.job import current_job as current_job
    from artifactstore.jobs.job import job as job
    from artifactstore.jobs.listing import JobInfo as JobInfo
    from artifactstore.jobs.listing import find_job as find_job
    from artifactstore.jobs.listing import list_jobs as list_jobs
    from artifactstore.jobs.manifest import JobManifest as JobManifest
    from artifactstore.jobs.manifest import JobThing as JobThing
    from artifactstore.jobs.manifest import JobVersion as JobVersion
    from artifactstore.jobs.manifest import job_manifest as job_manifest
    from artifactstore.jobs.project import Project as Project
    from artifactstore.jobs.project import project as project
    from artifactstore.jobs.records import JobStatus as JobStatus
    from artifactstore.jobs.releases import Release as Release
    from artifactstore.jobs.releases import ReleaseDownload as ReleaseDownload
    from artifactstore.jobs.releases import ReleaseKind as ReleaseKind
    from artifactstore.jobs.releases import Releases as Releases
    from artifactstore.jobs.releases import ReleaseUpload as ReleaseUpload
    from artifactstore.jobs.removal import JobRemoval as JobRemoval
    from artifactstore.jobs.removal import remove_job as remove_job
    from artifactstore.jobs.running import Job as Job
    from artifactstore.jobs.runs import ArtifactGroup as ArtifactGroup
    from artifactstore.jobs.runs import RunArtifacts as RunArtifacts
    from artifactstore.jobs.saved import SavedFile as SavedFile
    from artifactstore.jobs.saved import list_saved as list_saved
    from artifactstore.jobs.saved import load_saved as load_saved
    from artifactstore.jobs.saved import open_saved as open_saved
    from artifactstore.jobs.saved import save_artifact as save_artifact
    from artifactstore.jobs.shared_files import SharedArtifacts as SharedArtifacts
    from artifactstore.jobs.single_files import FileArtifact as FileArtifact
    from artifactstore.jobs.single_files import FileDownload as FileDownload
    from artifactstore.jobs.single_files import FileUpload as FileUpload
    from artifactstore.jobs.snapshots import Snapshot as Snapshot
    from artifactstore.jobs.sync_plan import Direction as Direction
    from artifactstore.jobs.sync_plan import SyncOptions as SyncOptions
    from artifactstore.jobs.sync_plan import SyncPlan as SyncPlan
    from artifactstore.jobs.sync_plan import parse_plan as parse_plan
    from artifactstore.jobs.sync_plan import serialize_plan as serialize_plan
    from artifactstore.jobs.sync_results import SnapshotDownload as SnapshotDownload
    from artifactstore.jobs.sync_results import SnapshotUpload as SnapshotUpload
    from artifactstore.jobs.sync_results import StateDifference as StateDifference
    from artifactstore.jobs.sync_results import SyncStatus as SyncStatus
    from artifactstore.jobs.syncing import SyncRequest as SyncRequest
    from artifactstore.jobs.syncing import SyncResult as SyncResult
    from artifactstore.jobs.syncing import apply_sync as apply_sync
    from artifactstore.jobs.syncing import plan_sync as plan_sync
    from artifactstore.jobs.tensorboard import TensorboardLogs as TensorboardLogs
    from artifactstore.jobs.tensorboard import set_tensorboard_logdir as set_tensorboard_logdir
    from artifactstore.jobs.tensorboard_folder import BroughtLogs as BroughtLogs
    from artifactstore.jobs.tensorboard_folder import TensorboardFolder as TensorboardFolder
    from artifactstore.jobs.tensorboard_folder import jobs_with_tensorboard as jobs_with_tensorboard
    from artifactstore.jobs.watch import Watch as Watch
    from artifactstore.manifest.diff import Change as Change
    from artifactstore.manifest.diff import ChangeKind as ChangeKind
    from artifactstore.manifest.model import Entry as Entry
    from artifactstore.manifest.model import EntryKind as EntryKind
    from artifactstore.results import AliasInfo as AliasInfo
    from artifactstore.results import FolderItem as FolderItem
    from artifactstore.results import RemoveOptions as RemoveOptions
    from artifactstore.results import RemoveResult as RemoveResult
    from artifactstore.results import StatusReport as StatusReport
    from artifactstore.results import Usage as Usage
    from artifactstore.results import VersionInfo as VersionInfo
    from artifactstore.store import Store as Store
    from artifactstore.store import init_store as init_store
    from artifactstore.store import open_store as open_store
    from artifactstore.transaction.edits import VersionEdit as VersionEdit
    from artifactstore.transaction.upload import Strategy as Strategy
    from artifactstore.transfer.compose import Carried as Carried
    from artifactstore.transfer.compose import Composition as Composition
    from artifactstore.transfer.compose import Placed as Placed
    from artifactstore.transfer.context import Reuse as Reuse
    from artifactstore.transfer.found import FollowLinks as FollowLinks
    from artifactstore.transfer.found import Growth as Growth
    from artifactstore.transfer.found import OnError as OnError
    from artifactstore.transfer.found import Unmatched as Unmatched
    from artifactstore.transfer.plan import ConflictStrategy as ConflictStrategy
    from artifactstore.transfer.plan import PullOptions as PullOptions
    from artifactstore.transfer.progress import Progress as Progress
    from artifactstore.transfer.pull import PullResult as PullResult
    from artifactstore.transfer.push import PushOptions as PushOptions
    from artifactstore.transfer.push import PushResult as PushResult

_EXPORTS: dict[str, tuple[str, ...]] = {
    "artifacts.artifact": ("Artifact", "create_artifact", "load_artifact"),
    "artifacts.lock": ("Lock", "Pin", "PinChange"),
    "artifacts.locking": ("pull_lock", "read_lock", "update_lock", "write_lock"),
    "artifacts.objects": ("ArtifactObject",),
    "artifacts.folders": ("FolderRemoval", "delete_folder", "folder_exists", "list_folders", "make_folder"),
    "artifacts.lineage": ("LineageDirection", "LineageEdge", "LineageGraph", "LineageNode", "lineage"),
    "artifacts.lineage_pictures": ("lineage_fields", "lineage_graphviz", "lineage_mermaid", "lineage_text"),
    "artifacts.moves": ("MoveResult", "NameMove", "VersionMove", "move"),
    "artifacts.download": ("pull_with_references",),
    "artifacts.pinning": ("pin", "unpin", "verify_references"),
    "artifacts.reference_rules": ("ReferenceRules",),
    "artifacts.references": ("Drift", "DriftState", "FieldChange", "Proof"),
    "backend.doctor": ("Advice", "DoctorReport", "Finding", "Verdict"),
    "codec": ("Compression",),
    "errors": (
        "AliasProtected",
        "ArtifactStoreError",
        "BackendError",
        "CommitStateUnknown",
        "ConfigurationError",
        "Conflict",
        "CorruptData",
        "DestinationError",
        "DestinationExists",
        "DownloadConflict",
        "InvalidMetadata",
        "InvalidExpression",
        "FolderNotEmpty",
        "InvalidName",
        "InvalidPath",
        "JobNotFound",
        "JobRunning",
        "LockFileError",
        "NameNotFound",
        "NotFound",
        "ObjectExists",
        "ObjectNotFound",
        "PathExists",
        "PathNotFound",
        "PinNotMet",
        "PlanOutdated",
        "ReferenceChanged",
        "ReferenceGone",
        "ReferenceNotAllowed",
        "ReferenceNotFound",
        "ReferenceUnreachable",
        "SourceChanged",
        "SourceError",
        "SourceFileNotFound",
        "SourceIsDirectory",
        "SourceNotFound",
        "SourceUnreadable",
        "StoreNotFound",
        "StoreOutOfSpace",
        "StorePermissionDenied",
        "StoreReadOnly",
        "SyncPlanError",
        "TransientBackendError",
        "UnsafeManifest",
        "UnsupportedFormat",
        "VersionDeleted",
        "VersionExists",
        "VersionExpired",
    ),
    "examination": ("examine",),
    "filesystem.system": ("ArtifactFileSystem", "open_filesystem"),
    "jobs.background": ("UploadHandle",),
    "jobs.directory": ("SyncableDirectory", "create_syncable_directory", "open_syncable_directory"),
    "jobs.job": ("current_job", "job"),
    "jobs.listing": ("JobInfo", "find_job", "list_jobs"),
    "jobs.manifest": ("JobManifest", "JobThing", "JobVersion", "job_manifest"),
    "jobs.records": ("JobStatus",),
    "jobs.removal": ("JobRemoval", "remove_job"),
    "jobs.running": ("Job",),
    "jobs.saved": ("SavedFile", "list_saved", "load_saved", "open_saved", "save_artifact"),
    "jobs.snapshots": ("Snapshot",),
    "jobs.sync_results": ("SnapshotDownload", "SnapshotUpload", "StateDifference", "SyncStatus"),
    "jobs.project": ("Project", "project"),
    "jobs.releases": ("Release", "ReleaseDownload", "ReleaseKind", "ReleaseUpload", "Releases"),
    "jobs.runs": ("ArtifactGroup", "RunArtifacts"),
    "jobs.shared_files": ("SharedArtifacts",),
    "jobs.single_files": ("FileArtifact", "FileDownload", "FileUpload"),
    "jobs.sync_plan": ("Direction", "SyncOptions", "SyncPlan", "parse_plan", "serialize_plan"),
    "jobs.syncing": ("SyncRequest", "SyncResult", "apply_sync", "plan_sync"),
    "jobs.tensorboard": ("TensorboardLogs", "set_tensorboard_logdir"),
    "jobs.tensorboard_folder": ("BroughtLogs", "TensorboardFolder", "jobs_with_tensorboard"),
    "jobs.watch": ("Watch",),
    "manifest.diff": ("Change", "ChangeKind"),
    "manifest.model": ("Entry", "EntryKind"),
    "results": ("AliasInfo", "FolderItem", "RemoveOptions", "RemoveResult", "StatusReport", "Usage", "VersionInfo"),
    "store": ("Store", "init_store", "open_store"),
    "transaction.edits": ("VersionEdit",),
    "transaction.upload": ("Strategy",),
    "transfer.compose": ("Carried", "Composition", "Placed"),
    "transfer.context": ("Reuse",),
    "transfer.found": ("FollowLinks", "Growth", "OnError", "Unmatched"),
    "transfer.plan": ("ConflictStrategy", "PullOptions"),
    "transfer.progress": ("Progress",),
    "transfer.pull": ("PullResult",),
    "transfer.push": ("PushOptions", "PushResult"),
}
_MODULES = {name: f"artifactstore.{module}" for module, names in _EXPORTS.items() for name in names}

__all__ = ["__version__", *sorted(_MODULES)]


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
