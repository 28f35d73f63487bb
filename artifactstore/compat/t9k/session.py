"""Which store a script is logged in to: one for the whole process, as in t9k."""

import atexit
import logging
import os
import re
import threading
from dataclasses import dataclass
from typing import Final

from artifactstore.backend.table import BackendOptions, local_path_of, open_backend
from artifactstore.clock import SYSTEM_CLOCK
from artifactstore.compat.t9k.config import CONFIG
from artifactstore.compat.t9k.errors import NoStoreURL, NotLoggedIn, login_failed
from artifactstore.compat.t9k.naming import user_name
from artifactstore.config import load_settings
from artifactstore.errors import ArtifactStoreError, ConfigurationError, StoreNotFound
from artifactstore.redaction import redact_url
from artifactstore.store import Store, open_store
from artifactstore.transaction.store_record import read_store

HOST_VARIABLE: Final = "ARTIFACTSTORE_T9K_HOST"
_WEB_ADDRESS: Final = re.compile(r"https?://", re.IGNORECASE)
_LOGIN_SECONDS: Final = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A login.

    Attributes:
        user: Below whose folder relative remote paths are.
    """

    store: Store
    user: str

    @property
    def host(self) -> str:
        """The store's URL, without secrets."""
        return self.store.url


class _Current:
    """The session of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Session | None = None

    def get(self) -> Session | None:
        with self._lock:
            return self._session

    def set(self, session: Session | None) -> Session | None:
        """Take another session, or none; the one before is closed, and returned."""
        with self._lock:
            before, self._session = self._session, session
        if before is not None:
            before.store.close()
        return before


_current: Final = _Current()


def login(ais_host: str | None, api_key: str | None, timeout: float | None) -> None:
    """Open a store for the calls that follow. Nothing is written. Another login takes the place of this one.

    Args:
        ais_host: The store's URL or path; else ``CONFIG["aistore_host"]``, else what the settings say. An address
            of a web server, as t9k has it, stands for the store that ARTIFACTSTORE_T9K_HOST names.
        api_key: Taken because scripts give one; not used, kept, or shown.
        timeout: Seconds that the store has to answer this call; 30 by default.

    Raises:
        NoStoreURL: It is no URL of a store.
        LoginFailed: The store is not there, can't be reached, or may not be read.
    """
    seconds = _LOGIN_SECONDS if timeout is None else timeout
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise ValueError(f"timeout: seconds over 0, not {timeout!r}")
    url = _store_url(ais_host or CONFIG["aistore_host"])
    store = _opened(url, seconds)
    session = Session(store=store, user=user_name(os.environ))
    _current.set(session)
    _log.info("logged in to %s as %s", session.host, session.user)


def _store_url(host: str | None) -> str:
    if host is not None and not isinstance(host, str):
        raise TypeError(f"ais_host: a text, not a {type(host).__name__}")
    if host and _WEB_ADDRESS.match(host):
        stand_in = os.environ.get(HOST_VARIABLE)
        if not stand_in:
            raise NoStoreURL(
                f"{redact_url(host)} is the address of a web server, not the URL of a store",
                next_step=f"Give a store's URL, or set {HOST_VARIABLE} to the store that such addresses stand for.",
            )
        host = stand_in
    try:
        return load_settings(host or None).store.url
    except ConfigurationError as error:
        raise NoStoreURL(error.what, where=error.where, next_step=error.next_step) from error


def _opened(url: str, seconds: float) -> Store:
    where = redact_url(url)
    try:
        is_there = _is_there(url, seconds)
    except ConfigurationError as error:
        raise NoStoreURL(error.what, where=error.where or where, next_step=error.next_step) from error
    except ArtifactStoreError as error:
        raise login_failed(f"can't log in: {error.what}", where=where, next_step=error.next_step) from error
    store = open_store(url)
    try:
        if is_there:
            store.record  # noqa: B018 - that it is the store that this URL led to before
    except ArtifactStoreError as error:
        store.close()
        raise login_failed(f"can't log in: {error.what}", where=where, next_step=error.next_step) from error
    return store


def _is_there(url: str, seconds: float) -> bool:
    """Whether there is a store; False for a folder that the first upload makes one of."""
    backend = open_backend(url, clock=SYSTEM_CLOCK, options=BackendOptions(jobs=1, deadline_seconds=seconds))
    try:
        read_store(backend)
    except StoreNotFound:
        path = local_path_of(url)
        if path is None or (os.path.lexists(path) and not (os.path.isdir(path) and not os.listdir(path))):
            raise
        return False
    finally:
        backend.close()
    return True


def logout() -> None:
    """Close the store. Without a login this warns, and does nothing."""
    before = _current.set(None)
    if before is None:
        _log.warning("Not log out, for having not logged in to any AIStore server")
    else:
        _log.info("logged out from %s", before.host)


def current() -> Session:
    """The login that counts now.

    Raises:
        NotLoggedIn: There is none.
    """
    session = _current.get()
    if session is None:
        raise NotLoggedIn("Not logged in")
    return session


def is_logged_in() -> bool:
    """Whether there is a login."""
    return _current.get() is not None


@atexit.register
def _close_at_exit() -> None:
    _current.set(None)
