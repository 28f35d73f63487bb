"""Lock files: bytes that git likes, nothing in them believed, pulls that obey them or refuse."""

import os
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.artifacts.lock import (
    MAX_LOCK_BYTES,
    Lock,
    Pin,
    check_destination_path,
    normal_destination,
    parse_lock,
    plan_pins,
    serialize_lock,
)
from artifactstore.artifacts.locking import pull_lock, read_lock, update_lock, write_lock
from artifactstore.backend.wrappers.fault import ErrorBefore, Fault, permission_denied
from artifactstore.errors import (
    InvalidName,
    LockFileError,
    NameNotFound,
    PinNotMet,
    StorePermissionDenied,
    UnsupportedFormat,
    VersionExpired,
)
from artifactstore.store import PullOptions, PushOptions, RemoveOptions, Store
from artifactstore.testing.stores import StoreWorld, make_tree, tree_at
from artifactstore.transaction.edits import VersionEdit

CONTENT = "ab" * 32


def pin(name: str, destination: str | None = None, *, version: str = "v1", content: str = CONTENT) -> Pin:
    place = destination if destination is not None else name.rpartition("/")[2]
    return Pin(name=name, asked=name, version=version, content_digest=content, destination=place)


def document(**changes: str) -> str:
    """A sound lock file of one pin, with some of its lines' values changed."""
    values = {"version": "1", "name": '"team/m"', "asked": '"team/m:prod"', "pinned": '"v3"', "to": '"m"'}
    values |= {"content": f'"{CONTENT}"', **changes}
    return (
        "version = {version}\n[pins.{name}]\nasked = {asked}\nversion = {pinned}\ncontent = {content}\nto = {to}\n"
    ).format(**values)


class TestText:
    def test_is_sorted_with_one_table_for_each_name(self) -> None:
        lock = Lock(pins=(pin("b/x", "b x"), pin("a", 'say "a"\\b')))
        assert serialize_lock(lock) == (
            "# Made by `artifactstore lock`; `artifactstore pull --lock` obeys it.\n"
            "version = 1\n"
            "\n"
            '[pins."a"]\n'
            'asked = "a"\n'
            'version = "v1"\n'
            f'content = "{CONTENT}"\n'
            'to = "say \\"a\\"\\\\b"\n'
            "\n"
            '[pins."b/x"]\n'
            'asked = "b/x"\n'
            'version = "v1"\n'
            f'content = "{CONTENT}"\n'
            'to = "b x"\n'
        )

    def test_the_order_of_pins_does_not_matter(self) -> None:
        one, two = pin("a"), pin("b")
        assert serialize_lock(Lock(pins=(one, two))) == serialize_lock(Lock(pins=(two, one)))

    def test_an_empty_one_can_be_read(self) -> None:
        assert parse_lock(serialize_lock(Lock()), where="f") == Lock()

    def test_line_ends_of_other_systems_can_be_read(self) -> None:
        lock = Lock(pins=(pin("a"), pin("b")))
        assert parse_lock(serialize_lock(lock).replace("\n", "\r\n"), where="f") == lock


SEGMENTS = st.from_regex(r"[a-z0-9_][a-z0-9._-]{0,6}", fullmatch=True)
NAMES = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    names = draw(st.lists(NAMES, unique=True, max_size=5))
    pins = []
    for number, name in enumerate(names):
        text = draw(st.text(max_size=10).filter(lambda t: t.isprintable() and "/" not in t))
        asked = name + draw(st.sampled_from(["", ":v7", ":prod", ":latest", f"@{CONTENT}"]))
        pins.append(
            Pin(
                name=name,
                asked=asked,
                version=f"v{draw(st.integers(1, 10**12))}",
                content_digest=draw(st.binary(min_size=32, max_size=32)).hex(),
                destination=f"{number}-{text}",
            )
        )
    return Lock(pins=tuple(pins))


