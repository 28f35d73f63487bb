"""Scripts written for Foundations, run on a store: their syncable directories, TensorBoard logs and saved files.

    from artifactstore.compat import foundations           instead of: import foundations
    python -m artifactstore.compat.foundations SCRIPT …    for a script that stays as it is

`install` is for what runs already, such as a notebook: from then on `import foundations` works.
"""

import sys
from typing import NoReturn

from artifactstore.compat.foundations import artifacts as artifacts
from artifactstore.compat.foundations.artifacts import SyncableDirectory as SyncableDirectory
from artifactstore.compat.foundations.artifacts import create_syncable_directory as create_syncable_directory
from artifactstore.compat.foundations.artifacts import save_artifact as save_artifact
from artifactstore.compat.foundations.artifacts import set_tensorboard_logdir as set_tensorboard_logdir

__all__ = [
    "SyncableDirectory",
    "artifacts",
    "create_syncable_directory",
    "install",
    "save_artifact",
    "set_tensorboard_logdir",
]

_NAME = "foundations"
_NOT_OFFERED = frozenset(
    ["log_param", "log_params", "log_metric", "set_tag", "submit", "get_metrics_for_all_jobs", "load_parameters"]
)


def install() -> None:
    """Make ``foundations`` importable in this process. Twice is fine.

    Raises:
        ImportError: Another `foundations` is loaded already.
    """
    here = sys.modules[__name__]
    if sys.modules.get(_NAME, here) is not here:
        raise ImportError("another foundations is loaded already: call install() before anything imports it")
    sys.modules[_NAME] = here
    sys.modules[f"{_NAME}.artifacts"] = artifacts


def __getattr__(name: str) -> NoReturn:
    if name in _NOT_OFFERED:
        raise AttributeError(
            f"artifactstore.compat.foundations has the syncable directories and saved files of foundations, "
            f"and not its {name}"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
