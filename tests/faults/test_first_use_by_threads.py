"""The first decoding of a record may come from many threads at once (fault 111)."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys, threading, msgspec
from artifactstore.transaction.records import SlotRecord
body = b'{"format":1,"nonce":"%s","tx":"","content":"","created":"","git":{"commit":"x"}}' % (b"0" * 32)
start = threading.Barrier(8)
def decode():
    start.wait()
    try:
        msgspec.json.decode(body, type=SlotRecord)
    except msgspec.MsgspecError:
        pass
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=decode) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.mark.parametrize("attempt", range(5))
def test_records_are_ready_for_threads_once_imported(attempt: int) -> None:
    # A race: without the preparation in records.py, about one attempt in four dies with a segmentation fault.
    assert subprocess.run([sys.executable, "-c", SCRIPT], check=False).returncode == 0
