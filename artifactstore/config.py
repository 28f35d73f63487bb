"""Settings: which store, how fast, how much memory; which source decided each, and why.

Sources, strongest first:

    --store URL (and the other flags)    for this command
    ARTIFACTSTORE_URL                    the store only
    artifactstore.toml                   the nearest one, in the working directory or above it
    config.toml                          in the user's configuration directory
    default                              a folder under the user's data directory

Each key is decided by itself: a project file that says only ``jobs`` leaves the store to the user's file.
Relative paths in a file are relative to that file. A file never holds a secret: a URL with a user or
password in it is refused there.

What references may read (docs/references.md) is for the user to say, in the user's file or by
ARTIFACTSTORE_REFERENCE_SCHEMES, ARTIFACTSTORE_REFERENCE_ROOTS and ARTIFACTSTORE_ALLOW_PRIVATE_REFERENCES.
A project file comes with what was cloned: it may only name roots inside its own directory. For the same reason
``state_dir``, ``cache_dir`` and ``cache_sharing`` are the user's: folders are made, filled and emptied there.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from artifactstore.chunk_cache.defaults import (
    CACHE_DIR_VARIABLE,
    CACHE_SHARING_VARIABLE,
    CACHE_SIZE_VARIABLE,
    default_cache_folder,
)
from artifactstore.dedup.state import STATE_VARIABLE, default_state_folder
from artifactstore.errors import ConfigurationError
from artifactstore.redaction import redact_url

URL_VARIABLE: Final = "ARTIFACTSTORE_URL"
PROJECT_FILE: Final = "artifactstore.toml"
USER_FILE: Final = "config.toml"
COMPRESSIONS: Final = ("auto", "zstd", "none")
_APPLICATION: Final = "artifactstore"
_MAX_FILE_BYTES: Final = 1 << 20
MIN_MEMORY_BYTES: Final = 64 << 20
REFERENCE_SCHEMES: Final = ("s3", "gs", "http", "https", "file", "artifact")
SCHEMES_VARIABLE: Final = "ARTIFACTSTORE_REFERENCE_SCHEMES"
ROOTS_VARIABLE: Final = "ARTIFACTSTORE_REFERENCE_ROOTS"
PRIVATE_VARIABLE: Final = "ARTIFACTSTORE_ALLOW_PRIVATE_REFERENCES"
_REFERENCE_KEYS: Final = ("reference_schemes", "reference_roots", "allow_private_references")
CACHE_SHARINGS: Final = ("owner", "group")
_FOLDER_KEYS: Final = ("state_dir", "cache_dir", "cache_sharing")
_CACHE_KEYS: Final = ("cache_dir", "cache_size", "cache_sharing")
_KEYS: Final = (
    *("store", "state_dir", *_CACHE_KEYS, "jobs", "limit_rate", "max_memory", "compression"),
    *_REFERENCE_KEYS,
)
_SCHEME_NAME: Final = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)
_TRUTHS: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(ib|b)?", re.IGNORECASE | re.ASCII)
_URL: Final = re.compile(r"(?:[A-Za-z0-9+.-]+::)*[A-Za-z][A-Za-z0-9+.-]*://")
_NEARLY_URL: Final = re.compile(r"(?:s3a?|gs|gcs|az|abfss?|adl|https?|s?ftp|ssh|hdfs|webdav|memory|file):(?!//)", re.I)
_USERINFO: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*@")


class Source(Enum):
    """Where a setting can come from."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    PROJECT_FILE = "project file"
    USER_FILE = "user file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One place that was asked for the store.

    Attributes:
        source: Which kind of place.
        where: The flag, variable or file.
        url: What it says, without secrets; None where it says nothing.
        note: Why it won, or why not, in words.
    """

    source: Source
    where: str
    url: str | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which store, and why.

    Attributes:
        url: As given: a URL, or an absolute path. May hold a password; show `redact_url` of it.
        source: Which kind of place decided.
        where: The flag, variable or file.
        why: One line for people.
        candidates: Every place there is, strongest first.
    """

    url: str
    source: Source
    where: str
    why: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, decided.

    Attributes:
        store: Which store.
        state_path: Directory of local state: never authoritative, may be deleted at any time.
        cache_path: Directory in which the cache of stored content lies; may be deleted at any time.
        cache_bytes: What the cache may take there; 0 for no cache, None for our choice.
        cache_sharing: ``owner``, or ``group`` where others may use the cache too.
        jobs: How many transfers at a time, or None for our choice.
        limit_rate_bytes: Highest speed in bytes a second, or None.
        max_memory_bytes: Budget for buffers and tables, or None for our choice.
        compression: ``auto``, ``zstd`` or ``none``.
        reference_schemes: Which schemes references may have.
        reference_roots: Directories below which ``file://`` references may read, absolute.
        allow_private_references: Whether ``http(s)`` references may go to addresses that are not public.
        origins: For each of them that is not ours to choose: where it was set.
    """

    store: Choice
    state_path: Path
    cache_path: Path
    cache_bytes: int | None = None
    cache_sharing: str = "owner"
    jobs: int | None = None
    limit_rate_bytes: int | None = None
    max_memory_bytes: int | None = None
    compression: str = "auto"
    reference_schemes: tuple[str, ...] = REFERENCE_SCHEMES
    reference_roots: tuple[str, ...] = ()
    allow_private_references: bool = False
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    source: Source
    path: Path
    values: Mapping[str, "_Value"]
    note: str


_Value = str | int | tuple[str, ...]


def find_store(
    flag: str | None = None, *, environment: Mapping[str, str] | None = None, directory: Path | None = None
) -> Choice:
    """Decide which store to use.

    Args:
        flag: What ``--store`` says, or None.
        environment: Instead of the process's.
        directory: Where the search for ``artifactstore.toml`` begins, instead of the working directory.

    Raises:
        ConfigurationError: A file can't be read or says something wrong; it names file and key.
    """
    return load_settings(flag, environment=environment, directory=directory).store


def load_settings(
    flag: str | None = None, *, environment: Mapping[str, str] | None = None, directory: Path | None = None
) -> Settings:
    """Decide all settings; arguments and errors as `find_store`."""
    if flag == "":
        raise ConfigurationError("--store is empty", next_step="Name a store, or leave --store out.")
    env = os.environ if environment is None else environment
    start = Path(os.path.abspath(directory or Path.cwd()))
    files = (_project_file(start), _user_file())
    values: dict[str, _Value] = {}
    origins: dict[str, str] = {}
    for file in reversed(files):
        for key, value in file.values.items():
            values[key] = value
            origins[key] = str(file.path)
    if state := env.get(STATE_VARIABLE):
        values["state_dir"] = os.path.abspath(start / state)
        origins["state_dir"] = STATE_VARIABLE
    for key, variable, value in (*_cache_of(env, start), *_references_of(env, start)):
        values[key] = value
        origins[key] = variable
    store = _choose(flag, env.get(URL_VARIABLE), files, start=start)
    origins["store"] = store.where
    return Settings(
        store=store,
        state_path=Path(str(values.get("state_dir") or default_state_folder())),
        cache_path=Path(str(values.get("cache_dir") or default_cache_folder())),
        cache_bytes=_number(values.get("cache_size")),
        cache_sharing=str(values.get("cache_sharing", "owner")),
        jobs=_number(values.get("jobs")),
        limit_rate_bytes=_number(values.get("limit_rate")),
        max_memory_bytes=_number(values.get("max_memory")),
        compression=str(values.get("compression", "auto")),
        reference_schemes=_texts(values.get("reference_schemes", REFERENCE_SCHEMES)),
        reference_roots=_texts(values.get("reference_roots", ())),
        allow_private_references=bool(values.get("allow_private_references", False)),
        origins=origins,
    )


def default_store_path() -> Path:
    """The store that needs no configuration."""
    import platformdirs

    return platformdirs.user_data_path(_APPLICATION) / "store"


def user_file_path() -> Path:
    """The user's settings file, whether it is there or not."""
    import platformdirs

    return platformdirs.user_config_path(_APPLICATION) / USER_FILE


