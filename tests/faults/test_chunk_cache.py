"""A cache on disk that is damaged, full, read-only, foreign, deleted or without locks (faults 104, 106 to 109).

Whatever happens: no wrong byte, no exception, at most one warning, and never more bytes than it accounts for.
"""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifactstore.chunk_cache.disk import OVERHEAD_BYTES, DiskCache
from artifactstore.chunk_cache.folder import NEW_PREFIX, Sharing
from artifactstore.chunk_cache.syscalls import SYSTEM, FileSeen, System
from artifactstore.chunk_cache.usage import SHARD_COUNT
from artifactstore.testing.cached import ENTRY_BYTES, CacheWorld, Chunk, cap_for, chunks
from artifactstore.testing.chunk_cache import chunk_of, pack_of

A, B = chunks(2, seed="damage")
PACK, TAIL = pack_of("a"), b"the tail of a pack" * 50


@pytest.fixture
def world(tmp_path: Path) -> CacheWorld:
    return CacheWorld(tmp_path / "cache")


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


# --- damage


def edit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


DAMAGES: dict[str, Callable[[Path], object]] = {
    "one bit flipped": edit,
    "cut": lambda path: os.truncate(path, path.stat().st_size - 1),
    "empty": lambda path: os.truncate(path, 0),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "grown": lambda path: path.write_bytes(path.read_bytes() + b"?"),
    "other bytes of the same length": lambda path: path.write_bytes(B[1][: path.stat().st_size].ljust(900)),
    "very long": lambda path: os.truncate(path, 1 << 40),
    "a link": replace_by(lambda path: path.symlink_to("/etc/hostname")),
    "a link to itself": replace_by(lambda path: path.symlink_to(path.name)),
    "a pipe": replace_by(os.mkfifo),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_a_miss_is_dropped_and_can_be_put_again(
    world: CacheWorld, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    cache = world.open()
    world.put(cache, A)
    cache.put_table(PACK, TAIL)
    for path in world.entries().values():
        damage(path)
    assert not world.has(cache, A)
    assert cache.get_table(PACK) is None
    assert world.entries() == {}
    assert cache.counts.damaged == 2
    assert cache.used_bytes() == 0
    world.put(cache, A)
    cache.put_table(PACK, TAIL)
    assert world.has(cache, A)
    assert cache.get_table(PACK) == TAIL
    assert warnings_of(caplog) == []


def test_every_flipped_bit_and_every_length_is_found(world: CacheWorld) -> None:
    cache = world.open()
    chunk = chunk_of("short", 40)
    world.put(cache, chunk)
    cache.put_table(PACK, b"short tail")
    for path in world.entries().values():
        whole = path.read_bytes()
        damaged = [whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in range(len(whole))]
        damaged += [whole[:length] for length in range(len(whole))]
        for data in damaged:
            path.write_bytes(data)
            is_chunk = path.name.startswith("c")
            assert (cache.get(chunk[0], 40) if is_chunk else cache.get_table(PACK)) is None
            assert not path.exists()


def test_entries_under_each_others_names_are_misses(world: CacheWorld) -> None:
    cache = world.open()
    for chunk in (A, B):
        world.put(cache, chunk)
    first, second = world.entry(A), world.entry(B)
    aside = first.rename(first.with_name("aside"))
    second.rename(first)
    aside.rename(second)
    assert not world.has(cache, A)
    assert not world.has(cache, B)


def test_the_tail_of_one_pack_is_none_of_another(world: CacheWorld) -> None:
    cache = world.open()
    cache.put_table(PACK, TAIL)
    (path,) = world.entries().values()
    other = pack_of("b")
    shutil.copy(path, world.root / f"{other[0] % SHARD_COUNT:02x}" / f"t{other.hex()}")
    assert cache.get_table(other) is None
    assert cache.get_table(PACK) == TAIL


def test_a_good_entry_that_came_in_place_of_a_damaged_one_is_not_dropped(world: CacheWorld) -> None:
    class Meanwhile(System):
        def read(self, descriptor: int, length: int) -> bytes:
            data = super().read(descriptor, length)
            path = world.entry(A)
            path.unlink()
            world.put(other, A)
            return bytes(len(data))

    other = world.open()
    world.put(other, A)
    assert not world.has(world.open(system=Meanwhile()), A)
    assert world.has(other, A)


def test_a_folder_in_an_entrys_place_is_a_miss(world: CacheWorld) -> None:
    cache = world.open()
    world.put(cache, A)
    path = world.entry(A)
    path.unlink()
    path.mkdir()
    assert not world.has(cache, A)
    world.put(cache, A)
    assert not world.has(cache, A)


def test_who_reads_an_entry_keeps_it_while_another_evicts_it(world: CacheWorld) -> None:
    class Evicting(System):
        def read(self, descriptor: int, length: int) -> bytes:
            for chunk in chunks(5, seed="new"):
                world.put(other, chunk)
            assert f"c{A[0].hex()}" not in world.entries()
            return super().read(descriptor, length)

    other = world.open(cap_for(3))
    world.put(other, A)
    assert world.has(world.open(cap_for(3), system=Evicting()), A)


def test_an_entry_that_is_used_while_room_is_made_stays(world: CacheWorld) -> None:
    class UsedMeanwhile(System):
        def list(self, descriptor: int) -> list[FileSeen]:
            found = super().list(descriptor)
            if any(file.name == f"c{A[0].hex()}" for file in found):
                assert world.has(other, A)
            return found

    other = world.open(cap_for(3))
    for chunk in (A, *chunks(2)):
        world.put(other, chunk)
    world.put(world.open(cap_for(3), system=UsedMeanwhile()), B)
    assert world.has(other, A)
    assert world.charged() == other.used_bytes() <= cap_for(3) - OVERHEAD_BYTES


# --- accounts


def lie(number: int) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[16:528] = number.to_bytes(8, "little") * SHARD_COUNT
        path.write_bytes(data)

    return damage


ACCOUNTS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: os.truncate(path, 0),
    "cut": lambda path: os.truncate(path, 300),
    "zeros": lambda path: path.write_bytes(bytes(592)),
    "noise": lambda path: path.write_bytes(os.urandom(592)),
    "deleted": lambda path: path.unlink(),
    "absurd": lie((1 << 64) - 1),
}


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "started later"])
@pytest.mark.parametrize("damage", ACCOUNTS.values(), ids=ACCOUNTS)
def test_lost_accounts_are_made_anew_and_the_cap_holds(
    world: CacheWorld, damage: Callable[[Path], object], is_running: bool
) -> None:
    cache = world.open(cap_for(10))
    for chunk in chunks(10):
        world.put(cache, chunk)
    damage(world.usage_file)
    if not is_running:
        cache = world.open(cap_for(10))
    for chunk in chunks(4, seed="new"):
        world.put(cache, chunk)
        assert world.charged() <= cap_for(10) - OVERHEAD_BYTES
    assert len(world.entries()) == 10
    assert world.has(cache, chunks(4, seed="new")[3])
    assert cache.used_bytes() == world.charged()


