"""The bounded table of chunks that are stored already."""

import threading

import pytest

from artifactstore.dedup.known import MAX_BYTES_PER_CHUNK, KnownChunks
from artifactstore.digest import DIGEST_BYTES, Digest, digest_of


class Digests:
    """As much of a pack's table as is asked for."""

    def __init__(self, count: int, *, seed: str = "") -> None:
        self.each = [digest_of("test", f"{seed}{n}".encode()) for n in range(count)]

    def digests(self) -> bytes:
        return b"".join(self.each)


def test_every_chunk_of_a_table_is_found_and_no_other() -> None:
    known = KnownChunks()
    tables = [Digests(3000, seed=f"pack {n} ") for n in range(4)]
    for number, table in enumerate(tables):
        assert known.add_table(number, table) == 3000
    for number, table in enumerate(tables):
        assert all(known.lookup(digest) == (number, chunk) for chunk, digest in enumerate(table.each))
    assert all(known.lookup(digest) is None for digest in Digests(3000, seed="unknown").each)
    assert len(known) == 12000


def test_chunks_are_added_one_by_one_and_the_first_place_stays() -> None:
    known = KnownChunks()
    (digest,) = Digests(1).each
    assert known.add(digest, 7, 65535)
    assert known.add(digest, 8, 1)
    assert known.lookup(digest) == (7, 65535)
    assert len(known) == 1


def test_numbers_of_packs_and_chunks_may_be_as_large_as_they_get() -> None:
    known = KnownChunks()
    (digest,) = Digests(1).each
    known.add(digest, 2**31, 2**32 - 1)
    assert known.lookup(digest) == (2**31, 2**32 - 1)


def test_the_budget_is_hard_and_what_does_not_fit_is_said() -> None:
    """Storing a chunk again is better than running out of memory."""
    known = KnownChunks(budget_bytes=1000 * MAX_BYTES_PER_CHUNK)
    table = Digests(1500)
    assert known.add_table(0, table) == 1000
    assert known.is_full
    assert known.lookup(table.each[999]) == (0, 999)
    assert known.lookup(table.each[1000]) is None
    assert not known.add(table.each[1200], 1, 0)
    assert known.add(table.each[3], 1, 0), "what is known needs no room"


def test_nothing_is_full_while_there_is_room() -> None:
    known = KnownChunks(budget_bytes=1000 * MAX_BYTES_PER_CHUNK)
    known.add_table(0, Digests(1000))
    assert not known.is_full


@pytest.mark.parametrize("count", [2048, 2049, 5000, 16384, 40000])
def test_no_chunk_takes_more_than_its_share_of_memory(count: int) -> None:
    known = KnownChunks()
    known.add_table(0, Digests(count))
    assert known.memory_bytes <= count * MAX_BYTES_PER_CHUNK


def test_an_empty_table_adds_nothing() -> None:
    known = KnownChunks()
    assert known.add_table(0, Digests(0)) == 0
    assert known.lookup(Digest(bytes(DIGEST_BYTES))) is None


def test_a_digest_of_zeros_is_a_digest() -> None:
    known = KnownChunks()
    known.add(Digest(bytes(DIGEST_BYTES)), 0, 0)
    assert known.lookup(bytes(DIGEST_BYTES)) == (0, 0)


def test_readers_in_other_threads_never_see_a_wrong_place() -> None:
    known = KnownChunks()
    tables = [Digests(500, seed=f"pack {n} ") for n in range(20)]
    wrong: list[object] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            for number in (0, 7, 19):
                for chunk in (0, 250, 499):
                    if known.lookup(tables[number].each[chunk]) not in (None, (number, chunk)):
                        wrong.append((number, chunk))

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number, table in enumerate(tables):
        known.add_table(number, table)
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert known.lookup(tables[19].each[499]) == (19, 499)


def test_chunks_added_without_a_second_look_are_found_like_others() -> None:
    known = KnownChunks()
    digests = [digest_of("test", str(number).encode()) for number in range(5000)]
    for number, digest in enumerate(digests):
        if known.lookup(digest) is None:
            known.add_new(digest, 3, number)
    assert [known.lookup(digest) for digest in digests] == [(3, number) for number in range(5000)]


def test_what_does_not_fit_the_budget_is_not_added_one_by_one_either() -> None:
    known = KnownChunks(budget_bytes=64)
    for number in range(2):
        known.add_new(digest_of("test", bytes([number])), 0, number)
    assert known.is_full
    assert len(known) == 1
