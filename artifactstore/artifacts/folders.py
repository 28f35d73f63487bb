"""Folders of a store: looking at them, making and removing them. `moves` moves them.

A folder is there as soon as a name lies in it; one that is to stay while it is empty is made. Removing one removes the
versions in it, each for ever.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from artifactstore.catalog import Catalog
from artifactstore.errors import FolderNotEmpty, InvalidName, NameNotFound
from artifactstore.names import Name, check_folder
from artifactstore.results import FolderItem
from artifactstore.store import Store
from artifactstore.transaction import listing
from artifactstore.transaction.aliases import AliasMove, check_may_be_removed, list_aliases
from artifactstore.transaction.listing import ItemKind, holds_anything, put_folder_record, put_name_removed
from artifactstore.transaction.records import FolderState
from artifactstore.transaction.versions import Version, live_versions, remove_version
from artifactstore.transfer.provenance import author


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRemoval:
    """What was removed with a folder (or would be, in a dry run).

    Attributes:
        folders: It and those below it, the deepest first.
        versions: ``name:v3``, by name, the newest first.
        aliases: ``name:alias``, that pointed to one of them and now point nowhere.
    """

    folder: str
    folders: tuple[str, ...]
    versions: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    dry_run: bool = False


def folder_exists(store: Store, folder: str) -> bool:
    """Whether a folder was made, or has anything in it. The top (empty text) is always there.

    Raises:
        InvalidName: Not a folder.
    """
    return listing.folder_exists(store.catalog.backend, checked_folder(folder))


def list_folders(store: Store, folder: str = "", *, recursive: bool = False) -> Iterator[str]:
    """Folders in a folder, by their whole names, in order; with ``recursive`` those below them, too.

    Raises:
        InvalidName: Not a folder.
        NameNotFound: No such folder.
    """
    top = checked_folder(folder)
    catalog = store.catalog
    if not listing.folder_exists(catalog.backend, top):
        raise _no_folder(top)
    return _folders(catalog, top, recursive=recursive)


def _folders(catalog: Catalog, top: str, *, recursive: bool) -> Iterator[str]:
    for item in catalog.folder(top):
        if item.is_folder:
            yield item.name
            if recursive:
                yield from _folders(catalog, item.name, recursive=True)


def make_folder(store: Store, folder: str, *, parents: bool = True) -> bool:
    """Make a folder that stays while it is empty. It is fine if it is there.

    Args:
        parents: Make the folders above it, too.

    Returns:
        Whether it was not there before.

    Raises:
        InvalidName: Not a folder, or the top.
        NameNotFound: Without ``parents``: the folder above it is not there.
        StoreReadOnly: This client may not write.
    """
    wanted = checked_folder(folder, but="made: it is always there")
    catalog = store.writable_catalog()
    above = wanted.rpartition("/")[0]
    if not parents and not listing.folder_exists(catalog.backend, above):
        raise _no_folder(above)
    is_new = not listing.folder_exists(catalog.backend, wanted)
    segments = wanted.split("/")
    # The folder itself is said to be made only when those above it are: none is ever without its parents.
    for depth in range(1 if parents else len(segments), len(segments) + 1):
        made = "/".join(segments[:depth])
        put_folder_record(catalog.backend, catalog.clock, made, state=FolderState.MADE, author=author())
    return is_new


def delete_folder(
    store: Store, folder: str, *, recursive: bool = False, force: bool = False, dry_run: bool = False
) -> FolderRemoval:
    """Remove an empty folder; with ``recursive`` also the folders and names in it, with all their versions, for ever.

    What is pushed into it meanwhile, or later, is not lost: the folder is there again.

    Args:
        force: Also versions that protected aliases point to.
        dry_run: Say what would be removed, and remove nothing.

    Raises:
        InvalidName: Not a folder, or the top.
        NameNotFound: No such folder.
        FolderNotEmpty: Without ``recursive``: something is in it.
        AliasProtected: Without ``force``: a protected alias points to a version in it. Nothing was removed.
        StoreReadOnly: This client may not write.
    """
    wanted = checked_folder(folder, but="removed")
    catalog = store.catalog if dry_run else store.writable_catalog()
    if not listing.folder_exists(catalog.backend, wanted):
        raise _no_folder(wanted)
    if not recursive and holds_anything(catalog.backend, wanted):
        raise FolderNotEmpty(f"folder {wanted} is not empty", where=wanted)
    contents = look_inside(catalog, wanted)
    if not force:
        for name in contents.names:
            check_may_be_removed(name.name, {version.slot for version in name.versions}, name.aliases)
    if not dry_run:
        _remove(catalog, contents)
    return FolderRemoval(
        folder=wanted,
        folders=contents.folders,
        versions=tuple(version.text for name in contents.names for version in name.versions),
        aliases=tuple(f"{name.name}:{move.alias}" for name in contents.names for move in name.aliases_of_live),
        dry_run=dry_run,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NameContents:
    """A name in a folder: its live versions, the newest first, and where its aliases point."""

    name: Name
    versions: tuple[Version, ...]
    aliases: tuple[AliasMove, ...]

    @property
    def aliases_of_live(self) -> tuple[AliasMove, ...]:
        slots = {version.slot for version in self.versions}
        return tuple(move for move in self.aliases if move.slot in slots)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderContents:
    """All that is below a folder.

    Attributes:
        folders: It and those below it, the deepest first.
        names: At any depth; also those whose versions are all deleted.
    """

    folders: tuple[str, ...]
    names: tuple[NameContents, ...]


def look_inside(catalog: Catalog, folder: str) -> FolderContents:
    """All that is below a folder: a listing for each folder, and of each name its live versions and aliases."""
    folders, names = [folder], []
    for below in folders:  # grows meanwhile
        for item in _shown(catalog, below):
            if item.is_folder:
                folders.append(item.name)
            else:
                names.append(_look_at_name(catalog, Name(item.name)))
    return FolderContents(folders=tuple(reversed(folders)), names=tuple(names))


def _shown(catalog: Catalog, folder: str) -> Iterator[FolderItem]:
    for item in listing.list_folder(catalog.backend, folder, pool=catalog.requests):
        yield FolderItem(name=item.text, is_folder=item.kind is ItemKind.FOLDER)


def _look_at_name(catalog: Catalog, name: Name) -> NameContents:
    versions = tuple(live_versions(catalog.backend, name, pool=catalog.requests))
    aliases = tuple(list_aliases(catalog.backend, name)) if versions else ()
    return NameContents(name=name, versions=versions, aliases=aliases)


def _remove(catalog: Catalog, contents: FolderContents) -> None:
    backend, clock, who = catalog.backend, catalog.clock, author()
    top = contents.folders[-1]
    for name in contents.names:
        for version in name.versions:
            remove_version(backend, clock, version, author=who, reason=f"folder {top} was removed")
        put_name_removed(backend, clock, name.name, author=who)
    for folder in contents.folders:
        put_folder_record(backend, clock, folder, state=FolderState.REMOVED, author=who)


def checked_folder(folder: str, *, but: str = "") -> str:
    """A folder as people write it, with or without a slash at its end.

    Args:
        but: What the top can't be; empty where it may be meant.

    Raises:
        InvalidName: It is none; or it is the top, which it must not be.
    """
    checked = check_folder(folder.removesuffix("/"))
    if but and not checked:
        raise InvalidName(f"the top of the store can't be {but}")
    return checked


def _no_folder(folder: str) -> NameNotFound:
    return NameNotFound(f"no folder {folder}")
