"""The records that one process puts of itself: its beginning, its heartbeats, its end.

Nobody else writes them, so a number is never fought for. The newest counts, and two are kept:
who has just listed the older one still finds it. What could not be removed stays, and does no harm.
"""

import os
import threading
from typing import Final

from artifactstore._version import __version__
from artifactstore.backend.protocol import Backend
from artifactstore.clock import Clock, timestamp
from artifactstore.errors import ArtifactStoreError
from artifactstore.jobs.identity import JobIdentity
from artifactstore.jobs.records import MAX_SEEN, MAX_TAGS, ProcessRecord, ProcessState
from artifactstore.jobs.states import Process, attempt_of, newest_attempt
from artifactstore.keys import JobKeys, process_name
from artifactstore.schedulers import plain_text
from artifactstore.transaction.conditional import put_once
from artifactstore.transaction.records import encode_record, fresh_nonce
from artifactstore.transfer.provenance import author

_RANDOM_BYTES: Final = 8


class ProcessLog:
    """What this process says of its work for a job. Safe for threads."""

    def __init__(self, backend: Backend, clock: Clock, identity: JobIdentity, *, interval_seconds: float) -> None:
        self._backend = backend
        self._clock = clock
        self._identity = identity
        self._interval_seconds = interval_seconds
        self._keys = JobKeys(identity.id)
        self._lock = threading.Lock()
        self._number = 0
        self._left: set[int] = set()
        self._name = ""
        self._begun = ""
        self._attempt = 0
        self._seen: dict[str, int] = {}
        self._tags: dict[str, None] = {}

    @property
    def attempt(self) -> int:
        """Which start of the job this is; 0 before `begin`."""
        return self._attempt

    def begin(self, others: list[Process]) -> None:
        """Say that it has begun, for certain.

        Args:
            others: The job's processes so far.

        Raises:
            BackendError, CommitStateUnknown: That could not be written.
        """
        now = self._clock.now()
        self._attempt = attempt_of(others, counted=self._identity.attempt, now=now)
        mine = [each for each in newest_attempt(others) if each.record.attempt == self._attempt]
        running = [
            each
            for each in mine
            if each.record.state is ProcessState.RUNNING and each.record.rank == self._identity.rank
        ]
        self._seen = {each.name: each.number for each in running[-MAX_SEEN:]}
        self._name = process_name(int(now * 1000), self._clock.random_bytes(_RANDOM_BYTES))
        self._begun = timestamp(now)
        number = self._next()
        put_once(self._backend, self._clock, self._key(number), self._body(ProcessState.RUNNING))

    def beat(self) -> None:
        """Say that it still works.

        Raises:
            ArtifactStoreError: That could not be written.
        """
        number = self._next()
        self._backend.put(self._key(number), self._body(ProcessState.RUNNING))
        self._remove_older(number, keep=1)

    def tag(self, text: str) -> None:
        """Say that the job has a tag; from now on every record says so.

        Raises:
            ValueError: It would have too many.
            ArtifactStoreError: That could not be written.
        """
        with self._lock:
            if text in self._tags:
                return
            if len(self._tags) == MAX_TAGS:
                raise ValueError(f"a job gets at most {MAX_TAGS} tags from one process")
            # Before the number is taken: no record with a higher one lacks it.
            self._tags = {**self._tags, text: None}
        try:
            self.beat()
        except BaseException:
            with self._lock:
                self._tags = {tag: None for tag in self._tags if tag != text}
            raise

    def end(self, state: ProcessState, *, error: str = "") -> None:
        """Say how it ended. Newer than a heartbeat that is still on its way.

        Raises:
            ArtifactStoreError: That could not be written.
        """
        number = self._next()
        put_once(self._backend, self._clock, self._key(number), self._body(state, error=error))
        self._remove_older(number, keep=0)

    def _next(self) -> int:
        with self._lock:
            self._number += 1
            self._left.add(self._number)  # whether it arrives or not
            return self._number

    def _key(self, number: int) -> str:
        return self._keys.process_record(self._name, number)

    def _remove_older(self, number: int, *, keep: int) -> None:
        """Remove the records below ``number``, all but the newest ``keep`` of them."""
        with self._lock:
            older = sorted(each for each in self._left if each < number)
        for each in older[: len(older) - keep]:
            try:
                self._backend.delete(self._key(each))
            except ArtifactStoreError:
                return  # the next time; the newest counts
            with self._lock:
                self._left.discard(each)

    def _body(self, state: ProcessState, *, error: str = "") -> bytes:
        here, now = author(), timestamp(self._clock.now())
        record = ProcessRecord(
            nonce=fresh_nonce(self._clock),
            state=state,
            attempt=self._attempt,
            begun=self._begun,
            beat=now,
            ended="" if state is ProcessState.RUNNING else now,
            interval_seconds=self._interval_seconds,
            project=self._identity.project,
            user=self._identity.user,
            host=here.host,
            pid=os.getpid(),
            rank=self._identity.rank,
            source=self._identity.source,
            error=plain_text(error),
            seen=self._seen,
            tags=tuple(self._tags),
            made_with=__version__,
        )
        return encode_record(record)
