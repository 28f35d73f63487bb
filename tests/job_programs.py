"""Jobs as users run them: programs of their own, each on a machine of its own, with nothing in common but the store."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FIRST = """
directory = artifactstore.create_syncable_directory("directory_key", "sync/path")
with open("sync/path/hello.csv", "w") as file:
    file.write("1,2,3")
tell(directory.upload())
"""
READER = """
directory = artifactstore.create_syncable_directory("directory_key", "sync/path", source)
with open("sync/path/hello.csv") as file:
    print(json.dumps(file.read()))
"""
WRITER = """
directory = artifactstore.create_syncable_directory("directory_key", "sync/path", source)
with open("sync/path/hello.csv") as file:
    numbers = [int(number) for number in file.read().split(",")]
with open("sync/path/hello.csv", "w") as file:
    file.write(",".join(str(number + 3) for number in numbers))
tell(directory.upload())
"""
UPLOADER = """
directory = artifactstore.create_syncable_directory("directory_key", "sync/path", source, missing_ok=True)
for step in range(int(argument)):
    with open("sync/path/state", "w") as file:
        file.write(f"{os.getcwd()} {step}")
    tell(directory.upload())
"""
_BEFORE = """
import json, os, sys
import artifactstore
source, argument = sys.argv[1] or None, sys.argv[2]
def tell(done):
    print(json.dumps({"snapshot": done.snapshot, "action": done.action, "sent_bytes": done.sent_bytes}), flush=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Runs programs over one store.

    Attributes:
        folder: For machines: each has a home and a working directory below it.
        environ: Beside what every program gets.
    """

    url: str
    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    def place(self, machine: str) -> Path:
        """The directory that programs on a machine sync."""
        return self.folder / machine / "work" / "sync/path"

    def start(
        self, script: str, *, job: str, machine: str, source: str = "", argument: str = ""
    ) -> subprocess.Popen[str]:
        home = self.folder / machine
        (home / "work").mkdir(parents=True, exist_ok=True)
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _BEFORE + script, source, argument],
            cwd=home / "work",
            env={
                **kept,
                **self.environ,
                "HOME": str(home),
                "ARTIFACTSTORE_URL": self.url,
                "ARTIFACTSTORE_JOB_ID": job,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *, job: str, machine: str, source: str = "", argument: str = "") -> list[object]:
        """Run a program to its good end; what it printed."""
        return finished(self.start(script, job=job, machine=machine, source=source, argument=argument))


def finished(process: subprocess.Popen[str]) -> list[object]:
    """Wait for a program that must end well; what it printed."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert not err
    return [json.loads(line) for line in out.splitlines()]


def check_the_story(programs: Programs) -> None:
    """Three jobs on three machines build on each other's directory; a fourth reads what each of them left."""
    programs.run(FIRST, job="42", machine="a")
    assert programs.run(READER, job="43", machine="b", source="42") == ["1,2,3"]
    (done,) = programs.run(WRITER, job="44", machine="c", source="42")
    assert isinstance(done, dict)
    assert (done["snapshot"], done["action"]) == ("directory_key@1", "committed")
    programs.run(WRITER, job="45", machine="d", source="44")
    for number, (job, content) in enumerate({"42": "1,2,3", "44": "4,5,6", "45": "7,8,9"}.items()):
        assert programs.run(READER, job="46", machine=f"reader-{number}", source=job) == [content]


def check_processes_of_one_job(programs: Programs) -> list[str]:
    """Two processes of one job at once: increasing snapshots, none lost. The names of all of them."""
    running = [programs.start(UPLOADER, job="job", machine=f"rank-{rank}", argument="3") for rank in range(2)]
    told = [[done["snapshot"] for done in finished(process) if isinstance(done, dict)] for process in running]
    assert all(own == sorted(own) for own in told)
    return sorted(name for own in told for name in own)
