from collections.abc import Iterator

import pytest
from unit.artifacts.webserver import WebServer, serve


@pytest.fixture
def web() -> Iterator[WebServer]:
    with serve() as server:
        yield server
