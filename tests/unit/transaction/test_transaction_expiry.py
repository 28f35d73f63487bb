"""Time-to-live: parsed in one place, refused by readers, never by those who look after versions."""

import datetime
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.backend.memory import MemoryBackend
from artifactstore.errors import CorruptData, InvalidMetadata, VersionDeleted, VersionExpired
from artifactstore.keys import NameKeys
from artifactstore.names import Alias, Content, Latest, Name, Slot, VersionSelector
from artifactstore.testing.clock import VirtualClock
from artifactstore.testing.uploader import push
from artifactstore.transaction.aliases import move_alias
from artifactstore.transaction.edits import VersionEdit, edit_version
from artifactstore.transaction.expiry import MAX_TTL_SECONDS, Ttl, expiry_after, parse_ttl
from artifactstore.transaction.resolve import open_version, resolve
from artifactstore.transaction.versions import Version, remove_version

NAME = Name("m")
DAY = 86400.0


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.memory = MemoryBackend(clock=self.clock)

    def push(self, text: str, ttl: Ttl = "never") -> Version:
        version = push(self.memory, self.clock, NAME.text, {b"file": text.encode()}).version
        return edit_version(self.memory, self.clock, version, VersionEdit(ttl=ttl))

    def opened(self, selector: VersionSelector, *, pooled: bool = False) -> int:
        with ThreadPoolExecutor(1) as pool:
            version, _ = open_version(
                self.memory, NAME, selector, pool=pool if pooled else None, readable_at=self.clock.now()
            )
        return version.slot


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        ("30d", 30 * DAY),
        ("12h", 12 * 3600.0),
        ("90m", 5400.0),
        ("45s", 45.0),
        ("2w", 14 * DAY),
        ("never", None),
        (90, 90.0),
        (0.5, 0.5),
        (datetime.timedelta(days=1, hours=1), 25 * 3600.0),
        ("365000d", MAX_TTL_SECONDS),
    ],
)
def test_time_to_live_is_text_seconds_or_timedelta(ttl: Ttl, seconds: float | None) -> None:
    assert parse_ttl(ttl) == seconds


@pytest.mark.parametrize(
    "ttl",
    [
        "", "30", "d", "30 d", "-1d", "1.5h", "1d12h", "30D", "٣d", "0d", "forever", "365001d", "9" * 12 + "w",
        0, -1, math.nan, math.inf, 1e300, True, None, b"30d", datetime.timedelta(0), datetime.timedelta(seconds=-1),
    ],
    ids=repr,
)  # fmt: skip
def test_anything_else_is_no_time_to_live(ttl) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidMetadata):
        parse_ttl(ttl)


@given(st.text())
def test_any_text_is_a_time_to_live_or_refused(text: str) -> None:
    try:
        seconds = parse_ttl(text)
    except InvalidMetadata:
        return
    assert seconds is None or 0 < seconds <= MAX_TTL_SECONDS


def test_the_longest_time_to_live_can_be_written_down(world: World) -> None:
    assert expiry_after(world.clock, MAX_TTL_SECONDS).startswith("30")


@pytest.mark.parametrize("pooled", [False, True])
def test_a_version_is_refused_from_its_time_on(world: World, pooled: bool) -> None:
    version = world.push("1", "1d")
    world.clock.advance(DAY - 1)
    assert world.opened(Latest(), pooled=pooled) == 1
    world.clock.advance(1)
    with pytest.raises(VersionExpired) as caught:
        world.opened(Latest(), pooled=pooled)
    assert (caught.value.version, caught.value.expires) == ("m:v1", version.notes.expires)
    assert "--expired" in str(caught.value)


def test_those_who_look_after_versions_see_expired_ones(world: World) -> None:
    version = world.push("1", 1)
    world.clock.advance(2)
    assert resolve(world.memory, NAME, Latest()) == version
    assert open_version(world.memory, NAME, Latest())[0] == version
    edit_version(world.memory, world.clock, version, VersionEdit(ttl="never"))
    assert world.opened(Latest()) == 1


def test_latest_is_refused_and_never_an_older_version(world: World) -> None:
    world.push("1")
    newest = world.push("2", "1h")
    move_alias(world.memory, world.clock, "prod", to=newest)
    world.clock.advance(3600)
    for selector in (Latest(), Slot(2), Alias("prod")):
        with pytest.raises(VersionExpired, match="m:v2"):
            world.opened(selector)
    assert world.opened(Slot(1)) == 1


def test_of_versions_with_one_content_any_that_has_not_expired_will_do(world: World) -> None:
    first = world.push("same")
    world.push("other")
    third = world.push("same", "1h")
    content = Content(first.record.content_digest)
    assert third.record.content == first.record.content
    assert world.opened(content) == 3
    world.clock.advance(3600)
    assert world.opened(content) == 1
    edit_version(world.memory, world.clock, first, VersionEdit(ttl=1))
    world.clock.advance(1)
    with pytest.raises(VersionExpired, match="m:v3"):
        world.opened(content)


def test_a_deleted_version_is_deleted_and_not_expired(world: World) -> None:
    version = world.push("1", 1)
    world.clock.advance(2)
    remove_version(world.memory, world.clock, version)
    with pytest.raises(VersionDeleted):
        world.opened(Slot(1))


@pytest.mark.parametrize("expires", ["soon", "2026-01-31T08:00:00", "2026-13-01T00:00:00Z"])
def test_a_time_that_cannot_be_read_is_damage_and_not_never(world: World, expires: str) -> None:
    version = world.push("1", "1d")
    key = NameKeys(NAME).edit(1, 1)
    body = bytes(world.memory.get(key))
    world.memory.overwrite(key, body.replace(version.notes.expires.encode(), expires.encode()))
    with pytest.raises(CorruptData):
        world.opened(Latest())
