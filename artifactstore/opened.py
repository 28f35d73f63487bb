"""What every operation on a store needs: record, settings, whether it may be written, context of transfers."""

import logging
import os
import threading
from dataclasses import dataclass
from typing import Final, Self

from artifactstore.backend.protocol import Backend
from artifactstore.backend.table import local_path_of
from artifactstore.catalog import Catalog
from artifactstore.chunking import CutFunction, parse_cut_function
from artifactstore.clock import SYSTEM_CLOCK, Clock
from artifactstore.dedup.state import LocalState
from artifactstore.errors import ConfigurationError, StoreNotFound, StoreReadOnly, UnsupportedFormat
from artifactstore.forks import Threads, renew_in_children
from artifactstore.initialise import initialise
from artifactstore.keys import STORE
from artifactstore.names import Reference
from artifactstore.transaction.records import StoreRecord, StoreSettings, Writers
from artifactstore.transaction.resolve import open_version
from artifactstore.transaction.store_record import read_settings, read_store
from artifactstore.transfer.context import StoreContext
from artifactstore.tree import StoredTree

_log = logging.getLogger(__name__)
NOTE: Final = 25
"""Level of what people should see and nobody need act on: between INFO and WARNING."""
_BEING_MADE: Final = frozenset({"doctor", "tmp"})
"""What is in a local folder while `init` finds out what it can do (docs/format.md, "Keys")."""
DEFAULT_MEMORY_BYTES: Final = 256 << 20
DEFAULT_JOBS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How to work with a store.

    Attributes:
        jobs: Requests at once.
        memory_bytes: Budget for buffers.
        single_writer: Write to storage that allows one writer at a time.
    """

    jobs: int = DEFAULT_JOBS
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    single_writer: bool = False


_DEFAULT_OPTIONS: Final = StoreOptions()


class OpenedStore:
    """A store's backend, record, threads and local state. `artifactstore.store.Store` adds the operations.

    Attributes:
        url: Where it is, without secrets.
    """

    def __init__(
        self,
        url: str,
        backend: Backend,
        *,
        state: LocalState,
        clock: Clock = SYSTEM_CLOCK,
        options: StoreOptions = _DEFAULT_OPTIONS,
    ) -> None:
        # Local state files by it, as text: a path need not be text.
        self.url: Final = backend.url.encode("utf-8", "backslashreplace").decode("utf-8")
        self._location = url
        self._backend = backend
        self._clock = clock
        self._state = state
        self._memory_bytes = options.memory_bytes
        self._single_writer = options.single_writer
        self._work = Threads(max(2, min(os.cpu_count() or 2, 8)), "artifactstore-work")
        self._requests = Threads(options.jobs, "artifactstore-requests")
        self._record: StoreRecord | None = None
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child (`artifactstore.forks`): use a lock of its own."""
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def close(self) -> None:
        """Give back threads, connections and local state. Calling it twice is fine."""
        self._work.shutdown(cancel_futures=True)
        self._requests.shutdown(cancel_futures=True)
        self._backend.close()
        self._state.close()

    # -- what it is ----------------------------------------------------------------------------------

    @property
    def record(self) -> StoreRecord:
        """`store.json`.

        Raises:
            StoreNotFound: No store here.
            UnsupportedFormat: Written by a newer version.
            ConfigurationError: The URL led to another store before.
        """
        with self._lock:
            if self._record is None:
                record = read_store(self._backend)
                self._check_pin(record)
                self._record = record
            return self._record

    @property
    def store_id(self) -> str:
        """32 hexadecimal digits."""
        return self.record.store_id

    def _check_pin(self, record: StoreRecord) -> None:
        pinned = self._state.pinned_store(self.url)
        if pinned is not None and pinned != record.store_id_bytes:
            raise ConfigurationError(
                "this URL led to another store before",
                where=self.url,
                next_step="If that is meant to be so, run `artifactstore init` for this URL once: it accepts the store "
                "that is there now, and changes nothing in it.",
            )
        self._state.pin_store(self.url, record.store_id_bytes)

    def init(self) -> bool:
        """Make the store unless it is there; accept it where the URL led to another one before.

        Returns:
            Whether it was made now.

        Raises:
            StoreReadOnly: The storage allows one writer at a time, and that was not accepted.
            BackendError: The storage can't be written or read.
        """
        done = initialise(self._location, self._backend, self._clock, single_writer=self._single_writer)
        self._state.pin_store(self.url, done.record.store_id_bytes)
        with self._lock:
            self._record = done.record
        return done.is_new

    # -- for the operations ----------------------------------------------------------------------------

    def _prepare_for_push(self, *, dry_run: bool) -> StoreSettings | None:
        try:
            return self._settings() if dry_run else self._prepare_for_write()
        except StoreNotFound:
            if dry_run:
                raise
            if not self.may_be_made:
                return self._prepare_for_write()  # another process may have made it since; else it says so again
            self.init()
            _log.log(NOTE, "made a new store at %s", self.url)
            return self._prepare_for_write()

    def _prepare_for_write(self) -> StoreSettings | None:
        settings = self._settings()
        writers = (settings.writers if settings else None) or self.record.writers
        if writers is Writers.SINGLE and not self._single_writer:
            raise StoreReadOnly(
                "this store allows one writer at a time",
                where=self.url,
                next_step="When nobody else writes to it, say --single-writer.",
            )
        return settings

    def _settings(self) -> StoreSettings | None:
        """What was set since the store was made, asked for together with `store.json`. It binds writers."""
        asked = self._requests.submit(read_settings, self._backend)
        try:
            self.record  # noqa: B018 - asks the storage
        except BaseException:
            asked.cancel()
            raise
        return asked.result()[1]

    @property
    def may_be_made(self) -> bool:
        """Whether the first push makes it: a local folder that is absent, empty, or just being made a store."""
        path = self._path
        if path is None or not os.path.isdir(path):
            return path is not None and not os.path.lexists(path)
        return _BEING_MADE.issuperset(os.listdir(path))

    @property
    def _path(self) -> str | None:
        """The folder of a local store."""
        return local_path_of(self._location)

    def _tree(self, reference: Reference, *, allow_expired: bool = False) -> StoredTree:
        self.record  # noqa: B018 - as for _catalog
        version, root = open_version(
            self._backend,
            reference.name,
            reference.version,
            pool=self._requests,
            readable_at=None if allow_expired else self._clock.now(),
        )
        return StoredTree(self._backend, root, version=version.text, pool=self._requests)

    @property
    def catalog(self) -> Catalog:
        """Names and versions, for the layers above.

        Raises:
            StoreNotFound, UnsupportedFormat: As for `record`.
        """
        return self._catalog()

    def writable_catalog(self) -> Catalog:
        """As `catalog`, for who is going to write.

        Raises:
            StoreReadOnly: The storage allows one writer at a time, and that was not accepted.
        """
        self._prepare_for_write()
        return self._catalog()

    def made_catalog(self) -> Catalog:
        """As `writable_catalog`; a local folder that is absent or empty becomes a store first.

        Raises:
            StoreNotFound: There is none, and it is not such a folder.
            StoreReadOnly: The storage allows one writer at a time, and that was not accepted.
        """
        self._prepare_for_push(dry_run=False)
        return self._catalog()

    def _catalog(self) -> Catalog:
        self.record  # noqa: B018 - a store that is not there, or is newer, says so before anything else
        return Catalog(backend=self._backend, clock=self._clock, requests=self._requests)

    def _cut(self, settings: StoreSettings | None) -> CutFunction:
        try:
            return parse_cut_function((settings.cut if settings else None) or self.record.cut)
        except UnsupportedFormat as error:
            raise UnsupportedFormat(error.what, where=STORE) from error

    def _context(self, settings: StoreSettings | None = None) -> StoreContext:
        record = self.record
        return StoreContext(
            backend=self._backend,
            clock=self._clock,
            url=self.url,
            store_id=record.store_id_bytes,
            cut=self._cut(settings),
            state=self._state,
            work=self._work,
            requests=self._requests,
            memory_bytes=self._memory_bytes,
        )
