"""What a push is asked, and what it did. Values only."""

from dataclasses import dataclass, field

from artifactstore.codec import Compression
from artifactstore.names import Reference, listed
from artifactstore.transaction.expiry import Never
from artifactstore.transaction.records import VersionPin
from artifactstore.transaction.upload import Strategy
from artifactstore.transaction.uses import check_job_id
from artifactstore.transfer.context import Reuse
from artifactstore.transfer.found import FollowLinks, Growth, Notice, OnError, Unmatched


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    """How to push.

    Attributes:
        strategy: What to do when the name has a live version.
        message, labels, metadata: Go into the version's record.
        ttl_seconds: How long readers take it without being told to; None for ever. On a version that stands `"never"`
            lifts what was noted before, and None leaves it.
        made_by: Id of the job that makes it; by default what the environment says.
        made_from: The versions it is made from, as references; what a pull brought, as its pin, with no request.
        aliases: Move to the version once it is committed, or found unchanged.
        force: Move protected aliases too, and with `replace` delete what they point to.
        include, exclude: gitignore patterns.
        follow_links: Store what links point to instead of links.
        one_file_system: Leave out what is mounted inside the tree.
        compression: `AUTO` compresses a file where that saves enough (docs/decisions/0003-compression.md).
        checksum: Read every file, even if it looks unchanged.
        reuse: With `NOTHING` everything is read and sent again, and becomes a version even if it is unchanged: the
            way out when stored data is damaged and its source is still there.
        on_error: What to do about files that can't be read.
        growth: What to do about files that grow while they are read.
        unmatched: What becomes of what ``include`` and ``exclude`` do not take. With `KEPT`, what they take of one
            directory goes over what the newest version has, and all else in that stays; other uploads that commit
            meanwhile are built upon, so that there may be a version more than one.
        dry_run: Scan, read and compare; write nothing to the store.

    Raises:
        InvalidName: ``made_by`` can't be the id of a job.
        TypeError: A text where a list is meant.
    """

    strategy: Strategy = Strategy.VERSION
    message: str = ""
    aliases: tuple[str, ...] = ()
    force: bool = False
    labels: tuple[str, ...] = ()
    metadata: dict[str, object] = field(default_factory=dict)
    ttl_seconds: float | Never | None = None
    made_by: str = ""
    made_from: tuple[str | Reference | VersionPin, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow_links: FollowLinks = FollowLinks.NEVER
    one_file_system: bool = False
    compression: Compression = Compression.AUTO
    checksum: bool = False
    reuse: Reuse = Reuse.ALL
    on_error: OnError = OnError.FAIL
    growth: Growth = Growth.READ_AGAIN
    unmatched: Unmatched = Unmatched.LEFT_OUT
    dry_run: bool = False

    def __post_init__(self) -> None:
        for what in ("aliases", "labels", "made_from", "include", "exclude"):
            object.__setattr__(self, what, listed(what, getattr(self, what)))
        if self.made_by:
            check_job_id(self.made_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResult:
    """What a push did.

    Attributes:
        action: `committed`, `replaced` (committed, and earlier versions deleted), `unchanged`, `skipped`, or
            `planned` (dry run).
        version: The version made, or the one that stands; None for a dry run of a name without versions.
        new_bytes: Content bytes that were not in the store.
        sent_bytes: Bytes of packs sent, or that would be.
        replaced: Versions deleted by strategy `replace`.
        notices: Paths left out, and why.
        pack_count: Packs the version needs. small_pack_count: those under 4 MiB.
        edited: Labels, metadata or time-to-live asked for were noted on the version that stands (`unchanged`), or its
            time was over, and it can be read again.
        references: How many entries of the version are references, whose content is not in the store.
    """

    action: str
    name: str
    version: str | None
    slot: int | None
    content_digest: str
    files: int
    content_bytes: int
    new_bytes: int
    sent_bytes: int
    aliases: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()
    pack_count: int = 0
    small_pack_count: int = 0
    edited: bool = False
    references: int = 0