def test_accounts_that_say_too_much_are_put_right_where_room_is_made(world: CacheWorld) -> None:
    cache = world.open(cap_for(10))
    world.put(cache, A)
    lie(1 << 20)(world.usage_file)
    world.put(cache, B)
    assert world.has(cache, B)
    assert cache.used_bytes() == world.charged()


def test_accounts_that_say_too_little_are_put_right_now_and_then(world: CacheWorld) -> None:
    cache = world.open()
    for chunk in chunks(100):
        world.put(cache, chunk)
    lie(0)(world.usage_file)
    world.clock.jitter = lambda: 0.0  # type: ignore[method-assign]  # the moment has come, for every shard
    for chunk in chunks(1500, 100, seed="new"):
        world.put(cache, chunk)
    assert cache.used_bytes() == world.charged()


def test_what_killed_writers_left_is_removed_by_the_next_in_that_shard(world: CacheWorld) -> None:
    cache = world.open(cap_for(4))
    for chunk in chunks(4):
        world.put(cache, chunk)
    for path in world.root.glob("??"):
        (path / f"{NEW_PREFIX}0123456789abcdef").write_bytes(bytes(9000))
    world.put(cache, A)
    assert [name for name in world.entries() if name.startswith(NEW_PREFIX)] == []
    assert world.has(cache, A)


def test_two_writers_in_different_shards_do_not_take_the_same_room(world: CacheWorld) -> None:
    """The second one comes between the first one's look at the sum and its charge."""

    class Between(System):
        def write_at(self, descriptor: int, data: bytes, offset: int) -> None:
            world.put(other, second)
            super().write_at(descriptor, data, offset)

    first, second = next((a, b) for a in chunks(9) for b in chunks(9) if a[0][0] % SHARD_COUNT != b[0][0] % SHARD_COUNT)
    other = world.open(cap_for(3))
    for chunk in chunks(2, seed="before"):
        world.put(other, chunk)
    world.put(world.open(cap_for(3), system=Between()), first)
    assert world.has(other, first)
    assert world.charged() <= cap_for(3) - OVERHEAD_BYTES


# --- a system that fails


