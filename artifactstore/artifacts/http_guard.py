"""A client for the web that connects to no address it should not.

The check sits where a socket is made for an address: after names are resolved, for each redirect, for each address
of a name, and for every spelling of an address. A name that resolves to something else the second time gains nothing,
as the address that is checked is the one that is connected to.
"""

import errno
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from artifactstore.artifacts.reference_rules import ReferenceRules, endpoint_of, is_public_address
from artifactstore.errors import ReferenceNotAllowed

if TYPE_CHECKING:
    import aiohttp

_CONNECT_SECONDS: Final = 30.0
_SILENCE_SECONDS: Final = 60.0
# Where they decide, another machine resolves and connects for us.
_PAST_THE_GUARD: Final = ("connector", "proxy", "proxy_auth", "trust_env")
ALLOW_PRIVATE: Final = "Set `allow_private_references`, if references may go to addresses inside your network."


class AddressRefused(OSError):
    """The address is not one of the public internet."""

    def __init__(self) -> None:
        # The same text for each address of a host: only then the type survives when all of them fail.
        super().__init__(errno.EACCES, "its address is not of the public internet")


class AddressGuard:
    """Makes the sockets of a client.

    Args:
        trusted: Servers that may be connected to wherever they are, by host and port.
    """

    def __init__(self, trusted: Sequence[tuple[str, int]] = ()) -> None:
        self._trusted = tuple(trusted)
        self._addresses: frozenset[tuple[str, int]] = frozenset()

    async def prepare(self) -> None:
        """Look up the addresses of the trusted servers."""
        import asyncio  # 40 ms, and most commands ask no web server

        loop = asyncio.get_running_loop()
        found = set()
        for host, port in self._trusted:
            try:
                rows = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError:
                continue  # then it is not reached, and nothing else is trusted in its place
            found |= {(str(row[4][0]), port) for row in rows}
        self._addresses = frozenset(found)

    def open_socket(self, address: tuple[Any, ...]) -> socket.socket:
        """A socket for a row of `socket.getaddrinfo`.

        Raises:
            AddressRefused: The address is not public, and not of a trusted server.
        """
        family, kind, protocol, _, place = address
        host, port = str(place[0]), int(place[1])
        if not is_public_address(host) and (host, port) not in self._addresses:
            raise AddressRefused
        return socket.socket(family, kind, protocol)


async def guarded_client(rules: ReferenceRules, **options: Any) -> "aiohttp.ClientSession":
    """A session that connects to no address that the rules refuse. It is for the caller to follow redirects.

    Raises:
        ReferenceNotAllowed: The options would take the connections out of our hands.
    """
    import aiohttp

    options.pop("loop", None)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
    options = {"timeout": timeout, **options}
    if rules.allow_private:
        return aiohttp.ClientSession(**options)
    check_options(options)
    guard = AddressGuard([endpoint_of(url) for url in rules.trusted_endpoints])
    await guard.prepare()
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=guard.open_socket), **options)


def check_options(options: dict[str, Any]) -> None:
    """Refuse options by which somebody else would connect for us: nobody could tell where to.

    Raises:
        ReferenceNotAllowed: There is one.
    """
    for name in _PAST_THE_GUARD:
        if options.get(name):
            raise ReferenceNotAllowed(
                f"with the option {name!r}, nobody can tell which address a reference goes to",
                next_step=f"Leave it out. {ALLOW_PRIVATE}",
            )
