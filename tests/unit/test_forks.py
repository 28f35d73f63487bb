"""An opened store in a forked child, such as a data loader's worker (fault 110)."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROGRAM = """
    import os, signal, sys, threading, time, warnings
    from pathlib import Path
    from artifactstore import open_store
    from artifactstore.store import Store

    warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12 on, about forks with threads
    place = Path(sys.argv[1])
    tree = place / "tree"
    tree.mkdir()
    for number in range(9):
        (tree / str(number)).write_bytes(os.urandom(200_000))
    store = open_store(place / "store", state_path=place / "state")
    store.push(tree, "name")
    store.pull("name", place / "before")
    if sys.argv[2] == "busy":
        # The fork finds the lock of local state taken, and every thread at work.
        holding = threading.Event()
        def hold():
            with store._lock, store._state._database._lock:
                holding.set()
                time.sleep(1)
        threading.Thread(target=hold).start()
        holding.wait()
        for _ in range(20):
            store._requests.submit(time.sleep, 0.05)
    child = os.fork()
    if not child:
        signal.alarm(20)
        (tree / "0").write_bytes(b"changed by the child")
    who = "parent" if child else "child"
    if child:
        assert os.waitpid(child, 0)[1] == 0
    assert sum(1 for _ in store.versions("name")) == (2 if child else 1)
    assert store.push(tree, "name").action == ("unchanged" if child else "committed")
    store.pull("name", place / who)
    assert (place / who / "0").read_bytes() == b"changed by the child"
    assert (place / who / "8").read_bytes() == (tree / "8").read_bytes()
    store.close()
    if not child:
        os._exit(0)
"""


@pytest.mark.parametrize("parent", ["idle", "busy"])
def test_store_that_was_opened_and_used_before_a_fork_works_in_parent_and_child(tmp_path: Path, parent: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), tmp_path, parent], capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr, done.stderr.decode()
