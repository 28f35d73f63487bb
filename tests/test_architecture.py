"""Rules of the code base that a reader must be able to rely on, checked on its syntax trees.

Which layer may import which is checked by import-linter (`.importlinter`); this file checks
what import-linter can't see.
"""

import ast
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "artifactstore"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Time, chance and fresh ids have one source (clock.py), so that tests can stop, move and repeat them.
CHANCE_MODULES = {"random", "uuid", "secrets"}
TIME_CONVERSIONS = {"strftime", "gmtime", "struct_time"}  # of a time that was given
CHANCE_CALLS = {"os.urandom", "os.getrandom", "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.now"}
CHANCE_ALLOWED = ("clock.py", "testing/")
# Nothing that is stored is ever run (S2).
CODE_RUNNERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy", "code"}
# PyYAML can run what it reads. The files of another tool are read through its parser alone, in one module.
YAML_MODULE = "compat/t9k/documents.py"
YAML_SAFE = {"parse", "safe_dump", "SafeLoader", "CSafeLoader", "YAMLError"}
CODE_CALLS = {"eval", "exec", "compile", "__import__"}
FILE_CALLS = {"open", "io.open", "os.open", "os.fdopen", "codecs.open"}
FILE_ALLOWED = (
    *("artifacts/", "backend/", "chunk_cache/", "transfer/", "dedup/", "config.py", "cli/", "testing/"),
    "compat/t9k/copying.py",  # its own local layout
    "compat/t9k/local.py",
    "jobs/tensorboard_folder.py",  # what came to an event file is appended to it
)
# They answer "not there" and "empty" for what they could not read (fault 100).
FSSPEC_USERS = ("backend/fsspec.py", "artifacts/fsspec_origin.py", "artifacts/http_origin.py")
SWALLOWING = {"exists", "find", "walk", "isfile", "isdir", "glob", "lexists", "du", "expand_path"}
FSSPEC_SHOWN = ("filesystem/system.py", "filesystem/file.py")
LAZY_TABLES = ("backend/table.py", "cli/lazy.py", "cli/main.py", "__init__.py")
VAGUE_NAMES = {"utils", "util", "helpers", "common", "misc", "shared", "tools"}
MAX_LINES = 600


def name_of(path: pathlib.Path) -> str:
    return str(path.relative_to(PACKAGE))


