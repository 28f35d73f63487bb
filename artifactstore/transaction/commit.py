"""Steps (4) to (9) of an upload: root, second look at `gc/`, slot, outcome, and what follows.

Packs, then the root that names them, then slot and outcome (docs/protocol.md, "Upload").
A crash in between leaves unreferenced objects, which collection removes; any other order
could leave a version of nothing. Nothing here ever deletes an object.
"""

import string
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from artifactstore.clock import timestamp
from artifactstore.digest import Digest
from artifactstore.errors import (
    AliasProtected,
    BackendError,
    CommitStateUnknown,
    CorruptData,
    SourceError,
    TransientBackendError,
    VersionExists,
)
from artifactstore.keys import NameKeys, TxId, check_key_length, outcome_key, root_key
from artifactstore.names import Name
from artifactstore.transaction.aliases import AliasMove, check_may_be_removed, list_aliases, move_alias
from artifactstore.transaction.conditional import Backoff
from artifactstore.transaction.outcomes import decide, fence, fresh_tx, read_outcome
from artifactstore.transaction.protection import check_protection_finally
from artifactstore.transaction.records import OutcomeRecord, OutcomeState, SlotRecord, fresh_nonce
from artifactstore.transaction.runs import condemned
from artifactstore.transaction.slots import live_rival, take_slot
from artifactstore.transaction.upload import (
    Action,
    CommitResult,
    EncodedRoot,
    IfUnchanged,
    RootSource,
    SlotDetails,
    Strategy,
    Upload,
)
from artifactstore.transaction.versions import SlotState, Version, confirm, is_live, remove_version

MAX_ATTEMPTS: Final = 50
_READ_BACK_SECONDS: Final = 60.0
_LETTERS: Final = 6
_NO_DETAILS: Final = SlotDetails()


def settle_early(upload: Upload, *, aliases: Sequence[str] = ()) -> CommitResult | None:
    """What `error` and `skip` can say before anything is read or sent; None: go on.

    With aliases to move, `skip` goes on to look at the content: only where the version that
    stands has just this content do they move to it (a re-run of a push that was cut off before).

    Raises:
        VersionExists: Strategy `error`, and the name has a live version.
    """
    latest = upload.latest
    if latest is None or upload.strategy not in (Strategy.ERROR, Strategy.SKIP):
        return None
    if upload.strategy is Strategy.SKIP and aliases:
        return None
    if not is_live(upload.backend, latest):
        return None  # deleted since: the slots will tell
    if upload.strategy is Strategy.ERROR:
        raise _exists(latest)
    return CommitResult(action=Action.SKIPPED, version=latest)


def settle_unchanged(
    upload: Upload,
    *,
    content_digest: Digest,
    cut: str,
    aliases: Sequence[str] = (),
    details: SlotDetails = _NO_DETAILS,
) -> CommitResult | None:
    """Report the latest version instead of making one with the same content; None: there is something to commit.

    For `version` and `replace`, and `skip` with aliases. Aliases move, and `replace` deletes
    the other versions it saw. The version's slot and tombstone are looked at once more first.

    Raises:
        As `commit`.
    """
    latest = upload.latest
    if latest is None or upload.strategy in (Strategy.ERROR, Strategy.NEW):
        return None
    if upload.strategy is Strategy.SKIP and not aliases:
        return _skip(upload, latest, aliases=(), details=details)
    root = upload.latest_root()
    same = root is not None and (root.content_digest, root.cut) == (content_digest, cut)
    if upload.strategy is Strategy.SKIP:
        return _skip(upload, latest, aliases=aliases if same else (), details=details)
    return settle_known(upload, tx=latest.tx, aliases=aliases, details=details) if same else None


