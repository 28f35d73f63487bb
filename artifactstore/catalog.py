"""What a store holds, as people ask for it: folders, names, versions, aliases, usage."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock
from artifactstore.errors import NameNotFound
from artifactstore.manifest.model import PackRow
from artifactstore.names import Name, Reference, Slot
from artifactstore.pack.format import SMALL_PACK_BYTES
from artifactstore.results import AliasInfo, FolderItem, RemoveOptions, RemoveResult, Usage, VersionInfo
from artifactstore.transaction.aliases import AliasMove, list_aliases, move_alias
from artifactstore.transaction.listing import ItemKind, list_folder, list_names
from artifactstore.transaction.records import Author
from artifactstore.transaction.resolve import resolve
from artifactstore.transaction.roots import load_root
from artifactstore.transaction.versions import Version, live_versions, remove_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Names and versions of one store."""

    backend: Backend
    clock: Clock
    requests: Executor

    def folder(self, folder: str) -> Iterator[FolderItem]:
        """What lies directly in a folder."""
        for item in list_folder(self.backend, folder):
            yield FolderItem(name=item.text, is_folder=item.kind is ItemKind.FOLDER)

    def versions(self, name: Name) -> Iterator[VersionInfo]:
        """Live versions, the newest first.

        Raises:
            NameNotFound: The name has none.
        """
        aliases: dict[int, list[str]] | None = None
        for version in live_versions(self.backend, name, pool=self.requests):
            if aliases is None:
                aliases = _by_slot(list_aliases(self.backend, name))
            yield version_info(version, aliases.get(version.slot, ()))
        if aliases is None:
            raise NameNotFound(f"no name {name}")

    def version(self, reference: Reference) -> VersionInfo:
        """One version, with the aliases that point to it."""
        version = resolve(self.backend, reference.name, reference.version)
        aliases = _by_slot(list_aliases(self.backend, reference.name))
        return version_info(version, aliases.get(version.slot, ()))

    def aliases(self, name: Name) -> Iterator[AliasInfo]:
        """Where each alias of a name points."""
        for move in list_aliases(self.backend, name):
            yield _alias_info(name, move)

    def set_alias(self, reference: Reference, alias: str, *, author: Author) -> AliasInfo:
        """Make an alias point to a version."""
        version = resolve(self.backend, reference.name, reference.version)
        return _alias_info(
            reference.name, move_alias(self.backend, self.clock, alias, to=version, author=author)
        )

    def remove(self, reference: Reference, *, options: RemoveOptions, author: Author) -> RemoveResult:
        """Delete a version, or all versions of a name. Final; space returns with garbage collection."""
        if options.all_versions:
            versions = list(live_versions(self.backend, reference.name, pool=self.requests))
            if not versions:
                raise NameNotFound(f"no name {reference.name}")
        else:
            versions = [resolve(self.backend, reference.name, reference.version)]
        if not options.dry_run:
            for version in versions:
                remove_version(self.backend, self.clock, version, author=author)
        by_slot = _by_slot(list_aliases(self.backend, reference.name))
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
    """A committed version as people see it."""
    record = version.record
    return VersionInfo(
        name=version.name.text,
        version=version.text,
        slot=version.slot,
        tx=version.tx,
        content_digest=record.content,
        created=record.created,
        who=record.who,
        host=record.host,
        message=record.message,
        git=record.git,
        labels=record.labels,
        aliases=tuple(aliases),
        metadata=record.metadata,
        expires=record.expires,
        made_by=record.made_by,
        made_from=record.made_from,
        files=record.files,
        directories=record.directories,
        links=record.links,
        references=record.references,
        content_bytes=record.content_bytes,
        stored_bytes=record.stored_bytes,
        new_bytes=record.new_bytes,
    )


def _by_slot(moves: Iterable[AliasMove]) -> dict[int, list[str]]:
    by_slot: dict[int, list[str]] = defaultdict(list)
    for move in moves:
        by_slot[move.slot].append(move.alias)
    return by_slot


def _alias_info(name: Name, move: AliasMove) -> AliasInfo:
    return AliasInfo(
        alias=move.alias,
        version=f"{name}{Slot(move.slot)}",
        moved=move.record.created,
        who=move.record.who,
        host=move.record.host,
    )
