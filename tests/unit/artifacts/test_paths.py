"""Object paths: where something goes, by the rules that the table in the module shows."""

import pytest

from artifactstore.artifacts.paths import check_object_path, directory_path, object_path
from artifactstore.errors import InvalidPath


@pytest.mark.parametrize(
    ("source", "obj_path", "expected"),
    [
        ("1.png", None, b"1.png"),
        ("1.png", "", b"1.png"),
        ("1.png", "1.png", b"1.png"),
        ("1.png", "a/", b"a/1.png"),
        ("1.png", "a/1.png", b"a/1.png"),
        ("1.png", "a", b"a"),
        ("1.png", "/a", b"a"),
        ("1.png", "/", b"1.png"),
        ("x/y/1.png", None, b"1.png"),
        ("/x/1.png", "a/b/", b"a/b/1.png"),
    ],
)
def test_files(source: str, obj_path: str | None, expected: bytes) -> None:
    assert object_path(source, obj_path) == expected


@pytest.mark.parametrize(
    ("source", "obj_path", "expected"),
    [
        ("a/", None, b"a"),
        ("a", None, b"a"),
        ("a/", "a", b"a"),
        ("a/", "b/", b"b/a"),
        ("a/", "b/a", b"b/a"),
        ("a", "b", b"b"),
        ("x/a/", "b/", b"b/a"),
        ("a", "/b/", b"b/a"),
        ("a", ".", b""),
        ("a", "./", b""),
    ],
)
def test_directories(source: str, obj_path: str | None, expected: bytes) -> None:
    assert directory_path(source, obj_path) == expected


def test_a_directory_called_dot_has_the_name_that_it_really_has(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "real").mkdir()
    monkeypatch.chdir(tmp_path / "real")
    assert directory_path(".", None) == b"real"
    assert directory_path("..", "x/") == b"x/" + tmp_path.name.encode()


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "a/./b", "a//b", "/", "", "a\0b", "..", ".artifactstore-tmp-1/x"]
)
def test_paths_that_no_version_can_hold_are_refused(path: str) -> None:
    with pytest.raises(InvalidPath):
        check_object_path(path)


@pytest.mark.parametrize("obj_path", ["../x", "a/../../x", "../", "b/.."])
def test_an_object_path_that_leaves_the_artifact_says_so(obj_path: str) -> None:
    with pytest.raises(InvalidPath, match="leave the artifact"):
        object_path("1.png", obj_path)
