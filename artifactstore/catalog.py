"""What a store holds, as people ask for it: folders, names, versions, aliases, usage."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock
from artifactstore.errors import NameNotFound
from artifactstore.manifest.model import PackRow
from artifactstore.names import Name, Reference, Slot, check_alias
from artifactstore.pack.format import SMALL_PACK_BYTES
from artifactstore.results import AliasInfo, FolderItem, RemoveOptions, RemoveResult, Usage, VersionInfo, info_of_slot
from artifactstore.transaction.aliases import (
    AliasMove,
    Guard,
    alias_history,
    check_may_be_removed,
    drop_alias,
    list_aliases,
    move_alias,
    protect_alias,
)
from artifactstore.transaction.edits import VersionEdit, edit_version
from artifactstore.transaction.listing import ItemKind, list_folder, list_names, put_name_removed
from artifactstore.transaction.records import Author
from artifactstore.transaction.resolve import resolve
from artifactstore.transaction.roots import load_root
from artifactstore.transaction.versions import (
    Version,
    latest_committed,
    live_versions,
    read_whole_version,
    remove_version,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Names and versions of one store."""

    backend: Backend
    clock: Clock
    requests: Executor

    def folder(self, folder: str) -> Iterator[FolderItem]:
        """What lies directly in a folder."""
        for item in list_folder(self.backend, folder, pool=self.requests):
            yield FolderItem(name=item.text, is_folder=item.kind is ItemKind.FOLDER)

    def versions(self, name: Name) -> Iterator[VersionInfo]:
        """Live versions, the newest first.

        Raises:
            NameNotFound: The name has none.
        """
        aliases: dict[int, list[str]] | None = None
        for version in live_versions(self.backend, name, pool=self.requests, reader=read_whole_version):
            if aliases is None:
                aliases = _by_slot(list_aliases(self.backend, name))
            yield version_info(version, aliases.get(version.slot, ()))
        if aliases is None:
            raise NameNotFound(f"no name {name}")

    def version(self, reference: Reference) -> VersionInfo:
        """One version, with the aliases that point to it."""
        return self._with_aliases(resolve(self.backend, reference.name, reference.version))

    def _with_aliases(self, version: Version) -> VersionInfo:
        aliases = _by_slot(list_aliases(self.backend, version.name))
        return version_info(version, aliases.get(version.slot, ()))

    def edit(self, reference: Reference, change: VersionEdit, *, author: Author) -> VersionInfo:
        """Change what is noted on a version.

        Raises:
            As `transaction.edits.edit_version`.
        """
        version = resolve(self.backend, reference.name, reference.version)
        return self._with_aliases(edit_version(self.backend, self.clock, version, change, author=author))

    def aliases(self, name: Name) -> Iterator[AliasInfo]:
        """Where each alias of a name points."""
        for move in list_aliases(self.backend, name):
            yield _alias_info(name, move)

    def alias_history(self, name: Name, alias: str) -> Iterator[AliasInfo]:
        """All moves of an alias, the newest first.

        Raises:
            NameNotFound: It was never set.
        """
        empty = True
        for move in alias_history(self.backend, name, check_alias(alias)):
            empty = False
            yield _alias_info(name, move)
        if empty:
            raise NameNotFound(f"{name} has no alias {alias}, and never had")

    def set_alias(self, reference: Reference, alias: str, *, author: Author, guard: Guard) -> AliasInfo:
        """Make an alias point to a version."""
        version = resolve(self.backend, reference.name, reference.version)
        move = move_alias(self.backend, self.clock, alias, to=version, author=author, guard=guard)
        return _alias_info(reference.name, move)

    def protect_alias(self, name: Name, alias: str, *, protect: bool, author: Author) -> AliasInfo:
        """Protect an alias where it points, or lift its protection."""
        return _alias_info(name, protect_alias(self.backend, self.clock, name, alias, protect=protect, author=author))

    def delete_alias(self, name: Name, alias: str, *, author: Author, guard: Guard) -> AliasInfo:
        """Take an alias away. Its history stays."""
        return _alias_info(name, drop_alias(self.backend, self.clock, name, alias, author=author, guard=guard))

    def remove(self, reference: Reference, *, options: RemoveOptions, author: Author) -> RemoveResult:
        """Delete a version, or all versions of a name. Final; space returns with garbage collection.

        Raises:
            AliasProtected: A protected alias points to one of them; nothing was deleted.
        """
        if options.all_versions:
            versions = list(live_versions(self.backend, reference.name, pool=self.requests))
            if not versions:
                raise NameNotFound(f"no name {reference.name}")
        else:
            versions = [resolve(self.backend, reference.name, reference.version)]
        moves = list(list_aliases(self.backend, reference.name))
        if not options.force:
            check_may_be_removed(reference.name, {version.slot for version in versions}, moves)
        if not options.dry_run:
            for version in versions:
                remove_version(self.backend, self.clock, version, author=author)
            if options.all_versions or latest_committed(self.backend, reference.name) is None:
                put_name_removed(self.backend, self.clock, reference.name, author=author)
        by_slot = _by_slot(moves)
        return RemoveResult(
            versions=tuple(version.text for version in versions),
            aliases=tuple(alias for version in versions for alias in by_slot.get(version.slot, ())),
            dry_run=options.dry_run,
        )

    def usage(self, reference: Reference | None, *, all_versions: bool = False) -> Usage:
        """What one version, all versions of a name, or the whole store take.

        Raises:
            NameNotFound: The name has no versions.
        """
        usage = self._usage(self._counted(reference, all_versions=all_versions))
        if reference is not None and not usage.versions:
            raise NameNotFound(f"no name {reference.name}")
        return usage

    def _counted(self, reference: Reference | None, *, all_versions: bool) -> Iterator[Version]:
        if reference is None:
            for name in list_names(self.backend):
                yield from live_versions(self.backend, name, pool=self.requests)
        elif all_versions:
            yield from live_versions(self.backend, reference.name, pool=self.requests)
        else:
            yield resolve(self.backend, reference.name, reference.version)

    def _usage(self, versions: Iterable[Version]) -> Usage:
        """Add up; each pack counts once, by the version that uses most of it."""
        count = files = content_bytes = 0
        packs: dict[bytes, PackRow] = {}
        for version in versions:
            root = load_root(self.backend, version)
            count += 1
            files += root.counts.files
            content_bytes += root.counts.content_bytes
            for row in root.packs:
                if row.pack not in packs or packs[row.pack].used_bytes < row.used_bytes:
                    packs[row.pack] = row
        return Usage(
            versions=count,
            files=files,
            content_bytes=content_bytes,
            stored_bytes=sum(row.used_bytes for row in packs.values()),
            pack_bytes=sum(row.object_bytes for row in packs.values()),
            pack_count=len(packs),
            small_pack_count=sum(row.object_bytes < SMALL_PACK_BYTES for row in packs.values()),
        )


def version_info(version: Version, aliases: Iterable[str] = ()) -> VersionInfo:
    """A committed version as people see it, with its newest edit."""
    return info_of_slot(version.name, version.slot, version.record, edit=version.edit, aliases=aliases)


def _by_slot(moves: Iterable[AliasMove]) -> dict[int, list[str]]:
    by_slot: dict[int, list[str]] = defaultdict(list)
    for move in moves:
        by_slot[move.slot].append(move.alias)
    return by_slot


def _alias_info(name: Name, move: AliasMove) -> AliasInfo:
    return AliasInfo(
        alias=move.alias,
        version=f"{name}{Slot(move.slot)}" if move.slot else "",
        protected=move.protected,
        number=move.number,
        moved=move.record.created,
        who=move.record.who,
        host=move.record.host,
    )
