"""Finding versions: by label in one listing, by conditions in a scan of all names.

By label: one listing of `labels/<label>/`, then for each version that it names one listing of
its slot with tombstone and mark of edits, and one GET of the slot; two requests more where the
version was edited. A hint is put after the commit, so the outcome is not asked for again; and
it is a hint: whether the version is there, and has the label, is what slot and edits say.

Without a label: one listing of all that lies below the folder tells every slot's state, then
one GET for each version that is not deleted, and its outcome where it matches.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Final, TypeVar

from artifactstore.backend.protocol import Backend
from artifactstore.errors import ArtifactStoreError, CorruptData, InvalidName, NameNotFound, UnsupportedFormat
from artifactstore.keys import (
    NAMES,
    NameKeys,
    SlotObject,
    label_prefix,
    labelled_prefix,
    parse_label_key,
    parse_slot_object_key,
)
from artifactstore.names import Name, Slot, check_folder, check_label, parse_whole
from artifactstore.results import VersionInfo, info_of_slot
from artifactstore.transaction.listing import folder_exists
from artifactstore.transaction.outcomes import read_outcome
from artifactstore.transaction.records import SlotRecord
from artifactstore.transaction.versions import (
    SlotState,
    confirm,
    list_slots,
    newest_edit,
    read_ahead,
    read_slot,
    seen_beside,
    slot_state,
)
from artifactstore.transfer.progress import NULL_PROGRESS, Progress
from artifactstore.where import Condition, parse_condition

_READ_AHEAD: Final = 64
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, order=True)
class Spot:
    """A slot of a name. Sorts as keys do: by folder and name, the newest version first.

    Attributes:
        order: The part of the key that says so.
    """

    order: str
    name: Name = field(compare=False)
    slot: int = field(compare=False)

    @classmethod
    def of(cls, name: Name, slot: int) -> "Spot":
        return cls(NameKeys(name).slot(slot), name, slot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for. All of it has to hold.

    Attributes:
        labels: Each is on the version.
        where: Each condition holds.
        folder: The name lies in it, at any depth; empty for all.
        after: Only what is listed after this version; None for all.
    """

    labels: tuple[str, ...] = ()
    where: tuple[Condition, ...] = ()
    folder: str = ""
    after: Spot | None = None

    def __post_init__(self) -> None:
        for label in self.labels:
            check_label(label)
        check_folder(self.folder)

    def accepts(self, info: VersionInfo) -> bool:
        """Whether a version is looked for, as far as its records say."""
        return all(label in info.labels for label in self.labels) and all(c.matches(info) for c in self.where)


def parse_query(
    *, labels: str | Iterable[str] = (), where: str | Iterable[str] = (), folder: str = "", after: str = ""
) -> Query:
    """What is looked for, as people say it: conditions as text, ``after`` a version (``name:v3``).

    Raises:
        InvalidName: A label, the folder or ``after`` is not of the grammar.
        InvalidExpression: A condition is not.
    """
    return Query(
        labels=(labels,) if isinstance(labels, str) else tuple(labels),
        where=tuple(map(parse_condition, (where,) if isinstance(where, str) else where)),
        folder=folder,
        after=_parse_after(after) if after else None,
    )


