"""Jobs as programs over one local store: the seed's story, processes of one job, a kill in the middle of an upload."""

import signal
import time
from pathlib import Path

import pytest
from job_programs import Programs, check_processes_of_one_job, check_the_story

from artifactstore.jobs.snapshots import list_job_ids, list_snapshots, snapshot_reference
from artifactstore.store import open_store
from artifactstore.testing.stores import edit_tree, quick_folder, tree_at
from artifactstore.testing.strategies import seeded_bytes

PART = 12 << 20
SLOW_UPLOAD = """
store = artifactstore.open_store(limit_rate_bytes=int(argument), jobs=1)
with artifactstore.job(store=store):
    directory = artifactstore.create_syncable_directory("directory_key", "sync/path", source)
    tell(directory.upload())
"""
FULL_SPEED = str(1 << 40)


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(url=str(tmp_path / "store"), folder=tmp_path / "machines")


def test_three_jobs_on_three_machines_build_on_each_others_directory(programs: Programs) -> None:
    check_the_story(programs)
    with open_store(programs.url) as store:
        assert list_job_ids(store) == ["42", "43", "44", "45", "46"]
        (snapshot,) = list_snapshots(store, "45", "directory_key")
        assert snapshot.source_job_ids == ("44",)


def test_two_processes_of_one_job_get_increasing_snapshots(programs: Programs) -> None:
    assert check_processes_of_one_job(programs) == [f"directory_key@{number}" for number in range(1, 7)]


def test_a_job_killed_during_an_upload_leaves_its_snapshot_whole_and_its_next_start_sends_what_is_missing() -> None:
    with quick_folder() as folder:
        programs = Programs(url=str(folder / "store"), folder=folder / "machines")
        place = programs.place("a")
        edit_tree(place, {b"first": b"first"})
        programs.run(SLOW_UPLOAD, job="job", machine="a", argument=FULL_SPEED)
        before = tree_at(place)
        packs = packed_bytes(folder)
        edit_tree(place, {b"%d" % n: seeded_bytes(f"{n}", PART) for n in range(4)}, removed=[b"first"])

        process = programs.start(SLOW_UPLOAD, job="job", machine="a", argument=str(40 << 20))
        while packed_bytes(folder) == packs and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it was faster than the test"
        stored = packed_bytes(folder) - packs
        assert 0 < stored < 4 * PART

        with open_store(programs.url) as store:
            assert [snapshot.number for snapshot in list_snapshots(store, "job", "directory_key")] == [1]
            store.pull(snapshot_reference("job", "directory_key"), folder / "whole")
        assert tree_at(folder / "whole") == before

        (done,) = programs.run(SLOW_UPLOAD, job="job", machine="a", argument=FULL_SPEED)
        assert isinstance(done, dict)
        assert done["snapshot"] == "directory_key@2"
        assert done["sent_bytes"] < 4 * PART - stored + 500_000
        with open_store(programs.url) as store:
            store.pull(snapshot_reference("job", "directory_key"), folder / "newest")
        assert tree_at(folder / "newest") == tree_at(place)


def packed_bytes(folder: Path) -> int:
    packs = folder / "store" / "packs"
    return sum(path.stat().st_size for path in packs.rglob("*") if path.is_file()) if packs.exists() else 0
