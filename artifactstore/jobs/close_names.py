"""What to say where a name is not there: which ones are. Pure."""

import difflib
from collections.abc import Sequence
from typing import Final

_FEW: Final = 5


def did_you_mean(text: str, there: Sequence[str], *, what: str, plural: str) -> str:
    """A sentence: those of ``there`` that are close to ``text``, else some of them.

    Args:
        what, plural: What they are called: ``model``, ``models``.
    """
    if close := difflib.get_close_matches(text, there, n=3):
        return f"Did you mean the {what} {' or '.join(map(repr, close))}?"
    if not there:
        return f"There are no {plural} yet."
    more = f" and {len(there) - _FEW} more" if len(there) > _FEW else ""
    return f"The {plural} there are {', '.join(map(repr, there[:_FEW]))}{more}."
