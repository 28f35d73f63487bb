"""Runs a script that imports another tool, as it is: with what stands for that tool on its path.

The interpreter is started anew in this very process, so arguments, exit codes and signals are the
script's own; processes that it starts find the stand-in, too.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

_MISUSE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """What stands for another tool.

    Attributes:
        folder: Where ``import`` finds it.
        store_variables: What ``--store URL`` sets.
        usage: Printed for ``--help``, and below a misuse.
    """

    folder: str
    store_variables: Sequence[str]
    usage: str

    def run(self, arguments: Sequence[str]) -> int:
        """Become the script; the exit code of this program where there is none to become.

        Args:
            arguments: ``[--store URL] SCRIPT [ARGUMENT ...]``; what follows the store goes to python as it is.
        """
        rest = list(arguments)
        environment = dict(os.environ)
        if rest[:1] == ["--store"] or (rest[:1] and rest[0].startswith("--store=")):
            option = rest.pop(0)
            url = option.partition("=")[2] if "=" in option else (rest.pop(0) if rest else "")
            if not url:
                return self._misuse("--store needs a URL")
            environment |= dict.fromkeys(self.store_variables, url)
        if rest[:1] in (["--help"], ["-h"]):
            sys.stdout.write(self.usage)
            return 0
        if not rest:
            return self._misuse("which script?")
        paths = [self.folder, environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        sys.stdout.flush()
        sys.stderr.flush()
        return _become([sys.executable, *rest], environment)

    def _misuse(self, problem: str) -> int:
        sys.stderr.write(f"{problem}\n\n{self.usage}")
        return _MISUSE


def _become(command: list[str], environment: dict[str, str]) -> NoReturn:
    os.execve(command[0], command, environment)  # noqa: S606 - the user's own script, by the user's own command
