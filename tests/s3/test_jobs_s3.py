"""Jobs on a real server: two machines, that is two homes, and what each sees of the other's."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from artifactstore.jobs.listing import JobInfo, find_job, list_jobs
from artifactstore.jobs.manifest import job_manifest
from artifactstore.jobs.removal import remove_job
from artifactstore.store import Store, init_store, open_store

TRAIN = """\
import artifactstore, os, sys
store = artifactstore.open_store()
with artifactstore.job(heartbeat_seconds=1) as job:
    os.makedirs("out", exist_ok=True)
    open("out/weights", "wb").write(os.urandom(10_000))
    store.push("out", "models/small")
    print(job.id, job.attempt, flush=True)
    sys.stdin.read()
    if os.environ.get("FAIL"):
        raise ValueError
"""
EVALUATE = """\
import artifactstore
store = artifactstore.open_store()
job = artifactstore.current_job()
store.pull(job.use("models/small"), "in")
print(job.id)
"""


def start(home: Path, url: str, program: str, **more: str) -> subprocess.Popen[str]:
    home.mkdir(exist_ok=True)
    folders = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("DATA", "CONFIG", "CACHE", "STATE")}
    env = {**os.environ, **folders, "HOME": str(home), "ARTIFACTSTORE_URL": url, **more}
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=home,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def seen(store: Store, job_id: str) -> JobInfo:
    return find_job(store, job_id)


def test_jobs_of_two_machines_see_one_another(s3_url: str, tmp_path: Path) -> None:
    with init_store(s3_url) as store:
        train = start(tmp_path / "one", s3_url, TRAIN, SLURM_CLUSTER_NAME="north", SLURM_JOB_ID="71", SLURM_PROCID="0")
        assert train.stdout is not None
        assert train.stdout.readline() == "slurm-north-71 1\n"
        assert (seen(store, "slurm-north-71").status, seen(store, "slurm-north-71").project) == ("running", "one")
        evaluate = start(tmp_path / "two", s3_url, EVALUATE, ARTIFACTSTORE_JOB_ID="evaluate/1")
        assert evaluate.communicate(timeout=60) == ("evaluate/1\n", "")
        assert train.communicate(timeout=60) == ("", "")
        assert {info.id: str(info.status) for info in list_jobs(store)} == {
            "slurm-north-71": "completed",
            "evaluate/1": "completed",
        }
        made = [version.version for version in job_manifest(store, "slurm-north-71").made]
        used = [version.version for version in job_manifest(store, "evaluate/1").used]
        assert made == used == ["models/small:v1"]
        assert store.show("models/small").made_by == "slurm-north-71"
        remove_job(store, "evaluate/1")
        assert [info.id for info in list_jobs(store)] == ["slurm-north-71"]


def test_a_job_that_is_killed_on_one_machine_and_requeued_on_another_is_one_job(s3_url: str, tmp_path: Path) -> None:
    slurm = {"SLURM_CLUSTER_NAME": "north", "SLURM_JOB_ID": "72", "ARTIFACTSTORE_PROJECT": "shapes"}
    with init_store(s3_url) as store:
        first = start(tmp_path / "one", s3_url, TRAIN, **slurm)
        assert first.stdout is not None
        assert first.stdout.readline() == "slurm-north-72 1\n"
        first.send_signal(signal.SIGKILL)
        first.communicate()
        second = start(tmp_path / "two", s3_url, TRAIN, **slurm, SLURM_RESTART_COUNT="1")
        assert second.communicate(timeout=60)[0] == "slurm-north-72 2\n"
        info = seen(store, "slurm-north-72")
        assert (info.status, info.attempt, info.project, info.processes) == ("completed", 2, "shapes", 1)
        third = start(tmp_path / "one", s3_url, TRAIN, **slurm, SLURM_RESTART_COUNT="2", FAIL="1")
        assert "ValueError" in third.communicate(timeout=60)[1]
    with open_store(s3_url) as again:
        info = seen(again, "slurm-north-72")
        assert (info.status, info.error, info.attempt) == ("failed", "ValueError", 3)
        assert len(job_manifest(again, "slurm-north-72").made) == 3
