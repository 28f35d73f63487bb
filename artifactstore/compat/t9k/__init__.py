"""Scripts written for the Artifacts of t9k, run on a store.

    from artifactstore.compat.t9k import em          instead of: from t9k import em
    python -m artifactstore.compat.t9k SCRIPT …      for a script that stays as it is

`install` is for what runs already, such as a notebook: from then on `from t9k import em` works.
"""

import sys
import types

from artifactstore.compat.t9k import em as em
from artifactstore.compat.t9k.config import CONFIG as CONFIG

__all__ = ["CONFIG", "em", "install"]

_PRETENDED_VERSION = "0.6.0b0"


def install() -> None:
    """Make ``t9k`` importable in this process: `t9k.em`, `t9k.em.artifact` and `t9k.CONFIG`. Twice is fine.

    Raises:
        ImportError: Another `t9k` is loaded already.
    """
    loaded = sys.modules.get("t9k")
    if loaded is not None:
        if getattr(loaded, "em", None) is em:
            return
        raise ImportError("another t9k is loaded already: call install() before anything imports it")
    facade = types.ModuleType("t9k", "The Artifacts of t9k, on an artifactstore.")
    facade.__dict__.update(em=em, CONFIG=CONFIG, __all__=["CONFIG", "em"], __version__=_PRETENDED_VERSION, __path__=[])
    sys.modules["t9k"] = facade
    sys.modules["t9k.em"] = em
    sys.modules["t9k.em.artifact"] = em.artifact
