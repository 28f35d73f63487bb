"""Local state: what it remembers, for whom, and that losing it fails nothing (faults 82, 88, 106-109)."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifactstore.chunking import DEFAULT_CUT
from artifactstore.dedup.packs import RecordedPack
from artifactstore.dedup.rows import DirectoryRows, DirectoryRowsBuilder
from artifactstore.dedup.state import STATE_VARIABLE, LocalState, Synced, default_state_folder
from artifactstore.digest import PackId
from artifactstore.manifest.model import NO_PLACES, Entry, EntryKind
from artifactstore.testing.clock import VirtualClock
from artifactstore.transfer.scan import Found

STORE = b"s" * 16
OTHER_STORE = b"o" * 16
DAY = 86_400


def pack(number: int, *, done_run: int = 3) -> RecordedPack:
    return RecordedPack(pack=PackId(bytes([number]) * 20), done_run=done_run, object_bytes=1000, table_bytes=81)


CUT = str(DEFAULT_CUT)


def found(name: bytes = b"file") -> Found:
    return Found(name, int(EntryKind.FILE), 5, 6, 7, 8, False, b"", 0)


def rows(*names: bytes) -> DirectoryRows:
    builder = DirectoryRowsBuilder(observed_at=1e9)
    for name in names:
        builder.add(found(name), digest=b"d" * 32, xxh3=b"x" * 16, places=NO_PLACES, pack_id=lambda _: b"")
    return builder.build()


def synced(directory: bytes = b"/data/model", *, name: str = "team/model", slot: int = 1) -> Synced:
    return Synced(
        store_id=STORE,
        directory=directory,
        name=name,
        slot=slot,
        tx=f"{slot:032x}",
        content_digest=b"c" * 32,
        signature=b"g" * 16,
        is_settled=True,
        url="s3://bucket/prefix",
    )


ENTRIES = (
    Entry(b"a", EntryKind.DIRECTORY),
    Entry(b"b", EntryKind.FILE, 5, True, b"d" * 32, b"x" * 16),
    Entry(b"c", EntryKind.LINK, target=b"\xff"),
)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def state(tmp_path: Path, clock: VirtualClock, warnings: list[str]) -> Iterator[LocalState]:
    with LocalState(tmp_path / "state", clock=clock, warn=warnings.append) as state:
        yield state
    assert warnings == []


def use(state: LocalState) -> bool:
    """A bit of everything; whether what was written could be read back."""
    state.record_pack(STORE, pack(1), tx="t")
    state.save_directories(STORE, {b"/d": rows(b"file")}, cut=CUT)
    state.record_synced(synced(), ENTRIES)
    state.pin_store("s3://bucket", STORE)
    state.note_seen(STORE, "name", 4)
    loaded = state.load_directory(STORE, b"/d", cut=CUT)
    last = state.last_synced(b"/data/model")
    return (
        [p.pack for p in state.pending_packs(STORE)] == [pack(1).pack]
        and loaded is not None
        and last is not None
        and state.synced_entries(last) == ENTRIES
        and state.pinned_store("s3://bucket") == STORE
        and state.highest_seen(STORE, "name") == 4
    )


# -- packs -------------------------------------------------------------------------------------------


def test_packs_of_uploads_that_did_not_commit_come_back_newest_first(state: LocalState, clock: VirtualClock) -> None:
    for number in (1, 2, 3):
        state.record_pack(STORE, pack(number), tx="t")
        clock.sleep(1)
    state.record_pack(OTHER_STORE, pack(4), tx="t")
    assert state.pending_packs(STORE) == [pack(3), pack(2), pack(1)]
    assert state.pending_packs(STORE, limit=1) == [pack(3)]


def test_packs_of_a_committed_upload_are_pending_no_longer_but_remembered(state: LocalState) -> None:
    state.record_pack(STORE, pack(1), tx="one")
    state.record_pack(STORE, pack(2), tx="two")
    state.mark_packs_committed(STORE, [pack(1).pack])
    assert state.pending_packs(STORE) == [pack(2)]
    assert state.recorded_pack(STORE, pack(1).pack) == pack(1)
    state.mark_packs_committed(STORE, [pack(2).pack])
    assert state.pending_packs(STORE) == []


def test_the_lowest_collection_run_of_a_pack_is_kept_for_good(state: LocalState) -> None:
    """Fault 138: the *d* beside a pack is that of the upload that put it."""
    state.record_pack(STORE, pack(1, done_run=5), tx="t")
    state.record_pack(STORE, pack(1, done_run=9), tx="u")
    assert state.recorded_pack(STORE, pack(1).pack) == pack(1, done_run=5)
    state.record_pack(STORE, pack(1, done_run=-1), tx="v")
    assert state.recorded_pack(STORE, pack(1).pack) == pack(1, done_run=-1)


def test_packs_that_are_gone_are_forgotten(state: LocalState) -> None:
    state.record_pack(STORE, pack(1), tx="t")
    state.forget_packs(STORE, [pack(1).pack])
    assert state.recorded_pack(STORE, pack(1).pack) is None


# -- directories -------------------------------------------------------------------------------------


def test_directories_are_remembered_by_store_and_path(state: LocalState) -> None:
    state.save_directories(STORE, {b"/a": rows(b"x"), b"/a/\xff": rows(b"y", b"z")}, cut=CUT)
    loaded = state.load_directories(STORE, [b"/a", b"/a/\xff", b"/b"], cut=CUT)
    assert {path: directory.names for path, directory in loaded.items()} == {b"/a": (b"x",), b"/a/\xff": (b"y", b"z")}
    assert state.load_directory(OTHER_STORE, b"/a", cut=CUT) is None
    assert state.load_directory(STORE, b"/a", cut="another one") is None


def test_saving_replaces_one_directory_and_leaves_those_above_and_below(state: LocalState) -> None:
    state.save_directories(STORE, {b"/a": rows(b"x"), b"/a/b": rows(b"y"), b"/a/b/c": rows(b"z")}, cut=CUT)
    state.save_directories(STORE, {b"/a/b": rows(b"new")}, cut=CUT)
    loaded = state.load_directories(STORE, [b"/a", b"/a/b", b"/a/b/c"], cut=CUT)
    assert [loaded[path].names for path in sorted(loaded)] == [(b"x",), (b"new",), (b"z",)]


def test_thousands_of_directories_are_loaded_at_once(state: LocalState) -> None:
    paths = [b"/d%d" % n for n in range(2500)]
    state.save_directories(STORE, {path: rows(b"x") for path in paths}, cut=CUT)
    assert len(state.load_directories(STORE, paths, cut=CUT)) == 2500


def test_directories_not_seen_for_three_months_are_dropped(state: LocalState, clock: VirtualClock) -> None:
    state.save_directories(STORE, {b"/old": rows(b"x"), b"/seen": rows(b"x")}, cut=CUT)
    clock.sleep(60 * DAY)
    assert state.load_directory(STORE, b"/seen", cut=CUT) is not None
    clock.sleep(31 * DAY)
    state.save_directories(STORE, {b"/new": rows(b"x")}, cut=CUT)
    assert sorted(state.load_directories(STORE, [b"/old", b"/seen", b"/new"], cut=CUT)) == [b"/new", b"/seen"]


def test_growth_is_bounded_by_dropping_what_was_not_seen_for_longest(
    state: LocalState, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifactstore.dedup.state._MAX_BYTES", 1)
    for number in range(4):
        state.save_directories(STORE, {b"/%d" % number: rows(b"x")}, cut=CUT)
        clock.sleep(3600)
    clock.sleep(DAY)
    state.save_directories(STORE, {b"/new": rows(b"x")}, cut=CUT)
    kept = state.load_directories(STORE, [b"/0", b"/1", b"/2", b"/3", b"/new"], cut=CUT)
    assert b"/new" in kept and b"/3" in kept and b"/0" not in kept


# -- synced states -----------------------------------------------------------------------------------


def test_a_synced_state_comes_back_with_its_entries(state: LocalState, clock: VirtualClock) -> None:
    state.record_synced(synced(), ENTRIES)
    back = state.synced(STORE, b"/data/model", "team/model")
    assert back is not None
    assert (back.slot, back.signature, back.is_settled, back.recorded_at) == (1, b"g" * 16, True, clock.now())
    assert state.synced_entries(back) == ENTRIES
    assert state.synced(STORE, b"/data/model", "team/other") is None
    assert state.synced(OTHER_STORE, b"/data/model", "team/model") is None


def test_the_last_synced_state_of_a_directory_is_found_whatever_its_name(
    state: LocalState, clock: VirtualClock
) -> None:
    for slot, name in enumerate(["one", "two", "one"], start=1):
        state.record_synced(synced(name=name, slot=slot), ENTRIES)
        clock.sleep(1)
    last = state.last_synced(b"/data/model")
    assert last is not None
    assert (last.name, last.slot) == ("one", 3)
    assert state.last_synced(b"/work") is None


def test_entries_of_a_state_that_was_replaced_meanwhile_are_unknown(state: LocalState, clock: VirtualClock) -> None:
    state.record_synced(synced(slot=1), ENTRIES)
    before = state.synced(STORE, b"/data/model", "team/model")
    clock.sleep(1)
    state.record_synced(synced(slot=2), ENTRIES)
    assert before is not None
    assert state.synced_entries(before) is None


# -- stores and counters -----------------------------------------------------------------------------


def test_the_store_behind_a_url_is_pinned(state: LocalState) -> None:
    """Fault 88."""
    assert state.pinned_store("s3://bucket") is None
    state.pin_store("s3://bucket", STORE)
    assert state.pinned_store("s3://bucket") == STORE
    state.pin_store("s3://bucket", OTHER_STORE)
    assert state.pinned_store("s3://bucket") == OTHER_STORE


def test_counters_only_go_up_and_say_what_was_highest(state: LocalState) -> None:
    """Fault 82."""
    assert state.note_seen(STORE, "name", 5) == 0
    assert state.note_seen(STORE, "name", 3) == 5
    assert state.highest_seen(STORE, "name") == 5
    assert state.highest_seen(STORE, "name:prod") == 0


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@host:9000/bucket?X-Amz-Signature=hunter2#f",
        "sftp://key:hunter2@host/x@y",
    ],
)
def test_no_secret_of_a_url_is_written_down(tmp_path: Path, url: str) -> None:
    """Fault 114."""
    with LocalState(tmp_path) as state:
        state.pin_store(url, STORE)
        state.record_synced(Synced(**{**_fields(synced()), "url": url}), ENTRIES)
        assert state.pinned_store(url) == STORE
    for file in tmp_path.iterdir():
        assert b"hunter2" not in file.read_bytes()


def test_one_bucket_name_at_two_endpoints_is_two_stores(state: LocalState) -> None:
    state.pin_store("s3://bucket?endpoint_url=http://one:9000", STORE)
    assert state.pinned_store("s3://bucket?endpoint_url=http://two:9000") is None
    assert state.pinned_store("s3://bucket") is None


def _fields(value: Synced) -> dict[str, object]:
    return {name: getattr(value, name) for name in Synced.__dataclass_fields__}


# -- where it lies -----------------------------------------------------------------------------------


def test_it_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    """Fault 106."""
    before = os.umask(0)
    try:
        with LocalState(tmp_path / "new") as state:
            assert use(state)
            modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "new").iterdir()}
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert modes == {0o600}


def test_the_environment_chooses_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "chosen"))
    with LocalState() as state:
        state.pin_store("s3://bucket", STORE)
    assert state.path.startswith(str(tmp_path / "chosen"))
    assert os.path.exists(state.path)
    monkeypatch.delenv(STATE_VARIABLE)
    assert default_state_folder().endswith("artifactstore")


def test_nothing_is_made_before_it_is_used(tmp_path: Path) -> None:
    with LocalState(tmp_path / "state"):
        pass
    assert not (tmp_path / "state").exists()


def test_what_was_written_is_there_after_a_kill(tmp_path: Path) -> None:
    """Fault 4: a pack is remembered as soon as it was recorded."""
    code = """
