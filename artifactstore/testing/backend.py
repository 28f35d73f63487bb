"""The conformance suite of backends: every promise of `artifactstore.backend.protocol`, as tests.

Subclass it in a test module and give it a backend; wrappers are backends too::

    class TestMyBackend(BackendConformance):
        @pytest.fixture
        def backend(self):
            with contextlib.closing(MyBackend(...)) as backend:
                yield backend

The backend of each test must be empty. Attributes of the class say what a slow or odd
storage is spared; each is a visible decision of the subclass.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from artifactstore.backend.protocol import Backend, CommonPrefix, ObjectInfo
from artifactstore.errors import CorruptData, ObjectExists, ObjectNotFound

ODD_KEYS = (
    "100%",
    "a%2Fb",
    "a+b",
    "a b",
    "a&b=c?d#e",
    "a@b/@c/d",
    "a~b!c$d'e(f)g*h,i;j",
    "back\\slash",
    "dots/.hidden/...",
    "names/folder/@name/v/9999999999999996-3.deleted",
    "ünïcode/日本語/𝄞",
    "x:y",
    '"quoted"',
    "<tag>",
    "%41",
    "%",
    "n" * 200,
    "/".join(["deep"] * 60),
)
BAD_KEYS = (
    *("", "/", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/..", "./a", "a/."),
    *("a\0b", "a\nb", "tmp/a", "\udce9", "k" * 1025),
)
RACERS = 16
_Result = TypeVar("_Result")


def seeded_bytes(seed: str, size_bytes: int) -> bytes:
    """The same bytes for the same seed, on any machine, without compressing well."""
    return hashlib.shake_128(seed.encode()).digest(size_bytes)


def run_together(tasks: Sequence[Callable[[], _Result]]) -> list[_Result]:
    """Run all tasks in threads of their own, started at one moment; results in the order of the tasks."""
    barrier = threading.Barrier(len(tasks))

    def at_once(task: Callable[[], _Result]) -> _Result:
        barrier.wait()
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(at_once, tasks))


def _keys(found: Iterator[ObjectInfo]) -> list[str]:
    return [info.key for info in found]


def _level(found: Iterator[ObjectInfo | CommonPrefix]) -> list[str]:
    return [item.prefix if isinstance(item, CommonPrefix) else item.key for item in found]


class BackendConformance:
    """Subclass, and give a fixture ``backend``."""

    large_body_bytes = 64 << 20
    """Size of the large body: the largest object a store ever has."""
    many_objects = 1005
    """More than one page of a listing."""
    overwrites_on_put = False
    """True where `put` of other bytes under a taken key replaces them (the protocol never does it)."""

    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        raise NotImplementedError("give the suite a backend")

    def _fill(self, backend: Backend, keys: Sequence[str]) -> None:
        with ThreadPoolExecutor(8) as pool:
            for _ in pool.map(lambda key: backend.put(key, key.encode()), keys):
                pass

    # Whole objects

    def test_it_is_a_backend(self, backend: Backend) -> None:
        assert isinstance(backend, Backend)

    @pytest.mark.parametrize("body", [b"", b"x", bytes(range(256)), seeded_bytes("body", 100_003)], ids=len)
    def test_what_is_put_is_what_is_got(self, backend: Backend, body: bytes) -> None:
        backend.put("some/key", body)
        assert bytes(backend.get("some/key")) == body

    @pytest.mark.parametrize("verb", ["put", "put_if_absent"])
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_bodies_may_be_any_buffer(self, backend: Backend, verb: str, kind: Callable[[bytes], bytes]) -> None:
        getattr(backend, verb)("key", kind(b"content"))
        assert bytes(backend.get("key")) == b"content"

    @pytest.mark.parametrize("verb", ["put", "put_if_absent"])
    def test_a_slice_of_a_larger_buffer_is_stored_alone(self, backend: Backend, verb: str) -> None:
        large = memoryview(bytearray(seeded_bytes("slice", 5000)))
        getattr(backend, verb)("key", large[1000:4000])
        assert bytes(backend.get("key")) == bytes(large[1000:4000])

    @pytest.mark.parametrize("verb", ["put", "put_if_absent"])
    def test_a_body_is_not_kept_by_reference(self, backend: Backend, verb: str) -> None:
        body = bytearray(b"before")
        getattr(backend, verb)("key", memoryview(body))
        body[:] = b"after!"
        assert bytes(backend.get("key")) == b"before"

    def test_what_was_got_can_be_changed_without_changing_the_store(self, backend: Backend) -> None:
        backend.put("key", b"content")
        got = backend.get("key")
        if isinstance(got, bytearray):
            got[:] = b"changed"
        assert bytes(backend.get("key")) == b"content"

    def test_a_large_body_comes_back_whole_and_by_ranges(self, backend: Backend) -> None:
        body = seeded_bytes("large", 1 << 20) * (self.large_body_bytes >> 20)
        backend.put("large", body)
        # == on the buffers, outside of assert: nobody wants to read this difference.
        same = backend.get("large") == body
        assert same
        assert backend.head("large").size_bytes == len(body)
        middle = len(body) // 2 - 7
        assert bytes(backend.get_range("large", middle, 1000)) == body[middle : middle + 1000]
        assert bytes(backend.get_range("large", len(body) - 5, 5)) == body[-5:]

    def test_putting_the_same_bytes_again_is_harmless(self, backend: Backend) -> None:
        backend.put("key", b"content")
        backend.put("key", b"content")
        assert bytes(backend.get("key")) == b"content"
        assert _keys(backend.list("")) == ["key"]

    def test_putting_other_bytes_under_a_taken_key_is_refused_or_replaces_them_whole(self, backend: Backend) -> None:
        backend.put("key", b"first")
        if self.overwrites_on_put:
            backend.put("key", b"second one")
            assert bytes(backend.get("key")) == b"second one"
        else:
            with pytest.raises(ObjectExists):
                backend.put("key", b"second one")
            assert bytes(backend.get("key")) == b"first"

    @pytest.mark.parametrize("size_bytes", [1, 5])
    def test_putting_the_same_length_of_other_bytes_is_not_the_same(self, backend: Backend, size_bytes: int) -> None:
        if self.overwrites_on_put:
            pytest.skip("this storage replaces objects")
        backend.put("key", b"a" * size_bytes)
        with pytest.raises(ObjectExists):
            backend.put("key", b"b" * size_bytes)

    # Put if absent

    def test_put_if_absent_stores_once(self, backend: Backend) -> None:
        backend.put_if_absent("key", b"first")
        with pytest.raises(ObjectExists) as raised:
            backend.put_if_absent("key", b"second")
        assert raised.value.key == "key"
        assert bytes(backend.get("key")) == b"first"

    def test_put_if_absent_of_the_same_bytes_is_still_a_loss(self, backend: Backend) -> None:
        backend.put_if_absent("key", b"same")
        with pytest.raises(ObjectExists):
            backend.put_if_absent("key", b"same")

    def test_put_if_absent_sees_what_put_stored(self, backend: Backend) -> None:
        backend.put("key", b"first")
        with pytest.raises(ObjectExists):
            backend.put_if_absent("key", b"second")

    def test_a_deleted_key_is_absent_again(self, backend: Backend) -> None:
        backend.put_if_absent("key", b"first")
        backend.delete("key")
        backend.put_if_absent("key", b"second")
        assert bytes(backend.get("key")) == b"second"

    @pytest.mark.parametrize("round_number", range(4))
    def test_of_sixteen_racing_writers_exactly_one_wins(self, backend: Backend, round_number: int) -> None:
        if not backend.has_put_if_absent:
            pytest.skip("this storage has no atomic put-if-absent and says so")
        key = f"race/{round_number}/slot"
        bodies = [seeded_bytes(f"racer {number}", 4000 + number) for number in range(RACERS)]

        def race(body: bytes) -> bool:
            try:
                backend.put_if_absent(key, body)
            except ObjectExists:
                return False
            return True

        won = run_together([lambda body=body: race(body) for body in bodies])  # type: ignore[misc]
        assert won.count(True) == 1
        assert bytes(backend.get(key)) == bodies[won.index(True)]

    # Ranges

    @pytest.mark.parametrize(("start", "length"), [(0, 1), (0, 10), (3, 4), (9, 1), (9, 90), (0, 99), (98, 1)])
    def test_a_range_is_exactly_what_was_asked_for(self, backend: Backend, start: int, length: int) -> None:
        body = bytes(range(99))
        backend.put("key", body)
        assert bytes(backend.get_range("key", start, length)) == body[start : start + length]

    @pytest.mark.parametrize(("start", "length"), [(0, 11), (9, 2), (10, 1), (1000, 1), (0, 1 << 40)])
    def test_a_range_past_the_end_is_an_error_not_a_short_read(
        self, backend: Backend, start: int, length: int
    ) -> None:
        backend.put("key", b"0123456789")
        with pytest.raises(CorruptData) as raised:
            backend.get_range("key", start, length)
        assert raised.value.key == "key"
        assert raised.value.byte_range == (start, start + length)

    def test_a_range_of_an_empty_object_is_an_error(self, backend: Backend) -> None:
        backend.put("key", b"")
        with pytest.raises(CorruptData):
            backend.get_range("key", 0, 1)

    @pytest.mark.parametrize(("start", "length"), [(0, 0), (-1, 1), (0, -1)])
    def test_a_range_that_is_none_is_refused(self, backend: Backend, start: int, length: int) -> None:
        backend.put("key", b"0123456789")
        with pytest.raises(ValueError, match="range"):
            backend.get_range("key", start, length)

    # Not there

    @pytest.mark.parametrize("key", ["absent", "there/absent", "absent/dir/key", "there/key/below", "ther"])
    def test_an_absent_object_is_not_found(self, backend: Backend, key: str) -> None:
        backend.put("there/key", b"content")
        for ask in (backend.get, backend.head, lambda absent: backend.get_range(absent, 0, 1)):
            with pytest.raises(ObjectNotFound) as raised:
                ask(key)
            assert raised.value.key == key

    def test_what_keys_go_on_from_is_not_an_object(self, backend: Backend) -> None:
        backend.put("folder/key", b"content")
        with pytest.raises(ObjectNotFound):
            backend.get("folder")
        with pytest.raises(ObjectNotFound):
            backend.head("folder")
        with pytest.raises(ObjectNotFound):
            backend.get_range("folder", 0, 1)

    def test_an_empty_store_lists_nothing(self, backend: Backend) -> None:
        assert list(backend.list("")) == []
        assert list(backend.list("some/prefix")) == []
        assert list(backend.list_level("")) == []
        assert list(backend.list_level("some/prefix/")) == []

    # Heads

    def test_head_tells_size_and_time(self, backend: Backend) -> None:
        backend.put("one", b"12345")
        backend.put("empty", b"")
        info = backend.head("one")
        assert (info.key, info.size_bytes) == ("one", 5)
        assert backend.head("empty").size_bytes == 0
        assert isinstance(info.modified, float)

    def test_head_and_listing_agree(self, backend: Backend) -> None:
        backend.put("folder/one", b"12345")
        [listed] = backend.list("")
        headed = backend.head("folder/one")
        assert (listed.key, listed.size_bytes) == (headed.key, headed.size_bytes)
        assert abs(listed.modified - headed.modified) < 2

    # Deletes

    def test_delete_removes_the_object_only(self, backend: Backend) -> None:
        self._fill(backend, ["folder/a", "folder/a.moved", "folder/ab", "folder/b"])
        backend.delete("folder/a")
        with pytest.raises(ObjectNotFound):
            backend.get("folder/a")
        assert _keys(backend.list("")) == ["folder/a.moved", "folder/ab", "folder/b"]

    @pytest.mark.parametrize("key", ["absent", "no/such/folder/key", "there/key/below", "there"])
    def test_deleting_what_is_absent_is_fine(self, backend: Backend, key: str) -> None:
        backend.put("there/key", b"content")
        backend.delete(key)
        backend.delete(key)
        assert bytes(backend.get("there/key")) == b"content"

    def test_a_folder_emptied_is_gone_from_listings(self, backend: Backend) -> None:
        backend.put("folder/sub/key", b"content")
        backend.delete("folder/sub/key")
        assert list(backend.list("")) == []
        assert list(backend.list_level("")) == []
        assert list(backend.list_level("folder/")) == []

    # Listings

    def test_listings_are_in_byte_order_of_keys(self, backend: Backend) -> None:
        # None lies below another: no store has that, and a file system can't.
        keys = ["a/b", "a.b", "a-b", "a0", "ab", "a/b.c", "a/b0/c", "A", "Z/z", "b", "é", "z", "𝄞", "￿", "a/é/b"]
        self._fill(backend, keys)
        assert _keys(backend.list("")) == sorted(keys, key=str.encode)

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("a", ["a.b/c", "a/b/c", "a/b/d", "a/bb", "ab"]),
            ("a/", ["a/b/c", "a/b/d", "a/bb"]),
            ("a/b", ["a/b/c", "a/b/d", "a/bb"]),
            ("a/b/", ["a/b/c", "a/b/d"]),
            ("a/b/c", ["a/b/c"]),
            ("a/b/cc", []),
            ("a.", ["a.b/c"]),
            ("c", []),
            ("b/", []),
        ],
    )
    def test_a_prefix_is_text_and_not_a_folder(self, backend: Backend, prefix: str, expected: list[str]) -> None:
        self._fill(backend, ["a/b/c", "a/b/d", "a/bb", "a.b/c", "ab", "b"])
        assert _keys(backend.list(prefix)) == expected

    def test_start_after_goes_on_behind_any_text(self, backend: Backend) -> None:
        keys = ["a-b", "a.b", "a/b/c", "a/b/d", "a/bb", "a0", "b"]
        self._fill(backend, keys)
        texts = [*keys, "", "a", "a/", "a/b", "a/b/", "a/b/cc", "a/b0", "a/z", "a.", "zz", "a/b/d/e"]
        for text in texts:
            assert _keys(backend.list("", start_after=text)) == [key for key in keys if key > text], text
            assert _keys(backend.list("a/", start_after=text)) == [
                key for key in keys if key > text and key.startswith("a/")
            ], text

    @pytest.mark.parametrize("page_size", [None, 1, 2, 3, 7, 1000, 5000])
    def test_the_page_size_changes_nothing_in_the_result(self, backend: Backend, page_size: int | None) -> None:
        keys = sorted(f"k/{number:02}" for number in range(7))
        self._fill(backend, keys)
        assert _keys(backend.list("k/", page_size=page_size)) == keys
        assert _keys(backend.list("k/", start_after="k/02", page_size=page_size)) == keys[3:]

    def test_listings_go_on_past_one_page(self, backend: Backend) -> None:
        keys = [f"many/{number % 7}/{number:05}" for number in range(self.many_objects)]
        self._fill(backend, keys)
        assert _keys(backend.list("many/")) == sorted(keys)
        assert _level(backend.list_level("many/")) == [f"many/{number}/" for number in range(7)]
        assert _keys(backend.list("many/", start_after=sorted(keys)[self.many_objects - 3])) == sorted(keys)[-2:]

    def test_one_level_may_have_more_than_one_page(self, backend: Backend) -> None:
        folders = [f"f/{number:05}/key" for number in range(self.many_objects)]
        self._fill(backend, folders)
        assert _level(backend.list_level("f/")) == [key.removesuffix("key") for key in folders]

    def test_a_level_has_objects_and_what_goes_on(self, backend: Backend) -> None:
        self._fill(backend, ["a", "b/c", "b/d/e", "b.x", "b0/x", "c/d/e/f"])
        assert _level(backend.list_level("")) == ["a", "b.x", "b/", "b0/", "c/"]
        assert _level(backend.list_level("b/")) == ["b/c", "b/d/"]
        assert _level(backend.list_level("c/")) == ["c/d/"]
        assert _level(backend.list_level("c/d/e/")) == ["c/d/e/f"]
        assert _level(backend.list_level("nothing/")) == []
        first = next(backend.list_level(""))
        assert isinstance(first, ObjectInfo)
        assert first.size_bytes == 1

    def test_a_level_below_half_a_component_is_refused(self, backend: Backend) -> None:
        with pytest.raises(ValueError, match="level"):
            list(backend.list_level("half"))

    def test_a_listing_begun_and_left_harms_nothing(self, backend: Backend) -> None:
        self._fill(backend, [f"k/{number}" for number in range(5)])
        listing = backend.list("k/", page_size=2)
        assert next(listing).key == "k/0"
        del listing
        level = backend.list_level("k/")
        next(level)
        del level
        assert len(list(backend.list("k/"))) == 5

    def test_objects_deleted_while_a_listing_goes_on_are_no_error(self, backend: Backend) -> None:
        self._fill(backend, [f"k/{number // 3}/{number}" for number in range(9)])
        listing = backend.list("k/", page_size=1)
        first = next(listing).key
        for number in range(1, 9):
            backend.delete(f"k/{number // 3}/{number}")
        rest = _keys(listing)
        assert first == "k/0/0"
        assert rest == sorted(set(rest))

    # Read after write, list after write

    def test_every_write_is_seen_at_once(self, backend: Backend) -> None:
        for number in range(10):
            key = f"seen/{number}"
            with pytest.raises(ObjectNotFound):
                backend.head(key)
            assert key not in _keys(backend.list("seen/"))
            backend.put(key, b"x")
            assert backend.head(key).size_bytes == 1
            assert key in _keys(backend.list("seen/"))
            assert key in _level(backend.list_level("seen/"))
            backend.delete(key)
            with pytest.raises(ObjectNotFound):
                backend.get(key)
            assert key not in _keys(backend.list("seen/"))

    def test_many_threads_may_use_one_backend(self, backend: Backend) -> None:
        def work(number: int) -> bool:
            body = seeded_bytes(f"thread {number}", 10_000 + number)
            for step in range(5):
                key = f"threads/{number % 3}/{number}-{step}"
                backend.put(key, body)
                if bytes(backend.get(key)) != body or bytes(backend.get_range(key, 5, 50)) != body[5:55]:
                    return False
                if key not in _keys(backend.list(f"threads/{number % 3}/")):
                    return False
            return True

        assert run_together([lambda number=number: work(number) for number in range(12)]) == [True] * 12  # type: ignore[misc]
        assert len(list(backend.list("threads/"))) == 60

    def test_one_object_is_read_by_many_threads_at_once(self, backend: Backend) -> None:
        body = seeded_bytes("shared", 300_000)
        backend.put("shared", body)

        def read(number: int) -> bool:
            return bytes(backend.get_range("shared", number * 1000, 20_000)) == body[number * 1000 :][:20_000]

        assert all(run_together([lambda number=number: read(number) for number in range(16)]))  # type: ignore[misc]

    # Keys

    @pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
    def test_odd_keys_come_back_as_they_are(self, backend: Backend, key: str) -> None:
        """Fault 101: keys that need quoting on the way."""
        backend.put(key, b"content")
        assert bytes(backend.get(key)) == b"content"
        assert bytes(backend.get_range(key, 1, 3)) == b"ont"
        assert backend.head(key).key == key
        assert _keys(backend.list("")) == [key]
        assert _keys(backend.list(key)) == [key]
        assert _keys(backend.list(key[:-1])) == [key]
        folder, slash, _ = key.rpartition("/")
        assert _level(backend.list_level(folder + slash)) == [key]
        with pytest.raises(ObjectExists):
            backend.put_if_absent(key, b"other")
        backend.delete(key)
        with pytest.raises(ObjectNotFound):
            backend.head(key)

    def test_keys_that_differ_only_in_quoting_are_different(self, backend: Backend) -> None:
        keys = sorted(["a b", "a%20b", "a+b", "a%2Bb", "a%252Bb", "%41", "A"])
        self._fill(backend, keys)
        assert _keys(backend.list("")) == keys
        assert [bytes(backend.get(key)) for key in keys] == [key.encode() for key in keys]

    def test_a_long_key_works(self, backend: Backend) -> None:
        key = "/".join(["k" * 199] * 4) + "/" + "x" * 100
        assert len(key) == 900
        backend.put(key, b"content")
        assert _keys(backend.list("")) == [key]
        assert bytes(backend.get(key)) == b"content"

    @pytest.mark.parametrize("key", BAD_KEYS, ids=range(len(BAD_KEYS)))
    def test_a_key_that_could_leave_the_root_is_refused(self, backend: Backend, key: str) -> None:
        """Fault 121."""
        calls: list[Callable[[], object]] = [
            lambda: backend.put(key, b""),
            lambda: backend.put_if_absent(key, b""),
            lambda: backend.get(key),
            lambda: backend.get_range(key, 0, 1),
            lambda: backend.head(key),
            lambda: backend.delete(key),
        ]
        for call in calls:
            with pytest.raises(ValueError, match="key"):
                call()
        assert list(backend.list("")) == []

    @pytest.mark.parametrize("prefix", ["/", "../", "a/../", "a//", "./", "a/\0"])
    def test_a_prefix_that_could_leave_the_root_is_refused(self, backend: Backend, prefix: str) -> None:
        with pytest.raises(ValueError, match="key"):
            list(backend.list(prefix))
        with pytest.raises(ValueError, match="key"):
            list(backend.list_level(prefix))

    # The rest

    def test_the_url_says_where_it_is(self, backend: Backend) -> None:
        assert backend.url
        assert backend.url in repr(backend)

    def test_closing_twice_is_fine(self, backend: Backend) -> None:
        backend.put("key", b"content")
        backend.close()
        backend.close()
