"""What `--include`, `--exclude` and `.artifactignore` leave out of a push (docs/ignore.md)."""

import os
import re
from pathlib import Path

import pytest

from artifactstore.errors import SourceError
from artifactstore.transfer.scan import ScanOptions, scan

GUIDE = Path(__file__).parents[3] / "docs" / "ignore.md"


def make(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return root


def taken(root: Path, *, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
    """Paths in the version, but for the ignore files themselves."""
    result = scan([root], options=ScanOptions(include=include, exclude=exclude))
    paths = [os.fsdecode(found.path) for found in result.found]
    return [path for path in paths if not path.endswith(".artifactignore")]


TREE = {"keep.txt": "", "run.log": "", "logs/a.log": "", "logs/b.txt": "", "src/x.py": "", "src/deep/y.py": ""}

CASES = [
    (["*.log"], ["keep.txt", "logs/b.txt", "src/deep/y.py", "src/x.py"]),
    (["/*.log"], ["keep.txt", "logs/a.log", "logs/b.txt", "src/deep/y.py", "src/x.py"]),
    (["logs/"], ["keep.txt", "run.log", "src/deep/y.py", "src/x.py"]),
    (["logs/*.log"], ["keep.txt", "logs/b.txt", "run.log", "src/deep/y.py", "src/x.py"]),
    (["*.log", "!run.log"], ["keep.txt", "logs/b.txt", "run.log", "src/deep/y.py", "src/x.py"]),
    (["logs/", "!logs/b.txt"], ["keep.txt", "run.log", "src/deep/y.py", "src/x.py"]),
    (["**/deep"], ["keep.txt", "logs/a.log", "logs/b.txt", "run.log", "src/x.py"]),
    (["*", "!*/", "!*.py"], ["logs", "src/deep/y.py", "src/x.py"]),
    (["# only a comment", "", "  "], sorted(TREE)),
]


@pytest.mark.parametrize(("lines", "expected"), CASES, ids=[" ".join(lines) for lines, _ in CASES])
def test_exclude_patterns_and_ignore_files_follow_the_same_rules(
    tmp_path: Path, lines: list[str], expected: list[str]
) -> None:
    make(tmp_path, TREE)
    assert taken(tmp_path, exclude=tuple(lines)) == expected
    (tmp_path / ".artifactignore").write_text("\n".join(lines))
    assert taken(tmp_path) == expected


def test_the_ignore_file_itself_is_part_of_the_version(tmp_path: Path) -> None:
    make(tmp_path, {".artifactignore": "*.log\n", "a.log": ""})
    assert [found.path for found in scan([tmp_path]).found] == [b".artifactignore"]


def test_an_ignore_file_further_down_beats_one_further_up(tmp_path: Path) -> None:
    make(tmp_path, {".artifactignore": "*.log\n", "a/.artifactignore": "!keep.log\n", "a/keep.log": "", "a/x.log": ""})
    assert taken(tmp_path) == ["a/keep.log"]


def test_patterns_with_a_slash_are_relative_to_their_own_file(tmp_path: Path) -> None:
    make(tmp_path, {"a/.artifactignore": "/b/c\n", "a/b/c": "", "b/c": "", "a/x/b/c": ""})
    assert taken(tmp_path) == ["a/b", "a/x/b/c", "b/c"]


def test_exclude_on_the_command_line_beats_every_ignore_file(tmp_path: Path) -> None:
    make(tmp_path, {"a/.artifactignore": "!x.log\n*.txt\n", "a/x.log": "", "a/y.txt": ""})
    assert taken(tmp_path, exclude=("*.log", "!y.txt")) == ["a/y.txt"]


def test_include_takes_only_what_matches_and_what_lies_below_it(tmp_path: Path) -> None:
    make(tmp_path, TREE)
    assert taken(tmp_path, include=("*.py",)) == ["src/deep/y.py", "src/x.py"]
    assert taken(tmp_path, include=("src/",)) == ["src/deep/y.py", "src/x.py"]
    assert taken(tmp_path, include=("/logs", "keep.*")) == ["keep.txt", "logs/a.log", "logs/b.txt"]


def test_include_narrows_and_never_brings_back(tmp_path: Path) -> None:
    make(tmp_path, {**TREE, ".artifactignore": "deep/\n"})
    assert taken(tmp_path, include=("*.py", "*.log"), exclude=("logs",)) == ["run.log", "src/x.py"]


def test_directories_with_nothing_included_are_not_stored_as_empty(tmp_path: Path) -> None:
    make(tmp_path, {"a/x.txt": "", "b/x.py": "", "empty/": "", "wanted/": ""})
    assert taken(tmp_path, include=("*.py", "wanted/")) == ["b/x.py", "wanted"]


def test_a_directory_emptied_by_exclusion_stays_as_an_empty_one(tmp_path: Path) -> None:
    make(tmp_path, {"logs/a.log": "", "x": ""})
    assert taken(tmp_path, exclude=("*.log",)) == ["logs", "x"]


def test_nothing_below_an_excluded_directory_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, {"skip/a/b": "", "x": ""})
    listed: list[int] = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda fd: listed.append(os.fstat(fd).st_ino) or listdir(fd))
    assert taken(tmp_path, exclude=("skip/",)) == ["x"]
    assert listed == [tmp_path.stat().st_ino]


