"""Stored objects that are damaged, gone, exchanged or hostile: typed errors that say which, and never a wrong byte.

Faults 77-85, 87, 88; test plan 5.8. Whatever is done to any object of a small store, reading
brings the exact bytes, or an error that names the object; no file with other bytes gets its name.
"""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifactstore.codec import Codec
from artifactstore.digest import xxh3_of
from artifactstore.errors import (
    ArtifactStoreError,
    ConfigurationError,
    CorruptData,
    NotFound,
    UnsafeManifest,
    UnsupportedFormat,
)
from artifactstore.keys import PACKS, STORE
from artifactstore.store import ConflictStrategy, PullOptions, PushOptions, Strategy
from artifactstore.testing.stores import (
    SMALL_CUT,
    Directory,
    File,
    Link,
    Sparse,
    StoreWorld,
    Thing,
    Tree,
    edit_tree,
    make_tree,
    quick_folder,
    small_limits,
    tree_at,
)
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transfer import pipeline

# So small that every byte of its store can be flipped in turn, and with one of each: a list of extents, blocks in a
# pack, a pack of several chunks, a hole, compressed and raw chunks, a link, an empty directory, an alias.
LARGE = seeded_bytes("large", 900)
OLD: Tree = {b"f": LARGE, b"t": b"text " * 60, b"l": Link(b"f"), b"e": Directory(), b"s": Sparse(9000)}
NEW: Tree = {b"f": LARGE[:300] + b"x" + LARGE[300:]}
REFERENCE = "n:prod"


@dataclass(frozen=True, slots=True)
class Small:
    """A committed version, and the same damaged."""

    world: StoreWorld
    expected: dict[bytes, Thing]

    @property
    def keys(self) -> list[str]:
        """Objects that the version can't be read without, and `store.json`."""
        return [*sorted(filter(self.matters, self.world.memory.keys())), STORE]

    def matters(self, key: str) -> bool:
        memory = self.world.memory
        body = memory.get(key)
        memory.delete(key)
        try:
            self.world.stored(REFERENCE)
        except ArtifactStoreError:
            return True
        finally:
            memory.put(key, body)
        return False

    def read(self, key: str) -> str:
        """Read everything while the object is as it is: exact bytes, or an error that names it."""
        try:
            if key == STORE:
                with self.world.fresh_user() as store:
                    assert store.store_id
            found = self.world.stored(REFERENCE)
        except (CorruptData, UnsupportedFormat, NotFound, UnsafeManifest) as error:
            assert names(error, key), f"{error!r} does not lead to {key}"
            return type(error).__name__
        assert found == self.expected, f"wrong bytes from a damaged {key}"
        return "exact"

    def pull(self, key: str, destination: Path) -> str:
        """As `read`, by a pull: what is at the destination afterwards is of the version, or was there before."""
        before = tree_at(destination) if destination.exists() else None
        try:
            with self.world.fresh_user() as store:
                store.pull(REFERENCE, destination, options=PullOptions(strategy=ConflictStrategy.REPLACE))
        except (CorruptData, UnsupportedFormat, NotFound, UnsafeManifest) as error:
            assert names(error, key), f"{error!r} does not lead to {key}"
            if before is None:
                assert not destination.exists()
            else:
                for path, thing in tree_at(destination).items():
                    assert thing in (before.get(path), self.expected.get(path)), path
            return type(error).__name__
        assert tree_at(destination) == self.expected
        return "exact"


def names(error: ArtifactStoreError, key: str) -> bool:
    """Whether the error leads to the object: by its key, or by what its records point to."""
    if isinstance(error, NotFound):
        return True  # a name, slot or alias that does not read as one any more: it is named in the message
    related = {"outcome": "root", "root": "outcome"}
    text = f"{error.where} {getattr(error, 'key', '')} {error}"
    if key in text or ("/alias/prod/" in key and REFERENCE in text):
        return True
    if key.startswith("tx/"):
        head, _, last = key.rpartition("/")
        return f"{head}/{related[last]}" in text
    # What a pack's bytes say may be refused with the version's name.
    return isinstance(error, UnsafeManifest | CorruptData) and "n:v2" in text


@pytest.fixture
def small(prepared: Small) -> Iterator[Small]:
    snapshot = prepared.world.memory.snapshot()
    yield prepared
    prepared.world.memory.restore(snapshot)


