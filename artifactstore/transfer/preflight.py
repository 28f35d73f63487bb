"""Before a pull writes: what is at the destination, and whether it will do.

Everything that can be known to fail is found here, before a byte is fetched: something in
the way, no permission, a read-only file system, too little space, names that are one on a
file system that folds case or Unicode forms.
"""

import contextlib
import enum
import os
import unicodedata
from collections.abc import Collection, Iterable
from typing import Final

from artifactstore.clock import Clock
from artifactstore.errors import DestinationError, DestinationExists
from artifactstore.manifest.paths import TEMPORARY_PREFIX, folding_twins, shown
from artifactstore.transfer.destination import (
    AbsentDestination,
    Destination,
    EmptyDestination,
    OccupiedDestination,
)
from artifactstore.transfer.folders import SYSTEM, Folders, System, destination_error, is_directory, split
from artifactstore.transfer.planner import directories_of

_NAMED_BY_USER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class State(enum.Enum):
    """What is at the destination's path before a pull."""

    ABSENT = "absent"
    EMPTY = "empty"
    OCCUPIED = "occupied"


def look(path: bytes) -> State:
    """What is there. Our own leftovers count as nothing.

    Raises:
        DestinationExists: Something that is not a directory.
        DestinationError: It can't be looked at.
    """
    try:
        if not is_directory(os.stat(path)):
            raise DestinationExists(f"{shown(path)} is there and is not a directory", where=shown(path))
        with os.scandir(path) as rows:
            names = (os.fsencode(row.name) for row in rows)
            return State.EMPTY if all(n.startswith(TEMPORARY_PREFIX) for n in names) else State.OCCUPIED
    except FileNotFoundError:
        if os.path.lexists(path):
            raise DestinationExists(f"{shown(path)} is a link that leads nowhere", where=shown(path)) from None
        return State.ABSENT
    except OSError as error:
        raise destination_error(error, path) from error


def open_destination(
    path: bytes, state: State, *, clock: Clock, durable: bool, system: System = SYSTEM
) -> Destination:
    """Prepare to write: shows that something can be written there, before anything is fetched.

    Args:
        path: Absolute. Links in it are followed: the user named it.
        state: What `look` found.

    Raises:
        DestinationError: It can't be written to.
    """
    staging = TEMPORARY_PREFIX + clock.random_bytes(12).hex().encode()
    made: list[bytes] = []
    try:
        if state is State.ABSENT:
            made = _make_parents(os.path.dirname(path), durable=durable, system=system)
        parent = os.open(os.path.dirname(path) if state is State.ABSENT else path, _NAMED_BY_USER)
        try:
            system.mkdir(staging, parent)
            try:
                if state is State.OCCUPIED:
                    # Only to show that it can be done: a read-only file system, an immutable directory.
                    system.rmdir(staging, parent)
                    return OccupiedDestination(parent, path, clock=clock, durable=durable, system=system)
                kind = AbsentDestination if state is State.ABSENT else EmptyDestination
                return kind(path, parent, staging, clock=clock, durable=durable, system=system)
            except BaseException:
                with contextlib.suppress(OSError):
                    system.rmdir(staging, parent)
                raise
        except BaseException:
            system.close(parent)
            raise
    except OSError as error:
        _remove_parents(made)
        raise destination_error(error, path) from error


def check_room(destination: Destination, *, growth_bytes: int, largest_bytes: int) -> None:
    """Refuse to begin what can't end well for want of space.

    Args:
        growth_bytes: How many bytes more there will be at the end.
        largest_bytes: Of the largest file, which is there twice for a moment.

    Raises:
        DestinationError: Names the bytes needed and the bytes free.
    """
    needed = max(growth_bytes, largest_bytes)
    try:
        room = destination.system.room(destination.root)
    except OSError as error:
        raise destination_error(error, destination.path) from error
    free = room.f_bavail * room.f_frsize
    if room.f_blocks and needed > free:
        where = shown(destination.path)
        raise DestinationError(f"no space for {where}: {needed:,} bytes are needed, {free:,} are free", where=where)