def settle_known(
    upload: Upload, *, tx: TxId, aliases: Sequence[str] = (), details: SlotDetails = _NO_DETAILS
) -> CommitResult | None:
    """As `settle_unchanged`, for an uploader that knows its content to be that of transaction ``tx``.

    None where ``tx`` is not the latest version's, or the version was deleted since `begin`.
    """
    latest = upload.latest
    if latest is None or latest.tx != tx or upload.strategy in (Strategy.ERROR, Strategy.NEW):
        return None
    if upload.strategy is Strategy.SKIP:
        return _skip(upload, latest, aliases=aliases, details=details)
    if not is_live(upload.backend, latest):
        return None
    return _finish(upload, Action.UNCHANGED, latest, aliases=aliases, details=details)


def _skip(upload: Upload, version: Version, *, aliases: Sequence[str], details: SlotDetails) -> CommitResult | None:
    if not is_live(upload.backend, version):
        return None
    return _finish(upload, Action.SKIPPED, version, aliases=aliases, details=details)


def commit(
    upload: Upload,
    source: RootSource,
    *,
    details: SlotDetails = _NO_DETAILS,
    aliases: Sequence[str] = (),
    if_unchanged: IfUnchanged = IfUnchanged.REPORT,
) -> CommitResult:
    """Make the version, by the upload's strategy: steps (4) to (9).

    All packs that ``source`` names have been put. Packs that turn out to be condemned are put
    again through ``source``; a transaction that somebody fenced is followed by another one.

    Returns:
        What happened; the version is read back before this returns.

    Raises:
        VersionExists: Strategy `error`, and a live version stands. No version was made.
        SourceChanged: A condemned pack can't be put again. No version was made.
        CommitStateUnknown: The outcome was sent and can't be read back. Nothing was removed.
        CorruptData, UnsupportedFormat: A record that decides can't be read. No version was made.
        InvalidName: Strategy `new`, and the alternative name would be too long.
        AliasProtected: A protected alias would move, or lose its version. No version was made; if it was protected
            only meanwhile, the version is there, as the error says.
        BackendError: The storage failed before the outcome was sent. No version was made.
    """
    early = settle_early(upload, aliases=aliases)
    result = early or _Commit(upload, source, details=details, aliases=aliases).run(if_unchanged)
    upload.close()
    return result


@dataclass(frozen=True, slots=True)
class _Again:
    """On with a new transaction; ``abandoned`` is to be fenced once its root is there."""

    abandoned: TxId | None


@dataclass(frozen=True, slots=True)
class _Rival:
    """A live version stands in a lower slot; our own transaction is fenced."""

    version: Version