def parse_size(text: str) -> int:
    """Bytes: ``10M``, ``1.5GiB``, ``500kB``, ``4096``. Bare K, M, G, T and KiB… count 1024; kB, MB… count 1000.

    Raises:
        ValueError: Not a size, or not above zero.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size: write 500K, 10M or 1.5GiB")
    number, unit, suffix = match.group(1), match.group(2).upper(), (match.group(3) or "").lower()
    base = 1000 if suffix == "b" and unit else 1024
    size = int(float(number) * base ** (" KMGT".index(unit) if unit else 0))
    if size <= 0:
        raise ValueError(f"{text!r}: a size must be above zero")
    return size


def _choose(flag: str | None, variable: str | None, files: Sequence[_File], *, start: Path) -> Choice:
    default = str(default_store_path())
    asked: list[tuple[Source, str, str | None, str]] = [
        (Source.FLAG, "--store", absolute_url(flag, start) if flag else None, ""),
        (Source.ENVIRONMENT, URL_VARIABLE, absolute_url(variable, start) if variable else None, ""),
    ]
    for file in files:
        url = file.values.get("store")
        asked.append((file.source, str(file.path), None if url is None else str(url), file.note))
    asked.append((Source.DEFAULT, "default", default, ""))
    winner = next(index for index, candidate in enumerate(asked) if candidate[2] is not None)
    source, where, url, _ = asked[winner]
    candidates = tuple(
        Candidate(source=s, where=w, url=redact_url(u) if u else None, note=_note(index, winner, u, said))
        for index, (s, w, u, said) in enumerate(asked)
    )
    return Choice(url=url or default, source=source, where=where, why=_why(source, where), candidates=candidates)


def _note(index: int, winner: int, url: object, note: str) -> str:
    if index == winner:
        return "used"
    return note or ("overridden" if url is not None else "not set")


def _why(source: Source, where: str) -> str:
    if source is Source.DEFAULT:
        return f"nothing says otherwise: no --store, no {URL_VARIABLE}, no file with a store"
    reasons = {
        Source.FLAG: "--store was given",
        Source.ENVIRONMENT: f"{URL_VARIABLE} is set, and no --store was given",
        Source.PROJECT_FILE: f"{where} says so, and no --store or {URL_VARIABLE} overrides it",
        Source.USER_FILE: f"{where} says so, and nothing nearer overrides it",
    }
    return reasons[source]


def absolute_url(text: str, base: Path) -> str:
    """A URL as it is; a path made absolute, with ``~`` expanded, relative to ``base``.

    Raises:
        ConfigurationError: It would be a URL but for a slash: a folder of that name would surprise.
    """
    if _URL.match(text):
        return text
    if _NEARLY_URL.match(text):
        raise ConfigurationError(
            f"{text!r} looks like a URL, and a URL has two slashes after the colon",
            next_step="Write it so; a folder of that name is ./NAME.",
        )
    return os.path.abspath(base / os.path.expanduser(text))


def _project_file(start: Path) -> _File:
    for directory in (start, *start.parents):
        path = directory / PROJECT_FILE
        if not path.is_file():
            continue
        if _planted(path):
            note = "ignored: it is another user's file in a directory that everybody may write to"
            return _File(source=Source.PROJECT_FILE, path=path, values={}, note=note)
        return _File(source=Source.PROJECT_FILE, path=path, values=_read_file(path), note="it sets no store")
    note = f"none here or above {start}"
    return _File(source=Source.PROJECT_FILE, path=Path(PROJECT_FILE), values={}, note=note)


def _planted(path: Path) -> bool:
    # In /tmp anybody can leave a file that sends everybody's pushes to a store of their own.
    everybody_writes = bool(path.parent.stat().st_mode & 0o002)
    return everybody_writes and path.stat().st_uid not in (0, os.geteuid())


def _user_file() -> _File:
    path = user_file_path()
    if not path.is_file():
        return _File(source=Source.USER_FILE, path=path, values={}, note="there is no such file")
    return _File(source=Source.USER_FILE, path=path, values=_read_file(path), note="it sets no store")


def _cache_of(env: Mapping[str, str], start: Path) -> list[tuple[str, str, _Value]]:
    """What the environment says of the cache: key, variable, value."""
    found: list[tuple[str, str, _Value]] = []
    if text := env.get(CACHE_DIR_VARIABLE):
        found.append(("cache_dir", CACHE_DIR_VARIABLE, os.path.abspath(start / os.path.expanduser(text))))
    if text := env.get(CACHE_SIZE_VARIABLE):
        try:
            found.append(("cache_size", CACHE_SIZE_VARIABLE, _cache_size(text)))
        except ValueError as error:
            raise ConfigurationError(f"{CACHE_SIZE_VARIABLE}: {error}", next_step="Correct it, or unset it.") from error
    if text := env.get(CACHE_SHARING_VARIABLE):
        if text not in CACHE_SHARINGS:
            raise ConfigurationError(
                f"{CACHE_SHARING_VARIABLE} must be one of {', '.join(CACHE_SHARINGS)}",
                next_step="Correct it, or unset it.",
            )
        found.append(("cache_sharing", CACHE_SHARING_VARIABLE, text))
    return found


def _cache_size(text: str) -> int:
    return 0 if text.strip() == "0" else parse_size(text)


def _references_of(env: Mapping[str, str], start: Path) -> list[tuple[str, str, _Value]]:
    """What the environment says of references: key, variable, value."""
    found: list[tuple[str, str, _Value]] = []
    if text := env.get(SCHEMES_VARIABLE):
        names = [name.strip() for name in text.split(",")]
        found.append(("reference_schemes", SCHEMES_VARIABLE, _schemes(SCHEMES_VARIABLE, names)))
    if text := env.get(ROOTS_VARIABLE):
        roots = tuple(os.path.abspath(start / os.path.expanduser(root)) for root in text.split(os.pathsep) if root)
        found.append(("reference_roots", ROOTS_VARIABLE, roots))
    if text := env.get(PRIVATE_VARIABLE):
        if text.lower() not in _TRUTHS:
            raise ConfigurationError(f"{PRIVATE_VARIABLE} must be 1 or 0", next_step="Correct it, or unset it.")
        found.append(("allow_private_references", PRIVATE_VARIABLE, _TRUTHS[text.lower()]))
    return found


def _schemes(where: str, names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if not _SCHEME_NAME.fullmatch(name):
            raise ConfigurationError(
                f"{where}: {name!r} is not a scheme", next_step='Write it as in "s3", in small letters, without "://".'
            )
    return tuple(names)


def _read_file(path: Path) -> dict[str, _Value]:
    import tomllib  # 7 ms, and most commands read no file

    try:
        with path.open("rb") as source:
            data = source.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise ConfigurationError(f"{path} is longer than {_MAX_FILE_BYTES} bytes")
        document = tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"can't read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} is not a TOML file: {error}", next_step="Correct the file.") from error
    return {key: _parse_value(path, key, value) for key, value in document.items()}


def _parse_value(path: Path, key: str, value: object) -> _Value:
    if key not in _KEYS:
        raise _wrong(path, key, f"is not a setting; there are {', '.join(_KEYS)}")
    if key in _REFERENCE_KEYS:
        return _parse_reference_setting(path, key, value)
    if key in _FOLDER_KEYS and path.name == PROJECT_FILE:
        raise _not_for_projects(path, key)
    if key in ("store", "state_dir", "cache_dir"):
        if not isinstance(value, str) or not value:
            raise _wrong(path, key, "must be text")
        if key == "store" and _USERINFO.search(value):
            raise _wrong(path, key, "holds a user or password; give credentials by the environment instead")
        return absolute_url(value, path.parent)
    if choices := {"compression": COMPRESSIONS, "cache_sharing": CACHE_SHARINGS}.get(key):
        if value not in choices:
            raise _wrong(path, key, f"must be one of {', '.join(choices)}")
        return str(value)
    if key == "cache_size" and value in ("0", 0) and not isinstance(value, bool):
        return 0
    return _parse_number(path, key, value)


def _parse_reference_setting(path: Path, key: str, value: object) -> _Value:
    of_project = path.name == PROJECT_FILE
    if of_project and key != "reference_roots":
        raise _not_for_projects(path, key)
    if key == "allow_private_references":
        if not isinstance(value, bool):
            raise _wrong(path, key, "must be true or false")
        return value
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise _wrong(path, key, "must be a list of texts")
    if key == "reference_schemes":
        return _schemes(f"{path}: `{key}`", value)
    roots = tuple(os.path.abspath(path.parent / os.path.expanduser(root)) for root in value)
    home = os.path.realpath(path.parent)
    for root in roots if of_project else ():
        if os.path.commonpath([os.path.realpath(root), home]) != home:
            raise _wrong(path, key, f"names {root}, and a project's roots lie inside its own directory")
    return roots


def _parse_number(path: Path, key: str, value: object) -> int:
    if isinstance(value, str) and key != "jobs":
        try:
            value = parse_size(value)
        except ValueError as error:
            raise _wrong(path, key, str(error)) from error
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(path, key, "must be a whole number" if key == "jobs" else 'must be a size, such as "10M"')
    lowest, highest = {"jobs": (1, 256), "max_memory": (MIN_MEMORY_BYTES, 1 << 50)}.get(key, (1, 1 << 50))
    if not lowest <= value <= highest:
        limits = f"from {lowest} to {highest}" if key == "jobs" else "64M or more" if value < lowest else "less"
        raise _wrong(path, key, f"must be {limits}")
    return value


def _number(value: _Value | None) -> int | None:
    return int(value) if isinstance(value, int | str) else None


def _texts(value: _Value) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()


def _not_for_projects(path: Path, key: str) -> ConfigurationError:
    return _wrong(path, key, f"can't be set by a project: set it in {user_file_path()} or by the environment")


def _wrong(path: Path, key: str, problem: str) -> ConfigurationError:
    return ConfigurationError(f"{path}: `{key}` {problem}", next_step="Correct the file.")