def nodes(path: pathlib.Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(), str(path)))


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def called(node: ast.AST) -> str:
    """`os.urandom` of `os.urandom(16)`; empty for what is no call of a name."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def asks_for_time(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "time":
        return node.attr not in TIME_CONVERSIONS
    return isinstance(node, ast.ImportFrom) and node.module == "time"


def lines(path: pathlib.Path, hits: list[ast.AST]) -> list[str]:
    return [f"{name_of(path)}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)[:80]}" for node in hits]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_time_and_chance_come_from_the_clock_alone(path: pathlib.Path) -> None:
    if name_of(path).startswith(CHANCE_ALLOWED):
        return
    hits = [
        node
        for node in nodes(path)
        if CHANCE_MODULES & {name.partition(".")[0] for name in imported(node)}
        or called(node) in CHANCE_CALLS
        or asks_for_time(node)
        or "os.urandom" in imported(node)
    ]
    assert lines(path, hits) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_stored_data_is_never_run(path: pathlib.Path) -> None:
    hits = [
        node
        for node in nodes(path)
        if CODE_RUNNERS & {name.partition(".")[0] for name in imported(node)} or called(node) in CODE_CALLS
    ]
    assert lines(path, hits) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_yaml_is_read_in_one_module_and_by_what_builds_nothing(path: pathlib.Path) -> None:
    hits = [node for node in nodes(path) if any(name.partition(".")[0] == "yaml" for name in imported(node))]
    if name_of(path) != YAML_MODULE:
        assert lines(path, hits) == []
        return
    assert [ast.unparse(node) for node in hits] == ["import yaml"]
    used = {
        node.attr
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "yaml"
    }
    assert {name for name in used if not name.endswith("Event")} <= YAML_SAFE
    by_name = [node.args[1] for node in nodes(path) if called(node) == "getattr" and isinstance(node, ast.Call)]
    assert all(isinstance(arg, ast.Constant) for arg in by_name)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_layers_that_do_io_open_files(path: pathlib.Path) -> None:
    if name_of(path).startswith(FILE_ALLOWED):
        return
    hits = [node for node in nodes(path) if called(node) in FILE_CALLS or called(node).endswith(".open_file")]
    assert lines(path, hits) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_fsspec_is_used_where_storage_is_opened_and_never_by_methods_that_swallow_errors(path: pathlib.Path) -> None:
    is_backend = name_of(path) in FSSPEC_USERS
    imports = [node for node in nodes(path) if any(name.split(".")[0] in ("fsspec", "s3fs") for name in imported(node))]
    if name_of(path) in FSSPEC_SHOWN:
        return  # one of them itself, with its own `exists` and `find`: they swallow nothing
    if not is_backend:
        assert lines(path, imports) == []
        return
    calls = [
        node
        for node in nodes(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SWALLOWING
    ]
    assert lines(path, calls) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_own_modules_are_imported_at_the_top(path: pathlib.Path) -> None:
    """One imported inside a function means that a layer is upside down; lazy tables are made for it."""
    if name_of(path) in LAZY_TABLES:
        return
    tree = ast.parse(path.read_text())
    inside = {
        inner
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(function)
        if any(name.partition(".")[0] == "artifactstore" for name in imported(inner))
    }
    assert lines(path, sorted(inside, key=lambda node: getattr(node, "lineno", 0))) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_are_absolute_and_whole(path: pathlib.Path) -> None:
    hits = [
        node
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom) and (node.level or any(alias.name == "*" for alias in node.names))
    ]
    assert lines(path, hits) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_are_of_a_size_to_be_read_and_named_after_what_they_hold(path: pathlib.Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES
    assert path.stem not in VAGUE_NAMES


def test_layers_stand_in_their_order() -> None:
    """The contracts of `.importlinter`."""
    program = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.parametrize(
    "code",
    [
        "import time\ntime.time()",
        "import time\nwait = time.sleep",
        "from time import monotonic",
        "import os\nos.urandom(3)",
        "from os import urandom",
        "import datetime\ndatetime.datetime.now()",
        "import uuid",
    ],
)
def test_the_rule_about_chance_sees_what_it_should(
    tmp_path: pathlib.Path, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    bad = tmp_path / "bad.py"
    bad.write_text(code)
    with pytest.raises(AssertionError):
        test_time_and_chance_come_from_the_clock_alone(bad)


@pytest.mark.parametrize("code", ["import pickle", "import runpy", "eval('1')", "exec('1')"])
def test_the_rule_about_running_data_sees_what_it_should(
    tmp_path: pathlib.Path, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    bad = tmp_path / "bad.py"
    bad.write_text(code)
    with pytest.raises(AssertionError):
        test_stored_data_is_never_run(bad)


@pytest.mark.parametrize(
    "place,code",
    [
        ("other.py", "import yaml"),
        ("other.py", "from yaml import safe_load"),
        (YAML_MODULE, "from yaml import load"),
        (YAML_MODULE, "import yaml\nyaml.load"),
        (YAML_MODULE, "import yaml\nyaml.safe_load"),
        (YAML_MODULE, "import yaml\nyaml.UnsafeLoader"),
    ],
)
def test_the_rule_about_yaml_sees_what_it_should(
    tmp_path: pathlib.Path, place: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    bad = tmp_path / place
    bad.parent.mkdir(parents=True, exist_ok=True)
    bad.write_text(code)
    with pytest.raises(AssertionError):
        test_yaml_is_read_in_one_module_and_by_what_builds_nothing(bad)


def test_no_two_test_modules_have_one_name() -> None:
    """pytest imports them by name: the second would be taken for the first."""
    names = [path.name for path in pathlib.Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
