"""What completion shows of `t9k.em`."""

from artifactstore.compat.t9k import em


def test_only_what_is_offered_is_shown() -> None:
    assert dir(em) == sorted(em.__all__)
