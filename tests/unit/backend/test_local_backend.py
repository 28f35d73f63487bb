"""The local backend where the disk does not behave: every call of the operating system fails once."""

import contextlib
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from artifactstore.backend.local import LocalBackend
from artifactstore.backend.syscalls import System
from artifactstore.errors import (
    ArtifactStoreError,
    BackendError,
    CorruptData,
    ObjectExists,
    ObjectNotFound,
    StoreNotFound,
    StoreOutOfSpace,
    StorePermissionDenied,
    StoreReadOnly,
    TransientBackendError,
)
from artifactstore.testing.clock import VirtualClock

CALLS = (
    *("open", "close", "read_into", "write", "sync", "stat_open", "stat"),
    *("link", "rename", "unlink", "mkdir", "entries"),
)
# Those that something here asks for, and some that nothing does.
NUMBERS = [
    getattr(errno, name)
    for name in (
        *("EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EFBIG", "EMFILE", "EIO", "ESTALE", "ENOENT", "ENOTDIR"),
        *("ENAMETOOLONG", "EEXIST", "EISDIR", "ENOTEMPTY", "ELOOP", "EXDEV", "EINVAL", "EOPNOTSUPP", "ENOSYS"),
    )
]


class Killed(BaseException):
    """The process ends here."""


class PlannedSystem(System):
    """The real calls, noted, with a plan of failures: ``plan(call, argument)`` may raise."""

    def __init__(self, root: Path) -> None:
        self.root = f"{root}/"
        self.trace: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] = lambda call, path: None
        self.after: Callable[[str, str], None] = lambda call, path: None
        self._names: dict[int, str] = {}

    def _do(self, call: str, path: str, do: Callable[[], object]) -> object:
        short = path.replace(self.root, "")
        self.trace.append((call, "tmp/*" if short.startswith("tmp/") else short))
        self.before(call, short)
        result = do()
        self.after(call, short)
        return result

    def open(self, path: str, flags: int) -> int:
        descriptor = self._do("open", path, lambda: System.open(self, path, flags))
        assert isinstance(descriptor, int)
        self._names[descriptor] = path
        return descriptor

    def close(self, descriptor: int) -> None:
        # A descriptor is closed whatever close says.
        System.close(self, descriptor)
        self._do("close", self._names[descriptor], lambda: None)

    def read_into(self, descriptor, view, offset):  # type: ignore[no-untyped-def]
        return self._do("read_into", self._names[descriptor], lambda: System.read_into(self, descriptor, view, offset))

    def write(self, descriptor, view):  # type: ignore[no-untyped-def]
        return self._do("write", self._names[descriptor], lambda: System.write(self, descriptor, view))

    def sync(self, descriptor):  # type: ignore[no-untyped-def]
        # Noted and not done: these tests cut the process, not the power, and real syncs take their time.
        self._do("sync", self._names[descriptor], lambda: None)

    def stat_open(self, descriptor):  # type: ignore[no-untyped-def]
        return self._do("stat_open", self._names[descriptor], lambda: System.stat_open(self, descriptor))

    def stat(self, path):  # type: ignore[no-untyped-def]
        return self._do("stat", path, lambda: System.stat(self, path))

    def link(self, source, target):  # type: ignore[no-untyped-def]
        self._do("link", target, lambda: System.link(self, source, target))

    def rename(self, source, target):  # type: ignore[no-untyped-def]
        self._do("rename", target, lambda: System.rename(self, source, target))

    def unlink(self, path):  # type: ignore[no-untyped-def]
        self._do("unlink", path, lambda: System.unlink(self, path))

    def mkdir(self, path):  # type: ignore[no-untyped-def]
        self._do("mkdir", path, lambda: System.mkdir(self, path))

    def entries(self, path):  # type: ignore[no-untyped-def]
        return self._do("entries", path, lambda: System.entries(self, path))


def failing(call: str, number: int, *, nth: int = 1, times: int | None = 1) -> Callable[[str, str], None]:
    """A plan: the nth such call fails with this errno, and ``times`` in all (None: for ever)."""
    count = 0

    def plan(made: str, path: str) -> None:
        nonlocal count
        if made == call:
            count += 1
            if count >= nth and (times is None or count < nth + times):
                raise OSError(number, os.strerror(number), path)

    return plan


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def system(root: Path) -> PlannedSystem:
    return PlannedSystem(root)


@pytest.fixture
def backend(root: Path, system: PlannedSystem) -> LocalBackend:
    return LocalBackend(root, clock=VirtualClock(), system=system)


