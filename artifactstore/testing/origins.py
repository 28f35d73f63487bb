"""What every origin of references must do; subclass it, and give a `place` fixture."""

from typing import Protocol

import blake3
import pytest

from artifactstore.artifacts.reference_rules import ReferenceRules
from artifactstore.artifacts.references import DriftState, Origins, Proof, fetch, resolve, strength, verify
from artifactstore.digest import REFERENCE_CONTEXT
from artifactstore.errors import ReferenceChanged, ReferenceGone, ReferenceNotFound, ReferenceUnreachable
from artifactstore.manifest.model import ReferenceTarget

LARGE_BYTES = (9 << 20) + 7


class Place(Protocol):
    """Somewhere that the tests can write to.

    Attributes:
        base: URI of a prefix that is the test's own, with a slash at the end.
        rules: What allows to read it.
        keeps_versions: Whether old versions of an object can still be read.
    """

    base: str
    rules: ReferenceRules
    keeps_versions: bool

    def write(self, name: str, content: bytes) -> None:
        """Make an object, or replace it; afterwards it looks different from outside."""

    def remove(self, name: str) -> None:
        """Take an object away."""

    def uri(self, name: str) -> str:
        """The URI of an object."""


def content_of(target: ReferenceTarget, origins: Origins) -> bytes:
    pieces: list[bytes] = []
    read = fetch(target, origins, lambda piece: pieces.append(bytes(piece)))
    content = b"".join(pieces)
    assert read.size_bytes == len(content)
    assert read.digest == blake3.blake3(content, derive_key_context=REFERENCE_CONTEXT).digest()
    return content


class OriginConformance:
    """The suite."""

    def test_object_is_resolved_with_its_size_and_name(self, place: Place) -> None:
        place.write("data/one.bin", b"12345")
        with Origins(place.rules) as origins:
            found = resolve(place.uri("data/one.bin"), origins)
        assert not found.is_prefix
        assert found.targets[b""].size_bytes == 5
        assert found.targets[b""].digest == b""
        assert list(found.placed()) == [b"one.bin"]
        assert list(found.placed("in/")) == [b"in/one.bin"]
        assert list(found.placed("other")) == [b"other"]

    def test_prefix_stands_for_everything_below_it(self, place: Place) -> None:
        for name in ("p/a", "p/b/c", "p/b/d/e", "q"):
            place.write(name, name.encode())
        with Origins(place.rules) as origins:
            found = resolve(place.uri("p/"), origins)
            assert [content_of(target, origins) for target in found.targets.values()] == [b"p/a", b"p/b/c", b"p/b/d/e"]
        assert found.is_prefix
        assert list(found.targets) == [b"a", b"b/c", b"b/d/e"]
        assert list(found.placed()) == [b"p/a", b"p/b/c", b"p/b/d/e"]
        assert list(found.placed(".")) == [b"a", b"b/c", b"b/d/e"]

    def test_directory_is_a_prefix_without_a_slash_too(self, place: Place) -> None:
        place.write("p/a", b"x")
        with Origins(place.rules) as origins:
            assert list(resolve(place.uri("p"), origins).targets) == [b"a"]

    def test_objects_of_a_prefix_look_as_they_do_one_by_one(self, place: Place) -> None:
        place.write("p/a", b"x")
        place.write("p/b/c", b"yy")
        with Origins(place.rules) as origins:
            for target in resolve(place.uri("p/"), origins).targets.values():
                assert resolve(target.uri, origins).targets[b""] == target

    @pytest.mark.parametrize("name", ["with space", "ü", "100%", "a+b", "x&y=z"])
    def test_odd_names_are_listed_and_read_back(self, place: Place, name: str) -> None:
        place.write(f"odd/{name}", b"content")
        with Origins(place.rules) as origins:
            found = resolve(place.uri("odd/"), origins)
            assert list(found.targets) == [name.encode()]
            assert content_of(found.targets[name.encode()], origins) == b"content"

    @pytest.mark.parametrize("name", ["missing", "missing/"])
    def test_nothing_there_is_an_error(self, place: Place, name: str) -> None:
        place.write("other", b"x")
        with Origins(place.rules) as origins, pytest.raises(ReferenceNotFound) as caught:
            resolve(place.uri(name), origins)
        assert not isinstance(caught.value, ReferenceUnreachable)

    @pytest.mark.parametrize("content", [b"", b"x", bytes(LARGE_BYTES)], ids=["empty", "small", "large"])
    def test_digest_on_request_is_of_all_the_content(self, place: Place, content: bytes) -> None:
        place.write("x", content)
        with Origins(place.rules) as origins:
            target = resolve(place.uri("x"), origins, digest=True).targets[b""]
            assert strength(target) is Proof.DIGEST
            assert target.size_bytes == len(content)
            assert content_of(target, origins) == content

    @pytest.mark.parametrize("digest", [False, True], ids=["as it looks", "by digest"])
    def test_what_did_not_change_is_the_same(self, place: Place, digest: bool) -> None:
        place.write("x", b"content")
        with Origins(place.rules) as origins:
            target = resolve(place.uri("x"), origins, digest=digest).targets[b""]
            drift = verify(b"x", target, origins, content=digest)
        assert (drift.state, drift.changes) == (DriftState.SAME, ())
        assert drift.is_weak == (not digest and not target.version_id)

    @pytest.mark.parametrize("new", [b"CONTENT", b"longer content"], ids=["same size", "another size"])
    @pytest.mark.parametrize("digest", [False, True], ids=["as it looks", "by digest"])
    def test_change_is_told_and_never_taken_for_the_old_content(self, place: Place, digest: bool, new: bytes) -> None:
        place.write("x", b"content")
        with Origins(place.rules) as origins:
            target = resolve(place.uri("x"), origins, digest=digest).targets[b""]
            place.write("x", new)
            drift = verify(b"x", target, origins, content=digest)
            assert drift.state is DriftState.CHANGED
            assert drift.changes
            if place.keeps_versions:
                assert content_of(target, origins) == b"content"
                return
            with pytest.raises(ReferenceChanged) as caught:
                fetch(target, origins, lambda piece: None)
        assert caught.value.old
        assert caught.value.old.keys() == caught.value.new.keys()
        assert all(caught.value.old[name] != caught.value.new[name] for name in caught.value.old)

    def test_content_that_a_digest_proves_may_look_otherwise(self, place: Place) -> None:
        place.write("x", b"content")
        with Origins(place.rules) as origins:
            target = resolve(place.uri("x"), origins, digest=True).targets[b""]
            place.write("x", b"content")
            drift = verify(b"x", target, origins, content=True)
            assert (drift.state, drift.proof) == (DriftState.SAME, Proof.DIGEST)
            assert content_of(target, origins) == b"content"

    def test_what_is_gone_is_told(self, place: Place) -> None:
        place.write("x", b"content")
        place.write("y", b"another")
        with Origins(place.rules) as origins:
            target = resolve(place.uri("x"), origins).targets[b""]
            place.remove("x")
            assert verify(b"x", target, origins).state is DriftState.GONE
            if place.keeps_versions:
                assert content_of(target, origins) == b"content"
                return
            with pytest.raises(ReferenceGone) as caught:
                fetch(target, origins, lambda piece: None)
        assert caught.value.old["size_bytes"] == 7
        assert caught.value.new == {}
