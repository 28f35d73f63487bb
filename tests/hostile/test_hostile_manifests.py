"""Every hostile manifest is refused while it is read, before anybody could write from it."""

import tracemalloc

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.errors import ArtifactStoreError
from artifactstore.manifest.format import decode_root
from artifactstore.manifest.model import Entry, EntryKind
from artifactstore.manifest.paths import check_entries
from artifactstore.testing.hostile_manifests import HostileManifest, file_at, hostile_manifests, link_at
from artifactstore.testing.stored_manifests import store_rows
from artifactstore.tree import StoredTree

CORPUS = list(hostile_manifests())


def read_everything(data: bytes) -> list[Entry]:
    """What a full pull reads and checks before its first write."""
    tree = StoredTree(MemoryBackend(), decode_root(data), version="name:v1")
    entries = [entry for entry, _, _ in tree.entries()]
    check_entries(entries)
    return entries


@pytest.mark.parametrize("case", CORPUS, ids=str)
def test_hostile_manifest_is_refused_with_its_typed_error(case: HostileManifest) -> None:
    with pytest.raises(ArtifactStoreError) as caught:
        read_everything(case.data)
    assert type(caught.value) is case.error


@pytest.mark.parametrize("case", [c for c in CORPUS if c.in_root], ids=str)
def test_hostile_root_is_refused_by_the_root_alone(case: HostileManifest) -> None:
    with pytest.raises(case.error):
        decode_root(case.data)


@pytest.mark.parametrize("case", [c for c in CORPUS if c.fault == 73], ids=str)
def test_fault_73_oversized_manifests_are_refused_without_the_memory_they_ask_for(case: HostileManifest) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ArtifactStoreError):
            read_everything(case.data)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_the_corpus_covers_the_faults_of_manifests() -> None:
    assert {case.fault for case in CORPUS} == {65, 66, 69, 70, 71, 73, 74, 75, 76}
    assert len({str(case) for case in CORPUS}) == len(CORPUS)


def test_odd_but_sound_entries_are_taken() -> None:
    # Neighbours of hostile ones: what a push takes, a pull takes (faults 58, 61, 71).
    entries = [
        file_at(b"\x01"),
        file_at(b" "),
        link_at(b"-rf", b"/etc/passwd"),
        link_at(b"...", b"../../.."),
        Entry(b".artifactstore", EntryKind.DIRECTORY),
        file_at(b".artifactstore-tmp"),
        file_at(b".git/config"),
        file_at(b".git/hooks/pre-commit"),
        file_at(b"A"),
        file_at(b"C:\\Windows"),
        file_at(b"CON"),
        file_at(b"a"),
        file_at(b"a."),
        file_at(b"a:b"),
        file_at(b"a\nb"),
        file_at(b"x" * 255),
        file_at(b"\xff\xfe"),
    ]
    entries.sort(key=lambda entry: entry.path.replace(b"/", b"\0"))
    root = store_rows(entries)
    tree = StoredTree(MemoryBackend(), root)
    read = [entry for entry, _, _ in tree.entries()]
    check_entries(read)
    assert read == entries
