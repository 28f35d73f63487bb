"""``ls`` and ``log``."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import click

from artifactstore.artifacts.folders import folder_exists
from artifactstore.cli.command import command, current
from artifactstore.cli.output import (
    human_bytes,
    human_count,
    print_json_items,
    print_table,
    printable,
    short_date,
    shown_path,
)
from artifactstore.cli.session import expired_option, note, open_current, path_bytes
from artifactstore.cli.views import entry_fields, folder_item_fields, version_fields
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.errors import NameNotFound
from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.manifest.paths import path_sort_key
from artifactstore.names import Slot, parse_reference, parse_version
from artifactstore.results import FolderItem, VersionInfo
from artifactstore.store import Store

_T = TypeVar("_T")
_LIMIT = click.option("--limit", type=click.IntRange(1), metavar="N", help="Show N at most, and how to see the next.")
_AFTER = click.option("--after", default="", metavar="LAST", help="Go on after the last of the page before.")


def page_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of what lists a page at a time."""
    return _LIMIT(_AFTER(function))


@command("ls")
@click.argument("name", default="", metavar="[FOLDER|NAME|NAME:VERSION[/PATH]]")
@click.option("-l", "--long", is_flag=True, help="For names: also the newest version, when, and its size.")
@click.option("-R", "--recursive", is_flag=True, help="List the files below directories too.")
@_LIMIT
@_AFTER
@expired_option
def ls(name: str, long: bool, recursive: bool, limit: int | None, after: str, allow_expired: bool) -> None:
    """List folders, names, versions, files.

    Without an argument, or for a folder: the folders and names in it. For a name: its versions, newest first.
    For a version: its files and directories.
    """
    with open_current() as store:
        if ":" in name or "@" in name:
            entries = store.files(name, allow_expired=allow_expired)
            _list_files(entries, name, recursive=recursive, limit=limit, after=after)
        elif name and not name.endswith("/") and (versions := _versions_of(store, name)):
            _show_versions(versions, kind="ls", name=name, limit=limit, after=after)
        else:
            _list_folder(store, name.rstrip("/"), long=long, limit=limit, after=after)


@command("log")
@click.argument("name")
@_LIMIT
@_AFTER
def log(name: str, limit: int | None, after: str) -> None:
    """Show the versions of a name, newest first."""
    with open_current() as store:
        _show_versions(store.versions(name), kind="log", name=name, limit=limit, after=after)


class Page(Generic[_T]):
    """The first ``limit`` of some items; knows afterwards whether there are more, and which was the last."""

    def __init__(self, items: Iterable[_T], *, limit: int | None, mark: Callable[[_T], str]) -> None:
        self._items = iter(items)
        self._limit = limit
        self._mark = mark
        self.next: str | None = None
        self.any = False

    def __iter__(self) -> Iterator[_T]:
        last: _T | None = None
        for last in itertools.islice(self._items, self._limit):
            self.any = True
            yield last
        if last is not None and next(self._items, None) is not None:
            self.next = self._mark(last)

    def closing(self) -> Mapping[str, object]:
        """For the end of a JSON document: ``next`` is what ``--after`` takes, or null."""
        return {"next": self.next}

    def say_next(self) -> None:
        if self.next is not None:
            note(f"there are more: --after {self.next}")


def _versions_of(store: Store, name: str) -> Iterator[VersionInfo] | None:
    """The versions of a name, or None where it has none: perhaps it is a folder."""
    versions = iter(store.versions(name))
    try:
        return itertools.chain([next(versions)], versions)
    except (NameNotFound, StopIteration):
        return None


def _list_folder(store: Store, folder: str, *, long: bool, limit: int | None, after: str) -> None:
    items = sorted(store.list(folder), key=_shown_name)  # storage lists them in any order
    if folder and not items and not folder_exists(store, folder):
        raise NameNotFound(f"no folder and no name {folder}")
    page = Page((item for item in items if _shown_name(item) > after), limit=limit, mark=_shown_name)
    newest = functools.partial(_newest, store) if long else _not_asked
    if current().json:
        rows = (folder_item_fields(item, newest(item)) for item in page)
        print_json_items("ls", {"folder": folder}, rows, closing=page.closing)
    else:
        print_table((_folder_row(item, newest(item)) for item in page), right=frozenset({3, 4}))
        page.say_next()


def _newest(store: Store, item: FolderItem) -> VersionInfo | None:
    return None if item.is_folder else next(_versions_of(store, item.name) or iter(()), None)


def _not_asked(_item: FolderItem) -> VersionInfo | None:
    return None


