"""Reading the root of a version: checked against the outcome, which decides what it is."""

from collections.abc import Sequence

from artifactstore.backend.protocol import Backend
from artifactstore.digest import Buffer
from artifactstore.errors import CorruptData, ObjectNotFound, VersionDeleted
from artifactstore.keys import root_key
from artifactstore.manifest.format import decode_root, encode_root, root_digest
from artifactstore.manifest.model import NO_CONTENT, Counts, PackRow, Root
from artifactstore.names import Name
from artifactstore.transaction.versions import Version, read_tombstone


def load_root(backend: Backend, version: Version) -> Root:
    """The root of a committed version. One request.

    Raises:
        CorruptData: It is not what the outcome says, or gone although the version is not deleted.
        VersionDeleted: The version was deleted meanwhile, and collected.
        UnsupportedFormat: It needs a feature that is not known here.
    """
    try:
        body = backend.get(root_key(version.tx))
    except ObjectNotFound as error:
        raise root_gone(backend, version) from error
    return check_root(version, body)


def root_gone(backend: Backend, version: Version) -> CorruptData | VersionDeleted:
    """The error for a root that is not there: deleted and collected meanwhile, or lost."""
    if read_tombstone(backend, version.name, version.slot) is not None:
        return VersionDeleted(f"{version.text} is deleted")
    return _damaged(version, "the root of a version is gone")


def _damaged(version: Version, what: str) -> CorruptData:
    error = CorruptData(what, key=root_key(version.tx), versions=[version.text])
    # As long as it is the newest version, no push of the name gets past it.
    error.next_step = (
        f"Restore this object from a copy of the store; or give the version up with "
        f"`artifactstore rm {version.text}`, and push the data again from its source."
    )
    return error


def check_root(version: Version, body: Buffer) -> Root:
    """The root in ``body``, if the version's outcome names just these bytes."""
    if root_digest(body) != version.root_digest:
        raise _damaged(version, "a root is not the one that its outcome names")
    try:
        return decode_root(body)
    except CorruptData as error:
        # The uploader wrote it so: the digest is right.
        raise CorruptData(error.what, key=root_key(version.tx), versions=[version.text]) from error


def encode_interim_root(*, packs: Sequence[PackRow], target: Name, done_run: int, cut: str, nonce: bytes) -> bytes:
    """A root of no entries that keeps the packs of a long upload needed until it has its real one."""
    return encode_root(
        Root(
            cut=cut,
            content_digest=NO_CONTENT,
            counts=Counts(),
            target=target.text,
            done_run=done_run,
            nonce=nonce,
            packs=tuple(sorted(packs, key=lambda row: row.pack)),
            blocks=(),
        )
    )
