"""One cache on disk under many real processes: writers that evict each other's entries, are killed, stopped, forked."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from artifactstore.chunk_cache.disk import DiskCache
from artifactstore.chunk_cache.folder import NEW_PREFIX
from artifactstore.testing.cached import CacheWorld, cap_for, chunks, disk_bytes

SEED = int(os.environ.get("ARTIFACTSTORE_SEED", "0")) or random.randrange(1, 10**6)
ROUNDS = 200 if os.environ.get("ARTIFACTSTORE_SOAK") else 15
SIZE = 30_000

# Reads and writes the same 60 chunks in an order of its own; prints how many gets hit.
WORKER = """
import random, sys
from artifactstore.chunk_cache.disk import DiskCache
from artifactstore.testing.cached import chunks
folder, cap, seed, uses, size = sys.argv[1], *map(int, sys.argv[2:])
cache = DiskCache(folder, max_bytes=cap)
chance = random.Random(seed)
some = chunks(60, size)
print("ready", flush=True)
for _ in range(uses):
    digest, raw = chance.choice(some)
    found = cache.get(digest, len(raw))
    if found is None:
        cache.put(digest, raw)
    elif found != raw:
        sys.exit("wrong bytes")
print(cache.counts.hits, cache.counts.evicted)
"""


@pytest.fixture
def world(tmp_path: Path) -> CacheWorld:
    return CacheWorld(tmp_path / "cache")


def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


@contextmanager
def ended(*processes: "subprocess.Popen[str]") -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate(timeout=20)


@contextmanager
def all_stopped(processes: "Sequence[subprocess.Popen[str]]") -> Iterator[None]:
    """Nothing moves while it is looked at: what is added up one by one is the sum of one moment."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGSTOP)
    for process in running:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    try:
        yield
    finally:
        for process in running:
            process.send_signal(signal.SIGCONT)


def counted(world: CacheWorld, cap: int) -> DiskCache:
    """A cache whose writes have come by every shard once."""
    cache = DiskCache(world.folder, max_bytes=cap)
    for chunk in chunks(1000, 100, seed="every shard"):
        cache.put(*chunk)
    return cache


