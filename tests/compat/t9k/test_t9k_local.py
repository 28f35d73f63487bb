"""Artifacts on this machine: creating, adding, loading; every refusal leaves everything as it was."""

import errno
import fcntl
import hashlib
import os
import re
import stat
from pathlib import Path

import pytest
from compat.t9k.conftest import objects_at, things

from artifactstore import ArtifactStoreError
from artifactstore.compat.t9k import copying, em
from artifactstore.compat.t9k.em.artifact import Artifact

ALTERNATIVE = re.compile(r"demo_[0-9]{6}_[0-9]{6}_[a-z0-9]{6}")
NO_OBJECTS: dict[str, bytes] = {}


@pytest.fixture
def sources(work: Path) -> Path:
    """``1.png`` and the directory ``a`` beside the script."""
    (work / "1.png").write_bytes(b"png")
    (work / "a" / "sub" / "empty").mkdir(parents=True)
    (work / "a" / "f").write_bytes(b"eff")
    (work / "a" / "sub" / "g").write_bytes(b"gee")
    return work


# -- create ------------------------------------------------------------------------------------------


def test_a_new_artifact_has_a_directory_with_its_metadata_and_nothing_else() -> None:
    artifact = em.create_artifact(name="demo", labels=["a", "b"], description="text")
    assert ALTERNATIVE.fullmatch(artifact.alternative_name)
    assert artifact.local == f".em/artifacts/{artifact.alternative_name}"
    assert os.listdir(".em/artifacts") == [artifact.alternative_name]
    assert os.listdir(artifact.local) == ["metadata.yaml"]
    assert (artifact.name, artifact.labels, artifact.description) == ("demo", ["a", "b"], "text")
    assert artifact.remote == [] and list(artifact.objects) == []
    assert list(artifact.to_dict()) == [
        "kind",
        "name",
        "labels",
        "description",
        "createdTimestamp",
        "alternativeName",
        "remote",
    ]
    assert artifact.to_dict()["kind"] == "Artifact"
    assert re.search(r"T.*[+-]\d\d:\d\d$", artifact.created_timestamp)


def test_labels_and_description_need_not_be_given() -> None:
    artifact = em.create_artifact("demo")
    assert (artifact.labels, artifact.description) == ([], "")


def test_one_text_as_labels_is_its_letters() -> None:
    assert em.create_artifact("demo", labels="abc").labels == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["a", "a-b_c", "A1", "a" * 40])
def test_a_name_of_t9k_is_taken(name: str) -> None:
    assert em.create_artifact(name).name == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "_a", "a_", "a" * 41, "é", "a.b", "a b", "a/b", "a\n", "..", None])
def test_any_other_name_is_refused_and_nothing_is_written(name: str, work: Path) -> None:
    with pytest.raises(ValueError, match="Invalid name of Artifact"):
        em.create_artifact(name)
    assert things(work) == {}


@pytest.mark.parametrize("labels", [[1], ["ok", None], [b"x"]])
def test_labels_that_are_no_text_are_refused_and_nothing_is_written(labels: list[object], work: Path) -> None:
    with pytest.raises(TypeError, match="text"):
        em.create_artifact("demo", labels=labels)
    with pytest.raises(ValueError):
        em.create_artifact("demo", description="half a pair \ud800")
    assert things(work) == {}


