"""One upload as the protocol sees it, from `begin` to `commit.commit` (docs/protocol.md, "Upload").

`begin` looks at the collection runs first, then at the name. What the uploader learns after
that may be relied on, and only that:

    upload = begin(backend, clock, name=..., strategy=...)          # step (1)
    if result := settle_early(upload, aliases=...): ...             # `error`, `skip`
    ...                                                             # (2) (3): what can be reused; packs
    if result := settle_unchanged(upload, content_digest=..., cut=..., aliases=...): ...
    result = commit(upload, source, details=..., aliases=...)       # (4)-(9)
"""

import contextlib
import enum
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock
from artifactstore.digest import Digest, PackId
from artifactstore.errors import BackendError, VersionDeleted
from artifactstore.keys import TxId, check_key_length, root_key
from artifactstore.manifest.model import Counts, PackRow, Root
from artifactstore.names import Name
from artifactstore.transaction.aliases import NO_GUARD, AliasMove, Guard
from artifactstore.transaction.outcomes import fence, fresh_tx
from artifactstore.transaction.records import NONCE_BYTES, Author, GitState, VersionPin
from artifactstore.transaction.roots import encode_interim_root, load_root
from artifactstore.transaction.runs import GcView, condemned, look
from artifactstore.transaction.versions import SHORT_PAGE, Version, list_slots, read_version

HEARTBEAT_SECONDS: Final = 2 * 24 * 3600.0


class Strategy(enum.Enum):
    """What a push does when the name has a live version (docs/protocol.md has the table of outcomes)."""

    VERSION = "version"
    SKIP = "skip"
    ERROR = "error"
    NEW = "new"
    REPLACE = "replace"


class IfUnchanged(enum.Enum):
    """What a commit does when the newest version has this content already."""

    REPORT = "report"  # no new version: that one is reported
    COMMIT = "commit"  # a version all the same: its content lies in packs of its own


