"""Hypothesis strategies for manifests: sound paths, entries, places, blocks, whole states.

Everything they draw is sound: readers take it, and a round trip gives it back. For the
other kind see `artifactstore.testing.hostile_manifests`.
"""

from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from artifactstore.manifest.model import (
    HOLE,
    MAX_CHUNK_BYTES,
    MAX_SIZE_BYTES,
    NO_PLACES,
    Block,
    Entry,
    EntryKind,
    EntryPlaces,
    Extent,
    ReferenceTarget,
    StoredChunk,
)
from artifactstore.manifest.paths import path_sort_key, unsafe_reason
from artifactstore.pack.format import HEADER_BYTES

PACKS: Final = 5
"""How many packs the places of a drawn block may name."""

digests: Final = st.binary(min_size=32, max_size=32)
xxh3s: Final = st.binary(min_size=16, max_size=16)

# Few letters, so that paths share prefixes and differ in what sorts oddly: bytes below and above `/`.
_letters = st.sampled_from([b"a", b"b", b"A", b"-", b".", b" ", b"\x01", b"\n", b"\\", b"\xff", b"\xc3\xa9", b"~"])
components: Final[SearchStrategy[bytes]] = st.one_of(
    st.lists(_letters, min_size=1, max_size=4).map(b"".join),
    st.binary(min_size=1, max_size=8),
    st.integers(1, 255).map(lambda length: b"x" * length),
).filter(lambda part: unsafe_reason(part) is None and b"/" not in part)

paths: Final[SearchStrategy[bytes]] = st.lists(components, min_size=1, max_size=5).map(b"/".join)

# A fixed alphabet: hypothesis takes seconds to prepare all of Unicode, for nothing that matters here.
_text = st.text("az09-_./%+é漢𝄞", max_size=8)


@st.composite
def references(draw: DrawFn) -> ReferenceTarget:
    """Where a reference entry points."""
    return ReferenceTarget(
        uri="s3://bucket/" + draw(_text),
        size_bytes=draw(st.none() | st.integers(0, MAX_SIZE_BYTES)),
        etag=draw(_text),
        version_id=draw(_text),
        digest=draw(st.just(b"") | digests),
    )


@st.composite
def entries_at(draw: DrawFn, path: bytes, kinds: SearchStrategy[EntryKind]) -> Entry:
    """An entry of some kind at ``path``."""
    kind = draw(kinds)
    if kind == EntryKind.FILE:
        sizes = st.one_of(st.integers(0, 3), st.integers(0, 1 << 20), st.integers(0, MAX_SIZE_BYTES))
        return Entry(path, kind, draw(sizes), draw(st.booleans()), draw(digests), draw(xxh3s))
    if kind == EntryKind.LINK:
        target = draw(st.binary(min_size=1, max_size=20).filter(lambda b: b"\0" not in b))
        return Entry(path, kind, target=target)
    if kind == EntryKind.REFERENCE:
        return Entry(path, kind, reference=draw(references()))
    return Entry(path, kind)


kinds_of_entries: Final[SearchStrategy[EntryKind]] = st.sampled_from(EntryKind)


@st.composite
def states(draw: DrawFn, max_size: int = 30, kinds: SearchStrategy[EntryKind] = kinds_of_entries) -> list[Entry]:
    """All entries of a directory state: sorted, no path twice, nothing below an entry."""
    drawn = sorted(draw(st.sets(paths, max_size=max_size)), key=path_sort_key)
    kept: list[bytes] = []
    for path in drawn:
        if not kept or not path.startswith(kept[-1] + b"/"):
            kept.append(path)
    return [draw(entries_at(path, kinds)) for path in kept]


@st.composite
def places_of(draw: DrawFn, entry: Entry) -> EntryPlaces:
    """Places that a file of this size can have; `NO_PLACES` for all others."""
    if entry.kind != EntryKind.FILE or not entry.size:
        return NO_PLACES
    if draw(st.integers(0, 9)) == 0:
        return EntryPlaces(lists=(draw(stored_chunks()),))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, entry.size - 1)), max_size=4))) if entry.size > 1 else []
    ends = [*cuts, entry.size]
    return EntryPlaces(tuple(draw(extents_of(end - start)) for start, end in zip([0, *ends], ends, strict=False)))


@st.composite
def extents_of(draw: DrawFn, content_length: int) -> Extent:
    """An extent of ``content_length`` bytes: of a pack where one can hold it, else a hole."""
    least = -(-content_length // MAX_CHUNK_BYTES)
    if least > 1000 or draw(st.integers(0, 4)) == 0:
        # One chunk length that divides it; 1 always does.
        length = next(n for n in (65_536, 4096, 7, 1) if content_length % n == 0)
        return Extent(HOLE, 0, content_length // length, length, 0, content_length)
    count = draw(st.integers(least, min(content_length, least + 50)))
    stored = draw(st.integers(count * 10, count * 10 + (1 << 20)))
    offset = draw(st.integers(HEADER_BYTES, 1 << 20))
    first = draw(st.integers(0, 60_000))
    return Extent(draw(st.integers(0, PACKS - 1)), first, count, offset, stored, content_length)


@st.composite
def stored_chunks(draw: DrawFn) -> StoredChunk:
    """Where a metadata chunk lies in a pack."""
    pack, chunk = draw(st.integers(0, PACKS - 1)), draw(st.integers(0, 65_535))
    offset, stored_length = draw(st.integers(HEADER_BYTES, 1 << 25)), draw(st.integers(10, 1 << 22))
    return StoredChunk(pack, chunk, offset, stored_length, draw(digests))


pack_lists: Final = st.lists(st.binary(min_size=20, max_size=20), min_size=PACKS, max_size=PACKS, unique=True).map(
    tuple
)


@st.composite
def blocks(draw: DrawFn) -> Block:
    """A sound block of some entries."""
    entries = draw(states().filter(bool))
    places = tuple(draw(places_of(entry)) for entry in entries)
    return Block(entries=tuple(entries), places=places, packs=draw(pack_lists))
