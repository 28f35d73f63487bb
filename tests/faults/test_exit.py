"""The end of real programs: what they asked to be uploaded is uploaded, and they end as they would have without us."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from artifactstore.jobs.exits import GRACE_VARIABLE
from artifactstore.jobs.listing import find_job
from artifactstore.jobs.snapshots import list_snapshots, snapshot_reference
from artifactstore.store import open_store
from artifactstore.testing.stores import quick_folder

SECONDS = 30
PROLOGUE = """
    import logging, os, signal, sys, threading, time
    from pathlib import Path
    from artifactstore.jobs.directory import create_syncable_directory
    from artifactstore.jobs.job import job
    from artifactstore.store import open_store

    place = Path(sys.argv[1])
    store = open_store(place / "store", state_path=place / "state")

    def ready():
        print("ready", flush=True)

    def rest():
        # In short naps: a signal that comes just before a sleep is seen only after it.
        for _ in range(1200):
            time.sleep(0.05)

    def directory_of(job_id, path="d"):
        return create_syncable_directory("key", place / path, job=job_id, store=store)

    def write(name, size=1000, path="d"):
        (place / path / name).write_bytes(os.urandom(size))

    def slow(seconds):
        # Each pack takes a while, as it does on a slow network.
        put = type(store._backend).put
        def later(self, key, body):
            time.sleep(seconds)
            return put(self, key, body)
        type(store._backend).put = later
"""
ALONE = "directory = directory_of('j')\n"
IN_A_JOB = "job('j', store=store).start()\ndirectory = directory_of(None)\n"


@dataclass(frozen=True)
class Program:
    """A program that works in a directory."""

    folder: Path

    def start(self, text: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROLOGUE) + textwrap.dedent(text), str(self.folder)],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, text: str, **environment: str) -> tuple[int, str]:
        """Its exit code, and what it said."""
        process = self.start(text, **environment)
        _, said = process.communicate(timeout=SECONDS)
        return process.returncode, said

    def terminated(self, text: str, **environment: str) -> tuple[int, str]:
        """As `run`, with SIGTERM once it is ready."""
        process = self.start(text, **environment)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate(timeout=SECONDS)[1]
        process.terminate()
        _, said = process.communicate(timeout=SECONDS)
        return process.returncode, said

    def snapshots(self, key: str = "key") -> list[int]:
        with open_store(self.folder / "store", state_path=self.folder / "looking") as store:
            return [snapshot.number for snapshot in list_snapshots(store, "j", key)]

    def newest(self) -> set[str]:
        """Paths in the newest snapshot."""
        with open_store(self.folder / "store", state_path=self.folder / "looking") as store:
            newest = next(iter(list_snapshots(store, "j", "key")))
            pulled = self.folder / f"pulled-{newest.number}"
            store.pull(snapshot_reference("j", "key", newest.number), pulled)
            return {path.name for path in pulled.iterdir()}

    def status(self) -> str:
        with open_store(self.folder / "store", state_path=self.folder / "looking") as store:
            return str(find_job(store, "j").status)

    def error(self) -> str:
        with open_store(self.folder / "store", state_path=self.folder / "looking") as store:
            return find_job(store, "j").error


@pytest.fixture
def program() -> Iterator[Program]:
    with quick_folder() as folder:
        yield Program(folder)


begun = pytest.mark.parametrize("beginning", [ALONE, IN_A_JOB], ids=["alone", "in a job"])


@begun
@pytest.mark.parametrize("size", [1000, 60_000_000], ids=["small", "large"])
def test_upload_in_the_background_is_finished_before_the_program_ends(
    program: Program, beginning: str, size: int
) -> None:
    assert program.run(beginning + f"write('a', {size}); directory.upload(wait=False)") == (0, "")
    assert program.newest() == {"a"}


@begun
@pytest.mark.parametrize(
    "end,code",
    [("", 0), ("sys.exit(0)", 0), ("sys.exit(3)", 3), ("raise ZeroDivisionError", 1), ("raise KeyboardInterrupt", -2)],
    ids=["last line", "exit 0", "exit 3", "exception", "Ctrl-C"],
)
def test_watched_directory_is_uploaded_once_more_at_the_end_of_a_program(
    program: Program, beginning: str, end: str, code: int
) -> None:
    text = f"{beginning}directory.watch(1000)\nwrite('a')\n{end}"
    returned, said = program.run(text)
    assert returned == code, said
    assert program.newest() == {"a"}
    assert "upload" not in said
    assert ("Traceback" in said) == (code in (1, -2))


def test_exception_ends_the_job_as_failed_after_the_last_upload(program: Program) -> None:
    assert program.run(IN_A_JOB + "directory.watch(1000)\nwrite('a')\nraise ZeroDivisionError")[0] == 1
    assert program.newest() == {"a"}
    assert program.status() == "failed"


@begun
def test_exit_while_the_queue_is_full_uploads_everything(program: Program, beginning: str) -> None:
    text = f"""{beginning}