class Action(enum.Enum):
    """What became of a push."""

    COMMITTED = "committed"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotDetails:
    """What a push says about itself, for people."""

    who: str = ""
    host: str = ""
    message: str = ""
    git: GitState | None = None
    labels: tuple[str, ...] = ()
    metadata: dict[str, object] = field(default_factory=dict)
    expires: str = ""
    made_by: str = ""
    made_from: tuple[VersionPin, ...] = ()
    moved_from: VersionPin | None = None

    def __post_init__(self) -> None:
        # Checked as text nowhere else; a record with anything else in it could not be read again.
        if not isinstance(self.made_by, str):
            raise TypeError(f"made_by: the id of a job is a text, and not {self.made_by!r}")

    @property
    def author(self) -> Author:
        return Author(who=self.who, host=self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedRoot:
    """A root, ready to be put.

    Attributes:
        body: Its bytes; they hold a fresh nonce.
        digest: Root digest of ``body``.
        packs: Every pack that the version needs, as in the root's pack table.
        stored_bytes: Bytes of packs that it uses; new_bytes: those sent by this upload.
    """

    body: bytes
    digest: Digest
    packs: frozenset[PackId]
    content_digest: Digest
    cut: str
    counts: Counts
    stored_bytes: int = 0
    new_bytes: int = 0


class RootSource(Protocol):
    """The uploader, as `commit` needs it. Called from the committing thread only."""

    def encode_root(self, *, done_run: int, target: Name) -> EncodedRoot:
        """The root as things are now: all packs it names have been put. Each call has a nonce of its own."""
        ...

    def replace(self, packs: frozenset[PackId]) -> None:
        """Put again, in new packs, what the root needs of these condemned ones: chunks, blocks and extent lists.

        Raises:
            SourceChanged: The source does not have these bytes any more.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitResult:
    """How a push ended.

    Attributes:
        version: The version made; for the other actions the one that stands.
        moves: The newest move of each alias asked for.
        replaced: Slots that this push has deleted, the newest first.
        attempts: Transactions it took.
    """

    action: Action
    version: Version
    moves: tuple[AliasMove, ...] = ()
    replaced: tuple[int, ...] = ()
    attempts: int = 0


class Upload:
    """What an upload knows of the store since step (1). Made by `begin`. All methods may be called from any thread.

    Attributes:
        guard: Whether it goes over protected aliases.
        tx: Id of its first transaction; later attempts get others.
        view: What step (1) saw of `gc/`.
        highest_slot: The highest slot at the start, of whatever state; 0 for none.
        latest: The highest committed live version at the start: base, and what `error` and `skip` look for.
        seen: For `replace`, all committed live versions at the start, the newest first; else just ``latest``.
    """

    def __init__(  # noqa: PLR0913 - `begin` makes it, nobody else
        self,
        backend: Backend,
        clock: Clock,
        *,
        name: Name,
        strategy: Strategy,
        view: GcView,
        slots: "NameView",
        guard: Guard = NO_GUARD,
    ) -> None:
        self.backend: Final = backend
        self.clock: Final = clock
        self.name: Final = name
        self.strategy: Final = strategy
        self.guard: Final = guard
        self.view: Final = view
        self.tx: Final = fresh_tx(clock)
        self.highest_slot: Final = slots.highest_slot
        self.seen: Final = slots.seen
        self._done_run = view.done
        self._lock = threading.Lock()
        self._latest_root: Root | None = None
        self._interim: list[TxId] = []
        self._last_root_at = clock.now()
        self._last_root_monotonic = clock.monotonic()

    @property
    def latest(self) -> Version | None:
        return self.seen[0] if self.seen else None

    @property
    def done_run(self) -> int:
        """*d*: no pack in use was seen, or put, before run *d* was done."""
        with self._lock:
            return self._done_run

    def adopt(self, recorded_done_run: int) -> None:
        """Take over the *d* recorded beside a pack of an earlier upload of this user.

        Such a pack may be used once it has answered, after `begin`, a HEAD or a ranged read that no cache may answer.
        Its PUT may be sent again, and a late DELETE come, from runs of that time on (fault 138).
        """
        with self._lock:
            self._done_run = min(self._done_run, recorded_done_run)

    def condemned(self, packs: Collection[PackId]) -> frozenset[PackId]:
        """Which of ``packs`` are better not picked, since the check after the root would refuse them.

        Saves work; safety does not need it. No request while no collection is under way.
        """
        done_run = self.done_run
        if self.view.is_quiet and done_run == self.view.done:
            return frozenset()
        return condemned(self.backend, after=done_run, packs=packs)

    def latest_root(self) -> Root | None:
        """The root of ``latest``, read once; None where there is no such version, or no more.

        Its packs may be relied on: it was found live after step (1). They may be gone all the same, if this upload
        slept for days meanwhile: then they are a miss, and the second look at `gc/` tells of the others.
        """
        latest = self.latest
        if latest is None:
            return None
        with self._lock:
            if self._latest_root is None:
                with contextlib.suppress(VersionDeleted):
                    self._latest_root = load_root(self.backend, latest)
            return self._latest_root

    def heartbeat(self, packs: Callable[[], Sequence[PackRow]], *, cut: str) -> bool:
        """To be called now and then while packs are put: every two days it puts a root naming the packs so far.

        A pack that no root names for a week may be condemned by the next collection; an upload that never named its
        packs might be made to send them again for ever (fault 142).

        Returns:
            Whether it put one.
        """
        with self._lock:
            now, monotonic = self.clock.now(), self.clock.monotonic()
            # Whichever moved more: one stands still while a laptop sleeps, the other can be set back.
            if max(now - self._last_root_at, monotonic - self._last_root_monotonic) < HEARTBEAT_SECONDS:
                return False
            tx = fresh_tx(self.clock)
            self._interim.append(tx)
            body = encode_interim_root(
                packs=packs(),
                target=self.name,
                done_run=self._done_run,
                cut=cut,
                nonce=self.clock.random_bytes(NONCE_BYTES),
            )
            self.backend.put(root_key(tx), body)
            self._last_root_at, self._last_root_monotonic = now, monotonic
            return True

    def close(self) -> None:
        """Fence the roots of `heartbeat`. `commit` does it in the end; an uploader that gives up calls it itself.

        Never fails: what can't be fenced now is fenced by the first collection a week later.
        """
        with self._lock:
            while self._interim:
                tx = self._interim.pop()
                with contextlib.suppress(BackendError):
                    fence(self.backend, self.clock, tx, reason="interim root of a long upload")


@dataclass(frozen=True, slots=True, kw_only=True)
class NameView:
    """A name at the start of an upload."""

    highest_slot: int = 0
    seen: tuple[Version, ...] = ()


def begin(
    backend: Backend,
    clock: Clock,
    *,
    name: Name,
    strategy: Strategy = Strategy.VERSION,
    guard: Guard = NO_GUARD,
) -> Upload:
    """Step (1), then a look at the name: `gc/` listing, slots listing, and slot and outcome of the newest version.

    Args:
        guard: Whether `commit` moves protected aliases, and `replace` deletes what they point to.

    Raises:
        InvalidName: The name's longest key would be too long.
        CorruptData, UnsupportedFormat: A record of the name can't be read.
        BackendError: The storage can't be read.
    """
    check_key_length(name)
    view = look(backend)  # first: what is seen before it does not count as seen
    slots = _look_at_name(backend, name, strategy)
    return Upload(backend, clock, name=name, strategy=strategy, view=view, slots=slots, guard=guard)


def _look_at_name(backend: Backend, name: Name, strategy: Strategy) -> NameView:
    highest = 0
    seen: list[Version] = []
    for state in list_slots(backend, name, page_size=None if strategy is Strategy.REPLACE else SHORT_PAGE):
        highest = max(highest, state.number)
        if not state.deleted and (version := read_version(backend, name, state)) is not None:
            seen.append(version)
            if strategy is not Strategy.REPLACE:
                break
    return NameView(highest_slot=highest, seen=tuple(seen))