def leftovers(root: Path) -> list[Path]:
    return list((root / "tmp").iterdir()) if (root / "tmp").exists() else []


# Durability: faults 39, 40


def test_an_object_is_synced_before_it_has_its_name_and_its_folders_after(
    backend: LocalBackend, system: PlannedSystem, root: Path
) -> None:
    backend.put("packs/ab/abcd", b"content")
    told = [step for step in system.trace if step[0] in ("mkdir", "write", "sync", "link", "unlink")]
    assert told == [
        ("mkdir", "packs"),
        ("mkdir", "packs/ab"),
        ("mkdir", str(root / "tmp")) if ("mkdir", str(root / "tmp")) in told else ("mkdir", "tmp"),
        ("write", "tmp/*"),
        ("sync", "tmp/*"),
        ("link", "packs/ab/abcd"),
        ("unlink", "tmp/*"),
        ("sync", str(root)),
        ("sync", "packs"),
        ("sync", "packs/ab"),
    ]


def test_a_folder_that_another_process_made_is_synced_by_the_first_writer_here(
    backend: LocalBackend, system: PlannedSystem, root: Path
) -> None:
    # It may have been cut between its mkdir and its sync.
    (root / "packs" / "ab").mkdir(parents=True)
    backend.put("packs/ab/1", b"one")
    assert {("sync", str(root)), ("sync", "packs"), ("sync", "packs/ab")} <= set(system.trace)
    system.trace.clear()
    backend.put("packs/ab/2", b"two")
    assert [step for step in system.trace if step[0] == "sync"] == [("sync", "tmp/*"), ("sync", "packs/ab")]


def test_a_delete_is_synced_also_when_somebody_else_removed_the_file(
    backend: LocalBackend, system: PlannedSystem
) -> None:
    backend.put("packs/ab/1", b"one")
    for _ in range(2):
        system.trace.clear()
        backend.delete("packs/ab/1")
        assert system.trace[-2][0:2] == ("sync", "packs/ab")


def test_an_object_lost_to_is_durable_when_that_is_reported(backend: LocalBackend, system: PlannedSystem) -> None:
    backend.put_if_absent("packs/ab/1", b"one")
    system.trace.clear()
    with pytest.raises(ObjectExists):
        backend.put_if_absent("packs/ab/1", b"two")
    assert ("sync", "packs/ab") in system.trace


@pytest.mark.parametrize("verb", ["put", "put_if_absent"])
def test_killed_at_any_call_an_object_is_there_whole_or_not_at_all(tmp_path: Path, verb: str) -> None:
    """Faults 2, 39: every call of the system, before and after its effect."""
    body = bytes(range(256)) * 40
    cut = 0
    for side in ("before", "after"):
        for step in range(1, 100):
            root = tmp_path / f"{side}-{step}"
            root.mkdir()
            system = PlannedSystem(root)
            calls = 0

            def kill(call: str, path: str, step: int = step) -> None:
                nonlocal calls
                calls += 1
                if calls >= step:
                    raise Killed

            setattr(system, side, kill)
            try:
                getattr(LocalBackend(root, clock=VirtualClock(), system=system), verb)("packs/ab/key", body)
            except Killed:
                cut += 1
            survivor = LocalBackend(root, clock=VirtualClock(seed=1))
            seen = [info.key for info in survivor.list("")]
            assert seen in ([], ["packs/ab/key"])
            if seen:
                assert bytes(survivor.get("packs/ab/key")) == body
            survivor.put("packs/ab/key", body)
            assert bytes(survivor.get("packs/ab/key")) == body
            if calls < step:
                break
        else:
            raise AssertionError("a put takes fewer calls than that")
    assert cut > 20


# Faults 41 to 46


def test_after_a_failed_fsync_the_file_is_thrown_away_and_written_anew(
    backend: LocalBackend, system: PlannedSystem, root: Path
) -> None:
    """Fault 41: the page cache may be marked clean after a failed fsync, so that a second one lies."""
    system.before = failing("sync", errno.EIO)
    backend.put("key", b"content")
    assert bytes(backend.get("key")) == b"content"
    told = [call for call, path in system.trace if path == "tmp/*" and call in ("open", "write", "sync", "unlink")]
    assert told == ["open", "open", "write", "sync", "unlink", "open", "write", "sync", "unlink"]
    assert leftovers(root) == []


