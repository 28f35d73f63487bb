"""Which entries have to go. Pure: facts in, names out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_AHEAD_NS: Final = 3600 * 10**9
MAX_PART: Final = 8
"""Beyond what is needed now, at most one in this many of the entries looked at goes."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry that was looked at."""

    shard: int
    name: str
    charge_bytes: int
    used_ns: int


def choose_victims(found: Sequence[Candidate], *, needed_bytes: int, batch_bytes: int, now_ns: int) -> list[Candidate]:
    """The least recently used ones.

    Args:
        found: In any order.
        needed_bytes: What has to be freed at least, where there is so much.
        batch_bytes: What to free if that takes few of them: it spares looking again for each entry that comes.
        now_ns: An entry used more than an hour after it has a time that a wrong clock wrote, and goes first.
    """
    latest = now_ns + _AHEAD_NS
    oldest_first = sorted(found, key=lambda each: each.used_ns if each.used_ns <= latest else 0)
    victims: list[Candidate] = []
    freed = 0
    for each in oldest_first:
        is_enough = freed >= batch_bytes or len(victims) * MAX_PART >= len(found)
        if freed >= needed_bytes and is_enough:
            break
        victims.append(each)
        freed += each.charge_bytes
    return victims
