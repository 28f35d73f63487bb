"""Hypothesis strategies for trees on disk, as `artifactstore.testing.stores` makes them.

trees   files of every awkward kind, links, empty directories, names of any bytes
edits   what people do to a tree between two pushes
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hypothesis import strategies as st

from artifactstore.testing.stores import Directory, File, HardLink, Link, Sparse, Thing, Tree, edit_tree, tree_at
from artifactstore.testing.strategies import seeded_bytes

_ODD_NAMES: Final = [
    *(b"a", b"b", b"a.b", b"a b", b"A", b".git", b"CON", b"a:b", b"x\\y", b"-rf", b"~", b" ", b"new\nline", b"tab\t"),
    *(b"\x1b[31m", b"trailing.", b"trailing ", b"...", b"\xff\xfe", "é".encode(), "é".encode(), b"n" * 255),
]
names = st.one_of(
    st.sampled_from(_ODD_NAMES),
    st.sampled_from([b"one", b"two", b"three"]),
    st.binary(min_size=1, max_size=8).filter(lambda n: n not in (b".", b"..") and not set(n) & {0, 47}),
)
paths = st.lists(names, min_size=1, max_size=3).map(b"/".join)

# From few seeds, so that content is repeated within files, between files and between trees.
_lengths = st.sampled_from([1, 100, 255, 256, 257, 700, 1024, 3000, 4096, 6000, 20_000])
_runs = st.one_of(
    st.builds(seeded_bytes, st.sampled_from("pqrs"), _lengths),
    st.builds(lambda text, length: (text * length)[:length], st.binary(min_size=1, max_size=5), _lengths),
    st.builds(bytes, _lengths),
)
contents = st.lists(_runs, max_size=4).map(b"".join)


@st.composite
def sparse_files(draw: st.DrawFn) -> Sparse:
    """Files with holes of whole blocks of a file system, and data of any length between them."""
    parts = []
    at = draw(st.sampled_from([0, 4096, 16_384, 5000]))
    for _ in range(draw(st.integers(0, 3))):
        data = draw(st.builds(seeded_bytes, st.sampled_from("pq"), st.sampled_from([1, 300, 4096])))
        parts.append((at, data))
        at += len(data) + draw(st.sampled_from([0, 1, 4096, 20_000, 70_000]))
    return Sparse(at, tuple(parts))


things: st.SearchStrategy[Thing | Sparse] = st.one_of(
    st.builds(File, contents, executable=st.booleans()),
    st.builds(File, contents, executable=st.booleans()),
    sparse_files(),
    st.builds(Link, st.sampled_from([b"a", b"../..", b"/etc/passwd", b"gone\xff", b"."])),
    st.just(Directory()),
)


@st.composite
def trees(draw: st.DrawFn, *, max_size: int = 12) -> Tree:
    """A tree that can be made: nothing lies below a file. Some files have a second name."""
    tree: dict[bytes, Thing | Sparse | HardLink] = {}
    for path, thing in draw(st.lists(st.tuples(paths, things), max_size=max_size)):
        _add(tree, path, thing)
    for path, number in draw(st.lists(st.tuples(paths, st.integers(0, 50)), max_size=2)):
        files = [p for p, thing in tree.items() if isinstance(thing, File | Sparse)]
        if files:
            _add(tree, path, HardLink(files[number % len(files)]))
    return tree


def _add(tree: dict[bytes, Thing | Sparse | HardLink], path: bytes, thing: Thing | Sparse | HardLink) -> None:
    parts = path.split(b"/")
    above = {b"/".join(parts[:count]) for count in range(1, len(parts) + 1)}
    if not above & tree.keys() and not any(other.startswith(path + b"/") for other in tree):
        tree[path] = thing


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one file or path, chosen by numbers: `apply_edit` makes it.

    Attributes:
        kind: `insert`, `delete`, `modify`, `replace`, `rename`, `chmod` or `touch`.
        which: Index of the path it happens to, modulo how many there are.
        at: Where in a file, modulo its length.
        content: What comes in.
        path: Where a new or renamed file goes.
    """

    kind: str
    which: int
    at: int
    content: bytes
    path: bytes


edits = st.builds(
    Edit,
    kind=st.sampled_from(["insert", "delete", "modify", "replace", "rename", "chmod", "touch"]),
    which=st.integers(0, 1000),
    at=st.integers(0, 100_000),
    content=contents,
    path=paths,
)


def apply_edit(place: Path, edit: Edit) -> None:
    """Make one change in a directory. What can't be made (a path below a file) is left out."""
    there = tree_at(place)
    path = sorted(there)[edit.which % len(there)] if there else b""
    thing = there.get(path)
    with suppress(OSError):
        if edit.kind == "delete" and there:
            edit_tree(place, {}, removed=[path])
        elif edit.kind == "rename" and there:
            new = os.path.join(os.fsencode(place), edit.path)
            os.makedirs(os.path.dirname(new), exist_ok=True)
            os.rename(os.path.join(os.fsencode(place), path), new)
        elif edit.kind == "chmod" and isinstance(thing, File):
            os.chmod(os.path.join(os.fsencode(place), path), 0o644 if thing.executable else 0o755)
        elif edit.kind == "touch" and isinstance(thing, File):
            edit_tree(place, {path: thing})
        elif edit.kind == "modify" and isinstance(thing, File) and thing.content:
            at = edit.at % len(thing.content)
            edit_tree(place, {path: File(thing.content[:at] + edit.content + thing.content[at + 1 :])})
        elif edit.kind == "replace" and isinstance(thing, File):
            edit_tree(place, {path: File(edit.content)})
        elif not os.path.lexists(os.path.join(os.fsencode(place), edit.path)):
            edit_tree(place, {edit.path: File(edit.content)})