def test_an_fsync_that_keeps_failing_leaves_nothing(backend: LocalBackend, system: PlannedSystem, root: Path) -> None:
    system.before = failing("sync", errno.EIO, times=None)
    with pytest.raises(TransientBackendError):
        backend.put("key", b"content")
    system.before = lambda call, path: None
    assert list(backend.list("")) == []
    assert leftovers(root) == []


def test_a_folder_that_cant_be_synced_leaves_the_effect_unknown(backend: LocalBackend, system: PlannedSystem) -> None:
    system.before = failing("sync", errno.EIO, nth=2)
    with pytest.raises(TransientBackendError) as raised:
        backend.put("key", b"content")
    assert raised.value.effect_unknown


def test_file_systems_that_cant_sync_folders_are_taken_as_they_are(
    backend: LocalBackend, system: PlannedSystem
) -> None:
    system.before = failing("sync", errno.EINVAL, nth=2, times=None)
    backend.put("key", b"content")
    assert bytes(backend.get("key")) == b"content"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=["ENOSPC", "EDQUOT"])
@pytest.mark.parametrize("call", ["mkdir", "open", "write", "sync", "close", "link"])
def test_no_space_is_its_own_error_and_says_where_and_how_much(
    backend: LocalBackend, system: PlannedSystem, root: Path, call: str, number: int
) -> None:
    """Fault 42."""
    backend.put("before", b"x")  # makes tmp/
    system.before = failing(call, number)
    with pytest.raises(StoreOutOfSpace) as raised:
        backend.put("packs/ab/key", bytes(12_345))
    system.before = lambda call, path: None
    assert "file system at /" in str(raised.value)
    assert call == "mkdir" or "12,345 bytes are needed" in str(raised.value) or call == "link"
    assert [info.key for info in backend.list("")] == ["before"]
    assert leftovers(root) == []
    backend.put("packs/ab/key", b"again")


def test_writes_in_parts_are_put_together(backend: LocalBackend, system: PlannedSystem) -> None:
    body = bytes(range(256)) * 64
    system.write = lambda descriptor, view: os.write(descriptor, view[:1000])  # type: ignore[method-assign]
    system.read_into = lambda descriptor, view, offset: os.preadv(descriptor, [view[:999]], offset)  # type: ignore[method-assign]
    backend.put("key", body)
    assert bytes(backend.get("key")) == body
    assert bytes(backend.get_range("key", 100, 5000)) == body[100:5100]


def test_a_read_that_fails_names_the_byte(backend: LocalBackend, system: PlannedSystem) -> None:
    """Fault 43."""
    backend.put("key", bytes(5000))
    system.before = failing("read_into", errno.EIO)
    with pytest.raises(BackendError, match="key at byte 100"):
        backend.get_range("key", 100, 50)


def test_an_object_that_shrinks_while_it_is_read_is_corrupt(backend: LocalBackend, system: PlannedSystem) -> None:
    backend.put("key", bytes(5000))
    system.read_into = lambda descriptor, view, offset: 0  # type: ignore[method-assign]
    with pytest.raises(CorruptData):
        backend.get("key")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, StorePermissionDenied),
        (errno.EPERM, StorePermissionDenied),
        (errno.EROFS, StoreReadOnly),
        (errno.EMFILE, TransientBackendError),
        (errno.ENFILE, TransientBackendError),
        (errno.ENOMEM, TransientBackendError),
        (errno.ESTALE, TransientBackendError),
        (errno.ELOOP, BackendError),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else "",
)
def test_refusals_have_their_kinds(
    backend: LocalBackend, system: PlannedSystem, number: int, kind: type[BackendError]
) -> None:
    """Faults 44, 45."""
    backend.put("folder/key", b"content")
    asks: list[Callable[[], object]] = [
        lambda: backend.get("folder/key"),
        lambda: backend.head("folder/key"),
        lambda: backend.put("folder/other", b""),
    ]
    for ask in asks:
        system.before = failing("open", number)
        with pytest.raises(kind):
            ask()
    system.before = failing("entries", number)
    with pytest.raises(kind):
        list(backend.list(""))
    system.before = failing("unlink", number)
    with pytest.raises(kind):
        backend.delete("folder/key")


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: errno.errorcode[number])
def test_no_error_of_the_system_comes_out_as_it_is(tmp_path: Path, number: int) -> None:
    for call in CALLS:
        root = tmp_path / call
        root.mkdir()
        system = PlannedSystem(root)
        backend = LocalBackend(root, clock=VirtualClock(), system=system)
        backend.put("folder/key", b"content")
        asks: list[Callable[[], object]] = [
            lambda b=backend: b.get("folder/key"),  # type: ignore[misc]
            lambda b=backend: b.get("absent/key"),  # type: ignore[misc]
            lambda b=backend: b.get_range("folder/key", 1, 2),  # type: ignore[misc]
            lambda b=backend: b.head("folder/key"),  # type: ignore[misc]
            lambda b=backend: b.put("new/key", b"1"),  # type: ignore[misc]
            lambda b=backend: b.put("folder/key", b"content"),  # type: ignore[misc]
            lambda b=backend: b.put_if_absent("new/too", b"2"),  # type: ignore[misc]
            lambda b=backend: b.has_put_if_absent,  # type: ignore[misc]
            lambda b=backend: list(b.list("")),  # type: ignore[misc]
            lambda b=backend: list(b.list_level("")),  # type: ignore[misc]
            lambda b=backend: b.delete("folder/key"),  # type: ignore[misc]
        ]
        for ask in asks:
            for times in (1, None):
                system.before = failing(call, number, times=times)
                with contextlib.suppress(ArtifactStoreError):
                    ask()


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.EMFILE])
def test_a_listing_that_fails_is_never_an_empty_one(
    backend: LocalBackend, system: PlannedSystem, number: int
) -> None:
    """Faults 17, 100: for every folder on the way."""
    for key in ("a/1", "b/c/2", "d"):
        backend.put(key, b"")
    for nth in range(1, 5):
        system.before = failing("entries", number, nth=nth)
        with pytest.raises(BackendError):
            list(backend.list(""))


