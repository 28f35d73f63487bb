"""Push what patterns take of a directory over the newest version: the rest of that stays as it is.

The rest is carried from the newest version that is seen before the push. Where another one commits in
between, the push is built upon that and made again: no upload's part is lost to another's.
"""

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from artifactstore.errors import Conflict
from artifactstore.names import Name, Reference, Slot
from artifactstore.transaction.upload import Action, Strategy
from artifactstore.transaction.versions import Version, live_versions
from artifactstore.transfer.compose import Carried, Composition, Placed
from artifactstore.transfer.content import Composed, Content, Trees
from artifactstore.transfer.context import StoreContext
from artifactstore.transfer.progress import NULL_PROGRESS, Progress
from artifactstore.transfer.push import push
from artifactstore.transfer.push_options import PushOptions, PushResult
from artifactstore.transfer.selection import Selection

_TRIES: Final = 16


def push_over(
    context: StoreContext,
    trees: Trees,
    name: Name,
    *,
    options: PushOptions,
    left_out: Sequence[str] = (),
    progress: Progress = NULL_PROGRESS,
) -> PushResult:
    """Make a version of ``name`` out of what the patterns of ``options`` take of a directory, over its newest version.

    Args:
        trees: One directory. Its `base` counts while the name has no version.
        left_out: More patterns of what is not to be read here.

    Raises:
        ValueError: Several sources, or a strategy that makes no next version of the name.
        Conflict: Others commit there all the time. What was asked for is in a version, without what they did last.
        PathExists: What is taken here lies where the rest has something else.
        As `push.push`.
    """
    if options.strategy is not Strategy.VERSION:
        raise ValueError(f"strategy {options.strategy.value} does not go with what stays of the newest version")
    if len(trees.sources) != 1:
        raise ValueError("one directory goes over the newest version, not several")
    directory = os.path.abspath(os.fsencode(trees.sources[0]))
    selection = Selection(include=options.include, exclude=options.exclude)
    below, own = _newest(context, name), set[int]()
    options = replace(options, exclude=(*options.exclude, *left_out))
    for _ in range(_TRIES):
        content: Content = trees
        if below is not None:
            content = Composed(Composition(placed=(Placed(source=directory),), carried=(_rest(below, selection),)))
        done = push(context, content, name, options=options, progress=progress)
        if done.action != Action.COMMITTED.value or done.slot is None:
            return done
        own.add(done.slot)
        before = _newest(context, name, below=done.slot, but=own)
        if before is None or (below is not None and before.slot <= below.slot):
            return done
        below = before
    raise _overtaken(name)


def _rest(version: Version, selection: Selection) -> Carried:
    return Carried(reference=Reference(name=version.name, version=Slot(version.slot)), unless=selection)


def _newest(
    context: StoreContext, name: Name, *, below: int | None = None, but: Collection[int] = ()
) -> Version | None:
    versions = (version for version in live_versions(context.backend, name) if version.slot not in but)
    return next((version for version in versions if below is None or version.slot < below), None)


def _overtaken(name: Name) -> Conflict:
    error = Conflict(f"others commit versions of {name} faster than this could be built upon them")
    error.data_safe = "All of them are there; the newest one may lack what others uploaded right before it."
    error.next_step = "Run the same upload again."
    return error
