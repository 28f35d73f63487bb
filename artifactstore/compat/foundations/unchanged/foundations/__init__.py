"""What ``import foundations`` finds when `python -m artifactstore.compat.foundations` runs a script."""

import sys

from artifactstore.compat.foundations import install

# This module gives way to the one that `install` puts in its place, which the import statement then returns.
sys.modules.pop(__name__, None)
install()