for number in range(10):
    other = create_syncable_directory(f"key-{{number}}", place / f"d-{{number}}", job="j", store=store)
    write("a", 100_000, f"d-{{number}}")
    other.upload(wait=False)
    write("b", 100_000, f"d-{{number}}")
    other.upload(wait=False)
"""
    assert program.run(text) == (0, "")
    for number in range(10):
        with open_store(program.folder / "store", state_path=program.folder / "looking") as store:
            assert next(iter(list_snapshots(store, "j", f"key-{number}"))).files == 2


@begun
def test_error_that_nobody_waited_for_is_told_at_the_end_of_the_program(program: Program, beginning: str) -> None:
    code, said = program.run(beginning + "(place / 'd').rmdir()\ndirectory.upload(wait=False)")
    assert code == 0, "the program's own"
    assert "nobody waited for it: SourceNotFound: there is no directory" in said
    assert "Traceback" not in said
    assert program.snapshots() == []
    if beginning is IN_A_JOB:
        assert program.status() == "failed"


@begun
def test_last_upload_that_fails_is_told_and_fails_the_job(program: Program, beginning: str) -> None:
    code, said = program.run(beginning + "directory.watch(1000)\n(place / 'd').rmdir()")
    assert code == 0
    assert "the last upload of" in said
    assert "there is no directory" in said
    if beginning is IN_A_JOB:
        assert program.status() == "failed"


# -- SIGTERM -------------------------------------------------------------------------------------------


@begun
def test_sigterm_uploads_what_there_is_and_ends_the_program_as_sigterm_does(program: Program, beginning: str) -> None:
    text = f"{beginning}directory.watch(1000)\nwrite('a')\nready()\nrest()"
    code, said = program.terminated(text)
    assert code == -signal.SIGTERM
    assert program.newest() == {"a"}
    assert "last uploads, for at most 25 seconds" in said


ONLY_A_JOB = {
    "block": "with job('j', store=store):\n    ready(); rest()",
    "begun": "job('j', store=store).start()\nready(); rest()",
    "implicit": "from artifactstore.jobs.job import current_job\ncurrent_job(store)\nready(); rest()",
    "watch": f"{IN_A_JOB}directory.watch(1000)\nwrite('a')\nready(); rest()",
    "upload": f"{IN_A_JOB}slow(0.1)\nwrite('a')\ndirectory.upload(wait=False)\nready(); rest()",
}


@pytest.mark.parametrize("text", ONLY_A_JOB.values(), ids=ONLY_A_JOB)
def test_sigterm_ends_a_job_as_failed_after_its_last_uploads(program: Program, text: str) -> None:
    code, said = program.terminated(text, ARTIFACTSTORE_JOB_ID="j")
    assert code == -signal.SIGTERM
    assert (program.status(), program.error()) == ("failed", "ended by SIGTERM")
    assert ("last uploads" in said) == ("directory" in text)
    if "directory" in text:
        assert program.newest() == {"a"}


def test_last_uploads_leave_time_to_record_the_end_of_the_job(program: Program) -> None:
    text = f"{IN_A_JOB}write('a')\ndirectory.upload()\n"
    text += """
