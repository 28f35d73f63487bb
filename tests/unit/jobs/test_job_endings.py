"""How programs end, and what becomes of their jobs: each test is a program of its own."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.jobs.listing import JobInfo, find_job, list_jobs
from artifactstore.store import Store, init_store

PRELUDE = """\
import artifactstore, os, sys, threading
store = artifactstore.open_store()
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with init_store(tmp_path / "store") as store:
        yield store


def run(store: Store, program: str, *, name: str = "x") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(program)],
        env={**os.environ, "ARTIFACTSTORE_URL": store.url, "ARTIFACTSTORE_JOB_ID": name},
        capture_output=True,
        text=True,
        timeout=60,
    )


def after(store: Store, program: str) -> JobInfo:
    run(store, program)
    return find_job(store, "x")


def test_a_program_that_ends_has_completed_its_job(store: Store) -> None:
    done = run(store, "print(artifactstore.current_job().id)")
    assert (done.stdout, done.stderr, done.returncode) == ("x\n", "", 0)
    assert find_job(store, "x").status == "completed"


def test_an_uncaught_exception_fails_it_and_is_shown_as_ever(store: Store) -> None:
    done = run(store, "artifactstore.current_job()\nraise LookupError('seen')")
    assert done.returncode == 1
    assert done.stderr.endswith("LookupError: seen\n")
    assert done.stderr.count("Traceback") == 1
    assert (find_job(store, "x").status, find_job(store, "x").error) == ("failed", "LookupError")


def test_hooks_of_others_are_called_and_may_take_the_place_of_ours(store: Store) -> None:
    done = run(
        store,
        """
        sys.excepthook = lambda *exception: print("before")
        artifactstore.current_job()
        raise LookupError
        """,
    )
    assert done.stdout == "before\n"
    done = run(
        store,
        """
        artifactstore.current_job()
        sys.excepthook = lambda *exception: print("instead")
        raise LookupError
        """,
        name="y",
    )
    assert done.stdout == "instead\n"
    assert [find_job(store, name).status for name in "xy"] == ["failed", "failed"]


def test_an_uncaught_exception_in_a_thread_fails_it_and_is_shown_as_ever(store: Store) -> None:
    program = """
        artifactstore.current_job()
        thread = threading.Thread(target=lambda: {}["seen"])
        thread.start(); thread.join()
        """
    done = run(store, program)
    assert (done.returncode, "KeyError: 'seen'" in done.stderr) == (0, True)
    assert (find_job(store, "x").status, find_job(store, "x").error) == ("failed", "KeyError")


def test_a_thread_that_fails_fails_the_job_of_the_block_it_works_for(store: Store) -> None:
    program = """
        with artifactstore.job("block", store=store):
            thread = threading.Thread(target=lambda: {}["seen"])
            thread.start(); thread.join()
        with artifactstore.job("x", store=store):
            pass
        """
    assert after(store, program).status == "completed"
    assert find_job(store, "block").status == "failed"


def test_a_thread_that_leaves_by_exit_fails_nothing(store: Store) -> None:
    program = """
        artifactstore.current_job()
        thread = threading.Thread(target=sys.exit)
        thread.start(); thread.join()
        """
    assert after(store, program).status == "completed"


def test_an_exception_that_was_caught_fails_nothing(store: Store) -> None:
    program = """
        artifactstore.current_job()
        try:
            raise ValueError
        except ValueError:
            pass
        sys.exit(0)
        """
    assert after(store, program).status == "completed"


def test_a_job_is_over_only_when_its_other_threads_are(store: Store) -> None:
    program = """
        import time
        artifactstore.current_job(store)
        def late():
            threading.main_thread().join()
            time.sleep(0.1)
            print(artifactstore.current_job(store).status)
        threading.Thread(target=late).start()
        """
    done = run(store, program)
    assert (done.stdout, done.stderr) == ("running\n", "")
    assert find_job(store, "x").status == "completed"


def test_what_is_to_be_done_at_the_end_can_still_use_threads(store: Store) -> None:
    program = """
        os.makedirs("made", exist_ok=True)
        def last(coming):
            open("made/a", "w").write("last")
            print(store.push("made", "models/last").version, coming)
        artifactstore.current_job(store).at_finish(last)
        raise LookupError
        """
    done = run(store, f"os.chdir({os.fspath(Path(store.url).parent)!r})\n" + textwrap.dedent(program))
    assert done.stdout == "models/last:v1 failed\n"
    assert store.show("models/last").made_by == "x"


def test_a_killed_program_leaves_its_job_to_be_found_lost(store: Store) -> None:
    program = "artifactstore.current_job()\nos.kill(os.getpid(), 9)"
    assert run(store, program).returncode == -signal.SIGKILL
    assert find_job(store, "x").status == "running"  # lost once its heartbeats are missed
    with_next = run(store, "artifactstore.current_job()")
    assert with_next.returncode == 0
    info = find_job(store, "x")
    assert (info.processes, info.attempt) == (2, 1)


def test_processes_with_one_id_at_once_are_one_job(store: Store) -> None:
    program = PRELUDE + "artifactstore.current_job()\nprint('begun', flush=True)\nsys.stdin.read()\n"
    env = {**os.environ, "ARTIFACTSTORE_URL": store.url, "ARTIFACTSTORE_JOB_ID": "x"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**env, "RANK": str(rank)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(3)
    ]
    for rank in ranks:
        assert rank.stdout is not None
        assert rank.stdout.readline() == "begun\n"
    running = find_job(store, "x")
    for rank in ranks:
        rank.communicate()
    assert (running.status, running.processes, running.attempt) == ("running", 3, 1)
    assert (find_job(store, "x").status, find_job(store, "x").processes) == ("completed", 3)


def test_workers_of_multiprocessing_make_things_for_the_job(store: Store, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    program = f"""
        import multiprocessing
        def work(number):
            store.push({os.fspath(tmp_path / "tree")!r}, f"m/{{number}}")
            return artifactstore.current_job(store).id
        job = artifactstore.current_job(store)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            made = pool.map(work, range(4))
        print(set(made), job.status)
        """
    done = run(store, program)
    assert (done.stdout, done.stderr) == ("{'x'} running\n", "")
    assert {store.show(f"m/{number}").made_by for number in range(4)} == {"x"}
    info = find_job(store, "x")
    assert (info.status, info.processes) == ("completed", 1)


def test_a_child_that_ends_by_itself_does_not_end_the_job(store: Store) -> None:
    program = """
        job = artifactstore.current_job(store)
        if os.fork() == 0:
            raise LookupError
        os.wait()
        print(artifactstore.find_job(store, "x").status)
        """
    done = run(store, program)
    assert done.stdout == "running\n"
    assert find_job(store, "x").status == "completed"


def test_a_program_without_a_job_has_none(store: Store) -> None:
    run(store, "import artifactstore.jobs.job")
    assert list(list_jobs(store)) == []
