"""The contained writer: whole files, below the destination, through no link (faults 34, 42, 44, 45, 56-61, 66-68)."""

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.errors import DestinationError, DestinationExists
from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.transfer.destination import Destination, OccupiedDestination
from artifactstore.transfer.folders import MAX_HANDLES, SYSTEM, Folders, System, remove_tree
from artifactstore.transfer.local_chunks import fact_of
from artifactstore.transfer.plan import Removal, Write
from artifactstore.transfer.preflight import State, check_rights, check_room, check_twins, look, open_destination

DEEP = b"/".join([b"d" * 40] * 1000)  # 1,000 levels, 41,000 bytes


def file(path: bytes, content: bytes = b"", *, executable: bool = False) -> Write:
    return Write(Entry(path, EntryKind.FILE, len(content), executable), path)


def names(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*"))


@contextlib.contextmanager
def opened(root: Path, *, system: System = SYSTEM, durable: bool = False) -> Iterator[Destination]:
    path = os.fsencode(root)
    destination = open_destination(path, look(path), clock=SYSTEM_CLOCK, durable=durable, system=system)
    try:
        yield destination
    finally:
        destination.close()


def write(destination: Destination, path: bytes, content: bytes, *, executable: bool = False) -> None:
    with destination.folders() as folders:
        destination.land_file(folders, file(path, content, executable=executable), [content] if content else [])


@pytest.fixture
def occupied(tmp_path: Path) -> Path:
    root = tmp_path / "dest"
    root.mkdir()
    (root / "mine").write_bytes(b"mine")
    return root


class TestFresh:
    """Nothing is seen of a fresh destination before all of it is there."""

    def test_an_absent_one_appears_by_one_rename(self, tmp_path: Path) -> None:
        root = tmp_path / "not" / "there" / "yet"
        with opened(root) as destination:
            write(destination, b"a/b/x", b"content")
            assert not root.exists()
            destination.finish()
        assert names(root) == ["a", "a/b", "a/b/x"]
        assert names(root.parent) == ["yet", "yet/a", "yet/a/b", "yet/a/b/x"]

    def test_an_empty_one_stays_the_same_directory(self, tmp_path: Path) -> None:
        inode = tmp_path.stat().st_ino
        with opened(tmp_path) as destination:
            write(destination, b"a/x", b"1")
            write(destination, b"y", b"2")
            assert not (tmp_path / "a").exists() and not (tmp_path / "y").exists()
            destination.finish()
        assert names(tmp_path) == ["a", "a/x", "y"]
        assert tmp_path.stat().st_ino == inode

    def test_how_a_file_looks_is_told_as_it_is_after_the_renames(self, tmp_path: Path) -> None:
        with opened(tmp_path) as destination, destination.folders() as folders:
            top, below = file(b"y", b"2"), file(b"a/x", b"1")
            seen = [(w, destination.land_file(folders, w, [b"."])) for w in (top, below)]
            destination.finish()
            for w, status in seen:
                told, is_now = destination.settled(w, status), os.stat(os.path.join(os.fsencode(tmp_path), w.path))
                assert fact_of(told) == fact_of(is_now)

    @pytest.mark.parametrize("state", [State.ABSENT, State.EMPTY])
    def test_an_abandoned_one_leaves_nothing(self, tmp_path: Path, state: State) -> None:
        root = tmp_path / "dest"
        if state is State.EMPTY:
            root.mkdir()
        with opened(root) as destination:
            write(destination, b"a/b/x", b"1")
            (tmp_path / "outside").write_bytes(b"stays")
            with destination.folders() as folders:
                to_outside = Entry(b"l", EntryKind.LINK, target=os.fsencode(tmp_path))
                destination.land_link(folders, Write(to_outside, b"l"))
            destination.abandon()
        assert names(tmp_path) == (["dest", "outside"] if state is State.EMPTY else ["outside"])

    @pytest.mark.parametrize("empty", [False, True], ids=["absent", "empty"])
    def test_something_that_appeared_meanwhile_is_not_touched(self, tmp_path: Path, empty: bool) -> None:
        root = tmp_path / "dest"
        if empty:
            root.mkdir()
        with opened(root) as destination:
            write(destination, b"x", b"1")
            root.mkdir(exist_ok=True)
            (root / "x").write_bytes(b"theirs")
            with pytest.raises(DestinationExists):
                destination.finish()
            destination.abandon()
        assert names(root) == ["x"] and (root / "x").read_bytes() == b"theirs"

    def test_leftovers_of_a_killed_pull_count_as_nothing(self, tmp_path: Path) -> None:
        (tmp_path / ".artifactstore-tmp-1").mkdir()
        assert look(os.fsencode(tmp_path)) is State.EMPTY

    def test_a_file_and_a_dangling_link_are_no_destinations(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        (tmp_path / "link").symlink_to("nowhere")
        for name in ("file", "link"):
            with pytest.raises(DestinationExists):
                look(os.fsencode(tmp_path / name))

    def test_a_link_that_the_user_named_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        with opened(tmp_path / "link") as destination:
            write(destination, b"x", b"1")
            destination.finish()
        assert names(tmp_path / "real") == ["x"]


class TestFiles:
    """Content, permissions, names."""

    def test_the_executable_bit_is_honoured_and_so_is_the_umask(self, occupied: Path) -> None:
        old = os.umask(0o027)
        try:
            with opened(occupied) as destination:
                write(destination, b"plain", b"1")
                write(destination, b"d/run", b"2", executable=True)
        finally:
            os.umask(old)
        modes = {p: stat.S_IMODE((occupied / p).stat().st_mode) for p in ("plain", "d/run", "d")}
        assert modes == {"plain": 0o640, "d/run": 0o750, "d": 0o750}

    def test_many_buffers_are_one_file(self, occupied: Path) -> None:
        buffers: list[bytes | bytearray | memoryview] = [b"%d," % n for n in range(3000)]
        with opened(occupied) as destination, destination.folders() as folders:
            destination.land_file(folders, file(b"x"), buffers)
        assert (occupied / "x").read_bytes() == b"".join(buffers)

    def test_short_writes_are_gone_on_with(self, occupied: Path) -> None:
        class Slow(System):
            def write(
                self, descriptor: int, buffers: list[bytes | bytearray | memoryview], offset: int
            ) -> int:
                return os.pwrite(descriptor, bytes(buffers[0])[:3], offset)

        with opened(occupied, system=Slow()) as destination:
            write(destination, b"x", b"0123456789")
        assert (occupied / "x").read_bytes() == b"0123456789"

    def test_paths_deeper_and_longer_than_the_kernel_takes(self, tmp_path: Path) -> None:  # fault 59
        root = tmp_path / "dest"
        with opened(root) as destination:
            write(destination, DEEP + b"/x", b"deep")
            destination.finish()
        with contextlib.closing(_handle(root)) as handle, Folders(handle.fileno()) as folders:
            assert os.listdir(folders.open(DEEP)) == ["x"]
        with contextlib.closing(_handle(tmp_path)) as handle:
            remove_tree(b"dest", handle.fileno())
        assert names(tmp_path) == []

    def test_handles_are_bounded_however_deep_it_goes(self, tmp_path: Path) -> None:  # fault 45
        opened_now, most = 0, 0

        class Counting(System):
            def open_directory(self, name: bytes, parent: int) -> int:
                nonlocal opened_now, most
                handle = super().open_directory(name, parent)
                opened_now += 1
                most = max(most, opened_now)
                return handle

            def close(self, descriptor: int) -> None:
                nonlocal opened_now
                opened_now -= 1
                super().close(descriptor)

        with contextlib.closing(_handle(tmp_path)) as handle:
            with Folders(handle.fileno(), system=Counting(), make=True) as folders:
                deep = b"/".join([b"d"] * 200)
                folders.open(deep)
                folders.open(b"d/d/d")
                folders.open(deep)
                folders.open(b"")
            remove_tree(b"d", handle.fileno())
        assert opened_now == 0 and most <= MAX_HANDLES + 1

    def test_odd_names_come_out_as_they_went_in(self, occupied: Path) -> None:  # faults 57, 58, 61
        odd = [b"new\nline", b"\xff\xfe", b"-rf", b" ", b"a:b", b"x\\y", b"CON", b"dot.", b".git", b"\x1b[31m"]
        with opened(occupied) as destination:
            for name in odd:
                write(destination, b"sub/" + name, name)
        assert sorted(os.listdir(os.fsencode(occupied / "sub"))) == sorted(odd)


class _Handle:
    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)


def _handle(path: Path) -> _Handle:
    return _Handle(path)


class TestContained:
    """Links, whoever made them, lead nowhere."""

    @pytest.mark.parametrize("target", ["../outside", "mine", "nowhere"], ids=["outside", "a file", "dangling"])
    def test_a_link_on_the_way_ends_it(self, occupied: Path, target: str) -> None:  # faults 66, 67
        (occupied.parent / "outside").mkdir()
        (occupied / "way").symlink_to(target)
        with opened(occupied) as destination, pytest.raises(DestinationError, match="way/x"):
            write(destination, b"way/x", b"escaped")
        assert names(occupied.parent / "outside") == []
        assert (occupied / "way").is_symlink()

    def test_a_link_in_place_of_a_file_is_replaced_not_followed(self, occupied: Path) -> None:
        (occupied.parent / "secret").write_bytes(b"secret")
        (occupied / "x").symlink_to("../secret")
        fact = fact_of((occupied / "x").lstat())
        with opened(occupied) as destination, destination.folders() as folders:
            destination.land_file(folders, Write(file(b"x", b"new").entry, b"x", fact), [b"new"])
        assert (occupied / "x").read_bytes() == b"new" and not (occupied / "x").is_symlink()
        assert (occupied.parent / "secret").read_bytes() == b"secret"

    def test_a_hard_link_to_the_outside_is_parted_not_written_through(self, occupied: Path) -> None:  # fault 56
        outside = occupied.parent / "outside"
        outside.write_bytes(b"theirs")
        os.link(outside, occupied / "x")
        fact = fact_of((occupied / "x").lstat())
        with opened(occupied) as destination, destination.folders() as folders:
            run = Write(file(b"x", b"new", executable=True).entry, b"x", fact)
            destination.land_file(folders, run, [b"new"])
        assert outside.read_bytes() == b"theirs" and not outside.stat().st_mode & 0o111

    def test_a_directory_swapped_for_a_link_again_and_again(self, occupied: Path) -> None:  # fault 68
        outside = occupied.parent / "outside"
        outside.mkdir()
        stop = threading.Event()

        def swap() -> None:
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    os.rename(occupied / "d", occupied / "e")
                    os.symlink(outside, occupied / "d")
                    os.unlink(occupied / "d")
                    os.rename(occupied / "e", occupied / "d")

        (occupied / "d").mkdir()
        thread = threading.Thread(target=swap)
        thread.start()
        try:
            with opened(occupied) as destination:
                for number in range(300):
                    with contextlib.suppress(DestinationError):
                        write(destination, b"d/%d" % number, b"x")
        finally:
            stop.set()
            thread.join()
        assert names(outside) == []

    def test_nothing_is_removed_through_a_link(self, occupied: Path) -> None:
        outside = occupied.parent / "outside"
        outside.mkdir()
        (outside / "x").write_bytes(b"theirs")
        (occupied / "d").symlink_to("../outside")
        with opened(occupied) as destination, Folders(destination.root) as folders:
            assert isinstance(destination, OccupiedDestination)
            with pytest.raises(DestinationError):
                destination.remove(folders, Removal(b"d/x", fact_of((outside / "x").stat())), must_go=False)
        assert names(outside) == ["x"]


class TestOccupied:
    """File by file, and only over what was looked at."""

    def test_what_changed_since_the_look_is_left_alone(self, occupied: Path) -> None:
        fact = fact_of((occupied / "mine").lstat())
        (occupied / "mine").write_bytes(b"newer")
        with opened(occupied) as destination, destination.folders() as folders:
            assert isinstance(destination, OccupiedDestination)
            with pytest.raises(DestinationError, match="changed"):
                destination.land_file(folders, Write(file(b"mine", b"x").entry, b"mine", fact), [b"x"])
            with pytest.raises(DestinationError, match="changed"):
                destination.remove(folders, Removal(b"mine", fact), must_go=False)
            with pytest.raises(DestinationError, match="appeared"):
                destination.land_file(folders, file(b"mine", b"x"), [b"x"])
            gone = Write(file(b"gone", b"x").entry, b"gone", fact)
            with pytest.raises(DestinationError, match="vanished"):
                destination.land_file(folders, gone, [b"x"])
        assert names(occupied) == ["mine"] and (occupied / "mine").read_bytes() == b"newer"

    def test_directories_go_only_when_empty(self, occupied: Path) -> None:
        (occupied / "full").mkdir()
        (occupied / "full" / "x").write_bytes(b"")
        (occupied / "empty").mkdir()
        with opened(occupied) as destination, Folders(destination.root) as folders:
            assert isinstance(destination, OccupiedDestination)
            facts = {n: Removal(n.encode(), fact_of((occupied / n).stat())) for n in ("full", "empty")}
            assert destination.remove(folders, facts["empty"], must_go=False)
            assert destination.remove(folders, facts["empty"], must_go=False)  # already gone
            assert not destination.remove(folders, facts["full"], must_go=False)
            with pytest.raises(DestinationError, match="changed"):
                destination.remove(folders, facts["full"], must_go=True)
        assert names(occupied) == ["full", "full/x", "mine"]

    def test_two_pulls_into_one_directory_never_mix_a_file(self, occupied: Path) -> None:  # fault 34
        contents = [bytes([n]) * 100_000 for n in (1, 2)]
        errors: list[DestinationError] = []

        def pull(content: bytes) -> None:
            with opened(occupied) as destination:
                for _ in range(50):
                    try:
                        with contextlib.suppress(FileNotFoundError):
                            fact = fact_of((occupied / "x").lstat())
                            with destination.folders() as folders:
                                w = Write(file(b"x", content).entry, b"x", fact)
                                destination.land_file(folders, w, [content])
                    except DestinationError as error:
                        errors.append(error)

        (occupied / "x").write_bytes(contents[0])
        threads = [threading.Thread(target=pull, args=(content,)) for content in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (occupied / "x").read_bytes() in contents
        assert names(occupied) == ["mine", "x"]


class TestBeforehand:
    """What can be known to fail is found before a byte is fetched."""

    def test_too_little_space_names_the_bytes(self, occupied: Path) -> None:  # fault 42
        with opened(occupied) as destination:
            check_room(destination, growth_bytes=-5, largest_bytes=1)
            with pytest.raises(DestinationError, match="1,000,000,000,000,000,000 bytes are needed"):
                check_room(destination, growth_bytes=10**18, largest_bytes=1)
            with pytest.raises(DestinationError, match="dest"):
                check_room(destination, growth_bytes=-5, largest_bytes=10**18)

    def test_a_directory_that_can_not_be_changed_is_named(self, occupied: Path) -> None:  # fault 44
        (occupied / "d").mkdir()

        class Locked(System):
            def may_write(self, directory: int) -> bool:
                return os.fstat(directory).st_ino != (occupied / "d").stat().st_ino

        with opened(occupied, system=Locked()) as destination:
            check_rights(destination, [b""])
            with pytest.raises(DestinationError, match="dest/d"):
                check_rights(destination, [b"", b"d"])

    @pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC])
    def test_a_destination_that_takes_nothing_says_so_at_once(self, occupied: Path, number: int) -> None:
        class Refusing(System):
            def mkdir(self, name: bytes, parent: int) -> None:
                raise OSError(number, os.strerror(number))

        for root in (occupied, occupied.parent / "fresh" / "one"):
            with pytest.raises(DestinationError, match=os.strerror(number)), opened(root, system=Refusing()):
                pass
        assert names(occupied.parent) == ["dest", "dest/mine"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_real_permissions(self, occupied: Path) -> None:
        (occupied / "d").mkdir(mode=0o500)
        with opened(occupied) as destination, pytest.raises(DestinationError, match="permission denied"):
            check_rights(destination, [b"d"])


class Folds(System):
    """A file system that folds case; with ``forms`` one that folds Unicode forms and nothing else."""

    def __init__(self, *, forms: bool = False) -> None:
        self._forms = forms

    def stat(self, name: bytes, parent: int) -> os.stat_result:
        found = os.listdir(parent)
        asked = self._key(os.fsdecode(name))
        for other in found:
            if self._key(other) == asked:
                return super().stat(os.fsencode(other), parent)
        raise FileNotFoundError

    def _key(self, name: str) -> str:
        return name.replace("e\u0301", "\u00e9") if self._forms else name.casefold()


class TestFolding:
    """Names that are one name on some file systems (fault 60)."""

    @pytest.mark.parametrize("twins", [(b"A", b"a"), (b"D/x", b"d/y"), ("É".encode(), "é".encode())])
    def test_case_twins_are_refused_only_where_case_folds(self, occupied: Path, twins: tuple[bytes, bytes]) -> None:
        with opened(occupied) as destination:
            check_twins(destination, twins)
        with opened(occupied, system=Folds()) as destination:
            check_twins(destination, [twins[0], b"other"])
            with pytest.raises(DestinationError, match="one name"):
                check_twins(destination, twins)
        with opened(occupied, system=Folds(forms=True)) as destination:
            check_twins(destination, twins)
        assert names(occupied) == ["mine"]

    def test_form_twins_are_refused_only_where_forms_fold(self, occupied: Path) -> None:
        twins = ["caf\u00e9".encode(), "cafe\u0301".encode()]
        with opened(occupied) as destination:
            check_twins(destination, twins)
        with opened(occupied, system=Folds(forms=True)) as destination, pytest.raises(DestinationError):
            check_twins(destination, twins)

    def test_a_file_system_is_not_asked_without_need(self, occupied: Path) -> None:
        class Silent(System):
            def create(self, name: bytes, parent: int, *, mode: int) -> int:
                raise AssertionError

        with opened(occupied, system=Silent()) as destination:
            check_twins(destination, [b"a/b", b"a/c", b"b"])


class TestDurable:
    """What `durable` adds: every file before its name, every directory after."""

    @pytest.mark.parametrize("fresh", [True, False])
    def test_files_and_directories_are_flushed(self, occupied: Path, fresh: bool) -> None:
        synced: list[str] = []

        class Noting(System):
            def sync(self, descriptor: int) -> None:
                synced.append(os.readlink(f"/proc/self/fd/{descriptor}") if os.path.isdir("/proc/self") else "?")

        root = occupied.parent / "fresh" if fresh else occupied
        with opened(root, system=Noting(), durable=True) as destination:
            write(destination, b"a/b/x", b"1")
            destination.finish()
        # x · a/b, a and the root · for a fresh one the directory that holds it
        assert len(synced) == (5 if fresh else 4)

    def test_nothing_is_flushed_otherwise(self, occupied: Path) -> None:
        class Refusing(System):
            def sync(self, descriptor: int) -> None:
                raise AssertionError

        with opened(occupied, system=Refusing()) as destination:
            write(destination, b"a/b/x", b"1")
            destination.finish()