def check_rights(destination: Destination, folders: Iterable[bytes]) -> None:
    """Refuse to begin where a directory that has to change can't be written to.

    Raises:
        DestinationError: Names the directory.
    """
    with Folders(destination.root, system=destination.system) as handles:
        for folder in folders:
            try:
                allowed = destination.system.may_write(handles.open(folder))
            except OSError as error:
                raise destination_error(error, folder) from error
            if not allowed:
                where = shown(os.path.join(destination.path, folder))
                raise DestinationError(f"nothing can be written in {where}: permission denied", where=where)


class Folding(enum.Enum):
    """What a directory does to names."""

    NONE = "none"
    CASE = "case"  # and perhaps Unicode forms
    FORM = "form"  # Unicode forms alone


def check_twins(destination: Destination, paths: Collection[bytes]) -> None:
    """Refuse paths that would be one file here.

    The destination is only asked where there are such paths at all.

    Args:
        paths: All that will be there afterwards.

    Raises:
        DestinationError: Names two of them.
    """
    everything = directories_of(paths).union(paths)
    if b"".join(everything).isascii() and len({p.lower() for p in everything}) == len(everything):
        return
    twins = folding_twins(sorted(everything))
    with Folders(destination.root, system=destination.system) as folders:
        asked: dict[bytes, Folding] = {}
        for one, other in twins:
            folder = split(other)[0]
            if folder not in asked:
                asked[folder] = _folding_of(destination, folders, folder)
            if asked[folder] is Folding.CASE or (asked[folder] is Folding.FORM and _form(one) == _form(other)):
                raise _twins(destination.path, *sorted((one, other)))


def _twins(destination: bytes, one: bytes, other: bytes) -> DestinationError:
    where = shown(destination)
    error = DestinationError(f"{shown(one)} and {shown(other)} are one name on the file system there", where=where)
    error.data_safe = "Nothing was written."
    error.next_step = "Pull into a file system that tells them apart, or pull only a part of the version."
    return error


def _form(path: bytes) -> bytes:
    text = path.decode("utf-8", "surrogateescape")
    return unicodedata.normalize("NFD", text).encode("utf-8", "surrogateescape")


def _folding_of(destination: Destination, folders: Folders, folder: bytes) -> Folding:
    """Find out by making a file and looking for it under other names, in the deepest directory that is there."""
    while True:
        try:
            directory = folders.open(folder)
            break
        except OSError:
            if not folder:
                raise
            folder = split(folder)[0]
    name = destination.temporary_name()
    if _is_found_as(destination.system, directory, name + b"-case", name + b"-CASE"):
        return Folding.CASE
    if _is_found_as(destination.system, directory, name + "-\u00e9".encode(), name + "-e\u0301".encode()):
        return Folding.FORM
    return Folding.NONE


def _is_found_as(system: System, directory: int, name: bytes, other: bytes) -> bool:
    try:
        system.close(system.create(name, directory, mode=0o600))
    except OSError:
        return False  # a name that this file system does not take; writing says so where it matters
    try:
        system.stat(other, directory)
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            system.unlink(name, directory)
    return True


def _make_parents(parent: bytes, *, durable: bool, system: System) -> list[bytes]:
    missing: list[bytes] = []
    while parent and not os.path.isdir(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    made: list[bytes] = []
    try:
        for folder in reversed(missing):
            os.mkdir(folder)
            made.append(folder)
            if durable:
                _sync_named(os.path.dirname(folder), system)
    except OSError:
        _remove_parents(made)
        raise
    return made


def _remove_parents(made: list[bytes]) -> None:
    with contextlib.suppress(OSError):
        for folder in reversed(made):
            os.rmdir(folder)


def _sync_named(path: bytes, system: System) -> None:
    handle = os.open(path, _NAMED_BY_USER)
    try:
        system.sync(handle)
    finally:
        system.close(handle)
