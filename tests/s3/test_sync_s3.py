"""Syncable directories on a real S3 server: programs on machines of their own, and only the change moves."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from job_programs import Programs, check_processes_of_one_job, check_the_story
from s3.servers import S3Server

from artifactstore.jobs.directory import create_syncable_directory
from artifactstore.jobs.snapshots import list_job_ids, list_snapshots
from artifactstore.store import Store, init_store, open_store
from artifactstore.testing.stores import edit_tree, tree_at
from artifactstore.testing.strategies import seeded_bytes

LARGE = 6 << 20


@dataclass(eq=False)
class Run:
    id: str
    store: Store


@pytest.fixture
def store_url(s3_url: str) -> str:
    init_store(s3_url).close()
    return s3_url


@pytest.fixture
def programs(store_url: str, s3_server: S3Server, tmp_path: Path) -> Programs:
    given = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return Programs(url=store_url, folder=tmp_path / "machines", environ={**given, **s3_server.environ})


def test_three_jobs_on_three_machines_build_on_each_others_directory(programs: Programs) -> None:
    check_the_story(programs)
    with open_store(programs.url) as store:
        assert list_job_ids(store) == ["42", "43", "44", "45", "46"]
        (snapshot,) = list_snapshots(store, "45", "directory_key")
        assert snapshot.source_job_ids == ("44",)


def test_two_processes_of_one_job_get_increasing_snapshots(programs: Programs) -> None:
    assert check_processes_of_one_job(programs) == [f"directory_key@{number}" for number in range(1, 7)]


def test_only_the_change_moves_up_and_down(store_url: str, tmp_path: Path) -> None:
    machines = [tmp_path / name for name in ("a", "b")]
    stores = [open_store(store_url, state_path=machine / "state") for machine in machines]
    edit_tree(machines[0] / "work", {b"large": seeded_bytes("large", LARGE), b"gone": b"", b"other": b"1"})
    first = create_syncable_directory("model", machines[0] / "work", job=Run("42", stores[0]))
    first.upload()
    second = create_syncable_directory("model", machines[1] / "work", "42", job=Run("43", stores[1]))
    changed = bytearray(seeded_bytes("large", LARGE))
    changed[LARGE // 2 : LARGE // 2 + 65_536] = seeded_bytes("region", 65_536)
    edit_tree(machines[1] / "work", {b"large": bytes(changed)}, removed=[b"gone"])
    done = second.upload()
    assert (done.snapshot, done.sent_bytes < 640_000) == ("model@1", True)
    back = create_syncable_directory("model", machines[0] / "work", "43", job=Run("44", stores[0]))
    assert tree_at(machines[0] / "work") == tree_at(machines[1] / "work")
    assert back.upload().sent_bytes < 640_000
    for store in stores:
        store.close()
