"""Moving a name, or all names of a folder, to another place.

A version can't be renamed: nothing that is stored ever changes. Moving commits each live version again under the new
name, by reference, and deletes the old ones when all of that is done and read back:

    plan        refuse what can't be: a place that is taken, a name that is too long
    folders     those that were made are made at the new place
    copies      each live version, the oldest first (`transaction.copies`); those that are there already are left alone
    check       every old version has a copy of the same content, noted upon as it is now
    aliases     point to the copies, protected as they were
    records     the old folders and names say that they are removed; listings look, so this may come first
    tombstones  of the old versions, each naming its copy

Cut off anywhere, the same move goes on where it stopped: copies say which version they were.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from artifactstore.artifacts.folders import FolderContents, checked_folder, look_inside
from artifactstore.catalog import Catalog
from artifactstore.errors import Conflict, CorruptData, InvalidName, NameNotFound, VersionDeleted
from artifactstore.keys import check_key_length, root_key
from artifactstore.names import MAX_FOLDER_DEPTH, Name
from artifactstore.store import Store
from artifactstore.transaction.aliases import FORCE, AliasMove, Guard, drop_alias, list_aliases, move_alias
from artifactstore.transaction.copies import align_notes, copy_version
from artifactstore.transaction.labels import put_label_hints
from artifactstore.transaction.listing import (
    check_case,
    folder_exists,
    folder_state,
    put_folder_record,
    put_name_removed,
)
from artifactstore.transaction.records import Author, FolderState
from artifactstore.transaction.roots import load_root
from artifactstore.transaction.slots import highest_slot
from artifactstore.transaction.uses import pinned_place, put_use_hints
from artifactstore.transaction.versions import (
    Version,
    is_live,
    latest_committed,
    live_versions,
    read_tombstone,
    read_whole_version,
    remove_version,
)
from artifactstore.transfer.provenance import author

_ROUNDS: Final = 10
_NOTHING_MOVED: Final = "Nothing was moved."


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionMove:
    """One version: ``name:v3`` of old, and what it is (or would be) now."""

    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NameMove:
    """One name.

    Attributes:
        versions: The oldest first. Numbers have no gaps at the new place, so they may differ.
        aliases: Those that moved with them. Their history stays with the old name.
    """

    old: str
    new: str
    versions: tuple[VersionMove, ...]
    aliases: tuple[str, ...]

    @property
    def renumbered(self) -> tuple[VersionMove, ...]:
        """Versions whose number is another now."""
        return tuple(move for move in self.versions if move.old.rpartition(":")[2] != move.new.rpartition(":")[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveResult:
    """What was moved, or would be in a dry run.

    Attributes:
        old, new: The name or folder.
        is_folder: Which of both.
    """

    old: str
    new: str
    is_folder: bool
    names: tuple[NameMove, ...]
    dry_run: bool = False


def move(store: Store, old: str, new: str, *, dry_run: bool = False) -> MoveResult:
    """Move a name with all its live versions and aliases, or a folder with all that is in it, to another place.

    ``old`` is a name where there is one, else a folder; with a slash at its end always a folder. ``new`` with a slash
    at its end is the folder to move it into.

    Each version becomes a new one, oldest first, of the same content, without reading or sending any. Message, labels,
    metadata, time-to-live, git state, `made_by` and `made_from` are kept. Old versions are deleted when all new ones
    are there. What is pushed to the old place meanwhile is moved too, or stays there.

    Raises:
        InvalidName: A name or folder is none; a folder would be moved into itself; or nothing would move.
        NameNotFound: Nothing is at ``old``.
        Conflict: Something is at ``new``. Nothing was moved.
        VersionDeleted, SourceChanged: A version was deleted meanwhile. The others are still at the old place; some may
            be at the new one, too: the same move goes on.
        StoreReadOnly: This client may not write.
    """
    catalog = store.catalog if dry_run else store.writable_catalog()
    plan = _plan(catalog, old, new)
    if store.record.folds_case:
        for name in plan.names:
            check_case(catalog.backend, name.new)
    if not dry_run:
        _Mover(catalog, author()).run(plan)
    return plan.result(catalog, dry_run=dry_run)


# -- the plan ----------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Name:
    """One name on its way.

    Attributes:
        live: Its versions, the oldest first.
        copies: What is at the new place, by the transaction of the version it was.
    """

    old: Name
    new: Name
    live: list[Version]
    copies: dict[str, Version]
    aliases: list[AliasMove] = field(default_factory=list)

    @property
    def missing(self) -> list[Version]:
        return [version for version in self.live if version.tx not in self.copies]


@dataclass(slots=True, kw_only=True)
class _Plan:
    old: str
    new: str
    is_folder: bool
    names: list[_Name]
    made: list[str] = field(default_factory=list)
    """Folders to make at the new place."""
    removed: list[str] = field(default_factory=list)
    """Folders that go, the deepest first."""

    def result(self, catalog: Catalog, *, dry_run: bool) -> MoveResult:
        return MoveResult(
            old=self.old,
            new=self.new,
            is_folder=self.is_folder,
            names=tuple(_name_result(catalog, name) for name in self.names),
            dry_run=dry_run,
        )


def _name_result(catalog: Catalog, name: _Name) -> NameMove:
    slot = highest_slot(catalog.backend, name.new) if name.missing else 0
    moves = []
    for version in name.live:
        copy = name.copies.get(version.tx)
        slot += copy is None
        moves.append(VersionMove(old=version.text, new=copy.text if copy is not None else f"{name.new}:v{slot}"))
    known = {version.tx for version in name.live}
    earlier = [
        VersionMove(old=copy.record.moved_from.version, new=copy.text)
        for tx, copy in name.copies.items()
        if tx not in known and copy.record.moved_from is not None
    ]
    aliases = tuple(move.alias for move in name.aliases)
    return NameMove(old=name.old.text, new=name.new.text, versions=(*earlier, *moves), aliases=aliases)


def _plan(catalog: Catalog, old: str, new: str) -> _Plan:
    if old.endswith("/"):
        return _plan_folder(catalog, old, new)
    name = Name(old)
    target = Name(f"{new}{name.last}" if new.endswith("/") else new)
    if target == name:
        raise InvalidName(f"{name} is there already")
    if latest_committed(catalog.backend, name) is not None:
        planned = _plan_name(catalog, name, target)
        return _Plan(old=name.text, new=target.text, is_folder=False, names=[planned])
    if old.count("/") < MAX_FOLDER_DEPTH and folder_exists(catalog.backend, old):
        return _plan_folder(catalog, old, new)
    copies = _copies(catalog, name, target)
    if copies:  # an earlier move came to its end and could not say so
        done = _Name(old=name, new=target, live=[], copies=copies)
        return _Plan(old=name.text, new=target.text, is_folder=False, names=[done])
    raise NameNotFound(f"no name and no folder {old}")


def _plan_name(catalog: Catalog, old: Name, new: Name) -> _Name:
    check_key_length(new)
    copies = _copies(catalog, old, new)
    planned = _Name(old=old, new=new, live=_live(catalog, old), copies=copies)
    planned.aliases = _aliases(catalog, planned)
    if copies and planned.live and not any(version.tx in copies for version in planned.live):
        raise _taken(new)  # an earlier move was done whole; what is at the old place came later
    return planned


def _live(catalog: Catalog, name: Name) -> list[Version]:
    """Live versions, the oldest first."""
    return list(live_versions(catalog.backend, name, pool=catalog.requests, reader=read_whole_version))[::-1]


def _aliases(catalog: Catalog, name: _Name) -> list[AliasMove]:
    """Those that point to a live version."""
    txs = {version.tx for version in name.live}
    return [move for move in list_aliases(catalog.backend, name.old) if move.tx in txs]


def _copies(catalog: Catalog, old: Name, new: Name) -> dict[str, Version]:
    """What a move that was cut off has made of ``new``.

    Raises:
        Conflict: There are versions that were not moved from ``old``.
    """
    found: dict[str, Version] = {}
    for version in _live(catalog, new):
        if _origin(version) != old:
            raise _taken(new)
        _keep_first(found, version)
    return found


def _origin(version: Version) -> Name | None:
    """The name that a version was moved from."""
    pin = version.record.moved_from
    place = pinned_place(pin) if pin is not None else None
    return place[0] if place is not None else None


def _keep_first(copies: dict[str, Version], version: Version) -> None:
    if version.record.moved_from is not None:
        copies.setdefault(version.record.moved_from.tx, version)


def _taken(new: Name | str) -> Conflict:
    return Conflict(
        f"there is something at {new} already",
        data_safe=_NOTHING_MOVED,
        next_step="Move to another place, or remove what is there.",
    )


def _plan_folder(catalog: Catalog, old: str, new: str) -> _Plan:
    source = checked_folder(old, but="moved")
    into = new.endswith("/")
    target = checked_folder(new, but="" if into else "moved to")
    if into:
        target = checked_folder(f"{target}/{source.rpartition('/')[2]}".removeprefix("/"))
    if target == source or target.startswith(f"{source}/"):
        raise InvalidName(f"folder {source} can't be moved to {target}: that is itself, or inside it")
    if not folder_exists(catalog.backend, source):
        raise NameNotFound(f"no folder {source}")
    inside = look_inside(catalog, source)
    there = look_inside(catalog, target)
    made = [folder for folder in reversed(inside.folders) if _is_made(catalog, folder)]
    plan = _Plan(
        old=source,
        new=target,
        is_folder=True,
        names=[],
        made=[checked_folder(_rebased(folder, source, target)) for folder in made],
        removed=list(inside.folders),
    )
    _check_target(catalog, plan, inside, there)
    targets = {Name(_rebased(name.name.text, source, target)): name.name for name in inside.names if name.versions}
    # Those whose old versions are all gone were moved before; what else is there is somebody's.
    for name in there.names:
        if name.versions and name.name not in targets:
            targets[name.name] = Name(_rebased(name.name.text, target, source))
    plan.names = [_plan_name(catalog, name, place) for place, name in sorted(targets.items())]
    return plan


def _check_target(catalog: Catalog, plan: _Plan, inside: FolderContents, there: FolderContents) -> None:
    """Refuse a place where folders are that neither this move nor one that was cut off would make."""
    for folder in there.folders:
        before = _rebased(folder, plan.new, plan.old)
        known = before in inside.folders or folder_state(catalog.backend, before) is FolderState.REMOVED
        if folder != plan.new and not known and _is_made(catalog, folder):
            raise _taken(plan.new)


def _is_made(catalog: Catalog, folder: str) -> bool:
    return folder_state(catalog.backend, folder) is FolderState.MADE


def _rebased(text: str, source: str, target: str) -> str:
    return target + text.removeprefix(source)


# -- carrying it out ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Mover:
    catalog: Catalog
    who: Author

    def run(self, plan: _Plan) -> None:
        for folder in plan.made:
            self._say(folder, FolderState.MADE)
        # A name to a thread; nothing in there waits for another thread.
        for _ in self.catalog.requests.map(self._copy, plan.names):
            pass
        for name in plan.names:
            self._check(name)
            self._leave_hints(name)
        for name in plan.names:
            self._move_aliases(name)
        for name in plan.names:
            put_name_removed(self.catalog.backend, self.catalog.clock, name.old, author=self.who)
        for folder in plan.removed:
            self._say(folder, FolderState.REMOVED)
        for name in plan.names:
            for version in name.live:
                self._remove(version, name.copies[version.tx])

    def _say(self, folder: str, state: FolderState) -> None:
        put_folder_record(self.catalog.backend, self.catalog.clock, folder, state=state, author=self.who)

    def _copy(self, name: _Name) -> None:
        backend, clock = self.catalog.backend, self.catalog.clock
        for version in name.missing:
            try:
                made = copy_version(backend, clock, version, to=name.new, author=self.who)
            except VersionDeleted:
                if not self._was_moved(version, name.new):
                    raise
            else:
                name.copies[version.tx] = made

    def _was_moved(self, version: Version, new: Name) -> bool:
        """Whether somebody else, who was at the same move, has finished it."""
        tombstone = read_tombstone(self.catalog.backend, version.name, version.slot)
        place = pinned_place(tombstone.moved_to) if tombstone is not None and tombstone.moved_to is not None else None
        return place is not None and place[0] == new

    def _check(self, name: _Name) -> None:
        """Go on until every live version has just one copy, and the copy is what the version is now."""
        for _ in range(_ROUNDS):
            self._look_again(name)
            if not name.missing:
                break
            self._copy(name)  # pushed meanwhile
        else:
            raise Conflict(
                f"others push to {name.old} all the time",
                data_safe="All versions are still there; some are at the new place, too.",
                next_step="Run the same move again when nobody pushes to it.",
            )
        for version in name.live:
            self._check_copy(version, name.copies[version.tx])
        name.aliases = _aliases(self.catalog, name)

    def _look_again(self, name: _Name) -> None:
        """Versions and copies as they are now. Of two copies of one version, made at the same time, the first stays."""
        name.copies.clear()
        for version in _live(self.catalog, name.new):
            if _origin(version) == name.old:
                _keep_first(name.copies, version)
                self._drop_second(name, version)
        name.live = _live(self.catalog, name.old)

    def _drop_second(self, name: _Name, copy: Version) -> None:
        pin = copy.record.moved_from
        first = name.copies[pin.tx] if pin is not None else copy
        if first.slot != copy.slot and first.record.content == copy.record.content:
            self._remove(copy, first)
            # Who made it may have moved aliases to it. Looked at behind the tombstone: who moves one later sees that.
            for move in list_aliases(self.catalog.backend, name.new):
                if move.tx == copy.tx:
                    self._point(move, first)

    def _check_copy(self, version: Version, copy: Version) -> None:
        backend = self.catalog.backend
        if load_root(backend, copy).content_digest != load_root(backend, version).content_digest:
            raise CorruptData(f"{copy.text} is not what {version.text} is", key=root_key(copy.tx))
        if version.notes not in (copy.record.notes, copy.notes):  # edited since it was copied
            align_notes(backend, self.catalog.clock, copy, version.notes, author=self.who)

    def _leave_hints(self, name: _Name) -> None:
        catalog = self.catalog
        for copy in name.copies.values():
            put_label_hints(catalog.backend, copy, copy.record.labels, pool=catalog.requests)
            put_use_hints(catalog.backend, catalog.clock, copy, pool=catalog.requests)

    def _move_aliases(self, name: _Name) -> None:
        backend, clock = self.catalog.backend, self.catalog.clock
        for move in name.aliases:
            copy = name.copies[move.tx]
            self._point(move, copy)
            if not is_live(backend, copy) and (first := self._first_copy(name, move.tx)) is not None:
                self._point(move, first)  # somebody else, who was at the same move, has dropped ours
        for move in name.aliases:
            # Else a protected one would be in the way of whoever uses the old name again.
            with suppress(NameNotFound):  # it is gone already, by the same move
                drop_alias(backend, clock, name.old, move.alias, author=self.who, guard=FORCE)

    def _point(self, move: AliasMove, copy: Version) -> None:
        guard = Guard(protect=move.protected, force=True)
        move_alias(self.catalog.backend, self.catalog.clock, move.alias, to=copy, author=self.who, guard=guard)

    def _first_copy(self, name: _Name, tx: str) -> Version | None:
        copies: dict[str, Version] = {}
        for version in _live(self.catalog, name.new):
            _keep_first(copies, version)
        return copies.get(tx)

    def _remove(self, version: Version, copy: Version) -> None:
        remove_version(
            self.catalog.backend,
            self.catalog.clock,
            version,
            author=self.who,
            reason=f"moved to {copy.text}",
            moved_to=copy.pin,
        )
