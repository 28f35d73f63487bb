"""The folder of a store that a project is: its text, if that is of the grammar of folders. Pure."""

from typing import Final

from artifactstore.errors import InvalidName
from artifactstore.names import MAX_FOLDER_DEPTH, check_folder

_FOLDERS_BELOW: Final = 2  # `models/<name>`


def project_folder(project: str) -> str:
    """``project`` if its shared artifacts and releases can have names: ``vision``, ``team/vision``.

    Names of a store are typed, and shown in paths: a project of other characters is refused, not spelled otherwise.

    Raises:
        InvalidName: It can't; the message says what to do.
    """
    if not isinstance(project, str):
        raise TypeError(f"a project is text, not {type(project).__name__}")
    reason = ""
    try:
        check_folder(project)
    except InvalidName:
        reason = "it is letters, digits, `.`, `_` and `-`, starting with no `.` or `-`, and `/` between folders"
    if not project:
        reason = "it is empty"
    elif project.count("/") + 1 > MAX_FOLDER_DEPTH - _FOLDERS_BELOW:
        reason = f"it is more than {MAX_FOLDER_DEPTH - _FOLDERS_BELOW} folders deep"
    if reason:
        raise InvalidName(
            f"project {project[:200]!r} can't be a folder of a store: {reason}. Name another one: "
            f"artifactstore.project(...), job(project=...) or ARTIFACTSTORE_PROJECT."
        )
    return project