def test_many_writers_of_different_caps_never_pass_the_highest(world: CacheWorld) -> None:
    caps = [cap_for(count, SIZE) for count in (10, 20, 20, 20)]
    workers = [start(WORKER, world.folder, cap, SEED + n, 600, SIZE) for n, cap in enumerate(caps)]
    with ended(*workers):
        for worker in workers:
            ready(worker)
        looks = 0
        while any(worker.poll() is None for worker in workers):
            with all_stopped(workers):
                assert disk_bytes(world.root) <= max(caps), f"seed {SEED}"
            looks += 1
            time.sleep(0.02)
        assert looks > 5
        answers = [worker.communicate(timeout=20) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, answers
    assert not any(error for _, error in answers)
    hits, evicted = (sum(int(out.split()[column]) for out, _ in answers) for column in (0, 1))
    assert hits > 100 and evicted > 100
    assert DiskCache(world.folder, max_bytes=0).used_bytes() == world.charged()


def test_writers_killed_at_any_moment_leave_nothing_behind(world: CacheWorld) -> None:
    chance = random.Random(SEED)
    cap = cap_for(20, SIZE)
    for number in range(ROUNDS):
        worker = start(WORKER, world.folder, cap, SEED + number, 10**9, SIZE)
        with ended(worker):
            ready(worker)
            with pytest.raises(subprocess.TimeoutExpired):
                worker.wait(chance.uniform(0.001, 0.06))
            worker.send_signal(signal.SIGKILL)
            worker.wait(20)
        assert disk_bytes(world.root) <= cap, f"seed {SEED}"
        assert world.charged() <= DiskCache(world.folder, max_bytes=0).used_bytes() <= cap
    cache = counted(world, cap)
    assert cache.used_bytes() == world.charged()
    assert not [name for name in world.entries() if name.startswith(NEW_PREFIX)]


def test_a_stopped_writer_holds_nobody_up(world: CacheWorld) -> None:
    cap = cap_for(20, SIZE)
    stopped = start(WORKER, world.folder, cap, SEED, 10**9, SIZE)
    with ended(stopped):
        ready(stopped)
        with pytest.raises(subprocess.TimeoutExpired):
            stopped.wait(0.05)
        stopped.send_signal(signal.SIGSTOP)
        other = start(WORKER, world.folder, cap, SEED + 1, 500, SIZE)
        with ended(other):
            ready(other)
            assert other.wait(60) == 0
        assert disk_bytes(world.root) <= cap


# Forks while another thread is in the middle of a put, says "ready" and both wait.
FORKER = """
import os, sys, threading, time
from artifactstore.chunk_cache.disk import DiskCache
from artifactstore.chunk_cache.syscalls import System
from artifactstore.testing.cached import chunks
inside, go_on = threading.Event(), threading.Event()
class Slow(System):
    def write(self, descriptor, data):
        inside.set()
        go_on.wait(60)
        return super().write(descriptor, data)
cache = DiskCache(sys.argv[1], max_bytes=1 << 20, system=Slow())
first, second = chunks(2)
threading.Thread(target=cache.put, args=first, daemon=True).start()
inside.wait(60)
child = os.fork()
if child == 0:
    if sys.argv[2] == "use":
        own = DiskCache(sys.argv[1], max_bytes=1 << 20)
        own.put(*second)
        go_on.set()
        cache.put(*second)
        print("child", own.get(second[0], len(second[1])) == second[1], flush=True)
        os._exit(0)
    print("ready", flush=True)
    time.sleep(60)
    os._exit(0)
if sys.argv[2] == "use":
    os.waitpid(child, 0)
    go_on.set()
    while cache.get(first[0], len(first[1])) != first[1]:
        time.sleep(0.005)
    print("parent", True, flush=True)
else:
    print(child, flush=True)
    time.sleep(60)
"""


def test_a_child_forked_in_the_middle_of_a_put_uses_the_cache_and_so_does_its_parent(world: CacheWorld) -> None:
    forker = start(FORKER, world.folder, "use")
    with ended(forker):
        out, error = forker.communicate(timeout=60)
    assert (out.split(), error) == (["child", "True", "parent", "True"], "")
    assert DiskCache(world.folder, max_bytes=0).used_bytes() == world.charged()


def test_a_lock_dies_with_its_holder_not_with_the_children_forked_meanwhile(world: CacheWorld) -> None:
    forker = start(FORKER, world.folder, "wait")
    with ended(forker):
        assert forker.stdout is not None
        said = {forker.stdout.readline().strip(), forker.stdout.readline().strip()}
        (child,) = (int(text) for text in said - {"ready"})
        try:
            forker.kill()
            forker.wait(20)
            cache = DiskCache(world.folder, max_bytes=1 << 20)
            digest, raw = chunks(2)[0]
            before = time.monotonic()
            cache.put(digest, raw)
            assert cache.get(digest, len(raw)) == raw
            assert time.monotonic() - before < 20
            os.kill(child, 0)  # it is still there
            assert cache.used_bytes() == world.charged()
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_disk_that_is_really_full_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not allow mounting")
    try:
        cache = DiskCache(disk, max_bytes=64 << 20)
        some = chunks(60, SIZE)
        for chunk in some:
            cache.put(*chunk)
        found = [cache.get(digest, SIZE) for digest, _ in some]
        assert found[0] == some[0][1]
        assert found[-1] is None
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "No space left" in caplog.text
        with cache._folder.open() as opened:
            for shard in range(64):
                with contextlib.suppress(FileNotFoundError), opened.locked(shard) as held:
                    opened.count(shard, held)
        assert CacheWorld(disk).charged() == cache.used_bytes()
    finally:
        subprocess.run(["umount", disk], check=True)