import os, sys
from artifactstore.dedup.packs import RecordedPack
from artifactstore.dedup.state import LocalState
state = LocalState(sys.argv[1])
pack = RecordedPack(pack=b"p" * 20, done_run=3, object_bytes=1, table_bytes=1)
state.record_pack(b"s" * 16, pack, tx="t")
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    with LocalState(tmp_path) as state:
        recorded = state.recorded_pack(STORE, PackId(b"p" * 20))
    assert recorded is not None
    assert recorded.done_run == 3


def test_threads_and_processes_share_it(tmp_path: Path, clock: VirtualClock) -> None:
    """Fault 107."""
    states = [LocalState(tmp_path, clock=clock) for _ in range(3)]

    def work(state: LocalState, first: int) -> None:
        for number in range(first, first + 20):
            state.record_pack(STORE, pack(number), tx="t")

    threads = [threading.Thread(target=work, args=(states[n % 3], 1 + 20 * n)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(states[0].pending_packs(STORE)) == 120
    for state in states:
        state.close()


# -- trouble -----------------------------------------------------------------------------------------


def make_garbage(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 500)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def flip_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for position in range(4096, len(data), 3):
        data[position] ^= 0xFF
    path.write_bytes(data)


def drop_columns(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript("DROP TABLE packs; CREATE TABLE packs (other, committed, store, recorded_at);")
    connection.close()


def change_types(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE packs SET done_run = 'text'")
        connection.execute("UPDATE synced SET slot = 'text'")
    connection.close()


@pytest.mark.parametrize("damage", [make_garbage, cut_short, flip_pages, drop_columns, change_types])
def test_a_damaged_file_is_set_aside_and_begun_anew_with_one_warning(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Fault 109."""
    with LocalState(tmp_path) as state:
        use(state)
    damage(Path(state.path))
    warnings: list[str] = []
    with LocalState(tmp_path, warn=warnings.append) as state:
        state.pending_packs(STORE)
        state.last_synced(b"/data/model")
        assert use(state)
    assert len(warnings) == 1
    assert "damaged" in warnings[0] and state.path in warnings[0]
    with LocalState(tmp_path, warn=warnings.append) as state:
        assert use(state)
    assert len(warnings) == 1


def test_rows_damaged_behind_the_back_of_the_database_are_a_miss(tmp_path: Path) -> None:
    """Fault 104."""
    with LocalState(tmp_path) as state:
        use(state)
    with sqlite3.connect(state.path) as connection:
        connection.execute("UPDATE directories SET rows = zeroblob(length(rows))")
        connection.execute("UPDATE synced SET entries = zeroblob(length(entries))")
    connection.close()
    with LocalState(tmp_path) as state:
        last = state.last_synced(b"/data/model")
        assert last is not None
        assert state.synced_entries(last) is None
        assert state.load_directory(STORE, b"/d", cut=CUT) is None


def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    with LocalState(tmp_path) as state:
        use(state)
    monkeypatch.setattr("artifactstore.dedup.database._BUSY_SECONDS", 0.01)
    connection = sqlite3.connect(state.path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return connection.close


def take_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A file where the folder should be: what no rights help against."""
    tmp_path.rmdir()
    tmp_path.write_text("")
    return lambda: None


def be_someone_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    with LocalState(tmp_path) as state:
        use(state)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    return lambda: None


def put_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    path = Path(LocalState(tmp_path).path)
    path.symlink_to(tmp_path / "elsewhere")
    return lambda: None


def fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """SQLite's own limit on pages fails as a full disk does."""
    connect = sqlite3.connect

    def limited(path: str, **options: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(path, **options)  # type: ignore[call-overload]
        if path != ":memory:":
            connection.execute("PRAGMA max_page_count=3")
        return connection

    monkeypatch.setattr(sqlite3, "connect", limited)
    return lambda: None


@pytest.mark.parametrize("trouble", [lock, take_the_folder, be_someone_else, put_a_link, fill_the_disk])
def test_a_file_that_cannot_be_used_is_done_without_after_one_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[[Path, pytest.MonkeyPatch], Callable[[], None]],
) -> None:
    """Faults 42, 44, 106, 108, 109."""
    folder = tmp_path / "state"
    folder.mkdir()
    undo = trouble(folder, monkeypatch)
    warnings: list[str] = []
    with LocalState(folder, warn=warnings.append) as state:
        assert use(state), "what is recorded helps this process all the same"
    assert len(warnings) == 1
    assert "going on without it" in warnings[0]
    undo()


def test_a_folder_deleted_meanwhile_is_made_again(tmp_path: Path) -> None:
    """Fault 108."""
    for _ in range(2):
        with LocalState(tmp_path / "state") as state:
            assert use(state)
        for file in (tmp_path / "state").iterdir():
            file.unlink()
        (tmp_path / "state").rmdir()


def test_shared_file_systems_are_written_without_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 109: WAL on NFS corrupts."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 2 0:3 / / rw - ext4 /dev/a rw\n9 1 0:4 / {tmp_path} rw shared:1 - nfs4 server:/ rw\n")
    monkeypatch.setattr("artifactstore.dedup.database._MOUNTS", str(mounts))
    with LocalState(tmp_path / "state") as state:
        assert use(state)
        assert os.listdir(tmp_path / "state") == ["state-1.sqlite3"]


def test_without_a_callback_the_log_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state").write_text("")
    with LocalState(tmp_path / "state") as state:
        assert use(state)
    assert len(caplog.records) == 1
