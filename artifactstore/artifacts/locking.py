"""Pinning names in a lock file, and pulling what it pins.

    write_lock(store, ["models/resnet:prod", "data/train"])     artifactstore lock models/resnet:prod data/train
    update_lock(store)                                          artifactstore lock --update
    pull_lock(store)                                            artifactstore pull --lock

The file is replaced whole or not at all, and only once every reference has been resolved.
"""

import os
import stat
from collections.abc import Iterable, Sequence
from typing import Final

from artifactstore.artifacts.lock import (
    MAX_LOCK_BYTES,
    Lock,
    Pin,
    PinChange,
    leads_into_git,
    normal_destination,
    parse_lock,
    plan_pins,
    serialize_lock,
)
from artifactstore.errors import LockFileError, NameNotFound, PinNotMet, VersionDeleted
from artifactstore.names import parse_whole
from artifactstore.store import PullOptions, PullResult, Store
from artifactstore.transfer.progress import NULL_PROGRESS, Progress

LOCK_FILE: Final = "artifactstore.lock"
LockPath = str | os.PathLike[str]
_DEFAULT_PULL: Final = PullOptions()


def read_lock(path: LockPath = LOCK_FILE) -> Lock:
    """What a lock file pins, all of it checked.

    Raises:
        LockFileError: It is not there, can't be read, or says what it may not say.
        UnsupportedFormat: Written by a newer version.
    """
    lock = _read(path)
    if lock is None:
        raise LockFileError(
            "there is no lock file", where=os.fspath(path), next_step="Make one: artifactstore lock NAME"
        )
    return lock


def write_lock(
    store: Store,
    references: str | Iterable[str],
    path: LockPath = LOCK_FILE,
    *,
    destination: str | None = None,
) -> tuple[PinChange, ...]:
    """Pin what references mean now. Other pins of the file stay as they are; it is made if it is not there.

    Args:
        references: ``name``, ``name:v3``, ``name:alias``, ``name@DIGEST``; each of another name.
        destination: Where pulls put it, relative to the folder of the file; for one reference only. By default where
            the file says already, or a directory called like the last part of the name.

    Returns:
        One change for each reference, in their order.

    Raises:
        InvalidName: Not a reference, or one to a path inside a version.
        ValueError: A destination for several references; one that leaves the folder of the file; a name twice.
        NameNotFound, VersionDeleted: There is no such version.
        LockFileError: The file can't be read or written, or two pins would go to one place.
    """
    asked = [references] if isinstance(references, str) else list(references)
    names = [parse_whole(reference).name for reference in asked]
    if len(set(names)) != len(names):
        raise ValueError("a name is given twice, and a lock file pins each name once")
    if destination is not None and len(asked) != 1:
        raise ValueError("a destination goes with one reference")
    place = None if destination is None else normal_destination(destination)
    old = _read(path) or Lock()
    pins = []
    for reference, name in zip(asked, names, strict=True):
        before = old.of(name.text)
        pins.append(_pin(store, reference, place or (before.destination if before else name.last)))
    return _replace(path, old, pins)


def update_lock(store: Store, path: LockPath = LOCK_FILE) -> tuple[PinChange, ...]:
    """Resolve every reference of a lock file again, as it was given, and pin what it means now.

    Raises:
        NameNotFound, VersionDeleted: A reference means nothing any more. The file stays as it is.
        LockFileError: The file is not there, or can't be read or written.
    """
    old = read_lock(path)
    return _replace(path, old, [_pin(store, pin.asked, pin.destination) for pin in old.pins])


def pull_lock(
    store: Store,
    path: LockPath = LOCK_FILE,
    *,
    names: str | Iterable[str] = (),
    destination: str | os.PathLike[str] | None = None,
    options: PullOptions = _DEFAULT_PULL,
    progress: Progress = NULL_PROGRESS,
) -> tuple[PullResult, ...]:
    """Pull exactly the content that a lock file pins. Nothing is written unless every pin can be met.

    Args:
        names: Only these; by default all of the file.
        destination: Where to, for one name only. By default where the file says.

    Returns:
        One result for each pin, by name.

    Raises:
        ValueError: A destination for several names.
        LockFileError: The file is not there or is no sound lock file, does not pin a name, or would send content
            out of its folder.
        PinNotMet: The store has no version with the pinned content, or no such name.
        As `Store.pull`.
    """
    pins = _chosen(read_lock(path), [names] if isinstance(names, str) else list(names), path)
    if destination is not None and len(pins) != 1:
        raise ValueError("a destination goes with one name")
    places = [destination if destination is not None else _place(path, pin) for pin in pins]
    for pin in pins:
        _check_met(store, pin, path, allow_expired=options.allow_expired)
    return tuple(
        store.pull(pin.reference, place, options=options, progress=progress)
        for pin, place in zip(pins, places, strict=True)
    )