def test_without_hard_links_there_is_no_put_if_absent_and_a_single_writer_works(root: Path) -> None:
    """Fault 46."""
    system = PlannedSystem(root)
    system.before = failing("link", errno.EPERM, times=None)
    backend = LocalBackend(root, clock=VirtualClock(), system=system)
    assert not backend.has_put_if_absent
    backend.put("folder/key", b"content")
    with pytest.raises(ObjectExists):
        backend.put_if_absent("folder/key", b"other")
    assert bytes(backend.get("folder/key")) == b"content"
    assert leftovers(root) == []


def test_that_there_are_no_hard_links_is_also_found_by_the_first_write(root: Path) -> None:
    system = PlannedSystem(root)
    system.before = failing("link", errno.EOPNOTSUPP, times=None)
    backend = LocalBackend(root, clock=VirtualClock(), system=system)
    backend.put("folder/key", b"content")
    assert not backend.has_put_if_absent
    assert bytes(backend.get("folder/key")) == b"content"


def test_a_link_refused_where_links_work_is_a_matter_of_permission(
    backend: LocalBackend, system: PlannedSystem
) -> None:
    system.before = failing("link", errno.EPERM)
    with pytest.raises(StorePermissionDenied):
        backend.put("key", b"content")
    assert backend.has_put_if_absent


# Races and doubts


@pytest.mark.parametrize("number", [errno.EEXIST, errno.EIO, errno.ETIMEDOUT, errno.ENOENT])
def test_a_link_made_whose_reply_was_lost_is_won(backend: LocalBackend, system: PlannedSystem, number: int) -> None:
    """Fault 9, over NFS: the link is sent again and meets itself."""
    system.after = failing("link", number)
    backend.put_if_absent("key", b"mine")
    assert bytes(backend.get("key")) == b"mine"


def test_a_temporary_file_removed_by_somebody_is_written_again(
    backend: LocalBackend, system: PlannedSystem, root: Path
) -> None:
    """Fault 14: asleep for longer than leftovers are kept."""

    def remove(call: str, path: str) -> None:
        if call == "link":
            system.before = lambda call, path: None
            for file in leftovers(root):
                file.unlink()

    system.before = remove
    backend.put_if_absent("folder/key", b"content")
    assert bytes(backend.get("folder/key")) == b"content"


def test_a_store_removed_and_made_again_is_written_as_a_new_one(backend: LocalBackend, root: Path) -> None:
    backend.put("packs/ab/1", b"one")
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    backend.put("packs/ab/1", b"one again")
    assert bytes(backend.get("packs/ab/1")) == b"one again"