@pytest.fixture(scope="module")
def prepared() -> Iterator[Small]:
    with quick_folder() as folder, small_limits():
        world = StoreWorld(folder, cut=SMALL_CUT)
        make_tree(folder / "tree", OLD)
        with world.store() as store:
            store.push(folder / "tree", "n")
            edit_tree(folder / "tree", NEW)
            store.push(folder / "tree", "n", options=PushOptions(aliases=("prod",)))
        yield Small(world, tree_at(folder / "tree"))


def test_the_store_has_one_of_each_kind_of_object(small: Small) -> None:
    kinds = {key.split("/")[0] + (key.rpartition("/")[2] if key.startswith("tx/") else "") for key in small.keys}
    assert {"packs", "txroot", "txoutcome", "names", STORE} <= kinds
    assert sum(key.startswith(PACKS) for key in small.keys) >= 3
    assert sum(len(small.world.memory.get(key)) for key in small.keys) < 10_000


def test_every_byte_of_every_object_flipped_in_turn(small: Small) -> None:
    """Fault 77."""
    memory, outcomes = small.world.memory, dict[str, int]()
    for key in small.keys:
        body = bytes(memory.get(key))
        for position in range(len(body)):
            damaged = bytearray(body)
            damaged[position] ^= 1 << position % 8
            memory.overwrite(key, damaged)
            outcome = small.read(key)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
        memory.overwrite(key, body)
    assert outcomes["CorruptData"] > 1500, outcomes
    print("flips:", outcomes)


def test_bytes_flipped_here_and_there_under_pulls(small: Small) -> None:
    """Fault 77, through all of a pull; over an older state of the destination, too."""
    memory = small.world.memory
    fresh, older = small.world.folder / "fresh", small.world.folder / "older"
    for key in small.keys:
        body = bytes(memory.get(key))
        for position in range(3, len(body), 31):
            damaged = bytearray(body)
            damaged[position] ^= 0x10
            memory.overwrite(key, damaged)
            shutil.rmtree(fresh, ignore_errors=True)
            small.pull(key, fresh)
            if position % 5 == 0:
                make_tree(older, OLD)
                small.pull(key, older)
        memory.overwrite(key, body)


def test_every_object_cut_short_at_many_lengths_and_grown_by_garbage(small: Small) -> None:
    """Fault 78."""
    memory = small.world.memory
    for key in small.keys:
        body = bytes(memory.get(key))
        for length in sorted({0, 1, 7, len(body) - 1, *range(0, len(body), 13)}):
            memory.overwrite(key, body[:length])
            is_whole = body[:length].strip() == body.strip()  # JSON but for the end of its last line
            assert small.read(key) != "exact" or is_whole or key.startswith(PACKS)
        for garbage in (b"\0", b"garbage" * 9, body):
            memory.overwrite(key, body + garbage)
            outcome = small.read(key)
            # A pack is read by ranges: what lies behind it is never seen. JSON allows white space, nothing else.
            assert outcome != "exact" or key.startswith((PACKS, STORE)), (key, garbage)
        memory.overwrite(key, body)


def test_every_object_gone(small: Small) -> None:
    """Fault 79: the error names what is gone and the version it hurts."""
    memory = small.world.memory
    for key in small.keys:
        body = memory.get(key)
        memory.delete(key)
        if key != STORE:
            assert small.read(key) in ("CorruptData", "NameNotFound", "VersionDeleted"), key
        if key.startswith((PACKS, "tx/")) and not key.endswith("/outcome"):
            with pytest.raises(CorruptData, match="n:v2") as caught:
                small.world.stored(REFERENCE)
            assert caught.value.key == key
        memory.put(key, body)


def test_every_pair_of_objects_exchanged(small: Small) -> None:
    """Fault 81: an object never stands in for another, of its own type or not."""
    memory, keys = small.world.memory, small.keys
    for number, one in enumerate(keys):
        for other in keys[number + 1 :]:
            bodies = memory.get(one), memory.get(other)
            memory.overwrite(one, bodies[1])
            memory.overwrite(other, bodies[0])
            try:
                assert small.world.stored(REFERENCE) == small.expected
                assert STORE in (one, other)
            except (CorruptData, UnsupportedFormat, NotFound, UnsafeManifest):
                pass
            memory.overwrite(one, bodies[0])
            memory.overwrite(other, bodies[1])


