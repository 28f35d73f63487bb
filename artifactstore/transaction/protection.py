"""What protected aliases keep an upload from: asked early, and once more when its content is known to be another.

    early     before anything is read or sent; an alias that points to the latest version passes
    final     before the root is put: of what is refused then, nothing is left but packs

Content that has not changed moves nothing, and whether it has is known in the end.
"""

from collections.abc import Sequence

from artifactstore.errors import AliasProtected
from artifactstore.transaction.aliases import check_aliases_may_move, check_may_be_removed, list_aliases
from artifactstore.transaction.upload import Strategy, Upload
from artifactstore.transaction.versions import Version


def check_protection_early(upload: Upload, *, aliases: Sequence[str], makes_version: bool = False) -> None:
    """Refuse what would move a protected alias, or take its version away, whatever the content is.

    Args:
        makes_version: A version is made even of content that has not changed.

    Raises:
        AliasProtected: Some are in the way.
    """
    _check(upload, aliases, stays=None if makes_version else upload.latest)


def check_protection_finally(upload: Upload, *, aliases: Sequence[str]) -> None:
    """Refuse what a new version would move, or take away. Errors as `check_protection_early`."""
    if upload.latest is None:
        return  # then the early check was as strict
    try:
        _check(upload, aliases, stays=None)
    except AliasProtected as error:
        error.data_safe = "No version was made."  # packs may have been sent; the collection removes them
        raise


def _check(upload: Upload, aliases: Sequence[str], *, stays: Version | None) -> None:
    if upload.guard.force or (upload.strategy is Strategy.NEW and upload.latest is not None):
        return  # `new` makes another name, with aliases of its own
    if aliases:
        check_aliases_may_move(upload.backend, upload.name, aliases, to=stays)
    if upload.strategy is Strategy.REPLACE:
        slots = {version.slot for version in upload.seen if version is not stays}
        if slots:
            check_may_be_removed(upload.name, slots, list_aliases(upload.backend, upload.name))
