"""Manifests that no push of ours would write, and every reader must refuse.

Each case is one whole root object, blocks inside, so that it can be put behind a slot and
pulled. Those whose damage lies deeper than the root decode as roots: what refuses them is
the reading of entries, before anything is written.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from artifactstore import codec
from artifactstore.digest import BLOCK_CONTEXT, digest_of
from artifactstore.errors import ArtifactStoreError, CorruptData, UnsafeManifest, UnsupportedFormat
from artifactstore.manifest.format import content_digest, encode_root, entries_digest
from artifactstore.manifest.model import (
    HOLE,
    NO_CONTENT,
    NO_PLACES,
    BlockRow,
    Counts,
    Entry,
    EntryKind,
    EntryPlaces,
    Extent,
    PackRow,
    ReferenceTarget,
    Root,
    StoredChunk,
)
from artifactstore.testing.stored_manifests import store_rows

_DIGEST: Final = b"\xd1" * 32
_XXH3: Final = b"\xd2" * 16
_PACK: Final = PackRow(b"\xd3" * 20, 1 << 20, 81, 0)
_HEADER: Final = struct.Struct("<8sBI")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileManifest:
    """One root object that must be refused.

    Attributes:
        fault: Number in the catalogue of faults.
        name: What is wrong with it.
        data: The root object.
        error: What refuses it.
        in_root: Whether the root itself is refused; else its blocks or entries are.
    """

    fault: int
    name: str
    data: bytes
    error: type[ArtifactStoreError]
    in_root: bool = False

    def __str__(self) -> str:
        return f"{self.fault}-{self.name}"


def file_at(path: bytes, *, size: int = 0) -> Entry:
    """A file entry; of size 0 it needs no places."""
    return Entry(path, EntryKind.FILE, size, False, _DIGEST, _XXH3)


def link_at(path: bytes, target: bytes) -> Entry:
    """A link entry."""
    return Entry(path, EntryKind.LINK, target=target)


_UNSAFE_PATHS: Final = {
    "absolute": b"/etc/passwd",
    "parent": b"..",
    "parent-first": b"../evil",
    "parent-inside": b"a/../../b",
    "parent-last": b"a/..",
    "dot": b".",
    "dot-inside": b"a/./b",
    "double-slash": b"a//b",
    "trailing-slash": b"a/",
    "nul": b"a\0b",
    "nul-only": b"\0",
    "long-component": b"x" * 256,
    "long-component-below": b"a/" + b"x" * 256 + b"/b",
    "deep": b"/".join([b"d"] * 1101),
}


def hostile_manifests() -> Iterator[HostileManifest]:
    """The corpus: faults 65, 66, 69–71 and 73–76."""
    for name, path in _UNSAFE_PATHS.items():
        yield _entries(65, name, [file_at(path)])
        yield _entries(65, f"link-{name}", [link_at(path, b"x")])
    yield _entries(65, "among-sound-ones", [file_at(b"a"), file_at(b"b/../../c"), file_at(b"d")])
    yield _entries(65, "empty", [file_at(b"")], error=CorruptData, in_root=True)
    yield from _links_and_twins()
    yield from _own_names()
    yield from _sizes()
    yield from _places()
    yield from _kinds()
    yield from _too_large()
    yield from _unsupported()
    yield from _contradictory_roots()


def _links_and_twins() -> Iterator[HostileManifest]:
    yield _entries(66, "below-a-link", [link_at(b"evil", b"/etc"), file_at(b"evil/passwd")])
    yield _entries(66, "far-below-a-link", [link_at(b"evil", b".."), file_at(b"evil/a/b/c")])
    yield _entries(66, "link-below-a-link", [link_at(b"evil", b"/"), link_at(b"evil/x", b"y")])
    # Sorted by plain bytes a neighbour stands between the link and what is below it.
    yield _entries(66, "sorted-otherwise", [link_at(b"evil", b"/etc"), file_at(b"evil-"), file_at(b"evil/passwd")])
    yield _entries(70, "twice", [file_at(b"a"), file_at(b"a")])
    yield _entries(70, "file-and-link", [file_at(b"a"), link_at(b"a", b"b")])
    yield _entries(70, "twice-apart", [file_at(b"a"), file_at(b"b"), file_at(b"a")])
    yield _entries(70, "below-a-file", [file_at(b"a"), file_at(b"a/b")])
    yield _entries(70, "below-an-empty-directory", [Entry(b"a", EntryKind.DIRECTORY), file_at(b"a/b")])
    yield _entries(70, "unsorted", [file_at(b"b"), file_at(b"a")])


def _own_names() -> Iterator[HostileManifest]:
    for name, path in {"file": b".artifactstore-tmp-1", "directory": b"a/.artifactstore-tmp-x/b"}.items():
        yield _entries(71, name, [file_at(path)])


def _sizes() -> Iterator[HostileManifest]:
    for name, size in {"minus-one": -1, "least": -(2**63), "over-the-most": 2**63, "unsigned-most": 2**64 - 1}.items():
        yield _entries(74, f"size-{name}", [file_at(b"a", size=size)], error=CorruptData)
    yield _entries(74, "link-with-a-size", [Entry(b"a", EntryKind.LINK, 5, target=b"x")], error=CorruptData)
    largest = 2**63 - 1
    hole = Extent(HOLE, 0, largest, 1, 0, largest)
    twice = EntryPlaces((hole, hole))
    yield _entries(74, "sum-overflow", [file_at(b"a", size=largest)], places=[twice], error=CorruptData)


def _places() -> Iterator[HostileManifest]:
    sound = Extent(0, 0, 1, 64, 100, 10)
    bad = {
        "no-extents": EntryPlaces(),
        "too-short": EntryPlaces((msgspec.structs.replace(sound, content_length=9),)),
        "too-long": EntryPlaces((sound, sound)),
        "unknown-pack": EntryPlaces((msgspec.structs.replace(sound, pack=1),)),
        "pack-minus-two": EntryPlaces((msgspec.structs.replace(sound, pack=-2),)),
        "no-chunks": EntryPlaces((msgspec.structs.replace(sound, chunk_count=0),)),
        "chunks-beyond-the-table": EntryPlaces((msgspec.structs.replace(sound, first_chunk=65_535, chunk_count=2),)),
        "more-chunks-than-bytes": EntryPlaces((msgspec.structs.replace(sound, chunk_count=11, stored_length=200),)),
        "more-chunks-than-records": EntryPlaces((msgspec.structs.replace(sound, chunk_count=10, stored_length=99),)),
        "in-the-header": EntryPlaces((msgspec.structs.replace(sound, offset=63),)),
        "behind-the-largest-pack": EntryPlaces((msgspec.structs.replace(sound, offset=(64 << 20) - 99),)),
        "hole-with-other-length": EntryPlaces((Extent(HOLE, 0, 2, 4, 0, 10),)),
        "hole-of-endless-chunks": EntryPlaces((Extent(HOLE, 0, 1, 8 << 20, 0, 10),)),
        "hole-that-is-stored": EntryPlaces((Extent(HOLE, 0, 1, 10, 100, 10),)),
        "list-beside-extents": EntryPlaces((sound,), (StoredChunk(0, 0, 64, 100, _DIGEST),)),
        "list-in-no-pack": EntryPlaces((), (StoredChunk(-1, 0, 64, 100, _DIGEST),)),
    }
    for name, places in bad.items():
        yield _entries(74, name, [file_at(b"a", size=10)], places=[places], error=CorruptData)
    yield _entries(74, "content-of-a-link", [link_at(b"a", b"b")], places=[EntryPlaces((sound,))], error=CorruptData)
    yield _entries(74, "more-places", [file_at(b"a")], places=[NO_PLACES, NO_PLACES], error=CorruptData)


def _kinds() -> Iterator[HostileManifest]:
    yield _entries(69, "hard-link", [Entry(b"a", 5, target=b"/etc/passwd")], error=CorruptData)
    yield _entries(76, "device", [Entry(b"a", 6)], error=CorruptData)
    yield _entries(76, "kind-zero", [Entry(b"a", 0)], error=CorruptData)
    executable: bool = 0o6777  # type: ignore[assignment]
    setuid = Entry(b"a", EntryKind.FILE, 0, executable, _DIGEST, _XXH3)
    yield _entries(76, "mode-for-executable", [setuid], error=CorruptData)
    yield _entries(76, "executable-link", [Entry(b"a", EntryKind.LINK, 0, True, target=b"b")], error=CorruptData)
    yield _entries(66, "link-to-nothing", [link_at(b"a", b"")], error=CorruptData)
    yield _entries(66, "link-with-nul", [link_at(b"a", b"b\0c")], error=CorruptData)
    for name, target in {
        "missing": None,
        "control-characters": ReferenceTarget("s3://b/\x1b[2J"),
        "negative-size": ReferenceTarget("s3://b/k", -1),
        "short-digest": ReferenceTarget("s3://b/k", digest=b"x"),
    }.items():
        yield _entries(76, f"reference-{name}", [Entry(b"a", 4, reference=target)], error=CorruptData)
    yield _entries(76, "file-with-a-target", [msgspec.structs.replace(file_at(b"a"), target=b"b")], error=CorruptData)
    yield _entries(76, "short-digest", [msgspec.structs.replace(file_at(b"a"), digest=b"")], error=CorruptData)


def _too_large() -> Iterator[HostileManifest]:
    endless = b"\xdd\xff\xff\xff\xff"  # an array of 2**32-1 items, of which none follows
    nested = b"\x91" * 60_000
    for name, entries in {"entries-endless": endless, "entries-nested": nested, "entries-none": b"\x90"}.items():
        yield _block(73, name, _outer(entries, b"\x92\x90\x90"))
    row = msgspec.msgpack.encode((file_at(b"a", size=10),))
    for name, places in {
        "places-endless": b"\x92\x90" + endless,
        "extents-endless": b"\x92\x90\x91\x92" + endless,
        "places-nested": nested,
    }.items():
        yield _block(73, name, _outer(row, places))
    yield _block(73, "parts-endless", endless)
    yield _block(73, "noise", b"\xc1" * 100)
    for name, document in {"root-endless": endless, "root-nested": nested, "root-noise": b"\xc1"}.items():
        yield _root(73, name, _object(document))
    # A map whose unknown field nests: skipped by the lenient look at the features, so met there first.
    yield _root(73, "root-field-nested", _object(b"\x81\xa1x" + nested))
    yield _root(
        73, "root-bomb", _HEADER.pack(b"ASTROOT\x01", 1, 100) + bytes(codec.encode(bytes(1 << 26), codec.Codec.ZSTD)[1])
    )
    yield _root(73, "root-of-4-GiB", _HEADER.pack(b"ASTROOT\x01", 1, 2**32 - 1) + b"\x28\xb5\x2f\xfd" + bytes(20))
    many = Counts(files=10**9 + 1)
    yield _root(73, "a-billion-entries", encode_root(_sound_root(counts=many)))


def _unsupported() -> Iterator[HostileManifest]:
    sound = encode_root(_sound_root())
    yield _root(75, "format-2", b"ASTROOT\x02" + sound[8:], error=UnsupportedFormat)
    feature = encode_root(_sound_root(required_features=("time-travel",)))
    yield _root(75, "feature", feature, error=UnsupportedFormat)
    newer = {"required_features": ["time-travel"], "field-of-the-future": [1, 2]}
    yield _root(75, "feature-with-fields", _object(msgspec.msgpack.encode(newer)), error=UnsupportedFormat)
    yield _root(75, "cut", encode_root(_sound_root(cut="rabin:1:2:3")), error=UnsupportedFormat)


def _contradictory_roots() -> Iterator[HostileManifest]:
    sound = _sound_root()
    row = sound.blocks[0]
    replace = msgspec.structs.replace
    other = PackRow(b"\x01" * 20, 1 << 20, 81, 0)
    stored = StoredChunk(0, 0, 64, 100, _DIGEST)
    roots = {
        "counts": replace(sound, counts=Counts(files=2)),
        "content-digest": replace(sound, content_digest=_DIGEST),
        "no-content-but-blocks": replace(sound, content_digest=NO_CONTENT),
        "packs-unsorted": replace(sound, packs=(_PACK, other)),
        "pack-twice": replace(sound, packs=(_PACK, _PACK)),
        "pack-used-beyond-its-size": replace(sound, packs=(PackRow(_PACK.pack, 100, 10, 101),)),
        "block-in-no-pack": replace(sound, blocks=(replace(row, stored=stored),)),
        "block-beyond-the-inline-bytes": replace(sound, inline=sound.inline[:-1]),
        "used-without-holder": replace(sound, packs=(_PACK,), blocks=(replace(row, stored=stored, used=()),)),
        "used-out-of-range": replace(sound, blocks=(replace(row, used=((0, 1),)),)),
        "base-tx": replace(sound, base_tx="../../../../etc/passwd"),
        "target": replace(sound, target="name\x1b[2J"),
        "done-run": replace(sound, done_run=-2),
        "entry-count": replace(sound, blocks=(replace(row, entry_count=0),)),
    }
    for name, root in roots.items():
        yield _root(74, f"root-{name}", encode_root(root))


def _sound_root(
    *, counts: Counts | None = None, required_features: tuple[str, ...] = (), cut: str | None = None
) -> Root:
    root = store_rows([file_at(b"a")])
    return msgspec.structs.replace(
        root, counts=counts or root.counts, required_features=required_features, cut=cut or root.cut
    )


def _entries(
    fault: int,
    name: str,
    entries: Sequence[Entry],
    *,
    places: Sequence[EntryPlaces] = (),
    error: type[ArtifactStoreError] = UnsafeManifest,
    in_root: bool = False,
) -> HostileManifest:
    root = store_rows(entries, places, packs=[_PACK])
    return HostileManifest(fault=fault, name=name, data=encode_root(root), error=error, in_root=in_root)


def _outer(entries: bytes, places: bytes) -> bytes:
    return msgspec.msgpack.encode((entries, places))


def _block(fault: int, name: str, raw: bytes) -> HostileManifest:
    """A root whose one block is ``raw``, with all digests as they should be."""
    sound = _sound_root()
    try:
        content = entries_digest(msgspec.msgpack.decode(raw)[0])
    except (ValueError, TypeError, RecursionError):
        content = entries_digest(raw)
    stored = StoredChunk(-1, 0, 0, len(raw), digest_of(BLOCK_CONTEXT, raw))
    root = msgspec.structs.replace(
        sound,
        blocks=(BlockRow(b"a", 1, content, stored, ()),),
        content_digest=content_digest(sound.cut, [(content, 1)]),
        inline=raw[: 64 << 10],
    )
    # What no inline block can hold would have to lie in a pack: such a root is refused at its index.
    return HostileManifest(
        fault=fault, name=name, data=encode_root(root), error=CorruptData, in_root=len(raw) > 64 << 10
    )


def _root(fault: int, name: str, data: bytes, *, error: type[ArtifactStoreError] = CorruptData) -> HostileManifest:
    return HostileManifest(fault=fault, name=name, data=data, error=error, in_root=True)


def _object(document: bytes) -> bytes:
    return _HEADER.pack(b"ASTROOT\x01", 0, len(document)) + document
