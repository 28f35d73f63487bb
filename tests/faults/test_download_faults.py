"""Pulls when bytes, disks, manifests and users fail them (faults 24, 42-45, 65-79, 81, 83)."""

import errno
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.wrappers.fault import transient
from artifactstore.digest import Buffer, PackId
from artifactstore.errors import (
    ArtifactStoreError,
    CorruptData,
    DestinationError,
    TransientBackendError,
    UnsafeManifest,
)
from artifactstore.keys import pack_key
from artifactstore.manifest.format import decode_root
from artifactstore.manifest.model import EntryKind, EntryPlaces, Extent
from artifactstore.testing.hostile_manifests import HostileManifest, hostile_manifests
from artifactstore.testing.stored_manifests import PackShelf, file_entry, store_built
from artifactstore.testing.stored_versions import Directory, File, Link, Thing, VersionMaker
from artifactstore.transfer.conflict import LocalFact
from artifactstore.transfer.download import Means, download
from artifactstore.transfer.folders import System
from artifactstore.transfer.local_chunks import LocalFile
from artifactstore.transfer.pieces import LocalRun
from artifactstore.transfer.plan import ConflictStrategy, DownloadResult, PullOptions
from artifactstore.transfer.progress import NullProgress
from artifactstore.transfer.survey import KnownPlaces
from artifactstore.tree import StoredTree

MIB = 1 << 20
REPLACE = PullOptions(strategy=ConflictStrategy.REPLACE)


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


