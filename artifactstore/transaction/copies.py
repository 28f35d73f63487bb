"""Copies: a committed version committed again under another name, by reference.

The new root names the same blocks and packs as the old one; nothing of the content is read or
sent. It follows the order of every upload (docs/protocol.md, "Upload"): the old version is
found live after the first look at `gc/`, so its packs may be relied on, and the second look
comes after the new root. Whoever deletes the old version meanwhile makes the copy fail, or comes
too late: the copy keeps what it needs by its own root.
"""

from dataclasses import dataclass

import msgspec

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock
from artifactstore.digest import Digest, PackId
from artifactstore.errors import CorruptData, SourceChanged, VersionDeleted
from artifactstore.keys import root_key
from artifactstore.manifest.format import encode_root, root_digest
from artifactstore.manifest.model import Root
from artifactstore.names import Name
from artifactstore.transaction.commit import commit
from artifactstore.transaction.edits import VersionEdit, edit_version
from artifactstore.transaction.records import NOBODY, NONCE_BYTES, Author, Notes
from artifactstore.transaction.roots import load_root
from artifactstore.transaction.upload import EncodedRoot, IfUnchanged, SlotDetails, begin
from artifactstore.transaction.versions import Version, is_live


def copy_version(backend: Backend, clock: Clock, version: Version, *, to: Name, author: Author = NOBODY) -> Version:
    """Make the next version of ``to`` out of a live version, whatever is there, and read it back.

    Message, labels, metadata, time-to-live, git state and origin are kept as they are now; ``created`` and author are
    those of the copy.

    Args:
        version: With its edits read.

    Raises:
        VersionDeleted: It was deleted before its copy could rely on it. No version was made.
        SourceChanged: Its content is being collected, or may be. No version was made.
        CorruptData: Its root can't be read; or the copy is not the same, which must not be relied on.
        InvalidName: ``to`` would be too long.
        CommitStateUnknown, BackendError: As `commit`.
    """
    upload = begin(backend, clock, name=to)
    try:
        root = load_root(backend, version)
        if not is_live(backend, version):
            raise VersionDeleted(f"{version.text} was deleted while it was copied")
        source = _Source(version=version, root=root, clock=clock)
        result = commit(upload, source, details=_details(version, author), if_unchanged=IfUnchanged.COMMIT)
    finally:
        upload.close()
    made = load_root(backend, result.version)
    if (made.content_digest, made.packs) != (root.content_digest, root.packs):
        raise CorruptData(f"{result.version.text} is not what {version.text} is", key=root_key(result.version.tx))
    return result.version


def _details(version: Version, author: Author) -> SlotDetails:
    record, notes = version.record, version.notes
    return SlotDetails(
        who=author.who,
        host=author.host,
        message=notes.message,
        git=record.git,
        labels=notes.labels,
        metadata=dict(notes.metadata),
        expires=notes.expires,
        made_by=record.made_by,
        made_from=record.made_from,
        moved_from=version.pin,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """The old root, as a `RootSource`."""

    version: Version
    root: Root
    clock: Clock

    def encode_root(self, *, done_run: int, target: Name) -> EncodedRoot:
        root = msgspec.structs.replace(
            self.root,
            target=target.text,
            done_run=done_run,
            nonce=self.clock.random_bytes(NONCE_BYTES),
            base_tx=self.version.tx,
        )
        body = encode_root(root)
        return EncodedRoot(
            body=body,
            digest=root_digest(body),
            packs=frozenset(PackId(row.pack) for row in root.packs),
            content_digest=Digest(root.content_digest),
            cut=root.cut,
            counts=root.counts,
            stored_bytes=self.version.record.stored_bytes,
        )

    def replace(self, packs: frozenset[PackId]) -> None:
        error = SourceChanged(f"{len(packs)} packs of {self.version.text} are being collected, or may be")
        error.next_step = "If it was not deleted, run the same command again when the garbage collection is done."
        raise error


def align_notes(backend: Backend, clock: Clock, copy: Version, notes: Notes, *, author: Author = NOBODY) -> Version:
    """Bring what is noted on a copy in line with what is noted on the version by now: an edit.

    Raises:
        As `edit_version`.
    """
    added = tuple(label for label in notes.labels if label not in copy.notes.labels)
    dropped = tuple(label for label in copy.notes.labels if label not in notes.labels)
    change = _Replacement(add_labels=added, remove_labels=dropped, notes=notes)
    return edit_version(backend, clock, copy, change, author=author)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replacement(VersionEdit):
    """The edit to a given state."""

    notes: Notes

    def applied(self, notes: Notes, *, clock: Clock) -> Notes:
        return self.notes