def _parse_after(text: str) -> Spot:
    reference = parse_whole(text)
    if not isinstance(reference.version, Slot):
        raise InvalidName(f"{text!r} is no version such as name:v3")
    return Spot.of(reference.name, reference.version.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A version of which a record can't be read: nobody knows whether it is looked for.

    Attributes:
        version: ``name:v3``.
    """

    version: str
    error: ArtifactStoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Looks through one store.

    Attributes:
        on_unreadable: Told of versions that can't be read; without it, the end of a search raises the first error.
    """

    backend: Backend
    requests: Executor
    progress: Progress = NULL_PROGRESS
    on_unreadable: Callable[[Unreadable], None] | None = None

    def find(self, query: Query) -> Iterator[VersionInfo]:
        """Live versions that fit, by folder and name, the newest of a name first. Aliases are not looked up.

        Raises:
            NameNotFound: The folder is not there.
            CorruptData, UnsupportedFormat: A record can't be read; raised after all that could be.
        """
        self.progress.phase("searching", total_files=None, total_bytes=None)
        empty = True
        first: Unreadable | None = None
        for found in self._by_label(query) if query.labels else self._by_scan(query):
            empty = False
            if not isinstance(found, Unreadable):
                yield found
            elif self.on_unreadable is not None:
                self.on_unreadable(found)
            else:
                first = first or found
        if first is not None:
            raise first.error
        if empty and query.folder and not folder_exists(self.backend, query.folder):
            raise self._no_folder(query.folder)

    def _no_folder(self, folder: str) -> NameNotFound:
        if next(list_slots(self.backend, Name(folder), page_size=1), None) is None:
            return NameNotFound(f"no folder {folder}")
        return NameNotFound(
            f"{folder} is a name, and a search goes through folders",
            next_step=f"`artifactstore log {folder}` shows its versions; a search has --where 'name = {folder}'.",
        )

    def _by_label(self, query: Query) -> Iterator[VersionInfo | Unreadable]:
        hinted = [self._hinted(label, query) for label in dict.fromkeys(query.labels)]
        spots = ((spot, spot) for spot in in_all(hinted))
        return self._found(spots, partial(self._read_hinted, query))

    def _by_scan(self, query: Query) -> Iterator[VersionInfo | Unreadable]:
        live = ((name, state) for name, state in self._slots(query) if not state.deleted)
        spots = ((Spot.of(name, state.number), (name, state)) for name, state in live)
        return self._found(spots, partial(self._read_scanned, query))

    def _found(
        self, items: Iterable[tuple[Spot, _Item]], read: Callable[[_Item], VersionInfo | None]
    ) -> Iterator[VersionInfo | Unreadable]:
        for info in read_ahead(self.requests, partial(_read_or_say, read), items, most=_READ_AHEAD):
            self.progress.advance(files=1)
            if info is not None:
                yield info

    def _hinted(self, label: str, query: Query) -> Iterator[Spot]:
        """The versions that may have the label, as the newest hint about each says."""
        after = labelled_prefix(label, query.after.name, query.after.slot) if query.after else ""
        listed = self.backend.list(label_prefix(label, query.folder), start_after=_behind(after))
        hints = (hint for info in listed if (hint := parse_label_key(info.key)) is not None)
        for (name, slot), about in groupby(hints, key=lambda hint: (hint.name, hint.slot)):
            if next(about).on:
                yield Spot.of(name, slot)

    def _slots(self, query: Query) -> Iterator[tuple[Name, SlotState]]:
        """Every slot below the folder, from one listing of everything there."""
        prefix = f"{NAMES}{query.folder}/" if query.folder else NAMES
        # `.jobs` and `.folder` list first. They are passed over, for there may be many of them.
        after = _behind(NameKeys(query.after.name).slot(query.after.slot)) if query.after else f"{prefix}/"
        waiting: tuple[Name, SlotState] | None = None
        for info in self.backend.list(prefix, start_after=after):
            parsed = parse_slot_object_key(info.key)
            if parsed is None:
                continue
            name, number, kind = parsed
            if kind is SlotObject.RECORD:
                if waiting is not None:
                    yield waiting
                waiting = name, SlotState(number=number)
            elif waiting is not None and (waiting[0], waiting[1].number) == (name, number):
                waiting = name, seen_beside(waiting[1], kind)
        if waiting is not None:
            yield waiting

    def _read_hinted(self, query: Query, spot: Spot) -> VersionInfo | None:
        state = slot_state(self.backend, spot.name, spot.slot)
        if state is None or state.deleted:
            return None
        info = self._info(spot.name, state, read_slot(self.backend, spot.name, spot.slot))
        return info if query.accepts(info) else None

    def _read_scanned(self, query: Query, found: tuple[Name, SlotState]) -> VersionInfo | None:
        name, state = found
        record = read_slot(self.backend, name, state.number)
        info = self._info(name, state, record)
        if not query.accepts(info):
            return None
        # Last, as most do not match: the slot may be that of an upload in progress, or of one that was given up.
        return info if confirm(name, state, record, read_outcome(self.backend, record.tx_id)) is not None else None

    def _info(self, name: Name, state: SlotState, record: SlotRecord) -> VersionInfo:
        edit = newest_edit(self.backend, name, state.number, tx=record.tx_id) if state.edited else None
        return info_of_slot(name, state.number, record, edit=edit)


def _read_or_say(
    read: Callable[[_Item], VersionInfo | None], given: tuple[Spot, _Item]
) -> VersionInfo | Unreadable | None:
    spot, item = given
    try:
        return read(item)
    except (CorruptData, UnsupportedFormat) as error:
        return Unreadable(version=f"{spot.name}{Slot(spot.slot)}", error=error)


def in_all(streams: Iterable[Iterator[Spot]]) -> Iterator[Spot]:
    """What sorted streams have in common, sorted: each is read once, and none is held."""
    several = list(streams)
    heads = [next(stream, None) for stream in several]
    while all(head is not None for head in heads):
        furthest = max(head for head in heads if head is not None)
        behind = [index for index, head in enumerate(heads) if head is not None and head < furthest]
        if not behind:
            yield furthest
            behind = list(range(len(several)))
        for index in behind:
            heads[index] = next(several[index], None)


def _behind(key: str) -> str:
    """Where a listing goes on that has done with ``key`` and all below it (`/…`) or beside it (`.deleted`)."""
    return f"{key.removesuffix('/')}0" if key else ""  # `0` is what sorts next to `/`, and `.` before it