@given(locks())
def test_what_is_written_is_read_back(lock: Lock) -> None:
    text = serialize_lock(lock)
    tomllib.loads(text)
    assert parse_lock(text, where="f") == lock
    assert serialize_lock(parse_lock(text, where="f")) == text


@given(locks(), locks())
def test_a_plan_replaces_pins_of_the_same_names_and_keeps_the_others(old: Lock, fresh: Lock) -> None:
    moved = [Pin(**{f: getattr(p, f) for f in ("name", "asked", "version", "content_digest")}, destination=f"x{n}")
             for n, p in enumerate(fresh.pins)]  # fmt: skip
    new, changes = plan_pins(old, moved)
    assert {p.name: p for p in new.pins} == {p.name: p for p in (*old.pins, *moved)}
    assert [change.pin for change in changes] == moved
    assert all(change.old == old.of(change.pin.name) for change in changes)


@given(st.text(max_size=200))
def test_any_text_is_a_lock_file_or_an_error_of_its_own(text: str) -> None:
    for candidate in (text, f"version = 1\n{text}", f"version = 1\n[pins.a]\n{text}"):
        try:
            parse_lock(candidate, where="f")
        except (LockFileError, UnsupportedFormat) as error:
            assert error.where == "f"


class TestHostileText:
    def test_the_sound_one_is_sound(self) -> None:
        (only,) = parse_lock(document(), where="f").pins
        assert only.reference == f"team/m@{CONTENT}"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("version = ", "TOML"),
            ("<<<<<<< ours\nversion = 1\n", "marks of a conflict"),
            ("x = " + "[" * 100_000, "TOML"),
            ("", "version: no number"),
            ("version = true\n", "version: no number"),
            ('version = "1"\n', "version: no number"),
            ("version = 1\npins = 3\n", "pins: not tables"),
            ("version = 1\npins = {a = 3}\n", "pins.'a': not a table"),
            ("version = 1\nother = 3\n", "other: not a field"),
            (document() + "other = 3\n", "pins.'team/m'.other: not a field"),
            (document(to="3"), "pins.'team/m'.to: no text"),
            (document().replace('to = "m"\n', ""), "pins.'team/m'.to: no text"),
            (document(content='"ab"'), "pins.'team/m'"),
            (document(content=f'"{CONTENT.upper()}"'), "pins.'team/m'"),
            (document(name='"../m"'), "not a valid name part"),
            (document(name='"m:v3"'), "pins.'m:v3'"),
            (document(asked='"other:prod"'), "is of another name"),
            (document(asked='"team/m:v1/path"'), "path inside"),
            (document(asked='"--delete"'), "pins.'team/m'"),
            (document(pinned='"prod"'), "no version such as v3"),
            (document(pinned='"v0"'), "pins.'team/m'"),
            (document(to='""'), "is empty"),
            (document(to='"/etc"'), "is absolute"),
            (document(to='".."'), "'..'"),
            (document(to='"a/../../b"'), "'..'"),
            (document(to='"."'), "'.'"),
            (document(to='"a//b"'), "''"),
            (document(to='"a/"'), "''"),
            (document(to='".git/hooks"'), "git's own files"),
            (document(to='"sub/.GIT"'), "git's own files"),
            (document(to='".git. /hooks"'), "git's own files"),
            (document(to='"GIT~1/hooks"'), "git's own files"),
            (document(to=r'"a\u001b[2J"'), "can't be printed"),
            (document(to=r'"a\u0000"'), "NUL"),
            (document(to=r'"a\u202Eb"'), "can't be printed"),
        ],
    )
    def test_is_refused_with_its_place(self, text: str, said: str) -> None:
        with pytest.raises(LockFileError) as caught:
            parse_lock(text, where="the/file")
        assert said in str(caught.value)
        assert "the/file" in str(caught.value)
        assert "Nothing was written." in str(caught.value)

    def test_a_newer_format_is_refused_as_such(self) -> None:
        with pytest.raises(UnsupportedFormat, match="version 2"):
            parse_lock("version = 2\nnew = 'field'\n", where="f")

    @pytest.mark.parametrize(
        ("one", "two"), [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("A", "a"), ("a/b/c", "a")], ids=str
    )
    def test_two_pins_do_not_go_to_one_place(self, one: str, two: str) -> None:
        pins = [pin("x/n", one), pin("y/n", two)]
        with pytest.raises(ValueError, match="would go to"):
            Lock(pins=tuple(pins))
        text = serialize_lock(Lock(pins=(pins[0],))) + serialize_lock(Lock(pins=(pins[1],))).partition("1\n")[2]
        with pytest.raises(LockFileError, match=r"x/n and y/n|y/n and x/n"):
            parse_lock(text, where="f")

    def test_places_side_by_side_are_fine(self) -> None:
        Lock(pins=(pin("a", "x/a"), pin("b", "x/b"), pin("c", "xx"), pin("d", "x-")))

    def test_a_place_in_between_hides_nothing(self) -> None:
        with pytest.raises(ValueError, match="would go to"):
            Lock(pins=(pin("a", "x"), pin("b", "x-y"), pin("c", "x/z")))