class _Commit:
    """The state of one commit across its attempts."""

    def __init__(self, upload: Upload, source: RootSource, *, details: SlotDetails, aliases: Sequence[str]) -> None:
        self._upload = upload
        self._backend = upload.backend
        self._clock = upload.clock
        self._source = source
        self._details = details
        self._aliases = aliases
        # `new` gives way to a version that was there at the start, or turns up in a lower slot.
        self._name = upload.name
        self._first_slot = upload.highest_slot + 1
        if upload.strategy is Strategy.NEW and upload.latest is not None:
            self._use_alternative_name()

    def run(self, if_unchanged: IfUnchanged) -> CommitResult:
        tx = self._upload.tx
        abandoned: TxId | None = None
        for attempt in range(1, MAX_ATTEMPTS + 1):
            encoded = self._encode()
            may_settle = attempt == 1 and if_unchanged is IfUnchanged.REPORT
            if may_settle and (settled := self._settled(encoded)) is not None:
                return settled
            if attempt == 1:
                check_protection_finally(self._upload, aliases=self._aliases)
            match self._attempt(tx, encoded, abandoned):
                case Version() as version:
                    return _finish(
                        self._upload,
                        Action.COMMITTED,
                        version,
                        aliases=self._aliases,
                        details=self._details,
                        attempts=attempt,
                    )
                case _Rival(version):
                    if (result := self._give_way(version, attempt)) is not None:
                        return result
                    abandoned = None
                case _Again(abandoned):
                    pass
            tx = fresh_tx(self._clock)
        raise TransientBackendError(f"{self._name}: {MAX_ATTEMPTS} transactions in a row were fenced or in the way")

    def _encode(self) -> EncodedRoot:
        return self._source.encode_root(done_run=self._upload.done_run, target=self._name)

    def _settled(self, encoded: EncodedRoot) -> CommitResult | None:
        return settle_unchanged(
            self._upload,
            content_digest=encoded.content_digest,
            cut=encoded.cut,
            aliases=self._aliases,
            details=self._details,
        )

    def _attempt(self, tx: TxId, encoded: EncodedRoot, abandoned: TxId | None) -> Version | _Again | _Rival:
        self._backend.put(root_key(tx), encoded.body)  # (4) what it needs is known from here on
        if abandoned is not None:
            # Only now: until this root was there, the abandoned one kept the packs of both.
            fence(self._backend, self._clock, abandoned, reason="its upload went on under another transaction")
        hit = condemned(self._backend, after=self._upload.done_run, packs=encoded.packs)  # (5)
        if hit:
            try:
                self._source.replace(hit)
            except (SourceError, CorruptData):  # the source may be a stored version
                fence(self._backend, self._clock, tx, reason="its source changed")
                raise
            return _Again(tx)
        record = self._slot_record(tx, encoded)
        slot = take_slot(self._backend, self._clock, self._name, record, first=self._first_slot)  # (6)
        self._first_slot = slot + 1
        if self._must_be_only and (rival := live_rival(self._backend, self._clock, self._name, below=slot)):
            fence(self._backend, self._clock, tx, reason=f"{rival.text} was there first")
            return _Rival(rival)
        return self._decide(tx, slot, record, encoded.digest)  # (7)

    @property
    def _must_be_only(self) -> bool:
        return self._upload.strategy in (Strategy.ERROR, Strategy.SKIP, Strategy.NEW)

    def _slot_record(self, tx: TxId, encoded: EncodedRoot) -> SlotRecord:
        details, counts = self._details, encoded.counts
        return SlotRecord(
            nonce=fresh_nonce(self._clock),
            tx=tx,
            content=encoded.content_digest.hex(),
            created=timestamp(self._clock.now()),
            who=details.who,
            host=details.host,
            message=details.message,
            git=details.git,
            labels=details.labels,
            metadata=details.metadata,
            expires=details.expires,
            made_by=details.made_by,
            made_from=details.made_from,
            moved_from=details.moved_from,
            files=counts.files,
            directories=counts.directories,
            links=counts.links,
            references=counts.references,
            content_bytes=counts.content_bytes,
            stored_bytes=encoded.stored_bytes,
            new_bytes=encoded.new_bytes,
        )

    def _decide(self, tx: TxId, slot: int, record: SlotRecord, root: Digest) -> Version | _Again:
        wanted = OutcomeRecord(
            nonce=fresh_nonce(self._clock),
            state=OutcomeState.COMMITTED,
            slot=NameKeys(self._name).slot(slot),
            root=root.hex(),
            created=timestamp(self._clock.now()),
        )
        try:
            decided = decide(self._backend, self._clock, tx, wanted)
        except CommitStateUnknown as error:
            raise self._unknown(tx) from error
        if decided != wanted:
            if decided.committed:
                raise BackendError("another outcome than ours commits our transaction", where=outcome_key(tx))
            return _Again(None)  # fenced by somebody: it is decided, nothing is left to fence
        self._read_back(tx, wanted)
        version = confirm(self._name, SlotState(number=slot), record, wanted)
        if version is None:
            raise AssertionError("an outcome that was made for this slot names it")
        return version

    def _read_back(self, tx: TxId, wanted: OutcomeRecord) -> None:
        """Step (9): a storage that says yes and does not keep the outcome, or lets two writers win, is found out."""
        backoff = Backoff(self._clock, deadline_seconds=_READ_BACK_SECONDS)
        while True:
            try:
                found = read_outcome(self._backend, tx)
                break
            except TransientBackendError as error:
                if not backoff.wait(error.retry_after_seconds or 0.0):
                    raise self._unknown(tx) from error
            except BackendError as error:
                raise self._unknown(tx) from error
        if found != wanted:
            raise BackendError(
                "the storage took the outcome of this push and " + ("lost it" if found is None else "overwrote it"),
                where=outcome_key(tx),
                data_safe="Do not rely on this version. Nothing was removed.",
            )

    def _unknown(self, tx: TxId) -> CommitStateUnknown:
        return CommitStateUnknown(f"the push to {self._name} was sent and can't be read back", where=outcome_key(tx))

    def _give_way(self, rival: Version, attempt: int) -> CommitResult | None:
        """What a strategy does that found a live version in a lower slot; None: on with a new transaction."""
        if not is_live(self._backend, rival):
            return None  # deleted meanwhile
        match self._upload.strategy:
            case Strategy.ERROR:
                raise _exists(rival)
            case Strategy.NEW:
                self._use_alternative_name()
                return None
        # Aliases stay: whether the rival has this content is not known.
        return CommitResult(action=Action.SKIPPED, version=rival, attempts=attempt)

    def _use_alternative_name(self) -> None:
        self._name = alternative_name(self._upload)
        self._first_slot = 1