def _folder_row(item: FolderItem, newest: VersionInfo | None) -> Sequence[str]:
    name = printable(_shown_name(item))
    if newest is None:
        return (name,)
    sizes = (human_count(newest.files, "file"), human_bytes(newest.content_bytes))
    return (name, f"v{newest.slot}", short_date(newest.created), *sizes, references_text(newest), expiry_text(newest))


def _shown_name(item: FolderItem) -> str:
    return f"{item.name}/" if item.is_folder else item.name


def _show_versions(versions: Iterator[VersionInfo], *, kind: str, name: str, limit: int | None, after: str) -> None:
    below = parse_version(after) if after else None
    if below is not None and not isinstance(below, Slot):
        raise click.UsageError("--after takes a version number here: v12", click.get_current_context())
    wanted = (v for v in versions if below is None or v.slot < below.number)
    page = Page(wanted, limit=limit, mark=lambda info: f"v{info.slot}")
    if current().json:
        print_json_items(kind, {"name": name}, map(version_fields, page), closing=page.closing)
        return
    if kind == "log":
        print_table((_log_row(info) for info in page), header=_LOG_HEADER, right=frozenset({3, 4}))
    else:
        print_table((_version_row(info) for info in page), right=frozenset({2, 3}))
    page.say_next()


_LOG_HEADER = ("version", "when", "who", "size", "new", "commit", "aliases", "message")


def _log_row(info: VersionInfo) -> Sequence[str]:
    return (
        f"v{info.slot}",
        short_date(info.created),
        printable(f"{info.who}@{info.host}".strip("@")),
        human_bytes(info.content_bytes),
        human_bytes(info.new_bytes),
        info.git.commit[:10] if info.git else "-",
        printable(",".join(info.aliases)) or "-",
        printable("  ".join(filter(None, [info.message, _remark(info)]))),
    )


def _remark(info: VersionInfo) -> str:
    """Behind the message: what only some versions have."""
    parts = [
        references_text(info),
        expiry_text(info),
        f"from {', '.join(pin.version for pin in info.made_from)}" if info.made_from else "",
        f"by job {info.made_by}" if info.made_by else "",
        "edited" if info.edits else "",
    ]
    said = "; ".join(filter(None, parts))
    return f"({said})" if said else ""


def expiry_text(info: VersionInfo) -> str:
    """When its time is, or was, over; empty for never."""
    if not info.expires:
        return ""
    verb = "expired" if info.has_expired(SYSTEM_CLOCK.now()) else "expires"
    return f"{verb} {short_date(info.expires)}"


def references_text(info: VersionInfo) -> str:
    """Beside the size, which has only what is stored; empty where there are none."""
    return human_count(info.references, "reference") if info.references else ""


def _version_row(info: VersionInfo) -> Sequence[str]:
    names = [*info.aliases, *info.labels]
    return (
        f"{printable(info.name)}:v{info.slot}",
        short_date(info.created),
        human_count(info.files, "file"),
        human_bytes(info.content_bytes),
        printable("  ".join(filter(None, [references_text(info), expiry_text(info), " ".join(names)]))),
    )


def _list_files(entries: Iterable[Entry], name: str, *, recursive: bool, limit: int | None, after: str) -> None:
    inside = parse_reference(name).path
    if not recursive:
        entries = one_level(entries, below=inside)
    if after:
        start = path_sort_key(path_bytes(after))
        entries = (entry for entry in entries if path_sort_key(entry.path) > start)
    page = Page(entries, limit=limit, mark=lambda entry: shown_path(entry.path))
    if current().json:
        print_json_items("ls", {"version": name}, map(entry_fields, page), closing=page.closing)
        return
    print_table(map(_file_row, page), right=frozenset({1}))
    page.say_next()


def one_level(entries: Iterable[Entry], *, below: bytes) -> Iterator[Entry]:
    """Each directory once in place of all that is in it. ``entries`` are in entry order, with their whole paths."""
    skip = len(below) + 1 if below else 0
    last = b""
    for entry in entries:
        first, slash, _ = entry.path[skip:].partition(b"/")
        if not slash:
            yield entry
        elif first != last:
            yield Entry(path=entry.path[: skip + len(first)], kind=EntryKind.DIRECTORY)
        last = first


def _file_row(entry: Entry) -> Sequence[str]:
    path = shown_path(entry.path)
    if entry.kind == EntryKind.FILE:
        return ("x" if entry.executable else "-", human_bytes(entry.size), path)
    if entry.kind == EntryKind.LINK:
        return ("l", "", f"{path} -> {shown_path(entry.target)}")
    if entry.kind == EntryKind.REFERENCE:
        return ("r", "", f"{path} => {printable(entry.reference.uri if entry.reference else '')}")
    return ("d", "", f"{path}/")