@pytest.mark.parametrize(
    ("given_text", "normal"), [("./data/", "data"), ("a//b/./c", "a/b/c"), ("a/../b", "b"), ("d é", "d é")]
)
def test_destinations_are_taken_as_people_type_them(given_text: str, normal: str) -> None:
    assert normal_destination(given_text) == normal
    assert check_destination_path(normal) == normal


@pytest.mark.parametrize("text", ["", ".", "..", "a/../..", "/a", "//a", ".git", "\udc80"])
def test_destinations_out_of_the_folder_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        normal_destination(text)


@pytest.fixture
def world(tmp_path: Path) -> StoreWorld:
    return StoreWorld(tmp_path)


@pytest.fixture
def store(world: StoreWorld) -> Iterator[Store]:
    with world.store() as store:
        yield store


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkout that the lock file lies in. Another one is the working directory: paths are not relative to it."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "checkout"


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "artifactstore.lock"


def push(store: Store, world: StoreWorld, name: str, content: bytes, *aliases: str) -> None:
    make_tree(world.folder / "source", {b"file": content})
    store.push(world.folder / "source", name, options=PushOptions(aliases=aliases))


def things(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


class TestWriting:
    def test_pins_what_references_mean_now(self, store: Store, world: StoreWorld, path: Path) -> None:
        push(store, world, "team/m", b"1", "prod")
        push(store, world, "team/m", b"2")
        push(store, world, "d", b"3")
        changes = write_lock(store, ["team/m:prod", "d"], path)
        assert [(c.kind, c.pin.asked, c.pin.version, c.pin.destination) for c in changes] == [
            ("added", "team/m:prod", "v1", "m"),
            ("added", "d", "v1", "d"),
        ]
        lock = read_lock(path)
        assert [p.name for p in lock.pins] == ["d", "team/m"]
        assert lock.of("team/m") == changes[0].pin
        assert changes[0].pin.content_digest == store.show("team/m:v1").content_digest

    def test_other_pins_stay_and_one_of_the_same_name_is_replaced(
        self, store: Store, world: StoreWorld, path: Path
    ) -> None:
        push(store, world, "a", b"1")
        push(store, world, "b", b"1")
        write_lock(store, ["a"], path, destination="./deep/place/")
        write_lock(store, "b", path)
        push(store, world, "a", b"2")
        (change,) = write_lock(store, "a:v2", path)
        assert (change.kind, change.pin.version, change.pin.destination) == ("changed", "v2", "deep/place")
        assert [(p.name, p.version) for p in read_lock(path).pins] == [("a", "v2"), ("b", "v1")]

    def test_nothing_new_leaves_the_very_same_file(self, store: Store, world: StoreWorld, path: Path) -> None:
        push(store, world, "a", b"1")
        write_lock(store, "a", path)
        before = (path.read_bytes(), path.stat().st_ctime_ns)
        assert [c.kind for c in write_lock(store, "a", path)] == ["unchanged"]
        assert [c.kind for c in update_lock(store, path)] == ["unchanged"]
        assert (path.read_bytes(), path.stat().st_ctime_ns) == before

    def test_update_resolves_each_reference_as_it_was_given(
        self, store: Store, world: StoreWorld, path: Path
    ) -> None:
        for name in ("newest", "fixed", "moved"):
            push(store, world, name, b"1", "prod")
        write_lock(store, ["newest", "fixed:v1", "moved:prod"], path)
        for name in ("newest", "fixed", "moved"):
            push(store, world, name, b"2", *(["prod"] if name == "moved" else []))
        changes = {c.pin.name: (c.kind, c.pin.version) for c in update_lock(store, path)}
        assert changes == {"newest": ("changed", "v2"), "fixed": ("unchanged", "v1"), "moved": ("changed", "v2")}

    def test_a_digest_can_be_pinned(self, store: Store, world: StoreWorld, path: Path) -> None:
        push(store, world, "a", b"1")
        push(store, world, "a", b"2")
        digest = store.show("a:v1").content_digest
        (change,) = write_lock(store, f"a@{digest}", path)
        assert (change.pin.version, change.pin.content_digest) == ("v1", digest)

    def test_nothing_is_written_unless_all_is_well(self, store: Store, world: StoreWorld, path: Path) -> None:
        push(store, world, "a", b"1")
        push(store, world, "x/a", b"1")
        for references in (["a", "nowhere"], ["a:v9"], ["a:prod"]):
            with pytest.raises(NameNotFound):
                write_lock(store, references, path)
        with pytest.raises(InvalidName):
            write_lock(store, ["a:v1/file"], path)
        with pytest.raises(ValueError, match="twice"):
            write_lock(store, ["a", "a:v1"], path)
        with pytest.raises(ValueError, match="one reference"):
            write_lock(store, ["a", "x/a"], path, destination="d")
        with pytest.raises(ValueError, match=r"'\.\.'"):
            write_lock(store, ["a"], path, destination="../out")
        with pytest.raises(LockFileError, match="--to DEST"):
            write_lock(store, ["a", "x/a"], path)
        assert not path.exists()
        with pytest.raises(LockFileError, match="no lock file"):
            update_lock(store, path)

    def test_a_reference_that_is_gone_stops_an_update(self, store: Store, world: StoreWorld, path: Path) -> None:
        push(store, world, "a", b"1")
        push(store, world, "b", b"1")
        write_lock(store, ["a", "b"], path)
        push(store, world, "a", b"2")
        store.remove("b", options=RemoveOptions(all_versions=True))
        before = path.read_bytes()
        with pytest.raises(Exception, match="b"):
            update_lock(store, path)
        assert path.read_bytes() == before

    def test_a_file_that_is_no_lock_file_is_left_alone(self, store: Store, world: StoreWorld, path: Path) -> None:
        push(store, world, "a", b"1")
        path.write_bytes(b"\xff precious")
        with pytest.raises(LockFileError, match="UTF-8"):
            write_lock(store, "a", path)
        assert path.read_bytes() == b"\xff precious"

    def test_the_file_is_replaced_whole_or_stays(
        self, store: Store, world: StoreWorld, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        push(store, world, "a", b"1")
        write_lock(store, "a", path)
        before = path.read_bytes()
        push(store, world, "a", b"2")

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(LockFileError, match="No space left"):
                write_lock(store, "a", path)
        assert path.read_bytes() == before
        assert things(path.parent) == ["artifactstore.lock"]

    def test_mode_and_link_stay(self, store: Store, world: StoreWorld, path: Path, folder: Path) -> None:
        push(store, world, "a", b"1")
        write_lock(store, "a", path)
        assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600
        path.chmod(0o600)
        path.rename(folder / "real.lock")
        path.symlink_to("real.lock")
        push(store, world, "a", b"2")
        write_lock(store, "a", path)
        assert path.is_symlink()
        assert stat.S_IMODE((folder / "real.lock").stat().st_mode) == 0o600
        assert [p.version for p in read_lock(folder / "real.lock").pins] == ["v2"]

    def test_a_folder_that_is_not_there(self, store: Store, world: StoreWorld, folder: Path) -> None:
        push(store, world, "a", b"1")
        with pytest.raises(LockFileError, match="can't be written"):
            write_lock(store, "a", folder / "none" / "artifactstore.lock")

    def test_an_expired_version_can_be_pinned(self, store: Store, world: StoreWorld, path: Path) -> None:
        push(store, world, "a", b"1")
        store.edit("a:v1", VersionEdit(ttl="1h"))
        world.virtual_clock.advance(7200)
        write_lock(store, "a:v1", path)


class TestReading:
    def test_one_that_is_not_there_or_is_a_directory(self, folder: Path) -> None:
        with pytest.raises(LockFileError, match="no lock file"):
            read_lock(folder / "none")
        with pytest.raises(LockFileError, match="can't be read"):
            read_lock(folder)

    def test_one_that_is_far_too_long(self, path: Path) -> None:
        with path.open("wb") as stream:
            stream.truncate(MAX_LOCK_BYTES + 1)
        with pytest.raises(LockFileError, match="over 4 MiB"):
            read_lock(path)


class TestPulling:
    def test_brings_exactly_what_is_pinned(self, store: Store, world: StoreWorld, path: Path, folder: Path) -> None:
        push(store, world, "team/m", b"1", "prod")
        push(store, world, "d", b"data")
        write_lock(store, ["team/m:prod"], path, destination="models/m")
        write_lock(store, ["d"], path)
        push(store, world, "team/m", b"2", "prod")
        push(store, world, "d", b"newer")
        results = pull_lock(store, path)
        assert [result.version for result in results] == ["d:v1", "team/m:v1"]
        assert tree_at(folder / "models/m").keys() == {b"file"}
        assert (folder / "models/m/file").read_bytes() == b"1"
        assert (folder / "d/file").read_bytes() == b"data"

    def test_one_name_and_a_place_of_the_callers_choice(
        self, store: Store, world: StoreWorld, path: Path, folder: Path
    ) -> None:
        push(store, world, "a", b"1")
        push(store, world, "b", b"1")
        write_lock(store, ["a", "b"], path)
        pull_lock(store, path, names="a")
        assert things(folder) == ["a", "artifactstore.lock"]
        pull_lock(store, path, names=["b"], destination="here")
        assert Path("here/file").read_bytes() == b"1"
        with pytest.raises(LockFileError, match="c is not pinned"):
            pull_lock(store, path, names=["c"])
        with pytest.raises(ValueError, match="one name"):
            pull_lock(store, path, destination="here")

    def test_the_same_content_under_another_number_will_do(
        self, store: Store, world: StoreWorld, path: Path, folder: Path
    ) -> None:
        push(store, world, "a", b"1")
        write_lock(store, "a", path)
        push(store, world, "a", b"2")
        store.remove("a:v1")
        push(store, world, "a", b"1")
        assert [result.version for result in pull_lock(store, path)] == ["a:v3"]
        assert (folder / "a/file").read_bytes() == b"1"

    @pytest.mark.parametrize("case", ["digest", "name", "other store"])
    def test_a_pin_that_can_not_be_met_is_said_before_anything_is_written(
        self, store: Store, world: StoreWorld, path: Path, folder: Path, case: str
    ) -> None:
        push(store, world, "a", b"1")
        push(store, world, "z", b"1")
        write_lock(store, ["a", "z"], path)
        if case == "digest":
            push(store, world, "z", b"2")
            store.remove("z:v1")
        elif case == "name":
            store.remove("z", options=RemoveOptions(all_versions=True))
        else:
            path.write_text(path.read_text().replace("z", "never-pushed"))
        with pytest.raises(PinNotMet, match="is pinned to the content of v1") as caught:
            pull_lock(store, path)
        assert "artifactstore lock" in caught.value.next_step
        assert things(folder) == ["artifactstore.lock"]

    def test_a_storage_that_fails_is_no_missing_pin(
        self, store: Store, world: StoreWorld, path: Path
    ) -> None:
        push(store, world, "a", b"1")
        write_lock(store, "a", path)
        faulty = world.faulty(Fault(verb="list", key="names/*", times=None, action=ErrorBefore(permission_denied)))
        with world.store(through=faulty) as refusing, pytest.raises(StorePermissionDenied):
            pull_lock(refusing, path)

    def test_an_expired_pin_is_refused_unless_asked_for(
        self, store: Store, world: StoreWorld, path: Path, folder: Path
    ) -> None:
        push(store, world, "a", b"1")
        push(store, world, "z", b"1")
        write_lock(store, ["a", "z"], path)
        store.edit("z:v1", VersionEdit(ttl="1h"))
        world.virtual_clock.advance(7200)
        with pytest.raises(VersionExpired):
            pull_lock(store, path)
        assert things(folder) == ["artifactstore.lock"]
        pull_lock(store, path, options=PullOptions(allow_expired=True))
        assert (folder / "z/file").read_bytes() == b"1"

    @pytest.mark.parametrize("link", ["to", "above"])
    def test_links_of_the_checkout_lead_nowhere_else(
        self, store: Store, world: StoreWorld, path: Path, folder: Path, link: str
    ) -> None:
        push(store, world, "a", b"1")
        write_lock(store, "a", path, destination="data/a")
        outside = folder.parent / "outside"
        outside.mkdir()
        if link == "to":
            (folder / "data").mkdir()
            (folder / "data" / "a").symlink_to(outside)
        else:
            (folder / "data").symlink_to(outside)
        with pytest.raises(LockFileError, match="a link that leads out"):
            pull_lock(store, path)
        assert things(outside) == []
        pull_lock(store, path, names="a", destination=folder / "data" / "a")  # said by the user, and so meant

    @pytest.mark.parametrize("target", [".git", "sub/.GIT"])
    def test_links_of_the_checkout_do_not_lead_into_git(
        self, store: Store, world: StoreWorld, path: Path, folder: Path, target: str
    ) -> None:
        """A clone may hold such a link, and git runs what it finds in `hooks`."""
        push(store, world, "a", b"1")
        write_lock(store, "a", path, destination="harmless/hooks")
        (folder / target).mkdir(parents=True)
        (folder / "harmless").symlink_to(target)
        with pytest.raises(LockFileError, match="leads into git's own files"):
            pull_lock(store, path)
        assert things(folder / target) == []

    def test_links_inside_the_folder_are_fine(
        self, store: Store, world: StoreWorld, path: Path, folder: Path
    ) -> None:
        push(store, world, "a", b"1")
        write_lock(store, "a", path, destination="data/a")
        (folder / "real").mkdir()
        (folder / "data").symlink_to("real")
        pull_lock(store, path)
        assert (folder / "real/a/file").read_bytes() == b"1"

    def test_a_link_to_the_folder_itself_is_refused(
        self, store: Store, world: StoreWorld, path: Path, folder: Path
    ) -> None:
        push(store, world, "a", b"1")
        write_lock(store, "a", path)
        (folder / "a").symlink_to(".")
        with pytest.raises(LockFileError, match="leads out"):
            pull_lock(store, path)