def test_other_versions_stay_readable_when_a_pack_is_lost(small: Small) -> None:
    """Fault 79."""
    memory = small.world.memory
    first = small.world.stored("n:v1")
    snapshot = memory.snapshot()
    readable = 0
    for key in small.keys:
        if key.startswith(PACKS):
            memory.delete(key)
            with pytest.raises(CorruptData):
                small.world.stored("n:v2")
            try:
                assert small.world.stored("n:v1") == first
                readable += 1
            except CorruptData as error:
                assert error.key == key
                assert error.versions == ("n:v1",)
            memory.restore(snapshot)
    assert readable


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    number=st.integers(0, 30),
    body=st.one_of(
        st.binary(max_size=300),
        st.sampled_from([b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 9000, b'{"format": 1e999}', b'{"format": 2}']),
        st.dictionaries(st.sampled_from(["format", "nonce", "tx", "slot", "state", "root"]), st.integers()).map(
            lambda fields: repr(fields).replace("'", '"').encode()
        ),
    ),
)
def test_nonsense_in_place_of_any_object_is_a_typed_error(small: Small, number: int, body: bytes) -> None:
    """Fault 87."""
    memory, keys = small.world.memory, small.keys
    key = keys[number % len(keys)]
    kept = memory.get(key)
    memory.overwrite(key, body)
    try:
        if key != STORE:
            assert small.read(key) != "exact"
        typed = CorruptData, UnsupportedFormat, NotFound, UnsafeManifest
        with small.world.fresh_user() as store, pytest.raises(typed):
            store.pull(REFERENCE, small.world.folder / "nowhere")
        assert not (small.world.folder / "nowhere").exists()
    finally:
        memory.overwrite(key, kept)


def test_store_of_a_newer_format_is_neither_read_nor_written(tmp_path: Path) -> None:
    """Fault 75."""
    world = StoreWorld(tmp_path)
    make_tree(tmp_path / "tree", {b"a": b"a"})
    body = bytes(world.memory.get("store.json"))
    for newer in (
        body.replace(b'"format": 1', b'"format": 2'),
        body.replace(b'"required_features": []', b'"required_features": ["x"]'),
    ):
        assert newer != body
        world.memory.overwrite("store.json", newer)
        before = world.memory.snapshot()
        with world.store() as store:
            for call in (
                lambda: store.push(tmp_path / "tree", "n"),
                lambda: store.pull("n", tmp_path / "elsewhere"),
                lambda: list(store.list()),
                lambda: store.open("n:v1/a"),
            ):
                with pytest.raises(UnsupportedFormat, match="Upgrade"):
                    call()
        assert world.memory.snapshot() == before


# Fault 86: two files of 320 bytes with one XXH3-128.
COLLIDING = [
    b"".join([bytes.fromhex(head), bytes(56), bytes.fromhex(middle), bytes(248)])
    for head, middle in [
        ("b8fe6c3907000000", "7c01812c40420f00"),
        ("b8fe6c3908000000", "7c01812c3f420f00"),
    ]
]


def test_files_that_collide_under_xxh3_are_told_apart_everywhere(tmp_path: Path) -> None:
    """Fault 86: XXH3 proves that files differ, never that they are equal."""
    one, other = COLLIDING
    assert one != other
    assert xxh3_of(one).hex() == xxh3_of(other).hex() == "e890f4b892ac05a51a36930f028029a2"
    world = StoreWorld(tmp_path)
    place, elsewhere = tmp_path / "tree", tmp_path / "elsewhere"
    make_tree(place, {b"both/1": one, b"both/2": other, b"changes": one})
    with world.store() as store:
        store.push(place, "n")
        store.pull("n", elsewhere)
        assert tree_at(elsewhere) == tree_at(place)
        edit_tree(place, {b"changes": other})
        assert [change.path for change in store.status(place).changes] == [b"changes"]
        assert store.push(place, "n").action == "committed"
        assert [change.path for change in store.diff("n:v1", "n:v2")] == [b"changes"]
        store.pull("n", elsewhere)
        assert (elsewhere / "changes").read_bytes() == other
        with store.open("n:v1/changes") as old:
            assert old.read() == one
    with world.fresh_user() as store:
        # Nothing is known here: the destination's files are looked at themselves.
        store.pull("n:v1", elsewhere, options=PullOptions(strategy=ConflictStrategy.REPLACE))
    assert (elsewhere / "changes").read_bytes() == one