def test_the_parent_directory_is_read_when_it_is_used(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EM_ARTIFACT_PARENT_DIR", "elsewhere/deep")
    artifact = em.create_artifact("demo")
    assert artifact.local == f"elsewhere/deep/{artifact.alternative_name}"
    monkeypatch.setenv("EM_ARTIFACT_PARENT_DIR", str(work / "third"))
    assert em.create_artifact("demo").local.startswith(str(work / "third"))
    assert sorted(os.listdir(work)) == ["elsewhere", "third"]


def test_a_taken_name_gets_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dice:
        """The same bytes twice, then others."""

        rolled = 0

        def now(self) -> float:
            return 1_800_000_000.0

        def random_bytes(self, count: int) -> bytes:
            self.rolled += 1
            return bytes([self.rolled // 3]) * count

    monkeypatch.setattr(em, "SYSTEM_CLOCK", Dice())
    names = {em.create_artifact("demo").alternative_name for _ in range(3)}
    assert len(names) == 3


def test_a_parent_that_can_t_be_made_is_an_os_error(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "file").write_text("")
    monkeypatch.setenv("EM_ARTIFACT_PARENT_DIR", "file/below")
    with pytest.raises(OSError) as caught:
        em.create_artifact("demo")
    assert isinstance(caught.value, ArtifactStoreError)
    assert things(work) == {"file": b""}


def test_the_constructor_makes_the_directory_unless_it_is_there(work: Path) -> None:
    data = em.create_artifact("demo").to_dict()
    again = Artifact(data, objects={"x": {"path": "x", "size_bytes": 1, "checksum": "c"}})
    assert again.objects["x"]["checksum"] == "c"
    fresh = Artifact({**data, "alternativeName": "demo_220101_000000_abcdef"})
    assert sorted(os.listdir(".em/artifacts")) == sorted([again.alternative_name, fresh.alternative_name])
    with pytest.raises(ValueError):
        Artifact({**data, "alternativeName": "../../out"})
    assert os.listdir(work) == [".em"]


def test_parse_from_dict_takes_what_to_dict_made_and_nothing_of_what_is_wrong() -> None:
    artifact = em.create_artifact("demo", labels=["x"])
    data = artifact.to_dict()
    artifact.parse_from_dict({**data, "name": "other"})
    assert artifact.name == "other"
    with pytest.raises(KeyError):
        artifact.parse_from_dict({"name": "third"})
    with pytest.raises(ValueError, match="labels"):
        artifact.parse_from_dict({**data, "labels": "x"})
    with pytest.raises(ValueError, match="remote"):
        artifact.parse_from_dict({**data, "remote": [{"action": 1}]})
    assert artifact.name == "other"


# -- where things go -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given,path",
    [
        (None, "1.png"),
        ("", "1.png"),
        ("1.png", "1.png"),
        ("a/", "a/1.png"),
        ("a/1.png", "a/1.png"),
        ("a", "a"),
        ("/a/b", "a/b"),
        ("/a/", "a/1.png"),
        ("/", "1.png"),
        (".", "1.png"),
        ("./a", "a"),
        ("a//b", "a/b"),
        ("a/../b", "b"),
        ("ü/ x", "ü/ x"),
    ],
)
def test_a_file_goes_where_its_object_path_says(sources: Path, given: str | None, path: str) -> None:
    artifact = em.create_artifact("demo")
    artifact.add_file(file_path="1.png", obj_path=given)
    assert objects_at(artifact.local) == {path: b"png"}
    checksum = hashlib.md5(b"png").hexdigest()
    assert artifact.objects == {path: {"path": path, "size_bytes": 3, "checksum": checksum}}


@pytest.mark.parametrize("source", ["a", "a/", "./a", "sub/../a/"])
@pytest.mark.parametrize(
    "given,top",
    [(None, "a/"), ("", "a/"), ("a", "a/"), ("b/", "b/a/"), ("b/a", "b/a/"), ("b", "b/"), ("/b/", "b/a/"), (".", "")],
)
def test_a_directory_goes_where_its_object_path_says(sources: Path, source: str, given: str | None, top: str) -> None:
    (sources / "sub").mkdir(exist_ok=True)
    artifact = em.create_artifact("demo")
    artifact.add_dir(dir_path=source, obj_path=given)
    assert objects_at(artifact.local) == {f"{top}f": b"eff", f"{top}sub/g": b"gee", f"{top}sub/empty/": b""}
    assert sorted(artifact.objects) == [f"{top}f", f"{top}sub/g"]


@pytest.mark.parametrize(
    "given,path", [(None, "x.bin"), ("refs/", "refs/x.bin"), ("/refs/y", "refs/y"), (".", "x.bin"), ("123", "123")]
)
def test_a_reference_goes_where_its_object_path_says(given: str | None, path: str) -> None:
    artifact = em.create_artifact("demo")
    artifact.add_reference(uri="s3://bucket/key/x.bin", obj_path=given)
    assert artifact.objects == {path: {"path": path, "uri": "s3://bucket/key/x.bin"}}
    assert em.load_artifact(artifact.local).objects == artifact.objects


OUTSIDE = ["..", "../x", "../../x", "a/../../x", "/../x", "//../x", "a/../../../../etc/passwd", "a\0b", "x" * 300]


@pytest.mark.parametrize("given", OUTSIDE)
@pytest.mark.parametrize("what", ["file", "directory", "reference"])
def test_a_path_that_leaves_the_artifact_is_refused_and_nothing_is_written(
    sources: Path, what: str, given: str
) -> None:
    artifact = em.create_artifact("demo")
    before = things(sources)
    with pytest.raises(ValueError, match="the object path"):
        _add(artifact, what, given)
    assert things(sources) == before
    assert list(artifact.objects) == []


def _add(artifact: Artifact, what: str, given: str | None) -> None:
    match what:
        case "file":
            artifact.add_file("1.png", given)
        case "directory":
            artifact.add_dir("a", given)
        case "reference":
            artifact.add_reference("s3://bucket/key", given)


def test_an_absolute_path_is_one_inside_of_the_artifact(sources: Path) -> None:
    artifact = em.create_artifact("demo")
    artifact.add_file("1.png", "//etc/x")
    assert objects_at(artifact.local) == {"etc/x": b"png"}


@pytest.mark.parametrize("given", ["metadata.yaml", "references.yaml", "/metadata.yaml", "./references.yaml"])
@pytest.mark.parametrize("what", ["file", "directory", "reference"])
def test_nothing_takes_the_place_of_the_artifact_s_own_files(sources: Path, what: str, given: str) -> None:
    artifact = em.create_artifact("demo")
    before = things(sources)
    with pytest.raises(ValueError, match="keeps its own"):
        _add(artifact, what, given)
    assert things(sources) == before


@pytest.mark.parametrize("name", ["metadata.yaml", "references.yaml"])
def test_a_user_s_file_called_like_them_is_refused_at_the_top_alone(sources: Path, name: str) -> None:
    (sources / "a" / name).write_text("mine")
    artifact = em.create_artifact("demo")
    before = things(sources)
    for call in (lambda: artifact.add_file(f"a/{name}"), lambda: artifact.add_dir("a", ".")):
        with pytest.raises(ValueError, match="Give it another obj_path"):
            call()
        assert things(sources) == before
    artifact.add_file(f"a/{name}", "deeper/")
    assert objects_at(artifact.local) == {f"deeper/{name}": b"mine"}


# -- what is copied ------------------------------------------------------------------------------------


def test_mode_bits_and_times_are_kept_and_nothing_is_shared(sources: Path) -> None:
    os.chmod("1.png", 0o751)
    os.utime("1.png", ns=(10**18, 10**18))
    artifact = em.create_artifact("demo")
    artifact.add_file("1.png")
    copied, source = os.stat(f"{artifact.local}/1.png"), os.stat("1.png")
    assert (stat.S_IMODE(copied.st_mode), copied.st_mtime_ns) == (0o751, 10**18)
    assert copied.st_ino != source.st_ino and copied.st_nlink == 1
    Path("1.png").write_bytes(b"changed since")
    assert objects_at(artifact.local) == {"1.png": b"png"}


def test_links_are_followed(sources: Path) -> None:
    os.symlink("f", "a/link")
    os.symlink("sub", "a/folder")
    os.symlink("1.png", "picture")
    artifact = em.create_artifact("demo")
    artifact.add_dir("a")
    artifact.add_file("picture")
    found = objects_at(artifact.local)
    assert found["a/link"] == b"eff" and found["a/folder/g"] == b"gee" and found["picture"] == b"png"
    assert not any(os.path.islink(os.path.join(artifact.local, path)) for path in found)


def test_adding_again_replaces_the_file_and_merges_the_directory(sources: Path) -> None:
    artifact = em.create_artifact("demo")
    artifact.add_dir("a")
    Path("a/f").write_bytes(b"newer")
    os.unlink("a/sub/g")
    Path("a/h").write_bytes(b"more")
    artifact.add_dir("a")
    expected = {"a/f": b"newer", "a/h": b"more", "a/sub/g": b"gee", "a/sub/empty/": b""}
    assert objects_at(artifact.local) == expected
    assert artifact.objects["a/f"]["size_bytes"] == 5
    artifact.add_file("1.png", "a/f")
    assert objects_at(artifact.local) == {**expected, "a/f": b"png"}


def test_a_working_directory_that_changes_does_not_break_a_live_artifact(sources: Path, tmp_path: Path) -> None:
    artifact = em.create_artifact("demo")
    shown = artifact.local
    (tmp_path / "other").mkdir()
    os.chdir(tmp_path / "other")
    artifact.add_file(str(sources / "1.png"))
    artifact.add_reference("s3://bucket/key")
    assert artifact.objects["1.png"]["checksum"]
    assert artifact.local == shown
    assert things(tmp_path / "other") == {}
    assert things(sources / shown).keys() == {"1.png", "metadata.yaml", "references.yaml"}


def test_where_the_file_system_can_a_file_is_cloned(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ioctl(target: int, request: int, source: int) -> int:
        asked.append(request)
        os.write(target, os.read(source, 1 << 20))  # what a clone comes to
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    monkeypatch.setattr(copying, "_copy", None)
    artifact = em.create_artifact("demo")
    artifact.add_file("1.png")
    assert asked == [0x40049409]
    assert objects_at(artifact.local) == {"1.png": b"png"}


def test_a_file_of_many_buffers_is_copied_whole(work: Path) -> None:
    content = os.urandom(3_000_001)
    (work / "big").write_bytes(content)
    artifact = em.create_artifact("demo")
    artifact.add_file("big")
    assert objects_at(artifact.local) == {"big": content}
    assert artifact.objects["big"]["checksum"] == hashlib.md5(content).hexdigest()


# -- what can't be added -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda artifact: artifact.add_file("nothing"), "File does not exist: '"),
        (lambda artifact: artifact.add_file("a"), "File does not exist: '"),
        (lambda artifact: artifact.add_file(""), "File does not exist: '"),
        (lambda artifact: artifact.add_dir("nothing"), "Directory does not exist: '"),
        (lambda artifact: artifact.add_dir("1.png"), "Directory does not exist: '"),
    ],
)
def test_a_source_that_is_not_there_is_a_runtime_error_and_no_file_found(sources: Path, call, message: str) -> None:
    artifact = em.create_artifact("demo")
    before = things(sources)
    for kind in (RuntimeError, FileNotFoundError, ArtifactStoreError):
        with pytest.raises(kind, match=f"^{message}"):
            call(artifact)
    assert things(sources) == before


def _dangling(root: Path) -> None:
    os.symlink("nowhere", root / "a" / "sub" / "z")


def _loop(root: Path) -> None:
    os.symlink("..", root / "a" / "sub" / "z")


def _fifo(root: Path) -> None:
    os.mkfifo(root / "a" / "sub" / "z")


@pytest.mark.parametrize(
    "spoil,message",
    [(_dangling, "a link to nothing"), (_loop, "leads back to a directory above it"), (_fifo, "no regular file")],
)
def test_a_directory_with_what_can_t_be_copied_is_refused_whole(sources: Path, spoil, message: str) -> None:
    artifact = em.create_artifact("demo")
    spoil(sources)
    before = things(artifact.local)
    with pytest.raises((RuntimeError, OSError), match=message) as caught:
        artifact.add_dir("a")
    assert isinstance(caught.value, ArtifactStoreError)
    assert things(artifact.local) == before and list(artifact.objects) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_can_t_be_read_is_an_os_error(sources: Path) -> None:
    os.chmod("a/sub/g", 0)
    artifact = em.create_artifact("demo")
    before = things(artifact.local)
    for call in (lambda: artifact.add_file("a/sub/g"), lambda: artifact.add_dir("a")):
        with pytest.raises(OSError, match="can't read"):
            call()
        assert things(artifact.local) == before


def test_a_file_that_can_t_be_read_leaves_nothing(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = em.create_artifact("demo")
    before = things(artifact.local)
    real = os.open

    def refuse(path, flags, *args, **kwargs):
        if str(path).endswith("sub/g"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(OSError, match="can't read") as caught:
            artifact.add_dir("a")
    assert isinstance(caught.value, ArtifactStoreError)
    assert things(artifact.local) == before


@pytest.mark.parametrize("fail_at", [0, 1])
def test_a_disk_that_is_full_leaves_nothing_half(sources: Path, monkeypatch: pytest.MonkeyPatch, fail_at: int) -> None:
    artifact = em.create_artifact("demo")
    artifact.add_file("1.png", "a/f")
    before = things(artifact.local)
    copied = []

    def full(descriptor: int, out: int, *, source: str) -> None:
        if len(copied) == fail_at:
            os.write(out, b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        copied.append(source)
        os.write(out, Path(source).read_bytes())

    monkeypatch.setattr(copying, "_clone", lambda *_: False)
    monkeypatch.setattr(copying, "_copy", full)
    with pytest.raises(OSError, match="No space left") as caught:
        artifact.add_dir("a")
    assert caught.value.errno == errno.ENOSPC and isinstance(caught.value, ArtifactStoreError)
    assert things(artifact.local) == before
    if fail_at == 0:
        with pytest.raises(OSError, match="No space left"):
            artifact.add_file("1.png", "deep/er/x")
        assert things(artifact.local) == before


def test_a_rename_that_fails_takes_back_the_directories_made_for_it(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = em.create_artifact("demo")
    artifact.add_file("1.png", "there/x")
    before = things(artifact.local)

    def refuse(source: str, target: str) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "rename", refuse)
    for call in (lambda: artifact.add_file("1.png", "there/new/er/y"), lambda: artifact.add_dir("a", "new/")):
        with pytest.raises(OSError, match="quota"):
            call()
        assert things(artifact.local) == before


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_add_leaves_nothing(
    sources: Path, monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
) -> None:
    artifact = em.create_artifact("demo")
    before = things(artifact.local)

    def interrupt(descriptor: int, out: int, *, source: str) -> None:
        os.write(out, b"half")
        raise interruption

    monkeypatch.setattr(copying, "_clone", lambda *_: False)
    monkeypatch.setattr(copying, "_copy", interrupt)
    for call in (lambda: artifact.add_file("1.png"), lambda: artifact.add_dir("a")):
        with pytest.raises(interruption):
            call()
        assert things(artifact.local) == before


def test_a_file_that_changes_while_it_is_copied_is_refused(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = em.create_artifact("demo")
    before = things(artifact.local)

    def growing(descriptor: int, out: int, *, source: str) -> None:
        os.write(out, os.read(descriptor, 1 << 20))
        Path(source).write_bytes(b"longer than before")

    monkeypatch.setattr(copying, "_clone", lambda *_: False)
    monkeypatch.setattr(copying, "_copy", growing)
    with pytest.raises(ArtifactStoreError, match="changed while it was copied"):
        artifact.add_file("1.png")
    assert things(artifact.local) == before


def test_what_a_killed_add_left_is_no_object(sources: Path) -> None:
    artifact = em.create_artifact("demo")
    artifact.add_file("1.png")
    Path(artifact.local, ".artifactstore-tmp-0123").write_bytes(b"half")
    assert list(em.load_artifact(artifact.local).objects) == ["1.png"]


def test_a_directory_that_holds_the_artifact_is_refused(sources: Path) -> None:
    artifact = em.create_artifact("demo")
    before = things(sources)
    for holder in (".", ".em", artifact.local):
        with pytest.raises(RuntimeError, match="own local directory"):
            artifact.add_dir(holder)
    assert things(sources) == before


def test_a_part_of_the_artifact_may_be_added_elsewhere(sources: Path) -> None:
    artifact = em.create_artifact("demo")
    artifact.add_dir("a")
    artifact.add_dir(f"{artifact.local}/a", "copies/")
    artifact.add_file(f"{artifact.local}/a/f")
    assert objects_at(artifact.local).keys() == {
        "a/f",
        "a/sub/g",
        "a/sub/empty/",
        "copies/a/f",
        "copies/a/sub/g",
        "copies/a/sub/empty/",
        "f",
    }


@pytest.mark.parametrize(
    "first,second,message",
    [
        (("reference", "1.png"), ("file", "1.png"), "Object reference already exists: '1.png'"),
        (("file", "x"), ("reference", "x"), "Object file already exists: 'x'"),
        (("reference", "a/f"), ("directory", None), "Object reference already exists: 'a/f'"),
        (("reference", "a"), ("directory", None), "Object reference already exists: 'a'"),
        (("reference", "a/f/x"), ("directory", None), "Object reference already exists: below 'a/f'"),
        (("reference", "x"), ("file", "x/y"), "Object reference already exists: 'x'"),
        (("reference", "x/y"), ("file", "x"), "Object reference already exists: below 'x'"),
        (("file", "x"), ("reference", "x/y"), "Object file already exists: 'x'"),
        (("file", "x/y"), ("reference", "x"), "a directory of objects already exists: 'x'"),
        (("reference", "x"), ("reference", "x/y"), "Object reference already exists: 'x'"),
        (("file", "x"), ("file", "x/y"), "Object file already exists: 'x'"),
        (("file", "x/y"), ("file", "x"), "a directory of objects already exists: 'x'"),
        (("file", "a"), ("directory", None), "Object file already exists: 'a'"),
        (("file", "a/f/x"), ("directory", None), "a directory of objects already exists: 'a/f'"),
        (("file", "a/sub"), ("directory", None), "Object file already exists: 'a/sub'"),
    ],
)
def test_two_things_for_one_path_are_refused_and_the_first_stays(
    sources: Path, first: tuple[str, str | None], second: tuple[str, str | None], message: str
) -> None:
    artifact = em.create_artifact("demo")
    _add(artifact, *first)
    before, objects = things(artifact.local), dict(artifact.objects)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        _add(artifact, *second)
    assert things(artifact.local) == before and dict(artifact.objects) == objects


def test_a_reference_may_be_given_another_uri() -> None:
    artifact = em.create_artifact("demo")
    artifact.add_reference("s3://bucket/f")
    artifact.add_reference("s3://other/f")
    assert artifact.objects == {"f": {"path": "f", "uri": "s3://other/f"}}


@pytest.mark.parametrize(
    "uri", ["", "plain text", "/a/path", "s3://user:secret@host/x", "https://h/x?X-Amz-Signature=00", "s3://b/a\nb"]
)
def test_no_uri_and_no_secret_is_written_down(uri: str) -> None:
    artifact = em.create_artifact("demo")
    before = things(artifact.local)
    with pytest.raises(ValueError) as caught:
        artifact.add_reference(uri, "x")
    assert "secret" not in str(caught.value)
    assert things(artifact.local) == before and list(artifact.objects) == []


def test_a_uri_that_ends_with_a_slash_needs_an_object_path() -> None:
    artifact = em.create_artifact("demo")
    with pytest.raises(ValueError, match="empty"):
        artifact.add_reference("s3://bucket/prefix/")
    artifact.add_reference("s3://bucket/prefix/", "data")
    assert list(artifact.objects) == ["data"]


def test_a_link_in_the_local_directory_leads_nowhere(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    artifact = em.create_artifact("demo")
    os.symlink(tmp_path / "outside", f"{artifact.local}/out")
    for call in (lambda: artifact.add_file("1.png", "out/x"), lambda: artifact.add_dir("a", "out")):
        with pytest.raises(ValueError, match="already exists"):
            call()
    assert things(tmp_path / "outside") == {}


# -- objects -------------------------------------------------------------------------------------------


def test_objects_are_a_mapping_that_serves_as_a_list(sources: Path) -> None:
    import json

    artifact = em.create_artifact("demo")
    artifact.add_file("1.png")
    artifact.add_reference("s3://bucket/key")
    objects = artifact.objects
    record = {"path": "1.png", "size_bytes": 3, "checksum": hashlib.md5(b"png").hexdigest()}
    assert objects["1.png"] == objects[0] == record and objects[-1]["uri"] == "s3://bucket/key"
    assert list(objects) == ["1.png", "key"] and objects[:1] == [record]
    assert [each["path"] for each in objects] == ["1.png", "key"]
    assert [each.get("uri") for each in objects] == [None, "s3://bucket/key"]
    assert "1.png" in objects and record in objects and {"path": "2.png"} not in objects and "2.png" not in objects
    assert next(iter(objects))[0:2] == "1."
    assert json.loads(json.dumps(objects)) == dict(objects)
    assert len(objects) == 2 and isinstance(objects, dict)
    with pytest.raises(KeyError):
        objects["2.png"]
    with pytest.raises(IndexError):
        objects[2]


def test_objects_survive_copies_and_pickles_and_changing_them_changes_nothing(sources: Path) -> None:
    import copy
    import pickle

    artifact = em.create_artifact("demo")
    artifact.add_file("1.png")
    for again in (copy.deepcopy(artifact.objects), pickle.loads(pickle.dumps(artifact.objects))):
        assert again == artifact.objects and next(iter(again))["size_bytes"] == 3
        again.clear()
    assert len(artifact.objects) == 1


def test_checksums_are_computed_when_they_are_asked_for(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from artifactstore.compat.t9k.local import LocalDirectory

    asked: list[str] = []
    real = LocalDirectory.checksum
    monkeypatch.setattr(LocalDirectory, "checksum", lambda self, path: asked.append(path) or real(self, path))
    artifact = em.create_artifact("demo")
    artifact.add_dir("a")
    loaded = em.load_artifact(artifact.local)
    assert asked == []
    assert loaded.objects and loaded.objects
    assert asked == ["a/f", "a/sub/g"]


# -- loading from here ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", ["", "/", "///"])
def test_a_local_directory_loads_as_it_is(sources: Path, tail: str) -> None:
    artifact = em.create_artifact("demo", labels=["x", "y"], description="d")
    artifact.add_dir("a")
    artifact.add_reference("s3://bucket/key")
    loaded = em.load_artifact(path=artifact.local + tail)
    assert loaded.to_dict() == artifact.to_dict()
    assert loaded.objects == artifact.objects
    assert loaded.local == artifact.local
    assert loaded.alternative_name == artifact.alternative_name


def test_a_directory_outside_of_the_parent_keeps_its_place(sources: Path, tmp_path: Path) -> None:
    artifact = em.create_artifact("demo")
    moved = tmp_path / "moved" / artifact.alternative_name
    moved.parent.mkdir()
    os.rename(artifact.local, moved)
    loaded = em.load_artifact(f"{moved}/")
    loaded.add_file("1.png")
    assert loaded.local == str(moved)
    assert things(moved).keys() == {"1.png", "metadata.yaml"}
    assert os.listdir(".em/artifacts") == []


def test_a_directory_under_any_other_name_is_still_the_same_artifact(tmp_path: Path) -> None:
    artifact = em.create_artifact("demo")
    os.rename(artifact.local, tmp_path / "plain")
    assert em.load_artifact(str(tmp_path / "plain")).alternative_name == artifact.alternative_name
    os.rename(tmp_path / "plain", tmp_path / "demo_200101_000000_zzzzzz")
    loaded = em.load_artifact(str(tmp_path / "demo_200101_000000_zzzzzz"))
    assert loaded.alternative_name == "demo_200101_000000_zzzzzz"


def test_the_working_directory_itself_can_be_loaded(sources: Path) -> None:
    artifact = em.create_artifact("demo")
    os.chdir(artifact.local)
    loaded = em.load_artifact(".")
    loaded.add_file(str(sources / "1.png"))
    assert sorted(os.listdir(".")) == ["1.png", "metadata.yaml"]


def test_a_directory_without_metadata_is_no_artifact(sources: Path) -> None:
    for kind in (FileNotFoundError, RuntimeError, ArtifactStoreError):
        with pytest.raises(kind, match="Missing file of Artifact"):
            em.load_artifact("a")


def test_what_is_not_there_is_an_os_error_and_a_runtime_error() -> None:
    for kind in (OSError, RuntimeError, FileNotFoundError, ArtifactStoreError):
        with pytest.raises(kind, match=r"^Not a local directory: 'nothing'"):
            em.load_artifact("nothing")


def test_errors_survive_pickling() -> None:
    import pickle

    with pytest.raises(RuntimeError) as caught:
        em.load_artifact("nothing")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.args) == (type(caught.value), str(caught.value), caught.value.args)