def alternative_name(upload: Upload) -> Name:
    """``<name>_<yymmdd>_<HHMMSS>_<6 letters>``, by this machine's clock in UTC; the letters are random.

    Raises:
        InvalidName: It would be too long.
    """
    moment = time.strftime("%y%m%d_%H%M%S", time.gmtime(upload.clock.now()))
    letters = string.ascii_lowercase
    # A byte modulo 26 favours some letters a little, which does no harm here.
    tail = "".join(letters[byte % len(letters)] for byte in upload.clock.random_bytes(_LETTERS))
    name = Name(f"{upload.name}_{moment}_{tail}")
    check_key_length(name)
    return name


def _exists(version: Version) -> VersionExists:
    return VersionExists(f"{version.name} has a version already: {version.text}")


def _finish(
    upload: Upload,
    action: Action,
    version: Version,
    *,
    aliases: Sequence[str],
    details: SlotDetails,
    attempts: int = 0,
) -> CommitResult:
    """Step (8), after the outcome was read back: aliases, then the versions that `replace` replaces."""
    try:
        moves = tuple(_move(upload, version, alias, details) for alias in dict.fromkeys(aliases))
        replaced = _replace_seen(upload, version, details) if upload.strategy is Strategy.REPLACE else ()
    except (AliasProtected, BackendError, CommitStateUnknown) as error:
        error.data_safe = f"{version.text} is committed and safe; nothing was removed."
        raise
    return CommitResult(action=action, version=version, moves=moves, replaced=replaced, attempts=attempts)


def _move(upload: Upload, version: Version, alias: str, details: SlotDetails) -> AliasMove:
    return move_alias(upload.backend, upload.clock, alias, to=version, author=details.author, guard=upload.guard)


def _replace_seen(upload: Upload, version: Version, details: SlotDetails) -> tuple[int, ...]:
    """Delete the versions that were live at the start. One made since by somebody else stays."""
    replaced = {old.slot for old in upload.seen if old.slot != version.slot}
    if replaced and not upload.guard.force:
        # Once more, after the aliases moved: one may have been protected while the content went up.
        check_may_be_removed(version.name, replaced, list_aliases(upload.backend, version.name))
    return tuple(
        old.slot
        for old in upload.seen
        if old.slot != version.slot
        and remove_version(
            upload.backend,
            upload.clock,
            old,
            author=details.author,
            reason=f"replaced by {version.text}",
        )
    )
