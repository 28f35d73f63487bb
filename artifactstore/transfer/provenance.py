"""Who uploads, from where, and from which git commit: the hints that a version's record carries.

Nothing here runs a program, asks a network, or fails: what can't be found out is empty.
The commit is read from git's own files, so it costs a few small reads and needs no git.
"""

import os
import pwd
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from artifactstore.schedulers import environment_job
from artifactstore.transaction.records import Author, GitState

_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_SMALL_FILE_BYTES: Final = 4096
_PACKED_REFS_BYTES: Final = 64 << 20
_MAX_TEXT: Final = 128
_open_job: Final[list[Callable[[], str]]] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Hints about an upload. They prove nothing: anyone can write anything there.

    Attributes:
        who: The user's login name, or the number where it has none.
        host: This machine's name.
        git: The commit and branch checked out around the source, or None. The tree may have changed since.
    """

    who: str
    host: str
    git: GitState | None


def provenance(source: str | os.PathLike[str]) -> Provenance:
    """What is known about an upload of ``source``. Never raises; unknown parts are empty."""
    here = author()
    return Provenance(who=here.who, host=here.host, git=git_state(source))


def author() -> Author:
    """The user and the machine, for the records of aliases and deletions."""
    return Author(who=_who(), host=_plain(os.uname().nodename))


def job_id() -> str:
    """The job that this code works for: the one that is open, else what the environment says; empty where there is
    none."""
    return next(filter(None, (find() for find in _open_job)), "") or environment_job(os.environ)


def find_job_by(find: Callable[[], str]) -> None:
    """Ask ``find`` from now on which job is open. It answers with an empty text where none is."""
    _open_job[:] = [find]


def git_state(directory: str | os.PathLike[str]) -> GitState | None:
    """What is checked out around ``directory``: the commit, and the branch where there is one.

    Follows ``.git`` files (work trees, submodules), loose and packed references. Remotes are left
    alone: their URLs may hold passwords.

    Returns:
        None outside a work tree, before the first commit, and where git's files are not readable or
        of a kind not known here (reftable).
    """
    try:
        git_directory = _git_directory(Path(os.path.abspath(directory)))
        if git_directory is None:
            return None
        head = _read(git_directory / "HEAD")
        reference = head.removeprefix("ref: ") if head.startswith("ref: ") else ""
        commit = _resolve(git_directory, reference) if reference else _as_commit(head)
    except (OSError, ValueError):
        return None
    return GitState(commit=commit, branch=_plain(reference.removeprefix("refs/heads/"))) if commit else None


def _who() -> str:
    # Not getpass: it believes $LOGNAME first, which sudo and containers leave wrong.
    number = os.geteuid()
    try:
        return _plain(pwd.getpwuid(number).pw_name)
    except KeyError:
        return str(number)


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:_MAX_TEXT])


def _git_directory(start: Path) -> Path | None:
    for directory in (start, *start.parents):
        candidate = directory / ".git"
        if (candidate / "HEAD").is_file():
            return candidate
        if candidate.is_file():
            pointer = _read(candidate)
            return directory / pointer.removeprefix("gitdir: ") if pointer.startswith("gitdir: ") else None
    return None


def _resolve(git_directory: Path, reference: str) -> str:
    if ".." in reference or not reference.startswith("refs/"):
        return ""
    # A linked work tree has a HEAD of its own; branches live in the common directory.
    common = git_directory
    if (git_directory / "commondir").is_file():
        common = git_directory / _read(git_directory / "commondir")
    for place in (git_directory, common):
        if (place / reference).is_file():
            return _as_commit(_read(place / reference))
    return _packed(common / "packed-refs", reference)


def _packed(path: Path, reference: str) -> str:
    if not path.is_file() or path.stat().st_size > _PACKED_REFS_BYTES:
        return ""
    wanted = reference.encode()
    with path.open("rb") as lines:
        for line in lines:
            commit, _, name = line.rstrip(b"\n").partition(b" ")
            if name == wanted:
                return _as_commit(commit.decode("ascii"))
    return ""


def _as_commit(text: str) -> str:
    return text if _COMMIT.fullmatch(text) else ""


def _read(path: Path) -> str:
    with path.open("rb") as source:
        return source.read(_SMALL_FILE_BYTES).decode("utf-8").strip()
