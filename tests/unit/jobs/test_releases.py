"""Models and data sets: semantic versions that are taken once, and what is brought back of them."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import artifactstore
from artifactstore.backend.wrappers.fault import Crash, Crashed, Fault
from artifactstore.errors import (
    DownloadConflict,
    InvalidName,
    NameNotFound,
    PathExists,
    SourceNotFound,
    VersionDeleted,
    VersionExists,
)
from artifactstore.jobs.project import project
from artifactstore.jobs.releases import ReleaseKind, Releases
from artifactstore.jobs.semantic_versions import SemanticVersion, parse_semantic_version
from artifactstore.store import Store
from artifactstore.testing.stores import Directory, File, Link, StoreWorld, edit_tree, make_tree, tree_at

TREE = {b"w.bin": b"weights", b"bin/run": File(b"#!", executable=True), b"e": Directory(), b"l": Link(b"w.bin")}


@pytest.fixture
def world(tmp_path: Path) -> StoreWorld:
    make_tree(tmp_path / "model", TREE)
    return StoreWorld(tmp_path)


@pytest.fixture
def store(world: StoreWorld) -> Iterator[Store]:
    with world.store() as store:
        yield store


@pytest.fixture
def models(store: Store) -> Releases:
    return project("vision", store).models


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "model"


class TestSemanticVersions:
    @pytest.mark.parametrize("text", ["0.0.0", "1.0.0", "10.20.30", "999999999.0.1"])
    def test_there_is_one_spelling(self, text: str) -> None:
        assert str(parse_semantic_version(text)) == text

    @pytest.mark.parametrize(
        "text",
        [
            *("", "1", "1.0", "1.0.0.0", "v1.0.0", "01.0.0", "1.0.00", "1.0.0rc1", "1.0.0-1", " 1.0.0", "1.0.0\n"),
            *("1.-1.0", "1.+1.0", "١.٠.٠", "1.0.9999999999", "1..0", "latest"),
        ],
    )
    def test_everything_else_is_refused(self, models: Releases, source: Path, text: str) -> None:
        with pytest.raises(ValueError, match=r"major\.minor\.micro"):
            parse_semantic_version(text)
        for call in (lambda: models.add(source, "net", text), lambda: models.show("net", text)):
            with pytest.raises(InvalidName):
                call()

    def test_they_are_ordered_by_numbers(self) -> None:
        texts = ["1.10.0", "1.9.9", "2.0.0", "1.9.10", "0.99.0"]
        ordered = sorted(map(parse_semantic_version, texts))
        assert list(map(str, ordered)) == ["0.99.0", "1.9.9", "1.9.10", "1.10.0", "2.0.0"]

    def test_the_next_minor_begins_anew(self) -> None:
        assert SemanticVersion(1, 3, 3).next_minor() == SemanticVersion(1, 4, 0)


class TestAdding:
    def test_without_a_version_it_is_the_first_then_the_next_minor_of_the_highest(
        self, models: Releases, source: Path
    ) -> None:
        assert models.add(source, "net").version == "1.0.0"
        models.add(source, "net", "1.3.3")
        models.add(source, "net", "1.2.9")
        done = models.add(source, "net")
        assert (done.version, done.reference) == ("1.4.0", "vision/models/net/1.4.0:v1")
        assert models.add(source, "other").version == "1.0.0"

    def test_what_is_noted_on_it_can_be_read(self, models: Releases, source: Path, tmp_path: Path) -> None:
        (tmp_path / "about.md").write_text("# net\n")
        models.add(
            source,
            "net",
            "1.0.0",
            short_description="A VGG11 trained on ImageNet.",
            readme=tmp_path / "about.md",
            metadata={"acc": 0.9},
            labels=["vgg"],
        )
        release = models.show("net")
        assert (release.name, release.version) == ("net", "1.0.0")
        assert (release.short_description, release.metadata) == ("A VGG11 trained on ImageNet.", {"acc": 0.9})
        assert (release.labels, release.files) == (("vgg",), 3)
        assert Path(models.download("net", save_path=tmp_path).path, "README.md").read_text() == "# net\n"

    def test_one_file_is_a_release_too(self, models: Releases, source: Path, tmp_path: Path) -> None:
        models.add(source / "w.bin", "net")
        assert tree_at(models.download("net", save_path=tmp_path).path) == {b"w.bin": File(b"weights")}

    def test_a_taken_version_is_never_replaced_not_even_by_the_same(
        self, world: StoreWorld, models: Releases, source: Path
    ) -> None:
        models.add(source, "net", "1.0.0")
        before = world.stored("vision/models/net/1.0.0")
        with pytest.raises(VersionExists, match=r"model 'net' 1\.0\.0 is taken"):
            models.add(source, "net", "1.0.0")
        edit_tree(source, {b"w.bin": b"others"})
        with pytest.raises(VersionExists):
            models.add(source, "net", "1.0.0")
        assert world.stored("vision/models/net/1.0.0") == before
        assert world.live("vision/models/net/1.0.0") == ["vision/models/net/1.0.0:v1"]

    def test_a_deleted_version_stays_taken(self, store: Store, models: Releases, source: Path) -> None:
        models.add(source, "net", "1.0.0")
        models.add(source, "net", "1.1.0")
        store.remove(models.show("net", "1.1.0").reference)
        with pytest.raises(VersionExists):
            models.add(source, "net", "1.1.0")
        with pytest.raises(VersionDeleted, match=r"1\.1\.0 is deleted"):
            models.show("net", "1.1.0")
        assert models.show("net").version == "1.0.0"
        assert models.add(source, "net").version == "1.2.0"

    @pytest.mark.parametrize("key", ["packs/*", "tx/*/root", "names/vision/*/v/*", "tx/*/outcome"])
    def test_an_upload_that_was_cut_off_takes_no_version(self, world: StoreWorld, source: Path, key: str) -> None:
        backend = world.faulty(Fault(verb="put*", key=key, action=Crash()))
        with world.store(through=backend, user="cut off") as store, pytest.raises(Crashed):
            project("vision", store).models.add(source, "net")
        with world.store() as store:
            models = project("vision", store).models
            assert models.list() == ()
            assert models.add(source, "net").version == "1.0.0"
            assert world.stored(models.show("net").reference) == tree_at(source)

    def test_many_writers_with_one_version_leave_one(self, world: StoreWorld, tmp_path: Path) -> None:
        won, lost = self._race(world, tmp_path, version="1.0.0")
        assert (len(won), lost) == (1, 7)
        assert world.stored("vision/models/net/1.0.0") == {b"w": File(b"%d" % won[0][0])}

    def test_many_writers_without_a_version_get_one_each(self, world: StoreWorld, tmp_path: Path) -> None:
        won, lost = self._race(world, tmp_path, version=None)
        assert lost == 0
        assert sorted(version for _, version in won) == [f"1.{minor}.0" for minor in range(8)]
        for number, version in won:
            assert world.stored(f"vision/models/net/{version}") == {b"w": File(b"%d" % number)}

    @staticmethod
    def _race(world: StoreWorld, tmp_path: Path, *, version: str | None) -> tuple[list[tuple[int, str]], int]:
        won: list[tuple[int, str]] = []
        lost: list[VersionExists] = []
        start = threading.Barrier(8)

        def add(number: int) -> None:
            make_tree(tmp_path / f"net-{number}", {b"w": b"%d" % number})
            with world.store(user=f"user-{number}") as store:
                start.wait()
                try:
                    done = project("vision", store).models.add(tmp_path / f"net-{number}", "net", version)
                    won.append((number, done.version))
                except VersionExists as error:
                    lost.append(error)

        threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return won, len(lost)

    def test_only_what_changed_since_the_version_before_is_sent(self, models: Releases, tmp_path: Path) -> None:
        content = os.urandom(2 << 20)
        make_tree(tmp_path / "net", {b"w.bin": content, b"config": b"1"})
        models.add(tmp_path / "net", "net")
        make_tree(tmp_path / "elsewhere", {b"w.bin": content[: 1 << 20] + b"!" + content[1 << 20 :], b"config": b"2"})
        assert models.add(tmp_path / "elsewhere", "net").sent_bytes < 600_000

    def test_bad_input_writes_nothing(self, world: StoreWorld, models: Releases, source: Path, tmp_path: Path) -> None:
        before = set(world.memory.keys())
        for name in ("", "a/b", "a b", "../net", "net:v1", ".net"):
            with pytest.raises(InvalidName):
                models.add(source, name)
        with pytest.raises(InvalidName):
            models.add(source, "net", labels=["no label"])
        with pytest.raises(SourceNotFound):
            models.add(tmp_path / "missing", "net")
        with pytest.raises(SourceNotFound):
            models.add(source, "net", readme=tmp_path / "missing.md")
        make_tree(source, {b"README.md": b"mine"})
        with pytest.raises(PathExists):
            models.add(source, "net", readme=source / "README.md")
        assert set(world.memory.keys()) == before


class TestLooking:
    def test_models_and_data_sets_are_apart(self, store: Store, source: Path) -> None:
        found = project("vision", store)
        found.models.add(source, "net")
        found.datasets.add(source, "imagenet", "2.0.0")
        assert (found.models.list(), found.datasets.list()) == (("net",), ("imagenet",))
        assert found.datasets.show("imagenet").reference == "vision/datasets/imagenet/2.0.0:v1"
        assert Releases(store, "vision", ReleaseKind("datasets")).list() == ("imagenet",)

    def test_versions_come_the_highest_first_and_other_names_beside_them_do_not_matter(
        self, store: Store, models: Releases, source: Path
    ) -> None:
        for version in ("1.9.0", "1.10.0", "0.1.0"):
            models.add(source, "net", version)
        store.push(source, "vision/models/net/notes")
        store.push(source, "vision/models/loose")
        assert [release.version for release in models.versions("net")] == ["1.10.0", "1.9.0", "0.1.0"]
        assert models.list() == ("net",)
        assert models.show("net").version == "1.10.0"

    def test_a_name_without_live_versions_is_not_listed(self, store: Store, models: Releases, source: Path) -> None:
        models.add(source, "net")
        store.remove(models.show("net").reference)
        assert models.list() == ()
        with pytest.raises(NameNotFound):
            models.versions("net")

    def test_what_is_not_there_is_an_error_that_says_what_is(self, models: Releases, source: Path) -> None:
        with pytest.raises(NameNotFound, match="no models of this project yet"):
            models.show("net")
        models.add(source, "resnet", "1.0.0")
        for call, says in (
            (lambda: models.show("restnet"), "Did you mean the model 'resnet'"),
            (lambda: models.download("xyz"), "'resnet'"),
            (lambda: models.versions("restnet"), "Did you mean"),
            (lambda: models.download("resnet", "1.0.1"), r"'1\.0\.0'"),
        ):
            with pytest.raises(NameNotFound, match=says):
                call()


class TestDownloading:
    def test_a_version_comes_whole_into_a_directory_of_its_own(
        self, world: StoreWorld, models: Releases, source: Path, tmp_path: Path
    ) -> None:
        models.add(source, "net", "1.2.0")
        models.add(source / "w.bin", "net", "1.10.0")
        with world.fresh_user() as elsewhere:
            done = project("vision", elsewhere).models.download("net", "1.2.0", tmp_path / "in")
            assert done.path == str(tmp_path / "in" / "net-1.2.0")
            assert os.fspath(done) == done.path
            assert tree_at(done.path) == {**TREE, b"w.bin": File(b"weights")}
            newest = project("vision", elsewhere).models.download("net", save_path=tmp_path / "in")
        assert (newest.release.version, Path(newest.path).name) == ("1.10.0", "net-1.10.0")

    def test_the_highest_version_counts_not_the_last_one_added(
        self, models: Releases, source: Path, tmp_path: Path
    ) -> None:
        models.add(source, "net", "2.0.0")
        models.add(source, "net", "1.0.1")
        assert models.download("net", save_path=tmp_path).release.version == "2.0.0"

    def test_a_directory_that_differs_is_neither_taken_for_it_nor_overwritten(
        self, models: Releases, source: Path, tmp_path: Path
    ) -> None:
        models.add(source, "net", "1.0.0")
        make_tree(tmp_path / "net-1.0.0", {b"w.bin": b"other weights"})
        with pytest.raises(DownloadConflict):
            models.download("net", "1.0.0", tmp_path)
        assert tree_at(tmp_path / "net-1.0.0") == {b"w.bin": File(b"other weights")}
        models.download("net", "1.0.0", tmp_path, strategy="replace")
        assert (tmp_path / "net-1.0.0" / "w.bin").read_bytes() == b"weights"

    def test_again_nothing_is_fetched_and_a_local_edit_stays_and_is_said(
        self, models: Releases, source: Path, tmp_path: Path
    ) -> None:
        models.add(source, "net")
        models.download("net", save_path=tmp_path)
        again = models.download("net", save_path=tmp_path)
        assert (again.pulled.written, again.pulled.fetched_bytes) == ((), 0)
        edit_tree(again.path, {b"w.bin": b"edited"})
        assert models.download("net", save_path=tmp_path).pulled.kept == (b"w.bin",)

    def test_a_strategy_that_there_is_not_is_refused_before_anything_is_asked(self, models: Releases) -> None:
        with pytest.raises(ValueError, match="overwrite"):
            models.download("net", strategy="overwrite")

    def test_jobs_have_in_their_manifest_what_they_added_and_downloaded(
        self, store: Store, source: Path, tmp_path: Path
    ) -> None:
        with artifactstore.job("maker", store=store):
            project("vision").models.add(source, "net")
        with artifactstore.job("user", store=store):
            project("vision").models.download("net", save_path=tmp_path)
        made, used = (artifactstore.job_manifest(store, job) for job in ("maker", "user"))
        for versions in (made.made, used.used):
            assert [version.version for version in versions] == ["vision/models/net/1.0.0:v1"]
