"""What the calls of a store answer: plain, frozen values, fit for printing and for JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from artifactstore.manifest.diff import Change
from artifactstore.names import Name, Slot
from artifactstore.transaction.records import GitState, SlotRecord, VersionPin, parse_expiry
from artifactstore.transaction.versions import Edit


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionInfo:
    """One version of a name.

    Attributes:
        version: ``name:v3``.
        content_digest: 64 hexadecimal digits.
        created: RFC 3339, by the uploader's clock.
        aliases: That point to it now; `latest` is not among them.
        expires: From when on readers refuse it unless asked, RFC 3339; empty for never.
        edits: How often message, labels, metadata or time-to-live were edited later. edited, edited_by: when the last
            time, and by whom; empty for never.
        made_by: Id of the job that made it, or empty. made_from: the versions it was made from.
        moved_from: The version that this one was, under another name.
        content_bytes: Of all files. stored_bytes: of the packs it uses, as far as it uses them. new_bytes: what its
            push added to the store.
    """

    name: str
    version: str
    slot: int
    tx: str
    content_digest: str
    created: str
    who: str = ""
    host: str = ""
    message: str = ""
    git: GitState | None = None
    labels: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    expires: str = ""
    edits: int = 0
    edited: str = ""
    edited_by: str = ""
    made_by: str = ""
    made_from: tuple[VersionPin, ...] = ()
    moved_from: VersionPin | None = None
    files: int = 0
    directories: int = 0
    links: int = 0
    references: int = 0
    content_bytes: int = 0
    stored_bytes: int = 0
    new_bytes: int = 0

    def has_expired(self, now_seconds: float) -> bool:
        """Whether its time is over, at a time in seconds since the epoch."""
        return bool(self.expires) and parse_expiry(self.expires) <= now_seconds


def info_of_slot(
    name: Name, slot: int, record: SlotRecord, *, edit: Edit | None = None, aliases: Iterable[str] = ()
) -> VersionInfo:
    """A version as people see it, by the records about it: what its slot says, and the newest edit."""
    notes = edit.record.notes if edit is not None else record.notes
    return VersionInfo(
        name=name.text,
        version=f"{name}{Slot(slot)}",
        slot=slot,
        tx=record.tx,
        content_digest=record.content,
        created=record.created,
        who=record.who,
        host=record.host,
        message=notes.message,
        git=record.git,
        labels=notes.labels,
        aliases=tuple(aliases),
        metadata=notes.metadata,
        expires=notes.expires,
        edits=edit.number if edit is not None else 0,
        edited=edit.record.created if edit is not None else "",
        edited_by=f"{edit.record.who}@{edit.record.host}".strip("@") if edit is not None else "",
        made_by=record.made_by,
        made_from=record.made_from,
        moved_from=record.moved_from,
        files=record.files,
        directories=record.directories,
        links=record.links,
        references=record.references,
        content_bytes=record.content_bytes,
        stored_bytes=record.stored_bytes,
        new_bytes=record.new_bytes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderItem:
    """One thing in a folder: a folder (``name`` ends without a slash), or a name that has versions."""

    name: str
    is_folder: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasInfo:
    """Where an alias points (or pointed), since when, and who moved it there.

    Attributes:
        version: ``name:v3``; empty where the alias was taken away.
        protected: It moves on, or goes, only by force.
        number: Which move of the alias this is, from 1.
    """

    alias: str
    version: str
    moved: str
    who: str
    host: str
    protected: bool = False
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveOptions:
    """What to remove, and how.

    Attributes:
        all_versions: The whole name, not one version.
        dry_run: Say what would go.
        force: Remove versions that protected aliases point to, too.
    """

    all_versions: bool = False
    dry_run: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveResult:
    """What was removed (or would be, in a dry run). Its space returns with garbage collection.

    Attributes:
        versions: ``name:v3``, the newest first.
        aliases: That pointed to one of them, and now point nowhere.
    """

    versions: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """A directory against a version: what changed since."""

    directory: str
    version: str
    changes: Iterable[Change]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What versions take.

    Attributes:
        content_bytes: Of all files of all versions counted.
        stored_bytes: Bytes of packs that they use, each pack's most used share once.
        pack_bytes: Of the packs that they need, whole.
        pack_count: How many packs.
        small_pack_count: Packs under 4 MiB: what makes reading slow.
        fragmentation: Share of the packs' bytes that these versions do not use, 0 to 1.
    """

    versions: int
    files: int
    content_bytes: int
    stored_bytes: int
    pack_bytes: int
    pack_count: int
    small_pack_count: int

    @property
    def fragmentation(self) -> float:
        return 1 - self.stored_bytes / self.pack_bytes if self.pack_bytes else 0.0
