"""What every test of the session shares: an S3 server, a clean environment, and the search for leaked secrets."""

import contextlib
import mmap
import os
import pathlib
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest
from s3 import servers
from s3.servers import S3Server

SESSION_TOKEN = "canaryT0kenB5hR9uNc2Vq7Ej6Xf"
_ISOLATED = ("ARTIFACTSTORE_URL", "ARTIFACTSTORE_STORE", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3")
_LARGEST_SEARCHED_BYTES = 64 << 20


class Canaries:
    """Secrets that must turn up nowhere (fault 114): looked for in every report and every file that tests left."""

    def __init__(self) -> None:
        self.secrets = {servers.SECRET_KEY.encode(), SESSION_TOKEN.encode()}
        self.leaks: list[str] = []
        given = os.environ.get("AWS_SECRET_ACCESS_KEY", "")
        if len(given) >= 12:  # shorter ones, such as an emulator's `test`, occur by chance
            self.secrets.add(given.encode())

    def search(self, place: str, text: bytes | mmap.mmap) -> None:
        if any(text.find(secret) >= 0 for secret in self.secrets):
            self.leaks.append(place)

    def search_files(self, root: pathlib.Path) -> None:
        for directory, _, names in os.walk(root):
            for name in names:
                path = os.path.join(directory, name)
                with contextlib.suppress(OSError):
                    self._search_file(path)

    def _search_file(self, path: str) -> None:
        if os.path.islink(path) or not 0 < os.path.getsize(path) <= _LARGEST_SEARCHED_BYTES:
            return
        if not os.path.isfile(path):
            return
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            self.search(path, content)


CANARIES = pytest.StashKey[Canaries]()
_SERVER_DIRECTORY = "s3-server"
_TEST_PREFIX = f"t{os.urandom(6).hex()}-"
"""What this session's places in the S3 server start with."""


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts background jobs with SIGINT ignored, and the programs that tests interrupt would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[CANARIES] = Canaries()


class _Reports:
    """Looks through what tests print, log and fail with, as it comes."""

    def __init__(self, canaries: Canaries) -> None:
        self._canaries = canaries

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        text = "\n".join([*(content for _, content in report.sections), str(report.longrepr or "")])
        self._canaries.search(f"the output of {report.nodeid} ({report.when})", text.encode(errors="replace"))


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.pluginmanager.register(_Reports(session.config.stash[CANARIES]))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    canaries = session.config.stash[CANARIES]
    factory = getattr(session.config, "_tmp_path_factory", None)
    base = getattr(factory, "_basetemp", None)
    if base is not None:
        for child in pathlib.Path(base).iterdir():
            if not child.name.startswith(_SERVER_DIRECTORY):  # whose own account file has the key, rightly
                canaries.search_files(child)
    if canaries.leaks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for place in config.stash[CANARIES].leaks:
        terminalreporter.write_line(f"SECRET LEAKED into {place}", red=True, bold=True)


@pytest.fixture(scope="session", autouse=True)
def _clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes what belongs to whoever runs it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in _ISOLATED:
            patch.delenv(name, raising=False)
        for name in ("DATA", "CONFIG", "CACHE", "STATE"):
            patch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
        patch.setenv("HOME", str(home))
        yield


@pytest.fixture(autouse=True)
def _jobs_end_with_their_test() -> Iterator[None]:
    """What a test leaves open ends, as it would with a program: whatever comes next is not made by it."""
    yield
    if (jobs := sys.modules.get("artifactstore.jobs.job")) is not None:
        jobs.end_jobs()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The server named by ARTIFACTSTORE_TEST_S3_URL; else Ceph, where it is installed; else an emulator.

    ARTIFACTSTORE_TEST_S3_KIND=ceph says that the named server checks clocks and signatures as Ceph does.
    """
    with contextlib.ExitStack() as stack:
        directory = tmp_path_factory.mktemp(_SERVER_DIRECTORY)
        server = _given_server() or _own_server(directory, stack)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in server.environ.items():
            patch.setenv(name, value)
        servers.make_bucket(server)
        yield server
        servers.remove_objects(server, _TEST_PREFIX)


def _given_server() -> S3Server | None:
    url = os.environ.get("ARTIFACTSTORE_TEST_S3_URL")
    if not url:
        return None
    endpoint_url = next(
        (part.removeprefix("endpoint_url=") for part in url.partition("?")[2].split("&") if "endpoint_url=" in part),
        os.environ.get("AWS_ENDPOINT_URL", ""),
    )
    kind = os.environ.get("ARTIFACTSTORE_TEST_S3_KIND", "given")
    return S3Server(kind=kind, root_url=url, endpoint_url=endpoint_url, environ={})


def _own_server(directory: pathlib.Path, stack: contextlib.ExitStack) -> S3Server:
    kind, endpoint = "ministack", ""
    if servers.has_ceph():
        try:
            kind, endpoint = "ceph", stack.enter_context(servers.ceph(directory / "ceph"))
        except subprocess.SubprocessError as error:
            warnings.warn(f"Ceph is installed and does not start ({error}); an emulator stands in", stacklevel=1)
    if not endpoint:
        kind, endpoint = "ministack", stack.enter_context(servers.ministack(directory))
    return S3Server(
        kind=kind,
        root_url=f"s3://artifactstore-test?endpoint_url={endpoint}",
        endpoint_url=endpoint,
        environ=servers.own_environ(endpoint),
    )


@pytest.fixture
def s3_url(s3_server: S3Server, request: pytest.FixtureRequest) -> str:
    """The URL of an empty place in the S3 server, for one test."""
    return s3_server.url(_TEST_PREFIX + os.urandom(8).hex())
