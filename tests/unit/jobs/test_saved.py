"""Saved files: what is kept under which name, and how it comes back."""

import logging
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore import (
    DownloadConflict,
    InvalidName,
    JobNotFound,
    NameNotFound,
    SourceError,
    SourceFileNotFound,
    SourceIsDirectory,
    SourceNotFound,
    Store,
    create_syncable_directory,
    job,
    job_manifest,
    list_saved,
    load_saved,
    open_saved,
    open_store,
    save_artifact,
)
from artifactstore.names import Reference, Slot, job_name
from artifactstore.testing.stores import quick_folder


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "curve.png").write_bytes(b"one")
    (tmp_path / "b" / "curve.png").write_bytes(b"two")
    return tmp_path


@pytest.fixture
def store(work: Path) -> Iterator[Store]:
    with quick_folder() as folder, open_store(folder / "store") as opened:
        opened.init()
        yield opened


def read(key: str, job_id: str, store: Store, number: int | None = None) -> bytes:
    with open_saved(key, job_id, number=number, store=store) as file:
        return file.read()


class TestSaving:
    def test_a_file_is_kept_under_its_own_name_unless_it_is_given_another(self, store: Store) -> None:
        assert save_artifact("a/curve.png", job="7", store=store).name == "curve.png"
        assert save_artifact("b/curve.png", "Loss Curve", job="7", store=store).name == "Loss Curve"
        assert [str(saved) for saved in list_saved("7", store=store)] == ["Loss Curve@1", "curve.png@1"]

    def test_files_that_are_called_the_same_never_collide(self, store: Store) -> None:
        save_artifact("a/curve.png", "first", job="7", store=store)
        save_artifact("b/curve.png", "second", job="7", store=store)
        assert (read("first", "7", store), read("second", "7", store)) == (b"one", b"two")

    def test_two_keys_on_one_file_that_are_both_saved_again_stay_apart(self, work: Path, store: Store) -> None:
        for key in ("x", "y"):
            save_artifact("a/curve.png", key, job="7", store=store)
        (work / "a" / "curve.png").write_bytes(b"new")
        for key in ("x", "y"):
            assert save_artifact("a/curve.png", key, job="7", store=store).number == 2
        assert {read(key, "7", store) for key in ("x", "y")} == {b"new"}

    def test_a_key_that_is_there_gets_another_version_and_a_warning_says_so(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        save_artifact("a/curve.png", "k", job="7", store=store)
        assert caplog.records == []
        assert save_artifact("b/curve.png", "k", job="7", store=store).number == 2
        (record,) = caplog.records
        assert record.levelno == logging.WARNING and "'k'" in record.message and "version 2" in record.message
        assert (read("k", "7", store), read("k", "7", store, number=1)) == (b"two", b"one")

    def test_the_same_content_again_is_no_version_and_no_warning(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        save_artifact("a/curve.png", "k", job="7", store=store)
        again = save_artifact("a/curve.png", "k", job="7", store=store)
        assert (again.number, again.action, caplog.records) == (1, "unchanged", [])

    def test_it_goes_to_the_current_job_and_is_in_its_manifest(self, store: Store) -> None:
        with job("train 7/3", store=store):
            save_artifact("a/curve.png", "k")
            assert [saved.job_id for saved in list_saved()] == ["train 7/3"]
        (saved,) = job_manifest(store, "train 7/3").saved
        assert (saved.key, len(saved.versions), saved.versions[0].made_by) == ("k", 1, "train 7/3")

    def test_links_are_followed_and_the_executable_bit_is_kept(self, work: Path, store: Store) -> None:
        (work / "a" / "curve.png").chmod(0o755)
        (work / "link").symlink_to("a/curve.png")
        save_artifact("link", job="7", store=store)
        loaded = load_saved("link", "7", directory="out", store=store)
        assert Path(loaded).read_bytes() == b"one" and not os.path.islink(loaded.path)
        assert os.access(loaded.path, os.X_OK)

    def test_names_that_are_no_text_need_a_key_only_where_they_have_control_characters(
        self, work: Path, store: Store
    ) -> None:
        (work / "new\nline").write_bytes(b"n")
        with pytest.raises(InvalidName, match="control characters"):
            save_artifact("new\nline", job="7", store=store)
        save_artifact("new\nline", "k", job="7", store=store)
        assert Path(load_saved("k", "7", directory="out", store=store)).name == "new\nline"

    def test_bytes_that_are_not_utf_8_come_back_in_the_name(self, work: Path, store: Store) -> None:
        name = os.fsdecode(b"odd\xff.png")
        (work / name).write_bytes(b"o")
        save_artifact(name, "k", job="7", store=store)
        assert [saved.file_name for saved in list_saved("7", store=store)] == [""]
        assert Path(load_saved("k", "7", directory="out", store=store)).name == name


class TestMistakes:
    def test_a_file_that_is_not_there_is_a_file_not_found_error(self, store: Store) -> None:
        with pytest.raises(FileNotFoundError) as raised:
            save_artifact("a/nothing.png", "k", job="7", store=store)
        assert isinstance(raised.value, SourceFileNotFound | SourceNotFound) and "a/nothing.png" in str(raised.value)
        again = pickle.loads(pickle.dumps(raised.value))
        assert (type(again), str(again)) == (SourceFileNotFound, str(raised.value))

    def test_a_directory_is_an_error(self, store: Store) -> None:
        with pytest.raises(IsADirectoryError) as raised:
            save_artifact("a", job="7", store=store)
        assert isinstance(raised.value, SourceIsDirectory) and isinstance(raised.value, SourceError)

    def test_something_else_is_an_error(self, work: Path, store: Store) -> None:
        os.mkfifo(work / "pipe")
        with pytest.raises(SourceError, match="no regular file"):
            save_artifact("pipe", job="7", store=store)

    @pytest.mark.parametrize("key", ["", "a\nb", "x" * 201], ids=["empty", "control character", "long"])
    def test_a_key_that_cannot_be_stored_is_refused(self, store: Store, key: str) -> None:
        with pytest.raises(InvalidName):
            save_artifact("a/curve.png", key, job="7", store=store)

    def test_nothing_is_recorded_of_what_failed(self, store: Store) -> None:
        for path, key in (("nothing", "k"), ("a", "k"), ("a/curve.png", "")):
            with pytest.raises((SourceError, InvalidName)):
                save_artifact(path, key, store=store)
        with pytest.raises(TypeError):
            save_artifact("a/curve.png", 7, store=store)  # type: ignore[arg-type]
        assert list(store.catalog.backend.list("jobs/")) + list(store.catalog.backend.list("names/")) == []

    def test_an_unknown_key_names_those_that_are_close(self, store: Store) -> None:
        save_artifact("a/curve.png", "Loss_Curve", job="7", store=store)
        with pytest.raises(NameNotFound, match=r"saved nothing under the key 'Loss_Curv'.*'Loss_Curve'"):
            load_saved("Loss_Curv", "7", store=store)
        with pytest.raises(NameNotFound, match="version 2 of it is not there"):
            load_saved("Loss_Curve", "7", number=2, store=store)
        with pytest.raises(InvalidName, match="count from 1"):
            load_saved("Loss_Curve", "7", number=0, store=store)

    def test_an_unknown_job_names_those_that_are_close(self, store: Store) -> None:
        with job("train-7", store=store):
            assert list_saved() == []
            with pytest.raises(NameNotFound, match="no saved files"):
                load_saved("k")
        for call in (lambda: list_saved("train-8", store=store), lambda: load_saved("k", "train-8", store=store)):
            with pytest.raises(JobNotFound, match="train-7"):
                call()
        assert list_saved("train-7", store=store) == []


class TestLoading:
    def test_it_lands_under_the_name_it_was_saved_from(self, work: Path, store: Store) -> None:
        save_artifact("a/curve.png", "k", job="7", store=store)
        (work / "deep").mkdir()
        done = load_saved("k", "7", directory="deep/er", store=store)
        assert done.path == str(work / "deep" / "er" / "curve.png") and Path(done).read_bytes() == b"one"
        assert load_saved("k", "7", store=store).path == str(work / "curve.png")

    def test_another_file_that_is_there_is_kept_unless_told_otherwise(self, work: Path, store: Store) -> None:
        save_artifact("a/curve.png", "k", job="7", store=store)
        with pytest.raises(DownloadConflict):
            load_saved("k", "7", directory="b", store=store)
        assert (work / "b" / "curve.png").read_bytes() == b"two"
        beside = load_saved("k", "7", directory="b", strategy="new", store=store)
        assert Path(beside).read_bytes() == b"one" and (work / "b" / "curve.png").read_bytes() == b"two"
        load_saved("k", "7", directory="b", strategy="replace", store=store)
        assert (work / "b" / "curve.png").read_bytes() == b"one"

    def test_a_newer_version_takes_the_place_of_what_was_loaded_and_not_edited(self, work: Path, store: Store) -> None:
        save_artifact("a/curve.png", "k", job="7", store=store)
        load_saved("k", "7", directory="out", store=store)
        save_artifact("b/curve.png", "k", job="7", store=store)
        assert Path(load_saved("k", "7", directory="out", store=store)).read_bytes() == b"two"
        assert load_saved("k", "7", directory="old", number=1, store=store).number == 1
        assert (work / "old" / "curve.png").read_bytes() == b"one"

    def test_it_may_land_in_a_synced_directory(self, work: Path, store: Store) -> None:
        save_artifact("a/curve.png", "k", job="7", store=store)
        (work / "b" / "weights").write_bytes(b"1")
        source = create_syncable_directory("d", "b", job="7", store=store)
        source.upload()
        directory = create_syncable_directory("d", "out", "7", job="8", store=store)
        load_saved("k", "7", directory="out", strategy="skip", store=store)
        (work / "b" / "weights").write_bytes(b"2")
        source.upload()
        directory.download()
        assert (work / "out" / "weights").read_bytes() == b"2"

    def test_it_is_read_from_the_store_of_the_job_that_is_open(self, store: Store) -> None:
        save_artifact("a/curve.png", "k", job="7", store=store)
        with job("8", store=store), open_saved("k", "7") as file:
            assert file.read() == b"one"

    def test_a_version_that_was_removed_is_not_the_newest_any_more(self, store: Store) -> None:
        save_artifact("a/curve.png", "k", job="7", store=store)
        save_artifact("b/curve.png", "k", job="7", store=store)
        store.remove(Reference(name=job_name("7", "saved", "k"), version=Slot(2)))
        assert [str(saved) for saved in list_saved("7", store=store)] == ["k@1"]
        assert read("k", "7", store) == b"one"
