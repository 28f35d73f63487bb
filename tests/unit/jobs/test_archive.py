"""A directory as a zip: what other programs read in it, and that its bytes never change."""

import hashlib
import io
import os
import stat
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest

from artifactstore.errors import SourceChanged, SourceError
from artifactstore.jobs.archive import ArchiveMember, central_entry, end_records, local_header, write_archive
from artifactstore.testing.stores import Directory, File, Link, Tree, make_tree
from artifactstore.transfer.found import FollowLinks, ScanOptions
from artifactstore.transfer.read import OpenSource
from artifactstore.transfer.scan import scan

TREE: Tree = {
    b"a.txt": b"content",
    b"a/deep/b.bin": bytes(range(256)) * 20,
    b"bin/run": File(b"#!/bin/sh\n", executable=True),
    b"empty/dir": Directory(),
    b"link": Link(b"a.txt"),
    b"outside": Link(b"../../etc/passwd"),
    b"nothing": b"",
    "grüße 世界.txt".encode(): b"text",
}
GIB = 1 << 30
GOLDEN = "1189857aa3b588f6835dff0e0bdcdffe1ea3a0cd8c8221afc7fa841501f89fe3"


def archive_of(directory: Path, *, follow_links: FollowLinks = FollowLinks.NEVER) -> bytes:
    target = io.BytesIO()
    write_archive(scan([directory], options=ScanOptions(follow_links=follow_links)), target)
    return target.getvalue()


def read_zip(data: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(data))


class TestBytes:
    def test_one_directory_has_the_same_bytes_on_every_machine_and_at_any_time(self, tmp_path: Path) -> None:
        make_tree(tmp_path / "tree", TREE)
        first = archive_of(tmp_path / "tree")
        make_tree(tmp_path / "other place", dict(reversed(TREE.items())))
        os.chmod(tmp_path / "other place" / "a.txt", 0o600)
        os.utime(tmp_path / "other place" / "nothing", (5, 5))
        assert archive_of(tmp_path / "other place") == first
        assert hashlib.sha256(first).hexdigest() == GOLDEN

    def test_an_empty_directory_is_an_archive_of_nothing(self, tmp_path: Path) -> None:
        make_tree(tmp_path / "tree", {})
        assert read_zip(archive_of(tmp_path / "tree")).namelist() == []

    def test_contents_stand_in_it_as_they_are(self, tmp_path: Path) -> None:
        """So the store keeps what did not change once."""
        make_tree(tmp_path / "tree", {b"a": b"a" * 5000, b"b": b"b" * 5000})
        assert b"b" * 5000 in archive_of(tmp_path / "tree")


