"""Names and folders, one level at a time.

A folder is there when names or folders lie below it, or when the newest record under its
`.folder/` says that an empty one was made. A name is listed once it has a slot, whatever
became of it; `versions.latest_committed` says whether anything is in it.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from artifactstore.backend.protocol import Backend, CommonPrefix
from artifactstore.clock import Clock, timestamp
from artifactstore.errors import Conflict, InvalidName
from artifactstore.keys import NAMES, folder_record_key, parse_counted
from artifactstore.names import Name, check_folder
from artifactstore.transaction.conditional import Won, put_once
from artifactstore.transaction.records import (
    NOBODY,
    Author,
    FolderRecord,
    FolderState,
    decode_record,
    encode_record,
    fresh_nonce,
)

_SHORT_PAGE: Final = 10


class ItemKind(enum.Enum):
    FOLDER = "folder"
    NAME = "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderItem:
    """A folder or a name; ``text`` is its whole path in the store (`folder/sub`)."""

    kind: ItemKind
    text: str


def list_folder(backend: Backend, folder: str = "") -> Iterator[FolderItem]:
    """What lies directly in a folder (empty text: the top), in byte order of keys. One listing.

    Foreign objects are left out. A folder that was made empty and removed again may show.

    Raises:
        InvalidName: ``folder`` is not of the grammar.
    """
    prefix = f"{NAMES}{check_folder(folder)}/" if folder else NAMES
    for item in backend.list_level(prefix):
        if isinstance(item, CommonPrefix):
            parsed = _parse_item(folder, item.prefix.removeprefix(prefix).removesuffix("/"))
            if parsed is not None:
                yield parsed


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
    """All names below a folder, at any depth; one listing for each folder."""
    folders = [folder]
    while folders:
        for item in list_folder(backend, folders.pop()):
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
        for item in list_folder(backend, folder):
            other = item.text.rpartition("/")[2]
            if item.kind is kind and other != part and other.casefold() == part.casefold():
                raise Conflict(
                    f"{name} differs from {item.text} only in case, and this store's file system takes them for one",
                    data_safe="Nothing was written.",
                    next_step=f"Use {item.text}, or a name that differs in more than case.",
                )
        folder = f"{folder}/{part}" if folder else part


def folder_record(backend: Backend, folder: str) -> tuple[int, FolderRecord | None]:
    """The newest record of an empty folder, and its number; (0, None) where there is none."""
    prefix = f"{NAMES}{check_folder(folder)}/.folder/"
    for info in backend.list(prefix, page_size=_SHORT_PAGE):
        number = parse_counted(info.key.removeprefix(prefix))
        if number:
            return number, decode_record(FolderRecord, backend.get(info.key), key=info.key)
    return 0, None


def put_folder_record(
    backend: Backend, clock: Clock, folder: str, *, state: FolderState, author: Author = NOBODY
) -> None:
    """Say that an empty folder was made, or removed. Nothing is written where the newest record says so.

    Raises:
        InvalidName: Not a folder, or the top.
        CommitStateUnknown: It may be said.
    """
    if not folder:
        raise InvalidName("the top is always there")
    while True:
        number, newest = folder_record(backend, folder)
        if (newest.state if newest else FolderState.REMOVED) is state:
            return
        record = FolderRecord(
            nonce=fresh_nonce(clock),
            state=state,
            created=timestamp(clock.now()),
            who=author.who,
            host=author.host,
        )
        if isinstance(put_once(backend, clock, folder_record_key(folder, number + 1), encode_record(record)), Won):
            return