put = type(store._backend).put
def later(self, key, body):
    if not key.startswith("jobs/"):
        time.sleep(60)
    return put(self, key, body)
type(store._backend).put = later
directory.watch(1000)
write("b")
ready()
rest()
"""
    code, said = program.terminated(text, **{GRACE_VARIABLE: "1"})
    assert (code, "not done within" in said) == (-signal.SIGTERM, True)
    assert (program.status(), program.error()) == ("failed", "ended by SIGTERM")


def test_storage_that_does_not_answer_does_not_hold_up_the_end_of_a_job(program: Program) -> None:
    text = f"{IN_A_JOB}type(store._backend).put_if_absent = lambda *given: time.sleep(60)\nready(); rest()"
    assert program.terminated(text, **{GRACE_VARIABLE: "0.3"})[0] == -signal.SIGTERM
    assert program.status() == "running", "as its last record says, until its heartbeats are missed"


@pytest.mark.parametrize(
    "end,status", [("sys.exit(0)", "failed"), ("sys.exit(7)", "failed"), ("went_on.set()", "completed")]
)
def test_handler_of_the_program_decides_whether_a_job_goes_on(program: Program, end: str, status: str) -> None:
    text = f"""
went_on = threading.Event()
def handler(number, frame):
    {end}
signal.signal(signal.SIGTERM, handler)
with job("j", store=store):
    ready()
    went_on.wait(60)
"""
    code, _ = program.terminated(text)
    assert code == (7 if "7" in end else 0)
    assert (program.status(), program.error()) == (status, "ended by SIGTERM" if status == "failed" else "")


def test_a_job_that_is_over_leaves_sigterm_as_it_was(program: Program) -> None:
    text = "with job('j', store=store): pass\nassert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL"
    assert program.run(text) == (0, "")


def test_sigterm_does_not_cut_off_an_upload_in_the_background(program: Program) -> None:
    text = f"{ALONE}directory.upload()\nslow(0.2)\nwrite('a')\ndirectory.upload(wait=False)\nready()\nrest()"
    assert program.terminated(text)[0] == -signal.SIGTERM
    assert program.newest() == {"a"}


def test_program_goes_on_during_the_last_upload_whatever_lock_it_holds(program: Program) -> None:
    text = f"""{ALONE}
directory.watch(1000)
write("a")
ready()
while True:
    with store._lock, store._state._database._lock:
        time.sleep(0.01)
    time.sleep(0.001)
"""
    assert program.terminated(text)[0] == -signal.SIGTERM
    assert program.newest() == {"a"}


def test_handler_that_was_there_before_comes_after_the_last_upload_and_decides(program: Program) -> None:
    text = f"""
def handler(number, frame):
    print("handled", number, [snapshot.number for snapshot in directory.history()], file=sys.stderr)
    write("b")
    sys.exit(7)
signal.signal(signal.SIGTERM, handler)
{ALONE}
directory.watch(1000)
write("a")
ready()
rest()
"""
    code, said = program.terminated(text)
    assert code == 7
    assert "handled 15 [1]" in said
    assert program.snapshots() == [2, 1]
    assert program.newest() == {"a", "b"}, "what the handler left is uploaded at the end"


def test_handler_that_came_later_and_hands_on_works_too(program: Program) -> None:
    text = f"""{ALONE}
directory.watch(1000)
before = signal.getsignal(signal.SIGTERM)
def handler(number, frame):
    print("handled", file=sys.stderr)
    before(number, frame)