class TestReadByOthers:
    def test_python_reads_names_contents_and_modes(self, tmp_path: Path) -> None:
        make_tree(tmp_path / "tree", TREE)
        archive = read_zip(archive_of(tmp_path / "tree"))
        assert archive.testzip() is None
        assert archive.namelist() == [
            *("a/deep/b.bin", "a.txt", "bin/run", "empty/dir/", "grüße 世界.txt", "link", "nothing", "outside"),
        ]
        assert archive.read("a/deep/b.bin") == TREE[b"a/deep/b.bin"]
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
        assert modes["a.txt"] == stat.S_IFREG | 0o644
        assert modes["bin/run"] == stat.S_IFREG | 0o755
        assert modes["empty/dir/"] == stat.S_IFDIR | 0o755
        assert stat.S_ISLNK(modes["link"]) and archive.read("link") == b"a.txt"
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}

    @pytest.mark.skipif(not os.path.exists("/usr/bin/unzip"), reason="unzip is not installed here")
    def test_unzip_restores_links_and_executables(self, tmp_path: Path) -> None:
        make_tree(tmp_path / "tree", TREE)
        (tmp_path / "tree.zip").write_bytes(archive_of(tmp_path / "tree"))
        subprocess.run(["unzip", "-q", "tree.zip", "-d", "out"], cwd=tmp_path, check=True, env={"LANG": "C.UTF-8"})
        assert os.readlink(tmp_path / "out" / "link") == "a.txt"
        assert os.access(tmp_path / "out" / "bin" / "run", os.X_OK)
        assert (tmp_path / "out" / "empty" / "dir").is_dir()

    def test_links_are_never_followed_unless_asked(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("secret")
        make_tree(tmp_path / "tree", {b"a": b"a", b"link": Link(b"../secret")})
        assert read_zip(archive_of(tmp_path / "tree")).read("link") == b"../secret"
        followed = read_zip(archive_of(tmp_path / "tree", follow_links=FollowLinks.ALWAYS))
        assert followed.read("link") == b"secret"
        assert stat.S_ISREG(followed.getinfo("link").external_attr >> 16)


class TestLargeArchives:
    """ZIP64: a file with holes stands for gigabytes of content, which nobody reads."""

    def test_members_over_4_gib_and_after_them_are_found(self, tmp_path: Path) -> None:
        large = ArchiveMember(name=b"large", mode=0o100644, size=5 * GIB, crc=0)
        after = ArchiveMember(name=b"after", mode=0o100755, size=2, crc=zlib.crc32(b"ok"))
        path = tmp_path / "large.zip"
        with path.open("wb") as target:
            target.write(local_header(large))
            target.seek(5 * GIB, os.SEEK_CUR)
            offset = target.tell()
            target.write(local_header(after) + b"ok")
            start = target.tell()
            entries = central_entry(large, offset=0) + central_entry(after, offset=offset)
            target.write(entries + end_records(count=2, offset=start, length=len(entries)))
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: (info.file_size, info.header_offset) for info in archive.infolist()}
            assert sizes == {"large": (5 * GIB, 0), "after": (2, offset)}
            with archive.open("large") as member:
                assert member.read(3) == b"\0\0\0"
            assert archive.read("after") == b"ok"

    def test_more_than_65535_members_are_counted(self) -> None:
        members = [ArchiveMember(name=b"%06d" % number, mode=0o100644) for number in range(65_536)]
        data, entries = bytearray(), bytearray()
        for member in members:
            entries += central_entry(member, offset=len(data))
            data += local_header(member)
        whole = bytes(data + entries) + end_records(count=len(members), offset=len(data), length=len(entries))
        assert len(read_zip(whole).namelist()) == 65_536

    def test_no_more_than_a_buffer_is_held_at_a_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("artifactstore.jobs.archive._BUFFER_BYTES", 1000)
        content = os.urandom(10_500)
        make_tree(tmp_path / "tree", {b"file": content})
        assert read_zip(archive_of(tmp_path / "tree")).read("file") == content


class TestRefusals:
    def test_a_name_that_is_not_utf_8_is_refused_before_anything_is_written(self, tmp_path: Path) -> None:
        make_tree(tmp_path / "tree", {b"a": b"a", b"b\xff": b"b"})
        target = io.BytesIO()
        with pytest.raises(SourceError, match="not UTF-8"):
            write_archive(scan([tmp_path / "tree"]), target)
        assert target.getvalue() == b""

    def test_a_file_that_changed_while_it_was_read_is_read_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_tree(tmp_path / "tree", {b"a": b"first, and longer", b"b": b"b"})
        finish, changes = OpenSource.finish, [b"second"]

        def finish_late(source: OpenSource) -> object:
            if source.found.path == b"a" and changes:
                (tmp_path / "tree" / "a").write_bytes(changes.pop())
            return finish(source)

        monkeypatch.setattr(OpenSource, "finish", finish_late)
        changed = archive_of(tmp_path / "tree")
        assert not changes
        assert read_zip(changed).read("a") == b"second"
        assert archive_of(tmp_path / "tree") == changed

    def test_a_file_that_never_stands_still_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_tree(tmp_path / "tree", {b"a": b"a"})
        monkeypatch.setattr(OpenSource, "finish", lambda source: None)
        with pytest.raises(SourceChanged):
            archive_of(tmp_path / "tree")
