"""Plans of a sync: the document, what it is bound to, and applying it."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.errors import (
    DownloadConflict,
    JobNotFound,
    NameNotFound,
    PlanOutdated,
    SyncPlanError,
    UnsupportedFormat,
)
from artifactstore.jobs.directory import SyncableDirectory, open_syncable_directory
from artifactstore.jobs.listing import find_job, list_jobs
from artifactstore.jobs.manifest import job_manifest
from artifactstore.jobs.records import JobStatus
from artifactstore.jobs.removal import remove_job
from artifactstore.jobs.sync_plan import (
    MAX_PARTS,
    Direction,
    Level,
    SyncOptions,
    SyncPlan,
    check_still_holds,
    parse_path,
    parse_plan,
    path_text,
    see_directory,
    serialize_plan,
)
from artifactstore.jobs.sync_results import SnapshotDownload
from artifactstore.jobs.syncing import SyncRequest, apply_sync, plan_sync
from artifactstore.keys import JobKeys
from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.store import ConflictStrategy, Store, open_store


class World:
    """A store in which job 42 has `model@1` (a.txt, b.bin), and a directory `here` that was brought from it."""

    def __init__(self, store: Store, root: Path) -> None:
        self.store, self.root, self.here, self.there = store, root, root / "here", root / "there"
        self.write(self.there, {"a.txt": "1", "b.bin": "1"})
        self.upload("42", self.there)
        open_syncable_directory("model", self.here, "42", job="43", store=store).download()

    def write(self, root: Path, files: dict[str, str]) -> None:
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)

    def upload(self, job: str, directory: Path) -> None:
        open_syncable_directory("model", directory, job=job, store=self.store).upload()

    def request(self, **changed: Any) -> SyncRequest:
        fields = {"key": "model", "directory": str(self.here), "source_job_id": "42", "target_job_id": "43"}
        return SyncRequest(**{**fields, **changed})

    def plan(self, **changed: Any) -> SyncPlan:
        return plan_sync(self.store, self.request(**changed))

    def apply(self, plan: SyncPlan) -> None:
        apply_sync(self.store, parse_plan(serialize_plan(plan), where="plan.json"))

    def outdated(self, plan: SyncPlan) -> PlanOutdated:
        before = there(self.here), self.numbers("43")
        with pytest.raises(PlanOutdated) as caught:
            self.apply(plan)
        assert (there(self.here), self.numbers("43")) == before
        return caught.value

    def numbers(self, job: str) -> list[int]:
        return [s.number for s in open_syncable_directory("model", self.here, job=job, store=self.store).history()]


def there(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() for p in sorted(root.rglob("*")) if p.is_file()}


def moves(plan: SyncPlan) -> tuple[list[str], list[str]]:
    down = [f"{move.action.value} {move.path}" for move in plan.down]
    return down, [f"{move.action.value} {move.path}" for move in plan.up]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_store(tmp_path / "store", state_path=tmp_path / "state") as store:
        yield World(store, tmp_path)


def both_sides_move(world: World) -> None:
    """The source changes b.bin, brings new.bin, drops a.txt; here c.txt is new."""
    (world.there / "a.txt").unlink()
    world.write(world.there, {"b.bin": "22", "new/new.bin": "333"})
    world.upload("42", world.there)
    world.write(world.here, {"c.txt": "mine"})


# -- what is planned ---------------------------------------------------------------------------------


def test_a_plan_says_what_would_move_in_both_directions(world: World) -> None:
    both_sides_move(world)
    plan = world.plan()
    assert moves(plan)[0] == ["write b.bin", "write new/new.bin", "remove a.txt"]
    assert moves(plan)[1] == ["add b.bin", "add c.txt", "add new/new.bin"]
    assert [move.size_bytes for move in plan.down] == [2, 3, 0]
    assert plan.source.snapshot is not None
    assert (plan.source.snapshot.number, plan.target.snapshot) == (2, None)
    assert there(world.here) == {"a.txt": "1", "b.bin": "1", "c.txt": "mine"}
    assert world.numbers("43") == []


def test_applying_does_what_the_plan_says(world: World) -> None:
    both_sides_move(world)
    world.apply(world.plan())
    assert there(world.here) == {"b.bin": "22", "c.txt": "mine", "new/new.bin": "333"}
    assert world.numbers("43") == [1]
    again = world.plan()
    assert again.up == ()
    assert [move for move in moves(again)[0] if not move.startswith("keep")] == []


def test_a_plan_up_is_against_the_newest_snapshot_of_the_target(world: World) -> None:
    world.upload("43", world.here)
    world.write(world.here, {"a.txt": "2", "c.txt": "3"})
    (world.here / "b.bin").unlink()
    plan = world.plan(direction=Direction.UP)
    assert moves(plan) == ([], ["modify a.txt", "remove b.bin", "add c.txt"])
    world.apply(plan)
    assert world.numbers("43") == [2, 1]


def test_a_plan_down_uploads_nothing(world: World) -> None:
    both_sides_move(world)
    plan = world.plan(direction=Direction.DOWN)
    assert plan.up == ()
    world.apply(plan)
    assert there(world.here) == {"b.bin": "22", "c.txt": "mine", "new/new.bin": "333"}
    assert world.numbers("43") == []


def test_a_plan_for_a_directory_that_is_not_there_brings_all(world: World) -> None:
    plan = world.plan(directory=str(world.root / "fresh"), target_job_id="42")
    assert moves(plan) == (["write a.txt", "write b.bin"], [])
    world.apply(plan)
    assert there(world.root / "fresh") == {"a.txt": "1", "b.bin": "1"}


def test_a_plan_can_name_an_older_snapshot(world: World) -> None:
    both_sides_move(world)
    plan = world.plan(snapshot=1, direction=Direction.DOWN, directory=str(world.root / "old"))
    world.upload("42", world.here)  # a newer one does not matter
    world.apply(plan)
    assert there(world.root / "old") == {"a.txt": "1", "b.bin": "1"}


def test_patterns_hold_in_both_directions(world: World) -> None:
    world.upload("43", world.here)
    both_sides_move(world)
    world.write(world.here, {"c.bin": "mine"})
    plan = world.plan(options=SyncOptions(include=("*.bin",)))
    assert moves(plan) == (["write b.bin", "write new/new.bin"], ["modify b.bin", "add c.bin", "add new/new.bin"])
    world.apply(plan)
    assert there(world.here)["a.txt"] == "1"
    newest = open_syncable_directory("model", world.root / "seen", job="43", store=world.store)
    newest.download()
    assert there(world.root / "seen") == {"a.txt": "1", "b.bin": "22", "c.bin": "mine", "new/new.bin": "333"}


def test_delete_removes_what_was_in_no_snapshot(world: World) -> None:
    both_sides_move(world)
    plan = world.plan(options=SyncOptions(delete=True), direction=Direction.DOWN)
    assert moves(plan)[0] == ["write b.bin", "write new/new.bin", "remove a.txt", "remove c.txt"]
    world.apply(plan)
    assert there(world.here) == {"b.bin": "22", "new/new.bin": "333"}


def test_conflicts_are_in_the_plan_and_applying_it_writes_nothing(world: World) -> None:
    both_sides_move(world)
    world.write(world.here, {"b.bin": "mine"})
    plan = world.plan()
    assert "conflict b.bin" in moves(plan)[0]
    with pytest.raises(DownloadConflict):
        world.apply(plan)
    assert there(world.here) == {"a.txt": "1", "b.bin": "mine", "c.txt": "mine"}
    assert world.numbers("43") == []


def test_what_lands_beside_is_in_the_plan_of_both_directions(world: World) -> None:
    both_sides_move(world)
    world.write(world.here, {"b.bin": "mine"})
    plan = world.plan(options=SyncOptions(strategy=ConflictStrategy.NEW))
    conflict = next(move for move in plan.down if move.action.value == "conflict")
    assert conflict.beside.startswith("b.incoming-")
    assert f"add {conflict.beside}" in moves(plan)[1]
    world.apply(plan)
    assert there(world.here)[conflict.beside] == "22"


def test_an_unknown_source_is_an_error_and_no_empty_plan(world: World) -> None:
    with pytest.raises(NameNotFound, match="no job '4'"):
        world.plan(source_job_id="4")
    with pytest.raises(NameNotFound):
        world.plan(snapshot=7)


def test_a_job_without_snapshots_can_be_planned_up_for_the_first_time(world: World) -> None:
    plan = world.plan(source_job_id="new", target_job_id="new")
    assert moves(plan) == ([], ["add a.txt", "add b.bin"])
    world.apply(plan)
    assert world.numbers("new") == [1]


# -- refused -----------------------------------------------------------------------------------------


def edit(world: World) -> None:
    world.write(world.here, {"b.bin": "edited"})


def remove(world: World) -> None:
    (world.here / "a.txt").unlink()


def add(world: World) -> None:
    world.write(world.here, {"deep/x": "new"})


def make_executable(world: World) -> None:
    (world.here / "b.bin").chmod(0o755)


@pytest.mark.parametrize(
    ("change", "path"), [(edit, b"b.bin"), (remove, b"a.txt"), (add, b"deep/x"), (make_executable, b"b.bin")]
)
def test_a_directory_that_moved_is_refused_and_the_path_is_named(
    world: World, change: Callable[[World], None], path: bytes
) -> None:
    both_sides_move(world)
    plan = world.plan()
    change(world)
    error = world.outdated(plan)
    assert (error.side, error.paths) == ("directory", (path,))
    assert "Nothing was written" in str(error)


def test_a_directory_that_was_only_touched_is_not_refused(world: World) -> None:
    both_sides_move(world)
    plan = world.plan()
    (world.here / "b.bin").write_text("1")
    world.apply(plan)


def test_a_source_that_moved_is_refused(world: World) -> None:
    plan = world.plan()
    both_sides_move(world)
    (world.here / "c.txt").unlink()
    error = world.outdated(plan)
    assert error.side == "source"
    assert "model@1" in error.what
    assert "model@2" in error.what


def test_a_target_that_moved_is_refused(world: World) -> None:
    plan = world.plan()
    world.upload("43", world.there)
    assert world.outdated(plan).side == "target"


def test_a_target_that_moved_does_not_matter_to_a_plan_down(world: World) -> None:
    plan = world.plan(direction=Direction.DOWN)
    world.upload("43", world.there)
    world.apply(plan)


def test_a_plan_for_another_store_is_refused(world: World, tmp_path: Path) -> None:
    plan = world.plan()
    with open_store(tmp_path / "other", state_path=tmp_path / "state") as other:
        other.init()
        with pytest.raises(PlanOutdated) as caught:
            apply_sync(other, plan)
    assert caught.value.side == "store"


def test_what_a_plan_says_would_move_is_never_obeyed(world: World) -> None:
    """A plan whose list was edited is refused; the list is only ever compared."""
    both_sides_move(world)
    document = json.loads(serialize_plan(world.plan()))
    document["down"] = [{"action": "remove", "path": "c.txt"}]
    edited = parse_plan(json.dumps(document).encode(), where="p")
    assert world.outdated(edited).side == "plan"


def test_an_applied_plan_is_refused_the_second_time(world: World) -> None:
    both_sides_move(world)
    plan = world.plan()
    world.apply(plan)
    world.outdated(plan)


def test_a_snapshot_of_the_target_that_comes_during_the_download_keeps_the_upload_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_sides_move(world)
    plan, download = world.plan(), SyncableDirectory.download

    def slow(self: SyncableDirectory, **given: Any) -> SnapshotDownload:
        done = download(self, **given)
        if not given["options"].dry_run:
            world.upload("43", world.there)
        return done

    monkeypatch.setattr(SyncableDirectory, "download", slow)
    with pytest.raises(PlanOutdated) as caught:
        world.apply(plan)
    assert caught.value.side == "target"
    assert "nothing was uploaded" in caught.value.data_safe
    assert len(world.numbers("43")) == 1


def test_a_snapshot_of_the_target_that_comes_during_the_upload_is_noted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_sides_move(world)
    plan, upload = world.plan(), SyncableDirectory.upload

    def slow(self: SyncableDirectory, **given: Any) -> Any:
        monkeypatch.undo()
        world.upload("43", world.there)
        return upload(self, **given)

    monkeypatch.setattr(SyncableDirectory, "upload", slow)
    done = apply_sync(world.store, plan).upload
    assert done is not None
    assert "model@1 came in meanwhile" in str(done.notices[-1])


# -- the document --------------------------------------------------------------------------------------


def test_a_plan_comes_back_from_its_document(world: World) -> None:
    both_sides_move(world)
    world.write(world.here, {"sp ace/ü%.txt": "1", "new\nline": "2"})
    plan = world.plan(options=SyncOptions(strategy=ConflictStrategy.NEW, include=("*",), confirm_delete=True))
    assert parse_plan(serialize_plan(plan), where="p") == plan
    assert "new%0Aline" in [move.path for move in plan.up]


def sound(world: World) -> dict[str, Any]:
    both_sides_move(world)
    loaded: dict[str, Any] = json.loads(serialize_plan(world.plan()))
    return loaded


def at(*path: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


HOSTILE: dict[str, Callable[[dict[str, Any]], None]] = {
    "path that climbs": at("down", 0, "path", value="../x"),
    "absolute path": at("up", 0, "path", value="/etc/passwd"),
    "empty path": at("up", 0, "path", value=""),
    "path that climbs, encoded": at("up", 0, "path", value="%2E%2E/x"),
    "path with a zero byte": at("up", 0, "path", value="a%00"),
    "path beside that climbs": at("down", 0, "beside", value="../x"),
    "relative directory": at("directory", value="here"),
    "directory that climbs": at("directory", value="/tmp/../etc"),
    "directory with a zero byte": at("directory", value="/tmp/%00"),
    "directory with a line end": at("directory", value="/tmp/a\nb"),
    "unknown field": at("run", value="rm -rf /"),
    "unknown field below": at("options", "hook", value="x"),
    "unknown action": at("down", 0, "action", value="execute"),
    "unknown strategy": at("options", "strategy", value="all"),
    "number as text": at("source", "snapshot", "number", value="1"),
    "number below one": at("source", "snapshot", "number", value=0),
    "another number than asked for": at("source", "asked", value=7),
    "digest too short": at("local", "digest", value="ab"),
    "digest in capitals": at("source", "snapshot", "content", value="A" * 64),
    "part that is no path": at("local", "parts", 0, "path", value="%zz"),
    "size below zero": at("down", 0, "size_bytes", value=-1),
    "empty key": at("key", value=""),
    "job with a control character": at("target", "job_id", value="a\x00b"),
    "no such schema": at("schema", value="artifactstore/pull/1"),
    "no source": at("source", value=None),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_plan_is_refused(world: World, change: Callable[[dict[str, Any]], None]) -> None:
    document = sound(world)
    parse_plan(json.dumps(document).encode(), where="p")
    change(document)
    with pytest.raises(SyncPlanError, match="Nothing was written") as caught:
        parse_plan(json.dumps(document).encode(), where="plan.json")
    assert caught.value.where == "plan.json"


@pytest.mark.parametrize(
    "document", [b"", b"{", b"[]", b"null", b"\xff", b'{"schema": 1}', b"[" * 100_000], ids=lambda d: repr(d[:10])
)
def test_what_is_no_plan_is_refused(document: bytes) -> None:
    with pytest.raises(SyncPlanError):
        parse_plan(document, where="p")


def test_a_newer_plan_is_told_apart_from_a_broken_one() -> None:
    with pytest.raises(UnsupportedFormat, match="sync-plan/2"):
        parse_plan(b'{"schema": "artifactstore/sync-plan/2"}', where="p")


@given(path=st.binary(max_size=40))
def test_every_path_has_one_text(path: bytes) -> None:
    text = path_text(path)
    assert parse_path(text) == path
    assert text.isprintable()
    json.dumps(text).encode("ascii")


@given(text=st.text(max_size=20))
def test_any_text_is_a_path_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert path_text(parse_path(text)) == text


def entries(*paths: str) -> list[Entry]:
    return [Entry(path.encode(), EntryKind.FILE, 1, False, bytes(32), bytes(16)) for path in paths]


@pytest.mark.parametrize(
    ("paths", "level"),
    [
        ([f"f{i:05}" for i in range(MAX_PARTS)], Level.PATHS),
        ([f"d{i % 10}/f{i:05}" for i in range(MAX_PARTS + 1)], Level.DIRECTORIES),
        ([f"top{i % 3}/d{i}/f" for i in range(MAX_PARTS + 1)], Level.TOP),
        ([f"d{i}/f" for i in range(MAX_PARTS + 1)], Level.WHOLE),
    ],
)
def test_what_a_plan_keeps_of_a_directory_is_small(paths: list[str], level: Level) -> None:
    seen = see_directory(entries(*paths))
    assert (seen.level, seen.files) == (level, len(paths))
    assert len(seen.parts) <= MAX_PARTS


def test_in_a_huge_directory_the_part_that_moved_is_named(world: World) -> None:
    before = entries(*(f"d{i % 10}/f{i:05}" for i in range(2000)))
    after = [msgspec.structs.replace(e, size=2) if e.path == b"d3/f00013" else e for e in before]
    plan = msgspec.structs.replace(world.plan(), local=see_directory(before))
    now = msgspec.structs.replace(plan, local=see_directory(after, level=plan.local.level))
    with pytest.raises(PlanOutdated) as caught:
        check_still_holds(plan, now)
    assert caught.value.paths == (b"d3",)


def test_a_job_that_no_program_began_is_listed_once_it_has_something(world: World) -> None:
    found = find_job(world.store, "42")
    assert (found.status, found.processes) == (JobStatus.COMPLETED, 1)
    assert [info.id for info in list_jobs(world.store)] == ["42"]
    world.write(world.there, {"a.txt": "2"})
    world.upload("42", world.there)
    assert find_job(world.store, "42") == found


def test_a_job_of_which_no_process_was_ever_recorded_is_shown_and_removed(world: World) -> None:
    keys = [info.key for info in world.store.catalog.backend.list(JobKeys("42").processes)]
    for key in keys:
        world.store.writable_catalog().backend.delete(key)
    shown = job_manifest(world.store, "42")
    assert (shown.job.status, shown.job.processes, shown.directories[0].key) == (JobStatus.COMPLETED, 0, "model")
    assert len(remove_job(world.store, "42").versions) == 1
    with pytest.raises(JobNotFound, match="was removed"):
        job_manifest(world.store, "42")
    with pytest.raises(JobNotFound, match="was removed"):
        remove_job(world.store, "42")
