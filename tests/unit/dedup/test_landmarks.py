"""Landmarks: chosen by digest, left after a commit, never more than hints."""

import pytest

from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.protocol import Backend
from artifactstore.dedup.landmarks import (
    CHUNKS_PER_LANDMARK,
    MAX_HINTS_PER_LANDMARK,
    Hint,
    find_hints,
    is_landmark,
    landmarks_of,
    write_landmarks,
)
from artifactstore.digest import Digest, PackId, digest_of
from artifactstore.errors import TransientBackendError
from artifactstore.keys import TxId, landmark_key, landmark_prefix

TX = TxId("a" * 32)
PACK = PackId(b"p" * 20)


def landmark(number: int) -> Digest:
    return Digest(number.to_bytes(30, "big") + b"\0\4")


class Digests:
    def __init__(self, each: list[Digest]) -> None:
        self._each = each

    def digests(self) -> bytes:
        return b"".join(self._each)


class Broken(MemoryBackend):
    """Refuses listings and writes."""

    def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None):  # type: ignore[no-untyped-def]
        raise TransientBackendError("slow down", where=prefix)

    def put(self, key: str, body: object) -> None:
        raise TransientBackendError("slow down", where=key)


def test_one_chunk_in_a_thousand_is_a_landmark() -> None:
    digests = [digest_of("test", str(n).encode()) for n in range(40_000)]
    assert 20 <= sum(map(is_landmark, digests)) <= 60
    assert landmarks_of(Digests(digests)) == [d for d in digests if is_landmark(d)]


@pytest.mark.parametrize(
    ("end", "chosen"), [(b"\0\0", True), (b"\0\4", True), (b"\0\xfc", True), (b"\0\1", False), (b"\1\0", False)]
)
def test_ten_bits_at_the_end_of_a_digest_decide(end: bytes, chosen: bool) -> None:
    """Golden: another choice would make all landmarks of existing stores useless."""
    assert is_landmark(bytes(range(30)) + end) is chosen
    assert CHUNKS_PER_LANDMARK == 1024


def test_what_one_upload_leaves_another_finds() -> None:
    backend = MemoryBackend()
    assert write_landmarks(backend, TX, [(landmark(1), PACK), (landmark(2), PACK)]) == 2
    hints = list(find_hints(backend, [landmark(2), landmark(3), landmark(1)], max_requests=10))
    assert hints == [Hint(landmark(2), TX, PACK), Hint(landmark(1), TX, PACK)]


def test_only_landmarks_are_asked_for_and_only_so_many() -> None:
    asked: list[str] = []

    class Counting(MemoryBackend):
        def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None):  # type: ignore[no-untyped-def]
            asked.append(prefix)
            return super().list(prefix, start_after=start_after, page_size=page_size)

    ordinary = Digest(b"\xff" * 32)
    digests = [ordinary, landmark(1), landmark(1), landmark(2), landmark(3)]
    assert list(find_hints(Counting(), digests, max_requests=2)) == []
    assert asked == [landmark_prefix(landmark(1)), landmark_prefix(landmark(2))]


def test_a_chunk_stored_by_thousands_gives_a_few_hints() -> None:
    backend = MemoryBackend()
    for number in range(50):
        backend.put(landmark_key(landmark(1), TxId(f"{number:032x}"), PACK), b"")
    assert len(list(find_hints(backend, [landmark(1)], max_requests=9))) == MAX_HINTS_PER_LANDMARK


@pytest.mark.parametrize("rest", ["x/y", f"{TX}", f"{TX}/00", f"{TX}/{'P' * 40}", f"{TX}/{'AA' * 20}"])
def test_foreign_objects_among_landmarks_are_no_hints(rest: str) -> None:
    backend = MemoryBackend()
    backend.put(landmark_prefix(landmark(1)) + rest, b"")
    assert list(find_hints(backend, [landmark(1)], max_requests=9)) == []


def test_trouble_with_landmarks_fails_nothing() -> None:
    """A hint that is missed costs some space; the upload is committed, or would be, all the same."""
    broken: Backend = Broken()
    assert write_landmarks(broken, TX, [(landmark(1), PACK)]) == 0
    assert list(find_hints(broken, [landmark(1)], max_requests=9)) == []