def contents(root: Path) -> dict[str, bytes]:
    """Every file and link below a directory, our own temporary names included."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(root))] = b"-> " + os.fsencode(os.readlink(path))
        elif path.is_file():
            found[str(path.relative_to(root))] = path.read_bytes()
    return found


class Damaged(MemoryBackend):
    """Serves other bytes than are stored."""

    def __init__(self, stored: MemoryBackend, damage: Callable[[str, bytes], bytes | None]) -> None:
        super().__init__()
        for info in stored.list(""):
            body = damage(info.key, bytes(stored.get(info.key)))
            if body is not None:
                self.put(info.key, body)


FEW: dict[bytes, Thing] = {b"a": b"some text", b"d/b": noise(1, 300), b"d/c": b"x" * 500}
MANY: dict[bytes, Thing] = {b"%d" % n: noise(n, 60_000) for n in range(60)} | {b"big": noise(99, 9 * MIB)}
OLD: dict[bytes, Thing] = {b"a/x": b"old", b"a/big": noise(1, 2 * MIB), b"l": Link(b"old"), b"k": b"k", b"z/z": b"z"}
NEW: dict[bytes, Thing] = {
    b"a/x": b"new",
    b"a/big": noise(2, 2 * MIB),
    b"l": Link(b"new"),
    b"k/1": b"1",
    b"n/m/o": File(b"n", executable=True),
    b"e": Directory(),
}
HOSTILE = [case for case in hostile_manifests() if not case.in_root]


class TestDamagedPacks:
    """Wrong bytes never get a name, and the message says whose they are."""

    @pytest.fixture
    def stored(self) -> MemoryBackend:
        return MemoryBackend()

    def keys(self, backend: MemoryBackend) -> list[str]:
        return [info.key for info in backend.list("packs/")]

    def test_any_flipped_byte_is_found_or_of_no_account(self, stored: MemoryBackend, tmp_path: Path) -> None:
        tree = VersionMaker(stored).make(FEW)
        sound = {"a": b"some text", "d/b": noise(1, 300), "d/c": b"x" * 500}
        found = 0
        for key in self.keys(stored):
            for position in range(len(stored.get(key))):

                def flip(name: str, body: bytes, key: str = key, at: int = position) -> bytes:
                    return body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1 :] if name == key else body

                damaged = Damaged(stored, flip)
                root = tmp_path / f"{key[-4:]}{position}"
                try:
                    download(StoredTree(damaged, tree.root, version="name:v1"), damaged, root)
                except CorruptData as error:
                    found += 1
                    assert error.key == key and error.versions == ("name:v1",)
                    assert not root.exists()
                else:
                    assert contents(root) == sound
        assert found > 300
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]

    @pytest.mark.parametrize("keep", [0, 10, 64, 80, 400, -1])
    def test_a_truncated_pack_is_found(self, stored: MemoryBackend, tmp_path: Path, keep: int) -> None:  # fault 78
        tree = VersionMaker(stored).make({b"x": noise(1, 100_000)})
        key = max(self.keys(stored), key=lambda k: len(stored.get(k)))
        damaged = Damaged(stored, lambda name, body: body[:keep] if name == key else body)
        if keep == -1:
            download(StoredTree(damaged, tree.root), damaged, tmp_path / "dest")  # only the tail suffers
            return
        with pytest.raises(CorruptData) as caught:
            download(StoredTree(damaged, tree.root, version="name:v1"), damaged, tmp_path / "dest")
        assert caught.value.key == key and os.listdir(tmp_path) == []

    def test_a_missing_pack_names_the_files_it_hurts(self, stored: MemoryBackend, tmp_path: Path) -> None:  # fault 79
        maker = VersionMaker(stored)
        maker.make({b"first": noise(1, 1000)})
        before = set(self.keys(stored))
        tree = maker.make({b"first": noise(1, 1000), b"second": noise(2, 90_000), b"third": noise(3, 90_000)})
        lost = max(set(self.keys(stored)) - before, key=lambda k: len(stored.get(k)))
        damaged = Damaged(stored, lambda name, body: None if name == lost else body)
        with pytest.raises(CorruptData, match=r"a pack is gone.*second.*1 more") as caught:
            download(StoredTree(damaged, tree.root, version="name:v2"), damaged, tmp_path / "dest")
        assert caught.value.key == lost and caught.value.versions == ("name:v2",)

    @pytest.mark.parametrize("size", [5000, 900_000, 12 * MIB], ids=["one chunk", "several", "large"])
    def test_swapped_chunks_are_found_and_named(self, stored: MemoryBackend, tmp_path: Path, size: int) -> None:
        # fault 81: both records are sound, and each stands where the other should
        tree = VersionMaker(stored, pack_bytes=16 * MIB).make({b"x": b"A" * size, b"y": b"B" * size})
        rows = {e.path: (e, p, b) for e, p, b in tree.entries()}

        def swapped(path: bytes, other: bytes) -> StoredTree:
            shelf = PackShelf(stored, seed=path.decode())
            shelf._rows.extend(tree.root.packs)  # type: ignore[attr-defined]
            numbers = {row.pack: n for n, row in enumerate(tree.root.packs)}
            _, places, block = rows[other]
            moved = tuple(
                msgspec.structs.replace(e, pack=numbers[block.packs[e.pack]]) for e in places.extents
            )
            return StoredTree(stored, store_built([rows[path][0]], [EntryPlaces(moved)], shelf), version="name:v1")

        with pytest.raises(CorruptData, match="x") as caught:
            download(swapped(b"x", b"y"), stored, tmp_path / "dest")
        assert caught.value.versions == ("name:v1",) and os.listdir(tmp_path) == []

    def test_the_other_files_of_an_occupied_destination_stay_as_they_were(
        self, stored: MemoryBackend, tmp_path: Path
    ) -> None:
        maker = VersionMaker(stored)
        root = tmp_path / "dest"
        base = download(maker.make({b"x": noise(1, 3 * MIB), b"y": b"1"}), stored, root).entries
        before = contents(root)
        tree = maker.make({b"x": noise(2, 3 * MIB), b"y": b"1"})
        key = max((row for row in tree.root.packs), key=lambda row: row.object_bytes).pack.hex()

        def flip(name: str, body: bytes) -> bytes:
            return body[: MIB + 7] + b"!!" + body[MIB + 9 :] if name.endswith(key) else body

        damaged = Damaged(stored, flip)
        for means in (Means(), Means(budget_bytes=1)):
            with pytest.raises(CorruptData):
                download(StoredTree(damaged, tree.root), damaged, root, base=base, means=means)
            assert contents(root) == before

    @pytest.mark.parametrize("lie", [10, -10])
    def test_extents_that_lie_about_their_content_do_not_shift_it(
        self, stored: MemoryBackend, tmp_path: Path, lie: int
    ) -> None:
        # The digest over all chunks would be right. Where they are written depends on the lie.
        shelf = PackShelf(stored, capacity_bytes=16 * MIB)
        content = noise(1, 4 * MIB)
        digest, places = shelf.add_file(content)
        shelf.seal()
        first, *rest = places.extents
        second = rest.pop()
        lied = (
            msgspec.structs.replace(first, content_length=first.content_length + lie),
            *rest,
            msgspec.structs.replace(second, content_length=second.content_length - lie),
        )
        tree = StoredTree(stored, store_built([file_entry(b"x", content, digest)], [EntryPlaces(lied)], shelf))
        for means in (Means(), Means(budget_bytes=1)):
            root = tmp_path / str(means.window_bytes)
            try:
                download(tree, stored, root, means=means)
            except CorruptData:
                assert not root.exists()
            else:
                assert (root / "x").read_bytes() == content


class TestOldFiles:
    """What is taken out of an older version of a file that lies here is checked, and else fetched."""

    OLD = noise(7, 4 * MIB)
    NEW = noise(8, 100_000) + OLD

    class Remembered:
        """Says truly where the first version's content lies, and lets something happen when it is asked."""

        def __init__(self, first: DownloadResult, meanwhile: Callable[[], object]) -> None:
            [self._file] = first.synced
            self._meanwhile = meanwhile

        def digest(self, path: bytes, fact: LocalFact) -> bytes:
            return self._file.entry.digest

        def places(self, path: bytes, fact: LocalFact) -> KnownPlaces | None:
            self._meanwhile()
            return KnownPlaces(self._file.places.extents, self._file.packs)

    @pytest.mark.parametrize("here", [b"", noise(9, 4 * MIB), OLD[:MIB] + b"!" + OLD[MIB + 1 :]])
    def test_a_file_that_changes_once_it_is_open_is_left_alone(self, tmp_path: Path, here: bytes) -> None:
        backend = MemoryBackend()
        maker, root = VersionMaker(backend), tmp_path / "dest"
        first = download(maker.make({b"x": self.OLD}), backend, root)
        known = self.Remembered(first, lambda: (root / "x").write_bytes(here))
        with pytest.raises(DestinationError, match="changed"):
            download(maker.make({b"x": self.NEW}), backend, root, base=first.entries, known=known)
        assert contents(root) == {"x": here}

    @pytest.mark.parametrize("is_here", [True, False], ids=["here", "changed here"])
    def test_a_pack_that_is_gone_is_missed_where_the_old_file_lacks_its_chunks(
        self, tmp_path: Path, is_here: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = MemoryBackend()
        maker, root = VersionMaker(backend), tmp_path / "dest"
        first = download(maker.make({b"x": self.OLD}), backend, root)
        tree = maker.make({b"x": self.NEW})
        read = LocalFile.read

        def gone(file: LocalFile, run: LocalRun, buffer: memoryview) -> list[int]:
            for key in {pack_key(run.stored.pack)} & {info.key for info in backend.list("packs/")}:
                backend.delete(key)
            return read(file, run, buffer) if is_here else [*range(len(run.chunks))][1:]

        monkeypatch.setattr(LocalFile, "read", gone)
        known = self.Remembered(first, lambda: None)
        means = Means(jobs=1)
        if is_here:
            download(tree, backend, root, base=first.entries, known=known, means=means)
            assert contents(root) == {"x": self.NEW}
            return
        with pytest.raises(CorruptData, match="a pack is gone"):
            download(tree, backend, root, base=first.entries, known=known, means=means)
        assert contents(root) == {"x": self.OLD}

    def test_a_damaged_table_costs_the_saving_only(self, tmp_path: Path) -> None:
        stored = MemoryBackend()
        maker, root = VersionMaker(stored), tmp_path / "dest"
        first = download(maker.make({b"x": self.OLD}), stored, root)
        tree = maker.make({b"x": self.NEW})
        packs = {pack_key(PackId(pack)) for file in first.synced for pack in file.packs}

        def tail(name: str, body: bytes) -> bytes:
            return body[:-50] + bytes([body[-50] ^ 1]) + body[-49:] if name in packs else body

        damaged = Damaged(stored, tail)
        known = self.Remembered(first, lambda: None)
        result = download(StoredTree(damaged, tree.root), damaged, root, base=first.entries, known=known)
        assert contents(root) == {"x": self.NEW} and result.reused_bytes == 0


class TestHostileManifests:
    """Nothing that a manifest says is written outside, and nothing at all of a bad one (faults 65, 66, 69-75)."""

    @pytest.mark.parametrize("case", HOSTILE, ids=str)
    @pytest.mark.parametrize("occupied", [False, True], ids=["fresh", "occupied"])
    def test_it_is_refused_before_the_first_write(
        self, case: HostileManifest, tmp_path: Path, occupied: bool
    ) -> None:
        backend = MemoryBackend()
        canary = tmp_path / "canary"
        canary.write_bytes(b"alive")
        root = tmp_path / "home" / "dest"
        root.parent.mkdir()
        if occupied:
            root.mkdir()
            (root / "mine").write_bytes(b"mine")
        before, looks = contents(tmp_path), canary.stat()
        options = PullOptions(strategy=ConflictStrategy.REPLACE, delete=True, confirm_delete=True)
        with pytest.raises(case.error):
            download(StoredTree(backend, decode_root(case.data)), backend, root, options=options)
        assert contents(tmp_path) == before and os.listdir(root.parent) == (["dest"] if occupied else [])
        assert canary.stat() == looks

    @pytest.mark.parametrize("name", [b"..", b".", b".artifactstore-tmp-x"])
    def test_a_part_is_checked_under_the_names_it_lands_at(self, tmp_path: Path, name: bytes) -> None:
        shelf = PackShelf(MemoryBackend())
        digest, places = shelf.add_file(b"evil")
        shelf.seal()
        backend = shelf._backend
        entries = [file_entry(b"a/" + name, b"evil", digest)]
        for prefix in (b"a/" + name, b"a"):
            with pytest.raises(UnsafeManifest):
                tree = StoredTree(backend, store_built(entries, [places], shelf))
                download(tree, backend, tmp_path / "dest", prefix=prefix)
        assert os.listdir(tmp_path) == []


class Failing(System):
    """Fails the nth of all calls that change something."""

    CALLS = ("open_directory", "create", "write", "truncate", "mkdir", "symlink", "rename", "unlink", "rmdir", "sync")

    def __init__(self, number: int, code: int) -> None:
        self.left = number
        self.code = code
        self.failed = ""
        for name in self.CALLS:
            setattr(self, name, self._wrapped(name, getattr(self, name)))

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                self.failed = name
                raise OSError(self.code, os.strerror(self.code))
            return call(*args, **kwargs)

        return wrapped


class TestFailingDisk:
    """Each system call fails once, one after the other (faults 41-45)."""

    @pytest.fixture
    def versions(self) -> tuple[MemoryBackend, StoredTree, StoredTree]:
        backend = MemoryBackend()
        maker = VersionMaker(backend)
        return backend, maker.make(OLD), maker.make(NEW)

    @pytest.mark.parametrize(
        ("code", "state", "durable"),
        [
            (errno.ENOSPC, "absent", False),
            (errno.EIO, "absent", True),
            (errno.EMFILE, "empty", False),
            (errno.EDQUOT, "empty", True),
        ],
    )
    def test_a_fresh_destination_appears_whole_or_not_at_all(
        self,
        versions: tuple[MemoryBackend, StoredTree, StoredTree],
        tmp_path: Path,
        code: int,
        state: str,
        durable: bool,
    ) -> None:
        backend, _, new = versions
        failures: set[str] = set()
        options = PullOptions(durable=durable)
        download(new, backend, tmp_path / "model")
        whole = contents(tmp_path / "model")
        _remove(tmp_path / "model")
        for number in range(1, 200):
            system = Failing(number, code)
            root = tmp_path / "dest"
            if state == "empty":
                root.mkdir()
            try:
                download(new, backend, root, means=Means(jobs=1, system=system, budget_bytes=1), options=options)
            except DestinationError as error:
                assert error.where and "run the same pull again" in str(error)
                failures.add(system.failed)
                # It shows only when all of it is there; what can fail after that is to flush or to tidy up.
                found = contents(root) if root.exists() else {}
                assert not found or (found == whole and system.failed == "sync")
            else:
                assert not system.failed or system.failed in ("unlink", "rmdir")  # of our own leftovers
                if not system.failed:
                    break
            if root.exists():
                _remove(root)
            assert os.listdir(tmp_path) == []
        else:
            raise AssertionError("no end")
        assert {"create", "write", "mkdir", "symlink", "rename", "truncate"} <= failures
        assert contents(root) == whole

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
    def test_an_occupied_one_never_holds_half_a_file_and_a_second_run_finishes(
        self, versions: tuple[MemoryBackend, StoredTree, StoredTree], tmp_path: Path, code: int
    ) -> None:
        backend, old, new = versions
        download(old, backend, tmp_path / "old")
        download(new, backend, tmp_path / "new")
        whole = {path: {body} for path, body in contents(tmp_path / "old").items()}
        for path, body in contents(tmp_path / "new").items():
            whole.setdefault(path, set()).add(body)
        for number in range(1, 300):
            root = tmp_path / f"dest{number}"
            base = download(old, backend, root).entries
            system = Failing(number, code)
            try:
                download(new, backend, root, base=base, means=Means(jobs=1, system=system, budget_bytes=1))
            except DestinationError:
                for path, body in contents(root).items():
                    assert body in whole[path], f"{path} after {system.failed} failed ({number})"
            download(new, backend, root, base=base, options=REPLACE)
            assert contents(root) == contents(tmp_path / "new")
            if not system.failed:
                break
            _remove(root)
        else:
            raise AssertionError("no end")

    def test_a_full_disk_names_the_path_and_the_bytes(
        self, versions: tuple[MemoryBackend, StoredTree, StoredTree], tmp_path: Path
    ) -> None:  # fault 42
        backend, old, _ = versions

        class Full(System):
            def write(self, *args: Any) -> int:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with pytest.raises(DestinationError, match=r"no space for .*: [\d,]+ bytes are needed, [\d,]+ are free"):
            download(old, backend, tmp_path / "dest", means=Means(system=Full()))
        assert os.listdir(tmp_path) == []

    @pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
    def test_a_real_small_file_system(
        self, versions: tuple[MemoryBackend, StoredTree, StoredTree], tmp_path: Path
    ) -> None:
        backend, old, _ = versions
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=False)
        if mounted.returncode:
            pytest.skip("this machine does not mount")
        try:
            with pytest.raises(DestinationError, match="bytes are needed"):
                download(old, backend, tmp_path / "dest")

            class Boundless(System):
                def room(self, descriptor: int) -> os.statvfs_result:
                    return os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255))

            with pytest.raises(DestinationError, match="no space"):
                download(old, backend, tmp_path / "dest", means=Means(system=Boundless()))
            assert os.listdir(tmp_path) == []
        finally:
            subprocess.run(["umount", str(tmp_path)], check=True)


