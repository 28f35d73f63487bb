"""Run a script that says ``import foundations``, as it is (`compat.running`).

    python -m artifactstore.compat.foundations [--store URL] SCRIPT [ARGUMENT ...]
    python -m artifactstore.compat.foundations [--store URL] -m MODULE [ARGUMENT ...]
"""

import os
import sys
from typing import Final

from artifactstore.compat.foundations import unchanged
from artifactstore.compat.running import StandIn
from artifactstore.config import URL_VARIABLE

_USAGE: Final = """\
usage: python -m artifactstore.compat.foundations [--store URL] SCRIPT [ARGUMENT ...]

Run a script written for Foundations, unchanged. What follows --store goes to python as it is: -m MODULE and -c CODE
work.

  --store URL   where its directories and files go; otherwise as the settings say
  --help        show this
"""
FOUNDATIONS: Final = StandIn(
    folder=os.path.dirname(unchanged.__file__), store_variables=(URL_VARIABLE,), usage=_USAGE
)

if __name__ == "__main__":
    sys.exit(FOUNDATIONS.run(sys.argv[1:]))