class Failing(System):
    """Fails from the nth call of a verb on, for a while."""

    def __init__(self, verb: str, nth: int, number: int, *, times: int = 1) -> None:
        self.verb, self.left, self.number, self.times = verb, nth, number, times
        self.has_failed = False

    def __getattribute__(self, name: str) -> object:
        call = super().__getattribute__(name)
        if name.startswith("_") or name != super().__getattribute__("verb"):
            return call

        def failing(*args: object, **keywords: object) -> object:
            self.left -= 1
            if self.left < 0 and self.times > 0:
                self.times -= 1
                self.has_failed = True
                raise OSError(self.number, os.strerror(self.number))
            return call(*args, **keywords)  # type: ignore[operator]

        return failing


ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES)
VERBS = (
    "open",
    "close",
    "stat_open",
    "stat",
    "read",
    "read_at",
    "write",
    "write_at",
    "touch",
    "lock",
    "unlock",
    "rename",
    "unlink",
    "mkdir",
    "list",
)


def use(world: CacheWorld, cache: DiskCache) -> None:
    """Puts, gets and evictions, in a cache of three."""
    for chunk in chunks(5):
        world.put(cache, chunk)
        world.has(cache, chunk)
    cache.put_table(PACK, TAIL)
    assert cache.get_table(PACK) in (TAIL, None)


def failures(verb: str) -> Iterator[int]:
    """0, 1, 2, … and then in larger steps: the shards are 64 of the same."""
    nth = 0
    while True:
        yield nth
        nth += 1 if nth < 20 else 29


@pytest.mark.parametrize("verb", VERBS)
def test_each_call_of_the_system_may_fail_once(tmp_path: Path, verb: str, caplog: pytest.LogCaptureFixture) -> None:
    for nth in failures(verb):
        caplog.clear()
        world = CacheWorld(tmp_path / str(nth))
        system = Failing(verb, nth, ERRORS[nth % len(ERRORS)])
        use(world, world.open(cap_for(3), system=system))
        assert world.charged() <= cap_for(3) - OVERHEAD_BYTES
        assert len(warnings_of(caplog)) <= 1
        world.clock.advance(61)
        after = world.open(cap_for(3))
        use(world, after)
        assert world.has(after, chunks(5)[4])
        assert world.charged() <= after.used_bytes() <= cap_for(3) - OVERHEAD_BYTES
        shutil.rmtree(world.folder)
        if not system.has_failed:
            assert nth > 0
            break


