"""What a store looks like as a tree of folders, names, versions and what is in them."""

from collections.abc import Iterator

from artifactstore.errors import PathNotFound
from artifactstore.filesystem.failures import (
    NameMissing,
    PathIsDirectory,
    ReferenceNotStored,
    as_missing,
)
from artifactstore.filesystem.infos import Info, directory_info, entry_info, folder_info
from artifactstore.filesystem.locations import Bare, Inside, parse_location
from artifactstore.filesystem.lookup import Seen, look_up
from artifactstore.filesystem.mount import Mount, Opened
from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.manifest.paths import shown
from artifactstore.reading.stored_file import StoredFile
from artifactstore.results import FolderItem


class View:
    """A mount, looked at by paths without protocol. What is not there is an error of `failures`.

    Args:
        latest_seconds, allow_expired: As `Mount.open`.
    """

    def __init__(self, mount: Mount, *, latest_seconds: float, allow_expired: bool) -> None:
        self._mount = mount
        self._latest_seconds = latest_seconds
        self._allow_expired = allow_expired

    def opened(self, place: Inside) -> Opened:
        """The version that a path is in.

        Raises:
            NameMissing, VersionMissing: It is not there.
            VersionExpired: Its time is over.
            CorruptData, BackendError: It can't be read.
        """
        with as_missing():
            return self._mount.open(
                place.name, place.version, latest_seconds=self._latest_seconds, allow_expired=self._allow_expired
            )

    def file(self, text: str) -> tuple[Opened, StoredFile]:
        """A file that is to be read.

        Raises:
            BadPath, NameMissing, VersionMissing, PathMissing: Nothing is there.
            PathIsDirectory: Something else than a file is.
            ReferenceNotStored: Its bytes are not in the store.
            VersionExpired, CorruptData, BackendError: As `opened`.
        """
        place = parse_location(text)
        if isinstance(place, Bare):
            self._folder_or_name(place)
            raise PathIsDirectory(f"{text or 'the top'} is not a file", next_step="Name a file: NAME:VERSION/PATH")
        opened = self.opened(place)
        with as_missing():
            found = look_up(opened.tree, place.path).found
        if found is None or found.entry.kind == EntryKind.DIRECTORY:
            raise PathIsDirectory(f"{shown(place.path)} of {opened.version.text} is a directory")
        if found.entry.reference is not None:
            uri = found.entry.reference.uri
            what = f"{shown(place.path)} of {opened.version.text} is a reference to {uri}, and not stored"
            raise ReferenceNotStored(what, uri=uri)
        return opened, self._mount.file(opened, found)

    def info(self, text: str) -> Info:
        """What is at a path. Errors as `file`, but for what is no file."""
        place = parse_location(text)
        if isinstance(place, Bare):
            self._folder_or_name(place)
            return folder_info(text)
        opened = self.opened(place)
        try:
            return _seen_info(opened, text, look_up(opened.tree, place.path))
        except PathNotFound:
            with as_missing():
                # A link to nowhere is there itself.
                return entry_info(opened, text, opened.tree.find(place.path).entry)

    def level(self, text: str) -> list[Info]:
        """What lies directly in a folder, a name's latest version, or a directory; a file itself. Errors as `info`."""
        place = parse_location(text)
        if isinstance(place, Inside):
            return self._level_inside(place)
        infos: list[Info] = []
        for item in self._folder_or_name(place):
            if item.is_folder:
                infos += [folder_info(each.name) for each in self._mount.catalog.folder(text)]
            else:
                infos += self._level_inside(place.latest)
        return infos

    def _level_inside(self, place: Inside) -> list[Info]:
        opened = self.opened(place)
        with as_missing():
            seen = look_up(opened.tree, place.path)
        if not seen.is_directory:
            return [_seen_info(opened, place.text(place.path), seen)]
        infos = []
        for item in opened.tree.level(seen.path):
            path = item if isinstance(item, bytes) else item.path
            name = _renamed(place, seen, path)
            infos.append(directory_info(opened, name) if isinstance(item, bytes) else _listed(opened, name, item))
        return infos

    def below(self, place: Inside, *, max_depth: int | None, with_directories: bool) -> dict[str, Info]:
        """What lies below a directory of a version, by name; itself where it is a file. Errors as `info`."""
        opened = self.opened(place)
        with as_missing():
            seen = look_up(opened.tree, place.path)
        top = place.text(place.path)
        if not seen.is_directory:
            return {top: _seen_info(opened, top, seen)}
        found = {top: directory_info(opened, top)} if with_directories else {}
        strip = len(seen.path) + 1 if seen.path else 0
        for entry, _, _ in opened.tree.below(seen.path):
            relative = entry.path[strip:]
            if with_directories:
                for directory in _directories(relative, max_depth):
                    name = _renamed(place, seen, entry.path[: strip + len(directory)])
                    if name not in found:
                        found[name] = directory_info(opened, name)
            is_directory = entry.kind == EntryKind.DIRECTORY
            if (max_depth is None or relative.count(b"/") < max_depth) and (with_directories or not is_directory):
                name = _renamed(place, seen, entry.path)
                found[name] = _listed(opened, name, entry)
        return found

    def versioned(self, text: str) -> str:
        """A path that says a version, where it is of a name and of no folder; else as it is. Errors as `info`."""
        place = parse_location(text)
        if isinstance(place, Bare) and text and not any(item.is_folder for item in self._items(place)):
            return place.latest.head
        return text

    def _folder_or_name(self, place: Bare) -> list[FolderItem]:
        items = self._items(place)
        if not items:
            raise NameMissing(f"there is no folder and no name {place.text}")
        return items

    def _items(self, place: Bare) -> list[FolderItem]:
        """The folder and the name of that path, as far as they are there."""
        if not place.text:
            return [FolderItem(name="", is_folder=True)]
        with as_missing():
            found = self._mount.catalog.folder(place.text.rpartition("/")[0])
            return [item for item in found if item.name == place.text]


def _seen_info(opened: Opened, name: str, seen: Seen) -> Info:
    return directory_info(opened, name) if seen.found is None else entry_info(opened, name, seen.found.entry)


def _listed(opened: Opened, name: str, entry: Entry) -> Info:
    """An entry in a listing. A link to a file is that file; one to a directory stays a link: no walk circles."""
    if entry.kind == EntryKind.LINK:
        try:
            seen = look_up(opened.tree, entry.path)
        except PathNotFound:
            seen = None
        if seen is not None and not seen.is_directory:
            return {**_seen_info(opened, name, seen), "islink": True, "destination": entry.target}
    return entry_info(opened, name, entry)


def _renamed(place: Inside, seen: Seen, path: bytes) -> str:
    """What something is called in a listing of ``place``, which may have led through links to where it is."""
    below = path[len(seen.path) :].lstrip(b"/")
    return place.text(b"/".join(part for part in (place.path, below) if part))


def _directories(relative: bytes, max_depth: int | None) -> Iterator[bytes]:
    depth, slash = 1, relative.find(b"/")
    while slash > 0 and (max_depth is None or depth <= max_depth):
        yield relative[:slash]
        depth, slash = depth + 1, relative.find(b"/", slash + 1)