class TestBeforehand:
    """What can be known to fail is refused before a byte of content is fetched (faults 42, 44, 60)."""

    THINGS = (b"A", b"a", b"d/x")

    @pytest.mark.parametrize("occupied", [False, True], ids=["fresh", "occupied"])
    @pytest.mark.parametrize("fault", ["folds", "full", "locked"])
    def test_nothing_is_fetched_in_vain(self, tmp_path: Path, fault: str, occupied: bool) -> None:
        if fault == "locked" and not occupied:
            return  # a fresh one is made by us

        class Odd(System):
            def stat(self, name: bytes, parent: int) -> os.stat_result:
                for other in os.listdir(parent):
                    if fault == "folds" and other.lower() == os.fsdecode(name).lower():
                        return super().stat(os.fsencode(other), parent)
                return super().stat(name, parent)

            def room(self, descriptor: int) -> os.statvfs_result:
                free = 0 if fault == "full" else 1 << 30
                return os.statvfs_result((4096, 4096, 1 << 30, free, free, 9, 9, 9, 0, 255))

            def may_write(self, directory: int) -> bool:
                return fault != "locked"

        class Watched(MemoryBackend):
            def get_range(self, key: str, start: int, length: int) -> Buffer:
                raise AssertionError("something was fetched")

        stored = MemoryBackend()
        tree = VersionMaker(stored).make(dict.fromkeys(self.THINGS, b"content"))
        if occupied:
            (tmp_path / "dest" / "d").mkdir(parents=True)
            (tmp_path / "dest" / "mine").write_bytes(b"mine")
        before = contents(tmp_path)
        with pytest.raises(DestinationError):
            # The manifest lies in the root: what is fetched would be content.
            watched = Watched()
            download(StoredTree(watched, tree.root), watched, tmp_path / "dest", means=Means(system=Odd()))
        assert contents(tmp_path) == before