def _pin(store: Store, reference: str, destination: str) -> Pin:
    parsed = parse_whole(reference)
    found = store.resolve(reference, allow_expired=True)
    version = found.version.rpartition(":")[2]
    return Pin(
        name=parsed.name.text,
        asked=reference,
        version=version,
        content_digest=found.content,
        destination=destination,
    )


def _chosen(lock: Lock, names: Sequence[str], path: LockPath) -> tuple[Pin, ...]:
    if not names:
        return lock.pins
    pins = []
    for name in names:
        if ":" in name or "@" in name:
            raise LockFileError(
                f"{name!r} says which version, and that is what the lock file says",
                where=os.fspath(path),
                next_step="Give the name alone, or pull without the lock file.",
            )
        pin = lock.of(name)
        if pin is None:
            raise LockFileError(
                f"{name} is not pinned here", where=os.fspath(path), next_step=f"Pin it: artifactstore lock {name}"
            )
        pins.append(pin)
    return tuple(pins)


def _check_met(store: Store, pin: Pin, path: LockPath, *, allow_expired: bool) -> None:
    try:
        store.resolve(pin.reference, allow_expired=allow_expired)
    except (NameNotFound, VersionDeleted) as error:
        raise PinNotMet(
            f"{pin.name} is pinned to the content of {pin.version} ({pin.content_digest[:12]}…): {error.what}",
            where=os.fspath(path),
            next_step=f"Pin what is there now (artifactstore lock {pin.name}), or push that content again.",
        ) from error


def _place(path: LockPath, pin: Pin) -> str:
    """Where a pin goes. Links in a checkout come from whoever made it, too: none may lead where `to` may not."""
    folder = os.path.dirname(os.path.realpath(path))
    place = os.path.join(folder, *pin.destination.split("/"))
    real = os.path.realpath(place)
    is_inside = os.path.commonpath([folder, real]) == folder and real != folder
    if not is_inside or leads_into_git(os.path.relpath(real, folder)):
        where_to = "into git's own files" if is_inside else "out of the folder of the lock file"
        raise LockFileError(
            f"pins.{pin.name!r}.to: {pin.destination!r} is, or passes through, a link that leads {where_to}",
            where=os.fspath(path),
            next_step=f"If that is meant to be so, name the place: artifactstore pull --lock {pin.name} DEST",
        )
    return place


def _read(path: LockPath) -> Lock | None:
    where = os.fspath(path)
    try:
        with open(path, "rb") as stream:
            raw = stream.read(MAX_LOCK_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LockFileError(f"it can't be read: {error.strerror}", where=where) from error
    if len(raw) > MAX_LOCK_BYTES:
        raise LockFileError(f"it has over {MAX_LOCK_BYTES >> 20} MiB", where=where)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LockFileError(f"it is not UTF-8: byte {error.start}", where=where) from error
    return parse_lock(text, where=where)


def _replace(path: LockPath, old: Lock, pins: Sequence[Pin]) -> tuple[PinChange, ...]:
    where = os.fspath(path)
    try:
        new, changes = plan_pins(old, pins)
    except ValueError as error:
        next_step = "Give one of them a place of its own: --to DEST"
        raise LockFileError(str(error), where=where, next_step=next_step) from error
    if new != old or not os.path.lexists(path):
        try:
            _write_whole(os.path.realpath(path), serialize_lock(new).encode())
        except OSError as error:
            raise LockFileError(f"it can't be written: {error.strerror}", where=where) from error
    return changes


def _write_whole(path: str, body: bytes) -> None:
    """Replace a file: a reader, and a crash, find the old one or the new one."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _mode_of(path))
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(body)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _mode_of(path: str) -> int:
    """That of the file which is there, else that of a new file. The umask applies to both."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        return 0o666
