"""What ``import artifactstore`` offers: everything named, nothing loaded before it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import artifactstore


def test_every_public_name_resolves() -> None:
    for name in artifactstore.__all__:
        assert getattr(artifactstore, name) is not None


def test_names_know_where_they_come_from() -> None:
    assert artifactstore.ArtifactStoreError.__module__ == "artifactstore.errors"


def test_other_names_are_attribute_errors() -> None:
    assert not hasattr(artifactstore, "no_such_name")


def test_dir_lists_exactly_the_public_names() -> None:
    assert dir(artifactstore) == sorted(artifactstore.__all__)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(artifactstore.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == artifactstore._MODULES


def test_importing_the_package_loads_nothing_else() -> None:
    script = "import sys, artifactstore; print(*[m for m in sys.modules if m.startswith('artifactstore')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"artifactstore", "artifactstore._version"}


def test_every_error_of_the_tree_is_public() -> None:
    from artifactstore import errors

    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert kinds <= set(artifactstore.__all__)