@pytest.mark.parametrize(
    ("verb", "number"),
    [("write", errno.ENOSPC), ("write", errno.EDQUOT), ("mkdir", errno.EROFS), ("rename", errno.EACCES)],
    ids=["full", "over quota", "read-only", "no permission"],
)
def test_a_disk_that_stays_so_is_one_warning_and_is_left_alone_for_a_while(
    world: CacheWorld, verb: str, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    system = Failing(verb, 0, number, times=10**9)
    caches = [world.open(system=system) for _ in range(2)]
    for chunk in chunks(20):
        for cache in caches:
            cache.put(*chunk)
            assert cache.get(chunk[0], len(chunk[1])) is None
    (warning,) = warnings_of(caplog)
    assert str(world.root) in warning
    assert os.strerror(number) in warning
    assert "reading goes on without it" in warning
    assert "cache_dir" in warning
    assert -system.left <= 4, "it was tried again and again"
    system.times = 0
    world.clock.advance(61)
    world.put(caches[0], A)
    assert world.has(caches[0], A)
    assert len(warnings_of(caplog)) == 1


class ReadOnly(System):
    """A mounted image: what is there can be read."""

    def open(self, path: str, flags: int, mode: int = 0o600, *, dir_fd: int | None = None) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return super().open(path, flags, mode, dir_fd=dir_fd)

    def touch(self, descriptor: int, used_ns: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_cache_that_can_only_be_read_still_gives(world: CacheWorld, caplog: pytest.LogCaptureFixture) -> None:
    world.put(world.open(), A)
    cache = world.open(system=ReadOnly())
    assert world.has(cache, A)
    assert warnings_of(caplog) == []
    world.put(cache, B)
    assert world.has(cache, A) and not world.has(cache, B)
    assert len(warnings_of(caplog)) == 1


def test_a_cache_that_is_deleted_while_in_use_is_begun_anew(
    world: CacheWorld, caplog: pytest.LogCaptureFixture
) -> None:
    cache = world.open()
    for _ in range(3):
        world.put(cache, A)
        assert world.has(cache, A)
        shutil.rmtree(world.folder)
        assert not world.has(cache, A)
    world.put(cache, B)
    assert world.has(cache, B)
    assert cache.used_bytes() == world.charged()
    (warning,) = warnings_of(caplog)
    assert "deleted while in use" in warning


@pytest.mark.parametrize("what", ["??", "*/lock"], ids=["shards", "locks"])
def test_parts_that_are_deleted_come_back(world: CacheWorld, what: str) -> None:
    cache = world.open()
    world.put(cache, A)
    for path in world.root.glob(what):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    world.put(cache, B)
    world.put(cache, A)
    assert world.has(cache, A) and world.has(cache, B)


def test_a_cache_deleted_between_two_calls_of_one_put_does_no_harm(world: CacheWorld) -> None:
    class Deleting(System):
        def write(self, descriptor: int, data: memoryview) -> int:
            shutil.rmtree(world.folder, ignore_errors=True)
            return super().write(descriptor, data)

    cache = world.open(system=Deleting())
    world.put(cache, A)
    assert not world.has(cache, A)
    after = world.open()
    world.put(after, A)
    assert world.has(after, A)


class LocksForAll(System):
    def lock(self, descriptor: int) -> bool:
        return True

    def unlock(self, descriptor: int) -> None:
        pass


@pytest.mark.parametrize(
    "system",
    [LocksForAll(), Failing("lock", 0, errno.ENOLCK, times=10**9), Failing("lock", 0, errno.ENOTSUP, times=10**9)],
    ids=["that exclude nobody", "that there are none of", "that are not supported"],
)
def test_without_locks_nothing_is_written_and_what_is_there_is_read(
    world: CacheWorld, system: System, caplog: pytest.LogCaptureFixture
) -> None:
    world.put(world.open(), A)
    cache = world.open(system=system)
    world.put(cache, B)
    assert world.has(cache, A) and not world.has(cache, B)
    assert len(warnings_of(caplog)) == 1
    assert world.charged() == world.open().used_bytes()


def test_a_lock_that_is_held_for_ever_holds_nobody_up(world: CacheWorld, caplog: pytest.LogCaptureFixture) -> None:
    """A writer that was stopped, or whose machine sleeps."""
    cache = world.open()
    world.put(cache, A)
    holder = os.open(world.entry(A).with_name("lock"), os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    before = sum(world.clock.slept)
    same_shard = next(chunk for chunk in chunks(1000, 100) if chunk[0][0] % SHARD_COUNT == A[0][0] % SHARD_COUNT)
    world.put(cache, same_shard)
    assert sum(world.clock.slept) - before < 0.2
    assert world.has(cache, A) and not world.has(cache, same_shard)
    os.close(holder)
    world.clock.advance(6)
    world.put(cache, same_shard)
    assert world.has(cache, same_shard)
    assert warnings_of(caplog) == []


def test_making_room_passes_by_a_shard_whose_lock_is_held(world: CacheWorld) -> None:
    cache = world.open(cap_for(3))
    for chunk in chunks(3):
        world.put(cache, chunk)
    oldest = chunks(3)[0]
    holder = os.open(world.entry(oldest).with_name("lock"), os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    before = sum(world.clock.slept)
    new = next(c for c in chunks(99, seed="new") if c[0][0] % SHARD_COUNT != oldest[0][0] % SHARD_COUNT)
    world.put(cache, new)
    assert sum(world.clock.slept) - before < 0.01
    assert world.has(cache, new)
    assert world.has(cache, oldest)
    os.close(holder)


def test_what_could_not_be_written_is_not_accounted_for_in_the_end(world: CacheWorld) -> None:
    cache = world.open(system=Failing("write", 0, errno.ENOSPC))
    world.put(cache, A)
    assert not world.has(cache, A)
    world.clock.advance(61)
    world.put(cache, A)
    assert world.has(cache, A)
    assert cache.used_bytes() == world.charged()


# --- other users


def test_a_folder_of_another_user_is_not_used(
    world: CacheWorld, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(world.open(), A)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    cache = world.open()
    assert not world.has(cache, A)
    world.put(cache, B)
    cache.put_table(PACK, TAIL)
    world.put(world.open(), B)
    assert set(world.entries()) == {f"c{A[0].hex()}"}
    (warning,) = warnings_of(caplog)
    assert "belongs to another user" in warning
    assert "cache_sharing" in warning


def test_a_folder_of_another_user_that_is_declared_shared_is_used_and_everything_in_it_checked(
    world: CacheWorld, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(world.open(sharing=Sharing.GROUP), A)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    cache = world.open(sharing=Sharing.GROUP)
    assert world.has(cache, A)
    world.put(cache, B)
    edit(world.entry(B))
    assert not world.has(cache, B)
    assert warnings_of(caplog) == []


def test_a_link_in_the_place_of_the_cache_is_not_followed(
    world: CacheWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    world.folder.mkdir()
    world.root.symlink_to(elsewhere)
    cache = world.open()
    world.put(cache, A)
    assert list(elsewhere.iterdir()) == []
    assert not world.has(cache, A)
    assert len(warnings_of(caplog)) == 1


def test_a_link_in_the_place_of_a_shard_is_not_followed(
    world: CacheWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = world.open()
    world.put(before, A)
    shard, elsewhere = world.entry(A).parent, tmp_path / "elsewhere"
    shard.rename(elsewhere)
    (elsewhere / "lock").unlink()
    mine = elsewhere / f"{NEW_PREFIX}of mine"
    mine.write_text("is kept")
    shard.symlink_to(elsewhere)
    was = sorted((path.name, path.stat().st_mtime_ns) for path in elsewhere.iterdir())
    cache = world.open(cap_for(1))
    assert not world.has(cache, A)
    for chunk in (A, *chunks(4)):
        world.put(cache, chunk)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in elsewhere.iterdir()) == was
    assert len(warnings_of(caplog)) == 1


# --- a death at any moment


class Killed(BaseException):
    """The process is gone: from here on it calls nothing, and the system closes its files."""


class Mortal(System):
    """Dies at its nth call that changes or locks something."""

    def __init__(self, nth: int) -> None:
        self.left = nth
        self.is_dead = False
        self.descriptors: set[int] = set()

    def live(self) -> None:
        self.left -= 1
        if self.left < 0 and not self.is_dead:
            self.is_dead = True
            for descriptor in self.descriptors:
                os.close(descriptor)
        if self.is_dead:
            raise Killed

    def open(self, path: str, flags: int, mode: int = 0o600, *, dir_fd: int | None = None) -> int:
        self.live()
        descriptor = SYSTEM.open(path, flags, mode, dir_fd=dir_fd)
        self.descriptors.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        self.live()
        self.descriptors.discard(descriptor)
        SYSTEM.close(descriptor)

    def write(self, descriptor: int, data: memoryview) -> int:
        self.live()
        return SYSTEM.write(descriptor, data[:1000])

    def write_at(self, descriptor: int, data: bytes, offset: int) -> None:
        self.live()
        SYSTEM.write_at(descriptor, data, offset)

    def lock(self, descriptor: int) -> bool:
        self.live()
        return SYSTEM.lock(descriptor)

    def unlock(self, descriptor: int) -> None:
        self.live()
        SYSTEM.unlock(descriptor)

    def rename(self, source: str, target: str, *, dir_fd: int) -> None:
        self.live()
        SYSTEM.rename(source, target, dir_fd=dir_fd)

    def unlink(self, path: str, *, dir_fd: int) -> None:
        self.live()
        SYSTEM.unlink(path, dir_fd=dir_fd)

    def list(self, descriptor: int) -> list[FileSeen]:
        self.live()
        return SYSTEM.list(descriptor)


def two_puts_and_a_drop(world: CacheWorld, cache: DiskCache, present: Chunk) -> None:
    edit(world.entry(present))
    cache.get(present[0], ENTRY_BYTES)
    world.put(cache, A)
    world.put(cache, B)


@pytest.mark.parametrize("step", range(64))
def test_a_writer_may_die_at_any_call_and_no_byte_is_lost_from_the_accounts(tmp_path: Path, step: int) -> None:
    """Steps 64 apart: a put, a put that evicts and a drop together are some hundreds of calls."""
    for nth in range(step, 2000, 64):
        world = CacheWorld(tmp_path / str(nth))
        before = world.open(cap_for(3))
        for chunk in chunks(3):
            world.put(before, chunk)
        system = Mortal(nth)
        with contextlib.suppress(Killed):
            two_puts_and_a_drop(world, world.open(cap_for(3), system=system), chunks(3)[2])
        assert world.charged() <= cap_for(3) - OVERHEAD_BYTES
        after = world.open(cap_for(3))
        for chunk in chunks(5, seed="after"):
            world.put(after, chunk)
            assert world.charged() <= after.used_bytes() <= cap_for(3) - OVERHEAD_BYTES
        assert after.used_bytes() == world.charged()
        assert len(world.entries()) == 3
        assert not [name for name in world.entries() if name.startswith(NEW_PREFIX)]
        assert world.has(after, chunks(5, seed="after")[4])
        shutil.rmtree(world.folder)
        if not system.is_dead:
            return
    pytest.fail("the end was not reached")