@pytest.mark.parametrize("function", ["encode", "encode_each"])
def test_compressor_that_writes_nonsense_is_found_out_before_anything_is_sent(
    tmp_path: Path, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 84."""
    import zstandard

    wrong = zstandard.compress(b"something else")

    def nonsense(raw, codec):  # type: ignore[no-untyped-def]
        return Codec.ZSTD, wrong

    world = StoreWorld(tmp_path, cut=SMALL_CUT)
    make_tree(tmp_path / "tree", {b"small": b"text" * 20, b"large": b"text" * 900})
    real = getattr(pipeline, function)
    replacement = nonsense if function == "encode" else lambda raws, _: [nonsense(raw, _) for raw in raws]
    monkeypatch.setattr(pipeline, function, replacement)
    with world.store() as store:
        with pytest.raises(CorruptData, match="before it was sent") as caught:
            store.push(tmp_path / "tree", "n")
        assert "not sent" in str(caught.value)
        assert not world.packs()
        monkeypatch.setattr(pipeline, function, real)
        assert store.push(tmp_path / "tree", "n").action == "committed"
    assert world.stored("n") == tree_at(tmp_path / "tree")


def test_memory_that_changes_after_it_was_hashed_is_found_out_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 85: one bit of a pack flips between the digest and the request."""
    from artifactstore.pack.writer import PackBuilder

    real = PackBuilder.seal

    def flipped(self: PackBuilder):  # type: ignore[no-untyped-def]
        self._buffer[100] ^= 1
        return real(self)

    world = StoreWorld(tmp_path)
    make_tree(tmp_path / "tree", {b"a": seeded_bytes("a", 500)})
    monkeypatch.setattr(PackBuilder, "seal", flipped)
    with world.store() as store, pytest.raises(CorruptData, match="damaged in memory"):
        store.push(tmp_path / "tree", "n")
    assert not world.packs()


def test_another_store_under_the_same_url_is_refused_until_it_is_accepted(tmp_path: Path) -> None:
    """Fault 88: nothing is read from it or written to it."""
    world, other = StoreWorld(tmp_path / "1"), StoreWorld(tmp_path / "2")
    other.virtual_clock.random_bytes(1)
    make_tree(tmp_path / "tree", {b"a": b"a"})
    with world.store() as store:
        store.push(tmp_path / "tree", "n")
    body = bytes(world.memory.get("store.json"))
    swapped = body.replace(world.store().store_id.encode(), b"0" * 32)
    world.memory.overwrite("store.json", swapped)
    before = world.memory.snapshot()
    with world.store() as store:
        for call in (
            lambda: store.push(tmp_path / "tree", "n"),
            lambda: store.pull("n", tmp_path / "elsewhere"),
            lambda: list(store.versions("n")),
            lambda: store.set_alias("n:v1", "prod"),
            lambda: store.remove("n:v1"),
            lambda: store.open("n:v1/a"),
        ):
            with pytest.raises(ConfigurationError, match="another store before"):
                call()
        assert world.memory.snapshot() == before
        assert not store.init()
        assert [version.version for version in store.versions("n")] == ["n:v1"]
    with world.store() as store:
        assert store.pull("n", tmp_path / "elsewhere").files == 1


class TestStoreThatWentBackInTime:
    """Fault 82: whoever has seen more says so."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> StoreWorld:
        world = StoreWorld(tmp_path)
        make_tree(tmp_path / "tree", {b"a": b"0"})
        self.push(world)
        return world

    def push(self, world: StoreWorld, *, user: str = "user", aliases: tuple[str, ...] = ()) -> None:
        edit_tree(world.folder / "tree", {b"a": world.clock.random_bytes(8)})
        with world.store(user=user) as store:
            store.push(world.folder / "tree", "n", options=PushOptions(aliases=aliases))

    def pull(self, world: StoreWorld, reference: str = "n", *, user: str = "user") -> None:
        shutil.rmtree(world.folder / "elsewhere", ignore_errors=True)
        with world.store(user=user) as store:
            store.pull(reference, world.folder / "elsewhere")

    def warnings(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        found = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
        caplog.clear()
        return found

    @pytest.mark.parametrize("by", ["push", "pull"])
    def test_is_reported_by_whoever_saw_newer_versions(
        self, world: StoreWorld, by: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        old = world.memory.snapshot()
        self.push(world)
        self.push(world)
        self.pull(world, user="reader")
        assert not self.warnings(caplog)
        world.memory.restore(old)
        user = "user" if by == "push" else "reader"
        getattr(self, by)(world, user=user)
        [warning] = self.warnings(caplog)
        assert "n had version v3" in warning
        assert "its newest is v1" in warning
        assert "back in time" in warning
        getattr(self, by)(world, user="stranger")
        assert not self.warnings(caplog)

    def test_is_reported_where_the_name_is_gone_altogether(
        self, world: StoreWorld, caplog: pytest.LogCaptureFixture
    ) -> None:
        for key in list(world.memory.keys()):
            if key.startswith("names/"):
                world.memory.delete(key)
        with pytest.raises(NotFound):
            self.pull(world)
        [warning] = self.warnings(caplog)
        assert "now it has none" in warning

    @pytest.mark.parametrize("by", ["push", "pull"])
    def test_is_reported_by_the_moves_of_an_alias(
        self, world: StoreWorld, by: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.push(world, aliases=("prod",))
        old = set(world.memory.keys())
        for _ in range(3):
            self.push(world, aliases=("prod",))
        self.pull(world, "n:prod", user="reader")
        for key in set(world.memory.keys()) - old:
            if "/alias/" in key:
                world.memory.delete(key)
        assert not self.warnings(caplog)
        if by == "push":
            self.push(world, aliases=("prod",))
        else:
            self.pull(world, "n:prod", user="reader")
        [warning] = self.warnings(caplog)
        assert "alias prod of n had been moved 4 times" in warning

    def test_is_not_reported_for_versions_that_are_just_deleted_or_asked_for_by_number(
        self, world: StoreWorld, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.push(world)
        self.push(world)
        self.pull(world)
        self.pull(world, "n:v1")
        with world.store() as store:
            store.remove("n:v3")
        self.pull(world)
        self.push(world)
        assert not self.warnings(caplog)

    def test_is_not_reported_for_a_name_that_another_one_gave_way_to(
        self, world: StoreWorld, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(2):
            self.push(world, aliases=("prod",))
        with world.store() as store:
            options = PushOptions(strategy=Strategy.NEW, aliases=("prod",))
            assert store.push(world.folder / "tree", "n", options=options).name != "n"
        assert not self.warnings(caplog)

    def test_is_not_reported_for_what_others_made_meanwhile(
        self, world: StoreWorld, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Two processes of one user: the slower one has looked before the faster one counted on."""
        from artifactstore.backend.wrappers.fault import Fault, Meanwhile

        faulty = world.faulty(Fault(verb="put", key="tx/*/root", action=Meanwhile(lambda: self.push(world))))
        edit_tree(world.folder / "tree", {b"a": b"slow"})
        with world.store(through=faulty) as store:
            store.push(world.folder / "tree", "n")
        faulty = world.faulty(Fault(verb="get", key="names/*", action=Meanwhile(lambda: self.push(world))))
        with world.store(through=faulty) as store:
            store.pull("n", world.folder / "elsewhere")
        assert faulty.hits
        assert not self.warnings(caplog)


def test_file_that_is_all_right_is_read_although_another_is_damaged(small: Small) -> None:
    memory = small.world.memory
    with small.world.fresh_user() as store, store.open(f"{REFERENCE}/t") as stream:
        assert File(stream.read()) == small.expected[b"t"]
    snapshot, outcomes = memory.snapshot(), set()
    for key in small.keys:
        if key.startswith(PACKS):
            body = bytearray(memory.get(key))
            body[70] ^= 1
            memory.overwrite(key, body)
            for path in (b"f", b"t"):
                try:
                    with small.world.fresh_user() as store, store.open(f"{REFERENCE}/{path.decode()}") as stream:
                        assert File(stream.read()) == small.expected[path]
                    outcomes.add((path, "exact"))
                except CorruptData as error:
                    assert error.key == key
                    outcomes.add((path, "damaged"))
            memory.restore(snapshot)
    assert len(outcomes) == 4