def test_names_that_are_not_utf8_match_wildcards(tmp_path: Path) -> None:
    """Fault 57."""
    for name in (b"\xff.log", b"\xff.txt"):
        with open(os.fsencode(tmp_path) + b"/" + name, "wb"):
            pass
    found = scan([tmp_path], options=ScanOptions(exclude=("*.log",))).found
    assert [row.path for row in found] == [b"\xff.txt"]


def test_a_link_to_a_directory_is_not_a_directory(tmp_path: Path) -> None:
    make(tmp_path, {"real/x": ""})
    (tmp_path / "link").symlink_to("real")
    assert taken(tmp_path, exclude=("link/",)) == ["link", "real/x"]
    assert taken(tmp_path, exclude=("link",)) == ["real/x"]


def test_an_ignore_file_that_is_a_link_or_a_directory_holds_no_rules(tmp_path: Path) -> None:
    make(tmp_path, {"rules": "*\n", "a/x": "", "b/.artifactignore/y": "", "b/z": ""})
    (tmp_path / "a/.artifactignore").symlink_to("../rules")
    assert taken(tmp_path) == ["a/x", "b/.artifactignore/y", "b/z", "rules"]


def test_an_ignore_file_too_long_is_an_error_that_names_it(tmp_path: Path) -> None:
    make(tmp_path, {"a/.artifactignore": "#" * ((1 << 20) + 1)})
    with pytest.raises(SourceError, match=r"a/\.artifactignore is longer"):
        scan([tmp_path])


def test_several_sources_have_their_rules_from_the_root_of_the_version(tmp_path: Path) -> None:
    make(tmp_path, {"one/a.log": "", "one/b": "", "two/a.log": "", "x.log": ""})
    result = scan(
        [tmp_path / "one", tmp_path / "two", tmp_path / "x.log"], options=ScanOptions(exclude=("/one/a.log",))
    )
    assert [found.path for found in result.found] == [b"one/b", b"two/a.log", b"x.log"]


@pytest.mark.parametrize(
    ("pattern", "matched", "not_matched"),
    [
        ("[ab]x", ["ax", "bx"], ["cx", "x"]),
        ("[!ab]x", ["cx"], ["ax"]),
        ("[a-c]", ["b"], ["d"]),
        ("[]]", ["]"], ["["]),
        ("[[:digit:]]", ["7"], ["a"]),
        ("[z-a]", [], ["z", "a", "-"]),
        ("[a", [], ["[a", "a"]),
        ("[\\]]", ["]"], ["\\"]),
        ("a\\*", ["a*"], ["ab"]),
        ("tail\\ ", ["tail "], ["tail"]),
        ("tail  ", ["tail"], ["tail "]),
        ("back\\", [], ["back", "back\\"]),
        ("a**b", ["ab", "axb"], ["a"]),
        ("\\#x", ["#x"], ["x"]),
        ("(x)+", ["(x)+"], ["x"]),
    ],
)
def test_every_part_of_a_pattern_means_what_it_means_to_git(
    tmp_path: Path, pattern: str, matched: list[str], not_matched: list[str]
) -> None:
    make(tmp_path, dict.fromkeys(matched + not_matched, ""))
    assert taken(tmp_path, exclude=(pattern,)) == sorted(not_matched)


def test_line_ends_of_windows_and_a_byte_order_mark_mean_nothing(tmp_path: Path) -> None:
    make(tmp_path, {"a.log": "", "b.tmp": "", "c": ""})
    (tmp_path / ".artifactignore").write_bytes(b"\xef\xbb\xbf*.log\r\n*.tmp\r\n")
    assert taken(tmp_path) == ["c"]


# -- the guide ---------------------------------------------------------------------------------------


def examples() -> list[tuple[str, str, str]]:
    """(heading, rules, tree) of each example in the guide: two fenced blocks, `+` and `-` before each path."""
    pattern = re.compile(r"^### (.+?)\n.*?```gitignore\n(.*?)```\n.*?```text\n(.*?)```", re.S | re.M)
    return pattern.findall(GUIDE.read_text())


@pytest.mark.parametrize(("rules", "tree"), [e[1:] for e in examples()], ids=[e[0] for e in examples()])
def test_each_example_of_the_guide_is_true(tmp_path: Path, rules: str, tree: str) -> None:
    lines = [line.split(maxsplit=1) for line in tree.splitlines()]
    make(tmp_path, {path: "" for _, path in lines})
    options = {"include": (), "exclude": ()}
    for option in ("include", "exclude"):
        options[option] = tuple(re.findall(rf"--{option} '([^']*)'", rules))
    if not any(options.values()):
        (tmp_path / ".artifactignore").write_text(rules)
    expected = sorted(path for mark, path in lines if mark == "+")
    files = [path for path in taken(tmp_path, **options) if not (tmp_path / path).is_dir()]
    assert sorted(files) == expected


def test_the_guide_has_examples() -> None:
    assert len(examples()) >= 6
