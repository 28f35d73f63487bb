"""Names and folders, one level at a time.

A folder is there when names or folders lie below it, or when the newest record about it, in the
folder above, says that it was made. A name is listed once it has a slot, whatever became of it;
`versions.latest_committed` says whether anything is in it.

Slots and tombstones stay for ever, and so do the keys of what was removed. A record that a folder
or name was removed is a hint: it has listings look whether anything is in there again.
"""

import enum
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final

from artifactstore.backend.protocol import Backend, CommonPrefix
from artifactstore.clock import Clock, timestamp
from artifactstore.errors import Conflict, InvalidName
from artifactstore.keys import (
    NAMES,
    NameKeys,
    SlotObject,
    item_record_key,
    item_records_prefix,
    items_prefix,
    parse_item_record,
    parse_slot_key,
)
from artifactstore.names import Name, check_folder
from artifactstore.transaction.conditional import Won, put_once
from artifactstore.transaction.records import NOBODY, Author, FolderRecord, FolderState, encode_record, fresh_nonce
from artifactstore.transaction.versions import SlotState, latest_committed, read_version

_SHORT_PAGE: Final = 10


class ItemKind(enum.Enum):
    FOLDER = "folder"
    NAME = "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderItem:
    """A folder or a name; ``text`` is its whole path in the store (`folder/sub`)."""

    kind: ItemKind
    text: str


def list_folder(backend: Backend, folder: str = "", *, pool: Executor | None = None) -> Iterator[FolderItem]:
    """What lies directly in a folder (empty text: the top), in byte order of keys.

    One listing; one more where something was ever made in this folder or removed from it by itself, and one or more for
    each thing that was removed and has left keys behind. Foreign objects are left out.

    Raises:
        InvalidName: ``folder`` is not of the grammar.
    """
    level = _level(backend, _prefix(check_folder(folder)))
    records = items_prefix(folder)
    # Nothing of ours lists before the records: `.` comes before letters, digits, `_` and `@`.
    first = next((below for below in level if below >= records), None)
    if first == records:
        yield from _merged(backend, folder, level, pool=pool)
    elif first is not None:
        for below in chain([first], level):
            yield from _items(folder, below)


def _merged(backend: Backend, folder: str, level: Iterator[str], *, pool: Executor | None) -> Iterator[FolderItem]:
    """What has keys and is not gone, and the folders that were made, in one order."""
    states = {f"{_prefix(folder)}{item}/": state for item, state in _newest_states(backend, folder).items()}
    made = deque(sorted(below for below, state in states.items() if state is FolderState.MADE))
    gone: frozenset[str] = frozenset()
    if len(made) < len(states):
        here = list(level)
        level = iter(here)
        removed = [below for below in here if states.get(below) is FolderState.REMOVED]
        gone = _gone(backend, folder, removed, pool=pool)
    for below in level:
        while made and made[0] <= below:
            if (first := made.popleft()) != below:
                yield from _items(folder, first)
        if below not in gone:
            yield from _items(folder, below)
    for below in made:
        yield from _items(folder, below)


def list_whole_folder(backend: Backend, folder: str = "") -> Iterator[FolderItem]:
    """As `list_folder`: with what was removed and has left keys behind, without empty folders. One listing."""
    for below in _level(backend, _prefix(check_folder(folder))):
        yield from _items(folder, below)


def _prefix(folder: str) -> str:
    return f"{NAMES}{folder}/" if folder else NAMES


def _level(backend: Backend, prefix: str) -> Iterator[str]:
    return (item.prefix for item in backend.list_level(prefix) if isinstance(item, CommonPrefix))


def _items(folder: str, below: str) -> Iterator[FolderItem]:
    item = _parse_item(folder, below.removeprefix(_prefix(folder)).removesuffix("/"))
    if item is not None:
        yield item