def _remove(root: Path) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    root.rmdir()


class TestInterrupted:
    """Storage that stops answering, and users who press Ctrl-C."""

    @pytest.fixture
    def backend(self) -> MemoryBackend:
        return MemoryBackend()

    def starts(self, tmp_path: Path) -> Iterator[Path]:
        yield tmp_path / "absent"
        (tmp_path / "occupied").mkdir()
        (tmp_path / "occupied" / "mine").write_bytes(b"mine")
        yield tmp_path / "occupied"

    def test_a_storage_error_on_any_request_leaves_nothing_half_done(
        self, backend: MemoryBackend, tmp_path: Path
    ) -> None:
        tree = VersionMaker(backend).make(MANY)
        sizes = {name.decode(): len(body) for name, body in MANY.items() if isinstance(body, bytes)}

        class Stopping(MemoryBackend):
            left = 0

            def get_range(self, key: str, start: int, length: int) -> Buffer:
                self.left -= 1
                if self.left == 0:
                    raise transient(key)
                return backend.get_range(key, start, length)

        for root in self.starts(tmp_path):
            for number in range(1, 100):
                stopping = Stopping()
                stopping.left = number
                try:
                    again = StoredTree(stopping, tree.root)
                    download(again, stopping, root, means=Means(budget_bytes=1), options=REPLACE)
                except TransientBackendError:
                    found = contents(root)
                    found.pop("mine", None)
                    assert all(len(body) == sizes[name] for name, body in found.items())
                    assert not found or root.name == "occupied"
                else:
                    break
            else:
                raise AssertionError("no end")
            assert number > 5
        assert sorted(os.listdir(tmp_path)) == ["absent", "occupied"]

    def test_ctrl_c_cleans_up_after_itself(self, backend: MemoryBackend, tmp_path: Path) -> None:  # fault 11
        tree = VersionMaker(backend).make(MANY)

        class Impatient(NullProgress):
            def advance(self, *, files: int = 0, content_bytes: int = 0, saved_bytes: int = 0) -> None:
                raise KeyboardInterrupt

        for root in self.starts(tmp_path):
            with pytest.raises(KeyboardInterrupt):
                download(tree, backend, root, means=Means(progress=Impatient(), budget_bytes=1))
            assert not [name for name in contents(tmp_path) if ".artifactstore-tmp-" in name]
        assert os.listdir(tmp_path) == ["occupied"]

    def test_a_killed_pull_leaves_whole_files_and_a_second_one_finishes(self, tmp_path: Path) -> None:
        script = textwrap.dedent(f"""
            import os, random, signal, sys
            from artifactstore.backend.memory import MemoryBackend
            from artifactstore.testing.stored_versions import VersionMaker
            from artifactstore.transfer.download import Means, download
            from artifactstore.transfer.folders import System
            from artifactstore.transfer.plan import ConflictStrategy, PullOptions

            class Killed(System):
                left = int(sys.argv[2])
                def write(self, *args):
                    Killed.left -= 1
                    if Killed.left == 0:
                        os.kill(os.getpid(), {int(signal.SIGKILL)})
                    return super().write(*args)

            backend = MemoryBackend()
            things = {{b"%d" % n: random.Random(n).randbytes(60_000) for n in range(20)}}
            tree = VersionMaker(backend).make(things)
            options = PullOptions(strategy=ConflictStrategy.REPLACE)
            download(tree, backend, sys.argv[1], options=options, means=Means(system=Killed()))
        """)
        root = tmp_path / "dest"
        root.mkdir()
        (root / "mine").write_bytes(b"mine")
        for left, code in ((7, -signal.SIGKILL), (0, 0)):
            done = subprocess.run([sys.executable, "-c", script, str(root), str(left)], check=False, timeout=60)
            assert done.returncode == code
            named = {n: body for n, body in contents(root).items() if not n.startswith(".artifactstore-tmp-")}
            assert named.pop("mine") == b"mine"
            assert all(body == noise(int(name), 60_000) for name, body in named.items())
        assert len(named) == 20


def test_every_error_says_what_where_and_what_next(tmp_path: Path) -> None:
    backend = MemoryBackend()
    tree = VersionMaker(backend).make({b"x": b"content"})
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactStoreError) as caught:
        download(tree, backend, tmp_path / "file")
    error = caught.value
    assert error.what and error.where and error.data_safe and error.next_step


def test_a_deep_extent_of_another_kind_is_not_content(tmp_path: Path) -> None:  # fault 81
    backend = MemoryBackend()
    tree = VersionMaker(backend).make({b"x": noise(1, 100)})
    [(entry, _, _)] = list(tree.entries())
    [row] = [r for r in tree.root.packs if r.used_bytes]
    stored = tree.root.blocks[0].stored
    if stored.pack < 0:
        return  # the block lies in the root; nothing to point at
    place = Extent(0, stored.chunk, 1, stored.offset, stored.stored_length, entry.size)
    shelf = PackShelf(backend, seed="x")
    shelf._rows.append(row)
    assert entry.kind == EntryKind.FILE
    bad = StoredTree(backend, store_built([entry], [EntryPlaces((place,))], shelf))
    with pytest.raises(CorruptData):
        download(bad, backend, tmp_path / "dest")
