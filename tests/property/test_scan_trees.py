"""Scans of random trees against `os.walk`, and ignore rules against git itself."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.manifest.paths import check_entries, path_sort_key
from artifactstore.transfer.scan import ScanOptions, scan

NAMES = st.one_of(
    st.sampled_from([b"a", b"b", b"a.b", b"a-b", b"a b", b"A", b"\xff", b"a\xff", b"\x01", b"-", b"~"]),
    st.binary(min_size=1, max_size=6).filter(lambda n: n not in (b".", b"..") and not set(n) & {0, 47}),
)
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=4).map(b"/".join),
    st.one_of(st.just("directory"), st.just("link"), st.binary(max_size=5)),
    max_size=12,
)


@contextmanager
def folder() -> Iterator[bytes]:
    root = tempfile.mkdtemp()
    try:
        yield os.fsencode(root)
    finally:
        shutil.rmtree(root)


def build(root: bytes, tree: dict[bytes, str | bytes]) -> None:
    """Make what can be made: a path below a file is left out."""
    for path, what in tree.items():
        full = root + b"/" + path
        try:
            os.makedirs(full if what == "directory" else os.path.dirname(full), exist_ok=True)
            if what == "link":
                os.symlink(b"..", full)
            elif isinstance(what, bytes):
                with open(full, "xb") as stream:
                    stream.write(what)
        except OSError:
            continue


def walked(root: bytes) -> dict[bytes, tuple[EntryKind, int]]:
    """The same by the standard library: path → kind, size."""
    expected = {}
    for directory, names, files in os.walk(root):
        for name in names + files:
            full = os.path.join(directory, name)
            path = os.path.relpath(full, root)
            if os.path.islink(full):
                expected[path] = (EntryKind.LINK, 0)
            elif os.path.isfile(full):
                expected[path] = (EntryKind.FILE, os.path.getsize(full))
            elif not os.listdir(full):
                expected[path] = (EntryKind.DIRECTORY, 0)
    return expected


@settings(max_examples=150, deadline=None)
@given(tree=TREES)
@example(tree={b"a/b": b"", b"a.b": b"", b"a-b/c": b"", b"a": "directory", b"ab": b""})
def test_a_scan_finds_what_is_there_in_the_order_of_manifests(tree: dict[bytes, str | bytes]) -> None:
    with folder() as root:
        build(root, tree)
        found = scan([root]).found
        assert {f.path: (f.kind, f.size) for f in found} == walked(root)
        assert [f.path for f in found] == sorted((f.path for f in found), key=path_sort_key)
        check_entries(
            Entry(f.path, f.kind, f.size, f.executable, b"d" * 32, b"x" * 16)
            if f.kind == EntryKind.FILE
            else Entry(f.path, f.kind, target=f.target)
            for f in found
        )


@settings(max_examples=60, deadline=None)
@given(tree=TREES)
def test_an_excluded_nothing_changes_nothing(tree: dict[bytes, str | bytes]) -> None:
    """The careful path through the rules finds what the fast one finds."""
    with folder() as root:
        build(root, tree)
        careful = scan([root], options=ScanOptions(exclude=("no-such-name-anywhere",)))
        assert careful.found == scan([root]).found


PIECES = st.one_of(
    st.sampled_from(["a", "b", "ab", "*", "**", "?", "a*", "*b", "[ab]", "[!a]", "a?", "\\a"]),
    st.text("ab*?[]!^-\\: #", min_size=1, max_size=4),
    st.sampled_from(["***", "a**", "**a", "[[:alpha:]]", "[[:nope:]]", "[a-]", "[]-a]", "[^b]", "\\", "a\\ ", "a "]),
)
PATTERNS = st.builds(
    lambda negated, anchored, pieces, directory: negated + anchored + "/".join(pieces) + directory,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(PIECES, min_size=1, max_size=3),
    st.sampled_from(["", "", "/"]),
)
SIMPLE_TREES = st.lists(
    st.lists(st.sampled_from(["a", "b", "ab", "ba", "c"]), min_size=1, max_size=4).map("/".join), max_size=10
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only so that git runs at all; the trees are elsewhere."""
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", "--bare", str(folder)], check=True, capture_output=True)
    return folder


def taken_by_git(root: Path, repository: Path) -> set[str]:
    """Files that git would add: not ignored, and tracked nowhere."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(root), "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-C", str(root), f"--git-dir={repository}", f"--work-tree={root}"]
    command += ["ls-files", "--others", "--exclude-per-directory=.artifactignore", "-z"]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    return {os.fsdecode(path) for path in done.stdout.split(b"\0") if path}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(paths=SIMPLE_TREES, rules=st.lists(PATTERNS, max_size=4), below=st.lists(PATTERNS, max_size=2))
@example(paths=["a/b", "a/c", "c"], rules=["*", "!*/", "!c"], below=[])
@example(paths=["a/b/c", "b"], rules=["a/**/c", "**/b/"], below=["!c"])
def test_ignore_files_leave_out_what_git_would(
    repository: Path, paths: list[str], rules: list[str], below: list[str]
) -> None:
    with folder() as name:
        root = Path(os.fsdecode(name))
        build(name, {path.encode(): b"" for path in paths})
        (root / ".artifactignore").write_text("\n".join(rules))
        if (root / "a").is_dir():
            (root / "a/.artifactignore").write_text("\n".join(below))
        found = scan([root]).found
        taken = {os.fsdecode(f.path) for f in found if f.kind == EntryKind.FILE}
        assert taken == taken_by_git(root, repository)
