"""Which notebook this code runs in, by what Jupyter and VS Code say. No server is asked, and nothing is run."""

import os
import sys
from collections.abc import Mapping
from typing import Final

from artifactstore.errors import SourceNotFound

JUPYTER_VARIABLE: Final = "JPY_SESSION_NAME"
VSCODE_NAME: Final = "__vsc_ipynb_file__"
_SUFFIX: Final = ".ipynb"


def current_notebook(
    *, environment: Mapping[str, str] | None = None, names: Mapping[str, object] | None = None
) -> str:
    """Absolute path of the notebook that this code runs in.

    VS Code leaves it among the notebook's names (``__vsc_ipynb_file__``), Jupyter servers since version 2 in the
    environment of the kernel (``JPY_SESSION_NAME``). A notebook that was renamed since is found no more.

    Args:
        names: The notebook's global names; by default those of `__main__`.

    Raises:
        SourceNotFound: This is no notebook, or its file is not where they say.
    """
    env = os.environ if environment is None else environment
    variables = vars(sys.modules["__main__"]) if names is None else names
    said = [text for text in (variables.get(VSCODE_NAME), env.get(JUPYTER_VARIABLE)) if isinstance(text, str) and text]
    for text in said:
        path = os.path.abspath(text)
        if path.endswith(_SUFFIX) and os.path.isfile(path):
            return path
    what = f"the notebook is not where it should be: {said[0]}" if said else "this code runs in no notebook known here"
    raise SourceNotFound(
        what,
        where=said[0] if said else "",
        next_step="Save the notebook, and name it: add_current_notebook('path/of/the/notebook.ipynb').",
    )
