"""Run a script that says ``from t9k import em``, as it is.

    python -m artifactstore.compat.t9k [--store URL] SCRIPT [ARGUMENT ...]
    python -m artifactstore.compat.t9k [--store URL] -m MODULE [ARGUMENT ...]

The interpreter is started anew in this very process, with a `t9k` on its path; processes that
the script starts find it, too.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from artifactstore.compat.t9k import unchanged
from artifactstore.compat.t9k.session import HOST_VARIABLE
from artifactstore.config import URL_VARIABLE

_USAGE: Final = """\
usage: python -m artifactstore.compat.t9k [--store URL] SCRIPT [ARGUMENT ...]

Run a script written for t9k, unchanged. What follows --store goes to python as it is: -m MODULE and -c CODE work.

  --store URL   log in to this store, whatever web address the script names
  --help        show this
"""
_MISUSE: Final = 2


def main(arguments: Sequence[str]) -> int:
    """Become the script; the exit code of this program where there is none to become."""
    rest = list(arguments)
    environment = dict(os.environ)
    if rest[:1] == ["--store"] or (rest[:1] and rest[0].startswith("--store=")):
        option = rest.pop(0)
        url = option.partition("=")[2] if "=" in option else (rest.pop(0) if rest else "")
        if not url:
            return _misuse("--store needs a URL")
        environment |= {URL_VARIABLE: url, HOST_VARIABLE: url}
    if rest[:1] in (["--help"], ["-h"]):
        sys.stdout.write(_USAGE)
        return 0
    if not rest:
        return _misuse("which script?")
    paths = [os.path.dirname(unchanged.__file__), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    sys.stdout.flush()
    sys.stderr.flush()
    return _become([sys.executable, *rest], environment)


def _become(command: list[str], environment: dict[str, str]) -> NoReturn:
    os.execve(command[0], command, environment)  # noqa: S606 - the user's own script, by the user's own command


def _misuse(problem: str) -> int:
    sys.stderr.write(f"{problem}\n\n{_USAGE}")
    return _MISUSE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