def _newest_states(backend: Backend, folder: str) -> dict[str, FolderState]:
    """What the newest record about each item of a folder says; names as `@name`."""
    prefix = items_prefix(folder)
    states: dict[str, FolderState] = {}
    for info in backend.list(prefix):
        parsed = parse_item_record(info.key.removeprefix(prefix))
        if parsed is not None:
            item, _, made = parsed
            # The newest lists first; of two with one number, which crossed each other, that it was made.
            states.setdefault(item, FolderState.MADE if made else FolderState.REMOVED)
    return states


def _gone(backend: Backend, folder: str, prefixes: list[str], *, pool: Executor | None) -> frozenset[str]:
    """Those of the prefixes, of things removed, that have nothing in them now."""
    check = partial(_is_gone, backend, folder)
    answers = map(check, prefixes) if pool is None else pool.map(check, prefixes)
    return frozenset(prefix for prefix, is_gone in zip(prefixes, answers, strict=True) if is_gone)


def _is_gone(backend: Backend, folder: str, below: str) -> bool:
    for item in _items(folder, below):
        if item.kind is ItemKind.NAME:
            return latest_committed(backend, Name(item.text)) is None
        return not holds_anything(backend, item.text)
    return True


def holds_anything(backend: Backend, folder: str) -> bool:
    """Whether a live version, or a folder that was made, lies anywhere below a folder: one listing of its keys as far
    as the first such thing, and two requests for each slot on the way that has neither tombstone nor commit.
    """
    prefix = _prefix(check_folder(folder))
    waiting: tuple[Name, int] | None = None
    told: set[str] = set()
    for info in backend.list(prefix):
        parsed = _parse_name_key(info.key)
        if parsed is not None:
            name, number, kind = parsed
            if kind is not SlotObject.RECORD:
                waiting = None if kind is SlotObject.TOMBSTONE and waiting == (name, number) else waiting
                continue
        if waiting is not None and _is_committed(backend, waiting):
            return True
        waiting = (name, number) if parsed is not None else None
        if parsed is None and _says_made(info.key, told):
            return True
    return waiting is not None and _is_committed(backend, waiting)


def _is_committed(backend: Backend, slot: tuple[Name, int]) -> bool:
    name, number = slot
    return read_version(backend, name, SlotState(number=number)) is not None


def _says_made(key: str, told: set[str]) -> bool:
    """Whether a key is the newest record about an item, and says that it was made. ``told`` are those met before."""
    head, marker, text = key.partition("/.folder/")
    parsed = parse_item_record(text) if marker else None
    if parsed is None or f"{head}/{parsed[0]}" in told:
        return False
    told.add(f"{head}/{parsed[0]}")
    return parsed[2]


def _parse_name_key(key: str) -> tuple[Name, int, SlotObject] | None:
    """What a key says of a slot; None for all other keys."""
    folder, _, text = key.removeprefix(NAMES).partition("@")
    last, _, _ = text.partition("/")
    try:
        name = Name(folder + last)
    except InvalidName:
        return None
    slots = NameKeys(name).slots
    parsed = parse_slot_key(key, slots) if key.startswith(slots) else None
    return (name, *parsed) if parsed is not None else None


def _parse_item(folder: str, segment: str) -> FolderItem | None:
    kind = ItemKind.NAME if segment.startswith("@") else ItemKind.FOLDER
    segment = segment.removeprefix("@")
    text = f"{folder}/{segment}" if folder else segment
    try:
        if "/" in segment:
            return None
        Name(text) if kind is ItemKind.NAME else check_folder(text)
    except InvalidName:
        return None  # not ours: `.jobs`, `.folder`, strangers
    return FolderItem(kind=kind, text=text)


def list_names(backend: Backend, folder: str = "") -> Iterator[Name]:
    """All names below a folder, at any depth, those whose versions are all deleted too; one listing for each folder."""
    folders = [folder]
    while folders:
        for item in list_whole_folder(backend, folders.pop()):
            if item.kind is ItemKind.NAME:
                yield Name(item.text)
            else:
                folders.append(item.text)


