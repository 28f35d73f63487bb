"""The doctor: a sound storage is called sound, and each way of being unsound is found."""

from collections.abc import Iterator

import pytest

from artifactstore.backend.doctor import Advice, DoctorReport, Verdict, run_doctor
from artifactstore.backend.memory import MemoryBackend
from artifactstore.backend.proof import prove_put_if_absent
from artifactstore.backend.protocol import Backend, CommonPrefix, ObjectInfo
from artifactstore.backend.wrappers.fault import (
    ErrorAfter,
    ErrorBefore,
    Fault,
    FaultBackend,
    WrongBody,
    permission_denied,
)
from artifactstore.backend.wrappers.forward import ForwardingBackend
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.digest import Buffer
from artifactstore.errors import ObjectNotFound, StoreNotFound, StoreReadOnly
from artifactstore.testing.clock import VirtualClock

LARGE = 2 << 20


def examine(backend: Backend) -> DoctorReport:
    return run_doctor(backend, SYSTEM_CLOCK, large_body_bytes=LARGE)


def verdict(report: DoctorReport, probe: str) -> Verdict:
    [found] = [finding for finding in report.findings if finding.probe == probe]
    return found.verdict


def test_a_sound_storage_takes_many_writers() -> None:
    backend = MemoryBackend()
    backend.put("store.json", b"{}")
    report = examine(backend)
    assert report.advice is Advice.MANY_WRITERS
    assert report.is_sound
    assert {finding.verdict for finding in report.findings} <= {Verdict.GOOD, Verdict.NOTE}
    assert report.speeds.upload_bytes_per_second
    assert report.speeds.read_seconds is not None
    assert [info.key for info in backend.list("")] == ["store.json"], "and nothing of the visit is left"


def test_probes_are_announced_in_order() -> None:
    announced: list[str] = []
    report = run_doctor(MemoryBackend(), SYSTEM_CLOCK, large_body_bytes=LARGE, on_probe=announced.append)
    assert [name for name in announced if name != "upload check"][:3] == [f.probe for f in report.findings][:3]
    assert announced[-1] == "delete"


class IgnoresConditions(ForwardingBackend):
    """Takes every conditional write and overwrites, as `rclone serve s3` does."""

    def put_if_absent(self, key: str, body: Buffer) -> None:
        self._inner.delete(key)
        self._inner.put(key, body)


def test_ignored_conditions_are_found_out() -> None:
    """Fault 31."""
    report = examine(IgnoresConditions(MemoryBackend()))
    assert verdict(report, "put if absent") is Verdict.BAD
    assert report.advice is Advice.SINGLE_WRITER
    assert "--single-writer" in report.advice_text


def test_a_server_that_stumbles_in_the_race_is_not_judged_by_that() -> None:
    """A reply that is lost may be the winner's."""
    for action in (ErrorBefore(), ErrorAfter()):
        backend = FaultBackend(MemoryBackend(), faults=[Fault(verb="put_if_absent", nth=1, times=3, action=action)])
        assert prove_put_if_absent(backend, SYSTEM_CLOCK)


def test_ignored_conditions_are_found_out_even_when_the_server_stumbles() -> None:
    """Fault 31: as rclone does under sixteen writers."""
    backend = FaultBackend(
        IgnoresConditions(MemoryBackend()), faults=[Fault(verb="put_if_absent", nth=5, times=3, action=ErrorBefore())]
    )
    assert not prove_put_if_absent(backend, SYSTEM_CLOCK)


def test_a_storage_that_does_not_promise_it_is_believed() -> None:
    report = examine(MemoryBackend(has_put_if_absent=False))
    assert report.advice is Advice.SINGLE_WRITER


class RemembersListings(ForwardingBackend):
    """Lists what it listed before: a cache that nobody asked for (fault 95)."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._seen: dict[str, list[ObjectInfo]] = {}

    def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None) -> Iterator[ObjectInfo]:
        if prefix not in self._seen:
            self._seen[prefix] = list(self._inner.list(prefix))
        yield from (info for info in self._seen[prefix] if info.key > start_after)


class RemembersAbsence(ForwardingBackend):
    """Goes on saying "not there" of what it once said it of."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._absent: set[str] = set()

    def head(self, key: str) -> ObjectInfo:
        if key in self._absent:
            raise ObjectNotFound(key)
        try:
            return self._inner.head(key)
        except ObjectNotFound:
            self._absent.add(key)
            raise


@pytest.mark.parametrize("kind", [RemembersListings, RemembersAbsence])
def test_old_states_are_found_out(kind: type[ForwardingBackend]) -> None:
    """Faults 95 and 96."""
    report = examine(kind(MemoryBackend()))
    assert verdict(report, "seen at once") is Verdict.BAD
    assert report.advice is Advice.NONE


class UnsortedListings(ForwardingBackend):
    def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None) -> Iterator[ObjectInfo]:
        return reversed(list(self._inner.list(prefix, start_after=start_after)))


class FlatLevels(ForwardingBackend):
    def list_level(self, prefix: str) -> Iterator[ObjectInfo | CommonPrefix]:
        return self._inner.list(prefix)


