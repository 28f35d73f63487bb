"""Which snapshots of a job's key are kept, and for how long.

    jobs/<job>/retention-<key>/<k>   RetentionRecord   the k-th rule; the newest counts

A rule is applied after each upload, and by `apply_retention`: what no part of it keeps gets a
tombstone. It never takes the newest snapshot, the newest with anything in it, nor one that an alias points to: a
directory that was emptied by mistake must not cost what it held. A snapshot that another
job began with may go: what that job uploads has all it needs by itself, and what it is reading right
now stays readable for the grace of the collection, a day at least (docs/background.md).
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

import msgspec

from artifactstore.catalog import Catalog
from artifactstore.clock import timestamp
from artifactstore.errors import ArtifactStoreError, TransientBackendError
from artifactstore.jobs.snapshots import DIRECTORY
from artifactstore.keys import JobKeys, counted, parse_counted
from artifactstore.names import JobName, encode_job_text, job_name
from artifactstore.store import Store
from artifactstore.transaction.aliases import list_aliases
from artifactstore.transaction.conditional import Backoff, Won, put_once
from artifactstore.transaction.expiry import Ttl, parse_ttl
from artifactstore.transaction.records import (
    Record,
    decode_record,
    encode_record,
    fresh_nonce,
    parse_timestamp,
)
from artifactstore.transaction.versions import (
    SlotState,
    Version,
    list_slots,
    read_ahead,
    read_version,
    remove_version,
)
from artifactstore.transfer.provenance import author

_log = logging.getLogger(__name__)
_SHORT_PAGE: Final = 10
_DECIDING_SECONDS: Final = 60.0
_REASON: Final = "retention"
_READ_AHEAD: Final = 8
_YOUNG_AT_LAST: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRule:
    """What is kept: a snapshot stays as long as one of the two keeps it. Without either, all stay.

    Attributes:
        last: The newest so many.
        max_age_seconds: Those that are younger, by the uploaders' clocks.

    Raises:
        ValueError: Not above zero.
    """

    last: int | None = None
    max_age_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.last is not None and self.last < 1:
            raise ValueError(f"the last {self.last} snapshots can't be kept: at least the newest one is")
        if self.max_age_seconds is not None and not self.max_age_seconds > 0:
            raise ValueError(f"no age: {self.max_age_seconds}")

    @property
    def keeps_all(self) -> bool:
        return self.last is None and self.max_age_seconds is None


KEEP_ALL: Final = RetentionRule()


class RetentionRecord(Record, frozen=True, kw_only=True):
    """A rule as it is stored. ``last`` and ``max_age_seconds`` both absent: everything is kept from now on."""

    last: int | None = None
    max_age_seconds: float | None = None
    created: str
    who: str = ""
    host: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        RetentionRule(last=self.last, max_age_seconds=self.max_age_seconds)


msgspec.json.Decoder(RetentionRecord)  # as in `transaction.records`: built here, before threads use it


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionResult:
    """What a rule removed, or in a dry run would.

    Attributes:
        rule: Which one.
        kept, removed: Numbers of snapshots, the newest first. Kept are those, too, that are being made.
    """

    rule: RetentionRule
    kept: tuple[int, ...]
    removed: tuple[int, ...]
    dry_run: bool = False


def retention_rule(*, last: int | None = None, max_age: Ttl | None = None) -> RetentionRule:
    """A rule as people say it.

    Args:
        last: Keep the newest so many.
        max_age: Keep those that are younger: text (``7d``, ``12h``, ``never``), seconds, or a timedelta.

    Raises:
        ValueError: Not above zero, or no age.
    """
    if last is not None and (isinstance(last, bool) or not isinstance(last, int)):
        raise TypeError(f"last is how many snapshots to keep, not {last!r}")
    seconds = None if max_age is None else parse_ttl(max_age)
    if max_age is not None and seconds is None:
        last = None  # none is ever too old: everything is kept
    return RetentionRule(last=last, max_age_seconds=seconds)


def plan_retention(
    versions: Sequence[Version], rule: RetentionRule, *, now: float, aliased: Collection[int] = ()
) -> tuple[list[Version], list[Version]]:
    """Decide which snapshots stay, and which go. Pure.

    Args:
        versions: The live ones, the newest first.
        now: Seconds since the epoch.
        aliased: Numbers of those that an alias points to.

    Returns:
        Those that stay and those that go, the newest first.
    """
    kept: list[Version] = []
    removed: list[Version] = []
    full = next((version.slot for version in versions if version.record.files or version.record.links), None)
    for place, version in enumerate(versions):
        stays = place == 0 or version.slot in (full, *aliased) or rule.keeps_all
        stays = stays or (rule.last is not None and place < rule.last)
        stays = stays or (rule.max_age_seconds is not None and _is_young(version, rule.max_age_seconds, now))
        (kept if stays else removed).append(version)
    return kept, removed


def _is_young(version: Version, max_age_seconds: float, now: float) -> bool:
    created = parse_timestamp(version.record.created)
    return created is None or now - created < max_age_seconds  # one whose age nobody knows stays


def set_retention(store: Store, job_id: str, key: str, rule: RetentionRule) -> None:
    """Record which snapshots of a job's key are kept from now on. Nothing is removed before the next upload.

    Raises:
        InvalidName: Job id or key can't be stored.
        CommitStateUnknown: It may be recorded.
        TransientBackendError: Others changed it all the time, for a minute.
    """
    prefix = _prefix(job_id, key)
    catalog = store.made_catalog()
    here, backoff = author(), Backoff(catalog.clock, deadline_seconds=_DECIDING_SECONDS)
    while True:
        number, found = _newest(store, prefix)
        if found == rule:
            return
        record = RetentionRecord(
            nonce=fresh_nonce(catalog.clock),
            last=rule.last,
            max_age_seconds=rule.max_age_seconds,
            created=timestamp(catalog.clock.now()),
            who=here.who,
            host=here.host,
        )
        put = put_once(catalog.backend, catalog.clock, f"{prefix}{counted(number + 1)}", encode_record(record))
        if isinstance(put, Won):
            return
        if not backoff.wait():
            raise TransientBackendError(f"what is kept of {key!r} is changed by others all the time")


def read_retention(store: Store, job_id: str, key: str) -> RetentionRule:
    """The rule that counts; `KEEP_ALL` where there is none. One listing, and a request where there is one.

    Raises:
        InvalidName: Job id or key can't be stored.
        CorruptData, UnsupportedFormat: It can't be read.
    """
    return _newest(store, _prefix(job_id, key))[1]


def apply_retention(store: Store, job_id: str, key: str, *, dry_run: bool = False) -> RetentionResult:
    """Remove what the rule no longer keeps. Several at once do no harm.

    Raises:
        InvalidName: Job id or key can't be stored.
        CommitStateUnknown: A snapshot may be removed; the next call finds out.
        BackendError: The storage failed. What was removed is gone, the rest stays.
    """
    name = job_name(job_id, DIRECTORY, key)
    rule = read_retention(store, job_id, key)
    catalog = store.catalog if dry_run else store.writable_catalog()
    backend = catalog.backend
    live = [state for state in list_slots(backend, name) if not state.deleted]
    numbers = tuple(state.number for state in live)
    if rule.keeps_all or len(live) <= (rule.last or 1):
        return RetentionResult(rule=rule, kept=numbers, removed=(), dry_run=dry_run)
    versions = _to_decide(catalog, name, live, rule)
    aliased = {move.slot for move in list_aliases(backend, name)}
    _, removed = plan_retention(versions, rule, now=catalog.clock.now(), aliased=aliased)
    if not dry_run:
        for version in reversed(removed):  # the oldest first: cut off in between, what is left has no gap
            remove_version(backend, catalog.clock, version, author=author(), reason=_REASON)
    gone = tuple(version.slot for version in removed)
    kept = tuple(number for number in numbers if number not in set(gone))
    return RetentionResult(rule=rule, kept=kept, removed=gone, dry_run=dry_run)


def _to_decide(catalog: Catalog, name: JobName, live: Sequence[SlotState], rule: RetentionRule) -> list[Version]:
    """Of the live snapshots, the newest first, those that have to be read: the newest, which a number keeps, and the
    oldest, until they are too young to go. So a week of them costs an upload no more than a day does."""
    read = partial(read_version, catalog.backend, name)
    found = read_ahead(catalog.requests, read, live, most=_READ_AHEAD)
    newest = list(islice(filter(None, found), rule.last or 1))
    rest = [state for state in live if newest and state.number < newest[-1].slot]
    oldest: list[Version] = []
    young, now = 0, catalog.clock.now()
    for version in filter(None, read_ahead(catalog.requests, read, reversed(rest), most=_READ_AHEAD)):
        oldest.append(version)
        if rule.max_age_seconds is not None and _is_young(version, rule.max_age_seconds, now):
            young += 1  # not the first one ends it: uploaders' clocks may differ
            if young == _YOUNG_AT_LAST:
                break
    return newest + oldest[::-1]


def apply_after_upload(store: Store, name: JobName) -> None:
    """As `apply_retention`, for an upload that has succeeded: what fails now is logged, and the next one does it."""
    try:
        apply_retention(store, name.job_id, name.key)
    except ArtifactStoreError as error:
        _log.warning("old snapshots of %r could not be removed, the next upload tries again: %s", name.key, error)


def _prefix(job_id: str, key: str) -> str:
    return f"{JobKeys(job_id).prefix}retention-{encode_job_text(key)}/"


def _newest(store: Store, prefix: str) -> tuple[int, RetentionRule]:
    backend = store.catalog.backend
    for info in backend.list(prefix, page_size=_SHORT_PAGE):
        number = parse_counted(info.key.removeprefix(prefix))
        if number:
            record = decode_record(RetentionRecord, backend.get(info.key), key=info.key)
            return number, RetentionRule(last=record.last, max_age_seconds=record.max_age_seconds)
    return 0, KEEP_ALL