def test_of_racing_processes_exactly_one_wins(root: Path) -> None:
    """Fault 27, by processes."""
    script = (
        "import sys\n"
        "from artifactstore.backend.local import LocalBackend\n"
        "from artifactstore.errors import ObjectExists\n"
        "backend = LocalBackend(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "for number in range(50):\n"
        "    try:\n"
        "        backend.put_if_absent(f'race/{number}', sys.argv[2].encode())\n"
        "        print(number)\n"
        "    except ObjectExists:\n"
        "        pass\n"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(root), f"racer {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = {number: racer.communicate(timeout=60)[0].split() for number, racer in enumerate(racers)}
    assert sorted(int(slot) for slots in won.values() for slot in slots) == list(range(50))
    backend = LocalBackend(root)
    for number, slots in won.items():
        for slot in slots:
            assert bytes(backend.get(f"race/{slot}")) == f"racer {number}".encode()


def test_no_file_lock_is_ever_taken(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 38: on some shared file systems everybody gets the lock."""
    import fcntl

    def refuse(*arguments: object) -> None:
        raise AssertionError("a file lock")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(fcntl, "lockf", refuse)
    backend = LocalBackend(root)
    backend.put("a", b"1")
    backend.put_if_absent("b", b"2")
    backend.delete("a")
    assert [info.key for info in backend.list("")] == ["b"]


def test_files_and_folders_that_vanish_during_a_listing_are_no_error(backend: LocalBackend, root: Path) -> None:
    for key in ("a/1", "a/2", "b/c/3", "d"):
        backend.put(key, b"")
    listing = backend.list("")
    assert next(listing).key == "a/1"
    (root / "a" / "2").unlink()
    (root / "b" / "c" / "3").unlink()
    (root / "b" / "c").rmdir()
    (root / "b").rmdir()
    assert [info.key for info in listing] == ["d"]


def test_many_threads_making_the_same_folders_do_not_disturb_one_another(root: Path) -> None:
    backend = LocalBackend(root)
    barrier = threading.Barrier(12)
    failures: list[BaseException] = []

    def write(number: int) -> None:
        barrier.wait()
        try:
            for folder in range(10):
                backend.put(f"f/{folder}/g/{number}", b"x")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(backend.list(""))) == 120


# The root, and what stands in the way


def test_a_store_that_is_not_there_is_not_an_empty_one(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "absent")
    asks: list[Callable[[], object]] = [
        lambda: backend.get("key"),
        lambda: backend.get("a/b/key"),
        lambda: backend.get_range("key", 0, 1),
        lambda: backend.head("key"),
        lambda: backend.put("key", b""),
        lambda: backend.put("a/b/key", b""),
        lambda: backend.put_if_absent("key", b""),
        lambda: backend.delete("key"),
        lambda: backend.delete("a/b/key"),
        lambda: list(backend.list("")),
        lambda: list(backend.list("a/b/")),
        lambda: list(backend.list_level("")),
    ]
    for ask in asks:
        with pytest.raises(StoreNotFound):
            ask()
    assert not (tmp_path / "absent").exists()
    assert backend.has_put_if_absent


def test_a_root_is_made_with_all_that_is_above_it(tmp_path: Path) -> None:
    system = PlannedSystem(tmp_path)
    backend = LocalBackend(tmp_path / "a" / "b" / "store", system=system)
    backend.create_root()
    backend.create_root()
    backend.put("key", b"content")
    assert bytes(backend.get("key")) == b"content"
    synced = [path for call, path in system.trace if call == "sync"]
    assert synced[:3] == [str(tmp_path), "a", "a/b"]


def test_a_file_where_the_root_should_be_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    backend = LocalBackend(tmp_path / "file")
    with pytest.raises(StoreNotFound):
        list(backend.list(""))
    with pytest.raises(BackendError):
        backend.create_root()


def test_a_link_to_the_root_is_followed_once(tmp_path: Path, root: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    backend = LocalBackend(link)
    backend.put("key", b"content")
    link.unlink()
    assert bytes(backend.get("key")) == b"content"
    assert backend.url == str(link)


def test_a_relative_root_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    backend = LocalBackend("store")
    backend.create_root()
    monkeypatch.chdir("/")
    backend.put("key", b"content")
    assert (tmp_path / "store" / "key").read_bytes() == b"content"


def test_a_link_in_the_store_that_leads_nowhere_is_an_error_and_not_an_absence(
    backend: LocalBackend, root: Path
) -> None:
    """A disk that is not mounted must not look like objects deleted."""
    (root / "packs").symlink_to("/nowhere/at/all")
    with pytest.raises(BackendError):
        backend.get("packs/ab/key")
    with pytest.raises(BackendError):
        backend.head("packs/ab/key")
    with pytest.raises(BackendError):
        list(backend.list(""))
    with pytest.raises(BackendError):
        list(backend.list("packs/ab/"))
    with pytest.raises(BackendError):
        backend.put("packs/ab/key", b"")


def test_a_linked_folder_is_part_of_the_store(backend: LocalBackend, root: Path, tmp_path: Path) -> None:
    (tmp_path / "disk" / "ab").mkdir(parents=True)
    (tmp_path / "disk" / "ab" / "key").write_bytes(b"content")
    (root / "packs").symlink_to(tmp_path / "disk")
    assert bytes(backend.get("packs/ab/key")) == b"content"
    assert [info.key for info in backend.list("")] == ["packs/ab/key"]


def test_a_fifo_in_the_way_is_an_error_and_hangs_nobody(backend: LocalBackend, root: Path) -> None:
    os.mkfifo(root / "key")
    with pytest.raises(BackendError):
        backend.get("key")
    with pytest.raises(ObjectExists):
        backend.put_if_absent("key", b"")
    assert list(backend.list("")) == []


def test_an_object_where_a_folder_should_be_is_a_typed_error(backend: LocalBackend) -> None:
    backend.put("a", b"content")
    with pytest.raises(BackendError):
        backend.put("a/b", b"")
    with pytest.raises(ObjectNotFound):
        backend.get("a/b")
    assert list(backend.list("a/")) == []


def test_names_too_long_for_the_disk_are_typed_errors(backend: LocalBackend) -> None:
    key = "k" * 300
    with pytest.raises(BackendError):
        backend.put(key, b"")
    with pytest.raises(ObjectNotFound):
        backend.get(key)
    backend.delete(key)


def test_foreign_files_are_left_out_of_listings(backend: LocalBackend, root: Path) -> None:
    backend.put("key", b"")
    (root / "line\nbreak").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe")).write_bytes(b"")
    assert [info.key for info in backend.list("")] == ["key"]
    assert len(list(backend.list_level(""))) == 1


def test_temporary_files_are_never_listed_and_old_ones_of_dead_writers_go(
    backend: LocalBackend, root: Path, system: PlannedSystem
) -> None:
    tmp = root / "tmp"
    tmp.mkdir()
    (tmp / "old").write_bytes(b"half an obj")
    (tmp / "young").write_bytes(b"half an obj")
    past = (tmp / "young").stat().st_mtime - 8 * 86_400
    os.utime(tmp / "old", (past, past))
    assert list(backend.list("")) == []
    assert list(backend.list_level("")) == []
    assert list(backend.list("tm")) == []
    backend.put("key", b"")
    assert [file.name for file in leftovers(root)] == ["young"]


def test_a_probe_leaves_no_folder_behind(backend: LocalBackend, root: Path) -> None:
    backend.put("doctor/abc/one", b"")
    backend.put("doctor/abc/sub/two", b"")
    backend.delete("doctor/abc/one")
    backend.delete("doctor/abc/sub/two")
    assert not (root / "doctor").exists()


def test_a_head_reads_and_never_only_asks_for_the_status(backend: LocalBackend, system: PlannedSystem) -> None:
    """Shared file systems answer stat from a cache of this machine."""
    backend.put("key", b"content")
    system.trace.clear()
    backend.head("key")
    assert ("open", "key") in system.trace
    assert ("read_into", "key") in system.trace


def test_absence_is_asked_for_twice_past_the_caches_of_a_shared_file_system(
    backend: LocalBackend, system: PlannedSystem
) -> None:
    backend.put("folder/sub/key", b"content")

    def forget(call: str, path: str) -> None:
        # A name remembered as absent, until the folder above it is opened again.
        if call == "open" and path == "folder/sub":
            system.before = lambda call, path: None
        elif call == "open" and path == "folder/sub/key":
            raise FileNotFoundError(errno.ENOENT, "remembered", path)

    for ask in (backend.get, backend.head):
        system.before = forget
        ask("folder/sub/key")


def test_no_handle_is_left_open(backend: LocalBackend) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for number in range(20):
        backend.put(f"folder/{number}", b"content")
        backend.get(f"folder/{number}")
        with pytest.raises(CorruptData):
            backend.get_range(f"folder/{number}", 5, 50)
        with pytest.raises(ObjectNotFound):
            backend.get("folder")
        next(backend.list("folder/"))
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before


def test_a_folder_that_went_with_its_last_probe_is_made_again(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "store")
    backend.create_root()
    backend.put("doctor/one/probe", b"1")
    backend.delete("doctor/one/probe")
    backend.put("doctor/two/probe", b"2")
    assert bytes(backend.get("doctor/two/probe")) == b"2"
