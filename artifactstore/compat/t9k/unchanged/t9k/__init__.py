"""What ``import t9k`` finds when `python -m artifactstore.compat.t9k` runs a script."""

import sys

from artifactstore.compat.t9k import install

# This module gives way to the one that `install` puts in its place, which the import statement then returns.
sys.modules.pop(__name__, None)
install()
