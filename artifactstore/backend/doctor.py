"""What a storage can be relied on for, found out by trying.

Probes write below `doctor/<random>/` and remove everything again. Each one stands alone: a
probe that fails is a finding, and the next one runs all the same.
"""

import enum
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from artifactstore.backend.proof import WRITERS, folds_case, probe_prefix, prove_put_if_absent
from artifactstore.backend.protocol import Backend, CommonPrefix
from artifactstore.clock import Clock
from artifactstore.errors import (
    ArtifactStoreError,
    CorruptData,
    ObjectNotFound,
    StoreNotFound,
    StorePermissionDenied,
    StoreReadOnly,
)

LARGE_BODY_BYTES: Final = 64 << 20
"""The largest object that a store ever has."""
MAX_SKEW_SECONDS: Final = 300.0
_SAMPLES: Final = 8
_LISTED: Final = 25
_PAGE_SIZE: Final = 10
_RACES: Final = 2  # of several rounds each


class Verdict(enum.Enum):
    """`GOOD`: can be relied on. `NOTE`: worth knowing. `WARNING`: works, at a price. `BAD`: can't hold a store."""

    GOOD = "good"
    NOTE = "note"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one probe: ``probe`` is its short name for scripts, ``text`` one sentence for people."""

    probe: str
    verdict: Verdict
    text: str


class Advice(enum.Enum):
    """What the storage is fit for."""

    MANY_WRITERS = "many"
    SINGLE_WRITER = "single"
    READ_ONLY = "read-only"
    NONE = "none"


ADVICE_TEXT: Final = {
    Advice.MANY_WRITERS: "Any number of writers may use a store here at once.",
    Advice.SINGLE_WRITER: "Only one writer at a time is safe here: `artifactstore --single-writer init URL`.",
    Advice.READ_ONLY: "From here, and with these rights, a store can be read, not written.",
    Advice.NONE: "Do not keep a store here.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """Attributes: medians of small requests in seconds, and one large body in bytes a second. None: not measured."""

    read_seconds: float | None = None
    write_seconds: float | None = None
    upload_bytes_per_second: float | None = None
    download_bytes_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """All findings, in the order of the probes, and what follows from them."""

    url: str
    findings: tuple[Finding, ...]
    advice: Advice
    speeds: Speeds
    skew_seconds: float | None

    @property
    def is_sound(self) -> bool:
        """Whether a store can be kept and written here."""
        return self.advice in (Advice.MANY_WRITERS, Advice.SINGLE_WRITER)

    @property
    def advice_text(self) -> str:
        return ADVICE_TEXT[self.advice]


@runtime_checkable
class ChecksUploads(Protocol):
    """A backend that can find out whether its server would notice a body damaged on the way up."""

    def checks_uploads(self, key: str) -> bool:
        """Leaves nothing under ``key``."""
        ...


def run_doctor(
    backend: Backend,
    clock: Clock,
    *,
    large_body_bytes: int = LARGE_BODY_BYTES,
    on_probe: Callable[[str], None] = lambda probe: None,
) -> DoctorReport:
    """Probe ``backend``.

    Args:
        large_body_bytes: Size of the large body; two of them are moved.
        on_probe: Called with the name of each probe as it begins.

    Returns:
        A report, whatever happens: errors of the storage are findings.
    """
    visit = _Visit(backend, clock, large_body_bytes)
    probes = {
        "write and read": visit.write_and_read,
        "seen at once": visit.seen_at_once,
        "put if absent": visit.put_if_absent,
        "ranges": visit.ranges,
        "listing": visit.listing,
        "large body": visit.large_body,
        "upload check": visit.upload_check,
        "names": visit.names,
        "clock": visit.clock_skew,
        "latency": visit.latency,
        "delete": visit.clean_up,
    }
    for name, probe in probes.items():
        on_probe(name)
        visit.run(name, probe)
    return visit.report()


class _Visit:
    """One run of all probes: its prefix, what it wrote, what it found."""

    def __init__(self, backend: Backend, clock: Clock, large_body_bytes: int) -> None:
        self._backend = backend
        self._clock = clock
        self._large_body_bytes = large_body_bytes
        self._prefix = probe_prefix(clock)
        self._written: list[str] = []
        self._findings: list[Finding] = []
        self._forbidden = False
        self._absent = False
        self._times: dict[str, list[float]] = {"read": [], "write": []}
        self._rates: dict[str, float] = {}
        self._skew: float | None = None

    def run(self, name: str, probe: Callable[[], Iterator[tuple[Verdict, str]]]) -> None:
        if self._absent or (self._forbidden and name not in ("names", "clock")):
            return  # without a bucket, or the right to write, there is nothing more to find out
        try:
            for verdict, text in probe():
                self._findings.append(Finding(probe=name, verdict=verdict, text=text))
        except (StorePermissionDenied, StoreReadOnly) as error:
            # Later ones need the right to delete, which writers do not.
            self._forbidden = self._forbidden or name == "write and read"
            verdict = Verdict.BAD if self._forbidden else Verdict.WARNING
            self._findings.append(Finding(probe=name, verdict=verdict, text=f"Not allowed: {error.what}."))
        except ArtifactStoreError as error:
            self._absent = self._absent or isinstance(error, StoreNotFound)
            self._findings.append(Finding(probe=name, verdict=Verdict.BAD, text=f"Failed: {error.what}."))

    def report(self) -> DoctorReport:
        return DoctorReport(
            url=self._backend.url,
            findings=tuple(self._findings),
            advice=self._advice(),
            speeds=Speeds(
                read_seconds=_median(self._times["read"]),
                write_seconds=_median(self._times["write"]),
                upload_bytes_per_second=self._rates.get("upload"),
                download_bytes_per_second=self._rates.get("download"),
            ),
            skew_seconds=self._skew,
        )

    def _advice(self) -> Advice:
        if self._forbidden:
            can_list = any(found.probe == "clock" and found.verdict is not Verdict.BAD for found in self._findings)
            return Advice.READ_ONLY if can_list else Advice.NONE
        bad = {found.probe for found in self._findings if found.verdict is Verdict.BAD}
        if bad - {"put if absent"}:
            return Advice.NONE
        proved = any(found.probe == "put if absent" and found.verdict is Verdict.GOOD for found in self._findings)
        return Advice.MANY_WRITERS if proved else Advice.SINGLE_WRITER

    # Probes: each yields what it found.

    def write_and_read(self) -> Iterator[tuple[Verdict, str]]:
        body = self._clock.random_bytes(1000)
        key = self._put("first", body)
        if bytes(self._backend.get(key)) == body:
            yield Verdict.GOOD, "What is written is read back."
        else:
            yield Verdict.BAD, "What is written is NOT what is read back."

    def seen_at_once(self) -> Iterator[tuple[Verdict, str]]:
        missed = stale = 0
        for number in range(_SAMPLES):
            key = f"{self._prefix}seen/{number}"
            missed += self._is_there(key)  # a store that remembers "not there" is caught below
            self._put(f"seen/{number}", b"x")
            missed += not self._is_there(key)
            missed += key not in [info.key for info in self._backend.list(f"{self._prefix}seen/")]
            self._backend.delete(key)
            stale += self._is_there(key)
            stale += key in [info.key for info in self._backend.list(f"{self._prefix}seen/")]
        if missed:
            yield Verdict.BAD, f"Objects just written were missed {missed} times: this storage shows old states."
        elif stale:
            yield Verdict.BAD, f"Objects just deleted were still shown {stale} times: this storage shows old states."
        else:
            yield Verdict.GOOD, "Reads and listings see every write and delete at once."

    def put_if_absent(self) -> Iterator[tuple[Verdict, str]]:
        if not self._backend.has_put_if_absent:
            yield Verdict.BAD, "There is no atomic put-if-absent: two writers could take the same version number."
        elif all(prove_put_if_absent(self._backend, self._clock) for _ in range(_RACES)):
            yield Verdict.GOOD, f"Of {WRITERS} writers racing for a key exactly one wins, in every round."
        else:
            yield Verdict.BAD, "Conditional writes are accepted and NOT obeyed: several writers won the same key."

    def ranges(self) -> Iterator[tuple[Verdict, str]]:
        body = self._clock.random_bytes(10_000)
        key = self._put("ranges", body)
        for start, length in ((0, 1), (0, 10_000), (1234, 4321), (9_999, 1)):
            if bytes(self._backend.get_range(key, start, length)) != body[start : start + length]:
                yield Verdict.BAD, "A read of a part returns other bytes."
                return
        try:
            self._backend.get_range(key, 9_990, 20)
        except CorruptData:
            yield Verdict.GOOD, "Reads of a part return exactly that part."
        else:
            yield Verdict.BAD, "A read past the end of an object is not noticed."

    def listing(self) -> Iterator[tuple[Verdict, str]]:
        names = [f"list/{number:02}{'-é+%'[number % 4]}" for number in range(_LISTED)]
        keys = sorted(self._put(name, b"x") for name in names)
        prefix = f"{self._prefix}list/"
        whole = [info.key for info in self._backend.list(prefix, page_size=_PAGE_SIZE)]
        rest = [info.key for info in self._backend.list(prefix, start_after=keys[12], page_size=_PAGE_SIZE)]
        level = [item.prefix for item in self._backend.list_level(self._prefix) if isinstance(item, CommonPrefix)]
        if whole == keys and rest == keys[13:] and prefix in level:
            yield Verdict.GOOD, "Listings are complete, in order, page after page."
        else:
            yield Verdict.BAD, f"A listing of {len(keys)} objects came back with {len(whole)}, or out of order."

    def large_body(self) -> Iterator[tuple[Verdict, str]]:
        piece = self._clock.random_bytes(min(1 << 20, self._large_body_bytes))
        body = piece * (self._large_body_bytes // len(piece))
        begun = self._clock.monotonic()
        key = self._put("large", body)
        written = self._clock.monotonic()
        same = self._backend.get(key) == body
        read = self._clock.monotonic()
        self._rates = {
            "upload": len(body) / max(written - begun, 1e-9),
            "download": len(body) / max(read - written, 1e-9),
        }
        if same:
            yield Verdict.GOOD, f"Objects of {len(body) >> 20} MiB, the largest there are, come back whole."
        else:
            yield Verdict.BAD, f"An object of {len(body) >> 20} MiB came back with other bytes."

    def upload_check(self) -> Iterator[tuple[Verdict, str]]:
        probe = _uploads_checker(self._backend)
        if probe is None:
            return
        if probe.checks_uploads(f"{self._prefix}check"):
            yield Verdict.GOOD, "The server refuses uploads that were damaged on their way."
        else:
            yield (
                Verdict.NOTE,
                "The server ignores the checksum of large uploads: damage on the way up would be found by the next "
                "read only. `upload_check=sha256` in the URL prevents it, at some cost of speed (docs/s3.md).",
            )

    def names(self) -> Iterator[tuple[Verdict, str]]:
        if not self._forbidden and folds_case(self._backend, self._clock):
            yield Verdict.NOTE, "Names that differ only in case are one name here."

    def clock_skew(self) -> Iterator[tuple[Verdict, str]]:
        if self._forbidden:
            next(self._backend.list(self._prefix), None)
            yield Verdict.NOTE, "Objects can be listed."
            return
        before = self._clock.now()
        info = self._backend.head(self._put("clock", b"x"))
        after = self._clock.now()
        # Timestamps may be cut to whole seconds: a second is no skew.
        skew = info.modified - (before + after) / 2
        self._skew = 0.0 if before - 1 <= info.modified <= after + 1 else skew
        if abs(self._skew) > MAX_SKEW_SECONDS:
            ahead = "ahead of" if skew > 0 else "behind"
            yield (
                Verdict.WARNING,
                f"The storage's clock is {abs(skew):.0f} s {ahead} this machine's. Nothing depends on it but ages "
                "shown to people; S3 refuses signatures when they differ by 15 minutes.",
            )
        else:
            yield Verdict.GOOD, "The storage's clock agrees with this machine's."

    def latency(self) -> Iterator[tuple[Verdict, str]]:
        for number in range(_SAMPLES):
            begun = self._clock.monotonic()
            key = self._put(f"latency/{number}", b"x" * 500)
            written = self._clock.monotonic()
            self._backend.get(key)
            self._times["write"].append(written - begun)
            self._times["read"].append(self._clock.monotonic() - written)
        read, write = (statistics.median(self._times[kind]) * 1000 for kind in ("read", "write"))
        up, down = (self._rates.get(way, 0.0) / (1 << 20) for way in ("upload", "download"))
        yield (
            Verdict.NOTE,
            f"A small read takes {read:.1f} ms, a small write {write:.1f} ms; "
            f"one connection moves {up:.0f} MiB/s up and {down:.0f} MiB/s down.",
        )

    def clean_up(self) -> Iterator[tuple[Verdict, str]]:
        listed = [info.key for info in self._backend.list(self._prefix)]
        for key in sorted({*self._written, *listed}):
            self._backend.delete(key)
        left = sum(1 for _ in self._backend.list(self._prefix))
        if left:
            yield Verdict.BAD, f"{left} objects below {self._prefix} could not be removed."
        else:
            yield Verdict.GOOD, "Everything that was written for this has been removed."

    def _put(self, name: str, body: bytes) -> str:
        key = self._prefix + name
        self._written.append(key)
        self._backend.put(key, body)
        return key

    def _is_there(self, key: str) -> bool:
        try:
            self._backend.head(key)
        except ObjectNotFound:
            return False
        return True


def _uploads_checker(backend: Backend) -> ChecksUploads | None:
    """The backend below all wrappers, if it can tell."""
    current: object = backend
    while current is not None and not isinstance(current, ChecksUploads):
        current = getattr(current, "inner", None)
    return current


def _median(times: list[float]) -> float | None:
    return statistics.median(times) if times else None
