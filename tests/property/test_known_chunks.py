"""`KnownChunks` against a dictionary."""

from hypothesis import given
from hypothesis import strategies as st

from artifactstore.dedup.known import MAX_BYTES_PER_CHUNK, KnownChunks
from artifactstore.digest import DIGEST_BYTES, Digest

# Few different first bytes: nearly every slot collides.
DIGESTS = st.builds(
    lambda start, end: Digest(start.ljust(8, b"\0") + bytes(DIGEST_BYTES - 9) + end),
    st.binary(max_size=2),
    st.binary(min_size=1, max_size=1),
)
STEPS = st.lists(st.one_of(DIGESTS, st.lists(DIGESTS, unique=True, max_size=40)), max_size=30)


class Digests:
    def __init__(self, each: list[Digest]) -> None:
        self._each = each

    def digests(self) -> bytes:
        return b"".join(self._each)


@given(steps=STEPS, others=st.lists(DIGESTS), capacity=st.sampled_from([10, 100, 10**6]))
def test_it_behaves_as_a_bounded_dictionary(
    steps: list[Digest | list[Digest]], others: list[Digest], capacity: int
) -> None:
    known = KnownChunks(budget_bytes=capacity * MAX_BYTES_PER_CHUNK)
    model: dict[bytes, tuple[int, int]] = {}
    used = 0
    for number, step in enumerate(steps):
        if isinstance(step, bytes):
            if step not in model and used < capacity:
                model[step] = number, 3
                used += 1
            assert known.add(Digest(step), number, 3) == (step in model)
            continue
        fitting = step[: capacity - used]
        used += len(fitting)
        for chunk, digest in enumerate(fitting):
            model.setdefault(digest, (number, chunk))
        assert known.add_table(number, Digests(step)) == len(fitting)
    assert len(known) == used
    for digest in [*model, *others]:
        assert known.lookup(digest) == model.get(digest)