class FirstPageOnly(ForwardingBackend):
    def list(self, prefix: str, *, start_after: str = "", page_size: int | None = None) -> Iterator[ObjectInfo]:
        for number, info in enumerate(self._inner.list(prefix, start_after=start_after)):
            if number < (page_size or 1000):
                yield info


@pytest.mark.parametrize("kind", [UnsortedListings, FlatLevels, FirstPageOnly])
def test_listings_that_lie_are_found_out(kind: type[ForwardingBackend]) -> None:
    assert verdict(examine(kind(MemoryBackend())), "listing") is Verdict.BAD


class ShortRanges(ForwardingBackend):
    def get_range(self, key: str, start: int, length: int) -> Buffer:
        return self._inner.get(key)[start : start + length]


class WholeRanges(ForwardingBackend):
    def get_range(self, key: str, start: int, length: int) -> Buffer:
        return self._inner.get(key)


@pytest.mark.parametrize("kind", [ShortRanges, WholeRanges])
def test_ranges_that_are_not_what_was_asked_for_are_found_out(kind: type[ForwardingBackend]) -> None:
    report = examine(kind(MemoryBackend()))
    assert verdict(report, "ranges") is Verdict.BAD
    assert report.advice is Advice.NONE


def test_a_large_body_that_changes_is_found_out() -> None:
    backend = FaultBackend(MemoryBackend(), faults=[Fault(verb="get", key="*/large", action=WrongBody())])
    assert verdict(examine(backend), "large body") is Verdict.BAD


class OddClock(ForwardingBackend):
    skew_seconds = 3600.0

    def head(self, key: str) -> ObjectInfo:
        info = self._inner.head(key)
        return ObjectInfo(key=key, size_bytes=info.size_bytes, modified=info.modified + self.skew_seconds)


def test_a_clock_that_is_wrong_is_reported_and_does_no_harm() -> None:
    """Fault 21: more than five minutes are worth a word, and nothing depends on them."""
    report = examine(OddClock(MemoryBackend()))
    assert verdict(report, "clock") is Verdict.WARNING
    assert report.skew_seconds == pytest.approx(3600, abs=5)
    assert report.advice is Advice.MANY_WRITERS


def test_without_the_right_to_write_reading_is_what_is_left() -> None:
    backend = FaultBackend(MemoryBackend(), faults=[
        Fault(verb=verb, times=None, action=ErrorBefore(permission_denied)) for verb in ("put*", "delete")
    ])  # fmt: skip
    report = examine(backend)
    assert report.advice is Advice.READ_ONLY
    assert not report.is_sound


def test_what_is_mounted_read_only_can_be_read() -> None:
    class Mounted(ForwardingBackend):
        def put(self, key: str, body: Buffer) -> None:
            raise StoreReadOnly("read-only file system", where=key)

        put_if_absent = put

    report = examine(Mounted(MemoryBackend()))
    assert report.advice is Advice.READ_ONLY
    assert [finding.probe for finding in report.findings] == ["write and read", "clock"]


def test_a_bucket_that_is_not_there_is_said_once() -> None:
    class Absent(ForwardingBackend):
        def put(self, key: str, body: Buffer) -> None:
            raise StoreNotFound("there is no such bucket", where=key)

    report = examine(Absent(MemoryBackend()))
    assert report.advice is Advice.NONE
    assert [finding.text for finding in report.findings] == ["Failed: there is no such bucket."]


def test_without_any_right_there_is_nothing() -> None:
    backend = FaultBackend(MemoryBackend(), faults=[Fault(times=None, action=ErrorBefore(permission_denied))])
    assert examine(backend).advice is Advice.NONE


def test_without_the_right_to_delete_one_writer_is_what_could_be_proved() -> None:
    fault = Fault(verb="delete", times=None, action=ErrorBefore(permission_denied))
    report = examine(FaultBackend(MemoryBackend(), faults=[fault]))
    assert report.advice is Advice.SINGLE_WRITER
    assert verdict(report, "delete") is Verdict.WARNING


@pytest.mark.parametrize("nth", range(1, 400, 23))
def test_a_request_that_fails_is_a_finding_and_no_traceback(nth: int) -> None:
    inner = MemoryBackend()
    backend = FaultBackend(inner, faults=[Fault(nth=nth, action=ErrorBefore())])
    report = examine(backend)
    if any(hit.verb != "put_if_absent" for hit in backend.hits):  # in a race, one of sixteen may fail
        assert any(finding.verdict is Verdict.BAD for finding in report.findings)
        assert report.advice is not Advice.MANY_WRITERS


class NoticesDamage(ForwardingBackend):
    notices = True

    def checks_uploads(self, key: str) -> bool:
        return self.notices


@pytest.mark.parametrize("notices", [True, False])
def test_whether_uploads_are_checked_is_asked_below_all_wrappers(*, notices: bool) -> None:
    inner = NoticesDamage(MemoryBackend())
    inner.notices = notices
    report = examine(ForwardingBackend(inner))
    assert verdict(report, "upload check") is (Verdict.GOOD if notices else Verdict.NOTE)
    assert report.advice is Advice.MANY_WRITERS


def test_a_stopped_clock_divides_by_nothing() -> None:
    clock = VirtualClock()
    report = run_doctor(MemoryBackend(clock=clock), clock, large_body_bytes=LARGE)
    assert report.is_sound
