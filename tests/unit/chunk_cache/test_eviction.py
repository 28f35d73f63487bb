"""Which entries have to go."""

from collections.abc import Sequence

from artifactstore.chunk_cache.eviction import Candidate, choose_victims

SECOND = 10**9
NOW = 1_000_000 * SECOND


def used_at(*seconds: int) -> list[Candidate]:
    return [Candidate(shard=0, name=str(second), charge_bytes=100, used_ns=NOW + second * SECOND) for second in seconds]


def names(victims: Sequence[Candidate]) -> list[str]:
    return [victim.name for victim in victims]


def choose(found: list[Candidate], needed: int, batch: int = 0) -> list[str]:
    return names(choose_victims(found, needed_bytes=needed, batch_bytes=batch, now_ns=NOW))


def test_the_oldest_go_and_no_more_than_needed() -> None:
    assert choose(used_at(-1, -5, -3, -2), 150) == ["-5", "-3"]
    assert choose(used_at(-1, -5), 100) == ["-5"]
    assert choose(used_at(-1, -5), 0) == []


def test_where_there_is_too_little_all_of_it_goes() -> None:
    assert choose(used_at(-1, -5), 1000) == ["-5", "-1"]
    assert choose([], 1000) == []


def test_a_batch_goes_beyond_what_is_needed_but_takes_few_of_those_looked_at() -> None:
    many = used_at(*range(-100, 0))
    assert choose(many, 100, 500) == ["-100", "-99", "-98", "-97", "-96"]
    assert len(choose(many, 100, 100_000)) == 13
    assert len(choose(many, 2000, 100_000)) == 20


def test_a_time_that_a_wrong_clock_wrote_goes_first() -> None:
    assert choose(used_at(-100, 86_400 * 365, 60), 100) == [str(86_400 * 365)]
    assert choose(used_at(-100, 60), 100) == ["-100"]