def check_case(backend: Backend, name: Name) -> None:
    """Refuse a name of which a part differs only in case from one that is there: on storage that folds case
    (`StoreRecord.folds_case`) they would be one. One listing for each level.

    Raises:
        Conflict: There is one.
    """
    folder = ""
    parts = name.text.split("/")
    for depth, part in enumerate(parts, start=1):
        # On such storage a listing may show the one spelling or the other; a folder and a name are apart by the `@`.
        kind = ItemKind.NAME if depth == len(parts) else ItemKind.FOLDER
        for item in list_whole_folder(backend, folder):
            other = item.text.rpartition("/")[2]
            if item.kind is kind and other != part and other.casefold() == part.casefold():
                raise Conflict(
                    f"{name} differs from {item.text} only in case, and this store's file system takes them for one",
                    data_safe="Nothing was written.",
                    next_step=f"Use {item.text}, or a name that differs in more than case.",
                )
        folder = f"{folder}/{part}" if folder else part


def folder_exists(backend: Backend, folder: str) -> bool:
    """Whether a folder was made, or has anything in it. One or two requests; more where it was removed.

    Raises:
        InvalidName: ``folder`` is not of the grammar.
    """
    if not check_folder(folder):
        return True
    _, newest = _newest_record(backend, *_above(folder))
    if newest is None:
        return any(True for _ in backend.list(_prefix(folder), page_size=1))
    return newest is FolderState.MADE or holds_anything(backend, folder)


def folder_state(backend: Backend, folder: str) -> FolderState | None:
    """What the newest record about a folder says; None where there is none. One request."""
    return _newest_record(backend, *_above(check_folder(folder)))[1]


def put_folder_record(
    backend: Backend, clock: Clock, folder: str, *, state: FolderState, author: Author = NOBODY
) -> bool:
    """Say that a folder was made, or removed. Nothing is written where the newest record says so.

    Returns:
        Whether it was this call that said it.

    Raises:
        InvalidName: Not a folder, or the top.
        CommitStateUnknown: It may be said.
    """
    if not check_folder(folder):
        raise InvalidName("the top is always there")
    parent, item = _above(folder)
    return _put_record(backend, clock, parent, item, state=state, author=author)


def put_name_removed(backend: Backend, clock: Clock, name: Name, *, author: Author = NOBODY) -> None:
    """Say that all versions of a name were removed: listings look, and leave it out while that is so.

    Raises:
        CommitStateUnknown: It may be said.
    """
    _put_record(backend, clock, name.folder, f"@{name.last}", state=FolderState.REMOVED, author=author)


def _above(folder: str) -> tuple[str, str]:
    parent, _, item = folder.rpartition("/")
    return parent, item


def _newest_record(backend: Backend, parent: str, item: str) -> tuple[int, FolderState | None]:
    """Number of the newest record about an item and what it says; (0, None) where there is none."""
    prefix = items_prefix(parent)
    for info in backend.list(item_records_prefix(parent, item), page_size=_SHORT_PAGE):
        parsed = parse_item_record(info.key.removeprefix(prefix))
        if parsed is not None:
            return parsed[1], FolderState.MADE if parsed[2] else FolderState.REMOVED
    return 0, None


def _put_record(
    backend: Backend, clock: Clock, parent: str, item: str, *, state: FolderState, author: Author
) -> bool:
    while True:
        number, newest = _newest_record(backend, parent, item)
        if newest is state:
            return False
        record = FolderRecord(
            nonce=fresh_nonce(clock),
            state=state,
            created=timestamp(clock.now()),
            who=author.who,
            host=author.host,
        )
        key = item_record_key(parent, item, number + 1, made=state is FolderState.MADE)
        if isinstance(put_once(backend, clock, key, encode_record(record)), Won):
            return True