signal.signal(signal.SIGTERM, handler)
write("a")
ready()
rest()
"""
    code, said = program.terminated(text)
    assert code == -signal.SIGTERM
    assert "handled" in said
    assert program.newest() == {"a"}


def test_upload_that_takes_longer_than_the_grace_is_cut_off_and_told(program: Program) -> None:
    text = f"{ALONE}write('a')\ndirectory.upload()\nslow(60)\ndirectory.watch(1000)\nwrite('b')\nready()\n"
    code, said = program.terminated(text + "rest()", **{GRACE_VARIABLE: "0.3"})
    assert code == -signal.SIGTERM
    assert "not done within" in said
    assert program.newest() == {"a"}, "the newest snapshot is whole"
    assert program.run(ALONE + "directory.upload()")[0] == 0
    assert program.newest() == {"a", "b"}


def test_second_sigterm_ends_the_program_at_once(program: Program) -> None:
    text = f"{ALONE}directory.watch(1000)\nslow(60)\nwrite('b')\nready()\nrest()"
    process = program.start(text)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.terminate()
    assert "last uploads" in process.stderr.readline()
    began = time.monotonic()
    process.terminate()
    process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGTERM
    assert time.monotonic() - began < 20


def test_program_that_ends_by_itself_during_the_grace_uploads_what_it_left(program: Program) -> None:
    text = f"{ALONE}directory.watch(1000)\nslow(0.6)\nwrite('a')\nready()\ntime.sleep(0.1)\nwrite('b')"
    assert program.terminated(text)[0] in (0, -signal.SIGTERM)
    assert program.newest() == {"a", "b"}


def test_forked_child_of_a_watching_program_ends_by_sigterm_at_once_and_uploads_nothing(program: Program) -> None:
    text = f"""{ALONE}
directory.watch(1000)
child = os.fork()
if not child:
    (place / "begun").touch()
    time.sleep(60)
while not (place / "begun").exists():
    time.sleep(0.01)
os.kill(child, signal.SIGTERM)
assert os.waitpid(child, 0)[1] == signal.SIGTERM
assert list(directory.history()) == []
write("a")
child = os.fork()
if not child:
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert list(directory.history()) == []
"""
    assert program.run(text) == (0, "")
    assert program.newest() == {"a"}


@begun
@pytest.mark.parametrize("work", ["directory.upload(wait=False)", "directory.watch(1000)"], ids=["upload", "watch"])
@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise ZeroDivisionError"], ids=["last line", "exit", "exception"])
@pytest.mark.parametrize("parent", ["", "job('of-the-parent', store=store).start()"], ids=["no job", "a job"])
def test_child_that_multiprocessing_forked_ends_after_its_uploads(
    program: Program, beginning: str, work: str, end: str, parent: str
) -> None:
    text = f"""
        import multiprocessing
        {parent}

        def child():
            {beginning.replace(chr(10), "; ")}
            write('a')
            {work}
            {end}

        child = multiprocessing.get_context("fork").Process(target=child)
        child.start()
        child.join()
    """
    assert program.run(text)[0] == 0
    assert program.newest() == {"a"}
    if beginning == IN_A_JOB:
        assert program.status() == ("failed" if "ZeroDivisionError" in end else "completed")


def test_watch_that_was_stopped_leaves_sigterm_as_it_was(program: Program) -> None:
    text = f"""{ALONE}
with directory.watch(1000):
    write("a")
from artifactstore.jobs.background import BACKGROUND
BACKGROUND.finish()
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
"""
    assert program.run(text) == (0, "")


def test_kill_leaves_the_newest_snapshot_whole_and_the_next_start_sends_what_is_missing(program: Program) -> None:
    text = f"{ALONE}write('a')\ndirectory.upload()\nwrite('b')\nslow(0.3)\ndirectory.upload(wait=False)\nready()\n"
    process = program.start(text + "rest()")
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate(timeout=SECONDS)
    assert program.newest() == {"a"}
    assert program.run(ALONE + "assert directory.upload().snapshot == 'key@2'") == (0, "")
    assert program.newest() == {"a", "b"}
