"""Later edits of what is noted on a version: numbered states, each written once; the newest counts.

An edit reads the newest state, applies its change, and puts the result as the next one. Who
loses the race for a number applies his change to the state that took it, so that no
acknowledged edit is lost. Before the first edit a mark is put beside the slot: readers list
slots anyway, and look for edits only where they see it (docs/protocol.md, "Edits").
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock, timestamp
from artifactstore.errors import InvalidMetadata, NameNotFound, TransientBackendError, VersionDeleted
from artifactstore.keys import NameKeys
from artifactstore.names import listed
from artifactstore.transaction.conditional import Backoff, Won, put_once
from artifactstore.transaction.expiry import Ttl, expiry_after, parse_ttl
from artifactstore.transaction.labels import put_edit_hints
from artifactstore.transaction.notes import check_labels, check_metadata, check_notes
from artifactstore.transaction.records import NOBODY, Author, EditRecord, Notes, encode_record, fresh_nonce
from artifactstore.transaction.versions import Edit, Version, parse_edit, slot_state, with_edit

_EDITING_SECONDS: Final = 120.0
_LOSSES_BEFORE_WAITING: Final = 3
_MARK: Final = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionEdit:
    """A change of what is noted on a version. What is not named stays as it is.

    Attributes:
        message: In place of the old one.
        add_labels, remove_labels: It is no error if the version has them, or lacks them, already.
        set_metadata: Keys with their new values. unset_metadata: keys that go.
        ttl: From now on, counted from the edit: text (``30d``, ``never``), seconds or a timedelta.

    Raises:
        InvalidName: A label is none.
        InvalidMetadata: A value is none, or something is both given and taken away.
        TypeError: A text where a list is meant.
    """

    message: str | None = None
    add_labels: tuple[str, ...] = ()
    remove_labels: tuple[str, ...] = ()
    set_metadata: Mapping[str, object] = field(default_factory=dict)
    unset_metadata: tuple[str, ...] = ()
    ttl: Ttl | None = None

    def __post_init__(self) -> None:
        for what in ("add_labels", "remove_labels", "unset_metadata"):
            object.__setattr__(self, what, listed(what, getattr(self, what)))
        check_labels(self.remove_labels)
        both = {*check_labels(self.add_labels)}.intersection(self.remove_labels)
        both |= check_metadata(self.set_metadata).keys() & {*self.unset_metadata}
        if both:
            raise InvalidMetadata(f"both given and taken away: {', '.join(sorted(both))}")
        if self.ttl is not None:
            parse_ttl(self.ttl)

    def applied(self, notes: Notes, *, clock: Clock) -> Notes:
        """What is noted afterwards.

        Raises:
            InvalidMetadata: It would be too long.
        """
        kept = [label for label in notes.labels if label not in self.remove_labels]
        metadata = {key: value for key, value in notes.metadata.items() if key not in self.unset_metadata}
        return check_notes(
            Notes(
                message=notes.message if self.message is None else self.message,
                labels=(*kept, *self.add_labels),
                metadata={**metadata, **self.set_metadata},
                expires=notes.expires if self.ttl is None else expiry_after(clock, parse_ttl(self.ttl)),
            )
        )


def edit_version(
    backend: Backend, clock: Clock, version: Version, change: VersionEdit, *, author: Author = NOBODY
) -> Version:
    """Change what is noted on a committed version. Nothing is written where it says so already.

    Returns:
        The version with its newest edit.

    Raises:
        VersionDeleted: It is deleted.
        InvalidMetadata: What would be noted is too long. Nothing was written.
        CommitStateUnknown: It may be edited; the same edit again finds out.
        TransientBackendError: Others edited it all the time, for two minutes.
    """
    version = with_newest_edit(backend, version)
    edited = _put_edit(backend, clock, version, change, author)
    put_edit_hints(
        backend,
        edited,
        number=_number(edited),
        # All that were asked for: whoever runs an edit again that was cut off puts the hints that are missing.
        on=change.add_labels,
        off=tuple(label for label in change.remove_labels if label in version.notes.labels),
    )
    return edited


def with_newest_edit(backend: Backend, version: Version) -> Version:
    """The version as the storage shows it now: asked again, however old ``version`` is.

    Raises:
        NameNotFound, VersionDeleted: It is not there, or no more.
    """
    state = slot_state(backend, version.name, version.slot)
    if state is None:
        raise NameNotFound(f"no version {version.text}")
    if state.deleted:
        raise VersionDeleted(f"{version.text} is deleted")
    return with_edit(backend, replace(version, edit=None, has_unread_edits=state.edited))


def _put_edit(backend: Backend, clock: Clock, version: Version, change: VersionEdit, author: Author) -> Version:
    keys = NameKeys(version.name)
    backoff = Backoff(clock, deadline_seconds=_EDITING_SECONDS)
    marked, losses = version.edit is not None, 0
    while True:
        wanted = change.applied(version.notes, clock=clock)
        if wanted == version.notes:
            return version
        number = _number(version) + 1
        record = _record(clock, version, wanted, author)
        body = encode_record(record)
        if not marked:
            # First the mark: an edit that no mark announces is one that nobody sees.
            put_once(backend, clock, keys.edited(version.slot), _MARK)
            marked = True
        key = keys.edit(version.slot, number)
        outcome = put_once(backend, clock, key, body)
        if isinstance(outcome, Won):
            return replace(version, edit=Edit(number=number, record=record))
        version = replace(version, edit=parse_edit(outcome.body, key=key, number=number, tx=version.tx))
        losses += 1
        # A loss means that another edit was made: a crowd thins out by itself.
        if losses % _LOSSES_BEFORE_WAITING == 0 and not backoff.wait():
            raise TransientBackendError(f"{version.text} is edited by others all the time")


def _number(version: Version) -> int:
    return version.edit.number if version.edit is not None else 0


def _record(clock: Clock, version: Version, notes: Notes, author: Author) -> EditRecord:
    return EditRecord(
        nonce=fresh_nonce(clock),
        tx=version.tx,
        created=timestamp(clock.now()),
        who=author.who,
        host=author.host,
        message=notes.message,
        labels=notes.labels,
        metadata=notes.metadata,
        expires=notes.expires,
    )
