"""Run a script that says ``from t9k import em``, as it is (`compat.running`).

    python -m artifactstore.compat.t9k [--store URL] SCRIPT [ARGUMENT ...]
    python -m artifactstore.compat.t9k [--store URL] -m MODULE [ARGUMENT ...]
"""

import os
import sys
from typing import Final

from artifactstore.compat.running import StandIn
from artifactstore.compat.t9k import unchanged
from artifactstore.compat.t9k.session import HOST_VARIABLE
from artifactstore.config import URL_VARIABLE

_USAGE: Final = """\
usage: python -m artifactstore.compat.t9k [--store URL] SCRIPT [ARGUMENT ...]

Run a script written for t9k, unchanged. What follows --store goes to python as it is: -m MODULE and -c CODE work.

  --store URL   log in to this store, whatever web address the script names
  --help        show this
"""
T9K: Final = StandIn(
    folder=os.path.dirname(unchanged.__file__), store_variables=(URL_VARIABLE, HOST_VARIABLE), usage=_USAGE
)

if __name__ == "__main__":
    sys.exit(T9K.run(sys.argv[1:]))
